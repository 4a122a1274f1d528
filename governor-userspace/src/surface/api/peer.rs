//! Who is at the other end of a control connection, by the kernel's word.

use crate::host::approvals::Approver;
use std::io;
use tokio::net::UnixStream;

/// Credentials of the process that connected (`SO_PEERCRED`), fixed when it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { pid: credentials.pid().unwrap_or(-1), uid: credentials.uid(), gid: credentials.gid() })
    }

    /// May change the agent itself: root, or the user that runs it.
    pub(super) fn is_administrator(self) -> bool {
        self.uid == 0 || self.uid == nix::unistd::getuid().as_raw()
    }

    /// Blocks on the user database.
    pub(super) fn approver(self) -> Approver {
        Approver::of_peer(self.pid, self.uid, self.gid)
    }
}
