//! Writes the audit chain to disk, and reads it back.
//!
//! - `writer` holds the end of the chain and turns records into lines; all or nothing per write.
//! - `recover` finds the end of the chain when the agent starts, and repairs what a crash left.
//! - `spool` is where lines wait for their segment: mapped memory of a file, so an append needs no system call.
//! - `segment` names files and publishes the head; `keys` holds the signing key.
//! - `place` is where records go when another agent has taken the chain over.
//! - `reader` is for people's tools: it needs neither lock nor private key.
//!
//! Invariant: when [`Ledger::append`] answers `Ok`, its records are in the page cache, whole and chained:
//! in the segment, or in the spool that is put behind it after a crash.
//! When it answers an error, none of them is in the chain.

mod error;
mod handle;
mod keys;
mod place;
mod reader;
mod recover;
mod segment;
mod spool;
mod writer;

pub use error::LedgerError;
pub use handle::{Health, Ledger, LedgerOptions, LedgerStats};
pub use keys::{PUBLIC_KEY_FILE, existing_signing_key, read_public_key, signing_key};
pub use place::Successor;
pub use reader::{AuditFiles, Follower, Verification, verify_directory};

#[cfg(test)]
mod tests;
