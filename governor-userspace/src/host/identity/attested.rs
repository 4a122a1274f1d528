//! Who a client on another host is, by the word of that host's governor.
//!
//! Every name that it says is a name of that host: it gets the peer's name, so that no rule about a user, a unit or a
//! program of this host is met by what another host says. Its numbers mean nobody here and are on record only.
//!
//! Invariant: `user@peer` is said by that peer alone. Names of peers have no `@`, and what is behind the last one counts.

use super::classify::Assignment;
use crate::engine::model::{Class, PeerAttestation, Principal, RemoteClient, SessionId};

/// Whose word it is, and what is known beside it.
#[derive(Clone, Debug)]
pub struct Voucher {
    pub client: RemoteClient,
    pub attestation: PeerAttestation,
}

/// `said` as a principal of the peer's host.
pub(super) fn principal(said: Principal, voucher: Voucher, rules: &[Assignment]) -> Principal {
    let peer = voucher.attestation.peer.clone();
    let at = |name: String| format!("{name}@{peer}");
    let path = |path: String| format!("{peer}:{path}");
    let mut evidence = Vec::new();
    let mut assigned = Vec::new();
    let mut class: Option<Class> = None;
    for (number, rule) in rules.iter().enumerate() {
        let Some(by) = matching(&said, &voucher, rule, rule.class == Some(Class::Agent)) else { continue };
        // What that host knows of the process says more than its address; stricter is always possible.
        let given = rule.class.filter(|class| rule.peer.is_some() || *class == Class::Agent);
        if let (None, Some(given)) = (class, given) {
            class = Some(given);
            evidence.push(format!("assigned by the configuration, identity.assign {}: {by}", number + 1));
        }
        // Stricter is always possible; a group has to be proved.
        if matching(&said, &voucher, rule, false).is_some() {
            assigned.extend(rule.groups.iter().cloned());
        }
    }
    evidence.push(format!("a process of {peer}, at {}, by the word of its governor", voucher.client.address));
    evidence.extend(said.class_evidence.into_iter().take(EVIDENCE_MAX));
    let mut groups: Vec<String> = said.groups.into_iter().map(at).collect();
    for group in assigned {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let mut facts = said.container_facts;
    for name in [&mut facts.pod, &mut facts.pod_name, &mut facts.container_name, &mut facts.image] {
        *name = name.take().map(at);
    }
    let attestation =
        PeerAttestation { uid: said.uid, gid: said.gid, login_uid: said.login_uid, ..voucher.attestation };
    Principal {
        class: class.unwrap_or(said.class),
        class_evidence: evidence,
        pid: said.pid,
        start_ticks: said.start_ticks,
        uid: Principal::NO_ID,
        user: at(said.user),
        gid: Principal::NO_ID,
        groups,
        login_uid: None,
        login_user: said.login_user.map(at),
        command: said.command,
        executable: said.executable.map(path),
        executable_sha256: said.executable_sha256.map(at),
        command_line: said.command_line,
        cgroup_id: 0,
        cgroup: said.cgroup.map(path),
        unit: said.unit.map(at),
        container: said.container.map(at),
        container_facts: facts,
        terminal: said.terminal,
        ancestors: said
            .ancestors
            .into_iter()
            .map(|mut ancestor| {
                ancestor.executable = path(ancestor.executable);
                ancestor
            })
            .collect(),
        remote: Some(RemoteClient { attested: Some(attestation), ..voucher.client }),
    }
}

/// For questions about policy: a process like `said`, on the host of a peer.
pub fn as_of_peer(said: Principal, peer: &str, bound: bool) -> Principal {
    let attestation = PeerAttestation {
        peer: peer.into(),
        key: String::new(),
        bound,
        host: peer.into(),
        session: SessionId("".into()),
        at_unix_ns: 0,
        uid: 0,
        gid: 0,
        login_uid: None,
    };
    principal(said, Voucher { client: RemoteClient::at(SOME_ADDRESS), attestation }, &[])
}

/// What a rule matched by. Only rules that name the peer are about its processes; what they say of these are the
/// host's own names. A rule by address or certificate alone holds as for every client from there. If `strict`, a certificate counts
/// that nobody vouches for.
fn matching(said: &Principal, voucher: &Voucher, rule: &Assignment, strict: bool) -> Option<String> {
    if rule.executable.is_some() {
        // Whose file a path is, in whatever mount namespace, only that host can tell.
        return None;
    }
    let mut by = Vec::new();
    if let Some(peer) = &rule.peer {
        by.push((*peer == voucher.attestation.peer).then(|| format!("peer {peer}"))?);
    }
    if let Some(network) = &rule.address {
        by.push(network.contains(&voucher.client.address).then(|| format!("address {network}"))?);
    }
    if let Some(glob) = &rule.certificate {
        let shown = voucher.client.certificate.as_ref().filter(|shown| shown.verified || strict)?;
        by.push(glob.matches(&shown.subject).then(|| format!("certificate {}", shown.subject))?);
    }
    let of_process = [rule.cgroup.is_some(), rule.uid.is_some(), rule.user.is_some(), rule.unit.is_some()];
    if of_process.contains(&true) && rule.peer.is_none() {
        return None;
    }
    if let Some(glob) = &rule.cgroup {
        by.push(format!("cgroup {}", said.cgroup.as_deref().filter(|path| glob.matches(path))?));
    }
    if let Some(uid) = rule.uid {
        by.push((uid == said.uid).then(|| format!("uid {uid}"))?);
    }
    if let Some(user) = &rule.user {
        by.push((*user == said.user).then(|| format!("user {user}"))?);
    }
    if let Some(glob) = &rule.unit {
        by.push(format!("unit {}", said.unit.as_deref().filter(|unit| glob.matches(unit))?));
    }
    (!by.is_empty()).then(|| by.join(", "))
}

/// Of the sender's own.
const EVIDENCE_MAX: usize = 12;
/// Of a documentation network: nobody's (RFC 5737).
const SOME_ADDRESS: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::PeerCertificate;
    use crate::engine::session::cases::Actor;

    fn voucher() -> Voucher {
        Voucher {
            client: RemoteClient::at([10, 1, 0, 1].into()),
            attestation: PeerAttestation {
                peer: "app1".into(),
                key: "00".repeat(32),
                bound: true,
                host: "app1.example.org".into(),
                session: SessionId("s9".into()),
                at_unix_ns: 7,
                uid: 0,
                gid: 0,
                login_uid: None,
            },
        }
    }

    fn said() -> Principal {
        Principal {
            uid: 0,
            gid: 0,
            user: "root".into(),
            groups: vec!["dbas".into()],
            login_uid: Some(1001),
            login_user: Some("alice".into()),
            unit: Some("billing.service".into()),
            executable: Some("/usr/bin/psql".into()),
            cgroup: Some("/system.slice/billing.service".into()),
            container: Some("c1".into()),
            ..Actor { class: Some(Class::Service), ..Actor::default() }.principal()
        }
    }

    #[test]
    fn what_another_host_says_never_names_anybody_of_this_host() {
        let p = principal(said(), voucher(), &[]);
        assert_eq!((p.uid, p.gid, p.login_uid, p.cgroup_id), (Principal::NO_ID, Principal::NO_ID, None, 0));
        assert_eq!((p.user.as_str(), p.login_user.as_deref()), ("root@app1", Some("alice@app1")));
        assert_eq!(p.groups, ["dbas@app1"]);
        assert_eq!(p.unit.as_deref(), Some("billing.service@app1"));
        assert_eq!(p.executable.as_deref(), Some("app1:/usr/bin/psql"));
        assert_eq!(p.cgroup.as_deref(), Some("app1:/system.slice/billing.service"));
        assert_eq!(p.container.as_deref(), Some("c1@app1"));
        let attested = p.remote.unwrap().attested.unwrap();
        assert_eq!((attested.uid, attested.login_uid), (0, Some(1001)), "on record");
        assert_eq!(p.class, Class::Service, "its governor's word");
        assert!(p.class_evidence[0].contains("by the word of its governor"));
    }

    #[test]
    fn rules_about_processes_hold_for_a_peers_only_where_they_name_it() {
        let unit = || Assignment {
            unit: Some(super::super::Glob::new("billing.service").unwrap()),
            class: Some(Class::Agent),
            groups: vec!["apps".into()],
            ..Assignment::default()
        };
        let of_this_host = [unit()];
        let p = principal(said(), voucher(), &of_this_host);
        assert_eq!((p.class, p.groups.len()), (Class::Service, 1));
        let of_the_peer = [Assignment { peer: Some("app1".into()), ..unit() }];
        let p = principal(said(), voucher(), &of_the_peer);
        assert_eq!((p.class, p.groups), (Class::Agent, vec!["dbas@app1".to_owned(), "apps".into()]));
        let of_another = [Assignment { peer: Some("app2".into()), ..unit() }];
        assert_eq!(principal(said(), voucher(), &of_another).class, Class::Service);
        let by_address = |class| {
            [Assignment {
                address: Some("10.1.0.0/16".parse().unwrap()),
                class: Some(class),
                groups: vec!["apps".into()],
                ..Assignment::default()
            }]
        };
        let agent = || Principal { class: Class::Agent, ..said() };
        let p = principal(agent(), voucher(), &by_address(Class::Service));
        assert_eq!(p.class, Class::Agent, "its address makes no service of an agent");
        assert!(p.groups.contains(&"apps".to_owned()));
        assert_eq!(principal(said(), voucher(), &by_address(Class::Agent)).class, Class::Agent);
    }

    #[test]
    fn a_certificate_that_nobody_vouches_for_makes_it_stricter_only() {
        let of = |verified, class| {
            let certificate = PeerCertificate {
                subject: "CN=bot".into(),
                sha256: "00".into(),
                verified,
                reason: String::new(),
            };
            let client = RemoteClient { certificate: Some(certificate), ..voucher().client };
            let rule = Assignment {
                certificate: Some(super::super::Glob::new("CN=bot*").unwrap()),
                class: Some(class),
                groups: vec!["bots".into()],
                ..Assignment::default()
            };
            let p = principal(said(), Voucher { client, ..voucher() }, &[rule]);
            (p.class, p.groups.contains(&"bots".to_owned()))
        };
        assert_eq!(of(true, Class::Agent), (Class::Agent, true));
        assert_eq!(of(false, Class::Agent), (Class::Agent, false));
        assert_eq!(of(true, Class::Person), (Class::Service, true));
        assert_eq!(of(false, Class::Person), (Class::Service, false));
    }
}
