//! How a connection came to governor: through which door, made by whom, and which way its database is.
//!
//! A door is a listener and what its connections have in common. What the relay needs to know of a connection
//! before its first byte is the same behind every door.

use super::account::Account;
use super::socket::Socket;
use super::worker::Shared;
use crate::engine::model::Endpoint;
use crate::host::identity::Attested;
use crate::host::telemetry::RefusedReason;
use crate::host::unix::{Ids, Peer, Server};
use std::os::fd::AsFd;
use std::sync::Arc;

/// What the connections of one listener have in common.
#[derive(Clone, Debug)]
pub enum Door {
    /// The connect hooks send connections here: origin and identity lie on the accepted socket.
    Redirected,
    /// At the path of a server's unix socket.
    Unix(Arc<Server>),
}

impl Door {
    /// The kernel counts the sockets that were accepted here, so governor must too.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            Self::Redirected => true,
            // The kernel keeps no count of unix sockets.
            Self::Unix(_) => false,
        }
    }
}

/// A connection before its first byte.
#[derive(Debug)]
pub(super) struct Arrival {
    pub attested: Attested,
    /// The client's end.
    pub client: Option<Endpoint>,
    pub route: Route,
}

/// Which way the database of a connection is: for its session, and for what goes with it (a second handshake,
/// cancel requests).
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub destination: Endpoint,
    /// The server behind a unix socket, and as whom it is to see the connection.
    pub unix: Option<(Arc<Server>, Ids)>,
    /// Accounts for every connection that is made this way.
    pub account: Account,
}

impl Arrival {
    /// Who is there. `Err` where the connection does not belong here, which is a reason to close it.
    pub fn of(socket: &Socket, door: &Door, shared: &Shared) -> Result<Self, RefusedReason> {
        match door {
            Door::Redirected => redirected(socket, shared),
            Door::Unix(server) => unix(socket, server, shared),
        }
    }
}

fn redirected(socket: &Socket, shared: &Shared) -> Result<Arrival, RefusedReason> {
    let flow = match shared.flows.flow(socket.as_fd()) {
        Ok(Some(flow)) => flow,
        // Nobody was redirected here: whoever dials governor's own port gets nothing.
        Ok(None) => return Err(RefusedReason::NoOrigin),
        Err(error) => {
            tracing::error!(%error, "cannot read a connection's identity");
            return Err(RefusedReason::NoIdentity);
        }
    };
    let peer = socket.tcp().and_then(|tcp| tcp.peer_addr().ok());
    Ok(Arrival {
        client: peer.map(|peer| Endpoint::tcp(peer.ip().to_canonical(), peer.port())),
        route: Route {
            destination: Endpoint::tcp(flow.original.ip().to_canonical(), flow.original.port()),
            unix: None,
            account: Account::new(shared.books.clone()),
        },
        attested: Attested {
            tgid: flow.tgid,
            uid: flow.uid,
            gid: flow.gid,
            command: flow.command,
            cgroup_id: flow.cgroup_id,
            connected_ns: flow.connected_ns,
        },
    })
}

fn unix(socket: &Socket, server: &Arc<Server>, shared: &Shared) -> Result<Arrival, RefusedReason> {
    let peer = Peer::of(socket.as_fd()).map_err(|error| {
        tracing::error!(%error, "cannot read who is at the other end of a unix socket");
        RefusedReason::NoIdentity
    })?;
    let Ids { uid, gid } = peer.ids;
    let attested = shared.identifier.attest_peer(peer.pid, uid, gid, || peer.has_ended());
    let route = Route {
        destination: server.endpoint(),
        unix: Some((server.clone(), peer.ids)),
        account: Account::new(shared.books.clone()),
    };
    Ok(Arrival { client: None, route, attested })
}
