//! May this principal connect, run this statement, see this column? Answered by Cedar.

mod question;

pub use question::{RunContext, SeeColumn, Visibility};
