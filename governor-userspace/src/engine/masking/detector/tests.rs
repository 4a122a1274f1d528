//! Values with right and wrong check digits, look-alikes, hostile text.

use super::*;
use Category::*;
use std::sync::LazyLock;

mod kinds;

pub(in crate::engine::masking) static DETECTORS: LazyLock<Detectors> =
    LazyLock::new(|| Detectors::new().unwrap());

/// Detectors of which every one panics when asked.
pub(in crate::engine::masking) fn broken() -> Detectors {
    let mut shapes = shapes::all();
    for shape in &mut shapes {
        shape.check = |_| panic!("a detector fails");
    }
    Detectors::with_shapes(&shapes).unwrap()
}

fn category(value: &str) -> Option<Category> {
    DETECTORS.detect(value.as_bytes()).map(|finding| finding.category)
}

fn found(text: &str) -> Vec<(&str, Category)> {
    let mut out = Vec::new();
    DETECTORS.find_in_text(text.as_bytes(), &mut out);
    out.into_iter().map(|(range, category)| (&text[range], category)).collect()
}

/// Appends the digit that makes the predicate hold; check that exactly one of ten does.
fn complete(body: &str, valid: impl Fn(&str) -> bool) -> Vec<String> {
    (0..10).map(|digit| format!("{body}{digit}")).filter(|number| valid(number)).collect()
}

#[test]
fn cards_need_issuer_length_and_luhn() {
    let bodies = [
        ("411111111111111", 16),
        ("555555555555444", 16),
        ("222300004841001", 16),
        ("37828224631000", 15),
        ("601111111111111", 16),
        ("353011133330000", 16),
        ("3056930902590", 14),
        ("620000000000000", 16),
    ];
    for (body, length) in bodies {
        let valid = complete(body, |number| category(number) == Some(PaymentCard));
        assert_eq!(valid.len(), 1, "one check digit of ten for {body}");
        assert_eq!(valid[0].len(), length);
        let number = &valid[0];
        let (spaced, dashed) = (grouped(number, 4, " "), grouped(number, 4, "-"));
        for written in [spaced, dashed] {
            assert_eq!(category(&written), Some(PaymentCard), "{written}");
            assert_eq!(found(&format!("paid with {written}, thanks")), [(written.as_str(), PaymentCard)]);
        }
        assert_eq!(found(&format!("cvv follows: {number} 123")), [(number.as_str(), PaymentCard)]);
        assert!(found(&format!("id{number}")).is_empty(), "the tail of a longer word");
        assert!(found(&format!("{number}99999")).is_empty(), "the head of a longer number");
    }
}

fn grouped(number: &str, size: usize, separator: &str) -> String {
    number
        .as_bytes()
        .chunks(size)
        .map(|c| std::str::from_utf8(c).unwrap())
        .collect::<Vec<_>>()
        .join(separator)
}

#[test]
fn iban_needs_country_length_and_remainder() {
    for (country, body) in
        [("DE", "370400440532013000"), ("GB", "NWBK60161331926819"), ("FR", "20041010050500013M02606")]
    {
        let valid: Vec<String> = (2..99)
            .map(|check| format!("{country}{check:02}{body}"))
            .filter(|iban| category(iban) == Some(Iban))
            .collect();
        assert_eq!(valid.len(), 1, "{country}");
        let spaced = grouped(&valid[0], 4, " ");
        assert_eq!(category(&spaced), Some(Iban));
        assert_eq!(category(&valid[0].to_lowercase()), Some(Iban));
        assert_eq!(found(&format!("refund to {spaced} thanks")), [(spaced.as_str(), Iban)]);
        assert_ne!(category(&format!("{}0", valid[0])), Some(Iban), "too long for {country}");
        assert_ne!(category(&valid[0].replacen(country, "QQ", 1)), Some(Iban), "no such country");
    }
}

#[test]
fn national_numbers_pass_with_their_check_and_fail_with_another() {
    // (valid, the same with one character changed so that the check breaks)
    let rows = [
        ("219-09-9999", "000-09-9999"),
        ("219-09-9998", "666-09-9999"),
        ("219-09-9997", "219-00-9999"),
        ("219-09-9996", "219-09-0000"),
        ("AB123456C", "GB123456C"),
        ("12345678Z", "12345678A"),
        ("X1234567L", "X1234567M"),
        ("86095742719", "86095742718"),
        ("RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        ("2345 6789 0124", "2345 6789 0125"),
        ("529.982.247-25", "529.982.247-26"),
        ("52998224725", "52998224726"),
        ("44051401359", "44051401358"),
        ("85.07.30-033.28", "85.07.30-033.29"),
        ("811228-9874", "811228-9875"),
        ("131052-308T", "131052-308U"),
        ("756.9217.0769.85", "756.9217.0769.86"),
        ("11010519491231002X", "110105194912310021"),
        ("S1234567D", "S1234567E"),
        ("8001015009087", "8001015009088"),
        ("BADD110313HCMLNS09", "BADD111313HCMLNS09"),
    ];
    for (valid, invalid) in rows {
        assert_eq!(category(valid), Some(NationalId), "{valid}");
        assert_ne!(category(invalid), Some(NationalId), "{invalid}");
    }
}

#[test]
fn check_digits_select_about_one_in_their_base() {
    // A French number has one valid key of 97, also with a Corsican department.
    for body in ["1850578006084", "269052A588157", "269052B588157", "2 15 07 14 324 554"] {
        let keys = (1..=97).filter(|key| category(&format!("{body}{key:02}")) == Some(NationalId)).count();
        assert_eq!(keys, 1, "{body}");
    }
    let letters =
        (b'A'..=b'Z').filter(|&l| category(&format!("87654321{}", l as char)) == Some(NationalId)).count();
    assert_eq!(letters, 1);
    for body in ["2345 6789 013", "9876 5432 101", "3000 1000 555"] {
        let is_aadhaar = |number: &str| {
            DETECTORS.detect(number.as_bytes()).is_some_and(|found| found.detector == Kind::InAadhaar.into())
        };
        assert_eq!(complete(body, is_aadhaar).len(), 1, "{body}");
    }
    for body in ["111444777", "123456789", "987654321"] {
        let count = (0..100).filter(|c| category(&format!("{body}{c:02}")) == Some(NationalId)).count();
        assert!((1..=14).contains(&count), "{body}: {count} of 100 endings");
    }
}

#[test]
fn addresses_phones_networks_and_credentials_are_known() {
    let rows = [
        ("alice@example.com", Email),
        ("  a.b+c@mail.example.co.uk ", Email),
        ("jürgen@exämple.de", Email),
        ("+44 7921 737441", Phone),
        ("+1-415-343-3041", Phone),
        ("(415) 252-9165", Phone),
        ("415.693.8189", Phone),
        ("06 44 94 49 89", Phone),
        ("0151/57410374", Phone),
        ("030 34482878", Phone),
        ("06-12345678", Phone),
        ("090-1234-5678", Phone),
        ("(11) 91234-5678", Phone),
        ("208.36.51.193", IpAddress),
        ("8c95:3cf6:ad4f:48ab:1ff:9764:ed78:8730", IpAddress),
        ("2001:db8::ff00:42:8329", IpAddress),
        ("14:df:b7:57:17:65", IpAddress),
        ("AKIAIOSFODNN7EXAMPLE", Credential),
        ("ghp_9bisEEt4FIMyJaUAXOUhsQV9KyqcJNmb8GPE", Credential),
        ("xoxb-133928084113-788260044242-EvK1fHOFDKxA3iLynDLW4XiQ", Credential),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", Credential),
        ("$2b$12$1cDXSkxp2FRaKK5T/o4jlHGE26b5NKzsa3Sl0H3/cY/OmCCt6OczT", Credential),
        (
            "SCRAM-SHA-256$4096:KlR+c7dQV1ILWcY3MEOn5g==$rEW46G6HedAWWtlJlNCGPl1JmsjUPtGH1cv9t/lxbkI=:9x3izy2NZGk=",
            Credential,
        ),
        ("postgres://app:hunter2@db.internal:5432/shop", Credential),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", Credential),
        ("f3ER5725+Ws3tJm5H4J41eHZ83iR12FFwJdK/P7B", Credential),
    ];
    for (value, expected) in rows {
        assert_eq!(category(value), Some(expected), "{value}");
    }
    let long_key = format!("-----BEGIN PRIVATE KEY-----\n{}", "QUJD".repeat(4096));
    assert_eq!(category(&long_key), Some(Credential), "longer than other whole values");
}

#[test]
fn look_alikes_are_nothing() {
    let rows = [
        "d2f322a4-47fd-440d-9d2e-53b551a90266",
        "ORD-2020-803626",
        "47969755928090046219",
        "1ZZIOSFF96S9U2BBJM",
        "DDX-7879-RED",
        "2022-01-11 06:14:12",
        "2024-10-27",
        "5918.68",
        "4432492858950096",
        "856297771",
        "BUILD-335-7005",
        "BUILD-555-1234",
        "v16.3.17",
        "6.30.57.20",
        "20.29.67.51",
        "10.15.7",
        "9789075891676",
        "990ee7c9f2920abf7a11fc19c99923565d29b209d6990243ad7749c7f1fc783e",
        "de421393b811cfa90ffcd8d56f373826",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "1631599227482",
        "7224284024306",
        "113557232839515323",
        "#5e35bb",
        "https://lam.com/app/list/tag",
        "active",
        "Knight-Wall",
        "12:34:56",
        "127.0.0.1",
        "::1",
        "255.255.255.0",
        "user@host",
        "a@b",
        "@mention",
        "0000012345",
        "1,234,567",
        "650 000 000",
        "",
        " ",
        "\0\0\0\0\0\0",
        "0747532699",
    ];
    for value in rows {
        assert_eq!(category(value), None, "{value:?}");
    }
    for text in [
        "Shipment delayed, order 4975002924966824",
        "see d2f322a4-47fd-440d-9d2e-53b551a90266 v9.20.72",
        "Ref BUILD-136-7868.",
        "meet @alice at 10:30",
        "1719297992 requests",
        "ratio 16:9 at 1920x1080",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn text_shows_where_values_stand() {
    assert_eq!(
        found("mail bob@example.org. or +44 7921 737441; SSN is 219-09-9999, key AKIAIOSFODNN7EXAMPLE!"),
        [
            ("bob@example.org", Email),
            ("+44 7921 737441", Phone),
            ("219-09-9999", NationalId),
            ("AKIAIOSFODNN7EXAMPLE", Credential)
        ]
    );
    assert_eq!(found("<a@b.com>,(c@d.org)").len(), 2);
    let token = "ghp_9bisEEt4FIMyJaUAXOUhsQV9KyqcJNmb8GPE";
    for between in ["", "Z ", ".123456Z"] {
        let text = format!("2024-10-27T06:14:12{between}{token}");
        assert_eq!(found(&text), [(token, Credential)], "{text}");
    }
    // A date in front is no reason to look no further.
    assert_eq!(found("2024-10-27 mail to bob@example.org"), [("bob@example.org", Email)]);
    assert_eq!(found("27.10.2024 SSN is 219-09-9999"), [("219-09-9999", NationalId)]);
    // Twelve digits, fewer than any other country's.
    assert_eq!(found("refund to NL91ABNA0417164300, thanks"), [("NL91ABNA0417164300", Iban)]);
    assert_eq!(found("Erstattung auf NO9386011117947."), [("NO9386011117947", Iban)]);
    assert_eq!(found("login from 14.28.10.98, thanks"), [("14.28.10.98", IpAddress)]);
    assert_eq!(found("upgrade from 14.28.10.98 to 14.29.0.1"), []);
    assert_eq!(
        found("password: hunter22 and BSN 123456782"),
        [("hunter22", Credential), ("123456782", NationalId)]
    );
    assert_eq!(found("host=x password=s3cr3t! dbname=y"), [("s3cr3t!", Credential)]);
    let long = "x".repeat(100);
    assert_eq!(found(&format!("{long}@example.com")).len(), 1, "an overlong local part hides no address");
}

#[test]
fn hostile_text_takes_linear_work() {
    // A quadratic search over these would run for hours; the test only has to end.
    for unit in [
        "a", "@", "a@", "1", "eyJ", "4111 ", "4111", "GB12", "+1 ", "sk-", "xoxb-", "ssn ", "1.", "a://",
        "$5$",
    ] {
        let text = unit.repeat((1 << 18) / unit.len());
        let mut out = Vec::new();
        DETECTORS.find_in_text(text.as_bytes(), &mut out);
        assert!(out.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start), "sorted, no overlap");
    }
}

/// Values that a pattern matches, made from the pattern.
fn samples(pattern: &str, count: usize) -> Vec<Vec<u8>> {
    use proptest::strategy::{Strategy, ValueTree};
    // A word's edge is not a byte: the surroundings below give it one.
    let strategy = proptest::string::bytes_regex(&pattern.replace(r"\b", "")).unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn a_value_begins_where_its_keyword_ends() {
    let mut matched = 0;
    for (category, pattern) in text::KEYWORDS {
        let regex = single(pattern).unwrap();
        for value in samples(pattern, 2_000) {
            for before in ["", "x = ", "ip: 1, "] {
                let text = [before.as_bytes(), &value, b" and more"].concat();
                for groups in regex.captures_iter(&text) {
                    let (whole, group) = (groups.get(0).unwrap(), groups.get(1).unwrap());
                    let lead = text::lead_bytes(*category, whole.as_bytes());
                    assert_eq!(
                        whole.start() + lead..whole.end(),
                        group.range(),
                        "{}",
                        String::from_utf8_lossy(whole.as_bytes())
                    );
                    matched += 1;
                }
            }
        }
    }
    assert!(matched > 20_000, "{matched} of the samples match");
}

/// Some piece is asked whether it is a credential, or all of the text is.
fn may_hold_secret(text: &[u8]) -> bool {
    let mut signs = first_look::SecretSigns::default();
    Chunks::of(text).for_each(|chunk| signs.note(&chunk));
    let is_token = |chunk: &chunks::Chunk| {
        let piece = &text[chunk.range.clone()];
        first_look::may_be_token(text, chunk)
            && DETECTORS.text.makers.may_begin(piece)
            && DETECTORS.text.anywhere.is_match(piece)
    };
    signs.may_hold(text) || Chunks::of(text).any(|chunk| is_token(&chunk))
}

#[test]
fn the_first_look_at_a_text_hides_no_match() {
    let all = shapes::all();
    let shapes = all.iter().filter(|shape| shape.in_text).map(|shape| shape.pattern);
    let (mut matched, mut hidden) = (0, Vec::new());
    for pattern in shapes.chain(text::KEYWORDS.iter().map(|(_, pattern)| *pattern)) {
        for value in samples(pattern, 300) {
            for (before, after) in [("", ""), ("SELECT '", "'"), ("x = ", " and more"), ("\u{fc}", ";")] {
                let text = [before.as_bytes(), &value, after.as_bytes()].concat();
                if DETECTORS.text.any.is_match(&text) {
                    matched += 1;
                    let signs = Signs::of(&text);
                    // Behind a keyword a value without two digits is a word.
                    let is_keyword = text::KEYWORDS.iter().any(|(_, keyword)| *keyword == pattern);
                    let passes = is_keyword || signs.has_at() || signs.digits >= 2 || signs.has_mark();
                    let may_hold_secret = may_hold_secret(&text);
                    let may_begin = text::may_begin(&text, &signs);
                    if !passes || !may_begin && !may_hold_secret {
                        hidden.push(format!("{pattern} in {}", String::from_utf8_lossy(&text)));
                    }
                    if DETECTORS.text.anywhere.is_match(&text) && !may_hold_secret {
                        hidden.push(format!("secret {pattern} in {}", String::from_utf8_lossy(&text)));
                    }
                }
            }
        }
    }
    assert_eq!(hidden, Vec::<String>::new());
    assert!(matched > 10_000, "{matched} of the samples match");
}

/// The quick search finds what each pattern's own search over the whole text finds, no less and no more.
#[test]
fn the_quick_search_finds_what_the_plain_one_finds() {
    let all = shapes::all();
    let patterns = all.iter().filter(|shape| shape.in_text).map(|shape| shape.pattern);
    let patterns = patterns.chain(text::KEYWORDS.iter().map(|(_, pattern)| *pattern));
    let more =
        ["4111111111111111", "GB33BUKB20201555555555", "a@example.com", "order 12345678", "2024-10-27", ""];
    let values: Vec<Vec<u8>> = patterns
        .flat_map(|pattern| samples(pattern, 12))
        .chain(more.iter().map(|value| value.as_bytes().to_vec()))
        .collect();
    let mut found = 0;
    for (at, value) in values.iter().enumerate() {
        // Another kind beside it, with all sorts of things between and around.
        let other = &values[(at * 31 + 7) % values.len()];
        for (before, between) in
            [("", " "), ("x ", ", "), ("_", "-"), ("(", ")"), ("a", "_"), ("\u{fc}", "."), ("no ", "")]
        {
            let text = [before.as_bytes(), value, between.as_bytes(), other].concat();
            let (mut quick, mut plain) = (Vec::new(), Vec::new());
            let signs = Signs::of(&text);
            DETECTORS.text.find(&text, &signs, &mut quick, |_| {});
            DETECTORS.text.find_plainly(&text, &signs, &mut plain);
            merge(&mut quick, 0);
            merge(&mut plain, 0);
            let ranges = |all: &[(Range<usize>, Category)]| {
                all.iter().map(|(range, _)| range.clone()).collect::<Vec<_>>()
            };
            assert_eq!(ranges(&quick), ranges(&plain), "{}", String::from_utf8_lossy(&text));
            found += quick.len();
        }
    }
    assert!(found > 5_000, "{found}");
}

#[test]
fn the_first_look_at_a_value_hides_no_match() {
    let (mut matched, mut hidden) = (0, Vec::new());
    for shape in shapes::all() {
        let detectors = Detectors::with_shapes(&[Shape { check: |_| true, ..shape }]).unwrap();
        let whole = single(&format!("^(?:{})$", shape.pattern)).unwrap();
        for value in samples(shape.pattern, 200) {
            let value = value.trim_ascii();
            if whole.is_match(value) && Signs::of(value).plain(value).is_none() {
                matched += 1;
                let mut found = false;
                detectors.examine_all(value, &mut |finding| found |= finding.detector == shape.kind.into());
                if !found && !value.iter().all(u8::is_ascii_digit) {
                    hidden.push(format!("{} as {}", shape.pattern, String::from_utf8_lossy(value)));
                }
            }
        }
    }
    assert_eq!(hidden, Vec::<String>::new());
    assert!(matched > 10_000, "{matched} of the samples match");
}

/// Keys of most tables end at the first look: each pattern is asked about numbers of every length below the bound.
#[test]
fn no_pattern_fits_a_small_number() {
    for length in 1..10 {
        for lead in 0..10 {
            for rest in ["123456789", "000000000", "999999999", "717171717"] {
                let number = &format!("{lead}{rest}")[..length];
                assert_eq!(DETECTORS.detect(number.as_bytes()), None, "{number}");
                assert!(!DETECTORS.text.any.is_match(number.as_bytes()), "{number}");
            }
        }
    }
}

#[test]
fn the_first_look_ends_the_search_in_plain_statements() {
    for text in [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 377461",
        "UPDATE orders SET status = 'shipped' WHERE id = $1",
        "select * from t where a < 10 and b = 'blue' limit 5",
    ] {
        let text = text.as_bytes();
        let patterns = DETECTORS.text.patterns_that_begin(text);
        let said = String::from_utf8_lossy(text);
        assert!(Signs::of(text).is_prose() && patterns == 0 && !may_hold_secret(text), "{said}");
    }
}
