//! Makes `governor-userspace/src/engine/masking/plans/plans.txt` from the crate `phonenumber`, and compares it.
//!
//! The crate carries Google's libphonenumber: for each country patterns of the numbers that it gives out. governor needs of them
//! which first four digits there are at which length, so that a look-up costs nothing; the crate itself is in no program that is
//! installed. After `cargo update -p phonenumber` this test fails; `GOVERNOR_WRITE_PLANS=1 cargo test -p xtask phone_plans` writes
//! the table anew.

use phonenumber::Metadata;
use phonenumber::metadata::DATABASE;
use regex_automata::Anchored;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

#[test]
fn the_table_of_numbering_plans_is_what_the_crate_says() {
    let path = path();
    let made = table();
    if std::env::var_os("GOVERNOR_WRITE_PLANS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    let differs: Vec<_> = made.lines().zip(kept.lines()).filter(|(made, kept)| made != kept).collect();
    assert!(
        differs.is_empty() && made.len() == kept.len(),
        "another table than the crate's: {} lines; run with GOVERNOR_WRITE_PLANS=1",
        differs.len()
    );
    assert!(made.lines().count() > 190, "nearly every calling code has a plan");
}

fn path() -> PathBuf {
    crate::workspace::root().join("governor-userspace/src/engine/masking/plans/plans.txt")
}

fn table() -> String {
    let mut by_code: BTreeMap<String, Vec<&Metadata>> = BTreeMap::new();
    for country in DATABASE.iter().filter(|country| country.id() != "001") {
        by_code.entry(country.country_code().to_string()).or_default().push(country);
    }
    let mut out = String::from(
        "# Made from the crate phonenumber (Google's libphonenumber, Apache-2.0): see xtask/src/phone_plans.rs.\n\
         # Countries, calling code, trunk prefix, then by length the first digits of numbers that are given out.\n",
    );
    for (code, mut countries) in by_code {
        countries.sort_by_key(|country| (!country.is_main_country_for_code(), country.id().to_owned()));
        let main = countries[0];
        let trunk = main.national_prefix().filter(|trunk| *trunk != code).unwrap_or("-");
        let mut given: BTreeMap<usize, BTreeSet<u16>> = BTreeMap::new();
        for country in &countries {
            let kinds = [country.descriptors().fixed_line(), country.descriptors().mobile()];
            for kind in kinds.into_iter().flatten() {
                let mut pattern = Pattern::new(kind.national_number().as_str());
                for length in LENGTHS {
                    given.entry(length).or_default().extend(pattern.prefixes(length));
                }
            }
        }
        given.retain(|_, prefixes| !prefixes.is_empty());
        if given.is_empty() {
            continue;
        }
        let _ = write!(out, "{} {code} {trunk}", names(main.id(), &countries));
        for (length, prefixes) in given {
            let _ = write!(out, " {length}:{}", words(&prefixes).join(","));
        }
        out.push('\n');
    }
    out
}

/// The largest countries of a code come first, and not more than two are named.
fn names(main: &str, countries: &[&Metadata]) -> String {
    let second = SECOND.iter().find(|(first, _)| *first == main).map(|(_, second)| *second);
    let known = second.filter(|second| countries.iter().any(|country| country.id() == *second));
    known.map_or_else(|| main.to_owned(), |second| format!("{main}/{second}"))
}

struct Pattern {
    dfa: DFA,
    cache: Cache,
    reached: HashMap<(LazyStateID, usize), bool>,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let pattern: String = pattern.chars().filter(|sign| !sign.is_whitespace()).collect();
        let dfa = DFA::builder()
            .configure(DFA::config().cache_capacity(64 << 20))
            .build(&format!("(?-u)(?:{pattern})"))
            .unwrap();
        let cache = dfa.create_cache();
        Self { dfa, cache, reached: HashMap::new() }
    }

    /// The first four digits of all numbers of a length that fit.
    fn prefixes(&mut self, length: usize) -> Vec<u16> {
        let start = regex_automata::util::start::Config::new().anchored(Anchored::Yes);
        let start = self.dfa.start_state(&mut self.cache, &start).unwrap();
        let mut level = vec![(0, start)];
        for left in (length - 4..length).rev() {
            let mut longer = Vec::new();
            for (prefix, state) in level {
                for digit in 0..10 {
                    let next = self.dfa.next_state(&mut self.cache, state, b'0' + digit).unwrap();
                    if self.reaches(next, left) {
                        longer.push((prefix * 10 + u16::from(digit), next));
                    }
                }
            }
            level = longer;
        }
        level.into_iter().map(|(prefix, _)| prefix).collect()
    }

    /// So many digits more may end in a match.
    fn reaches(&mut self, state: LazyStateID, left: usize) -> bool {
        if state.is_dead() {
            return false;
        }
        if let Some(known) = self.reached.get(&(state, left)) {
            return *known;
        }
        let found = if left == 0 {
            self.dfa.next_eoi_state(&mut self.cache, state).unwrap().is_match()
        } else {
            (b'0'..=b'9').any(|digit| {
                let next = self.dfa.next_state(&mut self.cache, state, digit).unwrap();
                self.reaches(next, left - 1)
            })
        };
        self.reached.insert((state, left), found);
        found
    }
}

/// The shortest words: a prefix of which every number is in, `61-4` for 61 to 64.
fn words(prefixes: &BTreeSet<u16>) -> Vec<String> {
    let mut level: BTreeSet<String> = prefixes.iter().map(|prefix| format!("{prefix:04}")).collect();
    let mut done = Vec::new();
    for digits in (1..=4).rev() {
        let mut shorter = BTreeSet::new();
        let mut groups: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for word in &level {
            groups.entry(word[..digits - 1].to_owned()).or_default().push(word.as_bytes()[digits - 1]);
        }
        for (before, last) in groups {
            if last.len() == 10 && digits > 1 {
                shorter.insert(before);
                continue;
            }
            let mut from = 0;
            for at in 0..last.len() {
                if last.get(at + 1) != Some(&(last[at] + 1)) {
                    let (first, end) = (char::from(last[from]), char::from(last[at]));
                    done.push(if from == at {
                        format!("{before}{first}")
                    } else {
                        format!("{before}{first}-{end}")
                    });
                    from = at + 1;
                }
            }
        }
        level = shorter;
    }
    done.sort();
    done
}

/// Countries that share a code with a larger one and are large themselves.
const SECOND: &[(&str, &str)] = &[("US", "CA"), ("RU", "KZ")];
/// Digits of a number without trunk prefix and calling code.
const LENGTHS: std::ops::RangeInclusive<usize> = 7..=12;
