//! Signs of life: from when on did nobody govern, and why?
//!
//! A running agent leaves a sign in its state directory with every heartbeat, and says there how it ended
//! where it still can. The next start measures the gap between the last sign and itself.
//!
//! Invariant: a length of time within one start of the host is told by clocks that nobody can set.

mod gap;
mod sign;

pub use gap::{Remains, detached, gap_before, wedged};
pub use sign::{Ending, LIFE_FILE, LifeFile, SignOfLife};
