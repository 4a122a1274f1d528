//! What is not known for certain is never taken for what is harmless.

use super::labelling::relation;
use super::*;
use StatementKind as K;

const LABELS: &str = r#"{"label": [
    {"on": ["payroll.salaries"], "labels": ["secret"]},
    {"on": ["open.*"], "labels": ["open"]}
]}"#;

fn verdict(rule: &str, s: &Statement, bare_schemas: Option<&[&str]>) -> Verdict {
    let set = labelled(
        &format!("permit (principal, action == Governor::Action::\"connect\", resource);\n{rule}"),
        LABELS,
    );
    let bare_schemas = bare_schemas.map(|list| list.iter().map(|&name| name.to_owned()).collect());
    let around = RunContext { bare_schemas, columns_certain: true, ..RunContext::default() };
    set.run(&who(Class::Service), &claims(), &server(), s, &around).verdict
}

/// A function without its schema could be of any, unless the catalogue knows that it is the server's own.
#[test]
fn a_bare_function_meets_rules_on_schemas() {
    let forbid = "forbid (principal, action in Governor::Action::\"run\", resource)";
    let calls = |name: &str, unknown: bool| {
        let mut s = statement(K::Select);
        let RelationName { schema, name } = relation(name);
        s.functions = vec![FunctionName { schema, name }];
        s.unknown = unknown.then_some(Unknown::TooDeep);
        s
    };
    let verdict = |rule: &str, s: &Statement, functions_certain| {
        let around = RunContext { columns_certain: true, functions_certain, ..RunContext::default() };
        let set = set(&format!("{PERMIT};\n{forbid} {rule};"));
        set.run(&who(Class::Service), &claims(), &server(), s, &around).verdict
    };
    let contains = "when { context.function_schemas.contains(\"payroll\") }";
    let all = "unless { [\"reporting\", \"pg_catalog\"].containsAll(context.function_schemas) }";
    for (name, certain, by_contains, by_all) in [
        ("payroll.raise", true, Verdict::Deny, Verdict::Deny),
        ("reporting.total", true, Verdict::Allow, Verdict::Allow),
        ("count", true, Verdict::Allow, Verdict::Allow),
        ("count", false, Verdict::Deny, Verdict::Deny),
        ("reporting.total", false, Verdict::Allow, Verdict::Allow),
    ] {
        assert_eq!(verdict(contains, &calls(name, false), certain), by_contains, "{name} {certain}");
        assert_eq!(verdict(all, &calls(name, false), certain), by_all, "{name} {certain}");
        let unknown = calls(name, true);
        assert_eq!(
            (verdict(contains, &unknown, certain), verdict(all, &unknown, certain)),
            (Verdict::Deny, Verdict::Deny)
        );
    }
    let relations = "when { context.schemas.contains(\"payroll\") }";
    assert_eq!(
        verdict(relations, &calls("payroll.raise", false), true),
        Verdict::Allow,
        "schemas are of relations"
    );
}

fn reading(name: &str) -> Statement {
    let mut s = statement(K::Select);
    s.reads = vec![relation(name)];
    s
}

fn writing(name: &str) -> Statement {
    let mut s = statement(K::Delete);
    (s.reads, s.writes) = (vec![], vec![relation(name)]);
    s
}

const PERMIT: &str = "permit (principal, action in Governor::Action::\"run\", resource)";

/// A name without its schema could be the one that a rule protects.
#[test]
fn a_bare_name_meets_rules_on_schemas_labels_and_full_names() {
    for condition in [
        "context.schemas.contains(\"payroll\")",
        "context.labels.contains(\"secret\")",
        "context.read_labels.contains(\"secret\")",
        "context.reads.contains(\"payroll.salaries\")",
        "context.reads.containsAny([\"payroll.salaries\", \"payroll.bonus\"])",
    ] {
        let rule = format!("{PERMIT};\nforbid (principal, action, resource) when {{ {condition} }};")
            .replace(
                "(principal, action, resource) when",
                "(principal, action in Governor::Action::\"run\", resource) when",
            );
        for (name, bare, expected) in [
            ("payroll.salaries", None, Verdict::Deny),
            ("salaries", None, Verdict::Deny),
            ("salaries", Some(&["public", "payroll"][..]), Verdict::Deny),
            ("salaries", Some(&["payroll"][..]), Verdict::Deny),
            ("salaries", Some(&["public"][..]), Verdict::Allow),
            ("public.salaries", None, Verdict::Allow),
        ] {
            assert_eq!(verdict(&rule, &reading(name), bare), expected, "{condition} {name} {bare:?}");
        }
    }
    let rule = format!(
        "{PERMIT};\nforbid (principal, action == Governor::Action::\"delete\", resource) \
         when {{ context.written_labels.contains(\"secret\") || context.writes.contains(\"payroll.salaries\") }};"
    );
    assert_eq!(verdict(&rule, &writing("salaries"), None), Verdict::Deny);
    assert_eq!(verdict(&rule, &writing("other"), None), Verdict::Allow);
}

/// A permit needs what is certain.
#[test]
fn a_bare_name_is_permitted_by_nothing_that_it_might_not_be() {
    for condition in [
        "[\"open\"].containsAll(context.schemas)",
        "context.schemas.contains(\"open\")",
        "context.shared_labels.contains(\"open\")",
        "context.labels == [\"open\"]",
        "context.reads.contains(\"open.a\")",
    ] {
        let rule = format!("{PERMIT} when {{ {condition} }};");
        for (name, bare, expected) in [
            ("open.a", None, Verdict::Allow),
            ("a", None, Verdict::Deny),
            ("a", Some(&["open"][..]), Verdict::Allow),
            ("a", Some(&["open", "public"][..]), Verdict::Deny),
            ("public.a", None, Verdict::Deny),
        ] {
            assert_eq!(verdict(&rule, &reading(name), bare), expected, "{condition} {name} {bare:?}");
        }
    }
}

/// SQL that nobody sees could touch anything that a rule protects.
#[test]
fn hidden_sql_meets_every_rule_on_names() {
    let mut hidden = statement(K::Do);
    (hidden.reads, hidden.writes) = (vec![], vec![]);
    hidden.unknown = Some(Unknown::DynamicSql { by: "DO".into() });
    for condition in [
        "context.writes.contains(\"orders\")",
        "context.reads.contains(\"payroll.salaries\")",
        "context.schemas.contains(\"payroll\")",
        "context.written_labels.contains(\"secret\")",
        "context.labels.contains(\"open\")",
    ] {
        let rule = format!(
            "{PERMIT};\nforbid (principal, action in Governor::Action::\"run\", resource) when {{ {condition} }};"
        );
        assert_eq!(verdict(&rule, &hidden, Some(&["public"])), Verdict::Deny, "{condition}");
    }
    let rule = format!("{PERMIT} when {{ [\"open\"].containsAll(context.schemas) }};");
    assert_eq!(verdict(&rule, &hidden, Some(&["open"])), Verdict::Deny);
    assert_eq!(verdict(&format!("{PERMIT};"), &hidden, None), Verdict::Allow);
}

/// A hold in doubt is a hold: an approval lifts both readings.
#[test]
fn doubt_can_be_approved() {
    let rule = format!(
        "{PERMIT};\n@id(\"h\") @approval(\"dba\") forbid (principal, action in Governor::Action::\"run\", resource) \
         when {{ context.schemas.contains(\"payroll\") }} unless {{ context.approved }};"
    );
    assert_eq!(verdict(&rule, &reading("salaries"), None), Verdict::Hold);
    assert_eq!(verdict(&rule, &reading("public.x"), None), Verdict::Allow);
}

/// Without a clock nothing that looks at it is permitted.
#[test]
fn an_unknown_time_denies() {
    let text = "@id(\"office-hours\") permit (principal, action, resource) \
                when { context.time.hour >= 9 && context.time.hour < 17 && context.time.weekday <= 5 };"
        .replace("action,", "action in [Governor::Action::\"connect\", Governor::Action::\"run\"],");
    let parts = PolicyParts {
        sources: vec![PolicySource::new("t.cedar", text)],
        zone: Some(jiff::tz::TimeZone::fixed(jiff::tz::offset(2))),
        ..PolicyParts::default()
    };
    let set = PolicySet::compile_parts(&parts).unwrap();
    let at = |text: &str| {
        let moment: jiff::Timestamp = text.parse().unwrap();
        let unix_ns = u64::try_from(moment.as_nanosecond()).unwrap();
        Some(Moment::of(Timestamp { unix_ns, monotonic_ns: 0 }))
    };
    for (moment, expected) in [
        (None, Verdict::Deny),
        (at("2026-11-26T07:00:00Z"), Verdict::Allow), // a Thursday, 9 o'clock there
        (at("2026-11-26T06:59:59Z"), Verdict::Deny),
        (at("2026-11-26T15:00:00Z"), Verdict::Deny),
        (at("2026-11-28T10:00:00Z"), Verdict::Deny), // a Saturday
    ] {
        let session = SessionContext { at: moment, break_glass: None };
        let decision = set.connect(&who(Class::Person), &claims(), &server(), &session);
        assert_eq!(decision.verdict, expected, "{moment:?}");
        let around = RunContext { session, ..RunContext::default() };
        let decision = set.run(&who(Class::Person), &claims(), &server(), &statement(K::Select), &around);
        assert_eq!(decision.verdict, expected, "{moment:?}");
    }
}

/// The glass that one person broke is not there for others.
#[test]
fn broken_glass_lifts_what_says_so() {
    let set = set("permit (principal, action in Governor::Action::\"run\", resource);\n\
         @id(\"g\") forbid (principal, action == Governor::Action::\"drop\", resource) \
         unless { context has break_glass && context.break_glass.reason like \"INC-*\" };");
    for (reason, expected) in
        [(None, Verdict::Deny), (Some("bored"), Verdict::Deny), (Some("INC-7"), Verdict::Allow)]
    {
        let session = SessionContext { at: None, break_glass: reason.map(Into::into) };
        let around = RunContext { session, ..RunContext::default() };
        let decision = set.run(&who(Class::Person), &claims(), &server(), &statement(K::Drop), &around);
        assert_eq!(decision.verdict, expected, "{reason:?}");
    }
}
