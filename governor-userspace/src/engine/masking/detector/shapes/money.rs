//! E-mail, payment cards, bank accounts, wallets.

use super::Group::{Id, Mail, Token};
use super::{Shape, always, shape};
use crate::engine::masking::detector::checksum::{digits, iban_mod97, luhn, number, weighted};
use crate::engine::masking::detector::kind::Kind as K;
use crate::engine::masking::detector::wallet;

pub(super) const SHAPES: &[Shape] = &[
    // E-mail, IBAN and cards have scanners of their own for text.
    shape(K::Email, Mail, 99, false, EMAIL, email_fits),
    shape(K::Iban, Id, 99, false, r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,32}", iban),
    shape(K::PaymentCard, Id, 95, false, r"[2-6][0-9]{3}(?:[ -]?[0-9]){10,15}", card),
    shape(
        K::CardTrack,
        Token,
        99,
        true,
        r"(?:%B[0-9]{13,19}\^[A-Z /.'-]{2,26}\^[0-9]{4}[0-9A-Z ]{3,40}\??|;[0-9]{13,19}=[0-9]{7,40}\??)",
        always,
    ),
    // A bank code of letters alone may be a word: it needs its column.
    shape(K::Bic, Id, 70, false, r"[A-Z]{6}[A-Z0-9]{2}(?:XXX)", bic),
    shape(
        K::Bic,
        Id,
        60,
        false,
        r"[A-Z]{6}(?:(?:[0-9][A-Z]|[A-Z][0-9])(?:[A-Z0-9]{3})?|[0-9]{2}[A-Z0-9]{3})",
        bic,
    ),
    // A word, or a word and a number, looks the same: DENVER15.
    shape(K::Bic, Id, 35, false, r"[A-Z]{6}(?:[A-Z]{2}(?:[A-Z0-9]{3})?|[0-9]{2})", bic),
    shape(K::BitcoinAddress, Token, 98, true, r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", wallet::bitcoin),
    shape(K::BitcoinAddress, Token, 98, true, r"(?:bc|tb)1[02-9ac-hj-np-z]{36,71}", wallet::segwit),
    shape(K::LitecoinAddress, Token, 98, true, r"ltc1[02-9ac-hj-np-z]{36,71}", wallet::segwit),
    shape(K::LitecoinAddress, Token, 98, false, r"[LM3][1-9A-HJ-NP-Za-km-z]{26,33}", wallet::litecoin),
    shape(K::TronAddress, Token, 98, true, r"T[1-9A-HJ-NP-Za-km-z]{33}", wallet::tron),
    // Forty hexadecimal digits behind 0x: the checksum in its capitals needs Keccak, the shape tells enough.
    shape(K::EthereumAddress, Token, 85, true, r"0x[0-9A-Fa-f]{40}", always),
];

/// Local part and domain; bytes above 127 are allowed for internationalised mail (RFC 6531).
pub(super) const EMAIL: &str = r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~`\x80-\xff-]+@(?:[A-Za-z0-9\x80-\xff-]+\.)+[A-Za-z\x80-\xff][A-Za-z0-9\x80-\xff-]+";

/// RFC 5321: 64 octets of local part, 254 in all.
pub(in crate::engine::masking::detector) fn email_fits(value: &[u8]) -> bool {
    value.len() <= 254 && value.iter().position(|&b| b == b'@').is_some_and(|at| (1..=64).contains(&at))
}

pub(in crate::engine::masking::detector) fn iban(value: &[u8]) -> bool {
    let mut plain = [0_u8; 34];
    let mut count = 0;
    for byte in value.iter().filter(|&&b| b != b' ') {
        let Some(slot) = plain.get_mut(count) else { return false };
        *slot = byte.to_ascii_uppercase();
        count += 1;
    }
    let plain = plain.get(..count).unwrap_or(&[]);
    iban_length(plain) == Some(count) && iban_mod97(plain)
}

/// Letters and digits in an IBAN of the country that it begins with.
pub(in crate::engine::masking::detector) fn iban_length(iban: &[u8]) -> Option<usize> {
    let length = *IBAN_LENGTH_OF.get(country_number(iban.first_chunk()?)?)?;
    (length > 0).then_some(usize::from(length))
}

/// Two letters in either case as a number.
const fn country_number(country: &[u8; 2]) -> Option<usize> {
    let (a, b) = (country[0] | 0x20, country[1] | 0x20);
    if !a.is_ascii_lowercase() || !b.is_ascii_lowercase() {
        return None;
    }
    Some((a - b'a') as usize * 26 + (b - b'a') as usize)
}

/// [`IBAN_LENGTHS`] by the number of the country.
#[expect(clippy::indexing_slicing, reason = "checked at compile time")]
static IBAN_LENGTH_OF: [u8; 26 * 26] = {
    let mut lengths = [0; 26 * 26];
    let mut at = 0;
    while at < IBAN_LENGTHS.len() {
        let (country, length) = IBAN_LENGTHS[at];
        if let Some(number) = country_number(&[country.as_bytes()[0], country.as_bytes()[1]]) {
            lengths[number] = length as u8;
        }
        at += 1;
    }
    lengths
};

/// Known issuer range with its length, then Luhn. Separators must group as cards do.
/// 13-digit numbers are left out: nothing has issued them for decades, and EAN-13 look the same.
pub(in crate::engine::masking::detector) fn card(value: &[u8]) -> bool {
    one_separator(value) && card_digits(&digits(value), value.len())
}

/// The same of digits alone; `written_bytes` counts the separators.
pub(in crate::engine::masking::detector) fn card_digits(d: &[u8], written_bytes: usize) -> bool {
    let prefix = |count: usize| d.get(..count).and_then(number).unwrap_or(0);
    let issued = match (d.len(), prefix(1), prefix(2), prefix(3), prefix(4)) {
        (16, 4, ..) => true,                                   // Visa
        (16, _, 51..=55, ..) => true,                          // Mastercard
        (16, _, _, _, 2221..=2720) => true,                    // Mastercard
        (15, _, 34 | 37, ..) => true,                          // American Express
        (14, _, 36 | 38 | 39, ..) => true,                     // Diners Club
        (14, _, _, 300..=305, _) => true,                      // Diners Club
        (16, _, 65, ..) | (16, _, _, 644..=649, _) => true,    // Discover
        (16, _, _, _, 6011) => true,                           // Discover
        (16, _, _, _, 3528..=3589) => true,                    // JCB
        (16..=19, _, 62, ..) => true,                          // UnionPay
        (16, _, 60 | 81 | 82, ..) => true,                     // RuPay
        (12..=19, _, 50 | 56..=58, ..) => written_bytes == 16, // Maestro: only the common length
        _ => false,
    };
    issued && d.iter().any(|digit| Some(digit) != d.last()) && luhn(d)
}

/// Not both blanks and hyphens.
fn one_separator(value: &[u8]) -> bool {
    !(value.contains(&b' ') && value.contains(&b'-'))
}

/// A country code stands where a BIC has one.
fn bic(value: &[u8]) -> bool {
    value
        .get(4..6)
        .is_some_and(|country| COUNTRIES.as_bytes().chunks_exact(3).any(|known| known.starts_with(country)))
}

/// ABA: weights 3, 7, 1; the first two digits name a Federal Reserve district or a thrift.
pub(in crate::engine::masking::detector) fn us_routing_number(value: &[u8]) -> bool {
    let d = digits(value);
    let district = d.get(..2).and_then(number).unwrap_or(99);
    d.len() == 9
        && matches!(district, 1..=12 | 21..=32)
        && weighted(&d, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// Countries that banks report (ISO 3166-1, and XK), one blank behind each.
const COUNTRIES: &str = "AD AE AF AG AI AL AM AO AR AT AU AW AZ BA BB BD BE BF BG BH BI BJ BM BN BO BR BS BT BW BY BZ \
CA CD CF CG CH CI CL CM CN CO CR CU CV CW CY CZ DE DJ DK DM DO DZ EC EE EG ER ES ET FI FJ FO FR GA GB GD GE GF GG GH GI \
GL GM GN GP GQ GR GT GW GY HK HN HR HT HU ID IE IL IM IN IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KR KW KY KZ LA LB LC \
LI LK LR LS LT LU LV LY MA MC MD ME MG MK ML MM MN MO MQ MR MT MU MV MW MX MY MZ NA NC NE NG NI NL NO NP NZ OM PA PE PF \
PG PH PK PL PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SI SK SL SM SN SO SR SS ST SV SY SZ TC TD TG TH TJ TL TM \
TN TO TR TT TV TW TZ UA UG US UY UZ VA VC VE VG VN VU WF WS XK YE YT ZA ZM ZW ";

/// Country and total length of every IBAN in the SWIFT registry.
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];
