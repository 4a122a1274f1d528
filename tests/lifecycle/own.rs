//! governor's own connections are never told as ungoverned, however short they are.

use super::gaps::metric;
use governor_tests::governor::field;
use governor_tests::postgres::Auth;
use governor_tests::{Class, Options, Running, Site, wait};

/// A look lists connections, then looks for the processes behind them: some have ended by then.
#[test]
fn short_connections_of_governors_own_are_not_told() {
    // As a rule on the root does, this one covers governor's own sockets.
    let options = Options { captures_agent: true, ..Options::default() };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    site.governor.stop().unwrap();
    // Each of these that goes shows that one more look was made.
    let mut early: Vec<_> = (0..3).map(|_| site.wire(Class::Service).unwrap()).collect();
    site.governor.launch().unwrap();
    let left = |count: usize| {
        wait::until("the gauge", wait::PATIENCE, || {
            Ok((metric(&site, "governor_open_connections ") == count as f64).then_some(()))
        })
        .unwrap();
    };
    left(3);
    let script = site.governor.state_dir().join("one.sql");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    let program = site.postgres.bin().join("pgbench");
    let mut pgbench = site.client(program.to_str().unwrap(), Class::Service).unwrap();
    pgbench.args(["-n", "-C", "-c", "4", "-T", "600", "-f"]).arg(&script);
    let mut pgbench = Running::start(pgbench, &[]).unwrap();
    while let Some(one) = early.pop() {
        drop(one);
        left(early.len());
    }
    assert!(!pgbench.ended().unwrap(), "there was to be a load all the time");
    pgbench.signal(libc::SIGKILL).unwrap();
    let records = site.governor.events("open_connection").unwrap();
    let own = site.governor.pid().map(u64::from);
    assert!(records.iter().all(|record| field(record, "pid").as_u64() != own), "{records:?}");
    assert_eq!(records.len(), 3, "{records:?}");
    let sessions = site.governor.count_records("session_start").unwrap();
    println!("{sessions} sessions in three looks");
    assert!(sessions > 50, "{sessions}");
}
