//! What the server sends: paired with what it answers, masked where policy says so, otherwise passed.

use super::action::{Actions, Request};
use super::chunk::{Chunk, ToClient};
use super::fault;
use super::governance::Governance;
use super::meaning::{Basis, Meaning};
use super::pace::CancelKey;
use super::pipeline::{Expect, Owed};
use super::rows::ResultPlan;
use super::{Phase, Portal, Rows, Session, discovery, visibility};
use crate::engine::approval::Answer;
use crate::engine::audit::Outcome;
use crate::engine::masking::mask_row;
use crate::engine::model::Timestamp;
use crate::engine::wire::postgres::backend::{self, TransactionState, kind};
use crate::engine::wire::postgres::startup::CANCEL_SECRET_BYTES_MAX;
use crate::engine::wire::postgres::{Header, ProtocolViolation};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

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
                (kind::COPY_DATA, Rows::Copy(_)) => {
                    header.at_most(row_bytes_max)?;
                    header.body_bytes
                }
                _ => needed_bytes(header, row_bytes_max)?,
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
        if !is_async(message) {
            let asking = matches!(self.phase, Phase::AskingState);
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

    /// A row that may hold something to mask.
    fn masked_row(&mut self, body: &[u8], governance: &mut Governance) -> Result<Step, ProtocolViolation> {
        if let Rows::Copy(_) = &self.rows {
            return Err(ProtocolViolation::Other("DataRow comes inside a COPY"));
        }
        let Rows::Mask(plan) = &self.rows else {
            if let Some(run) = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut()) {
                run.rows += 1;
            }
            return Ok(Step::Pass);
        };
        governance.row.clear();
        governance.row.shrink_to(ROW_BYTES_KEPT);
        let outcome = mask_row(&plan.rows, &governance.masker, body, &mut governance.row)
            .map_err(|_| ProtocolViolation::Other("DataRow does not match its RowDescription"))?;
        let number = self.pipeline.front().and_then(|owed| owed.run.as_ref()).map_or(0, |run| run.rows);
        self.learn(plan, body, number, governance);
        if let Some(run) = self.pipeline.front_mut().and_then(|owed| owed.run.as_mut()) {
            run.rows += 1;
            run.note(&outcome);
        }
        Ok(if outcome.changed { Step::Rewritten } else { Step::Pass })
    }

    /// RowDescription or NoData: the columns of what comes, or of what was asked about.
    fn described(
        &mut self,
        message: u8,
        body: &[u8],
        governance: &mut Governance,
    ) -> Result<Step, ProtocolViolation> {
        let fields = match message {
            kind::ROW_DESCRIPTION if self.may_be_masked => backend::row_description(body)?,
            _ => Vec::new(),
        };
        let front =
            self.pipeline.front().ok_or(ProtocolViolation::Other("RowDescription answers nothing"))?;
        let (expect_portal, own) = match &front.expect {
            Expect::Query => {
                if self.may_be_masked {
                    let source = front.run.as_ref().map(|run| run.source.clone());
                    self.rows = self.rows_for(&fields, None, source.as_ref(), governance);
                }
                return Ok(Step::Pass);
            }
            Expect::DescribeStatement { statement } => {
                let name = statement.clone();
                if self.may_be_masked
                    && let Some(prepared) = self.statements.confirmed_mut(&name)
                {
                    prepared.fields = Some(Arc::new(fields));
                }
                self.pipeline.pop();
                return Ok(Step::Pass);
            }
            Expect::DescribePortal { portal, own } => (portal.clone(), *own),
            _ => return Err(ProtocolViolation::Other("RowDescription answers something that has no rows")),
        };
        self.pipeline.pop();
        if self.may_be_masked {
            let source = self.portals.confirmed(&expect_portal).and_then(portal_source);
            let plan = match self.rows_for(&fields, None, source.as_ref(), governance) {
                Rows::Mask(plan) => plan,
                _ => Arc::new(ResultPlan {
                    reading: self.reading_of(source.as_ref(), governance),
                    ..ResultPlan::default()
                }),
            };
            if let Some(portal) = self.portals.confirmed_mut(&expect_portal) {
                portal.plan = Some(plan);
            } else {
                // A cursor of SQL DECLARE: remembered under its name for the Execute that follows.
                self.cursor_plan = Some((expect_portal, plan));
            }
        }
        Ok(if own { Step::Drop } else { Step::Pass })
    }

    fn rows_for(
        &self,
        fields: &[backend::Field],
        formats: Option<&[i16]>,
        source: Option<&Meaning>,
        governance: &mut Governance,
    ) -> Rows {
        fault::guarded("rows", || self.plan_rows(fields, formats, source, governance)).unwrap_or_else(|| {
            let rows = visibility::hide_all(fields, formats);
            Rows::Mask(Arc::new(ResultPlan { rows, ..ResultPlan::default() }))
        })
    }

    fn plan_rows(
        &self,
        fields: &[backend::Field],
        formats: Option<&[i16]>,
        source: Option<&Meaning>,
        governance: &mut Governance,
    ) -> Rows {
        let catalogue = match source.map(|source| &source.basis) {
            Some(Basis::Doubt) if self.hides_unknown(governance) => {
                let rows = visibility::hide_all(fields, formats);
                return Rows::Mask(Arc::new(ResultPlan { rows, ..ResultPlan::default() }));
            }
            Some(Basis::Checked(catalogue)) => Some(self.ruled_now(catalogue, governance)),
            _ => self.trusted_catalogue(governance).cloned(),
        };
        // One that counts for nothing any more still says what was sensitive.
        let known = catalogue.as_ref().or(self.catalogue.as_ref());
        let lineage = visibility::lineage_for(fields, source, known, &mut governance.flows);
        let mut asker = self.asker(governance);
        let origin = visibility::Origin {
            statement: source.map(|source| &*source.statement),
            catalogue: known.map(|catalogue| &**catalogue),
            is_trusted: catalogue.is_some(),
            lineage: lineage.as_deref(),
        };
        let rows = visibility::row_plan(fields, formats, origin, &mut asker);
        if rows.is_passive() {
            return Rows::Pass;
        }
        let watched = match &catalogue {
            Some(catalogue) if governance.discovery.settings().enabled => {
                discovery::watched(fields, &rows, catalogue, lineage.as_deref())
            }
            _ => Box::default(),
        };
        let reading = known.map_or(0, |catalogue| catalogue.reading);
        Rows::Mask(Arc::new(ResultPlan { rows, watched, reading }))
    }

    /// The catalogue, unless definitions changed since it was read: then everything is in doubt.
    pub(super) fn trusted_catalogue(&self, governance: &Governance) -> Option<&Arc<super::Catalogue>> {
        let mine = self.catalogue.as_ref().filter(|_| !self.catalogue_outdated)?;
        governance.is_trusted(self.setup.destination.clone(), &self.claims.database, mine).then_some(mine)
    }

    /// The reading of the catalogue that rows are planned by.
    fn reading_of(&self, source: Option<&Meaning>, governance: &Governance) -> u64 {
        match source.map(|source| &source.basis) {
            Some(Basis::Checked(catalogue)) => catalogue.reading,
            _ => self.trusted_catalogue(governance).map_or(0, |catalogue| catalogue.reading),
        }
    }

    /// A catalogue that a statement was judged by, under the rulings that hold now.
    pub(super) fn ruled_now(
        &self,
        catalogue: &Arc<super::Catalogue>,
        governance: &mut Governance,
    ) -> Arc<super::Catalogue> {
        governance.ruled_for(self.setup.destination.clone(), &self.claims.database, catalogue.clone())
    }

    /// The first row of a result: how are its rows treated?
    fn decide_rows(&mut self, governance: &mut Governance) -> Result<(), ProtocolViolation> {
        let Some(owed) = self.pipeline.front() else {
            return Err(ProtocolViolation::Other("DataRow answers nothing"));
        };
        if !self.may_be_masked && !matches!(owed.expect, Expect::OwnQuery | Expect::OwnCheck) {
            self.rows = Rows::Pass;
            return Ok(());
        }
        self.rows = match &owed.expect {
            // Its rows go to the catalogue reader.
            Expect::OwnQuery | Expect::OwnCheck => Rows::Undecided,
            Expect::Execute { portal } => {
                let portal_name = portal.clone();
                let basis = owed.run.as_ref().map(|run| run.source.basis.clone()).unwrap_or_default();
                match self.portals.confirmed_mut(&portal_name).map(|p| p.clone()) {
                    Some(p) => match (&p.plan, &p.fields, &p.formats) {
                        (Some(plan), _, _) if self.plan_is_in_doubt(plan, &basis, governance) => {
                            Rows::Mask(Arc::new(plan.hidden()))
                        }
                        (Some(plan), _, _) if plan.is_passive() => Rows::Pass,
                        (Some(plan), _, _) => Rows::Mask(plan.clone()),
                        (None, Some(fields), Some(formats)) => {
                            self.rows_for(fields, Some(formats), portal_source(&p).as_ref(), governance)
                        }
                        _ => return Err(ProtocolViolation::Other("rows came whose columns are not known")),
                    },
                    None => match self.cursor_plan.take() {
                        Some((name, plan)) if name == portal_name => {
                            self.cursor_plan = Some((name, plan.clone()));
                            if self.plan_is_in_doubt(&plan, &basis, governance) {
                                Rows::Mask(Arc::new(plan.hidden()))
                            } else if plan.is_passive() {
                                Rows::Pass
                            } else {
                                Rows::Mask(plan)
                            }
                        }
                        _ => return Err(ProtocolViolation::Other("rows came whose columns are not known")),
                    },
                }
            }
            _ => return Err(ProtocolViolation::Other("rows came without a RowDescription")),
        };
        Ok(())
    }

    /// CommandComplete, EmptyQueryResponse, PortalSuspended: one statement is done.
    fn command_complete(
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
    fn error(&mut self, now: Timestamp, body: &[u8], out: &mut Actions) -> Step {
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

    fn ready(
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
        self.batch_open = !self.pipeline.is_empty();
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
    fn own_query_reply(
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

/// The one statement of a portal, or what it stands for; `None` where there are several, or none that is known.
fn portal_source(portal: &Portal) -> Option<Meaning> {
    match (&portal.means, &*portal.statements) {
        (Some(means), [_]) if matches!(means.basis, Basis::Newest) => {
            Some(Meaning { basis: portal.basis.clone(), ..means.clone() })
        }
        (Some(means), [_]) => Some(means.clone()),
        (None, [one]) => Some(Meaning {
            statement: one.clone(),
            state: portal.state.clone(),
            approved: false,
            basis: portal.basis.clone(),
        }),
        _ => None,
    }
}

/// An ErrorResponse after which the server closes.
fn ends_session(body: &[u8]) -> bool {
    let severity = backend::error_field(body, b'V');
    matches!(severity, Ok(Some(b"FATAL" | b"PANIC")))
}

/// May come at any time, whatever is owed.
fn is_async(message: u8) -> bool {
    matches!(message, kind::NOTICE_RESPONSE | kind::NOTIFICATION_RESPONSE | kind::PARAMETER_STATUS)
}

/// How many bytes of a body must be at hand before its message is dealt with.
fn needed_bytes(header: Header, row_bytes_max: usize) -> Result<usize, ProtocolViolation> {
    let whole_up_to = |limit: usize| header.at_most(limit).map(|()| header.body_bytes);
    match header.kind {
        kind::DATA_ROW => whole_up_to(row_bytes_max),
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
/// Room for a masked row that is kept for the next one.
const ROW_BYTES_KEPT: usize = 64 << 10;

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
