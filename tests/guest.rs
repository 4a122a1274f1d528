//! The installed service on a machine of its own, under the init and the limits that operators have: `cargo xtask test
//! guest` and `crowd` boot one and run this as a unit of it.
//!
//! Elsewhere each test says so and fails: the service is the machine's own, at its place, and is stopped and killed.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "guest/crowd.rs"]
mod crowd;
#[path = "guest/machine.rs"]
mod machine;
#[path = "guest/raw.rs"]
mod raw;
#[path = "guest/service.rs"]
mod service;
