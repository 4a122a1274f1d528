//! What the client sends once the session runs: each message is decided, forwarded, replaced,
//! dropped or held.

use super::action::{Actions, Request};
use super::check::Check;
use super::chunk::{Chunk, ToServer};
use super::extended::Binding;
use super::facts::StatementRef;
use super::gate::{Gate, Step, foreign_to_copy};
use super::governance::Governance;
use super::hold::{Approval, Standing};
use super::judge::{Judged, is_plain_name, makes_view};
use super::meaning::{Basis, fetched_name};
use super::permit::{Permit, ProtocolNeed};
use super::pipeline::{Expect, Owed, Run};
use super::tokens::Tokens;
use super::{Parameters, Phase, Prepared, Session, TransactionState};
use crate::engine::masking::mask_parameter;
use crate::engine::model::{StatementKind, Timestamp, Unknown};
use crate::engine::wire::postgres::encode;
use crate::engine::wire::postgres::frontend::{self, Named, kind};
use crate::engine::wire::postgres::{Header, ProtocolViolation};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

impl Session {
    pub(super) fn client_bytes(
        &mut self,
        now: Timestamp,
        buffer: &mut BytesMut,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        match self.phase {
            Phase::Opening { .. } => self.opening_bytes(now, buffer, governance, out),
            Phase::Authenticating => self.authentication_bytes(now, buffer, out),
            Phase::Ready => {
                self.forget_old_plans();
                let mut chunk = Chunk::new(buffer);
                let result = self.client_messages(now, &mut chunk, governance, out);
                chunk.flush(&mut ToServer(&mut out.to_server));
                let flush = self.pipeline.wants_flush() || self.flush_due;
                if flush && !self.client_stream.is_open() {
                    self.flush_due = false;
                    out.to_server.push((encode::flush(), Permit::protocol(ProtocolNeed::OwnRequest)));
                }
                result
            }
            _ => Ok(()),
        }
    }

    /// What was decided on columns in another minute, under another glass or other rulings, is decided again. Results that are under
    /// way keep the plan that they began with.
    fn forget_old_plans(&mut self) {
        let glass = self.broken.as_ref().map(|broken| &broken.id);
        let same = self.plans_of.0 == self.now
            && self.plans_of.1.as_ref() == glass
            && self.plans_of.2 == self.rulings_version;
        if same || !self.may_be_masked || !self.pipeline.is_empty() {
            return;
        }
        self.plans_of = (self.now, glass.cloned(), self.rulings_version);
        self.portals.each_mut().for_each(|portal| (portal.plan, portal.described) = (None, false));
        self.cursor_plan = None;
    }

    fn client_messages(
        &mut self,
        now: Timestamp,
        chunk: &mut Chunk<'_, Permit>,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<(), ProtocolViolation> {
        while self.wants_client() {
            let more = chunk.stream(
                &mut self.client_stream,
                || Permit::protocol(ProtocolNeed::CopyData),
                &mut ToServer(&mut out.to_server),
            );
            if !more || !self.wants_client() {
                // The rest of a message passes in any case; what comes behind it may have to wait.
                return Ok(());
            }
            let Some(header) = Header::peek(chunk.unread())? else { return Ok(()) };
            let limit = frontend::body_bytes_max(header.kind).filter(|_| header.kind != kind::PASSWORD);
            header.at_most(limit.ok_or(ProtocolViolation::UnknownKind { kind: header.kind })?)?;
            if self.restricted && self.copying_in && !passes_during_copy(header.kind) {
                // The server fails a COPY by its type alone, so nothing of what it says is sent.
                let sink = &mut ToServer(&mut out.to_server);
                chunk.flush(sink);
                sink.0.push((foreign_to_copy(header.kind), Permit::protocol(ProtocolNeed::OwnRequest)));
                chunk.drop_message(header.total_bytes(), sink, &mut self.client_stream);
                continue;
            }
            if self.skips(header.kind) {
                // An answer was for the message that is skipped now, not for one behind it.
                self.standing = Standing::None;
                chunk.drop_message(
                    header.total_bytes(),
                    &mut ToServer(&mut out.to_server),
                    &mut self.client_stream,
                );
                continue;
            }
            let needed = needed_bytes(header, governance.limits.statement_bytes_max);
            let Some(body) = chunk.unread().get(Header::BYTES..Header::BYTES + needed) else { return Ok(()) };
            let whole = needed == header.body_bytes;
            let sent_before = out.to_server.len();
            let step =
                self.client_message(now, header.kind, body, header.body_bytes, whole, governance, out)?;
            let total = header.total_bytes();
            let sink = &mut ToServer(&mut out.to_server);
            match step {
                Step::Pass(permit) => {
                    chunk.pass_message::<ToServer<'_>>(total, permit, &mut self.client_stream);
                    if header.kind == kind::COPY_DATA {
                        let permit = || Permit::protocol(ProtocolNeed::CopyData);
                        chunk.pass_run::<ToServer<'_>>(kind::COPY_DATA, permit);
                    }
                }
                Step::PassAfter(first, permit) => {
                    chunk.flush(sink);
                    sink.0.push((first, Permit::protocol(ProtocolNeed::OwnRequest)));
                    chunk.pass_message::<ToServer<'_>>(total, permit, &mut self.client_stream);
                }
                Step::PassBefore(permit, then) => {
                    chunk.pass_message::<ToServer<'_>>(total, permit, &mut self.client_stream);
                    chunk.flush(sink);
                    sink.0.push((then, Permit::protocol(ProtocolNeed::OwnRequest)));
                }
                Step::Replace(instead, permit) => {
                    chunk.flush(sink);
                    sink.0.push((instead, permit));
                    chunk.drop_message(total, sink, &mut self.client_stream);
                }
                Step::Later | Step::Hold => {
                    // What governor asks comes behind what the client sent before.
                    let asked = out.to_server.split_off(sent_before);
                    chunk.flush(&mut ToServer(&mut out.to_server));
                    out.to_server.extend(asked);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// After an error in the extended protocol everything up to the next Sync is ignored, by the
    /// server and so by governor.
    fn skips(&self, message: u8) -> bool {
        (self.client_skips || self.pipeline.server_skips) && !matches!(message, kind::SYNC | kind::TERMINATE)
    }

    #[allow(clippy::too_many_arguments)]
    fn client_message(
        &mut self,
        now: Timestamp,
        message: u8,
        body: &[u8],
        body_bytes: usize,
        whole: bool,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<Step, ProtocolViolation> {
        let framing = || Step::Pass(Permit::protocol(ProtocolNeed::Framing));
        Ok(match message {
            kind::QUERY => {
                if self.catalogue_needed(now, governance) {
                    return Ok(self.read_catalogue_first(now, out));
                }
                if self.state_needed() {
                    return Ok(self.ask_state_first(out));
                }
                let statements = if whole {
                    self.understand_query(frontend::query(body)?, governance)
                } else {
                    too_long(body, body_bytes, governance)
                };
                if self.names_are_new(now, &statements) {
                    return Ok(self.read_catalogue_first(now, out));
                }
                if whole
                    && let Some(step) = self.check_first(frontend::query(body)?, &statements, governance, out)
                {
                    return Ok(step);
                }
                self.query(now, &statements, governance, out)
            }
            kind::PARSE | kind::BIND | kind::EXECUTE | kind::FUNCTION_CALL if self.state_needed() => {
                self.ask_state_first(out)
            }
            kind::PARSE => {
                let (name, statements, types) = if whole {
                    let parse = frontend::parse(body)?;
                    let wants_types = governance.limits.compare_tokens && self.restricted;
                    let types: Option<Arc<[u32]>> = wants_types.then(|| parse.types.collect());
                    (parse.statement, self.understand(parse.text, governance), types)
                } else {
                    let name = head_name(body)?;
                    let text = body.get(name.len() + 1..).unwrap_or_default();
                    (name, too_long(text, body_bytes, governance), None)
                };
                // A simple query in between would drop an unnamed statement that is still wanted.
                let unnamed_is_free = name.is_empty() || self.statements.newest(b"").is_none();
                if unnamed_is_free
                    && (self.catalogue_needed(now, governance) || self.names_are_new(now, &statements))
                {
                    return Ok(self.read_catalogue_first(now, out));
                }
                self.batch_open = true;
                self.parse(now, name, statements, types, governance, out)
            }
            kind::BIND => {
                self.batch_open = true;
                let (names, parameters, formats) = if whole {
                    let bind = frontend::bind(body, governance.limits.record_parameters_max)?;
                    let parameters = self.parameters(&bind.values, governance);
                    (bind.names, parameters, Some(bind.result_formats))
                } else {
                    (frontend::bind_names(body)?, Parameters::default(), None)
                };
                if let Some(step) = self.check_bound(names.statement, governance, out) {
                    return Ok(step);
                }
                let binding = Binding { names, parameters, formats, body: whole.then_some(body) };
                self.bind(now, binding, governance, out)
            }
            kind::EXECUTE => {
                let portal = frontend::execute(body)?;
                self.batch_open = true;
                if let Some(step) = self.check_portal(portal, governance, out) {
                    return Ok(step);
                }
                self.execute(now, portal, governance, out)
            }
            kind::DESCRIBE => {
                self.batch_open = true;
                let expect = match frontend::named(body, "Describe")? {
                    Named::Statement(name) => Expect::DescribeStatement { statement: name.into() },
                    Named::Portal(name) => {
                        if let Some(portal) = self.portals.newest_mut(name) {
                            portal.described = true;
                        }
                        Expect::DescribePortal { portal: name.into(), own: false }
                    }
                };
                self.pipeline.push(Owed::new(expect));
                framing()
            }
            kind::CLOSE => {
                self.pipeline.push(Owed::new(match frontend::named(body, "Close")? {
                    Named::Statement(name) => Expect::CloseStatement { statement: name.into() },
                    Named::Portal(name) => Expect::ClosePortal { portal: name.into() },
                }));
                framing()
            }
            kind::SYNC => {
                self.client_skips = false;
                self.pipeline.server_skips = false;
                if self.copying_in {
                    self.pipeline.sync_in_copy();
                } else {
                    self.pipeline.push(Owed::new(Expect::Sync));
                }
                framing()
            }
            kind::FUNCTION_CALL => self.function_call(now, frontend::function_call(body)?, governance, out),
            kind::COPY_DATA => Step::Pass(Permit::protocol(ProtocolNeed::CopyData)),
            kind::COPY_DONE | kind::COPY_FAIL => {
                self.copying_in = false;
                self.pipeline.copy_in_ended();
                Step::Pass(Permit::protocol(ProtocolNeed::CopyData))
            }
            kind::FLUSH | kind::TERMINATE => framing(),
            other => return Err(ProtocolViolation::UnknownKind { kind: other }),
        })
    }

    /// Nothing is under way that could fail, and no transaction is open: governor may ask for itself.
    fn may_read_catalogue(&self) -> bool {
        self.restricted
            && self.pipeline.owes_only_closes()
            && !self.batch_open
            && self.transaction == super::TransactionState::Idle
            && !self.standing_is_set()
    }

    /// DDL was seen, or the catalogue is old: read it again before the next query.
    fn catalogue_needed(&mut self, now: Timestamp, governance: &mut Governance) -> bool {
        if !self.restricted {
            return false;
        }
        let (destination, database) = (self.setup.destination.clone(), self.claims.database.clone());
        if let Some(newest) = governance.catalogue(destination.clone(), &database) {
            // Perhaps one that another session has read.
            self.adopt_catalogue(newest, governance);
        }
        if !self.may_read_catalogue() {
            return false;
        }
        if self.catalogue_outdated && self.catalogue.is_some() {
            return true;
        }
        // A database that would not answer is not asked again by the same session.
        self.catalogue.is_some() && governance.wants_catalogue(destination, &database, now)
    }

    /// Something is named that the catalogue does not have: it may have been made since.
    fn names_are_new(&self, now: Timestamp, statements: &[StatementRef]) -> bool {
        let state = self.following.state();
        self.may_read_catalogue()
            && self.catalogue.as_ref().is_some_and(|catalogue| {
                let wants = |statement: &crate::engine::model::Statement| {
                    catalogue.wants_again(statement, state, now)
                };
                statements.iter().any(|s| wants(s) || s.inner.as_deref().is_some_and(wants))
            })
    }

    fn read_catalogue_first(&mut self, now: Timestamp, out: &mut Actions) -> Step {
        self.close_check(out);
        self.phase = Phase::ReadingCatalogue { ready: None };
        self.read_catalogue(now, out);
        Step::Later
    }

    pub(super) fn standing_is_set(&self) -> bool {
        !matches!(self.standing, Standing::None)
    }

    /// A simple query: all of its statements are decided before any of them runs.
    fn query(
        &mut self,
        now: Timestamp,
        statements: &[StatementRef],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Step {
        let (mut judged, approval, refused) = self.judge_standing(statements, None, Tokens::None, governance);
        let check = std::mem::take(&mut self.check);
        self.take_rate(now, &mut judged, governance);
        self.weigh(now, &mut judged, approval.as_ref(), true, governance, out);
        match self.gate(now, &judged, &Parameters::default(), approval.as_ref(), refused, governance, out) {
            Gate::Hold => {
                self.check = check;
                self.close_check(out);
                Step::Hold
            }
            Gate::Deny(report) => {
                self.check_open = false;
                self.deny_simple(&report)
            }
            Gate::Allow(permit) => {
                let began_here =
                    std::mem::take(&mut self.check_open) && self.transaction == TransactionState::Idle;
                let mut owed = Owed::new(Expect::Query);
                owed.weight = weight(statements);
                for one in &judged {
                    let run = self.run(
                        now,
                        one,
                        &Parameters::default(),
                        approval.as_ref(),
                        check.basis(),
                        governance,
                        out,
                    );
                    match owed.run {
                        None => owed.run = Some(run),
                        Some(_) => owed.more.push_back(run),
                    }
                }
                if self.may_pace
                    && let Some(run) = &mut owed.run
                {
                    let cursor = match statements {
                        [one] => fetched_name(one).map(str::as_bytes),
                        _ => None,
                    };
                    self.pace(now, run, &judged, cursor);
                }
                if let Check::Failed(told) = check {
                    owed.denial = Some(*told);
                }
                self.pipeline.push(owed);
                if !(began_here && self.settings.takes_for_pipeline) {
                    return Step::Pass(permit);
                }
                self.settling = Some(Box::default());
                Step::PassBefore(permit, encode::query("COMMIT"))
            }
        }
    }

    /// A statement goes to the server: its record, and what it changes in what names mean.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn run(
        &mut self,
        now: Timestamp,
        judged: &Judged,
        parameters: &Parameters,
        approval: Option<&Approval>,
        basis: Basis,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Run {
        let mut run = self.begin_run(out, now, judged, parameters, approval.map(|a| a.id.as_str()));
        if matches!(run.source.basis, Basis::Newest) {
            run.source.basis = basis;
        }
        run.unsettled = self.unsettled(judged, governance);
        let statement = &judged.statement;
        if let (StatementKind::Prepare, Some(name), Some(inner)) =
            (statement.kind, &statement.prepared_name, &statement.inner)
            && is_plain_name(name.as_bytes())
        {
            let ticket = self.next_ticket();
            let inner: Arc<[_]> = StatementRef::all(&governance.facts.known((**inner).clone())).collect();
            let bytes = name.len() + weight(&inner);
            if self.statements.define(
                name.as_bytes(),
                ticket,
                Prepared { statements: inner, types: None, fields: None },
                bytes,
            ) {
                run.prepares = Some((name.as_bytes().into(), ticket));
            }
        }
        self.follow(judged, approval, &mut run, governance);
        // EXECUTE by what it runs.
        if judged.everything().any(|statement| self.changes_definitions(statement)) {
            self.definitions_changed = true;
            self.views_made |= judged.everything().any(|statement| makes_view(statement));
            self.outdate_catalogue(now, governance, out);
        }
        run
    }

    /// Definitions change, or did: nobody trusts what was read before.
    pub(super) fn outdate_catalogue(
        &mut self,
        now: Timestamp,
        governance: &mut Governance,
        out: &mut Actions,
    ) {
        self.catalogue_outdated = true;
        let (destination, database) = (self.setup.destination.clone(), self.claims.database.clone());
        governance.outdate_catalogue(destination.clone(), &database, now);
        out.requests.push(Request::CatalogueOutdated { destination, database });
    }

    fn function_call(
        &mut self,
        now: Timestamp,
        oid: u32,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Step {
        let text = format!("FunctionCall {oid}");
        let statements: Vec<_> =
            StatementRef::all(&governance.unknown(&text, Unknown::FunctionCall { oid })).collect();
        let (mut judged, approval, refused) =
            self.judge_standing(&statements, None, Tokens::None, governance);
        self.take_rate(now, &mut judged, governance);
        self.weigh(now, &mut judged, approval.as_ref(), true, governance, out);
        match self.gate(now, &judged, &Parameters::default(), approval.as_ref(), refused, governance, out) {
            Gate::Hold => Step::Hold,
            Gate::Deny(report) => self.deny_simple(&report),
            Gate::Allow(permit) => {
                let mut owed = Owed::new(Expect::FunctionCall);
                owed.run = judged.first().map(|one| {
                    let basis = Basis::Newest;
                    self.run(now, one, &Parameters::default(), approval.as_ref(), basis, governance, out)
                });
                if self.may_pace
                    && let Some(run) = &mut owed.run
                {
                    self.pace(now, run, &judged, None);
                }
                self.pipeline.push(owed);
                Step::Pass(permit)
            }
        }
    }

    /// Bound values as records show them.
    fn parameters(&self, values: &[(Option<&[u8]>, bool)], governance: &Governance) -> Parameters {
        values
            .iter()
            .map(|(value, binary)| {
                value.map(|bytes| match (binary, std::str::from_utf8(bytes)) {
                    (false, Ok(text)) => mask_parameter(&governance.masker, text),
                    (true, _) | (false, Err(_)) => format!("<{} bytes>", bytes.len()),
                })
            })
            .collect()
    }

    /// A message of governor's own for the client, at the next border of the server's stream.
    pub(super) fn notify(&mut self, message: Bytes, out: &mut Actions) {
        if self.server_stream.is_open() {
            self.notices.push(message);
        } else {
            out.to_client.push(message);
        }
    }
}

/// How many bytes of a body must be at hand before its message is decided.
fn needed_bytes(header: Header, statement_bytes_max: usize) -> usize {
    match header.kind {
        kind::QUERY | kind::PARSE | kind::BIND if header.body_bytes <= statement_bytes_max => {
            header.body_bytes
        }
        kind::QUERY | kind::PARSE | kind::BIND => HEAD_BYTES.min(header.body_bytes),
        kind::FUNCTION_CALL => 4.min(header.body_bytes),
        kind::COPY_DATA | kind::COPY_FAIL => 0,
        _ => header.body_bytes,
    }
}

/// Messages that a COPY FROM STDIN consists of, or that the server ignores during one.
fn passes_during_copy(message: u8) -> bool {
    matches!(
        message,
        kind::COPY_DATA | kind::COPY_DONE | kind::COPY_FAIL | kind::FLUSH | kind::SYNC | kind::TERMINATE
    )
}

/// What the meaning of statements takes, roughly: the text, its recorded form, and what is known of it.
pub(super) fn weight(statements: &[StatementRef]) -> usize {
    statements.iter().map(|s| MEANING_BYTES + 2 * s.text.len()).sum()
}

/// A statement whose text says all that it does, and that defines no cursor.
pub(super) fn is_plain(statement: &StatementRef) -> bool {
    use StatementKind as K;
    statement.unknown.is_none()
        && !statement
            .kinds
            .iter()
            .any(|k| matches!(k, K::Cursor | K::Execute | K::Call | K::Do | K::Transaction | K::Unknown))
}

/// A text longer than is collected: its beginning is recorded, its meaning is Unknown.
fn too_long(head: &[u8], bytes: usize, governance: &Governance) -> Vec<StatementRef> {
    let text = String::from_utf8_lossy(head);
    StatementRef::all(&governance.unknown(&text, Unknown::TooLong { bytes: bytes as u64 })).collect()
}

/// The first name in the head of a long Parse message.
fn head_name(head: &[u8]) -> Result<&[u8], ProtocolViolation> {
    let mut r = crate::engine::wire::reader::Reader::new(head);
    r.cstr().map_err(|error| ProtocolViolation::Malformed { message: "Parse", error })
}

/// Facts of a short statement.
const MEANING_BYTES: usize = 1 << 10;
/// Of a message longer than the ceiling, so much is looked at: names and the beginning of the text.
const HEAD_BYTES: usize = 16 << 10;
