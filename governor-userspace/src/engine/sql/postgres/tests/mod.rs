//! Tables of SQL with the facts that must come out. Errors and ways around first.

mod bounds;
mod columns;
mod facts;
mod named;
mod property;
mod shape;
mod tree;
mod unknown;
mod where_clause;

use super::*;

/// The facts of a text that is one command.
pub(super) fn one(sql: &str) -> Statement {
    let mut statements = all(sql);
    assert_eq!(statements.len(), 1, "{sql}");
    statements.remove(0)
}

fn all(sql: &str) -> Vec<Statement> {
    PostgresDialect::default().script(sql).statements
}

/// `a, s.b` as the display of sorted names.
fn joined<T: ToString>(names: &[T]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
