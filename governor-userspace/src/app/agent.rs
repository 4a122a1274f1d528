//! The running agent behind the surface's handle, and its periodic work.

use super::build::Servers;
use super::completeness::Bookkeeper;
use super::handle::{Agent, Gaps, Handle, KernelSide, LedgerStatus, PeersReload, PolicyReload};
use super::kernel_events::EventRecorder;
use super::kernel_watch::{self, KernelWatch};
use super::life::{GapLog, LifeKeeper, Trouble};
use super::namespaces::{Board, Hints};
use super::record;
use super::signals;
use super::upgrade::Launcher;
use crate::engine::approval::State;
use crate::engine::audit::{AgentStart, AuditEvent, AuditRecord, Completeness, HoldEnd};
use crate::engine::session::ColumnWords;
use crate::engine::session::explain::{Explanation, Question, explain};
use crate::host::approvals::Approval;
use crate::host::clock;
use crate::host::config::{self, Config, Overrides};
use crate::host::discovery::{DataAsk, DataColumn, DataError, DataFilter, DiscoveryKeeper};
use crate::host::glass::{self, GlassAnswer, GlassError, GlassKeeper, GlassRequest};
use crate::host::inbound::ServerKeeper;
use crate::host::kernel::Kernel;
use crate::host::ledger::{Health, Ledger};
use crate::host::masking::{KeyInfo, RevealAnswer, RevealError, RevealKeeper, RevealRequest, RotateError};
use crate::host::peers::PeersRead;
use crate::host::policy::{PolicyStore, PolicyWatch};
use crate::host::privileges;
use crate::host::proxy::Shared;
use crate::host::telemetry::KernelCounters;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The kernel programs, until they are taken off.
pub(super) type KernelSlot = Arc<Mutex<Option<Kernel>>>;

/// What the surface may ask.
pub(super) struct Running {
    /// The file that the configuration came from, as it was named.
    pub config: Option<PathBuf>,
    pub capture: Vec<String>,
    pub namespaces: Board,
    pub servers: Option<Arc<ServerKeeper>>,
    pub policy: Arc<PolicyStore>,
    pub ledger: Ledger,
    pub kernel: KernelSlot,
    pub glass: GlassKeeper,
    pub reveal: RevealKeeper,
    pub data: Arc<DiscoveryKeeper>,
    pub shared: Arc<Shared>,
    pub bookkeeper: Arc<Bookkeeper>,
    pub gaps: GapLog,
    pub trouble: Trouble,
    pub launcher: Launcher,
}

impl Agent for Running {
    fn break_glass(
        &self,
        pid: i32,
        uid: u32,
        gid: u32,
        request: GlassRequest,
    ) -> Result<GlassAnswer, GlassError> {
        self.glass.shatter(glass::asker(&self.shared.identifier, pid, uid, gid), request)
    }

    fn mend_glass(&self, pid: i32, uid: u32, gid: u32) -> Result<GlassAnswer, GlassError> {
        self.glass.mend(&glass::asker(&self.shared.identifier, pid, uid, gid))
    }

    fn reveal(
        &self,
        pid: i32,
        uid: u32,
        gid: u32,
        is_member: bool,
        request: &RevealRequest,
    ) -> Result<RevealAnswer, RevealError> {
        let asker = glass::asker(&self.shared.identifier, pid, uid, gid);
        self.reveal.reveal(&asker, is_member, request)
    }

    fn masking_keys(&self) -> Vec<KeyInfo> {
        self.reveal.keys.list()
    }

    fn rotate_masking_key(&self, pid: i32, uid: u32, gid: u32) -> Result<KeyInfo, RotateError> {
        self.reveal.rotate(&glass::asker(&self.shared.identifier, pid, uid, gid))
    }

    fn data(&self, filter: &DataFilter) -> Result<Vec<DataColumn>, DataError> {
        self.data.list(filter)
    }

    fn say_of_data(
        &self,
        pid: i32,
        uid: u32,
        gid: u32,
        by: String,
        ask: &DataAsk,
    ) -> Result<DataColumn, DataError> {
        self.data.say(&glass::asker(&self.shared.identifier, pid, uid, gid), by, ask)
    }

    fn capture(&self) -> Vec<String> {
        let arriving = self.servers.iter().flat_map(|servers| servers.lines());
        self.capture.iter().cloned().chain(arriving).chain(self.namespaces.lines()).collect()
    }

    fn peers(&self) -> Vec<String> {
        self.shared.peers.lines()
    }

    fn reload_peers(&self) -> Result<PeersReload, String> {
        let configured = || {
            let config = config::load(self.config.as_deref(), Overrides::default());
            config.map(|config| config.identity.peers).map_err(|error| error.to_string())
        };
        let read = self.shared.peers.read_again(configured);
        let event = match &read {
            Ok(read) if read.changed => Some(AuditEvent::PeersLoaded(read.known.loaded())),
            Ok(_) => None,
            Err(reason) => Some(AuditEvent::PeersRefused { reason: reason.clone() }),
        };
        if let Some(event) = event
            && let Err(error) = self.ledger.append(&[record(event)])
        {
            tracing::error!(%error, "cannot record that peers were read again");
        }
        let PeersRead { known, changed } = read?;
        let loaded = known.loaded();
        Ok(PeersReload { changed, key: loaded.key, peers: loaded.peers.len() as u64 })
    }

    fn policy_version(&self) -> String {
        self.policy.current().version().into()
    }

    fn reload_policy(&self) -> Result<PolicyReload, String> {
        let result = self.policy.reload();
        note_reload(&self.ledger, &self.policy, result.as_ref().map(|_| ()).map_err(ToString::to_string));
        let loaded = result.map_err(|error| error.to_string())?;
        Ok(PolicyReload { version: loaded.version, policies: loaded.policies_count as u64 })
    }

    fn explain(&self, question: &Question) -> Result<Explanation, String> {
        let (server, database) = (question.to.destination(), question.to.claims().database);
        let discovery = &self.shared.discovery;
        let mut known = discovery.catalogues().into_iter();
        let catalogue = known.find(|(at, name, _)| *at == server && *name == database);
        let words = ColumnWords {
            labels: (*self.shared.labels).clone(),
            rulings: discovery.ruled_columns(&server, &database),
            catalogue: catalogue.map(|(.., catalogue)| catalogue),
        };
        explain(&self.policy.current(), question, words)
    }

    fn ledger(&self) -> LedgerStatus {
        let error = match self.ledger.health() {
            Health::Ok => None,
            Health::Failed { error, .. } => Some(error),
            Health::Closed => Some("closed".into()),
        };
        LedgerStatus { sequence: self.ledger.stats().last_seq, error }
    }

    fn kernel_side(&self) -> KernelSide {
        self.kernel.lock().as_ref().map(kernel_watch::kernel_side).unwrap_or_default()
    }

    fn completeness(&self) -> Option<Completeness> {
        Some(self.bookkeeper.sums())
    }

    fn kernel(&self) -> Option<KernelCounters> {
        let counters = self.kernel.lock().as_ref()?.counters().ok()?;
        Some(kernel_watch::kernel_counters(&counters))
    }

    fn upgrade(&self) -> Result<u32, String> {
        self.launcher.launch()
    }

    fn upgrade_failure(&self) -> Option<String> {
        self.launcher.failure()
    }

    fn kernel_trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    fn gaps(&self) -> Gaps {
        self.gaps.lock().clone()
    }
}

/// Writes down that a policy set came into force, or was refused.
fn note_reload(ledger: &Ledger, policy: &PolicyStore, result: Result<(), String>) {
    let event = match result {
        Ok(()) => {
            let set = policy.current();
            let files = set.files().iter().map(|file| file.name.clone()).collect();
            AuditEvent::PolicyLoaded { version: set.version().into(), files }
        }
        Err(reason) => AuditEvent::PolicyRefused { reason },
    };
    if let Err(error) = ledger.append(&[record(event)]) {
        tracing::error!(%error, "cannot record a change of policy");
    }
}

/// The first records of a run.
pub(super) fn record_start(
    ledger: &Ledger,
    config: &Config,
    handle: &Handle,
    lost: &[Approval],
    took_over_from: Option<String>,
) -> anyhow::Result<()> {
    let mut records = vec![record(AuditEvent::AgentStart(AgentStart {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        profile: config.policy.profile.as_str().into(),
        policy: handle.status().policy_version,
        run: clock::run_id().into(),
        took_over_from,
    }))];
    records.extend(lost_holds(lost));
    ledger.append(&records)?;
    Ok(())
}

/// Holds whose connection is gone with its agent.
pub(super) fn lost_holds(lost: &[Approval]) -> Vec<AuditRecord> {
    let ended = lost.iter().filter_map(|approval| match &approval.state {
        State::Ended { answer, .. } => Some((approval, answer)),
        State::Pending => None,
    });
    let records = ended.map(|(approval, answer)| {
        let end = HoldEnd { approval: approval.request.id.clone(), answer: answer.clone() };
        let session = Some(approval.request.session.clone());
        AuditRecord { session, ..record(AuditEvent::HoldEnd(end)) }
    });
    records.collect()
}

/// Threads and tasks that run beside the data path; dropping it ends them.
pub(super) struct Background {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _watch: Option<PolicyWatch>,
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in &self.tasks {
            task.abort();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What runs beside the data path.
pub(super) struct Parts<'a> {
    pub kernel: &'a KernelSlot,
    pub shared: &'a Arc<Shared>,
    pub data: &'a Arc<DiscoveryKeeper>,
    pub bookkeeper: &'a Arc<Bookkeeper>,
    pub servers: Option<Servers>,
    pub handle: &'a Handle,
    pub life: &'a Arc<LifeKeeper>,
    pub hints: Option<Hints>,
}

/// Starts the ledger's checkpoints, the kernel's heartbeat and events, the policy directory's watch
/// and the holds' expiry.
pub(super) fn background(parts: Parts<'_>) -> anyhow::Result<Background> {
    let Parts { kernel, shared, data, bookkeeper, servers, handle, life, hints } = parts;
    let stop = Arc::new(AtomicBool::new(false));
    let thread = {
        let (stop, shared, handle) = (stop.clone(), shared.clone(), handle.clone());
        let bookkeeper = bookkeeper.clone();
        let glass = GlassKeeper {
            glass: shared.glass.clone(),
            ledger: shared.ledger.clone(),
            metrics: shared.metrics.clone(),
        };
        std::thread::Builder::new().name("governor-ledger".into()).spawn(move || {
            privileges::confine_writer();
            while !stop.load(Ordering::Relaxed) {
                // First what the next checkpoint is to sign.
                bookkeeper.tick(clock::now());
                ledger_tick(&shared, &handle);
                glass.tick(clock::now());
                std::thread::sleep(LEDGER_TICK);
            }
        })?
    };
    // A thread of its own: it waits for the disk, and checkpoints must not.
    let data_thread = {
        let (stop, data) = (stop.clone(), data.clone());
        std::thread::Builder::new().name("governor-data".into()).spawn(move || {
            privileges::confine_writer();
            while !stop.load(Ordering::Relaxed) {
                data.tick();
                std::thread::sleep(DATA_TICK);
            }
        })?
    };
    let mut threads = vec![thread, data_thread];
    if let Some((servers, asked)) = servers {
        let stop = stop.clone();
        let look = move || servers.run(&asked, &stop);
        threads.push(std::thread::Builder::new().name("governor-servers".into()).spawn(look)?);
    }
    let mut tasks = vec![tokio::spawn(shared.approvals.clone().run_expiry())];
    let kernel_slot = kernel;
    // Before anything is ready: an agent that hangs right after it has a beat to tell from for how long.
    life.beat();
    let mut slot = kernel_slot.lock();
    if let Some(kernel) = slot.as_mut() {
        let heartbeat = kernel.heartbeat();
        heartbeat.beat()?;
        let life = life.clone();
        let mut watch = KernelWatch::new(shared.metrics.clone());
        let watched = kernel_slot.clone();
        tasks.push(tokio::spawn(async move {
            let mut every = tokio::time::interval(HEARTBEAT);
            let mut sign: Option<tokio::task::JoinHandle<()>> = None;
            let is_watched = signals::is_watched();
            let mut word: Option<tokio::task::JoinHandle<()>> = None;
            loop {
                every.tick().await;
                life.beat();
                life.tend();
                if let Some(kernel) = watched.lock().as_ref() {
                    watch.look(kernel);
                }
                // A disk that hangs must not look like an agent that hangs: signs are left beside, one at a time.
                if sign.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                    let life = life.clone();
                    sign = Some(tokio::task::spawn_blocking(move || life.leave_sign()));
                }
                if let Err(error) = heartbeat.beat() {
                    tracing::error!(%error, "the kernel was not told that the agent lives");
                }
                // Neither must a service manager that hangs.
                if is_watched && word.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                    word = Some(tokio::task::spawn_blocking(signals::tell_alive));
                }
            }
        }));
        let mut recorder = EventRecorder::new(shared.ledger.clone(), shared.metrics.clone());
        if let Some(previous) = kernel.previous() {
            recorder.previous(&previous.events);
        }
        tasks.push(tokio::spawn(recorder.run(kernel.take_events()?, hints)));
    }
    drop(slot);
    let (ledger, policy, metrics) = (shared.ledger.clone(), shared.policy.clone(), shared.metrics.clone());
    let watch = shared.policy.watch(move |result| {
        metrics.policy_reload(result.is_ok());
        match &result {
            Ok(loaded) => tracing::info!(version = loaded.version, "policy changed"),
            Err(error) => tracing::error!(%error, "policy refused; the one before stays in force"),
        }
        note_reload(&ledger, &policy, result.map(|_| ()).map_err(|error| error.to_string()));
    });
    let watch = match watch {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!(%error, "the policy directory is not watched; SIGHUP reads it again");
            None
        }
    };
    Ok(Background { stop, threads, tasks, _watch: watch })
}

fn ledger_tick(shared: &Shared, handle: &Handle) {
    if let Err(error) = shared.ledger.tick(clock::now()) {
        handle.metrics().audit_failed();
        tracing::error!(%error, "the audit ledger cannot be written");
    }
    let stats = shared.ledger.stats();
    handle.metrics().audit_written(stats.records, stats.bytes, stats.last_seq);
}

const LEDGER_TICK: Duration = Duration::from_millis(100);
const DATA_TICK: Duration = Duration::from_millis(200);
/// The kernel side refuses after ten seconds without.
const HEARTBEAT: Duration = Duration::from_secs(1);
