//! `sock_diag` messages about unix sockets: pure, and bounded by what the kernel sent.
//!
//! An accepted socket carries the file of the socket that it was accepted on, whatever the path of that has become, and the
//! inode of the socket at the other end.
//!
//! Source: sock_diag(7), linux/unix_diag.h. Numbers are in host order.

use super::message::{HEADER_BYTES, NLM_F_DUMP, NLM_F_REQUEST, SOCK_DIAG_BY_FAMILY};
use super::message::{aligned, bodies, malformed, u16_at, u32_at};
use std::io;

/// One accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnixConnection {
    /// Of the accepted socket.
    pub inode: u32,
    /// Of the client's.
    pub peer: u32,
    /// Inode number and device of the socket file, as far as the kernel says them: 32 bits of the one, and the other as
    /// it numbers devices itself.
    pub file: (u32, u32),
}

impl UnixConnection {
    /// Whether it was accepted at the file with these numbers, as stat(2) gives them.
    pub fn is_of(&self, device: u64, inode: u64) -> bool {
        let kernels = libc::major(device) << 20 | libc::minor(device);
        self.file == ((inode & u64::from(u32::MAX)) as u32, kernels)
    }
}

/// A request for every connected unix socket.
pub(super) fn list() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.extend_from_slice(&(REQUEST_BYTES as u32).to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // Sequence number and port id: one request at a time on a socket of its own.
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[AF_UNIX, 0, 0, 0]);
    bytes.extend_from_slice(&ESTABLISHED.to_ne_bytes());
    // Of any inode.
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(&(UDIAG_SHOW_VFS | UDIAG_SHOW_PEER).to_ne_bytes());
    // Any cookie.
    bytes.extend_from_slice(&[0xff; 8]);
    bytes
}

/// Reads one datagram: the connections that were accepted at a file, and whether the list is complete.
pub(super) fn answer(datagram: &[u8]) -> io::Result<(Vec<UnixConnection>, bool)> {
    let (bodies, done) = bodies(datagram)?;
    let mut connections = Vec::new();
    for body in bodies {
        // `struct unix_diag_msg`, then attributes.
        let inode = u32_at(body, 4).ok_or_else(malformed)?;
        let (mut file, mut peer) = (None, None);
        let mut attributes = body.get(MESSAGE_BYTES..).ok_or_else(malformed)?;
        while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
            let length = usize::from(length);
            let value = attributes.get(4..length).ok_or_else(malformed)?;
            match kind {
                UNIX_DIAG_VFS => file = u32_at(value, 0).zip(u32_at(value, 4)),
                UNIX_DIAG_PEER => peer = u32_at(value, 0),
                _ => {}
            }
            attributes = attributes.get(aligned(length)..).unwrap_or_default();
        }
        // The client's end has no file.
        if let (Some(file), Some(peer)) = (file, peer) {
            connections.push(UnixConnection { inode, peer, file });
        }
    }
    Ok((connections, done))
}

const AF_UNIX: u8 = 1;
const ESTABLISHED: u32 = 1 << 1;
const UDIAG_SHOW_VFS: u32 = 2;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_VFS: u16 = 1;
const UNIX_DIAG_PEER: u16 = 2;
/// Header, then `struct unix_diag_req`.
const REQUEST_BYTES: usize = HEADER_BYTES + 24;
/// `struct unix_diag_msg`.
const MESSAGE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sockdiag::Diag;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn inode(socket: &impl AsRawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn an_accepted_connection_is_found_by_its_file_whatever_that_is_called() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let moved = directory.path().join("moved");
        std::fs::rename(&path, &moved).unwrap();
        let file = std::fs::metadata(&moved).unwrap();
        let all = Diag::here().unwrap().unix_connections().unwrap();
        let found: Vec<_> = all.iter().filter(|found| found.is_of(file.dev(), file.ino())).collect();
        let [found] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((u64::from(found.inode), u64::from(found.peer)), (inode(&accepted), inode(&client)));
    }

    #[test]
    fn bytes_that_do_not_fit_are_an_error_and_never_a_panic() {
        let mut body = vec![AF_UNIX, 1, 1, 0];
        body.extend_from_slice(&7_u32.to_ne_bytes());
        body.extend_from_slice(&[0; 8]);
        for (kind, value) in [(UNIX_DIAG_VFS, [1, 2].as_slice()), (UNIX_DIAG_PEER, &[3])] {
            body.extend_from_slice(&(4 + 4 * value.len() as u16).to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            value.iter().for_each(|number: &u32| body.extend_from_slice(&number.to_ne_bytes()));
        }
        let mut bytes = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(&body);
        let expected = UnixConnection { inode: 7, peer: 3, file: (1, 2) };
        assert_eq!(answer(&bytes).unwrap(), (vec![expected], false));
        for length in 0..bytes.len() {
            let _ = answer(&bytes[..length]);
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = bytes.clone();
                broken[length] = value;
                let _ = answer(&broken);
            }
        }
    }
}
