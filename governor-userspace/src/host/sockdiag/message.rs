//! Bytes of `sock_diag` messages: pure, and bounded by what the kernel sent.
//!
//! Source: sock_diag(7), linux/inet_diag.h, linux/netlink.h. Numbers are in host order, ports and addresses in network
//! order.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One TCP connection as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub uid: u32,
    /// 0 where no process holds the socket.
    pub inode: u32,
    /// Of the cgroup in which the socket was made; `None` from a kernel before 5.9.
    pub cgroup_id: Option<u64>,
    /// Never used again for another socket while the host runs.
    pub cookie: u64,
    family: u8,
    /// `struct inet_diag_sockid`, to be given back as it came.
    id: [u8; ID_BYTES],
}

/// What one datagram of answers holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub connections: Vec<Connection>,
    /// The list is complete, or the request is done.
    pub done: bool,
}

/// Which end of a connection is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client's: the port is the remote one.
    Client,
    /// The server's: the port is its own.
    Server,
}

/// A request for all connections of a family with this port, on which the client can still send.
pub(super) fn list(family: u8, port: u16, end: End) -> Vec<u8> {
    let mut id = [0; ID_BYTES];
    let (place, states) = match end {
        End::Client => (2..4, CLIENT_STATES),
        End::Server => (0..2, SERVER_STATES),
    };
    if let Some(place) = id.get_mut(place) {
        place.copy_from_slice(&port.to_be_bytes());
    }
    request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, family, states, &id)
}

/// A request to end one connection.
pub(super) fn end(connection: &Connection) -> Vec<u8> {
    request(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, connection.family, u32::MAX, &connection.id)
}

fn request(kind: u16, flags: u16, family: u8, states: u32, id: &[u8; ID_BYTES]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.extend_from_slice(&(REQUEST_BYTES as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    // Sequence number and port id: one request at a time on a socket of its own.
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
    bytes.extend_from_slice(&states.to_ne_bytes());
    bytes.extend_from_slice(id);
    bytes
}

/// Reads one datagram about TCP.
pub(super) fn answer(datagram: &[u8]) -> io::Result<Answer> {
    let (bodies, done) = bodies(datagram)?;
    let connections =
        bodies.into_iter().map(|body| connection(body).ok_or_else(malformed)).collect::<Result<_, _>>()?;
    Ok(Answer { connections, done })
}

/// What one datagram lists, and whether the list is complete. An error that the kernel sends is the error; bytes that do
/// not fit are `InvalidData`.
pub(super) fn bodies(datagram: &[u8]) -> io::Result<(Vec<&[u8]>, bool)> {
    let (mut bodies, mut done) = (Vec::new(), false);
    let mut rest = datagram;
    while !rest.is_empty() && !done {
        let length = u32_at(rest, 0).and_then(|length| usize::try_from(length).ok()).ok_or_else(malformed)?;
        let message = rest.get(..length).filter(|_| length >= HEADER_BYTES).ok_or_else(malformed)?;
        let kind = u16_at(message, 4).ok_or_else(malformed)?;
        let body = message.get(HEADER_BYTES..).unwrap_or_default();
        match kind {
            NLMSG_DONE => done = true,
            NLMSG_ERROR => match u32_at(body, 0).ok_or_else(malformed)?.cast_signed() {
                0 => done = true,
                code => return Err(io::Error::from_raw_os_error(code.saturating_neg())),
            },
            SOCK_DIAG_BY_FAMILY => bodies.push(body),
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok((bodies, done))
}

/// `struct inet_diag_msg` and the attributes behind it.
fn connection(body: &[u8]) -> Option<Connection> {
    let family = *body.first()?;
    let id: [u8; ID_BYTES] = body.get(4..4 + ID_BYTES)?.try_into().ok()?;
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = id.get(at..at + 16)?.try_into().ok()?;
        Some(match family {
            AF_INET => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?)),
            _ => Ipv6Addr::from(bytes).to_canonical(),
        })
    };
    let port = |at: usize| Some(u16::from_be_bytes(id.get(at..at + 2)?.try_into().ok()?));
    let cookie = u64::from(u32_at(&id, 40)?) | u64::from(u32_at(&id, 44)?) << 32;
    Some(Connection {
        local: SocketAddr::new(address(4)?, port(0)?),
        remote: SocketAddr::new(address(20)?, port(2)?),
        uid: u32_at(body, 64)?,
        inode: u32_at(body, 68)?,
        cgroup_id: cgroup_of(body.get(DIAG_BYTES..)?),
        cookie,
        family,
        id,
    })
}

fn cgroup_of(mut attributes: &[u8]) -> Option<u64> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == INET_DIAG_CGROUP_ID {
            return Some(u64::from_ne_bytes(value.get(..8)?.try_into().ok()?));
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

pub(super) fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a sock_diag answer does not fit its own lengths")
}

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// ESTABLISHED, SYN_SENT and CLOSE_WAIT.
const CLIENT_STATES: u32 = 1 << 1 | 1 << 2 | 1 << 8;
/// ESTABLISHED: in CLOSE_WAIT the client has said its last.
const SERVER_STATES: u32 = 1 << 1;

pub(super) const HEADER_BYTES: usize = 16;
const ID_BYTES: usize = 48;
/// Header, then `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = HEADER_BYTES + 8 + ID_BYTES;
/// `struct inet_diag_msg`.
const DIAG_BYTES: usize = 72;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
pub(super) const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
const INET_DIAG_CGROUP_ID: u16 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    /// One connection with two attributes, and the end of the list.
    fn listing() -> Vec<u8> {
        let mut body = vec![AF_INET, 1, 0, 0];
        body.extend_from_slice(&50_000_u16.to_be_bytes());
        body.extend_from_slice(&5432_u16.to_be_bytes());
        for address in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            body.extend_from_slice(&address);
            body.extend_from_slice(&[0; 12]);
        }
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&7_u64.to_ne_bytes());
        body.extend_from_slice(&[0; 12]);
        body.extend_from_slice(&1000_u32.to_ne_bytes());
        body.extend_from_slice(&4242_u32.to_ne_bytes());
        assert_eq!(body.len(), DIAG_BYTES);
        body.extend_from_slice(&5_u16.to_ne_bytes());
        body.extend_from_slice(&[8, 0, 0, 0, 0, 0]);
        body.extend_from_slice(&12_u16.to_ne_bytes());
        body.extend_from_slice(&INET_DIAG_CGROUP_ID.to_ne_bytes());
        body.extend_from_slice(&99_u64.to_ne_bytes());
        let mut bytes = message(SOCK_DIAG_BY_FAMILY, &body);
        bytes.extend(message(NLMSG_DONE, &[0; 4]));
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&((HEADER_BYTES + body.len()) as u32).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_listing_is_read_with_its_cgroup() {
        let answer = answer(&listing()).unwrap();
        assert!(answer.done);
        let [found] = answer.connections.as_slice() else { panic!("{answer:?}") };
        assert_eq!(found.local.to_string(), "127.0.0.1:50000");
        assert_eq!(found.remote.to_string(), "127.0.0.2:5432");
        assert_eq!((found.uid, found.inode, found.cookie, found.cgroup_id), (1000, 4242, 7, Some(99)));
    }

    #[test]
    fn a_listing_cut_at_any_byte_is_an_error_or_shorter() {
        let whole = listing();
        for length in 0..whole.len() {
            if let Ok(answer) = answer(&whole[..length]) {
                assert!(!answer.done && answer.connections.len() <= 1, "cut at {length}");
            }
        }
        let mut endless = whole;
        endless[..4].copy_from_slice(&0_u32.to_ne_bytes());
        assert_eq!(answer(&endless).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_refusal_of_the_kernel_is_its_error() {
        let refused = message(NLMSG_ERROR, &(-libc::EPERM).to_ne_bytes());
        assert_eq!(answer(&refused).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert!(answer(&message(NLMSG_ERROR, &[0; 4])).unwrap().done);
    }
}
