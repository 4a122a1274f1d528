//! `governor policy simulate`.

use super::super::audit::moment;
use super::super::globals::Globals;
use super::super::text::{Paint, one_line, table};
use super::choice::Beside;
use super::replay::{Change, Example, Replay};
use crate::engine::policy::PolicySet;
use crate::host::ledger::AuditFiles;
use serde_json::json;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;

/// Replay the recorded audit against changed policies, and show what would be answered otherwise
///
/// Compares the configured policies with those of PATH. Records hold statements with sensitive literals masked, and no
/// catalogue: a name without its schema could mean any, and a rule on schemas or labels then counts as met. Texts that
/// were cut when they were recorded are left out. How often the configured policies answer otherwise than the record
/// says is told at the end. Nothing is sent to a database.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    governor policy simulate ./new --since 7d                  policies of a directory, the last week\n  \
    governor policy simulate --pack agents-read-only           the configured policies and a rule pack\n  \
    governor policy simulate --disable notify-denied --json")]
pub(super) struct SimulateArgs {
    /// Changed policy and label files, or directories of them [default: the configured directory]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Earliest time: RFC 3339, a date, or an age such as 90s, 15m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Time to stop before, written like --since
    #[arg(long, value_name = "TIME")]
    until: Option<String>,

    /// Audit directory [default: that of the state directory]
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,

    /// Show at most this many kinds of change; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    #[command(flatten)]
    beside: Beside,
}

pub(super) fn run(args: &SimulateArgs, globals: &Globals, out: &mut impl Write) -> anyhow::Result<bool> {
    let now = PolicySet::compile_parts(&Beside::default().parts(&[], globals)?)?;
    let then = PolicySet::compile_parts(&args.beside.parts(&args.paths, globals)?)?;
    let time = |text: &Option<String>| text.as_deref().map(moment).transpose();
    let mut replay = Replay::new(&now, &then, time(&args.since)?, time(&args.until)?);
    let files = AuditFiles::open(&args.audit.clone().unwrap_or_else(|| globals.audit_dir()))?;
    let shows_progress = io::stderr().is_terminal();
    let total = files.segments().len();
    // From the first segment on: a session may be older than the statements that are asked for.
    for (done, &segment) in files.segments().iter().enumerate() {
        if shows_progress {
            eprint!("\rsegment {} of {total}, {} statements", done + 1, replay.counts.statements);
        }
        files.each_line(segment, |json| {
            replay.record(json);
            Ok(true)
        })?;
    }
    if shows_progress {
        eprint!("\r\x1b[K");
    }
    if globals.json { tell_json(&replay, &now, &then, out) } else { tell(&replay, args, globals, out) }
}

/// The most frequent first.
fn sorted<'a>(replay: &'a Replay<'_>) -> Vec<(&'a Change, &'a Example)> {
    let mut changes: Vec<_> = replay.changes.iter().collect();
    changes.sort_by_key(|(_, example)| std::cmp::Reverse(example.count));
    changes
}

fn tell_json(
    replay: &Replay<'_>,
    now: &PolicySet,
    then: &PolicySet,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let changes: Vec<_> = sorted(replay)
        .into_iter()
        .map(|(change, example)| json!({ "change": change, "example": example }))
        .collect();
    let answer = json!({
        "version": now.version(), "changed_version": then.version(), "counts": replay.counts, "changes": changes,
    });
    writeln!(out, "{answer}")?;
    Ok(true)
}

fn tell(
    replay: &Replay<'_>,
    args: &SimulateArgs,
    globals: &Globals,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let counts = &replay.counts;
    writeln!(out, "replayed {} statements and {} connections", counts.statements, counts.connections)?;
    if let (Some(first), Some(last)) = (&counts.first_time, &counts.last_time) {
        writeln!(out, "  from {first} to {last}")?;
    }
    for (count, what) in [
        (counts.cut, "statements were left out: their text was cut when it was recorded"),
        (counts.session_unknown, "statements were left out: their session began before the first record"),
        (
            counts.recorded_otherwise,
            "are answered by the configured policies otherwise than the record says (policies that changed since, a \
             session's catalogue, masked literals)",
        ),
        (counts.changed_otherwise, "changes are of kinds that are not shown: there are too many"),
    ] {
        if count > 0 {
            writeln!(out, "  {count} {what}")?;
        }
    }
    match counts.changed {
        0 => writeln!(out, "\nnothing would be answered otherwise")?,
        changed => writeln!(out, "\n{changed} would be answered otherwise")?,
    }
    let changes = sorted(replay);
    let shown = if args.limit == 0 { changes.len() } else { args.limit.min(changes.len()) };
    let rows: Vec<Vec<String>> = changes
        .iter()
        .take(shown)
        .map(|(change, example)| {
            let doubt = if example.in_doubt_count > 0 { "?" } else { "" };
            vec![
                format!("{}{doubt}", example.count),
                format!("{} → {}", change.was, change.would_be),
                format!("{} {}", change.class, one_line(&change.user, 20)),
                one_line(&change.by.join(", "), 60),
                one_line(&example.text, 80),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let paint = Paint { on: globals.color() };
        write!(out, "\n{}", table(paint, &["COUNT", "CHANGE", "WHO", "BY", "EXAMPLE"], &rows))?;
    }
    if changes.len() > shown {
        writeln!(out, "… and {} more kinds of change: --limit 0 shows them", changes.len() - shown)?;
    }
    if changes.iter().take(shown).any(|(_, example)| example.in_doubt_count > 0) {
        writeln!(out, "? where a name has no schema, or SQL is hidden, rules on names count as met")?;
    }
    Ok(true)
}
