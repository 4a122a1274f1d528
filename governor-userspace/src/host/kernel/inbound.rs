//! Capture where connections arrive: ports of servers on this host, the agent's listeners for them, and the client that
//! the server is shown.
//!
//! Invariant: the server sees the client, or the agent does not use the connection: what the server decides by address
//! (`pg_hba.conf`) must never be decided by the agent's own. [`Announced::is_taken`] says which it is.

use super::KernelError;
use super::attach::{attach_one, hold};
use super::cgroup::Cgroup;
use super::load::{Kernel, SHOW_CLIENT, STEER, listening_address, netns_cookie, program_mut};
use super::maps::broken;
use aya::maps::{HashMap, Map, MapData, MapError};
use aya::programs::SkLookup;
use aya::programs::links::FdLink;
use governor_common::capture::{InboundPort, ListenerKey, Rule};
use governor_common::flow::{Address, FAMILY_V4, FAMILY_V6, ShownClient, UpstreamEnd};
use parking_lot::Mutex;
use std::fmt;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A port that a server of this host listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InboundRule {
    pub port: u16,
    /// Without a living agent: `true` lets connections reach the server, `false` refuses them.
    pub fail_open: bool,
}

/// Capture of arriving connections: in the network namespace of the thread that attaches, and in those of
/// [`Kernel::steer_in`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboundOptions {
    /// More can be added later: [`Kernel::capture_port`].
    pub rules: Vec<InboundRule>,
    /// cgroups whose processes are known when they connect to such a port from this host.
    pub clients: Vec<PathBuf>,
    /// Nothing is steered in the thread's own namespace.
    pub elsewhere_only: bool,
}

impl Kernel {
    /// Lets the programs steer arriving connections of the socket's own network namespace and address family to it,
    /// for as long as it listens. It must listen on a loopback address, so that nobody reaches it by its own port.
    pub fn serve_inbound(&mut self, listener: BorrowedFd<'_>) -> Result<(), KernelError> {
        let address = listening_address(listener)?;
        let netns_cookie = netns_cookie(listener)?;
        let key = InboundPort::new(netns_cookie, address.port());
        if self.inbound_ports.get(&key, 0).is_ok() {
            return Err(KernelError::ListenerPortCaptured { port: address.port() });
        }
        // Before anything arrives: what is accepted has it from its first moment on.
        self.arrived.insert(&listener, 1, 0).map_err(broken("ARRIVED"))?;
        let family = u32::from(if address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 });
        let key = ListenerKey { netns_cookie, family, slot: 0 };
        self.inbound_listeners.insert(key, listener, 0).map_err(broken("INBOUND_LISTENERS"))
    }

    /// Captures one more port, from now on: of governor's own network namespace, or of the one with this cookie. One that is
    /// captured already keeps its rule.
    pub fn capture_port(&mut self, namespace: Option<u64>, rule: InboundRule) -> Result<(), KernelError> {
        let cookie = namespace.map_or_else(|| self.own_netns_cookie(), Ok)?;
        let key = InboundPort::new(cookie, rule.port);
        let flags = if rule.fail_open { Rule::FAIL_OPEN } else { 0 };
        match self.inbound_ports.insert(key, Rule { flags }, NO_EXIST) {
            Err(MapError::SyscallError(ref failed))
                if failed.io_error.raw_os_error() == Some(libc::EEXIST) =>
            {
                Ok(())
            }
            result => result.map_err(broken("INBOUND_PORTS")),
        }
    }

    /// From now on a server whose sockets were made in this cgroup sees the clients of the connections that the agent
    /// makes to it. Answers whether anything had to be done; before the programs are attached
    /// nothing is.
    pub fn show_clients_to(&mut self, server: &Path) -> Result<bool, KernelError> {
        if !self.attached {
            return Ok(false);
        }
        let cgroup = Cgroup::open(server)?;
        self.forget_removed_cgroups();
        let mut changed = false;
        for program in ["getpeername4", "getpeername6", SHOW_CLIENT] {
            let covered = self.links.iter().any(|held| {
                held.program == program && held.is_in_force() && cgroup.path.starts_with(&held.place)
            });
            if covered {
                continue;
            }
            let attached = attach_one(&mut self.ebpf, program, &cgroup)?;
            hold(&mut self.links, self.pins.as_ref(), program, &cgroup.path, cgroup.id, attached)?;
            if let Some(held) = self.links.last_mut() {
                held.of_server = true;
            }
            changed = true;
        }
        Ok(changed)
    }

    /// A handle to announce clients to servers.
    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// The agent's open connections to captured servers, and clients that no server has taken yet. Walks the maps: for
    /// tests and diagnosis.
    pub fn upstreams_count(&self) -> Result<(usize, usize), KernelError> {
        let mut upstreams = 0;
        for key in self.upstreams.keys() {
            key.map_err(broken("UPSTREAMS"))?;
            upstreams += 1;
        }
        Ok((upstreams, self.clients.count()?))
    }

    /// Before anything is attached: rules, and the namespace that `steer` will be attached to.
    pub(super) fn write_inbound(&mut self, options: &InboundOptions) -> Result<(), KernelError> {
        self.steers_here = !options.elsewhere_only;
        let cookie = self.own_netns_cookie()?;
        self.inbound_namespace.set(0, cookie, 0).map_err(broken("INBOUND_NAMESPACE"))?;
        for rule in &options.rules {
            self.capture_port(None, *rule)?;
        }
        for path in &options.clients {
            self.client_cgroups.push(Cgroup::open(path)?);
        }
        Ok(())
    }

    /// The last program to be attached: from its return on, captured ports are steered.
    pub(super) fn attach_steer(&mut self) -> Result<(), KernelError> {
        let place = PathBuf::from(OWN_NAMESPACE);
        let namespace = File::open(&place)
            .map_err(|source| KernelError::System { action: "opening the own network namespace", source })?;
        let program: &mut SkLookup = program_mut(&mut self.ebpf, STEER)?;
        let attached = program.attach(&namespace).and_then(|id| program.take_link(id)).map(FdLink::from);
        let cookie = self.own_netns_cookie()?;
        hold(&mut self.links, self.pins.as_ref(), STEER, &place, cookie, attached)
    }

    /// Whether it is on governor's own network namespace.
    pub(super) fn is_steered_here(&self) -> bool {
        self.links.iter().any(|held| held.program == STEER && held.place == Path::new(OWN_NAMESPACE))
    }

    /// As [`Kernel::forget_listeners`]; connections of the agent's own still pass.
    pub(super) fn forget_inbound_listeners(&mut self) -> Result<(), KernelError> {
        let keys: Vec<ListenerKey> =
            self.inbound_listeners.keys().collect::<Result<_, _>>().map_err(broken("INBOUND_LISTENERS"))?;
        for key in keys {
            match self.inbound_listeners.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(broken("INBOUND_LISTENERS")(error)),
            }
        }
        Ok(())
    }

    fn own_netns_cookie(&self) -> Result<u64, KernelError> {
        let unused = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .map_err(|source| KernelError::System { action: "making a socket", source })?;
        netns_cookie(unused.as_fd())
    }

    /// The kernel has taken the programs off a server's cgroup that was removed; its links are of no more use.
    fn forget_removed_cgroups(&mut self) {
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.links)
            .into_iter()
            .partition(|held| held.of_server && !held.is_in_force());
        self.links = kept;
        for held in gone {
            held.release();
        }
    }
}

/// Tells the kernel side in whose name the agent connects to a server of this host.
#[derive(Clone)]
pub struct Clients {
    /// Connections that are being made to servers: an entry lives no longer than they do.
    announced: Arc<AtomicUsize>,
    entries: Arc<Mutex<HashMap<MapData, UpstreamEnd, ShownClient>>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

/// A client that was announced. Forgotten by the kernel side when this goes, unless the server has taken it.
#[derive(Debug)]
pub struct Announced {
    clients: Clients,
    end: UpstreamEnd,
    /// Keeps the port, and so the entry, this connection's own.
    _upstream: OwnedFd,
}

impl Clients {
    pub(super) fn new(map: Map) -> Result<Self, KernelError> {
        let entries = HashMap::try_from(map).map_err(broken("CLIENTS"))?;
        Ok(Self { announced: Arc::default(), entries: Arc::new(Mutex::new(entries)) })
    }

    /// How many clients are announced now, at most: some may have been taken already.
    pub(super) fn announced(&self) -> usize {
        self.announced.load(Ordering::Relaxed)
    }

    /// The server that `upstream` connects to will be shown `client` as its peer. `upstream` must be bound, and not yet
    /// connected; keep what is returned until it is.
    pub fn announce(&self, upstream: BorrowedFd<'_>, client: SocketAddr) -> Result<Announced, KernelError> {
        let source = socket2::SockRef::from(&upstream)
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .filter(|address| address.port() != 0)
            .ok_or(KernelError::Order("a client is announced for a socket that is not bound"))?;
        let upstream_kept = upstream
            .try_clone_to_owned()
            .map_err(|source| KernelError::System { action: "keeping a socket", source })?;
        let end = UpstreamEnd::new(netns_cookie(upstream)?, words(source.ip()), source.port());
        let client = ShownClient { address: words(client.ip()), port: client.port(), reserved: 0 };
        self.entries.lock().insert(end, client, 0).map_err(broken("CLIENTS"))?;
        self.announced.fetch_add(1, Ordering::Relaxed);
        Ok(Announced { clients: self.clone(), end, _upstream: upstream_kept })
    }

    /// Whether the peer of this accepted socket is the agent itself, on its way to a server: it was steered back because
    /// the kernel side could not note it.
    pub fn is_own(&self, accepted: BorrowedFd<'_>, peer: SocketAddr) -> Result<bool, KernelError> {
        let end = UpstreamEnd::new(netns_cookie(accepted)?, words(peer.ip()), peer.port());
        self.has(&end)
    }

    fn has(&self, end: &UpstreamEnd) -> Result<bool, KernelError> {
        match self.entries.lock().get(end, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(broken("CLIENTS")(error)),
        }
    }

    fn count(&self) -> Result<usize, KernelError> {
        let entries = self.entries.lock();
        let mut count = 0;
        for key in entries.keys() {
            key.map_err(broken("CLIENTS"))?;
            count += 1;
        }
        Ok(count)
    }
}

impl Announced {
    /// The server's end of the connection has the client: whatever the server asks, it sees that. Comes with the end of
    /// the handshake, which may be a moment after `connect()` returns.
    pub fn is_taken(&self) -> Result<bool, KernelError> {
        self.clients.has(&self.end).map(|waiting| !waiting)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.clients.announced.fetch_sub(1, Ordering::Relaxed);
        // Mostly absent: the server has taken it.
        let _absent = self.clients.entries.lock().remove(&self.end);
    }
}

/// As the programs write addresses.
fn words(address: IpAddr) -> Address {
    let bytes = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(chunk.try_into().unwrap_or_default());
    }
    words
}

pub(super) const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";
/// `BPF_NOEXIST`.
const NO_EXIST: u64 = 1;
