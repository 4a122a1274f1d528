//! What is shown at a place in documents that an operator named: as much as its style shows of a column's value.
//!
//! A string is masked as a text is, a number as a `numeric`, so that a hash or token here equals the one of a column of the same
//! category. Yes and no are null: there are too few of them for any style.
//!
//! Invariant: what is written is JSON, and ASCII alone. What cannot be read as a string has no style: it is redacted.

use super::JsonPath;
use crate::engine::masking::masker::Masker;
use crate::engine::masking::pg_type::{NUMERIC, TEXT};
use crate::engine::masking::transform::{Format, JSON_MARKER, Masked, ValueMask, mask_value};
use crate::engine::model::{Category, MaskStyle};
use std::borrow::Cow;

/// A place in documents, and how what stands there is masked, alone or below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPlace {
    pub path: JsonPath,
    pub style: MaskStyle,
    pub category: Category,
    /// Keyed styles replace equal values alike where this is equal.
    pub tweak: u64,
}

impl JsonPlace {
    /// Appends what stands for a string, given with its quotes.
    pub(super) fn string(&self, masker: &Masker, quoted: &[u8], out: &mut Vec<u8>) {
        let mut made = Vec::new();
        let masked = match content(quoted) {
            Some(text) => mask_value(masker, &self.mask(TEXT), &text, &mut made),
            None if self.style == MaskStyle::Null => Masked::Null,
            None => return out.extend_from_slice(JSON_MARKER),
        };
        match (masked, std::str::from_utf8(&made).ok().filter(|made| made.is_ascii())) {
            (Masked::Null, _) => out.extend_from_slice(b"null"),
            (Masked::Value, Some(made)) => write_string(made, out),
            (Masked::Value, None) => out.extend_from_slice(JSON_MARKER),
        }
    }

    /// Appends what stands for a number.
    pub(super) fn number(&self, masker: &Masker, number: &[u8], out: &mut Vec<u8>) {
        // A number's text is one of JSON's, too.
        if mask_value(masker, &self.mask(NUMERIC), number, out) == Masked::Null {
            out.extend_from_slice(b"null");
        }
    }

    fn mask(&self, type_oid: u32) -> ValueMask {
        let Self { style, category, tweak, .. } = *self;
        let category = Some(category);
        ValueMask { style, category, tweak, type_oid, type_modifier: -1, format: Format::Text }
    }
}

/// The text of a string, escapes resolved; `None` where half a character is written.
fn content(quoted: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inside = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !inside.contains(&b'\\') {
        return Some(inside.into());
    }
    serde_json::from_slice::<String>(quoted).ok().map(|text| text.into_bytes().into())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0..b' ' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
