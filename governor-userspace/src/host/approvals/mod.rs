//! Holds that wait for a person: the durable queue behind `governor approvals`.
//!
//! [`ApprovalStore`] keeps one file per request and hands each waiting session exactly one answer;
//! [`ApproverRules`] says who may give it.

mod entry;
mod id;
mod peer;
mod rules;
mod store;

pub use entry::{Approval, StateFilter};
pub use rules::{Approver, ApproverRules, NotAllowed};
pub use store::{
    AnswerError, ApprovalLimits, ApprovalStore, LookupError, StoreError, SubmitError, Submitted,
};

#[cfg(test)]
pub(crate) mod tests;
