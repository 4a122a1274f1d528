//! A text as what stands between its blanks, with what each piece is made of: the one walk over a text's bytes.
//!
//! Everything that is looked for in text is told from its pieces: most are a word in small letters and end here.

use std::ops::Range;

/// A piece of text without blanks.
pub(super) struct Chunk {
    pub(super) range: Range<usize>,
    classes: u16,
    pub(super) digits: usize,
    /// Something else than blanks is between it and the one before: a line's end, a tabulator.
    pub(super) begins_line: bool,
}

impl Chunk {
    pub(super) fn len(&self) -> usize {
        self.range.end - self.range.start
    }

    /// Nothing but letters, digits and `_`.
    pub(super) fn is_word(&self) -> bool {
        self.classes & !(DIGIT | CAPITAL | SMALL | UNDERSCORE) == 0
    }

    /// A word of small ASCII letters and nothing else, as most are.
    #[inline]
    pub(super) fn is_small_word(&self) -> bool {
        self.classes == SMALL
    }

    /// A word of small letters, with marks around it perhaps: the end of any name and address.
    pub(super) fn is_plain(&self) -> bool {
        self.classes & (SMALL | CAPITAL | HIGH | DIGIT) == SMALL
    }

    /// A word that begins with a small letter and has nothing but letters, some of which are not ASCII.
    pub(super) fn is_small_in(&self, text: &[u8]) -> bool {
        self.classes & !(SMALL | HIGH) == 0 && text.get(self.range.start).is_some_and(u8::is_ascii_lowercase)
    }

    /// May have a letter that names begin with.
    #[inline]
    pub(super) fn may_have_capital(&self) -> bool {
        self.classes & (CAPITAL | HIGH) != 0
    }

    pub(super) fn has_dot(&self) -> bool {
        self.classes & DOT != 0
    }

    pub(super) fn has_hyphen(&self) -> bool {
        self.classes & HYPHEN != 0
    }

    /// A colon or an equals sign.
    pub(super) fn has_colon(&self) -> bool {
        self.classes & COLON != 0
    }
}

pub(super) struct Chunks<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Chunks<'a> {
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
    fn next(&mut self) -> Option<Chunk> {
        let (mut start, mut begins_line) = (self.at, false);
        loop {
            let byte = *self.text.get(start)?;
            if CLASSES[usize::from(byte)] & GAP == 0 {
                break;
            }
            begins_line |= byte != b' ';
            start += 1;
        }
        if let Some(end) = small_word_end(self.text, start) {
            self.at = end;
            return Some(Chunk { range: start..end, classes: SMALL, digits: 0, begins_line });
        }
        let (mut end, mut classes, mut digits) = (start, 0, 0);
        for &byte in self.text.get(start..).unwrap_or_default() {
            let class = CLASSES[usize::from(byte)];
            if class & GAP != 0 {
                break;
            }
            classes |= class;
            digits += usize::from(class & DIGIT);
            end += 1;
        }
        self.at = end;
        Some(Chunk { range: start..end, classes, digits, begins_line })
    }
}

/// Where a word of at most [`SMALL_BYTES_MAX`] small letters ends that stands here, with a blank behind it: eight bytes in one step, so that
/// no branch has to guess how long the word is.
#[inline]
fn small_word_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while at < start + SMALL_BYTES_MAX {
        let eight = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
        let others = not_small(eight);
        if others == 0 {
            at += 8;
            continue;
        }
        let end = at + others.trailing_zeros() as usize / 8;
        return (end > start && text.get(end) == Some(&b' ')).then_some(end);
    }
    None
}

/// The highest bit of each byte that is no small letter.
#[inline]
fn not_small(eight: u64) -> u64 {
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = eight & !HIGHEST;
    // No sum leaves its byte.
    let from_a = low + ONES * (0x80 - b'a' as u64);
    let above_z = low + ONES * (0x7f - b'z' as u64);
    (!from_a | above_z | eight) & HIGHEST
}

#[expect(
    clippy::indexing_slicing,
    reason = "a byte is always inside a table of 256; checked at compile time"
)]
const fn classes() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'A'..=b'Z' => CAPITAL,
            b'a'..=b'z' => SMALL,
            b'_' => UNDERSCORE,
            128.. => HIGH,
            0..=b' ' => GAP,
            b'.' => DOT,
            b'-' => HYPHEN,
            b':' | b'=' => COLON,
            _ => OTHER,
        };
        byte += 1;
    }
    table
}

/// A digit's class is 1 so that counting needs no branch.
const DIGIT: u16 = 1;
const CAPITAL: u16 = 2;
const SMALL: u16 = 4;
const UNDERSCORE: u16 = 8;
/// Part of a letter outside ASCII.
const HIGH: u16 = 16;
const GAP: u16 = 32;
const DOT: u16 = 64;
const HYPHEN: u16 = 128;
const COLON: u16 = 256;
const OTHER: u16 = 512;
/// Longer words are walked byte by byte.
const SMALL_BYTES_MAX: usize = 16;
static CLASSES: [u16; 256] = classes();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_letters_are_told_from_all_other_bytes() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut eight = *b"azmyanbz";
                eight[place] = byte;
                let told = not_small(u64::from_le_bytes(eight));
                let expected = if byte.is_ascii_lowercase() { 0 } else { 0x80 << (8 * place) };
                assert_eq!(told, expected, "{byte} in place {place}");
            }
        }
    }

    /// However long a word is and wherever it ends, the step over it says what a walk over its bytes says.
    #[test]
    fn words_in_small_letters_end_where_they_end() {
        for length in 1..40 {
            for behind in [" and more text", " ", "", "\n", ". It", "É", "x y"] {
                let text = format!("{}{behind}", "z".repeat(length));
                let chunk = Chunks::of(text.as_bytes()).next().unwrap();
                let word = text.split([' ', '\n']).next().unwrap();
                assert_eq!(chunk.range, 0..word.len(), "{text}");
                assert_eq!(chunk.is_small_word(), word.bytes().all(|b| b.is_ascii_lowercase()), "{text}");
                assert_eq!(
                    (chunk.digits, chunk.is_word()),
                    (0, word.bytes().all(|b| b.is_ascii_lowercase()))
                );
            }
        }
    }

    #[test]
    fn pieces_stand_between_blanks() {
        let text = " Mr. Smith, 12 items\n\tin BOX_7  für x=1";
        let chunks: Vec<Chunk> = Chunks::of(text.as_bytes()).collect();
        let texts: Vec<&str> = chunks.iter().map(|chunk| &text[chunk.range.clone()]).collect();
        assert_eq!(texts, ["Mr.", "Smith,", "12", "items", "in", "BOX_7", "für", "x=1"]);
        let those = |wanted: fn(&Chunk) -> bool| {
            chunks.iter().map(|chunk| u8::from(wanted(chunk))).collect::<Vec<_>>()
        };
        assert_eq!(those(|c| c.begins_line), [0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(those(Chunk::is_plain), [0, 0, 0, 1, 1, 0, 0, 0]);
        assert_eq!(those(Chunk::is_word), [0, 0, 1, 1, 1, 1, 0, 0]);
        assert_eq!(those(Chunk::may_have_capital), [1, 1, 0, 0, 0, 1, 1, 0]);
        assert_eq!(those(Chunk::has_colon), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(chunks.iter().map(|chunk| chunk.digits).sum::<usize>(), 4);
        assert!(Chunks::of(b"").next().is_none() && Chunks::of(b" \n ").next().is_none());
    }
}
