//! The kernel programs: probe, load, attach, read.
