//! One path of a server's socket: who is there, and the steps of taking it over and giving it back.
//!
//! ```text
//! DIR/.s.PGSQL.5432                 clients connect here: the server's socket, or governor's
//! DIR/.governor/.s.PGSQL.5432       the server's, while governor's is at the path
//! DIR/.governor/.s.PGSQL.5432.next  governor's next one, before it is at the path
//! ```
//!
//! governor's socket is made aside, complete and listening, before it is needed; then the two names are exchanged in one
//! step (`RENAME_EXCHANGE`): at no moment is the path empty, or in front of nobody. The server goes on accepting at its
//! inode, whose name it never asks for again. Giving back is the same step once more.
//!
//! Which of two sockets is governor's is known by inodes that were written down *before* the exchange ([`Note`]), so
//! that a start after a crash at any point finds out ([`Place::standing`]).
//!
//! Invariant: the server's inode is never removed while somebody listens behind it.

use super::error::UnixError;
use super::inode::{Access, Inode, InodeId};
use super::run_as::{self, Ids};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, RenameFlags, open, openat, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A socket's path, with its directory open.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    name: OsString,
    directory: File,
    /// governor's directory beside it.
    aside: File,
    aside_path: PathBuf,
    next: Option<Next>,
    /// One governor for each path.
    _lock: Flock<File>,
}

/// A socket of ours that only has to be put at the path.
#[derive(Debug)]
struct Next {
    listener: UnixListener,
    own: Inode,
    /// As whom it listens.
    ids: Ids,
}

/// What is to be written down, on disk, before names are exchanged: this inode is governor's, and the server's socket has
/// this owner and mode, where that is known by then.
pub type Note<'a> = &'a mut dyn FnMut(InodeId, Option<Access>) -> Result<(), UnixError>;

/// Who is at the path.
#[derive(Debug)]
pub enum Standing {
    /// The server itself.
    Server,
    /// A governor that is gone, or nobody; the server's inode is aside.
    Aside { server: Inode, left: Option<Inode> },
    /// No server.
    Nobody,
}

/// governor is at the path.
#[derive(Debug)]
pub struct Taken {
    /// Listens, non-blocking.
    pub listener: UnixListener,
    /// Of governor's own socket.
    pub id: InodeId,
    pub server: Inode,
    /// Owner and mode that the server's socket had.
    pub access: Access,
}

impl Place {
    /// Opens the directory of `path` and makes governor's own beside it.
    pub fn open(path: &Path) -> Result<Self, UnixError> {
        let no_name = || UnixError::NoName { path: path.into() };
        let (parent, name) =
            path.parent().zip(path.file_name()).filter(|_| path.is_absolute()).ok_or_else(no_name)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = File::from(open(parent, flags, Mode::empty()).map_err(UnixError::io(parent))?);
        let aside_path = parent.join(ASIDE);
        let aside = private_directory(&directory, &aside_path)?;
        let mut lock_name = name.to_owned();
        lock_name.push(LOCK);
        let flags = OFlag::O_CREAT | OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let lock = openat(&aside, lock_name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let lock = File::from(lock.map_err(UnixError::io(&aside_path))?);
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => UnixError::Busy { path: path.into() },
            other => UnixError::Io { path: path.into(), source: other.into() },
        })?;
        Ok(Self {
            path: path.into(),
            name: name.into(),
            directory,
            aside,
            aside_path,
            next: None,
            _lock: lock,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads into the directory that was opened.
    pub fn is_current(&self) -> bool {
        let now = self.path.parent().and_then(|parent| std::fs::metadata(parent).ok());
        let opened = self.directory.metadata().ok();
        now.zip(opened).is_some_and(|(now, opened)| (now.dev(), now.ino()) == (opened.dev(), opened.ino()))
    }

    /// The socket at the path now.
    pub fn at_path(&self) -> Result<Option<Inode>, UnixError> {
        Inode::at(&self.directory, &self.name).map_err(UnixError::io(&self.path))
    }

    fn inode_aside(&self, name: &OsStr) -> Result<Option<Inode>, UnixError> {
        Inode::at(&self.aside, name).map_err(UnixError::io(&self.aside_path))
    }

    /// Makes governor's next socket, so that taking the path is one step when a server makes its own. As whom it
    /// listens: the owner of the last server's socket, or of the directory.
    pub fn prepare(
        &mut self,
        ids: Option<Ids>,
        access: Option<Access>,
        note: Note<'_>,
    ) -> Result<(), UnixError> {
        if self.next.is_some() {
            return Ok(());
        }
        let owner = self.directory.metadata().map_err(UnixError::io(&self.path))?;
        let ids = ids.unwrap_or(Ids { uid: owner.uid(), gid: owner.gid() });
        self.next = Some(self.make(ids, access, note)?);
        Ok(())
    }

    /// Finds out who is at the path; `own` are the inodes that governor wrote down. For a start: while governor runs, it
    /// knows its own inode.
    pub fn standing(&self, own: &[InodeId]) -> Result<Standing, UnixError> {
        let is_own = |inode: &Inode| own.contains(&inode.id());
        // A crash between the exchange and what follows it left the server's inode under the name of ours.
        if self.next.is_none()
            && let Some(next) = self.inode_aside(&self.next_name())?
            && !is_own(&next)
            && next.answers()
        {
            self.keep_aside()?;
        }
        Ok(match (self.at_path()?, self.inode_aside(&self.name)?) {
            (Some(left), Some(server)) if is_own(&left) => Standing::Aside { server, left: Some(left) },
            // Nothing was written down, or it was lost: a governor that is gone does not answer.
            (Some(left), Some(server)) if !left.answers() && server.answers() => {
                Standing::Aside { server, left: Some(left) }
            }
            // The server's inode is gone: what is at the path is in front of nobody.
            (Some(left), None) if is_own(&left) => Standing::Nobody,
            // What is aside is of a server that was started anew meanwhile.
            (Some(_), _) => Standing::Server,
            (None, Some(server)) if server.answers() => Standing::Aside { server, left: None },
            (None, _) => Standing::Nobody,
        })
    }

    /// Takes the path over from the server, whose socket was just found at it. `mode`: other permissions than the
    /// server's own.
    pub fn take(&mut self, server: &Inode, mode: Option<u32>, note: Note<'_>) -> Result<Taken, UnixError> {
        let access = server.access().map_err(UnixError::io(&self.path))?;
        let shown = |access: Access| Access { mode: mode.unwrap_or(access.mode), ..access };
        let ids = Ids { uid: access.uid, gid: access.gid };
        let Next { listener, own, .. } = match self.next.take().filter(|next| next.ids.uid == ids.uid) {
            Some(next) => next,
            None => self.make(ids, Some(access), note)?,
        };
        own.set_access(shown(access)).map_err(UnixError::io(&self.path))?;
        self.exchange()?;
        let Some(server) = self.inode_aside(&self.next_name())? else {
            // Put it back as it was, whatever it is.
            self.exchange()?;
            self.remove(&self.next_name())?;
            return Err(UnixError::Replaced { path: self.path.clone() });
        };
        // A server sets owner and mode between binding its socket and listening; where it did so just now, that counts.
        let now = server.access().map_err(UnixError::io(&self.path))?;
        if now != access {
            own.set_access(shown(now)).map_err(UnixError::io(&self.path))?;
        }
        server.set_access(private_access()).map_err(UnixError::io(&self.aside_path))?;
        self.keep_aside()?;
        Ok(Taken { listener, id: own.id(), server, access: now })
    }

    /// Puts a listener of our own in front of a server that is aside already.
    pub fn adopt(
        &mut self,
        server: Inode,
        left: Option<&Inode>,
        access: Option<Access>,
        mode: Option<u32>,
        note: Note<'_>,
    ) -> Result<Taken, UnixError> {
        // What an earlier governor left at the path has the owner and mode that clients are used to.
        let at_path = left.map(Inode::access).transpose().map_err(UnixError::io(&self.path))?;
        let aside = server.access().map_err(UnixError::io(&self.aside_path))?;
        let original = access.or(at_path).unwrap_or(aside);
        let shown = match (mode, at_path) {
            (Some(mode), _) => Access { mode, ..original },
            (None, Some(access)) => access,
            (None, None) => original,
        };
        let ids = Ids { uid: original.uid, gid: original.gid };
        self.next = None;
        let Next { listener, own, .. } = self.make(ids, Some(original), note)?;
        own.set_access(shown).map_err(UnixError::io(&self.path))?;
        // It may have been left as it was by a crash between two steps.
        server.set_access(private_access()).map_err(UnixError::io(&self.aside_path))?;
        self.rename(&self.next_name(), &self.directory)?;
        Ok(Taken { listener, id: own.id(), server, access: original })
    }

    /// Gives the path back to the server; `own` are the inodes that governor wrote down. Leaves nothing behind but the
    /// directory, if other sockets still need it.
    pub fn give_back(self, own: &[InodeId], access: Option<Access>) -> Result<(), UnixError> {
        if let Standing::Aside { server, left } = self.standing(own)? {
            let at_path = left.as_ref().map(Inode::access).transpose().map_err(UnixError::io(&self.path))?;
            if let Some(access) = access.or(at_path) {
                server.set_access(access).map_err(UnixError::io(&self.path))?;
            }
            // Replaces governor's own, in one step.
            self.rename(&self.name, &self.directory)?;
        } else if let Some(left) = self.at_path()?
            && own.contains(&left.id())
        {
            // In front of nobody: the server is gone, and so is its inode.
            unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)
                .map_err(UnixError::io(&self.path))?;
        }
        self.clear()
    }

    /// Removes what is aside of a server that is gone, with all files of governor's.
    fn clear(self) -> Result<(), UnixError> {
        for ending in ["", NEXT, LOCK] {
            let mut name = self.name.clone();
            name.push(ending);
            self.remove(&name)?;
        }
        match unlinkat(&self.directory, ASIDE, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOENT) => Ok(()),
            Err(error) => Err(UnixError::Io { path: self.aside_path, source: error.into() }),
        }
    }

    /// Makes a socket of ours aside: written down, listening as `ids`.
    fn make(&self, ids: Ids, access: Option<Access>, note: Note<'_>) -> Result<Next, UnixError> {
        let name = self.next_name();
        let path = self.aside_path.join(&name);
        let failed = |source: std::io::Error| UnixError::Io { path: path.clone(), source };
        self.remove(&name)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        // A name in a socket's address has at most 107 bytes; through the open directory it is always short enough.
        let address = SockAddr::unix(&path)
            .or_else(|_| {
                let short = PathBuf::from(format!("/proc/self/fd/{}", self.aside.as_raw_fd()));
                SockAddr::unix(short.join(&name))
            })
            .map_err(failed)?;
        socket.bind(&address).map_err(failed)?;
        let own = self.inode_aside(&name)?.ok_or_else(|| UnixError::Replaced { path: path.clone() })?;
        note(own.id(), access)?;
        let listener = run_as::listen_as(socket, ids).map_err(failed)?;
        Ok(Next { listener, own, ids })
    }

    /// Exchanges governor's next socket with what is at the path.
    fn exchange(&self) -> Result<(), UnixError> {
        let exchanged = renameat2(
            &self.aside,
            self.next_name().as_os_str(),
            &self.directory,
            self.name.as_os_str(),
            RenameFlags::RENAME_EXCHANGE,
        );
        match exchanged {
            Ok(()) => Ok(()),
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                Err(UnixError::NoExchange { path: self.path.clone() })
            }
            Err(error) => Err(UnixError::Io { path: self.path.clone(), source: error.into() }),
        }
    }

    /// What came from the path gets its lasting name; the inode of a server before it goes.
    fn keep_aside(&self) -> Result<(), UnixError> {
        self.rename(&self.next_name(), &self.aside)
    }

    /// From `name` aside to the socket's own name.
    fn rename(&self, name: &OsStr, to: &File) -> Result<(), UnixError> {
        renameat2(&self.aside, name, to, self.name.as_os_str(), RenameFlags::empty())
            .map_err(UnixError::io(&self.path))
    }

    fn next_name(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(NEXT);
        name
    }

    fn remove(&self, name: &OsStr) -> Result<(), UnixError> {
        match unlinkat(&self.aside, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(UnixError::Io { path: self.aside_path.join(name), source: error.into() }),
        }
    }
}

/// Opens governor's directory, making it where it is missing. Somebody else's, or one that others may enter, is refused.
fn private_directory(parent: &File, path: &Path) -> Result<File, UnixError> {
    match mkdirat(parent, ASIDE, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(UnixError::Io { path: path.into(), source: error.into() }),
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let owner = run_as::own_ids().uid;
    let not_private = || UnixError::NotPrivate { path: path.into(), owner };
    let directory = match openat(parent, ASIDE, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(not_private()),
        Err(error) => return Err(UnixError::Io { path: path.into(), source: error.into() }),
    };
    let metadata = directory.metadata().map_err(UnixError::io(path))?;
    if metadata.uid() != owner || metadata.mode() & 0o077 != 0 {
        return Err(not_private());
    }
    Ok(directory)
}

/// Nobody but governor connects to the server's inode, by whatever name, link or handle.
fn private_access() -> Access {
    let Ids { uid, gid } = run_as::own_ids();
    Access { uid, gid, mode: 0o600 }
}

/// Hidden, and no name that a server would give to a socket.
const ASIDE: &str = ".governor";
const NEXT: &str = ".next";
const LOCK: &str = ".lock";

#[cfg(test)]
mod tests;
