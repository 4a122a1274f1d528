//! Hellos: from whom one is accepted, what it makes of the principal, and what nobody gets without one.

use super::stage::*;
use crate::engine::audit::{AuditEvent, HelloOutcome, HelloRecord, HelloWay};
use crate::engine::model::{Class, PeerAttestation, Principal, RemoteClient, Verdict};
use crate::engine::session::*;
use crate::engine::wire::hello::{HELLO_BYTES_MAX, Hello};
use std::sync::Arc;

fn stage(hello: HelloRule) -> Stage {
    Stage::with_hello(Class::Person, TlsMode::Terminate, EngineLimits::default(), hello)
}

fn packet() -> Vec<u8> {
    Hello::new([1; 32], [2; 32]).encode().to_vec()
}

fn outcomes(s: &Stage) -> Vec<HelloOutcome> {
    let events = s.records.iter().filter_map(|record| match &record.event {
        AuditEvent::Hello(record) => Some(record.outcome),
        _ => None,
    });
    events.collect()
}

fn accepted(class: Class) -> Input<'static> {
    let attested = PeerAttestation {
        peer: "app1".into(),
        key: "00".into(),
        bound: true,
        host: "app1".into(),
        session: SessionId("s9".into()),
        at_unix_ns: 1,
        uid: 7,
        gid: 7,
        login_uid: None,
    };
    let remote = RemoteClient { attested: Some(attested), ..RemoteClient::at([10, 1, 0, 1].into()) };
    let principal = Principal {
        user: "alice@app1".into(),
        login_user: None,
        remote: Some(remote),
        command_line: vec!["psql".into(), "--set=mail=alice@example.org".into()],
        ..crate::engine::policy::tests::principal(class)
    };
    let record = HelloRecord::new(HelloWay::Received, HelloOutcome::Accepted, "");
    Input::Greeted(Box::new(HelloRecord { principal: Some(Box::new(principal)), ..record }))
}

fn came_to(outcome: HelloOutcome) -> Input<'static> {
    Input::Greeted(Box::new(HelloRecord::new(HelloWay::Received, outcome, "why")))
}

#[test]
fn whom_a_hello_names_is_the_principal_of_everything_after_it() {
    for rule in [HelloRule::Accepted, HelloRule::Required] {
        let mut s = stage(rule);
        for byte in packet() {
            s.client(&[byte]);
        }
        assert!(matches!(s.requests.as_slice(), [Request::Greet { packet: asked }] if *asked == packet()));
        // Nothing is read before that is answered, however fast the StartupMessage comes.
        s.client(&startup(&[("user", "app"), ("database", "shop")]));
        assert!(s.to_server.is_empty() && s.requests.len() == 1 && s.to_client.is_empty());
        s.input(accepted(Class::Agent));
        assert_eq!(outcomes(&s), [HelloOutcome::Accepted]);
        assert_eq!((s.session.principal().class, &*s.session.principal().user), (Class::Agent, "alice@app1"));
        assert!(matches!(s.requests.as_slice(), [_, Request::Dial]), "and then the start-up is decided");
        let shown = serde_json::to_string(&s.records).unwrap();
        assert!(!shown.contains("alice@example.org"), "personal data on a command line: {shown}");
    }
}

#[test]
fn a_client_of_this_host_has_no_say_in_who_it_is() {
    let mut s = stage(HelloRule::Unexpected);
    s.client(&packet());
    assert_eq!(outcomes(&s), [HelloOutcome::Unexpected]);
    assert_eq!(s.errors(), ["28000"]);
    assert_eq!(s.closed, Some(CloseReason::HelloRefused));
    assert!(s.requests.is_empty());
}

#[test]
fn what_is_not_accepted_ends_the_connection() {
    for outcome in [
        HelloOutcome::UnknownKey,
        HelloOutcome::WrongAddress,
        HelloOutcome::BadSignature,
        HelloOutcome::Malformed,
        HelloOutcome::Version,
        // Accepted, and yet without a principal: never taken for one.
        HelloOutcome::Accepted,
    ] {
        let mut s = stage(HelloRule::Accepted);
        s.client(&packet());
        s.client(&startup(&[("user", "app")]));
        s.input(came_to(outcome));
        assert_eq!(outcomes(&s), [outcome]);
        assert_eq!(s.closed, Some(CloseReason::HelloRefused), "{outcome:?}");
        assert!(!s.requests.iter().any(|request| matches!(request, Request::Dial)));
    }
    let mut s = stage(HelloRule::Required);
    s.client(&packet());
    s.input(came_to(HelloOutcome::Own));
    assert_eq!((s.closed, s.to_client.len()), (Some(CloseReason::HelloOwn), 0));
}

#[test]
fn a_second_hello_and_bytes_behind_one_are_violations() {
    let mut s = stage(HelloRule::Accepted);
    s.client(&packet());
    s.input(accepted(Class::Person));
    s.client(&packet());
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
    let mut s = stage(HelloRule::Accepted);
    s.client(&[packet(), startup(&[("user", "app")])].concat());
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
    assert!(s.requests.is_empty());
    let mut s = stage(HelloRule::Accepted);
    let mut long = packet();
    long.resize(HELLO_BYTES_MAX + 1, 0);
    let length = u32::try_from(long.len()).unwrap();
    long[..4].copy_from_slice(&length.to_be_bytes());
    s.client(&long);
    assert!(matches!(s.closed, Some(CloseReason::Protocol(_))));
}

#[test]
fn where_one_is_required_nothing_is_passed_on_without() {
    let mut s = stage(HelloRule::Required);
    s.client(&startup(&[("user", "app")]));
    assert_eq!(outcomes(&s), [HelloOutcome::Missing]);
    let denied = s.records.iter().any(|record| {
        matches!(&record.event, AuditEvent::SessionDecision(decision)
            if decision.verdict == Verdict::Deny && &*decision.reasons[0].policy == "governor.hello-required")
    });
    assert!(denied, "{:?}", s.records);
    assert_eq!(s.errors(), ["28000"]);
    assert!(s.requests.is_empty());

    let mut s = stage(HelloRule::Required);
    s.client(&crate::engine::wire::postgres::startup::cancel_request(7, b"key!"));
    assert_eq!(outcomes(&s), [HelloOutcome::Missing]);
    assert!(s.records.iter().any(|r| matches!(r.event, AuditEvent::Cancel { forwarded: false, .. })));
    assert!(s.requests.is_empty());

    for first in [b"\0\0\0\x08\x04\xd2\x16\x2f".as_slice(), &[0x16, 3, 1]] {
        let mut s = Stage::with_hello(
            Class::Person,
            TlsMode::PassUnread,
            EngineLimits::default(),
            HelloRule::Required,
        );
        s.client(first);
        assert_eq!(outcomes(&s), [HelloOutcome::Missing], "TLS that would pass unread");
        assert!(s.requests.is_empty() && s.closed == Some(CloseReason::HelloRefused));
    }
}

#[test]
fn tls_after_a_hello_does_not_take_back_whom_it_named() {
    for rule in [HelloRule::Accepted, HelloRule::Required] {
        let mut s = stage(rule);
        s.client(&packet());
        s.input(accepted(Class::Agent));
        s.client(b"\0\0\0\x08\x04\xd2\x16\x2f");
        assert!(matches!(s.requests.as_slice(), [_, Request::NegotiateTls { direct: false }]));
        let attested = s.session.principal().clone();
        let by_address = Principal {
            user: "10.1.0.1".into(),
            remote: Some(RemoteClient::at([10, 1, 0, 1].into())),
            ..crate::engine::policy::tests::principal(Class::Person)
        };
        s.input(Input::Identified(Arc::new(by_address)));
        assert_eq!(*s.session.principal(), attested);
        // The same process, with what TLS adds.
        let stricter = Principal { class: Class::Agent, user: "bob@app1".into(), ..attested };
        s.input(Input::Identified(Arc::new(stricter)));
        assert_eq!(&*s.session.principal().user, "bob@app1");
    }
}

#[test]
fn what_was_said_on_the_way_to_the_server_is_on_record() {
    let mut s = Stage::new(Class::Service);
    s.client(&startup(&[("user", "app")]));
    let record = HelloRecord { bound: true, ..HelloRecord::new(HelloWay::Sent, HelloOutcome::Accepted, "") };
    s.input(Input::SaidHello(Box::new(record)));
    assert_eq!(outcomes(&s), [HelloOutcome::Accepted]);
    s.input(Input::Connected);
    assert_eq!(s.to_server, startup(&[("user", "app")]));
}
