//! How fast rows are masked and values looked at, in the engine alone. `cargo xtask bench masking` runs this first.
//!
//! `cargo bench -p governor-userspace --no-default-features --bench masking`: prints megabytes a second of one core for rows of
//! eight columns of which two are masked, nanoseconds for a value of the mixed corpus, and what detectors of an operator's own cost at
//! their best and at their worst (`own`). Fastest of several passes, since a shared machine
//! makes times too long, never too short. `-- --seed N` makes other rows and values than those that are judged, to train a
//! profile-guided build with.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
#![allow(dead_code, reason = "each bench uses a part of the corpus")]

mod corpus;
mod own;

use corpus::rows::{Length, table};
use governor::engine::masking::{
    ColumnAction, ColumnContext, ColumnPlan, Detectors, Format, MaskCounts, Masker, RowPlan, mask_row,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let named = std::env::args().skip_while(|argument| argument != "--seed").nth(1);
    let seed = named.map_or(corpus::SEED_JUDGE, |seed| seed.parse().expect("a seed is a number"));
    let detectors = Detectors::new().expect("the built-in detectors compile");
    let masker = Masker::from(Arc::new(detectors));
    println!("rows with two masked columns of eight, MB/s of one core (aim: {ROWS_MB_AIM})");
    for (name, others) in [("others clear", ColumnAction::Clear), ("others searched", ColumnAction::Detect)] {
        for format in [Format::Text, Format::Binary] {
            for length in [Length::Short, Length::Long] {
                let (plan, rows) = table(seed, ROWS_COUNT, others, format, length);
                let rate = rate(&plan, &masker, &rows);
                let word = if rate >= ROWS_MB_AIM { "reached" } else { "missed" };
                println!(
                    "  {:42} {rate:>7.0} {word}",
                    format!("{name}, {format:?}, {length:?} values").to_lowercase()
                );
            }
        }
    }
    let columns = corpus::generate(seed, 60);
    println!("\na value of the mixed corpus, ns (aim: {VALUE_NS_AIM})");
    let all: Vec<&[u8]> = columns.iter().flat_map(|c| &c.values).map(String::as_bytes).collect();
    let mean = value_ns(&masker, &all);
    println!(
        "  all {:38} {mean:>7.0} {}",
        all.len(),
        if mean <= VALUE_NS_AIM { "reached" } else { "missed" }
    );
    let harmless: Vec<&[u8]> = columns
        .iter()
        .filter(|c| c.label == corpus::NONE)
        .flat_map(|c| &c.values)
        .map(String::as_bytes)
        .collect();
    println!("  those with nothing in them {:15} {:>7.0}", harmless.len(), value_ns(&masker, &harmless));
    let mut by_column: Vec<(f64, &str, &str)> = columns
        .iter()
        .map(|c| {
            let values: Vec<&[u8]> = c.values.iter().map(String::as_bytes).collect();
            (value_ns(&masker, &values), c.name_clear.as_str(), c.label.as_str())
        })
        .collect();
    by_column.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("  the dearest columns:");
    for (ns, name, label) in by_column.iter().take(DEAREST_COUNT) {
        println!("    {name:25} {label:20} {ns:>10.0}");
    }
    own::report();
}

/// Megabytes of rows a second, headers included.
fn rate(plan: &RowPlan, masker: &Masker, rows: &[Vec<u8>]) -> f64 {
    let bytes: usize = rows.iter().map(|row| row.len() + 5).sum();
    bytes as f64 / 1e6 / fastest(plan, masker, rows)
}

fn value_ns(masker: &Masker, values: &[&[u8]]) -> f64 {
    let column = ColumnPlan {
        action: ColumnAction::Detect,
        type_oid: TEXT,
        type_modifier: -1,
        format: Format::Text,
        context: ColumnContext::UNKNOWN,
    };
    let plan = RowPlan { columns: vec![column], ..RowPlan::default() };
    let rows: Vec<Vec<u8>> = values
        .iter()
        .map(|value| {
            let mut row = 1_i16.to_be_bytes().to_vec();
            row.extend((value.len() as u32).to_be_bytes());
            row.extend_from_slice(value);
            row
        })
        .collect();
    fastest(&plan, masker, &rows) * 1e9 / rows.len().max(1) as f64
}

fn pass(plan: &RowPlan, masker: &Masker, rows: &[Vec<u8>]) {
    let mut out = Vec::with_capacity(OUT_BYTES);
    let mut counts = MaskCounts::default();
    for row in rows {
        // As a chunk for the client: written out when it is full.
        if out.len() > OUT_BYTES / 2 {
            out.clear();
        }
        let changed =
            mask_row(plan, masker, black_box(row), &mut out, &mut counts).expect("the row is well formed");
        if !changed {
            out.extend_from_slice(b"D\0\0\0\0");
            out.extend_from_slice(row);
        }
    }
    black_box((&out, counts));
}

/// Seconds: the fastest time of each few rows over all passes, added up. A pass over everything would be
/// interrupted every time where other work runs beside.
fn fastest(plan: &RowPlan, masker: &Masker, rows: &[Vec<u8>]) -> f64 {
    let few: Vec<&[Vec<u8>]> = rows.chunks(FEW_ROWS).collect();
    let mut best = vec![f64::INFINITY; few.len()];
    for _ in 0..PASSES {
        for (rows, best) in few.iter().zip(&mut best) {
            let start = Instant::now();
            pass(plan, masker, rows);
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    best.iter().sum()
}

const TEXT: u32 = 25;
const ROWS_COUNT: usize = 4_000;
const OUT_BYTES: usize = 64 * 1024;
const PASSES: usize = 15;
const FEW_ROWS: usize = 64;
const DEAREST_COUNT: usize = 15;
const ROWS_MB_AIM: f64 = 300.0;
const VALUE_NS_AIM: f64 = 150.0;
