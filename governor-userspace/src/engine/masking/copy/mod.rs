//! Masks the rows of a COPY TO, whatever pieces they come in.
//!
//! A CopyData message need not be a row, though the server sends them so. Bytes are held until a row is whole, then it is
//! written out: as it came where nothing in it changes, otherwise with the values replaced. So one row is held at most.
//! Values that are replaced look the same whatever they were: in CSV they are always quoted.
//!
//! Invariant: a row that does not have the columns that it should have is an error, and no byte of it is passed on.
//! Formats: `src/backend/commands/copyto.c`, <https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS>

mod binary;
mod csv;
mod text;

use super::masker::Masker;
use super::row::{MaskCounts, RowPlan, replace};
use super::transform::Masked;
use crate::engine::model::{CopyFormat, CopyOptions};
use std::borrow::Cow;
use std::sync::Arc;

/// The rows of one COPY TO.
#[derive(Debug)]
pub struct CopyMask {
    plan: Arc<RowPlan>,
    layout: Layout,
    /// The beginning of a row whose end has not come.
    held: Vec<u8>,
    /// So much of `held` was looked through for its end.
    scanned: usize,
    row_bytes_max: usize,
    /// The row of names has yet to come.
    header: bool,
}

#[derive(Debug)]
enum Layout {
    Text(text::Layout),
    Csv(csv::Layout),
    Binary(binary::Progress),
}

/// The server's data are not what the COPY's options say. Closes the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    #[error("a row has {found} columns or more where {expected} were expected")]
    ColumnCount { found: usize, expected: usize },
    #[error("a field is not as the format has it")]
    Malformed,
    #[error("a row is longer than {limit} bytes")]
    RowTooLong { limit: usize },
    #[error("the data end inside a row")]
    Truncated,
}

impl CopyMask {
    /// `plan` has an action for each column, in order. No row may be longer than `row_bytes_max`.
    pub fn new(options: &CopyOptions, plan: Arc<RowPlan>, row_bytes_max: usize) -> Self {
        let layout = match &options.format {
            CopyFormat::Text { delimiter, null } => Layout::Text(text::Layout::new(*delimiter, null)),
            CopyFormat::Csv { delimiter, null, quote, escape } => {
                Layout::Csv(csv::Layout::new(*delimiter, null, *quote, *escape))
            }
            CopyFormat::Binary => Layout::Binary(binary::Progress::default()),
        };
        Self { plan, layout, held: Vec::new(), scanned: 0, row_bytes_max, header: options.header }
    }

    /// Takes the next bytes and appends the rows that are whole by now. False: the bytes
    /// appended are the bytes taken, so what was given can pass as it is. Replaced values are added to `counts`.
    pub fn push(
        &mut self,
        masker: &Masker,
        bytes: &[u8],
        out: &mut Vec<u8>,
        counts: &mut MaskCounts,
    ) -> Result<bool, CopyError> {
        let mut changed = !self.held.is_empty();
        // What was held is taken out, so that rows can be cut from one run of bytes.
        let mut data = std::mem::take(&mut self.held);
        let joined: &[u8] = if data.is_empty() {
            bytes
        } else {
            data.extend_from_slice(bytes);
            &data
        };
        let mut rest = joined;
        while let Some(end) = self.row_end(rest)? {
            let (row, behind) = rest.split_at_checked(end).ok_or(CopyError::Malformed)?;
            changed |= self.row(masker, row, out, counts)?;
            rest = behind;
        }
        if rest.len() > self.row_bytes_max {
            return Err(CopyError::RowTooLong { limit: self.row_bytes_max });
        }
        if !rest.is_empty() {
            changed = true;
            let consumed = joined.len() - rest.len();
            self.held = if data.is_empty() {
                rest.to_vec()
            } else {
                data.drain(..consumed);
                data
            };
        }
        Ok(changed)
    }

    /// The server has sent all of them.
    pub fn finish(&self) -> Result<(), CopyError> {
        let ended = match &self.layout {
            Layout::Binary(progress) => progress.is_over(),
            Layout::Text(_) | Layout::Csv(_) => true,
        };
        if self.held.is_empty() && ended { Ok(()) } else { Err(CopyError::Truncated) }
    }

    /// Where the first row of `data` ends; `None` where that has not come.
    fn row_end(&mut self, data: &[u8]) -> Result<Option<usize>, CopyError> {
        if data.is_empty() {
            return Ok(None);
        }
        let end = match &mut self.layout {
            Layout::Text(layout) => layout.row_end(data, self.scanned),
            Layout::Csv(layout) => layout.row_end(data, self.scanned),
            Layout::Binary(progress) => progress.unit_end(data, self.plan.columns.len())?,
        };
        self.scanned = if end.is_some() { 0 } else { data.len() };
        Ok(end)
    }

    /// Whether something in the row changed.
    fn row(
        &mut self,
        masker: &Masker,
        row: &[u8],
        out: &mut Vec<u8>,
        counts: &mut MaskCounts,
    ) -> Result<bool, CopyError> {
        if row.len() > self.row_bytes_max {
            return Err(CopyError::RowTooLong { limit: self.row_bytes_max });
        }
        if std::mem::take(&mut self.header) {
            out.extend_from_slice(row);
            return Ok(false);
        }
        match &mut self.layout {
            Layout::Text(layout) => fields(layout, &self.plan, masker, row, out, counts),
            Layout::Csv(layout) => fields(layout, &self.plan, masker, row, out, counts),
            Layout::Binary(progress) => progress.unit(&self.plan, masker, row, out, counts),
        }
    }
}

/// How fields of a line are read and written.
trait Fields {
    /// Cuts the first field off `line` (which has no line feed at its end); the delimiter behind it goes.
    fn first<'l>(&self, line: &'l [u8]) -> Result<Field<'l>, CopyError>;
    /// NULL, as it is written.
    fn null(&self) -> &[u8];
    /// What stands for NULL may as well be a value: then the choice of that word tells which one.
    fn null_is_ambiguous(&self) -> bool;
    fn decode<'f>(&self, field: &Field<'f>) -> Cow<'f, [u8]>;
    fn encode(&self, value: &[u8], out: &mut Vec<u8>);
    fn delimiter(&self) -> u8;
}

struct Field<'l> {
    raw: &'l [u8],
    is_quoted: bool,
    /// `None`: it was the last.
    rest: Option<&'l [u8]>,
}

fn fields<F: Fields>(
    layout: &F,
    plan: &RowPlan,
    masker: &Masker,
    row: &[u8],
    out: &mut Vec<u8>,
    counts: &mut MaskCounts,
) -> Result<bool, CopyError> {
    let mut changed = false;
    let line = row.strip_suffix(b"\n").ok_or(CopyError::Malformed)?;
    let expected = plan.columns.len();
    let mut rest = Some(line);
    let mut value = Vec::new();
    for (at, column) in plan.columns.iter().enumerate() {
        let Some(line) = rest else { return Err(CopyError::ColumnCount { found: at, expected }) };
        let field = layout.first(line)?;
        rest = field.rest;
        if at > 0 {
            out.push(layout.delimiter());
        }
        let is_null = !field.is_quoted && field.raw == layout.null();
        if column.is_passive() || (is_null && !(layout.null_is_ambiguous() && column.is_masked())) {
            out.extend_from_slice(field.raw);
            continue;
        }
        value.clear();
        let replaced = replace(plan, at, masker, &layout.decode(&field), &mut value);
        match replaced.masked() {
            None => out.extend_from_slice(field.raw),
            Some(Masked::Null) => out.extend_from_slice(layout.null()),
            Some(Masked::Value) => layout.encode(&value, out),
        }
        replaced.note(counts);
        changed |= replaced.masked().is_some();
    }
    if rest.is_some_and(|rest| expected > 0 || !rest.is_empty()) {
        return Err(CopyError::ColumnCount { found: expected + 1, expected });
    }
    out.push(b'\n');
    Ok(changed)
}

#[cfg(test)]
mod tests;
