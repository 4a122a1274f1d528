//! Keeps governor's listeners in every network namespace that captured processes are in.
//!
//! A namespace is found by a look at all processes (at the start and regularly), by a program that starts in
//! it, by a socket that is made in it, and at the latest by the first connection, which is then lost. It is
//! left when nobody but governor is in it: no process, and no mount that keeps it for later.
//!
//! Invariant: what is in `served` is open in the kernel side and in the doors; what is in neither map is
//! unknown, and the kernel side treats its connections by rule.

use super::agent::KernelSlot;
use crate::host::config::Config;
use crate::host::inbound::{Names, PlaceMeans};
use crate::host::kernel::{EventCause, Exemption, KernelError, KernelEvent};
use crate::host::namespaces::{self, ExecWatch, Namespace, Roamer};
use crate::host::privileges;
use crate::host::proxy::{self, Ask, Door, Doors, Listener, OpenDoor, Shared};
use crate::host::telemetry::{Closed as _, Metrics, NamespaceFailure, NamespaceFound};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the keeper works with.
pub(super) struct Means {
    pub kernel: KernelSlot,
    pub exemption: Exemption,
    pub doors: Doors,
    pub metrics: Arc<Metrics>,
    /// Captured cgroups, below the cgroup v2 mount.
    pub cgroups: Vec<String>,
    /// Namespaces served at once, at most.
    pub count_max: usize,
    /// Listeners for each address family.
    pub listeners: usize,
    pub board: Board,
    /// Whoever looks for servers wants to know of programs that start in other namespaces.
    pub servers: Option<SyncSender<Ask>>,
    pub names: Names,
}

/// What it takes to capture servers in other network namespaces. Called within the runtime of the doors.
pub(super) fn place_means(
    config: &Config,
    shared: &Arc<Shared>,
    kernel: &KernelSlot,
    doors: Doors,
) -> PlaceMeans {
    PlaceMeans {
        kernel: kernel.clone(),
        exemption: shared.exemption.clone(),
        doors,
        metrics: shared.metrics.clone(),
        count_max: config.capture.namespaces_max,
        runtime: tokio::runtime::Handle::current(),
        names: names(shared),
    }
}

/// What the engines of this host call containers.
pub(super) fn names(shared: &Arc<Shared>) -> Names {
    let shared = shared.clone();
    Arc::new(move |pid| shared.identifier.container_of(pid))
}

/// What is told of it in `governor status`.
#[derive(Clone, Debug, Default)]
pub(super) struct Board(Arc<Mutex<Vec<String>>>);

impl Board {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// The running keeper; dropping it closes its doors.
pub(super) struct Namespaces {
    hints: Option<Hints>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Tells the keeper of a process or thread whose namespace may be new.
#[derive(Clone)]
pub(super) struct Hints(SyncSender<Hint>);

#[derive(Clone, Copy)]
struct Hint {
    pid: u32,
    found: NamespaceFound,
}

impl Namespaces {
    /// Opens what is there already, then goes on in the background. Called within the runtime of the doors.
    pub fn keep(means: Means) -> anyhow::Result<Self> {
        let (hints, told) = sync_channel(HINTS_MAX);
        let hints = Hints(hints);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        if means.count_max > 0 {
            match ExecWatch::open(EXEC_PAUSE) {
                Ok(watch) => {
                    let (stop, hints) = (stop.clone(), hints.clone());
                    let builder = std::thread::Builder::new().name("governor-execs".into());
                    threads.push(builder.spawn(move || tell_execs(watch, &stop, &hints))?);
                }
                Err(error) => tracing::warn!(
                    %error,
                    "programs that start are not told (CAP_NET_ADMIN, the host's own namespaces): new network \
                     namespaces are found later"
                ),
            }
            let mut keeper = Keeper {
                own: namespaces::own_namespace(),
                served: HashMap::new(),
                failed: HashMap::new(),
                runtime: tokio::runtime::Handle::current(),
                means,
            };
            keeper.walk();
            let builder = std::thread::Builder::new().name("governor-namespaces".into());
            let stopped = stop.clone();
            threads.push(builder.spawn(move || keeper.run(&told, &stopped))?);
        }
        Ok(Self { hints: Some(hints), stop, threads })
    }

    pub fn hints(&self) -> Option<Hints> {
        self.hints.clone()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.hints = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Hints {
    /// What the kernel programs said.
    pub fn hear(&self, event: &KernelEvent) {
        let found = match event.cause {
            EventCause::NamespaceSeen => NamespaceFound::Socket,
            EventCause::NamespaceUnknown => NamespaceFound::Refused,
            _ => return,
        };
        self.send(Hint { pid: event.pid, found });
    }

    /// Whoever is told too fast is found by the next walk.
    fn send(&self, hint: Hint) {
        let _ = self.0.try_send(hint);
    }
}

fn tell_execs(mut watch: ExecWatch, stop: &AtomicBool, hints: &Hints) {
    privileges::settle();
    while !stop.load(Ordering::Relaxed) {
        match watch.next_start() {
            Ok(Some(pid)) => hints.send(Hint { pid, found: NamespaceFound::Exec }),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "programs that start are no longer told");
                return;
            }
        }
    }
}

struct Keeper {
    means: Means,
    own: Option<u64>,
    /// By inode number, which is nobody else's while the namespace is held open.
    served: HashMap<u64, Served>,
    failed: HashMap<u64, Failed>,
    runtime: tokio::runtime::Handle,
}

struct Served {
    namespace: Arc<Namespace>,
    /// Who was there first.
    container: Option<String>,
    _doors: Vec<OpenDoor>,
    /// Who was seen in it last: a thread is not found by a look at processes.
    witness: u32,
    /// Looks in a row that found nobody.
    absent: u8,
    loopback_up: bool,
}

struct Failed {
    at: Instant,
    reason: NamespaceFailure,
}

impl Keeper {
    fn run(mut self, told: &Receiver<Hint>, stop: &AtomicBool) {
        privileges::settle();
        // Without it a thread is made for each namespace.
        let roamer = Roamer::of_this_thread().ok();
        let mut next_walk = Instant::now() + WALK_INTERVAL;
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next_walk {
                self.walk();
                next_walk = Instant::now() + WALK_INTERVAL;
                continue;
            }
            // Short: a stop must not wait for the next look.
            match told.recv_timeout((next_walk - now).min(STOP_PAUSE)) {
                Ok(hint) => self.hear(hint, roamer.as_ref()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn hear(&mut self, Hint { pid, found }: Hint, roamer: Option<&Roamer>) {
        let Some(inode) = namespaces::namespace_of(pid) else { return };
        if Some(inode) == self.own {
            return;
        }
        if let Some(servers) = self.means.servers.as_ref().filter(|_| found == NamespaceFound::Exec) {
            // Whoever is told too fast is found by the next look.
            let _ = servers.try_send(Ask::Started { inode, pid });
        }
        if let Some(served) = self.served.get_mut(&inode) {
            served.witness = pid;
            return;
        }
        // The hooks speak of captured processes only; any program may start.
        if found == NamespaceFound::Exec && !namespaces::runs_in(pid, &self.means.cgroups) {
            return;
        }
        self.open(inode, pid, found, roamer);
        self.report();
    }

    /// Opens what is new, closes what nobody is in.
    fn walk(&mut self) {
        let processes = namespaces::processes();
        for (inode, pids) in &processes {
            if Some(*inode) == self.own {
                continue;
            }
            if let Some(served) = self.served.get_mut(inode) {
                served.absent = 0;
                // Whoever was there first may have ended before anybody could ask.
                if served.container.is_none() {
                    served.container = pids.iter().take(ASKED_MAX).find_map(|pid| (self.means.names)(*pid));
                }
                continue;
            }
            let captured = pids.iter().find(|pid| namespaces::runs_in(**pid, &self.means.cgroups));
            if let Some(pid) = captured {
                self.open(*inode, *pid, NamespaceFound::Walk, None);
            }
        }
        let mut left = Vec::new();
        for (inode, served) in &mut self.served {
            let present = processes.contains_key(inode)
                || namespaces::namespace_of(served.witness) == Some(*inode)
                || namespaces::is_pinned(*inode);
            served.absent = if present { 0 } else { served.absent + 1 };
            if served.absent >= ABSENT_MAX {
                left.push(*inode);
            }
            if !served.loopback_up && loopback_is_up(&served.namespace) {
                served.loopback_up = true;
                tracing::info!(namespace = %served.namespace, "the loopback interface of the network namespace is up");
            }
        }
        for inode in left {
            self.close(inode);
        }
        self.failed.retain(|inode, _| processes.contains_key(inode));
        self.report();
    }

    fn report(&self) {
        self.means.metrics.namespaces(self.served.len(), self.failed.len());
        let mut lines = Vec::new();
        if !self.served.is_empty() {
            let served = self.served.values().map(|served| match &served.container {
                Some(container) => format!("{} {container}", served.namespace),
                None => served.namespace.to_string(),
            });
            lines.push(format!("network namespaces beside governor's own: {}", shortened(served)));
        }
        if !self.failed.is_empty() {
            let failed = self.failed.iter();
            let failed = failed.map(|(inode, failed)| format!("net:[{inode}] ({})", failed.reason.word()));
            lines.push(format!("network namespaces that are not served: {}", shortened(failed)));
        }
        *self.means.board.0.lock() = lines;
    }

    fn open(&mut self, inode: u64, pid: u32, found: NamespaceFound, roamer: Option<&Roamer>) {
        let earlier = self.failed.get(&inode).map(|failed| failed.reason);
        if self.failed.get(&inode).is_some_and(|failed| failed.at.elapsed() < RETRY_AFTER) {
            return;
        }
        match self.try_open(inode, pid, roamer) {
            Ok(Some(served)) => {
                let loopback_up = served.loopback_up;
                tracing::info!(
                    namespace = %served.namespace, pid, container = served.container, found = ?found, loopback_up,
                    "listening in a network namespace"
                );
                if !loopback_up {
                    tracing::warn!(
                        namespace = %served.namespace,
                        "the loopback interface of a network namespace is down: connections to captured ports fail \
                         in it until somebody brings it up (`ip link set lo up`); governor does not change it"
                    );
                }
                self.means.metrics.namespace_opened(found);
                self.failed.remove(&inode);
                self.served.insert(inode, served);
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
                        "cannot listen in a network namespace: its connections to captured ports are refused, or \
                         pass, as capture.rules.when_down says"
                    );
                }
                self.failed.insert(inode, Failed { at: Instant::now(), reason });
            }
        }
    }

    fn try_open(
        &self,
        inode: u64,
        pid: u32,
        roamer: Option<&Roamer>,
    ) -> Result<Option<Served>, (NamespaceFailure, String)> {
        if self.served.len() >= self.means.count_max {
            let max = self.means.count_max;
            return Err((NamespaceFailure::Limit, format!("{max} are served (capture.namespaces_max)")));
        }
        let enter = |error: std::io::Error| match error.raw_os_error() {
            Some(libc::EPERM) => (NamespaceFailure::Enter, format!("{error}: it takes CAP_SYS_ADMIN")),
            _ => (NamespaceFailure::Enter, error.to_string()),
        };
        let means = &self.means;
        let bind = || proxy::bind(&means.exemption, means.listeners, true);
        let (namespace, listeners) = match Namespace::open(pid, roamer, bind) {
            Ok((namespace, listeners)) if namespace.id().inode == inode => (Arc::new(namespace), listeners),
            // Gone, or moved meanwhile.
            Ok(_) => return Ok(None),
            Err(_) if namespaces::namespace_of(pid) != Some(inode) => return Ok(None),
            Err(error) => return Err(enter(error)),
        };
        let listen = |error: &dyn std::fmt::Display| (NamespaceFailure::Listen, error.to_string());
        let listeners = listeners.map_err(|error| listen(&error))?;
        let Some(listeners) = self.serve(&namespace, listeners).map_err(|error| listen(&error))? else {
            return Ok(None);
        };
        // From here on connections are sent here, and wait for the doors.
        let loopback_up = loopback_is_up(&namespace);
        let _runtime = self.runtime.enter();
        let door = || Door::Redirected(Some(namespace.clone()));
        let doors: Result<Vec<OpenDoor>, _> =
            listeners.into_iter().map(|listener| means.doors.open(Listener::Tcp(listener), door())).collect();
        match doors {
            Ok(doors) => {
                let container = (means.names)(pid);
                Ok(Some(Served { namespace, container, _doors: doors, witness: pid, absent: 0, loopback_up }))
            }
            Err(error) => {
                self.withdraw(&namespace);
                Err(listen(&error))
            }
        }
    }

    /// All of them or none; `None` where the kernel side is taken off already.
    fn serve(
        &self,
        namespace: &Namespace,
        listeners: Vec<TcpListener>,
    ) -> Result<Option<Vec<TcpListener>>, KernelError> {
        let served = match self.means.kernel.lock().as_mut() {
            Some(kernel) if !kernel.is_closed() => proxy::serve(kernel, listeners),
            _ => return Ok(None),
        };
        if served.is_err() {
            self.withdraw(namespace);
        }
        served.map(Some)
    }

    fn close(&mut self, inode: u64) {
        if let Some(served) = self.served.remove(&inode) {
            self.withdraw(&served.namespace);
            tracing::info!(namespace = %served.namespace, "left a network namespace: nobody else is in it");
        }
    }

    fn withdraw(&self, namespace: &Namespace) {
        if let Some(kernel) = self.means.kernel.lock().as_mut()
            && let Err(error) = kernel.withdraw_namespace(namespace.id().cookie)
        {
            tracing::error!(%error, %namespace, "a network namespace could not be withdrawn from the kernel side");
        }
    }
}

/// Their number, and the first few.
fn shortened(names: impl ExactSizeIterator<Item = String>) -> String {
    let count = names.len();
    let mut first: Vec<String> = names.take(NAMES_MAX).collect();
    first.sort();
    let more = if count > NAMES_MAX { ", …" } else { "" };
    format!("{count} ({}{more})", first.join(", "))
}

const NAMES_MAX: usize = 8;

fn loopback_is_up(namespace: &Namespace) -> bool {
    let is_up = || {
        let interfaces = nix::ifaddrs::getifaddrs().ok()?;
        let up = nix::net::if_::InterfaceFlags::IFF_LOOPBACK | nix::net::if_::InterfaceFlags::IFF_UP;
        Some(interfaces.into_iter().any(|interface| interface.flags.contains(up)))
    };
    // What cannot be told is not worth a warning.
    namespace.within(is_up).ok().flatten().unwrap_or(true)
}

/// A look at all processes costs some microseconds for each.
const WALK_INTERVAL: Duration = Duration::from_secs(1);
/// A container that is being restarted may leave its namespace empty for a moment.
const ABSENT_MAX: u8 = 2;
/// Of the processes in a namespace, for its container.
const ASKED_MAX: usize = 4;
const RETRY_AFTER: Duration = Duration::from_millis(500);
const HINTS_MAX: usize = 1024;
const EXEC_PAUSE: Duration = Duration::from_millis(100);
const STOP_PAUSE: Duration = Duration::from_millis(100);
