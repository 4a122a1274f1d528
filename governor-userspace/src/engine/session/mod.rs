//! The heart: one database connection as a pure machine, joining wire, SQL, policy, masking,
//! approval and audit.
//!
//! ```text
//!             client.rs ─ judge.rs ─ gate.rs ─▶ Permit ─▶ to_server
//!  Input ─▶ Session                                         │ pipeline.rs: which reply belongs to what
//!             server.rs ◀────────────────────────────────────┘ ─ visibility.rs ─▶ masked rows ─▶ to_client
//! ```
//!
//! Invariants:
//! - bytes for the database need a [`Permit`], which only an Allow decision gives;
//! - the record of a statement is in [`Actions::records`] of the same call that forwards it;
//! - memory is bounded by [`EngineLimits`] and the protocol's own limits, whatever lengths a peer claims.

mod action;
mod asides;
mod ask;
mod beside;
mod breadth;
mod cancel;
pub mod cases;
mod catalogue;
mod check;
mod chunk;
mod client;
mod column_words;
mod conditions;
mod copies;
mod copying;
mod diagnostics;
mod discovery;
mod effects;
mod encryption;
mod ending;
pub mod explain;
mod extended;
mod facts;
mod fault;
mod flows;
mod following;
mod gate;
mod glass;
mod governance;
mod greeting;
mod hold;
mod inference;
mod input;
mod judge;
mod keys;
mod meaning;
mod opening;
mod pace;
mod parts;
mod permit;
mod pipeline;
mod rates;
mod reached;
mod records;
mod rehearsal;
mod rows;
mod server;
mod shape;
mod signature;
mod slots;
mod sqlstates;
mod subjects;
mod tokens;
mod under_policy;
mod visibility;

pub use action::{Actions, CloseReason, Request, TooMany};
pub use catalogue::{Catalogue, ColumnPattern, LabelledPlace, Labels};
pub use column_words::{Because, ColumnWord, ColumnWords, column_meant};
pub use discovery::{
    ColumnFinding, ColumnPlace, ColumnRecord, Discovery, DiscoverySettings, Formerly, Remembered,
    RememberedColumn, RememberedRelation, RuledBy, Said, Saying, Status,
};
pub use facts::{FactsCache, SecondReadingCounts, Understood};
pub use glass::{Broken, Glass, login_of};
pub use governance::{EngineLimits, Governance};
pub use greeting::HelloRule;
pub use inference::{INFERENCE_POLICY, Inference, InferenceCounts, InferenceLimits};
pub use input::{CancelMatch, Input, StopReason};
pub use pace::RATE_POLICY;
pub use permit::Permit;
pub use rates::{RateKey, Rates};
pub use rehearsal::{Known, Rehearsal, Rehearsed, RehearsedColumn, RelationLabels};

use crate::engine::audit::{Attestation, AuditEvent, SessionStart, Side};
use crate::engine::model::{Claims, DecisionId, Endpoint, Principal, SessionId, Timestamp};
use crate::engine::policy::{Moment, PolicyPrincipal};
use crate::engine::wire::postgres::backend::TransactionState;
use ask::Asked;
use catalogue::CatalogueReader;
use check::Check;
use chunk::Streaming;
use encryption::Encryption;
use following::Following;
use hold::{Holding, Standing};
use pace::{CancelKey, Paced};
use parts::{
    Counts, Encoding, Names, PORTALS_BYTES_MAX, PORTALS_COUNT_MAX, PREPARED_BYTES_MAX, PREPARED_COUNT_MAX,
    Parameters, Phase, Portal, Prepared, Settings,
};
use pipeline::Pipeline;
use rows::{ResultPlan, Rows};
use server::Settling;
use slots::Slots;
use std::fmt::Write as _;
use std::sync::Arc;
use subjects::Subject;

/// What a captured port does with TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Offer what the server offers, end it on both connections, read what is inside.
    #[default]
    Terminate,
    /// Answer "no" to SSLRequest: `sslmode=prefer` goes on in clear, `require` gives up.
    Decline,
    /// Refuse with an error.
    Refuse,
    /// Pass the whole connection through unread, and say so in the record.
    PassUnread,
}

/// What the host knows when a connection is accepted.
#[derive(Clone, Debug)]
pub struct SessionSetup {
    pub id: SessionId,
    pub principal: Arc<Principal>,
    pub client: Option<Endpoint>,
    pub destination: Endpoint,
    pub tls: TlsMode,
    pub hello: HelloRule,
}

/// One database connection.
#[derive(Debug)]
pub struct Session {
    setup: SessionSetup,
    policy_principal: PolicyPrincipal,
    claims: Claims,
    names: Names,
    /// Told to the client once it has said who it is; a cancel request is served all the same.
    too_many: Option<TooMany>,
    phase: Phase,
    /// A hello was accepted: the principal is who it says.
    greeted: bool,
    encryption: Encryption,
    /// The minute of the input that is being handled.
    now: Option<Moment>,
    /// The glass is broken for this principal now.
    broken: Option<Broken>,
    /// What the row plans of portals were decided under: the minute, the broken glass, and what is said of columns.
    plans_of: (Option<Moment>, Option<Arc<str>>, u64),
    /// Of the rulings on columns that its catalogue is under.
    rulings_version: u64,
    /// Version of the policy set that `may_be_masked` was asked of.
    policy_version: Arc<str>,
    /// Policy may mask something from this principal: rows are looked at.
    may_be_masked: bool,
    /// Policy may deny or hold something of this principal: names are followed exactly, one batch at a time.
    restricted: bool,
    /// Policy may bound rows or time of this principal's statements: they go to the server one at a time.
    may_pace: bool,
    /// The bounded statement that runs. Boxed: most sessions never have one.
    paced: Option<Box<Paced>>,
    cancel_key: Option<Box<CancelKey>>,
    /// A cancel request for what runs is on its way.
    cancel_under_way: bool,
    /// The server keeps the replies of an Execute until it is asked for them.
    flush_due: bool,
    /// Messages of the extended protocol, Close apart, were forwarded since the last ReadyForQuery.
    batch_open: bool,
    transaction: TransactionState,
    pipeline: Pipeline,
    statements: Slots<Prepared>,
    portals: Slots<Portal>,
    tickets: u64,
    decisions: u64,
    /// A denial in the extended protocol: the client's messages up to its next Sync are dropped,
    /// as the server would.
    client_skips: bool,
    /// The server holds values in place of tokens: what it says of itself may quote them.
    holds_values: bool,
    /// COPY FROM STDIN is under way.
    copying_in: bool,
    client_stream: Streaming,
    server_stream: Streaming,
    /// Boxed: a connection waits for nobody as a rule.
    holding: Option<Box<Holding>>,
    /// The answer for the message at the front of the client's buffer.
    standing: Standing,
    /// Messages of governor's own that wait for a border in the server's stream.
    notices: Vec<bytes::Bytes>,
    /// How rows of the statement at the front of the pipeline are treated.
    rows: Rows,
    catalogue: Option<Arc<Catalogue>>,
    /// Boxed: most sessions never read one.
    catalogue_reader: Option<Box<CatalogueReader>>,
    catalogue_asked: Timestamp,
    catalogue_outdated: bool,
    /// DDL went out since the server was idle: whether it counts is certain when it is idle again.
    definitions_changed: bool,
    /// A view was made since the catalogue was read: a name that it does not have may write elsewhere.
    views_made: bool,
    /// A ReadyForQuery that waited for the catalogue and passes now.
    released: Option<bytes::Bytes>,
    /// Columns of an SQL cursor that an Execute message names.
    cursor_plan: Option<Box<CursorPlan>>,
    settings: Settings,
    /// What it said of settings itself, where `may_be_masked`.
    reported: asides::Reported,
    /// The session's own state, where `restricted`.
    following: Following,
    /// The server is being asked for it.
    asked: Option<Asked>,
    /// Whether what the query at the front of the client's buffer relies on is as it was read.
    check: Check,
    /// The server is in a transaction that governor's question began, or goes on in the client's.
    check_open: bool,
    /// A query that runs in that transaction.
    settling: Option<Box<Settling>>,
    /// Statements begun in the current call, to be charged with its cost.
    fresh_runs: usize,
    counts: Counts,
    ended: bool,
}

/// The name of a cursor, and the plan of its rows.
type CursorPlan = (Box<[u8]>, Arc<ResultPlan>);

impl Session {
    /// Begins a session. The record of its start is in `out`.
    pub fn start(
        mut setup: SessionSetup,
        now: Timestamp,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Self {
        let Subject { principal, policy } = governance.subjects.of(setup.principal, &governance.masker);
        setup.principal = principal;
        let session = Self {
            policy_principal: policy,
            names: Names::new(&setup.principal, &Claims::default()),
            claims: Claims::default(),
            too_many: None,
            phase: Phase::Opening { encryption_requests: 0 },
            greeted: false,
            encryption: Encryption::default(),
            now: Some(Moment::of(now)),
            broken: None,
            plans_of: (None, None, 0),
            rulings_version: 0,
            policy_version: governance.policy.version().into(),
            may_be_masked: true,
            restricted: true,
            may_pace: false,
            paced: None,
            cancel_key: None,
            cancel_under_way: false,
            flush_due: false,
            batch_open: false,
            transaction: TransactionState::Idle,
            pipeline: Pipeline::default(),
            statements: Slots::new(PREPARED_COUNT_MAX, PREPARED_BYTES_MAX),
            portals: Slots::new(PORTALS_COUNT_MAX, PORTALS_BYTES_MAX),
            tickets: 0,
            decisions: 0,
            client_skips: false,
            holds_values: false,
            copying_in: false,
            client_stream: Streaming::None,
            server_stream: Streaming::None,
            holding: None,
            standing: Standing::None,
            notices: Vec::new(),
            rows: Rows::Undecided,
            catalogue: None,
            catalogue_reader: None,
            catalogue_asked: now,
            catalogue_outdated: false,
            definitions_changed: false,
            views_made: false,
            released: None,
            cursor_plan: None,
            settings: Settings {
                standard_conforming_strings: true,
                encoding: Encoding::Utf8,
                ascii_is_safe: true,
                takes_for_pipeline: true,
            },
            reported: asides::Reported::default(),
            following: Following::default(),
            asked: None,
            check: Check::None,
            check_open: false,
            settling: None,
            fresh_runs: 0,
            counts: Counts::default(),
            ended: false,
            setup,
        };
        let start = SessionStart {
            principal: session.setup.principal.clone(),
            client: session.setup.client.clone(),
            destination: session.setup.destination.clone(),
            attested_by: session.setup.destination.socket.is_some().then_some(Attestation::SoPeercred),
        };
        session.record(out, now, AuditEvent::SessionStart(Box::new(start)));
        session
    }

    /// The client will be told that there are too many connections, in place of a connection.
    pub fn refuse(&mut self, too_many: TooMany) {
        self.too_many = Some(too_many);
    }

    /// Advances by one input. Never blocks; `now` is the only clock it has. After [`Actions::close`]
    /// was set, further inputs do nothing.
    pub fn handle(
        &mut self,
        now: Timestamp,
        input: Input<'_>,
        governance: &mut Governance,
        out: &mut Actions,
    ) {
        if self.ended {
            return;
        }
        self.fresh_runs = 0;
        self.now = Some(Moment::of(now));
        self.broken = governance.glass.of(&self.setup.principal, now);
        self.follow_policy(governance);
        self.follow_rulings(governance);
        let result = match input {
            Input::Client(buffer) => {
                let before = buffer.len();
                let result = self.client_bytes(now, buffer, governance, out);
                self.counts.bytes_from_client += (before - buffer.len()) as u64;
                result.map_err(|violation| (Side::Client, violation))
            }
            Input::Server(buffer) => {
                let before = buffer.len();
                let result = self.server_bytes(now, buffer, governance, out);
                self.counts.bytes_from_database += (before - buffer.len()) as u64;
                result.map_err(|violation| (Side::Database, violation))
            }
            Input::Identified(principal) => {
                self.identified(principal);
                Ok(())
            }
            Input::Greeted(record) => {
                self.greeted(now, *record, governance, out);
                Ok(())
            }
            Input::SaidHello(record) => {
                self.record(out, now, AuditEvent::Hello(record));
                Ok(())
            }
            Input::TlsEstablished(tls) => {
                self.tls_established(now, *tls, out);
                Ok(())
            }
            Input::TlsDeclined => {
                self.tls_declined(now, out);
                Ok(())
            }
            Input::TlsFailed { side, reason } => {
                self.tls_failed(now, side, reason, out);
                Ok(())
            }
            Input::UpstreamSecured(upstream) => {
                self.upstream_secured(now, *upstream, out);
                Ok(())
            }
            Input::Connected => {
                self.connected(out);
                Ok(())
            }
            Input::ConnectFailed { reason } => {
                self.connect_failed(now, &reason, out);
                Ok(())
            }
            Input::ClientClosed => {
                self.client_closed(now, out);
                Ok(())
            }
            Input::ServerClosed => {
                self.end(now, CloseReason::ServerClosed, out);
                Ok(())
            }
            Input::Held { approval } => {
                self.held(now, approval, governance, out);
                Ok(())
            }
            Input::HoldFailed { reason } => {
                self.hold_failed(now, reason, governance, out);
                Ok(())
            }
            Input::Answered { answer } => {
                self.answered(now, answer, governance, out);
                Ok(())
            }
            Input::CancelRequested => {
                self.cancel_requested(now, governance, out);
                Ok(())
            }
            Input::CancelMatched(found) => {
                self.cancel_matched(now, found, governance, out);
                Ok(())
            }
            Input::Tick => {
                self.tick(now, out);
                Ok(())
            }
            Input::CancelSent => {
                self.cancel_sent();
                Ok(())
            }
            Input::Stop(reason) => {
                self.stop(now, reason, out);
                Ok(())
            }
        };
        if let Err((side, violation)) = result {
            self.violation(now, side, &violation, out);
        }
    }

    /// Charges the cost of the last call to the statements that it forwarded. The clock is asked only
    /// where there are any.
    pub fn charge(&mut self, cost_ns: impl FnOnce() -> u64) {
        let count = self.fresh_runs;
        if count > 0 {
            let cost_ns = cost_ns();
            for run in self.pipeline.newest_runs(count) {
                run.governor_ns = cost_ns / count as u64;
            }
        }
    }

    /// Whether bytes of the client would be consumed now. While this is false the host stops reading.
    pub fn wants_client(&self) -> bool {
        if self.holding.is_some() || self.ended {
            return false;
        }
        // The server waits for the rest of a message whose beginning it has, before it answers anything.
        if self.client_stream.is_open() {
            return true;
        }
        if self.pipeline.is_full() || self.is_held_back() {
            return false;
        }
        // One batch at a time: what a name means is certain only when the server has answered. Behind a
        // COPY FROM its data has to pass.
        if self.restricted && self.pipeline.has_barrier() && !self.copying_in {
            return false;
        }
        !matches!(
            self.phase,
            Phase::NegotiatingTls { .. }
                | Phase::Greeting { .. }
                | Phase::Cancelling { .. }
                | Phase::Connecting { .. }
                | Phase::ConnectingUnread
                | Phase::ReadingCatalogue { .. }
                | Phase::AskingState
                | Phase::Closed
        )
    }

    /// Nothing is under way and no transaction is open: ending the session now loses no work.
    pub fn is_idle(&self) -> bool {
        self.owes_nothing()
            && !self.batch_open
            && self.transaction == TransactionState::Idle
            && self.holding.is_none()
            && !self.client_stream.is_open()
            && !self.server_stream.is_open()
    }

    /// No reply is outstanding.
    pub fn owes_nothing(&self) -> bool {
        self.pipeline.is_empty()
    }

    /// Bytes that the host copied after [`Request::PassUnread`].
    pub fn count_unread(&mut self, from_client: u64, from_database: u64) {
        self.counts.bytes_from_client += from_client;
        self.counts.bytes_from_database += from_database;
    }

    /// A statement waits for an answer.
    pub fn is_held(&self) -> bool {
        self.holding.is_some()
    }

    /// A statement was forwarded and not yet answered: while another is held, the server may be at work.
    pub fn runs(&self) -> bool {
        self.pipeline.runs()
    }

    /// Authentication is over: the start-up deadline no longer applies.
    pub fn is_established(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Opening { .. }
                | Phase::NegotiatingTls { .. }
                | Phase::Greeting { .. }
                | Phase::Cancelling { .. }
                | Phase::Connecting { .. }
                | Phase::ConnectingUnread
                | Phase::Authenticating
        )
    }

    pub fn id(&self) -> &SessionId {
        &self.setup.id
    }

    pub fn principal(&self) -> &Principal {
        &self.setup.principal
    }

    fn next_decision(&mut self) -> DecisionId {
        self.decisions += 1;
        let session = &*self.setup.id.0;
        // With room for every number: it is made for each statement.
        let mut id = String::with_capacity(session.len() + 21);
        // Writing to a String does not fail.
        let _ = write!(id, "{session}.{}", self.decisions);
        DecisionId(id.into())
    }

    fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }
}

#[cfg(test)]
mod tests;
