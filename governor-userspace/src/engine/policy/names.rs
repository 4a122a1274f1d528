//! Which relations, schemas and labels a statement touches, in two readings.
//!
//! A statement may name a relation without its schema, or run SQL that nobody sees. Then there is a set that
//! it certainly touches and a set that it possibly touches, and policy is asked about both: a rule that asks
//! whether something is in a set, or whether everything is, gets the strict answer either way.

use super::labelling::{Columns, Labelling, NO_COLUMNS};
use super::mentions::Mentions;
use super::question::{Reading, RunContext};
use crate::engine::model::{RelationName, Statement};
use std::collections::{BTreeMap, BTreeSet};

/// Names and labels as Cedar sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub reads: BTreeSet<String>,
    pub writes: BTreeSet<String>,
    pub schemas: BTreeSet<String>,
    /// Of functions.
    pub function_schemas: BTreeSet<String>,
    pub read_labels: BTreeSet<String>,
    pub written_labels: BTreeSet<String>,
    /// Labels that every relation has.
    pub shared_labels: BTreeSet<String>,
}

/// Names that policies mention: what a name that could mean anything is taken to mean.
#[derive(Clone, Debug, Default)]
pub(super) struct Vocabulary {
    /// Names without a dot.
    plain: BTreeSet<String>,
    /// Those of them that stand in a policy that looks at schemas.
    schemas: BTreeSet<String>,
    /// `schema.relation` by relation.
    qualified: BTreeMap<String, BTreeSet<String>>,
}

impl Vocabulary {
    pub fn add(&mut self, literal: &str, looks_at_schemas: bool) {
        match literal.split_once('.') {
            Some((_, relation)) => {
                self.qualified.entry(relation.to_owned()).or_default().insert(literal.to_owned());
            }
            None => {
                self.plain.insert(literal.to_owned());
                if looks_at_schemas {
                    self.schemas.insert(literal.to_owned());
                }
            }
        }
    }

    /// Adds the names of `other`.
    pub fn join(&mut self, other: &Self) {
        self.plain.extend(other.plain.iter().cloned());
        self.schemas.extend(other.schemas.iter().cloned());
        for (relation, names) in &other.qualified {
            self.qualified.entry(relation.clone()).or_default().extend(names.iter().cloned());
        }
    }

    fn relations(&self) -> impl Iterator<Item = &String> {
        self.plain.iter().chain(self.qualified.values().flatten())
    }
}

/// The names of `statement` in one reading. `vocabularies`: of all policies that can matter.
pub(super) fn of(
    statement: &Statement,
    around: &RunContext,
    labelling: &Labelling,
    vocabularies: &[&Vocabulary],
    reading: Reading,
) -> Names {
    let mut names = Names::default();
    let bare = around.bare_schemas.as_deref();
    let reads = Columns::Named { mentions: &statement.mentions, certain: around.columns_certain };
    let mut shared: Option<BTreeSet<String>> = None;
    let sides = [(&statement.reads, reads, true), (&statement.writes, Columns::All, false)];
    for (relations, columns, is_read) in sides {
        for relation in relations {
            let found = labelling.of_relation(relation, bare, &columns, reading);
            let (into, labels) = match is_read {
                true => (&mut names.reads, &mut names.read_labels),
                false => (&mut names.writes, &mut names.written_labels),
            };
            labels.extend(found.iter().map(|&label| label.to_owned()));
            add_names(relation, bare, vocabularies, reading, into, &mut names.schemas);
            // A label of one column says nothing about the rest of its relation.
            let whole = labelling.of_relation(relation, bare, &NO_COLUMNS, reading);
            let whole: BTreeSet<String> = whole.into_iter().map(str::to_owned).collect();
            shared = Some(shared.map_or_else(|| whole.clone(), |before| &before & &whole));
        }
    }
    names.shared_labels = shared.unwrap_or_default();
    for function in &statement.functions {
        match (&function.schema, reading) {
            (Some(schema), _) => drop(names.function_schemas.insert(schema.clone())),
            (None, _) if around.functions_certain => drop(names.function_schemas.insert(SYSTEM.to_owned())),
            (None, Reading::Certain) => {}
            (None, Reading::Possible) => {
                let mentioned = vocabularies.iter().flat_map(|vocabulary| &vocabulary.schemas);
                names.function_schemas.extend(mentioned.cloned());
                names.function_schemas.insert(SOME.to_owned());
            }
        }
    }
    if statement.unknown.is_some() {
        match reading {
            // Whatever else it touches need not have them.
            Reading::Certain => names.shared_labels.clear(),
            Reading::Possible => {
                let all: BTreeSet<String> = labelling.all_labels().into_iter().map(str::to_owned).collect();
                names.read_labels.extend(all.iter().cloned());
                names.written_labels.extend(all);
                for vocabulary in vocabularies {
                    names.reads.extend(vocabulary.relations().cloned());
                    names.writes.extend(vocabulary.relations().cloned());
                    names.schemas.extend(vocabulary.schemas.iter().cloned());
                    names.function_schemas.extend(vocabulary.schemas.iter().cloned());
                }
                names.schemas.insert(SOME.to_owned());
                names.function_schemas.insert(SOME.to_owned());
                names.reads.insert(SOME.to_owned());
                names.writes.insert(SOME.to_owned());
            }
        }
    }
    names
}

/// Whether the readings of `statement` can differ at all, for policies that look at `looks`.
pub(super) fn in_doubt(
    statement: &Statement,
    around: &RunContext,
    labelling: &Labelling,
    looks: Mentions,
) -> bool {
    statement.unknown.is_some()
        || (looks.function_schemas
            && !around.functions_certain
            && statement.functions.iter().any(|function| function.schema.is_none()))
        || (!around.columns_certain && labelling.has_columns() && !statement.reads.is_empty())
        || (around.bare_schemas.as_ref().is_none_or(|schemas| schemas.len() != 1)
            && statement.reads.iter().chain(&statement.writes).any(|relation| relation.schema.is_none()))
}

/// The bare name always, so that a rule on it cannot be dodged by a schema; the full one where it is known,
/// or possible.
fn add_names(
    relation: &RelationName,
    bare: Option<&[String]>,
    vocabularies: &[&Vocabulary],
    reading: Reading,
    into: &mut BTreeSet<String>,
    schemas: &mut BTreeSet<String>,
) {
    into.insert(relation.name.clone());
    match (&relation.schema, bare, reading) {
        (Some(schema), _, _) => {
            into.insert(relation.to_string());
            schemas.insert(schema.clone());
        }
        (None, Some([schema]), _) => {
            into.insert(format!("{schema}.{}", relation.name));
            schemas.insert(schema.clone());
        }
        (None, Some(possible), Reading::Possible) => {
            into.extend(possible.iter().map(|schema| format!("{schema}.{}", relation.name)));
            schemas.extend(possible.iter().cloned());
        }
        (None, None, Reading::Possible) => {
            for vocabulary in vocabularies {
                into.extend(vocabulary.qualified.get(&relation.name).into_iter().flatten().cloned());
                schemas.extend(vocabulary.schemas.iter().cloned());
            }
            schemas.insert(SOME.to_owned());
        }
        (None, _, Reading::Certain) => {}
    }
}

/// Where the server's own functions are.
const SYSTEM: &str = "pg_catalog";
/// A name that no policy can mean: something that is not known.
const SOME: &str = "?";
