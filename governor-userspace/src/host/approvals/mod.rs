//! Holds that wait for a person: the durable queue behind `governor approvals`.
//!
//! [`ApprovalStore`] keeps one file per request and hands each waiting session exactly one answer;
//! [`ApproverRules`] says who may give it.

mod beside;
mod entry;
mod error;
mod id;
mod peer;
mod rules;
mod store;

pub use entry::{Approval, StateFilter};
pub use error::{AnswerError, LookupError, StoreError, SubmitError};
pub use rules::{Approver, ApproverRules, NotAllowed};
pub use store::{ApprovalLimits, ApprovalStore, Submitted};

#[cfg(test)]
pub(crate) mod tests;
