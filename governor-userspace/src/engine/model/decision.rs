//! What policy answered, and why.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Names one decision in records, errors and approvals: `SESSION.NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DecisionId(pub Arc<str>);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Allow,
    Deny,
    /// Wait for a person's approval, then decide again.
    Hold,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
        }
    }
}

/// How a column's values are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskStyle {
    /// A fixed value of the column's type that tells nothing.
    Redact,
    /// Keeps what people need to recognise the value (last digits, domain), hides the rest.
    Partial,
    /// SQL NULL.
    Null,
}

impl MaskStyle {
    /// The word in policy and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Partial => "partial",
            Self::Null => "null",
        }
    }
}

/// A rule that determined a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The policy's `@id`, or file and position.
    pub policy: String,
    /// `@reason`: one sentence for the client. Empty where the policy gives none.
    pub text: String,
    /// `@hint`: the way out. Empty where the policy gives none.
    pub hint: String,
}

/// What a hold needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// `@approval("dba")`: the group whose members may answer.
    pub approvers: String,
}

/// What must also happen when a statement runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligations {
    /// `@audit("sync")`: the record is on disk before the statement is forwarded.
    pub audit_sync: bool,
}

/// Verdict, obligations and reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub verdict: Verdict,
    /// Present if and only if the verdict is `Hold`.
    pub hold: Option<Hold>,
    pub obligations: Obligations,
    /// The policies that determined the verdict, by id.
    pub reasons: Arc<[Reason]>,
}

impl Decision {
    /// An answer that does not come from a policy: governor's own rule, named `policy`.
    pub fn deny(policy: &str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Deny,
            hold: None,
            obligations: Obligations::default(),
            reasons: Arc::from([Reason { policy: policy.into(), text: text.into(), hint: hint.into() }]),
        }
    }
}
