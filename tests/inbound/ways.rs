//! By whatever form somebody connects to a captured server, from another host or beside it, governor is what he meets.

use super::PORTS;
use governor_tests::database_host::{DatabaseHost, PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::governor::field;
use governor_tests::{Auth, Class, Options, process, wait};
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
            let Some((shown, start)) = ask(&site, command, way, server, governed) else { continue };
            governed += 1;
            assert!(shown.starts_with("rows ") && shown.ends_with("|t"), "{way} to {server}: {shown}");
            // A person until the configuration says more: masked.
            assert!(!shown.contains(&secret), "{way} to {server}: {shown}");
            assert_eq!(field(&start, "client")["address"], client, "{way} to {server}");
            assert_eq!(field(&start, "principal")["class"], "person", "{way} to {server}");
        }
        for server in beside {
            let command = site.local("python3", server, Class::Service).unwrap();
            let Some((shown, start)) = ask(&site, command, way, server, governed) else { continue };
            governed += 1;
            // A service sees what it works with.
            assert_eq!(shown, format!("rows {secret}|t"), "{way} to {server}");
            let principal = field(&start, "principal");
            assert_eq!(principal["class"], "service", "{way} to {server}");
            assert!(principal["executable"].to_string().contains("python"), "{way} to {server}: {principal}");
        }
    }
    assert!(governed > 9 * 9, "only {governed} connections are possible on this kernel");
    // Nobody else was let through, and nobody twice.
    let log = site.postgres.log();
    let heard = log[before..].lines().filter(|line| line.contains("connection authorized: user=app")).count();
    assert_eq!(heard, governed, "{}", &log[before..]);
}

/// What the client was shown and the record of its session, the one after those `before` it; `None` where this kernel has
/// no such way.
fn ask(
    site: &DatabaseHost,
    mut python: Command,
    way: &str,
    server: &str,
    before: usize,
) -> Option<(String, serde_json::Value)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("around/client.py");
    python.arg(script).args([way, server, &PORT.to_string(), ASK]);
    let done = process::run(python, wait::PATIENCE).unwrap();
    let outcome = done.out().lines().last().unwrap_or_default().to_owned();
    if let Some(why) = outcome.strip_prefix("absent ") {
        println!("not on this kernel: {way} ({why})");
        return None;
    }
    let mut starts = site.governor.events("session_start").unwrap();
    assert_eq!(starts.len(), before + 1, "{way} to {server}: {}", done.all());
    Some((outcome, starts.pop().unwrap()))
}
