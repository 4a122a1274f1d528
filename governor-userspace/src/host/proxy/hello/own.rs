//! Whether the server that a container dials is one of this host's, where its connections are captured as they arrive.
//!
//! Such a connection would be governed twice: as the container's process, and again as a client on another host. So
//! governor asks, over the network and from the container's namespace, whether governor itself is at the other end; and if
//! so goes to the server directly, as it does for clients that arrive. The way through the container's network only
//! shows that the container reaches this server, and as whom the server sees it: none of the client's bytes
//! ever take it, so whoever is in between gains nothing.

use super::super::arrival::Route;
use super::super::inbound::{self, Ends};
use super::super::socket::Socket;
use super::super::stream::Stream;
use super::super::worker::Shared;
use super::{Answer, ask, nonce};
use crate::engine::audit::{HelloOutcome, HelloWay};
use crate::engine::wire::hello::{Binding, Hello, Proof};
use std::net::SocketAddr;

/// Only a captured server's port at an address of this host is asked.
pub(in crate::host::proxy) fn may_be_own(shared: &Shared, route: &Route) -> bool {
    let destination = &route.destination;
    route.namespace.is_some()
        && !destination.address.is_loopback()
        && shared.inbound.get().is_some_and(|inbound| inbound.ports.rule(destination.port).is_some())
        && inbound::is_of_this_host(destination.address)
        && !shared.peers.silent.is_silent(destination)
}

/// Both ends as the server's side sees them, if the other end of `socket` is this governor. The socket is of no use then.
pub(in crate::host::proxy) async fn find_own(shared: &Shared, route: &Route, socket: Socket) -> Option<Ends> {
    let found = ask_own(shared, route, socket).await;
    match found {
        Some(_) => shared.metrics.hello(HelloWay::Sent, HelloOutcome::Own),
        None => {
            shared.peers.silent.note(&route.destination);
        }
    }
    found
}

async fn ask_own(shared: &Shared, route: &Route, socket: Socket) -> Option<Ends> {
    let local = socket.tcp()?.local_addr().ok()?;
    let mut stream = Stream::Plain(socket);
    let packet = Hello::new(shared.peers.own_key(), nonce().ok()?).encode();
    let challenge = match ask(&mut stream, &packet, shared.connect_timeout).await {
        Answer::Challenge(challenge) => challenge,
        Answer::Unknown(reason) | Answer::Silent(reason) => {
            tracing::debug!(destination = %route.destination, reason, "not governor's own");
            return None;
        }
        Answer::Wrong(error) => {
            tracing::debug!(destination = %route.destination, %error, "not governor's own");
            return None;
        }
    };
    let proof = Proof::new(Binding::None, &packet);
    if challenge.key != shared.peers.own_key() || proof.check_challenge(&challenge).is_err() {
        return None;
    }
    // Else the addresses were changed on the way: what the server is to be shown would not be what it would see.
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let dialled = SocketAddr::new(route.destination.address.to_canonical(), route.destination.port);
    let ends = Ends { client: challenge.client, server: challenge.server };
    (ends.server == dialled && ends.client == canonical(local)).then_some(ends)
}
