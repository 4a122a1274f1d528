//! `[identity]`.

use super::{Checked, Source};
use crate::host::config::file;
use crate::host::config::resolve::Identity;
use crate::host::identity::{Assignment, IdentityRules, KnownAgents};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::Path;
use toml::Spanned;

impl Source<'_> {
    pub(super) fn identity(&self, written: file::Identity) -> Checked<Identity> {
        let mut assignments = Vec::with_capacity(written.assign.len());
        for rule in written.assign {
            let (at, key) = (rule.span(), "identity.assign");
            let rule = rule.into_inner();
            let conditions = [
                rule.cgroup.is_some(),
                rule.executable.is_some(),
                rule.uid.is_some(),
                rule.user.is_some(),
                rule.unit.is_some(),
            ];
            let remote = rule.address.is_some() || rule.certificate.is_some();
            if let Some(peer) = &rule.peer {
                self.peer_of_rule(peer, &written.peers, rule.executable.is_some())?;
            }
            let remote = remote || rule.peer.is_some();
            if !conditions.contains(&true) && !remote {
                let reason = "give at least one condition: cgroup, executable, uid, user, unit, address, certificate or peer";
                return Err(self.fail_at(at, key, reason));
            }
            if conditions.contains(&true) && remote && rule.peer.is_none() {
                let reason = "address and certificate are of clients on other hosts, the other conditions of processes \
                              of this one: no client could meet both";
                return Err(self.fail_at(at, key, reason));
            }
            if rule.class.is_none() && rule.groups.is_empty() {
                return Err(self.fail_at(at, key, "give a class, groups or both"));
            }
            if rule.groups.iter().any(|group| group.trim().is_empty()) {
                return Err(self.fail_at(at, key, "a group must not be empty"));
            }
            let address = rule
                .address
                .as_ref()
                .map(|value| self.network(value, "identity.assign.address"))
                .transpose()?;
            let file::Assign {
                cgroup, executable, uid, user, unit, certificate, peer, class, groups, ..
            } = rule;
            assignments.push(Assignment {
                cgroup,
                executable,
                uid,
                user,
                unit,
                address,
                certificate,
                peer: peer.map(Spanned::into_inner),
                class,
                groups,
            });
        }
        let peers = self.peers(written.peers)?;
        let mut rules = IdentityRules { assignments, ..IdentityRules::default() };
        let mut agents_file = None;
        if let Some(value) = written.agents_file {
            let path = self.path.parent().unwrap_or(Path::new("/")).join(value.get_ref());
            let fail = |reason: String| {
                let reason = format!("{}: {reason}", path.display());
                self.fail_at(value.span(), "identity.agents_file", reason)
            };
            let text = std::fs::read_to_string(&path).map_err(|error| fail(error.to_string()))?;
            let extra = KnownAgents::parse(&text).map_err(|error| fail(error.to_string()))?;
            rules.agents = rules.agents.extended(extra);
            agents_file = Some(path);
        }
        Ok(Identity { agents_file, rules, peers })
    }

    /// An address, or a network such as `10.1.0.0/16`.
    pub(super) fn network(&self, value: &Spanned<String>, key: &str) -> Checked<IpNet> {
        let text = value.get_ref();
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_| {
            let reason = format!("{text:?} is no address and no network such as 10.1.0.0/16 or fd00:1::/64");
            self.fail_at(value.span(), key, reason)
        })
    }
}
