//! Which patterns match where a word may begin: one automaton over all of them, anchored, asked at each such place.
//!
//! What stands in text counts only where it stands alone, so it begins at the text's start or behind a byte that is
//! neither letter nor digit. Most words end the automaton at their third byte, and a table says which. An automaton that may begin anywhere has
//! to know at every byte all places where a match may have begun: for fifty patterns of digits these are more states
//! than any cache holds, and a state that is made anew costs a hundred times one that is there.
//!
//! Only for patterns that are bounded, so that the work stays linear in the text.

use super::automaton::{Automaton, Walker, beginning};
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::DFA;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct Starts {
    automaton: Automaton,
    /// One bit for each three classes of bytes that some pattern begins with: nearly all words begin with others.
    heads: Arc<[u64; HEADS_COUNT / 64]>,
    /// For so many digits, one bit for each class of a byte behind them with which some pattern goes on: most numbers are shorter than
    /// what is looked for, or longer.
    numbers: Arc<[u64; DIGITS_MAX + 1]>,
}

/// A search of one text.
pub(super) struct Search<'a> {
    starts: &'a Starts,
    walker: Option<Walker<'a>>,
    /// One bit for each pattern that matches somewhere. All bits where the automaton gives up.
    pub(super) found: u128,
}

impl Starts {
    pub(super) fn new<'p>(patterns: impl Iterator<Item = &'p str>) -> Result<Self, regex::Error> {
        let automaton = Automaton::new(patterns)?;
        let (heads, numbers) = (heads(automaton.dfa()), numbers(automaton.dfa()));
        Ok(Self { heads: Arc::new(heads), numbers: Arc::new(numbers), automaton })
    }

    pub(super) fn search(&self) -> Search<'_> {
        Search { starts: self, walker: None, found: 0 }
    }

    /// Some pattern may begin with what stands here. What is so near the end that it is no head may be anything.
    fn may_begin(&self, text: &[u8]) -> bool {
        let [a, b, c, ..] = text else { return true };
        let head = (usize::from(class_of(*a)) << CLASS_BITS | usize::from(class_of(*b))) << CLASS_BITS
            | usize::from(class_of(*c));
        self.heads.get(head / 64).is_none_or(|bits| bits >> (head % 64) & 1 != 0)
            && (!a.is_ascii_digit() || self.number_may_begin(text))
    }

    /// The same of a text that begins with a digit, by how many there are and what stands behind them.
    fn number_may_begin(&self, text: &[u8]) -> bool {
        let digits = text.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
        let class = text.get(digits).map_or(END, |&byte| class_of(byte));
        self.numbers.get(digits).is_none_or(|bits| bits >> class & 1 != 0)
    }
}

impl Search<'_> {
    /// Asks where words begin in a part of the text that has no blanks. `is_word`: it has nothing but letters, digits and `_`.
    /// `begins` gets each place where some pattern matches, and one bit for each.
    #[inline]
    pub(super) fn ask(
        &mut self,
        text: &[u8],
        part: Range<usize>,
        is_word: bool,
        begins: &mut impl FnMut(usize, u128),
    ) {
        self.begin(text, part.start, begins);
        if is_word {
            return;
        }
        let mut before = WORD_LAST;
        for at in part {
            let class = text.get(at).map_or(OTHER, |&byte| class_of(byte));
            if before > WORD_LAST {
                self.begin(text, at, begins);
            }
            before = class;
        }
    }

    #[inline]
    fn begin(&mut self, text: &[u8], at: usize, begins: &mut impl FnMut(usize, u128)) {
        let rest = text.get(at..).unwrap_or_default();
        if self.starts.may_begin(rest) {
            let found = self.walk(rest);
            if found != 0 {
                self.found |= found;
                begins(at, found);
            }
        }
    }

    #[inline(never)]
    fn walk(&mut self, rest: &[u8]) -> u128 {
        let walker = self.walker.get_or_insert_with(|| self.starts.automaton.walker());
        self.starts.automaton.beginnings(walker, rest).unwrap_or(u128::MAX)
    }
}

/// Where the automaton does not say so, a head may begin a match.
fn heads(dfa: &DFA) -> [u64; HEADS_COUNT / 64] {
    let all = [u64::MAX; HEADS_COUNT / 64];
    let mut heads = [0; HEADS_COUNT / 64];
    let mut cache = dfa.create_cache();
    let Ok(start) = dfa.start_state(&mut cache, &beginning()) else { return all };
    let mut known: FxHashMap<LazyStateID, Vec<(u8, LazyStateID)>> = FxHashMap::default();
    let mut ways = |from: LazyStateID| -> Option<Vec<(u8, LazyStateID)>> {
        if let Some(ways) = known.get(&from) {
            return Some(ways.clone());
        }
        let mut ways = Vec::new();
        for byte in 0..=u8::MAX {
            let to = dfa.next_state(&mut cache, from, byte).ok()?;
            let way = (class_of(byte), to);
            if !to.is_dead() && !ways.contains(&way) {
                ways.push(way);
            }
        }
        // A state's number holds until its cache is cleared.
        (cache.clear_count() == 0).then(|| known.insert(from, ways.clone()))?;
        Some(ways)
    };
    let Some(firsts) = ways(start) else { return all };
    for (a, first) in firsts {
        let Some(seconds) = ways(first) else { return all };
        for (b, second) in seconds {
            let Some(thirds) = ways(second) else { return all };
            for (c, _) in thirds {
                let head = (usize::from(a) << CLASS_BITS | usize::from(b)) << CLASS_BITS | usize::from(c);
                if let Some(bits) = heads.get_mut(head / 64) {
                    *bits |= 1 << (head % 64);
                }
            }
        }
    }
    heads
}

/// Where the automaton does not say so, so many digits and any byte behind them may begin a match.
fn numbers(dfa: &DFA) -> [u64; DIGITS_MAX + 1] {
    let all = [u64::MAX; DIGITS_MAX + 1];
    let mut cache = dfa.create_cache();
    let Ok(start) = dfa.start_state(&mut cache, &beginning()) else { return all };
    let mut numbers = [0; DIGITS_MAX + 1];
    let mut here = vec![start];
    let mut is_matched = false;
    for bits in &mut numbers {
        // What was matched by fewer digits is matched, whatever stands behind.
        if is_matched {
            *bits = u64::MAX;
            continue;
        }
        let mut behind: Vec<LazyStateID> = Vec::new();
        for &state in &here {
            for byte in 0..=u8::MAX {
                let Ok(to) = dfa.next_state(&mut cache, state, byte) else { return all };
                if to.is_dead() {
                    continue;
                }
                if !byte.is_ascii_digit() {
                    *bits |= 1 << class_of(byte);
                } else if !behind.contains(&to) {
                    is_matched |= to.is_match();
                    behind.push(to);
                }
            }
            // A match is told one byte late.
            match dfa.next_eoi_state(&mut cache, state) {
                Ok(end) if !end.is_match() => {}
                Ok(_) => *bits = u64::MAX,
                Err(_) => return all,
            }
        }
        here = behind;
    }
    // A state's number holds until its cache is cleared.
    if cache.clear_count() == 0 { numbers } else { all }
}

#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn class_of(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Letters (numbers begin with capitals, words for them with either), all digits, and what is part of words; then what is not.
static CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0_u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
        {
            classes[byte as usize] = match byte {
                b'a'..=b'z' => byte - b'a',
                b'A'..=b'Z' => byte - b'A' + 26,
                b'0'..=b'9' => 52,
                b'_' => WORD_LAST,
                b'+' | b'(' => 54,
                b' ' => 55,
                128.. => 56,
                b'-' => 57,
                b'.' => 58,
                b'/' => 59,
                b',' => 60,
                b':' => 61,
                _ => OTHER,
            };
        }
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

const CLASS_BITS: usize = 6;
const HEADS_COUNT: usize = 1 << (3 * CLASS_BITS);
/// The last class of what is part of a word.
const WORD_LAST: u8 = 53;
const OTHER: u8 = 63;
/// No class of a byte: behind the last one.
const END: u8 = 62;
/// Digits that are counted; what has more is asked.
const DIGITS_MAX: usize = 8;
