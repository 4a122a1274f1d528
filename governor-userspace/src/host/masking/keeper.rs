//! Reveals tokens for a person at the control socket, and rotates keys, on record.
//!
//! Who asks comes from the kernel, as with broken glass: an agent that asks (also through sudo) is an agent and gets
//! nothing; so does a service. The record is on disk before any value leaves, and refusals are on record too.

use super::keys::{KeyInfo, MaskingKeyError, MaskingKeys};
use crate::engine::audit::{AuditEvent, AuditRecord, KeyChange, TokenReveal};
use crate::engine::masking::{TokenError, reveal};
use crate::engine::model::{Class, Principal};
use crate::host::clock;
use crate::host::ledger::Ledger;
use crate::host::telemetry::{Metrics, RevealOutcome};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What a person wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevealRequest {
    pub tokens: Vec<String>,
    pub reason: String,
}

/// The values, in the order of the tokens.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevealAnswer {
    pub values: Vec<RevealedValue>,
}

#[derive(Serialize, Deserialize)]
pub struct RevealedValue {
    pub token: String,
    pub category: String,
    /// Of `bytea`, and of text that is not UTF-8, as `\x` and hexadecimal digits.
    pub value: Zeroizing<String>,
}

impl std::fmt::Debug for RevealedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevealedValue").field("category", &self.category).finish_non_exhaustive()
    }
}

/// Why nothing is revealed.
#[derive(Debug, thiserror::Error)]
pub enum RevealError {
    #[error("{user} is not in the group \"reveal\"")]
    NotMember { user: String },
    #[error("only a person may reveal tokens, and this process is {class}: {evidence}")]
    NotAPerson { class: Class, evidence: String },
    #[error("a reason has to be given: one line of at most {REASON_BYTES_MAX} bytes")]
    NoReason,
    #[error("name 1 to {TOKENS_MAX} tokens at once")]
    Count,
    #[error("token {number}: {source}")]
    Token {
        /// Counted from 1.
        number: usize,
        source: TokenError,
    },
    #[error("the audit record could not be written, so nothing is revealed: {0}")]
    Audit(String),
    #[error("this agent reveals nothing")]
    NotServed,
}

impl RevealError {
    fn outcome(&self) -> RevealOutcome {
        match self {
            Self::NotMember { .. } | Self::NotAPerson { .. } | Self::NotServed => RevealOutcome::NotAllowed,
            Self::NoReason | Self::Count => RevealOutcome::Malformed,
            Self::Token { .. } => RevealOutcome::BadToken,
            Self::Audit(_) => RevealOutcome::Unrecorded,
        }
    }
}

/// Why keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error(transparent)]
    Keys(#[from] MaskingKeyError),
    #[error("the key {id} is in use, but its audit record could not be written: {reason}")]
    Audit { id: String, reason: String },
    #[error("this agent has no masking keys")]
    NotServed,
}

/// Everything that revealing and rotating takes.
#[derive(Clone, Debug)]
pub struct RevealKeeper {
    pub keys: Arc<MaskingKeys>,
    pub ledger: Ledger,
    pub metrics: Arc<Metrics>,
}

impl RevealKeeper {
    /// All tokens or none. `is_member`: the configuration lists whoever asks.
    pub fn reveal(
        &self,
        asker: &Principal,
        is_member: bool,
        request: &RevealRequest,
    ) -> Result<RevealAnswer, RevealError> {
        let answer = self.recorded(asker, is_member, request);
        self.metrics.reveal(match &answer {
            Ok(_) => RevealOutcome::Revealed,
            Err(error) => error.outcome(),
        });
        answer
    }

    /// The answer, on record.
    fn recorded(
        &self,
        asker: &Principal,
        is_member: bool,
        request: &RevealRequest,
    ) -> Result<RevealAnswer, RevealError> {
        let revealed = self.judged(asker, is_member, request);
        let refusal = revealed.as_ref().err().map(ToString::to_string);
        if let Some(refusal) = &refusal {
            tracing::warn!(pid = asker.pid, uid = asker.uid, refusal, "tokens were not revealed");
        }
        let shown: String =
            request.reason.chars().filter(|c| !c.is_control()).take(REASON_BYTES_MAX).collect();
        let event = AuditEvent::TokenReveal(Box::new(TokenReveal {
            granted: refusal.is_none(),
            refusal: refusal.unwrap_or_default(),
            reason: shown,
            tokens_count: request.tokens.len() as u64,
            tokens: request.tokens.iter().take(TOKENS_MAX).map(|token| name_of(token)).collect(),
            principal: asker.clone(),
        }));
        let record = AuditRecord { at: clock::now(), session: None, event };
        self.ledger.append_sync(&[record]).map_err(|error| RevealError::Audit(error.to_string()))?;
        revealed
    }

    fn judged(
        &self,
        asker: &Principal,
        is_member: bool,
        request: &RevealRequest,
    ) -> Result<RevealAnswer, RevealError> {
        if !is_member {
            let user = asker.login_user.as_ref().unwrap_or(&asker.user).clone();
            return Err(RevealError::NotMember { user });
        }
        if asker.class != Class::Person {
            let evidence = asker.class_evidence.first().cloned().unwrap_or_default();
            return Err(RevealError::NotAPerson { class: asker.class, evidence });
        }
        let reason = request.reason.trim();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(RevealError::NoReason);
        }
        if !(1..=TOKENS_MAX).contains(&request.tokens.len()) {
            return Err(RevealError::Count);
        }
        let ring = self.keys.ring();
        let values = request.tokens.iter().enumerate().map(|(at, token)| {
            let found =
                reveal(&ring, token).map_err(|source| RevealError::Token { number: at + 1, source })?;
            let value = match std::str::from_utf8(&found.value) {
                Ok(text) if !found.is_bytes => text.to_owned(),
                _ => format!("\\x{}", hex::encode(&*found.value)),
            };
            let category = found.category.as_str().to_owned();
            Ok(RevealedValue { token: token.clone(), category, value: Zeroizing::new(value) })
        });
        Ok(RevealAnswer { values: values.collect::<Result<_, RevealError>>()? })
    }

    /// A new key masks from now on.
    pub fn rotate(&self, asker: &Principal) -> Result<KeyInfo, RotateError> {
        let key = self.keys.rotate(clock::now())?;
        tracing::warn!(key = key.id, uid = asker.uid, "a new masking key is in use");
        self.record(&key.id, Some(asker))
            .map_err(|reason| RotateError::Audit { id: key.id.clone(), reason })?;
        Ok(key)
    }

    /// Writes down which key masks, where it was made just now.
    pub fn record_created(&self) -> Result<(), String> {
        let Some(id) = self.keys.created() else { return Ok(()) };
        tracing::info!(key = %id, "made a masking key: keep a copy of it, or tokens cannot be revealed without it");
        self.record(&id.to_string(), None)
    }

    fn record(&self, id: &str, by: Option<&Principal>) -> Result<(), String> {
        let change = KeyChange { key: id.into(), principal: by.cloned().map(Box::new) };
        let record = AuditRecord { at: clock::now(), session: None, event: AuditEvent::MaskingKey(change) };
        self.ledger.append_sync(&[record]).map_err(|error| error.to_string())
    }
}

/// The beginning of a token: enough to tell it from every other, and bounded.
fn name_of(token: &str) -> String {
    token.chars().filter(|c| c.is_ascii_graphic()).take(TOKEN_CHARACTERS_KEPT).collect()
}

const REASON_BYTES_MAX: usize = 500;
const TOKENS_MAX: usize = 100;
/// `tok_`, the key, and the 22 characters that authenticate the rest.
const TOKEN_CHARACTERS_KEPT: usize = 48;
