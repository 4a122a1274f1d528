//! What a test stands on: cgroups, an agent's listeners, a server, and client processes.

use crate::host::kernel::cgroup::Cgroup;
use crate::host::kernel::probe::{Outcome, probe};
use crate::host::kernel::{CaptureRule, Flow, FlowTable, KernelOptions, cgroup2_mount};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A cgroup of this test's own with a child for governor (this process) and two for clients.
pub struct Stage {
    pub parent: PathBuf,
    pub agent: PathBuf,
    pub clients: PathBuf,
    pub elsewhere: PathBuf,
    home: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

/// This process can be in one cgroup only, so these tests run one after another.
static ALONE: Mutex<()> = Mutex::new(());

impl Stage {
    /// `None` where the host cannot do it; see the module's header.
    pub fn set() -> Option<Self> {
        let failed: Vec<String> = probe()
            .into_iter()
            .filter(|check| check.ok == Outcome::Fail)
            .map(|check| format!("{}: {}", check.name, check.found))
            .collect();
        if !failed.is_empty() {
            let reason = failed.join("; ");
            assert!(std::env::var_os("CI").is_none(), "eBPF is missing: {reason}");
            eprintln!("skipped, eBPF is missing: {reason}");
            return None;
        }
        let alone = ALONE.lock();
        let mount = cgroup2_mount().unwrap();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        let home = mount.join(own.trim_start_matches('/'));
        let parent = mount.join(format!("governor-test-{}", std::process::id()));
        let stage = Self {
            agent: parent.join("agent"),
            clients: parent.join("clients"),
            elsewhere: parent.join("elsewhere"),
            parent,
            home,
            _alone: alone,
        };
        for directory in [&stage.parent, &stage.agent, &stage.clients, &stage.elsewhere] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(stage.agent.join("cgroup.procs"), "0").unwrap();
        Some(stage)
    }

    /// One port captured on the clients' cgroup.
    pub fn options(&self, port: u16, fail_open: bool) -> KernelOptions {
        KernelOptions {
            rules: vec![CaptureRule { port, cgroup: self.clients.clone(), fail_open }],
            own_cgroups: vec![self.agent.clone()],
            ..KernelOptions::default()
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::write(self.home.join("cgroup.procs"), "0");
        for directory in [&self.agent, &self.clients, &self.elsewhere, &self.parent] {
            // A child that has just ended may hold its cgroup for a moment.
            wait_for(|| fs::remove_dir(directory).is_ok());
        }
    }
}

pub fn cgroup_id(path: &Path) -> u64 {
    Cgroup::open(path).unwrap().id
}

/// Polls for as long as a busy machine, or an emulated one, may take.
pub fn wait_for(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A listening socket with a thread that answers each connection with one byte and closes it.
pub struct Service {
    pub address: SocketAddr,
    pub listener: Arc<TcpListener>,
    /// What the kernel said of each accepted connection.
    pub flows: Arc<Mutex<Vec<Option<Flow>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// The server that clients mean: answers `d` for "direct".
    pub fn direct(address: impl Into<SocketAddr>) -> std::io::Result<Self> {
        Ok(Self::start(TcpListener::bind(address.into())?, None, b'd'))
    }

    /// governor's stand-in: looks up the flow, answers `g`.
    pub fn agent(listener: TcpListener, flows: FlowTable) -> Self {
        Self::start(listener, Some(flows), b'g')
    }

    fn start(listener: TcpListener, table: Option<FlowTable>, answer: u8) -> Self {
        let address = listener.local_addr().unwrap();
        let listener = Arc::new(listener);
        let flows = Arc::new(Mutex::new(Vec::new()));
        let (listening, seen) = (Arc::clone(&listener), Arc::clone(&flows));
        let thread = thread::spawn(move || {
            while let Ok((mut accepted, _)) = listening.accept() {
                if let Some(table) = &table {
                    seen.lock().push(table.flow(accepted.as_fd()).unwrap());
                }
                let _ = accepted.write_all(&[answer]);
            }
        });
        Self { address, listener, flows, thread: Some(thread) }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = socket2::SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Servers on one port of 127.0.0.1 and of ::1.
pub fn direct_servers() -> (u16, Service, Service) {
    loop {
        let v4 = Service::direct((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = v4.address.port();
        if let Ok(v6) = Service::direct((Ipv6Addr::LOCALHOST, port)) {
            return (port, v4, v6);
        }
    }
}

/// What a client process saw.
#[derive(Debug)]
pub struct Seen {
    pub pid: u32,
    /// How often each outcome came: `g|127.0.0.1|5432` (answer, peer address, peer port) or `error|1`.
    pub outcomes: BTreeMap<String, usize>,
}

impl Seen {
    pub fn only(&self, outcome: &str, count: usize) {
        let expected = BTreeMap::from([(outcome.to_owned(), count)]);
        assert_eq!(self.outcomes, expected);
    }
}

/// Connects `count` times from four threads of a process in this cgroup.
pub fn client(cgroup: &Path, address: &str, port: u16, count: usize) -> Seen {
    let arguments = [address.to_owned(), port.to_string(), count.to_string()];
    python(cgroup, CONNECT, &arguments)
}

/// The same from a network namespace that governor does not know.
pub fn client_in_new_namespace(cgroup: &Path, address: &str, port: u16) -> Seen {
    let arguments = [address.to_owned(), port.to_string(), "1".to_owned()];
    run_in(cgroup, &["unshare", "--net", interpreter(), "-ISc", CONNECT], &arguments)
}

/// Runs a Python program in the cgroup and reads its `pid` and `outcome` lines.
pub fn python(cgroup: &Path, program: &str, arguments: &[String]) -> Seen {
    run_in(cgroup, &[interpreter(), "-ISc", program], arguments)
}

/// The system's interpreter where there is one: a version manager's wrapper takes five times as long to start.
pub fn interpreter() -> &'static str {
    let system = "/usr/bin/python3";
    if Path::new(system).exists() { system } else { "python3" }
}

fn run_in(cgroup: &Path, command: &[&str], arguments: &[String]) -> Seen {
    let members: File = OpenOptions::new().write(true).open(cgroup.join("cgroup.procs")).unwrap();
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit());
    // SAFETY: between fork and exec only write(2) is called, on a descriptor that stays open; "0"
    // means the writing process.
    unsafe {
        process.pre_exec(move || match libc::write(members.as_raw_fd(), b"0".as_ptr().cast(), 1) {
            1 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let output = process.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut seen = Seen { pid: 0, outcomes: BTreeMap::new() };
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        match line.split_once(' ').unwrap() {
            ("pid", pid) => seen.pid = pid.parse().unwrap(),
            (count, outcome) => {
                seen.outcomes.insert(outcome.to_owned(), count.parse().unwrap());
            }
        }
    }
    seen
}

const CONNECT: &str = r"
import collections, os, socket, sys, threading
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ':' in address else socket.AF_INET
threads = min(4, count)
tallies = [collections.Counter() for _ in range(threads)]
def work(number):
    for _ in range(number, count, threads):
        try:
            with socket.socket(family) as s:
                s.settimeout(5)
                s.connect((address, port))
                peer = s.getpeername()
                tallies[number][f'{s.recv(1).decode()}|{peer[0]}|{peer[1]}'] += 1
        except OSError as error:
            tallies[number][f'error|{error.errno}'] += 1
workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
for w in workers: w.start()
for w in workers: w.join()
print('pid', os.getpid())
for outcome, times in sum(tallies, collections.Counter()).items(): print(times, outcome)
";
