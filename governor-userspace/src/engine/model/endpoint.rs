//! Where a session goes and what its client says about itself.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A TCP endpoint as text-free data: an IP address (IPv4 or IPv6) and a port in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: std::net::IpAddr,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
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
