//! A netlink socket for one network namespace.
//!
//! A socket stays in the namespace in which its thread was when it was made; so for another one a thread goes there,
//! makes it and ends.

use super::message::{self, AF_INET, AF_INET6, Connection, End};
use super::unix::{self, UnixConnection};
use crate::host::kernel::netns_cookie;
use socket2::{Domain, Socket, Type};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Asks one network namespace about its connections.
#[derive(Debug)]
pub struct Diag {
    socket: Socket,
}

impl Diag {
    /// For the namespace of the calling thread.
    pub fn here() -> io::Result<Self> {
        let protocol = libc::NETLINK_SOCK_DIAG.into();
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, Some(protocol))?;
        // The kernel answers at once or not at all.
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { socket })
    }

    /// For the namespace behind an open `ns/net` file. Needs CAP_SYS_ADMIN.
    pub fn of(namespace: File) -> io::Result<Self> {
        let made = std::thread::spawn(move || {
            // SAFETY: the descriptor is open; only this thread changes its namespace, and it ends here.
            match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
                0 => Self::here(),
                _ => Err(io::Error::last_os_error()),
            }
        });
        made.join().map_err(|_| io::Error::other("the thread in the namespace ended early"))?
    }

    /// The kernel's number of the namespace.
    pub fn namespace_cookie(&self) -> Option<u64> {
        netns_cookie(self.socket.as_fd()).ok()
    }

    /// Connections to a remote port, IPv4 and IPv6, on which their client can still send.
    pub fn connections(&self, port: u16) -> io::Result<Vec<Connection>> {
        self.list(port, End::Client)
    }

    /// The same at the server's end: sockets whose own port it is.
    pub fn arrived(&self, port: u16) -> io::Result<Vec<Connection>> {
        self.list(port, End::Server)
    }

    fn list(&self, port: u16, end: End) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            match self.ask(&message::list(family, port, end)) {
                Ok(connections) => found.extend(connections),
                // A kernel without IPv6 has no handler for it.
                Err(error) if family == AF_INET6 && error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Ends a connection: its client reads ECONNABORTED. `NotFound` where it is gone already. Needs CAP_NET_ADMIN and
    /// a kernel with CONFIG_INET_DIAG_DESTROY.
    pub fn end(&self, connection: &Connection) -> io::Result<()> {
        self.ask(&message::end(connection)).map(drop)
    }

    /// Accepted connections of unix sockets in this namespace: of those sockets whose *client* lives in it.
    pub fn unix_connections(&self) -> io::Result<Vec<UnixConnection>> {
        self.socket.send(&unix::list())?;
        let mut connections = Vec::new();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let length = io::Read::read(&mut &self.socket, &mut datagram)?;
            let (found, done) = unix::answer(datagram.get(..length).unwrap_or_default())?;
            connections.extend(found);
            if done || connections.len() > CONNECTIONS_COUNT_MAX {
                return Ok(connections);
            }
        }
    }

    fn ask(&self, request: &[u8]) -> io::Result<Vec<Connection>> {
        self.socket.send(request)?;
        let mut connections = Vec::new();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let length = io::Read::read(&mut &self.socket, &mut datagram)?;
            let answer = message::answer(datagram.get(..length).unwrap_or_default())?;
            connections.extend(answer.connections);
            if answer.done || connections.len() > CONNECTIONS_COUNT_MAX {
                return Ok(connections);
            }
        }
    }
}

/// One open file for each network namespace that a process lives in, without our own.
pub fn other_namespaces() -> Vec<File> {
    let mut known: HashSet<(u64, u64)> = HashSet::new();
    let place = |file: &fs::Metadata| (file.dev(), file.ino());
    known.extend(fs::metadata("/proc/self/ns/net").ok().as_ref().map(place));
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for process in processes.flatten() {
        if process.file_name().to_str().is_none_or(|name| name.parse::<u32>().is_err()) {
            continue;
        }
        let Ok(file) = File::open(process.path().join("ns/net")) else { continue };
        if let Ok(metadata) = file.metadata()
            && known.insert(place(&metadata))
        {
            found.push(file);
        }
    }
    found
}

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel fills at most 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// More than a host has ports; bounds what a flood of connections makes us keep.
const CONNECTIONS_COUNT_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_is_found_by_its_port_and_ended() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let server = listener.local_addr().unwrap();
            let mut client = TcpStream::connect(server).unwrap();
            let (_accepted, peer) = listener.accept().unwrap();

            let diag = Diag::here().unwrap();
            let found = diag.connections(server.port()).unwrap();
            let [connection] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((connection.local, connection.remote), (peer, server));
            let found = diag.arrived(server.port()).unwrap();
            let [arrived] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!((arrived.local, arrived.remote), (server, peer));
            assert_ne!(arrived.cookie, connection.cookie);
            let holders = super::super::holders(&HashSet::from([connection.inode]));
            let [holder] = holders[&connection.inode].as_slice() else { panic!("{holders:?}") };
            assert_eq!(holder.pid, std::process::id());
            assert_eq!(holder.descriptor, client.as_raw_fd());

            match diag.end(connection) {
                // Without root.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
                ended => ended.unwrap(),
            }
            assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
            assert_eq!(diag.end(connection).unwrap_err().kind(), io::ErrorKind::NotFound);
            assert_eq!(diag.connections(server.port()).unwrap(), []);
        }
    }
}
