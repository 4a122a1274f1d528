//! What a database says about itself: relations, columns, functions, types.
//!
//! Data and look-up only. `session/catalogue` reads it on a client's own connection; what is sensitive in it, and what
//! a statement reaches through it, is said elsewhere. A name resolves as the server would resolve it in the session's
//! [`SearchPath`]; where that is not certain it resolves to everything that it may mean.
//!
//! Invariant: what was not read is [`Resolved::Unknown`], never absent: an object may have been made a moment ago.

use super::{FunctionName, RelationName, RowField, SearchPath, SideEffects, Stamps, TypeShape, Types};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A number by which the server knows an object.
pub type Oid = u32;

/// First oid of objects that users make (the server's FirstNormalObjectId).
pub const FIRST_USER_OID: Oid = 16_384;

/// One column of a base relation: the relation's oid and the attribute number (1 and up; 0: the whole row).
pub type ColumnId = (Oid, i16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RelationKind {
    Table,
    /// Holds no rows of its own; they are in its partitions.
    Partitioned,
    View,
    MaterializedView,
    Foreign,
    Sequence,
    Composite,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// 1 and up; dropped columns are left out, so numbers may have gaps.
    pub attribute: i16,
    pub name: Arc<str>,
    pub type_oid: Oid,
    /// The n of `varchar(n)`; 0: none.
    pub characters_max: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub oid: Oid,
    pub schema: Arc<str>,
    pub name: Arc<str>,
    pub kind: RelationKind,
    /// By attribute number.
    pub columns: Box<[Column]>,
    /// Tables it inherits from or is a partition of, nearest only.
    pub parents: Box<[Oid]>,
    /// The query of a view or materialised view, every name in it as an empty `search_path` reads it (schema-qualified).
    pub definition: Option<Arc<str>>,
    /// Rows that the planner believes in; `None` where it was never analysed.
    pub rows_estimate: Option<u64>,
}

impl Relation {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| &*column.name == name)
    }

    pub fn attribute(&self, number: i16) -> Option<&Column> {
        let at = self.columns.binary_search_by_key(&number, |column| column.attribute).ok()?;
        self.columns.get(at)
    }
}

/// The server's promise of what a function depends on (`pg_proc.provolatile`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Volatility {
    /// The arguments only.
    Immutable,
    /// Also tables and settings, but it changes nothing.
    Stable,
    /// Anything.
    Volatile,
}

/// How a function's body can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// SQL text.
    Sql(Arc<str>),
    /// PL/pgSQL text.
    PlPgSql(Arc<str>),
    /// Another language, or machine code: the language's name.
    Opaque(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub oid: Oid,
    pub schema: Arc<str>,
    pub name: Arc<str>,
    pub volatility: Volatility,
    pub is_aggregate: bool,
    pub returns_set: bool,
    /// Number of input arguments, and of those that have a default.
    pub arguments: u16,
    pub defaults: u16,
    pub is_variadic: bool,
    /// Names of the arguments where they have one, in order; empty where none has.
    pub argument_names: Box<[Arc<str>]>,
    pub return_type: Oid,
    /// Settings that it runs under (`SET search_path = …`), as written in the catalogue.
    pub settings: Box<[Arc<str>]>,
    pub body: Body,
}

/// What one name of the server's own functions stands for, over all its overloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemFunction {
    /// The least promise of any overload.
    pub volatility: Volatility,
    pub is_aggregate: bool,
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved<'a, T> {
    /// Exactly this.
    One(&'a T),
    /// One of these; which one depends on what is not known.
    Several(Vec<&'a T>),
    /// Nothing of this name was read.
    Unknown,
}

impl<'a, T> Resolved<'a, T> {
    /// All candidates; empty where nothing is known.
    pub fn candidates(&self) -> &[&'a T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
            Self::Unknown => &[],
        }
    }
}

/// Tells a database from every other: also from one of the same name, at the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DatabaseIdentity {
    /// As `pg_control_system()` tells it: the same on all standbys.
    pub cluster: i64,
    pub oid: Oid,
}

/// One database. Built once by [`Builder`], then only read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    relations: HashMap<Oid, Relation>,
    by_name: HashMap<Arc<str>, Box<[Oid]>>,
    /// Tables that inherit from one, or are its partitions; nearest only.
    children: HashMap<Oid, Box<[Oid]>>,
    /// Functions that users made, by bare name.
    functions: HashMap<Arc<str>, Box<[Function]>>,
    /// The server's own functions, by bare name.
    system_functions: HashMap<Box<str>, SystemFunction>,
    /// Where in `functions` the one with an oid is.
    function_places: HashMap<Oid, (Arc<str>, u32)>,
    effects: SideEffects,
    same_values: Vec<(ColumnId, ColumnId)>,
    generated: Vec<(ColumnId, ColumnId)>,
    remote_columns: HashMap<ColumnId, Box<str>>,
    remote_tables: HashMap<Oid, Box<str>>,
    /// Foreign tables that show files of the server, or what its programs print.
    of_files: HashSet<Oid>,
    /// Composite types and the row types of relations: type oid → relation oid.
    row_types: HashMap<Oid, Oid>,
    types: Arc<Types>,
    stamps: Stamps,
    constants: Vec<(Arc<[ColumnId]>, Arc<str>)>,
    constants_of_arguments: Vec<(Arc<str>, Arc<str>)>,
    has_more_constants: bool,
    identity: Option<DatabaseIdentity>,
    /// Columns under a collation by which different values may be equal.
    equal_loosely: HashSet<ColumnId>,
    /// Users made an operator `=` that may stand in for the server's own of text.
    has_text_equality_of_users: bool,
}

impl Catalogue {
    /// What values of each type are made of.
    pub fn types(&self) -> &Arc<Types> {
        &self.types
    }

    pub fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// The relation behind a row type.
    pub fn relation_of_type(&self, type_oid: Oid) -> Option<&Relation> {
        self.relations.get(self.row_types.get(&type_oid)?)
    }

    /// What `name` means to a session with `path`.
    ///
    /// Temporary relations are not in a catalogue (each session has its own): the caller looks for them first.
    pub fn resolve(&self, name: &RelationName, path: &SearchPath) -> Resolved<'_, Relation> {
        let named =
            || self.by_name.get(&*name.name).into_iter().flatten().filter_map(|oid| self.relations.get(oid));
        if let Some(schema) = &name.schema {
            return named().find(|r| *r.schema == **schema).map_or(Resolved::Unknown, Resolved::One);
        }
        match path.searched(false) {
            Some(schemas) => schemas
                .iter()
                .find_map(|schema| named().find(|r| *r.schema == **schema))
                .map_or(Resolved::Unknown, Resolved::One),
            None => several(named().collect()),
        }
    }

    /// Functions made by users that a call of `name` may run: every overload of every schema that is searched before
    /// the name is certain. Empty where it can only be one of the server's own, or is not known.
    pub fn user_functions(&self, name: &FunctionName, path: &SearchPath) -> Vec<&Function> {
        let Some(named) = self.functions.get(&*name.name) else { return Vec::new() };
        match (&name.schema, path.searched(true)) {
            (Some(schema), _) => named.iter().filter(|f| *f.schema == **schema).collect(),
            // An overload with better fitting arguments counts wherever it is on the path.
            (None, Some(schemas)) => named.iter().filter(|f| schemas.contains(&&*f.schema)).collect(),
            (None, None) => named.iter().collect(),
        }
    }

    /// The server's own function of this name, where the name may mean one.
    pub fn system_function(&self, name: &FunctionName) -> Option<SystemFunction> {
        if name.schema.as_deref().is_some_and(|schema| schema != "pg_catalog") {
            return None;
        }
        self.system_functions.get(name.name.as_str()).copied()
    }

    /// Some user made some function.
    pub fn has_user_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// Some user made a function of this name, in whatever schema.
    pub fn is_user_function(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    pub fn has_functions(&self) -> bool {
        !self.functions.is_empty()
    }

    /// A function that users made.
    pub fn function(&self, oid: Oid) -> Option<&Function> {
        let (name, at) = self.function_places.get(&oid)?;
        self.functions.get(name)?.get(*at as usize)
    }

    /// Some user made an operator of this name, in whatever schema.
    pub fn is_user_operator(&self, name: &str) -> bool {
        self.effects.is_operator(name)
    }

    /// `=` may be some user's own operator where text is compared.
    pub fn has_text_equality_of_users(&self) -> bool {
        self.has_text_equality_of_users
    }

    /// A column of `text` or `varchar` whose values are equal only where they are the same.
    pub fn compares_as_text(&self, column: ColumnId) -> bool {
        let found = self.relation(column.0).and_then(|relation| relation.attribute(column.1));
        found.is_some_and(|found| matches!(found.type_oid, TEXT | VARCHAR))
            && !self.equal_loosely.contains(&column)
    }

    /// Columns of foreign keys, with those that they reference.
    pub fn same_values(&self) -> &[(ColumnId, ColumnId)] {
        &self.same_values
    }

    /// Generated columns, each with the columns that it is computed from.
    pub fn generated(&self) -> &[(ColumnId, ColumnId)] {
        &self.generated
    }

    /// Relation and column as they are called on the other server, where this is a column of a foreign table and they
    /// are called otherwise there.
    pub fn remote_names<'a>(
        &'a self,
        relation: &'a Relation,
        column: &'a Column,
    ) -> Option<(&'a str, &'a str)> {
        let table = self.remote_tables.get(&relation.oid).map(AsRef::as_ref);
        let name = self.remote_columns.get(&(relation.oid, column.attribute)).map(AsRef::as_ref);
        (table.is_some() || name.is_some())
            .then(|| (table.unwrap_or(&relation.name), name.unwrap_or(&column.name)))
    }

    /// A foreign table that shows a file of the server, or what a program of it prints.
    pub fn is_of_files(&self, relation: Oid) -> bool {
        self.of_files.contains(&relation)
    }

    /// Constants in defaults, checks, bounds, policies and predicates, each with a column that it is compared with or put
    /// into, as far as the server tells.
    pub fn constants(&self) -> &[(Arc<[ColumnId]>, Arc<str>)] {
        &self.constants
    }

    /// Constants in defaults of functions' arguments, and what the argument is called.
    pub fn constants_of_arguments(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.constants_of_arguments
    }

    /// Definitions have more of both than are kept, or were not read. `of_columns`: those of columns matter too.
    pub fn has_more_constants(&self, of_columns: bool) -> bool {
        of_columns && self.has_more_constants || self.constants_of_arguments.len() >= CONSTANTS_COUNT_MAX
    }

    /// Which database it is; `None` where the server does not tell.
    pub fn identity(&self) -> Option<DatabaseIdentity> {
        self.identity
    }

    /// Which versions of its definitions were read.
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Relations of this name, in whatever schema.
    pub fn relations_named(&self, name: &str) -> impl Iterator<Item = &Relation> {
        self.by_name.get(name).into_iter().flatten().filter_map(|oid| self.relations.get(oid))
    }

    /// Functions that users made of this name, in whatever schema.
    pub fn functions_named(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], |functions| functions)
    }

    /// What runs or changes without being named.
    pub fn effects(&self) -> &SideEffects {
        &self.effects
    }

    /// Direct children of a table: those that inherit from it, or its partitions.
    pub fn children(&self, oid: Oid) -> &[Oid] {
        self.children.get(&oid).map_or(&[], |children| children)
    }
}

fn several<T>(mut found: Vec<&T>) -> Resolved<'_, T> {
    match found.len() {
        0 => Resolved::Unknown,
        1 => found.pop().map_or(Resolved::Unknown, Resolved::One),
        _ => Resolved::Several(found),
    }
}

/// Takes what was read, in any order.
#[derive(Debug, Default)]
pub struct Builder {
    pub effects: SideEffects,
    /// Types of users; composites are known by their relations.
    pub types: Types,
    pub stamps: Stamps,
    catalogue: Catalogue,
    by_name: HashMap<Arc<str>, Vec<Oid>>,
    children: HashMap<Oid, Vec<Oid>>,
    functions: HashMap<Arc<str>, Vec<Function>>,
    names: std::collections::HashSet<Arc<str>>,
}

impl Builder {
    /// Columns of a foreign key: what references and what is referenced.
    pub fn same_values(&mut self, referenced: ColumnId, referencing: ColumnId) {
        self.catalogue.same_values.push((referenced, referencing));
    }

    /// As [`Catalogue::identity`].
    pub fn identity(&mut self, identity: DatabaseIdentity) {
        self.catalogue.identity = Some(identity);
    }

    /// A constant in a definition, which may be a value of any of these columns.
    pub fn constant(&mut self, columns: &Arc<[ColumnId]>, constant: &str) {
        if self.catalogue.constants.len() < CONSTANTS_COUNT_MAX {
            self.catalogue.constants.push((columns.clone(), constant.into()));
        } else {
            self.misses_constants();
        }
    }

    /// Not all definitions were read.
    pub fn misses_constants(&mut self) {
        self.catalogue.has_more_constants = true;
    }

    /// A constant in the default of an argument of this name.
    pub fn constant_of_argument(&mut self, name: &str, constant: &str) {
        if self.catalogue.constants_of_arguments.len() < CONSTANTS_COUNT_MAX {
            let name = self.intern(name);
            self.catalogue.constants_of_arguments.push((name, constant.into()));
        }
    }

    /// A generated column, and one that it is computed from.
    pub fn generated(&mut self, column: ColumnId, from: ColumnId) {
        self.catalogue.generated.push((column, from));
    }

    /// What a foreign table's column is called where its values are.
    pub fn remote_column(&mut self, column: ColumnId, name: &str) {
        self.catalogue.remote_columns.insert(column, name.into());
    }

    /// What a foreign table is called where its rows are.
    pub fn remote_table(&mut self, table: Oid, name: &str) {
        self.catalogue.remote_tables.insert(table, name.into());
    }

    /// A foreign table that shows a file of the server, or what a program of it prints.
    pub fn reads_files(&mut self, table: Oid) {
        self.catalogue.of_files.insert(table);
    }

    /// A column under a collation by which different values may be equal.
    pub fn equal_loosely(&mut self, column: ColumnId) {
        self.catalogue.equal_loosely.insert(column);
    }

    /// Users made an operator `=` whose operands are not both of their own types.
    pub fn text_equality_of_users(&mut self) {
        self.catalogue.has_text_equality_of_users = true;
    }

    /// One copy of each name, however many columns have it.
    pub fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    /// `relation.columns` are sorted here. `row_type` is the oid of its row type; 0 where it has none.
    pub fn relation(&mut self, mut relation: Relation, row_type: Oid) {
        relation.columns.sort_unstable_by_key(|column| column.attribute);
        for parent in &relation.parents {
            self.children.entry(*parent).or_default().push(relation.oid);
        }
        self.by_name.entry(relation.name.clone()).or_default().push(relation.oid);
        if row_type != 0 {
            self.catalogue.row_types.insert(row_type, relation.oid);
        }
        self.catalogue.relations.insert(relation.oid, relation);
    }

    pub fn function(&mut self, function: Function) {
        self.functions.entry(function.name.clone()).or_default().push(function);
    }

    pub fn system_function(&mut self, name: &str, function: SystemFunction) {
        let known = self.catalogue.system_functions.entry(name.into()).or_insert(function);
        known.volatility = known.volatility.max(function.volatility);
        known.is_aggregate |= function.is_aggregate;
    }

    /// An operator that users made, and the function behind it.
    pub fn user_operator(&mut self, name: &str, function: Oid) {
        self.effects.operator(name, function);
    }

    pub fn finish(self) -> Catalogue {
        let boxed = |lists: HashMap<Oid, Vec<Oid>>| lists.into_iter().map(|(k, v)| (k, v.into())).collect();
        let mut function_places = HashMap::new();
        for (name, all) in &self.functions {
            for (at, function) in (0..).zip(all) {
                function_places.insert(function.oid, (name.clone(), at));
            }
        }
        let mut types = self.types;
        for (row_type, relation) in &self.catalogue.row_types {
            if let Some(relation) = self.catalogue.relations.get(relation) {
                let field = |c: &Column| RowField { name: c.name.clone(), type_oid: c.type_oid };
                let fields = relation.columns.iter().map(field).collect();
                types.add(*row_type, TypeShape::Composite { fields: Some(fields) });
            }
        }
        let mut catalogue = Catalogue {
            types: Arc::new(types),
            by_name: self.by_name.into_iter().map(|(name, oids)| (name, oids.into())).collect(),
            children: boxed(self.children),
            functions: self.functions.into_iter().map(|(name, all)| (name, all.into())).collect(),
            function_places,
            effects: self.effects,
            stamps: self.stamps,
            ..self.catalogue
        };
        catalogue.relations.shrink_to_fit();
        catalogue.same_values.shrink_to_fit();
        catalogue.generated.shrink_to_fit();
        catalogue.by_name.shrink_to_fit();
        catalogue.row_types.shrink_to_fit();
        catalogue
    }
}

const TEXT: Oid = 25;
const VARCHAR: Oid = 1043;
/// Far more than definitions hold.
const CONSTANTS_COUNT_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(oid: Oid, schema: &str, name: &str) -> Relation {
        Relation {
            oid,
            schema: schema.into(),
            name: name.into(),
            kind: RelationKind::Table,
            columns: Box::default(),
            parents: Box::default(),
            definition: None,
            rows_estimate: None,
        }
    }

    fn name(schema: Option<&str>, name: &str) -> RelationName {
        RelationName { schema: schema.map(Into::into), name: name.into() }
    }

    #[test]
    fn a_name_means_the_first_of_the_path_and_everything_where_the_path_is_not_known() {
        let mut builder = Builder::default();
        builder.relation(relation(20_001, "public", "people"), 0);
        builder.relation(relation(20_002, "app", "people"), 0);
        builder.relation(relation(1_259, "pg_catalog", "pg_class"), 0);
        let catalogue = builder.finish();
        let known = |schemas: &[&str]| SearchPath::Known(schemas.iter().map(|s| s.to_string()).collect());
        let oids = |n: &RelationName, path: &SearchPath| -> Vec<Oid> {
            let mut oids: Vec<Oid> = catalogue.resolve(n, path).candidates().iter().map(|r| r.oid).collect();
            oids.sort_unstable();
            oids
        };
        assert_eq!(oids(&name(None, "people"), &known(&["app", "public"])), [20_002]);
        assert_eq!(oids(&name(None, "people"), &known(&["public", "app"])), [20_001]);
        assert_eq!(oids(&name(Some("public"), "people"), &known(&["app"])), [20_001]);
        assert_eq!(oids(&name(None, "people"), &SearchPath::Unknown("SET by code".into())), [20_001, 20_002]);
        assert_eq!(oids(&name(None, "pg_class"), &known(&["app"])), [1_259]);
        assert!(oids(&name(None, "people"), &known(&["other"])).is_empty());
    }

    #[test]
    fn a_system_function_keeps_the_least_promise_of_its_overloads() {
        let mut builder = Builder::default();
        for volatility in [Volatility::Immutable, Volatility::Stable, Volatility::Immutable] {
            builder.system_function("to_char", SystemFunction { volatility, is_aggregate: false });
        }
        let catalogue = builder.finish();
        let function = |schema: Option<&str>| {
            catalogue
                .system_function(&FunctionName { schema: schema.map(Into::into), name: "to_char".into() })
        };
        assert_eq!(function(None).unwrap().volatility, Volatility::Stable);
        assert_eq!(function(Some("pg_catalog")), function(None));
        assert_eq!(function(Some("public")), None);
    }
}
