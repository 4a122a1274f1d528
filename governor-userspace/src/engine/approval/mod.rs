//! Held statements: what a person is asked and what they can answer.

mod request;

pub use crate::engine::model::Answer;
pub use request::{ApprovalRequest, State};
