//! What the built-in policies answer, for every class and kind of statement.

use super::*;
use StatementKind as K;
use Verdict::{Allow, Deny, Hold};

/// Kind, then what a person and an agent get (UPDATE and DELETE: with a WHERE).
const KINDS: [(K, Verdict, Verdict); 27] = [
    (K::Empty, Allow, Allow),
    (K::Select, Allow, Allow),
    (K::Explain, Allow, Allow),
    (K::Show, Allow, Allow),
    (K::Cursor, Allow, Allow),
    (K::Execute, Deny, Deny),
    (K::Prepare, Allow, Allow),
    (K::Deallocate, Allow, Allow),
    (K::Insert, Allow, Hold),
    (K::Update, Allow, Hold),
    (K::Delete, Allow, Hold),
    (K::Merge, Allow, Hold),
    (K::Truncate, Hold, Deny),
    (K::CopyIn, Allow, Hold),
    (K::CopyOut, Allow, Allow),
    (K::Ddl, Allow, Hold),
    (K::Drop, Hold, Deny),
    (K::Dcl, Hold, Deny),
    (K::Transaction, Allow, Allow),
    (K::Session, Allow, Allow),
    (K::Notify, Allow, Allow),
    (K::Lock, Allow, Hold),
    (K::Call, Hold, Hold),
    (K::Do, Hold, Deny),
    (K::Maintenance, Allow, Hold),
    (K::Administration, Hold, Deny),
    (K::Unknown, Deny, Deny),
];

#[test]
fn every_class_and_kind() {
    let set = protect();
    let mut seen = std::collections::BTreeSet::new();
    for (kind, person, agent) in KINDS {
        seen.insert(kind);
        let s = statement(kind);
        for (class, expected) in [(Class::Service, Allow), (Class::Person, person), (Class::Agent, agent)] {
            let decision = run(&set, class, &s);
            assert_eq!(decision.verdict, expected, "{class} {kind:?}: {:?}", decision.reasons);
            assert_eq!(decision.hold.is_some(), expected == Hold, "{class} {kind:?}");
            if expected != Allow {
                let first = &decision.reasons[0];
                assert!(!first.text.is_empty() && !first.hint.is_empty(), "{class} {kind:?}: {first:?}");
            }
            // Approval lifts holds and nothing else.
            let approved = run_as(&set, class, &s, true).verdict;
            assert_eq!(
                approved,
                if expected == Hold { Allow } else { expected },
                "approved {class} {kind:?}"
            );
        }
    }
    assert_eq!(seen.len(), K::ALL.len());
}

#[test]
fn missing_or_unjudged_where() {
    let set = protect();
    for kind in [K::Update, K::Delete, K::Merge] {
        for has_where in [Some(false), None] {
            let mut s = statement(kind);
            s.has_where = has_where;
            assert_eq!(run(&set, Class::Service, &s).verdict, Allow);
            let person = run(&set, Class::Person, &s);
            assert_eq!((person.verdict, ids(&person)), (Hold, vec!["people-unbounded-approved"]));
            assert_eq!(person.hold.unwrap().approvers, "dba");
            let agent = run(&set, Class::Agent, &s);
            assert_eq!(agent.verdict, Deny);
            // The reason that nobody can lift comes first: the client is told that one.
            assert_eq!(ids(&agent)[0], "agents-unbounded-denied");
            assert_eq!(run_as(&set, Class::Agent, &s, true).verdict, Deny);
        }
    }
}

#[test]
fn a_statement_is_everything_that_it_does() {
    let set = protect();
    let mut s = statement(K::Select);
    for (kinds, person, agent) in [
        (vec![K::Select, K::Delete], Allow, Hold),
        (vec![K::Select, K::Truncate], Hold, Deny),
        (vec![K::Explain, K::Drop], Hold, Deny),
        (vec![K::Select, K::Unknown], Deny, Deny),
        (vec![], Allow, Allow),
    ] {
        s.has_where = kinds.contains(&K::Delete).then_some(true);
        s.kinds = kinds;
        assert_eq!(run(&set, Class::Person, &s).verdict, person, "{:?}", s.kinds);
        assert_eq!(run(&set, Class::Agent, &s).verdict, agent, "{:?}", s.kinds);
    }
    // A SELECT with SQL in a string is no more than unknown.
    let mut s = statement(K::Select);
    s.unknown = Some(Unknown::DynamicSql { by: "query_to_xml".into() });
    assert_eq!(ids(&run(&set, Class::Agent, &s)), ["unknown-denied"]);
    assert_eq!(ids(&run(&set, Class::Person, &s)), ["unknown-denied"]);
    assert_eq!(run(&set, Class::Service, &s).verdict, Allow);
}

#[test]
fn definitions_by_people() {
    let set = protect();
    let mut s = statement(K::Ddl);
    for (tag, expected) in [
        ("CREATE TABLE", Allow),
        ("CREATE INDEX", Allow),
        ("CREATE VIEW", Allow),
        ("COMMENT", Allow),
        ("ALTER TABLE", Hold),
        ("CREATE FUNCTION", Hold),
        ("CREATE PROCEDURE", Hold),
        ("CREATE TRIGGER", Hold),
        ("CREATE EVENT TRIGGER", Hold),
        ("CREATE RULE", Hold),
        ("CREATE POLICY", Hold),
        ("CREATE AGGREGATE", Hold),
        ("CREATE OPERATOR", Hold),
        ("CREATE OPERATOR CLASS", Hold),
        ("CREATE CAST", Hold),
        ("CREATE DOMAIN", Hold),
        ("CREATE CONVERSION", Hold),
    ] {
        s.tag = tag.into();
        assert_eq!(run(&set, Class::Person, &s).verdict, expected, "{tag}");
        assert_eq!(run(&set, Class::Agent, &s).verdict, Hold, "{tag}");
    }
}

#[test]
fn settings_that_change_meaning() {
    let set = protect();
    let mut s = statement(K::Session);
    for (name, value, expected) in [
        ("application_name", Some("x"), Allow),
        ("search_path", Some("public"), Allow),
        ("role", Some("postgres"), Deny),
        ("ROLE", Some("postgres"), Deny),
        ("role", None, Allow),
        ("session_authorization", Some("postgres"), Deny),
        ("standard_conforming_strings", Some("on"), Allow),
        ("standard_conforming_strings", Some("off"), Deny),
        ("Standard_Conforming_Strings", Some("OFF"), Deny),
        ("client_encoding", Some("UTF8"), Allow),
        ("client_encoding", Some("'utf-8'"), Allow),
        ("client_encoding", Some("unicode"), Allow),
        ("client_encoding", Some("sql_ascii"), Allow),
        ("client_encoding", Some("SJIS"), Deny),
        ("client_encoding", Some("UTF-8 SJIS"), Deny),
        ("client_encoding", Some("ütf8"), Deny),
        ("client_encoding", None, Allow),
        ("names", Some("GBK"), Deny),
    ] {
        s.setting = Some((name.into(), value.map(Into::into)));
        for class in [Class::Person, Class::Agent] {
            assert_eq!(run(&set, class, &s).verdict, expected, "{class} {name}={value:?}");
        }
        assert_eq!(run(&set, Class::Service, &s).verdict, Allow);
    }
}

#[test]
fn functions_that_escape() {
    let set = protect();
    let mut s = statement(K::Select);
    for (schema, name, expected) in [
        (None, "lower", Allow),
        (None, "set_config", Deny),
        (Some("pg_catalog"), "set_config", Deny),
        (None, "pg_read_file", Deny),
        (Some("pg_catalog"), "lo_export", Deny),
        (None, "pg_terminate_backend", Deny),
    ] {
        s.functions = vec![FunctionName { schema: schema.map(Into::into), name: name.into() }];
        for class in [Class::Person, Class::Agent] {
            assert_eq!(run(&set, class, &s).verdict, expected, "{class} {name}");
        }
        assert_eq!(run(&set, Class::Service, &s).verdict, Allow);
    }
}

#[test]
fn sensitive_columns() {
    let set = protect();
    let masked = |class, category| match see(&set, class, category) {
        Visibility::Clear => None,
        Visibility::Masked { style, reasons } => {
            assert!(!reasons.is_empty());
            Some(style)
        }
    };
    for category in [Some(Category::Email), Some(Category::Credential), Some(Category::Other), None] {
        assert_eq!(masked(Class::Service, category), None);
    }
    for class in [Class::Person, Class::Agent] {
        assert_eq!(masked(class, Some(Category::Email)), Some(MaskStyle::Partial));
        assert_eq!(masked(class, Some(Category::PaymentCard)), Some(MaskStyle::Partial));
        assert_eq!(masked(class, Some(Category::Credential)), Some(MaskStyle::Redact));
        assert_eq!(masked(class, None), Some(MaskStyle::Redact), "unknown origin");
        // Half known is not known.
        let mut half = column(Some(Category::Email));
        half.category = None;
        let seen = set.see(&who(class), &claims(), &server(), &half, &SessionContext::default());
        assert!(matches!(seen, Visibility::Masked { style: MaskStyle::Redact, .. }));
        half = column(None);
        half.category = Some(Category::Email);
        let seen = set.see(&who(class), &claims(), &server(), &half, &SessionContext::default());
        assert!(matches!(seen, Visibility::Masked { style: MaskStyle::Redact, .. }));
    }
}

#[test]
fn everybody_may_connect() {
    for profile in Profile::ALL {
        let set = PolicySet::compile(&PolicySet::builtin(profile)).unwrap();
        for class in Class::ALL {
            assert_eq!(connect(&set, class).verdict, Allow);
        }
    }
}

#[test]
fn observe_changes_nothing() {
    let set = PolicySet::compile(&PolicySet::builtin(Profile::Observe)).unwrap();
    for class in Class::ALL {
        for kind in K::ALL {
            let mut s = statement(kind);
            s.has_where = Some(false);
            assert_eq!(run(&set, class, &s).verdict, Allow, "{class} {kind:?}");
        }
        assert_eq!(see(&set, class, Some(Category::Credential)), Visibility::Clear);
        assert_eq!(see(&set, class, None), Visibility::Clear);
    }
}

#[test]
fn the_set_stays_small() {
    assert!(protect().policies_count() <= 20);
}

#[test]
fn conditions_on_masked_columns_are_denied_to_agents_and_named() {
    let set = protect();
    let column = ColumnName { schema: "public".into(), relation: "people".into(), column: "ssn".into() };
    let condition = HiddenCondition { column: Some(column), clause: Clause::Where, form: Form::Pattern };
    let unknown = HiddenCondition { column: None, clause: Clause::Result, form: Form::Unknown };
    let around = |conditions: &[HiddenCondition]| RunContext {
        reads_sensitive: true,
        conditions: conditions.into(),
        ..RunContext::default()
    };
    let select = statement(StatementKind::Select);
    let run = |class, around: &RunContext| set.run(&who(class), &claims(), &server(), &select, around);
    for class in [Class::Person, Class::Service] {
        assert_eq!(run(class, &around(std::slice::from_ref(&condition))).verdict, Verdict::Allow);
    }
    assert_eq!(run(Class::Agent, &around(&[])).verdict, Verdict::Allow);
    let denied = run(Class::Agent, &around(std::slice::from_ref(&condition)));
    assert_eq!((denied.verdict, ids(&denied)), (Verdict::Deny, vec!["agents-conditions-denied"]));
    assert!(denied.reasons[0].text.ends_with("public.people.ssn in WHERE (pattern)"), "{denied:?}");
    assert_eq!(run(Class::Agent, &around(&[unknown])).verdict, Verdict::Deny);
    // No approval lifts it.
    let approved = RunContext { approved: true, ..around(&[condition]) };
    assert_eq!(run(Class::Agent, &approved).verdict, Verdict::Deny);
}

#[test]
fn copies_of_masked_data_by_people_are_held() {
    let set = protect();
    let around = |copies_masked, approved| RunContext { copies_masked, approved, ..RunContext::default() };
    for kind in [StatementKind::Insert, StatementKind::Update, StatementKind::Ddl] {
        let mut copy = statement(kind);
        copy.has_where = Some(true);
        let run = |around: &RunContext| set.run(&who(Class::Person), &claims(), &server(), &copy, around);
        assert_eq!(run(&around(false, false)).verdict, Verdict::Allow, "{kind:?}");
        assert_eq!(run(&around(true, false)).verdict, Verdict::Hold, "{kind:?}");
        assert_eq!(run(&around(true, true)).verdict, Verdict::Allow, "{kind:?}");
    }
}
