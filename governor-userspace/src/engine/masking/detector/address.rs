//! Postal addresses by their parts: a street word, a house number, a postal code, capitals.
//!
//! Addresses have no checksum and as many forms as countries; what they share is a word for a street in the local
//! language beside a small number. `shapes/places.rs` knows the forms that are fixed enough for a pattern.

use super::names::{Street, street_word};
use std::ops::Range;

/// What the words of a value say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Sentences have many small words; addresses a few particles. Nothing with so many of them is an address.
    pub(super) is_sentence: bool,
    /// That the whole value is a postal address; 0 where it is none.
    pub(super) confidence_percent: u8,
}

/// Looks at a whole value.
pub(super) fn look(value: &[u8]) -> Look {
    if !(8..=ADDRESS_BYTES_MAX).contains(&value.len()) {
        return Look::default();
    }
    let mut words = [Word::default(); WORDS_MAX];
    let (mut count, mut small, mut is_odd) = (0, 0, false);
    let (mut start, mut digits, mut classes) = (0, 0, 0);
    // A value is shorter than 255 bytes. The byte behind the last one is a gap.
    let mut at = 0;
    let mut rest = value.iter();
    loop {
        let byte = rest.next();
        let class = byte.map_or(GAP, |&byte| class_of(byte));
        if class & GAP == 0 {
            classes |= class;
            digits += class & DIGIT;
            at += 1;
            continue;
        }
        if at > start {
            let is_small =
                at - start > 3 && value.get(usize::from(start)).is_some_and(u8::is_ascii_lowercase);
            small += usize::from(is_small);
            is_odd |= classes & ODD != 0 && digits == 0;
            let slot = words.get_mut(count).filter(|_| small <= SMALL_WORDS_MAX);
            let Some(slot) = slot else { return Look { is_sentence: true, confidence_percent: 0 } };
            *slot = Word { start, end: at, digits };
            count += 1;
        }
        if byte.is_none() {
            break;
        }
        at += 1;
        (start, digits, classes) = (at, 0, 0);
    }
    let confidence_percent = if is_odd { 0 } else { judge(value, words.get(..count).unwrap_or(&[])) };
    Look { is_sentence: false, confidence_percent }
}

/// Where a word stands, and what it is made of.
#[derive(Clone, Copy, Default)]
struct Word {
    start: u8,
    end: u8,
    digits: u8,
}

impl Word {
    /// It may be a house's number or a code, whatever stands around it: without one nothing is an address, and the dictionary of streets
    /// need not be asked.
    fn may_be_number(self, value: &[u8], is_first: bool) -> bool {
        if self.digits == 0 {
            return false;
        }
        let (start, end, digits) = (usize::from(self.start), usize::from(self.end), usize::from(self.digits));
        let word = value.get(start..end).unwrap_or(&[]);
        let placed = is_first || value.get(end).is_none_or(|b| matches!(b, b',' | b'\n'));
        digits == word.len() && (4..=6).contains(&digits)
            || placed && digits <= 4 && word.len() <= 7
            || is_lettered_code(word, digits)
            || is_split_code(word, digits)
    }
}

#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn class_of(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

fn judge(value: &[u8], words: &[Word]) -> u8 {
    if !words.iter().enumerate().any(|(at, word)| word.may_be_number(value, at == 0)) {
        return 0;
    }
    let (mut street, mut house, mut code, mut capitals) = (false, false, false, 0_u32);
    // A number of four digits is a house's or a town's code, not both.
    let mut either = false;
    // The word before is one for a street; a street whose word comes first was named.
    let (mut behind_street, mut named_street) = (false, false);
    for (at, word) in words.iter().enumerate() {
        let (start, end, digits) = (usize::from(word.start), usize::from(word.end), usize::from(word.digits));
        let word = value.get(start..end).unwrap_or(&[]);
        let is_last = end >= value.len();
        if digits == 0 {
            let kind = street_word(word);
            behind_street = kind != Street::No;
            street |= behind_street;
            named_street |= kind == Street::First;
            capitals += u32::from(word.first().is_some_and(|b| b.is_ascii_uppercase() || *b >= 0xc3));
            continue;
        }
        // A house number comes first, or ends its part. Behind everything it is one where the street's name ends there:
        // `Park Lane 12`, `Calle Mayor 5`.
        let ends_part = value.get(end).is_some_and(|b| matches!(b, b',' | b'\n'));
        let placed = at == 0 || ends_part || is_last && (behind_street || named_street);
        behind_street = false;
        if digits == 4 && digits == word.len() && !placed && is_last && !value.contains(&b',') {
            // `Mountain Bike 2900`: no code of a town, since there is none.
        } else if digits == 4 && digits == word.len() && placed {
            (house, code) = if either { (true, true) } else { (house, code) };
            either = true;
        } else if digits == word.len() && (4..=6).contains(&digits)
            || is_lettered_code(word, digits)
            || is_split_code(word, digits)
        {
            code = true;
        } else {
            house |= digits <= 4 && word.len() <= 7 && placed;
        }
    }
    if capitals == 0 {
        return 0;
    }
    if either && house {
        code = true;
    } else if either {
        house = true;
    }
    match (street, house, code, capitals) {
        (true, true, true, _) => 75,
        (true, false, true, 2..) => 60,
        (true, true, false, 2..) if words.len() <= 8 => 55,
        (true, true, false, 1) if words.len() <= 4 => 50,
        (true, true, false, _) => 30,
        (false, true, true, 2..) if value.contains(&b',') || value.contains(&b'\n') => 40,
        _ => 0,
    }
}

/// Portuguese, Polish and Brazilian codes. `digits`: how many the word has.
fn is_split_code(word: &[u8], digits: usize) -> bool {
    let at = |place: usize| word.get(place) == Some(&b'-');
    match word.len() {
        6 => digits == 5 && at(2),
        8 => at(4),
        9 => at(5),
        _ => false,
    }
}

/// Confidence that a value is an address of Japan, which goes from the large to the small: a postal mark and its code,
/// a prefecture, a town or ward, numbers.
pub(super) fn judge_japanese(value: &[u8]) -> u8 {
    let Ok(text) = std::str::from_utf8(value) else { return 0 };
    if !(12..=ADDRESS_BYTES_MAX * 2).contains(&value.len()) || text.contains('\n') && text.lines().count() > 4
    {
        return 0;
    }
    let marked = text.strip_prefix('〒').is_some_and(|rest| {
        rest.trim_start().bytes().take_while(|b| b.is_ascii_digit() || *b == b'-').count() >= 7
    });
    let begins =
        text.trim_start_matches(|c: char| c == '〒' || c == '-' || c.is_ascii_digit() || c.is_whitespace());
    let prefecture = PREFECTURES.iter().find_map(|name| begins.strip_prefix(name));
    let town = prefecture.unwrap_or(begins).find(['市', '区', '町', '村', '郡']);
    match (prefecture, town, marked) {
        (Some(_), Some(_), _) => 80,
        (_, Some(_), true) => 75,
        (Some(_), _, true) => 70,
        _ => 0,
    }
}

/// British, Dutch, Canadian and Swedish codes, or half of one. `digits`: how many the word has.
fn is_lettered_code(word: &[u8], digits: usize) -> bool {
    match word {
        [_, _] | [_, _, _] | [_, _, _, _] => {
            let letters = word.iter().filter(|b| b.is_ascii_uppercase()).count();
            letters >= 1 && digits >= 1 && letters + digits == word.len()
        }
        [letter, b'-', _, _, _, last] => letter.is_ascii_uppercase() && digits == 4 && last.is_ascii_digit(),
        _ => false,
    }
}

/// Appends where a house number and a street stand in running text: `777 Marquez Overpass`, `Henkstr. 80`.
pub(super) fn find(text: &[u8], mut found: impl FnMut(Range<usize>)) {
    let mut at = 0;
    // Start of the number, or of the first capitalised word, that an address may begin with.
    let mut number: Option<usize> = None;
    let mut street: Option<Range<usize>> = None;
    let mut between = 0;
    while at < text.len() {
        let (mut length, mut digits) = (0, 0);
        for class in text.get(at..).unwrap_or(&[]).iter().map(|&byte| class_of(byte)) {
            if class & WORD == 0 {
                break;
            }
            length += 1;
            digits += usize::from(class & DIGIT);
        }
        if length == 0 {
            match text.get(at) {
                Some(b' ' | b',') => {}
                // The end of a sentence, or of `Hauptstr.`.
                Some(b'.') => number = None,
                _ => (number, street) = (None, None),
            }
            at += 1;
            continue;
        }
        let range = at..at + length;
        at = range.end;
        let word = text.get(range.clone()).unwrap_or(&[]);
        let is_number = digits > 0
            && digits <= 5
            && word.len() <= digits + 3
            && word.first().is_some_and(u8::is_ascii_digit);
        if is_number {
            if let Some(named) = street.take() {
                found(named.start..range.end);
                number = None;
                continue;
            }
            number = (digits <= 5).then_some(range.start);
            between = 0;
            continue;
        }
        let capital = word.first().is_some_and(|b| b.is_ascii_uppercase() || *b >= 0xc3)
            && word.get(1).is_some_and(|b| b.is_ascii_lowercase() || *b >= 128);
        if !capital {
            (number, street) = (None, None);
            continue;
        }
        let is_street = street_word(word) != Street::No;
        if let (Some(start), true, true) = (number, is_street, between > 0) {
            found(start..range.end);
            (number, street) = (None, None);
            continue;
        }
        // A street written as one word, with its number behind it.
        street = (is_street && word.len() > 6).then_some(range);
        between += 1;
        if between > 3 {
            number = None;
        }
    }
}

/// All 47, with what they are.
const PREFECTURES: &[&str] = &[
    "北海道",
    "青森県",
    "岩手県",
    "宮城県",
    "秋田県",
    "山形県",
    "福島県",
    "茨城県",
    "栃木県",
    "群馬県",
    "埼玉県",
    "千葉県",
    "東京都",
    "神奈川県",
    "新潟県",
    "富山県",
    "石川県",
    "福井県",
    "山梨県",
    "長野県",
    "岐阜県",
    "静岡県",
    "愛知県",
    "三重県",
    "滋賀県",
    "京都府",
    "大阪府",
    "兵庫県",
    "奈良県",
    "和歌山県",
    "鳥取県",
    "島根県",
    "岡山県",
    "広島県",
    "山口県",
    "徳島県",
    "香川県",
    "愛媛県",
    "高知県",
    "福岡県",
    "佐賀県",
    "長崎県",
    "熊本県",
    "大分県",
    "宮崎県",
    "鹿児島県",
    "沖縄県",
];
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT | WORD,
            b'a'..=b'z' | b'A'..=b'Z' | 128.. | b'-' | b'\'' | b'/' => WORD,
            b' ' | b'\n' | b'\r' | b',' | b';' => GAP,
            b'=' | b'{' | b'}' | b'<' | b'>' | b'@' | b'"' | b'_' | b'$' | b'?' | b'!' | b'[' | b']'
            | b'|' => ODD,
            _ => 0,
        };
        byte += 1;
    }
    table
};
/// A digit's class is 1 so that counting needs no branch.
const DIGIT: u8 = 1;
const GAP: u8 = 2;
/// No address has it outside numbers.
const ODD: u8 = 4;
/// A byte of words in running text.
const WORD: u8 = 8;
/// Places in a value fit a byte.
const ADDRESS_BYTES_MAX: usize = 160;
const WORDS_MAX: usize = 18;
const SMALL_WORDS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(value: &str) -> u8 {
        look(value.as_bytes()).confidence_percent
    }

    #[test]
    fn addresses_of_many_countries_are_known() {
        for address in [
            "777 Marquez Overpass",
            "Studio 2, Moore Forest, Greenfort, W6A 4LF",
            "Henkstr. 80/21, 58592 Miltenberg",
            "12, rue de la Paix, 75002 Paris",
            "80, avenue Benard\n28372 Sainte Thibaut",
            "Calle de Alcalá 45, 28014 Madrid",
            "Via Roma 12, 00184 Roma",
            "Herengracht 182, 1016 BR Amsterdam",
            "ul. Marszałkowska 10, 00-590 Warszawa",
            "Rua Augusta 120, 01304-000 São Paulo",
            "Franz-Josef-Werner-Gasse 2/6, 75458 Paderborn",
            "425 James Unions Suite 387, South Markville, IL 13079",
            "10 Downing Street, London SW1A 2AA",
            "4521 Maple Street",
            "Avenida Brasil, 1500, Belo Horizonte - MG, 30140-001",
            "Rua do Almada 212, 4050-032 Porto",
            "12, Residency Road, Bengaluru - 560025",
            "Park Lane 12, Dover",
        ] {
            assert!(judge(address) >= 50, "{address}: {}", judge(address));
        }
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in [
            "Shipment delayed 3 days",
            "ORD-2020-803626 shipped",
            "2022-01-11 06:14:12",
            "Version 6.30 of the server",
            "Room 12",
            "Cup Relationship",
            "v16.3.17 build 12",
            "Buy 2 get 1 free",
            "order 4975002924966824",
            "SELECT 1 FROM t WHERE place = 'Park'",
            "Chapter 12 The End of the Road",
            "Garden Hose 1200",
            "Mountain Bike 2900",
            "Lake Kayak 12",
        ] {
            assert!(judge(text) < 50, "{text}: {}", judge(text));
        }
    }

    #[test]
    fn addresses_of_japan_are_known() {
        for address in [
            "〒100-0001 東京都千代田区千代田1-1",
            "大阪府大阪市北区梅田3-1-3",
            "〒600-8216 下京区東塩小路町721",
        ] {
            assert!(judge_japanese(address.as_bytes()) >= 50, "{address}");
        }
        for text in ["東京都の天気", "注文番号 12345678", "〒", "北海道産じゃがいも 10kg", "第3四半期の売上"]
        {
            assert_eq!(judge_japanese(text.as_bytes()), 0, "{text}");
        }
    }

    #[test]
    fn streets_stand_in_text() {
        let found = |text: &str| {
            let mut ranges = Vec::new();
            find(text.as_bytes(), |range| ranges.push(text[range].to_owned()));
            ranges
        };
        assert_eq!(found("living at 777 Marquez Overpass; see notes"), ["777 Marquez Overpass"]);
        assert_eq!(found("wohnt Hauptstraße 12 in Bonn"), ["Hauptstraße 12"]);
        assert_eq!(found("Please escalate. 3 items, order 12. See Park"), Vec::<String>::new());
    }
}
