//! The kernel's own list of TCP connections (`sock_diag`): which ones are open, whose they are, and how to end one.
//!
//! governor asks for it because a connection that was made before its hooks never passes them. Each socket is listed
//! with the cgroup in which it was made, which is what the hooks go by, and with an inode that leads to the processes
//! that hold it.
//!
//! Invariant: a connection is ended by its address *and* its cookie, so a later one with the same address is safe.

mod holders;
mod message;
mod netlink;
mod unix;

pub use holders::{Holder, duplicate, holders, sockets_of};
pub use message::Connection;
pub use netlink::{Diag, other_namespaces};
pub use unix::UnixConnection;
