//! What stays true of a process while it runs one program: read once, kept in the cache.

use super::agents::{Appearance, Recogniser};
use super::procfs::{Executable, Image, Process, Stat};
use super::secrets::readable_arguments;
use super::workload::terminal_name;

/// One program that one process runs.
#[derive(Debug)]
pub(super) struct Facts {
    pub start_ticks: u64,
    pub image: Image,
    pub command: String,
    pub executable: Option<Executable>,
    /// Bounded, printable, without secrets.
    pub arguments: Vec<String>,
    /// Which known agent it is, and by what.
    pub agent: Option<String>,
    /// Which login of people it is, and by what.
    pub login: Option<String>,
    pub terminal: Option<String>,
    /// The environment could be searched for markers.
    pub environment_read: bool,
}

impl Facts {
    pub(super) fn read(process: &Process, stat: &Stat, recogniser: &Recogniser) -> Self {
        let executable = process.executable();
        let command = process.command().unwrap_or_default();
        let (raw, whole) = process.command_line().unwrap_or_default();
        let path = executable.as_ref().map(|e| e.path.as_str());
        let seen = Appearance { executable: path, command: &command, command_line: &raw };
        let mut agent = recogniser.agent(seen);
        let login = recogniser.login(seen);
        let mut marker = None;
        let environment_read = process.environment_names(|name| {
            if marker.is_none() {
                marker = recogniser.marker(name).map(|agent| format!("{agent}: environment marker {name}"));
            }
        });
        agent = agent.or(marker);
        Self {
            start_ticks: stat.start_ticks,
            image: stat.image,
            arguments: readable_arguments(&raw, whole),
            terminal: terminal_name(stat.terminal),
            command,
            executable,
            agent,
            login,
            environment_read,
        }
    }

    /// Path of the executable, or the short name where the path cannot be read.
    pub(super) fn program(&self) -> &str {
        self.executable.as_ref().map_or(&self.command, |e| &e.path)
    }
}
