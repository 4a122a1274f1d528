//! Rows that are masked and values that are looked at, each column as text and as what its name says.

use crate::corpus::rows::{Length, table};
use crate::corpus::{self, SEED_TUNE};
use governor::engine::masking::{
    ColumnAction, ColumnContext, ColumnEvidence, ColumnPlan, Detectors, Format, MaskCounts, Masker, RowPlan,
    mask_parameter, mask_row,
};
use std::hint::black_box;
use std::sync::Arc;

pub fn work(detectors: &Arc<Detectors>) {
    let masker = Masker::from(detectors.clone());
    let mut out = Vec::new();
    for others in [ColumnAction::Clear, ColumnAction::Detect] {
        for format in [Format::Text, Format::Binary] {
            for length in [Length::Short, Length::Long] {
                let (plan, rows) = table(SEED_TUNE, ROWS_COUNT, others, format, length);
                rows.iter().for_each(|row| mask(&plan, &masker, row, &mut out));
            }
        }
    }
    for column in corpus::generate(SEED_TUNE, VALUES_COUNT) {
        let mut evidence = ColumnEvidence::default();
        for name in [column.name_clear.as_str(), column.name_opaque.as_str()] {
            let plan = RowPlan { columns: vec![text(name)], ..RowPlan::default() };
            for value in &column.values {
                let mut row = 1_i16.to_be_bytes().to_vec();
                row.extend((value.len() as u32).to_be_bytes());
                row.extend_from_slice(value.as_bytes());
                mask(&plan, &masker, &row, &mut out);
            }
        }
        for value in column.values.iter().take(OBSERVED_COUNT) {
            evidence.observe(&masker, value.as_bytes());
            black_box(mask_parameter(&masker, value));
        }
    }
}

fn mask(plan: &RowPlan, masker: &Masker, row: &[u8], out: &mut Vec<u8>) {
    out.clear();
    black_box(mask_row(plan, masker, black_box(row), out, &mut MaskCounts::default())).unwrap();
}

fn text(name: &str) -> ColumnPlan {
    ColumnPlan {
        action: ColumnAction::Detect,
        type_oid: 25,
        type_modifier: -1,
        format: Format::Text,
        context: ColumnContext::new("", name, 25, &[]),
    }
}

const ROWS_COUNT: usize = 2_000;
const VALUES_COUNT: usize = 40;
/// Discovery looks at a sample.
const OBSERVED_COUNT: usize = 4;
