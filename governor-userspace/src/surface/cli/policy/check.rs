//! `governor policy check`.

use super::super::globals::Globals;
use super::choice::Beside;
use crate::engine::policy::PolicySet;
use crate::host::config::{self, Config, Overrides};
use nix::unistd::Group;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

/// Read and validate policy and label files as `governor run` would; exit 1 where anything is wrong
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    governor policy check                         the configured directory\n  \
    governor policy check new.cedar --pack pci    a file beside the rule pack pci")]
pub(super) struct CheckArgs {
    /// Policy and label files, or directories of *.cedar and *.labels.toml [default: the configured directory]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    beside: Beside,
}

pub(super) fn run(args: &CheckArgs, globals: &Globals, out: &mut impl Write) -> anyhow::Result<bool> {
    let set = PolicySet::compile_parts(&args.beside.parts(&args.paths, globals)?)?;
    let mut notes = set.unmet().to_vec();
    notes.extend(without_approvers(&set, &config::load(globals.config.as_deref(), Overrides::default())?));
    if globals.json {
        let answer = json!({
            "ok": true,
            "version": set.version(),
            "policies_count": set.policies_count(),
            "files": set.files(),
            "notes": notes,
        });
        writeln!(out, "{answer}")?;
        return Ok(true);
    }
    for file in set.files() {
        let noun = if file.policies_count == 1 { "policy" } else { "policies" };
        writeln!(out, "{}: {} {noun}", file.name, file.policies_count)?;
    }
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "ok: {} policies, version {}", set.policies_count(), set.version())?;
    Ok(true)
}

/// Groups of `@approval` that have no members here: what is held for them can be answered by root alone.
fn without_approvers(set: &PolicySet, config: &Config) -> Vec<String> {
    let has_members = |group: &str| match config.approvals.groups.get(group) {
        Some(members) => !members.is_empty(),
        None => Group::from_name(group).is_ok_and(|found| found.is_some()),
    };
    let told = |(group, ids): (&str, BTreeSet<String>)| {
        let more = if ids.len() > 1 { format!(" and {} more", ids.len() - 1) } else { String::new() };
        let first = ids.into_iter().next().unwrap_or_default();
        format!(
            "{first}{more}: nobody but root can approve what is held, because nobody is in the group {group:?}; list its \
             members under approvals.groups in the configuration, or make a group of the host"
        )
    };
    set.approvers().into_iter().filter(|(group, _)| !has_members(group)).map(told).collect()
}
