//! The socket that the kernel redirects captured connections to.

use super::worker::Workers;
use crate::host::kernel::Exemption;
use crate::host::telemetry::{Metrics, RefusedReason};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for captured connections on {address}: {source}")]
pub struct ListenError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// Opens the listeners that redirected connections arrive at: on one free port of 127.0.0.1 and, where
/// the host has IPv6, of ::1. They are marked as governor's own before they are bound, so that a
/// guard which an earlier run left in the kernel lets them.
pub fn bind(exemption: &Exemption) -> Result<Vec<StdListener>, ListenError> {
    let v4 = open((Ipv4Addr::LOCALHOST, 0).into(), exemption)?;
    let v6 = match open((Ipv6Addr::LOCALHOST, 0).into(), exemption) {
        Ok(listener) => Some(listener),
        // A host without IPv6 has nobody to redirect there.
        Err(error)
            if matches!(error.source.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)) =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    Ok(std::iter::once(v4).chain(v6).collect())
}

fn open(address: SocketAddr, exemption: &Exemption) -> Result<StdListener, ListenError> {
    let attempt = || {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        exemption.mark(socket.as_fd()).map_err(io::Error::other)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(StdListener::from(socket))
    };
    attempt().map_err(|source| ListenError { address, source })
}

/// Accepts until told to stop.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    workers: Arc<Workers>,
    metrics: Arc<Metrics>,
}

impl Acceptor {
    /// `listener` must be non-blocking, as [`bind`] makes it. Called within a tokio runtime.
    pub fn new(listener: StdListener, workers: Arc<Workers>, metrics: Arc<Metrics>) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::from_std(listener)?, workers, metrics })
    }

    /// Hands each connection to a worker; returns when `stop` becomes true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted.and_then(|(stream, _)| stream.into_std()) {
                Ok(stream) => {
                    if self.workers.give(stream).is_err() {
                        self.metrics.connection_refused(RefusedReason::Limit);
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
}

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
