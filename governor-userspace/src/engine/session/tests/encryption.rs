//! TLS that the host sets up, and what SCRAM's channel binding means with it.

use super::stage::*;
use crate::engine::audit::{AuditEvent, Side, TlsOutcome, TlsRecord};
use crate::engine::model::{Class, PeerCertificate, ShownCertificate, TlsSession, UpstreamTls};
use crate::engine::session::*;

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const HELLO: &[u8] = &[0x16, 3, 1, 2, 0];
const OFFER: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";

fn stage() -> Stage {
    Stage::with(Class::Service, TlsMode::Terminate, EngineLimits::default())
}

fn tls(shown: ShownCertificate) -> Input<'static> {
    let certificate = PeerCertificate {
        subject: "CN=db".into(),
        sha256: "00".into(),
        verified: true,
        reason: String::new(),
    };
    Input::TlsEstablished(Box::new(TlsSession {
        version: "TLSv1.3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        shown,
        server_name: None,
        direct: false,
        client_certificate: None,
        upstream: UpstreamTls {
            version: "TLSv1.3".into(),
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
            certificate,
            wants_client_certificate: false,
        },
    }))
}

fn records(stage: &Stage) -> Vec<&TlsRecord> {
    let events = stage.records.iter().filter_map(|record| match &record.event {
        AuditEvent::Tls(record) => Some(&**record),
        _ => None,
    });
    events.collect()
}

/// Up to the server's offer of SASL mechanisms.
fn offered(shown: ShownCertificate) -> Stage {
    let mut s = stage();
    s.client(SSL_REQUEST);
    s.input(tls(shown));
    s.client(&startup(&[("user", "app")]));
    s.input(Input::Connected);
    s.clear();
    s.server(&message(b'R', OFFER));
    s
}

fn initial_response(mechanism: &[u8], data: &[u8]) -> Vec<u8> {
    message(b'p', &[mechanism, b"\0\0\0\0", &[data.len() as u8], data].concat())
}

#[test]
fn the_server_is_asked_before_the_client_is_answered() {
    let mut s = stage();
    s.client(SSL_REQUEST);
    assert!(matches!(s.requests.as_slice(), [Request::NegotiateTls { direct: false }]));
    assert!(s.to_client.is_empty() && !s.session.wants_client());
    s.input(tls(ShownCertificate::ServerKey));
    assert_eq!(records(&s)[0].outcome, TlsOutcome::Terminated);
    s.client(&startup(&[("user", "app")]));
    assert!(matches!(s.requests.as_slice(), [Request::NegotiateTls { .. }, Request::Dial]));
    assert!(s.to_client.is_empty(), "the host answers within the handshake");
}

#[test]
fn a_server_without_tls_is_passed_on_as_such() {
    let mut s = stage();
    s.client(SSL_REQUEST);
    s.input(Input::TlsDeclined);
    assert_eq!((s.to_client.as_slice(), records(&s)[0].outcome), (&b"N"[..], TlsOutcome::ServerDeclined));
    s.client(&startup(&[("user", "app")]));
    assert!(matches!(s.requests.as_slice(), [Request::NegotiateTls { .. }, Request::Dial]));
}

#[test]
fn a_direct_hello_is_left_for_the_handshake() {
    let mut s = stage();
    s.client(HELLO);
    assert!(matches!(s.requests.as_slice(), [Request::NegotiateTls { direct: true }]));
    s.input(Input::TlsFailed { side: Side::Database, reason: "no".into() });
    assert_eq!((records(&s)[0].outcome, s.closed), (TlsOutcome::Failed, Some(CloseReason::TlsFailed)));
    assert!(s.to_client.is_empty(), "nothing in clear");
    // After a request was declined it is no opening any more.
    let mut s = stage();
    s.client(SSL_REQUEST);
    s.input(Input::TlsDeclined);
    s.client(HELLO);
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
}

#[test]
fn within_tls_nothing_asks_for_encryption_again() {
    for again in [SSL_REQUEST, HELLO, b"\0\0\0\x08\x04\xd2\x16\x30"] {
        let mut s = stage();
        s.client(SSL_REQUEST);
        s.input(tls(ShownCertificate::LocalCa));
        s.client(again);
        assert!(matches!(s.closed, Some(CloseReason::Protocol(_))), "{again:?}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_told_to_a_client_that_can_read_it() {
    let mut s = stage();
    s.client(SSL_REQUEST);
    s.input(Input::ConnectFailed { reason: "connection refused".into() });
    assert_eq!((s.errors(), s.closed), (vec!["08001".into()], Some(CloseReason::ConnectFailed)));
    let mut s = stage();
    s.client(HELLO);
    s.input(Input::ConnectFailed { reason: "connection refused".into() });
    assert_eq!(s.to_client[0], 0x15, "a TLS alert");
}

#[test]
fn a_declined_request_is_not_asked_again_and_again() {
    let mut s = stage();
    for _ in 0..2 {
        s.client(SSL_REQUEST);
        s.input(Input::TlsDeclined);
    }
    s.client(SSL_REQUEST);
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
    assert_eq!(s.requests.len(), 2);
}

#[test]
fn a_deadline_within_the_handshake_says_nothing_in_clear() {
    let mut s = stage();
    s.client(SSL_REQUEST);
    s.input(Input::Stop(StopReason::StartupTimeout));
    assert_eq!(records(&s)[0].outcome, TlsOutcome::Failed);
    assert_eq!((s.to_client.as_slice(), s.closed), (&b""[..], Some(CloseReason::StartupTimeout)));
}

#[test]
fn channel_binding_passes_with_the_servers_own_certificate() {
    let mut s = offered(ShownCertificate::ServerKey);
    assert_eq!(s.to_client, message(b'R', OFFER));
    let answer = initial_response(b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=x");
    s.client(&answer);
    assert_eq!(s.to_server, answer);
}

#[test]
fn otherwise_it_is_not_offered_and_clients_without_it_go_on() {
    for shown in [ShownCertificate::LocalCa, ShownCertificate::Unverified] {
        let mut s = offered(shown);
        assert_eq!(s.to_client, message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"));
        let answer = initial_response(b"SCRAM-SHA-256", b"n,,n=,r=x");
        s.client(&answer);
        s.client(&message(b'p', b"c=biws,r=x,p=y"));
        assert_eq!(s.to_server, [answer, message(b'p', b"c=biws,r=x,p=y")].concat());
    }
}

#[test]
fn a_client_that_would_bind_is_told_why_it_cannot() {
    for (mechanism, data) in
        [(&b"SCRAM-SHA-256"[..], &b"y,,n=,r=x"[..]), (b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=")]
    {
        let answer = initial_response(mechanism, data);
        // However the answer is cut, none of it reaches the server.
        for cut in 0..answer.len() {
            let mut s = offered(ShownCertificate::LocalCa);
            s.clear();
            s.client(&answer[..cut]);
            assert!(s.to_server.is_empty() && s.closed.is_none(), "cut at {cut}");
            s.client(&answer[cut..]);
            assert!(s.to_server.is_empty());
            assert_eq!((s.errors(), &s.closed), (vec!["28000".into()], &Some(CloseReason::ChannelBinding)));
        }
    }
}

#[test]
fn other_authentication_passes_as_it_is() {
    let mut s = stage();
    s.client(SSL_REQUEST);
    s.input(tls(ShownCertificate::LocalCa));
    s.client(&startup(&[("user", "app")]));
    s.input(Input::Connected);
    s.clear();
    let md5 = message(b'R', b"\0\0\0\x05salt");
    s.server(&md5);
    assert_eq!(s.to_client, md5);
}
