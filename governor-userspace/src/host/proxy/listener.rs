//! The listeners that captured connections arrive at.

use super::arrival::Door;
use super::socket::StdSocket;
use super::worker::Workers;
use crate::host::kernel::{Exemption, Kernel, KernelError};
use crate::host::telemetry::{Metrics, RefusedReason};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::Mutex;
use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// The listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for captured connections on {address}: {source}")]
pub struct ListenError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// Opens the listeners that redirected connections arrive at, in the calling thread's network namespace: on
/// `count` free ports of 127.0.0.1 and, where the host has IPv6, of ::1. Several, because each can have no more
/// connections at once than there are ephemeral ports. They are marked as governor's own before they are bound,
/// so that a guard which an earlier run left in the kernel lets them.
///
/// With `early` the loopback interface need not be up yet; connections arrive as soon as it is.
pub fn bind(exemption: &Exemption, count: usize, early: bool) -> Result<Vec<StdListener>, ListenError> {
    let mut listeners = Vec::with_capacity(2 * count);
    for _ in 0..count {
        listeners.push(open((Ipv4Addr::LOCALHOST, 0).into(), exemption, early)?);
    }
    for _ in 0..count {
        match open((Ipv6Addr::LOCALHOST, 0).into(), exemption, early) {
            Ok(listener) => listeners.push(listener),
            // A host without IPv6 has nobody to redirect there.
            Err(error)
                if matches!(error.source.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)) =>
            {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(listeners)
}

/// Lets the kernel side send connections to all of these, and says which it takes: a free port may happen to be
/// one that is captured.
pub fn serve(kernel: &mut Kernel, listeners: Vec<StdListener>) -> Result<Vec<StdListener>, KernelError> {
    let mut served = Vec::with_capacity(listeners.len());
    let mut refused = None;
    for listener in listeners {
        match kernel.serve_listener(listener.as_fd()) {
            Ok(()) => served.push(listener),
            Err(error @ KernelError::ListenerPortCaptured { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if served.is_empty() => Err(error),
        _ => Ok(served),
    }
}

fn open(address: SocketAddr, exemption: &Exemption, early: bool) -> Result<StdListener, ListenError> {
    let attempt = || {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        exemption.mark(socket.as_fd()).map_err(io::Error::other)?;
        // What is accepted for a server of this host sits on that server's own port, and inherits this: without it the
        // server could not bind its port again after a restart.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(early)?;
        } else {
            socket.set_freebind_v4(early)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(StdListener::from(socket))
    };
    attempt().map_err(|source| ListenError { address, source })
}

/// A socket that listens, before it is part of a runtime. Must be non-blocking, as [`bind`] makes it.
#[derive(Debug)]
pub enum Listener {
    Tcp(StdListener),
    Unix(std::os::unix::net::UnixListener),
}

/// Every listener that governor accepts on, each with its [`Door`]. Opened and closed while it runs.
#[derive(Clone, Debug)]
pub struct Doors {
    workers: Arc<Workers>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
    accepting: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// An open door: dropping it closes its listener. What was accepted goes on.
#[derive(Debug)]
pub struct OpenDoor(AbortHandle);

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Doors {
    /// All doors close when `stop` becomes true.
    pub fn new(workers: Arc<Workers>, metrics: Arc<Metrics>, stop: watch::Receiver<bool>) -> Self {
        Self { workers, metrics, stop, accepting: Arc::default() }
    }

    /// Accepts on `listener` from now on. Called within a tokio runtime. Keep what is returned for as long as
    /// the door is to be open.
    pub fn open(&self, listener: Listener, door: Door) -> io::Result<OpenDoor> {
        let listener = match listener {
            Listener::Tcp(tcp) => {
                self.workers.shared().tend(&tcp, "a client");
                // SAFETY: a listener of the standard library has one and the same descriptor until it is dropped.
                let listener = unsafe { AsyncFd::register_with_interest(tcp, Interest::READABLE) }?;
                Accepting::Tcp { listener, is_signalled: true }
            }
            Listener::Unix(unix) => Accepting::Unix(UnixListener::from_std(unix)?),
        };
        let (workers, metrics) = (self.workers.clone(), self.metrics.clone());
        let task = tokio::spawn(accept(listener, Arc::new(door), workers, metrics, self.stop.clone()));
        let open = OpenDoor(task.abort_handle());
        let mut accepting = self.accepting.lock();
        accepting.retain(|task| !task.is_finished());
        accepting.push(task);
        Ok(open)
    }

    /// Waits until the doors are closed, after `stop` has become true.
    pub async fn closed(self) {
        let tasks = std::mem::take(&mut *self.accepting.lock());
        for task in tasks {
            // A door that was closed before was aborted.
            let _ = task.await;
        }
    }
}

#[derive(Debug)]
enum Accepting {
    Tcp {
        listener: AsyncFd<StdListener>,
        /// Nothing was accepted since the poll said that somebody waits.
        is_signalled: bool,
    },
    Unix(UnixListener),
}

impl Accepting {
    /// The next connection, and the address of its client where it has one.
    async fn accept(&mut self) -> io::Result<(StdSocket, Option<SocketAddr>)> {
        match self {
            // Not by the runtime's own listener: that enters the socket into this thread's poll, only to take it out
            // again for the worker's.
            Self::Tcp { listener, is_signalled } => {
                let attempt = |listener: &StdListener| {
                    // To be told by `accept()` costs a socket, made and thrown away.
                    if !*is_signalled && !somebody_waits(listener)? {
                        *is_signalled = true;
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    *is_signalled = false;
                    accept_one(listener)
                };
                let (socket, peer) = listener.async_io(Interest::READABLE, attempt).await?;
                Ok((StdSocket::Tcp(socket), peer))
            }
            Self::Unix(unix) => Ok((StdSocket::Unix(unix.accept().await?.0.into_std()?), None)),
        }
    }
}

fn somebody_waits(listener: &StdListener) -> io::Result<bool> {
    let mut asked = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut asked, PollTimeout::ZERO)? > 0)
}

fn accept_one(listener: &StdListener) -> io::Result<(TcpStream, Option<SocketAddr>)> {
    let accept = |address: *mut SockAddrStorage, length| {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: `address` has as much room as `length` says, and both outlive the call.
        let accepted = unsafe { libc::accept4(listener.as_raw_fd(), address.cast(), length, flags) };
        if accepted < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel made this descriptor for us a moment ago; nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
    };
    // SAFETY: where `accept` answers with success the kernel has written an address and its length.
    let (socket, address) = unsafe { SockAddr::try_init(accept) }?;
    Ok((socket.into(), address.as_socket()))
}

/// Hands each connection to a worker; returns when `stop` becomes true.
async fn accept(
    mut listener: Accepting,
    door: Arc<Door>,
    workers: Arc<Workers>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                if let Err(socket) = workers.give(socket, peer, door.clone()) {
                    workers.refuse(socket, &door);
                    metrics.connection_refused(RefusedReason::Limit);
                    tracing::warn!(
                        "closed a connection: more than the configured number are open, and clients are being told so"
                    );
                }
            }
            Err(error) => {
                // Out of descriptors or memory: the kernel keeps the connection in its queue.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
