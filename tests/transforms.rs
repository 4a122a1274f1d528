//! Every built-in type, in both formats, in every masking style, decoded by real drivers through a real agent.
//!
//! One table of types (`TYPES`), two relations for each style with the same rows, five drivers and the bare protocol. What a driver prints
//! directly is held against what it prints governed: the same cells, all of them decoded, none of them in clear, NULL
//! still NULL, and equal values equal where the style promises it.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::process::{self, Finished};
use governor_tests::{Auth, Class, Options, Running, Site, cgroup, client, programs, wait, wire};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Name of a column, its type, a value that no style writes by chance.
const TYPES: &[(&str, &str, &str)] = &[
    ("v_bool", "bool", "true"),
    ("v_char1", "\"char\"", "'Q'"),
    ("v_name", "name", "'clearname7731'"),
    ("v_int2", "int2", "31773"),
    ("v_int4", "int4", "773177317"),
    ("v_int8", "int8", "7731773177317731"),
    ("v_text", "text", "'clear.text7731@example.net'"),
    ("v_varchar", "varchar", "'clearvarchar7731'"),
    ("v_varchar20", "varchar(20)", "'clearvarchar7731x'"),
    ("v_bpchar", "char(60)", "'clearbpchar7731'"),
    ("v_bytea", "bytea", "'\\x636c6561727731'"),
    ("v_oid", "oid", "773177"),
    ("v_xid", "xid", "'773178'"),
    ("v_json", "json", "'{\"clear\": \"clearjson7731\"}'"),
    ("v_jsonb", "jsonb", "'{\"clear\": [\"clearjsonb7731\", 7]}'"),
    ("v_xml", "xml", "'<clear>clearxml7731</clear>'"),
    ("v_float4", "float4", "'77317.5'"),
    ("v_float8", "float8", "'-7731773.25'"),
    ("v_numeric", "numeric", "'77317731.7731'"),
    ("v_numeric12_2", "numeric(12,2)", "'7731773.17'"),
    ("v_money", "money", "'731.73'"),
    ("v_date", "date", "'1977-03-17'"),
    ("v_time", "time", "'17:33:17.731'"),
    ("v_timetz", "timetz", "'17:33:17.731+02'"),
    ("v_timestamp", "timestamp", "'1977-03-17 17:33:17.731'"),
    ("v_timestamptz", "timestamptz", "'1977-03-17 17:33:17.731+02'"),
    ("v_interval", "interval", "'77 days 03:17:31'"),
    ("v_uuid", "uuid", "'77317731-7731-4773-8773-177317731773'"),
    ("v_inet", "inet", "'10.77.31.73'"),
    ("v_inet6", "inet", "'fd77:31::77:31'"),
    ("v_cidr", "cidr", "'10.77.31.0/24'"),
    ("v_macaddr", "macaddr", "'08:77:31:77:31:77'"),
    ("v_macaddr8", "macaddr8", "'08:77:31:77:31:77:31:77'"),
    ("v_bit", "bit(8)", "B'10110111'"),
    ("v_varbit", "varbit", "B'1011011101'"),
    ("v_point", "point", "'(77,31)'"),
    ("v_box", "box", "'(77,31),(1,2)'"),
    ("v_circle", "circle", "'<(77,31),5>'"),
    ("v_path", "path", "'((77,31),(1,2))'"),
    ("v_polygon", "polygon", "'((77,31),(1,2),(3,4))'"),
    ("v_lsn", "pg_lsn", "'77/3177'"),
    ("v_tsvector", "tsvector", "'clearvector7731'"),
    ("v_tsquery", "tsquery", "'clearquery7731'"),
    ("v_int4range", "int4range", "'[77,3177)'"),
    ("v_numrange", "numrange", "'[77.31,3177.5)'"),
    ("v_daterange", "daterange", "'[1977-03-17,1977-04-17)'"),
    ("v_int4s", "int4[]", "'{773177,773178}'"),
    ("v_texts", "text[]", "'{clearelement7731,clearother7731}'"),
];

/// A style, and what its columns are labelled as. `partial` is what the built-in policies ask for.
const STYLES: &[(&str, &str)] = &[
    ("null", "other"),
    ("redact", "other"),
    ("partial", "email"),
    ("hash", "other"),
    ("token", "other"),
    ("format", "other"),
    ("shift", "birth_date"),
    ("range", "financial"),
    ("fake", "email"),
];

/// What columns of a style look like that can serve it: the beginning of every cell that is not NULL.
const SERVED: &[(&str, &str, &str)] = &[
    ("hash", "v_text", "hash_"),
    ("hash", "v_varchar", "hash_"),
    ("hash", "v_bpchar", "hash_"),
    ("hash", "v_json", "hash_"),
    ("hash", "v_jsonb", "hash_"),
    ("hash", "v_inet", "2001:db8:"),
    ("hash", "v_xml", "<masked>hash_"),
    ("token", "v_xml", "<masked>tok_"),
    ("token", "v_text", "tok_"),
    ("token", "v_name", "tok_"),
    ("token", "v_jsonb", "tok_"),
    ("fake", "v_text", "@example.com"),
    ("fake", "v_macaddr", "00:00:5e:00:53:"),
    ("range", "v_inet", "10.77.31.0"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Psycopg,
    Asyncpg,
    Pg8000,
    NodePostgres,
    Pgjdbc,
}

#[test]
fn psycopg_decodes_every_type_in_every_style() {
    every_type(Driver::Psycopg);
}

#[test]
fn asyncpg_decodes_every_type_in_every_style() {
    every_type(Driver::Asyncpg);
}

#[test]
fn pg8000_decodes_every_type_in_every_style() {
    every_type(Driver::Pg8000);
}

#[test]
fn node_postgres_decodes_every_type_in_every_style() {
    every_type(Driver::NodePostgres);
}

#[test]
fn pgjdbc_decodes_every_type_in_every_style() {
    every_type(Driver::Pgjdbc);
}

/// What the wire itself carries, in both formats, whatever a driver would make of it.
#[test]
fn no_byte_of_a_clear_value_is_on_the_wire() {
    let site = site("");
    let clear = clear_bytes(&site);
    for (style, _) in STYLES {
        for format in [0, 1] {
            let mut agent = site.wire(Class::Agent).unwrap();
            let sql = format!("SELECT * FROM masked.{style}_a ORDER BY id");
            let request = [
                wire::parse("", &sql),
                wire::bind_formats("", "", &[], &[format]),
                wire::describe(b'P', ""),
                wire::execute(""),
                wire::sync(),
            ];
            agent.send(&request.concat()).unwrap();
            let answer = agent.until_ready().unwrap();
            let rows: Vec<_> = answer.iter().filter(|m| m.tag == b'D').map(|m| m.row().unwrap()).collect();
            assert_eq!(rows.len(), 2, "{style} {format}: {}", wire::tags(&answer));
            assert_eq!(rows[0].len(), TYPES.len() + 1);
            for (at, (name, ..)) in TYPES.iter().enumerate() {
                assert_eq!(rows[1][at + 1], None, "{style} {name}: NULL stays NULL");
                let Some(cell) = &rows[0][at + 1] else {
                    continue;
                };
                let hidden = &clear[*name][usize::from(format)];
                assert!(
                    hidden.len() < 3 || !cell.windows(hidden.len()).any(|part| part == hidden),
                    "{style} {name} {format}: {cell:?}"
                );
                assert_ne!(cell, hidden, "{style} {name} {format}");
                let word = b"clear";
                // A domain and the last digits are what a partial mask is for.
                let kept = cell.windows(word.len()).any(|part| part == word);
                assert!(!kept || *style == "partial", "{style} {name}: {}", String::from_utf8_lossy(cell));
            }
        }
    }
}

/// Keys of their own for columns: the same value has another hash in each.
#[test]
fn keys_per_column_keep_columns_apart() {
    let site = site("keys_per_column = true\n");
    let asked = "SELECT v_text, v_varchar FROM masked.hash_a WHERE id = 1; SELECT v_text FROM masked.hash_b WHERE id = 1";
    let told = site.psql(Class::Agent, &format!("{asked};\n{asked};\n")).unwrap().ok().unwrap().out();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert_eq!((lines[0], lines[1]), (lines[2], lines[3]), "the same in every statement");
    assert!(lines[0].starts_with("hash_") && lines[1].starts_with("hash_"), "{told}");
    assert_ne!(lines[0].split('|').next().unwrap(), lines[1]);
}

/// A view shows what its column shows, in the same style; what it computes is redacted.
#[test]
fn a_style_follows_the_column_through_views_and_joins() {
    let site = site("");
    let told = site
        .psql(
            Class::Agent,
            "SELECT v_text FROM masked.hash_a WHERE id = 1;
             SELECT shown FROM masked.hash_view;
             SELECT computed FROM masked.hash_view;
             SELECT v_text || 'x' FROM masked.hash_a WHERE id = 1;
             WITH w AS (SELECT v_text AS q FROM masked.hash_b WHERE id = 1) SELECT q FROM w;
             SELECT a.v_text FROM masked.hash_a a JOIN masked.hash_b b USING (id) WHERE id = 1;\n",
        )
        .unwrap();
    let told = told.ok().unwrap().out();
    let lines: Vec<&str> = told.lines().collect();
    let hash = lines[0];
    assert!(hash.starts_with("hash_"), "{told}");
    assert_eq!(lines, [hash, hash, "[masked]", "[masked]", hash, hash], "{told}");
}

/// The operator's style counts where policy asks for nothing stricter, and policy's where it does.
#[test]
fn of_policy_and_configuration_the_stricter_style_counts() {
    let nulls = r#"@id("mine") @reason("none of it") @mask("null")
        forbid (principal, action == Governor::Action::"see", resource in Governor::Relation::"masked.hash_b");"#;
    let site = site_with("", vec![("mine.cedar".into(), nulls.into())]);
    let told = site
        .psql(Class::Agent, "SELECT v_text FROM masked.hash_a WHERE id = 1; SELECT v_text IS NULL, v_text FROM masked.hash_b WHERE id = 1;\n")
        .unwrap();
    let out = told.ok().unwrap().out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("hash_") && lines[1].ends_with('|'), "{out}");
    let service = site.psql(Class::Service, "SELECT v_name FROM masked.hash_a WHERE id = 1;\n").unwrap();
    assert_eq!(service.ok().unwrap().out().trim(), "clearname7731");
}

#[test]
fn a_token_is_revealed_to_listed_persons_with_a_reason_on_record() {
    let site = site("");
    let token = |column: &str| {
        let sql = format!("SELECT {column} FROM masked.token_a WHERE id = 1;\n");
        site.psql(Class::Agent, &sql).unwrap().ok().unwrap().out().trim().to_owned()
    };
    let (text_token, json_token) = (token("v_text"), token("v_jsonb").trim_matches('"').to_owned());
    let shown =
        reveal(&site, Class::Person, &["--reason", "ticket 17", &text_token, &json_token]).ok().unwrap();
    assert_eq!(shown.out(), "clear.text7731@example.net\n{\"clear\": [\"clearjsonb7731\", 7]}\n");
    let record = site.governor.wait_for_record("token_reveal", |_| true).unwrap();
    assert_eq!((text(&record, "granted"), text(&record, "reason")), ("true".into(), "ticket 17".into()));
    assert_eq!(text(&record, "tokens_count"), "2");
    assert!(text_token.starts_with(field(&record, "tokens")[0].as_str().unwrap()));
    assert_eq!(field(&record, "principal")["class"], "person");
    assert!(!record.to_string().contains("clear.text7731"), "the record shows no value");

    let refusals: [(Class, &[&str], &str); 5] = [
        (Class::Agent, &["--reason", "let me", &text_token], "only a person"),
        (Class::Service, &["--reason", "let me", &text_token], "only a person"),
        (Class::Person, &["--reason", " ", &text_token], "a reason"),
        (Class::Person, &["--reason", "typo", &text_token[..text_token.len() - 2]], "cut or changed"),
        (Class::Person, &["--reason", "typo", &text_token, "tok_00000000_AAAA"], "does not have"),
    ];
    for (class, args, why) in refusals {
        let refused = reveal(&site, class, args);
        assert!(!refused.status.success() && refused.all().contains(why), "{}", refused.all());
        assert!(!refused.all().contains("clear"), "{}", refused.all());
    }
    let refused: Vec<_> = site.governor.events("token_reveal").unwrap();
    assert_eq!(refused.iter().filter(|record| text(record, "granted") == "false").count(), 5);
    let page = site.governor.metrics().unwrap();
    for (outcome, count) in [("revealed", 1), ("not_allowed", 2), ("malformed", 1), ("bad_token", 2)] {
        let line = format!("governor_reveals_total{{outcome=\"{outcome}\"}} {count}");
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn nobody_reveals_who_is_not_listed() {
    let options = Options { more: columns(""), ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    site.truth(&relations()).unwrap();
    let sql = "SELECT v_text FROM masked.token_a WHERE id = 1;\n";
    let token = site.psql(Class::Agent, sql).unwrap().ok().unwrap().out().trim().to_owned();
    assert!(token.starts_with("tok_"), "{token}");
    let refused = reveal(&site, Class::Person, &["--reason", "I am root", &token]);
    assert!(!refused.status.success() && refused.all().contains("\"reveal\""), "{}", refused.all());
    let record = site.governor.wait_for_record("token_reveal", |_| true).unwrap();
    assert_eq!(text(&record, "granted"), "false");
}

#[test]
fn keys_rotate_and_old_tokens_are_still_revealed() {
    let mut site = site("");
    let file = site.governor.state_dir().join("keys/masking.keys");
    let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let first = site.governor.wait_for_record("masking_key", |_| true).unwrap();
    let token = |site: &Site| {
        let sql = "SELECT v_text FROM masked.token_a WHERE id = 1;\n";
        site.psql(Class::Agent, sql).unwrap().ok().unwrap().out().trim().to_owned()
    };
    let old = token(&site);
    assert!(old.starts_with(&format!("tok_{}_", text(&first, "key"))), "{old}");

    site.governor.cli(&["keys", "rotate"]).unwrap().ok().unwrap();
    let keys = site.governor.json(&["keys", "list"]).unwrap();
    assert_eq!(keys.iter().map(|key| text(key, "current")).collect::<Vec<_>>(), ["false", "true"]);
    assert_eq!(mode(), 0o600);
    let new = token(&site);
    assert!(new.starts_with(&format!("tok_{}_", text(&keys[1], "id"))) && new != old, "{new}");
    let rotated = site.governor.wait_for_record("masking_key", |r| text(r, "key") == text(&keys[1], "id"));
    assert!(!field(&rotated.unwrap(), "principal").is_null(), "who asked for it is on record");

    // Keys live as long as their file does, and nothing of them is anywhere else.
    site.governor.stop().unwrap();
    site.governor.launch().unwrap();
    assert_eq!(token(&site), new);
    let shown = reveal(&site, Class::Person, &["--reason", "both", &old, &new]).ok().unwrap();
    assert_eq!(shown.out(), "clear.text7731@example.net\n".repeat(2));
    let secrets = std::fs::read_to_string(&file).unwrap();
    let roots: Vec<&str> = secrets.lines().filter(|l| !l.starts_with('#')).map(|l| &l[..64]).collect();
    assert_eq!(roots.len(), 2);
    let records =
        site.governor.cli(&["audit", "search", "--limit", "0", "--json"]).unwrap().ok().unwrap().out();
    for root in roots {
        assert!(!site.governor.log().contains(root) && !records.contains(root));
    }

    // A file that others may read is not used, and says so.
    site.governor.stop().unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let failed = site.governor.launch().unwrap_err();
    assert!(format!("{failed:#}").contains("can be read or written by others"), "{failed:#}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    site.governor.launch().unwrap();
}

fn every_type(driver: Driver) {
    if driver.is_missing() {
        return;
    }
    let site = site("");
    let direct = cells(&run(driver, &site, None));
    let governed = cells(&run(driver, &site, Some(Class::Agent)));
    assert!(direct.len() >= STYLES.len() * 2 * 2 * TYPES.len(), "{} cells", direct.len());
    let keys: Vec<_> = direct.keys().collect();
    assert_eq!(keys, governed.keys().collect::<Vec<_>>(), "{driver:?}: the same cells");
    for (key, clear) in &direct {
        let (cell, Key { style, row, column, .. }) = (&governed[key], key);
        if *row == 2 {
            assert_eq!(cell, clear, "{driver:?} {key:?}: NULL stays NULL");
            continue;
        }
        assert_ne!(cell, clear, "{driver:?} {key:?}: in clear");
        assert!(*style == "partial" || !cell.contains("clear"), "{driver:?} {key:?}: {cell}");
        if ["hash", "token", "format"].contains(&style.as_str()) {
            let twin = Key { twin: if key.twin == "a" { "b".into() } else { "a".into() }, ..key.clone() };
            assert_eq!(cell, &governed[&twin], "{driver:?} {key:?}: equal values are equal");
        }
        for (_, _, mark) in SERVED.iter().filter(|(s, c, _)| s == style && c == column) {
            // Drivers that do not know a type's binary form hand on its bytes.
            let shown = cell.contains(mark) || cell.contains(&hex_of(mark));
            assert!(shown || key.form == "binary" && !mark.ends_with('_'), "{driver:?} {key:?}: {cell}");
        }
    }
}

fn hex_of(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

/// Which cell of which relation, in which format.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    style: String,
    twin: String,
    form: String,
    row: u32,
    column: String,
}

fn cells(printed: &str) -> BTreeMap<Key, String> {
    let cell = |line: &str| {
        let mut parts = line.splitn(5, '\t');
        let (relation, form) = (parts.next()?.strip_prefix("masked.")?, parts.next()?.to_owned());
        let (style, twin) = relation.split_once('_')?;
        let (row, column) = (parts.next()?.parse().ok()?, parts.next()?.to_owned());
        let key = Key { style: style.into(), twin: twin.into(), form, row, column };
        Some((key, parts.next()?.to_owned()))
    };
    printed.lines().filter_map(cell).collect()
}

/// What the driver printed: every table, each by a session of its own.
fn run(driver: Driver, site: &Site, class: Option<Class>) -> String {
    let mut command = driver.command(site.postgres.port());
    for (style, _) in STYLES {
        command.args([format!("masked.{style}_a"), format!("masked.{style}_b")]);
    }
    if let Some(class) = class {
        cgroup::enter(&mut command, &site.group.client(class)).unwrap();
    }
    let done = Running::start(command, &[]).unwrap().finish(LIMIT).unwrap().ok();
    done.unwrap_or_else(|error| panic!("{driver:?}, {class:?}: {error:#}")).out()
}

impl Driver {
    fn is_missing(self) -> bool {
        let needed = match self {
            Self::Psycopg | Self::Asyncpg | Self::Pg8000 => programs::python(),
            Self::NodePostgres => programs::node_modules(),
            Self::Pgjdbc => programs::jdbc(),
        };
        programs::missing(&format!("{self:?}"), &needed)
    }

    fn command(self, port: u16) -> Command {
        let source = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms").join(name);
        match self {
            Self::Psycopg => client::python(&source("with_psycopg.py"), port),
            Self::Asyncpg => client::python(&source("with_asyncpg.py"), port),
            Self::Pg8000 => client::python(&source("with_pg8000.py"), port),
            Self::NodePostgres => {
                let mut node = client::node(&source("with_node.js"), port);
                node.env("PGSSLMODE", "disable");
                node
            }
            Self::Pgjdbc => client::java(&source("Transforms.java"), port),
        }
    }
}

fn site(masking: &str) -> Site {
    site_with(masking, vec![])
}

fn site_with(masking: &str, policies: Vec<(String, String)>) -> Site {
    let more = format!("{}\n[approvals.groups]\nreveal = [\"root\"]\n", columns(masking));
    let site = Site::with(Auth::Trust, &Options { more, policies, ..Options::default() }).unwrap();
    site.truth(&relations()).unwrap();
    site
}

fn columns(masking: &str) -> String {
    let mut text = format!("[masking]\n{masking}");
    for (style, category) in STYLES {
        text +=
            &format!("[[masking.columns]]\ncolumn = \"masked.{style}_*.v_*\"\ncategory = \"{category}\"\n");
        if *style != "partial" {
            text += &format!("style = \"{style}\"\n");
        }
    }
    text
}

fn relations() -> String {
    let list =
        |part: fn(&(&str, &str, &str)) -> String| TYPES.iter().map(part).collect::<Vec<_>>().join(", ");
    let columns = list(|(name, kind, _)| format!("{name} {kind}"));
    let values = list(|(_, kind, value)| format!("{value}::{kind}"));
    let mut sql = "CREATE SCHEMA masked; GRANT USAGE ON SCHEMA masked TO PUBLIC;\n".to_owned();
    for (style, _) in STYLES {
        for twin in ["a", "b"] {
            sql += &format!(
                "CREATE TABLE masked.{style}_{twin} (id int PRIMARY KEY, {columns});
                 INSERT INTO masked.{style}_{twin} VALUES (1, {values});
                 INSERT INTO masked.{style}_{twin} VALUES (2);\n"
            );
        }
    }
    sql += "CREATE VIEW masked.hash_view AS SELECT v_text AS shown, substr(v_text, 2) AS computed
            FROM masked.hash_a WHERE id = 1;
            GRANT SELECT ON ALL TABLES IN SCHEMA masked TO PUBLIC;\n";
    sql
}

/// Each clear value as text and as binary, asked past governor.
fn clear_bytes(site: &Site) -> BTreeMap<&'static str, [Vec<u8>; 2]> {
    let read = |format| {
        let mut wire = site.wire_direct().unwrap();
        let request = [
            wire::parse("", "SELECT * FROM masked.null_a WHERE id = 1"),
            wire::bind_formats("", "", &[], &[format]),
            wire::execute(""),
            wire::sync(),
        ];
        wire.send(&request.concat()).unwrap();
        let answer = wire.until_ready().unwrap();
        answer.iter().find(|m| m.tag == b'D').unwrap().row().unwrap()
    };
    let (texts, binaries) = (read(0), read(1));
    let cell = |row: &[Option<Vec<u8>>], at: usize| row[at + 1].clone().unwrap();
    TYPES
        .iter()
        .enumerate()
        .map(|(at, (name, ..))| (*name, [cell(&texts, at), cell(&binaries, at)]))
        .collect()
}

fn reveal(site: &Site, class: Class, args: &[&str]) -> Finished {
    let mut command = site.governor.command(&[&["reveal"], args].concat()).unwrap();
    cgroup::enter(&mut command, &site.group.client(class)).unwrap();
    process::run(command, wait::PATIENCE).unwrap()
}

const LIMIT: Duration = Duration::from_secs(120);
