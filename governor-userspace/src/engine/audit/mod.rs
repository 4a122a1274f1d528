//! Evidence: what a record says, how records are chained, and how a chain is verified.

mod record;

pub use record::*;
