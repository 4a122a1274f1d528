//! The verbs of `governor policy`, on files in temporary directories.

use super::*;
use crate::engine::policy::SCHEMA_TEXT;
use clap::Parser;
use std::sync::Arc;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    policy: PolicyArgs,
}

fn answered(json: bool, words: &[&str]) -> (bool, String) {
    answered_with(json, words, &home(&[]))
}

/// A place with a configuration, whose policy directory has these files.
fn home(policies: &[(&str, &str)]) -> tempfile::TempDir {
    let home = dir(&[]);
    let policy_dir = home.path().join("policies");
    std::fs::create_dir(&policy_dir).unwrap();
    for (name, text) in policies {
        std::fs::write(policy_dir.join(name), text).unwrap();
    }
    let config = format!(
        "[policy]\ndirectory = {policy_dir:?}\n[approvals.groups]\ndba = [\"alice\"]\nfinance = [\"bob\"]\n\
         pci-approvers = [\"uid:7\"]\n"
    );
    std::fs::write(home.path().join("governor.toml"), config).unwrap();
    home
}

/// With the configuration, and the audit, of a directory.
fn answered_with(json: bool, words: &[&str], home: &tempfile::TempDir) -> (bool, String) {
    let args = Cli::try_parse_from(std::iter::once(&"policy").chain(words)).unwrap().policy;
    let config = Some(home.path().join("governor.toml"));
    let globals = Globals { state_dir: home.path().to_owned(), config, json };
    let mut out = vec![];
    let is_fine = answer(args, &globals, &mut out).unwrap();
    (is_fine, String::from_utf8(out).unwrap())
}

fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn check_counts_what_is_in_force() {
    let dir = dir(&[("a.cedar", "@id(\"mine\") forbid (principal, action, resource);")]);
    let path = dir.path().to_str().unwrap();
    let (is_fine, text) = answered(false, &["check", path]);
    assert!(is_fine, "{text}");
    assert!(text.contains(&format!("{path}/a.cedar: 1 policy\n")), "{text}");
    let (_, alone) = answered(true, &["check", "--no-builtin", path]);
    let alone: serde_json::Value = serde_json::from_str(&alone).unwrap();
    assert_eq!((&alone["ok"], &alone["policies_count"]), (&json!(true), &json!(1)));
    let (_, none) = answered(true, &["check", "--no-builtin", "--disable", "mine", path]);
    assert!(none.contains("\"policies_count\":0"), "{none}");
}

#[test]
fn check_tells_every_problem_with_its_place() {
    let dir = dir(&[("a.cedar", "// x\nforbid (principal, action, resorce);"), ("b.cedar", "@no\npermit")]);
    let path = dir.path().to_str().unwrap();
    let (is_fine, text) = answered(false, &["check", path, "/nonexistent.cedar"]);
    assert!(!is_fine);
    for start in
        [format!("{path}/a.cedar:2:28: "), format!("{path}/b.cedar:2:"), "/nonexistent.cedar: ".into()]
    {
        assert!(text.lines().any(|line| line.starts_with(&start)), "{start}\n{text}");
    }
    let (is_fine, text) = answered(true, &["check", path]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!is_fine && answer["problems"].as_array().unwrap().iter().any(|p| p["line"] == 2), "{text}");
}

#[test]
fn show_prints_policies_that_check_accepts() {
    let (_, text) = answered(true, &["show"]);
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for file in shown["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap().rsplit('/').next().unwrap();
        std::fs::write(dir.path().join(name), file["text"].as_str().unwrap()).unwrap();
    }
    let (is_fine, text) = answered(false, &["check", "--no-builtin", dir.path().to_str().unwrap()]);
    assert!(is_fine, "{text}");
    // Beside themselves they are duplicates.
    let (is_fine, _) = answered(false, &["check", dir.path().to_str().unwrap()]);
    assert!(!is_fine);
    let (_, schema) = answered(false, &["show", "--schema"]);
    assert_eq!(schema, SCHEMA_TEXT);
}

#[test]
fn profiles_are_words() {
    assert!(Cli::try_parse_from(["policy", "check", "--profile", "observed"]).is_err());
    let (_, text) = answered(false, &["show", "--profile", "observe"]);
    assert!(text.contains("@id(\"observe-permitted\")"));
}

#[test]
fn check_reads_what_run_would_and_notes_what_cannot_match() {
    let home = home(&[(
        "a.cedar",
        "@id(\"mine\") forbid (principal, action, resource in Governor::Environment::\"prod\");",
    )]);
    let (is_fine, text) = answered_with(false, &["check", "--pack", "pci"], &home);
    assert!(is_fine && text.contains("a.cedar: 1 policy") && text.contains("pack/pci.cedar: "), "{text}");
    assert!(
        text.contains("note: mine asks for the environment \"prod\", which no label file gives"),
        "{text}"
    );
    assert!(text.contains("note: pci-need-to-know asks for the label \"pci\""), "{text}");
    let labels = "[[label]]\non = [\"pay.*\"]\nlabels = [\"pci\", \"pci-authentication\"]\n\
                  [[environment]]\nname = \"prod\"\nservers = [\"10.0.0.0/8\"]\n";
    std::fs::write(home.path().join("policies/site.labels.toml"), labels).unwrap();
    let (_, text) = answered_with(false, &["check", "--pack", "pci"], &home);
    assert!(!text.contains("note:"), "{text}");
    std::fs::write(home.path().join("policies/site.labels.toml"), labels.replace("/8", "/99")).unwrap();
    let (is_fine, text) = answered_with(false, &["check"], &home);
    assert!(!is_fine && text.contains("site.labels.toml:6:") && text.contains("is no server"), "{text}");
}

#[test]
fn check_refuses_what_can_never_hit_and_notes_what_hardly_can() {
    let home = home(&[(
        "a.cedar",
        "@id(\"a\")\nforbid (principal, action in Governor::Action::\"run\", resource)\n\
         when { context.reads.contains(\"payroll.*\") };",
    )]);
    let policy = |text: &str| std::fs::write(home.path().join("policies/a.cedar"), text).unwrap();
    let (is_fine, text) = answered_with(false, &["check"], &home);
    assert!(!is_fine && text.contains("a.cedar:3:31: \"payroll.*\" matches no relation"), "{text}");

    policy(
        "@id(\"held\") @approval(\"nobodys-group\")\nforbid (principal, action in Governor::Action::\"run\", \
         resource)\nunless { context.approved };",
    );
    let labels = "# people.email\n[[label]]\non = [\"crm.people\", \"people.email\"]\nlabels = [\"personal\"]\n\
                  [[label]]\non = [\"public.email\", \"hr.staff.email\"]\nlabels = [\"personal\"]\n\
                  [[label]]\non = [\"hr.notes\"]\nlabels = [\"personal\"]\ncategory = \"health\"\n";
    std::fs::write(home.path().join("policies/a.labels.toml"), labels).unwrap();
    let (is_fine, text) = answered_with(false, &["check"], &home);
    assert!(is_fine, "{text}");
    for part in [
        "a.labels.toml:3:21: \"people.email\" was taken for the relation \"email\" of the schema \"people\"; if a column \
         is meant, write \"SCHEMA.people.email\"",
        "a.labels.toml:9:7: \"hr.notes\" was taken for the relation",
        "note: held: nobody but root can approve what is held, because nobody is in the group \"nobodys-group\"; list \
         its members under approvals.groups",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches("note: ").count(), 3, "{text}");
    let (_, text) = answered_with(true, &["check"], &home);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["notes"].as_array().unwrap().len(), 3, "{text}");
    // Without the configuration's groups the built-in policies wait for nobody, too.
    std::fs::write(home.path().join("governor.toml"), "[approvals.groups]\ndba = []\n").unwrap();
    let (_, text) = answered_with(false, &["check"], &home);
    assert!(text.contains("agents-changes-approved and ") && text.contains("in the group \"dba\""), "{text}");
}

#[test]
fn test_tells_what_failed_where_and_why() {
    let cases = "[as]\nclass = \"agent\"\n\n[[case]]\nname = \"fine\"\nsql = \"SELECT 1\"\nexpect = \"allow\"\n\n\
                 [[case]]\nname = \"not so\"\nsql = \"DROP TABLE t\"\nexpect = \"hold\"\n";
    let home = home(&[("site.cases.toml", cases)]);
    let path = home.path().join("policies/site.cases.toml");
    let path = path.to_str().unwrap();
    let (is_fine, text) = answered_with(false, &["test", path], &home);
    assert!(!is_fine);
    for part in [
        format!("ok     {path}:4: fine\n"),
        format!("FAILED {path}:9: not so\n"),
        "expected hold, got deny".into(),
        "decided by agents-destructive-denied: agents may not destroy data".into(),
        "2 cases, 1 FAILED".into(),
    ] {
        assert!(text.contains(&part), "{part}\n{text}");
    }
    let (is_fine, text) = answered_with(true, &["test", path], &home);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(!is_fine);
    assert_eq!((&told["failed_count"], &told["cases"][1]["got"]["verdict"]), (&json!(1), &json!("deny")));

    let directory = home.path().join("policies");
    std::fs::write(directory.join("a.cedar"), "permit (principal, action, resource);").unwrap();
    let (_, checked) = answered_with(true, &["check"], &home);
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    let (count, version) =
        (checked["policies_count"].as_u64().unwrap(), checked["version"].as_str().unwrap());
    let (_, text) = answered_with(false, &["test", path], &home);
    let first = format!(
        "with {count} policies ({} built in, 1 of {}/a.cedar), version {version}\n",
        count - 1,
        directory.display()
    );
    assert!(text.starts_with(&first), "{first}\n{text}");
    let (_, told) = answered_with(true, &["test", path], &home);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["policies"][0]["version"], checked["version"]);
    let (_, text) = answered_with(false, &["test", path, "--no-builtin"], &home);
    assert!(text.starts_with("with 1 policy (1 of "), "{text}");

    std::fs::write(directory.join("more.cases.toml"), cases.replace("not so", "nor so")).unwrap();
    let (_, text) = answered_with(false, &["test", directory.to_str().unwrap()], &home);
    assert!(text.contains("more.cases.toml:9: nor so") && text.contains("4 cases, 2 FAILED"), "{text}");
    let (_, text) = answered_with(false, &["test", home.path().to_str().unwrap()], &home);
    assert!(text.contains("no file *.cases.toml in this directory"), "{text}");

    for (wrong, reason) in [
        (cases.replace("expect = \"hold\"", "expects = \"hold\""), ":12:1: unknown key `expects`"),
        (cases.replace("sql = \"DROP TABLE t\"\n", ""), ":9:1: a case has one of sql, see and connect"),
        (cases.replace("\"hold\"", "\"wait\""), ":12:10: unknown variant `wait`"),
        ("[as]\n".into(), ": it has no [[case]]"),
        (
            cases.replace("\"hold\"", "\"masked\""),
            ":9:1: expect: a statement or connection is never \"masked\"",
        ),
        (
            cases.replace("expect = \"hold\"", "expect = \"deny\"\nby = \"x\""),
            ":13:6: a list is expected here: write [\"x\"]",
        ),
        (
            cases.replace("expect = \"hold\"", "expect = \"deny\"\nby = [\"x\"]"),
            ":9:1: by: no policy has the id \"x\"",
        ),
        (
            cases.replace("expect = \"hold\"", "as = \"agent\""),
            ":12:6: who asks is a table: write { class = \"agent\" }",
        ),
        (
            cases.replace("expect = \"hold\"", "at = \"2026-11-26T09:00:00\""),
            ":12:6: a time without its zone: write it as \"2026-11-26T09:00:00Z\"",
        ),
    ] {
        std::fs::write(path, &wrong).unwrap();
        let (is_fine, text) = answered_with(false, &["test", path], &home);
        assert!(!is_fine && text.contains(reason), "{reason}\n{text}");
    }
}

#[test]
fn cases_that_ship_pass_for_every_pack() {
    for pack in crate::engine::policy::Pack::ALL {
        let (is_fine, text) = answered(false, &["test", "--pack", pack.name]);
        assert!(is_fine && text.contains("all as expected"), "{text}");
        let (_, shown) = answered(false, &["show", "--pack", pack.name]);
        assert!(shown.contains("// Claims") && shown.contains("// Does not claim"), "{shown}");
        let (_, cases) = answered(false, &["show", "--pack", pack.name, "--cases"]);
        assert_eq!(cases, pack.cases);
    }
}

#[test]
fn explain_tells_verdict_policies_facts_and_columns() {
    let words = ["explain", "--as", "agent", "--user", "alice", "--see", "unknown", "--rows", "7"];
    let sql = "SELECT email FROM crm.people; DELETE FROM orders";
    let (is_fine, text) = answered(false, &[&words[..], &[sql]].concat());
    assert!(is_fine);
    for part in [
        "agent alice → app at 127.0.0.1:5432, as app",
        "1. SELECT email FROM crm.people\n  allow\n    agents-permitted",
        "crm.people.email (email, by its name): masked (partial) by personal-data-partial",
        "2. DELETE FROM orders\n  deny\n    agents-unbounded-denied: agents may not change every row of a table",
        "WHERE        is missing, or chooses every row",
        "in doubt     orders could be in any schema",
        "unknown (of unknown origin): masked (redact) by doubtful-data-redacted",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let (_, text) = answered(true, &[&words[..], &[sql]].concat());
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["statements"][1]["decision"]["verdict"], "deny");
    assert_eq!(told["statements"][1]["facts"]["doubts"][0], "orders could be in any schema");
}

#[test]
fn explain_tells_what_comes_behind_a_star_and_what_is_labelled() {
    let labels = "[[label]]\non = [\"crm.people\"]\nlabels = [\"personal\"]\n\
                  [[label]]\non = [\"crm.people.note\"]\nlabels = [\"secret\"]\n";
    let home = home(&[("site.labels.toml", labels)]);
    let explain =
        |words: &[&str]| answered_with(false, &[&["explain", "--as", "person"], words].concat(), &home).1;
    for sql in [
        "SELECT * FROM crm.people",
        "SELECT id, p.* FROM crm.people p",
        "SELECT p FROM crm.people p",
        "COPY crm.people TO STDOUT",
    ] {
        let text = explain(&[sql]);
        for part in [
            "  labels       crm.people: personal\n",
            "others that are not named; below stand those that files name",
            "crm.people.note (other, by a label file; labels: personal, secret; not named): masked (partial)",
        ] {
            assert!(text.contains(part), "{sql}: {part}\n{text}");
        }
    }
    // Another schema's table may be meant, and its column is not known.
    let text = explain(&["TABLE people"]);
    assert!(
        text.contains("labels       people: perhaps personal\n") && text.contains("crm.people.note ("),
        "{text}"
    );
    let text = explain(&["SELECT note FROM people"]);
    assert!(text.contains("people.note (other, by a label file): masked (redact)"), "{text}");
    assert!(!explain(&["SELECT id FROM crm.people"]).contains("crm.people.note"));

    let text = explain(&["--see", "crm.people.city", "--see", "crm.people.note"]);
    assert!(text.contains("crm.people.city (nothing calls it sensitive): in clear"), "{text}");
    assert!(
        text.contains("crm.people.note (other, by a label file; labels: personal, secret): masked"),
        "{text}"
    );
    let (_, told) = answered_with(true, &["explain", "--as", "person", "SELECT * FROM crm.people"], &home);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let facts = &told["statements"][0]["facts"];
    assert_eq!(
        (&facts["unlisted_columns"], &facts["labels"]),
        (&json!(true), &json!([{ "relation": "crm.people", "labels": ["personal"] }]))
    );
    let column = &told["statements"][0]["columns"][0];
    assert_eq!((&column["unnamed"], &column["labels"]), (&json!(true), &json!(["personal", "secret"])));
}

/// As a session shows it: by labels, the configuration and names; what nothing calls sensitive in clear.
#[test]
fn test_sees_columns_as_a_session_shows_them() {
    let cases = "[as]\nclass = \"agent\"\n\
        [[case]]\nname = \"nothing says so\"\nsee = \"crm.people.city\"\nexpect = \"clear\"\n\
        [[case]]\nname = \"its name\"\nsee = \"crm.people.email\"\nexpect = \"masked\"\nmask = \"partial\"\n\
        [[case]]\nname = \"a label\"\nsee = \"crm.people.note\"\nexpect = \"masked\"\n\
        [[case]]\nname = \"the configuration\"\nsee = \"crm.people.c1\"\nexpect = \"masked\"\nmask = \"hash\"\n\
        [[case]]\nname = \"cleared\"\nsee = \"crm.people.phone\"\nexpect = \"clear\"\n\
        [[case]]\nname = \"said\"\nsee = \"crm.people.city\"\ncategory = \"iban\"\nexpect = \"masked\"\n\
        [[case]]\nname = \"unknown origin\"\nsee = \"unknown\"\nexpect = \"masked\"\n";
    let labels = "[[label]]\non = [\"crm.people.note\"]\nlabels = [\"secret\"]\n";
    let home = home(&[("site.labels.toml", labels), ("site.cases.toml", cases)]);
    let config = std::fs::read_to_string(home.path().join("governor.toml")).unwrap()
        + "[masking]\nclear = [\"crm.people.phone\"]\n\
           [[masking.columns]]\ncolumn = \"crm.people.c1\"\ncategory = \"iban\"\nstyle = \"hash\"\n";
    std::fs::write(home.path().join("governor.toml"), config).unwrap();
    let path = home.path().join("policies/site.cases.toml");
    let (is_fine, text) = answered_with(false, &["test", path.to_str().unwrap()], &home);
    assert!(is_fine && text.contains("7 cases, all as expected"), "{text}");
}

#[test]
fn init_writes_what_check_and_test_accept_and_overwrites_nothing() {
    let home = home(&[]);
    let (is_fine, text) = answered_with(false, &["init"], &home);
    assert!(is_fine && text.contains("next:"), "{text}");
    let (is_fine, text) = answered_with(false, &["check"], &home);
    assert!(is_fine && !text.contains("note:"), "{text}");
    let cases = home.path().join("policies/site.cases.toml");
    let (is_fine, text) = answered_with(false, &["test", cases.to_str().unwrap()], &home);
    assert!(is_fine && text.contains("all as expected"), "{text}");

    let policy = home.path().join("policies/site.cedar");
    std::fs::remove_file(home.path().join("policies/site.labels.toml")).unwrap();
    std::fs::write(&policy, "// mine\n").unwrap();
    let args = Cli::try_parse_from(["policy", "init"]).unwrap().policy;
    let config = Some(home.path().join("governor.toml"));
    let globals = Globals { state_dir: home.path().to_owned(), config, json: false };
    let error = answer(args, &globals, &mut vec![]).unwrap_err().to_string();
    assert!(error.contains("site.cedar") && error.contains("nothing was written"), "{error}");
    assert_eq!(std::fs::read_to_string(&policy).unwrap(), "// mine\n");
    assert!(!home.path().join("policies/site.labels.toml").exists());
}

/// Recorded sessions of a service and an agent, replayed.
#[test]
fn simulate_shows_what_would_be_answered_otherwise() {
    let home = home(&[]);
    record_sessions(home.path());
    let simulate = |words: &[&str]| answered_with(true, &[&["simulate"], words].concat(), &home).1;
    let told = |words: &[&str]| -> serde_json::Value { serde_json::from_str(&simulate(words)).unwrap() };
    let same = told(&[]);
    let counts = &same["counts"];
    assert_eq!(
        (&counts["statements"], &counts["connections"], &counts["changed"]),
        (&json!(5), &json!(2), &json!(0))
    );
    assert_eq!(
        (&counts["cut"], &counts["session_unknown"], &counts["recorded_otherwise"]),
        (&json!(1), &json!(1), &json!(0))
    );

    let changed = told(&["--pack", "agents-read-only"]);
    assert_eq!(changed["counts"]["changed"], 2);
    let change = &changed["changes"][0];
    assert_eq!((&change["change"]["was"], &change["change"]["would_be"]), (&json!("hold"), &json!("deny")));
    assert_eq!(
        (&change["change"]["by"], &change["example"]["count"]),
        (&json!(["agents-changes-approved", "agents-read-only-denied"]), &json!(2))
    );
    assert_eq!(change["example"]["text"], "INSERT INTO shop.orders VALUES (1)");

    // A policy of one's own, on connections and on names; where the schema is not known it is in doubt.
    let new = dir(&[(
        "new.cedar",
        "@id(\"no-agents\") forbid (principal in Governor::Class::\"agent\", action == Governor::Action::\"connect\", \
         resource);\n@id(\"pay\") forbid (principal in Governor::Class::\"service\", action in \
         Governor::Action::\"run\", resource) when { context.schemas.contains(\"pay\") };",
    )]);
    let path = new.path().to_str().unwrap();
    let changed = told(&[path]);
    let by = |id: &str| {
        let changes = changed["changes"].as_array().unwrap();
        changes.iter().find(|change| change["change"]["by"] == json!([id])).unwrap()["example"].clone()
    };
    assert_eq!(by("no-agents")["text"], "connect to shop at 10.0.0.5:5432");
    assert_eq!((&by("pay")["count"], &by("pay")["in_doubt_count"]), (&json!(1), &json!(1)));
    let (_, text) = answered_with(false, &["simulate", path], &home);
    for part in
        ["replayed 5 statements and 2 connections", "2 would be answered otherwise", "allow → deny", "1?"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(told(&["--since", "2027-01-15T08:00:00.007Z"])["counts"]["statements"], 2);
}

/// Two sessions, a statement of one that nobody saw begin, and one whose text was cut.
fn record_sessions(state: &std::path::Path) {
    use crate::engine::audit::{AuditEvent, AuditRecord, SessionDecision, SessionStart, StatementRecord};
    use crate::engine::model::{
        Claims, Class, DecisionId, Endpoint, SessionId, StatementKind, Timestamp, Verdict,
    };
    use crate::engine::session::cases::Actor;
    use crate::host::ledger::{Ledger, LedgerOptions};
    let at = |ms: u64| Timestamp {
        unix_ns: 1_800_000_000_000_000_000 + ms * 1_000_000,
        monotonic_ns: ms * 1_000_000,
    };
    let options = LedgerOptions::new(state.join("audit"), state.join("keys"));
    let ledger = Ledger::open(options, at(0)).unwrap();
    let mut ms = 0;
    let mut append = |session: &str, event| {
        let record = AuditRecord { at: at(ms), session: Some(SessionId(session.into())), event };
        ledger.append(&[record]).unwrap();
        ms += 1;
    };
    let destination = Endpoint::tcp("10.0.0.5".parse().unwrap(), 5432);
    for (session, class) in [("S", Class::Service), ("A", Class::Agent)] {
        let actor = Actor { class: Some(class), user: Some("app".into()), ..Actor::default() };
        let start = SessionStart {
            principal: actor.principal().into(),
            client: None,
            destination: destination.clone(),
            attested_by: None,
        };
        append(session, AuditEvent::SessionStart(Box::new(start)));
        let claims = Claims { user: "app".into(), database: "shop".into(), application_name: String::new() };
        let decision = SessionDecision {
            decision: DecisionId("d".into()),
            verdict: Verdict::Allow,
            reasons: vec![].into(),
            claims,
        };
        append(session, AuditEvent::SessionDecision(decision));
    }
    let mut statement = |session: &str, text: &str, text_bytes: usize, verdict, approval: Option<&str>| {
        let record = StatementRecord {
            decision: DecisionId("d".into()),
            verdict,
            reasons: vec![].into(),
            kind: StatementKind::Select,
            tag: "SELECT".into(),
            text: text.into(),
            text_bytes: text_bytes as u64,
            fingerprint: "".into(),
            reads: vec![].into(),
            writes: vec![].into(),
            unknown: None,
            parameters: vec![].into(),
            tokens: 0,
            conditions: Arc::from([]),
            executes: vec![],
            approval: approval.map(str::to_owned),
            break_glass: None,
            class: Class::Agent,
            user: "app".into(),
            pid: 1,
            database: "shop".into(),
            database_user: "app".into(),
        };
        append(session, AuditEvent::Statement(Box::new(record)));
    };
    const INSERT: &str = "INSERT INTO shop.orders VALUES (1)";
    statement("S", "SELECT 1 FROM cards", 19, Verdict::Allow, None);
    statement("S", "SELECT 1 FROM open.t", 20, Verdict::Allow, None);
    statement("A", INSERT, INSERT.len(), Verdict::Hold, None);
    statement("A", INSERT, INSERT.len(), Verdict::Allow, Some("k7q2mx"));
    statement("A", "SELECT 1", 8, Verdict::Allow, None);
    statement("A", "SELECT 1 FROM …", 4000, Verdict::Allow, None);
    statement("never-began", "SELECT 1", 8, Verdict::Allow, None);
    ledger.close(at(99)).unwrap();
}
