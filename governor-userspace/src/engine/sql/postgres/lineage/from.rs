//! FROM: what each item brings into scope.

use super::function::Call;
use super::scope::Item;
use super::total::is_given;
use super::value::{Rows, Set, UNNAMED, Value};
use super::wholeness::Reach;
use super::{Analysis, Doubt, documents};
use crate::engine::model::{ANY_KEY, Clause, Form};
use crate::engine::sql::postgres::children::untyped;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{
    A_Expr, Alias, JoinExpr, JsonTable, RangeFunction, RangeSubselect, RangeTableFunc, RangeTableSample,
};
use pg_raw_parse::raw::A_Expr_Kind;
use std::sync::Arc;

impl<'t> Analysis<'_, 't> {
    /// Puts one FROM item into the current level; its place there.
    ///
    /// Chains of joins lean to the left and are taken from there; a join on the right side stands in brackets.
    pub(super) fn bring_item(&mut self, node: Node<'t>) -> Result<usize, Doubt> {
        let mut joins = Vec::new();
        let mut node = node;
        while let Node::JoinExpr(join) = node {
            self.shared.spend(1)?;
            joins.push(join);
            node = join.larg();
        }
        let first = self.level().items.len();
        let mut left = self.leaf(node)?;
        while let Some(join) = joins.pop() {
            let shared = self.shared;
            let right = shared.nested(|| self.bring_item(join.rarg()))?;
            left = self.join(first, left, right, join)?;
        }
        Ok(left)
    }

    fn leaf(&mut self, node: Node<'t>) -> Result<usize, Doubt> {
        self.shared.spend(1)?;
        match node {
            Node::RangeVar(range) => {
                let item = self.relation(range)?;
                Ok(self.level().push(item))
            }
            Node::RangeSubselect(sub) => self.sub_select(sub),
            Node::RangeFunction(function) => self.functions(function),
            Node::RangeTableFunc(table) => self.xml_table(table),
            Node::JsonTable(table) => self.json_table(table),
            Node::RangeTableSample(sample) => self.sample(sample),
            _ => Ok(self.level().push_rows(Rows::open(Value::unknown(Doubt::Syntax)), None)),
        }
    }

    /// TABLESAMPLE.
    fn sample(&mut self, sample: &'t RangeTableSample) -> Result<usize, Doubt> {
        let mut chosen = Value::default();
        for argument in sample.args().iter().chain([sample.repeatable()]) {
            if !matches!(argument, Node::None) {
                chosen.add_implicit(&self.as_one(Clause::From, Form::Count, argument)?);
            }
        }
        if !chosen.implicit.is_empty() {
            self.shared.makes_rows();
        }
        let Node::RangeVar(range) = sample.relation() else { return Err(Doubt::Syntax) };
        let item = self.relation(range)?;
        let level = self.level();
        level.chosen_by.extend(&chosen.implicit);
        // Which rows of many come tells a share, or a seed, to its last digit.
        level.counted_by.extend(&chosen.implicit);
        for (_, slot) in &item.columns {
            if let Some(value) = level.slots.get_mut(*slot) {
                value.add_implicit(&chosen);
            }
        }
        Ok(level.push(item))
    }

    fn sub_select(&mut self, sub: &'t RangeSubselect) -> Result<usize, Doubt> {
        // Without LATERAL it does not see the items beside it.
        let hidden = if sub.lateral { None } else { self.levels.pop() };
        let result = self.query(sub.subquery());
        self.levels.extend(hidden);
        let rows = result?;
        self.put(rows, sub.alias(), None)
    }

    /// Rows under an alias, or under `name` where there is none.
    fn put(&mut self, mut rows: Rows, alias: Option<&Alias>, name: Option<&str>) -> Result<usize, Doubt> {
        self.shared.spend(rows.size())?;
        if let Some(alias) = alias {
            rows.rename(alias.colnames().iter().filter_map(Node::as_str));
        }
        let name = alias.and_then(|alias| alias.aliasname()).or(name).map(Into::into);
        Ok(self.level().push_rows(rows, name))
    }

    fn join(&mut self, first: usize, left: usize, right: usize, join: &'t JoinExpr) -> Result<usize, Doubt> {
        // Within ON the sides are still apart.
        self.predicate(Clause::Join, join.quals())?;
        let shared = self.shared;
        let level = self.level();
        let guess = |at: usize| level.items.get(at).filter(|item| item.is_guess).map(|item| level.row(item));
        let (left_row, right_row) = (guess(left), guess(right));
        let (left_columns, left_open) = side(level.items.get_mut(left));
        let (right_columns, right_open) = side(level.items.get_mut(right));
        let both = left_columns.len() + right_columns.len();
        shared.spend((level.items.len() - first.min(level.items.len())) / 16)?;
        let names: Vec<Arc<str>> = if join.is_natural {
            shared.spend(left_columns.len().saturating_mul(right_columns.len()) / 16)?;
            let common = left_columns.iter().filter(|(n, _)| right_columns.iter().any(|(r, _)| r == n));
            common.map(|(name, _)| name.clone()).collect()
        } else {
            untyped(join.using_clause()).iter().filter_map(Node::as_str).map(Into::into).collect()
        };
        shared.spend(names.len().saturating_mul(both + names.len()) / 16)?;
        let mut merged = Vec::with_capacity(names.len());
        let mut merging = 0;
        let mut told = Vec::new();
        for name in &names {
            let find =
                |columns: &[(Arc<str>, usize)]| columns.iter().find(|(n, _)| n == name).map(|(_, s)| *s);
            let (l, r) = (find(&left_columns), find(&right_columns));
            let of = |slot: Option<usize>, open: &Option<Value>| match (slot, open) {
                (Some(slot), _) => level.value(slot),
                (None, Some(open)) => open.clone(),
                (None, None) => Value::unknown(Doubt::UnknownColumn),
            };
            let (mut value, mut other) = (of(l, &left_open), of(r, &right_open));
            for (value, row) in [(&mut value, &left_row), (&mut other, &right_row)] {
                if let Some(row) = row {
                    value.add(row);
                    value.exact = false;
                    value.alike = false;
                }
            }
            for value in [&mut value, &mut other] {
                if shared.is_whole_document(value) {
                    value.asks(ANY_KEY);
                }
            }
            told.push((value.clone(), other.clone()));
            // Equal, so each tells of the other.
            for (slot, told) in [(l, other.all()), (r, value.all())] {
                if let Some(value) = slot.and_then(|slot| level.slots.get_mut(slot)) {
                    value.implicit.extend(told);
                }
            }
            value.or_chosen(&other);
            merging += value.size();
            merged.push((name.clone(), level.slot(value)));
        }
        let is_rest = |(name, _): &(Arc<str>, usize)| !names.contains(name);
        let mut columns = left_columns;
        if !merged.is_empty() {
            columns.retain(is_rest);
            columns.splice(0..0, merged.iter().cloned());
        }
        let before = columns.len();
        columns.extend(right_columns.into_iter().filter(is_rest));
        let added = columns.len() - before;
        let open = match (left_open, right_open) {
            (Some(mut open), Some(other)) => {
                open.add(&other);
                Some(open)
            }
            (open, other) => open.or(other),
        };
        let alias = join.alias();
        if let Some(alias) = alias {
            for (column, name) in columns.iter_mut().zip(alias.colnames().iter().filter_map(Node::as_str)) {
                column.0 = name.into();
            }
        }
        // Which columns NATURAL merges, and which one a name by position gets, depends on those that are not known.
        let by_position = alias.is_some_and(|alias| !alias.colnames().is_empty());
        let is_guess =
            open.is_some() && (left_row.is_some() || right_row.is_some() || join.is_natural || by_position);
        for item in level.items.iter_mut().skip(first) {
            item.shows_columns = false;
            item.is_named &= alias.is_none();
        }
        if let Some(using) = join.join_using_alias() {
            level.push(Item {
                name: using.aliasname().map(Into::into),
                columns: merged,
                is_named: true,
                ..Item::default()
            });
        }
        let name = alias.and_then(|alias| alias.aliasname()).map(Into::into);
        let is_user_relation =
            level.items.iter().skip(first).any(|item| item.is_user_relation && item.open.is_none());
        let place = level.push(Item {
            is_named: name.is_some(),
            name,
            columns,
            is_guess,
            is_unordered: open.is_some(),
            open,
            is_user_relation,
            shows_columns: true,
            ..Item::default()
        });
        for (left, right) in &told {
            self.note_join(left, right);
            self.note_in(Clause::Join, left, Form::Join);
            self.note_in(Clause::Join, right, Form::Join);
        }
        // A join without an alias hands its columns on to the next; only what is new costs.
        self.shared.spend(merging + added + names.len())?;
        Ok(place)
    }

    /// Notes what a condition tells: it chooses rows, and links the columns that it names.
    pub(super) fn predicate(&mut self, clause: Clause, condition: Node<'t>) -> Result<(), Doubt> {
        let outer = std::mem::replace(&mut self.clause, clause);
        let result = self.atoms(condition);
        self.clause = outer;
        result
    }

    fn atoms(&mut self, condition: Node<'t>) -> Result<(), Doubt> {
        let mut work = vec![condition];
        while let Some(node) = work.pop() {
            self.shared.spend(1)?;
            match node {
                Node::None => {}
                Node::BoolExpr(logic) if splits(logic) => work.extend(logic.args().iter()),
                atom => self.atom(atom)?,
            }
        }
        Ok(())
    }

    /// One condition. A column that it names tells of everything else that it draws from.
    fn atom(&mut self, node: Node<'t>) -> Result<(), Doubt> {
        if self.compares_tokens(node) {
            return Ok(());
        }
        let (sides, joins) = match node {
            Node::A_Expr(e) if is_equality(e) => ([e.lexpr(), e.rexpr()], false),
            Node::SubLink(_) => ([node, Node::None], false),
            _ => ([node, Node::None], true),
        };
        let mut told = Set::new();
        let mut slots = Vec::new();
        let mut multiplies = joins;
        let mut values = Vec::with_capacity(2);
        for side in sides {
            let outer = std::mem::replace(&mut self.is_noted, true);
            let tracked = self.tracked_value(side);
            self.is_noted = outer;
            let (value, named) = tracked?;
            told.extend(value.all());
            values.push(value);
            multiplies |= !matches!(node, Node::SubLink(_)) && named.len() > 1;
            slots.extend(named);
        }
        self.note_atom(node, &values)?;
        slots.sort_unstable();
        slots.dedup();
        let level = self.level();
        level.chosen_by.extend(&told);
        // How many rows fit tells a number, unless it is one column that has to equal another.
        if multiplies && slots.len() > 1 {
            level.counted_by.extend(&told);
        }
        for slot in &slots {
            if let Some(value) = level.slots.get_mut(*slot) {
                let own = &value.sources;
                let more: Vec<_> = told.iter().filter(|id| !own.contains(id)).copied().collect();
                value.implicit.extend(more);
            }
        }
        self.shared.spend(slots.len().saturating_mul(told.len()))
    }

    /// A value, and the columns of this level that it names.
    fn tracked_value(&mut self, node: Node<'t>) -> Result<(Value, Vec<usize>), Doubt> {
        let here = self.levels.len().saturating_sub(1);
        let mut outer = self.references.replace(Vec::new());
        let value = self.value(node);
        let named = std::mem::replace(&mut self.references, outer.take()).unwrap_or_default();
        // What a sub-select names of the queries around it, their predicates name too.
        if let Some(outer) = &mut self.references {
            outer.extend(named.iter().filter(|(level, _)| *level < here));
        }
        let mut slots: Vec<usize> =
            named.into_iter().filter(|(level, _)| *level == here).map(|(_, slot)| slot).collect();
        slots.sort_unstable();
        slots.dedup();
        Ok((value?, slots))
    }

    /// FROM f(…), ROWS FROM (f(…), g(…)), with columns as the function or the text says.
    fn functions(&mut self, from: &'t RangeFunction) -> Result<usize, Doubt> {
        let mut rows = Rows::default();
        let mut counted = Set::new();
        let alias = from.alias();
        let alias_name = alias.and_then(|alias| alias.aliasname());
        let single = from.functions().len() == 1;
        let mut function_name = None;
        let mut is_guess = false;
        for entry in from.functions() {
            let Some(entry) = entry.as_node_list() else { return Err(Doubt::Syntax) };
            let Some(node) = entry.first() else { return Err(Doubt::Syntax) };
            let definitions = entry.get(1).and_then(|list| list.as_node_list()).filter(|l| !l.is_empty());
            let definitions = definitions.or(Some(untyped(from.coldeflist())).filter(|l| !l.is_empty()));
            let mut part = match node {
                Node::FuncCall(call) => self.table_function(call, single.then_some(alias_name).flatten())?,
                other => {
                    // CURRENT_DATE, CAST(…) and the like.
                    let value = self.value(other)?;
                    let name = alias_name.or(super::column_name::column_name(other)).unwrap_or(UNNAMED);
                    let open = if self.is_never_a_row(other)? { None } else { Some(value.clone()) };
                    Call {
                        name: Some(name.into()),
                        is_guess: open.is_some(),
                        rows: Rows { columns: vec![(name.into(), value)], open, ..Rows::default() },
                    }
                }
            };
            if let Some(definitions) = definitions {
                let whole = part.rows.whole();
                part.rows.open = None;
                part.is_guess = false;
                part.rows.columns = named(definitions, &whole);
                // A record of a document has its keys for names.
                part.rows.columns.iter_mut().for_each(|(name, value)| value.asks(name));
            }
            self.shared.spend(part.rows.size())?;
            let whole = part.rows.whole();
            counted.extend(whole.all());
            is_guess |= part.is_guess;
            function_name = function_name.or(part.name);
            match (&mut rows.open, part.rows.open) {
                (None, open) => {
                    rows.columns.extend(part.rows.columns);
                    rows.open = open;
                }
                (Some(open), _) => open.add(&whole),
            }
        }
        if from.ordinality {
            let number = Value { exact: true, ..Value::default() };
            match &mut rows.open {
                None => rows.columns.push(("ordinality".into(), number)),
                Some(open) => open.add(&number),
            }
        }
        rows.counted_by = counted;
        let place = self.put(rows, alias, function_name.as_deref())?;
        if let Some(item) = self.level().items.get_mut(place) {
            item.is_guess = is_guess;
        }
        Ok(place)
    }

    fn xml_table(&mut self, table: &'t RangeTableFunc) -> Result<usize, Doubt> {
        let mut whole = Value::default();
        for part in [table.docexpr(), table.rowexpr()] {
            whole.add(&self.value(part)?);
        }
        for namespace in table.namespaces() {
            whole.add(&self.value(namespace)?);
        }
        let whole = whole.reached(Reach::Reshaped);
        let mut rows = Rows::default();
        for column in untyped(table.columns()) {
            let Node::RangeTableFuncCol(column) = column else { return Err(Doubt::Syntax) };
            let mut value = whole.clone();
            for part in [column.colexpr(), column.coldefexpr()] {
                if !matches!(part, Node::None) {
                    documents::xpath(part, &mut value);
                    // A path that is none fails, and so does a default that the column's type does not take.
                    value.add(&self.as_one(Clause::From, Form::Computation, part)?);
                }
            }
            value.asks(column.colname().unwrap_or(UNNAMED));
            rows.columns.push((column.colname().unwrap_or(UNNAMED).into(), value));
        }
        self.note_elements(table.docexpr(), &whole)?;
        rows.counted_by = whole.all();
        self.put(rows, table.alias(), Some("xmltable"))
    }

    fn json_table(&mut self, table: &'t JsonTable) -> Result<usize, Doubt> {
        let mut whole = Value::default();
        if let Some(context) = table.context_item() {
            whole.add(&self.value(Node::JsonValueExpr(context))?);
        }
        for argument in table.passing() {
            whole.add(&self.value(argument)?);
        }
        let whole = whole.reached(Reach::Reshaped);
        let mut rows = Rows::default();
        let mut work: Vec<Node<'t>> = untyped(table.columns()).iter().collect();
        work.reverse();
        while let Some(column) = work.pop() {
            self.shared.spend(whole.size())?;
            let Node::JsonTableColumn(column) = column else { return Err(Doubt::Syntax) };
            if !column.columns().is_empty() {
                work.extend(column.columns().iter().rev());
                continue;
            }
            let mut value = whole.clone();
            for behaviour in [column.on_empty(), column.on_error()].into_iter().flatten() {
                value.add(&self.value(Node::JsonBehavior(behaviour))?);
            }
            match column.pathspec() {
                Some(path) => documents::path(path.string(), &mut value),
                None => value.asks(column.name().unwrap_or(UNNAMED)),
            }
            rows.columns.push((column.name().unwrap_or(UNNAMED).into(), value));
        }
        let document = table.context_item().map_or(Node::None, |item| item.raw_expr());
        self.note_elements(document, &whole)?;
        rows.counted_by = whole.all();
        self.put(rows, table.alias(), Some("json_table"))
    }

    /// As many rows as a document has parts. One that is made here may have as many as a value says.
    fn note_elements(&mut self, document: Node<'t>, whole: &Value) -> Result<(), Doubt> {
        if !is_given(document) && !self.is_stored(document)? {
            self.shared.makes_rows();
        }
        self.note_in(Clause::From, whole, Form::Count);
        Ok(())
    }
}

/// Columns that `AS t(a int, b text)` defines.
fn named(definitions: &NodeList, value: &Value) -> Vec<(Arc<str>, Value)> {
    let name = |node| match node {
        Node::ColumnDef(column) => column.colname().unwrap_or(UNNAMED).into(),
        _ => UNNAMED.into(),
    };
    definitions.iter().map(|node| (name(node), value.clone())).collect()
}

/// A side's columns. Those of a join without an alias move on: nothing can name that join.
fn side(item: Option<&mut Item>) -> (Vec<(Arc<str>, usize)>, Option<Value>) {
    match item {
        None => (Vec::new(), Some(Value::unknown(Doubt::Syntax))),
        Some(item) if item.name.is_none() && !item.is_named => {
            (std::mem::take(&mut item.columns), item.open.take())
        }
        Some(item) => (item.columns.clone(), item.open.clone()),
    }
}

/// The parts of AND hold each for itself; so do those of OR and NOT, unless an AND below ties them together.
fn splits(logic: &pg_raw_parse::nodes::BoolExpr) -> bool {
    use pg_raw_parse::raw::BoolExprType as B;
    match logic.boolop {
        B::AND_EXPR => true,
        _ => !logic.args().iter().any(|part| matches!(part, Node::BoolExpr(_))),
    }
}

fn is_equality(e: &A_Expr) -> bool {
    e.kind == A_Expr_Kind::AEXPR_OP && e.name().iter().next_back().and_then(Node::as_str) == Some("=")
}
