//! Child processes that always end: with a time limit, and with their owner.
//!
//! Children are forked by one thread that lives as long as the program, because the kernel sends the
//! parent-death signal when the forking *thread* ends, and each test has a thread of its own.

use crate::wait;
use anyhow::{Context, Result, anyhow, bail};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a finished command left.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Finished {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Both streams, for asserting that something appears nowhere.
    pub fn all(&self) -> String {
        format!("{}\n{}", self.out(), self.err())
    }

    /// Fails with everything that the command said unless it succeeded.
    pub fn ok(self) -> Result<Self> {
        if !self.status.success() {
            bail!("{}\nstdout: {}\nstderr: {}", self.status, self.out(), self.err());
        }
        Ok(self)
    }
}

/// A command whose output is being collected.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts `command` and drains its output, so that it never blocks on a full pipe.
    /// Standard input stays as the caller set it; closed by default.
    pub fn start(command: Command, stdin: &[u8]) -> Result<Self> {
        let input = if stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
        let mut running = Self::start_with(command, input)?;
        if let Some(mut pipe) = running.child.stdin.take() {
            let bytes = stdin.to_vec();
            // The command may end without reading everything: a broken pipe is its right.
            std::thread::spawn(move || std::io::Write::write_all(&mut pipe, &bytes).ok());
        }
        Ok(running)
    }

    /// The same with a standard input of the caller's.
    pub fn start_with(mut command: Command, stdin: Stdio) -> Result<Self> {
        let what = format!("{command:?}");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(stdin);
        let mut child = spawn(command, libc::SIGKILL).with_context(|| format!("starting {what}"))?;
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        Ok(Self { what, child, stdout, stderr })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        send_signal(self.child.id(), signal)
    }

    /// Waits for the end; kills it at the limit and fails with what it had said.
    pub fn finish(mut self, limit: Duration) -> Result<Finished> {
        let status = wait::until(&self.what, limit, || Ok(self.child.try_wait()?));
        if status.is_err() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        let stdout = self.stdout.take().map(join).unwrap_or_default();
        let stderr = self.stderr.take().map(join).unwrap_or_default();
        let status = status.with_context(|| {
            format!(
                "stdout so far: {}\nstderr so far: {}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            )
        })?;
        Ok(Finished { status, stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Runs to the end and collects both streams.
pub fn run(command: Command, limit: Duration) -> Result<Finished> {
    Running::start(command, &[])?.finish(limit)
}

/// Starts `command` so that it gets `death_signal` when this program ends in any way.
pub fn spawn(mut command: Command, death_signal: libc::c_int) -> Result<Child> {
    // SAFETY: prctl is a plain system call: no allocation, no lock, allowed between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::prctl(libc::PR_SET_PDEATHSIG, death_signal) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let (answer, result) = mpsc::channel();
    let job: Job = Box::new(move || {
        answer.send(command.spawn()).ok();
    });
    forker()
        .lock()
        .map_err(|_| anyhow!("a test panicked while forking"))?
        .send(job)
        .map_err(|_| anyhow!("no forking thread"))?;
    Ok(result.recv()??)
}

/// Sends a signal to a process that the caller started.
pub fn send_signal(pid: u32, signal: libc::c_int) -> Result<()> {
    let pid = libc::pid_t::try_from(pid)?;
    // SAFETY: kill takes plain integers; the pid is positive, so it names one process.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()).with_context(|| format!("signal {signal} to {pid}")),
    }
}

/// Asks a child to end with `signal`, then forces it after `limit`. Answers how it ended.
pub fn stop(child: &mut Child, signal: libc::c_int, limit: Duration) -> Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    send_signal(child.id(), signal)?;
    match wait::until("a child to stop", limit, || Ok(child.try_wait()?)) {
        Ok(status) => Ok(status),
        Err(_) => {
            child.kill()?;
            Ok(child.wait()?)
        }
    }
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".into(),
    }
}

/// User and system CPU time of a process so far, microseconds, from `/proc/PID/stat`.
pub fn cpu_us(pid: u32) -> Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no command in stat")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks =
        |index: usize| -> Result<u64> { Ok(fields.get(index).context("stat is short")?.parse::<u64>()?) };
    // Fields 14 and 15 of the whole line; the first after the name is field 3.
    let total = ticks(11)? + ticks(12)?;
    // SAFETY: sysconf reads a constant.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) })?;
    Ok(total * 1_000_000 / per_second.max(1))
}

/// Resident memory of a process, KiB.
pub fn rss_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS is empty")?.parse()?)
}

/// The most that was resident at once since the start or the last [`forget_peak`], KiB.
pub fn peak_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("VmHWM is empty")?.parse()?)
}

/// Lets the peak begin anew at what is resident now.
pub fn forget_peak(pid: u32) -> Result<()> {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// Open file descriptors of a process.
pub fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

type Job = Box<dyn FnOnce() + Send>;

fn forker() -> &'static Mutex<mpsc::Sender<Job>> {
    static FORKER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    FORKER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for job in inbox {
                job();
            }
        });
        Mutex::new(jobs)
    })
}

fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).ok();
        bytes
    })
}

fn join(reader: JoinHandle<Vec<u8>>) -> Vec<u8> {
    reader.join().unwrap_or_default()
}
