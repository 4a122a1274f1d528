//! Calls: what comes out of a function beside what goes in.
//!
//! The server's own functions that promise to depend on their arguments alone pass those on; of the rest
//! `known_functions.rs` says which do too, and why. Of functions that users made a body in SQL is read; others may
//! return anything.

use super::definitions::writes_code;
use super::documents;
use super::expression::{Part, Work};
use super::known_functions::{Known, known, out_columns, returns_a_set};
use super::settings::reads_secret;
use super::total::is_given;
use super::value::{COUNT_IN_DOUBT, Rows, Value};
use super::wholeness::Reach;
use super::{Analysis, Doubt, Shared, parse};
use crate::engine::model::{
    ANY_KEY, Body, Clause, ColumnId, Form, Function, FunctionName, Oid, SearchPath, SideEffects, Temporary,
    Volatility,
};
use crate::engine::sql::postgres::children::untyped;
use crate::engine::sql::postgres::objects;
use pg_raw_parse::nodes::{FuncCall, WindowDef};
use pg_raw_parse::{ConstValue, Node};
use std::sync::Arc;

/// A function in FROM: its rows, and the name that they have without an alias.
pub(super) struct Call {
    pub name: Option<Arc<str>>,
    pub rows: Rows,
    /// It has one column, or those of a row.
    pub is_guess: bool,
}

impl<'t> Analysis<'_, 't> {
    /// A call within an expression.
    pub(super) fn call(
        &mut self,
        call: &'t FuncCall,
        part: Part,
        total: &mut Value,
        work: &mut Work<'t>,
    ) -> Result<(), Doubt> {
        let Some(name) = objects::function(call.funcname()) else { return Err(Doubt::Syntax) };
        let what = self.does(&name, total)?;
        self.note_call(&name, call.args())?;
        documents::of_call(&name.name, call, total);
        total.code |= writes_code(&name) || reads_secret(&name.name, call);
        let aggregates = call.over().is_some()
            || call.agg_within_group
            || self.shared.names.catalogue.system_function(&name).is_none_or(|f| f.is_aggregate);
        if aggregates && let Some(level) = self.levels.last() {
            total.implicit.extend(&level.counted_by);
            if total.implicit.remove(&COUNT_IN_DOUBT) {
                total.doubt(Some(Doubt::Temporary));
            }
        }
        if aggregates {
            self.shared.condenses();
        }
        let arguments = match what {
            Known::Passes if self.is_total(&name, call)? => part,
            Known::Passes => part.computed(),
            Known::Nothing | Known::Counts => Part::Chooses(Form::Computation),
            Known::Setting => {
                if !is_plain_setting(call) {
                    total.doubt(Some(Doubt::Function));
                }
                part
            }
        };
        for argument in call.args() {
            // How many values there are shows no value, nor does which kind it is.
            if what == Known::Counts && (self.is_stored(argument)? || self.is_row(argument)?) {
                if call.agg_distinct {
                    let value = self.value(argument)?;
                    self.note_in(Clause::Distinct, &value, Form::Grouping);
                }
                continue;
            }
            work.push((argument, arguments));
        }
        let order = if call.agg_within_group { part.computed() } else { Part::Chooses(Form::Ordering) };
        work.extend(untyped(call.agg_order()).iter().map(|by| (by, order)));
        work.push((call.agg_filter(), Part::Chooses(Form::Choice)));
        if let Some(window) = call.over() {
            self.window(window, total, work);
        }
        if self.gives_many(&name) {
            self.note_many(&name.name, call)?;
        }
        Ok(())
    }

    /// How many rows it makes may tell the value itself: `generate_series(1, salary)`.
    fn note_many(&mut self, name: &str, call: &'t FuncCall) -> Result<(), Doubt> {
        let shared = self.shared;
        let mut told = Value::default();
        shared.nested(|| {
            for argument in call.args() {
                told.add(&self.value(argument)?);
            }
            Ok(())
        })?;
        let are_stored = self.are_stored(call)?;
        self.note_rows(name, &told, are_stored);
        self.level().counted_by.extend(told.all());
        Ok(())
    }

    /// Its arguments are columns as they are, and what whoever asks knows.
    fn are_stored(&mut self, call: &'t FuncCall) -> Result<bool, Doubt> {
        for argument in call.args() {
            if !is_given(argument) && !self.is_stored(argument)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn window(&mut self, window: &'t WindowDef, total: &mut Value, work: &mut Work<'t>) {
        if (window.name().is_some() || window.refname().is_some())
            && let Some(level) = self.levels.last()
        {
            total.add_implicit(&level.windows);
        }
        work.extend(window_parts(window).map(|by| (by, Part::Chooses(Form::Ordering))));
    }

    /// The parts of a window that WINDOW names.
    pub(super) fn define_window(&mut self, window: &'t WindowDef) -> Result<(), Doubt> {
        let mut windows = Value::default();
        for by in window_parts(window) {
            let mut work = vec![by];
            while let Some(node) = work.pop() {
                match node {
                    Node::SortBy(sort) => work.push(sort.node()),
                    Node::None => {}
                    node => {
                        let value = self.as_one(Clause::Window, Form::Ordering, node)?;
                        windows.add_implicit(&value);
                    }
                }
            }
        }
        self.level().windows.add(&windows);
        Ok(())
    }

    /// A call by name with its arguments' value at hand: `p.f`, functions in FROM.
    pub(super) fn named_call(
        &mut self,
        name: &FunctionName,
        arguments: &Value,
        total: &mut Value,
    ) -> Result<(), Doubt> {
        let what = self.does(name, total)?;
        self.note_call_of(name, arguments)?;
        let passed = arguments.clone().reached(self.of_function(name, Reach::Whole)).kept(is_unnest(name));
        total.code |= writes_code(name);
        match what {
            Known::Passes => total.add(&passed),
            Known::Nothing | Known::Counts => total.add_implicit(arguments),
            Known::Setting => {
                total.add(&passed);
                total.doubt(Some(Doubt::Function));
            }
        }
        Ok(())
    }

    /// What a call of this name does with its arguments; what comes out beside them is added to `total`.
    fn does(&mut self, name: &FunctionName, total: &mut Value) -> Result<Known, Doubt> {
        let catalogue = self.shared.names.catalogue;
        let users = catalogue.user_functions(name, self.path);
        let system = catalogue.system_function(name);
        self.shared.spend(1 + users.len())?;
        self.unasked_casts(total)?;
        for function in &users {
            let body = self.shared.body(function)?;
            self.shared.spend(body.size())?;
            total.add(&body);
        }
        let listed = system.and_then(|_| known(&name.name));
        match (users.is_empty(), system, listed) {
            (true, None, _) => {
                total.doubt(Some(Doubt::Function));
                Ok(Known::Passes)
            }
            (true, Some(_), Some(known)) => Ok(known),
            (_, Some(system), None) if system.volatility != Volatility::Immutable => {
                total.doubt(Some(Doubt::Function));
                Ok(Known::Passes)
            }
            _ => Ok(Known::Passes),
        }
    }

    /// `p` or `p.*`, the row of an item of FROM: it is there whatever is in it.
    fn is_row(&self, node: Node<'t>) -> Result<bool, Doubt> {
        let Node::ColumnRef(reference) = node else { return Ok(false) };
        let fields = reference.fields();
        if matches!(fields.iter().next_back(), Some(Node::A_Star(_))) {
            return Ok(true);
        }
        let (1, Some(name)) = (fields.len(), fields.first().and_then(Node::as_str)) else { return Ok(false) };
        Ok(!self.is_column(name)? && self.item(None, name).is_some())
    }

    /// The server may convert any operand by a cast that is not in the text.
    pub(super) fn unasked_casts(&self, total: &mut Value) -> Result<(), Doubt> {
        let casts = self.shared.names.catalogue.effects().unasked_casts();
        if !casts.is_empty() {
            total.add(&self.shared.bodies(casts, Doubt::Cast)?);
        }
        Ok(())
    }

    fn gives_many(&self, name: &FunctionName) -> bool {
        let users = self.shared.names.catalogue.user_functions(name, self.path);
        returns_a_set(&name.name) || users.iter().any(|function| function.returns_set)
    }

    /// A function in FROM. `alias` names its only column where the function does not.
    pub(super) fn table_function(&mut self, call: &'t FuncCall, alias: Option<&str>) -> Result<Call, Doubt> {
        let Some(name) = objects::function(call.funcname()) else { return Err(Doubt::Syntax) };
        let mut arguments = Value::default();
        let mut each = Vec::new();
        for argument in call.args() {
            let value = self.value(argument)?;
            self.shared.spend(value.size())?;
            arguments.add(&value);
            each.push(value);
        }
        let are_stored = self.are_stored(call)?;
        let mut asked = Value::default();
        documents::of_call(&name.name, call, &mut asked);
        let mut told = arguments.clone();
        if documents::chooses(Node::FuncCall(call)) {
            told.add(&asked);
        }
        let outer = std::mem::replace(&mut self.clause, Clause::From);
        self.note_rows(&name.name, &told, are_stored);
        self.clause = outer;
        let mut value = Value::default();
        self.named_call(&name, &arguments, &mut value)?;
        value.code |= reads_secret(&name.name, call);
        let keys = value.clone();
        value.add(&asked);
        if matches!(known(&name.name), Some(Known::Setting)) && is_plain_setting(call) {
            value.unknown = None;
        }
        let function_name: Arc<str> = name.name.as_str().into();
        let single = || alias.map_or_else(|| function_name.clone(), Into::into);
        let users = self.shared.names.catalogue.user_functions(&name, self.path);
        let is_pairs = |function: &&Function| {
            &*function.name == "each"
                && self.shared.names.catalogue.effects().extension(function.oid) == Some("hstore")
        };
        let columns: Option<Vec<(Arc<str>, Value)>> = if !users.is_empty() && users.iter().all(is_pairs) {
            Some(vec![("key".into(), keys), ("value".into(), value.clone())])
        } else if let [function] = users.as_slice() {
            let row = self.shared.names.catalogue.relation_of_type(function.return_type);
            row.map(|row| row.columns.iter().map(|c| (c.name.clone(), value.clone())).collect())
        } else if !users.is_empty() {
            None
        } else if name.name == "unnest" && each.len() > 1 {
            // Several arrays side by side.
            Some(each.into_iter().map(|value| (function_name.clone(), value)).collect())
        } else {
            match out_columns(&name.name) {
                Some([]) => Some(vec![(single(), value.clone())]),
                Some(["key", "value"]) => Some(vec![("key".into(), keys), ("value".into(), value.clone())]),
                Some(names) => Some(names.iter().map(|n| (Arc::from(*n), value.clone())).collect()),
                None => None,
            }
        };
        let mut is_guess = false;
        if name.name == "unnest" && users.is_empty() {
            for argument in call.args() {
                is_guess |= !self.is_never_a_row(argument)?;
            }
        }
        // Its columns are keys, and nobody says which.
        if columns.is_none() && name.name.contains("_populate_record") {
            value.asks(ANY_KEY);
        }
        let rows = match columns {
            Some(columns) => Rows { columns, open: is_guess.then_some(value), ..Rows::default() },
            None => Rows::open(value),
        };
        Ok(Call { name: Some(function_name), rows, is_guess })
    }

    /// A value, or an array of such, that surely has no fields: in FROM it is one column.
    pub(super) fn is_never_a_row(&mut self, node: Node<'t>) -> Result<bool, Doubt> {
        let mut work = vec![node];
        while let Some(node) = work.pop() {
            self.shared.spend(1)?;
            let is_plain = match node {
                Node::A_Const(_) | Node::ParamRef(_) | Node::SQLValueFunction(_) => true,
                Node::A_ArrayExpr(array) => {
                    work.extend(array.elements().iter());
                    true
                }
                Node::TypeCast(cast) => cast.type_name().is_some_and(|name| {
                    let mut words = name.names().iter().filter_map(|word| word.sval());
                    match (words.next(), words.next(), words.next()) {
                        (Some("pg_catalog"), Some(name), None) => PLAIN_TYPES.binary_search(&name).is_ok(),
                        (Some(name), None, None) => {
                            self.means_the_servers(name) && PLAIN_TYPES.binary_search(&name).is_ok()
                        }
                        _ => false,
                    }
                }),
                Node::FuncCall(call) => objects::function(call.funcname()).is_some_and(|name| {
                    let catalogue = self.shared.names.catalogue;
                    ARRAYS_OF_TEXT.contains(&name.name.as_str())
                        && catalogue.user_functions(&name, self.path).is_empty()
                }),
                Node::ColumnRef(_) => {
                    let value = self.value(node)?;
                    value.exact
                        && !value.sources.is_empty()
                        && value.unknown.is_none()
                        && value.sources.iter().all(|id| self.is_of_plain_type(*id))
                }
                _ => false,
            };
            if !is_plain {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// No row type of users hides the server's type of this name.
    fn means_the_servers(&self, name: &str) -> bool {
        if !matches!((self.shared.names.temporary)(name), Temporary::None) {
            return false;
        }
        match self.path {
            SearchPath::Known(schemas) => schemas.iter().skip(1).all(|schema| &**schema != "pg_catalog"),
            _ => false,
        }
    }

    fn is_of_plain_type(&self, (relation, attribute): ColumnId) -> bool {
        let relation = self.shared.names.catalogue.relation(relation);
        let column = relation.and_then(|relation| relation.attribute(attribute));
        column.is_some_and(|column| column.type_oid < GENERATED_OID && !ROW_TYPES.contains(&column.type_oid))
    }
}

/// It gives the elements of a list as they are.
fn is_unnest(name: &FunctionName) -> bool {
    matches!(name.name.as_str(), "unnest" | "pg_get_expr" | "json_array_elements" | "jsonb_array_elements")
}

/// `current_setting('search_path')`: a setting of the server's own, which no statement can fill with data.
fn is_plain_setting(call: &FuncCall) -> bool {
    let mut node = call.args().first().unwrap_or(Node::None);
    if let Node::TypeCast(cast) = node {
        node = cast.arg();
    }
    match node {
        Node::A_Const(literal) => {
            matches!(literal.val(), Some(ConstValue::String(name)) if !name.contains('.'))
        }
        _ => false,
    }
}

fn window_parts(window: &WindowDef) -> impl Iterator<Item = Node<'_>> {
    let order = untyped(window.order_clause()).iter();
    window.partition_clause().iter().chain(order).chain([window.start_offset(), window.end_offset()])
}

impl Shared<'_> {
    /// What comes out of one of these functions, beside its arguments: of operators and casts, which are known by what
    /// they call.
    pub(super) fn bodies(&self, functions: &[Oid], else_doubt: Doubt) -> Result<Value, Doubt> {
        let mut total = Value::default();
        for oid in functions {
            match self.names.catalogue.function(*oid) {
                Some(function) => {
                    let body = self.body(function)?;
                    self.spend(body.size())?;
                    total.add(&body);
                }
                None => total.doubt(Some(else_doubt)),
            }
        }
        Ok(total)
    }

    /// What comes out of a function that users made, beside its arguments.
    fn body(&self, function: &Function) -> Result<Value, Doubt> {
        if let Some(found) = self.bodies.borrow().get(&function.oid) {
            // Still being read: it calls itself.
            return Ok(found.clone().unwrap_or_else(|| Value::unknown(Doubt::Function)));
        }
        self.bodies.borrow_mut().insert(function.oid, None);
        let effects = self.names.catalogue.effects();
        let value = self.nested(|| match &function.body {
            _ if is_pure(effects, function.oid) => Ok(Value::default()),
            Body::Sql(text) => self.sql_body(text, &function.argument_names),
            // Only a superuser makes those; the promise is about the arguments.
            Body::Opaque(language) if matches!(&**language, "c" | "internal") => {
                Ok(match function.volatility {
                    Volatility::Immutable if !function.is_aggregate => Value::default(),
                    _ => Value::unknown(Doubt::Function),
                })
            }
            Body::PlPgSql(_) | Body::Opaque(_) => Ok(Value::unknown(Doubt::Function)),
        });
        let value = match value {
            Ok(value) => value,
            // One body too deep or not understood makes its result unknown, not the statement.
            Err(why @ (Doubt::Unparsed | Doubt::Syntax | Doubt::TooDeep)) => Value::unknown(why),
            Err(why) => return Err(why),
        };
        self.bodies.borrow_mut().insert(function.oid, Some(value.clone()));
        Ok(value)
    }

    /// The result of the last command of a body, whichever schema its names mean: the path that it runs under may be
    /// its own.
    fn sql_body(&self, text: &str, parameters: &[Arc<str>]) -> Result<Value, Doubt> {
        let path = SearchPath::Unknown(String::new());
        let mut analysis = self.analysis(&path);
        analysis.parameters = parameters;
        self.spend(text.len() / 16)?;
        let tree = parse(text)?;
        let last = tree.iter().next_back().map_or(Node::None, |command| command.stmt());
        let mut value = match last {
            Node::None => Value::default(),
            statement => analysis.command(statement)?.map(|rows| rows.whole()).unwrap_or_default(),
        };
        value.exact = false;
        value.alike = false;
        Ok(value)
    }
}

/// It is of an extension whose functions compute.
pub(super) fn is_pure(effects: &SideEffects, function: Oid) -> bool {
    effects.extension(function).is_some_and(|name| PURE_EXTENSIONS.contains(&name))
}

/// Types of the server from here on may be rows of its catalogue.
const GENERATED_OID: Oid = 10_000;
/// record, pg_type, pg_attribute, pg_proc, pg_class, and arrays of them.
const ROW_TYPES: [Oid; 10] = [71, 75, 81, 83, 210, 270, 272, 273, 2_249, 2_287];
/// Types without fields, as they are written in casts.
const PLAIN_TYPES: [&str; 23] = [
    "bool",
    "bpchar",
    "bytea",
    "cidr",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "name",
    "numeric",
    "oid",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar",
];
const ARRAYS_OF_TEXT: [&str; 3] = ["regexp_match", "regexp_split_to_array", "string_to_array"];

/// Extensions whose functions compute: from their arguments, settings, dictionaries and randomness.
const PURE_EXTENSIONS: [&str; 15] = [
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "unaccent",
    "uuid-ossp",
    "vector",
];
