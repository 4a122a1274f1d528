//! `@rate`: statements in a time, over all connections of one principal, on all workers.
//!
//! A token bucket for each principal and bound. Keyed by what a client cannot vary by starting one more process:
//! class, the user who logged in (or runs it), and for services their unit; the container. Bounded: the one that was
//! used longest ago makes room, and by then it is full again or nearly so.

use crate::engine::model::{Class, Principal, Rate, Timestamp};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// Who shares a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RateKey {
    class: Class,
    uid: u32,
    unit: Option<String>,
    container: Option<String>,
    /// Of a client on another host.
    address: Option<std::net::IpAddr>,
}

impl RateKey {
    pub fn of(principal: &Principal) -> Self {
        Self {
            class: principal.class,
            uid: login_there(principal).unwrap_or_else(|| principal.login_uid.unwrap_or(principal.uid)),
            // A person or an agent may start units of their own.
            unit: principal.unit.clone().filter(|_| principal.class == Class::Service),
            container: principal.container.clone(),
            address: principal.remote.as_ref().map(|remote| remote.address),
        }
    }
}

/// Of a process on another host, whose governor said so: that host's number, which its address keeps apart.
fn login_there(principal: &Principal) -> Option<u32> {
    let attested = principal.remote.as_ref()?.attested.as_ref()?;
    Some(attested.login_uid.unwrap_or(attested.uid))
}

/// Every bucket of the agent; shared by the workers.
#[derive(Debug)]
pub struct Rates {
    buckets: Mutex<LruCache<(RateKey, Rate), Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In nanoseconds of the period: a statement costs `period / count`.
    credit_ns: u64,
    at: Timestamp,
}

impl Default for Rates {
    fn default() -> Self {
        Self { buckets: Mutex::new(LruCache::new(BUCKETS_COUNT_MAX)) }
    }
}

impl Rates {
    /// Takes one statement out of the bucket. Nanoseconds until there is one again, where there is none.
    ///
    /// # Errors
    /// The time to wait.
    pub fn take(&self, key: &RateKey, rate: Rate, now: Timestamp) -> Result<(), u64> {
        let cost = (rate.period_ns / u64::from(rate.count.max(1))).max(1);
        // Nothing in here panics; a bucket is whole at every moment.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket { credit_ns: rate.period_ns, at: now };
        let bucket = buckets.get_or_insert_mut((key.clone(), rate), || full);
        let credit = bucket.credit_ns.saturating_add(now.since_ns(bucket.at)).min(rate.period_ns);
        // The clock of another worker may be read a moment earlier.
        bucket.at = bucket.at.max(now);
        match credit.checked_sub(cost) {
            Some(left) => {
                bucket.credit_ns = left;
                Ok(())
            }
            None => {
                bucket.credit_ns = credit;
                Err(cost - credit)
            }
        }
    }
}

const BUCKETS_COUNT_MAX: NonZeroUsize = match NonZeroUsize::new(65_536) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::tests::principal;

    const SECOND: u64 = 1_000_000_000;

    fn at(ns: u64) -> Timestamp {
        Timestamp { unix_ns: ns, monotonic_ns: ns }
    }

    #[test]
    fn a_bucket_gives_so_many_and_fills_with_time() {
        let (rates, key) = (Rates::default(), RateKey::of(&principal(Class::Agent)));
        let rate = Rate { count: 3, period_ns: 3 * SECOND };
        for _ in 0..3 {
            assert_eq!(rates.take(&key, rate, at(SECOND)), Ok(()));
        }
        assert_eq!(rates.take(&key, rate, at(SECOND)), Err(SECOND));
        assert_eq!(rates.take(&key, rate, at(SECOND + SECOND / 2)), Err(SECOND / 2));
        assert_eq!(rates.take(&key, rate, at(2 * SECOND)), Ok(()));
        assert_eq!(rates.take(&key, rate, at(2 * SECOND)), Err(SECOND));
        for _ in 0..3 {
            assert_eq!(rates.take(&key, rate, at(100 * SECOND)), Ok(()), "never more than full");
        }
        assert!(rates.take(&key, rate, at(100 * SECOND)).is_err());
    }

    #[test]
    fn principals_have_buckets_of_their_own_and_processes_have_not() {
        let rates = Rates::default();
        let rate = Rate { count: 1, period_ns: SECOND };
        let agent = principal(Class::Agent);
        assert_eq!(rates.take(&RateKey::of(&agent), rate, at(0)), Ok(()));
        let another = Principal {
            pid: agent.pid + 1,
            executable: Some("/usr/bin/other".into()),
            terminal: Some("pts/9".into()),
            cgroup: Some("/user.slice/x".into()),
            unit: Some("run-u7.service".into()),
            ancestors: vec![],
            ..agent.clone()
        };
        assert!(rates.take(&RateKey::of(&another), rate, at(0)).is_err(), "the same user's next process");
        let other_user = Principal { uid: 4242, login_uid: Some(4242), ..agent };
        assert_eq!(rates.take(&RateKey::of(&other_user), rate, at(0)), Ok(()));
        let other_rate = Rate { count: 2, period_ns: SECOND };
        assert_eq!(rates.take(&RateKey::of(&another), other_rate, at(0)), Ok(()), "another bound");
    }

    #[test]
    fn a_clock_that_is_behind_gives_nothing() {
        let (rates, key) = (Rates::default(), RateKey::of(&principal(Class::Agent)));
        let rate = Rate { count: 1, period_ns: SECOND };
        assert_eq!(rates.take(&key, rate, at(5 * SECOND)), Ok(()));
        assert!(rates.take(&key, rate, at(SECOND)).is_err());
        assert!(rates.take(&key, rate, at(5 * SECOND + 1)).is_err(), "time that passed already counts once");
    }

    #[test]
    fn memory_is_bounded() {
        let rates = Rates::default();
        let agent = principal(Class::Agent);
        let rate = Rate { count: 1, period_ns: SECOND };
        for uid in 0..70_000 {
            let one = Principal { uid, login_uid: None, ..agent.clone() };
            rates.take(&RateKey::of(&one), rate, at(0)).unwrap();
        }
        assert_eq!(rates.buckets.lock().unwrap().len(), BUCKETS_COUNT_MAX.get());
    }
}
