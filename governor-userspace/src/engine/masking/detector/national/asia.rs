//! Validators for Asia and Oceania.

use super::is_day;
use crate::engine::masking::detector::checksum::{digits, luhn, weighted};

/// Hong Kong: one or two letters, six digits, a check character modulo 11 in brackets.
pub(in crate::engine::masking::detector) fn hk_id(value: &[u8]) -> bool {
    let letters = value.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let rank = |at: usize| value.get(at).map_or(36, |b| u32::from(b.wrapping_sub(b'A')) + 10);
    let head = match letters {
        1 => 36 * 9 + rank(0) * 8,
        _ => rank(0) * 9 + rank(1) * 8,
    };
    let d = digits(value.get(letters..letters + 6).unwrap_or(&[]));
    let check = match value.iter().rev().nth(1) {
        Some(b'A') => 10,
        Some(digit) => u32::from(digit.wrapping_sub(b'0')),
        None => return false,
    };
    (head + weighted(&d, &[7, 6, 5, 4, 3, 2]) + check).is_multiple_of(11)
}

/// Taiwan: the letter is a number from 10 to 35 by county; weights 1 9, 8 to 1, 1.
pub(in crate::engine::masking::detector) fn tw_id(value: &[u8]) -> bool {
    let Some((first, rest)) = value.split_first() else { return false };
    let Some(rank) = b"ABCDEFGHJKLMNPQRSTUVXYWZIO".iter().position(|letter| letter == first) else {
        return false;
    };
    let number = u32::try_from(rank).unwrap_or(0) + 10;
    let sum = number / 10 + number % 10 * 9 + weighted(&digits(rest), &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    sum.is_multiple_of(10)
}

/// Japan, individual number: weights 6 5 4 3 2 7 6 5 4 3 2, modulus 11.
pub(in crate::engine::masking::detector) fn jp_my_number(value: &[u8]) -> bool {
    let d = digits(value);
    let rest = weighted(&d, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    let check = if rest < 2 { 0 } else { 11 - rest };
    d.len() == 12 && d.last().map(|&last| u32::from(last)) == Some(check)
}

/// Malaysia: a day and a place of birth that is given out.
pub(in crate::engine::masking::detector) fn my_nric(value: &[u8]) -> bool {
    let d = digits(value);
    let [_, _, m1, m2, d1, d2, p1, p2, ..] = *d else { return false };
    d.len() == 12
        && is_day(m1 * 10 + m2, d1 * 10 + d2)
        && matches!(p1 * 10 + p2, 1..=16 | 21..=59 | 60..=68 | 71 | 72 | 74..=79 | 82..=93 | 98 | 99)
}

/// Thailand: weights 13 to 2, modulus 11.
pub(in crate::engine::masking::detector) fn th_id(value: &[u8]) -> bool {
    let d = digits(value);
    let check = (11 - weighted(&d, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 10;
    d.len() == 13 && !matches!(d.first(), Some(0 | 9)) && d.last().map(|&last| u32::from(last)) == Some(check)
}

/// United Arab Emirates: 784, year of birth, Luhn.
pub(in crate::engine::masking::detector) fn ae_emirates_id(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 15 && matches!(d.get(3..5), Some([1, 9] | [2, 0])) && luhn(&d)
}

/// Turkey: two check digits over nine.
pub(in crate::engine::masking::detector) fn tr_tckn(value: &[u8]) -> bool {
    let d = digits(value);
    let [a, b, c, e, f, g, h, i, j, tenth, last] = *d else { return false };
    let odd = u32::from(a) + u32::from(c) + u32::from(f) + u32::from(h) + u32::from(j);
    let even = u32::from(b) + u32::from(e) + u32::from(g) + u32::from(i);
    a != 0
        && (odd * 7 + 90 - even) % 10 == u32::from(tenth)
        && (odd + even + u32::from(tenth)) % 10 == u32::from(last)
}

/// Israel: Luhn from the left over nine digits.
pub(in crate::engine::masking::detector) fn il_id(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && d.iter().any(|&digit| digit != 0) && luhn(&d)
}

/// Australia, tax file number: weights 1 4 3 7 5 8 6 9 10, modulus 11.
pub(in crate::engine::masking::detector) fn au_tfn(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && weighted(&d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

/// Australia, Medicare: weights 1 3 7 9, the ninth digit checks.
pub(in crate::engine::masking::detector) fn au_medicare(value: &[u8]) -> bool {
    let d = digits(value);
    (10..=11).contains(&d.len())
        && d.get(8).map(|&check| u32::from(check)) == Some(weighted(&d, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10)
}
