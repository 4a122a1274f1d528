//! COPY's CSV format, as the server writes it: a field is quoted as a whole or not at all.

use super::{CopyError, Field, Fields};
use std::borrow::Cow;

#[derive(Debug)]
pub(super) struct Layout {
    delimiter: u8,
    null: Vec<u8>,
    quote: u8,
    escape: u8,
    /// Where the search for a row's end stopped.
    scan: Scan,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scan {
    #[default]
    Outside,
    Quoted,
    /// Behind an escape that is not the quote itself.
    Escaped,
}

impl Layout {
    pub fn new(delimiter: u8, null: &str, quote: u8, escape: u8) -> Self {
        Self { delimiter, null: null.as_bytes().to_vec(), quote, escape, scan: Scan::Outside }
    }

    /// Behind the first line feed that is not quoted. `scanned` bytes were looked at before.
    ///
    /// A quote that is doubled ends the quoting and begins it again, with nothing between.
    pub fn row_end(&mut self, data: &[u8], scanned: usize) -> Option<usize> {
        if scanned == 0 {
            self.scan = Scan::Outside;
        }
        for (at, &byte) in data.iter().enumerate().skip(scanned) {
            self.scan = match self.scan {
                Scan::Outside if byte == b'\n' => return Some(at + 1),
                Scan::Outside if byte == self.quote => Scan::Quoted,
                Scan::Outside => Scan::Outside,
                Scan::Quoted if byte == self.escape && self.escape != self.quote => Scan::Escaped,
                Scan::Quoted if byte == self.quote => Scan::Outside,
                Scan::Quoted | Scan::Escaped => Scan::Quoted,
            };
        }
        None
    }

    /// The length of a quoted field that begins `line`, quotes included.
    fn quoted_length(&self, line: &[u8]) -> Result<usize, CopyError> {
        let mut at = 1;
        while let Some(&byte) = line.get(at) {
            let next = line.get(at + 1).copied();
            if byte == self.escape && next.is_some_and(|next| next == self.quote || next == self.escape) {
                at += 2;
            } else if byte == self.quote {
                return Ok(at + 1);
            } else {
                at += 1;
            }
        }
        Err(CopyError::Malformed)
    }
}

impl Fields for Layout {
    fn first<'l>(&self, line: &'l [u8]) -> Result<Field<'l>, CopyError> {
        let is_quoted = line.first() == Some(&self.quote);
        let length = if is_quoted {
            self.quoted_length(line)?
        } else {
            let end = memchr::memchr2(self.delimiter, self.quote, line).unwrap_or(line.len());
            if line.get(end) == Some(&self.quote) {
                return Err(CopyError::Malformed);
            }
            end
        };
        let (raw, behind) = line.split_at_checked(length).ok_or(CopyError::Malformed)?;
        let rest = match behind.split_first() {
            None => None,
            Some((delimiter, rest)) if *delimiter == self.delimiter => Some(rest),
            Some(_) => return Err(CopyError::Malformed),
        };
        Ok(Field { raw, is_quoted, rest })
    }

    fn null(&self) -> &[u8] {
        &self.null
    }

    /// A value that reads like it is quoted.
    fn null_is_ambiguous(&self) -> bool {
        false
    }

    fn decode<'f>(&self, field: &Field<'f>) -> Cow<'f, [u8]> {
        if !field.is_quoted {
            return Cow::Borrowed(field.raw);
        }
        let inside = field.raw.get(1..field.raw.len().saturating_sub(1)).unwrap_or_default();
        if memchr::memchr(self.escape, inside).is_none() {
            return Cow::Borrowed(inside);
        }
        let mut value = Vec::with_capacity(inside.len());
        let mut bytes = inside.iter().peekable();
        while let Some(&byte) = bytes.next() {
            let escapes = |next: &&u8| **next == self.quote || **next == self.escape;
            match bytes.peek().filter(|next| byte == self.escape && escapes(next)) {
                Some(&&escaped) => {
                    value.push(escaped);
                    bytes.next();
                }
                None => value.push(byte),
            }
        }
        Cow::Owned(value)
    }

    fn encode(&self, value: &[u8], out: &mut Vec<u8>) {
        out.push(self.quote);
        for &byte in value {
            if byte == self.quote || byte == self.escape {
                out.push(self.escape);
            }
            out.push(byte);
        }
        out.push(self.quote);
    }

    fn delimiter(&self) -> u8 {
        self.delimiter
    }
}
