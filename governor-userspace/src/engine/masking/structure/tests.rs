//! Values made of others, in both formats.

use crate::engine::masking::masker::tests::MASKER;
use crate::engine::masking::{
    ColumnAction, ColumnContext, ColumnPlan, Format, MaskCounts, RowPlan, mask_row,
};
use crate::engine::model::{Category, MaskStyle, RowField, TypeShape, Types};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

const HSTORE: u32 = 20_000;
const PERSON: u32 = 20_001;
const PERSONS: u32 = 20_002;
const MAIL: u32 = 20_003;
const MAILS: u32 = 20_004;
const CITEXT: u32 = 20_005;
const COLOUR: u32 = 20_006;
const TEXT_RANGE: u32 = 20_007;
const DEEP: u32 = 20_008;

static TYPES: LazyLock<Arc<Types>> = LazyLock::new(|| {
    let mut types = Types::default();
    let field = |name: &str, type_oid| RowField { name: name.into(), type_oid };
    let person = [field("id", 23), field("note", 25), field("ssn", 25), field("mails", MAILS)];
    types.add(HSTORE, TypeShape::Hstore);
    types.add(PERSON, TypeShape::Composite { fields: Some(person.into()) });
    types.add(PERSONS, TypeShape::Array { element: PERSON, delimiter: b',' });
    types.add(MAIL, TypeShape::Domain { base: 25 });
    types.add(MAILS, TypeShape::Array { element: MAIL, delimiter: b',' });
    types.add(CITEXT, TypeShape::Text);
    types.add(COLOUR, TypeShape::Enum);
    types.add(TEXT_RANGE, TypeShape::Range { subtype: 25 });
    types.add(DEEP, TypeShape::Array { element: DEEP, delimiter: b',' });
    Arc::new(types)
});

fn run(action: ColumnAction, type_oid: u32, format: Format, value: &[u8]) -> Option<Option<Vec<u8>>> {
    let column = ColumnPlan { action, type_oid, type_modifier: -1, format, context: ColumnContext::UNKNOWN };
    let plan = RowPlan { columns: vec![column], types: TYPES.clone(), ..RowPlan::default() };
    let mut body = vec![0, 1];
    body.extend((value.len() as i32).to_be_bytes());
    body.extend(value);
    let mut out = Vec::new();
    let changed = mask_row(&plan, &MASKER, &body, &mut out, &mut MaskCounts::default()).unwrap();
    changed.then(|| {
        let length = i32::from_be_bytes(out[7..11].try_into().unwrap());
        (length >= 0).then(|| out[11..].to_vec())
    })
}

/// In text format: `None` where the value passes, `"NULL"` where it is hidden whole.
fn text(action: ColumnAction, type_oid: u32, value: &str) -> Option<String> {
    let shown = run(action, type_oid, Format::Text, value.as_bytes())?;
    Some(shown.map_or_else(|| "NULL".into(), |shown| String::from_utf8(shown).unwrap()))
}

const REDACT: ColumnAction = ColumnAction::Mask { style: MaskStyle::Redact, category: None, tweak: 0 };
const PARTIAL: ColumnAction =
    ColumnAction::Mask { style: MaskStyle::Partial, category: Some(Category::Email), tweak: 0 };
use ColumnAction::Detect;

#[test]
fn redacted_values_are_the_same_whatever_they_were() {
    for (oid, values, wanted) in [
        (1009, &["{a,b}", "{}", "[5:6]={x,NULL}"][..], "{[masked]}"),
        (1007, &["{1,2,3}", "{{1},{2}}"], "{0}"),
        (1020, &["{(2,2),(1,1);(4,4),(3,3)}"], "{(0,0),(0,0)}"),
        (1182, &["{2024-01-01}"], "{2000-01-01}"),
        (PERSON, &["(1,x,512-84-9071,\"{a,b}\")", "(,,,)"], "(0,[masked],[masked],{[masked]})"),
        (PERSONS, &["{\"(1,x,y,)\"}", "{}"], "{\"(0,[masked],[masked],{[masked]})\"}"),
        (MAILS, &["{a@b.com}"], "{[masked]}"),
        (HSTORE, &["\"a\"=>\"b\"", ""], "\"[masked]\"=>NULL"),
        (CITEXT, &["Secret"], "[masked]"),
        (COLOUR, &["red"], "NULL"),
        (TEXT_RANGE, &["[a,b)"], "empty"),
        (3904, &["[1,5)"], "empty"),
        (4451, &["{[1,5)}"], "{}"),
        (1560, &["1"], "0"),
        (1562, &["101"], ""),
        (600, &["(1,2)"], "(0,0)"),
        (3614, &["'a' 'b'"], ""),
        (142, &["<a>secret</a>"], "<masked/>"),
        (2249, &["(1,2)"], "NULL"),
        (1034, &["{=r/app}"], "{}"),
    ] {
        for value in values {
            assert_eq!(text(REDACT, oid, value).as_deref(), Some(wanted), "{oid} {value}");
        }
    }
}

#[test]
fn every_element_of_a_column_s_own_value_has_the_style() {
    for (oid, value, wanted) in [
        (1009, "{alice@example.com,NULL,x}", "{a***@example.com,NULL,[masked]}"),
        (1009, "{{\"alice@example.com\"},{y}}", "{{a***@example.com},{[masked]}}"),
        (1009, "[0:1]={bob@b.example,\"a,\\\"b\"}", "[0:1]={b***@b.example,[masked]}"),
        (1009, "{}", "{}"),
        (MAILS, "{alice@example.com}", "{a***@example.com}"),
        (
            PERSON,
            "(1,\"bob@b.example\",,\"{x,bob@b.example}\")",
            "(0,b***@b.example,,\"{[masked],b***@b.example}\")",
        ),
        // What does not read as its type has it.
        (1009, "{a", "{[masked]}"),
        (1009, "a,b", "{[masked]}"),
        (PERSON, "(1,2)", "(0,[masked],[masked],{[masked]})"),
    ] {
        assert_eq!(text(PARTIAL, oid, value).as_deref(), Some(wanted), "{value}");
    }
}

#[test]
fn only_what_is_found_is_replaced() {
    for (oid, value, wanted) in [
        (1009, "{plain,alice@example.com}", Some("{plain,a***@example.com}")),
        (
            1009,
            "{\"a b\",\"write to \\\"alice@example.com\\\"\",NULL}",
            Some("{\"a b\",\"write to \\\"***\\\"\",NULL}"),
        ),
        (1009, "{plain,\"a b\"}", None),
        (1009, "{plain", Some("NULL")),
        (1016, "{4111111111111111}", Some("NULL")),
        (1007, "{1,2}", None),
        (PERSON, "(7,\"to alice@example.com\",512,)", Some("(7,\"to ***\",[masked],)")),
        (PERSON, "(7,plain,,{x})", None),
        (PERSONS, "{\"(7,\\\"a b\\\",y,)\"}", Some("{\"(7,\\\"a b\\\",[masked],)\"}")),
        (2249, "(7,alice@example.com)", Some("(7,)")),
        (2249, "(7,plain)", None),
        (
            HSTORE,
            "\"colour\"=>\"blue\", \"ssn\"=>\"512-84-9071\", \"x\"=>NULL",
            Some("\"colour\"=>\"blue\", \"ssn\"=>\"[masked]\", \"x\"=>NULL"),
        ),
        (HSTORE, "\"to\"=>\"alice@example.com\"", Some("\"to\"=>\"a***@example.com\"")),
        (HSTORE, "\"alice@example.com\"=>\"x\"", Some("NULL")),
        (HSTORE, "\"a\"=>\"b\"", None),
        (CITEXT, "Alice@Example.com", Some("A***@Example.com")),
        (COLOUR, "alice@example.com", Some("NULL")),
        (TEXT_RANGE, "[alice@example.com,z)", Some("empty")),
        (TEXT_RANGE, "[a,z)", None),
        (3614, "'alice@example.com':3", Some("")),
        (600, "(1.5,0)", None),
        (1560, "101", None),
    ] {
        assert_eq!(text(Detect, oid, value).as_deref(), wanted, "{oid} {value}");
    }
}

#[test]
fn xml_loses_texts_and_attributes() {
    for (value, wanted) in [
        ("<a>to alice@example.com</a>", Some("<a>to ***</a>")),
        ("<a b='alice@example.com' c=\"1\"/>", Some("<a b='[masked]' c=\"1\"/>")),
        ("<a>alice&#64;example.com</a>", Some("<a>[masked]</a>")),
        ("<a>alice&#x40;example.com &amp; more</a>", Some("<a>[masked]</a>")),
        (
            "<p:person><ssn>9</ssn><x>9</x></p:person>",
            Some("<p:person><ssn>[masked]</ssn><x>9</x></p:person>"),
        ),
        ("<ssn><part>9</part> <part/></ssn>", Some("<ssn><part>[masked]</part> <part/></ssn>")),
        (
            "<a><!-- alice@example.com --><![CDATA[bob@b.example]]></a>",
            Some("<a><!--[masked]--><![CDATA[[masked]]]></a>"),
        ),
        (
            "<?xml version=\"1.0\"?><a ssn = '1'>x</a>",
            Some("<?xml version=\"1.0\"?><a ssn = '[masked]'>x</a>"),
        ),
        ("<!DOCTYPE a [<!ENTITY e 'alice@example.com'>]><a>&e;</a>", Some("<masked/>")),
        ("<a>plain &lt; text</a> tail", None),
        ("<a", Some("<masked/>")),
        // Content without an element is XML, too.
        ("alice&#64;example.com", Some("[masked]")),
        ("to alice&#x40;example.com &amp; Bob", Some("[masked]")),
        ("bread &amp; butter", None),
        (
            "<a xmlns='alice@example.com' xmlnsx='bob@b.example'/>",
            Some("<a xmlns='[masked]' xmlnsx='[masked]'/>"),
        ),
        (
            "<ssn xmlns='urn:x' xmlns:y=\"urn:y\">9</ssn>",
            Some("<ssn xmlns='urn:x' xmlns:y=\"urn:y\">[masked]</ssn>"),
        ),
        (
            "<ssn><?to 512?><?to?></ssn><b><?to 512?></b>",
            Some("<ssn><?to [masked]?><?to?></ssn><b><?to 512?></b>"),
        ),
        ("<!DOCTYPE a [<!ENTITY e 'plain'>]><a><ssn>&e;</ssn></a>", Some("<masked/>")),
        ("alice@example.com", Some("<masked/>")),
    ] {
        assert_eq!(text(Detect, 142, value).as_deref(), wanted, "{value}");
    }
    let deep = "<a>".repeat(1025) + "<ssn>9</ssn>" + &"</a>".repeat(1025);
    assert_eq!(text(Detect, 142, &deep).as_deref(), Some("<masked/>"));
}

fn array(element: u32, values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut array = Vec::new();
    let has_null = i32::from(values.iter().any(Option::is_none));
    let numbers = [1, has_null, element as i32, values.len() as i32, 1];
    array.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
    values.iter().for_each(|value| put(*value, &mut array));
    array
}

fn record(fields: &[(u32, Option<&[u8]>)]) -> Vec<u8> {
    let mut record = (fields.len() as i32).to_be_bytes().to_vec();
    for (oid, value) in fields {
        record.extend(oid.to_be_bytes());
        put(*value, &mut record);
    }
    record
}

fn put(value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
    out.extend(value.unwrap_or_default());
}

#[test]
fn binary_values_stay_what_they_are() {
    let binary = |action, oid, value: &[u8]| run(action, oid, Format::Binary, value);
    let mail: Option<&[u8]> = Some(b"alice@example.com");
    let partly: Option<&[u8]> = Some(b"a***@example.com");
    let marker: Option<&[u8]> = Some(b"[masked]");
    let own = array(25, &[mail, None, Some(b"x")]);
    assert_eq!(binary(PARTIAL, 1009, &own), Some(Some(array(25, &[partly, None, marker]))));
    assert_eq!(binary(REDACT, 1009, &own), Some(Some(array(25, &[marker]))));
    assert_eq!(binary(Detect, 1009, &own), Some(Some(array(25, &[partly, None, Some(b"x")]))));
    assert_eq!(binary(Detect, 1009, &array(25, &[Some(b"x"), None])), None);
    assert_eq!(binary(Detect, 1009, b"\0\0\0\x11alice@example.com"), Some(None));
    assert_eq!(binary(REDACT, 1007, b"anything"), Some(Some(array(23, &[Some(&[0; 4])]))));
    let person = record(&[(23, Some(&[0, 0, 0, 7])), (25, mail), (25, Some(b"512")), (MAILS, None)]);
    let wanted = record(&[(23, Some(&[0, 0, 0, 7])), (25, partly), (25, marker), (MAILS, None)]);
    assert_eq!(binary(Detect, PERSON, &person), Some(Some(wanted.clone())));
    assert_eq!(
        binary(Detect, PERSONS, &array(PERSON, &[Some(&person)])),
        Some(Some(array(PERSON, &[Some(&wanted)])))
    );
    // A record without a name says its types itself.
    let anonymous = record(&[(25, mail), (23, Some(&[0, 0, 0, 7]))]);
    assert_eq!(
        binary(Detect, 2249, &anonymous),
        Some(Some(record(&[(25, partly), (23, Some(&[0, 0, 0, 7]))])))
    );
    let pairs = |value: &[u8]| {
        let mut pairs = 1_i32.to_be_bytes().to_vec();
        put(Some(b"ssn"), &mut pairs);
        put(Some(value), &mut pairs);
        pairs
    };
    assert_eq!(binary(Detect, HSTORE, &pairs(b"512")), Some(Some(pairs(b"[masked]"))));
    assert_eq!(binary(REDACT, 3904, b"\x02xx"), Some(Some(vec![1])));
    assert_eq!(binary(REDACT, 1562, b"\0\0\0\x01\x80"), Some(Some(vec![0; 4])));
}

/// An element that becomes NULL in an array that had none.
#[test]
fn an_array_says_that_it_has_nulls() {
    let colours = array(COLOUR, &[Some(b"alice@example.com"), Some(b"red")]);
    let mut types = (**TYPES).clone();
    types.add(20_100, TypeShape::Array { element: COLOUR, delimiter: b',' });
    let column = ColumnPlan {
        action: Detect,
        type_oid: 20_100,
        type_modifier: -1,
        format: Format::Binary,
        context: ColumnContext::UNKNOWN,
    };
    let plan = RowPlan { columns: vec![column], types: Arc::new(types), ..RowPlan::default() };
    let mut body = vec![0, 1];
    put(Some(&colours), &mut body);
    let mut out = Vec::new();
    mask_row(&plan, &MASKER, &body, &mut out, &mut MaskCounts::default()).unwrap();
    assert_eq!(out[11..], array(COLOUR, &[None, Some(b"red")]));
}

#[test]
fn bounds_of_depth_and_length_hold() {
    let mut nested = b"x".to_vec();
    for _ in 0..40 {
        let mut outer = Vec::new();
        super::array::write(&nested, b',', &mut outer);
        nested = [b"{", &outer[..], b"}"].concat();
        if nested.len() > 1 << 20 {
            break;
        }
    }
    assert!(run(REDACT, DEEP, Format::Text, &nested).unwrap().unwrap().len() < 4096);
    run(PARTIAL, DEEP, Format::Text, &nested);
    run(Detect, DEEP, Format::Text, &nested);
    // Dimensions that promise more than is there.
    let mut many = [2, 0, 25].iter().flat_map(|n: &i32| n.to_be_bytes()).collect::<Vec<_>>();
    many.extend([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1].repeat(2));
    assert_eq!(run(Detect, 1009, Format::Binary, &many), Some(None));
    let bit = |modifier| {
        let column = ColumnPlan {
            action: REDACT,
            type_oid: 1560,
            type_modifier: modifier,
            format: Format::Text,
            context: ColumnContext::UNKNOWN,
        };
        let plan = RowPlan { columns: vec![column], ..RowPlan::default() };
        let mut out = Vec::new();
        mask_row(&plan, &MASKER, b"\0\x01\0\0\0\x011", &mut out, &mut MaskCounts::default()).unwrap();
        out.len()
    };
    assert_eq!((bit(8), bit(i32::MAX)), (11 + 8, 11));
}

proptest! {
    /// Any bytes under any type: valid again, or hidden; never a panic, never a part of what is hidden.
    #[test]
    fn any_bytes_end_well(
        oid in prop::sample::select(vec![1009_u32, 1007, 142, 2249, HSTORE, PERSON, PERSONS, MAILS, CITEXT, TEXT_RANGE, DEEP, 1560]),
        value in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..120),
            "[{}\\[\\](),\"\\\\=>a-c@ &;<!/-]{0,60}".prop_map(String::into_bytes),
        ],
        binary in any::<bool>(),
        action in prop::sample::select(vec![REDACT, PARTIAL, Detect]),
    ) {
        let format = if binary { Format::Binary } else { Format::Text };
        let once = run(action, oid, format, &value);
        if let (Some(Some(shown)), true) = (&once, action == PARTIAL || action == REDACT) {
            // What is masked reads as its type has it: masking it again finds its parts.
            let again = run(action, oid, format, shown);
            prop_assert!(matches!(again, Some(Some(_))), "{:?}", again);
        }
    }

    /// What a quoted element says comes back, whatever it says.
    #[test]
    fn arrays_read_as_they_are_written(values in prop::collection::vec("[a-z{},\"\\\\ ]{0,8}", 1..5)) {
        let mut array = b"{".to_vec();
        for (at, value) in values.iter().enumerate() {
            array.extend((at > 0).then_some(b','));
            super::array::write(value.as_bytes(), b',', &mut array);
        }
        array.push(b'}');
        let mut seen = Vec::new();
        let mut each = |_: &super::Leaf<'_>, value: &[u8], _: &mut Vec<u8>| {
            seen.push(String::from_utf8(value.to_vec()).unwrap());
            super::Part::Kept
        };
        let mut out = Vec::new();
        let changed = super::array::rewrite(Format::Text, 25, b',', &array, &mut each, &mut out);
        prop_assert_eq!((changed, out), (Ok(false), array));
        prop_assert_eq!(seen, values);
    }
}
