//! Worker threads: each runs its connections on one thread with its own caches.

use super::PortRule;
use super::account::Account;
use super::arrival::Door;
use super::cancel::CancelRegistry;
use super::inbound::Inbound;
use super::keepalive::keep_alive;
use super::leg::Scratch;
use super::relay;
use super::socket::{Socket, StdSocket};
use super::sources::Sources;
use crate::engine::audit::Side;
use crate::engine::masking::{Detectors, Masker};
use crate::engine::model::Endpoint;
use crate::engine::session::{
    Catalogue, Discovery, EngineLimits, Glass, Governance, Inference, Labels, Rates,
};
use crate::engine::sql::PARSER_STACK_BYTES_MIN;
use crate::host::approvals::ApprovalStore;
use crate::host::completeness::Books;
use crate::host::identity::Identifier;
use crate::host::kernel::{Exemption, FlowTable};
use crate::host::ledger::Ledger;
use crate::host::namespaces::Entrance;
use crate::host::peers::Peers;
use crate::host::policy::PolicyStore;
use crate::host::privileges;
use crate::host::telemetry::Metrics;
use crate::host::tls::Tls;
use socket2::SockRef;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    #[default]
    No,
    /// Idle sessions end; the others may finish what they do.
    Idle,
    /// All sessions end now.
    All,
    /// All sessions end now, since nothing can be recorded any more.
    Unrecorded,
}

/// What every connection needs, from the rest of the host.
#[derive(Debug)]
pub struct Shared {
    pub flows: FlowTable,
    pub exemption: Exemption,
    pub entrance: Entrance,
    pub identifier: Identifier,
    pub ledger: Ledger,
    pub approvals: Arc<ApprovalStore>,
    pub policy: Arc<PolicyStore>,
    pub tls: Arc<Tls>,
    pub peers: Arc<Peers>,
    pub retries: super::Retries,
    pub metrics: Arc<Metrics>,
    pub books: Arc<Books>,
    pub masker: Masker,
    pub labels: Arc<Labels>,
    pub engine_limits: EngineLimits,
    pub rates: Arc<Rates>,
    pub inference: Arc<Inference>,
    pub glass: Arc<Glass>,
    pub discovery: Arc<Discovery>,
    pub ports: Vec<PortRule>,
    /// Set once, where connections are captured where they arrive.
    pub inbound: OnceLock<Inbound>,
    pub own_questions: super::OwnQuestions,
    pub cancels: CancelRegistry,
    pub sources: Sources,
    pub startup_timeout: Duration,
    pub authentication_timeout: Duration,
    pub connect_timeout: Duration,
    pub peer_timeout: Option<Duration>,
    pub connections_max: usize,
    pub connections_per_source_max: usize,
    pub drain: watch::Receiver<Drain>,
}

impl Shared {
    /// What every TCP socket towards a peer has, and a listener for those that it accepts: small messages do not wait
    /// for each other, and the kernel finds out whether a silent peer is still there.
    pub(super) fn tend(&self, socket: &impl AsFd, whom: &str) {
        // A socket that refuses is still correct.
        let _ = SockRef::from(socket).set_tcp_nodelay(true);
        if let Some(limit) = self.peer_timeout
            && let Err(error) = keep_alive(socket, limit)
        {
            tracing::warn!(%error, "cannot watch whether {whom} is still there");
        }
    }

    pub(super) fn governance(&self) -> Governance {
        let mut governance = Governance::new(
            self.policy.current(),
            // A clone of its own: the workers would wait for each other's caches.
            Masker { detectors: Arc::new(Detectors::clone(&self.masker.detectors)), ..self.masker.clone() },
            self.labels.clone(),
            self.engine_limits.clone(),
        );
        governance.rates = self.rates.clone();
        governance.inference = self.inference.clone();
        governance.glass = self.glass.clone();
        governance.discovery = self.discovery.clone();
        governance
    }
}

/// What one worker thread's connections share. Never leaves its thread.
#[derive(Debug)]
pub(super) struct Local {
    pub shared: Arc<Shared>,
    pub governance: RefCell<Governance>,
    pub scratch: RefCell<Scratch>,
    /// The other workers, who also want a catalogue that this one read.
    pub others: Vec<mpsc::WeakUnboundedSender<Work>>,
}

/// What a worker is sent.
#[derive(Debug)]
pub(super) enum Work {
    Connection(Accepted),
    Catalogue(Endpoint, String, Arc<Catalogue>),
    CatalogueOutdated(Endpoint, String),
}

/// An accepted connection on its way to the worker's own runtime.
#[derive(Debug)]
pub(super) struct Accepted {
    socket: StdSocket,
    peer: Option<SocketAddr>,
    door: Arc<Door>,
    slot: Slot,
    /// As many as are served are open already: this one is only told so.
    over_limit: bool,
}

/// Counts one connection for as long as it lives.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>, Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
        self.1.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The worker threads.
#[derive(Debug)]
pub struct Workers {
    queues: Vec<(mpsc::UnboundedSender<Work>, Arc<AtomicUsize>)>,
    threads: Vec<std::thread::JoinHandle<()>>,
    active: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(count: usize, shared: Arc<Shared>) -> std::io::Result<Self> {
        let channels: Vec<_> = (0..count.max(1)).map(|_| mpsc::unbounded_channel()).collect();
        let senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for (index, (sender, receiver)) in channels.into_iter().enumerate() {
            let shared = shared.clone();
            let others =
                senders.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, s)| s.downgrade()).collect();
            queues.push((sender, Arc::new(AtomicUsize::new(0))));
            threads.push(
                std::thread::Builder::new()
                    .name(format!("governor-w{index}"))
                    .stack_size(STACK_BYTES)
                    .spawn(move || run(shared, receiver, others))?,
            );
        }
        Ok(Self { queues, threads, active: Arc::default(), shared })
    }

    /// Gives a connection to the worker that has fewest. Beyond the limit a client is told so; `Err`
    /// gives the connection back: even those that are told are too many.
    pub(super) fn give(
        &self,
        socket: StdSocket,
        peer: Option<SocketAddr>,
        door: Arc<Door>,
    ) -> Result<(), StdSocket> {
        let open = self.active.load(Ordering::Acquire);
        let connections_max = self.shared.connections_max;
        if open >= connections_max + REFUSALS_MAX {
            return Err(socket);
        }
        let Some((queue, load)) = self.queues.iter().min_by_key(|(_, load)| load.load(Ordering::Acquire))
        else {
            return Err(socket);
        };
        load.fetch_add(1, Ordering::AcqRel);
        self.active.fetch_add(1, Ordering::AcqRel);
        let slot = Slot(load.clone(), self.active.clone());
        // A worker that is gone closes the connection with the message.
        let over_limit = open >= connections_max;
        let _ = queue.send(Work::Connection(Accepted { socket, peer, door, slot, over_limit }));
        Ok(())
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Closes a connection that no worker took, and accounts for it.
    pub(super) fn refuse(&self, socket: StdSocket, door: &Door) {
        let Ok(socket) = Socket::from_std(socket) else { return };
        if door.counts(&socket, &self.shared) {
            drop(Account::new(self.shared.books.clone()).counted(socket, Side::Client));
        }
    }

    /// Connections that are open now.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Stops taking connections and waits for the threads; sessions must have been drained.
    pub fn join(self) {
        drop(self.queues);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

fn run(
    shared: Arc<Shared>,
    receiver: mpsc::UnboundedReceiver<Work>,
    others: Vec<mpsc::WeakUnboundedSender<Work>>,
) {
    privileges::confine_worker();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "a worker thread could not start");
            return;
        }
    };
    let governance = RefCell::new(shared.governance());
    let local = Rc::new(Local { shared, governance, scratch: RefCell::new(Scratch::new()), others });
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async move {
        // A task of its own: what `block_on` is given is polled whenever any session wakes.
        if let Err(error) = tokio::task::spawn_local(take_work(local, receiver)).await {
            tracing::error!(%error, "a worker thread ended");
        }
    });
}

/// Starts a session for each connection, until the other end of the queue is gone and all have ended.
async fn take_work(local: Rc<Local>, mut receiver: mpsc::UnboundedReceiver<Work>) {
    let mut running = tokio::task::JoinSet::new();
    let mut counted = ((0, 0), (0, 0), 0);
    let mut every_second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            work = receiver.recv() => match work {
                Some(Work::Connection(accepted)) => match Socket::from_std(accepted.socket) {
                    Ok(socket) => {
                        let Accepted { peer, door, slot, over_limit, .. } = accepted;
                        let local = local.clone();
                        // Made where it stays: a task is moved several times before it first runs.
                        running.spawn_local(Box::pin(async move {
                            relay::serve(socket, peer, door, local, over_limit).await;
                            drop(slot);
                        }));
                    }
                    Err(error) => tracing::warn!(%error, "an accepted connection could not be taken over"),
                },
                Some(Work::Catalogue(destination, database, catalogue)) => {
                    local.governance.borrow_mut().learn_catalogue(destination, database, catalogue);
                }
                Some(Work::CatalogueOutdated(destination, database)) => {
                    let now = crate::host::clock::now();
                    local.governance.borrow_mut().outdate_catalogue(destination, &database, now);
                }
                None => break,
            },
            _ = every_second.tick() => {
                local.governance.borrow_mut().hand_over_findings(crate::host::clock::now());
                let (decisions, facts, second_readings, disagreements) = {
                    let mut governance = local.governance.borrow_mut();
                    (
                        governance.decision_counts(),
                        governance.facts.counts(),
                        governance.facts.take_second_readings(),
                        governance.flows.disagreements_count(),
                    )
                };
                local.shared.metrics.decisions(decisions.0 - counted.0.0, decisions.1 - counted.0.1);
                local.shared.metrics.facts(facts.0 - counted.1.0, facts.1 - counted.1.1);
                local.shared.metrics.second_readings(second_readings);
                local.shared.metrics.lineage_disagreements(disagreements - counted.2);
                local.shared.metrics.inference(local.shared.inference.take_counts());
                counted = (decisions, facts, disagreements);
            }
            Some(ended) = running.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    // The session's sockets closed with its task: the client sees a closed connection.
                    tracing::error!("a session panicked; its connection was closed");
                }
            }
        }
    }
    while running.join_next().await.is_some() {}
    local.governance.borrow_mut().hand_over_findings(crate::host::clock::now());
}

/// Connections beyond the limit that are told so at once; beyond these, connections are only closed.
const REFUSALS_MAX: usize = 128;
/// What the SQL parser needs, and as much again for everything else.
const STACK_BYTES: usize = 2 * PARSER_STACK_BYTES_MIN + (2 << 20);
