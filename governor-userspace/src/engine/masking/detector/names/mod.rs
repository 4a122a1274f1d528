//! Names of people, by dictionaries of common ones: no checksum tells a name.
//!
//! A full name (a known given name with a known family name, or a title before either) counts by itself; one known
//! word is weak evidence that counts when most values of a column have it, or when the column's name says so. Two
//! words that are both everyday words ("Grace Park", "Rose Garden") count as weak evidence only.
//!
//! Words are compared folded: small ASCII letters, accents dropped. Nothing is allocated per value.

mod family;
mod folded;
mod given;
mod given_more;
mod japanese;
mod words;

pub(super) use japanese::begins as begins_japanese;

use super::kind::Kind;
use folded::{Folded, known_as, may_be_street};
use std::ops::Range;

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
    if !may_be_street(word) {
        return Street::No;
    }
    let Some(folded) = Folded::of(word) else { return Street::No };
    let flags = folded.flags();
    match () {
        () if flags & STREET_FIRST != 0 => Street::First,
        () if flags & STREET != 0 || folded.ends_like_a_street() => Street::Last,
        () => Street::No,
    }
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
        let mut flags = known_as(text);
        if flags == 0 && text.contains(&b'-') {
            // `Anne-Marie`, `Smith-Stone`: one known part is enough.
            flags =
                text.split(|&b| b == b'-').fold(0, |flags, part| flags | known_as(part)) & (GIVEN | FAMILY);
        }
        Self { flags, length: text.len(), capital, dotted }
    }

    fn is(self, flags: u16) -> bool {
        self.flags & flags != 0
    }
}

/// Letters, and what stands between the letters of names.
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn is_name_byte(byte: u8) -> bool {
    NAME_BYTES[usize::from(byte)]
}

#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
static NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | 128.. | b' ' | b'-' | b'\'' | b'.' | b',' | b'&'
        );
        byte += 1;
    }
    table
};

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte >= 128
}

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

/// Longest word that is looked up.
const WORD_BYTES_MAX: usize = 32;
/// Longest value that may be a name.
const NAME_BYTES_MAX: usize = 64;
const WORDS_MAX: usize = 6;

#[cfg(test)]
mod tests;
