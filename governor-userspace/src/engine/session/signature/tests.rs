//! Names in questions, and what answers are taken for.

use super::*;
use crate::engine::model::{CatalogueBuilder, Column, DatabaseIdentity, SearchPath, Timestamp};
use crate::engine::session::catalogue::{Labels, Rulings};
use crate::engine::sql::{PostgresDialect, SqlDialect};

/// Relations of one column each, by number, schema and name; `parent` is 0 for none.
fn catalogue(relations: &[(Oid, &str, &str, Oid)], stamps: &[(Oid, u32)]) -> Catalogue {
    let mut builder = CatalogueBuilder::default();
    for (oid, schema, name, parent) in relations {
        let column = Column { attribute: 1, name: "ssn".into(), type_oid: 25, characters_max: 0 };
        let relation = Relation {
            oid: *oid,
            schema: (*schema).into(),
            name: (*name).into(),
            kind: RelationKind::Table,
            columns: [column].into(),
            parents: (*parent != 0).then_some(*parent).into_iter().collect(),
            definition: None,
            rows_estimate: None,
        };
        builder.relation(relation, 0);
    }
    for (oid, written) in stamps {
        builder.stamps.add_read(*oid, *written);
    }
    let (labels, rulings, dialect) = (Labels::default(), Rulings::default(), PostgresDialect::default());
    Catalogue::new(builder.finish(), &labels, &rulings, &dialect, Timestamp::default())
}

fn state() -> SessionState {
    let mut state = SessionState::unknown("a test");
    state.search_path = SearchPath::Known(vec!["public".into()]);
    state
}

fn relied(sql: &str, catalogue: &Catalogue) -> Relied {
    let mut relied = Relied::default();
    for statement in PostgresDialect::default().script(sql).statements {
        relied.add(&statement, &statement, catalogue, &state());
    }
    relied
}

#[test]
fn every_bearer_of_a_name_is_asked_about_in_whatever_schema() {
    let known = catalogue(
        &[(20_000, "public", "people", 0), (20_001, "old", "people", 0)],
        &[(20_000, 7), (20_001, 9)],
    );
    let asks = relied("SELECT ssn FROM public.people", &known);
    let question = asks.question(&known).unwrap();
    assert!(question.contains("'{\"people\"}'"), "{question}");
    assert_eq!(asks.expected(&known)[0], "20000.0.0.7.0 20001.0.0.9.0;0;");
    assert!(asks.expected(&known)[1].ends_with(";0;20000"), "{:?}", asks.expected(&known));
}

#[test]
fn another_stamp_is_another_answer_and_an_unconcerned_one_is_none() {
    let relations = [(20_000, "public", "people", 0), (20_001, "public", "orders", 0)];
    let before = catalogue(&relations, &[(20_000, 7), (20_001, 3)]);
    let asks = relied("SELECT ssn FROM people", &before);
    assert!(asks.is_same(&before, &catalogue(&relations, &[(20_000, 7), (20_001, 4)])));
    assert!(!asks.is_same(&before, &catalogue(&relations, &[(20_000, 8), (20_001, 3)])));
    assert!(!asks.is_same(&before, &catalogue(&relations[1..], &[(20_001, 3)])), "it is gone");
}

#[test]
fn another_database_of_the_same_name_is_another_answer() {
    let relations = [(20_000, "public", "people", 0)];
    let made = |oid| {
        let mut catalogue = catalogue(&relations, &[(20_000, 7)]);
        let mut builder = CatalogueBuilder::default();
        builder.identity(DatabaseIdentity { cluster: 1, oid });
        for relation in catalogue.data.relations() {
            builder.relation(relation.clone(), 0);
        }
        catalogue.data = std::sync::Arc::new(builder.finish());
        catalogue
    };
    let (before, after) = (made(5), made(6));
    let asks = relied("SELECT ssn FROM people", &before);
    assert!(asks.question(&before).unwrap().contains("pg_catalog.pg_database"));
    assert!(asks.is_same(&before, &made(5)) && !asks.is_same(&before, &after));
}

#[test]
fn children_are_told_by_their_parents() {
    let known = catalogue(&[(20_000, "public", "visits", 0), (20_001, "public", "visits_low", 20_000)], &[]);
    let asks = relied("SELECT v.ssn FROM visits v, visits_low l", &known);
    assert!(!asks.question(&known).unwrap().contains("visits_low"));
    let asks = relied("SELECT ssn FROM visits_low", &known);
    assert!(asks.question(&known).unwrap().contains("visits_low"), "by itself it is asked about");
}

#[test]
fn what_nobody_else_can_change_needs_no_question() {
    let known = catalogue(&[(20_000, "public", "people", 0)], &[]);
    for sql in [
        "SELECT 1",
        "SELECT pg_catalog.upper('x')",
        "SELECT relname FROM pg_catalog.pg_class",
        "SELECT '7'::int, 'now'::timestamp",
    ] {
        assert!(relied(sql, &known).is_nothing(), "{sql}");
    }
    assert!(!relied("SELECT ssn FROM people", &known).is_nothing());
}

#[test]
fn a_name_that_one_more_may_bear_is_asked_about() {
    let known = catalogue(&[(20_000, "public", "people", 0)], &[]);
    for sql in [
        "SELECT upper('x')",
        "SELECT 1 + 1",
        "SELECT 'x'::text",
        "SELECT $1::int",
        "SELECT CAST(1 AS ok)",
        "SELECT count(*) FROM pg_class",
    ] {
        assert!(!relied(sql, &known).is_nothing(), "{sql}");
    }
}

#[test]
fn what_is_written_has_its_triggers_and_defaults_asked_about() {
    let known = catalogue(&[(20_000, "public", "people", 0)], &[]);
    let asks = |sql| relied(sql, &known).question(&known).unwrap().contains("pg_trigger");
    assert!(asks("UPDATE people SET ssn = '' RETURNING ssn"));
    assert!(!asks("SELECT ssn FROM people"));
}

#[test]
fn no_name_leaves_its_literal() {
    for name in ["o'clock", "a\"b", "a\\b", "}", ",", "naïve", "{}", "a b", "--", "$1", "\u{1f600}"] {
        let known = catalogue(&[(20_000, "public", name, 0)], &[]);
        let sql = format!("SELECT ssn FROM \"{}\"", name.replace('"', "\"\""));
        let question = relied(&sql, &known).question(&known).unwrap();
        let facts = PostgresDialect::default().script(&question).statements;
        assert_eq!(facts.len(), 1, "{question}");
        assert!(facts[0].unknown.is_none(), "{name}: {question}");
        let read: Vec<&str> = facts[0].reads.iter().map(|r| r.name.as_str()).collect();
        assert!(read.iter().all(|name| name.starts_with("pg_")), "{read:?}");
    }
    assert_eq!(literal(["zero\0byte"].into_iter()), None);
    assert_eq!(literal([].into_iter()).as_deref(), Some("'{}'"));
    // {"o'clock"}
    let hex = "pg.convert_from(pg.decode('7b226f27636c6f636b227d', 'hex'), 'UTF8')";
    assert_eq!(literal(["o'clock"].into_iter()).as_deref(), Some(hex));
}

#[test]
fn more_names_than_are_asked_about_are_doubt() {
    let names: Vec<String> = (0..=NAMES_MAX).map(|n| format!("t{n}")).collect();
    let relations: Vec<_> =
        (20_000..).zip(&names).map(|(oid, name)| (oid, "public", name.as_str(), 0)).collect();
    let known = catalogue(&relations, &[]);
    let mut asks = Relied::default();
    for name in &names {
        let statement =
            PostgresDialect::default().script(&format!("SELECT ssn FROM {name}")).statements.remove(0);
        asks.add(&statement, &statement, &known, &state());
    }
    assert_eq!(asks.question(&known), None);
    assert!(!asks.is_same(&known, &known));
}
