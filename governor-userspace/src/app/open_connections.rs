//! Connections that no hook saw: found, told, and ended where the rule says so.
//!
//! The hooks act at `connect()`, and on sockets that were made in the rule's cgroup. What was connected before them stays
//! as it was: unread, unmasked, unrecorded; so does what a process got as a socket from elsewhere. The kernel lists it all
//! the same. A connection belongs to a rule where its socket was made in the rule's cgroup or where a process of that
//! cgroup holds it. governor's own connections carry its marker and are left out.
//!
//! Looked at right after attaching, and again for as long as the hooks are on.
//!
//! - `arrived`: the same at the server's end, where `capture.inbound` captures: clients on other hosts have no other end here.

mod arrived;

pub(super) use arrived::Arrivals;

use self::arrived::{ClientEnd, ClientEnds, Ends};
use super::record;
use crate::engine::audit::{AuditEvent, OpenConnection};
use crate::engine::model::{Endpoint, NetworkNamespace};
use crate::host::config::{Config, OpenConnections as Action};
use crate::host::kernel::Exemption;
use crate::host::ledger::Ledger;
use crate::host::sockdiag::{Connection, Diag, Holder, duplicate, holders, other_namespaces};
use crate::host::telemetry::{Metrics, OpenOutcome};
use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One rule, as far as it matters here.
#[derive(Debug)]
struct Scope {
    cgroup: PathBuf,
    /// The cgroup as the kernel names it: from the mount down.
    name: String,
    ports: Vec<u16>,
    ends: bool,
}

/// Looks for connections that are not governed.
pub(super) struct OpenConnections {
    scopes: Vec<Scope>,
    arrivals: Option<Arrivals>,
    exemption: Exemption,
    ledger: Ledger,
    metrics: Arc<Metrics>,
    /// Cookies of those that were told.
    known: HashSet<u64>,
    /// Cookies of those of the last look: what is gone is forgotten.
    seen: HashSet<u64>,
    /// Namespaces that could not be looked at were told.
    blind_told: bool,
}

impl OpenConnections {
    pub fn new(
        config: &Config,
        mount: &Path,
        arrivals: Option<Arrivals>,
        exemption: Exemption,
        ledger: Ledger,
        metrics: Arc<Metrics>,
    ) -> Self {
        let rules = config.capture.rules.iter();
        let scopes = rules.map(|rule| {
            let cgroup = rule.cgroup.directory(mount);
            let below = cgroup.strip_prefix(mount).unwrap_or(&cgroup).display().to_string();
            Scope {
                name: format!("/{}", below.trim_matches('/')),
                cgroup,
                ports: rule.ports.clone(),
                ends: rule.open_connections == Action::End,
            }
        });
        Self {
            scopes: scopes.collect(),
            arrivals,
            exemption,
            ledger,
            metrics,
            known: HashSet::new(),
            seen: HashSet::new(),
            blind_told: false,
        }
    }

    /// Looks now, then every [`AGAIN`]. Drop what is returned before the hooks go: what connects directly then may.
    pub fn watch(self) -> std::io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread =
            std::thread::Builder::new().name("governor-open".into()).spawn(move || self.run(&told))?;
        Ok(Watch { stop, thread: Some(thread) })
    }

    fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.look();
            for _ in 0..AGAIN.as_millis() / STEP.as_millis() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(STEP);
            }
        }
    }

    /// One look into every namespace.
    fn look(&mut self) {
        let here = Diag::here()
            .inspect_err(
                |error| tracing::error!(%error, "connections that are not governed cannot be listed"),
            )
            .ok();
        // All servers' ends before any client's: whatever governor has connected by then is among those.
        let mut places: Vec<Place> = here.into_iter().map(|diag| self.place(diag, None)).collect();
        let mut blind = 0;
        for namespace in other_namespaces() {
            let inode = namespace.metadata().ok().map(|metadata| metadata.ino());
            match Diag::of(namespace) {
                Ok(diag) => {
                    let cookie = diag.namespace_cookie();
                    let id = inode.zip(cookie).map(|(inode, cookie)| NetworkNamespace { inode, cookie });
                    places.push(self.place(diag, Some(id)));
                }
                Err(_) => blind += 1,
            }
        }
        if blind > 0 && !std::mem::replace(&mut self.blind_told, true) {
            tracing::warn!(
                namespaces = blind,
                "connections of other network namespaces that are not governed cannot be listed (CAP_SYS_ADMIN)"
            );
        }
        let mut clients = ClientEnds::default();
        let mut left = 0;
        for place in &places {
            left += self.look_into(&place.diag, place.namespace, &mut clients);
        }
        for Place { diag, namespace, arrived } in places {
            left += self.look_at_servers(&diag, namespace, arrived, &clients);
        }
        self.metrics.open_connections(left);
        let seen = std::mem::take(&mut self.seen);
        self.known.retain(|cookie| seen.contains(cookie));
    }

    /// `namespace` is `None` for governor's own, and `Some(None)` for one whose number is not known.
    fn place(&self, diag: Diag, namespace: Option<Option<NetworkNamespace>>) -> Place {
        let arrived = match namespace {
            None => self.arrived(&diag, None),
            Some(Some(id)) => self.arrived(&diag, Some(id.cookie)),
            Some(None) => Vec::new(),
        };
        Place { diag, namespace: namespace.flatten(), arrived }
    }

    fn look_into(
        &mut self,
        diag: &Diag,
        namespace: Option<NetworkNamespace>,
        clients: &mut ClientEnds,
    ) -> u64 {
        let server_ports = self.server_ports();
        let mut ports: BTreeSet<u16> = server_ports.clone();
        ports.extend(self.scopes.iter().flat_map(|scope| scope.ports.iter().copied()));
        let mut found = Vec::new();
        for port in &ports {
            match diag.connections(*port) {
                Ok(connections) => found.extend(connections),
                Err(error) => {
                    tracing::error!(port, %error, "connections that are not governed cannot be listed");
                }
            }
        }
        let holders = holders(&found.iter().map(|connection| connection.inode).collect());
        // Those to captured servers are looked at from both ends.
        for connection in found.iter().filter(|found| server_ports.contains(&found.remote.port())) {
            let holder = holders.get(&connection.inode).and_then(|held| held.first());
            let ends = Ends::of(namespace, connection.local, connection.remote);
            if holder.is_some_and(|holder| self.is_own(holder)) {
                clients.own.insert(ends);
            } else {
                let end = ClientEnd { uid: connection.uid, holder: holder.cloned(), namespace, told: false };
                clients.others.insert(ends, end);
            }
        }
        // What is gone meanwhile had no holder to be found: governor's own connections may be short.
        let still: HashSet<u64> = ports
            .iter()
            .filter_map(|port| diag.connections(*port).ok())
            .flatten()
            .map(|connection| connection.cookie)
            .collect();
        found.retain(|connection| still.contains(&connection.cookie));
        let groups: Vec<HashSet<u64>> = self.scopes.iter().map(Scope::groups).collect();
        let mut left = 0;
        for connection in &found {
            let holders = holders.get(&connection.inode).map_or(&[][..], Vec::as_slice);
            let rules = self
                .scopes
                .iter()
                .zip(&groups)
                .filter(|(scope, groups)| scope.covers(connection, holders, groups))
                .map(|(scope, _)| scope);
            let Some(ends) = rules.clone().map(|scope| scope.ends).reduce(|one, other| one || other) else {
                continue;
            };
            // Of several holders the one to name is the one that the rule is about.
            let holder = rules.flat_map(|scope| holders.iter().filter(|holder| scope.is_of(holder))).next();
            let holder = holder.or_else(|| holders.first());
            if holder.is_some_and(|holder| self.is_own(holder)) {
                continue;
            }
            if let Some(end) =
                clients.others.get_mut(&Ends::of(namespace, connection.local, connection.remote))
            {
                end.told = true;
            }
            let found = Found {
                client: endpoint(connection.local, namespace),
                destination: endpoint(connection.remote, namespace),
                uid: connection.uid,
                holder,
                arrived: false,
            };
            let is_gone = self.deal_with(diag, connection, &found, ends);
            left += u64::from(!is_gone);
        }
        left
    }

    /// Ends it where asked to, and tells of it once. Answers whether it is gone.
    fn deal_with(&mut self, diag: &Diag, connection: &Connection, found: &Found<'_>, ends: bool) -> bool {
        let ended = ends.then(|| diag.end(connection));
        let (outcome, problem) = match ended {
            None => (OpenOutcome::Reported, String::new()),
            Some(Ok(())) => (OpenOutcome::Ended, String::new()),
            // It went by itself meanwhile.
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return true,
            Some(Err(error)) => (OpenOutcome::Failed, error.to_string()),
        };
        let is_gone = outcome == OpenOutcome::Ended;
        self.seen.insert(connection.cookie);
        if !self.known.insert(connection.cookie) && !is_gone {
            return false;
        }
        self.metrics.open_connection(outcome);
        let holder = found.holder;
        let told = OpenConnection {
            client: found.client.clone(),
            destination: found.destination.clone(),
            uid: found.uid,
            pid: holder.map(|holder| holder.pid),
            command: holder.map(|holder| holder.command.clone()).unwrap_or_default(),
            cgroup: holder.map(|holder| holder.cgroup.clone()).unwrap_or_default(),
            arrived: found.arrived,
            ended: is_gone,
            problem,
        };
        tracing::warn!(
            client = %told.client,
            destination = %told.destination,
            arrived = told.arrived,
            pid = told.pid,
            uid = told.uid,
            command = told.command,
            ended = told.ended,
            problem = told.problem,
            "a connection to a captured port is not governed: it was made before the hooks, or on a socket from elsewhere"
        );
        if let Err(error) = self.ledger.append(&[record(AuditEvent::OpenConnection(told))]) {
            tracing::error!(%error, "cannot record a connection that is not governed");
        }
        is_gone
    }

    /// The marker is on the socket, so the socket itself is asked: a name or a cgroup could be imitated.
    fn is_own(&self, holder: &Holder) -> bool {
        holder.pid == std::process::id()
            || duplicate(holder.pid, holder.descriptor)
                .is_ok_and(|socket| self.exemption.is_marked(socket.as_fd()))
    }
}

/// A network namespace, and the servers' ends in it.
struct Place {
    diag: Diag,
    /// `None` is governor's own.
    namespace: Option<NetworkNamespace>,
    arrived: Vec<Connection>,
}

/// One connection that is not governed, as it is told.
struct Found<'a> {
    client: Endpoint,
    destination: Endpoint,
    /// Owner of the socket that was found.
    uid: u32,
    /// Who holds it.
    holder: Option<&'a Holder>,
    /// It is the server's.
    arrived: bool,
}

/// The thread that looks; ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Scope {
    /// Once for each look. Everything is in the root, so nothing has to be known of it.
    fn groups(&self) -> HashSet<u64> {
        if self.name == "/" { HashSet::new() } else { groups_below(&self.cgroup) }
    }

    fn covers(&self, connection: &Connection, holders: &[Holder], groups: &HashSet<u64>) -> bool {
        self.ports.contains(&connection.remote.port())
            && (self.name == "/"
                || connection.cgroup_id.is_some_and(|id| groups.contains(&id))
                || holders.iter().any(|holder| self.is_of(holder)))
    }

    /// Whether the process is in the rule's cgroup or below it.
    fn is_of(&self, holder: &Holder) -> bool {
        self.name == "/"
            || holder
                .cgroup
                .strip_prefix(&self.name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The ids of the directory's cgroup and of those below it. A cgroup's id is its inode number.
fn groups_below(directory: &Path) -> HashSet<u64> {
    let mut found = HashSet::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        found.extend(directory.metadata().ok().map(|metadata| metadata.ino()));
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        waiting.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    found
}

fn endpoint(address: SocketAddr, namespace: Option<NetworkNamespace>) -> Endpoint {
    Endpoint { namespace, ..Endpoint::tcp(address.ip(), address.port()) }
}

const AGAIN: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(200);
