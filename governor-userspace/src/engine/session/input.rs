//! What can happen to a session.

use crate::engine::approval::Answer;
use crate::engine::audit::{HelloRecord, Side};
use crate::engine::model::{Principal, TlsSession, UpstreamTls};
use bytes::BytesMut;
use std::sync::Arc;

/// One input. Buffers hold bytes that were read and not consumed yet: the session takes from the
/// front what it can use and leaves the rest for the next call.
#[derive(Debug)]
pub enum Input<'a> {
    /// The client sent more, or may go on after a hold.
    Client(&'a mut BytesMut),
    /// The database sent more.
    Server(&'a mut BytesMut),
    /// The client's end closed.
    ClientClosed,
    /// The database's end closed.
    ServerClosed,
    /// The answer to [`super::Request::NegotiateTls`]: TLS runs on both connections. What the client sends
    /// from now on came through it.
    TlsEstablished(Box<TlsSession>),
    /// Comes right before `TlsEstablished`: the client's certificate says more of who it is.
    Identified(Arc<Principal>),
    /// The answer to [`super::Request::Greet`]. Where it was accepted, the record says who the client is.
    Greeted(Box<HelloRecord>),
    /// On the way to the server governor said hello, or tried to.
    SaidHello(Box<HelloRecord>),
    /// The server does not speak TLS.
    TlsDeclined,
    /// TLS failed on the side of `side`; both connections are of no more use.
    TlsFailed { side: Side, reason: String },
    /// The connection to the original destination is encrypted, though the client's is not.
    UpstreamSecured(Box<UpstreamTls>),
    /// The connection to the original destination is there.
    Connected,
    /// It could not be made.
    ConnectFailed { reason: String },
    /// The held statement is in the approval queue under this id.
    Held { approval: String },
    /// The queue would not take it.
    HoldFailed { reason: String },
    /// A person, a deadline or a cancel ended the hold.
    Answered { answer: Answer },
    /// The client sent a cancel request with this session's key.
    CancelRequested,
    /// Which live session the cancel request of this connection means.
    CancelMatched(CancelMatch),
    /// [`super::Session::deadline`] has passed.
    Tick,
    /// The answer to [`super::Request::CancelOwn`]: the server has taken it, or could not be reached.
    CancelSent,
    /// The host ends the session.
    Stop(StopReason),
}

/// What the host knows of the session that a cancel request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelMatch {
    /// A live session of this destination has the key.
    Live,
    /// It has, and its hold was told to end. `runs`: the server may be at work for it all the same.
    Held { runs: bool },
    /// None that governor knows has. `unread`: there are live sessions of this destination whose keys it
    /// did not read.
    Unknown { unread: bool },
}

/// Why the host ends a session that did nothing wrong in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The agent shuts down.
    Draining,
    /// Start-up and authentication took too long.
    StartupTimeout,
    /// The audit ledger cannot be written: nothing may run unrecorded.
    LedgerFailed,
}
