//! Addresses that were asked and did not answer as governor: they are not asked again at once, since asking costs a connection.

use crate::engine::model::Endpoint;
use lru::LruCache;
use parking_lot::Mutex;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Bounded; the oldest is forgotten, and asked again.
pub struct Silent(Mutex<LruCache<Endpoint, Instant>>);

impl Default for Silent {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(COUNT_MAX)))
    }
}

impl fmt::Debug for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Silent").finish_non_exhaustive()
    }
}

impl Silent {
    /// Answers whether it was not known: then somebody should be told.
    pub fn note(&self, destination: &Endpoint) -> bool {
        self.0.lock().put(destination.clone(), Instant::now()).is_none()
    }

    /// It was asked a short while ago.
    pub fn is_silent(&self, destination: &Endpoint) -> bool {
        self.0.lock().peek(destination).is_some_and(|since| since.elapsed() < ASKED_AGAIN_AFTER)
    }

    /// It answers.
    pub fn forget(&self, destination: &Endpoint) {
        self.0.lock().pop(destination);
    }
}

const COUNT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// A governor that is started there is found within this time.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);
