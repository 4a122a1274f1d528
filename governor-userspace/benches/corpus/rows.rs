//! Rows of eight columns of which two are masked, as results have them.

use super::random::Random;
use super::{locales, people, prose};
use governor::engine::masking::{ColumnAction, ColumnContext, ColumnPlan, Format, RowPlan};
use governor::engine::model::{Category, MaskStyle};

/// Of the last column's text.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    Short,
    Long,
}

/// id, name (masked), e-mail (masked), a moment, a status, an amount, a city, a remark: a plan and so many DataRows' contents.
pub fn table(
    seed: u64,
    rows_count: usize,
    others: ColumnAction,
    format: Format,
    length: Length,
) -> (RowPlan, Vec<Vec<u8>>) {
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
    let mut random = Random::new(seed);
    let rows = (0..rows_count)
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

const INT8: u32 = 20;
const TEXT: u32 = 25;
const FLOAT8: u32 = 701;
const TIMESTAMPTZ: u32 = 1184;
