//! Connections that arrive for a server of this host: who they are, and the way to the server.
//!
//! The server has to see the client as its peer. Where it would not, the connection is not used: what it decides by
//! address would be decided by governor's own.

use super::PortRule;
use super::account::Account;
use super::arrival::{Arrival, Route, Who, of_process};
use super::socket::Socket;
use super::worker::Shared;
use crate::engine::audit::Side;
use crate::engine::model::Endpoint;
use crate::host::kernel::{Announced, Clients};
use crate::host::namespaces::{self, Namespace};
use crate::host::telemetry::RefusedReason;
use parking_lot::RwLock;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// Ports of captured servers, as far as they are known, by network namespace. They are added while governor runs, and stay
/// for as long as their namespace does.
#[derive(Debug, Default)]
pub struct InboundPorts {
    own: RwLock<Vec<PortRule>>,
    /// Those of other namespaces, by their cookie.
    others: RwLock<HashMap<u64, PortsOf>>,
    /// Of governor's own namespace: they lead to servers in others.
    published: BTreeSet<u16>,
}

/// Of one namespace beside governor's own.
#[derive(Debug, Default)]
struct PortsOf {
    rules: Vec<PortRule>,
    /// Its addresses, as they were when somebody looked last.
    addresses: Vec<IpAddr>,
}

impl InboundPorts {
    /// None yet but those that are published.
    pub fn new(published: BTreeSet<u16>) -> Self {
        Self { published, ..Self::default() }
    }

    /// `namespace` is a cookie; `None` governor's own.
    pub fn rule(&self, namespace: Option<u64>, port: u16) -> Option<PortRule> {
        let of = |rules: &[PortRule]| rules.iter().find(|rule| rule.port == port).copied();
        match namespace {
            None => of(&self.own.read()),
            Some(cookie) => self.others.read().get(&cookie).and_then(|known| of(&known.rules)),
        }
    }

    /// Those that are captured now.
    pub fn all(&self, namespace: Option<u64>) -> Vec<u16> {
        let of = |rules: &[PortRule]| rules.iter().map(|rule| rule.port).collect();
        match namespace {
            None => of(&self.own.read()),
            Some(cookie) => self.others.read().get(&cookie).map(|known| of(&known.rules)).unwrap_or_default(),
        }
    }

    /// Those of all namespaces, each once.
    pub fn everywhere(&self) -> BTreeSet<u16> {
        let others = self.others.read();
        let others = others.values().flat_map(|known| known.rules.iter());
        self.own.read().iter().chain(others).map(|rule| rule.port).collect()
    }

    /// Answers whether it is new.
    pub fn add(&self, namespace: Option<u64>, rule: PortRule) -> bool {
        let add = |rules: &mut Vec<PortRule>| {
            let is_new = rules.iter().all(|known| known.port != rule.port);
            if is_new {
                rules.push(rule);
            }
            is_new
        };
        match namespace {
            None => add(&mut self.own.write()),
            Some(cookie) => add(&mut self.others.write().entry(cookie).or_default().rules),
        }
    }

    /// What the interfaces of a namespace have now.
    pub fn set_addresses(&self, cookie: u64, addresses: Vec<IpAddr>) {
        self.others.write().entry(cookie).or_default().addresses = addresses;
    }

    /// The namespace is not served any more.
    pub fn forget(&self, cookie: u64) {
        self.others.write().remove(&cookie);
    }

    /// Whether this is a published port of this host, for somebody in the namespace `from`.
    pub(super) fn is_published(&self, from: Option<u64>, address: IpAddr, port: u16) -> bool {
        // Loopback is each namespace's own.
        let is_here = || if address.is_loopback() { from.is_none() } else { is_of_this_host(address) };
        self.published.contains(&port) && is_here()
    }

    /// Whether a server is captured at this address, which is not loopback, in some namespace but `from`. As good as the last
    /// look at the namespaces' addresses.
    pub(super) fn has_elsewhere(&self, from: Option<u64>, address: IpAddr, port: u16) -> bool {
        let named = |rules: &[PortRule]| rules.iter().any(|rule| rule.port == port);
        let there = |(cookie, known): (&u64, &PortsOf)| {
            from != Some(*cookie) && named(&known.rules) && known.addresses.contains(&address)
        };
        from.is_some() && self.rule(None, port).is_some() && is_of_this_host(address)
            || self.others.read().iter().any(there)
    }
}

/// What it takes to serve connections that arrive for servers of this host.
pub struct Inbound {
    pub ports: Arc<InboundPorts>,
    pub clients: Clients,
    /// Looks for servers whose sockets are in a cgroup that was not known.
    /// Whoever connects may not do that itself: it asks, and is told when it is done.
    pub look_again: mpsc::SyncSender<Ask>,
}

/// What whoever looks for servers is asked.
#[derive(Debug)]
pub enum Ask {
    /// To look now, and to tell when it is done.
    Look(oneshot::Sender<()>),
    /// A program has started in another network namespace: a server, perhaps.
    Started { inode: u64, pid: u32 },
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// The two ends that the client has chosen.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// Where the server is, if not in governor's own network namespace.
    pub namespace: Option<Arc<Namespace>>,
    /// The client's own.
    pub client: SocketAddr,
    /// The server's address that it dialled.
    pub server: SocketAddr,
}

pub(super) async fn arrived(
    socket: &Socket,
    namespace: Option<&Arc<Namespace>>,
    shared: &Shared,
) -> Result<Arrival, RefusedReason> {
    let inbound = shared.inbound.get().ok_or(RefusedReason::NoOrigin)?;
    let ends = socket.tcp().and_then(|tcp| {
        let (client, server) = (tcp.peer_addr().ok()?, tcp.local_addr().ok()?);
        Some(Ends { namespace: namespace.cloned(), client, server })
    });
    // A client that is gone again has no address any more.
    let ends = ends.ok_or(RefusedReason::NoOrigin)?;
    // Whoever dials governor's own port gets nothing.
    let rule = inbound.ports.rule(ends.cookie(), ends.server.port()).ok_or(RefusedReason::NoOrigin)?;
    let failed = |error| {
        tracing::error!(%error, "cannot read a connection's identity");
        RefusedReason::NoIdentity
    };
    if inbound.clients.is_own(socket.as_fd(), ends.client).map_err(failed)? {
        tracing::error!(
            "a connection of governor's own to a server came back: the kernel side could not note it (too many are open)"
        );
        return Err(RefusedReason::NoOrigin);
    }
    let address = ends.client.ip().to_canonical();
    let who = match shared.flows.flow(socket.as_fd()).map_err(failed)? {
        Some(flow) => of_process(flow),
        None if address == ends.server.ip().to_canonical() || is_local(shared, &ends, address).await => {
            tracing::warn!(
                client = %ends.client,
                server = %ends.server,
                "closed a connection from this host: its process is not known, as it is in no cgroup of capture.inbound.clients"
            );
            return Err(RefusedReason::NoIdentity);
        }
        None => Who::Remote(address),
    };
    let id = namespace.map(|namespace| namespace.id());
    let endpoint =
        |of: SocketAddr| Endpoint { namespace: id, ..Endpoint::tcp(of.ip().to_canonical(), of.port()) };
    Ok(Arrival {
        client: Some(endpoint(ends.client)),
        who,
        tls: rule.tls,
        route: Route {
            asker: None,
            own: Arc::default(),
            destination: endpoint(ends.server),
            namespace: namespace.cloned(),
            ends: Some(Box::new(ends)),
            unix: None,
            account: Account::new(shared.books.clone()),
        },
    })
}

impl Ends {
    /// Of the server's namespace.
    pub fn cookie(&self) -> Option<u64> {
        self.namespace.as_ref().map(|namespace| namespace.id().cookie)
    }
}

/// Whether the client's address is one of the server's own network namespace; in doubt it is.
async fn is_local(shared: &Shared, ends: &Ends, address: IpAddr) -> bool {
    match &ends.namespace {
        None => is_of_this_host(address),
        Some(_) if address.is_loopback() => true,
        Some(namespace) => {
            shared.entrance.within(namespace.clone(), move || is_of_this_host(address)).await.unwrap_or(true)
        }
    }
}

/// An address of the calling thread's network namespace; in doubt it is one. The kernel takes no packet from outside that claims to
/// be from here.
pub(super) fn is_of_this_host(address: IpAddr) -> bool {
    if address.is_loopback() {
        return true;
    }
    namespaces::addresses().is_none_or(|found| found.contains(&address))
}

/// A connection to the server that it takes for the client's.
pub(super) async fn dial(shared: &Shared, ends: &Ends, account: &Account) -> io::Result<Socket> {
    let inbound = shared.inbound.get().ok_or(io::ErrorKind::Unsupported)?;
    let deadline = Instant::now() + shared.connect_timeout;
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:?}", shared.connect_timeout));
    let (stream, announced) =
        timeout_at(deadline, connect(shared, inbound, ends, account)).await.map_err(late)??;
    if is_taken(&announced, Instant::now() + TAKEN_WITHIN).await? {
        return Ok(stream);
    }
    // A server that was started a moment ago, perhaps; or one whose queue is full. What its socket did not take over at
    // the handshake it takes no more.
    drop((announced, stream));
    let (asked, done) = oneshot::channel();
    if inbound.look_again.try_send(Ask::Look(asked)).is_ok() {
        // An agent that stops does not look any more.
        let _ = timeout_at(deadline, done).await;
    }
    let (stream, announced) =
        timeout_at(deadline, connect(shared, inbound, ends, account)).await.map_err(late)??;
    if is_taken(&announced, deadline).await? {
        return Ok(stream);
    }
    Err(io::Error::other(format!(
        "the server at {} would not see the client's address: no cgroup that it is known to run in is that of its socket",
        ends.server
    )))
}

async fn connect(
    shared: &Shared,
    inbound: &Inbound,
    ends: &Ends,
    account: &Account,
) -> io::Result<(Socket, Announced)> {
    let socket = match &ends.namespace {
        Some(namespace) => {
            let domain = socket2::Domain::for_address(ends.server);
            TcpSocket::from_std_stream(shared.entrance.socket(namespace.clone(), domain).await?.into())
        }
        None if ends.server.is_ipv4() => TcpSocket::new_v4()?,
        None => TcpSocket::new_v6()?,
    };
    shared.exemption.mark(socket.as_fd()).map_err(io::Error::other)?;
    let mut source = ends.server;
    source.set_port(0);
    socket.bind(source)?;
    let announced = inbound.clients.announce(socket.as_fd(), ends.client).map_err(io::Error::other)?;
    let stream = socket.connect(ends.server).await?;
    Ok((account.counted(Socket::Tcp(stream), Side::Database), announced))
}

/// Whether the server's end has taken the client over, which mostly it has when `connect()` returns.
async fn is_taken(announced: &Announced, deadline: Instant) -> io::Result<bool> {
    loop {
        if announced.is_taken().map_err(io::Error::other)? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(TAKEN_POLL).await;
    }
}

/// The last packet of the handshake takes microseconds on one host.
const TAKEN_WITHIN: Duration = Duration::from_millis(250);
const TAKEN_POLL: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::session::TlsMode;

    #[test]
    fn a_port_of_one_namespace_is_none_of_anothers() {
        let ports = InboundPorts::default();
        let rule = |port, tls| PortRule { port, tls };
        assert!(ports.add(Some(7), rule(5432, TlsMode::Decline)));
        assert!(!ports.add(Some(7), rule(5432, TlsMode::Refuse)), "the first rule stays");
        assert!(ports.add(Some(8), rule(5432, TlsMode::Refuse)));
        assert_eq!(ports.rule(None, 5432), None);
        assert_eq!(ports.rule(Some(7), 5432), Some(rule(5432, TlsMode::Decline)));
        assert_eq!(ports.rule(Some(8), 5432), Some(rule(5432, TlsMode::Refuse)));
        assert_eq!(ports.rule(Some(9), 5432), None);
        assert_eq!((ports.all(Some(7)), ports.all(None)), (vec![5432], vec![]));
        assert_eq!(ports.everywhere().into_iter().collect::<Vec<_>>(), [5432]);
        ports.forget(7);
        assert_eq!(ports.rule(Some(7), 5432), None);
    }

    #[test]
    fn only_a_captured_server_at_an_address_of_another_namespace_is_elsewhere() {
        let ports = InboundPorts::default();
        let (here, there) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        ports.add(Some(7), PortRule { port: 5432, tls: TlsMode::Terminate });
        ports.set_addresses(7, vec![there]);
        assert!(ports.has_elsewhere(None, there, 5432) && ports.has_elsewhere(Some(8), there, 5432));
        assert!(!ports.has_elsewhere(Some(7), there, 5432), "it is its own");
        assert!(!ports.has_elsewhere(None, there, 5433) && !ports.has_elsewhere(None, here, 5432));
        ports.forget(7);
        assert!(!ports.has_elsewhere(None, there, 5432));
    }

    #[test]
    fn a_published_port_is_one_of_this_hosts_addresses() {
        let ports = InboundPorts::new([15432].into());
        let (loopback, elsewhere) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        assert!(ports.is_published(None, loopback, 15432) && !ports.is_published(None, loopback, 5432));
        assert!(!ports.is_published(Some(7), loopback, 15432), "a container's loopback is its own");
        assert!(!ports.is_published(None, elsewhere, 15432));
        assert!(ports.all(None).is_empty() && ports.rule(None, 15432).is_none(), "nothing arrives there");
    }
}
