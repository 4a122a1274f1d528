//! `governor policy`: check policy files before they count, show what is built in.

use super::globals::Globals;
use crate::engine::policy::{PolicyError, PolicySet, PolicySource, Problem, Profile, SCHEMA_TEXT};
use crate::host::policy::read_path;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check policy files, show the built-in ones
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Read and validate policy files as `governor run` would; exit 1 where anything is wrong
    Check(CheckArgs),
    /// Print the built-in policies and the schema that policies are validated against
    Show(ShowArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct CheckArgs {
    /// Policy files, or directories of *.cedar files
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Built-in policies to check them with
    #[arg(long, value_name = "PROFILE", default_value = "protect", value_parser = profile_parser())]
    profile: Profile,

    /// Check the files alone, without the built-in policies
    #[arg(long)]
    no_builtin: bool,

    /// Leave out the policy with this @id (may be repeated)
    #[arg(long = "disable", value_name = "ID")]
    disabled: Vec<String>,
}

#[derive(Clone, Debug, clap::Args)]
struct ShowArgs {
    /// Whose built-in policies
    #[arg(long, value_name = "PROFILE", default_value = "protect", value_parser = profile_parser())]
    profile: Profile,

    /// Only the schema
    #[arg(long)]
    schema: bool,
}

/// Runs one `governor policy` command. Exit code 1: a policy file is wrong.
///
/// # Errors
/// Where standard output cannot be written.
pub fn run(args: PolicyArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match answer(args, globals.json, &mut out) {
        Ok(is_fine) => Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS), // `… | head`
        Err(error) => Err(error.into()),
    }
}

/// Writes the answer; false where something is wrong with the policies.
fn answer(args: PolicyArgs, json: bool, out: &mut impl Write) -> io::Result<bool> {
    match args.verb {
        Verb::Check(args) => match check(&args) {
            Ok(set) => accepted(&set, json, out).map(|()| true),
            Err(error) => refused(&error, json, out).map(|()| false),
        },
        Verb::Show(args) => show(&args, json, out).map(|()| true),
    }
}

fn check(args: &CheckArgs) -> Result<PolicySet, PolicyError> {
    let mut sources = if args.no_builtin { vec![] } else { PolicySet::builtin(args.profile) };
    let mut problems = vec![];
    let default_dir = Path::new(DEFAULT_DIR);
    let paths = if args.paths.is_empty() && default_dir.exists() {
        vec![default_dir.to_owned()]
    } else {
        args.paths.clone()
    };
    for path in &paths {
        match read_path(path) {
            Ok(found) => sources.extend(found),
            Err(error) => problems.extend(error.problems),
        }
    }
    // Unreadable files are told together with what is wrong in the readable ones.
    match PolicySet::compile_with(&sources, &args.disabled) {
        Ok(set) if problems.is_empty() => Ok(set),
        Ok(_) => Err(PolicyError { problems }),
        Err(error) => {
            problems.extend(error.problems);
            Err(PolicyError { problems })
        }
    }
}

fn accepted(set: &PolicySet, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        let answer = json!({
            "ok": true,
            "version": set.version(),
            "policies_count": set.policies_count(),
            "files": set.files(),
        });
        return writeln!(out, "{answer}");
    }
    for file in set.files() {
        let noun = if file.policies_count == 1 { "policy" } else { "policies" };
        writeln!(out, "{}: {} {noun}", file.name, file.policies_count)?;
    }
    writeln!(out, "ok: {} policies, version {}", set.policies_count(), set.version())
}

fn refused(error: &PolicyError, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        let problems: &[Problem] = &error.problems;
        return writeln!(out, "{}", json!({ "ok": false, "problems": problems }));
    }
    writeln!(out, "{error}")
}

fn show(args: &ShowArgs, json: bool, out: &mut impl Write) -> io::Result<()> {
    let builtin = if args.schema { vec![] } else { PolicySet::builtin(args.profile) };
    if json {
        let files: Vec<_> =
            builtin.iter().map(|PolicySource { name, text }| json!({ "name": name, "text": text })).collect();
        let answer = json!({ "profile": args.profile, "files": files, "schema": SCHEMA_TEXT });
        return writeln!(out, "{answer}");
    }
    for PolicySource { name, text } in &builtin {
        writeln!(out, "// ==== {name}\n{text}")?;
    }
    if !args.schema {
        writeln!(out, "// ==== builtin/schema.cedarschema")?;
    }
    out.write_all(SCHEMA_TEXT.as_bytes())
}

fn profile_parser() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::as_str))
        .map(|word| Profile::ALL.into_iter().find(|profile| profile.as_str() == word).unwrap_or_default())
}

/// Where policy files are looked for when none are named.
const DEFAULT_DIR: &str = "/etc/governor/policies";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    fn answered(json: bool, words: &[&str]) -> (bool, String) {
        let args = Cli::try_parse_from(std::iter::once(&"policy").chain(words)).unwrap().policy;
        let mut out = vec![];
        let is_fine = answer(args, json, &mut out).unwrap();
        (is_fine, String::from_utf8(out).unwrap())
    }

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn check_counts_what_is_in_force() {
        let dir = dir(&[("a.cedar", "@id(\"mine\") forbid (principal, action, resource);")]);
        let path = dir.path().to_str().unwrap();
        let (is_fine, text) = answered(false, &["check", path]);
        assert!(is_fine, "{text}");
        assert!(text.contains(&format!("{path}/a.cedar: 1 policy\n")), "{text}");
        let (_, alone) = answered(true, &["check", "--no-builtin", path]);
        let alone: serde_json::Value = serde_json::from_str(&alone).unwrap();
        assert_eq!((&alone["ok"], &alone["policies_count"]), (&json!(true), &json!(1)));
        let (_, none) = answered(true, &["check", "--no-builtin", "--disable", "mine", path]);
        assert!(none.contains("\"policies_count\":0"), "{none}");
    }

    #[test]
    fn check_tells_every_problem_with_its_place() {
        let dir =
            dir(&[("a.cedar", "// x\nforbid (principal, action, resorce);"), ("b.cedar", "@no\npermit")]);
        let path = dir.path().to_str().unwrap();
        let (is_fine, text) = answered(false, &["check", path, "/nonexistent.cedar"]);
        assert!(!is_fine);
        for start in
            [format!("{path}/a.cedar:2:28: "), format!("{path}/b.cedar:2:"), "/nonexistent.cedar: ".into()]
        {
            assert!(text.lines().any(|line| line.starts_with(&start)), "{start}\n{text}");
        }
        let (is_fine, text) = answered(true, &["check", path]);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(!is_fine && answer["problems"].as_array().unwrap().iter().any(|p| p["line"] == 2), "{text}");
    }

    #[test]
    fn show_prints_policies_that_check_accepts() {
        let (_, text) = answered(true, &["show"]);
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for file in shown["files"].as_array().unwrap() {
            let name = file["name"].as_str().unwrap().rsplit('/').next().unwrap();
            std::fs::write(dir.path().join(name), file["text"].as_str().unwrap()).unwrap();
        }
        let (is_fine, text) = answered(false, &["check", "--no-builtin", dir.path().to_str().unwrap()]);
        assert!(is_fine, "{text}");
        // Beside themselves they are duplicates.
        let (is_fine, _) = answered(false, &["check", dir.path().to_str().unwrap()]);
        assert!(!is_fine);
        let (_, schema) = answered(false, &["show", "--schema"]);
        assert_eq!(schema, SCHEMA_TEXT);
    }

    #[test]
    fn profiles_are_words() {
        assert!(Cli::try_parse_from(["policy", "check", "--profile", "observed"]).is_err());
        let (_, text) = answered(false, &["show", "--profile", "observe"]);
        assert!(text.contains("@id(\"observe-permitted\")"));
    }
}
