//! The hello: how the governor of a client's host tells the governor of a server's host which process is asking.
//!
//! ```text
//! dialling agent                                        receiving agent
//!   Hello       versions, own key, nonce          ─▶      is the key that of a peer at this address?
//!               own key, nonce, both ends, signed ◀─      Challenge      (or an ErrorResponse: no)
//!   Attestation identity, signed                  ─▶
//!   StartupMessage of the client ──────────────── ─▶      goes on without another round trip
//! ```
//!
//! It comes before the StartupMessage, within TLS where the connection has that. Both signatures cover everything that
//! was said before and, within TLS, a value that only these two ends of this connection have (RFC 9266). So nothing
//! of it holds on another connection, at another receiver, in the other direction or a second time.
//!
//! A Hello has the form of PostgreSQL's own special requests: a server that does not know it answers with an error.
//!
//! Invariant: what an [`Attestation`] says is read only after its signature was found right.
//! Protocol: docs/identity.md, docs/decisions/0049-hello.md.

mod identity;
mod message;
mod proof;

pub use identity::{IDENTITY_BYTES_MAX, Identity, is_hostile};
pub use message::{
    ATTESTATION_BYTES_MAX, Attestation, CHALLENGE_BYTES, CHALLENGE_KIND, Challenge, HELLO_BYTES_MAX,
    HELLO_CODE, Hello,
};
pub use proof::{Binding, Proof, fingerprint};

use super::reader::ReadError;

/// The only version so far.
pub const VERSION: u8 = 1;

/// Why a message of the hello is not accepted. The connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    #[error("malformed {message}: {error}")]
    Malformed { message: &'static str, error: ReadError },
    #[error("{message} has length {length}, outside of {at_least} to {at_most}")]
    Length { message: &'static str, length: u64, at_least: u64, at_most: u64 },
    #[error("another message came where {0} is due")]
    Another(&'static str),
    #[error("no version is spoken on both ends: {least} to {most} there, {VERSION} here")]
    Version { least: u8, most: u8 },
    #[error("the key is no Ed25519 key")]
    Key,
    #[error("the signature of {0} is wrong")]
    Signature(&'static str),
    #[error("the identity cannot be read: {0}")]
    Identity(String),
}

#[cfg(test)]
mod tests;
