//! Findings per column, over all sessions: what columns hold that no name tells.
//!
//! Workers look at a sample of the values that pass ([`Collector`]) and hand over what they counted about once a second.
//! Here that is added up by column, judged, and kept for as long as the agent runs; the host keeps it beyond that. What
//! it means for policy are [`Rulings`]: sessions follow them from their next statement on.
//!
//! What counts for a column, in this order: the operator's files, what an operator said with `governor data`, what its
//! values were found to be, its name.
//!
//! Bounded: in columns, in what is kept of each, in changes that nobody fetched yet.

mod collector;
mod column;
mod former;
mod watch;

pub(super) use collector::{Collector, Source};
pub use column::{ColumnFinding, ColumnPlace, ColumnRecord, RuledBy, Said, Saying, Status};
pub use former::{Formerly, Remembered, RememberedColumn, RememberedRelation};
pub(super) use watch::{Watched, watched};

use super::catalogue::{Catalogue, Labels, Ruling, Rulings};
use crate::engine::audit::{DataChange, DataFinding};
use crate::engine::masking::Detectors;
use crate::engine::model::{Category, ColumnId, ColumnName, Endpoint, Timestamp};
use column::{Column, ColumnSight, Counted};
use former::{Memory, Reading, Renamed};
use lru::LruCache;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Choices from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscoverySettings {
    pub enabled: bool,
    /// From this confidence on, in percent, a column is masked as a whole; 0: only when an operator says so.
    pub mask_from: u8,
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self { enabled: true, mask_from: 80 }
    }
}

type Database = (Endpoint, String);

/// Every column of the agent; shared by the workers.
#[derive(Debug)]
pub struct Discovery {
    settings: DiscoverySettings,
    /// Of the rulings: sessions that know this one have nothing to follow.
    rulings_version: AtomicU64,
    /// Grows with everything that is worth keeping.
    revision: AtomicU64,
    columns: Mutex<Columns>,
    /// The newest catalogue of each database: which columns there are.
    catalogues: Mutex<LruCache<Database, Arc<Catalogue>>>,
    /// What was sensitive when catalogues were read last. Locked before `columns`.
    memory: Mutex<Memory>,
    /// Grows with what is remembered.
    memory_revision: AtomicU64,
}

#[derive(Debug, Default)]
struct Columns {
    by_database: HashMap<Database, HashMap<ColumnName, Column>>,
    count: usize,
    changes: Vec<DataFinding>,
    changes_lost: u64,
    /// By database, for as long as the agent runs: as many as there are databases.
    ruled_at: HashMap<Database, u64>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self::new(DiscoverySettings::default(), Vec::new())
    }
}

impl Discovery {
    /// With what is known from earlier runs.
    pub fn new(settings: DiscoverySettings, known: Vec<ColumnRecord>) -> Self {
        let mut columns = Columns::default();
        for record in known {
            columns.put(record);
        }
        Self {
            settings,
            rulings_version: AtomicU64::new(1),
            revision: AtomicU64::new(0),
            columns: Mutex::new(columns),
            catalogues: Mutex::new(LruCache::new(DATABASES_COUNT_MAX)),
            memory: Mutex::new(Memory::new()),
            memory_revision: AtomicU64::new(0),
        }
    }

    /// The same, with what an earlier agent remembered of which columns are sensitive.
    pub fn recall(self, relations: Vec<RememberedRelation>) -> Self {
        self.memory().recall(relations);
        self
    }

    pub fn settings(&self) -> DiscoverySettings {
        self.settings
    }

    /// Grows when anything changes that is worth keeping.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    pub(super) fn rulings_version(&self) -> u64 {
        self.rulings_version.load(Ordering::Acquire)
    }

    /// Of the rulings in one database: others leave it as it is.
    pub(super) fn rulings_version_of(&self, database: &Database) -> u64 {
        self.columns().ruled_at(database)
    }

    /// What holds in one database.
    pub(super) fn rulings(&self, server: Endpoint, database: &str) -> Rulings {
        let database = (server, database.to_owned());
        let columns = self.columns();
        let version = columns.ruled_at(&database);
        let known = columns.by_database.get(&database);
        let ruled = known.into_iter().flatten().filter_map(|(name, column)| {
            Some((name.clone(), column.record.ruling(self.settings.mask_from)?))
        });
        Rulings { version, columns: ruled.collect() }
    }

    /// The same one by one, for who asks why.
    pub fn ruled_columns(&self, server: &Endpoint, database: &str) -> Vec<(ColumnName, Ruling, RuledBy)> {
        let columns = self.columns();
        let known = columns.by_database.get(&(server.clone(), database.to_owned()));
        let ruled = known.into_iter().flatten().filter_map(|(name, column)| {
            let ruling = column.record.ruling(self.settings.mask_from)?;
            Some((name.clone(), ruling, column.record.ruled_by(self.settings.mask_from)))
        });
        ruled.collect()
    }

    /// A catalogue that was read: its columns can be spoken of.
    pub(super) fn know(&self, server: Endpoint, database: &str, catalogue: &Arc<Catalogue>) {
        let mut known = self.catalogues.lock().unwrap_or_else(PoisonError::into_inner);
        known.put((server, database.to_owned()), catalogue.clone());
    }

    /// Takes a catalogue that was just read: columns that were sensitive under other names are ruled to be so under these, and what
    /// is sensitive now is remembered. The catalogue under the rulings that hold then.
    pub(super) fn follow_names(
        &self,
        server: &Endpoint,
        database: &str,
        mut catalogue: Catalogue,
        labels: &Labels,
        now: Timestamp,
    ) -> Catalogue {
        let key = (server.clone(), database.to_owned());
        let now_unix_s = now.unix_ns / 1_000_000_000;
        let mut memory = self.memory();
        let reading = Reading { database: &key, catalogue: &catalogue, labels };
        if memory.is_older(&reading) {
            return catalogue;
        }
        let mut columns = self.columns();
        let is_another = memory.is_another(&reading);
        // Who has the name now is another.
        let is_gone = |name: &ColumnName, was: &Formerly| {
            is_another || catalogue.column_id(name).is_some_and(|id| id != was.id())
        };
        let mut changed = columns.forget_former(&key, is_gone);
        for Renamed { now, formerly } in memory.renamed(&reading, now_unix_s) {
            let place = ColumnPlace { server: server.clone(), database: database.to_owned(), column: now };
            changed |= columns.was_called(&place, formerly, now_unix_s, self.settings.mask_from);
        }
        if changed {
            self.rule(&mut columns, &key);
        }
        drop(columns);
        if changed {
            self.revision.fetch_add(1, Ordering::AcqRel);
            catalogue = catalogue.ruled(labels, &self.rulings(server.clone(), database));
        }
        let formerly = self.columns().former(&key);
        let reading = Reading { database: &key, catalogue: &catalogue, labels };
        if memory.note(&reading, &formerly) {
            self.memory_revision.fetch_add(1, Ordering::AcqRel);
        }
        catalogue
    }

    /// Which columns are sensitive, by number, as far as catalogues were read; and the revision of that.
    pub fn remembered(&self) -> (u64, Remembered) {
        let memory = self.memory();
        (self.memory_revision(), memory.remembered())
    }

    /// Grows with what is remembered.
    pub fn memory_revision(&self) -> u64 {
        self.memory_revision.load(Ordering::Acquire)
    }

    /// Adds what one worker counted. False where somebody else is at it: a worker waits for nobody.
    fn add<'a>(
        &self,
        counted: impl Iterator<Item = &'a (ColumnSight, Counted)>,
        detectors: &Detectors,
        at_unix_s: u64,
    ) -> bool {
        let mut columns = match self.columns.try_lock() {
            Ok(columns) => columns,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        for (sight, counted) in counted {
            let Some(column) = columns.of(&sight.place, at_unix_s) else { continue };
            let before = column.record.ruling(self.settings.mask_from);
            let change = column.note(sight, counted, detectors, at_unix_s);
            let after = column.record.ruling(self.settings.mask_from);
            let is_new = after != before;
            let is_masked = matches!(after, Some(Ruling::Sensitive(_)));
            let change = change.or(is_new.then_some(DataChange::Masked));
            let changed = change.map(|change| finding(&column.record, change, is_masked));
            if is_new {
                self.rule(&mut columns, &sight.place.of_database());
            }
            if let Some(changed) = changed {
                columns.changed(changed);
            }
        }
        drop(columns);
        self.revision.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Another ruling holds in a database. Whoever sees the new version waits for the lock to see the ruling.
    fn rule(&self, columns: &mut Columns, database: &Database) {
        let version = self.rulings_version.fetch_add(1, Ordering::AcqRel) + 1;
        columns.ruled_at.insert(database.clone(), version);
    }

    /// Takes an operator's word. The record as it is then.
    pub fn say(&self, place: &ColumnPlace, said: Said) -> ColumnRecord {
        let at = said.at_unix_s;
        let mut columns = self.columns();
        let record = match columns.of(place, at) {
            Some(column) => {
                column.record.said = Some(said);
                column.record.clone()
            }
            // Full of columns that all matter: what a person says still counts.
            None => {
                let record = ColumnRecord { said: Some(said), ..ColumnRecord::new(place.clone(), at) };
                columns.put(record.clone());
                record
            }
        };
        self.rule(&mut columns, &place.of_database());
        drop(columns);
        self.revision.fetch_add(1, Ordering::AcqRel);
        record
    }

    /// What is known of a column, by its values or an operator.
    pub fn record(&self, place: &ColumnPlace) -> Option<ColumnRecord> {
        let columns = self.columns();
        let known = columns.by_database.get(&(place.server.clone(), place.database.clone()))?;
        Some(known.get(&place.column)?.record.clone())
    }

    /// Everything that is kept, in no order.
    pub fn records(&self) -> Vec<ColumnRecord> {
        let columns = self.columns();
        columns.by_database.values().flat_map(HashMap::values).map(|column| column.record.clone()).collect()
    }

    /// Columns by where they stand.
    pub fn count_by_status(&self) -> BTreeMap<Status, u64> {
        let columns = self.columns();
        let mut counts = BTreeMap::new();
        for column in columns.by_database.values().flat_map(HashMap::values) {
            *counts.entry(column.record.status(self.settings.mask_from)).or_default() += 1;
        }
        counts
    }

    /// What changed since the last call, oldest first, and how much more than is kept.
    pub fn take_changes(&self) -> (Vec<DataFinding>, u64) {
        let mut columns = self.columns();
        (std::mem::take(&mut columns.changes), std::mem::take(&mut columns.changes_lost))
    }

    /// Databases whose catalogue is known, with it.
    pub fn catalogues(&self) -> Vec<(Endpoint, String, Arc<Catalogue>)> {
        let known = self.catalogues.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .iter()
            .map(|((server, name), catalogue)| (server.clone(), name.clone(), catalogue.clone()))
            .collect()
    }

    fn columns(&self) -> MutexGuard<'_, Columns> {
        // A column is whole at every moment; a count that a panic left out is only a count.
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic amid a change leaves the old or the new state of a database.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Columns {
    /// The version of the rulings that changed the database last.
    fn ruled_at(&self, database: &Database) -> u64 {
        self.ruled_at.get(database).copied().unwrap_or_default()
    }

    /// The column, made where it is new. `None` where there is no room.
    fn of(&mut self, place: &ColumnPlace, at_unix_s: u64) -> Option<&mut Column> {
        let database = (place.server.clone(), place.database.clone());
        let known = self.by_database.get(&database).is_some_and(|known| known.contains_key(&place.column));
        if !known {
            if self.count >= COLUMNS_COUNT_MAX {
                self.make_room();
            }
            if self.count >= COLUMNS_COUNT_MAX {
                return None;
            }
            self.put(ColumnRecord::new(place.clone(), at_unix_s));
        }
        self.by_database.get_mut(&database)?.get_mut(&place.column)
    }

    /// A column is sensitive for what it was called. True where that is news.
    fn was_called(&mut self, place: &ColumnPlace, formerly: Formerly, at_unix_s: u64, mask_from: u8) -> bool {
        if self.of(place, at_unix_s).is_none() {
            // Full of columns that all matter: what is hidden stays hidden.
            self.put(ColumnRecord::new(place.clone(), at_unix_s));
        }
        let Some(column) = self.of(place, at_unix_s) else { return false };
        if column.record.formerly.as_ref() == Some(&formerly) {
            return false;
        }
        column.record.formerly = Some(formerly);
        let is_masked = matches!(column.record.ruling(mask_from), Some(Ruling::Sensitive(_)));
        let finding = finding(&column.record, DataChange::Renamed, is_masked);
        self.changed(finding);
        true
    }

    /// What columns of a database are sensitive for.
    fn former(&self, database: &Database) -> HashMap<ColumnId, Arc<Formerly>> {
        let known = self.by_database.get(database).into_iter().flatten();
        let former = known.filter_map(|(_, column)| column.record.formerly.as_ref());
        former.map(|was| (was.id(), Arc::new(was.clone()))).collect()
    }

    /// Forgets what columns of a database were called, of those that `is_gone` says that they are others.
    fn forget_former(
        &mut self,
        database: &Database,
        is_gone: impl Fn(&ColumnName, &Formerly) -> bool,
    ) -> bool {
        let mut changed = false;
        for (name, column) in self.by_database.get_mut(database).into_iter().flatten() {
            let goes = column.record.formerly.as_ref().is_some_and(|was| is_gone(name, was));
            if goes {
                column.record.formerly = None;
                changed = true;
            }
        }
        changed
    }

    fn put(&mut self, record: ColumnRecord) {
        let database = (record.place.server.clone(), record.place.database.clone());
        let known = self.by_database.entry(database).or_default();
        if known.insert(record.place.column.clone(), Column::new(record)).is_none() {
            self.count += 1;
        }
    }

    /// Forgets columns in which nothing was found, those first that were not seen for longest.
    fn make_room(&mut self) {
        let mut ages: Vec<u64> = self
            .by_database
            .values()
            .flat_map(HashMap::values)
            .filter(|column| column.record.is_dispensable())
            .map(|column| column.record.last_seen_unix_s)
            .collect();
        ages.sort_unstable();
        let Some(oldest) = ages.get(ages.len().min(FORGOTTEN_AT_ONCE).saturating_sub(1)).copied() else {
            return;
        };
        let mut left = FORGOTTEN_AT_ONCE;
        for known in self.by_database.values_mut() {
            known.retain(|_, column| {
                let goes =
                    left > 0 && column.record.is_dispensable() && column.record.last_seen_unix_s <= oldest;
                left -= usize::from(goes);
                !goes
            });
        }
        self.by_database.retain(|_, known| !known.is_empty());
        self.count = self.by_database.values().map(HashMap::len).sum();
    }

    fn changed(&mut self, finding: DataFinding) {
        if self.changes.len() < CHANGES_COUNT_MAX {
            self.changes.push(finding);
        } else {
            self.changes_lost += 1;
        }
    }
}

fn finding(record: &ColumnRecord, change: DataChange, is_masked: bool) -> DataFinding {
    let formerly = record.formerly.as_ref();
    let found = record.found.as_ref().map(|found| found.category);
    DataFinding {
        change,
        server: record.place.server.clone(),
        database: record.place.database.clone(),
        column: record.place.column.to_string(),
        category: found.or(formerly.map(|was| was.category)),
        detector: record.found.as_ref().map(|found| found.detector.clone()).unwrap_or_default(),
        confidence_percent: record.found.as_ref().map_or(0, |found| found.confidence_percent),
        kinds: record.kinds.keys().copied().collect::<Vec<Category>>(),
        values: record.values,
        masked_whole: is_masked,
        formerly: formerly.map(|was| was.name.clone()),
    }
}

/// Some hundred bytes each.
const COLUMNS_COUNT_MAX: usize = 20_000;
/// So that a full memory is not searched for each new column.
const FORGOTTEN_AT_ONCE: usize = 1_000;
const CHANGES_COUNT_MAX: usize = 1_024;
const DATABASES_COUNT_MAX: NonZeroUsize = match NonZeroUsize::new(64) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

#[cfg(test)]
mod tests;
