//! The agent's life: what happens to connections, and what is on record, when it stops, dies, hangs or comes back.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "lifecycle/clock.rs"]
mod clock;
#[path = "lifecycle/doors.rs"]
mod doors;
#[path = "lifecycle/drain.rs"]
mod drain;
#[path = "lifecycle/edges.rs"]
mod edges;
#[path = "lifecycle/faults.rs"]
mod faults;
#[path = "lifecycle/gaps.rs"]
mod gaps;
#[path = "lifecycle/loops.rs"]
mod loops;
#[path = "lifecycle/own.rs"]
mod own;
#[path = "lifecycle/service.rs"]
mod service;
#[path = "lifecycle/upgrade.rs"]
mod upgrade;
#[path = "lifecycle/window.rs"]
mod window;
