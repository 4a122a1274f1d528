//! Check digits, from the issuers' descriptions: what makes a made-up number valid.
//!
//! Written apart from the detectors' own arithmetic on purpose: a mistake in one of them shows as a miss.

/// The digit that makes `digits` and it pass Luhn.
pub fn luhn(digits: &[u32]) -> u32 {
    let sum: u32 = digits.iter().rev().enumerate().fold(0, |sum, (at, &digit)| {
        let weighed = if at % 2 == 0 { digit * 2 } else { digit };
        sum + weighed / 10 + weighed % 10
    });
    (10 - sum % 10) % 10
}

pub fn weighed(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// ISO 7064 MOD 11,10.
pub fn mod_11_10(digits: &[u32]) -> u32 {
    let rest = digits.iter().fold(10, |rest, digit| {
        let sum = match (digit + rest) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    (11 - rest) % 10
}

/// The two digits of an IBAN behind its country.
pub fn iban(country: &str, account: &str) -> String {
    let rest = format!("{account}{country}00").chars().fold(0_u32, |rest, c| match c.to_digit(36) {
        Some(value) if value < 10 => (rest * 10 + value) % 97,
        Some(value) => (rest * 100 + value) % 97,
        None => rest,
    });
    format!("{:02}", 98 - rest)
}

/// Verhoeff's check digit: multiplication in the dihedral group of order ten.
pub fn verhoeff(digits: &[u32]) -> u32 {
    const PERMUTE: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    const INVERSE: [u32; 10] = [0, 4, 3, 2, 1, 5, 6, 7, 8, 9];
    let multiply = |a: u32, b: u32| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let state = digits.iter().rev().enumerate().fold(0, |state, (at, &digit)| {
        let times = (at + 1) % 8;
        multiply(state, (0..times).fold(digit, |digit, _| PERMUTE[digit as usize]))
    });
    INVERSE[state as usize]
}

pub fn text(digits: &[u32]) -> String {
    digits.iter().filter_map(|&digit| char::from_digit(digit, 10)).collect()
}

/// Digits of a text; other characters do not count.
pub fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

/// Bitcoin's base58 with the first four bytes of a double SHA-256 behind.
pub fn base58check(payload: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let sum = Sha256::digest(Sha256::digest(payload));
    let bytes: Vec<u8> = payload.iter().chain(sum.iter().take(4)).copied().collect();
    let mut number: Vec<u32> = Vec::new();
    for byte in &bytes {
        let mut carry = u32::from(*byte);
        for place in &mut number {
            carry += *place << 8;
            *place = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            number.push(carry % 58);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let body = number.iter().rev().map(|&place| char::from(ALPHABET[place as usize]));
    std::iter::repeat_n('1', zeros).chain(body).collect()
}

/// BIP 173, with a payload of five-bit groups.
pub fn bech32(human: &str, data: &[u8]) -> String {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let polymod = |values: &mut dyn Iterator<Item = u8>| {
        values.fold(1_u32, |state, value| {
            let top = state >> 25;
            let state = (state & 0x1ff_ffff) << 5 ^ u32::from(value);
            [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3].iter().enumerate().fold(
                state,
                |state, (at, generator)| if top >> at & 1 == 1 { state ^ generator } else { state },
            )
        })
    };
    let expanded = human.bytes().map(|b| b >> 5).chain([0]).chain(human.bytes().map(|b| b & 31));
    let sum = polymod(&mut expanded.chain(data.iter().copied()).chain([0; 6])) ^ 1;
    let check = (0..6).map(|at| (sum >> (5 * (5 - at)) & 31) as u8);
    let body = data.iter().copied().chain(check).map(|group| char::from(ALPHABET[usize::from(group)]));
    format!("{human}1{}", body.collect::<String>())
}
