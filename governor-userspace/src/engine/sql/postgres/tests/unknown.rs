//! What is said not to be known, and how texts are cut.

use super::*;
use crate::engine::model::StatementKind as K;

#[test]
fn code_in_strings_is_dynamic() {
    for (sql, by, kind) in [
        ("DO $$ BEGIN RAISE NOTICE '%', 1; END $$", "DO", K::Do),
        ("SELECT query_to_xml('select ssn from people', true, false, '')", "query_to_xml", K::Select),
        ("SELECT pg_catalog.query_to_xml($1, true, false, '')", "pg_catalog.query_to_xml", K::Select),
        (
            "SELECT table_to_xml_and_xmlschema('people', true, false, '')",
            "table_to_xml_and_xmlschema",
            K::Select,
        ),
        ("SELECT schema_to_xml('hr', true, false, '')", "schema_to_xml", K::Select),
        ("SELECT database_to_xml(true, false, '')", "database_to_xml", K::Select),
        ("SELECT cursor_to_xml('c', 1, true, false, '')", "cursor_to_xml", K::Select),
        ("SELECT * FROM dblink('host=x', 'select 1') AS t(a int)", "dblink", K::Select),
        ("SELECT ext.dblink_exec('drop table people')", "ext.dblink_exec", K::Select),
        ("SELECT \"dblink\"('x')", "dblink", K::Select),
        ("SELECT U&\"dbl\\0069nk\"('x')", "dblink", K::Select),
        ("SELECT pg_read_file('/etc/passwd')", "pg_read_file", K::Select),
        ("SELECT * FROM pg_ls_dir('.')", "pg_ls_dir", K::Select),
        ("SELECT lo_import('/etc/passwd')", "lo_import", K::Select),
        ("SELECT lo_from_bytea(0, ssn::bytea) FROM people", "lo_from_bytea", K::Select),
        ("SELECT * FROM ts_stat('select ssn from people')", "ts_stat", K::Select),
        ("SELECT * FROM crosstab('select 1') AS t(a int)", "crosstab", K::Select),
        ("SELECT pg_logical_slot_get_changes('s', NULL, NULL)", "pg_logical_slot_get_changes", K::Select),
        ("SELECT cron.schedule('x', 'delete from people')", "cron.schedule", K::Select),
        ("SELECT 1 ORDER BY (SELECT lo_export(1, '/tmp/x'))", "lo_export", K::Select),
        ("EXPLAIN SELECT dblink('x')", "dblink", K::Explain),
        ("PREPARE p AS SELECT dblink('x')", "dblink", K::Prepare),
        ("INSERT INTO t VALUES (query_to_xml('x', true, true, ''))", "query_to_xml", K::Insert),
    ] {
        let statement = one(sql);
        assert_eq!(statement.unknown, Some(Unknown::DynamicSql { by: by.into() }), "{sql}");
        assert_eq!(statement.kind, kind, "{sql}");
        assert!(statement.mentions.every_column && statement.targets.is_none(), "{sql}");
    }
}

#[test]
fn ordinary_functions_are_not() {
    for sql in [
        "SELECT log(1), load_it(2), dbl(3), low(4), lower('x'), lookup(5), locate(6)",
        "SELECT * FROM pg_stat_activity",
        "SELECT dblink FROM t",
        "SELECT 'pg_read_file(1)'",
    ] {
        assert_eq!(one(sql).unknown, None, "{sql}");
    }
}

#[test]
fn computed_settings_are_not_understood() {
    for sql in [
        "SELECT set_config($1, 'x', false)",
        "SELECT set_config('ro' || 'le', 'admin', false)",
        "SELECT set_config(name, 'x', false) FROM settings",
        "SELECT set_config(setting_name => 'role', new_value => 'x', is_local => false)",
        "SELECT set_config('role', $1, false)",
        "SELECT set_config('standard_conforming_strings', lower('OFF'), false)",
        "SELECT set_config(VARIADIC $1)",
    ] {
        assert!(matches!(one(sql).unknown, Some(Unknown::NotUnderstood { .. })), "{sql}");
    }
}

#[test]
fn refused_texts_say_why() {
    for sql in [
        "SELEC 1",
        "SELECT 'open",
        "SELECT \"open",
        "SELECT $$open",
        "SELECT /* open",
        "SELECT 1; SELEC",
        "SELECT TOP 5 a FROM t",
        "USE x",
        "KILL 5",
        "PRAGMA x",
        "INSERT OVERWRITE t VALUES (1)",
        "SELECT E'\\xff'",
        "SELECT `a`",
        "\u{feff}SELECT 1",
    ] {
        let statement = one(sql);
        assert_eq!(statement.kind, K::Unknown, "{sql}");
        assert!(statement.mentions.every_column && statement.is_write(), "{sql}");
        match statement.unknown {
            Some(Unknown::Unparsable { message }) => assert!(!message.is_empty(), "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn zero_bytes_are_refused() {
    assert!(matches!(one("SELECT 1\0; DROP TABLE t").unknown, Some(Unknown::Unparsable { .. })));
}

#[test]
fn nonstandard_strings_are_refused_only_where_they_matter() {
    let off = PostgresDialect { standard_conforming_strings: false };
    let statement = &off.script(r"SELECT '\'; DELETE FROM people; --'").statements[0];
    assert!(matches!(statement.unknown, Some(Unknown::NotUnderstood { .. })));
    assert_eq!(off.script("SELECT 'it''s'").statements[0].unknown, None);
    // The same bytes under the standard are two commands.
    assert_eq!(all(r"SELECT '\'; DELETE FROM people; --'").len(), 2);
}

#[test]
fn texts_are_cut_where_the_server_cuts() {
    for (sql, expected) in [
        ("COPY t FROM STDIN; DELETE FROM users;", vec!["COPY t FROM STDIN", "DELETE FROM users"]),
        ("SELECT 1; -- x\r DELETE FROM users", vec!["SELECT 1", "DELETE FROM users"]),
        ("SELECT 1 -- x; DELETE FROM users", vec!["SELECT 1 -- x; DELETE FROM users"]),
        (
            "SELECT ';'; SELECT \";\"; SELECT $a$;$$;$a$",
            vec!["SELECT ';'", "SELECT \";\"", "SELECT $a$;$$;$a$"],
        ),
        ("SELECT E'\\';'; SELECT 2", vec!["SELECT E'\\';'", "SELECT 2"]),
        ("SELECT '\\'; SELECT 2 --'", vec!["SELECT '\\'", "SELECT 2 --'"]),
        ("SELECT /* ; /* ; */ ; */ 1; SELECT 2", vec!["SELECT /* ; /* ; */ ; */ 1", "SELECT 2"]),
        (";;  ;SELECT 1;;", vec!["SELECT 1"]),
        ("  SELECT 1  ", vec!["SELECT 1"]),
        ("SELECT 'ü'; SELECT 'ß'; SELECT '日本'", vec!["SELECT 'ü'", "SELECT 'ß'", "SELECT '日本'"]),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
            vec!["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "SELECT 3"],
        ),
        (
            "CREATE RULE r AS ON INSERT TO a DO (DELETE FROM b; DELETE FROM c); SELECT 1",
            vec!["CREATE RULE r AS ON INSERT TO a DO (DELETE FROM b; DELETE FROM c)", "SELECT 1"],
        ),
        ("BEGIN; DELETE FROM t; COMMIT", vec!["BEGIN", "DELETE FROM t", "COMMIT"]),
        ("SELECT U&'\\0027; DELETE FROM users; --'", vec!["SELECT U&'\\0027; DELETE FROM users; --'"]),
        ("SELECT 'a'\n'; DELETE FROM users; --'", vec!["SELECT 'a'\n'; DELETE FROM users; --'"]),
    ] {
        let statements = all(sql);
        let texts: Vec<&str> = statements.iter().map(|statement| &*statement.text).collect();
        assert_eq!(texts, expected, "{sql:?}");
        assert!(statements.iter().all(|statement| statement.unknown.is_none()), "{sql:?}");
    }
}

#[test]
fn mysql_comments_are_comments_here() {
    assert_eq!(one("/*M! DELETE FROM users */").kind, K::Empty);
    assert_eq!(one("DELETE FROM users /*!999999 WHERE id=1 */").has_where, Some(false));
}

#[test]
fn blank_texts_are_one_empty_command() {
    for sql in ["", " ", ";", " ; ;", "-- x", "/* x */", "\n\t\r\x0b\x0c", "/* a */ ; -- b"] {
        let statement = one(sql);
        assert_eq!((statement.kind, statement.unknown), (K::Empty, None), "{sql:?}");
        assert!(!statement.kinds.is_empty());
    }
}
