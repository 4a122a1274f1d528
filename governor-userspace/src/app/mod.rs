//! Builds everything from the configuration, runs it and drains it.
//!
//! Order of a start: configuration, the instance's place (control socket), ledger, policy, approvals,
//! kernel programs, listeners, workers, attach, ready. Nothing is captured before everything that
//! governs it stands; a stop goes the other way.

mod agent;
mod build;
mod completeness;
mod direct_connections;
mod faces;
pub mod handle;
mod kernel_events;
mod kernel_watch;
mod life;
mod namespaces;
mod open_connections;
mod options;
mod signals;
mod unix_sockets;
mod upgrade;

pub use crate::host::config::Profile;
pub(crate) use build::labels;
pub use faces::{Faces, OpenFaces, Places, Serving};
pub use options::RunOptions;

use self::namespaces::Namespaces;
use self::open_connections::OpenConnections;
use self::upgrade::{Estate, Outcome, Porter};
use crate::engine::audit::{AuditEvent, AuditRecord};
use crate::host::config::{self, Config, OnStop, Overrides};
use crate::host::handover::{Predecessor, SuccessorState};
use crate::host::kernel::{Kernel, cgroup2_mount};
use crate::host::life::Ending;
use crate::host::proxy::{Door, Doors, Drain, Listener, Shared, Workers};
use crate::host::{clock, privileges, telemetry};
use anyhow::Context as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Runs the agent until it is told to stop.
///
/// `faces` are what people see of it; the app itself knows of none.
pub fn run(options: RunOptions, faces: &dyn Faces) -> anyhow::Result<ExitCode> {
    let config = config::load(options.config.as_deref(), Overrides { profile: options.profile })?;
    telemetry::log::init(config.log.level.as_str(), config.log.format)?;
    privileges::check()?;
    privileges::harden();
    raise_descriptors_max();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("tokio runtime")?;
    let result = runtime.block_on(govern(options, config, faces));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A session takes two descriptors: as many as the host allows without asking are asked for.
fn raise_descriptors_max() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open descriptors (ulimit -n) stays as it is");
    }
}

async fn govern(options: RunOptions, config: Config, faces: &dyn Faces) -> anyhow::Result<ExitCode> {
    let mut signals = signals::Signals::listen().context("cannot handle signals")?;
    let (drain, drain_seen) = watch::channel(Drain::No);
    let (stop, stop_seen) = watch::channel(false);
    build::private_dir(&options.state_dir)?;
    let places = Places {
        state_dir: &options.state_dir,
        socket_group: config.approvals.socket_group.as_deref(),
        metrics: config.metrics.listen,
    };
    let (predecessor, built, opened) = match options.take_over {
        // Opening the faces takes the instance's place: a second agent ends here.
        false => {
            let opened = faces.open(&places)?;
            let prepared = build::prepare(&options, &config, None)?;
            (None, build::build(&options, &config, prepared, drain_seen)?, opened)
        }
        true => {
            let mut predecessor = Predecessor::connect(&options.state_dir)?;
            let beside = predecessor.welcome().generation.clone();
            let prepared = build::prepare(&options, &config, Some(beside))?;
            // From here until our hooks are on, sessions of the agent before wait with their records.
            predecessor.prepare()?;
            let opened = faces.open(&places)?;
            (Some(predecessor), build::build(&options, &config, prepared, drain_seen)?, opened)
        }
    };
    let build::Built {
        handle,
        listeners,
        inbound_listeners,
        servers,
        shared,
        kernel,
        data,
        lost,
        reveal,
        life,
        bookkeeper,
        board,
        launches,
    } = built;
    let ledger = shared.ledger.clone();

    let workers = Arc::new(Workers::start(config.limits.workers.unwrap_or_else(cores), shared.clone())?);
    let doors = Doors::new(workers.clone(), shared.metrics.clone(), stop_seen);
    let mut open_doors = Vec::new();
    for listener in listeners {
        open_doors.push(doors.open(Listener::Tcp(listener), Door::Redirected(None))?);
    }
    for listener in inbound_listeners {
        open_doors.push(doors.open(Listener::Tcp(listener), Door::Inbound(None))?);
    }
    let namespaces = Namespaces::keep(build::means(&config, &shared, &kernel, doors.clone(), board)?)?;
    let took_over_from =
        predecessor.as_ref().map(|before| before.welcome().run.clone()).filter(|run| !run.is_empty());
    agent::record_start(&ledger, &config, &handle, &lost, took_over_from)?;
    reveal.record_created().map_err(anyhow::Error::msg)?;
    // Servers that are named by their unit or cgroup: their ports are captured from the first moment on.
    let server_keeper = servers.as_ref().map(|(keeper, _)| keeper.clone());
    if let Some((servers, _)) = &servers {
        servers.serve_elsewhere(namespaces::place_means(&config, &shared, &kernel, doors.clone()));
        servers.look_again();
    }
    {
        let mut slot = kernel.lock();
        let kernel = slot.as_mut().context("the kernel programs are gone")?;
        // Loading may have taken long.
        kernel.beat()?;
        kernel.attach()?;
    }
    if let Some((servers, _)) = &servers {
        servers.look_again();
    }
    match predecessor {
        None => {
            life.look_back()?;
            if let Some(previous) = kernel.lock().as_ref().and_then(Kernel::previous) {
                bookkeeper.look_back(previous);
            }
        }
        Some(predecessor) => take_over(predecessor, &shared, &kernel).await?,
    }
    privileges::settle();
    let hints = namespaces.hints();
    let tasks = agent::background(agent::Parts {
        kernel: &kernel,
        shared: &shared,
        data: &data,
        bookkeeper: &bookkeeper,
        servers,
        handle: &handle,
        life: &life,
        hints,
    })?;
    let open_connections = OpenConnections::new(
        &config,
        &cgroup2_mount()?,
        build::arrivals(&config, &shared),
        shared.exemption.clone(),
        ledger.clone(),
        shared.metrics.clone(),
    )
    .watch()?;
    let unix =
        unix_sockets::UnixSockets::start(&config, &options.state_dir, &doors, &shared, options.take_over)?;
    let mut serving = Some(opened.serve(&handle));
    let generation = kernel.lock().as_ref().and_then(|kernel| kernel.generation().map(Path::to_path_buf));
    let mut porter =
        Porter::start(&options.state_dir, generation.context("the kernel programs have no pins")?)?;
    handle.set_ready();
    signals::tell_ready(options.ready_fd)?;
    tracing::info!(capture = ?handle.status().capture, profile = config.policy.profile.as_str(), "governing");

    let estate = Estate {
        faces,
        places,
        handle: handle.clone(),
        ledger: ledger.clone(),
        data: data.clone(),
        approvals: shared.approvals.clone(),
        kernel: kernel.clone(),
        life: life.clone(),
        cancels: shared.cancels.clone(),
        launched: launches,
    };
    let (reason, mut successor) = loop {
        tokio::select! {
            reason = signals.wait(&handle) => break (reason, None),
            heir = porter.heir() => {
                let Some(now_serving) = serving.take() else { continue };
                match estate.give(heir, now_serving, &mut signals).await? {
                    Outcome::Given(successor) => break ("upgrade", Some(successor)),
                    Outcome::Kept(again) => serving = Some(again),
                }
            }
        }
    };
    drop(porter);
    handle.drain();
    // After an upgrade the hooks that stay are the new agent's.
    let keeps = successor.is_none() && config.capture.on_stop == OnStop::Keep;
    tracing::info!(reason, sessions = workers.active(), "draining");
    if let Some(successor) = &mut successor {
        // The new agent waits for the paths.
        open_doors.extend(unix.hand_over());
        drop(open_connections);
        linger(&workers, &shared, &kernel, config.limits.upgrade_timeout, &mut signals, successor).await;
    } else {
        drop(open_connections);
        signals::tell_stopping();
        // New connections are no longer redirected; those that already were are still accepted.
        life.end(Ending::Stopped { reason: reason.into() });
        if let Some(kernel) = kernel.lock().as_mut() {
            if !keeps {
                kernel.stop_redirecting();
            } else if let Err(error) = kernel.forget_listeners() {
                tracing::error!(%error, "the kernel programs could not be left as they should be");
            }
        }
        open_doors.extend(unix.end(config.capture.on_stop));
    }
    // An agent before this one that still has sessions is to end them: nobody will take its records for long.
    shared.cancels.ask_elsewhere(None);
    shared.approvals.withdraw_all("the agent stopped", clock::now());
    let limit = config.limits.drain_timeout;
    let sessions_ended = drained(&drain, &workers, &shared, limit, &mut signals, successor).await;
    stop.send_replace(true);
    doors.closed().await;
    drop((open_doors, namespaces, tasks));
    if let Some(keeper) = server_keeper {
        keeper.close();
    }
    if let (true, Ok(workers)) = (sessions_ended, Arc::try_unwrap(workers).map_err(|_| ())) {
        workers.join();
    }
    bookkeeper.finish(clock::now());
    let taken = kernel.lock().take();
    if let Some(kernel) = taken
        && let Err(error) = if keeps { kernel.leave() } else { kernel.detach() }
    {
        tracing::error!(%error, "the kernel programs could not be left as they should be");
    }
    data.tick();
    if let Err(error) = data.save() {
        tracing::error!(%error, "what is known of columns could not be kept");
    }
    ledger.append(&[record(AuditEvent::AgentStop { reason: reason.into(), run: clock::run_id().into() })])?;
    ledger.close(clock::now())?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The last step of a take-over: from its return on, new connections are this agent's.
async fn take_over(
    predecessor: Predecessor,
    shared: &Arc<Shared>,
    kernel: &agent::KernelSlot,
) -> anyhow::Result<()> {
    let before = predecessor.welcome().clone();
    shared.metrics.predecessor(true);
    let (ledger, cancels) = (shared.ledger.clone(), shared.cancels.clone());
    let gone = (shared.clone(), kernel.clone());
    let gone = move || {
        let (shared, kernel) = gone;
        tracing::info!(pid = before.pid, "the agent before this one is gone");
        let removed = kernel.lock().as_mut().map(Kernel::forget_predecessor);
        if let Some(Err(error)) = removed {
            tracing::error!(%error, "kernel programs of the agent before are left");
        }
        let lost = shared.approvals.predecessor_gone(clock::now());
        if let Err(error) = shared.ledger.append(&agent::lost_holds(&lost)) {
            tracing::error!(%error, "cannot record holds that were lost with the agent before");
        }
        shared.metrics.predecessor(false);
    };
    let attached = move || {
        // Threads that this one starts, and the pool's own, have no more rights than the others.
        privileges::settle();
        predecessor.attached(ledger, &cancels, gone)
    };
    tokio::task::spawn_blocking(attached).await??;
    Ok(())
}

/// After an upgrade: sessions go on as if nothing had been, until all have ended, the time is over, somebody is told to
/// stop, or the new agent stops or is gone.
async fn linger(
    workers: &Workers,
    shared: &Shared,
    kernel: &agent::KernelSlot,
    limit: Duration,
    signals: &mut signals::Signals,
    successor: &mut watch::Receiver<SuccessorState>,
) {
    let started = std::time::Instant::now();
    let ended = async {
        loop {
            tokio::time::sleep(DRAIN_POLL).await;
            // What our hooks sent here just before they went off is still on its way.
            let on_its_way =
                kernel.lock().as_ref().and_then(|kernel| kernel.pending_count().ok()).unwrap_or(0);
            let waits = on_its_way > 0 && started.elapsed() < HANDSHAKE_MAX;
            let busy = workers.active() > 0 || waits || shared.metrics.predecessor_lives();
            if !busy && started.elapsed() >= ON_ITS_WAY_MAX {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(limit, ended) => {}
        () = signals.again() => {}
        state = reached(successor, SuccessorState::Stopping) => {
            tracing::warn!(?state, "the agent that took over ends, so this one does");
        }
    }
}

/// Returns when the new agent is in this state or past it.
async fn reached(successor: &mut watch::Receiver<SuccessorState>, wanted: SuccessorState) -> SuccessorState {
    match successor.wait_for(|state| *state >= wanted).await {
        Ok(state) => *state,
        // Whoever keeps it ended in a panic.
        Err(_) => SuccessorState::Gone,
    }
}

/// Lets sessions end: idle ones now, the others until the deadline, then all of them. Those of an agent before this one
/// are waited for as well: it records here. Without the agent that this one records at, they end at once.
async fn drained(
    drain: &watch::Sender<Drain>,
    workers: &Workers,
    shared: &Shared,
    limit: Duration,
    signals: &mut signals::Signals,
    mut successor: Option<watch::Receiver<SuccessorState>>,
) -> bool {
    // One that was killed closes its two lines one behind the other: idle sessions are told the same as the others.
    let is_unrecorded = match &mut successor {
        Some(successor) => {
            tokio::time::timeout(DEATH_TOLD, reached(successor, SuccessorState::Gone)).await.is_ok()
        }
        None => false,
    };
    drain.send_replace(if is_unrecorded { Drain::Unrecorded } else { Drain::Idle });
    let ended = |limit| async move {
        tokio::time::timeout(limit, async {
            while workers.active() > 0 || shared.metrics.predecessor_lives() {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        })
        .await
        .is_ok()
    };
    let unrecorded = async {
        match successor {
            Some(mut successor) => reached(&mut successor, SuccessorState::Gone).await,
            None => std::future::pending().await,
        }
    };
    let (finished, last) = tokio::select! {
        finished = ended(limit) => (finished, Drain::All),
        // A second signal: do not wait any longer.
        () = signals.again() => (false, Drain::All),
        _ = unrecorded => (workers.active() == 0, Drain::Unrecorded),
    };
    if finished {
        return true;
    }
    tracing::warn!(sessions = workers.active(), "ending the sessions that are left");
    drain.send_replace(last);
    ended(DRAIN_FORCED).await
}

/// A record about the agent itself, now.
fn record(event: AuditEvent) -> AuditRecord {
    AuditRecord { at: clock::now(), session: None, event }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A connection is never so long between its hook and its listener.
const ON_ITS_WAY_MAX: Duration = Duration::from_secs(1);
/// A connection that our hooks sent here and that has not arrived by then will not. Notes of connections to other hosts
/// stay for as long as these.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const DEATH_TOLD: Duration = Duration::from_millis(100);
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// After the deadline, so long for the last errors to reach the clients.
const DRAIN_FORCED: Duration = Duration::from_secs(3);
