//! Which sockets are taken over, on disk before it is done: what a start after a crash, and `governor detach`, go by.

use super::error::UnixError;
use super::inode::{Access, InodeId};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One socket that is, or was about to be, taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub path: PathBuf,
    /// Inodes of governor's own sockets for it, the newest last.
    pub own: Vec<InodeId>,
    /// Owner and mode of the server's socket, where clients are shown another mode.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub access: Option<Access>,
}

/// The file in the state directory.
#[derive(Debug)]
pub struct Journal {
    file: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    sockets: Vec<Entry>,
}

/// Nobody else keeps sockets of this state directory while this is there.
#[derive(Debug)]
pub struct JournalLock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl JournalLock {
    /// [`UnixError::Busy`] where another agent keeps them. What the journal says is certain only under the lock: until it
    /// lets go, the other one goes on writing.
    pub fn take(state_dir: &Path) -> Result<Self, UnixError> {
        let path = state_dir.join(LOCK_FILE);
        let mut how = OpenOptions::new();
        let file = how.write(true).create(true).truncate(false).mode(0o600).open(&path);
        match Flock::lock(file.map_err(UnixError::io(&path))?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Err(UnixError::Busy { path }),
            Err((_, other)) => Err(UnixError::Io { path, source: other.into() }),
        }
    }
}

impl Journal {
    /// Reads what earlier runs wrote down. A file that cannot be understood is an error: what it says must not be lost.
    pub fn open(state_dir: &Path) -> Result<Self, UnixError> {
        let file = state_dir.join(FILE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { file, entries: Vec::new() });
            }
            Err(source) => return Err(UnixError::Io { path: file, source }),
        };
        let written: Written = serde_json::from_slice(&text).map_err(UnixError::io(&file))?;
        if written.format != FORMAT_VERSION {
            let source = io::Error::other(format!("format {} is not known here", written.format));
            return Err(UnixError::Io { path: file, source });
        }
        Ok(Self { file, entries: written.sockets })
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn entry(&self, path: &Path) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == path)
    }

    /// Inodes at `path` that are governor's.
    pub fn own(&self, path: &Path) -> &[InodeId] {
        self.entry(path).map_or(&[], |entry| &entry.own)
    }

    /// Another inode is governor's. On disk when this returns.
    pub fn add(&mut self, path: &Path, id: InodeId, access: Option<Access>) -> Result<(), UnixError> {
        match self.entries.iter_mut().find(|entry| entry.path == path) {
            Some(entry) => {
                entry.own.push(id);
                // Old ones are long gone; a few are kept for what a crash may have left.
                let surplus = entry.own.len().saturating_sub(OWN_COUNT_MAX);
                entry.own.drain(..surplus);
                entry.access = access;
            }
            None => self.entries.push(Entry { path: path.into(), own: vec![id], access }),
        }
        self.save()
    }

    /// The server's socket has this owner and mode. On disk when this returns.
    pub fn set_access(&mut self, path: &Path, access: Access) -> Result<(), UnixError> {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.path == path) {
            entry.access = Some(access);
        }
        self.save()
    }

    /// Nothing of governor's is at `path` any more.
    pub fn remove(&mut self, path: &Path) -> Result<(), UnixError> {
        self.entries.retain(|entry| entry.path != path);
        self.save()
    }

    fn save(&self) -> Result<(), UnixError> {
        self.write().map_err(UnixError::io(&self.file))
    }

    fn write(&self) -> io::Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("."));
        if self.entries.is_empty() {
            match fs::remove_file(&self.file) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
            return File::open(directory)?.sync_all();
        }
        let text = serde_json::to_vec(&Written { format: FORMAT_VERSION, sockets: self.entries.clone() })?;
        let temporary = self.file.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, &self.file)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(directory)?.sync_all()
    }
}

const FILE: &str = "unix-sockets.json";
const LOCK_FILE: &str = "unix-sockets.lock";
const FORMAT_VERSION: u32 = 1;
const OWN_COUNT_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(inode: u64) -> InodeId {
        InodeId { device: 1, inode, born_ns: 2 }
    }

    #[test]
    fn what_was_written_down_is_read_again_and_an_empty_one_leaves_no_file() {
        let state = tempfile::tempdir().unwrap();
        let (one, two) = (Path::new("/run/a"), Path::new("/run/b"));
        let mut journal = Journal::open(state.path()).unwrap();
        let access = Access { uid: 1, gid: 2, mode: 0o700 };
        journal.add(one, id(7), None).unwrap();
        journal.add(one, id(8), None).unwrap();
        journal.add(two, id(9), Some(access)).unwrap();
        let mut again = Journal::open(state.path()).unwrap();
        assert_eq!(again.own(one), [id(7), id(8)]);
        assert_eq!(again.entry(two).unwrap().access, Some(access));
        again.remove(one).unwrap();
        again.remove(two).unwrap();
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_is_not_understood_is_an_error() {
        let state = tempfile::tempdir().unwrap();
        for text in ["{", "{\"format\":2,\"sockets\":[]}"] {
            fs::write(state.path().join(FILE), text).unwrap();
            assert!(Journal::open(state.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let state = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(state.path()).unwrap();
        for inode in 0..50 {
            journal.add(Path::new("/run/a"), id(inode), None).unwrap();
        }
        assert_eq!(journal.own(Path::new("/run/a")).len(), OWN_COUNT_MAX);
        assert_eq!(journal.own(Path::new("/run/a")).last(), Some(&id(49)));
    }
}
