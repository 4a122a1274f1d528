//! What is passed around: where a value comes from, and rows of such values.

use crate::engine::model::{ANY_KEY, ColumnId, Doubt, Flow, Lineage};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Columns of relations.
pub(super) type Set = BTreeSet<ColumnId>;

/// Stands among what decides how many rows there are, where nobody knows that. No relation has this number.
pub(super) const COUNT_IN_DOUBT: ColumnId = (0, 0);

/// Where a value comes from; the fields mean what they mean in [`Flow`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    pub sources: Set,
    pub implicit: Set,
    pub exact: bool,
    /// What a mask leaves of it is what it leaves of a source: nothing was cut off or moved, only put in other letters, or
    /// behind something.
    pub alike: bool,
    pub bare: bool,
    pub reshaped: bool,
    pub code: bool,
    pub cut: bool,
    /// Few values have any, and there are many on the stack.
    #[expect(clippy::box_collection, reason = "an empty set costs 24 bytes of each value, this one 8")]
    pub keys: Option<Box<BTreeSet<Arc<str>>>>,
    /// Keys that it asks about without taking a piece out: `document @> '{"ssn": …}'`. [`ANY_KEY`] for any.
    #[expect(clippy::box_collection, reason = "as above")]
    pub asked: Option<Box<BTreeSet<Arc<str>>>>,
    pub unknown: Option<Doubt>,
}

impl Value {
    /// A literal, a parameter, the time.
    pub(super) fn constant() -> Self {
        Self { exact: true, alike: true, ..Self::default() }
    }

    /// A column of a relation as it is.
    pub(super) fn column(id: ColumnId) -> Self {
        Self { sources: Set::from([id]), exact: true, alike: true, bare: true, ..Self::default() }
    }

    pub(super) fn unknown(why: Doubt) -> Self {
        Self { unknown: Some(why), ..Self::default() }
    }

    /// `other` flows in as well. `exact` and `alike` stay: who merges unequal things says so.
    pub(super) fn add(&mut self, other: &Self) {
        self.sources.extend(&other.sources);
        self.implicit.extend(&other.implicit);
        if let Some(keys) = &other.keys {
            self.keys.get_or_insert_default().extend(keys.iter().cloned());
        }
        if let Some(asked) = &other.asked {
            self.asked.get_or_insert_default().extend(asked.iter().cloned());
        }
        self.bare |= other.bare;
        self.reshaped |= other.reshaped;
        self.code |= other.code;
        self.cut |= other.cut;
        self.doubt(other.unknown);
    }

    /// It takes a piece out of a document by this name.
    pub(super) fn key(&mut self, name: &str) {
        let keys = self.keys.get_or_insert_default();
        if keys.len() < KEYS_COUNT_MAX {
            keys.insert(name.into());
        }
    }

    /// It asks what a document has under this name.
    pub(super) fn asks(&mut self, name: &str) {
        let asked = self.asked.get_or_insert_default();
        let name = if asked.len() < KEYS_COUNT_MAX { name } else { ANY_KEY };
        asked.insert(name.into());
    }

    /// `other` chooses what flows in.
    pub(super) fn add_implicit(&mut self, other: &Self) {
        self.implicit.extend(&other.sources);
        self.implicit.extend(&other.implicit);
        self.doubt(other.unknown);
    }

    pub(super) fn doubt(&mut self, why: Option<Doubt>) {
        self.unknown = self.unknown.or(why);
    }

    /// One of several values, each as it is.
    pub(super) fn or(&mut self, other: &Self) {
        self.add(other);
        self.exact &= other.exact;
        self.alike &= other.alike;
    }

    /// The same where whoever asks may have put a constant among them: it must not be masked as if it were one of a
    /// column, or its hash would tell who guessed right.
    pub(super) fn or_chosen(&mut self, other: &Self) {
        let mixes = self.sources.is_empty() != other.sources.is_empty();
        self.or(other);
        self.exact &= !mixes;
    }

    /// Everything that it tells of.
    pub(super) fn all(&self) -> Set {
        self.sources.union(&self.implicit).copied().collect()
    }

    /// What it costs to merge it.
    pub(super) fn size(&self) -> usize {
        1 + self.sources.len()
            + self.implicit.len()
            + self.keys.as_ref().map_or(0, |keys| keys.len())
            + self.asked.as_ref().map_or(0, |asked| asked.len())
    }
}

/// The result of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub columns: Vec<(Arc<str>, Value)>,
    /// There are more columns, number and names unknown, each of which draws from this.
    pub open: Option<Value>,
    /// What decides which rows there are: conditions and limits.
    pub chosen_by: Set,
    /// What decides how many rows there are, one by one: `generate_series(1, salary)`.
    pub counted_by: Set,
}

impl Rows {
    pub(super) fn open(value: Value) -> Self {
        Self { open: Some(value), ..Self::default() }
    }

    /// Everything that flows into any column.
    pub(super) fn whole(&self) -> Value {
        let mut whole = Value::default();
        for (_, value) in &self.columns {
            whole.add(value);
        }
        if let Some(open) = &self.open {
            whole.add(open);
        }
        whole
    }

    /// What a sub-select in an expression gives: its column, or a row of several to compare with.
    pub(super) fn scalar(&self) -> Value {
        let mut value = match (self.columns.as_slice(), &self.open) {
            ([(_, value)], None) => value.clone(),
            _ => self.whole(),
        };
        value.implicit.extend(&self.chosen_by);
        value
    }

    /// Rows of another query come too (a set operation, another turn of a recursion): by position.
    pub(super) fn merge(&mut self, other: Self) {
        if other.columns.len() != self.columns.len() || other.open.is_some() || self.open.is_some() {
            let mut whole = self.whole();
            whole.add(&other.whole());
            whole.doubt(Some(Doubt::UnknownRelation));
            for (_, value) in &mut self.columns {
                value.add(&whole);
                value.exact = false;
                value.alike = false;
            }
            self.open = Some(whole);
        } else {
            for ((_, value), (_, more)) in self.columns.iter_mut().zip(&other.columns) {
                value.or_chosen(more);
            }
        }
        self.chosen_by.extend(other.chosen_by);
        self.counted_by.extend(other.counted_by);
    }

    /// Gives columns new names from the left, as `AS t(a, b)` does.
    pub(super) fn rename<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for (at, name) in names.enumerate() {
            match (self.columns.get_mut(at), &self.open) {
                (Some((old, _)), _) => *old = name.into(),
                (None, Some(open)) => {
                    let value = open.clone();
                    self.columns.push((name.into(), value));
                }
                (None, None) => {}
            }
        }
    }

    pub(super) fn size(&self) -> usize {
        1 + self.columns.iter().map(|(_, value)| value.size()).sum::<usize>()
    }

    pub(super) fn lineage(self) -> Lineage {
        if let Some(open) = self.open {
            return Lineage::Unknown(open.unknown.unwrap_or(Doubt::UnknownRelation));
        }
        let flow = |(name, value): (Arc<str>, Value)| Flow {
            name: (*name != *UNNAMED).then_some(name),
            sources: value.sources,
            implicit: value.implicit,
            exact: value.exact,
            bare: value.bare,
            reshaped: value.reshaped,
            code: value.code,
            cut: value.cut,
            keys: value.keys.map(|keys| *keys).unwrap_or_default(),
            unknown: value.unknown,
        };
        Lineage::Columns(self.columns.into_iter().map(flow).collect())
    }
}

/// Stands for a name that is not certain; no column can have it.
pub(super) const UNNAMED: &str = "";
const KEYS_COUNT_MAX: usize = 64;
