//! `governor policy check`.

use super::super::globals::Globals;
use super::choice::Beside;
use crate::engine::policy::PolicySet;
use serde_json::json;
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
    if globals.json {
        let answer = json!({
            "ok": true,
            "version": set.version(),
            "policies_count": set.policies_count(),
            "files": set.files(),
            "notes": set.unmet(),
        });
        writeln!(out, "{answer}")?;
        return Ok(true);
    }
    for file in set.files() {
        let noun = if file.policies_count == 1 { "policy" } else { "policies" };
        writeln!(out, "{}: {} {noun}", file.name, file.policies_count)?;
    }
    for note in set.unmet() {
        writeln!(out, "note: {note}")?;
    }
    writeln!(out, "ok: {} policies, version {}", set.policies_count(), set.version())?;
    Ok(true)
}
