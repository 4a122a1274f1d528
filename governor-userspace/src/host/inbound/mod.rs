//! Servers of this host whose connections are captured where they arrive: which they are, found by themselves.
//!
//! The configuration names a port, a unit or a cgroup. Listening sockets and the processes behind them say the rest:
//! which ports are to be captured, and in which cgroups the servers' sockets are made. Looked at twice a second, and at
//! once when a server was reached that does not see its clients: a server that restarts is in a cgroup that is new.
//!
//! Invariant: a port that was captured once stays captured until governor stops, whoever listens on it.

mod keeper;
mod sockets;

pub use keeper::{InboundServer, ServerKeeper};
