//! The table of types has every one that the server has, and the same values leave by COPY, in its three formats.

use super::types::{SERVERS_OWN, STATISTICS, STYLES, TYPES, VALUELESS};
use super::{assert_hidden, clear_bytes, site};
use governor_tests::postgres::Postgres;
use governor_tests::wire::{self, Wire};
use governor_tests::{Auth, Class, programs};
use std::collections::BTreeSet;

/// Of every server: what it lists and the tables above lack cannot be in a column, or has no values; the server says so itself.
#[test]
fn every_type_of_the_server_is_in_the_table() {
    for version in [None, Some(13), Some(16), Some(17), Some(18)] {
        if let Some(version) = version
            && programs::missing(&format!("PostgreSQL {version}"), &programs::server_below_tools(version))
        {
            continue;
        }
        let server = Postgres::start_version(version, Auth::Trust, &[]).unwrap();
        let ours = TYPES.iter().chain(SERVERS_OWN).map(|(_, kind, _)| *kind);
        let ours: Vec<String> =
            ours.filter(|kind| !kind.starts_with("masked.")).map(|kind| format!("'{kind}'")).collect();
        // As the server names them, without their lengths; an older one lacks some.
        let named = format!(
            "SELECT DISTINCT format_type(to_regtype(k), NULL) FROM unnest(ARRAY[{}]) k WHERE to_regtype(k) IS NOT NULL",
            ours.join(", ")
        );
        let tried: BTreeSet<String> =
            server.admin("shop", &named).unwrap().lines().map(str::to_owned).collect();
        let built_in = "SELECT format_type(t.oid, NULL) FROM pg_type t \
             LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
             WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typoutput <> 0 \
             AND t.typtype <> 'c' AND e.typtype IS DISTINCT FROM 'c'";
        let all = server.admin("shop", built_in).unwrap();
        let (mut no_column, mut no_value) = (vec![], vec![]);
        for kind in all.lines().filter(|kind| !tried.contains(*kind)) {
            let made = server.admin("shop", &format!("CREATE TABLE made (c {kind}); DROP TABLE made"));
            if let Err(refused) = made {
                assert!(format!("{refused:#}").contains("has pseudo-type"), "{kind}: {refused:#}");
                no_column.push(kind);
            } else {
                assert!(VALUELESS.contains(&kind), "server {version:?}: {kind} is in no table of types");
                let scalar = kind.trim_end_matches("[]");
                let read = server.admin("shop", &format!("SELECT ''::{scalar}")).unwrap_err();
                let read = format!("{read:#}");
                let refusals = ["cannot accept a value of type", "_in not implemented"];
                assert!(refusals.iter().any(|refusal| read.contains(refusal)), "{kind}: {read}");
                no_value.push(kind);
            }
        }
        println!(
            "server {version:?}: {} types, {} tried; in no column: {no_column:?}; without values: {no_value:?}",
            all.lines().count(),
            tried.len()
        );
    }
}

/// What an agent's COPY gives is taken back by the server, in every format, and nothing of it is in clear.
#[test]
fn copy_hides_every_type_in_every_style_and_the_server_reads_it_back() {
    let site = site("");
    let clear = clear_bytes(&site);
    // Lengths of columns are not known in COPY, as `docs/masking.md` says, nor that of a domain anywhere: here are none.
    site.truth(
        "CREATE TABLE masked.back (LIKE masked.null_a);
         ALTER TABLE masked.back ALTER v_domain_numeric TYPE numeric;
         UPDATE pg_attribute SET atttypmod = -1 WHERE attrelid = 'masked.back'::regclass AND attname LIKE 'v\\_%'",
    )
    .unwrap();
    // Of these the empty value has a binary form that the server sends and does not take back.
    let empty = ["v_tsquery", "v_tsqueries", "v_int2vector", "v_int2vectors", "v_oidvector", "v_oidvectors"];
    let all = TYPES.iter().map(|(name, ..)| *name);
    let binary = all.clone().filter(|name| !empty.contains(name));
    let (all, binary) = (all.collect::<Vec<_>>().join(", "), binary.collect::<Vec<_>>().join(", "));
    for (style, _) in STYLES {
        for (copied_as, columns) in [("text", &all), ("csv", &all), ("binary", &binary)] {
            let mut agent = site.wire(Class::Agent).unwrap();
            let from = format!("COPY masked.{style}_a (id, {columns}) TO STDOUT (FORMAT {copied_as})");
            let bytes = copied(&mut agent, &from);
            site.truth("TRUNCATE masked.back").unwrap();
            let mut server = site.wire_direct().unwrap();
            let copy = format!("COPY masked.back (id, {columns}) FROM STDIN (FORMAT {copied_as})");
            let request = [wire::query(&copy), wire::message(b'd', &bytes), wire::copy_done()];
            server.send(&request.concat()).unwrap();
            let done = server.until_ready().unwrap();
            let error = done.iter().find(|message| message.tag == b'E').map(wire::Message::text);
            assert_eq!(wire::tags(&done).replace('N', ""), "GCZ", "{style} {copied_as}: {error:?}");
            for format in [0, 1] {
                let rows = super::rows_direct(&site, "masked.back", format);
                assert_eq!(rows.len(), 2, "{style} {copied_as}");
                for (at, (name, ..)) in TYPES.iter().enumerate() {
                    assert_eq!(rows[1][at + 1], None, "{style} {copied_as} {name}: NULL stays NULL");
                    if let Some(cell) = &rows[0][at + 1] {
                        assert_hidden(style, name, cell, &clear[*name][usize::from(format)]);
                    }
                }
            }
        }
    }
}

/// Types of which only the server makes values, or that it sends as text alone: by SELECT and by COPY.
#[test]
fn what_only_the_server_makes_is_hidden_too() {
    let site = site("");
    let mut made = STATISTICS.to_owned();
    for (style, _) in STYLES {
        for (name, kind, value) in SERVERS_OWN {
            let table = format!("masked.{style}_{name}");
            made += &format!(
                "CREATE TABLE {table} (id int, {name} {kind}); INSERT INTO {table} SELECT 1, {value};
                 INSERT INTO {table} VALUES (2); GRANT SELECT ON {table} TO PUBLIC;\n"
            );
        }
    }
    site.truth(&made).unwrap();
    for (style, _) in STYLES {
        for (name, kind, _) in SERVERS_OWN {
            let table = format!("masked.{style}_{name}");
            let sends = format!(
                "SELECT typsend <> 0 AND {} FROM pg_type WHERE oid = '{kind}'::regtype",
                !kind.ends_with("[]")
            );
            let is_sent = site.truth(&sends).unwrap() == "t";
            let formats = if is_sent { &[0, 1][..] } else { &[0] };
            for format in formats {
                let clear = super::rows_direct(&site, &table, *format)[0][1].clone().unwrap();
                let mut agent = site.wire(Class::Agent).unwrap();
                let rows = super::rows(&mut agent, &table, *format);
                assert_eq!((rows.len(), &rows[1][1]), (2, &None), "{style} {name}");
                if let Some(cell) = &rows[0][1] {
                    assert_hidden(style, name, cell, &clear);
                }
                let copied_as: &[&str] = if *format == 0 { &["text", "csv"] } else { &["binary"] };
                for copied_as in copied_as {
                    let given = copied(&mut agent, &format!("COPY {table} TO STDOUT (FORMAT {copied_as})"));
                    assert!(
                        !given.windows(clear.len()).any(|part| part == clear),
                        "{style} {name} {copied_as}"
                    );
                    assert!(!given.windows(5).any(|part| part == b"clear"), "{style} {name} {copied_as}");
                }
            }
        }
    }
}

/// The bytes of a COPY TO STDOUT.
fn copied(wire: &mut Wire, sql: &str) -> Vec<u8> {
    let answer = wire.query(sql).unwrap();
    let done = answer.iter().any(|message| message.tag == b'C');
    assert!(done, "{sql}: {answer:?}");
    answer.iter().filter(|message| message.tag == b'd').flat_map(|message| message.body.clone()).collect()
}
