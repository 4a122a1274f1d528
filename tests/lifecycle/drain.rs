//! A stop: what is under way may finish until the time for that is over; what is idle ends at once.

use governor_tests::governor::text;
use governor_tests::wire::{self, Wire};
use governor_tests::{Auth, Class, Options, Site, wait};

/// Waits at the server until [`open`] was called there.
const WAITS: &str = "SELECT pg_advisory_lock(4711), pg_advisory_unlock(4711), 'done'";
const OPENS: &str = "SELECT pg_advisory_unlock(4711)";

fn site(limits: &str) -> Site {
    let more = format!("[limits]\n{limits}\n");
    Site::with(Auth::Trust, &Options { more, ..Options::default() }).unwrap()
}

/// A session past governor that keeps [`WAITS`] waiting, and one of `class` that waits.
fn waiting(site: &Site, class: Class) -> (Wire, Wire) {
    let mut gate = site.wire_direct().unwrap();
    gate.query("SELECT pg_advisory_lock(4711)").unwrap();
    let mut waiting = site.wire(class).unwrap();
    waiting.send(&wire::query(WAITS)).unwrap();
    wait::until("the statement to wait", wait::PATIENCE, || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'";
        Ok((site.truth(sql)? == "1").then_some(()))
    })
    .unwrap();
    (gate, waiting)
}

/// What a session is told at its end: the SQLSTATE of the one message that is left, and that nothing follows.
fn ended_with(wire: &mut Wire) -> Option<String> {
    let last = wire.read().unwrap();
    assert_eq!((last.tag, last.field(b'V').as_deref()), (b'E', Some("FATAL")), "{last:?}");
    assert!(wire.until_closed().unwrap().is_empty());
    last.field(b'C')
}

#[test]
fn what_runs_and_what_is_in_a_transaction_finishes_and_what_is_idle_ends_at_once() {
    let mut site = site("drain_timeout = \"5m\"");
    site.truth("CREATE TABLE marks (n int); GRANT ALL ON marks TO app").unwrap();
    let mut idle = site.wire(Class::Service).unwrap();
    let (mut gate, mut runs) = waiting(&site, Class::Person);
    let mut transaction = site.wire(Class::Service).unwrap();
    transaction.query("BEGIN; INSERT INTO marks VALUES (1)").unwrap();
    site.governor.signal(libc::SIGTERM).unwrap();
    assert_eq!(ended_with(&mut idle).as_deref(), Some("57P01"));
    assert!(site.governor.alive().unwrap());
    // The transaction goes on for as many statements as it takes.
    assert_eq!(wire::tags(&transaction.query("SELECT 1").unwrap()), "TDCZ");
    assert_eq!(wire::tags(&transaction.query("COMMIT").unwrap()), "CZ");
    assert_eq!(ended_with(&mut transaction).as_deref(), Some("57P01"));
    assert_eq!(site.truth("SELECT count(*) FROM marks").unwrap(), "1");
    gate.query(OPENS).unwrap();
    assert_eq!(wire::tags(&runs.until_ready().unwrap()), "TDCZ");
    assert_eq!(ended_with(&mut runs).as_deref(), Some("57P01"));
    assert!(site.governor.wait_for_end().unwrap().success());
    let ends = site.governor.events("session_end").unwrap();
    assert!(ends.len() >= 3 && ends.iter().all(|end| text(end, "reason") == "draining"), "{ends:?}");
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn what_is_not_done_in_time_is_ended_and_on_record_as_lost() {
    let mut site = site("drain_timeout = \"1s\"");
    let (_gate, mut runs) = waiting(&site, Class::Service);
    site.governor.signal(libc::SIGTERM).unwrap();
    assert_eq!(ended_with(&mut runs).as_deref(), Some("57P01"));
    assert!(site.governor.wait_for_end().unwrap().success());
    let lost = site.governor.wait_for_record("completion", |record| text(record, "outcome") == "lost");
    assert!(text(&lost.unwrap(), "sqlstate").is_empty());
}

/// The first stop waits for what runs, the second for nothing.
#[test]
fn a_second_signal_waits_for_nothing() {
    let mut site = site("drain_timeout = \"1h\"");
    let mut idle = site.wire(Class::Service).unwrap();
    let (_gate, mut runs) = waiting(&site, Class::Service);
    site.governor.signal(libc::SIGTERM).unwrap();
    // By then the first one was heard.
    assert_eq!(ended_with(&mut idle).as_deref(), Some("57P01"));
    site.governor.signal(libc::SIGTERM).unwrap();
    assert_eq!(ended_with(&mut runs).as_deref(), Some("57P01"));
    assert!(site.governor.wait_for_end().unwrap().success());
}
