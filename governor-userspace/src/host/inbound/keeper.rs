//! Keeps the kernel side in step with the servers that are there.

use super::sockets::{Holder, Listening, holders, listening};
use crate::host::identity::{Glob, unit_of};
use crate::host::kernel::{InboundRule, Kernel, KernelError};
use crate::host::proxy::{InboundPorts, PortRule};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

/// A server as the configuration names it.
#[derive(Clone, Debug)]
pub struct InboundServer {
    /// Empty: whatever the unit or cgroup listens on.
    pub ports: Vec<u16>,
    pub unit: Option<Glob>,
    pub cgroup: Option<Glob>,
    pub fail_open: bool,
    /// Connections to it that were open before governor are ended.
    pub ends_open: bool,
    pub tls: crate::engine::session::TlsMode,
}

impl InboundServer {
    /// Whether a process of this cgroup may be the server. With a port alone, whoever holds it is.
    pub fn runs_in(&self, cgroup: &str) -> bool {
        let unit = || unit_of(cgroup);
        self.cgroup.as_ref().is_none_or(|glob| glob.matches(cgroup))
            && self.unit.as_ref().is_none_or(|glob| unit().is_some_and(|unit| glob.matches(&unit)))
    }
}

/// Looks for the servers and tells the kernel side and the proxy.
#[derive(Debug)]
pub struct ServerKeeper {
    servers: Vec<InboundServer>,
    cgroup2_mount: PathBuf,
    ports: Arc<InboundPorts>,
    kernel: Arc<Mutex<Option<Kernel>>>,
    /// What was there when the processes were looked at last, and what was said about it.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    listening: Listening,
    told: BTreeSet<String>,
}

impl ServerKeeper {
    pub fn new(
        servers: Vec<InboundServer>,
        cgroup2_mount: PathBuf,
        ports: Arc<InboundPorts>,
        kernel: Arc<Mutex<Option<Kernel>>>,
    ) -> Self {
        Self { servers, cgroup2_mount, ports, kernel, seen: Mutex::default() }
    }

    /// Looks until `stop`, at once where somebody asks for it. Needs what it takes to attach programs.
    pub fn run(&self, asked: &mpsc::Receiver<oneshot::Sender<()>>, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            match asked.recv_timeout(TICK) {
                Ok(done) => {
                    // One look answers all who wait.
                    let waiting: Vec<_> = std::iter::once(done).chain(asked.try_iter()).collect();
                    self.look_again();
                    for done in waiting {
                        // Whoever asked may have left.
                        let _ = done.send(());
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.tick(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks again where listening sockets have come or gone. Cheap where nothing has.
    fn tick(&self) {
        let now = listening();
        if self.seen.lock().listening != now {
            self.look(now);
        }
    }

    /// Looks again in any case.
    pub fn look_again(&self) {
        self.look(listening());
    }

    fn look(&self, now: Listening) {
        let mut seen = self.seen.lock();
        let holders = holders(&now);
        for server in &self.servers {
            let mut pids = BTreeSet::new();
            for holder in &holders {
                let named = server.ports.is_empty() || server.ports.contains(&holder.port);
                if !named {
                    continue;
                }
                if server.runs_in(&holder.cgroup) {
                    pids.insert(holder.pid);
                    self.take(server, holder, &mut seen.told);
                } else if server.ports.contains(&holder.port) {
                    tell(&mut seen.told, format!("{} {}", holder.port, holder.cgroup), || {
                        tracing::warn!(
                            port = holder.port,
                            pid = holder.pid,
                            cgroup = holder.cgroup,
                            "a process listens on the port of a captured server and is not that server: it gets no connection"
                        );
                    });
                }
            }
            for holder in holders.iter().filter(|holder| pids.contains(&holder.pid)) {
                if self.ports.rule(holder.port).is_none() {
                    tell(&mut seen.told, format!("open {}", holder.port), || {
                        tracing::warn!(
                            port = holder.port,
                            pid = holder.pid,
                            "a captured server listens on this port too, which no capture.inbound block names: \
                             connections to it are not governed"
                        );
                    });
                }
            }
        }
        seen.listening = now;
    }

    /// Captures the port where it is new, and lets the server see its clients.
    fn take(&self, server: &InboundServer, holder: &Holder, told: &mut BTreeSet<String>) {
        let cgroup = self.cgroup2_mount.join(holder.cgroup.trim_start_matches('/'));
        let mut slot = self.kernel.lock();
        let Some(kernel) = slot.as_mut() else { return };
        let attached = (|| -> Result<bool, KernelError> {
            // Each time, and first: one that failed is tried again.
            kernel.capture_port(InboundRule { port: holder.port, fail_open: server.fail_open })?;
            self.ports.add(PortRule { port: holder.port, tls: server.tls });
            kernel.show_clients_to(&cgroup)
        })();
        match attached {
            Ok(true) => tracing::info!(
                port = holder.port,
                pid = holder.pid,
                cgroup = holder.cgroup,
                "captures the connections that arrive for this server"
            ),
            Ok(false) => {}
            Err(error) => tell(told, format!("{} {error}", holder.cgroup), || {
                tracing::error!(
                    %error, port = holder.port, cgroup = holder.cgroup,
                    "a server cannot be shown its clients: connections to it are refused"
                );
            }),
        }
    }
}

/// Says something once.
fn tell(told: &mut BTreeSet<String>, what: String, say: impl FnOnce()) {
    if told.len() < TOLD_COUNT_MAX && told.insert(what) {
        say();
    }
}

/// How soon a server that has come or gone is seen, where nobody asks.
const TICK: Duration = Duration::from_millis(500);
/// Things that are said once; more of them are not said.
const TOLD_COUNT_MAX: usize = 256;
