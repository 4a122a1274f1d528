//! Bytes ⇄ messages ⇄ protocol state.

pub mod hello;
pub mod postgres;
pub mod reader;
