//! Statements that wait, and every way in which waiting ends.

use super::stage::*;
use crate::engine::approval::Answer;
use crate::engine::audit::AuditEvent;
use crate::engine::model::{Class, Verdict};
use crate::engine::session::*;

const DELETE: &str = "DELETE FROM people WHERE id = 1";

/// A session in which the statement at the front of `bytes` waits.
fn held(bytes: &[u8]) -> Stage {
    let mut s = Stage::ready(Class::Agent);
    s.client(bytes);
    assert!(s.session.is_held() && s.to_server.is_empty());
    assert!(matches!(s.requests.as_slice(), [Request::Hold(_)]));
    s.input(Input::Held { approval: "A1".into() });
    assert_eq!(s.client_kinds(), "N", "the client is told");
    s
}

fn granted() -> Answer {
    Answer::Granted { by: "alice".into(), uid: 1, note: String::new() }
}

#[test]
fn an_approved_statement_runs_in_place() {
    let mut s = held(&[query(DELETE), query("SELECT 1")].concat());
    assert!(!s.session.wants_client(), "nothing overtakes it");
    s.input(Input::Answered { answer: granted() });
    assert_eq!(s.to_server, query(DELETE));
    s.server(&[complete("DELETE 1"), ready(b'I')].concat());
    assert_eq!(s.to_server, [query(DELETE), query("SELECT 1")].concat());
    assert_eq!(s.verdicts(), [Verdict::Hold, Verdict::Allow, Verdict::Allow]);
    assert_eq!(s.statements()[1].approval.as_deref(), Some("A1"));
    assert_eq!(s.statements()[2].approval, None, "the approval is for one statement");
}

#[test]
fn an_approval_does_not_cover_the_next_statement() {
    let mut s = held(&[query(DELETE), query(DELETE)].concat());
    s.input(Input::Answered { answer: granted() });
    s.server(&[complete("DELETE 1"), ready(b'I')].concat());
    assert_eq!(s.server_kinds(), "Q");
    assert!(s.session.is_held());
}

#[test]
fn refused_expired_and_lost_holds_are_errors_and_the_session_goes_on() {
    let refused = Answer::Refused { by: "bob".into(), uid: 2, note: "no".into() };
    for (answer, sqlstate) in [
        (refused, "42501"),
        (Answer::Expired, "42501"),
        (Answer::Cancelled, "57014"),
        (Answer::Lost { reason: "x".into() }, "57P01"),
    ] {
        let mut s = held(&query(DELETE));
        s.input(Input::Answered { answer });
        assert!(!String::from_utf8_lossy(&s.to_server).contains("DELETE"));
        s.server(&[error("42601"), ready(b'I')].concat());
        assert_eq!(s.errors(), [sqlstate]);
        s.client(&query("SELECT 1"));
        assert!(String::from_utf8_lossy(&s.to_server).contains("SELECT 1"));
    }
}

#[test]
fn a_cancel_request_ends_the_hold() {
    let mut s = held(&query(DELETE));
    s.input(Input::CancelRequested);
    assert!(matches!(s.requests.last(), Some(Request::WithdrawHold { answer: Answer::Cancelled, .. })));
    s.server(&[error("42601"), ready(b'I')].concat());
    assert_eq!(s.errors(), ["57014"]);
}

#[test]
fn extended_protocol_holds_at_bind() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("", DELETE), bind("", ""), describe(""), execute(""), sync()].concat());
    assert!(s.session.is_held());
    assert_eq!(s.server_kinds(), "P");
    s.input(Input::Held { approval: "A1".into() });
    s.input(Input::Answered { answer: granted() });
    assert_eq!(s.server_kinds(), "P", "whether what it relies on still holds is asked first");
    s.server(&message(b'1', b""));
    assert_eq!(s.server_kinds(), "PBDES");
    s.server(&[message(b'2', b""), message(b'n', b""), complete("DELETE 1"), ready(b'I')].concat());
    assert_eq!(s.client_kinds(), "NN12nCZ");
    let allowed = s.statements().into_iter().find(|r| r.verdict == Verdict::Allow).unwrap();
    assert_eq!(allowed.approval.as_deref(), Some("A1"));
}

#[test]
fn a_queue_that_refuses_is_a_denial() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query(DELETE));
    s.input(Input::HoldFailed { reason: "full".into() });
    s.server(&[error("42601"), ready(b'I')].concat());
    assert_eq!(s.errors(), ["42501"]);
}

#[test]
fn a_client_that_leaves_withdraws_its_hold() {
    let mut s = held(&query(DELETE));
    s.input(Input::ClientClosed);
    assert!(matches!(s.requests.last(), Some(Request::WithdrawHold { answer: Answer::Lost { .. }, .. })));
    assert!(s.records.iter().any(|r| matches!(r.event, AuditEvent::HoldEnd(_))));
}

#[test]
fn an_approval_is_not_left_over_for_another_message() {
    // The held Bind is skipped, because an earlier message of its batch fails meanwhile.
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("u", DELETE), sync()].concat());
    s.server(&[message(b'1', b""), ready(b'I')].concat());
    s.client(&[parse("", "SELECT nope"), bind("", "u"), sync()].concat());
    assert!(s.session.is_held());
    s.input(Input::Held { approval: "A1".into() });
    s.server(&error("42703"));
    assert!(!s.session.is_held());
    assert!(matches!(s.requests.last(), Some(Request::WithdrawHold { .. })));
    s.input(Input::Answered { answer: granted() });
    s.server(&ready(b'I'));
    s.clear();
    s.client(&[parse("", "DELETE FROM people WHERE id = 2"), bind("", ""), execute(""), sync()].concat());
    assert!(s.session.is_held(), "the first approval is spent");
}

#[test]
fn an_approval_covers_what_a_name_meant_when_it_was_given() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("BEGIN"));
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    s.client(&query("PREPARE foo AS UPDATE people SET note = '' WHERE id = 1"));
    s.server(&[complete("PREPARE"), ready(b'T')].concat());
    s.clear();
    s.client(&[parse("s", "EXECUTE foo"), bind("p", "s"), sync()].concat());
    let [Request::Hold(request)] = s.requests.as_slice() else { panic!("{:?}", s.requests) };
    let asked: Vec<&str> = request.statements.iter().map(|s| &*s.text).collect();
    assert!(
        asked.iter().any(|text| text.contains("UPDATE people")),
        "the approver sees what foo is: {asked:?}"
    );
    s.input(Input::Held { approval: "A1".into() });
    s.input(Input::Answered { answer: granted() });
    s.server(&[message(b'1', b""), message(b'2', b""), ready(b'T')].concat());
    s.client(&query("DEALLOCATE foo"));
    s.server(&[complete("DEALLOCATE"), ready(b'T')].concat());
    s.client(&query("PREPARE foo AS DELETE FROM people WHERE id = 2"));
    s.server(&[complete("PREPARE"), ready(b'T')].concat());
    s.clear();
    s.client(&[execute("p"), sync()].concat());
    assert!(s.session.is_held() || s.verdicts() == [Verdict::Deny], "{:?}", s.verdicts());
    assert!(!s.server_kinds().contains('E'));
}

#[test]
fn a_notice_waits_for_a_border_in_a_long_row() {
    let mut s = Stage::ready(Class::Agent);
    // In one batch: the first statement's rows come while the second is held.
    s.client(
        &[
            parse("", "SELECT 1"),
            bind("", ""),
            describe(""),
            execute(""),
            message(b'H', b""),
            parse("d", DELETE),
            bind("", "d"),
            sync(),
        ]
        .concat(),
    );
    assert!(s.session.is_held());
    s.server(&[message(b'1', b""), message(b'2', b""), message(b'n', b"")].concat());
    s.to_client.clear();
    let row = message(b'D', &[b'x'; 100]);
    s.server(&row[..50]);
    s.input(Input::Held { approval: "A1".into() });
    assert_eq!(s.to_client, row[..50]);
    s.server(&row[50..]);
    assert_eq!(s.client_kinds(), "DN");
}
