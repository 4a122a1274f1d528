//! Replaces a value by one that tells nothing, or little, and that every driver still decodes.
//!
//! Invariant: what is written is valid for the declared type in the declared format. Where governor
//! does not know how to write a harmless value (arrays, composites, ranges, bit strings, types made by
//! users) the answer is NULL, which is valid for every type.
//!
//! Binary layouts: the `*send` functions of PostgreSQL's `src/backend/utils/adt`; `integer_datetimes`
//! is on in every server since version 10. Text dates are ISO, the default `DateStyle`.

use super::masker::Masker;
use super::pg_type::{TypeClass, XML, characters_max};
use super::{partial, style};
use crate::engine::model::Category;
use crate::engine::model::MaskStyle;

/// How a value is written on the wire: RowDescription's format code 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Text,
    Binary,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masked {
    /// The replacement was appended.
    Value,
    /// Nothing was appended: send SQL NULL.
    Null,
}

/// How one value is masked, and what it is declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueMask {
    pub style: MaskStyle,
    /// `None` where the origin is unknown.
    pub category: Option<Category>,
    /// Keyed styles replace equal values alike where this is equal.
    pub tweak: u64,
    pub type_oid: u32,
    /// RowDescription's: `varchar(n)` arrives as n + 4, −1 where there is none.
    pub type_modifier: i32,
    pub format: Format,
}

/// Masks one value that is not NULL. Appends the replacement, without its length, to `out`.
///
/// The replacement keeps to the limits of the type. `value` may be any bytes: nothing in it is trusted, and only ASCII
/// characters of it are ever kept.
pub fn mask_value(masker: &Masker, mask: &ValueMask, value: &[u8], out: &mut Vec<u8>) -> Masked {
    let ValueMask { style: wanted, category, type_oid, type_modifier, format, .. } = *mask;
    if wanted == MaskStyle::Null {
        return Masked::Null;
    }
    if wanted.is_transform() {
        let from = out.len();
        if style::apply(masker, mask, value, out) {
            return Masked::Value;
        }
        out.truncate(from);
    }
    let class = TypeClass::of(type_oid);
    if wanted == MaskStyle::Partial {
        if class == TypeClass::Text && type_oid != XML {
            mask_text_partly(category.unwrap_or(Category::Other), type_oid, type_modifier, value, out);
            return Masked::Value;
        }
        if category == Some(Category::BirthDate) && partial::birth_date(class, format, value, out) {
            return Masked::Value;
        }
    }
    match fixed(class, format) {
        Some(bytes) => {
            let bytes = if bytes == MARKER { marker(type_oid, type_modifier) } else { bytes };
            out.extend_from_slice(bytes);
            Masked::Value
        }
        None => Masked::Null,
    }
}

/// Appends what a partial mask leaves of a value of a text type that is not XML, which is what most findings are: nothing else about the type has
/// to be asked.
pub(super) fn mask_text_partly(
    category: Category,
    type_oid: u32,
    type_modifier: i32,
    value: &[u8],
    out: &mut Vec<u8>,
) {
    let from = out.len();
    if !partial::text(category, value, out) {
        out.truncate(from);
        out.extend_from_slice(marker(type_oid, type_modifier));
    } else if let Some(limit) = characters_max(type_oid, type_modifier) {
        out.truncate(from.saturating_add(limit));
    }
}

/// [`MARKER`], or what of it a text of this type has room for: half a marker reads like data.
fn marker(type_oid: u32, type_modifier: i32) -> &'static [u8] {
    match characters_max(type_oid, type_modifier) {
        Some(limit) if limit < MARKER.len() => b"*****".get(..limit.min(5)).unwrap_or(b"*"),
        _ => MARKER,
    }
}

/// The same harmless value for every input; `None` where only NULL is sure to be valid.
fn fixed(class: TypeClass, format: Format) -> Option<&'static [u8]> {
    use TypeClass as T;
    let text = format == Format::Text;
    let either =
        |as_text: &'static [u8], as_binary: &'static [u8]| Some(if text { as_text } else { as_binary });
    match class {
        T::Text => Some(MARKER),
        T::SingleByte => Some(b"*"),
        T::Json => Some(JSON_MARKER),
        // Binary jsonb is the text after one byte of version.
        T::Jsonb => either(JSON_MARKER, b"\x01\"[masked]\""),
        T::Bytea => either(b"\\x", b""),
        T::Bool => either(b"f", &[0]),
        T::Int2 => either(b"0", &[0; 2]),
        T::Int4 | T::Unsigned4 | T::Float4 => either(b"0", &[0; 4]),
        T::Int8 | T::Unsigned8 | T::Float8 => either(b"0", &[0; 8]),
        // Number of digits, weight, sign, scale: four int16.
        T::Numeric => either(b"0", &[0; 8]),
        T::Money => either(b"$0.00", &[0; 8]),
        // Days or microseconds since 2000-01-01.
        T::Date => either(b"2000-01-01", &[0; 4]),
        T::Timestamp => either(b"2000-01-01 00:00:00", &[0; 8]),
        T::TimestampTz => either(b"2000-01-01 00:00:00+00", &[0; 8]),
        T::Time => either(b"00:00:00", &[0; 8]),
        T::TimeTz => either(b"00:00:00+00", &[0; 12]),
        T::Interval => either(b"00:00:00", &[0; 16]),
        T::Uuid => either(b"00000000-0000-0000-0000-000000000000", &[0; 16]),
        // Family 2 (IPv4), bits of the mask, is it a cidr, bytes of the address, the address.
        T::Inet => either(b"0.0.0.0", &[2, 32, 0, 4, 0, 0, 0, 0]),
        T::Cidr => either(b"0.0.0.0/32", &[2, 32, 1, 4, 0, 0, 0, 0]),
        T::MacAddr => either(b"00:00:00:00:00:00", &[0; 6]),
        T::MacAddr8 => either(b"00:00:00:00:00:00:00:00", &[0; 8]),
        T::TextArray | T::Other => None,
    }
}

/// What a text value reads when nothing of it is kept.
pub(super) const MARKER: &[u8] = b"[masked]";
pub(super) const JSON_MARKER: &[u8] = b"\"[masked]\"";

#[cfg(test)]
mod tests;
