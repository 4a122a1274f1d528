//! COPY's text format: `\` before what is not meant as it stands.

use super::{CopyError, Field, Fields};
use std::borrow::Cow;

#[derive(Debug)]
pub(super) struct Layout {
    delimiter: u8,
    null: Vec<u8>,
}

impl Layout {
    pub fn new(delimiter: u8, null: &str) -> Self {
        Self { delimiter, null: null.as_bytes().to_vec() }
    }

    /// Behind the first line feed that ends a row. `scanned` bytes were looked at before.
    pub fn row_end(&self, data: &[u8], scanned: usize) -> Option<usize> {
        // Values have no line feed in them: the server writes `\n`.
        let new = data.get(scanned.min(data.len())..)?;
        memchr::memchr(b'\n', new).map(|at| data.len() - new.len() + at + 1)
    }
}

impl Fields for Layout {
    fn first<'l>(&self, line: &'l [u8]) -> Result<Field<'l>, CopyError> {
        let mut from = 0;
        loop {
            let ahead = line.get(from..).unwrap_or_default();
            let Some(at) = memchr::memchr2(self.delimiter, b'\\', ahead).map(|at| from + at) else {
                return Ok(Field { raw: line, is_quoted: false, rest: None });
            };
            if line.get(at) == Some(&b'\\') {
                // An escape takes the next byte with it; the line cannot end inside one.
                if at + 1 >= line.len() {
                    return Err(CopyError::Malformed);
                }
                from = at + 2;
                continue;
            }
            let (raw, rest) = line.split_at_checked(at).ok_or(CopyError::Malformed)?;
            return Ok(Field { raw, is_quoted: false, rest: rest.get(1..) });
        }
    }

    fn null(&self) -> &[u8] {
        &self.null
    }

    /// `\N` is written for no value; nobody gains from knowing which values are empty.
    fn null_is_ambiguous(&self) -> bool {
        self.null != b"\\N" && !self.null.is_empty()
    }

    fn decode<'f>(&self, field: &Field<'f>) -> Cow<'f, [u8]> {
        let raw = field.raw;
        if memchr::memchr(b'\\', raw).is_none() {
            return Cow::Borrowed(raw);
        }
        let mut value = Vec::with_capacity(raw.len());
        let mut bytes = raw.iter();
        while let Some(&byte) = bytes.next() {
            if byte != b'\\' {
                value.push(byte);
                continue;
            }
            let Some(&escaped) = bytes.next() else { break };
            value.push(ESCAPES.iter().find(|(letter, _)| *letter == escaped).map_or(escaped, |(_, b)| *b));
        }
        Cow::Owned(value)
    }

    fn encode(&self, value: &[u8], out: &mut Vec<u8>) {
        for &byte in value {
            if let Some((letter, _)) = ESCAPES.iter().find(|(_, b)| *b == byte) {
                out.extend_from_slice(&[b'\\', *letter]);
            } else {
                if byte == b'\\' || byte == self.delimiter {
                    out.push(b'\\');
                }
                out.push(byte);
            }
        }
    }

    fn delimiter(&self) -> u8 {
        self.delimiter
    }
}

const ESCAPES: [(u8, u8); 6] =
    [(b'b', 8), (b'f', 12), (b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'v', 11)];
