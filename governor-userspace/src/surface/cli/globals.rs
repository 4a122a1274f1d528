//! Options that every verb shares.

use std::path::PathBuf;

/// Where one instance lives and how to speak to the person at the terminal.
#[derive(Clone, Debug, clap::Args)]
pub struct Globals {
    /// Directory of one governor instance: control socket, keys, audit, approvals, pins
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "GOVERNOR_STATE_DIR",
        default_value = "/var/lib/governor"
    )]
    pub state_dir: PathBuf,

    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", env = "GOVERNOR_CONFIG")]
    pub config: Option<PathBuf>,

    /// Machine-readable output: one JSON document, or one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
}

impl Globals {
    /// The configuration file where none is named.
    pub const DEFAULT_CONFIG: &str = "/etc/governor/governor.toml";

    /// Colour is for terminals that did not ask for none (`NO_COLOR`).
    pub fn color(&self) -> bool {
        use std::io::IsTerminal;
        !self.json && std::env::var_os("NO_COLOR").is_none() && std::io::stdout().is_terminal()
    }

    pub fn audit_dir(&self) -> PathBuf {
        self.state_dir.join("audit")
    }

    pub fn keys_dir(&self) -> PathBuf {
        self.state_dir.join("keys")
    }

    pub fn approvals_dir(&self) -> PathBuf {
        self.state_dir.join("approvals")
    }

    pub fn tls_dir(&self) -> PathBuf {
        self.state_dir.join(crate::host::tls::TLS_DIRECTORY)
    }

    pub fn control_socket(&self) -> PathBuf {
        self.state_dir.join("control.sock")
    }
}
