//! Loads the embedded object and holds what was loaded.

use super::attach::{AttachmentMap, HeldFd, HeldLink};
use super::cgroup::Cgroup;
use super::error::{chain, is_permission, log_tail};
use super::maps::{Counters, Exemption, FlowTable, Heartbeat, broken};
use super::pins::{self, PinDirectory, Previous};
use super::steer::Steered;
use super::totals::{self, ClosedSockets, ListenerTotals};
use super::{CaptureRule, Clients, KernelError, KernelEvents, KernelOptions, inspect, probe};
use aya::maps::{
    Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf, SkStorage, SockHash,
};
use aya::programs::{CgroupSock, CgroupSockAddr, ProgramError, SkLookup, SockOps};
use aya::{Ebpf, EbpfError, EbpfLoader, VerifierLogLevel};
use governor_common::capture::{
    GuardedPort, InboundPort, ListenerGroup, ListenerKey, Rule, RuleKey, Settings,
};
use governor_common::flow::{FAMILY_V4, FAMILY_V6, FlowTuple};
use governor_common::limits::{self, HEARTBEAT_TIMEOUT_NS_DEFAULT};
use governor_common::totals::{Totals, TotalsKey};
use nix::sys::socket::{getsockopt, sockopt};
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// One loaded set of kernel programs.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    /// Opened cgroups of the rules, each once.
    pub(super) rule_cgroups: Vec<Cgroup>,
    pub(super) own_cgroups: Vec<Cgroup>,
    pub(super) raw_refused: Vec<Cgroup>,
    /// Whose processes are known when they connect to a port that is captured where it arrives.
    pub(super) client_cgroups: Vec<Cgroup>,
    /// `steer` is to be attached.
    pub(super) steers: bool,
    /// In governor's own network namespace, too.
    pub(super) steers_here: bool,
    /// Other network namespaces in which it is, or is to be.
    pub(super) steered: Vec<Steered>,
    pub(super) attached: bool,
    /// In order of attachment; released from the end.
    pub(super) links: Vec<HeldLink>,
    /// Programs whose cgroup is gone: attached again when it is there again.
    pub(super) waiting: Vec<(&'static str, PathBuf)>,
    /// Pins of the living agent that this one took over from.
    pub(super) beside: Option<PathBuf>,
    /// Another agent captures now.
    pub(super) yielded: bool,
    /// No further connections are to come here.
    closed: bool,
    pub(super) pins: Option<PinDirectory>,
    pub(super) previous: Option<Previous>,
    /// Something was attached once: from then on the pins stay until they are removed on purpose.
    pub(super) was_attached: bool,
    /// As they were asked for.
    pub(super) rules: Vec<CaptureRule>,
    pub(super) rule_map: HashMap<MapData, RuleKey, Rule>,
    pub(super) attachments: AttachmentMap,
    /// This kernel takes the program that tells of new namespaces.
    pub(super) announces: bool,
    captured_ports: HashSet<u16>,
    listeners: SockHash<MapData, ListenerKey>,
    listener_counts: HashMap<MapData, ListenerGroup, u32>,
    guarded_ports: HashMap<MapData, GuardedPort, u8>,
    settings: Array<MapData, Settings>,
    counters: PerCpuArray<MapData, u64>,
    pending: HashMap<MapData, FlowTuple, governor_common::flow::Flow>,
    pub(super) inbound_namespace: Array<MapData, u64>,
    pub(super) inbound_ports: HashMap<MapData, InboundPort, Rule>,
    pub(super) inbound_listeners: SockHash<MapData, ListenerKey>,
    pub(super) upstreams: HashMap<MapData, FlowTuple, u8>,
    pub(super) clients: Clients,
    /// Marks listeners for arriving connections, and by that what they accept.
    pub(super) arrived: SkStorage<MapData, u32>,
    flows: FlowTable,
    exemption: Exemption,
    heartbeat: Heartbeat,
    events: Option<RingBuf<MapData>>,
    closed_sockets: Option<RingBuf<MapData>>,
    totals: PerCpuHashMap<MapData, TotalsKey, Totals>,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("rule_cgroups", &self.rule_cgroups)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Loads programs and rules. Nothing is attached yet: no connection changes.
    pub fn load(options: &KernelOptions) -> Result<Self, KernelError> {
        let mut pins = options.pin_dir.as_deref().map(PinDirectory::open).transpose()?;
        match (Self::load_programs(options, pins.as_mut()), pins) {
            (Ok(mut kernel), pins) => {
                kernel.pins = pins;
                Ok(kernel)
            }
            (Err(error), pins) => {
                // The first error is the one to tell.
                let _second = pins.map(PinDirectory::remove);
                Err(error)
            }
        }
    }

    fn load_programs(options: &KernelOptions, pins: Option<&mut PinDirectory>) -> Result<Self, KernelError> {
        let mut loader = EbpfLoader::new();
        loader.verifier_log_level(VerifierLogLevel::default());
        for (map, capacity) in &options.map_capacities {
            loader.map_max_entries(map, *capacity);
        }
        if let Some(beside) = &options.beside {
            // Otherwise each of the two agents would capture what the other dials.
            loader.map_pin_path("EXEMPT", pins::map_pin(beside, "EXEMPT")?);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| object_error(&error))?;
        for program in SOCKET_ADDRESS_PROGRAMS {
            let found: &mut CgroupSockAddr = program_mut(&mut ebpf, program)?;
            found.load().map_err(|error| program_error(program, &error))?;
        }
        for program in [HAND_OVER, SHOW_CLIENT] {
            let found: &mut SockOps = program_mut(&mut ebpf, program)?;
            found.load().map_err(|error| program_error(program, &error))?;
        }
        let found: &mut SkLookup = program_mut(&mut ebpf, STEER)?;
        found.load().map_err(|error| program_error(STEER, &error))?;
        let found: &mut CgroupSock = program_mut(&mut ebpf, CREATE_SOCKET)?;
        found.load().map_err(|error| program_error(CREATE_SOCKET, &error))?;
        let found: &mut CgroupSock = program_mut(&mut ebpf, ANNOUNCE_NAMESPACE)?;
        let announces = found.load().map_err(|error| program_error(ANNOUNCE_NAMESPACE, &error));
        if let Err(error) = &announces {
            tracing::warn!(
                %error,
                "new network namespaces are found later than need be: their first connection may be refused"
            );
        }
        if let Some(pins) = pins {
            pins.pin_maps(&ebpf)?;
        }

        let mut kernel = Self {
            listeners: take(&mut ebpf, "LISTENERS")?,
            listener_counts: take(&mut ebpf, "LISTENER_COUNTS")?,
            guarded_ports: take(&mut ebpf, "GUARDED_PORTS")?,
            settings: take(&mut ebpf, "SETTINGS")?,
            counters: take(&mut ebpf, "COUNTERS")?,
            pending: take(&mut ebpf, "PENDING")?,
            inbound_namespace: take(&mut ebpf, "INBOUND_NAMESPACE")?,
            inbound_ports: take(&mut ebpf, "INBOUND_PORTS")?,
            inbound_listeners: take(&mut ebpf, "INBOUND_LISTENERS")?,
            upstreams: take(&mut ebpf, "UPSTREAMS")?,
            clients: Clients::new(map(&mut ebpf, "CLIENTS")?)?,
            arrived: take(&mut ebpf, "ARRIVED")?,
            flows: FlowTable::new(map(&mut ebpf, "FLOWS")?)?,
            exemption: Exemption::new(map(&mut ebpf, "EXEMPT")?, mark()?)?,
            heartbeat: Heartbeat::new(map(&mut ebpf, "HEARTBEAT")?)?,
            events: Some(take(&mut ebpf, "EVENTS")?),
            closed_sockets: Some(take(&mut ebpf, "FLOW_TOTALS")?),
            totals: take(&mut ebpf, "TOTALS")?,
            rules: options.rules.clone(),
            rule_map: take(&mut ebpf, "RULES")?,
            attachments: AttachmentMap::take(map(&mut ebpf, "ATTACHMENT")?)?,
            captured_ports: options.rules.iter().map(|rule| rule.port).collect(),
            rule_cgroups: Vec::new(),
            own_cgroups: Vec::new(),
            raw_refused: Vec::new(),
            client_cgroups: Vec::new(),
            steers: options.inbound.is_some(),
            steers_here: false,
            steered: Vec::new(),
            attached: false,
            links: Vec::new(),
            waiting: Vec::new(),
            beside: options.beside.clone(),
            yielded: false,
            closed: false,
            pins: None,
            previous: None,
            was_attached: false,
            announces: announces.is_ok(),
            ebpf,
        };
        kernel.write_settings(HEARTBEAT_TIMEOUT_NS, options.debug_log)?;
        kernel.beat()?;
        kernel.write_rules(options)?;
        for path in &options.own_cgroups {
            kernel.own_cgroups.push(Cgroup::open(path)?);
        }
        for path in &options.raw_refused {
            kernel.raw_refused.push(Cgroup::open(path)?);
        }
        if let Some(inbound) = &options.inbound {
            kernel.write_inbound(inbound)?;
        }
        Ok(kernel)
    }

    /// Lets the programs send connections of the socket's own network namespace and address family
    /// to it, for as long as it listens: the kernel forgets it the moment it is closed. Several
    /// sockets of one family share the load, each with an ephemeral port range of its own.
    ///
    /// The socket must listen on a loopback address and on a port that no rule captures.
    pub fn serve_listener(&mut self, listener: BorrowedFd<'_>) -> Result<(), KernelError> {
        let address = listening_address(listener)?;
        if self.captured_ports.contains(&address.port()) {
            return Err(KernelError::ListenerPortCaptured { port: address.port() });
        }
        let netns_cookie = netns_cookie(listener)?;
        let family = match address.ip() {
            IpAddr::V4(_) => u32::from(FAMILY_V4),
            IpAddr::V6(_) => u32::from(FAMILY_V6),
        };

        // A slot whose socket is gone is used again: the kernel has emptied it.
        let mut slot = 0;
        loop {
            let key = ListenerKey { netns_cookie, family, slot };
            match self.listeners.insert(key, listener, NO_EXIST) {
                Ok(()) => break,
                Err(error) if is_exists(&error) && slot < SLOTS_MAX => slot += 1,
                Err(error) => return Err(broken("LISTENERS")(error)),
            }
        }
        let guard = GuardedPort { netns_cookie, port: address.port().into(), reserved: 0 };
        self.guarded_ports.insert(guard, 1, 0).map_err(broken("GUARDED_PORTS"))?;
        let group = ListenerGroup { netns_cookie, family, reserved: 0 };
        let count = self.listener_counts.get(&group, 0).unwrap_or(0).max(slot + 1);
        self.listener_counts.insert(group, count, 0).map_err(broken("LISTENER_COUNTS"))
    }

    /// Sends no further connections to the agent's listeners: they are refused, or pass, as each rule says.
    /// Those that are on their way already still arrive.
    pub fn forget_listeners(&mut self) -> Result<(), KernelError> {
        self.closed = true;
        let keys: Vec<ListenerKey> =
            self.listeners.keys().collect::<Result<_, _>>().map_err(broken("LISTENERS"))?;
        for key in keys {
            // The kernel may be faster: the socket is closed.
            removed(self.listeners.remove(&key)).map_err(broken("LISTENERS"))?;
        }
        self.forget_inbound_listeners()
    }

    /// Whether a listener would be served in vain: connections are another agent's, or nobody's.
    pub fn is_closed(&self) -> bool {
        self.closed || self.yielded
    }

    /// Takes the listeners of a network namespace back, before they are closed: connections there meet the
    /// rule for an unknown namespace from now on.
    pub fn withdraw_namespace(&mut self, netns_cookie: u64) -> Result<(), KernelError> {
        for family in [FAMILY_V4, FAMILY_V6].map(u32::from) {
            let group = ListenerGroup { netns_cookie, family, reserved: 0 };
            let count = self.listener_counts.get(&group, 0).unwrap_or(0);
            removed(self.listener_counts.remove(&group)).map_err(broken("LISTENER_COUNTS"))?;
            for slot in 0..count {
                let key = ListenerKey { netns_cookie, family, slot };
                removed(self.listeners.remove(&key)).map_err(broken("LISTENERS"))?;
            }
        }
        self.forget_sums(netns_cookie)?;
        let mut guarded = Vec::new();
        for key in self.guarded_ports.keys() {
            guarded.push(key.map_err(broken("GUARDED_PORTS"))?);
        }
        for key in guarded.into_iter().filter(|key| key.netns_cookie == netns_cookie) {
            removed(self.guarded_ports.remove(&key)).map_err(broken("GUARDED_PORTS"))?;
        }
        Ok(())
    }

    /// Sums of a namespace would fill the map: nobody asks for those of one that is gone.
    pub(super) fn forget_sums(&mut self, netns_cookie: u64) -> Result<(), KernelError> {
        let mut sums = Vec::new();
        for key in self.totals.keys() {
            sums.push(key.map_err(broken("TOTALS"))?);
        }
        for key in sums.into_iter().filter(|key| key.netns_cookie == netns_cookie) {
            removed(self.totals.remove(&key)).map_err(broken("TOTALS"))?;
        }
        Ok(())
    }

    /// A handle to look up the flows of accepted sockets.
    pub fn flows(&self) -> Result<FlowTable, KernelError> {
        Ok(self.flows.clone())
    }

    /// A handle to mark upstream sockets.
    pub fn exemption(&self) -> Result<Exemption, KernelError> {
        Ok(self.exemption.clone())
    }

    /// A handle to report life from another task.
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// Reports life: without it for the heartbeat timeout (10 s), connections are refused.
    pub fn beat(&self) -> Result<(), KernelError> {
        self.heartbeat.beat()
    }

    pub fn counters(&self) -> Result<Counters, KernelError> {
        Counters::read(&self.counters)
    }

    /// Connections between SYN and accept right now. Walks the map: for tests and diagnosis.
    pub fn pending_count(&self) -> Result<usize, KernelError> {
        let mut count = 0;
        for key in self.pending.keys() {
            key.map_err(broken("PENDING"))?;
            count += 1;
        }
        Ok(count)
    }

    /// What the programs of a dead predecessor saw; known after [`Kernel::attach`].
    pub fn previous(&self) -> Option<&Previous> {
        self.previous.as_ref()
    }

    /// The stream of events; once. Needs a tokio runtime around it.
    pub fn take_events(&mut self) -> Result<KernelEvents, KernelError> {
        let events = self.events.take().ok_or(KernelError::Order("the kernel events are taken already"))?;
        let log = aya_log::EbpfLogger::init(&mut self.ebpf)
            .map_err(|error| KernelError::Map { map: "AYA_LOGS", reason: chain(&error) })?;
        KernelEvents::new(events, log)
    }

    /// What the kernel counted of governor's sockets that closed; once.
    pub fn take_closed_sockets(&mut self) -> Result<ClosedSockets, KernelError> {
        let ring =
            self.closed_sockets.take().ok_or(KernelError::Order("the sockets' totals are taken already"))?;
        Ok(ClosedSockets::new(ring))
    }

    /// The kernel's sums by listener, and by namespace for upstream sockets.
    pub fn totals(&self) -> Result<Vec<ListenerTotals>, KernelError> {
        totals::read(&self.totals)
    }

    /// What is attached where, in order of attachment.
    pub fn attached(&self) -> Vec<AttachedHook> {
        let links = self.links.iter();
        links
            .map(|held| AttachedHook {
                program: held.program,
                cgroup: held.place.clone(),
                pinned: matches!(held.link, HeldFd::Pinned(_)),
            })
            .collect()
    }

    /// How full the maps are whose size is a bound.
    pub fn map_levels(&self) -> Result<Vec<MapLevel>, KernelError> {
        let counters = self.counters()?;
        // Counted rather than walked: they are large, and change with every connection.
        let gone = counters.handed_over + counters.not_arrived + counters.pending_gone;
        let pending = counters.pending.saturating_sub(gone);
        let upstreams = counters.inbound_own_noted.saturating_sub(counters.inbound_own_gone);
        let level = |map, entries: usize, capacity| MapLevel { map, entries: entries as u64, capacity };
        Ok(vec![
            level("RULES", self.rule_map.keys().count(), limits::RULES_COUNT_MAX),
            level("LISTENERS", self.listeners.keys().count(), limits::LISTENERS_COUNT_MAX),
            level("LISTENER_COUNTS", self.listener_counts.keys().count(), limits::LISTENER_GROUPS_COUNT_MAX),
            level("GUARDED_PORTS", self.guarded_ports.keys().count(), limits::GUARDED_PORTS_COUNT_MAX),
            level("TOTALS", self.totals.keys().count(), limits::LISTENERS_COUNT_MAX),
            MapLevel { map: "PENDING", entries: pending, capacity: limits::PENDING_COUNT_MAX },
            level("INBOUND_PORTS", self.inbound_ports.keys().count(), limits::INBOUND_PORTS_COUNT_MAX),
            level(
                "INBOUND_LISTENERS",
                self.inbound_listeners.keys().count(),
                limits::LISTENER_GROUPS_COUNT_MAX,
            ),
            MapLevel { map: "UPSTREAMS", entries: upstreams, capacity: limits::UPSTREAMS_COUNT_MAX },
            level("CLIENTS", self.clients.announced(), limits::CLIENTS_COUNT_MAX),
        ])
    }

    /// Programs that are not this load's, nor of the agent that takes over from this one or that this one took over from,
    /// and run for sockets of the captured cgroups, of governor's own, of the clients and servers of captured ports, or where
    /// a connection arrives in a namespace that governor steers. With each the cgroup or the namespace.
    pub fn foreign(&self) -> Result<Vec<(&'static str, u32, PathBuf)>, KernelError> {
        let mut own: HashSet<u32> = self
            .ebpf
            .programs()
            .filter_map(|(_, program)| program.info().ok())
            .map(|info| info.id())
            .collect();
        own.extend(self.pins.iter().flat_map(PinDirectory::programs));
        let mut found: Vec<(&'static str, u32, PathBuf)> = Vec::new();
        let mut note = |hook, id, place: &Path| {
            if !found.iter().any(|(known, known_id, _)| (*known, *known_id) == (hook, id)) {
                found.push((hook, id, place.to_owned()));
            }
        };
        let named = [&self.rule_cgroups, &self.own_cgroups, &self.client_cgroups].into_iter().flatten();
        let servers = self.links.iter().filter(|held| held.of_server).map(|held| held.place.as_path());
        let places: BTreeSet<&Path> = named.map(|cgroup| cgroup.path.as_path()).chain(servers).collect();
        for place in places {
            // One that was removed has no sockets.
            for (hook, id) in inspect::foreign_on(place, &own).unwrap_or_default() {
                note(hook, id, place);
            }
        }
        for (namespace, place) in self.steered_namespaces() {
            for id in inspect::foreign_in(namespace.as_fd(), &own).unwrap_or_default() {
                note(inspect::SK_LOOKUP_NAME, id, &place);
            }
        }
        Ok(found)
    }

    pub(super) fn write_settings(
        &mut self,
        heartbeat_timeout_ns: u64,
        debug_log: bool,
    ) -> Result<(), KernelError> {
        let settings =
            Settings { heartbeat_timeout_ns, debug_log: debug_log.into(), mark: self.exemption.value() };
        self.settings.set(0, settings, 0).map_err(broken("SETTINGS"))
    }

    fn write_rules(&mut self, options: &KernelOptions) -> Result<(), KernelError> {
        for rule in &options.rules {
            let cgroup = Cgroup::open(&rule.cgroup)?;
            let (key, value) = (RuleKey::new(cgroup.id, rule.port), rule_value(rule));
            self.rule_map.insert(key, value, NO_EXIST).map_err(|error| {
                if is_exists(&error) {
                    return KernelError::DuplicateRule { port: rule.port, cgroup: rule.cgroup.clone() };
                }
                broken("RULES")(error)
            })?;
            if !self.rule_cgroups.iter().any(|known| known.id == cgroup.id) {
                self.rule_cgroups.push(cgroup);
            }
        }
        Ok(())
    }
}

pub(super) fn rule_value(rule: &CaptureRule) -> Rule {
    Rule { flags: if rule.fail_open { Rule::FAIL_OPEN } else { 0 } }
}

/// One program on one cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedHook {
    pub program: &'static str,
    pub cgroup: PathBuf,
    /// It outlives the agent.
    pub pinned: bool,
}

/// How full a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLevel {
    pub map: &'static str,
    pub entries: u64,
    pub capacity: u32,
}

/// The programs that are loaded as `cgroup/sock_addr`.
pub(super) const SOCKET_ADDRESS_PROGRAMS: [&str; 6] =
    ["getpeername4", "getpeername6", "bind4", "bind6", "connect4", "connect6"];
pub(super) const HAND_OVER: &str = "hand_over";
pub(super) const CREATE_SOCKET: &str = "create_socket";
pub(super) const SHOW_CLIENT: &str = "show_client";
pub(super) const STEER: &str = "steer";

/// Unit tests run on emulated machines too, where a client may take longer to start than an agent may be silent.
const HEARTBEAT_TIMEOUT_NS: u64 = if cfg!(test) { 600_000_000_000 } else { HEARTBEAT_TIMEOUT_NS_DEFAULT };
pub(super) const ANNOUNCE_NAMESPACE: &str = "announce_namespace";

/// `BPF_NOEXIST`.
const NO_EXIST: u64 = 1;
/// Listeners of one family in one namespace.
const SLOTS_MAX: u32 = 63;

pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/governor.bpf.o"));

pub(super) fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| KernelError::Program {
        program: name,
        reason: "it is not in the object".to_owned(),
    })?;
    program.try_into().map_err(|error: ProgramError| program_error(name, &error))
}

pub(super) fn map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, KernelError> {
    ebpf.take_map(name)
        .ok_or_else(|| KernelError::Map { map: name, reason: "it is not in the object".to_owned() })
}

pub(super) fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, KernelError> {
    M::try_from(map(ebpf, name)?).map_err(broken(name))
}

/// Another number for each load.
fn mark() -> Result<u32, KernelError> {
    Ok((super::maps::monotonic_ns()? >> 10) as u32 | 1)
}

/// Refused by [`NO_EXIST`].
fn is_exists(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(failed) if failed.io_error.raw_os_error() == Some(libc::EEXIST))
}

/// An entry that is gone already is as good as removed.
pub(super) fn removed(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(failed)) if failed.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

pub(super) fn object_error(error: &EbpfError) -> KernelError {
    if is_permission(error) {
        return not_permitted("load the kernel programs");
    }
    KernelError::Object { reason: chain(error) }
}

pub(super) fn program_error(program: &'static str, error: &ProgramError) -> KernelError {
    match error {
        ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EPERM) => {
            not_permitted(&format!("load program {program}"))
        }
        ProgramError::LoadError { io_error, verifier_log } => KernelError::Program {
            program,
            reason: format!(
                "{io_error}; the verifier's last lines:\n{}",
                log_tail(&verifier_log.to_string())
            ),
        },
        error => KernelError::Program { program, reason: chain(error) },
    }
}

pub(super) fn not_permitted(action: &str) -> KernelError {
    let missing = probe::missing_capabilities();
    let missing = if missing.is_empty() {
        "a right that the kernel does not name".to_owned()
    } else {
        missing.join(", ")
    };
    KernelError::NotPermitted { action: action.to_owned(), missing }
}

/// The address of a socket that the programs may send connections to.
pub(super) fn listening_address(listener: BorrowedFd<'_>) -> Result<SocketAddr, KernelError> {
    let refuse = |reason: &str| KernelError::Listener { reason: reason.to_owned() };
    let socket = socket2::SockRef::from(&listener);
    let address: SocketAddr = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .ok_or_else(|| refuse("not a TCP socket"))?;
    if !getsockopt(&listener, sockopt::AcceptConn).unwrap_or(false) {
        return Err(refuse("it does not listen"));
    }
    if !address.ip().is_loopback() {
        return Err(refuse("it listens on an address other than loopback, which others could reach"));
    }
    Ok(address)
}

/// The number by which the kernel programs know the network namespace of a socket. Never used again while the
/// host is up.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> Result<u64, KernelError> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the buffer is eight bytes, as `length` says, and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(KernelError::System {
            action: "asking for the network namespace of a socket (Linux 5.14)",
            source: io::Error::last_os_error(),
        });
    }
    Ok(cookie)
}

/// asm-generic/socket.h; not in libc.
const SO_NETNS_COOKIE: libc::c_int = 71;
