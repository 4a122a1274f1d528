//! Sensitive columns of keys that a write runs into: whether it fails tells whether a value is there.
//!
//! Keys of every kind: unique and foreign ones, those that hold for some rows or for something made of a column, exclusions.
//! A new partition fails where the default one holds a row that it would take.

use super::breadth::base_table;
use super::catalogue::Catalogue;
use crate::engine::model::{ColumnId, Relation, RelationKind, SearchPath, Statement, StatementKind};
use std::collections::BTreeSet;

/// Sensitive columns only.
#[derive(Debug, Default)]
pub(super) struct KeysMet {
    /// Of which a value that is written is looked up.
    pub looked_up: BTreeSet<ColumnId>,
    /// Which are compared with something else than one value.
    pub compared: BTreeSet<ColumnId>,
}

impl KeysMet {
    pub(super) fn is_empty(&self) -> bool {
        self.looked_up.is_empty() && self.compared.is_empty()
    }
}

pub(super) fn keys_met(statement: &Statement, catalogue: &Catalogue, path: &SearchPath) -> KeysMet {
    use StatementKind as K;
    let effects = catalogue.data.effects();
    let mut found = KeysMet::default();
    let writes = |kind| matches!(kind, K::Insert | K::Update | K::Merge | K::CopyIn);
    for change in statement.changes.iter().filter(|change| writes(change.kind)) {
        let resolved = catalogue.data.resolve(&change.relation, path);
        let mut written = BTreeSet::new();
        for named in resolved.candidates() {
            // Columns of a view may have other names below.
            let is_view = named.kind == RelationKind::View;
            let relation: &Relation =
                if is_view { base_table(named, catalogue).unwrap_or(named) } else { named };
            written.insert(relation.oid);
            let is_set = |column: &i16| {
                let name = relation.attribute(*column).map(|column| &column.name);
                is_view
                    || change.kind != K::Update
                    || name.is_some_and(|name| change.sets.iter().any(|set| **set == **name))
            };
            let guarded = effects.unshared(relation.oid).filter(is_set);
            let guarded = guarded.map(|column| (relation.oid, column));
            // Anything may overlap with a range.
            let (ranges, values): (Vec<_>, Vec<_>) =
                guarded.partition(|(_, column)| effects.excludes(relation.oid).contains(column));
            found.looked_up.extend(values);
            found.compared.extend(ranges);
        }
        // Which column refers is not known: any write to the table may.
        for referenced in catalogue.sensitive_relations() {
            let keys = effects.cascades(referenced).iter().filter(|key| written.contains(&key.table));
            found
                .looked_up
                .extend(keys.flat_map(|key| key.columns.iter().map(|column| (referenced, *column))));
        }
    }
    if statement.tag == "CREATE TABLE" {
        for parent in
            statement.reads.iter().flat_map(|name| catalogue.data.resolve(name, path).candidates().to_vec())
        {
            let parts = effects.parts(parent.oid);
            let by = parent.columns.iter().map(|column| column.attribute);
            let by = by.filter(|column| parts.contains(column) || parts.contains(&0));
            found.compared.extend(by.map(|column| (parent.oid, column)));
        }
    }
    let is_sensitive = |(oid, column): &ColumnId| catalogue.category(*oid, *column).is_some();
    found.looked_up.retain(is_sensitive);
    found.compared.retain(is_sensitive);
    found
}
