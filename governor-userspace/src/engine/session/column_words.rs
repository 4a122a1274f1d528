//! Why a column counts as sensitive, or does not: for those who ask `governor policy explain`.
//!
//! The same order as in a session's catalogue: the operator's files, what was said with `governor data` or found in the
//! values, what stands behind a view's column, the name.

use super::catalogue::{Catalogue, Labels, Ruling};
use super::discovery::RuledBy;
use crate::engine::masking::classify_column;
use crate::engine::model::{Category, ColumnName, MaskStyle, Relation, RelationName, wildcard};
use crate::engine::policy::{NamePattern, PolicySet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What decides what a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// `masking.clear` of the configuration.
    Cleared,
    /// `[[masking.columns]]` of the configuration.
    Configured,
    /// The same with a `path`: one place in its documents.
    ConfiguredPath,
    /// A label file.
    Labelled,
    /// `governor data confirm` or `label`.
    Said,
    /// `governor data dismiss`.
    Dismissed,
    /// Its values were found to be of one kind.
    Found,
    /// It was sensitive before its name, its type or its foreign key was changed.
    Formerly,
    /// Nothing says so, and that is enough: `masking.unknown_columns` of the configuration.
    Unknown,
    /// A sensitive column is behind it: of a view, or of a foreign key's other end.
    Drawn,
    /// Its name.
    Named,
    /// Nothing but a rule about seeing, which may hide it.
    Rule,
}

impl Because {
    /// In the words of the command line.
    pub fn text(self) -> &'static str {
        match self {
            Self::Cleared => "by masking.clear",
            Self::Configured => "by masking.columns",
            Self::ConfiguredPath => "by a path in masking.columns",
            Self::Labelled => "by a label file",
            Self::Said => "by governor data",
            Self::Dismissed => "dismissed with governor data",
            Self::Found => "by its values",
            Self::Formerly => "by what it was before it was altered",
            Self::Unknown => "by masking.unknown_columns",
            Self::Drawn => "by what is behind it",
            Self::Named => "by its name",
            Self::Rule => "by a rule about seeing",
        }
    }

    /// It is said to hold nothing sensitive.
    pub fn clears(self) -> bool {
        matches!(self, Self::Cleared | Self::Dismissed)
    }
}

/// Everything beside policies and names that may be said of the columns of one database.
#[derive(Clone, Debug, Default)]
pub struct ColumnWords {
    /// The operator's, by the configuration.
    pub labels: Labels,
    /// What was said or found in the running agent.
    pub rulings: Vec<(ColumnName, Ruling, RuledBy)>,
    /// The database's own, where the agent read it.
    pub catalogue: Option<Arc<Catalogue>>,
}

/// The word on one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnWord {
    pub category: Category,
    pub because: Because,
    /// The configuration's style.
    pub style: Option<MaskStyle>,
}

impl ColumnWords {
    /// What counts for a column; `None` where nothing says that it is sensitive. A name without a schema is taken for every
    /// column that it could be where that makes it sensitive, and for none where that would clear it.
    pub fn of(&self, set: &PolicySet, name: &ColumnName) -> Option<ColumnWord> {
        let by_name = classify_column(&name.relation, &name.column, TEXT);
        let (category, because) = self.judged(set, name, by_name)?;
        let style = self.labels.styles.iter().find(|(pattern, _)| pattern.may_match(name));
        Some(ColumnWord { category, because, style: style.map(|(_, style)| *style) })
    }

    /// The columns of `relation` that are known here, however little: all where the catalogue has it, else those that the
    /// operator's files, `governor data` or what was found name whole. A relation without a schema may be in any.
    pub fn known_columns(&self, set: &PolicySet, relation: &RelationName) -> BTreeSet<ColumnName> {
        let fits = |schema: &str, name: &str| {
            relation.schema.as_ref().is_none_or(|own| wildcard(schema, own)) && wildcard(name, &relation.name)
        };
        let mut found = BTreeSet::new();
        let mut named = |schema: &str, name: &str, column: &str| {
            if fits(schema, name) && !column.contains('*') {
                let known = (!schema.contains('*')).then(|| schema.to_owned());
                found.insert(ColumnName {
                    schema: relation.schema.clone().or(known).unwrap_or_default(),
                    relation: relation.name.clone(),
                    column: column.to_owned(),
                });
            }
        };
        for pattern in set.labelling().column_patterns() {
            named(&pattern.schema, &pattern.relation, pattern.column.as_deref().unwrap_or("*"));
        }
        let Labels { sensitive, clear, places, .. } = &self.labels;
        let sensitive = sensitive.iter().map(|(pattern, _)| pattern);
        for pattern in sensitive.chain(clear).chain(places.iter().map(|(pattern, _)| pattern)) {
            named(&pattern.schema, &pattern.relation, &pattern.column);
        }
        for (column, ..) in &self.rulings {
            named(&column.schema, &column.relation, &column.column);
        }
        for known in self.in_catalogue(relation) {
            found.extend(known.columns.iter().map(|column| ColumnName {
                schema: known.schema.to_string(),
                relation: known.name.to_string(),
                column: column.name.to_string(),
            }));
        }
        found
    }

    /// Every column of `relation` is known.
    pub fn has_relation(&self, relation: &RelationName) -> bool {
        self.in_catalogue(relation).next().is_some()
    }

    fn in_catalogue(&self, relation: &RelationName) -> impl Iterator<Item = &Relation> {
        let named =
            self.catalogue.iter().flat_map(|catalogue| catalogue.data.relations_named(&relation.name));
        named.filter(|known| relation.schema.as_ref().is_none_or(|schema| **schema == *known.schema))
    }

    fn judged(
        &self,
        set: &PolicySet,
        name: &ColumnName,
        by_name: Option<Category>,
    ) -> Option<(Category, Because)> {
        let otherwise = by_name.unwrap_or(Category::Other);
        let Labels { clear, sensitive, places, .. } = &self.labels;
        if !name.schema.is_empty() && clear.iter().any(|pattern| pattern.may_match(name)) {
            return Some((otherwise, Because::Cleared));
        }
        if let Some((_, category)) = sensitive.iter().find(|(pattern, _)| pattern.may_match(name)) {
            return Some((*category, Because::Configured));
        }
        if let Some(rule) = set.labelling().column_rule(name) {
            return Some((rule.category.unwrap_or(otherwise), Because::Labelled));
        }
        let same = |other: &ColumnName| {
            (name.schema.is_empty() || name.schema == other.schema)
                && (&name.relation, &name.column) == (&other.relation, &other.column)
        };
        match self.rulings.iter().find(|(column, ..)| same(column)) {
            Some((_, Ruling::Sensitive(category), by)) => {
                let because = match by {
                    RuledBy::Operator => Because::Said,
                    RuledBy::Values => Because::Found,
                    RuledBy::Former => Because::Formerly,
                };
                return Some((*category, because));
            }
            Some((_, Ruling::Dismissed, _)) if !name.schema.is_empty() => {
                return Some((otherwise, Because::Dismissed));
            }
            _ => {}
        }
        if let Some(category) = by_name {
            return Some((category, Because::Named));
        }
        if let Some((_, place)) = places.iter().find(|(pattern, _)| pattern.may_match(name)) {
            return Some((place.category, Because::ConfiguredPath));
        }
        let known = self.known(name);
        known.or_else(|| set.may_hide(name).then_some((Category::Asked, Because::Rule)))
    }

    /// By the database's own, where the agent read it.
    fn known(&self, name: &ColumnName) -> Option<(Category, Because)> {
        match self.catalogue.as_ref() {
            Some(catalogue) => {
                let category = catalogue.category_of(name)?;
                if category == Category::Asked {
                    return Some((category, Because::Rule));
                }
                let id = catalogue.column_id(name);
                let is_own = id.is_some_and(|id| catalogue.own_category(id).is_some());
                let is_unknown = is_own && self.labels.hide_unknown;
                Some((category, if is_unknown { Because::Unknown } else { Because::Drawn }))
            }
            // Its type is not known, and may be one that carries nothing.
            None => self.labels.hide_unknown.then_some((Category::Other, Because::Unknown)),
        }
    }
}

/// What to write where a label file's `schema.relation` was probably meant for a column: its second part is what a
/// sensitive column is called, or it says what a column holds. `None` where nothing speaks for that.
pub fn column_meant(on: &NamePattern, category: Option<Category>) -> Option<String> {
    let NamePattern { schema, relation, column: None } = on else { return None };
    let by_name = schema != DEFAULT_SCHEMA && classify_column(schema, relation, TEXT).is_some();
    (category.is_some() || by_name).then(|| {
        format!(
            "\"{schema}.{relation}\" was taken for the relation {relation:?} of the schema {schema:?}; if a column is meant, \
             write \"SCHEMA.{schema}.{relation}\", or \"*.{schema}.{relation}\" for every schema"
        )
    })
}

/// Where relations are that nobody made a schema for: no table is called so.
const DEFAULT_SCHEMA: &str = "public";
/// The server's type `text`.
const TEXT: u32 = 25;
