//! Masks one DataRow, or says that nothing in it changes.
//!
//! Streaming: one row in, one row out; nothing is kept between rows. While nothing has changed nothing
//! is copied, so a row without findings costs a walk over its lengths and the detectors' first look.
//!
//! Invariant: a row that does not parse to the last byte is an error, never forwarded. A value whose
//! judging fails in any way is redacted.
//! Protocol: <https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-DATAROW>

mod value;

pub(super) use value::{Replaced, replace};

use super::detector::ColumnContext;
use super::json::JsonPlace;
use super::masker::Masker;
use super::pg_type::TypeClass;
use super::transform::{Format, Masked};
use crate::engine::model::{Category, MaskDoubt, MaskStyle, Types};
use std::sync::Arc;
use value::{Seen, see, write};

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
    /// Places in documents that are masked, by the column's index.
    pub places: Vec<(usize, Arc<[JsonPlace]>)>,
}

impl RowPlan {
    /// No row can change: forward them unread.
    pub fn is_passive(&self) -> bool {
        self.columns.iter().all(ColumnPlan::is_passive)
    }
}

/// Values of a result that were replaced, over all its rows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskCounts {
    /// In whole or in part.
    pub values: u64,
    /// The same values by what they are, in the order of [`Category::ALL`].
    pub by: [u32; Category::ALL.len()],
    /// Of these, values that were masked in doubt, in the order of [`MaskDoubt::ALL`].
    pub in_doubt: [u32; MaskDoubt::ALL.len()],
}

impl MaskCounts {
    /// One more value was replaced.
    fn count(&mut self, category: Category) {
        self.values = self.values.saturating_add(1);
        if let Some(count) = self.by.get_mut(category as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// One more, and nothing certain was known of it.
    fn count_doubt(&mut self, why: MaskDoubt) {
        self.count(Category::Other);
        if let Some(count) = self.in_doubt.get_mut(why as usize) {
            *count = count.saturating_add(1);
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
/// content) to `out` and returns true; otherwise, and on errors, leaves `out` as it was. Replaced values are added to `counts`, on
/// errors those before it as well.
pub fn mask_row(
    plan: &RowPlan,
    masker: &Masker,
    body: &[u8],
    out: &mut Vec<u8>,
    counts: &mut MaskCounts,
) -> Result<bool, RowError> {
    let from = out.len();
    let result = rewrite(plan, masker, body, out, counts).and_then(|changed| {
        if changed {
            seal(out, from)?;
        }
        Ok(changed)
    });
    if result.is_err() {
        out.truncate(from);
    }
    result
}

fn rewrite(
    plan: &RowPlan,
    masker: &Masker,
    body: &[u8],
    out: &mut Vec<u8>,
    counts: &mut MaskCounts,
) -> Result<bool, RowError> {
    let mut changed = false;
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
            copy_if_changed(changed, before, tail, out);
            continue;
        }
        let bytes = usize::try_from(length).map_err(|_| RowError::NegativeLength { column, length })?;
        let (value, tail) = tail.split_at_checked(bytes).ok_or(RowError::Truncated { column })?;
        rest = tail;
        let seen = see(plan, column, column_plan, masker, value);
        if matches!(seen, Seen::Nothing) {
            copy_if_changed(changed, before, tail, out);
            continue;
        }
        let at = out.len();
        if !changed {
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
                copy_if_changed(changed, before, tail, out);
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
                replaced.note(counts);
                changed = true;
            }
        }
    }
    if rest.is_empty() { Ok(changed) } else { Err(RowError::Leftover { bytes: rest.len() }) }
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

#[cfg(test)]
mod tests;
