//! Names that a policy asks for before anything else, so that a statement without them need not be asked about it.
//!
//! `when { context.writes.contains("orders") && … }`: Cedar looks at conditions from the left, and at nothing behind one
//! that does not hold; this one cannot fail. A statement that writes no "orders" does not satisfy the policy.
//!
//! Invariant: in doubt a policy asks for nothing, and is always asked.

use super::mentions::{at_own_level, first_condition};
use super::names::Names;
use super::token::Token;
use cedar_policy::Policy;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A set of names in `context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NameSet {
    Reads,
    Writes,
    Schemas,
    FunctionSchemas,
    Labels,
    ReadLabels,
    WrittenLabels,
}

impl NameSet {
    fn of_attribute(word: &str) -> Option<Self> {
        Some(match word {
            "reads" => Self::Reads,
            "writes" => Self::Writes,
            "schemas" => Self::Schemas,
            "function_schemas" => Self::FunctionSchemas,
            "labels" => Self::Labels,
            "read_labels" => Self::ReadLabels,
            "written_labels" => Self::WrittenLabels,
            _ => return None,
        })
    }

    fn names(self, of: &Names) -> impl Iterator<Item = &String> {
        let (one, other) = match self {
            Self::Reads => (&of.reads, None),
            Self::Writes => (&of.writes, None),
            Self::Schemas => (&of.schemas, None),
            Self::FunctionSchemas => (&of.function_schemas, None),
            Self::Labels => (&of.read_labels, Some(&of.written_labels)),
            Self::ReadLabels => (&of.read_labels, None),
            Self::WrittenLabels => (&of.written_labels, None),
        };
        one.iter().chain(other.into_iter().flatten())
    }
}

/// Names of which a statement must have one, or it does not satisfy the policy.
pub(super) type Wanted = BTreeSet<(NameSet, String)>;

/// What a policy of these words asks for first. `None` where that is not certain.
pub(super) fn wanted(tokens: &[Token<'_>]) -> Option<Wanted> {
    let condition = first_condition(tokens)?;
    if at_own_level(condition, "||").len() > 1 {
        return None;
    }
    // What cannot fail either may stand before it.
    let part = at_own_level(condition, "&&").into_iter().find(|part| !is_of_class(part))?;
    alternatives(part, PARENTHESES_MAX)
}

/// Policies by the names that they ask for.
#[derive(Debug, Default)]
pub(super) struct ByName {
    members: Vec<Policy>,
    /// Places in `members`.
    places: BTreeMap<NameSet, HashMap<String, Vec<usize>>>,
}

impl ByName {
    pub fn add(&mut self, policy: &Policy, wanted: &Wanted) {
        for (set, name) in wanted {
            let places = self.places.entry(*set).or_default().entry(name.clone()).or_default();
            places.push(self.members.len());
        }
        self.members.push(policy.clone());
    }

    /// Each policy once that asks for a name which the statement has.
    pub fn met_by(&self, names: &Names) -> impl Iterator<Item = &Policy> {
        let mut met = BTreeSet::new();
        for (set, places) in &self.places {
            met.extend(set.names(names).filter_map(|name| places.get(name)).flatten().copied());
        }
        met.into_iter().filter_map(|n| self.members.get(n))
    }

    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.members.iter()
    }
}

/// `context.SET.contains("…")`, `context.SET.containsAny(["…", …])`, or several of them with "or" between.
fn alternatives(part: &[Token<'_>], parentheses_max: usize) -> Option<Wanted> {
    if let [Token::Sign("("), inner @ .., Token::Sign(")")] = part {
        let parts = at_own_level(inner, "||");
        let each = parts.into_iter().map(|part| alternatives(part, parentheses_max.checked_sub(1)?));
        return each.reduce(|all, more| Some(&all? | &more?)).flatten();
    }
    let [
        Token::Word("context"),
        Token::Sign("."),
        Token::Word(attribute),
        Token::Sign("."),
        Token::Word(method),
        Token::Sign("("),
        argument @ ..,
        Token::Sign(")"),
    ] = part
    else {
        return None;
    };
    let set = NameSet::of_attribute(attribute)?;
    let names = match (*method, argument) {
        ("contains", [name]) => std::slice::from_ref(name),
        ("containsAny", [Token::Sign("["), names @ .., Token::Sign("]")]) => names,
        _ => return None,
    };
    let names = names.split(|token| *token == Token::Sign(",")).map(|name| match name {
        [Token::Text(name)] => Some((set, name.to_string())),
        _ => None,
    });
    names.collect()
}

/// `principal.class == "…"`, or `!=`.
fn is_of_class(part: &[Token<'_>]) -> bool {
    matches!(
        part,
        [
            Token::Word("principal"),
            Token::Sign("."),
            Token::Word("class"),
            Token::Sign("==" | "!="),
            Token::Text(_)
        ]
    )
}

/// Deeper ones are not looked into.
const PARENTHESES_MAX: usize = 8;
