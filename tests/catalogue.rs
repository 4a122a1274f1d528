//! What a statement touches through the catalogue, judged by what really happens in the database.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::text;
use governor_tests::programs::{missing, server_below_tools};
use governor_tests::{Auth, Class, Options, Site, process, wait, wire};
use std::time::Instant;

/// Objects that do more than their names say. Everybody may use them.
const OBJECTS: &str = "
    CREATE VIEW shown AS SELECT id, city FROM people;
    CREATE VIEW nested AS SELECT id FROM shown;
    CREATE TABLE log (at timestamptz DEFAULT now(), what text);
    CREATE TABLE queue (id int, command text);
    CREATE TABLE notes (id int PRIMARY KEY, body text);
    CREATE TABLE answers (id int, note int REFERENCES notes ON DELETE CASCADE);
    INSERT INTO notes SELECT n, 'x' FROM generate_series(1, 5) n;
    INSERT INTO answers SELECT n, n FROM generate_series(1, 5) n;
    CREATE TABLE parts (id int, day date) PARTITION BY RANGE (id);
    CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
    CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (20);
    INSERT INTO parts SELECT n, now() FROM generate_series(1, 15) n;
    CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; RETURN 1; END $$;
    CREATE FUNCTION wipe_sql() RETURNS int LANGUAGE sql AS $$ DELETE FROM orders; SELECT 1 $$;
    CREATE FUNCTION wipe_through() RETURNS int LANGUAGE sql STABLE AS $$ SELECT wipe() $$;
    CREATE FUNCTION wipe_by_string(t text) RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'DELETE FROM ' || t; RETURN 1; END $$;
    CREATE FUNCTION total() RETURNS numeric LANGUAGE sql STABLE AS $$ SELECT sum(amount) FROM orders $$;
    CREATE FUNCTION double(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN x * 2; END $$;
    CREATE VIEW trap AS SELECT wipe() AS one;
    CREATE FUNCTION run_command() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE NEW.command; RETURN NEW; END $$;
    CREATE TRIGGER runs BEFORE INSERT ON queue FOR EACH ROW EXECUTE FUNCTION run_command();
    CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO log (what) VALUES (TG_OP); RETURN NEW; END $$;
    CREATE TRIGGER notes_it AFTER UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION note_it();
    CREATE RULE redirect AS ON INSERT TO shown DO INSTEAD DELETE FROM log;
    CREATE FUNCTION wipe_operator(int, text) RETURNS bool LANGUAGE sql AS $$ SELECT wipe() = 1 $$;
    CREATE OPERATOR <!> (LEFTARG = int, RIGHTARG = text, FUNCTION = wipe_operator);
    CREATE FUNCTION wipe_row(people) RETURNS int LANGUAGE sql AS $$ SELECT wipe() $$;
    CREATE PROCEDURE harmless() LANGUAGE sql AS $$ SELECT 1 $$;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
";

fn site_with(options: Options) -> Site {
    let site = Site::with(Auth::Trust, &Options { approval_timeout: "1s", ..options }).unwrap();
    site.truth(OBJECTS).unwrap();
    site
}

fn policy(text: &str) -> Options {
    Options { policies: vec![("test.cedar".into(), text.into())], ..Options::default() }
}

fn orders(site: &Site) -> String {
    site.truth("SELECT count(*) FROM orders").unwrap()
}

/// Refused with an error of governor's, or held until the request ran out.
fn refused(site: &Site, class: Class, sql: &str) -> bool {
    let done = site.psql(class, &format!("{sql};\n")).unwrap();
    let refused = done.err().contains("42501") && done.err().contains("governor");
    assert!(refused || done.err().is_empty(), "{sql}: {}", done.err());
    refused
}

/// Functions, views, operators and rows that delete are deletions, whoever calls them by what name.
#[test]
fn a_select_that_deletes_is_a_delete() {
    let site = site_with(Options::default());
    let before = orders(&site);
    for class in [Class::Agent, Class::Person] {
        for sql in [
            "SELECT wipe()",
            "SELECT wipe_sql()",
            "SELECT wipe_through()",
            "SELECT public.wipe()",
            "SELECT * FROM wipe()",
            "SELECT * FROM trap",
            "SELECT wipe_by_string('orders')",
            "SELECT 1 <!> 'x'",
            "SELECT p.wipe_row FROM people p",
            "WITH w AS MATERIALIZED (SELECT wipe()) SELECT 1 FROM w",
            "EXPLAIN ANALYZE SELECT wipe()",
            "COPY (SELECT wipe()) TO STDOUT",
            "PREPARE q AS SELECT wipe(); EXECUTE q",
            "BEGIN; DECLARE c CURSOR FOR SELECT wipe(); FETCH c; COMMIT",
            "CREATE TEMP TABLE gone AS SELECT wipe()",
            "INSERT INTO queue VALUES (1, 'DELETE FROM orders')",
        ] {
            assert!(refused(&site, class, sql), "{class:?}: {sql}");
            assert_eq!(orders(&site), before, "{class:?}: {sql}");
        }
    }
    // Services are observed.
    assert!(!refused(&site, Class::Service, "SELECT wipe()"));
    assert_eq!(orders(&site), "0");
}

/// In the extended protocol too, at once and prepared.
#[test]
fn a_bound_select_that_deletes_is_a_delete() {
    let site = site_with(Options::default());
    let before = orders(&site);
    let mut agent = site.wire(Class::Agent).unwrap();
    agent.send(&[wire::extended("SELECT wipe()", &[]), wire::sync()].concat()).unwrap();
    let reply = agent.until_ready().unwrap();
    assert!(reply.iter().any(|m| m.field(b'C').as_deref() == Some("42501")), "{reply:?}");
    assert_eq!(orders(&site), before);
}

#[test]
fn ordinary_functions_and_views_stay_allowed() {
    let site = site_with(Options::default());
    for class in [Class::Agent, Class::Person] {
        for sql in [
            "SELECT total(), double(4)",
            "SELECT count(*), upper(city) FROM nested n JOIN shown s USING (id) GROUP BY city",
            "SELECT id FROM people ORDER BY id LIMIT 1",
            "SELECT now(), extract(year FROM now()), to_char(now(), 'YYYY'), coalesce(1, 2), pg_backend_pid()",
            "SELECT * FROM generate_series(1, 3)",
            "SELECT count(*) FROM parts WHERE id BETWEEN 1 AND 5",
            "SELECT relname FROM pg_class WHERE relkind = 'r' LIMIT 1",
            "SELECT table_name FROM information_schema.tables LIMIT 1",
            "EXPLAIN SELECT * FROM shown",
            "SHOW server_version",
        ] {
            assert!(!refused(&site, class, sql), "{class:?}: {sql}");
        }
    }
    let person = Class::Person;
    for sql in [
        "INSERT INTO notes VALUES (100, 'y')",
        "UPDATE notes SET body = 'z' WHERE id = 100",
        "DELETE FROM notes WHERE id = 100",
        "CREATE TEMP TABLE mine AS SELECT 1 AS a; INSERT INTO mine VALUES (2); SELECT * FROM mine",
        "INSERT INTO parts VALUES (3, now())",
        "BEGIN; CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1); DELETE FROM t WHERE a = 1; COMMIT",
    ] {
        assert!(!refused(&site, person, sql), "{sql}");
    }
}

/// A rule about a table holds by whatever name the table is reached.
#[test]
fn a_rule_on_a_base_table_holds_through_whatever_reaches_it() {
    let rule = |id: &str, what: &str, table: &str| {
        format!(
            "@id(\"{id}\")\n@reason(\"{id}\")\nforbid (principal, action in Governor::Action::\"run\", resource) \
             when {{ context.{what}.contains(\"{table}\") }};\n"
        )
    };
    let text = [
        rule("no-people", "reads", "public.people"),
        rule("no-log", "writes", "log"),
        rule("no-answers", "writes", "public.answers"),
        rule("no-high", "reads", "parts_high"),
        rule("no-parts", "writes", "parts"),
        rule("no-wipe", "functions", "public.wipe"),
    ]
    .concat();
    let site = site_with(policy(&text));
    let service = Class::Service;
    for sql in [
        "SELECT * FROM people",
        "SELECT * FROM shown",
        "SELECT * FROM nested",
        "SELECT 1 FROM orders WHERE id IN (SELECT id FROM nested)",
        "UPDATE notes SET body = 'q' WHERE id = 1",
        "INSERT INTO shown VALUES (1, 'x')",
        "DELETE FROM notes WHERE id = 1",
        "TRUNCATE notes CASCADE",
        "SELECT * FROM parts",
        "DELETE FROM parts_low",
        "SELECT wipe_through()",
        "SELECT * FROM trap",
    ] {
        assert!(refused(&site, service, sql), "{sql}");
    }
    for sql in ["SELECT * FROM notes", "UPDATE answers SET id = 1 WHERE false", "SELECT * FROM parts_low"] {
        let expected = sql.starts_with("UPDATE");
        assert_eq!(refused(&site, service, sql), expected, "{sql}");
    }
    assert_eq!(site.truth("SELECT count(*) FROM notes").unwrap(), "5");
    assert_eq!(site.truth("SELECT count(*) FROM parts").unwrap(), "15");
}

/// What somebody else made a moment ago counts, though nobody told governor.
#[test]
fn definitions_of_others_count_as_soon_as_they_are_named() {
    let site = site_with(Options::default());
    let before = orders(&site);
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ");
    site.truth(
        "CREATE FUNCTION fresh() RETURNS int LANGUAGE sql AS $$ DELETE FROM orders; SELECT 1 $$;
         CREATE FUNCTION fresh_sum() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM orders $$",
    )
    .unwrap();
    // Held as long as nothing is known of it, and denied for what it does as soon as it is. Never run.
    wait::until("the catalogue to be read again", wait::PATIENCE, || {
        let reply = agent.query("SELECT fresh()")?;
        assert_eq!(orders(&site), before);
        Ok((reply[0].tag == b'E').then_some(()))
    })
    .unwrap();
    assert_eq!(wire::tags(&agent.query("SELECT fresh_sum()").unwrap()), "TDCZ");
    let unknown = agent.query("SELECT never_made()").unwrap();
    assert_eq!(unknown.last().unwrap().tag, b'Z');
}

/// The session's own transaction, settings and snapshot are what they would be without governor.
#[test]
fn reading_the_catalogue_disturbs_nothing() {
    let site = site_with(Options::default());
    for setting in [
        "default_transaction_isolation = serializable",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
        "statement_timeout = '5s'",
        "lock_timeout = '3s'",
    ] {
        site.truth(&format!("ALTER ROLE app SET {setting}")).unwrap();
    }
    let script = "
        SHOW search_path; SHOW client_encoding; SHOW statement_timeout; SHOW lock_timeout; SHOW jit;
        SHOW default_transaction_isolation; SHOW transaction_isolation; SHOW standard_conforming_strings;
        SET search_path = pg_catalog; SET client_encoding = 'LATIN1';
        SELECT 'gr\u{e4}' = 'x';
        SHOW search_path; SHOW client_encoding;
        BEGIN; SHOW transaction_read_only; SHOW transaction_deferrable; COMMIT;
    ";
    let through = site.psql(Class::Agent, script).unwrap();
    assert_eq!(through.all(), site.psql_direct(script).unwrap().all());

    // A transaction's snapshot is its own first statement's, though the catalogue is old by then.
    let mut agent = site.wire(Class::Agent).unwrap();
    agent.query("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    site.truth("CREATE TABLE made_between (a int); GRANT ALL ON made_between TO PUBLIC; INSERT INTO made_between VALUES (1)")
        .unwrap();
    let seen = agent.query("SELECT count(*) FROM made_between").unwrap();
    assert_eq!(seen[1].row().unwrap()[0].as_deref(), Some(&b"1"[..]), "its snapshot begins here: {seen:?}");
    site.truth("INSERT INTO made_between VALUES (2)").unwrap();
    let again = agent.query("SELECT count(*) FROM made_between").unwrap();
    assert_eq!(again[1].row().unwrap()[0].as_deref(), Some(&b"1"[..]), "and stays");
    assert_eq!(agent.query("COMMIT").unwrap().last().unwrap().body, b"I");
}

/// A relation that somebody holds locked keeps nobody from connecting; its view is opaque then.
#[test]
fn a_locked_table_keeps_nobody_out() {
    let site = site_with(Options::default());
    let mut locker = site.wire_direct().unwrap();
    locker.query("BEGIN").unwrap();
    locker.query("LOCK TABLE people IN ACCESS EXCLUSIVE MODE").unwrap();
    let done = site.psql(Class::Agent, "SELECT count(*) FROM orders;\n").unwrap();
    assert_eq!(done.err(), "");
    assert!(!done.out().is_empty());
    locker.query("ROLLBACK").unwrap();
}

/// What is in a session's way does not change what is read: a role without rights, odd settings, odd names.
#[test]
fn odd_sessions_read_the_same_catalogue() {
    let site = site_with(Options::default());
    site.truth(
        "CREATE ROLE nobody LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO nobody, app;
         CREATE TABLE \"Größe \"\"x\"\" 表\" (\"Spalte\n2\" int); CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
         CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS $$ SELECT false $$;
         CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
         ALTER ROLE nobody SET search_path = evil, public, pg_catalog;
         ALTER ROLE nobody SET quote_all_identifiers = on; ALTER ROLE nobody SET client_encoding = 'LATIN1'",
    )
    .unwrap();
    let before = orders(&site);
    let mut agent = wire::Wire::new(site.socket(Class::Agent).unwrap()).unwrap();
    agent.start("nobody", "shop").unwrap();
    let reply = agent.query("SELECT wipe_through()").unwrap();
    assert_eq!(reply[0].field(b'C').as_deref(), Some("42501"), "{reply:?}");
    assert_eq!(orders(&site), before);
    assert_eq!(wire::tags(&agent.query("SELECT total()").unwrap()).chars().last(), Some('Z'));
}

#[test]
fn it_is_read_from_every_version() {
    for version in [13, 16, 17, 18] {
        if missing(&format!("PostgreSQL {version}"), &server_below_tools(version)) {
            continue;
        }
        let site = site_with(Options { server_version: Some(version), ..Options::default() });
        if version >= 14 {
            site.truth(
                "CREATE FUNCTION wipe_standard() RETURNS int BEGIN ATOMIC DELETE FROM orders; SELECT 1; END",
            )
            .unwrap();
        }
        let before = orders(&site);
        let standard = if version >= 14 { "SELECT wipe_standard()" } else { "SELECT wipe()" };
        for sql in
            ["SELECT wipe_through()", "SELECT * FROM trap", standard, "INSERT INTO queue VALUES (1, 'x')"]
        {
            assert!(refused(&site, Class::Agent, sql), "{version}: {sql}");
            assert_eq!(orders(&site), before, "{version}: {sql}");
        }
        for sql in ["SELECT total(), double(1)", "SELECT * FROM nested", "SELECT extract(day FROM now())"] {
            assert!(!refused(&site, Class::Agent, sql), "{version}: {sql}");
        }
        // Before 14 the server tells of a changed setting at once: what governor sets for itself is not for the client.
        site.truth("ALTER ROLE app SET client_encoding = 'LATIN1'").unwrap();
        let told = |wire: wire::Wire, mut started: Vec<wire::Message>| {
            drop(wire);
            started.retain(|message| message.tag == b'S' && message.text().starts_with("client_encoding"));
            started.iter().map(wire::Message::text).collect::<Vec<_>>()
        };
        let started = |socket| {
            let mut wire = wire::Wire::new(socket).unwrap();
            let messages = wire.start("app", "shop").unwrap();
            told(wire, messages)
        };
        let direct = started(site.socket_direct().unwrap());
        assert!(!direct.is_empty());
        assert_eq!(started(site.socket(Class::Agent).unwrap()), direct, "{version}");
    }
}

/// The record of a refused SELECT says what it was refused for.
#[test]
fn the_reason_names_what_was_reached() {
    let site = site_with(Options::default());
    assert!(refused(&site, Class::Agent, "SELECT wipe()"));
    let record = site
        .governor
        .wait_for_record("statement", |record| {
            text(record, "text").contains("wipe") && text(record, "verdict") == "deny"
        })
        .unwrap();
    assert!(record.to_string().contains("agents-unbounded-denied"), "{record}");
}

/// Run by hand, with a release build: `GOVERNOR_BIN=… cargo test -p governor-tests --test catalogue -- --ignored --nocapture`.
#[test]
#[ignore = "prints a measurement; takes minutes"]
fn fifty_thousand_relations() {
    let site =
        site_with(Options { server_settings: vec!["max_locks_per_transaction=4000"], ..Options::default() });
    for from in (1..=50_000).step_by(2_000) {
        site.truth(&format!(
            "DO $$ DECLARE cols text; BEGIN FOR i IN {from}..{} LOOP
             SELECT string_agg(format('column_%s_%s text', (i * 7 + j) % 1000, j), ', ') INTO cols FROM generate_series(2, 8) j;
             EXECUTE format('CREATE TABLE relation_number_%s (id int PRIMARY KEY, email text, %s, created_at timestamptz)', i, cols);
             END LOOP; END $$",
            from + 1_999
        ))
        .unwrap();
    }
    site.truth("ANALYZE").unwrap();
    let governor = site.governor.pid().unwrap();
    let connect = |class| {
        let before = (Instant::now(), process::rss_kib(governor).unwrap());
        process::forget_peak(governor).unwrap();
        let mut wire = site.wire(class).unwrap();
        let took = before.0.elapsed();
        let (now, peak) = (process::rss_kib(governor).unwrap(), process::peak_kib(governor).unwrap());
        wire.query("SELECT 1").unwrap();
        println!(
            "{class:?}: {} ms to connect, {} KiB more in memory, {} KiB at the peak",
            took.as_millis(),
            now.saturating_sub(before.1),
            peak.saturating_sub(before.1)
        );
    };
    for class in [Class::Service, Class::Agent, Class::Agent, Class::Person] {
        connect(class);
    }
}

/// Sessions that follow each other use what the first has read, whichever worker serves them.
#[test]
fn a_catalogue_is_read_once_for_all_sessions() {
    let site = site_with(Options { server_settings: vec!["log_statement=all"], ..Options::default() });
    let readings = || site.postgres.log().matches("pg_catalog.pg_language").count();
    let before = readings();
    let ask = |class| site.psql(class, "SELECT count(*) FROM shown;\n").unwrap().ok().unwrap();
    ask(Class::Agent);
    let first = readings();
    assert!(first > before, "the first session reads it");
    for _ in 0..4 {
        ask(Class::Agent);
        ask(Class::Person);
    }
    assert_eq!(readings(), first, "and no other");
}

/// How many rows a statement touches, from the server's own statistics and keys.
#[test]
fn a_rule_on_breadth_holds_by_what_the_server_knows() {
    let rule = r#"
        @id("wide") @reason("that is very many rows")
        forbid (principal, action in Governor::Action::"write", resource)
        when { context has estimated_rows && context.estimated_rows > 50 };
    "#;
    let site = site_with(policy(rule));
    site.truth("ANALYZE").unwrap();
    let mut person = site.wire(Class::Person).unwrap();
    for (sql, runs) in [
        ("UPDATE orders SET item = item WHERE id = 1", true),
        ("UPDATE orders SET item = item WHERE id IN (1, 2, 3)", true),
        ("UPDATE orders SET item = item WHERE item <> ''", false),
        ("DELETE FROM orders WHERE item = 'nothing'", false),
        ("UPDATE notes SET body = 'y' WHERE body <> ''", true),
    ] {
        let reply = person.query(sql).unwrap();
        let error = reply.iter().find_map(|message| message.field(b'M')).unwrap_or_default();
        assert_eq!(
            (error.contains("that is very many rows"), error.is_empty()),
            (!runs, runs),
            "{sql}: {error}"
        );
    }
}

/// A function whose code nobody can read counts by what the server keeps of it: a volatile one may do anything.
#[test]
fn a_function_that_cannot_be_read_counts_by_its_volatility() {
    let site = site_with(Options::default());
    site.truth(
        "CREATE FUNCTION quiet(text) RETURNS int LANGUAGE internal IMMUTABLE AS 'textlen';\n\
         CREATE FUNCTION loud(text) RETURNS int LANGUAGE internal VOLATILE AS 'textlen'",
    )
    .unwrap();
    for class in [Class::Agent, Class::Person] {
        assert!(!refused(&site, class, "SELECT quiet('a')"), "{class:?}");
        assert!(refused(&site, class, "SELECT loud('a')"), "{class:?}");
    }
}

/// A rule on a child holds through its parent, unless the statement leaves children out.
#[test]
fn a_rule_on_a_child_holds_through_its_parent() {
    let rule = r#"
        @id("no-kid") @reason("not the child")
        forbid (principal, action in Governor::Action::"run", resource) when { context.reads.contains("kid") };
    "#;
    let site = site_with(policy(rule));
    site.truth("CREATE TABLE kid () INHERITS (notes); GRANT SELECT ON kid TO PUBLIC").unwrap();
    for (sql, is_refused) in [
        ("SELECT body FROM kid", true),
        ("SELECT body FROM notes", true),
        ("SELECT n.body FROM answers a JOIN notes n ON n.id = a.note", true),
        ("SELECT body FROM ONLY notes", false),
        ("SELECT id FROM answers", false),
    ] {
        assert_eq!(refused(&site, Class::Person, sql), is_refused, "{sql}");
    }
}
