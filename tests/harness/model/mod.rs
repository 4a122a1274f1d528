//! A reference model of PostgreSQL's protocol 3, written to be checked by reading: it knows nothing of governor.
//!
//! ```text
//! Choices ─▶ client::conversation ─▶ client's bytes ─▶ [ governor, or nothing ] ─▶ Server ─▶ reply ─▶ check::replies
//! ```
//!
//! - [`client`] makes valid conversations from a row of choices: pipelines, portals with limits, COPY, errors anywhere;
//! - [`server`] answers them as PostgreSQL does, and writes down what ran;
//! - [`check`] is the client's side: is this row of replies one that a server may give to these requests?
//!
//! The model itself is held against a real server by the suite `differential`.

pub mod check;
pub mod choices;
pub mod client;
pub mod server;
pub mod sql;

pub use choices::Choices;
pub use client::Conversation;
pub use server::{Outcome, Ran, Server};
pub use sql::Sql;

/// Whole messages at the start of `bytes`: type and body of each, and what is left over.
pub fn messages(mut bytes: &[u8]) -> (Vec<(u8, &[u8])>, &[u8]) {
    let mut found = Vec::new();
    while let Some((kind, body, rest)) = first_message(bytes) {
        found.push((kind, body));
        bytes = rest;
    }
    (found, bytes)
}

/// Type, body and what follows, once the whole message is there.
pub fn first_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<5>()?;
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_sub(4)?;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((*kind, body, rest))
}

/// Types of messages as text, such as `TDDCZ`.
pub fn kinds(bytes: &[u8]) -> String {
    messages(bytes).0.iter().map(|(kind, _)| char::from(*kind)).collect()
}
