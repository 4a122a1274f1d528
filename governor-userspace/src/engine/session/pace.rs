//! Bounds on a statement that runs: rows that it returns, time that it takes.
//!
//! A statement that meets its bound is cancelled on the server, through the session's own cancel key, and the client
//! reads why in place of the rest. The server itself fails, so the transaction is in the state that it would be in after
//! any failed statement. Where the server was through before the cancel came, a stand-in makes it fail.
//!
//! A cancel reaches whatever runs when it arrives. So a session whose statements may be bound sends one statement at a
//! time, and nothing behind a cancel before that is delivered: it cannot stop another statement than the one meant.

use super::Session;
use super::action::{Actions, Request};
use super::governance::Governance;
use super::judge::Judged;
use super::permit::{Permit, ProtocolNeed};
use super::pipeline::{Expect, Owed, Run};
use super::rates::RateKey;
use super::server::Step;
use crate::engine::model::{Decision, DecisionId, LimitKind, Limits, Timestamp, Verdict};
use crate::engine::wire::postgres::backend::kind;
use crate::engine::wire::postgres::encode::{self, Report, Severity};
use crate::engine::wire::postgres::{frontend, startup};
use bytes::Bytes;
use std::sync::Arc;

/// What is kept of the bounded statement that runs.
#[derive(Clone, Debug)]
pub(super) struct Paced {
    decision: DecisionId,
    limits: Limits,
    /// Rows that may still come.
    rows_left: Option<u64>,
    /// When it has to be through.
    deadline: Option<Timestamp>,
    /// It met a bound: the rest of its replies stays here.
    cut: Option<LimitKind>,
    /// The client has been told.
    told: bool,
}

/// The server's key for cancel requests of this session.
#[derive(Clone, Debug)]
pub(super) struct CancelKey {
    pub process: u32,
    pub secret: Vec<u8>,
}

impl Session {
    /// `@rate`: one statement more of this principal. What is over its bound is denied.
    pub(super) fn take_rate(&self, now: Timestamp, judged: &mut [Judged], governance: &Governance) {
        for one in judged {
            let Some(rate) = one.decision.obligations.limits.rate else { continue };
            if one.decision.verdict != Verdict::Allow {
                continue;
            }
            if let Err(wait_ns) = governance.rates.take(&RateKey::of(&self.setup.principal), rate, now) {
                let text = format!(
                    "more statements than {} in {} ms, over all connections of this principal",
                    rate.count,
                    rate.period_ns / 1_000_000
                );
                let hint = format!("Try again in {} ms.", wait_ns.div_ceil(1_000_000));
                one.decision = Arc::new(Decision::deny(RATE_POLICY, text, hint));
            }
        }
    }

    /// `run` goes to the server under the bounds of `judged`. Rows of one portal count together, so that many small
    /// fetches are no way around.
    pub(super) fn pace(&mut self, now: Timestamp, run: &mut Run, judged: &[Judged], portal: Option<&[u8]>) {
        let limits =
            judged.iter().fold(Limits::default(), |all, one| all.and(one.decision.obligations.limits));
        if !limits.while_running() {
            return;
        }
        let before = portal.and_then(|name| self.portals.newest(name)).map_or(0, |portal| portal.rows);
        run.portal = portal.map(Into::into);
        let deadline = limits.time_ns_max.map(|limit| Timestamp {
            unix_ns: now.unix_ns.saturating_add(limit),
            monotonic_ns: now.monotonic_ns.saturating_add(limit),
        });
        self.paced = Some(Box::new(Paced {
            decision: run.decision.clone(),
            limits,
            rows_left: limits.rows_max.map(|max| max.saturating_sub(before)),
            deadline,
            cut: None,
            told: false,
        }));
    }

    /// When the host has to wake the session, though nothing came.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.paced.as_ref().filter(|paced| paced.cut.is_none()).and_then(|paced| paced.deadline)
    }

    /// Nothing may follow what runs.
    pub(super) fn is_held_back(&self) -> bool {
        self.cancel_under_way || (self.may_pace && !self.copying_in && self.pipeline.runs())
    }

    /// Rows of the statement at the front have to be counted.
    pub(super) fn counts_rows(&self) -> bool {
        self.paced.as_ref().is_some_and(|paced| paced.rows_left.is_some() || paced.cut.is_some())
    }

    /// One more row: whether it may pass.
    pub(super) fn row_may_pass(&mut self, out: &mut Actions) -> bool {
        let Some(paced) = &mut self.paced else { return true };
        if paced.cut.is_some() {
            return false;
        }
        match &mut paced.rows_left {
            None => true,
            Some(0) => {
                self.cut(LimitKind::Rows, out);
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// The host's clock: is a statement over its time?
    pub(super) fn tick(&mut self, now: Timestamp, out: &mut Actions) {
        if self.deadline().is_some_and(|deadline| now.monotonic_ns >= deadline.monotonic_ns) {
            self.cut(LimitKind::Time, out);
        }
    }

    fn cut(&mut self, limit: LimitKind, out: &mut Actions) {
        let Some(paced) = &mut self.paced else { return };
        paced.cut = Some(limit);
        if let Some(run) = self.pipeline.running_mut() {
            run.limit = Some(limit);
        }
        if let Some(key) = &self.cancel_key {
            let packet = startup::cancel_request(key.process, &key.secret);
            self.cancel_under_way = true;
            out.requests.push(Request::CancelOwn { packet, permit: Permit::protocol(ProtocolNeed::Cancel) });
        }
        if self.copying_in && !self.client_stream.is_open() {
            // The server waits for data and looks at no cancel.
            out.to_server.push((copy_fail(), Permit::protocol(ProtocolNeed::OwnRequest)));
        }
    }

    /// The cancel has reached the server, or could not.
    pub(super) fn cancel_sent(&mut self) {
        self.cancel_under_way = false;
    }

    /// What becomes of a reply to a statement that was cut. `step`: what would become of it otherwise.
    pub(super) fn after_cut(&mut self, message: u8, step: Step, out: &mut Actions) -> Step {
        let Some(paced) = &self.paced else { return step };
        let Some(limit) = paced.cut else {
            if message == kind::READY_FOR_QUERY || !self.pipeline.runs() {
                self.paced = None;
            }
            return step;
        };
        let report = limit_report(&paced.decision, paced.limits, limit);
        let told = paced.told;
        match message {
            kind::NOTICE_RESPONSE | kind::NOTIFICATION_RESPONSE | kind::PARAMETER_STATUS => step,
            kind::ERROR_RESPONSE => {
                if let Some(paced) = &mut self.paced {
                    paced.told = true;
                }
                if told { Step::Drop } else { Step::Replace(encode::report(Severity::Error, &report)) }
            }
            kind::READY_FOR_QUERY if told => {
                self.paced = None;
                step
            }
            // The whole text was through before the cancel came.
            kind::READY_FOR_QUERY => {
                self.paced = None;
                let mut owed = Owed::new(Expect::Query);
                owed.denial = Some(encode::report(Severity::Error, &report));
                self.pipeline.push(owed);
                out.to_server.push((encode::query(STAND_IN), Permit::protocol(ProtocolNeed::OwnRequest)));
                Step::Drop
            }
            kind::COPY_IN_RESPONSE => {
                self.copying_in = false;
                self.pipeline.copy_in_ended();
                out.to_server.push((copy_fail(), Permit::protocol(ProtocolNeed::OwnRequest)));
                Step::Drop
            }
            kind::COMMAND_COMPLETE | kind::PORTAL_SUSPENDED | kind::EMPTY_QUERY_RESPONSE
                if self.pipeline.is_empty() =>
            {
                self.paced = None;
                let mut owed = Owed::new(Expect::Parse { statement: STAND_IN.as_bytes().into(), ticket: 0 });
                owed.denial = Some(encode::report(Severity::Error, &report));
                self.pipeline.push(owed);
                self.client_skips = true;
                let own = || Permit::protocol(ProtocolNeed::OwnRequest);
                out.to_server.push((encode::parse(STAND_IN, STAND_IN), own()));
                out.to_server.push((encode::flush(), own()));
                Step::Drop
            }
            _ => Step::Drop,
        }
    }
}

fn limit_report(decision: &DecisionId, limits: Limits, limit: LimitKind) -> Report {
    let (sqlstate, message, hint, max) = match limit {
        LimitKind::Time => {
            let ms = limits.time_ns_max.unwrap_or_default() / 1_000_000;
            (
                "57014",
                format!("governor cancelled this statement: it ran longer than {ms} ms"),
                "Ask for less at once, or ask for a policy that permits more time.",
                format!("{ms}ms"),
            )
        }
        LimitKind::Rows | LimitKind::Rate => {
            let rows = limits.rows_max.unwrap_or_default();
            (
                "53400",
                format!("governor cut this result: it has more than {rows} rows"),
                "Add a LIMIT or a narrower WHERE, or ask for a policy that permits more rows.",
                rows.to_string(),
            )
        }
    };
    Report {
        sqlstate,
        message,
        detail: format!("decision={decision} verdict=allow limit={} max={max}", limit.as_str()),
        hint: hint.into(),
    }
}

fn copy_fail() -> Bytes {
    encode::text(frontend::kind::COPY_FAIL, "a limit was met")
}

/// Stands for the rate in records, as the policy that denied.
pub const RATE_POLICY: &str = "governor.rate";
/// Never SQL, and a name that no client uses.
const STAND_IN: &str = "cut by governor";
