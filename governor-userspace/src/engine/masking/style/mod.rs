//! The styles that make something else of a value: one file each.
//!
//! All but `range` have a key, and give equal values equal results: in every row, table and session, for as long as
//! the key is the current one. What "equal" means is up to the tweak: the category of the column, and the column
//! itself where the configuration asks for keys of their own.
//!
//! Invariant: a style that cannot serve a type or a value says so and writes nothing; the value is redacted then,
//! never shown.

mod fake;
mod format;
mod hash;
mod range;
mod shift;
mod token;
mod words;

pub use token::{Revealed, TokenError, may_be_token, reveal};

use super::keys::MaskingKey;
use super::masker::{Masker, TransformSettings};
use super::pg_type::XML;
use super::transform::ValueMask;
use super::value::{Declared, Value};
use crate::engine::model::MaskStyle;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Appends what `style` makes of the value; `false`, and possibly some bytes for the caller to cut, where it cannot.
pub(in crate::engine::masking) fn apply(
    masker: &Masker,
    mask: &ValueMask,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let ValueMask { type_oid, type_modifier, format, .. } = *mask;
    let declared = Declared { type_oid, type_modifier, format };
    // A document for who parses it: none of these is one.
    if type_oid == XML {
        return false;
    }
    let Some(value) = Value::read(declared, bytes) else { return false };
    let made = if mask.style == MaskStyle::Range {
        range::of(&masker.settings, declared, &value)
    } else {
        masker.keys.current().and_then(|key| {
            let context = Context { key: &key, mask, declared, settings: &masker.settings };
            match mask.style {
                MaskStyle::Hash => hash::of(&context, &value),
                MaskStyle::Token => token::of(&context, &value),
                MaskStyle::Format => format::of(&context, &value),
                MaskStyle::Shift => shift::of(&context, &value),
                MaskStyle::Fake => fake::of(&context, &value),
                MaskStyle::Redact | MaskStyle::Partial | MaskStyle::Null | MaskStyle::Range => None,
            }
        })
    };
    made.is_some_and(|made| made.write(declared, out))
}

/// What a keyed style knows beside the value.
struct Context<'a> {
    key: &'a MaskingKey,
    mask: &'a ValueMask,
    declared: Declared,
    settings: &'a TransformSettings,
}

impl Context<'_> {
    /// What tells one kind of values from another: the category, and the column where it has a tweak of its own.
    fn tweak(&self, purpose: &str) -> Vec<u8> {
        let category = self.mask.category.map_or("unknown", |category| category.as_str());
        let mut tweak = Vec::with_capacity(64);
        for part in [purpose, category] {
            tweak.extend_from_slice(part.as_bytes());
            tweak.push(0);
        }
        tweak.extend_from_slice(&self.mask.tweak.to_be_bytes());
        tweak
    }

    /// 256 bits that only the key tells from random ones; `None` never happens, and hides the value.
    fn keyed(&self, key: &[u8; 32], purpose: &str, value: &Value<'_>) -> Option<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        mac.update(&self.tweak(purpose));
        mac.update(&value.canonical());
        Some(mac.finalize().into_bytes().into())
    }

    /// For choices among few: numbers that the value and the key decide.
    fn choices(&self, purpose: &str, value: &Value<'_>) -> Option<Choices> {
        Some(Choices { bytes: self.keyed(self.key.choice(), purpose, value)?, at: 0 })
    }
}

/// Numbers out of one keyed digest, one after another.
struct Choices {
    bytes: [u8; 32],
    at: usize,
}

impl Choices {
    /// Below `count`; 0 where `count` is. Eight draws are independent, later ones repeat.
    fn below(&mut self, count: u64) -> u64 {
        let four = self.bytes.get(self.at..self.at + 4).and_then(|part| part.try_into().ok());
        self.at = (self.at + 4) % self.bytes.len();
        u64::from(u32::from_be_bytes(four.unwrap_or_default())).checked_rem(count).unwrap_or(0)
    }

    fn of<'t>(&mut self, list: &[&'t str]) -> &'t str {
        let at = self.below(list.len() as u64);
        usize::try_from(at).ok().and_then(|at| list.get(at)).copied().unwrap_or_default()
    }
}

/// The first eight bytes of a digest as a number.
fn number_of(digest: &[u8; 32]) -> u64 {
    digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
pub(super) mod tests;
