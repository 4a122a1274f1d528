//! One side without the other: no governor at the server, none at the client, or one with another key.

use super::{ASK, hello, secure, session_starts};
use governor_tests::database_host::SERVER_V4;
use governor_tests::governor::text;
use governor_tests::two_hosts::{STRANGER, TwoHosts, names_app1, names_db1};
use governor_tests::{Auth, Class, Options, wait};

#[test]
fn a_server_without_governor_is_reached_all_the_same_and_the_client_sees_nothing_of_it() {
    let mut hosts = TwoHosts::trusting("optional").unwrap();
    // A clean stop takes its hooks off: the server itself answers.
    hosts.db1.governor.stop().unwrap();
    for _ in 0..2 {
        let done = hosts.psql(Class::Service, SERVER_V4, "SELECT 'here'").unwrap().ok().unwrap();
        assert_eq!((done.out().as_str(), done.err().as_str()), ("here\n", ""));
    }
    let record = hello(&hosts.app1, "unanswered");
    assert!(text(&record, "reason").contains("unsupported frontend protocol"), "{record}");
    let log = hosts.app1.log();
    assert!(log.contains("a peer does not answer a hello"), "{log}");
    assert_eq!(
        log.matches("a peer does not answer a hello").count(),
        1,
        "told once, and not asked each time"
    );
    let asked = hosts.db1.postgres.log();
    assert_eq!(asked.matches("unsupported frontend protocol").count(), 1, "{asked}");
}

#[test]
fn the_same_within_tls() {
    let (mut hosts, pki) = secure("optional", Options::default());
    hosts.db1.governor.stop().unwrap();
    let mut psql = hosts.client("psql", Class::Service, SERVER_V4).unwrap();
    psql.env("PGSSLMODE", "require")
        .env("PGSSLCERT", pki.path("billing.crt"))
        .env("PGSSLKEY", pki.path("billing.key"))
        .env("PGCHANNELBINDING", "disable");
    let done = governor_tests::database_host::psql(psql, "SELECT 'here'").unwrap().ok().unwrap();
    assert_eq!(done.out(), "here\n");
    hello(&hosts.app1, "unanswered");
}

#[test]
fn where_a_hello_is_required_a_server_without_governor_is_refused() {
    let mut hosts = TwoHosts::trusting("required").unwrap();
    hosts.psql(Class::Service, SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    hosts.db1.governor.stop().unwrap();
    let refused = hosts.psql(Class::Service, SERVER_V4, "SELECT 1").unwrap();
    assert!(!refused.status.success());
    assert!(refused.err().contains("identity.peers requires a hello"), "{}", refused.err());
    hello(&hosts.app1, "unanswered");
}

#[test]
fn where_a_hello_is_required_nobody_is_served_without_one() {
    let hosts = TwoHosts::trusting("required").unwrap();
    let past = hosts.psql_past(SERVER_V4, "SELECT 1").unwrap();
    assert!(past.err().contains("has to say who it is"), "{}", past.all());
    let decision = hosts
        .db1
        .governor
        .wait_for_record("session_decision", |record| text(record, "verdict") == "deny")
        .unwrap();
    assert!(decision.to_string().contains("governor.hello-required"), "{decision}");
    hello(&hosts.db1.governor, "missing");
    // Nor is anything cancelled.
    let running = hosts.psql_running(Class::Service, SERVER_V4, "SELECT pg_sleep(600)").unwrap();
    wait::until("the statement", wait::PATIENCE, || {
        let count = hosts.db1.truth("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")?;
        Ok((count == "1").then_some(()))
    })
    .unwrap();
    hosts
        .db1
        .remote
        .inside(|| -> anyhow::Result<()> {
            use std::io::{Read, Write};
            let mut socket = std::net::TcpStream::connect((SERVER_V4, 5432))?;
            socket.write_all(&governor_tests::wire::cancel(&[0, 0, 0, 7, 1, 2, 3, 4]))?;
            socket.read_to_end(&mut Vec::new())?;
            Ok(())
        })
        .unwrap()
        .unwrap();
    let cancel = hosts.db1.governor.wait_for_record("cancel", |_| true).unwrap();
    assert_eq!(text(&cancel, "forwarded"), "false");
    assert!(text(&cancel, "reason").contains("hello"), "{cancel}");
    running.signal(libc::SIGINT).unwrap();
    running.finish(wait::PATIENCE).unwrap();
}

#[test]
fn a_client_without_a_hello_is_known_by_its_address_where_none_is_required() {
    let hosts = TwoHosts::trusting("optional").unwrap();
    let secret = hosts.db1.truth(ASK).unwrap();
    let past = hosts.psql_past(SERVER_V4, ASK).unwrap().ok().unwrap();
    assert!(!past.out().contains(&secret), "a person by its address: masked");
    assert_eq!(session_starts(&hosts.db1.governor), 1);
    assert_eq!(hosts.db1.governor.events("hello").unwrap().len(), 0);
}

#[test]
fn a_governor_with_another_key_is_not_believed_and_not_told() {
    // The client's: the database host does not know its key.
    let app1 = Options { hello_seed: Some(STRANGER.0), more: names_db1("optional"), ..Options::default() };
    let db1 = Options { more: names_app1("optional"), ..Options::default() };
    let hosts = TwoHosts::start(Auth::Trust, &app1, &db1).unwrap();
    let secret = hosts.db1.truth(ASK).unwrap();
    let done = hosts.psql(Class::Service, SERVER_V4, ASK).unwrap().ok().unwrap();
    assert!(!done.out().contains(&secret), "no service by its word: a person by its address");
    let refused = hello(&hosts.db1.governor, "unknown_key");
    assert!(field_is_null(&refused, "peer"), "{refused}");
    drop(hosts);
    // The server's: whoever answers there as governor is not the one that is named, so nothing is sent at all.
    let app1 = Options { more: names_db1("optional"), ..Options::default() };
    let db1 = Options { hello_seed: Some(STRANGER.0), more: names_app1("optional"), ..Options::default() };
    let hosts = TwoHosts::start(Auth::Trust, &app1, &db1).unwrap();
    let refused = hosts.psql(Class::Service, SERVER_V4, "SELECT 1").unwrap();
    assert!(refused.err().contains("is not the one that identity.peers names"), "{}", refused.all());
    hello(&hosts.app1, "unknown_key");
    let heard = hello(&hosts.db1.governor, "malformed");
    assert!(field_is_null(&heard, "principal"), "{heard}");
}

fn field_is_null(record: &serde_json::Value, key: &str) -> bool {
    governor_tests::governor::field(record, key).is_null()
}
