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
    let mut buffer = [b'0'; 32];
    if let Some(written) = buffer.get_mut(..value.len()) {
        written.copy_from_slice(value);
        let buffer = buffer.map(|byte| byte.wrapping_sub(b'0'));
        if !buffer.iter().fold(false, |other, &digit| other | (digit > 9)) {
            return Digits { buffer, count: value.len(), overflow: false };
        }
    }
    separated_digits(value)
}

fn separated_digits(value: &[u8]) -> Digits {
    let mut digits = Digits { buffer: [0; 32], count: 0, overflow: false };
    for byte in value.iter().filter(|b| b.is_ascii_digit()) {
        match digits.buffer.get_mut(digits.count) {
            Some(slot) => {
                *slot = byte - b'0';
                digits.count += 1;
            }
            None => digits.overflow = true,
        }
    }
    digits
}

/// Digits without their separators, on the stack.
pub(super) struct Digits {
    buffer: [u8; 32],
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

const VERHOEFF_PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
