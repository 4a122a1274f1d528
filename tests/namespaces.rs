//! Containers: clients in network namespaces of their own are governed there, to servers in the same
//! namespace, in another one, and behind a bridge. The namespaces are made by the tests; the host's own is
//! never changed.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "namespaces/away.rs"]
mod away;
#[path = "namespaces/relay.rs"]
mod relay;

use governor_tests::client::{self, PSQL_ROWS};
use governor_tests::governor::{field, text};
use governor_tests::pki::Pki;
use governor_tests::postgres::{Auth, Postgres, free_port};
use governor_tests::{
    Cgroup, Class, Finished, Governor, Namespace, Options, Running, database, process, wait,
};
use std::process::{Command, Stdio};

/// Governor and the captured group; servers and namespaces belong to the tests.
struct Host {
    governor: Governor,
    group: Cgroup,
    port: u16,
}

impl Host {
    fn start(port: u16, more: &str) -> Self {
        let group = Cgroup::create("governor-test").unwrap();
        let options = Options { more: more.into(), ..Options::default() };
        let governor = Governor::start(&group, port, &options).unwrap();
        Self { governor, group, port }
    }

    /// psql inside a namespace and the captured group of `class`.
    fn command(&self, namespace: &Namespace, class: Class, server: &str) -> Command {
        let mut psql = client::command("psql", &self.group, class, self.port).unwrap();
        psql.args(PSQL_ROWS).env("PGHOST", server).env("PGSSLMODE", "disable");
        namespace.enter(&mut psql).unwrap();
        psql
    }

    fn running(&self, namespace: &Namespace, class: Class, server: &str, script: &str) -> Running {
        Running::start(self.command(namespace, class, server), script.as_bytes()).unwrap()
    }

    fn psql(&self, namespace: &Namespace, class: Class, server: &str, script: &str) -> Finished {
        self.running(namespace, class, server, script).finish(wait::PATIENCE).unwrap()
    }

    /// The same until governor has found the namespace: before, its connections are refused.
    fn psql_found(&self, namespace: &Namespace, class: Class, server: &str, script: &str) -> Finished {
        wait::until("governor to listen in the namespace", wait::PATIENCE, || {
            let done = self.psql(namespace, class, server, script);
            Ok((!done.err().contains("Operation not permitted")).then_some(done))
        })
        .unwrap()
    }

    fn metric(&self, name: &str) -> u64 {
        let page = self.governor.metrics().unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    }

    fn wait_served(&self, count: u64) {
        wait::until(&format!("{count} namespaces to be served"), wait::PATIENCE, || {
            Ok((self.metric("governor_namespaces_served") == count).then_some(()))
        })
        .unwrap();
    }
}

fn server(namespace: &Namespace, port: u16, settings: &[&str]) -> Postgres {
    let server = Postgres::start_in(namespace, port, Auth::Trust, settings).unwrap();
    database::load(&server, "shop").unwrap();
    server
}

/// The start of the session of the process that ran `psql`.
fn session(host: &Host, pid: u32) -> serde_json::Value {
    host.governor
        .wait_for_record("session_start", |record| {
            field(record, "principal").get("pid").and_then(serde_json::Value::as_u64) == Some(pid.into())
        })
        .unwrap()
}

#[test]
fn a_server_on_the_loopback_of_a_container_is_governed_there() {
    let port = free_port().unwrap();
    let container = Namespace::create().unwrap();
    let server = server(&container, port, &["listen_addresses=*"]);
    let host = Host::start(port, "");
    for address in ["127.0.0.1", "::1"] {
        let clear = "SELECT email FROM people ORDER BY id LIMIT 1";
        let email = server.admin("shop", clear).unwrap();
        let script = format!("{clear};\nSELECT inet_server_addr(), inet_client_addr();\n\\conninfo\n");
        let psql = host.running(&container, Class::Agent, address, &script);
        let pid = psql.pid();
        let agent = psql.finish(wait::PATIENCE).unwrap().ok();
        let agent = match agent {
            Ok(agent) => agent,
            // Not the namespace's first connection for the second address.
            Err(_) if address == "127.0.0.1" => {
                host.psql_found(&container, Class::Agent, address, &script).ok().unwrap()
            }
            Err(error) => panic!("{error:#}"),
        };
        let out = agent.out();
        assert!(!agent.all().contains(&email), "{address}: {out}");
        assert!(out.contains(&format!("{address}|{address}")), "{address}: {out}");
        assert!(out.contains(&format!("\"{address}\"")) && out.contains(&port.to_string()), "{out}");
        let service = host.psql(&container, Class::Service, address, &format!("{clear};")).ok().unwrap();
        assert_eq!(service.out().trim(), email);
        if address == "::1" {
            let record = session(&host, pid);
            let destination = field(&record, "destination");
            assert_eq!(destination["namespace"]["inode"], container.inode().unwrap());
            assert_eq!((destination["address"].as_str(), &destination["port"]), (Some("::1"), &port.into()));
            assert_eq!(field(&record, "principal")["class"], "agent");
        }
    }
    host.wait_served(1);
}

#[test]
fn one_address_in_two_containers_is_two_servers() {
    let port = free_port().unwrap();
    let containers = [Namespace::create().unwrap(), Namespace::create().unwrap()];
    let servers = containers.each_ref().map(|namespace| server(namespace, port, &[]));
    // In the second, what is called `email` holds no such thing, and the other way round.
    servers[1].admin("shop", "ALTER TABLE people RENAME COLUMN email TO swap; ALTER TABLE people RENAME COLUMN city TO email; ALTER TABLE people RENAME COLUMN swap TO city").unwrap();
    let host = Host::start(port, "");
    for (namespace, server) in containers.iter().zip(&servers) {
        let emails: String = server
            .admin("shop", "SELECT string_agg(p::text, ' ') FROM people p WHERE p::text LIKE '%@%'")
            .unwrap();
        let script = "SELECT * FROM people ORDER BY id LIMIT 3; SELECT current_setting('data_directory');";
        let seen = host.psql_found(namespace, Class::Agent, "127.0.0.1", script).ok().unwrap().out();
        let own = server.admin("shop", "SHOW data_directory").unwrap();
        assert!(seen.contains(&own), "its own server: {seen}");
        let leaked =
            emails.split([',', ' ']).filter(|word| word.contains('@')).any(|word| seen.contains(word));
        assert!(!leaked, "{seen}");
    }
    let places: std::collections::HashSet<String> = host
        .governor
        .events("session_start")
        .unwrap()
        .iter()
        .map(|record| field(record, "destination")["namespace"]["cookie"].to_string())
        .collect();
    assert_eq!(places.len(), 2, "{places:?}");
}

/// A bridge in a namespace of its own, with a cable to each of `ends`, who get 10.77.0.2 and so on.
fn bridge(ends: &[&Namespace]) -> Namespace {
    let bridge = Namespace::create().unwrap();
    bridge.ip("link add br0 type bridge").unwrap();
    bridge.ip("link set br0 up").unwrap();
    for (number, end) in ends.iter().enumerate() {
        let name = format!("v{number}");
        end.connect("eth0", &format!("10.77.0.{}/24", number + 2), &bridge, &name).unwrap();
        bridge.ip(&format!("link set {name} master br0")).unwrap();
    }
    bridge
}

#[test]
fn a_server_behind_a_bridge_sees_the_containers_own_address() {
    let port = free_port().unwrap();
    let (container, other) = (Namespace::create().unwrap(), Namespace::create().unwrap());
    let _bridge = bridge(&[&other, &container]);
    let server = server(&other, port, &["listen_addresses=*"]);
    server.authenticate("host all all 10.77.0.0/24 trust").unwrap();
    let host = Host::start(port, "");
    let clear = server.admin("shop", "SELECT email FROM people WHERE id = 1").unwrap();
    let script = "SELECT inet_server_addr(), inet_client_addr();\nSELECT email FROM people WHERE id = 1;\n\\conninfo\n";
    let seen = host.psql_found(&container, Class::Person, "10.77.0.2", script).ok().unwrap().out();
    assert!(seen.contains("10.77.0.2|10.77.0.3"), "{seen}");
    assert!(seen.contains("\"10.77.0.2\"") && !seen.contains(&clear), "{seen}");
    // A statement that runs is cancelled from where its client is.
    let slow = host.running(&container, Class::Service, "10.77.0.2", "SELECT 'begun' FROM pg_sleep(600);");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%begun%pg_sleep%' AND pid <> pg_backend_pid()";
    wait::until("the statement to run", wait::PATIENCE, || {
        Ok((server.admin("shop", running)? == "1").then_some(()))
    })
    .unwrap();
    slow.signal(libc::SIGINT).unwrap();
    let ended = slow.finish(wait::PATIENCE).unwrap();
    assert!(ended.err().contains("canceling statement due to user request"), "{}", ended.all());
}

#[test]
fn namespaces_that_appear_later_are_found_and_those_that_end_are_left() {
    let port = free_port().unwrap();
    let host = Host::start(port, "");
    let baseline = host.metric("governor_namespaces_served");
    let (mut at_once, rounds) = (0, 10);
    for _ in 0..rounds {
        let container = Namespace::create().unwrap();
        // Nobody listens: what reaches governor ends with its own message, what does not is refused.
        let first = host.psql(&container, Class::Service, "127.0.0.1", "SELECT 1;");
        if !first.err().contains("Operation not permitted") {
            at_once += 1;
        }
        let then = host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 1;");
        assert!(then.err().contains("08001") || then.err().contains("onnection refused"), "{}", then.err());
    }
    println!("the very first connection of a new namespace reached governor {at_once} of {rounds} times");
    wait::until("governor to leave them", wait::PATIENCE, || {
        Ok((host.metric("governor_namespaces_served") == baseline).then_some(()))
    })
    .unwrap();
    let held = std::fs::read_dir(format!("/proc/{}/fd", host.governor.pid().unwrap())).unwrap();
    let held = held.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let is_other = |link: &std::path::PathBuf| link.to_string_lossy().starts_with("net:[") && *link != own;
    let held: Vec<_> = held.filter(is_other).collect();
    assert!(held.is_empty(), "only its own: {held:?}");
}

/// Moves into a new namespace and connects there: `at once`, `resolve` (with a socket for a name service a few
/// milliseconds before).
const NEWCOMER: &str = r"
import collections, ctypes, errno, socket, sys, time
port, rounds, tally = int(sys.argv[1]), int(sys.argv[2]), collections.Counter()
for way in ('at once', 'resolve'):
    for _ in range(rounds):
        assert ctypes.CDLL(None).unshare(0x40000000) == 0
        if way == 'resolve':
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(); time.sleep(0.01)
        try: socket.create_connection(('127.0.0.1', port))
        except OSError as error: tally[way, errno.errorcode[error.errno]] += 1
for (way, outcome), count in tally.items(): print(f'{way}|{outcome}|{count}')
";

/// The loopback of a new namespace is down, so what governor's hooks let pass is `ENETUNREACH`.
#[test]
fn the_first_connection_of_a_namespace_is_refused_or_governed_and_never_direct() {
    let port = free_port().unwrap();
    let host = Host::start(port, "");
    let rounds = 20;
    let mut newcomer = client::command("python3", &host.group, Class::Service, port).unwrap();
    newcomer.args(["-ISc", NEWCOMER, &port.to_string(), &rounds.to_string()]);
    let out = Running::start(newcomer, &[]).unwrap().finish(wait::PATIENCE).unwrap().ok().unwrap().out();
    println!("of {rounds} each:\n{out}");
    let mut total = 0;
    for line in out.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        assert!(matches!(fields[1], "EPERM" | "ENETUNREACH"), "{out}");
        total += fields[2].parse::<u64>().unwrap();
    }
    assert_eq!(total, 2 * rounds);
    let waits =
        |outcome: &str| host.metric(&format!("governor_namespace_waits_total{{outcome=\"{outcome}\"}}"));
    let (governed, in_vain) = (waits("governed"), waits("in_vain"));
    println!("{governed} waited and were governed, {in_vain} waited in vain");
    // Most either find the listener already or wait in vain: `host::kernel::tests::waiting` shows that waiting works.
    assert!(governed + in_vain <= total, "a connection waits once");
    // Each was found, if not before its first connection then by it.
    wait::until("the namespaces to be left again", wait::PATIENCE, || {
        Ok((host.metric("governor_namespaces_served") == 0).then_some(()))
    })
    .unwrap();
}

/// Holds this many connections until its input ends.
const HOLDER: &str = r"
import resource, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = [socket.create_connection(('127.0.0.1', port)) for _ in range(count)]
print('held', flush=True)
sys.stdin.read()
";

#[test]
fn a_container_has_more_connections_at_once_than_ephemeral_ports() {
    let port = free_port().unwrap();
    let container = Namespace::create().unwrap();
    container.set("ipv4.ip_local_port_range", "40000 40999").unwrap();
    let host = Host::start(port, "[limits]\nstartup_timeout = \"5m\"\n");
    let count = 3_000;
    host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 1;");
    let mut holder = client::command("python3", &host.group, Class::Service, port).unwrap();
    holder.args(["-ISc", HOLDER, &port.to_string(), &count.to_string()]);
    holder.stdin(Stdio::piped()).stdout(Stdio::piped());
    container.enter(&mut holder).unwrap();
    let mut holder = process::spawn(holder, libc::SIGKILL).unwrap();
    wait::until("governor to have all of them", wait::PATIENCE, || {
        assert!(holder.try_wait()?.is_none(), "it could not make its connections");
        Ok((host.metric("governor_connections_active") >= count).then_some(()))
    })
    .unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_namespace_that_dies_takes_its_sessions_with_it_and_nothing_stays() {
    let port = free_port().unwrap();
    let container = Namespace::create().unwrap();
    let server = server(&container, port, &[]);
    let host = Host::start(port, "");
    host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 1;").ok().unwrap();
    let psql = host.running(&container, Class::Service, "127.0.0.1", "SELECT 'begun' FROM pg_sleep(600);");
    let pid = psql.pid();
    let id = text(&session(&host, pid), "session");
    wait::until("the statement to run", wait::PATIENCE, || {
        let count = server.admin("shop", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%begun%pg_sleep%' AND pid <> pg_backend_pid()")?;
        Ok((count == "1").then_some(()))
    })
    .unwrap();
    // All that is in it ends at once, in the middle of the session.
    psql.signal(libc::SIGKILL).unwrap();
    drop(server);
    drop(container);
    psql.finish(wait::PATIENCE).unwrap();
    host.governor.wait_for_record("session_end", |record| text(record, "session") == id).unwrap();
    host.wait_served(0);
    assert_eq!(host.metric("governor_connections_active"), 0);
}

#[test]
fn a_process_that_moves_into_a_served_namespace_is_governed_there() {
    let port = free_port().unwrap();
    let container = Namespace::create().unwrap();
    let _server = server(&container, port, &[]);
    let host = Host::start(port, "");
    host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 1;").ok().unwrap();
    // Not the harness but the captured process itself enters.
    let mut psql = client::command("nsenter", &host.group, Class::Agent, port).unwrap();
    psql.arg(format!("--net=/proc/{}/ns/net", container.pid())).arg("psql").args(PSQL_ROWS);
    let seen = Running::start(psql, b"SELECT email FROM people ORDER BY id LIMIT 1;\n").unwrap();
    let pid = seen.pid();
    let seen = seen.finish(wait::PATIENCE).unwrap().ok().unwrap();
    assert!(seen.out().contains('@') || !seen.out().is_empty());
    let record = session(&host, pid);
    assert_eq!(field(&record, "destination")["namespace"]["inode"], container.inode().unwrap());
    assert_eq!(field(&record, "principal")["class"], "agent");
}

#[test]
fn more_namespaces_than_configured_are_refused_with_a_reason() {
    let port = free_port().unwrap();
    let containers = [Namespace::create().unwrap(), Namespace::create().unwrap()];
    let group = Cgroup::create("governor-test").unwrap();
    let mut governor = Governor::prepare(&group, port, &Options::default()).unwrap();
    let config = std::fs::read_to_string(governor.config_path()).unwrap();
    std::fs::write(
        governor.config_path(),
        config.replacen("[capture]\n", "[capture]\nnamespaces_max = 1\n", 1),
    )
    .unwrap();
    governor.launch().unwrap();
    let host = Host { governor, group, port };
    let first = host.psql_found(&containers[0], Class::Service, "127.0.0.1", "SELECT 1;");
    assert!(!first.err().contains("Operation not permitted"), "{}", first.err());
    // Both stay occupied, by processes of the captured group that only wait.
    let mut holders = Vec::new();
    for namespace in &containers {
        let mut sleep = client::command("sleep", &host.group, Class::Service, port).unwrap();
        sleep.arg("600");
        namespace.enter(&mut sleep).unwrap();
        holders.push(Running::start(sleep, &[]).unwrap());
    }
    wait::until("the second to be refused", wait::PATIENCE, || {
        let unserved = host.metric("governor_namespaces_unserved");
        Ok((host.metric("governor_namespaces_served") == 1 && unserved == 1).then_some(()))
    })
    .unwrap();
    let refused = host.psql(&containers[1], Class::Service, "127.0.0.1", "SELECT 1;");
    assert!(refused.err().contains("Operation not permitted"), "{}", refused.err());
    assert!(host.governor.log().contains("capture.namespaces_max"), "{}", host.governor.log());
    // Where the first one ends, there is room.
    drop(holders.remove(0));
    let [one, other] = containers;
    drop(one);
    host.psql_found(&other, Class::Service, "127.0.0.1", "SELECT 1;");
    host.wait_served(1);
}

#[test]
fn a_namespace_without_loopback_is_told_and_works_once_it_has_one() {
    let port = free_port().unwrap();
    let container = Namespace::create_down().unwrap();
    let host = Host::start(port, "");
    let refused = host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 1;");
    assert!(refused.err().contains("unreachable"), "{}", refused.err());
    wait::until("the log to say so", wait::PATIENCE, || {
        Ok(host.governor.log().contains("loopback interface of a network namespace is down").then_some(()))
    })
    .unwrap();
    container.ip("link set lo up").unwrap();
    let _server = server(&container, port, &[]);
    let seen = host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 41 + 1;").ok().unwrap();
    assert_eq!(seen.out().trim(), "42");
}

#[test]
fn the_key_of_a_containers_server_is_found_and_its_own_certificate_shown() {
    let port = free_port().unwrap();
    let pki = Pki::new().unwrap();
    pki.server("server", &["localhost", "127.0.0.1"]).unwrap();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", pki.path("server.crt").display()),
        format!("ssl_key_file={}", pki.path("server.key").display()),
    ];
    let container = Namespace::create().unwrap();
    let _server = server(&container, port, &settings.each_ref().map(String::as_str));
    let host = Host::start(port, "");
    host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 1;");
    let mut psql = host.command(&container, Class::Service, "127.0.0.1");
    psql.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", pki.root());
    let seen = Running::start(psql, b"SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid();\n").unwrap();
    assert_eq!(seen.finish(wait::PATIENCE).unwrap().ok().unwrap().out().trim(), "t");
}
