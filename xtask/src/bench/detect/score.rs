//! Precision, recall and F1: of labels, over all, and of the one question that masking asks.

use super::labels::{blamed, claims, is_right};
use std::collections::BTreeMap;

/// What was said of one value or column, beside what it is.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    pub label: &'a str,
    /// Words, best first; empty where nothing was found.
    pub said: Vec<&'a str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub right: u32,
    /// Said where it is not so.
    pub wrong: u32,
    pub missed: u32,
}

impl Counts {
    pub fn precision(self) -> f64 {
        share(self.right, self.right + self.wrong)
    }

    pub fn recall(self) -> f64 {
        share(self.right, self.right + self.missed)
    }

    pub fn f1(self) -> f64 {
        share(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 { 1.0 } else { f64::from(part) / f64::from(whole) }
}

/// Figures of one tool in one setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    pub by_label: BTreeMap<String, Counts>,
    /// The sum over labels: a value counts as found where its kind was named.
    pub named: Counts,
    /// Whether anything was found where there is something: what decides about masking.
    pub hidden: Counts,
}

pub fn score<'a>(all: impl Iterator<Item = Judged<'a>>) -> Score {
    let mut score = Score::default();
    for Judged { label, said } in all {
        let sensitive = label != NONE;
        let claim = said.iter().find(|word| claims(word, label));
        if sensitive {
            let own = score.by_label.entry(label.to_owned()).or_default();
            // Of several words one that is right is enough: nobody knows which one a user would go by.
            if said.iter().any(|word| is_right(word, label)) {
                own.right += 1;
                score.named.right += 1;
            } else {
                own.missed += 1;
                score.named.missed += 1;
                if let Some(word) = claim {
                    wrong(&mut score, word);
                }
            }
            match claim {
                Some(_) => score.hidden.right += 1,
                None => score.hidden.missed += 1,
            }
        } else if let Some(word) = claim {
            wrong(&mut score, word);
            score.hidden.wrong += 1;
        }
    }
    score
}

fn wrong(score: &mut Score, word: &str) {
    score.named.wrong += 1;
    score.by_label.entry(blamed(word).to_owned()).or_default().wrong += 1;
}

/// Values that are nothing.
pub const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(all: &[(&'static str, &'static [&'static str])]) -> Score {
        score(all.iter().map(|(label, said)| Judged { label, said: said.to_vec() }))
    }

    #[test]
    fn a_wrong_name_is_a_miss_and_a_false_claim_but_it_hides() {
        let score =
            judged(&[("us_ssn", &["phone"]), ("us_ssn", &["us_ssn"]), ("us_ssn", &[]), (NONE, &["phone"])]);
        assert_eq!(score.named, Counts { right: 1, wrong: 2, missed: 2 });
        assert_eq!(score.hidden, Counts { right: 2, wrong: 1, missed: 1 });
        assert_eq!(score.by_label["phone"], Counts { right: 0, wrong: 2, missed: 0 });
        assert_eq!(score.by_label["us_ssn"].recall(), 1.0 / 3.0);
    }

    #[test]
    fn one_right_word_of_several_is_enough_and_silence_about_nothing_is_right() {
        let score = judged(&[("email", &["URL", "PERSON", "EMAIL_ADDRESS"]), (NONE, &[]), (NONE, &["URL"])]);
        assert_eq!((score.named.f1(), score.hidden.f1()), (1.0, 1.0));
    }
}
