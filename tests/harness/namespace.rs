//! A network namespace of the test's own, as a container has one: own loopback, own interfaces, own routes.
//!
//! A process that only waits holds it; commands enter it before they start. Nothing is ever changed in the
//! host's own namespace: interfaces between namespaces are made inside one of them and given to the other.

use crate::process::{self, Finished};
use crate::wait;
use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Ends with its owner, if nobody else keeps it.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
    handle: File,
}

impl Namespace {
    /// A new one whose loopback is up. Needs root.
    pub fn create() -> Result<Self> {
        let namespace = Self::create_down()?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A new one as the kernel makes it: its loopback is down.
    pub fn create_down() -> Result<Self> {
        let mut holder = Command::new("sleep");
        holder.arg("infinity").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: unshare is a plain system call: no allocation, no lock, allowed between fork and exec.
        unsafe {
            holder.pre_exec(|| match libc::unshare(libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let holder = process::spawn(holder, libc::SIGKILL).context("a network namespace (root?)")?;
        let handle = File::open(format!("/proc/{}/ns/net", holder.id()))?;
        Ok(Self { holder, handle })
    }

    /// The process that holds it.
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// Its number, as `lsns` shows it.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.handle.metadata()?.ino())
    }

    /// Makes `command` start inside. Before anything that gives up root.
    pub fn enter(&self, command: &mut Command) -> Result<()> {
        let handle = File::from(self.handle.as_fd().try_clone_to_owned()?);
        // SAFETY: setns is a plain system call on an open descriptor, allowed between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::setns(handle.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Ok(())
    }

    /// `ip` with these arguments, inside.
    pub fn ip(&self, arguments: &str) -> Result<Finished> {
        self.run("ip", arguments)
    }

    /// A setting below `net.` that belongs to the namespace, such as `ipv4.ip_local_port_range`.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        let script = format!("echo {value} > /proc/sys/net/{}", name.replace('.', "/"));
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        self.enter(&mut shell)?;
        process::run(shell, wait::PATIENCE)?.ok().with_context(|| name.to_owned())?;
        Ok(())
    }

    /// Loads rules of nftables inside.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut nft = Command::new("nft");
        nft.args(["-f", "-"]);
        self.enter(&mut nft)?;
        process::Running::start(nft, rules.as_bytes())?.finish(wait::PATIENCE)?.ok().context("nft")?;
        Ok(())
    }

    /// A cable to another namespace: `name` here, `other_name` there, with these addresses, both up.
    pub fn connect(&self, name: &str, address: &str, other: &Self, other_name: &str) -> Result<()> {
        self.ip(&format!("link add {name} type veth peer name {other_name} netns {}", other.pid()))?;
        if !address.is_empty() {
            self.ip(&format!("address add {address} dev {name} nodad"))?;
        }
        self.ip(&format!("link set {name} up"))?;
        other.ip(&format!("link set {other_name} up"))?;
        Ok(())
    }

    /// Does something inside, on a thread of its own.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| -> Result<T> {
                setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            done.join().map_err(|_| anyhow!("the thread panicked"))?
        })
    }

    fn run(&self, program: &str, arguments: &str) -> Result<Finished> {
        let mut command = Command::new(program);
        command.args(arguments.split(' '));
        self.enter(&mut command)?;
        process::run(command, wait::PATIENCE)?.ok().with_context(|| format!("{program} {arguments}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
