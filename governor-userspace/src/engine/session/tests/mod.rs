//! The machine, bytes in and bytes out: no socket, no sleep.

mod allocations;
mod client;
mod diagnostics;
mod encryption;
mod hold;
mod masking;
mod opening;
mod pace;
mod split;
mod stage;
