//! Recorded sessions and statements, decided again by two policy sets.
//!
//! The set that is in force stands for what was; so a difference is one between policies, not one between the record and
//! what happened. How often that set answers otherwise than the record says is counted and told: it shows how far
//! the replay can be believed.
//!
//! Invariant: bounded memory. Sessions, answers and kinds of change are kept up to a number; what is left out is counted.

use crate::engine::audit::parse_time;
use crate::engine::model::{Claims, Endpoint, Principal, Reason, Timestamp, Verdict};
use crate::engine::policy::{Moment, PolicyPrincipal, PolicySet, SessionContext};
use crate::engine::session::{Known, Rehearsal, Rehearsed};
use lru::LruCache;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// The fields of the three events that matter here.
#[derive(Debug, Deserialize)]
struct Entry {
    time: String,
    #[serde(default)]
    session: Option<String>,
    event: String,
    #[serde(default)]
    principal: Option<Principal>,
    #[serde(default)]
    destination: Option<Endpoint>,
    #[serde(default)]
    claims: Option<Claims>,
    #[serde(default)]
    verdict: Option<Verdict>,
    #[serde(default)]
    approval: Option<String>,
    /// Id of the broken glass; its reason is in another record.
    #[serde(default)]
    break_glass: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    /// What an EXECUTE or FETCH runs.
    #[serde(default)]
    executes: Vec<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    text_bytes: u64,
}

/// What is known of a session that was recorded.
#[derive(Clone, Debug)]
struct Recorded {
    principal: Arc<Principal>,
    destination: Endpoint,
    /// `None` until its start-up packet was decided.
    claims: Option<Claims>,
    /// Sessions that policy cannot tell apart have the same.
    identity: Arc<str>,
}

/// What the two sets answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answers {
    now: Verdict,
    then: Verdict,
    then_by: Vec<String>,
    /// The answers may rest on a name without a schema, or on hidden SQL.
    in_doubt: bool,
}

/// One kind of change: who, from what to what, by which policies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Change {
    pub was: &'static str,
    pub would_be: &'static str,
    pub class: &'static str,
    pub user: String,
    pub by: Vec<String>,
}

/// How often, and one of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Example {
    pub count: u64,
    pub in_doubt_count: u64,
    /// The first of them: SQL as recorded, or what else was asked.
    pub text: String,
    pub time: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    pub statements: u64,
    pub connections: u64,
    pub changed: u64,
    /// Changes that were not kept apart: too many kinds of them.
    pub changed_otherwise: u64,
    /// Left out: their text was cut when it was recorded.
    pub cut: u64,
    /// Left out: who asked is not known, as their session began before the first record.
    pub session_unknown: u64,
    /// The set in force answers otherwise than the record says.
    pub recorded_otherwise: u64,
    pub first_time: Option<String>,
    pub last_time: Option<String>,
}

pub(super) struct Replay<'a> {
    now: &'a PolicySet,
    then: &'a PolicySet,
    since: Option<String>,
    until: Option<String>,
    sessions: LruCache<String, Recorded>,
    answers: LruCache<(Arc<str>, u64), Answers>,
    pub changes: BTreeMap<Change, Example>,
    pub counts: Counts,
}

impl<'a> Replay<'a> {
    /// `since` and `until` are times as records have them.
    pub fn new(
        now: &'a PolicySet,
        then: &'a PolicySet,
        since: Option<String>,
        until: Option<String>,
    ) -> Self {
        Self {
            now,
            then,
            since,
            until,
            sessions: LruCache::new(SESSIONS_COUNT_MAX),
            answers: LruCache::new(ANSWERS_COUNT_MAX),
            changes: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Takes the next record; those that are about nothing that is decided are passed over.
    pub fn record(&mut self, json: &[u8]) {
        const EVENTS: [&[u8]; 4] = [
            br#""event":"statement""#,
            br#""event":"session_start""#,
            br#""event":"session_decision""#,
            br#""event":"session_end""#,
        ];
        if !EVENTS.iter().any(|event| memchr::memmem::find(json, event).is_some()) {
            return;
        }
        let Ok(entry) = serde_json::from_slice::<Entry>(json) else { return };
        let Some(session) = entry.session.clone() else { return };
        match entry.event.as_str() {
            "session_start" => {
                if let (Some(principal), Some(destination)) = (entry.principal, entry.destination) {
                    let principal = Arc::new(principal);
                    let identity = "".into();
                    let recorded = Recorded { principal, destination, claims: None, identity };
                    self.sessions.put(session, recorded);
                }
            }
            "session_decision" => self.connection(&session, &entry),
            "session_end" => drop(self.sessions.pop(&session)),
            "statement" => self.statement(&session, &entry),
            _ => {}
        }
    }

    fn connection(&mut self, session: &str, entry: &Entry) {
        let Some(recorded) = self.sessions.get_mut(session) else { return };
        recorded.claims.clone_from(&entry.claims);
        if let Some(claims) = &entry.claims {
            let who = PolicyPrincipal::new(recorded.principal.clone()).cache_key();
            let Claims { user, database, application_name } = claims;
            let to = recorded.destination.clone();
            recorded.identity =
                format!("{who:x}\u{0}{to}\u{0}{user}\u{0}{database}\u{0}{application_name}").into();
        }
        let recorded = recorded.clone();
        if !self.is_asked_for(&entry.time) {
            return;
        }
        self.counts.connections += 1;
        let ask = |set| rehearsal(set, &recorded, None, &entry.time).map(|rehearsal| rehearsal.connect());
        let (Some(now), Some(then)) = (ask(self.now), ask(self.then)) else { return };
        let answers = Answers {
            now: now.verdict,
            then: then.verdict,
            then_by: ids(then.reasons.iter()),
            in_doubt: false,
        };
        let database = recorded.claims.as_ref().map_or("", |claims| claims.database.as_str());
        let text = format!("connect to {database} at {}", recorded.destination);
        self.note(&recorded, answers, entry, &text);
    }

    fn statement(&mut self, session: &str, entry: &Entry) {
        if !self.is_asked_for(&entry.time) {
            return;
        }
        let Some(text) = entry.text.as_deref() else { return };
        let Some(recorded) = self.sessions.get(session).filter(|known| known.claims.is_some()).cloned()
        else {
            self.counts.session_unknown += 1;
            return;
        };
        if text.len() as u64 != entry.text_bytes && text.ends_with('…') {
            self.counts.cut += 1;
            return;
        }
        self.counts.statements += 1;
        let minute = if self.now.looks_at_time() || self.then.looks_at_time() {
            moment(&entry.time).map_or(0, |at| at.unix_s().unsigned_abs())
        } else {
            0
        };
        // An EXECUTE is what it runs: its name means nothing here.
        let own = (entry.kind.as_deref() != Some("execute") || entry.executes.is_empty()).then_some(text);
        let texts: Vec<&str> = own.into_iter().chain(entry.executes.iter().map(String::as_str)).collect();
        let glass = entry.break_glass.as_deref();
        let asked = texts.join("\u{0}");
        let key = (Arc::from(format!("{}\u{0}{glass:?}\u{0}{asked}", recorded.identity)), minute);
        let answers = match self.answers.get(&key) {
            Some(known) => known.clone(),
            None => {
                let Some(made) = self.answers(&recorded, &texts, glass, &entry.time) else { return };
                self.answers.put(key, made.clone());
                made
            }
        };
        self.note(&recorded, answers, entry, text);
    }

    fn answers(
        &self,
        recorded: &Recorded,
        texts: &[&str],
        glass: Option<&str>,
        time: &str,
    ) -> Option<Answers> {
        let ask = |set| -> Option<Vec<Rehearsed>> {
            let rehearsal = rehearsal(set, recorded, glass, time)?;
            Some(texts.iter().flat_map(|text| rehearsal.run(text, &Known::default())).collect())
        };
        let (now, then) = (ask(self.now)?, ask(self.then)?);
        let in_doubt = then.iter().any(|one| {
            let s = &one.statement;
            s.unknown.is_some() || s.reads.iter().chain(&s.writes).any(|relation| relation.schema.is_none())
        });
        Some(Answers {
            now: Rehearsed::strictest(&now),
            then: Rehearsed::strictest(&then),
            then_by: ids(Rehearsed::reasons(&then)),
            in_doubt,
        })
    }

    fn note(&mut self, recorded: &Recorded, answers: Answers, entry: &Entry, text: &str) {
        self.counts.first_time.get_or_insert_with(|| entry.time.clone());
        self.counts.last_time = Some(entry.time.clone());
        // What ran after an approval was held before it.
        let was = if entry.approval.is_some() { Some(Verdict::Hold) } else { entry.verdict };
        self.counts.recorded_otherwise += u64::from(was.is_some_and(|was| was != answers.now));
        if answers.now == answers.then {
            return;
        }
        self.counts.changed += 1;
        let change = Change {
            was: answers.now.as_str(),
            would_be: answers.then.as_str(),
            class: recorded.principal.class.as_str(),
            user: recorded.principal.login_user.as_ref().unwrap_or(&recorded.principal.user).clone(),
            by: answers.then_by,
        };
        if self.changes.len() >= CHANGES_COUNT_MAX && !self.changes.contains_key(&change) {
            self.counts.changed_otherwise += 1;
            return;
        }
        let example = self.changes.entry(change).or_insert_with(|| Example {
            count: 0,
            in_doubt_count: 0,
            text: text.chars().take(EXAMPLE_CHARACTERS_MAX).collect(),
            time: entry.time.clone(),
        });
        example.count += 1;
        example.in_doubt_count += u64::from(answers.in_doubt);
    }

    fn is_asked_for(&self, time: &str) -> bool {
        self.since.as_deref().is_none_or(|since| time >= since)
            && self.until.as_deref().is_none_or(|until| time < until)
    }
}

fn rehearsal<'a>(
    set: &'a PolicySet,
    recorded: &Recorded,
    glass: Option<&str>,
    time: &str,
) -> Option<Rehearsal<'a>> {
    let around = SessionContext { at: moment(time), break_glass: glass.map(Into::into) };
    let claims = recorded.claims.clone()?;
    Some(Rehearsal::new(set, recorded.principal.clone(), claims, recorded.destination.clone(), around))
}

fn moment(time: &str) -> Option<Moment> {
    Some(Moment::of(Timestamp { unix_ns: parse_time(time)?, monotonic_ns: 0 }))
}

fn ids<'a>(reasons: impl Iterator<Item = &'a Reason>) -> Vec<String> {
    let mut ids: Vec<String> = reasons.map(|reason| reason.policy.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

const fn count(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => NonZeroUsize::MIN,
    }
}

/// Open at the same time; about 4 KiB each.
const SESSIONS_COUNT_MAX: NonZeroUsize = count(20_000);
const ANSWERS_COUNT_MAX: NonZeroUsize = count(20_000);
const CHANGES_COUNT_MAX: usize = 5_000;
const EXAMPLE_CHARACTERS_MAX: usize = 500;
