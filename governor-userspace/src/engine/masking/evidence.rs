//! What the values of one column show together.
//!
//! One value of a column of names, birth dates or passports says little; hundreds say it: most words are known
//! names, the years spread over a lifetime, every number passes the same check. Evidence is counts only, of bounded
//! size, and holds no value.

use super::detector::{ColumnContext, DetectorId, Detectors, Finding, Kind, NameLook, look_at_name};
use super::json::mask_json;
use super::masker::Masker;
use super::plans::{PlanEvidence, PlanFit};
use crate::engine::model::Category;
use serde::{Deserialize, Serialize};

/// Counts of a column's values, and of what detectors say of them. Counts stay at their ceiling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnEvidence {
    /// Values looked at; NULL and blank ones are not.
    values: u32,
    found: Vec<Tally>,
    /// Values that are longer texts in which something stands.
    in_text: u32,
    /// The same by what stands in them first, in the order of [`Category::ALL`].
    text_categories: [u32; Category::ALL.len()],
    /// Values that are JSON with something in it.
    in_document: u32,
    /// Values that are digits and nothing else.
    numbers: u32,
    /// Values that are called like organisations.
    organisations: u32,
    /// Dates without a time, by decade from 1900 on; what is later counts in the last.
    decades: [u32; DECADES_COUNT],
    /// Dates with a time behind them.
    moments: u32,
    /// What numbering plans say of values that are digits and nothing else.
    #[serde(default)]
    plans: PlanEvidence,
}

/// How often one detector was right about a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) detector: DetectorId,
    pub(super) category: Category,
    pub(super) count: u32,
    /// Of them those that count by themselves.
    pub(super) strong: u32,
    confidence_sum: u64,
}

impl Tally {
    pub(super) fn confidence_percent(&self) -> u8 {
        u8::try_from(self.confidence_sum / u64::from(self.count.max(1))).unwrap_or(100)
    }
}

impl ColumnEvidence {
    /// Counts one value with what [`Detectors::detect`] or [`Detectors::examine`] said of it.
    pub fn note(&mut self, finding: Option<Finding>) {
        self.values = self.values.saturating_add(1);
        if let Some(finding) = finding {
            self.tally(finding);
        }
    }

    /// Looks at one value in text form and counts everything that it may be: better evidence than [`Self::note`].
    pub fn observe(&mut self, masker: &Masker, value: &[u8]) {
        let value = value.trim_ascii();
        let value = value.get(..OBSERVED_BYTES_MAX).unwrap_or(value);
        if !self.observe_whole(&masker.detectors, value) {
            self.observe_inside(masker, value);
        }
    }

    /// The same without what stands inside texts and documents. Whether the value is something by itself.
    pub fn observe_whole(&mut self, detectors: &Detectors, value: &[u8]) -> bool {
        let value = value.trim_ascii();
        if value.is_empty() {
            return true;
        }
        let value = value.get(..OBSERVED_BYTES_MAX).unwrap_or(value);
        self.values = self.values.saturating_add(1);
        let mut strong = false;
        detectors.examine_all(value, &mut |finding| {
            strong |= finding.confidence_percent >= STRONG_PERCENT_MIN;
            self.tally(finding);
        });
        self.numbers = self.numbers.saturating_add(u32::from(value.iter().all(u8::is_ascii_digit)));
        self.plans.note(value);
        if let Some((year, has_time)) = Detectors::date_of(value) {
            let decade = usize::from(year.saturating_sub(1900) / 10).min(DECADES_COUNT - 1);
            match self.decades.get_mut(decade) {
                Some(count) if !has_time => *count = count.saturating_add(1),
                _ => self.moments = self.moments.saturating_add(1),
            }
        }
        let NameLook { organisation, .. } = look_at_name(value);
        self.organisations = self.organisations.saturating_add(u32::from(organisation));
        strong
    }

    fn observe_inside(&mut self, masker: &Masker, value: &[u8]) {
        if matches!(value.first(), Some(b'{' | b'[')) {
            let mut masked = Vec::new();
            if mask_json(masker, value, &mut masked).is_ok_and(|count| count > 0) {
                self.in_document = self.in_document.saturating_add(1);
            }
            return;
        }
        let mut found = Vec::new();
        let finished = masker.detectors.find_in_text(value, &mut found);
        if finished && let Some((_, category)) = found.first() {
            self.in_text = self.in_text.saturating_add(1);
            if let Some(count) = self.text_categories.get_mut(*category as usize) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Adds what was seen elsewhere of the same column.
    pub fn merge(&mut self, other: &Self) {
        let add = |a: &mut u32, b: u32| *a = a.saturating_add(b);
        add(&mut self.values, other.values);
        add(&mut self.in_text, other.in_text);
        add(&mut self.in_document, other.in_document);
        add(&mut self.numbers, other.numbers);
        add(&mut self.organisations, other.organisations);
        add(&mut self.moments, other.moments);
        for (mine, theirs) in self.text_categories.iter_mut().zip(other.text_categories) {
            add(mine, theirs);
        }
        for (mine, theirs) in self.decades.iter_mut().zip(other.decades) {
            add(mine, theirs);
        }
        self.plans.merge(&other.plans);
        for tally in &other.found {
            if let Some(mine) = self.slot(tally.detector, tally.category) {
                mine.count = mine.count.saturating_add(tally.count);
                mine.strong = mine.strong.saturating_add(tally.strong);
                mine.confidence_sum = mine.confidence_sum.saturating_add(tally.confidence_sum);
            }
        }
    }

    /// Values counted so far.
    pub fn values_count(&self) -> u32 {
        self.values
    }

    /// Detectors that were right about a value, with how often.
    pub fn found(&self) -> impl Iterator<Item = (DetectorId, Category, u32)> {
        self.found.iter().map(|tally| (tally.detector, tally.category, tally.count))
    }

    /// Values inside of which something stands, be they text or JSON.
    pub fn inside_count(&self) -> u32 {
        self.in_text.saturating_add(self.in_document)
    }

    fn tally(&mut self, finding: Finding) {
        if let Some(tally) = self.slot(finding.detector, finding.category) {
            tally.count = tally.count.saturating_add(1);
            tally.confidence_sum = tally.confidence_sum.saturating_add(finding.confidence_percent.into());
            tally.strong =
                tally.strong.saturating_add(u32::from(finding.confidence_percent >= STRONG_PERCENT_MIN));
        }
    }

    fn slot(&mut self, detector: DetectorId, category: Category) -> Option<&mut Tally> {
        let at = match self.found.iter().position(|tally| tally.detector == detector) {
            Some(at) => at,
            None if self.found.len() < TALLIES_MAX => {
                self.found.push(Tally { detector, category, count: 0, strong: 0, confidence_sum: 0 });
                self.found.len() - 1
            }
            None => return None,
        };
        self.found.get_mut(at)
    }

    pub(super) fn tallies(&self) -> &[Tally] {
        &self.found
    }

    /// Part of the values, 0 to 1.
    pub(super) fn share(&self, count: u32) -> f64 {
        f64::from(count) / f64::from(self.values.max(1))
    }

    pub(super) fn count_of(&self, kinds: &[Kind]) -> u32 {
        self.found
            .iter()
            .filter(|tally| tally.detector.kind().is_some_and(|kind| kinds.contains(&kind)))
            .fold(0, |sum, tally| sum.saturating_add(tally.count))
    }

    pub(super) fn strong_of(&self, kinds: &[Kind]) -> u32 {
        self.found
            .iter()
            .filter(|tally| tally.detector.kind().is_some_and(|kind| kinds.contains(&kind)))
            .fold(0, |sum, tally| sum.saturating_add(tally.strong))
    }

    pub(super) fn numbers_count(&self) -> u32 {
        self.numbers
    }

    /// The numbering plan that the numbers are of, if any.
    pub(super) fn plan(&self) -> Option<PlanFit> {
        self.plans.fit()
    }

    pub(super) fn organisations_count(&self) -> u32 {
        self.organisations
    }

    pub(super) fn in_text_count(&self) -> u32 {
        self.in_text
    }

    pub(super) fn in_document_count(&self) -> u32 {
        self.in_document
    }

    /// What stands most often in the texts.
    pub(super) fn text_category(&self) -> Category {
        let most = self.text_categories.iter().enumerate().max_by_key(|(_, count)| **count);
        most.and_then(|(at, _)| Category::ALL.get(at)).copied().unwrap_or(Category::Other)
    }

    /// Dates look like days of birth: nearly all values are dates without a time, and they spread over four decades
    /// or more of the past century with few after it.
    pub(super) fn is_lifetimes(&self) -> bool {
        let dates: u32 = self.decades.iter().sum();
        let seldom = (dates / 40).max(1);
        let filled = self.decades.iter().take(DECADES_COUNT - 1).filter(|count| **count >= seldom).count();
        let recent = self.decades.last().copied().unwrap_or(0);
        dates >= DATES_MIN && self.share(dates) > 0.9 && self.share(recent) < 0.15 && filled >= 4
    }
}

/// Evidence with a context is what a verdict is made from.
pub(super) struct Seen<'a> {
    pub(super) evidence: &'a ColumnEvidence,
    pub(super) context: ColumnContext,
}

/// From here on a finding counts by itself.
const STRONG_PERCENT_MIN: u8 = 50;
/// Detectors that are remembered for one column.
const TALLIES_MAX: usize = 64;
/// 1900 to 2029, the last with all that follows.
const DECADES_COUNT: usize = 13;
/// Longer values are looked at this far.
const OBSERVED_BYTES_MAX: usize = 4096;
/// Fewer dates can hardly spread over four decades.
const DATES_MIN: u32 = 6;
