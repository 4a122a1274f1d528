//! National identity, social security and tax numbers: one validator per country.
//!
//! Each takes the matched text (shape already checked by its pattern) and applies ranges, dates and
//! check digits. Numbers that have neither (or one check digit over bare digits) are not here: they
//! count only where a column's name, or a keyword right before them, says what they are.

pub(super) mod america;
pub(super) mod asia;
pub(super) mod europe;

use super::checksum::{digits, ean13, isbn10, luhn, mod11_10, number, verhoeff, weighted};

/// United States SSN: area not 000, 666 or 9xx, group not 00, serial not 0000.
/// <https://www.ssa.gov/employer/randomization.html>
pub(super) fn us_ssn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9
        && number(d.get(..3).unwrap_or(&[])).is_some_and(|area| area != 0 && area != 666 && area < 900)
        && d.get(3..5) != Some(&[0, 0])
        && d.get(5..) != Some(&[0, 0, 0, 0])
}

/// United Kingdom National Insurance number: prefixes never allotted are refused.
pub(super) fn uk_nino(value: &[u8]) -> bool {
    !matches!(value.get(..2), Some(b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ") | None)
}

/// Spain DNI and NIE: the letter is the number modulo 23; X, Y, Z of a NIE count 0, 1, 2.
pub(super) fn es_dni(value: &[u8]) -> bool {
    let (Some(first), Some(letter)) = (value.first(), value.last()) else { return false };
    let Some(tail) = number(&digits(value)) else { return false };
    let whole = match first {
        b'Y' => tail + 10_000_000,
        b'Z' => tail + 20_000_000,
        _ => tail,
    };
    usize::try_from(whole % 23).ok().and_then(|at| b"TRWAGMYFPDXBNJZSQVHLCKE".get(at)) == Some(letter)
}

/// Germany Steuer-ID: among the first ten digits one occurs two or three times and the rest at most
/// once; then MOD 11,10.
pub(super) fn de_steuer_id(value: &[u8]) -> bool {
    let d = digits(value);
    // Four bits for each digit: how often it occurs.
    let counts = d.iter().take(10).fold(0_u64, |counts, &digit| counts + (1 << (4 * digit)));
    let twice = counts & 0x22_2222_2222;
    d.len() == 11
        && d.first() != Some(&0)
        && twice.is_power_of_two()
        && counts & 0xcc_cccc_cccc == 0
        && mod11_10(&d)
}

/// France NIR (INSEE): month 01–12 or 20 and above where unknown, key = 97 − number modulo 97;
/// Corsican departments 2A and 2B count 19 and 18.
pub(super) fn fr_insee(value: &[u8]) -> bool {
    let mut plain = [0_u8; 15];
    let mut count = 0;
    for &byte in value.iter().filter(|&&b| b != b' ') {
        let Some(slot) = plain.get_mut(count) else { return false };
        *slot = byte;
        count += 1;
    }
    let [a @ .., k1, k2] = plain;
    let mut rest = 0_u32;
    for (place, byte) in a.iter().enumerate() {
        let digit = match (place, byte) {
            (_, b'0'..=b'9') => u32::from(byte - b'0'),
            // 2A stands for 19 and 2B for 18: the tens digit was read as 2, so the whole is 10·2 + x.
            (6, b'A') => 9,
            (6, b'B') => 8,
            _ => return false,
        };
        let tens = if place == 5 && a.get(6).is_some_and(u8::is_ascii_alphabetic) { 1 } else { digit };
        rest = (rest * 10 + tens) % 97;
    }
    let month = number(&digits(a.get(3..5).unwrap_or(&[]))).unwrap_or(0);
    let key = u32::from(k1.wrapping_sub(b'0')) * 10 + u32::from(k2.wrapping_sub(b'0'));
    count == 15 && month >= 1 && (month <= 12 || month >= 20) && 97 - rest == key
}

/// Italy codice fiscale: odd places by table, even places by value, remainder 26 as a letter.
pub(super) fn it_codice_fiscale(value: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let Some((&check, body)) = value.split_last() else { return false };
    let mut sum = 0;
    for (place, byte) in body.iter().enumerate() {
        let rank = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A',
            _ => return false,
        };
        sum +=
            if place % 2 == 0 { ODD.get(usize::from(rank)).copied().unwrap_or(0) } else { u32::from(rank) };
    }
    body.len() == 15 && sum % 26 == u32::from(check.wrapping_sub(b'A'))
}

/// India Aadhaar, grouped 4-4-4: first digit 2 to 9, Verhoeff.
pub(super) fn in_aadhaar(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 12 && d.first().is_some_and(|&first| first >= 2) && verhoeff(&d)
}

/// Brazil CPF: two check digits modulo 11, not one digit repeated.
pub(super) fn br_cpf(value: &[u8]) -> bool {
    let d = digits(value);
    let check = |place: usize, weights: &[u32]| {
        d.get(place).is_some_and(|&digit| u32::from(digit) == weighted(&d, weights) * 10 % 11 % 10)
    };
    d.len() == 11
        && check(9, &[10, 9, 8, 7, 6, 5, 4, 3, 2])
        && check(10, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2])
        && d.iter().any(|digit| Some(digit) != d.first())
}

/// Poland PESEL: date of birth with the century in the month, weights 1, 3, 7, 9.
pub(super) fn pl_pesel(value: &[u8]) -> bool {
    let d = digits(value);
    let [_, _, m1, m2, d1, d2, ..] = *d else { return false };
    d.len() == 11
        && is_day(m1 % 2 * 10 + m2, d1 * 10 + d2)
        && weighted(&d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

/// Belgium national number `YY.MM.DD-NNN.CC`: 97 − number modulo 97, with a leading 2 from the year 2000.
pub(super) fn be_national_number(value: &[u8]) -> bool {
    let d = digits(value);
    let (Some(body), Some(key)) = (d.get(..9).and_then(number), d.get(9..).and_then(number)) else {
        return false;
    };
    d.len() == 11 && (97 - body % 97 == key || 97 - (2_000_000_000 + body) % 97 == key)
}

/// Sweden personnummer `YYMMDD-NNNC`, with or without century: a day (plus 60 for coordination
/// numbers), Luhn over the last ten digits.
pub(super) fn se_personnummer(value: &[u8]) -> bool {
    let d = digits(value);
    let Some(ten) = d.len().checked_sub(10).and_then(|from| d.get(from..)) else { return false };
    let [_, _, m1, m2, d1, d2, ..] = *ten else { return false };
    let day = d1 * 10 + d2;
    is_day(m1 * 10 + m2, if day > 60 { day - 60 } else { day }) && luhn(ten)
}

/// Norway fødselsnummer: a day and two check digits modulo 11.
pub(super) fn no_fodselsnummer(value: &[u8]) -> bool {
    let d = digits(value);
    let [d1, d2, m1, m2, ..] = *d else { return false };
    d.len() == 11
        && is_day(m1 * 10 + m2, d1 % 4 * 10 + d2)
        && weighted(&d, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(&d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// Finland HETU `DDMMYY-NNNC`: the nine digits modulo 31 choose the last character.
pub(super) fn fi_hetu(value: &[u8]) -> bool {
    let (Some(head), Some(serial), Some(check)) = (value.get(..6), value.get(7..10), value.last()) else {
        return false;
    };
    let (head, serial) = (digits(head), digits(serial));
    let (Some(a), Some(b)) = (number(&head), number(&serial)) else { return false };
    let [d1, d2, m1, m2, ..] = *head else { return false };
    let at = usize::try_from((a * 1000 + b) % 31).unwrap_or(usize::MAX);
    is_day(m1 * 10 + m2, d1 * 10 + d2) && b"0123456789ABCDEFHJKLMNPRSTUVWXY".get(at) == Some(check)
}

/// Switzerland AHV number `756.NNNN.NNNN.NC`: an EAN-13.
pub(super) fn ch_ahv(value: &[u8]) -> bool {
    ean13(&digits(value))
}

/// Mexico CURP: its eighteen places are a strict shape; the six digits are a plausible day.
pub(super) fn mx_curp(value: &[u8]) -> bool {
    let d = digits(value.get(4..10).unwrap_or(&[]));
    let [_, _, m1, m2, d1, d2] = *d else { return false };
    is_day(m1 * 10 + m2, d1 * 10 + d2)
}

/// South Africa ID number: a day, citizenship 0 or 1, Luhn.
pub(super) fn za_id(value: &[u8]) -> bool {
    let d = digits(value);
    let [_, _, m1, m2, d1, d2, _, _, _, _, citizenship, a, _] = *d else { return false };
    is_day(m1 * 10 + m2, d1 * 10 + d2) && citizenship < 2 && a >= 8 && luhn(&d)
}

/// China resident identity number: a day, ISO 7064 MOD 11-2 with X for ten.
pub(super) fn cn_resident_id(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let Some((check, body)) = value.split_last() else { return false };
    let d = digits(body);
    let [_, _, _, _, _, _, _, _, _, _, m1, m2, d1, d2, ..] = *d else { return false };
    let at = usize::try_from(weighted(&d, &WEIGHTS) % 11).unwrap_or(usize::MAX);
    d.len() == 17 && is_day(m1 * 10 + m2, d1 * 10 + d2) && b"10X98765432".get(at) == Some(check)
}

/// Singapore NRIC and FIN: weights 2, 7, 6, 5, 4, 3, 2; the first letter shifts and picks the alphabet.
pub(super) fn sg_nric(value: &[u8]) -> bool {
    let (Some(first), Some(last)) = (value.first(), value.last()) else { return false };
    let (shift, letters): (u32, &[u8; 11]) = match first {
        b'S' => (0, b"JZIHGFEDCBA"),
        b'T' => (4, b"JZIHGFEDCBA"),
        b'F' => (0, b"XWUTRQPNMLK"),
        b'G' => (4, b"XWUTRQPNMLK"),
        _ => return false,
    };
    let sum = weighted(&digits(value), &[2, 7, 6, 5, 4, 3, 2]) + shift;
    usize::try_from(sum % 11).ok().and_then(|at| letters.get(at)) == Some(last)
}

/// Korea resident registration number: a plausible day (its check digit ended in 2020).
pub(super) fn kr_rrn(value: &[u8]) -> bool {
    let d = digits(value);
    let [_, _, m1, m2, d1, d2, ..] = *d else { return false };
    d.len() == 13 && is_day(m1 * 10 + m2, d1 * 10 + d2)
}

/// A national phone number written without separators must not be a book number.
pub(super) fn is_not_isbn10(value: &[u8]) -> bool {
    !isbn10(&digits(value))
}

fn is_day(month: u8, day: u8) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}
