//! Identities of real processes: what only a kernel shows, and what identifying costs.

use super::*;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends its process with the test, also when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    mounts
        .lines()
        .filter_map(|l| l.split_once(" cgroup2 "))
        .find_map(|(l, _)| l.split(' ').nth(1).map(PathBuf::from))
}

/// Only the given agent markers, so that it does not matter what drives the tests.
fn real_identifier() -> Option<Identifier> {
    let Some(mount) = cgroup2_mount() else {
        eprintln!("not run: this host has no cgroup v2 mount");
        return None;
    };
    let text = "[[agent]]\nname = 'test'\nenvironment = ['GOVERNOR_TEST_AGENT']\n";
    let rules = IdentityRules { agents: KnownAgents::parse(text).unwrap(), assignments: Vec::new() };
    Some(Identifier::new(rules, mount).unwrap())
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(now.tv_sec() * 1_000_000_000 + now.tv_nsec()).unwrap()
}

fn attested_now(pid: u32) -> Attested {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let path = cgroup.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("/").to_owned();
    let group = cgroup2_mount().unwrap().join(path.trim_start_matches('/'));
    Attested {
        tgid: pid,
        uid: nix::unistd::getuid().as_raw(),
        gid: nix::unistd::getgid().as_raw(),
        command: "sleep".into(),
        cgroup_id: std::fs::metadata(group).unwrap().ino(),
        connected_ns: monotonic_ns(),
    }
}

/// Starts `sleep` and waits until it runs.
fn sleeper(command: &mut Command) -> Running {
    let child = Running(command.arg("600").stdin(Stdio::null()).spawn().unwrap());
    while !std::fs::read(format!("/proc/{}/cmdline", child.0.id())).unwrap().ends_with(b"600\0") {
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_real_process_is_known_in_full() {
    let Some(identifier) = real_identifier() else { return };
    let child = sleeper(Command::new("sleep").env("GOVERNOR_TEST_AGENT", "1"));
    let who = identifier.identify(&attested_now(child.0.id()));
    assert_eq!(who.class, Class::Agent, "{:?}", who.class_evidence);
    assert_eq!(who.class_evidence[0], "known agent test: environment marker GOVERNOR_TEST_AGENT");
    assert_eq!(who.executable.as_deref(), Some("/usr/bin/sleep"));
    assert_eq!(who.command_line, ["sleep", "600"]);
    assert_eq!(who.ancestors[0].pid, std::process::id());
    assert!(who.start_ticks > 0 && who.cgroup.is_some());
    let without = sleeper(Command::new("sleep").env_clear());
    assert_ne!(identifier.identify(&attested_now(without.0.id())).class, Class::Agent);
}

#[test]
fn a_real_pid_from_the_past_is_refused() {
    let Some(identifier) = real_identifier() else { return };
    let before = monotonic_ns() - 60_000_000_000;
    let child = sleeper(&mut Command::new("sleep"));
    let attested = Attested { connected_ns: before, ..attested_now(child.0.id()) };
    let who = identifier.identify(&attested);
    assert_eq!((who.start_ticks, &who.executable), (0, &None));
    assert!(who.class_evidence[0].contains("in use again"));
}

#[test]
fn a_real_process_that_ended_is_gone() {
    let Some(identifier) = real_identifier() else { return };
    let child = sleeper(&mut Command::new("sleep"));
    let attested = attested_now(child.0.id());
    drop(child);
    let who = identifier.identify(&attested);
    assert!(who.class_evidence[0].contains("gone"), "{:?}", who.class_evidence);
    assert!(who.cgroup.is_some(), "the group is known by its id");
}

#[test]
fn a_terminal_is_seen_and_setsid_does_not_hide_it() {
    let Some(identifier) = real_identifier() else { return };
    if !Path::new("/usr/bin/script").exists() {
        eprintln!("not run: `script` is not installed");
        return;
    }
    let marks = tempfile::tempdir().unwrap();
    let inner = format!(
        "sleep 600 & echo $! >{0}/plain.new; mv {0}/plain.new {0}/plain; \
         setsid sleep 600 & echo $! >{0}/free.new; mv {0}/free.new {0}/free; wait",
        marks.path().display()
    );
    let script = Command::new("script")
        .args(["--quiet", "--return", "--command", &inner, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let script = Running(script);
    let pid = |name: &str| -> u32 {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            if let Ok(text) = std::fs::read_to_string(marks.path().join(name)) {
                let pid = text.trim().parse().unwrap();
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
                if line == b"sleep\x00600\0" {
                    return pid;
                }
            }
            assert!(std::time::Instant::now() < deadline, "the shell under `script` did not start");
            std::thread::yield_now();
        }
    };
    let (plain, free) = (pid("plain"), pid("free"));
    let in_terminal = identifier.identify(&attested_now(plain));
    let detached = identifier.identify(&attested_now(free));
    for pid in [plain, free] {
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::SIGKILL);
    }
    drop(script);
    assert_eq!(in_terminal.class, Class::Person, "{:?}", in_terminal.class_evidence);
    assert!(in_terminal.terminal.as_deref().is_some_and(|t| t.starts_with("pts/")), "{in_terminal:?}");
    assert_eq!((detached.class, &detached.terminal), (Class::Person, &None), "{:?}", detached.class_evidence);
    assert!(
        detached.class_evidence.iter().any(|e| e.contains("has terminal pts/")),
        "{:?}",
        detached.class_evidence
    );
}

#[test]
fn a_cgroup_of_its_own_is_found_by_id_also_after_its_end() {
    let Some(identifier) = real_identifier() else { return };
    let mount = cgroup2_mount().unwrap();
    let name = format!("governor-identity-{}", std::process::id());
    let group = mount.join(&name);
    if std::fs::create_dir(&group).is_err() {
        eprintln!("not run: may not make a cgroup");
        return;
    }
    let child = sleeper(&mut Command::new("sleep"));
    std::fs::write(group.join("cgroup.procs"), child.0.id().to_string()).unwrap();
    let attested = attested_now(child.0.id());
    std::fs::write(mount.join("cgroup.procs"), child.0.id().to_string()).unwrap();
    let moved = identifier.identify(&attested);
    drop(child);
    let gone = identifier.identify(&attested);
    let by_handle = real_identifier().unwrap().identify(&attested);
    std::fs::remove_dir(&group).unwrap();
    let remembered = identifier.identify(&attested);
    for who in [moved, gone, by_handle, remembered] {
        assert_eq!(who.cgroup, Some(format!("/{name}")), "{:?}", who.class_evidence);
    }
}

/// Not a check but a measurement: `cargo test --release identity_cost -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn identity_cost() {
    let Some(mount) = cgroup2_mount() else { return };
    let children: Vec<Running> = (0..200).map(|_| sleeper(&mut Command::new("sleep"))).collect();
    let identifier = Identifier::new(IdentityRules::default(), mount.clone()).unwrap();
    let attested: Vec<Attested> = children.iter().map(|c| attested_now(c.0.id())).collect();
    let times = |what: &str, make: &dyn Fn(&Attested) -> Arc<Principal>| {
        let mut all: Vec<_> = attested
            .iter()
            .map(|a| {
                let start = std::time::Instant::now();
                let who = make(a);
                (start.elapsed(), who.ancestors.len())
            })
            .collect();
        all.sort();
        println!("{what}: median {:?}, p95 {:?} ({} ancestors)", all[100].0, all[190].0, all[0].1);
    };
    times("process never seen, ancestors known", &|a| identifier.identify(a));
    times("process seen before", &|a| identifier.identify(a));
    let fresh: Vec<_> =
        (0..200).map(|_| Identifier::new(IdentityRules::default(), mount.clone()).unwrap()).collect();
    let next = std::cell::Cell::new(0);
    times("nothing known (empty caches, fresh patterns)", &|a| {
        next.set(next.get() + 1);
        fresh[next.get() - 1].identify(a)
    });
}

/// Real processes: the hash is that of the file which runs, not of what lies at its path by now.
#[test]
fn the_hash_is_of_the_file_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let expected = {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(std::fs::read("/bin/sleep").unwrap()))
    };
    let mut child = Command::new(&path).arg("600").stdin(Stdio::null()).spawn().unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another program").unwrap();
    let host = Host::new();
    let identifier = Identifier::with_roots(
        IdentityRules::default(),
        host.root.path().join("cgroup"),
        PathBuf::from("/proc"),
    )
    .unwrap();
    let uid = nix::unistd::getuid().as_raw();
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    let connected_ns = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    let attested =
        Attested { tgid: child.id(), uid, gid: 0, command: "x".into(), cgroup_id: 1, connected_ns };
    assert_eq!(identifier.identify(&attested).executable_sha256, None, "nobody asked for it");
    identifier.want_executable_hashes(true);
    let who = identifier.identify(&attested);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(who.executable_sha256, Some(expected));
}
