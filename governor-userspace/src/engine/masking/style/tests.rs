//! Transforms: alike in both formats, everywhere, and never the value itself.

use super::*;
use crate::engine::masking::keys::KeyRing;
use crate::engine::masking::masker::tests::MASKER;
use crate::engine::masking::transform::{Format, Masked, mask_value};
use crate::engine::masking::value::{DAY_US, Decimal, day_of};
use crate::engine::model::Category;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

/// With a key that is the same in every run.
pub(in crate::engine::masking) static KEYED: LazyLock<Masker> = LazyLock::new(|| with_roots(&[1]));

fn with_roots(roots: &[u8]) -> Masker {
    let keys = roots.iter().map(|root| MaskingKey::derive(&[*root; 32]).unwrap()).collect();
    Masker { keys: Arc::new(KeyRing::new(keys)), ..MASKER.clone() }
}

const TRANSFORMS: [MaskStyle; 6] = [
    MaskStyle::Hash,
    MaskStyle::Token,
    MaskStyle::Format,
    MaskStyle::Shift,
    MaskStyle::Range,
    MaskStyle::Fake,
];

fn mask(style: MaskStyle, category: Category, type_oid: u32, format: Format) -> ValueMask {
    ValueMask { style, category: Some(category), tweak: 0, type_oid, type_modifier: -1, format }
}

fn made(masker: &Masker, mask: &ValueMask, value: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    assert_eq!(mask_value(masker, mask, value, &mut out), Masked::Value);
    out
}

/// What a text becomes.
fn text(style: MaskStyle, category: Category, value: &str) -> String {
    String::from_utf8(made(&KEYED, &mask(style, category, 25, Format::Text), value.as_bytes())).unwrap()
}

/// One value of each type that has a meaning here, as both formats write it.
pub(in crate::engine::masking) fn values() -> Vec<(u32, String, Vec<u8>)> {
    let numeric = |text: &str| Decimal::of_text(text).unwrap().to_binary();
    let days = |y: i16, m: i8, d: i8| day_of(jiff::civil::date(y, m, d)).unwrap();
    let us = i64::from(days(1980, 5, 17)) * DAY_US + 36_000_123_456;
    vec![
        (17, "\\x00ff10".into(), vec![0, 255, 16]),
        (20, "9007199254740993".into(), 9_007_199_254_740_993_i64.to_be_bytes().into()),
        (21, "-1234".into(), (-1234_i16).to_be_bytes().into()),
        (23, "1234567".into(), 1_234_567_i32.to_be_bytes().into()),
        (25, "alice@example.com".into(), b"alice@example.com".into()),
        (700, "1.5".into(), 1.5_f32.to_be_bytes().into()),
        (701, "-12345.678".into(), (-12345.678_f64).to_be_bytes().into()),
        (829, "08:00:2b:01:02:03".into(), vec![8, 0, 0x2b, 1, 2, 3]),
        (774, "08:00:2b:01:02:03:04:05".into(), vec![8, 0, 0x2b, 1, 2, 3, 4, 5]),
        (869, "10.1.2.3".into(), vec![2, 32, 0, 4, 10, 1, 2, 3]),
        (650, "10.1.2.0/24".into(), vec![2, 24, 1, 4, 10, 1, 2, 0]),
        (1043, "4111 1111 1111 1111".into(), b"4111 1111 1111 1111".into()),
        (1082, "1980-05-17".into(), days(1980, 5, 17).to_be_bytes().into()),
        (1114, "1980-05-17 10:00:00.123456".into(), us.to_be_bytes().into()),
        (1184, "1980-05-17 12:00:00.123456+02".into(), us.to_be_bytes().into()),
        (1700, "-52000.50".into(), numeric("-52000.50")),
        (2950, "6ba7b810-9dad-41d1-80b4-00c04fd430c8".into(), {
            hex::decode("6ba7b8109dad41d180b400c04fd430c8").unwrap()
        }),
        (3802, "{\"a\": 1}".into(), b"\x01{\"a\": 1}".into()),
    ]
}

/// The meaning of what was made, whichever format it is in.
fn meaning(type_oid: u32, format: Format, bytes: &[u8]) -> Vec<u8> {
    let declared = Declared { type_oid, type_modifier: -1, format };
    Value::read(declared, bytes)
        .unwrap_or_else(|| panic!("{type_oid} {format:?} {bytes:?}"))
        .canonical()
        .into()
}

#[test]
fn text_and_binary_are_masked_alike_and_not_with_themselves() {
    for (oid, as_text, as_binary) in values() {
        assert_eq!(
            meaning(oid, Format::Text, as_text.as_bytes()),
            meaning(oid, Format::Binary, &as_binary),
            "{oid}"
        );
        for style in TRANSFORMS {
            let of = |format, value| made(&KEYED, &mask(style, Category::Other, oid, format), value);
            let (text, binary) = (of(Format::Text, as_text.as_bytes()), of(Format::Binary, &as_binary));
            assert_eq!(
                meaning(oid, Format::Text, &text),
                meaning(oid, Format::Binary, &binary),
                "{oid} {style:?}"
            );
            assert_ne!(binary, as_binary, "{oid} {style:?}");
            assert_eq!(of(Format::Binary, &as_binary), binary, "the same again");
        }
    }
}

/// Where a style can serve a type it does: a table that nobody changes by mistake.
#[test]
fn each_style_serves_its_types() {
    let served = |style: MaskStyle, category| {
        let serves = |(oid, _, binary): &(u32, String, Vec<u8>)| {
            let mask = mask(style, category, *oid, Format::Binary);
            made(&KEYED, &mask, binary)
                != made(&KEYED, &ValueMask { style: MaskStyle::Redact, ..mask }, binary)
        };
        values().iter().filter(|row| serves(row)).map(|row| row.0).collect::<Vec<u32>>()
    };
    for (style, category, expected) in [
        (
            MaskStyle::Hash,
            Category::Other,
            vec![17, 20, 23, 25, 701, 829, 774, 869, 650, 1043, 1700, 2950, 3802],
        ),
        (MaskStyle::Token, Category::Other, vec![17, 25, 1043, 3802]),
        (MaskStyle::Format, Category::Other, vec![20, 23, 25, 829, 774, 869, 650, 1043, 1700, 2950]),
        (MaskStyle::Shift, Category::Other, vec![1082, 1114, 1184]),
        (MaskStyle::Range, Category::Other, vec![20, 21, 23, 701, 869, 1082, 1114, 1184, 1700]),
        (MaskStyle::Fake, Category::PersonName, vec![25, 829, 774, 869, 650, 1043, 1082, 1114, 1184, 2950]),
    ] {
        assert_eq!(served(style, category), expected, "{style:?}");
    }
}

#[test]
fn without_a_key_and_for_what_cannot_be_read_everything_is_redacted() {
    for (oid, as_text, as_binary) in values() {
        for style in TRANSFORMS.into_iter().filter(|style| *style != MaskStyle::Range) {
            for (format, value) in [(Format::Text, as_text.as_bytes()), (Format::Binary, &as_binary)] {
                let mask = mask(style, Category::Email, oid, format);
                let redacted = made(&MASKER, &ValueMask { style: MaskStyle::Redact, ..mask }, value);
                assert_eq!(made(&MASKER, &mask, value), redacted, "{oid} {style:?}");
            }
        }
    }
    let odd: [(u32, &[u8]); 9] = [
        (1700, b"NaN"),
        (1700, b"Infinity"),
        (1700, b"123456789012345678901234567890123456789"),
        (701, b"Infinity"),
        (1082, b"infinity"),
        (1082, b"0044-03-15 BC"),
        (1082, b"17/05/1980"),
        (1114, b"Sat May 17 10:00:00 1980"),
        (2950, b"not-a-uuid"),
    ];
    for (oid, value) in odd {
        for style in TRANSFORMS {
            let mask = mask(style, Category::Other, oid, Format::Text);
            let redacted = made(&KEYED, &ValueMask { style: MaskStyle::Redact, ..mask }, value);
            assert_eq!(made(&KEYED, &mask, value), redacted, "{oid} {style:?} {value:?}");
        }
    }
}

#[test]
fn keys_categories_and_tweaks_keep_values_apart() {
    let other_key = with_roots(&[2]);
    for style in [MaskStyle::Hash, MaskStyle::Token, MaskStyle::Format] {
        let email = mask(style, Category::Email, 25, Format::Text);
        let value: &[u8] = b"alice@example.com";
        let results = [
            made(&KEYED, &email, value),
            made(&other_key, &email, value),
            made(&KEYED, &mask(style, Category::Other, 25, Format::Text), value),
            made(&KEYED, &ValueMask { tweak: 7, ..email }, value),
            made(&KEYED, &email, b"alice@example.org"),
        ];
        assert_eq!(results.iter().collect::<HashSet<_>>().len(), results.len(), "{style:?}");
        // Another text type, the same value.
        assert_eq!(made(&KEYED, &ValueMask { type_oid: 1043, ..email }, value), results[0]);
        assert_eq!(made(&KEYED, &ValueMask { type_oid: 1042, ..email }, b"alice@example.com   "), results[0]);
    }
}

#[test]
fn a_hash_is_as_it_was_and_keeps_to_the_column() {
    assert_eq!(text(MaskStyle::Hash, Category::Email, "alice@example.com"), HASH);
    let limited = |most: i32| {
        let mask = ValueMask {
            type_oid: 1043,
            type_modifier: most + 4,
            ..mask(MaskStyle::Hash, Category::Email, 25, Format::Text)
        };
        String::from_utf8(made(&KEYED, &mask, b"alice@example.com")).unwrap()
    };
    assert_eq!(limited(46), HASH);
    assert_eq!(limited(45), HASH[14..]);
    assert_eq!(limited(20), HASH[14..34]);
    assert_eq!(limited(15), "[masked]");
}

#[test]
fn a_token_is_revealed_by_its_key_only() {
    assert_eq!(
        text(MaskStyle::Token, Category::Email, "alice@example.com"),
        TOKEN,
        "tokens of earlier versions"
    );
    let revealed = reveal(&KEYED.keys, TOKEN).unwrap();
    assert_eq!((revealed.category, revealed.is_bytes), (Category::Email, false));
    assert_eq!(&**revealed.value, b"alice@example.com");
    assert!(!format!("{revealed:?}").contains("alice"));
    // Old keys reveal, new ones mask.
    let rotated = with_roots(&[1, 2]);
    assert_eq!(&**reveal(&rotated.keys, TOKEN).unwrap().value, b"alice@example.com");
    let email = mask(MaskStyle::Token, Category::Email, 25, Format::Text);
    assert_ne!(made(&rotated, &email, b"alice@example.com"), TOKEN.as_bytes());
    let id = KEYED.keys.current().unwrap().id();
    assert_eq!(reveal(&with_roots(&[2]).keys, TOKEN).unwrap_err(), TokenError::UnknownKey(id));
    // With a tweak, of bytes, and of nothing.
    let tweaked = String::from_utf8(made(&KEYED, &ValueMask { tweak: 9, ..email }, b"x")).unwrap();
    assert_eq!(&**reveal(&KEYED.keys, &tweaked).unwrap().value, b"x");
    let bytes = made(&KEYED, &mask(MaskStyle::Token, Category::Health, 17, Format::Binary), &[0, 255]);
    let revealed = reveal(&KEYED.keys, std::str::from_utf8(&bytes).unwrap()).unwrap();
    assert_eq!(
        (revealed.category, revealed.is_bytes, &**revealed.value),
        (Category::Health, true, &[0, 255][..])
    );
    assert_eq!(&**reveal(&KEYED.keys, &text(MaskStyle::Token, Category::Other, "")).unwrap().value, b"");
}

#[test]
fn a_token_that_was_changed_tells_nothing() {
    for at in 13..TOKEN.len() {
        let mut changed = TOKEN.to_owned().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let error = reveal(&KEYED.keys, std::str::from_utf8(&changed).unwrap()).unwrap_err();
        assert_eq!(error, TokenError::NotAuthentic, "{at}");
    }
    for end in 0..TOKEN.len() {
        assert!(reveal(&KEYED.keys, &TOKEN[..end]).is_err(), "{end}");
    }
    for wrong in
        ["", "tok_", "tok_00", "tok_zz_AAAA", "hash_00ff00ff_00", &format!("{TOKEN}A"), &"A".repeat(100_000)]
    {
        assert!(reveal(&KEYED.keys, wrong).is_err(), "{wrong:.40}");
    }
}

#[test]
fn a_token_that_does_not_fit_or_would_be_an_archive_is_redacted() {
    let email = mask(MaskStyle::Token, Category::Email, 1043, Format::Text);
    let limited = ValueMask { type_modifier: 4 + 40, ..email };
    assert_eq!(made(&KEYED, &limited, b"alice@example.com"), b"[masked]");
    assert_eq!(made(&KEYED, &email, &[b'x'; 4097]), b"[masked]");
}

#[test]
fn a_format_keeps_shapes_and_is_one_to_one() {
    for (category, value) in [
        (Category::Email, "alice.smith@example.com"),
        (Category::Phone, "+44 7921 737-441"),
        (Category::Passport, "C01X00T47"),
        (Category::NationalId, "219-09-9999"),
        (Category::Other, "Ab1-cD2/eF3"),
    ] {
        let result = text(MaskStyle::Format, category, value);
        assert_ne!(result, value);
        assert_eq!(result.len(), value.len());
        for (before, after) in value.bytes().zip(result.bytes()) {
            let same = [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase]
                .iter()
                .any(|kind| kind(&before) && kind(&after));
            assert!(same || before == after && !before.is_ascii_alphanumeric(), "{value} {result}");
        }
    }
    let many: HashSet<String> =
        (0..2000).map(|n| text(MaskStyle::Format, Category::Other, &format!("A{n:06}"))).collect();
    assert_eq!(many.len(), 2000);
    // Too few possibilities, or letters that cannot be replaced by others of their kind.
    for small in ["12345", "abcd", "", "---", "Zoë Kravitz", &"a".repeat(97)] {
        assert_eq!(text(MaskStyle::Format, Category::Other, small), "[masked]", "{small}");
    }
}

#[test]
fn a_card_stays_a_card() {
    for card in ["4111111111111111", "4111 1111 1111 1111", "378282246310005", "6011-1111-1111-1117"] {
        let result = text(MaskStyle::Format, Category::PaymentCard, card);
        let digits: Vec<u32> = result.chars().filter_map(|c| c.to_digit(10)).collect();
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(at, d)| if at % 2 == 1 { d * 2 / 10 + d * 2 % 10 } else { *d })
            .sum();
        assert_eq!(sum % 10, 0, "{card} {result}");
        assert_ne!(result, card);
    }
    let plain = text(MaskStyle::Format, Category::PaymentCard, "4111111111111111");
    let spaced = text(MaskStyle::Format, Category::PaymentCard, "4111 1111 1111 1111");
    assert_eq!(spaced.replace(' ', ""), plain, "separators make no other card");
}

#[test]
fn numbers_of_a_format_stay_in_their_type() {
    let mut seen = HashSet::new();
    for number in (-50..50).chain([i32::MAX, i32::MIN, i32::MAX - 1]) {
        let result = made(
            &KEYED,
            &mask(MaskStyle::Format, Category::Other, 23, Format::Binary),
            &number.to_be_bytes(),
        );
        let result = i32::from_be_bytes(result.try_into().unwrap());
        assert_eq!(result < 0, number < 0);
        assert!(seen.insert(result));
    }
    for (value, same_digits) in
        [("1234567", 7), ("-52000.50", 7), ("9999999.999", 10), ("12345678901234567890.1", 21)]
    {
        let mask = mask(MaskStyle::Format, Category::Financial, 1700, Format::Text);
        let result = String::from_utf8(made(&KEYED, &mask, value.as_bytes())).unwrap();
        assert_eq!(result.chars().filter(char::is_ascii_digit).count(), same_digits, "{value} {result}");
        assert_eq!(result.find('.'), value.find('.'), "{value} {result}");
        assert_eq!(result.starts_with('-'), value.starts_with('-'));
        assert_ne!(result, value);
    }
    for small in ["123456", "0", "0.5"] {
        assert_eq!(
            made(&KEYED, &mask(MaskStyle::Format, Category::Other, 1700, Format::Text), small.as_bytes()),
            b"0"
        );
    }
    // A precision that hashes do not fit.
    let narrow = ValueMask {
        type_modifier: (8 << 16 | 2) + 4,
        ..mask(MaskStyle::Hash, Category::Other, 1700, Format::Text)
    };
    assert_eq!(made(&KEYED, &narrow, b"123456.78"), b"0");
}

#[test]
fn a_shift_is_near_never_none_and_the_same_for_the_same_day() {
    let mut amounts = HashSet::new();
    for day in -20_000..-19_000_i32 {
        let mask = mask(MaskStyle::Shift, Category::BirthDate, 1082, Format::Binary);
        let result = made(&KEYED, &mask, &day.to_be_bytes());
        let by = i32::from_be_bytes(result.try_into().unwrap()) - day;
        assert!((1..=180).contains(&by.abs()), "{by}");
        amounts.insert(by);
    }
    assert!(amounts.len() > 250, "{}", amounts.len());
    assert_eq!(text(MaskStyle::Shift, Category::BirthDate, "1980-05-17").len(), 10);
    assert_eq!(text(MaskStyle::Shift, Category::BirthDate, "May 1980"), "[masked]");
    let last = made(&KEYED, &mask(MaskStyle::Shift, Category::BirthDate, 1082, Format::Text), b"9999-12-31");
    assert!(last == b"2000-01-01" || last.starts_with(b"9999-"), "{last:?}");
}

#[test]
fn a_range_is_its_lower_bound() {
    let of = |oid, value: &str| {
        let result =
            made(&KEYED, &mask(MaskStyle::Range, Category::Financial, oid, Format::Text), value.as_bytes());
        String::from_utf8(result).unwrap()
    };
    for (oid, value, expected) in [
        (23, "52000", "50000"),
        (23, "-1", "-10000"),
        (23, "-2147483648", "0"),
        (21, "32767", "30000"),
        (1700, "52000.99", "50000"),
        (1700, "-0.01", "-10000"),
        (701, "52000.5", "50000"),
        (25, "123456", "120000"),
        (25, "1980-05-17", "1980-01-01"),
        (25, "words", "[masked]"),
        (1082, "1980-05-17", "1980-01-01"),
        (1114, "1980-05-17 10:00:00", "1980-01-01 00:00:00"),
        (1184, "1980-01-01 01:00:00+02", "1979-01-01 00:00:00+00"),
        (869, "203.0.113.77", "203.0.113.0/24"),
        (869, "2001:db8:1:2:3::4", "2001:db8:1::/48"),
        (650, "10.0.0.0/8", "0.0.0.0/32"),
        (16, "t", "f"),
    ] {
        assert_eq!(of(oid, value), expected, "{oid} {value}");
    }
    let mut monthly = KEYED.clone();
    monthly.settings.range_dates = crate::engine::masking::DateRange::Month;
    monthly.settings.range_width = 10;
    let made = |oid, value: &[u8]| {
        made(&monthly, &mask(MaskStyle::Range, Category::Other, oid, Format::Text), value)
    };
    assert_eq!((made(1082, b"1980-05-17"), made(23, b"47")), (b"1980-05-01".to_vec(), b"40".to_vec()));
}

#[test]
fn a_fake_looks_like_it_and_is_set_aside_for_examples() {
    for seed in 0..200 {
        let of = |category, value: &str| text(MaskStyle::Fake, category, &format!("{value}{seed}"));
        assert!(of(Category::Email, "a@b.").ends_with("@example.com"));
        assert!(of(Category::Phone, "+4479217374").contains(" 555 01"));
        assert!(of(Category::Phone, "020-7946-0").contains("-555-01"));
        assert!(of(Category::Phone, "2079460").contains("55501"));
        assert!(of(Category::NationalId, "219-09-9").starts_with("666-"));
        assert!(of(Category::NationalId, "219099").starts_with("666"));
        assert_eq!(of(Category::PersonName, "Cassandra Johnson ").split(' ').count(), 2);
        assert_eq!(of(Category::PersonName, "Cassandra").split(' ').count(), 1);
        let card = of(Category::PaymentCard, "41111111111111");
        assert_eq!(MASKER.detectors.detect(card.as_bytes()).unwrap().category, Category::PaymentCard);
        let iban = of(Category::Iban, "DE8937040044053201300");
        assert_eq!(MASKER.detectors.detect(iban.as_bytes()).unwrap().category, Category::Iban, "{iban}");
        let ip: std::net::Ipv4Addr =
            text(MaskStyle::Fake, Category::IpAddress, &format!("10.0.0.{seed}")).parse().unwrap();
        assert!(ip.is_documentation());
        assert_eq!(of(Category::Credential, "secret"), "[masked]");
    }
    let limited = ValueMask {
        type_oid: 1043,
        type_modifier: 4 + 20,
        ..mask(MaskStyle::Fake, Category::Email, 25, Format::Text)
    };
    let short = made(&KEYED, &limited, b"alice@a.example.net");
    assert!(short.len() <= 20 && short.ends_with(b"@example.com"), "{short:?}");
}

/// What these became when the styles were made: people keep hashes and tokens elsewhere.
const HASH: &str = "hash_b162fbdc_49f35e5a35f5c090ab701b5a1e88ba13";
const TOKEN: &str = "tok_b162fbdc_bsU9APPugdOqwNMKqgmqL5Ozp8V3t1k7AArIkNisVSJkKHw";
