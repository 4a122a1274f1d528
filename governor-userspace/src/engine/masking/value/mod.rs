//! A value as what it means, read from either wire format and written back in either.
//!
//! Styles work on meanings, so that a value is replaced alike whether a driver asked for text or binary.
//!
//! Invariant: what is written is valid for the declared type, its limits (`varchar(n)`, `numeric(p,s)`, the range
//! of an integer) and the format; where that cannot be, nothing is written and the caller redacts.
//! Binary layouts: the `*recv` functions of PostgreSQL's `src/backend/utils/adt`.

mod decimal;
mod moment;
mod network;

pub(super) use decimal::Decimal;
pub(super) use moment::{DAY_US, date_of, day_of, day_of_text, text_of_day};
pub(super) use network::{Address, Hardware};

use super::pg_type::{BPCHAR, TypeClass, characters_max};
use super::transform::Format;
use std::borrow::Cow;

/// One value that is not NULL.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// Text, or a whole document of JSON.
    Text(Cow<'a, [u8]>),
    Bytes(Cow<'a, [u8]>),
    Integer(i64),
    Decimal(Decimal),
    /// Neither infinite nor NaN.
    Float(f64),
    /// Days since 2000-01-01.
    Day(i32),
    /// Microseconds since 2000-01-01, in UTC where the type has a zone.
    Moment(i64),
    Uuid([u8; 16]),
    Address(Address),
    Hardware(Hardware),
}

/// What a value is declared as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub type_oid: u32,
    pub type_modifier: i32,
    pub format: Format,
}

impl Declared {
    pub fn class(self) -> TypeClass {
        TypeClass::of(self.type_oid)
    }

    /// A text, not a document of JSON.
    pub fn is_text(self) -> bool {
        self.class() == TypeClass::Text
    }

    /// Characters that a text may have; `None`: any number.
    pub fn characters_max(self) -> Option<usize> {
        characters_max(self.type_oid, self.type_modifier)
    }

    /// Digits before the point that a `numeric` may have; `None`: any number.
    pub fn integer_digits_max(self) -> Option<u32> {
        let modifier = u32::try_from(self.type_modifier.checked_sub(4)?).ok()?;
        // Precision above, and eleven bits of scale, signed since version 15.
        let (precision, scale) = ((modifier >> 16) & 0xFFFF, modifier & 0x7FF);
        let scale = if scale & 0x400 == 0 { i64::from(scale) } else { i64::from(scale) - 0x800 };
        u32::try_from(i64::from(precision) - scale).ok().or(Some(0))
    }
}

impl<'a> Value<'a> {
    /// `None` for types that no style has a meaning for, and for what is not valid or has no finite meaning.
    pub fn read(declared: Declared, bytes: &'a [u8]) -> Option<Self> {
        use TypeClass as T;
        let class = declared.class();
        let is_text = declared.format == Format::Text;
        Some(match class {
            T::Text if declared.type_oid == BPCHAR => Self::Text(bytes.trim_ascii_end().into()),
            T::Text | T::Json => Self::Text(bytes.into()),
            T::Jsonb if is_text => Self::Text(bytes.into()),
            T::Jsonb => match bytes.split_first()? {
                (1, document) => Self::Text(document.into()),
                _ => return None,
            },
            T::Bytea if is_text => Self::Bytes(bytea_of_text(bytes)?.into()),
            T::Bytea => Self::Bytes(bytes.into()),
            T::Int2 | T::Int4 | T::Int8 if is_text => Self::Integer(ascii(bytes)?.parse().ok()?),
            T::Int2 => Self::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
            T::Int4 => Self::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
            T::Int8 => Self::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
            T::Numeric if is_text => Self::Decimal(Decimal::of_text(ascii(bytes)?)?),
            T::Numeric => Self::Decimal(Decimal::of_binary(bytes)?),
            T::Float4 | T::Float8 => {
                let number = match (is_text, class) {
                    // As the server prints it: the shortest text of the narrower type.
                    (true, T::Float4) => f64::from(ascii(bytes)?.parse::<f32>().ok()?),
                    (true, _) => ascii(bytes)?.parse().ok()?,
                    (false, T::Float4) => f64::from(f32::from_be_bytes(bytes.try_into().ok()?)),
                    (false, _) => f64::from_be_bytes(bytes.try_into().ok()?),
                };
                // Minus zero equals zero.
                Self::Float(if number == 0.0 { 0.0 } else { number }).finite()?
            }
            T::Date if is_text => Self::Day(moment::day_of_text(ascii(bytes)?)?),
            T::Date => Self::Day(moment::finite_day(i32::from_be_bytes(bytes.try_into().ok()?))?),
            T::Timestamp | T::TimestampTz if is_text => {
                Self::Moment(moment::moment_of_text(ascii(bytes)?, class == T::TimestampTz)?)
            }
            T::Timestamp | T::TimestampTz => {
                Self::Moment(moment::finite_moment(i64::from_be_bytes(bytes.try_into().ok()?))?)
            }
            T::Uuid if is_text => Self::Uuid(uuid_of_text(bytes)?),
            T::Uuid => Self::Uuid(bytes.try_into().ok()?),
            T::Inet | T::Cidr if is_text => Self::Address(Address::of_text(ascii(bytes)?)?),
            T::Inet | T::Cidr => Self::Address(Address::of_binary(bytes)?),
            T::MacAddr | T::MacAddr8 if is_text => Self::Hardware(Hardware::of_text(bytes)?),
            T::MacAddr | T::MacAddr8 => Self::Hardware(Hardware::of_binary(bytes)?),
            _ => return None,
        })
    }

    /// Appends the value; `false`, and possibly some bytes for the caller to cut, where the type cannot hold it.
    pub fn write(&self, declared: Declared, out: &mut Vec<u8>) -> bool {
        use TypeClass as T;
        let class = declared.class();
        let is_text = declared.format == Format::Text;
        match (self, class) {
            (Self::Text(text), T::Text) => {
                out.extend_from_slice(text);
                declared.characters_max().is_none_or(|most| text.len() <= most)
            }
            (Self::Text(text), T::Json | T::Jsonb) => {
                if !is_text && class == T::Jsonb {
                    out.push(1);
                }
                out.push(b'"');
                out.extend_from_slice(text);
                out.push(b'"');
                text.iter().all(|b| (b' '..=b'~').contains(b) && *b != b'"' && *b != b'\\')
            }
            (Self::Bytes(bytes), T::Bytea) if is_text => {
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(hex::encode(bytes).as_bytes());
                true
            }
            (Self::Bytes(bytes), T::Bytea) => {
                out.extend_from_slice(bytes);
                true
            }
            (Self::Integer(number), T::Int2) => {
                i16::try_from(*number).is_ok_and(|n| either(is_text, out, &n.to_string(), &n.to_be_bytes()))
            }
            (Self::Integer(number), T::Int4) => {
                i32::try_from(*number).is_ok_and(|n| either(is_text, out, &n.to_string(), &n.to_be_bytes()))
            }
            (Self::Integer(number), T::Int8) => {
                either(is_text, out, &number.to_string(), &number.to_be_bytes())
            }
            (Self::Decimal(number), T::Numeric) => {
                let fits = declared.integer_digits_max().is_none_or(|most| number.integer_digits() <= most);
                fits && either(is_text, out, &number.to_text(), &number.to_binary())
            }
            (Self::Float(number), T::Float4) => {
                let narrow = *number as f32;
                narrow.is_finite() && either(is_text, out, &narrow.to_string(), &narrow.to_be_bytes())
            }
            (Self::Float(number), T::Float8) => {
                either(is_text, out, &number.to_string(), &number.to_be_bytes())
            }
            (Self::Day(day), T::Date) => {
                moment::text_of_day(*day).is_some_and(|text| either(is_text, out, &text, &day.to_be_bytes()))
            }
            (Self::Moment(us), T::Timestamp | T::TimestampTz) => {
                moment::text_of_moment(*us, class == T::TimestampTz)
                    .is_some_and(|text| either(is_text, out, &text, &us.to_be_bytes()))
            }
            (Self::Uuid(bytes), T::Uuid) => either(is_text, out, &text_of_uuid(*bytes), bytes),
            (Self::Address(address), T::Inet | T::Cidr) => {
                let is_cidr = class == T::Cidr;
                either(is_text, out, &address.to_text(is_cidr), &address.to_binary(is_cidr))
            }
            (Self::Hardware(address), T::MacAddr | T::MacAddr8) => {
                let wanted = if class == T::MacAddr { 6 } else { 8 };
                address.bytes().len() == wanted && either(is_text, out, &address.to_text(), address.bytes())
            }
            _ => false,
        }
    }

    /// Bytes that are equal where values are: a mark of the kind, then the meaning.
    pub fn canonical(&self) -> Cow<'_, [u8]> {
        let marked = |mark: u8, bytes: &[u8]| {
            let mut all = Vec::with_capacity(bytes.len() + 1);
            all.push(mark);
            all.extend_from_slice(bytes);
            Cow::Owned(all)
        };
        match self {
            Self::Text(text) => marked(b't', text),
            Self::Bytes(bytes) => marked(b'b', bytes),
            Self::Integer(number) => marked(b'i', &number.to_be_bytes()),
            Self::Decimal(number) => marked(b'n', number.plain().to_text().as_bytes()),
            Self::Float(number) => marked(b'f', &number.to_bits().to_be_bytes()),
            Self::Day(day) => marked(b'd', &day.to_be_bytes()),
            Self::Moment(us) => marked(b'm', &us.to_be_bytes()),
            Self::Uuid(bytes) => marked(b'u', bytes),
            Self::Address(address) => marked(b'a', &address.to_binary(false)),
            Self::Hardware(address) => marked(b'h', address.bytes()),
        }
    }

    fn finite(self) -> Option<Self> {
        match self {
            Self::Float(number) if !number.is_finite() => None,
            other => Some(other),
        }
    }
}

fn either(is_text: bool, out: &mut Vec<u8>, text: &str, binary: &[u8]) -> bool {
    out.extend_from_slice(if is_text { text.as_bytes() } else { binary });
    true
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())
}

/// Both forms of `bytea_output`.
fn bytea_of_text(text: &[u8]) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix(b"\\x") {
        return hex::decode(digits).ok();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'\\' {
            bytes.push(byte);
            rest = tail;
        } else if let [b'\\', tail @ ..] = tail {
            bytes.push(b'\\');
            rest = tail;
        } else {
            let (octal, tail) = tail.split_at_checked(3)?;
            bytes.push(u8::from_str_radix(ascii(octal)?, 8).ok()?);
            rest = tail;
        }
    }
    Some(bytes)
}

fn uuid_of_text(text: &[u8]) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.iter().copied().filter(|b| *b != b'-').collect();
    let mut bytes = [0; 16];
    (text.len() == 36).then_some(())?;
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

fn text_of_uuid(bytes: [u8; 16]) -> String {
    let digits = hex::encode(bytes);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests;
