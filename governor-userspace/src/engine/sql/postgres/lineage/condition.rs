//! Conditions: what a statement answers with besides values, and which columns have a say in it.
//!
//! A predicate, a sort key, a group, a join, a limit: each is noted where it is read, with the columns that it draws from.
//! So are choices within a value, and computations that fail or give NULL for some values only (`total.rs`): a mask hides
//! neither an error nor a NULL.
//!
//! Invariant: what is noted as one condition ([`Analysis::as_one`]) is noted with everything that it draws from; queries
//! inside it note their own.

use super::total::is_given;
use super::value::{COUNT_IN_DOUBT, Rows, Set, UNNAMED, Value};
use super::{Analysis, Doubt, Shared, documents};
use crate::engine::model::{ANY_KEY, Clause, Condition, Form, Oid};
use crate::engine::sql::postgres::children::untyped;
use pg_raw_parse::nodes::{A_Expr, SelectStmt};
use pg_raw_parse::raw::{A_Expr_Kind as E, SubLinkType};
use pg_raw_parse::{ConstValue, Node};

impl Shared<'_> {
    pub(super) fn note(&self, value: &Value, condition: Condition, times: u32) {
        if self.is_past.get() {
            return;
        }
        let mut conditions = self.conditions.borrow_mut();
        conditions.doubt = conditions.doubt.or(value.unknown);
        let columns = value.all();
        let keys = value.keys.iter().chain(&value.asked).flat_map(|keys| keys.iter());
        conditions.note_keys(&columns, keys, condition);
        conditions.note(columns, condition, times);
    }

    /// A condition on columns of two relations: a table of guesses answers for each of its rows.
    fn note_sides(&self, columns: &Set) {
        if self.is_past.get() {
            return;
        }
        let mut conditions = self.conditions.borrow_mut();
        let first = columns.first().map(|column| column.0);
        if columns.len() > SIDES_MAX && columns.iter().any(|column| Some(column.0) != first) {
            conditions.makes_rows = true;
            return;
        }
        for one in columns {
            let others = columns.iter().filter(|other| other.0 != one.0);
            conditions.joins.extend(others.map(|other| (*one, *other)));
        }
    }

    /// A value of these columns is looked for among those.
    fn note_finding(&self, values: &Set, among: &Set) {
        if self.is_past.get() {
            return;
        }
        let mut conditions = self.conditions.borrow_mut();
        for value in values.iter().take(SIDES_MAX) {
            let others = among.iter().take(SIDES_MAX).filter(|other| other.0 != value.0);
            conditions.finds.extend(others.map(|other| (*value, *other)));
        }
    }

    /// A relation is read.
    pub(super) fn reads(&self, relation: Oid) {
        self.conditions.borrow_mut().relations.insert(relation);
    }

    /// `value` is put into `targets`, or into a new column where there are none.
    pub(super) fn copies(&self, targets: &Set, value: &Value) {
        if self.is_past.get() {
            return;
        }
        let mut conditions = self.conditions.borrow_mut();
        if value.unknown.is_some() {
            conditions.doubtful.extend(targets.iter().copied().map(Some));
            conditions.doubtful.extend(targets.is_empty().then_some(None));
        }
        for source in value.all().into_iter().filter(|source| *source != COUNT_IN_DOUBT) {
            if targets.is_empty() {
                conditions.copies.insert((None, source));
            }
            let others = targets.iter().filter(|target| **target != source);
            conditions.copies.extend(others.map(|target| (Some(*target), source)));
            if !value.alike {
                conditions.remade.extend(targets.iter().map(|target| (*target, source)));
            }
        }
    }

    /// An INSERT leaves those rows out whose key is there.
    pub(super) fn tries(&self, rows: u32) {
        if !self.is_past.get() {
            let mut conditions = self.conditions.borrow_mut();
            conditions.tried = conditions.tried.saturating_add(rows);
        }
    }

    /// Fewer rows come than fit.
    pub(super) fn condenses(&self) {
        self.conditions.borrow_mut().condenses = true;
    }

    /// The statement makes rows of its own.
    pub(super) fn makes_rows(&self) {
        self.conditions.borrow_mut().makes_rows = true;
    }
}

impl<'t> Analysis<'_, 't> {
    /// `value` has a say in the answer, unless that is noted for what it is part of.
    pub(super) fn note(&self, value: &Value, form: Form) {
        if !self.is_noted {
            self.note_in(self.clause, value, form);
        }
    }

    pub(super) fn note_in(&self, clause: Clause, value: &Value, form: Form) {
        self.shared.note(value, Condition { clause, form }, 1);
        if compares_sides(form) {
            self.shared.note_sides(&value.all());
        }
    }

    /// A comparison within a value; its sides are noted one by one.
    pub(super) fn note_sides_of(&mut self, e: &'t A_Expr) -> Result<(), Doubt> {
        let node = Node::A_Expr(e);
        let is_key = std::mem::take(&mut self.is_key);
        if self.is_noted && !is_key {
            return Ok(());
        }
        let outer = self.shared.is_past.replace(true);
        let value = self.unnoted(node);
        self.shared.is_past.set(outer);
        let noted = value.and_then(|value| self.note_compared(node, &[value]));
        self.is_key = is_key;
        noted
    }

    /// Arguments of a function that gives rows: how many may tell the value itself, of a series to its last digit, and of
    /// whatever else was made of it (`repeat(',', salary)`). `are_stored`: they are as they stand in a table.
    pub(super) fn note_rows(&self, name: &str, arguments: &Value, are_stored: bool) {
        let is_fixed = arguments.sources.is_empty() && arguments.implicit.is_empty();
        if is_fixed || name == "generate_series" || !are_stored {
            self.shared.makes_rows();
        }
        self.note_in(self.clause, arguments, Form::Count);
    }

    /// A value that is one condition as a whole.
    pub(super) fn as_one(&mut self, clause: Clause, form: Form, node: Node<'t>) -> Result<Value, Doubt> {
        let value = self.unnoted(node)?;
        self.note_in(clause, &value, form);
        Ok(value)
    }

    fn unnoted(&mut self, node: Node<'t>) -> Result<Value, Doubt> {
        let outer = std::mem::replace(&mut self.is_noted, true);
        let value = self.value(node);
        self.is_noted = outer;
        value
    }

    /// One condition of a predicate; `values` are its sides.
    pub(super) fn note_atom(&mut self, node: Node<'t>, values: &[Value]) -> Result<(), Doubt> {
        let is_whole = |value: &Value| value.exact && value.sources.len() == 1;
        let (form, times) = match (node, values) {
            // Its query notes its own conditions, and of its values none counts.
            (Node::SubLink(sub), _) if sub.sub_link_type == SubLinkType::EXISTS_SUBLINK => return Ok(()),
            (Node::A_Expr(e), [left, right])
                if e.kind == E::AEXPR_OP && !matches!(e.rexpr(), Node::None) && is_equals(e) =>
            {
                match (is_whole(left), is_whole(right)) {
                    (true, true) => (Form::Join, 1),
                    (true, false) if is_given(e.rexpr()) => (Form::Equality, 1),
                    (false, true) if is_given(e.lexpr()) => (Form::Equality, 1),
                    _ => (Form::Comparison, 1),
                }
            }
            (Node::A_Expr(e), [value, ..]) => match (e.kind, e.rexpr()) {
                (E::AEXPR_IN, Node::NodeList(list))
                    if is_equals(e) && is_whole_column(e.lexpr(), value) && list.iter().all(is_given) =>
                {
                    (Form::Equality, u32::try_from(list.len()).unwrap_or(u32::MAX))
                }
                (E::AEXPR_NOT_DISTINCT, right) if is_whole_column(e.lexpr(), value) && is_given(right) => {
                    (Form::Equality, 1)
                }
                _ => (choice_of(e.kind, name_of(e)), 1),
            },
            _ => (Form::Comparison, 1),
        };
        if let (Form::Join, [left, right]) = (form, values) {
            self.note_join(left, right);
        }
        if compares_sides(form) {
            self.note_compared(node, values)?;
        }
        let mut written = Value::default();
        let sides = match node {
            Node::A_Expr(e) => [e.lexpr(), e.rexpr()],
            _ => [Node::None, Node::None],
        };
        documents::compared(sides, &mut written);
        let meets_unknown = documents::meets_unknown(node);
        for (value, side) in values.iter().zip(sides) {
            let mut asked = written.clone();
            if meets_unknown && self.is_whole_side(side, value)? {
                asked.asks(ANY_KEY);
            }
            let condition = Condition { clause: self.clause, form };
            if asked.asked.is_some() {
                asked.add(value);
                self.shared.note(&asked, condition, times);
            } else {
                self.shared.note(value, condition, times);
            }
        }
        Ok(())
    }

    /// The columns that a comparison brings together. A query of one value is compared by what it gives, not by what chooses
    /// that; the rows beside it that fit tell it.
    fn note_compared(&mut self, node: Node<'t>, values: &[Value]) -> Result<(), Doubt> {
        if !self.is_with_one_value(node) {
            self.shared.note_sides(&values.iter().flat_map(Value::all).collect());
            return Ok(());
        }
        let Node::A_Expr(e) = node else { return Ok(()) };
        let references = self.references.take();
        let outer = self.shared.is_past.replace(true);
        let sides = self.unnoted(e.lexpr()).and_then(|left| Ok((left, self.unnoted(e.rexpr())?)));
        self.shared.is_past.set(outer);
        self.references = references;
        let (left, right) = sides?;
        let slots = self.levels.iter().flat_map(|level| &level.slots);
        let here: Set = slots.flat_map(|value| value.sources.iter().copied()).collect();
        let given = left.sources.into_iter().chain(right.sources);
        let (beside, found): (Set, Set) = given.partition(|column| here.contains(column));
        self.shared.note_finding(&found, &beside);
        Ok(())
    }

    /// A query of one value beside the only relation that it may depend on.
    fn is_with_one_value(&self, node: Node<'t>) -> bool {
        let Node::A_Expr(e) = node else { return false };
        let is_one =
            |node| matches!(node, Node::SubLink(sub) if sub.sub_link_type == SubLinkType::EXPR_SUBLINK);
        let is_alone = matches!(self.levels.as_slice(), [level] if level.items.len() == 1);
        is_alone && (is_one(e.lexpr()) || is_one(e.rexpr()))
    }

    /// Two columns have to equal each other.
    pub(super) fn note_join(&self, left: &Value, right: &Value) {
        let mut conditions = self.shared.conditions.borrow_mut();
        for one in left.sources.iter().take(JOINED_MAX) {
            conditions.joins.extend(right.sources.iter().take(JOINED_MAX).map(|other| (*one, *other)));
        }
    }

    /// UNION without ALL, INTERSECT, EXCEPT: how many rows come depends on their values.
    pub(super) fn note_set_operation(&self, rows: &Rows, more: &Rows, keeps_all: bool) {
        let (left, right) = (rows.whole(), more.whole());
        let is_made = |value: &Value| value.sources.is_empty() && value.implicit.is_empty();
        if is_made(&left) && is_made(&right) {
            self.shared.makes_rows();
        }
        if !keeps_all {
            let is_guessed = |(one, other): &(&Value, &Value)| is_made(one) != is_made(other);
            let pairs =
                || rows.columns.iter().map(|(_, value)| value).zip(more.columns.iter().map(|(_, v)| v));
            for mut value in [left, right] {
                let mut guessed = pairs().filter(is_guessed).flat_map(|(one, other)| [one, other]);
                if guessed.any(|value| self.shared.is_whole_document(value)) {
                    value.asks(ANY_KEY);
                }
                self.note_in(Clause::SetOperation, &value, Form::Grouping);
            }
        }
    }

    /// GROUP BY.
    pub(super) fn group(&mut self, select: &'t SelectStmt, rows: &Rows) -> Result<(), Doubt> {
        let mut work: Vec<Node<'t>> = select.group_clause().iter().collect();
        while let Some(node) = work.pop() {
            self.shared.spend(1)?;
            match node {
                Node::None => {}
                Node::GroupingSet(set) => work.extend(set.content().iter()),
                Node::NodeList(list) => work.extend(list.iter()),
                node => {
                    let value = self.key(node, rows)?;
                    self.note_in(Clause::GroupBy, &value, Form::Grouping);
                    self.shared.note_sides(&value.sources);
                }
            }
        }
        Ok(())
    }

    /// ORDER BY and DISTINCT.
    pub(super) fn order(&mut self, select: &'t SelectStmt, rows: &mut Rows) -> Result<(), Doubt> {
        let cuts = !matches!(select.limit_count(), Node::None);
        for by in untyped(select.sort_clause()) {
            self.shared.spend(1)?;
            let Node::SortBy(by) = by else { return Err(Doubt::Syntax) };
            let value = self.key(by.node(), rows)?;
            self.note_in(Clause::OrderBy, &value, Form::Ordering);
            // The row that is nearest to a value comes first.
            self.shared.note_sides(&value.sources);
            if cuts {
                // Which rows are left depends on their order.
                rows.chosen_by.extend(value.all());
            }
        }
        for node in select.distinct_clause() {
            self.shared.spend(1)?;
            let value = match node {
                Node::None => rows.whole(),
                node => {
                    let value = self.key(node, rows)?;
                    self.shared.note_sides(&value.sources);
                    value
                }
            };
            let mut value = value;
            if rows.columns.iter().any(|(_, column)| self.shared.is_mixed_document(column)) {
                value.asks(ANY_KEY);
            }
            self.note_in(Clause::Distinct, &value, Form::Grouping);
        }
        Ok(())
    }

    /// A key of ORDER BY or GROUP BY: a place or a name of the result, or an expression. A name may mean both.
    fn key(&mut self, node: Node<'t>, rows: &Rows) -> Result<Value, Doubt> {
        let mut key = self.plain_key(node, rows)?;
        if self.shared.is_mixed_document(&key) {
            key.asks(ANY_KEY);
        }
        Ok(key)
    }

    fn plain_key(&mut self, node: Node<'t>, rows: &Rows) -> Result<Value, Doubt> {
        let open = || rows.open.clone().unwrap_or_else(|| Value::unknown(Doubt::UnknownColumn));
        if let Node::A_Const(literal) = node
            && let Some(ConstValue::Integer(place)) = literal.val()
        {
            let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
            let found = place.and_then(|place| rows.columns.get(place));
            return Ok(found.map_or_else(open, |(_, value)| value.clone()));
        }
        let mut found: Option<Value> = None;
        if let Node::ColumnRef(reference) = node
            && let (1, Some(name)) =
                (reference.fields().len(), reference.fields().first().and_then(Node::as_str))
        {
            for (_, value) in rows.columns.iter().filter(|(column, _)| **column == *name) {
                self.shared.spend(value.size())?;
                found.get_or_insert_default().add(value);
            }
            if found.is_some() && !self.is_column(name)? {
                return Ok(found.unwrap_or_default());
            }
            if self.levels.is_empty() && found.is_none() {
                return Ok(open());
            }
        }
        let outer = std::mem::replace(&mut self.is_key, true);
        let value = self.unnoted(node);
        self.is_key = outer;
        let mut value = value?;
        if let Some(found) = found {
            value.add(&found);
        }
        Ok(value)
    }

    /// Some operator of this name was made by users.
    pub(super) fn is_made_by_users(&self, operator: &str) -> bool {
        self.shared.names.catalogue.is_user_operator(operator)
    }
}

/// What two relations may have a say in together, row by row.
fn compares_sides(form: Form) -> bool {
    matches!(form, Form::Comparison | Form::Pattern)
}

/// Columns of one condition that are told apart.
const SIDES_MAX: usize = 32;
/// Columns behind one side of a join that are told apart.
const JOINED_MAX: usize = 16;

fn name_of(e: &A_Expr) -> &str {
    e.name().iter().next_back().and_then(Node::as_str).unwrap_or(UNNAMED)
}

fn is_equals(e: &A_Expr) -> bool {
    name_of(e) == "="
}

/// `value` is of the whole condition: where its left side is a bare column, that column and no other is in it.
fn is_whole_column(left: Node<'_>, value: &Value) -> bool {
    matches!(left, Node::ColumnRef(_)) && value.sources.len() + value.implicit.len() == 1
}

/// What a comparison is for.
pub(super) fn choice_of(kind: E::Type, name: &str) -> Form {
    match kind {
        E::AEXPR_LIKE | E::AEXPR_ILIKE | E::AEXPR_SIMILAR => Form::Pattern,
        _ if name.contains('~') || name == "^@" => Form::Pattern,
        _ => Form::Comparison,
    }
}

/// The server's operators of two operands that only answer yes or no. (`&&` of text search is not one.)
pub(super) fn compares(name: &str) -> bool {
    matches!(
        name,
        "=" | "<>"
            | "!="
            | "<"
            | ">"
            | "<="
            | ">="
            | "~"
            | "~*"
            | "!~"
            | "!~*"
            | "~~"
            | "~~*"
            | "!~~"
            | "!~~*"
            | "^@"
            | "@>"
            | "<@"
            | "?"
            | "?|"
            | "?&"
            | "@?"
            | "@@"
            | "#<#"
            | "#<=#"
            | "#>#"
            | "#>=#"
    )
}
