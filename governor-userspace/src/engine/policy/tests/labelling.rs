//! Labels, environments and groups reach policy.

use super::*;
use StatementKind as K;

const LABELS: &str = r#"{
    "label": [
        {"on": ["shop.cards", "*.payments*"], "labels": ["pci"]},
        {"on": ["shop.users.ssn"], "labels": ["personal"], "category": "national_id"},
        {"on": ["open.*"], "labels": ["open"]}
    ],
    "environment": [
        {"name": "staging", "databases": ["*_staging"]},
        {"name": "production", "servers": ["10.0.0.0/8", "[2001:db8::/32]:5432"]}
    ],
    "groups": {
        "pci-users": ["bob", "uid:7", "group:cashiers", "unit:pay.service", "container:c1", "executable:/opt/pay",
                      "sha256:00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff"]
    }
}"#;

fn reading(names: &[&str]) -> Statement {
    let mut s = statement(K::Select);
    s.reads = names.iter().map(|name| relation(name)).collect();
    s
}

pub fn relation(name: &str) -> RelationName {
    match name.split_once('.') {
        Some((schema, name)) => RelationName { schema: Some(schema.into()), name: name.into() },
        None => RelationName { schema: None, name: name.into() },
    }
}

/// Whether `condition` permits a statement.
fn permits(condition: &str, s: &Statement) -> bool {
    let text = format!("permit (principal, action, resource) when {{ {condition} }};");
    let text = text.replace("action,", "action in Governor::Action::\"run\",");
    run(&labelled(&text, LABELS), Class::Person, s).verdict == Verdict::Allow
}

#[test]
fn labels_of_what_is_read_and_written() {
    let cards = reading(&["shop.cards"]);
    assert!(permits("context.labels == [\"pci\"] && context.read_labels.contains(\"pci\")", &cards));
    assert!(permits("context.written_labels.isEmpty() && context.schemas == [\"shop\"]", &cards));
    let mut written = statement(K::Insert);
    (written.reads, written.writes) = (vec![], vec![relation("x.payments_2026")]);
    assert!(permits("context.written_labels == [\"pci\"] && context.read_labels.isEmpty()", &written));
    let both = reading(&["open.a", "open.b"]);
    assert!(permits("context.shared_labels == [\"open\"]", &both));
    let mixed = reading(&["open.a", "shop.cards"]);
    assert!(permits("context.shared_labels.isEmpty() && context.labels == [\"open\", \"pci\"]", &mixed));
}

/// A label of a column counts where the column is drawn on, or could be.
#[test]
fn labels_of_columns() {
    let set = labelled(
        "permit (principal, action, resource);\n\
         forbid (principal, action == Governor::Action::\"select\", resource) \
         when { context.labels.contains(\"personal\") };",
        LABELS,
    );
    let verdict = |columns: &[&str], every_column, columns_certain| {
        let mut s = reading(&["shop.users"]);
        s.mentions = Mentions { columns: columns.iter().map(|&c| c.into()).collect(), every_column };
        let around = RunContext { columns_certain, ..RunContext::default() };
        set.run(&who(Class::Person), &claims(), &server(), &s, &around).verdict
    };
    assert_eq!(verdict(&["id"], false, true), Verdict::Allow);
    assert_eq!(verdict(&["id", "ssn"], false, true), Verdict::Deny);
    assert_eq!(verdict(&[], true, true), Verdict::Deny);
    // `users.id` may be a function of the whole row.
    assert_eq!(verdict(&["id"], false, false), Verdict::Deny);
}

#[test]
fn environments_hold_destinations() {
    let set = labelled(
        "permit (principal, action, resource in Governor::Environment::\"production\");\n\
         forbid (principal, action == Governor::Action::\"connect\", resource) \
         when { resource has environment && resource.environment == \"staging\" };",
        LABELS,
    );
    let connects = |address: &str, port, database: &str| {
        let to = Endpoint::tcp(address.parse().unwrap(), port);
        let claims = Claims { database: database.into(), ..claims() };
        set.connect(&who(Class::Person), &claims, &to, &SessionContext::default()).verdict == Verdict::Allow
    };
    for (address, port, database, expected) in [
        ("10.1.2.3", 5432, "shop", true),
        ("::ffff:10.1.2.3", 5432, "shop", true),
        ("10.1.2.3", 5432, "shop_staging", false),
        ("11.0.0.1", 5432, "shop", false),
        ("2001:db8:1::1", 5432, "shop", true),
        ("2001:db8:1::1", 5433, "shop", false),
    ] {
        assert_eq!(connects(address, port, database), expected, "{address} {port} {database}");
    }
    assert_eq!(run(&set, Class::Person, &statement(K::Select)).verdict, Verdict::Allow);
    assert_eq!(see(&set, Class::Person, Some(Category::Email)), Visibility::Clear);
}

#[test]
fn columns_carry_the_labels_of_their_relation_too() {
    let set = labelled(
        "permit (principal, action == Governor::Action::\"see\", resource) unless { resource.labels.contains(\"personal\") };",
        LABELS,
    );
    let clear = |relation: &str, column: &str| {
        let name = ColumnName { schema: "shop".into(), relation: relation.into(), column: column.into() };
        let asked = SeeColumn { column: Some(name), category: Some(Category::Other) };
        set.see(&who(Class::Person), &claims(), &server(), &asked, &SessionContext::default())
            == Visibility::Clear
    };
    assert!(clear("users", "name") && !clear("users", "ssn") && clear("cards", "pan"));
    // Of unknown origin: it could have any label.
    assert_ne!(see(&set, Class::Person, None), Visibility::Clear);
}

#[test]
fn members_of_groups() {
    let set = labelled("permit (principal in Governor::Group::\"pci-users\", action, resource);", LABELS);
    let nobody = || Principal { executable_sha256: None, ..principal(Class::Person) };
    type Change = (fn(&mut Principal), bool);
    let changes: [Change; 9] = [
        (|_| (), false),
        (|p| p.user = "bob".into(), true),
        (|p| p.login_user = Some("bob".into()), true),
        (|p| p.uid = 7, true),
        (|p| p.groups.push("cashiers".into()), true),
        (|p| p.unit = Some("pay.service".into()), true),
        (|p| p.container = Some("c1".into()), true),
        (|p| p.executable = Some("/opt/pay".into()), true),
        (|p| p.executable_sha256 = Some(SHA256.into()), true),
    ];
    for (n, (change, expected)) in changes.into_iter().enumerate() {
        let mut principal = nobody();
        change(&mut principal);
        let who = PolicyPrincipal::new(principal.into());
        let decision = set.connect(&who, &claims(), &server(), &SessionContext::default());
        assert_eq!(decision.verdict == Verdict::Allow, expected, "{n}");
        // The groups of one set are no groups of another.
        let other = labelled(
            "permit (principal in Governor::Group::\"pci-users\", action, resource);",
            r#"{"groups": {"pci-users": ["nobody"]}}"#,
        );
        let decision = other.connect(&who, &claims(), &server(), &SessionContext::default());
        assert_eq!(decision.verdict, Verdict::Deny, "{n}");
    }
    assert!(set.wants_executable_hash());
}

#[test]
fn labelling_is_part_of_the_version() {
    let version =
        |labelling: &str| labelled("permit (principal, action, resource);", labelling).version().to_owned();
    let versions: std::collections::BTreeSet<String> = [
        "{}",
        r#"{"groups": {"g": ["a"]}}"#,
        r#"{"groups": {"g": ["b"]}}"#,
        r#"{"label": [{"on": ["a.b"], "labels": ["x"]}]}"#,
        r#"{"environment": [{"name": "x"}]}"#,
    ]
    .map(version)
    .into();
    assert_eq!(versions.len(), 5);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (text, part) in [
        (r#"{"label": [{"on": ["cards"], "labels": ["pci"]}]}"#, "no name of relations"),
        (r#"{"label": [{"on": ["a.b.c.d"], "labels": ["pci"]}]}"#, "no name of relations"),
        (r#"{"label": [{"on": ["a..c"], "labels": ["pci"]}]}"#, "no name of relations"),
        (r#"{"label": [{"on": ["a.b"], "labels": ["p ci"]}]}"#, "a name is"),
        (r#"{"label": [{"on": ["a.b"], "lables": ["pci"]}]}"#, "unknown field"),
        (r#"{"environment": [{"name": "x", "servers": ["10.0.0.0/33"]}]}"#, "no server"),
        (r#"{"environment": [{"name": "x", "servers": ["db.example.org"]}]}"#, "no server"),
        (r#"{"environment": [{"name": "x", "servers": ["10.0.0.1:x"]}]}"#, "no server"),
        (r#"{"groups": {"g": ["uid:x"]}}"#, "nobody"),
        (r#"{"groups": {"g": ["sha256:abc"]}}"#, "nobody"),
        (r#"{"groups": {"g": ["who:x"]}}"#, "nobody"),
        (r#"{"groups": {"g": [""]}}"#, "nobody"),
        (r#"{"group": {}}"#, "unknown field"),
    ] {
        let error = serde_json::from_str::<Labelling>(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
