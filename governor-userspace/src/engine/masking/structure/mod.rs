//! Masks values that are made of others: arrays, composites, ranges, domains, hstore, XML; and those of the server's
//! types that are none of the plain ones.
//!
//! Two ways. Where a column is masked, `redact` gives one value of its type for every input: neither the number of elements nor
//! their order tells anything, since a query can make an array as long as a secret says (`array_fill(0, ARRAY[salary])`).
//! Every other style is for values that are a column's own, and each element gets it. Where a column is searched, only
//! what is found is replaced.
//!
//! Invariant: what is written is valid for the type in its format; what does not read as the type has it is hidden whole.
//! Depth is bounded, memory by the value.
//! Formats: `array_out`, `record_out`, `range_out` and their `send` twins in PostgreSQL's `src/backend/utils/adt`.

mod array;
mod constant;
mod hstore;
mod record;
pub(super) mod xml;

use super::classify::could_carry;
use super::detector::ColumnContext;
use super::pg_type::{TEXT, TypeClass};
use super::row::{ColumnAction, ColumnPlan, Replaced};
use super::transform::{Format, Masked};
use crate::engine::model::{Category, MaskDoubt, MaskStyle, TypeShape, Types};
pub(super) use constant::XML_MARKER;
use constant::constant;

/// A part of a value, or a value on its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf<'a> {
    /// Of a composite's field.
    pub name: Option<&'a str>,
    /// 0: not known.
    pub type_oid: u32,
    pub type_modifier: i32,
}

impl Leaf<'_> {
    pub fn of(plan: &ColumnPlan) -> Self {
        Self { name: None, type_oid: plan.type_oid, type_modifier: plan.type_modifier }
    }

    fn typed(type_oid: u32) -> Self {
        Self { name: None, type_oid, type_modifier: -1 }
    }

    /// Searched like a column of its type.
    pub fn plan(&self) -> ColumnPlan {
        ColumnPlan {
            action: ColumnAction::Detect,
            type_oid: self.type_oid,
            type_modifier: self.type_modifier,
            format: Format::Text,
            context: ColumnContext::UNKNOWN,
        }
    }
}

/// What becomes of a part.
enum Part {
    Kept,
    /// What was appended stands for it.
    Value,
    Null,
}

/// Masks a value of a type that is not made of others.
type Plain<'a> = &'a dyn Fn(&Leaf<'_>, &[u8], &mut Vec<u8>) -> Masked;
/// Searches a part, or a value of another type.
type Search<'a> = &'a dyn Fn(&Leaf<'_>, &[u8], &mut Vec<u8>) -> Replaced;
type Each<'a> = &'a mut dyn FnMut(&Leaf<'_>, &[u8], &mut Vec<u8>) -> Part;

/// The value does not read as its type has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// Whether this module is asked about values of the type, and not `mask_value`.
pub(super) fn is_structured(types: &Types, oid: u32) -> bool {
    matches!(TypeClass::of(oid), TypeClass::TextArray | TypeClass::Other)
        && (types.shape(oid).is_some() || constant::is_known(oid))
}

/// Masks a whole value. `plain` masks a value of a type that is not made of others.
pub(super) fn mask(
    types: &Types,
    leaf: &Leaf<'_>,
    style: MaskStyle,
    format: Format,
    value: &[u8],
    plain: Plain<'_>,
    out: &mut Vec<u8>,
) -> Masked {
    Masking { types, style, format, plain }.value(leaf, value, 0, out)
}

struct Masking<'a> {
    types: &'a Types,
    style: MaskStyle,
    format: Format,
    plain: Plain<'a>,
}

impl Masking<'_> {
    fn value(&self, leaf: &Leaf<'_>, value: &[u8], depth: usize, out: &mut Vec<u8>) -> Masked {
        if self.style == MaskStyle::Null || depth > DEPTH_MAX {
            return Masked::Null;
        }
        if !is_structured(self.types, leaf.type_oid) {
            return (self.plain)(leaf, value, out);
        }
        let from = out.len();
        let mut each = |leaf: &Leaf<'_>, value: &[u8], out: &mut Vec<u8>| match self.value(
            leaf,
            value,
            depth + 1,
            out,
        ) {
            Masked::Value => Part::Value,
            Masked::Null => Part::Null,
        };
        let done = match self.types.shape(leaf.type_oid) {
            _ if self.style == MaskStyle::Redact => Err(Malformed),
            Some(TypeShape::Domain { base }) => {
                return self.value(&Leaf { type_oid: base, ..*leaf }, value, depth + 1, out);
            }
            Some(TypeShape::Text) => return (self.plain)(&Leaf::typed(TEXT), value, out),
            Some(TypeShape::Array { element, delimiter }) => {
                array::rewrite(self.format, element, delimiter, value, &mut each, out)
            }
            Some(TypeShape::Composite { fields }) => {
                record::rewrite(self.format, fields.as_deref(), value, &mut each, out)
            }
            // Keys may be the secret, and bounds are one together.
            _ => Err(Malformed),
        };
        match done {
            Ok(_) => Masked::Value,
            Err(Malformed) => {
                out.truncate(from);
                constant(self.types, leaf, self.format, self.plain, 0, out)
            }
        }
    }
}

/// Searches a value and replaces what is found in it. `part` searches a part, or a value of another type.
pub(super) fn detect(
    types: &Types,
    leaf: &Leaf<'_>,
    format: Format,
    value: &[u8],
    part: Search<'_>,
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    if !carries(types, leaf.type_oid, 0) {
        // Numbers in a list, say: a card's among them hides all.
        let found = part(&Leaf::typed(TEXT), value, out);
        out.truncate(from);
        return found.with(Masked::Null);
    }
    let mut found = None;
    let mut each = |leaf: &Leaf<'_>, value: &[u8], out: &mut Vec<u8>| {
        let replaced = part(leaf, value, out);
        let part = match replaced.masked() {
            None => return Part::Kept,
            Some(Masked::Null) => Part::Null,
            Some(Masked::Value) => Part::Value,
        };
        found.get_or_insert(replaced);
        part
    };
    let done = match types.shape(leaf.type_oid) {
        Some(TypeShape::Domain { base }) => return part(&Leaf { type_oid: base, ..*leaf }, value, out),
        Some(TypeShape::Text) => return part(&Leaf::typed(TEXT), value, out),
        Some(TypeShape::Array { element, delimiter }) => {
            array::rewrite(format, element, delimiter, value, &mut each, out)
        }
        Some(TypeShape::Composite { fields }) => {
            record::rewrite(format, fields.as_deref(), value, &mut each, out)
        }
        Some(TypeShape::Hstore) => hstore::rewrite(format, value, &mut each, out),
        Some(TypeShape::Range { .. } | TypeShape::Multirange { .. } | TypeShape::Enum) | None => {
            return found_anywhere(types, leaf, format, value, part, out);
        }
    };
    match (done, found) {
        (Ok(true), found) => {
            found.unwrap_or(Replaced::Yes(Masked::Value, Category::Other)).with(Masked::Value)
        }
        (Ok(false), _) => {
            out.truncate(from);
            Replaced::No
        }
        (Err(Malformed), _) => {
            out.truncate(from);
            Replaced::InDoubt(Masked::Null, MaskDoubt::NotUnderstood)
        }
    }
}

/// A value that is not taken apart: something in it hides all of it. Text stands in its binary form as it is.
fn found_anywhere(
    types: &Types,
    leaf: &Leaf<'_>,
    format: Format,
    value: &[u8],
    part: Search<'_>,
    out: &mut Vec<u8>,
) -> Replaced {
    let from = out.len();
    let bare: Vec<u8> = value.iter().copied().filter(|byte| !b"\"\\".contains(byte)).collect();
    for text in [value, &bare] {
        let found = part(&Leaf::typed(TEXT), text, out);
        out.truncate(from);
        if found.masked().is_some() {
            let plain = |_: &Leaf<'_>, _: &[u8], _: &mut Vec<u8>| Masked::Null;
            return found.with(constant(types, leaf, format, &plain, 0, out));
        }
    }
    Replaced::No
}

/// Whether text may be in a value of the type.
fn carries(types: &Types, oid: u32, depth: usize) -> bool {
    if depth > DEPTH_MAX {
        return true;
    }
    match types.shape(oid) {
        Some(
            TypeShape::Array { element: inside, .. }
            | TypeShape::Domain { base: inside }
            | TypeShape::Range { subtype: inside }
            | TypeShape::Multirange { subtype: inside },
        ) => carries(types, inside, depth + 1),
        Some(TypeShape::Composite { .. } | TypeShape::Enum | TypeShape::Text | TypeShape::Hstore) => true,
        None => could_carry(oid) && TypeClass::of(oid) != TypeClass::Bytea && !constant::is_of_numbers(oid),
    }
}

/// Arrays in rows in arrays. The server has no such bound; whoever nests deeper gets NULL.
pub(super) const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests;
