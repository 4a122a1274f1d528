//! Which live session a cancel request means.
//!
//! The client holds the server's own process id and key; a request with both, for the same
//! destination, is about that session. Sessions that pass unread are counted: their keys are not known.

use crate::engine::model::Endpoint;
use crate::engine::session::CancelMatch;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

type Key = (Endpoint, u32, Vec<u8>);

/// Reaches one session.
#[derive(Debug, Default)]
pub struct CancelTarget {
    /// Something is held: the request ends the hold.
    pub held: AtomicBool,
    /// While something is held: the server is at work for the session all the same.
    pub runs: AtomicBool,
    pub requested: Notify,
    /// The hold that is meant has not been told yet.
    pub pending: AtomicBool,
}

/// Live sessions by their cancel key.
#[derive(Clone, Debug, Default)]
pub struct CancelRegistry(Arc<Mutex<Live>>);

#[derive(Debug, Default)]
struct Live {
    /// A server that gives one key twice (a proxy may) means both sessions by it.
    by_key: HashMap<Key, Vec<Arc<CancelTarget>>>,
    /// Sessions that pass unread.
    unread: HashMap<Endpoint, usize>,
}

/// Removes the entry when the session ends.
#[derive(Debug)]
pub struct Registration {
    registry: CancelRegistry,
    key: Key,
    target: Arc<CancelTarget>,
}

/// Counts a session that passes unread for as long as it lives.
#[derive(Debug)]
pub struct Unread(CancelRegistry, Endpoint);

impl CancelRegistry {
    pub fn register(
        &self,
        destination: &Endpoint,
        process: u32,
        secret: Vec<u8>,
        target: Arc<CancelTarget>,
    ) -> Registration {
        let key = (destination.clone(), process, secret);
        self.0.lock().by_key.entry(key.clone()).or_default().push(target.clone());
        Registration { registry: self.clone(), key, target }
    }

    pub fn pass_unread(&self, destination: &Endpoint) -> Unread {
        *self.0.lock().unread.entry(destination.clone()).or_default() += 1;
        Unread(self.clone(), destination.clone())
    }

    /// Which session a request means; a hold of it is told to end.
    pub fn find(&self, destination: &Endpoint, process: u32, secret: &[u8]) -> CancelMatch {
        let live = self.0.lock();
        let Some(targets) = live.by_key.get(&(destination.clone(), process, secret.to_vec())) else {
            return CancelMatch::Unknown { unread: live.unread.contains_key(destination) };
        };
        let mut runs = false;
        let mut held = false;
        for target in targets {
            if target.held.load(Ordering::Acquire) {
                // Before the hold is told: it may end at once, on another thread.
                runs |= target.runs.load(Ordering::Acquire);
                target.pending.store(true, Ordering::Release);
                target.requested.notify_one();
                held = true;
            } else {
                runs = true;
            }
        }
        if held { CancelMatch::Held { runs } } else { CancelMatch::Live }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut live = self.registry.0.lock();
        if let Some(targets) = live.by_key.get_mut(&self.key) {
            targets.retain(|target| !Arc::ptr_eq(target, &self.target));
            if targets.is_empty() {
                live.by_key.remove(&self.key);
            }
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let mut live = self.0.0.lock();
        if let Some(count) = live.unread.get_mut(&self.1) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                live.unread.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: CancelMatch = CancelMatch::Unknown { unread: false };

    fn endpoint(port: u16) -> Endpoint {
        Endpoint::tcp([127, 0, 0, 1].into(), port)
    }

    #[test]
    fn only_the_right_key_of_a_live_session_matches() {
        let registry = CancelRegistry::default();
        let registration = registry.register(&endpoint(5432), 7, b"key!".to_vec(), Arc::default());
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), CancelMatch::Live);
        assert_eq!(registry.find(&endpoint(5433), 7, b"key!"), UNKNOWN, "another server's");
        assert_eq!(registry.find(&endpoint(5432), 7, b"kex!"), UNKNOWN);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!x"), UNKNOWN);
        assert_eq!(registry.find(&endpoint(5432), 8, b"key!"), UNKNOWN);
        drop(registration);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), UNKNOWN, "replayed after the session's end");
        assert!(registry.0.lock().by_key.is_empty());
    }

    #[test]
    fn a_hold_is_told_and_the_server_only_where_it_works() {
        let registry = CancelRegistry::default();
        let target = Arc::new(CancelTarget::default());
        let _registration = registry.register(&endpoint(5432), 7, b"key!".to_vec(), target.clone());
        target.held.store(true, Ordering::Release);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), CancelMatch::Held { runs: false });
        assert!(target.pending.load(Ordering::Acquire));
        target.runs.store(true, Ordering::Release);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), CancelMatch::Held { runs: true });
    }

    #[test]
    fn one_key_of_two_sessions_means_both_and_outlives_either() {
        let registry = CancelRegistry::default();
        let held = Arc::new(CancelTarget::default());
        held.held.store(true, Ordering::Release);
        let first = registry.register(&endpoint(5432), 7, b"key!".to_vec(), Arc::default());
        let second = registry.register(&endpoint(5432), 7, b"key!".to_vec(), held.clone());
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), CancelMatch::Held { runs: true });
        drop(second);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), CancelMatch::Live);
        drop(first);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), UNKNOWN);
    }

    #[test]
    fn unread_sessions_are_counted_while_they_live() {
        let registry = CancelRegistry::default();
        let (first, second) = (registry.pass_unread(&endpoint(5432)), registry.pass_unread(&endpoint(5432)));
        drop(first);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), CancelMatch::Unknown { unread: true });
        assert_eq!(registry.find(&endpoint(5433), 7, b"key!"), UNKNOWN);
        drop(second);
        assert_eq!(registry.find(&endpoint(5432), 7, b"key!"), UNKNOWN);
    }
}
