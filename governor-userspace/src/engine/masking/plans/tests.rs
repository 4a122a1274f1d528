//! Numbers of many countries, and numbers that are nobody's.

use super::*;

/// The countries and evidence of numbers that `make` gives for 0, 1, 2 …
fn fit(make: impl Fn(u64) -> String) -> Option<PlanFit> {
    let mut evidence = PlanEvidence::default();
    for number in 0..200 {
        evidence.note(make(number).as_bytes());
    }
    evidence.fit()
}

/// Digits that look drawn, the same in every run.
fn drawn(number: u64, count: usize) -> String {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    format!("{:020}", mixed ^ mixed >> 32).chars().rev().take(count).collect()
}

fn read(digits: &str) -> Vec<(&'static str, Form)> {
    let mut found = Vec::new();
    TABLE.readings(digits, &mut |reading| {
        found.push((TABLE.plan(reading.plan).map_or("", |plan| plan.countries), reading.form));
    });
    found
}

#[test]
fn numbers_of_many_countries_are_in_their_plans() {
    // Reserved for fiction and documentation where the country has such numbers; else of its ministries, operators' desks
    // and broadcasters.
    for (countries, code, trunk, national) in [
        ("US/CA", "1", "", "2025550142"),
        ("US/CA", "1", "", "6135550165"),
        ("GB", "44", "0", "7700900123"),
        ("GB", "44", "0", "2079460958"),
        ("DE", "49", "0", "3023125123"),
        ("DE", "49", "0", "15228817386"),
        ("FR", "33", "0", "199001234"),
        ("FR", "33", "0", "612345678"),
        ("AU", "61", "0", "491570156"),
        ("AU", "61", "0", "255501234"),
        ("SE", "46", "0", "701740605"),
        ("SE", "46", "0", "84650040"),
        ("IE", "353", "0", "850123456"),
        ("HU", "36", "06", "15550123"),
        ("ES", "34", "", "612345678"),
        ("IT", "39", "", "3123456789"),
        ("NL", "31", "0", "612345678"),
        ("PL", "48", "", "512345678"),
        ("PT", "351", "", "912345678"),
        ("NO", "47", "", "40612345"),
        ("DK", "45", "", "32123456"),
        ("FI", "358", "0", "412345678"),
        ("CH", "41", "0", "781234567"),
        ("AT", "43", "0", "664123456"),
        ("BE", "32", "0", "470123456"),
        ("CZ", "420", "", "601123456"),
        ("GR", "30", "", "6912345678"),
        ("TR", "90", "0", "5012345678"),
        ("RU/KZ", "7", "8", "9123456789"),
        ("UA", "380", "0", "501234567"),
        ("IL", "972", "0", "502345678"),
        ("IN", "91", "0", "8123456789"),
        ("CN", "86", "0", "13123456789"),
        ("JP", "81", "0", "9012345678"),
        ("BR", "55", "0", "11961234567"),
        ("ZA", "27", "0", "711234567"),
        ("SG", "65", "", "81234567"),
        ("AE", "971", "0", "501234567"),
    ] {
        assert!(read(national).contains(&(countries, Form::Bare)), "{countries} {national}");
        let abroad = format!("{code}{national}");
        assert!(read(&abroad).contains(&(countries, Form::WithCode)), "{countries} {abroad}");
        if !trunk.is_empty() {
            let at_home = format!("{trunk}{national}");
            assert!(read(&at_home).contains(&(countries, Form::WithTrunk)), "{countries} {at_home}");
        }
    }
}

#[test]
fn numbers_that_no_plan_gives_out_are_in_none() {
    for (countries, number) in [
        ("US/CA", "1125550142"),
        ("US/CA", "2021550142"),
        ("ES", "512345678"),
        ("FR", "012345678"),
        // For fiction alone.
        ("FR", "639981234"),
        ("IE", "209108123"),
        ("GB", "1000000000"),
        ("JP", "1012345678"),
        ("SG", "11234567"),
    ] {
        assert!(!read(number).contains(&(countries, Form::Bare)), "{countries} {number}");
    }
    for nothing in
        ["", "1", "1234567", "+34612345678", "1234567890123456", "612 345 678", "６１２３４５６７８"]
    {
        let mut evidence = PlanEvidence::default();
        evidence.note(nothing.as_bytes());
        assert_eq!(evidence, PlanEvidence::default(), "{nothing}");
    }
}

#[test]
fn every_line_of_the_table_is_read() {
    let text = include_str!("plans.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(TABLE.plans_count(), lines);
    for plan in 0..u8::try_from(lines).unwrap() {
        let given = (7..=12).any(|length| TABLE.density(plan, length, 0..=9999) > 0.0);
        assert!(given, "{plan}");
    }
}

#[test]
fn a_column_is_told_by_the_gaps_of_its_plan() {
    const AREAS: [&str; 8] = ["212", "310", "415", "512", "617", "702", "786", "901"];
    let american =
        |number: u64| format!("{}{}{}", AREAS[number as usize % 8], 2 + number % 8, drawn(number, 6));
    let found = fit(american).unwrap();
    assert!(found.bits > 100.0 && found.count == 200, "{found:?}");
    assert_eq!(found.countries, None, "numbers of other countries begin so, too");
    let with_code = fit(|number| format!("1{}", american(number))).unwrap();
    assert!(with_code.bits > 100.0 && with_code.countries == Some("US/CA"), "{with_code:?}");
}

#[test]
fn counters_and_customers_numbers_are_no_evidence() {
    let strong = |make: &dyn Fn(u64) -> String| fit(make).map_or(0.0, |fit| fit.bits);
    // All of them are mobile numbers of Spain, but so is every number between the smallest and the largest.
    assert!(strong(&|number| format!("6{}", drawn(number, 8))) < 1.0);
    assert!(strong(&|number| (612_000_000 + number * 211_000).to_string()) < 1.0);
    // Two hundred numbers in a row are one number.
    assert!(strong(&|number| (2_125_550_000 + number).to_string()) < 5.0);
    for length in 8..=13 {
        assert!(
            strong(&|number| format!("{}{}", 1 + number % 9, drawn(number, length - 1))) < 1.0,
            "{length}"
        );
    }
    assert!(strong(&|number| (1_600_000_000 + number * 1_000_003).to_string()) < 1.0);
}

#[test]
fn evidence_in_two_parts_is_the_evidence_of_the_whole() {
    let number = |number: u64| format!("0{}{}", [30, 40, 89, 69][number as usize % 4], drawn(number, 7));
    let (mut whole, mut first, mut second) =
        (PlanEvidence::default(), PlanEvidence::default(), PlanEvidence::default());
    for at in 0..200 {
        whole.note(number(at).as_bytes());
        let part = if at < 100 { &mut first } else { &mut second };
        part.note(number(at).as_bytes());
    }
    first.merge(&second);
    assert_eq!(first.fit(), whole.fit());
    assert!(whole.tallies.len() < TALLIES_MAX && !whole.tallies.is_empty());
}

#[test]
fn any_values_take_bounded_room() {
    let mut evidence = PlanEvidence::default();
    for number in 0..20_000_u64 {
        let text = drawn(number, 20);
        let length = usize::try_from(number % 17).unwrap();
        // Every tenth has a byte among its digits that is none, some of them no UTF-8.
        let mut value = text.as_bytes()[..length].to_vec();
        if number % 10 == 0 && length > 0 {
            value[length / 2] = 0x80 | (number % 128) as u8;
        }
        evidence.note(&value);
        let part = evidence.clone();
        if number % 1_000 == 0 {
            evidence.merge(&part);
        }
        assert!(evidence.tallies.len() <= TALLIES_MAX);
    }
    assert_eq!(evidence.fit(), None);
}
