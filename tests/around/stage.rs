//! What an attack stands on: a server that is reachable by every address of the test's namespace, an agent in front of
//! it, and the attacker's one question, whose answer in clear would be a secret.

use governor_tests::governor::{field, text};
use governor_tests::{Auth, Class, Options, Running, Site, cgroup, client, network, process, wait};
use serde_json::Value;
use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// As whom the attacker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Nobody's rights: what any program has.
    Nobody,
    /// Root, without being outside of the captured cgroup.
    Root,
}

pub struct Stage {
    pub site: Site,
    secret: String,
    asked: Cell<u32>,
}

/// What the attacker was told.
#[derive(Debug)]
pub struct Answer {
    pub way: String,
    pub pid: u32,
    pub marker: String,
    /// All lines but the process id.
    pub lines: Vec<String>,
}

impl Answer {
    pub fn outcome(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// Why this kernel has no such way.
    pub fn absent(&self) -> Option<&str> {
        self.outcome().strip_prefix("absent ")
    }
}

impl Stage {
    pub fn set() -> Self {
        Self::with(Options::default())
    }

    pub fn with(mut options: Options) -> Self {
        // The host's own address, on a cable that leads nowhere.
        network::cable("cable0", "cable1").unwrap();
        network::ip(&["addr", "add", "10.77.0.1/24", "dev", "cable0"]).unwrap();
        network::ip(&["addr", "add", "fd77::1/64", "dev", "cable0", "nodad"]).unwrap();
        for end in ["cable0", "cable1"] {
            network::up(end).unwrap();
        }
        options.server_settings.extend(["listen_addresses=*", "log_statement=all"]);
        let site = Site::with(Auth::Trust, &options).unwrap();
        site.postgres.authenticate("host all all all trust").unwrap();
        let secret = site.truth("SELECT ssn FROM people WHERE id = 1").unwrap();
        Self { site, secret, asked: Cell::new(0) }
    }

    pub fn port(&self) -> u16 {
        self.site.postgres.port()
    }

    /// The attacker in the cgroup of AI agents.
    pub fn ask(&self, user: User, way: &str, host: &str, more: &[&str]) -> Answer {
        self.ask_from(&self.site.group.client(Class::Agent), user, way, host, more)
    }

    pub fn ask_from(&self, cgroup: &Path, user: User, way: &str, host: &str, more: &[&str]) -> Answer {
        let (command, marker) = self.attacker(cgroup, user, way, (host, self.port()), more);
        let finished = process::run(command, wait::PATIENCE * 2).unwrap();
        assert!(finished.status.success(), "{way} {host}: {}", finished.all());
        answer(way, marker, finished.out().lines().map(str::to_owned).collect())
    }

    /// The program of one attack, and what marks its question.
    pub fn attacker(
        &self,
        cgroup: &Path,
        user: User,
        way: &str,
        to: (&str, u16),
        more: &[&str],
    ) -> (Command, String) {
        let number = self.asked.get() + 1;
        self.asked.set(number);
        let marker = format!("around-{number:03}");
        let mut command = client::outside(PYTHON, to.1);
        let question = format!("SELECT ssn, '{marker}' FROM people WHERE id = 1");
        command.args(["-ISc", CLIENT, way, to.0, &to.1.to_string(), &question]).args(more);
        command.current_dir("/");
        if user == User::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        cgroup::enter(&mut command, cgroup).unwrap();
        (command, marker)
    }

    /// The answer came through governor: masked, and on record under the process that asked.
    pub fn assert_governed(&self, answer: &Answer) {
        self.assert_recorded(answer, answer.pid);
        assert!(!answer.outcome().contains(&self.secret), "{} shows the secret: {answer:?}", answer.way);
    }

    /// It is on record under this process, which may be of a class that nothing is masked for.
    pub fn assert_recorded(&self, answer: &Answer, pid: u32) {
        let shown = answer.outcome();
        assert!(shown.starts_with("rows ") && shown.contains(&answer.marker), "{answer:?}");
        let records = self.records_of(&answer.marker);
        assert_eq!(records.len(), 1, "{}: statements on record", answer.way);
        let recorded = field(&records[0], "pid").as_u64();
        assert_eq!(recorded, Some(u64::from(pid)), "{}: whose statement: {:?}", answer.way, records[0]);
    }

    /// The kernel said no, and the server never heard of it.
    pub fn assert_refused(&self, answer: &Answer, errno: &str) {
        assert_eq!(answer.outcome(), format!("errno {errno}"), "{answer:?}");
        assert_eq!(self.heard(&answer.marker), 0, "{answer:?}");
    }

    pub fn records_of(&self, marker: &str) -> Vec<Value> {
        let mut records = self.site.governor.events("statement").unwrap();
        records.retain(|record| text(record, "text").contains(marker));
        records
    }

    /// How often the server was asked this, by its own log.
    pub fn heard(&self, marker: &str) -> usize {
        self.site.postgres.log().lines().filter(|line| line.contains(marker)).count()
    }

    /// The audit and the server's own log tell the same number of questions: none went around.
    pub fn assert_nothing_went_around(&self) {
        let recorded = self.records_of("around-").len();
        let heard = self.heard("around-");
        assert_eq!(heard, recorded, "questions that the server heard, and those on record");
    }

    /// A number of the metrics page, over all labels.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.site.governor.metrics().unwrap();
        let samples = page
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }
}

/// An attacker that waits for its moment.
pub struct Talk {
    way: String,
    marker: String,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    lines: Vec<String>,
}

impl Talk {
    pub fn start(way: &str, (mut command, marker): (Command, String)) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process::spawn(command, libc::SIGKILL).unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { way: way.to_owned(), marker, child, stdin, stdout, lines: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads until it says `ready`.
    pub fn ready(mut self) -> Self {
        loop {
            let mut line = String::new();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "{} ended: {:?}", self.way, self.lines);
            match line.trim_end() {
                "ready" => return self,
                other => self.lines.push(other.to_owned()),
            }
        }
    }

    pub fn said(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }

    /// Gives the word and waits for the end.
    pub fn go(mut self) -> Answer {
        // It may have ended by itself.
        self.stdin.write_all(b"\n").ok();
        let mut lines = std::mem::take(&mut self.lines);
        lines.extend(self.stdout.by_ref().lines().map(Result::unwrap));
        assert!(self.child.wait().unwrap().success(), "{}: {lines:?}", self.way);
        answer(&self.way, std::mem::take(&mut self.marker), lines)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Lets `command` inherit the descriptor under its own number.
pub fn inherit(command: &mut Command, descriptor: OwnedFd) -> String {
    let number = descriptor.as_raw_fd();
    // SAFETY: one system call between fork and exec, on a descriptor that the closure keeps open.
    unsafe {
        command.pre_exec(move || match libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFD, 0) {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    number.to_string()
}

fn answer(way: &str, marker: String, mut lines: Vec<String>) -> Answer {
    let pid = lines.iter().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap();
    lines.retain(|line| !line.starts_with("pid "));
    Answer { way: way.to_owned(), pid, marker, lines }
}

/// A program outside of governor's sight, as root; its output.
pub fn tool(program: &str, arguments: &[&str], stdin: &str) -> process::Finished {
    let mut command = Command::new(program);
    command.args(arguments);
    Running::start(command, stdin.as_bytes()).unwrap().finish(wait::PATIENCE).unwrap()
}

const PYTHON: &str = "/usr/bin/python3";
const CLIENT: &str = include_str!("client.py");
const NOBODY: u32 = 65534;
