//! INSERT, UPDATE, DELETE, MERGE: what their RETURNING shows, and what they write.
//!
//! A column of the target that the command itself sets has what it held and what was put into it: the server's own
//! word for it is the column's name either way.

use super::scope::{Item, Level};
use super::total::is_given;
use super::value::{Rows, Set, UNNAMED, Value};
use super::{Analysis, Doubt};
use crate::engine::model::{Changing, Clause, Form};
use crate::engine::sql::postgres::children::untyped;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{
    DeleteStmt, InsertStmt, MergeStmt, RangeVar, ResTarget, ReturningClause, UpdateStmt, WithClause,
};
use pg_raw_parse::raw::{CmdType, ReturningOptionKind};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// How many rows a text puts in itself; of a query, more than can be.
fn rows_given(source: Node<'_>) -> u32 {
    let Node::SelectStmt(select) = source else { return 1 };
    let is_value = |target: &ResTarget| is_given(target.val());
    match select.values_lists().len() {
        0 if select.from_clause().is_empty()
            && select.larg().is_none()
            && select.target_list().iter().all(is_value) =>
        {
            1
        }
        0 => u32::MAX,
        rows => u32::try_from(rows).unwrap_or(u32::MAX),
    }
}

/// What a command puts into its target.
#[derive(Debug, Default)]
pub(super) struct Written {
    by_column: BTreeMap<Arc<str>, Value>,
    /// May be put into any column.
    anywhere: Option<Value>,
    /// What decides how many rows there are.
    pub counted_by: Set,
}

impl Written {
    pub(super) fn add(&mut self, column: &str, value: &Value) {
        self.by_column.entry(column.into()).or_insert_with(Value::constant).or(value);
    }

    /// Whatever was put into one column may be in any.
    pub(super) fn spread(&mut self) {
        for value in std::mem::take(&mut self.by_column).into_values() {
            self.add_anywhere(&value);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (column, value) in &other.by_column {
            self.add(column, value);
        }
        if let Some(anywhere) = &other.anywhere {
            self.add_anywhere(anywhere);
        }
        self.counted_by.extend(other.counted_by);
    }

    pub(super) fn add_anywhere(&mut self, value: &Value) {
        self.anywhere.get_or_insert_with(Value::constant).add(value);
    }

    /// What ends up in `column`.
    pub(super) fn fill(&self, column: &str, value: &mut Value) {
        for more in self.by_column.get(column).into_iter().chain(&self.anywhere) {
            value.or(more);
        }
    }

    /// Rows by position, into the named columns or else into those of the target in order.
    fn add_rows(&mut self, rows: &Rows, columns: &[Arc<str>]) {
        if rows.open.is_some() || rows.columns.len() > columns.len() {
            self.add_anywhere(&rows.whole());
        }
        for ((_, value), column) in rows.columns.iter().zip(columns) {
            self.add(column, value);
        }
    }
}

impl<'t> Analysis<'_, 't> {
    pub(super) fn insert(&mut self, insert: &'t InsertStmt) -> Result<Option<Rows>, Doubt> {
        let written_by = match insert.select_stmt() {
            Node::None => Rows::default(),
            select => self.query(select)?,
        };
        if insert.on_conflict_clause().is_some() {
            self.shared.tries(rows_given(insert.select_stmt()));
        }
        self.on_target(insert.relation(), |this, columns| {
            let mut written = Written::default();
            let named: Vec<Arc<str>> = insert.cols().iter().filter_map(target_name).map(Into::into).collect();
            written.add_rows(&written_by, if named.is_empty() { columns } else { &named });
            this.note_copies(&written)?;
            // How many rows there are tells a value, too.
            let counted = Value { implicit: written_by.counted_by, ..Value::default() };
            this.shared.copies(&Set::new(), &counted);
            if let Some(conflict) = insert.on_conflict_clause() {
                this.write(&written);
                this.push_copy("excluded", false);
                let mut set = Written::default();
                this.sets(untyped(conflict.target_list()), &mut set)?;
                this.note_copies(&set)?;
                written.merge(set);
                this.predicate(Clause::Where, conflict.where_clause())?;
            }
            let on = Changing {
                insert: true,
                update: insert.on_conflict_clause().is_some(),
                ..Changing::default()
            };
            this.note_kept_beside(insert.relation(), on)?;
            this.returning(insert.returning_clause(), written, insert.relation(), on)
        })
    }

    pub(super) fn update(&mut self, update: &'t UpdateStmt) -> Result<Option<Rows>, Doubt> {
        self.on_target(update.relation(), |this, _| {
            for item in update.from_clause() {
                this.bring_item(item)?;
            }
            this.predicate(Clause::Where, update.where_clause())?;
            let mut written = Written::default();
            this.sets(untyped(update.target_list()), &mut written)?;
            this.note_copies(&written)?;
            let on = Changing { update: true, ..Changing::default() };
            this.note_kept_beside(update.relation(), on)?;
            this.returning(update.returning_clause(), written, update.relation(), on)
        })
    }

    pub(super) fn delete(&mut self, delete: &'t DeleteStmt) -> Result<Option<Rows>, Doubt> {
        self.on_target(delete.relation(), |this, _| {
            for item in delete.using_clause() {
                this.bring_item(item)?;
            }
            this.predicate(Clause::Where, delete.where_clause())?;
            let on = Changing { delete: true, ..Changing::default() };
            this.note_kept_beside(delete.relation(), on)?;
            this.returning(delete.returning_clause(), Written::default(), delete.relation(), on)
        })
    }

    pub(super) fn merge(&mut self, merge: &'t MergeStmt) -> Result<Option<Rows>, Doubt> {
        self.on_target(merge.relation(), |this, columns| {
            this.bring_item(merge.source_relation())?;
            this.predicate(Clause::Join, merge.join_condition())?;
            let mut written = Written::default();
            for when in untyped(merge.merge_when_clauses()) {
                let Node::MergeWhenClause(when) = when else { return Err(Doubt::Syntax) };
                this.predicate(Clause::Where, when.condition())?;
                match when.command_type {
                    CmdType::CMD_UPDATE => this.sets(when.target_list(), &mut written)?,
                    CmdType::CMD_INSERT => {
                        let mut rows = Rows::default();
                        for value in when.values() {
                            let value = this.value(value)?;
                            rows.columns.push((UNNAMED.into(), value));
                        }
                        let named: Vec<Arc<str>> =
                            when.target_list().iter().filter_map(target_name).map(Into::into).collect();
                        written.add_rows(&rows, if named.is_empty() { columns } else { &named });
                    }
                    _ => {}
                }
            }
            this.note_copies(&written)?;
            // How many rows there are tells a value, too.
            let counted = this.level().counted_by.clone();
            this.shared.copies(&Set::new(), &Value { implicit: counted, ..Value::default() });
            this.note_kept_beside(merge.relation(), Changing::ANY)?;
            // The server puts the source's columns before the target's: a bare star is not worth telling apart.
            let rows = this.returning(merge.returning_clause(), written, merge.relation(), Changing::ANY)?;
            Ok(rows.map(|mut rows| {
                let has_star =
                    merge.returning_clause().is_some_and(|clause| clause.exprs().iter().any(is_bare_star));
                if has_star {
                    let whole = rows.whole();
                    let mut open = Value::unknown(Doubt::Syntax);
                    open.add(&whole);
                    rows = Rows::open(open);
                }
                rows
            }))
        })
    }

    /// Runs `inside` with the target as the first item of a level of its own; it gets the target's column names.
    fn on_target<T>(
        &mut self,
        target: Option<&'t RangeVar>,
        inside: impl FnOnce(&mut Self, &[Arc<str>]) -> Result<T, Doubt>,
    ) -> Result<T, Doubt> {
        let Some(target) = target else { return Err(Doubt::Syntax) };
        self.levels.push(Level::default());
        let result = self.target(target).and_then(|item| {
            let columns: Vec<Arc<str>> = item.columns.iter().map(|(name, _)| name.clone()).collect();
            self.level().push(item);
            inside(self, &columns)
        });
        self.levels.pop();
        result
    }

    /// SET a = …, (b, c) = …
    fn sets(&mut self, list: &'t NodeList, written: &mut Written) -> Result<(), Doubt> {
        for node in list {
            let Node::ResTarget(set) = node else { return Err(Doubt::Syntax) };
            let value = self.value(set.val())?;
            self.shared.spend(value.size())?;
            written.add(set.name().unwrap_or(UNNAMED), &value);
        }
        Ok(())
    }

    /// What is put into which column of the target.
    fn note_copies(&mut self, written: &Written) -> Result<(), Doubt> {
        let shared = self.shared;
        let Some(level) = self.levels.last() else { return Ok(()) };
        let Some(item) = level.items.first() else { return Ok(()) };
        for (name, slot) in &item.columns {
            let values = written.by_column.get(name).into_iter().chain(&written.anywhere);
            for value in values {
                shared.spend(value.size())?;
                let own = level.value(*slot).sources;
                shared.copies(&own, value);
                // A check says something of what comes from elsewhere, and a partition says all that its key does.
                let sources = value.sources.difference(&own).copied().collect();
                let other = Value { sources, ..Value::default() };
                self.note_in(Clause::Key, &other, Form::Computation);
                if item.has_parts {
                    shared.copies(&Set::new(), &other);
                }
            }
        }
        let known: HashSet<&str> = item.columns.iter().map(|(name, _)| &**name).collect();
        let is_new = |name: &str| item.open.is_some() || !known.contains(name);
        let elsewhere = written.by_column.iter().filter(|(name, _)| is_new(name)).map(|(_, value)| value);
        for value in elsewhere.chain(written.anywhere.iter().filter(|_| item.open.is_some())) {
            shared.spend(value.size())?;
            shared.copies(&Set::new(), value);
        }
        Ok(())
    }

    /// The target's columns hold what was written, from here on.
    fn write(&mut self, written: &Written) {
        let level = self.level();
        let Some(item) = level.items.first_mut() else { return };
        if let (Some(open), Some(anywhere)) = (&mut item.open, &written.anywhere) {
            open.add(anywhere);
        }
        for (name, slot) in &item.columns {
            if let Some(value) = level.slots.get_mut(*slot) {
                written.fill(name, value);
            }
        }
        if let Some(open) = &mut item.open {
            written.by_column.values().for_each(|value| open.add(value));
        }
    }

    /// The target once more under another name.
    fn push_copy(&mut self, name: &str, only_if_free: bool) {
        let level = self.level();
        let taken = level.items.iter().any(|item| item.is_named && item.name.as_deref() == Some(name));
        let Some(target) = level.items.first().filter(|_| !(taken && only_if_free)) else { return };
        let copy = Item {
            name: Some(name.into()),
            columns: target.columns.clone(),
            open: target.open.clone(),
            is_named: true,
            ..Item::default()
        };
        level.push(copy);
    }

    fn returning(
        &mut self,
        clause: Option<&'t ReturningClause>,
        mut written: Written,
        target: Option<&'t RangeVar>,
        on: Changing,
    ) -> Result<Option<Rows>, Doubt> {
        let Some(clause) = clause else { return Ok(None) };
        written.merge(self.put_beside(target, on)?);
        self.write(&written);
        let mut old = "old";
        let mut new = "new";
        for option in untyped(clause.options()) {
            let Node::ReturningOption(option) = option else { return Err(Doubt::Syntax) };
            match (option.option, option.value()) {
                (ReturningOptionKind::RETURNING_OPTION_OLD, Some(name)) => old = name,
                (_, Some(name)) => new = name,
                _ => {}
            }
        }
        self.push_copy(old, true);
        self.push_copy(new, true);
        self.targets(clause.exprs()).map(Some)
    }

    /// What a command writes to its target by column, and the rows that are there already are not looked at.
    pub(super) fn written(&mut self, node: Node<'t>) -> Result<Written, Doubt> {
        let mut found = Written::default();
        match node {
            Node::InsertStmt(insert) => {
                let inner = match insert.select_stmt() {
                    Node::SelectStmt(select) => select.with_clause(),
                    _ => None,
                };
                if insert.with_clause().is_some_and(writes) || inner.is_some_and(writes) {
                    found.add_anywhere(&Value::unknown(Doubt::Temporary));
                }
                self.with(insert.with_clause(), |this| {
                    let rows = match insert.select_stmt() {
                        Node::None => Rows::default(),
                        select => this.query(select)?,
                    };
                    found.counted_by.extend(&rows.counted_by);
                    let named: Vec<Arc<str>> =
                        insert.cols().iter().filter_map(target_name).map(Into::into).collect();
                    if named.is_empty() {
                        found.add_anywhere(&rows.whole());
                    } else {
                        found.add_rows(&rows, &named);
                    }
                    if insert.on_conflict_clause().is_some_and(|c| !c.target_list().is_empty()) {
                        found.add_anywhere(&Value::unknown(Doubt::Temporary));
                    }
                    Ok(())
                })?;
            }
            _ => found.add_anywhere(&Value::unknown(Doubt::Temporary)),
        }
        Ok(found)
    }
}

/// One of the WITH queries is a statement: it may write to any relation.
fn writes(with: &WithClause) -> bool {
    untyped(with.ctes()).iter().any(|node| match node {
        Node::CommonTableExpr(query) => !matches!(query.ctequery(), Node::SelectStmt(_)),
        _ => true,
    })
}

fn target_name(node: Node<'_>) -> Option<&str> {
    match node {
        Node::ResTarget(target) => ResTarget::name(target),
        _ => None,
    }
}

fn is_bare_star(node: Node<'_>) -> bool {
    match node {
        Node::ResTarget(target) => match target.val() {
            Node::ColumnRef(reference) => matches!(reference.fields().first(), Some(Node::A_Star(_))),
            _ => false,
        },
        _ => false,
    }
}
