//! Result columns that can be told apart without a catalogue.
//!
//! Only a flat SELECT (its FROM holds plain relations and joins of them) and RETURNING of a plain
//! INSERT, UPDATE or DELETE. A star becomes a number of columns that only the catalogue knows, so one
//! star means that no position is certain: no targets at all.

use super::children::untyped;
use crate::engine::model::Target;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{Alias, FuncCall, ResTarget, ReturningClause, SelectStmt};
use pg_raw_parse::raw::SetOperation;

/// The node whose direct [`ResTarget`] children are the result columns, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum ResultList<'a> {
    Select(&'a SelectStmt),
    Returning(&'a ReturningClause),
}

impl<'a> ResultList<'a> {
    /// `None` where the columns cannot be told apart.
    pub(super) fn of(root: Node<'a>) -> Option<Self> {
        let list = match root {
            Node::SelectStmt(select) => {
                let flat = select.op == SetOperation::SETOP_NONE
                    && select.with_clause().is_none()
                    && select.values_lists().is_empty()
                    && select.into_clause().is_none()
                    && is_flat(select.from_clause());
                flat.then_some(Self::Select(select))?
            }
            Node::InsertStmt(insert) if insert.with_clause().is_none() => {
                Self::Returning(insert.returning_clause()?)
            }
            Node::UpdateStmt(update) if update.with_clause().is_none() && is_flat(update.from_clause()) => {
                Self::Returning(update.returning_clause()?)
            }
            Node::DeleteStmt(delete) if delete.with_clause().is_none() && is_flat(delete.using_clause()) => {
                Self::Returning(delete.returning_clause()?)
            }
            _ => return None,
        };
        let certain = list.targets().iter().all(|node| match node {
            Node::ResTarget(target) => !is_star(target.val()),
            _ => false,
        });
        certain.then_some(list)
    }

    pub(super) fn is(self, node: Node<'_>) -> bool {
        match (self, node) {
            (Self::Select(list), Node::SelectStmt(node)) => std::ptr::eq(list, node),
            (Self::Returning(list), Node::ReturningClause(node)) => std::ptr::eq(list, node),
            _ => false,
        }
    }

    pub(super) fn targets(self) -> &'a NodeList {
        match self {
            Self::Select(select) => untyped(select.target_list()),
            Self::Returning(returning) => returning.exprs(),
        }
    }
}

/// What the shape of one entry tells; its mentions come from the walk.
pub(super) fn target(node: Node<'_>) -> Target {
    let Node::ResTarget(target) = node else { return Target::default() };
    Target {
        is_count: matches!(target.val(), Node::FuncCall(call) if is_count(call)),
        is_constant: is_constant(target),
        ..Target::default()
    }
}

/// `count(…)` of the server's own: unqualified it can be hidden only by a `search_path` that puts
/// another schema in front of pg_catalog.
fn is_count(call: &FuncCall) -> bool {
    let mut words = call.funcname().iter().filter_map(Node::as_str);
    matches!(
        (words.next(), words.next(), words.next()),
        (Some("count"), None, _) | (Some("pg_catalog"), Some("count"), None)
    )
}

fn is_constant(target: &ResTarget) -> bool {
    let mut node = target.val();
    for _ in 0..CAST_DEPTH_MAX {
        match node {
            Node::A_Const(_) | Node::ParamRef(_) => return true,
            Node::TypeCast(cast) => node = cast.arg(),
            _ => return false,
        }
    }
    false
}

fn is_star(value: Node<'_>) -> bool {
    let path = match value {
        Node::ColumnRef(reference) => reference.fields(),
        Node::A_Indirection(path) => path.indirection(),
        _ => return false,
    };
    matches!(path.iter().next_back(), Some(Node::A_Star(_)))
}

/// Only relations and joins, none with new names for its columns.
fn is_flat(from: &NodeList) -> bool {
    let mut work: Vec<Node<'_>> = from.iter().collect();
    while let Some(item) = work.pop() {
        let plain = match item {
            Node::RangeVar(relation) => !renames(relation.alias()),
            Node::JoinExpr(join) => {
                work.extend([join.larg(), join.rarg()]);
                !renames(join.alias())
            }
            _ => false,
        };
        if !plain {
            return false;
        }
    }
    true
}

/// `AS p(a, b, c)`: the columns' own names no longer show.
pub(super) fn renames(alias: Option<&Alias>) -> bool {
    alias.is_some_and(|alias| !alias.colnames().is_empty())
}

const CAST_DEPTH_MAX: usize = 16;
