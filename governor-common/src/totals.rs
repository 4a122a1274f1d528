//! What the kernel counted of the agent's sockets: the half of the proof of completeness that the agent cannot
//! forget to write down.

use crate::assert_layout;

/// One of the agent's sockets at its end. Kept in a ring buffer until the agent has compared it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowTotals {
    /// Of the socket itself.
    pub socket_cookie: u64,
    pub netns_cookie: u64,
    /// CLOCK_MONOTONIC.
    pub closed_ns: u64,
    /// Payload that arrived, in order, whether it was read or not (RFC 4898 ThruOctetsReceived).
    pub bytes_received: u64,
    /// What the peer acknowledged (RFC 4898 ThruOctetsAcked). The kernel also counts our SYN and FIN.
    pub bytes_acked: u64,
    /// Sent and never acknowledged, our FIN included.
    pub unacked: u32,
    /// TCP state before the socket closed, as in linux/tcp_states.h.
    pub state_before: u16,
    /// [`FlowTotals::ROLE_ACCEPTED`] or [`FlowTotals::ROLE_UPSTREAM`].
    pub role: u16,
    /// Of the client that was captured; 0 for an upstream socket.
    pub tgid: u32,
    pub uid: u32,
}
assert_layout!(FlowTotals, 56, align 8);

impl FlowTotals {
    /// The client's side: a captured connection that the agent accepted.
    pub const ROLE_ACCEPTED: u16 = 1;
    /// The database's side: a socket that the agent marked as its own and connected.
    pub const ROLE_UPSTREAM: u16 = 2;
}

/// Whose totals.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TotalsKey {
    pub netns_cookie: u64,
    /// Of the listener that accepted, host order; 0 for upstream sockets.
    pub port: u16,
    /// As in [`FlowTotals`].
    pub role: u16,
    pub reserved: u32,
}
assert_layout!(TotalsKey, 16, align 8);

/// Sums over the sockets of one listener, or of all upstream sockets of a namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sockets that came into being: accepted with a flow, or connected with the marker.
    pub opened: u64,
    pub closed: u64,
    /// Of those that closed.
    pub bytes_received: u64,
    pub bytes_acked: u64,
}
assert_layout!(Totals, 32, align 8);
