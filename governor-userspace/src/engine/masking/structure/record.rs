//! Rows as values, field by field.

use super::array::{element_of, number};
use super::{Each, Leaf, Malformed, Part};
use crate::engine::masking::transform::Format;
use crate::engine::model::RowField;

/// Appends the row with its fields replaced as `each` says; whether anything was. `fields`: of a type that is known.
pub(super) fn rewrite(
    format: Format,
    fields: Option<&[RowField]>,
    value: &[u8],
    each: Each<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    match format {
        Format::Text => text(fields, value, each, out),
        Format::Binary => binary(fields, value, each, out),
    }
}

fn text(
    fields: Option<&[RowField]>,
    value: &[u8],
    each: Each<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    let inside = value.strip_prefix(b"(").and_then(|v| v.strip_suffix(b")")).ok_or(Malformed)?;
    if fields.is_some_and(<[_]>::is_empty) {
        out.extend_from_slice(value);
        return if inside.is_empty() { Ok(false) } else { Err(Malformed) };
    }
    out.push(b'(');
    let (mut rest, mut count, mut changed) = (Some(inside), 0_usize, false);
    while let Some(ahead) = rest {
        if count > 0 {
            out.push(b',');
        }
        let field = Field::first(ahead)?;
        rest = field.rest;
        let known = fields.and_then(|fields| fields.get(count));
        if fields.is_some() && known.is_none() {
            return Err(Malformed);
        }
        count += 1;
        let Some(value) = field.value else { continue };
        let leaf = Leaf {
            name: known.map(|field| &*field.name),
            type_oid: known.map_or(0, |field| field.type_oid),
            type_modifier: -1,
        };
        let mut replaced = Vec::new();
        match each(&leaf, &value, &mut replaced) {
            Part::Kept => out.extend_from_slice(field.raw),
            Part::Null => changed = true,
            Part::Value => {
                changed = true;
                write(&replaced, out);
            }
        }
    }
    out.push(b')');
    if fields.is_some_and(|fields| fields.len() != count) { Err(Malformed) } else { Ok(changed) }
}

struct Field<'a> {
    raw: &'a [u8],
    /// `None`: NULL.
    value: Option<Vec<u8>>,
    /// `None`: it was the last.
    rest: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    /// Cuts the first field off; what is quoted may have commas, quotes are doubled or behind a backslash.
    fn first(text: &'a [u8]) -> Result<Self, Malformed> {
        let mut value = Vec::new();
        let (mut at, mut is_quoted) = (0, false);
        while let Some(&byte) = text.get(at) {
            match byte {
                b'"' if is_quoted && text.get(at + 1) == Some(&b'"') => {
                    value.push(b'"');
                    at += 1;
                }
                b'"' => is_quoted = !is_quoted,
                b'\\' => {
                    at += 1;
                    value.push(*text.get(at).ok_or(Malformed)?);
                }
                b',' if !is_quoted => break,
                b'(' | b')' if !is_quoted => return Err(Malformed),
                byte => value.push(byte),
            }
            at += 1;
        }
        if is_quoted {
            return Err(Malformed);
        }
        let (raw, behind) = text.split_at_checked(at).ok_or(Malformed)?;
        Ok(Self { raw, value: (!raw.is_empty()).then_some(value), rest: behind.get(1..) })
    }
}

/// Appends a field, quoted where it would not read as itself.
pub(super) fn write(field: &[u8], out: &mut Vec<u8>) {
    let special = |b: &u8| b.is_ascii_whitespace() || *b == 11 || b"(),\"\\".contains(b);
    if !field.is_empty() && !field.iter().any(special) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for &byte in field {
        if byte == b'"' || byte == b'\\' {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Number of fields; each with its type and behind its length.
fn binary(
    fields: Option<&[RowField]>,
    value: &[u8],
    each: Each<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    let mut rest = value;
    let count = number(&mut rest)?;
    let count = usize::try_from(count).map_err(|_| Malformed)?;
    if count > rest.len() / 8 {
        return Err(Malformed);
    }
    out.extend_from_slice(value.get(..4).ok_or(Malformed)?);
    let mut changed = false;
    for at in 0..count {
        let type_oid = number(&mut rest)?;
        out.extend_from_slice(&type_oid.to_be_bytes());
        let name = fields.filter(|fields| fields.len() == count).and_then(|fields| fields.get(at));
        let leaf = Leaf {
            name: name.map(|field| &*field.name),
            type_oid: type_oid.cast_unsigned(),
            type_modifier: -1,
        };
        changed |= element_of(&mut rest, &leaf, each, out)?.0;
    }
    if rest.is_empty() { Ok(changed) } else { Err(Malformed) }
}
