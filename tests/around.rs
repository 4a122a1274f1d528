//! No way around: every technique that gets past a database gateway, tried with unmodified kernel interfaces.
//!
//! Each test runs in a network namespace of its own. An attack counts as stopped when its question is answered by governor
//! (masked, and on record under the right process) or refused by the kernel; and after all of them the server's own log
//! must not know of a question that the audit does not have.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "around/imitation.rs"]
mod imitation;
#[path = "around/open.rs"]
mod open;
#[path = "around/places.rs"]
mod places;
#[path = "around/stage.rs"]
mod stage;
#[path = "around/ways.rs"]
mod ways;
