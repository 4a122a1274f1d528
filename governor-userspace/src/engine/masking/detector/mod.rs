//! Recognises sensitive values by themselves, or with what their column says.
//!
//! Entrances: [`Detectors::detect`] asks whether a value *is* something (all of it), [`Detectors::detect_in`] the same
//! of a value whose column is known, [`Detectors::examine`] what it may be at best (for evidence about a column), and
//! [`Detectors::find_in_text`] where something stands inside longer text.
//!
//! All first look at the bytes' classes (a few nanoseconds, decides for most values). Bare numbers go to a table by
//! length, words to dictionaries of names, and the rest to one small `RegexSet` of the shapes that pass the same first
//! look, then to the checksums of the shapes that matched.
//!
//! Time is linear in the value (the operator's detectors, which could take longer, have a bound; a value that they cannot finish within it
//! is a finding as a whole, [`Finding::is_unfinished`]) and memory does not depend on it, so values of any length are searched without cutting them into windows. Whole values above `WHOLE_BYTES_MAX` are not recognised by
//! `detect` (nothing but a private key is that long); `find_in_text` still sees what is in them.

mod address;
mod automaton;
mod checksum;
mod chunks;
mod context;
mod first_look;
mod fit;
mod kind;
mod makers;
mod names;
mod national;
mod near;
mod numbers;
mod shapes;
mod signs;
mod starts;
mod text;
mod user;
mod wallet;

pub use context::ColumnContext;
pub use kind::DetectorId;
pub use user::{
    Checksum, UserDetector, UserDetectorError, UserDetectorProblem, UserMatch, check_user_defined,
};

pub(super) use context::{NAME_WORDS_MAX, word_digest};
pub(super) use kind::Kind;
pub(super) use names::{Look as NameLook, look as look_at_name};

use crate::engine::model::Category;
use chunks::Chunks;
use context::Best;
use fit::{Fits, Table, each_bit};
use near::Near;
use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use shapes::{ALONE_PERCENT_MIN, Group, Shape};
use signs::{Plain, Signs};
use std::ops::Range;
use std::sync::Arc;
use user::UserDetectors;

/// What a value is, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    pub detector: DetectorId,
    pub category: Category,
    /// 0 to 100: shape alone is about 50, shape with strong checksum or maker's prefix above 90. Below 50 the value
    /// alone says too little.
    pub confidence_percent: u8,
}

impl Finding {
    /// The operator's detectors came to the bound of their work before they came to the value's end: nobody knows what it is.
    const UNFINISHED: Self =
        Self { detector: DetectorId::UNFINISHED, category: Category::Other, confidence_percent: 100 };

    /// Nothing was found: the search came to its bound. Whoever masks masks the whole value.
    pub fn is_unfinished(&self) -> bool {
        self.detector == DetectorId::UNFINISHED
    }
}

/// The tables could not be compiled: governor's own fault, found at start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("value detectors cannot be built: {0}")]
pub struct DetectorError(#[from] regex::Error);

/// All detectors, compiled. Build once (compiling takes some fifty milliseconds) and clone for each thread: a clone
/// shares the patterns and has caches of its own, of at most `DFA_BYTES_MAX` each. Threads that share one
/// would take turns at a lock for every search.
#[derive(Clone)]
pub struct Detectors {
    mail: ShapeSet,
    token: ShapeSet,
    id: ShapeSet,
    /// Those that count in context only.
    weak_id: ShapeSet,
    place: ShapeSet,
    text: text::TextSearch,
    user: UserDetectors,
}

/// Shapes that pass the same first look, anchored at both ends.
#[derive(Clone)]
struct ShapeSet {
    shapes: Vec<Shape>,
    automata: Automata,
}

#[derive(Clone)]
enum Automata {
    /// For shapes that mostly differ at their beginnings.
    Each(Arc<Fits>),
    /// For shapes that begin with anything.
    One(Arc<Table>),
}

impl ShapeSet {
    fn new(shapes: &[Shape], wanted: impl Fn(&Shape) -> bool) -> Result<Self, regex::Error> {
        let shapes: Vec<Shape> = shapes.iter().filter(|shape| wanted(shape)).copied().collect();
        let patterns: Vec<&str> = shapes.iter().map(|shape| shape.pattern).collect();
        let automata = if shapes.iter().any(|shape| shape.group == Group::Place) {
            Automata::One(Arc::new(Table::new(&patterns)?))
        } else {
            Automata::Each(Arc::new(Fits::new(patterns.into_iter())?))
        };
        Ok(Self { shapes, automata })
    }

    /// The shapes that the value has and whose check holds.
    fn each(&self, value: &[u8], put: &mut impl FnMut(DetectorId, Category, u8)) {
        for at in each_bit(match &self.automata {
            Automata::Each(fits) => fits.whole(value),
            Automata::One(table) => table.whole(value),
        }) {
            if let Some(shape) = self.shapes.get(at)
                && (shape.check)(value)
            {
                put(shape.kind.into(), shape.kind.category(), shape.confidence_percent);
            }
        }
    }
}

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// For what counts by itself.
    Alone,
    /// For what counts in context too.
    Context,
}

impl Detectors {
    /// Compiles the built-in shapes.
    pub fn new() -> Result<Self, DetectorError> {
        Self::with_shapes(&shapes::all())
    }

    /// The built-in ones and what the operator defined.
    pub fn with_user_defined(defined: Vec<UserDetector>) -> Result<Self, UserDetectorError> {
        let mut detectors = Self::new().map_err(|error| UserDetectorError {
            name: String::new(),
            problem: UserDetectorProblem::Pattern(error.to_string()),
        })?;
        detectors.user = UserDetectors::compile(defined)?;
        Ok(detectors)
    }

    fn with_shapes(shapes: &[Shape]) -> Result<Self, DetectorError> {
        let strong = |shape: &Shape| shape.confidence_percent >= ALONE_PERCENT_MIN;
        let group = |wanted: Group| ShapeSet::new(shapes, |shape| shape.group == wanted && strong(shape));
        Ok(Self {
            mail: group(Group::Mail)?,
            token: group(Group::Token)?,
            id: group(Group::Id)?,
            weak_id: ShapeSet::new(shapes, |shape| !strong(shape))?,
            place: group(Group::Place)?,
            text: text::TextSearch::new(shapes)?,
            user: UserDetectors::default(),
        })
    }

    /// The name of a detector, as findings and configuration spell it; empty where there is none of that number.
    pub fn name(&self, id: DetectorId) -> &str {
        match (id.kind(), id.user_index()) {
            (Some(kind), _) => kind.name(),
            (None, Some(index)) => self.user.name(index),
            (None, None) => "",
        }
    }

    /// All detectors: number, name and category.
    pub fn list(&self) -> impl Iterator<Item = (DetectorId, &str, Category)> {
        let built_in = Kind::ALL.iter().map(|&kind| (DetectorId::from(kind), kind.name(), kind.category()));
        built_in.chain(self.user.list())
    }

    /// What the whole value is, blanks around it aside; `None` where it is nothing known, or longer
    /// than `WHOLE_BYTES_MAX` bytes. `value` need not be UTF-8.
    pub fn detect(&self, value: &[u8]) -> Option<Finding> {
        self.detect_in(ColumnContext::UNKNOWN, value)
    }

    /// What the whole value is, with what its column says: a hint in the name lifts weak shapes, the name of a
    /// reference lowers what arithmetic alone says.
    pub fn detect_in(&self, context: ColumnContext, value: &[u8]) -> Option<Finding> {
        let value = value.trim_ascii();
        self.whole(context, value, &Signs::of(value))
    }

    /// Both at once: what the whole value is, or else what stands in it, appended to `out`.
    pub fn search(
        &self,
        context: ColumnContext,
        value: &[u8],
        out: &mut Vec<(Range<usize>, Category)>,
    ) -> Option<Finding> {
        let trimmed = trimmed(value);
        let signs = Signs::of(trimmed);
        let whole = self.whole(context, trimmed, &signs);
        if whole.is_some() {
            return whole;
        }
        let finished = if trimmed.len() == value.len() {
            self.find_inside(value, &signs, out)
        } else {
            self.find_inside(value, &Signs::of(value), out)
        };
        (!finished).then_some(Finding::UNFINISHED)
    }

    /// What the whole value is by what the operator defined alone.
    pub(super) fn user_defined(&self, context: ColumnContext, value: &[u8]) -> Option<Finding> {
        let value = value.trim_ascii();
        let mut best = Best::default();
        let finished = self.user.is_empty()
            || value.len() > WHOLE_BYTES_MAX
            || self.user.look(&context, value, &mut |detector, category, confidence_percent| {
                let finding = Finding { detector, category, confidence_percent };
                best.offer(detector, category, context.weigh(finding));
            });
        counts(best, finished)
    }

    fn whole(&self, context: ColumnContext, value: &[u8], signs: &Signs) -> Option<Finding> {
        let depth = if context.lifts() { Depth::Context } else { Depth::Alone };
        let mut best = Best::default();
        let finished =
            self.look(&context, value, signs, depth, &mut |detector, category, confidence_percent| {
                let finding = Finding { detector, category, confidence_percent };
                best.offer(detector, category, context.weigh(finding));
            });
        counts(best, finished)
    }

    /// The most that the whole value may be, weak as it may be: for evidence about its column, not for masking.
    pub fn examine(&self, value: &[u8]) -> Option<Finding> {
        let mut best = Best::default();
        self.examine_all(value, &mut |finding| {
            best.offer(finding.detector, finding.category, finding.confidence_percent);
        });
        best.0
    }

    /// Everything that the whole value may be.
    pub(super) fn examine_all(&self, value: &[u8], put: &mut impl FnMut(Finding)) {
        let value = value.trim_ascii();
        self.look(
            &ColumnContext::UNKNOWN,
            value,
            &Signs::of(value),
            Depth::Context,
            &mut |detector, category, confidence_percent| {
                put(Finding { detector, category, confidence_percent });
            },
        );
    }

    /// The year of a value that is a date, and whether a time stands behind it.
    pub(super) fn date_of(value: &[u8]) -> Option<(u16, bool)> {
        let value = value.trim_ascii();
        match Signs::of(value).plain(value) {
            Some(Plain::Date { year, has_time }) => Some((year, has_time)),
            _ => None,
        }
    }

    /// `value` has no blanks around it. `false`: the operator's detectors were not all asked.
    fn look(
        &self,
        context: &ColumnContext,
        value: &[u8],
        signs: &Signs,
        depth: Depth,
        put: &mut impl FnMut(DetectorId, Category, u8),
    ) -> bool {
        let finished =
            self.user.is_empty() || value.len() > WHOLE_BYTES_MAX || self.user.look(context, value, put);
        self.look_built_in(value, signs, depth, put);
        finished
    }

    fn look_built_in(
        &self,
        value: &[u8],
        signs: &Signs,
        depth: Depth,
        put: &mut impl FnMut(DetectorId, Category, u8),
    ) {
        let deep = depth == Depth::Context;
        if value.len() < if deep { NAME_BYTES_MIN } else { WHOLE_BYTES_MIN } {
            return;
        }
        if signs.has_blank() && value.starts_with(b"-----BEGIN ") {
            // Only a key in PEM begins so.
            let is_long = value.len() > WHOLE_BYTES_MAX;
            if is_private_key(value) || is_long && memchr::memmem::find(value, b"PRIVATE KEY").is_some() {
                put(Kind::PrivateKey.into(), Category::Credential, 99);
            }
            return;
        }
        if value.len() > WHOLE_BYTES_MAX {
            return;
        }
        if signs.digits == value.len() {
            for number in numbers::of_length(value.len()) {
                if (deep || number.confidence_percent >= ALONE_PERCENT_MIN) && number.holds(value) {
                    put(number.kind.into(), number.kind.category(), number.confidence_percent);
                }
            }
            return;
        }
        let is_japanese = names::begins_japanese(value);
        if signs.digits == 0
            && (signs.has_blank() && signs.has_capital() || deep || is_japanese)
            && let Some((kind, confidence)) = names::look(value).name
        {
            put(kind.into(), kind.category(), confidence);
        }
        if is_japanese && signs.digits > 0 {
            let confidence = address::judge_japanese(value);
            if confidence > 0 {
                put(Kind::Address.into(), Category::Address, confidence);
            }
        }
        // The stripe of a card has blanks, and begins like nothing else.
        let is_track = value.starts_with(b"%B");
        if signs.has_blank() && signs.digits > 0 && !is_track && value.len() <= PLACE_BYTES_MAX {
            let has = |byte: u8| signs.has_other() && value.contains(&byte);
            let may_be_coordinates = value.starts_with(b"P") || has(0xb0);
            let has_parts = (signs.has_comma() || has(b'\n')) && signs.digits >= 2 || may_be_coordinates;
            let is_written = signs.has_capital() && !signs.has_at();
            if has_parts || is_written {
                let address = address::look(value);
                // Patterns of addresses are no surer than this; those of coordinates are.
                let is_known = !deep && is_written && address.confidence_percent >= PLACES_PERCENT_MAX;
                if has_parts && !address.is_sentence && (!is_known || may_be_coordinates) {
                    self.place.each(value, put);
                }
                if is_written && address.confidence_percent > 0 {
                    put(Kind::Address.into(), Category::Address, address.confidence_percent);
                }
            }
        }
        if signs.is_prose() && !is_track {
            return;
        }
        match signs.plain(value) {
            None => {}
            Some(Plain::Date { year, has_time: false }) if deep && BIRTH_YEARS.contains(&year) => {
                put(Kind::BirthDate.into(), Category::BirthDate, 30);
                return;
            }
            Some(_) => return,
        }
        if signs.has_at() && !signs.has_blank() {
            self.mail.each(value, put);
        }
        if value.len() >= TOKEN_BYTES_MIN && !signs.has_blank() || is_track {
            self.token.each(value, put);
        }
        if value.len() <= ID_BYTES_MAX {
            // Bank codes, Italian numbers of which letters stand for the digits, vehicles and network cards.
            let may_be_letters =
                signs.has_capital() && matches!(value.len(), 8 | 11 | 16) || value.len() == 17;
            if signs.digits >= 4
                || signs.has_colon()
                || signs.digits > 0 && signs.has_capital()
                || may_be_letters
            {
                self.id.each(value, put);
            }
            if deep {
                self.weak_id.each(value, put);
            }
        }
    }

    /// Appends every finding inside `text` as a byte range, sorted and without overlaps.
    ///
    /// Looks for e-mail, cards, IBANs, identity numbers with separators or letters, phones with `+`
    /// or North American grouping, credentials, IPv4, full names, streets with a number, values after words such as
    /// `password:`, and what the operator defined. `false`: the operator's detectors came to the bound of their work, and
    /// all of the text is one finding.
    pub fn find_in_text(&self, text: &[u8], out: &mut Vec<(Range<usize>, Category)>) -> bool {
        self.find_inside(text, &Signs::of(text), out)
    }

    fn find_inside(&self, text: &[u8], signs: &Signs, out: &mut Vec<(Range<usize>, Category)>) -> bool {
        let from = out.len();
        if !self.user.is_empty() && !self.user.find(text, out) {
            out.truncate(from);
            out.push((0..text.len(), Category::Other));
            return false;
        }
        self.find_built_in(text, signs, from, out);
        true
    }

    /// What the operator's detectors found stands behind `from`.
    fn find_built_in(
        &self,
        text: &[u8],
        signs: &Signs,
        from: usize,
        out: &mut Vec<(Range<usize>, Category)>,
    ) {
        // What is one number, date, digest or short word has nothing inside: the whole of it is for `detect`.
        let is_whole = signs.digits == text.len() || signs.is_one_word() && text.len() < TOKEN_BYTES_MIN;
        if is_whole || signs.plain(text).is_some() {
            return;
        }
        let has_words = signs.has_capital() && signs.has_blank();
        let has_numbers = signs.has_at() || signs.digits >= 2 || signs.has_mark();
        let mut near = Near::default();
        if has_numbers {
            self.text.find(text, signs, out, |chunk| {
                if has_words {
                    near.note(text, chunk);
                }
            });
        } else if has_words {
            Chunks::of(text).for_each(|chunk| near.note(text, &chunk));
        }
        near.finish(text, out);
        merge(out, from);
    }
}

/// Without blanks around it. Few values have any, which two comparisons tell.
#[inline]
fn trimmed(value: &[u8]) -> &[u8] {
    match value {
        [first, .., last] if *first > b' ' && *last > b' ' => value,
        _ => value.trim_ascii(),
    }
}

/// What counts by itself, or else that the search was not finished.
fn counts(best: Best, finished: bool) -> Option<Finding> {
    let certain = best.0.filter(|finding| finding.confidence_percent >= ALONE_PERCENT_MIN);
    certain.or((!finished).then_some(Finding::UNFINISHED))
}

/// A whole PEM block of a private key: what stands between its first dashes says so.
fn is_private_key(value: &[u8]) -> bool {
    let label = value.strip_prefix(b"-----BEGIN ").unwrap_or_default();
    let bytes = label.iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b' ');
    let (label, rest) = label.split_at(bytes.count());
    let label = label.strip_suffix(b" BLOCK").unwrap_or(label);
    label.ends_with(b"PRIVATE KEY") && rest.starts_with(b"-----")
}

impl std::fmt::Debug for Detectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detectors").field("count", &self.list().count()).finish_non_exhaustive()
    }
}

/// Sorts the findings from `from` on and joins those that touch; the earlier one names the category.
fn merge(findings: &mut Vec<(Range<usize>, Category)>, from: usize) {
    if findings.len() <= from + 1 {
        return;
    }
    let mut fresh = findings.split_off(from);
    fresh.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    for (range, category) in fresh {
        match findings.get_mut(from..).and_then(<[_]>::last_mut) {
            Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
            _ => findings.push((range, category)),
        }
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

/// Longest value that `detect` recognises as a whole, in bytes. Past it only private keys count.
pub const WHOLE_BYTES_MAX: usize = 1024;
/// Nothing shorter is told apart from a word or a small number.
const WHOLE_BYTES_MIN: usize = 6;
/// Shortest name.
const NAME_BYTES_MIN: usize = 2;
/// Shortest token of a known maker, or hash.
const TOKEN_BYTES_MIN: usize = 15;
/// Longest number with letters and separators: a line of a machine-readable zone, a long IBAN with blanks.
const ID_BYTES_MAX: usize = 64;
/// Longest postal address that a pattern is tried on.
const PLACE_BYTES_MAX: usize = 160;
/// The surest pattern of a postal address.
const PLACES_PERCENT_MAX: u8 = 65;
/// Years in which living people were born; a date of them is weak evidence.
const BIRTH_YEARS: std::ops::RangeInclusive<u16> = 1910..=2015;
/// Ceiling of each lazy DFA's cache per thread, in bytes. A ceiling, not a reservation.
const DFA_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
pub(super) mod tests;
