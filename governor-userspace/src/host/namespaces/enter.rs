//! Work inside another network namespace.
//!
//! A socket stays in the namespace in which it was made, whoever uses it. So a thread enters, makes the
//! socket and hands it on.

use super::find::namespace_of;
use crate::engine::model::NetworkNamespace;
use crate::host::kernel::{KernelError, netns_cookie};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::{fmt, thread};
use tokio::sync::{mpsc, oneshot};

/// An open network namespace. It lives at least as long as this does.
#[derive(Debug)]
pub struct Namespace {
    id: NetworkNamespace,
    handle: File,
}

impl Namespace {
    /// The namespace of a process or thread, and what `work` does in it. `roamer` is for a thread that may go there itself;
    /// otherwise one is made for it.
    pub fn open<T: Send>(
        pid: u32,
        roamer: Option<&Roamer>,
        work: impl FnOnce() -> T + Send,
    ) -> io::Result<(Self, T)> {
        let handle = File::open(format!("/proc/{pid}/ns/net"))?;
        let look = || -> io::Result<_> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            Ok((thread_namespace(), netns_cookie(socket.as_fd()), work()))
        };
        let (inode, cookie, done) = match roamer {
            Some(roamer) => roamer.inside(&handle, look)??,
            None => inside(&handle, look)??,
        };
        let inode = inode.ok_or_else(|| io::Error::other("its number cannot be read"))?;
        let cookie = cookie.map_err(|error: KernelError| io::Error::other(error.to_string()))?;
        Ok((Self { id: NetworkNamespace { inode, cookie }, handle }, done))
    }

    /// Another descriptor of it, which keeps it as this one does.
    pub fn handle(&self) -> io::Result<File> {
        self.handle.try_clone()
    }

    pub fn id(&self) -> NetworkNamespace {
        self.id
    }

    /// Does `work` on a thread of its own inside the namespace, and waits for it.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        inside(&self.handle, work)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// The way home of a thread that goes to namespaces itself. A thread that has to be started for each piece of work comes
/// later, on a busy machine by more than the work takes, and a connection may wait for it.
#[derive(Debug)]
pub struct Roamer {
    home: File,
    /// It belongs to the thread that made it.
    _of_thread: PhantomData<*const ()>,
}

impl Roamer {
    /// For the calling thread, which must have no other work than this.
    pub fn of_this_thread() -> io::Result<Self> {
        Ok(Self { home: File::open("/proc/thread-self/ns/net")?, _of_thread: PhantomData })
    }

    fn inside<T>(&self, namespace: &File, work: impl FnOnce() -> T) -> io::Result<T> {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        let done = work();
        // Wherever this thread stays, its next work enters its own namespace: going home only lets go.
        if let Err(error) = setns(&self.home, CloneFlags::CLONE_NEWNET) {
            tracing::warn!(%error, "a thread cannot come back from a network namespace");
        }
        Ok(done)
    }
}

fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("governor-netns".into()).spawn_scoped(scope, || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the work inside a namespace failed")))
    })
}

fn thread_namespace() -> Option<u64> {
    namespace_of(u32::try_from(nix::unistd::gettid().as_raw()).ok()?)
}

/// Works in namespaces for threads that may not leave their own, and that have not the right to.
#[derive(Clone, Debug)]
pub struct Entrance(mpsc::UnboundedSender<Ask>);

struct Ask {
    namespace: Arc<Namespace>,
    errand: Errand,
}

enum Errand {
    Socket(Domain, oneshot::Sender<io::Result<Socket>>),
    /// Told whether the namespace was entered.
    Work(Box<dyn FnOnce(io::Result<()>) + Send>),
}

impl Entrance {
    /// Starts the thread that enters; it ends with the last clone. `confine` is the first that it does.
    pub fn open(confine: fn()) -> io::Result<Self> {
        let (asks, mut asked) = mpsc::unbounded_channel::<Ask>();
        let own = File::open("/proc/self/ns/net")?;
        thread::Builder::new().name("governor-entrance".into()).spawn(move || {
            confine();
            while let Some(Ask { namespace, errand }) = asked.blocking_recv() {
                match errand {
                    Errand::Socket(domain, answer) => {
                        // The connection that asked may have ended.
                        let _ = answer.send(socket_in(&namespace, domain, &own));
                    }
                    // May take a while: others must not wait for it.
                    Errand::Work(work) => work_in(namespace, work),
                }
            }
        })?;
        Ok(Self(asks))
    }

    /// A TCP socket in the namespace, non-blocking.
    pub async fn socket(&self, namespace: Arc<Namespace>, domain: Domain) -> io::Result<Socket> {
        let (answer, made) = oneshot::channel();
        self.ask(namespace, Errand::Socket(domain, answer))?;
        let socket = made.await.map_err(|_| gone())??;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Does `work` on a thread of its own inside the namespace.
    pub async fn within<T: Send + 'static>(
        &self,
        namespace: Arc<Namespace>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (answer, done) = oneshot::channel();
        let work = move |entered: io::Result<()>| {
            // Whoever asked may have ended.
            let _ = answer.send(entered.map(|()| work()));
        };
        self.ask(namespace, Errand::Work(Box::new(work)))?;
        done.await.map_err(|_| gone())?
    }

    fn ask(&self, namespace: Arc<Namespace>, errand: Errand) -> io::Result<()> {
        self.0.send(Ask { namespace, errand }).map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that enters network namespaces is gone")
}

fn socket_in(namespace: &Namespace, domain: Domain, own: &File) -> io::Result<Socket> {
    let made = setns(&namespace.handle, CloneFlags::CLONE_NEWNET)
        .map_err(io::Error::from)
        .and_then(|()| Socket::new(domain, Type::STREAM, None));
    // Wherever this thread stays, the next request enters its own: going home only lets go.
    if let Err(error) = setns(own, CloneFlags::CLONE_NEWNET) {
        tracing::warn!(%error, "a thread cannot come back from a network namespace");
    }
    made
}

fn work_in(namespace: Arc<Namespace>, work: Box<dyn FnOnce(io::Result<()>) + Send>) {
    let started = thread::Builder::new().name("governor-netns".into()).spawn(move || {
        work(setns(&namespace.handle, CloneFlags::CLONE_NEWNET).map_err(io::Error::from));
    });
    // The work is gone with the thread that could not start: whoever asked hears that.
    if let Err(error) = started {
        tracing::warn!(%error, "no thread for work in a network namespace");
    }
}
