//! The process at the other end of a unix socket, by the kernel's word (SO_PEERCRED).
//!
//! The kernel keeps process, effective user and group as they were at `connect()`; no hook is needed. A process number
//! may be used again after its end, so the process itself is held too (SO_PEERPIDFD) where the kernel can: what was read
//! of `/proc/PID` before [`Peer::has_ended`] answered no is about the process that connected.
//!
//! Source: unix(7), "Socket options"; pidfd_open(2).

use super::run_as::Ids;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Who connected.
#[derive(Debug)]
pub struct Peer {
    /// In governor's pid namespace; 0 where it is in none that governor sees.
    pub pid: u32,
    pub ids: Ids,
    held: Held,
}

/// The process, held beyond its number.
#[derive(Debug)]
enum Held {
    By(OwnedFd),
    /// It had ended before it could be.
    Ended,
    /// Linux before 6.5.
    NotHere,
}

impl Peer {
    /// Who is at the other end of `socket`.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let credentials = getsockopt(&socket, PeerCredentials)?;
        Ok(Self {
            pid: u32::try_from(credentials.pid()).unwrap_or(0),
            ids: Ids { uid: credentials.uid(), gid: credentials.gid() },
            held: held(socket),
        })
    }

    /// Whether the process has ended, so that its number may be another's by now. `false` where this kernel cannot tell.
    pub fn has_ended(&self) -> bool {
        match &self.held {
            Held::By(pidfd) => {
                let mut asked = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                // It is readable from the end of the process on.
                poll(&mut asked, PollTimeout::ZERO).map_or(true, |ready| ready > 0)
            }
            Held::Ended => true,
            Held::NotHere => false,
        }
    }
}

fn held(socket: BorrowedFd<'_>) -> Held {
    let mut descriptor: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `descriptor` and `length` are alive and writable for the call, and `length` is the size of the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut descriptor).cast(),
            &raw mut length,
        )
    };
    match result {
        // SAFETY: on success the kernel has made a new descriptor, which nobody else owns.
        0 if descriptor >= 0 => Held::By(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::ENOPROTOOPT) => Held::NotHere,
        _ => Held::Ended,
    }
}

/// asm-generic/socket.h
const SO_PEERPIDFD: libc::c_int = 77;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    #[test]
    fn this_process_is_its_own_peer() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(one.as_fd()).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.ids, super::super::run_as::own_ids());
        assert!(!peer.has_ended());
    }

    #[test]
    fn a_peer_that_has_ended_is_told_from_its_number() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let script =
            "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.stdin.read()";
        let mut client =
            Command::new("python3").args(["-c", script]).arg(&path).stdin(Stdio::piped()).spawn().unwrap();
        let (socket, _) = listener.accept().unwrap();
        let peer = Peer::of(socket.as_fd()).unwrap();
        assert_eq!(peer.pid, client.id());
        assert!(!peer.has_ended());
        drop(client.stdin.take());
        client.wait().unwrap();
        if !matches!(peer.held, Held::NotHere) {
            assert!(peer.has_ended());
            assert!(Peer::of(socket.as_fd()).unwrap().has_ended(), "asked after its end");
        }
    }
}
