//! `governor upgrade`.

use super::client::{Client, ClientError};
use super::globals::Globals;
use crate::app::handle::{Phase, Status};
use crate::surface::api::UpgradeStarted;
use anyhow::bail;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Let the program that is installed now take over from the running agent
///
/// Install the new program over the old one first. The running agent starts it with its own arguments; the new one reads
/// configuration and policy, attaches its kernel programs beside the old ones, and then gets audit, control socket and
/// metrics. No connection is refused meanwhile. Sessions of the old agent go on in their process until they end or
/// limits.upgrade_timeout is over. Where the new agent cannot start, the old one goes on as it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    sudo install -m 755 governor /usr/bin/governor && sudo governor upgrade")]
pub struct UpgradeArgs {}

pub fn run(_args: &UpgradeArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let client = Client::new(globals.control_socket());
    let before = client.get::<Status>("/v1/status")?;
    let UpgradeStarted { pid } = client.post("/v1/upgrade", &())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.get::<Status>("/v1/status") {
            Ok(status) if status.pid == pid && status.phase == Phase::Ready => {
                if globals.json {
                    println!("{}", serde_json::to_string_pretty(&status)?);
                } else {
                    println!(
                        "governor {} (pid {pid}) took over from {} (pid {}), which finishes its sessions",
                        status.version, before.version, before.pid
                    );
                }
                return Ok(ExitCode::SUCCESS);
            }
            Ok(status) if status.pid == before.pid => {
                if let Some(failure) = status.upgrade_failure {
                    bail!("{failure}\n  pid {} goes on governing", before.pid);
                }
            }
            // In between the socket changes hands.
            Ok(_)
            | Err(
                ClientError::NotRunning { .. } | ClientError::Timeout { .. } | ClientError::Broken { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
        if Instant::now() >= deadline {
            bail!("the new agent (pid {pid}) is not ready after {} s; the log says more", PATIENCE.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);
