//! Constants that no definition may show, and where they stand in a text.
//!
//! All are looked for at once, so that the time for a text does not grow with their number.

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// What definitions must not show.
#[derive(Clone, Debug, Default)]
pub struct HiddenConstants {
    words: Arc<[Box<str>]>,
    automaton: Option<AhoCorasick>,
    is_all: bool,
}

/// By their words.
impl PartialEq for HiddenConstants {
    fn eq(&self, other: &Self) -> bool {
        (&self.words, self.is_all) == (&other.words, other.is_all)
    }
}

impl Eq for HiddenConstants {}

impl HiddenConstants {
    /// Of more than a bound nobody knows them one by one: every constant is hidden then.
    pub fn new(constants: &BTreeSet<Arc<str>>) -> Self {
        let mut words: BTreeSet<Box<str>> = BTreeSet::new();
        let mut bytes = 0;
        for constant in constants {
            // As it is, and as a literal has it.
            for word in [Some(constant.as_ref().into()), doubled(constant)].into_iter().flatten() {
                bytes += word.len();
                words.insert(word);
            }
            if bytes > HIDDEN_BYTES_MAX {
                return Self::all();
            }
        }
        if words.is_empty() {
            return Self::default();
        }
        let words: Arc<[Box<str>]> = words.into_iter().collect();
        let built = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(words.iter().map(|word| word.as_bytes()));
        match built {
            Ok(automaton) => Self { words, automaton: Some(automaton), is_all: false },
            Err(_) => Self::all(),
        }
    }

    /// Every constant of every definition.
    pub fn all() -> Self {
        Self { is_all: true, ..Self::default() }
    }

    /// Nobody knows which constants are sensitive: what may be one is.
    pub fn is_all(&self) -> bool {
        self.is_all
    }

    pub fn is_empty(&self) -> bool {
        self.automaton.is_none() && !self.is_all
    }

    /// Where one of them stands for itself in `text`: in order, apart.
    pub fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let is_letter =
            |at: Option<&u8>| at.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
        let stands_alone = |place: &Range<usize>| {
            let before = place.start.checked_sub(1).and_then(|before| text.get(before));
            !is_letter(before) && !is_letter(text.get(place.end))
        };
        let mut places: Vec<Range<usize>> = Vec::new();
        for place in automaton.find_overlapping_iter(text).map(|found| found.range()).filter(stands_alone) {
            // By their ends: a longer one swallows what it holds.
            let mut start = place.start;
            while let Some(last) = places.last().filter(|last| last.end > start) {
                start = start.min(last.start);
                places.pop();
            }
            places.push(start..place.end);
        }
        places
    }
}

fn doubled(constant: &str) -> Option<Box<str>> {
    constant.contains('\'').then(|| constant.replace('\'', "''").into())
}

/// Some ten thousand constants; the automaton takes about ten times as much.
const HIDDEN_BYTES_MAX: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn places(constants: &[&str], text: &str) -> Vec<String> {
        let constants: BTreeSet<Arc<str>> = constants.iter().map(|word| Arc::from(*word)).collect();
        let hidden = HiddenConstants::new(&constants);
        hidden.places(text.as_bytes()).into_iter().map(|place| text[place].to_owned()).collect()
    }

    #[test]
    fn constants_are_found_where_they_stand_for_themselves() {
        for (constants, text, found) in [
            (&["sarcoidosis"][..], "x = 'sarcoidosis' OR sarcoidosis2", &["sarcoidosis"][..]),
            (&["stage two", "two"], "'stage two', 'two', 'stage twos'", &["stage two", "two"]),
            (&["one two", "two three"], "'one two three'", &["one two three"]),
            (&["it's"], "'it''s' it's", &["it''s", "it's"]),
            (&["a b c", "b"], "a b d; a b c", &["b", "a b c"]),
            (&["90417"], "x > 90417 AND y > 904170", &["90417"]),
            (&[], "anything", &[]),
        ] {
            assert_eq!(places(constants, text), found, "{text}");
        }
    }

    #[test]
    fn more_than_a_bound_are_all() {
        let many = |count: usize| (0..count).map(|n| format!("constant number {n}").into()).collect();
        let few = HiddenConstants::new(&many(5_000));
        assert!(!few.is_all());
        assert_eq!(few.places(b"'constant number 4999'"), vec![1..21]);
        assert!(HiddenConstants::new(&many(50_000)).is_all());
    }
}
