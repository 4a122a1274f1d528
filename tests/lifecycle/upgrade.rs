//! A new agent takes over from a running one: nobody is refused, sessions finish, every statement is on record.

use super::gaps::{governed, metric};
use super::loops::Loop;
use governor_tests::client::PSQL_ROWS;
use governor_tests::governor::text;
use governor_tests::postgres::Auth;
use governor_tests::{Class, Governor, Options, Running, Site, process, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

/// Everything of governor's own is captured as well: only its marks keep it out.
fn captures_itself() -> Options {
    Options { captures_agent: true, ..Options::default() }
}

/// Texts of every statement on record.
pub fn statements(governor: &Governor) -> BTreeSet<String> {
    governor.events("statement").unwrap().iter().map(|record| text(record, "text")).collect()
}

/// The first few of `expected` that are not there.
pub fn missing(expected: &[String], found: &BTreeSet<String>) -> Vec<String> {
    expected.iter().filter(|text| !found.contains(*text)).take(5).cloned().collect()
}

/// Every agent of this instance accounts for all that the kernel counted of its sockets, and its sessions' records for all that
/// it says. Answers how many agents there were.
pub fn completeness_is_whole(governor: &Governor) -> usize {
    let said = governor.cli(&["audit", "completeness", "--runs", "0", "--json"]).unwrap();
    let runs: Vec<Value> = serde_json::from_str(&said.out()).unwrap();
    println!("{}", governor.cli(&["audit", "completeness", "--runs", "0"]).unwrap().out());
    assert!(said.status.success(), "{}", said.out());
    for run in &runs {
        assert!(text(run, "verdict") == "whole" && run["stopped"] == true, "{run:#}");
    }
    runs.len()
}

#[test]
fn no_connection_is_refused_and_no_record_lost_while_governor_is_upgraded_twice() {
    let mut site = Site::with(Auth::Trust, &captures_itself()).unwrap();
    governed(&site);
    let port = site.postgres.port();
    let python = || site.client("python3", Class::Service).unwrap();
    let loops = ["a", "b"].map(|name| Loop::start(python(), "127.0.0.1", port, name));
    // Two sessions that span both upgrades: one at work all the time, one in a transaction with nothing to do.
    let busy = "SELECT 'busy', count(*) FROM generate_series(1, 60) n, LATERAL (SELECT pg_sleep(0.1 + 0 * n)) s;\nSELECT 'after';\n";
    let busy = site.psql_running(Class::Service, busy).unwrap();
    let (feed, mut idle_in) = std::io::pipe().unwrap();
    let mut idle = site.client("psql", Class::Service).unwrap();
    idle.args(PSQL_ROWS);
    let idle = Running::start_with(idle, Stdio::from(feed)).unwrap();
    idle_in.write_all(b"BEGIN;\nCREATE TEMP TABLE kept (n int);\nINSERT INTO kept VALUES (42);\n").unwrap();
    site.governor
        .wait_for_record("statement", |record| text(record, "text").contains("INSERT INTO kept"))
        .unwrap();

    let first = site.governor.pid().unwrap();
    for round in 0..2 {
        let before = site.governor.events("session_start").unwrap().len();
        let took = std::time::Instant::now();
        site.governor.take_over().unwrap();
        println!("upgrade {round}: {:?}", took.elapsed());
        // The loops go on in the new agent.
        wait::until("sessions in the new agent", wait::PATIENCE, || {
            Ok((site.governor.events("session_start")?.len() > before + 50).then_some(()))
        })
        .unwrap();
    }
    assert_ne!(site.governor.pid().unwrap(), first);
    assert_eq!(metric(&site, "governor_predecessor "), 1.0);
    idle_in.write_all(b"SELECT 'still', n FROM kept;\nCOMMIT;\n").unwrap();
    drop(idle_in);
    assert_eq!(idle.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "still|42\n");
    assert_eq!(busy.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "busy|60\nafter\n");

    let mut expected = Vec::new();
    for one in loops {
        let statements = one.statements();
        assert!(statements.len() > 20, "{}", statements.len());
        expected.extend(statements);
    }
    site.governor.wait_for_retired().unwrap();
    let log = site.governor.log();
    log.lines()
        .filter(|line| line.contains("sessions of this one go on"))
        .for_each(|line| println!("{line}"));
    let found = statements(&site.governor);
    let lost = missing(&expected, &found);
    assert!(lost.is_empty(), "not on record: {lost:?}");
    for text in ["SELECT 'still', n FROM kept", "SELECT 'after'"] {
        assert!(found.iter().any(|found| found.contains(text)), "{text} is not on record");
    }
    assert!(site.governor.events("agent_gap").unwrap().is_empty(), "an upgrade is no gap");
    let stops = site.governor.events("agent_stop").unwrap();
    assert_eq!(stops.iter().filter(|stop| text(stop, "reason") == "upgrade").count(), 2, "{stops:?}");
    wait::until("the metric to tell", wait::PATIENCE, || {
        Ok((metric(&site, "governor_predecessor ") == 0.0).then_some(()))
    })
    .unwrap();
    // Every session began with the process that really made it, also those of the moment of the change.
    let starts = site.governor.events("session_start").unwrap();
    assert!(starts.iter().all(|start| start.to_string().contains("\"class\":\"service\"")));
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
    assert_eq!(generations(&site), 1, "pins of the agents before are left");
    let mismatches = site.governor.events("completeness_mismatch").unwrap();
    assert!(mismatches.is_empty(), "{mismatches:?}");
    let page = site.governor.metrics().unwrap();
    let refused = |reason: &str| format!("governor_connections_refused_total{{reason=\"{reason}\"}} 0");
    assert!(page.contains(&refused("no_origin")) && page.contains(&refused("no_identity")), "{page}");
    assert!(page.contains("governor_kernel_foreign_programs 0"), "governor's own are no strangers: {page}");
    let log = site.governor.log();
    assert!(!log.contains("a program of somebody else"), "{log}");

    // Records of three agents are mixed in the chain, and each accounts for its own sockets.
    site.governor.stop().unwrap();
    assert_eq!(completeness_is_whole(&site.governor), 3);
    let starts = site.governor.events("agent_start").unwrap();
    let ends = site.governor.events("session_end").unwrap();
    for pair in starts.windows(2) {
        assert_eq!(text(&pair[1], "took_over_from"), text(&pair[0], "run"), "{pair:?}");
    }
    for start in &starts {
        let run = text(start, "run");
        assert!(run.ends_with(&format!("-{}", text(start, "pid"))), "{start}");
        assert!(ends.iter().any(|end| text(end, "run") == run), "{start}");
    }
}

/// Connects, says that it has nothing to say, and waits for governor's end: a connection that is refused, or reset in the
/// queue of a listener that closes, is an error and ends it.
const HAMMER: &str = "
import select, socket, sys
done = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    sock = socket.socket()
    sock.settimeout(30)
    try:
        sock.connect(('127.0.0.1', int(sys.argv[1])))
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000): pass
    except OSError as error:
        print('failed', done, error)
        sys.exit(1)
    sock.close()
    done += 1
print('done', done)
";

#[test]
fn a_hammer_of_connections_finds_no_moment_refused_or_ungoverned() {
    // In the place of a database: whatever arrives here went past governor, which dials only for a start-up packet.
    let direct = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    direct.set_nonblocking(true).unwrap();
    let port = direct.local_addr().unwrap().port();
    let group = governor_tests::Cgroup::create("governor-test").unwrap();
    let mut governor = governor_tests::Governor::start(&group, port, &Options::default()).unwrap();
    let hammers = ["a", "b"].map(|name| {
        let python = governor_tests::client::command("python3", &group, Class::Service, port).unwrap();
        Loop::of(python, &["-c", HAMMER, &port.to_string()], name)
    });
    for _ in 0..3 {
        governor.take_over().unwrap();
    }
    let mut total = 0;
    for hammer in hammers {
        total += hammer.finish();
    }
    println!("hammer: {total} connections, three upgrades");
    assert!(total > 300, "{total}");
    assert_eq!(direct.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "past governor");
    governor.wait_for_retired().unwrap();
    let page = governor.metrics().unwrap();
    assert!(page.contains("governor_kernel_refused_total 0"), "{page}");
    governor.stop().unwrap();
}

fn generations(site: &Site) -> usize {
    let pins = std::fs::read_dir(site.governor.state_dir().join("pins")).unwrap();
    pins.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().contains('.')).count()
}

#[test]
fn pgbench_that_connects_anew_for_each_transaction_sees_no_upgrade() {
    let mut site = Site::start().unwrap();
    let mut pgbench = site.client("pgbench", Class::Service).unwrap();
    let script = site.governor.state_dir().join("one.sql");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    pgbench.args(["-n", "-C", "-c", "4", "-j", "2", "-t", "200", "-f"]).arg(&script);
    let mut running = Running::start(pgbench, &[]).unwrap();
    let mut rounds = 0;
    while !running.ended().unwrap() && rounds < 2 {
        site.governor.take_over().unwrap();
        rounds += 1;
    }
    let said = running.finish(wait::PATIENCE).unwrap().ok().unwrap().all();
    assert!(said.contains("number of transactions actually processed: 800/800"), "{said}");
    assert!(said.contains("number of failed transactions: 0"), "{said}");
    assert!(rounds > 0);
    site.governor.wait_for_retired().unwrap();
    assert_eq!(site.governor.events("statement").unwrap().len(), 800);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn governor_upgrade_starts_the_new_agent_and_says_so() {
    let mut site = Site::start().unwrap();
    governed(&site);
    let old = site.governor.pid().unwrap();
    let said = site.governor.cli(&["upgrade"]).unwrap().ok().unwrap().out();
    assert!(said.contains(&old.to_string()) && said.contains("took over"), "{said}");
    let status = site.governor.json(&["status"]).unwrap();
    let new = status[0]["pid"].as_u64().unwrap() as u32;
    let adopted = site.governor.adopt(new);
    assert_ne!(new, old);
    governed(&site);
    assert!(process::describe(site.governor.wait_for_end().unwrap()).contains("exit code 0"));
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
    drop(adopted);
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_agent_as_it_was() {
    let mut site = Site::start().unwrap();
    governed(&site);
    let old = site.governor.pid().unwrap();
    // The new agent reads this; the old one has read it long ago.
    let config = std::fs::read_to_string(site.governor.config_path()).unwrap();
    std::fs::write(site.governor.config_path(), format!("{config}\n[nonsense]\n")).unwrap();
    let said = site.governor.cli(&["upgrade"]).unwrap();
    assert!(!said.status.success() && said.err().contains(&format!("pid {old} goes on")), "{}", said.all());
    governed(&site);
    let said = site.governor.cli(&["status"]).unwrap().ok().unwrap().out();
    assert!(
        said.contains(&format!("pid {old}")) && said.lines().any(|line| line.starts_with("upgrade")),
        "{said}"
    );

    // A new agent that fails after the old one has let go of what only one may have: the metrics port is taken.
    std::fs::write(site.governor.config_path(), &config).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = config.replace("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    std::fs::write(site.governor.config_path(), other).unwrap();
    assert!(site.governor.take_over().is_err());
    wait::until("the old agent to answer again", wait::PATIENCE, || {
        Ok(site.governor.cli(&["status"])?.status.success().then_some(()))
    })
    .unwrap();
    assert_eq!(site.governor.pid().unwrap(), old);
    governed(&site);
    let count = site.governor.events("statement").unwrap().len();
    governed(&site);
    assert_eq!(site.governor.events("statement").unwrap().len(), count + 1);
    assert!(site.governor.metrics().unwrap().contains("governor_ready 1"));
    // And one that succeeds, after all of that.
    std::fs::write(site.governor.config_path(), &config).unwrap();
    site.governor.take_over().unwrap();
    governed(&site);
    site.governor.wait_for_retired().unwrap();
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
    assert_eq!(generations(&site), 1);
}

#[test]
fn a_statement_that_is_held_in_the_old_agent_is_answered_in_the_new_one() {
    let policy = "@id(\"ask\")\n@reason(\"ask first\")\n@approval(\"dba\")\nforbid (principal, action == Governor::Action::\"select\", resource) unless { context.approved };\n";
    let options = Options { policies: vec![("site.cedar".into(), policy.into())], ..Options::default() };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    let held = site.psql_running(Class::Service, "SELECT 'let through';").unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    site.governor.take_over().unwrap();
    assert_eq!(site.governor.wait_for_hold().unwrap(), id, "the new agent shows it");
    site.governor.cli(&["approvals", "approve", &id]).unwrap().ok().unwrap();
    assert_eq!(held.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "let through\n");
    site.governor.wait_for_retired().unwrap();
    let ended = site.governor.events("hold_end").unwrap();
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(ended[0].to_string().contains("granted"), "{ended:?}");
}

#[test]
fn a_cancel_request_finds_its_session_in_the_old_agent() {
    let mut site = Site::start().unwrap();
    let psql = site.psql_running(Class::Service, "SELECT pg_sleep(600);").unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text").contains("pg_sleep")).unwrap();
    site.governor.take_over().unwrap();
    // psql sends it as a connection of its own, which the new agent gets.
    psql.signal(libc::SIGINT).unwrap();
    let said = psql.finish(wait::PATIENCE).unwrap();
    assert!(said.err().contains("canceling statement due to user request"), "{}", said.all());
    site.governor.wait_for_retired().unwrap();
    let cancel = site.governor.wait_for_record("cancel", |_| true).unwrap();
    assert_eq!(governor_tests::governor::field(&cancel, "forwarded"), true, "{cancel}");
}

#[test]
fn an_old_agent_that_is_killed_while_it_has_sessions_leaves_nothing() {
    let mut site = Site::start().unwrap();
    let lasting = site.psql_running(Class::Service, "SELECT pg_sleep(60);").unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text").contains("pg_sleep")).unwrap();
    site.governor.take_over().unwrap();
    assert_eq!(generations(&site), 2);
    site.governor.kill_retired().unwrap();
    assert!(!lasting.finish(wait::PATIENCE).unwrap().status.success());
    wait::until("its pins to go", wait::PATIENCE, || Ok((generations(&site) == 1).then_some(()))).unwrap();
    governed(&site);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn sessions_of_the_old_agent_end_where_the_new_one_is_killed() {
    let mut site = Site::start().unwrap();
    let (feed, mut input) = std::io::pipe().unwrap();
    let mut psql = site.client("psql", Class::Service).unwrap();
    psql.args(PSQL_ROWS);
    let psql = Running::start_with(psql, Stdio::from(feed)).unwrap();
    input.write_all(b"SELECT 'first';\n").unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text").contains("first")).unwrap();
    site.governor.take_over().unwrap();
    site.governor.kill().unwrap();
    // What cannot be recorded is not forwarded.
    input.write_all(b"SELECT 'second';\n").unwrap();
    drop(input);
    let said = psql.finish(wait::PATIENCE).unwrap();
    assert!(!said.out().contains("second") && said.err().contains("audit"), "{}", said.all());
    super::gaps::refused(&site);
    // It says that its last record was not written.
    assert!(site.governor.wait_for_retired().is_err());
    site.governor.launch().unwrap();
    governed(&site);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn nobody_takes_over_where_nobody_is_and_others_may_not() {
    let mut site = Site::start().unwrap();
    let socket = site.governor.state_dir().join("handover.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // What is no agent is shown the door, and the next one is served.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 2, 1, b'{', b'}'], &[0xff; 64]] {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.write_all(bytes).unwrap();
    }
    governed(&site);
    site.governor.take_over().unwrap();
    governed(&site);
    site.governor.wait_for_retired().unwrap();
    site.governor.stop().unwrap();
    let refused = process::run(
        {
            let mut command = site.governor.run_command().unwrap();
            command.arg("--take-over");
            command
        },
        wait::PATIENCE,
    )
    .unwrap();
    assert!(!refused.status.success() && refused.err().contains("no agent is there"), "{}", refused.all());
}
