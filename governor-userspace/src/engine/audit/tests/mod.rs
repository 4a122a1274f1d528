//! The chain in memory, encoding there and back, and what filters match.
//!
//! - `tampering`: every way of changing a chain that we can think of;
//! - `samples`: one of each event;
//! - `encoding` and `filters`: what is written is read back, and found.

mod encoding;
mod filters;
mod samples;
mod tampering;

use super::*;
use crate::engine::model::Timestamp;

fn at(second: u64) -> Timestamp {
    Timestamp { unix_ns: (1_800_000_000 + second) * 1_000_000_000 + 123_456_000, monotonic_ns: second }
}

/// Encodes as the ledger does and answers the JSON.
fn encode(seq: u64, record: &AuditRecord) -> Vec<u8> {
    let mut batch = Batch::default();
    batch.push(record).unwrap();
    let mut out = vec![];
    let (at, session, event) = batch.iter().next().unwrap();
    Encoder::default().write(&mut out, seq, at, session, event);
    out
}
