//! Documents stay documents, and what is in them is found.

use super::*;
use crate::engine::masking::masker::tests::MASKER;
use crate::engine::masking::style::tests::KEYED;
use crate::engine::masking::{Format, ValueMask, mask_value, reveal};

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
    let places =
        ["$.a.b", "$.items[*].code", "flag"].map(|path| place(path, MaskStyle::Redact, Category::Other));
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
        mask_json_at(&MASKER, &places, text.as_bytes(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), wanted, "{text}");
    }
}

fn place(path: &str, style: MaskStyle, category: Category) -> JsonPlace {
    JsonPlace { path: JsonPath::parse(path).unwrap(), style, category, tweak: 0 }
}

/// Every style, of strings, numbers and words: valid JSON, nothing of the clear value but what the style keeps.
#[test]
fn a_place_has_the_style_that_is_asked_for() {
    let shown = |style, category, value: &str| {
        let mut out = vec![];
        let text = format!(r#"{{"a": {{"b": {value}}}, "c": "kept"}}"#);
        let places = [place("$.a.b", style, category)];
        assert_eq!(mask_json_at(&KEYED, &places, text.as_bytes(), &mut out), Ok(1), "{text}");
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["c"], "kept");
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix(r#"{"a": {"b": "#).unwrap().strip_suffix(r#"}, "c": "kept"}"#).unwrap().to_owned()
    };
    use Category as C;
    use MaskStyle as S;
    let mail = r#""alice@example.net""#;
    for (style, category, value, wanted) in [
        (S::Null, C::Email, mail, "null"),
        (S::Null, C::Email, "7731", "null"),
        (S::Null, C::Email, "true", "null"),
        (S::Redact, C::Email, mail, r#""[masked]""#),
        (S::Redact, C::Email, "7731", "0"),
        (S::Redact, C::Email, "false", "null"),
        (S::Partial, C::Email, mail, r#""a***@example.net""#),
        (S::Partial, C::Email, r#""alice\u0040example.net""#, r#""a***@example.net""#),
        (S::Partial, C::Email, r#""nothing of the kind""#, r#""[masked]""#),
        (S::Partial, C::PaymentCard, r#""4111 1111 1111 1234""#, r#""************1234""#),
        (S::Partial, C::PaymentCard, "4111111111111234", "0"),
        (S::Partial, C::BirthDate, r#""1977-03-17""#, r#""1977-01-01""#),
        (S::Token, C::Email, "7731", "0"),
        (S::Format, C::Other, r#""ab-\u00e9-12345678""#, r#""[masked]""#),
        (S::Format, C::Other, "true", "null"),
        (S::Format, C::Other, "1e5", "0"),
        (S::Shift, C::BirthDate, r#""next week""#, r#""[masked]""#),
        (S::Shift, C::BirthDate, "19770317", "0"),
        (S::Range, C::Financial, "77317.50", "70000"),
        (S::Range, C::Financial, "-1", "-10000"),
        (S::Range, C::Financial, r#""77317.50""#, r#""70000""#),
        (S::Range, C::BirthDate, r#""1977-03-17""#, r#""1977-01-01""#),
        (S::Range, C::Financial, r#""much""#, r#""[masked]""#),
        (S::Fake, C::Email, "7731", "0"),
        // Half a character is no text.
        (S::Hash, C::Email, r#""\ud83d x""#, r#""[masked]""#),
        (S::Null, C::Email, r#""\ud83d x""#, "null"),
    ] {
        assert_eq!(shown(style, category, value), wanted, "{style:?} {value}");
    }
    // What a key decides is what it decides for a column of the same category.
    let of_column = |style, category, type_oid, value: &str| {
        let format = Format::Text;
        let category = Some(category);
        let mask = ValueMask { style, category, tweak: 0, type_oid, type_modifier: -1, format };
        let mut out = vec![];
        mask_value(&KEYED, &mask, value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    };
    for style in [S::Hash, S::Token, S::Format, S::Fake] {
        let made = of_column(style, C::Email, 25, "alice@example.net");
        assert!(!made.contains("masked") && !made.contains("alice"), "{style:?} {made}");
        assert_eq!(shown(style, C::Email, mail), format!("{made:?}"), "{style:?}");
        assert_eq!(shown(style, C::Email, r#""alice\u0040example.net""#), format!("{made:?}"), "{style:?}");
    }
    for style in [S::Hash, S::Format] {
        let made = of_column(style, C::Financial, 1700, "773177.31");
        assert_eq!(shown(style, C::Financial, "773177.31"), made, "{style:?}");
        assert_ne!(made, "773177.31");
    }
    let shifted = shown(S::Shift, C::BirthDate, r#""1977-03-17""#);
    assert_eq!(shifted, format!("{:?}", of_column(S::Shift, C::BirthDate, 25, "1977-03-17")));
    // What a style keeps is written as a string has it.
    let signs = shown(S::Format, C::Other, r#""a\"b\\c\n12345678""#);
    let read: String = serde_json::from_str(&signs).unwrap();
    assert_eq!(read.replace(|c: char| c.is_ascii_alphanumeric(), "_"), "_\"_\\_\n________");
    let token: String = serde_json::from_str(&shown(S::Token, C::Email, r#""a\"\u20ac""#)).unwrap();
    assert_eq!(&*reveal(&KEYED.keys, &token).unwrap().value, "a\"€".as_bytes());
}

/// Arrays on the way and everything below have the style, value by value; of several places the one that tells least counts.
#[test]
fn a_style_reaches_below_its_place_and_the_strictest_counts() {
    let places = [
        place("$.a", MaskStyle::Range, Category::Financial),
        place("$.a.b", MaskStyle::Redact, Category::Other),
        place("$.a.b.c", MaskStyle::Partial, Category::Email),
        place("$.x", MaskStyle::Partial, Category::Email),
    ];
    let text = r#"{"a": [12345, {"d": 12345, "b": {"c": "bob@b.example", "e": 7}}], "x": [["bob@b.example", null], 1, true],
        "password": "p", "note": "to alice@example.com"}"#;
    let wanted = r#"{"a": [10000, {"d": 10000, "b": {"c": "[masked]", "e": 0}}], "x": [["b***@b.example", null], 0, null],
        "password": "[masked]", "note": "to ***"}"#;
    let mut out = vec![];
    mask_json_at(&MASKER, &places, text.as_bytes(), &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), wanted);
}

#[test]
fn a_key_with_escapes_counts_like_one_without() {
    assert_eq!(masked(r#"{"\u0073sn": "9"}"#), Ok((1, r#"{"\u0073sn": "[masked]"}"#.into())));
    // A character in two halves, as `json` keeps it; one half, or something else behind it, is none.
    let places = [place("$.\u{1F600}", MaskStyle::Redact, Category::Other)];
    for (key, is_it) in [
        (r"\ud83d\ude00", true),
        (r"\uD83D\uDE00", true),
        ("\u{1F600}", true),
        (r"\ud83d", false),
        (r"\ud83d\ud83d\ude00", false),
        (r"\ud83d\u0041", false),
        (r"\ude00\ud83d", false),
        (r"\ud83dude00", false),
    ] {
        let mut out = vec![];
        let text = format!(r#"{{"{key}": "x"}}"#);
        let count = mask_json_at(&MASKER, &places, text.as_bytes(), &mut out);
        assert_eq!(count, Ok(u32::from(is_it)), "{key}");
    }
}

/// The client decides in which encoding it gets a document.
#[test]
fn keys_in_other_encodings_hide_nothing() {
    let places = [place("$.größe", MaskStyle::Redact, Category::Other)];
    for (given, wanted) in [
        (&b"{\"contrase\xf1a\": \"x\"}"[..], &b"{\"contrase\xf1a\": \"[masked]\"}"[..]),
        (b"{\"gr\xf6\xdfe\": \"x\", \"size\": \"y\"}", b"{\"gr\xf6\xdfe\": \"[masked]\", \"size\": \"y\"}"),
        // Nobody knows which key that is.
        (b"{\"\x95\x5c\x82\": \"x\"}", b"{\"\x95\x5c\x82\": \"[masked]\"}"),
        (
            "{\"größe\": \"x\", \"länge\": \"y\"}".as_bytes(),
            "{\"größe\": \"[masked]\", \"länge\": \"y\"}".as_bytes(),
        ),
    ] {
        let mut out = vec![];
        mask_json_at(&MASKER, &places, given, &mut out).unwrap();
        assert_eq!(out, wanted, "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(masked(&deep(1024)).map(|(count, _)| count), Ok(0));
    for endless in [deep(1025), "[".repeat(1 << 20), r#"{"a":"#.repeat(1 << 18)] {
        assert_eq!(masked(&endless).map(|(count, _)| count), Err(JsonStop::Malformed));
    }
}
