//! Keeps the kernel side in step with the servers that are there.

use super::places::{PlaceMeans, Places};
use super::sockets::{Holder, Listening, Where, cgroup_of, holders, listening};
use crate::host::identity::{Glob, unit_of};
use crate::host::kernel::{InboundRule, Kernel, KernelError};
use crate::host::namespaces::{Pids, namespace_of, own_namespace, processes};
use crate::host::proxy::{Ask, InboundPorts, PortRule};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A server as the configuration names it.
#[derive(Clone, Debug)]
pub struct InboundServer {
    /// Empty: whatever the unit or cgroup listens on.
    pub ports: Vec<u16>,
    pub unit: Option<Glob>,
    pub cgroup: Option<Glob>,
    /// It may be in governor's own network namespace.
    pub here: bool,
    /// It may be in another one.
    pub elsewhere: bool,
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

    /// Whether it may be in governor's own namespace, or in another one.
    fn may_be(&self, namespace: Where) -> bool {
        if namespace.is_none() { self.here } else { self.elsewhere }
    }

    /// Whether its ports can be captured as soon as a process of it is there, before it listens.
    fn is_known_early(&self) -> bool {
        self.elsewhere && !self.ports.is_empty() && (self.unit.is_some() || self.cgroup.is_some())
    }

    fn rule(&self, port: u16) -> PortRule {
        PortRule { port, tls: self.tls }
    }
}

/// Looks for the servers and tells the kernel side and the proxy.
#[derive(Debug)]
pub struct ServerKeeper {
    servers: Vec<InboundServer>,
    cgroup2_mount: PathBuf,
    ports: Arc<InboundPorts>,
    kernel: Arc<Mutex<Option<Kernel>>>,
    /// Other network namespaces; `None` until the doors are there, and where none are served.
    places: Mutex<Option<Places>>,
    lines: Mutex<Vec<String>>,
    /// What was there when the processes were looked at last, and what was said about it.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    listening: Listening,
    /// Processes of other network namespaces, as of the last walk.
    elsewhere: HashMap<u64, Pids>,
    walks_count: u64,
    told: BTreeSet<String>,
}

impl ServerKeeper {
    pub fn new(
        servers: Vec<InboundServer>,
        cgroup2_mount: PathBuf,
        ports: Arc<InboundPorts>,
        kernel: Arc<Mutex<Option<Kernel>>>,
    ) -> Self {
        Self {
            servers,
            cgroup2_mount,
            ports,
            kernel,
            places: Mutex::default(),
            lines: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// From now on servers in other network namespaces are captured too, where the configuration names them.
    pub fn serve_elsewhere(&self, means: PlaceMeans) {
        if means.count_max > 0 {
            *self.places.lock() = Some(Places::new(means, self.ports.clone()));
        }
    }

    /// Closes the doors in other network namespaces. For the end, when nothing is sent there any more.
    pub fn close(&self) {
        *self.places.lock() = None;
    }

    /// What `governor status` says of other network namespaces.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// Looks until `stop`, at once where somebody asks for it. Needs what it takes to attach programs.
    pub fn run(&self, asked: &mpsc::Receiver<Ask>, stop: &AtomicBool) {
        let mut ticks_count = 0_u64;
        let mut next_tick = Instant::now() + TICK;
        while !stop.load(Ordering::Relaxed) {
            match asked.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(first) => {
                    // One look answers all who wait.
                    let mut waiting = Vec::new();
                    for ask in std::iter::once(first).chain(asked.try_iter()) {
                        match ask {
                            Ask::Look(done) => waiting.push(done),
                            Ask::Started { inode, pid } => self.started(inode, pid),
                        }
                    }
                    if !waiting.is_empty() {
                        self.look_again();
                    }
                    for done in waiting {
                        // Whoever asked may have left.
                        let _ = done.send(());
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    ticks_count += 1;
                    next_tick = Instant::now() + TICK;
                    let is_walk = ticks_count.is_multiple_of(self.walk_ticks());
                    self.tick(is_walk);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Processes are looked at every so many ticks: seldom where it is only to tell of servers that are not captured.
    fn walk_ticks(&self) -> u64 {
        if self.looks_elsewhere() { WALK_TICKS } else { WALK_TICKS_SELDOM }
    }

    fn looks_elsewhere(&self) -> bool {
        self.servers.iter().any(|server| server.elsewhere)
    }

    /// Looks again where listening sockets have come or gone, and where something failed. Cheap where nothing has.
    fn tick(&self, is_walk: bool) {
        let mut seen = self.seen.lock();
        if is_walk {
            self.walk(&mut seen);
            if !self.looks_elsewhere() {
                self.tell_of_others(&mut seen);
            }
        }
        let again = is_walk && self.places.lock().as_ref().is_some_and(Places::has_failed);
        let now = self.listening_now(&seen);
        if again || seen.listening != now {
            self.look(&mut seen, now);
        }
    }

    fn listening_now(&self, seen: &Seen) -> Listening {
        let others = if self.looks_elsewhere() { seen.entries() } else { Vec::new() };
        listening(&others)
    }

    /// Of servers in other network namespaces, where none of them is to be captured.
    fn tell_of_others(&self, seen: &mut Seen) {
        let named = |port: &u16| self.servers.iter().any(|server| server.ports.contains(port));
        let mut found = listening(&seen.entries());
        found.retain(|(namespace, _, port)| namespace.is_some() && named(port));
        if found.is_empty() {
            return;
        }
        for holder in holders(&found) {
            let is_of = |server: &&InboundServer| {
                server.ports.contains(&holder.port) && server.runs_in(&holder.cgroup)
            };
            if self.servers.iter().any(|server| is_of(&server)) {
                tell_of_other(&mut seen.told, &holder);
            }
        }
    }

    /// Looks again in any case.
    pub fn look_again(&self) {
        let mut seen = self.seen.lock();
        self.walk(&mut seen);
        let now = self.listening_now(&seen);
        self.look(&mut seen, now);
    }

    /// A program has started in another network namespace: where it is a server's, its ports are captured before it listens.
    fn started(&self, inode: u64, pid: u32) {
        if namespace_of(pid) != Some(inode) {
            return;
        }
        let mut places = self.places.lock();
        let Some(places) = places.as_mut() else { return };
        if !places.serves(inode) {
            self.capture_early(places, inode, &[pid]);
            *self.lines.lock() = places.report();
        }
    }

    /// Looks at the processes of other network namespaces: who has come, and who is gone.
    fn walk(&self, seen: &mut Seen) {
        let mut places = self.places.lock();
        let Some(places) = places.as_mut() else { return };
        let mut processes = processes();
        places.leave_empty(&processes);
        if let Some(own) = own_namespace() {
            processes.remove(&own);
        }
        for (inode, pids) in &processes {
            self.capture_early(places, *inode, pids);
        }
        seen.elsewhere = processes;
        seen.walks_count += 1;
        if seen.walks_count.is_multiple_of(ADDRESSES_WALKS) {
            places.look_again_at_addresses();
        }
        *self.lines.lock() = places.report();
    }

    /// Captures ports of servers that are named by more than their ports, where a process of theirs is.
    fn capture_early(&self, places: &mut Places, inode: u64, pids: &[u32]) {
        for server in self.servers.iter().filter(|server| server.is_known_early()) {
            let of_server = |pid: &&u32| cgroup_of(**pid).is_some_and(|cgroup| server.runs_in(&cgroup));
            let Some(pid) = pids.iter().find(of_server) else { continue };
            for port in &server.ports {
                places.capture(inode, *pid, server.rule(*port), server.fail_open);
            }
        }
    }

    fn look(&self, seen: &mut Seen, now: Listening) {
        let holders = holders(&now);
        for server in &self.servers {
            let mut pids = BTreeSet::new();
            for holder in &holders {
                let named = server.ports.is_empty() || server.ports.contains(&holder.port);
                if !named {
                    continue;
                }
                if !server.may_be(holder.namespace) {
                    if server.runs_in(&holder.cgroup) && server.ports.contains(&holder.port) {
                        tell_of_other(&mut seen.told, holder);
                    }
                    continue;
                }
                if server.runs_in(&holder.cgroup) {
                    pids.insert((holder.namespace, holder.pid));
                    self.take(server, holder, seen);
                } else if server.ports.contains(&holder.port) && self.captures(holder) {
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
            for holder in holders.iter().filter(|holder| pids.contains(&(holder.namespace, holder.pid))) {
                if !self.captures(holder) {
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

    /// Whether the port that it listens on is captured there.
    fn captures(&self, holder: &Holder) -> bool {
        let namespace = match holder.namespace {
            None => None,
            Some(inode) => match self.places.lock().as_ref().and_then(|places| places.cookie(inode)) {
                None => return false,
                cookie => cookie,
            },
        };
        self.ports.rule(namespace, holder.port).is_some()
    }

    /// Captures the port where it is new, and lets the server see its clients.
    fn take(&self, server: &InboundServer, holder: &Holder, seen: &mut Seen) {
        if let Some(inode) = holder.namespace {
            let mut places = self.places.lock();
            let (Some(places), Some(pid)) = (places.as_mut(), seen.entry(inode)) else { return };
            if places.capture(inode, pid, server.rule(holder.port), server.fail_open).is_none() {
                return;
            }
            *self.lines.lock() = places.report();
        }
        let cgroup = self.cgroup2_mount.join(holder.cgroup.trim_start_matches('/'));
        let mut slot = self.kernel.lock();
        let Some(kernel) = slot.as_mut() else { return };
        let attached = (|| -> Result<bool, KernelError> {
            if holder.namespace.is_none() {
                // Each time, and first: one that failed is tried again.
                kernel.capture_port(None, InboundRule { port: holder.port, fail_open: server.fail_open })?;
                self.ports.add(None, server.rule(holder.port));
            }
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
            Err(error) => tell(&mut seen.told, format!("{} {error}", holder.cgroup), || {
                tracing::error!(
                    %error, port = holder.port, cgroup = holder.cgroup,
                    "a server cannot be shown its clients: connections to it are refused"
                );
            }),
        }
    }
}

impl Seen {
    /// A process in each other namespace, by which that is entered and read.
    fn entries(&self) -> Vec<(u64, u32)> {
        self.elsewhere.keys().filter_map(|inode| Some((*inode, self.entry(*inode)?))).collect()
    }

    fn entry(&self, inode: u64) -> Option<u32> {
        self.elsewhere.get(&inode)?.iter().copied().find(|pid| namespace_of(*pid) == Some(inode))
    }
}

/// A server that only `capture.inbound.namespaces` keeps from being captured.
fn tell_of_other(told: &mut BTreeSet<String>, holder: &Holder) {
    let Holder { pid, namespace, port, cgroup } = holder;
    let place = namespace.map_or_else(|| "governor's own".to_owned(), |inode| format!("net:[{inode}]"));
    tell(told, format!("{port} {cgroup} {place}"), || {
        tracing::warn!(
            port,
            pid,
            cgroup,
            namespace = place,
            "a process listens on the port of a captured server, in a network namespace that capture.inbound.namespaces \
             leaves out: connections to it are not governed"
        );
    });
}

/// Says something once.
fn tell(told: &mut BTreeSet<String>, what: String, say: impl FnOnce()) {
    if told.len() < TOLD_COUNT_MAX && told.insert(what) {
        say();
    }
}

/// How soon a server that has come or gone is seen, where nobody asks.
const TICK: Duration = Duration::from_millis(500);
/// Processes of other network namespaces are looked at so seldom.
const WALK_TICKS: u64 = 2;
const WALK_TICKS_SELDOM: u64 = 20;
/// Addresses of namespaces are looked at again after so many of these.
const ADDRESSES_WALKS: u64 = 10;
/// Things that are said once; more of them are not said.
const TOLD_COUNT_MAX: usize = 256;
