//! A socket file held by its inode: its name may change, the handle stays with it.
//!
//! The handle is `O_PATH`: it opens nothing, needs no right to the file, and reaches the same inode whatever its name
//! has become. What changes owner or mode goes through it and never through a name, which somebody else could replace
//! by a link to another file meanwhile.
//!
//! Source: open(2), "O_PATH"; unix(7).

use super::run_as;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// One inode, for as long as there are file systems that number them anew: the time of birth tells those apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InodeId {
    pub device: u64,
    pub inode: u64,
    /// Nanoseconds since 1970; 0 where the file system does not say.
    pub born_ns: u64,
}

/// Who may connect to a socket file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A socket file.
#[derive(Debug)]
pub struct Inode {
    file: File,
    id: InodeId,
}

impl Inode {
    /// The socket with this name; `None` where there is none, or it is no socket.
    pub fn at(directory: &File, name: &OsStr) -> io::Result<Option<Self>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(directory, name, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.file_type().is_socket() {
            return Ok(None);
        }
        let born = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let born_ns = born.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        let id = InodeId { device: metadata.dev(), inode: metadata.ino(), born_ns };
        Ok(Some(Self { file, id }))
    }

    pub fn id(&self) -> InodeId {
        self.id
    }

    /// Owner and mode as they are now.
    pub fn access(&self) -> io::Result<Access> {
        let metadata = self.file.metadata()?;
        Ok(Access { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 })
    }

    /// Gives it another owner and mode, where they differ.
    pub fn set_access(&self, access: Access) -> io::Result<()> {
        let before = self.access()?;
        if (before.uid, before.gid) != (access.uid, access.gid) {
            chown(self.path(), Some(access.uid), Some(access.gid))?;
        }
        if before.mode != access.mode {
            std::fs::set_permissions(self.path(), Permissions::from_mode(access.mode))?;
        }
        Ok(())
    }

    /// Marks it as used, for those who remove what was not used for long.
    pub fn touch(&self) -> io::Result<()> {
        use nix::sys::stat::{UtimensatFlags, utimensat};
        use nix::sys::time::TimeSpec;
        let now = TimeSpec::new(0, libc::UTIME_NOW);
        utimensat(nix::fcntl::AT_FDCWD, &self.path(), &now, &now, UtimensatFlags::FollowSymlink)?;
        Ok(())
    }

    /// A name that leads to it in this process, whatever its own name is.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Whether somebody listens behind it. Asking is a connection, which the server sees.
    pub fn answers(&self) -> bool {
        match run_as::connect(&self.path()) {
            Ok(_) => true,
            // Its queue is full, so there is one.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
