//! Detectors that the operator defines: a pattern or a list of words, a checksum, words that must stand in the name.
//!
//! Compiled once, at start; what cannot be compiled, fits the empty value, grows too large or takes a name that is
//! taken is refused there, with the reason. Searching has an allowance in proportion to what is searched
//! ([`allowance`]): where that is spent, nobody knows what the rest of the value holds, and all of it is hidden.

mod allowance;
mod pattern;

use super::checksum::{digits, iban_mod97, luhn, verhoeff, weighted};
use super::context::{ColumnContext, word_digest};
use super::kind::{DetectorId, Kind};
use crate::engine::model::Category;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use allowance::{Allowance, Spent};
use pattern::{PATTERN_BYTES_MAX, PATTERN_FITS_BYTES_MAX, Pattern};
use serde::Deserialize;
use std::collections::HashSet;
use std::ops::Range;

/// One detector as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDetector {
    pub name: String,
    pub category: Category,
    pub matches: UserMatch,
    pub checksum: Option<Checksum>,
    /// 50 counts wherever the value stands; less counts only where most of a column's values are found.
    pub confidence_percent: u8,
    /// Words of which one must stand in the column's name, or shortly before the value in text. None: anywhere.
    pub context: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserMatch {
    /// A regular expression over the whole value, and inside text where it stands alone.
    Pattern(String),
    /// Words, compared without regard to ASCII case.
    Dictionary(Vec<String>),
}

/// What the digits of a match must also satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    Luhn,
    /// ISO 7064 MOD 97-10, letters counted as 10 to 35: remainder 1.
    Mod97,
    /// Weights from the right 1, 2, 3 …: a multiple of 11.
    Mod11,
    Verhoeff,
}

/// Why a detector is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("detector {name:?}: {problem}")]
pub struct UserDetectorError {
    pub name: String,
    pub problem: UserDetectorProblem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserDetectorProblem {
    #[error(
        "a name is a small letter, then small letters, digits and _, at most {NAME_BYTES_MAX} characters"
    )]
    Name,
    #[error("the name is taken")]
    Taken,
    #[error("the pattern cannot be compiled: {0}")]
    Pattern(String),
    #[error("the pattern fits the empty value, so it fits everything")]
    MatchesEmpty,
    #[error("the pattern would take more than {PATTERN_BYTES_MAX} bytes compiled: bound its repetitions")]
    TooLarge,
    #[error(
        "the pattern fits values of any length, so a search could take too long: bound its repetitions, as in [0-9]{{1,20}}; at most {PATTERN_FITS_BYTES_MAX} bytes"
    )]
    Unbounded,
    #[error("the dictionary is empty")]
    NoWords,
    #[error("a word of the dictionary is shorter than {WORD_BYTES_MIN} bytes: {0:?}")]
    ShortWord(String),
    #[error("a word of the dictionary has {0} bytes, more than {WORD_BYTES_MAX}")]
    LongWord(usize),
    #[error("the dictionary has more than {WORDS_MAX} words, or more than {WORDS_BYTES_MAX} bytes of them")]
    ManyWords,
    #[error("the confidence is between 1 and 100")]
    Confidence,
    #[error("a context word is one word, of at most {NAME_BYTES_MAX} bytes: {0:?}")]
    Context(String),
    #[error("there are more than {DETECTORS_MAX} detectors")]
    Many,
}

/// Whether the detectors can be used; otherwise the place of the first that cannot, and why.
pub fn check_user_defined(defined: &[UserDetector]) -> Result<(), (usize, UserDetectorError)> {
    let mut names = built_in_names();
    defined.iter().enumerate().try_for_each(|(at, detector)| {
        Compiled::new(detector.clone(), at, &mut names).map(|_| ()).map_err(|error| (at, error))
    })
}

#[derive(Default)]
pub(super) struct UserDetectors {
    compiled: Vec<Compiled>,
    allowance: Allowance,
}

impl Clone for UserDetectors {
    /// For another thread, with an allowance of its own.
    fn clone(&self) -> Self {
        Self { compiled: self.compiled.clone(), allowance: Allowance::default() }
    }
}

#[derive(Clone)]
struct Compiled {
    name: String,
    category: Category,
    confidence_percent: u8,
    checksum: Option<Checksum>,
    context: Vec<String>,
    context_digests: Vec<u32>,
    search: Search,
}

#[derive(Clone)]
enum Search {
    Pattern(Pattern),
    Words { automaton: AhoCorasick, longest_bytes: usize },
}

impl UserDetectors {
    pub(super) fn compile(defined: Vec<UserDetector>) -> Result<Self, UserDetectorError> {
        let mut names = built_in_names();
        let compiled =
            defined.into_iter().enumerate().map(|(at, detector)| Compiled::new(detector, at, &mut names));
        Ok(Self { compiled: compiled.collect::<Result<_, _>>()?, allowance: Allowance::default() })
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.compiled.get(index).map_or("", |detector| &detector.name)
    }

    pub(super) fn list(&self) -> impl Iterator<Item = (DetectorId, &str, Category)> {
        self.compiled.iter().enumerate().map(|(at, it)| (DetectorId::user(at), it.name.as_str(), it.category))
    }

    /// The operator defined none: nothing is to be asked, and nothing is paid for it.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.compiled.is_empty()
    }

    /// Those that the whole value satisfies. `false`: the allowance was spent, so there may be others.
    #[inline(never)]
    pub(super) fn look(
        &self,
        context: &ColumnContext,
        value: &[u8],
        put: &mut impl FnMut(DetectorId, Category, u8),
    ) -> bool {
        self.allowance.earn(value.len(), self.compiled.len());
        self.compiled.iter().enumerate().try_for_each(|(at, detector)| {
            if detector.fits(&self.allowance, value)? && detector.checks(value) {
                let placed = detector.context.is_empty() || context.has_word(&detector.context_digests);
                let confidence = detector.confidence_percent;
                put(
                    DetectorId::user(at),
                    detector.category,
                    if placed { confidence } else { confidence.min(ELSEWHERE_PERCENT) },
                );
            }
            Ok::<(), Spent>(())
        }) == Ok(())
    }

    /// Appends where the certain ones stand alone inside text. `false`: the allowance was spent, so there may be others.
    #[inline(never)]
    pub(super) fn find(&self, text: &[u8], out: &mut Vec<(Range<usize>, Category)>) -> bool {
        self.allowance.earn(text.len(), self.compiled.len());
        let certain = |it: &&Compiled| it.confidence_percent >= super::ALONE_PERCENT_MIN;
        self.compiled
            .iter()
            .filter(certain)
            .try_for_each(|detector| detector.find(&self.allowance, text, out))
            == Ok(())
    }
}

impl Compiled {
    fn new(
        detector: UserDetector,
        at: usize,
        names: &mut HashSet<String>,
    ) -> Result<Self, UserDetectorError> {
        let UserDetector { name, category, matches, checksum, confidence_percent, context } = detector;
        let fail = |problem| UserDetectorError { name: name.clone(), problem };
        if at >= DETECTORS_MAX {
            return Err(fail(UserDetectorProblem::Many));
        }
        if !is_name(&name) {
            return Err(fail(UserDetectorProblem::Name));
        }
        if !names.insert(name.clone()) {
            return Err(fail(UserDetectorProblem::Taken));
        }
        if !(1..=100).contains(&confidence_percent) {
            return Err(fail(UserDetectorProblem::Confidence));
        }
        let odd = |word: &&String| {
            word.is_empty() || word.len() > NAME_BYTES_MAX || !word.chars().all(char::is_alphanumeric)
        };
        if let Some(word) = context.iter().find(odd) {
            return Err(fail(UserDetectorProblem::Context(word.clone())));
        }
        let search = match matches {
            UserMatch::Pattern(pattern) => Pattern::new(&pattern).map(Search::Pattern),
            UserMatch::Dictionary(words) => of_words(&words),
        }
        .map_err(fail)?;
        let context: Vec<String> = context.iter().map(|word| word.to_lowercase()).collect();
        let context_digests = context.iter().map(|word| word_digest(word)).collect();
        Ok(Self { name, category, confidence_percent, checksum, context, context_digests, search })
    }

    /// Whether it is all of the value.
    fn fits(&self, allowance: &Allowance, value: &[u8]) -> Result<bool, Spent> {
        match &self.search {
            Search::Pattern(pattern) => pattern.fits(allowance, value),
            Search::Words { automaton, longest_bytes } => {
                if value.len() > *longest_bytes {
                    return Ok(false);
                }
                allowance.spend(value.len())?;
                Ok(automaton.find(value).is_some_and(|found| found.range() == (0..value.len())))
            }
        }
    }

    fn find(
        &self,
        allowance: &Allowance,
        text: &[u8],
        out: &mut Vec<(Range<usize>, Category)>,
    ) -> Result<(), Spent> {
        let put = |range: Range<usize>| {
            // Its own length for a checksum, and what is read before it for each word.
            let beside = ANNOUNCED_BYTES_MAX.saturating_mul(self.context.len());
            allowance.spend(MATCH_STEPS.saturating_add(range.len()).saturating_add(beside))?;
            let alone =
                !is_word(text.get(..range.start).and_then(<[u8]>::last)) && !is_word(text.get(range.end));
            let checked = || text.get(range.clone()).is_some_and(|value| self.checks(value));
            if alone && self.is_announced(text, range.start) && checked() {
                out.push((range, self.category));
            }
            Ok(())
        };
        match &self.search {
            Search::Pattern(pattern) => pattern.find(allowance, text, put),
            Search::Words { automaton, longest_bytes } => {
                let mut put = put;
                let mut read = 0;
                for found in automaton.find_iter(text) {
                    // To know the longest word, what is behind one may have been read for another.
                    allowance.spend(found.end().saturating_sub(read).saturating_add(*longest_bytes))?;
                    read = found.end();
                    put(found.range())?;
                }
                allowance.spend(text.len().saturating_sub(read))
            }
        }
    }

    /// One of the words it asks for stands shortly before `at`.
    fn is_announced(&self, text: &[u8], at: usize) -> bool {
        let before = text.get(at.saturating_sub(ANNOUNCED_BYTES_MAX)..at).unwrap_or(&[]).to_ascii_lowercase();
        self.context.is_empty()
            || self.context.iter().any(|word| memchr::memmem::find(&before, word.as_bytes()).is_some())
    }

    fn checks(&self, value: &[u8]) -> bool {
        match self.checksum {
            None => true,
            Some(Checksum::Luhn) => luhn(&digits(value)),
            Some(Checksum::Verhoeff) => verhoeff(&digits(value)),
            Some(Checksum::Mod11) => {
                let d = digits(value).reversed();
                let weights: [u32; 32] = std::array::from_fn(|at| u32::try_from(at).unwrap_or(0) + 1);
                d.iter().any(|&digit| digit != 0) && weighted(&d, &weights).is_multiple_of(11)
            }
            Some(Checksum::Mod97) => {
                let mut plain: Vec<u8> =
                    value.iter().filter(|b| b.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
                // `iban_mod97` moves the first four characters to the end: undo that.
                let moved = plain.len().min(4);
                plain.rotate_right(moved);
                iban_mod97(&plain)
            }
        }
    }
}

fn built_in_names() -> HashSet<String> {
    Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect()
}

fn of_words(words: &[String]) -> Result<Search, UserDetectorProblem> {
    let words: Vec<&str> = words.iter().map(|word| word.trim()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(UserDetectorProblem::NoWords);
    }
    if words.len() > WORDS_MAX || words.iter().map(|word| word.len()).sum::<usize>() > WORDS_BYTES_MAX {
        return Err(UserDetectorProblem::ManyWords);
    }
    if let Some(short) = words.iter().find(|word| word.len() < WORD_BYTES_MIN) {
        return Err(UserDetectorProblem::ShortWord((*short).to_owned()));
    }
    let longest_bytes = words.iter().map(|word| word.len()).max().unwrap_or(0);
    if longest_bytes > WORD_BYTES_MAX {
        return Err(UserDetectorProblem::LongWord(longest_bytes));
    }
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        // A table of states would multiply the words' bytes by 256.
        .kind(Some(AhoCorasickKind::ContiguousNFA))
        .build(&words)
        .map(|automaton| Search::Words { automaton, longest_bytes })
        .map_err(|error| UserDetectorProblem::Pattern(error.to_string()))
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 128)
}

/// Confidence of a value whose column has none of the words that its detector asks for: weak evidence.
const ELSEWHERE_PERCENT: u8 = 30;
/// How far before a value in text its words may stand.
const ANNOUNCED_BYTES_MAX: usize = 48;
/// Each is asked about every value.
pub const DETECTORS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
/// What a match costs beside reading.
const MATCH_STEPS: usize = 16;
const WORD_BYTES_MIN: usize = 3;
/// As long as the longest value that is looked at as a whole.
const WORD_BYTES_MAX: usize = super::WHOLE_BYTES_MAX;
const WORDS_MAX: usize = 100_000;
const WORDS_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;
