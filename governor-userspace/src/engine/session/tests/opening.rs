//! Encryption requests, start-up, authentication, cancel requests.

use super::stage::*;
use crate::engine::audit::{AuditEvent, TlsOutcome};
use crate::engine::model::Class;
use crate::engine::session::*;

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

#[test]
fn a_cancel_request_is_handed_on_and_recorded() {
    let mut s = Stage::new(Class::Service);
    let packet = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07key!";
    s.client(packet);
    let [Request::Cancel { process, secret, packet: sent }] = s.requests.as_slice() else { panic!() };
    assert_eq!((*process, secret.as_slice(), &sent[..]), (7, &b"key!"[..], &packet[..]));
    assert_eq!(s.closed, Some(CloseReason::CancelDone));
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
