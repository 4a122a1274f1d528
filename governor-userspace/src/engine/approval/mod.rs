//! Held statements: what a person is asked and what they can answer.

mod request;

pub use request::{Answer, ApprovalRequest, State};
