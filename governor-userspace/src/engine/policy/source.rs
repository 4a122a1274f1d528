//! Policy text with a name, and the texts that are built in.

use serde::{Deserialize, Serialize};

/// One policy file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySource {
    /// For people: a path, or `builtin/NAME.cedar`.
    pub name: String,
    pub text: String,
}

impl PolicySource {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

/// Which built-in policies are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Services are observed; people and agents are masked, held and denied.
    #[default]
    Protect,
    /// Nothing on the wire changes, everything is recorded.
    Observe,
}

impl Profile {
    pub const ALL: [Profile; 2] = [Profile::Protect, Profile::Observe];

    /// The word used in configuration and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Protect => "protect",
            Self::Observe => "observe",
        }
    }

    /// The built-in files of this profile: name and text.
    pub(super) fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Protect => PROTECT,
            Self::Observe => OBSERVE,
        }
    }
}

const PROTECT: &[(&str, &str)] = &[
    ("builtin/services.cedar", include_str!("builtin/services.cedar")),
    ("builtin/people.cedar", include_str!("builtin/people.cedar")),
    ("builtin/agents.cedar", include_str!("builtin/agents.cedar")),
    ("builtin/doubt.cedar", include_str!("builtin/doubt.cedar")),
    ("builtin/masking.cedar", include_str!("builtin/masking.cedar")),
];

const OBSERVE: &[(&str, &str)] = &[("builtin/observe.cedar", include_str!("builtin/observe.cedar"))];
