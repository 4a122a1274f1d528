//! Columns under other names, from reading to reading.

use super::super::*;
use super::*;
use crate::engine::masking::Category;
use crate::engine::model::{CatalogueBuilder, Column, DatabaseIdentity, Relation as Table, RelationKind};
use crate::engine::session::ColumnPattern;
use crate::engine::sql::PostgresDialect;

const TEXT: u32 = 25;

/// One relation: its number, its name, its columns.
type Written = (Oid, &'static str, &'static [(i16, &'static str)]);

const ACCOUNTS: Written = (20_000, "accounts", &[(1, "id"), (2, "password"), (3, "note")]);
const RENAMED: Written = (20_000, "accounts", &[(1, "id"), (2, "remark"), (3, "note")]);

struct Database {
    discovery: Discovery,
    labels: Labels,
    server: Endpoint,
    seconds: u64,
    /// Its foreign keys: what is referenced, what references.
    keys: Vec<(ColumnId, ColumnId)>,
    column_type: u32,
}

impl Database {
    fn new() -> Self {
        let server = Endpoint::tcp([127, 0, 0, 1].into(), 5432);
        let (discovery, labels) = (Discovery::default(), Labels::default());
        Self { discovery, labels, server, seconds: 1, keys: vec![], column_type: TEXT }
    }

    /// What its catalogue looks like when it is read now.
    fn read(&mut self, cluster: Option<i64>, relations: &[Written]) -> Catalogue {
        self.seconds += 1;
        self.read_at(self.seconds, cluster, relations)
    }

    fn read_at(&self, seconds: u64, cluster: Option<i64>, relations: &[Written]) -> Catalogue {
        let mut builder = CatalogueBuilder::default();
        for (referenced, referencing) in &self.keys {
            builder.same_values(*referenced, *referencing);
        }
        for (oid, name, columns) in relations {
            let column = |(attribute, name): &(i16, &str)| Column {
                attribute: *attribute,
                name: (*name).into(),
                type_oid: self.column_type,
                characters_max: 0,
            };
            let relation = Table {
                oid: *oid,
                schema: "public".into(),
                name: (*name).into(),
                kind: RelationKind::Table,
                columns: columns.iter().map(column).collect(),
                parents: Box::default(),
                definition: None,
                rows_estimate: None,
            };
            builder.relation(relation, 0);
        }
        if let Some(cluster) = cluster {
            builder.identity(DatabaseIdentity { cluster, oid: 5 });
        }
        let now = Timestamp { unix_ns: seconds * 1_000_000_000, monotonic_ns: seconds * 1_000_000_000 };
        let rulings = self.discovery.rulings(self.server.clone(), "shop");
        let dialect = PostgresDialect::default();
        let read = Catalogue::new(builder.finish(), &self.labels, &rulings, &dialect, now);
        self.discovery.follow_names(&self.server, "shop", read, &self.labels, now)
    }

    fn say(&self, relation: &str, column: &str, what: Saying, category: Option<Category>, at_unix_s: u64) {
        let column = name(relation, column);
        let place = ColumnPlace { server: self.server.clone(), database: "shop".into(), column };
        let (reason, by) = ("because".into(), "alice".into());
        self.discovery.say(&place, Said { what, category, dismissed: vec![], reason, by, uid: 7, at_unix_s });
    }

    /// Another agent, which knows what this one leaves behind.
    fn restart(self) -> Self {
        let remembered: Vec<_> = self.discovery.remembered().1.relations().collect();
        let kept = serde_json::to_string(&(self.discovery.records(), remembered)).unwrap();
        let (records, remembered) = serde_json::from_str(&kept).unwrap();
        let discovery = Discovery::new(DiscoverySettings::default(), records).recall(remembered);
        Self { discovery, ..self }
    }
}

fn name(relation: &str, column: &str) -> ColumnName {
    ColumnName { schema: "public".into(), relation: relation.into(), column: column.into() }
}

fn hides(catalogue: &Catalogue, relation: &str, column: &str) -> bool {
    catalogue.category_of(&name(relation, column)).is_some()
}

#[test]
fn a_column_that_is_renamed_stays_sensitive_and_that_is_told_once() {
    let mut db = Database::new();
    assert!(hides(&db.read(Some(7), &[ACCOUNTS]), "accounts", "password"));
    assert_eq!(db.discovery.take_changes().0, []);
    for _ in 0..3 {
        let read = db.read(Some(7), &[RENAMED]);
        assert_eq!(read.category_of(&name("accounts", "remark")), Some(Category::Credential));
        assert!(!hides(&read, "accounts", "note") && !hides(&read, "accounts", "id"));
    }
    let (changes, _) = db.discovery.take_changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let told = &changes[0];
    assert_eq!((told.change, told.masked_whole), (DataChange::Renamed, true));
    assert_eq!((told.column.as_str(), told.category), ("public.accounts.remark", Some(Category::Credential)));
    assert_eq!(told.formerly.as_deref(), Some("public.accounts.password"));
    // And on, by steps that each look harmless.
    let further: Written = (20_000, "things", &[(1, "id"), (2, "colour"), (3, "note")]);
    assert!(hides(&db.read(Some(7), &[further]), "things", "colour"));
    assert_eq!(db.discovery.take_changes().0[0].formerly.as_deref(), Some("public.accounts.password"));
    // Back: its name tells again, and nothing is left of the others.
    assert!(hides(&db.read(Some(7), &[ACCOUNTS]), "accounts", "password"));
}

#[test]
fn a_table_that_takes_the_name_of_another_brings_what_it_holds() {
    let mut db = Database::new();
    let products: Written = (20_001, "products", &[(1, "id"), (2, "label")]);
    assert!(!hides(&db.read(None, &[ACCOUNTS, products]), "products", "label"));
    db.say("products", "label", Saying::Dismissed, None, 2);
    let swapped: [Written; 2] = [
        (20_000, "products", &[(1, "id"), (2, "label"), (3, "note")]),
        (20_001, "p", &[(1, "id"), (2, "label")]),
    ];
    let read = db.read(None, &swapped);
    assert!(hides(&read, "products", "label"), "what was dismissed is another column");
    assert!(!hides(&read, "p", "label"));
    let read = db.read(None, &[ACCOUNTS, products]);
    assert!(!hides(&read, "products", "label"), "the name is its first owner's again");
}

#[test]
fn two_columns_that_swap_their_names_are_both_hidden() {
    let mut db = Database::new();
    db.read(None, &[ACCOUNTS]);
    let swapped: Written = (20_000, "accounts", &[(1, "id"), (2, "note"), (3, "password")]);
    let read = db.read(None, &[swapped]);
    assert!(hides(&read, "accounts", "note") && hides(&read, "accounts", "password"));
}

#[test]
fn the_operator_has_the_last_word() {
    let mut db = Database::new();
    db.read(None, &[ACCOUNTS]);
    assert!(hides(&db.read(None, &[RENAMED]), "accounts", "remark"));
    db.say("accounts", "remark", Saying::Dismissed, None, db.seconds);
    for _ in 0..2 {
        assert!(!hides(&db.read(None, &[RENAMED]), "accounts", "remark"));
    }
    let mut db = db.restart();
    assert!(!hides(&db.read(None, &[RENAMED]), "accounts", "remark"));

    let mut db = Database::new();
    db.read(None, &[ACCOUNTS]);
    let pattern = ["public", "accounts", "remark"].map(str::to_owned);
    let [schema, relation, column] = pattern;
    db.labels.clear.push(ColumnPattern { schema, relation, column });
    assert!(!hides(&db.read(None, &[RENAMED]), "accounts", "remark"));
    assert_eq!(db.discovery.take_changes().0, []);
}

#[test]
fn labels_and_words_of_operators_follow_the_column() {
    let mut db = Database::new();
    let [schema, relation, column] = ["public", "accounts", "id"].map(str::to_owned);
    db.labels.sensitive.push((ColumnPattern { schema, relation, column }, Category::Health));
    db.say("accounts", "note", Saying::Labelled, Some(Category::Iban), 1);
    db.read(None, &[ACCOUNTS]);
    let renamed: Written = (20_000, "things", &[(1, "a"), (2, "b"), (3, "c")]);
    let read = db.read(None, &[renamed]);
    let found = ["a", "b", "c"].map(|column| read.category_of(&name("things", column)));
    assert_eq!(found, [Some(Category::Health), Some(Category::Credential), Some(Category::Iban)]);
}

#[test]
fn a_label_that_is_taken_back_leaves_nothing() {
    let mut db = Database::new();
    let [schema, relation, column] = ["public", "accounts", "note"].map(str::to_owned);
    db.labels.sensitive.push((ColumnPattern { schema, relation, column }, Category::Health));
    assert!(hides(&db.read(None, &[ACCOUNTS]), "accounts", "note"));
    db.labels.sensitive.clear();
    assert!(!hides(&db.read(None, &[ACCOUNTS]), "accounts", "note"));
    let renamed: Written = (20_000, "accounts", &[(1, "id"), (2, "password"), (3, "text")]);
    assert!(!hides(&db.read(None, &[renamed]), "accounts", "text"));
}

#[test]
fn a_tie_that_is_cut_leaves_the_column_sensitive() {
    let orders: Written = (20_002, "orders", &[(1, "id"), (2, "payer")]);
    let mut db = Database::new();
    db.keys.push(((20_000, 2), (20_002, 2)));
    assert!(hides(&db.read(None, &[ACCOUNTS, orders]), "orders", "payer"));
    db.keys.clear();
    for _ in 0..2 {
        assert!(hides(&db.read(None, &[ACCOUNTS, orders]), "orders", "payer"));
    }
    let (changes, _) = db.discovery.take_changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].formerly.as_deref(), Some("public.accounts.password"));
    // Also where what it was tied to is gone by then.
    let mut db = Database::new();
    db.keys.push(((20_000, 2), (20_002, 2)));
    db.read(None, &[ACCOUNTS, orders]);
    db.keys.clear();
    assert!(hides(&db.read(None, &[orders]), "orders", "payer"));
}

#[test]
fn a_column_whose_tie_is_dismissed_is_free() {
    let orders: Written = (20_002, "orders", &[(1, "id"), (2, "payer")]);
    let mut db = Database::new();
    db.keys.push(((20_000, 2), (20_002, 2)));
    assert!(hides(&db.read(None, &[ACCOUNTS, orders]), "orders", "payer"));
    db.say("accounts", "password", Saying::Dismissed, None, db.seconds);
    assert!(!hides(&db.read(None, &[ACCOUNTS, orders]), "orders", "payer"));
    db.keys.clear();
    assert!(!hides(&db.read(None, &[ACCOUNTS, orders]), "orders", "payer"));
}

#[test]
fn a_type_that_its_name_does_not_fit_tells_nothing() {
    const NUMERIC: u32 = 1_700;
    let mut db = Database::new();
    db.column_type = NUMERIC;
    assert!(!hides(&db.read(None, &[ACCOUNTS]), "accounts", "password"));
    db.column_type = TEXT;
    assert!(hides(&db.read(None, &[ACCOUNTS]), "accounts", "password"));
    db.column_type = NUMERIC;
    assert!(hides(&db.read(None, &[ACCOUNTS]), "accounts", "password"), "the values are what they were");
}

#[test]
fn what_was_renamed_while_governor_was_away_is_noticed() {
    let mut db = Database::new();
    db.read(Some(7), &[ACCOUNTS]);
    let mut db = db.restart();
    assert!(hides(&db.read(Some(7), &[RENAMED]), "accounts", "remark"));
    let mut db = db.restart();
    assert!(hides(&db.read(Some(7), &[RENAMED]), "accounts", "remark"));
}

#[test]
fn numbers_of_another_cluster_say_nothing() {
    let mut db = Database::new();
    db.read(Some(7), &[ACCOUNTS]);
    assert!(hides(&db.read(Some(7), &[RENAMED]), "accounts", "remark"));
    assert!(!hides(&db.read(Some(8), &[RENAMED]), "accounts", "remark"), "another one listens there now");
    // One that does not tell is not another one.
    let mut db = Database::new();
    db.read(Some(7), &[ACCOUNTS]);
    assert!(hides(&db.read(None, &[RENAMED]), "accounts", "remark"));
    assert!(hides(&db.read(Some(7), &[RENAMED]), "accounts", "remark"));
    assert!(!hides(&db.read(Some(8), &[RENAMED]), "accounts", "remark"));
}

#[test]
fn what_was_seen_on_one_way_to_a_server_counts_on_every_other() {
    let there = Endpoint::tcp([10, 0, 0, 5].into(), 6000);
    for (first, second, hidden) in [(Some(7), Some(7), true), (Some(7), Some(8), false), (None, None, false)]
    {
        let mut db = Database::new();
        db.read(first, &[ACCOUNTS]);
        db.read(first, &[RENAMED]);
        let here = std::mem::replace(&mut db.server, there.clone());
        assert_eq!(hides(&db.read(second, &[RENAMED]), "accounts", "remark"), hidden, "{first:?} {second:?}");
        // What is dismissed on one way stays so there, whatever the other remembers.
        db.server = here;
        db.say("accounts", "remark", Saying::Dismissed, None, db.seconds);
        for _ in 0..2 {
            assert!(!hides(&db.read(first, &[RENAMED]), "accounts", "remark"));
        }
    }
}

#[test]
fn readings_of_many_other_databases_make_none_forgotten() {
    let mut db = Database::new();
    db.read(None, &[ACCOUNTS]);
    let here = db.server.clone();
    for port in 6_000..6_200 {
        db.server = Endpoint::tcp([127, 0, 0, 1].into(), port);
        db.read(None, &[ACCOUNTS]);
    }
    db.server = here;
    assert!(hides(&db.read(None, &[RENAMED]), "accounts", "remark"));
}

#[test]
fn an_older_reading_says_nothing_of_what_is() {
    let mut db = Database::new();
    db.read(None, &[ACCOUNTS]);
    assert!(hides(&db.read(None, &[RENAMED]), "accounts", "remark"));
    db.read_at(1, None, &[ACCOUNTS]);
    assert!(hides(&db.read(None, &[RENAMED]), "accounts", "remark"));
}

#[test]
fn where_unknown_columns_are_hidden_only_the_operators_word_shows_one() {
    let mut db = Database::new();
    db.labels.hide_unknown = true;
    let read = db.read(None, &[ACCOUNTS]);
    assert!(hides(&read, "accounts", "note") && hides(&read, "accounts", "password"));
    db.say("accounts", "note", Saying::Dismissed, None, db.seconds);
    assert!(!hides(&db.read(None, &[ACCOUNTS]), "accounts", "note"));
    // Another that takes the name is not the one that was spoken of.
    let swapped: Written = (20_000, "accounts", &[(1, "id"), (2, "note"), (3, "text")]);
    let read = db.read(None, &[swapped]);
    assert!(hides(&read, "accounts", "note") && hides(&read, "accounts", "text"));
    const INTEGER: u32 = 23;
    let mut db = Database::new();
    (db.labels.hide_unknown, db.column_type) = (true, INTEGER);
    assert!(!hides(&db.read(None, &[ACCOUNTS]), "accounts", "note"), "it could carry nothing");
}

#[test]
fn a_full_memory_forgets_no_other_database_and_takes_no_more() {
    let columns = |from: i16| {
        let column = move |attribute| RememberedColumn {
            attribute,
            category: Category::Email,
            type_oid: TEXT,
            column: "email".into(),
            linked_to: None,
            formerly: None,
        };
        (from..i16::MAX).map(column).collect::<Box<[_]>>()
    };
    let relation = |oid: Oid, columns| RememberedRelation {
        server: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
        database: "full".into(),
        identity: None,
        oid,
        schema: "public".into(),
        relation: "t".into(),
        columns,
    };
    let full = (0..20).map(|oid| relation(oid, columns(1))).collect();
    let mut db = Database::new();
    db.discovery = db.discovery.recall(full);
    let kept =
        |db: &Database| db.discovery.remembered().1.relations().map(|r| r.columns.len()).sum::<usize>();
    let before = kept(&db);
    assert!(before <= REMEMBERED_COUNT_MAX && before > REMEMBERED_COUNT_MAX - 32_768, "{before}");
    let mut rest = relation(100, columns(i16::MAX - (REMEMBERED_COUNT_MAX - before) as i16));
    rest.database = "rest".into();
    db.discovery = db.discovery.recall(vec![rest]);
    assert!(hides(&db.read(None, &[ACCOUNTS]), "accounts", "password"));
    assert!(kept(&db) <= REMEMBERED_COUNT_MAX);
    assert!(!hides(&db.read(None, &[RENAMED]), "accounts", "remark"), "by its name only: there was no room");
}
