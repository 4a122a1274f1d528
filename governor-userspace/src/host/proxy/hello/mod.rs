//! The hello's road: said on connections to a peer's servers, heard on connections from a peer's clients.
//!
//! ```text
//! say.rs   dialled (and TLS set up) ─▶ Hello ─▶ Challenge ─▶ Attestation ─▶ the client's StartupMessage
//! own.rs   dialled from a container ─▶ Hello with the own key ─▶ Challenge: the server is this host's, go there directly
//! hear.rs  accepted from another host ─▶ who its governor says it is
//! ```
//! Invariant: a connection on which a hello was not answered is never used for the client: it is made again, or refused.

mod hear;
mod own;
mod say;

pub(super) use hear::hear;
pub use own::OwnQuestions;
pub(super) use own::{find_own, may_be_own};
pub(super) use say::{Said, refusal, say};

use super::stream::Stream;
use crate::engine::model::{Principal, SessionId};
use crate::engine::wire::hello::{Binding, CHALLENGE_BYTES, CHALLENGE_KIND, Challenge, HelloError};
use rustls::ProtocolVersion;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsStream;

/// Whom a session's connections speak for.
#[derive(Clone, Debug)]
pub(in crate::host::proxy) struct Asker {
    pub principal: Principal,
    pub session: SessionId,
}

/// What somebody answered to a Hello.
enum Answer {
    Challenge(Box<Challenge>),
    /// Not as governor does: a server that does not know what a Hello is.
    Unknown(String),
    /// It knows what a Hello is, and takes none from here: a governor that does not know the key, or this one, which was asked by
    /// way of a process of its own host.
    Refused(String),
    /// Nothing, or something that says nothing about the next connection.
    Silent(String),
    /// As governor does, and wrongly.
    Wrong(HelloError),
}

/// Sends a Hello, and waits for what comes back: not for long, as the client's start-up has to come after it.
async fn ask(stream: &mut Stream, packet: &[u8], limit: Duration) -> Answer {
    let limit = limit.min(ANSWERED_WITHIN);
    let deadline = Instant::now() + limit;
    let asked = async {
        stream.write_all(packet).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let first = match timeout_at(deadline, asked).await {
        Ok(Ok(first)) => first,
        Ok(Err(error)) => return Answer::Silent(format!("the connection ended: {error}")),
        Err(_) => return Answer::Silent(format!("no answer within {limit:?}")),
    };
    let rest = async {
        match first {
            CHALLENGE_KIND => read_challenge(stream, first).await,
            b'E' => Ok(read_error(stream).await?),
            other => Ok(Answer::Silent(format!("it answered with a message of kind 0x{other:02x}"))),
        }
    };
    match timeout_at(deadline, rest).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Silent(format!("its answer broke off: {error}")),
        Err(_) => Answer::Silent(format!("half an answer within {limit:?}")),
    }
}

async fn read_challenge(stream: &mut Stream, first: u8) -> io::Result<Answer> {
    let mut packet = [0; CHALLENGE_BYTES];
    if let Some((kind, rest)) = packet.split_first_mut() {
        *kind = first;
        stream.read_exact(rest).await?;
    }
    Ok(match Challenge::parse(&packet) {
        Ok(challenge) => Answer::Challenge(Box::new(challenge)),
        Err(error) => Answer::Wrong(error),
    })
}

/// What an ErrorResponse means, whose first byte was read; its words bounded and printable.
async fn read_error(stream: &mut Stream) -> io::Result<Answer> {
    let length = stream.read_u32().await?.saturating_sub(4).min(ERROR_BYTES_MAX);
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    Ok(meaning(&body))
}

/// `body` are the fields of an ErrorResponse.
fn meaning(body: &[u8]) -> Answer {
    let field = |kind: &[u8]| {
        body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(kind)).unwrap_or_default()
    };
    let message = String::from_utf8_lossy(field(b"M"));
    let message: String = message.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect();
    let reason = format!("it answered: {message}");
    match field(b"C") {
        UNKNOWN_REQUEST => Answer::Unknown(reason),
        REFUSED_HELLO => Answer::Refused(reason),
        _ => Answer::Silent(reason),
    }
}

/// What ties a hello to the connection that carries it. TLS before 1.3 gives nothing that holds without more conditions
/// (RFC 9266, section 4.2): it counts as none.
fn binding(stream: &Stream) -> io::Result<Binding> {
    let Stream::Tls(tls) = stream else { return Ok(Binding::None) };
    let (version, exported) = match &**tls {
        TlsStream::Client(side) => {
            let connection = side.get_ref().1;
            (connection.protocol_version(), connection.export_keying_material([0; 32], EXPORTER_LABEL, None))
        }
        TlsStream::Server(side) => {
            let connection = side.get_ref().1;
            (connection.protocol_version(), connection.export_keying_material([0; 32], EXPORTER_LABEL, None))
        }
    };
    if version != Some(ProtocolVersion::TLSv1_3) {
        return Ok(Binding::None);
    }
    exported.map(Binding::Exporter).map_err(io::Error::other)
}

fn nonce() -> io::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

/// RFC 9266, section 4.2. In TLS 1.3 no context and an empty one are the same.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
/// SQLSTATE feature_not_supported: PostgreSQL's "unsupported frontend protocol". What it says under load has other codes.
const UNKNOWN_REQUEST: &[u8] = b"0A000";
/// SQLSTATE invalid_authorization_specification, by which governor refuses a hello (`engine/session/greeting.rs`).
const REFUSED_HELLO: &[u8] = b"28000";
/// Well within the time that a start-up may take by default (10 s).
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Of an ErrorResponse that is only quoted.
const ERROR_BYTES_MAX: u32 = 4096;
const ERROR_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_does_not_know_a_hello_counts_as_such() {
        let unsupported = b"SFATAL\0VFATAL\0C0A000\0Munsupported frontend protocol\0Fx.c\0\0";
        assert!(matches!(meaning(unsupported), Answer::Unknown(why) if why.ends_with("frontend protocol")));
        for other in [
            b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0".as_slice(),
            b"SFATAL\0C57P03\0M0A000\0\0",
            b"could not fork new process for connection\n\0",
            b"",
        ] {
            assert!(matches!(meaning(other), Answer::Silent(_)), "{}", String::from_utf8_lossy(other));
        }
        let refused = b"SFATAL\0VFATAL\0C28000\0Mgovernor: no\0\0";
        assert!(matches!(meaning(refused), Answer::Refused(why) if why.ends_with("no")));
    }
}
