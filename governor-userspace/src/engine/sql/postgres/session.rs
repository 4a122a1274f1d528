//! What a command does to the session that runs it: temporary objects, cursors, SET LOCAL.

use super::command::explain_runs;
use crate::engine::model::{Cursor, CursorUse, SessionEffect};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{RangeVar, SelectStmt};

/// `None` where it does nothing of the kind.
pub(super) fn effect(root: Node<'_>) -> Option<Box<SessionEffect>> {
    let cursor = |name: Option<&str>, does| SessionEffect {
        cursor: Some(Cursor { name: name.map(Into::into), does }),
        ..SessionEffect::default()
    };
    let temporary = |range: Option<&RangeVar>| SessionEffect {
        makes_temporary: range
            .filter(|range| is_temporary(range))
            .and_then(RangeVar::relname)
            .map(Into::into),
        ..SessionEffect::default()
    };
    let effect = match root {
        Node::VariableSetStmt(set) if set.is_local => {
            SessionEffect { is_local: true, ..SessionEffect::default() }
        }
        Node::DeclareCursorStmt(declare) => {
            let holds = declare.options & HOLD != 0;
            cursor(declare.portalname(), CursorUse::Declare { holds })
        }
        Node::FetchStmt(fetch) => cursor(fetch.portalname(), CursorUse::Fetch),
        Node::ClosePortalStmt(close) => cursor(close.portalname(), CursorUse::Close),
        Node::CreateStmt(create) => temporary(create.relation()),
        Node::ViewStmt(view) => temporary(view.view()),
        Node::CreateTableAsStmt(create) => temporary(create.into().and_then(|into| into.rel())),
        Node::SelectStmt(select) => temporary(into(select)),
        Node::ExplainStmt(explain) if explain_runs(explain) => match explain.query() {
            Node::CreateTableAsStmt(create) => temporary(create.into().and_then(|into| into.rel())),
            Node::SelectStmt(select) => temporary(into(select)),
            _ => return None,
        },
        _ => return None,
    };
    (effect != SessionEffect::default()).then(|| Box::new(effect))
}

/// The target of SELECT INTO: it is on the first arm of set operations.
fn into(mut select: &SelectStmt) -> Option<&RangeVar> {
    for _ in 0..ARMS_MAX {
        if let Some(into) = select.into_clause() {
            return into.rel();
        }
        select = select.larg()?;
    }
    None
}

fn is_temporary(range: &RangeVar) -> bool {
    range.relpersistence as u8 == b't' || range.schemaname() == Some("pg_temp")
}

/// CURSOR_OPT_HOLD.
const HOLD: std::os::raw::c_int = 0x20;
/// More arms than this before INTO: then it is only reported as a relation that is written.
const ARMS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::super::tests::one;
    use crate::engine::model::{Cursor, CursorUse, SessionEffect, Statement};

    fn effect(text: &str) -> SessionEffect {
        one(text).session.map(|effect| *effect).unwrap_or_default()
    }

    #[test]
    fn temporary_objects_are_known_by_name() {
        for text in [
            "CREATE TEMP TABLE t (a int)",
            "CREATE TEMPORARY TABLE t AS SELECT 1",
            "CREATE TABLE pg_temp.t AS SELECT 1",
            "SELECT 1 INTO TEMP t",
            "SELECT 1 INTO TEMP t UNION SELECT 2",
            "CREATE TEMP VIEW t AS SELECT 1",
            "CREATE OR REPLACE TEMP VIEW t AS SELECT 1",
            "EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1",
        ] {
            assert_eq!(effect(text).makes_temporary.as_deref(), Some("t"), "{text}");
        }
        for text in ["CREATE TABLE t (a int)", "SELECT 1 INTO t", "EXPLAIN CREATE TEMP TABLE t AS SELECT 1"] {
            assert_eq!(effect(text), SessionEffect::default(), "{text}");
        }
    }

    #[test]
    fn cursors_are_followed_by_name() {
        let of = |text: &str| effect(text).cursor;
        let cursor = |name: &str, does| Some(Cursor { name: Some(name.into()), does });
        assert_eq!(
            of("DECLARE C CURSOR WITH HOLD FOR SELECT 1"),
            cursor("c", CursorUse::Declare { holds: true })
        );
        assert_eq!(of("DECLARE c CURSOR FOR SELECT 1"), cursor("c", CursorUse::Declare { holds: false }));
        assert_eq!(of("FETCH ALL FROM \"C\""), cursor("C", CursorUse::Fetch));
        assert_eq!(of("MOVE 1 IN c"), cursor("c", CursorUse::Fetch));
        assert_eq!(of("CLOSE c"), cursor("c", CursorUse::Close));
        assert_eq!(of("CLOSE ALL"), Some(Cursor { name: None, does: CursorUse::Close }));
    }

    #[test]
    fn the_query_of_a_cursor_is_its_inner_statement() {
        let declare: Statement = one("DECLARE c CURSOR FOR SELECT email FROM people");
        let inner = declare.inner.unwrap();
        assert_eq!(inner.targets.unwrap()[0].mentions.columns, ["email"]);
    }

    #[test]
    fn names_in_a_list_are_told_as_the_server_shows_them() {
        let value = |text: &str| one(text).setting.unwrap().1.unwrap();
        assert_eq!(value("SET search_path = a, \"B c\", \"$user\""), "a, \"B c\", \"$user\"");
        assert_eq!(value("SET search_path = 'a, b'"), "\"a, b\"", "one schema of that name");
        assert_eq!(value("SET search_path = ''"), "\"\"");
        assert_eq!(value("SET LOCAL search_path = a"), "a");
        assert!(effect("SET LOCAL search_path = a").is_local);
    }
}
