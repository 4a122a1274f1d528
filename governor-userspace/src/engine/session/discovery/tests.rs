//! What is learned from rows that pass, and what it means for those that come next.

use super::super::tests::stage::*;
use super::*;
use crate::engine::model::{Class, Timestamp};
use crate::engine::session::{ColumnPattern, Governance, Labels};

const CARD: &str = "4111111111111111";
const NOTE: [(&str, u32, i16); 1] = [("note", 20000, 3)];

fn place(column: &str) -> ColumnPlace {
    ColumnPlace {
        server: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
        database: "shop".into(),
        column: ColumnName { schema: "public".into(), relation: "people".into(), column: column.into() },
    }
}

fn said(what: Saying, category: Option<Category>, dismissed: &[Category]) -> Said {
    Said {
        what,
        category,
        dismissed: dismissed.to_vec(),
        reason: "because".into(),
        by: "alice".into(),
        uid: 7,
        at_unix_s: 1,
    }
}

/// Reads `values` of one column, as the client sees them.
fn read_as(s: &mut Stage, sql: &str, column: (&str, u32, i16), values: &[&str]) -> String {
    s.clear();
    s.client(&query(sql));
    let rows: Vec<u8> = values.iter().flat_map(|value| data_row(&[value])).collect();
    s.server(&[row_description(&[column]), rows, complete("SELECT"), ready(b'I')].concat());
    assert!(s.closed.is_none(), "{:?}", s.closed);
    String::from_utf8_lossy(&s.to_client).into_owned()
}

fn read(s: &mut Stage, values: &[&str]) -> String {
    read_as(s, "SELECT note FROM people", NOTE[0], values)
}

fn hand_over(s: &mut Stage) {
    s.governance.hand_over_findings(Timestamp { unix_ns: 5_000_000_000, monotonic_ns: 5_000_000_000 });
}

#[test]
fn a_column_of_one_kind_is_masked_as_a_whole_from_the_next_statement_on() {
    for class in [Class::Agent, Class::Person] {
        let mut s = Stage::ready(class);
        assert!(read(&mut s, &[&[CARD; 30][..], &["call me"]].concat()).contains("call me"));
        hand_over(&mut s);
        assert!(!read(&mut s, &["call me"]).contains("call me"), "what detectors miss is masked too");
        let record = s.governance.discovery.record(&place("note")).unwrap();
        assert_eq!(record.status(80), Status::Masked);
        assert_eq!((record.values, record.found.as_ref().unwrap().category), (31, Category::PaymentCard));
        let (changes, lost) = s.governance.discovery.take_changes();
        assert_eq!((changes.len(), lost), (1, 0));
        assert_eq!((changes[0].change, changes[0].masked_whole), (DataChange::Found, true));
        assert_eq!(changes[0].column, "public.people.note");
        let kept = serde_json::to_string(&(record, changes)).unwrap();
        assert!(!kept.contains(CARD) && !kept.contains("call me"), "no value is kept: {kept}");
    }
}

#[test]
fn below_the_threshold_and_without_one_only_values_are_masked() {
    for (settings, status) in [
        (DiscoverySettings { mask_from: 0, ..DiscoverySettings::default() }, Some(Status::Found)),
        (DiscoverySettings { enabled: false, mask_from: 80 }, None),
    ] {
        let mut s = Stage::ready(Class::Agent);
        s.governance.discovery = Arc::new(Discovery::new(settings, vec![]));
        read(&mut s, &[CARD; 30]);
        hand_over(&mut s);
        assert!(read(&mut s, &["call me"]).contains("call me"));
        assert!(!read(&mut s, &[CARD]).contains(CARD));
        let known = s.governance.discovery.record(&place("note"));
        assert_eq!(known.map(|record| record.status(settings.mask_from)), status);
    }
}

#[test]
fn free_text_that_begins_to_hold_cards_is_a_drift_and_stays_readable() {
    let mut s = Stage::ready(Class::Agent);
    for _ in 0..5 {
        read(&mut s, &["all is well"; 32]);
        hand_over(&mut s);
    }
    assert_eq!(s.governance.discovery.take_changes().0, []);
    let text = format!("paid with {CARD} yesterday");
    assert!(!read(&mut s, &[text.as_str(); 4]).contains(CARD));
    hand_over(&mut s);
    let (changes, _) = s.governance.discovery.take_changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((changes[0].change, changes[0].masked_whole), (DataChange::Drift, false));
    assert_eq!(changes[0].kinds, [Category::PaymentCard]);
    assert!(read(&mut s, &["all is well"]).contains("all is well"));
    let record = s.governance.discovery.record(&place("note")).unwrap();
    assert_eq!((record.status(80), record.within[&Category::PaymentCard]), (Status::Mixed, 4));
    assert_eq!(record.drifted_unix_s, Some(5));
    hand_over(&mut s);
    assert_eq!(s.governance.discovery.take_changes().0, [], "told once");
}

#[test]
fn a_column_that_turns_into_another_kind_is_a_drift() {
    let mut s = Stage::ready(Class::Agent);
    for _ in 0..5 {
        read(&mut s, &["all is well"; 32]);
        hand_over(&mut s);
    }
    for _ in 0..15 {
        read(&mut s, &["louis@example.com"; 32]);
        hand_over(&mut s);
    }
    let (changes, _) = s.governance.discovery.take_changes();
    let told: Vec<_> = changes.iter().map(|change| (change.change, change.masked_whole)).collect();
    assert_eq!(told, [(DataChange::Drift, false), (DataChange::Masked, true)], "{changes:?}");
    assert_eq!(changes[1].category, Some(Category::Email));
    assert!(!read(&mut s, &["all is well"]).contains("all is well"));
}

#[test]
fn an_operators_word_counts_at_once_in_every_session_and_worker() {
    let mut s = Stage::ready(Class::Agent);
    // Another worker has the catalogue too, and shares nothing else.
    let mut other = Stage::ready(Class::Agent);
    other.governance.discovery = s.governance.discovery.clone();
    assert!(read(&mut s, &["plain"]).contains("plain") && read(&mut other, &["plain"]).contains("plain"));
    for (word, shows) in [
        (said(Saying::Labelled, Some(Category::Health), &[]), false),
        (said(Saying::Dismissed, None, &[]), true),
        (said(Saying::Confirmed, Some(Category::Iban), &[]), false),
    ] {
        s.governance.discovery.say(&place("note"), word.clone());
        for stage in [&mut s, &mut other] {
            assert_eq!(read(stage, &["plain"]).contains("plain"), shows, "{word:?}");
            assert_eq!(stage.server_kinds(), "Q", "nothing is read again for it");
        }
    }
}

#[test]
fn a_dismissal_beats_the_name_and_never_the_detectors() {
    let mut s = Stage::ready(Class::Agent);
    let email = ("email", 20000, 2);
    let sql = "SELECT email FROM people";
    assert!(!read_as(&mut s, sql, email, &["plain"]).contains("plain"));
    s.governance.discovery.say(&place("email"), said(Saying::Dismissed, None, &[]));
    let shown = read_as(&mut s, sql, email, &["plain", "louis@example.com"]);
    assert!(shown.contains("plain") && !shown.contains("louis@example.com"));
}

#[test]
fn a_dismissal_is_about_what_was_found_then() {
    let mut s = Stage::ready(Class::Agent);
    let dismissed = said(Saying::Dismissed, None, &[Category::PaymentCard]);
    s.governance.discovery.say(&place("note"), dismissed);
    read(&mut s, &[CARD; 30]);
    hand_over(&mut s);
    assert!(read(&mut s, &["plain"]).contains("plain"), "that kind was dismissed");
    for _ in 0..15 {
        read(&mut s, &["louis@example.com"; 32]);
        hand_over(&mut s);
    }
    let record = s.governance.discovery.record(&place("note")).unwrap();
    if record.found.as_ref().unwrap().category == Category::Email {
        assert!(!read(&mut s, &["plain"]).contains("plain"), "another was not");
    } else {
        assert_eq!(record.status(80), Status::Dismissed);
    }
}

#[test]
fn the_operators_files_come_first() {
    let pattern = ColumnPattern { schema: "public".into(), relation: "people".into(), column: "note".into() };
    let clear = Labels { clear: vec![pattern.clone()], ..Labels::default() };
    let sensitive = Labels { sensitive: vec![(pattern, Category::Other)], ..Labels::default() };
    for (labels, word, shows) in [
        (clear, said(Saying::Labelled, Some(Category::Health), &[]), true),
        (sensitive, said(Saying::Dismissed, None, &[]), false),
    ] {
        let mut s = Stage::new(Class::Agent);
        s.governance.labels = Arc::new(labels);
        s.connect();
        s.governance.discovery.say(&place("note"), word);
        assert_eq!(read(&mut s, &["plain"]).contains("plain"), shows);
    }
}

/// The configuration promised it, and only names counted.
#[test]
fn a_cleared_column_is_shown_whatever_its_values_look_like() {
    let clear = ["note", "email"].map(|column| ColumnPattern {
        schema: "public".into(),
        relation: "people".into(),
        column: column.into(),
    });
    let mut s = Stage::new(Class::Agent);
    s.governance.labels = Arc::new(Labels { clear: clear.into(), ..Labels::default() });
    s.connect();
    for (sql, column) in
        [("SELECT note FROM people", NOTE[0]), ("SELECT email FROM people", ("email", 20000, 2))]
    {
        assert!(read_as(&mut s, sql, column, &["louis@example.com"]).contains("louis@example.com"), "{sql}");
    }
    let derived = read_as(&mut s, "SELECT upper(note) AS x FROM people", ("x", 0, 0), &["louis@example.com"]);
    assert!(!derived.contains("louis@example.com"), "what is no column as it is is looked at");
}

#[test]
fn a_ruling_is_followed_into_views_and_a_view_tells_of_its_table() {
    let view: &[&[&str]] = &[
        &["r", "20100", "public", "remarks", "v", "20101", "0"],
        &["c", "20100", "1", "remark", "25"],
        &["v", "20100", "SELECT people.note AS remark FROM public.people"],
    ];
    let mut s = Stage::ready_with(Class::Agent, view);
    let (sql, column) = ("SELECT remark FROM remarks", ("remark", 20100, 1));
    assert!(read_as(&mut s, sql, column, &[&[CARD; 30][..], &["plain"]].concat()).contains("plain"));
    hand_over(&mut s);
    assert_eq!(s.governance.discovery.record(&place("note")).map(|record| record.values), Some(31));
    assert!(!read_as(&mut s, sql, column, &["plain"]).contains("plain"));
    assert!(!read(&mut s, &["plain"]).contains("plain"));
}

#[test]
fn a_portal_that_was_described_before_is_decided_again() {
    let mut s = Stage::ready(Class::Agent);
    s.client(
        &[parse("s", "SELECT note FROM people"), bind("", "s"), describe(""), execute(""), sync()].concat(),
    );
    let rows = || [row_description(&NOTE), data_row(&["plain"]), complete("SELECT 1"), ready(b'T')].concat();
    s.server(&[message(b'1', b""), message(b'2', b""), rows()].concat());
    assert!(String::from_utf8_lossy(&s.to_client).contains("plain"));
    s.clear();
    s.governance.discovery.say(&place("note"), said(Saying::Labelled, Some(Category::Other), &[]));
    s.client(&[execute(""), sync()].concat());
    s.server(&rows());
    assert!(!String::from_utf8_lossy(&s.to_client).contains("plain"), "{}", s.client_kinds());
}

#[test]
fn a_catalogue_made_under_older_rulings_is_not_taken_as_it_is() {
    let s = Stage::ready(Class::Agent);
    let mut late = Governance::new(
        s.governance.policy.clone(),
        s.governance.masker.clone(),
        Arc::default(),
        s.governance.limits.clone(),
    );
    late.discovery = s.governance.discovery.clone();
    let (server, database, old) = s.governance.discovery.catalogues().remove(0);
    s.governance.discovery.say(&place("note"), said(Saying::Labelled, Some(Category::Other), &[]));
    late.learn_catalogue(server.clone(), database.clone(), old);
    let taken = late.catalogue(server, &database).unwrap();
    assert_eq!(taken.category(20000, 3), Some(Category::Other));
}

#[test]
fn memory_is_bounded_and_what_matters_stays() {
    let discovery = Discovery::default();
    let numbered = |n: usize| {
        let mut place = place("x");
        place.column.column = n.to_string();
        place
    };
    discovery.say(&numbered(0), said(Saying::Labelled, Some(Category::Other), &[]));
    let mut columns = discovery.columns();
    for n in 0..COLUMNS_COUNT_MAX + 10 * FORGOTTEN_AT_ONCE {
        columns.of(&numbered(n), n as u64).unwrap();
        assert!(columns.count <= COLUMNS_COUNT_MAX);
    }
    assert_eq!(columns.count, columns.by_database.values().map(HashMap::len).sum::<usize>());
    drop(columns);
    assert!(discovery.record(&numbered(0)).is_some_and(|record| record.said.is_some()));
    assert!(discovery.record(&numbered(1)).is_none(), "the oldest that are nothing went");
}

#[test]
fn of_a_long_result_a_sample_is_looked_at() {
    let taken = |result: u64| (0..1_000).filter(|row| Collector::takes(*row, result)).count();
    assert_eq!(taken(0), 32 + 968 / 16 + 1);
    let rows =
        |result: u64| (32..1_000).filter(move |row| Collector::takes(*row, result)).collect::<Vec<_>>();
    assert_ne!(rows(0), rows(1), "another one of the next result");
}

#[test]
fn records_come_back_from_their_text() {
    let mut s = Stage::ready(Class::Agent);
    read(&mut s, &[CARD; 30]);
    let text = format!("see {CARD} there");
    read(&mut s, &[text.as_str(); 3]);
    hand_over(&mut s);
    let record = s.governance.discovery.say(&place("note"), said(Saying::Dismissed, None, &[Category::Iban]));
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<ColumnRecord>(&text).unwrap(), record, "{text}");
    let again = Discovery::new(DiscoverySettings::default(), vec![record.clone()]);
    assert_eq!(again.records(), [record]);
}
