//! Faults while a server's socket is taken over: its clients wait or are refused, and never reach the server past governor.

use super::Host;
use governor_tests::client::PSQL_ROWS;
use governor_tests::governor::text;
use governor_tests::{Class, Running, wait};

/// No hook of the kernel stands at a unix socket: an agent that hangs is waited for.
#[test]
fn clients_of_an_agent_that_hangs_wait_and_are_served_when_it_wakes() {
    let host = Host::start();
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
    let sessions = host.sessions();
    host.governor.signal(libc::SIGSTOP).unwrap();
    let mut impatient = host.client("psql", Class::Service);
    impatient.args(PSQL_ROWS).env("PGCONNECT_TIMEOUT", "2");
    let done = Running::start(impatient, b"SELECT 1;\n").unwrap().finish(wait::PATIENCE);
    let mut patient = host.client("psql", Class::Service);
    patient.args(PSQL_ROWS);
    let patient = Running::start(patient, b"SELECT 41 + 1;\n").unwrap();
    let at_server = host.postgres.admin(
        "shop",
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    host.governor.signal(libc::SIGCONT).unwrap();
    let done = done.unwrap();
    assert!(!done.status.success() && done.err().contains("timeout expired"), "{}", done.all());
    assert_eq!(patient.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "42\n");
    assert_eq!(at_server.unwrap(), "0", "somebody reached the server");
    assert!(host.sessions() > sessions);
}

/// It may hang for longer than the kernel side waits for a heartbeat: that is on record all the same.
#[test]
fn a_hang_is_on_record_where_only_unix_sockets_are_used() {
    let host = Host::start();
    host.governor.signal(libc::SIGSTOP).unwrap();
    let psql = host.client("psql", Class::Service);
    let mut psql = psql;
    psql.args(PSQL_ROWS).env("PGCONNECT_TIMEOUT", "12");
    let done = Running::start(psql, b"SELECT 1;\n").unwrap().finish(wait::PATIENCE);
    host.governor.signal(libc::SIGCONT).unwrap();
    assert!(!done.unwrap().status.success());
    let gap = host.governor.wait_for_record("agent_gap", |_| true).unwrap();
    assert_eq!(text(&gap, "cause"), "wedged", "{gap}");
    host.psql(Class::Service, "SELECT 1;").ok().unwrap();
}
