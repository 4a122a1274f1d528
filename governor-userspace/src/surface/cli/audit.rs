//! `governor audit`: look at what happened, and check that the record of it is whole.
//!
//! Works on the files alone, so it answers while the agent runs, when it is stopped, and on a copy of
//! the directory on another machine.

mod completeness;
mod find;
mod render;
mod verify;

use super::globals::Globals;
use crate::engine::audit::{Filter, parse_time};
use crate::engine::model::{Class, Timestamp, Verdict};
use crate::host::ledger::AuditFiles;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,

    /// Audit directory, instead of the one below the state directory
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the newest records
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
        lines: usize,
        /// Go on showing records as they are written
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        conditions: Conditions,
    },
    /// Find records; the newest that match, oldest first
    Search {
        #[command(flatten)]
        conditions: Conditions,
        /// Show at most this many (0: all)
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Show times in which nothing was governed, oldest first
    Gaps {
        /// Earliest time: RFC 3339, a date, or an age such as 90s, 15m, 2h, 7d
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// Show everything about one decision, session or approval, in order
    Show {
        /// Decision, session or approval id
        id: String,
    },
    /// Compare what the kernel counted with what the records account for
    #[command(
        after_help = "Connections and bytes, of captured clients and to databases, each counted by the kernel and by governor. Of a run that took over from another by an upgrade, the other is shown too as long as it had sessions then. Unix sockets, which the kernel does not count, are rows of their own. Exit status: 0 everything is accounted for, 1 something is not. `verify` shows that the records themselves are whole."
    )]
    Completeness {
        /// The newest so many runs of the agent (0: all)
        #[arg(long, default_value_t = 1, value_name = "N")]
        runs: usize,
    },
    /// Check that no record was changed, removed, inserted or cut off
    #[command(
        after_help = "Exit status: 0 all is well, 1 something was found. Needs only the public key; keep a copy of it \
(and of a line's number and hash, as --anchor) on another machine."
    )]
    Verify {
        /// Public key to check signatures with [default: keys/audit-signing.pub below the state directory]
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// A line that must be there: its sequence number and hash, noted down elsewhere
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Option<String>,
    },
}

/// Which records; all that are given must hold.
#[derive(Debug, Default, Args)]
struct Conditions {
    /// Operating-system user or login user behind the connection
    #[arg(long, alias = "principal", value_name = "NAME")]
    user: Option<String>,
    /// service, person or agent
    #[arg(long, value_parser = parse_class)]
    class: Option<Class>,
    /// Session, as records name it
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Database that the session is connected to
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// Table or view that the statement reads or writes, with or without schema
    #[arg(long, value_name = "NAME")]
    relation: Option<String>,
    /// Statement kind, such as select, delete or ddl
    #[arg(long)]
    kind: Option<String>,
    /// allow, deny or hold
    #[arg(long, value_parser = parse_verdict)]
    verdict: Option<Verdict>,
    /// Part of the statement's text, letter case ignored
    #[arg(long)]
    text: Option<String>,
    /// Record type, such as statement, session_start or hold_end
    #[arg(long)]
    event: Option<String>,
    /// Earliest time: RFC 3339, a date, or an age such as 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Time to stop before, written like --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Exit code 1 is a finding of `verify`; everything that keeps the command from working is an error.
pub fn run(args: &AuditArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let dir = args.dir.clone().unwrap_or_else(|| globals.audit_dir());
    let result = match &args.verb {
        Verb::Verify { public_key, anchor } => {
            verify::run(&dir, public_key.as_deref(), anchor.as_deref(), globals)
        }
        Verb::Completeness { runs } => {
            let runs = if *runs == 0 { usize::MAX } else { *runs };
            completeness::run(&AuditFiles::open(&dir)?, runs, globals)
        }
        Verb::Tail { lines, follow, conditions } => {
            let mut out = io::stdout().lock();
            let files = AuditFiles::open(&dir)?;
            let filter = conditions.filter()?;
            // Where to go on from is settled first, so that nothing falls in between.
            let follower = if *follow { Some(files.follow()?) } else { None };
            let mut style = render::Style::of_stdout(globals);
            find::newest(&files, &filter, *lines)?.print(&mut out, &mut style)?;
            match follower {
                Some(follower) => find::follow(follower, &filter, &mut out, &mut style),
                None => Ok(ExitCode::SUCCESS),
            }
        }
        Verb::Search { conditions, limit } => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let limit = if *limit == 0 { usize::MAX } else { *limit };
            let found = find::newest(&AuditFiles::open(&dir)?, &conditions.filter()?, limit)?;
            let printed = found.print(&mut out, &mut render::Style::of_stdout(globals));
            printed.and_then(|()| out.flush()).map_err(Into::into).map(|()| ExitCode::SUCCESS)
        }
        Verb::Gaps { since } => {
            let conditions =
                Conditions { event: Some("agent_gap".into()), since: since.clone(), ..Conditions::default() };
            let mut out = io::BufWriter::new(io::stdout().lock());
            let found = find::newest(&AuditFiles::open(&dir)?, &conditions.filter()?, usize::MAX)?;
            let printed = found.print(&mut out, &mut render::Style::of_stdout(globals));
            printed.and_then(|()| out.flush()).map_err(Into::into).map(|()| ExitCode::SUCCESS)
        }
        Verb::Show { id } => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let mut style = render::Style::of_stdout(globals);
            find::show(&AuditFiles::open(&dir)?, id, &mut out, &mut style)
                .and_then(|()| out.flush().map_err(Into::into))
                .map(|()| ExitCode::SUCCESS)
        }
    };
    match result {
        // `governor audit search | head` has seen enough: that is no failure.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl Conditions {
    fn filter(&self) -> anyhow::Result<Filter> {
        let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let time = |text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => moment_at(text, now_ns).map(Some),
        };
        Ok(Filter {
            user: self.user.clone(),
            class: self.class,
            session: self.session.clone(),
            database: self.database.clone(),
            relation: self.relation.clone(),
            kind: self.kind.clone(),
            verdict: self.verdict,
            text: self.text.clone(),
            event: self.event.clone(),
            since: time(&self.since)?,
            until: time(&self.until)?,
        })
    }
}

/// [`moment_at`] now.
pub(super) fn moment(text: &str) -> anyhow::Result<String> {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    moment_at(text, now_ns)
}

/// RFC 3339, a date (its first moment in UTC) or an age, as the text form that records have.
fn moment_at(text: &str, now_ns: u64) -> anyhow::Result<String> {
    let unix_ns = if let Some(age_ns) = age_ns(text) {
        now_ns.saturating_sub(age_ns)
    } else if let Some(ns) = parse_time(text).or_else(|| parse_time(&format!("{text}T00:00:00Z"))) {
        ns
    } else {
        bail!(
            "{text:?} is no time: write 2026-01-31T12:00:00Z, 2026-01-31, or an age such as 90s, 15m, 2h, 7d"
        );
    };
    Ok(Timestamp { unix_ns, monotonic_ns: 0 }.rfc3339())
}

fn age_ns(text: &str) -> Option<u64> {
    let unit_at = text.len().checked_sub(1)?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000_000)
}

fn parse_class(text: &str) -> Result<Class, String> {
    let found = Class::ALL.into_iter().find(|class| class.as_str() == text);
    found.ok_or_else(|| "write service, person or agent".to_owned())
}

fn parse_verdict(text: &str) -> Result<Verdict, String> {
    let found = [Verdict::Allow, Verdict::Deny, Verdict::Hold].into_iter().find(|v| v.as_str() == text);
    found.ok_or_else(|| "write allow, deny or hold".to_owned())
}

/// `SEQ:HASH` as `governor audit verify` prints it.
fn parse_anchor(text: &str) -> anyhow::Result<(u64, crate::engine::audit::ChainHash)> {
    let (seq, hash) = text.split_once(':').context("--anchor is SEQ:HASH")?;
    let hash = crate::engine::audit::ChainHash::parse(hash.as_bytes());
    Ok((seq.parse().context("--anchor is SEQ:HASH")?, hash.context("--anchor: the hash has 64 digits")?))
}

#[cfg(test)]
mod tests;
