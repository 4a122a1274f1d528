//! hstore: a value is replaced where a detector knows it, or where its key names something sensitive.

use super::array::{element_of, number};
use super::{Each, Leaf, Malformed, Part, TEXT};
use crate::engine::masking::classify::name_of;
use crate::engine::masking::transform::Format;

/// Appends the pairs with their values replaced as `each` says; whether anything was. A key that is something itself
/// cannot be replaced: keys are unique.
pub(super) fn rewrite(
    format: Format,
    value: &[u8],
    each: Each<'_>,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    match format {
        Format::Text => text(value, each, out),
        Format::Binary => binary(value, each, out),
    }
}

fn text(value: &[u8], each: Each<'_>, out: &mut Vec<u8>) -> Result<bool, Malformed> {
    let (mut rest, mut changed) = (value, false);
    while !rest.is_empty() {
        let (raw_key, key, behind) = word(rest)?;
        let behind = behind.strip_prefix(b"=>").ok_or(Malformed)?;
        check(&key, each)?;
        out.extend_from_slice(raw_key);
        out.extend_from_slice(b"=>");
        if let Some(behind) = behind.strip_prefix(b"NULL") {
            out.extend_from_slice(b"NULL");
            rest = behind;
        } else {
            let (raw, value, behind) = word(behind)?;
            let mut replaced = Vec::new();
            match each(&named(&name_of(&key)), &value, &mut replaced) {
                Part::Kept => out.extend_from_slice(raw),
                Part::Null => {
                    changed = true;
                    out.extend_from_slice(b"NULL");
                }
                Part::Value => {
                    changed = true;
                    write(&replaced, out);
                }
            }
            rest = behind;
        }
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(b", ").filter(|rest| !rest.is_empty()).ok_or(Malformed)?;
        out.extend_from_slice(b", ");
    }
    Ok(changed)
}

/// As written, what it says, and what is behind.
type Word<'a> = (&'a [u8], Vec<u8>, &'a [u8]);

/// A quoted word that begins `text`.
fn word(text: &[u8]) -> Result<Word<'_>, Malformed> {
    if text.first() != Some(&b'"') {
        return Err(Malformed);
    }
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => {
                let (raw, behind) = text.split_at_checked(at + 1).ok_or(Malformed)?;
                return Ok((raw, value, behind));
            }
            b'\\' => value.push(*bytes.next().ok_or(Malformed)?.1),
            byte => value.push(byte),
        }
    }
    Err(Malformed)
}

pub(super) fn write(word: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in word {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn check(key: &[u8], each: Each<'_>) -> Result<(), Malformed> {
    match each(&Leaf::typed(TEXT), key, &mut Vec::new()) {
        Part::Kept => Ok(()),
        Part::Value | Part::Null => Err(Malformed),
    }
}

fn named(key: &str) -> Leaf<'_> {
    Leaf { name: Some(key), ..Leaf::typed(TEXT) }
}

/// Number of pairs; key and value behind their lengths.
fn binary(value: &[u8], each: Each<'_>, out: &mut Vec<u8>) -> Result<bool, Malformed> {
    let mut rest = value;
    let count = usize::try_from(number(&mut rest)?).map_err(|_| Malformed)?;
    if count > rest.len() / 8 {
        return Err(Malformed);
    }
    out.extend_from_slice(value.get(..4).ok_or(Malformed)?);
    let mut changed = false;
    for _ in 0..count {
        let length = number(&mut rest)?;
        let bytes = usize::try_from(length).map_err(|_| Malformed)?;
        let (key, behind) = rest.split_at_checked(bytes).ok_or(Malformed)?;
        rest = behind;
        check(key, each)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(key);
        changed |= element_of(&mut rest, &named(&name_of(key)), each, out)?.0;
    }
    if rest.is_empty() { Ok(changed) } else { Err(Malformed) }
}
