//! A small non-cryptographic hasher for keys that are compared in full after it.
//!
//! Finding a collision lets nobody share another's decision: it only makes two questions take turns in
//! one place of a cache.

use std::hash::Hasher;

/// Folds 8 bytes at a time through a 64 × 64 → 128 bit product.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHasher(u64);

impl KeyHasher {
    pub fn new() -> Self {
        Self(SEED)
    }

    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            self.fold(u64::from_le_bytes(last) ^ ((rest.len() as u64) << 56));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.fold(u64::from(n) | 1 << 32);
    }

    fn write_u16(&mut self, n: u16) {
        self.fold(u64::from(n) | 1 << 33);
    }

    fn write_u32(&mut self, n: u32) {
        self.fold(u64::from(n) | 1 << 34);
    }

    fn write_u64(&mut self, n: u64) {
        self.fold(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.fold(n as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

// Digits of pi and of the golden ratio: odd, with both bits well mixed.
const SEED: u64 = 0x243f_6a88_85a3_08d3;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
