//! Commands: which of them have rows, and where those come from.

use super::value::{Rows, Set, Value};
use super::{Analysis, Doubt};
use crate::engine::model::{Changing, Clause, Form};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{CopyStmt, IndexStmt, IntoClause, SelectStmt};
use pg_raw_parse::raw::ObjectType;

/// Commands that may stand where a query may, and have rows through RETURNING.
pub(super) fn is_statement(node: Node<'_>) -> bool {
    matches!(node, Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_))
}

/// SELECT INTO of a table that outlives the session. In a set operation INTO stands in the first arm.
fn makes_table(select: &SelectStmt) -> bool {
    let mut first = select;
    for _ in 0..ARMS_MAX {
        match first.larg() {
            Some(left) => first = left,
            None => return first.into_clause().is_some_and(|into| !is_temporary(into)),
        }
    }
    true
}

fn is_temporary(into: &IntoClause) -> bool {
    into.rel().is_some_and(|rel| {
        rel.relpersistence as u8 == b't'
            || rel.schemaname().is_some_and(|schema| schema.starts_with("pg_temp"))
    })
}

/// Arms of a set operation that are looked through; in longer ones a table may be made.
const ARMS_MAX: usize = 10_000;

impl<'t> Analysis<'_, 't> {
    /// The rows of a whole command; `None` where it has none.
    pub(super) fn command(&mut self, node: Node<'t>) -> Result<Option<Rows>, Doubt> {
        match node {
            Node::SelectStmt(select) => self.select_command(node, select),
            node if is_statement(node) => self.statement(node),
            node => self.other_command(node),
        }
    }

    fn select_command(&mut self, node: Node<'t>, select: &'t SelectStmt) -> Result<Option<Rows>, Doubt> {
        let rows = self.query(node)?;
        if makes_table(select) {
            self.note_new(&rows)?;
        }
        Ok(Some(rows))
    }

    /// Apart from the commands that are mostly sent: queries in them are as deep as the stack allows.
    fn other_command(&mut self, node: Node<'t>) -> Result<Option<Rows>, Doubt> {
        match node {
            Node::PrepareStmt(prepare) => self.inner(prepare.query()),
            Node::DeclareCursorStmt(declare) => self.inner(declare.query()),
            Node::CreateTableAsStmt(create) => {
                let rows = self.inner(create.query())?;
                let is_table =
                    create.objtype != ObjectType::OBJECT_MATVIEW && !create.into().is_some_and(is_temporary);
                if let Some(rows) = rows.as_ref().filter(|_| is_table) {
                    self.note_new(rows)?;
                }
                let names = create.into().map(|into| into.col_names());
                Ok(rows.map(|mut rows| {
                    rows.rename(names.into_iter().flatten().filter_map(Node::as_str));
                    rows
                }))
            }
            Node::ViewStmt(view) => {
                let rows = self.inner(view.query())?;
                Ok(rows.map(|mut rows| {
                    rows.rename(view.aliases().iter().filter_map(Node::as_str));
                    rows
                }))
            }
            Node::IndexStmt(index) => {
                self.levels.push(super::Level::default());
                let result = self.index(index);
                self.levels.pop();
                result.map(|()| None)
            }
            Node::CopyStmt(copy) if !copy.is_from => self.copy(copy).map(Some),
            Node::CopyStmt(copy) => self.copy_in(copy).map(|()| None),
            Node::CreateStmt(create) => self.defaults(create).map(|()| None),
            // What they show is not of a table; what they may run has no rows here.
            Node::ExplainStmt(explain) => {
                // Estimates and counts of rows tell what conditions tell.
                match explain.query() {
                    // What is behind the name is asked about for itself.
                    Node::ExecuteStmt(_) => {}
                    query => drop(self.command(query)?),
                }
                Ok(None)
            }
            Node::VariableShowStmt(_) => Ok(None),
            Node::TransactionStmt(_)
            | Node::VariableSetStmt(_)
            | Node::DropStmt(_)
            | Node::TruncateStmt(_) => Ok(None),
            // EXECUTE and FETCH: whoever tracks the session has the text behind the name. CALL: anything.
            _ => Err(Doubt::Syntax),
        }
    }

    /// A table is made of these rows.
    fn note_new(&mut self, rows: &Rows) -> Result<(), Doubt> {
        self.shared.spend(rows.size())?;
        let mut whole = rows.whole();
        // How many there are is kept as well.
        whole.implicit.extend(&rows.counted_by);
        self.shared.copies(&Set::new(), &whole);
        Ok(())
    }

    /// An index is made of every row: whether that fails, and how large it gets, tells of its expressions, of what it
    /// leaves out, and of what is there twice.
    fn index(&mut self, index: &'t IndexStmt) -> Result<(), Doubt> {
        let Some(range) = index.relation() else { return Err(Doubt::Syntax) };
        let item = self.target(range)?;
        self.level().push(item);
        for key in index.index_params() {
            match key.name() {
                None => drop(self.as_one(Clause::Result, Form::Computation, key.expr())?),
                Some(name) if index.unique => {
                    let value = self.bare_name(name)?;
                    self.note_in(Clause::Result, &value, Form::Computation);
                }
                Some(_) => {}
            }
        }
        self.predicate(Clause::Where, index.where_clause())
    }

    fn inner(&mut self, node: Node<'t>) -> Result<Option<Rows>, Doubt> {
        match node {
            Node::SelectStmt(_) => self.query(node).map(Some),
            node if is_statement(node) => self.statement(node),
            _ => Err(Doubt::Syntax),
        }
    }

    /// INSERT, UPDATE, DELETE, MERGE: the rows of RETURNING.
    pub(super) fn statement(&mut self, node: Node<'t>) -> Result<Option<Rows>, Doubt> {
        let shared = self.shared;
        shared.nested(|| match node {
            Node::InsertStmt(insert) => self.with(insert.with_clause(), |this| this.insert(insert)),
            Node::UpdateStmt(update) => self.with(update.with_clause(), |this| this.update(update)),
            Node::DeleteStmt(delete) => self.with(delete.with_clause(), |this| this.delete(delete)),
            Node::MergeStmt(merge) => self.with(merge.with_clause(), |this| this.merge(merge)),
            _ => Err(Doubt::Syntax),
        })
    }

    fn copy(&mut self, copy: &'t CopyStmt) -> Result<Rows, Doubt> {
        let Some(range) = copy.relation() else {
            return Ok(self.inner(copy.query())?.unwrap_or_default());
        };
        self.levels.push(super::Level::default());
        let result = self.copied(copy, range);
        self.levels.pop();
        result
    }

    /// COPY FROM: which rows come in, and what they make the database keep.
    fn copy_in(&mut self, copy: &'t CopyStmt) -> Result<(), Doubt> {
        self.levels.push(super::Level::default());
        let result = self.copied_in(copy);
        self.levels.pop();
        result
    }

    fn copied_in(&mut self, copy: &'t CopyStmt) -> Result<(), Doubt> {
        let Some(range) = copy.relation() else { return Err(Doubt::Syntax) };
        let item = self.target(range)?;
        self.level().push(item);
        self.predicate(Clause::Where, copy.where_clause())?;
        self.note_kept_beside(Some(range), Changing { insert: true, ..Changing::default() })
    }

    fn copied(
        &mut self,
        copy: &'t CopyStmt,
        range: &'t pg_raw_parse::nodes::RangeVar,
    ) -> Result<Rows, Doubt> {
        let item = self.target(range)?;
        self.level().push(item);
        self.predicate(Clause::Where, copy.where_clause())?;
        let mut rows = Rows::default();
        if copy.attlist().is_empty() {
            self.star(None, &mut rows)?;
        }
        for name in copy.attlist().iter().filter_map(Node::as_str) {
            let value = self.bare_name(name)?;
            rows.columns.push((name.into(), value));
        }
        if let Some(open) = &mut rows.open
            && open.unknown.is_none()
            && open == &Value::default()
        {
            // A relation of the system, all of its columns.
            open.doubt(Some(Doubt::UnknownRelation));
        }
        Ok(rows)
    }
}
