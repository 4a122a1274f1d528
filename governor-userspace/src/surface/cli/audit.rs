//! `governor audit`.

use super::globals::Globals;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct AuditArgs {}

pub fn run(_args: AuditArgs, _globals: &Globals) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not in this build")
}
