//! Tokens as parameters: an agent looks for what it was shown, and learns nothing that it was not shown.
//!
//! A real server, and `masking.compare_tokens`. Two drivers and the bare protocol find rows; a table of attacks tries to get at
//! the value that stands for a token on the server.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Auth, Class, Options, Running, Site, cgroup, client, programs, wait};
use std::path::Path;

const VALUE: &str = "two@example.org";
const RELATIONS: &str = "
    CREATE TABLE clients (id int PRIMARY KEY, email text, mail varchar(200), short varchar(40), phone text, note text);
    INSERT INTO clients SELECT n, w || '@example.org', w || '@example.org', w || '@example.org', '+1 212 555 01' || n, w
        FROM (VALUES (11, 'one'), (2, 'two'), (13, 'three')) t(n, w);
    CREATE TABLE letters (client int, address text);
    INSERT INTO letters VALUES (2, 'two@example.org'), (2, 'two@example.org'), (13, 'three@example.org');
    CREATE VIEW mails AS SELECT id, email FROM clients WHERE id < 100;
    CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE folded (id int, email text COLLATE loose);
    INSERT INTO folded VALUES (1, 'TWO@example.org');
    CREATE TABLE kept (word text);
    CREATE FUNCTION keep(text) RETURNS bool LANGUAGE plpgsql AS
        $$BEGIN RAISE NOTICE 'got %', $1; INSERT INTO kept VALUES ($1); RETURN true; END$$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
    ANALYZE;";

fn site_with(setting: &str) -> Site {
    let columns =
        ["clients.email", "clients.mail", "clients.short", "letters.address", "mails.email", "folded.email"];
    let mut more = format!("[masking]\n{setting}");
    for column in columns {
        more += &format!(
            "[[masking.columns]]\ncolumn = \"public.{column}\"\ncategory = \"email\"\nstyle = \"token\"\n"
        );
    }
    let site = Site::with(Auth::Trust, &Options { more, ..Options::default() }).unwrap();
    site.truth(RELATIONS).unwrap();
    site
}

fn site() -> Site {
    site_with("compare_tokens = true\n")
}

fn request(sql: &str, values: &[&str]) -> Vec<u8> {
    [wire::extended(sql, values), wire::sync()].concat()
}

fn ask(session: &mut Wire, sql: &str, values: &[&str]) -> Vec<Message> {
    session.send(&request(sql, values)).unwrap();
    let told = session.until_ready().unwrap();
    assert!(!told.iter().any(|message| message.text().contains(VALUE)), "{sql}: {}", wire::tags(&told));
    told
}

/// First columns of the rows, or the SQLSTATE of an error.
fn rows(told: &[Message]) -> String {
    match told.iter().find(|message| message.tag == b'E') {
        Some(error) => error.field(b'C').unwrap(),
        None => {
            let rows = told.iter().filter(|message| message.tag == b'D').map(|row| row.row().unwrap());
            let first =
                |row: Vec<Option<Vec<u8>>>| String::from_utf8(row[0].clone().unwrap_or_default()).unwrap();
            rows.map(first).collect::<Vec<_>>().join(" ")
        }
    }
}

fn token(session: &mut Wire) -> String {
    let token = rows(&ask(session, "SELECT email FROM clients WHERE id = 2", &[]));
    assert!(token.starts_with("tok_"), "{token}");
    token
}

#[test]
fn an_agent_finds_by_a_token_what_it_was_shown() {
    let site = site();
    let mut agent = site.wire(Class::Agent).unwrap();
    let token = token(&mut agent);
    for (sql, found) in [
        ("SELECT id FROM clients WHERE email = $1", "2"),
        ("SELECT id FROM clients WHERE mail = $1", "2"),
        ("SELECT email FROM mails WHERE email = $1", token.as_str()),
        ("SELECT count(*) FROM letters WHERE address = $1", "2"),
        (
            "SELECT c.id FROM clients c JOIN letters l ON l.client = c.id AND l.address = $1 WHERE c.email = $1",
            "2 2",
        ),
        ("SELECT client FROM letters WHERE client = (SELECT id FROM clients WHERE email = $1)", "2 2"),
        ("SELECT id FROM clients WHERE email = $1 OR id = 11", "2 11"),
    ] {
        let mut found_here: Vec<String> =
            rows(&ask(&mut agent, sql, &[&token])).split(' ').map(str::to_owned).collect();
        let mut expected: Vec<&str> = found.split(' ').collect();
        found_here.sort();
        expected.sort_unstable();
        assert_eq!(found_here, expected, "{sql}");
    }
    // What is no token is denied as ever, and so is what only looks like one.
    for other in [VALUE, "tok_00000000_AAAA", &token[..token.len() - 1], "%"] {
        assert_eq!(
            rows(&ask(&mut agent, "SELECT id FROM clients WHERE email = $1", &[other])),
            "42501",
            "{other}"
        );
    }
    let told = ask(&mut agent, "SELECT id FROM clients WHERE email = $1", &["one@example.org"]);
    let hint = told.iter().find_map(|message| message.field(b'H').filter(|_| message.tag == b'E')).unwrap();
    assert!(hint.contains("bind the token as it was shown"), "{hint}");

    let record = site
        .governor
        .wait_for_record("statement", |record| text(record, "text").ends_with("mails WHERE email = $1"))
        .unwrap();
    assert_eq!(field(&record, "parameters")[0].as_str(), Some(token.as_str()));
    assert_eq!((text(&record, "tokens"), text(&record, "verdict")), ("1".into(), "allow".into()));
    for event in ["statement", "completion"] {
        for record in site.governor.events(event).unwrap() {
            assert!(!record.to_string().contains(VALUE) || text(&record, "verdict") == "deny", "{record}");
        }
    }
    let page = site.governor.metrics().unwrap();
    assert!(page.lines().any(|line| line == "governor_tokens_compared_total 7"), "{page}");
}

#[test]
fn without_the_setting_a_token_is_a_value_like_any_other() {
    let site = site_with("");
    let mut agent = site.wire(Class::Agent).unwrap();
    let token = token(&mut agent);
    let told = ask(&mut agent, "SELECT id FROM clients WHERE email = $1", &[&token]);
    assert_eq!(rows(&told), "42501");
}

#[test]
fn psycopg_finds_rows_by_tokens() {
    if programs::missing("psycopg", &programs::python()) {
        return;
    }
    let told = by_driver(&site(), "with_psycopg.py");
    let expected = "tok\nTrue\nTrue\nTrue\n[(2,)]\n[[(2,)], [(2,)], [(2,)]]\n42501 True\n42501 True\n";
    assert_eq!(told, expected);
}

#[test]
fn asyncpg_finds_rows_by_tokens() {
    if programs::missing("asyncpg", &programs::python()) {
        return;
    }
    let told = by_driver(&site(), "with_asyncpg.py");
    assert_eq!(told, "tok\nemail [2]\nmail [2]\n[<Record id=2>]\n42501 True\n");
}

fn by_driver(site: &Site, script: &str) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tokens").join(script);
    let mut command = client::python(&source, site.postgres.port());
    cgroup::enter(&mut command, &site.group.client(Class::Agent)).unwrap();
    Running::start(command, &[]).unwrap().finish(wait::PATIENCE).unwrap().ok().unwrap().out()
}

/// Each would show the value, or keep it where it can be read, if a token were replaced there.
#[test]
fn no_other_use_of_a_parameter_gets_the_value() {
    let site = site();
    let mut agent = site.wire(Class::Agent).unwrap();
    let token = token(&mut agent);
    for sql in [
        "SELECT $1::text FROM clients WHERE email = $1",
        "SELECT reverse($1) FROM clients WHERE email = $1",
        "SELECT id FROM clients WHERE email = $1 AND keep($1)",
        "SELECT id FROM clients WHERE email = $1 AND note < $1",
        "SELECT id FROM clients WHERE note = $1",
        "SELECT id FROM clients WHERE email = $1 AND note = $1",
        "SELECT id FROM clients WHERE phone = $1",
        "SELECT id FROM clients WHERE short = $1",
        "SELECT id FROM clients WHERE email = $1::name",
        "SELECT id FROM clients WHERE email COLLATE loose = $1",
        "SELECT id FROM folded WHERE email = $1",
        "SELECT id FROM (SELECT id, email COLLATE loose AS e FROM clients) q WHERE e = $1",
        "SELECT id FROM clients WHERE email LIKE $1",
        "SELECT id FROM clients WHERE email >= $1",
        "SELECT id FROM clients WHERE lower(email) = $1",
        "SELECT id FROM clients WHERE email = $1 ORDER BY note = $1",
        "SELECT id FROM clients WHERE email = $1 UNION ALL SELECT length($1)",
        "EXPLAIN SELECT id FROM clients WHERE email = $1",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM clients WHERE email = $1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM clients WHERE email = $1",
    ] {
        ask(&mut agent, sql, &[&token]);
    }
    assert_eq!(site.truth("SELECT count(*) FROM kept WHERE word NOT LIKE 'tok%'").unwrap().trim(), "0");
    let sent = site.governor.events("statement").unwrap();
    let replaced: Vec<String> = sent
        .iter()
        .filter(|record| record.get("tokens").is_some() || record.to_string().contains("\"tokens\":1"))
        .map(|record| text(record, "text"))
        .collect();
    assert!(replaced.is_empty(), "{replaced:?}");
    // As a statement that the server keeps, and by what the server tells of those.
    let mut batch = wire::parse("kept", "SELECT id FROM clients WHERE email = $1");
    batch.extend(
        [wire::bind("open", "kept", &[&token]), wire::execute_rows("open", 0), wire::sync()].concat(),
    );
    agent.send(&batch).unwrap();
    assert_eq!(rows(&agent.until_ready().unwrap()), "2");
    let literal = format!("EXECUTE kept('{token}')");
    for sql in [
        "SELECT statement, parameter_types FROM pg_prepared_statements",
        "SELECT statement FROM pg_cursors",
        "SELECT query FROM pg_stat_activity",
        "SELECT current_query()",
        "EXPLAIN EXECUTE kept('x')",
        &literal,
    ] {
        ask(&mut agent, sql, &[]);
    }
}

/// The server quotes parameters in the context of errors, and in plans that it logs.
#[test]
fn what_the_server_says_of_itself_quotes_no_value() {
    let site = site();
    let database = site.truth("SELECT current_database()").unwrap();
    for setting in
        ["log_parameter_max_length_on_error = -1", "client_min_messages = debug1", "debug_print_plan = on"]
    {
        site.truth(&format!("ALTER DATABASE \"{}\" SET {setting}", database.trim())).unwrap();
    }
    let mut agent = site.wire(Class::Agent).unwrap();
    let token = token(&mut agent);
    let told = ask(&mut agent, "SELECT 1 / (id - 2) FROM clients WHERE email = $1", &[&token]);
    assert_eq!(rows(&told), "22012");
    assert_eq!(rows(&ask(&mut agent, "SET statement_timeout = '200ms'", &[])), "");
    let told = ask(&mut agent, "SELECT pg_sleep(60) FROM clients WHERE email = $1", &[&token]);
    assert_eq!(rows(&told), "57014");
    // The value was there to be quoted: past governor it is.
    let mut direct = site.wire_direct().unwrap();
    direct.send(&request("SELECT 1 / (id - 2) FROM clients WHERE email = $1", &[VALUE])).unwrap();
    let told = direct.until_ready().unwrap();
    assert!(told.iter().any(|message| message.tag == b'E' && message.text().contains(VALUE)));
    // An end in the middle of a statement has a context, too.
    assert_eq!(rows(&ask(&mut agent, "SET statement_timeout = 0", &[])), "");
    agent.send(&request("SELECT pg_sleep(60) FROM clients WHERE email = $1", &[&token])).unwrap();
    let asleep = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let is_ended = || Ok((site.truth(asleep)?.trim() == "t").then_some(()));
    wait::until("the session is ended", wait::PATIENCE, is_ended).unwrap();
    let rest = String::from_utf8_lossy(&agent.until_closed().unwrap()).into_owned();
    assert!(rest.contains("57P01") && !rest.contains(VALUE), "{rest}");
}

#[test]
fn a_token_of_an_earlier_key_is_a_value_like_any_other() {
    let site = site();
    let mut agent = site.wire(Class::Agent).unwrap();
    let old = token(&mut agent);
    site.governor.cli(&["keys", "rotate"]).unwrap().ok().unwrap();
    let new = token(&mut agent);
    assert_ne!(old, new);
    let sql = "SELECT id FROM clients WHERE email = $1";
    assert_eq!(rows(&ask(&mut agent, sql, &[&old])), "42501");
    assert_eq!(rows(&ask(&mut agent, sql, &[&new])), "2");
}

/// What users call `=` may tell more than whether values are equal.
#[test]
fn an_equality_that_users_made_gets_no_value() {
    let site = site();
    let mut agent = site.wire(Class::Agent).unwrap();
    let token = token(&mut agent);
    let sql = "SELECT id FROM clients WHERE mail = $1";
    assert_eq!(rows(&ask(&mut agent, sql, &[&token])), "2");
    site.truth(
        "CREATE FUNCTION at_least(varchar, varchar) RETURNS bool LANGUAGE sql IMMUTABLE AS
            'SELECT $1::text OPERATOR(pg_catalog.>=) $2::text';
         CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = at_least);",
    )
    .unwrap();
    // Past governor it is what stands for equality now.
    let mut direct = site.wire_direct().unwrap();
    direct.send(&request("SELECT count(*) FROM clients WHERE mail = $1", &["a"])).unwrap();
    assert_eq!(rows(&direct.until_ready().unwrap()), "3");
    // With the next statement governor hears of it.
    ask(&mut agent, "SELECT email FROM clients", &[]);
    assert_eq!(rows(&ask(&mut agent, sql, &[&token])), "42501");
}
