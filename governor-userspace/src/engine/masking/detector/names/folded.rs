//! Words as numbers: small ASCII letters without accents, five bits each, so that a word is compared, and looked up, in one step.

use super::*;
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// A word, folded. Of one that is too long for the number only the end is there, which no word of the dictionary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    letters: u128,
    length: usize,
}

impl Folded {
    /// Accents, dots, hyphens and apostrophes dropped; `None` where there are other letters, or too many.
    #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        if word.len() > 4 * WORD_BYTES_MAX {
            return None;
        }
        let mut folded = Self { letters: 0, length: 0 };
        let mut bytes = word.iter();
        while let Some(&byte) = bytes.next() {
            let letter = LETTERS[usize::from(byte)];
            if letter < NO_LETTER {
                folded.put(letter);
                continue;
            }
            match byte {
                b'.' | b'\'' | b'-' => {}
                0xc3 => match bytes.next()? | 0x20 {
                    0xbf => {
                        folded.put(number(b's'));
                        folded.put(number(b's'));
                    }
                    0xa0..=0xa6 => folded.put(number(b'a')),
                    0xa7 => folded.put(number(b'c')),
                    0xa8..=0xab => folded.put(number(b'e')),
                    0xac..=0xaf => folded.put(number(b'i')),
                    0xb0 => folded.put(number(b'd')),
                    0xb1 => folded.put(number(b'n')),
                    0xb2..=0xb6 | 0xb8 => folded.put(number(b'o')),
                    0xb9..=0xbc => folded.put(number(b'u')),
                    0xbd => folded.put(number(b'y')),
                    _ => return None,
                },
                0xc4 => folded.put(number(match bytes.next()? {
                    0x80..=0x85 => b'a',
                    0x86..=0x8d => b'c',
                    0x8e..=0x91 => b'd',
                    0x92..=0x9b => b'e',
                    0x9c..=0xa3 => b'g',
                    0xa8..=0xb1 => b'i',
                    0xb6..=0xb7 => b'k',
                    _ => return None,
                })),
                0xc5 => folded.put(number(match bytes.next()? {
                    0x81..=0x82 => b'l',
                    0x83..=0x88 => b'n',
                    0x8c..=0x91 => b'o',
                    0x94..=0x99 => b'r',
                    0x9a..=0xa1 => b's',
                    0xa2..=0xa5 => b't',
                    0xa8..=0xb3 => b'u',
                    0xb9..=0xbe => b'z',
                    _ => return None,
                })),
                _ => return None,
            }
        }
        (folded.length <= WORD_BYTES_MAX).then_some(folded)
    }

    fn put(&mut self, letter: u8) {
        self.letters = self.letters << LETTER_BITS | u128::from(letter);
        self.length += 1;
    }

    /// What the dictionary knows it as.
    pub(super) fn flags(self) -> u16 {
        if self.length > LETTERS_MAX {
            return 0;
        }
        let known = match u64::try_from(self.letters) {
            Ok(letters) => DICTIONARY.short.get(&letters),
            Err(_) => DICTIONARY.long.get(&self.letters),
        };
        known.copied().unwrap_or(0)
    }

    /// One of [`STREET_ENDS`] behind two letters or more.
    pub(super) fn ends_like_a_street(self) -> bool {
        let last = self.letters as u64;
        let two = (last & ((1 << (2 * LETTER_BITS)) - 1)) as usize;
        // Asking this first spares most words the list.
        let may = STREET_ENDS_TWO.get(two / 64).is_none_or(|bits| bits >> (two % 64) & 1 != 0);
        self.length >= 6
            && may
            && STREET_ENDS.iter().any(|end| self.length > end.length + 2 && last & end.mask == end.letters)
    }

    const fn of_letters(word: &str) -> Self {
        let bytes = word.as_bytes();
        let mut folded = Self { letters: 0, length: bytes.len() };
        let mut at = 0;
        #[expect(clippy::indexing_slicing, reason = "checked at compile time")]
        while at < bytes.len() {
            folded.letters = folded.letters << LETTER_BITS | number(bytes[at]) as u128;
            at += 1;
        }
        folded
    }
}

/// What the dictionary knows a word as; 0 where it does not.
pub(super) fn known_as(word: &[u8]) -> u16 {
    Folded::of(word).map_or(0, Folded::flags)
}

/// `a` is 1.
const fn number(letter: u8) -> u8 {
    letter - b'a' + 1
}

/// The word may be one for a street: few words have the first letter and the last two of one, or the last two of a longer one's end. Words that
/// do not begin and end with ASCII letters may be anything.
pub(super) fn may_be_street(word: &[u8]) -> bool {
    let [first, .., last_but_one, last] = word else { return true };
    let letter = |byte: u8| usize::from(byte | 0x20).wrapping_sub(usize::from(b'a'));
    let (first, two) = (letter(*first), [letter(*last_but_one), letter(*last)]);
    let letters = [first, two[0], two[1]];
    if letters.iter().any(|&letter| letter >= 26) {
        return true;
    }
    let two = (two[0] + 1) << LETTER_BITS | (two[1] + 1);
    STREET_ENDS_TWO.get(two / 64).is_none_or(|bits| bits >> (two % 64) & 1 != 0)
        || STREETS_BY_ENDS.get(two).is_none_or(|firsts| firsts >> first & 1 != 0)
}

/// For each two letters that a word for a street ends with, one bit for each letter that it begins with.
#[expect(clippy::indexing_slicing, reason = "checked at compile time")]
static STREETS_BY_ENDS: [u32; 1 << (2 * LETTER_BITS)] = {
    let mut firsts = [0; 1 << (2 * LETTER_BITS)];
    let lists = [words::STREETS, words::STREETS_FIRST];
    let mut list = 0;
    while list < lists.len() {
        let bytes = lists[list].as_bytes();
        let (mut start, mut at) = (0, 0);
        while at <= bytes.len() {
            if at == bytes.len() || bytes[at] == b' ' || bytes[at] == b'\n' {
                if at >= start + 2 {
                    let two =
                        (number(bytes[at - 2]) as usize) << LETTER_BITS | number(bytes[at - 1]) as usize;
                    firsts[two] |= 1 << (bytes[start] - b'a');
                }
                start = at + 1;
            }
            at += 1;
        }
        list += 1;
    }
    firsts
};

/// By the number of the word; words of up to twelve letters, which nearly all are, apart.
struct Dictionary {
    short: FxHashMap<u64, u16>,
    long: FxHashMap<u128, u16>,
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let mut known = Dictionary { short: FxHashMap::default(), long: FxHashMap::default() };
    let mut add = |list: &'static str, flag: u16| {
        for word in list.split_ascii_whitespace() {
            // An elision stands for no word of its own: `'t`.
            let is_word = word.bytes().all(|b| b.is_ascii_lowercase());
            let Some(Folded { letters, .. }) = Folded::of(word.as_bytes()).filter(|_| is_word) else {
                continue;
            };
            *match u64::try_from(letters) {
                Ok(letters) => known.short.entry(letters).or_default(),
                Err(_) => known.long.entry(letters).or_default(),
            } |= flag;
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

#[expect(clippy::indexing_slicing, reason = "checked at compile time")]
static LETTERS: [u8; 256] = {
    let mut table = [NO_LETTER; 256];
    let mut letter = b'a';
    while letter <= b'z' {
        table[letter as usize] = number(letter);
        table[letter.to_ascii_uppercase() as usize] = number(letter);
        letter += 1;
    }
    table
};
const NO_LETTER: u8 = 255;
const LETTER_BITS: u32 = 5;
/// As many as fit.
const LETTERS_MAX: usize = 25;

/// The end of a word: at most twelve letters.
#[derive(Clone, Copy)]
struct End {
    letters: u64,
    /// The bits of so many letters.
    mask: u64,
    length: usize,
}

/// Ends of street names that are written in one word.
static STREET_ENDS: [End; 36] = {
    let texts = [
        "strasse", "str", "weg", "gasse", "platz", "allee", "ring", "damm", "ufer", "chaussee", "straat",
        "laan", "plein", "gracht", "kade", "singel", "dijk", "gatan", "gata", "vagen", "veien", "gade",
        "vej", "katu", "vegen", "gaten", "alleen", "plassen", "torget", "stien", "grand", "torg", "straede",
        "tie", "kuja", "polku",
    ];
    let mut ends = [End { letters: 0, mask: 0, length: 0 }; 36];
    let mut at = 0;
    #[expect(clippy::indexing_slicing, reason = "checked at compile time")]
    while at < ends.len() {
        let Folded { letters, length } = Folded::of_letters(texts[at]);
        assert!(length * LETTER_BITS as usize <= 60);
        ends[at] = End { letters: letters as u64, mask: (1 << (length * LETTER_BITS as usize)) - 1, length };
        at += 1;
    }
    ends
};
/// One bit for each two letters that one of them ends with.
static STREET_ENDS_TWO: [u64; 16] = {
    let mut bits = [0; 16];
    let mut at = 0;
    #[expect(clippy::indexing_slicing, reason = "checked at compile time")]
    while at < STREET_ENDS.len() {
        let two = (STREET_ENDS[at].letters & ((1 << (2 * LETTER_BITS)) - 1)) as usize;
        bits[two / 64] |= 1 << (two % 64);
        at += 1;
    }
    bits
};

#[cfg(test)]
pub(super) fn words_count() -> usize {
    DICTIONARY.short.len() + DICTIONARY.long.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_equal_without_case_and_accents() {
        let folded = |word: &str| Folded::of(word.as_bytes());
        assert_eq!(folded("Löwer"), folded("lower"));
        assert_eq!(folded("O'Neill"), folded("oneill"));
        assert_eq!(folded("STRAẞE"), None);
        assert_eq!(folded("Straße"), folded("strasse"));
        assert_eq!(folded("Łukasz"), folded("lukasz"));
        assert_ne!(folded("anna"), folded("ann"));
        assert_eq!((folded("naïve3"), folded(&"a".repeat(33))), (None, None));
    }

    #[test]
    fn a_word_too_long_for_its_number_is_in_no_list() {
        let tail = "panagiotopoulos";
        assert!(known_as(tail.as_bytes()) & FAMILY != 0 && known_as(b"comercializadora") & ORGANISATION != 0);
        assert_eq!(known_as(format!("aaaaaaaaaaaaaaaa{tail}").as_bytes()), 0);
        let long = Folded::of("Bürgermeisterinnenverordnungsstr".as_bytes());
        assert!(long.is_some_and(Folded::ends_like_a_street));
        assert!(!Folded::of(b"xstr").is_some_and(Folded::ends_like_a_street));
    }

    #[test]
    fn no_word_for_a_street_is_hidden() {
        let lists = [words::STREETS, words::STREETS_FIRST].into_iter().flat_map(str::split_ascii_whitespace);
        let ends = lists.clone().map(|word| format!("Xy{word}"));
        for word in lists.map(str::to_owned).chain(ends) {
            for word in [word.to_ascii_uppercase(), format!("{word}."), word] {
                let hidden = street_word(word.as_bytes()) == Street::No;
                let folded = Folded::of(word.as_bytes()).unwrap();
                let known = folded.flags() & (STREET | STREET_FIRST) != 0 || folded.ends_like_a_street();
                assert_eq!(hidden, !known, "{word}");
            }
        }
        let names: Vec<&str> = given::GIVEN.iter().flat_map(|list| list.split_ascii_whitespace()).collect();
        let others = names.iter().filter(|name| !may_be_street(name.as_bytes())).count();
        assert!(others * 2 > names.len(), "the dictionary is spared {others} of {}", names.len());
    }

    #[test]
    fn every_word_of_the_lists_is_known() {
        let lists = given::GIVEN.iter().chain(given_more::GIVEN).chain(family::FAMILY);
        for list in lists.chain(&[words::NOUNS, words::ORDINARY, words::STREETS, words::ORGANISATION]) {
            for word in list.split_ascii_whitespace().filter(|word| word.is_ascii()) {
                assert!(known_as(word.as_bytes()) != 0 && word.len() <= LETTERS_MAX, "{word}");
            }
        }
    }
}
