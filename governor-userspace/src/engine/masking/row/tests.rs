//! Rows in, rows out: formats, types, malformed bytes, failing detectors.

use super::*;
use crate::engine::masking::detector::{Detectors, UserDetector, UserMatch};
use crate::engine::masking::masker::tests::{MASKER, broken_masker};
use crate::engine::masking::pg_type::XML;
use proptest::prelude::*;

#[derive(Debug, PartialEq)]
struct Outcome {
    changed: bool,
    counts: MaskCounts,
}

/// One row, counted by itself.
fn mask_row(plan: &RowPlan, masker: &Masker, body: &[u8], out: &mut Vec<u8>) -> Result<Outcome, RowError> {
    let mut counts = MaskCounts::default();
    let changed = super::mask_row(plan, masker, body, out, &mut counts)?;
    Ok(Outcome { changed, counts })
}

fn column(action: ColumnAction, type_oid: u32, format: Format) -> ColumnPlan {
    ColumnPlan { action, type_oid, type_modifier: -1, format, context: ColumnContext::UNKNOWN }
}

fn body(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = i16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    body
}

/// Reads a whole DataRow message back.
fn values(message: &[u8]) -> Vec<Option<Vec<u8>>> {
    assert_eq!(message[0], b'D');
    assert_eq!(i32::from_be_bytes(message[1..5].try_into().unwrap()) as usize, message.len() - 1);
    let count = i16::from_be_bytes(message[5..7].try_into().unwrap());
    let mut rest = &message[7..];
    let values = (0..count)
        .map(|_| {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            usize::try_from(length).ok().map(|length| {
                let (value, tail) = rest.split_at(length);
                rest = tail;
                value.to_vec()
            })
        })
        .collect();
    assert!(rest.is_empty());
    values
}

fn one(action: ColumnAction, type_oid: u32, format: Format, value: &[u8]) -> Option<Option<Vec<u8>>> {
    let plan = RowPlan { columns: vec![column(action, type_oid, format)], ..RowPlan::default() };
    let mut out = b"before".to_vec();
    let outcome = mask_row(&plan, &MASKER, &body(&[Some(value)]), &mut out).unwrap();
    assert_eq!(outcome.changed, outcome.counts.values == 1);
    if !outcome.changed {
        assert_eq!(out, b"before");
        return None;
    }
    Some(values(&out[6..]).remove(0))
}

const REDACT: ColumnAction = ColumnAction::Mask { style: MaskStyle::Redact, category: None, tweak: 0 };

#[test]
fn only_what_the_plan_names_changes() {
    let plan = RowPlan {
        columns: vec![
            column(ColumnAction::Clear, 25, Format::Text),
            column(REDACT, 25, Format::Text),
            column(ColumnAction::Detect, 25, Format::Text),
            column(REDACT, 23, Format::Binary),
            column(ColumnAction::Clear, 25, Format::Text),
        ],
        ..RowPlan::default()
    };
    let mut out = vec![];
    let row = body(&[Some(b"a@b.com"), Some(b"secret"), None, Some(&[0, 0, 0, 9]), None]);
    let outcome = mask_row(&plan, &MASKER, &row, &mut out).unwrap();
    assert_eq!((outcome.changed, outcome.counts.values, outcome.counts.by.iter().sum()), (true, 2, 2));
    let wanted: Vec<Option<Vec<u8>>> =
        vec![Some(b"a@b.com".to_vec()), Some(b"[masked]".to_vec()), None, Some(vec![0; 4]), None];
    assert_eq!(values(&out), wanted);
}

#[test]
fn detection_by_type_and_format() {
    use ColumnAction::Detect;
    let text = |value: &[u8]| Some(Some(value.to_vec()));
    for format in [Format::Text, Format::Binary] {
        assert_eq!(one(Detect, 25, format, b"alice@example.com"), text(b"a***@example.com"));
        assert_eq!(one(Detect, 1043, format, b"to alice@example.com!"), text(b"to ***!"));
        assert_eq!(one(Detect, 25, format, b"hello"), None);
        assert_eq!(one(Detect, 25, format, br#"{"email":"x"}"#), text(br#"{"email":"[masked]"}"#));
        assert_eq!(one(Detect, 114, format, br#"{"c":4111111111111111}"#), text(br#"{"c":0}"#));
        assert_eq!(one(Detect, 114, format, br#"{"c":1}"#), None);
        assert_eq!(
            one(Detect, 16_999, format, b"(1,alice@example.com)"),
            Some(None),
            "unknown types become NULL"
        );
        assert_eq!(one(Detect, 16_999, format, b"(1,2)"), None);
    }
    assert_eq!(one(Detect, 3802, Format::Binary, b"\x01[\"a@b.com\"]"), text(b"\x01[\"[masked]\"]"));
    assert_eq!(one(Detect, 3802, Format::Binary, b"\x02[]"), text(b"\x01\"[masked]\""), "unknown version");
    assert_eq!(one(Detect, 3802, Format::Binary, b""), text(b"\x01\"[masked]\""));
    assert_eq!(one(Detect, 1009, Format::Text, b"{x,alice@example.com}"), text(b"{x,a***@example.com}"));
    assert_eq!(one(Detect, 1009, Format::Binary, b"\0\0\0\x11alice@example.com"), Some(None));
    assert_eq!(one(Detect, 1016, Format::Text, b"{4111111111111111}"), Some(None));
    assert_eq!(one(Detect, 20, Format::Text, b"4111111111111111"), None, "numbers are not searched");
}

#[test]
fn a_marker_never_exceeds_the_column() {
    let plan = |limit| RowPlan {
        columns: vec![ColumnPlan {
            type_modifier: 4 + limit,
            ..column(ColumnAction::Detect, 1043, Format::Text)
        }],
        ..RowPlan::default()
    };
    for (limit, value) in
        [(7, "a@b.com"), (9, "<a@b.com>"), (30, "pwd=abcd pwd=abcd"), (13, r#"{"email":"x"}"#)]
    {
        let mut out = vec![];
        assert!(mask_row(&plan(limit), &MASKER, &body(&[Some(value.as_bytes())]), &mut out).unwrap().changed);
        let value = values(&out).remove(0).unwrap();
        assert!(value.len() <= limit as usize, "{value:?}");
    }
}

#[test]
fn a_failing_detector_redacts() {
    let in_text: &[u8] = b"the number 12345678Z is on the card";
    for (type_oid, value, masked) in [
        (25, b"12345678Z".as_slice(), b"[masked]".as_slice()),
        (25, in_text, b"[masked]"),
        (25, br#"{"note":"12345678Z"}"#, b"[masked]"),
        (114, br#"{"note":"12345678Z"}"#, b"\"[masked]\""),
    ] {
        let columns = [ColumnAction::Detect, ColumnAction::Clear, ColumnAction::Detect]
            .map(|action| column(action, type_oid, Format::Text));
        let plan = RowPlan { columns: columns.to_vec(), ..RowPlan::default() };
        let mut out = vec![];
        let row = body(&[Some(b"x"), Some(b"y"), Some(value)]);
        let outcome = mask_row(&plan, &broken_masker(), &row, &mut out);
        if type_oid == 114 {
            // `x` is no document.
            assert_eq!(outcome.unwrap().counts.in_doubt, [0, 1, 1, 0]);
            assert_eq!(values(&out).last(), Some(&Some(masked.to_vec())));
            continue;
        }
        assert_eq!(values(&out), [Some(b"x".to_vec()), Some(b"y".to_vec()), Some(masked.to_vec())]);
        let outcome = outcome.unwrap();
        assert_eq!(
            (outcome.counts.in_doubt, outcome.counts.values),
            ([0, 0, 1, 0], 1),
            "and is counted as that"
        );
    }
}

/// A range of no width divides by zero: the configuration refuses it, and it is what makes a style panic here.
#[test]
fn a_style_that_panics_redacts_and_is_counted() {
    let mut masker = MASKER.clone();
    masker.settings.range_width = 0;
    let style = |category| ColumnAction::Mask { style: MaskStyle::Range, category, tweak: 0 };
    let binary_array = |numbers: &[u32]| {
        let mut value = [1_u32, 0, 23, numbers.len() as u32, 1].map(u32::to_be_bytes).concat();
        for number in numbers {
            value.extend([4, *number].map(u32::to_be_bytes).concat());
        }
        value
    };
    for (type_oid, format, value, masked) in [
        (23, Format::Text, b"773177".to_vec(), b"0".to_vec()),
        (23, Format::Binary, 773_177_u32.to_be_bytes().to_vec(), vec![0; 4]),
        (1700, Format::Text, b"773177.31".to_vec(), b"0".to_vec()),
        (1007, Format::Text, b"{773177,31}".to_vec(), b"{0}".to_vec()),
        (1007, Format::Binary, binary_array(&[773_177, 31]), binary_array(&[0])),
    ] {
        for category in [Some(Category::Financial), None] {
            let columns = vec![
                column(ColumnAction::Clear, 25, Format::Text),
                column(style(category), type_oid, format),
                column(REDACT, 25, Format::Text),
            ];
            let plan = RowPlan { columns, ..RowPlan::default() };
            let mut out = vec![];
            let row = body(&[Some(b"x"), Some(&value), Some(b"y")]);
            let outcome = mask_row(&plan, &masker, &row, &mut out).unwrap();
            let wanted = [Some(b"x".to_vec()), Some(masked.clone()), Some(b"[masked]".to_vec())];
            assert_eq!(values(&out), wanted, "{type_oid} {format:?}");
            assert_eq!(
                (outcome.counts.in_doubt, outcome.counts.values),
                ([1, 0, 1, 0], 2),
                "{type_oid} {format:?}"
            );
            // The same plan with a width is no fault.
            let outcome = mask_row(&plan, &MASKER, &row, &mut vec![]).unwrap();
            assert_eq!(outcome.counts.in_doubt[2], 0, "{type_oid} {format:?}");
        }
    }
}

#[test]
fn a_value_that_own_detectors_cannot_finish_is_hidden_as_a_whole_and_counted() {
    // Nearly fits everywhere, so each of its starts reads a thousand bytes.
    let dear = UserDetector {
        name: "dear".into(),
        category: Category::Other,
        matches: UserMatch::Pattern("[a-z]{1,1000}x|[a-z]{9}".into()),
        checksum: None,
        confidence_percent: 80,
        context: vec![],
    };
    let masker = |dear: &UserDetector| -> Masker {
        Arc::new(Detectors::with_user_defined(vec![dear.clone()]).unwrap()).into()
    };
    let long = "a".repeat(2_000_000);
    let document = format!(r#"{{"note":"{long}","n":[1]}}"#);
    let array = format!("{{x,{long}}}");
    for (type_oid, value, masked) in [
        (25, long.clone().into_bytes(), Some("[masked]")),
        (25, document.clone().into_bytes(), Some("[masked]")),
        (114, document.clone().into_bytes(), Some("\"[masked]\"")),
        (3802, document.replace(&long, &format!("\\u0020{long}")).into_bytes(), Some("\"[masked]\"")),
        (XML, format!("<a>{long}</a>").into_bytes(), Some("<masked/>")),
        (XML, format!("<a>&#64;{long}</a>").into_bytes(), Some("<masked/>")),
        (1009, array.into_bytes(), Some("{x,[masked]}")),
        (16_999, long.clone().into_bytes(), None),
    ] {
        let columns = vec![
            column(ColumnAction::Detect, type_oid, Format::Text),
            column(ColumnAction::Detect, 25, Format::Text),
        ];
        let plan = RowPlan { columns, ..RowPlan::default() };
        let masker = masker(&dear);
        let mut out = vec![];
        let row = body(&[Some(&value), Some(b"- 7 -")]);
        let outcome = mask_row(&plan, &masker, &row, &mut out).unwrap();
        assert_eq!(outcome.counts.in_doubt, [0, 0, 0, 1], "{type_oid}: {outcome:?}");
        assert_eq!(outcome.counts.values, 1);
        let wanted = masked.map(|masked| masked.as_bytes().to_vec());
        assert_eq!(values(&out), [wanted, Some(b"- 7 -".to_vec())], "{type_oid}");
    }
}

#[test]
fn what_is_masked_in_doubt_is_counted_by_cause() {
    let unknown = ColumnAction::Mask { style: MaskStyle::Redact, category: None, tweak: 0 };
    let plan = RowPlan {
        columns: vec![
            column(unknown, 25, Format::Text),
            column(ColumnAction::Detect, 114, Format::Text),
            column(ColumnAction::Detect, 25, Format::Text),
        ],
        ..RowPlan::default()
    };
    let row = body(&[Some(b"x"), Some(b"{broken"), Some(b"louis@example.com")]);
    let outcome = mask_row(&plan, &MASKER, &row, &mut vec![]).unwrap();
    assert_eq!((outcome.counts.in_doubt, outcome.counts.values), ([1, 1, 0, 0], 3));
    assert_eq!(outcome.counts.by.iter().sum::<u32>(), 3);
}

#[test]
fn malformed_rows_are_errors_and_write_nothing() {
    let columns = vec![column(REDACT, 25, Format::Text), column(REDACT, 25, Format::Text)];
    let plan = RowPlan { columns, ..RowPlan::default() };
    let good = body(&[Some(b"abc"), Some(b"def")]);
    let mut leftover = good.clone();
    leftover.push(0);
    let mut huge = good.clone();
    huge[2..6].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut negative = good.clone();
    negative[9..13].copy_from_slice(&(-2_i32).to_be_bytes());
    let rows: [(Vec<u8>, RowError); 5] = [
        (leftover, RowError::Leftover { bytes: 1 }),
        (huge, RowError::Truncated { column: 0 }),
        (negative, RowError::NegativeLength { column: 1, length: -2 }),
        (body(&[Some(b"abc")]), RowError::ColumnCount { found: 1, described: 2 }),
        (vec![0xff, 0xff], RowError::ColumnCount { found: -1, described: 2 }),
    ];
    for (row, error) in rows {
        let mut out = b"x".to_vec();
        assert_eq!(mask_row(&plan, &MASKER, &row, &mut out), Err(error));
        assert_eq!(out, b"x");
    }
    for cut in 0..good.len() {
        let mut out = vec![];
        assert!(mask_row(&plan, &MASKER, &good[..cut], &mut out).is_err(), "cut at {cut}");
        assert!(out.is_empty());
    }
}

#[test]
fn passive_plans_are_known() {
    let plan =
        |action, oid| RowPlan { columns: vec![column(action, oid, Format::Text)], ..RowPlan::default() };
    assert!(RowPlan::default().is_passive());
    assert!(plan(ColumnAction::Clear, 25).is_passive());
    assert!(plan(ColumnAction::Detect, 23).is_passive());
    assert!(plan(ColumnAction::Detect, 17).is_passive());
    assert!(!plan(ColumnAction::Detect, 25).is_passive());
    assert!(!plan(REDACT, 23).is_passive());
}

fn any_plan() -> impl Strategy<Value = ColumnPlan> {
    let action = prop_oneof![
        Just(ColumnAction::Clear),
        Just(ColumnAction::Detect),
        Just(REDACT),
        Just(ColumnAction::Mask { style: MaskStyle::Partial, category: Some(Category::Email), tweak: 0 }),
        Just(ColumnAction::Mask { style: MaskStyle::Null, category: None, tweak: 0 }),
    ];
    let oid = prop::sample::select(vec![
        16, 17, 18, 19, 20, 23, 25, 114, 142, 869, 1009, 1043, 1082, 1700, 2249, 3802, 0,
    ]);
    (action, oid, -1..40_i32, any::<bool>()).prop_map(|(action, type_oid, type_modifier, binary)| {
        ColumnPlan {
            action,
            type_oid,
            type_modifier,
            format: if binary { Format::Binary } else { Format::Text },
            context: ColumnContext::UNKNOWN,
        }
    })
}

proptest! {
    #[test]
    fn garbage_never_panics_and_errors_write_nothing(
        columns in prop::collection::vec(any_plan(), 0..4),
        row in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut out = vec![];
        let plan = RowPlan { columns, ..RowPlan::default() };
        match mask_row(&plan, &MASKER, &row, &mut out) {
            Ok(outcome) if outcome.changed => { values(&out); }
            _ => prop_assert!(out.is_empty()),
        }
    }

    #[test]
    fn secrets_never_appear_and_neighbours_stay(
        columns in prop::collection::vec(any_plan(), 1..5),
        noise in "[ -~é]{0,12}",
        null in any::<bool>(),
    ) {
        let secret = "q7w8e9secret";
        let value = format!("{noise} {secret}@example.com");
        let row_values: Vec<Option<&[u8]>> =
            columns.iter().enumerate().map(|(at, _)| (!(null && at == 0)).then_some(value.as_bytes())).collect();
        let mut out = vec![];
        let plan = RowPlan { columns, ..RowPlan::default() };
        let outcome = mask_row(&plan, &MASKER, &body(&row_values), &mut out).unwrap();
        if outcome.changed {
            for ((after, before), plan) in values(&out).iter().zip(&row_values).zip(&plan.columns) {
                match plan.action {
                    ColumnAction::Mask { .. } => {
                        let shown = after.clone().unwrap_or_default();
                        prop_assert!(!String::from_utf8_lossy(&shown).contains(&secret[1..]));
                        prop_assert!(before.is_some() || after.is_none(), "NULL stays NULL");
                    }
                    _ if plan.is_passive() => prop_assert_eq!(after.as_deref(), *before),
                    _ => prop_assert!(
                        !after.as_deref().is_some_and(|v| String::from_utf8_lossy(v).contains(secret))
                    ),
                }
            }
        }
    }
}

#[test]
fn a_broken_array_becomes_null_without_leftovers() {
    // Text that is no array literal, with something in it that has to go.
    let plan = RowPlan {
        columns: vec![ColumnPlan {
            action: ColumnAction::Detect,
            type_oid: 1009,
            type_modifier: -1,
            format: Format::Text,
            context: ColumnContext::UNKNOWN,
        }],
        ..RowPlan::default()
    };
    let mut body = 1u16.to_be_bytes().to_vec();
    let value = b"see louis@example.com";
    body.extend((value.len() as u32).to_be_bytes());
    body.extend(value);
    let mut out = vec![];
    let outcome = mask_row(&plan, &MASKER, &body, &mut out).unwrap();
    assert!(outcome.changed);
    assert_eq!(out, b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff");
}
