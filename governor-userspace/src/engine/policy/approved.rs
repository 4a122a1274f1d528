//! `context.approved` where it can never be true, or where being true changes nothing.
//!
//! A statement is asked about as approved only after a hold, and it is held only where every forbid behind its denial has
//! `@approval`. So a forbid without `@approval` is never lifted by an approval, and a permit that waits for one waits for
//! ever where nothing holds what it permits.

use super::schema::{Ask, LoadedSchema};
use super::slice;
use cedar_policy::{Effect, Policy};
use cedar_policy_core::ast::{Expr, ExprKind, UnaryOp, Var};

/// Ways in which an expression asks for `context.approved`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where it first stands so that being approved can make the policy apply.
    pub to_apply: Option<usize>,
    /// Where it first stands so that being approved can keep the policy from applying.
    pub to_lift: Option<usize>,
}

/// How the conditions of `policy` ask for it. Byte offsets in its file; 0 where the place is not known.
pub(super) fn asked(policy: &Policy) -> Asked {
    let mut asked = Asked::default();
    // A stack of its own: a chain of operators is as deep as it is long.
    let mut open: Vec<(&Expr, Sense)> =
        policy.as_ref().non_scope_constraints().map(|expr| (expr, Sense::Plain)).into_iter().collect();
    while let Some((expr, sense)) = open.pop() {
        match expr.expr_kind() {
            ExprKind::GetAttr { expr: of, attr }
                if attr == "approved" && matches!(of.expr_kind(), ExprKind::Var(Var::Context)) =>
            {
                let byte = expr.source_loc().map_or(0, |loc| loc.start());
                let first = |place: Option<usize>| Some(place.map_or(byte, |before| before.min(byte)));
                if sense != Sense::Negated {
                    asked.to_apply = first(asked.to_apply);
                }
                if sense != Sense::Plain {
                    asked.to_lift = first(asked.to_lift);
                }
            }
            ExprKind::And { left, right } | ExprKind::Or { left, right } => {
                open.extend([(left.as_ref(), sense), (right.as_ref(), sense)]);
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => open.push((arg, sense.negated())),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                open.extend([(test_expr.as_ref(), Sense::Either)]);
                open.extend([(then_expr.as_ref(), sense), (else_expr.as_ref(), sense)]);
            }
            ExprKind::BinaryApp { arg1, arg2, .. } => {
                open.extend([(arg1.as_ref(), Sense::Either), (arg2.as_ref(), Sense::Either)]);
            }
            ExprKind::GetAttr { expr, .. } | ExprKind::UnaryApp { arg: expr, .. } => {
                open.push((expr, Sense::Either));
            }
            ExprKind::Set(members) => open.extend(members.iter().map(|member| (member, Sense::Either))),
            ExprKind::Record(members) => {
                open.extend(members.values().map(|member| (member, Sense::Either)));
            }
            _ => {}
        }
    }
    asked
}

/// Some forbid with `@approval` can apply to a question that `permit` can apply to.
pub(super) fn is_ever_held<'a>(
    permit: &Policy,
    mut all: impl Iterator<Item = &'a Policy>,
    loaded: &LoadedSchema,
) -> bool {
    all.any(|other| {
        other.effect() == Effect::Forbid
            && other.annotation("approval").is_some()
            && Ask::all().any(|ask| slice::meet(permit, other, ask, loaded))
    })
}

/// Whether what an expression says is wanted, its opposite, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
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

/// Of a forbid without `@approval` that an approval is meant to lift.
pub(super) const NEVER_LIFTED: &str = "no approval lifts this forbid, because nothing holds what it denies: add \
     @approval(\"group\") above it, or leave context.approved out";
/// Of a permit for what is approved.
pub(super) const NEVER_HELD: &str = "context.approved is never true here, because nothing holds what this permits: add a \
     forbid with @approval(\"group\") and `unless { context.approved }` for it";
