//! What a person, a deadline or a cancel said to a hold.

use serde::{Deserialize, Serialize};

/// How a hold ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Granted {
        by: String,
        uid: u32,
        note: String,
    },
    Refused {
        by: String,
        uid: u32,
        note: String,
    },
    Expired,
    /// The client sent a cancel request.
    Cancelled,
    /// The client went away, or the agent stopped.
    Lost {
        reason: String,
    },
}
