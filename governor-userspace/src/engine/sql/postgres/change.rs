//! Which rows a command changes: target, ONLY, and what its WHERE pins to constants. Operators, by name.

use super::where_clause;
use crate::engine::model::{Change, RelationName, StatementKind as Kind};
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{A_Expr, RangeVar};
use pg_raw_parse::raw::{A_Expr_Kind as E, BoolExprType as B};

/// The changes of `command` to the relation that it names as its target.
pub(super) fn changes(command: Node<'_>, relation: RelationName, range: &RangeVar, out: &mut Vec<Change>) {
    let only = !range.inh;
    let mut add = |kind, condition: Option<(Node<'_>, bool)>| {
        let (restricted, pinned) = condition.map_or((false, Vec::new()), |(condition, alone)| {
            let mut pinned = Vec::new();
            if alone {
                pins(condition, &mut pinned);
            }
            (where_clause::restricts(condition), pinned)
        });
        out.push(Change { relation: relation.clone(), kind, only, restricted, pinned });
    };
    match command {
        Node::InsertStmt(insert) => {
            add(Kind::Insert, None);
            if insert.on_conflict_clause().is_some() {
                add(Kind::Update, None);
                if let Some(change) = out.last_mut() {
                    // As many as are inserted, at most.
                    change.restricted = true;
                }
            }
        }
        Node::UpdateStmt(update) => {
            add(Kind::Update, Some((update.where_clause(), update.from_clause().is_empty())));
        }
        Node::DeleteStmt(delete) => {
            add(Kind::Delete, Some((delete.where_clause(), delete.using_clause().is_empty())));
        }
        Node::MergeStmt(_) => add(Kind::Merge, None),
        Node::CopyStmt(_) => add(Kind::CopyIn, None),
        Node::TruncateStmt(_) => add(Kind::Truncate, None),
        _ => {}
    }
}

/// `column = constant` and `column IN (constants)`, joined by AND.
fn pins(condition: Node<'_>, out: &mut Vec<(String, u32)>) {
    let mut work = vec![condition];
    while let Some(node) = work.pop() {
        match node {
            Node::BoolExpr(all) if all.boolop == B::AND_EXPR => work.extend(all.args().iter()),
            Node::A_Expr(test) if is_equality(test) && matches!(test.kind, E::AEXPR_OP) => {
                for (column, value) in [(test.lexpr(), test.rexpr()), (test.rexpr(), test.lexpr())] {
                    if let Some(column) = column_name(column)
                        && is_constant(value)
                    {
                        out.push((column, 1));
                    }
                }
            }
            Node::A_Expr(test) if is_equality(test) && matches!(test.kind, E::AEXPR_IN) => {
                if let (Some(column), Some(list)) = (column_name(test.lexpr()), test.rexpr().as_node_list())
                    && list.iter().all(is_constant)
                {
                    out.push((column, u32::try_from(list.len()).unwrap_or(u32::MAX)));
                }
            }
            _ => {}
        }
    }
}

/// The operator is `=`, in no schema of its own.
fn is_equality(test: &A_Expr) -> bool {
    let mut name = test.name().iter().filter_map(Node::as_str);
    name.next() == Some("=") && name.next().is_none()
}

fn column_name(node: Node<'_>) -> Option<String> {
    let Node::ColumnRef(reference) = node else { return None };
    reference.fields().iter().next_back().and_then(Node::as_str).map(Into::into)
}

fn is_constant(mut node: Node<'_>) -> bool {
    for _ in 0..CAST_DEPTH_MAX {
        match node {
            Node::A_Const(_) | Node::ParamRef(_) => return true,
            Node::TypeCast(cast) => node = cast.arg(),
            _ => return false,
        }
    }
    false
}

/// Names of the operators that an expression stands for.
pub(super) fn operators(expression: &A_Expr, out: &mut Vec<String>) {
    let between = matches!(
        expression.kind,
        E::AEXPR_BETWEEN | E::AEXPR_NOT_BETWEEN | E::AEXPR_BETWEEN_SYM | E::AEXPR_NOT_BETWEEN_SYM
    );
    if between {
        out.extend(["<", "<=", ">", ">="].map(String::from));
    } else {
        out.extend(own_name(expression));
    }
}

fn own_name(expression: &A_Expr) -> Option<String> {
    expression.name().iter().next_back().and_then(Node::as_str).map(Into::into)
}

const CAST_DEPTH_MAX: usize = 16;
