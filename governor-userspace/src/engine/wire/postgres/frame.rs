//! Stream → frames: a type byte, a length that counts itself, a body.
//!
//! Finding a border never copies and never waits for a body: the caller decides from the header
//! whether it needs the whole message or lets the body stream through.

use super::ProtocolViolation;

/// Type byte and length of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    /// Bytes of the body, without type and length.
    pub body_bytes: usize,
}

impl Header {
    /// Type byte and length field.
    pub const BYTES: usize = 5;

    /// The header at the start of `buffer`; `None` until five bytes are there.
    pub fn peek(buffer: &[u8]) -> Result<Option<Self>, ProtocolViolation> {
        let Some((&[kind, a, b, c, d], _)) = buffer.split_first_chunk::<{ Self::BYTES }>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes([a, b, c, d]);
        match usize::try_from(length).ok().and_then(|n| n.checked_sub(4)) {
            Some(body_bytes) => Ok(Some(Self { kind, body_bytes })),
            None => Err(ProtocolViolation::LengthBelowHeader { kind: char::from(kind), length }),
        }
    }

    /// Bytes of the whole message.
    pub fn total_bytes(self) -> usize {
        self.body_bytes + Self::BYTES
    }

    /// Refuses a message longer than `limit` body bytes.
    pub fn at_most(self, limit: usize) -> Result<(), ProtocolViolation> {
        if self.body_bytes > limit {
            return Err(ProtocolViolation::TooLong {
                kind: char::from(self.kind),
                length: self.body_bytes as u64,
                limit: limit as u64,
            });
        }
        Ok(())
    }
}

/// One whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: u8,
    pub body: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_five_bytes() {
        let message = b"Q\x00\x00\x00\x08abcd";
        for cut in 0..5 {
            assert_eq!(Header::peek(&message[..cut]), Ok(None));
        }
        assert_eq!(Header::peek(message), Ok(Some(Header { kind: b'Q', body_bytes: 4 })));
    }

    #[test]
    fn refuses_lengths_below_its_own_size() {
        for length in [3i32, 0, -1, i32::MIN] {
            let mut message = vec![b'Q'];
            message.extend(length.to_be_bytes());
            assert!(matches!(Header::peek(&message), Err(ProtocolViolation::LengthBelowHeader { .. })));
        }
    }
}
