//! What was said of single columns while governor runs: by its operators, or by what their values look like.
//!
//! Comes behind the files of the operator ([`Labels`](super::Labels)) and before names.

use crate::engine::masking::Category;
use crate::engine::model::ColumnName;

/// What holds for one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Sensitive(Category),
    /// Neither its name nor what was found in it counts. Single values that detectors know are masked all the same.
    Dismissed,
}

/// Everything that holds in one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rulings {
    /// Grows with every change of any ruling.
    pub version: u64,
    pub columns: Vec<(ColumnName, Ruling)>,
}
