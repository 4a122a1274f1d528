//! What the code in a catalogue does, read when something first reaches it. Shared by all sessions of the catalogue.

use crate::engine::model::Oid;
use crate::engine::sql::Code;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whose code it is. The numbers of different kinds of objects may be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Owner {
    View(Oid),
    Function(Oid),
    Rule(Oid),
}

#[derive(Debug, Default)]
pub(in super::super) struct Codes(Mutex<HashMap<Owner, Arc<Code>>>);

impl Codes {
    pub fn get(&self, owner: Owner, read: impl FnOnce() -> Code) -> Arc<Code> {
        if let Some(known) = self.known().get(&owner) {
            return known.clone();
        }
        // Read without the lock: two may read the same at once, and get the same.
        let code = Arc::new(read());
        let mut known = self.known();
        if known.len() < CODES_COUNT_MAX {
            known.insert(owner, code.clone());
        }
        code
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, Arc<Code>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kept for each catalogue: a few KiB each. What is not kept is read each time.
const CODES_COUNT_MAX: usize = 4096;
