//! One approval request as a file: written whole or not at all.

use crate::engine::approval::{Answer, ApprovalRequest, State};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A request and where it is in its life. This is the file's content and the API's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    #[serde(flatten)]
    pub request: ApprovalRequest,
    #[serde(flatten)]
    pub state: State,
}

impl Approval {
    pub fn is_pending(&self) -> bool {
        self.state == State::Pending
    }

    /// The state as one word: `pending`, `granted`, `refused`, `expired`, `cancelled`, `lost`.
    pub fn state_word(&self) -> &'static str {
        match &self.state {
            State::Pending => "pending",
            State::Ended { answer, .. } => answer_word(answer),
        }
    }
}

pub(super) fn answer_word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Granted { .. } => "granted",
        Answer::Refused { .. } => "refused",
        Answer::Expired => "expired",
        Answer::Cancelled => "cancelled",
        Answer::Lost { .. } => "lost",
    }
}

/// Which requests a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateFilter {
    #[default]
    Pending,
    Ended,
    All,
}

/// Writes the file through a temporary one, so that a crash leaves the old or the new content, and
/// on disk before this returns. Answers the number of bytes.
pub(super) fn write(dir: &Path, approval: &Approval) -> io::Result<u64> {
    let text = serde_json::to_vec_pretty(approval)?;
    let temporary = dir.join(format!("{}.{TEMPORARY}", approval.request.id));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(&text).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path(dir, &approval.request.id))) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(dir)?.sync_all()?;
    Ok(text.len() as u64)
}

pub(super) fn read(dir: &Path, id: &str) -> io::Result<Approval> {
    let text = fs::read(path(dir, id))?;
    let approval: Approval = serde_json::from_slice(&text)?;
    if approval.request.id != id {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file's name is not its request's id"));
    }
    Ok(approval)
}

pub(super) fn remove(dir: &Path, id: &str) -> io::Result<()> {
    fs::remove_file(path(dir, id))
}

pub(super) fn path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}.json"))
}

/// Extension of files that a crash may leave behind; they hold nothing that was promised.
pub(super) const TEMPORARY: &str = "tmp";
