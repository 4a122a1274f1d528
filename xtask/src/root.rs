//! Being root, where that is needed: kernel programs, cgroups and package installation ask for it.

use crate::shell;
use anyhow::{Result, bail};
use std::os::unix::process::CommandExt;
use std::process::Command;

pub fn is_root() -> bool {
    // SAFETY: reads a number of this process.
    unsafe { libc::geteuid() == 0 }
}

/// `command` as root: as it is, or by sudo. `None` where neither is possible.
pub fn command(program: &str) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    shell::has("sudo").then(|| {
        let mut sudo = Command::new("sudo");
        sudo.arg(format!("--preserve-env={}", KEPT.join(","))).arg(program);
        sudo
    })
}

/// Runs this same command line again as root, where we are not root yet. What was built stays the user's.
pub fn ensure(purpose: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    let me = std::env::current_exe()?;
    let Some(mut again) = command(&me.to_string_lossy()) else {
        bail!("{purpose} needs root, and there is no sudo here: run it as root");
    };
    println!("{purpose} needs root: asking sudo");
    Err(again.args(std::env::args_os().skip(1)).exec().into())
}

/// What the tests, the demo and cargo itself read from the environment.
const KEPT: [&str; 7] =
    ["PATH", "GOVERNOR_BIN", "GOVERNOR_PG_BIN", "CARGO_TARGET_DIR", "CI", "NO_COLOR", "GOVERNOR_EBPF_OBJECT"];
