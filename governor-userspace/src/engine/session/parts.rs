//! What a session is made of: its phases, and what it keeps of prepared statements, portals and settings.

use super::Permit;
use super::facts::StatementRef;
use super::hold::Approval;
use super::meaning::{Basis, Meaning};
use super::rows::ResultPlan;
use super::tokens::Token;
use crate::engine::model::{Claims, Principal, SessionState};
use crate::engine::wire::postgres::backend::Field;
use std::sync::Arc;

#[derive(Debug)]
pub(super) enum Phase {
    /// Waiting for the start-up packet; how many encryption requests came before it.
    Opening {
        encryption_requests: u32,
    },
    /// TLS is being set up; `direct` as in [`Request::NegotiateTls`].
    NegotiatingTls {
        direct: bool,
        /// As in `Opening`, with the one that is answered now.
        encryption_requests: u32,
    },
    /// A hello is being answered; `encryption_requests` as in `Opening`.
    Greeting {
        encryption_requests: u32,
    },
    /// A cancel request came; waiting to be told which session it means.
    Cancelling {
        process: u32,
        packet: bytes::Bytes,
    },
    /// Allowed; waiting for the connection to the database.
    Connecting {
        packet: bytes::Bytes,
        permit: Permit,
        then_pass_unread: bool,
    },
    /// TLS is passed through unread as soon as the database is connected.
    ConnectingUnread,
    Authenticating,
    /// The catalogue is being read. The server's first ReadyForQuery waits for that; later readings
    /// hold nothing back.
    ReadingCatalogue {
        ready: Option<bytes::Bytes>,
    },
    /// The server is asked for the session's own state; the client's message waits.
    AskingState,
    Ready,
    PassUnread,
    Closed,
}

/// A prepared statement: its text's statements, normally one.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub statements: Arc<[StatementRef]>,
    /// Types of parameters as Parse declares them, 0 and those that are missing as the server finds. `None`: they are not
    /// known.
    pub types: Option<Arc<[u32]>>,
    /// Result columns, once the server described them.
    pub fields: Option<Arc<Vec<Field>>>,
}

/// A portal and the statement that it runs.
#[derive(Clone, Debug)]
pub(super) struct Portal {
    pub statements: Arc<[StatementRef]>,
    pub parameters: Parameters,
    /// Parameters for which the server got the values that they are tokens of.
    pub tokens: Arc<[Token]>,
    /// The approval that let it be bound, for exactly these statements.
    pub approval: Option<Approval>,
    /// Result columns of the prepared statement, where they were known at Bind.
    pub fields: Option<Arc<Vec<Field>>>,
    /// Result formats of the Bind; `None` where it was too long to be read whole.
    pub formats: Option<Vec<i16>>,
    /// In which its names were read when it was bound or declared.
    pub state: Arc<SessionState>,
    /// What it stands for, where it is an EXECUTE or a FETCH that was run.
    pub means: Option<Meaning>,
    /// Rows that it gave so far, where they are counted.
    pub rows: u64,
    /// What its meaning was worked out from, once it was run or declared.
    pub basis: Basis,
    /// It was run: what its conditions tell has been charged.
    pub charged: bool,
    /// A cursor WITH HOLD: it outlives its transaction.
    pub holds: bool,
    /// A Describe of this portal was sent.
    pub described: bool,
    /// From its RowDescription.
    pub plan: Option<Arc<ResultPlan>>,
}

/// Bound values as records show them.
pub(super) type Parameters = Arc<[Option<String>]>;

/// Names that every statement's record repeats.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub user: Arc<str>,
    pub database: Arc<str>,
    pub database_user: Arc<str>,
}

impl Names {
    pub fn new(principal: &Principal, claims: &Claims) -> Self {
        Self {
            user: principal.login_user.as_ref().unwrap_or(&principal.user).as_str().into(),
            database: claims.database.as_str().into(),
            database_user: claims.user.as_str().into(),
        }
    }
}

/// Session settings that change what a text means.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub standard_conforming_strings: bool,
    pub encoding: Encoding,
    /// A byte that looks like an ASCII character is one.
    pub ascii_is_safe: bool,
    /// A simple query behind an Execute without a Sync between goes on with its transaction: from version 18 on, and where
    /// the server does not tell its version.
    pub takes_for_pipeline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    /// Each byte is the character of that number.
    Latin1,
    /// Some other: only ASCII text is understood.
    AsciiOnly,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub statements: u64,
    pub bytes_from_client: u64,
    pub bytes_from_database: u64,
}

/// Prepared statements whose meaning is kept; further ones are Unknown.
pub(super) const PREPARED_COUNT_MAX: usize = 65_536;
/// What is kept of them together.
pub(super) const PREPARED_BYTES_MAX: usize = 64 << 20;
pub(super) const PORTALS_COUNT_MAX: usize = 4_096;
/// What is kept of them together, with their values as records show them.
pub(super) const PORTALS_BYTES_MAX: usize = 16 << 20;
