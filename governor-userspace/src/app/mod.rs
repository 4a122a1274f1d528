//! Builds everything from the configuration, runs it and drains it.

pub mod handle;
mod options;

pub use options::{Profile, RunOptions};

use std::process::ExitCode;

/// Runs the agent until it is told to stop.
pub fn run(options: RunOptions) -> anyhow::Result<ExitCode> {
    anyhow::bail!("this build has no data path to run in {}", options.state_dir.display())
}
