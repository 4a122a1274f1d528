//! Whether the numbers of a column are telephone numbers of one country, by its numbering plan.
//!
//! One number that a plan gives out is no evidence: somewhere in the world most numbers of nine digits are somebody's. A column of
//! them is, where the plan has gaps and no number falls into one. How much evidence is counted against what else the numbers may
//! be, a counter or a customer's number: any from the smallest to the largest that was seen, so a plan without gaps there says
//! nothing. Numbers that differ in their last four digits alone count once.
//!
//! Looked at in sampled values only, never where rows are masked. Counts, the bounds of prefixes and a sketch of how many there are
//! is all that is kept.

mod table;

use serde::{Deserialize, Serialize};
use table::{Form, Reading, TABLE};

/// What plans say of a column's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlanEvidence {
    /// Numbers that were looked at.
    numbers: u32,
    tallies: Vec<Tally>,
    /// Which prefixes were seen, one bit for each hash.
    prefixes: [u64; PREFIX_WORDS],
}

/// Numbers of one plan, written in one form and of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    plan: u8,
    form: u8,
    length: u8,
    count: u32,
    prefix_low: u16,
    prefix_high: u16,
}

/// The plan that a column's numbers are of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlanFit {
    /// Whose numbers they are, where they begin with the calling code. Without it the plans of several countries fit most columns,
    /// and the one with most evidence is another country's in one of six.
    pub(super) countries: Option<&'static str>,
    /// Numbers that the plan gives out.
    pub(super) count: u32,
    /// Evidence against any numbers between the smallest and the largest.
    pub(super) bits: f64,
}

impl PlanEvidence {
    /// Counts a value; nothing where it is no number of telephones' lengths.
    pub(super) fn note(&mut self, value: &[u8]) {
        if !DIGITS.contains(&value.len()) || !value.iter().all(u8::is_ascii_digit) {
            return;
        }
        let Ok(digits) = std::str::from_utf8(value) else { return };
        self.numbers = self.numbers.saturating_add(1);
        let bit = bit_of(value.get(..value.len() - 4).unwrap_or_default());
        if let Some(word) = self.prefixes.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
        TABLE.readings(digits, &mut |Reading { plan, form, length, prefix }| {
            self.add(Tally {
                plan,
                form: form as u8,
                length,
                count: 1,
                prefix_low: prefix,
                prefix_high: prefix,
            });
        });
        if self.numbers == NUMBERS_FIRST {
            self.prune();
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.numbers = self.numbers.saturating_add(other.numbers);
        for (mine, theirs) in self.prefixes.iter_mut().zip(other.prefixes) {
            *mine |= theirs;
        }
        for tally in &other.tallies {
            self.add(*tally);
        }
        if self.numbers >= NUMBERS_FIRST {
            self.prune();
        }
    }

    fn add(&mut self, more: Tally) {
        let key = |tally: &Tally| (tally.plan, tally.form, tally.length);
        let has_room = self.tallies.len() < TALLIES_MAX;
        match self.tallies.iter_mut().find(|tally| key(tally) == key(&more)) {
            Some(tally) => {
                tally.count = tally.count.saturating_add(more.count);
                tally.prefix_low = tally.prefix_low.min(more.prefix_low);
                tally.prefix_high = tally.prefix_high.max(more.prefix_high);
            }
            None if has_room => self.tallies.push(more),
            None => {}
        }
    }

    /// Forgets plans that half of the numbers are not of.
    fn prune(&mut self) {
        let least = self.numbers / 2;
        let all = std::mem::take(&mut self.tallies);
        let of = |plan: u8, form: u8| -> u32 {
            all.iter().filter(|t| (t.plan, t.form) == (plan, form)).map(|t| t.count).sum()
        };
        self.tallies = all.iter().filter(|tally| of(tally.plan, tally.form) >= least).copied().collect();
    }

    /// The plan for which there is most evidence, if nearly all numbers are of one.
    pub(super) fn fit(&self) -> Option<PlanFit> {
        if self.numbers < NUMBERS_MIN {
            return None;
        }
        let mut best: Option<(&Tally, PlanFit)> = None;
        for (at, first) in self.tallies.iter().enumerate() {
            let is_same = |other: &&Tally| (other.plan, other.form) == (first.plan, first.form);
            if self.tallies.iter().take(at).any(|earlier| is_same(&earlier)) {
                continue;
            }
            let Some(fit) = self.fit_of(self.tallies.iter().filter(is_same)) else { continue };
            if best.is_none_or(|(_, best)| best.bits < fit.bits) {
                best = Some((first, fit));
            }
        }
        let (first, fit) = best?;
        let has_code = first.form == Form::WithCode as u8;
        let countries = TABLE.plan(first.plan).map(|plan| plan.countries).filter(|_| has_code);
        Some(PlanFit { countries, ..fit })
    }

    fn fit_of<'a>(&self, tallies: impl Iterator<Item = &'a Tally>) -> Option<PlanFit> {
        let (mut count, mut bits) = (0_u32, 0.0);
        for tally in tallies {
            let density = TABLE.density(tally.plan, tally.length, tally.prefix_low..=tally.prefix_high);
            count = count.saturating_add(tally.count);
            bits -= f64::from(tally.count) * density.max(DENSITY_MIN).log2();
        }
        let share = f64::from(count) / f64::from(self.numbers);
        if share < PLAN_SHARE_MIN {
            return None;
        }
        let by_chance = (-bits / f64::from(count.max(1))).exp2();
        let seen: u32 = self.prefixes.iter().map(|word| word.count_ones()).sum();
        let bits = f64::from(seen.min(count)) * divergence(share, by_chance);
        Some(PlanFit { countries: None, count, bits })
    }
}

/// What one number says, in bits, where `share` of them are of a plan and `density` would be by chance.
fn divergence(share: f64, density: f64) -> f64 {
    if share <= density {
        return 0.0;
    }
    let part = |p: f64, q: f64| if p <= 0.0 { 0.0 } else { p * (p / q.max(1e-9)).log2() };
    part(share, density) + part(1.0 - share, 1.0 - density)
}

/// FNV-1a, folded: the order of prefixes does not show.
fn bit_of(prefix: &[u8]) -> usize {
    let hash = prefix.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from((hash ^ hash >> 32) % (PREFIX_WORDS as u64 * 64)).unwrap_or(0)
}

/// Digits of a value that is looked at: with trunk prefix or calling code up to 15 (ITU-T E.164).
const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// From so many on plans that do not fit are forgotten.
const NUMBERS_FIRST: u32 = 32;
const NUMBERS_MIN: u32 = 20;
/// The rest may have been ported, or be somebody's mistakes.
pub(super) const PLAN_SHARE_MIN: f64 = 0.9;
/// One prefix of all that there are.
const DENSITY_MIN: f64 = 1e-4;
/// Of one column: nothing has more plans than a number of nine digits, with about a hundred.
const TALLIES_MAX: usize = 128;
/// 512 bits.
const PREFIX_WORDS: usize = 8;

#[cfg(test)]
mod tests;
