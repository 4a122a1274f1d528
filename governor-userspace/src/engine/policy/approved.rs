//! `context.approved` where it can never be true, or where being true changes nothing.
//!
//! A statement is asked about as approved only after a hold, and it is held only where every forbid behind its denial has
//! `@approval`. So a forbid without `@approval` is never lifted by an approval, and a permit that waits for one waits for
//! ever where nothing holds what it permits.

use super::schema::{Ask, LoadedSchema};
use super::sense::{self, Sense};
use super::slice;
use cedar_policy::{Effect, Policy};

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
    sense::each(policy, |expr, sense| {
        if sense::of_context(expr) != Some("approved") {
            return;
        }
        let byte = expr.source_loc().map_or(0, |loc| loc.start());
        let first = |place: Option<usize>| Some(place.map_or(byte, |before| before.min(byte)));
        if sense != Sense::Negated {
            asked.to_apply = first(asked.to_apply);
        }
        if sense != Sense::Plain {
            asked.to_lift = first(asked.to_lift);
        }
    });
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

/// Of a forbid without `@approval` that an approval is meant to lift.
pub(super) const NEVER_LIFTED: &str = "no approval lifts this forbid, because nothing holds what it denies: add \
     @approval(\"group\") above it, or leave context.approved out";
/// Of a permit for what is approved.
pub(super) const NEVER_HELD: &str = "context.approved is never true here, because nothing holds what this permits: add a \
     forbid with @approval(\"group\") and `unless { context.approved }` for it";
