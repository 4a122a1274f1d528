//! The three questions, what surrounds them, and their answers.

use crate::engine::model::Category;
use crate::engine::model::{Clause, ColumnName, Form, MaskStyle, Reason, Timestamp};
use std::fmt;
use std::sync::Arc;

/// The minute in which a question is asked. Policies see no finer time, so one answer holds for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment {
    /// Minutes since the Unix epoch.
    minutes: u64,
}

impl Moment {
    pub fn of(at: Timestamp) -> Self {
        Self { minutes: at.unix_ns / NS_PER_MINUTE }
    }

    /// Its first second since the Unix epoch.
    pub fn unix_s(self) -> i64 {
        i64::try_from(self.minutes.saturating_mul(60)).unwrap_or(i64::MAX)
    }
}

/// What surrounds every question of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionContext {
    /// `None`: not known, so policies that look at the time deny.
    pub at: Option<Moment>,
    /// The reason that a person gave for breaking the glass, while that is in force.
    pub break_glass: Option<Arc<str>>,
}

/// What surrounds a statement when it is decided. The default knows nothing and grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunContext {
    pub session: SessionContext,
    /// A person has approved exactly this request.
    pub approved: bool,
    /// Some relation that the statement reads has sensitive columns (or may have: doubt counts).
    pub reads_sensitive: bool,
    /// How many rows the statement touches, as far as somebody could estimate it.
    pub estimated_rows: Option<u64>,
    /// The schemas that a relation named without one can be in; `None`: any.
    pub bare_schemas: Option<Arc<[String]>>,
    /// Every name in [`Mentions::columns`](crate::engine::model::Mentions) is a column and not a function
    /// that draws on a whole row.
    pub columns_certain: bool,
    /// Every function that is named without a schema is the server's own.
    pub functions_certain: bool,
    /// Columns that are masked for whoever asks, and have a say in the answer all the same. Sorted, unique.
    pub conditions: Arc<[HiddenCondition]>,
    /// Data of a masked column is put into one that would not be masked.
    pub copies_masked: bool,
}

/// A masked column that decides which rows there are, how many, in which order, or whether the statement fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HiddenCondition {
    /// `None`: some column, it is not known which.
    pub column: Option<ColumnName>,
    pub clause: Clause,
    pub form: Form,
}

impl HiddenCondition {
    /// The column's name in policy.
    pub fn column_text(&self) -> String {
        self.column.as_ref().map_or_else(|| "unknown".into(), ToString::to_string)
    }
}

impl fmt::Display for HiddenCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "{column} in {} ({})", self.clause.as_str(), self.form.as_str()),
            None => f.write_str("data of unknown origin, which governor cannot tell apart"),
        }
    }
}

/// The first of them, for people.
pub(super) fn listed(conditions: &[HiddenCondition]) -> String {
    let mut text = conditions.iter().take(LISTED_MAX).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if conditions.len() > LISTED_MAX {
        text.push_str(&format!("; and {} more", conditions.len() - LISTED_MAX));
    }
    text
}

/// A result column whose data is, or may be, sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeeColumn {
    /// `None` where the origin is unknown.
    pub column: Option<ColumnName>,
    /// `None` where the origin is unknown.
    pub category: Option<Category>,
}

/// The answer to "may it see this column in clear".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    Clear,
    Masked { style: MaskStyle, reasons: Arc<[Reason]> },
}

impl Visibility {
    /// Where it is masked: in this style, unless policy asks for a stricter one.
    #[must_use]
    pub fn at_least(self, wanted: Option<MaskStyle>) -> Self {
        match (self, wanted) {
            (Self::Masked { style, reasons }, Some(wanted)) => {
                Self::Masked { style: wanted.stricter(style), reasons }
            }
            (same, _) => same,
        }
    }
}

/// How a name is read that may mean several things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Only what is certain.
    Certain,
    /// Everything that is possible.
    Possible,
}

const LISTED_MAX: usize = 3;
const NS_PER_MINUTE: u64 = 60_000_000_000;
