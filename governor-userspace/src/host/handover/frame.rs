//! Frames of the hand-over: a length, a kind, a payload.
//!
//! Both ends are agents of the same user, but of versions that may differ: lengths are bounded and kinds are checked.

use super::HandoverError;
use crate::engine::audit::Batch;
use crate::engine::model::{SessionId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Hello = 1,
    Welcome = 2,
    Prepare = 3,
    Prepared = 4,
    Attached = 5,
    Yours = 6,
    /// Gives the reason; the connection ends.
    Refuse = 7,
    Records = 8,
    /// As `Records`; answered when they are on disk.
    RecordsDurable = 9,
    Written = 10,
    NotWritten = 11,
    Cancel = 12,
    CancelAnswer = 13,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Hello,
        Self::Welcome,
        Self::Prepare,
        Self::Prepared,
        Self::Attached,
        Self::Yours,
        Self::Refuse,
        Self::Records,
        Self::RecordsDurable,
        Self::Written,
        Self::NotWritten,
        Self::Cancel,
        Self::CancelAnswer,
    ];
}

pub(super) fn send(stream: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.push(kind as u8);
    frame.extend_from_slice(payload);
    stream.write_all(&frame)
}

pub(super) fn send_json<T: Serialize>(stream: &mut impl Write, kind: Kind, value: &T) -> io::Result<()> {
    send(stream, kind, &serde_json::to_vec(value)?)
}

pub(super) fn receive(stream: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut header = [0u8; 5];
    stream.read_exact(&mut header)?;
    let [a, b, c, d, kind] = header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let known = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
    let kind =
        known.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("a frame of kind {kind}")))?;
    // Grows with what arrives, not with what is announced.
    let mut payload = Vec::with_capacity(length.min(1 << 16));
    stream.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((kind, payload))
}

/// The frame that is due, or why there is another.
pub(super) fn expect(stream: &mut impl Read, due: Kind) -> Result<Vec<u8>, HandoverError> {
    match receive(stream)? {
        (kind, payload) if kind == due => Ok(payload),
        (Kind::Refuse, reason) => Err(HandoverError::Refused(String::from_utf8_lossy(&reason).into_owned())),
        _ => Err(HandoverError::Unexpected("another frame")),
    }
}

pub(super) fn expect_json<T: DeserializeOwned>(
    stream: &mut impl Read,
    due: Kind,
) -> Result<T, HandoverError> {
    serde_json::from_slice(&expect(stream, due)?).map_err(|error| HandoverError::Io(error.into()))
}

/// Encoded records, each with what its envelope needs.
pub(super) fn put_batch(batch: &Batch) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(batch.bytes_count() + batch.len() * 64);
    for (at, session, event) in batch.iter() {
        out.extend_from_slice(&at.unix_ns.to_be_bytes());
        out.extend_from_slice(&at.monotonic_ns.to_be_bytes());
        let session = session.unwrap_or_default();
        out.extend_from_slice(&u16::try_from(session.len()).map_err(io::Error::other)?.to_be_bytes());
        out.extend_from_slice(session.as_bytes());
        out.extend_from_slice(&u32::try_from(event.len()).map_err(io::Error::other)?.to_be_bytes());
        out.extend_from_slice(event);
    }
    Ok(out)
}

/// The way back; what does not fit is refused as a whole.
pub(super) fn take_batch(mut bytes: &[u8]) -> io::Result<Batch> {
    let mut batch = Batch::default();
    while !bytes.is_empty() {
        let unix_ns = u64::from_be_bytes(take(&mut bytes)?);
        let monotonic_ns = u64::from_be_bytes(take(&mut bytes)?);
        let length = usize::from(u16::from_be_bytes(take(&mut bytes)?));
        let session = std::str::from_utf8(slice(&mut bytes, length)?).map_err(io::Error::other)?;
        let session = (!session.is_empty()).then(|| SessionId(session.into()));
        let length = u32::from_be_bytes(take(&mut bytes)?) as usize;
        let event = slice(&mut bytes, length)?;
        batch.push_encoded(Timestamp { unix_ns, monotonic_ns }, session, event).map_err(io::Error::other)?;
    }
    Ok(batch)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> io::Result<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = rest;
    Ok(*first)
}

fn slice<'a>(bytes: &mut &'a [u8], length: usize) -> io::Result<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = rest;
    Ok(first)
}

/// All that an agent may queue, and then some; a single record is at most 16 MiB.
const FRAME_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::audit::{AuditEvent, AuditRecord};

    fn batch() -> Batch {
        let mut batch = Batch::default();
        for (n, session) in [None, Some("S1"), Some("S2")].into_iter().enumerate() {
            let at = Timestamp { unix_ns: 7 + n as u64, monotonic_ns: 9 };
            let event = AuditEvent::AgentStop { reason: format!("line\nbreak \" {n}"), run: String::new() };
            batch.push(&AuditRecord { at, session: session.map(|id| SessionId(id.into())), event }).unwrap();
        }
        batch
    }

    fn content(batch: &Batch) -> Vec<(Timestamp, Option<String>, Vec<u8>)> {
        batch.iter().map(|(at, session, event)| (at, session.map(str::to_owned), event.to_vec())).collect()
    }

    #[test]
    fn records_arrive_as_they_were_sent() {
        let batch = batch();
        let bytes = put_batch(&batch).unwrap();
        assert_eq!(content(&take_batch(&bytes).unwrap()), content(&batch));
        assert!(take_batch(&[]).unwrap().is_empty());
    }

    #[test]
    fn records_that_were_cut_or_are_none_are_refused() {
        let bytes = put_batch(&batch()).unwrap();
        let whole = batch().iter().count();
        for end in 0..bytes.len() {
            // At the border of two records a cut cannot be seen here: the frame's own length shows it.
            assert!(take_batch(&bytes[..end]).map_or(true, |cut| cut.len() < whole), "{end}");
        }
        for event in
            ["", "{}", "[]", "{\"event\":1}\n", " {\"event\":1}", "{\"event\":1", "{\"a\":\n1,\"event\":2}"]
        {
            let mut bytes = vec![0; 16];
            bytes.extend_from_slice(&0u16.to_be_bytes());
            bytes.extend_from_slice(&(event.len() as u32).to_be_bytes());
            bytes.extend_from_slice(event.as_bytes());
            assert!(take_batch(&bytes).is_err(), "{event:?}");
        }
    }

    #[test]
    fn a_frame_is_bounded_and_known() {
        let mut sent = Vec::new();
        send(&mut sent, Kind::Yours, b"x").unwrap();
        assert_eq!(receive(&mut sent.as_slice()).unwrap(), (Kind::Yours, b"x".to_vec()));
        for bytes in [&[0xff, 0xff, 0xff, 0xff, 1][..], &[0, 0, 0, 0, 99], &[0, 0, 0, 9, 1, 2], &[0, 0]] {
            assert!(receive(&mut &*bytes).is_err(), "{bytes:?}");
        }
        let mut refusal = Vec::new();
        send(&mut refusal, Kind::Refuse, b"no").unwrap();
        let error = expect(&mut refusal.as_slice(), Kind::Prepared).unwrap_err();
        assert_eq!(error.to_string(), "the other agent refused: no");
    }
}
