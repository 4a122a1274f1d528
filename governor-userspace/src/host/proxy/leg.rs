//! One of a session's two connections: non-blocking reads into a shared buffer, a bounded queue out.
//!
//! An idle connection owns no buffer: reads go into the worker's scratch buffer, and only the
//! beginning of a message that is not complete is kept.

use super::stream::Stream;
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// A worker's read buffer, lent to whichever of its connections reads.
#[derive(Debug)]
pub(super) struct Scratch {
    buffer: BytesMut,
    bytes: usize,
}

impl Scratch {
    pub fn new() -> Self {
        Self { buffer: BytesMut::with_capacity(READ_BYTES_MIN), bytes: READ_BYTES_MIN }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Leg {
    stream: Stream,
    /// Read and not consumed yet.
    pub unread: BytesMut,
    out: VecDeque<Bytes>,
    out_bytes: usize,
    /// The transport still holds bytes that were written.
    unflushed: bool,
    /// The peer sent its last byte.
    pub closed: bool,
}

impl Leg {
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            out: VecDeque::new(),
            out_bytes: 0,
            unflushed: false,
            closed: false,
        }
    }

    /// The connection itself, for bytes that are no longer read here.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Queues bytes; they leave with the next [`Self::poll_flush`].
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.out_bytes += bytes.len();
            self.out.push_back(bytes);
        }
    }

    /// So much waits to leave that the other side should not be read.
    pub fn is_congested(&self) -> bool {
        self.out_bytes > OUT_BYTES_HIGH
    }

    pub fn is_flushed(&self) -> bool {
        self.out.is_empty() && !self.unflushed
    }

    /// Sends what is queued. `Ready` when all of it is sent.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.out.front() {
            let stream = Pin::new(&mut self.stream);
            let sent = if self.out.len() == 1 {
                ready!(stream.poll_write(cx, first))?
            } else {
                let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
                let mut count = 0;
                for (slice, bytes) in slices.iter_mut().zip(&self.out) {
                    *slice = io::IoSlice::new(bytes);
                    count += 1;
                }
                ready!(stream.poll_write_vectored(cx, slices.get(..count).unwrap_or_default()))?
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.consume(sent);
            self.unflushed = self.stream.buffers();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn consume(&mut self, mut sent: usize) {
        self.out_bytes -= sent;
        while let Some(first) = self.out.front_mut() {
            if first.len() > sent {
                first.advance(sent);
                return;
            }
            sent -= first.len();
            self.out.pop_front();
        }
        self.out.shrink_to(PIECES_KEPT);
    }

    /// Reads once and hands all unread bytes to `consume`, which takes what it can from the front.
    /// `Ready(0)` is the peer's end.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Scratch,
        consume: impl FnOnce(&mut BytesMut),
    ) -> Poll<io::Result<usize>> {
        if self.unread.is_empty() {
            scratch.buffer.reserve(scratch.bytes);
            let capacity = scratch.buffer.capacity();
            let n = ready!(read_once(&mut self.stream, cx, &mut scratch.buffer))?;
            scratch.adapt(n, capacity);
            if n > 0 {
                consume(&mut scratch.buffer);
            }
            if !scratch.buffer.is_empty() {
                self.unread.extend_from_slice(&scratch.buffer);
                scratch.buffer.clear();
            }
            self.closed |= n == 0;
            return Poll::Ready(Ok(n));
        }
        self.unread.reserve(READ_BYTES_MIN);
        let n = ready!(read_once(&mut self.stream, cx, &mut self.unread))?;
        if n > 0 {
            consume(&mut self.unread);
            self.shrink();
        }
        self.closed |= n == 0;
        Poll::Ready(Ok(n))
    }

    /// What waits can no longer leave.
    pub fn discard_out(&mut self) {
        self.out.clear();
        self.out.shrink_to(PIECES_KEPT);
        self.out_bytes = 0;
        self.unflushed = false;
    }

    /// Gives memory back when nothing is left over.
    pub fn shrink(&mut self) {
        if self.unread.is_empty() && self.unread.capacity() > 0 {
            self.unread = BytesMut::new();
        }
    }
}

impl Scratch {
    /// Bulk data fills the buffer: read more at a time. Small messages: less again.
    fn adapt(&mut self, read: usize, capacity: usize) {
        if read == capacity {
            self.bytes = (self.bytes * 2).min(READ_BYTES_MAX);
        } else if read < self.bytes / 4 {
            self.bytes = (self.bytes / 2).max(READ_BYTES_MIN);
        }
    }
}

fn read_once(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    // Cancel safe: a dropped `read_buf` has read nothing.
    let future = stream.read_buf(buffer);
    std::pin::pin!(future).poll(cx)
}

/// Smallest read: many times an OLTP message, small beside a connection's socket buffers.
const READ_BYTES_MIN: usize = 16 << 10;
/// Largest read: beyond it system calls no longer weigh.
const READ_BYTES_MAX: usize = 256 << 10;
/// Bytes queued towards a slow reader before the other side is not read any more.
const OUT_BYTES_HIGH: usize = 512 << 10;
/// Room in the queue out that stays when it is empty.
const PIECES_KEPT: usize = 16;
/// Slices in one `writev`.
const SLICES_MAX: usize = 64;
