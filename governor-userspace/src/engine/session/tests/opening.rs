//! Encryption requests, start-up, authentication, cancel requests.

use super::stage::*;
use crate::engine::audit::{AuditEvent, TlsOutcome};
use crate::engine::model::{Class, Verdict};
use crate::engine::session::*;
use crate::engine::wire::postgres::backend;

fn tls_outcomes(stage: &Stage) -> Vec<TlsOutcome> {
    let events = stage.records.iter().filter_map(|r| match &r.event {
        AuditEvent::Tls(record) => Some(record.outcome),
        _ => None,
    });
    events.collect()
}

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

#[test]
fn nothing_is_dialled_before_the_connection_is_decided() {
    let mut s = Stage::new(Class::Service);
    assert!(s.requests.is_empty());
    s.client(&startup(&[("user", "app")]));
    assert!(matches!(s.requests.as_slice(), [Request::Dial]));
    assert!(s.to_server.is_empty());
    s.input(Input::Connected);
    assert_eq!(s.to_server, startup(&[("user", "app")]));
}

#[test]
fn declining_tls_lets_prefer_go_on_and_records_it() {
    let mut s = Stage::new(Class::Service);
    s.client(SSL_REQUEST);
    assert_eq!(s.to_client, b"N");
    assert_eq!(tls_outcomes(&s), [TlsOutcome::Declined]);
    s.client(&startup(&[("user", "app")]));
    assert!(matches!(s.requests.as_slice(), [Request::Dial]));
}

#[test]
fn a_client_that_requires_tls_is_on_record() {
    let mut s = Stage::new(Class::Service);
    s.client(SSL_REQUEST);
    s.input(Input::ClientClosed);
    assert_eq!(tls_outcomes(&s), [TlsOutcome::Declined, TlsOutcome::Refused]);

    let mut s = Stage::with(Class::Service, TlsMode::Refuse, EngineLimits::default());
    s.client(SSL_REQUEST);
    assert_eq!(s.errors(), ["08004"]);
    assert_eq!(s.closed, Some(CloseReason::TlsRefused));

    let mut s = Stage::new(Class::Service);
    s.client(&[0x16, 3, 1, 2, 0]);
    assert_eq!(s.closed, Some(CloseReason::TlsRefused));
    assert_eq!(s.to_client[0], 0x15, "a TLS alert");
}

#[test]
fn tls_passes_unread_only_where_configured() {
    let mut s = Stage::with(Class::Service, TlsMode::PassUnread, EngineLimits::default());
    s.client(SSL_REQUEST);
    assert!(matches!(s.requests.as_slice(), [Request::Dial]));
    s.input(Input::Connected);
    assert!(matches!(s.requests.as_slice(), [Request::Dial, Request::PassUnread]));
    assert!(s.to_client.is_empty() && s.to_server.is_empty());
    assert_eq!(tls_outcomes(&s), [TlsOutcome::PassedUnread]);
}

#[test]
fn bytes_behind_an_encryption_request_end_the_session() {
    let mut s = Stage::new(Class::Service);
    s.client(&[SSL_REQUEST, &startup(&[("user", "evil")])].concat());
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
    assert!(s.requests.is_empty());
}

#[test]
fn encryption_requests_do_not_go_on_for_ever() {
    let mut s = Stage::new(Class::Service);
    for _ in 0..3 {
        s.client(SSL_REQUEST);
    }
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
}

#[test]
fn replication_is_denied_to_agents_and_passed_for_services() {
    let mut s = Stage::new(Class::Agent);
    s.client(&startup(&[("user", "app"), ("replication", "database")]));
    assert_eq!((s.errors(), s.closed), (vec!["28000".into()], Some(CloseReason::ConnectionDenied)));
    let mut s = Stage::new(Class::Service);
    s.client(&startup(&[("user", "app"), ("replication", "true")]));
    s.input(Input::Connected);
    assert!(matches!(s.requests.as_slice(), [Request::Dial, Request::PassUnread]));
}

const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07key!";

/// Whether a cancel request is sent to the server when the host finds `found`, and what the record says.
fn cancelled(class: Class, found: CancelMatch, forward_unknown: bool) -> bool {
    let limits = EngineLimits { forward_unknown_cancel: forward_unknown, ..EngineLimits::default() };
    let mut s = Stage::with(class, TlsMode::Decline, limits);
    s.client(CANCEL);
    let [Request::MatchCancel { process, secret }] = s.requests.as_slice() else { panic!() };
    assert_eq!((*process, secret.as_slice()), (7, &b"key!"[..]));
    assert!(s.closed.is_none(), "it waits to be told");
    s.requests.clear();
    s.input(Input::CancelMatched(found));
    assert_eq!(s.closed, Some(CloseReason::CancelDone));
    let sent = match s.requests.as_slice() {
        [] => false,
        [Request::Cancel { packet, .. }] => {
            assert_eq!(&packet[..], CANCEL);
            true
        }
        other => panic!("{other:?}"),
    };
    let recorded = s.records.iter().find_map(|r| match &r.event {
        AuditEvent::Cancel { forwarded, .. } => Some(*forwarded),
        _ => None,
    });
    assert_eq!(recorded, Some(sent), "the record says what was done");
    assert!(s.to_client.is_empty() && s.to_server.is_empty());
    sent
}

#[test]
fn a_cancel_request_goes_to_the_server_only_for_a_live_session() {
    for class in [Class::Service, Class::Person, Class::Agent] {
        for forward_unknown in [false, true] {
            let sent = |found| cancelled(class, found, forward_unknown);
            assert!(sent(CancelMatch::Live));
            assert!(sent(CancelMatch::Held { runs: true }));
            assert!(!sent(CancelMatch::Held { runs: false }));
            assert!(sent(CancelMatch::Unknown { unread: true }));
            let unknown_passes = forward_unknown && class == Class::Service;
            assert_eq!(sent(CancelMatch::Unknown { unread: false }), unknown_passes);
        }
    }
}

#[test]
fn a_key_that_no_cancel_request_can_carry_is_passed_and_not_kept() {
    let mut s = Stage::new(Class::Service);
    s.client(&startup(&[("user", "app")]));
    s.input(Input::Connected);
    s.server(&message(b'R', &0u32.to_be_bytes()));
    s.clear();
    let (longest, longer) = (message(b'K', &[7; 4 + 256]), message(b'K', &[7; 4 + 257]));
    s.server(&longest);
    assert!(matches!(s.requests.as_slice(), [Request::CancelKey { secret, .. }] if secret.len() == 256));
    s.clear();
    s.server(&longer);
    assert!(s.requests.is_empty());
    assert_eq!(s.to_client, longer);
}

#[test]
fn an_unknown_protocol_version_is_refused_as_the_server_does() {
    let mut s = Stage::new(Class::Service);
    s.client(b"\0\0\0\x08\0\x02\0\0");
    assert_eq!(s.errors(), ["0A000"]);
}

#[test]
fn a_refused_connection_to_the_server_is_an_error_the_client_can_read() {
    let mut s = Stage::new(Class::Service);
    s.client(&startup(&[("user", "app")]));
    s.input(Input::ConnectFailed { reason: "connection refused".into() });
    assert_eq!((s.errors(), s.closed), (vec!["08001".into()], Some(CloseReason::ConnectFailed)));
}

#[test]
fn queries_wait_until_the_server_is_ready() {
    let mut s = Stage::new(Class::Service);
    s.client(&[startup(&[("user", "app")]), query("SELECT 1")].concat());
    s.input(Input::Connected);
    s.clear();
    s.server(&message(b'R', &0u32.to_be_bytes()));
    assert!(s.to_server.is_empty());
    s.server(&ready(b'I'));
    assert_eq!(s.to_server, query("SELECT 1"));
}

#[test]
fn authentication_passes_both_ways() {
    let mut s = Stage::new(Class::Service);
    s.client(&startup(&[("user", "app")]));
    s.input(Input::Connected);
    s.clear();
    let request = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    s.server(&request);
    assert_eq!(s.to_client, request);
    let answer = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x04n,,n");
    s.client(&answer);
    assert_eq!(s.to_server, answer);
}

#[test]
fn a_client_over_a_limit_is_told_so_once_it_has_said_who_it_is() {
    for (too_many, key) in [
        (TooMany::Connections { max: 10 }, "limits.connections_max"),
        (TooMany::OfSource { max: 5 }, "limits.connections_per_source_max"),
    ] {
        let mut s = Stage::new(Class::Service);
        s.session.refuse(too_many);
        s.client(SSL_REQUEST);
        assert_eq!(s.to_client, b"N", "an error here would be read as no answer to the question");
        s.clear();
        s.client(&startup(&[("user", "app")]));
        let found = messages(&s.to_client);
        assert_eq!((found.len(), found[0].0), (1, b'E'));
        let field = |code| {
            let value = backend::error_field(&found[0].1, code).unwrap().unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        assert_eq!((field(b'V'), field(b'C')), ("FATAL".into(), "53300".into()));
        assert!(field(b'H').contains(key), "{}", field(b'H'));
        assert_eq!(s.closed, Some(CloseReason::TooMany(too_many)));
        assert!(s.requests.is_empty(), "nothing is dialled");
        let decided = s
            .records
            .iter()
            .any(|r| matches!(&r.event, AuditEvent::SessionDecision(d) if d.verdict == Verdict::Deny));
        assert!(decided, "on record");
    }
}

#[test]
fn a_cancel_request_needs_no_place() {
    let mut s = Stage::new(Class::Service);
    s.session.refuse(TooMany::Connections { max: 10 });
    s.client(CANCEL);
    assert!(matches!(s.requests.as_slice(), [Request::MatchCancel { .. }]));
}
