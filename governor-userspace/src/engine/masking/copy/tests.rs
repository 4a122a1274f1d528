//! Rows of a COPY in every piece that they may come in.

use super::*;
use crate::engine::masking::Format;
use crate::engine::masking::masker::tests::MASKER;
use crate::engine::masking::{ColumnAction, ColumnContext, ColumnPlan};
use crate::engine::model::{Category, MaskStyle};
use proptest::prelude::*;

const SECRET: &str = "violet-harbour-6613";
const MASKED: ColumnAction = ColumnAction::Mask { style: MaskStyle::Redact, category: None, tweak: 0 };

fn text(null: &str) -> CopyOptions {
    let format = CopyFormat::Text { delimiter: b'\t', null: null.into() };
    CopyOptions { format, header: false, encoding: None }
}

fn csv(delimiter: u8, null: &str, quote: u8, escape: u8) -> CopyOptions {
    let format = CopyFormat::Csv { delimiter, null: null.into(), quote, escape };
    CopyOptions { format, header: false, encoding: None }
}

fn binary() -> CopyOptions {
    CopyOptions { format: CopyFormat::Binary, header: false, encoding: None }
}

fn plan(columns: &[(ColumnAction, u32)], format: Format) -> Arc<RowPlan> {
    let column = |(action, type_oid): &(ColumnAction, u32)| ColumnPlan {
        action: *action,
        type_oid: *type_oid,
        type_modifier: -1,
        format,
        context: ColumnContext::UNKNOWN,
    };
    Arc::new(RowPlan { columns: columns.iter().map(column).collect(), ..RowPlan::default() })
}

/// The data in pieces that end at `cuts`.
fn run(
    options: &CopyOptions,
    plan: &Arc<RowPlan>,
    data: &[u8],
    cuts: &[usize],
) -> Result<Vec<u8>, CopyError> {
    let mut mask = CopyMask::new(options, plan.clone(), 1 << 16);
    let (mut shown, mut from) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([data.len()]) {
        let piece = &data[from..end.clamp(from, data.len())];
        from += piece.len();
        let mut out = Vec::new();
        let changed = mask.push(&MASKER, piece, &mut out, &mut MaskCounts::default())?;
        assert!(changed || out == piece, "what is said to be unchanged is");
        shown.extend(out);
    }
    mask.finish()?;
    Ok(shown)
}

/// The result, which is the same however the data are cut.
fn masked(options: &CopyOptions, plan: &Arc<RowPlan>, data: &[u8]) -> Vec<u8> {
    let whole = run(options, plan, data, &[]).unwrap();
    for cut in 0..=data.len() {
        assert_eq!(run(options, plan, data, &[cut]).unwrap(), whole, "cut at {cut}");
    }
    let each: Vec<usize> = (1..data.len()).collect();
    assert_eq!(run(options, plan, data, &each).unwrap(), whole, "byte by byte");
    whole
}

fn shown(options: &CopyOptions, columns: &[(ColumnAction, u32)], data: &str) -> String {
    let format = if options.format == CopyFormat::Binary { Format::Binary } else { Format::Text };
    String::from_utf8(masked(options, &plan(columns, format), data.as_bytes())).unwrap()
}

use ColumnAction::{Clear, Detect};

#[test]
fn text_is_masked_by_column_and_by_value() {
    let columns = [(Clear, 25), (MASKED, 25), (Detect, 25), (MASKED, 23)];
    let data =
        format!("1\t{SECRET}\tcall alice@example.com\t42\n\\N\t\\N\t\\N\t\\N\na\\tb\tx\\\\y\tplain\t0\n");
    let wanted = "1\t[masked]\tcall ***\t0\n\\N\t\\N\t\\N\t\\N\na\\tb\t[masked]\tplain\t0\n";
    assert_eq!(shown(&text("\\N"), &columns, &data), wanted);
}

#[test]
fn escapes_hide_nothing_from_a_detector_and_what_is_written_is_escaped() {
    let at = CopyOptions { format: CopyFormat::Text { delimiter: b'@', null: "\\N".into() }, ..text("") };
    assert_eq!(shown(&at, &[(Clear, 25), (Detect, 25)], "a@alice\\@example.com\n"), "a@a***\\@example.com\n");
    let bracket =
        CopyOptions { format: CopyFormat::Text { delimiter: b'[', null: "\\N".into() }, ..text("") };
    assert_eq!(shown(&bracket, &[(MASKED, 25), (Clear, 25)], "x[y\n"), "\\[masked][y\n");
}

/// `NULL 'guess'` would show in every row whether the guess is right.
#[test]
fn a_word_for_null_that_may_be_a_value_tells_nothing() {
    let data = format!("{SECRET}\t{SECRET}\nother\t{SECRET}\n");
    let wanted = format!("[masked]\t{SECRET}\n[masked]\t{SECRET}\n");
    assert_eq!(shown(&text(SECRET), &[(MASKED, 25), (Clear, 25)], &data), wanted);
    assert_eq!(shown(&text(""), &[(MASKED, 25), (Clear, 25)], "\tx\n"), "\tx\n");
    let quoted = format!("{SECRET},\"{SECRET}\"\n");
    let wanted = format!("{SECRET},\"[masked]\"\n");
    assert_eq!(shown(&csv(b',', SECRET, b'"', b'"'), &[(MASKED, 25), (MASKED, 25)], &quoted), wanted);
}

/// Whether the server quoted a value tells what is in it: `DELIMITER '5'`.
#[test]
fn csv_values_look_the_same_whatever_they_were() {
    let columns = [(MASKED, 25), (Clear, 23)];
    for delimiter in [b',', b'5'] {
        let d = char::from(delimiter);
        let data = format!("plain{d}1\n\"has {d} one\"{d}2\n{d}3\n\"\"{d}4\n");
        let wanted = format!("\"[masked]\"{d}1\n\"[masked]\"{d}2\n{d}3\n\"[masked]\"{d}4\n");
        assert_eq!(shown(&csv(delimiter, "", b'"', b'"'), &columns, &data), wanted);
    }
}

#[test]
fn csv_has_line_feeds_quotes_and_escapes_of_its_own() {
    let columns = [(Clear, 25), (MASKED, 25), (Detect, 25)];
    let data = format!("\"a\nb\"\"c\",\"{SECRET}\n\",\"mail \"\"alice@example.com\"\"\"\n");
    let wanted = "\"a\nb\"\"c\",\"[masked]\",\"mail \"\"***\"\"\"\n";
    assert_eq!(shown(&csv(b',', "", b'"', b'"'), &columns, &data), wanted);
    let data = "\"a\\\"\nb\\\\\",x,\"say \\\"alice@example.com\\\"\"\n";
    let wanted = "\"a\\\"\nb\\\\\",\"[masked]\",\"say \\\"***\\\"\"\n";
    assert_eq!(shown(&csv(b',', "", b'"', b'\\'), &columns, data), wanted);
    // A quote that is in the marker.
    assert_eq!(shown(&csv(b',', "", b'm', b'm'), &[(MASKED, 25)], "x\n"), "m[mmasked]m\n");
}

#[test]
fn the_row_of_names_passes() {
    let named = |options: CopyOptions| CopyOptions { header: true, ..options };
    let columns = [(MASKED, 25), (MASKED, 23)];
    assert_eq!(shown(&named(text("\\N")), &columns, "ssn\tid\n1\t2\n"), "ssn\tid\n[masked]\t0\n");
    let wanted = "ssn,\"i\nd\"\n\"[masked]\",\"0\"\n";
    assert_eq!(shown(&named(csv(b',', "", b'"', b'"')), &columns, "ssn,\"i\nd\"\n1,2\n"), wanted);
}

#[test]
fn types_and_styles_count_as_in_rows() {
    let partial = ColumnAction::Mask { style: MaskStyle::Partial, category: Some(Category::Email), tweak: 0 };
    let null = ColumnAction::Mask { style: MaskStyle::Null, category: None, tweak: 0 };
    let columns = [(partial, 25), (null, 25), (MASKED, 1009), (MASKED, 1082), (MASKED, 0), (Detect, 1009)];
    let data = "alice@example.com\tx\t{a,b}\t1966-05-23\tx\t{plain,alice@example.com}\n";
    let wanted = "a***@example.com\t\\N\t{[masked]}\t2000-01-01\t\\N\t{plain,a***@example.com}\n";
    assert_eq!(shown(&text("\\N"), &columns, data), wanted);
}

fn binary_row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut row = (values.len() as i16).to_be_bytes().to_vec();
    for value in values {
        row.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
        row.extend(value.unwrap_or_default());
    }
    row
}

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

#[test]
fn binary_is_masked_row_by_row() {
    let rows = |rows: &[&[Option<&[u8]>]]| {
        let rows = rows.iter().flat_map(|row| binary_row(row)).collect();
        [HEADER.to_vec(), rows, vec![0xff, 0xff]].concat()
    };
    let data = rows(&[
        &[Some(b"\0\0\0\x01"), Some(SECRET.as_bytes()), Some(b"mail alice@example.com")],
        &[None, None, None],
        &[Some(b"\0\0\0\x02"), Some(b""), Some(b"plain")],
    ]);
    let wanted = rows(&[
        &[Some(b"\0\0\0\x01"), Some(b"[masked]"), Some(b"mail ***")],
        &[None, None, None],
        &[Some(b"\0\0\0\x02"), Some(b"[masked]"), Some(b"plain")],
    ]);
    let plan = plan(&[(Clear, 23), (MASKED, 25), (Detect, 25)], Format::Binary);
    assert_eq!(masked(&binary(), &plan, &data), wanted);
    assert_eq!(run(&binary(), &plan, &data[..data.len() - 2], &[]), Err(CopyError::Truncated));
    assert_eq!(run(&binary(), &plan, &[&data[..], b"x"].concat(), &[]), Err(CopyError::Malformed));
}

#[test]
fn rows_with_other_columns_are_an_error_and_nothing_of_them_is_shown() {
    let two = [(MASKED, 25), (Clear, 25)];
    let lines: [(&CopyOptions, &str); 8] = [
        (&text("\\N"), "a\n"),
        (&text("\\N"), "a\tb\tc\n"),
        (&text("\\N"), "a\tb\\\n"),
        (&csv(b',', "", b'"', b'"'), "a\n"),
        (&csv(b',', "", b'"', b'"'), "a,b,c\n"),
        (&csv(b',', "", b'"', b'"'), "a\"b\",c\n"),
        (&csv(b',', "", b'"', b'"'), "\"a\"b,c\n"),
        (&text("\\N"), "a\tb"),
    ];
    for (options, data) in lines {
        assert!(run(options, &plan(&two, Format::Text), data.as_bytes(), &[]).is_err(), "{data:?}");
    }
    let wrong = [HEADER, &binary_row(&[Some(b"a")]), b"\xff\xff"].concat();
    let expected = Err(CopyError::ColumnCount { found: 1, expected: 2 });
    assert_eq!(run(&binary(), &plan(&two, Format::Binary), &wrong, &[]), expected);
    assert!(run(&binary(), &plan(&two, Format::Binary), b"PGCOPX", &[]).is_err());
}

#[test]
fn no_more_than_one_row_is_held() {
    let plan = plan(&[(MASKED, 25)], Format::Text);
    for options in [text("\\N"), csv(b',', "", b'"', b'"')] {
        let mut mask = CopyMask::new(&options, plan.clone(), 1000);
        let (mut out, mut counts) = (Vec::new(), MaskCounts::default());
        for _ in 0..10 {
            mask.push(&MASKER, &[b'x'; 100], &mut out, &mut counts).unwrap();
        }
        assert_eq!(
            mask.push(&MASKER, b"x", &mut out, &mut counts),
            Err(CopyError::RowTooLong { limit: 1000 })
        );
        assert!(out.is_empty());
    }
}

#[test]
fn a_table_without_columns_has_empty_rows() {
    assert_eq!(shown(&text("\\N"), &[], "\n\n"), "\n\n");
    assert!(run(&text("\\N"), &plan(&[], Format::Text), b"x\n", &[]).is_err());
}

/// A writer of COPY's formats as the server is one.
fn written(options: &CopyOptions, rows: &[Vec<Option<String>>], out: &mut Vec<u8>) {
    for row in rows {
        for (at, value) in row.iter().enumerate() {
            match &options.format {
                CopyFormat::Text { delimiter, null } => {
                    let layout = text::Layout::new(*delimiter, null);
                    out.extend((at > 0).then_some(*delimiter));
                    match value {
                        None => out.extend(null.bytes()),
                        Some(value) => layout.encode(value.as_bytes(), out),
                    }
                }
                CopyFormat::Csv { delimiter, null, quote, escape } => {
                    let layout = csv::Layout::new(*delimiter, null, *quote, *escape);
                    out.extend((at > 0).then_some(*delimiter));
                    let needs = |v: &str| {
                        v == null || v.bytes().any(|b| [*delimiter, *quote, b'\n', b'\r'].contains(&b))
                    };
                    match value {
                        None => out.extend(null.bytes()),
                        Some(value) if needs(value) => layout.encode(value.as_bytes(), out),
                        Some(value) => out.extend(value.bytes()),
                    }
                }
                CopyFormat::Binary => {}
            }
        }
        out.push(b'\n');
    }
}

fn value() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof![
        "[a-z,\"\\\\\t\n\r']{0,12}",
        Just(SECRET.to_owned()),
        Just("alice@example.com".to_owned()),
        Just("\\N".to_owned()),
    ])
}

proptest! {
    /// Rows come out with the same values but for the masked ones, however they are cut.
    #[test]
    fn only_masked_values_change(
        rows in prop::collection::vec([value(), value(), value()], 0..8),
        is_csv in any::<bool>(),
        cuts in prop::collection::vec(0_usize..200, 0..5),
    ) {
        let options = if is_csv { csv(b',', "", b'"', b'\\') } else { text("\\N") };
        let rows: Vec<Vec<Option<String>>> = rows.iter().map(|row| row.to_vec()).collect();
        let (mut data, mut wanted) = (Vec::new(), Vec::new());
        written(&options, &rows, &mut data);
        let hidden = |row: &Vec<Option<String>>| {
            let mut row = row.clone();
            row[1] = row[1].as_ref().map(|_| "[masked]".to_owned());
            row
        };
        written(&options, &rows.iter().map(hidden).collect::<Vec<_>>(), &mut wanted);
        let plan = plan(&[(Clear, 25), (MASKED, 25), (Clear, 25)], Format::Text);
        let mut cuts = cuts;
        cuts.sort_unstable();
        let shown = run(&options, &plan, &data, &cuts).unwrap();
        let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\"[masked]\"", "[masked]");
        prop_assert_eq!(plain(&shown), plain(&wanted));
    }

    /// Any bytes: rows as they should be, or an error; never a panic.
    #[test]
    fn any_bytes_end_well(
        data in prop::collection::vec(any::<u8>(), 0..300),
        kind in 0_u8..3,
        begins in any::<bool>(),
    ) {
        let (options, format) = match kind {
            0 => (text("\\N"), Format::Text),
            1 => (csv(b',', "", b'"', b'"'), Format::Text),
            _ => (binary(), Format::Binary),
        };
        let data = if begins && kind == 2 { [HEADER, &data].concat() } else { data };
        let plan = plan(&[(MASKED, 25), (Detect, 1009), (Clear, 25)], format);
        let _ = run(&options, &plan, &data, &[data.len() / 2]);
    }
}
