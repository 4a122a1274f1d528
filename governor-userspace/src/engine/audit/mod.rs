//! Evidence: what a record says, how records are chained, and how a chain is verified.
//!
//! The format on disk is a public contract, written down in `docs/audit.md`.

mod chain;
mod checkpoint;
mod completeness;
mod encode;
mod fields;
mod hello;
mod merkle;
mod query;
mod reconcile;
mod record;
mod verify;

pub use chain::{ChainHash, LINE_JSON_OFFSET, push_line, split_line};
pub use checkpoint::{Checkpoint, Head, key_id};
pub use completeness::*;
pub use encode::*;
pub use hello::{HelloOutcome, HelloRecord, HelloWay, PeerLoaded, PeersLoaded};
pub use merkle::Merkle;
pub use query::*;
pub use reconcile::{Accounted, Found, KernelCount, ReconcileLimits, Reconciler, SocketCount};
pub use record::*;
pub use verify::*;

#[cfg(test)]
mod tests;
