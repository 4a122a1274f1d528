//! What can go wrong with the ledger. Each text names the thing, the reason and the way out.

use crate::engine::audit::{EncodeError, Finding};
use std::io;
use std::path::PathBuf;

/// The agent's side is at fault, never the client's: the statement at hand is refused.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "audit directory {} cannot be used: {source}. \
         Make it writable for the user that runs governor, or choose another with --state-dir", .path.display()
    )]
    Directory { path: PathBuf, source: io::Error },
    #[error("audit directory {} is in use by another governor{}. Stop it, or choose another --state-dir",
        .path.display(), .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("signing key {}: {source}", .path.display())]
    Key { path: PathBuf, source: io::Error },
    #[error("signing key {} is not 64 hexadecimal digits. Restore it from a backup", .path.display())]
    KeyMalformed { path: PathBuf },
    #[error("signing key {} can be read by others (mode {mode:03o}). Run: chmod 600 {}", .path.display(), .path.display())]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error("signing key {} is not the public half of the signing key beside it. Restore both from a backup", .path.display())]
    KeyMismatch { path: PathBuf },
    #[error("audit chain in {} is broken: {finding}. This is not what a crash leaves behind. \
        Keep the directory as evidence (move it aside) and governor starts a new chain", .path.display())]
    Broken { path: PathBuf, finding: Box<Finding> },
    #[error("audit file {}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("audit record refused: {0}")]
    Record(#[from] EncodeError),
    #[error("audit write failed: {source}")]
    Write { source: io::Error },
    #[error("audit data could not be put on disk: {source}")]
    Sync { source: io::Error },
    #[error("the agent that took over did not record it: {reason}")]
    Successor { reason: String },
    #[error("the audit ledger is closed: the agent is stopping")]
    Closed,
}

impl LedgerError {
    /// Closed set for metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Directory { .. } | Self::InUse { .. } => "directory",
            Self::Key { .. }
            | Self::KeyMalformed { .. }
            | Self::KeyExposed { .. }
            | Self::KeyMismatch { .. } => "key",
            Self::Broken { .. } => "broken",
            Self::File { .. } => "file",
            Self::Record(_) => "record",
            Self::Write { .. } => "write",
            Self::Sync { .. } => "sync",
            Self::Successor { .. } => "successor",
            Self::Closed => "closed",
        }
    }
}
