//! How requests end: by completion, by error, and with the batch; and the answers to governor's own questions.

use super::super::action::Actions;
use super::super::governance::Governance;
use super::super::meaning::Basis;
use super::super::pipeline::{Expect, Owed};
use super::super::{Phase, Rows, Session};
use super::Step;
use crate::engine::approval::Answer;
use crate::engine::audit::Outcome;
use crate::engine::model::Timestamp;
use crate::engine::wire::postgres::ProtocolViolation;
use crate::engine::wire::postgres::backend::{self, TransactionState, kind};

impl Session {
    /// CommandComplete, EmptyQueryResponse, PortalSuspended: one statement is done.
    pub(super) fn command_complete(
        &mut self,
        now: Timestamp,
        message: u8,
        body: &[u8],
        out: &mut Actions,
    ) -> Result<Step, ProtocolViolation> {
        let tag = match message {
            kind::COMMAND_COMPLETE => {
                Some(String::from_utf8_lossy(backend::command_complete(body)?).into_owned())
            }
            _ => None,
        };
        let outcome = if message == kind::PORTAL_SUSPENDED { Outcome::Suspended } else { Outcome::Complete };
        self.rows = Rows::Undecided;
        self.copying_in = false;
        self.pipeline.copy_completed();
        let Some(owed) = self.pipeline.front_mut() else {
            return Err(ProtocolViolation::Other("CommandComplete answers nothing"));
        };
        let run = owed.run.take();
        match owed.expect {
            Expect::Query => owed.run = owed.more.pop_front(),
            Expect::Execute { .. } => {
                self.pipeline.pop();
            }
            _ => return Err(ProtocolViolation::Other("CommandComplete answers something that runs nothing")),
        }
        if let Some(run) = run {
            if self.may_be_masked {
                self.reported.follow(&run.statement);
            }
            self.follow_effects(&run.statement.clone(), tag.as_deref());
            self.finish(now, run, outcome, tag, None, out);
        }
        Ok(Step::Pass)
    }

    /// ErrorResponse: for the request at the front, or for nobody (the server ends the session).
    pub(super) fn error(&mut self, now: Timestamp, body: &[u8], out: &mut Actions) -> Step {
        self.rows = Rows::Undecided;
        self.copying_in = false;
        self.pipeline.copy_failed();
        let sqlstate = match backend::error_field(body, b'C') {
            Ok(Some(code)) => Some(String::from_utf8_lossy(code).into_owned()),
            _ => None,
        };
        if self.restricted {
            self.following.failed();
        }
        if matches!(self.phase, Phase::AskingState) && self.batch_open {
            // The server skips the question, and the Bind that waits for its answer.
            self.phase = Phase::Ready;
        }
        let Some(owed) = self.pipeline.front_mut() else { return Step::Pass };
        let denial = owed.denial.take();
        let failed = owed.run.take();
        if let Some(run) = failed {
            self.finish(now, run, Outcome::Error, None, sqlstate, out);
        }
        let barrier = self.pipeline.front().is_some_and(|owed| owed.expect.is_barrier());
        if !barrier && self.holding.is_some() {
            // The server will skip what is held.
            let reason = "an earlier message of the same batch failed".into();
            self.withdraw_hold(now, Answer::Lost { reason }, out);
        }
        if barrier {
            let skipped: Vec<_> =
                self.pipeline.front_mut().map(|o| o.more.drain(..).collect()).unwrap_or_default();
            for run in skipped {
                self.finish(now, run, Outcome::Skipped, None, None, out);
            }
        } else {
            if let Some(Expect::Parse { statement, .. }) = self.pipeline.front().map(|owed| &owed.expect)
                && statement.is_empty()
            {
                // The server takes the unnamed statement away before it reads the new one.
                self.statements.close(b"");
            }
            for owed in self.pipeline.fail_to_barrier() {
                self.fail(now, owed, out);
            }
        }
        match denial {
            Some(denial) => Step::Replace(denial),
            None => Step::Pass,
        }
    }

    /// A request that the server refused or skipped.
    fn fail(&mut self, now: Timestamp, owed: Owed, out: &mut Actions) {
        match &owed.expect {
            Expect::Parse { statement, ticket } => self.statements.reject(statement, *ticket),
            Expect::Bind { portal, ticket } => self.portals.reject(portal, *ticket),
            _ => {}
        }
        self.finish_all(now, owed, Outcome::Skipped, out);
    }

    pub(super) fn ready(
        &mut self,
        now: Timestamp,
        body: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<Step, ProtocolViolation> {
        self.transaction = backend::ready_for_query(body)?;
        self.rows = Rows::Undecided;
        self.reported.ready();
        self.copying_in = false;
        if let Phase::Authenticating = self.phase {
            let mut ready = vec![kind::READY_FOR_QUERY, 0, 0, 0, 5];
            ready.extend(body);
            return Ok(if self.server_ready(now, &ready, governance, out) { Step::Pass } else { Step::Drop });
        }
        let answered = self.pipeline.front().is_some_and(|owed| {
            // Before its statements are through, a query's ReadyForQuery cannot come.
            owed.expect.is_barrier() && owed.run.is_none() && owed.denial.is_none()
        });
        // Otherwise it may answer a Sync that was sent into a COPY that failed.
        if answered || !self.pipeline.answers_doubtful_sync() {
            match self.pipeline.pop() {
                Some(owed) if !owed.expect.is_barrier() => {
                    return Err(ProtocolViolation::Other("ReadyForQuery answers nothing"));
                }
                Some(owed) if owed.denial.is_some() => {
                    return Err(ProtocolViolation::Other("the server accepted what is no SQL"));
                }
                Some(owed) => self.finish_all(now, owed, Outcome::Skipped, out),
                None => return Err(ProtocolViolation::Other("ReadyForQuery answers nothing")),
            }
        }
        self.batch_open = !self.pipeline.owes_only_closes();
        if self.transaction == TransactionState::Idle && std::mem::take(&mut self.definitions_changed) {
            // Others may have read the catalogue since the change was sent, and before it was to be seen.
            self.outdate_catalogue(now, governance, out);
        }
        if self.transaction == TransactionState::Idle {
            self.portals.each_mut().filter(|portal| !portal.holds).for_each(|portal| {
                // No catalogue is kept for what is gone.
                portal.basis = Basis::Newest;
                portal.means = None;
            });
            // Portals end with their transaction, cursors WITH HOLD apart: those are SQL's own.
            self.cursor_plan = None;
            self.portals.close_named_unless(|portal| portal.holds);
        }
        if self.restricted {
            self.following.ready(self.transaction != TransactionState::Idle);
        }
        Ok(Step::Pass)
    }

    /// Replies to governor's own query: none of them reach the client.
    pub(super) fn own_query_reply(
        &mut self,
        now: Timestamp,
        message: u8,
        body: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<Step, ProtocolViolation> {
        self.rows = Rows::Undecided;
        if !answers_a_query(message) {
            return Err(ProtocolViolation::UnknownKind { kind: message });
        }
        if let Some(asked) = &mut self.asked {
            match message {
                kind::DATA_ROW => asked.row(body)?,
                kind::ERROR_RESPONSE if ends_session(body) => return Ok(Step::Pass),
                kind::ERROR_RESPONSE => asked.fail(),
                kind::READY_FOR_QUERY => {
                    self.pipeline.pop();
                    self.transaction = backend::ready_for_query(body)?;
                    if let Some(asked) = self.asked.take() {
                        self.state_told(asked);
                    }
                }
                _ => {}
            }
            return Ok(Step::Drop);
        }
        match (message, &mut self.catalogue_reader) {
            (kind::DATA_ROW, Some(reader)) => reader.row(body)?,
            (kind::COMMAND_COMPLETE, Some(reader)) => reader.next_result(),
            // The server ends the session: that is for the client to know.
            (kind::ERROR_RESPONSE, _) if ends_session(body) => return Ok(Step::Pass),
            (kind::ERROR_RESPONSE, Some(reader)) => reader.fail(),
            (kind::READY_FOR_QUERY, _) => {
                self.pipeline.pop();
                self.transaction = backend::ready_for_query(body)?;
                self.catalogue_read(now, governance, out);
            }
            _ => {}
        }
        Ok(Step::Drop)
    }
}

/// An ErrorResponse after which the server closes.
pub(super) fn ends_session(body: &[u8]) -> bool {
    let severity = backend::error_field(body, b'V');
    matches!(severity, Ok(Some(b"FATAL" | b"PANIC")))
}

/// What a server answers to governor's own questions, which copy nothing and call no function by number.
fn answers_a_query(message: u8) -> bool {
    matches!(
        message,
        kind::ROW_DESCRIPTION
            | kind::NO_DATA
            | kind::DATA_ROW
            | kind::COMMAND_COMPLETE
            | kind::EMPTY_QUERY_RESPONSE
            | kind::PARSE_COMPLETE
            | kind::BIND_COMPLETE
            | kind::CLOSE_COMPLETE
            | kind::ERROR_RESPONSE
            | kind::READY_FOR_QUERY
    )
}
