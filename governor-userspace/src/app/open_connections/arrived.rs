//! The server's end: connections that arrived for a server of this host before its port was captured.
//!
//! A client on another host has no socket here that could be listed, so the server's own are. Most of them are governor's
//! connections to the server, and those that governor itself accepted. Both are known by governor's marker, and by
//! nothing that could be imitated: the one by the marked socket at the other end, the other by a process that holds marked sockets,
//! which in an upgrade is another agent.

use super::{Found, OpenConnections, endpoint};
use crate::engine::model::NetworkNamespace;
use crate::host::inbound::InboundServer;
use crate::host::proxy::InboundPorts;
use crate::host::sockdiag::{Connection, Diag, Holder, duplicate, holders, sockets_of};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Servers of this host whose arriving connections are captured.
#[derive(Debug)]
pub struct Arrivals {
    /// Those that are captured by now.
    pub ports: Arc<InboundPorts>,
    pub servers: Vec<InboundServer>,
}

impl Arrivals {
    /// Which holder is the server, and whether its connections are ended; `None` where none of them is a captured server. A
    /// holder that cannot be found may be one.
    fn server<'a>(&self, port: u16, held: &'a [Holder]) -> Option<(Option<&'a Holder>, bool)> {
        let named = |server: &&InboundServer| server.ports.is_empty() || server.ports.contains(&port);
        let ends = |cgroup: Option<&str>| {
            let servers = self.servers.iter().filter(named);
            servers
                .filter(|server| cgroup.is_none_or(|cgroup| server.runs_in(cgroup)))
                .map(|server| server.ends_open)
                .reduce(|one, other| one || other)
        };
        if held.is_empty() {
            return ends(None).map(|ends| (None, ends));
        }
        held.iter().find_map(|holder| ends(Some(&holder.cgroup)).map(|ends| (Some(holder), ends)))
    }
}

/// What the ends of clients that live on this host say of connections to captured servers.
#[derive(Debug, Default)]
pub(super) struct ClientEnds {
    /// Own address and the server's, of governor's own connections.
    pub own: HashSet<Ends>,
    /// The same of others'.
    pub others: HashMap<Ends, ClientEnd>,
}

/// A connection as its client's end has it: own address, then the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    /// Cookie of the network namespace, of a connection that never leaves it: another namespace may have the same two
    /// addresses. 0 is governor's own.
    within: Option<u64>,
    client: SocketAddr,
    server: SocketAddr,
}

impl Ends {
    /// `namespace` is that of either end, `None` governor's own.
    pub fn of(namespace: Option<NetworkNamespace>, client: SocketAddr, server: SocketAddr) -> Self {
        let stays = client.ip() == server.ip() || client.ip().is_loopback();
        let within = stays.then(|| namespace.map_or(0, |namespace| namespace.cookie));
        Self { within, client, server }
    }
}

#[derive(Debug)]
pub(super) struct ClientEnd {
    pub uid: u32,
    pub holder: Option<Holder>,
    pub namespace: Option<NetworkNamespace>,
    /// By a rule about the client.
    pub told: bool,
}

impl OpenConnections {
    /// Ports of captured servers, wherever they are.
    pub(super) fn server_ports(&self) -> BTreeSet<u16> {
        self.arrivals.as_ref().map(|arrivals| arrivals.ports.everywhere()).unwrap_or_default()
    }

    /// The servers' ends that are there now, in governor's own namespace or in the one with this cookie. Asked before the
    /// clients' ends: whatever governor has connected by then is among those.
    pub(super) fn arrived(&self, diag: &Diag, namespace: Option<u64>) -> Vec<Connection> {
        let ports = self.arrivals.as_ref().map(|arrivals| arrivals.ports.all(namespace)).unwrap_or_default();
        let mut found = Vec::new();
        for port in ports {
            match diag.arrived(port) {
                // One without an inode waits to be accepted, by whomever: the next look knows.
                Ok(arrived) => found.extend(arrived.into_iter().filter(|connection| connection.inode != 0)),
                Err(error) => {
                    tracing::error!(port, %error, "connections that are not governed cannot be listed");
                }
            }
        }
        found
    }

    /// Deals with those of `arrived` that are not governor's. Answers how many are left.
    pub(super) fn look_at_servers(
        &mut self,
        diag: &Diag,
        namespace: Option<NetworkNamespace>,
        arrived: Vec<Connection>,
        clients: &ClientEnds,
    ) -> u64 {
        let mut found = arrived;
        if found.is_empty() {
            return 0;
        }
        let ends_of = |connection: &Connection| Ends::of(namespace, connection.remote, connection.local);
        found.retain(|connection| !clients.own.contains(&ends_of(connection)));
        let holders = holders(&found.iter().map(|connection| connection.inode).collect());
        // What has ended meanwhile had a client's end that could not be found any more.
        let still: HashSet<u64> = self
            .arrived(diag, namespace.map(|id| id.cookie))
            .iter()
            .map(|connection| connection.cookie)
            .collect();
        found.retain(|connection| still.contains(&connection.cookie));
        let mut agents = HashMap::new();
        let mut left = 0;
        for connection in &found {
            let held = holders.get(&connection.inode).map_or(&[][..], Vec::as_slice);
            let is_agents = held
                .iter()
                .any(|holder| *agents.entry(holder.pid).or_insert_with(|| self.is_agent(holder.pid)));
            if is_agents {
                continue;
            }
            let server = self.arrivals.as_ref().and_then(|known| known.server(connection.local.port(), held));
            let Some((server, ends)) = server else { continue };
            let client = clients.others.get(&ends_of(connection));
            if client.is_some_and(|client| client.told) && !ends {
                continue;
            }
            let known = client.filter(|client| client.holder.is_some());
            let found = Found {
                client: endpoint(connection.remote, known.map_or(namespace, |client| client.namespace)),
                destination: endpoint(connection.local, namespace),
                uid: known.map_or(connection.uid, |client| client.uid),
                holder: known.map_or(server, |client| client.holder.as_ref()),
                arrived: known.is_none(),
            };
            let is_gone = self.deal_with(diag, connection, &found, ends);
            left += u64::from(!is_gone);
        }
        left
    }

    /// Whether this process is governor, or the agent before or after it in an upgrade: nobody else has marked sockets.
    fn is_agent(&self, pid: u32) -> bool {
        pid == std::process::id()
            || sockets_of(pid).into_iter().any(|descriptor| {
                duplicate(pid, descriptor).is_ok_and(|socket| self.exemption.is_marked(socket.as_fd()))
            })
    }
}
