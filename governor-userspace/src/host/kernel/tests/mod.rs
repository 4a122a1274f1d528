//! The kernel programs as applications meet them: real programs, cgroups of our own, loopback only.
//!
//! These need root and eBPF. Where that is missing they say so and pass, except with `CI` set:
//! there they fail.

mod capture;
mod full;
mod inbound;
mod lifecycle;
mod pressure;
mod remains;
mod sockets;
mod stage;
mod steer;
mod totals;
mod waiting;
