//! `[[identity.peers]]`.

use super::{Checked, Source};
use crate::host::config::file;
use crate::host::peers::{Peer, parse_key};
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
            let networks = block
                .addresses
                .iter()
                .map(|value| self.network(value, "identity.peers.addresses"))
                .collect::<Checked<_>>()?;
            let Some(written_key) = block.key else {
                let reason = "is missing: `governor keys hello` on that host prints it";
                return Err(self.fail_at(at, "identity.peers.key", reason));
            };
            let Some(key) = parse_key(written_key.get_ref()) else {
                let reason = "is no public key: 64 hexadecimal digits, as `governor keys hello` prints it on that host";
                return Err(fail(&written_key, "key", reason.into()));
            };
            if peers.iter().any(|peer| peer.name == *name.get_ref()) {
                return Err(fail(&name, "name", format!("{:?} is named twice", name.get_ref())));
            }
            if let Some(other) = peers.iter().find(|peer| peer.key == key) {
                return Err(fail(
                    &written_key,
                    "key",
                    format!("is that of {:?} too: each host has its own", other.name),
                ));
            }
            peers.push(Peer {
                name: name.into_inner(),
                networks,
                key,
                hello: block.hello.unwrap_or_default(),
            });
        }
        Ok(peers)
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
