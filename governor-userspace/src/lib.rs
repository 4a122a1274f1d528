//! governor: sees, decides and records what happens on a host's database connections.
//!
//! Layers, in reading order:
//! - [`engine`] thinks: pure computation, no socket, file, clock or randomness.
//! - `host` touches the world: kernel programs, processes, sockets, files.
//! - `app` builds everything from the configuration, runs it and drains it.
//! - `surface` shows it to people: command line, HTTP API, metrics.
//!
//! Dependencies run one way: `surface → app → host → engine`. `cargo xtask tidy` checks that.

pub mod engine;

#[cfg(feature = "host")]
pub mod app;
#[cfg(feature = "host")]
pub mod host;
#[cfg(feature = "host")]
pub mod surface;
