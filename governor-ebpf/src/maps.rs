//! Every map: who writes it, who reads it, when an entry dies.
//!
//! `docs/kernel.md` has the same as a table. The `sk_storage` maps die with their socket and need
//! BTF; the cgroup storage is the old kind because only that one is *per attachment*.
#![allow(deprecated)]

use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{
    Array, CgroupStorage, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, SockHash,
};
use core::ptr::null;
use governor_common::capture::{
    Attachment, GuardedPort, InboundPort, ListenerGroup, ListenerKey, NamespaceSeen, Rule, RuleKey, Settings,
};
use governor_common::counter::COUNTERS_COUNT;
use governor_common::flow::{Flow, FlowTuple, ShownClient, UpstreamEnd};
use governor_common::limits;
use governor_common::totals::{Totals, TotalsKey};

/// Agent writes after attaching; connect hooks read. Dies with the attachment.
#[map]
pub static ATTACHMENT: CgroupStorage<Attachment> = CgroupStorage::new();

/// Agent writes before attaching; connect hooks read. Lives until detach.
#[map]
pub static RULES: HashMap<RuleKey, Rule> = HashMap::with_max_entries(limits::RULES_COUNT_MAX, 0);

/// Agent writes; all hooks read. One element.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// Agent writes CLOCK_MONOTONIC; connect hooks compare. One element.
#[map]
pub static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

/// Number of listeners of a namespace and family. Agent writes; connect hooks read.
#[map]
pub static LISTENER_COUNTS: HashMap<ListenerGroup, u32> =
    HashMap::with_max_entries(limits::LISTENER_GROUPS_COUNT_MAX, 0);

/// The agent's listening sockets. Agent writes; connect hooks read; the *kernel* removes an entry
/// the moment its socket closes, so presence is proof of life.
#[map]
pub static LISTENERS: SockHash<ListenerKey> = SockHash::with_max_entries(limits::LISTENERS_COUNT_MAX, 0);

/// Agent writes; bind hooks read. Lives until detach.
#[map]
pub static GUARDED_PORTS: HashMap<GuardedPort, u8> =
    HashMap::with_max_entries(limits::GUARDED_PORTS_COUNT_MAX, 0);

/// Connect hooks write on the client's socket, `hand_over` on the accepted one; getpeername hooks
/// and the agent read. Dies with the socket.
#[btf_map]
pub static FLOWS: SkStorage<Flow> = SkStorage::new();

/// Agent writes on its own sockets before `connect()` or `bind()`; connect and bind hooks read.
/// Dies with the socket.
#[btf_map]
pub static EXEMPT: SkStorage<u32> = SkStorage::new();

/// `hand_over` writes at the SYN, reads and removes at accept, removes leftovers at close.
#[map]
pub static PENDING: LruHashMap<FlowTuple, Flow> = LruHashMap::with_max_entries(limits::PENDING_COUNT_MAX, 0);

/// All hooks add; agent reads. Never reset.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS_COUNT, 0);

/// `emit` writes; agent consumes.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(limits::EVENTS_BYTES, 0);

/// `account` writes when one of the agent's sockets closes; the agent consumes.
#[map]
pub static FLOW_TOTALS: RingBuf = RingBuf::with_byte_size(limits::FLOW_TOTALS_BYTES, 0);

/// `account` adds; the agent reads. An entry for each listener that ever accepted, never reset.
#[map]
pub static TOTALS: PerCpuHashMap<TotalsKey, Totals> =
    PerCpuHashMap::with_max_entries(limits::LISTENERS_COUNT_MAX, BPF_F_NO_PREALLOC);

/// Netns cookie of the namespace that `steer` is attached to, which it cannot ask for. Agent writes before attaching;
/// `steer` reads. One element.
#[map]
pub static INBOUND_NAMESPACE: Array<u64> = Array::with_max_entries(1, 0);

/// Ports of servers in this host's namespaces. Agent writes; `steer`, connect hooks and `hand_over` read. Lives until
/// detach.
#[map]
pub static INBOUND_PORTS: HashMap<InboundPort, Rule> =
    HashMap::with_max_entries(limits::INBOUND_PORTS_COUNT_MAX, 0);

/// The agent's listening sockets for arriving connections. Agent writes; `steer` reads; the kernel removes an entry the
/// moment its socket closes. The group's slot is always 0.
#[map]
pub static INBOUND_LISTENERS: SockHash<ListenerKey> =
    SockHash::with_max_entries(limits::LISTENER_GROUPS_COUNT_MAX, 0);

/// The agent's own connections to captured servers. `hand_over` writes at the SYN of a marked socket and removes at its
/// close; `steer` reads at the SYN and again at the handshake's last packet.
#[map]
pub static UPSTREAMS: HashMap<FlowTuple, u8> =
    HashMap::with_max_entries(limits::UPSTREAMS_COUNT_MAX, BPF_F_NO_PREALLOC);

/// In whose name the agent connects. Agent writes before `connect()`; `show_client` moves it to the server's socket;
/// `hand_over` removes it when the agent's socket closes.
#[map]
pub static CLIENTS: HashMap<UpstreamEnd, ShownClient> =
    HashMap::with_max_entries(limits::CLIENTS_COUNT_MAX, BPF_F_NO_PREALLOC);

/// `show_client` writes on the server's accepted socket; getpeername hooks read. Dies with the socket.
#[btf_map]
pub static SHOWN: SkStorage<ShownClient> = SkStorage::new();

/// `announce_namespace` writes the time at which it told of a namespace, and compares; connect hooks count who waited
/// for it. LRU.
#[map]
pub static NAMESPACES_SEEN: LruHashMap<u64, NamespaceSeen> =
    LruHashMap::with_max_entries(limits::NAMESPACES_SEEN_COUNT_MAX, 0);

/// Agent writes on its listeners for arriving connections; the kernel copies it to every socket that they accept, and
/// `hand_over` looks: of all sockets on a server's port these are the agent's. Dies with the socket.
#[btf_map]
pub static ARRIVED: InheritedStorage<u32> = InheritedStorage::new();

/// Socket storage that accepted sockets inherit from their listener, which aya's own kind does not do. The loader reads
/// the type alone; `repr(C)` keeps the fields in the order in which it expects them.
#[repr(C)]
pub struct InheritedStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: placeholders that the loader fills in; nothing follows them.
unsafe impl<T> Sync for InheritedStorage<T> {}

impl<T> InheritedStorage<T> {
    const fn new() -> Self {
        Self { r#type: null(), key: null(), value: null(), max_entries: null(), map_flags: null() }
    }
}
