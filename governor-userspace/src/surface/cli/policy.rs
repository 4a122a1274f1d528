//! `governor policy`: everything about policy that needs no traffic.

mod check;
mod choice;
mod explain;
mod init;
mod replay;
mod show;
mod simulate;
mod test;

use super::globals::Globals;
use crate::engine::policy::PolicyError;
use serde_json::json;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Check, test, explain and simulate policy
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[expect(clippy::large_enum_variant, reason = "made once, when the command line is read")]
#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    Check(check::CheckArgs),
    Test(test::TestArgs),
    Explain(explain::ExplainArgs),
    Simulate(simulate::SimulateArgs),
    Init(init::InitArgs),
    Show(show::ShowArgs),
}

/// Runs one `governor policy` command. Exit code 1: a policy file is wrong, or a case fails.
///
/// # Errors
/// What kept the command from answering.
pub fn run(args: PolicyArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match answer(args, globals, &mut out) {
        Ok(is_fine) => Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS), // `… | head`
        Err(error) => Err(error),
    }
}

/// Writes the answer; false where the answer is no.
fn answer(args: PolicyArgs, globals: &Globals, out: &mut impl Write) -> anyhow::Result<bool> {
    let result = match args.verb {
        Verb::Check(args) => check::run(&args, globals, out),
        Verb::Test(args) => test::run(&args, globals, out),
        Verb::Explain(args) => explain::run(&args, globals, out),
        Verb::Simulate(args) => simulate::run(&args, globals, out),
        Verb::Init(args) => init::run(&args, globals, out),
        Verb::Show(args) => show::run(&args, globals, out),
    };
    match result {
        // Wrong policies are an answer: every problem with its place, on standard output as a compiler's.
        Err(error) => match error.downcast::<PolicyError>() {
            Ok(refused) => tell_refusal(&refused, globals.json, out).map(|()| false),
            Err(error) => Err(error),
        },
        done => done,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn tell_refusal(error: &PolicyError, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    if json {
        writeln!(out, "{}", json!({ "ok": false, "problems": error.problems }))?;
        return Ok(());
    }
    writeln!(out, "{error}")?;
    let noun = if error.problems.len() == 1 { "problem" } else { "problems" };
    writeln!(out, "refused: {} {noun}", error.problems.len())?;
    Ok(())
}

#[cfg(test)]
mod tests;
