//! Any row under any plan: an error, an untouched row, or a whole new message with the same columns, in
//! which no value that must not be shown is left.
#![no_main]

use arbitrary::Arbitrary;
use governor::engine::masking::{
    ColumnAction, ColumnContext, ColumnPlan, Detectors, Format, KeyRing, MaskCounts, Masker, MaskingKey,
    RowPlan, mask_row,
};
use governor::engine::model::{Category, MaskStyle, RowField, TypeShape, Types};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, OnceLock};

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
    static MASKER: OnceLock<Masker> = OnceLock::new();
    let masker = MASKER.get_or_init(|| {
        let detectors = Arc::new(Detectors::new().expect("built-in detectors"));
        let key = MaskingKey::derive(&[7; 32]).expect("any root makes a key");
        Masker { keys: Arc::new(KeyRing::new(vec![key])), ..Masker::from(detectors) }
    });
    let columns = input.columns.iter().take(64).map(|(kind, type_oid, type_modifier, binary)| ColumnPlan {
        action: match usize::from(*kind) % 11 {
            0 => ColumnAction::Clear,
            1 => ColumnAction::Detect,
            kind => ColumnAction::Mask {
                style: MaskStyle::ALL[kind - 2],
                category: Some(Category::ALL[usize::from(*type_modifier as u8) % Category::ALL.len()]),
                tweak: 0,
            },
        },
        // Mostly types that exist: the built-in ones have small numbers, those of users stand in `types`.
        type_oid: if type_oid % 4 == 0 { 20_000 + (type_oid / 4) % 8 } else { type_oid % 4096 },
        type_modifier: *type_modifier,
        format: if *binary { Format::Binary } else { Format::Text },
        context: ColumnContext::by_name(input.name, input.among_people),
    });
    let plan = RowPlan { columns: columns.collect(), types: types(), ..RowPlan::default() };
    let body = input.raw.map_or_else(|| row(&input.values), <[u8]>::to_vec);
    let mut out = b"before".to_vec();
    match mask_row(&plan, masker, &body, &mut out, &mut MaskCounts::default()) {
        Err(_) => assert_eq!(out, b"before"),
        Ok(false) => {
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
        Ok(true) => {
            let message = &out[6..];
            assert_eq!(message[0], b'D');
            let length = u32::from_be_bytes(message[1..5].try_into().expect("four bytes"));
            assert_eq!(length as usize, message.len() - 1);
            assert_eq!(values(&message[5..]).len(), plan.columns.len());
        }
    }
});

/// One of each shape, some of them made of each other.
fn types() -> Arc<Types> {
    static TYPES: OnceLock<Arc<Types>> = OnceLock::new();
    let made = || {
        let mut types = Types::default();
        let field = |name: &str, type_oid| RowField { name: name.into(), type_oid };
        let fields = [field("id", 23), field("ssn", 25), field("all", 20_003), field("more", 20_005)];
        types.add(20_000, TypeShape::Hstore);
        types.add(20_001, TypeShape::Text);
        types.add(20_002, TypeShape::Domain { base: 25 });
        types.add(20_003, TypeShape::Array { element: 20_002, delimiter: b',' });
        types.add(20_004, TypeShape::Composite { fields: Some(fields.into()) });
        types.add(20_005, TypeShape::Array { element: 20_004, delimiter: b';' });
        types.add(20_006, TypeShape::Range { subtype: 25 });
        types.add(20_007, TypeShape::Enum);
        Arc::new(types)
    };
    TYPES.get_or_init(made).clone()
}

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
