//! Names of people, by dictionaries of common ones: no checksum tells a name.
//!
//! A full name (a known given name with a known family name, or a title before either) counts by itself; one known
//! word is weak evidence that counts when most values of a column have it, or when the column's name says so. Two
//! words that are both everyday words ("Grace Park", "Rose Garden") count as weak evidence only.
//!
//! Words are compared folded: small ASCII letters, accents dropped. Nothing is allocated per value.

mod family;
mod given;
mod given_more;
mod japanese;
mod words;

pub(super) use japanese::begins as begins_japanese;

use super::kind::Kind;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::LazyLock;

/// What a value says about people, when its words are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::masking) struct Look {
    /// The kind and its confidence; `None` where nothing in it is a name.
    pub(in crate::engine::masking) name: Option<(Kind, u8)>,
    /// The value is called like an organisation.
    pub(in crate::engine::masking) organisation: bool,
}

/// Looks at a whole value: up to `WORDS_MAX` words of letters, in the order of a name.
pub(in crate::engine::masking) fn look(value: &[u8]) -> Look {
    let mut look = Look::default();
    if begins_japanese(value) {
        return japanese::look(value);
    }
    if value.len() > NAME_BYTES_MAX || value.len() < 2 || !value.iter().all(|&b| is_name_byte(b)) {
        return look;
    }
    let mut words = [Word::default(); WORDS_MAX];
    let mut count = 0;
    let (mut titled, mut comma_at, mut capitals) = (false, None, 0);
    for text in value.split(|&b| b == b' ').filter(|text| !text.is_empty()) {
        let comma = text.ends_with(b",");
        let word = Word::of(text);
        if word.flags & ORGANISATION != 0 && count > 0 || text == b"&" {
            look.organisation = true;
        }
        if word.flags & PARTICLE != 0 && text.first().is_some_and(u8::is_ascii_lowercase) {
            continue;
        }
        if word.flags & (TITLE | SUFFIX) != 0
            && (word.flags & TITLE != 0 && count == 0 || count > 0 || word.dotted)
            && word.flags & (GIVEN | FAMILY) == 0
        {
            titled |= count == 0 && !word.is(ORDINARY);
            continue;
        }
        if word.dotted && count > 0 && word.length <= 4 {
            // An initial, or an academic degree.
            continue;
        }
        let Some(slot) = words.get_mut(count) else { return look };
        capitals += usize::from(word.capital);
        *slot = word;
        count += 1;
        if comma {
            comma_at = Some(count);
        }
    }
    if look.organisation {
        return look;
    }
    let known = words.get(..count).unwrap_or(&[]);
    look.name = judge(known, titled, capitals, comma_at);
    look
}

fn judge(words: &[Word], titled: bool, capitals: usize, comma_at: Option<usize>) -> Option<(Kind, u8)> {
    let (first, rest) = words.split_first()?;
    let shaped = capitals == words.len() || capitals == 0;
    let Some(last) = rest.last() else {
        return match () {
            () if titled && first.capital => titled_name(words),
            () if !shaped => None,
            () if first.is(GIVEN) => Some((Kind::GivenName, 30)),
            () if first.is(FAMILY) => Some((Kind::FamilyName, 30)),
            () => None,
        };
    };
    if comma_at.is_some_and(|at| at != 1) {
        return None;
    }
    let (given, family) = if comma_at == Some(1) { (last, first) } else { (first, last) };
    let ordinary = given.is(ORDINARY) && (family.is(ORDINARY) || !family.is(FAMILY | GIVEN));
    let known_family = words.iter().skip(usize::from(comma_at.is_none())).any(|word| word.is(FAMILY));
    match () {
        () if titled && capitals > 0 => titled_name(words),
        () if !shaped => None,
        () if given.is(GIVEN) && known_family && !ordinary => {
            // All small letters are how people type, and how sentences go.
            Some((Kind::PersonName, if capitals == 0 { 45 } else { 75 }))
        }
        () if words.iter().all(|word| word.is(GIVEN | FAMILY)) && !given.is(ORDINARY) && capitals > 0 => {
            Some((Kind::PersonName, 60))
        }
        () if given.is(GIVEN) && !given.is(ORDINARY) && capitals > 0 && words.iter().all(|w| !w.is(NOUN)) => {
            Some((Kind::PersonName, if given.length > 3 && family.length > 2 { 55 } else { 40 }))
        }
        () if given.is(GIVEN) || known_family => Some((Kind::PersonName, 30)),
        () => None,
    }
}

/// Behind a title: a known name that is no everyday word, or a word that is none.
fn titled_name(words: &[Word]) -> Option<(Kind, u8)> {
    if words.iter().any(|word| word.is(GIVEN | FAMILY) && !word.is(ORDINARY)) {
        return Some((Kind::PersonName, 80));
    }
    Some((Kind::PersonName, if words.iter().all(|word| !word.is(ORDINARY | NOUN)) { 70 } else { 40 }))
}

/// Which words stand side by side in a text: the first look for names and addresses in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    /// Two words with capital first letters.
    pub(super) of_capitals: bool,
    /// A number beside such a word.
    pub(super) with_number: bool,
}

pub(super) fn pairs(text: &[u8]) -> Pairs {
    let mut pairs = Pairs::default();
    let is_capital = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_uppercase() || *b >= 0xc3);
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    for blank in memchr::memchr_iter(b' ', text) {
        let after = text.get(blank + 1);
        if !is_capital(after) && !is_digit(after) {
            continue;
        }
        // A full stop or comma may stand between: `Mrs. Smith`, `Hauptstr. 12`.
        let before = text.get(..blank).unwrap_or(&[]);
        let before = before.strip_suffix(b".").or_else(|| before.strip_suffix(b",")).unwrap_or(before);
        let word = before
            .iter()
            .rev()
            .take_while(|b| is_word_byte(**b) || b.is_ascii_digit() || matches!(b, b'-' | b'\'' | b'/'));
        let first = word.last();
        pairs.of_capitals |= is_capital(first) && is_capital(after);
        pairs.with_number |= is_capital(first) && is_digit(after) || is_digit(first) && is_capital(after);
    }
    pairs
}

/// Appends the ranges of full names in running text: a known given name (or a title) and a known family name, each
/// with a capital first letter and small ones behind it.
pub(in crate::engine::masking) fn find(text: &[u8], mut found: impl FnMut(Range<usize>)) {
    let mut at = 0;
    // The capitalised word before this one, where nothing but a blank is between them.
    let mut before: Option<(Range<usize>, Option<Word>)> = None;
    while let Some(&byte) = text.get(at) {
        if !byte.is_ascii_uppercase() && byte < 0xc3 {
            let joins = byte == b' ' || byte == b'.' && before.is_some();
            if !joins || at.checked_sub(1).and_then(|last| text.get(last)) == Some(&b' ') {
                before = None;
            }
            at += 1;
            if is_word_byte(byte) {
                // A word without a capital ends a name.
                before = None;
                at += text.get(at..).unwrap_or(&[]).iter().take_while(|&&b| is_word_byte(b)).count();
            }
            continue;
        }
        let length = text
            .get(at..)
            .unwrap_or(&[])
            .iter()
            .take_while(|&&b| is_word_byte(b) || b == b'\'' || b == b'-')
            .count()
            .max(1);
        let range = at..at + length;
        at = range.end;
        let raw = text.get(range.clone()).unwrap_or(&[]);
        let title_case = raw.get(1).is_some_and(|b| b.is_ascii_lowercase() || *b >= 128);
        if !title_case || length > WORD_BYTES_MAX {
            before = None;
            continue;
        }
        // Words are looked up once two of them stand side by side.
        let Some((from, known)) = before.take() else {
            before = Some((range, None));
            continue;
        };
        let first = known.unwrap_or_else(|| Word::of(text.get(from.clone()).unwrap_or(&[])));
        let ends_sentence = text.get(from.end) == Some(&b'.');
        let word = if ends_sentence && !first.is(TITLE) || !first.is(GIVEN | TITLE) {
            None
        } else {
            Some(Word::of(raw))
        };
        let is_name = word.is_some_and(|word| {
            first.is(GIVEN) && word.is(FAMILY | GIVEN) && !(first.is(ORDINARY) && word.is(ORDINARY))
                || first.is(TITLE) && !first.is(GIVEN) && word.is(GIVEN | FAMILY)
        });
        if is_name {
            found(from.start..range.end);
            // What follows goes on with the name.
            before = Some((from.start..range.end, Some(Word { flags: GIVEN, ..first })));
        } else {
            before = Some((range, word));
        }
    }
}

/// What a word says about streets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Street {
    No,
    /// What streets are called, alone or at the end of a longer word; the name stands before it.
    Last,
    /// The same where the name follows: `calle`, `via`, `rue`, `ul.`
    First,
}

/// Whether the word (folded here) is what streets are called.
pub(super) fn street_word(word: &[u8]) -> Street {
    let mut folded = [0; WORD_BYTES_MAX];
    let Some(folded) = fold(word, &mut folded) else { return Street::No };
    let flags = DICTIONARY.get(folded).copied().unwrap_or(0);
    let has_end = || {
        folded.len() >= 6
            && folded.last_chunk().is_some_and(|end| may_end_street(*end))
            && STREET_ENDS.iter().any(|end| folded.len() > end.len() + 2 && folded.ends_with(end.as_bytes()))
    };
    match () {
        () if flags & STREET_FIRST != 0 => Street::First,
        () if flags & STREET != 0 || has_end() => Street::Last,
        () => Street::No,
    }
}

/// Asking this first spares most words the list.
fn may_end_street(last: [u8; 2]) -> bool {
    static ENDS: LazyLock<[u32; 32]> = LazyLock::new(|| {
        let mut ends = [0; 32];
        for end in STREET_ENDS.iter().filter_map(|end| end.as_bytes().last_chunk::<2>()) {
            if let Some(bits) = ends.get_mut(usize::from(end[0] & 31)) {
                *bits |= 1 << (end[1] & 31);
            }
        }
        ends
    });
    ENDS.get(usize::from(last[0] & 31)).is_none_or(|bits| bits >> (last[1] & 31) & 1 != 0)
}

#[derive(Clone, Copy, Default)]
struct Word {
    flags: u16,
    length: usize,
    capital: bool,
    dotted: bool,
}

impl Word {
    fn of(text: &[u8]) -> Self {
        let text = text.strip_suffix(b",").unwrap_or(text);
        let capital = text.first().is_some_and(|b| b.is_ascii_uppercase() || *b >= 0xc3);
        let dotted = text.contains(&b'.');
        let mut buffer = [0; WORD_BYTES_MAX];
        let mut flags = fold(text, &mut buffer).and_then(|word| DICTIONARY.get(word)).copied().unwrap_or(0);
        if flags == 0 && text.contains(&b'-') {
            // `Anne-Marie`, `Smith-Stone`: one known part is enough.
            for part in text.split(|&b| b == b'-') {
                let mut buffer = [0; WORD_BYTES_MAX];
                flags |= fold(part, &mut buffer).and_then(|word| DICTIONARY.get(word)).copied().unwrap_or(0);
            }
            flags &= GIVEN | FAMILY;
        }
        Self { flags, length: text.len(), capital, dotted }
    }

    fn is(self, flags: u16) -> bool {
        self.flags & flags != 0
    }
}

/// Letters, and what stands between the letters of names.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 128 || matches!(byte, b' ' | b'-' | b'\'' | b'.' | b',' | b'&')
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 128
}

/// Small ASCII letters without accents, dots and apostrophes; `None` where there are other letters, or too many.
fn fold<'a>(word: &[u8], buffer: &'a mut [u8; WORD_BYTES_MAX]) -> Option<&'a [u8]> {
    let mut length = 0;
    let mut put = |letter: u8| {
        *buffer.get_mut(length)? = letter;
        length += 1;
        Some(())
    };
    let mut bytes = word.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'a'..=b'z' => put(byte)?,
            b'A'..=b'Z' => put(byte.to_ascii_lowercase())?,
            b'.' | b'\'' | b'-' => {}
            0xc3 => match bytes.next()? | 0x20 {
                0xbf => {
                    put(b's')?;
                    put(b's')?;
                }
                0xa0..=0xa5 => put(b'a')?,
                0xa6 => put(b'a')?,
                0xa7 => put(b'c')?,
                0xa8..=0xab => put(b'e')?,
                0xac..=0xaf => put(b'i')?,
                0xb0 => put(b'd')?,
                0xb1 => put(b'n')?,
                0xb2..=0xb6 | 0xb8 => put(b'o')?,
                0xb9..=0xbc => put(b'u')?,
                0xbd => put(b'y')?,
                _ => return None,
            },
            0xc4 => put(match bytes.next()? {
                0x80..=0x85 => b'a',
                0x86..=0x8d => b'c',
                0x8e..=0x91 => b'd',
                0x92..=0x9b => b'e',
                0x9c..=0xa3 => b'g',
                0xa8..=0xb1 => b'i',
                0xb6..=0xb7 => b'k',
                _ => return None,
            })?,
            0xc5 => put(match bytes.next()? {
                0x81..=0x82 => b'l',
                0x83..=0x88 => b'n',
                0x8c..=0x91 => b'o',
                0x94..=0x99 => b'r',
                0x9a..=0xa1 => b's',
                0xa2..=0xa5 => b't',
                0xa8..=0xb3 => b'u',
                0xb9..=0xbe => b'z',
                _ => return None,
            })?,
            _ => return None,
        }
    }
    buffer.get(..length)
}

static DICTIONARY: LazyLock<FxHashMap<&'static [u8], u16>> = LazyLock::new(|| {
    let mut known: FxHashMap<&'static [u8], u16> = FxHashMap::default();
    let mut add = |list: &'static str, flag: u16| {
        for word in list.split_ascii_whitespace() {
            *known.entry(word.as_bytes()).or_default() |= flag;
        }
    };
    for list in given::GIVEN {
        add(list, GIVEN);
    }
    for list in given_more::GIVEN {
        add(list, GIVEN);
    }
    for list in family::FAMILY {
        add(list, FAMILY);
    }
    add(words::ORDINARY, ORDINARY);
    add(words::NOUNS, NOUN);
    add(words::TITLES, TITLE);
    add(words::SUFFIXES, SUFFIX);
    add(words::PARTICLES, PARTICLE);
    add(words::ORGANISATION, ORGANISATION);
    add(words::STREETS, STREET);
    add(words::STREETS_FIRST, STREET_FIRST);
    known
});

const GIVEN: u16 = 1;
const FAMILY: u16 = 2;
/// An everyday word too.
const ORDINARY: u16 = 4;
const NOUN: u16 = 8;
const TITLE: u16 = 16;
const SUFFIX: u16 = 32;
const PARTICLE: u16 = 64;
const ORGANISATION: u16 = 128;
const STREET: u16 = 256;
const STREET_FIRST: u16 = 512;

/// Ends of street names that are written in one word.
const STREET_ENDS: &[&str] = &[
    "strasse", "str", "weg", "gasse", "platz", "allee", "ring", "damm", "ufer", "chaussee", "straat", "laan",
    "plein", "gracht", "kade", "singel", "dijk", "gatan", "gata", "vagen", "veien", "gade", "vej", "katu",
    "vegen", "gaten", "alleen", "plassen", "torget", "stien", "grand", "torg", "straede", "stien", "tie",
    "kuja", "polku",
];
/// Longest word that is looked up.
const WORD_BYTES_MAX: usize = 32;
/// Longest value that may be a name.
const NAME_BYTES_MAX: usize = 64;
const WORDS_MAX: usize = 6;

#[cfg(test)]
mod tests;
