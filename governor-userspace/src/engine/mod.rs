//! Pure governance: bytes and time in, actions out.
//!
//! Nothing here names a socket, a file, a clock or a source of randomness, so every behaviour can be
//! tested and fuzzed without a runtime. Siblings meet only in [`session`].

pub mod approval;
pub mod audit;
pub mod masking;
pub mod model;
pub mod policy;
pub mod session;
pub mod sql;
pub mod wire;
