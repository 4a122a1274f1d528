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

#[cfg(test)]
mod tests {
    use super::super::tests::{Place as Site, at, record};
    use super::super::{Ledger, LedgerOptions};
    use super::*;

    fn options(site: &Site) -> LedgerOptions {
        LedgerOptions::new(site.audit(), site.keys())
    }

    /// A ledger that stands for another agent's.
    struct Other(Ledger);

    impl Successor for Other {
        fn append(&self, batch: &Batch, durable: bool) -> Result<(), LedgerError> {
            self.0.append_batch(batch, durable)
        }
    }

    #[test]
    fn a_chain_that_is_handed_over_goes_on_whole_in_the_other_agent() {
        let site = Site::new();
        let old = Ledger::open(options(&site), at(0)).unwrap();
        old.append(&[record("before")]).unwrap();
        old.append_lazy(&record("queued before")).unwrap();
        old.hand_over(at(1)).unwrap();
        assert!(old.is_handed_over());
        // Nothing is written, and nothing is lost, until somebody has the chain.
        old.append_lazy(&record("queued between")).unwrap();
        let waiting = {
            let old = old.clone();
            std::thread::spawn(move || old.append_sync(&[record("waited")]))
        };
        let new = Ledger::open(options(&site), at(2)).unwrap();
        new.append(&[record("of the new one")]).unwrap();
        old.follow(Arc::new(Other(new.clone())));
        waiting.join().unwrap().unwrap();
        old.append(&[record("of the old one")]).unwrap();
        old.append_lazy(&record("last")).unwrap();
        old.close(at(3)).unwrap();
        new.close(at(4)).unwrap();
        let expected = [
            "before",
            "queued before",
            "of the new one",
            "queued between",
            "waited",
            "of the old one",
            "last",
        ];
        assert_eq!(site.decisions(), expected);
        assert_eq!(site.verify().finding, None);
    }

    #[test]
    fn a_chain_that_nobody_took_is_taken_back() {
        let site = Site::new();
        let ledger = Ledger::open(options(&site), at(0)).unwrap();
        ledger.append(&[record("before")]).unwrap();
        ledger.hand_over(at(1)).unwrap();
        let waiting = {
            let ledger = ledger.clone();
            std::thread::spawn(move || ledger.append(&[record("waited")]))
        };
        // Another agent has it for a moment, and goes away without a word.
        drop(Ledger::open(options(&site), at(2)).unwrap());
        ledger.take_back(at(3)).unwrap();
        waiting.join().unwrap().unwrap();
        ledger.append(&[record("after")]).unwrap();
        ledger.close(at(4)).unwrap();
        assert_eq!(site.decisions(), ["before", "waited", "after"]);
        assert_eq!(site.verify().finding, None);
    }

    #[test]
    fn a_successor_that_fails_fails_the_append() {
        struct Gone;
        impl Successor for Gone {
            fn append(&self, _: &Batch, _: bool) -> Result<(), LedgerError> {
                Err(LedgerError::Successor { reason: "gone".into() })
            }
        }
        let site = Site::new();
        let ledger = Ledger::open(options(&site), at(0)).unwrap();
        ledger.hand_over(at(1)).unwrap();
        ledger.follow(Arc::new(Gone));
        assert!(matches!(ledger.append(&[record("x")]), Err(LedgerError::Successor { .. })));
        assert!(matches!(ledger.append_sync(&[record("x")]), Err(LedgerError::Successor { .. })));
    }
}
