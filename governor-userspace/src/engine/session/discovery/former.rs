//! Sensitive columns that nothing calls so any more: what a column was is remembered by its number.
//!
//! Names tell most of what is sensitive, and foreign keys, inheritance and types the rest; whoever may alter a table may
//! change all of that, past governor or through it. A relation and a column keep their numbers then. So with each
//! reading of a catalogue it is noted which numbers are sensitive, and why. A number that was, and would no longer be
//! because its name, its type or its tie to a sensitive column is gone, stays sensitive, until the operator's files or
//! an operator say otherwise. One that no longer is because the operator takes a label back is forgotten.
//!
//! Numbers mean something within one database of one cluster. Where the server tells which that is, what is remembered
//! counts on every way to it (addresses, sockets, standbys), and not for another database of the same name at the same
//! address; elsewhere, for the address and the name alone.
//!
//! Bounded: in databases and in columns. What has no room is known by its name only.

mod table;

use super::super::catalogue::{Catalogue, Labels};
use super::Database;
use crate::engine::model::{
    self, Category, ColumnId, ColumnName, DatabaseIdentity, Endpoint, Oid, RelationKind, Timestamp,
};
use lru::LruCache;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use table::Table;

/// What a column was before it was altered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formerly {
    /// `schema.relation.column`, as it was called when that last told what is in it; of one that held what another column
    /// holds, the name of that.
    pub name: String,
    pub category: Category,
    /// Numbers of the relation and of the column.
    pub relation_oid: Oid,
    pub attribute: i16,
    pub noticed_unix_s: u64,
}

impl Formerly {
    pub(super) fn id(&self) -> ColumnId {
        (self.relation_oid, self.attribute)
    }
}

/// The sensitive columns of one relation: the form in which they outlive the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedRelation {
    pub server: Endpoint,
    pub database: String,
    /// `None` where the server does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub identity: Option<DatabaseIdentity>,
    pub oid: Oid,
    pub schema: Arc<str>,
    pub relation: Arc<str>,
    pub columns: Box<[RememberedColumn]>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedColumn {
    pub attribute: i16,
    pub category: Category,
    pub type_oid: Oid,
    pub column: Arc<str>,
    /// The column that makes it so, where it is not so by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub linked_to: Option<ColumnId>,
    /// It is sensitive for what it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub formerly: Option<Arc<Formerly>>,
}

/// Of all databases.
#[derive(Debug)]
pub(super) struct Memory {
    databases: LruCache<Database, Known>,
}

#[derive(Debug, Default)]
struct Known {
    identity: Option<DatabaseIdentity>,
    /// When the reading began that this is from.
    began: Timestamp,
    table: Arc<Table>,
}

/// Everything that is remembered at one moment.
#[derive(Debug, Default)]
pub struct Remembered {
    databases: Vec<(Database, Option<DatabaseIdentity>, Arc<Table>)>,
}

impl Remembered {
    /// In the form that is kept.
    pub fn relations(&self) -> impl Iterator<Item = RememberedRelation> + '_ {
        self.databases
            .iter()
            .flat_map(|((server, name), identity, table)| table.relations(server, name, *identity))
    }
}

/// A column of the reading that was sensitive under another name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Renamed {
    pub now: ColumnName,
    pub formerly: Formerly,
}

/// A catalogue as it was read, on one way to its server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub database: &'a Database,
    pub catalogue: &'a Catalogue,
    pub labels: &'a Labels,
}

impl Memory {
    pub fn new() -> Self {
        Self { databases: LruCache::new(DATABASES_COUNT_MAX) }
    }

    /// The reading began before the one that is remembered: it says nothing of what is.
    pub fn is_older(&mut self, reading: &Reading<'_>) -> bool {
        let began = reading.catalogue.began.monotonic_ns;
        self.databases.peek(reading.database).is_some_and(|known| began < known.began.monotonic_ns)
    }

    /// The database of this name, at this address, is another than it was: nothing that was said of numbers holds.
    pub fn is_another(&mut self, reading: &Reading<'_>) -> bool {
        let known = self.databases.peek(reading.database);
        let both = known.and_then(|known| known.identity).zip(reading.catalogue.data.identity());
        both.is_some_and(|(before, now)| before != now)
    }

    /// Columns that were sensitive under other names and are not for what they are called now.
    pub fn renamed(&self, reading: &Reading<'_>, now_unix_s: u64) -> Vec<Renamed> {
        let Reading { catalogue, labels, .. } = *reading;
        let mut found = HashMap::<ColumnId, Renamed>::new();
        for (oid, schema, name, was) in self.of_the_same(reading).flat_map(Table::columns) {
            let Some(relation) = catalogue.data.relation(oid) else { continue };
            let Some(column) = relation.attribute(was.attribute) else { continue };
            let id = (oid, was.attribute);
            let is_altered = was.formerly.is_some()
                || column.name != was.column
                || column.type_oid != was.type_oid
                || relation.name != *name
                || relation.schema != *schema
                || was.linked_to.is_some_and(|other| is_untied(catalogue, id, other));
            let is_decided = || labels.decide(&relation.schema, &relation.name, &column.name);
            if !is_altered || catalogue.is_sensitive_itself(id) || is_decided() {
                continue;
            }
            let formerly = was.formerly.as_deref().cloned().unwrap_or_else(|| Formerly {
                name: self.name_then(reading, id, &was),
                category: was.category,
                relation_oid: oid,
                attribute: was.attribute,
                noticed_unix_s: now_unix_s,
            });
            let now = name_of(relation, column);
            // Of several ways to the server, the word that is the newest.
            let known = found.entry(id).or_insert_with(|| Renamed { now, formerly: formerly.clone() });
            if known.formerly.noticed_unix_s < formerly.noticed_unix_s {
                known.formerly = formerly;
            }
        }
        found.into_values().collect()
    }

    /// What told that it is sensitive.
    fn name_then(&self, reading: &Reading<'_>, id: ColumnId, column: &RememberedColumn) -> String {
        let told = column.linked_to.unwrap_or(id);
        let name = self.of_the_same(reading).find_map(|table| table.name(told));
        name.unwrap_or_else(|| column.column.to_string())
    }

    /// What is remembered of the database, on whatever way it was learned.
    fn of_the_same<'a>(&'a self, reading: &'a Reading<'_>) -> impl Iterator<Item = &'a Table> {
        let identity = reading.catalogue.data.identity();
        let is_same = move |at: &Database, known: &Known| match (known.identity, identity) {
            (Some(theirs), Some(mine)) => theirs == mine,
            // Nothing tells another database at this address.
            _ => at == reading.database,
        };
        let same = self.databases.iter().filter(move |(at, known)| is_same(at, known));
        same.map(|(_, known)| &*known.table)
    }

    /// Notes what is sensitive by itself in the reading. True where that is news. `formerly`: columns that are for what they were.
    pub fn note(&mut self, reading: &Reading<'_>, formerly: &HashMap<ColumnId, Arc<Formerly>>) -> bool {
        let catalogue = reading.catalogue;
        let elsewhere = self.databases.iter().filter(|(at, _)| *at != reading.database);
        let elsewhere: usize = elsewhere.map(|(_, known)| known.table.count()).sum();
        let mut room = REMEMBERED_COUNT_MAX.saturating_sub(elsewhere);
        let stored = catalogue.data.relations().filter(|relation| !Catalogue::is_system(relation.oid));
        let table = Table::of(stored.filter_map(|relation| {
            // A view holds nothing: it is what its definition says.
            let is_stored = relation.kind != RelationKind::View;
            let columns = relation.columns.iter().filter_map(|column| {
                let id = (relation.oid, column.attribute);
                let own = catalogue.own_category(id);
                let linked_to = catalogue.linked_to(id).filter(|_| own.is_none() && is_stored);
                let category = own
                    .or_else(|| catalogue.category(id.0, id.1).filter(|_| linked_to.is_some()))
                    .filter(|category| *category != Category::Asked)?;
                Some(RememberedColumn {
                    attribute: column.attribute,
                    category,
                    type_oid: column.type_oid,
                    column: column.name.clone(),
                    linked_to,
                    formerly: formerly.get(&id).cloned(),
                })
            });
            let columns: Box<[RememberedColumn]> = columns.take(room).collect();
            room -= columns.len();
            (!columns.is_empty()).then(|| RememberedRelation {
                server: reading.database.0.clone(),
                database: String::new(),
                identity: None,
                oid: relation.oid,
                schema: relation.schema.clone(),
                relation: relation.name.clone(),
                columns,
            })
        }));
        let before = self.databases.get_mut(reading.database);
        // A server that does not tell this time is none that is another.
        let identity = catalogue.data.identity().or(before.as_ref().and_then(|known| known.identity));
        let is_news = before.is_none_or(|known| *known.table != table || known.identity != identity);
        let known = Known { identity, began: catalogue.began, table: Arc::new(table) };
        self.databases.put(reading.database.clone(), known);
        is_news
    }

    /// All of it.
    pub fn remembered(&self) -> Remembered {
        let all = self.databases.iter();
        let databases = all.map(|(at, known)| (at.clone(), known.identity, known.table.clone())).collect();
        Remembered { databases }
    }

    /// What an earlier agent remembered.
    pub fn recall(&mut self, relations: Vec<RememberedRelation>) {
        let mut room = REMEMBERED_COUNT_MAX;
        let mut databases = HashMap::<Database, Vec<RememberedRelation>>::new();
        for one in relations {
            let database = (one.server.clone(), one.database.clone());
            let columns = one.columns.len();
            let is_full = databases.len() >= DATABASES_COUNT_MAX.get() && !databases.contains_key(&database);
            if columns <= room && !is_full {
                room -= columns;
                databases.entry(database).or_default().push(one);
            }
        }
        for (database, relations) in databases {
            let identity = relations.iter().find_map(|one| one.identity);
            let table = Arc::new(Table::of(relations.into_iter()));
            self.databases.put(database, Known { identity, began: Timestamp::default(), table });
        }
    }
}

/// Nothing ties the column to the other any more, which still is sensitive, or is gone.
fn is_untied(catalogue: &Catalogue, column: ColumnId, other: ColumnId) -> bool {
    let is_there = catalogue.column(other.0, other.1).is_some();
    catalogue.ruling(column).is_none() && (!is_there || catalogue.category(other.0, other.1).is_some())
}

fn name_of(relation: &model::Relation, column: &model::Column) -> ColumnName {
    ColumnName {
        schema: relation.schema.to_string(),
        relation: relation.name.to_string(),
        column: column.name.to_string(),
    }
}

/// Some 60 bytes each, with their relations.
const REMEMBERED_COUNT_MAX: usize = 400_000;
/// Those whose catalogue was read last; more than have a catalogue in memory, so that none is in use without being remembered.
const DATABASES_COUNT_MAX: NonZeroUsize = match NonZeroUsize::new(4_096) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

#[cfg(test)]
mod tests;
