//! Whether the server that a client dials is one of this host's, in another network namespace, where its connections are
//! captured as they arrive.
//!
//! Such a connection would be governed twice: as the client's process, and again as a client on another host. So
//! governor asks, over the network and from the client's namespace, whether governor itself is at the other end; and if
//! so goes to the server directly, as it does for clients that arrive. The way through the client's network only
//! shows that the client reaches this server, and as whom the server sees it: none of the client's bytes
//! ever take it, so whoever is in between gains nothing.
//!
//! A published port of a container is such a server too. There addresses are translated, or a relay is in between, so the
//! ends differ: what counts is that governor itself heard its question, and where.

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
use std::io;
use std::net::SocketAddr;

/// What the ends of a question have to be where it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host::proxy) enum Way {
    /// Those that it was asked with.
    Straight,
    /// Any: the operator says that the port leads to a container, and what is between changes them.
    Published,
}

/// Only a captured server's port at an address of its namespace is asked, and from another namespace only: within one the
/// kernel side knows governor's own. And a port that is published for such a server.
pub(in crate::host::proxy) fn may_be_own(shared: &Shared, route: &Route) -> Option<Way> {
    let destination = &route.destination;
    let (address, port) = (destination.address, destination.port);
    let from = route.namespace.as_ref().map(|namespace| namespace.id().cookie);
    let ports = &shared.inbound.get()?.ports;
    let way = if !address.is_loopback() && ports.has_elsewhere(from, address, port) {
        Way::Straight
    } else if ports.is_published(from, address, port) {
        Way::Published
    } else {
        return None;
    };
    (route.unix.is_none() && !shared.peers.silent.is_silent(destination)).then_some(way)
}

/// Both ends as the server's side sees them, if the other end of `socket` is this governor. The socket is of no use then.
pub(in crate::host::proxy) async fn find_own(
    shared: &Shared,
    route: &Route,
    way: Way,
    socket: Socket,
) -> Option<Ends> {
    match ask_own(shared, route, way, socket).await {
        Ok(ends) => {
            shared.metrics.hello(HelloWay::Sent, HelloOutcome::Own);
            Some(ends)
        }
        Err(NotOwn { reason, lasts }) => {
            tracing::debug!(destination = %route.destination, reason, lasts, "not governor's own");
            if lasts {
                shared.peers.silent.note(&route.destination);
            }
            None
        }
    }
}

/// Why the other end is not taken for this governor.
#[derive(Debug)]
struct NotOwn {
    reason: String,
    /// Somebody else is there: the next connection would come to the same. Not so where nobody answered in time, or
    /// governor itself could not ask.
    lasts: bool,
}

async fn ask_own(shared: &Shared, route: &Route, way: Way, socket: Socket) -> Result<Ends, NotOwn> {
    let failed = |error: io::Error| NotOwn { reason: format!("on this host: {error}"), lasts: false };
    let tcp = socket.tcp().ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
    let local = tcp.local_addr().map_err(failed)?;
    let mut stream = Stream::Plain(socket);
    let nonce = nonce().map_err(failed)?;
    let question = shared.own_questions.ask(nonce);
    let own_key = shared.peers.known().own_key();
    let packet = Hello::new(own_key, nonce).encode();
    let answer = ask(&mut stream, &packet, shared.connect_timeout).await;
    let dialled = SocketAddr::new(route.destination.address, route.destination.port);
    let asked = (way == Way::Straight).then_some((local, dialled));
    let (client, server) = judge(answer, own_key, &packet, asked)?;
    let is_of = |ends: &Ends| canonical(ends.client) == client && canonical(ends.server) == server;
    // An agent beside this one in an upgrade does not tell where it heard the question: then only what is in governor's own
    // namespace is known.
    let heard = question.answered().filter(is_of).or_else(|| {
        let is_here =
            way == Way::Straight && route.namespace.is_some() && inbound::is_of_this_host(server.ip());
        is_here.then_some(Ends { namespace: None, client, server })
    });
    heard.ok_or_else(|| NotOwn { reason: "its network namespace is not known".into(), lasts: false })
}

/// Both ends, client and server, as governor saw them there. `asked` are the ends as they are here, where those have to be the
/// same; `packet` is what was asked with.
fn judge(
    answer: Answer,
    own_key: [u8; 32],
    packet: &[u8],
    asked: Option<(SocketAddr, SocketAddr)>,
) -> Result<(SocketAddr, SocketAddr), NotOwn> {
    let not_own = |reason: String, lasts| Err(NotOwn { reason, lasts });
    let challenge = match answer {
        Answer::Challenge(challenge) => challenge,
        Answer::Unknown(reason) | Answer::Refused(reason) => return not_own(reason, true),
        Answer::Silent(reason) => return not_own(reason, false),
        Answer::Wrong(error) => return not_own(error.to_string(), false),
    };
    if challenge.key != own_key {
        return not_own("another governor answers there".into(), true);
    }
    if let Err(error) = Proof::new(Binding::None, packet).check_challenge(&challenge) {
        return not_own(error.to_string(), false);
    }
    // Else the addresses were changed on the way: what the server is to be shown would not be what it would see.
    let seen = (challenge.client, challenge.server);
    if asked.is_some_and(|(client, server)| seen != (canonical(client), canonical(server))) {
        return not_own("the addresses are changed on the way".into(), true);
    }
    Ok(seen)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::wire::hello::{Challenge, HelloError, VERSION};
    use ed25519_dalek::SigningKey;

    /// Answered by the holder of `key`, who saw these ends.
    fn challenge(key: &SigningKey, packet: &[u8], ends: (SocketAddr, SocketAddr)) -> Answer {
        let unsigned = Challenge {
            version: VERSION,
            key: [0; 32],
            nonce: [1; 32],
            client: ends.0,
            server: ends.1,
            signature: [0; 64],
        };
        Answer::Challenge(Box::new(Proof::new(Binding::None, packet).challenge(key, unsigned)))
    }

    #[test]
    fn only_what_shows_that_somebody_else_is_there_lasts() {
        let (own, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let own_key = own.verifying_key().to_bytes();
        let packet = Hello::new(own_key, [7; 32]).encode();
        let ends: (SocketAddr, SocketAddr) = (([10, 0, 0, 2], 40_000).into(), ([10, 0, 0, 1], 5432).into());
        let judged = |answer| judge(answer, own_key, &packet, Some(ends));
        assert_eq!(judged(challenge(&own, &packet, ends)).unwrap(), ends);
        let lasts = |answer| judged(answer).unwrap_err().lasts;
        assert!(lasts(Answer::Unknown("unsupported frontend protocol".into())), "a server");
        assert!(lasts(challenge(&other, &packet, ends)), "another governor");
        assert!(lasts(Answer::Refused("it answered: no".into())), "another governor, or a captured relay");
        let elsewhere = (([10, 9, 9, 9], 40_000).into(), ends.1);
        assert!(lasts(challenge(&own, &packet, elsewhere)), "behind address translation");
        let published = |answer| judge(answer, own_key, &packet, None);
        assert_eq!(
            published(challenge(&own, &packet, elsewhere)).unwrap(),
            elsewhere,
            "where that is expected"
        );
        assert!(published(challenge(&other, &packet, ends)).unwrap_err().lasts);
        assert!(published(challenge(&own, b"another hello", ends)).is_err());
        // What a flood or a moment's trouble brings about.
        assert!(!lasts(Answer::Silent("no answer within 3s".into())));
        assert!(!lasts(Answer::Silent("it answered: sorry, too many clients already".into())));
        assert!(!lasts(Answer::Wrong(HelloError::Key)));
        assert!(!lasts(challenge(&own, b"another hello", ends)), "a recording");
    }
}
