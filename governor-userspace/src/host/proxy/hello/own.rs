//! Whether the server that a client dials is one of this host's, in another network namespace, where its connections are
//! captured as they arrive.
//!
//! Such a connection would be governed twice: as the client's process, and again as a client on another host. So
//! governor asks, over the network and from the client's namespace, whether governor itself is at the other end; and if
//! so goes to the server directly, as it does for clients that arrive. The way through the client's network only
//! shows that the client reaches this server, and as whom the server sees it: none of the client's bytes
//! ever take it, so whoever is in between gains nothing.

use super::super::arrival::Route;
use super::super::inbound::{self, Ends};
use super::super::socket::Socket;
use super::super::stream::Stream;
use super::super::worker::Shared;
use super::{Answer, ask, nonce};
use crate::engine::audit::{HelloOutcome, HelloWay};
use crate::engine::wire::hello::{Binding, Hello, Proof};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Only a captured server's port at an address of its namespace is asked, and from another namespace only: within one the
/// kernel side knows governor's own.
pub(in crate::host::proxy) fn may_be_own(shared: &Shared, route: &Route) -> bool {
    let destination = &route.destination;
    let from = route.namespace.as_ref().map(|namespace| namespace.id().cookie);
    route.unix.is_none()
        && !destination.address.is_loopback()
        && shared
            .inbound
            .get()
            .is_some_and(|inbound| inbound.ports.has_elsewhere(from, destination.address, destination.port))
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
    let nonce = nonce().ok()?;
    let question = shared.own_questions.ask(nonce);
    let packet = Hello::new(shared.peers.own_key(), nonce).encode();
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
    let is_of = |ends: &Ends| {
        canonical(ends.server) == challenge.server && canonical(ends.client) == challenge.client
    };
    // An agent beside this one in an upgrade does not tell where it heard the question: then only what is in governor's own
    // namespace is known.
    let ends = question.answered().filter(is_of).or_else(|| {
        let is_here = route.namespace.is_some() && inbound::is_of_this_host(challenge.server.ip());
        is_here.then_some(Ends { namespace: None, client: challenge.client, server: challenge.server })
    })?;
    (challenge.server == dialled && challenge.client == canonical(local)).then_some(ends)
}

/// Questions of governor to itself that are under way, by the nonce of their Hello. Where one arrives says in which
/// namespace the server is, which addresses do not: they may be the same in two.
#[derive(Debug, Default)]
pub struct OwnQuestions(Mutex<HashMap<[u8; 32], Option<Ends>>>);

/// One question; forgotten when this goes.
struct Question<'a> {
    all: &'a OwnQuestions,
    nonce: [u8; 32],
}

impl OwnQuestions {
    fn ask(&self, nonce: [u8; 32]) -> Question<'_> {
        self.0.lock().insert(nonce, None);
        Question { all: self, nonce }
    }

    /// It arrived at these ends. What nobody here has asked is of no interest.
    pub(in crate::host::proxy) fn answer(&self, nonce: &[u8; 32], ends: &Ends) {
        if let Some(answer) = self.0.lock().get_mut(nonce) {
            *answer = Some(ends.clone());
        }
    }
}

impl Question<'_> {
    fn answered(&self) -> Option<Ends> {
        self.all.0.lock().get(&self.nonce).cloned().flatten()
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.nonce);
    }
}
