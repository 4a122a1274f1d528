//! A client of a few bytes: it connects, starts a session, and says what became of that.

use governor_tests::wire;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A session, up to its first ReadyForQuery.
    Session,
    /// The kernel refused the connect (EPERM).
    Refused,
    /// An error that governor or the server sent, or the connection ended before it was a session.
    Ended,
}

/// Connects, starts a session, and ends it in order.
pub fn ask(server: SocketAddr) -> Answer {
    match connect(server) {
        Ok(mut stream) => match start(&mut stream) {
            true => {
                stream.write_all(&wire::message(b'X', &[])).ok();
                // Until the other end is gone too: nothing of this session comes later.
                stream.read_to_end(&mut vec![]).ok();
                Answer::Session
            }
            false => Answer::Ended,
        },
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Answer::Refused,
        Err(error) => panic!("connect: {error}"),
    }
}

/// A connection whose reads end at some time.
pub fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// Start-up without a password; whether it came to a ReadyForQuery.
pub fn start(stream: &mut TcpStream) -> bool {
    stream.write_all(&wire::startup("postgres", "shop")).is_ok() && until_ready(stream)
}

fn until_ready(stream: &mut TcpStream) -> bool {
    loop {
        let mut head = [0; 5];
        if stream.read_exact(&mut head).is_err() {
            return false;
        }
        let [tag, length @ ..] = head;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        if stream.read_exact(&mut body).is_err() || tag == b'E' {
            return false;
        }
        if tag == b'Z' {
            return true;
        }
    }
}

const SILENCE_MAX: Duration = Duration::from_secs(300);
