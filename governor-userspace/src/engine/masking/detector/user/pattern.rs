//! One pattern of the operator's, and searching for it so that the work is known.
//!
//! Two automatons whose states are made as texts need them: one forward, which tells where the leftmost match ends, one backward from there, which
//! tells where it begins, or whether a whole value fits. They count the bytes that they read and give up where they would make states
//! faster than they read; a search that would go on by slower means is not begun. So each step is paid for out of the [`Allowance`].
//!
//! Words in `\b` are of ASCII letters, digits and `_`: no automaton of a bounded size knows those of all scripts. What stands in text must stand
//! alone all the same, and there every byte beyond ASCII is part of a word.

use super::UserDetectorProblem;
use super::allowance::{Allowance, Spent};
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::util::prefilter::Prefilter;
use regex_automata::{Anchored, HalfMatch, Input, MatchError, MatchKind};
use regex_syntax::hir::{Hir, HirKind, Look, Repetition};
use std::ops::Range;
use std::sync::Arc;

type MakeWalker =
    Box<dyn Fn() -> (Walker, Walker) + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

pub(super) struct Pattern {
    /// Forward, and backward.
    automatons: Arc<(DFA, DFA)>,
    walkers: Pool<(Walker, Walker), MakeWalker>,
}

/// The states that one thread has made of an automaton.
struct Walker {
    cache: Cache,
    /// What it takes up to here was made for nothing. All the room at first, since those states are made once and serve all values;
    /// then what ordinary values need, so that one which filled the room does not make them want.
    free_bytes: usize,
    /// What it takes without any state.
    empty_bytes: usize,
}

type SearchWay = fn(&DFA, &mut Cache, &Input<'_>) -> Result<Option<HalfMatch>, MatchError>;

impl Clone for Pattern {
    /// With caches of its own, so that threads never wait for each other.
    fn clone(&self) -> Self {
        Self { automatons: self.automatons.clone(), walkers: walkers(&self.automatons) }
    }
}

fn walkers(automatons: &Arc<(DFA, DFA)>) -> Pool<(Walker, Walker), MakeWalker> {
    let automatons = automatons.clone();
    let walker = |dfa: &DFA| {
        let cache = dfa.create_cache();
        Walker { empty_bytes: cache.memory_usage(), free_bytes: CACHE_BYTES_MAX, cache }
    };
    Pool::new(Box::new(move || (walker(&automatons.0), walker(&automatons.1))))
}

impl Pattern {
    /// Refused is what does not compile, fits the empty value or values of any length, or is too large.
    pub(super) fn new(pattern: &str) -> Result<Self, UserDetectorProblem> {
        let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern);
        let hir = parsed.map_err(|error| UserDetectorProblem::Pattern(last_line(&error.to_string())))?;
        let hir =
            if hir.properties().look_set().contains_word_unicode() { with_ascii_words(hir) } else { hir };
        if hir.properties().minimum_len() == Some(0) {
            return Err(UserDetectorProblem::MatchesEmpty);
        }
        let automatons = Arc::new((automaton(&hir, false)?, automaton(&hir, true)?));
        // What has no end could be begun anywhere and read to the text's end each time.
        if hir.properties().maximum_len().is_none_or(|bytes| bytes > PATTERN_FITS_BYTES_MAX) {
            return Err(UserDetectorProblem::Unbounded);
        }
        Ok(Self { walkers: walkers(&automatons), automatons })
    }

    /// Whether all of the value fits.
    pub(super) fn fits(&self, allowance: &Allowance, value: &[u8]) -> Result<bool, Spent> {
        let mut walkers = self.walkers.get();
        let (_, backward) = &mut *walkers;
        let input = Input::new(value).anchored(Anchored::Yes);
        let begins = backward.search(&self.automatons.1, allowance, &input, DFA::try_search_rev)?;
        Ok(begins.is_some_and(|at| at.offset() == 0))
    }

    /// Tells each match in the text, from left to right, none of which overlaps another.
    pub(super) fn find(
        &self,
        allowance: &Allowance,
        text: &[u8],
        mut put: impl FnMut(Range<usize>) -> Result<(), Spent>,
    ) -> Result<(), Spent> {
        let mut walkers = self.walkers.get();
        let (forward, backward) = &mut *walkers;
        let mut at = 0;
        while at < text.len() {
            let input = Input::new(text).range(at..);
            let Some(end) = forward.search(&self.automatons.0, allowance, &input, DFA::try_search_fwd)?
            else {
                return Ok(());
            };
            let input = Input::new(text).range(at..end.offset()).anchored(Anchored::Yes);
            let begins = backward.search(&self.automatons.1, allowance, &input, DFA::try_search_rev)?;
            // What ends somewhere began somewhere; else nobody knows where.
            put(begins.ok_or(Spent)?.offset()..end.offset())?;
            at = end.offset().max(at + 1);
        }
        Ok(())
    }
}

impl Walker {
    /// One search, paid for. Where the states of earlier values leave too little room it begins anew, once.
    fn search(
        &mut self,
        dfa: &DFA,
        allowance: &Allowance,
        input: &Input<'_>,
        way: SearchWay,
    ) -> Result<Option<HalfMatch>, Spent> {
        for _ in 0..2 {
            let before = (self.cache.clear_count(), self.cache.search_total_len(), self.cache.memory_usage());
            let found = way(dfa, &mut self.cache, input);
            let clears = self.cache.clear_count().saturating_sub(before.0);
            let made = self.cache.memory_usage().saturating_sub(before.2.max(self.free_bytes));
            let made = made.saturating_add(clears.saturating_mul(CACHE_BYTES_MAX));
            // Clearing forgets what was read before.
            let read = match clears {
                0 => self.cache.search_total_len().saturating_sub(before.1),
                _ => input.get_span().len(),
            };
            if found.is_err() {
                self.cache.reset(dfa);
            }
            if found.is_err() || clears > 0 {
                self.free_bytes = self.empty_bytes.saturating_add(FREE_BYTES);
            }
            allowance.spend(read.saturating_add(made.saturating_mul(STEPS_FOR_BYTE_MADE)))?;
            if let Ok(found) = found {
                return Ok(found);
            }
        }
        Err(Spent)
    }
}

fn automaton(hir: &Hir, backward: bool) -> Result<DFA, UserDetectorProblem> {
    let kind = if backward { MatchKind::All } else { MatchKind::LeftmostFirst };
    let config = thompson::Config::new()
        .utf8(false)
        .reverse(backward)
        .which_captures(WhichCaptures::None)
        .nfa_size_limit(Some(PATTERN_BYTES_MAX));
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(hir).map_err(|error| match error
        .size_limit()
    {
        Some(_) => UserDetectorProblem::TooLarge,
        None => UserDetectorProblem::Pattern(last_line(&error.to_string())),
    })?;
    // Where a match must begin with one of a few words, what is between them is skipped.
    let skip = if backward { None } else { Prefilter::from_hir_prefix(kind, hir) };
    let config = DFA::config()
        .match_kind(kind)
        .specialize_start_states(skip.is_some())
        .prefilter(skip)
        .cache_capacity(CACHE_BYTES_MAX)
        .minimum_cache_clear_count(Some(0))
        // Each state may be left by every class of bytes, and each of these ways is made once.
        .minimum_bytes_per_state(Some(READ_FOR_STATE_MIN.saturating_add(nfa.byte_classes().alphabet_len())));
    let built = DFA::builder().configure(config).build_from_nfa(nfa);
    built.map_err(|_| UserDetectorProblem::TooLarge)
}

fn with_ascii_words(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            other => other,
        }),
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            Hir::repetition(Repetition { min, max, greedy, sub: Box::new(with_ascii_words(*sub)) })
        }
        // Groups tell nothing that is asked.
        HirKind::Capture(capture) => with_ascii_words(*capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(with_ascii_words).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(with_ascii_words).collect()),
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
    }
}

/// The reason without the drawing of the pattern above it.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

/// Compiled size of one pattern: enough for a thousand characters, too little for `.{1000}{1000}`.
pub(super) const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Longest value that a pattern may fit: how far one start in a text can read.
pub(super) const PATTERN_FITS_BYTES_MAX: usize = 1024;
/// Room for the states of one automaton of one thread, taken as it is needed.
const CACHE_BYTES_MAX: usize = 2 << 20;
/// An automaton whose room is full gives up where it read fewer bytes for each state, those for its classes beside.
const READ_FOR_STATE_MIN: usize = 16;
/// States that are made for nothing each time that the room was full: a thirtieth of it.
const FREE_BYTES: usize = 64 << 10;
/// What making a state costs for each byte of it, in reading steps.
const STEPS_FOR_BYTE_MADE: usize = 4;

#[cfg(test)]
mod tests;
