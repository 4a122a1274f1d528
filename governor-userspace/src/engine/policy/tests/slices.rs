//! Leaving out policies that cannot matter changes no answer.

use super::*;
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
                slice::Look { mentions, vocabulary, excluded: mentions::excluded_class(&tokens) }
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
                let part = slices.get(ask, class).unwrap().policies_for(&parties).unwrap();
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

/// Every question has its own place, and the places are those of the list.
#[test]
fn questions_are_numbered_in_order() {
    assert!(Ask::all().enumerate().all(|(n, ask)| ask.index() == n));
    assert_eq!(Class::ALL.map(|class| class as usize), [0, 1, 2]);
}
