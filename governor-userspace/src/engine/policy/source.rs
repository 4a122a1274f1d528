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

/// A rule pack that ships with governor: policies, and cases that show what they answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pack {
    /// The word in the configuration and on the command line.
    pub name: &'static str,
    text: &'static str,
    /// A case file, as `governor policy test` reads it.
    pub cases: &'static str,
}

impl Pack {
    pub const ALL: [Pack; 7] = [
        Pack {
            name: "essential",
            text: include_str!("packs/essential.cedar"),
            cases: include_str!("packs/essential.cases.toml"),
        },
        Pack {
            name: "agents-read-only",
            text: include_str!("packs/agents-read-only.cedar"),
            cases: include_str!("packs/agents-read-only.cases.toml"),
        },
        Pack {
            name: "agents-with-approval",
            text: include_str!("packs/agents-with-approval.cedar"),
            cases: include_str!("packs/agents-with-approval.cases.toml"),
        },
        Pack {
            name: "pci",
            text: include_str!("packs/pci.cedar"),
            cases: include_str!("packs/pci.cases.toml"),
        },
        Pack {
            name: "gdpr",
            text: include_str!("packs/gdpr.cedar"),
            cases: include_str!("packs/gdpr.cases.toml"),
        },
        Pack {
            name: "hipaa",
            text: include_str!("packs/hipaa.cedar"),
            cases: include_str!("packs/hipaa.cases.toml"),
        },
        Pack {
            name: "soc2",
            text: include_str!("packs/soc2.cedar"),
            cases: include_str!("packs/soc2.cases.toml"),
        },
    ];

    pub fn named(name: &str) -> Option<Pack> {
        Self::ALL.into_iter().find(|pack| pack.name == name)
    }

    /// The names of all packs, for messages.
    pub fn names() -> String {
        Self::ALL.map(|pack| pack.name).join(", ")
    }

    pub fn source(&self) -> PolicySource {
        PolicySource::new(format!("pack/{}.cedar", self.name), self.text)
    }

    /// `pack/NAME.cases.toml`, for messages.
    pub fn cases_name(&self) -> String {
        format!("pack/{}.cases.toml", self.name)
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
