//! `cargo xtask bypass`: the corpus of attacks, scored by what reached the client and what changed.

use crate::{compile, root, setup};
use anyhow::Result;
use governor_tests::bypass::{self, Options as Corpus};
use std::time::Instant;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only files whose section/name contains this
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// A line for each file, with what the client was told
    #[arg(short, long)]
    verbose: bool,
    /// Major version of the server; the distribution's own where none is given
    #[arg(long)]
    server: Option<u32>,
    /// Use the binary named in GOVERNOR_BIN instead of building one
    #[arg(long)]
    no_build: bool,
}

/// Answers whether nothing got past.
pub fn run(options: &Options) -> Result<bool> {
    if !options.no_build {
        setup::run(&setup::Options::default())?;
        let binary = compile::governor(false)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to a cgroup of the corpus's own")?;
    let begun = Instant::now();
    let score = bypass::run(&Corpus {
        only: options.only.clone(),
        verbose: options.verbose,
        server_version: options.server,
    })?;
    println!("{score}");
    for (name, outcome) in score.known_gaps() {
        println!("{name}: {outcome}");
    }
    println!("{} files in {} s", score.outcomes.len(), begun.elapsed().as_secs());
    Ok(score.failures().is_empty())
}
