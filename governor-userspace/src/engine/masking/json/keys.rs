//! What a key means, remembered: documents of one table have the same few keys.
//!
//! A memory of one thread, of bounded size, that only saves time: what it answers is what asking would.

use crate::engine::masking::classify::classify_column;
use crate::engine::masking::detector::ColumnContext;
use crate::engine::masking::pg_type::TEXT;
use rustc_hash::{FxHashMap, FxHasher};
use std::cell::RefCell;
use std::hash::{Hash, Hasher};

/// What a key says of the value behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyMeaning {
    pub(super) is_sensitive: bool,
    pub(super) context: ColumnContext,
}

struct Known {
    parent: Box<[u8]>,
    key: Box<[u8]>,
    meaning: KeyMeaning,
}

/// The meaning of a key below another key, both without escapes.
pub(super) fn meaning(parent: &[u8], key: &[u8]) -> KeyMeaning {
    // Each key asks about its parent again: what is looked at must not grow with it.
    let cut = |name: &'_ [u8]| name.len().min(NAME_BYTES_MAX);
    let (parent, key) = (parent.get(..cut(parent)).unwrap_or(&[]), key.get(..cut(key)).unwrap_or(&[]));
    if parent.len() + key.len() > KEY_BYTES_MAX {
        return judge(parent, key);
    }
    let mut hasher = FxHasher::default();
    (parent, key).hash(&mut hasher);
    let place = hasher.finish();
    KNOWN.with_borrow_mut(|known| {
        if let Some(it) = known.get(&place)
            && *it.parent == *parent
            && *it.key == *key
        {
            return it.meaning;
        }
        let meaning = judge(parent, key);
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(place, Known { parent: parent.into(), key: key.into(), meaning });
        meaning
    })
}

fn judge(parent: &[u8], key: &[u8]) -> KeyMeaning {
    let (parent, key) = (String::from_utf8_lossy(parent), String::from_utf8_lossy(key));
    KeyMeaning {
        is_sensitive: classify_column(&parent, &key, TEXT).is_some(),
        context: ColumnContext::by_name(&key, false),
    }
}

thread_local! {
    static KNOWN: RefCell<FxHashMap<u64, Known>> = RefCell::default();
}

/// Keys that are remembered, and how long both names together may be: a hundred kilobytes at most.
const KEYS_MAX: usize = 1024;
const KEY_BYTES_MAX: usize = 96;
/// More of a name than its words are taken from, in any encoding.
const NAME_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_answers_what_asking_would() {
        for _ in 0..2 {
            for (parent, key) in [("user", "name"), ("product", "name"), ("", "email"), ("", "order_id")] {
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
        KNOWN.with_borrow(|known| assert!(known.len() <= KEYS_MAX));
    }
}
