//! Facts of query texts, and what records say of them; a worker's memory of both.
//!
//! Two memories, both bounded and both safe from a flood of texts that come once: a text is kept from its second time on
//! ([`Seen`]), and the cache itself keeps what is asked for over what only came (S3-FIFO, crate quick_cache).
//!
//! - by exact text: for everyone;
//! - by shape (`shape.rs`): for sessions of which policy can deny, hold and mask nothing.

use super::shape;
use crate::engine::masking::{Masker, mask_text, mask_unknown};
use crate::engine::model::{Statement, Unknown};
use crate::engine::sql::{PostgresDialect, Script, SecondReading, SqlDialect, doubted, second_reading};
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A query text, understood: facts and what records say of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Understood {
    /// Of this text, or for the record alone of one of the same shape (`shape.rs`).
    script: Arc<Script>,
    recorded: Vec<Recorded>,
    /// What stands for it since it was read a second time; `None` inside: it agrees, or has no opinion.
    doubted: OnceLock<Option<Arc<Self>>>,
}

impl Understood {
    fn new(script: Arc<Script>, recorded: Vec<Recorded>) -> Self {
        Self { script, recorded, doubted: OnceLock::new() }
    }
}

/// What a record says of a statement's text: values masked, length bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub text: Arc<str>,
    /// Length of the statement's own text.
    pub text_bytes: u64,
    pub tag: Arc<str>,
    pub fingerprint: Arc<str>,
    pub reads: Arc<[String]>,
    pub writes: Arc<[String]>,
    pub unknown: Option<Unknown>,
}

/// One statement of an [`Understood`] text.
#[derive(Clone, Debug)]
pub(super) struct StatementRef {
    understood: Arc<Understood>,
    index: usize,
}

impl StatementRef {
    /// Every statement of a text, in order.
    pub fn all(understood: &Arc<Understood>) -> impl Iterator<Item = Self> + use<> {
        let understood = understood.clone();
        (0..understood.script.statements.len().min(understood.recorded.len()))
            .map(move |index| Self { understood: understood.clone(), index })
    }

    /// Which statement of which text: while this lives, no other has it.
    pub fn place(&self) -> (usize, usize) {
        (Arc::as_ptr(&self.understood) as usize, self.index)
    }

    pub fn recorded(&self) -> &Recorded {
        // `all` makes indices that exist in both vectors, which never change.
        #[allow(clippy::indexing_slicing)]
        &self.understood.recorded[self.index]
    }
}

impl Deref for StatementRef {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        // As in `recorded`.
        #[allow(clippy::indexing_slicing)]
        &self.understood.script.statements[self.index]
    }
}

/// One worker's facts.
pub struct FactsCache {
    masker: Masker,
    record_text_bytes_max: usize,
    /// Under `standard_conforming_strings = on`; the rare other reading is not cached.
    texts: Cache<Box<str>, Arc<Understood>, Bytes>,
    /// By the key that `shape.rs` writes.
    shapes: Cache<Box<[u8]>, Arc<Understood>>,
    shape_key: Vec<u8>,
    seen: Seen,
    hits_count: u64,
    misses_count: u64,
    second_readings: SecondReadingCounts,
}

/// What second readings of texts said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecondReadingCounts {
    pub agrees: u64,
    pub no_opinion: u64,
    pub sees_more: u64,
}

impl FactsCache {
    /// `record_text_bytes_max`: of a statement's text in its record.
    pub fn new(masker: impl Into<Masker>, record_text_bytes_max: usize) -> Self {
        Self {
            masker: masker.into(),
            record_text_bytes_max,
            texts: Cache::with_weighter(TEXTS_COUNT, TEXTS_BYTES_MAX, Bytes),
            shapes: Cache::new(SHAPES_COUNT_MAX),
            shape_key: Vec::new(),
            seen: Seen::default(),
            hits_count: 0,
            misses_count: 0,
            second_readings: SecondReadingCounts::default(),
        }
    }

    /// The facts of a query text. `plain_strings` is the server's `standard_conforming_strings`.
    pub fn understand(&mut self, text: &str, plain_strings: bool) -> Arc<Understood> {
        if plain_strings && let Some(found) = self.texts.get(text) {
            self.hits_count += 1;
            return found.clone();
        }
        self.misses_count += 1;
        let script = PostgresDialect { standard_conforming_strings: plain_strings }.script(text);
        let understood = Arc::new(self.record_form(script));
        // Texts with literals in them come once; only what comes again is worth a place.
        if plain_strings && text.len() <= TEXT_BYTES_MAX && self.seen.again(text) {
            self.texts.insert(text.into(), understood.clone());
        }
        understood
    }

    /// As [`Self::understand`], for a session that is governed: another parser reads the text, too, and where it sees more the
    /// statements are Unknown as well ([`second_reading`]). Remembered with the facts.
    pub fn understand_twice(&mut self, text: &str, plain_strings: bool) -> Arc<Understood> {
        let understood = self.understand(text, plain_strings);
        let doubted = understood.doubted.get_or_init(|| {
            let facts = &understood.script.statements;
            match second_reading(text, facts) {
                SecondReading::Agrees => self.second_readings.agrees += 1,
                SecondReading::NoOpinion => self.second_readings.no_opinion += 1,
                SecondReading::SeesMore { what } => {
                    self.second_readings.sees_more += 1;
                    let script = Script { statements: doubted(facts, &what) };
                    return Some(Arc::new(self.record_form(script)));
                }
            }
            None
        });
        doubted.clone().unwrap_or_else(|| understood.clone())
    }

    /// What second readings said, since somebody asked last.
    pub fn take_second_readings(&mut self) -> SecondReadingCounts {
        std::mem::take(&mut self.second_readings)
    }

    /// As [`Self::understand`], for a session of which policy can deny, hold and mask nothing. The facts may be those of
    /// another text of the same shape; what records say of the text is its own.
    pub fn understand_for_record(&mut self, text: &str) -> Arc<Understood> {
        if let Some(found) = self.texts.get(text) {
            self.hits_count += 1;
            return found.clone();
        }
        // The statement's own text, as the grammar would cut it out.
        let own = text.trim_ascii();
        let own = own.strip_suffix(';').map_or(own, str::trim_ascii_end);
        let mut key = std::mem::take(&mut self.shape_key);
        let understood = if !shape::key_of(own, &mut key) {
            self.understand(text, true)
        } else if !self.seen.again(text)
            && let Some(found) = self.shapes.get(key.as_slice())
        {
            self.hits_count += 1;
            let recorded = found.recorded.iter().map(|r| Recorded {
                text: mask_text(&self.masker, own, self.record_text_bytes_max).into(),
                text_bytes: own.len() as u64,
                ..r.clone()
            });
            Arc::new(Understood::new(found.script.clone(), recorded.collect()))
        } else {
            let understood = self.understand(text, true);
            // One text, one statement: its own text is all of it. Of what does not parse nobody can say where it ends, and why
            // it does not names the text.
            if let [only] = understood.script.statements.as_slice()
                && !matches!(only.unknown, Some(Unknown::Unparsable { .. }))
            {
                self.shapes.insert(key.as_slice().into(), understood.clone());
            }
            understood
        };
        self.shape_key = key;
        understood
    }

    /// A statement whose facts are known without parsing: one that was taken out of another, or an unknown one.
    pub(super) fn known(&self, statement: Statement) -> Arc<Understood> {
        Arc::new(self.record_form(Script { statements: vec![statement] }))
    }

    /// Texts whose facts were in memory, and that were parsed, since the start.
    pub fn counts(&self) -> (u64, u64) {
        (self.hits_count, self.misses_count)
    }

    fn record_form(&self, script: Script) -> Understood {
        let recorded = script
            .statements
            .iter()
            .map(|s| Recorded {
                text: mask_text(&self.masker, &s.text, self.record_text_bytes_max).into(),
                text_bytes: s.text.len() as u64,
                tag: s.tag.as_str().into(),
                fingerprint: s.fingerprint.as_str().into(),
                reads: s.reads.iter().map(ToString::to_string).collect(),
                writes: s.writes.iter().map(ToString::to_string).collect(),
                unknown: s.unknown.as_ref().map(|unknown| mask_unknown(&self.masker, unknown)),
            })
            .collect();
        Understood::new(Arc::new(script), recorded)
    }
}

impl std::fmt::Debug for FactsCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FactsCache").field("texts_count", &self.texts.len()).finish_non_exhaustive()
    }
}

/// What a text takes: itself, and facts that grow with it.
#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<Box<str>, Arc<Understood>> for Bytes {
    fn weight(&self, text: &Box<str>, _: &Arc<Understood>) -> u64 {
        (text.len() + TEXT_OVERHEAD_BYTES) as u64
    }
}

/// Remembers, roughly, which texts came lately: by hash, the newest few of each place stay.
#[derive(Debug)]
struct Seen {
    /// The newest first. Several, so that texts which come in turns do not push each other out.
    places: Vec<[u64; SEEN_IN_PLACE]>,
    hasher: RandomState,
}

impl Default for Seen {
    fn default() -> Self {
        Self { places: vec![[0; SEEN_IN_PLACE]; SEEN_COUNT / SEEN_IN_PLACE], hasher: RandomState::new() }
    }
}

impl Seen {
    /// Whether `text` came before, and was not pushed out since.
    fn again(&mut self, text: &str) -> bool {
        let hash = self.hasher.hash_one(text);
        let place = usize::try_from(hash).unwrap_or(0) % self.places.len().max(1);
        let Some(place) = self.places.get_mut(place) else { return false };
        if place.contains(&hash) {
            return true;
        }
        place.rotate_right(1);
        if let Some(first) = place.first_mut() {
            *first = hash;
        }
        false
    }
}

/// Texts with facts that room is made for, per worker: as many short ones as fit.
const TEXTS_COUNT: usize = 8192;
/// All cached texts together, per worker; the facts take a few times as much.
const TEXTS_BYTES_MAX: u64 = 8 << 20;
/// What even an empty text takes.
const TEXT_OVERHEAD_BYTES: usize = 512;
/// Longer texts are parsed each time.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Texts of which a hash is kept, per worker.
const SEEN_COUNT: usize = 16_384;
const SEEN_IN_PLACE: usize = 8;
/// Shapes with facts, per worker; a key has at most a kilobyte.
const SHAPES_COUNT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> FactsCache {
        FactsCache::new(Arc::new(crate::engine::masking::Detectors::new().unwrap()), 4096)
    }

    #[test]
    fn a_text_is_kept_from_its_second_time_on() {
        let mut cache = cache();
        for (time, hits) in [(1, 0), (2, 0), (3, 1), (4, 2)] {
            cache.understand("SELECT a FROM t WHERE b = 'x'", true);
            assert_eq!(cache.counts(), (hits, time - hits));
        }
    }

    /// Neither texts that come once nor texts that come twice push out what is used.
    #[test]
    fn a_flood_of_texts_leaves_what_is_used() {
        let mut cache = cache();
        let used: Vec<String> = (0..50).map(|n| format!("SELECT c{n} FROM t WHERE b = 'x'")).collect();
        for _ in 0..4 {
            used.iter().for_each(|text| drop(cache.understand(text, true)));
        }
        for n in 0..20_000 {
            let text = format!("SELECT a FROM flood_{n}");
            for _ in 0..1 + n % 2 {
                cache.understand(&text, true);
            }
            if n % 100 == 0 {
                used.iter().for_each(|text| drop(cache.understand(text, true)));
            }
        }
        let (before, _) = cache.counts();
        used.iter().for_each(|text| drop(cache.understand(text, true)));
        assert_eq!(cache.counts().0 - before, used.len() as u64);
        assert!(cache.texts.weight() <= TEXTS_BYTES_MAX);
    }

    #[test]
    fn what_does_not_parse_is_recorded_the_same_each_time() {
        let mut cache = cache();
        for text in ["SELEC 1", "SELEC 1;", "SELEC 2 ;", "SELEC 1;"] {
            let understood = cache.understand_for_record(text);
            assert_eq!(&*StatementRef::all(&understood).next().unwrap().recorded().text, text);
        }
    }

    /// What comes again is read a second time once.
    #[test]
    fn a_second_reading_is_remembered() {
        let mut cache = cache();
        for time in 1..=5 {
            cache.understand_twice("SELECT a FROM t WHERE b = 'x'", true);
            let agrees = u64::from(time <= 2);
            assert_eq!(cache.take_second_readings().agrees, agrees, "facts are kept from the second time on");
        }
        cache.understand_twice("SELEC 1", true);
        assert_eq!(
            cache.take_second_readings(),
            SecondReadingCounts { no_opinion: 1, ..SecondReadingCounts::default() }
        );
    }

    /// Facts that serve the record alone may be another text's; whoever is governed gets those of the own text.
    #[test]
    fn facts_of_a_shape_stay_with_the_record() {
        let mut cache = cache();
        let texts = ["SELECT a FROM t WHERE id = 17", "SELECT a FROM t WHERE id = 4711"];
        let for_record = texts.map(|text| cache.understand_for_record(&format!(" {text} ;\n")));
        assert_eq!(cache.counts(), (1, 1), "the second has the facts of the first");
        for (text, understood) in texts.iter().zip(&for_record) {
            let statement = StatementRef::all(understood).next().unwrap();
            assert_eq!(&*statement.recorded().text, *text);
            assert_eq!(statement.recorded().text_bytes, text.len() as u64);
            let own = cache.understand(text, true);
            assert_eq!(&*StatementRef::all(&own).next().unwrap().text, *text);
        }
    }
}
