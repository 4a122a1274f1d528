//! Connections that were open before governor: told, and ended where the rule says so.

use super::places::{Container, start_with};
use super::stage::{Stage, Talk, User};
use governor_tests::governor::field;
use governor_tests::network::alone;
use governor_tests::{Class, wait};

/// Clients that are connected while no governor runs: of the captured group, in a namespace of its own, and elsewhere.
struct Early {
    captured: Talk,
    contained: Talk,
    elsewhere: Talk,
}

impl Early {
    fn connect(stage: &Stage, container: &Container) -> Self {
        let (agents, elsewhere) = (stage.site.group.client(Class::Agent), stage.site.group.agent_host());
        let start = |cgroup, user, host, more: &[&str]| {
            Talk::start("stays", stage.attacker(cgroup, user, "stays", (host, stage.port()), more)).ready()
        };
        Self {
            captured: start(&agents, User::Nobody, "127.0.0.1", &[]),
            contained: start(&agents, User::Root, "10.78.0.1", &[&container.path()]),
            elsewhere: start(&elsewhere, User::Nobody, "127.0.0.1", &[]),
        }
    }
}

fn stopped_stage(open_connections: &str) -> Stage {
    let mut stage = Stage::set();
    stage.site.governor.stop().unwrap();
    let text = std::fs::read_to_string(stage.site.governor.config_path()).unwrap();
    let rule = format!("ports = [{}]\nopen_connections = \"{open_connections}\"", stage.port());
    let text = text.replace(&format!("ports = [{}]", stage.port()), &rule);
    std::fs::write(stage.site.governor.config_path(), text).unwrap();
    stage
}

fn wait_for_two(stage: &Stage, early: &Early, ended: bool) {
    let expected = [early.captured.pid(), early.contained.pid()].map(u64::from);
    wait::until("both connections on record", wait::PATIENCE, || {
        let records = stage.site.governor.events("open_connection")?;
        let told: Vec<u64> = records.iter().filter_map(|record| field(record, "pid").as_u64()).collect();
        assert!(records.iter().all(|record| field(record, "ended") == ended), "{records:?}");
        assert!(told.len() <= 2, "{records:?}");
        Ok(expected.iter().all(|pid| told.contains(pid)).then_some(()))
    })
    .unwrap();
    let records = stage.site.governor.events("open_connection").unwrap();
    let first = records.iter().find(|record| field(record, "pid").as_u64() == Some(expected[0])).unwrap();
    assert_eq!(field(first, "destination")["port"].as_u64(), Some(u64::from(stage.port())), "{first}");
    let group = stage.site.group.kernel_name(&stage.site.group.client(Class::Agent)).unwrap();
    assert_eq!(field(first, "cgroup").as_str(), Some(group.as_str()), "{first}");
    assert_eq!(field(first, "uid").as_u64(), Some(65534), "{first}");
}

#[test]
fn connections_from_before_the_start_are_told_of() {
    alone(|| {
        let mut stage = stopped_stage("report");
        let container = Container::make();
        let early = Early::connect(&stage, &container);
        stage.site.governor.launch().unwrap();
        wait_for_two(&stage, &early, false);
        wait::until("the gauge", wait::PATIENCE, || {
            Ok((stage.metric("governor_open_connections") == 2).then_some(()))
        })
        .unwrap();
        assert_eq!(stage.metric("governor_open_connections_total"), 2);
        assert!(
            stage
                .site
                .governor
                .cli(&["status"])
                .unwrap()
                .out()
                .contains("ungoverned  2 open, from before the start")
        );

        // governor's own connections to the server are none of these.
        let governed = stage.site.wire(Class::Agent).unwrap();
        let own = stage.site.governor.pid().map(u64::from);
        // They go on, unread: that is what the record is for.
        for talk in [early.captured, early.contained, early.elsewhere] {
            let answer = talk.go();
            assert!(answer.outcome().starts_with("rows "), "{answer:?}");
            assert_eq!(
                (stage.heard(&answer.marker), stage.records_of(&answer.marker).len()),
                (2, 0),
                "{answer:?}"
            );
        }
        wait::until("the gauge to fall", wait::PATIENCE, || {
            Ok((stage.metric("governor_open_connections") == 0).then_some(()))
        })
        .unwrap();
        drop(governed);
        let records = stage.site.governor.events("open_connection").unwrap();
        assert!(records.iter().all(|record| field(record, "pid").as_u64() != own), "{records:?}");
        assert_eq!(records.len(), 2);
    })
    .unwrap();
}

/// An accomplice outside of every captured group makes a socket and hands it over: no hook sees it connect.
#[test]
fn a_socket_from_elsewhere_is_found_and_ended_where_the_rule_says_so() {
    alone(|| {
        let mut stage = stopped_stage("end");
        stage.site.governor.launch().unwrap();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let (agents, elsewhere) = (stage.site.group.client(Class::Agent), stage.site.group.agent_host());
        let give = start_with(&stage, &elsewhere, "gives", one, &["fresh"]).ready();
        // It may be ended before it has its first answer.
        let taker = start_with(&stage, &agents, "given", other, &["connect", "stays"]);
        let record = stage
            .site
            .governor
            .wait_for_record("open_connection", |record| {
                field(record, "pid").as_u64() == Some(u64::from(taker.pid()))
            })
            .unwrap();
        assert_eq!(field(&record, "ended"), true, "{record}");
        let answer = taker.go();
        assert_eq!(answer.outcome(), "errno ECONNABORTED", "{answer:?}");
        give.go();
    })
    .unwrap();
}

#[test]
fn connections_from_before_the_start_are_ended_where_the_rule_says_so() {
    alone(|| {
        let mut stage = stopped_stage("end");
        let container = Container::make();
        let early = Early::connect(&stage, &container);
        stage.site.governor.launch().unwrap();
        wait_for_two(&stage, &early, true);
        assert_eq!(stage.metric("governor_open_connections"), 0);
        for talk in [early.captured, early.contained] {
            let answer = talk.go();
            assert_eq!(answer.outcome(), "errno ECONNABORTED", "{answer:?}");
            assert_eq!(stage.heard(&answer.marker), 1, "asked once, before the start: {answer:?}");
        }
        let answer = early.elsewhere.go();
        assert!(answer.outcome().starts_with("rows "), "{answer:?}");
        // Whoever connects again is governed.
        stage.assert_governed(&stage.ask(User::Nobody, "plain", "127.0.0.1", &[]));
    })
    .unwrap();
}
