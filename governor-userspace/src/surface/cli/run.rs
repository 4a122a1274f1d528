//! `governor run`.

use super::globals::Globals;
use crate::app::{Profile, RunOptions};
use std::os::fd::RawFd;
use std::process::ExitCode;

/// Govern this host's database traffic until told to stop
///
/// Loads the kernel programs, attaches them to the cgroups that the configuration names, and governs
/// every connection to the captured ports, and takes over the unix sockets that it names. Needs root, or CAP_BPF, CAP_PERFMON,
/// CAP_NET_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; CAP_SYS_ADMIN for containers, more for unix sockets.
/// `governor doctor` says what this host lacks. SIGTERM drains: open sessions finish, new
/// connections are refused or pass as the rules say. SIGHUP reads policy, and the keys of hellos, again (`governor reload`). Works under systemd with Type=notify.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sudo governor run\n  \
    sudo governor run --profile observe        record everything, change nothing\n  \
    sudo governor run --config ./my.toml --state-dir /tmp/mine    a second instance beside the first")]
pub struct RunArgs {
    /// Go only this far, whatever the configuration says
    #[arg(long, value_enum)]
    pub profile: Option<Profile>,

    /// Take over from the agent that runs on this state directory, without refusing a connection
    ///
    /// The old one finishes its sessions and ends. `governor upgrade` has the old one start the new one this way.
    #[arg(long)]
    pub take_over: bool,

    /// Write READY and a line break to this descriptor once connections are governed, then close it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..))]
    pub ready_fd: Option<RawFd>,
}

pub fn run(args: RunArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let options = RunOptions {
        config: globals.config.clone(),
        state_dir: globals.state_dir.clone(),
        profile: args.profile,
        take_over: args.take_over,
        ready_fd: args.ready_fd,
    };
    crate::app::run(options, &crate::surface::api::Api)
}
