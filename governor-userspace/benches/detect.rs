//! What the detectors say of a labelled corpus: made here, or any file of its form. `cargo xtask bench detect` runs this and judges.
//!
//! - `--generate SEED --values N --out FILE` writes a corpus, with `--of phones` the one of bare telephone numbers;
//! - `--answer FILE --out FILE` writes as JSON what the detectors say of each value and column of the file, and how long they take.
//!
//! A value is asked about four times: alone, in a column whose name tells, in one whose name does not, and in the latter once what its
//! values say of it is confirmed. It is the product's own path each time: what `mask_row` would hide is what counts as found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]
#![allow(dead_code, reason = "each bench uses a part of the corpus")]

mod corpus;

use corpus::Column;
use governor::engine::masking::{
    ColumnAction, ColumnContext, ColumnEvidence, ColumnPlan, Detectors, Format, MaskCounts, Masker, RowPlan,
    classify_column, judge_column, mask_row,
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
        let generate = match options.get("--of").map(String::as_str) {
            Some("phones") => corpus::generate_phones,
            _ => corpus::generate,
        };
        let columns = generate(seed, options["--values"].parse().expect("--values is a number"));
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
    let answers: Vec<_> = columns.iter().map(|column| judge.of_column(column)).collect();
    let values: Vec<&[u8]> = columns.iter().flat_map(|c| &c.values).map(String::as_bytes).collect();
    let corpus: Vec<_> = columns
        .iter()
        .map(|c| serde_json::json!({ "label": c.label, "name_clear": c.name_clear, "values": c.values }))
        .collect();
    serde_json::json!({ "corpus": corpus, "columns": answers, "ns_per_value": judge.ns_per_value(&values) })
}

struct Judge {
    masker: Masker,
}

impl Judge {
    fn new() -> Self {
        let detectors = Detectors::new().expect("the built-in detectors compile");
        Self { masker: Arc::new(detectors).into() }
    }

    fn of_column(&self, column: &Column) -> serde_json::Value {
        let detectors = &self.masker.detectors;
        let mut evidence = ColumnEvidence::default();
        for value in &column.values {
            evidence.observe(&self.masker, value.as_bytes());
        }
        let verdict = |name: &str| {
            judge_column("", name, TEXT, &[], &evidence).map(|verdict| {
                match detectors.name(verdict.detector) {
                    "by_name" => format!("by_name:{}", verdict.category.as_str()),
                    detector => detector.to_owned(),
                }
            })
        };
        let of_values = |known: Option<String>, context: ColumnContext| -> Vec<Option<String>> {
            let of = |value: &String| known.clone().or_else(|| self.of_value(context, value));
            column.values.iter().map(of).collect()
        };
        let context = |name: &str| ColumnContext::new("", name, TEXT, &[]);
        // A name that says it masks the whole column.
        let named = classify_column("", &column.name_clear, TEXT).map(|c| format!("by_name:{}", c.as_str()));
        let (clear, opaque) = (verdict(&column.name_clear), verdict(&column.name_opaque));
        serde_json::json!({
            "alone": of_values(None, ColumnContext::UNKNOWN),
            "clear": of_values(named, context(&column.name_clear)),
            "opaque": of_values(None, context(&column.name_opaque)),
            // Once somebody has confirmed what discovery says of the column.
            "known": of_values(opaque.clone(), context(&column.name_opaque)),
            "column_clear": clear,
            "column_opaque": opaque,
        })
    }

    /// What a value is; `in_text` or `in_document` where only something in it is hidden.
    fn of_value(&self, context: ColumnContext, value: &str) -> Option<String> {
        if let Some(finding) = self.masker.detectors.detect_in(context, value.as_bytes()) {
            return Some(self.masker.detectors.name(finding.detector).to_owned());
        }
        let mut out = Vec::new();
        let mut counts = MaskCounts::default();
        let changed =
            mask_row(&plan(context), &self.masker, &row(value.as_bytes()), &mut out, &mut counts).ok()?;
        let inside = if value.starts_with(['{', '[']) { "in_document" } else { "in_text" };
        changed.then(|| inside.to_owned())
    }

    /// The fastest of several passes over all values, the way a row's value goes.
    fn ns_per_value(&self, values: &[&[u8]]) -> f64 {
        let rows: Vec<Vec<u8>> = values.iter().map(|value| row(value)).collect();
        let (mut out, mut counts) = (Vec::new(), MaskCounts::default());
        let plan = plan(ColumnContext::UNKNOWN);
        // Of each few values the fastest time: a pass over all is interrupted where other work runs beside.
        let mut best = vec![f64::INFINITY; rows.len().div_ceil(FEW_ROWS)];
        for _ in 0..PASSES {
            for (rows, best) in rows.chunks(FEW_ROWS).zip(&mut best) {
                let start = Instant::now();
                for row in rows {
                    out.clear();
                    let _ = black_box(mask_row(&plan, &self.masker, black_box(row), &mut out, &mut counts));
                }
                *best = best.min(start.elapsed().as_nanos() as f64);
            }
        }
        best.iter().sum::<f64>() / rows.len().max(1) as f64
    }
}

/// One text column that is searched.
fn plan(context: ColumnContext) -> RowPlan {
    let column = ColumnPlan {
        action: ColumnAction::Detect,
        type_oid: TEXT,
        type_modifier: -1,
        format: Format::Text,
        context,
    };
    RowPlan { columns: vec![column], ..RowPlan::default() }
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
const FEW_ROWS: usize = 64;
