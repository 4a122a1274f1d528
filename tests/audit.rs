//! Nothing lost, nothing changed unnoticed.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::{Class, Running, Site, process, wait, wire};
use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn one_statement_leaves_one_record_with_who_what_and_how_it_ended() {
    let site = Site::start().unwrap();
    let client = site.psql_running(Class::Service, "SELECT id FROM orders WHERE id < 4;").unwrap();
    let pid = client.pid();
    client.finish(wait::PATIENCE).unwrap().ok().unwrap();
    let statement = site
        .governor
        .wait_for_record("statement", |record| text(record, "text").contains("SELECT id FROM orders"))
        .unwrap();
    for (key, expected) in [
        ("verdict", "allow"),
        ("kind", "select"),
        ("class", "service"),
        ("database", "shop"),
        ("database_user", "app"),
    ] {
        assert_eq!(text(&statement, key), expected, "{key} of {statement}");
    }
    assert_eq!(field(&statement, "pid").as_u64(), Some(u64::from(pid)));
    let decision = text(&statement, "decision");
    let completion =
        site.governor.wait_for_record("completion", |record| text(record, "decision") == decision).unwrap();
    assert_eq!(text(&completion, "outcome"), "complete");
    assert_eq!(text(&completion, "tag"), "SELECT 3");
    assert_eq!(field(&completion, "rows").as_u64(), Some(3));
    assert!(field(&completion, "bytes").as_u64() > Some(0));
    assert!(field(&completion, "duration_ns").as_u64() > Some(0));
}

#[test]
fn an_error_is_recorded_with_its_sqlstate() {
    let site = Site::start().unwrap();
    site.psql(Class::Service, "SELECT 1/0;").unwrap();
    let completion =
        site.governor.wait_for_record("completion", |record| text(record, "outcome") == "error").unwrap();
    assert_eq!(text(&completion, "sqlstate"), "22012");
}

#[test]
fn kill_minus_nine_under_load_loses_no_forwarded_statement() {
    let mut site = Site::start().unwrap();
    site.truth("CREATE TABLE marks (n bigint)").unwrap();
    site.truth("SELECT pg_stat_statements_reset()").unwrap();
    // Short numbers: none of them looks like a card or an account, which records would mask.
    let script = site.governor.state_dir().join("marks.sql");
    std::fs::write(&script, "\\set n random(1, 99999999)\nINSERT INTO marks VALUES (:n);\n").unwrap();
    for _round in 0..3 {
        let mut load = site.client("pgbench", Class::Service).unwrap();
        load.args(["-n", "-M", "simple", "-c", "8", "-j", "2", "-T", "60", "-f"]).arg(&script);
        let load = Running::start(load, &[]).unwrap();
        let before: u64 = site.truth("SELECT count(*) FROM marks").unwrap().parse().unwrap();
        wait::until("load", wait::PATIENCE, || {
            Ok((site.truth("SELECT count(*) FROM marks")?.parse::<u64>()? > before + 500).then_some(()))
        })
        .unwrap();
        site.governor.kill().unwrap();
        load.finish(Duration::from_secs(60)).unwrap();
        // Backends finish what they had received before they notice that their client is gone.
        wait::until("backends to end", wait::PATIENCE, || {
            let left =
                site.truth("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'")?;
            Ok((left == "0").then_some(()))
        })
        .unwrap();
        site.governor.launch().unwrap();
    }
    let texts: Vec<String> = site
        .governor
        .events("statement")
        .unwrap()
        .iter()
        .map(|record| text(record, "text").trim_end_matches([';', '\n']).to_owned())
        .collect();
    let recorded: HashSet<&str> = texts.iter().map(String::as_str).collect();
    let executed = site.truth("SELECT n FROM marks").unwrap();
    let lost: Vec<&str> = executed
        .lines()
        .filter(|n| !recorded.contains(format!("INSERT INTO marks VALUES ({n})").as_str()))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} executed without a record: {lost:?}",
        lost.len(),
        executed.lines().count()
    );
    let calls: u64 = site
        .truth("SELECT sum(calls) FROM pg_stat_statements WHERE query LIKE 'INSERT INTO marks%'")
        .unwrap()
        .parse()
        .unwrap();
    // Every execution has its own record, also of a number that came twice.
    let records = texts.iter().filter(|text| text.starts_with("INSERT INTO marks")).count() as u64;
    assert!(calls > 1500 && records >= calls, "{calls} executed, {records} recorded");
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn verify_accepts_the_chain_and_finds_each_kind_of_tampering() {
    type Tamper = fn(&mut Vec<String>);
    let cases: [(&str, Tamper); 5] = [
        ("an edit", |lines| {
            let at = lines.iter().position(|line| line.contains("orders")).unwrap();
            lines[at] = lines[at].replace("orders", "0rders");
        }),
        ("a deletion", |lines| {
            lines.remove(lines.len() / 2);
        }),
        ("a reordering", |lines| {
            let at = lines.len() / 2;
            lines.swap(at, at - 1);
        }),
        ("a duplicate", |lines| {
            let at = lines.len() / 2;
            lines.insert(at, lines[at].clone());
        }),
        ("a truncation", |lines| {
            let keep = lines.len() / 2;
            lines.truncate(keep);
        }),
    ];
    let mut site = Site::start().unwrap();
    for n in 0..20 {
        site.psql(Class::Service, &format!("SELECT count(*) FROM orders WHERE id > {n};"))
            .unwrap()
            .ok()
            .unwrap();
    }
    site.governor.stop().unwrap();
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
    let segment = largest_segment(&site);
    let original = std::fs::read_to_string(&segment).unwrap();
    for (what, tamper) in cases {
        let mut lines: Vec<String> = original.lines().map(str::to_owned).collect();
        tamper(&mut lines);
        std::fs::write(&segment, lines.join("\n") + "\n").unwrap();
        let verdict = site.governor.cli(&["audit", "verify"]).unwrap();
        assert!(!verdict.status.success(), "{what} was not found: {}", verdict.all());
    }
    std::fs::write(&segment, &original).unwrap();
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

#[test]
fn one_flipped_bit_anywhere_is_found() {
    let mut site = Site::start().unwrap();
    site.psql(Class::Service, "SELECT 1;").unwrap().ok().unwrap();
    site.governor.stop().unwrap();
    let segment = largest_segment(&site);
    let bytes = std::fs::metadata(&segment).unwrap().len();
    let mut file = File::options().read(true).write(true).open(&segment).unwrap();
    for step in 0..12 {
        let at = bytes * step / 12;
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        for value in [byte[0] ^ 1, byte[0]] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[value]).unwrap();
            let fine = site.governor.cli(&["audit", "verify"]).unwrap().status.success();
            assert_eq!(fine, value == byte[0], "byte {at} of {bytes}");
        }
    }
}

#[test]
fn the_chain_goes_on_over_restarts_and_kills() {
    let mut site = Site::start().unwrap();
    for round in 0..4 {
        site.psql(Class::Service, &format!("SELECT {round};")).unwrap().ok().unwrap();
        if round % 2 == 0 {
            site.governor.kill().unwrap()
        } else {
            site.governor.stop().unwrap();
        }
        site.governor.launch().unwrap();
    }
    site.governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
    assert_eq!(site.governor.events("agent_start").unwrap().len(), 5);
    assert_eq!(site.governor.events("agent_stop").unwrap().len(), 2);
}

#[test]
fn records_never_hold_a_bound_value_that_detectors_know() {
    let site = Site::start().unwrap();
    let email = site.truth("SELECT email FROM people WHERE id = 3").unwrap();
    let script = format!(
        "SELECT id FROM people WHERE email = $1 \\bind '{email}' \\g\nSELECT email FROM people WHERE id = 3;\n"
    );
    site.psql(Class::Agent, &script).unwrap();
    site.governor.wait_for_record("session_end", |_| true).unwrap();
    for record in site.governor.records().unwrap() {
        let parameters = field(&record, "parameters").to_string();
        assert!(!parameters.contains(&email), "{record}");
    }
}

/// Values that no detector knows: by the column that they stand beside.
#[test]
fn records_and_approvals_hold_no_value_that_stands_beside_a_sensitive_column() {
    let mut site = Site::start().unwrap();
    site.truth(
        "CREATE TABLE accounts (id int PRIMARY KEY, password text, salary numeric(10,2), note text);\
         INSERT INTO accounts VALUES (1, 'violet-harbour-6613', 184199.77, 'seen')",
    )
    .unwrap();
    let (password, salary) = ("violet-harbour-6613", "184199.77");
    for class in [Class::Agent, Class::Person] {
        let script = format!(
            "SELECT id FROM accounts WHERE password = '{password}' AND note = 'of {}';\n\
             SELECT id FROM accounts WHERE salary = $1 \\bind {salary} \\g\n\
             PREPARE p (numeric) AS SELECT id FROM accounts WHERE salary > $1;\n\
             EXECUTE p ({salary});\n\
             EXPLAIN SELECT id FROM accounts WHERE password IN ('{password}');\n\
             SELEC id FROM accounts WHERE password = '{password}';\n",
            class.as_str()
        );
        site.psql(class, &script).unwrap();
        // The same number in binary: two places behind the point, digits 18, 4199, 7700.
        let mut bind = b"\0\0\0\x01\0\x01\0\x01\0\0\0\x0e\0\x03\0\x01\0\0\0\x02".to_vec();
        bind.extend([0, 18, 0x10, 0x67, 0x1e, 0x14, 0, 0]);
        let mut wire = site.wire(class).unwrap();
        let parse = wire::parse("", "SELECT id FROM accounts WHERE salary = $1");
        wire.send(&[parse, wire::message(b'B', &bind), wire::execute(""), wire::sync()].concat()).unwrap();
        wire.until_ready().unwrap();
    }
    let update = format!("UPDATE accounts SET password = '{password}!', note = 'held'");
    let waiting = site.psql_running(Class::Person, &format!("{update};\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    let mut pages = String::new();
    for args in [
        &["approvals", "show", &id, "--full"][..],
        &["approvals", "list"],
        &["approvals", "show", &id, "--json"],
    ] {
        pages += &site.governor.cli(args).unwrap().ok().unwrap().out();
    }
    assert!(pages.contains("SET password = '***', note = 'held'"), "{pages}");
    site.governor.cli(&["approvals", "approve", &id]).unwrap().ok().unwrap();
    waiting.finish(wait::PATIENCE).unwrap().ok().unwrap();
    assert_eq!(
        site.truth("SELECT password FROM accounts").unwrap(),
        format!("{password}!"),
        "what was sent ran"
    );
    for class in [Class::Agent, Class::Person] {
        site.governor
            .wait_for_record("statement", |record| {
                text(record, "text").contains(&format!("password = '***' AND note = 'of {}'", class.as_str()))
            })
            .unwrap();
    }
    let parameters: Vec<String> = site
        .governor
        .events("statement")
        .unwrap()
        .iter()
        .map(|record| field(record, "parameters").to_string())
        .collect();
    assert!(parameters.iter().any(|shown| shown.contains("***")), "{parameters:?}");
    site.governor.stop().unwrap();
    for secret in [password, salary] {
        assert!(!pages.contains(secret), "{secret} in {pages}");
        assert!(!site.governor.log().contains(secret), "{secret} in the log");
        let found = files_with(site.governor.state_dir(), secret);
        assert!(found.is_empty(), "{secret} in {found:?}");
    }
}

#[test]
fn search_finds_and_tail_shows() {
    let site = Site::start().unwrap();
    site.psql(Class::Agent, "DROP TABLE orders;").unwrap();
    site.psql(Class::Service, "SELECT count(*) FROM cards;").unwrap().ok().unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text").contains("cards")).unwrap();
    let found = site.governor.cli(&["audit", "search", "--verdict", "deny"]).unwrap().ok().unwrap().out();
    assert!(found.contains("DROP TABLE orders") && !found.contains("FROM cards"), "{found}");
    let tail = site.governor.cli(&["audit", "tail"]).unwrap().ok().unwrap().out();
    assert!(tail.contains("FROM cards"), "{tail}");
}

#[test]
fn a_full_disk_refuses_instead_of_running_unrecorded() {
    let Some(small) = SmallDisk::mount() else {
        panic!("cannot mount a tmpfs of its own: needs root");
    };
    let mut site = Site::start().unwrap();
    site.governor.stop().unwrap();
    let audit = site.governor.state_dir().join("audit");
    let kept = site.governor.state_dir().join("audit.before");
    std::fs::rename(&audit, &kept).unwrap();
    std::os::unix::fs::symlink(&small.0, &audit).unwrap();
    site.governor.launch().unwrap();
    site.truth("CREATE TABLE filled (n int)").unwrap();
    let long = "x".repeat(4000);
    let script: String =
        (0..2000).map(|n| format!("INSERT INTO filled VALUES ({n}) /* {long} */;\n")).collect();
    let done = site.psql(Class::Service, &script).unwrap();
    assert!(!done.err().is_empty(), "a megabyte holds no eight");
    let executed: usize = site.truth("SELECT count(*) FROM filled").unwrap().parse().unwrap();
    let recorded = site
        .governor
        .events("statement")
        .unwrap()
        .iter()
        .filter(|record| text(record, "text").starts_with("INSERT INTO filled"))
        .count();
    assert!(executed < 2000 && executed <= recorded, "{executed} executed, {recorded} recorded");
    site.governor.stop().unwrap();
}

/// A file system of one megabyte, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let path = std::env::temp_dir().join(format!("governor-small-{}", std::process::id()));
        std::fs::create_dir_all(&path).ok()?;
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=700", "none"]).arg(&path);
        process::run(mount, wait::PATIENCE).ok()?.ok().ok()?;
        Some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut umount = std::process::Command::new("umount");
        umount.arg("-l").arg(&self.0);
        process::run(umount, wait::PATIENCE).ok();
        std::fs::remove_dir(&self.0).ok();
    }
}

fn largest_segment(site: &Site) -> PathBuf {
    let dir = site.governor.state_dir().join("audit");
    std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "jsonl"))
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .expect("an audit segment")
        .path()
}

/// Files below `directory` that hold `secret`: records, the spool, approvals, the log.
fn files_with(directory: &Path, secret: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files_with(&path, secret));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            found.extend(bytes.windows(secret.len()).any(|part| part == secret.as_bytes()).then_some(path));
        }
    }
    found
}
