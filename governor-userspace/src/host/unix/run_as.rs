//! Does one thing with the credentials of somebody else: connects as the client, listens as the server.
//!
//! A unix socket shows each end the process, user and group of the other as they were at connect and listen
//! (SO_PEERCRED). PostgreSQL's `peer` authentication goes by that, and so does libpq's `requirepeer`.
//!
//! On Linux credentials belong to a thread; the C library changes those of all threads together, so the system calls are
//! made directly, by a thread that does this one thing and ends. Nothing has to be put back, so nothing can fail to be.
//! Real and saved ids stay governor's own: the user cannot signal or trace the thread.
//!
//! Source: credentials(7), capabilities(7) ("Effect of user ID changes on capabilities"), unix(7).

use crate::host::kernel::Exemption;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_thread_res_gid, set_thread_res_uid};
use rustix::thread::{Gid, Uid};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// User and group that the other end is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
}

type Job = Box<dyn FnOnce() + Send>;

/// Starts the threads that connect. Those who ask are threads that read what peers send, and may not do this themselves.
#[derive(Clone, Debug)]
pub(super) struct Starter(Sender<Job>);

impl Starter {
    /// Ends when the last clone is dropped.
    pub fn new() -> io::Result<Self> {
        let (jobs, asked) = channel::<Job>();
        std::thread::Builder::new().name("governor-start".into()).spawn(move || {
            for job in asked {
                // Whoever asked learns of a thread that could not be started by the end of their channel.
                if let Err(error) = spawn(job) {
                    tracing::warn!(%error, "a thread that connects cannot be started");
                }
            }
        })?;
        Ok(Self(jobs))
    }

    fn start(&self, job: impl FnOnce() + Send + 'static) {
        // Without the thread the job is dropped, and its channel with it.
        let _ = self.0.send(Box::new(job));
    }
}

/// Connects to `path` as `ids`, within `limit`; the socket is marked as governor's own before. Called within a tokio
/// runtime.
pub(super) async fn connect_as(
    starter: &Starter,
    path: &Path,
    ids: Ids,
    limit: Duration,
    own: &Exemption,
) -> io::Result<UnixStream> {
    let deadline = Instant::now() + limit;
    loop {
        let (answer, connected) = tokio::sync::oneshot::channel();
        let path = path.to_owned();
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        own.mark(socket.as_fd()).map_err(io::Error::other)?;
        starter.start(move || {
            let result = become_ids(ids).and_then(|()| connect_on(socket, &path));
            // Whoever asked may be gone: then the connection closes.
            let _ = answer.send(result);
        });
        match connected.await {
            // The server's queue is full.
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    let reason = format!("the server accepted no connection within {limit:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
                }
                tokio::time::sleep(QUEUE_PAUSE).await;
            }
            Ok(result) => return result,
            Err(_) => return Err(io::Error::other("the connecting thread ended early")),
        }
    }
}

/// Connects without waiting: `WouldBlock` where the server's queue is full. The result is non-blocking.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    connect_on(Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?, path)
}

fn connect_on(socket: Socket, path: &Path) -> io::Result<UnixStream> {
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Makes a bound socket listen as `ids`. The result is non-blocking.
pub(super) fn listen_as(socket: Socket, ids: Ids) -> io::Result<UnixListener> {
    let thread = spawn(move || {
        become_ids(ids)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(UnixListener::from(socket))
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the listening thread ended early")))
}

fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name("governor-as".into()).stack_size(STACK_BYTES).spawn(work)
}

/// Turns the calling thread into this user and group for whoever it meets. It keeps the right to open files, which is
/// what reaching the server's socket takes.
fn become_ids(ids: Ids) -> io::Result<()> {
    // -1 is "unchanged" to the kernel; a client with that id cannot be.
    if ids.uid == u32::MAX || ids.gid == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the id -1 is nobody's"));
    }
    set_thread_res_gid(None, Gid::from_raw(ids.gid), None)?;
    set_thread_res_uid(None, Uid::from_raw(ids.uid), None)?;
    // With the user id the effective capabilities went; the permitted ones stayed, as the saved id did.
    let mut sets = capabilities(None)?;
    sets.effective |= sets.permitted & CapabilitySet::DAC_OVERRIDE;
    set_capabilities(None, sets)?;
    Ok(())
}

/// User and group as which this thread acts now.
pub(super) fn own_ids() -> Ids {
    Ids { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
}

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
const QUEUE_PAUSE: Duration = Duration::from_millis(20);
/// Three system calls need little.
const STACK_BYTES: usize = 64 << 10;
