//! Addresses of crypto wallets: Base58Check and Bech32, both with a checksum over the whole.
//!
//! Bech32: <https://github.com/bitcoin/bips/blob/master/bip-0173.mediawiki> and bip-0350.

use sha2::{Digest, Sha256};

/// Pay to key hash (0) or to script hash (5) on Bitcoin's main network.
pub(super) fn bitcoin(value: &[u8]) -> bool {
    base58check(value).is_some_and(|version| matches!(version, 0 | 5))
}

/// The same on Litecoin: 48 and 50.
pub(super) fn litecoin(value: &[u8]) -> bool {
    base58check(value).is_some_and(|version| matches!(version, 48 | 50))
}

pub(super) fn tron(value: &[u8]) -> bool {
    base58check(value) == Some(0x41)
}

/// The version byte of 21 bytes with four bytes of doubled SHA-256 behind them.
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
fn base58check(value: &[u8]) -> Option<u8> {
    // 25 bytes and three more as words of 32 bits, the lowest first: one step for each, not one for each byte.
    let mut words = [0_u32; 7];
    for character in value {
        let number = NUMBER_IN_58[usize::from(*character)];
        if number == NO_NUMBER {
            return None;
        }
        let mut carry = u64::from(number);
        for word in &mut words {
            carry += u64::from(*word) * 58;
            *word = carry as u32;
            carry >>= u32::BITS;
        }
        if carry != 0 {
            return None;
        }
    }
    let mut bytes = [0_u8; 28];
    for (four, word) in bytes.chunks_exact_mut(4).zip(words.iter().rev()) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    let ([0, 0, 0], number) = bytes.split_first_chunk()? else { return None };
    let (payload, check) = number.split_at_checked(21)?;
    (Sha256::digest(Sha256::digest(payload)).get(..4) == Some(check)).then(|| payload.first().copied())?
}

/// Bech32 or Bech32m with the separator `1` behind the first two or three letters, all small letters.
#[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
pub(super) fn segwit(value: &[u8]) -> bool {
    let Some(at) = value.iter().rposition(|&b| b == b'1') else { return false };
    let (prefix, data) = value.split_at(at);
    let data = data.get(1..).unwrap_or(&[]);
    if data.len() < 8 {
        return false;
    }
    let mut state = 1_u32;
    let high = prefix.iter().map(|b| u32::from(b >> 5));
    let low = prefix.iter().map(|b| u32::from(b & 31));
    for number in high.chain([0]).chain(low) {
        state = step(state, number);
    }
    for character in data {
        let number = NUMBER_IN_32[usize::from(*character)];
        if number == NO_NUMBER {
            return false;
        }
        state = step(state, u32::from(number));
    }
    matches!(state, 1 | 0x2bc8_30a3)
}

fn step(state: u32, number: u32) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = state >> 25;
    let next = (state & 0x01ff_ffff) << 5 ^ number;
    GENERATOR
        .iter()
        .enumerate()
        .fold(next, |next, (bit, term)| if top >> bit & 1 == 1 { next ^ term } else { next })
}

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static NUMBER_IN_58: [u8; 256] = numbers(ALPHABET);
static NUMBER_IN_32: [u8; 256] = numbers(BECH32);
const NO_NUMBER: u8 = u8::MAX;

/// Each character's place in an alphabet, by the character.
#[expect(clippy::indexing_slicing, reason = "checked at compile time")]
const fn numbers(alphabet: &[u8]) -> [u8; 256] {
    let mut numbers = [NO_NUMBER; 256];
    let mut at = 0;
    while at < alphabet.len() {
        numbers[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    numbers
}
