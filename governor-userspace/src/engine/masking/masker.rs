//! What masking takes beside a plan: what recognises values, and the keys of styles that have one.

use super::detector::Detectors;
use std::sync::Arc;

/// One for each thread: detectors have caches that threads would take turns at.
#[derive(Clone, Debug)]
pub struct Masker {
    pub detectors: Arc<Detectors>,
}

impl From<Arc<Detectors>> for Masker {
    /// Without keys: styles that need one redact.
    fn from(detectors: Arc<Detectors>) -> Self {
        Self { detectors }
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
