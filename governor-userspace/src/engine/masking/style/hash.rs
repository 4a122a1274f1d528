//! Keyed hash: HMAC-SHA-256, cut to what the type holds. One way, for governor too.
//!
//! Equal values have equal hashes, so that joins and counts still work; without the key nobody can try values out.

use super::{Context, number_of};
use crate::engine::masking::pg_type::TypeClass;
use crate::engine::masking::value::{Address, Decimal, Hardware, Value};
use std::net::{IpAddr, Ipv6Addr};

pub(super) fn of(context: &Context<'_>, value: &Value<'_>) -> Option<Value<'static>> {
    let digest = context.keyed(context.key.hash(), "hash", value)?;
    let number = number_of(&digest);
    Some(match value {
        Value::Text(_) => {
            let digits = hex::encode(digest.get(..TEXT_BYTES)?);
            let whole = format!("hash_{}_{digits}", context.key.id());
            let room = context.declared.characters_max().unwrap_or(usize::MAX);
            let text = if whole.len() <= room { whole } else { digits.get(..room.min(digits.len()))?.into() };
            // Fewer digits would soon meet by chance.
            (text.len() >= TEXT_DIGITS_MIN).then(|| Value::Text(text.into_bytes().into()))?
        }
        Value::Bytes(_) => Value::Bytes(digest.to_vec().into()),
        Value::Integer(_) => match context.declared.class() {
            TypeClass::Int8 => Value::Integer(i64::try_from(number >> 1).ok()?),
            TypeClass::Int4 => Value::Integer(i64::from(u32::try_from(number >> 33).ok()?)),
            _ => return None,
        },
        Value::Decimal(_) => {
            let room = context.declared.integer_digits_max().unwrap_or(DECIMAL_DIGITS).min(DECIMAL_DIGITS);
            (room >= DECIMAL_DIGITS_MIN).then_some(())?;
            Value::Decimal(Decimal::whole(i128::from(number % 10_u64.checked_pow(room)?)))
        }
        // Whole numbers that a double holds exactly.
        Value::Float(_) if context.declared.class() == TypeClass::Float8 => {
            Value::Float((number >> 11) as f64)
        }
        Value::Uuid(_) => uuid(&digest)?,
        // 96 bits of the network that is set aside for documentation.
        Value::Address(_) => {
            let mut bytes = [0; 16];
            bytes.copy_from_slice(digest.get(..16)?);
            let bits = (u128::from_be_bytes(bytes) & (u128::MAX >> 32)) | DOCUMENTATION_V6;
            Value::Address(Address::host(IpAddr::V6(Ipv6Addr::from_bits(bits))))
        }
        Value::Hardware(address) => {
            let mut bytes = digest.get(..address.bytes().len())?.to_vec();
            // Given out by nobody: locally administered, one station.
            if let Some(first) = bytes.first_mut() {
                *first = (*first & 0xFC) | 2;
            }
            Value::Hardware(Hardware::of_binary(&bytes)?)
        }
        Value::Float(_) | Value::Day(_) | Value::Moment(_) => return None,
    })
}

/// Version 8: its bits are whatever its maker wants.
pub(super) fn uuid(digest: &[u8; 32]) -> Option<Value<'static>> {
    let mut bytes: [u8; 16] = digest.get(..16)?.try_into().ok()?;
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut bytes;
    *version = (*version & 0x0F) | 0x80;
    *variant = (*variant & 0x3F) | 0x80;
    Some(Value::Uuid(bytes))
}

/// Bytes of the digest that a text shows.
const TEXT_BYTES: usize = 16;
const TEXT_DIGITS_MIN: usize = 16;
const DECIMAL_DIGITS: u32 = 18;
const DECIMAL_DIGITS_MIN: u32 = 9;
/// 2001:db8::/32
const DOCUMENTATION_V6: u128 = 0x2001_0db8 << 96;
