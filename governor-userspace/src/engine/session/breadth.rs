//! How many rows a statement changes at most, by the planner's statistics and its WHERE.
//!
//! No WHERE: all rows. Equality with constants on every column of a unique key: as many as there are constants.
//! Otherwise somewhere between: all rows are the most that it can be.

use super::catalogue::Catalogue;
use crate::engine::model::{
    Change, Oid, Relation, RelationKind, RelationName, SearchPath, Statement, StatementKind as Kind,
};
use crate::engine::sql::view_source;

/// `None` where no such number can be said: nothing is updated or deleted, or a table was never analysed.
pub(super) fn rows_max(statement: &Statement, catalogue: &Catalogue, path: &SearchPath) -> Option<u64> {
    let changes = || {
        statement
            .changes
            .iter()
            .filter(|c| matches!(c.kind, Kind::Update | Kind::Delete | Kind::Truncate | Kind::Merge))
    };
    changes().next()?;
    changes().try_fold(0_u64, |sum, change| Some(sum.saturating_add(of_change(change, catalogue, path)?)))
}

fn of_change(change: &Change, catalogue: &Catalogue, path: &SearchPath) -> Option<u64> {
    let found = catalogue.data.resolve(&change.relation, path);
    let candidates = found.candidates();
    if candidates.is_empty() {
        return None;
    }
    // Of several meanings the largest counts.
    candidates.iter().try_fold(0, |most, relation| Some(of_relation(change, relation, catalogue)?.max(most)))
}

fn of_relation(change: &Change, relation: &Relation, catalogue: &Catalogue) -> Option<u64> {
    if relation.kind == RelationKind::View {
        let base = base_table(relation, catalogue)?;
        return all_rows(base.oid, false, catalogue);
    }
    let alone = change.only
        || catalogue.data.children(relation.oid).is_empty()
        || relation.kind == RelationKind::Partitioned;
    let pinned = (change.restricted && alone).then(|| pinned_rows(change, relation, catalogue)).flatten();
    match (pinned, all_rows(relation.oid, change.only, catalogue)) {
        (Some(pinned), Some(all)) => Some(pinned.min(all.max(1))),
        (pinned, all) => pinned.or(all),
    }
}

/// At most so many, where the WHERE pins every column of a unique key.
fn pinned_rows(change: &Change, relation: &Relation, catalogue: &Catalogue) -> Option<u64> {
    let values = |column: &i16| {
        let name = &relation.attribute(*column)?.name;
        change
            .pinned
            .iter()
            .filter(|(pinned, _)| **pinned == **name)
            .map(|(_, values)| u64::from(*values))
            .min()
    };
    let keys = catalogue.data.effects().unique_keys(relation.oid);
    let rows = keys
        .filter_map(|key| key.iter().map(values).try_fold(1_u64, |all, one| Some(all.saturating_mul(one?))));
    rows.min()
}

/// The table below a view that passes writes on.
pub(super) fn base_table<'a>(view: &Relation, catalogue: &'a Catalogue) -> Option<&'a Relation> {
    let qualified = SearchPath::Known(Vec::new());
    let mut name: RelationName = view_source(view.definition.as_deref()?)?;
    for _ in 0..VIEWS_MAX {
        let relation = *catalogue.data.resolve(&name, &qualified).candidates().first()?;
        if relation.kind != RelationKind::View {
            return Some(relation);
        }
        name = view_source(relation.definition.as_deref()?)?;
    }
    None
}

/// Rows of a table and of all below it.
fn all_rows(oid: Oid, only: bool, catalogue: &Catalogue) -> Option<u64> {
    let (mut work, mut sum, mut steps) = (vec![oid], 0_u64, 0);
    while let Some(oid) = work.pop() {
        steps += 1;
        if steps > TABLES_MAX {
            return None;
        }
        let relation = catalogue.data.relation(oid)?;
        if relation.kind != RelationKind::Partitioned {
            sum = sum.saturating_add(relation.rows_estimate?);
        }
        if !only {
            work.extend(catalogue.data.children(oid));
        }
    }
    Some(sum)
}

const VIEWS_MAX: usize = 16;
const TABLES_MAX: usize = 16_384;
