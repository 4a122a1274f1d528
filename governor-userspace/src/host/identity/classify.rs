//! Service, person or agent, and why.
//!
//! Order: what the configuration assigns, then evidence of an agent, then of a person, then service. An
//! agent runs in a person's terminal, so its evidence is the stronger. Everything found is kept as
//! evidence, not only what decided.
//!
//! Invariant: less knowledge never gives a more lenient class. A process that is gone and not in a unit or
//! container could be anything, so it is judged as an agent.

use super::agents::{DELETED, Recogniser};
use super::cache::Chain;
use super::facts::Facts;
use super::glob::Glob;
use super::procfs::Executable;
use super::workload::Workload;
use crate::engine::model::{Class, RemoteClient};
use ipnet::IpNet;

/// `[[identity.assign]]`: class and groups for processes that meet all the conditions given.
///
/// The first rule that matches and has a class decides the class; groups of all that match add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Path below the cgroup v2 mount.
    pub cgroup: Option<Glob>,
    /// With `/`: the path of the executable; without: its file name.
    pub executable: Option<Glob>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    /// systemd unit; of a user's own manager `user@UID.service/UNIT`.
    pub unit: Option<Glob>,
    /// Of a client on another host.
    pub address: Option<IpNet>,
    /// Subject of the verified TLS certificate of a client on another host.
    pub certificate: Option<Glob>,
    /// The host whose governor said which process it is: the conditions on processes are then about that one.
    pub peer: Option<String>,
    pub class: Option<Class>,
    pub groups: Vec<String>,
}

/// All that is known of a caller when it is classified.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// Why the process itself could not be read.
    pub gone: Option<&'static str>,
    pub uid: u32,
    pub user: &'a str,
    pub cgroup: Option<&'a str>,
    pub workload: &'a Workload,
    pub facts: Option<&'a Facts>,
    pub ancestors: &'a Chain,
    pub login_uid: Option<u32>,
    pub login_session: Option<u32>,
    pub terminal: Option<&'a str>,
}

/// The class, why, and the groups that the configuration assigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Classified {
    pub class: Class,
    pub evidence: Vec<String>,
    pub groups: Vec<String>,
}

pub(super) fn classify(scene: &Scene<'_>, rules: &[Assignment], recogniser: &Recogniser) -> Classified {
    let agent = agent_evidence(scene);
    let person = person_evidence(scene, recogniser);
    let service = service_evidence(scene);
    let assigned = assigned_class(scene, rules);
    let unaccounted = scene.gone.is_some() && (service.is_empty() || !person.is_empty());
    let class = if let Some((class, _)) = &assigned {
        *class
    } else if !agent.is_empty() || unaccounted {
        Class::Agent
    } else if !person.is_empty() {
        Class::Person
    } else {
        Class::Service
    };
    let mut evidence: Vec<String> = assigned.map(|(_, why)| why).into_iter().collect();
    evidence.extend(scene.gone.map(str::to_owned));
    evidence.extend(agent);
    evidence.extend(person);
    evidence.extend(service);
    if scene.facts.is_some_and(|facts| !facts.environment_read) {
        evidence.push("the environment could not be read, so no agent marker was looked for".into());
    }
    if evidence.is_empty() {
        evidence.push("no terminal, login session or known agent".into());
    }
    evidence.truncate(EVIDENCE_MAX);
    Classified { class, evidence, groups: assigned_groups(scene, rules) }
}

fn agent_evidence(scene: &Scene<'_>) -> Vec<String> {
    let own = scene.facts.and_then(|facts| facts.agent.clone());
    let above = scene.ancestors.iter().filter_map(|(pid, facts)| {
        facts.agent.as_ref().map(|why| format!("{why}, in ancestor {pid} ({})", facts.program()))
    });
    own.into_iter().chain(above).take(EVIDENCE_EACH_MAX).map(|why| format!("known agent {why}")).collect()
}

fn person_evidence(scene: &Scene<'_>, recogniser: &Recogniser) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(uid) = scene.login_uid {
        let session = scene.login_session.map(|s| format!(", session {s}")).unwrap_or_default();
        out.push(format!("login uid {uid}{session}"));
    }
    let unit = scene.workload.unit.as_deref();
    if scene.workload.user_session {
        out.push(format!("login session {}", unit.unwrap_or("in user.slice")));
    }
    if let Some(terminal) = scene.terminal {
        out.push(format!("controlling terminal {terminal}"));
    }
    if let Some((unit, login)) = unit.and_then(|unit| Some((unit, recogniser.login_unit(unit)?))) {
        out.push(format!("login {login}: unit {unit}"));
    }
    if let Some(why) = scene.facts.and_then(|facts| facts.login.as_deref()) {
        out.push(format!("login {why}"));
    }
    for (pid, facts) in scene.ancestors.iter() {
        if let Some(why) = &facts.login {
            out.push(format!("login {why}, in ancestor {pid}"));
        } else if let Some(terminal) = &facts.terminal {
            // Else `setsid` would turn a person into a service.
            out.push(format!("ancestor {pid} ({}) has terminal {terminal}", facts.program()));
        } else {
            continue;
        }
        break;
    }
    out.truncate(EVIDENCE_EACH_MAX);
    out
}

fn service_evidence(scene: &Scene<'_>) -> Vec<String> {
    let unit = scene.workload.unit.as_ref().filter(|_| !scene.workload.user_session);
    // `init.scope` is the service manager itself, the rest of scopes is made by programs.
    let unit = unit.filter(|unit| !unit.ends_with(".scope")).map(|unit| format!("unit {unit}"));
    let container = scene.workload.container.as_ref().map(|id| format!("container {id}"));
    unit.into_iter().chain(container).collect()
}

fn assigned_class(scene: &Scene<'_>, rules: &[Assignment]) -> Option<(Class, String)> {
    rules.iter().enumerate().find_map(|(at, rule)| {
        let class = rule.class?;
        let by = matching(scene, rule, class == Class::Agent)?;
        Some((class, format!("assigned by the configuration, identity.assign {}: {by}", at + 1)))
    })
}

fn assigned_groups(scene: &Scene<'_>, rules: &[Assignment]) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for rule in rules.iter().filter(|rule| matching(scene, rule, false).is_some()) {
        for group in &rule.groups {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
    }
    groups
}

/// What a rule matched by; `None` where a condition does not hold, or there is none.
///
/// A path that is not the host's own file counts only for a rule that is `strict`: whoever can make a mount
/// namespace, and that is everybody, can give a program any path.
fn matching(scene: &Scene<'_>, rule: &Assignment, strict: bool) -> Option<String> {
    if rule.address.is_some() || rule.certificate.is_some() || rule.peer.is_some() {
        return None;
    }
    let mut by = Vec::new();
    if let Some(glob) = &rule.cgroup {
        by.push(format!("cgroup {}", scene.cgroup.filter(|path| glob.matches(path))?));
    }
    if let Some(glob) = &rule.executable {
        let executable = scene.facts?.executable.as_ref().filter(|e| e.on_host || strict)?;
        by.push(format!("executable {}", executable_matches(executable, glob)?));
    }
    if let Some(uid) = rule.uid {
        by.push((uid == scene.uid).then(|| format!("uid {uid}"))?);
    }
    if let Some(user) = &rule.user {
        by.push((user == scene.user).then(|| format!("user {user}"))?);
    }
    if let Some(glob) = &rule.unit {
        let unit = scene.workload.unit.as_deref().filter(|unit| glob.matches(unit))?;
        by.push(format!("unit {unit}"));
    }
    (!by.is_empty()).then(|| by.join(", "))
}

/// A client on another host. Nothing tells persons and programs there apart, so it counts as a person until the
/// configuration says more: the same address may be anybody's.
pub(super) fn classify_remote(client: &RemoteClient, rules: &[Assignment]) -> Classified {
    let matched = |rule: &Assignment, strict| matching_remote(client, rule, strict);
    let assigned = rules.iter().enumerate().find_map(|(at, rule)| {
        let class = rule.class?;
        let by = matched(rule, class == Class::Agent)?;
        Some((class, format!("assigned by the configuration, identity.assign {}: {by}", at + 1)))
    });
    let class = assigned.as_ref().map_or(Class::Person, |(class, _)| *class);
    let mut evidence: Vec<String> = assigned.map(|(_, why)| why).into_iter().collect();
    evidence
        .push(format!("a client on another host, at {}: nothing is known of its process", client.address));
    if let Some(shown) = &client.certificate {
        let doubt = if shown.verified { "" } else { ", which leads to no root of tls.client_roots" };
        evidence.push(format!("TLS certificate {}{doubt}", shown.subject));
    }
    let mut groups: Vec<String> = Vec::new();
    for group in rules.iter().filter(|rule| matched(rule, false).is_some()).flat_map(|rule| &rule.groups) {
        if !groups.contains(group) {
            groups.push(group.clone());
        }
    }
    Classified { class, evidence, groups }
}

/// What a rule matched by; `None` where a condition does not hold, or one is about processes.
fn matching_remote(client: &RemoteClient, rule: &Assignment, strict: bool) -> Option<String> {
    let of_processes = rule.cgroup.is_some()
        || rule.executable.is_some()
        || rule.uid.is_some()
        || rule.user.is_some()
        || rule.unit.is_some()
        || rule.peer.is_some();
    if of_processes {
        return None;
    }
    let mut by = Vec::new();
    if let Some(network) = &rule.address {
        by.push(network.contains(&client.address).then(|| format!("address {network}"))?);
    }
    if let Some(glob) = &rule.certificate {
        // Anybody can make a certificate that says anything.
        let shown = client.certificate.as_ref().filter(|shown| shown.verified || strict)?;
        by.push(glob.matches(&shown.subject).then(|| format!("certificate {}", shown.subject))?);
    }
    (!by.is_empty()).then(|| by.join(", "))
}

fn executable_matches<'a>(executable: &'a Executable, glob: &Glob) -> Option<&'a str> {
    let path = executable.path.strip_suffix(DELETED).unwrap_or(&executable.path);
    let part = if glob.as_str().contains('/') { path } else { path.rsplit('/').next().unwrap_or(path) };
    glob.matches(part).then_some(path)
}

const EVIDENCE_MAX: usize = 12;
/// Of one kind; more of the same only fills records.
const EVIDENCE_EACH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::PeerCertificate;

    fn client(address: &str, certificate: Option<(&str, bool)>) -> RemoteClient {
        let certificate = certificate.map(|(subject, verified)| PeerCertificate {
            subject: subject.into(),
            sha256: "00".repeat(32),
            verified,
            reason: String::new(),
        });
        RemoteClient { certificate, ..RemoteClient::at(address.parse().unwrap()) }
    }

    fn by_address(network: &str, class: Class) -> Assignment {
        Assignment { address: Some(network.parse().unwrap()), class: Some(class), ..Assignment::default() }
    }

    #[test]
    fn a_client_on_another_host_is_a_person_until_it_is_assigned() {
        let rules = [
            Assignment {
                user: Some("10.1.0.1".into()),
                class: Some(Class::Service),
                ..Assignment::default()
            },
            by_address("10.1.0.0/16", Class::Service),
            by_address("fd00:1::/64", Class::Agent),
        ];
        let class = |address: &str| classify_remote(&client(address, None), &rules).class;
        assert_eq!(class("10.2.0.1"), Class::Person);
        assert_eq!(class("10.1.0.1"), Class::Service);
        assert_eq!(class("fd00:1::9"), Class::Agent);
        assert_eq!(class("fd00:2::9"), Class::Person);
        let why = classify_remote(&client("10.1.0.1", None), &rules).evidence;
        assert!(why[0].contains("identity.assign 2: address 10.1.0.0/16"), "{why:?}");
        assert!(why[1].contains("nothing is known of its process"), "{why:?}");
    }

    #[test]
    fn only_a_verified_certificate_makes_a_class_more_lenient() {
        let rule = |class| Assignment {
            certificate: Some(Glob::new("CN=billing*").unwrap()),
            address: Some("10.0.0.0/8".parse().unwrap()),
            class: Some(class),
            groups: vec!["billing".into()],
            ..Assignment::default()
        };
        let of = |address: &str, shown, class| {
            let classified = classify_remote(&client(address, shown), &[rule(class)]);
            (classified.class, classified.groups.len())
        };
        let verified = Some(("CN=billing,O=Example", true));
        let forged = Some(("CN=billing,O=Example", false));
        assert_eq!(of("10.0.0.1", verified, Class::Service), (Class::Service, 1));
        assert_eq!(of("11.0.0.1", verified, Class::Service), (Class::Person, 0), "all conditions must hold");
        assert_eq!(of("10.0.0.1", forged, Class::Service), (Class::Person, 0));
        assert_eq!(of("10.0.0.1", None, Class::Service), (Class::Person, 0));
        assert_eq!(of("10.0.0.1", Some(("CN=other", true)), Class::Service), (Class::Person, 0));
        // Stricter is always possible.
        assert_eq!(of("10.0.0.1", forged, Class::Agent), (Class::Agent, 0));
    }
}
