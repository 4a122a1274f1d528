//! The edges of a hand-over: a new agent that hangs, signals in the middle, one of two that ends before its time.

use super::gaps::{governed, metric};
use super::upgrade::completeness_is_whole;
use governor_tests::client::PSQL_ROWS;
use governor_tests::governor::text;
use governor_tests::{Class, Running, Site, process, wait};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Speaks as a new agent does, takes what the old one lets go of, and then does nothing more.
const HANGS: &str = "
import array, fcntl, json, os, socket, struct, sys, time
state = sys.argv[1]
sock = socket.socket(socket.AF_UNIX)
sock.connect(state + '/handover.sock')

def send(kind, payload):
    sock.sendall(struct.pack('!IB', len(payload), kind) + payload)

def read(size):
    data = b''
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part: raise SystemExit('closed')
        data += part
    return data

def receive(due):
    length, kind = struct.unpack('!IB', read(5))
    assert kind == due, kind
    return read(length)

send(1, json.dumps({'protocol': 1, 'version': 'hangs', 'pid': os.getpid()}).encode())
receive(2)
send(3, b'')
ours, theirs = socket.socketpair()
sock.sendmsg([b'q'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [theirs.fileno()]))])
receive(4)
lock = open(state + '/audit/lock', 'r+')
fcntl.flock(lock, fcntl.LOCK_EX)
open(state + '/hangs', 'w').close()
while True: time.sleep(1000)
";

/// Has everything that only one agent may have, and hangs.
fn hanging(site: &Site) -> Running {
    let mut python = Command::new("python3");
    python.args(["-c", HANGS]).arg(site.governor.state_dir());
    let hanging = Running::start(python, &[]).unwrap();
    let has_it = site.governor.state_dir().join("hangs");
    wait::until("the new agent to have it all", wait::PATIENCE, || Ok(has_it.exists().then_some(())))
        .unwrap();
    hanging
}

/// A session with its input open.
fn session(site: &Site, first: &str) -> (Running, std::io::PipeWriter) {
    let (feed, mut input) = std::io::pipe().unwrap();
    let mut psql = site.client("psql", Class::Service).unwrap();
    psql.args(PSQL_ROWS);
    let psql = Running::start_with(psql, Stdio::from(feed)).unwrap();
    input.write_all(first.as_bytes()).unwrap();
    site.governor
        .wait_for_record("statement", |record| first.contains(text(record, "text").trim_end_matches(';')))
        .unwrap();
    (psql, input)
}

#[test]
fn a_new_agent_that_hangs_with_everything_in_its_hands_is_killed_and_the_old_one_goes_on() {
    let mut site = Site::start().unwrap();
    governed(&site);
    let old = site.governor.pid().unwrap();
    let (psql, mut input) = session(&site, "SELECT 'first';\n");
    let began = std::time::Instant::now();
    let hanging = hanging(&site);
    // It waits for its record until the old agent has the chain back.
    input.write_all(b"SELECT 'second';\n").unwrap();
    drop(input);
    let said = hanging.finish(wait::PATIENCE * 2).unwrap();
    println!("a new agent that hangs is killed after {:?}", began.elapsed());
    assert_eq!(process::describe(said.status), "signal 9");
    assert_eq!(psql.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "first\nsecond\n");
    assert!(site.governor.log().contains("it hangs, and is killed"), "{}", site.governor.log());
    wait::until("the old agent to answer again", wait::PATIENCE, || {
        Ok(site.governor.cli(&["status"])?.status.success().then_some(()))
    })
    .unwrap();
    assert_eq!(site.governor.pid().unwrap(), old);
    governed(&site);
    // And one that does not hang takes over.
    site.governor.take_over().unwrap();
    governed(&site);
    site.governor.wait_for_retired().unwrap();
    site.governor.stop().unwrap();
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
    assert_eq!(completeness_is_whole(&site.governor), 2);
}

#[test]
fn a_request_to_stop_is_heard_in_the_middle_of_a_hand_over() {
    let mut site = Site::start().unwrap();
    governed(&site);
    let hanging = hanging(&site);
    let began = std::time::Instant::now();
    site.governor.signal(libc::SIGTERM).unwrap();
    let ended = site.governor.wait_for_end().unwrap();
    println!("stopped in the middle of a hand-over after {:?}", began.elapsed());
    assert!(process::describe(ended).contains("exit code 0"), "{}", site.governor.log());
    assert_eq!(process::describe(hanging.finish(wait::PATIENCE).unwrap().status), "signal 9");
    assert!(site.governor.log().contains("told to stop in the middle of an upgrade"));
    let stop = site.governor.events("agent_stop").unwrap();
    assert_eq!((stop.len(), text(&stop[0], "reason")), (1, "SIGTERM".into()));
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn a_new_agent_that_stops_waits_for_the_sessions_of_the_old_one() {
    let mut site = Site::start().unwrap();
    let (idle, idle_input) = session(&site, "SELECT 'idle';\n");
    let (busy, mut busy_input) = session(&site, "SELECT 'open';\n");
    site.governor.take_over().unwrap();
    assert_eq!(metric(&site, "governor_predecessor "), 1.0);
    // Only now, so that it is still at work when the new agent is told to stop, however long the upgrade took.
    busy_input.write_all(b"SELECT 'busy' FROM pg_sleep(4);\nSELECT 'never';\n").unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text").contains("busy")).unwrap();
    let new = site.governor.stop().unwrap().unwrap();
    assert!(process::describe(new).contains("exit code 0"), "{}", site.governor.log());
    // What was at work got its answer, what was idle the reason; both with a last record.
    drop(busy_input);
    let said = busy.finish(wait::PATIENCE).unwrap();
    assert!(said.out().starts_with("open\nbusy\n") && !said.out().contains("never"), "{}", said.all());
    drop(idle_input);
    let said = idle.finish(wait::PATIENCE).unwrap();
    assert_eq!(said.out(), "idle\n");
    site.governor.wait_for_retired().unwrap();
    assert_eq!(site.governor.events("session_end").unwrap().len(), 2);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
    assert_eq!(completeness_is_whole(&site.governor), 2);
}

#[test]
fn an_old_agent_does_not_outlive_the_new_one() {
    let mut site = Site::start().unwrap();
    let lasting = site.psql_running(Class::Service, "SELECT pg_sleep(600);").unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text").contains("pg_sleep")).unwrap();
    site.governor.take_over().unwrap();
    let began = std::time::Instant::now();
    site.governor.kill().unwrap();
    // It has nowhere to write its last record.
    let error = site.governor.wait_for_retired().unwrap_err();
    println!("the old agent ended {:?} after the new one", began.elapsed());
    assert!(format!("{error:#}").contains("the old agent ended with exit code 1"), "{error:#}");
    let said = lasting.finish(wait::PATIENCE).unwrap();
    assert!(said.err().contains("58030"), "{}", said.all());
    super::gaps::refused(&site);
    site.governor.launch().unwrap();
    governed(&site);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn detach_does_nothing_while_an_old_agent_has_sessions_and_then_everything() {
    let mut site = Site::with(governor_tests::Auth::Trust, &super::gaps::keeps()).unwrap();
    let (psql, mut input) = session(&site, "SELECT 'first';\n");
    let old = site.governor.pid().unwrap();
    site.governor.take_over().unwrap();
    let new = site.governor.pid().unwrap();
    for all in [&["detach"][..], &["detach", "--all", "--cgroup", site.group.path().to_str().unwrap()]] {
        let refused = site.governor.cli(all).unwrap();
        assert!(!refused.status.success(), "{}", refused.all());
        for pid in [old, new] {
            assert!(refused.err().contains(&pid.to_string()), "{pid}: {}", refused.all());
        }
    }
    input.write_all(b"SELECT 'second';\n").unwrap();
    drop(input);
    assert_eq!(psql.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "first\nsecond\n");
    site.governor.wait_for_retired().unwrap();
    site.governor.stop().unwrap();
    super::gaps::refused(&site);
    site.governor.detach().unwrap();
    let left = site.governor.cli(&["detach", "--dry-run"]).unwrap().ok().unwrap().out();
    assert_eq!(left, "nothing of governor is in the kernel\n");
    assert_eq!(super::gaps::one(&site).ok().unwrap().out(), "1\n");
}
