//! `governor policy`.

use super::globals::Globals;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct PolicyArgs {}

pub fn run(_args: PolicyArgs, _globals: &Globals) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not in this build")
}
