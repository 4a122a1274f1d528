//! Closed sets of label values.
//!
//! A metric's series are bounded by construction: every label value is a variant of an enum, never
//! text from a client. Each set knows its words (for the exposition and the docs) and an index
//! (for children that are resolved once and then found by position).
//!
//! Invariant: `ALL[i].index() == i`; the compiler refuses a variant that the list forgets.

use crate::engine::approval::Answer;
use crate::engine::audit::{
    DataChange, GapCause, HelloOutcome, HelloWay, MismatchKind, Outcome, Side, TlsOutcome,
};
use crate::engine::masking::Category;
use crate::engine::model::{Class, LimitKind, MaskDoubt, StatementKind, Verdict};
use crate::engine::session::Status;

/// A label whose values are known when governor is compiled.
pub trait Closed: Copy + 'static {
    const ALL: &'static [Self];
    fn index(self) -> usize;
    fn word(self) -> &'static str;
}

/// Every word of a label, in order, for the docs.
pub fn words<L: Closed>() -> Vec<&'static str> {
    L::ALL.iter().map(|value| value.word()).collect()
}

macro_rules! closed {
    ($type:ty: $($variant:ident => $word:literal),+ $(,)?) => {
        impl Closed for $type {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn index(self) -> usize {
                enum Position { $($variant),+ }
                match self { $(Self::$variant => Position::$variant as usize),+ }
            }
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

/// What became of a wish to reveal tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevealOutcome {
    Revealed,
    /// Whoever asked is not listed, or is no person.
    NotAllowed,
    /// No reason, or too many tokens.
    Malformed,
    /// A token that no key of this host made.
    BadToken,
    /// The record could not be written.
    Unrecorded,
}

/// Why a captured connection was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedReason {
    /// The kernel has no original destination for it: it did not come through a redirect.
    NoOrigin,
    /// The process behind it could not be established.
    NoIdentity,
    /// As many connections as the configuration allows are open.
    Limit,
    /// As many connections of its source as the configuration allows are open.
    SourceLimit,
    /// The agent is stopping.
    Draining,
    /// The database could not be reached.
    Upstream,
    /// Policy denied the session.
    Policy,
    /// The client insists on TLS, which this port does not offer.
    Tls,
    /// The audit ledger cannot be written.
    Audit,
    /// A hello was not accepted, or one is required and did not come.
    Hello,
}

/// By what a network namespace was found before governor listened in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceFound {
    /// A look at all processes, at the start and regularly.
    Walk,
    /// A program was started in it.
    Exec,
    /// A socket was made in it.
    Socket,
    /// A connection was refused in it, or passed ungoverned.
    Refused,
}

/// Why governor does not listen in a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceFailure {
    /// As many as configured are served.
    Limit,
    /// It cannot be entered.
    Enter,
    /// No listener can be opened in it, or the kernel side does not take it.
    Listen,
}

/// What became of a cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelResult {
    /// It reached the server.
    Forwarded,
    /// It ended a hold, and the server had nothing to do with that.
    Hold,
    /// No live session has its key: nothing was done.
    Unknown,
    /// The server could not be reached.
    Failed,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// Whether a decision came from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    Hit,
    Miss,
}

/// What a second reading of a governed session's text said of the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondReading {
    Agrees,
    /// It does not understand the text, or was not asked: too long.
    NoOpinion,
    SeesMore,
}

/// How a hold ended, without who and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldResult {
    Granted,
    Refused,
    Expired,
    Cancelled,
    Lost,
}

impl From<&Answer> for HoldResult {
    fn from(answer: &Answer) -> Self {
        match answer {
            Answer::Granted { .. } => Self::Granted,
            Answer::Refused { .. } => Self::Refused,
            Answer::Expired => Self::Expired,
            Answer::Cancelled => Self::Cancelled,
            Answer::Lost { .. } => Self::Lost,
        }
    }
}

/// What was done about a connection past governor's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectAction {
    Reported,
    Ended,
}

/// A yes or no of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Ok,
    Refused,
}

/// What became of a connection that was open before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenOutcome {
    /// It goes on, ungoverned.
    Reported,
    Ended,
    /// The kernel did not end it.
    Failed,
}

closed!(RefusedReason:
    NoOrigin => "no_origin", NoIdentity => "no_identity", Limit => "limit",
    SourceLimit => "source_limit", Draining => "draining",
    Upstream => "upstream", Policy => "policy", Tls => "tls", Audit => "audit", Hello => "hello");
closed!(NamespaceFound: Walk => "walk", Exec => "exec", Socket => "socket", Refused => "refused");
closed!(RevealOutcome:
    Revealed => "revealed", NotAllowed => "not_allowed", Malformed => "malformed", BadToken => "bad_token",
    Unrecorded => "unrecorded");
closed!(NamespaceFailure: Limit => "limit", Enter => "enter", Listen => "listen");
closed!(CancelResult: Forwarded => "forwarded", Hold => "hold", Unknown => "unknown", Failed => "failed");
closed!(Direction: ToServer => "to_server", ToClient => "to_client");
closed!(Cache: Hit => "hit", Miss => "miss");
closed!(SecondReading: Agrees => "agrees", NoOpinion => "no_opinion", SeesMore => "sees_more");
closed!(HoldResult:
    Granted => "granted", Refused => "refused", Expired => "expired", Cancelled => "cancelled", Lost => "lost");
closed!(OpenOutcome: Reported => "reported", Ended => "ended", Failed => "failed");
closed!(GapCause:
    Stopped => "stopped", Failed => "failed", Killed => "killed", Reboot => "reboot", Wedged => "wedged", Detached => "detached", Unknown => "unknown");
closed!(Attempt: Ok => "ok", Refused => "refused");
closed!(DirectAction: Reported => "reported", Ended => "ended");
closed!(LimitKind: Rate => "rate", Rows => "rows", Time => "time");
closed!(DataChange: Found => "found", Drift => "drift", Masked => "masked", Renamed => "renamed");
closed!(Status:
    Clean => "clean", Mixed => "mixed", Found => "found", Masked => "masked", Confirmed => "confirmed",
    Labelled => "labelled", Dismissed => "dismissed");
/// A map of the kernel programs whose size is a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelMap {
    Rules,
    Listeners,
    ListenerCounts,
    GuardedPorts,
    Totals,
    Pending,
    InboundPorts,
    InboundListeners,
    Upstreams,
    Clients,
}
closed!(KernelMap:
    Rules => "RULES", Listeners => "LISTENERS", ListenerCounts => "LISTENER_COUNTS",
    GuardedPorts => "GUARDED_PORTS", Totals => "TOTALS", Pending => "PENDING",
    InboundPorts => "INBOUND_PORTS", InboundListeners => "INBOUND_LISTENERS",
    Upstreams => "UPSTREAMS", Clients => "CLIENTS",
);
/// What became of a connection that waited for a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    Governed,
    InVain,
}
closed!(Waited: Governed => "governed", InVain => "in_vain");
/// Which way the wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    Forward,
    Back,
}
closed!(ClockStep: Forward => "forward", Back => "back");
/// What the kernel programs met and did not let go the governed way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelFault {
    /// Refused: the agent's heartbeat was too old.
    HeartbeatStale,
    /// Refused: no listener in that network namespace.
    NamespaceUnknown,
    /// Refused: the agent's listener was gone.
    ListenerGone,
    /// Refused: no memory for the flow.
    StorageFailed,
    /// Refused: bound to a device.
    DeviceBound,
    /// Refused where it arrived: the agent's heartbeat was too old.
    InboundHeartbeatStale,
    /// Refused where it arrived: the agent's listener was gone.
    InboundListenerGone,
    /// A flow that could not be noted: its connection is closed for want of an identity.
    PendingFailed,
    /// A connection of governor's own to a server that could not be noted: closed.
    InboundOwnFailed,
    /// A socket of governor's that is not counted.
    TotalsFailed,
    /// The count of a socket that found no room in the ring buffer.
    TotalsDropped,
    /// Somebody else tried to bind a port of governor's.
    BindRefused,
    /// Somebody asked for a raw socket that carries TCP.
    RawRefused,
}
closed!(KernelFault:
    HeartbeatStale => "heartbeat_stale", NamespaceUnknown => "namespace_unknown", ListenerGone => "listener_gone",
    StorageFailed => "storage_failed", DeviceBound => "device_bound",
    InboundHeartbeatStale => "inbound_heartbeat_stale", InboundListenerGone => "inbound_listener_gone",
    PendingFailed => "pending_failed", InboundOwnFailed => "inbound_own_failed", TotalsFailed => "totals_failed",
    TotalsDropped => "totals_dropped", BindRefused => "bind_refused", RawRefused => "raw_refused",
);
closed!(MismatchKind:
    Unaudited => "unaudited", BytesIn => "bytes_in", BytesOut => "bytes_out", Uncounted => "uncounted",
    Lost => "lost",
);
closed!(MaskDoubt:
    UnknownOrigin => "unknown_origin", NotUnderstood => "not_understood", Failed => "failed",
    SearchBound => "search_bound");
closed!(Class: Service => "service", Person => "person", Agent => "agent");
closed!(Verdict: Allow => "allow", Deny => "deny", Hold => "hold");
closed!(Side: Client => "client", Database => "database", Governor => "governor");
closed!(Outcome:
    Complete => "complete", Suspended => "suspended", Error => "error", Skipped => "skipped", Lost => "lost");
closed!(HelloWay: Sent => "sent", Received => "received");
closed!(HelloOutcome: Accepted => "accepted", Own => "own", Missing => "missing", Unexpected => "unexpected",
    UnknownKey => "unknown_key", WrongAddress => "wrong_address", WrongDestination => "wrong_destination",
    BadSignature => "bad_signature", Malformed => "malformed", Version => "version", Unanswered => "unanswered");
closed!(TlsOutcome: Terminated => "terminated", UpstreamOnly => "upstream_only", ServerDeclined => "server_declined", Failed => "failed",
    Declined => "declined", Refused => "refused", PassedUnread => "passed_unread");
closed!(StatementKind:
    Empty => "empty", Select => "select", Explain => "explain", Show => "show", Cursor => "cursor",
    Execute => "execute", Prepare => "prepare", Deallocate => "deallocate", Insert => "insert",
    Update => "update", Delete => "delete", Merge => "merge", Truncate => "truncate", CopyIn => "copy_in",
    CopyOut => "copy_out", Ddl => "ddl", Drop => "drop", Dcl => "dcl", Transaction => "transaction",
    Session => "session", Notify => "notify", Lock => "lock", Call => "call", Do => "do",
    Maintenance => "maintenance", Administration => "administration", Unknown => "unknown");
closed!(Category:
    Email => "email", Phone => "phone", PaymentCard => "payment_card", Iban => "iban",
    NationalId => "national_id", PersonName => "person_name", Address => "address",
    BirthDate => "birth_date", Passport => "passport", Credential => "credential",
    IpAddress => "ip_address", Health => "health", Financial => "financial", Other => "other",
    Asked => "none");

#[cfg(test)]
mod tests {
    use super::*;

    fn positions_agree<L: Closed>() {
        for (position, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), position, "{}", value.word());
        }
        let mut words = words::<L>();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), L::ALL.len(), "two values share a word");
    }

    #[test]
    fn every_set_finds_its_values_by_position() {
        positions_agree::<RefusedReason>();
        positions_agree::<CancelResult>();
        positions_agree::<Direction>();
        positions_agree::<HoldResult>();
        positions_agree::<DirectAction>();
        positions_agree::<LimitKind>();
        positions_agree::<Class>();
        positions_agree::<Verdict>();
        positions_agree::<Side>();
        positions_agree::<Outcome>();
        positions_agree::<GapCause>();
        positions_agree::<TlsOutcome>();
        positions_agree::<HelloWay>();
        positions_agree::<HelloOutcome>();
        positions_agree::<StatementKind>();
        positions_agree::<Category>();
        positions_agree::<DataChange>();
        positions_agree::<Status>();
        positions_agree::<MaskDoubt>();
        positions_agree::<MismatchKind>();
        positions_agree::<KernelMap>();
        positions_agree::<KernelFault>();
        positions_agree::<ClockStep>();
        positions_agree::<Waited>();
        positions_agree::<RevealOutcome>();
    }

    /// A dashboard and a policy must be able to use the same word.
    #[test]
    fn words_are_those_of_the_engine() {
        assert!(Class::ALL.iter().all(|c| c.as_str() == c.word()));
        assert!(Verdict::ALL.iter().all(|v| v.as_str() == v.word()));
        assert!(<StatementKind as Closed>::ALL.iter().all(|k| k.as_str() == k.word()));
        assert!(<Category as Closed>::ALL.iter().all(|c| c.as_str() == c.word()));
        assert!(<Status as Closed>::ALL.iter().all(|s| s.as_str() == s.word()));
        assert!(<MismatchKind as Closed>::ALL.iter().all(|k| k.as_str() == k.word()));
        assert!(<MaskDoubt as Closed>::ALL.iter().all(|d| d.as_str() == d.word()));
    }
}
