//! Which policies can matter to a question, so that the others cost nothing.
//!
//! A policy's scope names an action (or group of actions) and often a class; its first condition may name a class
//! too. Within such a slice, policies whose scope names one resource or one group of principals wait
//! apart until a question is about that one, and those that ask for a name first (`leading.rs`) until a statement has it.
//! Where a scope or such a condition excludes a question, Cedar would find the policy not satisfied; leaving it out gives
//! the same answer.
//!
//! Invariant: what is asked holds every policy that does not provably exclude the question.

use super::leading::{ByName, Wanted};
use super::mentions::Mentions;
use super::names::{Names, Vocabulary};
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

/// What one policy looks at.
#[derive(Debug)]
pub(super) struct Look {
    pub mentions: Mentions,
    pub vocabulary: Vocabulary,
    /// The class that its condition excludes.
    pub excluded: Option<Class>,
    /// Names of which its condition asks for one.
    pub wanted: Option<Wanted>,
}

/// The policies that can matter to one kind of question of one class.
#[derive(Debug)]
pub(super) struct Slice {
    /// Those whose scope names no entity.
    general: PolicySet,
    /// Those of them that wait for a name.
    by_name: ByName,
    /// The names of both.
    vocabulary: Vocabulary,
    /// The others, by the entity that the resource or the principal has to be, or be in.
    particular: HashMap<EntityUid, (Vec<Policy>, Vocabulary)>,
    pub mentions: Mentions,
}

impl Slices {
    /// `looks` says what each of `policies` looks at, in the same order.
    ///
    /// # Errors
    /// Where Cedar refuses a set of policies that it accepted one by one.
    pub fn new(policies: &[Policy], looks: &[Look], loaded: &LoadedSchema) -> Result<Self, String> {
        // Many kinds of statement are told apart by no policy: they share one slice.
        let mut made: HashMap<(bool, Vec<usize>), Arc<Slice>> = HashMap::new();
        let mut by_question = Vec::with_capacity(Class::ALL.len() * (2 + StatementKind::ALL.len()));
        for ask in Ask::all() {
            let groups = groups_of(ask, loaded)?;
            // Only statements have names.
            let has_names = matches!(ask, Ask::Run(_));
            for class in Class::ALL {
                let class_uid = schema::class_uid(class);
                let chosen: Vec<usize> = policies
                    .iter()
                    .zip(looks)
                    .enumerate()
                    .filter(|(_, (policy, _))| matches_action(policy, &groups))
                    .filter(|(_, (policy, _))| matches_class(policy, class_uid.as_ref()))
                    .filter(|(_, (_, look))| look.excluded != Some(class))
                    .map(|(n, _)| n)
                    .collect();
                let key = (has_names, chosen);
                let slice = match made.get(&key) {
                    Some(slice) => Arc::clone(slice),
                    None => {
                        let slice = Arc::new(Slice::new(&key.1, policies, looks, has_names)?);
                        made.insert(key, Arc::clone(&slice));
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
    fn new(chosen: &[usize], policies: &[Policy], looks: &[Look], has_names: bool) -> Result<Self, String> {
        let (mut general, mut by_name, mut vocabulary) = (vec![], ByName::default(), Vocabulary::default());
        let mut particular = HashMap::<EntityUid, (Vec<Policy>, Vocabulary)>::new();
        let mut mentions = Mentions::default();
        for &n in chosen {
            let (Some(policy), Some(look)) = (policies.get(n), looks.get(n)) else { continue };
            mentions = mentions.or(look.mentions);
            // A class that the scope names is the slice's own.
            match named_entity(policy).filter(|uid| !schema::is_class(uid)) {
                Some(uid) => {
                    let (members, names) = particular.entry(uid).or_default();
                    members.push(policy.clone());
                    names.join(&look.vocabulary);
                }
                None => {
                    match look.wanted.as_ref().filter(|_| has_names) {
                        Some(wanted) => by_name.add(policy, wanted),
                        None => general.push(policy.clone()),
                    }
                    vocabulary.join(&look.vocabulary);
                }
            }
        }
        let general = PolicySet::from_policies(general).map_err(|e| e.to_string())?;
        Ok(Self { general, by_name, vocabulary, particular, mentions })
    }

    /// The policies for a question about `parties`, and about a statement with these `names`. `None` where Cedar refuses
    /// them together.
    pub fn policies_for(&self, parties: &Parties, names: &Names) -> Option<Cow<'_, PolicySet>> {
        let mut set = Cow::Borrowed(&self.general);
        let particular = self.particular_to(parties).flat_map(|(policies, _)| policies);
        for policy in particular.chain(self.by_name.met_by(names)) {
            set.to_mut().add(policy.clone()).ok()?;
        }
        Some(set)
    }

    /// The names that the policies for a question about `parties` mention.
    pub fn vocabularies_for(&self, parties: &Parties) -> impl Iterator<Item = &Vocabulary> {
        std::iter::once(&self.vocabulary).chain(self.particular_to(parties).map(|(_, names)| names))
    }

    fn particular_to(&self, parties: &Parties) -> impl Iterator<Item = &(Vec<Policy>, Vocabulary)> {
        parties.0.iter().filter_map(|uid| self.particular.get(uid))
    }

    /// Every policy of the slice.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        let particular = self.particular.values().flat_map(|(members, _)| members);
        self.general.policies().chain(self.by_name.policies()).chain(particular)
    }
}

/// The entities that a scope can name for a question: principal and resource, and what they are in.
#[derive(Debug)]
pub(super) struct Parties(HashSet<EntityUid>);

impl Parties {
    pub fn of(principal: &Entity, resource: &Entity) -> Self {
        let uids = [principal, resource].into_iter().flat_map(|entity| {
            let (uid, _, parents) = entity.clone().into_inner();
            parents.into_iter().chain([uid])
        });
        Self(uids.collect())
    }
}

/// Whether a policy's scope lets it apply to `ask`, whatever the principal.
pub(super) fn applies_to(policy: &Policy, ask: Ask, loaded: &LoadedSchema) -> bool {
    groups_of(ask, loaded).is_ok_and(|groups| matches_action(policy, &groups))
}

/// Whether the scopes of both let them apply to `ask` of one class.
pub(super) fn meet(one: &Policy, other: &Policy, ask: Ask, loaded: &LoadedSchema) -> bool {
    applies_to(one, ask, loaded)
        && applies_to(other, ask, loaded)
        && Class::ALL.into_iter().any(|class| {
            let class = schema::class_uid(class);
            matches_class(one, class.as_ref()) && matches_class(other, class.as_ref())
        })
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
