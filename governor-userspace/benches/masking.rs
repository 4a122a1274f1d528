//! How fast rows are masked and values looked at, in the engine alone. `cargo xtask bench masking` runs this first.
//!
//! `cargo bench -p governor-userspace --no-default-features --bench masking`: prints megabytes a second of one core for rows of
//! eight columns of which two are masked, and nanoseconds for a value of the mixed corpus. Fastest of several passes, since a shared machine
//! makes times too long, never too short.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
#![allow(dead_code, reason = "each bench uses a part of the corpus")]

mod corpus;

use corpus::random::Random;
use corpus::{locales, people, prose};
use governor::engine::masking::{
    ColumnAction, ColumnContext, ColumnPlan, Detectors, Format, Masker, RowPlan, mask_row,
};
use governor::engine::model::{Category, MaskStyle};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

fn main() {
    let detectors = Detectors::new().expect("the built-in detectors compile");
    let masker = Masker::from(Arc::new(detectors));
    println!("rows with two masked columns of eight, MB/s of one core (aim: {ROWS_MB_AIM})");
    for (name, others) in [("others clear", ColumnAction::Clear), ("others searched", ColumnAction::Detect)] {
        for format in [Format::Text, Format::Binary] {
            for length in [Length::Short, Length::Long] {
                let (plan, rows) = table(others, format, length);
                let rate = rate(&plan, &masker, &rows);
                let word = if rate >= ROWS_MB_AIM { "reached" } else { "missed" };
                println!(
                    "  {:42} {rate:>7.0} {word}",
                    format!("{name}, {format:?}, {length:?} values").to_lowercase()
                );
            }
        }
    }
    let columns = corpus::generate(corpus::SEED_JUDGE, 60);
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
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Short,
    Long,
}

/// id, name (masked), e-mail (masked), a moment, a status, an amount, a city, a remark.
fn table(others: ColumnAction, format: Format, length: Length) -> (RowPlan, Vec<Vec<u8>>) {
    let mask =
        |category| ColumnAction::Mask { style: MaskStyle::Partial, category: Some(category), tweak: 0 };
    let column = |action, type_oid| ColumnPlan {
        action,
        type_oid,
        type_modifier: -1,
        format,
        context: ColumnContext::UNKNOWN,
    };
    let columns = vec![
        column(others, INT8),
        column(mask(Category::PersonName), TEXT),
        column(mask(Category::Email), TEXT),
        column(others, TIMESTAMPTZ),
        column(others, TEXT),
        column(others, FLOAT8),
        column(others, TEXT),
        column(others, TEXT),
    ];
    let mut random = Random::new(corpus::SEED_JUDGE);
    let rows = (0..ROWS_COUNT)
        .map(|number| {
            let r = &mut random;
            let locale = people::any_locale(r);
            let amount = r.below(1_000_000) as f64 / 100.0;
            let fixed = |as_text: String, as_binary: [u8; 8]| match format {
                Format::Text => as_text.into_bytes(),
                Format::Binary => as_binary.to_vec(),
            };
            let name = people::full_name(r, locale).into_bytes();
            let mail = people::email(r).into_bytes();
            let status = r.pick(&["open", "shipped", "refunded"]).as_bytes().to_vec();
            let town = r.pick(locales::LOCALES[4].towns).as_bytes().to_vec();
            let remark = match length {
                Length::Short => r.pick(&["", "gift wrap", "second delivery", "call first"]).to_owned(),
                Length::Long => (0..4).map(|_| prose::without_finding(r)).collect::<Vec<_>>().join(" "),
            };
            let values = [
                fixed((1_000_000 + number).to_string(), (number as u64).to_be_bytes()),
                name,
                mail,
                fixed("2025-06-11 09:41:17.250114+00".into(), (number as u64 * 7_000_000).to_be_bytes()),
                status,
                fixed(format!("{amount:.2}"), amount.to_be_bytes()),
                town,
                remark.into_bytes(),
            ];
            let mut row = 8_i16.to_be_bytes().to_vec();
            for value in values {
                row.extend((value.len() as u32).to_be_bytes());
                row.extend(value);
            }
            row
        })
        .collect();
    (RowPlan { columns, ..RowPlan::default() }, rows)
}

/// Megabytes of rows a second, headers included.
fn rate(plan: &RowPlan, masker: &Masker, rows: &[Vec<u8>]) -> f64 {
    let bytes: usize = rows.iter().map(|row| row.len() + 5).sum();
    bytes as f64 / 1e6 / fastest(|| pass(plan, masker, rows))
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
    fastest(|| pass(&plan, masker, &rows)) * 1e9 / rows.len().max(1) as f64
}

fn pass(plan: &RowPlan, masker: &Masker, rows: &[Vec<u8>]) {
    let mut out = Vec::with_capacity(OUT_BYTES);
    for row in rows {
        // As a chunk for the client: written out when it is full.
        if out.len() > OUT_BYTES / 2 {
            out.clear();
        }
        let outcome = mask_row(plan, masker, black_box(row), &mut out).expect("the row is well formed");
        if !outcome.changed {
            out.extend_from_slice(b"D\0\0\0\0");
            out.extend_from_slice(row);
        }
    }
    black_box(&out);
}

/// Seconds.
fn fastest(mut work: impl FnMut()) -> f64 {
    work();
    let timed = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    std::iter::repeat_with(timed).take(PASSES).fold(f64::INFINITY, f64::min)
}

const INT8: u32 = 20;
const TEXT: u32 = 25;
const FLOAT8: u32 = 701;
const TIMESTAMPTZ: u32 = 1184;
const ROWS_COUNT: usize = 4_000;
const OUT_BYTES: usize = 64 * 1024;
const PASSES: usize = 15;
const DEAREST_COUNT: usize = 15;
const ROWS_MB_AIM: f64 = 300.0;
const VALUE_NS_AIM: f64 = 150.0;
