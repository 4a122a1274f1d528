//! Clients whose TLS could not be carried, and who may now connect again without.
//!
//! libpq with `sslmode=prefer` does that by itself after governor refused its channel binding. Its next connection is
//! in clear up to governor, on this host; from there to the server it gets TLS all the same.

use crate::engine::model::{Endpoint, Principal};
use lru::LruCache;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// A process, or the address of a client on another host; and where it goes.
type Key = (u32, u64, Option<IpAddr>, Endpoint);

#[derive(Debug)]
pub struct Retries(Mutex<LruCache<Key, Instant>>);

impl Default for Retries {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(COUNT_MAX)))
    }
}

impl Retries {
    /// TLS of this process to `destination` was refused.
    pub(super) fn note(&self, principal: &Principal, destination: &Endpoint) {
        self.0.lock().put(key(principal, destination), Instant::now());
    }

    /// Whether a connection in clear may be the retry of one that was refused.
    pub(super) fn may_be(&self, principal: &Principal, destination: &Endpoint) -> bool {
        self.0.lock().get(&key(principal, destination)).is_some_and(|since| since.elapsed() < RETRY_WITHIN)
    }
}

fn key(principal: &Principal, destination: &Endpoint) -> Key {
    let address = principal.remote.as_ref().map(|remote| remote.address);
    (principal.pid, principal.start_ticks, address, destination.clone())
}

/// Processes that are remembered; of the one that is forgotten a retry goes on as it asked.
const COUNT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// A process with a pool may come back much later for its next connection: it is refused, and noted, again.
const RETRY_WITHIN: Duration = Duration::from_secs(60);
