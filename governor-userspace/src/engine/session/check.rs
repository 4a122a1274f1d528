//! Whether what a statement relies on is still as the catalogue says: the server is asked with the statement.
//!
//! - A simple query is asked about first. Its text is parsed by the server before the question, in the transaction that it
//!   will run in, so that whoever changes something has either done so or has to wait: the locks stay, since no Sync
//!   comes in between. Where the answer is another than expected the catalogue is read again and the statement judged
//!   anew; in an open transaction, where that cannot be, its result is in doubt.
//! - In the extended protocol the question goes between Bind, which takes the locks, and Execute, in one write. Nobody
//!   waits for it; another answer than expected puts the rows in doubt that come behind it.
//! - An agent's Bind is asked about before, and so is that of a statement that puts values somewhere; those wait for the
//!   answer, since what has run cannot be hidden. Another answer than expected makes it something of which nobody can tell
//!   what it does. An agent's Execute that comes once Bind is answered waits for one more. The question between Bind and
//!   Execute stays: only that one goes by the locks that Bind took.
//! - Several statements in one text, and commands that the server analyses only when they run, are asked about in a
//!   transaction of governor's own in front of theirs.
//! - FETCH is not asked about: a cursor is what it was when it was declared, and so is the catalogue that its rows are read by.
//!
//! No reply reaches the client, and nothing stays: a simple query takes the unnamed statement away in any case, the
//! question's own names are closed.
//!
//! Only where something may be masked, or an agent asks, and where a statement relies on something that users made or may
//! have made: one more function or operator of the same name.

use super::action::Actions;
use super::catalogue::Catalogue;
use super::facts::StatementRef;
use super::gate::Step;
use super::governance::Governance;
use super::judge::{Given, Judged, strictest};
use super::meaning::{Basis, DefinedHere, executed_name, fetched_name};
use super::permit::{Permit, ProtocolNeed};
use super::pipeline::{Expect, Owed};
use super::server::Step as Reply;
use super::signature::Relied;
use super::tokens::Tokens;
use super::{Phase, Session, TransactionState};
use crate::engine::model::{Class, SessionState, StatementKind, TempRows, Timestamp, Verdict};
use crate::engine::wire::postgres::backend::{self, kind};
use crate::engine::wire::postgres::encode::{self, Report, Severity};
use crate::engine::wire::postgres::{Header, ProtocolViolation};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// What came of the question for the simple query at the front of the client's buffer.
#[derive(Debug, Default)]
pub(super) enum Check {
    /// Not asked.
    #[default]
    None,
    /// Something changed: the catalogue is read, and it is asked once more.
    Again,
    /// It relies on nothing but what is in here, and that still holds.
    Passed(Arc<Catalogue>),
    /// The same of a catalogue that is out of date: what it does is as was judged; rows are not read by it.
    Holds,
    /// Something changed, or nobody can tell.
    Doubt,
    /// It relies on more than is asked about.
    TooMuch,
    /// The server could not parse it, and its transaction failed by that: the client gets this answer to its own message.
    Failed(Box<Bytes>),
}

impl Check {
    /// Of a statement that runs now.
    pub fn basis(&self) -> Basis {
        match self {
            Self::None | Self::Again | Self::Holds => Basis::Newest,
            Self::Passed(catalogue) => Basis::Checked(catalogue.clone()),
            Self::Doubt | Self::TooMuch | Self::Failed(_) => Basis::Doubt,
        }
    }
}

/// A question that the server has not answered in full.
#[derive(Debug)]
pub(super) struct Question {
    /// As [`Relied::expected`] has them.
    pub expected: [String; 2],
    catalogue: Arc<Catalogue>,
    told: Option<bool>,
    closed_count: u8,
    /// The client's message waits for the answer; otherwise it is about the rows that come behind it.
    is_awaited: bool,
}

/// No client uses this name by chance.
pub(super) const NAME: &str = "governor\u{1}check";

impl Session {
    /// Asks first; the client's message waits. `None` where that is done, or need not be.
    pub(super) fn check_first(
        &mut self,
        text: &[u8],
        statements: &[StatementRef],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Option<Step> {
        if !matches!(self.check, Check::None | Check::Again) {
            return None;
        }
        let free = self.pipeline.owes_only_closes() && !self.batch_open;
        if !free || self.transaction == TransactionState::Failed {
            return None;
        }
        let catalogue = self.asked_by(governance)?;
        // What does not run now is not asked about.
        if !self.standing_is_set()
            && strictest(&self.judge(statements, None, Given::default(), governance)) != Verdict::Allow
        {
            return None;
        }
        let relied = self.relied_on(statements, &catalogue, governance);
        if relied.is_nothing() {
            self.check = self.passed(catalogue, governance);
            return None;
        }
        let Some(question) = relied.question(&catalogue) else {
            self.check = Check::TooMuch;
            return None;
        };
        let mut messages = BytesMut::new();
        let stays_open = matches!(statements, [one] if is_analysed(one)) && text.len() <= PARSED_BYTES_MAX;
        if stays_open {
            messages.extend_from_slice(&encode::parse_bytes(text));
        }
        messages.extend_from_slice(&encode::run_once(NAME, &question));
        self.pipeline.push(owed(&relied, catalogue, true));
        // Other commands may care whether they are the first of their transaction.
        if stays_open {
            messages.extend_from_slice(&encode::flush());
            self.check_open = true;
        } else {
            messages.extend_from_slice(&encode::sync());
            self.pipeline.push(Owed::new(Expect::OwnSync));
        }
        self.phase = Phase::AskingState;
        out.to_server.push((messages.freeze(), Permit::protocol(ProtocolNeed::OwnRequest)));
        Some(Step::Later)
    }

    /// The messages that ask about a portal which is bound, in front of its Execute.
    pub(super) fn check_between(
        &mut self,
        judged: &Judged,
        run: &mut super::pipeline::Run,
        governance: &mut Governance,
    ) -> Option<Bytes> {
        if !self.may_be_masked || fetched_name(&judged.statement).is_some() {
            return None;
        }
        let catalogue = self.trusted_catalogue(governance).filter(|c| c.any_sensitive())?.clone();
        let mut relied = Relied::default();
        for (statement, state) in judged.with_states() {
            self.add_relied(&mut relied, statement, state, &catalogue, governance);
        }
        if relied.is_nothing() {
            run.source.basis = Basis::Checked(catalogue);
            return None;
        }
        // Outside of a transaction DECLARE fails, but for what stands before it in its batch.
        let alone =
            judged.statement.kind == StatementKind::Cursor && self.transaction == TransactionState::Idle;
        let Some(question) = relied.question(&catalogue).filter(|_| !alone) else {
            run.source.basis = Basis::Doubt;
            return None;
        };
        self.pipeline.push(owed(&relied, catalogue, false));
        Some(encode::run_once(NAME, &question))
    }

    /// Asks about a statement that is bound next; the client's Bind waits. `None` where that is done, or need not be.
    pub(super) fn check_bound(
        &mut self,
        statement: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Option<Step> {
        let prepared = self.statements.newest(statement)?;
        let (statements, types) = (prepared.statements.clone(), prepared.types.clone());
        let keeps = |s: &StatementRef| {
            !s.changes.is_empty() || matches!(s.tag.as_str(), "CREATE TABLE AS" | "SELECT INTO")
        };
        if !self.is_governed_by_effect() && !statements.iter().any(keeps) {
            return None;
        }
        let tokens = types.as_deref().map_or(Tokens::None, Tokens::Unbound);
        let given = Given { approved: self.standing_is_set(), tokens };
        self.check_and_wait(&statements, given, governance, out)
    }

    /// Asks again about an agent's portal that runs for the first time, where there was time since Bind.
    pub(super) fn check_portal(
        &mut self,
        portal: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Option<Step> {
        let portal = self.portals.settled(portal).filter(|portal| matches!(portal.basis, Basis::Newest))?;
        if !self.is_governed_by_effect() {
            return None;
        }
        let (statements, tokens) = (portal.statements.clone(), portal.tokens.clone());
        let approved = portal.approval.is_some() || self.standing_is_set();
        let given = Given { approved, tokens: Tokens::Bound(&tokens) };
        self.check_and_wait(&statements, given, governance, out)
    }

    fn check_and_wait(
        &mut self,
        statements: &[StatementRef],
        given: Given<'_>,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Option<Step> {
        if !matches!(self.check, Check::None) || self.transaction == TransactionState::Failed {
            return None;
        }
        let catalogue = self.asked_by(governance)?;
        // Outside of a transaction DECLARE fails, but for what stands before it in its batch.
        let is_cursor = statements.iter().any(|one| one.kind == StatementKind::Cursor);
        if is_cursor && self.transaction == TransactionState::Idle {
            return None;
        }
        if strictest(&self.judge(statements, None, given, governance)) != Verdict::Allow {
            return None;
        }
        let relied = self.relied_on(statements, &catalogue, governance);
        if relied.is_nothing() {
            return None;
        }
        let Some(question) = relied.question(&catalogue) else {
            self.check = Check::TooMuch;
            return None;
        };
        let mut messages = BytesMut::from(&*encode::run_once(NAME, &question));
        messages.extend_from_slice(&encode::flush());
        self.pipeline.push(owed(&relied, catalogue, true));
        self.phase = Phase::AskingState;
        out.to_server.push((messages.freeze(), Permit::protocol(ProtocolNeed::OwnRequest)));
        Some(Step::Later)
    }

    /// The reading of the catalogue that the server is asked to confirm; `None` where nobody asks. What an agent's
    /// statement does counts even where nothing is masked, and by a reading that is out of date, as long as the server says
    /// that this part of it still holds.
    fn asked_by(&self, governance: &Governance) -> Option<Arc<Catalogue>> {
        let trusted = self.trusted_catalogue(governance);
        if self.is_governed_by_effect() {
            return trusted.or(self.catalogue.as_ref()).cloned();
        }
        trusted.filter(|catalogue| self.may_be_masked && catalogue.any_sensitive()).cloned()
    }

    /// What a statement does decides whether it may run at all, so nothing runs on what may be out of date.
    pub(super) fn is_governed_by_effect(&self) -> bool {
        self.restricted && self.setup.principal.class == Class::Agent
    }

    fn passed(&self, catalogue: Arc<Catalogue>, governance: &Governance) -> Check {
        let trusted = self.trusted_catalogue(governance);
        let is_trusted = trusted.is_some_and(|trusted| trusted.reading == catalogue.reading);
        if is_trusted { Check::Passed(catalogue) } else { Check::Holds }
    }

    /// Ends the transaction in which governor asked, where the client's own message does not come next.
    pub(super) fn close_check(&mut self, out: &mut Actions) {
        if !matches!(self.check, Check::Again) {
            self.check = Check::None;
        }
        if std::mem::take(&mut self.check_open) {
            self.pipeline.push(Owed::new(Expect::OwnSync));
            out.to_server.push((encode::sync(), Permit::protocol(ProtocolNeed::OwnRequest)));
        }
    }

    /// What the statements of a text rely on together.
    fn relied_on(
        &self,
        statements: &[StatementRef],
        catalogue: &Arc<Catalogue>,
        governance: &mut Governance,
    ) -> Relied {
        let mut relied = Relied::default();
        let mut here = DefinedHere::default();
        let state = self.following.state().clone();
        for statement in statements {
            if let Some(name) = executed_name(statement) {
                for meaning in self.meanings_of(statement, name, &state, &here, governance) {
                    self.add_relied(&mut relied, &meaning.statement, &state, catalogue, governance);
                }
            } else if fetched_name(statement).is_none() {
                self.add_relied(&mut relied, statement, &state, catalogue, governance);
            }
            here.add(statement, &state, false, governance);
        }
        relied
    }

    /// A statement, and the queries that temporary relations in it were made of.
    fn add_relied(
        &self,
        relied: &mut Relied,
        statement: &StatementRef,
        state: &SessionState,
        catalogue: &Arc<Catalogue>,
        governance: &mut Governance,
    ) {
        if runs_no_query(statement) {
            return;
        }
        let reached = governance.reach(statement, Some(catalogue), &state.search_path);
        relied.add(statement, &reached.statement, catalogue, state);
        for name in statement.reads.iter().chain(&statement.writes) {
            let Some(object) = state.temporary.get(&name.name) else { continue };
            let TempRows::Statements(sources) = &object.rows else { continue };
            for source in sources.iter() {
                let plain = self.settings.standard_conforming_strings;
                for inner in StatementRef::all(&governance.facts.understand(&source.text, plain)) {
                    let reached = governance.reach(&inner, Some(catalogue), &source.search_path);
                    relied.add(&inner, &reached.statement, catalogue, state);
                }
            }
        }
    }

    /// A reply to a question of this file.
    pub(super) fn check_reply(
        &mut self,
        now: Timestamp,
        message: u8,
        body: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Result<Reply, ProtocolViolation> {
        let Some(question) = self.pipeline.front_mut().and_then(|owed| owed.question.as_mut()) else {
            return Err(ProtocolViolation::UnknownKind { kind: message });
        };
        match message {
            kind::PARSE_COMPLETE | kind::BIND_COMPLETE | kind::COMMAND_COMPLETE => {}
            kind::DATA_ROW => {
                let row = backend::data_row(body)?;
                let told = row.first().copied().flatten();
                let same = question.expected.iter().any(|expected| told == Some(expected.as_bytes()));
                question.told = Some(question.told.unwrap_or(true) && same);
            }
            kind::CLOSE_COMPLETE => {
                question.closed_count += 1;
                if question.closed_count == CLOSES_COUNT {
                    self.checked(now, governance, out);
                }
            }
            kind::ERROR_RESPONSE => return Ok(self.check_failed(message, body, governance, out)),
            other => return Err(ProtocolViolation::UnknownKind { kind: other }),
        }
        Ok(Reply::Drop)
    }

    /// The answer is complete.
    fn checked(&mut self, now: Timestamp, governance: &mut Governance, out: &mut Actions) {
        let Some(question) = self.pipeline.pop().and_then(|owed| owed.question) else { return };
        let Question { catalogue, told, is_awaited, .. } = *question;
        let holds = told == Some(true);
        // Not for ever where it was read a moment ago: then it is in doubt, and read for a later statement. What waits
        // for the answer is judged anew by what is read, once.
        let waits = is_awaited && self.transaction == TransactionState::Idle && !self.batch_open;
        let rereads = match self.check {
            Check::Again => false,
            _ => waits || now.since_ns(catalogue.loaded) > catalogue.reading_ns,
        };
        if !holds && rereads {
            self.outdate_catalogue(now, governance, out);
        }
        let basis = if holds { Basis::Checked(catalogue.clone()) } else { Basis::Doubt };
        if is_awaited {
            // Otherwise with the answer to governor's own Sync.
            if self.pipeline.is_empty() {
                self.phase = Phase::Ready;
            }
            self.check = match holds {
                true => self.passed(catalogue, governance),
                // It is read again before the client's message is looked at.
                false if rereads && waits => Check::Again,
                false => Check::Doubt,
            };
            return;
        }
        let Some(run) = self.pipeline.running_mut() else { return };
        run.source.basis = basis.clone();
        let portal = match self.pipeline.front_running().map(|owed| &owed.expect) {
            Some(Expect::Execute { portal }) => portal.clone(),
            _ => return,
        };
        if let Some(portal) = self.portals.confirmed_mut(&portal) {
            portal.basis = basis;
        }
    }

    /// The server could not parse the client's text, or would not answer.
    fn check_failed(
        &mut self,
        message: u8,
        body: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Reply {
        self.check = Check::Doubt;
        if self.transaction == TransactionState::InTransaction {
            let told = match self.hide_words(message, body, governance) {
                Reply::Replace(instead) => instead,
                _ => own_error(body),
            };
            self.check = Check::Failed(Box::new(told));
        }
        self.pipeline.pop();
        self.check_open = false;
        self.pipeline.push(Owed::new(Expect::OwnSync));
        out.to_server.push((encode::sync(), Permit::protocol(ProtocolNeed::OwnRequest)));
        Reply::Drop
    }

    /// ReadyForQuery for a Sync of this file.
    pub(super) fn check_synced(&mut self, message: u8, body: &[u8]) -> Result<Reply, ProtocolViolation> {
        if message != kind::READY_FOR_QUERY {
            return Err(ProtocolViolation::UnknownKind { kind: message });
        }
        self.pipeline.pop();
        self.transaction = backend::ready_for_query(body)?;
        if let Phase::AskingState = self.phase
            && self.pipeline.is_empty()
        {
            self.phase = Phase::Ready;
        }
        Ok(Reply::Drop)
    }

    /// Another reading of the catalogue counts from now on. What temporary relations hold came by the one before: where
    /// something that they were made of is not what it was, nobody knows what they hold.
    pub(super) fn adopt_catalogue(&mut self, newest: Arc<Catalogue>, governance: &mut Governance) {
        let before = self.catalogue.replace(newest.clone());
        let state = self.following.state().clone();
        if state.temporary.is_empty() || before.as_ref().is_some_and(|b| b.reading == newest.reading) {
            return;
        }
        let mut changed = Vec::new();
        for (name, object) in state.temporary.iter() {
            let TempRows::Statements(sources) = &object.rows else { continue };
            let same = before.as_ref().is_some_and(|before| {
                let mut relied = Relied::default();
                for source in sources.iter() {
                    let plain = self.settings.standard_conforming_strings;
                    for inner in StatementRef::all(&governance.facts.understand(&source.text, plain)) {
                        for catalogue in [before, &newest] {
                            let reached = governance.reach(&inner, Some(catalogue), &source.search_path);
                            relied.add(&inner, &reached.statement, catalogue, &state);
                        }
                    }
                }
                relied.is_same(before, &newest)
            });
            if !same {
                changed.push(name.to_owned());
            }
        }
        self.following.doubt_temporary(&changed, "what it was made of was defined anew since");
    }
}

fn owed(relied: &Relied, catalogue: Arc<Catalogue>, is_awaited: bool) -> Owed {
    let mut owed = Owed::new(Expect::OwnCheck);
    let expected = relied.expected(&catalogue);
    owed.question = Some(Box::new(Question { expected, catalogue, told: None, closed_count: 0, is_awaited }));
    owed
}

/// An ErrorResponse as it came, where all of it is at hand.
fn own_error(body: &[u8]) -> Bytes {
    let fields = backend::error_fields(body).filter(|_| body.len() + Header::BYTES < WHOLE_BYTES_MAX);
    match fields {
        Some(fields) => {
            let fields: Vec<(u8, Vec<u8>)> =
                fields.into_iter().map(|(code, text)| (code, text.to_vec())).collect();
            encode::hidden(kind::ERROR_RESPONSE, &fields)
        }
        None => encode::report(
            Severity::Error,
            &Report { sqlstate: "XX000", message: "the statement failed".into(), ..Report::default() },
        ),
    }
}

/// What the server analyses when it is parsed, which takes the locks; other commands are analysed when they run.
fn is_analysed(statement: &StatementRef) -> bool {
    use StatementKind as K;
    let is_one = match statement.kind {
        K::Select | K::Insert | K::Update | K::Delete | K::Merge => true,
        // Of a function that it calls.
        K::Session | K::Notify | K::Lock | K::Maintenance | K::Administration => {
            matches!(statement.tag.as_str(), "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE")
        }
        _ => false,
    };
    statement.unknown.is_none() && is_one && !statement.kinds.iter().any(|kind| matches!(kind, K::Ddl))
}

/// A command that shows no rows of what it reads and keeps none, or of which nobody knows anything: that is in doubt anyway.
/// Some of those may not follow anything in a transaction (VACUUM), so they are not asked about.
fn runs_no_query(statement: &StatementRef) -> bool {
    use StatementKind as K;
    let runs = match statement.kind {
        K::Select | K::Insert | K::Update | K::Delete | K::Merge => true,
        K::CopyOut | K::Cursor | K::Execute | K::Explain => true,
        K::Ddl => matches!(statement.tag.as_str(), "CREATE TABLE AS" | "SELECT INTO"),
        K::Session | K::Notify | K::Lock | K::Maintenance | K::Administration => {
            statement.asks_or_changes_rows()
        }
        _ => false,
    };
    statement.unknown.is_some() || !runs
}

/// Of a portal and of a statement.
const CLOSES_COUNT: u8 = 2;
/// A longer text is not sent twice.
const PARSED_BYTES_MAX: usize = 64 << 10;
/// An error of more bytes is not kept: of longer ones only the beginning is at hand.
const WHOLE_BYTES_MAX: usize = 8 << 10;
