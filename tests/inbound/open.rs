//! Connections to a server of this host that were open before governor: told, and ended where the configuration says so.

use super::{PORTS, sees};
use governor_tests::database_host::{self, DatabaseHost, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::governor::field;
use governor_tests::{Auth, Class, Options, Running, wait};
use serde_json::Value;
use std::io::{PipeWriter, Write as _, pipe};
use std::process::Command;

/// A database host with governor stopped.
fn stopped(inbound: &str) -> DatabaseHost {
    let mut site = DatabaseHost::start(inbound, Auth::Trust, &Options::default()).unwrap();
    site.governor.stop().unwrap();
    site
}

/// psql that is connected and waits for its input.
struct Early {
    psql: Running,
    input: PipeWriter,
}

impl Early {
    fn connect(site: &DatabaseHost, mut psql: Command, name: &str) -> Self {
        psql.args(governor_tests::client::PSQL_ROWS).env("PGAPPNAME", name);
        let (theirs, input) = pipe().unwrap();
        let mut psql = Running::start_with(psql, theirs.into()).unwrap();
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND state = 'idle'"
        );
        wait::until("the early client", wait::PATIENCE, || {
            anyhow::ensure!(!psql.ended()?, "it has ended");
            Ok((site.truth(&sql)? == "1").then_some(()))
        })
        .unwrap();
        Self { psql, input }
    }

    /// Asks something now; what it saw until its end.
    fn ask(mut self, sql: &str) -> governor_tests::Finished {
        // It may have ended by itself.
        let _gone = self.input.write_all(sql.as_bytes());
        drop(self.input);
        self.psql.finish(wait::PATIENCE).unwrap()
    }
}

fn early(site: &DatabaseHost) -> (Early, Early, Early) {
    (
        Early::connect(site, site.remote("psql", SERVER_V4).unwrap(), "early_v4"),
        Early::connect(site, site.remote("psql", SERVER_V6).unwrap(), "early_v6"),
        Early::connect(site, site.local("psql", "127.0.0.1", Class::Agent).unwrap(), "early_local"),
    )
}

fn told(site: &DatabaseHost, count: usize) -> Vec<Value> {
    wait::until("all of them on record", wait::PATIENCE, || {
        let records = site.governor.events("open_connection")?;
        assert!(records.len() <= count, "{records:?}");
        Ok((records.len() == count).then_some(records))
    })
    .unwrap()
}

fn of<'r>(records: &'r [Value], client: &str) -> &'r Value {
    records.iter().find(|record| field(record, "client")["address"] == client).unwrap()
}

#[test]
fn connections_of_other_hosts_from_before_the_start_are_told_of() {
    let mut site = stopped(PORTS);
    let (v4, v6, local) = early(&site);
    site.governor.launch().unwrap();
    let records = told(&site, 3);
    for (client, server) in [(REMOTE_V4, SERVER_V4), (REMOTE_V6, SERVER_V6)] {
        let record = of(&records, client);
        assert_eq!(
            (field(record, "ended"), field(record, "arrived")),
            (&false.into(), &true.into()),
            "{record}"
        );
        assert_eq!(field(record, "destination")["address"], server, "{record}");
        assert_eq!(field(record, "destination")["port"], database_host::PORT, "{record}");
        assert_eq!(field(record, "command"), "postgres", "the server's process: {record}");
    }
    // One of this host is told by its own process.
    let record = of(&records, "127.0.0.1");
    assert_eq!(field(record, "pid").as_u64(), Some(local.psql.pid().into()), "{record}");
    assert!(record.get("arrived").is_none(), "{record}");
    assert!(site.governor.log().contains("is not governed"), "{}", site.governor.log());
    wait::until("the gauge", wait::PATIENCE, || {
        Ok((site.metric("governor_open_connections")? == 3.0).then_some(()))
    })
    .unwrap();

    // Those that are governed are none of these, whichever way they came.
    let governed = [
        Early::connect(&site, site.remote("psql", SERVER_V4).unwrap(), "late_v4"),
        Early::connect(&site, site.local("psql", "::1", Class::Service).unwrap(), "late_local"),
    ];
    for (early, client) in [(v4, REMOTE_V4), (v6, REMOTE_V6), (local, "127.0.0.1")] {
        assert_eq!(early.ask(&sees(client)).ok().unwrap().out(), "t\n", "it goes on, unread");
    }
    // A look that sees them gone has seen the governed ones.
    wait::until("the gauge to fall", wait::PATIENCE, || {
        Ok((site.metric("governor_open_connections")? == 0.0).then_some(()))
    })
    .unwrap();
    for governed in governed {
        governed.ask("SELECT 1").ok().unwrap();
    }
    assert_eq!(site.governor.events("open_connection").unwrap().len(), 3);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn connections_of_other_hosts_from_before_the_start_are_ended_where_the_block_says_so() {
    let mut site = stopped("ports = [5432]\ncgroup = \"/**/server\"\nopen_connections = \"end\"");
    let (v4, v6, local) = early(&site);
    site.governor.launch().unwrap();
    for record in told(&site, 3) {
        assert_eq!(field(&record, "ended"), &true, "{record}");
    }
    for early in [v4, v6, local] {
        let done = early.ask("SELECT 'asked past governor'");
        assert!(!done.status.success() && !done.out().contains("past"), "{}", done.all());
    }
    assert_eq!(site.metric("governor_open_connections").unwrap(), 0.0);
    assert_eq!(site.metric("governor_open_connections_total{outcome=\"ended\"}").unwrap(), 3.0);
    // Whoever connects again is governed.
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    assert_eq!(site.governor.events("session_start").unwrap().len(), 1);
}

/// In an upgrade two agents look at the same sockets: each has to know the other's.
#[test]
fn sessions_of_the_agent_before_are_governed_and_go_on_through_an_upgrade() {
    let mut site = stopped(PORTS);
    let early = Early::connect(&site, site.remote("psql", SERVER_V6).unwrap(), "early");
    site.governor.launch().unwrap();
    assert_eq!(field(&told(&site, 1)[0], "ended"), &false);
    let governed = Early::connect(&site, site.remote("psql", SERVER_V4).unwrap(), "governed");
    // Its agent has no connection to the server for a client that has not said yet who it is.
    let silent = site.remote.inside(|| std::net::TcpStream::connect((SERVER_V4, database_host::PORT)));
    let mut silent = silent.unwrap().unwrap();
    wait::until("it to be accepted", wait::PATIENCE, || {
        Ok((site.metric("governor_connections_active")? == 2.0).then_some(()))
    })
    .unwrap();
    let text = std::fs::read_to_string(site.governor.config_path()).unwrap();
    let ends = text.replace(PORTS, &format!("{PORTS}\nopen_connections = \"end\""));
    assert_ne!(text, ends);
    std::fs::write(site.governor.config_path(), ends).unwrap();
    site.governor.take_over().unwrap();
    // The new agent ends what nobody governs, and that alone.
    assert_eq!(field(&told(&site, 2)[1], "ended"), &true);
    assert!(!early.ask("SELECT 1").status.success());
    silent.write_all(&governor_tests::wire::startup("app", "shop")).unwrap();
    let mut first = [0];
    std::io::Read::read_exact(&mut silent, &mut first).unwrap();
    assert_eq!(first[0], b'R');
    drop(silent);
    assert_eq!(governed.ask("SELECT 'whole'").ok().unwrap().out(), "whole\n");
    assert_eq!(site.governor.events("open_connection").unwrap().len(), 2);
    site.governor.wait_for_retired().unwrap();
}
