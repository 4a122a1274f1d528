//! Servers of this host whose connections are captured where they arrive: which they are, found by themselves.
//!
//! The configuration names a port, a unit or a cgroup. Listening sockets and the processes behind them say the rest:
//! which ports are to be captured, and in which cgroups the servers' sockets are made. Looked at twice a second, and at
//! once when a server was reached that does not see its clients: a server that restarts is in a cgroup that is new.
//!
//! - `sockets`: what listens where, and who holds it.
//! - `keeper`: which of it is a server that the configuration names.
//! - `places`: other network namespaces, those of containers, in which such servers are.
//!
//! Invariant: a port that was captured once stays captured until governor stops, or its network namespace is gone, whoever
//! listens on it.

mod keeper;
mod places;
mod sockets;

pub use keeper::{InboundServer, ServerKeeper};
pub use places::{Names, PlaceMeans};
