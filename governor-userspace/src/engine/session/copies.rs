//! Whether a statement puts masked data where it would be shown: in a column that is not masked, or in one whose mask keeps
//! another part of it.
//!
//! A view passes on what is written to it, whatever its columns are called, and what goes to another server is out of sight.

use super::Session;
use super::catalogue::Catalogue;
use super::check::Check;
use super::facts::StatementRef;
use super::governance::Governance;
use crate::engine::masking::{Category, ColumnAction, keeps_a_part};
use crate::engine::model::{
    ColumnId, Conditions, Copied, MaskStyle, RelationKind, RelationName, SearchPath, SessionState, Statement,
    StatementKind,
};
use crate::engine::sql::{Names, kept_in_passing};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Session {
    /// `remade`: which columns get something else than a value of the other as it is.
    pub(super) fn copies_masked<'a>(
        &self,
        copies: impl Iterator<Item = &'a Copied>,
        remade: &BTreeSet<(ColumnId, ColumnId)>,
        catalogue: &Catalogue,
        governance: &mut Governance,
    ) -> bool {
        for (target, source) in copies {
            let Some(category) = catalogue.category(source.0, source.1) else { continue };
            let written = target.and_then(|to| Some((to, stands_in(to, catalogue)?)));
            let keeps = written.is_some_and(|(target, to)| {
                let is_made = remade.contains(&(target, *source))
                    || catalogue.column(source.0, source.1).is_some_and(|column| column.is_derived);
                let category_there = catalogue.category(to.0, to.1);
                // Whatever a rule hides of the one, it must hide of the other.
                let named_there = catalogue.named_behind(to);
                catalogue.named_behind(*source).iter().all(|named| named_there.contains(named))
                    && (category_there == Some(category)
                        || (category == Category::Asked && category_there.is_some()))
                    && !(is_made && self.shows_a_part(to, catalogue, governance))
            });
            if !keeps && self.hidden_column(*source, catalogue, governance).is_some() {
                return true;
            }
        }
        // A column that is made anew of itself.
        remade.iter().any(|(target, source)| {
            target == source
                && stands_in(*target, catalogue)
                    .is_some_and(|to| self.shows_a_part(to, catalogue, governance))
        })
    }

    /// Values of columns are put somewhere, and which columns those are nobody can tell: something that the statement relies
    /// on was defined anew since the catalogue was read.
    pub(super) fn copies_in_doubt(
        &self,
        statement: &StatementRef,
        catalogue: &Arc<Catalogue>,
        state: &SessionState,
        governance: &mut Governance,
    ) -> bool {
        if statement.changes.is_empty()
            && statement.tag != "CREATE TABLE AS"
            && statement.tag != "SELECT INTO"
        {
            return false;
        }
        let may_be_new = |name: &RelationName| {
            let found = catalogue.data.resolve(name, &state.search_path);
            found.candidates().iter().any(|relation| relation.kind == RelationKind::View)
        };
        let views = self.views_made && statement.reads.iter().any(may_be_new);
        if !(views || matches!(self.check, Check::Doubt | Check::TooMuch)) {
            return false;
        }
        let conditions = governance.flows.of(&statement.text, catalogue, state).conditions;
        conditions.doubt.is_some() || !conditions.copies.is_empty() || !conditions.doubtful.is_empty()
    }

    /// Its mask keeps something of a value, or shows which are equal.
    fn shows_a_part(
        &self,
        (relation, attribute): ColumnId,
        catalogue: &Catalogue,
        governance: &mut Governance,
    ) -> bool {
        let Some(column) = catalogue.column(relation, attribute) else { return false };
        let category = column.category;
        match self.asker(governance).see_whole(column, catalogue, (relation, attribute)) {
            ColumnAction::Mask { style: MaskStyle::Redact | MaskStyle::Null, .. } => false,
            ColumnAction::Mask { style: MaskStyle::Partial, .. } => category.is_some_and(keeps_a_part),
            ColumnAction::Mask { .. } => true,
            ColumnAction::Clear | ColumnAction::Detect => false,
        }
    }

    /// What event triggers keep where something is defined; functions of indexes and of materialised views where a relation
    /// is maintained.
    pub(super) fn keeps_in_passing(
        &self,
        statement: &Statement,
        catalogue: &Catalogue,
        state: &SessionState,
        governance: &mut Governance,
    ) -> bool {
        use StatementKind as K;
        let is = |kind: K| statement.kind == kind;
        let defines =
            (is(K::Ddl) || is(K::Drop) || is(K::Dcl)) && !catalogue.data.effects().on_definition().is_empty();
        if !(defines || is(K::Maintenance)) {
            return false;
        }
        let mut maintained = Vec::new();
        if is(K::Maintenance) {
            let named: Vec<_> = statement.writes.iter().chain(&statement.reads).collect();
            for name in &named {
                let found = catalogue.data.resolve(name, &state.search_path);
                maintained.extend(found.candidates().iter().map(|relation| relation.oid));
            }
            if named.is_empty() {
                maintained.extend(catalogue.sensitive_relations());
            }
        }
        let path = SearchPath::Unknown(String::new());
        let temporary = |_: &str| crate::engine::model::Temporary::None;
        let names = Names {
            catalogue: &catalogue.data,
            codes: &catalogue.codes,
            search_path: &path,
            temporary: &temporary,
        };
        let Conditions { copies, doubt, .. } = kept_in_passing(&names, &maintained, defines);
        let by_views = maintained.iter().flat_map(|oid| catalogue.view_keeps(*oid));
        doubt.is_some()
            || self.copies_masked(copies.iter().chain(by_views), &BTreeSet::new(), catalogue, governance)
    }
}

/// The column that a value is kept in; `None` where it goes out of sight.
fn stands_in(column: ColumnId, catalogue: &Catalogue) -> Option<ColumnId> {
    let base = catalogue.base_of(column);
    let relation = catalogue.data.relation(base.0)?;
    match relation.kind {
        RelationKind::Foreign => None,
        // Its column is made of something.
        RelationKind::View => None,
        _ => Some(base),
    }
}
