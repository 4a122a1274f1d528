//! Network namespaces of this host: which there are, how to work inside one, and what tells of new ones.
//!
//! - `find`: which processes are in which namespace, and which namespaces are kept without a process.
//! - `enter`: an open namespace; work on a thread inside it; sockets made inside it for other threads.
//! - `watch`: programs that were just started, as the kernel's process connector tells them.
//!
//! Invariant: no thread stays in a namespace longer than one piece of work, so that only descriptors and
//! sockets keep a namespace alive, and those are closed when nobody else is in it.
//!
//! Source: network_namespaces(7), setns(2), namespaces(7).

mod enter;
mod find;
mod watch;

pub use enter::{Entrance, Namespace, Roamer};
pub use find::{Pids, addresses, is_pinned, namespace_of, own_namespace, processes, runs_in};
pub use watch::ExecWatch;
