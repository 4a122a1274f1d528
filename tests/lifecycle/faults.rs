//! Faults of the host: each has a stated behaviour (docs/OPERATING.md, "When something fails").

use super::gaps::{governed, metric, number, one, only_gap, refused};
use governor_tests::governor::{field, text};
use governor_tests::postgres::Auth;
use governor_tests::{Class, Options, Site, process, wait};
use std::time::Duration;

#[test]
fn an_agent_that_hangs_is_refused_for_after_its_time_and_says_so_when_it_wakes() {
    let site = Site::start().unwrap();
    governed(&site);
    site.governor.signal(libc::SIGSTOP).unwrap();
    // Until the heartbeat is too old a connection waits in the agent's queue; it must not go direct.
    let hung = wait::until("the kernel to count it as dead", Duration::from_secs(20), || {
        let mut psql = site.client("psql", Class::Service)?;
        psql.env("PGCONNECT_TIMEOUT", "2").args(["-c", "SELECT 1"]);
        let done = process::run(psql, wait::PATIENCE)?;
        assert!(!done.status.success(), "ungoverned: {}", done.out());
        Ok(done.err().contains("Operation not permitted").then_some(()))
    });
    site.governor.signal(libc::SIGCONT).unwrap();
    hung.unwrap();
    let gap = site.governor.wait_for_record("agent_gap", |_| true).unwrap();
    assert_eq!((text(&gap, "cause").as_str(), text(&gap, "hooks").as_str()), ("wedged", "kept"), "{gap}");
    assert!(number(&gap, "duration_ms") >= 10_000 && number(&gap, "refused") >= 1, "{gap}");
    governed(&site);
    assert!(metric(&site, "governor_gaps_total{cause=\"wedged\"}") == 1.0);
    let event = site.governor.wait_for_record("kernel_event", |_| true).unwrap();
    assert_eq!(text(&event, "cause"), "heartbeat_stale");
}

#[test]
fn an_agent_that_the_out_of_memory_killer_ends_is_refused_for() {
    let mut site = Site::start().unwrap();
    governed(&site);
    let Some(group) = MemoryGroup::create(&site) else { return };
    group.take_in(site.governor.pid().unwrap());
    // What it has stays with its old group; what it takes from now on is bounded.
    group.limit(16 << 20);
    let ended = wait::until("the out-of-memory killer", wait::PATIENCE, || {
        // A row that has to be masked is held as a whole.
        let row = site.psql(Class::Agent, "SELECT repeat('x', 50000000);");
        drop(row);
        Ok((!site.governor.alive()?).then_some(()))
    });
    ended.unwrap();
    let status = site.governor.wait_for_end().unwrap();
    assert_eq!(process::describe(status), "signal 9");
    refused(&site);
    site.governor.launch().unwrap();
    governed(&site);
    let gap = only_gap(&site);
    assert_eq!(text(&gap, "cause"), "killed", "{gap}");
    assert!(number(&gap, "refused") >= 1, "{gap}");
    assert_eq!(metric(&site, "governor_gaps_total{cause=\"killed\"}"), 1.0);
    assert!(metric(&site, "governor_gap_seconds_total") > 0.0);
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

const REMADE: &str = "governor_kernel_pins_remade_total ";

#[test]
fn pins_that_are_unmounted_under_the_agent_are_made_again() {
    let mut site = Site::start().unwrap();
    assert_eq!(metric(&site, REMADE), 0.0);
    let pins = site.governor.state_dir().join("pins");
    nix::mount::umount2(&pins, nix::mount::MntFlags::MNT_DETACH).unwrap();
    wait::until("the pins to be there again", wait::PATIENCE, || {
        let entries = std::fs::read_dir(&pins)?.filter_map(Result::ok);
        Ok(entries.into_iter().any(|entry| !entry.file_name().to_string_lossy().contains('.')).then_some(()))
    })
    .unwrap();
    wait::until("a word in the log", wait::PATIENCE, || {
        Ok(site.governor.log().contains("are made again").then_some(()))
    })
    .unwrap();
    // Each of them: what is in a generation's directory are pins and nothing else.
    let generations = std::fs::read_dir(&pins).unwrap().map(|entry| entry.unwrap().path());
    let generations = generations.filter(|path| path.is_dir());
    let count: usize = generations.map(|path| std::fs::read_dir(path).unwrap().count()).sum();
    assert!(count > 0);
    assert_eq!(metric(&site, REMADE), count as f64);
    assert_eq!(metric(&site, "governor_kernel_whole "), 1.0);
    governed(&site);
    site.governor.kill().unwrap();
    refused(&site);
    site.governor.launch().unwrap();
    governed(&site);
}

#[test]
fn a_captured_cgroup_that_is_removed_and_made_again_is_captured_again_on_record() {
    let site = Site::start().unwrap();
    governed(&site);
    let clients = site.group.clients();
    let children: Vec<_> = Class::ALL.iter().map(|class| site.group.client(*class)).collect();
    wait::until("the cgroup to go", wait::PATIENCE, || {
        for child in &children {
            std::fs::remove_dir(child).ok();
        }
        std::fs::remove_dir(&clients).ok();
        Ok((!clients.exists()).then_some(()))
    })
    .unwrap();
    wait::until("the metric to tell", wait::PATIENCE, || {
        Ok((metric(&site, "governor_kernel_whole ") == 0.0).then_some(()))
    })
    .unwrap();
    for child in &children {
        std::fs::create_dir_all(child).unwrap();
    }
    let gap = site.governor.wait_for_record("agent_gap", |_| true).unwrap();
    assert_eq!((text(&gap, "cause").as_str(), text(&gap, "hooks").as_str()), ("detached", "off"), "{gap}");
    assert!(text(&gap, "reason").contains(clients.to_str().unwrap()), "{gap}");
    let before = site.governor.events("session_start").unwrap().len();
    governed(&site);
    assert_eq!(site.governor.events("session_start").unwrap().len(), before + 1);
    wait::until("the metric to be well", wait::PATIENCE, || {
        Ok((metric(&site, "governor_kernel_whole ") == 1.0).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_sign_of_life_that_cannot_be_left_is_told_and_the_heartbeat_stands_in() {
    let mut site = Site::start().unwrap();
    let sign = site.governor.state_dir().join("life");
    wait::until("a first sign", wait::PATIENCE, || Ok(sign.exists().then_some(()))).unwrap();
    // In the way of the temporary file: stops root too, as a full disk would.
    std::fs::create_dir(site.governor.state_dir().join("life.new")).unwrap();
    wait::until("the metric to tell", wait::PATIENCE, || {
        Ok((metric(&site, "governor_life_errors_total") >= 3.0).then_some(()))
    })
    .unwrap();
    governed(&site);
    site.governor.kill().unwrap();
    refused(&site);
    site.governor.launch().unwrap();
    let gap = only_gap(&site);
    assert_eq!(text(&gap, "cause"), "killed", "{gap}");
    assert!(number(&gap, "refused") >= 1, "{gap}");
}

#[test]
fn the_server_may_restart_under_the_agent() {
    let mut site = Site::start().unwrap();
    governed(&site);
    site.postgres.restart().unwrap();
    governed(&site);
    let away = "governor_connections_refused_total{reason=\"upstream\"}";
    assert_eq!(metric(&site, away), 0.0, "it was there for everybody who came");
    site.postgres.stop().unwrap();
    assert!(!one(&site).status.success());
    let refused = metric(&site, away);
    assert!(refused >= 1.0);
    site.postgres.start_as_before().unwrap();
    governed(&site);
    assert_eq!(metric(&site, away), refused);
    assert_eq!(site.governor.events("agent_gap").unwrap().len(), 0);
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_told_one_by_one() {
    let options = Options { when_down: "refuse", ..Options::default() };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    site.governor.kill().unwrap();
    let count = 20_000u64;
    flood(&site, count);
    site.governor.launch().unwrap();
    governed(&site);
    let gap = only_gap(&site);
    assert_eq!(number(&gap, "refused"), count, "{gap}");
    let told = site.governor.count_records("kernel_event").unwrap() as u64;
    let omitted: u64 = site
        .governor
        .events("kernel_events_omitted")
        .unwrap()
        .iter()
        .map(|record| number(record, "count"))
        .sum();
    assert_eq!(told + omitted + number(&gap, "events_lost"), count, "{gap}, told {told}, omitted {omitted}");
    assert!(told <= 60 && number(&gap, "events_lost") > 0, "{gap}, told {told}");
    assert!(field(&gap, "reason").as_str().unwrap().contains("20000 connections refused"), "{gap}");
}

/// So many connections, each of which is refused. 20,000 are more than the ring buffer holds.
fn flood(site: &Site, count: u64) {
    let flood = "import socket, sys\n\
        for n in range(int(sys.argv[2])):\n    \
            s = socket.socket()\n    \
            try: s.connect(('127.0.0.1', int(sys.argv[1]))); print('open')\n    \
            except PermissionError: pass\n    \
            s.close()\n";
    let mut python = site.client("python3", Class::Service).unwrap();
    python.args(["-c", flood, &site.postgres.port().to_string(), &count.to_string()]);
    assert_eq!(process::run(python, wait::PATIENCE).unwrap().ok().unwrap().out(), "");
}

/// The same under a living agent: what it could not read it knows the number of.
#[test]
fn events_that_find_no_room_while_the_agent_hangs_are_in_the_metric() {
    let site = Site::start().unwrap();
    governed(&site);
    assert_eq!(metric(&site, "governor_kernel_events_dropped_total "), 0.0);
    site.governor.signal(libc::SIGSTOP).unwrap();
    let hung = wait::until("the kernel to count it as dead", Duration::from_secs(20), || {
        let mut psql = site.client("psql", Class::Service)?;
        psql.env("PGCONNECT_TIMEOUT", "2").args(["-c", "SELECT 1"]);
        Ok(process::run(psql, wait::PATIENCE)?.err().contains("Operation not permitted").then_some(()))
    });
    let count = 20_000u64;
    if hung.is_ok() {
        flood(&site, count);
    }
    site.governor.signal(libc::SIGCONT).unwrap();
    hung.unwrap();
    site.governor.wait_for_record("agent_gap", |_| true).unwrap();
    let dropped = metric(&site, "governor_kernel_events_dropped_total ");
    let refused = metric(&site, "governor_kernel_faults_total{cause=\"heartbeat_stale\"}");
    assert!(dropped > 0.0 && refused > count as f64, "{dropped} of {refused}");
    // Whatever was not dropped is told, or counted where it came too fast.
    wait::until("the others to be told", wait::PATIENCE, || {
        let told = site.governor.count_records("kernel_event")? as f64;
        let omitted = metric(&site, "governor_kernel_events_omitted_total ");
        Ok((told + omitted + dropped == refused).then_some(()))
    })
    .unwrap();
    let said = site.governor.cli(&["status"]).unwrap().ok().unwrap().out();
    assert!(said.contains(&format!("{dropped} events dropped")), "{said}");
    governed(&site);
}

/// Fills its socket's own memory with a filter, so that the kernel programs find no room on it, and connects.
const FILLED: &str = r"
import array, socket, struct, sys
s = socket.socket()
def attach(count):
    code = array.array('B', struct.pack('HBBI', 0xb1, 0, 0, 0) * (count - 1) + struct.pack('HBBI', 6, 0, 0, 0xffffffff))
    try: s.setsockopt(socket.SOL_SOCKET, 26, struct.pack('HxxxxxxP', count, code.buffer_info()[0])); return True
    except OSError: return False
def empty():
    try: s.setsockopt(socket.SOL_SOCKET, 27, 0)
    except OSError: pass
low, high = 1, 4096
while low < high:
    middle = (low + high + 1) // 2
    empty()
    if attach(middle): low = middle
    else: high = middle - 1
empty()
assert attach(low) and low < 4096, low
try: s.connect(('127.0.0.1', int(sys.argv[1]))); print('connected')
except PermissionError: print('refused')
";

/// It takes no rights, so it must be no way around, also where connections pass while governor is away.
#[test]
fn a_socket_whose_memory_is_used_up_is_refused_and_counted() {
    let options = Options { when_down: "pass", ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    governed(&site);
    let mut python = site.client("python3", Class::Agent).unwrap();
    python.args(["-ISc", FILLED, &site.postgres.port().to_string()]);
    assert_eq!(process::run(python, wait::PATIENCE).unwrap().ok().unwrap().out(), "refused\n");
    let event = site.governor.wait_for_record("kernel_event", |_| true).unwrap();
    assert_eq!(
        (text(&event, "cause").as_str(), text(&event, "command").as_str()),
        ("storage_failed", "python3")
    );
    assert_eq!(field(&event, "passed"), &false);
    assert_eq!(metric(&site, "governor_kernel_faults_total{cause=\"storage_failed\"}"), 1.0);
    governed(&site);
}

/// A cgroup with a memory limit, in whichever version the host has.
struct MemoryGroup {
    path: std::path::PathBuf,
    limit: &'static str,
    /// Where its processes came from. `None`: it is the agent's own, and stays.
    home: Option<std::path::PathBuf>,
}

impl MemoryGroup {
    /// `None` where this host has no memory controller that a test may use.
    fn create(site: &Site) -> Option<Self> {
        let v1 = std::path::Path::new("/sys/fs/cgroup/memory");
        let name = format!("governor-oom-{}", std::process::id());
        let path = v1.join(name);
        if std::fs::create_dir(&path).is_ok() {
            return Some(Self { path, limit: "memory.limit_in_bytes", home: Some(v1.into()) });
        }
        // Version 2: the agent's own group, which the test made; all of it ends together.
        let path = site.group.agent_host();
        if std::fs::write(site.group.path().join("cgroup.subtree_control"), "+memory").is_ok() {
            std::fs::write(path.join("memory.oom.group"), "1").unwrap();
            return Some(Self { path, limit: "memory.max", home: None });
        }
        assert!(std::env::var_os("CI").is_none(), "no memory controller that a test may use");
        eprintln!("skipped: no memory controller that a test may use");
        None
    }

    fn take_in(&self, pid: u32) {
        if self.home.is_some() {
            std::fs::write(self.path.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }

    fn limit(&self, bytes: u64) {
        std::fs::write(self.path.join(self.limit), bytes.to_string()).unwrap();
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        for pid in std::fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = std::fs::write(home.join("cgroup.procs"), pid);
        }
        let _ =
            wait::until(
                "the memory group to go",
                wait::PATIENCE,
                || Ok(std::fs::remove_dir(&self.path).ok()),
            );
    }
}
