//! Parameters that are compared and nothing else: each use of one is a side of `=` whose other side is a column as it is
//! stored.
//!
//! The server keeps such a value to itself: it is in no result, in no function's hands and in no text. So a token may stand
//! for it (`session/tokens.rs`), and the comparison tells no more than the tokens do that are shown.
//!
//! Invariant: a use that is not met here, or is met otherwise as well, makes the parameter none of these. Uses are counted
//! in the tree, by their place in the text; in bodies of functions and in what ran before, `$1` is another one.

use super::value::Set;
use super::{Analysis, Doubt, Shared};
use crate::engine::model::{ColumnId, Oid, RelationKind};
use crate::engine::sql::postgres::children::children;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{A_Expr, ParamRef};
use pg_raw_parse::raw::A_Expr_Kind as E;
use std::collections::{BTreeMap, BTreeSet};

/// What one use of a parameter is compared with.
#[derive(Debug, Default)]
pub(super) struct Use {
    columns: Set,
    is_other: bool,
}

/// By place in the text.
pub(super) type Uses = BTreeMap<i32, Use>;

impl Shared<'_> {
    /// The parameters of `command` that are compared and nothing else, each with the columns.
    pub(super) fn compared_parameters(&self, command: Node<'_>) -> Result<BTreeMap<u16, Set>, Doubt> {
        let uses = self.uses.borrow();
        let mut found: BTreeMap<u16, Set> = BTreeMap::new();
        let mut others: BTreeSet<u16> = BTreeSet::new();
        if uses.is_empty() {
            return Ok(found);
        }
        let mut work = vec![command];
        while let Some(node) = work.pop() {
            self.spend(1)?;
            match node {
                // What is put somewhere, or planned for somebody to see, is more than an answer.
                Node::IntoClause(_) | Node::InsertStmt(_) | Node::MergeStmt(_) => return Ok(BTreeMap::new()),
                Node::ParamRef(parameter) => {
                    let Ok(number) = u16::try_from(parameter.number) else { return Ok(BTreeMap::new()) };
                    match uses.get(&parameter.location) {
                        Some(known) if !known.is_other => {
                            found.entry(number).or_default().extend(&known.columns);
                        }
                        _ => {
                            others.insert(number);
                        }
                    }
                }
                _ => {}
            }
            if !children(node, &mut |child| work.push(child)) {
                return Ok(BTreeMap::new());
            }
        }
        found.retain(|number, _| !others.contains(number));
        Ok(found)
    }
}

impl<'t> Analysis<'_, 't> {
    /// Meets the parameters of one condition. `true`: all that it compares are tokens, so it tells nothing.
    pub(super) fn compares_tokens(&self, node: Node<'t>) -> bool {
        if !self.is_own_text || self.shared.is_past.get() {
            return false;
        }
        let Some((column, parameters)) = sides(node) else { return false };
        let column = self.stored_column(column);
        let mut uses = self.shared.uses.borrow_mut();
        for parameter in &parameters {
            let met = uses.entry(parameter.location).or_default();
            met.columns.extend(column);
            met.is_other |= column.is_none();
        }
        let is_token = |parameter: &&ParamRef| {
            u16::try_from(parameter.number).is_ok_and(|number| self.shared.tokens.contains(&number))
        };
        column.is_some() && parameters.iter().all(is_token)
    }

    /// The column of one table or view that a name stands for as it is, where that is certain and its values equal each
    /// other only where they are the same.
    fn stored_column(&self, name: &NodeList) -> Option<ColumnId> {
        let names: Option<Vec<&str>> = name.iter().map(Node::as_str).collect();
        let (relation, place) = match *names? {
            [column] => self.levels.iter().rev().find_map(|level| level.only_stored(column))?,
            [item, column] => self.stored_in(None, item, column),
            [schema, item, column] => self.stored_in(Some(schema), item, column),
            _ => None,
        }?;
        let catalogue = self.shared.names.catalogue;
        let id = (relation, catalogue.relation(relation)?.columns.get(place)?.attribute);
        (catalogue.compares_as_text(id) && !catalogue.has_text_equality_of_users()).then_some(id)
    }

    fn stored_in(&self, schema: Option<&str>, item: &str, column: &str) -> Option<(Oid, usize)> {
        let (at, index) = self.item(schema, item)?;
        self.levels.get(at)?.items.get(index)?.stored(column)
    }
}

/// Its rows are in this database, so its comparisons are made here.
pub(super) fn is_local(kind: RelationKind) -> bool {
    use RelationKind as K;
    matches!(kind, K::Table | K::Partitioned | K::View | K::MaterializedView)
}

/// A name that has to equal one of some parameters.
fn sides(node: Node<'_>) -> Option<(&NodeList, Vec<&ParamRef>)> {
    let Node::A_Expr(e) = node else { return None };
    let (column, parameters) = match (e.kind, e.lexpr(), e.rexpr()) {
        (E::AEXPR_OP, Node::ColumnRef(column), Node::ParamRef(parameter))
        | (E::AEXPR_OP, Node::ParamRef(parameter), Node::ColumnRef(column)) => (column, vec![parameter]),
        (E::AEXPR_IN, Node::ColumnRef(column), Node::NodeList(list)) => {
            let parameter = |node| match node {
                Node::ParamRef(parameter) => Some(parameter),
                _ => None,
            };
            (column, list.iter().map(parameter).collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    };
    is_equals(e).then(|| (column.fields(), parameters))
}

/// `=` as the search path has it, or the server's own.
fn is_equals(e: &A_Expr) -> bool {
    let words: Vec<_> = e.name().iter().map(Node::as_str).collect();
    matches!(*words, [Some("=")] | [Some("pg_catalog"), Some("=")])
}
