//! Masks one DataRow, or says that nothing in it changes.
//!
//! Streaming: one row in, one row out; nothing is kept between rows. While nothing has changed nothing
//! is copied, so a row without findings costs a walk over its lengths and the detectors' first look.
//!
//! Invariant: a row that does not parse to the last byte is an error, never forwarded. A value whose
//! judging fails in any way is redacted.
//! Protocol: <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW>

use super::classify::classify_column;
use super::definition::{Definitions, without_secrets};
use super::detector::{ColumnContext, Finding};
use super::json::{JsonPath, JsonStop, hide, mask_json, mask_json_at};
use super::masker::Masker;
use super::pg_type::{TypeClass, XML, characters_max};
use super::structure::{self, Leaf, xml};
use super::transform::{Format, Masked, ValueMask, mask_value};
use crate::engine::model::{Category, MaskDoubt, MaskStyle, Types};
use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What happens to the values of one result column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnAction {
    /// Shown as it is, unread.
    Clear,
    /// Shown unless a detector knows the value or something in it.
    Detect,
    /// Never shown. `category` is `None` where the origin is unknown; keyed styles replace equal values
    /// alike where `tweak` is equal.
    Mask { style: MaskStyle, category: Option<Category>, tweak: u64 },
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
    /// Its values are never shown.
    pub(super) fn is_masked(&self) -> bool {
        matches!(self.action, ColumnAction::Mask { .. })
    }

    /// Values of this column can never change.
    pub(super) fn is_passive(&self) -> bool {
        match self.action {
            ColumnAction::Clear => true,
            ColumnAction::Detect => !TypeClass::of(self.type_oid).could_show_text(),
            ColumnAction::Mask { .. } => false,
        }
    }
}

/// What happens to the rows of one result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPlan {
    pub columns: Vec<ColumnPlan>,
    /// What values of the database's types are made of.
    pub types: Arc<Types>,
    /// Places in documents that are hidden, by the column's index.
    pub paths: Vec<(usize, Arc<[JsonPath]>)>,
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
    /// Of these, values that were masked in doubt, in the order of [`MaskDoubt::ALL`].
    pub in_doubt: [u32; MaskDoubt::ALL.len()],
}

impl RowOutcome {
    /// One more value was replaced.
    fn count(&mut self, category: Category) {
        self.changed = true;
        self.masked_values += 1;
        if let Some(count) = self.masked_by.get_mut(category as usize) {
            *count += 1;
        }
    }

    /// One more, and nothing certain was known of it.
    fn count_doubt(&mut self, why: MaskDoubt) {
        self.count(Category::Other);
        if let Some(count) = self.in_doubt.get_mut(why as usize) {
            *count += 1;
        }
    }

    /// Another row of the same.
    pub(super) fn add(&mut self, other: &Self) {
        self.changed |= other.changed;
        self.masked_values = self.masked_values.saturating_add(other.masked_values);
        for (total, here) in self.masked_by.iter_mut().zip(other.masked_by) {
            *total = total.saturating_add(here);
        }
        for (total, here) in self.in_doubt.iter_mut().zip(other.in_doubt) {
            *total = total.saturating_add(here);
        }
    }
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
    masker: &Masker,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<RowOutcome, RowError> {
    let from = out.len();
    let mut outcome = RowOutcome::default();
    let mut result = rewrite(plan, masker, body, out, &mut outcome);
    if outcome.changed && result.is_ok() {
        result = seal(out, from);
    }
    if let Err(error) = result {
        out.truncate(from);
        return Err(error);
    }
    Ok(outcome)
}

fn rewrite(
    plan: &RowPlan,
    masker: &Masker,
    body: &[u8],
    out: &mut Vec<u8>,
    outcome: &mut RowOutcome,
) -> Result<(), RowError> {
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(RowError::Truncated { column: 0 })?;
    let found = i16::from_be_bytes(*count);
    if usize::try_from(found) != Ok(plan.columns.len()) {
        return Err(RowError::ColumnCount { found, described: plan.columns.len() });
    }
    for (column, column_plan) in plan.columns.iter().enumerate() {
        let before = rest;
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(RowError::Truncated { column })?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            rest = tail;
            copy_if_changed(outcome.changed, before, tail, out);
            continue;
        }
        let bytes = usize::try_from(length).map_err(|_| RowError::NegativeLength { column, length })?;
        let (value, tail) = tail.split_at_checked(bytes).ok_or(RowError::Truncated { column })?;
        rest = tail;
        let seen = see(plan, column, column_plan, masker, value);
        if matches!(seen, Seen::Nothing) {
            copy_if_changed(outcome.changed, before, tail, out);
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
        let replaced = write(plan, column, masker, value, seen, out);
        match replaced.masked() {
            None => {
                out.truncate(at);
                copy_if_changed(outcome.changed, before, tail, out);
            }
            Some(masked) => {
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
                replaced.note(outcome);
            }
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(RowError::Leftover { bytes: rest.len() }) }
}

fn copy_if_changed(changed: bool, before: &[u8], after: &[u8], out: &mut Vec<u8>) {
    if changed {
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

pub(super) enum Replaced {
    No,
    /// With what the value was, or was taken for.
    Yes(Masked, Category),
    /// Nothing certain was known of it, and why.
    InDoubt(Masked, MaskDoubt),
}

impl Replaced {
    /// What became of the value, where something did.
    pub(super) fn masked(&self) -> Option<Masked> {
        match self {
            Self::No => None,
            Self::Yes(masked, _) | Self::InDoubt(masked, _) => Some(*masked),
        }
    }

    /// The same reason, with another replacement.
    pub(super) fn with(self, masked: Masked) -> Self {
        match self {
            Self::No => Self::No,
            Self::Yes(_, category) => Self::Yes(masked, category),
            Self::InDoubt(_, why) => Self::InDoubt(masked, why),
        }
    }

    /// Counts it.
    pub(super) fn note(&self, outcome: &mut RowOutcome) {
        match self {
            Self::No => {}
            Self::Yes(_, category) => outcome.count(*category),
            Self::InDoubt(_, why) => outcome.count_doubt(*why),
        }
    }
}

/// What is known of a value before anything is written: most values show nothing, and end here.
enum Seen {
    /// It is shown as it is.
    Nothing,
    /// All of it is hidden.
    Is(Category),
    /// These parts of it are hidden.
    Holds(Vec<(Range<usize>, Category)>),
    /// A detector failed.
    Failed,
    /// The operator's detectors came to their bound before they came to its end.
    Unfinished,
    /// It is judged while it is written: a document, a structure, a column that is masked.
    Open,
}

/// Looks at one value. Plain text is judged at once.
fn see(row: &RowPlan, column: usize, plan: &ColumnPlan, masker: &Masker, value: &[u8]) -> Seen {
    let class = TypeClass::of(plan.type_oid);
    match plan.action {
        ColumnAction::Clear => return Seen::Nothing,
        ColumnAction::Detect if !class.could_show_text() => return Seen::Nothing,
        ColumnAction::Mask { .. } => return Seen::Open,
        ColumnAction::Detect => {}
    }
    let is_plain = class == TypeClass::Text
        && plan.type_oid != XML
        && plan.context.definitions == Definitions::No
        && !starts_like_json(value)
        && !row.paths.iter().any(|(at, _)| *at == column);
    if !is_plain {
        return Seen::Open;
    }
    // Nothing is changed that could be seen after a panic.
    catch_unwind(AssertUnwindSafe(|| {
        let mut found = Vec::new();
        match masker.detectors.search(plan.context, value, &mut found) {
            Some(finding) if finding.is_unfinished() => Seen::Unfinished,
            Some(Finding { category, .. }) => Seen::Is(category),
            None if found.is_empty() => Seen::Nothing,
            None => Seen::Holds(found),
        }
    }))
    .unwrap_or(Seen::Failed)
}

/// Judges one value and appends its replacement. Whatever goes wrong inside redacts the value.
pub(super) fn replace(
    row: &RowPlan,
    column: usize,
    masker: &Masker,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Replaced {
    let Some(plan) = row.columns.get(column) else { return Replaced::Yes(Masked::Null, Category::Other) };
    write(row, column, masker, value, see(row, column, plan, masker, value), out)
}

/// Appends the replacement of a value of which so much is known.
fn write(
    row: &RowPlan,
    column: usize,
    masker: &Masker,
    value: &[u8],
    seen: Seen,
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    let types = &*row.types;
    let Some(plan) = row.columns.get(column) else { return Replaced::Yes(Masked::Null, Category::Other) };
    // Nothing that the closure touches is used after a panic except `out`, which is cut back.
    let written = catch_unwind(AssertUnwindSafe(|| match (seen, plan.action) {
        (Seen::Failed, _) => None,
        (Seen::Nothing, _) | (_, ColumnAction::Clear) => Some(Replaced::No),
        (_, ColumnAction::Mask { style, category, tweak }) => {
            let how = How { style, category, tweak };
            let masked = mask_whole(types, plan, masker, how, value, out);
            Some(match category {
                Some(category) => Replaced::Yes(masked, category),
                None => Replaced::InDoubt(masked, MaskDoubt::UnknownOrigin),
            })
        }
        (Seen::Unfinished, _) => Some(unfinished(types, plan, masker, value, from, out)),
        (Seen::Is(category), _) => {
            Some(Replaced::Yes(mask_whole(types, plan, masker, How::partial(category), value, out), category))
        }
        (Seen::Holds(found), _) => {
            hide(value, &found, out);
            Some(within_limit(types, plan, masker, value, from, out))
        }
        (Seen::Open, _) => Some(match row.paths.iter().find(|(at, _)| *at == column) {
            Some((_, paths)) => document(types, plan, masker, paths, value, out),
            None => detect(types, plan, masker, value, 0, out),
        }),
    }));
    written.ok().flatten().unwrap_or_else(|| {
        out.truncate(from);
        Replaced::InDoubt(mask_whole(types, plan, masker, How::REDACT, value, out), MaskDoubt::Failed)
    })
}

/// Hides all of a value that could not be searched to its end. What was written from `from` on is taken back.
fn unfinished(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    from: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    out.truncate(from);
    Replaced::InDoubt(mask_whole(types, plan, masker, How::REDACT, value, out), MaskDoubt::SearchBound)
}

/// What was written from `from` on, unless it is longer than the column may be: a marker may be longer than what it hides.
fn within_limit(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    from: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    match characters_max(plan.type_oid, plan.type_modifier) {
        Some(limit) if out.len() - from > limit && characters(out.get(from..)) > limit => {
            out.truncate(from);
            Replaced::Yes(mask_whole(types, plan, masker, How::REDACT, value, out), Category::Other)
        }
        _ => Replaced::Yes(Masked::Value, Category::Other),
    }
}

/// How a value is masked, whatever it is declared as.
#[derive(Clone, Copy, Debug)]
struct How {
    style: MaskStyle,
    category: Option<Category>,
    tweak: u64,
}

impl How {
    const REDACT: Self = Self { style: MaskStyle::Redact, category: None, tweak: 0 };

    fn partial(category: Category) -> Self {
        Self { style: MaskStyle::Partial, category: Some(category), tweak: 0 }
    }
}

fn mask_whole(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    how: How,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Masked {
    let format = plan.format;
    let How { style, category, tweak } = how;
    if plan.type_oid == XML && style != MaskStyle::Null {
        // A document for who parses it.
        if !xml::stands_for(masker, style, category, tweak, value, out) {
            out.extend_from_slice(structure::XML_MARKER);
        }
        return Masked::Value;
    }
    let plain = |leaf: &Leaf<'_>, value: &[u8], out: &mut Vec<u8>| {
        let Leaf { type_oid, type_modifier, .. } = *leaf;
        let mask = ValueMask { style, category, tweak, type_oid, type_modifier, format };
        mask_value(masker, &mask, value, out)
    };
    let leaf = Leaf::of(plan);
    if structure::is_structured(types, plan.type_oid) {
        return structure::mask(types, &leaf, style, format, value, &plain, out);
    }
    plain(&leaf, value, out)
}

/// A document of which some places are hidden.
fn document(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    paths: &[JsonPath],
    value: &[u8],
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    let text = match (TypeClass::of(plan.type_oid), plan.format) {
        (TypeClass::Jsonb, Format::Binary) => value.strip_prefix(&[1]),
        (TypeClass::Json | TypeClass::Jsonb | TypeClass::Text, _) => Some(value),
        _ => None,
    };
    let document = match text {
        Some(text) => {
            out.extend_from_slice(value.get(..value.len() - text.len()).unwrap_or_default());
            match mask_json_at(masker, paths, text, out) {
                Ok(0) => Document::Unchanged,
                Ok(_) => Document::Masked,
                Err(JsonStop::Unfinished) => Document::Unfinished,
                Err(_) => Document::Not,
            }
        }
        None => Document::Not,
    };
    json_outcome(types, document, plan, masker, value, from, out)
}

/// `depth`: of arrays and rows around the value.
fn detect(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    depth: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    let is_text = match TypeClass::of(plan.type_oid) {
        TypeClass::Text | TypeClass::Json | TypeClass::Jsonb => true,
        // What COPY writes in text is text, whatever it is made of.
        _ => plan.type_oid == 0 && plan.format == Format::Text,
    };
    if !is_text {
        return search(types, plan, masker, value, depth, out);
    }
    let from = out.len();
    let shown = without_secrets(plan.context.definitions, types.hidden(), value);
    match (search(types, plan, masker, &shown, depth, out), shown) {
        (Replaced::No, Cow::Owned(shown)) => {
            out.truncate(from);
            out.extend_from_slice(&shown);
            Replaced::Yes(Masked::Value, Category::Credential)
        }
        (replaced, _) => replaced,
    }
}

/// The same of a value in which no definition hides anything.
fn search(
    types: &Types,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    depth: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    match (TypeClass::of(plan.type_oid), plan.format) {
        (TypeClass::Text, _) if plan.type_oid == XML && value.contains(&b'<') => {
            xml::mask_xml(masker, value, out)
        }
        (TypeClass::Text, _) => {
            let detectors = &masker.detectors;
            let mut found = Vec::new();
            // A document is none of the built-in kinds, but operators may have defined one.
            let document = match starts_like_json(value) {
                true if detectors.user_defined(plan.context, value).is_some() => Document::Not,
                true => mask_document(masker, value, out),
                false => Document::Not,
            };
            match document {
                Document::Masked => {}
                Document::Unchanged => return Replaced::No,
                Document::Unfinished => return unfinished(types, plan, masker, value, from, out),
                Document::Not => {
                    out.truncate(from);
                    match detectors.search(plan.context, value, &mut found) {
                        Some(finding) if finding.is_unfinished() => {
                            return unfinished(types, plan, masker, value, from, out);
                        }
                        Some(Finding { category, .. }) => {
                            let masked = mask_whole(types, plan, masker, How::partial(category), value, out);
                            return Replaced::Yes(masked, category);
                        }
                        None if found.is_empty() => return Replaced::No,
                        None => hide(value, &found, out),
                    }
                }
            }
            within_limit(types, plan, masker, value, from, out)
        }
        (TypeClass::Json, _) | (TypeClass::Jsonb, Format::Text) => {
            let document = mask_document(masker, value, out);
            json_outcome(types, document, plan, masker, value, from, out)
        }
        (TypeClass::Jsonb, Format::Binary) => {
            let document = match value.split_first() {
                Some((1, text)) => {
                    out.push(1);
                    mask_document(masker, text, out)
                }
                _ => Document::Not,
            };
            json_outcome(types, document, plan, masker, value, from, out)
        }
        (TypeClass::TextArray | TypeClass::Other | TypeClass::SingleByte, format) => {
            let leaf = |leaf: &Leaf<'_>, value: &[u8], out: &mut Vec<u8>| {
                // A field's name counts like a key in JSON.
                let named = leaf.name.and_then(|name| classify_column("", name, leaf.type_oid));
                let plan = ColumnPlan { format, context: plan.context.of_part(), ..leaf.plan() };
                match named {
                    Some(category) => {
                        let masked = mask_whole(types, &plan, masker, How::REDACT, value, out);
                        Replaced::Yes(masked, category)
                    }
                    None => detect(types, &plan, masker, value, depth + 1, out),
                }
            };
            if structure::is_structured(types, plan.type_oid) && depth < structure::DEPTH_MAX {
                return structure::detect(types, &Leaf::of(plan), format, value, &leaf, out);
            }
            // Text stands in the binary form of most types as it is.
            let mut found = Vec::new();
            let is_definition =
                matches!(without_secrets(plan.context.definitions, types.hidden(), value), Cow::Owned(_));
            if !is_definition {
                match masker.detectors.search(ColumnContext::UNKNOWN, value, &mut found) {
                    None if found.is_empty() => return Replaced::No,
                    Some(finding) if finding.is_unfinished() => {
                        return Replaced::InDoubt(Masked::Null, MaskDoubt::SearchBound);
                    }
                    _ => {}
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
    /// The operator's detectors came to their bound.
    Unfinished,
}

fn mask_document(masker: &Masker, text: &[u8], out: &mut Vec<u8>) -> Document {
    match mask_json(masker, text, out) {
        Ok(0) => Document::Unchanged,
        Ok(_) => Document::Masked,
        Err(JsonStop::Unfinished) => Document::Unfinished,
        Err(_) => Document::Not,
    }
}

/// The server only sends valid JSON: what cannot be read is not understood, and hidden.
fn json_outcome(
    types: &Types,
    document: Document,
    plan: &ColumnPlan,
    masker: &Masker,
    value: &[u8],
    from: usize,
    out: &mut Vec<u8>,
) -> Replaced {
    match document {
        Document::Masked => Replaced::Yes(Masked::Value, Category::Other),
        Document::Unchanged => Replaced::No,
        Document::Unfinished => unfinished(types, plan, masker, value, from, out),
        Document::Not => {
            out.truncate(from);
            let masked = mask_whole(types, plan, masker, How::REDACT, value, out);
            Replaced::InDoubt(masked, MaskDoubt::NotUnderstood)
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
