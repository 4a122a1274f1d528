//! Microsoft Presidio on the same values: installed on demand, asked once, kept beside the corpus.

use super::labels::claims;
use super::score::{Judged, Score, score};
use super::{Column, shell};
use crate::setup;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What Presidio said.
#[derive(Debug, Deserialize)]
pub struct Answers {
    pub version: String,
    /// `None`: only its pattern recognisers ran.
    pub model: Option<String>,
    /// What it looks for where nobody asks for more.
    usual: Vec<String>,
    columns: Vec<ColumnAnswer>,
    pub ns_per_value: f64,
}

#[derive(Debug, Deserialize)]
struct ColumnAnswer {
    alone: Vec<Vec<Word>>,
    clear: Vec<Vec<Word>>,
}

/// Entity and score.
type Word = (String, f64);

/// Presidio's figures with the threshold and the set of kinds that suit it best.
#[derive(Debug)]
pub struct Best {
    pub score: Score,
    pub threshold: f64,
}

/// Writes its answers as a file.
pub fn ask(corpus: &Path, out: &Path) -> Result<()> {
    let place = setup::presidio()?;
    let script = crate::workspace::root().join("xtask/src/bench/detect/presidio.py");
    shell::run(Command::new(place.join("bin/python")).arg(script).arg(corpus).arg(out))
}

pub fn read(out: &Path) -> Result<Answers> {
    serde_json::from_str(&std::fs::read_to_string(out)?).context("Presidio's answers")
}

impl Answers {
    /// By value, alone or with the column's name as context.
    pub fn values(&self, columns: &[Column], in_context: bool) -> Option<Best> {
        best(self.choices().map(|choice| {
            let judged = columns.iter().zip(&self.columns).flat_map(|(column, answer)| {
                answer.of(in_context).iter().map(move |words| Judged {
                    label: &column.label,
                    said: words.iter().filter(|word| choice.keeps(word)).map(|w| w.0.as_str()).collect(),
                })
            });
            Best { score: score(judged), threshold: choice.threshold }
        }))
    }

    /// By column: what most of its values are said to be, if enough of them are.
    pub fn by_column(&self, columns: &[Column], in_context: bool) -> Option<Best> {
        let settings = self.choices().flat_map(|choice| SHARES.map(|share| (choice, share)));
        best(settings.map(|(choice, share)| {
            let judged = columns.iter().zip(&self.columns).map(|(column, answer)| Judged {
                label: &column.label,
                said: verdict(answer.of(in_context), choice, share).into_iter().collect(),
            });
            Best { score: score(judged), threshold: choice.threshold }
        }))
    }

    fn choices(&self) -> impl Iterator<Item = Choice<'_>> {
        let sets = [None, Some(self.usual.as_slice())];
        sets.into_iter().flat_map(|only| THRESHOLDS.map(|threshold| Choice { threshold, only }))
    }
}

/// Which of its answers count.
#[derive(Clone, Copy)]
struct Choice<'a> {
    threshold: f64,
    only: Option<&'a [String]>,
}

impl Choice<'_> {
    fn keeps(self, (word, score): &Word) -> bool {
        *score >= self.threshold && self.only.is_none_or(|only| only.contains(word))
    }
}

impl ColumnAnswer {
    fn of(&self, in_context: bool) -> &[Vec<Word>] {
        if in_context { &self.clear } else { &self.alone }
    }
}

/// The word that stands first in most values. Words that count for nothing are passed over.
fn verdict<'a>(values: &'a [Vec<Word>], choice: Choice<'_>, share: f64) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for words in values {
        let counted = words.iter().find(|word| choice.keeps(word) && claims(&word.0, "date_of_birth"));
        if let Some((word, _)) = counted {
            *counts.entry(word).or_default() += 1;
        }
    }
    let (word, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count as f64 >= share * values.len() as f64).then_some(word)
}

fn best(all: impl Iterator<Item = Best>) -> Option<Best> {
    all.max_by(|a, b| a.score.named.f1().total_cmp(&b.score.named.f1()))
}

const THRESHOLDS: [f64; 6] = [0.0, 0.3, 0.4, 0.5, 0.6, 0.8];
const SHARES: [f64; 4] = [0.2, 0.35, 0.5, 0.7];
