//! The configuration file: as written, then checked.
