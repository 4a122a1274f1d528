//! What the database's own catalogue says, and what in it is sensitive.
//!
//! Read once per database on a client's own connection, before its first ReadyForQuery, with no credentials of
//! governor's own; shared by later sessions until it is old or DDL was seen. Only sessions that policy may restrict
//! or mask need one.

mod asked;
mod definitions;
mod documents;
mod labels;
mod query;
mod reader;
mod ruling;
mod sensitivity;

pub use labels::{Asked, ColumnPattern, LabelledPlace, Labels};
#[cfg(test)]
pub(super) use query::RESULTS;
pub(super) use query::{QUERY, qualify};
pub(super) use reader::CatalogueReader;
pub use ruling::{Ruling, Rulings};

use crate::engine::masking::Category;
use crate::engine::model::{
    self, ColumnId, ColumnName, FIRST_USER_OID, FunctionName, MaskStyle, Mentions, RelationName, SearchPath,
    SessionState, Statement, Timestamp,
};
use crate::engine::sql::{Codes, SqlDialect};
use sensitivity::{Sensitivity, Views};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How long a catalogue is left alone after a reading, in units of its length: names that are misspelt, and temporary
/// tables that nobody saw made, must not keep a server busy.
const READINGS_PER_FUNCTION: u64 = 20;
const READINGS_PER_RELATION: u64 = 200;

/// Functions of the server behind views that show statements or secrets.
const SHOWS_VALUES_FUNCTIONS: [&str; 5] = [
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_stat_statements",
    "pg_show_all_settings",
    "pg_show_replication_origin_status",
];

/// What is known of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueColumn {
    pub name: ColumnName,
    /// Why its values are sensitive; `None` where nothing says so.
    pub category: Option<Category>,
    /// How the operator wants it masked, where policy asks for nothing stricter.
    pub style: Option<MaskStyle>,
    /// A view computes it from sensitive columns: it is none of their values as they are.
    pub is_derived: bool,
}

/// One database as it was read at one moment.
#[derive(Debug)]
pub struct Catalogue {
    /// Shared by all that were made of one reading.
    pub data: Arc<model::Catalogue>,
    views: Arc<Views>,
    /// What names and the operator's files say, without rulings.
    named: Arc<Sensitivity>,
    sensitivity: Sensitivity,
    /// The rulings that hold for single columns, by number.
    ruled: HashMap<ColumnId, Ruling>,
    /// With the constants that definitions show of sensitive columns.
    pub(super) types: Arc<model::Types>,
    rulings_version: u64,
    /// What rules about seeing may hide, as it was when this was made.
    asked: Asked,
    pub loaded: Timestamp,
    /// When its reading began: what changed since is not in it.
    pub began: Timestamp,
    /// How long the reading took: who wants it again soon has to wait for some of these.
    pub reading_ns: u64,
    /// Tells it from every other of this process.
    pub(super) id: u64,
    /// The same for all that were made of one reading.
    pub(super) reading: u64,
    pub(super) codes: Arc<Codes>,
}

static CATALOGUES_COUNT: AtomicU64 = AtomicU64::new(1);

impl Catalogue {
    pub fn new(
        data: model::Catalogue,
        labels: &Labels,
        rulings: &Rulings,
        dialect: &dyn SqlDialect,
        loaded: Timestamp,
    ) -> Self {
        let named = Arc::new(Sensitivity::of_names(&data, labels));
        let codes = Arc::new(Codes::default());
        let views = Arc::new(Views::of(&data, &codes, dialect));
        let id = CATALOGUES_COUNT.fetch_add(1, Ordering::Relaxed);
        let mut catalogue = Self {
            data: Arc::new(data),
            views,
            named,
            sensitivity: Sensitivity::default(),
            ruled: HashMap::new(),
            types: Arc::default(),
            rulings_version: rulings.version,
            asked: labels.asked.clone(),
            loaded,
            began: loaded,
            reading_ns: 0,
            id,
            reading: id,
            codes,
        };
        catalogue.rule(labels, rulings);
        catalogue
    }

    /// The same reading under other rulings.
    pub(super) fn ruled(&self, labels: &Labels, rulings: &Rulings) -> Self {
        let mut catalogue = Self {
            data: self.data.clone(),
            views: self.views.clone(),
            named: self.named.clone(),
            sensitivity: Sensitivity::default(),
            ruled: HashMap::new(),
            types: Arc::default(),
            rulings_version: rulings.version,
            asked: labels.asked.clone(),
            loaded: self.loaded,
            began: self.began,
            reading_ns: self.reading_ns,
            id: CATALOGUES_COUNT.fetch_add(1, Ordering::Relaxed),
            reading: self.reading,
            codes: self.codes.clone(),
        };
        catalogue.rule(labels, rulings);
        catalogue
    }

    /// Of the rulings that it was made under.
    pub(super) fn rulings_version(&self) -> u64 {
        self.rulings_version
    }

    /// The rules about seeing that it was made under.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Columns that rules about seeing name, and whose values this one holds or shows: itself, too.
    pub(super) fn named_behind(&self, column: ColumnId) -> &[ColumnId] {
        self.sensitivity.named_behind(column)
    }

    /// Something else than a rule about seeing makes it sensitive.
    pub(super) fn is_sensitive_itself(&self, column: ColumnId) -> bool {
        self.sensitivity.category(column).is_some_and(|category| category != Category::Asked)
    }

    /// The column of a table that a column of a view shows as it is; any other is itself.
    pub(super) fn base_of(&self, column: ColumnId) -> ColumnId {
        self.views.base_of(column)
    }

    /// The sensitive columns of tables that a view's column draws from; any other is itself.
    pub(super) fn bases_of(&self, column: ColumnId) -> BTreeSet<ColumnId> {
        let mut bases = self.views.bases_of(column);
        bases.retain(|(relation, attribute)| self.category(*relation, *attribute).is_some());
        if bases.is_empty() { BTreeSet::from([column]) } else { bases }
    }

    /// Why the values of a column of this name are sensitive; `None` where nothing says so.
    pub fn category_of(&self, name: &ColumnName) -> Option<Category> {
        self.sensitivity.category(self.column_id(name)?)
    }

    /// Columns of users' relations.
    pub fn columns(&self) -> impl Iterator<Item = ColumnName> {
        let relations = self.data.relations().filter(|relation| !Self::is_system(relation.oid));
        relations.flat_map(|relation| {
            relation.columns.iter().map(|column| ColumnName {
                schema: relation.schema.to_string(),
                relation: relation.name.to_string(),
                column: column.name.to_string(),
            })
        })
    }

    pub fn column(&self, table_oid: u32, attribute: i16) -> Option<CatalogueColumn> {
        let relation = self.data.relation(table_oid)?;
        let name = ColumnName {
            schema: relation.schema.to_string(),
            relation: relation.name.to_string(),
            column: relation.attribute(attribute)?.name.to_string(),
        };
        let id = (table_oid, attribute);
        Some(CatalogueColumn {
            name,
            category: self.sensitivity.category(id),
            style: self.sensitivity.style(id),
            is_derived: self.sensitivity.is_derived(id),
        })
    }

    /// Users made functions in this database.
    pub fn has_functions(&self) -> bool {
        self.data.has_functions()
    }

    /// Why the values of a column are sensitive; `None` where nothing says so.
    pub fn category(&self, table_oid: u32, attribute: i16) -> Option<Category> {
        self.sensitivity.category((table_oid, attribute))
    }

    /// The same by name, label or ruling; not because it holds what another column holds.
    pub(super) fn own_category(&self, column: ColumnId) -> Option<Category> {
        match self.ruled.get(&column) {
            Some(Ruling::Sensitive(category)) => Some(*category),
            Some(Ruling::Dismissed) => None,
            None => self.named.category(column),
        }
    }

    /// The sensitive column that makes this one so, where it is not so by itself.
    pub(super) fn linked_to(&self, column: ColumnId) -> Option<ColumnId> {
        self.sensitivity.linked_to(column)
    }

    /// The ruling that holds for a column.
    pub(super) fn ruling(&self, column: ColumnId) -> Option<Ruling> {
        self.ruled.get(&column).copied()
    }

    /// The configuration says that its values are never sensitive, whatever they look like.
    pub fn is_shown(&self, table_oid: u32, attribute: i16) -> bool {
        self.sensitivity.is_shown((table_oid, attribute))
    }

    /// The only places in the documents of a sensitive column that are.
    pub fn places(&self, table_oid: u32, attribute: i16) -> Option<&Arc<[LabelledPlace]>> {
        self.sensitivity.places((table_oid, attribute))
    }

    /// All that a column holds: its own category, or those of the places in its documents.
    pub fn categories(&self, table_oid: u32, attribute: i16) -> Vec<Category> {
        let mut categories: Vec<Category> = self.category(table_oid, attribute).into_iter().collect();
        for place in self.places(table_oid, attribute).into_iter().flat_map(|places| places.iter()) {
            if !categories.contains(&place.category) {
                categories.push(place.category);
            }
        }
        categories
    }

    /// Sensitive columns that choose the rows of something that the statement reads or writes.
    pub(super) fn is_chosen(&self, statement: &Statement) -> bool {
        let anywhere = SearchPath::Unknown(String::new());
        let mut names = statement.reads.iter().chain(&statement.writes);
        self.sensitivity.any()
            && names.any(|name| {
                let found = self.data.resolve(name, &anywhere);
                found.candidates().iter().any(|relation| !self.view_chosen_by(relation.oid).is_empty())
            })
    }

    /// Sensitive columns that choose the rows of a view, or, by row policies, of a table.
    pub fn view_chosen_by(&self, view: model::Oid) -> &[model::ColumnId] {
        self.sensitivity.chosen_by(view)
    }

    /// What reading a view makes functions keep of sensitive columns: the column that it goes into, where that is known,
    /// and the one that it is from.
    pub fn view_keeps(&self, view: model::Oid) -> &[model::Copied] {
        self.sensitivity.kept_by(view)
    }

    /// A view's column is made of sensitive ones, and not one of them as it is.
    pub fn is_computed(&self, column: model::ColumnId) -> bool {
        self.sensitivity.is_computed(column)
    }

    /// A definition is in it that was taken apart: what it hides cannot be told.
    pub fn is_cut(&self, flow: &model::Flow) -> bool {
        flow.cut || flow.sources.iter().any(|column| self.is_cut_column(*column))
    }

    /// The same of a view's column.
    pub fn is_cut_column(&self, column: model::ColumnId) -> bool {
        self.views.is_cut(column)
    }

    /// Relations with sensitive columns.
    pub fn sensitive_relations(&self) -> impl Iterator<Item = model::Oid> {
        self.sensitivity.relations()
    }

    /// Some user relation has sensitive columns.
    pub fn any_sensitive(&self) -> bool {
        self.sensitivity.any()
    }

    /// The oid belongs to the system; those that show values are in the catalogue.
    pub fn is_system(table_oid: u32) -> bool {
        table_oid < FIRST_USER_OID
    }

    /// Sensitive columns of everything that `name` may mean; `None` where nothing of that name is known.
    pub fn sensitive_columns(&self, name: &RelationName) -> Option<BTreeSet<&str>> {
        let anywhere = SearchPath::Unknown(String::new());
        let mut found = None;
        for relation in self.data.resolve(name, &anywhere).candidates() {
            let found = found.get_or_insert_with(BTreeSet::new);
            if self.sensitivity.has(relation.oid) {
                let sensitive =
                    relation.columns.iter().filter(|c| self.category(relation.oid, c.attribute).is_some());
                found.extend(sensitive.map(|column| &*column.name));
            }
        }
        found.or_else(|| is_system_name(name).then(BTreeSet::new))
    }

    /// A function that users made, which may read anything, or one that shows other sessions' statements.
    pub fn is_opaque_function(&self, function: &FunctionName) -> bool {
        if SHOWS_VALUES_FUNCTIONS.contains(&function.name.as_str()) {
            return true;
        }
        function.schema.as_deref() != Some("pg_catalog") && self.data.is_user_function(&function.name)
    }

    /// A statement names something that this catalogue does not have, though it may have been made since: who asks
    /// again sees it. Not sooner than some times what a reading costs.
    pub(super) fn wants_again(&self, statement: &Statement, state: &SessionState, now: Timestamp) -> bool {
        let age = now.since_ns(self.loaded);
        if age <= self.reading_ns.saturating_mul(READINGS_PER_FUNCTION) {
            return false;
        }
        let unknown = |name: &FunctionName| {
            name.schema.as_deref() != Some("pg_catalog")
                && self.data.system_function(name).is_none()
                && self.data.user_functions(name, &state.search_path).is_empty()
        };
        if statement.functions.iter().any(unknown) {
            return true;
        }
        if age <= self.reading_ns.saturating_mul(READINGS_PER_RELATION) {
            return false;
        }
        let changed = statement.changes.iter().map(|change| &change.relation);
        // What is behind a dot is a field mostly.
        statement.dotted.iter().any(unknown)
            || statement.reads.iter().chain(changed).any(|name| {
                let temporary = name.schema.is_none() && state.temporary.get(&name.name).is_some();
                !temporary
                    && !is_system_name(name)
                    && name.schema.as_deref() != Some("pg_temp")
                    && self.data.resolve(name, &state.search_path).candidates().is_empty()
            })
    }

    /// Whether data of sensitive columns may flow through `mentions` of `statement`. Doubt is yes.
    pub fn may_carry_sensitive(&self, statement: &Statement, mentions: &Mentions) -> bool {
        if statement.unknown.is_some() {
            return self.sensitivity.any();
        }
        if self.sensitivity.any() && statement.calls().any(|f| self.is_opaque_function(f)) {
            return true;
        }
        statement.reads.iter().chain(&statement.writes).any(|relation| {
            match self.sensitive_columns(relation) {
                None => true,
                Some(sensitive) if sensitive.is_empty() => false,
                Some(sensitive) => {
                    // `p.f` calls a function f on the whole row of p.
                    let draws = |column: &String| {
                        sensitive.contains(column.as_str()) || self.data.is_user_function(column)
                    };
                    mentions.every_column || mentions.columns.iter().any(draws)
                }
            }
        })
    }

    /// Everything that `reached` does is known, and no relation in it has sensitive columns or is chosen by some: what its
    /// functions do with rows cannot depend on sensitive data, also where lineage does not follow them.
    pub fn is_free_of_sensitive(&self, reached: &Statement) -> bool {
        use model::StatementKind as K;
        let anywhere = SearchPath::Unknown(String::new());
        let is_free = |name: &RelationName| {
            let found = self.data.resolve(name, &anywhere);
            let free = |oid| !self.sensitivity.has(oid) && self.view_chosen_by(oid).is_empty();
            match found.candidates() {
                [] => is_system_name(name),
                some => some.iter().all(|relation| free(relation.oid)),
            }
        };
        let shows = |f: &FunctionName| SHOWS_VALUES_FUNCTIONS.contains(&f.name.as_str());
        reached.unknown.is_none()
            && !reached.kinds.iter().any(|k| matches!(k, K::Call | K::Do | K::Execute | K::Unknown))
            && !reached.functions.iter().any(shows)
            && reached.reads.iter().chain(&reached.writes).all(is_free)
    }

    /// Whether the statement reads a relation that has, or may have, sensitive columns.
    pub fn reads_sensitive(&self, statement: &Statement) -> bool {
        let all = Mentions { columns: Vec::new(), every_column: true };
        self.may_carry_sensitive(statement, &all)
    }
}

/// A relation of the system schemas that shows no values (those that do are in the catalogue).
fn is_system_name(name: &RelationName) -> bool {
    match name.schema.as_deref() {
        Some(schema) => schema == "pg_catalog" || schema == "information_schema",
        None => name.name.starts_with("pg_"),
    }
}
