//! Says hello to a peer in the name of a client of this host.
//!
//! Invariant: who the client is goes to the holder of a key that the configuration names for that address, and to
//! nobody else; it is signed for the server that was dialled, or for this very TLS connection.

use super::super::arrival::Route;
use super::super::stream::Stream;
use super::super::worker::Shared;
use super::{Answer, Asker, ask, binding, nonce};
use crate::engine::audit::{HelloOutcome, HelloRecord, HelloWay};
use crate::engine::wire::hello::{Binding, Challenge, Hello, HelloError, Identity, Proof, fingerprint};
use crate::host::clock;
use crate::host::peers::{HelloMode, Known};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

/// What became of it, for the record; and of the connection.
pub(in crate::host::proxy) enum Said {
    /// The peer has it; the connection goes on.
    Accepted(Box<HelloRecord>),
    /// The connection goes on without.
    Omitted(Box<HelloRecord>),
    /// Nobody there answers as governor, and that may be: another connection, without a hello.
    Unanswered(Box<HelloRecord>),
    /// The server is not to be used.
    Refused(Box<HelloRecord>),
}

/// Says hello on a connection that was just made, where configuration asks for that. `None` where it does not.
pub(in crate::host::proxy) async fn say(shared: &Shared, route: &Route, stream: &mut Stream) -> Option<Said> {
    // What was found out to be a server of this host has no other governor.
    let asker = route.asker.as_ref().filter(|_| route.ends().is_none())?;
    let known = shared.peers.known();
    let mode = known.mode_of(route.destination.address)?;
    let record = |outcome, reason: String| HelloRecord::new(HelloWay::Sent, outcome, reason);
    if mode == HelloMode::Optional && shared.peers.silent.is_silent(&route.destination) {
        let reason = "it did not answer a hello a moment ago".into();
        return Some(Said::Omitted(Box::new(record(HelloOutcome::Unanswered, reason))));
    }
    let said = match attest(shared, &known, route, asker, stream).await {
        Ok(record) => {
            shared.peers.silent.forget(&route.destination);
            Said::Accepted(Box::new(record))
        }
        Err(Failed { outcome: HelloOutcome::Unanswered, reason, lasts }) if mode == HelloMode::Optional => {
            let silent = &shared.peers.silent;
            let is_news =
                if lasts { silent.note(&route.destination) } else { silent.note_once(&route.destination) };
            if is_news {
                tracing::warn!(
                    destination = %route.destination, reason,
                    "a peer does not answer a hello: its server gets connections without one"
                );
            }
            Said::Unanswered(Box::new(record(HelloOutcome::Unanswered, reason)))
        }
        Err(Failed { outcome, reason, .. }) => {
            tracing::warn!(
                destination = %route.destination, ?outcome, reason,
                "a hello came to nothing: the connection to the server is refused"
            );
            Said::Refused(Box::new(record(outcome, reason)))
        }
    };
    Some(said)
}

/// Why a connection was not used, for whoever made it.
pub(in crate::host::proxy) fn refusal(record: &HelloRecord) -> std::io::Error {
    let what = match record.outcome {
        HelloOutcome::WrongDestination => {
            "its governor was reached at another address than the one that was dialled"
        }
        HelloOutcome::Unanswered => "governor does not answer there, and identity.peers requires a hello",
        _ => "its governor is not the one that identity.peers names",
    };
    std::io::Error::other(format!("{what} ({})", record.reason))
}

struct Failed {
    outcome: HelloOutcome,
    reason: String,
    /// The next connection would come to the same.
    lasts: bool,
}

type Why = (HelloOutcome, String);

impl From<Why> for Failed {
    fn from((outcome, reason): Why) -> Self {
        Self { outcome, reason, lasts: false }
    }
}

async fn attest(
    shared: &Shared,
    known: &Known,
    route: &Route,
    asker: &Asker,
    stream: &mut Stream,
) -> Result<HelloRecord, Failed> {
    let own = |error: std::io::Error| (HelloOutcome::Malformed, format!("on this host: {error}"));
    let binding = binding(stream).map_err(own)?;
    let packet = Hello::new(known.own_key(), nonce().map_err(own)?).encode();
    let challenge = match ask(stream, &packet, shared.connect_timeout).await {
        Answer::Challenge(challenge) => challenge,
        Answer::Unknown(reason) => {
            return Err(Failed { outcome: HelloOutcome::Unanswered, reason, lasts: true });
        }
        Answer::Refused(reason) | Answer::Silent(reason) => {
            return Err((HelloOutcome::Unanswered, reason).into());
        }
        Answer::Wrong(error) => return Err((outcome_of(&error), error.to_string()).into()),
    };
    let proof = Proof::new(binding, &packet);
    let (peer, of_address) = check(known, route, binding, &proof, &challenge)?;
    let identity = Identity {
        host: shared.peers.host().to_owned(),
        session: asker.session.clone(),
        at_unix_ns: clock::now().unix_ns,
        principal: asker.principal.clone(),
    };
    let attestation = known
        .attest(&proof, &challenge, &identity)
        .map_err(|error| (HelloOutcome::Malformed, format!("on this host: {error}")))?;
    let sent = async {
        stream.write_all(&attestation.encode()).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| (HelloOutcome::Unanswered, format!("the connection ended: {error}")))?;
    known.count_accepted(&peer, HelloWay::Sent);
    Ok(HelloRecord {
        peer: Some(peer),
        key: Some(fingerprint(&challenge.key)),
        bound: binding.is_bound(),
        ..HelloRecord::new(HelloWay::Sent, HelloOutcome::Accepted, of_address)
    })
}

/// Whether the answer is the named peer's, to this hello, at the server that was dialled. Answers the peer's name, and what
/// there is to say of the server's address.
///
/// Within TLS the challenge is signed for this one connection (`binding`), so nobody is in between whatever the address is.
/// In clear a relay that passes everything on looks the same as one that translates addresses: there the configuration says
/// which address a connection arrives at.
fn check(
    known: &Known,
    route: &Route,
    binding: Binding,
    proof: &Proof<'_>,
    challenge: &Challenge,
) -> Result<(String, String), Why> {
    let print = fingerprint(&challenge.key);
    let destination = &route.destination;
    let peer = match known.with_key(&challenge.key, destination.address) {
        Some((peer, true)) => peer,
        Some((peer, false)) => {
            let reason = format!("it has the key of {}, who is not at {}", peer.name, destination.address);
            return Err((HelloOutcome::WrongAddress, reason));
        }
        None => return Err((HelloOutcome::UnknownKey, format!("no peer has its key {print}"))),
    };
    proof
        .check_challenge(challenge)
        .map_err(|error| (HelloOutcome::BadSignature, format!("as {}: {error}", peer.name)))?;
    let dialled = SocketAddr::new(destination.address.to_canonical(), destination.port);
    if challenge.server == dialled {
        return Ok((peer.name.clone(), String::new()));
    }
    let what = format!("{} was dialled, and {} answers as {}", dialled, peer.name, challenge.server);
    if binding.is_bound() || peer.translates(dialled, challenge.server) {
        return Ok((peer.name.clone(), format!("{what}: the address is translated on the way")));
    }
    let reason = format!(
        "{what}: somebody is in between, or translates addresses, which in clear has to be in identity.peers.translated"
    );
    Err((HelloOutcome::WrongDestination, reason))
}

pub(super) fn outcome_of(error: &HelloError) -> HelloOutcome {
    match error {
        HelloError::Version { .. } => HelloOutcome::Version,
        HelloError::Signature(_) | HelloError::Key => HelloOutcome::BadSignature,
        _ => HelloOutcome::Malformed,
    }
}
