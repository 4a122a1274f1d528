//! Typed handles on the maps that the agent uses while it runs.

use super::KernelError;
use super::error::chain;
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, SkStorage};
use governor_common::counter::Counter;
use governor_common::flow::{FAMILY_V4, OriginalDestination};
use governor_common::{flow, process::ProcessIdentity};
use parking_lot::Mutex;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A captured connection as the kernel saw it at `connect()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the application thought it connected; a v4-mapped address is given as IPv4.
    pub original: SocketAddr,
    /// Process id, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
    /// Short name of the thread.
    pub command: String,
    /// Of the process.
    pub cgroup_id: u64,
    pub netns_cookie: u64,
    /// Of the application's socket.
    pub socket_cookie: u64,
    /// CLOCK_MONOTONIC.
    pub connected_ns: u64,
}

impl Flow {
    fn from_kernel(flow: &flow::Flow) -> Self {
        Self {
            original: socket_address(&flow.original),
            tgid: flow.process.tgid,
            pid: flow.process.pid,
            uid: flow.process.uid,
            gid: flow.process.gid,
            command: command(&flow.process),
            cgroup_id: flow.process.cgroup_id,
            netns_cookie: flow.netns_cookie,
            socket_cookie: flow.socket_cookie,
            connected_ns: flow.connected_ns,
        }
    }
}

/// Looks up the flow of an accepted socket.
#[derive(Clone, Debug)]
pub struct FlowTable {
    flows: Arc<SkStorage<MapData, flow::Flow>>,
}

impl FlowTable {
    pub(super) fn new(map: Map) -> Result<Self, KernelError> {
        Ok(Self { flows: Arc::new(SkStorage::try_from(map).map_err(broken("FLOWS"))?) })
    }

    /// The flow that the kernel tied to this accepted socket; `None` where it did not come by
    /// redirection, which is a reason to close it.
    pub fn flow(&self, accepted: BorrowedFd<'_>) -> Result<Option<Flow>, KernelError> {
        match self.flows.get(&accepted, 0) {
            Ok(flow) if flow.end == flow::Flow::END_ACCEPTED => Ok(Some(Flow::from_kernel(&flow))),
            Ok(_) | Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(broken("FLOWS")(error)),
        }
    }
}

/// Marks governor's own sockets, so that no rule captures them.
#[derive(Clone, Debug)]
pub struct Exemption {
    sockets: Arc<Mutex<SkStorage<MapData, u32>>>,
    /// Presence is what exempts; whose it is counts for the proof of completeness.
    mark: u32,
}

impl Exemption {
    pub(super) fn new(map: Map, mark: u32) -> Result<Self, KernelError> {
        let sockets = SkStorage::try_from(map).map_err(broken("EXEMPT"))?;
        Ok(Self { sockets: Arc::new(Mutex::new(sockets)), mark })
    }

    pub(super) fn value(&self) -> u32 {
        self.mark
    }

    /// Marks a socket for the rest of its life. Call before `connect()`, and before `bind()` where
    /// it takes over a port that governor listened on.
    pub fn mark(&self, socket: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.sockets.lock().insert(&socket, self.mark, 0).map_err(broken("EXEMPT"))
    }

    /// Whether a socket is one of governor's own. Doubt is no.
    pub fn is_marked(&self, socket: BorrowedFd<'_>) -> bool {
        self.sockets.lock().get(&socket, 0).is_ok()
    }
}

/// Tells the kernel side that the agent is alive.
#[derive(Clone)]
pub struct Heartbeat {
    beats: Arc<Mutex<Array<MapData, u64>>>,
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heartbeat").finish_non_exhaustive()
    }
}

impl Heartbeat {
    pub(super) fn new(map: Map) -> Result<Self, KernelError> {
        let beats = Array::try_from(map).map_err(broken("HEARTBEAT"))?;
        Ok(Self { beats: Arc::new(Mutex::new(beats)) })
    }

    /// Must come several times within the heartbeat timeout.
    pub fn beat(&self) -> Result<(), KernelError> {
        self.beat_at(monotonic_ns()?)
    }

    pub(super) fn beat_at(&self, now_ns: u64) -> Result<(), KernelError> {
        self.beats.lock().set(0, now_ns, 0).map_err(broken("HEARTBEAT"))
    }
}

/// What the kernel programs have counted since they were loaded, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections sent to the agent.
    pub redirected: u64,
    /// Connections of governor's own sockets.
    pub exempt: u64,
    pub refused_heartbeat_stale: u64,
    pub refused_namespace_unknown: u64,
    pub refused_listener_gone: u64,
    pub refused_storage_failed: u64,
    /// Sockets bound to a device that could not be unbound.
    pub refused_device_bound: u64,
    /// Went direct because a rule fails open: ungoverned.
    pub passed_open: u64,
    /// Flows noted for the accepting end.
    pub pending: u64,
    pub pending_failed: u64,
    /// Flows that reached an accepted socket.
    pub handed_over: u64,
    /// Redirected client sockets that closed.
    pub closed: u64,
    /// `getpeername()` answers that showed the original destination.
    pub peer_shown: u64,
    /// Attempts of others to bind governor's ports.
    pub bind_refused: u64,
    /// Events lost because the ring buffer was full.
    pub events_dropped: u64,
    /// Redirected client sockets that closed before governor's end was established.
    pub not_arrived: u64,
    /// Notes that were taken back though the agent had not taken them over.
    pub pending_gone: u64,
    /// Totals of closed sockets that were lost because their ring buffer was full.
    pub totals_dropped: u64,
    /// Sockets of governor whose totals could not be kept.
    pub totals_failed: u64,
    /// Raw TCP sockets that were refused to somebody with CAP_NET_RAW.
    pub raw_refused: u64,
    /// Arriving connections steered to the agent.
    pub inbound_steered: u64,
    /// governor's own connections, let through to the server.
    pub inbound_own: u64,
    pub inbound_refused_heartbeat_stale: u64,
    pub inbound_refused_listener_gone: u64,
    /// Arriving connections that reached the server ungoverned, because a rule fails open.
    pub inbound_passed_open: u64,
    /// governor's own connections that could not be noted: steered back, and closed.
    pub inbound_own_failed: u64,
    /// Sockets of servers that show the client instead of governor.
    pub client_shown: u64,
    /// Times that sockets in namespaces without a listener were told.
    pub namespace_seen: u64,
    pub inbound_arrived: u64,
    /// governor's own connections to captured servers that were noted.
    pub inbound_own_noted: u64,
    /// Of these, those whose note is gone.
    pub inbound_own_gone: u64,
    /// Connections of new namespaces that waited until a listener was there.
    pub namespace_waited: u64,
    /// Those that waited in vain.
    pub namespace_waited_in_vain: u64,
}

impl Counters {
    pub(super) fn read(map: &PerCpuArray<MapData, u64>) -> Result<Self, KernelError> {
        let sum = |counter: Counter| -> Result<u64, KernelError> {
            let per_cpu = map.get(&(counter as u32), 0).map_err(broken("COUNTERS"))?;
            Ok(per_cpu.iter().sum())
        };
        Ok(Self {
            redirected: sum(Counter::Redirected)?,
            exempt: sum(Counter::Exempt)?,
            refused_heartbeat_stale: sum(Counter::RefusedHeartbeatStale)?,
            refused_namespace_unknown: sum(Counter::RefusedNamespaceUnknown)?,
            refused_listener_gone: sum(Counter::RefusedListenerGone)?,
            refused_storage_failed: sum(Counter::RefusedStorageFailed)?,
            refused_device_bound: sum(Counter::RefusedDeviceBound)?,
            passed_open: sum(Counter::PassedOpen)?,
            pending: sum(Counter::Pending)?,
            pending_failed: sum(Counter::PendingFailed)?,
            handed_over: sum(Counter::HandedOver)?,
            closed: sum(Counter::Closed)?,
            peer_shown: sum(Counter::PeerShown)?,
            bind_refused: sum(Counter::BindRefused)?,
            events_dropped: sum(Counter::EventsDropped)?,
            not_arrived: sum(Counter::NotArrived)?,
            totals_dropped: sum(Counter::TotalsDropped)?,
            totals_failed: sum(Counter::TotalsFailed)?,
            raw_refused: sum(Counter::RawRefused)?,
            inbound_steered: sum(Counter::InboundSteered)?,
            inbound_own: sum(Counter::InboundOwn)?,
            inbound_refused_heartbeat_stale: sum(Counter::InboundRefusedHeartbeatStale)?,
            inbound_refused_listener_gone: sum(Counter::InboundRefusedListenerGone)?,
            inbound_passed_open: sum(Counter::InboundPassedOpen)?,
            inbound_own_failed: sum(Counter::InboundOwnFailed)?,
            client_shown: sum(Counter::ClientShown)?,
            namespace_seen: sum(Counter::NamespaceSeen)?,
            inbound_arrived: sum(Counter::InboundArrived)?,
            inbound_own_noted: sum(Counter::InboundOwnNoted)?,
            inbound_own_gone: sum(Counter::InboundOwnGone)?,
            namespace_waited: sum(Counter::NamespaceWaited)?,
            namespace_waited_in_vain: sum(Counter::NamespaceWaitedInVain)?,
            pending_gone: sum(Counter::PendingGone)?,
        })
    }

    /// All of them with their names, for metrics.
    pub fn named(&self) -> [(&'static str, u64); Counter::ALL.len()] {
        [
            (Counter::Redirected.name(), self.redirected),
            (Counter::Exempt.name(), self.exempt),
            (Counter::RefusedHeartbeatStale.name(), self.refused_heartbeat_stale),
            (Counter::RefusedNamespaceUnknown.name(), self.refused_namespace_unknown),
            (Counter::RefusedListenerGone.name(), self.refused_listener_gone),
            (Counter::RefusedStorageFailed.name(), self.refused_storage_failed),
            (Counter::RefusedDeviceBound.name(), self.refused_device_bound),
            (Counter::PassedOpen.name(), self.passed_open),
            (Counter::Pending.name(), self.pending),
            (Counter::PendingFailed.name(), self.pending_failed),
            (Counter::HandedOver.name(), self.handed_over),
            (Counter::Closed.name(), self.closed),
            (Counter::PeerShown.name(), self.peer_shown),
            (Counter::BindRefused.name(), self.bind_refused),
            (Counter::EventsDropped.name(), self.events_dropped),
            (Counter::NotArrived.name(), self.not_arrived),
            (Counter::TotalsDropped.name(), self.totals_dropped),
            (Counter::TotalsFailed.name(), self.totals_failed),
            (Counter::RawRefused.name(), self.raw_refused),
            (Counter::InboundSteered.name(), self.inbound_steered),
            (Counter::InboundOwn.name(), self.inbound_own),
            (Counter::InboundRefusedHeartbeatStale.name(), self.inbound_refused_heartbeat_stale),
            (Counter::InboundRefusedListenerGone.name(), self.inbound_refused_listener_gone),
            (Counter::InboundPassedOpen.name(), self.inbound_passed_open),
            (Counter::InboundOwnFailed.name(), self.inbound_own_failed),
            (Counter::ClientShown.name(), self.client_shown),
            (Counter::NamespaceSeen.name(), self.namespace_seen),
            (Counter::InboundArrived.name(), self.inbound_arrived),
            (Counter::InboundOwnNoted.name(), self.inbound_own_noted),
            (Counter::InboundOwnGone.name(), self.inbound_own_gone),
            (Counter::NamespaceWaited.name(), self.namespace_waited),
            (Counter::NamespaceWaitedInVain.name(), self.namespace_waited_in_vain),
            (Counter::PendingGone.name(), self.pending_gone),
        ]
    }

    /// Connections that a rule named and that were not let out, whatever the cause.
    pub fn refused(&self) -> u64 {
        self.refused_heartbeat_stale
            + self.refused_namespace_unknown
            + self.refused_listener_gone
            + self.refused_storage_failed
            + self.refused_device_bound
            + self.inbound_refused_heartbeat_stale
            + self.inbound_refused_listener_gone
    }

    /// Connections that a rule let past the agent, at whichever end they were seen.
    pub fn passed(&self) -> u64 {
        self.passed_open + self.inbound_passed_open
    }
}

/// Now on the clock of `bpf_ktime_get_ns()`: CLOCK_MONOTONIC, nanoseconds since boot.
pub(super) fn monotonic_ns() -> Result<u64, KernelError> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_err(|errno| KernelError::System { action: "reading the clock", source: errno.into() })?;
    Ok(u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0))
}

pub(super) fn socket_address(original: &OriginalDestination) -> SocketAddr {
    let mut bytes = [0u8; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(original.address) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    let address = Ipv6Addr::from(bytes);
    let address = if original.family == FAMILY_V4 {
        address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
    } else {
        address.to_canonical()
    };
    SocketAddr::new(address, original.port)
}

pub(super) fn command(process: &ProcessIdentity) -> String {
    let name = process.command.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

pub(super) fn broken(map: &'static str) -> impl Fn(MapError) -> KernelError {
    move |error| KernelError::Map { map, reason: chain(&error) }
}
