//! Hears the hello of the governor of a client's host, and finds out who it says is asking.
//!
//! Invariants: a challenge is answered only to a key that the configuration names for the client's address (or the own,
//! which learns nothing from it); the identity is read only after its signature; whatever is in doubt is a refusal.

use super::super::inbound::Ends;
use super::super::stream::Stream;
use super::super::worker::Shared;
use super::say::outcome_of;
use super::{binding, nonce};
use crate::engine::audit::{HelloOutcome, HelloRecord, HelloWay};
use crate::engine::model::{PeerAttestation, Principal, RemoteClient};
use crate::engine::wire::hello::{
    Attestation, Binding, Challenge, Hello, HelloError, Identity, Proof, fingerprint,
};
use crate::host::identity::Voucher;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Why it is not accepted.
struct Refusal(HelloOutcome, String);

impl From<HelloError> for Refusal {
    fn from(error: HelloError) -> Self {
        Self(outcome_of(&error), error.to_string())
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self(HelloOutcome::Malformed, format!("the connection ended: {error}"))
    }
}

/// `packet` is the whole Hello, as it came over `stream`.
pub(in crate::host::proxy) async fn hear(
    shared: &Shared,
    stream: &mut Stream,
    ends: &Ends,
    client: RemoteClient,
    packet: &[u8],
) -> HelloRecord {
    let mut record = HelloRecord::new(HelloWay::Received, HelloOutcome::Accepted, "");
    if let Err(Refusal(outcome, reason)) = accept(shared, stream, ends, client, packet, &mut record).await {
        record.outcome = outcome;
        record.reason = reason;
        record.principal = None;
    }
    tell(&record, ends);
    record
}

fn tell(record: &HelloRecord, ends: &Ends) {
    let (peer, key) = (record.peer.as_deref().unwrap_or("-"), record.key.as_deref().unwrap_or("-"));
    match (record.outcome, &record.principal) {
        (HelloOutcome::Accepted, Some(principal)) => tracing::debug!(
            client = %ends.client, peer, key, bound = record.bound, principal = principal.summary(),
            "the governor of a client's host says who it is"
        ),
        (HelloOutcome::Own, _) => tracing::debug!(client = %ends.client, "asked by governor itself"),
        (outcome, _) => tracing::warn!(
            client = %ends.client, ?outcome, peer, key, reason = record.reason,
            "refused a hello"
        ),
    }
}

async fn accept(
    shared: &Shared,
    stream: &mut Stream,
    ends: &Ends,
    client: RemoteClient,
    packet: &[u8],
    record: &mut HelloRecord,
) -> Result<(), Refusal> {
    let hello = Hello::parse(packet)?;
    record.key = Some(fingerprint(&hello.key));
    let version = hello.version()?;
    let binding = binding(stream)?;
    record.bound = binding.is_bound();
    let known = shared.peers.known();
    let is_own = known.is_own(&hello.key);
    let peer = match known.with_key(&hello.key, client.address) {
        _ if is_own => None,
        Some((peer, true)) => Some(peer.name.clone()),
        Some((peer, false)) => {
            record.peer = Some(peer.name.clone());
            let reason = format!("{} is not at {}", peer.name, client.address);
            return Err(Refusal(HelloOutcome::WrongAddress, reason));
        }
        None => return Err(Refusal(HelloOutcome::UnknownKey, "no peer has this key".into())),
    };
    record.peer.clone_from(&peer);
    if is_own {
        shared.own_questions.answer(&hello.nonce, ends);
    }
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let proof = Proof::new(binding, packet);
    let challenge = known.challenge(
        &proof,
        &hello.key,
        Challenge {
            version,
            key: [0; 32],
            nonce: nonce()?,
            client: canonical(ends.client),
            server: canonical(ends.server),
            signature: [0; 64],
        },
    );
    stream.write_all(&challenge.encode()).await?;
    stream.flush().await?;
    let Some(peer) = peer else {
        return Err(Refusal(HelloOutcome::Own, "governor asks whether this server is its own host's".into()));
    };
    let said = listen(stream, &proof, &hello, &challenge).await?;
    let principal = believe(shared, said, peer.clone(), &hello, binding, client);
    known.count_accepted(&peer, HelloWay::Received);
    record.principal = Some(Box::new(principal));
    Ok(())
}

/// What comes after the challenge, checked.
async fn listen(
    stream: &mut Stream,
    proof: &Proof<'_>,
    hello: &Hello,
    challenge: &Challenge,
) -> Result<Identity, Refusal> {
    let mut packet = vec![0; 8];
    stream.read_exact(&mut packet).await?;
    let bytes = Attestation::bytes(&packet)?.unwrap_or(packet.len());
    packet.resize(bytes, 0);
    if let Some(rest) = packet.get_mut(8..) {
        stream.read_exact(rest).await?;
    }
    let attestation = Attestation::parse(&packet)?;
    Ok(proof.identity(&hello.key, challenge, &attestation)?)
}

fn believe(
    shared: &Shared,
    said: Identity,
    peer: String,
    hello: &Hello,
    binding: Binding,
    client: RemoteClient,
) -> Principal {
    let Identity { host, session, at_unix_ns, principal } = said;
    let attestation = PeerAttestation {
        peer,
        key: fingerprint(&hello.key),
        bound: binding.is_bound(),
        host,
        session,
        at_unix_ns,
        uid: principal.uid,
        gid: principal.gid,
        login_uid: principal.login_uid,
    };
    shared.identifier.identify_attested(principal, Voucher { client, attestation })
}
