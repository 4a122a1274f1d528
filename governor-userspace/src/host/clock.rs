//! The host's clocks and names made of them.

use crate::engine::model::Timestamp;
use std::sync::atomic::{AtomicU32, Ordering};

/// Wall and monotonic time, read now.
pub fn now() -> Timestamp {
    let ns = |clock| {
        let t = nix::time::clock_gettime(clock).map_or(0, |t| i128::from(t.tv_sec()) * 1_000_000_000 + i128::from(t.tv_nsec()));
        u64::try_from(t).unwrap_or(0)
    };
    Timestamp {
        unix_ns: ns(nix::time::ClockId::CLOCK_REALTIME),
        monotonic_ns: ns(nix::time::ClockId::CLOCK_MONOTONIC),
    }
}

/// A session's name: the millisecond it began and a number that no other session of this host's
/// agent has in that millisecond; sorts by time.
pub fn session_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ms = now().unix_ns / 1_000_000;
    format!("{ms:011x}{:04x}", NEXT.fetch_add(1, Ordering::Relaxed) & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_names_differ() {
        let (a, b) = (now(), now());
        assert!(b.monotonic_ns >= a.monotonic_ns && a.unix_ns > 1_600_000_000_000_000_000);
        assert_ne!(session_id(), session_id());
    }
}
