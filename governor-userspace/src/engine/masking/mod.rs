//! Sensitive data: where it is, how to recognise it, how to hide it.
//!
//! Three questions, three parts. [`classify_column`] says from name and type what a column holds;
//! [`Detectors`] say it from a value alone; [`mask_value`] and [`mask_row`] hide values so that every
//! driver still decodes them. `docs/masking.md` says what that covers and what it does not.

mod classify;
mod copy;
mod definition;
mod detector;
mod evidence;
mod hints;
mod json;
mod keys;
mod lexicon;
mod masker;
mod parameter;
mod partial;
mod pg_type;
mod plans;
mod row;
mod statement;
mod structure;
mod style;
mod transform;
mod value;
mod verdict;

pub use crate::engine::model::Category;
pub use classify::{classify_column, could_carry};
pub use copy::{CopyError, CopyMask};
pub use definition::Definitions;
pub use detector::{
    Checksum, ColumnContext, DetectorError, DetectorId, Detectors, Finding, UserDetector, UserDetectorError,
    UserDetectorProblem, UserMatch, check_user_defined,
};
pub use evidence::ColumnEvidence;
pub(crate) use hints::{PEOPLE_COLUMNS_MIN, tells_of_people};
pub use json::{JsonPath, JsonPlace};
pub use keys::{KeyError, KeyId, KeyRing, MaskingKey, ROOT_BYTES};
pub use masker::{DateRange, Masker, TransformSettings};
pub use parameter::{PARAMETER_BYTES_MAX, mask_parameter, mask_text};
pub use partial::keeps_a_part;
pub use row::{ColumnAction, ColumnPlan, MaskCounts, RowError, RowPlan, mask_row};
pub use statement::{mask_statement, mask_unknown};
pub use style::{Revealed, TokenError, may_be_token, reveal};
pub use transform::{Format, Masked, ValueMask, mask_value};
pub use verdict::{ColumnVerdict, judge_column};
