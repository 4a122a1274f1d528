//! How a session ends: what the client is told, and what is recorded of what was under way.
//!
//! Invariant: a session ends once, and no input does anything afterwards.

use super::parts::Phase;
use super::{Actions, CloseReason, Session, StopReason};
use crate::engine::audit::{AuditEvent, Outcome, SessionEnd, Side};
use crate::engine::model::Timestamp;
use crate::engine::wire::postgres::ProtocolViolation;
use crate::engine::wire::postgres::encode::{self, Report, Severity};

impl Session {
    pub(super) fn violation(
        &mut self,
        now: Timestamp,
        side: Side,
        violation: &ProtocolViolation,
        out: &mut Actions,
    ) {
        let message = violation.to_string();
        self.record(out, now, AuditEvent::ProtocolError { side, message: message.clone() });
        let (sqlstate, text) = violation.client_message();
        let report = Report { sqlstate, message: text.into(), ..Report::default() };
        self.fatal(&report, out);
        self.end(now, CloseReason::Protocol(message), out);
    }

    /// Tells the client why, where its stream is at a border between messages.
    pub(super) fn fatal(&mut self, report: &Report, out: &mut Actions) {
        let readable =
            !matches!(self.phase, Phase::PassUnread | Phase::ConnectingUnread | Phase::NegotiatingTls { .. });
        if readable && !self.server_stream.is_open() {
            out.to_client.push(encode::report(Severity::Fatal, report));
        }
    }

    pub(super) fn stop(&mut self, now: Timestamp, reason: StopReason, out: &mut Actions) {
        self.note_tls_unfinished(now, "it was not set up in time", out);
        let (sqlstate, message, hint, close) = match reason {
            StopReason::Draining => (
                "57P01",
                "governor is shutting down and ended this connection",
                "Connect again when the operator has started it.",
                CloseReason::Draining,
            ),
            StopReason::StartupTimeout => {
                ("08P01", "the connection was not set up in time", "", CloseReason::StartupTimeout)
            }
            StopReason::LedgerFailed => (
                "58030",
                "governor cannot write its audit records, so nothing may run",
                "Ask the operator to look at `governor status` on this host.",
                CloseReason::LedgerFailed,
            ),
        };
        let report = Report { sqlstate, message: message.into(), hint: hint.into(), ..Report::default() };
        self.fatal(&report, out);
        self.end(now, close, out);
    }

    pub(super) fn client_closed(&mut self, now: Timestamp, out: &mut Actions) {
        self.note_tls_given_up(now, out);
        self.end(now, CloseReason::ClientClosed, out);
    }

    /// Ends the session: what is in flight is recorded as lost, a hold is withdrawn.
    pub(super) fn end(&mut self, now: Timestamp, reason: CloseReason, out: &mut Actions) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.phase = Phase::Closed;
        self.withdraw_hold(
            now,
            crate::engine::approval::Answer::Lost { reason: reason.as_str().into() },
            out,
        );
        let lost: Vec<_> = self.pipeline.drain().collect();
        for owed in lost {
            self.finish_all(now, owed, Outcome::Lost, out);
        }
        let end = SessionEnd {
            reason: match &reason {
                CloseReason::Protocol(message) => format!("{}: {message}", reason.as_str()),
                _ => reason.as_str().into(),
            },
            statements: self.counts.statements,
            bytes_from_client: self.counts.bytes_from_client,
            bytes_from_database: self.counts.bytes_from_database,
            // The host knows them when they are closed.
            sockets: None,
            run: String::new(),
        };
        self.complete(out, now, AuditEvent::SessionEnd(end));
        out.close = Some(reason);
    }
}
