//! Reads one process from procfs, and only that one.
//!
//! Invariant: everything is read through one open `/proc/PID` directory. The kernel ties that descriptor
//! to the process, not to the number: once the process is gone reads fail, also when the pid is in use
//! again. Every read is bounded.
//!
//! Source: proc(5); field numbers of `/proc/PID/stat` are those of that page.

use super::secrets::printable;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstatat};
use nix::sys::uio::pread;
use nix::unistd::{SysconfVar, read, sysconf};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A mounted procfs.
#[derive(Debug)]
pub(super) struct Procfs {
    root: PathBuf,
    ticks_per_second: u64,
}

/// One process, whatever happens to its pid.
#[derive(Debug)]
pub(super) struct Process {
    directory: OwnedFd,
}

/// A process that is looked at again and again: what of it changes with its program, in two system calls.
#[derive(Debug)]
pub(super) struct Watched {
    process: Process,
    stat: OwnedFd,
}

impl Watched {
    /// What it is now, and the path of its executable; `None` once it is gone.
    pub(super) fn look(&self) -> Option<(Stat, Option<String>)> {
        // Written as one record that is shorter than this.
        let mut bytes = [0; SMALL_BYTES_MAX];
        let filled = pread(&self.stat, &mut bytes, 0).ok()?;
        Some((parse_stat(bytes.get(..filled)?)?, self.process.executable_path()))
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub parent: u32,
    /// Controlling terminal as a device number; 0 where there is none.
    pub terminal: u32,
    /// Clock ticks since boot.
    pub start_ticks: u64,
    pub image: Image,
}

/// Where the running program lies in memory: changes with `execve`, so it tells one program of a process
/// from the next. All zero where governor may not see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    code: u64,
    stack: u64,
    arguments: u64,
    environment: u64,
}

impl Image {
    /// Whether governor may see it at all.
    pub(super) fn is_known(&self) -> bool {
        *self != Self::default()
    }
}

/// Credentials from `/proc/PID/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Real, effective, saved and file system uid.
    pub uids: Vec<u32>,
    pub groups: Vec<u32>,
}

/// The path of an executable as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Executable {
    pub path: String,
    /// The path names the same file for governor as for the process. Otherwise it was deleted or lies in
    /// another mount namespace, which an unprivileged user can arrange to show any path.
    pub on_host: bool,
}

impl Procfs {
    pub(super) fn new(root: PathBuf) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|t| u64::try_from(t).ok());
        Self { root, ticks_per_second: ticks.filter(|&t| t > 0).unwrap_or(100) }
    }

    /// `None` where there is no such process.
    pub(super) fn open(&self, pid: u32) -> Option<Process> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let path = self.root.join(pid.to_string());
        nix::fcntl::open(&path, flags, Mode::empty()).ok().map(|directory| Process { directory })
    }

    /// Ticks since boot in nanoseconds.
    pub(super) fn ticks_ns(&self, ticks: u64) -> u64 {
        let ns = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks_per_second);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    pub(super) fn tick_ns(&self) -> u64 {
        self.ticks_ns(1)
    }

    #[cfg(test)]
    pub(super) fn ticks_per_second_for_tests(&self) -> u64 {
        self.ticks_per_second
    }
}

impl Process {
    pub(super) fn stat(&self) -> Option<Stat> {
        parse_stat(&self.read("stat", SMALL_BYTES_MAX).ok()?.bytes)
    }

    /// Keeps it and its `stat` open: two descriptors.
    pub(super) fn watch(self) -> Option<Watched> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let stat = openat(&self.directory, "stat", flags, Mode::empty()).ok()?;
        Some(Watched { process: self, stat })
    }

    pub(super) fn credentials(&self) -> Option<Credentials> {
        Some(parse_status(&self.read("status", STATUS_BYTES_MAX).ok()?.bytes))
    }

    /// The uid that logged in; `None` where nobody did, or where the kernel does not keep it.
    pub(super) fn login_uid(&self) -> Option<u32> {
        self.number("loginuid")
    }

    /// The audit session number of the login.
    pub(super) fn login_session(&self) -> Option<u32> {
        self.number("sessionid")
    }

    /// Path of the cgroup in the unified hierarchy, below its mount.
    pub(super) fn cgroup(&self) -> Option<String> {
        let text = self.read("cgroup", STATUS_BYTES_MAX).ok()?.bytes;
        let line = text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
        let path = String::from_utf8_lossy(line);
        Some(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
    }

    pub(super) fn executable(&self) -> Option<Executable> {
        let link = readlinkat(&self.directory, "exe").ok()?;
        let here = nix::sys::stat::stat(Path::new(&link)).ok();
        let there = fstatat(&self.directory, "exe", AtFlags::empty()).ok();
        let on_host = match (here, there) {
            (Some(a), Some(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
            _ => false,
        };
        Some(Executable { path: printable(&String::from_utf8_lossy(link.as_bytes())), on_host })
    }

    /// The path of the executable as the kernel shows it, whatever it leads to.
    pub(super) fn executable_path(&self) -> Option<String> {
        readlinkat(&self.directory, "exe")
            .ok()
            .map(|link| printable(&String::from_utf8_lossy(link.as_bytes())))
    }

    /// The file that it runs, whatever its path leads to by now.
    pub(super) fn executable_file(&self) -> Option<std::fs::File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        openat(&self.directory, "exe", flags, Mode::empty()).ok().map(Into::into)
    }

    /// The raw command line and whether it is all of it; `None` where it may not be read.
    pub(super) fn command_line(&self) -> Option<(Vec<u8>, bool)> {
        self.read("cmdline", COMMAND_LINE_BYTES_MAX).ok().map(|file| (file.bytes, file.whole))
    }

    pub(super) fn command(&self) -> Option<String> {
        let bytes = self.read("comm", SMALL_BYTES_MAX).ok()?.bytes;
        Some(printable(String::from_utf8_lossy(&bytes).trim_end_matches('\n')))
    }

    /// Calls `name` with the name of every environment variable that the program was started with.
    /// Values are dropped unseen. `false` where the environment may not be read.
    pub(super) fn environment_names(&self, mut name: impl FnMut(&str)) -> bool {
        let Ok(file) = self.read("environ", ENVIRONMENT_BYTES_MAX) else { return false };
        for entry in file.bytes.split(|&b| b == 0) {
            let Some(end) = memchr::memchr(b'=', entry) else { continue };
            if let Some(Ok(text)) = entry.get(..end).map(std::str::from_utf8) {
                name(text);
            }
        }
        true
    }

    fn number(&self, file: &str) -> Option<u32> {
        let bytes = self.read(file, SMALL_BYTES_MAX).ok()?.bytes;
        let number: u32 = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
        (number != UNSET).then_some(number)
    }

    fn read(&self, file: &str, bytes_max: usize) -> Result<Bounded, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(&self.directory, file, flags, Mode::empty())?;
        let mut bytes = vec![0; bytes_max.min(CHUNK_BYTES)];
        let mut filled = 0;
        loop {
            let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) else {
                if filled >= bytes_max {
                    return Ok(Bounded { bytes, whole: false });
                }
                bytes.resize((filled * 4).min(bytes_max), 0);
                continue;
            };
            let room_bytes = room.len();
            match read(&fd, room) {
                Ok(0) => {
                    bytes.truncate(filled);
                    return Ok(Bounded { bytes, whole: true });
                }
                // procfs answers a file of one record at once, as far as there is room.
                Ok(count)
                    if count < room_bytes && filled + count < CHUNK_BYTES && SHORT_FILES.contains(&file) =>
                {
                    bytes.truncate(filled + count);
                    return Ok(Bounded { bytes, whole: true });
                }
                Ok(count) => filled += count,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// At most the wanted number of bytes of a file.
struct Bounded {
    bytes: Vec<u8>,
    /// The file had no more.
    whole: bool,
}

/// The second field, the command, is in parentheses and may itself contain any character.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let end = memchr::memrchr(b')', bytes)?;
    let rest = std::str::from_utf8(bytes.get(end + 1..)?).ok()?;
    let mut fields = [""; STAT_FIELDS_COUNT];
    for (field, text) in fields.iter_mut().zip(rest.split_ascii_whitespace()) {
        *field = text;
    }
    // Fields count from 1 in proc(5), and the first after the command is field 3.
    let field = |number: usize| fields.get(number - 3).copied();
    let address = |number| field(number).and_then(|f| f.parse().ok()).unwrap_or(0);
    Some(Stat {
        parent: field(4)?.parse().ok()?,
        // Shown as a signed number.
        terminal: field(7)?.parse::<i32>().ok()?.cast_unsigned(),
        start_ticks: field(22)?.parse().ok()?,
        image: Image {
            code: address(26),
            stack: address(28),
            arguments: address(48),
            environment: address(50),
        },
    })
}

fn parse_status(bytes: &[u8]) -> Credentials {
    let mut credentials = Credentials::default();
    let numbers =
        |line: &str| line.split_ascii_whitespace().filter_map(|n| n.parse().ok()).take(GROUPS_MAX).collect();
    // A process chooses the first line, its name; the kernel escapes line breaks in it.
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Some(rest) = line.strip_prefix("Uid:") {
            credentials.uids = numbers(rest);
        } else if let Some(rest) = line.strip_prefix("Groups:") {
            credentials.groups = numbers(rest);
        }
    }
    credentials
}

/// Of `stat`, from field 3 to the last that is read, 50.
const STAT_FIELDS_COUNT: usize = 48;
/// What the kernel writes for a login uid or session that was never set.
const UNSET: u32 = u32::MAX;
const SMALL_BYTES_MAX: usize = 4096;
/// Holds the line of groups of a user in a thousand of them.
const STATUS_BYTES_MAX: usize = 32 * 1024;
const COMMAND_LINE_BYTES_MAX: usize = 16 * 1024;
const ENVIRONMENT_BYTES_MAX: usize = 256 * 1024;
const CHUNK_BYTES: usize = 4096;
/// Files that the kernel writes as one record: a read that leaves room has got all of it.
const SHORT_FILES: [&str; 5] = ["stat", "status", "cgroup", "loginuid", "sessionid"];
const GROUPS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn stat_line(command: &str) -> String {
        let mut fields = vec!["0"; 50];
        (fields[0], fields[1], fields[4], fields[19]) = ("S", "77", "34819", "123456");
        (fields[23], fields[25], fields[45], fields[47]) = ("1", "2", "3", "4");
        format!("4711 ({command}) {}\n", fields.join(" "))
    }

    #[test]
    fn stat_survives_hostile_commands() {
        let expected = Stat {
            parent: 77,
            terminal: 34819,
            start_ticks: 123_456,
            image: Image { code: 1, stack: 2, arguments: 3, environment: 4 },
        };
        for command in ["psql", "a b", "x) S 1 1", ")", "(((", "a\nb", ""] {
            assert_eq!(parse_stat(stat_line(command).as_bytes()), Some(expected), "{command}");
        }
        let mut bytes = stat_line("?").into_bytes();
        bytes[6] = 0xff;
        assert_eq!(parse_stat(&bytes), Some(expected), "not UTF-8");
    }

    #[test]
    fn broken_stat_is_no_process() {
        for text in ["", "4711 (psql", "4711 (psql) S", "4711 (psql) S x 1 1 0", "4711 (psql) S 1 1 1 0 1"] {
            assert_eq!(parse_stat(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn status_gives_all_uids_and_groups() {
        let text =
            "Name:\tUid:\\n0\nUmask:\t0022\nUid:\t1000\t0\t0\t1000\nGid:\t5\t5\t5\t5\nGroups:\t4 24 27 \n";
        let parsed = parse_status(text.as_bytes());
        assert_eq!(parsed, Credentials { uids: vec![1000, 0, 0, 1000], groups: vec![4, 24, 27] });
        assert_eq!(parse_status(b""), Credentials::default());
    }

    #[test]
    fn a_dead_process_reads_as_nothing_through_its_open_directory() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Procfs::new("/proc".into()).open(child.id()).unwrap();
        let watched = Procfs::new("/proc".into()).open(child.id()).unwrap().watch().unwrap();
        // Spawning ends when the new memory is there, a moment before it is said where the program lies in it.
        while process.stat().unwrap().image.code == 0 {
            std::thread::yield_now();
        }
        for _ in 0..2 {
            assert_eq!(watched.look(), process.stat().map(|stat| (stat, process.executable_path())));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.stat(), None);
        assert_eq!(process.executable(), None);
        assert!(watched.look().is_none());
        assert!(!process.environment_names(|_| ()));
    }

    #[test]
    fn reads_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("7");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("cmdline"), vec![b'x'; 3 * COMMAND_LINE_BYTES_MAX]).unwrap();
        std::fs::write(directory.join("comm"), "short\n").unwrap();
        let process = Procfs::new(root.path().into()).open(7).unwrap();
        let (bytes, whole) = process.command_line().unwrap();
        assert_eq!((bytes.len(), whole), (COMMAND_LINE_BYTES_MAX, false));
        assert_eq!(process.command().as_deref(), Some("short"));
    }
}
