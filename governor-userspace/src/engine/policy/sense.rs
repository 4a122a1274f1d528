//! In which sense each part of a policy's conditions is meant: as it stands, negated, or both.
//!
//! The walk has a stack of its own on the heap: a chain of operators is as deep as it is long.

use cedar_policy::Policy;
use cedar_policy_core::ast::{Expr, ExprKind, UnaryOp};

/// Whether what an expression says makes the policy apply, keeps it from applying, or either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    Plain,
    Negated,
    Either,
}

impl Sense {
    fn negated(self) -> Self {
        match self {
            Self::Plain => Self::Negated,
            Self::Negated => Self::Plain,
            Self::Either => Self::Either,
        }
    }
}

/// Every part of the conditions of `policy`, in no order: `unless` is the negation of what stands in it.
pub(super) fn each<'a>(policy: &'a Policy, mut with: impl FnMut(&'a Expr, Sense)) {
    let all = policy.as_ref().non_scope_constraints();
    let mut open: Vec<(&Expr, Sense)> = all.map(|expr| (expr, Sense::Plain)).into_iter().collect();
    while let Some((expr, sense)) = open.pop() {
        with(expr, sense);
        let mut add = |inner: &'a Expr, sense| open.push((inner, sense));
        match expr.expr_kind() {
            ExprKind::And { left, right } | ExprKind::Or { left, right } => {
                add(left, sense);
                add(right, sense);
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => add(arg, sense.negated()),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                add(test_expr, Sense::Either);
                add(then_expr, sense);
                add(else_expr, sense);
            }
            ExprKind::BinaryApp { arg1, arg2, .. } => {
                add(arg1, Sense::Either);
                add(arg2, Sense::Either);
            }
            ExprKind::UnaryApp { arg: inner, .. }
            | ExprKind::GetAttr { expr: inner, .. }
            | ExprKind::HasAttr { expr: inner, .. }
            | ExprKind::ExtHasAttr { expr: inner, .. }
            | ExprKind::Like { expr: inner, .. }
            | ExprKind::Is { expr: inner, .. } => add(inner, Sense::Either),
            ExprKind::ExtensionFunctionApp { args: members, .. } | ExprKind::Set(members) => {
                members.iter().for_each(|member| add(member, Sense::Either));
            }
            ExprKind::Record(members) => members.values().for_each(|member| add(member, Sense::Either)),
            ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => {}
        }
    }
}

/// The attribute of `context` that this expression is.
pub(super) fn of_context(expr: &Expr) -> Option<&str> {
    use cedar_policy_core::ast::Var;
    match expr.expr_kind() {
        ExprKind::GetAttr { expr: of, attr } if matches!(of.expr_kind(), ExprKind::Var(Var::Context)) => {
            Some(attr)
        }
        _ => None,
    }
}
