//! The only clock the engine knows: a value that its caller hands in.

use serde::{Deserialize, Serialize};

/// One moment, read by the host from two clocks at once.
///
/// Wall time goes into records; monotonic time measures durations and never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch (CLOCK_REALTIME).
    pub unix_ns: u64,
    /// Nanoseconds since an arbitrary start (CLOCK_MONOTONIC).
    pub monotonic_ns: u64,
}

impl Timestamp {
    /// Nanoseconds that passed since `earlier`; 0 where `earlier` is later.
    pub fn since_ns(self, earlier: Self) -> u64 {
        self.monotonic_ns.saturating_sub(earlier.monotonic_ns)
    }

    /// RFC 3339 in UTC with microseconds, for records and people.
    pub fn rfc3339(self) -> String {
        rfc3339(self.unix_ns)
    }
}

/// Nanoseconds since the Unix epoch as RFC 3339 in UTC with microseconds.
pub fn rfc3339(unix_ns: u64) -> String {
    let ns = i128::from(unix_ns);
    match jiff::Timestamp::from_nanosecond(ns) {
        Ok(t) => format!("{t:.6}"),
        Err(_) => format!("{unix_ns}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_utc_with_microseconds() {
        let t = Timestamp { unix_ns: 1_700_000_000_123_456_789, monotonic_ns: 0 };
        assert_eq!(t.rfc3339(), "2023-11-14T22:13:20.123456Z");
    }

    #[test]
    fn durations_never_go_negative() {
        let a = Timestamp { unix_ns: 0, monotonic_ns: 5 };
        let b = Timestamp { unix_ns: 0, monotonic_ns: 9 };
        assert_eq!((b.since_ns(a), a.since_ns(b)), (4, 0));
    }
}
