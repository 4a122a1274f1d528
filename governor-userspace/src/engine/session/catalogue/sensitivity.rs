//! Which columns of a catalogue hold sensitive values: labels, names, and views that draw from such columns.

use super::Catalogue;
use super::labels::Labels;
use crate::engine::masking::{Category, JsonPath};
use crate::engine::model::{ColumnId, FIRST_USER_OID, Oid, Relation, RelationKind, Statement};
use crate::engine::sql::{SqlDialect, ViewFlows};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Sensitive columns only: what is not in it is not known to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sensitivity {
    categories: HashMap<ColumnId, Category>,
    relations: HashSet<Oid>,
    /// Columns of documents of which only these places are sensitive.
    paths: HashMap<ColumnId, Arc<[JsonPath]>>,
    any: bool,
    /// Sensitive columns that choose the rows of a view.
    chosen_by: HashMap<Oid, Box<[ColumnId]>>,
    /// Sensitive columns of views that are not those of a table as they are.
    computed: HashSet<ColumnId>,
}

impl Sensitivity {
    pub fn category(&self, column: ColumnId) -> Option<Category> {
        self.categories.get(&column).copied()
    }

    /// Some user relation has sensitive columns.
    pub fn any(&self) -> bool {
        self.any
    }

    /// Sensitive columns that choose the rows of a view.
    pub fn chosen_by(&self, view: Oid) -> &[ColumnId] {
        self.chosen_by.get(&view).map_or(&[], |columns| columns)
    }

    /// A view's column is made of sensitive ones.
    pub fn is_computed(&self, column: ColumnId) -> bool {
        self.computed.contains(&column)
    }

    pub fn relations(&self) -> impl Iterator<Item = Oid> {
        self.relations.iter().copied()
    }

    /// The only places in the documents of a sensitive column that are.
    pub fn paths(&self, column: ColumnId) -> Option<&Arc<[JsonPath]>> {
        self.paths.get(&column)
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
    pub fn of_names(data: &crate::engine::model::Catalogue, labels: &Labels) -> Self {
        let mut found = Self::default();
        for relation in data.relations() {
            for column in &relation.columns {
                let named = |relation_name: &str, column_name: &str| {
                    labels.category(&relation.schema, relation_name, column_name, column.type_oid)
                };
                let category = named(&relation.name, &column.name).or_else(|| {
                    let (table, remote) = data.remote_names(relation, column)?;
                    // The operator's word is about the names here.
                    named(table, remote).filter(|_| !labels.is_clear(relation, &column.name))
                });
                let id = (relation.oid, column.attribute);
                if let Some(category) = category {
                    found.mark(id, category);
                } else if let Some((paths, category)) = labels.paths(relation, &column.name) {
                    found.mark(id, category);
                    found.paths.insert(id, paths.into());
                }
            }
        }
        found.categories.shrink_to_fit();
        found
    }
}

const PASSES_MAX: usize = 64;

impl Catalogue {
    /// Marks what holds the same values as sensitive columns: columns of views that draw from them, generated columns,
    /// both ends of foreign keys, and columns of the same name in the parents and children of a table. Until nothing changes: views may read views.
    pub(super) fn follow_flows(&mut self, labels: &Labels, dialect: &dyn SqlDialect) {
        let flows = ViewFlows::of(&self.data);
        self.mark_views(labels, dialect, &flows);
        self.note_views(&flows);
    }

    /// What chooses rows and makes columns of views, of that what is sensitive.
    fn note_views(&mut self, flows: &ViewFlows) {
        let mut chosen_by = HashMap::new();
        let mut computed = HashSet::new();
        for view in self.data.relations().filter(|relation| relation.definition.is_some()) {
            let columns: Box<[ColumnId]> = flows
                .conditions_of(view.oid)
                .into_iter()
                .filter(|column| self.sensitivity.category(*column).is_some())
                .collect();
            if !columns.is_empty() {
                chosen_by.insert(view.oid, columns);
            }
            computed.extend(view.columns.iter().map(|column| (view.oid, column.attribute)).filter(|id| {
                self.sensitivity.category(*id).is_some()
                    && flows.of_column(*id).is_none_or(|flow| {
                        let flow = flows.expand(flow);
                        !flow.exact || flow.sources.len() != 1 || flow.unknown.is_some()
                    })
            }));
        }
        self.sensitivity.chosen_by = chosen_by;
        self.sensitivity.computed = computed;
    }

    fn mark_views(&mut self, labels: &Labels, dialect: &dyn SqlDialect, flows: &ViewFlows) {
        let views: Vec<View> =
            self.data.relations().filter_map(|view| View::of(view, flows, dialect)).collect();
        let families: Vec<(ColumnId, ColumnId)> = self
            .data
            .relations()
            .flat_map(|r| self.family(r))
            .chain(self.data.same_values().to_vec())
            .collect();
        let generated = self.data.generated().to_vec();
        // A view whose definition could not be read may show anything.
        let unread: Vec<ColumnId> = self
            .data
            .relations()
            .filter(|r| matches!(r.kind, RelationKind::View | RelationKind::MaterializedView))
            .filter(|r| r.oid >= FIRST_USER_OID && r.definition.is_none())
            .flat_map(|r| r.columns.iter().map(|column| (r.oid, column.attribute)))
            .collect();
        for column in unread {
            self.mark(column, Category::Other, labels);
        }
        for _ in 0..PASSES_MAX {
            let mut changed = false;
            for (child, parent) in &families {
                for (from, to) in [(child, parent), (parent, child)] {
                    if let Some(category) = self.sensitivity.category(*from) {
                        changed |= self.mark(*to, category, labels);
                    }
                }
            }
            for (column, from) in &generated {
                if self.sensitivity.category(*from).is_some() {
                    changed |= self.mark(*column, Category::Other, labels);
                }
            }
            for view in &views {
                for column in &view.columns {
                    if let Some(category) = self.drawn_by(*column, view, flows) {
                        changed |= self.mark(*column, category, labels);
                    }
                }
            }
            if !changed {
                return;
            }
        }
        // Deeper than any honest chain of views: take all of their columns as sensitive.
        for column in views.iter().flat_map(|view| view.columns.iter()) {
            self.mark(*column, Category::Other, labels);
        }
    }

    /// Columns of a table with those of the same name in its parents.
    fn family<'a>(&'a self, child: &'a Relation) -> impl Iterator<Item = (ColumnId, ColumnId)> + 'a {
        child.parents.iter().filter_map(|parent| self.data.relation(*parent)).flat_map(move |parent| {
            let named: HashMap<&str, i16> =
                parent.columns.iter().map(|column| (&*column.name, column.attribute)).collect();
            child.columns.iter().filter_map(move |column| {
                let same = named.get(&*column.name)?;
                Some(((child.oid, column.attribute), (parent.oid, *same)))
            })
        })
    }

    /// Why a view's column is sensitive, as far as is known by now.
    fn drawn_by(&self, column: ColumnId, view: &View, flows: &ViewFlows) -> Option<Category> {
        let flow = flows.of_column(column)?;
        let mut found =
            flow.sources.iter().chain(&flow.implicit).filter_map(|id| self.sensitivity.category(*id));
        if let Some(category) = found.next() {
            let as_it_is = flow.exact && flow.sources.len() == 1 && flow.implicit.is_empty();
            return Some(if as_it_is { category } else { Category::Other });
        }
        flow.unknown?;
        // What the definition names bounds what is not known.
        let carries = match &view.statement {
            Some(statement) => self.may_carry_sensitive(statement, &statement.mentions),
            None => self.sensitivity.any(),
        };
        carries.then_some(Category::Other)
    }

    /// Takes a column as sensitive; true where that is news.
    fn mark(&mut self, column: ColumnId, category: Category, labels: &Labels) -> bool {
        let Some(relation) = self.data.relation(column.0) else { return false };
        let Some(named) = relation.attribute(column.1) else { return false };
        let (schema, name) = (&relation.schema, &relation.name);
        if self.sensitivity.category(column).is_some()
            || labels.clear.iter().any(|p| p.matches(schema, name, &named.name))
        {
            return false;
        }
        self.sensitivity.mark(column, category);
        true
    }
}

struct View {
    columns: Vec<ColumnId>,
    /// The facts of its definition, where lineage does not know all of its columns.
    statement: Option<Statement>,
}

impl View {
    fn of(relation: &Relation, flows: &ViewFlows, dialect: &dyn SqlDialect) -> Option<Self> {
        let text = relation.definition.as_ref()?;
        let columns: Vec<ColumnId> = relation.columns.iter().map(|c| (relation.oid, c.attribute)).collect();
        let in_doubt =
            columns.iter().any(|id| flows.of_column(*id).is_none_or(|flow| flow.unknown.is_some()));
        let statement = in_doubt.then(|| dialect.script(text).statements.into_iter().next()).flatten();
        Some(Self { columns, statement })
    }
}
