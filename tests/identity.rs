//! Who is asking: attested by the kernel for every connection, however many and however short.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::{Class, Running, Site, wait};
use std::collections::HashMap;
use std::time::Duration;

#[test]
fn twenty_thousand_quick_connections_have_the_right_identity_each() {
    const EACH: u64 = 10_000;
    let site = Site::start().unwrap();
    let script = site.governor.state_dir().join("one.sql");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    let clients: Vec<(Class, Running)> = [Class::Service, Class::Agent]
        .into_iter()
        .map(|class| {
            let mut pgbench = site.client("pgbench", class).unwrap();
            pgbench.env("PGAPPNAME", class.as_str());
            pgbench
                .args(["-n", "-C", "-c", "8", "-j", "2", "-t", &(EACH / 8).to_string(), "-f"])
                .arg(&script);
            (class, Running::start(pgbench, &[]).unwrap())
        })
        .collect();
    let mut class_of_pid = HashMap::new();
    for (class, client) in clients {
        class_of_pid.insert(u64::from(client.pid()), class);
        let done = client.finish(Duration::from_secs(400)).unwrap().ok().unwrap();
        assert!(done.out().contains("number of failed transactions: 0"), "{}", done.out());
    }
    let mut counts: HashMap<(u64, String), u64> = HashMap::new();
    for record in site.governor.events("session_start").unwrap() {
        let principal = field(&record, "principal");
        let pid = principal["pid"].as_u64().unwrap_or_default();
        let class = principal["class"].as_str().unwrap_or_default().to_owned();
        *counts.entry((pid, class)).or_default() += 1;
    }
    for (pid, class) in &class_of_pid {
        let count = counts.remove(&(*pid, class.as_str().to_owned())).unwrap_or_default();
        // pgbench makes one more connection, to look at the database before it starts.
        assert!((EACH..=EACH + 1).contains(&count), "{class:?}: {count} of {EACH}");
    }
    assert!(counts.is_empty(), "sessions of nobody we started: {counts:?}");
    // What the client claims and what the kernel attests must have met in the same session.
    let mut mixed = 0;
    for record in site.governor.events("statement").unwrap() {
        let pid = field(&record, "pid").as_u64().unwrap_or_default();
        let expected = class_of_pid.get(&pid).map(|class| class.as_str());
        mixed += u64::from(expected != Some(text(&record, "class").as_str()));
    }
    assert_eq!(mixed, 0, "statements under a wrong class");
}

#[test]
fn the_principal_is_the_process_that_connected() {
    let site = Site::start().unwrap();
    let wire = site.wire(Class::Person).unwrap();
    let record = site.governor.wait_for_record("session_start", |_| true).unwrap();
    let principal = field(&record, "principal");
    assert_eq!(principal["pid"].as_u64(), Some(u64::from(wire.pid())));
    assert_eq!(principal["class"], "person");
    assert_eq!(principal["uid"].as_u64(), Some(u64::from(nix::unistd::getuid().as_raw())));
    let me = std::env::current_exe().unwrap();
    assert_eq!(principal["executable"].as_str(), me.to_str());
    let group = site.group.kernel_name(&site.group.client(Class::Person)).unwrap();
    assert_eq!(principal["cgroup"].as_str(), Some(group.as_str()));
    let parents = principal["ancestors"].as_array().unwrap();
    assert_eq!(parents[0]["pid"].as_u64(), Some(u64::from(std::process::id())), "{principal}");
}

#[test]
fn a_client_cannot_talk_itself_into_another_class() {
    let site = Site::start().unwrap();
    let mut psql = site.client("psql", Class::Agent).unwrap();
    psql.env("PGAPPNAME", "billing-service").args(["-X", "-c", "DROP TABLE orders"]);
    let done = governor_tests::process::run(psql, wait::PATIENCE).unwrap();
    assert!(!done.status.success(), "{}", done.all());
    assert_eq!(site.truth("SELECT count(*) > 0 FROM orders").unwrap(), "t");
    let decision = site.governor.wait_for_record("session_decision", |_| true).unwrap();
    assert_eq!(field(&decision, "claims")["application_name"], "billing-service", "kept as a claim");
}
