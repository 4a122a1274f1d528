//! Keeps what is known of columns, and takes the word of operators.
//!
//! Whoever says something is known by the kernel's word about the control socket's peer. An AI agent may not, also not
//! through sudo: what may be hidden from it is not its own to say. The record is on disk before anything changes.

use super::lookup::{self, Typed};
use super::store::DiscoveryFile;
use crate::engine::audit::{AuditEvent, AuditRecord, DataChange, DataRuling};
use crate::engine::masking::Category;
use crate::engine::model::{Class, Principal};
use crate::engine::session::{
    ColumnPlace, ColumnRecord, Discovery, RememberedRelation, Said, Saying, Status,
};
use crate::host::clock;
use crate::host::ledger::Ledger;
use crate::host::telemetry::Metrics;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What an operator says about one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataAsk {
    pub what: Saying,
    /// `schema.relation.column`, or `relation.column` where that is enough.
    pub column: String,
    /// `HOST:PORT`, where several servers have it.
    #[serde(default)]
    pub server: Option<String>,
    #[serde(default)]
    pub database: Option<String>,
    #[serde(default)]
    pub category: Option<String>,
    #[serde(default)]
    pub reason: String,
}

/// What a list shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataFilter {
    pub server: Option<String>,
    pub database: Option<String>,
    /// Part of `schema.relation.column`.
    pub column: Option<String>,
    pub category: Option<String>,
    pub status: Option<Status>,
    /// Also columns in which nothing was found.
    pub clean: bool,
}

/// One column of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataColumn {
    pub status: Status,
    #[serde(flatten)]
    pub record: ColumnRecord,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{0:?} is no column: write schema.relation.column")]
    NotAColumn(String),
    #[error("no column {typed:?} is known{}", near_text(near))]
    Unknown { typed: String, near: Vec<String> },
    #[error("{typed:?} could be any of: {}", places.join("; "))]
    Ambiguous { typed: String, places: Vec<String> },
    #[error("there is no category {typed:?}{}", near_text(near))]
    NoCategory { typed: String, near: Vec<String> },
    #[error(
        "nothing was found in {0} that could be confirmed: say what it holds with `label`, or `--category`"
    )]
    NothingFound(String),
    #[error("a reason has to be given: one line of at most {REASON_BYTES_MAX} bytes")]
    NoReason,
    #[error("{user} is not in the group \"data\"")]
    NotMember { user: String },
    #[error("an AI agent may not say what is sensitive: {evidence}")]
    AnAgent { evidence: String },
    #[error("the audit record could not be written, so nothing was changed: {0}")]
    Audit(String),
    #[error(
        "it counts from now on, but could not be written to disk and will be forgotten at the next start: {0}"
    )]
    NotKept(String),
    #[error("this agent discovers nothing")]
    NotServed,
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub struct DiscoveryFiles {
    /// What was found in columns, and said of them.
    pub columns: DiscoveryFile<ColumnRecord>,
    /// Which were sensitive when catalogues were read last.
    pub remembered: DiscoveryFile<RememberedRelation>,
}

/// Revisions that are on disk.
#[derive(Clone, Copy, Debug)]
struct Saved {
    columns: u64,
    remembered: u64,
    at: Instant,
}

/// Everything that it takes.
#[derive(Debug)]
pub struct DiscoveryKeeper {
    pub discovery: Arc<Discovery>,
    pub ledger: Ledger,
    pub metrics: Arc<Metrics>,
    files: DiscoveryFiles,
    /// What is on disk, and when it was written.
    saved: Mutex<Saved>,
    /// Another agent has the file: what this one learns from now on is masked here, recorded, and forgotten.
    handed_over: AtomicBool,
}

impl DiscoveryKeeper {
    pub fn new(
        discovery: Arc<Discovery>,
        files: DiscoveryFiles,
        ledger: Ledger,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (columns, remembered) = (discovery.revision(), discovery.memory_revision());
        let saved = Mutex::new(Saved { columns, remembered, at: Instant::now() });
        let keeper = Self { discovery, ledger, metrics, files, saved, handed_over: AtomicBool::new(false) };
        keeper.count();
        keeper
    }

    /// Columns, sorted by name.
    pub fn list(&self, filter: &DataFilter) -> Result<Vec<DataColumn>, DataError> {
        let category = filter.category.as_deref().map(category).transpose()?;
        let mask_from = self.discovery.settings().mask_from;
        let records = self.discovery.records().into_iter();
        let mut columns: Vec<DataColumn> = records
            .map(|record| DataColumn { status: record.status(mask_from), record })
            .filter(|column| {
                let place = &column.record.place;
                let wanted = |wanted: &Option<String>, is: String| wanted.as_ref().is_none_or(|w| *w == is);
                wanted(&filter.server, place.server.to_string())
                    && wanted(&filter.database, place.database.clone())
                    && filter.column.as_ref().is_none_or(|part| place.column.to_string().contains(part))
                    && filter.status.is_none_or(|status| column.status == status)
                    && category.is_none_or(|category| holds(&column.record, category))
                    && (filter.clean || filter.status.is_some() || column.status != Status::Clean)
            })
            .collect();
        columns.sort_by_cached_key(|c| {
            let place = &c.record.place;
            (place.server.to_string(), place.database.clone(), place.column.clone())
        });
        Ok(columns)
    }

    /// Takes an operator's word; who may was checked, but for agents.
    pub fn say(&self, asker: &Principal, by: String, ask: &DataAsk) -> Result<DataColumn, DataError> {
        if asker.class == Class::Agent {
            let evidence = asker.class_evidence.first().cloned().unwrap_or_default();
            return Err(DataError::AnAgent { evidence });
        }
        let reason = ask.reason.trim();
        let is_line = reason.len() <= REASON_BYTES_MAX && !reason.chars().any(char::is_control);
        if !is_line || (reason.is_empty() && ask.what == Saying::Dismissed) {
            return Err(DataError::NoReason);
        }
        let typed =
            Typed { column: &ask.column, server: ask.server.as_deref(), database: ask.database.as_deref() };
        let place = lookup::find(&self.discovery, &typed)?;
        let known = self.discovery.record(&place);
        let given = ask.category.as_deref().map(category).transpose()?;
        let found = known.as_ref().and_then(|record| record.found.as_ref().map(|found| found.category));
        let (category, dismissed) = match ask.what {
            Saying::Dismissed => (None, self.kinds(&place, known.as_ref())),
            Saying::Confirmed => {
                let only = known.as_ref().filter(|r| r.kinds.len() == 1).and_then(|r| r.kinds.keys().next());
                let formerly = known.as_ref().and_then(|record| Some(record.formerly.as_ref()?.category));
                let category = given.or(found).or(formerly).or(only.copied());
                let name = || DataError::NothingFound(place.column.to_string());
                (Some(category.ok_or_else(name)?), vec![])
            }
            Saying::Labelled => (Some(given.unwrap_or(Category::Other)), vec![]),
        };
        let now = clock::now();
        let said = Said {
            what: ask.what,
            category,
            dismissed,
            reason: reason.to_owned(),
            by,
            uid: asker.uid,
            at_unix_s: now.unix_ns / 1_000_000_000,
        };
        let record =
            AuditRecord { at: now, session: None, event: AuditEvent::DataRuling(ruling(&place, &said)) };
        self.ledger.append_sync(&[record]).map_err(|error| DataError::Audit(error.to_string()))?;
        tracing::info!(
            column = %place,
            ruling = word(said.what),
            category = said.category.map_or("", Category::as_str),
            by = said.by,
            "an operator ruled on a column"
        );
        let record = self.discovery.say(&place, said);
        self.count();
        self.save().map_err(|error| DataError::NotKept(error.to_string()))?;
        Ok(DataColumn { status: record.status(self.discovery.settings().mask_from), record })
    }

    /// Called every moment: tells what changed, and keeps it.
    pub fn tick(&self) {
        let (changes, lost) = self.discovery.take_changes();
        if lost > 0 {
            tracing::warn!(lost, "more changes of columns came at once than are recorded one by one");
        }
        let urgent = !changes.is_empty();
        for change in changes {
            self.metrics.discovery_event(change.change);
            let kinds: Vec<&str> = change.kinds.iter().map(|kind| kind.as_str()).collect();
            let (column, database, masked) = (&change.column, &change.database, change.masked_whole);
            let kinds = kinds.join(",");
            match change.change {
                DataChange::Masked => {
                    tracing::info!(column, database, kinds, "a column is masked as a whole from now on");
                }
                DataChange::Found => {
                    tracing::info!(column, database, kinds, masked, "sensitive data was found in a column");
                }
                DataChange::Drift => {
                    tracing::warn!(column, database, kinds, masked, "a column began to hold other data");
                }
                DataChange::Renamed => {
                    let formerly = change.formerly.as_deref().unwrap_or_default();
                    tracing::warn!(
                        column,
                        database,
                        formerly,
                        "a sensitive column goes by another name; it stays sensitive until it is dismissed"
                    );
                }
            }
            let record =
                AuditRecord { at: clock::now(), session: None, event: AuditEvent::DataFinding(change) };
            if let Err(error) = self.ledger.append(&[record]) {
                tracing::error!(%error, "cannot record what was found in a column");
            }
        }
        let saved = *self.saved.lock();
        let is_news = saved.columns != self.discovery.revision()
            || saved.remembered != self.discovery.memory_revision();
        if urgent || (is_news && saved.at.elapsed() >= SAVE_INTERVAL) {
            self.count();
            if let Err(error) = self.save() {
                tracing::error!(%error, "what is known of columns cannot be kept");
            }
        }
    }

    /// Writes what is known and leaves the file to another agent.
    pub fn hand_over(&self) -> Result<(), super::DiscoveryFileError> {
        self.save()?;
        self.handed_over.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Nobody took it.
    pub fn take_back(&self) {
        self.handed_over.store(false, Ordering::Relaxed);
    }

    /// Writes what is known, where the disk has something else.
    pub fn save(&self) -> Result<(), super::DiscoveryFileError> {
        // Held while writing: two writers would share the temporary file.
        let mut saved = self.saved.lock();
        if self.handed_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        let revision = self.discovery.revision();
        saved.at = Instant::now();
        if saved.columns != revision {
            self.files.columns.save(self.discovery.records().iter())?;
            saved.columns = revision;
        }
        if saved.remembered != self.discovery.memory_revision() {
            let (revision, remembered) = self.discovery.remembered();
            self.files.remembered.save(remembered.relations())?;
            saved.remembered = revision;
        }
        Ok(())
    }

    /// Everything that the column is taken for by now: what a dismissal is about.
    fn kinds(&self, place: &ColumnPlace, record: Option<&ColumnRecord>) -> Vec<Category> {
        let mut kinds: BTreeSet<Category> = record.iter().flat_map(|r| r.kinds.keys().copied()).collect();
        kinds.extend(record.and_then(|record| record.found.as_ref()).map(|found| found.category));
        let catalogues = self.discovery.catalogues().into_iter();
        let here = catalogues.filter(|(server, name, _)| *server == place.server && *name == place.database);
        kinds.extend(here.filter_map(|(_, _, catalogue)| catalogue.category_of(&place.column)));
        kinds.into_iter().collect()
    }

    fn count(&self) {
        self.metrics.discovery_columns(&self.discovery.count_by_status());
    }
}

fn ruling(place: &ColumnPlace, said: &Said) -> DataRuling {
    DataRuling {
        ruling: word(said.what).into(),
        server: place.server.clone(),
        database: place.database.clone(),
        column: place.column.to_string(),
        category: said.category,
        reason: said.reason.clone(),
        by: said.by.clone(),
        uid: said.uid,
    }
}

fn word(saying: Saying) -> &'static str {
    match saying {
        Saying::Confirmed => "confirmed",
        Saying::Labelled => "labelled",
        Saying::Dismissed => "dismissed",
    }
}

fn holds(record: &ColumnRecord, category: Category) -> bool {
    record.kinds.contains_key(&category)
        || record.found.as_ref().is_some_and(|found| found.category == category)
        || record.said.as_ref().is_some_and(|said| said.category == Some(category))
}

fn category(typed: &str) -> Result<Category, DataError> {
    let known = Category::ALL.into_iter();
    if let Some(category) = known.clone().find(|category| category.as_str() == typed) {
        return Ok(category);
    }
    let mut near: Vec<(f64, &str)> =
        known.map(|c| (strsim::jaro_winkler(typed, c.as_str()), c.as_str())).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near = near.iter().filter(|(likeness, _)| *likeness >= 0.7).take(3);
    let near = near.map(|(_, word)| (*word).to_owned()).collect();
    Err(DataError::NoCategory { typed: typed.chars().take(64).collect(), near })
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) }
}

const REASON_BYTES_MAX: usize = 500;
/// Counts that a death between two writes loses are only counts.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);
