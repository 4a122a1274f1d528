//! What a statement answers with besides the values that it shows: which rows there are, how many, in which order,
//! whether one is NULL, whether it fails.
//!
//! Data only; `sql` finds it, `session` asks which of the columns are sensitive, `policy` decides.

use super::{ColumnId, Doubt, Oid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One way in which a column has a say in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Condition {
    pub clause: Clause,
    pub form: Form,
}

/// Where in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Clause {
    /// The select list, RETURNING, a value that is assigned.
    Result,
    Where,
    Having,
    /// ON, USING, NATURAL, and the condition of MERGE.
    Join,
    /// A function or sample in FROM.
    From,
    OrderBy,
    GroupBy,
    /// DISTINCT of rows, and within an aggregate.
    Distinct,
    Limit,
    /// OVER and WINDOW.
    Window,
    /// UNION without ALL, INTERSECT, EXCEPT.
    SetOperation,
    /// Inside the definition of a view that is read.
    View,
    /// A unique or foreign key that a write runs into.
    Key,
}

impl Clause {
    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Result => "the result",
            Self::Where => "WHERE",
            Self::Having => "HAVING",
            Self::Join => "JOIN",
            Self::From => "FROM",
            Self::OrderBy => "ORDER BY",
            Self::GroupBy => "GROUP BY",
            Self::Distinct => "DISTINCT",
            Self::Limit => "LIMIT",
            Self::Window => "OVER",
            Self::SetOperation => "a set operation",
            Self::View => "a view",
            Self::Key => "a key",
        }
    }
}

/// In which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// The whole column equals constants or parameters, each known to whoever asks.
    Equality,
    /// Two whole columns equal each other.
    Join,
    /// Any other comparison or test, of the column or of something made of it.
    Comparison,
    /// LIKE, SIMILAR TO, regular expressions.
    Pattern,
    /// Order, rank.
    Ordering,
    /// Which rows have the same value.
    Grouping,
    /// How many rows there are.
    Count,
    /// CASE, NULLIF, FILTER: chooses within a value.
    Choice,
    /// A value is made of it in a way that may fail, or give NULL, for some values and not for others.
    Computation,
    /// A key is checked: whether the value is there already.
    Key,
    /// It cannot be told.
    Unknown,
}

impl Form {
    /// The word in policy and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equality => "equality",
            Self::Join => "join",
            Self::Comparison => "comparison",
            Self::Pattern => "pattern",
            Self::Ordering => "ordering",
            Self::Grouping => "grouping",
            Self::Count => "count",
            Self::Choice => "choice",
            Self::Computation => "computation",
            Self::Key => "key",
            Self::Unknown => "unknown",
        }
    }

    pub const ALL: [Self; 11] = [
        Self::Equality,
        Self::Join,
        Self::Comparison,
        Self::Pattern,
        Self::Ordering,
        Self::Grouping,
        Self::Count,
        Self::Choice,
        Self::Computation,
        Self::Key,
        Self::Unknown,
    ];
}

/// The column that is written (`None`: one that is made just now, or any), and the column that flows into it.
pub type Copied = (Option<ColumnId>, ColumnId);

/// Every condition of one statement, at any depth. Of sensitive and other columns alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// With how often each stands there; for an equality with how many constants.
    pub found: BTreeMap<(ColumnId, Condition), u32>,
    /// Conditions on what stands under a key of a document in the column; [`ANY_KEY`] where it is not known which.
    pub of_keys: BTreeSet<(ColumnId, Arc<str>, Condition)>,
    /// Columns that have to equal each other.
    pub joins: BTreeSet<(ColumnId, ColumnId)>,
    /// A value of the first column is looked for in the second: what is found tells it.
    pub finds: BTreeSet<(ColumnId, ColumnId)>,
    /// Relations that are read: a view's own definition has conditions, too.
    pub relations: BTreeSet<Oid>,
    /// Column that is written and column that flows into it; `None`: a column that is made just now. Temporary tables are
    /// not in it: what is in them is followed.
    pub copies: BTreeSet<Copied>,
    /// Column that is written, or changed, and column of which something else was made that goes into it: a mask may keep
    /// another part of that.
    pub remade: BTreeSet<(ColumnId, ColumnId)>,
    /// Columns into which something goes of which it is not known where it is from; `None` as above.
    pub doubtful: BTreeSet<Option<ColumnId>>,
    /// Rows that the statement makes up itself (VALUES, a series): each may be a guess of its own.
    pub makes_rows: bool,
    /// Rows that INSERT tries, going on where a key is taken already; of a query, more than can be.
    pub tried: u32,
    /// Aggregates, LIMIT: how many rows come does not say how many fit.
    pub condenses: bool,
    /// Parameters that are compared for equality and nothing else, each with the columns: text, as it is stored.
    pub compared: BTreeMap<u16, BTreeSet<ColumnId>>,
    /// Why there may be more; `None` where this is all. What is not known of the result's own values is in its
    /// [`Lineage`](super::Lineage).
    pub doubt: Option<Doubt>,
}

impl Conditions {
    /// Nothing is known but that there is doubt.
    pub fn unknown(why: Doubt) -> Self {
        Self { doubt: Some(why), ..Self::default() }
    }

    pub fn note(&mut self, columns: impl IntoIterator<Item = ColumnId>, condition: Condition, times: u32) {
        for column in columns {
            let count = self.found.entry((column, condition)).or_default();
            *count = count.saturating_add(times);
        }
    }

    /// The same on what stands under `keys` in them.
    pub fn note_keys<'a>(
        &mut self,
        columns: &BTreeSet<ColumnId>,
        keys: impl Iterator<Item = &'a Arc<str>>,
        condition: Condition,
    ) {
        for key in keys {
            for column in columns {
                let is_full = self.of_keys.len() >= KEYS_COUNT_MAX;
                let key = if is_full { ANY_KEY.into() } else { key.clone() };
                self.of_keys.insert((*column, key, condition));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
            && self.copies.is_empty()
            && self.remade.is_empty()
            && self.doubtful.is_empty()
            && self.relations.is_empty()
            && self.doubt.is_none()
    }

    /// What it costs to keep.
    pub fn size(&self) -> usize {
        1 + self.found.len()
            + self.of_keys.len()
            + self.joins.len()
            + self.finds.len()
            + self.copies.len()
            + self.remade.len()
            + self.doubtful.len()
            + self.relations.len()
            + self.compared.values().map(|columns| 1 + columns.len()).sum::<usize>()
    }
}

/// Stands for whatever key a document has.
pub const ANY_KEY: &str = "*";
/// Keys of one statement that are told apart.
const KEYS_COUNT_MAX: usize = 256;
