//! May this principal connect, run this statement, see this column? Answered by Cedar.
//!
//! Policies are Cedar text, validated strictly against `schema.cedarschema` when they are loaded
//! ([`PolicySet::compile`]); annotations on the policies that decide say what else happens. Denied unless
//! permitted, a forbid wins over every permit, and a policy that fails to evaluate denies.
//!
//! Reading order: [`source`](PolicySource) → `annotation` → `labelling` → `compile` → `literals`, `approved` and
//! `advice` (what its author did not mean) → `mentions`, `leading`, `slice` and `concern` (what can matter) →
//! `names`, `entity` and `context` (facts → Cedar values) → `decide` → `cache`. Language: <https://docs.cedarpolicy.com>.

mod advice;
mod annotation;
mod approved;
mod cache;
mod compile;
mod concern;
mod context;
mod decide;
mod entity;
mod error;
mod key;
mod labelling;
mod leading;
mod limit;
mod literals;
mod mentions;
mod names;
mod question;
mod reach;
mod schema;
mod sense;
mod slice;
mod source;
mod token;

pub use cache::DecisionCache;
pub use compile::{PolicyFile, PolicyParts, PolicySet};
pub use concern::Concerns;
pub use entity::PolicyPrincipal;
pub use error::{PolicyError, Problem};
pub use labelling::{Destination, EnvironmentRule, LabelRule, Labelling, Member, NamePattern, Word};
pub use question::{HiddenCondition, Moment, RunContext, SeeColumn, SessionContext, Visibility};
pub use schema::SCHEMA_TEXT;
pub use source::{Pack, PolicySource, Profile};

#[cfg(test)]
pub(super) mod tests;
