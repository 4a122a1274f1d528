//! Writes the audit chain to disk.
