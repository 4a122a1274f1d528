//! `cargo xtask bench connect`: what the kernel programs add to a connection, and that they add nothing to its packets.
//!
//! One client makes connections as fast as it can, each ended by a reset so that no port is left waiting, and times
//! `connect()` alone. Ways, interleaved in every round: in a cgroup without hooks; in a captured cgroup to a port that no
//! rule names; in a captured cgroup to the captured port. Nobody accepts while it is measured, so that waking an acceptor
//! is in none of them: governor is stopped for these milliseconds. The kernel's own statistics say how long
//! each program ran and how often: per connection, and over round trips of an established one, where it must be never.

use super::samples::median;
use crate::{compile, interrupt, root, setup};
use anyhow::{Context, Result, ensure};
use governor_tests::postgres::{Auth, Postgres};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::Wire;
use governor_tests::{Cgroup, Class, Governor, Options as GovernorOptions, Site, cgroup, process, wait};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Rounds; the median of all is printed
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// Connections of each way in each round
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    connections: u32,
    /// Round trips of the established connection
    #[arg(long, default_value_t = 2_000)]
    round_trips: u32,
    /// Clients that connect at the same time where the rate is measured
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: u32,
    /// Measure the binary named in GOVERNOR_BIN instead of building one
    #[arg(long)]
    no_build: bool,
    /// The client's own process: connect there, so often, and end each by a reset or by a cancel request
    #[arg(long, hide = true, num_args = 3, value_names = ["ADDRESS", "COUNT", "END"])]
    client: Option<Vec<String>>,
}

pub fn run(options: &Options) -> Result<()> {
    if let Some([address, count, end]) = options.client.as_deref() {
        return client(address.parse()?, count.parse()?, end == CANCEL);
    }
    if !options.no_build {
        setup::run(&setup::Options::for_building())?;
        let binary = compile::governor(true)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to the bench's cgroup")?;
    interrupt::catch();
    interrupt::told(site().and_then(|site| interrupt::drop_after(site, |site| measure(site, options))))
}

fn site() -> Result<Site> {
    let postgres = Postgres::start(Auth::Trust)?;
    let group = Cgroup::create("governor-bench")?;
    let more = "[limits]\nconnections_per_source_max = 100000\nconnections_max = 100000\n".to_owned();
    let options = GovernorOptions { more, ..GovernorOptions::default() };
    let governor = Governor::start(&group, postgres.port(), &options)?;
    Ok(Site { governor, group, postgres })
}

fn measure(Site { governor, group, postgres }: &Site, options: &Options) -> Result<()> {
    let unnamed = TcpListener::bind("127.0.0.1:0")?;
    let unnamed_address = unnamed.local_addr()?;
    // As many may wait as at governor's own listeners: a full queue costs the client a second.
    // SAFETY: a system call on a descriptor that is open; listening again only changes the queue.
    ensure!(unsafe { libc::listen(unnamed.as_raw_fd(), 4096) } == 0, "a longer queue");
    unnamed.set_nonblocking(true)?;
    let without = group.path().join("without-hooks");
    std::fs::create_dir(&without)?;
    let captured = group.client(Class::Service);
    let database = SocketAddr::from(([127, 0, 0, 1], postgres.port()));

    let mut ways = [
        Way::new("no hooks", &without, unnamed_address),
        Way::new("hooks, port not named", &captured, unnamed_address),
        Way::new("hooks, captured", &captured, database),
    ];
    for round in 1..=options.rounds {
        for way in &mut ways {
            governor.signal(libc::SIGSTOP)?;
            let measured = way.measure(options.connections);
            governor.signal(libc::SIGCONT)?;
            measured?;
            // The queue has room again for the next way.
            while unnamed.accept().is_ok() {}
        }
        eprintln!("round {round}/{}", options.rounds);
    }
    report(&ways);

    let programs = Programs::of(governor.pid().context("governor runs")?)?;
    let _counting = count_runs()?;
    run_times(&programs, &captured, [unnamed_address, database], options.connections)?;
    drop(unnamed);
    packets(&programs, &captured, database, options.round_trips)?;
    sustained(governor, &captured, database, options)
}

struct Way {
    name: &'static str,
    cgroup: PathBuf,
    address: SocketAddr,
    /// Median of `connect()` in each round.
    connect_ns: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, cgroup: &Path, address: SocketAddr) -> Self {
        Self { name, cgroup: cgroup.into(), address, connect_ns: Vec::new() }
    }

    fn measure(&mut self, count: u32) -> Result<()> {
        let done = process::run(connecting(&self.cgroup, self.address, count, RESET)?, LIMIT)?.ok()?.out();
        self.connect_ns.push(done.trim().parse()?);
        Ok(())
    }
}

fn report(ways: &[Way; 3]) {
    println!("\nconnect() on loopback, one client; medians of the rounds, differences within each round");
    println!("  {:24} {:>10} {:>14} {:>8}", "", "ns", "added, ns", "ratio");
    let [base, ..] = ways;
    for way in ways {
        let pairs = || way.connect_ns.iter().zip(&base.connect_ns);
        println!(
            "  {:24} {:>10.0} {:>14.0} {:>8.2}",
            way.name,
            median(&way.connect_ns).unwrap_or(f64::NAN),
            median(&pairs().map(|(one, other)| one - other).collect::<Vec<_>>()).unwrap_or(f64::NAN),
            median(&pairs().map(|(one, other)| one / other).collect::<Vec<_>>()).unwrap_or(f64::NAN),
        );
    }
    println!("  aim: at most 2,000 ns added");
}

/// How long each program runs, by the kernel's clock.
fn run_times(programs: &Programs, captured: &Path, to: [SocketAddr; 2], count: u32) -> Result<()> {
    println!(
        "\nthe programs by the kernel's statistics (which add to each run), over {count} connections each"
    );
    println!("  {:16} {:>26} {:>26}", "", "port not named", "captured");
    println!(
        "  {:16} {:>12} {:>13} {:>12} {:>13}",
        "", "ns a run", "runs a conn.", "ns a run", "runs a conn."
    );
    let mut columns = Vec::new();
    for address in to {
        let before = programs.runs()?;
        process::run(connecting(captured, address, count, RESET)?, LIMIT)?.ok()?;
        columns.push(difference(&before, &programs.runs()?));
    }
    let names: Vec<&String> = columns.iter().flat_map(BTreeMap::keys).collect();
    for name in names.iter().copied().collect::<std::collections::BTreeSet<_>>() {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| match column.get(name) {
                Some(run) if run.count > 0 => format!(
                    "{:>12.0} {:>13.2}",
                    run.time_ns as f64 / run.count as f64,
                    run.count as f64 / f64::from(count)
                ),
                _ => format!("{:>12} {:>13}", "–", "–"),
            })
            .collect();
        println!("  {name:16} {}", cells.join(" "));
    }
    Ok(())
}

/// Round trips through governor, during which no program may run.
fn packets(programs: &Programs, captured: &Path, database: SocketAddr, round_trips: u32) -> Result<()> {
    let mut wire = Wire::new(RemoteSocket::connect(captured, database)?)?;
    wire.start("app", "shop")?;
    wire.query("SELECT 1")?;
    let before = programs.runs()?;
    for _ in 0..round_trips {
        wire.query("SELECT 1")?;
    }
    let runs = difference(&before, &programs.runs()?);
    let total: u64 = runs.values().map(|run| run.count).sum();
    println!(
        "\n{round_trips} round trips of an established connection: {total} runs of kernel programs (aim: 0)"
    );
    ensure!(total == 0, "kernel programs ran on an established connection: {runs:?}");
    Ok(())
}

/// As many connections as a few clients can make that governor reads the identity of and answers: cancel requests with a
/// key that nobody has end at governor, on record, without a connection to the server.
fn sustained(governor: &Governor, captured: &Path, database: SocketAddr, options: &Options) -> Result<()> {
    let Options { clients: count_of_clients, connections, .. } = *options;
    let each = connections.saturating_mul(40) / count_of_clients;
    let pid = governor.pid().context("governor runs")?;
    let count = |name: &str| -> Result<f64> {
        let page = governor.metrics()?;
        let lines = page.lines().filter(|line| line.starts_with(name));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    };
    let counts =
        || -> Result<(f64, f64, f64)> { Ok((count(ACCEPTED)?, count(NO_IDENTITY)?, count(NO_ORIGIN)?)) };
    // Resets of the stage before may still wait to be accepted.
    let mut before = counts()?;
    wait::until("governor to have accepted everything", LIMIT, || {
        std::thread::sleep(SETTLED_WITHIN);
        let last = std::mem::replace(&mut before, counts()?);
        Ok((last == before).then_some(()))
    })?;
    let cpu_before = process::cpu_us(pid)?;
    let start = Instant::now();
    let clients: Vec<_> = (0..count_of_clients)
        .map(|_| governor_tests::Running::start(connecting(captured, database, each, CANCEL)?, &[]))
        .collect::<Result<_>>()?;
    for client in clients {
        client.finish(LIMIT)?.ok()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_us = (process::cpu_us(pid)? - cpu_before) as f64;
    let after = counts()?;
    let all = count_of_clients * each;
    let (accepted, no_identity, no_origin) = (after.0 - before.0, after.1 - before.1, after.2 - before.2);
    println!(
        "\n{count_of_clients} clients, {all} connections: {:.0} a second with identity and record, {:.0} µs of governor's CPU for each, \
         {accepted:.0} accepted, {no_identity:.0} without identity, {no_origin:.0} without origin (aim: 20,000 a second)",
        f64::from(all) / seconds,
        cpu_us / f64::from(all)
    );
    Ok(())
}

fn connecting(cgroup: &Path, address: SocketAddr, count: u32, end: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "connect", "--client", &address.to_string(), &count.to_string(), end]);
    cgroup::enter(&mut command, cgroup)?;
    Ok(command)
}

/// Runs in the cgroup that is measured. Prints the median of `connect()` in nanoseconds.
fn client(address: SocketAddr, count: u32, cancels: bool) -> Result<()> {
    let mut took_ns: Vec<f64> = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let before = Instant::now();
        let mut stream = TcpStream::connect(address)?;
        took_ns.push(before.elapsed().as_nanos() as f64);
        if cancels {
            stream.write_all(&NO_SUCH_KEY)?;
            stream.read_to_end(&mut Vec::new())?;
        } else {
            reset(&stream)?;
        }
    }
    println!("{:.0}", median(&took_ns).unwrap_or(f64::NAN));
    Ok(())
}

/// Closing ends the connection at once, and no port is left waiting.
fn reset(stream: &TcpStream) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the kernel reads one structure of this frame, as long as stated.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    ensure!(set == 0, "SO_LINGER: {}", std::io::Error::last_os_error());
    Ok(())
}

/// How often a program ran, and how long in sum.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    count: u64,
    time_ns: u64,
}

fn difference(before: &BTreeMap<String, Runs>, after: &BTreeMap<String, Runs>) -> BTreeMap<String, Runs> {
    let since = |name: &String, now: &Runs| {
        let then = before.get(name).copied().unwrap_or_default();
        Runs { count: now.count - then.count, time_ns: now.time_ns - then.time_ns }
    };
    after.iter().map(|(name, now)| (name.clone(), since(name, now))).collect()
}

/// The kernel programs of one governor.
struct Programs(Vec<OwnedFd>);

impl Programs {
    /// By the descriptors that it holds.
    fn of(pid: u32) -> Result<Self> {
        let mut programs = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let id = text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok());
            // Links name their program too; only the program's own line is followed by these.
            if let Some(id) = id.filter(|_| text.contains("run_cnt:")) {
                let mut attributes = [0_u32; 4];
                attributes[0] = id;
                programs.push(bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes)?);
            }
        }
        ensure!(!programs.is_empty(), "governor holds no kernel programs");
        Ok(Self(programs))
    }

    fn runs(&self) -> Result<BTreeMap<String, Runs>> {
        let mut all: BTreeMap<String, Runs> = BTreeMap::new();
        for program in &self.0 {
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
            let number = |key: &str| -> Result<u64> {
                let line = info.lines().find_map(|line| line.strip_prefix(key)).context("no statistics")?;
                Ok(line.trim().parse()?)
            };
            let runs = all.entry(name_of(program)?).or_default();
            runs.count += number("run_cnt:")?;
            runs.time_ns += number("run_time_ns:")?;
        }
        Ok(all)
    }
}

/// The first 15 bytes of a program's name, from `struct bpf_prog_info`.
fn name_of(program: &OwnedFd) -> Result<String> {
    let mut info = [0_u8; INFO_BYTES];
    let mut attributes = InfoRequest {
        descriptor: program.as_raw_fd(),
        length: INFO_BYTES as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most `length` bytes to `info`, which lives until after the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut attributes,
            size_of::<InfoRequest>() as libc::c_uint,
        )
    };
    ensure!(answer == 0, "asking for a program's name: {}", std::io::Error::last_os_error());
    let name = info.get(NAME_AT..NAME_AT + 16).context("the structure is longer")?;
    Ok(String::from_utf8_lossy(name.split(|&byte| byte == 0).next().unwrap_or_default()).into_owned())
}

/// Makes the kernel count runs for as long as the answer is open.
fn count_runs() -> Result<OwnedFd> {
    bpf(BPF_ENABLE_STATS, &mut [0; 4])
}

fn bpf(command: libc::c_int, attributes: &mut [u32; 4]) -> Result<OwnedFd> {
    // SAFETY: the kernel reads as many bytes as stated; for these commands it answers a descriptor or -1.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<[u32; 4]>() as libc::c_uint)
    };
    ensure!(answer >= 0, "bpf({command}): {}", std::io::Error::last_os_error());
    // SAFETY: the kernel made this descriptor for us a moment ago; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(answer)?) })
}

#[repr(C)]
struct InfoRequest {
    descriptor: i32,
    length: u32,
    info: u64,
}

const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_ENABLE_STATS: libc::c_int = 32;
/// Up to the name and a little more.
const INFO_BYTES: usize = 96;
const NAME_AT: usize = 64;

const RESET: &str = "reset";
const CANCEL: &str = "cancel";
/// A cancel request: its length, its code, a process id and a key.
const NO_SUCH_KEY: [u8; 16] = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 1];

const ACCEPTED: &str = "governor_connections_accepted_total";
const NO_IDENTITY: &str = "governor_connections_refused_total{reason=\"no_identity\"}";
const NO_ORIGIN: &str = "governor_connections_refused_total{reason=\"no_origin\"}";
const LIMIT: Duration = Duration::from_secs(600);
/// Without a further connection accepted: nothing waits any more.
const SETTLED_WITHIN: Duration = Duration::from_millis(500);
