//! How a connection came to governor: through which door, made by whom, and which way its database is.
//!
//! A door is a listener and what its connections have in common. What the relay needs to know of a connection
//! before its first byte is the same behind every door.

use super::account::Account;
use super::hello::Asker;
use super::inbound::{self, Ends};
use super::socket::Socket;
use super::worker::Shared;
use crate::engine::model::Endpoint;
use crate::engine::session::TlsMode;
use crate::host::identity::Attested;
use crate::host::kernel::Flow;
use crate::host::namespaces::Namespace;
use crate::host::telemetry::RefusedReason;
use crate::host::unix::{Ids, Peer, Server};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

/// What the connections of one listener have in common.
#[derive(Clone, Debug)]
pub enum Door {
    /// The connect hooks send connections here: origin and identity lie on the accepted socket. With the
    /// network namespace that it listens in, where that is not governor's own.
    Redirected(Option<Arc<Namespace>>),
    /// `sk_lookup` steers here what arrives for a server of this host: both ends are the client's own choice.
    /// With the network namespace of the server, where that is not governor's own.
    Inbound(Option<Arc<Namespace>>),
    /// At the path of a server's unix socket.
    Unix(Arc<Server>),
}

/// Who made a connection.
#[derive(Debug)]
pub(super) enum Who {
    Process(Attested),
    /// A client on another host, by its address.
    Remote(IpAddr),
}

impl Door {
    /// Whether a connection that came here and is refused is one of those that the books have to account for: the kernel
    /// counts all that arrive for a server of this host, and of redirected ones those with a flow.
    pub(super) fn counts(&self, socket: &Socket, shared: &Shared) -> bool {
        match self {
            // In doubt it is counted.
            Self::Redirected(_) => shared.flows.flow(socket.as_fd()).map_or(true, |flow| flow.is_some()),
            Self::Inbound(_) | Self::Unix(_) => true,
        }
    }
}

/// A connection before its first byte.
#[derive(Debug)]
pub(super) struct Arrival {
    pub who: Who,
    /// The client's end.
    pub client: Option<Endpoint>,
    /// What its rule says of TLS.
    pub tls: TlsMode,
    pub route: Route,
}

/// Which way the database of a connection is: for its session, and for what goes with it (a second handshake,
/// cancel requests).
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub destination: Endpoint,
    /// Where it is dialled from, so that the client's own addresses, routes and loopback hold; `None` is
    /// governor's own network namespace.
    pub namespace: Option<Arc<Namespace>>,
    /// To a server of this host that has to see the client.
    pub ends: Option<Box<Ends>>,
    /// Whom a hello on this way speaks for; `None` where none is said.
    pub asker: Option<Arc<Asker>>,
    /// The same as `ends`, once it was found out that what a container dials is a captured server of this host.
    pub own: Arc<OnceLock<Ends>>,
    /// The server behind a unix socket, and as whom it is to see the connection.
    pub unix: Option<(Arc<Server>, Ids)>,
    /// Accounts for every connection that is made this way.
    pub account: Account,
}

impl Route {
    /// The way to a server that may be another host's.
    pub fn may_greet(&self) -> bool {
        self.ends().is_none() && self.unix.is_none()
    }

    /// To a server of this host that has to see the client, as far as that is known.
    pub fn ends(&self) -> Option<&Ends> {
        self.ends.as_deref().or_else(|| self.own.get())
    }

    /// Where the server is, if not in governor's own network namespace.
    pub fn server_namespace(&self) -> Option<Arc<Namespace>> {
        self.ends().map_or_else(|| self.namespace.clone(), |ends| ends.namespace.clone())
    }
}

impl Arrival {
    /// Who is there. `Err` where the connection does not belong here, which is a reason to close it.
    pub async fn of(
        socket: &Socket,
        peer: Option<SocketAddr>,
        door: &Door,
        shared: &Shared,
    ) -> Result<Self, RefusedReason> {
        match door {
            Door::Redirected(namespace) => redirected(socket, peer, shared, namespace.clone()),
            // Over in a moment: boxed, its room is not in every connection's task.
            Door::Inbound(namespace) => Box::pin(inbound::arrived(socket, namespace.as_ref(), shared)).await,
            Door::Unix(server) => unix(socket, server, shared),
        }
    }
}

fn redirected(
    socket: &Socket,
    peer: Option<SocketAddr>,
    shared: &Shared,
    namespace: Option<Arc<Namespace>>,
) -> Result<Arrival, RefusedReason> {
    let flow = match shared.flows.flow(socket.as_fd()) {
        Ok(Some(flow)) => flow,
        // Nobody was redirected here: whoever dials governor's own port gets nothing.
        Ok(None) => return Err(RefusedReason::NoOrigin),
        Err(error) => {
            tracing::error!(%error, "cannot read a connection's identity");
            return Err(RefusedReason::NoIdentity);
        }
    };
    let endpoint = |address: SocketAddr| Endpoint {
        namespace: namespace.as_ref().map(|namespace| namespace.id()),
        ..Endpoint::tcp(address.ip().to_canonical(), address.port())
    };
    let rule = shared.ports.iter().find(|rule| rule.port == flow.original.port());
    Ok(Arrival {
        tls: rule.map_or(TlsMode::Refuse, |rule| rule.tls),
        client: peer.map(endpoint),
        route: Route {
            asker: None,
            own: Arc::default(),
            destination: endpoint(flow.original),
            namespace: namespace.clone(),
            ends: None,
            unix: None,
            account: Account::new(shared.books.clone()),
        },
        who: of_process(flow),
    })
}

pub(super) fn of_process(flow: Flow) -> Who {
    Who::Process(Attested {
        tgid: flow.tgid,
        uid: flow.uid,
        gid: flow.gid,
        command: flow.command,
        cgroup_id: flow.cgroup_id,
        connected_ns: flow.connected_ns,
    })
}

fn unix(socket: &Socket, server: &Arc<Server>, shared: &Shared) -> Result<Arrival, RefusedReason> {
    let peer = Peer::of(socket.as_fd()).map_err(|error| {
        tracing::error!(%error, "cannot read who is at the other end of a unix socket");
        RefusedReason::NoIdentity
    })?;
    let Ids { uid, gid } = peer.ids;
    let attested = shared.identifier.attest_peer(peer.pid, uid, gid, || peer.has_ended());
    Ok(Arrival {
        who: Who::Process(attested),
        client: None,
        // A server has no TLS on its unix socket: who asks gets the server's own answer.
        tls: TlsMode::Terminate,
        route: Route {
            asker: None,
            own: Arc::default(),
            namespace: None,
            destination: server.endpoint(),
            unix: Some((server.clone(), peer.ids)),
            ends: None,
            account: Account::new(shared.books.clone()),
        },
    })
}
