//! Which columns of a catalogue hold sensitive values: labels, names, and views that draw from such columns.

use super::Catalogue;
use super::definitions::views_of_definitions;
use super::labels::{LabelledPlace, Labels};
use super::ruling::{Ruling, Rulings};
use crate::engine::masking::{Category, classify_column, could_carry};
use crate::engine::model::{
    self, ColumnId, ColumnName, Copied, FIRST_USER_OID, Flow, HiddenConstants, MaskStyle, Oid, Relation,
    RelationKind, RelationName, SearchPath, Statement,
};
use crate::engine::sql::{Codes, SqlDialect, ViewFlows};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Sensitive columns only: what is not in it is not known to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sensitivity {
    categories: HashMap<ColumnId, Category>,
    /// By the configuration, of columns and of what shows them as they are.
    styles: HashMap<ColumnId, MaskStyle>,
    /// Computed by a view from sensitive columns.
    derived: HashSet<ColumnId>,
    relations: HashSet<Oid>,
    /// Columns of documents of which only these places are sensitive.
    places: HashMap<ColumnId, Arc<[LabelledPlace]>>,
    any: bool,
    /// Sensitive columns that choose the rows of a view, or, by row policies, of a table.
    chosen_by: HashMap<Oid, Box<[ColumnId]>>,
    /// What reading a view makes functions keep of sensitive columns, and in which column.
    kept_by: HashMap<Oid, Box<[Copied]>>,
    /// Sensitive columns of views that are not those of a table as they are.
    computed: HashSet<ColumnId>,
    /// Never taken as sensitive: a ruling says so.
    cleared: HashSet<ColumnId>,
    /// Shown whatever their values look like: the configuration says so. Only those that detectors would look at.
    shown: HashSet<ColumnId>,
    /// Columns that hold the same values as another, or are computed from it: by foreign keys, inheritance, generation.
    linked: HashMap<ColumnId, ColumnId>,
    /// Columns that rules about seeing name, behind those that hold or show the same values: policy is asked about each.
    named_behind: HashMap<ColumnId, Box<[ColumnId]>>,
}

impl Sensitivity {
    pub fn category(&self, column: ColumnId) -> Option<Category> {
        self.categories.get(&column).copied()
    }

    pub fn style(&self, column: ColumnId) -> Option<MaskStyle> {
        self.styles.get(&column).copied()
    }

    pub fn is_derived(&self, column: ColumnId) -> bool {
        self.derived.contains(&column)
    }

    /// The sensitive column that makes this one so, where it is not so by itself.
    pub fn linked_to(&self, column: ColumnId) -> Option<ColumnId> {
        self.linked.get(&column).copied()
    }

    /// Columns that rules about seeing name, and whose values this one holds or shows: itself, too.
    pub fn named_behind(&self, column: ColumnId) -> &[ColumnId] {
        self.named_behind.get(&column).map_or(&[], |columns| columns)
    }

    /// Policy is asked about it, whatever else is said of it.
    pub(super) fn mark_asked(&mut self, column: ColumnId) {
        if self.category(column).is_none() {
            self.mark(column, Category::Asked);
        }
    }

    pub(super) fn note_named(&mut self, named: impl Iterator<Item = (ColumnId, Box<[ColumnId]>)>) {
        self.named_behind = named.collect();
    }

    /// Some user relation has sensitive columns.
    pub fn any(&self) -> bool {
        self.any
    }

    /// The only places in the documents of a sensitive column that are.
    pub fn places(&self, column: ColumnId) -> Option<&Arc<[LabelledPlace]>> {
        self.places.get(&column)
    }

    /// Sensitive columns that choose the rows of a view.
    pub fn chosen_by(&self, view: Oid) -> &[ColumnId] {
        self.chosen_by.get(&view).map_or(&[], |columns| columns)
    }

    /// What reading a view makes functions keep of sensitive columns, and in which column.
    pub fn kept_by(&self, view: Oid) -> &[Copied] {
        self.kept_by.get(&view).map_or(&[], |kept| kept)
    }

    /// A view's column is made of sensitive ones.
    pub fn is_computed(&self, column: ColumnId) -> bool {
        self.computed.contains(&column)
    }

    pub fn relations(&self) -> impl Iterator<Item = Oid> {
        self.relations.iter().copied()
    }

    /// A column of this relation is sensitive.
    pub fn has(&self, relation: Oid) -> bool {
        self.relations.contains(&relation)
    }

    /// Detectors do not look at its values.
    pub fn is_shown(&self, column: ColumnId) -> bool {
        self.shown.contains(&column)
    }

    /// The operator says that nothing in it is sensitive.
    pub fn is_cleared(&self, column: ColumnId) -> bool {
        self.cleared.contains(&column) || self.shown.contains(&column)
    }

    /// What holds for one column, whatever its name says.
    fn rule(&mut self, column: ColumnId, ruling: Ruling) {
        match ruling {
            Ruling::Sensitive(category) => self.mark(column, category),
            Ruling::Dismissed => {
                self.categories.remove(&column);
                self.cleared.insert(column);
            }
        }
    }

    /// After columns were taken out.
    fn count_anew(&mut self) {
        self.relations = self.categories.keys().map(|column| column.0).collect();
        self.any = self.categories.keys().any(|column| column.0 >= FIRST_USER_OID);
    }

    fn mark(&mut self, column: ColumnId, category: Category) {
        self.categories.insert(column, category);
        self.relations.insert(column.0);
        self.any |= column.0 >= FIRST_USER_OID;
    }

    /// `to` shows what `from` holds: it is masked alike, unless the operator says otherwise.
    fn follow(&mut self, from: ColumnId, to: ColumnId) -> bool {
        let style = self.style(from).filter(|_| self.style(to).is_none());
        if let Some(style) = style {
            self.styles.insert(to, style);
        }
        let derived = self.is_derived(from) && self.derived.insert(to);
        style.is_some() || derived
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
                // Nothing about such values is the database's own: a file's columns say nothing of what is in it.
                let of_files = || {
                    let hides = could_carry(column.type_oid) && data.is_of_files(relation.oid);
                    (hides && !labels.is_clear(relation, &column.name)).then_some(Category::Other)
                };
                let category = category.or_else(of_files);
                let id = (relation.oid, column.attribute);
                let places = labels.places(relation, &column.name);
                if let Some(category) = category {
                    found.mark(id, category);
                } else if let Some(first) = places.first() {
                    found.mark(id, first.category);
                    found.places.insert(id, places.into());
                } else if could_carry(column.type_oid) && labels.is_clear(relation, &column.name) {
                    found.shown.insert(id);
                }
                if let Some(style) = labels.style_of(&relation.schema, &relation.name, &column.name) {
                    found.styles.insert(id, style);
                }
            }
        }
        found.categories.shrink_to_fit();
        found
    }
}

const TEXT: u32 = 25;
const PASSES_MAX: usize = 64;

impl Catalogue {
    /// Says what is sensitive: by names and files, then by rulings, then by what holds the same values.
    pub(super) fn rule(&mut self, labels: &Labels, rulings: &Rulings) {
        let mut sensitivity = (*self.named).clone();
        for (name, ruling) in &rulings.columns {
            let Some(column) = self.column_id(name) else { continue };
            if !labels.decide(&name.schema, &name.relation, &name.column) {
                sensitivity.rule(column, *ruling);
                self.ruled.insert(column, *ruling);
            }
        }
        sensitivity.count_anew();
        self.sensitivity = sensitivity;
        let named = self.mark_asked(labels);
        self.follow_flows(labels);
        self.note_named(&named);
        self.types = self.types_with_constants();
    }

    /// The types of the database, and which constants in definitions belong to sensitive columns.
    fn types_with_constants(&self) -> Arc<model::Types> {
        let is_sensitive =
            |columns: &[ColumnId]| columns.iter().any(|id| self.sensitivity.category(*id).is_some());
        let sensitive = self.data.constants().iter().filter(|(columns, _)| is_sensitive(columns));
        let mut constants: BTreeSet<Arc<str>> = sensitive.map(|(_, constant)| constant.clone()).collect();
        // What an argument is called says what its default is, as a column's name does.
        let of_arguments = self.data.constants_of_arguments().iter();
        let named = of_arguments.filter(|(name, _)| classify_column("", name, TEXT).is_some());
        constants.extend(named.map(|(_, constant)| constant.clone()));
        // Those that were not kept may be of any column.
        let hidden = if self.data.has_more_constants(self.sensitivity.any()) {
            HiddenConstants::all()
        } else {
            HiddenConstants::new(&constants)
        };
        if hidden.is_empty() {
            return self.data.types().clone();
        }
        let mut types = (**self.data.types()).clone();
        types.hide(hidden);
        Arc::new(types)
    }

    /// The number of a column of a user's relation.
    pub(in super::super) fn column_id(&self, name: &ColumnName) -> Option<ColumnId> {
        let relation = RelationName { schema: Some(name.schema.clone()), name: name.relation.clone() };
        let anywhere = SearchPath::Unknown(String::new());
        let found = self.data.resolve(&relation, &anywhere);
        let relation = found.candidates().iter().find(|relation| relation.oid >= FIRST_USER_OID)?;
        Some((relation.oid, relation.column(&name.column)?.attribute))
    }

    /// Marks what holds the same values as sensitive columns: columns of views that draw from them, generated columns,
    /// both ends of foreign keys, and columns of the same name in the parents and children of a table. Until nothing
    /// changes: views may read views.
    fn follow_flows(&mut self, labels: &Labels) {
        let known = self.views.clone();
        self.mark_views(labels, &known.flows, &known.views);
        self.note_views(&known.flows);
    }

    /// What chooses rows and makes columns of views, of that what is sensitive.
    fn note_views(&mut self, flows: &ViewFlows) {
        let mut chosen_by = HashMap::new();
        let mut kept_by = HashMap::new();
        let mut computed = HashSet::new();
        for table in self.data.relations().filter(|relation| relation.definition.is_none()) {
            let columns = flows.policies_of(table.oid);
            let columns: Box<[ColumnId]> =
                columns.filter(|column| self.sensitivity.category(*column).is_some()).collect();
            if !columns.is_empty() {
                chosen_by.insert(table.oid, columns);
            }
        }
        for view in self.data.relations().filter(|relation| relation.definition.is_some()) {
            let columns: Box<[ColumnId]> = flows
                .conditions_of(view.oid)
                .into_iter()
                .filter(|column| self.sensitivity.category(*column).is_some())
                .collect();
            if !columns.is_empty() {
                chosen_by.insert(view.oid, columns);
            }
            let kept = flows.kept_by(view.oid).into_iter();
            let kept: Box<[_]> =
                kept.filter(|(_, from)| self.sensitivity.category(*from).is_some()).collect();
            if !kept.is_empty() {
                kept_by.insert(view.oid, kept);
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
        self.sensitivity.kept_by = kept_by;
        self.sensitivity.computed = computed;
    }

    fn mark_views(&mut self, labels: &Labels, flows: &ViewFlows, views: &[View]) {
        let families = self.families();
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
                        changed |= self.link(*from, *to, category, labels);
                        changed |= self.sensitivity.follow(*from, *to);
                    }
                }
            }
            for (column, from) in &generated {
                if self.sensitivity.category(*from).is_some() {
                    let category = match self.sensitivity.category(*from) {
                        Some(Category::Asked) => Category::Asked,
                        _ => Category::Other,
                    };
                    changed |= self.link(*from, *column, category, labels);
                    changed |= self.sensitivity.derived.insert(*column);
                }
            }
            for view in views {
                for column in &view.columns {
                    if let Some(category) = self.drawn_by(*column, view, flows) {
                        changed |= self.mark(*column, category, labels);
                        changed |= match flows.of_column(*column).and_then(as_it_is) {
                            Some(source) => self.sensitivity.follow(source, *column),
                            None => self.sensitivity.derived.insert(*column),
                        };
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

    /// Columns that hold the same values: of a table and its parents, and both ends of foreign keys.
    pub(super) fn families(&self) -> Vec<(ColumnId, ColumnId)> {
        let of_parents = self.data.relations().flat_map(|relation| self.family(relation));
        of_parents.chain(self.data.same_values().to_vec()).collect()
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
            // What is only asked about is no more than that in an expression.
            let asked = category == Category::Asked && found.all(|other| other == Category::Asked);
            return Some(if asked || as_it_is(flow).is_some() { category } else { Category::Other });
        }
        let relation = self.data.relation(column.0)?;
        let type_oid = relation.attribute(column.1)?.type_oid;
        if let Some(category) = self.of_documents(flow, type_oid) {
            return Some(category);
        }
        flow.unknown?;
        // What the definition names bounds what is not known.
        let carries = match &view.statement {
            Some(statement) => self.may_carry_sensitive(statement, &statement.mentions),
            None => self.sensitivity.any(),
        };
        carries.then_some(Category::Other)
    }

    /// Takes a column as sensitive because another is; true where that is news.
    fn link(&mut self, from: ColumnId, to: ColumnId, category: Category, labels: &Labels) -> bool {
        let is_news = self.mark(to, category, labels);
        if is_news {
            self.sensitivity.linked.insert(to, from);
        }
        is_news
    }

    /// Takes a column as sensitive; true where that is news.
    fn mark(&mut self, column: ColumnId, category: Category, labels: &Labels) -> bool {
        let Some(relation) = self.data.relation(column.0) else { return false };
        let Some(named) = relation.attribute(column.1) else { return false };
        if self.sensitivity.category(column).is_some()
            || self.sensitivity.cleared.contains(&column)
            || labels.is_clear(relation, &named.name)
        {
            return false;
        }
        self.sensitivity.mark(column, category);
        true
    }
}

/// The one column whose values these are, unchanged.
fn as_it_is(flow: &Flow) -> Option<ColumnId> {
    match flow.sources.iter().next() {
        Some(source) if flow.exact && flow.sources.len() == 1 && flow.implicit.is_empty() => Some(*source),
        _ => None,
    }
}

/// What the definitions of a catalogue's views say of their columns.
#[derive(Debug)]
pub(super) struct Views {
    flows: ViewFlows,
    views: Vec<View>,
    /// Those that show definitions.
    of_definitions: HashSet<Oid>,
    /// Columns that show definitions taken apart.
    cut: HashSet<ColumnId>,
}

impl Views {
    pub fn of(data: &model::Catalogue, codes: &Codes, dialect: &dyn SqlDialect) -> Self {
        let flows = ViewFlows::of(data, codes);
        let views = data.relations().filter_map(|view| View::of(view, &flows, dialect)).collect();
        let columns = data.relations().filter(|relation| relation.definition.is_some());
        let columns = columns.flat_map(|view| view.columns.iter().map(|column| (view.oid, column.attribute)));
        let is_cut = |id: &ColumnId| flows.of_column(*id).is_some_and(|flow| flows.expand(flow).cut);
        let cut = columns.filter(is_cut).collect();
        Self { flows, views, of_definitions: views_of_definitions(data), cut }
    }

    /// As [`Catalogue::is_cut_column`].
    pub fn is_cut(&self, column: ColumnId) -> bool {
        self.cut.contains(&column)
    }

    /// The view shows what the catalogue holds.
    pub fn show_definitions(&self, view: Oid) -> bool {
        self.of_definitions.contains(&view)
    }

    /// As [`Catalogue::bases_of`].
    pub fn bases_of(&self, column: ColumnId) -> BTreeSet<ColumnId> {
        let Some(flow) = self.flows.of_column(column) else { return BTreeSet::from([column]) };
        let flow = self.flows.expand(flow);
        flow.sources.into_iter().chain(flow.implicit).collect()
    }

    /// The columns that a view's column is made of, directly, and those that choose it.
    pub fn behind(&self, column: ColumnId) -> impl Iterator<Item = ColumnId> {
        let flow = self.flows.of_column(column).into_iter();
        flow.flat_map(|flow| flow.sources.iter().chain(&flow.implicit).copied())
    }

    /// As [`Catalogue::base_of`].
    pub fn base_of(&self, column: ColumnId) -> ColumnId {
        let mut base = column;
        for _ in 0..PASSES_MAX {
            let Some(flow) = self.flows.of_column(base) else { return base };
            let as_it_is = flow.exact && flow.unknown.is_none() && flow.implicit.is_empty();
            match (as_it_is, flow.sources.first(), flow.sources.len()) {
                (true, Some(source), 1) => base = *source,
                _ => return column,
            }
        }
        column
    }
}

#[derive(Debug)]
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
