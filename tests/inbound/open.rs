//! Connections to a server of this host that were open before governor: told, and ended where the configuration says so.

use super::{PORTS, sees};
use governor_tests::database_host::{self, DatabaseHost, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::governor::field;
use governor_tests::{Auth, Class, Options, Running, wait, wire};
use serde_json::Value;
use std::io::{PipeWriter, Read as _, Write as _, pipe};
use std::net::TcpStream;
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

/// A client on another host: its socket is in a namespace in which no process lives, so nobody here can look at its end.
struct Elsewhere(TcpStream);

impl Elsewhere {
    fn connect(site: &DatabaseHost, server: &str) -> Self {
        let stream =
            site.remote.inside(|| TcpStream::connect((server, database_host::PORT))).unwrap().unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let mut client = Self(stream);
        client.0.write_all(&wire::startup("app", "shop")).unwrap();
        client.until_ready();
        client
    }

    /// The first value of the answer; an error where the connection has ended.
    fn ask(&mut self, sql: &str) -> std::io::Result<String> {
        self.0.write_all(&wire::query(sql))?;
        let mut answer = Vec::new();
        loop {
            let (tag, body) = self.message()?;
            match tag {
                // One column: their number, a length, the value.
                b'D' => answer = body[6..].to_vec(),
                b'Z' => return Ok(String::from_utf8(answer).unwrap()),
                _ => {}
            }
        }
    }

    fn until_ready(&mut self) {
        while self.message().unwrap().0 != b'Z' {}
    }

    fn message(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
        self.0.read_exact(&mut body)?;
        Ok((head[0], body))
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
    let local = Early::connect(&site, site.local("psql", "127.0.0.1", Class::Agent).unwrap(), "early_local");
    let mut elsewhere = [(SERVER_V4, REMOTE_V4), (SERVER_V6, REMOTE_V6)]
        .map(|(server, client)| (Elsewhere::connect(&site, server), client));
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
        let group = site.group.kernel_name(&site.group.path().join("server")).unwrap();
        assert_eq!(field(record, "cgroup"), &Value::from(group), "{record}");
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
    for (early, client) in &mut elsewhere {
        assert_eq!(early.ask(&sees(client)).unwrap(), "t", "it goes on, unread");
    }
    assert_eq!(local.ask(&sees("127.0.0.1")).ok().unwrap().out(), "t\n");
    drop(elsewhere);
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
    let mut site = stopped("ports = [5432]\ncgroup = \"GROUP/server\"\nopen_connections = \"end\"");
    let mut elsewhere = Elsewhere::connect(&site, SERVER_V4);
    let (v4, v6, local) = early(&site);
    site.governor.launch().unwrap();
    for record in told(&site, 4) {
        assert_eq!(field(&record, "ended"), &true, "{record}");
    }
    assert!(elsewhere.ask("SELECT 'asked past governor'").is_err());
    for early in [v4, v6, local] {
        let done = early.ask("SELECT 'asked past governor'");
        assert!(!done.status.success() && !done.out().contains("past"), "{}", done.all());
    }
    assert_eq!(site.metric("governor_open_connections").unwrap(), 0.0);
    assert_eq!(site.metric("governor_open_connections_total{outcome=\"ended\"}").unwrap(), 4.0);
    // Whoever connects again is governed.
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    assert_eq!(site.governor.events("session_start").unwrap().len(), 1);
}

/// In an upgrade two agents look at the same sockets: each has to know the other's.
#[test]
fn sessions_of_the_agent_before_are_governed_and_go_on_through_an_upgrade() {
    // The silent client must outlast a take-over on a busy machine.
    let options = Options { more: "[limits]\nstartup_timeout = \"5m\"\n".into(), ..Options::default() };
    let mut site = DatabaseHost::start(PORTS, Auth::Trust, &options).unwrap();
    site.governor.stop().unwrap();
    let early = Early::connect(&site, site.remote("psql", SERVER_V6).unwrap(), "early");
    site.governor.launch().unwrap();
    assert_eq!(field(&told(&site, 1)[0], "ended"), &false);
    let governed = Early::connect(&site, site.remote("psql", SERVER_V4).unwrap(), "governed");
    // Its agent has no connection to the server for a client that has not said yet who it is.
    let silent = site.remote.inside(|| TcpStream::connect((SERVER_V4, database_host::PORT)));
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
    silent.write_all(&wire::startup("app", "shop")).unwrap();
    let mut first = [0];
    silent.read_exact(&mut first).unwrap();
    assert_eq!(first[0], b'R');
    drop(silent);
    assert_eq!(governed.ask("SELECT 'whole'").ok().unwrap().out(), "whole\n");
    assert_eq!(site.governor.events("open_connection").unwrap().len(), 2);
    site.governor.wait_for_retired().unwrap();
}

/// Both ends of governor's own connections are listed while they come and go.
#[test]
fn short_connections_that_are_governed_are_not_told() {
    let mut site = stopped(PORTS);
    // Each of these that goes shows that one more look was made.
    let mut early: Vec<_> = (0..2).map(|_| Elsewhere::connect(&site, SERVER_V4)).collect();
    site.governor.launch().unwrap();
    told(&site, 2);
    let script = site.governor.state_dir().join("one.sql");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    let program = site.postgres.bin().join("pgbench");
    let program = program.to_str().unwrap();
    let bench = |mut pgbench: Command| {
        pgbench.args(["-n", "-C", "-c", "2", "-T", "600", "-f"]).arg(&script).arg("shop");
        Running::start(pgbench, &[]).unwrap()
    };
    let mut load = [
        bench(site.remote(program, SERVER_V6).unwrap()),
        bench(site.local(program, "127.0.0.1", Class::Service).unwrap()),
    ];
    while let Some(one) = early.pop() {
        drop(one);
        wait::until("the gauge", wait::PATIENCE, || {
            Ok((site.metric("governor_open_connections")? == early.len() as f64).then_some(()))
        })
        .unwrap();
    }
    for running in &mut load {
        assert!(!running.ended().unwrap(), "there was to be a load all the time");
        running.signal(libc::SIGKILL).unwrap();
    }
    let records = site.governor.events("open_connection").unwrap();
    assert_eq!(records.len(), 2, "{records:?}");
    let sessions = site.governor.count_records("session_start").unwrap();
    println!("{sessions} sessions in two looks");
    assert!(sessions > 50, "{sessions}");
}
