//! What holds of keys and peers at one moment.
//!
//! A change makes another one of these; a hello that is under way goes on with the one that it began with.

use crate::engine::audit::{HelloWay, PeerLoaded, PeersLoaded};
use crate::engine::wire::hello::{Attestation, Challenge, HelloError, Identity, Proof, fingerprint};
use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One `[[identity.peers]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Ends the names of its users, groups and so on.
    pub name: String,
    /// Where it is reached, and where its clients come from. At least one.
    pub networks: Vec<IpNet>,
    /// Its public keys. At least one; more while it changes its own.
    pub keys: Vec<[u8; 32]>,
    pub hello: HelloMode,
    /// Where its servers are dialled, and where such a connection arrives: the address is changed on the way.
    pub translated: Vec<(SocketAddr, SocketAddr)>,
}

/// Whether connections with a peer go on without a hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HelloMode {
    /// They do: to a server that does not answer one, and from a client without one, who is known by address.
    #[default]
    Optional,
    /// They are refused, in both directions.
    Required,
}

impl HelloMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

impl Peer {
    fn is_at(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether a connection that was made to `dialled` arrives at `server`, as far as the configuration says.
    pub fn translates(&self, dialled: SocketAddr, server: SocketAddr) -> bool {
        self.translated.contains(&(dialled, server))
    }

    fn addresses(&self) -> Vec<String> {
        self.networks.iter().map(shown).collect()
    }
}

/// How many hellos were accepted of one peer, and by it.
#[derive(Debug, Default)]
struct Accepted {
    sent: AtomicU64,
    received: AtomicU64,
}

/// This host's key, and its peers.
pub struct Known {
    key: SigningKey,
    /// The key before this one: what governor asks itself may be under way while it changes.
    former: Option<SigningKey>,
    peers: Vec<(Peer, Arc<Accepted>)>,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl Known {
    pub(super) fn new(key: SigningKey, peers: Vec<Peer>) -> Self {
        let peers = peers.into_iter().map(|peer| (peer, Arc::default())).collect();
        Self { key, former: None, peers }
    }

    /// What holds after this; `None` where it is the same. Who was known before keeps its counts.
    pub(super) fn followed_by(&self, key: SigningKey, peers: Vec<Peer>) -> Option<Self> {
        if key == self.key && self.peers.iter().map(|(peer, _)| peer).eq(&peers) {
            return None;
        }
        let counts_of = |name: &str| {
            let known = self.peers.iter().find(|(peer, _)| peer.name == name);
            known.map(|(_, accepted)| accepted.clone()).unwrap_or_default()
        };
        let counted = |peer: Peer| {
            let counts = counts_of(&peer.name);
            (peer, counts)
        };
        let peers = peers.into_iter().map(counted).collect();
        let former = if key == self.key { self.former.clone() } else { Some(self.key.clone()) };
        Some(Self { key, former, peers })
    }

    /// The own public key.
    pub fn own_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Whether this public key is this host's, or was until a moment ago.
    pub fn is_own(&self, key: &[u8; 32]) -> bool {
        self.own(key).is_some()
    }

    fn own(&self, key: &[u8; 32]) -> Option<&SigningKey> {
        [Some(&self.key), self.former.as_ref()]
            .into_iter()
            .flatten()
            .find(|own| own.verifying_key().as_bytes() == key)
    }

    /// Whether somebody at this address may say hello, or be told one; and whether that must be. `None`: nobody is named.
    pub fn mode_of(&self, address: IpAddr) -> Option<HelloMode> {
        let mut modes = self.peers.iter().filter(|(peer, _)| peer.is_at(address)).map(|(peer, _)| peer.hello);
        let first = modes.next()?;
        // Of two that share an address the stricter rule holds: nobody knows which one it is.
        Some(if modes.any(|mode| mode == HelloMode::Required) { HelloMode::Required } else { first })
    }

    /// The peer with this key, and whether it is at this address.
    pub fn with_key(&self, key: &[u8; 32], address: IpAddr) -> Option<(&Peer, bool)> {
        let (peer, _) = self.peers.iter().find(|(peer, _)| peer.keys.contains(key))?;
        Some((peer, peer.is_at(address)))
    }

    /// Answers a hello of `asked_by`, in the name of this host. Governor itself is answered with the key that it asks with.
    pub fn challenge(&self, proof: &Proof<'_>, asked_by: &[u8; 32], challenge: Challenge) -> Challenge {
        proof.challenge(self.own(asked_by).unwrap_or(&self.key), challenge)
    }

    /// Says in the name of this host who asks.
    pub fn attest(
        &self,
        proof: &Proof<'_>,
        challenge: &Challenge,
        identity: &Identity,
    ) -> Result<Attestation, HelloError> {
        proof.attest(&self.key, challenge, identity)
    }

    pub fn count_accepted(&self, name: &str, way: HelloWay) {
        if let Some((_, accepted)) = self.peers.iter().find(|(peer, _)| peer.name == name) {
            let counter = match way {
                HelloWay::Sent => &accepted.sent,
                HelloWay::Received => &accepted.received,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For the record.
    pub fn loaded(&self) -> PeersLoaded {
        let peers = self.peers.iter().map(|(peer, _)| PeerLoaded {
            name: peer.name.clone(),
            addresses: peer.addresses(),
            keys: peer.keys.iter().map(fingerprint).collect(),
            hello: peer.hello.as_str().into(),
            translated: peer.translated.iter().map(|(from, to)| format!("{from} to {to}")).collect(),
        });
        PeersLoaded { key: fingerprint(&self.own_key()), peers: peers.collect() }
    }

    /// One line for each peer, for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(peer, accepted): &(Peer, Arc<Accepted>)| {
            let keys: Vec<String> = peer.keys.iter().map(|key| format!("{:.16}", fingerprint(key))).collect();
            format!(
                "{} at {}, hello {}, {} {}: {} accepted from it, {} by it",
                peer.name,
                peer.addresses().join(", "),
                peer.hello.as_str(),
                if keys.len() == 1 { "key" } else { "keys" },
                keys.join(", "),
                accepted.received.load(Ordering::Relaxed),
                accepted.sent.load(Ordering::Relaxed),
            )
        };
        let mut lines: Vec<String> = self.peers.iter().map(line).collect();
        if !lines.is_empty() {
            lines.push(format!("this host's own key: {:.16}", fingerprint(&self.own_key())));
        }
        lines
    }
}

/// A single address without its prefix.
fn shown(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(seed: u8) -> [u8; 32] {
        SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()
    }

    fn peer(name: &str, network: &str, seeds: &[u8], hello: HelloMode) -> Peer {
        let keys = seeds.iter().map(|seed| public(*seed)).collect();
        Peer { name: name.into(), networks: vec![network.parse().unwrap()], keys, hello, translated: vec![] }
    }

    fn own(seed: u8, peers: Vec<Peer>) -> Known {
        Known::new(SigningKey::from_bytes(&[seed; 32]), peers)
    }

    #[test]
    fn of_peers_at_one_address_the_strictest_rule_holds_and_the_key_tells_them_apart() {
        let peers = vec![
            peer("a", "10.1.0.0/16", &[1], HelloMode::Optional),
            peer("b", "10.1.2.3/32", &[2, 3], HelloMode::Required),
        ];
        let known = own(7, peers);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(known.mode_of(address("10.1.2.3")), Some(HelloMode::Required));
        assert_eq!(known.mode_of(address("10.1.2.4")), Some(HelloMode::Optional));
        assert_eq!(known.mode_of(address("10.2.0.1")), None);
        let found = |seed, at| {
            known.with_key(&public(seed), address(at)).map(|(peer, here)| (peer.name.as_str(), here))
        };
        for either in [2, 3] {
            assert_eq!(found(either, "10.1.2.3"), Some(("b", true)));
            assert_eq!(found(either, "10.1.2.4"), Some(("b", false)));
        }
        assert_eq!(found(9, "10.1.2.3"), None);
    }

    #[test]
    fn a_change_keeps_counts_and_the_key_before_and_what_is_the_same_is_none() {
        let peers = |seeds: &[u8]| vec![peer("a", "10.1.0.0/16", seeds, HelloMode::Optional)];
        let first = own(7, peers(&[1]));
        first.count_accepted("a", HelloWay::Sent);
        let key = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
        assert!(first.followed_by(key(7), peers(&[1])).is_none());
        let second = first.followed_by(key(8), peers(&[1, 2])).unwrap();
        assert!(second.is_own(&public(7)) && second.is_own(&public(8)) && !second.is_own(&public(1)));
        assert!(second.lines()[0].contains("1 by it"), "{:?}", second.lines());
        // Only what is under way goes on with the key before.
        let third = second.followed_by(key(8), peers(&[2])).unwrap();
        assert!(third.is_own(&public(7)) && third.own_key() == public(8));
        let fourth = third.followed_by(key(9), peers(&[2])).unwrap();
        assert!(!fourth.is_own(&public(7)) && fourth.is_own(&public(8)));
        assert_eq!(fourth.with_key(&public(1), "10.1.0.1".parse().unwrap()), None);
    }
}
