//! Any data under any options of COPY, in any pieces: an error, or rows in which nothing that must not be shown is left;
//! the same however they are cut.
#![no_main]

use arbitrary::Arbitrary;
use governor::engine::masking::{
    ColumnAction, ColumnContext, ColumnPlan, CopyError, CopyMask, Detectors, Format, MaskCounts, Masker,
    RowPlan,
};
use governor::engine::model::{CopyFormat, CopyOptions, MaskStyle};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, OnceLock};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    kind: u8,
    delimiter: u8,
    quote: u8,
    escape: u8,
    null: u8,
    header: bool,
    /// Kind of action and type.
    columns: Vec<(u8, u32)>,
    cuts: Vec<u8>,
    /// Put behind the header of a binary COPY, where it is one.
    data: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let ascii = |byte: u8| (byte & 0x7f).max(b' ');
    let null = ["\\N", "", "none", "x"][usize::from(input.null % 4)].to_owned();
    let (format, values) = match input.kind % 3 {
        0 => (CopyFormat::Text { delimiter: ascii(input.delimiter), null }, Format::Text),
        1 => {
            let (delimiter, quote, escape) =
                (ascii(input.delimiter), ascii(input.quote), ascii(input.escape));
            (CopyFormat::Csv { delimiter, null, quote, escape }, Format::Text)
        }
        _ => (CopyFormat::Binary, Format::Binary),
    };
    if matches!(&format, CopyFormat::Csv { delimiter, quote, .. } if delimiter == quote)
        || matches!(&format, CopyFormat::Text { delimiter: b'\\', .. })
    {
        return;
    }
    let header = input.header && values == Format::Text;
    let mut data =
        if values == Format::Binary { b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec() } else { vec![] };
    data.extend_from_slice(input.data);
    let columns = input.columns.iter().take(16).map(|(kind, type_oid)| ColumnPlan {
        action: match kind % 4 {
            0 => ColumnAction::Clear,
            1 => ColumnAction::Detect,
            2 => ColumnAction::Mask { style: MaskStyle::Redact, category: None, tweak: 0 },
            _ => ColumnAction::Mask { style: MaskStyle::Partial, category: None, tweak: 0 },
        },
        type_oid: type_oid % 4096,
        type_modifier: -1,
        format: values,
        context: ColumnContext::UNKNOWN,
    });
    let plan = Arc::new(RowPlan { columns: columns.collect(), ..RowPlan::default() });
    let options = CopyOptions { format, header, encoding: None };
    let whole = run(&options, &plan, &data, &[]);
    let cut = run(&options, &plan, &data, &input.cuts);
    assert_eq!(whole, cut);
});

fn run(options: &CopyOptions, plan: &Arc<RowPlan>, data: &[u8], cuts: &[u8]) -> Result<Vec<u8>, CopyError> {
    static MASKER: OnceLock<Masker> = OnceLock::new();
    let masker = MASKER.get_or_init(|| Arc::new(Detectors::new().expect("built-in detectors")).into());
    let mut mask = CopyMask::new(options, plan.clone(), 1 << 20);
    let (mut shown, mut rest) = (Vec::new(), data);
    for cut in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        let mut out = Vec::new();
        let changed = mask.push(masker, piece, &mut out, &mut MaskCounts::default())?;
        assert!(changed || out == piece);
        shown.extend(out);
    }
    mask.finish()?;
    Ok(shown)
}
