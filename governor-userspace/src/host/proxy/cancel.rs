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
pub struct CancelRegistry {
    live: Arc<Mutex<Live>>,
    elsewhere: Arc<Mutex<Option<Elsewhere>>>,
}

/// Asks another agent of this instance, which has sessions of its own.
#[derive(Clone)]
pub struct Elsewhere(Arc<Ask>);

type Ask = dyn Fn(&Endpoint, u32, &[u8]) -> CancelMatch + Send + Sync;

impl Elsewhere {
    pub fn new(ask: impl Fn(&Endpoint, u32, &[u8]) -> CancelMatch + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }
}

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Elsewhere")
    }
}

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
        self.live.lock().by_key.entry(key.clone()).or_default().push(target.clone());
        Registration { registry: self.clone(), key, target }
    }

    pub fn pass_unread(&self, destination: &Endpoint) -> Unread {
        *self.live.lock().unread.entry(destination.clone()).or_default() += 1;
        Unread(self.clone(), destination.clone())
    }

    /// Whom to ask of sessions that are not here; `None` where there is nobody any more.
    pub fn ask_elsewhere(&self, elsewhere: Option<Elsewhere>) {
        *self.elsewhere.lock() = elsewhere;
    }

    /// Which session a request means; a hold of it is told to end.
    pub fn find(&self, destination: &Endpoint, process: u32, secret: &[u8]) -> CancelMatch {
        let here = self.find_here(destination, process, secret);
        let CancelMatch::Unknown { unread: unread_here } = here else { return here };
        let elsewhere = self.elsewhere.lock().clone();
        match elsewhere.map(|elsewhere| (elsewhere.0)(destination, process, secret)) {
            None => here,
            Some(CancelMatch::Unknown { unread }) => CancelMatch::Unknown { unread: unread || unread_here },
            Some(found) => found,
        }
    }

    fn find_here(&self, destination: &Endpoint, process: u32, secret: &[u8]) -> CancelMatch {
        let live = self.live.lock();
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
        let mut live = self.registry.live.lock();
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
        let mut live = self.0.live.lock();
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
        assert!(registry.live.lock().by_key.is_empty());
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
    fn what_is_not_here_is_asked_elsewhere_and_only_that() {
        let old = CancelRegistry::default();
        let _there = old.register(&endpoint(5432), 7, b"key!".to_vec(), Arc::default());
        let new = CancelRegistry::default();
        let _here = new.register(&endpoint(5432), 8, b"mine".to_vec(), Arc::default());
        let asked = Arc::new(Mutex::new(0));
        let (counted, ask) = (asked.clone(), old.clone());
        new.ask_elsewhere(Some(Elsewhere::new(move |destination, process, secret| {
            *counted.lock() += 1;
            ask.find(destination, process, secret)
        })));
        assert_eq!(new.find(&endpoint(5432), 7, b"key!"), CancelMatch::Live);
        assert_eq!(new.find(&endpoint(5432), 8, b"mine"), CancelMatch::Live);
        assert_eq!(new.find(&endpoint(5432), 7, b"kex!"), UNKNOWN);
        assert_eq!(*asked.lock(), 2);
        let _unread = old.pass_unread(&endpoint(5432));
        assert_eq!(new.find(&endpoint(5432), 9, b"none"), CancelMatch::Unknown { unread: true });
        new.ask_elsewhere(None);
        assert_eq!(new.find(&endpoint(5432), 7, b"key!"), UNKNOWN);
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
