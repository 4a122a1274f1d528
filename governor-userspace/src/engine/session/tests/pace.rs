//! Bounds on rates, rows and time.

use super::stage::*;
use crate::engine::audit::{AuditEvent, Outcome};
use crate::engine::model::{Class, LimitKind, Verdict};
use crate::engine::policy::{PolicySet, PolicySource, Profile};
use crate::engine::session::{Input, Request};
use std::sync::Arc;

/// A session of `class` under the built-in policies and one bound on SELECT.
fn bounded(class: Class, annotation: &str) -> Stage {
    let mut s = Stage::ready(class);
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(PolicySource::new(
        "mine.cedar",
        format!(
            r#"@id("mine") {annotation}
               permit (principal, action in [Governor::Action::"select", Governor::Action::"copy_in"], resource);"#
        ),
    ));
    s.governance.policy = Arc::new(PolicySet::compile(&sources).unwrap());
    s
}

const N: [(&str, u32, i16); 1] = [("n", 0, 0)];

fn rows(count: usize) -> Vec<u8> {
    data_row(&["7"]).repeat(count)
}

fn cancels(s: &Stage) -> usize {
    s.requests.iter().filter(|request| matches!(request, Request::CancelOwn { .. })).count()
}

fn ends(s: &Stage) -> Vec<(Outcome, Option<LimitKind>, u64)> {
    let ends = s.completions.iter().filter_map(|record| match &record.event {
        AuditEvent::Completion(done) => Some((done.outcome, done.limit, done.rows)),
        _ => None,
    });
    ends.collect()
}

#[test]
fn a_result_within_its_bound_passes_as_it_is() {
    for class in [Class::Service, Class::Person] {
        let mut s = bounded(class, r#"@rows("3")"#);
        s.client(&query("SELECT 7 AS n"));
        let reply = [row_description(&N), rows(3), complete("SELECT 3"), ready(b'I')].concat();
        s.server(&reply);
        assert_eq!((s.to_client.as_slice(), cancels(&s)), (reply.as_slice(), 0));
        assert_eq!(ends(&s), [(Outcome::Complete, None, 3)]);
    }
}

#[test]
fn a_result_is_cut_between_two_rows_and_the_server_fails_the_statement() {
    for class in [Class::Service, Class::Person] {
        let mut s = bounded(class, r#"@rows("3")"#);
        s.client(&query("SELECT 7"));
        s.client(&query("SELECT 8"));
        assert_eq!(s.server_kinds(), "Q", "nothing may be behind what a cancel could hit");
        s.server(&[row_description(&N), rows(5)].concat());
        assert_eq!((s.client_kinds().as_str(), cancels(&s)), ("TDDD", 1));
        s.server(&[rows(2), error("57014"), ready(b'E')].concat());
        assert_eq!((s.client_kinds().as_str(), s.errors()), ("TDDDEZ", vec!["53400".to_owned()]));
        assert!(s.to_client.ends_with(&ready(b'E')), "the transaction failed");
        assert_eq!(ends(&s), [(Outcome::Error, Some(LimitKind::Rows), 3)]);
        assert_eq!(s.server_kinds(), "Q", "the cancel may still be on its way");
        s.input(Input::CancelSent);
        assert_eq!(s.server_kinds(), "QQ");
    }
}

#[test]
fn a_server_that_was_through_first_is_made_to_fail() {
    let mut s = bounded(Class::Person, r#"@rows("3")"#);
    s.client(&query("SELECT 7"));
    s.server(&[row_description(&N), rows(5), complete("SELECT 5"), ready(b'T')].concat());
    assert_eq!((s.client_kinds().as_str(), s.server_kinds().as_str()), ("TDDD", "QQ"));
    s.server(&[error("42601"), ready(b'E')].concat());
    assert_eq!((s.client_kinds().as_str(), s.errors()), ("TDDDEZ", vec!["53400".to_owned()]));
    s.client(&query("ROLLBACK"));
    assert_eq!(s.server_kinds(), "QQ");
    s.input(Input::CancelSent);
    assert_eq!(s.server_kinds(), "QQQ", "and the session goes on");
}

#[test]
fn the_extended_protocol_skips_to_sync_after_a_cut() {
    for finished in [false, true] {
        let mut s = bounded(Class::Person, r#"@rows("1")"#);
        let batch = [parse("", "SELECT 7"), bind("", ""), describe(""), execute(""), execute(""), sync()];
        s.client(&batch.concat());
        assert_eq!(s.server_kinds(), "PBDEH", "asked for its replies; what is behind waits");
        s.server(&[message(b'1', b""), message(b'2', b""), row_description(&N), rows(2)].concat());
        assert_eq!((s.client_kinds().as_str(), cancels(&s)), ("12TD", 1));
        if finished {
            s.server(&complete("SELECT 2"));
            assert_eq!(s.server_kinds(), "PBDEHPH", "a stand-in fails");
            s.server(&error("42601"));
        } else {
            s.server(&error("57014"));
        }
        assert_eq!((s.client_kinds().as_str(), s.errors()), ("12TDE", vec!["53400".to_owned()]));
        s.input(Input::CancelSent);
        assert!(s.server_kinds().ends_with('S'), "the second Execute is skipped: {}", s.server_kinds());
        s.server(&ready(b'I'));
        assert!(s.to_client.ends_with(&ready(b'I')));
        s.clear();
        s.client(&query("SELECT 7"));
        assert_eq!(s.server_kinds(), "Q");
    }
}

#[test]
fn many_small_fetches_are_one_result() {
    let mut s = bounded(Class::Person, r#"@rows("3")"#);
    s.client(
        &[parse("", "SELECT 7"), bind("p", ""), describe("p"), execute("p"), execute("p"), sync()].concat(),
    );
    s.server(
        &[message(b'1', b""), message(b'2', b""), row_description(&N), rows(2), message(b's', b"")].concat(),
    );
    s.server(&rows(2));
    assert_eq!((s.client_kinds().as_str(), cancels(&s)), ("12TDDsD", 1));
}

#[test]
fn the_rest_of_a_text_that_was_cut_stays_here() {
    let mut s = bounded(Class::Service, r#"@rows("1")"#);
    s.client(&query("SELECT 7; SELECT 8"));
    let second = [row_description(&N), rows(1), complete("SELECT 1")].concat();
    s.server(&[row_description(&N), rows(3), complete("SELECT 3"), second, ready(b'I')].concat());
    s.server(&[error("42601"), ready(b'I')].concat());
    assert_eq!((s.client_kinds().as_str(), s.errors()), ("TDEZ", vec!["53400".to_owned()]));
}

#[test]
fn a_statement_over_its_time_is_cancelled() {
    let mut s = bounded(Class::Person, r#"@time("2s")"#);
    s.client(&query("SELECT 7"));
    let deadline = s.session.deadline().unwrap();
    s.input(Input::Tick);
    assert_eq!(cancels(&s), 0, "not yet");
    s.at(deadline);
    s.input(Input::Tick);
    s.input(Input::Tick);
    assert_eq!((cancels(&s), s.session.deadline()), (1, None));
    s.server(&[error("57014"), ready(b'I')].concat());
    assert_eq!(s.errors(), ["57014"]);
    assert!(String::from_utf8_lossy(&s.to_client).contains("longer than 2000 ms"), "and why");
    assert_eq!(ends(&s), [(Outcome::Error, Some(LimitKind::Time), 0)]);
}

#[test]
fn a_statement_that_is_through_has_no_deadline() {
    let mut s = bounded(Class::Person, r#"@time("2s")"#);
    s.client(&query("SELECT 7"));
    s.server(&[row_description(&N), rows(1), complete("SELECT 1"), ready(b'I')].concat());
    assert_eq!(s.session.deadline(), None);
    s.client(&query("SHOW timezone"));
    assert_eq!(s.session.deadline(), None, "not bounded");
}

#[test]
fn a_copy_that_waits_for_its_client_is_ended_too() {
    let mut s = bounded(Class::Service, r#"@time("2s")"#);
    s.client(&query("COPY t FROM STDIN"));
    s.server(&message(b'G', b"\0\0\0"));
    s.client(&message(b'd', b"1\n"));
    s.at(s.session.deadline().unwrap());
    s.input(Input::Tick);
    assert_eq!(s.server_kinds(), "Qdf");
    s.server(&[error("57014"), ready(b'I')].concat());
    assert_eq!(s.errors(), ["57014"]);
}

#[test]
fn a_principal_over_its_rate_is_told_when_to_come_again() {
    let mut s = bounded(Class::Person, r#"@rate("2/1m")"#);
    for _ in 0..2 {
        s.client(&query("SELECT 7"));
        s.server(&[row_description(&N), rows(1), complete("SELECT 1"), ready(b'I')].concat());
    }
    s.clear();
    s.client(&query("SELECT 7"));
    s.server(&[error("42601"), ready(b'I')].concat());
    assert_eq!((s.verdicts(), s.errors()), (vec![Verdict::Deny], vec!["53400".to_owned()]));
    assert_eq!(s.statements()[0].reasons[0].policy, "governor.rate");
    assert!(String::from_utf8_lossy(&s.to_client).contains("Try again in 30000 ms"));
    s.clear();
    s.client(&query("SHOW timezone"));
    assert_eq!(s.verdicts(), [Verdict::Allow], "only what is bounded");
}

#[test]
fn a_prepared_statement_counts_once_for_each_execute() {
    let mut s = bounded(Class::Person, r#"@rate("1/1m")"#);
    s.client(&[parse("", "SELECT 7"), bind("", ""), describe(""), execute(""), sync()].concat());
    assert_eq!(s.verdicts(), [Verdict::Allow]);
}
