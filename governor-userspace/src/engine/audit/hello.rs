//! What is on record of a hello: who vouches for whom, and why one was not accepted.

use crate::engine::model::Principal;
use serde::{Deserialize, Serialize};

/// One hello of another governor, or to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloRecord {
    pub way: HelloWay,
    pub outcome: HelloOutcome,
    /// Why, where the outcome alone does not say.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// What the configuration calls the other host; absent where it is none that is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<String>,
    /// Of the other host's key: SHA-256, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// It was within TLS, and signed for that connection alone.
    pub bound: bool,
    /// Who the client is from now on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub principal: Option<Box<Principal>>,
}

/// By which keys hosts know each other from now on. Keys are SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersLoaded {
    /// This host's own.
    pub key: String,
    pub peers: Vec<PeerLoaded>,
}

/// One `[[identity.peers]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLoaded {
    pub name: String,
    pub addresses: Vec<String>,
    pub keys: Vec<String>,
    /// `optional` or `required`.
    pub hello: String,
    /// Addresses that are changed on the way: `DIALLED to ARRIVES`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub translated: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelloWay {
    /// By this governor, for a client of its host.
    Sent,
    /// From the governor of a client's host.
    Received,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelloOutcome {
    /// The client is who that host says.
    Accepted,
    /// This governor's own key: it asks itself whether a server is one of this host's.
    Own,
    /// None came, and the configuration requires one.
    Missing,
    /// From where none is expected: a client of this host, for instance.
    Unexpected,
    /// With a key that the configuration does not name.
    UnknownKey,
    /// With a peer's key, from an address that is not that peer's.
    WrongAddress,
    /// For another server than the one that was reached.
    WrongDestination,
    /// The proof does not hold: replayed, relayed, changed on its way, or made without the key.
    BadSignature,
    /// Bytes that are no hello.
    Malformed,
    /// No version is spoken on both ends.
    Version,
    /// Who was reached does not answer as governor.
    Unanswered,
}

impl HelloRecord {
    pub fn new(way: HelloWay, outcome: HelloOutcome, reason: impl Into<String>) -> Self {
        Self { way, outcome, reason: reason.into(), peer: None, key: None, bound: false, principal: None }
    }
}
