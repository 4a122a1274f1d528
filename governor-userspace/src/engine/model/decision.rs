//! What policy answered, and why.

use super::denial_code::DenialCode;
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
    /// A keyed hash: equal values have equal ones.
    Hash,
    /// Reversible by `governor reveal`; equal values have equal ones.
    Token,
    /// Another value of the same format; equal values have equal ones.
    Format,
    /// A date near by.
    Shift,
    /// The lower bound of the range that the value is in.
    Range,
    /// A made-up value, the same for the same value.
    Fake,
}

impl MaskStyle {
    /// From what tells least to what tells most: of several that are asked for, the first counts.
    pub const ALL: [Self; 9] = [
        Self::Null,
        Self::Redact,
        Self::Hash,
        Self::Token,
        Self::Fake,
        Self::Format,
        Self::Range,
        Self::Shift,
        Self::Partial,
    ];

    /// The word in policy and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Partial => "partial",
            Self::Null => "null",
            Self::Hash => "hash",
            Self::Token => "token",
            Self::Format => "format",
            Self::Shift => "shift",
            Self::Range => "range",
            Self::Fake => "fake",
        }
    }

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|style| style.as_str() == word)
    }

    /// The style that tells less.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        Self::ALL.into_iter().find(|style| *style == self || *style == other).unwrap_or(Self::Redact)
    }

    /// Makes something else of the value, where its type can hold it.
    pub fn is_transform(self) -> bool {
        !matches!(self, Self::Redact | Self::Partial | Self::Null)
    }
}

/// A rule that determined a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The policy's `@id`, or file and position.
    pub policy: String,
    /// `@reason`: one sentence for the client. Empty where the policy gives none.
    pub text: String,
    /// `@hint`: the way out. Empty where the policy gives none.
    pub hint: String,
    /// `@sqlstate`: what the client reads as the error's code.
    #[serde(default, skip_serializing_if = "DenialCode::is_usual")]
    pub sqlstate: DenialCode,
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
    /// `@rate`, `@rows`, `@time`: how much is permitted.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// Bounds on what was permitted; of several the strictest counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Statements in a time, over all connections of one principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Rows that one statement may return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_max: Option<u64>,
    /// How long one statement may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ns_max: Option<u64>,
}

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rate {
    pub count: u32,
    pub period_ns: u64,
}

impl Limits {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Bounds that are kept while the statement runs: rows and time.
    pub fn while_running(&self) -> bool {
        self.rows_max.is_some() || self.time_ns_max.is_some()
    }

    /// The stricter of each.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.into_iter().chain(b).min()
        }
        let per_period =
            |rate: &Rate| u128::from(rate.count) * u128::from(u64::MAX) / u128::from(rate.period_ns.max(1));
        Self {
            rate: self.rate.into_iter().chain(other.rate).min_by_key(|rate| (per_period(rate), rate.count)),
            rows_max: least(self.rows_max, other.rows_max),
            time_ns_max: least(self.time_ns_max, other.time_ns_max),
        }
    }
}

/// Which bound a statement met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    Rate,
    Rows,
    Time,
}

impl LimitKind {
    pub const ALL: [Self; 3] = [Self::Rate, Self::Rows, Self::Time];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Rows => "rows",
            Self::Time => "time",
        }
    }
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
            reasons: Arc::from([Reason {
                policy: policy.into(),
                text: text.into(),
                hint: hint.into(),
                ..Reason::default()
            }]),
        }
    }

    /// The reason that the client reads: the first with a sentence, else the first.
    pub fn told(&self) -> Option<&Reason> {
        self.reasons.iter().find(|reason| !reason.text.is_empty()).or_else(|| self.reasons.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_styles_the_one_that_tells_less_counts() {
        for (at, style) in MaskStyle::ALL.into_iter().enumerate() {
            assert_eq!(MaskStyle::named(style.as_str()), Some(style));
            for other in MaskStyle::ALL.into_iter().skip(at) {
                assert_eq!((style.stricter(other), other.stricter(style)), (style, style));
            }
        }
        assert_eq!(MaskStyle::named("parital"), None);
    }

    #[test]
    fn of_several_limits_the_strictest_counts() {
        let rate = |count, seconds: u64| Some(Rate { count, period_ns: seconds * 1_000_000_000 });
        let a = Limits { rate: rate(100, 60), rows_max: Some(10), time_ns_max: None };
        let b = Limits { rate: rate(10, 1), rows_max: Some(20), time_ns_max: Some(5) };
        let both = Limits { rate: rate(100, 60), rows_max: Some(10), time_ns_max: Some(5) };
        assert_eq!((a.and(b), b.and(a), a.and(Limits::default())), (both, both, a));
    }
}
