//! Facts of texts seen before, bounded in entries and in bytes.
//!
//! Applications send few texts many times; a hit costs a hash of the text instead of a parse. Keyed by
//! the exact text and the dialect's variant: texts of the same shape may differ in what matters.

use super::{Script, SqlDialect};
use lru::LruCache;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Longest text that is kept.
pub const CACHED_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Least recently used first out.
#[derive(Debug)]
pub struct FactsCache {
    scripts: LruCache<Key, Entry>,
    entries_max: usize,
    bytes_max: usize,
    bytes: usize,
    hits: u64,
    misses: u64,
}

impl FactsCache {
    /// `bytes_max` bounds an estimate of the memory of texts and facts together.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { scripts: LruCache::unbounded(), entries_max, bytes_max, bytes: 0, hits: 0, misses: 0 }
    }

    /// The facts of `text`, from memory where they are.
    pub fn get_or_parse(&mut self, dialect: &dyn SqlDialect, text: &str) -> Arc<Script> {
        let variant = dialect.variant();
        if let Some(entry) = self.scripts.get(&(variant, text) as &dyn Lookup) {
            self.hits += 1;
            return Arc::clone(&entry.script);
        }
        self.misses += 1;
        let script = Arc::new(dialect.script(text));
        let bytes = text.len() + weight(&script);
        if text.len() <= CACHED_TEXT_BYTES_MAX && bytes <= self.bytes_max && self.entries_max > 0 {
            self.bytes += bytes;
            self.scripts
                .put(Key { variant, text: text.into() }, Entry { script: Arc::clone(&script), bytes });
            self.shrink();
        }
        script
    }

    fn shrink(&mut self) {
        while self.scripts.len() > self.entries_max || self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.scripts.pop_lru() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
    }

    /// Texts kept now.
    pub fn entries_count(&self) -> usize {
        self.scripts.len()
    }

    /// Estimate of the memory in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Texts found and texts parsed since the start.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }
}

#[derive(Debug)]
struct Entry {
    script: Arc<Script>,
    bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    variant: u32,
    text: Box<str>,
}

/// Lets a borrowed text be looked up without copying it.
trait Lookup {
    fn parts(&self) -> (u32, &str);
}

impl Lookup for Key {
    fn parts(&self) -> (u32, &str) {
        (self.variant, &self.text)
    }
}

impl Lookup for (u32, &str) {
    fn parts(&self) -> (u32, &str) {
        (self.0, self.1)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Hash for dyn Lookup + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn Lookup + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Lookup + '_ {}

impl<'a> Borrow<dyn Lookup + 'a> for Key {
    fn borrow(&self) -> &(dyn Lookup + 'a) {
        self
    }
}

/// Roughly what a script holds on the heap.
fn weight(script: &Script) -> usize {
    script.statements.iter().map(statement_weight).sum()
}

fn statement_weight(statement: &crate::engine::model::Statement) -> usize {
    let names = statement.reads.len() + statement.writes.len() + statement.functions.len();
    let mentioned: usize = statement.mentions.columns.iter().map(|name| NAME_BYTES + name.len()).sum();
    let targets: usize =
        statement.targets.iter().flatten().map(|t| NAME_BYTES * (2 + t.mentions.columns.len())).sum();
    let inner = statement.inner.as_deref().map_or(0, statement_weight);
    STATEMENT_BYTES + statement.text.len() + names * 3 * NAME_BYTES + mentioned + targets + inner
}

const STATEMENT_BYTES: usize = 512;
const NAME_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::PostgresDialect;

    const ON: PostgresDialect = PostgresDialect { standard_conforming_strings: true };
    const OFF: PostgresDialect = PostgresDialect { standard_conforming_strings: false };

    #[test]
    fn second_look_is_the_same_allocation() {
        let mut cache = FactsCache::new(10, 1 << 20);
        let first = cache.get_or_parse(&ON, "SELECT 1");
        let second = cache.get_or_parse(&ON, "SELECT 1");
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(cache.hits_and_misses(), (1, 1));
    }

    #[test]
    fn text_is_compared_exactly_and_by_variant() {
        let mut cache = FactsCache::new(10, 1 << 20);
        cache.get_or_parse(&ON, r"SELECT '\'");
        let off = cache.get_or_parse(&OFF, r"SELECT '\'");
        assert!(off.statements[0].unknown.is_some(), "the other variant's facts must not answer");
        cache.get_or_parse(&ON, r"SELECT  '\'");
        assert_eq!(cache.hits_and_misses(), (0, 3));
    }

    #[test]
    fn stays_within_entries_and_forgets_the_oldest() {
        let mut cache = FactsCache::new(2, 1 << 20);
        for text in ["SELECT 1", "SELECT 2", "SELECT 1", "SELECT 3", "SELECT 1"] {
            cache.get_or_parse(&ON, text);
        }
        assert_eq!(cache.entries_count(), 2);
        assert_eq!(cache.hits_and_misses(), (2, 3));
    }

    #[test]
    fn stays_within_bytes() {
        let mut cache = FactsCache::new(1_000_000, 100_000);
        for number in 0..1_000 {
            cache.get_or_parse(&ON, &format!("SELECT {number}, '{}'", "x".repeat(500)));
            assert!(cache.bytes() <= 100_000);
        }
        assert!(cache.entries_count() > 10);
    }

    #[test]
    fn long_texts_are_not_kept() {
        let mut cache = FactsCache::new(10, 1 << 30);
        cache.get_or_parse(&ON, &format!("SELECT '{}'", "x".repeat(CACHED_TEXT_BYTES_MAX)));
        assert_eq!((cache.entries_count(), cache.bytes()), (0, 0));
    }
}
