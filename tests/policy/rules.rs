//! What rules may say, of whom and of what: labels, columns, packs, live processes, and how new ones take effect.

use governor_tests::governor::text;
use governor_tests::{Class, Options, Site, process, programs, wait, wire};
use std::time::Duration;

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

/// Nothing else calls a city sensitive: the rule alone hides it, from all but those whom it lets through.
#[test]
fn a_rule_about_one_column_hides_it_from_all_but_those_it_is_for() {
    let rule = "@id(\"cities\") @reason(\"cities are for people\") @mask(\"redact\")\n\
                forbid (principal, action == Governor::Action::\"see\", resource == Governor::Column::\"public.people.city\")\n\
                unless { principal in Governor::Class::\"person\" };\n";
    let policies = vec![("cities.cedar".into(), rule.into())];
    let site = Site::with(
        governor_tests::Auth::Trust,
        &Options { policies, approval_timeout: "1s", ..Options::default() },
    )
    .unwrap();
    site.psql_direct(
        "CREATE VIEW places AS SELECT id, city AS place, upper(city) AS loud FROM people;\n\
         CREATE TABLE kin (more int) INHERITS (people); GRANT SELECT ON places, kin TO PUBLIC;\n",
    )
    .unwrap()
    .ok()
    .unwrap();
    let cities = site.truth("SELECT DISTINCT city FROM people").unwrap();
    let names: Vec<String> = cities.lines().map(str::to_lowercase).collect();
    assert!(names.len() > 3, "{cities}");
    for sql in [
        "SELECT city FROM people",
        "SELECT DISTINCT city FROM people",
        "SELECT id, lower(city) AS x FROM people",
        "SELECT string_agg(city, ',') FROM people",
        "SELECT p FROM people p",
        "SELECT row_to_json(p) FROM people p",
        "SELECT place FROM places",
        "SELECT loud FROM places",
        "WITH x AS (SELECT city AS y FROM people) SELECT y FROM x",
        "COPY people (city) TO STDOUT",
    ] {
        for (class, hides) in [(Class::Agent, true), (Class::Service, true), (Class::Person, false)] {
            let told = site.psql(class, &format!("{sql};\n")).unwrap().all().to_lowercase();
            let seen = names.iter().any(|city| told.contains(city));
            // A whole row holds what is masked for people, too.
            if sql.contains("people p") && class == Class::Person {
                continue;
            }
            assert_eq!(seen, !hides, "{class:?}: {sql}: {told}");
        }
    }
    // Nor is it found out by asking.
    let asked = "SELECT count(*) FROM people WHERE city LIKE 'A%';\n";
    assert!(site.psql(Class::Agent, asked).unwrap().err().contains("42501"));
    assert!(site.psql(Class::Person, asked).unwrap().err().is_empty());
    // What the rule does not name is as it was.
    let ids = site.psql(Class::Agent, "SELECT id FROM people ORDER BY id LIMIT 3;\n").unwrap();
    assert_eq!(ids.out(), "1\n2\n3\n");
}

/// Rows are locked as tables are; programs of people and services that do so work as before.
#[test]
fn agents_that_only_read_lock_no_rows() {
    let more = "\n[policy]\npacks = [\"agents-read-only\"]\n";
    let site = Site::with(governor_tests::Auth::Trust, &Options { more: more.into(), ..Options::default() })
        .unwrap();
    for lock in ["FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE NOWAIT", "FOR KEY SHARE SKIP LOCKED"] {
        let sql = format!("SELECT id FROM orders WHERE id = 1 {lock};\n");
        let agent = site.psql(Class::Agent, &sql).unwrap();
        assert!(agent.err().contains("agents read only"), "{sql}: {}", agent.all());
        for class in [Class::Person, Class::Service] {
            assert_eq!(site.psql(class, &sql).unwrap().out(), "1\n", "{class:?}: {sql}");
        }
    }
    assert_eq!(site.psql(Class::Agent, "SELECT id FROM orders WHERE id = 1;\n").unwrap().out(), "1\n");
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

#[test]
fn a_policy_that_fails_denies_is_named_and_the_session_goes_on() {
    let rule = "@id(\"overflows\")\n\
                forbid (principal, action == Governor::Action::\"show\", resource)\n\
                when { context.destination.port + 9223372036854775807 > 0 };\n";
    let options = Options { policies: vec![("mine.cedar".into(), rule.into())], ..Options::default() };
    let site = Site::with(governor_tests::Auth::Trust, &options).unwrap();
    for class in Class::ALL {
        let mut client = site.wire(class).unwrap();
        let denied = client.query("SHOW server_version").unwrap();
        assert_eq!(wire::tags(&denied), "EZ", "{class:?}");
        assert_eq!(denied[0].field(b'C').as_deref(), Some("42501"), "{class:?}: {denied:?}");
        assert_eq!(wire::tags(&client.query("SELECT 1").unwrap()), "TDCZ", "{class:?}: the session goes on");
    }
    let record =
        site.governor.wait_for_record("statement", |record| text(record, "verdict") == "deny").unwrap();
    let reason = &governor_tests::governor::field(&record, "reasons")[0];
    assert_eq!(reason["policy"], "overflows", "{record}");
}

/// The pack in a running agent: nothing changes, nothing waits, and others are as before.
#[test]
fn an_agent_that_only_reads_changes_nothing_and_nothing_of_it_is_held() {
    let more = "[policy]\npacks = [\"agents-read-only\"]\n";
    let options = Options { more: more.into(), ..Options::default() };
    let site = Site::with(governor_tests::Auth::Trust, &options).unwrap();
    site.truth("CREATE SEQUENCE numbers; CREATE PROCEDURE tidy() LANGUAGE sql AS 'DELETE FROM orders'")
        .unwrap();
    let state = || {
        let sql = "SELECT (SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o), \
                   (SELECT is_called FROM numbers), (SELECT count(*) FROM pg_class WHERE oid >= 16384), \
                   (SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock')";
        site.truth(sql).unwrap()
    };
    let before = state();
    let mut agent = site.wire(Class::Agent).unwrap();
    for sql in [
        "INSERT INTO orders SELECT max(id) + 1, 1, 'x', 1, now(), 'paid' FROM orders",
        "UPDATE orders SET item = 'x' WHERE id = 1",
        "DELETE FROM orders WHERE id = 1",
        "WITH gone AS (DELETE FROM orders WHERE id = 1 RETURNING id) SELECT id FROM gone",
        "TRUNCATE orders",
        "SELECT nextval('numbers')",
        "LOCK TABLE orders",
        "CREATE TEMP TABLE mine (a int)",
        "CREATE TABLE copied AS SELECT id FROM orders",
        "DO $$ BEGIN DELETE FROM orders; END $$",
        "CALL tidy()",
        "COPY orders FROM STDIN",
        "GRANT SELECT ON orders TO PUBLIC",
        "EXPLAIN ANALYZE DELETE FROM orders WHERE id = 1",
    ] {
        let denied = agent.query(sql).unwrap();
        assert_eq!(wire::tags(&denied), "EZ", "{sql}: {denied:?}");
        assert_eq!(denied[0].field(b'C').as_deref(), Some("42501"), "{sql}: {denied:?}");
    }
    assert_eq!(state(), before);
    assert_eq!(site.governor.events("hold_start").unwrap().len(), 0, "nobody is asked");
    assert_eq!(wire::tags(&agent.query("SELECT count(*) FROM orders WHERE id < 9").unwrap()), "TDCZ");
    let mut person = site.wire(Class::Person).unwrap();
    assert_eq!(wire::tags(&person.query("UPDATE orders SET item = 'x' WHERE id = 1").unwrap()), "CZ");
}

/// Two files that go together, changed together while statements run: each is decided by both old or both new ones.
#[test]
fn files_that_are_changed_together_are_in_force_together() {
    let file = |name: &str, version: usize| {
        format!(
            "@id(\"{name}-{version}\")\nforbid (principal in Governor::Class::\"person\", \
             action == Governor::Action::\"show\", resource);\n"
        )
    };
    let names = ["one", "two"];
    let policies = names.iter().map(|name| (format!("{name}.cedar"), file(name, 0))).collect();
    let site = Site::with(governor_tests::Auth::Trust, &Options { policies, ..Options::default() }).unwrap();
    let directory = site.governor.policy_dir();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut person = site.wire(Class::Person).unwrap();
                    let mut asked = 0;
                    while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                        assert_eq!(wire::tags(&person.query("SHOW server_version").unwrap()), "EZ");
                        asked += 1;
                        // Few enough for the records to be read again and again.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    asked
                })
            })
            .collect();
        for version in 0..=8 {
            // As who changes a policy does: drafts first, then each in its place. The first are there already.
            for name in names.iter().filter(|_| version > 0) {
                std::fs::write(directory.join(format!(".{name}.draft")), file(name, version)).unwrap();
            }
            for name in names.iter().filter(|_| version > 0) {
                let draft = directory.join(format!(".{name}.draft"));
                std::fs::rename(draft, directory.join(format!("{name}.cedar"))).unwrap();
            }
            let id = format!("one-{version}");
            site.governor
                .wait_for_record("statement", |record| {
                    governor_tests::governor::field(record, "reasons")[0]["policy"] == id.as_str()
                })
                .unwrap();
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        let asked: usize = askers.into_iter().map(|asker| asker.join().unwrap()).sum();
        println!("{asked} statements were decided");
    });
    let mut seen = std::collections::BTreeSet::new();
    for record in site.governor.events("statement").unwrap() {
        let reasons = governor_tests::governor::field(&record, "reasons").as_array().unwrap();
        let ids: Vec<&str> = reasons.iter().map(|reason| reason["policy"].as_str().unwrap()).collect();
        let [one, two] = ids[..] else { panic!("{record}") };
        assert_eq!(one.strip_prefix("one-").unwrap(), two.strip_prefix("two-").unwrap(), "{record}");
        seen.insert(one.to_owned());
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
}

/// Everything that is known of a live process and of its session can be asked for, and the verb tells the same.
#[test]
fn a_rule_may_ask_for_everything_that_is_known_of_a_live_process() {
    let psql = std::fs::canonicalize(programs::default_server().unwrap().join("psql")).unwrap();
    let mut sum = std::process::Command::new("sha256sum");
    sum.arg(&psql);
    let sum = process::run(sum, wait::PATIENCE).unwrap().ok().unwrap().out();
    let hash = sum.split(' ').next().unwrap();
    let psql = psql.to_str().unwrap();
    let met = [
        ("user", "principal in Governor::User::\"root\"".to_owned(), "true".to_owned()),
        (
            "group",
            "principal in Governor::Group::\"root\"".into(),
            "principal.groups.contains(\"root\")".into(),
        ),
        ("own-group", "principal in Governor::Group::\"operators\"".into(), "true".into()),
        ("numbers", "principal".into(), "principal.uid == 0 && principal.gid == 0".into()),
        ("class", "principal in Governor::Class::\"person\"".into(), "principal.class == \"person\"".into()),
        (
            "executable",
            format!("principal in Governor::Executable::{psql:?}"),
            format!("principal has executable && principal.executable == {psql:?}"),
        ),
        (
            "hash",
            format!("principal in Governor::ExecutableHash::\"{hash}\""),
            format!("principal has executable_sha256 && principal.executable_sha256 == \"{hash}\""),
        ),
        (
            "cgroup",
            "principal".into(),
            "principal has cgroup && principal.cgroup like \"*/clients/person\"".into(),
        ),
        (
            "claims",
            "principal".into(),
            "context.claims.user == \"app\" && context.claims.database == \"shop\"".into(),
        ),
        ("application", "principal".into(), "context.claims.application_name == \"psql\"".into()),
        ("destination", "principal".into(), "context.destination.address == \"127.0.0.1\"".into()),
    ];
    let others = [
        ("not-user", "principal in Governor::User::\"nobody\"".to_owned(), "true".to_owned()),
        ("not-group", "principal in Governor::Group::\"nogroup\"".into(), "true".into()),
        ("not-executable", "principal in Governor::Executable::\"/bin/false\"".into(), "true".into()),
        ("not-hash", format!("principal in Governor::ExecutableHash::\"{}\"", "0".repeat(64)), "true".into()),
        ("not-unit", "principal in Governor::Unit::\"other.service\"".into(), "true".into()),
        ("not-application", "principal".into(), "context.claims.application_name == \"pgbench\"".into()),
    ];
    let rule = |(id, who, when): &(&str, String, String)| {
        format!(
            "@id(\"{id}\")\nforbid ({who}, action == Governor::Action::\"show\", resource)\nwhen {{ {when} }};\n"
        )
    };
    let rules: String = met.iter().chain(&others).map(rule).collect();
    let groups = format!("[groups]\noperators = [\"executable:{psql}\"]\n");
    let policies = vec![("who.cedar".into(), rules), ("who.labels.toml".into(), groups)];
    let site = Site::with(governor_tests::Auth::Trust, &Options { policies, ..Options::default() }).unwrap();
    let sorted = |ids: Vec<String>| ids.into_iter().collect::<std::collections::BTreeSet<String>>();
    let expected = sorted(met.iter().map(|(id, ..)| (*id).to_owned()).collect());

    let done = site.psql(Class::Person, "SHOW server_version;\n").unwrap();
    assert!(done.err().contains("42501"), "{}", done.all());
    let record =
        site.governor.wait_for_record("statement", |record| text(record, "verdict") == "deny").unwrap();
    let ids_of = |reasons: &serde_json::Value| {
        let reasons = reasons.as_array().unwrap();
        sorted(reasons.iter().map(|reason| reason["policy"].as_str().unwrap().to_owned()).collect())
    };
    assert_eq!(ids_of(governor_tests::governor::field(&record, "reasons")), expected);

    // A process that waits, asked about by its number.
    let waiting = site.psql_running(Class::Person, "SELECT pg_sleep(600);\n").unwrap();
    site.governor.wait_for_record("statement", |record| text(record, "text").contains("pg_sleep")).unwrap();
    let pid = waiting.pid().to_string();
    let (config, server) = (site.governor.config_path(), site.server_address().to_string());
    let question = ["--config", config.to_str().unwrap(), "policy", "explain", "--principal-of", &pid];
    let session =
        ["--database-user", "app", "--database", "shop", "--application-name", "psql", "--server", &server];
    let sql = "SHOW server_version";
    for running in [&["--running"][..], &[]] {
        let told = site.governor.json(&[&question[..], &session, running, &[sql]].concat()).unwrap();
        let decision = &told[0]["statements"][0]["decision"];
        assert_eq!(decision["verdict"], "deny", "{running:?}: {}", told[0]);
        assert_eq!(ids_of(&decision["reasons"]), expected, "{running:?}");
    }
    drop(waiting);
}
