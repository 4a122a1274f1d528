//! The three questions and their answers.

use crate::engine::model::Category;
use crate::engine::model::{ColumnName, MaskStyle, Reason};
use std::sync::Arc;

/// What surrounds a statement when it is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunContext {
    /// A person has approved exactly this request.
    pub approved: bool,
    /// Some relation that the statement reads has sensitive columns (or may have: doubt counts).
    pub reads_sensitive: bool,
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
