//! Records of the ring buffer: what an operator must hear about, never one per good connection.

use crate::assert_layout;
use crate::flow::OriginalDestination;
use crate::process::ProcessIdentity;

/// One connection that did not go the governed way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC.
    pub at_ns: u64,
    pub netns_cookie: u64,
    pub process: ProcessIdentity,
    pub original: OriginalDestination,
    /// An [`EventCause`].
    pub cause: u16,
    /// 1 where the connection went direct (the rule fails open), 0 where it was refused.
    pub passed: u16,
}
assert_layout!(Event, 80, align 8);

/// Why a connection was refused, or passed ungoverned.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventCause {
    /// The agent's last heartbeat is too old.
    HeartbeatStale = 1,
    /// The agent has no listener of this address family in this network namespace.
    NamespaceUnknown = 2,
    /// The agent's listener is gone: the agent died or closed it.
    ListenerGone = 3,
    /// The kernel had no memory for the flow, or the socket's own was used up. Refused even where the rule fails
    /// open: whoever has the socket can bring that about (a large SO_ATTACH_FILTER).
    StorageFailed = 4,
    /// Somebody else tried to bind the agent's port.
    BindRefused = 5,
    /// The flow could not be noted for the accepting end; the connection will have no identity.
    PendingFailed = 6,
    /// The socket is bound to a device, and its owner may not unbind it (CAP_NET_RAW): it cannot
    /// reach the agent. Refused even where the rule fails open: a binding must be no way around.
    DeviceBound = 7,
    /// Somebody asked for a raw socket that carries TCP past the connect hooks.
    RawRefused = 8,
    /// An arriving connection to a captured port, with a heartbeat that is too old. No process is known.
    InboundHeartbeatStale = 9,
    /// An arriving connection to a captured port, with no listener to steer it to. No process is known.
    InboundListenerGone = 10,
    /// Not a connection: a socket was made in a network namespace in which the agent has no listener. Its
    /// `connect()` may follow.
    NamespaceSeen = 11,
}

impl EventCause {
    /// Name in records, metrics and documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeartbeatStale => "heartbeat_stale",
            Self::NamespaceUnknown => "namespace_unknown",
            Self::ListenerGone => "listener_gone",
            Self::StorageFailed => "storage_failed",
            Self::BindRefused => "bind_refused",
            Self::PendingFailed => "pending_failed",
            Self::DeviceBound => "device_bound",
            Self::RawRefused => "raw_refused",
            Self::InboundHeartbeatStale => "inbound_heartbeat_stale",
            Self::InboundListenerGone => "inbound_listener_gone",
            Self::NamespaceSeen => "namespace_seen",
        }
    }

    pub const fn from_u16(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::HeartbeatStale,
            2 => Self::NamespaceUnknown,
            3 => Self::ListenerGone,
            4 => Self::StorageFailed,
            5 => Self::BindRefused,
            6 => Self::PendingFailed,
            7 => Self::DeviceBound,
            8 => Self::RawRefused,
            9 => Self::InboundHeartbeatStale,
            10 => Self::InboundListenerGone,
            11 => Self::NamespaceSeen,
            _ => return None,
        })
    }
}
