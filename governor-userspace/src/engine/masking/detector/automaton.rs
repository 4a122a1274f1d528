//! Which of many patterns fit: one anchored automaton over all of them, whose states are made as values need them.
//!
//! One walk tells all patterns that fit, and most words end it within a few bytes: it stops where nothing can fit any more. So it is for
//! beginnings of words, which use few of its states; whole values have tables of their own (`fit.rs`).

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::pool::{Pool, PoolGuard};
use regex_automata::util::start;
use regex_automata::util::syntax;
use regex_automata::{Anchored, MatchKind};
use std::sync::Arc;

type MakeCache = Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

/// What one thread has made of the automaton so far.
pub(super) type Walker<'a> = PoolGuard<'a, Cache, MakeCache>;

pub(super) struct Automaton {
    dfa: Arc<DFA>,
    caches: Pool<Cache, MakeCache>,
}

impl Clone for Automaton {
    /// With caches of its own, so that threads never wait for each other.
    fn clone(&self) -> Self {
        Self { dfa: self.dfa.clone(), caches: caches(&self.dfa) }
    }
}

fn caches(dfa: &Arc<DFA>) -> Pool<Cache, MakeCache> {
    let dfa = dfa.clone();
    Pool::new(Box::new(move || dfa.create_cache()))
}

impl Automaton {
    pub(super) fn new<P: AsRef<str>>(patterns: impl Iterator<Item = P>) -> Result<Self, regex::Error> {
        let patterns: Vec<P> = patterns.collect();
        if patterns.len() > PATTERNS_MAX {
            return Err(regex::Error::Syntax(format!("more than {PATTERNS_MAX} patterns for one automaton")));
        }
        let dfa = DFA::builder()
            .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE_BYTES_MAX))
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build_many(&patterns)
            .map_err(|error| regex::Error::Syntax(error.to_string()))?;
        let dfa = Arc::new(dfa);
        Ok(Self { caches: caches(&dfa), dfa })
    }

    pub(super) fn dfa(&self) -> &DFA {
        &self.dfa
    }

    pub(super) fn walker(&self) -> Walker<'_> {
        self.caches.get()
    }

    /// One bit for each pattern that matches a beginning of `text`. `None`: who knows.
    pub(super) fn beginnings(&self, cache: &mut Cache, text: &[u8]) -> Option<u128> {
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

/// At the text's start, or behind what is no part of a word: the same for every pattern.
pub(super) fn beginning() -> start::Config {
    start::Config::new().anchored(Anchored::Yes).look_behind(Some(b' '))
}

/// As many as there are bits.
const PATTERNS_MAX: usize = 128;
/// Ceiling for each thread; built-in patterns take a small part of it.
const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;
