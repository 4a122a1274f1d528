//! The socket that the kernel redirects captured connections to.

use super::worker::Workers;
use crate::host::telemetry::{Metrics, RefusedReason};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
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

/// Opens the listeners for redirected IPv4 and IPv6 connections, on one port of the loopback
/// addresses. Port 0 takes any that is free for both.
pub fn bind(port: u16) -> Result<(StdListener, Option<StdListener>), ListenError> {
    let mut last = None;
    for _ in 0..if port == 0 { PORT_TRIES } else { 1 } {
        let v4 = open((Ipv4Addr::LOCALHOST, port).into())?;
        let chosen = v4.local_addr().map_err(|source| ListenError { address: (Ipv4Addr::LOCALHOST, port).into(), source })?.port();
        match open((Ipv6Addr::LOCALHOST, chosen).into()) {
            Ok(v6) => return Ok((v4, Some(v6))),
            // A host without IPv6 has nobody to redirect there.
            Err(error) if error.source.kind() == io::ErrorKind::AddrNotAvailable => return Ok((v4, None)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(ListenError {
        address: (Ipv6Addr::LOCALHOST, port).into(),
        source: io::ErrorKind::AddrInUse.into(),
    }))
}

fn open(address: SocketAddr) -> Result<StdListener, ListenError> {
    let attempt = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
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
                        self.metrics.connection_refused(RefusedReason::TooMany);
                        tracing::warn!("refused a connection: the configured number of connections is open");
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
/// A port that is free for IPv4 may be taken for IPv6.
const PORT_TRIES: usize = 16;
