//! The file that says when the agent was last seen alive, and how it ended.
//!
//! It is replaced by renaming, so a reader finds a whole sign or the one before; it is not flushed to disk:
//! a power cut may cost the last of them, and then the host's start tells more than the file could.

use crate::host::clock::Moment;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// How the agent that left the sign ended, as far as it could say so itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Ending {
    /// It had not ended when it left the sign.
    Governing,
    Stopped {
        reason: String,
    },
    Failed {
        reason: String,
    },
    /// The file is damaged; its time is the file's own.
    Illegible,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOfLife {
    pub version: String,
    pub pid: u32,
    pub at: Moment,
    #[serde(flatten)]
    pub ending: Ending,
    /// What its kernel programs had counted by then.
    pub refused: u64,
    pub passed: u64,
}

/// Where signs are left.
#[derive(Clone, Debug)]
pub struct LifeFile {
    path: PathBuf,
}

impl LifeFile {
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(LIFE_FILE) }
    }

    pub fn write(&self, sign: &SignOfLife) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let written = serde_json::to_vec(sign).map_err(io::Error::other).and_then(|mut json| {
            json.push(b'\n');
            file.write_all(&json)
        });
        written.and_then(|()| fs::rename(&temporary, &self.path)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    /// What the agent before left; `None` where there was none.
    pub fn read(&self) -> io::Result<Option<SignOfLife>> {
        let content = match fs::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Ok(sign) = serde_json::from_slice(&content) {
            return Ok(Some(sign));
        }
        let modified = fs::metadata(&self.path)?.modified()?;
        let unix_ns = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Ok(Some(SignOfLife {
            version: String::new(),
            pid: 0,
            at: Moment { unix_ns: u64::try_from(unix_ns).unwrap_or(u64::MAX), ..Moment::default() },
            ending: Ending::Illegible,
            refused: 0,
            passed: 0,
        }))
    }
}

pub const LIFE_FILE: &str = "life";

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(ending: Ending) -> SignOfLife {
        SignOfLife { version: "1".into(), pid: 7, at: Moment::now(), ending, refused: 3, passed: 4 }
    }

    #[test]
    fn the_last_sign_is_read_back_whatever_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let file = LifeFile::new(dir.path());
        assert_eq!(file.read().unwrap(), None);
        let reason = || "SIGTERM\n\"".to_owned();
        for ending in
            [Ending::Governing, Ending::Stopped { reason: reason() }, Ending::Failed { reason: reason() }]
        {
            let sign = sign(ending);
            file.write(&sign).unwrap();
            assert_eq!(file.read().unwrap(), Some(sign));
        }
    }

    #[test]
    fn a_damaged_sign_still_tells_when_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = LifeFile::new(dir.path());
        let before = Moment::now().unix_ns;
        for content in ["", "{\"version\":\"1\"", "\0\0\0\0", "{}"] {
            fs::write(dir.path().join(LIFE_FILE), content).unwrap();
            let found = file.read().unwrap().unwrap();
            assert_eq!((found.ending, found.at.boot.as_str()), (Ending::Illegible, ""), "{content:?}");
            // File systems keep coarser times than the clock.
            assert!(found.at.unix_ns > before - 1_000_000_000, "{content:?}");
        }
    }

    #[test]
    fn a_sign_that_cannot_be_written_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = LifeFile::new(dir.path());
        let first = sign(Ending::Governing);
        file.write(&first).unwrap();
        // In the way of the temporary file: stops root too.
        fs::create_dir(dir.path().join("life.new")).unwrap();
        assert!(file.write(&sign(Ending::Stopped { reason: "x".into() })).is_err());
        assert_eq!(file.read().unwrap(), Some(first));
    }
}
