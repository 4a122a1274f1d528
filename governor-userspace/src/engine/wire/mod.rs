//! Bytes ⇄ messages ⇄ protocol state.

pub mod postgres;
pub mod reader;
