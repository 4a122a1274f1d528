//! Connections to a server's own socket, past governor's: found, told, and ended where the configuration says so.
//!
//! They were made before governor took the socket, in the moment between a server's start and that, or by somebody whom
//! file permissions do not hold (root). The kernel lists what was accepted at the server's file, whatever that is called;
//! what is not governor's own is one. The server's end is then shut down through a duplicate of its descriptor: server and
//! client both see a closed connection.

use super::record;
use crate::engine::audit::{AuditEvent, DirectConnection};
use crate::host::config::{Config, DirectConnections as Action};
use crate::host::kernel::Exemption;
use crate::host::ledger::Ledger;
use crate::host::ports::command_of;
use crate::host::sockdiag::{Diag, Holder, UnixConnection, duplicate, holders, other_namespaces};
use crate::host::telemetry::{DirectAction, Metrics};
use crate::host::unix::{Peer, Servers};
use std::collections::{HashMap, HashSet};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Looks for them while it lives.
#[derive(Debug)]
pub(super) struct DirectConnections {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DirectConnections {
    pub fn watch(
        config: &Config,
        servers: Servers,
        exemption: Exemption,
        ledger: Ledger,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let ends = config.capture.unix.iter().map(|socket| {
            (socket.path.to_string_lossy().into_owned(), socket.direct_connections == Action::End)
        });
        let look = Look {
            servers,
            ends: ends.collect(),
            exemption,
            ledger,
            metrics,
            own: HashSet::new(),
            told: HashSet::new(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread =
            std::thread::Builder::new().name("governor-direct".into()).spawn(move || look.run(&stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for DirectConnections {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Look {
    servers: Servers,
    /// By the configured path, whether they are ended.
    ends: Vec<(String, bool)>,
    exemption: Exemption,
    ledger: Ledger,
    metrics: Arc<Metrics>,
    /// Connections that are known to be governor's.
    own: HashSet<UnixConnection>,
    /// Connections that were told.
    told: HashSet<UnixConnection>,
}

impl Look {
    fn run(mut self, stop: &AtomicBool) {
        let mut far = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            // A client lives in the namespace that lists its connection: elsewhere are containers, which are many.
            let everywhere = far.elapsed() >= FAR_INTERVAL;
            if everywhere {
                far = Instant::now();
            }
            self.look(everywhere);
            let next = Instant::now() + INTERVAL;
            while Instant::now() < next && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(STEP);
            }
        }
    }

    fn look(&mut self, everywhere: bool) {
        let listed = self.list(everywhere);
        if everywhere {
            self.own.retain(|known| listed.contains_key(known));
            self.told.retain(|known| listed.contains_key(known));
        }
        let is_new = |found: &UnixConnection| !self.own.contains(found) && !self.told.contains(found);
        let new: Vec<UnixConnection> = listed.keys().copied().filter(is_new).collect();
        if new.is_empty() {
            return;
        }
        // What is still there after governor's own sockets were listed was there all the time meanwhile.
        let own = own_sockets();
        let still = self.list(everywhere);
        let (own, strange): (Vec<UnixConnection>, Vec<UnixConnection>) = new
            .into_iter()
            .filter(|found| still.contains_key(found))
            .partition(|found| own.contains(&found.peer));
        self.own.extend(own);
        if strange.is_empty() {
            return;
        }
        let inodes = strange.iter().flat_map(|found| [found.inode, found.peer]).collect();
        let holders = holders(&inodes);
        for found in strange {
            let of = |inode| holders.get(inode).map(Vec::as_slice).unwrap_or_default();
            let client = of(&found.peer);
            // Of a governor before this one, whose sessions go on.
            if client.iter().any(|client| self.is_marked(client)) {
                self.own.insert(found);
                continue;
            }
            if let Some(path) = still.get(&found) {
                self.deal_with(found, path, of(&found.inode).first(), client.first());
            }
        }
    }

    /// What is accepted at the servers' files now, with the sockets' paths.
    fn list(&self, everywhere: bool) -> HashMap<UnixConnection, Arc<str>> {
        let files: Vec<(Arc<str>, (u64, u64))> = {
            let servers = self.servers.lock();
            servers.iter().filter_map(|server| Some((server.path(), server.file()?))).collect()
        };
        let mut found = HashMap::new();
        let mut look_into = |diag: Diag| match diag.unix_connections() {
            Ok(connections) => {
                for connection in connections {
                    let file = files.iter().find(|(_, (device, inode))| connection.is_of(*device, *inode));
                    found.extend(file.map(|(path, _)| (connection, path.clone())));
                }
            }
            Err(error) => tracing::error!(%error, "connections to unix sockets cannot be listed"),
        };
        match Diag::here() {
            Ok(diag) => look_into(diag),
            Err(error) => tracing::error!(%error, "connections to unix sockets cannot be listed"),
        }
        if everywhere {
            // Without CAP_SYS_ADMIN nothing can be seen there, which `open_connections` tells.
            other_namespaces().into_iter().filter_map(|space| Diag::of(space).ok()).for_each(look_into);
        }
        found
    }

    /// Ends it where asked to, and tells of it once.
    fn deal_with(
        &mut self,
        found: UnixConnection,
        path: &str,
        server: Option<&Holder>,
        client: Option<&Holder>,
    ) {
        // Without a holder it is not accepted yet, or gone: the next look knows.
        let Some(server) = server else { return };
        self.told.insert(found);
        let end = duplicate(server.pid, server.descriptor);
        // The server's end says for certain who connected.
        let peer = end.as_ref().ok().and_then(|end| Peer::of(end.as_fd()).ok());
        let outcome = self.ends(path).then(|| end.and_then(shut_down));
        let ended = matches!(outcome, Some(Ok(())));
        let problem = match outcome {
            Some(Err(error)) => error.to_string(),
            _ => String::new(),
        };
        let pid = peer.as_ref().map(|peer| peer.pid).or(client.map(|client| client.pid));
        let told = DirectConnection {
            socket: path.into(),
            pid,
            uid: peer.map(|peer| peer.ids.uid),
            command: pid.map(command_of).unwrap_or_default(),
            ended,
            problem,
        };
        tracing::warn!(
            socket = path,
            pid = told.pid,
            uid = told.uid,
            command = told.command,
            ended,
            problem = told.problem,
            "somebody is connected to a server past governor's socket"
        );
        self.metrics.unix_direct(if ended { DirectAction::Ended } else { DirectAction::Reported });
        if let Err(error) = self.ledger.append(&[record(AuditEvent::DirectConnection(told))]) {
            tracing::error!(%error, "cannot record a connection past governor's socket");
        }
    }

    fn ends(&self, path: &str) -> bool {
        let exact = self.ends.iter().find(|(written, _)| written == path);
        // A pattern covers names in its directory.
        let in_directory =
            |written: &str| written.contains('*') && Path::new(written).parent() == Path::new(path).parent();
        let found = exact.or_else(|| self.ends.iter().find(|(written, _)| in_directory(written)));
        found.is_some_and(|(_, ends)| *ends)
    }

    fn is_marked(&self, holder: &Holder) -> bool {
        duplicate(holder.pid, holder.descriptor).is_ok_and(|socket| self.exemption.is_marked(socket.as_fd()))
    }
}

fn shut_down(socket: OwnedFd) -> std::io::Result<()> {
    UnixStream::from(socket).shutdown(Shutdown::Both)
}

/// Inodes of all sockets that this process has.
fn own_sockets() -> HashSet<u32> {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return HashSet::new() };
    let inode = |descriptor: std::fs::DirEntry| {
        let target = std::fs::read_link(descriptor.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    descriptors.flatten().filter_map(inode).collect()
}

const INTERVAL: Duration = Duration::from_secs(1);
const FAR_INTERVAL: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);
