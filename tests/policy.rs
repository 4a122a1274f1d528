//! Decisions as a client meets them: masked, denied, held, approved.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "policy/holds.rs"]
mod holds;
#[path = "policy/rules.rs"]
mod rules;

use governor_tests::governor::text;
use governor_tests::{Class, Options, Site, wire};

#[test]
fn an_agent_sees_masked_personal_data_and_never_the_clear_value() {
    let site = Site::start().unwrap();
    let secrets = site.truth("SELECT email, phone, ssn, iban FROM people UNION ALL SELECT card_number, NULL, NULL, NULL FROM cards").unwrap();
    for (sql, rows) in [
        ("SELECT * FROM people ORDER BY id", 80),
        ("SELECT email FROM people ORDER BY id", 80),
        ("SELECT email AS harmless, ssn AS x FROM people ORDER BY id", 80),
        ("SELECT card_number FROM cards", 80),
        ("SELECT upper(email) FROM people", 80),
        ("SELECT p FROM people p", 80),
        ("SELECT row_to_json(p) FROM people p", 80),
        ("SELECT string_agg(ssn, ',') FROM people", 1),
        ("SELECT city FROM people UNION ALL SELECT iban FROM people", 160),
        ("TABLE cards", 80),
    ] {
        let done = site.psql(Class::Agent, &format!("{sql};\n")).unwrap();
        for secret in secrets.split(['|', '\n']).filter(|secret| !secret.is_empty()) {
            assert!(!done.all().contains(secret), "{sql} shows {secret}");
            assert!(!done.all().contains(&secret.to_uppercase()), "{sql} shows {secret}");
        }
        // Masked or denied are both safe; but an answer must be a whole one.
        if done.err().is_empty() {
            assert_eq!(done.out().lines().count(), rows, "{sql}: {}", done.out());
        } else {
            assert!(done.err().contains("42501"), "{sql}: {}", done.err());
        }
    }
}

#[test]
fn a_partial_mask_keeps_the_shape_and_other_columns_stay() {
    let site = Site::start().unwrap();
    let clear = site.truth("SELECT id, email, city FROM people ORDER BY id LIMIT 5").unwrap();
    let masked = site
        .psql(Class::Agent, "SELECT id, email, city FROM people ORDER BY id LIMIT 5;")
        .unwrap()
        .ok()
        .unwrap()
        .out();
    for (clear, masked) in clear.lines().zip(masked.lines()) {
        let clear: Vec<&str> = clear.split('|').collect();
        let domain = clear[1].split_once('@').unwrap().1;
        let expected = format!("{}|{}***@{domain}|{}", clear[0], &clear[1][..1], clear[2]);
        assert_eq!(masked, expected);
    }
    assert_eq!(masked.lines().count(), 5);
}

#[test]
fn masking_is_the_same_in_the_extended_protocol_and_split_reads() {
    let site = Site::start().unwrap();
    let clear = site.truth("SELECT email FROM people WHERE id = 7").unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    let request =
        [wire::extended("SELECT email FROM people WHERE id = $1::int", &["7"]), wire::sync()].concat();
    agent.send_split(&request).unwrap();
    let reply = agent.until_ready().unwrap();
    let row = reply.iter().find(|message| message.tag == b'D').expect("a row").row().unwrap();
    let value = String::from_utf8(row[0].clone().unwrap()).unwrap();
    assert_ne!(value, clear);
    assert!(value.contains("***"), "{value}");
}

#[test]
fn a_service_sees_the_clear_value() {
    let site = Site::start().unwrap();
    let sql = "SELECT * FROM people ORDER BY id;";
    assert_eq!(site.psql(Class::Service, sql).unwrap().out(), site.psql_direct(sql).unwrap().out());
}

#[test]
fn a_denial_is_a_database_error_with_reason_hint_and_decision() {
    let site = Site::start().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    let reply = agent.query("DROP TABLE orders").unwrap();
    assert_eq!(wire::tags(&reply), "EZ");
    assert_eq!(reply[0].field(b'C').as_deref(), Some("42501"));
    assert_eq!(reply[0].field(b'S').as_deref(), Some("ERROR"));
    for (field, what) in [(b'M', "message"), (b'D', "detail"), (b'H', "hint")] {
        assert!(reply[0].field(field).is_some_and(|text| !text.is_empty()), "no {what}: {reply:?}");
    }
    assert_eq!(reply[1].body, b"I", "idle, as after any error outside a transaction");
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ", "the session goes on");
    assert_eq!(site.truth("SELECT count(*) > 0 FROM orders").unwrap(), "t");
    let record = site
        .governor
        .wait_for_record("statement", |record| {
            text(record, "verdict") == "deny" && text(record, "tag") == "DROP TABLE"
        })
        .unwrap();
    let decision = text(&record, "decision");
    let told = reply[0].field(b'D').unwrap() + &reply[0].field(b'M').unwrap();
    assert!(told.contains(&decision), "the client was told {told:?}, the record says {decision}");
}

#[test]
fn a_denial_inside_a_transaction_fails_the_transaction() {
    let site = Site::start().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    assert_eq!(agent.query("BEGIN").unwrap().last().unwrap().body, b"T");
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ");
    let denied = agent.query("DROP TABLE orders").unwrap();
    assert_eq!(wire::tags(&denied), "EZ");
    assert_eq!(denied[1].body, b"E", "failed, as after any error inside a transaction");
    let after = agent.query("SELECT 1").unwrap();
    assert_eq!(after[0].field(b'C').as_deref(), Some("25P02"), "{after:?}");
    let end = agent.query("COMMIT").unwrap();
    assert_eq!((end[0].text().as_str(), end.last().unwrap().body.as_slice()), ("ROLLBACK", &b"I"[..]));
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ");
}

#[test]
fn one_denied_statement_of_a_simple_query_stops_all_of_it() {
    let site = Site::start().unwrap();
    let before = site.truth("SELECT count(*) FROM orders").unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    let reply = agent
        .query(
            "INSERT INTO orders SELECT max(id) + 1, 1, 'x', 1, now(), 'paid' FROM orders; DROP TABLE cards",
        )
        .unwrap();
    assert_eq!(wire::tags(&reply), "EZ");
    assert_eq!(site.truth("SELECT count(*) FROM orders").unwrap(), before);
    assert_eq!(site.truth("SELECT count(*) > 0 FROM cards").unwrap(), "t");
}

#[test]
fn after_a_pipelined_denial_everything_is_skipped_until_sync() {
    let site = Site::start().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    let pipeline = [
        wire::extended("SELECT 'before'", &[]),
        wire::extended("DROP TABLE orders", &[]),
        wire::extended("SELECT 'skipped'", &[]),
        wire::sync(),
        wire::extended("SELECT 'after'", &[]),
        wire::sync(),
    ]
    .concat();
    agent.send(&pipeline).unwrap();
    let first = agent.until_ready().unwrap();
    assert!(wire::tags(&first).ends_with("EZ"), "{}", wire::tags(&first));
    assert!(
        wire::tags(&first).starts_with("12DC"),
        "what came before keeps its answer: {}",
        wire::tags(&first)
    );
    assert_eq!(
        first.iter().filter(|message| message.tag == b'D').count(),
        1,
        "the skipped row must not come"
    );
    let second = agent.until_ready().unwrap();
    assert_eq!(wire::tags(&second), "12DCZ");
    assert_eq!(second[2].row().unwrap(), [Some(b"after".to_vec())]);
    assert_eq!(site.truth("SELECT count(*) > 0 FROM orders").unwrap(), "t");
}

#[test]
fn what_cannot_be_parsed_is_denied_to_agents_and_passed_for_services() {
    let site = Site::start().unwrap();
    let agent = site.psql(Class::Agent, "SELEC 1;\n").unwrap();
    assert!(agent.err().contains("42501"), "{}", agent.err());
    let service = site.psql(Class::Service, "SELEC 1;\n").unwrap();
    assert!(service.err().contains("42601"), "the server's own answer: {}", service.err());
}

#[test]
fn what_nobody_understands_is_denied_to_people_unless_policy_permits_it() {
    let function = wire::function_call(1598, &[]);
    let with = |more: &str| {
        let options = Options { more: more.into(), ..Options::default() };
        Site::with(governor_tests::Auth::Trust, &options).unwrap()
    };
    let site = with("");
    let mut person = site.wire(Class::Person).unwrap();
    let denied = person.query("SELEC 1").unwrap();
    assert_eq!((wire::tags(&denied).as_str(), denied[0].field(b'C').as_deref()), ("EZ", Some("42501")));
    person.send(&function).unwrap();
    let denied = person.until_ready().unwrap();
    assert_eq!((wire::tags(&denied).as_str(), denied[0].field(b'C').as_deref()), ("EZ", Some("42501")));
    assert_eq!(wire::tags(&person.query("SELECT 1").unwrap()), "TDCZ", "the session goes on");
    for cause in ["unparsable", "function_call"] {
        site.governor
            .wait_for_record("statement", |record| {
                governor_tests::governor::field(record, "unknown").to_string().contains(cause)
            })
            .unwrap();
    }

    let site = with("[policy]\ndisabled = [\"unknown-denied\"]\n");
    let mut person = site.wire(Class::Person).unwrap();
    let answer = person.query("SELEC 1").unwrap();
    assert_eq!(answer[0].field(b'C').as_deref(), Some("42601"), "the server's own: {answer:?}");
    person.send(&function).unwrap();
    assert_eq!(wire::tags(&person.until_ready().unwrap()), "VZ", "random()");
}
