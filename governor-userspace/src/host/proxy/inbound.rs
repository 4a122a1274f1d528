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
use crate::host::telemetry::RefusedReason;
use parking_lot::RwLock;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

/// Ports of captured servers, as far as they are known. Ports are added while governor runs, and stay.
#[derive(Debug, Default)]
pub struct InboundPorts(RwLock<Vec<PortRule>>);

impl InboundPorts {
    pub fn rule(&self, port: u16) -> Option<PortRule> {
        self.0.read().iter().find(|rule| rule.port == port).copied()
    }

    /// Those that are captured now.
    pub fn all(&self) -> Vec<u16> {
        self.0.read().iter().map(|rule| rule.port).collect()
    }

    /// Answers whether it is new.
    pub fn add(&self, rule: PortRule) -> bool {
        let mut rules = self.0.write();
        let is_new = rules.iter().all(|known| known.port != rule.port);
        if is_new {
            rules.push(rule);
        }
        is_new
    }
}

/// What it takes to serve connections that arrive for servers of this host.
pub struct Inbound {
    pub ports: Arc<InboundPorts>,
    pub clients: Clients,
    /// Looks for servers whose sockets are in a cgroup that was not known.
    /// Whoever connects may not do that itself: it asks, and is told when it is done.
    pub look_again: mpsc::Sender<oneshot::Sender<()>>,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// The two ends that the client has chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The client's own.
    pub client: SocketAddr,
    /// The server's address that it dialled.
    pub server: SocketAddr,
}

pub(super) fn arrived(socket: &Socket, shared: &Shared) -> Result<Arrival, RefusedReason> {
    let inbound = shared.inbound.get().ok_or(RefusedReason::NoOrigin)?;
    let ends = socket
        .tcp()
        .and_then(|tcp| Some(Ends { client: tcp.peer_addr().ok()?, server: tcp.local_addr().ok()? }));
    // A client that is gone again has no address any more.
    let ends = ends.ok_or(RefusedReason::NoOrigin)?;
    // Whoever dials governor's own port gets nothing.
    let rule = inbound.ports.rule(ends.server.port()).ok_or(RefusedReason::NoOrigin)?;
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
        None if address == ends.server.ip().to_canonical() || is_of_this_host(address) => {
            tracing::warn!(
                client = %ends.client,
                server = %ends.server,
                "closed a connection from this host: its process is not known, as it is in no cgroup of capture.inbound.clients"
            );
            return Err(RefusedReason::NoIdentity);
        }
        None => Who::Remote(address),
    };
    let endpoint = |of: SocketAddr| Endpoint::tcp(of.ip().to_canonical(), of.port());
    Ok(Arrival {
        client: Some(endpoint(ends.client)),
        who,
        tls: rule.tls,
        route: Route {
            asker: None,
            own: Arc::default(),
            destination: endpoint(ends.server),
            namespace: None,
            ends: Some(ends),
            unix: None,
            account: Account::new(shared.books.clone()),
        },
    })
}

/// An address of governor's network namespace; in doubt it is one. The kernel takes no packet from outside that claims to
/// be from here.
pub(super) fn is_of_this_host(address: IpAddr) -> bool {
    if address.is_loopback() {
        return true;
    }
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return true };
    interfaces.filter_map(|interface| interface.address).any(|found| {
        let v4 = found.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = found.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        v4.or(v6) == Some(address)
    })
}

/// A connection to the server that it takes for the client's.
pub(super) async fn dial(shared: &Shared, ends: Ends, account: &Account) -> io::Result<Socket> {
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
    if inbound.look_again.send(asked).is_ok() {
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
    ends: Ends,
    account: &Account,
) -> io::Result<(Socket, Announced)> {
    let socket = if ends.server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
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
