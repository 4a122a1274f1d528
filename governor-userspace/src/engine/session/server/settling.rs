//! The end of a simple query that was asked about in front of it.
//!
//! The question and the query are one transaction, by the locks that the question takes. Up to PostgreSQL 17 the query
//! ends it. From 18 on the server takes both for a pipeline, whose transaction goes on: the client would stay in one
//! that it never began, and lose its change at the end of the session. A Sync does not end it properly (18.4: the next
//! command fails with "unexpected state STARTED"), a COMMIT does; so one goes right behind such a query, and the client
//! hears of the query's end when that is answered: a constraint that is checked at the end may still fail.
//!
//! Source: `start_xact_command` and `exec_simple_query` in the server's `postgres.c`; the protocol's "Pipelining" section.

use super::super::Session;
use super::super::action::Actions;
use super::super::governance::Governance;
use super::super::pipeline::Expect;
use super::Step;
use crate::engine::model::Timestamp;
use crate::engine::wire::postgres::ProtocolViolation;
use crate::engine::wire::postgres::backend::{self, kind};
use bytes::{BufMut, BytesMut};

/// A query with governor's COMMIT behind it, until both are answered.
#[derive(Debug, Default)]
pub(in crate::engine::session) struct Settling {
    /// The body of its CommandComplete.
    completed: Option<Box<[u8]>>,
    /// The query is answered; what comes is about the COMMIT.
    is_answered: bool,
}

impl Session {
    /// What this file has to say of a reply; `None` where it is like any other.
    pub(super) fn settle(
        &mut self,
        now: Timestamp,
        message: u8,
        body: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<Option<Step>, ProtocolViolation> {
        let Some(settling) = self.settling.as_mut() else { return Ok(None) };
        if self.pipeline.front().is_none_or(|owed| owed.expect != Expect::Query) {
            return Ok(None);
        }
        Ok(match message {
            kind::COMMAND_COMPLETE if settling.is_answered => Some(Step::Drop),
            // The client began no transaction, says the server.
            kind::NOTICE_RESPONSE
                if settling.is_answered && backend::error_field(body, b'C') == Ok(Some(b"25P01")) =>
            {
                Some(Step::Drop)
            }
            kind::COMMAND_COMPLETE if settling.completed.is_none() => {
                backend::command_complete(body)?;
                settling.completed = Some(body.into());
                Some(Step::Drop)
            }
            kind::ERROR_RESPONSE => {
                settling.completed = None;
                None
            }
            kind::READY_FOR_QUERY if !settling.is_answered => {
                backend::ready_for_query(body)?;
                settling.is_answered = true;
                Some(Step::Drop)
            }
            kind::READY_FOR_QUERY => {
                let completed = settling.completed.take();
                self.settling = None;
                let Some(completed) = completed else { return Ok(None) };
                self.command_complete(now, kind::COMMAND_COMPLETE, &completed, out)?;
                Some(self.settled(now, &completed, body, governance, out)?)
            }
            _ => None,
        })
    }

    /// The client hears of both at once.
    fn settled(
        &mut self,
        now: Timestamp,
        completed: &[u8],
        ready: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<Step, ProtocolViolation> {
        let mut told = BytesMut::new();
        put(&mut told, kind::COMMAND_COMPLETE, completed);
        if let Step::Pass = self.ready(now, ready, governance, out)? {
            put(&mut told, kind::READY_FOR_QUERY, ready);
        }
        Ok(Step::Replace(told.freeze()))
    }
}

/// A message as it was.
fn put(out: &mut BytesMut, message: u8, body: &[u8]) {
    out.put_u8(message);
    out.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(body);
}
