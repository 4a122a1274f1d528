//! Between the host and its containers, and between two containers, a connection is governed once: where it is made. The
//! server sees it as from there all the same.

use super::{SERVERS, sees};
use governor_tests::containers::Containers;
use governor_tests::database_host::{PORT, psql};
use governor_tests::governor::field;
use governor_tests::{Class, Options, client, wait};

/// The port is captured where connections to it are made, too.
fn site(count: usize) -> Containers {
    Containers::start(count, SERVERS, PORT, &Options::default()).unwrap()
}

#[test]
fn what_the_host_sends_to_a_container_is_governed_once() {
    let site = site(2);
    // Both containers are reached by addresses of their own.
    for (number, container) in site.containers.iter().enumerate() {
        let host = format!("10.78.{number}.1");
        let done = site.host_psql(&container.from_host, Class::Agent, &sees(&host)).unwrap();
        assert_eq!(done.ok().unwrap().out(), "t\n", "the server sees the host");
        // Only a service is shown it: governed again it would be a person, by the address.
        let secret = container.truth("SELECT email FROM people WHERE id = 1").unwrap();
        let seen = site
            .host_psql(&container.from_host, Class::Service, "SELECT email FROM people WHERE id = 1")
            .unwrap();
        assert!(seen.ok().unwrap().out().contains(&secret));
    }
    let starts = site.governor.events("session_start").unwrap();
    assert_eq!(starts.len(), 4, "{starts:#?}");
    for start in &starts {
        assert!(field(start, "principal")["pid"].as_u64() > Some(0), "{start}");
    }
    site.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}

#[test]
fn what_a_container_sends_to_another_is_governed_once() {
    let site = site(2);
    site.host.set("ipv4.ip_forward", "1").unwrap();
    let [from, to] = &site.containers[..] else { panic!("two") };
    let ask = |class, sql: &str| {
        wait::until("governor to listen in the container", wait::PATIENCE, || {
            let mut command = client::command("psql", &site.group, class, PORT)?;
            command.env("PGHOST", &to.from_host);
            from.namespace.enter(&mut command)?;
            let done = psql(command, sql)?;
            Ok((!done.err().contains("Operation not permitted")).then_some(done))
        })
        .unwrap()
        .ok()
        .unwrap()
        .out()
    };
    assert_eq!(ask(Class::Agent, &sees(&from.from_host)), "t\n", "the server sees the other container");
    let secret = to.truth("SELECT email FROM people WHERE id = 1").unwrap();
    assert!(ask(Class::Service, "SELECT email FROM people WHERE id = 1").contains(&secret));
    let starts = site.governor.events("session_start").unwrap();
    assert_eq!(starts.len(), 2, "{starts:#?}");
    for start in &starts {
        let destination = field(start, "destination");
        assert_eq!(destination["namespace"]["inode"], from.namespace.inode().unwrap(), "{start}");
    }
}

#[test]
fn within_a_container_the_rule_for_what_leaves_counts_and_the_server_is_reached() {
    let site = site(1);
    let container = &site.containers[0];
    let done = wait::until("governor to listen in the container", wait::PATIENCE, || {
        let done = container.local_psql(&site.group, "127.0.0.1", Class::Service, "SELECT 1")?;
        Ok((!done.err().contains("Operation not permitted")).then_some(done))
    })
    .unwrap();
    assert_eq!(done.ok().unwrap().out(), "1\n");
    assert_eq!(site.governor.events("session_start").unwrap().len(), 1);
}
