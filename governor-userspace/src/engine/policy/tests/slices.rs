//! Leaving out policies that cannot matter changes no answer.

use super::*;
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
    let mut text = String::new();
    for principal in principals {
        for action in actions {
            for effect in ["permit", "forbid"] {
                text += &format!("{effect} ({principal}, {action}, resource);\n");
            }
        }
    }
    cedar_policy::PolicySet::from_str(&text).unwrap().policies().cloned().collect()
}

#[test]
fn a_slice_answers_like_the_whole() {
    let loaded = schema::loaded().unwrap();
    let all = policies();
    // With forbids everywhere the permits are never told: ask with each effect alone, too.
    let effects = [cedar_policy::Effect::Permit, cedar_policy::Effect::Forbid];
    let parts =
        effects.map(|effect| all.iter().filter(|p| p.effect() == effect).cloned().collect::<Vec<_>>());
    for members in parts.into_iter().chain([all]) {
        let whole = cedar_policy::PolicySet::from_policies(members.clone()).unwrap();
        let slices = slice::Slices::new(&members, loaded).unwrap();
        for ask in Ask::all() {
            for class in Class::ALL {
                let who = who(class);
                let process = who.entity().unwrap();
                let resource = match ask {
                    Ask::See => entity::column(&claims(), &server(), &column(None)).unwrap(),
                    _ => entity::database(&claims(), &server()).unwrap(),
                };
                let context = context::of_session(&claims(), &server()).unwrap();
                let action = &loaded.actions[ask.as_str()];
                let request =
                    Request::new(process.uid(), action.uid(), resource.uid(), context, None).unwrap();
                let entities = [action.clone(), process.clone(), resource];
                let entities = Entities::from_entities(entities, None).unwrap();
                let part = slices.get(ask, class).unwrap();
                assert!(part.num_of_policies() < members.len(), "{ask:?} {class}: nothing left out");
                let expected = Authorizer::new().is_authorized(&request, &whole, &entities);
                let answered = Authorizer::new().is_authorized(&request, part, &entities);
                assert_eq!(answered, expected, "{ask:?} {class}");
            }
        }
    }
}
