//! Which columns of a catalogue hold sensitive values: labels, names, and views that draw from such columns.

use super::Catalogue;
use super::labels::Labels;
use crate::engine::masking::Category;
use crate::engine::model::{ColumnId, FIRST_USER_OID, Oid, Relation, Statement};
use crate::engine::sql::SqlDialect;
use std::collections::{HashMap, HashSet};

/// Sensitive columns only: what is not in it is not known to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sensitivity {
    categories: HashMap<ColumnId, Category>,
    relations: HashSet<Oid>,
    any: bool,
}

impl Sensitivity {
    pub fn category(&self, column: ColumnId) -> Option<Category> {
        self.categories.get(&column).copied()
    }

    /// Some user relation has sensitive columns.
    pub fn any(&self) -> bool {
        self.any
    }

    /// A column of this relation is sensitive.
    pub fn has(&self, relation: Oid) -> bool {
        self.relations.contains(&relation)
    }

    fn mark(&mut self, column: ColumnId, category: Category) {
        self.categories.insert(column, category);
        self.relations.insert(column.0);
        self.any |= column.0 >= FIRST_USER_OID;
    }

    /// By labels and names alone.
    pub fn of_names<'a>(relations: impl Iterator<Item = &'a Relation>, labels: &Labels) -> Self {
        let mut found = Self::default();
        for relation in relations {
            for column in &relation.columns {
                let category =
                    labels.category(&relation.schema, &relation.name, &column.name, column.type_oid);
                if let Some(category) = category {
                    found.mark((relation.oid, column.attribute), category);
                }
            }
        }
        found.categories.shrink_to_fit();
        found
    }
}

const VIEW_PASSES_MAX: usize = 16;

impl Catalogue {
    /// Marks columns of views that draw from sensitive columns, until nothing changes: views may read views.
    pub(super) fn follow_views(&mut self, labels: &Labels, dialect: &dyn SqlDialect) {
        let views: Vec<(Oid, Vec<i16>, Option<Statement>)> = self
            .data
            .relations()
            .filter_map(|view| {
                let text = view.definition.as_ref()?;
                let attributes = view.columns.iter().map(|column| column.attribute).collect();
                Some((view.oid, attributes, dialect.script(text).statements.into_iter().next()))
            })
            .collect();
        for _ in 0..VIEW_PASSES_MAX {
            let mut changed = false;
            for (oid, attributes, statement) in &views {
                let Some(statement) = statement else { continue };
                let targets = statement.targets.as_ref().filter(|targets| targets.len() == attributes.len());
                for (index, attribute) in attributes.iter().enumerate() {
                    let target = targets.and_then(|targets| targets.get(index));
                    let carries = match target {
                        Some(t) if t.is_constant || t.is_count => false,
                        Some(t) => self.may_carry_sensitive(statement, &t.mentions),
                        None => self.may_carry_sensitive(statement, &statement.mentions),
                    };
                    changed |= carries && self.mark(*oid, *attribute, labels);
                }
            }
            if !changed {
                return;
            }
        }
        // Deeper than any honest chain of views: take all of their columns as sensitive.
        for (oid, attributes, _) in &views {
            for attribute in attributes {
                self.mark(*oid, *attribute, labels);
            }
        }
    }

    /// Takes a view's column as sensitive; true where that is news.
    fn mark(&mut self, oid: Oid, attribute: i16, labels: &Labels) -> bool {
        let Some(relation) = self.data.relation(oid) else { return false };
        let Some(column) = relation.attribute(attribute) else { return false };
        let (schema, name) = (&relation.schema, &relation.name);
        if self.sensitivity.category((oid, attribute)).is_some()
            || labels.clear.iter().any(|p| p.matches(schema, name, &column.name))
        {
            return false;
        }
        self.sensitivity.mark((oid, attribute), Category::Other);
        true
    }
}
