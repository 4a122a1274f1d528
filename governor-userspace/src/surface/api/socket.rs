//! The control socket's file: made with its final rights, one owner at a time.
//!
//! The socket is bound under a temporary name, gets its mode and group, starts to listen, and is
//! then renamed into place, so nobody can connect to it with wider rights and no caller meets a
//! socket that does not answer. A lock beside it is held for as long as the agent lives: a file whose
//! lock is free belongs to nobody and is replaced; a taken lock names its owner.

use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Group, chown};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another governor{} serves {} already; stop it, or use another --state-dir", pid_text(*pid), path.display())]
    InUse { path: PathBuf, pid: Option<i32> },
    #[error("{} exists and is not a socket; move it away", path.display())]
    NotSocket { path: PathBuf },
    #[error("{} is longer than a socket's path may be ({SOCKET_PATH_BYTES_MAX} bytes); use a shorter --state-dir", path.display())]
    PathTooLong { path: PathBuf },
    #[error("there is no group {0:?} for the control socket")]
    NoGroup(String),
    #[error("control socket {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A listening control socket and the lock on its place.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    /// Device and inode of our own file, so that only that is removed.
    file: (u64, u64),
    listener: UnixListener,
    _lock: Flock<File>,
}

impl ControlSocket {
    /// Takes the place `path`. Mode 0660; `group` owns it where given, so that its members can
    /// connect; who may do what is decided per request.
    pub fn bind(path: impl Into<PathBuf>, group: Option<&str>) -> Result<Self, SocketError> {
        let path = path.into();
        let temporary = path.with_extension("new");
        if temporary.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(SocketError::PathTooLong { path });
        }
        let group = group.map(group_id).transpose()?;
        let lock = take_lock(&path)?;
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NotSocket { path }),
            // Somebody may serve it without our lock: an answering socket is never replaced.
            Ok(_) if UnixStream::connect(&path).is_ok() => {
                return Err(SocketError::InUse { pid: listener_pid(&path), path });
            }
            _ => {}
        }
        match listen(&path, &temporary, group) {
            Ok((listener, file)) => Ok(Self { path, file, listener, _lock: lock }),
            Err(source) => {
                let _ = fs::remove_file(&temporary);
                Err(SocketError::Io { path, source })
            }
        }
    }

    /// The listener for the runtime.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn listen(path: &Path, temporary: &Path, group: Option<Gid>) -> io::Result<(UnixListener, (u64, u64))> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(temporary)?)?;
    fs::set_permissions(temporary, fs::Permissions::from_mode(0o660))?;
    if group.is_some() {
        chown(temporary, None, group)?;
    }
    socket.listen(BACKLOG)?;
    let found = fs::symlink_metadata(temporary)?;
    fs::rename(temporary, path)?;
    Ok((socket.into(), (found.dev(), found.ino())))
}

fn take_lock(path: &Path) -> Result<Flock<File>, SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path.with_extension("lock"))
        .map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => {
            SocketError::InUse { path: path.to_owned(), pid: listener_pid(path) }
        }
        error => failed(error.into()),
    })
}

/// The process that listens on the socket, by the kernel's word.
fn listener_pid(path: &Path) -> Option<i32> {
    let stream = UnixStream::connect(path).ok()?;
    getsockopt(&stream, PeerCredentials).ok().map(|credentials| credentials.pid())
}

fn group_id(name: &str) -> Result<Gid, SocketError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        _ => Err(SocketError::NoGroup(name.into())),
    }
}

fn pid_text(pid: Option<i32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// `sun_path` holds 108 bytes with its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;
const BACKLOG: i32 = 64;
