//! Operators' detectors: what they find, and each reason to refuse one.

use super::super::{Detectors, Finding};
use super::*;

fn pattern(name: &str, pattern: &str) -> UserDetector {
    UserDetector {
        name: name.into(),
        category: Category::Other,
        matches: UserMatch::Pattern(pattern.into()),
        checksum: None,
        confidence_percent: 80,
        context: Vec::new(),
    }
}

fn words(name: &str, words: &[&str]) -> UserDetector {
    UserDetector {
        matches: UserMatch::Dictionary(words.iter().map(|w| (*w).to_owned()).collect()),
        ..pattern(name, "x")
    }
}

fn problem(defined: Vec<UserDetector>) -> UserDetectorProblem {
    Detectors::with_user_defined(defined).map(|_| ()).expect_err("is refused").problem
}

#[test]
fn patterns_and_words_are_found_whole_and_in_text() {
    let defined =
        vec![pattern("badge", "[A-Z]{2}-[0-9]{4}"), words("project", &["Blue Falcon", "nightfall"])];
    let detectors = Detectors::with_user_defined(defined).unwrap();
    let found = |value: &str| {
        detectors.detect(value.as_bytes()).map(|f: Finding| detectors.name(f.detector).to_owned())
    };
    assert_eq!(found("AB-1234").as_deref(), Some("badge"));
    assert_eq!(found("AB-12345"), None);
    assert_eq!(found("NightFall").as_deref(), Some("project"));
    assert_eq!(found("nightfalls"), None);
    let mut out = Vec::new();
    detectors.find_in_text(b"about blue falcon and AB-1234, not XAB-1234", &mut out);
    assert_eq!(out, [(6..17, Category::Other), (22..29, Category::Other)]);
    assert_eq!(detectors.list().filter(|(id, ..)| id.user_index().is_some()).count(), 2);
}

#[test]
fn checksums_decide() {
    let cases = [
        (Checksum::Luhn, "79927398713", "79927398714"),
        (Checksum::Verhoeff, "234567890124", "234567890125"),
        (Checksum::Mod97, "210501700012345678991179", "210501700012345678991180"),
        (Checksum::Mod11, "0306406152", "0306406153"),
    ];
    for (checksum, good, bad) in cases {
        let defined = UserDetector { checksum: Some(checksum), ..pattern("member", "[0-9]{10,26}") };
        let detectors = Detectors::with_user_defined(vec![defined]).unwrap();
        let is_found = |value: &str| {
            detectors.detect(value.as_bytes()).is_some_and(|f| detectors.name(f.detector) == "member")
        };
        assert!(is_found(good) && !is_found(bad), "{checksum:?}");
    }
}

#[test]
fn context_words_stand_in_the_name_or_before_the_value() {
    let defined = UserDetector { context: vec!["badge".into()], ..pattern("badge_no", "[0-9]{5}x") };
    let detectors = Detectors::with_user_defined(vec![defined]).unwrap();
    assert!(detectors.detect(b"12345x").is_none());
    assert!(detectors.detect_in(ColumnContext::by_name("employee_badge", false), b"12345x").is_some());
    assert!(detectors.detect_in(ColumnContext::by_name("employee", false), b"12345x").is_none());
    let mut out = Vec::new();
    detectors.find_in_text(
        b"his Badge is 12345x, the box 54321x stands on the other side of the long hall",
        &mut out,
    );
    assert_eq!(out.first().map(|(range, _)| range.clone()), Some(13..19));
    out.clear();
    detectors.find_in_text(b"the box 54321x", &mut out);
    assert_eq!(out, []);
}

#[test]
fn every_reason_to_refuse_is_told() {
    use UserDetectorProblem as P;
    assert_eq!(problem(vec![pattern("Badge", "a{1,9}")]), P::Name);
    assert_eq!(problem(vec![pattern("", "a{1,9}")]), P::Name);
    assert_eq!(problem(vec![pattern("us_ssn", "a{1,9}")]), P::Taken, "a built-in name");
    assert_eq!(problem(vec![pattern("badge", "a{1,9}"), pattern("badge", "b{1,9}")]), P::Taken);
    assert!(matches!(problem(vec![pattern("badge", "a(")]), P::Pattern(_)));
    assert!(matches!(problem(vec![pattern("badge", "a)|(b")]), P::Pattern(_)));
    assert!(matches!(problem(vec![pattern("badge", r"(a)\1")]), P::Pattern(_)), "no back references");
    assert_eq!(problem(vec![pattern("badge", "a*")]), P::MatchesEmpty);
    assert_eq!(problem(vec![pattern("badge", "(?:)|x")]), P::MatchesEmpty);
    assert_eq!(problem(vec![pattern("badge", "(?:[a-z]{1000}){1000}")]), P::TooLarge);
    assert_eq!(problem(vec![pattern("badge", r"ACME-\d{1,9}(?:.*secret)?")]), P::Unbounded);
    assert_eq!(problem(vec![pattern("badge", "[a-z]{2000}")]), P::Unbounded);
    assert_eq!(problem(vec![words("badge", &[" "])]), P::NoWords);
    assert_eq!(problem(vec![words("badge", &["ab"])]), P::ShortWord("ab".into()));
    assert_eq!(
        problem(vec![words("badge", &[&"w".repeat(WORD_BYTES_MAX + 1)])]),
        P::LongWord(WORD_BYTES_MAX + 1)
    );
    assert_eq!(problem(vec![words("badge", &["word"; WORDS_MAX + 1])]), P::ManyWords);
    assert_eq!(problem(vec![pattern("badge", r"\b")]), P::MatchesEmpty);
    assert_eq!(problem(vec![UserDetector { confidence_percent: 0, ..pattern("badge", "a") }]), P::Confidence);
    let odd = UserDetector { context: vec!["two words".into()], ..pattern("badge", "a") };
    assert_eq!(problem(vec![odd]), P::Context("two words".into()));
    let many = (0..=DETECTORS_MAX).map(|at| pattern(&format!("badge{at}"), "a")).collect();
    assert_eq!(problem(many), P::Many);
}

/// Nearly fits everywhere, so each of its starts reads a thousand bytes.
const DEAR: &str = "[a-z]{1,1000}x|[a-z]";

#[test]
fn what_cannot_be_searched_to_its_end_is_a_finding_as_a_whole() {
    let text = "a".repeat(200_000);
    let dear = Detectors::with_user_defined(vec![pattern("dear", DEAR)]).unwrap();
    let many = vec!["a".repeat(1000) + "b", "aaa".into()];
    let dear_words = UserDetector { matches: UserMatch::Dictionary(many), ..pattern("dear", "x") };
    let dear_words = Detectors::with_user_defined(vec![dear_words]).unwrap();
    for detectors in [dear, dear_words] {
        let mut out = vec![(0..1, Category::Email)];
        let finding = detectors.search(ColumnContext::UNKNOWN, text.as_bytes(), &mut out).unwrap();
        assert!(finding.is_unfinished() && detectors.name(finding.detector).is_empty());
        out.truncate(1);
        assert!(!detectors.find_in_text(text.as_bytes(), &mut out));
        assert_eq!(
            out,
            [(0..1, Category::Email), (0..text.len(), Category::Other)],
            "what was found before stays"
        );
        // The same detectors go on finding what is ordinary.
        out.clear();
        assert!(detectors.find_in_text(b"write to alice@example.com - 7", &mut out));
        assert!(out.contains(&(9..26, Category::Email)), "{out:?}");
        assert_eq!(detectors.detect(b"4111111111111111").map(|f| f.category), Some(Category::PaymentCard));
    }
}

#[test]
fn ordinary_detectors_never_want_for_an_allowance() {
    // As many as there may be, half of them with classes of all scripts.
    let defined: Vec<UserDetector> = (0..DETECTORS_MAX)
        .map(|at| match at % 4 {
            0 => pattern(&format!("badge{at}"), &format!(r"\bK{at}-\d{{4,8}}\b")),
            1 => pattern(&format!("badge{at}"), &format!(r"\pL{{1,9}}[-/]{at}\d{{3}}")),
            2 => pattern(
                &format!("badge{at}"),
                &format!("(?i)[a-z0-9]{{2,12}}(?:-[a-z0-9]{{2,12}}){{1,3}}-{at}x"),
            ),
            _ => words(
                &format!("project{at}"),
                &["Blue Falcon", "nightfall", "ein langes Wort, das selten steht"],
            ),
        })
        .collect();
    let detectors = Detectors::with_user_defined(defined).unwrap();
    let sentence = "Die Rechnung 4711 von Müller-Thurgau kam am Montag, sagte sie; order ab-12-cd, please. ";
    for bytes in [0, 1, 7, 20, 100, 1_000, 1_024, 1_025, 10_000, 300_000] {
        let mut text: String = sentence.chars().cycle().take(bytes).collect();
        let mut out = Vec::new();
        let clean = detectors.search(ColumnContext::UNKNOWN, text.as_bytes(), &mut out);
        assert!(clean.is_none() && out.is_empty(), "{bytes}: {clean:?} {out:?}");
        text.push_str(" K4-12345");
        assert!(detectors.find_in_text(text.as_bytes(), &mut out));
        assert_eq!(out, [(text.len() - 8..text.len(), Category::Other)], "{bytes}");
    }
}
