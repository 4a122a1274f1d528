//! Whether this host and its peers (`identity.peers`) can know each other.

use super::Globals;
use crate::host::config::{self, Overrides};
use crate::host::kernel::probe::{Check, Outcome};
use crate::host::peers::{Peer, public_key};

/// `None` where no peer is named, or the configuration cannot be read: `governor run` says why.
pub(super) fn look(globals: &Globals) -> Option<Check> {
    let config = config::load(globals.config.as_deref(), Overrides::default()).ok()?;
    let key = public_key(&globals.keys_dir()).ok().map(|(key, _)| key);
    check(&config.identity.peers, key.as_deref())
}

fn check(peers: &[Peer], own_key: Option<&str>) -> Option<Check> {
    if peers.is_empty() {
        return None;
    }
    let names: Vec<String> =
        peers.iter().map(|peer| format!("{} (hello {})", peer.name, peer.hello.as_str())).collect();
    let named = names.join(", ");
    let with_own_key =
        own_key.and_then(|own| peers.iter().find(|peer| peer.keys.iter().any(|key| hex::encode(key) == own)));
    let (ok, found, fix, consequence) = match (with_own_key, own_key) {
        (Some(peer), _) => (
            Outcome::Warn,
            format!("{named}: {} is given this host's own key", peer.name),
            "name the key that `governor keys hello` prints on that host",
            "no hello with that host holds",
        ),
        (None, Some(own)) => (Outcome::Ok, format!("{named}; this host's key is {own}"), "", ""),
        (None, None) => (
            Outcome::Warn,
            format!("{named}; this host has no key yet, or it cannot be read"),
            "start the agent once, then `governor keys hello`; or run this as root",
            "the peers cannot name this host",
        ),
    };
    Some(Check { name: "peers", ok, found, fix: fix.into(), consequence: consequence.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::peers::HelloMode;

    #[test]
    fn a_peer_with_the_own_key_is_found_out() {
        let peer = |name: &str, key: u8| Peer {
            name: name.into(),
            networks: vec!["10.1.0.1/32".parse().unwrap()],
            keys: vec![[9; 32], [key; 32]],
            hello: HelloMode::Required,
            translated: vec![],
        };
        assert!(check(&[], None).is_none());
        let peers = [peer("app1", 1), peer("app2", 2)];
        let (own, other) = (hex::encode([2; 32]), hex::encode([3; 32]));
        let found = check(&peers, Some(&own)).unwrap();
        assert!(found.ok == Outcome::Warn && found.found.contains("app2 is given this host's own key"));
        let found = check(&peers, Some(&other)).unwrap();
        assert!(found.ok == Outcome::Ok && found.found.contains("app1 (hello required)"));
        assert!(check(&peers, None).unwrap().ok == Outcome::Warn);
    }
}
