//! The host's clocks and names made of them.

use crate::engine::model::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Wall and monotonic time, read now.
pub fn now() -> Timestamp {
    Timestamp { unix_ns: read(ClockId::CLOCK_REALTIME), monotonic_ns: read(ClockId::CLOCK_MONOTONIC) }
}

/// A moment on every clock that a length of time may have to be told by.
///
/// The monotonic clock and the boot clock begin at the host's start and cannot be set; the boot clock counts
/// suspended time too. The wall clock can be set at any time: it counts only between two starts of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Names one start of the host.
    pub boot: String,
    pub boottime_ns: u64,
    pub monotonic_ns: u64,
    pub unix_ns: u64,
}

impl Moment {
    pub fn now() -> Self {
        let Timestamp { unix_ns, monotonic_ns } = now();
        Self { boot: boot_id(), boottime_ns: read(ClockId::CLOCK_BOOTTIME), monotonic_ns, unix_ns }
    }

    /// By how much the wall clock was set since `before`, in the same start of the host: what it went on more, or less, than
    /// the clock that cannot be set. Below a second it is a correction as any daemon makes them, and 0.
    pub fn step_since(&self, before: &Self) -> i64 {
        let length = |now: u64, then: u64| i128::from(now) - i128::from(then);
        let step = length(self.unix_ns, before.unix_ns) - length(self.boottime_ns, before.boottime_ns);
        if self.boot != before.boot || step.abs() < STEP_NS_MIN {
            return 0;
        }
        i64::try_from(step).unwrap_or(if step < 0 { i64::MIN } else { i64::MAX })
    }
}

const STEP_NS_MIN: i128 = 1_000_000_000;

/// The kernel's random name for this start of the host; empty where it tells none.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Monotonic time alone, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// 0 where the clock cannot be read, which Linux promises for neither of the two.
fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
    })
}

/// A session's name: the millisecond it began and a number that no other session of this host's
/// agent has in that millisecond; sorts by time.
pub fn session_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ms = now().unix_ns / 1_000_000;
    format!("{ms:011x}{:04x}", NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff)
}

/// Names this life of the agent: when it was first asked for, and the process.
pub fn run_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| format!("{:011x}-{}", now().unix_ns / 1_000_000, std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_is_a_step_and_a_host_that_sleeps_is_none() {
        let second = 1_000_000_000;
        let at = |unix_s: u64, boottime_s: u64| Moment {
            boot: "one".into(),
            boottime_ns: boottime_s * second,
            monotonic_ns: 7 * second,
            unix_ns: unix_s * second,
        };
        let before = at(5_000, 100);
        assert_eq!(at(5_001, 101).step_since(&before), 0);
        // Asleep for an hour: the monotonic clock stood still.
        assert_eq!(at(8_600, 3_700).step_since(&before), 0);
        assert_eq!(at(5_061, 101).step_since(&before), 60 * second as i64);
        assert_eq!(at(4_001, 101).step_since(&before), -1_000 * second as i64);
        assert_eq!(at(0, 101).step_since(&before), -5_001 * second as i64);
        let mut corrected = at(5_001, 101);
        corrected.unix_ns += second - 1;
        assert_eq!(corrected.step_since(&before), 0);
        let another_start = Moment { boot: "two".into(), ..at(9_000, 1) };
        assert_eq!(another_start.step_since(&before), 0);
        let far = Moment { unix_ns: u64::MAX, ..at(0, 101) };
        assert_eq!(far.step_since(&before), i64::MAX);
    }

    #[test]
    fn time_goes_on_and_names_differ() {
        let (a, b) = (now(), now());
        assert!(b.monotonic_ns >= a.monotonic_ns && a.unix_ns > 1_600_000_000_000_000_000);
        assert_ne!(session_id(), session_id());
        assert_eq!(run_id(), run_id());
    }
}
