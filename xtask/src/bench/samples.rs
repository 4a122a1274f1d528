//! Figures of all rounds, and what governor's are beside a peer's.
//!
//! A ratio is formed within one round, where both were measured in the same seconds; the median of those is
//! steadier on a shared machine than the ratio of two medians.

use std::collections::BTreeMap;

/// Rows that share an aim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Oltp,
    Connect,
    Bulk,
}

#[derive(Debug)]
pub struct RateRow {
    pub name: String,
    pub group: Group,
    pub unit: &'static str,
}

/// By row and way: one value a round, `NaN` where there is none.
type Figures = BTreeMap<(String, &'static str), Vec<f64>>;

#[derive(Debug, Default)]
pub struct Samples {
    pub rows: Vec<RateRow>,
    rates: Figures,
    costs: Figures,
    rounds: usize,
}

impl Samples {
    pub fn rate(&mut self, row: &str, group: Group, unit: &'static str, way: &'static str, value: f64) {
        if !self.rows.iter().any(|known| known.name == row) {
            self.rows.push(RateRow { name: row.into(), group, unit });
        }
        self.rates.entry((row.into(), way)).or_default().push(value);
    }

    /// Microseconds of the proxy's CPU for one transaction.
    pub fn cost(&mut self, row: &str, way: &'static str, value: f64) {
        self.costs.entry((row.into(), way)).or_default().push(value);
    }

    /// Fills up what this round did not measure, so that values of one round stay side by side.
    pub fn end_of_round(&mut self) {
        self.rounds += 1;
        for values in self.rates.values_mut().chain(self.costs.values_mut()) {
            values.resize(self.rounds, f64::NAN);
        }
    }

    pub fn median_rate(&self, row: &str, way: &'static str) -> Option<f64> {
        median(self.rates.get(&(row.into(), way))?)
    }

    pub fn median_cost(&self, row: &str, way: &'static str) -> Option<f64> {
        median(self.costs.get(&(row.into(), way))?)
    }

    /// Throughput of `way` as a share of `other`'s.
    pub fn rate_ratio(&self, row: &str, way: &'static str, other: &'static str) -> Option<f64> {
        ratio(&self.rates, row, way, other)
    }

    /// CPU of `way` for a transaction as a multiple of `other`'s.
    pub fn cost_ratio(&self, row: &str, way: &'static str, other: &'static str) -> Option<f64> {
        ratio(&self.costs, row, way, other)
    }
}

fn ratio(figures: &Figures, row: &str, way: &'static str, other: &'static str) -> Option<f64> {
    let of = |way| figures.get(&(row.to_owned(), way));
    let ratios: Vec<f64> = of(way)?.iter().zip(of(other)?).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// The middle one; of an even number the lower of the two.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

/// Where ratios are joined: twice as fast here and half as fast there is even.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.0));
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        let mut samples = Samples::default();
        for (a, b) in [(10.0, 20.0), (100.0, 100.0), (30.0, 30.0)] {
            samples.rate("row", Group::Oltp, "tps", "a", a);
            samples.rate("row", Group::Oltp, "tps", "b", b);
            samples.end_of_round();
        }
        assert_eq!(samples.rate_ratio("row", "a", "b"), Some(1.0));
        assert_eq!(samples.rate_ratio("row", "a", "c"), None);
    }

    #[test]
    fn twice_and_half_are_even() {
        assert_eq!(geometric_mean(&[2.0, 0.5]), Some(1.0));
        assert_eq!(geometric_mean(&[]), None);
    }
}
