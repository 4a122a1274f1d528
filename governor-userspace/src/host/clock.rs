//! Reads the clocks that the engine is told about.

use crate::engine::model::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Wall and monotonic time, now.
pub fn now() -> Timestamp {
    Timestamp { unix_ns: read(ClockId::CLOCK_REALTIME), monotonic_ns: read(ClockId::CLOCK_MONOTONIC) }
}

/// 0 where the clock cannot be read, which Linux promises for neither of the two.
fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
    })
}
