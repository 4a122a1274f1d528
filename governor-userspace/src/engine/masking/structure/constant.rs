//! One harmless value of each type, whatever the value was.

use super::{DEPTH_MAX, Leaf, Plain, array, hstore, record};
use crate::engine::masking::transform::{Format, MARKER, Masked};
use crate::engine::model::{TypeShape, Types};

/// Appends the value that stands for all values of the type. `plain` masks a value of a type that is not made of others.
pub(super) fn constant(
    types: &Types,
    leaf: &Leaf<'_>,
    format: Format,
    plain: Plain<'_>,
    depth: usize,
    out: &mut Vec<u8>,
) -> Masked {
    if depth > DEPTH_MAX {
        return Masked::Null;
    }
    let below =
        |oid: u32, out: &mut Vec<u8>| constant(types, &Leaf::typed(oid), format, plain, depth + 1, out);
    match types.shape(leaf.type_oid) {
        Some(TypeShape::Domain { base }) => return below(base, out),
        Some(TypeShape::Array { element, delimiter }) => {
            let mut one = Vec::new();
            let is_null = below(element, &mut one) == Masked::Null;
            one_element(format, element, delimiter, (!is_null).then_some(&one), out);
        }
        Some(TypeShape::Composite { fields: Some(fields) }) => {
            if format == Format::Text {
                out.push(b'(');
            } else {
                out.extend_from_slice(&i32::try_from(fields.len()).unwrap_or(0).to_be_bytes());
            }
            for (at, field) in fields.iter().enumerate() {
                let mut one = Vec::new();
                let is_null = below(field.type_oid, &mut one) == Masked::Null;
                match format {
                    Format::Text => {
                        out.extend_from_slice(if at > 0 { b"," } else { b"" });
                        if !is_null {
                            record::write(&one, out);
                        }
                    }
                    Format::Binary => {
                        out.extend_from_slice(&field.type_oid.to_be_bytes());
                        put((!is_null).then_some(&one), out);
                    }
                }
            }
            if format == Format::Text {
                out.push(b')');
            }
        }
        Some(TypeShape::Composite { fields: None } | TypeShape::Enum) => return Masked::Null,
        Some(TypeShape::Range { .. }) => {
            // The flag of an empty range.
            out.extend_from_slice(if format == Format::Text { b"empty" } else { &[1] });
        }
        Some(TypeShape::Multirange { .. }) => {
            out.extend_from_slice(if format == Format::Text { b"{}" } else { &[0; 4] });
        }
        Some(TypeShape::Text) => out.extend_from_slice(MARKER),
        Some(TypeShape::Hstore) => match format {
            Format::Text => {
                hstore::write(MARKER, out);
                out.extend_from_slice(b"=>NULL");
            }
            Format::Binary => {
                out.extend_from_slice(&1_i32.to_be_bytes());
                put(Some(&MARKER.to_vec()), out);
                put(None, out);
            }
        },
        None if leaf.type_oid == XML => out.extend_from_slice(XML_MARKER),
        None => match known(leaf.type_oid, leaf.type_modifier, format) {
            Known::Bytes(bytes) => out.extend_from_slice(bytes),
            Known::Bits(count) => match format {
                Format::Text => out.resize(out.len() + count, b'0'),
                Format::Binary => {
                    out.extend_from_slice(&i32::try_from(count).unwrap_or(0).to_be_bytes());
                    out.resize(out.len() + count.div_ceil(8), 0);
                }
            },
            Known::Null => return Masked::Null,
            Known::No => return plain(leaf, b"", out),
        },
    }
    Masked::Value
}

/// An array of one element, or of none where there is no harmless one.
fn one_element(format: Format, element: u32, delimiter: u8, one: Option<&Vec<u8>>, out: &mut Vec<u8>) {
    match (format, one) {
        (Format::Text, None) => out.extend_from_slice(b"{}"),
        (Format::Text, Some(one)) => {
            out.push(b'{');
            // An array in an array (by way of a domain) is an element, not a dimension.
            array::write(one, delimiter, out);
            out.push(b'}');
        }
        (Format::Binary, one) => {
            let dimensions = i32::from(one.is_some());
            for number in [dimensions, 0, element.cast_signed()] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            if one.is_some() {
                out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
                put(one, out);
            }
        }
    }
}

/// A value behind its length.
fn put(value: Option<&Vec<u8>>, out: &mut Vec<u8>) {
    match value.and_then(|value| Some((i32::try_from(value.len()).ok()?, value))) {
        Some((length, value)) => {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

enum Known {
    Bytes(&'static [u8]),
    /// So many bits, all zero.
    Bits(usize),
    Null,
    /// Not of this table.
    No,
}

/// Types of the server that are not made of others and that `mask_value` has no value for.
pub(super) fn is_known(oid: u32) -> bool {
    !matches!(known(oid, -1, Format::Text), Known::No)
}

/// Nothing but numbers in it: no text.
pub(super) fn is_of_numbers(oid: u32) -> bool {
    is_known(oid) && !WITH_TEXT.contains(&oid)
}

/// tsvector, tsquery, jsonpath and names of objects.
const WITH_TEXT: [u32; 14] =
    [3614, 3615, 4072, 24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191];

/// Layouts of the binary forms: the `send` functions of the types.
fn known(oid: u32, modifier: i32, format: Format) -> Known {
    let text = format == Format::Text;
    let either = |as_text: &'static [u8], as_binary: &'static [u8]| {
        Known::Bytes(if text { as_text } else { as_binary })
    };
    match oid {
        // bit(n) has n bits, a varying one may have none.
        1560 => match usize::try_from(modifier.max(1)) {
            Ok(count) if count <= BITS_COUNT_MAX => Known::Bits(count),
            _ => Known::Null,
        },
        1562 => Known::Bits(0),
        // point, line, lseg, box, path, polygon, circle.
        600 => either(b"(0,0)", &[0; 16]),
        // A line needs a slope: 1x + 0y + 0 = 0.
        628 => either(
            b"{1,0,0}",
            &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        601 => either(b"[(0,0),(0,0)]", &[0; 32]),
        603 => either(b"(0,0),(0,0)", &[0; 32]),
        602 => either(b"((0,0))", &[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        604 => either(b"((0,0))", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        718 => either(b"<(0,0),0>", &[0; 24]),
        // tsvector and tsquery: no words.
        3614 | 3615 => either(b"", &[0; 4]),
        // Behind one byte of version.
        4072 => either(b"$\"[masked]\"", b"\x01$\"[masked]\""),
        // pg_lsn, tid.
        3220 => either(b"0/0", &[0; 8]),
        27 => either(b"(0,0)", &[0; 6]),
        // Names of objects, as numbers in binary format: no such object.
        24 | 2202 | 2205 | 2206 | 3734 | 3769 | 4089 | 4096 | 4191 => either(b"-", &[0; 4]),
        // Operators: `-` is one, so the server says 0 for none.
        2203 | 2204 => either(b"0", &[0; 4]),
        // Lists of numbers: nothing in them. Their binary form is an array's.
        22 => either(b"", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 21]),
        30 => either(b"", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26]),
        _ => Known::No,
    }
}

const XML: u32 = 142;
/// A document, and content too.
pub(in crate::engine::masking) const XML_MARKER: &[u8] = b"<masked/>";
/// A longer one is NULL.
const BITS_COUNT_MAX: usize = 8 << 10;
