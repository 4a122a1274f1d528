//! Temporary relations of the session: their columns and flows from the statements behind them.
//!
//! The first statement made it (CREATE TABLE, CREATE TABLE AS, SELECT INTO, CREATE VIEW), the rest wrote to it. Values that a
//! client sends itself are its own. What is not one of the plain ways to write makes all of it unknown.

use super::value::{COUNT_IN_DOUBT, Rows, Set, UNNAMED, Value};
use super::{Doubt, Shared, one, parse};
use crate::engine::model::SearchPath;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{Constraint, CreateStmt};
use pg_raw_parse::raw::ConstrType;
use std::sync::Arc;

impl Shared<'_> {
    pub(super) fn temporary_rows(
        &self,
        name: &str,
        statements: &[(Arc<str>, SearchPath)],
    ) -> Result<Rows, Doubt> {
        let known = self.temporary.borrow().get(name).cloned();
        if let Some(found) = known {
            // Still being read: it was made from itself, or from one of its name before it.
            return Ok(found.unwrap_or_else(unknown));
        }
        self.temporary.borrow_mut().insert(name.into(), None);
        let outer = self.is_past.replace(true);
        let rows = self.nested(|| self.read_temporary(statements));
        self.is_past.set(outer);
        let rows = match rows {
            Ok(rows) => rows,
            Err(why @ (Doubt::TooMuch | Doubt::TooDeep)) => return Err(why),
            Err(_) => unknown(),
        };
        self.temporary.borrow_mut().insert(name.into(), Some(rows.clone()));
        Ok(rows)
    }

    fn read_temporary(&self, statements: &[(Arc<str>, SearchPath)]) -> Result<Rows, Doubt> {
        let Some(((text, path), rest)) = statements.split_first() else { return Ok(unknown()) };
        self.spend(text.len() / 16)?;
        let tree = parse(text)?;
        let mut analysis = self.analysis(path);
        let mut rows = match one(&tree)? {
            Node::CreateStmt(create) => defined(create)?,
            made @ (Node::CreateTableAsStmt(_) | Node::ViewStmt(_) | Node::SelectStmt(_)) => {
                analysis.command(made)?.unwrap_or_else(unknown)
            }
            _ => return Ok(unknown()),
        };
        for (text, path) in rest {
            self.spend(text.len() / 16)?;
            let tree = parse(text)?;
            let written = self.analysis(path).written(one(&tree)?)?;
            for (name, value) in &mut rows.columns {
                written.fill(name, value);
            }
            rows.counted_by.extend(written.counted_by);
        }
        Ok(rows)
    }
}

/// The columns of CREATE TABLE: empty, so nothing flows.
fn defined(create: &CreateStmt) -> Result<Rows, Doubt> {
    // In which partition a row is tells its key.
    let has_parts = create.partbound().is_some() || create.partspec().is_some();
    if !create.inh_relations().is_empty() || create.of_typename().is_some() || has_parts {
        return Err(Doubt::Temporary);
    }
    let mut rows = Rows::default();
    for element in create.table_elts() {
        match element {
            Node::ColumnDef(column) => {
                if !column.constraints().iter().all(is_plain) {
                    return Err(Doubt::Temporary);
                }
                rows.columns.push((column.colname().unwrap_or(UNNAMED).into(), Value::constant()));
            }
            Node::Constraint(_) => {}
            // LIKE and the like.
            _ => return Err(Doubt::Temporary),
        }
    }
    Ok(rows)
}

/// Puts no value into its column but a literal.
fn is_plain(node: Node<'_>) -> bool {
    let Node::Constraint(constraint) = node else { return false };
    match constraint.contype {
        ConstrType::CONSTR_GENERATED => false,
        ConstrType::CONSTR_DEFAULT => is_literal(constraint),
        _ => true,
    }
}

fn is_literal(constraint: &Constraint) -> bool {
    let mut value = constraint.raw_expr();
    if let Node::TypeCast(cast) = value {
        value = cast.arg();
    }
    matches!(value, Node::A_Const(_) | Node::SQLValueFunction(_))
}

fn unknown() -> Rows {
    let counted_by = Set::from([COUNT_IN_DOUBT]);
    Rows { counted_by, ..Rows::open(Value::unknown(Doubt::Temporary)) }
}
