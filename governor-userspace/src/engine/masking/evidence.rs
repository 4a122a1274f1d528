//! What the values of one column say about it: counts by detector, and what they add up to.
//!
//! A value alone can be taken for something by chance; a column in which most values are the same kind is that kind,
//! also where a detector misses some of them.

use super::detector::{DetectorId, Finding};
use super::pg_type::TypeClass;
use crate::engine::model::Category;

/// Values that were looked at, and what detectors took them for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnEvidence {
    values: u64,
    /// A few at most: a column holds one kind, and what else is found is chance.
    findings: Vec<(DetectorId, Category, u64)>,
}

impl ColumnEvidence {
    /// One more value, and what it is.
    pub fn note(&mut self, finding: Option<Finding>) {
        self.values = self.values.saturating_add(1);
        if let Some(finding) = finding {
            self.add(finding.detector, finding.category, 1);
        }
    }

    /// Takes in what was counted elsewhere.
    pub fn merge(&mut self, other: &Self) {
        self.values = self.values.saturating_add(other.values);
        for (detector, category, count) in &other.findings {
            self.add(*detector, *category, *count);
        }
    }

    pub fn values(&self) -> u64 {
        self.values
    }

    /// How many values each detector knew.
    pub fn findings(&self) -> impl Iterator<Item = (DetectorId, Category, u64)> {
        self.findings.iter().copied()
    }

    fn add(&mut self, detector: DetectorId, category: Category, count: u64) {
        let has_room = self.findings.len() < DETECTORS_COUNT_MAX;
        match self.findings.iter_mut().find(|(known, _, _)| *known == detector) {
            Some((_, _, total)) => *total = total.saturating_add(count),
            None if has_room => self.findings.push((detector, category, count)),
            None => {}
        }
    }
}

/// What a column holds, as its values and its name say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnVerdict {
    pub category: Category,
    pub detector: DetectorId,
    pub confidence_percent: u8,
}

/// Judges a column by its values. `None` where they say nothing.
pub fn judge_column(
    _relation: &str,
    _column: &str,
    type_oid: u32,
    _neighbours: &[&str],
    evidence: &ColumnEvidence,
) -> Option<ColumnVerdict> {
    if evidence.values < VALUES_MIN || TypeClass::of(type_oid) == TypeClass::Bool {
        return None;
    }
    let (detector, category, count) = evidence.findings().max_by_key(|(_, _, count)| *count)?;
    let share_percent = count.saturating_mul(100) / evidence.values.max(1);
    let confidence_percent = u8::try_from(share_percent).unwrap_or(100).min(100);
    (share_percent >= SHARE_PERCENT_MIN).then_some(ColumnVerdict { category, detector, confidence_percent })
}

const DETECTORS_COUNT_MAX: usize = 32;
const VALUES_MIN: u64 = 5;
const SHARE_PERCENT_MIN: u64 = 20;
