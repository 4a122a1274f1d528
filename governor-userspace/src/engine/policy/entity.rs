//! Who asks and what for, as Cedar entities.
//!
//! Only what a kind of process has in common goes into the entity: no pid, start time or terminal number.
//! So one decision serves all processes that policy cannot tell apart ([`PolicyPrincipal::cache_key`]).

use super::labelling::Labelling;
use super::question::{Reading, SeeColumn};
use super::schema::{Types, types, uid};
use crate::engine::model::{Claims, Class, Endpoint, PeerAttestation, PeerCertificate, Principal};
use cedar_policy::{Entity, EntityUid, RestrictedExpression as Value};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// A principal as policy sees it. Made once per session.
#[derive(Clone, Debug)]
pub struct PolicyPrincipal {
    principal: Arc<Principal>,
    /// With the identity of the policy set whose groups are in it. Made for the first question that is not
    /// answered from memory: most sessions ask none. `None` where Cedar refused its attributes: every decision
    /// is then a denial.
    entity: OnceLock<(u128, Option<Entity>)>,
    cache_key: u128,
}

impl PolicyPrincipal {
    pub fn new(principal: Arc<Principal>) -> Self {
        Self { cache_key: identity(&principal), entity: OnceLock::new(), principal }
    }

    pub fn class(&self) -> Class {
        self.principal.class
    }

    /// Equal for principals that no policy can tell apart, and only for those: half a SHA-256 over
    /// everything that goes into the entity, but for the groups that a policy set gives: they follow from it.
    pub fn cache_key(&self) -> u128 {
        self.cache_key
    }

    /// The principal with the groups that `labelling` gives it; `set` is the identity of the set it belongs to.
    pub(super) fn entity(&self, set: u128, labelling: &Labelling) -> Option<Cow<'_, Entity>> {
        let make = || process(&self.principal, labelling);
        let (of, entity) = self.entity.get_or_init(|| (set, make()));
        if *of == set { entity.as_ref().map(Cow::Borrowed) } else { make().map(Cow::Owned) }
    }
}

/// Facts that identify a kind of process, in one place for the entity and its key.
struct Facts<'a> {
    class: &'static str,
    user: &'a str,
    uid: u32,
    gid: u32,
    login_user: Option<&'a str>,
    login_uid: Option<u32>,
    groups: BTreeSet<&'a str>,
    executable: Option<&'a str>,
    executable_sha256: Option<&'a str>,
    unit: Option<&'a str>,
    container: Option<&'a str>,
    pod: Option<&'a str>,
    pod_name: Option<&'a str>,
    container_name: Option<&'a str>,
    image: Option<&'a str>,
    cgroup: Option<&'a str>,
    terminal: bool,
    ancestors: BTreeSet<&'a str>,
    address: Option<String>,
    certificate: Option<&'a PeerCertificate>,
    peer: Option<&'a PeerAttestation>,
}

impl<'a> Facts<'a> {
    fn of(p: &'a Principal) -> Self {
        Self {
            class: p.class.as_str(),
            user: &p.user,
            uid: p.uid,
            gid: p.gid,
            login_user: p.login_user.as_deref(),
            login_uid: p.login_uid,
            groups: p.groups.iter().map(String::as_str).collect(),
            executable: p.executable.as_deref(),
            executable_sha256: p.executable_sha256.as_deref(),
            unit: p.unit.as_deref(),
            container: p.container.as_deref(),
            pod: p.container_facts.pod.as_deref(),
            pod_name: p.container_facts.pod_name.as_deref(),
            container_name: p.container_facts.container_name.as_deref(),
            image: p.container_facts.image.as_deref(),
            cgroup: p.cgroup.as_deref(),
            terminal: p.terminal.is_some(),
            ancestors: p.ancestors.iter().map(|a| a.executable.as_str()).collect(),
            address: p.remote.as_ref().map(|remote| remote.address.to_canonical().to_string()),
            certificate: p.remote.as_ref().and_then(|remote| remote.certificate.as_ref()),
            peer: p.remote.as_ref().and_then(|remote| remote.attested.as_ref()),
        }
    }
}

fn process(principal: &Principal, labelling: &Labelling) -> Option<Entity> {
    let types = types()?;
    let mut f = Facts::of(principal);
    f.groups.extend(labelling.groups_of(principal));
    let mut attributes = HashMap::from([
        ("class".into(), text(f.class)),
        ("user".into(), text(f.user)),
        ("uid".into(), Value::new_long(f.uid.into())),
        ("gid".into(), Value::new_long(f.gid.into())),
        ("groups".into(), texts(f.groups.iter().copied())),
        ("terminal".into(), Value::new_bool(f.terminal)),
        ("ancestors".into(), texts(f.ancestors.iter().copied())),
    ]);
    let optional = [
        ("login_user", f.login_user),
        ("executable", f.executable),
        ("executable_sha256", f.executable_sha256),
        ("unit", f.unit),
        ("container", f.container),
        ("pod", f.pod),
        ("pod_name", f.pod_name),
        ("container_name", f.container_name),
        ("image", f.image),
        ("cgroup", f.cgroup),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            attributes.insert(name.into(), text(value));
        }
    }
    if let Some(uid) = f.login_uid {
        attributes.insert("login_uid".into(), Value::new_long(uid.into()));
    }
    if let Some(address) = &f.address {
        attributes.insert("address".into(), Value::new_ip(address));
    }
    if let Some(shown) = f.certificate {
        let fields = [
            ("subject".to_owned(), text(&shown.subject)),
            ("sha256".to_owned(), text(&shown.sha256)),
            ("verified".to_owned(), Value::new_bool(shown.verified)),
        ];
        attributes.insert("certificate".into(), Value::new_record(fields).ok()?);
    }
    if let Some(peer) = f.peer {
        let fields = [
            ("name".to_owned(), text(&peer.peer)),
            ("key".to_owned(), text(&peer.key)),
            ("bound".to_owned(), Value::new_bool(peer.bound)),
        ];
        attributes.insert("peer".into(), Value::new_record(fields).ok()?);
    }

    let mut parents = HashSet::from([uid(types.class.clone(), f.class), uid(types.user.clone(), f.user)]);
    parents.extend(f.login_user.map(|user| uid(types.user.clone(), user)));
    parents.extend(f.groups.iter().map(|group| uid(types.group.clone(), group)));
    parents.extend(f.unit.map(|unit| uid(types.unit.clone(), unit)));
    parents.extend(f.container.map(|container| uid(types.container.clone(), container)));
    parents.extend(f.executable.map(|path| uid(types.executable.clone(), path)));
    parents.extend(f.executable_sha256.map(|digest| uid(types.executable_hash.clone(), digest)));
    Entity::new(uid(types.process.clone(), PROCESS_ID), attributes, parents).ok()
}

fn identity(principal: &Principal) -> u128 {
    let f = Facts::of(principal);
    let mut hash = Sha256::new();
    let mut add = |part: Option<&str>| {
        // Length-prefixed; absent differs from empty.
        hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        hash.update(part.unwrap_or_default());
    };
    add(Some(f.class));
    add(Some(f.user));
    let container = [f.container, f.pod, f.pod_name, f.container_name, f.image];
    let optional = [f.login_user, f.executable, f.executable_sha256, f.unit, f.cgroup];
    for optional in optional.into_iter().chain(container) {
        add(optional);
    }
    for set in [&f.groups, &f.ancestors] {
        set.iter().for_each(|member| add(Some(member)));
        add(None);
    }
    hash.update(f.uid.to_be_bytes());
    hash.update(f.gid.to_be_bytes());
    hash.update(f.login_uid.map_or(u64::MAX, u64::from).to_be_bytes());
    hash.update([u8::from(f.terminal)]);
    let mut add = |part: Option<&str>| {
        hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        hash.update(part.unwrap_or_default());
    };
    add(f.address.as_deref());
    add(f.certificate.map(|shown| shown.subject.as_str()));
    add(f.certificate.map(|shown| shown.sha256.as_str()));
    add(f.peer.map(|peer| peer.peer.as_str()));
    add(f.peer.map(|peer| peer.key.as_str()));
    hash.update([f.certificate.map_or(2, |shown| u8::from(shown.verified))]);
    hash.update([f.peer.map_or(2, |peer| u8::from(peer.bound))]);
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk::<16>().map_or(0, |half| u128::from_be_bytes(*half))
}

/// The resource of `connect` and `run`.
pub(super) fn database(claims: &Claims, endpoint: &Endpoint, labelling: &Labelling) -> Option<Entity> {
    let types = types()?;
    let environment = labelling.environment(claims, endpoint);
    let mut attributes = HashMap::from([
        ("name".into(), text(&claims.database)),
        ("address".into(), Value::new_ip(endpoint.address.to_canonical().to_string())),
        ("port".into(), Value::new_long(endpoint.port.into())),
    ]);
    let mut parents = HashSet::from([server_uid(types, endpoint)]);
    if let Some(name) = environment {
        attributes.insert("environment".into(), text(name));
        parents.insert(uid(types.environment.clone(), name));
    }
    Entity::new(database_uid(types, claims), attributes, parents).ok()
}

/// The resource of `see`.
pub(super) fn column(
    claims: &Claims,
    endpoint: &Endpoint,
    asked: &SeeColumn,
    labelling: &Labelling,
    reading: Reading,
) -> Option<Entity> {
    let types = types()?;
    let column = asked.column.as_ref();
    let part = |part: Option<&String>| text(part.map_or("", String::as_str));
    let labels = match (column, reading) {
        (Some(column), _) => labelling.of_column(column),
        (None, Reading::Certain) => BTreeSet::new(),
        (None, Reading::Possible) => labelling.all_labels(),
    };
    let mut attributes = HashMap::from([
        ("schema".into(), part(column.map(|c| &c.schema))),
        ("relation".into(), part(column.map(|c| &c.relation))),
        ("name".into(), part(column.map(|c| &c.column))),
        ("category".into(), text(asked.category.map_or(UNKNOWN, |category| category.as_str()))),
        ("origin_known".into(), Value::new_bool(column.is_some())),
        ("database".into(), text(&claims.database)),
        ("labels".into(), texts(labels.into_iter())),
    ]);
    let mut parents = HashSet::from([server_uid(types, endpoint), database_uid(types, claims)]);
    if let Some(name) = labelling.environment(claims, endpoint) {
        attributes.insert("environment".into(), text(name));
        parents.insert(uid(types.environment.clone(), name));
    }
    if let Some(c) = column {
        parents.insert(uid(types.schema.clone(), &c.schema));
        parents.insert(uid(types.relation.clone(), &format!("{}.{}", c.schema, c.relation)));
    }
    let id = column.map_or_else(|| UNKNOWN.to_owned(), ToString::to_string);
    Entity::new(uid(types.column.clone(), &id), attributes, parents).ok()
}

fn server_uid(types: &Types, endpoint: &Endpoint) -> EntityUid {
    // Policies name a server as clients dial it, in whatever network namespace they are.
    let address = endpoint.address.to_canonical();
    let canonical = Endpoint { address, namespace: None, ..endpoint.clone() };
    uid(types.server.clone(), &canonical.to_string())
}

fn database_uid(types: &Types, claims: &Claims) -> EntityUid {
    uid(types.database.clone(), &claims.database)
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Value {
    Value::new_set(values.map(text))
}

/// All processes have one id: policy tells them apart by what they are, never by which one they are.
const PROCESS_ID: &str = "process";
/// A column's id and category where its origin is not known.
const UNKNOWN: &str = "unknown";
