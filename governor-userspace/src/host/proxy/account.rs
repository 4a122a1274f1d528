//! Counts what the sockets of one connection carried, where they are read and written: below TLS, as the kernel does.
//!
//! ```text
//! Account (one for each captured connection) ─ counted() ─▶ Metered socket ─ drop ─▶ its count, back into the account
//!   └ settle(): all sockets are closed, their sums stand in the session's last record
//! ```
//! Sockets of unix kind are counted the same way, though the kernel keeps nothing to compare that with.
//!
//! Invariant: the count of every metered socket reaches the [`Books`], whatever becomes of its session: settled ones as
//! the session's, those of a connection without a session as refused, all others as accounted for by nobody.

use super::socket::Socket;
use crate::engine::audit::{Accounted, SessionSockets, Side, SocketCount};
use crate::engine::model::SessionId;
use crate::host::completeness::Books;
use crate::host::kernel::{last_word, socket_cookie};
use parking_lot::Mutex;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Accounts for the sockets of one captured connection. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Account(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    books: Arc<Books>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    session: Option<SessionId>,
    /// Closed, and not settled.
    closed: Vec<Closed>,
    /// The session's last record is written: what closes now is late.
    settled: bool,
}

/// What a socket carried.
#[derive(Clone, Debug)]
enum Closed {
    Tcp(SocketCount),
    Unix { side: Side, read: u64, written: u64 },
}

impl Closed {
    fn tell(self, books: &Books, accounted: Accounted) {
        match self {
            Self::Tcp(count) => books.ended(count, accounted),
            Self::Unix { side, read, written } => books.unix_ended(side, read, written, accounted),
        }
    }
}

impl Account {
    pub fn new(books: Arc<Books>) -> Self {
        Self(Arc::new(Shared { books, kept: Mutex::default() }))
    }

    /// From now on there is a session that has to account for all of it.
    pub fn begin(&self, session: SessionId) {
        self.0.kept.lock().session = Some(session);
    }

    /// Counts what the socket carries from here on; nothing may have been read or written before.
    pub fn counted(&self, socket: Socket, side: Side) -> Socket {
        let tcp = match socket {
            Socket::Tcp(tcp) => tcp,
            Socket::Unix(_) => {
                self.0.books.unix_opened(side);
                return self.metered(socket, side, 0);
            }
            Socket::Metered(_) => return socket,
        };
        match socket_cookie(tcp.as_fd()) {
            Ok(cookie) => {
                self.0.books.opened(side, cookie);
                self.metered(Socket::Tcp(tcp), side, cookie)
            }
            Err(error) => {
                // The kernel will tell of a socket that nobody accounts for: not hidden, and not fatal.
                tracing::error!(%error, "a socket cannot be counted");
                Socket::Tcp(tcp)
            }
        }
    }

    fn metered(&self, socket: Socket, side: Side, cookie: u64) -> Socket {
        let count = SocketCount { cookie, side, read: 0, unread: 0, written: 0, arrived: 0, was_over: false };
        Socket::Metered(Metered { socket: Box::new(socket), count, account: self.clone() })
    }

    /// The sums of all sockets that have closed, for the session's last record.
    pub fn sums(&self) -> SessionSockets {
        let mut sums = SessionSockets::default();
        for count in &self.0.kept.lock().closed {
            match count {
                Closed::Tcp(count) => sums.add(count.side, count.read, count.written),
                Closed::Unix { side, read, written } => sums.add_unix(*side, *read, *written),
            }
        }
        sums
    }

    /// That record is written.
    pub fn settle(&self) {
        let mut kept = self.0.kept.lock();
        kept.settled = true;
        let closed = std::mem::take(&mut kept.closed);
        if let Some(session) = &kept.session {
            for count in closed {
                count.tell(&self.0.books, Accounted::Session(session.clone()));
            }
        }
    }
}

impl Drop for Shared {
    /// What nobody settled.
    fn drop(&mut self) {
        let Kept { session, closed, .. } = std::mem::take(self.kept.get_mut());
        for count in closed {
            let accounted = session.clone().map_or(Accounted::Refused, Accounted::Nowhere);
            count.tell(&self.books, accounted);
        }
    }
}

/// A socket whose bytes are counted.
#[derive(Debug)]
pub(super) struct Metered {
    /// Boxed, as a socket may hold this.
    pub socket: Box<Socket>,
    count: SocketCount,
    account: Account,
}

impl Drop for Metered {
    fn drop(&mut self) {
        let SocketCount { side, read, written, .. } = self.count;
        let closed = match (&*self.socket, last_word(self.socket.as_fd(), read)) {
            (Socket::Unix(_), _) => Closed::Unix { side, read, written },
            (_, Ok(word)) => Closed::Tcp(SocketCount {
                arrived: word.bytes_received,
                unread: word.unread,
                was_over: word.is_over,
                ..self.count.clone()
            }),
            // Then everything that the kernel counts counts as arrived: what was left unread shows as a difference.
            (_, Err(error)) => {
                tracing::error!(%error, "a socket's last word is not known");
                Closed::Tcp(SocketCount { arrived: u64::MAX, ..self.count.clone() })
            }
        };
        let mut kept = self.account.0.kept.lock();
        if kept.settled {
            tracing::error!(session = ?kept.session, "a socket was closed after its session's last record");
        }
        kept.closed.push(closed);
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *this.socket).poll_read(cx, buffer))?;
        this.count.read += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut *this.socket).poll_write(cx, bytes))?;
        this.count.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut *this.socket).poll_write_vectored(cx, slices))?;
        this.count.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().socket).poll_shutdown(cx)
    }
}
