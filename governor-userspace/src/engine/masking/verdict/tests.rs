//! Columns of values, with names that tell and names that do not.

use super::*;
use crate::engine::masking::detector::tests::DETECTORS;
use crate::engine::masking::masker::tests::MASKER;
use Category::*;

const TEXT: u32 = 25;

fn evidence(values: &[&str]) -> ColumnEvidence {
    let mut evidence = ColumnEvidence::default();
    for value in values {
        evidence.observe(&MASKER, value.as_bytes());
    }
    evidence
}

fn judge(column: &str, values: &[&str]) -> Option<(Category, &'static str)> {
    judge_column("t", column, TEXT, &[], &evidence(values))
        .map(|found| (found.category, found.detector.kind().map_or("", Kind::name)))
}

/// Repeats the values until there are `count` of them.
fn many<'a>(values: &[&'a str], count: usize) -> Vec<&'a str> {
    values.iter().copied().cycle().take(count).collect()
}

#[test]
fn names_of_people_are_told_by_the_column() {
    let given = ["June", "James", "Harry", "Meagan", "Jerónimo", "Leon", "Stéphane", "Xyzzyq"];
    assert_eq!(judge("c1", &many(&given, 40)).map(|v| v.0), Some(PersonName));
    let family = ["Terrell", "Llabrés", "Bigot", "Corbacho", "Smith", "Ribeiro", "Qwertz", "Zzyzx"];
    assert_eq!(judge("c1", &many(&family, 40)).map(|v| v.0), Some(PersonName));
    let full = ["Cassandra Johnson", "Marta Löwer B.Eng.", "Howard Rivera", "Foo Barbaz"];
    assert_eq!(judge("c1", &many(&full, 40)), Some((PersonName, "person_name")));
    let companies = [
        "Knight-Wall",
        "Gallagher LLC",
        "Hnos Elías S.L.",
        "Poirier",
        "Fisher, Wright and Wyatt",
        "Suarez y asociados S.A.",
        "Phelps Ltd",
    ];
    assert_eq!(judge("c1", &many(&companies, 40)), None);
    let cities = [
        "Cádiz",
        "Kelheim",
        "South Martinbury",
        "Saint Joseph",
        "Watsonchester",
        "Hünfeld",
        "Huesca",
        "Daviesside",
        "Port Shannonhaven",
    ];
    assert_eq!(judge("c1", &many(&cities, 40)), None);
    let states = ["closed", "refunded", "shipped", "open"];
    assert_eq!(judge("c1", &many(&states, 40)), None);
}

#[test]
fn days_of_birth_spread_over_lifetimes() {
    let births = [
        "1966-10-10",
        "1970-03-20",
        "1998-07-27",
        "1961-08-04",
        "1955-05-01",
        "1944-02-01",
        "1983-11-29",
        "2003-01-30",
    ];
    assert_eq!(judge("c1", &many(&births, 40)), Some((BirthDate, "birth_date")));
    let shipped = ["2024-10-27", "2025-01-22", "2022-09-16", "2025-11-13", "2019-02-02"];
    assert_eq!(judge("c1", &many(&shipped, 40)), None);
    let moments =
        ["1966-10-10 10:00:00", "1970-03-20 10:00:00", "1998-07-27 10:00:00", "1951-08-04 10:00:00"];
    assert_eq!(judge("c1", &many(&moments, 40)), None);
}

#[test]
fn one_check_digit_counts_when_nearly_all_pass() {
    // Aadhaar numbers without separators: each passes Verhoeff.
    let aadhaar = [
        "923026415546",
        "430324559441",
        "394044518506",
        "671304290268",
        "641113119765",
        "669288433859",
        "844402696687",
        "703032292871",
        "746949866082",
        "595793219367",
    ];
    assert_eq!(judge("c1", &aadhaar), Some((NationalId, "in_aadhaar")));
    let numbers: Vec<String> = (0..200_u64).map(|n| (300_000_000_000 + n * 7_654_321).to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(judge("c1", &numbers), None);
    assert_eq!(
        judge("batch_no", &many(&["856297771", "987730221", "299726065", "867489117", "123456782"], 40)),
        None
    );
}

#[test]
fn books_are_no_patients() {
    // Each passes the check digit that health numbers and book numbers have in common.
    let bare = ["0747532699", "0306406152", "0262033844", "0131103628", "0596517742", "0321125215"];
    assert_eq!(judge("c1", &many(&bare, 40)), None);
    let grouped = ["943 476 5919", "9434765919", "401 023 2137"];
    assert_eq!(judge("c1", &many(&grouped, 40)).map(|v| v.1), Some("uk_nhs"));
}

#[test]
fn few_values_that_all_pass_are_told() {
    let numbers = ["111222333", "123456782", "512806937", "164092882", "486166491", "844583236"];
    assert_eq!(judge("c1", &numbers), Some((NationalId, "nl_bsn")));
    assert_eq!(judge("c1", &numbers[..5]), None);
    let births = ["19.07.1978", "28.10.1948", "25.12.1959", "03/17/1983", "1936-02-01", "04-04-2001"];
    assert_eq!(judge("c1", &births), Some((BirthDate, "birth_date")));
}

#[test]
fn few_cards_among_texts_are_told_and_chance_is_not() {
    let mut notes = many(&["call later", "done", "refund sent"], 95);
    notes.extend(["4111111111111111"; 5]);
    assert_eq!(judge("c1", &notes).map(|v| v.0), Some(PaymentCard));
    // References that begin like a card: one in ten passes.
    let numbers: Vec<String> =
        (0..300_u64).map(|n| (4_000_000_000_000_000 + n * 7_654_321_987).to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(judge("c1", &numbers), None);
}

#[test]
fn text_and_documents_are_told_by_what_stands_in_them() {
    let mut notes = many(&["Shipment delayed again.", "Duplicate ticket, closing."], 90);
    notes.extend(["reach me at bob@example.org, thanks"; 10]);
    assert_eq!(judge("comment", &notes), Some((Email, "in_text")));
    let events = [r#"{"id": 1, "user": {"email": "a@example.com"}}"#, r#"{"id": 2, "items": []}"#];
    assert_eq!(judge("c1", &many(&events, 40)), Some((Other, "in_document")));
    assert_eq!(judge("c1", &many(&[r#"{"id": 2, "sku": "SKU-1"}"#], 40)), None);
    assert_eq!(judge("c1", &many(&["Shipment delayed again. order 4975002924966824", "v9.11.98"], 40)), None);
}

#[test]
fn names_and_values_are_weighed_together() {
    assert_eq!(judge("email", &many(&["a@example.com"], 40)), Some((Email, "email")));
    assert_eq!(judge("email", &[]), Some((Email, "by_name")), "a name alone is believed");
    // Full of something else.
    assert_eq!(judge("address", &many(&["a@example.com", "b@example.com"], 40)).map(|v| v.0), Some(Email));
    assert_eq!(
        judge("contact", &many(&["a@example.com", "+44 7921 737441"], 40)).map(|v| v.1),
        Some("email")
    );
    assert_eq!(judge("doc_no", &many(&["P1234567", "C7654321"], 40)).map(|v| v.0), Some(Passport));
    assert_eq!(judge("c1", &many(&["P1234567", "C7654321"], 40)), None);
    // Numbers cannot carry text, so their values are not asked.
    assert_eq!(judge_column("t", "c1", 20, &[], &evidence(&["a@example.com"; 40])), None);
}

#[test]
fn evidence_is_merged_and_bounded() {
    let (mut a, b) = (evidence(&["a@example.com", "x"]), evidence(&["1966-10-10", "b@example.com"]));
    a.merge(&b);
    assert_eq!(a, evidence(&["a@example.com", "x", "1966-10-10", "b@example.com"]));
    let mut noted = ColumnEvidence::default();
    noted.note(DETECTORS.detect(b"a@example.com"));
    noted.note(None);
    assert_eq!((noted.values_count(), noted.found().count()), (2, 1));
    let again: ColumnEvidence = serde_json::from_str(&serde_json::to_string(&a).unwrap()).unwrap();
    assert_eq!(again, a);
}

#[test]
fn bare_telephone_numbers_are_told_by_a_plan_and_masked_where_people_are() {
    let areas = ["212", "310", "415", "512", "617", "702", "786", "901"];
    let numbers: Vec<String> =
        (0..100).map(|n| format!("{}{}{:06}", areas[n % 8], 2 + n % 8, n * 7919 % 1_000_000)).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(judge("c1", &numbers), Some((Phone, "phone")));
    assert_eq!(judge("order_no", &numbers), None);
    let sure = |relation: &str, values: &[&str]| {
        judge_column(relation, "c1", TEXT, &[], &evidence(values)).map(|found| found.confidence_percent)
    };
    assert_eq!((sure("t", &numbers), sure("customers", &numbers)), (Some(70), Some(80)));
    // Most of a column of another kind is not made of numbers.
    let words = many(&["open", "closed"], 40);
    assert_eq!(judge("c1", &[&numbers[..], &words[..]].concat()), None);
    let coded: Vec<String> = numbers.iter().map(|number| format!("1{number}")).collect();
    let coded: Vec<&str> = coded.iter().map(String::as_str).collect();
    let found = judge_column("t", "c1", TEXT, &[], &evidence(&coded));
    assert_eq!(found.and_then(|found| found.countries), Some("US/CA"));
}
