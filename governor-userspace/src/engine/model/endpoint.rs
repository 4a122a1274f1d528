//! Where a session goes and what its client says about itself.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a server is reached: an IP address (IPv4 or IPv6) and a port in host order, or a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Of a unix socket: loopback, as nobody else can be behind it.
    pub address: IpAddr,
    /// Of a unix socket: the port that its name carries.
    pub port: u16,
    /// Path of the unix socket.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub socket: Option<Arc<str>>,
    /// Network namespace that the address belongs to, where it is not governor's own: 127.0.0.1 is another
    /// server in each, and whoever may change a namespace's routes decides what any address means in it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<NetworkNamespace>,
}

/// Names a network namespace for as long as the host is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetworkNamespace {
    /// As `readlink /proc/PID/ns/net` and `lsns` show it; given to another one when this one is gone.
    pub inode: u64,
    /// The kernel's `SO_NETNS_COOKIE`; never given again.
    pub cookie: u64,
}

impl fmt::Display for NetworkNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

impl Endpoint {
    /// A server that is reached by TCP in governor's own network namespace.
    pub const fn tcp(address: IpAddr, port: u16) -> Self {
        Self { address, port, socket: None, namespace: None }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.socket {
            return f.write_str(path);
        }
        SocketAddr::new(self.address, self.port).fmt(f)?;
        self.namespace.map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// What the client says about itself in the protocol's start-up. Never trusted for identity:
/// policy may read it, records show it, beside what the kernel attests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Database role from the start-up packet.
    pub user: String,
    /// Database name; the role's name where the client sent none, as the server does.
    pub database: String,
    /// `application_name`, empty where not sent.
    pub application_name: String,
}

/// Names one session for its whole life: printable, unique, sortable by start; made by the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub Arc<str>);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
