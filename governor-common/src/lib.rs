//! The byte contract between governor's kernel programs and its agent.
//!
//! `no_std`, no dependencies of its own: both sides compile the same definitions.
#![no_std]
