//! Which policies can matter to a question, so that the others cost nothing.
//!
//! A policy's scope names an action (or group of actions) and often a class. Where the scope excludes a
//! question, Cedar would find the policy not satisfied; leaving it out gives the same answer.
//! Invariant: a slice holds every policy whose scope does not provably exclude its question.

use super::schema::{self, Ask, LoadedSchema};
use crate::engine::model::Class;
use cedar_policy::{ActionConstraint, EntityUid, Policy, PolicySet, PrincipalConstraint};
use std::collections::HashMap;
use std::sync::Arc;

/// Policy sets by question and class.
#[derive(Debug)]
pub(super) struct Slices {
    by_question: HashMap<(Ask, Class), Arc<PolicySet>>,
}

impl Slices {
    /// # Errors
    /// Where Cedar refuses a set of policies that it accepted one by one.
    pub fn new(policies: &[Policy], loaded: &LoadedSchema) -> Result<Self, String> {
        // Many kinds of statement are told apart by no policy: they share one set.
        let mut made: HashMap<Vec<usize>, Arc<PolicySet>> = HashMap::new();
        let mut by_question = HashMap::new();
        for ask in Ask::all() {
            let groups = groups_of(ask, loaded)?;
            for class in Class::ALL {
                let class_uid = schema::class_uid(class);
                let chosen: Vec<usize> = policies
                    .iter()
                    .enumerate()
                    .filter(|(_, policy)| matches_action(policy, &groups))
                    .filter(|(_, policy)| matches_class(policy, class_uid.as_ref()))
                    .map(|(n, _)| n)
                    .collect();
                let set = match made.get(&chosen) {
                    Some(set) => Arc::clone(set),
                    None => {
                        let members = chosen.iter().filter_map(|&n| policies.get(n)).cloned();
                        let set = PolicySet::from_policies(members).map_err(|e| e.to_string())?;
                        let set = Arc::new(set);
                        made.insert(chosen, Arc::clone(&set));
                        set
                    }
                };
                by_question.insert((ask, class), set);
            }
        }
        Ok(Self { by_question })
    }

    pub fn get(&self, ask: Ask, class: Class) -> Option<&Arc<PolicySet>> {
        self.by_question.get(&(ask, class))
    }
}

/// Whether a policy's scope lets it apply to `ask`, whatever the principal.
pub(super) fn applies_to(policy: &Policy, ask: Ask, loaded: &LoadedSchema) -> bool {
    groups_of(ask, loaded).is_ok_and(|groups| matches_action(policy, &groups))
}

/// The action itself and every group above it.
fn groups_of(ask: Ask, loaded: &LoadedSchema) -> Result<Vec<EntityUid>, String> {
    let action = loaded.actions.get(ask.as_str()).ok_or_else(|| format!("no action {:?}", ask.as_str()))?;
    let parents = action.clone().into_inner().2;
    Ok(std::iter::once(action.uid()).chain(parents).collect())
}

fn matches_action(policy: &Policy, groups: &[EntityUid]) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(action) => groups.first() == Some(&action),
        ActionConstraint::In(actions) => actions.iter().any(|action| groups.contains(action)),
    }
}

fn matches_class(policy: &Policy, class: Option<&EntityUid>) -> bool {
    match policy.principal_constraint() {
        PrincipalConstraint::In(group) | PrincipalConstraint::IsIn(_, group) => match class {
            Some(class) if group.type_name() == class.type_name() => group == *class,
            _ => true,
        },
        PrincipalConstraint::Any | PrincipalConstraint::Eq(_) | PrincipalConstraint::Is(_) => true,
    }
}
