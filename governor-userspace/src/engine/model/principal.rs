//! Who is asking, as the kernel attests it.

use super::endpoint::SessionId;
use super::tls::PeerCertificate;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What kind of actor a process is. Decided from process evidence, never from what a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A program that nobody drives by hand: a systemd unit, a container, a job.
    Service,
    /// A human at a terminal or in a login session.
    Person,
    /// An AI agent, or a tool that one runs.
    Agent,
}

impl Class {
    pub const ALL: [Class; 3] = [Class::Service, Class::Person, Class::Agent];

    /// The word used in configuration, policy, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Service => "service",
            Class::Person => "person",
            Class::Agent => "agent",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One process above the caller in the process tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat` field 22): with the pid, a process's name.
    pub start_ticks: u64,
    /// Path of the executable, or its short name where the path cannot be read.
    pub executable: String,
}

/// What the host knows of a container beside its identity. All of it is absent outside of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerFacts {
    /// UID of the Kubernetes pod, or id of Podman's, from the cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// `namespace/name` of the pod, as the engine has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The container's name, as the engine has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// The image that it was made of, as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// A client on another host: its address, and what it proved. Nothing of its process is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteClient {
    pub address: IpAddr,
    /// The TLS certificate that it presented and whose key it holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate: Option<PeerCertificate>,
    /// Which process it is, by the word of its host's governor: then the principal is that process, with the names of
    /// that host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attested: Option<PeerAttestation>,
}

/// Who vouches for the process of a client on another host: what its governor said in a signed hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAttestation {
    /// What the configuration calls that host.
    pub peer: String,
    /// Of the key that signed: SHA-256, in hexadecimal.
    pub key: String,
    /// It came within the TLS connection that it names. Else whoever is between the two hosts could have taken the
    /// connection over afterwards.
    pub bound: bool,
    /// What that host calls itself.
    pub host: String,
    /// The session in that governor's own audit.
    pub session: SessionId,
    /// When it was signed, nanoseconds since 1970 by that host's clock.
    pub at_unix_ns: u64,
    /// As numbers of that host, where the principal has none.
    pub uid: u32,
    pub gid: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub login_uid: Option<u32>,
}

impl RemoteClient {
    /// Nothing is known but where it is.
    pub fn at(address: IpAddr) -> Self {
        Self { address, certificate: None, attested: None }
    }
}

/// The process behind a connection, read from the kernel when it connected; or a client on another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub class: Class,
    /// Why `class` was chosen, strongest evidence first, for people to read.
    pub class_evidence: Vec<String>,
    /// 0 for a client on another host, unless that host's governor said more.
    pub pid: u32,
    /// Start time in clock ticks since boot; 0 where the process was gone before it could be read.
    pub start_ticks: u64,
    /// [`Principal::NO_ID`] for a client on another host.
    pub uid: u32,
    /// Login name of `uid`; its number where the host knows no name. For a client on another host its address, or
    /// `NAME@PEER` where that host's governor said who it is.
    pub user: String,
    pub gid: u32,
    /// Group names of the user, and groups that the configuration assigns.
    pub groups: Vec<String>,
    /// The uid that logged in (`/proc/PID/loginuid`), which survives su and sudo; `None` where unset.
    pub login_uid: Option<u32>,
    pub login_user: Option<String>,
    /// Short name from the kernel at connect time: always known.
    pub command: String,
    /// Absolute path; `None` where the process was gone or may not be read.
    pub executable: Option<String>,
    /// SHA-256 of the executable's file, in hexadecimal; `None` where it could not be read, or is too large.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub executable_sha256: Option<String>,
    /// Arguments, bounded, with secrets removed.
    pub command_line: Vec<String>,
    pub cgroup_id: u64,
    /// Path below the cgroup v2 mount.
    pub cgroup: Option<String>,
    pub unit: Option<String>,
    /// Identity that the container engine gave it, from the cgroup; below a unit `UNIT/ID`.
    pub container: Option<String>,
    #[serde(flatten)]
    pub container_facts: ContainerFacts,
    /// Controlling terminal such as `pts/3`.
    pub terminal: Option<String>,
    /// Parents, nearest first, bounded.
    pub ancestors: Vec<Ancestor>,
    /// Not a process of this host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remote: Option<RemoteClient>,
}

impl Principal {
    /// In place of uid and gid of a client on another host: the number that the kernel gives to nobody.
    pub const NO_ID: u32 = u32::MAX;

    /// One line for people: `agent claude (pid 4711, alice)`.
    pub fn summary(&self) -> String {
        if let Some(remote) = self.remote.as_ref().filter(|remote| remote.attested.is_none()) {
            let subject = remote.certificate.as_ref().map(|shown| format!(", certificate {}", shown.subject));
            return format!("{} at {}{}", self.class, remote.address, subject.unwrap_or_default());
        }
        let program = self
            .executable
            .as_deref()
            .and_then(|path| path.rsplit('/').next())
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.command);
        format!(
            "{} {program} (pid {}, {})",
            self.class,
            self.pid,
            self.login_user.as_ref().unwrap_or(&self.user)
        )
    }
}
