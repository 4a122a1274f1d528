//! `governor detach`.

use super::globals::Globals;
use super::text::safe;
use crate::host::kernel::remains::Remains;
use crate::host::unix;
use anyhow::bail;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Take off what an agent left in the kernel
///
/// Works without a running agent: after a stop that kept the hooks (`capture.on_stop = "keep"`), after a kill, and
/// before governor is uninstalled. From then on connections go direct. What a living agent holds is not touched;
/// stop it first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sudo governor detach                  of this instance (--state-dir)\n  \
    sudo governor detach --all            of every instance on this host\n  \
    sudo governor detach --all --dry-run  show what there is\n\n\
    Exit status: 0 nothing is left, 1 something could not be removed, or an agent holds it")]
pub struct DetachArgs {
    /// Of every governor on this host, wherever its state directory is or was
    #[arg(long)]
    all: bool,

    /// With --all: only hooks on this cgroup and below it
    #[arg(long, value_name = "DIR", requires = "all")]
    cgroup: Option<PathBuf>,

    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub fn run(args: &DetachArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let find = || match args.all {
        true => Remains::of_host(args.cgroup.as_deref()),
        false => Remains::of_instance(&globals.state_dir.join("pins")),
    };
    let remains = find()?;
    let states = state_dirs(args, globals, &remains);
    let mut sockets = Vec::new();
    for state in &states {
        sockets.extend(unix::taken(state)?);
    }
    if globals.json {
        println!("{}", serde_json::to_string_pretty(&Shown { remains: &remains, sockets: &sockets })?);
    } else {
        print!("{}", page(&remains));
        sockets.iter().for_each(|path| println!("socket {}", safe(&path.display().to_string())));
    }
    if args.dry_run || (remains.is_empty() && sockets.is_empty()) {
        return Ok(ExitCode::SUCCESS);
    }
    let holders = remains.held_by();
    if !holders.is_empty() {
        let pids: Vec<String> = holders.iter().map(ToString::to_string).collect();
        bail!(
            "nothing was removed: governor is running (pid {}); stop it first, with systemctl stop governor or SIGTERM",
            pids.join(", ")
        );
    }
    for state in &states {
        unix::release(state)?;
    }
    remains.remove()?;
    let left = find()?;
    if !left.hooks.is_empty() || left.pins.iter().any(|place| !place.generations.is_empty()) {
        bail!("some of it is still there:\n{}", page(&left));
    }
    if !globals.json {
        println!("removed; connections go direct");
    }
    Ok(ExitCode::SUCCESS)
}

/// Where agents wrote down which unix sockets they took over.
fn state_dirs(args: &DetachArgs, globals: &Globals, remains: &Remains) -> Vec<PathBuf> {
    let mut states = vec![globals.state_dir.clone()];
    if args.all {
        // The pins of an instance are in its state directory.
        states.extend(remains.pins.iter().filter_map(|place| place.path.parent().map(PathBuf::from)));
    }
    states.sort();
    states.dedup();
    states
}

/// What `--json` prints.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    remains: &'a Remains,
    /// Paths of servers' unix sockets that are taken over.
    sockets: &'a [PathBuf],
}

fn page(remains: &Remains) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for hook in &remains.hooks {
        let held = match hook.held_by.as_slice() {
            [] => String::new(),
            pids => format!(
                ", held by pid {}",
                pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "hook   {:<14} on {} (link {}{held})",
            safe(&hook.program),
            safe(&hook.place),
            hook.link
        );
    }
    for place in &remains.pins {
        for generation in &place.generations {
            let _ = writeln!(out, "pins   {}", safe(&generation.display().to_string()));
        }
        if place.mounted {
            let _ = writeln!(out, "mount  {}", safe(&place.path.display().to_string()));
        }
    }
    if remains.is_empty() {
        out.push_str("nothing of governor is in the kernel\n");
    }
    out
}
