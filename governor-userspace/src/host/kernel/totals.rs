//! What the kernel counted of governor's own sockets: read back to be compared with what governor counted.

use super::KernelError;
use super::maps::broken;
use aya::maps::{MapData, PerCpuHashMap, RingBuf};
use governor_common::totals::{FlowTotals, Totals, TotalsKey};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// One of governor's sockets at its end, as the kernel saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketTotals {
    pub cookie: u64,
    /// A connection that was captured, or that arrived, and was accepted; otherwise a marked socket that was connected.
    pub accepted: bool,
    /// In order, the peer's FIN included where [`SocketTotals::fin_received`] says so.
    pub bytes_received: u64,
    /// Without SYN; without the FIN where the kernel's state tells that it was acknowledged.
    pub payload_acked: u64,
    pub fin_received: Fin,
    /// Everything that was written reached the peer, and so did the FIN behind it.
    pub delivered: bool,
    /// CLOCK_MONOTONIC.
    pub closed_ns: u64,
    pub netns_cookie: u64,
    /// Of the captured client; 0 for an upstream socket, and for a client on another host.
    pub tgid: u32,
    pub uid: u32,
}

/// Whether the peer's FIN is among the bytes received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fin {
    No,
    Yes,
    /// The state alone does not say: `Yes` where whoever read the socket read to its end.
    IfRead,
}

impl SocketTotals {
    fn from_kernel(totals: &FlowTotals) -> Self {
        let accepted = totals.role == FlowTotals::ROLE_ACCEPTED;
        let state = totals.state_before;
        let fin_acked = matches!(state, FIN_WAIT2 | TIME_WAIT)
            || matches!(state, LAST_ACK | CLOSING) && totals.unacked == 0;
        let syn = u64::from(!accepted);
        Self {
            cookie: totals.socket_cookie,
            accepted,
            bytes_received: totals.bytes_received,
            payload_acked: totals.bytes_acked.saturating_sub(syn + u64::from(fin_acked)),
            fin_received: match state {
                CLOSE_WAIT | LAST_ACK | CLOSING | TIME_WAIT => Fin::Yes,
                FIN_WAIT2 => Fin::IfRead,
                _ => Fin::No,
            },
            delivered: matches!(state, FIN_WAIT2 | TIME_WAIT),
            closed_ns: totals.closed_ns,
            netns_cookie: totals.netns_cookie,
            tgid: totals.tgid,
            uid: totals.uid,
        }
    }
}

/// The totals of sockets that have closed, each once.
pub struct ClosedSockets(RingBuf<MapData>);

impl fmt::Debug for ClosedSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClosedSockets").finish_non_exhaustive()
    }
}

impl ClosedSockets {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// The next one that nobody has taken yet. Never waits.
    pub fn take(&mut self) -> Option<SocketTotals> {
        loop {
            let item = self.0.next()?;
            if item.len() == size_of::<FlowTotals>() {
                // SAFETY: the length is checked, `FlowTotals` is plain old data (asserted where it is defined),
                // and the read asks for no alignment.
                let totals = unsafe { item.as_ptr().cast::<FlowTotals>().read_unaligned() };
                return Some(SocketTotals::from_kernel(&totals));
            }
        }
    }
}

/// The kernel's own sums for one listener, or for the upstream sockets of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerTotals {
    pub netns_cookie: u64,
    /// `None`: upstream sockets.
    pub port: Option<u16>,
    pub opened: u64,
    pub closed: u64,
    /// Of those that closed, as the kernel counts: FINs received, SYNs and FINs acknowledged included.
    pub bytes_received: u64,
    pub bytes_acked: u64,
}

/// Reads the sums of every listener.
pub(super) fn read(
    map: &PerCpuHashMap<MapData, TotalsKey, Totals>,
) -> Result<Vec<ListenerTotals>, KernelError> {
    let mut all = Vec::new();
    for entry in map.iter() {
        let (key, per_cpu) = entry.map_err(broken("TOTALS"))?;
        let mut sum = ListenerTotals {
            netns_cookie: key.netns_cookie,
            port: (key.role == FlowTotals::ROLE_ACCEPTED).then_some(key.port),
            ..ListenerTotals::default()
        };
        for totals in per_cpu.iter() {
            sum.opened += totals.opened;
            sum.closed += totals.closed;
            sum.bytes_received += totals.bytes_received;
            sum.bytes_acked += totals.bytes_acked;
        }
        all.push(sum);
    }
    Ok(all)
}

/// The number by which the kernel's records name a socket.
pub fn socket_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the buffer is eight bytes, as `length` says, and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel says of a socket that is about to be closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastWord {
    /// As [`SocketTotals::bytes_received`], so far.
    pub bytes_received: u64,
    /// Payload that arrived and was not read.
    pub unread: u64,
    /// TCP was done with it already: the peer's end had come, by FIN or reset.
    pub is_over: bool,
}

impl LastWord {
    fn new((bytes_received, state): (u64, u16), unread: u64) -> Self {
        Self { bytes_received, unread, is_over: matches!(state, CLOSED | TIME_WAIT) }
    }
}

/// Asks for both at one moment, as far as the peer lets it. `read` bytes were read from the socket.
pub fn last_word(socket: BorrowedFd<'_>, read: u64) -> io::Result<LastWord> {
    let mut before = received(socket)?;
    let left = unread(socket)?;
    let (bytes_received, state) = before;
    // Either nothing comes any more, or nothing came between the two questions.
    if ENDED_BY_PEER.contains(&state) || bytes_received == read.saturating_add(left) {
        return Ok(LastWord::new(before, left));
    }
    for _ in 0..LAST_WORD_TRIES {
        let left = unread(socket)?;
        let after = received(socket)?;
        if before == after {
            return Ok(LastWord::new(after, left));
        }
        before = after;
    }
    Err(io::Error::other("its peer goes on sending"))
}

/// Bytes received, and the state of TCP.
fn received(socket: BorrowedFd<'_>) -> io::Result<(u64, u16)> {
    // struct tcp_info of linux/tcp.h, in which fields are only ever appended; libc's ends before this one.
    let mut info = [0_u64; 32];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the buffer is as long as `length` says, and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // Linux 4.1.
    let known = usize::try_from(length).unwrap_or(0) >= (TCPI_BYTES_RECEIVED + 1) * size_of::<u64>();
    let received = info.get(TCPI_BYTES_RECEIVED).filter(|_| known).ok_or(io::ErrorKind::Unsupported)?;
    // Its first byte is the state.
    let state = info.first().map_or(0, |first| first.to_ne_bytes()[0]);
    Ok((*received, u16::from(state)))
}

fn unread(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD (SIOCINQ) writes one int, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if result == 0 { Ok(u64::try_from(bytes).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

/// Place of `tcpi_bytes_received`, in units of eight bytes.
const TCPI_BYTES_RECEIVED: usize = 128 / 8;
/// A peer may go on sending meanwhile.
const LAST_WORD_TRIES: usize = 16;
/// linux/tcp_states.h.
const FIN_WAIT2: u16 = 5;
const TIME_WAIT: u16 = 6;
const CLOSED: u16 = 7;
const CLOSE_WAIT: u16 = 8;
const LAST_ACK: u16 = 9;
const CLOSING: u16 = 11;
/// States after the peer's FIN or reset.
const ENDED_BY_PEER: [u16; 5] = [TIME_WAIT, CLOSED, CLOSE_WAIT, LAST_ACK, CLOSING];
