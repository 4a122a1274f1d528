//! Documents stay documents, and what is in them is found.

use super::*;
use crate::engine::masking::masker::tests::MASKER;

fn masked(text: &str) -> Result<(u32, String), JsonStop> {
    let mut out = vec![];
    mask_json(&MASKER, text.as_bytes(), &mut out).map(|count| (count, String::from_utf8(out).unwrap()))
}

#[test]
fn values_are_hidden_and_the_rest_is_kept() {
    let rows = [
        (r#"{"id": 7, "note": "mail bob@example.com now"}"#, r#"{"id": 7, "note": "mail *** now"}"#),
        (r#"{"user": {"email": "x", "age": 3}}"#, r#"{"user": {"email": "[masked]", "age": 3}}"#),
        (r#"{"password":"p","ok":true}"#, r#"{"password":"[masked]","ok":true}"#),
        (r#"{"ssn": 219099999, "n": 1}"#, r#"{"ssn": 0, "n": 1}"#),
        (r#"{"c": 4111111111111111}"#, r#"{"c": 0}"#),
        (r#"["bob@example.com", 1]"#, r#"["[masked]", 1]"#),
        (r#"{"a": "bob\u0040example.com"}"#, r#"{"a": "[masked]"}"#),
        (r#"{"a": "x\nbob@example.com"}"#, r#"{"a": "[masked]"}"#),
        (r#"{"bob@example.com": 1}"#, r#"{"[masked]": 1}"#),
        (r#"{"phones": ["1", ["2"]], "z": "1"}"#, r#"{"phones": ["[masked]", ["[masked]"]], "z": "1"}"#),
        (
            r#"{"address": {"l": "x", "m": [1]}, "k": "x"}"#,
            r#"{"address": {"l": "[masked]", "m": [0]}, "k": "x"}"#,
        ),
        (
            r#"{"customer": {"name": "Zo"}, "product": {"name": "Cup"}}"#,
            r#"{"customer": {"name": "[masked]"}, "product": {"name": "Cup"}}"#,
        ),
        (r#""bob@example.com""#, r#""[masked]""#),
    ];
    for (given, wanted) in rows {
        let (count, out) = masked(given).unwrap();
        assert_eq!(out, wanted);
        assert!(count > 0);
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
    }
    let clean = r#"{"id": 1, "s": [true, false, null, -1.5e3, "a\"b"]}"#;
    assert_eq!(masked(clean), Ok((0, clean.into())));
}

#[test]
fn what_is_not_json_is_said() {
    for text in ["{alice,bob}", "{\"a\":}]", "]", "1,2", "{\"a\"::1}", "nil!", "[1}"] {
        assert_eq!(masked(text).map(|_| ()), Err(JsonStop::Malformed), "{text}");
    }
    for text in ["{\"a", "[1, 2", "[tru", "{\"a\": {"] {
        assert_eq!(masked(text).map(|_| ()), Err(JsonStop::Truncated), "{text}");
    }
}

#[test]
fn places_that_are_named_are_hidden_with_everything_below_them() {
    let paths: Vec<JsonPath> =
        ["$.a.b", "$.items[*].code", "flag"].iter().map(|path| JsonPath::parse(path).unwrap()).collect();
    for (text, wanted) in [
        (r#"{"a": {"b": "x", "c": "y"}, "b": "z"}"#, r#"{"a": {"b": "[masked]", "c": "y"}, "b": "z"}"#),
        (
            r#"{"a": {"b": {"c": [1, "x", true, null]}}}"#,
            r#"{"a": {"b": {"c": [0, "[masked]", null, null]}}}"#,
        ),
        (r#"[{"a": [{"b": "x"}, {"b": 2}]}]"#, r#"[{"a": [{"b": "[masked]"}, {"b": 0}]}]"#),
        (
            r#"{"items": [{"code": "x", "n": 1}, {"n": 2}]}"#,
            r#"{"items": [{"code": "[masked]", "n": 1}, {"n": 2}]}"#,
        ),
        (r#"{"x": {"a": {"b": "y"}}, "flag": true}"#, r#"{"x": {"a": {"b": "y"}}, "flag": null}"#),
        (r#"{"\u0061": {"b": "x"}, "a": "y"}"#, r#"{"\u0061": {"b": "[masked]"}, "a": "y"}"#),
        (
            r#"{"a": {"c": 1, "b": "x"}, "z": {"b": "y"}}"#,
            r#"{"a": {"c": 1, "b": "[masked]"}, "z": {"b": "y"}}"#,
        ),
    ] {
        let mut out = vec![];
        mask_json_at(&MASKER, &paths, text.as_bytes(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted, "{text}");
    }
}

#[test]
fn a_key_with_escapes_counts_like_one_without() {
    assert_eq!(masked(r#"{"\u0073sn": "9"}"#), Ok((1, r#"{"\u0073sn": "[masked]"}"#.into())));
}

#[test]
fn nesting_is_bounded() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(masked(&deep(1024)).map(|(count, _)| count), Ok(0));
    for endless in [deep(1025), "[".repeat(1 << 20), r#"{"a":"#.repeat(1 << 18)] {
        assert_eq!(masked(&endless).map(|(count, _)| count), Err(JsonStop::Malformed));
    }
}
