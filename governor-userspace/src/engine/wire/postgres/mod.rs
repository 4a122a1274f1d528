//! PostgreSQL frontend/backend protocol 3: messages, in both directions.
//!
//! Order inside: frame → message; the session machine is above, in `engine::session`.
//! Protocol: <https://www.postgresql.org/docs/current/protocol-message-formats.html>

pub mod backend;
pub mod encode;
pub mod frame;
pub mod frontend;
pub mod sasl;
pub mod startup;

pub use frame::{Frame, Header};

use super::reader::ReadError;

/// A peer broke the protocol. Closes the session; never retried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolViolation {
    /// The length field counts its own four bytes.
    #[error("message {kind} has length {length}, below 4")]
    LengthBelowHeader { kind: char, length: i32 },
    /// Above what the protocol or governor accepts for this kind of message.
    #[error("message {kind} has length {length}, above the limit of {limit}")]
    TooLong { kind: char, length: u64, limit: u64 },
    /// Nobody's fault: it would have to be masked, and governor keeps no row that long.
    #[error("a row is longer than limits.row_bytes_max ({limit} bytes), so it cannot be masked")]
    RowTooLong { limit: u64 },
    #[error("message type 0x{kind:02x} is not part of the protocol here")]
    UnknownKind { kind: u8 },
    #[error("malformed {message}: {error}")]
    Malformed { message: &'static str, error: ReadError },
    #[error("{0}")]
    Other(&'static str),
}

impl ProtocolViolation {
    /// What the client may read: an SQLSTATE and one plain sentence, no internals.
    pub fn client_message(&self) -> (&'static str, &'static str) {
        match self {
            Self::RowTooLong { .. } => (
                "54000",
                "a row is longer than governor can mask (limits.row_bytes_max), so it was not shown",
            ),
            _ => ("08P01", "the connection was closed because a message did not follow the protocol"),
        }
    }
}

/// Attaches the message's name to a read error.
pub(crate) trait InMessage<T> {
    fn in_message(self, message: &'static str) -> Result<T, ProtocolViolation>;
}

impl<T> InMessage<T> for Result<T, ReadError> {
    fn in_message(self, message: &'static str) -> Result<T, ProtocolViolation> {
        self.map_err(|error| ProtocolViolation::Malformed { message, error })
    }
}
