//! The first packet of a connection: it has a length but no type byte.
//!
//! Protocol: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use super::{InMessage, ProtocolViolation};
use crate::engine::model::Claims;
use crate::engine::wire::hello::{HELLO_BYTES_MAX, HELLO_CODE};
use crate::engine::wire::reader::Reader;
use bytes::{BufMut, Bytes, BytesMut};

/// Longest start-up packet that the server accepts (its MAX_STARTUP_PACKET_LENGTH).
pub const STARTUP_BYTES_MAX: usize = 10_000;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// First byte of a TLS record that carries a ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;
/// Longest secret of protocol 3.2; 3.0 sends four bytes.
pub const CANCEL_SECRET_BYTES_MAX: usize = 256;

/// What a client opens a connection with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    SslRequest,
    GssEncRequest,
    /// TLS without asking first (`sslnegotiation=direct`).
    DirectTls,
    Cancel {
        process: u32,
        secret: Vec<u8>,
    },
    Startup(Startup),
    /// Another governor has something to say of its client first ([`crate::engine::wire::hello`]).
    Hello,
    /// A protocol major version that the server does not speak.
    Unsupported {
        major: u16,
        minor: u16,
    },
}

/// A StartupMessage of protocol 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    pub minor: u16,
    /// In the order sent; later wins, as in the server.
    pub parameters: Vec<(String, String)>,
}

impl Startup {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What the client says about itself.
    pub fn claims(&self) -> Claims {
        let user = self.parameter("user").unwrap_or_default().to_owned();
        let database = self.parameter("database").filter(|d| !d.is_empty()).unwrap_or(&user).to_owned();
        let application_name = self.parameter("application_name").unwrap_or_default().to_owned();
        Claims { user, database, application_name }
    }

    /// Settings that the packet makes: parameters that are settings, and `-c NAME=VALUE` or
    /// `--NAME=VALUE` in `options`. `None` where `options` holds anything else.
    pub fn settings(&self) -> Option<Vec<(String, String)>> {
        let named =
            |name: &str| matches!(name, "user" | "database" | "replication" | "options" | "application_name");
        let mut settings: Vec<(String, String)> = self
            .parameters
            .iter()
            .filter(|(name, _)| !named(name) && !name.starts_with("_pq_."))
            .cloned()
            .collect();
        for (_, options) in self.parameters.iter().filter(|(name, _)| name == "options") {
            if options.contains(['\\', '\'', '"']) {
                return None;
            }
            let mut words = options.split_ascii_whitespace();
            while let Some(word) = words.next() {
                let setting = match word.strip_prefix("-c") {
                    Some("") => words.next()?,
                    Some(setting) => setting,
                    None => word.strip_prefix("--")?,
                };
                let (name, value) = setting.split_once('=')?;
                settings.push((name.replace('-', "_"), value.into()));
            }
        }
        Some(settings)
    }

    /// Asks for a replication connection. The server takes any boolean spelling, and `database`.
    pub fn is_replication(&self) -> bool {
        self.parameter("replication").is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            let off = ["f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"];
            !off.contains(&value.as_str())
        })
    }
}

/// The packet that asks the server to cancel what the session with this key runs.
pub fn cancel_request(process: u32, secret: &[u8]) -> Bytes {
    let mut packet = BytesMut::with_capacity(12 + secret.len());
    packet.put_u32((12 + secret.len()) as u32);
    packet.put_u32(CANCEL_REQUEST);
    packet.put_u32(process);
    packet.extend_from_slice(secret);
    packet.freeze()
}

/// Reads the opening at the start of `buffer`: the packet and its length in bytes.
/// `None` until it is complete.
pub fn parse(buffer: &[u8]) -> Result<Option<(Opening, usize)>, ProtocolViolation> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    if first == TLS_HANDSHAKE {
        return Ok(Some((Opening::DirectTls, 0)));
    }
    let Some((head, _)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*head) as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err(ProtocolViolation::TooLong {
            kind: '-',
            length: length as u64,
            limit: STARTUP_BYTES_MAX as u64,
        });
    }
    let Some(packet) = buffer.get(4..length) else { return Ok(None) };
    let mut r = Reader::new(packet);
    let code = r.u32().in_message("StartupMessage")?;
    let opening = match code {
        SSL_REQUEST | GSSENC_REQUEST => {
            r.finish().in_message("SSLRequest")?;
            if code == SSL_REQUEST { Opening::SslRequest } else { Opening::GssEncRequest }
        }
        CANCEL_REQUEST => {
            let process = r.u32().in_message("CancelRequest")?;
            let secret = r.rest();
            if !(4..=CANCEL_SECRET_BYTES_MAX).contains(&secret.len()) {
                return Err(ProtocolViolation::Other("CancelRequest has a key of unknown length"));
            }
            Opening::Cancel { process, secret: secret.to_vec() }
        }
        HELLO_CODE if length > HELLO_BYTES_MAX => {
            return Err(ProtocolViolation::TooLong {
                kind: '-',
                length: length as u64,
                limit: HELLO_BYTES_MAX as u64,
            });
        }
        HELLO_CODE => Opening::Hello,
        _ => {
            let [a, b, c, d] = code.to_be_bytes();
            let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            if major == 3 {
                Opening::Startup(parameters(minor, r)?)
            } else {
                Opening::Unsupported { major, minor }
            }
        }
    };
    Ok(Some((opening, length)))
}

fn parameters(minor: u16, mut r: Reader<'_>) -> Result<Startup, ProtocolViolation> {
    let mut parameters = Vec::new();
    loop {
        let name = r.cstr().in_message("StartupMessage")?;
        if name.is_empty() {
            break;
        }
        let value = r.cstr().in_message("StartupMessage")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        parameters.push((text(name), text(value)));
    }
    r.finish().in_message("StartupMessage")?;
    Ok(Startup { minor, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let mut p = ((8 + body.len()) as u32).to_be_bytes().to_vec();
        p.extend(code.to_be_bytes());
        p.extend(body);
        p
    }

    #[test]
    fn reads_a_startup_message_at_every_split() {
        let p = packet(3 << 16, b"user\0alice\0application_name\0psql\0\0");
        for cut in 0..p.len() {
            assert_eq!(parse(&p[..cut]), Ok(None), "cut at {cut}");
        }
        let (opening, used) = parse(&p).unwrap().unwrap();
        let Opening::Startup(startup) = opening else { panic!("{opening:?}") };
        assert_eq!(used, p.len());
        let claims = startup.claims();
        assert_eq!((claims.user.as_str(), claims.database.as_str()), ("alice", "alice"));
        assert_eq!(claims.application_name, "psql");
    }

    #[test]
    fn knows_the_requests() {
        assert_eq!(parse(&packet(SSL_REQUEST, b"")).unwrap().unwrap().0, Opening::SslRequest);
        assert_eq!(parse(&packet(GSSENC_REQUEST, b"")).unwrap().unwrap().0, Opening::GssEncRequest);
        assert_eq!(parse(&[0x16, 3, 1]).unwrap().unwrap().0, Opening::DirectTls);
        let cancel = parse(&packet(CANCEL_REQUEST, b"\0\0\0\x07abcd")).unwrap().unwrap().0;
        assert_eq!(cancel, Opening::Cancel { process: 7, secret: b"abcd".to_vec() });
        let old = parse(&packet(2 << 16, b"")).unwrap().unwrap().0;
        assert_eq!(old, Opening::Unsupported { major: 2, minor: 0 });
    }

    #[test]
    fn reads_a_hello_at_every_split_and_no_long_one() {
        let hello = crate::engine::wire::hello::Hello::new([1; 32], [2; 32]).encode();
        for cut in 0..hello.len() {
            assert_eq!(parse(&hello[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(parse(&hello), Ok(Some((Opening::Hello, hello.len()))));
        assert!(parse(&packet(HELLO_CODE, &[0; HELLO_BYTES_MAX - 8])).unwrap().is_some());
        assert!(parse(&packet(HELLO_CODE, &[0; HELLO_BYTES_MAX - 7])).is_err());
    }

    #[test]
    fn refuses_bad_lengths_and_leftovers() {
        assert!(parse(&7u32.to_be_bytes()).is_err());
        assert!(parse(&(10_001u32).to_be_bytes()).is_err());
        assert!(parse(&u32::MAX.to_be_bytes()).is_err());
        assert!(parse(&packet(SSL_REQUEST, b"x")).is_err());
        assert!(parse(&packet(3 << 16, b"user\0alice\0\0x")).is_err());
        assert!(parse(&packet(3 << 16, b"user\0alice")).is_err());
        assert!(parse(&packet(CANCEL_REQUEST, b"\0\0\0\x07abc")).is_err());
    }

    #[test]
    fn settings_come_from_parameters_and_options() {
        let with = |options: &str| Startup {
            minor: 0,
            parameters: vec![
                ("user".into(), "a".into()),
                ("client_encoding".into(), "UTF8".into()),
                ("options".into(), options.into()),
            ],
        };
        let encoding = ("client_encoding".to_owned(), "UTF8".to_owned());
        let role = ("role".to_owned(), "admin".to_owned());
        for options in ["-c role=admin", "-crole=admin", "--role=admin", "  -c   role=admin "] {
            assert_eq!(with(options).settings(), Some(vec![encoding.clone(), role.clone()]), "{options}");
        }
        assert_eq!(with("").settings(), Some(vec![encoding]));
        for options in ["-c", "-e", "role=admin", "-c role", r"-c search_path=a\ b", "-c role='x'"] {
            assert_eq!(with(options).settings(), None, "{options}");
        }
    }

    #[test]
    fn any_true_spelling_is_replication() {
        for (value, expected) in [
            ("true", true),
            ("database", true),
            ("1", true),
            ("on", true),
            ("false", false),
            ("OFF", false),
            ("0", false),
        ] {
            let s = Startup { minor: 0, parameters: vec![("replication".into(), value.into())] };
            assert_eq!(s.is_replication(), expected, "{value}");
        }
    }
}
