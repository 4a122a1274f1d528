//! Arrays, element by element. Dimensions and bounds stay.

use super::{Each, Leaf, Malformed, Part};
use crate::engine::masking::transform::Format;

/// Appends the array with its elements replaced as `each` says; whether anything was.
pub(super) fn rewrite(
    format: Format,
    element: u32,
    delimiter: u8,
    value: &[u8],
    each: Each<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    match format {
        Format::Text => Text { element, delimiter, value, at: 0 }.rewrite(each, out),
        Format::Binary => binary(value, each, out),
    }
}

struct Text<'a> {
    element: u32,
    delimiter: u8,
    value: &'a [u8],
    at: usize,
}

impl Text<'_> {
    fn rewrite(mut self, each: Each<'_>, out: &mut Vec<u8>) -> Result<bool, Malformed> {
        self.bounds(out)?;
        let (mut depth, mut changed) = (0_usize, false);
        // An element or a brace is due; the brace before it has just opened.
        let (mut due, mut opened) = (true, false);
        while let Some(&byte) = self.value.get(self.at) {
            match byte {
                b'{' if due && depth < DIMENSIONS_MAX => {
                    depth += 1;
                    opened = true;
                    self.copy(1, out);
                }
                b'}' if depth > 0 && (!due || opened) => {
                    depth -= 1;
                    (due, opened) = (false, false);
                    self.copy(1, out);
                    if depth == 0 {
                        break;
                    }
                }
                _ if depth == 0 => return Err(Malformed),
                byte if byte == self.delimiter && !due => {
                    due = true;
                    self.copy(1, out);
                }
                _ if due => {
                    changed |= self.element(each, out)?;
                    (due, opened) = (false, false);
                }
                _ => return Err(Malformed),
            }
        }
        if depth == 0 && !due && self.at == self.value.len() { Ok(changed) } else { Err(Malformed) }
    }

    /// `[2:3][1:1]=` in front of an array that does not begin at 1.
    fn bounds(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if self.value.first() != Some(&b'[') {
            return Ok(());
        }
        let end = memchr::memchr(b'=', self.value).ok_or(Malformed)?;
        let bounds = self.value.get(..end).ok_or(Malformed)?;
        if !bounds.iter().all(|b| b.is_ascii_digit() || b"[]:-+".contains(b)) {
            return Err(Malformed);
        }
        self.copy(end + 1, out);
        Ok(())
    }

    fn element(&mut self, each: Each<'_>, out: &mut Vec<u8>) -> Result<bool, Malformed> {
        let ahead = self.value.get(self.at..).ok_or(Malformed)?;
        let (length, value) = match ahead.first() {
            Some(b'"') => quoted(ahead)?,
            _ => {
                let stop = |b: &u8| *b == self.delimiter || b"{}\"\\".contains(b);
                let length = ahead.iter().position(stop).unwrap_or(ahead.len());
                (length, ahead.get(..length).ok_or(Malformed)?.to_vec())
            }
        };
        let is_quoted = ahead.first() == Some(&b'"');
        if length == 0 {
            return Err(Malformed);
        }
        if !is_quoted && value.eq_ignore_ascii_case(b"NULL") {
            self.copy(length, out);
            return Ok(false);
        }
        let mut replaced = Vec::new();
        match each(&Leaf::typed(self.element), &value, &mut replaced) {
            Part::Kept => {
                self.copy(length, out);
                return Ok(false);
            }
            Part::Null => out.extend_from_slice(b"NULL"),
            Part::Value => write(&replaced, self.delimiter, out),
        }
        self.at += length;
        Ok(true)
    }

    fn copy(&mut self, length: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.value.get(self.at..self.at + length).unwrap_or_default());
        self.at += length;
    }
}

/// A quoted element that begins `text`: its length with quotes, and what it says.
fn quoted(text: &[u8]) -> Result<(usize, Vec<u8>), Malformed> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((at + 1, value)),
            b'\\' => value.push(*bytes.next().ok_or(Malformed)?.1),
            byte => value.push(byte),
        }
    }
    Err(Malformed)
}

/// Appends an element, quoted where it would not read as itself.
pub(super) fn write(element: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let special = |b: &u8| *b == delimiter || b.is_ascii_whitespace() || *b == 11 || b"{}\"\\".contains(b);
    if !element.is_empty() && !element.iter().any(special) && !element.eq_ignore_ascii_case(b"NULL") {
        out.extend_from_slice(element);
        return;
    }
    out.push(b'"');
    for &byte in element {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Number of dimensions, whether there are NULLs, the elements' type; for each dimension its length and lower bound; then
/// the elements, each behind its length.
fn binary(value: &[u8], each: Each<'_>, out: &mut Vec<u8>) -> Result<bool, Malformed> {
    let from = out.len();
    let mut rest = value;
    let dimensions = usize::try_from(number(&mut rest)?).map_err(|_| Malformed)?;
    let _has_null = number(&mut rest)?;
    let element = number(&mut rest)?.cast_unsigned();
    if dimensions > DIMENSIONS_MAX {
        return Err(Malformed);
    }
    let mut count = usize::from(dimensions > 0);
    for _ in 0..dimensions {
        let length = usize::try_from(number(&mut rest)?).map_err(|_| Malformed)?;
        let _lower = number(&mut rest)?;
        count = count.checked_mul(length).ok_or(Malformed)?;
    }
    // Each element has its length at least: nothing is reserved or repeated beyond what is here.
    if count > rest.len() / 4 {
        return Err(Malformed);
    }
    out.extend_from_slice(value.get(..value.len() - rest.len()).ok_or(Malformed)?);
    let (mut changed, mut nulls) = (false, false);
    for _ in 0..count {
        let (is_changed, is_null) = element_of(&mut rest, &Leaf::typed(element), each, out)?;
        changed |= is_changed;
        nulls |= is_null;
    }
    if nulls && let Some(flag) = out.get_mut(from + 4..from + 8) {
        flag.copy_from_slice(&1_i32.to_be_bytes());
    }
    if rest.is_empty() { Ok(changed) } else { Err(Malformed) }
}

/// One value behind its length: whether it was replaced, and whether it is NULL now.
pub(super) fn element_of(
    rest: &mut &[u8],
    leaf: &Leaf<'_>,
    each: Each<'_>,
    out: &mut Vec<u8>,
) -> Result<(bool, bool), Malformed> {
    let length = number(rest)?;
    if length == -1 {
        out.extend_from_slice(&length.to_be_bytes());
        return Ok((false, true));
    }
    let bytes = usize::try_from(length).map_err(|_| Malformed)?;
    let (value, behind) = rest.split_at_checked(bytes).ok_or(Malformed)?;
    *rest = behind;
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let (changed, null) = match each(leaf, value, out) {
        Part::Kept => {
            out.truncate(at + 4);
            out.extend_from_slice(value);
            (false, false)
        }
        Part::Null => {
            out.truncate(at + 4);
            (true, true)
        }
        Part::Value => (true, false),
    };
    let length = if null { -1 } else { i32::try_from(out.len() - at - 4).map_err(|_| Malformed)? };
    out.get_mut(at..at + 4).ok_or(Malformed)?.copy_from_slice(&length.to_be_bytes());
    Ok((changed, null))
}

pub(super) fn number(rest: &mut &[u8]) -> Result<i32, Malformed> {
    let (bytes, behind) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
    *rest = behind;
    Ok(i32::from_be_bytes(*bytes))
}

/// The server's MAXDIM.
const DIMENSIONS_MAX: usize = 6;
