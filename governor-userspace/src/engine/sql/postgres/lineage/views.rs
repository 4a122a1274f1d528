//! What the columns of views come from, for a whole catalogue.
//!
//! [`lineage`](super::lineage) leaves a view's column as it is, so that each statement costs the same however deep its views
//! are. Here each definition is read once; views of views are followed by looking up.

use super::passing::named_with_settings;
use super::value::Rows;
use super::{Codes, Names, Shared, one, parse};
use crate::engine::model::{
    Catalogue, Clause, ColumnId, Conditions, Copied, Doubt, Flow, Lineage, Oid, Relation, SearchPath,
    Temporary,
};
use crate::engine::sql::fault;
use std::collections::{BTreeSet, HashMap};

/// For each column of a view or materialised view, what its definition puts into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewFlows {
    columns: HashMap<ColumnId, Flow>,
    /// What chooses the rows of a view, and the relations that it reads.
    conditions: HashMap<Oid, (BTreeSet<ColumnId>, BTreeSet<Oid>)>,
    /// Columns that, with a setting of the session, choose in row policies which rows of a table are seen; of few tables.
    policies: HashMap<Oid, BTreeSet<ColumnId>>,
    /// What reading a view makes functions keep; of few views.
    kept: HashMap<Oid, BTreeSet<Copied>>,
}

impl ViewFlows {
    /// Reads every definition of a catalogue. Names in them are as the server wrote them: with their schema, or,
    /// where it left that out, in whatever schema.
    pub fn of(catalogue: &Catalogue, codes: &Codes) -> Self {
        let mut flows = Self::default();
        let path = SearchPath::Unknown("a definition's own".into());
        for relation in catalogue.relations() {
            let names = Names { catalogue, codes, search_path: &path, temporary: &|_| Temporary::None };
            let Some(definition) = &relation.definition else {
                flows.read_policies(relation, &names);
                continue;
            };
            flows.read(relation, definition, &names);
        }
        flows
    }

    fn read(&mut self, relation: &Relation, definition: &str, names: &Names<'_>) {
        let (lineage, conditions) = definition_lineage(definition, names);
        let chosen_by = conditions.found.keys().filter(|(_, condition)| condition.clause != Clause::Result);
        let chosen_by: BTreeSet<ColumnId> = chosen_by.map(|(column, _)| *column).collect();
        self.conditions.insert(relation.oid, (chosen_by, conditions.relations));
        if !conditions.copies.is_empty() {
            self.kept.insert(relation.oid, conditions.copies);
        }
        let found = match lineage {
            Lineage::Columns(found) if found.len() == relation.columns.len() => found,
            Lineage::Unknown(why) => unknown(why, relation),
            _ => unknown(Doubt::Disagreement, relation),
        };
        let ids = relation.columns.iter().map(|column| (relation.oid, column.attribute));
        self.columns.extend(ids.zip(found));
    }

    fn read_policies(&mut self, relation: &Relation, names: &Names<'_>) {
        let effects = names.catalogue.effects();
        let mut found: BTreeSet<ColumnId> = effects.policies(relation.oid).iter().copied().collect();
        found.extend(named_with_settings(names, effects.on_read(relation.oid)));
        if !found.is_empty() {
            self.policies.insert(relation.oid, found);
        }
    }

    /// Columns that choose, by row policies and with a setting of the session, which rows of a table are seen.
    pub fn policies_of(&self, table: Oid) -> impl Iterator<Item = ColumnId> {
        self.policies.get(&table).into_iter().flatten().copied()
    }

    /// What a view's column comes from, directly; `None` where it is no view's.
    pub fn of_column(&self, column: ColumnId) -> Option<&Flow> {
        self.columns.get(&column)
    }

    /// What reading a view makes functions keep, through the views that it reads, too: the column that it goes into,
    /// where that is known, and the column that it is from.
    pub fn kept_by(&self, view: Oid) -> BTreeSet<Copied> {
        let mut found = BTreeSet::new();
        if self.kept.is_empty() {
            return found;
        }
        let (mut work, mut seen) = (vec![view], BTreeSet::from([view]));
        while let Some(oid) = work.pop() {
            found.extend(self.kept.get(&oid).into_iter().flatten());
            let below = self.conditions.get(&oid).map(|(_, relations)| relations);
            work.extend(below.into_iter().flatten().filter(|relation| seen.insert(**relation)));
        }
        found
    }

    /// The columns that choose the rows of a view, through the views that it reads, too. What its own columns are
    /// computed from is in their flows.
    pub fn conditions_of(&self, view: Oid) -> BTreeSet<ColumnId> {
        let (mut found, mut seen, mut work) = (BTreeSet::new(), BTreeSet::from([view]), vec![view]);
        while let Some(oid) = work.pop() {
            found.extend(self.policies_of(oid));
            let Some((columns, relations)) = self.conditions.get(&oid) else { continue };
            found.extend(columns);
            work.extend(relations.iter().filter(|relation| seen.insert(**relation)));
        }
        found
    }

    /// `flow` with the columns of views replaced by what is behind them, views of views too.
    pub fn expand(&self, flow: &Flow) -> Flow {
        let mut expanded = Flow { sources: BTreeSet::new(), implicit: BTreeSet::new(), ..flow.clone() };
        // Both kinds of each column are looked at once.
        let mut seen: BTreeSet<(ColumnId, bool)> = BTreeSet::new();
        let mut work: Vec<(ColumnId, bool)> = flow.sources.iter().map(|id| (*id, false)).collect();
        work.extend(flow.implicit.iter().map(|id| (*id, true)));
        while let Some((id, chooses)) = work.pop() {
            if !seen.insert((id, chooses)) {
                continue;
            }
            match self.columns.get(&id) {
                None if chooses => {
                    expanded.implicit.insert(id);
                }
                None => {
                    expanded.sources.insert(id);
                }
                Some(behind) => {
                    work.extend(behind.sources.iter().map(|id| (*id, chooses)));
                    work.extend(behind.implicit.iter().map(|id| (*id, true)));
                    expanded.exact &= behind.exact;
                    expanded.bare |= behind.bare;
                    expanded.reshaped |= behind.reshaped;
                    expanded.code |= behind.code;
                    expanded.cut |= behind.cut;
                    expanded.keys.extend(behind.keys.iter().cloned());
                    expanded.unknown = expanded.unknown.or(behind.unknown);
                }
            }
        }
        expanded
    }
}

/// As [`lineage`](super::lineage), with less ado: a definition is the server's own text.
fn definition_lineage(definition: &str, names: &Names<'_>) -> (Lineage, Conditions) {
    let text = definition.trim().trim_end_matches(';');
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fault::point("views");
        let tree = parse(text)?;
        let shared = Shared::new(names);
        let rows = shared.analysis(names.search_path).command(one(&tree)?)?;
        shared.note_policies()?;
        Ok((rows.map_or(Lineage::NoRows, Rows::lineage), shared.conditions.into_inner()))
    }));
    let unknown = |doubt| (Lineage::Unknown(doubt), Conditions::default());
    match read {
        Ok(Ok(found)) => found,
        Ok(Err(doubt)) => unknown(doubt),
        Err(_) => unknown(Doubt::Unparsed),
    }
}

fn unknown(why: Doubt, relation: &Relation) -> Vec<Flow> {
    let flow = Flow { unknown: Some(why), ..Flow::default() };
    vec![flow; relation.columns.len()]
}
