//! The sensitive columns of one reading of a catalogue, in little room: most databases have few, some a hundred thousand.

use super::{Formerly, RememberedColumn, RememberedRelation};
use crate::engine::model::{Category, ColumnId, DatabaseIdentity, Endpoint, Oid};
use std::collections::HashMap;
use std::sync::Arc;

/// By the numbers of relations; never changed once it is made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    relations: Vec<Relation>,
    /// Of all relations, one after the other.
    columns: Vec<Column>,
    /// Few columns have either.
    linked_to: HashMap<ColumnId, ColumnId>,
    formerly: HashMap<ColumnId, Arc<Formerly>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Relation {
    oid: Oid,
    schema: Arc<str>,
    name: Arc<str>,
    /// Where its columns begin and end.
    first: u32,
    end: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Column {
    name: Arc<str>,
    type_oid: Oid,
    attribute: i16,
    category: Category,
}

impl Table {
    pub fn of(relations: impl Iterator<Item = RememberedRelation>) -> Self {
        let mut table = Self::default();
        for one in relations {
            let first = table.columns.len();
            for column in one.columns {
                let id = (one.oid, column.attribute);
                if let Some(other) = column.linked_to {
                    table.linked_to.insert(id, other);
                }
                if let Some(was) = column.formerly {
                    table.formerly.insert(id, was);
                }
                let RememberedColumn { attribute, category, type_oid, column: name, .. } = column;
                table.columns.push(Column { name, type_oid, attribute, category });
            }
            let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
            let (schema, name) = (one.schema, one.relation);
            let relation =
                Relation { oid: one.oid, schema, name, first: at(first), end: at(table.columns.len()) };
            table.relations.push(relation);
        }
        table.relations.sort_unstable_by_key(|relation| relation.oid);
        table.relations.dedup_by_key(|relation| relation.oid);
        table.relations.shrink_to_fit();
        table.columns.shrink_to_fit();
        table
    }

    /// Columns in it.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// In the order of their numbers. `server`, `database` and `identity` are whose it is.
    pub fn relations<'a>(
        &'a self,
        server: &'a Endpoint,
        database: &'a str,
        identity: Option<DatabaseIdentity>,
    ) -> impl Iterator<Item = RememberedRelation> + 'a {
        self.relations.iter().map(move |relation| RememberedRelation {
            server: server.clone(),
            database: database.to_owned(),
            identity,
            oid: relation.oid,
            schema: relation.schema.clone(),
            relation: relation.name.clone(),
            columns: self.columns_of(relation).collect(),
        })
    }

    /// The columns of every relation, each with the relation's number, schema and name.
    pub fn columns(&self) -> impl Iterator<Item = (Oid, &Arc<str>, &Arc<str>, RememberedColumn)> {
        self.relations.iter().flat_map(|relation| {
            let columns = self.columns_of(relation);
            columns.map(|column| (relation.oid, &relation.schema, &relation.name, column))
        })
    }

    /// `schema.relation.column`, as it was.
    pub fn name(&self, id: ColumnId) -> Option<String> {
        let at = self.relations.binary_search_by_key(&id.0, |relation| relation.oid).ok()?;
        let relation = self.relations.get(at)?;
        let column = self.columns_of(relation).find(|column| column.attribute == id.1)?;
        Some(format!("{}.{}.{}", relation.schema, relation.name, column.column))
    }

    fn columns_of<'a>(&'a self, relation: &'a Relation) -> impl Iterator<Item = RememberedColumn> + 'a {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let columns = self.columns.get(place(relation.first)..place(relation.end)).unwrap_or_default();
        columns.iter().map(|column| {
            let id = (relation.oid, column.attribute);
            RememberedColumn {
                attribute: column.attribute,
                category: column.category,
                type_oid: column.type_oid,
                column: column.name.clone(),
                linked_to: self.linked_to.get(&id).copied(),
                formerly: self.formerly.get(&id).cloned(),
            }
        })
    }
}
