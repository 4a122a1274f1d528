//! A network namespace that programs are started in, while the test itself stays outside. It lives as long as its owner,
//! or a process in it.

use crate::{process, wait};
use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Opened, with loopback up and nothing else.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    pub fn create() -> Result<Self> {
        // A thread of its own: it stays in the namespace that it makes.
        let made = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace (root?)")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        });
        let network = Self(made.join().map_err(|_| anyhow!("the thread panicked"))??);
        network.ip(&["link", "set", "lo", "up"])?;
        Ok(network)
    }

    /// A path by which other programs can open it, for as long as this lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Makes `command` start in it.
    pub fn enter(&self, command: &mut Command) -> Result<()> {
        let namespace = self.0.try_clone()?;
        // SAFETY: one system call on an open descriptor: allowed between fork and exec.
        unsafe {
            command
                .pre_exec(move || setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
        }
        Ok(())
    }

    /// Runs `ip` in it.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        let mut ip = Command::new("ip");
        ip.args(arguments);
        self.enter(&mut ip)?;
        process::run(ip, wait::PATIENCE)?.ok().with_context(|| format!("ip {}", arguments.join(" ")))?;
        Ok(())
    }

    /// Loads rules of nftables in it.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let mut nft = Command::new("nft");
        nft.args(["-f", "-"]);
        self.enter(&mut nft)?;
        process::Running::start(nft, rules.as_bytes())?.finish(wait::PATIENCE)?.ok().context("nft")?;
        Ok(())
    }

    /// A pair of devices: one end here, the other in `other`.
    pub fn cable(&self, other: &Self, here: &str, there: &str) -> Result<()> {
        self.ip(&["link", "add", here, "type", "veth", "peer", "name", there, "netns", &other.path()])
    }

    /// Does something in it, on a thread of its own.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| -> Result<T> {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            done.join().map_err(|_| anyhow!("the thread panicked"))?
        })
    }
}
