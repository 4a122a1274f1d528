//! Decisions as a client meets them: masked, denied, held, approved.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::text;
use governor_tests::{Class, Options, Site, process, wait, wire};
use std::time::Duration;

const DELETE: &str = "DELETE FROM orders WHERE id = 1";

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
fn a_held_statement_runs_in_place_when_it_is_approved() {
    let site = Site::start().unwrap();
    let script = format!(
        "BEGIN;\nSELECT txid_current() AS before \\gset\n{DELETE};\nSELECT txid_current() = :before;\nCOMMIT;\n"
    );
    let waiting = site.psql_running(Class::Agent, &script).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1", "it must wait");
    let shown = site.governor.cli(&["approvals", "show", &id]).unwrap().ok().unwrap().out();
    for part in [DELETE, "orders", "agent"] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    site.governor.cli(&["approvals", "approve", &id]).unwrap().ok().unwrap();
    let done = waiting.finish(wait::PATIENCE).unwrap().ok().unwrap();
    assert!(done.err().contains("NOTICE") && done.err().contains(&id), "the client is told: {}", done.err());
    assert_eq!(done.out(), "t\n", "same transaction");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "0");
    let end = site.governor.wait_for_record("hold_end", |record| text(record, "approval") == id).unwrap();
    assert!(end.to_string().contains("granted"), "{end}");
}

#[test]
fn a_refused_statement_ends_with_a_clear_error() {
    let site = Site::start().unwrap();
    let waiting = site.psql_running(Class::Agent, &format!("{DELETE};\nSELECT 'still here';\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    site.governor.cli(&["approvals", "deny", &id]).unwrap().ok().unwrap();
    let done = waiting.finish(wait::PATIENCE).unwrap();
    assert!(done.err().contains("42501"), "{}", done.err());
    assert_eq!(done.out(), "still here\n");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn an_unanswered_statement_expires() {
    let site =
        Site::with(governor_tests::Auth::Trust, &Options { approval_timeout: "1s", ..Options::default() })
            .unwrap();
    let done = site.psql(Class::Agent, &format!("{DELETE};\nSELECT 'still here';\n")).unwrap();
    assert!(done.err().contains("42501") || done.err().contains("57014"), "{}", done.err());
    assert_eq!(done.out(), "still here\n");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
    let end = site.governor.wait_for_record("hold_end", |_| true).unwrap();
    assert!(end.to_string().contains("expired"), "{end}");
}

#[test]
fn a_held_statement_can_be_cancelled() {
    let site = Site::start().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    agent.send(&wire::query(DELETE)).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    let mut canceller = wire::Wire::new(site.socket(Class::Agent).unwrap()).unwrap();
    canceller.send(&wire::cancel(&agent.cancel_key)).unwrap();
    let reply = agent.until_ready().unwrap();
    let error = reply.iter().find(|message| message.tag == b'E').expect("an error");
    assert_eq!(error.field(b'C').as_deref(), Some("57014"), "{error:?}");
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ");
    let late = site.governor.cli(&["approvals", "approve", &id]).unwrap();
    assert!(!late.status.success(), "a cancelled request cannot be approved: {}", late.all());
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let site = Site::start().unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    agent.send(&wire::query(DELETE)).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    drop(agent);
    let end = site.governor.wait_for_record("hold_end", |record| text(record, "approval") == id).unwrap();
    assert!(end.to_string().contains("lost"), "{end}");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn held_requests_survive_a_restart_as_records() {
    let mut site = Site::start().unwrap();
    let waiting = site.psql_running(Class::Agent, &format!("{DELETE};\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    site.governor.kill().unwrap();
    let done = waiting.finish(wait::PATIENCE).unwrap();
    assert!(!done.err().is_empty(), "its connection ended with an error");
    site.governor.launch().unwrap();
    let shown = site.governor.cli(&["approvals", "show", &id]).unwrap().ok().unwrap().out();
    assert!(shown.contains(DELETE), "{shown}");
    assert!(!site.governor.cli(&["approvals", "approve", &id]).unwrap().status.success());
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
}

#[test]
fn only_the_instance_owner_may_answer() {
    let site = Site::start().unwrap();
    let waiting = site.psql_running(Class::Agent, &format!("{DELETE};\n")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    // The state directory alone must not decide: open it for everybody, the peer credentials still count.
    std::fs::set_permissions(site.governor.state_dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let mut stranger = site.governor.command(&["approvals", "approve", &id]).unwrap();
    governor_tests::postgres::run_as_server_user(&mut stranger).unwrap();
    let refused = process::run(stranger, wait::PATIENCE).unwrap();
    assert!(!refused.status.success(), "{}", refused.all());
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
    site.governor.cli(&["approvals", "deny", &id]).unwrap().ok().unwrap();
    waiting.finish(wait::PATIENCE).unwrap();
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
fn a_new_policy_takes_effect_without_a_restart() {
    let allow = "@id(\"all\")\npermit (principal, action, resource);\n";
    let forbid = format!(
        "{allow}\n@id(\"no-orders\")\n@reason(\"orders are closed\")\nforbid (principal, action in Governor::Action::\"run\", resource);\n"
    );
    let options = Options { policies: vec![("site.cedar".into(), allow.into())], ..Options::default() };
    let site = Site::with(governor_tests::Auth::Trust, &options).unwrap();
    assert_eq!(site.psql(Class::Service, "SELECT 1;").unwrap().out(), "1\n");
    std::fs::write(site.governor.policy_dir().join("site.cedar"), forbid).unwrap();
    wait::until("the new policy", Duration::from_secs(20), || {
        Ok(site.psql(Class::Service, "SELECT 1;")?.err().contains("orders are closed").then_some(()))
    })
    .unwrap();
}

/// A label file protects a relation however a statement names it; the verbs tell the same as the agent does.
#[test]
fn a_rule_on_the_schema_of_functions_holds_however_they_are_called() {
    let rule = "@id(\"no-functions-of-ops\") @reason(\"functions of ops are not for agents\")\n\
                forbid (principal in Governor::Class::\"agent\", action in Governor::Action::\"run\", resource)\n\
                unless { [\"public\", \"pg_catalog\"].containsAll(context.function_schemas) };\n";
    let policies = vec![("ops.cedar".into(), rule.into())];
    let site = Site::with(governor_tests::Auth::Trust, &Options { policies, ..Options::default() }).unwrap();
    let made = "CREATE SCHEMA ops;\n\
                CREATE FUNCTION ops.total() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 7';\n\
                CREATE FUNCTION public.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1';\n\
                CREATE VIEW public.totals AS SELECT ops.total() AS total;\n\
                GRANT USAGE ON SCHEMA ops TO PUBLIC; GRANT SELECT ON public.totals TO PUBLIC;\n";
    site.psql_direct(made).unwrap().ok().unwrap();
    for sql in [
        "SELECT ops.total()",
        "SELECT 1 FROM people WHERE id = ops.total()",
        "SELECT total FROM totals",
        "SET search_path = ops, public;\nSELECT total()",
    ] {
        let done = site.psql(Class::Agent, &format!("{sql};\n")).unwrap();
        assert!(done.err().contains("functions of ops are not for agents"), "{sql}: {}", done.all());
    }
    for (sql, expected) in [("SELECT count(*) FROM people", "80"), ("SELECT twice(4), upper('a')", "8|A")] {
        let done = site.psql(Class::Agent, &format!("{sql};\n")).unwrap().ok().unwrap();
        assert_eq!(done.out().trim(), expected, "{sql}");
    }
    let service = site.psql(Class::Service, "SELECT ops.total();\n").unwrap().ok().unwrap();
    assert_eq!(service.out().trim(), "7");
}

#[test]
fn a_rule_chooses_the_code_of_its_denial_also_where_a_person_says_no() {
    let rules = "@id(\"copy-is-for-reading\") @reason(\"this copy is for reading\") @sqlstate(\"25006\")\n\
                 forbid (principal in Governor::Class::\"agent\", action == Governor::Action::\"insert\", resource);\n\
                 @id(\"ask-first\") @reason(\"ask first\") @approval(\"dba\") @sqlstate(\"55000\")\n\
                 forbid (principal in Governor::Class::\"agent\", action == Governor::Action::\"select\", resource)\n\
                 when { context.reads.contains(\"orders\") } unless { context.approved };\n";
    let options = Options { policies: vec![("codes.cedar".into(), rules.into())], ..Options::default() };
    let site = Site::with(governor_tests::Auth::Trust, &options).unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    let insert = "INSERT INTO orders SELECT 9001, 1, 'x', 1, now(), 'paid'";
    let denied = agent.query(insert).unwrap();
    assert_eq!(denied[0].field(b'C').as_deref(), Some("25006"), "{denied:?}");
    assert!(denied[0].field(b'M').unwrap().contains("this copy is for reading"), "{denied:?}");
    agent.send(&[wire::extended(insert, &[]), wire::sync()].concat()).unwrap();
    let denied = agent.until_ready().unwrap();
    assert_eq!(denied.iter().find_map(|m| m.field(b'C')).as_deref(), Some("25006"), "{denied:?}");
    let record =
        site.governor.wait_for_record("statement", |record| text(record, "verdict") == "deny").unwrap();
    let reasons = governor_tests::governor::field(&record, "reasons");
    assert_eq!(
        (&reasons[0]["policy"], &reasons[0]["sqlstate"]),
        (&"copy-is-for-reading".into(), &"25006".into())
    );

    agent.send(&wire::query("SELECT count(*) FROM orders")).unwrap();
    let id = site.governor.wait_for_hold().unwrap();
    site.governor.cli(&["approvals", "deny", &id]).unwrap().ok().unwrap();
    let refused = agent.until_ready().unwrap();
    let error = refused.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.field(b'C').as_deref(), Some("55000"), "{error:?}");
    // Others are denied as ever.
    let dropped = agent.query("DROP TABLE orders").unwrap();
    assert_eq!(dropped[0].field(b'C').as_deref(), Some("42501"), "{dropped:?}");
    let told = site
        .governor
        .cli(&["policy", "explain", "--as", "agent", "--running", insert])
        .unwrap()
        .ok()
        .unwrap();
    assert!(told.out().contains("SQLSTATE: 25006"), "{}", told.out());
}

#[test]
fn a_labelled_relation_is_protected_however_it_is_named() {
    let labels = "[[label]]\non = [\"public.cards\"]\nlabels = [\"pci\"]\n";
    let rule = "@id(\"cards-are-not-for-agents\") @reason(\"cards are not for agents\")\n\
                forbid (principal in Governor::Class::\"agent\", action in Governor::Action::\"run\", resource)\n\
                when { context.labels.contains(\"pci\") };\n";
    let policies = vec![("cards.cedar".into(), rule.into()), ("site.labels.toml".into(), labels.into())];
    let options = Options { policies, ..Options::default() };
    let site = Site::with(governor_tests::Auth::Trust, &options).unwrap();
    for sql in [
        "SELECT id FROM public.cards",
        "SELECT id FROM cards",
        "TABLE cards",
        "SELECT 1 FROM people WHERE id IN (SELECT id FROM ONLY cards)",
        "SET search_path = public; SELECT id FROM cards",
    ] {
        let done = site.psql(Class::Agent, &format!("{sql};\n")).unwrap();
        assert!(done.err().contains("cards are not for agents"), "{sql}: {}", done.all());
    }
    let people = site.psql(Class::Agent, "SELECT count(*) FROM public.people;\n").unwrap().ok().unwrap();
    assert_eq!(people.out().trim(), "80");
    assert_eq!(
        site.psql(Class::Service, "SELECT count(*) FROM cards;\n").unwrap().ok().unwrap().out().trim(),
        "80"
    );

    let told = site
        .governor
        .json(&["policy", "explain", "--as", "agent", "--running", "SELECT id FROM cards"])
        .unwrap();
    let decision = &told[0]["statements"][0]["decision"];
    assert_eq!(decision["verdict"], "deny");
    assert!(decision["reasons"].to_string().contains("cards-are-not-for-agents"), "{decision}");
    let config = site.governor.config_path();
    let config = config.to_str().unwrap();
    let words = ["--config", config, "policy", "simulate", "--disable", "cards-are-not-for-agents"];
    let replayed = site.governor.json(&words).unwrap();
    assert_eq!(replayed[0]["changes"][0]["change"]["was"], "deny", "{}", replayed[0]);
    assert_eq!(replayed[0]["changes"][0]["change"]["would_be"], "allow", "{}", replayed[0]);
}
