//! Any values of any column, counted in two parts: a verdict within its bounds, the same however often it is asked.
#![no_main]

use arbitrary::Arbitrary;
use governor::engine::masking::{Category, ColumnEvidence, Detectors, judge_column};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    relation: &'a str,
    column: &'a str,
    values: Vec<&'a [u8]>,
    /// Numbers, written as digits behind so many zeros: what numbering plans are asked about.
    numbers: Vec<(u64, u8)>,
    cut: usize,
}

fuzz_target!(|input: Input<'_>| {
    static DETECTORS: OnceLock<Detectors> = OnceLock::new();
    let detectors = DETECTORS.get_or_init(|| Detectors::new().expect("the built-in detectors compile"));
    let written = input.numbers.iter().map(|(number, zeros)| {
        format!("{}{}", "0".repeat(usize::from(zeros % 4)), number % 10_u64.pow(u32::from(zeros % 14) + 4))
    });
    let written: Vec<String> = written.collect();
    let values = input.values.iter().copied().chain(written.iter().map(String::as_bytes));
    let (mut first, mut second) = (ColumnEvidence::default(), ColumnEvidence::default());
    for (at, value) in values.enumerate() {
        let part = if at < input.cut { &mut first } else { &mut second };
        part.observe_whole(detectors, value);
    }
    first.merge(&second);
    let judge = || judge_column(input.relation, input.column, 25, &[], &first);
    let verdict = judge();
    assert_eq!(verdict, judge());
    if let Some(found) = verdict {
        assert!((50..=99).contains(&found.confidence_percent), "{found:?}");
        assert!(found.countries.is_none() || found.category == Category::Phone, "{found:?}");
    }
});
