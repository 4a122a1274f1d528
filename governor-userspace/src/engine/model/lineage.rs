//! Which base columns the values of a result column come from.
//!
//! Data only; `sql` computes it, `session` asks what it means for masking.

use super::{ColumnId, SearchPath};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The flow into each result column of one statement, or that nothing certain can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// It has no rows to show.
    NoRows,
    /// In the order of the result.
    Columns(Vec<Flow>),
    Unknown(Doubt),
}

impl Lineage {
    /// Why not everything is known.
    pub fn doubt(&self) -> Option<Doubt> {
        match self {
            Self::NoRows => None,
            Self::Columns(flows) => flows.iter().find_map(|flow| flow.unknown),
            Self::Unknown(why) => Some(*why),
        }
    }
}

/// What flows into one column.
///
/// Relations are those that the statement names: a view's column stands for itself here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// As the server will call the column; `None` where that is not certain.
    pub name: Option<Arc<str>>,
    /// Columns whose values are in it, in whatever form.
    pub sources: BTreeSet<ColumnId>,
    /// Columns that only choose what is in it: conditions, comparisons, positions.
    pub implicit: BTreeSet<ColumnId>,
    /// Every value is one of a source, unchanged; or every one is a constant. Not where both may come: a constant that
    /// whoever asks has chosen must not be masked as if it were one of a source.
    pub exact: bool,
    /// A source is in it as a whole, not only by a piece that a key leads to.
    pub bare: bool,
    /// An operation over such a source may have dropped or renamed the keys in it.
    pub reshaped: bool,
    /// A definition of one of the database's objects is in it: code, defaults, labels of enums.
    pub code: bool,
    /// The same, taken apart by an operation: it is not there as it was written.
    pub cut: bool,
    /// Constant keys by which it takes pieces out of documents: `document ->> 'ssn'`.
    pub keys: BTreeSet<Arc<str>>,
    /// Why there may be more behind it; `None` where the sets are complete.
    pub unknown: Option<Doubt>,
}

/// Why the sources of a column are not known: a closed set, for metrics and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// The text is not one command that parses.
    Unparsed,
    /// Nested deeper than is followed.
    TooDeep,
    /// More work than one statement is worth.
    TooMuch,
    /// A relation that was not read, or whose columns are not known.
    UnknownRelation,
    /// A name that fits no known column.
    UnknownColumn,
    /// A function whose result does not only come from its arguments, or may not.
    Function,
    /// An operator that some user made.
    Operator,
    /// A cast that some user made.
    Cast,
    /// A piece of syntax that is not followed.
    Syntax,
    /// A temporary relation about which too little is known.
    Temporary,
    /// The server describes other columns than were expected.
    Disagreement,
}

impl Doubt {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unparsed => "unparsed",
            Self::TooDeep => "too_deep",
            Self::TooMuch => "too_much",
            Self::UnknownRelation => "unknown_relation",
            Self::UnknownColumn => "unknown_column",
            Self::Function => "function",
            Self::Operator => "operator",
            Self::Cast => "cast",
            Self::Syntax => "syntax",
            Self::Temporary => "temporary",
            Self::Disagreement => "disagreement",
        }
    }
}

/// What a name means among the session's temporary relations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Temporary {
    /// There is none of this name.
    None,
    /// The statements behind its rows, each with the path that its names were read under; first the one that made it.
    Statements(Vec<(Arc<str>, SearchPath)>),
    /// There may be one, and nothing is known of it.
    Unknown,
}
