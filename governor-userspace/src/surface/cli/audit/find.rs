//! Finds records in segments and joins statements with how they ended.
//!
//! Segments are read newest first, so that the usual question is answered without reading the archive.
//! Memory is bounded by what is shown, except with `--limit 0`.

use super::render::{Style, View};
use crate::engine::audit::{Ending, Filter, Row};
use crate::host::ledger::{AuditFiles, Follower};
use anyhow::bail;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Matches, oldest first.
#[derive(Debug, Default)]
pub(super) struct Found(VecDeque<Hit>);

/// One record as stored, and the completions of its statement.
#[derive(Debug)]
struct Hit {
    json: Vec<u8>,
    decision: Option<String>,
    completions: Vec<Vec<u8>>,
}

impl Hit {
    fn new(json: &[u8], row: &Row<'_>) -> Self {
        let decision = row.decision.as_deref().filter(|_| row.is_statement()).map(str::to_owned);
        Self { json: json.to_vec(), decision, completions: vec![] }
    }

    fn print(&self, out: &mut impl Write, style: &mut Style) -> io::Result<()> {
        if style.json {
            for json in std::iter::once(&self.json).chain(&self.completions) {
                out.write_all(json)?;
                out.write_all(b"\n")?;
            }
            return Ok(());
        }
        let Some(row) = Row::parse(&self.json) else { return Ok(()) };
        let mut ending = None;
        for completion in self.completions.iter().filter_map(|json| Row::parse(json)) {
            ending.get_or_insert_with(Ending::default).add(&completion);
        }
        style.line(out, &View { row: &row, ending: ending.as_ref() })
    }
}

impl Found {
    pub(super) fn print(&self, out: &mut impl Write, style: &mut Style) -> io::Result<()> {
        self.0.iter().try_for_each(|hit| hit.print(out, style))
    }
}

/// The newest `limit` matches. Completions are joined with their statements and not shown by themselves,
/// unless they are asked for by name.
pub(super) fn newest(files: &AuditFiles, filter: &Filter, limit: usize) -> io::Result<Found> {
    let mut found = Found::default();
    // Completions from newer segments whose statement has not been met yet.
    let mut orphans: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    let wants_completions = filter.event.as_deref() == Some("completion");
    for &segment in files.segments().iter().rev() {
        let room = limit.saturating_sub(found.0.len());
        if room == 0 {
            break;
        }
        let mut hits: VecDeque<Hit> = VecDeque::new();
        // Position of a statement's hit, counted from the first hit ever in this segment.
        let mut position: HashMap<String, usize> = HashMap::new();
        let mut dropped = 0;
        let mut segment_orphans: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
        files.each_line(segment, |json| {
            let is_completion = contains(json, br#""event":"completion""#);
            if !is_completion && !filter.may_match(json) {
                return Ok(true);
            }
            let Some(row) = Row::parse(json) else { return Ok(true) };
            if row.is_completion() && !wants_completions {
                let decision = row.decision.as_deref().unwrap_or_default();
                match position.get(decision) {
                    Some(&at) => {
                        if let Some(hit) = at.checked_sub(dropped).and_then(|at| hits.get_mut(at)) {
                            hit.completions.push(json.to_vec());
                        }
                    }
                    // The statement may be in this segment and not match: such an orphan finds nobody.
                    None => segment_orphans.entry(decision.to_owned()).or_default().push(json.to_vec()),
                }
                return Ok(true);
            }
            if filter.matches(&row) {
                let hit = Hit::new(json, &row);
                if let Some(decision) = &hit.decision {
                    position.insert(decision.clone(), dropped + hits.len());
                }
                hits.push_back(hit);
                if hits.len() > room {
                    if let Some(old) = hits.pop_front().and_then(|hit| hit.decision)
                        && position.get(&old) == Some(&dropped)
                    {
                        position.remove(&old);
                    }
                    dropped += 1;
                }
            } else if row.is_statement()
                && let Some(decision) = &row.decision
            {
                // Known not to match: its completions need not be kept.
                segment_orphans.remove(&**decision);
                orphans.remove(&**decision);
            }
            if segment_orphans.len() > ORPHANS_COUNT_MAX {
                segment_orphans.clear();
            }
            Ok(true)
        })?;
        for hit in &mut hits {
            if let Some(late) = hit.decision.as_ref().and_then(|decision| orphans.remove(decision)) {
                hit.completions.extend(late);
            }
        }
        for (decision, mut completions) in segment_orphans {
            completions.extend(orphans.remove(&decision).unwrap_or_default());
            orphans.insert(decision, completions);
        }
        if orphans.len() > ORPHANS_COUNT_MAX {
            orphans.clear();
        }
        hits.append(&mut found.0);
        found.0 = hits;
    }
    Ok(found)
}

/// Everything about one decision, session or approval.
pub(super) fn show(
    files: &AuditFiles,
    id: &str,
    out: &mut impl Write,
    style: &mut Style,
) -> anyhow::Result<()> {
    let quoted = serde_json::to_vec(id)?;
    let mut is_session = false;
    let (mut decisions, mut approvals, mut sessions) = (HashSet::new(), HashSet::new(), HashSet::new());
    for &segment in files.segments() {
        files.each_line(segment, |json| {
            let row = contains(json, &quoted).then(|| Row::parse(json)).flatten();
            let Some(row) = row else { return Ok(true) };
            let session = row.session.as_deref();
            is_session |= session == Some(id);
            let (decision, approval) = (row.decision.as_deref(), row.approval.as_deref());
            if session == Some(id) || decision == Some(id) || approval == Some(id) {
                sessions.extend(session.map(str::to_owned));
                decisions.extend(decision.map(str::to_owned));
                approvals.extend(approval.map(str::to_owned));
            }
            Ok(true)
        })?;
    }
    if sessions.is_empty() && decisions.is_empty() && approvals.is_empty() {
        bail!("no record names {id:?}");
    }
    for &segment in files.segments() {
        files.each_line(segment, |json| {
            let Some(row) = Row::parse(json) else { return Ok(true) };
            let has = |set: &HashSet<String>, value: Option<&str>| value.is_some_and(|v| set.contains(v));
            let of_session = has(&sessions, row.session.as_deref());
            let frames = matches!(&*row.event, "session_start" | "session_decision" | "session_end");
            if has(&decisions, row.decision.as_deref())
                || has(&approvals, row.approval.as_deref())
                || (of_session && (is_session || frames))
            {
                if style.json {
                    out.write_all(json)?;
                    out.write_all(b"\n")?;
                } else {
                    style.details(out, &row, json)?;
                }
            }
            Ok(true)
        })?;
    }
    Ok(())
}

/// Shows matches as they come. A statement waits a moment for its ending, so that one line tells all.
pub(super) fn follow(
    mut follower: Follower,
    filter: &Filter,
    out: &mut impl Write,
    style: &mut Style,
) -> anyhow::Result<ExitCode> {
    let mut waiting: VecDeque<(Instant, Hit)> = VecDeque::new();
    let wants_completions = filter.event.as_deref() == Some("completion");
    loop {
        let now = Instant::now();
        follower.poll(|json| {
            let Some(row) = Row::parse(json) else { return Ok(()) };
            if row.is_completion() && !wants_completions {
                let decision = row.decision.as_deref();
                if let Some((_, hit)) =
                    waiting.iter_mut().find(|(_, hit)| hit.decision.as_deref() == decision)
                {
                    hit.completions.push(json.to_vec());
                }
            } else if filter.matches(&row) {
                waiting.push_back((now, Hit::new(json, &row)));
            }
            Ok(())
        })?;
        // In order: what ended waits for what came before it.
        while let Some((since, hit)) = waiting.front() {
            let forwarded = hit.decision.is_some() && contains(&hit.json, br#""verdict":"allow""#);
            let is_ready = !forwarded || !hit.completions.is_empty();
            if !is_ready && since.elapsed() < ENDING_WAIT && waiting.len() < WAITING_COUNT_MAX {
                break;
            }
            hit.print(out, style)?;
            waiting.pop_front();
        }
        out.flush()?;
        std::thread::sleep(POLL_EVERY);
    }
}

fn contains(json: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(json, needle).is_some()
}

/// Completions that are in flight when a segment ends: far fewer than this.
const ORPHANS_COUNT_MAX: usize = 100_000;
const ENDING_WAIT: Duration = Duration::from_millis(1000);
const WAITING_COUNT_MAX: usize = 1000;
const POLL_EVERY: Duration = Duration::from_millis(100);
