//! The life of the service under systemd: started, fenced in, reloaded, replaced, killed, stopped, out of memory.

#[path = "loops.rs"]
mod loops;

use crate::machine::{
    Clients, PINS, SOCKETS, STATE, UNIT, ask, cause, finish, gap_after, governed, governor, is_governed,
    journal, main_pid, metric, mounted, property, psql, ready_again, records, rule, run,
    sessions_at_the_server, systemctl, the_machine_is_the_guest, until,
};
use crate::raw::{self, Answer};
use governor_tests::governor::{field, text};
use governor_tests::wire;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

fn gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

fn number(record: &Value, key: &str) -> u64 {
    field(record, key).as_u64().unwrap_or_else(|| panic!("no {key} in {record}"))
}

#[test]
fn a_first_start_needs_nothing_but_the_installed_files() {
    governed(&rule("refuse"));
    systemctl(&["stop", UNIT]);
    governor(&["detach", "--all"]);
    assert_eq!(mounted(1, PINS), None, "nothing is left");
    std::fs::remove_dir_all(STATE).unwrap();

    governed(&rule("refuse"));
    is_governed();
    let start = &records("session_start")[0];
    let principal = field(start, "principal");
    assert_eq!(principal["class"], "service", "{start}");
    assert!(principal.to_string().contains("guest-tests.service"), "{start}");
    assert!(principal["executable"].as_str().unwrap().ends_with("psql"), "{start}");
    // The pins are the machine's, not those of a namespace that ends with the process.
    assert!(mounted(1, PINS).unwrap().contains(" - bpf governor "));
    assert!(governor(&["status"]).out().contains("ready"));
}

#[test]
fn the_fences_hold() {
    governed(&rule("refuse"));
    let pid = main_pid();
    let bounding = capabilities(&unit_line("CapabilityBoundingSet="));
    let kept = capabilities("CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_SYS_ADMIN");
    let of_workers = capabilities("CAP_SYS_PTRACE CAP_DAC_READ_SEARCH");
    let mut threads = BTreeSet::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let word = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"));
            line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
        };
        let set = |name: &str| u64::from_str_radix(&word(name), 16).unwrap();
        let name = word("Name");
        assert_eq!((word("NoNewPrivs").as_str(), word("Seccomp").as_str()), ("1", "2"), "{name}");
        assert_eq!(set("CapAmb"), 0, "{name}");
        assert_eq!(set("CapBnd") & !bounding, 0, "{name}: more than the unit grants");
        assert_eq!(set("CapEff") & !bounding, 0, "{name}");
        if task.file_name().to_str() == Some(&pid.to_string()) {
            assert_eq!((set("CapEff"), set("CapPrm"), set("CapBnd")), (kept, kept, bounding));
        } else if name.starts_with("governor-w") {
            assert_eq!(set("CapEff"), of_workers, "{name}");
        } else if name == "governor-ledger" || name == "governor-data" {
            assert_eq!(set("CapEff"), 0, "{name}");
        }
        threads.insert(name);
    }
    println!("threads: {threads:?}");
    for name in ["governor-ledger", "governor-data"] {
        assert!(threads.contains(name), "{threads:?}");
    }
    assert!(threads.iter().any(|name| name.starts_with("governor-w")), "{threads:?}");

    // What it may write: its state directory, and nothing else of the machine's disk.
    let inside = |path: &str| {
        let pid = pid.to_string();
        finish("nsenter", &["--target", &pid, "--mount", "touch", path]).err()
    };
    for path in ["/usr/bin/x", "/etc/governor/x", "/home/x", "/var/lib/x", "/boot/x", "/run/x"] {
        assert!(inside(path).contains("Read-only file system"), "{path}: {}", inside(path));
    }
    assert_eq!(inside("/var/lib/governor/x"), "");
    assert_eq!(inside("/tmp/of-its-own"), "");
    assert!(!Path::new("/tmp/of-its-own").exists(), "its /tmp is its own");
    let devices = run("nsenter", &["--target", &pid.to_string(), "--mount", "ls", "/dev"]).out();
    assert!(!devices.contains("vda") && devices.contains("null"), "{devices}");

    let said = run("systemd-analyze", &["security", "--no-pager", UNIT]).out();
    println!("{said}");
    let exposure = said.lines().find_map(|line| line.split("exposure level for governor.service: ").nth(1));
    let exposure: f32 = exposure.unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(exposure <= EXPOSURE_MAX, "{exposure}");
    let wrong = run("systemd-analyze", &["verify", "--man=no", UNIT]).err();
    assert!(!wrong.contains("governor"), "{wrong}");
}

#[test]
fn a_reload_reads_policy_again_in_the_same_process() {
    governed(&rule("refuse"));
    is_governed();
    let (pid, before) = (main_pid(), records("policy_loaded").len());
    systemctl(&["reload", UNIT]);
    until("the policy to be loaded again", || (records("policy_loaded").len() == before + 1).then_some(()));
    assert_eq!((main_pid(), property("ActiveState").as_str()), (pid, "active"));
    is_governed();
}

#[test]
fn a_restart_under_load_refuses_and_lets_nothing_past() {
    governed(&rule("refuse"));
    let (pid, gaps) = (main_pid(), records("agent_gap").len());
    let (on_record, served) = (records("session_start").len(), sessions_at_the_server());
    let clients = Clients::start();
    systemctl(&["restart", UNIT]);
    psql("SELECT 1").ok().unwrap();
    let answers = clients.end();
    assert_ne!(main_pid(), pid);
    let sessions = answers.iter().filter(|answer| **answer == Answer::Session).count();
    let refused = answers.iter().filter(|answer| **answer == Answer::Refused).count();
    println!("restart: {sessions} sessions, {refused} refused, {} in all", answers.len());
    assert!(sessions > 0 && refused > 0, "{answers:?}");
    // Whom the server met is on record, one for one.
    let recorded = (records("session_start").len() - on_record) as u64;
    until("the server's count", || (sessions_at_the_server() - served == recorded).then_some(()));
    let gap = gap_after(gaps);
    assert_eq!((cause(&gap).as_str(), number(&gap, "passed")), ("stopped", 0), "{gap}");
    assert!(number(&gap, "refused") > 0, "{gap}");
}

#[test]
fn an_upgrade_under_load_refuses_nobody_and_the_manager_follows() {
    governed(&rule("refuse"));
    let (pid, gaps, restarts) = (main_pid(), records("agent_gap").len(), property("NRestarts"));
    let (on_record, served) = (records("session_start").len(), sessions_at_the_server());
    let clients = Clients::start();
    governor(&["upgrade"]);
    let new = ready_again(pid);
    psql("SELECT 1").ok().unwrap();
    let answers = clients.end();
    println!("upgrade: {} connections", answers.len());
    assert!(answers.iter().all(|answer| *answer == Answer::Session), "{answers:?}");
    until("the old agent to end", || gone(pid).then_some(()));
    assert_eq!((main_pid(), property("NRestarts")), (new, restarts));
    let recorded = (records("session_start").len() - on_record) as u64;
    until("the server's count", || (sessions_at_the_server() - served == recorded).then_some(()));
    assert_eq!(records("agent_gap").len(), gaps);
    // The new one tells the watchdog that it lives.
    let told = || property("WatchdogTimestampMonotonic").parse::<u64>().unwrap();
    let (first, mut seen) = (told(), BTreeSet::new());
    until("signs of life to the manager", || {
        seen.insert(told());
        (seen.len() > 2).then_some(())
    });
    assert!(first > 0);
}

#[test]
fn a_kill_is_refused_at_once_and_started_again() {
    governed(&rule("refuse"));
    let (pid, gaps) = (main_pid(), records("agent_gap").len());
    let restarts: u32 = property("NRestarts").parse().unwrap();
    signal(pid, Signal::SIGKILL);
    until("the kill to be done", || gone(pid).then_some(()));
    assert_eq!(ask(), Answer::Refused);
    let done = psql("SELECT 1");
    assert!(done.err().contains("Operation not permitted") || done.status.success(), "{}", done.all());
    ready_again(pid);
    is_governed();
    assert_eq!(property("NRestarts").parse::<u32>().unwrap(), restarts + 1);
    let gap = gap_after(gaps);
    assert_eq!((cause(&gap).as_str(), text(&gap, "hooks").as_str()), ("killed", "kept"), "{gap}");
    assert_eq!((number(&gap, "pid"), number(&gap, "passed")), (pid.into(), 0), "{gap}");
    assert!(number(&gap, "refused") >= 1, "{gap}");
    assert!(metric("governor_gaps_total") >= 1.0);
}

#[test]
fn an_agent_that_hangs_is_refused_by_the_kernel_and_ended_by_the_watchdog() {
    governed(&rule("refuse"));
    let (pid, gaps) = (main_pid(), records("agent_gap").len());
    signal(pid, Signal::SIGSTOP);
    // Nobody accepts: what connects before the kernel sees the silence would wait, so only connects are tried.
    until("the kernel to refuse", || {
        let refused = matches!(raw::connect("127.0.0.1:5432".parse().unwrap()), Err(error)
            if error.raw_os_error() == Some(libc::EPERM));
        refused.then_some(())
    });
    assert_eq!(main_pid(), pid, "the kernel is first");
    ready_again(pid);
    is_governed();
    let said = journal();
    assert!(said.contains("Watchdog timeout") && said.contains("'watchdog'"), "{said}");
    let gap = gap_after(gaps);
    assert_eq!((cause(&gap).as_str(), number(&gap, "passed")), ("killed", 0), "{gap}");
    assert_eq!(number(&gap, "pid"), u64::from(pid), "{gap}");
    assert!(number(&gap, "refused") >= 1, "{gap}");
}

#[test]
fn out_of_the_units_memory_it_is_killed_passes_as_the_rule_says_and_comes_back() {
    governed(&rule("pass"));
    is_governed();
    let (pid, gaps) = (main_pid(), records("agent_gap").len());
    let group = Path::new("/sys/fs/cgroup/system.slice").join(UNIT);
    let current: u64 = std::fs::read_to_string(group.join("memory.current")).unwrap().trim().parse().unwrap();
    let limit = format!("MemoryMax={}", current + ROOM_BYTES);
    systemctl(&["set-property", "--runtime", UNIT, &limit, "MemorySwapMax=0"]);
    // Each keeps a message that is not whole: what a statement may take, and nobody may free.
    let mut held = vec![];
    let unfinished = {
        let mut message = wire::query(&"x".repeat(STATEMENT_BYTES));
        message.truncate(message.len() - 10);
        message
    };
    for _ in 0..HOLDERS_MAX {
        let Ok(mut stream) = raw::connect("127.0.0.1:5432".parse().unwrap()) else { break };
        if !raw::start(&mut stream) || stream.write_all(&unfinished).is_err() {
            break;
        }
        held.push(stream);
    }
    println!("{} sessions held {STATEMENT_BYTES} bytes each in {ROOM_BYTES} bytes of room", held.len());
    until("the agent to be ended", || gone(pid).then_some(()));
    // Meanwhile the rule holds: the server is reached.
    let passed = ask();
    drop(held);
    systemctl(&["set-property", "--runtime", UNIT, "MemoryMax=infinity"]);
    ready_again(pid);
    is_governed();
    let said = journal();
    assert!(said.contains("oom-kill"), "{said}");
    let gap = gap_after(gaps);
    assert_eq!((cause(&gap).as_str(), number(&gap, "pid")), ("killed", pid.into()), "{gap}");
    assert_eq!((passed, number(&gap, "refused")), (Answer::Session, 0), "{gap}");
    assert!(number(&gap, "passed") >= 1, "{gap}");
    governor(&["audit", "verify"]);
}

#[test]
fn a_stop_keeps_the_hooks_and_a_detach_opens_the_way() {
    governed(&rule("refuse"));
    let gaps = records("agent_gap").len();
    systemctl(&["stop", UNIT]);
    assert_eq!((property("ActiveState").as_str(), property("Result").as_str()), ("inactive", "success"));
    assert_eq!(ask(), Answer::Refused);
    assert!(mounted(1, PINS).is_some());
    governor(&["detach"]);
    assert_eq!(ask(), Answer::Session, "direct");
    assert_eq!(mounted(1, PINS), None);
    systemctl(&["start", UNIT]);
    assert!(mounted(1, PINS).unwrap().contains(" - bpf governor "), "mounted again");
    is_governed();
    let gap = gap_after(gaps);
    assert_eq!(cause(&gap), "stopped", "{gap}");
}

#[test]
fn the_drop_in_for_unix_sockets_gives_what_these_take() {
    the_machine_is_the_guest();
    let drop_in = Path::new("/etc/systemd/system/governor.service.d/unix-sockets.conf");
    std::fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
    std::fs::write(drop_in, include_str!("../../deploy/unix-sockets.conf")).unwrap();
    systemctl(&["daemon-reload"]);
    let socket = format!("{SOCKETS}/.s.PGSQL.5432");
    governed(&format!(
        "{}[[capture.unix]]\npath = \"{socket}\"\nprotocol = \"postgres\"\n\n",
        rule("refuse")
    ));
    let before = records("session_start").len();
    let local = ["-XqAt", "-h", SOCKETS, "-U", "postgres", "-d", "shop", "-c", "SELECT 40 + 2"];
    assert_eq!(run("psql", &local).out(), "42\n");
    assert_eq!(records("session_start").len(), before + 1, "{}", journal());
    is_governed();

    // Without governor the path is refused, and given back by a detach.
    systemctl(&["stop", UNIT]);
    assert!(finish("psql", &local).err().contains("Connection refused"));
    governor(&["detach"]);
    assert_eq!(run("psql", &local).out(), "42\n");
    std::fs::remove_file(drop_in).unwrap();
    systemctl(&["daemon-reload"]);
}

/// The mask of these capabilities, named as the unit names them.
fn capabilities(names: &str) -> u64 {
    names
        .split(' ')
        .map(|name| 1_u64 << CAPABILITIES.iter().find(|(known, _)| *known == name).unwrap().1)
        .sum()
}

fn unit_line(key: &str) -> String {
    let unit = include_str!("../../deploy/governor.service");
    unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned()
}

/// `linux/capability.h`.
const CAPABILITIES: [(&str, u32); 6] = [
    ("CAP_DAC_READ_SEARCH", 2),
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_PERFMON", 38),
    ("CAP_BPF", 39),
];

/// A little more than `docs/OPERATING.md` says: versions of systemd weigh differently. Lower is better.
const EXPOSURE_MAX: f32 = 4.0;

/// Room above what the agent has when it is idle.
const ROOM_BYTES: u64 = 24 << 20;
/// Below `limits.statement_bytes_max`.
const STATEMENT_BYTES: usize = 1_000_000;
const HOLDERS_MAX: usize = 90;
