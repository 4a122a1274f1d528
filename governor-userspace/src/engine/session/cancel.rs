//! Cancel requests: a connection of its own that names another session by process id and key.
//!
//! The client holds the server's own key, so the server would check it. governor checks first: a key that
//! no live session of this destination has (wrong, replayed, of a session that ended) reaches nobody.
//! Where sessions pass unread, their keys are not known, and the server is the one to judge.
//!
//! Protocol: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>

use super::action::{Actions, CloseReason, Request};
use super::governance::Governance;
use super::input::CancelMatch;
use super::permit::{Permit, ProtocolNeed};
use super::{Phase, Session};
use crate::engine::audit::AuditEvent;
use crate::engine::model::{Class, Timestamp};

impl Session {
    /// The host knows which session this connection's cancel request means.
    pub(super) fn cancel_matched(
        &mut self,
        now: Timestamp,
        found: CancelMatch,
        governance: &Governance,
        out: &mut Actions,
    ) {
        if !matches!(self.phase, Phase::Cancelling { .. }) {
            return;
        }
        let Phase::Cancelling { process, packet } = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return;
        };
        let trusted =
            self.setup.principal.class == Class::Service && governance.limits.forward_unknown_cancel;
        let (forwarded, why) = match found {
            CancelMatch::Live => (true, "a live session has this key"),
            CancelMatch::Held { runs } => (runs, "the statement that it means was held"),
            CancelMatch::Unknown { unread: true } => (true, "sessions with unknown keys pass unread here"),
            CancelMatch::Unknown { unread: false } if trusted => (true, "no live session has this key"),
            CancelMatch::Unknown { unread: false } => (false, "no live session has this key"),
        };
        let reason = format!("for server process {process}: {why}");
        self.record(out, now, AuditEvent::Cancel { forwarded, reason });
        if forwarded {
            out.requests.push(Request::Cancel { packet, permit: Permit::protocol(ProtocolNeed::Cancel) });
        }
        self.end(now, CloseReason::CancelDone, out);
    }
}
