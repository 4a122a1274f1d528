//! What people and their tools see: command line and HTTP API.

pub mod api;
pub mod cli;
