//! A TCP connection made by a process in another cgroup and handed over to this one.
//!
//! Kernel hooks follow the cgroup in which a socket is *created*, and a process is in one cgroup as a whole,
//! so a test that speaks raw protocol needs a small helper process. The helper stays alive as long as the
//! connection does: it is the process that governor attests.

use crate::cgroup;
use anyhow::{Context, Result, bail};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The connection and the leash of the helper that made it.
#[derive(Debug)]
pub struct RemoteSocket {
    pub stream: TcpStream,
    helper: libc::pid_t,
    leash: Option<UnixStream>,
}

/// The way to the server: the same port, another kind of socket or address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dial {
    #[default]
    Plain,
    /// An IPv6 socket to `::ffff:a.b.c.d`.
    V4Mapped,
    /// `::1` in place of the server's address.
    Ipv6,
    /// `127.0.0.2` in place of the server's address.
    OtherLoopback,
    /// Multipath TCP.
    Mptcp,
    /// TCP Fast Open: the connection is made by the first bytes.
    FastOpen,
    /// Bound to a source address of its own before it connects.
    Bound,
}

impl Dial {
    fn target(self, v4: SocketAddrV4) -> SocketAddr {
        let port = v4.port();
        match self {
            Self::V4Mapped => SocketAddr::from((v4.ip().to_ipv6_mapped(), port)),
            Self::Ipv6 => SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            Self::OtherLoopback => SocketAddr::from(([127, 0, 0, 2], port)),
            Self::Plain | Self::Mptcp | Self::FastOpen | Self::Bound => v4.into(),
        }
    }
}

impl RemoteSocket {
    /// Connects to an IPv4 address from inside the cgroup at `group`.
    pub fn connect(group: &Path, address: SocketAddr) -> Result<Self> {
        Self::dial(group, address, Dial::Plain)
    }

    /// The same by another way.
    pub fn dial(group: &Path, address: SocketAddr, dial: Dial) -> Result<Self> {
        let SocketAddr::V4(v4) = address else { bail!("IPv4 only, not {address}") };
        let target = Target { address: SockaddrStorage::from(dial.target(v4)), dial };
        let procs = cgroup::procs_file(group)?;
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: the child runs `helper` only, which makes system calls and nothing else: no allocation,
        // no lock, no unwinding, so other threads' state at the moment of the fork cannot matter.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => return Err(std::io::Error::last_os_error()).context("fork"),
            0 => helper(procs.as_raw_fd(), theirs.as_raw_fd(), &target),
            _ => {}
        }
        drop(theirs);
        let fd = match receive(&ours) {
            Ok(fd) => fd,
            Err(error) => {
                drop(ours);
                reap(pid);
                return Err(error)
                    .with_context(|| format!("connecting to {address} from {}", group.display()));
            }
        };
        // SAFETY: the kernel installed this descriptor for us a moment ago; nobody else owns it.
        let stream = unsafe { TcpStream::from_raw_fd(fd) };
        let socket = Self { stream, helper: pid, leash: Some(ours) };
        socket.stream.set_nodelay(true)?;
        Ok(socket)
    }

    /// The process that made the connection, as governor attests it.
    pub fn pid(&self) -> u32 {
        self.helper.unsigned_abs()
    }
}

impl Drop for RemoteSocket {
    fn drop(&mut self) {
        self.leash.take();
        reap(self.helper);
    }
}

/// In the forked child: join the group, connect, hand the socket over, wait for the leash to end.
fn helper(procs: RawFd, leash: RawFd, target: &Target) -> ! {
    // SAFETY: system calls on descriptors that this process owns and on memory of this stack frame.
    unsafe {
        let (low, high) = if procs < leash { (procs, leash) } else { (leash, procs) };
        close_range(3, low - 1);
        close_range(low + 1, high - 1);
        close_range(high + 1, RawFd::MAX);
        let mut failed = libc::write(procs, b"0".as_ptr().cast(), 1) != 1;
        let family = i32::from((*target.address.as_ptr()).sa_family);
        let protocol = if target.dial == Dial::Mptcp { libc::IPPROTO_MPTCP } else { 0 };
        let socket = libc::socket(family, libc::SOCK_STREAM, protocol);
        failed = failed || socket < 0 || !prepare(socket, target.dial);
        failed = failed || libc::connect(socket, target.address.as_ptr(), target.address.len()) != 0;
        if failed {
            let error = (*libc::__errno_location()).to_ne_bytes();
            libc::write(leash, error.as_ptr().cast(), error.len());
            libc::_exit(1);
        }
        send_descriptor(leash, socket);
        libc::close(socket);
        let mut byte = 0_u8;
        while libc::read(leash, (&raw mut byte).cast(), 1) > 0 {}
        libc::_exit(0)
    }
}

/// Before the socket connects.
///
/// # Safety
/// The descriptor must be open.
unsafe fn prepare(socket: RawFd, dial: Dial) -> bool {
    match dial {
        Dial::FastOpen => {
            let yes: libc::c_int = 1;
            let length = size_of::<libc::c_int>() as libc::socklen_t;
            let option = libc::TCP_FASTOPEN_CONNECT;
            // SAFETY: the kernel reads one integer of this frame.
            let set = unsafe {
                libc::setsockopt(socket, libc::IPPROTO_TCP, option, (&raw const yes).cast(), length)
            };
            set == 0
        }
        Dial::Bound => {
            let source = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: 0,
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 9, 9, 9]) },
                sin_zero: [0; 8],
            };
            let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            // SAFETY: the kernel reads one address of this frame.
            unsafe { libc::bind(socket, (&raw const source).cast(), length) == 0 }
        }
        _ => true,
    }
}

/// # Safety
/// No descriptor in the range may be in use by anything that runs later in this process.
unsafe fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: a system call with plain integers; the caller answers for the descriptors.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// # Safety
/// Both descriptors must be open.
unsafe fn send_descriptor(leash: RawFd, descriptor: RawFd) {
    let mut byte = 0_u8;
    let mut data = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: all pointers are to this frame; the control buffer is aligned and long enough for one descriptor.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor);
        libc::sendmsg(leash, &raw const message, 0);
    }
}

/// The descriptor that the helper sent, or the error that it met.
fn receive(leash: &UnixStream) -> Result<RawFd> {
    let mut bytes = [0_u8; 4];
    let mut data = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control([0; CONTROL_BYTES]);
    // SAFETY: all pointers are to this frame and stay valid for the call; lengths are the buffers' own.
    let (received, descriptor) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        let received = libc::recvmsg(leash.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let descriptor = (received > 0 && !header.is_null())
            .then(|| libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned());
        (received, descriptor)
    };
    match (received, descriptor) {
        (_, Some(descriptor)) => Ok(descriptor),
        (4, None) => Err(std::io::Error::from_raw_os_error(i32::from_ne_bytes(bytes)).into()),
        _ => bail!("the helper ended without a connection"),
    }
}

fn reap(pid: libc::pid_t) {
    // SAFETY: waits for our own child, which ends when its leash does.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
}

/// Made before the fork: the child must not allocate.
struct Target {
    address: SockaddrStorage,
    dial: Dial,
}

/// `cmsghdr` needs the alignment of a word.
#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

const CONTROL_BYTES: usize = 64;
