//! What is captured and where it goes: the rules, the listeners, and the agent's sign of life.

use crate::assert_layout;

/// Value of the cgroup storage: which attachment the running program belongs to.
///
/// The kernel gives every attachment its own storage, so one program serves many cgroups and a rule
/// holds for the cgroup in which the *socket* was made, wherever its process has moved since.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// cgroup id of the attached directory (its inode number); 0 until the agent has written it.
    pub cgroup_id: u64,
}
assert_layout!(Attachment, 8, align 8);

/// One port on one attached cgroup.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleKey {
    pub cgroup_id: u64,
    /// Destination port, host order.
    pub port: u32,
    pub reserved: u32,
}
assert_layout!(RuleKey, 16, align 8);

impl RuleKey {
    #[inline(always)]
    pub const fn new(cgroup_id: u64, port: u16) -> Self {
        Self { cgroup_id, port: port as u32, reserved: 0 }
    }
}

/// What to do with a connection that a rule names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Combination of the `Rule::…` bits.
    pub flags: u32,
}
assert_layout!(Rule, 4, align 4);

impl Rule {
    /// Without a living listener the connection goes direct; without this bit it is refused.
    pub const FAIL_OPEN: u32 = 1;

    #[inline(always)]
    pub const fn fails_open(self) -> bool {
        self.flags & Self::FAIL_OPEN != 0
    }
}

/// Names the listeners of one address family in one network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerGroup {
    pub netns_cookie: u64,
    /// [`crate::flow::FAMILY_V4`] or [`crate::flow::FAMILY_V6`]: of the address that is dialled.
    pub family: u32,
    pub reserved: u32,
}
assert_layout!(ListenerGroup, 16, align 8);

/// One listening socket of the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    pub netns_cookie: u64,
    pub family: u32,
    /// 0 .. number of listeners of its group.
    pub slot: u32,
}
assert_layout!(ListenerKey, 16, align 8);

/// A port that only the agent may bind.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GuardedPort {
    pub netns_cookie: u64,
    /// Host order.
    pub port: u32,
    pub reserved: u32,
}
assert_layout!(GuardedPort, 16, align 8);

/// What is remembered of a network namespace without a listener.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSeen {
    /// When the agent was told of it last, CLOCK_MONOTONIC.
    pub told_ns: u64,
    /// Connections that waited for a listener to be opened.
    pub waits: u32,
    pub reserved: u32,
}
assert_layout!(NamespaceSeen, 16, align 8);

/// How the programs behave; element 0 of its map, written by the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// A heartbeat older than this counts as a dead agent; 0 switches the check off.
    pub heartbeat_timeout_ns: u64,
    /// Not 0: one log line per decision of the connect hooks.
    pub debug_log: u32,
    /// Value of the marker on this agent's own sockets: in an upgrade two agents mark sockets in one map.
    pub mark: u32,
}
assert_layout!(Settings, 16, align 8);

/// A port of one network namespace whose connections are steered to the agent when they arrive.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InboundPort {
    pub netns_cookie: u64,
    /// Host order.
    pub port: u32,
    pub reserved: u32,
}
assert_layout!(InboundPort, 16, align 8);

impl InboundPort {
    #[inline(always)]
    pub const fn new(netns_cookie: u64, port: u16) -> Self {
        Self { netns_cookie, port: port as u32, reserved: 0 }
    }
}
