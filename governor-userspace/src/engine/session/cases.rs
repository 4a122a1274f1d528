//! Cases: questions with the answers that their author expects of a policy set.
//!
//! Pure: reading files is the host's. A case says who asks, from where to where, what, and what is expected; what it
//! leaves out comes from its file, and from there from a plain default.

use super::column_words::ColumnWords;
use super::rehearsal::{Known, Rehearsal, Rehearsed};
use crate::engine::model::{
    Ancestor, Category, Claims, Class, ColumnName, ContainerFacts, Decision, Endpoint, MaskStyle,
    PeerAttestation, Principal, Reason, RemoteClient, SessionId, Timestamp, Verdict,
};
use crate::engine::policy::{
    LabelRule, Labelling, Member, Moment, PolicyError, PolicyParts, PolicySet, SeeColumn, SessionContext,
    Visibility, Word,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A file of cases; `C` is [`Case`], or that with its place in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "C: Deserialize<'de>"))]
pub struct CaseFile<C> {
    /// Who asks, unless a case says otherwise.
    #[serde(rename = "as", default)]
    pub actor: Actor,
    /// Where to, unless a case says otherwise.
    #[serde(default)]
    pub to: To,
    /// These three as in label files; they count before those of the policies.
    #[serde(rename = "label", default)]
    pub labels: Vec<LabelRule>,
    #[serde(rename = "environment", default)]
    pub environments: Vec<crate::engine::policy::EnvironmentRule>,
    #[serde(default)]
    pub groups: BTreeMap<Word, Vec<Member>>,
    #[serde(rename = "case", default = "Vec::new")]
    pub cases: Vec<C>,
}

/// Who asks. What is left out is taken from elsewhere, or is what an ordinary process has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Actor {
    pub class: Option<Class>,
    pub user: Option<String>,
    pub uid: Option<u32>,
    pub login_user: Option<String>,
    pub groups: Option<Vec<String>>,
    pub executable: Option<String>,
    pub executable_sha256: Option<String>,
    pub unit: Option<String>,
    pub container: Option<String>,
    pub pod: Option<String>,
    pub pod_name: Option<String>,
    pub container_name: Option<String>,
    pub image: Option<String>,
    pub cgroup: Option<String>,
    pub terminal: Option<bool>,
    /// Executables of its parents.
    pub ancestors: Option<Vec<String>>,
    /// Of a client on another host.
    pub address: Option<std::net::IpAddr>,
    /// That host's governor says who it is, and this is that host's name; all names end in it, as policy sees them.
    pub peer: Option<String>,
    /// Its hello was bound to TLS.
    pub peer_bound: Option<bool>,
}

/// Where to, and what the client says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct To {
    /// `ADDRESS:PORT`
    pub server: Option<std::net::SocketAddr>,
    pub database: Option<String>,
    /// The database user.
    pub user: Option<String>,
    pub application_name: Option<String>,
}

/// One question and its answer. Exactly one of `sql`, `see` and `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    #[serde(rename = "as", default)]
    pub actor: Actor,
    #[serde(default)]
    pub to: To,
    pub sql: Option<String>,
    /// `schema.relation.column`, or `unknown` for a column of unknown origin.
    pub see: Option<String>,
    #[serde(default)]
    pub connect: bool,
    /// Of `see`: what the column holds; left out: what labels, the configuration and its name say.
    pub category: Option<Category>,

    #[serde(default)]
    pub approved: bool,
    pub break_glass: Option<String>,
    /// RFC 3339, such as `2026-11-26T09:00:00Z`.
    pub at: Option<jiff::Timestamp>,
    pub estimated_rows: Option<u64>,
    pub reads_sensitive: Option<bool>,
    /// Masked columns that have a say in the answer, as `schema.relation.column`; left out: as far as names tell.
    pub conditions: Option<Vec<String>>,
    /// Masked values are put where they would not be masked; left out: as far as names tell.
    pub copies_masked: Option<bool>,
    /// Schemas that names without one can mean; left out: any.
    pub schemas: Option<Vec<String>>,
    /// All names are columns, as the catalogue would say.
    #[serde(default)]
    pub columns_certain: bool,
    /// `@id`s of policies that are left out for this case.
    #[serde(default)]
    pub disabled: Vec<String>,

    pub expect: Expected,
    /// Policies that must be among those that decided.
    #[serde(default)]
    pub by: Vec<String>,
    pub approvers: Option<String>,
    pub mask: Option<MaskStyle>,
    /// `sync`: the record is on disk before the statement is forwarded.
    pub audit: Option<Audit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    Allow,
    Deny,
    Hold,
    Clear,
    Masked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audit {
    Sync,
}

/// What a policy set answers to a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Got {
    pub verdict: Expected,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approvers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskStyle>,
    pub audit_sync: bool,
    pub reasons: Vec<Reason>,
}

impl Expected {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
            Self::Clear => "clear",
            Self::Masked => "masked",
        }
    }
}

impl<C> CaseFile<C> {
    /// The policies of `parts` with what this file says of labels, environments and groups, and without
    /// `disabled`.
    ///
    /// # Errors
    /// Every problem of the policies, and of `disabled`.
    pub fn compile(&self, parts: &PolicyParts, disabled: &[String]) -> Result<PolicySet, PolicyError> {
        let mut labelling = Labelling {
            labels: self.labels.clone(),
            environments: self.environments.clone(),
            groups: self.groups.clone(),
        };
        labelling.extend(parts.labelling.clone());
        let mut all = parts.clone();
        all.labelling = labelling;
        all.disabled.extend_from_slice(disabled);
        PolicySet::compile_parts(&all)
    }

    /// What `set` answers to `case`, with `words` on the columns of its database. Errors say what is wrong with the case.
    pub fn answer(&self, set: &PolicySet, case: &Case, words: &ColumnWords) -> Result<Got, String> {
        case.check(set)?;
        let actor = case.actor.clone().or(&self.actor);
        let to = case.to.clone().or(&self.to);
        let at = case.at.map(|at| u64::try_from(at.as_nanosecond()).map_err(|_| "at: before 1970"));
        let at = at.transpose()?.map(|unix_ns| Moment::of(Timestamp { unix_ns, monotonic_ns: 0 }));
        let around = SessionContext { at, break_glass: case.break_glass.as_deref().map(Into::into) };
        let rehearsal = Rehearsal::new(set, actor.principal().into(), to.claims(), to.destination(), around)
            .with_words(words.clone());
        match (&case.sql, &case.see, case.connect) {
            (Some(sql), None, false) => Ok(Got::of_statements(&rehearsal.run(sql, &case.known()?))),
            (None, Some(column), false) => {
                let asked = column_named(column, case.category)?;
                let visibility = match (&asked.column, case.category) {
                    // What nothing calls sensitive is shown as it is.
                    (Some(name), None) => {
                        rehearsal.column(name, true).map_or(Visibility::Clear, |found| found.visibility)
                    }
                    _ => rehearsal.see(&asked),
                };
                Ok(Got::of_column(visibility))
            }
            (None, None, true) => Ok(Got::of_decision(&rehearsal.connect())),
            _ => Err("a case has one of sql, see and connect = true".into()),
        }
    }
}

impl Case {
    /// What no answer could be.
    fn check(&self, set: &PolicySet) -> Result<(), String> {
        let is_column = matches!(self.expect, Expected::Clear | Expected::Masked);
        match (self.see.is_some(), is_column) {
            (false, true) => {
                return Err(format!(
                    "expect: a statement or connection is never {:?}: write \"allow\", \"deny\" or \"hold\"; how a column is \
                     shown is a case of its own, with see = \"schema.relation.column\"",
                    self.expect.as_str()
                ));
            }
            (true, false) => {
                return Err(format!(
                    "expect: a column is never {:?}: write \"clear\" or \"masked\"",
                    self.expect.as_str()
                ));
            }
            _ => {}
        }
        match self.by.iter().find(|id| !set.has_id(id)) {
            None => Ok(()),
            Some(id) => Err(format!(
                "by: no policy has the id {id:?}: write the @id of one that is among those of --policies, the \
                 configuration or the built-in ones (`governor policy show`), and is not disabled"
            )),
        }
    }

    fn known(&self) -> Result<Known, String> {
        let named = |column: &String| {
            column_named(column, None)?.column.ok_or_else(|| format!("{column:?} is no column"))
        };
        let conditions = self.conditions.as_ref().map(|columns| columns.iter().map(named).collect());
        Ok(Known {
            approved: self.approved,
            reads_sensitive: self.reads_sensitive,
            estimated_rows: self.estimated_rows,
            bare_schemas: self.schemas.clone().map(Arc::from),
            columns_certain: self.columns_certain,
            conditions: conditions.transpose()?,
            copies_masked: self.copies_masked,
        })
    }

    /// What is not as expected: empty where all is well.
    pub fn differences(&self, got: &Got) -> Vec<String> {
        let mut found = vec![];
        if self.expect != got.verdict {
            found.push(format!("expected {}, got {}", self.expect.as_str(), got.verdict.as_str()));
        }
        for id in &self.by {
            if !got.reasons.iter().any(|reason| reason.policy == *id) {
                found.push(format!("expected {id} among the policies that decided"));
            }
        }
        let none = "nobody";
        if let Some(approvers) = &self.approvers
            && got.approvers.as_ref() != Some(approvers)
        {
            let got = got.approvers.as_deref().unwrap_or(none);
            found.push(format!("expected an approval by {approvers}, got one by {got}"));
        }
        if let Some(mask) = self.mask
            && got.mask != Some(mask)
        {
            let got = got.mask.map_or("none", MaskStyle::as_str);
            found.push(format!("expected the mask {}, got {got}", mask.as_str()));
        }
        if self.audit.is_some() && !got.audit_sync {
            found.push("expected a record on disk first (audit = \"sync\")".into());
        }
        found
    }
}

impl Got {
    fn of_statements(all: &[Rehearsed]) -> Self {
        let verdict = Rehearsed::strictest(all);
        let mut reasons: Vec<Reason> = vec![];
        for reason in Rehearsed::reasons(all) {
            if !reasons.contains(reason) {
                reasons.push(reason.clone());
            }
        }
        let groups =
            all.iter().filter_map(|one| one.decision.hold.as_ref()).flat_map(|h| h.approvers.split('+'));
        let groups: std::collections::BTreeSet<&str> = groups.collect();
        let groups: Vec<&str> = groups.into_iter().collect();
        Self {
            verdict: verdict.into(),
            approvers: (verdict == Verdict::Hold).then(|| groups.join("+")),
            mask: None,
            audit_sync: all.iter().any(|one| one.decision.obligations.audit_sync),
            reasons,
        }
    }

    fn of_decision(decision: &Decision) -> Self {
        Self {
            verdict: decision.verdict.into(),
            approvers: decision.hold.as_ref().map(|hold| hold.approvers.clone()),
            mask: None,
            audit_sync: decision.obligations.audit_sync,
            reasons: decision.reasons.to_vec(),
        }
    }

    fn of_column(visibility: Visibility) -> Self {
        let (verdict, mask, reasons) = match visibility {
            // The policies that show a column are not told: only those that hide it are kept.
            Visibility::Clear => (Expected::Clear, None, vec![]),
            Visibility::Masked { style, reasons } => (Expected::Masked, Some(style), reasons.to_vec()),
        };
        Self { verdict, approvers: None, mask, audit_sync: false, reasons }
    }
}

impl From<Verdict> for Expected {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow => Self::Allow,
            Verdict::Deny => Self::Deny,
            Verdict::Hold => Self::Hold,
        }
    }
}

impl Actor {
    /// What this one leaves out, as `other` has it.
    pub fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            class: self.class.or(other.class),
            user: self.user.or(other.user),
            uid: self.uid.or(other.uid),
            login_user: self.login_user.or(other.login_user),
            groups: self.groups.or(other.groups),
            executable: self.executable.or(other.executable),
            executable_sha256: self.executable_sha256.or(other.executable_sha256),
            unit: self.unit.or(other.unit),
            container: self.container.or(other.container),
            pod: self.pod.or(other.pod),
            pod_name: self.pod_name.or(other.pod_name),
            container_name: self.container_name.or(other.container_name),
            image: self.image.or(other.image),
            cgroup: self.cgroup.or(other.cgroup),
            terminal: self.terminal.or(other.terminal),
            ancestors: self.ancestors.or(other.ancestors),
            address: self.address.or(other.address),
            peer: self.peer.or(other.peer),
            peer_bound: self.peer_bound.or(other.peer_bound),
        }
    }

    /// Of a client on another host. A peer's name alone will do: then its address is some other one.
    fn remote(&self) -> Option<RemoteClient> {
        let attested = self.peer.as_ref().map(|peer| PeerAttestation {
            peer: peer.clone(),
            key: String::new(),
            bound: self.peer_bound.unwrap_or(true),
            host: peer.clone(),
            session: SessionId("".into()),
            at_unix_ns: 0,
            uid: self.uid.unwrap_or(PLAIN_UID),
            gid: PLAIN_UID,
            login_uid: None,
        });
        let address = self.address.or_else(|| attested.as_ref().map(|_| SOME_ADDRESS))?;
        Some(RemoteClient { attested, ..RemoteClient::at(address) })
    }

    /// A process like that. What nobody said is what an ordinary process has: a person has a terminal and
    /// logged in under their own name.
    pub fn principal(&self) -> Principal {
        let class = self.class.unwrap_or(Class::Person);
        let user = self.user.clone().unwrap_or_else(|| "nobody".into());
        let login_user = self.login_user.clone().or_else(|| (class != Class::Service).then(|| user.clone()));
        let uid = self.uid.unwrap_or(PLAIN_UID);
        let ancestors = self.ancestors.iter().flatten();
        Principal {
            class,
            class_evidence: vec![],
            pid: 0,
            start_ticks: 0,
            uid,
            user,
            gid: uid,
            groups: self.groups.clone().unwrap_or_default(),
            login_uid: login_user.as_ref().map(|_| PLAIN_UID),
            login_user,
            command: String::new(),
            executable: self.executable.clone(),
            executable_sha256: self.executable_sha256.clone(),
            command_line: vec![],
            cgroup_id: 0,
            cgroup: self.cgroup.clone(),
            unit: self.unit.clone(),
            container: self.container.clone(),
            container_facts: ContainerFacts {
                pod: self.pod.clone(),
                pod_name: self.pod_name.clone(),
                container_name: self.container_name.clone(),
                image: self.image.clone(),
            },
            terminal: self.terminal.unwrap_or(class == Class::Person).then(|| "pts/0".into()),
            ancestors: ancestors
                .map(|path| Ancestor { pid: 0, start_ticks: 0, executable: path.clone() })
                .collect(),
            remote: self.remote(),
        }
    }
}

impl To {
    /// What this one leaves out, as `other` has it.
    pub fn or(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            server: self.server.or(other.server),
            database: self.database.or(other.database),
            user: self.user.or(other.user),
            application_name: self.application_name.or(other.application_name),
        }
    }

    pub fn claims(&self) -> Claims {
        let user = self.user.clone().unwrap_or_else(|| "app".into());
        Claims {
            // As the server does where a client names none.
            database: self.database.clone().unwrap_or_else(|| user.clone()),
            user,
            application_name: self.application_name.clone().unwrap_or_default(),
        }
    }

    pub fn destination(&self) -> Endpoint {
        self.server.map_or(LOCAL, |server| Endpoint::tcp(server.ip(), server.port()))
    }
}

/// `schema.relation.column` or `unknown`.
pub fn column_named(text: &str, category: Option<Category>) -> Result<SeeColumn, String> {
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        ["unknown"] => Ok(SeeColumn { column: None, category }),
        [schema, relation, column] if parts.iter().all(|part| !part.is_empty()) => {
            let column = ColumnName {
                schema: (*schema).into(),
                relation: (*relation).into(),
                column: (*column).into(),
            };
            Ok(SeeColumn { column: Some(column), category })
        }
        _ => Err(format!("see: {text:?} is no column; write schema.relation.column, or unknown")),
    }
}

const PLAIN_UID: u32 = 1000;
/// Of a documentation network: nobody's (RFC 5737).
const SOME_ADDRESS: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const LOCAL: Endpoint = Endpoint::tcp(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5432);

#[cfg(test)]
mod tests;
