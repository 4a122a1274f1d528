//! Whether what a statement relies on is as it was read: asked with the statement, and what comes of the answer.

use super::stage::*;
use crate::engine::model::{Class, Verdict};
use crate::engine::session::*;

fn told(s: &Stage) -> String {
    String::from_utf8_lossy(&s.to_client).into_owned()
}

/// The rows of a text column that the server names no origin of.
fn answer(value: &str, state: u8) -> Vec<u8> {
    let rows = [row_description(&[("x", 0, 0)]), data_row(&[value]), complete("SELECT 1"), ready(state)];
    rows.concat()
}

/// So much later that the catalogue may be read again.
fn later(s: &mut Stage) {
    s.at(Timestamp { unix_ns: 2_000_000, monotonic_ns: 2_000_000 });
}

#[test]
fn nothing_of_the_question_reaches_the_client() {
    for class in [Class::Agent, Class::Person] {
        let mut s = Stage::ready(class);
        s.client(&query("SELECT note || '' AS x FROM people"));
        s.server(&answer("kettle", b'I'));
        assert_eq!((s.checked, s.server_kinds().as_str(), s.client_kinds().as_str()), (1, "Q", "TDCZ"));
        assert!(told(&s).contains("kettle"), "{}", told(&s));
    }
}

/// From version 18 on the query goes on with the question's transaction: a COMMIT ends it before the client hears of it.
#[test]
fn a_server_that_pipelines_queries_is_told_to_commit() {
    let mut s = Stage::ready(Class::Person);
    s.server_version("18.4");
    s.clear();
    let rows = [row_description(&[("x", 0, 0)]), data_row(&["kettle"]), complete("SELECT 1"), ready(b'T')];
    let committed = [error("25P01"), complete("COMMIT"), ready(b'I')];
    let mut committed = committed.concat();
    committed[0] = b'N';
    for (query_told, commit_told, heard, both) in [
        (rows.concat(), committed.clone(), "TD", "TDCZ"),
        // A constraint that is checked at the end.
        (rows.concat(), [error("23503"), ready(b'I')].concat(), "TD", "TDEZ"),
        ([error("22012"), ready(b'I')].concat(), committed, "E", "EZ"),
    ] {
        s.client(&query("SELECT note || '' AS x FROM people"));
        assert_eq!(s.server_kinds(), "QQ");
        s.server(&query_told);
        assert_eq!(s.client_kinds(), heard);
        s.server(&commit_told);
        assert_eq!(s.client_kinds(), both);
        s.clear();
    }
    assert!(s.session.owes_nothing());
    // A transaction of the client's own ends when the client says so.
    s.client(&query("BEGIN"));
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    s.clear();
    s.client(&query("SELECT note || '' AS x FROM people"));
    assert_eq!(s.server_kinds(), "Q");
}

#[test]
fn who_is_shown_everything_costs_no_question_and_constants_do_not() {
    let mut s = Stage::ready(Class::Service);
    s.client(&query("SELECT note || '' AS x FROM people"));
    assert_eq!(s.checked, 0);
    let mut s = Stage::ready(Class::Agent);
    for text in ["SELECT 'x' AS x", "SELECT pg_catalog.now() AS x", "SHOW search_path"] {
        s.client(&query(text));
        s.server(&answer("busy", b'I'));
    }
    assert_eq!(s.checked, 0);
    assert!(told(&s).matches("busy").count() == 3, "{}", told(&s));
    s.client(&query("SELECT count(*) AS x FROM generate_series(1, 9)"));
    assert_eq!(s.checked, 1, "one more function may have that name");
}

#[test]
fn another_answer_has_the_catalogue_read_again() {
    let mut s = Stage::ready(Class::Agent);
    later(&mut s);
    s.told_of_check = Some("otherwise".into());
    s.client(&query("SELECT note || '' AS x FROM people"));
    assert_eq!(s.server_kinds(), "SQ", "the question's transaction ends, and the catalogue is read");
    s.told_of_check = None;
    // Now `note` holds what was `email`.
    let renamed = [["c", "20000", "4", "email", "25"], ["c", "20000", "5", "note", "25"]];
    let renamed: Vec<&[&str]> = renamed.iter().map(|row| &row[..]).collect();
    s.server(&ready(b'I'));
    s.catalogue_of(&renamed);
    assert_eq!(s.server_kinds(), "SQQ");
    s.server(&answer("kettle", b'I'));
    assert_eq!(s.client_kinds(), "TDCZ");
}

#[test]
fn in_a_transaction_another_answer_hides_what_comes() {
    let mut s = Stage::ready(Class::Person);
    later(&mut s);
    s.client(&query("BEGIN"));
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    s.told_of_check = Some("otherwise".into());
    for text in ["SELECT note AS x FROM people", "SELECT count(*) AS x FROM people"] {
        s.clear();
        s.client(&query(text));
        s.server(&answer("violet-harbour-6613", b'T'));
        assert_eq!(s.client_kinds(), "TDCZ");
        assert!(!told(&s).contains("violet"), "{text}: {}", told(&s));
    }
}

#[test]
fn between_bind_and_execute_another_answer_hides_what_comes() {
    for (text, described) in [("SELECT note FROM people", true), ("SELECT note FROM people", false)] {
        let mut s = Stage::ready(Class::Person);
        later(&mut s);
        let ask = if described { describe("") } else { vec![] };
        s.told_of_check = Some("otherwise".into());
        s.client(&[parse("", text), bind("", ""), ask, execute(""), sync()].concat());
        s.server(&[message(b'1', b""), message(b'2', b"")].concat());
        s.server(&row_description(&[("note", 20_000, 3)]));
        s.server(&[data_row(&["violet-harbour-6613"]), complete("SELECT 1"), ready(b'I')].concat());
        assert_eq!(s.checked, 1);
        assert!(!told(&s).contains("violet"), "{}", told(&s));
        assert_eq!(s.client_kinds(), if described { "12TDCZ" } else { "12DCZ" });
    }
}

/// Another session read the catalogue while a statement of this one ran: no reason to doubt what this one was judged by.
#[test]
fn a_reading_by_another_session_puts_nothing_in_doubt() {
    for text in ["SELECT 'busy' AS x", "SELECT note || '' AS x FROM people"] {
        let mut s = Stage::ready(Class::Person);
        s.client(&query(text));
        let mine = s.session.catalogue.clone().unwrap();
        let dialect = crate::engine::sql::PostgresDialect::default();
        let (labels, rulings) = (catalogue::Labels::default(), catalogue::Rulings::default());
        let now = Timestamp { unix_ns: 9, monotonic_ns: 9 };
        let newer = Catalogue::new((*mine.data).clone(), &labels, &rulings, &dialect, now);
        s.governance.learn_catalogue(s.session.setup.destination.clone(), "shop".into(), Arc::new(newer));
        s.server(&answer("busy", b'I'));
        assert!(told(&s).contains("busy"), "{text}: {}", told(&s));
    }
}

/// A definition changed for certain while a statement ran: what it was judged by still holds for it, since the server
/// said so when it began.
#[test]
fn a_change_behind_a_statement_that_runs_says_nothing_of_it() {
    let mut s = Stage::ready(Class::Person);
    s.client(&query("SELECT note || '' AS x FROM people"));
    let now = Timestamp { unix_ns: 9, monotonic_ns: 9 };
    s.governance.outdate_catalogue(s.session.setup.destination.clone(), "shop", now);
    s.server(&answer("busy", b'I'));
    assert!(told(&s).contains("busy"), "{}", told(&s));
}

#[test]
fn what_the_server_cannot_parse_fails_as_it_would_have() {
    for (state, expected) in [(b'I', "EZ"), (b'T', "EZ")] {
        let mut s = Stage::ready(Class::Person);
        s.client(&query("BEGIN"));
        s.server(&[complete("BEGIN"), ready(state)].concat());
        s.clear();
        s.state = None;
        s.client(&query("SELECT nothing FROM people"));
        s.server(&error("42703"));
        s.server(&ready(if state == b'I' { b'I' } else { b'E' }));
        // The client's own message goes all the same; in a transaction that failed it cannot say why.
        s.server(&error(if state == b'I' { "42703" } else { "25P02" }));
        s.server(&ready(if state == b'I' { b'I' } else { b'E' }));
        assert_eq!((s.client_kinds().as_str(), s.errors()), (expected, vec!["42703".to_owned()]));
    }
}

/// A function was replaced between two statements of the extended protocol.
#[test]
fn a_replaced_function_hides_its_row_and_the_session_goes_on() {
    let twice = [
        "f",
        "30001",
        "public",
        "twice",
        "i",
        "f",
        "f",
        "1",
        "0",
        "f",
        "",
        "",
        "23",
        "",
        "sql",
        "f",
        "23",
        "",
        "SELECT 2 * $1",
    ];
    let mut s = Stage::ready_with(Class::Person, &[&twice]);
    for (answer, told) in [(None, "2"), (Some("otherwise"), "7319")] {
        later(&mut s);
        s.told_of_check = answer.map(str::to_owned);
        s.clear();
        s.client(&[parse("", "SELECT twice(1)"), bind("", ""), describe(""), execute(""), sync()].concat());
        s.server(&[message(b'1', b""), message(b'2', b"")].concat());
        s.server(&row_description_of(&[("twice", 0, 0)], 23));
        s.server(&[data_row(&[told]), complete("SELECT 1"), ready(b'I')].concat());
        assert_eq!(s.client_kinds(), "12TDCZ", "{:?}", s.errors());
        assert_eq!(String::from_utf8_lossy(&s.to_client).contains(told), answer.is_none());
    }
}

/// What an agent's statement has done cannot be hidden, so it does not run.
#[test]
fn what_an_agent_relies_on_holds_or_its_statement_does_not_run() {
    let text = "SELECT note || '' AS x FROM people";
    for in_transaction in [false, true] {
        let mut s = Stage::ready(Class::Agent);
        later(&mut s);
        if in_transaction {
            s.client(&query("BEGIN"));
            s.server(&[complete("BEGIN"), ready(b'T')].concat());
        }
        s.clear();
        s.told_of_check = Some("otherwise".into());
        s.client(&[parse("", text), bind("", ""), execute(""), sync()].concat());
        assert_eq!(s.server_kinds(), "P", "Bind waits for the answer");
        s.server(&message(b'1', b""));
        assert_eq!((s.checked, s.server_kinds().as_str()), (1, "PPS"), "a stand-in fails in place of Bind");
        s.server(&[error("42601"), ready(if in_transaction { b'E' } else { b'I' })].concat());
        assert_eq!((s.client_kinds().as_str(), s.errors()), ("1EZ", vec!["40001".to_owned()]));
        assert_eq!(s.verdicts().last(), Some(&Verdict::Deny));
        assert!(s.session.owes_nothing() && s.session.wants_client());
    }
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("BEGIN"));
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    s.told_of_check = Some("otherwise".into());
    s.client(&query(text));
    s.server(&[error("42601"), ready(b'E')].concat());
    assert_eq!(s.errors(), ["40001"]);
}

/// Bind and Execute an hour apart: what was asked before Bind says nothing any more.
#[test]
fn a_portal_that_waited_is_asked_about_again() {
    for changed in [false, true] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&[parse("", "SELECT note FROM people"), bind("", ""), message(b'H', b"")].concat());
        assert!(s.parsed());
        s.server(&message(b'2', b""));
        assert_eq!((s.checked, s.client_kinds().as_str()), (1, "12"));
        s.told_of_check = changed.then(|| "otherwise".into());
        s.client(&[execute(""), sync()].concat());
        if changed {
            s.server(&[error("42601"), ready(b'I')].concat());
            assert_eq!((s.checked, s.errors()), (2, vec!["40001".to_owned()]));
        } else {
            s.server(&[row_description(&[("note", 20_000, 3)]), data_row(&["kettle"])].concat());
            s.server(&[complete("SELECT 1"), ready(b'I')].concat());
            assert_eq!((s.checked, s.client_kinds().as_str()), (3, "12DCZ"), "by its locks, too");
        }
        assert!(s.session.owes_nothing() && s.session.wants_client());
    }
}

#[test]
fn what_puts_values_somewhere_is_asked_about_before_it_runs() {
    for (text, kinds) in
        [("SELECT note FROM people", "PBDES"), ("INSERT INTO notes SELECT note FROM people", "P")]
    {
        let mut s = Stage::ready(Class::Person);
        s.client(&[parse("", text), bind("", ""), describe(""), execute(""), sync()].concat());
        assert_eq!(s.server_kinds(), kinds, "{text}");
        s.server(&message(b'1', b""));
        assert_eq!(s.server_kinds(), "PBDES", "{text}");
    }
}

/// The question is skipped by the server, as all that stands behind what failed.
#[test]
fn a_question_behind_what_fails_is_not_waited_for() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("", "SELECT note FROM people"), bind("", ""), execute(""), sync()].concat());
    assert_eq!(s.server_kinds(), "P");
    s.server(&error("42P01"));
    assert_eq!(s.server_kinds(), "PS");
    s.server(&ready(b'I'));
    assert_eq!((s.client_kinds().as_str(), s.errors()), ("EZ", vec!["42P01".to_owned()]));
    s.client(&query("SELECT 'x' AS x"));
    s.server(&answer("busy", b'I'));
    assert!(told(&s).contains("busy"), "{}", told(&s));
}

/// governor's own question fails: so does the statement, with the server's words.
#[test]
fn a_question_that_fails_fails_the_batch() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("SHOW search_path"));
    s.server(&answer("public", b'I'));
    s.clear();
    s.state = None;
    s.client(&[parse("", "SELECT note FROM people"), bind("", ""), execute(""), sync()].concat());
    s.server(&[message(b'1', b""), error("57014")].concat());
    s.server(&ready(b'I'));
    assert_eq!((s.client_kinds().as_str(), s.errors()), ("1EZ", vec!["57014".to_owned()]));
    assert!(s.session.owes_nothing() && s.session.wants_client());
}
