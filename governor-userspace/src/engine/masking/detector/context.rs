//! What surrounds a value: the words of its column's name, its relation, the columns beside it.
//!
//! Made once per column. A name that tells outright is for `classify_column`; this is about names that only hint:
//! in `contact` a phone is likely, in `acct_ref` a nine-digit number is no tax number. A hint lifts what is weak by
//! itself and lowers what arithmetic alone says; it never hides what is certain.

use super::{ALONE_PERCENT_MIN, DetectorId, Finding};
use crate::engine::masking::definition::Definitions;
use crate::engine::model::Category;
use std::hash::Hasher;

/// What the surroundings of a value say, small enough to be copied into every plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnContext {
    /// One bit per category that the name hints at, in the order of [`Category::ALL`].
    pub(in crate::engine::masking) expected: u16,
    /// The name is one of a reference: an order, a build, a digest, a count.
    pub(in crate::engine::masking) is_reference: bool,
    /// The relation or the columns beside it are about people.
    pub(in crate::engine::masking) is_among_people: bool,
    /// Digests of the first words of the name, for the words that operators ask for; 0 where there is none.
    pub(in crate::engine::masking) words: [u32; NAME_WORDS_MAX],
    /// The column shows definitions of the database's objects.
    pub(in crate::engine::masking) definitions: Definitions,
}

impl ColumnContext {
    /// Nothing is known: values are judged by themselves.
    pub const UNKNOWN: Self = Self {
        expected: 0,
        is_reference: false,
        is_among_people: false,
        words: [0; NAME_WORDS_MAX],
        definitions: Definitions::No,
    };

    /// The column shows definitions, too.
    pub fn showing(self, definitions: Definitions) -> Self {
        Self { definitions, ..self }
    }

    /// What holds for the parts of a value, whose names are their own.
    pub(in crate::engine::masking) fn of_part(self) -> Self {
        Self::UNKNOWN.showing(self.definitions)
    }

    pub(in crate::engine::masking) fn expects(self, category: Category) -> bool {
        self.expected >> (category as u16) & 1 == 1
    }

    pub(in crate::engine::masking) fn expecting(mut self, category: Category) -> Self {
        self.expected |= 1 << (category as u16);
        self
    }

    /// The confidence of a finding in this column.
    pub(super) fn weigh(self, finding: Finding) -> u8 {
        let confidence = finding.confidence_percent;
        if self.expects(finding.category) {
            return confidence.saturating_add(EXPECTED_BONUS).min(99);
        }
        if self.is_reference && confidence < CERTAIN_PERCENT && is_arithmetic(finding.category) {
            return confidence.saturating_sub(REFERENCE_MALUS);
        }
        if self.is_among_people
            && is_of_people(finding.category)
            && confidence >= ALONE_PERCENT_MIN - PEOPLE_BONUS
        {
            return confidence + PEOPLE_BONUS;
        }
        confidence
    }

    /// One of the words, given by their digests, stands in the name.
    pub(super) fn has_word(self, digests: &[u32]) -> bool {
        self.words.iter().any(|word| *word != 0 && digests.contains(word))
    }

    /// Weak shapes are worth trying.
    pub(super) fn lifts(self) -> bool {
        self.expected != 0 || self.is_among_people
    }
}

/// A word's digest, never 0.
pub(in crate::engine::masking) fn word_digest(word: &str) -> u32 {
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(word.as_bytes());
    u32::try_from(hasher.finish() >> 32).unwrap_or(0).max(1)
}

/// Values of these are told from other numbers by arithmetic, which errs.
fn is_arithmetic(category: Category) -> bool {
    use Category as C;
    matches!(
        category,
        C::NationalId | C::Phone | C::Passport | C::Financial | C::Health | C::Other | C::IpAddress
    )
}

fn is_of_people(category: Category) -> bool {
    matches!(category, Category::PersonName | Category::Address | Category::Phone)
}

/// The best of several findings; the first among equals.
#[derive(Default)]
pub(super) struct Best(pub(super) Option<Finding>);

impl Best {
    pub(super) fn offer(&mut self, detector: DetectorId, category: Category, confidence_percent: u8) {
        if self.0.is_none_or(|best| best.confidence_percent < confidence_percent) {
            self.0 = Some(Finding { detector, category, confidence_percent });
        }
    }
}

/// Words of a name that are remembered.
pub(in crate::engine::masking) const NAME_WORDS_MAX: usize = 6;
/// From here on the value speaks for itself, whatever its column is called.
const CERTAIN_PERCENT: u8 = 90;
const EXPECTED_BONUS: u8 = 40;
const REFERENCE_MALUS: u8 = 35;
const PEOPLE_BONUS: u8 = 10;
