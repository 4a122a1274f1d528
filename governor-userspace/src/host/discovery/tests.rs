//! Files that come back, files that are damaged, names that are misspelt.

use super::lookup::{self, Typed};
use super::{DataError, DiscoveryFile};
use crate::engine::masking::Category;
use crate::engine::model::{ColumnName, Endpoint};
use crate::engine::session::{ColumnPlace, ColumnRecord, Discovery, DiscoverySettings, Said, Saying};
use std::os::unix::fs::PermissionsExt;

fn place(database: &str, column: &str) -> ColumnPlace {
    ColumnPlace {
        server: Endpoint::tcp([127, 0, 0, 1].into(), 5432),
        database: database.into(),
        column: ColumnName { schema: "public".into(), relation: "orders".into(), column: column.into() },
    }
}

fn record(database: &str, column: &str) -> ColumnRecord {
    let said = Said {
        what: Saying::Labelled,
        category: Some(Category::Health),
        dismissed: vec![],
        reason: "with \"quotes\"\nand lines".into(),
        by: "root".into(),
        uid: 0,
        at_unix_s: 9,
    };
    let mut record =
        ColumnRecord { said: Some(said), values: 7, ..ColumnRecord::new(place(database, column), 8) };
    record.findings.insert("us_ssn".into(), 3);
    record.within.insert(Category::Email, 2);
    record.kinds.insert(Category::Email, 8);
    record
}

fn file() -> (tempfile::TempDir, DiscoveryFile<ColumnRecord>, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("discovery.jsonl");
    (dir, DiscoveryFile::new(path.clone()), path)
}

#[test]
fn what_is_saved_comes_back_and_is_for_its_owner() {
    let (_dir, file, path) = file();
    assert!(file.load(1).unwrap().records.is_empty(), "no file is no error");
    let records = vec![record("shop", "note"), record("shop", "x.y")];
    for _ in 0..2 {
        file.save(records.iter()).unwrap();
        let loaded = file.load(1).unwrap();
        assert_eq!((loaded.records, loaded.damage), (records.clone(), None));
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!path.with_extension("new").exists());
}

#[test]
fn damage_at_any_byte_costs_one_line_and_the_file_is_kept() {
    let (dir, file, path) = file();
    let records: Vec<_> = ["a", "b", "c"].map(|name| record("shop", name)).into();
    file.save(records.iter()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] = 0xFF;
        std::fs::write(&path, &broken).unwrap();
        let loaded = file.load(at as u64).unwrap();
        let lost = records.iter().filter(|record| !loaded.records.contains(record)).count();
        assert!(lost <= 2, "byte {at}: {lost} lost; a broken line end joins two lines");
        let (_, aside) = loaded.damage.expect("damage is told");
        assert_eq!(std::fs::read(aside).unwrap(), broken);
    }
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let kept = file.load(0).unwrap().records;
        assert!(records.starts_with(&kept), "cut at {cut}");
    }
    drop(dir);
}

#[test]
fn a_file_of_a_newer_governor_is_refused_not_overwritten() {
    let (_dir, file, path) = file();
    std::fs::write(&path, "{\"format\":2}\n").unwrap();
    assert!(file.load(0).unwrap_err().to_string().contains("format 2 is of a newer governor"));
}

#[test]
fn a_column_is_found_by_its_name_or_with_what_may_be_meant() {
    let known = vec![record("shop", "card_no"), record("shop", "note"), record("ware.house", "note")];
    let discovery = Discovery::new(DiscoverySettings::default(), known);
    let find = |column, database| lookup::find(&discovery, &Typed { column, server: None, database });
    assert_eq!(find("public.orders.card_no", None).unwrap(), place("shop", "card_no"));
    assert_eq!(find("orders.card_no", None).unwrap(), place("shop", "card_no"));
    assert_eq!(find("\"orders\".note", Some("ware.house")).unwrap(), place("ware.house", "note"));
    match find("orders.note", None).unwrap_err() {
        DataError::Ambiguous { places, .. } => assert_eq!(places.len(), 2, "{places:?}"),
        other => panic!("{other}"),
    }
    match find("public.orders.crad_no", None).unwrap_err() {
        DataError::Unknown { near, .. } => assert_eq!(near[0], "public.orders.card_no"),
        other => panic!("{other}"),
    }
    for wrong in ["note", "", ".", "a..b", "a.b.c.d", "a.\"b", "a.\u{7}"] {
        assert!(matches!(find(wrong, None), Err(DataError::NotAColumn(_))), "{wrong:?}");
    }
    let far = find("public.zzz.qqqqqqq", None).unwrap_err().to_string();
    assert!(!far.contains("did you mean"), "{far}");
}
