//! Every built-in type, in both formats, in every masking style, decoded by real drivers through a real agent.
//!
//! One table of types (`TYPES`, those of users too), two relations for each style with the same rows, psql, six drivers and the bare protocol. What a
//! driver prints directly is held against what it prints governed: the same cells, all of them decoded, none of them in clear, NULL still NULL, and equal values equal where the style promises it.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "transforms/places.rs"]
mod places;
#[path = "transforms/types.rs"]
mod types;
#[path = "transforms/with_tokio_postgres.rs"]
mod with_tokio_postgres;

use governor_tests::governor::{field, text};
use governor_tests::process::{self, Finished};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::{Auth, Class, Options, Running, Site, cgroup, client, programs, wait, wire};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use types::{SERVED, STYLES, TYPES, USER_TYPES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Psql,
    Psycopg,
    Asyncpg,
    Pg8000,
    NodePostgres,
    Pgjdbc,
    TokioPostgres,
}

#[test]
fn psql_shows_every_type_in_every_style() {
    every_type(Driver::Psql);
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

#[test]
fn tokio_postgres_decodes_every_type_in_every_style() {
    every_type(Driver::TokioPostgres);
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
    // Its operator of that name puts every `||` in doubt.
    site.truth("DROP EXTENSION hstore CASCADE").unwrap();
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
        forbid (principal, action == Governor::Action::"see", resource in Governor::Relation::"masked.hash_b")
        when { resource.name == "v_text" };"#;
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

/// As systemd hands them over: a file in a directory that the environment names, read and never written.
#[test]
fn keys_may_be_a_credential_of_systemd() {
    let handed = tempfile::tempdir().unwrap();
    let file = handed.path().join("governor-masking");
    let root = "7a".repeat(32);
    std::fs::write(&file, format!("{root}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let keys = "[masking.keys]\ncredential = 'governor-masking'\n[approvals.groups]\nreveal = ['root']\n";
    let directory = format!("CREDENTIALS_DIRECTORY={}", handed.path().display());
    let options = Options {
        more: format!("{}{keys}", columns("")),
        launcher: vec!["env".into(), directory],
        ..Options::default()
    };
    let mut site = Site::with(Auth::Trust, &options).unwrap();
    site.truth(&relations()).unwrap();
    let token = |site: &Site| {
        let sql = "SELECT v_text FROM masked.token_a WHERE id = 1;\n";
        site.psql(Class::Agent, sql).unwrap().ok().unwrap().out().trim().to_owned()
    };
    let first = token(&site);
    assert!(first.starts_with("tok_"), "{first}");
    let shown = reveal(&site, Class::Person, &["--reason", "ticket 19", &first]).ok().unwrap();
    assert_eq!(shown.out(), "clear.text7731@example.net\n");
    let refused = site.governor.cli(&["keys", "rotate"]).unwrap();
    assert!(!refused.status.success() && refused.all().contains("does not write"), "{}", refused.all());
    assert!(!site.governor.state_dir().join("keys/masking.keys").exists(), "no second copy");
    assert!(!site.governor.log().contains(&root));
    site.governor.stop().unwrap();
    site.governor.launch().unwrap();
    assert_eq!(token(&site), first, "the same key after a start");
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

/// Every table of every style.
fn tables() -> Vec<String> {
    STYLES.iter().flat_map(|(style, _)| [format!("masked.{style}_a"), format!("masked.{style}_b")]).collect()
}

/// What the driver printed: every table, each by a session of its own.
fn run(driver: Driver, site: &Site, class: Option<Class>) -> String {
    match driver {
        Driver::TokioPostgres => return in_this_process(site, class),
        Driver::Psql => return by_psql(site, class),
        _ => {}
    }
    let mut command = driver.command(site.postgres.port());
    command.args(tables());
    if let Some(class) = class {
        cgroup::enter(&mut command, &site.group.client(class)).unwrap();
    }
    let done = Running::start(command, &[]).unwrap().finish(LIMIT).unwrap().ok();
    done.unwrap_or_else(|error| panic!("{driver:?}, {class:?}: {error:#}")).out()
}

fn in_this_process(site: &Site, class: Option<Class>) -> String {
    // governor's own group is not captured: from there the way is direct.
    let group = class.map_or_else(|| site.group.agent_host(), |class| site.group.client(class));
    // A socket lives as long as the process that made it for us.
    let mut sockets = Vec::new();
    let mut out = String::new();
    for table in tables() {
        let socket = RemoteSocket::connect(&group, site.server_address()).unwrap();
        let stream = socket.stream.try_clone().unwrap();
        sockets.push(socket);
        let shown = with_tokio_postgres::rows(stream, &table);
        out += &shown.unwrap_or_else(|error| panic!("tokio-postgres, {class:?}, {table}: {error:#}"));
    }
    out
}

/// Its expanded rows, a name and a value on each line, written as the other drivers write theirs.
fn by_psql(site: &Site, class: Option<Class>) -> String {
    let mut out = String::new();
    for table in tables() {
        let mut psql = client::outside("psql", site.postgres.port());
        let select = format!("SELECT * FROM {table} ORDER BY id");
        psql.args(["-X", "-A", "-x", "-F", "\t", "-P", "null=NULL", "-c", &select]);
        if let Some(class) = class {
            cgroup::enter(&mut psql, &site.group.client(class)).unwrap();
        }
        let shown = process::run(psql, wait::PATIENCE).unwrap().ok().unwrap().out();
        let mut id = String::new();
        for (name, value) in shown.lines().filter_map(|line| line.split_once('\t')) {
            match name {
                "id" => id = value.to_owned(),
                _ => out += &format!("{table}\ttext\t{id}\t{name}\t{value}\n"),
            }
        }
    }
    out
}

impl Driver {
    fn is_missing(self) -> bool {
        let needed = match self {
            Self::Psql | Self::TokioPostgres => return false,
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
            Self::Psql | Self::TokioPostgres => unreachable!("started otherwise"),
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
    let mut sql = format!("CREATE SCHEMA masked; GRANT USAGE ON SCHEMA masked TO PUBLIC; {USER_TYPES}\n");
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
