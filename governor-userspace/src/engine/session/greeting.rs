//! The hello as a session sees it: from whom one is accepted, and what it makes of the principal.
//!
//! The messages are `engine/wire/hello`; sending and answering them is the host's.
//!
//! Invariants: a hello is accepted before anything was asked of policy, once, and only where the connection came from
//! another host. Where one is required nothing is passed on without it.

use super::action::{Actions, CloseReason, Request};
use super::governance::Governance;
use super::subjects::Subject;
use super::{Names, Phase, Session};
use crate::engine::audit::{AuditEvent, HelloOutcome, HelloRecord, HelloWay};
use crate::engine::model::Timestamp;
use crate::engine::wire::postgres::ProtocolViolation;
use crate::engine::wire::postgres::encode::Report;
use bytes::BytesMut;
use std::sync::Arc;

/// Whether another governor may say who the client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HelloRule {
    /// A client of this host: nobody but the kernel says who it is.
    #[default]
    Unexpected,
    /// A client on another host: where none comes it is known by its address.
    Accepted,
    /// The same, from the address of a peer without whose hello nobody is served.
    Required,
}

impl Session {
    /// A hello, `bytes` long, at the front of `buffer`.
    pub(super) fn hello(
        &mut self,
        now: Timestamp,
        encryption_requests: u32,
        bytes: usize,
        buffer: &mut BytesMut,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        if self.greeted {
            return Err(ProtocolViolation::Other("a second hello"));
        }
        if buffer.len() > bytes {
            // The sender waits for the answer: whatever is behind it is not the sender's.
            return Err(ProtocolViolation::Other("bytes were sent behind a hello"));
        }
        let packet = buffer.split_to(bytes).freeze();
        if self.setup.hello == HelloRule::Unexpected {
            let reason = "it came from a client of this host, whom the kernel attests";
            let record = HelloRecord::new(HelloWay::Received, HelloOutcome::Unexpected, reason);
            self.refuse_hello(now, record, out);
            return Ok(());
        }
        self.phase = Phase::Greeting { encryption_requests };
        out.requests.push(Request::Greet { packet });
        Ok(())
    }

    /// What came of it.
    pub(super) fn greeted(
        &mut self,
        now: Timestamp,
        mut record: HelloRecord,
        governance: &Governance,
        out: &mut Actions,
    ) {
        let Phase::Greeting { encryption_requests } = self.phase else { return };
        self.phase = Phase::Opening { encryption_requests };
        match (record.outcome, record.principal.take()) {
            (HelloOutcome::Accepted, Some(principal)) => {
                let Subject { principal, policy } = Subject::new(Arc::new(*principal), &governance.masker);
                record.principal = Some(Box::new((*principal).clone()));
                self.record(out, now, AuditEvent::Hello(Box::new(record)));
                self.policy_principal = policy;
                self.names = Names::new(&principal, &self.claims);
                self.setup.principal = principal;
                self.greeted = true;
            }
            (HelloOutcome::Own, _) => {
                self.record(out, now, AuditEvent::Hello(Box::new(record)));
                self.end(now, CloseReason::HelloOwn, out);
            }
            _ => self.refuse_hello(now, record, out),
        }
    }

    /// Nothing may be passed on, as no hello was accepted.
    pub(super) fn lacks_hello(&self) -> bool {
        self.setup.hello == HelloRule::Required && !self.greeted
    }

    pub(super) fn note_missing_hello(&self, now: Timestamp, out: &mut Actions) {
        let record = HelloRecord::new(HelloWay::Received, HelloOutcome::Missing, "");
        self.record(out, now, AuditEvent::Hello(Box::new(record)));
    }

    pub(super) fn refuse_without_hello(&mut self, now: Timestamp, out: &mut Actions) {
        self.note_missing_hello(now, out);
        let (message, hint) = (NO_HELLO.into(), NO_HELLO_HINT.into());
        self.fatal(&Report { sqlstate: "28000", message, hint, ..Report::default() }, out);
        self.end(now, CloseReason::HelloRefused, out);
    }

    fn refuse_hello(&mut self, now: Timestamp, record: HelloRecord, out: &mut Actions) {
        self.record(out, now, AuditEvent::Hello(Box::new(record)));
        // Whoever it is learns no more than that: the record says why.
        let message = "governor does not accept this hello".into();
        let hint = "The audit of the server's host says why: governor audit search --event hello.".into();
        self.fatal(&Report { sqlstate: "28000", message, hint, ..Report::default() }, out);
        self.end(now, CloseReason::HelloRefused, out);
    }
}

/// The reason of the decision where a hello is required.
pub(super) const HELLO_POLICY: &str = "governor.hello-required";
pub(super) const NO_HELLO: &str = "the governor of the client's host has to say who it is, and did not";
pub(super) const NO_HELLO_HINT: &str = "Connect from a process that governor captures on your host; the operators name both hosts in identity.peers.";
