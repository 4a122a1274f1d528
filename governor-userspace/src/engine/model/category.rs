//! The kinds of sensitive data that governor knows.

use serde::{Deserialize, Serialize};

/// What a value or column holds. The words appear in policy, records and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    Email,
    Phone,
    PaymentCard,
    Iban,
    /// National identity, social security and tax numbers.
    NationalId,
    PersonName,
    Address,
    BirthDate,
    Passport,
    /// Passwords, tokens, keys.
    Credential,
    IpAddress,
    Health,
    /// Pay and account balances of people.
    Financial,
    /// Labelled sensitive by the operator without saying more, or of unknown origin.
    Other,
    /// Nothing says that it is sensitive, but a rule of the operator's may hide it: policy is asked. No word of the
    /// configuration, and of no value: in policy it is "none".
    #[serde(rename = "none", skip_deserializing)]
    Asked,
}

impl Category {
    /// What data may be, in the order of their discriminants.
    pub const ALL: [Category; 14] = [
        Self::Email,
        Self::Phone,
        Self::PaymentCard,
        Self::Iban,
        Self::NationalId,
        Self::PersonName,
        Self::Address,
        Self::BirthDate,
        Self::Passport,
        Self::Credential,
        Self::IpAddress,
        Self::Health,
        Self::Financial,
        Self::Other,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::PaymentCard => "payment_card",
            Self::Iban => "iban",
            Self::NationalId => "national_id",
            Self::PersonName => "person_name",
            Self::Address => "address",
            Self::BirthDate => "birth_date",
            Self::Passport => "passport",
            Self::Credential => "credential",
            Self::IpAddress => "ip_address",
            Self::Health => "health",
            Self::Financial => "financial",
            Self::Other => "other",
            Self::Asked => "none",
        }
    }
}
