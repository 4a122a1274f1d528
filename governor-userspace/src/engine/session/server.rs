//! What the server sends: paired with what it answers, masked where policy says so, otherwise passed.
//!
//! Here is the way of each message; `columns.rs` has what is shown of rows, `settled.rs` how requests end.

mod columns;
mod settled;
mod settling;

use self::settled::ends_session;
pub(super) use self::settling::Settling;
use super::action::{Actions, Request};
use super::chunk::{Chunk, ToClient};
use super::governance::Governance;
use super::pace::CancelKey;
use super::pipeline::{Expect, Owed};
use super::{Phase, Rows, Session};
use crate::engine::audit::Outcome;
use crate::engine::model::Timestamp;
use crate::engine::wire::postgres::backend::{self, kind};
use crate::engine::wire::postgres::startup::CANCEL_SECRET_BYTES_MAX;
use crate::engine::wire::postgres::{Header, ProtocolViolation};
use bytes::{Bytes, BytesMut};

/// What happens to one message.
pub(super) enum Step {
    Pass,
    Drop,
    Replace(Bytes),
    /// `Governance::row` goes in its place.
    Rewritten,
}

impl Session {
    pub(super) fn server_bytes(
        &mut self,
        now: Timestamp,
        buffer: &mut BytesMut,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        if matches!(
            self.phase,
            Phase::Opening { .. }
                | Phase::NegotiatingTls { .. }
                | Phase::Cancelling { .. }
                | Phase::Connecting { .. }
                | Phase::Closed
        ) {
            return Ok(());
        }
        let mut chunk = Chunk::new(buffer);
        let result = self.server_messages(now, &mut chunk, governance, out);
        chunk.flush(&mut ToClient(&mut out.to_client));
        if result.is_ok() && !self.server_stream.is_open() {
            out.to_client.append(&mut self.notices);
        }
        result
    }

    fn server_messages(
        &mut self,
        now: Timestamp,
        chunk: &mut Chunk<'_, ()>,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        loop {
            if !chunk.stream(&mut self.server_stream, || (), &mut ToClient(&mut out.to_client)) {
                return Ok(());
            }
            if !self.notices.is_empty() {
                chunk.flush(&mut ToClient(&mut out.to_client));
                out.to_client.append(&mut self.notices);
            }
            let Some(header) = Header::peek(chunk.unread())? else { return Ok(()) };
            let total = header.total_bytes();
            if let Some(run) = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut()) {
                run.bytes += total as u64;
            }
            if header.kind == kind::DATA_ROW {
                if matches!(self.rows, Rows::Undecided) {
                    self.decide_rows(governance)?;
                }
                if matches!(self.rows, Rows::Pass) && !self.counts_rows() {
                    chunk.pass_message::<ToClient<'_>>(total, (), &mut self.server_stream);
                    let (rows, bytes) = chunk.pass_run::<ToClient<'_>>(kind::DATA_ROW, || ());
                    if let Some(run) = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut()) {
                        run.rows += 1 + rows;
                        run.bytes += bytes;
                    }
                    continue;
                }
            }
            let row_bytes_max = governance.limits.row_bytes_max;
            let needed = match (header.kind, &self.rows) {
                // Counted and not looked at: however long.
                (kind::DATA_ROW, Rows::Pass) => 0,
                (kind::DATA_ROW, _) | (kind::COPY_DATA, Rows::Copy(_)) => {
                    let limit = row_bytes_max as u64;
                    header.at_most(row_bytes_max).map_err(|_| ProtocolViolation::RowTooLong { limit })?;
                    header.body_bytes
                }
                _ => needed_bytes(header)?,
            };
            let Some(body) = chunk.unread().get(Header::BYTES..Header::BYTES + needed) else {
                // Counted again when the rest is here.
                if let Some(run) = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut()) {
                    run.bytes -= total as u64;
                }
                return Ok(());
            };
            let mut step = self.server_message(now, header.kind, body, governance, out)?;
            if self.paced.is_some() {
                step = self.after_cut(header.kind, step, out);
            }
            let sink = &mut ToClient(&mut out.to_client);
            match step {
                Step::Pass if header.kind == kind::DATA_ROW && chunk.joins_rewritten(total) => {
                    chunk.copy_to_rewritten(total);
                }
                Step::Pass => {
                    chunk.pass_message::<ToClient<'_>>(total, (), &mut self.server_stream);
                    if header.kind == kind::COPY_DATA
                        && !self.counts_rows()
                        && !matches!(self.rows, Rows::Copy(_))
                    {
                        let (_, bytes) = chunk.pass_run::<ToClient<'_>>(kind::COPY_DATA, || ());
                        if let Some(run) = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut()) {
                            run.bytes += bytes;
                        }
                    }
                }
                Step::Drop => chunk.drop_message(total, sink, &mut self.server_stream),
                Step::Replace(instead) => {
                    chunk.flush(sink);
                    sink.0.push(instead);
                    chunk.drop_message(total, sink, &mut self.server_stream);
                }
                Step::Rewritten => chunk.rewrite(total, &governance.row, (), sink),
            }
            // The catalogue was read: what it held back follows what was passed before it.
            if let Some(ready) = self.released.take() {
                chunk.flush(&mut ToClient(&mut out.to_client));
                out.to_client.push(ready);
            }
        }
    }

    fn server_message(
        &mut self,
        now: Timestamp,
        message: u8,
        body: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<Step, ProtocolViolation> {
        if self.pipeline.front().is_some_and(|owed| owed.expect == Expect::OwnQuery) && !is_async(message) {
            return self.own_query_reply(now, message, body, governance, out);
        }
        if let Some(step) = self.settle(now, message, body, governance, out)? {
            return Ok(step);
        }
        if !is_async(message) {
            // Behind a batch of the client's an error is one of that batch.
            let asking = matches!(self.phase, Phase::AskingState) && !self.batch_open;
            match self.pipeline.front().map(|owed| &owed.expect) {
                Some(Expect::OwnCheck)
                    if message == kind::ERROR_RESPONSE && (!asking || ends_session(body)) => {}
                Some(Expect::OwnCheck) => return self.check_reply(now, message, body, governance, out),
                Some(Expect::OwnSync) if message == kind::ERROR_RESPONSE && ends_session(body) => {}
                Some(Expect::OwnSync) => return self.check_synced(message, body),
                _ => {}
            }
        }
        if !is_async(message) && message != kind::READY_FOR_QUERY {
            self.pipeline.doubt_is_over();
        }
        match message {
            kind::DATA_ROW | kind::COPY_DATA if !self.row_may_pass(out) => Ok(Step::Drop),
            kind::DATA_ROW => self.masked_row(body, governance),
            kind::COPY_DATA => self.copied(body, governance),
            kind::COPY_DONE => self.copy_out_ended(),
            kind::COPY_OUT_RESPONSE if self.runs_something() => self.copy_out_began(body, governance),
            kind::ROW_DESCRIPTION | kind::NO_DATA => self.described(message, body, governance),
            kind::PARSE_COMPLETE => {
                let owed = self.pop_expected(|e| matches!(e, Expect::Parse { .. }), "ParseComplete")?;
                if owed.denial.is_some() {
                    return Err(ProtocolViolation::Other("the server accepted what is no SQL"));
                }
                if let Expect::Parse { statement, ticket } = owed.expect {
                    self.statements.confirm(&statement, ticket);
                }
                Ok(Step::Pass)
            }
            kind::BIND_COMPLETE => {
                let owed = self.pop_expected(|e| matches!(e, Expect::Bind { .. }), "BindComplete")?;
                if let Expect::Bind { portal, ticket } = owed.expect {
                    self.portals.confirm(&portal, ticket);
                }
                Ok(Step::Pass)
            }
            kind::CLOSE_COMPLETE => {
                let closes =
                    |e: &Expect| matches!(e, Expect::CloseStatement { .. } | Expect::ClosePortal { .. });
                match self.pop_expected(closes, "CloseComplete")?.expect {
                    Expect::CloseStatement { statement } => self.statements.close(&statement),
                    Expect::ClosePortal { portal } => self.portals.close(&portal),
                    _ => {}
                }
                Ok(Step::Pass)
            }
            kind::COMMAND_COMPLETE | kind::EMPTY_QUERY_RESPONSE | kind::PORTAL_SUSPENDED => {
                self.command_complete(now, message, body, out)
            }
            kind::ERROR_RESPONSE => {
                // Asked first: who it is about is gone afterwards.
                let told = self.hide_words(message, body, governance);
                Ok(match self.error(now, body, out) {
                    Step::Pass => told,
                    denial => denial,
                })
            }
            kind::NOTICE_RESPONSE => Ok(self.hide_words(message, body, governance)),
            kind::READY_FOR_QUERY => self.ready(now, body, governance, out),
            kind::COPY_IN_RESPONSE | kind::COPY_OUT_RESPONSE if !self.runs_something() => {
                Err(ProtocolViolation::Other("a COPY begins that nobody asked for"))
            }
            kind::COPY_IN_RESPONSE => {
                self.copying_in = self.pipeline.copy_in_began();
                Ok(Step::Pass)
            }
            kind::FUNCTION_CALL_RESPONSE => {
                if let Some(owed) = self.pipeline.front_mut()
                    && let Some(run) = owed.run.take()
                {
                    self.finish(now, run, Outcome::Complete, None, None, out);
                }
                Ok(Step::Pass)
            }
            kind::PARAMETER_STATUS => {
                let (name, value) = backend::parameter_status(body)?;
                if name == b"client_encoding" && self.catalogue_reader.is_some() {
                    // Of governor's own question, which sets it for itself: it ends as it was.
                    return Ok(Step::Drop);
                }
                self.settings.parameter_status(name, value);
                if self.restricted && self.asked.is_none() {
                    self.following.reported(name, value);
                }
                Ok(self.parameter_told(name, value, governance))
            }
            kind::BACKEND_KEY_DATA => {
                let (process, secret) = backend::backend_key_data(body)?;
                // A longer one is in no cancel request that the protocol knows.
                if secret.len() <= CANCEL_SECRET_BYTES_MAX {
                    self.cancel_key = Some(Box::new(CancelKey { process, secret: secret.to_vec() }));
                    out.requests.push(Request::CancelKey { process, secret: secret.to_vec() });
                }
                Ok(Step::Pass)
            }
            kind::AUTHENTICATION => self.authentication_request(body),
            kind::NOTIFICATION_RESPONSE => self.notified(body, governance),
            kind::PARAMETER_DESCRIPTION | kind::NEGOTIATE_PROTOCOL_VERSION => Ok(Step::Pass),
            // CopyBoth belongs to replication connections, which are not read.
            other => Err(ProtocolViolation::UnknownKind { kind: other }),
        }
    }

    /// A statement's results are what the server owes next.
    fn runs_something(&self) -> bool {
        let front = self.pipeline.front().map(|owed| &owed.expect);
        matches!(front, Some(Expect::Query | Expect::Execute { .. }))
    }

    fn pop_expected(
        &mut self,
        fits: impl Fn(&Expect) -> bool,
        message: &'static str,
    ) -> Result<Owed, ProtocolViolation> {
        if self.pipeline.front().is_some_and(|owed| fits(&owed.expect))
            && let Some(owed) = self.pipeline.pop()
        {
            return Ok(owed);
        }
        Err(match message {
            "ParseComplete" => ProtocolViolation::Other("ParseComplete answers no Parse"),
            "BindComplete" => ProtocolViolation::Other("BindComplete answers no Bind"),
            _ => ProtocolViolation::Other("CloseComplete answers no Close"),
        })
    }
}

/// May come at any time, whatever is owed.
fn is_async(message: u8) -> bool {
    matches!(message, kind::NOTICE_RESPONSE | kind::NOTIFICATION_RESPONSE | kind::PARAMETER_STATUS)
}

/// How many bytes of a body must be at hand before its message is dealt with, rows apart.
fn needed_bytes(header: Header) -> Result<usize, ProtocolViolation> {
    let whole_up_to = |limit: usize| header.at_most(limit).map(|()| header.body_bytes);
    match header.kind {
        kind::ROW_DESCRIPTION => whole_up_to(ROW_DESCRIPTION_BYTES_MAX),
        kind::ERROR_RESPONSE | kind::NOTICE_RESPONSE => Ok(header.body_bytes.min(ERROR_HEAD_BYTES)),
        kind::READY_FOR_QUERY
        | kind::PARAMETER_STATUS
        | kind::BACKEND_KEY_DATA
        | kind::AUTHENTICATION
        | kind::COMMAND_COMPLETE
        | kind::PARSE_COMPLETE
        | kind::BIND_COMPLETE
        | kind::CLOSE_COMPLETE
        | kind::NO_DATA
        | kind::PORTAL_SUSPENDED
        | kind::EMPTY_QUERY_RESPONSE => whole_up_to(CONTROL_BYTES_MAX),
        // Short by nature: a length that says otherwise is no such message.
        kind::COPY_OUT_RESPONSE | kind::NOTIFICATION_RESPONSE => whole_up_to(CONTROL_BYTES_MAX),
        kind::COPY_IN_RESPONSE | kind::NEGOTIATE_PROTOCOL_VERSION => {
            header.at_most(CONTROL_BYTES_MAX).map(|()| 0)
        }
        kind::PARAMETER_DESCRIPTION => header.at_most(ROW_DESCRIPTION_BYTES_MAX).map(|()| 0),
        _ => Ok(0),
    }
}

/// 1,664 columns with names of 63 bytes are 136 KiB.
const ROW_DESCRIPTION_BYTES_MAX: usize = 1 << 20;
/// The SQLSTATE is in the first hundred bytes of an error.
const ERROR_HEAD_BYTES: usize = 8 << 10;
const CONTROL_BYTES_MAX: usize = 64 << 10;
