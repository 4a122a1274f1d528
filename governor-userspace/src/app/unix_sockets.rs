//! Takes over unix sockets while the agent runs, and says what becomes of them: log, metrics, audit.

use super::direct_connections::DirectConnections;
use super::record;
use crate::engine::audit::{AuditEvent, UnixSocketChange, UnixSocketRecord};
use crate::host::config::{Config, OnStop, WhenDown};
use crate::host::ledger::Ledger;
use crate::host::proxy::{Door, Doors, Listener, OpenDoor, Shared};
use crate::host::telemetry::Metrics;
use crate::host::unix::{Capture, Event, Keeper};
use anyhow::Context as _;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The sockets that the configuration names.
#[derive(Debug)]
pub(super) struct UnixSockets {
    keeper: Option<(Keeper<OpenDoor>, DirectConnections)>,
}

impl UnixSockets {
    /// Takes over what is there, and what comes. Called within the runtime that accepts connections.
    pub fn start(
        config: &Config,
        state_dir: &Path,
        doors: &Doors,
        shared: &Arc<Shared>,
        taken_over: bool,
    ) -> anyhow::Result<Self> {
        let sockets = &config.capture.unix;
        if sockets.is_empty() {
            return Ok(Self { keeper: None });
        }
        let captures = sockets.iter().map(|socket| Capture {
            path: socket.path.clone(),
            mode: socket.mode,
            pass_when_down: socket.when_down == WhenDown::Pass,
        });
        let (doors, runtime) = (doors.clone(), tokio::runtime::Handle::current());
        let open = move |listener, server| {
            // The keeper's thread is not one of the runtime's.
            let _inside = runtime.enter();
            doors.open(Listener::Unix(listener), Door::Unix(server))
        };
        let mut teller =
            Teller { ledger: shared.ledger.clone(), metrics: shared.metrics.clone(), taken: BTreeSet::new() };
        // After a take-over there is nobody to go back to.
        let tell = move |event| teller.tell(event);
        let keeper = Keeper::start(captures.collect(), state_dir, taken_over, open, tell)
            .context("a unix socket cannot be taken over (capture.unix)")?;
        let (ledger, metrics) = (shared.ledger.clone(), shared.metrics.clone());
        let direct =
            DirectConnections::watch(config, keeper.servers(), shared.exemption.clone(), ledger, metrics)?;
        Ok(Self { keeper: Some((keeper, direct)) })
    }

    /// Leaves them to an agent that takes over from this one. The doors go on accepting until they are dropped.
    pub fn hand_over(self) -> Vec<OpenDoor> {
        self.keeper.map_or_else(Vec::new, |(keeper, _)| keeper.hand_over())
    }

    /// Gives the sockets back to their servers, or leaves them as they are: refused. The doors go on accepting what was
    /// on its way until they are dropped.
    pub fn end(self, on_stop: OnStop) -> Vec<OpenDoor> {
        let Some((keeper, direct)) = self.keeper else { return Vec::new() };
        // Whoever connects directly from now on may.
        drop(direct);
        keeper.end(on_stop == OnStop::Detach)
    }
}

struct Teller {
    ledger: Ledger,
    metrics: Arc<Metrics>,
    taken: BTreeSet<PathBuf>,
}

impl Teller {
    fn tell(&mut self, event: Event) {
        use UnixSocketChange as Change;
        let (path, change, reason) = match event {
            Event::Taken { path, adopted } => {
                tracing::info!(path = %path.display(), adopted, "a unix socket is taken over");
                self.metrics.unix_taken();
                self.taken.insert(path.clone());
                (path, if adopted { Change::Adopted } else { Change::Taken }, String::new())
            }
            Event::Gone { path } => {
                tracing::info!(path = %path.display(), "a server removed its unix socket");
                self.taken.remove(&path);
                (path, Change::Gone, String::new())
            }
            Event::GivenBack { path } => {
                tracing::info!(path = %path.display(), "a unix socket was given back to its server");
                self.taken.remove(&path);
                (path, Change::GivenBack, String::new())
            }
            Event::Left { path } => {
                tracing::info!(path = %path.display(), "a unix socket stays taken: clients are refused until governor is back");
                self.taken.remove(&path);
                (path, Change::Left, String::new())
            }
            Event::Failed { path, reason } => {
                tracing::error!(path = %path.display(), reason, "a unix socket is not as it should be");
                (path, Change::Failed, reason)
            }
        };
        self.metrics.unix_sockets(self.taken.len());
        let event = UnixSocketRecord { socket: path.display().to_string(), change, reason };
        if let Err(error) = self.ledger.append(&[record(AuditEvent::UnixSocket(event))]) {
            tracing::error!(%error, "cannot record a change of a unix socket");
        }
    }
}
