//! Bound values as records show them.

use super::*;
use crate::engine::masking::masker::tests::{MASKER, broken_masker};

#[test]
fn secrets_do_not_reach_the_record() {
    let rows = [
        ("alice@example.com", "a***@example.com"),
        ("4111111111111111", "************1111"),
        ("call +44 7921 737441 now", "call *** now"),
        (r#"{"password": "x"}"#, r#"{"password": "[masked]"}"#),
        ("{alice@example.com}", "{***}"),
        ("plain", "plain"),
        ("", ""),
    ];
    for (given, wanted) in rows {
        assert_eq!(mask_parameter(&MASKER, given), wanted);
    }
}

#[test]
fn length_is_bounded_and_edges_leak_nothing() {
    for before in (0..400).step_by(3) {
        let text = format!("{} 4111111111111111 {}", "é".repeat(before), "x ".repeat(100));
        let shown = mask_parameter(&MASKER, &text);
        assert!(shown.len() <= PARAMETER_BYTES_MAX, "{before}");
        assert!(!shown.contains("4111"), "{before}: {shown}");
    }
    let document = format!(r#"{{"token": "hunter2", "pad": "{}"}}"#, "y".repeat(1 << 20));
    let shown = mask_parameter(&MASKER, &document);
    assert!(shown.len() <= PARAMETER_BYTES_MAX && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_failing_detector_hides_the_value() {
    assert_eq!(mask_parameter(&broken_masker(), "12345678Z"), "[masked]");
}
