//! Validators for the Americas.

use super::is_day;
use crate::engine::masking::detector::checksum::{digits, luhn, number, weighted};

/// United States ITIN: begins with 9, the group is one that the IRS gives out.
pub(in crate::engine::masking::detector) fn us_itin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9
        && d.get(3..5).and_then(number).is_some_and(|g| matches!(g, 50..=65 | 70..=88 | 90..=92 | 94..=99))
}

/// Canada SIN: Luhn; no province begins with 8, and 0 is not given out.
pub(in crate::engine::masking::detector) fn ca_sin(value: &[u8]) -> bool {
    let d = digits(value);
    d.len() == 9 && !matches!(d.first(), Some(0 | 8) | None) && luhn(&d)
}

/// Mexico RFC of a person: a plausible day in the six digits, modulus 11 over letters and digits.
pub(in crate::engine::masking::detector) fn mx_rfc(value: &[u8]) -> bool {
    let Some((&check, body)) = value.split_last() else { return false };
    let d = digits(value.get(4..10).unwrap_or(&[]));
    let [_, _, m1, m2, d1, d2] = *d else { return false };
    let sum: u32 = body
        .iter()
        .zip((2..=13_u32).rev())
        .map(|(&byte, weight)| {
            let rank = match byte {
                b'0'..=b'9' => u32::from(byte - b'0'),
                b'A'..=b'N' => u32::from(byte - b'A') + 10,
                b'O'..=b'Z' => u32::from(byte - b'A') + 11,
                _ => 0,
            };
            rank * weight
        })
        .sum();
    let expected = match 11 - sum % 11 {
        11 => b'0',
        10 => b'A',
        n => b'0' + u8::try_from(n).unwrap_or(0),
    };
    value.len() == 13 && is_day(m1 * 10 + m2, d1 * 10 + d2) && check == expected
}

/// Argentina CUIT and CUIL: weights 5 4 3 2 7 6 5 4 3 2, modulus 11.
pub(in crate::engine::masking::detector) fn ar_cuit(value: &[u8]) -> bool {
    let d = digits(value);
    let check = (11 - weighted(&d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    d.len() == 11 && d.last().map(|&last| u32::from(last)) == Some(check)
}

/// Chile RUT: weights 2 to 7 from the right, modulus 11, K for ten.
pub(in crate::engine::masking::detector) fn cl_rut(value: &[u8]) -> bool {
    let Some((&check, body)) = value.split_last() else { return false };
    let d = digits(body);
    let sum: u32 = d.iter().rev().zip((2..=7_u32).cycle()).map(|(&x, w)| u32::from(x) * w).sum();
    let expected = match 11 - sum % 11 {
        11 => b'0',
        10 => b'K',
        n => b'0' + u8::try_from(n).unwrap_or(0),
    };
    (7..=8).contains(&d.len()) && check.to_ascii_uppercase() == expected
}

/// Uruguay: weights 2 9 8 7 6 3 4, modulus 10.
pub(in crate::engine::masking::detector) fn uy_ci(value: &[u8]) -> bool {
    let d = digits(value);
    let check = (10 - weighted(&d, &[2, 9, 8, 7, 6, 3, 4]) % 10) % 10;
    d.len() == 8 && d.last().map(|&last| u32::from(last)) == Some(check)
}

/// Ecuador: province 1 to 24 (or 30), third digit below 6, Luhn.
pub(in crate::engine::masking::detector) fn ec_cedula(value: &[u8]) -> bool {
    let d = digits(value);
    let province = d.get(..2).and_then(number).unwrap_or(0);
    d.len() == 10 && matches!(province, 1..=24 | 30) && d.get(2).is_some_and(|&x| x < 6) && luhn(&d)
}

/// Mexico CLABE: weights 3 7 1, modulus 10, eighteen digits.
pub(in crate::engine::masking::detector) fn mx_clabe(value: &[u8]) -> bool {
    let d = digits(value);
    let sum: u32 =
        d.iter().take(17).zip([3, 7, 1].into_iter().cycle()).map(|(&x, w)| u32::from(x) * w % 10).sum();
    d.len() == 18 && d.last().map(|&last| u32::from(last)) == Some((10 - sum % 10) % 10)
}

/// United States NPI: begins with 1 or 2; Luhn with 80840 before it, which adds 24.
pub(in crate::engine::masking::detector) fn us_npi(value: &[u8]) -> bool {
    let d = digits(value);
    let sum: u32 = d
        .iter()
        .rev()
        .enumerate()
        .map(
            |(at, &x)| if at % 2 == 1 { u32::from(x) * 2 / 10 + u32::from(x) * 2 % 10 } else { u32::from(x) },
        )
        .sum();
    d.len() == 10 && matches!(d.first(), Some(1 | 2)) && (sum + 24).is_multiple_of(10)
}

/// United States DEA number: first, third, fifth plus twice second, fourth, sixth; last digit.
pub(in crate::engine::masking::detector) fn us_dea(value: &[u8]) -> bool {
    let d = digits(value.get(2..).unwrap_or(&[]));
    let [a, b, c, e, f, g, check] = *d else { return false };
    (a + c + f + 2 * (b + e + g)) % 10 == check
}

/// Vehicle identification number: letters count by table, weights per place, remainder 11 in the ninth.
pub(in crate::engine::masking::detector) fn vin(value: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let sum: u32 = value
        .iter()
        .zip(WEIGHTS)
        .map(|(&byte, weight)| {
            let rank = match byte {
                b'0'..=b'9' => u32::from(byte - b'0'),
                b'A'..=b'H' => u32::from(byte - b'A') + 1,
                b'J'..=b'R' => u32::from(byte - b'J') + 1,
                b'S'..=b'Z' => u32::from(byte - b'S') + 2,
                _ => 0,
            };
            rank * weight
        })
        .sum();
    let expected = match sum % 11 {
        10 => b'X',
        n => b'0' + u8::try_from(n).unwrap_or(0),
    };
    let letters = value.iter().filter(|b| b.is_ascii_uppercase()).count();
    letters >= 3 && value.len() == 17 && value.get(8) == Some(&expected)
}

/// Brazil CNPJ: twelve digits (since 2026 letters too), two check digits modulo 11 over code points from `0`.
pub(in crate::engine::masking::detector) fn br_cnpj(value: &[u8]) -> bool {
    let mut places = [0_u32; 14];
    let mut count = 0;
    for byte in value.iter().filter(|b| b.is_ascii_alphanumeric()) {
        let Some(place) = places.get_mut(count) else { return false };
        *place = u32::from(byte.to_ascii_uppercase().wrapping_sub(b'0'));
        count += 1;
    }
    let check = |checked: usize| {
        // Weights 2 to 9 from the right, again and again.
        let of = places.get(..checked).unwrap_or(&[]);
        let sum: u32 = of.iter().rev().zip((2..=9).cycle()).map(|(place, weight)| place * weight).sum();
        let rest = sum % 11;
        places.get(checked) == Some(&(if rest < 2 { 0 } else { 11 - rest }))
    };
    count == 14 && places.iter().any(|place| Some(place) != places.first()) && check(12) && check(13)
}

/// The same with a letter in it.
pub(in crate::engine::masking::detector) fn br_cnpj_lettered(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_uppercase) && br_cnpj(value)
}

/// The same without separators: fourteen digits are many things, and most firms have fewer than a thousand branches.
pub(in crate::engine::masking::detector) fn br_cnpj_digits(value: &[u8]) -> bool {
    value.get(8) == Some(&b'0') && br_cnpj(value)
}
