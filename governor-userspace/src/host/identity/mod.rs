//! From a pid that the kernel attests to a [`Principal`](crate::engine::model::Principal).
//!
//! The kernel hook saw *which* process connected, when, with which uid and in which cgroup; this module
//! reads the rest from procfs and says whether a service, a person or an agent is asking, and why.
//!
//! Invariants: nothing is read from a recycled pid; what a process can change about itself may only make
//! its class stricter; the value of an environment variable is never kept; a doubt is written down in the
//! evidence. What remains possible to spoof is in `docs/identity.md`.

pub(crate) mod agents;
mod attested;
mod cache;
mod cgroup;
mod classify;
mod container;
mod executable_hash;
mod facts;
mod glob;
mod identifier;
mod live;
mod procfs;
mod recent;
mod secrets;
mod users;
mod workload;

pub use agents::{AgentsError, KnownAgent, KnownAgents, KnownLogin};
pub use attested::{Voucher, as_of_peer};
pub use classify::Assignment;
pub use glob::{Glob, GlobError};
pub use identifier::{Attested, Identifier, IdentityError, IdentityRules};
pub use live::attest;
pub use workload::unit_of;
