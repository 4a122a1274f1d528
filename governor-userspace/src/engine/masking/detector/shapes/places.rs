//! Phones, network addresses, places.

use super::Group::{Id, Place, Token};
use super::{Shape, always, shape};
use crate::engine::masking::detector::checksum::{digits, luhn, number};
use crate::engine::masking::detector::kind::Kind as K;

pub(super) const SHAPES: &[Shape] = &[
    // Phones: international, then national ones whose separators or trunk prefix give them away.
    shape(K::Phone, Id, 90, true, r"\+[1-9](?:[ ().\-/]{0,2}[0-9]){6,14}", phone_international),
    shape(
        K::Phone,
        Id,
        70,
        false,
        r"00[1-9][0-9]{0,2}(?:[ ().\-/]{1,2}[0-9]{1,9}){2,6}",
        phone_international,
    ),
    shape(
        K::Phone,
        Id,
        80,
        true,
        r"(?:1[-. ])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4}(?: ?(?:x|ext\.?) ?[0-9]{1,5})?",
        always,
    ),
    shape(K::Phone, Id, 70, true, r"0[1-9](?:[ .-][0-9]{2}){4}", always),
    shape(K::Phone, Id, 70, true, r"07[0-9]{3} [0-9]{6}", always),
    shape(
        K::Phone,
        Id,
        70,
        false,
        r"(?:\(0[0-9]{1,5}\)|0[1-9][0-9]{0,4}) ?[ /.-] ?[0-9]{3,8}(?:[ .-][0-9]{2,6}){0,3}",
        phone_national,
    ),
    shape(K::Phone, Id, 70, false, r"\([1-9][0-9]\) ?9?[0-9]{4}[ -][0-9]{4}", always),
    // A trunk prefix that stands apart, as in Turkey.
    shape(K::Phone, Id, 75, false, r"0 ?\([2-9][0-9]{2}\) ?[0-9]{3} ?[0-9]{2} ?[0-9]{2}", always),
    shape(K::Phone, Id, 70, false, r"0 [2-9][0-9]{2} [0-9]{3} [0-9]{2} ?[0-9]{2}", always),
    // Groups in which nothing else is written: Brazil and Mexico, Poland and Switzerland, Italian mobiles, Norwegian ones.
    shape(K::Phone, Id, 60, false, r"[1-9][0-9] 9?[0-9]{4}[ -][0-9]{4}", always),
    shape(K::Phone, Id, 60, false, r"[1-9][0-9] [0-9]{3} [0-9]{2} [0-9]{2}", always),
    shape(K::Phone, Id, 55, false, r"3[2-9][0-9] [0-9]{6,7}", always),
    shape(K::Phone, Id, 55, false, r"[49][0-9]{2} [0-9]{2} [0-9]{3}", always),
    // Four pairs are Danish or Norwegian, but for rows of rising numbers.
    shape(K::Phone, Id, 52, false, r"[2-9][0-9](?: [0-9]{2}){3}", not_rising),
    shape(K::Phone, Id, 50, false, r"[5-9][0-9]{2} [0-9]{3} [0-9]{3}", not_round),
    shape(K::Phone, Id, 60, false, r"[6-9][0-9]{2}(?: [0-9]{2}){3}", always),
    shape(K::Imei, Id, 75, false, r"[0-9]{2}-[0-9]{6}-[0-9]{6}-[0-9]", |value| luhn(&digits(value))),
    // Network addresses and places.
    shape(K::MacAddress, Id, 95, false, r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", always),
    shape(K::MacAddress, Id, 90, false, r"[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}", has_hex_letter),
    shape(K::IpAddress, Id, 80, true, r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", ipv4),
    shape(K::IpAddress, Id, 40, false, r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", ipv4_small),
    shape(
        K::IpAddress,
        Id,
        90,
        false,
        r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,37}(?:[0-9]{1,3}\.[0-9.]{5,11})?",
        ipv6,
    ),
    shape(K::GeoCoordinates, Id, 70, false, r"-?[0-9]{1,2}\.[0-9]{4,9}, ?-?[0-9]{1,3}\.[0-9]{4,9}", always),
    shape(
        K::GeoCoordinates,
        Token,
        85,
        true,
        r"geo:-?[0-9]{1,2}\.[0-9]{4,9},-?[0-9]{1,3}\.[0-9]{4,9}[^ ]{0,40}",
        always,
    ),
    shape(
        K::GeoCoordinates,
        Place,
        90,
        false,
        r"POINT ?Z? ?\(-?[0-9]{1,3}\.[0-9]{3,} -?[0-9]{1,3}\.[0-9]{3,}[ 0-9.-]{0,20}\)",
        always,
    ),
    shape(
        K::GeoCoordinates,
        Place,
        85,
        false,
        r#"[0-9]{1,2}\xc2?\xb0 ?[0-9]{1,2}['\xe2][^NS]{0,16}[NS],? [0-9]{1,3}\xc2?\xb0 ?[0-9]{1,2}['\xe2][^EW]{0,16}[EWO]"#,
        always,
    ),
    // A town, a state and its code.
    shape(
        K::Address,
        Place,
        65,
        false,
        r"[^\n]+,(?: [^\n,]+,)? (?:[A-Za-z .'-]+ )?[A-Z]{2} [0-9]{5}(?:-[0-9]{4})?",
        has_digit_before_comma_or_state,
    ),
    shape(
        K::Address,
        Place,
        60,
        false,
        r"[^\n]+, [^\n]+,? [A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2}",
        has_digit_before_comma,
    ),
    shape(K::Address, Place, 60, false, r"[^\n,]+ [0-9][^\n,]*, [0-9]{5} [^\n,0-9]+", always),
    // A name, its number, and a town behind its code: most of Europe.
    shape(
        K::Address,
        Place,
        60,
        false,
        r"[A-Z\xc3-\xd0][^\n,0-9]+ [0-9]{1,4}[A-Za-z]?(?:/[0-9]{1,4})?, (?:[A-Z]{1,2}-)?(?:[0-9]{4}|[0-9]{3} [0-9]{2}|[0-9]{2}-[0-9]{3}|[0-9]{4}-[0-9]{3}) [A-Z\xc3-\xd0][^\n,0-9]+",
        no_day,
    ),
    shape(K::Address, Place, 60, false, r"[0-9]{1,4}[A-Za-z]?,? [^\n,]+[,\n] ?[0-9]{5} [^\n,0-9]+", always),
];

fn phone_international(value: &[u8]) -> bool {
    (8..=17).contains(&digits_count(value))
}

fn phone_national(value: &[u8]) -> bool {
    (9..=12).contains(&digits_count(value))
}

fn digits_count(value: &[u8]) -> usize {
    value.iter().filter(|b| b.is_ascii_digit()).count()
}

fn not_round(value: &[u8]) -> bool {
    !value.ends_with(b"000")
}

/// Pairs that rise are a draw or a list.
fn not_rising(value: &[u8]) -> bool {
    let mut pairs = value.split(|&b| b == b' ').map(digits);
    let mut last = pairs.next();
    !pairs.all(|pair| {
        let rises = last.as_deref() < Some(&*pair);
        last = Some(pair);
        rises
    })
}

fn has_hex_letter(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_alphabetic)
}

/// Four octets of which one is 100 or more: release numbers such as 6.30.57.20 have the same shape.
/// Loopback, unspecified and netmask-like addresses are nobody's.
fn ipv4(value: &[u8]) -> bool {
    octets(value).is_some_and(|o| o.iter().any(|&octet| octet >= 100))
}

/// Those that may as well be release numbers.
fn ipv4_small(value: &[u8]) -> bool {
    octets(value).is_some()
}

pub(in crate::engine::masking::detector) fn is_ipv4(value: &[u8]) -> bool {
    octets(value).is_some()
}

fn octets(value: &[u8]) -> Option<[u8; 4]> {
    let ip = std::str::from_utf8(value).ok()?.parse::<std::net::Ipv4Addr>().ok()?;
    let octets = ip.octets();
    (octets[0] != 0 && !ip.is_loopback() && octets[0] != 255).then_some(octets)
}

/// At least three colons, so that a time of day or a ratio is not taken for one.
fn ipv6(value: &[u8]) -> bool {
    value.iter().filter(|&&b| b == b':').count() >= 3
        && std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<std::net::Ipv6Addr>().ok())
            .is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// A day of a month before a year has the same form: `March 12, 2024 Monday`.
fn no_day(value: &[u8]) -> bool {
    let code = value.iter().position(|&b| b == b',').and_then(|at| value.get(at + 2..at + 7));
    !matches!(code, Some([b'1', b'9', ..] | [b'2', b'0', ..]) if code.is_some_and(|code| code.ends_with(b" ")))
}

fn has_digit_before_comma(value: &[u8]) -> bool {
    value.iter().take_while(|&&b| b != b',').any(u8::is_ascii_digit)
}

/// A house number, or a state (military post: AA, AE, AP) before the code.
fn has_digit_before_comma_or_state(value: &[u8]) -> bool {
    let code = value.iter().rposition(|&b| b == b' ').unwrap_or(0);
    let state = code.checked_sub(2).and_then(|from| value.get(from..code)).unwrap_or(&[]);
    let known = STATES.as_bytes().chunks_exact(3).any(|known| known.starts_with(state));
    let area = digits(value.get(code..).unwrap_or(&[]));
    known && area.get(..5).and_then(number).is_some_and(|area| area >= 501)
}

/// States and territories of the United States, one blank behind each.
const STATES: &str = "AA AE AK AL AP AR AS AZ CA CO CT DC DE FL FM GA GU HI IA ID IL IN KS KY LA MA MD ME MH MI MN MO \
MP MS MT NC ND NE NH NJ NM NV NY OH OK OR PA PR PW RI SC SD TN TX UT VA VI VT WA WI WV WY ";
