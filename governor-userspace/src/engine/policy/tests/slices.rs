//! Leaving out policies that cannot matter changes no answer.

use super::*;
use crate::engine::policy::names::Names;
use crate::engine::policy::question::Reading;
use crate::engine::policy::schema::Ask;
use cedar_policy::{Authorizer, Entities, Policy, Request};
use std::str::FromStr;

/// Every shape of scope, on both effects, numbered by `@id`.
fn policies() -> Vec<Policy> {
    let principals = [
        "principal",
        "principal in Governor::Class::\"agent\"",
        "principal is Governor::Process in Governor::Class::\"person\"",
        "principal is Governor::Process",
        "principal == Governor::Process::\"process\"",
        "principal in Governor::Group::\"staff\"",
        "principal in Governor::Group::\"nobody\"",
    ];
    let actions = [
        "action",
        "action == Governor::Action::\"delete\"",
        "action in Governor::Action::\"run\"",
        "action in Governor::Action::\"write\"",
        "action in [Governor::Action::\"see\", Governor::Action::\"define\"]",
        "action == Governor::Action::\"connect\"",
    ];
    let resources = [
        "resource",
        "resource == Governor::Database::\"shop\"",
        "resource in Governor::Server::\"10.0.0.5:5432\"",
        "resource in Governor::Database::\"other\"",
        "resource is Governor::Database in Governor::Server::\"10.0.0.6:5432\"",
    ];
    let conditions = [
        "",
        "when { principal.class != \"service\" }",
        "when { principal.class != \"agent\" && principal.uid == 1000 } unless { principal.uid == 0 }",
        "when { principal.uid == 1000 && principal.class != \"person\" }",
        "unless { principal.class != \"person\" }",
    ];
    let mut text = String::new();
    for principal in principals {
        for action in actions {
            for resource in resources {
                for condition in conditions {
                    for effect in ["permit", "forbid"] {
                        text += &format!("{effect} ({principal}, {action}, {resource}) {condition};\n");
                    }
                }
            }
        }
    }
    cedar_policy::PolicySet::from_str(&text).unwrap().policies().cloned().collect()
}

#[test]
fn a_slice_answers_like_the_whole() {
    let loaded = schema::loaded().unwrap();
    let labelling = Labelling::default();
    let all = policies();
    // With forbids everywhere the permits are never told: ask with each effect alone, too.
    let effects = [cedar_policy::Effect::Permit, cedar_policy::Effect::Forbid];
    let parts =
        effects.map(|effect| all.iter().filter(|p| p.effect() == effect).cloned().collect::<Vec<_>>());
    for members in parts.into_iter().chain([all]) {
        let whole = cedar_policy::PolicySet::from_policies(members.clone()).unwrap();
        let looks: Vec<_> = members
            .iter()
            .map(|policy| {
                let text = policy.to_cedar().unwrap();
                let tokens = token::tokens(&text);
                let (mentions, vocabulary) = mentions::read(&tokens);
                let (excluded, wanted) = (mentions::excluded_class(&tokens), leading::wanted(&tokens));
                slice::Look { mentions, vocabulary, excluded, wanted }
            })
            .collect();
        assert!(looks.iter().any(|look| look.excluded.is_some()));
        let slices = slice::Slices::new(&members, &looks, loaded).unwrap();
        for ask in Ask::all() {
            for class in Class::ALL {
                let who = who(class);
                let process = who.entity(0, &labelling).unwrap();
                let resource = match ask {
                    Ask::See => {
                        entity::column(&claims(), &server(), &column(None), &labelling, Reading::Certain)
                    }
                    _ => entity::database(&claims(), &server(), &labelling),
                }
                .unwrap();
                let context =
                    context::of_session(&claims(), &server(), &SessionContext::default(), None).unwrap();
                let action = &loaded.actions[ask.as_str()];
                let request =
                    Request::new(process.uid(), action.uid(), resource.uid(), context, None).unwrap();
                let parties = slice::Parties::of(&process, &resource);
                let part = slices.get(ask, class).unwrap().policies_for(&parties, &Names::default()).unwrap();
                let entities = [action.clone(), (*process).clone(), resource];
                let entities = Entities::from_entities(entities, None).unwrap();
                assert!(part.num_of_policies() < members.len(), "{ask:?} {class}: nothing left out");
                let expected = Authorizer::new().is_authorized(&request, &whole, &entities);
                let answered = Authorizer::new().is_authorized(&request, &part, &entities);
                assert_eq!(answered, expected, "{ask:?} {class}");
            }
        }
    }
}

/// Conditions that ask for a name first, and those that only look so.
#[test]
fn what_asks_for_a_name_first_waits_for_it_and_nothing_else_does() {
    let conditions = [
        (true, r#"when { context.writes.contains("orders") }"#),
        (true, r#"when { context.reads.contains("orders") && 9223372036854775807 + 1 > 0 }"#),
        (
            true,
            r#"when { principal.class != "service" && context.schemas.contains("pay") && context.is_write }"#,
        ),
        (true, r#"when { principal.class == "person" && context.reads.containsAny(["a", "pay.orders"]) }"#),
        (
            true,
            r#"when { (context.reads.contains("o\u{72}ders") || context.writes.contains("a")) && context.approved }"#,
        ),
        (true, r#"when { ((context.labels.contains("pci") || (context.written_labels.contains("pii")))) }"#),
        (true, r#"when { context.read_labels.contains("pci") } unless { context.approved }"#),
        (
            true,
            r#"when { context.function_schemas.contains("pay") } when { context.is_write || context.approved }"#,
        ),
        (false, r#"when { context.writes.contains("orders") || context.is_write }"#),
        (false, r#"when { context.writes.contains("orders") && context.approved || !context.approved }"#),
        (false, r#"when { context.is_write && context.writes.contains("orders") }"#),
        (
            false,
            r#"when { 9223372036854775807 + context.destination.port > 0 && context.reads.contains("a") }"#,
        ),
        (false, r#"when { !context.writes.contains("orders") }"#),
        (false, r#"when { !(context.writes.contains("orders")) }"#),
        (false, r#"when { context.writes.contains("orders") == false }"#),
        (false, r#"when { (context.writes.contains("orders")) == (context.reads.contains("a")) }"#),
        (
            false,
            r#"when { context.writes.containsAny(["a", "b"]) == context.reads.containsAny(["c", "d"]) }"#,
        ),
        (false, r#"when { context.writes.containsAll(["a"]) == false }"#),
        (false, r#"when { (context.writes.contains("a") || !context.approved) }"#),
        (false, r#"when { (if context.approved then context.writes.contains("a") else true) }"#),
        (false, r#"when { if context.writes.contains("a") && context.approved then false else true }"#),
        (
            false,
            r#"when { principal.class != "service" && (context.writes.contains("a") || !context.approved) }"#,
        ),
        (false, r#"when { context.columns.contains("email") }"#),
        (false, r#"unless { context.writes.contains("orders") }"#),
        (false, r#"unless { context.approved } when { context.writes.contains("orders") }"#),
        (false, ""),
    ];
    let name = |schema: Option<&str>, name: &str| RelationName {
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
    };
    let mut statements = vec![statement(StatementKind::Update), statement(StatementKind::Unknown)];
    for (reads, writes) in
        [(vec![name(Some("pay"), "orders")], vec![]), (vec![], vec![name(None, "orders")]), (vec![], vec![])]
    {
        let mut s = statement(StatementKind::Update);
        (s.reads, s.writes) = (reads, writes);
        statements.push(s);
    }
    statements[2].functions = vec![FunctionName { schema: Some("pay".into()), name: "f".into() }];
    let labelling = r#"{"label": [{"on": ["pay.orders"], "labels": ["pci"]}, {"on": ["public.people"], "labels": ["pii"]}]}"#;
    let mut met = 0;
    for (waits, condition) in conditions {
        for effect in ["permit", "forbid"] {
            let permit = if effect == "forbid" { "permit (principal, action, resource);" } else { "" };
            let text = format!(
                "{permit} @id(\"it\") {effect} (principal, action in Governor::Action::\"run\", resource) {condition};"
            );
            // Where it comes behind a condition that always holds it is always asked.
            let always =
                text.replace("resource) when", "resource) when { context.claims.user == \"app\" } when");
            let always = always
                .replace("resource) unless", "resource) when { context.claims.user == \"app\" } unless");
            let (sliced, whole) = (labelled(&text, labelling), labelled(&always, labelling));
            let slice = sliced.slices.get(Ask::Run(StatementKind::Update), Class::Person).unwrap();
            let parties = slice::Parties::of(
                &who(Class::Person).entity(0, &Labelling::default()).unwrap(),
                &entity::database(&claims(), &server(), &Labelling::default()).unwrap(),
            );
            let asked = slice.policies_for(&parties, &Names::default()).unwrap().num_of_policies();
            assert_eq!(asked + usize::from(waits), slice.policies().count(), "{text}");
            for s in &statements {
                for class in Class::ALL {
                    let (one, other) = (run(&sliced, class, s), run(&whole, class, s));
                    assert_eq!((one.verdict, ids(&one)), (other.verdict, ids(&other)), "{text} {s:?}");
                    met += usize::from(ids(&one).contains(&"it"));
                }
            }
        }
    }
    assert!(met > 100, "{met}");
}

/// Every question has its own place, and the places are those of the list.
#[test]
fn questions_are_numbered_in_order() {
    assert!(Ask::all().enumerate().all(|(n, ask)| ask.index() == n));
    assert_eq!(Class::ALL.map(|class| class as usize), [0, 1, 2]);
}
