//! Every type, format and style decodes after masking.

use super::*;
use crate::engine::masking::masker::tests::MASKER;
use Category::*;

/// Every type that is not answered with NULL: its OID, and decoders of both formats that accept
/// exactly what a strict driver accepts.
type Decoder = fn(&[u8]) -> bool;
const TYPES: &[(u32, Decoder, Decoder)] = &[
    (16, |t| t == b"t" || t == b"f", |b| b.len() == 1 && b[0] < 2),
    (17, |t| t.strip_prefix(b"\\x").is_some_and(|h| h.len() % 2 == 0), |_| true),
    (18, |t| t.len() == 1, |b| b.len() == 1),
    (19, is_utf8, is_utf8),
    (20, number::<i64>, |b| b.len() == 8),
    (21, number::<i16>, |b| b.len() == 2),
    (23, number::<i32>, |b| b.len() == 4),
    (25, is_utf8, is_utf8),
    (26, number::<u32>, |b| b.len() == 4),
    (114, is_json, is_json),
    (142, |t| is_utf8(t) && !t.contains(&b'<'), |t| is_utf8(t) && !t.contains(&b'<')),
    (650, |t| t.ends_with(b"/32"), |b| b.len() == 8 && b[0] == 2 && b[2] == 1 && b[3] == 4),
    (700, number::<f32>, |b| b.len() == 4 && f32::from_be_bytes(b.try_into().unwrap()).is_finite()),
    (701, number::<f64>, |b| b.len() == 8 && f64::from_be_bytes(b.try_into().unwrap()).is_finite()),
    (774, |t| t.split(|&c| c == b':').count() == 8, |b| b.len() == 8),
    (790, |t| t.starts_with(b"$"), |b| b.len() == 8),
    (829, |t| t.split(|&c| c == b':').count() == 6, |b| b.len() == 6),
    (
        869,
        |t| std::str::from_utf8(t).unwrap().parse::<std::net::IpAddr>().is_ok(),
        |b| b.len() == 8 && b[0] == 2 && b[3] == 4,
    ),
    (1042, is_utf8, is_utf8),
    (1043, is_utf8, is_utf8),
    (1082, is_date, |b| b.len() == 4),
    (1083, is_time, |b| b.len() == 8),
    (1114, is_timestamp, |b| b.len() == 8),
    (1184, |t| t.strip_suffix(b"+00").is_some_and(is_timestamp), |b| b.len() == 8),
    (1186, is_time, |b| b.len() == 16),
    (1266, |t| t.strip_suffix(b"+00").is_some_and(is_time), |b| b.len() == 12),
    (1700, number::<f64>, |b| b.len() == 8 + 2 * usize::from(u16::from_be_bytes([b[0], b[1]]))),
    (2950, |t| t.len() == 36 && t.iter().filter(|&&c| c == b'-').count() == 4, |b| b.len() == 16),
    (3802, is_json, |b| b[0] == 1 && is_json(&b[1..])),
    (5069, number::<u64>, |b| b.len() == 8),
];

fn is_utf8(t: &[u8]) -> bool {
    std::str::from_utf8(t).is_ok_and(|s| !s.contains('\0'))
}
fn number<T: std::str::FromStr>(t: &[u8]) -> bool {
    std::str::from_utf8(t).is_ok_and(|s| s.parse::<T>().is_ok())
}
fn is_json(t: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(t).is_ok()
}
fn is_date(t: &[u8]) -> bool {
    std::str::from_utf8(t).is_ok_and(|s| s.parse::<jiff::civil::Date>().is_ok())
}
fn is_time(t: &[u8]) -> bool {
    std::str::from_utf8(t).is_ok_and(|s| s.parse::<jiff::civil::Time>().is_ok())
}
fn is_timestamp(t: &[u8]) -> bool {
    std::str::from_utf8(t).is_ok_and(|s| s.parse::<jiff::civil::DateTime>().is_ok())
}

/// [`mask_value`] with each part named by its place.
fn masked(
    style: MaskStyle,
    category: Option<Category>,
    (type_oid, type_modifier): (u32, i32),
    format: Format,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Masked {
    let mask = ValueMask { style, category, tweak: 0, type_oid, type_modifier, format };
    mask_value(&MASKER, &mask, value, out)
}

const CATEGORIES: [Option<Category>; 15] = [
    None,
    Some(Email),
    Some(Phone),
    Some(PaymentCard),
    Some(Iban),
    Some(NationalId),
    Some(PersonName),
    Some(Address),
    Some(BirthDate),
    Some(Passport),
    Some(Credential),
    Some(IpAddress),
    Some(Health),
    Some(Financial),
    Some(Other),
];

#[test]
fn every_type_format_style_and_category_decodes() {
    let values: [&[u8]; 12] = [
        b"",
        b"alice@example.com",
        b"4111 1111 1111 1111",
        b"+44 7921 737441",
        b"DE89370400440532013000",
        b"Zo\xc3\xab",
        b"1980-05-17",
        b"1980-05-17 10:00:00+02",
        b"\xff\xfe\x00",
        &[0; 4],
        &[0x80; 8],
        &[0xff; 16],
    ];
    for &(oid, text, binary) in TYPES {
        for style in [MaskStyle::Redact, MaskStyle::Partial] {
            for category in CATEGORIES {
                for value in values {
                    for (format, decodes) in [(Format::Text, text), (Format::Binary, binary)] {
                        let mut out = b"kept".to_vec();
                        let done = masked(style, category, (oid, -1), format, value, &mut out);
                        assert_eq!(done, Masked::Value, "{oid}");
                        assert!(out.starts_with(b"kept"));
                        assert!(
                            decodes(&out[4..]),
                            "{oid} {style:?} {category:?} {format:?} {value:?} -> {out:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_written_is_null() {
    for oid in [0, 600, 1007, 1009, 1560, 2249, 3904, 16_999, u32::MAX] {
        for style in [MaskStyle::Redact, MaskStyle::Partial, MaskStyle::Null] {
            for format in [Format::Text, Format::Binary] {
                let mut out = vec![];
                let done = masked(style, Some(Email), (oid, -1), format, b"a@b.com", &mut out);
                assert_eq!(done, Masked::Null);
                assert!(out.is_empty(), "{oid}");
            }
        }
    }
    for &(oid, ..) in TYPES {
        let mut out = vec![];
        assert_eq!(masked(MaskStyle::Null, None, (oid, -1), Format::Text, b"x", &mut out), Masked::Null);
        assert!(out.is_empty());
    }
}

fn partial(category: Category, value: &str) -> String {
    let mut out = vec![];
    masked(MaskStyle::Partial, Some(category), (25, -1), Format::Text, value.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn partial_keeps_what_recognises_and_no_more() {
    let rows = [
        (Email, "lsolis@example.com", "l***@example.com"),
        (Email, "l@example.com", "***@example.com"),
        (Email, "émile@example.com", "***@example.com"),
        (Email, "a@exämple.de", "[masked]"),
        (Email, "a@b.com secret@c.com", "[masked]"),
        (Email, "not an address", "[masked]"),
        (PaymentCard, "4111 1111 1111 1234", "************1234"),
        (PaymentCard, "378282246310005", "***********0005"),
        (PaymentCard, "123", "[masked]"),
        (PaymentCard, "4111x11111111111", "[masked]"),
        (Phone, "+44 7921 737441", "**********41"),
        (Phone, "12345", "[masked]"),
        (Iban, "DE89 3704 0044 0532 0130 00", "DE****************3000"),
        (Iban, "DE89", "[masked]"),
        (PersonName, "Cassandra Johnson", "C***"),
        (PersonName, "X", "***"),
        (PersonName, "Éva", "***"),
        (BirthDate, "1966-10-10", "1966-01-01"),
        (BirthDate, "10/10/1966", "[masked]"),
        (NationalId, "219-09-9999", "[masked]"),
        (Address, "5 Simpson Meadows", "[masked]"),
        (Credential, "hunter2", "[masked]"),
    ];
    for (category, value, expected) in rows {
        assert_eq!(partial(category, value), expected, "{value}");
    }
}

#[test]
fn limits_of_the_column_hold() {
    for (oid, modifier, limit) in
        [(1043, 4 + 5, 5), (1042, 4 + 1, 1), (1043, 4 + 8, 8), (19, -1, 63), (18, -1, 1), (1043, 3, 99)]
    {
        for style in [MaskStyle::Redact, MaskStyle::Partial] {
            for category in CATEGORIES {
                let mut out = vec![];
                let value = b"alice@a-long-domain.example.com";
                masked(style, category, (oid, modifier), Format::Text, value, &mut out);
                assert!(out.len() <= limit && !out.is_empty(), "{oid} {modifier} {out:?}");
            }
        }
    }
}

#[test]
fn birth_dates_keep_their_year_in_binary() {
    let epoch = jiff::civil::date(2000, 1, 1);
    for year in (1000..=9999_i16).step_by(37).chain([1899, 1900, 1904, 1999, 2000, 2001, 2100]) {
        for (month, day) in [(1, 1), (2, 28), (7, 15), (12, 31)] {
            let days = |date: jiff::civil::Date| date.since((jiff::Unit::Day, epoch)).unwrap().get_days();
            let (given, wanted) =
                (days(jiff::civil::date(year, month, day)), days(jiff::civil::date(year, 1, 1)));
            let mut out = vec![];
            masked(
                MaskStyle::Partial,
                Some(BirthDate),
                (1082, -1),
                Format::Binary,
                &given.to_be_bytes(),
                &mut out,
            );
            assert_eq!(out, wanted.to_be_bytes(), "{year}-{month}-{day}");
            let us = i64::from(given) * 86_400_000_000 + 12_345;
            let mut out = vec![];
            masked(
                MaskStyle::Partial,
                Some(BirthDate),
                (1114, -1),
                Format::Binary,
                &us.to_be_bytes(),
                &mut out,
            );
            assert_eq!(out, (i64::from(wanted) * 86_400_000_000).to_be_bytes());
        }
    }
    for infinite in [i32::MAX, i32::MIN] {
        let mut out = vec![];
        masked(
            MaskStyle::Partial,
            Some(BirthDate),
            (1082, -1),
            Format::Binary,
            &infinite.to_be_bytes(),
            &mut out,
        );
        assert_eq!(out, [0; 4]);
    }
}
