//! A statement that waits for a person, in place: same connection, same transaction.
//!
//! The message stays at the front of the client's buffer, unread messages behind it. When the answer
//! comes it is read again, with the answer standing beside it.

use super::action::{Actions, Request};
use super::governance::Governance;
use super::judge::Judged;
use super::reached::{self, Reached};
use super::{Parameters, Session};
use crate::engine::approval::{Answer, ApprovalRequest};
use crate::engine::audit::{AuditEvent, HoldEnd, HoldStart};
use crate::engine::masking::mask_statement;
use crate::engine::model::{DecisionId, DenialCode, Reason, SessionState, Statement, Timestamp, Verdict};
use crate::engine::wire::postgres::encode::{self, Report, Severity};
use std::sync::Arc;

/// A statement that is waiting.
#[derive(Debug)]
pub(super) struct Holding {
    decision: DecisionId,
    /// Of the rule that holds it: what a no of whoever answers is.
    denial: DenialCode,
    approvers: String,
    expires: Timestamp,
    /// Known once the queue has taken it.
    approval: Option<String>,
    texts: Vec<Arc<str>>,
}

/// The answer that stands for the message at the front of the client's buffer.
#[derive(Debug, Default)]
pub(super) enum Standing {
    #[default]
    None,
    Granted(Approval),
    Refused {
        report: Report,
    },
}

/// A person's yes, to exactly these statements.
#[derive(Clone, Debug)]
pub(super) struct Approval {
    pub id: String,
    texts: Vec<Arc<str>>,
}

impl Approval {
    /// Whether it was given for what would run now: for an EXECUTE, what its name means counts.
    pub fn covers(&self, judged: &[Judged]) -> bool {
        texts(judged) == self.texts
    }
}

/// What the text does not show: what hides code first, then how relations and functions were reached.
fn explanation(reached: &[Reached]) -> Option<Reason> {
    let all: Vec<&str> = reached
        .iter()
        .flat_map(|r| r.hidden.iter().chain(&r.via))
        .map(String::as_str)
        .take(EXPLAINED_MAX)
        .collect();
    let text = format!("it reaches more than it names: {}", all.join("; "));
    (!all.is_empty()).then(|| Reason { policy: "governor.reach".into(), text, ..Reason::default() })
}

/// The texts of everything that would run.
fn texts(judged: &[Judged]) -> Vec<Arc<str>> {
    judged.iter().flat_map(Judged::everything).map(|s| s.text.clone()).collect()
}

impl Session {
    /// Puts the message at the front of the client's buffer on hold.
    pub(super) fn begin_hold(
        &mut self,
        now: Timestamp,
        judged: &[Judged],
        parameters: &Parameters,
        governance: &Governance,
        out: &mut Actions,
    ) {
        let mut decision = None;
        for one in judged {
            let id = self.record_statement(out, now, one, Verdict::Hold, parameters, None);
            if one.decision.verdict == Verdict::Hold {
                decision.get_or_insert((id, one));
            }
        }
        let Some((decision, held)) = decision else { return };
        let approvers = held.decision.hold.as_ref().map(|h| h.approvers.clone()).unwrap_or_default();
        let limit_ns = governance.limits.hold_timeout_ns;
        let expires = Timestamp {
            unix_ns: now.unix_ns.saturating_add(limit_ns),
            monotonic_ns: now.monotonic_ns.saturating_add(limit_ns),
        };
        // Who answers reads what would really happen.
        let reached: Vec<Reached> = judged
            .iter()
            .flat_map(|one| {
                let own = self.reached(&one.statement, &one.state);
                let through =
                    one.executes.iter().map(|meaning| self.reached(&meaning.statement, &meaning.state));
                std::iter::once(own).chain(through)
            })
            .collect();
        out.requests.push(Request::Hold(Box::new(ApprovalRequest {
            id: String::new(),
            session: self.setup.id.clone(),
            decision: decision.clone(),
            created: now,
            expires,
            approvers: approvers.clone(),
            principal: (*self.setup.principal).clone(),
            claims: self.shown_claims(governance),
            destination: self.setup.destination.clone(),
            // What people read, and what is kept, goes the way of records; what was approved is compared with `texts`.
            statements: reached
                .iter()
                .zip(judged.iter().flat_map(|one| one.hidden.each()))
                .map(|(reached, hidden)| {
                    let mut shown = reached.statement.clone();
                    if let Some(hidden) = hidden {
                        hidden.leave_out(&mut shown);
                    }
                    mask_statement(&governance.masker, &shown)
                })
                .collect(),
            parameters: judged.iter().fold(parameters.clone(), |shown, one| one.hidden.parameters(&shown)),
            reasons: held.decision.reasons.iter().cloned().chain(explanation(&reached)).collect(),
            transaction: self.transaction.as_str().into(),
        })));
        let denial = held.decision.told().map(|reason| reason.sqlstate).unwrap_or_default();
        let texts = texts(judged);
        self.holding =
            Some(Box::new(Holding { decision, denial, approvers, expires, approval: None, texts }));
    }

    fn reached(&self, statement: &Statement, state: &SessionState) -> Reached {
        match &self.catalogue {
            Some(catalogue) => reached::reach(statement, catalogue, &state.search_path),
            None => reached::reach_without(statement),
        }
    }

    /// The queue took it: tells the waiting client.
    pub(super) fn held(&mut self, now: Timestamp, approval: String, _: &Governance, out: &mut Actions) {
        let Some(holding) = &mut self.holding else {
            // Ended in the meantime, by a cancel.
            out.requests.push(Request::WithdrawHold { approval, answer: Answer::Cancelled });
            return;
        };
        holding.approval = Some(approval.clone());
        let seconds = holding.expires.since_ns(now) / 1_000_000_000;
        let report = Report {
            sqlstate: "00000",
            message: format!("governor holds this statement until it is approved (request {approval})"),
            detail: format!(
                "approval={approval} decision={} approvers={} expires={} seconds_left={seconds}",
                holding.decision,
                holding.approvers,
                holding.expires.rfc3339()
            ),
            hint: format!("A member of {} can run: governor approvals approve {approval}", holding.approvers),
        };
        let start = HoldStart {
            approval,
            decision: holding.decision.clone(),
            approvers: holding.approvers.clone(),
            expires: holding.expires,
        };
        self.record(out, now, AuditEvent::HoldStart(start));
        self.notify(encode::report(Severity::Notice, &report), out);
    }

    pub(super) fn hold_failed(&mut self, _: Timestamp, reason: String, _: &Governance, _: &mut Actions) {
        if let Some(holding) = self.holding.take() {
            self.standing = Standing::Refused {
                report: Report {
                    sqlstate: holding.denial.as_str(),
                    message:
                        "governor denied this statement: it needs approval, and the approval queue refused it"
                            .into(),
                    detail: format!("decision={} verdict=deny reason={reason}", holding.decision),
                    hint: "Try again later, or ask the operator to look at `governor approvals list`.".into(),
                },
            };
        }
    }

    pub(super) fn answered(&mut self, now: Timestamp, answer: Answer, _: &Governance, out: &mut Actions) {
        let Some(holding) = self.holding.take() else { return };
        let approval = holding.approval.unwrap_or_default();
        let denial = holding.denial.as_str();
        self.record(
            out,
            now,
            AuditEvent::HoldEnd(HoldEnd { approval: approval.clone(), answer: answer.clone() }),
        );
        let (sqlstate, message, hint) = match &answer {
            Answer::Granted { by, note, .. } => {
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                let report = Report {
                    sqlstate: "00000",
                    message: format!("governor: request {approval} was approved by {by}{note}"),
                    ..Report::default()
                };
                self.notify(encode::report(Severity::Notice, &report), out);
                self.standing = Standing::Granted(Approval { id: approval, texts: holding.texts });
                return;
            }
            Answer::Refused { by, note, .. } => {
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                (denial, format!("governor denied this statement: {by} refused request {approval}{note}"), "")
            }
            Answer::Expired => (
                denial,
                format!("governor denied this statement: nobody answered request {approval} in time"),
                "Run it again when an approver is at hand.",
            ),
            Answer::Cancelled => ("57014", "canceling statement due to user request".to_owned(), ""),
            Answer::Lost { reason } => ("57P01", format!("governor ended request {approval}: {reason}"), ""),
        };
        let report = Report {
            sqlstate,
            message,
            detail: format!("approval={approval} decision={} verdict=deny", holding.decision),
            hint: hint.into(),
        };
        self.standing = Standing::Refused { report };
    }

    /// A cancel request with this session's key: ends a hold; otherwise the server is the one to ask.
    pub(super) fn cancel_requested(&mut self, now: Timestamp, governance: &Governance, out: &mut Actions) {
        let Some(holding) = &self.holding else { return };
        if let Some(approval) = holding.approval.clone() {
            out.requests.push(Request::WithdrawHold { approval, answer: Answer::Cancelled });
        }
        self.answered(now, Answer::Cancelled, governance, out);
    }

    /// The session ends while something waits.
    pub(super) fn withdraw_hold(&mut self, now: Timestamp, answer: Answer, out: &mut Actions) {
        if let Some(holding) = self.holding.take()
            && let Some(approval) = holding.approval
        {
            self.record(
                out,
                now,
                AuditEvent::HoldEnd(HoldEnd { approval: approval.clone(), answer: answer.clone() }),
            );
            out.requests.push(Request::WithdrawHold { approval, answer });
        }
    }
}

/// Lines about what is reached that an approver gets to read.
const EXPLAINED_MAX: usize = 8;
