//! Which patterns match where a word may begin: one automaton over all of them, anchored, asked at each such place.
//!
//! What stands in text counts only where it stands alone, so it begins at the text's start or behind a byte that is
//! neither letter nor digit. Most words end the automaton at their third byte, and a table says which. An automaton that may begin anywhere has
//! to know at every byte all places where a match may have begun: for fifty patterns of digits these are more states
//! than any cache holds, and a state that is made anew costs a hundred times one that is there.
//!
//! Only for patterns that are bounded, so that the work stays linear in the text.

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::util::start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind};
use rustc_hash::FxHashMap;
use std::sync::Arc;

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

pub(super) struct Starts {
    dfa: Arc<DFA>,
    /// One bit for each three classes of bytes that some pattern begins with: nearly all words begin with others.
    heads: Arc<[u64; HEADS_COUNT / 64]>,
    caches: Pool<Cache, MakeCache>,
}

impl Clone for Starts {
    /// With caches of its own, so that threads never wait for each other.
    fn clone(&self) -> Self {
        Self { dfa: self.dfa.clone(), heads: self.heads.clone(), caches: caches(&self.dfa) }
    }
}

fn caches(dfa: &Arc<DFA>) -> Pool<Cache, MakeCache> {
    let dfa = dfa.clone();
    Pool::new(Box::new(move || dfa.create_cache()))
}

impl Starts {
    pub(super) fn new<'p>(patterns: impl Iterator<Item = &'p str>) -> Result<Self, regex::Error> {
        let patterns: Vec<&str> = patterns.collect();
        if patterns.len() > PATTERNS_MAX {
            return Err(regex::Error::Syntax(format!("more than {PATTERNS_MAX} patterns for text")));
        }
        let dfa = DFA::builder()
            .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE_BYTES_MAX))
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build_many(&patterns)
            .map_err(|error| regex::Error::Syntax(error.to_string()))?;
        let dfa = Arc::new(dfa);
        Ok(Self { heads: Arc::new(heads(&dfa)), caches: caches(&dfa), dfa })
    }

    /// One bit for each pattern that matches somewhere. All bits where the automaton gives up.
    pub(super) fn find(&self, text: &[u8]) -> u128 {
        let mut found = 0;
        let mut cache = None;
        let mut begin = |at: usize| {
            let cache = cache.get_or_insert_with(|| self.caches.get());
            match self.walk(cache, text.get(at..).unwrap_or_default()) {
                Some(patterns) => found |= patterns,
                None => found = u128::MAX,
            }
        };
        let mut head = 0;
        // The class of the byte before a head's first.
        let (mut before, mut first, mut second) = (OTHER, OTHER, OTHER);
        for (at, &byte) in text.iter().enumerate() {
            let class = class_of(byte);
            head = (head << CLASS_BITS | usize::from(class)) % HEADS_COUNT;
            // The head that ends here began two bytes ago.
            if before > WORD_LAST
                && at >= 2
                && self.heads.get(head / 64).is_none_or(|bits| bits >> (head % 64) & 1 != 0)
            {
                begin(at - 2);
            }
            (before, first, second) = (first, second, class);
        }
        // What begins so near the end is no head.
        if before > WORD_LAST && text.len() >= 2 {
            begin(text.len() - 2);
        }
        if first > WORD_LAST && !text.is_empty() {
            begin(text.len() - 1);
        }
        found
    }

    /// The patterns that match a beginning of `text`. `None`: who knows.
    fn walk(&self, cache: &mut Cache, text: &[u8]) -> Option<u128> {
        let mut found = 0;
        let mut state = self.dfa.start_state(cache, &beginning()).ok()?;
        // A match is told one byte late.
        for &byte in text {
            state = self.dfa.next_state(cache, state, byte).ok()?;
            if state.is_tagged() {
                if state.is_dead() {
                    return Some(found);
                }
                found |= self.matched(cache, state)?;
            }
        }
        state = self.dfa.next_eoi_state(cache, state).ok()?;
        Some(found | self.matched(cache, state)?)
    }

    fn matched(&self, cache: &Cache, state: LazyStateID) -> Option<u128> {
        if state.is_quit() || state.is_unknown() {
            return None;
        }
        if !state.is_match() {
            return Some(0);
        }
        let patterns =
            (0..self.dfa.match_len(cache, state)).map(|at| self.dfa.match_pattern(cache, state, at));
        Some(
            patterns
                .fold(0, |bits, pattern| bits | 1_u128.checked_shl(pattern.as_u32()).unwrap_or(u128::MAX)),
        )
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

#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn class_of(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Letters in either case, all digits, and what is part of words; then what is not.
static CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0_u8;
    loop {
        #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
        {
            classes[byte as usize] = match byte {
                b'a'..=b'z' => byte - b'a',
                b'A'..=b'Z' => byte - b'A',
                b'0'..=b'9' => 26,
                b'_' => WORD_LAST,
                b'+' | b'(' => 28,
                b' ' => 29,
                128.. => 30,
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

/// At the text's start, or behind what is no part of a word: the same for every pattern.
fn beginning() -> start::Config {
    start::Config::new().anchored(Anchored::Yes).look_behind(Some(b' '))
}

const CLASS_BITS: usize = 5;
const HEADS_COUNT: usize = 1 << (3 * CLASS_BITS);
/// The last class of what is part of a word.
const WORD_LAST: u8 = 27;
const OTHER: u8 = 31;
/// As many as there are bits.
const PATTERNS_MAX: usize = 128;
/// Ceiling for each thread; built-in patterns take a small part of it.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
