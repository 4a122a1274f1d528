//! The command line: one file per verb.

pub mod audit;
pub mod globals;
pub mod policy;
