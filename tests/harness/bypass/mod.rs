//! The bypass corpus: attacks on governor as files, judged by data.
//!
//! Each file of `tests/bypass` is one attack. It runs twice: straight to the server, where it must reach its aim
//! (an attack that does nothing even unguarded tests nothing), and through governor, where it must not. What counts
//! is never the verdict but the data: which values reached the client, what the database holds afterwards.
//!
//! `attack` is the file format, `play` runs the steps, `reveal` looks for secrets in replies, `state` compares
//! databases, `arena` owns servers and databases, `score` runs everything and prints the table.

pub mod arena;
pub mod attack;
pub mod play;
pub mod reveal;
pub mod score;
pub mod state;

pub use attack::{Aim, Attack};
pub use score::{Options, Score, run};
