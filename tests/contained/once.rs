//! Between the host and its containers, and between two containers, a connection is governed once: where it is made. The
//! server sees it as from there all the same.

use super::{SERVERS, sees};
use governor_tests::containers::Containers;
use governor_tests::database_host::{PORT, psql};
use governor_tests::governor::{field, text};
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
    once_each(&site, 4);
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
    once_each(&site, 2);
    for statement in site.governor.events("statement").unwrap() {
        let (session, inode) = (text(&statement, "session"), from.namespace.inode().unwrap());
        let start = site
            .governor
            .wait_for_record("session_start", |start| text(start, "session") == session)
            .unwrap();
        assert_eq!(field(&start, "destination")["namespace"]["inode"], inode, "{start}");
    }
}

/// So many statements of so many sessions, each with its process. Beside them governor has asked itself, on connections that
/// carry nothing.
fn once_each(site: &Containers, count: usize) {
    let governor = &site.governor;
    wait::until("all of them to be completed", wait::PATIENCE, || {
        Ok((governor.events("completion")?.len() >= count).then_some(()))
    })
    .unwrap();
    let statements = governor.events("statement").unwrap();
    assert_eq!(statements.len(), count, "each is on record once: {statements:#?}");
    assert!(statements.iter().all(|statement| text(statement, "pid") != "0"), "{statements:#?}");
    assert_eq!(governor.events("session_decision").unwrap().len(), count);
    let ends = governor.events("session_end").unwrap();
    let asked = ends.iter().filter(|end| text(end, "reason") == "hello_own").count();
    assert_eq!(asked, count, "{ends:#?}");
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
