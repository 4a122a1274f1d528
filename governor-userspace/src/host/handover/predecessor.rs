//! The new agent's side.

use super::frame::{self, Kind};
use super::{HandoverError, PROTOCOL, SOCKET_FILE, beside};
use crate::host::ledger::Ledger;
use crate::host::proxy::{CancelRegistry, Elsewhere};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the new agent says first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub protocol: u32,
    pub version: String,
    pub pid: u32,
}

/// What the old agent answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub protocol: u32,
    pub version: String,
    pub pid: u32,
    /// Names it in records; empty where its version gave it no name.
    #[serde(default)]
    pub run: String,
    /// Where the pins of its kernel programs are.
    pub generation: PathBuf,
}

/// The agent that is taken over from.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    welcome: Welcome,
    /// Where this agent asks about sessions of the other.
    questions: Option<UnixStream>,
}

impl Predecessor {
    /// Nothing has changed when this returns.
    pub fn connect(state_dir: &Path) -> Result<Self, HandoverError> {
        let path = state_dir.join(SOCKET_FILE);
        let mut stream =
            UnixStream::connect(&path).map_err(|source| HandoverError::Nobody { path, source })?;
        stream.set_read_timeout(Some(STEP_MAX))?;
        stream.set_write_timeout(Some(STEP_MAX))?;
        let hello =
            Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into(), pid: std::process::id() };
        frame::send_json(&mut stream, Kind::Hello, &hello)?;
        let welcome: Welcome = frame::expect_json(&mut stream, Kind::Welcome)?;
        if welcome.protocol != PROTOCOL {
            return Err(HandoverError::Version { ours: PROTOCOL, theirs: welcome.protocol });
        }
        Ok(Self { stream, welcome, questions: None })
    }

    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks for what only one agent may have. When this returns it can be opened.
    pub fn prepare(&mut self) -> Result<(), HandoverError> {
        frame::send(&mut self.stream, Kind::Prepare, &[])?;
        let (ours, theirs) = UnixStream::pair()?;
        beside::pass(&self.stream, &theirs)?;
        self.questions = Some(ours);
        frame::expect(&mut self.stream, Kind::Prepared).map(drop)
    }

    /// Says that this agent governs. When this returns new connections are its own. From here on the old agent's
    /// records are written to `ledger` by a thread, which calls `gone` when the old agent has ended.
    pub fn attached(
        mut self,
        ledger: Ledger,
        cancels: &CancelRegistry,
        gone: impl FnOnce() + Send + 'static,
    ) -> Result<(), HandoverError> {
        frame::send(&mut self.stream, Kind::Attached, &[])?;
        frame::expect(&mut self.stream, Kind::Yours)?;
        self.stream.set_read_timeout(None)?;
        if let Some(questions) = self.questions.take() {
            let questions = beside::Questions::new(questions)?;
            cancels.ask_elsewhere(Some(Elsewhere::new(move |destination, process, secret| {
                questions.cancel(destination, process, secret)
            })));
        }
        let pid = self.welcome.pid;
        let asked = cancels.clone();
        std::thread::Builder::new().name("governor-before".into()).spawn(move || {
            if let Err(error) = beside::record_for(self.stream, &ledger) {
                tracing::error!(%error, pid, "the agent before this one broke off while it had sessions");
            }
            asked.ask_elsewhere(None);
            gone();
        })?;
        Ok(())
    }
}

impl From<serde_json::Error> for HandoverError {
    fn from(error: serde_json::Error) -> Self {
        Self::Io(io::Error::from(error))
    }
}

/// For each step. The old agent puts its chain on disk in one of them.
const STEP_MAX: Duration = Duration::from_secs(30);
