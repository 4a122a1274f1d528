//! What the detectors say of a labelled corpus: made here, or any file of its form. `cargo xtask bench detect` runs this and judges.
//!
//! - `--generate SEED --values N --out FILE` writes a corpus;
//! - `--answer FILE --out FILE` writes as JSON what the detectors say of each value and column of the file, and how long they take.
//!
//! A value is asked about three times: alone, in a column whose name tells, in one whose name does not (there the column's other
//! values count). It is the product's own path each time: what `mask_row` would hide is what counts as found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod corpus;

use corpus::Column;
use governor::engine::masking::{
    ColumnAction, ColumnPlan, Detectors, Format, Masker, RowPlan, classify_column, mask_row,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let mut options = std::collections::HashMap::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        // `cargo bench` adds `--bench`, which has no value.
        if name != "--bench" {
            options.insert(name, arguments.next().unwrap_or_default());
        }
    }
    let Some(out) = options.get("--out") else {
        println!("run `cargo xtask bench detect`");
        return;
    };
    if let Some(seed) = options.get("--generate") {
        let seed = match seed.as_str() {
            "tune" => corpus::SEED_TUNE,
            "judge" => corpus::SEED_JUDGE,
            number => number.parse().expect("a seed is `tune`, `judge` or a number"),
        };
        let columns = corpus::generate(seed, options["--values"].parse().expect("--values is a number"));
        std::fs::write(out, corpus::csv::write(&columns)).expect("the corpus can be written");
    }
    if let Some(file) = options.get("--answer") {
        let text = std::fs::read_to_string(file).expect("the corpus can be read");
        let columns = corpus::csv::read(&text).expect("the corpus has its form");
        std::fs::write(out, answer(&columns).to_string()).expect("the answers can be written");
    }
}

fn answer(columns: &[Column]) -> serde_json::Value {
    let judge = Judge::new();
    let answers: Vec<_> = columns
        .iter()
        .map(|column| {
            let clear = judge.of_name(&column.name_clear, column);
            let opaque = judge.of_name(&column.name_opaque, column);
            let of_values = |in_column: &Option<String>| -> Vec<Option<String>> {
                let of = |value: &String| in_column.clone().or_else(|| judge.alone(value));
                column.values.iter().map(of).collect()
            };
            serde_json::json!({
                "alone": of_values(&None), "clear": of_values(&clear), "opaque": of_values(&opaque),
                "column_clear": clear, "column_opaque": opaque,
            })
        })
        .collect();
    let values: Vec<&[u8]> = columns.iter().flat_map(|c| &c.values).map(String::as_bytes).collect();
    let corpus: Vec<_> = columns
        .iter()
        .map(|c| serde_json::json!({ "label": c.label, "name_clear": c.name_clear, "values": c.values }))
        .collect();
    serde_json::json!({ "corpus": corpus, "columns": answers, "ns_per_value": judge.ns_per_value(&values) })
}

struct Judge {
    masker: Masker,
    plan: RowPlan,
}

impl Judge {
    fn new() -> Self {
        let plan = RowPlan {
            columns: vec![ColumnPlan {
                action: ColumnAction::Detect,
                type_oid: TEXT,
                type_modifier: -1,
                format: Format::Text,
            }],
        };
        let detectors = Detectors::new().expect("the built-in detectors compile");
        Self { masker: Arc::new(detectors).into(), plan }
    }

    /// What a column is said to hold, by its name and its values.
    fn of_name(&self, name: &str, column: &Column) -> Option<String> {
        if let Some(category) = classify_column("", name, TEXT) {
            return Some(format!("by_name:{}", category.as_str()));
        }
        let mut counts = std::collections::BTreeMap::new();
        for value in &column.values {
            if let Some(said) = self.alone(value) {
                *counts.entry(said).or_insert(0) += 1;
            }
        }
        let (said, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        (count * 100 >= column.values.len() * COLUMN_PERCENT_MIN).then_some(said)
    }

    /// What a value is by itself; `in_text` where only something in it is hidden.
    fn alone(&self, value: &str) -> Option<String> {
        if let Some(finding) = self.masker.detectors.detect(value.as_bytes()) {
            return Some(finding.category.as_str().to_owned());
        }
        let mut out = Vec::new();
        mask_row(&self.plan, &self.masker, &row(value.as_bytes()), &mut out)
            .ok()?
            .changed
            .then(|| "in_text".to_owned())
    }

    /// The fastest of several passes over all values, the way a row's value goes.
    fn ns_per_value(&self, values: &[&[u8]]) -> f64 {
        let rows: Vec<Vec<u8>> = values.iter().map(|value| row(value)).collect();
        let mut out = Vec::new();
        let pass = || {
            let start = Instant::now();
            for row in &rows {
                out.clear();
                let _ = black_box(mask_row(&self.plan, &self.masker, black_box(row), &mut out));
            }
            start.elapsed().as_nanos() as f64 / rows.len().max(1) as f64
        };
        std::iter::repeat_with(pass).take(PASSES).fold(f64::INFINITY, f64::min)
    }
}

/// A DataRow's content with one value.
fn row(value: &[u8]) -> Vec<u8> {
    let mut row = 1_i16.to_be_bytes().to_vec();
    row.extend((value.len() as u32).to_be_bytes());
    row.extend_from_slice(value);
    row
}

const TEXT: u32 = 25;
const PASSES: usize = 9;
const COLUMN_PERCENT_MIN: usize = 30;
