//! Every kind of audit record. One record is one JSON object on one line of a segment.
//!
//! The ledger adds the envelope (sequence number, time, chain hash); the engine says what happened.
//! Values of parameters are masked before they get here. Field names are a public contract:
//! they may be added to, never changed.

use super::{Completeness, CompletenessMismatch, HelloRecord, PeersLoaded, SessionSockets};
use crate::engine::model::Category;
use crate::engine::model::{
    Claims, Class, DecisionId, Endpoint, LimitKind, MaskDoubt, Principal, Reason, SessionId, StatementKind,
    Timestamp, TlsSession, Unknown, UpstreamTls, Verdict,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One entry before it is sequenced and chained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    pub at: Timestamp,
    /// `None` for records about the agent itself.
    pub session: Option<SessionId>,
    #[serde(flatten)]
    pub event: AuditEvent,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AuditEvent {
    AgentStart(AgentStart),
    AgentStop {
        reason: String,
        /// As in [`AgentStart`].
        #[serde(skip_serializing_if = "String::is_empty", default)]
        run: String,
    },
    /// A policy set came into force.
    PolicyLoaded {
        version: String,
        files: Vec<String>,
    },
    /// A policy set was refused; the one before stays in force.
    PolicyRefused {
        reason: String,
    },
    /// The own key of hellos, or the peers, became others while the agent runs.
    PeersLoaded(PeersLoaded),
    /// They could not be read again; the ones before hold.
    PeersRefused {
        reason: String,
    },
    /// A client connected and is known; before any byte is relayed.
    SessionStart(Box<SessionStart>),
    /// The client's start-up packet was decided.
    SessionDecision(SessionDecision),
    /// A statement was decided. Written before the statement is forwarded.
    Statement(Box<StatementRecord>),
    /// How a forwarded statement ended.
    Completion(Completion),
    HoldStart(HoldStart),
    HoldEnd(HoldEnd),
    /// A person broke the glass: for a time policies may lift for them what they otherwise deny.
    BreakGlassStart(BreakGlassStart),
    /// It is over.
    BreakGlassEnd {
        id: String,
        /// `expired`, `ended` by the person, or `replaced` by a new one.
        reason: String,
    },
    /// Somebody asked for the values behind tokens.
    TokenReveal(Box<TokenReveal>),
    /// Another masking key is in use.
    MaskingKey(KeyChange),
    /// What a column holds was found out, or changed.
    DataFinding(DataFinding),
    /// An operator said what a column holds, or that a finding is none.
    DataRuling(DataRuling),
    /// A connection to a captured port is not governed: made before governor's hooks, or on a socket from elsewhere.
    OpenConnection(OpenConnection),
    /// A cancel request was passed on, or refused.
    Cancel {
        forwarded: bool,
        reason: String,
    },
    /// TLS was asked for, and what became of it.
    Tls(Box<TlsRecord>),
    /// A peer broke the protocol; the session was closed.
    ProtocolError {
        side: Side,
        message: String,
    },
    SessionEnd(SessionEnd),
    /// A server's unix socket was taken over, or is no longer.
    UnixSocket(UnixSocketRecord),
    /// Somebody is connected to a server past governor's socket.
    DirectConnection(DirectConnection),
    /// What the kernel counted beside what sessions account for, since the agent's start.
    Completeness(Box<Completeness>),
    /// Something of that does not add up.
    CompletenessMismatch(CompletenessMismatch),
    /// A time in which this instance governed nothing.
    AgentGap(Box<AgentGap>),
    /// The kernel programs refused a connection, let it pass ungoverned, or kept a port.
    KernelEvent(Box<KernelEventRecord>),
    /// More of these than records are written of.
    KernelEventsOmitted {
        count: u64,
        /// RFC 3339.
        since: String,
    },
    /// A hello of another governor, or to one.
    Hello(Box<HelloRecord>),
}

/// Found by the next start, or by the agent itself after it hung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentGap {
    /// Last sign of life, on today's wall clock (RFC 3339).
    pub from: String,
    pub until: String,
    pub duration_ms: u64,
    pub cause: GapCause,
    /// All of it in one sentence.
    pub reason: String,
    /// Of the agent before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    pub hooks: GapHooks,
    /// Captured connections that the kernel refused meanwhile.
    pub refused: u64,
    /// Captured connections that it let pass, ungoverned.
    pub passed: u64,
    /// Events of these that were lost; the counts are right all the same.
    pub events_lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// It was told to stop.
    Stopped,
    /// It ended with an error of its own.
    Failed,
    /// It ended without a word: a signal, the out-of-memory killer, a fault.
    Killed,
    /// The host went down, or was started again.
    Reboot,
    /// It was there, but did nothing for longer than the kernel waits.
    Wedged,
    /// The kernel had taken the programs off a cgroup, because it was removed or by somebody's hand.
    Detached,
    /// Nothing is left that tells.
    Unknown,
}

/// What the kernel programs did in a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapHooks {
    /// They refused connections or let them pass, as the rules say, and counted.
    Kept,
    /// They were off: connections went direct and nobody counted them.
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelEventRecord {
    /// A word of the kernel programs, such as `listener_gone`.
    pub cause: String,
    /// It went direct, ungoverned; else it was refused.
    pub passed: bool,
    /// All of it in one sentence.
    pub reason: String,
    pub destination: Endpoint,
    pub pid: u32,
    pub uid: u32,
    pub command: String,
    pub cgroup_id: u64,
    pub netns_cookie: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStart {
    pub version: String,
    pub pid: u32,
    pub profile: String,
    pub policy: String,
    /// Names one life of an agent. While one takes over from another, records of two runs are mixed.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub run: String,
    /// The run that this one took over from, which may go on for a while.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub took_over_from: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStart {
    pub principal: Arc<Principal>,
    /// The client's own end of the captured connection.
    pub client: Option<Endpoint>,
    /// Where the client thought it connected.
    pub destination: Endpoint,
    /// What the kernel knew the process by, where it is not the connect hook.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attested_by: Option<Attestation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attestation {
    /// Process, user and group that a unix socket keeps of whoever connected.
    SoPeercred,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnixSocketRecord {
    /// Path.
    pub socket: String,
    pub change: UnixSocketChange,
    /// Why, where it failed.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnixSocketChange {
    /// Clients meet governor from now on.
    Taken,
    /// The same, after a governor before this one.
    Adopted,
    /// The server removed it: it stopped.
    Gone,
    /// Clients reach the server itself again.
    GivenBack,
    /// Left for the next governor; clients are refused until then.
    Left,
    /// It could not be taken or given back.
    Failed,
}

/// Made before governor took the socket, in the moment between a server's start and that, or by root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectConnection {
    /// Path of the server's socket.
    pub socket: String,
    /// The client's process; absent where none could be found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u32>,
    pub command: String,
    /// It was ended, as `capture.unix.direct_connections` asks.
    pub ended: bool,
    /// Why it could not be.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub problem: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDecision {
    pub decision: DecisionId,
    pub verdict: Verdict,
    pub reasons: Arc<[Reason]>,
    pub claims: Claims,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRecord {
    pub decision: DecisionId,
    pub verdict: Verdict,
    pub reasons: Arc<[Reason]>,
    pub kind: StatementKind,
    pub tag: Arc<str>,
    /// The text as sent, cut at the configured length; `text_bytes` is the whole length.
    pub text: Arc<str>,
    pub text_bytes: u64,
    pub fingerprint: Arc<str>,
    #[serde(skip_serializing_if = "is_empty", default)]
    pub reads: Arc<[String]>,
    #[serde(skip_serializing_if = "is_empty", default)]
    pub writes: Arc<[String]>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unknown: Option<Unknown>,
    /// Bound values as text, masked, bounded in number and length; `None` is SQL NULL.
    #[serde(skip_serializing_if = "is_empty", default)]
    pub parameters: Arc<[Option<String>]>,
    /// Those of them that are tokens, for which the server got the values.
    #[serde(skip_serializing_if = "is_none", default)]
    pub tokens: u32,
    /// Masked columns that have a say in its answer, and how: `public.people.ssn in WHERE (pattern)`.
    #[serde(skip_serializing_if = "is_empty", default)]
    pub conditions: Arc<[String]>,
    /// What an EXECUTE runs or a FETCH brings, as records show it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub executes: Vec<Arc<str>>,
    /// The approval that let it run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<String>,
    /// The glass was broken: the id of that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub break_glass: Option<Arc<str>>,
    pub class: Class,
    /// Who, in short: `alice`, `app`.
    pub user: Arc<str>,
    pub pid: u32,
    pub database: Arc<str>,
    pub database_user: Arc<str>,
}

/// serde hands the field itself.
fn is_none(count: &u32) -> bool {
    *count == 0
}

/// serde hands the field itself.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// serde hands the field itself.
fn is_empty<T>(list: &Arc<[T]>) -> bool {
    list.is_empty()
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    pub decision: DecisionId,
    pub outcome: Outcome,
    /// The server's command tag, such as `UPDATE 3`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<String>,
    /// Rows sent to the client.
    pub rows: u64,
    /// Bytes of result sent by the server for this statement.
    pub bytes: u64,
    /// Values that were masked.
    pub masked: u64,
    /// The same by what they are.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub masked_by: Vec<(Category, u64)>,
    /// Of these, values that were masked in doubt, by cause.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub masked_in_doubt: Vec<(MaskDoubt, u64)>,
    /// From forwarding to the last byte of the answer, nanoseconds.
    pub duration_ns: u64,
    /// What governor's own decision took, nanoseconds.
    pub governor_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sqlstate: Option<String>,
    /// The bound that it met: governor cancelled it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<LimitKind>,
    /// What its answer told of masked columns at most, in thousandths of bits.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub told_millibits: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Complete,
    /// The portal stopped at its row limit; a later Execute goes on.
    Suspended,
    Error,
    /// The server skipped it because an earlier message of the pipeline failed.
    Skipped,
    /// The connection ended before the answer.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStart {
    pub approval: String,
    pub decision: DecisionId,
    pub approvers: String,
    pub expires: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldEnd {
    pub approval: String,
    pub answer: crate::engine::model::Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakGlassStart {
    /// Stands in the record of every statement that is decided under it.
    pub id: String,
    pub reason: String,
    pub expires: Timestamp,
    /// The process that asked for it.
    pub principal: Box<Principal>,
}

/// By the values of a column; none of them is in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFinding {
    pub change: DataChange,
    pub server: Endpoint,
    pub database: String,
    /// `schema.relation.column`.
    pub column: String,
    /// What most of its values are; `None` where that is not clear.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub category: Option<Category>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub detector: String,
    pub confidence_percent: u8,
    /// Everything that was found in it, values of their own or inside longer text.
    pub kinds: Vec<Category>,
    /// Values that were looked at by then.
    pub values: u64,
    /// The column is masked as a whole from now on.
    pub masked_whole: bool,
    /// What it was called when it was sensitive for its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub formerly: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataChange {
    /// Early in what was seen of the column.
    Found,
    /// The column began to hold what it did not hold before.
    Drift,
    /// What was found before is sure enough by now: the column is masked as a whole.
    Masked,
    /// It was sensitive under another name, and stays so.
    Renamed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRuling {
    /// `confirmed`, `labelled` or `dismissed`.
    pub ruling: String,
    pub server: Endpoint,
    pub database: String,
    /// `schema.relation.column`.
    pub column: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub category: Option<Category>,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    pub by: String,
    pub uid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConnection {
    pub client: Endpoint,
    pub destination: Endpoint,
    /// Owner of the socket.
    pub uid: u32,
    /// A process that holds the socket; absent where none could be found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    pub command: String,
    /// Of that process, below the cgroup v2 mount.
    pub cgroup: String,
    /// Found at the server's end: owner, process and cgroup are the server's.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub arrived: bool,
    /// It was closed, as `open_connections` asks.
    pub ended: bool,
    /// Why it could not be.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub problem: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenReveal {
    /// The values were shown.
    pub granted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub refusal: String,
    pub reason: String,
    pub tokens_count: u64,
    /// Their beginnings, which tell them apart.
    pub tokens: Vec<String>,
    /// The process that asked.
    pub principal: Principal,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The key that masks from now on, by name.
    pub key: String,
    /// The process that asked for it; absent where governor made its first one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub principal: Option<Box<Principal>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsRecord {
    pub outcome: TlsOutcome,
    /// Why, where the outcome alone does not say.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// Both connections, where governor ended TLS.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls: Option<TlsSession>,
    /// The connection to the database, where that alone is encrypted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upstream: Option<UpstreamTls>,
    /// Who a client on another host is from now on, where its certificate has a say in that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub principal: Option<Box<Principal>>,
}

impl From<TlsRecord> for AuditEvent {
    fn from(record: TlsRecord) -> Self {
        Self::Tls(Box::new(record))
    }
}

impl From<TlsOutcome> for AuditEvent {
    fn from(outcome: TlsOutcome) -> Self {
        TlsRecord::from(outcome).into()
    }
}

impl From<TlsOutcome> for TlsRecord {
    fn from(outcome: TlsOutcome) -> Self {
        Self { outcome, reason: String::new(), tls: None, upstream: None, principal: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsOutcome {
    /// governor ended it on both connections and reads what is inside.
    Terminated,
    /// The connection to the database alone: the client goes on in clear after its TLS was refused.
    UpstreamOnly,
    /// The server does not speak TLS; the client was told so.
    ServerDeclined,
    /// A handshake failed, on either side.
    Failed,
    /// The client asked and was told to go on without (`sslmode=prefer` does).
    Declined,
    /// The client would not go on without TLS, or sent a TLS hello directly.
    Refused,
    /// The port is configured to pass TLS through unread.
    PassedUnread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Client,
    Database,
    Governor,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    pub reason: String,
    pub statements: u64,
    pub bytes_from_client: u64,
    pub bytes_from_database: u64,
    /// What its sockets carried, in the kernel's terms.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sockets: Option<SessionSockets>,
    /// Of the agent whose session it was, as in [`AgentStart`].
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub run: String,
}
