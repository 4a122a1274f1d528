//! Stamps of what a catalogue read: which version of each definition it was.
//!
//! The server marks every row of its catalogue with the transaction that wrote it (`xmin`). So an object whose rows have
//! the marks that they had is what it was; one that was replaced, renamed, moved or made anew is not. A server that is
//! asked for the marks of a few objects answers sooner than one that is asked for the objects.
//!
//! Numbers only grow but for a wrap after four billion transactions, so of several rows their sum is enough.

use super::Oid;
use std::collections::HashMap;

/// Of everything that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps {
    relations: HashMap<Oid, RelationStamp>,
    functions: HashMap<Oid, FunctionStamp>,
    /// Operators, casts, row policies, functions of operator classes and checks of domains, of users, all together.
    pub code: u64,
}

/// Of a relation, with its columns, rules and nearest children, and with its schema, whose name may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelationStamp {
    pub schema: Oid,
    pub schema_written: u32,
    /// What has a say in what is read of it: columns, rules, children, where a foreign table's rows are.
    pub reads: u64,
    /// What has a say in what a command leaves in it beside: triggers and defaults.
    pub writes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionStamp {
    pub schema: Oid,
    pub schema_written: u32,
    pub written: u32,
}

impl Stamps {
    /// All zero where nothing was read.
    pub fn relation(&self, oid: Oid) -> RelationStamp {
        self.relations.get(&oid).copied().unwrap_or_default()
    }

    /// All zero where nothing was read.
    pub fn function(&self, oid: Oid) -> FunctionStamp {
        self.functions.get(&oid).copied().unwrap_or_default()
    }

    pub fn in_schema(&mut self, relation: Oid, schema: Oid, written: u32) {
        let stamp = self.relations.entry(relation).or_default();
        (stamp.schema, stamp.schema_written) = (schema, written);
    }

    pub fn add_read(&mut self, relation: Oid, written: u32) {
        self.relations.entry(relation).or_default().reads += u64::from(written);
    }

    pub fn add_write(&mut self, relation: Oid, written: u32) {
        self.relations.entry(relation).or_default().writes += u64::from(written);
    }

    pub fn add_function(&mut self, oid: Oid, stamp: FunctionStamp) {
        self.functions.insert(oid, stamp);
    }
}
