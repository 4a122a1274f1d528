//! Who has the chain: this process, nobody for a moment, or the agent that took over from this one.
//!
//! A chain has one writer. When an agent is upgraded while it has sessions, the writer here closes, the new agent
//! opens the chain, and what this one still has to record goes to it: an append answers when the new agent has
//! written. So a record comes before its statement is forwarded here too, and where the new agent is gone nothing is forwarded.
//!
//! Invariant: `Place::Own` and an open writer go together.

use super::LedgerError;
use crate::engine::audit::Batch;
use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where records go once another agent has the chain.
pub trait Successor: Send + Sync {
    /// Answers when all of them are in the chain, and on disk where `durable`. On an error none is.
    fn append(&self, batch: &Batch, durable: bool) -> Result<(), LedgerError>;
}

#[derive(Clone, Default)]
pub(super) enum Place {
    #[default]
    Own,
    /// Handed over, and not taken yet: appends wait.
    Between,
    Elsewhere(Arc<dyn Successor>),
}

/// The place, and who waits for it to become known.
#[derive(Default)]
pub(super) struct Whereabouts {
    place: Mutex<Place>,
    changed: Condvar,
}

impl Whereabouts {
    pub fn set(&self, place: Place) {
        *self.place.lock() = place;
        self.changed.notify_all();
    }

    /// The place once it is known. An error where that takes too long.
    pub fn settled(&self) -> Result<Place, LedgerError> {
        let deadline = Instant::now() + BETWEEN_MAX;
        let mut place = self.place.lock();
        while matches!(*place, Place::Between) {
            if self.changed.wait_until(&mut place, deadline).timed_out() {
                return Err(LedgerError::Closed);
            }
        }
        Ok(place.clone())
    }

    pub fn is_between(&self) -> bool {
        matches!(*self.place.lock(), Place::Between)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "Own",
            Self::Between => "Between",
            Self::Elsewhere(_) => "Elsewhere",
        })
    }
}

/// Longer than a hand-over may take.
const BETWEEN_MAX: Duration = Duration::from_secs(45);
