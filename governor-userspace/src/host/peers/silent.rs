//! Addresses that were asked and did not answer as governor. Where the server said that it does not know the question it is not
//! asked again at once, since asking costs a connection.
//!
//! Invariant: what anybody can bring about who floods a host (no answer, a closed connection) keeps no later connection
//! from asking.

use crate::engine::model::Endpoint;
use lru::LruCache;
use parking_lot::Mutex;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Bounded; the oldest is forgotten, and asked again.
pub struct Silent(Mutex<LruCache<Endpoint, Option<Instant>>>);

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
    /// It does not know the question: it is not asked for a while. Answers whether that is news: then somebody should be told.
    pub fn note(&self, destination: &Endpoint) -> bool {
        self.0.lock().put(destination.clone(), Some(Instant::now())).is_none()
    }

    /// It did not answer this once, and is asked again with the next connection. Answers whether that is news.
    pub fn note_once(&self, destination: &Endpoint) -> bool {
        let mut known = self.0.lock();
        let is_news = !known.contains(destination);
        if is_news {
            known.put(destination.clone(), None);
        }
        is_news
    }

    /// It was asked a short while ago.
    pub fn is_silent(&self, destination: &Endpoint) -> bool {
        self.0
            .lock()
            .peek(destination)
            .is_some_and(|since| since.is_some_and(|at| at.elapsed() < ASKED_AGAIN_AFTER))
    }

    /// It answers.
    pub fn forget(&self, destination: &Endpoint) {
        self.0.lock().pop(destination);
    }

    /// Nothing is known of anybody.
    pub fn clear(&self) {
        self.0.lock().clear();
    }
}

const COUNT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// A governor that is started there is found within this time.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_does_not_know_the_question_is_not_asked_again() {
        let silent = Silent::default();
        let at = Endpoint::tcp([10, 1, 0, 1].into(), 5432);
        assert!(silent.note_once(&at) && !silent.note_once(&at), "told once");
        assert!(!silent.is_silent(&at));
        silent.note(&at);
        assert!(silent.is_silent(&at));
        silent.note_once(&at);
        assert!(silent.is_silent(&at), "a connection that was asked before does not change it");
        silent.forget(&at);
        assert!(!silent.is_silent(&at) && silent.note(&at));
    }
}
