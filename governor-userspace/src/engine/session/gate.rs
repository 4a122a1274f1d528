//! From judged statements to what happens: a permit, a denial that the server itself answers with an
//! error, or a hold.

use super::Parameters;
use super::Session;
use super::action::Actions;
use super::facts::StatementRef;
use super::governance::Governance;
use super::hold::{Approval, Standing};
use super::judge::{Given, Judged, strictest};
use super::permit::{Permit, ProtocolNeed};
use super::pipeline::{Expect, Owed};
use super::tokens::Tokens;
use crate::engine::model::{Decision, SessionState, Timestamp, Unknown, Verdict};
use crate::engine::wire::postgres::encode::{self, Report, Severity};
use bytes::Bytes;
use std::sync::Arc;

/// What happens to one message.
pub(super) enum Step {
    /// It passes unchanged.
    Pass(Permit),
    /// These bytes go first, then it passes.
    PassAfter(Bytes, Permit),
    /// It passes, and these bytes go behind it.
    PassBefore(Permit, Bytes),
    /// These bytes go in its place.
    Replace(Bytes, Permit),
    /// Governor's own request goes first; the message is looked at again when that is answered.
    Later,
    /// It stays where it is until an answer comes.
    Hold,
}

/// What was decided for a message.
pub(super) enum Gate {
    Allow(Permit),
    Deny(Report),
    Hold,
}

impl Session {
    /// Turns judged statements into what happens next. Denials are recorded here.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn gate(
        &mut self,
        now: Timestamp,
        judged: &[Judged],
        parameters: &Parameters,
        approval: Option<&Approval>,
        refused: Option<Report>,
        governance: &Governance,
        out: &mut Actions,
    ) -> Gate {
        if let Some(report) = refused {
            for one in judged {
                self.record_statement(out, now, one, Verdict::Deny, parameters, None);
            }
            return Gate::Deny(report);
        }
        match strictest(judged) {
            // Approved, and policy changed meanwhile to want another approval: ask no second time.
            Verdict::Hold if approval.is_none() => {
                self.begin_hold(now, judged, parameters, governance, out);
                Gate::Hold
            }
            Verdict::Hold | Verdict::Deny => Gate::Deny(self.record_denials(now, judged, parameters, out)),
            Verdict::Allow => match joint_permit(judged) {
                Some(permit) => Gate::Allow(permit),
                None => Gate::Deny(self.record_denials(now, judged, parameters, out)),
            },
        }
    }

    /// Records a denial for every statement of a message; the first denied one tells the reason.
    pub(super) fn record_denials(
        &mut self,
        now: Timestamp,
        judged: &[Judged],
        parameters: &Parameters,
        out: &mut Actions,
    ) -> Report {
        let mut report = None;
        for one in judged {
            let id = self.record_statement(out, now, one, Verdict::Deny, parameters, None);
            if one.decision.verdict != Verdict::Allow && report.is_none() {
                let mut told = self.denial_report(&id, &one.decision, "this statement");
                if one.takes_tokens {
                    told.hint = format!("{} {TAKES_TOKENS}", told.hint).trim_start().to_owned();
                }
                if one.everything().any(is_unseen) {
                    told.sqlstate = NO_SUCH_STATEMENT;
                }
                report = Some(told);
            }
        }
        report.unwrap_or_else(|| {
            let id = self.next_decision();
            self.denial_report(
                &id,
                &Decision::deny("governor.default", "it could not be decided", ""),
                "this statement",
            )
        })
    }

    /// The server itself answers a stand-in with an error, so its transaction state is what it would be
    /// after any failed statement; the client reads governor's error in its place.
    pub(super) fn deny_simple(&mut self, report: &Report) -> Step {
        let mut owed = Owed::new(Expect::Query);
        owed.denial = Some(encode::report(Severity::Error, report));
        self.pipeline.push(owed);
        Step::Replace(encode::query(DENIED), Permit::protocol(ProtocolNeed::OwnRequest))
    }

    /// A denied Bind or Execute. The stand-in has a name of its own: the unnamed statement stays.
    pub(super) fn deny_extended(&mut self, report: &Report) -> Step {
        self.stand_in(DENIED, report)
    }

    /// A denied Parse. One without a name takes the unnamed statement away, as any that fails.
    pub(super) fn deny_parse(&mut self, name: &[u8], report: &Report) -> Step {
        self.stand_in(if name.is_empty() { "" } else { DENIED }, report)
    }

    fn stand_in(&mut self, name: &str, report: &Report) -> Step {
        let mut owed = Owed::new(Expect::Parse { statement: name.as_bytes().into(), ticket: 0 });
        owed.denial = Some(encode::report(Severity::Error, report));
        self.pipeline.push(owed);
        self.client_skips = true;
        Step::Replace(encode::parse(name, DENIED), Permit::protocol(ProtocolNeed::OwnRequest))
    }

    /// Judges a message under the answer that stands for it, or the approval that came with its portal.
    /// An approval counts only for what it was given for.
    pub(super) fn judge_standing(
        &mut self,
        statements: &[StatementRef],
        bound: Option<(Option<Approval>, Arc<SessionState>)>,
        tokens: Tokens<'_>,
        governance: &mut Governance,
    ) -> (Vec<Judged>, Option<Approval>, Option<Report>) {
        let (bound, state) = bound.unzip();
        let (bound, state) = (bound.flatten(), state.as_ref());
        let given = |approved| Given { approved, tokens };
        let (granted, refused) = match std::mem::take(&mut self.standing) {
            Standing::None => (bound, None),
            Standing::Granted(approval) => (Some(approval), None),
            Standing::Refused { report } => (None, Some(report)),
        };
        let judged = self.judge(statements, state, given(granted.is_some()), governance);
        match granted {
            Some(approval) if !approval.covers(&judged) => {
                (self.judge(statements, state, given(false), governance), None, refused)
            }
            granted => (judged, granted, refused),
        }
    }
}

/// A warning beside a statement that runs.
pub(super) fn warn_report(text: &str, next: &str) -> Report {
    Report {
        sqlstate: "01000",
        message: format!("governor: {text}"),
        detail: String::new(),
        hint: next.to_owned(),
    }
}

/// The client is told why its name is not taken.
pub(super) fn name_report(what: &str) -> Report {
    Report {
        sqlstate: "54000",
        message: format!("governor denied this statement: it cannot follow this {what}"),
        detail: String::new(),
        hint: format!(
            "Use names of at most 63 ASCII characters, and close each {what} that is no longer needed."
        ),
    }
}

/// A permit for all of them together: there must be one for each.
fn joint_permit(judged: &[Judged]) -> Option<Permit> {
    judged.iter().map(|one| Permit::issue(&one.decision)).reduce(|a, b| Some(a?.and(b?))).flatten()
}

/// Stands in for a message of this type in the middle of a COPY FROM.
pub(super) fn foreign_to_copy(kind: u8) -> Bytes {
    encode::text(kind, DENIED)
}

/// A prepared statement that was never seen: most likely the server does not know it either, and drivers
/// prepare it again when they are told so.
fn is_unseen(statement: &StatementRef) -> bool {
    matches!(statement.unknown, Some(Unknown::UnseenPrepared { .. }))
}

/// What to do instead of comparing with a value.
const TAKES_TOKENS: &str = "To look for a value that governor showed as a token (tok_…), compare the column itself with a \
    parameter of the extended protocol ($1) and bind the token as it was shown; a token within the text is not replaced.";
/// `invalid_sql_statement_name`, as the server says it.
const NO_SUCH_STATEMENT: &str = "26000";
/// `invalid_cursor_name`: of a portal.
pub(super) const NO_SUCH_PORTAL: &str = "34000";
/// Never SQL: the server refuses it before it looks at anything else, and its log shows it where
/// governor denied something.
const DENIED: &str = "denied by governor";
