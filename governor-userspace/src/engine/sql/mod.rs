//! SQL text → [`Statement`] facts.

mod dialect;

pub use dialect::{Script, SqlDialect};
