//! `governor policy init`.

use super::super::globals::Globals;
use crate::host::config::{self, Overrides};
use anyhow::{Context as _, bail};
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Write a commented directory to start from: a policy, a label file, a case file
///
/// Nothing is overwritten. The policy denies nothing until its example names exist in your database.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sudo governor policy init                  the configured directory\n  \
    governor policy init ./policies            a directory of your own, for version control")]
pub(super) struct InitArgs {
    /// Directory, made where it does not exist [default: the configured one]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &InitArgs, globals: &Globals, out: &mut impl Write) -> anyhow::Result<bool> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => config::load(globals.config.as_deref(), Overrides::default())?.policy.directory,
    };
    let paths: Vec<PathBuf> = FILES.iter().map(|(name, _)| dir.join(name)).collect();
    let taken: Vec<String> =
        paths.iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect();
    if !taken.is_empty() {
        bail!(
            "{} exists already: nothing was written\n  name another directory, or remove it",
            taken.join(", ")
        );
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (path, (_, text)) in paths.iter().zip(FILES) {
        // Not over a file that came meanwhile.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(text.as_bytes())?;
    }
    if globals.json {
        writeln!(out, "{}", json!({ "ok": true, "files": paths }))?;
        return Ok(true);
    }
    for path in &paths {
        writeln!(out, "wrote {}", path.display())?;
    }
    let dir = dir.display();
    writeln!(
        out,
        "\nnext:\n  governor policy check {dir}\n  governor policy test {dir}/{CASES} --policies {dir}\n  \
         governor policy simulate {dir} --since 7d    what would have changed"
    )?;
    Ok(true)
}

const CASES: &str = "site.cases.toml";
const FILES: [(&str, &str); 3] = [
    ("site.cedar", include_str!("start/site.cedar")),
    ("site.labels.toml", include_str!("start/site.labels.toml")),
    (CASES, include_str!("start/site.cases.toml")),
];
