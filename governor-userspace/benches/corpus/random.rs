//! The corpus's randomness: one seed, the same values on every machine.
//!
//! SplitMix64: <https://prng.di.unimi.it/splitmix64.c> describes it. Nothing here has to be hard to guess.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Makes one value of a kind.
pub type Maker = fn(&mut Random) -> String;

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for each column, so that adding one does not change the others.
    pub fn derive(&self, name: &str) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(self.0 ^ hash)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound` - 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }

    pub fn of(&mut self, alphabet: &str, count: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..count).map(|_| letters[self.below(letters.len() as u64) as usize]).collect()
    }

    pub fn digits(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(10) as u32).collect()
    }

    /// `#` a digit, `%` a digit but 0, `@` a capital, `?` a small letter, `^` a hexadecimal digit; all else stays.
    pub fn fill(&mut self, pattern: &str) -> String {
        pattern
            .chars()
            .map(|c| match c {
                '#' => char::from(b'0' + self.below(10) as u8),
                '%' => char::from(b'1' + self.below(9) as u8),
                '@' => char::from(b'A' + self.below(26) as u8),
                '?' => char::from(b'a' + self.below(26) as u8),
                '^' => char::from(b"0123456789abcdef"[self.below(16) as usize]),
                other => other,
            })
            .collect()
    }

    /// A day from `first` to `last`, both years included.
    pub fn day(&mut self, first: u64, last: u64) -> (u64, u64, u64) {
        (self.between(first, last), self.between(1, 12), self.between(1, 28))
    }
}
