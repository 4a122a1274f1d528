//! The command line: one file per verb.
//!
//! Exit codes: 0 done; 1 it failed, or the answer is no (`doctor` finds something missing, `audit
//! verify` finds a broken chain); 2 the command line is wrong.

pub mod approvals;
pub mod audit;
pub mod break_glass;
pub mod client;
pub mod completions;
pub mod data;
pub mod detach;
pub mod doctor;
pub mod globals;
pub mod keys;
pub mod man;
pub mod policy;
pub mod reload;
pub mod reveal;
pub mod run;
pub mod status;
pub mod text;
pub mod tls;
pub mod upgrade;

use clap::{Parser, Subcommand};
use globals::Globals;
use std::process::ExitCode;

/// Governs database traffic: sees, decides and records what processes of this host, and clients of its servers, ask of databases
#[derive(Debug, Parser)]
#[command(
    name = "governor",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Examples:\n  \
        governor doctor                    can this host run governor?\n  \
        sudo governor run                  govern, as /etc/governor/governor.toml says\n  \
        governor status                    what is governed now\n  \
        governor approvals list            statements that wait for an answer\n  \
        governor data list                 where sensitive data was found\n  \
        governor audit tail --follow       what happens, as it happens\n\n\
        Exit codes: 0 done, 1 failed or the answer is no, 2 wrong usage"
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub verb: Verb,
}

#[expect(clippy::large_enum_variant, reason = "made once, when the command line is read")]
#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(run::RunArgs),
    Status(status::StatusArgs),
    Doctor(doctor::DoctorArgs),
    /// Check and show policy
    Policy(policy::PolicyArgs),
    /// Search, follow and verify the audit
    Audit(audit::AuditArgs),
    Approvals(approvals::ApprovalsArgs),
    Data(data::DataArgs),
    BreakGlass(break_glass::BreakGlassArgs),
    Reveal(reveal::RevealArgs),
    /// The keys of masking, and the one by which other governors know this host
    Keys(keys::KeysArgs),
    /// The CA that clients have to trust where governor ends TLS
    Tls(tls::TlsArgs),
    Reload(reload::ReloadArgs),
    Upgrade(upgrade::UpgradeArgs),
    Detach(detach::DetachArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Reads the command line, does it, and says how it went.
pub fn main() -> ExitCode {
    let Cli { globals, verb } = Cli::parse();
    if !matches!(verb, Verb::Run(_)) {
        end_quietly_with_the_reader();
    }
    let result = match verb {
        Verb::Run(args) => run::run(args, &globals),
        Verb::Status(args) => status::run(args, &globals),
        Verb::Doctor(args) => doctor::run(args, &globals),
        Verb::Policy(args) => policy::run(args, &globals),
        Verb::Audit(args) => audit::run(&args, &globals),
        Verb::Approvals(args) => approvals::run(args, &globals),
        Verb::Data(args) => data::run(args, &globals),
        Verb::BreakGlass(args) => break_glass::run(args, &globals),
        Verb::Reveal(args) => reveal::run(args, &globals),
        Verb::Keys(args) => keys::run(&args, &globals),
        Verb::Tls(args) => tls::run(args, &globals),
        Verb::Reload(args) => reload::run(&args, &globals),
        Verb::Upgrade(args) => upgrade::run(&args, &globals),
        Verb::Detach(args) => detach::run(&args, &globals),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("governor: {error:#}");
        ExitCode::FAILURE
    })
}

/// `governor audit tail | head` ends as other tools do: without a word.
///
/// Rust programs ignore SIGPIPE; the agent must (its peers come and go), the other verbs need not.
fn end_quietly_with_the_reader() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the default action is no handler of ours, so nothing can run in a signal context; no
    // other thread exists yet.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

#[cfg(test)]
mod tests;
