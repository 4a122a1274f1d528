//! The kernel programs: probe, load, attach, read.

pub mod probe;
