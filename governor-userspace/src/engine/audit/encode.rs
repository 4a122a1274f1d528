//! Records as JSON: the envelope, the ledger's own events, and the way back.
//!
//! Encoding is on the road of every statement: it writes into buffers that are used again, formats the
//! date once a second, and touches the chain lock's holder only for the envelope.
//!
//! Invariant: one object on one line. serde_json escapes every control character within strings.

use super::{AuditEvent, AuditRecord, ChainHash, Checkpoint, fields};
use crate::engine::model::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// What the ledger itself writes into the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LedgerEvent {
    /// First line of every segment.
    SegmentStart(SegmentStart),
    Checkpoint(Checkpoint),
    /// The agent had stopped in the middle of a write; what was not a whole, chained line was cut off.
    TailCut {
        segment: u64,
        bytes: u64,
        /// What was wrong with the first line that was cut.
        reason: String,
        /// File in the audit directory that keeps the bytes.
        kept: String,
    },
    /// Records could not be written for a while (disk full); their statements were refused.
    WriteFailed {
        /// RFC 3339.
        since: String,
        error: String,
        records_refused: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentStart {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    pub segment: u64,
    /// Chain hash of the last line of the segment before; zeros in the first.
    pub previous: ChainHash,
    /// [`super::key_id`] of the key that signs this segment's checkpoints.
    pub key: String,
}

/// Encoded events with what their envelopes need, ready to be sequenced.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    session: Option<SessionId>,
    /// Where this entry's event ends in `bytes`.
    end: usize,
}

impl Batch {
    /// Encodes the event; the envelope follows when its place in the chain is known.
    /// On error the batch is as before.
    pub fn push(&mut self, record: &AuditRecord) -> Result<(), EncodeError> {
        let start = self.bytes.len();
        let result = fields::write_event(&mut self.bytes, &record.event).map_err(EncodeError::Json);
        let length = self.bytes.len() - start;
        let result = match result {
            Ok(()) if length > EVENT_BYTES_MAX => Err(EncodeError::TooLong { bytes: length }),
            other => other,
        };
        if result.is_err() {
            self.bytes.truncate(start);
            return result;
        }
        let end = self.bytes.len();
        self.entries.push(Entry { at: record.at, session: record.session.clone(), end });
        Ok(())
    }

    /// Takes an event that another agent has encoded. On error the batch is as before.
    pub fn push_encoded(
        &mut self,
        at: Timestamp,
        session: Option<SessionId>,
        event: &[u8],
    ) -> Result<(), EncodeError> {
        if event.len() > EVENT_BYTES_MAX {
            return Err(EncodeError::TooLong { bytes: event.len() });
        }
        let parsed: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(event).map_err(EncodeError::Json)?;
        // One line, with the braces where the envelope goes in.
        let is_plain = event.first() == Some(&b'{') && event.last() == Some(&b'}') && !event.contains(&b'\n');
        if !is_plain || !parsed.contains_key("event") {
            return Err(EncodeError::Foreign);
        }
        self.bytes.extend_from_slice(event);
        self.entries.push(Entry { at, session, end: self.bytes.len() });
        Ok(())
    }

    /// Moves everything of `other` behind what is here.
    pub fn absorb(&mut self, other: &mut Batch) {
        if self.entries.is_empty() {
            std::mem::swap(self, other);
        } else {
            let base = self.bytes.len();
            self.bytes.append(&mut other.bytes);
            self.entries.extend(other.entries.drain(..).map(|e| Entry { end: e.end + base, ..e }));
        }
        other.clear();
    }

    /// Time, session and JSON object of each event, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, Option<&str>, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let event = self.bytes.get(start..entry.end).unwrap_or_default();
            start = entry.end;
            (entry.at, entry.session.as_ref().map(|id| &*id.0), event)
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes_count(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the content, keeps a bounded amount of memory for the next use.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.bytes.shrink_to(BUFFER_BYTES_KEPT_MAX);
    }
}

/// Writes envelopes.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Unix second that `prefix` stands for.
    second: Option<u64>,
    /// `2026-11-14T22:13:20`, or empty where the second has no such form.
    prefix: String,
}

impl Encoder {
    /// Appends one JSON object: envelope and `event`, itself a JSON object with at least one field.
    pub fn write(&mut self, out: &mut Vec<u8>, seq: u64, at: Timestamp, session: Option<&str>, event: &[u8]) {
        out.extend_from_slice(b"{\"seq\":");
        // Writing to a Vec does not fail.
        let _ = fields::json(out, &seq);
        out.extend_from_slice(b",\"time\":\"");
        self.write_time(out, at.unix_ns);
        out.extend_from_slice(b"\",\"mono_ns\":");
        let _ = fields::json(out, &at.monotonic_ns);
        out.extend_from_slice(b",\"session\":");
        let _ = match session {
            None => fields::json(out, &()),
            Some(id) => fields::text(out, id),
        };
        out.push(b',');
        out.extend_from_slice(event.strip_prefix(b"{").unwrap_or(event));
    }

    /// RFC 3339 in UTC with microseconds, as [`Timestamp::rfc3339`] prints it.
    fn write_time(&mut self, out: &mut Vec<u8>, unix_ns: u64) {
        let second = unix_ns / 1_000_000_000;
        if self.second != Some(second) {
            let whole = rfc3339(unix_ns);
            self.prefix.clear();
            self.prefix.push_str(whole.split_once('.').map_or("", |(prefix, _)| prefix));
            self.second = Some(second);
        }
        if self.prefix.is_empty() {
            out.extend_from_slice(rfc3339(unix_ns).as_bytes());
            return;
        }
        out.extend_from_slice(self.prefix.as_bytes());
        let mut fraction = *b".000000Z";
        let mut micros = unix_ns % 1_000_000_000 / 1000;
        for digit in fraction.iter_mut().skip(1).take(6).rev() {
            // Less than ten.
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        out.extend_from_slice(&fraction);
    }
}

fn rfc3339(unix_ns: u64) -> String {
    Timestamp { unix_ns, monotonic_ns: 0 }.rfc3339()
}

/// One stored record, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    pub seq: u64,
    /// Wall time with the microseconds that the format keeps.
    pub at: Timestamp,
    pub session: Option<SessionId>,
    pub body: StoredBody,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StoredBody {
    Agent(AuditEvent),
    Ledger(LedgerEvent),
    /// An event of a later version of governor, by name.
    Newer(String),
}

/// The envelope alone, borrowed from the JSON where it needs no unescaping.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    pub seq: u64,
    #[serde(borrow)]
    pub time: Cow<'a, str>,
    pub mono_ns: u64,
    #[serde(borrow)]
    pub session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub event: Cow<'a, str>,
}

/// Reads the JSON of one line.
pub fn decode(json: &[u8]) -> Result<StoredRecord, DecodeError> {
    let envelope: Envelope<'_> = serde_json::from_slice(json).map_err(DecodeError::Json)?;
    let unix_ns = parse_time(&envelope.time).ok_or(DecodeError::Time)?;
    let event = &*envelope.event;
    let body = if LEDGER_EVENTS.contains(&event) {
        StoredBody::Ledger(serde_json::from_slice(json).map_err(DecodeError::Json)?)
    } else if AGENT_EVENTS.contains(&event) {
        StoredBody::Agent(serde_json::from_slice(json).map_err(DecodeError::Json)?)
    } else {
        StoredBody::Newer(event.to_owned())
    };
    Ok(StoredRecord {
        seq: envelope.seq,
        at: Timestamp { unix_ns, monotonic_ns: envelope.mono_ns },
        session: envelope.session.map(|id| SessionId(id.into())),
        body,
    })
}

/// RFC 3339 to nanoseconds since the Unix epoch.
pub fn parse_time(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("an event of another agent is not one JSON object on one line")]
    Foreign,
    #[error("record cannot be written as JSON: {0}")]
    Json(serde_json::Error),
    #[error("record of {bytes} bytes is longer than {EVENT_BYTES_MAX}")]
    TooLong { bytes: usize },
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not a record: {0}")]
    Json(serde_json::Error),
    #[error("time is not RFC 3339")]
    Time,
}

/// Raised whenever a reader of the present format would misread the next.
pub const FORMAT_VERSION: u32 = 1;
/// Longest event that is accepted, bytes of JSON. Text and parameters are cut long before.
pub const EVENT_BYTES_MAX: usize = 16 << 20;
/// Longest line that a reader accepts, bytes: an event, its envelope and the hash.
pub const LINE_BYTES_MAX: usize = EVENT_BYTES_MAX + 4096;
const BUFFER_BYTES_KEPT_MAX: usize = 1 << 20;

const LEDGER_EVENTS: [&str; 4] = ["segment_start", "checkpoint", "tail_cut", "write_failed"];
const AGENT_EVENTS: [&str; 31] = [
    "agent_start",
    "agent_stop",
    "policy_loaded",
    "policy_refused",
    "peers_loaded",
    "peers_refused",
    "session_start",
    "session_decision",
    "statement",
    "completion",
    "hold_start",
    "hold_end",
    "break_glass_start",
    "break_glass_end",
    "token_reveal",
    "masking_key",
    "data_finding",
    "data_ruling",
    "cancel",
    "tls",
    "protocol_error",
    "session_end",
    "open_connection",
    "agent_gap",
    "kernel_event",
    "kernel_events_omitted",
    "hello",
    "unix_socket",
    "direct_connection",
    "completeness",
    "completeness_mismatch",
];
