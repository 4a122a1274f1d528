//! Queries: WITH, set operations, VALUES, SELECT.
//!
//! A WITH query is read where it is used first, in the scope where it stands; one that uses itself is read again until
//! its columns no longer grow.

use super::column_name::column_name;
use super::statement::is_statement;
use super::value::{Rows, UNNAMED, Value};
use super::{Analysis, Doubt, Level};
use crate::engine::model::{Clause, Form};
use crate::engine::sql::postgres::children::untyped;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{CommonTableExpr, SelectStmt, WithClause};
use pg_raw_parse::raw::SetOperation as Op;
use std::sync::Arc;

/// One WITH query and where it stands.
pub(super) struct Cte<'t> {
    name: Arc<str>,
    node: &'t CommonTableExpr,
    /// How many levels and WITH queries it sees.
    levels: usize,
    ctes: usize,
    recursive: bool,
    state: State,
}

#[derive(Clone)]
enum State {
    NotRead,
    /// Being read; what is known so far, and whether it was asked for.
    Reading(Arc<Rows>, bool),
    Read(Arc<Rows>),
}

impl<'t> Analysis<'_, 't> {
    /// The rows of a query or of a statement with RETURNING.
    pub(super) fn query(&mut self, node: Node<'t>) -> Result<Rows, Doubt> {
        let shared = self.shared;
        // Its conditions are its own, wherever it stands.
        let outer = (self.clause, self.is_noted, self.is_key);
        (self.clause, self.is_noted, self.is_key) = (Clause::Result, false, false);
        let rows = shared.nested(|| match node {
            Node::SelectStmt(select) => self.select(select),
            node if is_statement(node) => Ok(self.statement(node)?.unwrap_or_default()),
            _ => Ok(Rows::open(Value::unknown(Doubt::Syntax))),
        });
        (self.clause, self.is_noted, self.is_key) = outer;
        rows
    }

    fn select(&mut self, select: &'t SelectStmt) -> Result<Rows, Doubt> {
        self.shared.spend(1)?;
        self.with(select.with_clause(), |this| {
            let mut rows = if select.op != Op::SETOP_NONE {
                this.set_operation(select)?
            } else if !select.values_lists().is_empty() {
                this.values(select.values_lists())?
            } else {
                this.plain(select)?
            };
            if select.op != Op::SETOP_NONE || !select.values_lists().is_empty() {
                // Only names and places of the result can stand there.
                this.order(select, &mut rows)?;
            }
            let mut limits = Value::default();
            for limit in [select.limit_count(), select.limit_offset()] {
                if !matches!(limit, Node::None) {
                    this.shared.condenses();
                    limits.add_implicit(&this.as_one(Clause::Limit, Form::Count, limit)?);
                }
            }
            if limits != Value::default() {
                // As many rows as a value says tell all of it.
                this.shared.makes_rows();
                for (_, value) in &mut rows.columns {
                    value.add_implicit(&limits);
                }
                rows.chosen_by.extend(&limits.implicit);
            }
            Ok(rows)
        })
    }

    /// Runs `inside` with a statement's WITH queries in scope.
    pub(super) fn with<T>(
        &mut self,
        clause: Option<&'t WithClause>,
        inside: impl FnOnce(&mut Self) -> Result<T, Doubt>,
    ) -> Result<T, Doubt> {
        let mark = self.ctes.len();
        if let Some(with) = clause {
            let recursive = with.recursive;
            let count = with.ctes().len();
            self.shared.spend(count)?;
            for (at, node) in untyped(with.ctes()).iter().enumerate() {
                let Node::CommonTableExpr(node) = node else { return Err(Doubt::Syntax) };
                self.ctes.push(Cte {
                    name: node.ctename().unwrap_or(UNNAMED).into(),
                    node,
                    levels: self.levels.len(),
                    ctes: if recursive { mark + count } else { mark + at },
                    recursive,
                    state: State::NotRead,
                });
            }
        }
        let result = inside(self).and_then(|done| {
            // A statement runs though nobody reads its rows.
            for at in mark..self.ctes.len() {
                if self.ctes.get(at).is_some_and(|cte| !matches!(cte.node.ctequery(), Node::SelectStmt(_))) {
                    self.cte_at(at)?;
                }
            }
            Ok(done)
        });
        self.ctes.truncate(mark);
        result
    }

    /// The rows of the WITH query that a name without a schema stands for.
    pub(super) fn cte(&mut self, name: &str) -> Result<Option<Arc<Rows>>, Doubt> {
        self.shared.spend(1 + self.ctes.len() / 8)?;
        let Some(at) = self.ctes.iter().rposition(|cte| *cte.name == *name) else { return Ok(None) };
        self.cte_at(at)
    }

    fn cte_at(&mut self, at: usize) -> Result<Option<Arc<Rows>>, Doubt> {
        let Some(cte) = self.ctes.get_mut(at) else { return Ok(None) };
        match &mut cte.state {
            State::Read(rows) => return Ok(Some(rows.clone())),
            State::Reading(rows, asked) => {
                *asked = true;
                return Ok(Some(rows.clone()));
            }
            State::NotRead => {}
        }
        let (node, levels, ctes, recursive) = (cte.node, cte.levels, cte.ctes, cte.recursive);
        // What came into scope since does not count for it.
        let hidden_levels = self.levels.split_off(levels.min(self.levels.len()));
        let hidden_ctes = self.ctes.split_off(ctes.min(self.ctes.len()));
        let result = self.read_cte(at, node, recursive);
        self.levels.truncate(levels);
        self.levels.extend(hidden_levels);
        self.ctes.truncate(ctes);
        self.ctes.extend(hidden_ctes);
        let rows = Arc::new(result?);
        if let Some(cte) = self.ctes.get_mut(at) {
            cte.state = State::Read(rows.clone());
        }
        Ok(Some(rows))
    }

    fn read_cte(&mut self, at: usize, node: &'t CommonTableExpr, recursive: bool) -> Result<Rows, Doubt> {
        let finish = |mut rows: Rows| {
            rows.rename(node.aliascolnames().iter().filter_map(Node::as_str));
            add_search_and_cycle(node, &mut rows);
            rows
        };
        if !recursive {
            return Ok(finish(self.query(node.ctequery())?));
        }
        self.shared.makes_rows();
        // The first arm gives the columns; it cannot use the query itself.
        let start = match node.ctequery() {
            Node::SelectStmt(union) if union.op == Op::SETOP_UNION => match union.larg() {
                Some(first) => {
                    self.set_state(at, State::Reading(Arc::new(unknown_rows()), false));
                    self.with(union.with_clause(), |this| this.query(Node::SelectStmt(first)))?
                }
                None => unknown_rows(),
            },
            _ => unknown_rows(),
        };
        let mut known = finish(start);
        for _ in 0..TURNS_MAX {
            self.set_state(at, State::Reading(Arc::new(known.clone()), false));
            let rows = finish(self.query(node.ctequery())?);
            let asked = matches!(self.ctes.get(at).map(|cte| &cte.state), Some(State::Reading(_, true)));
            if !asked {
                self.note_cycle(node, &rows);
                return Ok(rows);
            }
            self.shared.spend(rows.size())?;
            let mut next = known.clone();
            next.merge(rows);
            if next == known {
                self.note_cycle(node, &known);
                return Ok(known);
            }
            known = next;
        }
        Err(Doubt::TooMuch)
    }

    /// CYCLE: where a value comes again the recursion ends, as UNION without ALL does where a row does.
    fn note_cycle(&self, node: &CommonTableExpr, rows: &Rows) {
        if let Some(cycle) = node.cycle_clause() {
            self.note_in(Clause::SetOperation, &named(cycle.cycle_col_list(), rows), Form::Grouping);
        }
    }

    fn set_state(&mut self, at: usize, state: State) {
        if let Some(cte) = self.ctes.get_mut(at) {
            cte.state = state;
        }
    }

    /// UNION, INTERSECT, EXCEPT: by position. A long chain leans to the left, so it is taken from there.
    fn set_operation(&mut self, select: &'t SelectStmt) -> Result<Rows, Doubt> {
        let mut arms = Vec::new();
        let mut left = Some(select);
        while let Some(node) = left {
            self.shared.spend(1)?;
            let plain_chain = std::ptr::eq(node, select)
                || (node.with_clause().is_none()
                    && matches!(node.limit_count(), Node::None)
                    && matches!(node.limit_offset(), Node::None));
            if node.op == Op::SETOP_NONE || !plain_chain {
                arms.push((node, Op::SETOP_UNION, true));
                break;
            }
            match node.rarg() {
                Some(right) => arms.push((right, node.op, node.all)),
                None => return Err(Doubt::Syntax),
            }
            left = node.larg();
        }
        let mut rows: Option<Rows> = None;
        for (arm, op, all) in arms.into_iter().rev() {
            let more = self.query(Node::SelectStmt(arm))?;
            self.shared.spend(more.size())?;
            if let Some(rows) = &rows {
                self.note_set_operation(rows, &more, op == Op::SETOP_UNION && all);
            }
            match &mut rows {
                None => rows = Some(more),
                Some(rows) if op == Op::SETOP_EXCEPT => {
                    // Its values do not come out, but they choose.
                    let whole = more.whole();
                    for (_, value) in &mut rows.columns {
                        value.add_implicit(&whole);
                    }
                    rows.chosen_by.extend(more.chosen_by);
                    rows.counted_by.extend(more.counted_by);
                }
                Some(rows) => rows.merge(more),
            }
        }
        let mut rows = rows.ok_or(Doubt::Syntax)?;
        // Arms are brought to one type.
        let mut casts = Value::default();
        self.unasked_casts(&mut casts)?;
        rows.columns.iter_mut().for_each(|(_, value)| value.add(&casts));
        Ok(rows)
    }

    fn values(&mut self, lists: &'t NodeList) -> Result<Rows, Doubt> {
        self.levels.push(Level::default());
        let result = self.rows_of_values(lists);
        self.levels.pop();
        result
    }

    fn rows_of_values(&mut self, lists: &'t NodeList) -> Result<Rows, Doubt> {
        let mut rows: Option<Rows> = None;
        if lists.len() > 1 {
            self.shared.makes_rows();
        }
        for list in lists {
            let Some(list) = list.as_node_list() else { return Err(Doubt::Syntax) };
            let mut row = Rows::default();
            for (at, node) in list.iter().enumerate() {
                let value = self.value(node)?;
                row.columns.push((format!("column{}", at + 1).into(), value));
            }
            self.shared.spend(row.size())?;
            match &mut rows {
                None => rows = Some(row),
                Some(rows) => rows.merge(row),
            }
        }
        rows.ok_or(Doubt::Syntax)
    }

    fn plain(&mut self, select: &'t SelectStmt) -> Result<Rows, Doubt> {
        self.levels.push(Level::default());
        let result = self.plain_inside(select);
        let level = self.levels.pop().unwrap_or_default();
        let mut rows = result?;
        rows.chosen_by.extend(level.chosen_by);
        rows.counted_by.extend(level.counted_by);
        Ok(rows)
    }

    fn plain_inside(&mut self, select: &'t SelectStmt) -> Result<Rows, Doubt> {
        for item in select.from_clause() {
            self.bring_item(item)?;
        }
        self.choose_settings(select.where_clause())?;
        self.predicate(Clause::Where, select.where_clause())?;
        self.predicate(Clause::Having, select.having_clause())?;
        for window in select.window_clause() {
            let Node::WindowDef(window) = window else { return Err(Doubt::Syntax) };
            self.define_window(window)?;
        }
        let mut rows = self.targets(untyped(select.target_list()))?;
        self.group(select, &rows)?;
        self.order(select, &mut rows)?;
        Ok(rows)
    }

    /// A select list, or the list of RETURNING.
    pub(super) fn targets(&mut self, list: &'t NodeList) -> Result<Rows, Doubt> {
        let mut rows = Rows::default();
        for node in list {
            let Node::ResTarget(target) = node else { return Err(Doubt::Syntax) };
            self.shared.spend(1)?;
            if self.expand_star(target.val(), &mut rows)? {
                continue;
            }
            let value = self.value(target.val())?;
            let name: Arc<str> = match target.name() {
                Some(name) => name.into(),
                None => column_name(target.val()).unwrap_or(UNNAMED).into(),
            };
            match &mut rows.open {
                None => rows.columns.push((name, value)),
                Some(open) => open.add(&value),
            }
        }
        Ok(rows)
    }

    /// `*`, `p.*`, `(row).*`: true where it was one.
    fn expand_star(&mut self, node: Node<'t>, rows: &mut Rows) -> Result<bool, Doubt> {
        match node {
            Node::ColumnRef(reference) => {
                let fields = reference.fields();
                if !matches!(fields.iter().next_back(), Some(Node::A_Star(_))) {
                    return Ok(false);
                }
                let names: Vec<&str> = fields.iter().filter_map(Node::as_str).collect();
                let item = match names.as_slice() {
                    [] => None,
                    [name] => self.item(None, name),
                    [.., schema, name] => self.item(Some(schema), name),
                };
                if !names.is_empty() && item.is_none() {
                    rows.open.get_or_insert_default().doubt(Some(Doubt::UnknownRelation));
                    return Ok(true);
                }
                self.star(item, rows)?;
                Ok(true)
            }
            Node::A_Indirection(path) => {
                let fields = path.indirection();
                if !matches!(fields.iter().next_back(), Some(Node::A_Star(_))) {
                    return Ok(false);
                }
                if fields.len() == 1
                    && let Node::ColumnRef(reference) = path.arg()
                    && let Some(name) = reference.fields().first().and_then(Node::as_str)
                    && reference.fields().len() == 1
                    && !self.is_column(name)?
                    && let Some(item) = self.item(None, name)
                {
                    self.star(Some(item), rows)?;
                    return Ok(true);
                }
                let mut value = self.value(path.arg())?;
                value.exact = false;
                value.alike = false;
                rows.open.get_or_insert_default().add(&value);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn is_column(&self, name: &str) -> Result<bool, Doubt> {
        self.shared.spend(1 + self.search_cost())?;
        Ok(self
            .levels
            .iter()
            .flat_map(|level| &level.items)
            .any(|item| item.open.is_some() || item.columns.iter().any(|(column, _)| **column == *name)))
    }
}

fn unknown_rows() -> Rows {
    Rows::open(Value::unknown(Doubt::Syntax))
}

/// What flows into the columns of these names.
fn named(columns: &NodeList, rows: &Rows) -> Value {
    let mut value = rows.open.clone().unwrap_or_default();
    for name in columns.iter().filter_map(Node::as_str) {
        rows.columns.iter().filter(|(n, _)| **n == *name).for_each(|(_, more)| value.add(more));
    }
    value
}

/// The columns that SEARCH and CYCLE add behind the query's own.
fn add_search_and_cycle(node: &CommonTableExpr, rows: &mut Rows) {
    let mut added = Vec::new();
    if let Some(search) = node.search_clause() {
        added.push((search.search_seq_column(), named(search.search_col_list(), rows)));
    }
    if let Some(cycle) = node.cycle_clause() {
        let path = named(cycle.cycle_col_list(), rows);
        let mut mark = Value::default();
        mark.add_implicit(&path);
        added.push((cycle.cycle_mark_column(), mark));
        added.push((cycle.cycle_path_column(), path));
    }
    for (name, value) in added {
        match &mut rows.open {
            None => rows.columns.push((name.unwrap_or(UNNAMED).into(), value)),
            Some(open) => open.add(&value),
        }
    }
}

/// Turns of a recursive query: each adds a source to some column or is the last.
const TURNS_MAX: usize = 64;
