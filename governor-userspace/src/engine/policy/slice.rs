//! Which policies can matter to a question, so that the others cost nothing.
//!
//! A policy's scope names an action (or group of actions) and often a class; its first condition may name a class
//! too. Within such a slice, policies whose scope names one resource or one group of principals wait
//! apart until a question is about that one. Where a scope excludes a question, Cedar would find the policy
//! not satisfied; leaving it out gives the same answer.
//!
//! Invariant: what is asked holds every policy whose scope does not provably exclude the question.

use super::mentions::Mentions;
use super::schema::{self, Ask, LoadedSchema};
use crate::engine::model::{Class, StatementKind};
use cedar_policy::{
    ActionConstraint, Entity, EntityUid, Policy, PolicySet, PrincipalConstraint, ResourceConstraint,
};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Policy sets by question and class.
#[derive(Debug)]
pub(super) struct Slices {
    /// At [`Ask::index`] times the number of classes, plus the class.
    by_question: Vec<Arc<Slice>>,
}

/// The policies that can matter to one kind of question of one class.
#[derive(Debug)]
pub(super) struct Slice {
    /// Those whose scope names no entity.
    general: PolicySet,
    /// The others, by the entity that the resource or the principal has to be, or be in.
    particular: HashMap<EntityUid, Vec<Policy>>,
    pub mentions: Mentions,
}

impl Slices {
    /// `looks` says what each of `policies` looks at, and which class its condition excludes; in the same order.
    ///
    /// # Errors
    /// Where Cedar refuses a set of policies that it accepted one by one.
    pub fn new(
        policies: &[Policy],
        looks: &[(Mentions, Option<Class>)],
        loaded: &LoadedSchema,
    ) -> Result<Self, String> {
        // Many kinds of statement are told apart by no policy: they share one slice.
        let mut made: HashMap<Vec<usize>, Arc<Slice>> = HashMap::new();
        let mut by_question = Vec::with_capacity(Class::ALL.len() * (2 + StatementKind::ALL.len()));
        for ask in Ask::all() {
            let groups = groups_of(ask, loaded)?;
            for class in Class::ALL {
                let class_uid = schema::class_uid(class);
                let chosen: Vec<usize> = policies
                    .iter()
                    .zip(looks)
                    .enumerate()
                    .filter(|(_, (policy, _))| matches_action(policy, &groups))
                    .filter(|(_, (policy, _))| matches_class(policy, class_uid.as_ref()))
                    .filter(|(_, (_, (_, excluded)))| *excluded != Some(class))
                    .map(|(n, _)| n)
                    .collect();
                let slice = match made.get(&chosen) {
                    Some(slice) => Arc::clone(slice),
                    None => {
                        let slice = Arc::new(Slice::new(&chosen, policies, looks)?);
                        made.insert(chosen, Arc::clone(&slice));
                        slice
                    }
                };
                by_question.push(slice);
            }
        }
        Ok(Self { by_question })
    }

    pub fn get(&self, ask: Ask, class: Class) -> Option<&Slice> {
        self.by_question.get(ask.index() * Class::ALL.len() + class as usize).map(Arc::as_ref)
    }
}

impl Slice {
    fn new(
        chosen: &[usize],
        policies: &[Policy],
        looks: &[(Mentions, Option<Class>)],
    ) -> Result<Self, String> {
        let members = || chosen.iter().filter_map(|&n| policies.get(n));
        let (mut general, mut particular) = (vec![], HashMap::<EntityUid, Vec<Policy>>::new());
        for policy in members() {
            match named_entity(policy) {
                Some(uid) => particular.entry(uid).or_default().push(policy.clone()),
                None => general.push(policy.clone()),
            }
        }
        let mentions =
            chosen.iter().filter_map(|&n| looks.get(n)).fold(Mentions::default(), |all, (m, _)| all.or(*m));
        let general = PolicySet::from_policies(general).map_err(|e| e.to_string())?;
        Ok(Self { general, particular, mentions })
    }

    /// The policies for a question of `principal` about `resource`. `None` where Cedar refuses them together.
    pub fn policies_for(&self, principal: &Entity, resource: &Entity) -> Option<Cow<'_, PolicySet>> {
        if self.particular.is_empty() {
            return Some(Cow::Borrowed(&self.general));
        }
        let mut set = Cow::Borrowed(&self.general);
        let mut taken = HashSet::new();
        for entity in [principal, resource] {
            let (uid, _, parents) = entity.clone().into_inner();
            for name in std::iter::once(uid).chain(parents) {
                let Some(policies) = self.particular.get(&name).filter(|_| taken.insert(name)) else {
                    continue;
                };
                for policy in policies {
                    set.to_mut().add(policy.clone()).ok()?;
                }
            }
        }
        Some(set)
    }

    /// Every policy of the slice.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.general.policies().chain(self.particular.values().flatten())
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

/// The one entity that the scope asks for: the resource's, else the principal's where that is no class.
fn named_entity(policy: &Policy) -> Option<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::Eq(uid) | ResourceConstraint::IsIn(_, uid) => {
            return Some(uid);
        }
        ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
    }
    match policy.principal_constraint() {
        PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) | PrincipalConstraint::Eq(uid) => {
            Some(uid)
        }
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    }
}
