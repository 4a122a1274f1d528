//! Other hosts whose governors say who their clients are: the configuration's peers, and this host's own key.
//!
//! The key is `keys/hello.key` of the instance. Its public half (`governor keys hello`) is what the other host's
//! configuration names. The messages are `engine/wire/hello`, their road is `host/proxy/hello`.
//!
//! Invariant: the private key leaves this module as signatures only.

mod silent;

use crate::engine::audit::HelloWay;
use crate::engine::wire::hello::{Attestation, Challenge, HelloError, Identity, Proof, fingerprint};
use crate::host::ledger::{LedgerError, read_public_key, signing_key};
use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use serde::Deserialize;
use silent::Silent;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// One `[[identity.peers]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Ends the names of its users, groups and so on.
    pub name: String,
    /// Where it is reached, and where its clients come from. At least one.
    pub networks: Vec<IpNet>,
    /// Its public key.
    pub key: [u8; 32],
    pub hello: HelloMode,
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
}

/// How many hellos were accepted of one peer, and by it.
#[derive(Debug, Default)]
struct Accepted {
    sent: AtomicU64,
    received: AtomicU64,
}

/// All peers, and this host itself. Shared by the workers.
pub struct Peers {
    key: SigningKey,
    host: String,
    peers: Vec<(Peer, Accepted)>,
    /// Addresses that did not answer as governor.
    pub silent: Silent,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl Peers {
    /// Makes the key on first use. `keys` is the instance's directory of keys.
    pub fn open(keys: &Path, peers: Vec<Peer>) -> Result<Self, LedgerError> {
        let key = signing_key(keys, KEY_NAME)?;
        let host = nix::sys::utsname::uname()
            .map_or_else(|_| String::new(), |names| names.nodename().to_string_lossy().into_owned());
        let peers = peers.into_iter().map(|peer| (peer, Accepted::default())).collect();
        Ok(Self { key, host, peers, silent: Silent::default() })
    }

    /// The own public key.
    pub fn own_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// What this host calls itself.
    pub fn host(&self) -> &str {
        &self.host
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
        let (peer, _) = self.peers.iter().find(|(peer, _)| peer.key == *key)?;
        Some((peer, peer.is_at(address)))
    }

    /// Answers a hello, in the name of this host.
    pub fn challenge(&self, proof: &Proof<'_>, challenge: Challenge) -> Challenge {
        proof.challenge(&self.key, challenge)
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

    /// One line for each peer, for people.
    pub fn lines(&self) -> Vec<String> {
        let line = |(peer, accepted): &(Peer, Accepted)| {
            let networks: Vec<String> = peer.networks.iter().map(shown).collect();
            format!(
                "{} at {}, hello {}, key {:.16}: {} accepted from it, {} by it",
                peer.name,
                networks.join(", "),
                peer.hello.as_str(),
                fingerprint(&peer.key),
                accepted.received.load(Ordering::Relaxed),
                accepted.sent.load(Ordering::Relaxed),
            )
        };
        self.peers.iter().map(line).collect()
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

/// The public key of the instance with this directory of keys, as 64 hexadecimal digits, and its fingerprint.
pub fn public_key(keys: &Path) -> Result<(String, String), LedgerError> {
    let key = read_public_key(&keys.join(KEY_NAME).with_extension("pub"))?.to_bytes();
    Ok((hex::encode(key), fingerprint(&key)))
}

/// A public key as written: 64 hexadecimal digits. Not every such number is one.
pub fn parse_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).ok()?;
    let usable = ed25519_dalek::VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak());
    usable.then_some(key)
}

/// Of the files `hello.key` and `hello.pub`.
const KEY_NAME: &str = "hello";

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, network: &str, key: u8, hello: HelloMode) -> Peer {
        let key = SigningKey::from_bytes(&[key; 32]).verifying_key().to_bytes();
        Peer { name: name.into(), networks: vec![network.parse().unwrap()], key, hello }
    }

    #[test]
    fn a_key_is_made_once_and_its_public_half_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let first = Peers::open(dir.path(), vec![]).unwrap();
        let again = Peers::open(dir.path(), vec![]).unwrap();
        assert_eq!(first.own_key(), again.own_key());
        let (key, print) = public_key(dir.path()).unwrap();
        assert_eq!(parse_key(&key), Some(first.own_key()));
        assert_eq!(print, fingerprint(&first.own_key()));
        assert!(!format!("{first:?}").contains(&hex::encode(first.key.to_bytes())));
    }

    #[test]
    fn weak_and_malformed_keys_are_no_keys() {
        // The identity and a point of order four: signatures under these prove nothing.
        for bad in ["", "00", &"zz".repeat(32), &format!("01{}", "00".repeat(31)), &"00".repeat(32)] {
            assert_eq!(parse_key(bad), None, "{bad}");
        }
    }

    #[test]
    fn of_peers_at_one_address_the_strictest_rule_holds_and_the_key_tells_them_apart() {
        let dir = tempfile::tempdir().unwrap();
        let peers = vec![
            peer("a", "10.1.0.0/16", 1, HelloMode::Optional),
            peer("b", "10.1.2.3/32", 2, HelloMode::Required),
        ];
        let keys: Vec<_> = peers.iter().map(|peer| peer.key).collect();
        let peers = Peers::open(dir.path(), peers).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(peers.mode_of(address("10.1.2.3")), Some(HelloMode::Required));
        assert_eq!(peers.mode_of(address("10.1.2.4")), Some(HelloMode::Optional));
        assert_eq!(peers.mode_of(address("10.2.0.1")), None);
        let found = |key, at| peers.with_key(key, address(at)).map(|(peer, here)| (peer.name.as_str(), here));
        assert_eq!(found(&keys[1], "10.1.2.3"), Some(("b", true)));
        assert_eq!(found(&keys[1], "10.1.2.4"), Some(("b", false)));
        assert_eq!(found(&[9; 32], "10.1.2.3"), None);
    }
}
