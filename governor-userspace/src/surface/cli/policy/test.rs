//! `governor policy test`.

use super::super::globals::Globals;
use super::choice::Beside;
use super::explain::words;
use crate::engine::policy::{Pack, PolicyError, PolicyFile, PolicyParts, PolicySet, PolicySource, Problem};
use crate::engine::session::ColumnWords;
use crate::engine::session::cases::{Case, CaseFile, Got};
use crate::host::policy::{case_paths, parse_toml, read_file};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Run case files: who asks what, and what the policies have to answer; exit 1 where a case fails
///
/// A case file is TOML. `governor policy init` writes one to start from; `governor policy show --pack pci --cases`
/// prints one that ships.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    governor policy test cases.toml                        with the configured policies\n  \
    governor policy test cases.toml --policies ./new       with the policies of a directory\n  \
    governor policy test ./new --policies ./new            every case file of it\n  \
    governor policy test --pack pci                        the cases that ship with a rule pack")]
pub(super) struct TestArgs {
    /// Case files, or directories of them (*.cases.toml); without any, the cases of the rule packs named by --pack
    #[arg(value_name = "PATH", required_unless_present = "packs")]
    files: Vec<PathBuf>,

    /// Policy and label files, or directories of them, in place of the configured directory (may be repeated)
    #[arg(long = "policies", value_name = "PATH")]
    policies: Vec<PathBuf>,

    #[command(flatten)]
    beside: Beside,
}

/// One case and how it went.
#[derive(Debug, Serialize)]
struct Ran {
    file: String,
    line: u32,
    name: String,
    passed: bool,
    /// What is not as expected.
    differences: Vec<String>,
    got: Option<Got>,
}

/// The policies that cases were run with, as `governor policy check` counts them.
#[derive(Debug, Serialize)]
struct Used {
    policies_count: usize,
    version: String,
    files: Vec<PolicyFile>,
}

impl Used {
    fn of(parts: &PolicyParts) -> Result<Self, PolicyError> {
        let set = PolicySet::compile_parts(parts)?;
        let (policies_count, version) = (set.policies_count(), set.version().to_owned());
        Ok(Self { policies_count, version, files: set.files().to_vec() })
    }

    /// Where they come from: files by name, what ships in one number.
    fn sources(&self) -> String {
        let is_builtin = |file: &&PolicyFile| file.name.starts_with(BUILTIN);
        let builtin_count: usize = self.files.iter().filter(is_builtin).map(|file| file.policies_count).sum();
        let builtin = (builtin_count > 0).then(|| format!("{builtin_count} built in"));
        let others = self.files.iter().filter(|file| !is_builtin(file));
        let others = others.map(|file| format!("{} of {}", file.policies_count, file.name));
        builtin.into_iter().chain(others).collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn run(args: &TestArgs, globals: &Globals, out: &mut impl Write) -> anyhow::Result<bool> {
    let (mut ran, mut used) = (vec![], vec![]);
    if args.files.is_empty() {
        // A pack's cases are about the pack, not about this host.
        for pack in args.beside.packs.iter().filter_map(|name| Pack::named(name)) {
            let mut sources = PolicySet::builtin(args.beside.profile.unwrap_or_default());
            sources.push(pack.source());
            let parts = PolicyParts { sources, ..PolicyParts::default() };
            used.push(Used::of(&parts)?);
            let source = PolicySource::new(pack.cases_name(), pack.cases);
            run_file(&source, &parts, &ColumnWords::default(), &mut ran)?;
        }
    } else {
        let parts = args.beside.parts(&args.policies, globals)?;
        used.push(Used::of(&parts)?);
        let words = words(globals)?;
        for given in &args.files {
            for path in case_paths(given).map_err(|error| unread(given, &error))? {
                let source = read_file(&path).map_err(|error| unread(&path, &error))?;
                run_file(&source, &parts, &words, &mut ran)?;
            }
        }
    }
    tell(&ran, &used, globals, out)?;
    Ok(ran.iter().all(|case| case.passed))
}

fn unread(path: &Path, error: &io::Error) -> PolicyError {
    PolicyError { problems: vec![Problem::of_file(&path.display().to_string(), error.to_string())] }
}

/// Answers every case of a file; sets without the same policies are made once.
fn run_file(
    source: &PolicySource,
    parts: &PolicyParts,
    words: &ColumnWords,
    ran: &mut Vec<Ran>,
) -> Result<(), PolicyError> {
    let refuse = |problem| PolicyError { problems: vec![problem] };
    let file: CaseFile<Spanned<Case>> = parse_toml(source).map_err(refuse)?;
    if file.cases.is_empty() {
        return Err(refuse(Problem::of_file(&source.name, "it has no [[case]]")));
    }
    let mut sets: HashMap<Vec<String>, PolicySet> = HashMap::new();
    for spanned in &file.cases {
        let case = spanned.get_ref();
        let place = Problem::at(&source.name, &source.text, Some(spanned.span().start), "");
        if !sets.contains_key(&case.disabled) {
            sets.insert(case.disabled.clone(), file.compile(parts, &case.disabled)?);
        }
        let Some(set) = sets.get(&case.disabled) else { continue };
        let (got, differences) = match file.answer(set, case, words) {
            Ok(got) => {
                let differences = case.differences(&got);
                (Some(got), differences)
            }
            Err(reason) => return Err(refuse(Problem { reason, ..place })),
        };
        ran.push(Ran {
            file: source.name.clone(),
            line: place.line.unwrap_or(1),
            name: case.name.clone(),
            passed: differences.is_empty(),
            differences,
            got,
        });
    }
    Ok(())
}

fn tell(ran: &[Ran], used: &[Used], globals: &Globals, out: &mut impl Write) -> anyhow::Result<()> {
    let failed_count = ran.iter().filter(|case| !case.passed).count();
    if globals.json {
        let answer = json!({
            "ok": failed_count == 0,
            "cases_count": ran.len(),
            "failed_count": failed_count,
            "policies": used,
            "cases": ran,
        });
        writeln!(out, "{answer}")?;
        return Ok(());
    }
    let paint = super::super::text::Paint { on: globals.color() };
    for set in used {
        let noun = if set.policies_count == 1 { "policy" } else { "policies" };
        writeln!(out, "with {} {noun} ({}), version {}", set.policies_count, set.sources(), set.version)?;
    }
    for case in ran {
        let word = if case.passed { paint.green("ok") } else { paint.red("FAILED") };
        writeln!(out, "{word:6} {}:{}: {}", case.file, case.line, case.name)?;
        if case.passed {
            continue;
        }
        for difference in &case.differences {
            writeln!(out, "         {difference}")?;
        }
        for reason in case.got.iter().flat_map(|got| &got.reasons) {
            let colon = if reason.text.is_empty() { "" } else { ": " };
            writeln!(out, "         decided by {}{colon}{}", reason.policy, reason.text)?;
        }
    }
    let noun = if ran.len() == 1 { "case" } else { "cases" };
    match failed_count {
        0 => writeln!(out, "{} {noun}, all as expected", ran.len())?,
        failed => writeln!(out, "{} {noun}, {failed} FAILED", ran.len())?,
    }
    Ok(())
}

/// How the names of built-in sources begin.
const BUILTIN: &str = "builtin/";
