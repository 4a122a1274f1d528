//! Which live session a cancel request means.
//!
//! The client holds the server's own process id and key; a request with both, for the same
//! destination, is about that session.

use crate::engine::model::Endpoint;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

type Key = (Endpoint, u32, Vec<u8>);

/// Reaches one session.
#[derive(Debug, Default)]
pub struct CancelTarget {
    /// Something is held: the request ends the hold and does not go to the server.
    pub held: AtomicBool,
    pub requested: Notify,
    /// The hold that is meant has not been told yet.
    pub pending: AtomicBool,
}

/// Live sessions by their cancel key.
#[derive(Clone, Debug, Default)]
pub struct CancelRegistry(Arc<Mutex<HashMap<Key, Arc<CancelTarget>>>>);

/// Removes the entry when the session ends.
#[derive(Debug)]
pub struct Registration {
    registry: CancelRegistry,
    key: Key,
    target: Arc<CancelTarget>,
}

impl CancelRegistry {
    pub fn register(
        &self,
        destination: Endpoint,
        process: u32,
        secret: Vec<u8>,
        target: Arc<CancelTarget>,
    ) -> Registration {
        let key = (destination, process, secret);
        self.0.lock().insert(key.clone(), target.clone());
        Registration { registry: self.clone(), key, target }
    }

    /// Ends a hold of the session that the request means. False where there is none: the server
    /// is the one to ask.
    pub fn cancel_hold(&self, destination: Endpoint, process: u32, secret: &[u8]) -> bool {
        let target = self.0.lock().get(&(destination, process, secret.to_vec())).cloned();
        match target {
            Some(target) if target.held.load(Ordering::Acquire) => {
                target.pending.store(true, Ordering::Release);
                target.requested.notify_one();
                true
            }
            _ => false,
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registry = self.registry.0.lock();
        // A later session may have been given the same process id and key.
        if registry.get(&self.key).is_some_and(|target| Arc::ptr_eq(target, &self.target)) {
            registry.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_of_a_holding_session_cancels() {
        let registry = CancelRegistry::default();
        let destination = Endpoint { address: [127, 0, 0, 1].into(), port: 5432 };
        let target = Arc::new(CancelTarget::default());
        let registration = registry.register(destination, 7, b"key!".to_vec(), target.clone());
        assert!(!registry.cancel_hold(destination, 7, b"key!"), "nothing is held");
        target.held.store(true, Ordering::Release);
        assert!(!registry.cancel_hold(destination, 7, b"kex!"));
        assert!(!registry.cancel_hold(destination, 8, b"key!"));
        assert!(registry.cancel_hold(destination, 7, b"key!"));
        drop(registration);
        assert!(!registry.cancel_hold(destination, 7, b"key!"), "replayed after the session's end");
    }
}
