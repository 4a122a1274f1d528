//! No window across a kill: clients that never stop trying are governed or refused, and the server knows of nobody else.
//!
//! Each attempt has a name of its own (`application_name`), which governor's records and the server's log both have.

use super::gaps::number;
use governor_tests::governor::text;
use governor_tests::postgres::Auth;
use governor_tests::{Class, Options, Running, Site, wait};
use std::collections::BTreeSet;

/// Four threads that connect, start a session and end it, until a file is there. One line for each attempt: its name, and
/// `served`, `refused` (by connect), or `lost` (the connection ended before the session was there).
const HAMMER: &str = r"
import os, socket, struct, sys, threading, time
port, stop = int(sys.argv[1]), sys.argv[2]
told, lock = [], threading.Lock()
def attempt(name):
    s = socket.socket()
    s.settimeout(60)
    try:
        s.connect(('127.0.0.1', port))
    except PermissionError: return 'refused'
    except ConnectionError: return 'lost'
    try:
        words = ['user', 'app', 'database', 'shop', 'application_name', name]
        body = struct.pack('!i', 196608) + b''.join(word.encode() + b'\0' for word in words) + b'\0'
        s.sendall(struct.pack('!i', len(body) + 4) + body)
        got = b''
        while not got.endswith(b'Z\0\0\0\x05I'):
            piece = s.recv(65536)
            if not piece: return 'lost'
            got += piece
        s.sendall(b'X\0\0\0\x04')
        return 'served'
    except ConnectionError: return 'lost'
    finally: s.close()
def hammer(number):
    count = 0
    while not os.path.exists(stop):
        name = f'try-{number}-{count}'
        outcome = attempt(name)
        count += 1
        with lock: told.append(f'{name} {outcome}')
        # The agent that starts needs a processor too.
        if outcome == 'refused': time.sleep(0.002)
threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print('\n'.join(told))
";

struct Outcome {
    served: BTreeSet<String>,
    refused: usize,
    /// Whom governor decided about.
    recorded: BTreeSet<String>,
    /// Whom the server let in.
    at_server: BTreeSet<String>,
}

/// Kills the agent and starts it again, three times, under the hammer.
fn hammered(site: &mut Site) -> Outcome {
    let stop = site.governor.state_dir().join("stop-the-hammer");
    let mut python = site.client("python3", Class::Service).unwrap();
    python.args(["-ISc", HAMMER, &site.postgres.port().to_string()]).arg(&stop);
    let hammer = Running::start(python, b"").unwrap();
    let entered = |site: &Site| names(&site.postgres.log(), "connection authorized:");
    for _ in 0..3 {
        let before = entered(site).len();
        wait::until("sessions through the agent", wait::PATIENCE, || {
            Ok((entered(site).len() > before + 20).then_some(()))
        })
        .unwrap();
        site.governor.kill().unwrap();
        // A start takes many attempts' time.
        site.governor.launch().unwrap();
    }
    let before = entered(site).len();
    wait::until("sessions through the last agent", wait::PATIENCE, || {
        Ok((entered(site).len() > before + 20).then_some(()))
    })
    .unwrap();
    std::fs::write(&stop, "").unwrap();
    let told = hammer.finish(wait::PATIENCE).unwrap().ok().unwrap().out();
    let of = |outcome: &str| -> BTreeSet<String> {
        let lines = told.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(_, found)| *found == outcome).map(|(name, _)| name.to_owned()).collect()
    };
    let decisions = site.governor.events("session_decision").unwrap();
    let recorded = decisions.iter().map(|decision| text(&decision["claims"], "application_name"));
    Outcome {
        served: of("served"),
        refused: of("refused").len(),
        recorded: recorded.collect(),
        at_server: entered(site),
    }
}

/// Names of attempts in lines that have `mark`.
fn names(text: &str, mark: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.contains(mark));
    let found = lines.filter_map(|line| line.split_once("try-"));
    let is_name = |char: char| char.is_ascii_digit() || char == '-';
    found
        .map(|(_, rest)| format!("try-{}", rest.split(|char| !is_name(char)).next().unwrap_or_default()))
        .collect()
}

fn options(when_down: &'static str) -> Options {
    Options { when_down, server_settings: vec!["log_connections=on"], ..Options::default() }
}

#[test]
fn nobody_slips_through_across_kills_and_starts() {
    let mut site = Site::with(Auth::Trust, &options("refuse")).unwrap();
    let outcome = hammered(&mut site);
    assert!(outcome.refused > 0 && outcome.served.len() >= 80, "{}", outcome.served.len());
    let past: Vec<&String> = outcome.at_server.difference(&outcome.recorded).collect();
    assert!(past.is_empty(), "at the server and not on record: {past:?}");
    let unknown: Vec<&String> = outcome.served.difference(&outcome.at_server).collect();
    assert!(unknown.is_empty(), "the server's log lacks {unknown:?}");
    let gaps = site.governor.events("agent_gap").unwrap();
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    let refused: u64 = gaps.iter().map(|gap| number(gap, "refused")).sum();
    let passed: u64 = gaps.iter().map(|gap| number(gap, "passed")).sum();
    assert!(passed == 0 && refused > 0, "{gaps:?}");
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

/// Where the rule says pass the connections of that time go direct, and each is counted. So may be a few that the next agent
/// governs: while it starts both its programs and those of the dead one see them.
#[test]
fn where_the_rule_says_pass_whoever_goes_past_is_counted() {
    let mut site = Site::with(Auth::Trust, &options("pass")).unwrap();
    let outcome = hammered(&mut site);
    assert_eq!(outcome.refused, 0);
    let past = outcome.at_server.difference(&outcome.recorded).count() as u64;
    let gaps = site.governor.events("agent_gap").unwrap();
    let passed: u64 = gaps.iter().map(|gap| number(gap, "passed")).sum();
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    assert!(past > 0 && past <= passed, "{past} past governor, {passed} on record: {gaps:?}");
    let governed = outcome.recorded.len() as u64;
    assert!(
        governed > 0 && passed <= past + governed,
        "{passed} on record, {past} past, {governed} governed"
    );
}
