//! A relation's name → what it brings into scope.
//!
//! Order of the server: WITH queries, the session's temporary relations, the search path. A name that may mean several
//! relations brings what any of them has.

use super::scope::Item;
use super::settings::lists_settings;
use super::value::{COUNT_IN_DOUBT, Rows, Value};
use super::{Analysis, Doubt, parameters};
use crate::engine::model::{FIRST_USER_OID, Relation, RelationKind, RelationName, Temporary};
use crate::engine::sql::postgres::objects;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::RangeVar;
use std::sync::Arc;

impl<'t> Analysis<'_, 't> {
    /// A relation of FROM under its alias, not yet in scope (its columns are).
    pub(super) fn relation(&mut self, range: &RangeVar) -> Result<Item, Doubt> {
        self.shared.spend(1)?;
        let Some(name) = objects::relation(range) else { return Err(Doubt::Syntax) };
        if name.schema.is_none()
            && let Some(rows) = self.cte(&name.name)?
        {
            return self.renamed((*rows).clone(), range, Item::default());
        }
        self.stored(&name, range)
    }

    /// A relation that is no WITH query: the target of a command never is one.
    pub(super) fn target(&mut self, range: &RangeVar) -> Result<Item, Doubt> {
        let Some(name) = objects::relation(range) else { return Err(Doubt::Syntax) };
        self.stored(&name, range)
    }

    fn stored(&mut self, name: &RelationName, range: &RangeVar) -> Result<Item, Doubt> {
        let schema = name.schema.as_deref();
        let in_temporary = schema.is_some_and(|schema| schema.starts_with("pg_temp"));
        if schema.is_none() || in_temporary {
            match (self.shared.names.temporary)(&name.name) {
                Temporary::None if in_temporary => return self.unknown(range, Doubt::Temporary),
                Temporary::None => {}
                Temporary::Unknown => return self.unknown(range, Doubt::Temporary),
                Temporary::Statements(_) if !in_temporary && self.temporary_comes_late() => {
                    return self.unknown(range, Doubt::Temporary);
                }
                Temporary::Statements(statements) => {
                    let rows = self.shared.temporary_rows(&name.name, &statements)?;
                    // Whoever asks put it there: a guess in each row.
                    if rows.columns.iter().any(|(_, value)| is_made(value)) {
                        self.shared.makes_rows();
                    }
                    return self.renamed(rows, range, Item::default());
                }
            }
        }
        let catalogue = self.shared.names.catalogue;
        let found = catalogue.resolve(name, self.path);
        let rows = match found.candidates() {
            [] if is_system(name) => Rows::open(Value::default()),
            [] => Rows::open(Value::unknown(Doubt::UnknownRelation)),
            candidates => self.of_relations(candidates)?,
        };
        let schema = match found.candidates() {
            [one] => Some(one.schema.clone()),
            _ => schema.map(Into::into),
        };
        let is_user_relation = found.candidates().iter().any(|relation| relation.oid >= FIRST_USER_OID);
        let has_parts = found.candidates().iter().any(|relation| relation.kind == RelationKind::Partitioned);
        let is_certain = name.schema.is_some() || self.path.searched(false).is_some();
        let stored = match found.candidates() {
            [one] if is_certain && parameters::is_local(one.kind) => Some(one.oid),
            _ => None,
        };
        let lists_settings = matches!(found.candidates(), [one] if lists_settings(one));
        let item = Item { schema, is_user_relation, has_parts, stored, lists_settings, ..Item::default() };
        self.renamed(rows, range, item)
    }

    /// Rows of a relation; of several, what any of them has.
    fn of_relations(&self, relations: &[&Relation]) -> Result<Rows, Doubt> {
        let mut all: Option<Rows> = None;
        for relation in relations {
            self.shared.spend(1 + relation.columns.len())?;
            self.shared.reads(relation.oid);
            let column = |c: &crate::engine::model::Column| {
                (c.name.clone(), Value::column((relation.oid, c.attribute)).of_definitions(relation, c))
            };
            let mut rows = Rows { columns: relation.columns.iter().map(column).collect(), ..Rows::default() };
            if relation.kind == RelationKind::Sequence && rows.columns.is_empty() {
                rows.open = Some(Value::default());
            }
            match &mut all {
                None => all = Some(rows),
                Some(all) => {
                    let alike = all.columns.len() == rows.columns.len()
                        && all.columns.iter().zip(&rows.columns).all(|((a, _), (b, _))| a == b);
                    if !alike {
                        return Ok(Rows::open(Value::unknown(Doubt::UnknownRelation)));
                    }
                    all.merge(rows);
                }
            }
        }
        Ok(all.unwrap_or_else(|| Rows::open(Value::unknown(Doubt::UnknownRelation))))
    }

    fn unknown(&mut self, range: &RangeVar, why: Doubt) -> Result<Item, Doubt> {
        let mut rows = Rows::open(Value::unknown(why));
        // As many as some value said, maybe.
        rows.counted_by.insert(COUNT_IN_DOUBT);
        self.renamed(rows, range, Item::default())
    }

    /// Gives rows the alias of their place in FROM.
    fn renamed(&mut self, mut rows: Rows, range: &RangeVar, item: Item) -> Result<Item, Doubt> {
        self.shared.spend(rows.size())?;
        let alias = range.alias();
        if let Some(alias) = alias {
            rows.rename(alias.colnames().iter().filter_map(Node::as_str));
        }
        let alias_name = alias.and_then(|alias| alias.aliasname());
        let level = self.level();
        level.chosen_by.extend(rows.chosen_by);
        level.counted_by.extend(rows.counted_by);
        Ok(Item {
            name: alias_name.or(range.relname()).map(Arc::from),
            schema: item.schema.filter(|_| alias_name.is_none()),
            columns: rows.columns.into_iter().map(|(name, value)| (name, level.slot(value))).collect(),
            open: rows.open,
            is_named: true,
            shows_columns: true,
            ..item
        })
    }

    /// `pg_temp` stands in the path behind others: another relation may come first.
    fn temporary_comes_late(&self) -> bool {
        self.path.searched(false).is_some_and(|searched| searched.first() != Some(&"pg_temp"))
    }
}

/// No relation is behind it.
fn is_made(value: &Value) -> bool {
    value.sources.is_empty() && value.implicit.is_empty() && value.unknown.is_none()
}

/// A relation of the system that shows no values of others: those that do are in the catalogue.
pub(super) fn is_system(name: &RelationName) -> bool {
    match name.schema.as_deref() {
        Some(schema) => schema == "pg_catalog" || schema == "information_schema",
        None => {
            name.name.starts_with("pg_")
                && !name.name.starts_with("pg_toast")
                && !name.name.starts_with("pg_temp")
        }
    }
}
