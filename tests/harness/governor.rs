//! Runs the real `governor` binary inside its cgroup, with a state directory of its own.

use crate::cgroup::{self, Cgroup, Class};
use crate::process::{self, Finished};
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// What a test changes of the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--profile`; `None` leaves the default, which enforces.
    pub profile: Option<&'static str>,
    /// `capture.rules.when_down`: `refuse` or `pass`.
    pub when_down: &'static str,
    /// `capture.on_stop`: tests and the demo leave nothing unless they say so.
    pub on_stop: &'static str,
    /// The rule covers governor's own group too, as a rule on the root does.
    pub captures_agent: bool,
    /// `capture.rules.tls`.
    pub tls: &'static str,
    /// `approvals.timeout`.
    pub approval_timeout: &'static str,
    /// Files of the policy directory: name and text. No directory is configured while this is empty.
    pub policies: Vec<(String, String)>,
    /// Appended to the configuration as it stands.
    pub more: String,
    /// Settings of the server, `name=value`.
    pub server_settings: Vec<&'static str>,
    /// Major version of the server; `None` is the distribution's own.
    pub server_version: Option<u32>,
    /// A program and its arguments that start the agent, such as `setpriv …`.
    pub launcher: Vec<String>,
    /// The same for its command line, where that has to be in the agent's own mount namespace.
    pub command_launcher: Vec<String>,
    /// Seed of the key by which other governors know this one; `None`: it makes one.
    pub hello_seed: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: None,
            when_down: "refuse",
            on_stop: "detach",
            captures_agent: false,
            tls: "terminate",
            approval_timeout: "30s",
            policies: vec![],
            more: String::new(),
            server_settings: vec![],
            server_version: None,
            launcher: vec![],
            command_launcher: vec![],
            hello_seed: None,
        }
    }
}

/// One instance: its directory stays while the process is stopped, killed and started again.
#[derive(Debug)]
pub struct Governor {
    dir: TempDir,
    host_group: PathBuf,
    profile: Option<&'static str>,
    launcher: Vec<String>,
    command_launcher: Vec<String>,
    child: Option<Child>,
    /// Agents that were taken over from.
    retired: Vec<Child>,
}

impl Governor {
    /// Writes the configuration and starts the agent; answers when it is ready.
    pub fn start(group: &Cgroup, server_port: u16, options: &Options) -> Result<Self> {
        let mut governor = Self::prepare(group, server_port, options)?;
        governor.launch()?;
        Ok(governor)
    }

    /// Writes the configuration only; for tests of a start that fails.
    pub fn prepare(group: &Cgroup, server_port: u16, options: &Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("governor-state-").tempdir()?;
        let policies = dir.path().join("policies");
        if !options.policies.is_empty() {
            std::fs::create_dir(&policies)?;
            for (name, text) in &options.policies {
                std::fs::write(policies.join(name), text)?;
            }
        }
        if let Some(seed) = options.hello_seed {
            let keys = dir.path().join("keys");
            std::fs::DirBuilder::new().mode(0o700).create(&keys)?;
            let key = keys.join("hello.key");
            let mut key = std::fs::File::options().write(true).create_new(true).mode(0o600).open(key)?;
            writeln!(key, "{seed}")?;
        }
        let governor = Self {
            dir,
            host_group: group.agent_host(),
            profile: options.profile,
            launcher: options.launcher.clone(),
            command_launcher: options.command_launcher.clone(),
            child: None,
            retired: vec![],
        };
        let policy_dir = (!options.policies.is_empty()).then_some(policies);
        std::fs::write(
            governor.config_path(),
            config_text(group, server_port, options, policy_dir.as_deref())?,
        )?;
        Ok(governor)
    }

    pub fn launch(&mut self) -> Result<()> {
        self.child = Some(self.launch_with(&[])?);
        Ok(())
    }

    /// A new agent takes over from this one, which goes on with its sessions until they end.
    pub fn take_over(&mut self) -> Result<()> {
        let new = self.launch_with(&["--take-over"])?;
        self.retired.extend(self.child.replace(new));
        Ok(())
    }

    /// Waits until every agent that was taken over from has ended by itself, and well.
    pub fn wait_for_retired(&mut self) -> Result<()> {
        for mut child in std::mem::take(&mut self.retired) {
            let status = wait::until("the old agent to end", wait::PATIENCE, || Ok(child.try_wait()?))?;
            anyhow::ensure!(
                status.success(),
                "the old agent ended with {}:\n{}",
                process::describe(status),
                self.log()
            );
        }
        Ok(())
    }

    /// SIGKILL for the agents that were taken over from.
    pub fn kill_retired(&mut self) -> Result<()> {
        for mut child in std::mem::take(&mut self.retired) {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// An agent that this program did not start itself ends with what is returned.
    pub fn adopt(&self, pid: u32) -> Adopted {
        Adopted(pid)
    }

    fn launch_with(&self, more: &[&str]) -> Result<Child> {
        let (mut ready, notify) = std::io::pipe()?;
        let fd = notify.as_raw_fd();
        let log = std::fs::File::options().create(true).append(true).open(self.log_path())?;
        let mut command = self.run_command()?;
        command.args(["--ready-fd", &fd.to_string()]).args(more);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: fcntl on a descriptor that `notify` keeps open: a plain system call after fork.
        unsafe {
            command.pre_exec(move || match libc::fcntl(fd, libc::F_SETFD, 0) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let mut child = process::spawn(command, libc::SIGTERM)?;
        drop(notify);
        // A byte says ready; the end of the pipe without one says that it will never be.
        let (told, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(ready.read(&mut [0; 1])));
        match answer.recv_timeout(wait::PATIENCE) {
            Ok(Ok(1..)) => Ok(child),
            _ => {
                let ended = child.try_wait().ok().flatten();
                let log = self.log();
                child.kill().ok();
                child.wait().ok();
                bail!("governor did not become ready ({ended:?}); its log:\n{log}")
            }
        }
    }

    /// `governor run …` in its cgroup, as [`Self::launch`] starts it but without the ready descriptor.
    pub fn run_command(&self) -> Result<Command> {
        let mut command = launched(&self.launcher)?;
        command.arg("run").arg("--config").arg(self.config_path());
        command.arg("--state-dir").arg(self.state_dir());
        if let Some(profile) = self.profile {
            command.args(["--profile", profile]);
        }
        cgroup::enter(&mut command, &self.host_group)?;
        Ok(command)
    }

    pub fn state_dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("governor.toml")
    }

    pub fn policy_dir(&self) -> PathBuf {
        self.dir.path().join("policies")
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Whether the agent is still the process that was started.
    pub fn alive(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// SIGSTOP or another signal, as it is.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        process::send_signal(self.pid().context("governor is not running")?, signal)
    }

    /// How an agent ended that something else than this program killed.
    pub fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("governor is not running")?;
        wait::until("governor to end", wait::PATIENCE, || Ok(child.try_wait()?))
    }

    /// Removes what it left in the kernel, as an operator does.
    pub fn detach(&self) -> Result<Finished> {
        self.cli(&["detach"])?.ok()
    }

    /// SIGTERM: drain and end.
    pub fn stop(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .take()
            .map(|mut child| process::stop(&mut child, libc::SIGTERM, wait::PATIENCE))
            .transpose()
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// One command line of this instance: `governor --state-dir DIR ARGS…`.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = launched(&self.command_launcher)?;
        command.arg("--state-dir").arg(self.state_dir()).args(args);
        command.env("NO_COLOR", "1");
        Ok(command)
    }

    pub fn cli(&self, args: &[&str]) -> Result<Finished> {
        process::run(self.command(args)?, wait::PATIENCE)
    }

    /// The command's JSON: one document, or one object a line, as a list either way.
    pub fn json(&self, args: &[&str]) -> Result<Vec<Value>> {
        let all: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let text = self.cli(&all)?.ok()?.out();
        let mut values = Vec::new();
        for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            match value.with_context(|| format!("not JSON: {text:.300}"))? {
                Value::Array(items) => values.extend(items),
                other => values.push(other),
            }
        }
        Ok(values)
    }

    /// Every audit record of this instance, oldest first.
    pub fn records(&self) -> Result<Vec<Value>> {
        self.json(ALL_RECORDS)
    }

    /// Records of one event, such as `statement` or `session_start`.
    pub fn events(&self, event: &str) -> Result<Vec<Value>> {
        Ok(self.records()?.into_iter().filter(|record| text(record, "event") == event).collect())
    }

    /// How many records of one event there are, without holding them all as values.
    pub fn count_records(&self, event: &str) -> Result<usize> {
        let text = process::run(self.command(ALL_RECORDS_JSON)?, wait::PATIENCE * 10)?.ok()?.out();
        let mark = format!("\"event\":\"{event}\"");
        Ok(text.lines().filter(|line| line.contains(&mark)).count())
    }

    /// Waits until a record of `event` satisfies `wanted`: completions arrive after the client has its answer.
    pub fn wait_for_record(&self, event: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        wait::until(&format!("an audit record `{event}`"), wait::PATIENCE, || {
            Ok(self.events(event)?.into_iter().find(|record| wanted(record)))
        })
    }

    /// Id of the oldest request that waits for an answer, once there is one.
    pub fn wait_for_hold(&self) -> Result<String> {
        wait::until("a held statement", wait::PATIENCE, || {
            let pending = self.json(&["approvals", "list"])?;
            Ok(pending.iter().map(|request| text(request, "id")).find(|id| !id.is_empty()))
        })
    }

    /// The Prometheus page.
    pub fn metrics(&self) -> Result<String> {
        let (status, page) = crate::http::get(&self.metrics_address()?, "/metrics")?;
        if status != 200 {
            bail!("/metrics answered {status}");
        }
        Ok(page)
    }

    pub fn metrics_address(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.state_dir().join("metrics.addr"))?.trim().to_owned())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("governor.log")
    }
}

impl Drop for Governor {
    fn drop(&mut self) {
        for child in &mut self.retired {
            process::stop(child, libc::SIGTERM, wait::PATIENCE).ok();
        }
        if let Err(error) = self.stop() {
            eprintln!("governor did not stop: {error:#}");
        }
        // A killed one, or one that keeps its hooks, leaves them: nothing of a test may stay.
        if self.state_dir().join("pins").exists()
            && let Err(error) = self.detach()
        {
            eprintln!("governor's hooks were not removed: {error:#}");
        }
        if std::thread::panicking() {
            eprintln!("--- governor's log\n{}", self.log());
        }
    }
}

/// An agent by its process id: stopped when this is dropped.
#[derive(Debug)]
pub struct Adopted(u32);

impl Drop for Adopted {
    fn drop(&mut self) {
        process::send_signal(self.0, libc::SIGTERM).ok();
        let gone = wait::until("the adopted agent to end", wait::PATIENCE, || {
            Ok((!Path::new("/proc").join(self.0.to_string()).exists()).then_some(()))
        });
        if let Err(error) = gone {
            eprintln!("pid {}: {error:#}", self.0);
            process::send_signal(self.0, libc::SIGKILL).ok();
        }
    }
}

/// The text at `key` of a record, in the envelope or in the record inside it; empty where absent.
pub fn text(record: &Value, key: &str) -> String {
    match field(record, key) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The value at `key` of a record, in the envelope or in the record inside it; null where absent.
pub fn field<'r>(record: &'r Value, key: &str) -> &'r Value {
    record.get(key).or_else(|| record.get("record").and_then(|inner| inner.get(key))).unwrap_or(&Value::Null)
}

/// The binary under test: `GOVERNOR_BIN`, else the newest build beside this program.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GOVERNOR_BIN") {
        return Ok(path.into());
    }
    let me = std::env::current_exe()?;
    me.ancestors()
        .skip(1)
        .take(3)
        .map(|dir| dir.join("governor"))
        .find(|path| path.is_file())
        .context("no governor binary: run `cargo xtask build`, or set GOVERNOR_BIN")
}

/// The binary, started by a launcher where there is one.
fn launched(launcher: &[String]) -> Result<Command> {
    let binary = binary()?;
    let Some((program, arguments)) = launcher.split_first() else { return Ok(Command::new(binary)) };
    let mut command = Command::new(program);
    command.args(arguments).arg(binary);
    Ok(command)
}

fn config_text(group: &Cgroup, port: u16, options: &Options, policies: Option<&Path>) -> Result<String> {
    let mut text = format!(
        "[capture]\nown_cgroup = {:?}\non_stop = {:?}\n\n[[capture.rules]]\ncgroup = {:?}\nports = [{port}]\n\
         when_down = {:?}\ntls = {:?}\n\n",
        group.kernel_name(&group.agent_host())?,
        options.on_stop,
        group.kernel_name(&if options.captures_agent {
            group.path().to_path_buf()
        } else {
            group.clients()
        })?,
        options.when_down,
        options.tls,
    );
    for class in Class::ALL {
        let name = group.kernel_name(&group.client(class))?;
        writeln!(
            text,
            "[[identity.assign]]\ncgroup = \"{name}*\"\nclass = \"{}\"\ngroups = []\n",
            class.as_str()
        )?;
    }
    if let Some(directory) = policies {
        writeln!(text, "[policy]\ndirectory = {directory:?}\n")?;
    }
    writeln!(text, "[approvals]\nself_approval_as_root = true\ntimeout = {:?}\n", options.approval_timeout)?;
    writeln!(text, "[metrics]\nlisten = \"127.0.0.1:0\"\n\n{}", options.more)?;
    Ok(text)
}

const ALL_RECORDS_JSON: &[&str] = &["audit", "search", "--limit", "0", "--json"];
const ALL_RECORDS: &[&str] = &["audit", "search", "--limit", "0"];
