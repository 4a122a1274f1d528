//! The machine: governor's unit, a PostgreSQL in another one, and what an operator types.

use crate::raw::{self, Answer};
use governor_tests::governor::text;
use governor_tests::{Finished, process, wait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

/// Emulation on a busy machine; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(300);

const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
const BETWEEN_CLIENTS: Duration = Duration::from_millis(20);
const CLIENTS_BEFORE: usize = 10;

pub const UNIT: &str = "governor.service";
pub const STATE: &str = "/var/lib/governor";
pub const PINS: &str = "/var/lib/governor/pins";
pub const CONFIG: &str = "/etc/governor/governor.toml";

/// The directory of the server's socket for whoever tests: nothing captures it.
const ASIDE: &str = "/run/guest-server";
/// Where the distribution has it.
pub const SOCKETS: &str = "/run/postgresql";

/// The program that these tests are is a service; it would be one by evidence too.
const ASSIGNED: &str = "[[identity.assign]]\nunit = \"guest-tests.service\"\nclass = \"service\"\n";

/// The rule of the sample configuration.
pub fn rule(when_down: &str) -> String {
    format!("[[capture.rules]]\ncgroup = \"/\"\nports = [5432]\nwhen_down = \"{when_down}\"\n\n")
}

/// The service between these tests and a PostgreSQL, running and ready under this configuration.
pub fn governed(config: &str) {
    the_machine_is_the_guest();
    server();
    ready(config);
}

/// The service alone, running and ready under this configuration (beside the class of these tests).
pub fn ready(config: &str) {
    the_machine_is_the_guest();
    let text = format!("{config}{ASSIGNED}");
    let as_before = std::fs::read_to_string(CONFIG).is_ok_and(|before| before == text);
    std::fs::create_dir_all("/etc/governor").unwrap();
    std::fs::write(CONFIG, text).unwrap();
    if !as_before {
        systemctl(&["stop", UNIT]);
    }
    systemctl(&["start", UNIT]);
    assert_eq!(property("ActiveState"), "active");
}

/// Before anything of the machine is touched.
pub fn the_machine_is_the_guest() {
    let init = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    assert!(
        std::env::var_os("GOVERNOR_GUEST").is_some() && init.trim() == "systemd",
        "this stops and kills the service of the machine it runs on: `cargo xtask test guest` boots one for it"
    );
}

/// Runs to the end, and well.
pub fn run(program: &str, args: &[&str]) -> Finished {
    finish(program, args).ok().unwrap_or_else(|error| panic!("{program} {args:?}: {error:#}\n{}", journal()))
}

/// Runs to the end.
pub fn finish(program: &str, args: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.args(args).env("NO_COLOR", "1").env("SYSTEMD_COLORS", "0").env("LC_ALL", "C.UTF-8");
    process::run(command, PATIENCE).unwrap()
}

pub fn systemctl(args: &[&str]) {
    run("systemctl", args);
}

/// A property of the service, as the manager has it.
pub fn property(name: &str) -> String {
    run("systemctl", &["show", "--value", "--property", name, UNIT]).out().trim().to_owned()
}

pub fn main_pid() -> u32 {
    property("MainPID").parse().unwrap()
}

/// What the manager and the agent said of the service, the last of it, without single connections.
pub fn journal() -> String {
    let said = finish("journalctl", &["--boot", "--no-pager", "--lines=150", "--unit", UNIT]).out();
    said.lines().filter(|line| !line.contains(" a connection to ")).map(|line| format!("{line}\n")).collect()
}

/// Waits for a new main process that is ready.
pub fn ready_again(before: u32) -> u32 {
    until("the service to be ready again", || {
        let pid = main_pid();
        (pid != 0 && pid != before && property("ActiveState") == "active").then_some(pid)
    })
}

/// Looks now and then: a look is a program of its own, and emulated.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let found = wait::until(what, PATIENCE, || {
        let found = probe();
        if found.is_none() {
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Ok(found)
    });
    found.unwrap_or_else(|error| panic!("{error:#}\n{}", journal()))
}

/// `governor ARGS…`, as an operator types it.
pub fn governor(args: &[&str]) -> Finished {
    run("governor", args)
}

/// Every record of an event, oldest first.
pub fn records(event: &str) -> Vec<Value> {
    let found = governor(&["audit", "search", "--event", event, "--limit", "0", "--json"]).out();
    serde_json::Deserializer::from_str(&found)
        .into_iter::<Value>()
        .flat_map(|value| match value.unwrap() {
            Value::Array(values) => values,
            other => vec![other],
        })
        .collect()
}

/// The newest gap, once there are more than `before`.
pub fn gap_after(before: usize) -> Value {
    until("the gap on record", || records("agent_gap").into_iter().nth(before))
}

/// The sum of a metric over its series.
pub fn metric(name: &str) -> f64 {
    let (status, page) = governor_tests::http::get("127.0.0.1:9847", "/metrics").unwrap();
    assert_eq!(status, 200);
    governor_tests::http::metric(&page, name).unwrap_or_else(|| panic!("no {name} in\n{page}"))
}

/// An unmodified psql over TCP.
pub fn psql(sql: &str) -> Finished {
    finish("psql", &["-XqAt", "-h", "127.0.0.1", "-U", "postgres", "-d", "shop", "-c", sql])
}

pub fn is_governed() {
    let before = records("session_start").len();
    assert_eq!(psql("SELECT 40 + 2").ok().unwrap().out(), "42\n");
    assert_eq!(records("session_start").len(), before + 1, "{}", journal());
}

/// A connect to the server's port, and what became of it.
pub fn ask() -> Answer {
    raw::ask("127.0.0.1:5432".parse().unwrap())
}

/// Sessions of clients over TCP that the server has had, by its own count.
pub fn sessions_at_the_server() -> u64 {
    truth("SELECT sessions FROM pg_stat_database WHERE datname = 'shop'").parse().unwrap()
}

/// What the server says, asked past governor.
pub fn truth(sql: &str) -> String {
    run("psql", &["-XqAt", "-h", ASIDE, "-U", "postgres", "-d", "postgres", "-c", sql])
        .out()
        .trim()
        .to_owned()
}

/// The distribution's PostgreSQL as a unit of its own, started once.
fn server() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let bin = newest_server();
        let data = "/var/lib/postgresql/guest";
        run(
            "install",
            &["-d", "-m", "0700", "-o", "postgres", "-g", "postgres", "/var/lib/postgresql", data],
        );
        run(
            "setpriv",
            &[
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                bin.join("initdb").to_str().unwrap(),
                "-D",
                data,
                "--no-sync",
                "--auth=trust",
                "--locale=C.UTF-8",
            ],
        );
        let sockets = format!("unix_socket_directories={SOCKETS},{ASIDE}");
        run(
            "systemd-run",
            &[
                "--quiet",
                "--unit=database",
                "--property=Type=notify",
                "--property=User=postgres",
                "--property=RuntimeDirectory=postgresql guest-server",
                bin.join("postgres").to_str().unwrap(),
                "-D",
                data,
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                &sockets,
                "-c",
                "fsync=off",
            ],
        );
        truth("CREATE DATABASE shop");
    });
}

fn newest_server() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    found.sort();
    found.pop().expect("a server of the distribution")
}

/// Clients that connect one after another in a thread of their own, until they are told to end.
pub struct Clients {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Vec<Answer>>>,
}

impl Clients {
    /// Answers when a few were served.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let (served, answered) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut answers = vec![];
            while !told.load(Ordering::Relaxed) {
                answers.push(ask());
                served.send(()).ok();
                std::thread::sleep(BETWEEN_CLIENTS);
            }
            answers
        });
        for _ in 0..CLIENTS_BEFORE {
            answered.recv_timeout(PATIENCE).unwrap();
        }
        Self { stop, thread: Some(thread) }
    }

    pub fn end(mut self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The file system of a path as the first process sees it, or another one.
pub fn mounted(pid: u32, path: &str) -> Option<String> {
    let table = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("mountinfo")).unwrap();
    // The last one is on top.
    table.lines().rfind(|line| line.split(' ').nth(4) == Some(path)).map(str::to_owned)
}

pub fn cause(gap: &Value) -> String {
    text(gap, "cause")
}
