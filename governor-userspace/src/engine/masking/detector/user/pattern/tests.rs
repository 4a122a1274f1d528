//! What a pattern finds is what the crate `regex` says; what it may cost is bounded.

use super::*;
use regex::bytes::Regex;

/// Ordinary ones, and those that operators should better not write.
const PATTERNS: &[&str] = &[
    r"EMP-\d{4}",
    r"[A-Z]{2}-[0-9]{4}",
    r"(?i)cust[_-]?[0-9]{3,8}",
    r"^ab{1,3}$",
    r"(?:ab|a|abc){1,4}c",
    r"a{1,3}?b?",
    r"(?:x|[a-c]{2}){1,3}",
    r"\p{Lu}\p{Ll}{1,5}",
    r"[ab]{0,5}a[ab]{6}",
    r"[a-c]{1,40}x|[a-c]",
    r"(?s).b.{1,3}",
    r"(?-u:[\x80-\xff]){2,6}",
];

/// Every text of so many pieces, a piece at a time.
fn texts(pieces: &[&str], count: usize) -> Vec<String> {
    (0..count).fold(vec![String::new()], |texts, _| {
        let longer = texts.iter().flat_map(|text| pieces.iter().map(move |piece| format!("{text}{piece}")));
        texts
            .iter()
            .cloned()
            .chain(longer.clone())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    })
}

fn found(pattern: &Pattern, text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let done = pattern.find(&Allowance::default(), text, |range| {
        found.push(range);
        Ok(())
    });
    assert_eq!(done, Ok(()), "an ordinary text is searched to its end");
    found
}

#[test]
fn a_pattern_finds_what_the_regex_crate_finds() {
    let texts = texts(&["a", "b", "abc", "x", "EMP-1234", " ", "Ünal", "cust_77", "AB-2", "\n"], 4);
    let mut matches = 0;
    for pattern in PATTERNS {
        let ours = Pattern::new(pattern).unwrap();
        let plain = Regex::new(pattern).unwrap();
        let whole = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for text in &texts {
            let text = text.as_bytes();
            let wanted: Vec<_> = plain.find_iter(text).map(|found| found.range()).collect();
            assert_eq!(found(&ours, text), wanted, "{pattern} in {:?}", String::from_utf8_lossy(text));
            matches += wanted.len();
            let fits = ours.fits(&Allowance::default(), text);
            assert_eq!(fits, Ok(whole.is_match(text)), "{pattern} of {:?}", String::from_utf8_lossy(text));
        }
    }
    assert!(matches > 10_000, "{matches}");
}

#[test]
fn borders_of_words_are_those_of_ascii() {
    let pattern = Pattern::new(r"\bEMP-\d{4}\b").unwrap();
    assert_eq!(
        found(&pattern, "an EMP-1234, kein ÜEMP-1234ß, no xEMP-1234, EMP-12345".as_bytes()),
        [3..11, 20..28]
    );
    assert_eq!(pattern.fits(&Allowance::default(), b"EMP-1234"), Ok(true));
    let inner = Pattern::new(r"a\B(?:b|ö)").unwrap();
    assert_eq!(found(&inner, "ab aö ab".as_bytes()), [0..2, 7..9], "ö is no letter of ASCII");
}

/// Patterns that read a text again and again, or whose states no memory holds; each with a text that it is at its worst with.
fn adversaries(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mixed: Vec<u8> = (0..bytes).map(|_| if random() & 1 == 0 { b'a' } else { b'b' }).collect();
    let same = vec![b'a'; bytes];
    vec![
        ("[a-z]{1,1000}x|[a-z]", same.clone()),
        ("(?:a|aa|aaa|aaaa){1,250}x|a", same.clone()),
        ("[ab]{0,400}a[ab]{600}x|[ab]", mixed.clone()),
        ("(?:[a-z]{1,30}|[a-z0-9]{1,30}){1,30}x|[a-z]", mixed),
        (r"(?:[a-zäöü]\s?){1,200}\d|\w", same),
    ]
}

#[test]
fn what_costs_too_much_is_stopped_within_its_allowance() {
    for (pattern, text) in adversaries(100_000) {
        let ours = Pattern::new(pattern).unwrap();
        let allowance = Allowance::default();
        allowance.earn(text.len(), 1);
        let mut seen = 0;
        let done = ours.find(&allowance, &text, |range| {
            seen = range.end;
            Ok(())
        });
        assert_eq!(done, Err(Spent), "{pattern}");
        assert!(seen < text.len(), "{pattern}: all of it was read");
        // The bound, with the one search that went over it: a text is read once, and the room for states filled twice.
        let over = 2 * (text.len() + CACHE_BYTES_MAX * STEPS_FOR_BYTE_MADE);
        let bound = Allowance::bound(text.len(), 1) + u64::try_from(over).unwrap();
        assert!(allowance.taken() <= bound, "{pattern}: {} steps of {bound}", allowance.taken());
    }
}

#[test]
fn a_text_that_cost_too_much_does_not_spoil_the_next() {
    for (pattern, text) in adversaries(100_000) {
        let ours = Pattern::new(pattern).unwrap();
        let allowance = Allowance::default();
        let _ = ours.find(&allowance, &text, |_| Ok(()));
        // What has nothing of the pattern in it, and what is one of its values.
        for ordinary in ["- 4711 -", "B7 é"] {
            while allowance.spend(1 << 16).is_ok() {}
            allowance.earn(ordinary.len(), 1);
            assert_eq!(ours.find(&allowance, ordinary.as_bytes(), |_| Ok(())), Ok(()), "{pattern}");
            assert!(ours.fits(&allowance, ordinary.as_bytes()).is_ok(), "{pattern}");
        }
    }
}

#[test]
fn states_are_free_until_their_room_was_full_once() {
    // Some hundred states for one value, made for the first time.
    let ours = Pattern::new(r"\pL{1,12}\d").unwrap();
    let text: String = ('а'..='я').cycle().take(400).collect();
    let allowance = Allowance::default();
    while allowance.spend(1 << 16).is_ok() {}
    allowance.earn(text.len(), 1);
    assert_eq!(ours.find(&allowance, text.as_bytes(), |_| Ok(())), Ok(()));
    assert!(ours.walkers.get().0.cache.memory_usage() > 10 * text.len());
}
