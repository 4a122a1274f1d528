//! Connects to the original destination, past governor's own capture.

use super::arrival::Route;
use super::hello::{Said, find_own, may_be_own, refusal, say};
use super::inbound;
use super::socket::{Socket, StdSocket};
use super::stream::Stream;
use super::worker::Shared;
use crate::engine::audit::{HelloRecord, Side};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// A connection to the database; the socket is marked before it connects, so the hooks let it pass. It is made in
/// the client's network namespace.
pub(super) async fn dial(shared: &Shared, route: &Route) -> io::Result<Socket> {
    if let Some(ends) = route.ends() {
        return inbound::dial(shared, ends, &route.account).await;
    }
    let Some(way) = may_be_own(shared, route) else {
        return connect(shared, route).await;
    };
    match find_own(shared, route, way, connect(shared, route).await?).await {
        Some(ends) => {
            // Another of the session's connections may have found the same out.
            let _known = route.own.set(ends.clone());
            inbound::dial(shared, &ends, &route.account).await
        }
        None => connect(shared, route).await,
    }
}

/// A connection to the database on which a peer was told who asks, where configuration wants that.
pub(super) async fn reach(shared: &Shared, route: &Route) -> Reached {
    match dial(shared, route).await {
        Ok(socket) => greet(shared, route, Stream::Plain(socket)).await,
        Err(error) => (Err(error), None),
    }
}

/// The connection, and what became of a hello on the way.
pub(super) type Reached = (io::Result<Stream>, Option<Box<HelloRecord>>);

/// Says hello on a connection in clear.
pub(super) async fn greet(shared: &Shared, route: &Route, mut stream: Stream) -> Reached {
    match say(shared, route, &mut stream).await {
        None => (Ok(stream), None),
        Some(Said::Accepted(record) | Said::Omitted(record)) => (Ok(stream), Some(record)),
        Some(Said::Unanswered(record)) => {
            drop(stream);
            (dial(shared, route).await.map(Stream::Plain), Some(record))
        }
        Some(Said::Refused(record)) => (Err(refusal(&record)), Some(record)),
    }
}

async fn connect(shared: &Shared, route: &Route) -> io::Result<Socket> {
    let limit = shared.connect_timeout;
    if let Some((server, client)) = &route.unix {
        let connected = server.connect(*client, limit, &shared.exemption).await?;
        let socket = Socket::from_std(StdSocket::Unix(connected))?;
        return Ok(route.account.counted(socket, Side::Database));
    }
    let address = SocketAddr::new(route.destination.address, route.destination.port);
    let socket = match &route.namespace {
        Some(namespace) => {
            let made =
                shared.entrance.socket(namespace.clone(), socket2::Domain::for_address(address)).await?;
            TcpSocket::from_std_stream(made.into())
        }
        None if address.is_ipv4() => TcpSocket::new_v4()?,
        None => TcpSocket::new_v6()?,
    };
    shared.exemption.mark(socket.as_fd()).map_err(io::Error::other)?;
    match tokio::time::timeout(limit, socket.connect(address)).await {
        Ok(result) => result.map(|tcp| route.account.counted(Socket::Tcp(tcp), Side::Database)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"))),
    }
}

/// Sends a cancel request as its client would, over TLS where the client did, and waits until the server
/// has taken it.
pub(super) async fn cancel(mut stream: Stream, packet: &[u8], limit: Duration) -> io::Result<()> {
    stream.write_all(packet).await?;
    stream.shutdown().await?;
    // The server answers nothing and closes.
    let mut nothing = [0u8; 1];
    let _ = tokio::time::timeout(limit, stream.read(&mut nothing)).await;
    Ok(())
}
