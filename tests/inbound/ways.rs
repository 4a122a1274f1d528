//! By whatever form somebody connects to a captured server, from another host or beside it, governor is what he meets.

use super::{PORTS, site};
use governor_tests::database_host::{self, DatabaseHost, PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::governor::{field, text};
use governor_tests::{Auth, Cgroup, Class, Options, process, wait};
use std::path::Path;
use std::process::Command;

/// Of `around/client.py`: all that end in one connection to the named address.
const WAYS: [&str; 13] = [
    "plain",
    "nonblocking",
    "bound_port",
    "thread",
    "multipath",
    "smc",
    "fastopen_sendto",
    "fastopen_sendmsg",
    "fastopen_connect",
    "ring_inline",
    "ring_async",
    "ring_polled",
    "ring_fastopen",
];
const ASK: &str = "SELECT email, inet_client_addr() IS NOT NULL FROM people WHERE id = 1";

/// TCP Fast Open without cookies, on for every listener: the first bytes come with the SYN, where the socket is chosen.
#[test]
fn every_way_to_connect_is_governed_from_another_host_and_beside_the_server() {
    let options = Options { server_settings: vec!["log_connections=on"], ..Options::default() };
    let site = DatabaseHost::start(PORTS, Auth::Trust, &options).unwrap();
    let secret = site.truth("SELECT email FROM people WHERE id = 1").unwrap();
    for network in [&site.host, &site.remote] {
        let mut open = Command::new("sysctl");
        open.args(["-qw", "net.ipv4.tcp_fastopen=0x607"]);
        network.enter(&mut open).unwrap();
        process::run(open, wait::PATIENCE).unwrap().ok().unwrap();
    }
    let before = site.postgres.log().len();
    let mapped = format!("::ffff:{SERVER_V4}");
    let from_afar = [(SERVER_V4, REMOTE_V4), (SERVER_V6, REMOTE_V6), (&*mapped, REMOTE_V4)];
    let beside = ["127.0.0.1", "::1", "0.0.0.0", "::ffff:127.0.0.1", SERVER_V4, SERVER_V6];
    let mut governed = 0;
    for way in WAYS {
        for (server, client) in from_afar {
            let command = site.remote("python3", server).unwrap();
            governed += u64::from(ask(&site, command, way, server, &secret, &|start| {
                field(start, "client")["address"] == client && field(start, "principal")["class"] == "person"
            }));
        }
        for server in beside {
            let command = site.local("python3", server, Class::Service).unwrap();
            governed += u64::from(ask(&site, command, way, server, &secret, &|start| {
                let principal = field(start, "principal");
                principal["class"] == "service" && principal["executable"].to_string().contains("python")
            }));
        }
    }
    assert!(governed > 9 * 9, "only {governed} connections are possible on this kernel");
    // Nobody else was let through, and nobody twice.
    let log = site.postgres.log();
    let heard = log[before..].lines().filter(|line| line.contains("connection authorized: user=app")).count();
    assert_eq!(heard as u64, governed, "{}", &log[before..]);
    assert_eq!(site.governor.events("session_start").unwrap().len() as u64, governed);
}

/// Whether this kernel has such a way.
fn ask(
    site: &DatabaseHost,
    mut python: Command,
    way: &str,
    server: &str,
    secret: &str,
    is_known: &dyn Fn(&serde_json::Value) -> bool,
) -> bool {
    let seen = site.governor.events("session_start").unwrap().len();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("around/client.py");
    python.arg(script).args([way, server, &PORT.to_string(), ASK]);
    let done = process::run(python, wait::PATIENCE).unwrap();
    let out = done.out();
    let outcome = out.lines().last().unwrap_or_default().to_owned();
    if let Some(why) = outcome.strip_prefix("absent ") {
        println!("not on this kernel: {way} ({why})");
        return false;
    }
    let clear = format!("rows {secret}|t");
    let is_service = site
        .governor
        .events("session_start")
        .unwrap()
        .last()
        .is_some_and(|start| field(start, "principal")["class"] == "service");
    // A service sees what it works with; a person does not.
    let expected =
        if is_service { outcome == clear } else { outcome.ends_with("|t") && !outcome.contains(secret) };
    assert!(outcome.starts_with("rows ") && expected, "{way} to {server}: {}", done.all());
    let starts = site.governor.events("session_start").unwrap();
    assert_eq!(starts.len(), seen + 1, "{way} to {server}");
    let start = starts.last().unwrap();
    assert!(is_known(start), "{way} to {server}: {start}");
    true
}

/// The unit that a server runs in says which server it is, whoever else listens on its port.
#[test]
fn a_server_is_found_by_its_unit_and_by_no_other() {
    let slice = Cgroup::slice("governor-test").unwrap();
    let site = site("ports = [5432]\nunit = \"postgresql@*.service\"");
    for (unit, is_its) in [("mariadb.service", false), ("postgresql@15-main.service", true)] {
        // As if systemd had started it there.
        let group = slice.path().join(unit);
        std::fs::create_dir(&group).unwrap();
        for pid in pids(&site) {
            std::fs::write(group.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        if is_its {
            wait::until("the server to be found", wait::PATIENCE, || {
                Ok(site.remote_psql(SERVER_V4, "SELECT 1")?.status.success().then_some(()))
            })
            .unwrap();
            let start = site.governor.wait_for_record("session_start", |_| true).unwrap();
            assert_eq!(field(&start, "client")["address"], REMOTE_V4);
            assert_eq!(text(&start, "class"), "person");
        } else {
            let done = site.remote_psql(SERVER_V4, "SELECT 1").unwrap();
            assert!(!done.status.success(), "{}", done.all());
            assert!(site.governor.log().contains("is not that server"), "{}", site.governor.log());
        }
    }
}

/// The server's processes.
fn pids(site: &DatabaseHost) -> Vec<u32> {
    let postmaster = site.postgres.pid().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).unwrap();
    std::iter::once(postmaster).chain(children.split_whitespace().map(|pid| pid.parse().unwrap())).collect()
}

/// With `when_down = "pass"` a server of the host goes on without governor, and is governed again with the next one.
#[test]
fn where_the_configuration_says_so_a_server_goes_on_without_governor() {
    let mut site = site("ports = [5432]\nwhen_down = \"pass\"");
    let secret = site.truth("SELECT email FROM people WHERE id = 1").unwrap();
    let remote = |site: &DatabaseHost| {
        database_host::psql(site.remote("psql", SERVER_V4).unwrap(), "SELECT email FROM people WHERE id = 1")
            .unwrap()
    };
    assert!(!remote(&site).ok().unwrap().out().contains(&secret));
    site.governor.kill().unwrap();
    for server in [SERVER_V4, SERVER_V6] {
        let done = site.remote_psql(server, "SELECT email FROM people WHERE id = 1").unwrap().ok().unwrap();
        assert!(done.out().contains(&secret), "{}", done.all());
    }
    let beside = site.local_psql("127.0.0.1", Class::Agent, "SELECT email FROM people WHERE id = 1").unwrap();
    assert!(beside.ok().unwrap().out().contains(&secret));
    site.governor.launch().unwrap();
    assert!(!remote(&site).ok().unwrap().out().contains(&secret));
    let gap = site.governor.wait_for_record("agent_gap", |_| true).unwrap();
    assert_eq!(text(&gap, "cause"), "killed", "{gap}");
}
