//! The SQLSTATE that a client reads when a rule denies its statement.
//!
//! Clients act on some codes: many try again after `40001`, and close the connection after `08…` and `57P0x`. So a rule
//! chooses among those that say no, and no more.
//! Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>

use serde::{Deserialize, Serialize};

/// What `@sqlstate` may be; the first is what a rule without it gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DenialCode {
    /// `insufficient_privilege`
    #[default]
    #[serde(rename = "42501")]
    InsufficientPrivilege,
    /// `feature_not_supported`
    #[serde(rename = "0A000")]
    FeatureNotSupported,
    /// `read_only_sql_transaction`
    #[serde(rename = "25006")]
    ReadOnlyTransaction,
    /// `prohibited_sql_statement_attempted`
    #[serde(rename = "2F003")]
    ProhibitedStatement,
    /// `configuration_limit_exceeded`
    #[serde(rename = "53400")]
    LimitExceeded,
    /// `object_not_in_prerequisite_state`
    #[serde(rename = "55000")]
    NotInPrerequisiteState,
    /// `raise_exception`
    #[serde(rename = "P0001")]
    RaiseException,
}

impl DenialCode {
    pub const ALL: [Self; 7] = [
        Self::InsufficientPrivilege,
        Self::FeatureNotSupported,
        Self::ReadOnlyTransaction,
        Self::ProhibitedStatement,
        Self::LimitExceeded,
        Self::NotInPrerequisiteState,
        Self::RaiseException,
    ];

    /// The five characters, as policy, records and the wire have them.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientPrivilege => "42501",
            Self::FeatureNotSupported => "0A000",
            Self::ReadOnlyTransaction => "25006",
            Self::ProhibitedStatement => "2F003",
            Self::LimitExceeded => "53400",
            Self::NotInPrerequisiteState => "55000",
            Self::RaiseException => "P0001",
        }
    }

    pub fn named(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == code)
    }

    /// Nothing to write down: the rule names none.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_it_is_read() {
        for code in DenialCode::ALL {
            assert_eq!(DenialCode::named(code.as_str()), Some(code));
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.as_str()));
        }
        for other in ["40001", "57P01", "08006", "00000", "4250", "425011", ""] {
            assert_eq!(DenialCode::named(other), None, "{other}");
        }
    }
}
