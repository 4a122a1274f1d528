//! Records for people: one line each, aligned, safe to print.
//!
//! Invariant: nothing a client sent reaches the terminal as a control character.

use super::Globals;
use crate::engine::audit::{Ending, Row};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

/// One record and, for a statement, how it ended.
pub(super) struct View<'a> {
    pub row: &'a Row<'a>,
    pub ending: Option<&'a Ending>,
}

/// How to print: colour, width, and columns that grow with what they hold so that lines stay aligned.
#[derive(Debug)]
pub(super) struct Style {
    pub json: bool,
    color: bool,
    /// Characters a line; `None` where nothing is cut.
    width: Option<usize>,
    columns: [usize; 4],
}

impl Style {
    pub(super) fn of_stdout(globals: &Globals) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self::new(globals.json, globals.color(), if is_terminal { terminal_width() } else { None })
    }

    pub(super) fn new(json: bool, color: bool, width: Option<usize>) -> Self {
        Self { json, color, width, columns: [16, 6, 6, 12] }
    }

    /// time, verdict, who, database, kind, ending, text.
    pub(super) fn line(&mut self, out: &mut impl Write, view: &View<'_>) -> io::Result<()> {
        let row = view.row;
        let verdict = match (row.verdict.as_deref(), &*row.event) {
            (Some(verdict @ ("allow" | "deny" | "hold")), _) => verdict,
            (
                _,
                "protocol_error"
                | "policy_refused"
                | "peers_refused"
                | "write_failed"
                | "tail_cut"
                | "completeness_mismatch",
            ) => "error",
            _ => "·",
        };
        let (database, kind) = match row.is_statement() {
            true => (row.database.as_deref().unwrap_or("-"), row.kind.as_deref().unwrap_or("-")),
            false => (row.claims.as_ref().map_or("-", |claims| &claims.database), "-"),
        };
        let cells = [who(row), clean(database), clean(kind), view.ending.map_or("-".into(), ending)];
        let time = clean(row.time.get(..23).unwrap_or(&row.time)) + "Z";
        let mut plain = format!("{time}  ");
        let verdict_at = plain.len();
        let _ = write!(plain, "{verdict:<5}");
        for (cell, width) in cells.iter().zip(&mut self.columns) {
            *width = (*width).max(cell.chars().count()).min(COLUMN_WIDTH_MAX);
            let _ = write!(plain, "  {cell:<width$}", width = *width);
        }
        let _ = write!(plain, "  {}", what(row));
        let line = match self.width {
            Some(width) => cut(&plain, width),
            None => plain,
        };
        match (self.color, line.split_at_checked(verdict_at)) {
            (true, Some((time, rest))) => {
                let (word, rest) = rest.split_at_checked(verdict.len()).unwrap_or((rest, ""));
                writeln!(out, "\x1b[2m{time}\x1b[0m{}{word}\x1b[0m{rest}", color_of(verdict))
            }
            _ => writeln!(out, "{}", line.trim_end()),
        }
    }

    /// The line, then every field of the record with its name.
    pub(super) fn details(&mut self, out: &mut impl Write, row: &Row<'_>, json: &[u8]) -> io::Result<()> {
        let (bold, plain) = if self.color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(out, "{bold}{}  {}{plain}  (seq {})", clean(&row.time), clean(&row.event), row.seq)?;
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)?;
        for (name, value) in &fields {
            if !matches!(name.as_str(), "seq" | "time" | "mono_ns" | "event") {
                detail(out, 1, &clean(name), value)?;
            }
        }
        writeln!(out)
    }
}

/// Names and values, nested by indentation. Empty values say nothing and are left out.
fn detail(out: &mut impl Write, depth: usize, name: &str, value: &serde_json::Value) -> io::Result<()> {
    use serde_json::Value;
    let indent = depth * 2;
    match value {
        Value::Null => Ok(()),
        Value::String(text) if text.is_empty() => Ok(()),
        Value::String(text) => {
            writeln!(
                out,
                "{:indent$}{name}: {}",
                "",
                if name == "text" { clean_lines(text, indent + 6) } else { clean(text) }
            )
        }
        Value::Object(fields) => {
            writeln!(out, "{:indent$}{name}:", "")?;
            fields.iter().try_for_each(|(name, value)| detail(out, depth + 1, &clean(name), value))
        }
        Value::Array(items) if items.is_empty() => Ok(()),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            writeln!(out, "{:indent$}{name}:", "")?;
            items.iter().try_for_each(|item| detail(out, depth + 1, "-", item))
        }
        Value::Array(items) => {
            let shown: Vec<_> =
                items.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), clean)).collect();
            writeln!(out, "{:indent$}{name}: {}", "", shown.join(", "))
        }
        other => writeln!(out, "{:indent$}{name}: {other}", ""),
    }
}

/// `agent alice/4711`.
fn who(row: &Row<'_>) -> String {
    let principal = row.principal.as_ref();
    let class = row.class.or(principal.map(|p| p.class));
    let user = row.user.as_deref().or(principal.map(|p| p.login_user.as_deref().unwrap_or(&p.user)));
    match (class, user, row.pid.or(principal.map(|p| p.pid))) {
        (Some(class), Some(user), Some(pid)) => format!("{class} {}/{pid}", clean(user)),
        _ => "-".into(),
    }
}

fn what(row: &Row<'_>) -> String {
    let reasons = || row.reasons.iter().map(|r| if r.text.is_empty() { &r.policy } else { &r.text });
    let mut text = match (&*row.event, &row.text) {
        ("statement", Some(text)) => clean(text),
        _ => clean(&row.event),
    };
    let mut add = |more: &str| {
        if !more.is_empty() {
            let _ = write!(text, " · {}", clean(more));
        }
    };
    match &*row.event {
        "statement" => {
            if row.verdict.as_deref() != Some("allow") {
                reasons().take(1).for_each(|reason| add(reason));
            }
        }
        "session_start" => {
            if let Some(p) = &row.principal {
                add(p.executable.as_deref().unwrap_or(&p.command));
            }
            if let Some(destination) = &row.destination {
                add(&format!("to {destination}"));
            }
        }
        "session_decision" => {
            if let Some(claims) = &row.claims {
                add(&format!("as {}", claims.user));
                add(&claims.application_name);
            }
            reasons().take(1).for_each(|reason| add(reason));
        }
        "hold_end" => {
            add(row.approval.as_deref().unwrap_or_default());
            if let Some(answer) = &row.answer {
                add(&answer.answer);
                if !answer.by.is_empty() {
                    add(&format!("by {}", answer.by));
                }
                add(&answer.note);
            }
        }
        _ => {
            add(row.approval.as_deref().unwrap_or_default());
            add(row.version.as_deref().unwrap_or_default());
            add(row.outcome.as_deref().unwrap_or_default());
            add(row.reason.as_deref().unwrap_or_default());
            if let Some(statements) = row.statements {
                add(&format!("{statements} statements"));
            }
        }
    }
    text
}

/// `3 rows 1.2 ms`, with what went wrong in front.
fn ending(ending: &Ending) -> String {
    let mut text = match (ending.outcome.as_str(), &ending.sqlstate) {
        ("complete" | "suspended", _) => {
            format!("{} {}", ending.rows, if ending.rows == 1 { "row" } else { "rows" })
        }
        (_, Some(sqlstate)) => format!("error {}", clean(sqlstate)),
        (outcome, None) => clean(outcome),
    };
    if ending.masked > 0 {
        let _ = write!(text, " {} masked", ending.masked);
    }
    let us = ending.duration_ns as f64 / 1000.0;
    let _ = match us {
        us if us < 1000.0 => write!(text, " {us:.0} µs"),
        us if us < 1_000_000.0 => write!(text, " {:.1} ms", us / 1000.0),
        us => write!(text, " {:.1} s", us / 1_000_000.0),
    };
    text
}

fn color_of(verdict: &str) -> &'static str {
    match verdict {
        "allow" => "\x1b[32m",
        "hold" => "\x1b[33m",
        "deny" | "error" => "\x1b[31m",
        _ => "",
    }
}

/// On one line: runs of white space become one space, everything that a terminal would act on is shown.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_whitespace() {
            if !cleaned.ends_with(' ') {
                cleaned.push(' ');
            }
        } else if acts_on_terminal(c) {
            cleaned.extend(c.escape_unicode());
        } else {
            cleaned.push(c);
        }
    }
    cleaned
}

/// As [`clean`], but keeps line breaks and indents what follows them.
fn clean_lines(text: &str, indent: usize) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' => {
                let _ = write!(cleaned, "\n{:indent$}", "");
            }
            '\t' => cleaned.push_str("    "),
            '\r' => {}
            c if acts_on_terminal(c) => cleaned.extend(c.escape_unicode()),
            c => cleaned.push(c),
        }
    }
    cleaned
}

/// Control characters, and those that turn or hide text around them.
fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// At most `width` characters, with `…` where something is missing.
fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

fn terminal_width() -> Option<usize> {
    use std::os::fd::AsRawFd as _;
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize` to the pointer, which is valid and exclusive for the call.
    let result = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Longer cells push what follows to the right on their own line only.
const COLUMN_WIDTH_MAX: usize = 28;
