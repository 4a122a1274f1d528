//! Connects to the original destination, past governor's own capture.

use super::stream::Stream;
use crate::engine::model::Endpoint;
use crate::host::kernel::Exemption;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A connection to the database; the socket is marked before it connects, so the hooks let it pass.
pub(super) async fn dial(
    destination: Endpoint,
    exemption: &Exemption,
    limit: Duration,
) -> io::Result<TcpStream> {
    let address = SocketAddr::new(destination.address, destination.port);
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    exemption.mark(socket.as_fd()).map_err(io::Error::other)?;
    match tokio::time::timeout(limit, socket.connect(address)).await {
        Ok(result) => result,
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
