//! The table of shapes: what each kind of value looks like, and what must also hold.
//!
//! A pattern describes the whole value. It has no anchors of its own: `mod.rs` anchors it for whole
//! values, and `text.rs` looks for those with `in_text` inside longer text. Patterns are plain ASCII
//! byte classes, open-ended where a length does not matter, so that the lazy DFA stays small; what a
//! pattern cannot say is in `check`. A shape with a check that may refuse has a bounded pattern, or is
//! not `in_text`: looking for it in text stays linear.

use super::checksum::{digits, iban_mod97, luhn};
use super::national as id;
use crate::engine::model::Category::{self, *};

/// One kind of value.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) category: Category,
    pub(super) pattern: &'static str,
    /// What must hold beyond the pattern.
    pub(super) check: fn(&[u8]) -> bool,
    pub(super) confidence_percent: u8,
    /// Distinct enough to be looked for inside longer text.
    pub(super) in_text: bool,
}

const fn shape(
    category: Category,
    confidence_percent: u8,
    in_text: bool,
    pattern: &'static str,
    check: fn(&[u8]) -> bool,
) -> Shape {
    Shape { category, pattern, check, confidence_percent, in_text }
}

/// In order of preference: the first shape that holds names the category.
pub(super) const SHAPES: &[Shape] = &[
    // Credentials: prefixes their makers chose so that scanners find them.
    shape(Credential, 99, true, r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", always),
    shape(Credential, 99, true, r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s-u:.)*", always),
    shape(Credential, 99, true, r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}", always),
    shape(Credential, 99, true, r"(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})", always),
    shape(Credential, 99, true, r"glpat-[A-Za-z0-9_-]{20,}", always),
    shape(Credential, 99, true, r"xox[abeoprs]-[A-Za-z0-9-]{10,}", always),
    shape(Credential, 99, true, r"https://hooks\.slack\.com/services/[A-Za-z0-9/]{20,}", always),
    shape(
        Credential,
        99,
        true,
        r"(?:[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,})",
        always,
    ),
    shape(Credential, 99, true, r"AIza[A-Za-z0-9_-]{35}", always),
    shape(Credential, 99, true, r"ya29\.[A-Za-z0-9_-]{20,}", always),
    shape(Credential, 99, true, r"(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,})", always),
    shape(Credential, 99, true, r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", always),
    shape(Credential, 95, true, r"sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,}", mixed_token),
    shape(Credential, 99, true, r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}", always),
    shape(
        Credential,
        99,
        true,
        r"\$(?:argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]{0,16}|y|gy|7|6|5|1)\$[A-Za-z0-9$./=,+:_-]{16,}",
        always,
    ),
    shape(
        Credential,
        99,
        true,
        r"SCRAM-SHA-(?:1|256|512)\$[0-9]{1,9}:[A-Za-z0-9+/=]{8,}\$[A-Za-z0-9+/=:]{16,}",
        always,
    ),
    shape(
        Credential,
        99,
        true,
        r"(?:pbkdf2_sha(?:1|256|512)|bcrypt_sha256|argon2)\$[A-Za-z0-9$./=,+:_-]{16,}",
        always,
    ),
    shape(Credential, 95, true, r"[a-z][a-z0-9+]+://[^\s:/@]*:[^\s/@]+@[^\s/@]+(?:/\S*)?", always),
    // base64 of 30 random bytes: AWS secret keys and their like. A SHA-1 has no capitals.
    shape(Credential, 70, false, r"[A-Za-z0-9/+]{40}", mixed_token),
    shape(Credential, 80, false, r"md5[0-9a-f]{32}", always),
    // E-mail, IBAN and cards have scanners of their own for text.
    shape(Email, 99, false, EMAIL, email_fits),
    shape(Iban, 99, false, r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,32}", iban),
    shape(PaymentCard, 95, false, r"[2-6][0-9]{3}(?:[ -]?[0-9]){10,15}", card),
    // National numbers: letters or separators in fixed places first.
    shape(NationalId, 90, true, r"[0-9]{3}-[0-9]{2}-[0-9]{4}", id::us_ssn),
    shape(NationalId, 60, false, r"[0-9]{3} [0-9]{2} [0-9]{4}", id::us_ssn),
    shape(
        NationalId,
        90,
        true,
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        id::uk_nino,
    ),
    shape(NationalId, 95, true, r"(?:[0-9]{8}-?|[XYZ]-?[0-9]{7}-?)[A-Z]", id::es_dni),
    shape(
        NationalId,
        98,
        true,
        r"[12378] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        id::fr_insee,
    ),
    shape(
        NationalId,
        98,
        true,
        r"[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPR-T][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",
        id::it_codice_fiscale,
    ),
    shape(NationalId, 85, true, r"[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}", id::in_aadhaar),
    shape(NationalId, 85, true, r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]", always),
    shape(NationalId, 98, true, r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", id::br_cpf),
    shape(NationalId, 95, true, r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", id::be_national_number),
    shape(NationalId, 85, true, r"(?:19|20)?[0-9]{6}[-+][0-9]{4}", id::se_personnummer),
    shape(NationalId, 95, true, r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", id::fi_hetu),
    shape(NationalId, 95, true, r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", id::ch_ahv),
    shape(
        NationalId,
        95,
        true,
        r"[A-Z][AEIOUX][A-Z]{2}[0-9]{6}[HMX][A-Z]{2}[B-DF-HJ-NP-TV-Z]{3}[A-Z0-9][0-9]",
        id::mx_curp,
    ),
    shape(NationalId, 95, true, r"[STFG][0-9]{7}[A-Z]", id::sg_nric),
    shape(NationalId, 80, true, r"[0-9]{6}-[1-8][0-9]{6}", id::kr_rrn),
    // Bare digits with two check digits, or one and a date or a rule on repeats.
    shape(
        NationalId,
        95,
        true,
        r"[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9X]",
        id::cn_resident_id,
    ),
    shape(NationalId, 85, false, r"[0-9]{11}", id::br_cpf),
    shape(NationalId, 85, false, r"[1-9][0-9] ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", id::de_steuer_id),
    shape(NationalId, 80, false, r"[0-9]{11}", id::no_fodselsnummer),
    shape(NationalId, 60, false, r"[0-9]{11}", id::pl_pesel),
    shape(NationalId, 80, false, r"[0-9]{13}", id::za_id),
    // Phones: international, then national ones whose separators or trunk prefix give them away.
    shape(Phone, 90, true, r"\+[1-9](?:[ ().\-/]{0,2}[0-9]){6,14}", phone_international),
    shape(Phone, 70, false, r"00[1-9][0-9]{0,2}(?:[ ().\-/]{1,2}[0-9]{1,9}){2,6}", phone_international),
    shape(
        Phone,
        80,
        true,
        r"(?:1[-. ])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4}(?: ?(?:x|ext\.?) ?[0-9]{1,5})?",
        always,
    ),
    shape(Phone, 70, false, r"0[1-9](?:[ .-][0-9]{2}){4}", always),
    shape(Phone, 50, false, r"0[67][0-9]{8}", id::is_not_isbn10),
    shape(Phone, 50, false, r"0(?:7[0-9]{9}|15[0-9]{8,9}|16[0-9]{8,9}|17[0-9]{8,9})", always),
    shape(
        Phone,
        70,
        false,
        r"(?:\(0[0-9]{1,5}\)|0[1-9][0-9]{0,4}) ?[ /.-] ?[0-9]{3,8}(?:[ .-][0-9]{2,6}){0,3}",
        phone_national,
    ),
    shape(Phone, 70, false, r"\([1-9][0-9]\) ?9?[0-9]{4}-[0-9]{4}", always),
    shape(Phone, 50, false, r"[5-9][0-9]{2} [0-9]{3} [0-9]{3}", not_round),
    shape(Phone, 60, false, r"[6-9][0-9]{2}(?: [0-9]{2}){3}", always),
    // Network addresses and places.
    shape(IpAddress, 95, false, r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}", always),
    shape(IpAddress, 80, true, r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}", ipv4),
    shape(IpAddress, 90, false, r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,37}(?:[0-9]{1,3}\.[0-9.]{5,11})?", ipv6),
    shape(Address, 70, false, r"-?[0-9]{1,2}\.[0-9]{4,9}, ?-?[0-9]{1,3}\.[0-9]{4,9}", always),
    shape(Address, 60, false, r"[^\n]+, [^\n]+, [A-Z]{2} [0-9]{5}(?:-[0-9]{4})?", always),
    shape(
        Address,
        60,
        false,
        r"[^\n]+, [^\n]+,? [A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2}",
        has_digit_before_comma,
    ),
    shape(Address, 60, false, r"[^\n,]+ [0-9][^\n,]*, [0-9]{5} [^\n,0-9]+", always),
    shape(Address, 60, false, r"[0-9]{1,4}[A-Za-z]?,? [^\n,]+, [0-9]{5} [^\n,0-9]+", always),
];

/// Local part and domain; bytes above 127 are allowed for internationalised mail (RFC 6531).
pub(super) const EMAIL: &str = r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~`\x80-\xff-]+@(?:[A-Za-z0-9\x80-\xff-]+\.)+[A-Za-z\x80-\xff][A-Za-z0-9\x80-\xff-]+";

fn always(_: &[u8]) -> bool {
    true
}

/// RFC 5321: 64 octets of local part, 254 in all.
pub(super) fn email_fits(value: &[u8]) -> bool {
    value.len() <= 254 && value.iter().position(|&b| b == b'@').is_some_and(|at| (1..=64).contains(&at))
}

/// Capitals, small letters and digits together: random letters, not a word or a hexadecimal digest.
fn mixed_token(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_uppercase)
        && value.iter().any(u8::is_ascii_lowercase)
        && value.iter().filter(|b| b.is_ascii_digit()).count() > 1
}

pub(super) fn iban(value: &[u8]) -> bool {
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
pub(super) fn iban_length(iban: &[u8]) -> Option<usize> {
    let country = iban.get(..2)?;
    IBAN_LENGTHS
        .iter()
        .find(|(code, _)| code.as_bytes().eq_ignore_ascii_case(country))
        .map(|(_, length)| *length)
}

/// Known issuer range with its length, then Luhn. Separators must group as cards do.
/// 13-digit numbers are left out: nothing has issued them for decades, and EAN-13 look the same.
pub(super) fn card(value: &[u8]) -> bool {
    let d = digits(value);
    let prefix = |count: usize| d.get(..count).and_then(super::checksum::number).unwrap_or(0);
    let issued = match (d.len(), prefix(1), prefix(2), prefix(3), prefix(4)) {
        (16, 4, ..) => true,                                 // Visa
        (16, _, 51..=55, ..) => true,                        // Mastercard
        (16, _, _, _, 2221..=2720) => true,                  // Mastercard
        (15, _, 34 | 37, ..) => true,                        // American Express
        (14, _, 36 | 38 | 39, ..) => true,                   // Diners Club
        (14, _, _, 300..=305, _) => true,                    // Diners Club
        (16, _, 65, ..) | (16, _, _, 644..=649, _) => true,  // Discover
        (16, _, _, _, 6011) => true,                         // Discover
        (16, _, _, _, 3528..=3589) => true,                  // JCB
        (16..=19, _, 62, ..) => true,                        // UnionPay
        (16, _, 60 | 81 | 82, ..) => true,                   // RuPay
        (12..=19, _, 50 | 56..=58, ..) => value.len() == 16, // Maestro: only the common length
        _ => false,
    };
    issued && one_separator(value) && d.iter().any(|digit| Some(digit) != d.last()) && luhn(&d)
}

/// Not both blanks and hyphens.
fn one_separator(value: &[u8]) -> bool {
    !(value.contains(&b' ') && value.contains(&b'-'))
}

fn phone_international(value: &[u8]) -> bool {
    (8..=17).contains(&digits(value).len())
}

fn phone_national(value: &[u8]) -> bool {
    (9..=12).contains(&digits(value).len())
}

fn not_round(value: &[u8]) -> bool {
    !value.ends_with(b"000")
}

/// Four octets of which one is 100 or more: release numbers such as 6.30.57.20 have the same shape.
/// Loopback, unspecified and netmask-like addresses are nobody's.
fn ipv4(value: &[u8]) -> bool {
    std::str::from_utf8(value).ok().and_then(|text| text.parse::<std::net::Ipv4Addr>().ok()).is_some_and(
        |ip| {
            ip.octets().iter().any(|&o| o >= 100)
                && ip.octets()[0] != 0
                && !ip.is_loopback()
                && ip.octets()[0] != 255
        },
    )
}

/// At least three colons, so that a time of day or a ratio is not taken for one.
fn ipv6(value: &[u8]) -> bool {
    value.iter().filter(|&&b| b == b':').count() >= 3
        && std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<std::net::Ipv6Addr>().ok())
            .is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn has_digit_before_comma(value: &[u8]) -> bool {
    value.iter().take_while(|&&b| b != b',').any(u8::is_ascii_digit)
}

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
