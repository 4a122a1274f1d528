//! The configuration, checked and typed: what the rest of governor reads.

use crate::engine::policy;
pub use crate::engine::session::{ColumnPattern, DiscoverySettings};
use crate::host::identity::{Glob, IdentityRules};
pub use crate::host::peers::{HelloMode, Peer};
use crate::host::policy::PolicyOptions;
pub use crate::host::telemetry::log::LogFormat;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod check;
mod masking;

pub use check::{load, parse};
pub use masking::{ColumnLabel, Inference, Masking, MaskingKeys, UnknownColumns};

/// Where the configuration is looked for if none is named; it may be absent.
pub const DEFAULT_PATH: &str = "/etc/governor/governor.toml";

/// Everything that an operator decides. `Config::default()` is what holds without a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub capture: Capture,
    pub tls: Tls,
    pub identity: Identity,
    pub policy: Policy,
    pub masking: Masking,
    pub approvals: Approvals,
    pub audit: Audit,
    pub metrics: Metrics,
    pub limits: Limits,
    pub log: Log,
}

/// What the command line decides instead of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub profile: Option<Profile>,
}

/// Which traffic is captured, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    pub rules: Vec<CaptureRule>,
    /// Servers of this host whose connections are captured where they arrive.
    pub inbound: Vec<CaptureInbound>,
    /// Where governor's own sockets live; `None` is the group that governor runs in.
    pub own_cgroup: Option<CgroupRef>,
    pub on_stop: OnStop,
    /// Servers' sockets that are taken over. No two share a path.
    pub unix: Vec<CaptureUnix>,
    /// Network namespaces beside governor's own that are served.
    pub namespaces_max: usize,
    /// Listeners for each address family in each namespace.
    pub listeners: usize,
}

/// Ports captured in one cgroup and the groups below it. No two rules share cgroup and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureRule {
    pub cgroup: CgroupRef,
    /// At least one; none is 0.
    pub ports: Vec<u16>,
    pub protocol: Protocol,
    pub when_down: WhenDown,
    pub tls: TlsMode,
    pub open_connections: OpenConnections,
    pub raw_sockets: RawSockets,
}

/// A server of this host, by its ports, its unit or its cgroup: at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureInbound {
    /// Empty: whatever the unit or cgroup listens on.
    pub ports: Vec<u16>,
    pub unit: Option<Glob>,
    /// Path below the cgroup v2 mount.
    pub cgroup: Option<Glob>,
    pub namespaces: InboundNamespaces,
    /// Ports of this host that lead to the server in its container, by translated addresses or through a relay.
    pub published: Vec<u16>,
    /// Whose processes are known when they connect to it from this host.
    pub clients: CgroupRef,
    pub protocol: Protocol,
    pub when_down: WhenDown,
    pub tls: TlsMode,
    pub open_connections: OpenConnections,
}

/// In which network namespaces a server is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InboundNamespaces {
    /// In governor's own.
    Own,
    /// In those of containers, and not in governor's own.
    Others,
    All,
}

impl InboundNamespaces {
    pub fn has_own(self) -> bool {
        self != Self::Others
    }

    pub fn has_others(self) -> bool {
        self != Self::Own
    }
}

/// A unix socket of a server on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureUnix {
    /// Absolute; `*` in the file's name stands for any run of characters.
    pub path: PathBuf,
    pub protocol: Protocol,
    pub when_down: WhenDown,
    pub direct_connections: DirectConnections,
    /// Permissions of governor's socket; `None`: those of the server's.
    pub mode: Option<u32>,
}

/// What happens to connections to a server's own socket, past governor's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectConnections {
    /// Each is reported; it goes on, unread.
    #[default]
    Report,
    /// Each is reported and ended.
    End,
}

/// A cgroup as written: below the cgroup v2 mount, or an absolute path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupRef(String);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    #[default]
    Postgres,
}

/// What happens to new connections that governor cannot take: it was killed or stopped, hangs, or has no
/// listener in their network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenDown {
    #[default]
    Refuse,
    Pass,
}

/// What happens at the start to connections that were made before anything governed them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpenConnections {
    /// Each is reported; it goes on, unread.
    #[default]
    Report,
    /// Each is reported and ended: its client connects again, through governor.
    End,
}

/// What happens to raw sockets that carry TCP, for which their owner needs CAP_NET_RAW.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RawSockets {
    #[default]
    Refuse,
    Pass,
}

/// What a clean stop does with the kernel programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStop {
    /// They stay, and refuse or pass connections as each rule's `when_down` says.
    #[default]
    Keep,
    /// They are taken off: connections go direct.
    Detach,
}

/// What happens when a client asks for TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Offer what the server offers, end it on both connections, read what is inside.
    #[default]
    Terminate,
    /// Answer no: `sslmode=prefer` goes on in clear, `require` ends.
    Decline,
    /// End the session with an error.
    Refuse,
    /// Relay it unread and put that on record.
    PassUnread,
}

/// Certificates that are shown and trusted where TLS is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub server_keys: Vec<ServerKey>,
    /// Look for the key of a server on this host where its own configuration says.
    pub discover_server_keys: bool,
    /// PEM files of roots for servers' certificates.
    pub upstream_roots: Vec<PathBuf>,
    /// PEM files of revocation lists for servers' certificates.
    pub upstream_crls: Vec<PathBuf>,
    /// The operating system's roots count too.
    pub system_roots: bool,
    /// PEM files of roots for clients' certificates.
    pub client_roots: Vec<PathBuf>,
    /// PEM files of revocation lists for clients' certificates.
    pub client_crls: Vec<PathBuf>,
    pub client_certificates: ClientCertificates,
}

/// A server's own certificate chain and key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKey {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What the server is shown where a client presents a certificate, whose key governor does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// Nothing: it is on record only.
    #[default]
    Record,
    /// One of governor's CA with the same subject, if the client's leads to one of `client_roots`.
    Reissue,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// What [`rules`](Self::rules) were extended from; already read.
    pub agents_file: Option<PathBuf>,
    pub rules: IdentityRules,
    /// No two have the same name or key.
    pub peers: Vec<Peer>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Policy is enforced.
    #[default]
    Protect,
    /// No statement is denied, held or masked; all are recorded.
    Observe,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub profile: Profile,
    pub directory: PathBuf,
    /// The directory was named in the file, so it must exist.
    pub directory_required: bool,
    /// The built-in policies are in force.
    pub builtin: bool,
    /// Ids of built-in policies that are not.
    pub disabled: Vec<String>,
    /// Rule packs in force; each exists.
    pub packs: Vec<String>,
    /// Of `context.time`; it exists.
    pub time_zone: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// A hold ends unanswered after this; more than 0, at most 24 hours.
    pub timeout: Duration,
    pub pending_max: usize,
    /// Group of the host that owns the control socket; `None`: the agent's own.
    pub socket_group: Option<String>,
    /// Root may answer for a statement of the same login.
    pub self_approval_as_root: bool,
    pub groups: BTreeMap<String, Vec<Approver>>,
}

/// Who belongs to a group of approvers, by the credentials of the control socket's peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approver {
    /// `alice`
    User(String),
    /// `uid:1001`
    Uid(u32),
    /// `group:dbas`, a group of the host
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub segment_bytes_max: u64,
    pub checkpoint_records: u32,
    pub checkpoint_interval: Duration,
    /// Longer statements are cut in records; their whole length is recorded.
    pub text_bytes_max: usize,
    /// Bound values kept per statement.
    pub parameters_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// `None`: no metrics endpoint.
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections_max: usize,
    /// Of one source: a user of the host in one cgroup.
    pub connections_per_source_max: usize,
    pub statement_bytes_max: usize,
    /// The largest row that can be masked; a larger one ends its session.
    pub row_bytes_max: usize,
    /// From accept to the whole start-up packet.
    pub startup_timeout: Duration,
    /// From then to the server's first ReadyForQuery, the connecting not counted.
    pub authentication_timeout: Duration,
    pub upstream_connect_timeout: Duration,
    pub drain_timeout: Duration,
    /// How long sessions of an agent that was upgraded may go on in its old process.
    pub upgrade_timeout: Duration,
    /// A silent peer that does not answer the kernel's probes for so long is gone; `None`: never asked.
    pub peer_timeout: Option<Duration>,
    pub cancel_unknown: CancelUnknown,
    /// Threads; `None`: one for each core.
    pub workers: Option<usize>,
}

/// A service's cancel request with a key that no live session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CancelUnknown {
    /// Nothing happens, on record.
    #[default]
    Drop,
    /// The server judges it: for sessions that were open before governor was started.
    Forward,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// Ordered from the quietest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Why a configuration was refused. Nothing of it is in force then.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}: {key}: {reason}", path.display())]
    Invalid {
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Such as `limits.row_bytes_max`.
        key: String,
        reason: String,
    },
}

impl CgroupRef {
    /// The root group: everything on the host.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// `text` may be relative or absolute, must not climb (`..`).
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("a cgroup must not be empty; \"/\" is the root group".into());
        }
        if text.split('/').any(|part| part == ".." || part == ".") {
            return Err(format!("{text:?} must not contain \".\" or \"..\""));
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group's directory, given where cgroup v2 is mounted.
    pub fn directory(&self, cgroup2_mount: &Path) -> PathBuf {
        let written = Path::new(&self.0);
        let below = written.strip_prefix(cgroup2_mount).unwrap_or(written);
        let below = below.strip_prefix("/").unwrap_or(below);
        if below.as_os_str().is_empty() { cgroup2_mount.into() } else { cgroup2_mount.join(below) }
    }
}

impl Profile {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protect => "protect",
            Self::Observe => "observe",
        }
    }
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            rules: vec![CaptureRule::default()],
            inbound: Vec::new(),
            own_cgroup: None,
            on_stop: OnStop::default(),
            unix: Vec::new(),
            namespaces_max: 256,
            listeners: 4,
        }
    }
}

impl Default for CaptureRule {
    fn default() -> Self {
        Self {
            cgroup: CgroupRef::root(),
            ports: vec![5432],
            protocol: Protocol::default(),
            when_down: WhenDown::default(),
            tls: TlsMode::default(),
            open_connections: OpenConnections::default(),
            raw_sockets: RawSockets::default(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            server_keys: Vec::new(),
            discover_server_keys: true,
            upstream_roots: Vec::new(),
            upstream_crls: Vec::new(),
            system_roots: true,
            client_roots: Vec::new(),
            client_crls: Vec::new(),
            client_certificates: ClientCertificates::default(),
        }
    }
}

impl Policy {
    /// What this says about the policy set that is in force.
    pub fn options(&self) -> PolicyOptions {
        let is_enforced = self.profile == Profile::Protect;
        PolicyOptions {
            profile: match self.profile {
                Profile::Protect => policy::Profile::Protect,
                Profile::Observe => policy::Profile::Observe,
            },
            builtin: self.builtin || !is_enforced,
            // Observing changes nothing: packs and the operator's own policies would.
            disabled: if is_enforced { self.disabled.clone() } else { Vec::new() },
            packs: if is_enforced { self.packs.clone() } else { Vec::new() },
            zone: Some(self.time_zone.clone()).filter(|name| name != "UTC"),
            dir: is_enforced.then(|| self.directory.clone()),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            directory: "/etc/governor/policies".into(),
            directory_required: false,
            builtin: true,
            disabled: Vec::new(),
            packs: Vec::new(),
            time_zone: "UTC".into(),
        }
    }
}

impl Default for Approvals {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            pending_max: 1000,
            socket_group: None,
            self_approval_as_root: false,
            groups: BTreeMap::new(),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            checkpoint_records: 1000,
            checkpoint_interval: Duration::from_secs(10),
            text_bytes_max: 4096,
            parameters_max: 64,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 9847))) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_source_max: 5_000,
            statement_bytes_max: 1 << 20,
            row_bytes_max: 64 << 20,
            startup_timeout: Duration::from_secs(10),
            // A little more than the server's own default, so that its answer comes first.
            authentication_timeout: Duration::from_secs(65),
            upstream_connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            upgrade_timeout: Duration::from_secs(600),
            peer_timeout: Some(Duration::from_secs(120)),
            cancel_unknown: CancelUnknown::default(),
            workers: None,
        }
    }
}

#[cfg(test)]
mod tests;
