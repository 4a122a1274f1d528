//! Values read and written: both formats, limits, nonsense.

use super::*;
use crate::engine::masking::style::tests::values;
use proptest::prelude::*;

fn declared(type_oid: u32, format: Format) -> Declared {
    Declared { type_oid, type_modifier: -1, format }
}

#[test]
fn what_is_read_is_written_as_it_was() {
    for (oid, as_text, as_binary) in values() {
        if oid == 3802 {
            continue;
        }
        for (format, bytes) in [(Format::Text, as_text.as_bytes()), (Format::Binary, &as_binary)] {
            let value = Value::read(declared(oid, format), bytes).unwrap();
            let mut out = vec![];
            assert!(value.write(declared(oid, format), &mut out));
            // The zone of a text is not kept, the moment is.
            if oid != 1184 || format == Format::Binary {
                assert_eq!(out, bytes, "{oid} {format:?}");
            }
        }
    }
}

#[test]
fn decimals_are_those_of_the_server() {
    // What the server's numeric_send writes.
    for (text, binary) in [
        ("0", "0000000000000000"),
        ("0.00", "0000000000000002"),
        ("1", "00010000000000000001"),
        ("-1", "00010000400000000001"),
        ("10000", "00010001000000000001"),
        ("12345.678", "00030001000000030001 0929 1a7c"),
        ("0.0001", "0001ffff000000040001"),
        ("0.00001", "0001fffe0000000503e8"),
        ("-52000.50", "0003000140000002000507d01388"),
    ] {
        let bytes = hex::decode(binary.replace(' ', "")).unwrap();
        let number = Decimal::of_text(text).unwrap();
        assert_eq!(hex::encode(number.to_binary()), hex::encode(&bytes), "{text}");
        assert_eq!(Decimal::of_binary(&bytes), Some(number), "{text}");
        assert_eq!(number.to_text(), text);
    }
    for wrong in ["", "-", ".", "1e5", "NaN", "+1", "1.2.3", "１"] {
        assert_eq!(Decimal::of_text(wrong), None, "{wrong}");
    }
    for nan in ["00000000c0000000", "00000000d0000000", "00010000000000002710", "000100000000"] {
        assert_eq!(Decimal::of_binary(&hex::decode(nan).unwrap()), None, "{nan}");
    }
    assert_eq!(Decimal::of_text("-0.01").unwrap().floor(), Some(-1));
    assert_eq!(Decimal::of_text("1.50").unwrap().plain(), Decimal::of_text("1.5").unwrap());
}

#[test]
fn moments_are_read_with_their_offset() {
    let of = |text: &str, zone| moment::moment_of_text(text, zone);
    let noon = of("2024-02-29 12:00:00", false).unwrap();
    for same in [
        "2024-02-29 12:00:00+00",
        "2024-02-29 14:00:00+02",
        "2024-02-29 08:30:00-03:30",
        "2024-02-29T12:00:00-00",
    ] {
        assert_eq!(of(same, true), Some(noon), "{same}");
    }
    for wrong in [
        "2024-02-29",
        "2024-02-29 12:00:00 BC",
        "2024-02-30 12:00:00+00",
        "2024-02-29 12:00:00+2",
        "29.02.2024 12:00:00+00",
        "infinity",
        "2024-02-29 12:00:00 UTC",
    ] {
        assert_eq!(of(wrong, true), None, "{wrong}");
    }
    assert_eq!(of("2024-02-29 12:00:00+00", false), None);
    assert_eq!(of("2024-02-29 12:00:00", true), None);
    for wrong in [i64::MAX, i64::MIN] {
        assert_eq!(moment::finite_moment(wrong), None);
    }
}

#[test]
fn limits_of_the_type_hold() {
    let mut out = vec![];
    let at = |type_oid, type_modifier| Declared { type_oid, type_modifier, format: Format::Text };
    assert!(!Value::Integer(40_000).write(at(21, -1), &mut out));
    assert!(!Value::Integer(1 << 40).write(at(23, -1), &mut out));
    assert!(!Value::Float(1e300).write(at(700, -1), &mut out));
    assert!(!Value::Text(b"12345".into()).write(at(1043, 4 + 4), &mut out));
    // numeric(5,2) has three digits before the point, numeric(2,-3) five, numeric(3,5) none.
    let numeric =
        |precision: i32, scale: i32| at(1700, (precision << 16 | (scale & 0x7FF)) + 4).integer_digits_max();
    assert_eq!((numeric(5, 2), numeric(2, -3), numeric(3, 5)), (Some(3), Some(5), Some(0)));
    assert!(!Value::Decimal(Decimal::whole(1000)).write(at(1700, (5 << 16 | 2) + 4), &mut out));
    assert!(Value::Decimal(Decimal::whole(-999)).write(at(1700, (5 << 16 | 2) + 4), &mut out));
    // A text that JSON would have to escape.
    for text in ["a\"b", "a\\b", "a\nb", "é"] {
        assert!(!Value::Text(text.as_bytes().into()).write(at(114, -1), &mut out), "{text}");
    }
}

#[test]
fn both_forms_of_bytea_are_read() {
    for (text, bytes) in [
        ("\\x00ff", Some(vec![0, 255])),
        ("\\000\\377a\\\\", Some(vec![0, 255, b'a', b'\\'])),
        ("\\x0", None),
        ("\\9", None),
        ("\\", None),
    ] {
        assert_eq!(bytea_of_text(text.as_bytes()), bytes, "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(oid in prop::sample::select(vec![17_u32, 20, 21, 23, 25, 650, 700, 701, 774, 829, 869, 1042, 1043, 1082, 1114, 1184, 1700, 2950]),
        binary: bool, modifier: i32, bytes in prop::collection::vec(any::<u8>(), 0..48)) {
        let format = if binary { Format::Binary } else { Format::Text };
        let declared = Declared { type_oid: oid, type_modifier: modifier, format };
        if let Some(value) = Value::read(declared, &bytes) {
            let mut out = vec![];
            if value.write(declared, &mut out) {
                let again = Value::read(declared, &out);
                prop_assert_eq!(again.map(|v| v.canonical().into_owned()), Some(value.canonical().into_owned()));
            }
        }
    }

    #[test]
    fn decimals_survive_both_formats(digits in 0..10_u128.pow(38), scale in 0..=38_u32, negative: bool) {
        let number = Decimal { negative: negative && digits != 0, digits, scale };
        prop_assert_eq!(Decimal::of_text(&number.to_text()), Some(number));
        prop_assert_eq!(Decimal::of_binary(&number.to_binary()), Some(number));
    }
}
