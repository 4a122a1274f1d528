//! The three messages, bytes and back.
//!
//! Invariant: no length that a peer claims reserves memory; each message has its own bound, and is read only when whole.

use super::super::reader::{ReadError, Reader};
use super::{HelloError, IDENTITY_BYTES_MAX, VERSION};
use bytes::{BufMut, Bytes, BytesMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// In place of a protocol version in the first packet. No major version of PostgreSQL: a server that does not know it
/// answers with an error, as to any version that it does not speak.
pub const HELLO_CODE: u32 = 0x474f_5648;
/// Longest Hello, those of later versions too.
pub const HELLO_BYTES_MAX: usize = 512;
/// First byte of a Challenge: no message of a server's has it.
pub const CHALLENGE_KIND: u8 = 0x07;
/// A Challenge, whole.
pub const CHALLENGE_BYTES: usize = 5 + CHALLENGE_BODY_BYTES;
/// Longest Attestation, whole.
pub const ATTESTATION_BYTES_MAX: usize = 8 + IDENTITY_BYTES_MAX + SIGNATURE_BYTES;

const ATTESTATION_CODE: u32 = 0x474f_5641;
const SIGNATURE_BYTES: usize = 64;
const END_BYTES: usize = 18;
/// Version, key, nonce, both ends, signature.
const CHALLENGE_BODY_BYTES: usize = 1 + 32 + 32 + 2 * END_BYTES + SIGNATURE_BYTES;

/// "I speak for a client, and this is my key."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Versions that the sender speaks, from and to.
    pub versions: (u8, u8),
    /// The sender's public key.
    pub key: [u8; 32],
    /// Fresh for each connection.
    pub nonce: [u8; 32],
}

impl Hello {
    pub fn new(key: [u8; 32], nonce: [u8; 32]) -> Self {
        Self { versions: (VERSION, VERSION), key, nonce }
    }

    /// The packet, its length and code first.
    pub fn encode(&self) -> Bytes {
        let mut packet = BytesMut::with_capacity(80);
        packet.put_u32(0);
        packet.put_u32(HELLO_CODE);
        packet.put_u8(self.versions.0);
        packet.put_u8(self.versions.1);
        packet.extend_from_slice(&self.key);
        packet.extend_from_slice(&self.nonce);
        with_length(packet, 0)
    }

    /// Reads a whole packet. What later versions put behind the fields of this one is not looked at, but signed.
    pub fn parse(packet: &[u8]) -> Result<Self, HelloError> {
        const NAME: &str = "Hello";
        if packet.len() > HELLO_BYTES_MAX {
            return Err(length(NAME, packet.len() as u64, 8, HELLO_BYTES_MAX));
        }
        let mut r = Reader::new(packet);
        let (claimed, code) = read(NAME, || Ok((r.u32()?, r.u32()?)))?;
        if claimed as usize != packet.len() {
            return Err(length(NAME, claimed.into(), packet.len() as u64, packet.len()));
        }
        if code != HELLO_CODE {
            return Err(HelloError::Another(NAME));
        }
        read(NAME, || Ok(Self { versions: (r.u8()?, r.u8()?), key: fixed(&mut r)?, nonce: fixed(&mut r)? }))
    }

    /// The version to speak.
    pub fn version(&self) -> Result<u8, HelloError> {
        let (least, most) = self.versions;
        if (least..=most).contains(&VERSION) { Ok(VERSION) } else { Err(HelloError::Version { least, most }) }
    }
}

/// "Prove it, to me and now." Carries the receiver's own proof: who it is, and what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub version: u8,
    /// The receiver's public key.
    pub key: [u8; 32],
    /// Fresh for each connection.
    pub nonce: [u8; 32],
    /// The dialling end, as the receiver sees it.
    pub client: SocketAddr,
    /// The receiving end, as the receiver sees it.
    pub server: SocketAddr,
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Challenge {
    /// Everything before the signature: what is signed.
    pub(super) fn unsigned(&self) -> BytesMut {
        let mut body = BytesMut::with_capacity(CHALLENGE_BYTES);
        body.put_u8(CHALLENGE_KIND);
        body.put_u32((4 + CHALLENGE_BODY_BYTES) as u32);
        body.put_u8(self.version);
        body.extend_from_slice(&self.key);
        body.extend_from_slice(&self.nonce);
        put_end(&mut body, self.client);
        put_end(&mut body, self.server);
        body
    }

    pub fn encode(&self) -> Bytes {
        let mut packet = self.unsigned();
        packet.extend_from_slice(&self.signature);
        packet.freeze()
    }

    /// Reads a whole one.
    pub fn parse(packet: &[u8]) -> Result<Self, HelloError> {
        const NAME: &str = "Challenge";
        let mut r = Reader::new(packet);
        let (kind, claimed) = read(NAME, || Ok((r.u8()?, r.u32()?)))?;
        if kind != CHALLENGE_KIND {
            return Err(HelloError::Another(NAME));
        }
        if claimed as usize != 4 + CHALLENGE_BODY_BYTES {
            return Err(length(
                NAME,
                claimed.into(),
                4 + CHALLENGE_BODY_BYTES as u64,
                4 + CHALLENGE_BODY_BYTES,
            ));
        }
        let challenge = read(NAME, || {
            Ok(Self {
                version: r.u8()?,
                key: fixed(&mut r)?,
                nonce: fixed(&mut r)?,
                client: end(&mut r)?,
                server: end(&mut r)?,
                signature: fixed(&mut r)?,
            })
        })?;
        read(NAME, || r.finish())?;
        if challenge.version != VERSION {
            return Err(HelloError::Version { least: challenge.version, most: challenge.version });
        }
        Ok(challenge)
    }
}

/// "This is who asks." What it says is bytes until the signature was found right: [`super::Proof::identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    pub(super) identity: Vec<u8>,
    pub(super) signature: [u8; SIGNATURE_BYTES],
}

impl Attestation {
    pub fn encode(&self) -> Bytes {
        let mut packet = BytesMut::with_capacity(8 + self.identity.len() + SIGNATURE_BYTES);
        packet.put_u32(0);
        packet.put_u32(ATTESTATION_CODE);
        packet.extend_from_slice(&self.identity);
        packet.extend_from_slice(&self.signature);
        with_length(packet, 0)
    }

    /// How long the one at the start of `head` is, whole. `None` until its first eight bytes are there.
    pub fn bytes(head: &[u8]) -> Result<Option<usize>, HelloError> {
        const NAME: &str = "Attestation";
        let mut r = Reader::new(head);
        let (Ok(claimed), Ok(code)) = (r.u32(), r.u32()) else { return Ok(None) };
        if code != ATTESTATION_CODE {
            return Err(HelloError::Another(NAME));
        }
        let bytes = claimed as usize;
        if !(8 + SIGNATURE_BYTES..=ATTESTATION_BYTES_MAX).contains(&bytes) {
            return Err(length(NAME, claimed.into(), 8 + SIGNATURE_BYTES as u64, ATTESTATION_BYTES_MAX));
        }
        Ok(Some(bytes))
    }

    /// Reads a whole packet.
    pub fn parse(packet: &[u8]) -> Result<Self, HelloError> {
        const NAME: &str = "Attestation";
        match Self::bytes(packet)? {
            Some(bytes) if bytes == packet.len() => {}
            _ => return Err(length(NAME, packet.len() as u64, 8, ATTESTATION_BYTES_MAX)),
        }
        let mut r = Reader::new(packet);
        read(NAME, || {
            r.take(8)?;
            let identity = r.take(r.rest().len().saturating_sub(SIGNATURE_BYTES))?.to_vec();
            Ok(Self { identity, signature: fixed(&mut r)? })
        })
    }
}

/// Writes the length of the whole packet at `at`.
fn with_length(mut packet: BytesMut, at: usize) -> Bytes {
    let bytes = packet.len() as u32;
    if let Some(field) = packet.get_mut(at..at + 4) {
        field.copy_from_slice(&bytes.to_be_bytes());
    }
    packet.freeze()
}

fn put_end(body: &mut BytesMut, end: SocketAddr) {
    let address = match end.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    body.extend_from_slice(&address.octets());
    body.put_u16(end.port());
}

fn end(r: &mut Reader<'_>) -> Result<SocketAddr, ReadError> {
    let address = Ipv6Addr::from(fixed::<16>(r)?);
    Ok(SocketAddr::new(IpAddr::V6(address).to_canonical(), r.u16()?))
}

fn fixed<const N: usize>(r: &mut Reader<'_>) -> Result<[u8; N], ReadError> {
    let bytes = r.take(N)?;
    // `take` gave exactly so many.
    bytes.try_into().map_err(|_| ReadError::Short { missing: N - bytes.len().min(N) })
}

fn read<T>(message: &'static str, read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, HelloError> {
    read().map_err(|error| HelloError::Malformed { message, error })
}

fn length(message: &'static str, length: u64, at_least: u64, at_most: usize) -> HelloError {
    HelloError::Length { message, length, at_least, at_most: at_most as u64 }
}
