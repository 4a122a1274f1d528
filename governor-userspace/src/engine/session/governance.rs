//! What one worker thread knows, shared by its sessions: policy, facts, decisions, catalogues.
//!
//! All caches are bounded. A new policy set is swapped in between two inputs; sessions notice by its
//! version and decide again.

use super::catalogue::{Catalogue, Labels};
use super::{shape, visibility};
use crate::engine::masking::{ColumnAction, Detectors, mask_text};
use crate::engine::model::{Claims, Decision, Endpoint, Statement, Timestamp, Unknown};
use crate::engine::policy::{DecisionCache, PolicyPrincipal, PolicySet, RunContext, SeeColumn, Visibility};
use crate::engine::sql::{PostgresDialect, Script, SqlDialect};
use lru::LruCache;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;

/// Bounds and choices from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Longest SQL text that is collected and understood; longer ones are Unknown.
    pub statement_bytes_max: usize,
    /// Longest row that can be masked; a longer one ends the session.
    pub row_bytes_max: usize,
    /// Statement text kept in a record.
    pub record_text_bytes_max: usize,
    /// Bound values kept in a record.
    pub record_parameters_max: usize,
    /// How long a statement waits for an answer.
    pub hold_timeout_ns: u64,
    /// How long a catalogue is used before it is read again.
    pub catalogue_age_ns_max: u64,
    /// A service's cancel request with a key that no live session has still goes to the server.
    pub forward_unknown_cancel: bool,
    /// Whether values of columns that nothing else says are sensitive are looked at.
    pub detect_values: bool,
}

impl Default for EngineLimits {
    fn default() -> Self {
        Self {
            statement_bytes_max: 1 << 20,
            row_bytes_max: 64 << 20,
            record_text_bytes_max: 4096,
            record_parameters_max: 32,
            hold_timeout_ns: 300 * 1_000_000_000,
            catalogue_age_ns_max: 300 * 1_000_000_000,
            forward_unknown_cancel: false,
            detect_values: true,
        }
    }
}

/// A query text, understood: facts and what records say of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Understood {
    /// Of this text, or for the record alone of one of the same shape (`shape.rs`).
    script: Arc<Script>,
    recorded: Vec<Recorded>,
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

/// One worker's knowledge.
#[derive(Debug)]
pub struct Governance {
    pub policy: Arc<PolicySet>,
    pub detectors: Arc<Detectors>,
    pub labels: Arc<Labels>,
    pub limits: EngineLimits,
    /// Under `standard_conforming_strings = on`; the rare other reading is not cached.
    facts: LruCache<Box<str>, Arc<Understood>>,
    facts_bytes: usize,
    seen: Seen,
    /// By the key that `shape.rs` writes.
    shapes: LruCache<Box<[u8]>, Arc<Understood>>,
    shape_key: Vec<u8>,
    decisions: DecisionCache,
    catalogues: LruCache<(Endpoint, String), Arc<Catalogue>>,
}

impl Governance {
    pub fn new(
        policy: Arc<PolicySet>,
        detectors: Arc<Detectors>,
        labels: Arc<Labels>,
        limits: EngineLimits,
    ) -> Self {
        Self {
            policy,
            detectors,
            labels,
            limits,
            facts: LruCache::new(FACTS_COUNT_MAX),
            facts_bytes: 0,
            seen: Seen::default(),
            shapes: LruCache::new(SHAPES_COUNT_MAX),
            shape_key: Vec::new(),
            decisions: DecisionCache::new(DECISIONS_COUNT_MAX),
            catalogues: LruCache::new(CATALOGUES_COUNT_MAX),
        }
    }

    /// The facts of a query text. `plain_strings` is the server's `standard_conforming_strings`.
    pub(super) fn understand(&mut self, text: &str, plain_strings: bool) -> Arc<Understood> {
        if plain_strings && let Some(found) = self.facts.get(text) {
            return found.clone();
        }
        let script = dialect(plain_strings).script(text);
        let understood = Arc::new(self.record_form(script));
        // Texts with literals in them come once; only what comes again is worth a place.
        if plain_strings && text.len() <= FACTS_TEXT_BYTES_MAX && self.seen.again(text) {
            self.facts_bytes += text.len();
            if let Some((old, _)) = self.facts.push(text.into(), understood.clone()) {
                self.facts_bytes = self.facts_bytes.saturating_sub(old.len());
            }
            while self.facts_bytes > FACTS_BYTES_MAX
                && let Some((old, _)) = self.facts.pop_lru()
            {
                self.facts_bytes = self.facts_bytes.saturating_sub(old.len());
            }
        }
        understood
    }

    /// As [`Self::understand`], for a session of which policy can deny, hold and mask nothing. The facts may be those of
    /// another text of the same shape; what records say of the text is its own.
    pub(super) fn understand_for_record(&mut self, text: &str) -> Arc<Understood> {
        if let Some(found) = self.facts.get(text) {
            return found.clone();
        }
        let mut key = std::mem::take(&mut self.shape_key);
        let understood = if !shape::key_of(text, &mut key) {
            self.understand(text, true)
        } else if !self.seen.again(text)
            && let Some(found) = self.shapes.get(key.as_slice())
        {
            let recorded = found.recorded.iter().map(|r| Recorded {
                text: mask_text(&self.detectors, text.trim_ascii(), self.limits.record_text_bytes_max).into(),
                text_bytes: text.trim_ascii().len() as u64,
                ..r.clone()
            });
            Arc::new(Understood { script: found.script.clone(), recorded: recorded.collect() })
        } else {
            let understood = self.understand(text, true);
            // One text, one statement: its own text is all of it.
            if understood.script.statements.len() == 1 {
                self.shapes.put(key.as_slice().into(), understood.clone());
            }
            understood
        };
        self.shape_key = key;
        understood
    }

    /// A statement whose text is not known or not understood.
    pub(super) fn unknown(&self, text: &str, why: Unknown) -> Arc<Understood> {
        self.understood(Statement::unknown(text.into(), why))
    }

    /// A statement that was taken out of another, such as the inner one of PREPARE.
    pub(super) fn understood(&self, statement: Statement) -> Arc<Understood> {
        Arc::new(self.record_form(Script { statements: vec![statement] }))
    }

    fn record_form(&self, script: Script) -> Understood {
        let recorded = script
            .statements
            .iter()
            .map(|s| Recorded {
                text: mask_text(&self.detectors, &s.text, self.limits.record_text_bytes_max).into(),
                text_bytes: s.text.len() as u64,
                tag: s.tag.as_str().into(),
                fingerprint: s.fingerprint.as_str().into(),
                reads: s.reads.iter().map(ToString::to_string).collect(),
                writes: s.writes.iter().map(ToString::to_string).collect(),
            })
            .collect();
        Understood { script: Arc::new(script), recorded }
    }

    pub(super) fn catalogue(&mut self, destination: Endpoint, database: &str) -> Option<Arc<Catalogue>> {
        self.catalogues.get(&(destination, database.to_owned())).cloned()
    }

    /// Takes a catalogue into use: read by one of this worker's sessions or another's.
    pub fn learn_catalogue(&mut self, destination: Endpoint, database: String, catalogue: Arc<Catalogue>) {
        self.catalogues.put((destination, database), catalogue);
    }

    /// Whether the catalogue that sessions hold is still the one to trust.
    pub(super) fn has_catalogue(&self, destination: Endpoint, database: &str) -> bool {
        self.catalogues.contains(&(destination, database.to_owned()))
    }

    /// Definitions changed: the catalogue is read again before it is trusted.
    pub fn outdate_catalogue(&mut self, destination: Endpoint, database: &str) {
        self.catalogues.pop(&(destination, database.to_owned()));
    }

    /// Whether a catalogue is missing or too old at `now`.
    pub(super) fn catalogue_is_stale(
        &mut self,
        destination: Endpoint,
        database: &str,
        now: Timestamp,
    ) -> bool {
        let age_max = self.limits.catalogue_age_ns_max;
        self.catalogue(destination, database).is_none_or(|c| now.since_ns(c.loaded) > age_max)
    }

    /// Decisions answered from memory, and by Cedar, since the start.
    pub fn decision_counts(&self) -> (u64, u64) {
        self.decisions.counts()
    }

    /// Who asks, for the questions to policy.
    pub(super) fn asker<'a>(
        &'a mut self,
        principal: &'a PolicyPrincipal,
        claims: &'a Claims,
        destination: Endpoint,
    ) -> Asker<'a> {
        Asker {
            policy: &self.policy,
            decisions: &mut self.decisions,
            principal,
            claims,
            destination,
            detect_values: self.limits.detect_values,
        }
    }
}

/// Puts questions to policy for one session, through the worker's cache.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    policy: &'a PolicySet,
    decisions: &'a mut DecisionCache,
    principal: &'a PolicyPrincipal,
    claims: &'a Claims,
    destination: Endpoint,
    detect_values: bool,
}

impl Asker<'_> {
    pub fn connect(&mut self) -> Decision {
        (*self.decisions.connect(self.policy, self.principal, self.claims, &self.destination)).clone()
    }

    pub fn run(&mut self, statement: &Statement, context: &RunContext) -> Arc<Decision> {
        self.decisions.run(self.policy, self.principal, self.claims, &self.destination, statement, context)
    }

    /// Whether this principal may be shown anything masked at all.
    pub fn may_be_masked(&mut self) -> bool {
        self.decisions.may_mask(self.policy, self.principal, self.claims, &self.destination)
    }

    /// Whether anything could be denied to this principal, or held.
    pub fn may_be_restricted(&mut self) -> bool {
        self.decisions.may_restrict(self.policy, self.principal, self.claims, &self.destination)
    }

    pub fn see(&mut self, column: SeeColumn) -> ColumnAction {
        let visibility =
            self.decisions.see(self.policy, self.principal, self.claims, &self.destination, &column);
        match &*visibility {
            Visibility::Clear => ColumnAction::Clear,
            Visibility::Masked { style, .. } => visibility::masked(*style, &column),
        }
    }

    pub fn detect_values(&self) -> bool {
        self.detect_values
    }
}

/// Remembers, roughly, which texts came lately: one hash a place, the newest stays.
#[derive(Debug)]
struct Seen {
    hashes: Vec<u64>,
    hasher: RandomState,
}

impl Default for Seen {
    fn default() -> Self {
        Self { hashes: vec![0; SEEN_COUNT], hasher: RandomState::new() }
    }
}

impl Seen {
    /// Whether `text` came before, and was not pushed out since.
    fn again(&mut self, text: &str) -> bool {
        let hash = self.hasher.hash_one(text);
        let place = usize::try_from(hash).unwrap_or(0) % SEEN_COUNT;
        match self.hashes.get_mut(place) {
            Some(found) if *found == hash => true,
            Some(found) => {
                *found = hash;
                false
            }
            None => false,
        }
    }
}

/// The reading of SQL text under a session's settings.
pub(super) fn dialect(plain_strings: bool) -> PostgresDialect {
    PostgresDialect { standard_conforming_strings: plain_strings }
}

const fn count(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => NonZeroUsize::MIN,
    }
}

/// Texts with facts, per worker.
const FACTS_COUNT_MAX: NonZeroUsize = count(8192);
/// All cached texts together, per worker; the facts take a few times as much.
const FACTS_BYTES_MAX: usize = 8 << 20;
/// Longer texts are parsed each time.
const FACTS_TEXT_BYTES_MAX: usize = 64 << 10;
/// Texts of which a hash is kept, per worker.
const SEEN_COUNT: usize = 16_384;
/// Shapes with facts, per worker; a key has at most a kilobyte.
const SHAPES_COUNT_MAX: NonZeroUsize = count(1024);
const DECISIONS_COUNT_MAX: NonZeroUsize = count(16_384);
const CATALOGUES_COUNT_MAX: NonZeroUsize = count(64);
