//! Pretending to be governor: its ports, its marks, its descriptors; and hiding in noise.

use super::stage::{Stage, Talk, User};
use governor_tests::governor::field;
use governor_tests::network::alone;
use governor_tests::{Class, Options, wait};

/// The ports that governor listens on in this namespace.
fn ports_of(stage: &Stage) -> Vec<u16> {
    let pid = stage.site.governor.pid().unwrap();
    let metrics = stage.site.governor.metrics_address().unwrap();
    let shown = super::stage::tool("ss", &["-H", "-l", "-t", "-n", "-p"], "").ok().unwrap().out();
    let mut ports: Vec<u16> = shown
        .lines()
        .filter(|line| line.contains(&format!("pid={pid},")))
        .filter_map(|line| line.split_whitespace().nth(3))
        .filter(|address| *address != metrics)
        .filter_map(|address| address.rsplit_once(':')?.1.parse().ok())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert!(!ports.is_empty(), "{shown}");
    ports
}

#[test]
fn nobody_takes_governors_port_while_it_is_away() {
    alone(|| {
        let mut stage = Stage::set();
        let ports = ports_of(&stage);
        let clients = stage.site.group.client(Class::Agent);
        let forms = ["127.0.0.1", "127.0.0.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"];
        let try_all = |stage: &Stage| {
            for port in &ports {
                for user in [User::Nobody, User::Root] {
                    let (command, _) =
                        stage.attacker(&clients, user, "bind_to", ("127.0.0.1", *port), &forms);
                    let done =
                        governor_tests::process::run(command, wait::PATIENCE).unwrap().ok().unwrap().out();
                    let refused: Vec<&str> = done.lines().skip(1).collect();
                    let expected: Vec<String> =
                        forms.iter().map(|form| format!("errno EPERM {form}")).collect();
                    assert_eq!(refused, expected, "port {port} by {user:?}");
                }
            }
        };
        try_all(&stage);
        stage.site.governor.kill().unwrap();
        try_all(&stage);
        for host in ["127.0.0.1", "::1", "10.77.0.1"] {
            stage.assert_refused(&stage.ask(User::Nobody, "plain", host, &[]), "EPERM");
        }
        // Without naming the port, the kernel may still give it away. It is of no use: connections follow governor's
        // socket, not its number.
        let mut squatters = Vec::new();
        for port in &ports {
            let squatter = stage.attacker(&clients, User::Nobody, "squat", ("127.0.0.1", *port), &[]);
            squatters.push(Talk::start("squat", squatter).ready());
            assert!(squatters.last().unwrap().said(&format!("listens {port}")), "port {port}");
        }
        for way in ["plain", "ring_async", "fastopen_sendto"] {
            let answer = stage.ask(User::Nobody, way, "127.0.0.1", &[]);
            if answer.absent().is_none() {
                stage.assert_refused(&answer, "EPERM");
            }
        }
        stage.site.governor.launch().unwrap();
        stage.assert_governed(&stage.ask(User::Nobody, "plain", "127.0.0.1", &[]));
        for squatter in squatters {
            assert_eq!(squatter.go().outcome(), "accepted 0");
        }
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// Only the marker exempts, and only governor can reach the map of markers.
#[test]
fn nobody_gets_governors_exemption() {
    alone(|| {
        let stage = Stage::set();
        let pins = stage.site.governor.state_dir().join("pins");
        let forged = stage.ask(User::Nobody, "forge", "127.0.0.1", &[pins.to_str().unwrap()]);
        assert_eq!(forged.lines, ["errno EACCES pins", "errno EPERM ids", "errno EPERM descriptor"]);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&pins).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "pins are open to others: {mode:o}");

        let pid = stage.site.governor.pid().unwrap().to_string();
        for descriptor in 3..40 {
            let stolen = stage.ask(User::Nobody, "steal", "127.0.0.1", &[&pid, &descriptor.to_string()]);
            assert_eq!(stolen.outcome(), "errno EPERM", "descriptor {descriptor}");
        }
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// Neither governor's name, nor its user, nor its cgroup is what exempts it.
#[test]
fn governors_own_cgroup_exempts_nobody() {
    alone(|| {
        // `more` stands behind the configuration's own rules: this one covers governor itself, as "/" would.
        let rule = "[[capture.rules]]\ncgroup = \"GROUP\"\nports = [PORT]\n";
        let mut stage = Stage::set();
        let text = std::fs::read_to_string(stage.site.governor.config_path()).unwrap();
        let group = stage.site.group.path().to_str().unwrap().to_owned();
        let rule = rule.replace("GROUP", &group).replace("PORT", &stage.port().to_string());
        stage.site.governor.stop().unwrap();
        std::fs::write(stage.site.governor.config_path(), format!("{text}\n{rule}")).unwrap();
        stage.site.governor.launch().unwrap();
        let own = stage.site.group.agent_host();
        for user in [User::Nobody, User::Root] {
            let answer = stage.ask_from(&own, user, "plain", "127.0.0.1", &[]);
            stage.assert_recorded(&answer, answer.pid);
        }
        stage.assert_governed(&stage.ask(User::Nobody, "plain", "127.0.0.1", &[]));
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

#[test]
fn a_flood_hides_no_statement_and_no_refusal() {
    alone(|| {
        let mut stage = Stage::with(Options::default());
        let script = stage.site.governor.state_dir().join("flood.sql");
        std::fs::write(&script, "SELECT 1;\n").unwrap();
        let flood = || {
            let mut pgbench = stage.site.client("pgbench", Class::Service).unwrap();
            pgbench.args(["-n", "-M", "prepared", "-c", "8", "-j", "2", "-t", "500", "-f"]).arg(&script);
            governor_tests::Running::start(pgbench, &[]).unwrap()
        };
        let running = flood();
        let hidden = stage.ask(User::Nobody, "plain", "127.0.0.1", &[]);
        running.finish(wait::PATIENCE * 4).unwrap().ok().unwrap();
        stage.assert_governed(&hidden);

        // More refusals than the ring buffer holds, while nobody reads it: each is counted all the same.
        stage.site.governor.kill().unwrap();
        let mut refused = stage.site.client("python3", Class::Agent).unwrap();
        refused.args(["-ISc", REFUSED, &stage.port().to_string()]);
        let done = governor_tests::process::run(refused, wait::PATIENCE * 4).unwrap().ok().unwrap();
        assert_eq!(done.out().trim(), "10000");
        stage.site.governor.launch().unwrap();
        assert!(stage.site.governor.log().contains("10000"), "the next start does not tell of the refusals");
        stage.assert_governed(&stage.ask(User::Nobody, "plain", "127.0.0.1", &[]));
        let statements = stage.site.governor.events("statement").unwrap();
        let floods = statements.iter().filter(|record| field(record, "class") == "service").count();
        assert!(floods >= 4000, "{floods} of 4000 statements of the flood are on record");
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

const REFUSED: &str = r"
import socket, sys
refused = 0
for _ in range(10000):
    with socket.socket() as s:
        try: s.connect(('127.0.0.1', int(sys.argv[1])))
        except PermissionError: refused += 1
print(refused)
";
