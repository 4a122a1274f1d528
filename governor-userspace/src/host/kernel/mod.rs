//! The kernel programs: probe, load, attach, read.
//!
//! [`Kernel`] owns one loaded set of programs. In order: [`Kernel::load`], one
//! [`Kernel::serve_listener`] for each listening socket, [`Kernel::attach`]; then
//! [`Kernel::beat`] regularly, and [`Kernel::detach`] at the end. What the programs do and how
//! long each map entry lives is in `docs/kernel.md`.
//!
//! Invariant: the hooks that redirect and steer (`connect`, `steer`) are attached last and detached first, so every
//! redirected connection finds the hooks that carry its identity.

mod attach;
mod cgroup;
mod error;
mod events;
mod inbound;
pub mod inspect;
mod load;
mod maps;
mod pins;
pub mod probe;
pub mod remains;
mod steer;
mod sys;
mod tend;
#[cfg(test)]
mod tests;
mod totals;

pub use cgroup::cgroup2_mount;
pub use error::KernelError;
pub use events::{KernelEvent, KernelEvents};
pub use governor_common::event::EventCause;
pub use inbound::{Announced, Clients, InboundOptions, InboundRule};
pub use load::{AttachedHook, Kernel, MapLevel, netns_cookie};
pub use maps::{Counters, Exemption, Flow, FlowTable, Heartbeat};
pub use pins::Previous;
pub use tend::Mended;
pub use totals::{ClosedSockets, Fin, LastWord, ListenerTotals, SocketTotals, last_word, socket_cookie};

use std::path::PathBuf;
use std::time::Duration;

/// The kernel programs count an agent as dead that gave no heartbeat for so long.
pub const HEARTBEAT_TIMEOUT: Duration =
    Duration::from_nanos(governor_common::limits::HEARTBEAT_TIMEOUT_NS_DEFAULT);

/// One port captured on one cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaptureRule {
    /// Destination port.
    pub port: u16,
    /// Absolute directory in the cgroup v2 mount. Sockets made in it or below it are captured.
    pub cgroup: PathBuf,
    /// Without a living agent: `true` lets connections go direct, `false` refuses them (EPERM).
    pub fail_open: bool,
}

/// What to load.
#[derive(Clone, Debug, Default)]
pub struct KernelOptions {
    pub rules: Vec<CaptureRule>,
    /// cgroups in which governor's own sockets are made. The hook that hands a flow over runs for
    /// the cgroup of the *accepted* socket, so it must cover these too. A rule on an ancestor,
    /// such as the root, covers them already.
    pub own_cgroups: Vec<PathBuf>,
    /// cgroups in which nobody gets a raw TCP socket, whatever rights they have.
    pub raw_refused: Vec<PathBuf>,
    /// Directory for pins. A bpffs is mounted there if it is none. With pins the hooks outlive a
    /// killed agent and refuse (or pass, per rule); without them they vanish with it.
    pub pin_dir: Option<PathBuf>,
    /// Capture of connections that arrive at this host's servers.
    pub inbound: Option<InboundOptions>,
    /// Pins of a living agent that is taken over from, in the same pin directory: its marked sockets are this
    /// agent's too, and its pins stay.
    pub beside: Option<PathBuf>,
    /// One line of log per decision of the connect hooks.
    pub debug_log: bool,
    /// Maps that hold another number of entries (ring buffers: of bytes) than `governor_common::limits` says.
    pub map_capacities: Vec<(&'static str, u32)>,
}
