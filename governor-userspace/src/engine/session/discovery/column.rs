//! What is known of the values of one column, and what was said about it.
//!
//! Invariant: counts and words only. No value, and nothing made of one, is ever kept.

use super::super::catalogue::Ruling;
use super::former::Formerly;
use crate::engine::audit::DataChange;
use crate::engine::masking::{Category, ColumnEvidence, DetectorId, Detectors, judge_column};
use crate::engine::model::{ColumnName, Endpoint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// One column of one database of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnPlace {
    pub server: Endpoint,
    pub database: String,
    #[serde(flatten)]
    pub column: ColumnName,
}

impl ColumnPlace {
    pub(super) fn of_database(&self) -> (Endpoint, String) {
        (self.server.clone(), self.database.clone())
    }
}

impl fmt::Display for ColumnPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} at {}", self.column, self.database, self.server)
    }
}

/// What a column holds, by its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnFinding {
    pub category: Category,
    /// The detector that knew most of them.
    pub detector: String,
    pub confidence_percent: u8,
    /// Of a column of telephone numbers that one numbering plan tells: the countries that have it, `ES` or `US/CA`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub countries: Option<String>,
}

/// What an operator said about a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub what: Saying,
    /// What it holds; of a dismissal, nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub category: Option<Category>,
    /// What a dismissal is about: another kind that is found later is news.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub dismissed: Vec<Category>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    pub by: String,
    pub uid: u32,
    pub at_unix_s: u64,
}

/// The verbs of `governor data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saying {
    Confirmed,
    Labelled,
    Dismissed,
}

/// Who says what holds for a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuledBy {
    /// An operator, with `governor data`.
    Operator,
    /// What its values were found to be.
    Values,
    /// What it was before it was altered.
    Former,
}

/// Where a column stands: the words of lists and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing was found in it.
    Clean,
    /// Sensitive values stand in it, inside longer text or among others; they are masked one by one.
    Mixed,
    /// Its values are of one kind, and not surely enough to mask all of it.
    Found,
    /// Masked as a whole for what its values are.
    Masked,
    Confirmed,
    Labelled,
    Dismissed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Mixed => "mixed",
            Self::Found => "found",
            Self::Masked => "masked",
            Self::Confirmed => "confirmed",
            Self::Labelled => "labelled",
            Self::Dismissed => "dismissed",
        }
    }
}

/// Everything that is kept of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRecord {
    #[serde(flatten)]
    pub place: ColumnPlace,
    /// Values that were looked at.
    pub values: u64,
    /// How many were known as a whole, by detector.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub findings: BTreeMap<String, u64>,
    /// How many had something inside of them, by what it was.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub within: BTreeMap<Category, u64>,
    pub first_seen_unix_s: u64,
    pub last_seen_unix_s: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub found: Option<ColumnFinding>,
    /// Kinds that were seen often enough, and since when.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub kinds: BTreeMap<Category, u64>,
    /// When it last began to hold what it did not hold before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drifted_unix_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub said: Option<Said>,
    /// It was sensitive under another name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub formerly: Option<Formerly>,
}

impl ColumnRecord {
    pub fn new(place: ColumnPlace, at_unix_s: u64) -> Self {
        Self {
            place,
            values: 0,
            findings: BTreeMap::new(),
            within: BTreeMap::new(),
            first_seen_unix_s: at_unix_s,
            last_seen_unix_s: at_unix_s,
            found: None,
            kinds: BTreeMap::new(),
            drifted_unix_s: None,
            said: None,
            formerly: None,
        }
    }

    /// What holds for the column, if anything. `mask_from`: see [`super::DiscoverySettings`].
    pub fn ruling(&self, mask_from: u8) -> Option<Ruling> {
        let found =
            self.found.as_ref().filter(|found| mask_from > 0 && found.confidence_percent >= mask_from);
        let formerly = self.formerly.as_ref();
        match &self.said {
            None => {
                let category = found.map(|found| found.category).or(formerly.map(|was| was.category));
                category.map(Ruling::Sensitive)
            }
            Some(said) if said.what == Saying::Dismissed => match (found, formerly) {
                // Nobody said a word about that kind.
                (Some(found), _) if !said.dismissed.contains(&found.category) => {
                    Some(Ruling::Sensitive(found.category))
                }
                // What was dismissed is another column that was called so.
                (_, Some(was)) if was.noticed_unix_s > said.at_unix_s => {
                    Some(Ruling::Sensitive(was.category))
                }
                _ => Some(Ruling::Dismissed),
            },
            Some(said) => Some(Ruling::Sensitive(said.category.unwrap_or(Category::Other))),
        }
    }

    /// Who says what [`Self::ruling`] answers.
    pub fn ruled_by(&self, mask_from: u8) -> RuledBy {
        let is_dismissed = self.said.as_ref().is_some_and(|said| said.what == Saying::Dismissed);
        let counts =
            self.said.is_none() || (is_dismissed && self.ruling(mask_from) != Some(Ruling::Dismissed));
        match (&self.found, &self.formerly) {
            (Some(found), _) if counts && mask_from > 0 && found.confidence_percent >= mask_from => {
                RuledBy::Values
            }
            (_, Some(_)) if counts => RuledBy::Former,
            _ => RuledBy::Operator,
        }
    }

    pub fn status(&self, mask_from: u8) -> Status {
        let ruling = self.ruling(mask_from);
        match &self.said {
            Some(said) if said.what == Saying::Confirmed => Status::Confirmed,
            Some(said) if said.what == Saying::Labelled => Status::Labelled,
            Some(_) if ruling == Some(Ruling::Dismissed) => Status::Dismissed,
            _ if ruling.is_some() => Status::Masked,
            _ if self.found.is_some() => Status::Found,
            _ if !self.kinds.is_empty() => Status::Mixed,
            _ => Status::Clean,
        }
    }

    /// Nothing would be lost with it but counts of values that are nothing.
    pub(super) fn is_dispensable(&self) -> bool {
        self.said.is_none() && self.found.is_none() && self.kinds.is_empty() && self.formerly.is_none()
    }
}

/// What a worker counted of a column.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Counted {
    pub values: u64,
    /// For whoever judges the column: everything that its values may be.
    pub evidence: ColumnEvidence,
    /// Values that a detector knew as a whole, so that they would be masked. A few kinds at most.
    known: Vec<(DetectorId, Category, u64)>,
    /// Values with something inside, in the order of [`Category::ALL`].
    within: [u64; Category::ALL.len()],
}

impl Counted {
    /// One more value.
    pub fn value(&mut self, value: &[u8], detectors: &Detectors, ranges: &mut Vec<(Range<usize>, Category)>) {
        self.values = self.values.saturating_add(1);
        let finding = detectors.detect(value);
        // What could not be searched to its end says nothing of its column.
        if finding.is_some_and(|finding| finding.is_unfinished()) {
            return;
        }
        self.evidence.observe_whole(detectors, value);
        if let Some(finding) = finding {
            self.add_known(finding.detector, finding.category, 1);
            return;
        }
        ranges.clear();
        if !detectors.find_in_text(value, ranges) {
            return;
        }
        let mut seen = [false; Category::ALL.len()];
        for (_, category) in ranges.iter() {
            if let Some(seen) = seen.get_mut(*category as usize)
                && !std::mem::replace(seen, true)
            {
                self.add_within(*category, 1);
            }
        }
    }

    fn add_known(&mut self, detector: DetectorId, category: Category, count: u64) {
        let has_room = self.known.len() < DETECTORS_COUNT_MAX;
        match self.known.iter_mut().find(|(known, _, _)| *known == detector) {
            Some((_, _, total)) => *total = total.saturating_add(count),
            None if has_room => self.known.push((detector, category, count)),
            None => {}
        }
    }

    fn add_within(&mut self, category: Category, count: u64) {
        if let Some(total) = self.within.get_mut(category as usize) {
            *total = total.saturating_add(count);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.values = self.values.saturating_add(other.values);
        self.evidence.merge(&other.evidence);
        for (detector, category, count) in &other.known {
            self.add_known(*detector, *category, *count);
        }
        for (category, count) in other.within() {
            self.add_within(category, count);
        }
    }

    fn within(&self) -> impl Iterator<Item = (Category, u64)> {
        Category::ALL.into_iter().zip(self.within).filter(|(_, count)| *count > 0)
    }

    /// Values of each kind, whole or within.
    fn kinds(&self) -> BTreeMap<Category, u64> {
        let mut kinds = BTreeMap::new();
        let whole = self.known.iter().map(|(_, category, count)| (*category, *count));
        for (category, count) in whole.chain(self.within()) {
            *kinds.entry(category).or_default() += count;
        }
        kinds
    }
}

/// What a column's name and neighbours are, for whoever judges it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ColumnSight {
    pub place: ColumnPlace,
    pub type_oid: u32,
    /// Names of the other columns of its relation.
    pub neighbours: Box<[Arc<str>]>,
}

/// A column while governor runs: the record, and the values of late.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub record: ColumnRecord,
    /// Two windows: what comes in goes into `now`; a full one moves to `before`. What is judged is both, so a column
    /// whose values change is judged by what it holds of late, however much came earlier.
    now: Counted,
    before: Counted,
}

impl Column {
    pub fn new(record: ColumnRecord) -> Self {
        Self { record, now: Counted::default(), before: Counted::default() }
    }

    /// Takes in what was counted. What changed by it, if anything.
    pub fn note(
        &mut self,
        sight: &ColumnSight,
        counted: &Counted,
        detectors: &Detectors,
        at_unix_s: u64,
    ) -> Option<DataChange> {
        let earlier = self.record.values;
        self.count(counted, detectors, at_unix_s);
        if self.now.values >= WINDOW_VALUES {
            self.before = std::mem::take(&mut self.now);
        }
        self.now.merge(counted);
        let mut late = self.before.clone();
        late.merge(&self.now);

        let mut is_news = false;
        for (category, count) in late.kinds() {
            if count >= KIND_VALUES_MIN && !self.record.kinds.contains_key(&category) {
                self.record.kinds.insert(category, at_unix_s);
                is_news = true;
            }
        }
        is_news |= self.judge(sight, &late.evidence, detectors, at_unix_s);
        if !is_news {
            return None;
        }
        if earlier < DRIFT_VALUES_MIN {
            return Some(DataChange::Found);
        }
        self.record.drifted_unix_s = Some(at_unix_s);
        Some(DataChange::Drift)
    }

    fn count(&mut self, counted: &Counted, detectors: &Detectors, at_unix_s: u64) {
        let record = &mut self.record;
        record.values = record.values.saturating_add(counted.values);
        record.last_seen_unix_s = record.last_seen_unix_s.max(at_unix_s);
        for (detector, _, count) in &counted.known {
            let name = detectors.name(*detector);
            let has_room = record.findings.len() < DETECTORS_COUNT_MAX;
            match record.findings.get_mut(name) {
                Some(total) => *total = total.saturating_add(*count),
                None if has_room => {
                    record.findings.insert(name.to_owned(), *count);
                }
                None => {}
            }
        }
        for (category, count) in counted.within() {
            let total = record.within.entry(category).or_default();
            *total = total.saturating_add(count);
        }
    }

    /// What it was found to be stays: values that come later never show what is hidden, only an operator does. Another
    /// kind takes its place where it is surer. True where the kind is another than before.
    fn judge(
        &mut self,
        sight: &ColumnSight,
        late: &ColumnEvidence,
        detectors: &Detectors,
        at_unix_s: u64,
    ) -> bool {
        let neighbours: Vec<&str> = sight.neighbours.iter().map(|name| &**name).collect();
        let column = &sight.place.column;
        let Some(verdict) = judge_column(&column.relation, &column.column, sight.type_oid, &neighbours, late)
        else {
            return false;
        };
        let detector = detectors.name(verdict.detector);
        if OF_NO_VALUE.contains(&detector) {
            return false;
        }
        let found = ColumnFinding {
            category: verdict.category,
            detector: detector.to_owned(),
            confidence_percent: verdict.confidence_percent.min(100),
            countries: verdict.countries.map(str::to_owned),
        };
        match &mut self.record.found {
            Some(known) if known.category == found.category => {
                if found.confidence_percent > known.confidence_percent {
                    *known = found;
                }
                false
            }
            Some(known) if found.confidence_percent <= known.confidence_percent => false,
            known => {
                let was_another = known.is_some();
                let is_new = self.record.kinds.insert(found.category, at_unix_s).is_none();
                *known = Some(found);
                was_another || is_new
            }
        }
    }
}

/// Values of a window: enough to tell a kind from chance, few enough to notice a change soon.
const WINDOW_VALUES: u64 = 200;
/// So many values of a kind, of late, are more than chance.
const KIND_VALUES_MIN: u64 = 3;
/// A kind that first appears after so many values without it is a drift.
const DRIFT_VALUES_MIN: u64 = 100;
const DETECTORS_COUNT_MAX: usize = 64;
/// What the judge says of names, which count by themselves, and of what stands inside longer values: such a column stays
/// readable, and its values are masked one by one.
const OF_NO_VALUE: [&str; 3] = ["by_name", "in_text", "in_document"];
