//! Statements that wait, and every way in which waiting ends.

use super::stage::*;
use crate::engine::approval::Answer;
use crate::engine::audit::AuditEvent;
use crate::engine::model::{Class, Verdict};
use crate::engine::session::*;

const DELETE: &str = "DELETE FROM people WHERE id = 1";

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
    assert_eq!(s.to_server, [query(DELETE), query("SELECT 1")].concat());
    assert_eq!(s.verdicts(), [Verdict::Hold, Verdict::Allow, Verdict::Allow]);
    assert_eq!(s.statements()[1].approval.as_deref(), Some("A1"));
    assert_eq!(s.statements()[2].approval, None, "the approval is for one statement");
}

#[test]
fn an_approval_does_not_cover_the_next_statement() {
    let mut s = held(&[query(DELETE), query(DELETE)].concat());
    s.input(Input::Answered { answer: granted() });
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
        s.server(&[error("26000"), ready(b'I')].concat());
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
    s.server(&[error("26000"), ready(b'I')].concat());
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
    assert_eq!(s.server_kinds(), "PBDES");
    s.server(
        &[message(b'1', b""), message(b'2', b""), message(b'n', b""), complete("DELETE 1"), ready(b'I')]
            .concat(),
    );
    assert_eq!(s.client_kinds(), "NN12nCZ");
    let allowed = s.statements().into_iter().find(|r| r.verdict == Verdict::Allow).unwrap();
    assert_eq!(allowed.approval.as_deref(), Some("A1"));
}

#[test]
fn a_queue_that_refuses_is_a_denial() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query(DELETE));
    s.input(Input::HoldFailed { reason: "full".into() });
    s.server(&[error("26000"), ready(b'I')].concat());
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
fn a_notice_waits_for_a_border_in_a_long_row() {
    let mut s = Stage::ready(Class::Agent);
    // A COPY stream is passed as it comes: half a message is out when the hold begins.
    s.client(&[query("SELECT 1"), query(DELETE)].concat());
    let row = message(b'd', &[b'x'; 100]);
    s.server(&row[..50]);
    s.input(Input::Held { approval: "A1".into() });
    assert_eq!(s.to_client, row[..50]);
    s.server(&row[50..]);
    assert_eq!(s.client_kinds(), "dN");
}
