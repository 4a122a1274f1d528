//! Expressions: the values that they draw from, and what only chooses among those.
//!
//! Operators, functions, casts and constructors pass on what goes in. Comparisons, tests and conditions choose. The
//! nodes below an expression wait on the heap, so its depth costs no stack.

use super::condition::{choice_of, compares};
use super::definitions::asks_for_a_sequence;
use super::documents;
use super::total;
use super::under::Under;
use super::value::{UNNAMED, Value};
use super::wholeness::Reach;
use super::{Analysis, Doubt};
use crate::engine::model::{ANY_KEY, FIRST_USER_OID, Form, FunctionName};
use crate::engine::sql::postgres::children::untyped;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{A_Expr, A_Indirection, JsonAggConstructor, SubLink};
use pg_raw_parse::raw::{A_Expr_Kind as E, JsonExprOp, SubLinkType as S};

/// What a part does in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its value is in the result.
    Flows,
    /// The same, but for some values it fails or gives NULL, and for others it does not.
    Computes,
    /// It chooses what is.
    Chooses(Form),
}

impl Part {
    /// What becomes of an operand where the operation tells values apart.
    pub fn computed(self) -> Self {
        match self {
            Self::Flows => Self::Computes,
            other => other,
        }
    }
}

/// Parts that wait to be read.
pub(super) type Work<'t> = Vec<(Node<'t>, Part)>;

impl<'t> Analysis<'_, 't> {
    pub(super) fn value(&mut self, node: Node<'t>) -> Result<Value, Doubt> {
        let mut node = node;
        while let Node::CollateClause(collate) = node {
            self.shared.spend(1)?;
            node = collate.arg();
        }
        match node {
            Node::ColumnRef(reference) => return self.column(reference.fields()),
            Node::A_Const(_) | Node::ParamRef(_) | Node::SQLValueFunction(_) => return Ok(Value::constant()),
            Node::SubLink(sub) if sub.sub_link_type == S::EXPR_SUBLINK => {
                return Ok(self.query(sub.subselect())?.scalar());
            }
            Node::A_Indirection(path) => {
                if let Some(value) = self.field(path)? {
                    return Ok(value);
                }
            }
            _ => {}
        }
        let whole_node = node;
        let mut total = Value::default();
        let mut work = vec![(node, Part::Flows)];
        let mut reaches = vec![(Reach::Whole, true, Under::default())];
        let outer = self.under.clone();
        while let (Some((node, part)), Some((reach, whole, under))) = (work.pop(), reaches.pop()) {
            self.shared.spend(1)?;
            let mut own = Value::default();
            self.under = under.clone();
            self.part(node, part, &mut own, &mut work)?;
            if work.len() > reaches.len() {
                let below = self.below(node, reach)?;
                let whole = whole && self.keeps_whole(node);
                for (_, of) in work.iter().skip(reaches.len()) {
                    reaches.push((below, whole, self.under(node, (part, *of), &own, &under)?));
                }
            }
            total.add(&own.reached(reach).kept(whole));
        }
        self.under = outer;
        total.alike = self.is_alike(whole_node)?;
        Ok(total)
    }

    fn take(&mut self, total: &mut Value, part: Part, value: &Value) -> Result<(), Doubt> {
        self.shared.spend(value.size())?;
        match part {
            Part::Flows => {
                if let Some(told) = self.chosen_by_keys(value) {
                    self.note(&told, Form::Choice);
                }
                total.add(value);
            }
            Part::Computes => {
                self.note(&self.told(value), Form::Computation);
                total.add(value);
            }
            Part::Chooses(form) => {
                let told = self.told(value);
                self.note(&told, form);
                told.asked.iter().flat_map(|asked| asked.iter()).for_each(|key| total.asks(key));
                total.add_implicit(value);
                // Which one comes first says little; whether it fits tells it letter by letter.
                (total.code, total.cut) = match form {
                    Form::Ordering => (total.code, total.cut),
                    _ => (total.code | value.code, total.cut | value.code),
                };
            }
        }
        Ok(())
    }

    fn part(
        &mut self,
        node: Node<'t>,
        part: Part,
        total: &mut Value,
        work: &mut Work<'t>,
    ) -> Result<(), Doubt> {
        let mut later = |node: Node<'t>| work.push((node, part));
        match node {
            Node::None
            | Node::A_Const(_)
            | Node::ParamRef(_)
            | Node::SQLValueFunction(_)
            | Node::SetToDefault(_)
            | Node::MergeSupportFunc(_)
            | Node::CurrentOfExpr(_)
            | Node::GroupingFunc(_)
            | Node::JsonFormat(_)
            | Node::String(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::BitString(_) => {}
            Node::ColumnRef(reference) => {
                let value = self.column(reference.fields())?;
                self.take(total, part, &value)?;
            }
            Node::NodeList(list) => list.iter().for_each(later),
            Node::CollateClause(collate) => later(collate.arg()),
            Node::NamedArgExpr(named) => later(named.arg()),
            Node::ResTarget(target) => later(target.val()),
            Node::TypeCast(cast) => {
                let functions = self.shared.names.catalogue.effects().anywhere();
                if !functions.is_empty() {
                    total.add(&self.shared.bodies(functions, Doubt::Cast)?);
                    self.note_operands(functions, [cast.arg()])?;
                }
                let keeps = self.is_total_cast(cast)?;
                work.push((cast.arg(), if keeps { part } else { part.computed() }));
            }
            Node::RowExpr(row) => row.args().iter().for_each(later),
            // Values that are brought to one type.
            Node::CoalesceExpr(coalesce) => {
                self.unasked_casts(total)?;
                coalesce.args().iter().for_each(later);
            }
            Node::MinMaxExpr(extreme) => {
                self.unasked_casts(total)?;
                for side in extreme.args() {
                    documents::compared([side, Node::None], total);
                    work.push((side, part));
                }
            }
            Node::A_ArrayExpr(array) => {
                self.unasked_casts(total)?;
                // Lists of different lengths do not fit into one.
                let part = if self.holds_lists(array)? { part.computed() } else { part };
                work.extend(array.elements().iter().map(|node| (node, part)));
            }
            // A bare boolean column is its own value; comparisons below choose. With OR, NULL hides true and not false.
            Node::BoolExpr(logic) => {
                work.extend(logic.args().iter().map(|node| (node, part.computed())));
            }
            Node::BooleanTest(test) => later(test.arg()),
            Node::MultiAssignRef(assign) => later(assign.source()),
            Node::SortBy(sort) => later(sort.node()),
            // Whether a value is there shows anyway: NULL stays NULL.
            Node::NullTest(test) if matches!(test.arg(), Node::ColumnRef(_)) => {
                self.value(test.arg())?;
            }
            Node::NullTest(test) => work.push((test.arg(), Part::Chooses(Form::Comparison))),
            Node::CaseExpr(case) => {
                self.unasked_casts(total)?;
                work.push((case.arg(), Part::Chooses(Form::Choice)));
                for when in case.args() {
                    let Node::CaseWhen(when) = when else { return Err(Doubt::Syntax) };
                    documents::compared([case.arg(), when.expr()], total);
                    work.push((when.expr(), Part::Chooses(Form::Choice)));
                    work.push((when.result(), part));
                }
                work.push((case.defresult(), part));
            }
            Node::A_Expr(expression) => self.operator(expression, part, total, work)?,
            Node::SubLink(sub) => self.sub_link(sub, part, total, work)?,
            Node::FuncCall(call) => self.call(call, part, total, work)?,
            Node::A_Indirection(path) => match self.field(path)? {
                Some(value) => self.take(total, part, &value)?,
                None => self.path(path, part, total, work)?,
            },
            Node::XmlExpr(xml) => {
                work.extend(xml.named_args().iter().map(|node| (node, part.computed())));
                work.extend(xml.args().iter().map(|node| (node, part.computed())));
            }
            Node::XmlSerialize(xml) => work.push((xml.expr(), part.computed())),
            // Keys that are NULL, twice there or not JSON fail.
            _ => self.json(node, part.computed(), total, work)?,
        }
        Ok(())
    }

    fn json(
        &mut self,
        node: Node<'t>,
        part: Part,
        total: &mut Value,
        work: &mut Work<'t>,
    ) -> Result<(), Doubt> {
        let mut later = |node: Node<'t>| work.push((node, part));
        match node {
            Node::JsonValueExpr(value) => {
                later(value.raw_expr());
                later(value.formatted_expr());
            }
            Node::JsonArgument(argument) => later(optional(argument.val())),
            Node::JsonBehavior(behaviour) => later(behaviour.expr()),
            Node::JsonKeyValue(pair) => {
                later(pair.key());
                later(optional(pair.value()));
            }
            Node::JsonObjectConstructor(object) => untyped(object.exprs()).iter().for_each(later),
            Node::JsonArrayConstructor(array) => untyped(array.exprs()).iter().for_each(later),
            Node::JsonParseExpr(parse) => later(optional(parse.expr())),
            Node::JsonScalarExpr(scalar) => later(scalar.expr()),
            Node::JsonSerializeExpr(serialize) => later(optional(serialize.expr())),
            Node::JsonIsPredicate(test) => work.push((test.expr(), Part::Chooses(Form::Comparison))),
            Node::JsonFuncExpr(call) => {
                let part = if call.op == JsonExprOp::JSON_EXISTS_OP {
                    Part::Chooses(Form::Comparison)
                } else {
                    part
                };
                let behaviours = [call.on_empty(), call.on_error()].into_iter().flatten();
                work.push((optional(call.context_item()), part));
                documents::path(call.pathspec(), total);
                work.push((call.pathspec(), part));
                work.extend(call.passing().iter().map(|argument| (argument, part)));
                work.extend(behaviours.map(|behaviour| (behaviour.expr(), part)));
            }
            Node::JsonObjectAgg(aggregate) => {
                if let Some(pair) = aggregate.arg() {
                    later(Node::JsonKeyValue(pair));
                }
                json_aggregate(aggregate.constructor(), work);
            }
            Node::JsonArrayAgg(aggregate) => {
                later(optional(aggregate.arg()));
                json_aggregate(aggregate.constructor(), work);
            }
            Node::JsonArrayQueryConstructor(array) => {
                let rows = self.query(array.query())?.scalar();
                self.take(total, part, &rows)?;
            }
            _ => total.doubt(Some(Doubt::Syntax)),
        }
        Ok(())
    }

    fn operator(
        &mut self,
        node: &'t A_Expr,
        part: Part,
        total: &mut Value,
        work: &mut Work<'t>,
    ) -> Result<(), Doubt> {
        let words = node.name();
        let name = words.iter().next_back().and_then(Node::as_str).unwrap_or(UNNAMED);
        let meant: &[&str] = match node.kind {
            E::AEXPR_BETWEEN | E::AEXPR_NOT_BETWEEN | E::AEXPR_BETWEEN_SYM | E::AEXPR_NOT_BETWEEN_SYM => {
                &["<=", ">=", "<", ">"]
            }
            _ => &[name],
        };
        self.unasked_casts(total)?;
        let in_system = words.len() > 1 && words.first().and_then(Node::as_str) == Some("pg_catalog");
        if !in_system {
            for name in meant {
                self.user_operator(name, total)?;
                let functions = self.shared.names.catalogue.effects().operators(name);
                self.note_operands(functions, [node.lexpr(), node.rexpr()])?;
            }
        }
        let (left, right) = (node.lexpr(), node.rexpr());
        if matches!(name, "->" | "->>" | "#>" | "#>>") {
            documents::of_path(right, total);
        }
        documents::of_operator(name, left, right, total);
        let chooses = Part::Chooses(choice_of(node.kind, name));
        if asks_for_a_sequence(node) {
            let value = self.value(left)?;
            if value.code && value.sources.iter().all(|(relation, _)| *relation < FIRST_USER_OID) {
                total.add_implicit(&value);
                return Ok(());
            }
        }
        let (left_part, right_part) = match node.kind {
            E::AEXPR_NULLIF => (part.computed(), chooses),
            E::AEXPR_OP if name == "||" && !self.is_made_by_users(name) => {
                let operands = total::joined(node);
                let keeps = self.are_short(operands.clone())?;
                let part = if keeps { part } else { part.computed() };
                work.extend(operands.into_iter().map(|operand| (operand, part)));
                return Ok(());
            }
            E::AEXPR_OP if !compares(name) || matches!(left, Node::None) => {
                let keeps = !self.is_made_by_users(name) && self.is_total_operator(name, left, right)?;
                let part = if keeps { part } else { part.computed() };
                (part, part)
            }
            E::AEXPR_OP
            | E::AEXPR_OP_ANY
            | E::AEXPR_OP_ALL
            | E::AEXPR_DISTINCT
            | E::AEXPR_NOT_DISTINCT
            | E::AEXPR_IN
            | E::AEXPR_LIKE
            | E::AEXPR_ILIKE
            | E::AEXPR_SIMILAR
            | E::AEXPR_BETWEEN
            | E::AEXPR_NOT_BETWEEN
            | E::AEXPR_BETWEEN_SYM
            | E::AEXPR_NOT_BETWEEN_SYM => {
                self.note_sides_of(node)?;
                (chooses, chooses)
            }
            _ => (part.computed(), part.computed()),
        };
        work.push((left, left_part));
        work.push((right, right_part));
        Ok(())
    }

    /// What operators of this name that users made add to their operands.
    fn user_operator(&self, name: &str, total: &mut Value) -> Result<(), Doubt> {
        let functions = self.shared.names.catalogue.effects().operators(name);
        if !functions.is_empty() {
            total.add(&self.shared.bodies(functions, Doubt::Operator)?);
        }
        Ok(())
    }

    fn sub_link(
        &mut self,
        sub: &'t SubLink,
        part: Part,
        total: &mut Value,
        work: &mut Work<'t>,
    ) -> Result<(), Doubt> {
        let rows = self.query(sub.subselect())?;
        self.shared.spend(rows.size())?;
        match sub.sub_link_type {
            S::EXISTS_SUBLINK => {
                total.implicit.extend(rows.chosen_by);
                total.doubt(rows.open.and_then(|open| open.unknown));
            }
            S::EXPR_SUBLINK | S::ARRAY_SUBLINK => self.take(total, part, &rows.scalar())?,
            S::ANY_SUBLINK | S::ALL_SUBLINK | S::ROWCOMPARE_SUBLINK => {
                let mut whole = rows.whole();
                if self.shared.is_whole_document(&whole) {
                    whole.asks(ANY_KEY);
                }
                self.note(&whole, Form::Comparison);
                whole.asked.iter().flat_map(|asked| asked.iter()).for_each(|key| total.asks(key));
                total.add_implicit(&whole);
                total.implicit.extend(rows.chosen_by);
                let operator = sub.oper_name().iter().next_back().and_then(Node::as_str).unwrap_or("=");
                self.user_operator(operator, total)?;
                work.push((sub.testexpr(), Part::Chooses(Form::Comparison)));
            }
            // Several columns at once, for UPDATE.
            _ => {
                let whole = rows.whole();
                self.take(total, part, &whole)?;
            }
        }
        Ok(())
    }

    /// A reference to a column, a row, or a field of a row.
    fn column(&mut self, fields: &NodeList) -> Result<Value, Doubt> {
        self.shared.spend(1)?;
        let star = matches!(fields.iter().next_back(), Some(Node::A_Star(_)));
        let names: Vec<&str> = fields.iter().filter_map(Node::as_str).collect();
        if star {
            let item = match names.as_slice() {
                [] => None,
                [name] => self.item(None, name),
                [.., schema, name] => self.item(Some(schema), name),
            };
            if let Some((level, index)) = item {
                return Ok(self.row_of(level, index));
            }
            if !names.is_empty() {
                return Ok(Value::unknown(Doubt::UnknownRelation));
            }
            let mut rows = super::Rows::default();
            self.star(None, &mut rows)?;
            return Ok(rows.whole());
        }
        match names.as_slice() {
            [name] => self.bare_name(name),
            [item, column] => self.row_field(None, item, column),
            // A database in front can only be this one.
            [schema, item, column] | [_, schema, item, column] => self.row_field(Some(schema), item, column),
            _ => Ok(Value::unknown(Doubt::Syntax)),
        }
    }

    fn row_field(&mut self, schema: Option<&str>, item: &str, column: &str) -> Result<Value, Doubt> {
        if let Some(value) = self.qualified_name(schema, item, column)? {
            return Ok(value);
        }
        let Some((level, index)) = self.item(schema, item) else {
            return Ok(Value::unknown(Doubt::UnknownColumn));
        };
        // `p.f` is f(p).
        let row = self.row_of(level, index);
        let mut total = Value::default();
        let function = FunctionName { schema: None, name: column.into() };
        self.named_call(&function, &row, &mut total)?;
        Ok(total)
    }

    /// `(p).id`: exactly that column, where `p` is an item of FROM; `None` for every other path.
    fn field(&mut self, path: &'t A_Indirection) -> Result<Option<Value>, Doubt> {
        let (Node::ColumnRef(row), fields) = (path.arg(), path.indirection()) else { return Ok(None) };
        let (1, 1, Some(name), Some(field)) = (
            row.fields().len(),
            fields.len(),
            row.fields().first().and_then(Node::as_str),
            fields.first().and_then(Node::as_str),
        ) else {
            return Ok(None);
        };
        // Only where the name is no column of any query around.
        if self.is_column(name)? || self.item(None, name).is_none() {
            return Ok(None);
        }
        Ok(Some(self.row_field(None, name, field)?))
    }

    /// Subscripts choose; what is behind a dot is part of what stands in front, or a function of it.
    fn path(
        &mut self,
        path: &'t A_Indirection,
        part: Part,
        total: &mut Value,
        work: &mut Work<'t>,
    ) -> Result<(), Doubt> {
        // A stored column's length shows, as NULL does; what was cut out of a value tells the value.
        let cuts = path.indirection().iter().any(|step| matches!(step, Node::A_Indices(_)));
        let plain = self.is_stored(path.arg())?;
        // Of a column of a composite type the first name is a field.
        let names = path.indirection().iter().filter(|step| matches!(step, Node::String(_))).count();
        let calls = names > usize::from(self.is_composite(path.arg())?);
        work.push((path.arg(), if calls || cuts && !plain { part.computed() } else { part }));
        for step in path.indirection() {
            match step {
                Node::A_Indices(indices) => {
                    documents::of_path(indices.uidx(), total);
                    work.push((indices.lidx(), Part::Chooses(Form::Choice)));
                    work.push((indices.uidx(), Part::Chooses(Form::Choice)));
                }
                Node::String(name) => {
                    let name = name.sval().unwrap_or(UNNAMED);
                    total.key(name);
                    self.dotted_call(path.arg(), name, total)?;
                }
                Node::A_Star(_) => {}
                _ => total.doubt(Some(Doubt::Syntax)),
            }
        }
        Ok(())
    }
}

impl<'t> Analysis<'_, 't> {
    /// `(value).name` is `name(value)` where there is a function of that name.
    fn dotted_call(&mut self, value: Node<'t>, name: &str, total: &mut Value) -> Result<(), Doubt> {
        let function = FunctionName { schema: None, name: name.into() };
        let catalogue = self.shared.names.catalogue;
        let is_users = !catalogue.user_functions(&function, self.path).is_empty();
        if is_users {
            total.doubt(Some(Doubt::Function));
        }
        if is_users || catalogue.system_function(&function).is_some() {
            let given = self.value(value)?;
            self.named_call(&function, &given, total)?;
        }
        Ok(())
    }

    /// A stored column of a composite type: a name behind its dot is a field first.
    fn is_composite(&mut self, node: Node<'t>) -> Result<bool, Doubt> {
        let stored = self.stored_type(node)?;
        Ok(stored.is_some_and(|oid| self.shared.names.catalogue.relation_of_type(oid).is_some()))
    }
}

pub(super) fn keys_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.trim_matches(['{', '}']).split(',').map(|word| word.trim().trim_matches('"'));
    // Places in lists are no keys.
    words.filter(|word| !word.is_empty() && word.parse::<i64>().is_err())
}

/// A part that may be missing.
fn optional<'t, T>(node: Option<&'t T>) -> Node<'t>
where
    Node<'t>: From<&'t T>,
{
    node.map_or(Node::None, Node::from)
}

fn json_aggregate<'t>(constructor: Option<&'t JsonAggConstructor>, work: &mut Work<'t>) {
    if let Some(constructor) = constructor {
        work.push((constructor.agg_filter(), Part::Chooses(Form::Choice)));
        work.extend(constructor.agg_order().iter().map(|order| (order, Part::Chooses(Form::Ordering))));
    }
}
