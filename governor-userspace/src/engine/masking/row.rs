//! Masks one DataRow, or says that nothing in it changes.
//!
//! Streaming: one row in, one row out; nothing is kept between rows. While nothing has changed nothing
//! is copied, so a row without findings costs a walk over its lengths and the detectors' first look.
//!
//! Invariant: a row that does not parse to the last byte is an error, never forwarded. A value whose
//! judging fails in any way is redacted.
//! Protocol: <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW>

use super::classify::could_carry;
use super::detector::{ColumnContext, Detectors};
use super::json::{mask_json, mask_ranges, mask_ranges_in};
use super::pg_type::{TypeClass, characters_max};
use super::transform::{Format, Masked, mask_value};
use crate::engine::model::Category;
use crate::engine::model::MaskStyle;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What happens to the values of one result column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnAction {
    /// Shown as it is, unread.
    Clear,
    /// Shown unless a detector knows the value or something in it.
    Detect,
    /// Never shown. `category` is `None` where the origin is unknown.
    Mask { style: MaskStyle, category: Option<Category> },
}

/// One column of a result, as RowDescription and policy describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnPlan {
    pub action: ColumnAction,
    pub type_oid: u32,
    /// RowDescription's type modifier; −1 where there is none.
    pub type_modifier: i32,
    pub format: Format,
    /// What the names around the column say, for values that are looked at.
    pub context: ColumnContext,
}

impl ColumnPlan {
    /// Values of this column can never change.
    fn is_passive(&self) -> bool {
        match self.action {
            ColumnAction::Clear => true,
            ColumnAction::Detect => {
                !could_carry(self.type_oid) || TypeClass::of(self.type_oid) == TypeClass::Bytea
            }
            ColumnAction::Mask { .. } => false,
        }
    }
}

/// What happens to the rows of one result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPlan {
    pub columns: Vec<ColumnPlan>,
}

impl RowPlan {
    /// No row can change: forward them unread.
    pub fn is_passive(&self) -> bool {
        self.columns.iter().all(ColumnPlan::is_passive)
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowOutcome {
    /// A whole new message was appended; otherwise forward the original bytes.
    pub changed: bool,
    /// Values that were replaced, in whole or in part.
    pub masked_values: u32,
    /// The same values by what they are, in the order of [`Category::ALL`].
    pub masked_by: [u32; Category::ALL.len()],
}

/// The server broke the protocol, or its rows are not those that were described. Closes the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("the row ends inside its column {column}")]
    Truncated { column: usize },
    #[error("the row has {found} columns where {described} were described")]
    ColumnCount { found: i16, described: usize },
    #[error("column {column} has length {length}")]
    NegativeLength { column: usize, length: i32 },
    #[error("{bytes} bytes follow the last column")]
    Leftover { bytes: usize },
    #[error("the masked row would not fit a message")]
    TooLarge,
}

/// Masks one row. `body` is a DataRow's content behind its length field: a count, then for each column
/// a length and that many bytes. Where a value changes, appends the whole new message (`D`, length,
/// content) to `out`; otherwise, and on errors, leaves `out` as it was.
pub fn mask_row(
    plan: &RowPlan,
    detectors: &Detectors,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<RowOutcome, RowError> {
    let from = out.len();
    let result = rewrite(plan, detectors, body, out).and_then(|outcome| {
        if outcome.changed {
            seal(out, from)?;
        }
        Ok(outcome)
    });
    if result.is_err() {
        out.truncate(from);
    }
    result
}

fn rewrite(
    plan: &RowPlan,
    detectors: &Detectors,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<RowOutcome, RowError> {
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(RowError::Truncated { column: 0 })?;
    let found = i16::from_be_bytes(*count);
    if usize::try_from(found) != Ok(plan.columns.len()) {
        return Err(RowError::ColumnCount { found, described: plan.columns.len() });
    }
    let mut outcome = RowOutcome::default();
    for (column, column_plan) in plan.columns.iter().enumerate() {
        let before = rest;
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(RowError::Truncated { column })?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            rest = tail;
            copy_if_changed(outcome, before, tail, out);
            continue;
        }
        let bytes = usize::try_from(length).map_err(|_| RowError::NegativeLength { column, length })?;
        let (value, tail) = tail.split_at_checked(bytes).ok_or(RowError::Truncated { column })?;
        rest = tail;
        if column_plan.is_passive() {
            copy_if_changed(outcome, before, tail, out);
            continue;
        }
        let at = out.len();
        if !outcome.changed {
            // Type and length of the message, then the content up to here; taken back if nothing changes.
            out.extend_from_slice(b"D\0\0\0\0");
            out.extend_from_slice(body.get(..body.len() - before.len()).unwrap_or(&[]));
        }
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        match replace(column_plan, detectors, value, out) {
            Replaced::No => {
                out.truncate(at);
                copy_if_changed(outcome, before, tail, out);
            }
            Replaced::Yes(masked, category) => {
                let length = match masked {
                    Masked::Null => {
                        // Whatever was written before it was clear that nothing may be shown.
                        out.truncate(length_at + 4);
                        -1
                    }
                    Masked::Value => {
                        i32::try_from(out.len() - length_at - 4).map_err(|_| RowError::TooLarge)?
                    }
                };
                if let Some(slot) = out.get_mut(length_at..length_at + 4) {
                    slot.copy_from_slice(&length.to_be_bytes());
                }
                outcome.changed = true;
                outcome.masked_values += 1;
                if let Some(count) = outcome.masked_by.get_mut(category as usize) {
                    *count += 1;
                }
            }
        }
    }
    if rest.is_empty() { Ok(outcome) } else { Err(RowError::Leftover { bytes: rest.len() }) }
}

fn copy_if_changed(outcome: RowOutcome, before: &[u8], after: &[u8], out: &mut Vec<u8>) {
    if outcome.changed {
        out.extend_from_slice(before.get(..before.len() - after.len()).unwrap_or(&[]));
    }
}

/// Writes the message's length, which counts itself and not its type.
fn seal(out: &mut [u8], from: usize) -> Result<(), RowError> {
    let length = i32::try_from(out.len() - from - 1).map_err(|_| RowError::TooLarge)?;
    if let Some(slot) = out.get_mut(from + 1..from + 5) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

enum Replaced {
    No,
    /// With what the value was, or was taken for.
    Yes(Masked, Category),
}

/// Judges one value and appends its replacement. Whatever goes wrong inside redacts the value.
fn replace(plan: &ColumnPlan, detectors: &Detectors, value: &[u8], out: &mut Vec<u8>) -> Replaced {
    let from = out.len();
    // Nothing that the closure touches is used after a panic except `out`, which is cut back.
    let judged = catch_unwind(AssertUnwindSafe(|| match plan.action {
        ColumnAction::Clear => Replaced::No,
        ColumnAction::Mask { style, category } => {
            Replaced::Yes(mask_whole(plan, style, category, value, out), category.unwrap_or(Category::Other))
        }
        ColumnAction::Detect => detect(plan, detectors, value, out),
    }));
    judged.unwrap_or_else(|_| {
        out.truncate(from);
        Replaced::Yes(mask_whole(plan, MaskStyle::Redact, None, value, out), Category::Other)
    })
}

fn mask_whole(
    plan: &ColumnPlan,
    style: MaskStyle,
    category: Option<Category>,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Masked {
    mask_value(style, category, plan.type_oid, plan.type_modifier, plan.format, value, out)
}

fn detect(plan: &ColumnPlan, detectors: &Detectors, value: &[u8], out: &mut Vec<u8>) -> Replaced {
    let from = out.len();
    match (TypeClass::of(plan.type_oid), plan.format) {
        (TypeClass::Text, _) => {
            if let Some(finding) = detectors.detect_in(plan.context, value) {
                let category = finding.category;
                let masked = mask_whole(plan, MaskStyle::Partial, Some(category), value, out);
                return Replaced::Yes(masked, category);
            }
            if !(starts_like_json(value) && mask_document(detectors, value, out) != Document::Not) {
                out.truncate(from);
                if mask_ranges_in(detectors, plan.context, value, out) == 0 {
                    return Replaced::No;
                }
            } else if out.get(from..) == Some(value) {
                return Replaced::No;
            }
            // A marker may be longer than what it hides, and the column may be limited.
            match characters_max(plan.type_oid, plan.type_modifier) {
                Some(limit) if out.len() - from > limit && characters(out.get(from..)) > limit => {
                    out.truncate(from);
                    Replaced::Yes(mask_whole(plan, MaskStyle::Redact, None, value, out), Category::Other)
                }
                _ => Replaced::Yes(Masked::Value, Category::Other),
            }
        }
        (TypeClass::Json, _) | (TypeClass::Jsonb, Format::Text) => {
            let document = mask_document(detectors, value, out);
            json_outcome(document, plan, value, from, out)
        }
        (TypeClass::Jsonb, Format::Binary) => {
            let document = match value.split_first() {
                Some((1, text)) => {
                    out.push(1);
                    mask_document(detectors, text, out)
                }
                _ => Document::Not,
            };
            json_outcome(document, plan, value, from, out)
        }
        (TypeClass::TextArray, Format::Text) => match mask_ranges(detectors, value, out) {
            0 => Replaced::No,
            _ if out.get(from) == Some(&b'{') => Replaced::Yes(Masked::Value, Category::Other),
            _ => Replaced::Yes(Masked::Null, Category::Other),
        },
        // Elements and fields of text stand in the binary form of arrays and composites as they are.
        (TypeClass::TextArray | TypeClass::Other | TypeClass::SingleByte, _) => {
            let mut found = Vec::new();
            if detectors.detect(value).is_none() {
                detectors.find_in_text(value, &mut found);
                if found.is_empty() {
                    return Replaced::No;
                }
            }
            Replaced::Yes(Masked::Null, Category::Other)
        }
        _ => Replaced::No,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Document {
    Masked,
    Unchanged,
    Not,
}

fn mask_document(detectors: &Detectors, text: &[u8], out: &mut Vec<u8>) -> Document {
    match mask_json(detectors, text, out) {
        Ok(0) => Document::Unchanged,
        Ok(_) => Document::Masked,
        Err(_) => Document::Not,
    }
}

/// The server only sends valid JSON: what cannot be read is not understood, and hidden.
fn json_outcome(
    document: Document,
    plan: &ColumnPlan,
    value: &[u8],
    from: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    match document {
        Document::Masked => Replaced::Yes(Masked::Value, Category::Other),
        Document::Unchanged => Replaced::No,
        Document::Not => {
            out.truncate(from);
            Replaced::Yes(mask_whole(plan, MaskStyle::Redact, None, value, out), Category::Other)
        }
    }
}

fn starts_like_json(value: &[u8]) -> bool {
    matches!(value.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Characters of text that may not be UTF-8: continuation bytes do not count.
fn characters(text: Option<&[u8]>) -> usize {
    text.unwrap_or(&[]).iter().filter(|&&b| b & 0xC0 != 0x80).count()
}

#[cfg(test)]
mod tests;
