//! Columns that rules of the operator's may hide although nothing calls them sensitive: they are asked about like those
//! that are, and so is what holds or shows their values.

use super::Catalogue;
use super::labels::Labels;
use crate::engine::model::{ColumnId, ColumnName, FIRST_USER_OID};
use std::collections::{BTreeSet, HashMap};

impl Catalogue {
    /// Marks the columns that rules may hide, but for those that the operator says are clear. Answers those that rules
    /// tell from others, sensitive for another reason or not.
    pub(super) fn mark_asked(&mut self, labels: &Labels) -> Vec<ColumnId> {
        let (any, tells_apart) = (labels.asked.any(), labels.asked.tells_apart());
        if !(any || tells_apart) {
            return Vec::new();
        }
        let (mut named, mut marked) = (Vec::new(), Vec::new());
        for relation in self.data.relations() {
            for column in &relation.columns {
                let id = (relation.oid, column.attribute);
                let is_named = tells_apart && {
                    let name = ColumnName {
                        schema: relation.schema.to_string(),
                        relation: relation.name.to_string(),
                        column: column.name.to_string(),
                    };
                    labels.asked.names(&name)
                };
                if is_named {
                    named.push(id);
                }
                // Of the server's own only what a rule names. That its name or its values were dismissed is another matter.
                let may_be_hidden = is_named || (any && relation.oid >= FIRST_USER_OID);
                if may_be_hidden && !labels.is_clear(relation, &column.name) {
                    marked.push(id);
                }
            }
        }
        for column in marked {
            self.sensitivity.mark_asked(column);
        }
        named
    }

    /// Notes, for everything that holds or shows values of `named` columns, which of them that are.
    pub(super) fn note_named(&mut self, named: &[ColumnId]) {
        if named.is_empty() {
            return;
        }
        let mut onward = HashMap::<ColumnId, Vec<ColumnId>>::new();
        let mut edge = |from: ColumnId, to: ColumnId| onward.entry(from).or_default().push(to);
        for (one, other) in self.families() {
            edge(one, other);
            edge(other, one);
        }
        for (column, from) in self.data.generated() {
            edge(*from, *column);
        }
        for view in self.data.relations().filter(|relation| relation.definition.is_some()) {
            for column in &view.columns {
                let id = (view.oid, column.attribute);
                self.views.behind(id).for_each(|from| edge(from, id));
            }
        }
        let mut found = HashMap::<ColumnId, BTreeSet<ColumnId>>::new();
        for column in named {
            let mut work = vec![*column];
            while let Some(id) = work.pop() {
                if found.entry(id).or_default().insert(*column) {
                    work.extend(onward.get(&id).into_iter().flatten());
                }
            }
        }
        self.sensitivity.note_named(found.into_iter().map(|(id, of)| (id, of.into_iter().collect())));
    }
}
