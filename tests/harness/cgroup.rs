//! A cgroup of the test's own, with one child for the agent and one for each class of client.
//!
//! Kernel hooks are attached below this group only, so a test never touches the rest of the host.
//! Layout: `NAME/agent-host` for governor itself, `NAME/clients/{service,person,agent}` for clients.

use crate::wait;
use anyhow::{Context, Result, bail};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The class that the test's configuration assigns to a child group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Service,
    Person,
    Agent,
}

impl Class {
    pub const ALL: [Class; 3] = [Class::Service, Class::Person, Class::Agent];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Person => "person",
            Self::Agent => "agent",
        }
    }
}

/// Owns the directory tree; removed on drop after whatever is left inside was ended.
#[derive(Debug)]
pub struct Cgroup {
    mount: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Makes `PREFIX-PID-N` below the cgroup v2 mount. Needs root.
    pub fn create(prefix: &str) -> Result<Self> {
        Self::named(prefix, "")
    }

    /// The same with a name by which it counts as a slice of the host's own: what is made in it are its units and containers.
    pub fn slice(prefix: &str) -> Result<Self> {
        Self::named(prefix, ".slice")
    }

    fn named(prefix: &str, suffix: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mount = mount_point()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = mount.join(format!("{prefix}-{}-{number}{suffix}", std::process::id()));
        let group = Self { mount, path };
        for child in ["agent-host", "clients/service", "clients/person", "clients/agent"] {
            std::fs::create_dir_all(group.path.join(child))
                .with_context(|| format!("cannot make a cgroup below {} (root?)", group.mount.display()))?;
        }
        Ok(group)
    }

    /// The whole group, as a path in the file system.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where governor runs.
    pub fn agent_host(&self) -> PathBuf {
        self.path.join("agent-host")
    }

    /// The group whose connections are captured.
    pub fn clients(&self) -> PathBuf {
        self.path.join("clients")
    }

    pub fn client(&self, class: Class) -> PathBuf {
        self.clients().join(class.as_str())
    }

    /// A path of this tree as the kernel names it: from the mount down, starting with `/`.
    pub fn kernel_name(&self, path: &Path) -> Result<String> {
        Ok(format!("/{}", path.strip_prefix(&self.mount)?.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let limit = Duration::from_secs(5);
        let removed = wait::until("the cgroup to be empty", limit, || {
            // Writing 1 ends every process of the group and below: all were started by this program.
            std::fs::write(self.path.join("cgroup.kill"), "1").ok();
            Ok(remove_tree(&self.path).ok())
        });
        if let Err(error) = removed {
            eprintln!("left behind {}: {error:#}", self.path.display());
        }
    }
}

/// Makes `command` start inside the group at `path`.
pub fn enter(command: &mut Command, path: &Path) -> Result<()> {
    let mut procs = procs_file(path)?;
    // SAFETY: one write system call on an open descriptor: allowed between fork and exec.
    unsafe { command.pre_exec(move || procs.write_all(b"0")) };
    Ok(())
}

/// The group that this program runs in.
pub fn own() -> Result<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).context("no cgroup v2")?;
    Ok(mount_point()?.join(path.trim_start_matches('/')))
}

/// Opened by us, so that the kernel checks *our* right to move processes, whoever the writer becomes.
pub fn procs_file(path: &Path) -> Result<File> {
    let procs = path.join("cgroup.procs");
    OpenOptions::new().write(true).open(&procs).with_context(|| format!("opening {}", procs.display()))
}

/// The cgroup v2 mount, wherever this host has it.
pub fn mount_point() -> Result<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    for line in table.lines() {
        // ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPER
        let Some((before, after)) = line.split_once(" - ") else { continue };
        if after.split(' ').next() != Some("cgroup2") {
            continue;
        }
        let point = before.split(' ').nth(4).context("mountinfo line is short")?;
        return Ok(PathBuf::from(point.replace("\\040", " ")));
    }
    bail!("no cgroup v2 mount on this host (mount -t cgroup2 none /some/where)")
}

fn remove_tree(path: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    // The kernel's own files in a cgroup go with the directory.
    std::fs::remove_dir(path)
}
