//! Format-preserving encryption (NIST SP 800-38G, FF1 with AES-256): digits become digits, letters letters of the same
//! case, everything else stays; integers, decimals, UUIDs and addresses become others of their kind.
//!
//! Different values stay different, and equal ones equal. A payment card keeps a last digit that fits: what checks
//! cards goes on working. Other check digits (IBAN, national numbers) do not survive.
//!
//! Invariant: nothing is encrypted in a domain of fewer than a million values, where trying all of them is too easy.

use super::Context;
use crate::engine::masking::pg_type::TypeClass;
use crate::engine::masking::value::{Address, Decimal, Hardware, Value};
use crate::engine::model::Category;
use aes::Aes256;
use fpe::ff1::{FF1, FlexibleNumeralString};
use num_bigint::BigUint;
use std::net::IpAddr;

pub(super) fn of(context: &Context<'_>, value: &Value<'_>) -> Option<Value<'static>> {
    let cipher = Cipher { key: context.key.format(), tweak: context.tweak("format") };
    Some(match value {
        Value::Text(text) if matches!(context.declared.class(), TypeClass::Text) => {
            Value::Text(cipher.text(text, context.mask.category)?.into())
        }
        Value::Integer(number) => {
            let bits = match context.declared.class() {
                TypeClass::Int4 => 31,
                TypeClass::Int8 => 63,
                _ => return None,
            };
            // A permutation of what is not negative, and the same one of what is.
            let is_negative = *number < 0;
            let positive = if is_negative { !*number } else { *number };
            let made = cipher.bits(u128::try_from(positive).ok()?, bits)?;
            let made = i64::try_from(made).ok()?;
            Value::Integer(if is_negative { !made } else { made })
        }
        Value::Decimal(number) => Value::Decimal(cipher.decimal(*number)?),
        Value::Uuid(bytes) => Value::Uuid(cipher.uuid(*bytes)?),
        Value::Address(address) => Value::Address(cipher.address(*address)?),
        Value::Hardware(address) => {
            let bits = address.bytes().len() * 8;
            let number = address.bytes().iter().fold(0, |sum, b| sum << 8 | u128::from(*b));
            let made = cipher.bits(number, bits)?.to_be_bytes();
            Value::Hardware(Hardware::of_binary(made.get(16 - bits / 8..)?)?)
        }
        Value::Text(_) | Value::Bytes(_) | Value::Float(_) | Value::Day(_) | Value::Moment(_) => return None,
    })
}

struct Cipher<'a> {
    key: &'a [u8; 32],
    tweak: Vec<u8>,
}

impl Cipher<'_> {
    /// Permutes strings of numerals below `radix`.
    fn numerals(&self, numerals: Vec<u16>, radix: u16) -> Option<Vec<u16>> {
        let cipher = FF1::<Aes256>::new(self.key, radix.into()).ok()?;
        let made = cipher.encrypt(&self.tweak, &FlexibleNumeralString::from(numerals)).ok()?;
        Some(made.into())
    }

    /// Permutes numbers of so many bits.
    fn bits(&self, number: u128, count: usize) -> Option<u128> {
        let numerals = (0..count).rev().map(|bit| u16::from(number >> bit & 1 == 1)).collect();
        let made = self.numerals(numerals, 2)?;
        Some(made.into_iter().fold(0, |sum, bit| sum << 1 | u128::from(bit)))
    }

    /// Permutes numbers below `count`: of as many bits as the largest has, again and again until it is one of them.
    /// Twice on average, since at least half of all numbers of that length are.
    fn below(&self, number: BigUint, count: &BigUint) -> Option<BigUint> {
        if *count < BigUint::from(DOMAIN_MIN) || number >= *count {
            return None;
        }
        let bits = usize::try_from((count - 1_u32).bits()).ok()?;
        let mut numerals: Vec<u16> = number.to_radix_be(2).into_iter().map(u16::from).collect();
        for _ in 0..WALK_MAX {
            let mut padded = vec![0; bits.checked_sub(numerals.len())?];
            padded.append(&mut numerals);
            numerals = self.numerals(padded, 2)?;
            let digits: Vec<u8> = numerals.iter().map(|bit| u8::from(*bit == 1)).collect();
            let made = BigUint::from_radix_be(&digits, 2)?;
            if made < *count {
                return Some(made);
            }
        }
        None
    }

    /// Every letter and digit of the text is one numeral; the others say where they stand.
    fn text(&self, text: &[u8], category: Option<Category>) -> Option<Vec<u8>> {
        let is_card = category == Some(Category::PaymentCard) && luhn_rest(text) == Some(0);
        let places: Vec<usize> =
            text.iter().enumerate().filter(|(_, b)| b.is_ascii_alphanumeric()).map(|(at, _)| at).collect();
        // Letters that are none of ASCII's would stay as they are.
        if !text.is_ascii() || places.len() > CHARACTERS_MAX {
            return None;
        }
        let places = places.get(..places.len() - usize::from(is_card))?;
        let numerals =
            places.iter().map(|at| text.get(*at).map(|b| numeral(*b))).collect::<Option<Vec<_>>>()?;
        let made = self.mixed(&numerals)?;
        let mut out = text.to_vec();
        for (at, numeral) in places.iter().zip(made) {
            let slot = out.get_mut(*at)?;
            *slot = match *slot {
                b'0'..=b'9' => b'0',
                b'a'..=b'z' => b'a',
                _ => b'A',
            } + numeral;
        }
        if is_card {
            let last = out.iter_mut().rev().find(|b| b.is_ascii_digit())?;
            *last = b'0';
            let missing = (10 - luhn_rest(&out)?) % 10;
            *out.iter_mut().rev().find(|b| b.is_ascii_digit())? = b'0' + missing;
        }
        Some(out)
    }

    /// Numerals of radix 10 and 26 side by side.
    fn mixed(&self, numerals: &[(u8, u8)]) -> Option<Vec<u8>> {
        let domain = numerals.iter().fold(BigUint::from(1_u8), |all, (_, radix)| all * *radix);
        if domain < BigUint::from(DOMAIN_MIN) {
            return None;
        }
        let (_, radix) = *numerals.first()?;
        if numerals.iter().all(|(_, other)| *other == radix) {
            let made = self.numerals(numerals.iter().map(|(n, _)| u16::from(*n)).collect(), radix.into())?;
            return made.into_iter().map(|n| u8::try_from(n).ok()).collect();
        }
        let rank = numerals.iter().fold(BigUint::ZERO, |sum, (n, radix)| sum * *radix + *n);
        let mut rest = self.below(rank, &domain)?;
        let mut made = vec![0; numerals.len()];
        for (slot, (_, radix)) in made.iter_mut().zip(numerals).rev() {
            *slot = u8::try_from(&rest % *radix).ok()?;
            rest /= *radix;
        }
        Some(made)
    }

    /// As many digits as before, the first of which is not 0.
    fn decimal(&self, number: Decimal) -> Option<Decimal> {
        let count = number.count();
        (count <= 38).then_some(())?;
        let least = 10_u128.checked_pow(count.checked_sub(1)?)?;
        let made = self.below((number.digits - least).into(), &(least * 9).into())?;
        Some(Decimal { digits: u128::try_from(made).ok()? + least, ..number })
    }

    /// All bits but those of version and variant.
    fn uuid(&self, bytes: [u8; 16]) -> Option<[u8; 16]> {
        let bits = u128::from_be_bytes(bytes);
        let packed = (bits >> 80 << 74) | (bits >> 64 & 0xFFF) << 62 | bits & (u128::MAX >> 66);
        let made = self.bits(packed, 122)?;
        let spread = (made >> 74 << 80) | (made >> 62 & 0xFFF) << 64 | made & (u128::MAX >> 66);
        Some((spread | bits & FIXED_OF_UUID).to_be_bytes())
    }

    /// The bits of the network, where it is one; a host's are all of them.
    fn address(&self, address: Address) -> Option<Address> {
        let host = Address::host(address.ip).prefix;
        let is_network = address.network(32, 128).ip == address.ip;
        let count = if is_network { address.prefix } else { host };
        (count >= 20).then_some(())?;
        let below = host - count;
        let ip = match address.ip {
            IpAddr::V4(ip) => {
                let made = self.bits(u128::from(ip.to_bits() >> below), count.into())?;
                IpAddr::from((u32::try_from(made).ok()? << below).to_be_bytes())
            }
            IpAddr::V6(ip) => {
                IpAddr::from((self.bits(ip.to_bits() >> below, count.into())? << below).to_be_bytes())
            }
        };
        Some(Address { ip, ..address })
    }
}

/// A letter's or digit's place among those of its kind, and how many there are.
fn numeral(byte: u8) -> (u8, u8) {
    match byte {
        b'0'..=b'9' => (byte - b'0', 10),
        b'a'..=b'z' => (byte - b'a', 26),
        _ => (byte.saturating_sub(b'A'), 26),
    }
}

/// What Luhn's sum of the digits leaves, divided by ten: 0 for a card. `None` where there are letters, or not 12 to 19
/// digits.
fn luhn_rest(text: &[u8]) -> Option<u8> {
    let digits: Vec<u8> = text.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0').collect();
    if text.iter().any(u8::is_ascii_alphabetic) || !(12..=19).contains(&digits.len()) {
        return None;
    }
    let sum = digits.iter().rev().enumerate().fold(0_u32, |sum, (at, digit)| {
        let digit = u32::from(*digit);
        sum + if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
    });
    u8::try_from(sum % 10).ok()
}

const DOMAIN_MIN: u32 = 1_000_000;
/// Longer texts are redacted: the work grows with the square.
const CHARACTERS_MAX: usize = 96;
/// Each step ends the walk at least every second time.
const WALK_MAX: usize = 128;
/// Version and variant.
const FIXED_OF_UUID: u128 = 0xF000_C000_0000_0000_0000;
