//! `[[identity.peers]]`.

use super::{Checked, Source};
use crate::host::config::file;
use crate::host::peers::{Peer, parse_key};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use toml::Spanned;

impl Source<'_> {
    pub(super) fn peers(&self, written: Vec<Spanned<file::PeerBlock>>) -> Checked<Vec<Peer>> {
        let mut peers: Vec<Peer> = Vec::with_capacity(written.len());
        for block in written {
            let (at, block) = (block.span(), block.into_inner());
            let Some(name) = block.name else {
                return Err(self.fail_at(at, "identity.peers.name", "is missing: every peer has a name"));
            };
            let fail = |value: &Spanned<String>, key: &str, reason: String| {
                self.fail_at(value.span(), &format!("identity.peers.{key}"), reason)
            };
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.get_ref().is_empty() || !name.get_ref().chars().all(is_plain) {
                let reason = "a peer's name is letters, digits, '-', '_' and '.'".into();
                return Err(fail(&name, "name", reason));
            }
            if block.addresses.is_empty() {
                let reason = "name at least one address or network: where the peer is, and where its clients come from";
                return Err(self.fail_at(at, "identity.peers.addresses", reason));
            }
            let networks: Vec<IpNet> = block
                .addresses
                .iter()
                .map(|value| self.network(value, "identity.peers.addresses"))
                .collect::<Checked<_>>()?;
            let Some(written_key) = block.key else {
                let reason = "is missing: `governor keys hello` on that host prints it";
                return Err(self.fail_at(at, "identity.peers.key", reason));
            };
            let keys = self.keys_of_peer(&written_key, &block.other_keys, &peers)?;
            let translated = self.translations(&block.translated, &networks)?;
            if peers.iter().any(|peer| peer.name == *name.get_ref()) {
                return Err(fail(&name, "name", format!("{:?} is named twice", name.get_ref())));
            }
            peers.push(Peer {
                name: name.into_inner(),
                networks,
                keys,
                hello: block.hello.unwrap_or_default(),
                translated,
            });
        }
        Ok(peers)
    }

    /// All keys of one peer, which are no other's; `known` are the peers before it.
    fn keys_of_peer(
        &self,
        key: &Spanned<String>,
        other_keys: &[Spanned<String>],
        known: &[Peer],
    ) -> Checked<Vec<[u8; 32]>> {
        let mut keys = Vec::with_capacity(1 + other_keys.len());
        let written = [(key, "key")].into_iter().chain(other_keys.iter().map(|key| (key, "other_keys")));
        for (value, name) in written {
            let fail = |reason: String| self.fail_at(value.span(), &format!("identity.peers.{name}"), reason);
            let Some(key) = parse_key(value.get_ref()) else {
                let reason = "is no public key: 64 hexadecimal digits, as `governor keys hello` prints it on that host";
                return Err(fail(reason.into()));
            };
            if let Some(other) = known.iter().find(|peer| peer.keys.contains(&key)) {
                return Err(fail(format!("is that of {:?} too: each host has its own", other.name)));
            }
            if keys.contains(&key) {
                return Err(fail("is named twice".into()));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Pairs of what is dialled, which has to be at one of the peer's addresses, and where that arrives.
    fn translations(
        &self,
        written: &BTreeMap<String, Spanned<String>>,
        networks: &[IpNet],
    ) -> Checked<Vec<(SocketAddr, SocketAddr)>> {
        let of = |(dialled, arrives): (&String, &Spanned<String>)| {
            let fail = |reason: String| self.fail_at(arrives.span(), "identity.peers.translated", reason);
            let address = |text: &str| {
                let parsed = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
                parsed
                    .ok_or_else(|| fail(format!("{text:?} is no address with a port, such as 10.1.0.9:5432")))
            };
            let (dialled, arrives) = (address(dialled)?, address(arrives.get_ref())?);
            if !networks.iter().any(|network| network.contains(&dialled.ip())) {
                return Err(fail(format!("{dialled} is none of the peer's addresses: name it there too")));
            }
            Ok((dialled, arrives))
        };
        written.iter().map(of).collect()
    }

    /// `identity.assign.peer`.
    pub(super) fn peer_of_rule(
        &self,
        name: &Spanned<String>,
        peers: &[Spanned<file::PeerBlock>],
        by_executable: bool,
    ) -> Checked<()> {
        let key = "identity.assign.peer";
        let is_known = peers.iter().any(|block| {
            block.get_ref().name.as_ref().is_some_and(|known| known.get_ref() == name.get_ref())
        });
        if !is_known {
            let reason = format!("{:?} is no peer: there is no such [[identity.peers]]", name.get_ref());
            return Err(self.fail_at(name.span(), key, reason));
        }
        if by_executable {
            let reason =
                "an executable is assigned on its own host: only that one can tell whose file a path is";
            return Err(self.fail_at(name.span(), key, reason));
        }
        Ok(())
    }
}
