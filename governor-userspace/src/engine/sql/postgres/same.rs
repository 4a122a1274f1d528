//! Are two expressions the same by their shape?
//!
//! Only the shapes that people and attackers write on both sides of `=`; `false` where not sure.

use super::objects::function;
use pg_raw_parse::Node;

/// `id` and `people.id` count as the same: where both could mean different columns, the server refuses
/// the unqualified one.
pub(super) fn same(left: Node<'_>, right: Node<'_>) -> bool {
    let mut steps = STEPS_MAX;
    same_below(left, right, &mut steps, DEPTH_MAX)
}

fn same_below(left: Node<'_>, right: Node<'_>, steps: &mut u32, depth: u32) -> bool {
    if *steps == 0 || depth == 0 {
        return false;
    }
    *steps -= 1;
    match (left, right) {
        (Node::None, Node::None) => true,
        (Node::ColumnRef(left), Node::ColumnRef(right)) => {
            let mut left = left.fields().iter().rev().map(Node::as_str);
            let mut right = right.fields().iter().rev().map(Node::as_str);
            loop {
                match (left.next(), right.next()) {
                    (Some(Some(left)), Some(Some(right))) if left == right => {}
                    (None, _) | (_, None) => return true,
                    _ => return false,
                }
            }
        }
        (Node::ParamRef(left), Node::ParamRef(right)) => left.number == right.number,
        (Node::A_Const(left), Node::A_Const(right)) => match (left.val(), right.val()) {
            (Some(left), Some(right)) => left.to_string() == right.to_string(),
            _ => false,
        },
        (Node::TypeCast(left), Node::TypeCast(right)) => {
            same_below(left.arg(), right.arg(), steps, depth - 1)
        }
        (Node::TypeCast(cast), other) | (other, Node::TypeCast(cast)) => {
            same_below(cast.arg(), other, steps, depth - 1)
        }
        (Node::NullTest(left), Node::NullTest(right)) => {
            left.nulltesttype == right.nulltesttype && same_below(left.arg(), right.arg(), steps, depth - 1)
        }
        (Node::A_Expr(left), Node::A_Expr(right)) => {
            let name = |expression: &pg_raw_parse::nodes::A_Expr| {
                expression.name().iter().filter_map(Node::as_str).map(str::to_owned).collect::<Vec<_>>()
            };
            left.kind == right.kind
                && name(left) == name(right)
                && same_below(left.lexpr(), right.lexpr(), steps, depth - 1)
                && same_below(left.rexpr(), right.rexpr(), steps, depth - 1)
        }
        (Node::FuncCall(left), Node::FuncCall(right)) => {
            function(left.funcname()) == function(right.funcname())
                && left.args().len() == right.args().len()
                && left
                    .args()
                    .iter()
                    .zip(right.args())
                    .all(|(left, right)| same_below(left, right, steps, depth - 1))
        }
        (Node::CoalesceExpr(left), Node::CoalesceExpr(right)) => {
            left.args().len() == right.args().len()
                && left
                    .args()
                    .iter()
                    .zip(right.args())
                    .all(|(left, right)| same_below(left, right, steps, depth - 1))
        }
        _ => false,
    }
}

const DEPTH_MAX: u32 = 16;
const STEPS_MAX: u32 = 256;
