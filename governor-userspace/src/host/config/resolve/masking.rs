//! `[masking]`: what is sensitive, how it is masked, what may be learnt about it.

use crate::engine::masking::{Category, JsonPath, TransformSettings, UserDetector};
use crate::engine::model::{Class, MaskStyle};
use crate::engine::session::{ColumnPattern, DiscoverySettings};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masking {
    pub columns: Vec<ColumnLabel>,
    /// Never sensitive, whatever their names or values look like.
    pub clear: Vec<ColumnPattern>,
    /// Look into values, not only at names and types.
    pub detect_values: bool,
    pub unknown_columns: UnknownColumns,
    pub transforms: TransformSettings,
    /// Equal values of two columns get unequal hashes, tokens and other keyed masks.
    pub keys_per_column: bool,
    /// A bound token is compared with the column that it is shown of.
    pub compare_tokens: bool,
    pub keys: MaskingKeys,
    pub inference: Inference,
    pub discovery: DiscoverySettings,
    /// What to look for beyond the built-in kinds; they compile.
    pub detectors: Vec<UserDetector>,
}

/// What becomes of a column that could carry text, and of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownColumns {
    /// Each of its values is looked at.
    #[default]
    Search,
    /// It is sensitive until the operator says otherwise.
    Hide,
}

/// The inference budget. A threshold of 0 is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inference {
    /// Whose answers are counted.
    pub classes: Vec<Class>,
    /// In which what was told drains away; 1 minute to 30 days.
    pub window: Duration,
    pub warn_bits: u32,
    pub hold_bits: u32,
    pub deny_bits: u32,
    /// The group that answers a hold.
    pub approvers: String,
}

/// Where the keys of masking come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MaskingKeys {
    /// The instance's own directory.
    #[default]
    State,
    Directory(PathBuf),
    /// The name of a credential of systemd.
    Credential(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnLabel {
    pub column: ColumnPattern,
    /// Only this place in its documents.
    pub path: Option<JsonPath>,
    pub category: Category,
    /// How it is masked, where policy does not ask for a stricter way; `None`: as policy says, and a place in documents redacted.
    pub style: Option<MaskStyle>,
}

impl Default for Masking {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            clear: Vec::new(),
            detect_values: true,
            unknown_columns: UnknownColumns::default(),
            transforms: TransformSettings::default(),
            keys_per_column: false,
            compare_tokens: false,
            keys: MaskingKeys::default(),
            inference: Inference::default(),
            discovery: DiscoverySettings::default(),
            detectors: Vec::new(),
        }
    }
}

impl Default for Inference {
    fn default() -> Self {
        Self {
            classes: vec![Class::Person],
            window: Duration::from_secs(86_400),
            warn_bits: 16,
            hold_bits: 32,
            deny_bits: 64,
            approvers: "dba".into(),
        }
    }
}
