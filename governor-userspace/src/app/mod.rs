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
mod open_connections;
mod options;
mod signals;
mod unix_sockets;

pub use crate::host::config::Profile;
pub use faces::{Faces, OpenFaces, Places};
pub use options::RunOptions;

use self::open_connections::OpenConnections;
use crate::engine::audit::{AuditEvent, AuditRecord};
use crate::host::config::{self, Config, OnStop, Overrides};
use crate::host::kernel::cgroup2_mount;
use crate::host::life::Ending;
use crate::host::proxy::{Door, Doors, Drain, Listener, Workers};
use crate::host::{clock, privileges, telemetry};
use anyhow::Context as _;
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
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("tokio runtime")?;
    let result = runtime.block_on(govern(options, config, faces));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn govern(options: RunOptions, config: Config, faces: &dyn Faces) -> anyhow::Result<ExitCode> {
    let mut signals = signals::Signals::listen().context("cannot handle signals")?;
    let (drain, drain_seen) = watch::channel(Drain::No);
    let (stop, stop_seen) = watch::channel(false);
    // Opening the faces takes the instance's place: a second agent ends here.
    build::private_dir(&options.state_dir)?;
    let faces = faces.open(&Places {
        state_dir: &options.state_dir,
        socket_group: config.approvals.socket_group.as_deref(),
        metrics: config.metrics.listen,
    })?;
    let build::Built { handle, listeners, shared, kernel, data, lost, reveal, life, bookkeeper } =
        build::build(&options, &config, drain_seen)?;
    let ledger = shared.ledger.clone();

    let workers = Arc::new(Workers::start(config.limits.workers.unwrap_or_else(cores), shared.clone())?);
    let doors = Doors::new(workers.clone(), shared.metrics.clone(), stop_seen);
    let mut open_doors = Vec::new();
    for listener in listeners {
        open_doors.push(doors.open(Listener::Tcp(listener), Door::Redirected)?);
    }
    agent::record_start(&ledger, &config, &handle, &lost)?;
    reveal.record_created().map_err(anyhow::Error::msg)?;
    kernel.lock().as_mut().context("the kernel programs are gone")?.attach()?;
    privileges::settle();
    life.look_back()?;
    let tasks = agent::background(&kernel, &shared, &data, &bookkeeper, &handle, &life)?;
    let open_connections = OpenConnections::new(
        &config,
        &cgroup2_mount()?,
        shared.exemption.clone(),
        ledger.clone(),
        shared.metrics.clone(),
    )
    .watch()?;
    let unix = unix_sockets::UnixSockets::start(&config, &options.state_dir, &doors, &shared)?;
    faces.serve(&handle);
    handle.set_ready();
    signals::tell_ready(options.ready_fd)?;
    tracing::info!(capture = ?handle.status().capture, profile = config.policy.profile.as_str(), "governing");

    let reason = signals.wait(&handle).await;
    handle.drain();
    tracing::info!(reason, sessions = workers.active(), "draining");
    signals::tell_stopping();
    drop(open_connections);
    life.end(Ending::Stopped { reason: reason.into() });
    // New connections are no longer redirected; those that already were are still accepted, and counted.
    let on_stop = config.capture.on_stop;
    if on_stop == OnStop::Keep {
        if let Some(kernel) = kernel.lock().take()
            && let Err(error) = kernel.leave()
        {
            tracing::error!(%error, "the kernel programs could not be left as they should be");
        }
    } else if let Some(kernel) = kernel.lock().as_mut() {
        kernel.stop_redirecting();
    }
    open_doors.extend(unix.end(on_stop));
    shared.approvals.withdraw_all("the agent stopped", clock::now());
    let sessions_ended = drained(&drain, &workers, config.limits.drain_timeout, &mut signals).await;
    stop.send_replace(true);
    doors.closed().await;
    drop((open_doors, tasks));
    if let (true, Ok(workers)) = (sessions_ended, Arc::try_unwrap(workers).map_err(|_| ())) {
        workers.join();
    }
    bookkeeper.finish(clock::now());
    if let Some(kernel) = kernel.lock().take()
        && let Err(error) = kernel.detach()
    {
        tracing::error!(%error, "the kernel programs could not be taken off cleanly");
    }
    data.tick();
    if let Err(error) = data.save() {
        tracing::error!(%error, "what is known of columns could not be kept");
    }
    ledger.append(&[record(AuditEvent::AgentStop { reason: reason.into() })])?;
    ledger.close(clock::now())?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Lets sessions end: idle ones now, the others until the deadline, then all of them.
async fn drained(
    drain: &watch::Sender<Drain>,
    workers: &Workers,
    limit: Duration,
    signals: &mut signals::Signals,
) -> bool {
    drain.send_replace(Drain::Idle);
    let ended = |limit| async move {
        tokio::time::timeout(limit, async {
            while workers.active() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        })
        .await
        .is_ok()
    };
    let finished = tokio::select! {
        finished = ended(limit) => finished,
        // A second signal: do not wait any longer.
        () = signals.again() => false,
    };
    if finished {
        return true;
    }
    tracing::warn!(sessions = workers.active(), "ending the sessions that are left");
    drain.send_replace(Drain::All);
    ended(DRAIN_FORCED).await
}

/// A record about the agent itself, now.
fn record(event: AuditEvent) -> AuditRecord {
    AuditRecord { at: clock::now(), session: None, event }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

const DRAIN_POLL: Duration = Duration::from_millis(20);
/// After the deadline, so long for the last errors to reach the clients.
const DRAIN_FORCED: Duration = Duration::from_secs(3);
