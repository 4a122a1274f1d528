//! Names of many forms, and what only looks like one.

use super::*;

fn confidence(value: &str) -> Option<(Kind, u8)> {
    look(value.as_bytes()).name
}

#[test]
fn full_names_count_by_themselves() {
    for name in [
        "Cassandra Johnson",
        "Kathleen Yates-Patel",
        "Dr. Hildegund Hartung",
        "Univ.Prof. Senta Grein Groth B.Eng.",
        "Franz-Josef Albers",
        "Marta Löwer B.Eng.",
        "María Belén García Pérez",
        "Benoît Lefèvre",
        "Mr. John Smith",
        "Jan van der Berg",
        "Smith, John",
        "JOHN SMITH",
        "Łukasz Wójcik",
        "Ayşe Yılmaz",
        "Jürgen Groß",
        "Sean O'Neill",
        "Mary Ann Evans Jr.",
        "Rajesh Sharma",
        "Hiroshi Tanaka",
    ] {
        assert!(
            confidence(name).is_some_and(|(kind, c)| kind == Kind::PersonName && c >= 50),
            "{name}: {:?}",
            confidence(name)
        );
    }
}

#[test]
fn one_word_is_weak_evidence() {
    for (name, kind) in [
        ("Harry", Kind::GivenName),
        ("Llabrés", Kind::FamilyName),
        ("müller", Kind::FamilyName),
        ("Christa-Maria", Kind::GivenName),
    ] {
        assert_eq!(confidence(name).map(|(found, c)| (found, c < 50)), Some((kind, true)), "{name}");
    }
}

#[test]
fn other_words_are_no_names() {
    for text in [
        "Quality Method",
        "Cup Relationship",
        "Gallagher LLC",
        "Hnos Elías S.L.",
        "Jacob Vogt GbR",
        "closed",
        "Rich Surface",
        "Grace Park",
        "Rose Garden",
        "South Martinbury",
        "Customer Service",
        "Blue Ocean",
        "Santa Cruz",
        "New York",
        "in progress",
        "Paris Office",
        "Jordan River",
        "Virginia Beach",
        "Madison Square",
        "Young-Bowen & Sons",
        "Franco, Barker and Schmidt",
        "ACTIVE",
        "a",
        "",
        "John 3",
        "total amount",
        "Charlotte Station",
        "Mercedes Service",
    ] {
        assert!(confidence(text).is_none_or(|(_, c)| c < 50), "{text}: {:?}", confidence(text));
    }
    assert!(look(b"Gallagher LLC").organisation && look("Hnos Elías S.L.".as_bytes()).organisation);
}

#[test]
fn names_stand_in_text() {
    let found = |text: &str| {
        let mut ranges = Vec::new();
        find(text.as_bytes(), |range| ranges.push(text[range].to_owned()));
        ranges
    };
    assert_eq!(found("spoke with Andre Rollins about it"), ["Andre Rollins"]);
    assert_eq!(found("ask Mrs. Schmidt or Karl Müller."), ["Mrs. Schmidt", "Karl Müller"]);
    assert_eq!(
        found("Please escalate. Old market accept cold sister kit. SELECT Name FROM Users"),
        Vec::<String>::new()
    );
    assert_eq!(
        found("Miss Dorothy Powell living at").last().map(String::as_str),
        Some("Miss Dorothy Powell")
    );
}

#[test]
fn lists_hold_folded_words_only() {
    for list in given::GIVEN.iter().chain(family::FAMILY) {
        assert!(list.bytes().all(|b| b.is_ascii_lowercase() || b == b' '), "{list}");
    }
    assert!(folded::words_count() > 8000);
}
