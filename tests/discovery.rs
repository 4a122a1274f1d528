//! What columns hold that no name tells: found, told, kept, ruled on; and nothing of it, nor of what people decide on,
//! holds a value.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::process::{self, Finished};
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Auth, Class, Options, Running, Site, cgroup, wait};
use serde_json::Value;
use std::path::Path;

/// Two workers, so that two connections are on two threads.
fn site() -> Site {
    Site::with(Auth::Trust, &Options { more: "[limits]\nworkers = 2\n".into(), ..Options::default() })
        .unwrap()
}

/// A table of opaque names: `c1` holds the cards of the demo database but for one row, `c2` plain words.
fn plant(site: &Site) {
    site.truth(
        "CREATE TABLE t (id int PRIMARY KEY, c1 text, c2 text); \
         INSERT INTO t SELECT id, card_number, 'all is well' FROM cards; \
         INSERT INTO t VALUES (1000, 'ask at the desk', 'all is well'); \
         GRANT ALL ON t TO PUBLIC",
    )
    .unwrap();
}

/// As root in the cgroup of `class`: who asks goes by that.
fn data(site: &Site, class: Class, args: &[&str]) -> Finished {
    let mut command = site.governor.command(&[&["data"], args].concat()).unwrap();
    cgroup::enter(&mut command, &site.group.client(class)).unwrap();
    process::run(command, wait::PATIENCE).unwrap()
}

fn person(site: &Site, args: &[&str]) -> String {
    data(site, Class::Person, args).ok().unwrap().out()
}

fn column(site: &Site, name: &str) -> Option<Value> {
    let all = site.governor.json(&["data", "list", "--all"]).unwrap();
    all.into_iter().find(|column| column["column"] == name && column["relation"] == "t")
}

fn wait_for_status(site: &Site, name: &str, status: &str) -> Value {
    wait::until(&format!("{name} to be {status}"), wait::PATIENCE, || {
        Ok(column(site, name).filter(|column| text(column, "status") == status))
    })
    .unwrap()
}

/// The one value that a query answers.
fn value(session: &mut Wire, sql: &str) -> String {
    let reply = session.query(sql).unwrap();
    let row = reply.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("{sql}: {reply:?}"));
    String::from_utf8(row.row().unwrap().remove(0).unwrap()).unwrap()
}

const ODD: &str = "SELECT c1 FROM t WHERE id = 1000";
const PLAIN: &str = "SELECT c2 FROM t WHERE id = 1000";

#[test]
fn a_column_of_cards_with_an_opaque_name_becomes_masked_as_a_whole() {
    let site = site();
    plant(&site);
    let mut agent = site.wire(Class::Agent).unwrap();
    let mut open = site.wire(Class::Agent).unwrap();
    assert_eq!(value(&mut agent, ODD), "ask at the desk");
    let cards = site.truth("SELECT card_number FROM cards").unwrap();
    let shown = agent.query("SELECT id, c1, c2 FROM t ORDER BY id").unwrap();
    assert!(cards.lines().all(|card| !as_text(&shown).contains(card)));
    let found = wait_for_status(&site, "c1", "masked");
    assert_eq!(found["found"]["category"], "payment_card", "{found}");
    for session in [&mut agent, &mut open] {
        assert_ne!(
            value(session, ODD),
            "ask at the desk",
            "what no detector knows is hidden with the others"
        );
        assert_eq!(value(session, PLAIN), "all is well");
    }
    let record =
        site.governor.wait_for_record("data_finding", |r| text(r, "column") == "public.t.c1").unwrap();
    assert_eq!(
        (text(&record, "change").as_str(), field(&record, "masked_whole")),
        ("found", &Value::Bool(true))
    );
    let metrics = site.governor.metrics().unwrap();
    assert!(metrics.contains("governor_discovery_columns{status=\"masked\"} 1"), "{metrics}");
    assert!(metrics.contains("governor_discovery_events_total{change=\"found\"} 1"), "{metrics}");
    let list = person(&site, &["list"]);
    assert!(list.contains("public.t.c1") && list.contains("payment_card") && !list.contains("c2"), "{list}");
    let services = site.psql(Class::Service, &format!("{ODD};")).unwrap().ok().unwrap().out();
    assert_eq!(services, "ask at the desk\n", "who may see it sees it");
    for card in cards.lines() {
        assert_nowhere(&site, card);
    }
}

#[test]
fn what_an_operator_says_counts_at_once_everywhere_and_after_a_restart() {
    let mut site = site();
    plant(&site);
    let mut agents = [site.wire(Class::Agent).unwrap(), site.wire(Class::Agent).unwrap()];
    let mut expect = |what: &str, hidden: bool| {
        for session in &mut agents {
            assert_eq!(value(session, PLAIN) != "all is well", hidden, "{what}");
        }
    };
    expect("nothing was said", false);
    person(&site, &["label", "public.t.c2", "health", "--reason", "remarks of nurses"]);
    expect("labelled", true);
    person(&site, &["dismiss", "t.c2", "--reason", "only words"]);
    expect("dismissed", false);
    person(&site, &["confirm", "t.c2", "--category", "other"]);
    expect("confirmed", true);

    let rulings = site.governor.events("data_ruling").unwrap();
    let said: Vec<String> = rulings.iter().map(|r| text(r, "ruling")).collect();
    assert_eq!(said, ["labelled", "dismissed", "confirmed"]);
    assert_eq!(
        (text(&rulings[0], "category").as_str(), text(&rulings[1], "reason").as_str()),
        ("health", "only words")
    );
    assert!(rulings.iter().all(|r| text(r, "column") == "public.t.c2" && text(r, "by").starts_with("root")));

    for stop in [Site::stop as fn(&mut Site), Site::kill] {
        stop(&mut site);
        site.governor.launch().unwrap();
        let mut agent = site.wire(Class::Agent).unwrap();
        assert_ne!(value(&mut agent, PLAIN), "all is well");
        assert_eq!(text(&column(&site, "c2").unwrap(), "status"), "confirmed");
    }
}

trait Ends {
    fn stop(&mut self);
    fn kill(&mut self);
}

impl Ends for Site {
    fn stop(&mut self) {
        self.governor.stop().unwrap();
    }
    fn kill(&mut self) {
        self.governor.kill().unwrap();
    }
}

#[test]
fn a_ruling_needs_a_known_column_a_person_and_a_reason() {
    let site = site();
    plant(&site);
    site.psql(Class::Agent, "SELECT c1, c2 FROM t;").unwrap().ok().unwrap();
    for (class, args, told) in [
        (Class::Person, &["label", "public.t.c3", "other"][..], "did you mean public.t.c1"),
        (Class::Person, &["label", "t", "other"], "write schema.relation.column"),
        (Class::Person, &["label", "public.t.c1", "payment_cart"], "payment_card"),
        (Class::Person, &["confirm", "public.t.c2"], "nothing was found"),
        (Class::Person, &["dismiss", "public.t.c1"], "--reason"),
        (Class::Person, &["dismiss", "public.t.c1", "--reason", " "], "a reason has to be given"),
        (Class::Agent, &["label", "public.t.c1", "other"], "an AI agent may not"),
        (Class::Agent, &["dismiss", "public.t.c1", "--reason", "let me"], "an AI agent may not"),
    ] {
        let refused = data(&site, class, args);
        assert!(!refused.status.success() && refused.all().contains(told), "{args:?}: {}", refused.all());
    }
    let mut stranger = site.governor.command(&["data", "label", "public.t.c1", "other"]).unwrap();
    governor_tests::postgres::run_as_server_user(&mut stranger).unwrap();
    assert!(!process::run(stranger, wait::PATIENCE).unwrap().status.success());
    assert_eq!(site.governor.events("data_ruling").unwrap().len(), 0);
}

/// `c1` and `c3` hold numbers of digits alone that are one country's, the latter with its code; `c2` a counter every value of which
/// is somebody's number in Spain.
#[test]
fn bare_telephone_numbers_are_told_by_their_country_s_plan() {
    let site = site();
    site.truth(
        "CREATE TABLE t (id int PRIMARY KEY, email text, birth_date date, c1 text, c2 text, c3 text); \
         INSERT INTO t SELECT n, NULL, NULL, \
         (ARRAY['212', '310', '415', '512', '617', '702', '786', '901'])[1 + n % 8] || 2 + n % 8 || lpad((n * 7919 % 1000000)::text, 6, '0'), \
         (612000000 + n * 211000)::text, \
         '351' || (ARRAY['91', '92', '93', '96', '21', '22'])[1 + n % 6] || lpad((n * 73939 % 10000000)::text, 7, '0') \
         FROM generate_series(0, 199) n; \
         GRANT ALL ON t TO PUBLIC",
    )
    .unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    let clear = value(&mut agent, "SELECT c1 FROM t WHERE id = 0");
    assert_eq!(clear, "2122000000", "one number tells nothing");
    let mut part = 0;
    for name in ["c1", "c3"] {
        wait::until(&format!("{name} to be masked"), wait::PATIENCE, || {
            part = (part + 1) % 6;
            agent.query(&format!("SELECT c1, c2, c3 FROM t ORDER BY id LIMIT 32 OFFSET {}", 32 * part))?;
            Ok(column(&site, name).filter(|column| text(column, "status") == "masked"))
        })
        .unwrap();
    }
    let (c1, c3) = (column(&site, "c1").unwrap(), column(&site, "c3").unwrap());
    assert_eq!((text(&c1["found"], "category").as_str(), &c1["found"]["countries"]), ("phone", &Value::Null));
    assert_eq!(
        (text(&c3["found"], "category").as_str(), text(&c3["found"], "countries").as_str()),
        ("phone", "PT")
    );
    assert!(person(&site, &["list"]).contains("phone (PT)"));
    assert_ne!(value(&mut agent, "SELECT c1 FROM t WHERE id = 0"), clear);
    let counter = column(&site, "c2").unwrap();
    assert!(field(&counter, "values").as_u64() > Some(100), "{counter}");
    assert_eq!(text(&counter, "status"), "clean", "{counter}");
}

#[test]
fn free_text_that_begins_to_hold_cards_is_told() {
    let site = site();
    plant(&site);
    site.truth("INSERT INTO t SELECT n, NULL, 'all is well' FROM generate_series(2000, 8000) n").unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    wait::until("enough values to compare with", wait::PATIENCE, || {
        agent.query("SELECT c2 FROM t")?;
        Ok(column(&site, "c2").filter(|column| field(column, "values").as_u64() > Some(150)))
    })
    .unwrap();
    assert_eq!(text(&column(&site, "c2").unwrap(), "status"), "clean");
    site.truth(
        "UPDATE t SET c2 = 'they paid with ' || card_number || ' at noon' FROM cards WHERE cards.id = t.id",
    )
    .unwrap();
    wait::until("the drift", wait::PATIENCE, || {
        agent.query("SELECT c2 FROM t ORDER BY id LIMIT 20")?;
        Ok(column(&site, "c2").filter(|column| !column["drifted_unix_s"].is_null()))
    })
    .unwrap();
    assert_eq!(text(&column(&site, "c2").unwrap(), "status"), "mixed");
    let record = site.governor.wait_for_record("data_finding", |r| text(r, "change") == "drift").unwrap();
    assert_eq!(text(&record, "column"), "public.t.c2");
    assert_eq!(field(&record, "kinds")[0], "payment_card", "{record}");
    assert_eq!(value(&mut agent, PLAIN), "all is well", "text without cards stays readable");
    assert!(site.governor.metrics().unwrap().contains("governor_discovery_events_total{change=\"drift\"} 1"));
    assert!(site.governor.log().contains("began to hold other data"));
    assert!(person(&site, &["list", "--status", "mixed"]).contains("public.t.c2"));
}

/// What a column shows once the session was told that its relation is not what it was, at its statement before.
fn told(session: &mut Wire, column: &str, relation: &str) -> String {
    session.query(&format!("SELECT count(*) FROM {relation}")).unwrap();
    session.query(&format!("SELECT id FROM {relation}")).unwrap();
    value(session, &format!("SELECT {column} FROM {relation}"))
}

const SECRET: &str = "violet-harbour-6613";

/// A table whose only secret has a telling name, made by hand past governor, as all that follows.
fn plant_secret(site: &Site) {
    site.truth(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, password text, c2 text); INSERT INTO t VALUES (1, '{SECRET}', 'all is well'); \
         GRANT ALL ON t TO PUBLIC"
    ))
    .unwrap();
}

#[test]
fn a_secret_that_is_renamed_past_governor_stays_hidden_until_a_person_says_otherwise() {
    let mut site = site();
    plant_secret(&site);
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_ne!(value(&mut agent, "SELECT password FROM t"), SECRET);
    site.truth("ALTER TABLE t RENAME password TO remark").unwrap();
    assert_ne!(told(&mut agent, "remark", "t"), SECRET);
    let record = site.governor.wait_for_record("data_finding", |r| text(r, "change") == "renamed").unwrap();
    assert_eq!(
        (text(&record, "column").as_str(), text(&record, "formerly").as_str()),
        ("public.t.remark", "public.t.password")
    );
    assert_eq!(text(&wait_for_status(&site, "remark", "masked"), "relation"), "t");
    let list = person(&site, &["list"]);
    assert!(list.contains("formerly public.t.password") && list.contains("credential"), "{list}");
    let metrics = site.governor.metrics().unwrap();
    assert!(metrics.contains("governor_discovery_events_total{change=\"renamed\"} 1"), "{metrics}");

    // Also while governor is away, and over a restart.
    for stop in [Site::stop as fn(&mut Site), Site::kill] {
        stop(&mut site);
        site.governor.launch().unwrap();
        let mut agent = site.wire(Class::Agent).unwrap();
        assert_ne!(told(&mut agent, "remark", "t"), SECRET);
    }
    site.governor.stop().unwrap();
    site.truth("ALTER TABLE t RENAME remark TO colour; ALTER TABLE t RENAME TO things").unwrap();
    site.governor.launch().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_ne!(told(&mut agent, "colour", "things"), SECRET);

    person(&site, &["dismiss", "public.things.colour", "--reason", "the names of our boats"]);
    assert_eq!(value(&mut agent, "SELECT colour FROM things"), SECRET);
    site.governor.stop().unwrap();
    site.governor.launch().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_eq!(value(&mut agent, "SELECT colour FROM things"), SECRET);
}

/// The server says that its identifier is nobody's business: numbers count for its address.
#[test]
fn a_server_that_does_not_tell_which_it_is_is_believed_to_be_the_same() {
    let site = site();
    site.truth("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").unwrap();
    plant_secret(&site);
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_ne!(value(&mut agent, "SELECT password FROM t"), SECRET);
    assert_eq!(value(&mut agent, "SELECT c2 FROM t"), "all is well", "the catalogue is known all the same");
    site.truth("ALTER TABLE t RENAME password TO remark").unwrap();
    assert_ne!(told(&mut agent, "remark", "t"), SECRET);
}

#[test]
fn unknown_columns_are_hidden_where_the_operator_wants_that() {
    let more = "[masking]\nunknown_columns = 'hide'\n".into();
    let site = Site::with(Auth::Trust, &Options { more, ..Options::default() }).unwrap();
    plant_secret(&site);
    site.truth("ALTER TABLE t RENAME password TO remark").unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_ne!(value(&mut agent, "SELECT remark FROM t"), SECRET, "governor never saw its other name");
    assert_ne!(value(&mut agent, "SELECT c2 FROM t"), "all is well");
    assert_eq!(value(&mut agent, "SELECT id FROM t"), "1", "a number is no text");
    person(&site, &["dismiss", "public.t.c2", "--reason", "weather"]);
    assert_eq!(value(&mut agent, "SELECT c2 FROM t"), "all is well");
    let services = site.psql(Class::Service, "SELECT remark FROM t;").unwrap().ok().unwrap().out();
    assert_eq!(services, format!("{SECRET}\n"), "who may see it sees it");
}

#[test]
fn a_damaged_catalogue_costs_what_is_damaged_and_is_set_aside() {
    let mut site = site();
    plant(&site);
    site.psql(Class::Agent, "SELECT c1, c2 FROM t;").unwrap().ok().unwrap();
    person(&site, &["label", "public.t.c1", "other"]);
    person(&site, &["label", "public.t.c2", "health"]);
    site.governor.stop().unwrap();
    let path = site.governor.state_dir().join("discovery.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    let broken: String = whole
        .lines()
        .map(|line| if line.contains("\"c1\"") { &line[..line.len() / 2] } else { line })
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, &broken).unwrap();
    site.governor.launch().unwrap();
    assert!(site.governor.log().contains("the discovery catalogue is damaged"), "{}", site.governor.log());
    assert_eq!(text(&column(&site, "c2").unwrap(), "status"), "labelled");
    assert!(column(&site, "c1").is_none());
    let aside = files(site.governor.state_dir()).into_iter().find(|(path, _)| path.contains("damaged"));
    assert_eq!(aside.unwrap().1, broken.into_bytes());
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_ne!(value(&mut agent, PLAIN), "all is well");
}

/// Secrets in every place that records and approvals quote: literals, bound values, what the grammar stumbles over,
/// settings, arguments of the client, names that it gives itself.
#[test]
fn records_and_approvals_hold_no_value_that_detectors_know() {
    let mut site = site();
    let cards: Vec<String> =
        site.truth("SELECT card_number FROM cards ORDER BY id").unwrap().lines().map(Into::into).collect();
    let held = format!("UPDATE people SET city = '{}'", cards[0]);
    let waiting = site.psql_running(Class::Person, &format!("{held};\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    for args in [
        &["approvals", "show", &id, "--full"][..],
        &["approvals", "list"],
        &["approvals", "show", &id, "--json"],
    ] {
        let page = site.governor.cli(args).unwrap().ok().unwrap().out();
        assert!(page.contains("UPDATE people SET city = '"), "{page}");
        assert!(!page.contains(&cards[0]), "{page}");
    }
    site.governor.cli(&["approvals", "approve", &id]).unwrap().ok().unwrap();
    waiting.finish(wait::PATIENCE).unwrap().ok().unwrap();
    assert_eq!(site.truth("SELECT DISTINCT city FROM people").unwrap(), cards[0], "what was sent ran");

    let mut person = site.wire(Class::Person).unwrap();
    let prepared = format!("PREPARE p AS UPDATE people SET city = '{}'; EXECUTE p", cards[1]);
    let bound = [wire::extended("UPDATE people SET city = $1", &[&cards[2]]), wire::sync()].concat();
    for (message, card) in [(wire::query(&prepared), &cards[1]), (bound, &cards[2])] {
        person.send(&message).unwrap();
        let id = site.governor.wait_for_hold().unwrap();
        let page = site.governor.cli(&["approvals", "show", &id, "--full"]).unwrap().ok().unwrap().out();
        assert!(page.contains("***") && !page.contains(card), "{page}");
        site.governor.cli(&["approvals", "deny", &id]).unwrap().ok().unwrap();
        person.until_ready().unwrap();
    }
    let mut psql = site.client("psql", Class::Person).unwrap();
    psql.args(["-c", &format!("SELECT '{}'", cards[3])]);
    psql.env("PGAPPNAME", &cards[4]).env("PGOPTIONS", format!("-c search_path={}", cards[8]));
    Running::start(psql, &[]).unwrap().finish(wait::PATIENCE).unwrap();
    let agent = [
        format!("SELEC '{}';", cards[5]),
        format!("SELECT 1 AS \"a'{}", cards[6]),
        format!("SELECT 'x' FROM orders WHERE item = '{}' OR 1/0 = 1;", cards[7]),
        format!("SET application_name = '{}';", cards[9]),
        format!("EXPLAIN SELECT * FROM orders WHERE item = '{}';", cards[10]),
    ];
    for script in &agent {
        site.psql(Class::Agent, &format!("{script}\n")).unwrap();
    }
    site.governor.wait_for_record("statement", |r| text(r, "text").starts_with("EXPLAIN")).unwrap();
    // They are there, without their values.
    for (event, key, part) in [
        ("session_start", "principal", "SELECT '"),
        ("session_decision", "claims", "************"),
        ("statement", "text", "SELEC '"),
        ("statement", "unknown", "unterminated"),
        ("statement", "parameters", "************"),
    ] {
        let all = site.governor.events(event).unwrap();
        let said: Vec<String> = all.iter().map(|record| text(record, key)).collect();
        assert!(said.iter().any(|text| text.contains(part)), "no {event} has {part} in {key}: {said:?}");
    }
    let socket = site.governor.cli(&["approvals", "list", "--all", "--json"]).unwrap().ok().unwrap().out();
    site.governor.stop().unwrap();
    for (at, card) in cards.iter().take(11).enumerate() {
        assert!(!socket.contains(card), "secret {at} in the list of approvals");
        let found = nowhere(&site, card);
        assert!(found.is_empty(), "secret {at} in {found:?}");
    }
}

#[test]
fn the_record_of_a_statement_says_what_was_masked_in_doubt() {
    let site = site();
    site.truth("CREATE FUNCTION f() RETURNS SETOF text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN QUERY SELECT email FROM people; END'").unwrap();
    let shown = site.psql(Class::Person, "SELECT f();").unwrap().ok().unwrap().out();
    assert!(shown.lines().count() == 80 && !shown.contains('@'), "{shown}");
    let done =
        site.governor.wait_for_record("completion", |r| field(r, "masked").as_u64() > Some(0)).unwrap();
    assert_eq!(field(&done, "masked_in_doubt")[0][0], "unknown_origin", "{done}");
    assert!(
        site.governor
            .metrics()
            .unwrap()
            .contains("governor_masked_in_doubt_total{cause=\"unknown_origin\"} 80")
    );
}

/// A search that its bound ends, by a pattern that nearly fits everywhere, and a document whose declaration may define anything.
#[test]
fn a_value_that_cannot_be_searched_is_masked_and_the_record_says_why() {
    let more = "[[masking.detectors]]\nname = \"dear\"\npattern = '[a-z]{1,1000}x|[a-z]{9}'\n";
    let site = Site::with(Auth::Trust, &Options { more: more.into(), ..Options::default() }).unwrap();
    site.truth(
        "CREATE TABLE t (id int, c1 text, c2 xml); GRANT ALL ON t TO PUBLIC; \
         INSERT INTO t VALUES (1, repeat('a', 2000000), NULL), \
         (2, NULL, '<!DOCTYPE a [<!ENTITY e \"- 7 -\">]><a>&e;</a>'), (3, '- 7 -', '<a>- 7 -</a>')",
    )
    .unwrap();
    for class in [Class::Person, Class::Agent] {
        for (id, shown, why) in [
            (1, "[masked]|\n", Some("search_bound")),
            (2, "|<masked/>\n", Some("not_understood")),
            (3, "- 7 -|<a>- 7 -</a>\n", None),
        ] {
            let sql = format!("SELECT c1, c2 FROM t WHERE id = {id};\n");
            assert_eq!(site.psql(class, &sql).unwrap().ok().unwrap().out(), shown, "{class:?}");
            let Some(why) = why else { continue };
            let done = site.governor.wait_for_record("completion", |r| {
                field(r, "masked_in_doubt").as_array().is_some_and(|all| all.iter().any(|one| one[0] == why))
            });
            assert_eq!(field(&done.unwrap(), "masked_in_doubt"), &serde_json::json!([[why, 1]]));
        }
    }
    let page = site.governor.metrics().unwrap();
    for (why, count) in [("search_bound", 2), ("not_understood", 2), ("unknown_origin", 0), ("failed", 0)] {
        let line = format!("governor_masked_in_doubt_total{{cause=\"{why}\"}} {count}");
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    let doubts = site.governor.events("completion").unwrap();
    let doubts = doubts.iter().filter(|r| field(r, "masked_in_doubt").is_array()).count();
    assert_eq!(doubts, 4, "and none of what was understood");
}

fn as_text(reply: &[Message]) -> String {
    reply.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

fn assert_nowhere(site: &Site, secret: &str) {
    let found = nowhere(site, secret);
    assert!(found.is_empty(), "{secret} in {found:?}");
}

/// Files of the instance that hold `secret`.
fn nowhere(site: &Site, secret: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    files(site.governor.state_dir())
        .into_iter()
        .filter(|(_, bytes)| holds(bytes))
        .map(|(path, _)| path)
        .collect()
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    found
}
