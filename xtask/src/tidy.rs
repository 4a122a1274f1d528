//! `cargo xtask tidy`: what the compiler does not check.
//!
//! Layers (who may name whom), module headers, file length, links and promises in the documents, the metric
//! table, paths of the machine that somebody works on. `docs/ARCHITECTURE.md` gives the rules their reasons.

mod documents;
mod layers;

use crate::{shell, workspace};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// One thing to be put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Below the repository's top.
    pub path: PathBuf,
    /// 0 where the whole file is meant.
    pub line: usize,
    pub what: String,
}

impl Finding {
    pub fn new(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

/// One text file of the repository.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

pub fn run() -> Result<()> {
    let files = files()?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(layers::check(file));
        findings.extend(documents::links(file));
        findings.extend(machine_paths(file));
        findings.extend(header(file));
        let lines = file.text.lines().count();
        if is_rust(file) && lines > LINES_MAX {
            println!(
                "note: {} has {lines} lines; past {LINES_MAX} it is hard to hold in mind",
                file.path.display()
            );
        }
    }
    findings.extend(documents::metric_table(&files));
    findings.extend(documents::promises(&files));
    findings.extend(documents::commands(&files));
    for finding in &findings {
        match finding.line {
            0 => println!("{}: {}", finding.path.display(), finding.what),
            line => println!("{}:{line}: {}", finding.path.display(), finding.what),
        }
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}

/// Every text file that git tracks or would track.
fn files() -> Result<Vec<Source>> {
    let listing = shell::capture(std::process::Command::new("git").args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files: Vec<Source> = String::from_utf8(listing.stdout)
        .context("a file name is not UTF-8")?
        .lines()
        .filter_map(|name| {
            let text = std::fs::read_to_string(workspace::root().join(name)).ok()?;
            Some(Source { path: name.into(), text })
        })
        .collect();
    if files.is_empty() {
        bail!("git lists no files here");
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Every module says first what it is and why.
fn header(file: &Source) -> Option<Finding> {
    let first =
        file.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#![")).unwrap_or("");
    (is_rust(file) && !first.starts_with("//!"))
        .then(|| Finding::new(&file.path, 1, "does not start with a `//!` header"))
}

/// Paths that exist on one machine only.
fn machine_paths(file: &Source) -> Vec<Finding> {
    // Written in pieces, so that this file does not find itself.
    let forbidden =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "wt/"), concat!("/tmp/", "target")];
    if file.path.ends_with("Cargo.lock") {
        return vec![];
    }
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        for path in forbidden.iter().filter(|path| line.contains(**path)) {
            findings.push(Finding::new(
                &file.path,
                number + 1,
                format!("names a path of one machine: {path}"),
            ));
        }
    }
    findings
}

pub fn is_rust(file: &Source) -> bool {
    file.path.extension().is_some_and(|ending| ending == "rs")
}

pub fn is_markdown(file: &Source) -> bool {
    file.path.extension().is_some_and(|ending| ending == "md")
}

const LINES_MAX: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_header_is_found() {
        let source = |text: &str| Source { path: "a.rs".into(), text: text.into() };
        assert_eq!(header(&source("//! What.\nfn a() {}\n")), None);
        assert_eq!(header(&source("#![no_std]\n\n//! What.\n")), None);
        assert!(header(&source("use std::fmt;\n//! late\n")).is_some());
    }

    #[test]
    fn a_path_of_one_machine_is_found_with_its_line() {
        let text = format!("fine\nsee {}x\n", concat!("/ro", "ot/"));
        let found = machine_paths(&Source { path: "a.md".into(), text });
        assert_eq!(found.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2]);
    }
}
