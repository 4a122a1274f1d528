//! Accepts HTTP/1 connections within bounds: number, header time, request time.

use super::error::ApiError;
use super::peer::Peer;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections open at once; more wait to be accepted.
    pub connections_max: usize,
    /// From a request's headers to its answer.
    pub request_timeout: Duration,
}

/// Where connections come from.
pub(super) trait Source {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next connection, and who made it where the kernel says.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<Peer>)>> + Send;
}

impl Source for UnixListener {
    type Stream = UnixStream;
    async fn accept(&self) -> io::Result<(UnixStream, Option<Peer>)> {
        let (stream, _) = UnixListener::accept(self).await?;
        let peer = Peer::of(&stream)?;
        Ok((stream, Some(peer)))
    }
}

impl Source for TcpListener {
    type Stream = TcpStream;
    async fn accept(&self) -> io::Result<(TcpStream, Option<Peer>)> {
        Ok((TcpListener::accept(self).await?.0, None))
    }
}

/// Serves `router` on every connection of `source`; handlers find the [`Peer`] as an extension.
/// Returns only when accepting fails for good; dropping it ends all connections.
pub(super) async fn accept_loop(limits: Limits, router: Router, source: impl Source) -> io::Result<()> {
    let router =
        router.layer(middleware::from_fn(move |request, next| within(limits.request_timeout, request, next)));
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match source.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                // Out of descriptors, or the peer is gone already: others may come.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let router = match peer {
            Some(peer) => router.clone().layer(Extension(peer)),
            None => router.clone(),
        };
        let service = TowerToHyperService::new(router);
        connections.spawn(async move {
            let _permit = permit;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(HEADER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            // A peer that never reads its answer must not keep its place for ever.
            if tokio::time::timeout(CONNECTION_LIFE, connection.as_mut()).await.is_err() {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(limits.request_timeout, connection).await;
            }
        });
    }
}

async fn within(timeout: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "the request took too long", "").into_response(),
    }
}

fn is_passing(error: &io::Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK))
}

/// After this a connection ends with its next answer; clients connect again.
const CONNECTION_LIFE: Duration = Duration::from_secs(300);
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Also ends connections that stay idle after an answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 16 << 10;
