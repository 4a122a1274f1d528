//! What the code in a catalogue does, read when something first asks. Shared by all sessions of the catalogue: what a
//! statement reaches and what it keeps are told by the same reading.

use super::bodies::{Code, function_code, rule_code, view_code};
use crate::engine::model::{Function, Oid, Relation, Rule};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whose code it is. The numbers of different kinds of objects may be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    View(Oid),
    Function(Oid),
    Rule(Oid),
}

/// Of one reading of a catalogue: objects of two of them may have one number and two definitions.
#[derive(Debug, Default)]
pub struct Codes(Mutex<HashMap<Owner, Arc<Code>>>);

impl Codes {
    /// What a call of it runs.
    pub fn function(&self, function: &Function) -> Arc<Code> {
        self.get(Owner::Function(function.oid), || function_code(&function.body))
    }

    /// What its query does.
    pub fn view(&self, view: &Relation) -> Arc<Code> {
        self.get(Owner::View(view.oid), || view.definition.as_deref().map_or_else(unread, view_code))
    }

    /// What it does besides the command that it stands beside.
    pub fn rule(&self, rule: &Rule) -> Arc<Code> {
        self.get(Owner::Rule(rule.oid), || rule.definition.as_deref().map_or_else(unread, rule_code))
    }

    fn get(&self, owner: Owner, read: impl FnOnce() -> Code) -> Arc<Code> {
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

fn unread() -> Code {
    Code { opaque: Some("its definition could not be read".into()), ..Code::default() }
}

/// Kept for each catalogue: a few KiB each. What is not kept is read each time.
const CODES_COUNT_MAX: usize = 4096;
