//! What the command line asks of `governor run`.

use crate::host::config::Profile;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// Overrides of the configuration for one run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// `None`: the default file if it exists, else built-in defaults.
    pub config: Option<PathBuf>,
    pub state_dir: PathBuf,
    /// `None`: what the configuration says.
    pub profile: Option<Profile>,
    /// From the agent that runs on this state directory.
    pub take_over: bool,
    /// Gets `READY\n` and is closed once connections are governed.
    pub ready_fd: Option<RawFd>,
}
