//! What a statement reaches through the catalogue decides, and is shown to who approves it.

use super::super::*;
use super::stage::*;
use crate::engine::model::{Class, Verdict};

/// A function of the catalogue with this body.
fn function<'a>(oid: &'a str, name: &'a str, body: &'a str) -> Vec<&'a str> {
    vec!["f", oid, "public", name, "v", "f", "f", "0", "0", "f", "", "", "23", "", "sql", "f", "", "", body]
}

#[test]
fn a_call_is_judged_by_its_body_and_shown_with_it() {
    let one = function("30001", "one_gone", "DELETE FROM people WHERE id = 1");
    let all = function("30002", "all_gone", "DELETE FROM people");
    let rows = [one.as_slice(), all.as_slice()];
    let mut s = Stage::ready_with(Class::Agent, &rows);
    s.client(&query("SELECT all_gone()"));
    assert_eq!(s.verdicts(), [Verdict::Deny]);
    s.server(&[error("42601"), ready(b'I')].concat());
    s.clear();
    s.client(&query("SELECT one_gone()"));
    assert_eq!((s.verdicts(), s.to_server.len()), (vec![Verdict::Hold], 0));
    let Some(Request::Hold(request)) = s.requests.first() else { panic!("{:?}", s.requests) };
    let shown = &request.statements[0];
    assert_eq!(shown.writes[0].to_string(), "public.people");
    assert_eq!(&*shown.text, "SELECT one_gone()");
    let told = &request.reasons.last().unwrap().text;
    assert!(told.contains("public.people through function public.one_gone"), "{told}");
}

/// `(value).f` is `f(value)`, and so is `n.f` where a function in FROM gives `n`.
#[test]
fn a_function_behind_a_dot_is_a_call() {
    let all = function("30002", "all_gone", "DELETE FROM people");
    for text in [
        "SELECT (1).all_gone",
        "SELECT n.all_gone FROM generate_series(1, 3) n",
        "SELECT id FROM people WHERE (id + 1).all_gone IS NULL",
        "SELECT id FROM people LIMIT (SELECT (1).all_gone)",
        "SELECT (ARRAY[1])[1].all_gone",
        "EXPLAIN ANALYZE SELECT (1).all_gone",
    ] {
        let mut s = Stage::ready_with(Class::Agent, &[all.as_slice()]);
        s.client(&query(text));
        assert_eq!(s.verdicts(), [Verdict::Deny], "{text}");
    }
    // In a body in SQL, of a parameter.
    let look = function("30003", "look", "SELECT a.all_gone");
    let mut s = Stage::ready_with(Class::Agent, &[all.as_slice(), look.as_slice()]);
    s.client(&query("SELECT look(1)"));
    assert_eq!(s.verdicts(), [Verdict::Deny], "in a body");
    let mut s = Stage::ready_with(Class::Agent, &[all.as_slice()]);
    s.client(&query("SELECT n.all_gone FROM people n, generate_series(1, 2) m"));
    assert_eq!(s.verdicts(), [Verdict::Allow], "n is a row");
    let mut s = Stage::ready_with(Class::Agent, &[all.as_slice()]);
    s.client(&query("SELECT (j).value FROM jsonb_each('{}') j"));
    assert_eq!(s.verdicts(), [Verdict::Allow], "a field is none");
}

#[test]
fn services_are_asked_nothing_and_reach_what_they_like() {
    let mut s = Stage::ready(Class::Service);
    s.client(&query("SELECT whatever()"));
    assert_eq!((s.verdicts(), s.server_kinds().as_str()), (vec![Verdict::Allow], "Q"));
}

/// A batch that is about to begin is no reason to keep an old catalogue.
#[test]
fn parse_reads_the_catalogue_again_after_ddl() {
    let mut s = Stage::ready(Class::Person);
    s.client(&query("CREATE TABLE made (a int)"));
    s.server(&[complete("CREATE TABLE"), ready(b'I')].concat());
    s.clear();
    s.client(&[parse("", "SELECT 1"), sync()].concat());
    assert_eq!(s.server_kinds(), "Q", "the catalogue first");
    s.catalogue();
    assert_eq!(s.server_kinds(), "QPS");
}

/// Drivers send Close before a batch. It cannot fail and begins no transaction, so governor asks behind it.
#[test]
fn a_batch_or_a_query_behind_close_reads_the_catalogue_again() {
    for (message_sent, kinds) in [(parse("", "SELECT 1"), "CCQPS"), (query("SELECT 1"), "CCQQ")] {
        let mut s = Stage::ready(Class::Person);
        s.client(&query("CREATE TABLE made (a int)"));
        s.server(&[complete("CREATE TABLE"), ready(b'I')].concat());
        s.clear();
        let (close_statement, close_portal) = (message(b'C', b"S\0"), message(b'C', b"Pp\0"));
        s.client(&[close_statement, close_portal, message_sent, sync()].concat());
        assert_eq!(s.server_kinds(), "CCQ", "what the client sent first, then the question");
        assert!(!String::from_utf8_lossy(&s.to_server).contains("SELECT 1"));
        s.server(&[message(b'3', b""), message(b'3', b"")].concat());
        assert_eq!(s.client_kinds(), "33");
        s.catalogue();
        assert_eq!((s.server_kinds().as_str(), s.client_kinds().as_str()), (kinds, "33"));
    }
}

/// The encoding that governor sets for its own question is not the session's.
#[test]
fn what_the_question_sets_for_itself_is_told_to_nobody() {
    let mut s = Stage::new(Class::Agent);
    s.client(&startup(&[("user", "app"), ("database", "shop")]));
    s.input(Input::Connected);
    s.server(&[message(b'R', &0u32.to_be_bytes()), ready(b'I')].concat());
    s.clear();
    s.server(&message(b'S', b"client_encoding\0UTF8\0"));
    assert_eq!(s.client_kinds(), "");
    s.catalogue();
    s.server(&message(b'S', b"client_encoding\0LATIN1\0"));
    assert_eq!(s.client_kinds(), "ZS");
}

/// Whoever makes the reading of definitions fail gains nothing: such a view may show anything.
#[test]
fn a_view_whose_definition_was_not_read_is_masked() {
    for kind in ["v", "m"] {
        let relation = ["r", "20010", "public", "shown", kind, "20011", "1000"];
        let rows: [&[&str]; 2] = [&relation, &["c", "20010", "1", "y", "25"]];
        let mut s = Stage::ready_with(Class::Person, &rows);
        s.client(&query("SELECT y FROM shown"));
        if s.verdicts() == [Verdict::Hold] {
            continue;
        }
        s.server(&[row_description(&[("y", 20010, 1)]), data_row(&["plain"])].concat());
        assert!(!String::from_utf8_lossy(&s.to_client).contains("plain"), "{kind}");
    }
}

/// Others may read the catalogue between a change and its commit: it is out of date once more then.
#[test]
fn a_change_of_definitions_counts_when_it_is_sent_and_when_it_is_done() {
    let outdated = |s: &Stage| {
        s.requests.iter().filter(|request| matches!(request, Request::CatalogueOutdated { .. })).count()
    };
    for class in [Class::Service, Class::Person] {
        let mut s = Stage::ready(class);
        s.client(&query("BEGIN"));
        s.server(&[complete("BEGIN"), ready(b'T')].concat());
        s.client(&query("CREATE VIEW v AS SELECT 1 AS a"));
        assert_eq!(outdated(&s), 1, "{class}");
        s.server(&[complete("CREATE VIEW"), ready(b'T')].concat());
        assert_eq!(outdated(&s), 1, "{class}");
        s.client(&query("COMMIT"));
        s.server(&[complete("COMMIT"), ready(b'I')].concat());
        assert_eq!(outdated(&s), 2, "{class}");
        s.client(&query("SELECT 1"));
        assert_eq!(outdated(&s), 2, "{class}");
    }
}

/// A view that was made a moment ago may lead a write anywhere.
#[test]
fn a_write_into_a_view_made_since_the_catalogue_was_read_waits() {
    for text in [
        "CREATE VIEW w AS SELECT * FROM people; DELETE FROM w WHERE id = 7",
        "CREATE TEMP VIEW w AS SELECT * FROM people; UPDATE w SET note = 'x' WHERE id = 7",
    ] {
        let mut s = Stage::ready(Class::Person);
        s.client(&query(text));
        assert!(s.verdicts().contains(&Verdict::Hold), "{text}: {:?}", s.verdicts());
        assert!(s.to_server.is_empty(), "{text}");
    }
    let mut s = Stage::ready(Class::Person);
    s.client(&query("BEGIN"));
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    s.client(&query("CREATE TEMP VIEW w AS SELECT * FROM people"));
    s.server(&[complete("CREATE VIEW"), ready(b'T')].concat());
    s.clear();
    s.client(&query("DELETE FROM w WHERE id = 7"));
    assert_eq!(s.verdicts(), [Verdict::Hold]);
    // Tables of the session's own are written to as ever.
    let mut s = Stage::ready(Class::Person);
    s.client(&query("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1)"));
    assert_eq!(s.verdicts(), [Verdict::Allow, Verdict::Allow]);
}
