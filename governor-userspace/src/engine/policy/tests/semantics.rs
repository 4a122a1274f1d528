//! Deny by default, forbid wins, failures deny, approvals lift only what they may.

use super::*;
use StatementKind as K;

const PERMIT: &str = "permit (principal, action, resource);\n";

fn with(text: &str) -> PolicySet {
    set(&format!("{PERMIT}{text}"))
}

#[test]
fn nothing_is_permitted_by_nothing() {
    let set = PolicySet::compile(&[]).unwrap();
    for class in Class::ALL {
        let decision = run(&set, class, &statement(K::Select));
        assert_eq!((decision.verdict, ids(&decision)), (Verdict::Deny, vec!["default-deny"]));
        assert_eq!(decision.reasons[0].text, "no policy permits this");
        assert_eq!(connect(&set, class).verdict, Verdict::Deny);
        assert!(matches!(
            see(&set, class, Some(Category::Email)),
            Visibility::Masked { style: MaskStyle::Redact, .. }
        ));
    }
}

#[test]
fn a_policy_that_fails_denies() {
    const FAILS: &str = "context.destination.port + 9223372036854775807 > 0";
    for (case, text) in [
        ("forbid", format!("@id(\"broken\") forbid (principal, action, resource) when {{ {FAILS} }};")),
        ("permit", format!("@id(\"broken\") permit (principal, action, resource) when {{ {FAILS} }};")),
        (
            "approvable forbid",
            format!(
                "@id(\"broken\") @approval(\"dba\") forbid (principal, action in Governor::Action::\"run\", \
                 resource) when {{ {FAILS} }} unless {{ context.approved }};"
            ),
        ),
    ] {
        let set = with(&text);
        let decision = run(&set, Class::Person, &statement(K::Select));
        assert_eq!((decision.verdict, ids(&decision)), (Verdict::Deny, vec!["broken"]), "{case}");
        assert!(decision.reasons[0].text.contains("could not be evaluated"), "{case}");
        assert_eq!(run_as(&set, Class::Person, &statement(K::Select), true).verdict, Verdict::Deny, "{case}");
    }
    let set = with(&format!(
        "@id(\"broken\") @mask(\"partial\") forbid (principal, action == Governor::Action::\"see\", resource) \
         when {{ {FAILS} }};"
    ));
    let Visibility::Masked { style, reasons } = see(&set, Class::Person, Some(Category::Email)) else {
        panic!("seen in clear although its policy failed");
    };
    assert_eq!((style, reasons[0].policy.as_str()), (MaskStyle::Redact, "broken"));
}

#[test]
fn only_approvable_denials_hold() {
    const HOLD: &str = "@id(\"h\") @approval(\"dba\") forbid (principal, action == Governor::Action::\"delete\", \
                        resource) unless { context.approved };\n";
    let s = statement(K::Delete);
    let held = run(&with(HOLD), Class::Person, &s);
    assert_eq!((held.verdict, held.hold.as_ref().unwrap().approvers.as_str()), (Verdict::Hold, "dba"));
    assert_eq!(run_as(&with(HOLD), Class::Person, &s, true).verdict, Verdict::Allow);

    // A plain forbid beside it cannot be approved away.
    let plain = "@id(\"p\") forbid (principal, action == Governor::Action::\"delete\", resource);";
    let both = with(&format!("{HOLD}{plain}"));
    for approved in [false, true] {
        let decision = run_as(&both, Class::Person, &s, approved);
        assert_eq!((decision.verdict, ids(&decision)[0]), (Verdict::Deny, "p"));
    }

    // Nobody is asked to approve what nothing permits.
    let decision = run(&set(HOLD), Class::Person, &s);
    assert_eq!((decision.verdict, ids(&decision)), (Verdict::Deny, vec!["default-deny"]));

    // An approval that does not suffice is not asked for again.
    let never = "@id(\"n\") @approval(\"dba\") forbid (principal, action == Governor::Action::\"delete\", resource) \
                 unless { context.approved && context.claims.user == \"root\" };";
    for approved in [false, true] {
        assert_eq!(run_as(&with(never), Class::Person, &s, approved).verdict, Verdict::Deny);
    }
}

#[test]
fn two_holds_need_both_groups() {
    let set = with(
        "@id(\"b\") @approval(\"privacy\") forbid (principal, action in Governor::Action::\"run\", resource) \
           when { context.reads_sensitive } unless { context.approved };\n\
         @id(\"a\") @approval(\"dba\") forbid (principal, action in Governor::Action::\"write\", resource) \
           unless { context.approved };",
    );
    let held = run(&set, Class::Person, &statement(K::Delete));
    assert_eq!(held.hold.as_ref().unwrap().approvers, "dba+privacy");
    assert_eq!(ids(&held), ["a", "b"]);
    let held = run(&set, Class::Person, &statement(K::Select));
    assert_eq!(held.hold.unwrap().approvers, "privacy");
}

#[test]
fn audit_sync_rides_on_what_decided() {
    let set = with(
        "@audit(\"sync\") permit (principal, action == Governor::Action::\"insert\", resource);\n\
         @audit(\"sync\") @approval(\"dba\") forbid (principal, action == Governor::Action::\"delete\", resource) \
           unless { context.approved };",
    );
    for (kind, sync) in [(K::Insert, true), (K::Select, false), (K::Delete, true)] {
        assert_eq!(run(&set, Class::Person, &statement(kind)).obligations.audit_sync, sync, "{kind:?}");
    }
}

#[test]
fn the_mask_that_tells_least_wins() {
    let mask = |style: &str| {
        format!("@mask(\"{style}\") forbid (principal, action == Governor::Action::\"see\", resource);\n")
    };
    for (styles, expected) in [
        (vec!["partial"], MaskStyle::Partial),
        (vec!["redact"], MaskStyle::Redact),
        (vec!["null"], MaskStyle::Null),
        (vec!["partial", "redact"], MaskStyle::Redact),
        (vec!["partial", "redact", "null"], MaskStyle::Null),
    ] {
        let text: String = styles.iter().map(|style| mask(style)).collect();
        let Visibility::Masked { style, .. } = see(&with(&text), Class::Service, Some(Category::Email))
        else {
            panic!("{styles:?}: in clear");
        };
        assert_eq!(style, expected, "{styles:?}");
    }
    // A forbid without @mask beside one with: redact.
    let bare =
        format!("{}forbid (principal, action == Governor::Action::\"see\", resource);", mask("partial"));
    assert!(matches!(
        see(&with(&bare), Class::Service, Some(Category::Email)),
        Visibility::Masked { style: MaskStyle::Redact, .. }
    ));
}

/// Every attribute and group that the schema promises, with the value that the request should have.
#[test]
fn facts_reach_policy() {
    let mut s = statement(K::Update);
    s.tag = "UPDATE".into();
    s.writes = vec![RelationName { schema: None, name: "orders".into() }];
    s.functions = vec![FunctionName { schema: Some("pg_catalog".into()), name: "lower".into() }];
    for (scope, condition) in [
        ("principal in Governor::Class::\"person\"", "true"),
        ("principal in Governor::User::\"alice\"", "true"),
        ("principal in Governor::Group::\"staff\"", "true"),
        ("principal in Governor::Unit::\"shop.service\"", "true"),
        ("principal in Governor::Container::\"c0ffee\"", "true"),
        ("principal in Governor::Executable::\"/usr/bin/psql\"", "true"),
        (
            "principal",
            "principal.class == \"person\" && principal.user == \"alice\" && principal.uid == 1000",
        ),
        (
            "principal in Governor::ExecutableHash::\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"",
            "principal has executable_sha256",
        ),
        ("principal", "principal.gid == 1000 && principal.terminal && principal.groups.contains(\"staff\")"),
        ("principal", "principal has login_user && principal.login_user == \"alice\""),
        ("principal", "principal has login_uid && principal.login_uid == 1000"),
        ("principal", "principal has executable && principal.executable like \"*/psql\""),
        ("principal", "principal has unit && principal has container && principal has cgroup"),
        ("principal", "principal.ancestors.contains(\"/usr/bin/bash\")"),
        (
            "principal",
            "principal has unit && principal.unit == \"shop.service\" && principal has container && \
             principal.container == \"c0ffee\"",
        ),
        ("principal", "principal has cgroup && principal.cgroup == \"/user.slice\""),
        ("principal", "principal has pod && principal.pod == \"0b1d\""),
        ("principal", "principal has pod_name && principal.pod_name == \"shop/api\""),
        ("principal", "principal has container_name && principal.container_name == \"api\""),
        ("principal", "principal has image && principal.image == \"registry.test/api:2\""),
        (
            "principal",
            "principal has executable_sha256 && principal.executable_sha256 == \
             \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"",
        ),
        ("principal", "resource in Governor::Server::\"10.0.0.5:5432\""),
        ("principal", "resource == Governor::Database::\"shop\" && resource.name == \"shop\""),
        ("principal", "resource.address.isInRange(ip(\"10.0.0.0/8\")) && resource.port == 5432"),
        ("principal", "context.claims.user == \"app\" && context.claims.database == \"shop\""),
        ("principal", "context.claims.application_name == \"psql\""),
        ("principal", "context.destination.address == \"10.0.0.5\" && context.destination.port == 5432"),
        ("principal", "context.kind == \"update\" && context.kinds.contains(\"update\")"),
        ("principal", "context.tag == \"UPDATE\" && context.is_write && !context.approved"),
        ("principal", "context.reads.containsAll([\"people\", \"public.people\"])"),
        ("principal", "context.writes.contains(\"orders\")"),
        ("principal", "context.functions.containsAll([\"lower\", \"pg_catalog.lower\"])"),
        ("principal", "context.columns.contains(\"email\") && !context.every_column"),
        ("principal", "context has has_where && context.has_where && context.reads_sensitive"),
    ] {
        let text = format!(
            "permit ({scope}, action in Governor::Action::\"write\", resource) when {{ {condition} }};"
        );
        let decision = run(&set(&text), Class::Person, &s);
        assert_eq!(decision.verdict, Verdict::Allow, "{text}");
    }
    for condition in [
        "resource == Governor::Column::\"public.people.email\"",
        "resource in Governor::Relation::\"public.people\"",
        "resource in Governor::Schema::\"public\"",
        "resource.origin_known && resource in Governor::Database::\"shop\" && \
         resource in Governor::Server::\"10.0.0.5:5432\"",
        "resource.schema == \"public\" && resource.relation == \"people\" && resource.name == \"email\"",
        "resource.category == \"email\" && resource.origin_known && resource.database == \"shop\"",
    ] {
        let text = format!(
            "permit (principal, action == Governor::Action::\"see\", resource) when {{ {condition} }};"
        );
        assert_eq!(see(&set(&text), Class::Person, Some(Category::Email)), Visibility::Clear, "{text}");
        assert_ne!(see(&set(&text), Class::Person, None), Visibility::Clear, "{text}: unknown origin");
    }
}

/// What surrounds a session: the parts of the time in the set's own zone, a socket, why facts are not known.
#[test]
fn time_socket_and_doubt_reach_policy() {
    let met = |condition: &str, zone: &str, to: &Endpoint, s: &Statement| {
        let text = format!(
            "permit (principal, action in Governor::Action::\"run\", resource) when {{ {condition} }};"
        );
        let parts = PolicyParts {
            sources: vec![PolicySource::new("test.cedar", text)],
            zone: Some(jiff::tz::TimeZone::get(zone).unwrap()),
            ..PolicyParts::default()
        };
        // Sunday, 31 December 2023, 23:30 in UTC.
        let at = Moment::of(Timestamp { unix_ns: 1_704_065_400_000_000_000, monotonic_ns: 0 });
        let around = RunContext {
            session: SessionContext { at: Some(at), break_glass: None },
            ..RunContext::default()
        };
        let set = PolicySet::compile_parts(&parts).unwrap();
        set.run(&who(Class::Person), &claims(), to, s, &around).verdict == Verdict::Allow
    };
    let select = statement(K::Select);
    for (zone, there, elsewhere) in [
        ("UTC", "time.day == 31 && context.time.month == 12", "time.month == 1"),
        (
            "UTC",
            "time.weekday == 7 && context.time.hour == 23 && context.time.minute == 30",
            "time.weekday == 1",
        ),
        ("Asia/Tokyo", "time.day == 1 && context.time.month == 1", "time.month == 12"),
        ("Asia/Tokyo", "time.weekday == 1 && context.time.hour == 8", "time.hour == 23"),
        ("Asia/Kolkata", "time.minute == 0 && context.time.hour == 5", "time.minute == 30"),
        (
            "UTC",
            "time.now == datetime(\"2023-12-31T23:30:00Z\")",
            "time.now == datetime(\"2023-12-31T23:31:00Z\")",
        ),
        (
            "Asia/Tokyo",
            "time.now == datetime(\"2024-01-01T08:30:00+0900\")",
            "time.now > datetime(\"2024-01-01\")",
        ),
    ] {
        assert!(met(&format!("context.{there}"), zone, &server(), &select), "{there}");
        assert!(!met(&format!("context.{elsewhere}"), zone, &server(), &select), "{elsewhere}");
    }
    let socket = Endpoint { socket: Some("/run/postgresql/.s.PGSQL.5432".into()), ..server() };
    let condition =
        "context.destination has socket && context.destination.socket == \"/run/postgresql/.s.PGSQL.5432\"";
    assert!(met(condition, "UTC", &socket, &select));
    assert!(!met(condition, "UTC", &server(), &select));
    for (why, cause) in [
        (Unknown::TooDeep, "too_deep"),
        (Unknown::DynamicSql { by: "do".into() }, "dynamic_sql"),
        (Unknown::NotUnderstood { what: "a tree".into() }, "not_understood"),
    ] {
        let mut s = statement(K::Select);
        s.unknown = Some(why);
        let condition = format!("context has unknown && context.unknown == \"{cause}\"");
        assert!(met(&condition, "UTC", &server(), &s), "{cause}");
        assert!(!met("context has unknown && context.unknown == \"unparsable\"", "UTC", &server(), &s));
    }
    assert!(!met("context has unknown", "UTC", &server(), &select));
}

/// A v4-mapped address is the same server.
#[test]
fn mapped_addresses_are_the_same_server() {
    let set = set("permit (principal, action, resource in Governor::Server::\"10.0.0.5:5432\");");
    let to = Endpoint::tcp("::ffff:10.0.0.5".parse().unwrap(), 5432);
    assert_eq!(
        set.connect(&who(Class::Person), &claims(), &to, &SessionContext::default()).verdict,
        Verdict::Allow
    );
    let other = Endpoint::tcp("::1".parse().unwrap(), 5432);
    assert_eq!(
        set.connect(&who(Class::Person), &claims(), &other, &SessionContext::default()).verdict,
        Verdict::Deny
    );
}

/// The values that are built for Cedar have the types that policies were validated for.
#[test]
fn requests_conform_to_the_schema() {
    use super::super::context::Clock;
    use super::super::names;
    use super::super::question::Reading;
    use cedar_policy::{Entities, Request};
    let schema = &schema::loaded().unwrap().schema;
    let labelling: Labelling = serde_json::from_str(
        r#"{"label": [{"on": ["*.people"], "labels": ["personal"]}],
            "environment": [{"name": "production", "servers": ["10.0.0.0/8"]}], "groups": {"g": ["alice"]}}"#,
    )
    .unwrap();
    let mut bare = principal(Class::Agent);
    (bare.login_user, bare.login_uid, bare.executable, bare.unit) = (None, None, None, None);
    bare.container_facts = Default::default();
    (bare.container, bare.cgroup, bare.terminal, bare.executable_sha256) = (None, None, None, None);
    let mut set_role = statement(K::Session);
    set_role.setting = Some(("role".into(), Some("x".into())));
    let mut reset = statement(K::Session);
    reset.setting = Some(("role".into(), None));
    let mut statements: Vec<Statement> = K::ALL.into_iter().map(statement).collect();
    statements.extend([set_role, reset]);
    let zone = jiff::tz::TimeZone::UTC;
    let at = Moment::of(Timestamp { unix_ns: 1_700_000_000_123_456_789, monotonic_ns: 0 });
    let clock = Some(Clock { at, zone: &zone });
    let around = RunContext {
        session: SessionContext { at: Some(at), break_glass: Some("fire".into()) },
        estimated_rows: Some(u64::MAX),
        ..RunContext::default()
    };
    for who in [PolicyPrincipal::new(principal(Class::Person).into()), PolicyPrincipal::new(bare.into())] {
        let process = who.entity(0, &labelling).unwrap().into_owned();
        let resource = entity::database(&claims(), &server(), &labelling).unwrap();
        for s in &statements {
            for reading in [Reading::Certain, Reading::Possible] {
                let names = names::of(s, &around, &labelling, &[], reading);
                let context = context::of_statement(&claims(), &server(), s, &around, names, clock).unwrap();
                let action = schema::loaded().unwrap().actions[s.kind.as_str()].uid();
                Request::new(process.uid(), action, resource.uid(), context, Some(schema)).unwrap();
            }
        }
        for (column, reading) in
            [(column(None), Reading::Possible), (column(Some(Category::Email)), Reading::Certain)]
        {
            let column = entity::column(&claims(), &server(), &column, &labelling, reading).unwrap();
            let context = context::of_session(&claims(), &server(), &around.session, clock).unwrap();
            for (action, resource) in [("connect", &resource), ("see", &column)] {
                let action = schema::loaded().unwrap().actions[action].uid();
                Request::new(process.uid(), action, resource.uid(), context.clone(), Some(schema)).unwrap();
            }
            Entities::from_entities([process.clone(), resource.clone(), column], Some(schema)).unwrap();
        }
    }
}
