//! Any row under any plan: an error, an untouched row, or a whole new message with the same columns, in
//! which no value that must not be shown is left.
#![no_main]

use arbitrary::Arbitrary;
use governor::engine::masking::{
    ColumnAction, ColumnContext, ColumnPlan, Detectors, Format, RowPlan, mask_row,
};
use governor::engine::model::MaskStyle;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Kind of action, type, modifier, binary.
    columns: Vec<(u8, u32, i32, bool)>,
    /// Of every column.
    name: &'a str,
    among_people: bool,
    /// `None` builds a well-formed row of the values; otherwise the bytes as they are.
    raw: Option<&'a [u8]>,
    values: Vec<Option<&'a [u8]>>,
}

fuzz_target!(|input: Input<'_>| {
    static DETECTORS: OnceLock<Detectors> = OnceLock::new();
    let detectors = DETECTORS.get_or_init(|| Detectors::new().expect("built-in detectors"));
    let columns = input.columns.iter().take(64).map(|(kind, type_oid, type_modifier, binary)| ColumnPlan {
        action: match kind % 5 {
            0 => ColumnAction::Clear,
            1 => ColumnAction::Detect,
            2 => ColumnAction::Mask { style: MaskStyle::Redact, category: None },
            3 => ColumnAction::Mask { style: MaskStyle::Partial, category: None },
            _ => ColumnAction::Mask { style: MaskStyle::Null, category: None },
        },
        // Mostly types that exist: the built-in ones have small numbers.
        type_oid: type_oid % 4096,
        type_modifier: *type_modifier,
        format: if *binary { Format::Binary } else { Format::Text },
        context: ColumnContext::by_name(input.name, input.among_people),
    });
    let plan = RowPlan { columns: columns.collect() };
    let body = input.raw.map_or_else(|| row(&input.values), <[u8]>::to_vec);
    let mut out = b"before".to_vec();
    match mask_row(&plan, detectors, &body, &mut out) {
        Err(_) => assert_eq!(out, b"before"),
        Ok(outcome) if !outcome.changed => {
            assert_eq!(out, b"before");
            let hidden = plan.columns.iter().any(|column| matches!(column.action, ColumnAction::Mask { .. }));
            assert!(
                !hidden
                    || values(&body).iter().zip(&plan.columns).all(|(value, column)| {
                        value.is_none() || !matches!(column.action, ColumnAction::Mask { .. })
                    }),
                "a value to be masked was forwarded as it is"
            );
        }
        Ok(_) => {
            let message = &out[6..];
            assert_eq!(message[0], b'D');
            let length = u32::from_be_bytes(message[1..5].try_into().expect("four bytes"));
            assert_eq!(length as usize, message.len() - 1);
            assert_eq!(values(&message[5..]).len(), plan.columns.len());
        }
    }
});

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend_from_slice(&value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default());
    }
    body
}

/// Of a row that is known to be well formed.
fn values(body: &[u8]) -> Vec<Option<&[u8]>> {
    let (count, mut rest) = body.split_at(2);
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(count.try_into().expect("two bytes")) {
        let (length, after) = rest.split_at(4);
        let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
        let (value, after) = after.split_at(usize::try_from(length).unwrap_or(0));
        values.push((length >= 0).then_some(value));
        rest = after;
    }
    values
}
