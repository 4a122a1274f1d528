//! Statements in order, and what is known after each.

use super::*;
use crate::engine::model::TempRows;
use crate::engine::sql::{PostgresDialect, SqlDialect};

/// As the server told it at the start: `"$user", public` for the role `app`.
fn told() -> Following {
    let mut following = Following::default();
    following.told(Some(answers("\"$user\", public")));
    following
}

fn answers(path: &str) -> Told {
    Told {
        search_path: path.into(),
        role: "none".into(),
        session_user: "app".into(),
        row_security: "on".into(),
        temporary: Some(vec![]),
    }
}

fn run(following: &mut Following, text: &str) {
    for statement in PostgresDialect::default().script(text).statements {
        following.follow(&statement, Reach::Text);
    }
}

fn path(following: &Following) -> Option<Vec<String>> {
    match &following.state().search_path {
        SearchPath::Known(path) => Some(path.clone()),
        SearchPath::Unknown(_) => None,
    }
}

fn known(schemas: &[&str]) -> Option<Vec<String>> {
    Some(schemas.iter().map(|s| (*s).to_owned()).collect())
}

#[test]
fn nothing_is_known_before_the_server_told_it() {
    let following = Following::default();
    assert!(following.wants_to_ask() && path(&following).is_none());
    let following = told();
    assert_eq!((path(&following), following.wants_to_ask()), (known(&["app", "public"]), false));
}

#[test]
fn a_plain_set_is_known_at_once() {
    for (text, expected) in [
        ("SET search_path = shop", &["shop"][..]),
        ("SET search_path TO \"Shop\", 'a, b', \"$user\"", &["Shop", "a, b", "app"]),
        ("SET SESSION search_path = shop", &["shop"]),
        ("SET LOCAL search_path = shop", &["shop"]),
        ("SET SCHEMA 'shop'", &["shop"]),
        ("SET search_path = ''", &[""]),
        ("BEGIN; SET search_path = shop; SAVEPOINT a", &["shop"]),
        ("SET timezone = 'UTC'", &["app", "public"]),
        ("SET row_security = off", &["app", "public"]),
    ] {
        let mut following = told();
        run(&mut following, text);
        assert_eq!((path(&following), following.wants_to_ask()), (known(expected), false), "{text}");
    }
}

#[test]
fn what_cannot_be_followed_is_unknown_and_asked_for() {
    for text in [
        "RESET search_path",
        "SET search_path TO DEFAULT",
        "RESET ALL",
        "DISCARD ALL",
        "SELECT set_config('search_path', 'shop', false)",
        "SELECT set_config('search_path', 'shop', false), set_config('role', 'admin', false)",
        "SELECT set_config('search_path', 'shop', true)",
        "SELECT set_config('search_' || 'path', 'shop', true)",
        "SET ROLE admin",
        "SET SESSION AUTHORIZATION admin",
        "BEGIN; SET search_path = shop; ROLLBACK",
        "BEGIN; SET search_path = shop; COMMIT",
        "BEGIN; SAVEPOINT a; SET search_path = shop; ROLLBACK TO a",
        "BEGIN; SET LOCAL search_path = shop; END",
        "BEGIN; SET search_path = shop; PREPARE TRANSACTION 'x'",
    ] {
        let mut following = told();
        run(&mut following, text);
        assert_eq!((path(&following), following.wants_to_ask()), (None, true), "{text}");
        following.told(Some(answers("shop")));
        assert_eq!((path(&following), following.wants_to_ask()), (known(&["shop"]), false), "{text}");
    }
}

#[test]
fn a_transaction_that_set_nothing_changes_nothing() {
    for text in ["BEGIN; SELECT 1; COMMIT", "BEGIN; ROLLBACK", "SET search_path = app, public"] {
        let mut following = told();
        run(&mut following, text);
        following.ready(false);
        run(&mut following, "BEGIN; ROLLBACK");
        assert_eq!(
            (path(&following), following.wants_to_ask()),
            (known(&["app", "public"]), false),
            "{text}"
        );
    }
}

#[test]
fn a_failure_undoes_what_its_transaction_set() {
    let mut following = told();
    run(&mut following, "SET search_path = shop; SELECT 1/0");
    following.failed();
    assert_eq!((path(&following), following.wants_to_ask()), (None, true));
    let mut following = told();
    run(&mut following, "SET search_path = shop");
    following.ready(false);
    run(&mut following, "SELECT 1/0");
    following.failed();
    assert_eq!(path(&following), known(&["shop"]), "that was committed before");
}

#[test]
fn set_local_ends_even_where_nobody_began_a_transaction() {
    let mut following = told();
    run(&mut following, "SET LOCAL search_path = shop");
    following.ready(false);
    assert_eq!((path(&following), following.wants_to_ask()), (None, true));
}

#[test]
fn code_on_the_server_may_set_anything() {
    let mut following = told();
    run(&mut following, "CREATE TEMP TABLE t AS SELECT 1");
    let call = PostgresDialect::default().script("SELECT f()").statements.remove(0);
    following.follow(&call, Reach::Code);
    assert_eq!((path(&following), following.wants_to_ask()), (None, true));
    assert!(matches!(following.state().temporary.get("t").unwrap().rows, TempRows::Unknown(_)));
    assert!(following.state().temporary.unseen.is_some());
}

#[test]
fn a_server_that_would_not_tell_is_not_asked_again_before_something_changes() {
    let mut following = told();
    run(&mut following, "RESET search_path");
    following.told(None);
    assert_eq!((path(&following), following.wants_to_ask()), (None, false));
    run(&mut following, "SET search_path = shop");
    assert_eq!(path(&following), known(&["shop"]));
    run(&mut following, "RESET ALL");
    assert!(following.wants_to_ask());
}

#[test]
fn text_behind_a_change_of_lexing_is_in_doubt_until_the_server_says_so() {
    for text in ["SET standard_conforming_strings = off", "SET NAMES 'SJIS'", "RESET ALL", "DISCARD ALL"] {
        let mut following = told();
        run(&mut following, text);
        assert!(following.lexing_in_doubt(), "{text}");
        following.ready(true);
        assert!(!following.lexing_in_doubt(), "{text}");
    }
}

#[test]
fn a_reported_path_is_taken_at_its_word() {
    let mut following = told();
    following.reported(b"search_path", b"shop, \"$user\"");
    assert_eq!(path(&following), known(&["shop", "app"]));
}

#[test]
fn lists_of_names_are_read_as_the_server_reads_them() {
    let names = |text: &str| names_in_list(text);
    assert_eq!(names(""), Some(vec![]));
    assert_eq!(names("  A , \"B\"\"c\" ,d "), known(&["a", "B\"c", "d"]));
    assert_eq!(names("\"a, b\""), known(&["a, b"]));
    let long = "x".repeat(64);
    for text in ["a,,b", "a,", ",a", "\"a", "a b", "\"a\"b", "caf\u{e9}", &long] {
        assert_eq!(names(text), None, "{text}");
    }
    assert_eq!(names(&vec!["a"; 1_000].join(",")), None, "bounded");
}

mod temporary {
    use super::*;

    fn rows(following: &Following, name: &str) -> Option<usize> {
        following.state().temporary.get(name).map(|object| match &object.rows {
            TempRows::Statements(sources) => sources.len(),
            TempRows::Unknown(_) => 0,
        })
    }

    #[test]
    fn a_table_is_known_by_what_made_and_fed_it() {
        let mut following = told();
        run(&mut following, "CREATE TEMP TABLE t AS SELECT email FROM people");
        assert_eq!(rows(&following, "t"), Some(1));
        run(&mut following, "INSERT INTO t VALUES ('x')");
        assert_eq!(rows(&following, "t"), Some(1), "values of the client's own");
        run(
            &mut following,
            "INSERT INTO t SELECT ssn FROM people; UPDATE pg_temp.t SET email = (SELECT ssn FROM people)",
        );
        assert_eq!(rows(&following, "t"), Some(3));
        run(&mut following, "INSERT INTO public.t SELECT 1 FROM people");
        assert_eq!(rows(&following, "t"), Some(3), "another table of that name");
    }

    #[test]
    fn what_is_not_followed_is_unknown() {
        for text in [
            "ALTER TABLE t RENAME COLUMN email TO note",
            "CREATE TEMP TABLE IF NOT EXISTS t AS SELECT 1",
            "CREATE OR REPLACE TEMP VIEW t AS SELECT 1",
            "DROP TABLE t",
            "DROP TABLE t; CREATE TEMP TABLE t AS SELECT 1",
            "BEGIN; ROLLBACK",
        ] {
            let mut following = told();
            run(&mut following, "CREATE TEMP TABLE t AS SELECT email FROM people");
            run(&mut following, text);
            assert_eq!(rows(&following, "t"), Some(0), "{text}");
        }
        let mut following = told();
        run(&mut following, "PREPARE p AS SELECT 1; CREATE TEMP TABLE t AS EXECUTE p");
        assert_eq!(rows(&following, "t"), Some(0));
    }

    #[test]
    fn the_server_tells_which_are_left() {
        let mut following = told();
        run(&mut following, "CREATE TEMP TABLE t AS SELECT 1; CREATE TEMP TABLE u AS SELECT 1");
        following.ready(false);
        assert!(!following.wants_to_ask());
        run(&mut following, "DROP TABLE t");
        following.ready(false);
        assert!(following.wants_to_ask());
        following.told(Some(Told { temporary: Some(vec!["u".into()]), ..answers("public") }));
        assert_eq!((rows(&following, "t"), rows(&following, "u")), (None, Some(1)));
    }

    #[test]
    fn on_commit_drop_is_found_out_at_the_end() {
        let mut following = told();
        run(&mut following, "BEGIN; CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1; COMMIT");
        following.ready(false);
        assert!(following.wants_to_ask());
        following.told(Some(answers("public")));
        assert_eq!(rows(&following, "t"), None);
    }

    #[test]
    fn a_definition_without_the_word_may_be_temporary_all_the_same() {
        for text in [
            "CREATE VIEW v AS SELECT * FROM t",
            "SET search_path = pg_temp; CREATE TABLE v AS SELECT 1",
            "RESET search_path; CREATE TABLE v AS SELECT 1",
        ] {
            let mut following = told();
            run(&mut following, "CREATE TEMP TABLE t AS SELECT email FROM people");
            run(&mut following, text);
            assert_eq!(rows(&following, "v"), Some(0), "{text}");
        }
        let mut following = told();
        run(&mut following, "CREATE TABLE v AS SELECT 1");
        assert_eq!(rows(&following, "v"), None);
    }

    #[test]
    fn discard_drops_them() {
        for text in ["DISCARD ALL", "DISCARD TEMP"] {
            let mut following = told();
            run(&mut following, "CREATE TEMP TABLE t AS SELECT 1");
            run(&mut following, text);
            assert_eq!(rows(&following, "t"), None, "{text}");
        }
    }
}
