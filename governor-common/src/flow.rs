//! A captured connection: where it was going, who made it, and how its two ends are matched.

use crate::assert_layout;
use crate::process::ProcessIdentity;

pub const FAMILY_V4: u16 = 2;
pub const FAMILY_V6: u16 = 10;

/// An IPv6 address as four words in network order; IPv4 is written v4-mapped (`::ffff:a.b.c.d`).
pub type Address = [u32; 4];

/// Third word of a v4-mapped address.
pub const MAPPED_PREFIX: u32 = 0xffff_u32.to_be();

#[inline(always)]
pub const fn mapped(address_v4_be: u32) -> Address {
    [0, 0, MAPPED_PREFIX, address_v4_be]
}

/// Where the application thought it connected.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginalDestination {
    pub address: Address,
    /// Host order.
    pub port: u16,
    /// Of the client's socket: [`FAMILY_V6`] also for a v4-mapped address.
    pub family: u16,
}
assert_layout!(OriginalDestination, 20, align 4);

/// Everything that the kernel knows about a captured connection. Lives in the `sk_storage` of the
/// client's socket and, as a copy, of the agent's accepted socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub netns_cookie: u64,
    /// Of the client's socket.
    pub socket_cookie: u64,
    /// CLOCK_MONOTONIC at `connect()`.
    pub connected_ns: u64,
    pub process: ProcessIdentity,
    pub original: OriginalDestination,
    /// Port of the agent's listener that the connection was sent to, host order.
    pub listener_port: u16,
    /// [`Flow::END_CLIENT`] or [`Flow::END_ACCEPTED`].
    pub end: u16,
}
assert_layout!(Flow, 88, align 8);

impl Flow {
    /// The storage belongs to the application's socket.
    pub const END_CLIENT: u16 = 1;
    /// The storage belongs to the agent's accepted socket.
    pub const END_ACCEPTED: u16 = 2;
}

/// The client's view of a connection between client and agent, until the agent's end takes it over.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    pub netns_cookie: u64,
    pub client_address: Address,
    pub listener_address: Address,
    /// Host order.
    pub client_port: u16,
    /// Host order.
    pub listener_port: u16,
    pub reserved: u32,
}
assert_layout!(FlowTuple, 48, align 8);

/// One end of the agent's own connections to a server: source address and port, in a namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamEnd {
    pub netns_cookie: u64,
    pub address: Address,
    /// Host order.
    pub port: u16,
    pub reserved: [u16; 3],
}
assert_layout!(UpstreamEnd, 32, align 8);

impl UpstreamEnd {
    #[inline(always)]
    pub const fn new(netns_cookie: u64, address: Address, port: u16) -> Self {
        Self { netns_cookie, address, port, reserved: [0; 3] }
    }
}

/// The client in whose name the agent connects: what the server is shown as its peer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShownClient {
    pub address: Address,
    /// Host order.
    pub port: u16,
    pub reserved: u16,
}
assert_layout!(ShownClient, 20, align 4);
