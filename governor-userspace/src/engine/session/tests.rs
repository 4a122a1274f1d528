//! Bytes in, events out.
