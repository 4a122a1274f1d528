//! The first look at a value: which classes of bytes it has, and what it surely is not.

use std::cell::OnceCell;

/// Which classes of bytes a value has, counted in one pass.
pub(super) struct Signs {
    /// A lane for each class, empty where the value has no byte of it.
    classes: u64,
    pub(super) digits: usize,
    /// Asked for at both entrances, by what the whole is and by what stands inside.
    plain: OnceCell<Option<Plain>>,
}

impl Signs {
    #[inline]
    pub(super) fn of(value: &[u8]) -> Self {
        let mut signs = Self { classes: 0, digits: 0, plain: OnceCell::new() };
        let mut rest = value;
        while let Some((block, behind)) = rest.split_at_checked(BLOCK_BYTES) {
            signs.count(block);
            rest = behind;
        }
        signs.count(rest);
        signs
    }

    /// Of at most [`BLOCK_BYTES`].
    #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
    #[inline]
    fn count(&mut self, block: &[u8]) {
        let mut counts = 0;
        for &byte in block {
            counts += BYTE_CLASS[usize::from(byte)];
        }
        self.classes |= counts;
        self.digits += (counts & DIGIT) as usize;
    }

    /// The form of the value that these signs are of.
    #[inline]
    pub(super) fn plain(&self, value: &[u8]) -> Option<Plain> {
        if !self.may_be_plain(value) {
            return None;
        }
        *self.plain.get_or_init(|| plain(value, self))
    }

    /// By length, digits and two bytes: most values have no plain form, and pay for no call to hear it. Never says no where
    /// [`plain`] knows one.
    #[inline]
    fn may_be_plain(&self, value: &[u8]) -> bool {
        match value {
            [_, _, _, _, b'-', ..] | [_, _, b'.' | b'/' | b'-', ..] if self.digits >= 8 => true,
            _ => self.digits + 1 == value.len() || value.len() == 36 || is_length_of_digest(value.len()),
        }
    }

    pub(super) fn has_at(&self) -> bool {
        self.classes & AT != 0
    }

    pub(super) fn has_colon(&self) -> bool {
        self.classes & COLON != 0
    }

    pub(super) fn has_blank(&self) -> bool {
        self.classes & BLANK != 0
    }

    pub(super) fn has_comma(&self) -> bool {
        self.classes & COMMA != 0
    }

    pub(super) fn has_capital(&self) -> bool {
        self.classes & CAPITAL != 0
    }

    /// Blanks, and a byte that no value with blanks has: a sentence or a statement, not a value. Names and postal
    /// addresses may have any byte; a private key is for the caller to know.
    pub(super) fn is_prose(&self) -> bool {
        self.has_blank() && self.has_other()
    }

    /// Some byte that is in none of the classes that are told apart, as a line's end and what is not ASCII.
    pub(super) fn has_other(&self) -> bool {
        self.classes & PROSE != 0
    }

    /// Letters, digits and marks between them: no blank, comma, colon or other byte that might end a value.
    pub(super) fn is_one_word(&self) -> bool {
        self.classes & (BLANK | COMMA | AT | COLON | PROSE | BRACKET) == 0
    }

    /// Some sign that credentials without digits have: `:`, `=`, `$`, `-`, `_`, `.`, `/`.
    pub(super) fn has_mark(&self) -> bool {
        self.classes & (COLON | MARK) != 0
    }

    /// Digits, and nothing but marks and blanks between them.
    fn is_digits_and_marks(&self) -> bool {
        self.classes & !(DIGIT | MARK) == 0
    }
}

/// What no detector looks for, told by its form alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// `2024-10-27`, perhaps with a time behind it: the year.
    Date {
        year: u16,
        has_time: bool,
    },
    /// `5918.68`
    Decimal,
    Uuid,
    /// Hexadecimal digits in one case, as many as a digest has.
    Digest,
}

/// The form of a value that is no finding whatever it says; `None` where detectors have to look.
fn plain(value: &[u8], signs: &Signs) -> Option<Plain> {
    match value {
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..]
            if signs.digits >= 8 && [y1, y2, y3, y4, m1, m2, d1, d2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let year = [y1, y2, y3, y4].iter().fold(0, |year, b| year * 10 + u16::from(*b - b'0'));
            let month = (m1 - b'0') * 10 + (m2 - b'0');
            let day = (d1 - b'0') * 10 + (d2 - b'0');
            let ends = rest.is_empty() || is_time(rest);
            (ends && (1..=12).contains(&month) && (1..=31).contains(&day))
                .then_some(Plain::Date { year, has_time: !rest.is_empty() })
        }
        // The day or the month first, and the year last: `27.10.2024`, `10/27/2024`.
        [a1, a2, mark @ (b'.' | b'/' | b'-'), b1, b2, again, y1, y2, y3, y4, rest @ ..]
            if mark == again
                && signs.digits >= 8
                && [a1, a2, b1, b2, y1, y2, y3, y4].iter().all(|b| b.is_ascii_digit()) =>
        {
            let year = [y1, y2, y3, y4].iter().fold(0, |year, b| year * 10 + u16::from(*b - b'0'));
            let (a, b) = ((a1 - b'0') * 10 + (a2 - b'0'), (b1 - b'0') * 10 + (b2 - b'0'));
            let ends = rest.is_empty() || is_time(rest);
            let is_day = (1..=31).contains(&a) && (1..=31).contains(&b) && a.min(b) <= 12;
            (ends && is_day && (1800..=2199).contains(&year))
                .then_some(Plain::Date { year, has_time: !rest.is_empty() })
        }
        _ if signs.digits + 1 == value.len() && signs.is_digits_and_marks() && value.contains(&b'.') => {
            Some(Plain::Decimal)
        }
        _ if value.len() == 36 && [8, 13, 18, 23].iter().all(|&at| value.get(at) == Some(&b'-')) => {
            value.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-').then_some(Plain::Uuid)
        }
        _ if is_length_of_digest(value.len()) && signs.classes & !(DIGIT | CAPITAL) == 0 => {
            let small = value.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
            let large = || value.iter().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b));
            (small || large()).then_some(Plain::Digest)
        }
        _ => None,
    }
}

#[inline]
fn is_length_of_digest(bytes: usize) -> bool {
    matches!(bytes, 32 | 40 | 56 | 64 | 96 | 128)
}

/// A time and nothing else stands behind a date: ` 06:14:12.25+02`, `T06:14Z`. Text that begins with a date is text.
fn is_time(rest: &[u8]) -> bool {
    let [b' ' | b'T', h1, h2, b':', m1, m2, rest @ ..] = rest else { return false };
    let mut rest = rest;
    if let [b':', s1, s2, behind @ ..] = rest {
        if !(s1.is_ascii_digit() && s2.is_ascii_digit()) {
            return false;
        }
        rest = behind;
        if let [b'.' | b',', behind @ ..] = rest {
            let digits = behind.iter().take_while(|b| b.is_ascii_digit()).count().min(9);
            rest = behind.get(digits..).unwrap_or(&[]);
        }
    }
    let zone = rest.strip_prefix(b" ").unwrap_or(rest);
    let is_zone = match zone {
        [] => rest.is_empty(),
        b"Z" | b"UTC" | b"GMT" | b"AM" | b"PM" | b"am" | b"pm" => true,
        [b'+' | b'-', offset @ ..] => {
            (2..=8).contains(&offset.len()) && offset.iter().all(|b| b.is_ascii_digit() || *b == b':')
        }
        _ => false,
    };
    is_zone && [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit())
}

#[expect(
    clippy::indexing_slicing,
    reason = "a byte is always inside a table of 256; checked at compile time"
)]
const fn byte_classes() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        // One in each lane.
        table[byte] = ONES
            & match byte as u8 {
                b'0'..=b'9' => DIGIT,
                b'A'..=b'Z' => CAPITAL,
                b'a'..=b'z' => 0,
                b'+' | b'(' | b')' => BRACKET,
                b'-' | b'.' => MARK,
                b'/' => MARK | BRACKET,
                b'=' | b'$' | b'_' => MARK | PROSE,
                b'@' => AT | PROSE,
                b':' => COLON | PROSE,
                b',' => COMMA,
                b' ' => BLANK,
                _ => PROSE,
            };
        byte += 1;
    }
    table
}

/// Each class has a lane of seven bits, so that one sum counts the bytes of all, without a branch.
const fn lane(number: u32) -> u64 {
    0x7f << (7 * number)
}

/// A lane holds as many.
const BLOCK_BYTES: usize = 127;
const ONES: u64 = 0x0102_0408_1020_4081;
const DIGIT: u64 = lane(0);
const AT: u64 = lane(1);
const COLON: u64 = lane(2);
const MARK: u64 = lane(3);
const BLANK: u64 = lane(4);
const COMMA: u64 = lane(5);
/// Not in any value that has blanks: not a letter or digit, nor one of ` ,+-()./`.
const PROSE: u64 = lane(6);
const CAPITAL: u64 = lane(7);
/// May stand around a value.
const BRACKET: u64 = lane(8);
static BYTE_CLASS: [u64; 256] = byte_classes();

#[cfg(test)]
mod tests {
    use super::*;

    /// Of any length, and where all bytes have as many classes as a byte may have.
    #[test]
    fn every_byte_is_counted_once() {
        let text = "Aa0 -1,b.7=/".repeat(50);
        for length in 0..text.len() {
            let value = &text.as_bytes()[..length];
            let signs = Signs::of(value);
            let present = |classes: u64| (0..9).map(move |at| classes & lane(at) != 0).collect::<Vec<_>>();
            let classes = value.iter().fold(0, |classes, &byte| classes | BYTE_CLASS[usize::from(byte)]);
            assert_eq!(present(signs.classes), present(classes), "{length} bytes");
            assert_eq!(signs.digits, value.iter().filter(|b| b.is_ascii_digit()).count());
        }
        for byte in 0..=u8::MAX {
            let digits = if byte.is_ascii_digit() { 1000 } else { 0 };
            let signs = Signs::of(&[byte; 1000]);
            assert_eq!((signs.digits, signs.has_capital()), (digits, byte.is_ascii_uppercase()), "{byte}");
        }
    }

    #[test]
    fn plain_forms_are_known() {
        let form = |value: &str| Signs::of(value.as_bytes()).plain(value.as_bytes());
        assert_eq!(form("1966-10-10"), Some(Plain::Date { year: 1966, has_time: false }));
        assert_eq!(form("2022-01-11 06:14:12"), Some(Plain::Date { year: 2022, has_time: true }));
        for time in
            ["06:14", "06:14:12+02", "06:14:12.250114+00", "06:14:12,5 UTC", "06:14:12-05:30", "06:14 PM"]
        {
            let expected = Some(Plain::Date { year: 2022, has_time: true });
            assert_eq!(form(&format!("2022-01-11 {time}")), expected, "{time}");
            assert_eq!(form(&format!("2022-01-11T{time}")), expected, "{time}");
        }
        assert_eq!(form("19.07.1978"), Some(Plain::Date { year: 1978, has_time: false }));
        assert_eq!(form("07/19/1978"), Some(Plain::Date { year: 1978, has_time: false }));
        assert_eq!(form("19.07-1978"), None);
        assert_eq!(form("13.14.1978"), None);
        assert_eq!(form("5918.68"), Some(Plain::Decimal));
        assert_eq!(form("-5918.6"), None);
        assert_eq!(form("d2f322a4-47fd-440d-9d2e-53b551a90266"), Some(Plain::Uuid));
        assert_eq!(form("de421393b811cfa90ffcd8d56f373826"), Some(Plain::Digest));
        for value in [
            "1966-13-10",
            "1966-10-10x",
            "1966-10-10 bob@example.org",
            "2024-10-27 06:14:12 +44 7921 737441",
            "2024-10-27 06:14:12.25 x",
            "2024-10-27 ",
            "415-252-9165",
            "f3ER5725+Ws3tJm5H4J41eHZ83iR12FFwJdK/P7B",
            "79927398713",
            "x",
            "6.30.57.20",
        ] {
            assert_eq!(form(value), None, "{value}");
        }
    }
}
