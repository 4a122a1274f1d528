//! `governor audit`.
