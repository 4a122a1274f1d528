//! From one running agent to the next: how an upgrade leaves no moment in which nobody governs.
//!
//! The new agent connects to a socket in the state directory of the old one. What two processes may have at once (kernel
//! programs, listeners, policy) it has ready by then; what only one may have changes hands in between:
//!
//! ```text
//! new                                old
//! Hello ──────────────────────────▶
//!       ◀───────────────── Welcome   (where its pins are)
//! loads programs, listens
//! Prepare ────────────────────────▶  closes the audit chain, leaves control socket and metrics
//!       ◀──────────────── Prepared
//! opens them, attaches its hooks
//! Attached ───────────────────────▶  takes its connect hooks off: new connections go to the new one
//!       ◀─────────────────── Yours
//!       ◀───────── records, questions answered ─── drains its sessions
//! ```
//!
//! Up to `Attached` either side may give up: the old one takes everything back, once the new one has ended; one that hangs
//! is ended. From `Yours` on the new one has it all. When the new one stops, it closes the line of questions first: the old one
//! drains, and its records are still taken.
//!
//! Invariant: at every moment a captured port has a connect hook, and its hook a living listener.

mod beside;
mod frame;
mod predecessor;
mod process;
mod successor;

pub use beside::Records;
pub use predecessor::{Predecessor, Welcome};
pub use process::Process;
pub use successor::{Breaker, Doorway, Heir, SuccessorState};

/// Why a hand-over came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    #[error("no agent is there to take over from: {} cannot be reached: {source}", path.display())]
    Nobody { path: std::path::PathBuf, source: std::io::Error },
    #[error("hand-over socket {}: {source}", path.display())]
    Socket { path: std::path::PathBuf, source: std::io::Error },
    #[error("the other agent broke off the hand-over: {0}")]
    Io(#[from] std::io::Error),
    #[error("the hand-over socket is closed: the agent is stopping")]
    Closed,
    #[error("the other agent refused: {0}")]
    Refused(String),
    #[error("the other agent sent what was not due: {0}")]
    Unexpected(&'static str),
    #[error(
        "agents of these versions cannot hand over to each other ({ours} and {theirs}); stop the old one instead"
    )]
    Version { ours: u32, theirs: u32 },
}

/// Counts changes of what is said; both sides must have the same.
const PROTOCOL: u32 = 1;

/// The socket's file in the state directory.
pub const SOCKET_FILE: &str = "handover.sock";
