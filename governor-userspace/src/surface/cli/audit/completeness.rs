//! `governor audit completeness`: the kernel's count of connections and bytes, beside what the records account for.
//!
//! One chain has the records of every run, and while one agent takes over from another those of two are mixed. What a
//! record counts for is therefore said by its `run`; records without one (of earlier versions) belong to the run before them.

use super::super::text::{Paint, safe};
use super::Globals;
use crate::engine::audit::{Completeness, CompletenessMismatch, Count, SessionSockets, SideCount, UnixSide};
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
    run: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_over_from: Option<String>,
    /// Runs that still had sessions when this one took over.
    #[serde(skip)]
    beside: Vec<String>,
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
    #[serde(default)]
    run: String,
    #[serde(default)]
    took_over_from: Option<String>,
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
            || !holds(self.sessions.unix.client, sums.unix.clients.audited, self.stopped)
            || !holds(self.sessions.unix.database, sums.unix.databases.audited, self.stopped)
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

/// The newest `runs_max` runs, and those that they took over from while these had sessions.
fn read(files: &AuditFiles, runs_max: usize) -> io::Result<VecDeque<Run>> {
    let mut runs = Runs::default();
    for &segment in files.segments() {
        files.each_line(segment, |json| {
            if EVENTS.iter().any(|event| memchr::memmem::find(json, event).is_some())
                && let Ok(line) = serde_json::from_slice::<Line>(json)
            {
                runs.take(line, json);
                runs.forget_but(runs_max);
            }
            Ok(true)
        })?;
    }
    Ok(runs.0)
}

#[derive(Debug, Default)]
struct Runs(VecDeque<Run>);

impl Runs {
    fn take(&mut self, line: Line, json: &[u8]) {
        if line.event == "agent_start" {
            let before = line.took_over_from.as_ref();
            let before = self.0.iter().find(|run| before.is_some_and(|before| *before == run.run));
            let beside = before.map_or_else(Vec::new, |before| {
                let mut beside = before.beside.clone();
                beside.push(before.run.clone());
                beside.retain(|run| self.of(run).is_some_and(|run| !run.stopped));
                beside
            });
            self.0.push_back(Run {
                from: line.time.clone(),
                pid: line.pid.unwrap_or_default(),
                run: line.run.clone(),
                took_over_from: line.took_over_from.clone(),
                beside,
                ..Run::default()
            });
        }
        let run = if line.run.is_empty() {
            self.0.back_mut()
        } else {
            self.0.iter_mut().find(|run| run.run == line.run)
        };
        // Otherwise it is one that nobody asked for.
        let Some(run) = run else { return };
        run.to.clone_from(&line.time);
        match line.event.as_str() {
            "agent_stop" => run.stopped = true,
            "session_end" => {
                let sockets = line.sockets.unwrap_or_default();
                add(&mut run.sessions.client, sockets.client);
                add(&mut run.sessions.database, sockets.database);
                add(&mut run.sessions.unix.client, sockets.unix.client);
                add(&mut run.sessions.unix.database, sockets.unix.database);
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
    }

    fn of(&self, name: &str) -> Option<&Run> {
        self.0.iter().find(|run| run.run == name)
    }

    fn forget_but(&mut self, newest: usize) {
        let first = self.0.len().saturating_sub(newest);
        if first == 0 {
            return;
        }
        let beside: Vec<String> = self.0.iter().skip(first).flat_map(|run| run.beside.clone()).collect();
        let mut at = 0;
        self.0.retain(|run| {
            at += 1;
            at > first || beside.contains(&run.run)
        });
    }
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
    let after = if run.took_over_from.is_some() { ", by an upgrade" } else { "" };
    let _ = writeln!(
        out,
        "{}",
        paint.bold(&format!("agent {}{after} from {} to {}{still}", run.pid, safe(&run.from), safe(&run.to)))
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
    if capture.arrived > 0 {
        let _ = writeln!(out, "  arrived from other hosts: {}", capture.arrived);
    }
    let _ = writeln!(out, "  {:<28}{:>14}{:>18}{:>18}", "", "connections", "bytes in", "bytes out");
    side(&mut out, "clients", &sums.clients, run.sessions.client, paint);
    side(&mut out, "databases", &sums.databases, run.sessions.database, paint);
    if !sums.unix.is_empty() {
        let records = run.sessions.unix;
        unix_side(&mut out, "clients", &sums.unix.clients, records.client, paint);
        unix_side(&mut out, "databases", &sums.unix.databases, records.database, paint);
    }
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

/// What nobody but governor has counted.
fn unix_side(out: &mut String, name: &str, count: &UnixSide, records: Count, paint: Paint) {
    let title = format!("  unix sockets, {name}: the kernel keeps no count of these");
    let _ = writeln!(out, "{}", paint.yellow(&title));
    let mut counted = |label: &str, count: Count| {
        let Count { connections, bytes_in, bytes_out } = count;
        let _ = writeln!(out, "  {label:<28}{connections:>14}{bytes_in:>18}{bytes_out:>18}");
    };
    counted("  sessions", count.audited);
    counted("  sessions, by their records", records);
    if count.refused.connections > 0 {
        counted("  refused before a session", count.refused);
    }
    if count.open > 0 {
        let _ = writeln!(out, "  {:<28}{:>14}", "  open", count.open);
    }
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

    fn told(lines: &[&str], runs_max: usize) -> Vec<(String, u64, bool, &'static str)> {
        let mut runs = Runs::default();
        for text in lines {
            runs.take(serde_json::from_str(text).unwrap(), text.as_bytes());
            runs.forget_but(runs_max);
        }
        runs.0.iter_mut().for_each(Run::judge);
        runs.0
            .iter()
            .map(|run| (run.run.clone(), run.sessions.client.connections, run.stopped, run.verdict))
            .collect()
    }

    #[test]
    fn two_agents_at_once_are_kept_apart() {
        let end = |run: &str| {
            format!(
                r#"{{"time":"t","session":"s","event":"session_end","run":"{run}","sockets":{{"client":{{"connections":1,"bytes_in":2,"bytes_out":3}},"database":{{"connections":0,"bytes_in":0,"bytes_out":0}}}}}}"#
            )
        };
        let sums = |run: &str, n: u64| {
            let count = Count { connections: n, bytes_in: 2 * n, bytes_out: 3 * n };
            let clients = SideCount { counted: count, audited: count, ..SideCount::default() };
            let sums = Completeness { run: run.into(), clients, ..Completeness::default() };
            let text = serde_json::to_string(&sums).unwrap();
            format!(r#"{{"time":"t","session":null,"event":"completeness",{}"#, &text[1..])
        };
        let start = |run: &str, before: &str| {
            format!(
                r#"{{"time":"t","session":null,"event":"agent_start","pid":1,"run":"{run}","took_over_from":{before}}}"#
            )
        };
        let stop = |run: &str| format!(r#"{{"time":"t","session":null,"event":"agent_stop","run":"{run}"}}"#);
        let lines = [
            start("a", "null"),
            end("a"),
            start("b", "\"a\""),
            // The old one's sessions go on, and each tells its own sums.
            end("b"),
            end("a"),
            sums("b", 1),
            sums("a", 2),
            stop("a"),
            start("c", "\"b\""),
            end("b"),
            sums("b", 2),
            end("c"),
            sums("c", 1),
            stop("b"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let whole = |run: &str, count, stopped| (run.to_owned(), count, stopped, "whole");
        assert_eq!(
            told(&lines, usize::MAX),
            [whole("a", 2, true), whole("b", 2, true), whole("c", 1, false)]
        );
        // The newest, and the one that had sessions when it took over.
        assert_eq!(told(&lines, 1), [whole("b", 2, true), whole("c", 1, false)]);
        // One record less of the old one's sessions is its own fault.
        let less: Vec<&str> =
            lines.iter().enumerate().filter(|(n, _)| *n != 4).map(|(_, line)| *line).collect();
        assert_eq!(told(&less, usize::MAX)[0].3, "records_missing");
        assert_eq!(told(&less, usize::MAX)[1].3, "whole");
    }

    #[test]
    fn records_of_an_earlier_version_belong_to_the_run_before_them() {
        let lines = [
            r#"{"time":"t","session":null,"event":"agent_start","pid":1}"#,
            r#"{"time":"t","session":null,"event":"agent_stop","reason":"SIGTERM"}"#,
            r#"{"time":"t","session":null,"event":"agent_start","pid":2}"#,
        ];
        let runs: Vec<bool> = told(&lines, usize::MAX).into_iter().map(|run| run.2).collect();
        assert_eq!(runs, [true, false]);
        assert_eq!(told(&lines, 1).len(), 1);
    }

    #[test]
    fn unix_sockets_are_a_row_of_their_own() {
        let three = Count { connections: 3, bytes_in: 100, bytes_out: 200 };
        let mut run = run_of(Count::default(), Count::default(), true);
        assert!(!page(&run, Paint { on: false }).contains("unix sockets"));
        if let Some(sums) = &mut run.sums {
            sums.unix.clients.audited = three;
        }
        run.sessions.unix.client = Count { connections: 2, ..three };
        run.judge();
        assert_eq!(run.verdict, "records_missing");
        let text = page(&run, Paint { on: false });
        assert!(text.contains("unix sockets, clients: the kernel keeps no count of these"), "{text}");
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
