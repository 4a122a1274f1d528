//! How much searching the operator's detectors may do: in proportion to the bytes that they are shown.
//!
//! Patterns that nearly fit everywhere read a text again at each place where they may begin, and some have more states than any memory holds.
//! No clock tells: what is counted is steps, a byte read or what making a state costs beside. Every value adds to the
//! allowance before it is searched, so that values which cost what they should never want for any, whatever came before.
//!
//! Invariant: all steps that were ever taken are at most [`SAVED_STEPS_MAX`], what was earned, and for each value that was not
//! finished one search.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The allowance is spent: nobody knows what stands in the rest of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent;

/// Of one thread, like the caches beside it. Where threads share one all the same, an update may be lost, and nothing else.
#[derive(Debug)]
pub(super) struct Allowance {
    left: AtomicU64,
    #[cfg(test)]
    taken: AtomicU64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            left: AtomicU64::new(SAVED_STEPS_MAX),
            #[cfg(test)]
            taken: AtomicU64::new(0),
        }
    }
}

impl Allowance {
    /// So many bytes are about to be searched by so many detectors.
    pub(super) fn earn(&self, bytes: usize, detectors: usize) {
        let earned = earned(bytes, detectors);
        let left = self.left.load(Relaxed).saturating_add(earned);
        self.left.store(left.min(SAVED_STEPS_MAX.max(earned)), Relaxed);
    }

    /// So many steps were taken.
    pub(super) fn spend(&self, taken: usize) -> Result<(), Spent> {
        #[cfg(test)]
        self.taken.fetch_add(steps(taken), Relaxed);
        let left = self.left.load(Relaxed).saturating_sub(steps(taken));
        self.left.store(left, Relaxed);
        if left == 0 { Err(Spent) } else { Ok(()) }
    }

    /// Steps that were taken so far.
    #[cfg(test)]
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    /// The most that a new allowance lets one value take.
    #[cfg(test)]
    pub(super) fn bound(bytes: usize, detectors: usize) -> u64 {
        SAVED_STEPS_MAX + earned(bytes, detectors)
    }
}

fn earned(bytes: usize, detectors: usize) -> u64 {
    let for_byte =
        STEPS_FOR_BYTE_AND_DETECTOR.saturating_mul(steps(detectors)).saturating_add(STEPS_FOR_BYTE);
    steps(bytes).saturating_mul(for_byte)
}

fn steps(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Steps for a byte. A pattern takes one or two where it nearly never fits; docs/performance.md has what a step costs.
const STEPS_FOR_BYTE: u64 = 64;
/// Beside, for each detector.
const STEPS_FOR_BYTE_AND_DETECTOR: u64 = 4;
/// What values that cost less may leave for others: some ten milliseconds, once.
const SAVED_STEPS_MAX: u64 = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_never_more_than_what_was_earned_and_saved() {
        let allowance = Allowance::default();
        let mut taken = 0;
        while allowance.spend(1 << 10).is_ok() {
            taken += 1 << 10;
        }
        assert!(taken < SAVED_STEPS_MAX);
        allowance.earn(100, 3);
        let earned = 100 * (STEPS_FOR_BYTE + 3 * STEPS_FOR_BYTE_AND_DETECTOR);
        assert_eq!(allowance.spend(usize::try_from(earned).unwrap() - 1), Ok(()));
        assert_eq!(allowance.spend(1), Err(Spent));
        assert_eq!(allowance.spend(1), Err(Spent));
    }

    #[test]
    fn nothing_is_saved_without_end_and_a_long_value_has_all_that_it_earns() {
        let allowance = Allowance::default();
        (0..10_000).for_each(|_| allowance.earn(1 << 10, 1));
        assert_eq!(allowance.spend(usize::try_from(SAVED_STEPS_MAX).unwrap()), Err(Spent));
        allowance.earn(1 << 20, 1);
        assert_eq!(allowance.spend(60 << 20), Ok(()));
        allowance.earn(usize::MAX, usize::MAX);
        assert_eq!(allowance.spend(usize::MAX), Err(Spent), "no overflow");
    }
}
