//! What a session wants done. The host carries out the parts in the order of the fields.

use super::catalogue::Catalogue;
use super::permit::Permit;
use crate::engine::approval::{Answer, ApprovalRequest};
use crate::engine::audit::AuditRecord;
use crate::engine::model::Endpoint;
use bytes::Bytes;
use std::sync::Arc;

/// Everything that follows from one input. Reused between calls: [`Actions::clear`].
#[derive(Debug, Default)]
pub struct Actions {
    /// 1. Written to the ledger before any byte below is sent. If that fails, nothing is sent.
    pub records: Vec<AuditRecord>,
    /// The records above must be on disk, not only in the page cache.
    pub sync: bool,
    /// 2. Effects other than bytes.
    pub requests: Vec<Request>,
    /// 3. Bytes for the database.
    pub to_server: Vec<(Bytes, Permit)>,
    /// 4. Bytes for the client.
    pub to_client: Vec<Bytes>,
    /// 5. Written to the ledger soon; losing the last of them in a crash loses no statement.
    pub completions: Vec<AuditRecord>,
    /// 6. Then close both connections, once everything above is sent.
    pub close: Option<CloseReason>,
}

impl Actions {
    /// Empties it and keeps the allocations, but for those of a long pipeline: every connection has one of these.
    pub fn clear(&mut self) {
        fn empty<T>(list: &mut Vec<T>) {
            list.clear();
            list.shrink_to(COUNT_KEPT);
        }
        empty(&mut self.records);
        self.sync = false;
        empty(&mut self.requests);
        empty(&mut self.to_server);
        empty(&mut self.to_client);
        empty(&mut self.completions);
        self.close = None;
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.requests.is_empty()
            && self.to_server.is_empty()
            && self.to_client.is_empty()
            && self.completions.is_empty()
            && self.close.is_none()
    }
}

#[derive(Debug)]
pub enum Request {
    /// The client asks for TLS: find out whether the server speaks it and set it up on both connections.
    /// `direct`: its first TLS record is at the front of the client's buffer. Answered by `TlsEstablished`,
    /// `TlsDeclined` or `TlsFailed`, or by `ConnectFailed`.
    NegotiateTls { direct: bool },
    /// Another governor's hello came, this whole packet: answer it and find out what it says. Answered by `Greeted`.
    Greet { packet: Bytes },
    /// Connect to the original destination; answered by `Connected` or `ConnectFailed`.
    Dial,
    /// Put this into the approval queue; answered by `Held` or `HoldFailed`, later `Answered`.
    Hold(Box<ApprovalRequest>),
    /// The hold ended on the session's side.
    WithdrawHold { approval: String, answer: Answer },
    /// The server told its process id and cancel key: cancel requests may name this session.
    CancelKey { process: u32, secret: Vec<u8> },
    /// A cancel request came: which live session of this destination has that key? Answered by
    /// `CancelMatched`; a hold that it means is told.
    MatchCancel { process: u32, secret: Vec<u8> },
    /// Dial, send this cancel request, close.
    Cancel { packet: Bytes, permit: Permit },
    /// Send this cancel request about the session's own statement; answered by `CancelSent`.
    CancelOwn { packet: Bytes, permit: Permit },
    /// From now on copy bytes both ways without reading them.
    PassUnread,
    /// Definitions in a database change: its catalogue is not to be trusted until it is read again.
    CatalogueOutdated { destination: Endpoint, database: String },
    /// The catalogue of a database was read; share it.
    Catalogue { destination: Endpoint, database: String, catalogue: Arc<Catalogue> },
}

/// Why a session ended, as recorded and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    ClientClosed,
    ServerClosed,
    ConnectionDenied,
    ConnectFailed,
    TlsRefused,
    TlsFailed,
    /// SCRAM's channel binding cannot hold.
    ChannelBinding,
    /// A hello was not accepted, or one is required and did not come.
    HelloRefused,
    /// This governor asked itself whether the server is one of this host's.
    HelloOwn,
    Protocol(String),
    CancelDone,
    Draining,
    StartupTimeout,
    LedgerFailed,
    TooMany(TooMany),
}

/// More connections than are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// In all.
    Connections { max: usize },
    /// From this user of the host in this cgroup.
    OfSource { max: usize },
}

impl CloseReason {
    /// The word for records and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ClientClosed => "client_closed",
            Self::ServerClosed => "database_closed",
            Self::ConnectionDenied => "denied",
            Self::ConnectFailed => "connect_failed",
            Self::TlsRefused => "tls_refused",
            Self::TlsFailed => "tls_failed",
            Self::ChannelBinding => "channel_binding",
            Self::HelloRefused => "hello_refused",
            Self::HelloOwn => "hello_own",
            Self::Protocol(_) => "protocol_error",
            Self::CancelDone => "cancel",
            Self::Draining => "draining",
            Self::StartupTimeout => "startup_timeout",
            Self::LedgerFailed => "ledger_failed",
            Self::TooMany(_) => "limit",
        }
    }
}

/// Room that stays in each list.
const COUNT_KEPT: usize = 16;
