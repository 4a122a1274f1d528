//! Finds a secret in bytes, whatever a query made of it: cut, in other case, reversed, in hex or base64, binary.

use std::collections::HashSet;

/// Every piece of every secret, in each form.
#[derive(Default)]
pub struct Pieces {
    /// Six characters, lower case, both directions.
    plain: HashSet<[u8; 6]>,
    /// Six bytes in hex, lower case.
    hex: HashSet<[u8; 12]>,
    /// Eight characters of base64: six bytes, at each of the three places.
    base64: HashSet<[u8; 8]>,
    numbers: HashSet<[u8; 8]>,
}

impl Pieces {
    pub fn new(secrets: &[String], numbers: &[i64]) -> Self {
        let mut pieces = Self::default();
        for secret in secrets {
            pieces.add(secret.as_bytes());
        }
        for number in numbers {
            pieces.add(number.to_string().as_bytes());
            pieces.numbers.insert(number.to_be_bytes());
        }
        pieces
    }

    fn add(&mut self, secret: &[u8]) {
        let upper = secret.to_ascii_uppercase();
        let lower = secret.to_ascii_lowercase();
        let mut reversed = lower.clone();
        reversed.reverse();
        for form in [&lower, &reversed] {
            self.plain.extend(form.windows(6).filter_map(|w| <[u8; 6]>::try_from(w).ok()));
        }
        for form in [secret, &upper, &lower] {
            let hex: Vec<u8> = form.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect();
            self.hex.extend(hex.windows(12).step_by(2).filter_map(|w| <[u8; 12]>::try_from(w).ok()));
            for skip in 0..3 {
                let encoded = base64(form.get(skip..).unwrap_or_default());
                self.base64.extend(encoded.chunks_exact(8).filter_map(|w| <[u8; 8]>::try_from(w).ok()));
            }
        }
    }

    /// Whether a piece of a secret is in a value as it came over the wire.
    pub fn are_in(&self, value: &[u8]) -> bool {
        let lower = value.to_ascii_lowercase();
        self.numbers.iter().any(|n| value.windows(8).any(|w| w == n))
            || lower.windows(6).any(|w| <[u8; 6]>::try_from(w).is_ok_and(|w| self.plain.contains(&w)))
            || lower.windows(12).any(|w| <[u8; 12]>::try_from(w).is_ok_and(|w| self.hex.contains(&w)))
            || value.windows(8).any(|w| <[u8; 8]>::try_from(w).is_ok_and(|w| self.base64.contains(&w)))
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = Vec::new();
    for three in bytes.chunks_exact(3) {
        let word = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        encoded.extend([18, 12, 6, 0].map(|shift| SIGNS[(word >> shift) as usize & 63]));
    }
    encoded
}
