//! `governor audit completeness`: the kernel's count of connections and bytes, beside what the records account for.

use super::super::text::{Paint, safe};
use super::Globals;
use crate::engine::audit::{Completeness, CompletenessMismatch, Count, SessionSockets, SideCount};
use crate::host::ledger::AuditFiles;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// One life of an agent, as far as the records tell.
#[derive(Debug, Default, Serialize)]
struct Run {
    from: String,
    to: String,
    pid: u64,
    /// It ended with a word, so its last sums are final.
    stopped: bool,
    /// The newest sums on record.
    sums: Option<Completeness>,
    /// Sessions that ended, added up from their own records.
    sessions: SessionSockets,
    mismatches: VecDeque<Mismatch>,
    verdict: &'static str,
}

#[derive(Debug, Serialize)]
struct Mismatch {
    time: String,
    session: Option<String>,
    #[serde(flatten)]
    what: CompletenessMismatch,
}

/// What is read of a record here.
#[derive(Deserialize)]
struct Line {
    time: String,
    session: Option<String>,
    event: String,
    #[serde(default)]
    pid: Option<u64>,
    #[serde(default)]
    sockets: Option<SessionSockets>,
}

impl Run {
    /// `whole`: everything is accounted for; `unknown`: nothing was compared; otherwise what is wrong.
    fn judge(&mut self) {
        let Some(sums) = &self.sums else {
            self.verdict = if self.mismatches.is_empty() { "unknown" } else { "difference" };
            return;
        };
        let sides = [&sums.clients, &sums.databases];
        // Sums that do not add up in themselves say nothing.
        let adds_up = sides.iter().all(|side| side.pending > 0 || side.balance() == (0, 0, 0));
        self.verdict = if !sums.is_whole() || !self.mismatches.is_empty() || !adds_up {
            "difference"
        } else if !holds(self.sessions.client, sums.clients.audited, self.stopped)
            || !holds(self.sessions.database, sums.databases.audited, self.stopped)
        {
            // The sums are signed, and so are the sessions' records: one of them says too little.
            "records_missing"
        } else {
            "whole"
        };
    }
}

/// Records may be ahead of the sums while the agent runs, and never behind.
fn holds(records: Count, sums: Count, is_final: bool) -> bool {
    if is_final {
        return records == sums;
    }
    records.connections >= sums.connections
        && records.bytes_in >= sums.bytes_in
        && records.bytes_out >= sums.bytes_out
}

pub(super) fn run(files: &AuditFiles, runs_max: usize, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut runs = read(files, runs_max)?;
    runs.iter_mut().for_each(Run::judge);
    let mut out = io::stdout().lock();
    if globals.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&runs)?)?;
    } else {
        let paint = Paint { on: globals.color() };
        runs.iter().try_for_each(|run| out.write_all(page(run, paint).as_bytes()))?;
    }
    let is_well = runs.iter().all(|run| matches!(run.verdict, "whole" | "unknown"));
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(files: &AuditFiles, runs_max: usize) -> io::Result<VecDeque<Run>> {
    let mut runs: VecDeque<Run> = VecDeque::new();
    for &segment in files.segments() {
        files.each_line(segment, |json| {
            if !EVENTS.iter().any(|event| memchr::memmem::find(json, event).is_some()) {
                return Ok(true);
            }
            let Ok(line) = serde_json::from_slice::<Line>(json) else { return Ok(true) };
            if line.event == "agent_start" {
                runs.push_back(Run {
                    from: line.time.clone(),
                    pid: line.pid.unwrap_or_default(),
                    ..Run::default()
                });
                if runs.len() > runs_max {
                    runs.pop_front();
                }
            }
            let Some(run) = runs.back_mut() else { return Ok(true) };
            run.to.clone_from(&line.time);
            match line.event.as_str() {
                "agent_stop" => run.stopped = true,
                "session_end" => {
                    let sockets = line.sockets.unwrap_or_default();
                    add(&mut run.sessions.client, sockets.client);
                    add(&mut run.sessions.database, sockets.database);
                }
                "completeness" => run.sums = serde_json::from_slice(json).ok(),
                "completeness_mismatch" => {
                    if let Ok(what) = serde_json::from_slice(json) {
                        run.mismatches.push_back(Mismatch { time: line.time, session: line.session, what });
                        if run.mismatches.len() > MISMATCHES_MAX {
                            run.mismatches.pop_front();
                        }
                    }
                }
                _ => {}
            }
            Ok(true)
        })?;
    }
    Ok(runs)
}

fn add(sum: &mut Count, count: Count) {
    sum.connections = sum.connections.saturating_add(count.connections);
    sum.bytes_in = sum.bytes_in.saturating_add(count.bytes_in);
    sum.bytes_out = sum.bytes_out.saturating_add(count.bytes_out);
}

/// Writing to a String cannot fail.
fn page(run: &Run, paint: Paint) -> String {
    let mut out = String::new();
    let still = if run.stopped { "" } else { ", without its last word yet" };
    let _ = writeln!(
        out,
        "{}",
        paint.bold(&format!("agent {} from {} to {}{still}", run.pid, safe(&run.from), safe(&run.to)))
    );
    let Some(sums) = &run.sums else {
        let _ =
            writeln!(out, "  {}", paint.yellow("nothing was compared: no connection, or an earlier version"));
        return out;
    };
    let capture = &sums.capture;
    let _ = writeln!(
        out,
        "  captured: {} sent to governor, {} arrived, {} left before; {} refused, {} passed ungoverned",
        capture.redirected, capture.handed_over, capture.not_arrived, capture.refused, capture.passed
    );
    let _ = writeln!(out, "  {:<28}{:>14}{:>18}{:>18}", "", "connections", "bytes in", "bytes out");
    side(&mut out, "clients", &sums.clients, run.sessions.client, paint);
    side(&mut out, "databases", &sums.databases, run.sessions.database, paint);
    if let Some(before) = &sums.before {
        let text = format!(
            "the agent before left {} connections of clients ({} bytes in, {} out) and {} to databases in no last record",
            before.client.connections,
            before.client.bytes_in,
            before.client.bytes_out,
            before.database.connections
        );
        let _ = writeln!(out, "  {}", paint.yellow(&text));
    }
    for Mismatch { time, session, what } in &run.mismatches {
        let whose =
            session.as_deref().map_or_else(String::new, |session| format!(", session {}", safe(session)));
        let pid = what.pid.map_or_else(String::new, |pid| format!(", client's pid {pid}"));
        let text = format!(
            "{}: {} on the {:?} side: kernel {}, governor {}{whose}{pid}",
            safe(time),
            what.kind.as_str(),
            what.side,
            what.counted,
            what.audited
        );
        let _ = writeln!(out, "  {}", paint.red(&text));
    }
    let _ = match run.verdict {
        "whole" => {
            writeln!(out, "  {}", paint.green("OK: everything that the kernel counted is accounted for"))
        }
        "records_missing" => writeln!(
            out,
            "  {}",
            paint.red(
                "FOUND: the sessions' own records add up to less than the sums: `governor audit verify`"
            )
        ),
        _ => writeln!(out, "  {}", paint.red("FOUND: the kernel's count and the records differ")),
    };
    out
}

fn side(out: &mut String, name: &str, count: &SideCount, records: Count, paint: Paint) {
    let mut line = |label: &str, connections: String, bytes_in: String, bytes_out: String| {
        let _ = writeln!(out, "  {label:<28}{connections:>14}{bytes_in:>18}{bytes_out:>18}");
    };
    let mut counted = |label: &str, count: Count| {
        line(label, count.connections.to_string(), count.bytes_in.to_string(), count.bytes_out.to_string());
    };
    counted(&format!("{name}: kernel"), count.counted);
    counted("  sessions", count.audited);
    counted("  sessions, by their records", records);
    if count.refused.connections > 0 {
        counted("  refused before a session", count.refused);
    }
    let explained = [
        ("  arrived and left unread", count.unread, false),
        ("  arrived after the close", count.late, false),
        ("  never reached the peer", count.undelivered, true),
    ];
    for (label, bytes, is_out) in explained {
        if bytes > 0 {
            let (bytes_in, bytes_out) = if is_out {
                (String::new(), format!("-{bytes}"))
            } else {
                (bytes.to_string(), String::new())
            };
            line(label, String::new(), bytes_in, bytes_out);
        }
    }
    if count.open + count.pending > 0 {
        line("  open, or closing", (count.open + count.pending).to_string(), String::new(), String::new());
    }
    let difference = &count.difference;
    let label = "  difference";
    if difference.is_zero() {
        line(label, "0".into(), "0".into(), "0".into());
    } else {
        let text = format!(
            "  {label:<28}{:>14}{:>18}{:>18}",
            difference.connections, difference.bytes_in, difference.bytes_out
        );
        let _ = writeln!(out, "{}", paint.red(&text));
    }
}

const EVENTS: [&[u8]; 4] = [
    b"\"event\":\"agent_",
    b"\"event\":\"session_end\"",
    b"\"event\":\"completeness\"",
    b"\"event\":\"completeness_mismatch\"",
];
/// The newest of one run.
const MISMATCHES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(records: Count, audited: Count, stopped: bool) -> Run {
        let clients = SideCount { counted: audited, audited, ..SideCount::default() };
        let mut run = Run {
            stopped,
            sums: Some(Completeness { clients, ..Completeness::default() }),
            sessions: SessionSockets { client: records, ..SessionSockets::default() },
            ..Run::default()
        };
        run.judge();
        run
    }

    #[test]
    fn records_that_say_less_than_the_sums_are_found() {
        let ten = Count { connections: 10, bytes_in: 100, bytes_out: 200 };
        let nine = Count { connections: 9, ..ten };
        assert_eq!(run_of(ten, ten, true).verdict, "whole");
        assert_eq!(run_of(nine, ten, true).verdict, "records_missing");
        // A running agent's records may be ahead of its sums.
        assert_eq!(run_of(ten, nine, false).verdict, "whole");
        assert_eq!(run_of(ten, nine, true).verdict, "records_missing");
        let mut silent = Run::default();
        silent.judge();
        assert_eq!(silent.verdict, "unknown");
    }

    #[test]
    fn the_page_shows_what_differs() {
        let ten = Count { connections: 10, bytes_in: 100, bytes_out: 200 };
        let mut run = run_of(ten, ten, true);
        let text = page(&run, Paint { on: false });
        assert!(text.contains("OK: everything"), "{text}");
        if let Some(sums) = &mut run.sums {
            sums.clients.difference.bytes_in = -7;
            sums.mismatches = 1;
        }
        run.judge();
        let text = page(&run, Paint { on: false });
        assert!(text.contains("difference                             0                -7"), "{text}");
        assert!(text.contains("FOUND"), "{text}");
    }
}
