//! Who asks, as one governor tells another: JSON, bounded, of a process of the sender's own host.

use super::HelloError;
use crate::engine::model::{Principal, SessionId};
use serde::{Deserialize, Serialize};

/// Longest identity. A command line and the executables of all parents are far below it.
pub const IDENTITY_BYTES_MAX: usize = 64 << 10;

/// What the sender attests. Later versions may add fields; a field that is missing is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The sender's name for its host.
    pub host: String,
    /// Its session, as its own audit has it.
    pub session: SessionId,
    /// When it signed, nanoseconds since 1970 by its own clock.
    pub at_unix_ns: u64,
    pub principal: Principal,
}

impl Identity {
    /// The bytes that an attestation carries.
    pub fn encode(&self) -> Result<Vec<u8>, HelloError> {
        let bytes = serde_json::to_vec(self).map_err(|error| HelloError::Identity(error.to_string()))?;
        match bytes.len() {
            0..=IDENTITY_BYTES_MAX => Ok(bytes),
            long => Err(HelloError::Identity(format!("{long} bytes are more than {IDENTITY_BYTES_MAX}"))),
        }
    }

    /// What such bytes say. Whether it is true is for [`super::Proof::identity`] alone, which looks at their signature first.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        if bytes.len() > IDENTITY_BYTES_MAX {
            return Err(HelloError::Identity(format!("{} bytes are too many", bytes.len())));
        }
        let failed = |error: serde_json::Error| HelloError::Identity(error.to_string());
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(failed)?;
        if has_hostile(&value) {
            // It will be printed, and no honest sender has any: what /proc says is made printable there.
            return Err(HelloError::Identity("it has control or invisible characters".into()));
        }
        let identity: Self = serde_json::from_value(value).map_err(failed)?;
        if identity.principal.remote.is_some() {
            // Each host speaks for its own processes, and for nobody else's.
            return Err(HelloError::Identity("it is not of a process of the sender's host".into()));
        }
        Ok(identity)
    }
}

/// serde_json bounds the depth.
fn has_hostile(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) => text.chars().any(is_hostile),
        Value::Array(items) => items.iter().any(has_hostile),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name.chars().any(is_hostile) || has_hostile(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Characters that say something else than they show: control characters, invisible ones, and those that turn the direction
/// of the text.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
