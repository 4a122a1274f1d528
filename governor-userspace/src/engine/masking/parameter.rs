//! Masks values that go into audit records: bound parameters and literals.

use super::json::{JsonStop, mask_json, mask_ranges};
use super::masker::Masker;
use super::pg_type::TEXT;
use super::transform::{Format, MARKER, ValueMask, mask_value};
use crate::engine::model::MaskStyle;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Longest text that [`mask_parameter`] returns, in bytes, its closing mark included.
pub const PARAMETER_BYTES_MAX: usize = 256;

/// The value as an audit record may show it: what detectors know is hidden, and what is left is cut to
/// [`PARAMETER_BYTES_MAX`]. Only the first few KiB are read, whatever the value's length; they are
/// masked before they are cut, so no half of a card number survives at the edge.
pub fn mask_parameter(masker: &Masker, text: &str) -> String {
    // Same rule as for rows: a detector that fails hides the value.
    catch_unwind(AssertUnwindSafe(|| masked(masker, text))).unwrap_or_else(|_| "[masked]".into())
}

/// SQL text as an audit record may show it: values in it that detectors know are hidden, and it is
/// cut to `bytes_max`, after masking so that no half of a value survives at the edge.
pub fn mask_text(masker: &Masker, text: &str, bytes_max: usize) -> String {
    let read = head(text, bytes_max.saturating_add(READ_BYTES_MAX));
    let mut out = Vec::new();
    let done = catch_unwind(AssertUnwindSafe(|| mask_ranges(masker, read.as_bytes(), &mut out)));
    if done.is_err() {
        return "[masked]".into();
    }
    let mut shown = text_of(out);
    if shown.len() > bytes_max {
        let kept = head(&shown, bytes_max.saturating_sub(MORE.len())).len();
        shown.truncate(kept);
        shown.push_str(MORE);
    }
    shown
}

fn masked(masker: &Masker, text: &str) -> String {
    let read = head(text, READ_BYTES_MAX);
    let whole = read.len() == text.len();
    let mut out = Vec::new();
    if let Some(finding) = masker.detectors.detect(read.as_bytes()) {
        let mask = ValueMask {
            style: MaskStyle::Partial,
            category: Some(finding.category),
            tweak: 0,
            type_oid: TEXT,
            type_modifier: -1,
            format: Format::Text,
        };
        mask_value(masker, &mask, read.as_bytes(), &mut out);
    } else if !(read.trim_start().starts_with(['{', '[']) && json(masker, read, whole, &mut out)) {
        out.clear();
        mask_ranges(masker, read.as_bytes(), &mut out);
    }
    let mut shown = text_of(out);
    if !whole || shown.len() > PARAMETER_BYTES_MAX {
        let kept = head(&shown, PARAMETER_BYTES_MAX - MORE.len()).len();
        shown.truncate(kept);
        shown.push_str(MORE);
    }
    shown
}

/// Masks a document, or the beginning of one; `false` where it is none.
fn json(masker: &Masker, text: &str, whole: bool, out: &mut Vec<u8>) -> bool {
    match mask_json(masker, text.as_bytes(), out) {
        Ok(_) => true,
        Err(JsonStop::Truncated) => !whole,
        Err(JsonStop::Malformed) => false,
        Err(JsonStop::Unfinished) => {
            out.clear();
            out.extend_from_slice(MARKER);
            true
        }
    }
}

/// Masking keeps text text; should a mask ever not, it is shown as well as can be.
fn text_of(masked: Vec<u8>) -> String {
    String::from_utf8(masked).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// At most `bytes_max` bytes, cut between characters.
fn head(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or("")
}

const MORE: &str = "…";
/// Past this nothing is shown, and a longest finding fits between it and what is shown.
const READ_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
