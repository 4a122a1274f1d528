//! Reading records to answer questions: which ones match, and how their statements ended.
//!
//! A [`Row`] is a tolerant view of one stored record: fields it knows, whatever the event, so that
//! records of other versions can still be searched. It borrows from the line.

use crate::engine::model::{Class, Endpoint, Verdict};
use serde::Deserialize;
use std::borrow::Cow;

/// The fields that people search for and look at. Absent where the event has none.
#[derive(Clone, Debug, Deserialize)]
pub struct Row<'a> {
    pub seq: u64,
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    #[serde(borrow)]
    pub session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub decision: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub approval: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub verdict: Option<Cow<'a, str>>,
    #[serde(default)]
    pub reasons: Vec<RowReason>,
    #[serde(borrow, default)]
    pub kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub text: Option<Cow<'a, str>>,
    #[serde(default)]
    pub reads: Vec<String>,
    #[serde(default)]
    pub writes: Vec<String>,
    #[serde(default)]
    pub class: Option<Class>,
    #[serde(borrow, default)]
    pub user: Option<Cow<'a, str>>,
    #[serde(default)]
    pub pid: Option<u32>,
    #[serde(borrow, default)]
    pub database: Option<Cow<'a, str>>,
    #[serde(default)]
    pub claims: Option<RowClaims>,
    #[serde(default)]
    pub principal: Option<RowPrincipal>,
    #[serde(default)]
    pub destination: Option<Endpoint>,
    #[serde(borrow, default)]
    pub outcome: Option<Cow<'a, str>>,
    #[serde(default)]
    pub rows: Option<u64>,
    #[serde(default)]
    pub masked: Option<u64>,
    #[serde(default)]
    pub duration_ns: Option<u64>,
    #[serde(borrow, default)]
    pub sqlstate: Option<Cow<'a, str>>,
    #[serde(default)]
    pub answer: Option<RowAnswer>,
    /// What the event says in words, whatever its field is called.
    #[serde(borrow, default, alias = "message", alias = "error")]
    pub reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub version: Option<Cow<'a, str>>,
    #[serde(default)]
    pub statements: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct RowReason {
    #[serde(default)]
    pub policy: String,
    #[serde(default)]
    pub text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct RowClaims {
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub database: String,
    #[serde(default)]
    pub application_name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct RowPrincipal {
    pub class: Class,
    pub user: String,
    #[serde(default)]
    pub login_user: Option<String>,
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub command: String,
    #[serde(default)]
    pub executable: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct RowAnswer {
    #[serde(default)]
    pub answer: String,
    #[serde(default)]
    pub by: String,
    #[serde(default)]
    pub note: String,
}

impl<'a> Row<'a> {
    /// `None` where the JSON is no record at all.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub fn is_statement(&self) -> bool {
        self.event == "statement"
    }

    pub fn is_completion(&self) -> bool {
        self.event == "completion"
    }

    /// Written by the ledger about itself; of no interest unless asked for.
    pub fn is_bookkeeping(&self) -> bool {
        matches!(&*self.event, "segment_start" | "checkpoint" | "completeness")
    }
}

/// What a person searches for. Every condition that is present must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The attested user or login user, exactly. What the client claims is not matched.
    pub user: Option<String>,
    pub class: Option<Class>,
    pub session: Option<String>,
    pub database: Option<String>,
    /// `orders` matches that name in every schema, `public.orders` only itself.
    pub relation: Option<String>,
    pub kind: Option<String>,
    pub verdict: Option<Verdict>,
    /// Part of the statement's text, letter case ignored.
    pub text: Option<String>,
    pub event: Option<String>,
    /// RFC 3339 in UTC with microseconds, inclusive. That form sorts as text.
    pub since: Option<String>,
    /// As `since`, exclusive.
    pub until: Option<String>,
}

impl Filter {
    /// A cheap test on the bytes of the JSON; `false` only where [`Filter::matches`] would be `false`.
    pub fn may_match(&self, json: &[u8]) -> bool {
        let contains = |needle: &str| memchr::memmem::find(json, needle.as_bytes()).is_some();
        // A string with characters that JSON escapes may be spelled in several ways.
        let plain =
            |s: &str| s.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\' && b != b'/');
        let has = |wanted: &Option<String>| wanted.as_deref().is_none_or(|s| !plain(s) || contains(s));
        has(&self.user)
            && has(&self.session)
            && has(&self.database)
            && has(&self.relation)
            && has(&self.kind)
            && has(&self.event)
            && self.verdict.is_none_or(|v| contains(v.as_str()))
            && self.class.is_none_or(|c| contains(c.as_str()))
    }

    pub fn matches(&self, row: &Row<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let principal = row.principal.as_ref();
        let user = self.user.as_deref().is_none_or(|wanted| {
            row.user.as_deref() == Some(wanted)
                || principal.is_some_and(|p| p.user == wanted || p.login_user.as_deref() == Some(wanted))
        });
        let database = row.database.as_deref().or(row.claims.as_ref().map(|c| c.database.as_str()));
        user && is(&self.event, Some(&row.event))
            && (self.event.is_some() || !row.is_bookkeeping())
            && is(&self.session, row.session.as_deref())
            && is(&self.database, database)
            && is(&self.kind, row.kind.as_deref())
            && self.verdict.is_none_or(|v| row.verdict.as_deref() == Some(v.as_str()))
            && self.class.is_none_or(|class| row.class.or(principal.map(|p| p.class)) == Some(class))
            && self.since.as_deref().is_none_or(|since| &*row.time >= since)
            && self.until.as_deref().is_none_or(|until| &*row.time < until)
            && self.relation.as_deref().is_none_or(|wanted| {
                row.reads.iter().chain(&row.writes).any(|name| names_relation(name, wanted))
            })
            && self.text.as_deref().is_none_or(|wanted| {
                row.text.as_deref().is_some_and(|text| text.to_lowercase().contains(&wanted.to_lowercase()))
            })
    }
}

fn names_relation(name: &str, wanted: &str) -> bool {
    name == wanted || name.strip_suffix(wanted).is_some_and(|schema| schema.ends_with('.'))
}

/// How a statement ended, over all of its completion records: a portal that stops at its row limit
/// and goes on has several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    pub outcome: String,
    pub rows: u64,
    pub masked: u64,
    pub duration_ns: u64,
    pub sqlstate: Option<String>,
}

impl Ending {
    pub fn add(&mut self, completion: &Row<'_>) {
        self.outcome = completion.outcome.as_deref().unwrap_or_default().to_owned();
        self.rows += completion.rows.unwrap_or(0);
        self.masked += completion.masked.unwrap_or(0);
        self.duration_ns += completion.duration_ns.unwrap_or(0);
        if completion.sqlstate.is_some() {
            self.sqlstate = completion.sqlstate.as_deref().map(str::to_owned);
        }
    }
}
