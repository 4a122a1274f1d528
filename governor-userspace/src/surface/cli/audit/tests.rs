//! The command on a real directory, and what may reach a terminal.

use super::*;
use crate::engine::audit::{AuditEvent, AuditRecord, Completion, Ending, Outcome, Row, StatementRecord};
use crate::engine::model::{DecisionId, SessionId, StatementKind};
use crate::host::ledger::{Ledger, LedgerOptions};
use std::sync::Arc;

fn at(ms: u64) -> Timestamp {
    Timestamp { unix_ns: 1_800_000_000_000_000_000 + ms * 1_000_000, monotonic_ns: ms * 1_000_000 }
}

fn statement(n: u64, text: &str) -> AuditRecord {
    let event = AuditEvent::Statement(Box::new(StatementRecord {
        decision: DecisionId(format!("S.{n}").into()),
        verdict: if n.is_multiple_of(2) { Verdict::Allow } else { Verdict::Deny },
        reasons: vec![].into(),
        kind: StatementKind::Select,
        tag: "SELECT".into(),
        text: text.into(),
        text_bytes: text.len() as u64,
        fingerprint: String::new().into(),
        reads: vec!["public.orders".into()].into(),
        writes: vec![].into(),
        unknown: None,
        parameters: vec![].into(),
        tokens: 0,
        conditions: Arc::from([]),
        executes: vec![],
        approval: None,
        break_glass: None,
        class: Class::Agent,
        user: "alice".into(),
        pid: 4711,
        database: "shop".into(),
        database_user: "app".into(),
    }));
    AuditRecord { at: at(n), session: Some(SessionId("S".into())), event }
}

fn completion(n: u64, rows: u64) -> AuditRecord {
    let event = AuditEvent::Completion(Completion {
        decision: DecisionId(format!("S.{n}").into()),
        outcome: Outcome::Complete,
        tag: None,
        rows,
        bytes: 1,
        masked: 0,
        masked_by: vec![],
        masked_in_doubt: vec![],
        duration_ns: 1_200_000,
        governor_ns: 1,
        sqlstate: None,
        limit: None,
        told_millibits: 0,
    });
    AuditRecord { at: at(n + 1), session: Some(SessionId("S".into())), event }
}

/// Statements 0 to 39 over several segments; each completion comes ten statements later.
fn place() -> (tempfile::TempDir, AuditFiles) {
    let dir = tempfile::tempdir().unwrap();
    let options = LedgerOptions {
        segment_bytes_max: 2000,
        ..LedgerOptions::new(dir.path().join("audit"), dir.path().join("keys"))
    };
    let ledger = Ledger::open(options, at(0)).unwrap();
    for n in 0..50 {
        if n < 40 {
            ledger.append(&[statement(n, &format!("SELECT {n} FROM orders"))]).unwrap();
        }
        if n >= 10 && n % 2 == 0 {
            ledger.append(&[completion(n - 10, n - 10)]).unwrap();
        }
    }
    ledger.close(at(99)).unwrap();
    let files = AuditFiles::open(&dir.path().join("audit")).unwrap();
    assert!(files.segments().len() > 4);
    (dir, files)
}

fn printed(files: &AuditFiles, filter: &Filter, limit: usize, json: bool) -> Vec<String> {
    let mut out = vec![];
    let mut style = render::Style::new(json, false, None);
    find::newest(files, filter, limit).unwrap().print(&mut out, &mut style).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn search_joins_completions_over_segments_and_keeps_order() {
    let (_dir, files) = place();
    let all = printed(&files, &Filter::default(), usize::MAX, false);
    assert_eq!(all.len(), 40);
    for (n, line) in all.iter().enumerate() {
        assert!(line.contains(&format!("SELECT {n} FROM orders")), "{line}");
        let verdict = if n % 2 == 0 { "allow" } else { "deny" };
        assert!(line.contains(verdict) && line.contains("agent alice/4711"), "{line}");
        assert_eq!(line.contains(&format!(" {n} rows 1.2 ms")), n % 2 == 0, "{line}");
    }
    assert_eq!(printed(&files, &Filter::default(), 7, false).len(), 7);
    let newest = printed(&files, &Filter { verdict: Some(Verdict::Allow), ..Filter::default() }, 3, false);
    assert!(
        newest[0].contains("SELECT 34 ") && newest[2].contains("SELECT 38 ") && newest[0].contains("34 rows")
    );
    let json = printed(&files, &Filter { text: Some("select 12 ".into()), ..Filter::default() }, 9, true);
    assert_eq!(json.len(), 2, "the statement as stored, then its completion: {json:?}");
    assert!(json[0].starts_with("{\"seq\":") && json[1].contains("\"event\":\"completion\""));
    let event = Filter { event: Some("completion".into()), ..Filter::default() };
    assert_eq!(printed(&files, &event, usize::MAX, false).len(), 20);
}

#[test]
fn show_tells_everything_about_one_id_and_refuses_unknown_ones() {
    let (_dir, files) = place();
    let show = |id: &str| {
        let mut out = vec![];
        find::show(&files, id, &mut out, &mut render::Style::new(true, false, None))
            .map(|()| String::from_utf8(out).unwrap().lines().count())
    };
    assert_eq!(show("S.4").unwrap(), 2);
    assert_eq!(show("S.5").unwrap(), 1);
    assert_eq!(show("S").unwrap(), 60);
    assert!(show("S.400").unwrap_err().to_string().contains("no record names"));
}

#[test]
fn nothing_a_client_sends_acts_on_the_terminal() {
    let evil = "SELECT 1 --\u{1b}]0;owned\u{7}\r\n\u{202e}evil\u{9b}31m\tend";
    let record = statement(0, evil);
    let event = serde_json::to_string(&record.event).unwrap();
    let json = format!(
        "{{\"seq\":1,\"time\":\"2027-01-15T08:00:00.000000Z\",\"mono_ns\":0,\"session\":\"S\",{}",
        &event[1..]
    );
    let row = Row::parse(json.as_bytes()).unwrap();
    let mut out = vec![];
    let mut style = render::Style::new(false, false, None);
    style.line(&mut out, &render::View { row: &row, ending: None }).unwrap();
    style.details(&mut out, &row, json.as_bytes()).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("evil") && text.contains("owned"));
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
}

#[test]
fn lines_are_cut_to_the_width_by_characters() {
    let record = statement(0, &"é".repeat(500));
    let event = serde_json::to_string(&record.event).unwrap();
    let json = format!(
        "{{\"seq\":1,\"time\":\"2027-01-15T08:00:00.000000Z\",\"mono_ns\":0,\"session\":\"S\",{}",
        &event[1..]
    );
    let row = Row::parse(json.as_bytes()).unwrap();
    let ending = Ending { outcome: "error".into(), sqlstate: Some("42501".into()), ..Ending::default() };
    for width in [1, 20, 80, 200] {
        let mut out = vec![];
        let view = render::View { row: &row, ending: Some(&ending) };
        render::Style::new(false, false, Some(width)).line(&mut out, &view).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line.trim_end_matches('\n').chars().count(), width, "{line}");
        let mut colored = vec![];
        render::Style::new(false, true, Some(width)).line(&mut colored, &view).unwrap();
        assert_eq!(width > 40, String::from_utf8(colored).unwrap().contains("\x1b[32mallow\x1b[0m"));
    }
}

#[test]
fn times_are_read_in_every_form_and_nothing_else() {
    let now = 1_800_000_000_000_000_000;
    for (text, expected) in [
        ("15m", "2027-01-15T07:45:00.000000Z"),
        ("2d", "2027-01-13T08:00:00.000000Z"),
        ("2026-11-23", "2026-11-23T00:00:00.000000Z"),
        ("2026-11-23T12:00:00+02:00", "2026-11-23T10:00:00.000000Z"),
    ] {
        assert_eq!(moment_at(text, now).unwrap(), expected, "{text}");
    }
    for text in ["", "m", "15", "15 m", "-5m", "yesterday", "é", "99999999999999999999d", "2026-13-01"] {
        assert!(moment_at(text, now).is_err(), "{text}");
    }
}

#[derive(Debug, clap::Parser)]
struct Program {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    audit: AuditArgs,
}

#[test]
fn verify_exits_with_1_on_a_finding_and_errors_say_what_is_missing() {
    use clap::{CommandFactory as _, Parser as _};
    Program::command().debug_assert();
    let (dir, _files) = place();
    let state = dir.path().to_str().unwrap();
    let run_with = |more: &[&str]| {
        let program = Program::try_parse_from([&["governor", "--state-dir", state][..], more].concat())?;
        run(&program.audit, &program.globals).map(|code| format!("{code:?}"))
    };
    let (good, bad) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::from(1)));
    assert_eq!(run_with(&["verify"]).unwrap(), good);
    assert_eq!(run_with(&["verify", "--json"]).unwrap(), good);
    let anchor = format!("3:{}", "0".repeat(64));
    assert_eq!(run_with(&["verify", "--anchor", &anchor]).unwrap(), bad);
    assert!(run_with(&["verify", "--anchor", "3"]).is_err());
    assert!(run_with(&["verify", "--public-key", "/nowhere"]).unwrap_err().to_string().contains("/nowhere"));
    let error = run_with(&["tail", "--dir", state]).unwrap_err().to_string();
    assert!(error.contains("holds no audit segments"), "{error}");
    assert!(run_with(&["search", "--class", "robot"]).is_err());
    std::fs::remove_file(dir.path().join("audit/segment-0000000002.jsonl")).unwrap();
    assert_eq!(run_with(&["verify"]).unwrap(), bad);
}
