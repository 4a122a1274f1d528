//! Which patterns match where a word may begin: one automaton over all of them, anchored, asked at each such place.
//!
//! What stands in text counts only where it stands alone, so it begins at the text's start or behind a byte that is
//! neither letter nor digit. Most words end the automaton at their second byte. An automaton that may begin anywhere has
//! to know at every byte all places where a match may have begun: for fifty patterns of digits these are more states
//! than any cache holds, and a state that is made anew costs a hundred times one that is there.
//!
//! Only for patterns that are bounded, so that the work stays linear in the text.

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::util::start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind};
use std::sync::Arc;

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

pub(super) struct Starts {
    dfa: Arc<DFA>,
    /// One bit for each two bytes that some pattern begins with: most words begin with others.
    pairs: Arc<[u64]>,
    caches: Pool<Cache, MakeCache>,
}

impl Clone for Starts {
    /// With caches of its own, so that threads never wait for each other.
    fn clone(&self) -> Self {
        Self { dfa: self.dfa.clone(), pairs: self.pairs.clone(), caches: caches(&self.dfa) }
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
        Ok(Self { pairs: pairs(&dfa).into(), caches: caches(&dfa), dfa })
    }

    /// One bit for each pattern that matches somewhere. All bits where the automaton gives up.
    pub(super) fn find(&self, text: &[u8]) -> u128 {
        let mut found = 0;
        let mut cache = None;
        let mut inside = false;
        for (at, &byte) in text.iter().enumerate() {
            let may_begin = !inside && self.may_begin(byte, text.get(at + 1).copied());
            inside = byte.is_ascii_alphanumeric() || byte == b'_';
            if may_begin {
                let cache = cache.get_or_insert_with(|| self.caches.get());
                match self.walk(cache, text.get(at..).unwrap_or_default()) {
                    Some(patterns) => found |= patterns,
                    None => return u128::MAX,
                }
            }
        }
        found
    }

    fn may_begin(&self, first: u8, second: Option<u8>) -> bool {
        let Some(second) = second else { return true };
        let pair = usize::from(first) << 8 | usize::from(second);
        self.pairs.get(pair / 64).is_none_or(|bits| bits >> (pair % 64) & 1 != 0)
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

    fn matched(&self, cache: &Cache, state: regex_automata::hybrid::LazyStateID) -> Option<u128> {
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

/// Where the automaton does not say so, a pair may begin a match.
fn pairs(dfa: &DFA) -> Vec<u64> {
    let mut pairs = vec![0; (1 << 16) / 64];
    let mut cache = dfa.create_cache();
    for first in 0..=u8::MAX {
        let start = dfa.start_state(&mut cache, &beginning()).ok();
        let after = start.and_then(|state| dfa.next_state(&mut cache, state, first).ok());
        if after.is_some_and(|state| state.is_dead()) {
            continue;
        }
        for second in 0..=u8::MAX {
            // Asked anew each time: the cache may have been cleared in between.
            let start = dfa.start_state(&mut cache, &beginning()).ok();
            let after = start.and_then(|state| dfa.next_state(&mut cache, state, first).ok());
            let after = after.and_then(|state| dfa.next_state(&mut cache, state, second).ok());
            let pair = usize::from(first) << 8 | usize::from(second);
            if let Some(bits) = pairs.get_mut(pair / 64)
                && !after.is_some_and(|state| state.is_dead())
            {
                *bits |= 1 << (pair % 64);
            }
        }
    }
    pairs
}

/// At the text's start, or behind what is no part of a word: the same for every pattern.
fn beginning() -> start::Config {
    start::Config::new().anchored(Anchored::Yes).look_behind(Some(b' '))
}

/// As many as there are bits.
const PATTERNS_MAX: usize = 128;
/// Ceiling for each thread; built-in patterns take a small part of it.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
