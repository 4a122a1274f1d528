//! Which of a group of patterns fit a whole value: tables made once, read without a lock and without a cache of one's own.
//!
//! Each pattern has a small automaton of its own, a table of some hundred bytes. One automaton of all patterns has a table that
//! does not fit into a processor's nearest memory, and values of ten columns in turn wait for it at every
//! byte. So the value's length, its first bytes and its last say first which patterns are asked: mostly none or one.
//!
//! Invariant: the first look never says no where a pattern fits; tests make values of every pattern and ask.

use super::automaton::beginning;
use regex_automata::MatchKind;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use rustc_hash::FxHashMap;

/// Patterns of which few look alike at their beginnings: one automaton for each.
pub(super) struct Fits {
    tables: Vec<Table>,
    /// Patterns by the value's length; the last is for all that are longer.
    by_length: Vec<u128>,
    /// Bytes that all patterns treat alike in the places that are looked at.
    classes: Box<[u8; 256]>,
    /// Patterns by class and place: the first places, then the last.
    by_place: Vec<[u128; PLACES_COUNT]>,
}

/// An automaton, all states of which are made.
pub(super) struct Table {
    classes: Box<[u8; 256]>,
    classes_count: usize,
    /// The state behind each state and class. A state is the place where its
    /// classes begin: the dead one is 0, the first one stands behind it, those that a value may end in come last.
    next: Vec<u32>,
    /// The first state that a value may end in.
    first_end: u32,
    /// One bit for each pattern that a value fits which ends in the state.
    ends: Vec<u128>,
}

impl Fits {
    pub(super) fn new<'p>(patterns: impl Iterator<Item = &'p str>) -> Result<Self, regex::Error> {
        let tables = patterns.map(|pattern| Table::new(&[pattern])).collect::<Result<Vec<_>, _>>()?;
        if tables.len() > PATTERNS_MAX {
            return Err(regex::Error::Syntax(format!("more than {PATTERNS_MAX} patterns in one group")));
        }
        let mut by_length = vec![0; LENGTHS_COUNT];
        let mut rows = vec![[0_u128; PLACES_COUNT]; 256];
        for (at, table) in tables.iter().enumerate() {
            table.describe(1 << at, &mut by_length, &mut rows);
        }
        let (mut classes, mut by_place) = (Box::new([0; 256]), Vec::new());
        for (class, row) in classes.iter_mut().zip(rows) {
            let known = by_place.iter().position(|known| *known == row).unwrap_or(by_place.len());
            if known == by_place.len() {
                by_place.push(row);
            }
            // At most 256 rows differ.
            *class = u8::try_from(known).unwrap_or(u8::MAX);
        }
        Ok(Self { tables, by_length, classes, by_place })
    }

    /// One bit for each pattern that fits the whole value.
    pub(super) fn whole(&self, value: &[u8]) -> u128 {
        let mut may = self.by_length.get(value.len().min(LENGTHS_COUNT - 1)).copied().unwrap_or(0);
        if let Some(last) = value.last() {
            may &= self.at_place(*last, LAST);
        }
        for (place, byte) in value.iter().take(LAST).enumerate() {
            if may == 0 {
                return 0;
            }
            may &= self.at_place(*byte, place);
        }
        each_bit(may).fold(0, |bits, at| {
            bits | u128::from(self.tables.get(at).is_some_and(|table| table.fits(value))) << at
        })
    }

    /// Patterns that a value fits which may have this byte there.
    #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
    fn at_place(&self, byte: u8, place: usize) -> u128 {
        let row = self.by_place.get(usize::from(self.classes[usize::from(byte)]));
        row.and_then(|row| row.get(place)).copied().unwrap_or(0)
    }
}

impl Table {
    pub(super) fn new(patterns: &[&str]) -> Result<Self, regex::Error> {
        let fail =
            |why: &dyn std::fmt::Display| regex::Error::Syntax(format!("{}: {why}", patterns.join(", ")));
        if patterns.len() > PATTERNS_MAX {
            return Err(fail(&"too many patterns"));
        }
        let anchored: Vec<String> = patterns.iter().map(|pattern| format!("(?:{pattern})$")).collect();
        let dfa = DFA::builder()
            .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(BUILD_BYTES_MAX))
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false))
            .build_many(&anchored)
            .map_err(|error| fail(&error))?;
        Self::of(&dfa).ok_or_else(|| fail(&"too many states, or it fits the empty value"))
    }

    /// Visits every state once; `None` where there are too many.
    fn of(dfa: &DFA) -> Option<Self> {
        let mut cache = dfa.create_cache();
        let representatives: Vec<u8> =
            dfa.byte_classes().representatives(0..=u8::MAX).filter_map(|unit| unit.as_u8()).collect();
        let classes_count = representatives.len();
        let mut classes = Box::new([0; 256]);
        for (byte, class) in (0..=u8::MAX).zip(classes.iter_mut()) {
            *class = dfa.byte_classes().get(byte);
        }
        let first = dfa.start_state(&mut cache, &beginning()).ok()?;
        let mut states = Numbered { numbers: FxHashMap::default(), order: vec![first] };
        states.numbers.insert(first, 1);
        let (mut next, mut ends) = (vec![0; classes_count], vec![0]);
        let mut at = 0;
        while let Some(&state) = states.order.get(at) {
            at += 1;
            // Neighbours among the classes mostly lead to the same state.
            let mut before = (None, 0);
            for &byte in &representatives {
                let to = dfa.next_state(&mut cache, state, byte).ok()?;
                if before.0 != Some(to) {
                    before = (Some(to), states.number(to)?);
                }
                next.push(before.1);
            }
            ends.push(fitting(dfa, &mut cache, state)?);
        }
        // A state's name holds until its cache is cleared; the first one stays the first.
        if cache.clear_count() != 0 || ends.get(1).is_none_or(|patterns| *patterns != 0) {
            return None;
        }
        let (mut order, last): (Vec<usize>, Vec<usize>) =
            (0..ends.len()).partition(|&state| ends.get(state) == Some(&0));
        let first_end = u32::try_from(order.len() * classes_count).ok()?;
        order.extend(last);
        let mut places = vec![0; ends.len()];
        for (place, &state) in order.iter().enumerate() {
            *places.get_mut(state)? = u32::try_from(place * classes_count).ok()?;
        }
        let rows: Vec<&[u32]> = next.chunks_exact(classes_count).collect();
        let ways = order.iter().filter_map(|&state| rows.get(state)).copied().flatten();
        let next = ways.map(|&to| places.get(to as usize).copied()).collect::<Option<_>>()?;
        let ends = order.iter().filter_map(|&state| ends.get(state)).copied().collect();
        Some(Self { classes, classes_count, next, first_end, ends })
    }

    /// One bit for each pattern that fits the whole value.
    pub(super) fn whole(&self, value: &[u8]) -> u128 {
        let state = self.state_behind(value);
        if state < self.first_end {
            return 0;
        }
        self.ends.get(state as usize / self.classes_count.max(1)).copied().unwrap_or(0)
    }

    /// Some pattern fits the whole value.
    fn fits(&self, value: &[u8]) -> bool {
        self.state_behind(value) >= self.first_end
    }

    /// The state that a value ends in; nothing fits where it is below the first of the ends. No pattern fits the empty value.
    #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
    #[inline]
    fn state_behind(&self, value: &[u8]) -> u32 {
        let step = |state: u32, &byte: &u8| {
            let class = u32::from(self.classes[usize::from(byte)]);
            self.next.get((state + class) as usize).copied().unwrap_or(0)
        };
        let (eights, rest) = value.as_chunks::<8>();
        let mut state = self.classes_count as u32;
        for eight in eights {
            state = eight.iter().fold(state, step);
            // Every way from the dead state leads to it, so it is asked about now and then.
            if state == 0 {
                return 0;
            }
        }
        rest.iter().fold(state, step)
    }

    /// Sets the pattern's bit for lengths and bytes that some value has that fits.
    #[expect(clippy::indexing_slicing, reason = "a class is a byte, inside a table of 256")]
    fn describe(&self, bit: u128, by_length: &mut [u128], rows: &mut [[u128; PLACES_COUNT]]) {
        // Classes that may stand at each place.
        let mut classes_at = [[false; 256]; PLACES_COUNT];
        for ways in self.next.chunks_exact(self.classes_count.max(1)) {
            for (to, may) in ways.iter().zip(&mut classes_at[LAST]) {
                *may |= *to >= self.first_end;
            }
        }
        let behind = self.states_behind();
        // States that are reached with so many bytes.
        let mut here = vec![self.classes_count as u32];
        for (length, patterns) in by_length.iter_mut().enumerate() {
            if here.is_empty() {
                break;
            }
            if length == LENGTHS_COUNT - 1 {
                here = self.all(&behind, here);
            }
            if here.iter().any(|&state| state >= self.first_end) {
                *patterns |= bit;
            }
            if let Some(may) = classes_at.get_mut(length).filter(|_| length < LAST) {
                for &state in &here {
                    for (to, may) in self.ways(state).iter().zip(may.iter_mut()) {
                        *may |= *to != 0;
                    }
                }
            }
            here = self.behind(&behind, &here);
        }
        for (class, row) in self.classes.iter().zip(rows) {
            for (patterns, may) in row.iter_mut().zip(&classes_at) {
                *patterns |= if may[usize::from(*class)] { bit } else { 0 };
            }
        }
    }

    fn ways(&self, state: u32) -> &[u32] {
        let from = state as usize;
        self.next.get(from..from + self.classes_count).unwrap_or_default()
    }

    /// For each state, by its number, the living ones that are one byte behind it.
    fn states_behind(&self) -> Vec<Vec<u32>> {
        let distinct = |ways: &[u32]| {
            let mut distinct = ways.to_vec();
            distinct.dedup();
            distinct.retain(|&to| to != 0);
            distinct
        };
        self.next.chunks_exact(self.classes_count.max(1)).map(distinct).collect()
    }

    /// The states that are one byte behind these, each once.
    fn behind(&self, states_behind: &[Vec<u32>], here: &[u32]) -> Vec<u32> {
        let number = |state: u32| state as usize / self.classes_count.max(1);
        let mut seen = vec![false; self.ends.len()];
        let mut behind = vec![];
        for &state in here {
            for &to in states_behind.get(number(state)).map_or(&[][..], Vec::as_slice) {
                if let Some(seen @ false) = seen.get_mut(number(to)) {
                    *seen = true;
                    behind.push(to);
                }
            }
        }
        behind
    }

    /// These, and all behind them.
    fn all(&self, states_behind: &[Vec<u32>], mut all: Vec<u32>) -> Vec<u32> {
        for _ in 0..self.ends.len() {
            let count = all.len();
            let more = self.behind(states_behind, &all);
            all.extend(more);
            all.sort_unstable();
            all.dedup();
            if all.len() == count {
                break;
            }
        }
        all
    }
}

struct Numbered {
    numbers: FxHashMap<LazyStateID, u32>,
    order: Vec<LazyStateID>,
}

impl Numbered {
    fn number(&mut self, state: LazyStateID) -> Option<u32> {
        if state.is_dead() {
            return Some(0);
        }
        if let Some(&number) = self.numbers.get(&state) {
            return Some(number);
        }
        self.order.push(state);
        let number = u32::try_from(self.order.len()).ok().filter(|&number| number < STATES_MAX)?;
        self.numbers.insert(state, number);
        Some(number)
    }
}

fn fitting(dfa: &DFA, cache: &mut Cache, state: LazyStateID) -> Option<u128> {
    let end = dfa.next_eoi_state(cache, state).ok()?;
    let patterns = if end.is_match() { dfa.match_len(cache, end) } else { 0 };
    (0..patterns)
        .try_fold(0, |bits, at| Some(bits | 1_u128.checked_shl(dfa.match_pattern(cache, end, at).as_u32())?))
}

/// The numbers of the bits that are set.
pub(super) fn each_bit(mut bits: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        (at < u128::BITS).then_some(at as usize)
    })
}

/// As many as there are bits.
const PATTERNS_MAX: usize = 128;
/// Lengths that are told apart: longer ones are alike.
const LENGTHS_COUNT: usize = 100;
/// Places that are looked at: the first ones and, behind them, the last.
const PLACES_COUNT: usize = 7;
const LAST: usize = PLACES_COUNT - 1;
/// States of one automaton.
const STATES_MAX: u32 = 8192;
const BUILD_BYTES_MAX: usize = 16 * 1024 * 1024;
