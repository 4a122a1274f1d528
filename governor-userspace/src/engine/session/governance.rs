//! What one worker thread knows, shared by its sessions: policy, facts, decisions, catalogues.
//!
//! All caches are bounded. A new policy set is swapped in between two inputs; sessions notice by its
//! version and decide again.

use super::beside::BesideCache;
use super::catalogue::{Asked, Catalogue, CatalogueColumn, ColumnPattern, LabelledPlace, Labels};
use super::discovery::{Collector, Discovery};
use super::facts::{FactsCache, StatementRef, Understood};
use super::fault;
use super::flows::FlowsCache;
use super::glass::Glass;
use super::inference::{Inference, InferenceLimits};
use super::rates::Rates;
use super::reached::{self, Reached};
use super::subjects::Subjects;
use super::visibility;
use crate::engine::masking::{ColumnAction, JsonPlace, Masker};
use crate::engine::model::{
    Claims, ColumnId, Decision, Endpoint, MaskStyle, SearchPath, Statement, Timestamp, Unknown,
};
use crate::engine::policy::{
    DecisionCache, PolicyPrincipal, PolicySet, RunContext, SeeColumn, SessionContext, Visibility,
};
use lru::LruCache;
use std::num::NonZeroUsize;
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
    /// Keyed masking styles keep columns apart: equal values of two columns get unequal replacements.
    pub keys_per_column: bool,
    /// Bound tokens are compared with the columns that they are shown of.
    pub compare_tokens: bool,
    /// How much may be learnt about masked columns by asking about them.
    pub inference: Arc<InferenceLimits>,
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
            keys_per_column: false,
            compare_tokens: false,
            inference: Arc::default(),
        }
    }
}

/// One worker's knowledge.
#[derive(Debug)]
pub struct Governance {
    pub policy: Arc<PolicySet>,
    pub masker: Masker,
    pub labels: Arc<Labels>,
    pub limits: EngineLimits,
    /// Shared by all workers.
    pub rates: Arc<Rates>,
    /// Shared by all workers.
    pub inference: Arc<Inference>,
    /// Shared by all workers.
    pub glass: Arc<Glass>,
    /// Shared by all workers.
    pub discovery: Arc<Discovery>,
    pub(super) collector: Collector,
    pub(super) subjects: Subjects,
    /// Of the rulings that the catalogues were made under.
    rulings_version: u64,
    pub facts: FactsCache,
    pub flows: FlowsCache,
    pub(super) beside: BesideCache,
    decisions: DecisionCache,
    catalogues: LruCache<(Endpoint, String), Arc<Catalogue>>,
    /// When definitions changed last.
    changes: LruCache<(Endpoint, String), Timestamp>,
    /// Since when a session reads a catalogue anew.
    readings: LruCache<(Endpoint, String), Timestamp>,
    /// What statements reach, by their place and the catalogue.
    reached: LruCache<((usize, usize), u64), KnownReach>,
    /// The row that was masked last: room that is used again, so that a row costs no allocation.
    pub(super) row: Vec<u8>,
}

/// The statement keeps its place; the path is compared.
type KnownReach = (StatementRef, SearchPath, Arc<Reached>);

impl Governance {
    pub fn new(
        policy: Arc<PolicySet>,
        masker: impl Into<Masker>,
        labels: Arc<Labels>,
        limits: EngineLimits,
    ) -> Self {
        let masker = masker.into();
        Self {
            policy,
            facts: FactsCache::new(masker.clone(), limits.record_text_bytes_max),
            masker,
            labels,
            limits,
            rates: Arc::default(),
            inference: Arc::default(),
            glass: Arc::default(),
            discovery: Arc::default(),
            collector: Collector::default(),
            subjects: Subjects::default(),
            rulings_version: 0,
            flows: FlowsCache::default(),
            beside: BesideCache::default(),
            decisions: DecisionCache::new(DECISIONS_COUNT_MAX),
            catalogues: LruCache::new(CATALOGUES_COUNT_MAX),
            changes: LruCache::new(CATALOGUES_COUNT_MAX),
            readings: LruCache::new(CATALOGUES_COUNT_MAX),
            reached: LruCache::new(REACHED_COUNT_MAX),
            row: Vec::new(),
        }
    }

    /// Puts another policy set in force. Where it labels columns otherwise, or has rules about others, what is sensitive in the catalogues is no
    /// longer true: they are read again before they are trusted.
    pub fn change_policy(&mut self, policy: Arc<PolicySet>) {
        let is_same = policy.labelling().labels == self.policy.labelling().labels
            && policy.concerns() == self.policy.concerns();
        if !is_same {
            self.catalogues.clear();
        }
        self.policy = policy;
    }

    /// Brings the catalogues of databases with new rulings under them. Answers their version.
    pub(super) fn follow_rulings(&mut self) -> u64 {
        let version = self.discovery.rulings_version();
        if version != self.rulings_version {
            self.rulings_version = version;
            let known: Vec<_> = self.catalogues.iter().map(|(k, c)| (k.clone(), c.clone())).collect();
            for (key, catalogue) in known {
                let ruled = self.ruled(&key, catalogue);
                self.catalogues.put(key, ruled);
            }
        }
        version
    }

    /// A catalogue under the rulings that hold now.
    fn ruled(&self, key: &(Endpoint, String), catalogue: Arc<Catalogue>) -> Arc<Catalogue> {
        let is_same = catalogue.rulings_version() == self.discovery.rulings_version_of(key);
        // Another worker may have read it under another policy set.
        if is_same && *catalogue.asked() == self.asked() {
            return catalogue;
        }
        let rulings = self.discovery.rulings(key.0.clone(), &key.1);
        let ruled = Arc::new(catalogue.ruled(&self.all_labels(), &rulings));
        self.discovery.know(key.0.clone(), &key.1, &ruled);
        ruled
    }

    /// A session's own catalogue under the rulings that hold now: the newest of the same reading where there is one.
    pub(super) fn ruled_for(
        &mut self,
        destination: Endpoint,
        database: &str,
        mine: Arc<Catalogue>,
    ) -> Arc<Catalogue> {
        let key = (destination, database.to_owned());
        match self.catalogues.peek(&key) {
            Some(newest) if newest.reading == mine.reading => newest.clone(),
            _ => self.ruled(&key, mine),
        }
    }

    /// Hands what was counted of columns over to the other workers and the host.
    pub fn hand_over_findings(&mut self, now: Timestamp) {
        let Self { collector, discovery, masker, .. } = self;
        // A judge that fails loses a count, and nothing else.
        let _ = fault::guarded("findings", || {
            collector.hand_over(discovery, &masker.detectors, now.unix_ns / 1_000_000_000);
        });
    }

    /// What columns hold: by the configuration, and by the label files of the policies.
    pub(super) fn all_labels(&self) -> Labels {
        let mut labels = (*self.labels).clone();
        labels.asked = self.asked();
        for rule in &self.policy.labelling().labels {
            labels.labelled.extend(rule.on.iter().filter_map(|pattern| {
                let column = pattern.column.clone()?;
                let (schema, relation) = (pattern.schema.clone(), pattern.relation.clone());
                Some((ColumnPattern { schema, relation, column }, rule.category))
            }));
        }
        labels
    }

    /// Columns that rules about seeing may hide.
    fn asked(&self) -> Asked {
        let concerns = self.policy.concerns();
        let asked = || Arc::new((concerns.clone(), self.policy.labelling().clone()));
        Asked((!concerns.is_empty()).then(asked))
    }

    /// A statement whose text is not known or not understood.
    pub(super) fn unknown(&self, text: &str, why: Unknown) -> Arc<Understood> {
        self.facts.known(Statement::unknown(text.into(), why))
    }

    /// What a statement reaches, from memory where it came before.
    pub(super) fn reach(
        &mut self,
        statement: &StatementRef,
        catalogue: Option<&Catalogue>,
        path: &SearchPath,
    ) -> Arc<Reached> {
        let Some(catalogue) = catalogue else { return Arc::new(reached::reach_without(statement)) };
        let key = (statement.place(), catalogue.id);
        if let Some((_, known, reached)) = self.reached.get(&key)
            && known == path
        {
            return reached.clone();
        }
        let reached = Arc::new(reached::reach(statement, catalogue, path));
        if statement.text.len() <= REACHED_TEXT_BYTES_MAX {
            self.reached.put(key, (statement.clone(), path.clone(), reached.clone()));
        }
        reached
    }

    /// What [`Self::reach`] found for this very statement, where it is still in memory.
    pub(super) fn known_reach(
        &self,
        statement: &StatementRef,
        catalogue: &Catalogue,
        path: &SearchPath,
    ) -> Option<&Reached> {
        let (_, known, reached) = self.reached.peek(&(statement.place(), catalogue.id))?;
        (known == path).then_some(&**reached)
    }

    pub(super) fn catalogue(&mut self, destination: Endpoint, database: &str) -> Option<Arc<Catalogue>> {
        self.catalogues.get(&(destination, database.to_owned())).cloned()
    }

    /// Takes a catalogue into use: read by one of this worker's sessions or another's. One whose reading began before
    /// the last known change of definitions is not taken.
    pub fn learn_catalogue(&mut self, destination: Endpoint, database: String, catalogue: Arc<Catalogue>) {
        let key = (destination, database);
        self.readings.pop(&key);
        if self.changes.get(&key).is_none_or(|changed| catalogue.began.monotonic_ns >= changed.monotonic_ns) {
            let catalogue = self.ruled(&key, catalogue);
            self.discovery.know(key.0.clone(), &key.1, &catalogue);
            self.catalogues.put(key, catalogue);
        }
    }

    /// Whether the catalogue that a session holds may be trusted: no change of definitions is known since its reading
    /// began. That somebody read another since is none.
    pub(super) fn is_trusted(&self, destination: Endpoint, database: &str, mine: &Catalogue) -> bool {
        let key = (destination, database.to_owned());
        let changed = self.changes.peek(&key);
        self.catalogues.contains(&key)
            && changed.is_none_or(|changed| mine.began.monotonic_ns >= changed.monotonic_ns)
    }

    /// Definitions changed: the catalogue is read again before it is trusted.
    pub fn outdate_catalogue(&mut self, destination: Endpoint, database: &str, now: Timestamp) {
        let key = (destination, database.to_owned());
        self.catalogues.pop(&key);
        self.changes.put(key, now);
    }

    /// Whether a session has to read the catalogue: it is missing, or too old at `now` and nobody else of this worker
    /// reads it already. Whoever is told so does.
    pub(super) fn wants_catalogue(&mut self, destination: Endpoint, database: &str, now: Timestamp) -> bool {
        let age_max = self.limits.catalogue_age_ns_max;
        let Some(known) = self.catalogue(destination.clone(), database) else { return true };
        if now.since_ns(known.loaded) <= age_max {
            return false;
        }
        let key = (destination, database.to_owned());
        if self.readings.get(&key).is_some_and(|began| now.since_ns(*began) < READING_NS_MAX) {
            return false;
        }
        self.readings.put(key, now);
        true
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
        around: SessionContext,
    ) -> Asker<'a> {
        Asker {
            policy: &self.policy,
            decisions: &mut self.decisions,
            principal,
            claims,
            destination,
            around,
            detect_values: self.limits.detect_values,
            keys_per_column: self.limits.keys_per_column,
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
    around: SessionContext,
    detect_values: bool,
    keys_per_column: bool,
}

impl Asker<'_> {
    pub fn connect(&mut self) -> Decision {
        let Self { policy, decisions, principal, claims, destination, around, .. } = self;
        (*decisions.connect(policy, principal, claims, destination, around)).clone()
    }

    /// `context` says what is known of the statement; what surrounds the session is added.
    pub fn run(&mut self, statement: &Statement, context: RunContext) -> Arc<Decision> {
        let context = RunContext { session: self.around.clone(), ..context };
        self.decisions.run(self.policy, self.principal, self.claims, &self.destination, statement, &context)
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
        let Self { policy, decisions, principal, claims, destination, around, .. } = self;
        let visibility = decisions.see(policy, principal, claims, destination, &column, around);
        match &*visibility {
            Visibility::Clear => ColumnAction::Clear,
            Visibility::Masked { style, .. } => visibility::masked(*style, &column),
        }
    }

    /// The same of a column that the catalogue knows, in the operator's style where that is the stricter one.
    pub fn see_known(&mut self, column: CatalogueColumn) -> ColumnAction {
        let CatalogueColumn { name, category, style: wanted, is_derived } = column;
        let tweak = if self.keys_per_column { visibility::tweak_of(&name) } else { 0 };
        match self.see(SeeColumn { column: Some(name), category }) {
            ColumnAction::Mask { style, category, .. } => {
                let style = wanted.map_or(style, |wanted| wanted.stricter(style));
                // Of what was computed nobody knows what a transform, or a part of it, would leave.
                let style = if is_derived && style != MaskStyle::Null { MaskStyle::Redact } else { style };
                ColumnAction::Mask { style, category, tweak }
            }
            other => other,
        }
    }

    /// A column as a whole: masked where any of the places in its documents is, and where a rule hides a column whose
    /// values it holds or shows.
    pub fn see_whole(
        &mut self,
        column: CatalogueColumn,
        catalogue: &Catalogue,
        id: ColumnId,
    ) -> ColumnAction {
        let action = self.see_known(column.clone());
        let places = catalogue.places(id.0, id.1).into_iter().flat_map(|places| places.iter());
        let of_place = |place: &LabelledPlace| {
            self.see_known(CatalogueColumn { category: Some(place.category), ..column.clone() })
        };
        let action = match action {
            ColumnAction::Mask { .. } => action,
            _ => {
                places.map(of_place).find(|seen| matches!(seen, ColumnAction::Mask { .. })).unwrap_or(action)
            }
        };
        let behind = catalogue.named_behind(id).iter().filter(|behind| **behind != id);
        behind.fold(action, |action, behind| {
            let Some(named) = catalogue.column(behind.0, behind.1) else { return action };
            let named = CatalogueColumn { is_derived: column.is_derived || named.is_derived, ..named };
            match (action, self.see_known(named)) {
                (ColumnAction::Mask { style, category, tweak }, ColumnAction::Mask { style: other, .. }) => {
                    ColumnAction::Mask { style: style.stricter(other), category, tweak }
                }
                (ColumnAction::Mask { .. }, _) => action,
                (_, named) => named,
            }
        })
    }

    /// How the places in a column's documents are masked; without those that policy shows.
    pub fn see_places(&mut self, column: &CatalogueColumn, places: &[LabelledPlace]) -> Arc<[JsonPlace]> {
        let masked = places.iter().filter_map(|LabelledPlace { path, category, style }| {
            let (category, style) = (Some(*category), Some(*style));
            match self.see_known(CatalogueColumn { category, style, ..column.clone() }) {
                ColumnAction::Mask { style, category: Some(category), tweak } => {
                    Some(JsonPlace { path: path.clone(), style, category, tweak })
                }
                _ => None,
            }
        });
        masked.collect()
    }

    pub fn detect_values(&self) -> bool {
        self.detect_values
    }
}

const fn count(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => NonZeroUsize::MIN,
    }
}

const DECISIONS_COUNT_MAX: NonZeroUsize = count(16_384);
/// Whoever reads longer is not waited for.
const READING_NS_MAX: u64 = 30 * 1_000_000_000;
const REACHED_COUNT_MAX: NonZeroUsize = count(4096);
/// What longer statements reach is looked for each time.
const REACHED_TEXT_BYTES_MAX: usize = 16 << 10;
const CATALOGUES_COUNT_MAX: NonZeroUsize = count(64);
