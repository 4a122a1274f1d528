//! Validators for more countries of Europe, and for documents that are made to one standard everywhere.

use super::is_day;
use crate::engine::masking::detector::checksum::{digits, luhn, mod11_10, number, weighted};

/// United Kingdom NHS number: ten digits, modulus 11, remainder 10 never issued.
pub(in crate::engine::masking::detector) fn uk_nhs(value: &[u8]) -> bool {
    let d = digits(value);
    let check = 11 - weighted(&d, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    d.len() == 10 && check != 10 && d.last().map(|&last| u32::from(last)) == Some(check % 11)
}

/// United Kingdom driving licence: month (plus 50 for women) and day behind the decade, sixteen places.
pub(in crate::engine::masking::detector) fn uk_driving_licence(value: &[u8]) -> bool {
    let Some(&[m1, m2, d1, d2, _]) = value.get(6..11) else { return false };
    let two = |a: u8, b: u8| a.wrapping_sub(b'0').wrapping_mul(10).wrapping_add(b.wrapping_sub(b'0'));
    let month = two(m1, m2);
    value.len() == 16
        && value.get(..5).is_some_and(|name| name.iter().all(|b| b.is_ascii_uppercase() || *b == b'9'))
        && is_day(if month > 50 { month - 50 } else { month }, two(d1, d2))
}

/// Ireland PPS: weights 8 to 2, the second letter counts 9 times its place; the remainder of 23 is a letter.
pub(in crate::engine::masking::detector) fn ie_pps(value: &[u8]) -> bool {
    let Some(&check) = value.get(7) else { return false };
    let second = match value.get(8) {
        None | Some(b'W') => 0,
        Some(letter) => u32::from(letter - b'A') + 1,
    };
    let rest = (weighted(&digits(value), &[8, 7, 6, 5, 4, 3, 2]) + second * 9) % 23;
    let expected = if rest == 0 { b'W' } else { b'A' + u8::try_from(rest - 1).unwrap_or(0) };
    check == expected
}

/// Germany, pension insurance: area, birth date, letter as two digits; cross sums of weighted digits, modulo 10.
pub(in crate::engine::masking::detector) fn de_social_security(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 12] = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    let mut numbers = [0_u32; 12];
    let mut count = 0;
    let mut check = None;
    for &byte in value.iter().filter(|&&b| b != b' ') {
        let letter = u32::from(byte.wrapping_sub(b'A')) + 1;
        let pair = if byte.is_ascii_uppercase() {
            [Some(letter / 10), Some(letter % 10)]
        } else {
            [Some(u32::from(byte.wrapping_sub(b'0'))), None]
        };
        for number in pair.into_iter().flatten() {
            match numbers.get_mut(count) {
                Some(slot) => *slot = number,
                None => check = Some(number),
            }
            count += 1;
        }
    }
    let cross: u32 = numbers.iter().zip(WEIGHTS).map(|(n, w)| n * w / 10 + n * w % 10).sum();
    let [_, _, d1, d2, m1, m2, ..] = numbers.map(|n| u8::try_from(n).unwrap_or(99));
    count == 13 && check == Some(cross % 10) && is_day(m1 * 10 + m2, d1 * 10 + d2)
}

/// Austria: the fourth digit checks the rest, modulus 11; the last six are a birth date (month may exceed 12).
pub(in crate::engine::masking::detector) fn at_social_security(value: &[u8]) -> bool {
    let d = digits(value);
    let [_, _, _, check, d1, d2, m1, m2, _, _] = *d else { return false };
    let sum = weighted(&d, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    let month = m1 * 10 + m2;
    (1..=15).contains(&month) && (1..=31).contains(&(d1 * 10 + d2)) && sum % 11 == u32::from(check)
}

/// Portugal NIF: weights 9 to 2, modulus 11.
pub(in crate::engine::masking::detector) fn pt_nif(value: &[u8]) -> bool {
    let d = digits(value);
    let rest = weighted(&d, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    d.len() == 9
        && matches!(d.first(), Some(1 | 2 | 3 | 5 | 6 | 8 | 9))
        && d.last().map(|&last| u32::from(last)) == Some(check)
}

/// Netherlands BSN: weights 9 to 2 and −1, modulus 11.
pub(in crate::engine::masking::detector) fn nl_bsn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9
        && d.iter().any(|&digit| digit != 0)
        && weighted(&d, &[9, 8, 7, 6, 5, 4, 3, 2, 10]).is_multiple_of(11)
}

/// Denmark CPR: a day. Numbers given out since 2007 need not pass the old check.
pub(in crate::engine::masking::detector) fn dk_cpr(value: &[u8]) -> bool {
    let d = digits(value);
    let [d1, d2, m1, m2, ..] = *d else { return false };
    d.len() == 10 && is_day(m1 * 10 + m2, d1 * 10 + d2)
}

/// Iceland kennitala: a day, weights 3 2 7 6 5 4 3 2, modulus 11 in the ninth place.
pub(in crate::engine::masking::detector) fn is_kennitala(value: &[u8]) -> bool {
    let d = digits(value);
    let [d1, d2, m1, m2, ..] = *d else { return false };
    d.len() == 10
        && is_day(m1 * 10 + m2, d1 * 10 + d2)
        && weighted(&d, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// Poland NIP: weights 6 5 7 2 3 4 5 6 7, modulus 11.
pub(in crate::engine::masking::detector) fn pl_nip(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 10
        && d.first() != Some(&0)
        && d.last().map(|&last| u32::from(last)) == Some(weighted(&d, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11)
}

/// Czechia and Slovakia: a day with 50 (or 20, 70) added to the month; ten digits, divisible by 11.
pub(in crate::engine::masking::detector) fn cz_rodne_cislo(value: &[u8]) -> bool {
    let d = digits(value);
    let [_, _, m1, m2, d1, d2, ..] = *d else { return false };
    let month = match m1 * 10 + m2 {
        month @ 71..=82 => month - 70,
        month @ 51..=62 => month - 50,
        month @ 21..=32 => month - 20,
        month => month,
    };
    d.len() == 10 && is_day(month, d1 * 10 + d2) && number(&d).is_some_and(|n| n.is_multiple_of(11))
}

/// Romania CNP: sex and century, a day, county, weights 2 7 9 1 4 6 3 5 8 2 7 9, modulus 11.
pub(in crate::engine::masking::detector) fn ro_cnp(value: &[u8]) -> bool {
    let d = digits(value);
    let [century, _, _, m1, m2, d1, d2, c1, c2, ..] = *d else { return false };
    let rest = weighted(&d, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
    d.len() == 13
        && century != 0
        && is_day(m1 * 10 + m2, d1 * 10 + d2)
        && matches!(c1 * 10 + c2, 1..=52 | 70 | 80..=83)
        && d.last().map(|&last| u32::from(last)) == Some(if rest == 10 { 1 } else { rest })
}

/// Bulgaria EGN: a day with 20 or 40 added to the month, weights 2 4 8 5 10 9 7 3 6, modulus 11.
pub(in crate::engine::masking::detector) fn bg_egn(value: &[u8]) -> bool {
    let d = digits(value);
    let [_, _, m1, m2, d1, d2, ..] = *d else { return false };
    let month = match m1 * 10 + m2 {
        month @ 41..=52 => month - 40,
        month @ 21..=32 => month - 20,
        month => month,
    };
    d.len() == 10
        && is_day(month, d1 * 10 + d2)
        && d.last().map(|&last| u32::from(last))
            == Some(weighted(&d, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10)
}

/// Croatia OIB: ISO 7064 MOD 11,10.
pub(in crate::engine::masking::detector) fn hr_oib(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 11 && mod11_10(&d)
}

/// The JMBG of the successors of Yugoslavia: a day with three digits of the year, modulus 11.
pub(in crate::engine::masking::detector) fn jmbg(value: &[u8]) -> bool {
    let d = digits(value);
    let [d1, d2, m1, m2, y, ..] = *d else { return false };
    let rest = 11 - weighted(&d, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    d.len() == 13
        && is_day(m1 * 10 + m2, d1 * 10 + d2)
        && matches!(y, 0 | 8 | 9)
        && d.last().map(|&last| u32::from(last)) == Some(if rest > 9 { 0 } else { rest })
}

/// Greece AMKA: a day, Luhn over eleven digits.
pub(in crate::engine::masking::detector) fn gr_amka(value: &[u8]) -> bool {
    let d = digits(value);
    let [d1, d2, m1, m2, ..] = *d else { return false };
    d.len() == 11 && is_day(m1 * 10 + m2, d1 * 10 + d2) && luhn(&d)
}

/// Estonia and Lithuania: sex and century, a day, modulus 11 with a second row of weights.
pub(in crate::engine::masking::detector) fn ee_lt_personal_code(value: &[u8]) -> bool {
    let d = digits(value);
    let [century, _, _, m1, m2, d1, d2, ..] = *d else { return false };
    if d.len() != 11 || !(1..=6).contains(&century) || !is_day(m1 * 10 + m2, d1 * 10 + d2) {
        return false;
    }
    let first = weighted(&d, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11;
    let check = if first == 10 { weighted(&d, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10 } else { first };
    d.last().map(|&last| u32::from(last)) == Some(check)
}

/// Russia SNILS: weights 9 to 1, modulus 101.
pub(in crate::engine::masking::detector) fn ru_snils(value: &[u8]) -> bool {
    let d = digits(value);
    let sum = weighted(&d, &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101 % 100;
    d.len() == 11 && d.get(9..).and_then(number) == Some(u64::from(sum))
}

/// Russia INN of a person: twelve digits with two check digits.
pub(in crate::engine::masking::detector) fn ru_inn(value: &[u8]) -> bool {
    let d = digits(value);
    let check = |weights: &[u32]| weighted(&d, weights) % 11 % 10;
    d.len() == 12
        && d.get(10).map(|&x| u32::from(x)) == Some(check(&[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]))
        && d.get(11).map(|&x| u32::from(x)) == Some(check(&[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]))
}

/// The first line of a machine-readable zone: a filler between family and given names.
pub(in crate::engine::masking::detector) fn mrz_names(value: &[u8]) -> bool {
    value.get(5..).is_some_and(|names| names.windows(2).any(|two| two == b"<<"))
}

/// The second line (ICAO 9303): number, birth date and expiry, each with a check digit of weights 7, 3, 1.
pub(in crate::engine::masking::detector) fn mrz_numbers(value: &[u8]) -> bool {
    let field = |range: std::ops::Range<usize>, check: usize| {
        let sum: u32 = value
            .get(range)
            .unwrap_or(&[])
            .iter()
            .zip([7, 3, 1].into_iter().cycle())
            .map(|(&byte, weight)| match byte {
                b'0'..=b'9' => u32::from(byte - b'0') * weight,
                b'A'..=b'Z' => (u32::from(byte - b'A') + 10) * weight,
                _ => 0,
            })
            .sum();
        value.get(check).is_some_and(|&digit| u32::from(digit.wrapping_sub(b'0')) == sum % 10)
    };
    field(0..9, 9) && field(13..19, 19) && field(21..27, 27)
}
