//! Why a value was masked though nothing certain says that it is sensitive.

use serde::{Deserialize, Serialize};

/// Doubt is never safety: such a value is masked, and the record of its statement says how many there were. The words
/// appear in records and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskDoubt {
    /// Nobody knows which columns are behind it, or the catalogue is not to be trusted now.
    UnknownOrigin,
    /// The value is not what its type says, so it could not be looked into.
    NotUnderstood,
    /// Judging or replacing it failed: a fault of governor's own.
    Failed,
    /// Searching it with the operator's detectors came to the bound of their work.
    SearchBound,
}

impl MaskDoubt {
    /// In the order of their discriminants.
    pub const ALL: [MaskDoubt; 4] =
        [Self::UnknownOrigin, Self::NotUnderstood, Self::Failed, Self::SearchBound];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownOrigin => "unknown_origin",
            Self::NotUnderstood => "not_understood",
            Self::Failed => "failed",
            Self::SearchBound => "search_bound",
        }
    }
}
