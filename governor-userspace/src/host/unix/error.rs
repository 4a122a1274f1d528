//! Why a server's socket could not be taken over, or given back.

use std::io;
use std::path::PathBuf;

/// Names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{} is not governor's own: it must be a directory of uid {owner} that nobody else may enter; remove it",
        path.display()
    )]
    NotPrivate { path: PathBuf, owner: u32 },
    #[error("{} is taken over by another governor; stop that one first", path.display())]
    Busy { path: PathBuf },
    #[error("the file system of {} cannot exchange two names, which taking over a socket needs", path.display())]
    NoExchange { path: PathBuf },
    #[error("{} names no file in a directory", path.display())]
    NoName { path: PathBuf },
    #[error("what was at {} is no socket any more", path.display())]
    Replaced { path: PathBuf },
}

impl UnixError {
    /// For `map_err`: an error of the system about `path`.
    pub(super) fn io<E: Into<io::Error>>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |error| Self::Io { path, source: error.into() }
    }
}
