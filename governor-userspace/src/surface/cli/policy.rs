//! `governor policy`.
