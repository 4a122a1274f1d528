//! Builds everything from the configuration, runs it and drains it.
