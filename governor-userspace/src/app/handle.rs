//! What the surface may ask of a running agent, and nothing else.
//!
//! The command line's control socket and the metrics endpoint see this handle; they never see a
//! socket of the data path, a map or a ledger segment. What needs those is behind [`Agent`].

use crate::engine::approval::Answer;
use crate::engine::audit::{AgentGap, Completeness};
use crate::engine::model::Timestamp;
use crate::engine::session::explain::{Explanation, Question};
use crate::host::approvals::{AnswerError, Approval, ApprovalStore, Approver, ApproverRules, NotAllowed};
use crate::host::clock;
use crate::host::discovery::{DataAsk, DataColumn, DataError, DataFilter};
use crate::host::glass::{GlassAnswer, GlassError, GlassRequest};
use crate::host::masking::{KeyInfo, RevealAnswer, RevealError, RevealRequest, RotateError};
use crate::host::telemetry::{KernelCounters, Metrics, MetricsError};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// The parts of the agent behind the handle. Methods may block; none is called on the data path.
pub trait Agent: Send + Sync {
    /// Capture rules in force, one line each: `cgroup /demo ports 5432 (postgres)`.
    fn capture(&self) -> Vec<String>;
    /// Hosts whose governors say who their clients are, one line each.
    fn peers(&self) -> Vec<String> {
        Vec::new()
    }
    /// Reads the key of hellos and the configuration's peers again. Those before hold where this fails.
    fn reload_peers(&self) -> Result<PeersReload, String> {
        Err("this agent has no peers".into())
    }
    fn policy_version(&self) -> String;
    /// Reads the policy directory again. The set before stays in force where this fails; the error
    /// names file, line and reason.
    fn reload_policy(&self) -> Result<PolicyReload, String>;
    /// What the policy set in force answers. The error says what is wrong with the question.
    fn explain(&self, question: &Question) -> Result<Explanation, String>;
    fn ledger(&self) -> LedgerStatus;
    /// What the kernel counted beside what records account for.
    fn completeness(&self) -> Option<Completeness> {
        None
    }
    /// Times without governance that this agent knows of.
    fn gaps(&self) -> Gaps {
        Gaps::default()
    }
    /// Starts the program that is installed now, which takes over from this one. Answers its process id.
    fn upgrade(&self) -> Result<u32, String> {
        Err("this agent cannot be upgraded".into())
    }
    /// Why the last upgrade came to nothing.
    fn upgrade_failure(&self) -> Option<String> {
        None
    }
    /// What is wrong with the kernel programs or their pins now.
    fn kernel_trouble(&self) -> Option<String> {
        None
    }
    /// What is attached where, and how full what it needs is.
    fn kernel_side(&self) -> KernelSide {
        KernelSide::default()
    }
    /// `None` before the kernel programs are attached.
    fn kernel(&self) -> Option<KernelCounters>;
    /// Breaks the glass for the login of this process, by the control socket's word; who may was checked.
    fn break_glass(
        &self,
        _pid: i32,
        _uid: u32,
        _gid: u32,
        _: GlassRequest,
    ) -> Result<GlassAnswer, GlassError> {
        Err(GlassError::NotServed)
    }
    /// Ends that.
    fn mend_glass(&self, _pid: i32, _uid: u32, _gid: u32) -> Result<GlassAnswer, GlassError> {
        Err(GlassError::NotServed)
    }
    /// Turns tokens back into values for this process, by the control socket's word, or puts its refusal on record.
    fn reveal(
        &self,
        _pid: i32,
        _uid: u32,
        _gid: u32,
        _is_member: bool,
        _: &RevealRequest,
    ) -> Result<RevealAnswer, RevealError> {
        Err(RevealError::NotServed)
    }
    /// Masking keys by name, oldest first.
    fn masking_keys(&self) -> Vec<KeyInfo> {
        Vec::new()
    }
    /// Makes another one that masks from now on; who may was checked.
    fn rotate_masking_key(&self, _pid: i32, _uid: u32, _gid: u32) -> Result<KeyInfo, RotateError> {
        Err(RotateError::NotServed)
    }
    /// Columns that something is known of.
    fn data(&self, _: &DataFilter) -> Result<Vec<DataColumn>, DataError> {
        Err(DataError::NotServed)
    }
    /// Takes the word of the process at the other end of the control socket; who may was checked.
    fn say_of_data(
        &self,
        _pid: i32,
        _uid: u32,
        _gid: u32,
        _by: String,
        _: &DataAsk,
    ) -> Result<DataColumn, DataError> {
        Err(DataError::NotServed)
    }
}

/// A policy set that came into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReload {
    pub version: String,
    pub policies: u64,
}

/// Keys and peers that were read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersReload {
    /// Whether anything is another now.
    pub changed: bool,
    /// This host's own key, as SHA-256 in hexadecimal.
    pub key: String,
    pub peers: u64,
}

/// Where the audit chain stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerStatus {
    /// Number of the last record; 0 where there is none.
    pub sequence: u64,
    /// Why records cannot be written now; `None` while they can.
    pub error: Option<String>,
}

/// Times without governance: the one before this agent, and those in which it hung.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    pub count: u64,
    pub last: Option<AgentGap>,
}

/// Where the agent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not yet attached.
    Starting,
    /// Attached and accepting.
    Ready,
    /// Accepts nothing more; open sessions may finish.
    Draining,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// The kernel programs, as the agent holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSide {
    pub hooks: Vec<StatusHook>,
    pub maps: Vec<StatusMap>,
    /// What the kernel counted, by listener of governor's, and by namespace for connections to databases.
    #[serde(default)]
    pub listeners: Vec<StatusListener>,
    /// Programs of others that run for the same sockets.
    pub foreign: Vec<StatusForeign>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusHook {
    pub program: String,
    pub cgroup: String,
    /// It outlives the agent.
    pub pinned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMap {
    pub map: String,
    pub entries: u64,
    pub capacity: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusListener {
    /// The kernel's number of the network namespace.
    pub netns_cookie: u64,
    /// Of the listener; absent for connections to databases.
    pub port: Option<u16>,
    pub opened: u64,
    pub closed: u64,
    /// Of those that closed, as TCP counts: with SYNs and FINs.
    pub bytes_received: u64,
    pub bytes_acked: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusForeign {
    pub hook: String,
    /// The kernel's number of the program; `governor doctor` knows its name.
    pub program_id: u32,
    /// For whose sockets it runs.
    pub cgroup: String,
    pub consequence: String,
}

/// Network namespaces beside governor's own, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusNamespaces {
    /// With captured processes: governor listens there, or cannot.
    pub served: u64,
    pub unserved: u64,
    /// With servers that are to be captured: their connections are governed, or cannot be.
    pub inbound_served: u64,
    pub inbound_unserved: u64,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub phase: Phase,
    pub uptime_s: u64,
    pub profile: String,
    pub policy_version: String,
    pub capture: Vec<String>,
    /// Hosts whose governors say who their clients are, one line each.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Open now, by class.
    pub sessions_active: BTreeMap<String, u64>,
    /// Decided since the start, by verdict.
    pub statements: BTreeMap<String, u64>,
    pub holds_pending: u64,
    pub ledger: LedgerStatus,
    pub kernel: Option<KernelCounters>,
    #[serde(default)]
    pub completeness: Option<Completeness>,
    #[serde(default)]
    pub kernel_side: KernelSide,
    #[serde(default)]
    pub namespaces: StatusNamespaces,
    /// To captured ports, open now and not governed: from before the start, or on sockets from elsewhere.
    #[serde(default)]
    pub open_connections: u64,
    #[serde(default)]
    pub gaps: Gaps,
    /// Why the last upgrade came to nothing.
    #[serde(default)]
    pub upgrade_failure: Option<String>,
    pub metrics_address: Option<String>,
}

/// `GET /healthz`: can the agent do its work?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub healthy: bool,
    /// What is wrong; empty where nothing is.
    pub problems: Vec<String>,
}

/// Why an answer to a hold was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// Everything a handle is made of.
pub struct HandleParts {
    pub profile: String,
    pub started: Timestamp,
    pub agent: Box<dyn Agent>,
    pub approvals: Arc<ApprovalStore>,
    pub approver_rules: ApproverRules,
    pub metrics: Arc<Metrics>,
}

/// A reference to the running agent; clones share it.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    profile: String,
    started: Timestamp,
    agent: Box<dyn Agent>,
    approvals: Arc<ApprovalStore>,
    approver_rules: ArcSwap<ApproverRules>,
    metrics: Arc<Metrics>,
    metrics_address: ArcSwap<Option<String>>,
    phase: watch::Sender<Phase>,
}

impl Handle {
    /// Starts in [`Phase::Starting`].
    pub fn new(parts: HandleParts) -> Self {
        let shared = Shared {
            profile: parts.profile,
            started: parts.started,
            agent: parts.agent,
            approvals: parts.approvals,
            approver_rules: ArcSwap::from_pointee(parts.approver_rules),
            metrics: parts.metrics,
            metrics_address: ArcSwap::from_pointee(None),
            phase: watch::Sender::new(Phase::Starting),
        };
        Self { shared: Arc::new(shared) }
    }

    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// The data path is attached and accepts. Does nothing while draining.
    pub fn set_ready(&self) {
        self.shared.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Ready;
                self.shared.metrics.set_ready(true);
            }
            starting
        });
    }

    /// Asks the agent to stop accepting, let open sessions finish, and end. Never undone.
    pub fn drain(&self) {
        self.shared.metrics.set_ready(false);
        self.shared.phase.send_replace(Phase::Draining);
    }

    /// Returns once [`Handle::drain`] was called.
    pub async fn drain_requested(&self) {
        let mut phase = self.shared.phase.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    }

    pub fn approvals(&self) -> &Arc<ApprovalStore> {
        &self.shared.approvals
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// After the configuration was read again.
    pub fn set_approver_rules(&self, rules: ApproverRules) {
        self.shared.approver_rules.store(Arc::new(rules));
    }

    /// `HOST:PORT` where metrics are really served.
    pub fn set_metrics_address(&self, address: String) {
        self.shared.metrics_address.store(Arc::new(Some(address)));
    }

    pub fn status(&self) -> Status {
        let shared = &self.shared;
        let named = |pairs: Vec<(&'static str, u64)>| {
            pairs.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
        };
        let sessions =
            shared.metrics.sessions_active().into_iter().map(|(class, open)| (class.as_str(), open));
        let statements = shared
            .metrics
            .statements_by_verdict()
            .into_iter()
            .map(|(verdict, count)| (verdict.as_str(), count));
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            phase: self.phase(),
            uptime_s: clock::now().since_ns(shared.started) / 1_000_000_000,
            profile: shared.profile.clone(),
            policy_version: shared.agent.policy_version(),
            capture: shared.agent.capture(),
            peers: shared.agent.peers(),
            sessions_active: named(sessions.collect()),
            statements: named(statements.collect()),
            holds_pending: shared.approvals.pending_count() as u64,
            ledger: shared.agent.ledger(),
            kernel: shared.agent.kernel(),
            completeness: shared.agent.completeness(),
            kernel_side: shared.agent.kernel_side(),
            namespaces: {
                let [(served, unserved), (inbound_served, inbound_unserved)] =
                    shared.metrics.namespaces_now();
                StatusNamespaces { served, unserved, inbound_served, inbound_unserved }
            },
            open_connections: shared.metrics.open_connections_left(),
            gaps: shared.agent.gaps(),
            upgrade_failure: shared.agent.upgrade_failure(),
            metrics_address: shared.metrics_address.load().as_ref().clone(),
        }
    }

    pub fn health(&self) -> Health {
        let mut problems = Vec::new();
        if let Some(error) = self.shared.agent.ledger().error {
            problems.push(format!("audit ledger: {error}"));
        }
        if self.phase() == Phase::Ready && self.shared.agent.kernel().is_none() {
            problems.push("kernel programs: not attached".into());
        }
        problems
            .extend(self.shared.agent.kernel_trouble().map(|trouble| format!("kernel programs: {trouble}")));
        Health { healthy: problems.is_empty(), problems }
    }

    /// The metrics as Prometheus text.
    pub fn exposition(&self) -> Result<String, MetricsError> {
        self.shared.metrics.exposition(self.shared.agent.kernel())
    }

    /// Counts the attempt; see [`Agent::reload_policy`].
    pub fn reload_policy(&self) -> Result<PolicyReload, String> {
        let result = self.shared.agent.reload_policy();
        self.shared.metrics.policy_reload(result.is_ok());
        result
    }

    /// Counts the attempt; see [`Agent::reload_peers`].
    pub fn reload_peers(&self) -> Result<PeersReload, String> {
        let result = self.shared.agent.reload_peers();
        self.shared.metrics.peers_reload(result.is_ok());
        match &result {
            Ok(PeersReload { changed: true, key, peers }) => {
                tracing::info!(key, peers, "the keys of hellos are others now");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(error, "keys and peers of hellos refused; the ones before stay in force");
            }
        }
        result
    }

    /// See [`Agent::upgrade`].
    pub fn upgrade(&self) -> Result<u32, String> {
        self.shared.agent.upgrade()
    }

    /// See [`Agent::explain`].
    pub fn explain(&self, question: &Question) -> Result<Explanation, String> {
        self.shared.agent.explain(question)
    }

    /// Breaks the glass for the process at the other end of the control socket.
    pub fn break_glass(
        &self,
        approver: &Approver,
        pid: i32,
        gid: u32,
        request: GlassRequest,
    ) -> Result<GlassAnswer, GlassError> {
        if !self.shared.approver_rules.load().may_break_glass(approver) {
            tracing::warn!(pid, uid = approver.uid, "somebody who may not wanted to break the glass");
            return Err(GlassError::NotMember { user: approver.name() });
        }
        self.shared.agent.break_glass(pid, approver.uid, gid, request).inspect_err(|error| {
            tracing::warn!(pid, uid = approver.uid, %error, "the glass was not broken");
        })
    }

    /// Columns that something is known of.
    pub fn data(&self, filter: &DataFilter) -> Result<Vec<DataColumn>, DataError> {
        self.shared.agent.data(filter)
    }

    /// Takes an operator's word about a column.
    pub fn say_of_data(
        &self,
        approver: &Approver,
        pid: i32,
        gid: u32,
        ask: &DataAsk,
    ) -> Result<DataColumn, DataError> {
        if !self.shared.approver_rules.load().may_rule_data(approver) {
            tracing::warn!(pid, uid = approver.uid, "somebody who may not wanted to say what a column holds");
            return Err(DataError::NotMember { user: approver.name() });
        }
        self.shared.agent.say_of_data(pid, approver.uid, gid, approver.name(), ask).inspect_err(|error| {
            tracing::warn!(pid, uid = approver.uid, %error, "what was said of a column was not taken");
        })
    }

    /// Ends it before its time.
    pub fn mend_glass(&self, pid: i32, uid: u32, gid: u32) -> Result<GlassAnswer, GlassError> {
        self.shared.agent.mend_glass(pid, uid, gid)
    }

    /// Turns tokens back into values for the process at the other end of the control socket.
    pub fn reveal(
        &self,
        approver: &Approver,
        pid: i32,
        gid: u32,
        request: &RevealRequest,
    ) -> Result<RevealAnswer, RevealError> {
        let is_member = self.shared.approver_rules.load().may_reveal(approver);
        self.shared.agent.reveal(pid, approver.uid, gid, is_member, request)
    }

    pub fn masking_keys(&self) -> Vec<KeyInfo> {
        self.shared.agent.masking_keys()
    }

    pub fn rotate_masking_key(&self, pid: i32, uid: u32, gid: u32) -> Result<KeyInfo, RotateError> {
        self.shared.agent.rotate_masking_key(pid, uid, gid)
    }

    /// Answers a held statement in the name of `approver`, if the rules let them.
    pub fn decide(
        &self,
        id: &str,
        approver: &Approver,
        grant: bool,
        note: String,
    ) -> Result<Approval, DecideError> {
        let now = clock::now();
        let unknown = || AnswerError::Unknown { id: id.chars().take(64).collect() };
        let approval = self.shared.approvals.get(id).ok_or_else(unknown)?;
        self.shared.approver_rules.load().may_answer(approver, &approval.request).inspect_err(|reason| {
            tracing::warn!(id, uid = approver.uid, %reason, "an answer to a hold was not taken");
        })?;
        let (by, uid) = (approver.name(), approver.uid);
        let answer =
            if grant { Answer::Granted { by, uid, note } } else { Answer::Refused { by, uid, note } };
        Ok(self.shared.approvals.answer(id, answer, now)?)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl fmt::Debug for HandleParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleParts").field("profile", &self.profile).finish_non_exhaustive()
    }
}
