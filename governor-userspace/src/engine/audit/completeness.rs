//! What completeness records say: the kernel's count of connections and bytes beside governor's own.
//!
//! The kernel counts each of governor's sockets by itself: captured connections that were accepted, and connections to
//! databases. governor counts the same sockets where it reads and writes them, below TLS, and puts the sums into each
//! session's end. [`super::Reconciler`] compares socket by socket.
//!
//! Invariant: for either side, `counted = audited + refused + explained + difference` once nothing is pending,
//! connections and bytes alike. A difference that is not zero has left a `completeness_mismatch` record.

use super::Side;
use serde::{Deserialize, Serialize};

/// Where the comparison stands; sums since the agent's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// Whose sums these are, as in `agent_start`.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub run: String,
    pub capture: CaptureCount,
    /// Captured connections that governor accepted.
    pub clients: SideCount,
    /// Connections that governor made to databases.
    pub databases: SideCount,
    /// By governor alone.
    #[serde(default)]
    pub unix: UnixSums,
    /// `completeness_mismatch` records so far.
    pub mismatches: u64,
    /// Sockets whose count the kernel had no room to keep.
    pub lost: u64,
    /// By the kernel: sockets of the agent before, whose end it did not live to compare. After a kill these are the
    /// sessions without a last record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<SessionSockets>,
}

/// From `connect()` to governor's listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureCount {
    /// Sent to governor.
    pub redirected: u64,
    /// Arrived at a listener of governor with their identity.
    pub handed_over: u64,
    /// Were closed by their client before they arrived.
    pub not_arrived: u64,
    /// Refused in the kernel, for want of an agent that could take them.
    pub refused: u64,
    /// Went direct because the rule says so: ungoverned.
    pub passed: u64,
    /// Arrived for servers of this host, from clients whose process the kernel does not know: those on other hosts.
    #[serde(default)]
    pub arrived: u64,
}

/// One side's sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideCount {
    /// By the kernel's running sums: sockets that came to be, and those of them that closed, compared or not.
    #[serde(default)]
    pub kernel_opened: u64,
    #[serde(default)]
    pub kernel_closed: u64,
    /// By the kernel, socket by socket: those that closed and were compared.
    pub counted: Count,
    /// By governor, and in the records of sessions.
    pub audited: Count,
    /// By governor: closed before there was a session (too many connections of one source and the like).
    pub refused: Count,
    /// Arrived after governor had closed the socket; nobody could read it.
    pub late: u64,
    /// Arrived and was left unread when governor closed the socket.
    pub unread: u64,
    /// Written by governor and never acknowledged: the peer had gone.
    pub undelivered: u64,
    /// Told by one of the two only so far.
    pub pending: u64,
    /// Open now, as governor knows.
    pub open: u64,
    /// What the kernel counted and nothing explains.
    pub difference: Difference,
}

/// Unix sockets. The kernel keeps no count of them, so nothing is compared: what is missing here, nobody can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSums {
    pub clients: UnixSide,
    pub databases: UnixSide,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSide {
    /// In the records of sessions.
    pub audited: Count,
    /// Closed before there was a session.
    pub refused: Count,
    pub open: u64,
}

impl UnixSums {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub connections: u64,
    /// Received from the peer.
    pub bytes_in: u64,
    /// Sent to the peer.
    pub bytes_out: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes_in: u64, bytes_out: u64) {
        self.connections += 1;
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
    }
}

/// Positive: the kernel counted more than governor can account for. Negative: less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub connections: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
}

impl Difference {
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl Completeness {
    /// Everything that the kernel counted is accounted for.
    pub fn is_whole(&self) -> bool {
        self.mismatches == 0 && self.clients.difference.is_zero() && self.databases.difference.is_zero()
    }
}

/// One thing that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletenessMismatch {
    pub kind: MismatchKind,
    /// Client or database.
    pub side: Side,
    /// By the kernel: connections for `lost`, else bytes.
    pub counted: u64,
    /// By governor.
    pub audited: u64,
    /// Of the socket, as the kernel names it; 0 where it is not about one.
    pub socket: u64,
    /// Of the captured client, where the kernel told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u32>,
    /// Whose books these are, as in `agent_start`.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub run: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MismatchKind {
    /// The kernel saw a connection of governor's that no session accounts for.
    Unaudited,
    /// The kernel received other than governor read.
    BytesIn,
    /// The peer acknowledged other than governor wrote.
    BytesOut,
    /// governor closed a connection that the kernel never told of.
    Uncounted,
    /// The kernel had no room to keep counts.
    Lost,
}

impl MismatchKind {
    pub const ALL: [Self; 5] = [Self::Unaudited, Self::BytesIn, Self::BytesOut, Self::Uncounted, Self::Lost];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unaudited => "unaudited",
            Self::BytesIn => "bytes_in",
            Self::BytesOut => "bytes_out",
            Self::Uncounted => "uncounted",
            Self::Lost => "lost",
        }
    }
}

/// What a session's sockets carried, in its `session_end`: bytes as they were on the wire, TLS included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSockets {
    pub client: Count,
    /// All connections that governor made to the database for this session, those for cancel requests included.
    pub database: Count,
    /// The same over unix sockets.
    #[serde(skip_serializing_if = "UnixCount::is_empty", default)]
    pub unix: UnixCount,
}

/// A session's unix sockets: counted by governor alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixCount {
    pub client: Count,
    pub database: Count,
}

impl UnixCount {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl SessionSockets {
    /// Adds one socket that has closed.
    pub fn add(&mut self, side: Side, bytes_in: u64, bytes_out: u64) {
        match side {
            Side::Database => self.database.add(bytes_in, bytes_out),
            Side::Client | Side::Governor => self.client.add(bytes_in, bytes_out),
        }
    }

    /// Adds one unix socket that has closed.
    pub fn add_unix(&mut self, side: Side, bytes_in: u64, bytes_out: u64) {
        match side {
            Side::Database => self.unix.database.add(bytes_in, bytes_out),
            Side::Client | Side::Governor => self.unix.client.add(bytes_in, bytes_out),
        }
    }
}
