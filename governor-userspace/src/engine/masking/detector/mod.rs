//! Recognises sensitive values by themselves, without knowing where they come from.
//!
//! Two entrances: [`Detectors::detect`] asks whether a value *is* something (all of it), and
//! [`Detectors::find_in_text`] where something stands inside longer text. Both first look at the bytes'
//! classes (a few nanoseconds, decides for most values), then run one `RegexSet` over the value, then
//! the checksums of the shapes that matched.
//!
//! Time is linear in the value and memory does not depend on it, so values of any length are searched
//! without cutting them into windows. Whole values above `WHOLE_BYTES_MAX` are not recognised by
//! `detect` (nothing but a private key is that long); `find_in_text` still sees what is in them.

mod checksum;
mod first_look;
mod national;
mod shapes;
mod text;

use crate::engine::model::Category;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use shapes::{SHAPES, Shape};
use std::ops::Range;

/// Names a detector; [`Detectors::name`] has its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DetectorId(pub u16);

impl DetectorId {
    fn of(category: Category) -> Self {
        Self(category as u16)
    }
}

/// What a value is, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    pub detector: DetectorId,
    pub category: Category,
    /// 0 to 100: shape alone is about 50, shape with strong checksum or maker's prefix above 90.
    pub confidence_percent: u8,
}

/// The tables could not be compiled: governor's own fault, found at start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("value detectors cannot be built: {0}")]
pub struct DetectorError(#[from] regex::Error);

/// All detectors, compiled. Build once (compiling takes milliseconds) and clone for each thread: a clone
/// shares the patterns and has caches of its own, of at most `DFA_BYTES_MAX` each. Threads that share one
/// would take turns at a lock for every search.
#[derive(Clone)]
pub struct Detectors {
    shapes: Vec<Shape>,
    /// Every shape, anchored at both ends.
    whole: RegexSet,
    text: text::TextSearch,
}

impl Detectors {
    /// Compiles the built-in shapes.
    pub fn new() -> Result<Self, DetectorError> {
        Self::with_shapes(SHAPES)
    }

    fn with_shapes(shapes: &[Shape]) -> Result<Self, DetectorError> {
        let whole = set(shapes.iter().map(|shape| format!("^(?:{})$", shape.pattern)))?;
        Ok(Self { shapes: shapes.to_vec(), whole, text: text::TextSearch::new(shapes)? })
    }

    /// What the whole value is, blanks around it aside; `None` where it is nothing known, or longer
    /// than `WHOLE_BYTES_MAX` bytes. `value` need not be UTF-8.
    pub fn detect(&self, value: &[u8]) -> Option<Finding> {
        let value = value.trim_ascii();
        if value.len() < WHOLE_BYTES_MIN {
            return None;
        }
        if value.len() > WHOLE_BYTES_MAX {
            let key =
                value.starts_with(b"-----BEGIN ") && memchr::memmem::find(value, b"PRIVATE KEY").is_some();
            let (category, detector) = (Category::Credential, DetectorId::of(Category::Credential));
            return key.then_some(Finding { detector, category, confidence_percent: 99 });
        }
        let signs = Signs::of(value);
        let long_enough_for_token = value.len() >= 16;
        if !signs.has_at() && signs.digits < 4 && !signs.has_colon() && !long_enough_for_token {
            return None;
        }
        if signs.is_prose() && !value.starts_with(b"-----BEGIN ") || signs.is_small_number(value) {
            return None;
        }
        if !self.whole.is_match(value) {
            return None;
        }
        self.whole.matches(value).iter().find_map(|at| {
            let shape = self.shapes.get(at)?;
            let detector = DetectorId::of(shape.category);
            (shape.check)(value).then_some(Finding {
                detector,
                category: shape.category,
                confidence_percent: shape.confidence_percent,
            })
        })
    }

    /// The word for a detector.
    pub fn name(&self, id: DetectorId) -> &str {
        Category::ALL.get(usize::from(id.0)).map_or("unknown", |category| category.as_str())
    }

    /// Appends every finding inside `text` as a byte range, sorted and without overlaps.
    ///
    /// Looks for e-mail, cards, IBANs, identity numbers with separators or letters, phones with `+`
    /// or North American grouping, credentials, IPv4, and values after words such as `password:`.
    pub fn find_in_text(&self, text: &[u8], out: &mut Vec<(Range<usize>, Category)>) {
        let signs = Signs::of(text);
        if !signs.has_at() && signs.digits < 2 && !signs.has_mark() || signs.is_small_number(text) {
            return;
        }
        let from = out.len();
        self.text.find(text, &signs, out);
        merge(out, from);
    }
}

impl std::fmt::Debug for Detectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detectors").field("shapes_count", &self.shapes.len()).finish_non_exhaustive()
    }
}

/// Sorts the findings from `from` on and joins those that touch; the earlier one names the category.
fn merge(findings: &mut Vec<(Range<usize>, Category)>, from: usize) {
    let mut fresh = findings.split_off(from);
    fresh.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    for (range, category) in fresh {
        match findings.get_mut(from..).and_then(<[_]>::last_mut) {
            Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
            _ => findings.push((range, category)),
        }
    }
}

/// Which classes of bytes a value has: the cheap first look.
struct Signs {
    classes: u8,
    digits: usize,
}

impl Signs {
    #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
    fn of(value: &[u8]) -> Self {
        let mut signs = Self { classes: 0, digits: 0 };
        for &byte in value {
            let class = BYTE_CLASS[usize::from(byte)];
            signs.classes |= class;
            signs.digits += usize::from(class & DIGIT);
        }
        signs
    }

    fn has_at(&self) -> bool {
        self.classes & AT != 0
    }

    fn has_colon(&self) -> bool {
        self.classes & COLON != 0
    }

    /// Blanks, and a byte that no value with blanks has: a sentence or a statement, not a value. Postal
    /// addresses may have any byte, and a comma; a private key is for the caller to know.
    fn is_prose(&self) -> bool {
        self.classes & (BLANK | PROSE | COMMA) == BLANK | PROSE
    }

    /// Digits only, and fewer than any shape made of digits alone: most keys of most tables.
    fn is_small_number(&self, value: &[u8]) -> bool {
        value.len() < BARE_DIGITS_MIN && self.digits == value.len()
    }

    /// Some sign that credentials without digits have: `:`, `=`, `$`, `-`, `_`, `.`, `/`.
    fn has_mark(&self) -> bool {
        self.classes & (COLON | MARK) != 0
    }
}

/// One set of ASCII patterns. Its lazy DFA falls off its cache at the default size and is then
/// fifteen times slower, so the limit is raised.
fn set(patterns: impl Iterator<Item = String>) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns)
        .unicode(false)
        .size_limit(DFA_BYTES_MAX)
        .dfa_size_limit(DFA_BYTES_MAX)
        .build()
}

fn single(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(false).size_limit(DFA_BYTES_MAX).dfa_size_limit(DFA_BYTES_MAX).build()
}

#[expect(
    clippy::indexing_slicing,
    reason = "a byte is always inside a table of 256; checked at compile time"
)]
const fn byte_classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'A'..=b'Z' | b'a'..=b'z' | b'+' | b'(' | b')' => 0,
            b'-' | b'.' | b'/' => MARK,
            b'=' | b'$' | b'_' => MARK | PROSE,
            b'@' => AT | PROSE,
            b':' => COLON | PROSE,
            b',' => COMMA,
            b' ' => BLANK,
            _ => PROSE,
        };
        byte += 1;
    }
    table
}

/// A digit's class is 1 so that counting needs no branch.
const DIGIT: u8 = 1;
const AT: u8 = 2;
const COLON: u8 = 4;
const MARK: u8 = 8;
const BLANK: u8 = 16;
const COMMA: u8 = 32;
/// Not in any value that has blanks: not a letter or digit, nor one of ` ,+-()./`.
const PROSE: u8 = 64;
static BYTE_CLASS: [u8; 256] = byte_classes();

/// Longest value that `detect` recognises as a whole, in bytes. Past it only private keys count.
pub const WHOLE_BYTES_MAX: usize = 1024;
/// Nothing shorter is told apart from a word or a small number.
const WHOLE_BYTES_MIN: usize = 6;
/// Fewest digits of a number without any other sign: a mobile phone's in several countries.
const BARE_DIGITS_MIN: usize = 10;
/// Ceiling of each lazy DFA's cache per thread, in bytes. A ceiling, not a reservation.
const DFA_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
pub(super) mod tests;
