//! Network namespaces of containers in which servers are captured: a listener for each family, `steer`, and the ports.
//!
//! A namespace is left when two looks in a row find nobody in it but governor: no process, and no mount that keeps it for
//! later. Until then governor holds it open, so its number is nobody else's.
//!
//! Invariant: what is served has its listeners in the kernel side before `steer` is attached there, so a captured port is
//! never without one while governor lives.

use crate::host::kernel::{Exemption, InboundRule, Kernel, KernelError};
use crate::host::namespaces::{self, Namespace, Pids};
use crate::host::proxy::{self, Door, Doors, InboundPorts, Listener, OpenDoor, PortRule};
use crate::host::telemetry::{Closed as _, Metrics, NamespaceFailure};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What it takes to serve other network namespaces.
pub struct PlaceMeans {
    pub kernel: Arc<Mutex<Option<Kernel>>>,
    pub exemption: Exemption,
    pub doors: Doors,
    pub metrics: Arc<Metrics>,
    /// Namespaces served at once, at most.
    pub count_max: usize,
    /// That of the doors.
    pub runtime: tokio::runtime::Handle,
    pub names: Names,
}

/// What people call the container that a process runs in.
pub type Names = Arc<dyn Fn(u32) -> Option<String> + Send + Sync>;

impl fmt::Debug for PlaceMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaceMeans").field("count_max", &self.count_max).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    means: PlaceMeans,
    ports: Arc<InboundPorts>,
    /// By inode number.
    served: HashMap<u64, Place>,
    failed: HashMap<u64, Failed>,
}

#[derive(Debug)]
struct Place {
    namespace: Arc<Namespace>,
    /// Who was there first.
    container: Option<String>,
    _doors: Vec<OpenDoor>,
    /// Looks in a row that found nobody.
    absent: u8,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    reason: NamespaceFailure,
}

/// Why a namespace is not served.
type Trouble = (NamespaceFailure, String);

impl Places {
    pub fn new(means: PlaceMeans, ports: Arc<InboundPorts>) -> Self {
        Self { means, ports, served: HashMap::new(), failed: HashMap::new() }
    }

    pub fn serves(&self, inode: u64) -> bool {
        self.served.contains_key(&inode)
    }

    /// Some namespace is to be served and is not.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The cookie of a namespace that is served.
    pub fn cookie(&self, inode: u64) -> Option<u64> {
        self.served.get(&inode).map(|place| place.namespace.id().cookie)
    }

    /// Captures this port of the namespace that process `pid` is in. Answers the namespace's cookie; `None` where it is not
    /// served, which was told.
    pub fn capture(&mut self, inode: u64, pid: u32, rule: PortRule, fail_open: bool) -> Option<u64> {
        if !self.serves(inode) {
            self.open(inode, pid);
        }
        let cookie = self.cookie(inode)?;
        // First who is asked for the rule, then who sends: a connection must find it.
        self.ports.add(Some(cookie), rule);
        let captured = self
            .means
            .kernel
            .lock()
            .as_mut()
            .map(|kernel| kernel.capture_port(Some(cookie), InboundRule { port: rule.port, fail_open }));
        match captured {
            Some(Ok(())) => Some(cookie),
            Some(Err(error)) => {
                tracing::error!(
                    %error, port = rule.port, namespace = format!("net:[{inode}]"),
                    "the port of a server in a network namespace cannot be captured: connections to it are not governed"
                );
                None
            }
            None => None,
        }
    }

    fn open(&mut self, inode: u64, pid: u32) {
        let earlier = self.failed.get(&inode).map(|failed| failed.reason);
        if self.failed.get(&inode).is_some_and(|failed| failed.at.elapsed() < RETRY_AFTER) {
            return;
        }
        match self.try_open(inode, pid) {
            Ok(Some(place)) => {
                tracing::info!(
                    namespace = %place.namespace, pid, container = place.container,
                    "captures arriving connections in a network namespace"
                );
                self.failed.remove(&inode);
                self.look_at_addresses(&place.namespace);
                self.served.insert(inode, place);
            }
            // The process is gone, or the agent is about to be.
            Ok(None) => {}
            Err((reason, error)) => {
                self.means.metrics.namespace_failed(reason);
                if earlier != Some(reason) {
                    tracing::error!(
                        namespace = format!("net:[{inode}]"),
                        pid,
                        error,
                        "cannot capture arriving connections in a network namespace: its servers are not governed"
                    );
                }
                self.failed.insert(inode, Failed { at: Instant::now(), reason });
            }
        }
    }

    fn try_open(&self, inode: u64, pid: u32) -> Result<Option<Place>, Trouble> {
        let means = &self.means;
        if self.served.len() >= means.count_max {
            let max = means.count_max;
            return Err((NamespaceFailure::Limit, format!("{max} are served (capture.namespaces_max)")));
        }
        let enter = |error: io::Error| match error.raw_os_error() {
            Some(libc::EPERM) => (NamespaceFailure::Enter, format!("{error}: it takes CAP_SYS_ADMIN")),
            _ => (NamespaceFailure::Enter, error.to_string()),
        };
        let bind = || proxy::bind(&means.exemption, 1, true);
        let (namespace, listeners) = match Namespace::open(pid, None, bind) {
            Ok((namespace, listeners)) if namespace.id().inode == inode => (Arc::new(namespace), listeners),
            // Gone, or moved meanwhile.
            Ok(_) => return Ok(None),
            Err(_) if namespaces::namespace_of(pid) != Some(inode) => return Ok(None),
            Err(error) => return Err(enter(error)),
        };
        let listen = |error: &dyn fmt::Display| (NamespaceFailure::Listen, error.to_string());
        let listeners = listeners.map_err(|error| listen(&error))?;
        let handle = namespace.handle().map_err(|error| listen(&error))?;
        let cookie = namespace.id().cookie;
        let served = {
            let mut slot = means.kernel.lock();
            let Some(kernel) = slot.as_mut() else { return Ok(None) };
            let serve = |kernel: &mut Kernel| -> Result<bool, KernelError> {
                for listener in &listeners {
                    kernel.serve_inbound(listener.as_fd())?;
                }
                kernel.steer_in(handle, inode, cookie)
            };
            serve(kernel)
        };
        let door = || Door::Inbound(Some(namespace.clone()));
        let doors = match served {
            Ok(false) => Ok(Vec::new()),
            Ok(true) => {
                // Connections that are sent here already wait for the doors.
                let _runtime = means.runtime.enter();
                let listeners = listeners.into_iter().map(Listener::Tcp);
                listeners
                    .map(|listener| means.doors.open(listener, door()))
                    .collect::<io::Result<Vec<OpenDoor>>>()
                    .map_err(|error| listen(&error))
            }
            Err(error) => Err(listen(&error)),
        };
        match doors {
            Ok(doors) if !doors.is_empty() => {
                let container = (means.names)(pid);
                Ok(Some(Place { namespace, container, _doors: doors, absent: 0 }))
            }
            other => {
                self.withdraw(&namespace);
                other.map(|_| None)
            }
        }
    }

    /// Leaves namespaces that nobody is in. `processes` are all that were found a moment ago.
    pub fn leave_empty(&mut self, processes: &HashMap<u64, Pids>) {
        let mut left = Vec::new();
        for (inode, place) in &mut self.served {
            let present = processes.contains_key(inode) || namespaces::is_pinned(*inode);
            place.absent = if present { 0 } else { place.absent + 1 };
            if place.absent >= ABSENT_MAX {
                left.push(*inode);
            }
        }
        for inode in left {
            if let Some(place) = self.served.remove(&inode) {
                self.withdraw(&place.namespace);
                tracing::info!(
                    namespace = %place.namespace,
                    "left a network namespace with a captured server: nobody else is in it"
                );
            }
        }
        self.failed.retain(|inode, _| processes.contains_key(inode));
    }

    /// Looks again at what addresses the served namespaces have.
    pub fn look_again_at_addresses(&self) {
        self.served.values().for_each(|place| self.look_at_addresses(&place.namespace));
    }

    fn look_at_addresses(&self, namespace: &Namespace) {
        // What is not known makes a client of this host governed twice, and no worse.
        let found = namespace.within(namespaces::addresses).ok().flatten().unwrap_or_default();
        self.ports.set_addresses(namespace.id().cookie, found);
    }

    /// What `governor status` says of them; tells the metrics, too.
    pub fn report(&self) -> Vec<String> {
        self.means.metrics.inbound_namespaces(self.served.len(), self.failed.len());
        let mut lines: Vec<String> = Vec::new();
        for place in self.served.values() {
            let mut ports = self.ports.all(Some(place.namespace.id().cookie));
            ports.sort_unstable();
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            let container =
                place.container.as_ref().map_or(String::new(), |name| format!(" in container {name}"));
            lines.push(format!(
                "arriving in {} at ports {} (postgres){container}",
                place.namespace,
                ports.join(", ")
            ));
        }
        for (inode, failed) in &self.failed {
            lines.push(format!("not arriving in net:[{inode}]: {}", failed.reason.word()));
        }
        lines.sort();
        if lines.len() > LINES_MAX {
            let more = lines.len() - LINES_MAX;
            lines.truncate(LINES_MAX);
            lines.push(format!("arriving in {more} more network namespaces"));
        }
        lines
    }

    fn withdraw(&self, namespace: &Namespace) {
        let cookie = namespace.id().cookie;
        self.ports.forget(cookie);
        if let Some(kernel) = self.means.kernel.lock().as_mut()
            && let Err(error) = kernel.withdraw_steer(cookie)
        {
            tracing::error!(%error, %namespace, "a network namespace could not be withdrawn from the kernel side");
        }
    }
}

const RETRY_AFTER: Duration = Duration::from_secs(1);
const ABSENT_MAX: u8 = 2;
/// Of `governor status`.
const LINES_MAX: usize = 32;
