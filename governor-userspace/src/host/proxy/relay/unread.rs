//! Copies both ways without reading: TLS that the port's rule lets through, replication.

use super::super::stream::Stream;
use super::super::worker::Drain;
use super::Relay;
use crate::engine::session::Input;
use crate::host::telemetry::Direction;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

impl Relay {
    pub(super) async fn run_unread(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let begun = std::mem::take(&mut self.client.unread);
        let mut client = Counted { stream: self.client.stream_mut(), read: begun.len() as u64 };
        let mut server = Counted { stream: server.stream_mut(), read: 0 };
        let mut drain = self.drain.clone();
        let copy = async {
            server.write_all(&begun).await?;
            server.flush().await?;
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, UNREAD_BYTES, UNREAD_BYTES)
                .await
        };
        tokio::select! {
            // Whether it ended well or by a reset is for the two of them to know.
            _ = copy => {}
            _ = drain.wait_for(|drain| *drain >= Drain::All) => {}
        }
        let (from_client, from_database) = (client.read, server.read);
        self.local.shared.metrics.relayed(Direction::ToServer, from_client);
        self.local.shared.metrics.relayed(Direction::ToClient, from_database);
        self.session.count_unread(from_client, from_database);
        self.handle(Input::ClientClosed);
    }
}

/// A stream that counts what was read from it, however the copying ends.
#[derive(Debug)]
struct Counted<'a> {
    stream: &'a mut Stream,
    read: u64,
}

impl AsyncRead for Counted<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *this.stream).poll_read(cx, buffer))?;
        this.read += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Buffer of each direction.
const UNREAD_BYTES: usize = 64 << 10;
