//! What a key means, remembered: documents of one table have the same few keys.
//!
//! A memory of one thread, of bounded size, that only saves time: what it answers is what asking would.

use crate::engine::masking::classify::{classify_column, name_of};
use crate::engine::masking::detector::ColumnContext;
use crate::engine::masking::pg_type::TEXT;
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::hash::{Hash, Hasher};

/// What a key says of the value behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyMeaning {
    pub(super) is_sensitive: bool,
    pub(super) context: ColumnContext,
}

/// A name of at most sixteen bytes as a number, so that names are compared and looked up in one step.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short(u64, u64);

/// Parent and key.
type LongNames = (Box<[u8]>, Box<[u8]>);

#[derive(Clone, PartialEq, Eq)]
struct ShortNames {
    parent: Short,
    key: Short,
    lengths: usize,
}

impl Hash for ShortNames {
    /// One number: a hash of five would take as long as what it is for.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (Short(a, b), Short(c, d)) = (self.parent, self.key);
        let mixed = a ^ b.rotate_left(13) ^ c.rotate_left(29) ^ d.rotate_left(47);
        state.write_u64(mixed ^ (self.lengths as u64).rotate_left(56));
    }
}

/// The meaning of a key below another key, both without escapes.
pub(super) fn meaning(parent: &[u8], key: &[u8]) -> KeyMeaning {
    // Each key asks about its parent again: what is looked at must not grow with it.
    let cut = |name: &'_ [u8]| name.len().min(NAME_BYTES_MAX);
    let (parent, key) = (parent.get(..cut(parent)).unwrap_or(&[]), key.get(..cut(key)).unwrap_or(&[]));
    match (Short::of(parent), Short::of(key)) {
        (Some(parent_number), Some(key_number)) => {
            let lengths = parent.len() * (SHORT_BYTES_MAX + 1) + key.len();
            let names = ShortNames { parent: parent_number, key: key_number, lengths };
            SHORT.with_borrow_mut(|known| remembered(known, &names, parent, key))
        }
        _ if parent.len() + key.len() > KEY_BYTES_MAX => judge(parent, key),
        _ => {
            let names = (Box::from(parent), Box::from(key));
            LONG.with_borrow_mut(|known| remembered(known, &names, parent, key))
        }
    }
}

fn remembered<N: Eq + Hash + Clone>(
    known: &mut FxHashMap<N, KeyMeaning>,
    names: &N,
    parent: &[u8],
    key: &[u8],
) -> KeyMeaning {
    if let Some(meaning) = known.get(names) {
        return *meaning;
    }
    let meaning = judge(parent, key);
    if known.len() >= KEYS_MAX {
        known.clear();
    }
    known.insert(names.clone(), meaning);
    meaning
}

impl Short {
    /// Names of one length are equal where their numbers are.
    fn of(name: &[u8]) -> Option<Self> {
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let is_short = name.len() <= SHORT_BYTES_MAX;
            return is_short.then_some(Self(u64::from_le_bytes(*first), u64::from_le_bytes(*last)));
        }
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            return Some(Self(u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into()));
        }
        Some(Self(name.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)), 0))
    }
}

fn judge(parent: &[u8], key: &[u8]) -> KeyMeaning {
    let (parent, key) = (name_of(parent), name_of(key));
    KeyMeaning {
        is_sensitive: classify_column(&parent, &key, TEXT).is_some(),
        context: ColumnContext::by_name(&key, false),
    }
}

thread_local! {
    static SHORT: RefCell<FxHashMap<ShortNames, KeyMeaning>> = RefCell::default();
    static LONG: RefCell<FxHashMap<LongNames, KeyMeaning>> = RefCell::default();
}

/// Keys that are remembered in either, and how long both names together may be: two hundred kilobytes at most.
const KEYS_MAX: usize = 1024;
const KEY_BYTES_MAX: usize = 96;
/// Two numbers of eight bytes.
const SHORT_BYTES_MAX: usize = 16;
/// More of a name than its words are taken from, in any encoding.
const NAME_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_answers_what_asking_would() {
        for _ in 0..2 {
            let long = "the_name_of_the_customer";
            for (parent, key) in [
                ("user", "name"),
                ("product", "name"),
                ("", "email"),
                ("", "order_id"),
                ("", long),
                ("invoice", long),
                ("customer_invoice", "account_number12"),
            ] {
                assert_eq!(
                    meaning(parent.as_bytes(), key.as_bytes()),
                    judge(parent.as_bytes(), key.as_bytes())
                );
            }
        }
        assert!(meaning(b"user", b"name").is_sensitive && !meaning(b"product", b"name").is_sensitive);
        for number in 0..3 * KEYS_MAX {
            meaning(b"", format!("key{number}").as_bytes());
        }
        SHORT.with_borrow(|known| assert!(known.len() <= KEYS_MAX));
        for number in 0..3 * KEYS_MAX {
            meaning(b"", format!("a_long_name_of_a_key_{number}").as_bytes());
        }
        LONG.with_borrow(|known| assert!(known.len() <= KEYS_MAX));
    }

    #[test]
    fn short_names_differ_where_their_numbers_do() {
        let names = ["", "a", "ab", "abc", "abd", "abcd", "abcde", "abcdf", "xbcde", "abcdefgh", "abcdefghi"];
        for a in names {
            for b in names {
                let number = |name: &str| (Short::of(name.as_bytes()).map(|s| (s.0, s.1)), name.len());
                assert_eq!(number(a) == number(b), a == b, "{a} {b}");
            }
        }
        assert!(Short::of(b"sixteen bytes...").is_some() && Short::of(b"seventeen bytes..").is_none());
    }
}
