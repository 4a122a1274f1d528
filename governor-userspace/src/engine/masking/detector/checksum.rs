//! Check digits: the arithmetic that tells an identity number from any other number.
//!
//! Every function takes digits (0 to 9 as numbers, separators already gone) or ASCII bytes, allocates
//! nothing and answers `false` for input of the wrong length.

/// Luhn (ISO/IEC 7812-1 annex B): payment cards, Swedish and South African identity numbers.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, &digit)| match (at % 2, u32::from(digit) * 2) {
            (0, _) => u32::from(digit),
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// ISO 7064 MOD 97-10 as IBAN uses it: first four characters moved to the end, letters count 10 to 35.
pub(super) fn iban_mod97(iban: &[u8]) -> bool {
    let Some((head, tail)) = iban.split_at_checked(4) else { return false };
    let mut rest = 0_u64;
    for &byte in tail.iter().chain(head) {
        rest = match byte {
            b'0'..=b'9' => rest * 10 + u64::from(byte - b'0'),
            b'A'..=b'Z' => rest * 100 + u64::from(byte - b'A') + 10,
            _ => return false,
        };
        // Dividing is dear, so not at every digit.
        if rest > u64::MAX / 1000 {
            rest %= 97;
        }
    }
    rest % 97 == 1
}

/// Verhoeff: the dihedral group D5 with a permutation per place; Aadhaar.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    let mut state = 0_u8;
    for (place, &digit) in digits.iter().rev().enumerate() {
        let mut permuted = digit;
        for _ in 0..place % 8 {
            permuted = match VERHOEFF_PERMUTATION.get(usize::from(permuted)) {
                Some(&next) => next,
                None => return false,
            };
        }
        state = dihedral(state, permuted);
    }
    !digits.is_empty() && state == 0
}

/// Product in D5: 0 to 4 are rotations, 5 to 9 reflections.
fn dihedral(a: u8, b: u8) -> u8 {
    let (ra, rb) = (a % 5, b % 5);
    match (a < 5, b < 5) {
        (true, true) => (ra + rb) % 5,
        (true, false) => (ra + rb) % 5 + 5,
        (false, true) => (ra + 5 - rb) % 5 + 5,
        (false, false) => (ra + 5 - rb) % 5,
    }
}

/// Sum of digit times weight over the shorter of both.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&digit, &weight)| u32::from(digit) * weight).sum()
}

/// ISO 7064 MOD 11,10: the German tax number.
pub(super) fn mod11_10(digits: &[u8]) -> bool {
    let Some((&check, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10_u32, |product, &digit| {
        let sum = (u32::from(digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == u32::from(check)
}

/// EAN-13 and ISBN-13: weights 1 and 3 alternate.
pub(super) fn ean13(digits: &[u8]) -> bool {
    digits.len() == 13 && weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

/// ISBN-10 made of digits only: negative evidence, since such a book number looks like a phone number.
pub(super) fn isbn10(digits: &[u8]) -> bool {
    digits.len() == 10 && weighted(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// The digits as one number; `None` above 18 digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    (digits.len() <= 18).then(|| digits.iter().fold(0, |n, &digit| n * 10 + u64::from(digit)))
}

/// The ASCII digits of `value` as numbers, at most 32 (no identity number is longer).
#[inline]
pub(super) fn digits(value: &[u8]) -> Digits {
    // Most are written without separators, which all bytes tell at once.
    match written_together(value) {
        Some(buffer) => Digits { buffer, count: value.len(), overflow: false },
        None => separated_digits(value),
    }
}

/// Eight to 32 digits and nothing else, as numbers; zeros behind them. `None` for all other values.
///
/// Two loads that may overlap hold them all: copying as many bytes as there are costs a call, and this is asked up to ten times of one number.
#[inline]
fn written_together(value: &[u8]) -> Option<[u8; DIGITS_MAX]> {
    let bits = |bytes: usize| 8 * u32::try_from(bytes).unwrap_or(0);
    let (low, high, missing) = match value.len() {
        8..=16 => {
            let first = u128::from(u64::from_le_bytes(*value.first_chunk()?));
            let last = u128::from(u64::from_le_bytes(*value.last_chunk()?));
            (first | last << bits(value.len() - 8), 0, 16 - value.len())
        }
        17..=DIGITS_MAX => {
            let (first, last) = (u128::from_le_bytes(*value.first_chunk()?), *value.last_chunk()?);
            let missing = DIGITS_MAX - value.len();
            (first, u128::from_le_bytes(last) >> bits(missing), missing)
        }
        _ => return None,
    };
    let is_long = value.len() > 16;
    let shown = |zeros: u128| zeros >> bits(missing);
    let (low_zeros, high_zeros) = if is_long { (ZEROS, shown(ZEROS)) } else { (shown(ZEROS), 0) };
    // What is no digit is above 9 then.
    let (low, high) = (low ^ low_zeros, high ^ high_zeros);
    if (is_above_nine(low) | is_above_nine(high)) != 0 {
        return None;
    }
    let mut buffer = [0; DIGITS_MAX];
    let (first, last) = buffer.split_at_mut(16);
    first.copy_from_slice(&low.to_le_bytes());
    last.copy_from_slice(&high.to_le_bytes());
    Some(buffer)
}

/// Not 0 where some of the sixteen bytes is above 9.
#[inline]
fn is_above_nine(bytes: u128) -> u128 {
    const HIGHEST: u128 = u128::from_ne_bytes([0x80; 16]);
    // A sum leaves its byte only where that byte has its highest bit, and says so by itself.
    (bytes.wrapping_add(u128::from_ne_bytes([0x7f - 9; 16])) | bytes) & HIGHEST
}

fn separated_digits(value: &[u8]) -> Digits {
    let mut digits = Digits { buffer: [0; DIGITS_MAX], count: 0, overflow: false };
    for byte in value {
        let is_digit = byte.is_ascii_digit();
        match digits.buffer.get_mut(digits.count) {
            // The next digit is written over what is none: nothing has to guess which it is.
            Some(slot) => {
                *slot = byte.wrapping_sub(b'0');
                digits.count += usize::from(is_digit);
            }
            None => digits.overflow |= is_digit,
        }
    }
    digits
}

/// Digits without their separators, on the stack.
pub(super) struct Digits {
    buffer: [u8; DIGITS_MAX],
    count: usize,
    overflow: bool,
}

impl Digits {
    /// The last digit first.
    pub(super) fn reversed(mut self) -> Self {
        if let Some(written) = self.buffer.get_mut(..self.count) {
            written.reverse();
        }
        self
    }
}

impl std::ops::Deref for Digits {
    type Target = [u8];
    /// Empty where there were more digits than any identity number has.
    fn deref(&self) -> &[u8] {
        if self.overflow { &[] } else { self.buffer.get(..self.count).unwrap_or(&[]) }
    }
}

/// Digits of the longest identity number.
const DIGITS_MAX: usize = 32;
const ZEROS: u128 = u128::from_ne_bytes([b'0'; 16]);
const VERHOEFF_PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

#[cfg(test)]
mod tests {
    use super::*;

    /// Of every length, and with every byte in every place between them.
    #[test]
    fn digits_are_read_whatever_stands_between_them() {
        let one_by_one = |value: &[u8]| {
            let digits: Vec<u8> = value.iter().filter(|b| b.is_ascii_digit()).map(|b| b - b'0').collect();
            if digits.len() > DIGITS_MAX { Vec::new() } else { digits }
        };
        for length in 0..40_u8 {
            let number: Vec<u8> = (0..length).map(|at| b'0' + at % 10 * 7 % 10).collect();
            assert_eq!(*digits(&number), one_by_one(&number));
            for place in 0..number.len() {
                for byte in 0..=u8::MAX {
                    let mut value = number.clone();
                    value[place] = byte;
                    assert_eq!(*digits(&value), one_by_one(&value), "{value:?}");
                }
            }
        }
    }
}
