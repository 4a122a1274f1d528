//! `governor audit verify`.

use super::{Globals, parse_anchor};
use crate::host::ledger::{PUBLIC_KEY_FILE, Verification, read_public_key, verify_directory};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(
    dir: &Path,
    public_key: Option<&Path>,
    anchor: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let key_path = public_key.map_or_else(|| globals.keys_dir().join(PUBLIC_KEY_FILE), Path::to_owned);
    let key = read_public_key(&key_path)?;
    let anchor = anchor.map(parse_anchor).transpose()?;
    let shows_progress = io::stderr().is_terminal();
    let mut shown = 0;
    let verification = verify_directory(dir, key, anchor, |done, total| {
        let percent = done * 100 / total.max(1);
        if shows_progress && total > PROGRESS_BYTES_MIN && percent != shown {
            shown = percent;
            eprint!("\rverifying: {percent} %");
        }
    })?;
    if shown > 0 {
        eprint!("\r\x1b[K");
    }
    if globals.json {
        print_json(dir, &verification)?
    } else {
        print_text(dir, &verification, globals)?
    }
    Ok(ExitCode::from(u8::from(verification.finding.is_some())))
}

fn print_json(dir: &Path, verification: &Verification) -> anyhow::Result<()> {
    let finding = verification.finding.as_ref().map(|finding| {
        serde_json::json!({
            "segment": finding.segment,
            "line": finding.line,
            "seq": finding.seq,
            "problem": finding.problem.to_string(),
        })
    });
    let document = serde_json::json!({
        "dir": dir,
        "ok": verification.finding.is_none(),
        "finding": finding,
        "summary": verification.summary,
    });
    writeln!(io::stdout(), "{document}")?;
    Ok(())
}

fn print_text(dir: &Path, verification: &Verification, globals: &Globals) -> io::Result<()> {
    let (red, green, plain) =
        if globals.color() { ("\x1b[1;31m", "\x1b[32m", "\x1b[0m") } else { ("", "", "") };
    let summary = &verification.summary;
    let mut out = io::stdout().lock();
    match &verification.finding {
        None => writeln!(out, "{green}OK{plain}: {} is whole and unchanged", dir.display())?,
        Some(finding) => {
            writeln!(out, "{red}FOUND{plain}: {finding}")?;
            writeln!(out, "Good up to there:")?;
        }
    }
    writeln!(
        out,
        "  {} records, {} signed checkpoints, {} segments",
        summary.records, summary.checkpoints, summary.segments
    )?;
    if let (Some(first), Some(last)) = (&summary.first_time, &summary.last_time) {
        writeln!(out, "  from {first} to {last}")?;
    }
    match summary.unsigned_records {
        0 => writeln!(out, "  signed to the end")?,
        n => writeln!(out, "  the last {n} records are chained but not signed yet")?,
    }
    if summary.clock_steps_back > 0 {
        writeln!(out, "  the clock was set back {} times", summary.clock_steps_back)?;
    }
    if let Some(sums) = &summary.completeness {
        let connections = sums.clients.counted.connections;
        writeln!(
            out,
            "  completeness: the last run's kernel counted {connections} captured connections; `governor audit completeness`"
        )?;
    }
    match summary.completeness_mismatches {
        0 => {}
        n => writeln!(out, "  {red}{n} times{plain} the kernel's count and the records differed")?,
    }
    for note in &summary.notes {
        writeln!(out, "  note: {note}")?;
    }
    if let (Some(seq), Some(hash)) = (summary.last_seq, summary.last_hash) {
        writeln!(out, "  anchor: {seq}:{hash}")?;
    }
    Ok(())
}

/// Below this much nobody has time to read a percentage.
const PROGRESS_BYTES_MIN: u64 = 64 << 20;
