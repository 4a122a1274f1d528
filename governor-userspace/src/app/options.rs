//! What the command line asks of `governor run`.

use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// How far governor goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Records everything and changes nothing on the wire
    Observe,
    /// Records, masks, denies and holds as policy says
    Protect,
}

impl Profile {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Protect => "protect",
        }
    }
}

/// Overrides of the configuration for one run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// `None`: the default file if it exists, else built-in defaults.
    pub config: Option<PathBuf>,
    pub state_dir: PathBuf,
    /// `None`: what the configuration says.
    pub profile: Option<Profile>,
    /// Gets `READY\n` and is closed once connections are governed.
    pub ready_fd: Option<RawFd>,
}
