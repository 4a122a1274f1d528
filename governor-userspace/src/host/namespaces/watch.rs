//! Programs that were just started, as the kernel's process connector tells them.
//!
//! A program takes milliseconds from its start to its first connection: time enough to open a listener in a
//! namespace that it is the first in. Only told in the host's own pid and network namespace, and only with
//! CAP_NET_ADMIN; without it namespaces are found a little later.
//!
//! Source: Linux `Documentation/driver-api/connector.rst`, `linux/cn_proc.h`.

use nix::sys::socket::{NetlinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The stream of programs that start.
#[derive(Debug)]
pub struct ExecWatch(Socket);

impl ExecWatch {
    /// Subscribes. `next_start` answers at least every `pause`.
    pub fn open(pause: Duration) -> io::Result<Self> {
        let kind = Type::DGRAM;
        let socket =
            Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(Protocol::from(NETLINK_CONNECTOR)))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, CN_IDX_PROC))?;
        // The second form, of Linux 6.6, leaves out all but program starts; older kernels ignore it.
        socket.send(&request(&[PROC_CN_MCAST_LISTEN]))?;
        socket.send(&request(&[PROC_CN_MCAST_LISTEN, PROC_EVENT_EXEC]))?;
        socket.set_read_timeout(Some(pause))?;
        Ok(Self(socket))
    }

    /// The next program's process; `None` when nothing is told, which includes what was told too fast.
    pub fn next_start(&mut self) -> io::Result<Option<u32>> {
        let mut message = [0_u8; MESSAGE_BYTES_MAX];
        match self.0.read(&mut message) {
            Ok(length) => Ok(message.get(..length).and_then(started)),
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The process of an exec event; a message of another kind is none.
fn started(message: &[u8]) -> Option<u32> {
    let word = |at: usize| Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?));
    let event = NETLINK_HEADER_BYTES + CONNECTOR_HEADER_BYTES;
    let is_process_event = word(NETLINK_HEADER_BYTES)? == CN_IDX_PROC;
    // what, cpu, timestamp (8 bytes), process_pid, process_tgid
    (is_process_event && word(event)? == PROC_EVENT_EXEC).then(|| word(event + 20)).flatten()
}

/// A netlink message to the connector that carries these words.
fn request(words: &[u32]) -> Vec<u8> {
    let data_bytes = words.len() * 4;
    let total_bytes = NETLINK_HEADER_BYTES + CONNECTOR_HEADER_BYTES + data_bytes;
    let mut message = Vec::with_capacity(total_bytes);
    // nlmsghdr: len, type, flags, seq, pid
    message.extend(u32::try_from(total_bytes).unwrap_or_default().to_ne_bytes());
    message.extend(NLMSG_DONE.to_ne_bytes());
    message.extend([0; 10]);
    // cn_msg: idx, val, seq, ack, len, flags
    for word in [CN_IDX_PROC, CN_VAL_PROC, 0, 0] {
        message.extend(word.to_ne_bytes());
    }
    message.extend(u16::try_from(data_bytes).unwrap_or_default().to_ne_bytes());
    message.extend([0; 2]);
    for word in words {
        message.extend(word.to_ne_bytes());
    }
    message
}

const NETLINK_CONNECTOR: i32 = 11;
const NLMSG_DONE: u16 = 3;
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_EXEC: u32 = 2;
const NETLINK_HEADER_BYTES: usize = 16;
const CONNECTOR_HEADER_BYTES: usize = 20;
const MESSAGE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_exec_event_names_a_process() {
        let mut message = request(&[PROC_EVENT_EXEC, 0, 0, 0, 4711, 4712]);
        assert_eq!(started(&message), Some(4712));
        for length in 0..message.len() {
            assert_eq!(started(&message[..length]), None, "{length}");
        }
        message[NETLINK_HEADER_BYTES + CONNECTOR_HEADER_BYTES] = 1;
        assert_eq!(started(&message), None, "a fork");
        message[NETLINK_HEADER_BYTES] = 9;
        assert_eq!(started(&message), None, "another connector");
    }
}
