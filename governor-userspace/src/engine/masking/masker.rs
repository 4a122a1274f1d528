//! What masking takes beside a plan: what recognises values, and what styles with choices do.

use super::detector::Detectors;
use super::keys::KeyRing;
use serde::Deserialize;
use std::sync::Arc;

/// One for each thread: detectors have caches that threads would take turns at.
#[derive(Clone, Debug)]
pub struct Masker {
    pub detectors: Arc<Detectors>,
    /// Shared by all threads.
    pub keys: Arc<KeyRing>,
    pub settings: TransformSettings,
}

/// What the operator chooses for all columns of a style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransformSettings {
    /// Dates are shifted by at most so many days; at least 1.
    pub shift_days: u16,
    /// How many whole numbers one range holds; at least 1.
    pub range_width: u32,
    pub range_dates: DateRange,
}

/// What a date becomes the first day of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateRange {
    #[default]
    Year,
    Month,
}

impl Default for TransformSettings {
    fn default() -> Self {
        Self { shift_days: 180, range_width: 10_000, range_dates: DateRange::default() }
    }
}

impl From<Arc<Detectors>> for Masker {
    /// Without keys: styles that need one redact.
    fn from(detectors: Arc<Detectors>) -> Self {
        Self { detectors, keys: Arc::default(), settings: TransformSettings::default() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::masking::detector::tests::broken;
    use std::sync::LazyLock;

    pub(in crate::engine::masking) static MASKER: LazyLock<Masker> =
        LazyLock::new(|| Arc::new(Detectors::new().unwrap()).into());

    /// Detectors of which every one panics when asked.
    pub(in crate::engine::masking) fn broken_masker() -> Masker {
        Arc::new(broken()).into()
    }
}
