//! What a database does of its own accord when a relation is read or written: triggers, rules, cascades, and calls in
//! defaults, checks, indexes and row policies. A part of the [`Catalogue`](super::Catalogue); data and look-up only.
//!
//! Invariant: doubt adds. What may run stands here, also where a setting could keep it from running.

use super::{ColumnId, Oid, StatementKind};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Which commands something goes with; more than one may be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Changing {
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
}

impl Changing {
    pub const ANY: Self = Self { insert: true, update: true, delete: true, truncate: true };

    /// Of a command of this kind; of others than the four, anything but TRUNCATE.
    pub fn by(kind: StatementKind) -> Self {
        let none = Self::default();
        match kind {
            StatementKind::Insert | StatementKind::CopyIn => Self { insert: true, ..none },
            StatementKind::Update => Self { update: true, ..none },
            StatementKind::Delete => Self { delete: true, ..none },
            StatementKind::Truncate => Self { truncate: true, ..none },
            _ => Self { truncate: false, ..Self::ANY },
        }
    }

    pub fn meets(self, other: Self) -> bool {
        (self.insert && other.insert)
            || (self.update && other.update)
            || (self.delete && other.delete)
            || (self.truncate && other.truncate)
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            insert: self.insert || other.insert,
            update: self.update || other.update,
            delete: self.delete || other.delete,
            truncate: self.truncate || other.truncate,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub name: Arc<str>,
    /// Of a function that users made, or the server's own.
    pub function: Oid,
    pub on: Changing,
    /// It stands for the command, on a view.
    pub instead: bool,
    /// It sees each row first, and may put something else in its place.
    pub before: bool,
}

/// A rewrite rule other than a view's own query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub oid: Oid,
    pub on: Changing,
    pub instead: bool,
    /// The whole CREATE RULE, names as an empty `search_path` reads them; `None` where it could not be read.
    pub definition: Option<Arc<str>>,
}

/// A foreign key: what happens to the referencing table when the referenced one changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cascade {
    /// The referencing table.
    pub table: Oid,
    /// Its rows are deleted with the referenced ones.
    pub deletes: bool,
    /// Its rows are updated when the referenced ones are deleted.
    pub updates_on_delete: bool,
    pub updates_on_update: bool,
    /// The referenced columns: ON UPDATE counts where one of them changes.
    pub columns: Box<[i16]>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideEffects {
    triggers: HashMap<Oid, Vec<Trigger>>,
    rules: HashMap<Oid, Vec<Rule>>,
    /// By referenced table.
    cascades: HashMap<Oid, Vec<Cascade>>,
    /// Functions that reading a relation calls (row policies, a view's query); that writing one calls (those of
    /// reading, defaults, checks, indexes); and that a function calls (arguments' defaults, an aggregate's own).
    on_read: HashMap<Oid, Vec<Oid>>,
    on_write: HashMap<Oid, Vec<Oid>>,
    /// Those of writing that are given columns of the row: in checks, indexes, generated columns, conditions of triggers.
    on_row: HashMap<Oid, Vec<Oid>>,
    in_function: HashMap<Oid, Vec<Oid>>,
    /// Functions of casts and of domains' checks: where they run cannot be told from names.
    anywhere: Vec<Oid>,
    /// Functions of operator classes and ranges: what orders, groups, compares or looks into an index may run them, a cast
    /// does not.
    of_classes: Vec<Oid>,
    /// Functions of casts that the server puts in where nobody wrote one.
    unasked_casts: Vec<Oid>,
    /// Functions of event triggers.
    on_definition: Vec<Oid>,
    operators: HashMap<Box<str>, Vec<Oid>>,
    /// Columns of the unique keys, by table: one key behind the other, each with a 0 behind it. Nearly every table has one, so
    /// a list of lists would cost more than all else that is kept here.
    unique_keys: HashMap<Oid, Vec<i16>>,
    /// Columns of other keys that no two rows may share, by table: of those that hold for some rows, later, or for something
    /// made of the column; 0: of nothing that is one column.
    guards: HashMap<Oid, Vec<i16>>,
    /// Those of exclusions: not only equal values.
    excludes: HashMap<Oid, Vec<i16>>,
    /// Columns by which a table is parted; 0: by something else.
    parts: HashMap<Oid, Vec<i16>>,
    /// Columns that have a say in which rows of a table a session sees, with a setting of the session: in row policies.
    policies: HashMap<Oid, Vec<ColumnId>>,
    /// Functions that extension of this name brought.
    extensions: HashMap<Oid, Arc<str>>,
    /// Functions that take one whole row, or anything: `r.f` may call them.
    row_functions: HashSet<Oid>,
    security_definers: HashSet<Oid>,
    /// Foreign tables whose rows a program of the server's host prints.
    of_programs: HashSet<Oid>,
}

macro_rules! lists {
    ($($(#[$about:meta])* $field:ident, $add:ident: $key:ty => $item:ty;)*) => {
        $($(#[$about])*
        pub fn $field(&self, of: $key) -> &[$item] {
            self.$field.get(&of).map_or(&[], Vec::as_slice)
        }

        pub fn $add(&mut self, of: $key, item: $item) {
            self.$field.entry(of).or_default().push(item);
        })*
    };
}

impl SideEffects {
    lists! {
        triggers, trigger: Oid => Trigger;
        rules, rule: Oid => Rule;
        /// Of the referenced table.
        cascades, cascade: Oid => Cascade;
        on_read, calls_on_read: Oid => Oid;
        on_write, calls_on_write: Oid => Oid;
        on_row, calls_on_row: Oid => Oid;
        in_function, calls_in_function: Oid => Oid;
        policies, chosen_by_policy: Oid => ColumnId;
        excludes, excluded: Oid => i16;
        parts, parted: Oid => i16;
    }

    /// Columns of each unique key.
    pub fn unique_keys(&self, of: Oid) -> impl Iterator<Item = &[i16]> {
        let all = self.unique_keys.get(&of).map_or(&[][..], Vec::as_slice);
        all.split(|column| *column == 0).filter(|key| !key.is_empty())
    }

    /// No column of it is 0.
    pub fn unique_key(&mut self, of: Oid, columns: &[i16]) {
        let all = self.unique_keys.entry(of).or_default();
        all.extend(columns.iter().chain(&[0]));
    }

    /// Columns of keys of any kind that no two rows may share, as often as they are in one.
    pub fn unshared(&self, of: Oid) -> impl Iterator<Item = i16> {
        let others = self.guards.get(&of).map_or(&[][..], Vec::as_slice);
        self.unique_keys(of).flatten().chain(others).copied()
    }

    /// Of a key that is not among the unique ones.
    pub fn guarded(&mut self, of: Oid, column: i16) {
        self.guards.entry(of).or_default().push(column);
    }

    pub fn operators(&self, name: &str) -> &[Oid] {
        self.operators.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn is_operator(&self, name: &str) -> bool {
        self.operators.contains_key(name)
    }

    pub fn operator(&mut self, name: &str, function: Oid) {
        self.operators.entry(name.into()).or_default().push(function);
    }

    pub fn anywhere(&self) -> &[Oid] {
        &self.anywhere
    }

    pub fn of_classes(&self) -> &[Oid] {
        &self.of_classes
    }

    pub fn orders_by(&mut self, function: Oid) {
        self.of_classes.push(function);
    }

    pub fn calls_anywhere(&mut self, function: Oid) {
        self.anywhere.push(function);
    }

    /// Functions of implicit casts: what calls or compares something may run them.
    pub fn unasked_casts(&self) -> &[Oid] {
        &self.unasked_casts
    }

    pub fn casts_unasked(&mut self, function: Oid) {
        self.unasked_casts.push(function);
    }

    pub fn on_definition(&self) -> &[Oid] {
        &self.on_definition
    }

    pub fn calls_on_definition(&mut self, function: Oid) {
        self.on_definition.push(function);
    }

    /// The extension that brought a function.
    pub fn extension(&self, function: Oid) -> Option<&str> {
        self.extensions.get(&function).map(AsRef::as_ref)
    }

    pub fn of_extension(&mut self, function: Oid, extension: Arc<str>) {
        self.extensions.insert(function, extension);
    }

    pub fn takes_row(&self, function: Oid) -> bool {
        self.row_functions.contains(&function)
    }

    pub fn row_function(&mut self, function: Oid) {
        self.row_functions.insert(function);
    }

    /// It runs with the rights of its owner.
    pub fn is_security_definer(&self, function: Oid) -> bool {
        self.security_definers.contains(&function)
    }

    pub fn security_definer(&mut self, function: Oid) {
        self.security_definers.insert(function);
    }

    /// Who reads it runs a program on the server's host.
    pub fn is_of_program(&self, table: Oid) -> bool {
        self.of_programs.contains(&table)
    }

    pub fn runs_program(&mut self, table: Oid) {
        self.of_programs.insert(table);
    }
}
