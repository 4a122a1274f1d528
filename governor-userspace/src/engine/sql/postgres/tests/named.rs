//! What is told by name: functions, tags in the server's words, settings, prepared statements.

use super::*;
use crate::engine::model::StatementKind as K;

#[test]
fn names_behind_a_dot_may_be_functions() {
    for (sql, names) in [
        ("SELECT (1).wipe, (x.y).z, (ARRAY[1])[1].wipe, $1.erase", "erase, wipe, z"),
        ("SELECT (SELECT 1).first.second", "first, second"),
        ("SELECT n.wipe, m FROM generate_series(1, 3) n, t m", "wipe"),
        ("SELECT t.wipe, m.x FROM t, LATERAL (SELECT 1) m", ""),
        ("EXECUTE p((1).wipe)", "wipe"),
    ] {
        assert_eq!(joined(&one(sql).dotted), names, "{sql}");
    }
    for sql in ["SELECT ('SELECT 1'::text).ts_stat", "SELECT n.lo_get FROM unnest(ARRAY[1::oid]) n"] {
        assert!(matches!(one(sql).unknown, Some(Unknown::DynamicSql { .. })), "{sql}");
    }
}

#[test]
fn functions_by_name() {
    for (sql, functions) in [
        ("SELECT Lower(a), pg_catalog.upper(b), \"MyF\"(c) FROM t", "MyF, lower, pg_catalog.upper"),
        ("SELECT * FROM generate_series(1, 3) g, LATERAL f(g)", "f, generate_series"),
        (
            "SELECT extract(year FROM now()), substring(a FROM 2) FROM t",
            "now, pg_catalog.extract, pg_catalog.substring",
        ),
        ("SELECT 1 WHERE set_config('a.b', 'x', true) IS NULL ORDER BY g()", "g, set_config"),
        ("CALL s.p(f(1))", "f, s.p"),
        ("CREATE TRIGGER t AFTER INSERT ON people EXECUTE FUNCTION hr.leak()", "hr.leak"),
        ("CREATE TABLE t (a int DEFAULT nextval('s'))", "nextval"),
        ("EXECUTE p (f(1))", "f"),
        ("EXPLAIN SELECT f()", "f"),
        ("COPY (SELECT f()) TO STDOUT", "f"),
        ("MERGE INTO a USING b ON f(1) WHEN MATCHED AND g() THEN DO NOTHING", "f, g"),
        ("SELECT current_user, CURRENT_TIMESTAMP", ""),
    ] {
        assert_eq!(joined(&one(sql).functions), functions, "{sql}");
    }
}

#[test]
fn tags_in_the_servers_words() {
    for (sql, tag) in [
        ("SELECT 1", "SELECT"),
        ("SELECT 1 INTO t", "SELECT INTO"),
        ("WITH d AS (DELETE FROM people) SELECT 1", "SELECT"),
        ("DROP TABLE t", "DROP TABLE"),
        ("DROP MATERIALIZED VIEW t", "DROP MATERIALIZED VIEW"),
        ("DROP EVENT TRIGGER t", "DROP EVENT TRIGGER"),
        ("DROP TEXT SEARCH PARSER t", "DROP TEXT SEARCH PARSER"),
        ("CREATE INDEX ON t (a)", "CREATE INDEX"),
        ("ALTER TABLE t ADD a int", "ALTER TABLE"),
        ("ALTER TABLE t RENAME a TO b", "ALTER TABLE"),
        ("ALTER VIEW v RENAME a TO b", "ALTER VIEW"),
        ("ALTER SCHEMA a RENAME TO b", "ALTER SCHEMA"),
        ("ALTER MATERIALIZED VIEW v SET SCHEMA s", "ALTER MATERIALIZED VIEW"),
        ("ALTER PROCEDURE p() RENAME TO q", "ALTER PROCEDURE"),
        ("CREATE AGGREGATE a (int) (sfunc = f, stype = int)", "CREATE AGGREGATE"),
        ("CREATE TYPE t", "CREATE TYPE"),
        ("CREATE FOREIGN TABLE t (a int) SERVER s", "CREATE FOREIGN TABLE"),
        ("TRUNCATE t", "TRUNCATE TABLE"),
        ("START TRANSACTION", "START TRANSACTION"),
        ("END", "COMMIT"),
        ("ABORT", "ROLLBACK"),
        ("ROLLBACK TO s", "ROLLBACK"),
        ("RELEASE s", "RELEASE"),
        ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
        ("DISCARD TEMP", "DISCARD TEMP"),
        ("RESET ALL", "RESET"),
        ("GRANT a TO b", "GRANT ROLE"),
        ("REVOKE a FROM b", "REVOKE ROLE"),
        ("MOVE c", "MOVE"),
        ("ANALYZE", "ANALYZE"),
    ] {
        assert_eq!(one(sql).tag, tag, "{sql}");
    }
}

#[test]
fn settings() {
    let set = |name: &str, value: &str| Some((name.to_owned(), Some(value.to_owned())));
    let reset = |name: &str| Some((name.to_owned(), None));
    for (sql, setting) in [
        ("SET search_path = evil, public", set("search_path", "evil, public")),
        ("SET LOCAL Search_Path TO 'evil'", set("search_path", "evil")),
        ("SET \"Search_Path\" TO evil", set("search_path", "evil")),
        ("SET SCHEMA 'evil'", set("search_path", "evil")),
        ("SET standard_conforming_strings = off", set("standard_conforming_strings", "off")),
        ("SET NAMES 'SJIS'", set("client_encoding", "SJIS")),
        ("SET ROLE admin", set("role", "admin")),
        ("SET ROLE NONE", set("role", "none")),
        ("SET SESSION AUTHORIZATION admin", set("session_authorization", "admin")),
        ("SET LOCAL SESSION AUTHORIZATION DEFAULT", reset("session_authorization")),
        ("RESET ROLE", reset("role")),
        ("RESET ALL", reset("all")),
        ("SET x TO DEFAULT", reset("x")),
        ("SET a.b = -1.5", set("a.b", "-1.5")),
        ("SET TIME ZONE 'UTC'", set("timezone", "UTC")),
        ("SET TRANSACTION READ ONLY", set("transaction", "transaction_read_only=1")),
        ("SELECT set_config('role', 'admin', false)", set("role", "admin")),
        ("SELECT 1 WHERE set_config('ROLE'::text, 'admin', false) = ''", set("role", "admin")),
        (
            "SELECT set_config('a.b', 'c', true), set_config('role', 'x', true), set_config('d.e', 'f', true)",
            set("role", "x"),
        ),
        ("SELECT set_config('a.b', $1, true)", reset("a.b")),
        ("SELECT 1", None),
        ("DISCARD ALL", None),
        ("ALTER SYSTEM SET a = 1", None),
        ("ALTER ROLE eve SET role = admin", None),
        ("EXPLAIN SELECT set_config('role', 'admin', false)", None),
    ] {
        assert_eq!(one(sql).setting, setting, "{sql}");
    }
}

#[test]
fn prepared_statements_by_name_with_their_inner() {
    let prepare = one("PREPARE p (int) AS DELETE FROM people");
    assert_eq!(prepare.prepared_name.as_deref(), Some("p"));
    let inner = prepare.inner.expect("PREPARE has an inner statement");
    assert_eq!(
        (inner.kind, joined(&inner.writes), inner.has_where),
        (K::Delete, "people".into(), Some(false))
    );

    assert_eq!(one("EXECUTE p(1)").prepared_name.as_deref(), Some("p"));
    assert_eq!(one("EXPLAIN ANALYZE EXECUTE p").prepared_name.as_deref(), Some("p"));
    assert_eq!(one("CREATE TABLE t AS EXECUTE p").prepared_name.as_deref(), Some("p"));
    assert_eq!(one("DEALLOCATE \"P\"").prepared_name.as_deref(), Some("P"));
    assert_eq!(one("DEALLOCATE ALL").prepared_name, None);

    let inner = one("EXPLAIN DELETE FROM people").inner.expect("EXPLAIN has an inner statement");
    assert_eq!((inner.kind, inner.has_where), (K::Delete, Some(false)));
}
