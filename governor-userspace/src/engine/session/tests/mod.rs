//! The machine, bytes in and bytes out: no socket, no sleep.

mod allocations;
mod asides;
mod beside;
mod check;
mod client;
mod copying;
mod diagnostics;
mod encryption;
mod glass;
mod greeting;
mod hold;
mod masking;
mod opening;
mod pace;
mod reach;
mod split;
pub(super) mod stage;
mod streaming;
mod tokens;
