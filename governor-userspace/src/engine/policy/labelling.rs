//! What the operator says about relations, destinations and principals: labels, environments, groups.
//!
//! Part of a policy set and of its version: a label that changes is a policy that changes.
//!
//! Invariant: doubt widens. A relation named without its schema may have the labels of every relation of
//! that name; what is certain about it is only what holds in every schema.

use super::question::Reading;
use crate::engine::model::wildcard;
use crate::engine::model::{Category, Claims, ColumnName, Endpoint, Mentions, Principal, RelationName};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;

/// Everything of all files, in the order in which they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Labelling {
    #[serde(rename = "label")]
    pub labels: Vec<LabelRule>,
    /// The first that matches counts.
    #[serde(rename = "environment")]
    pub environments: Vec<EnvironmentRule>,
    pub groups: BTreeMap<Word, Vec<Member>>,
}

/// Labels for relations or columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRule {
    pub on: Vec<NamePattern>,
    pub labels: BTreeSet<Word>,
    /// What labelled columns hold; `other` where it is not said and their names do not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub category: Option<Category>,
}

/// A name for destinations: those that match what is given, all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRule {
    pub name: Word,
    /// Empty: any.
    #[serde(default)]
    pub servers: Vec<Destination>,
    /// Names or patterns; empty: any.
    #[serde(default)]
    pub databases: Vec<String>,
}

/// A name of the operator's: letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Word(String);

/// `schema.relation` or `schema.relation.column`; each part a name, or a pattern with `*` for any run of
/// characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    pub schema: String,
    pub relation: String,
    pub column: Option<String>,
}

/// Servers: an address or network, and perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    address: IpAddr,
    prefix: u8,
    port: Option<u16>,
}

/// Who belongs to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// `alice`: whoever runs as that user, or logged in as it.
    User(String),
    /// `uid:1001`
    Uid(u32),
    /// `group:analysts`: a group of the host, or one that the configuration assigns.
    Group(String),
    /// `unit:etl.service`
    Unit(String),
    /// `container:ID`
    Container(String),
    /// `executable:/usr/bin/etl`
    Executable(String),
    /// `sha256:64 hexadecimal digits`
    Sha256(String),
}

impl Labelling {
    /// Takes in another file's rules, after one's own.
    pub fn extend(&mut self, other: Labelling) {
        self.labels.extend(other.labels);
        self.environments.extend(other.environments);
        for (name, members) in other.groups {
            self.groups.entry(name).or_default().extend(members);
        }
    }

    /// Every label that some rule gives.
    pub fn all_labels(&self) -> BTreeSet<&str> {
        self.labels.iter().flat_map(|rule| &rule.labels).map(Word::as_str).collect()
    }

    pub(super) fn wants_executable_hash(&self) -> bool {
        self.groups.values().flatten().any(|member| matches!(member, Member::Sha256(_)))
    }

    /// Some rule is about columns.
    pub(super) fn has_columns(&self) -> bool {
        self.labels.iter().any(|rule| rule.on.iter().any(|pattern| pattern.column.is_some()))
    }

    /// Labels of a relation, and of those of its columns that `columns` says are drawn on.
    /// `bare` are the schemas that a name without one can mean (`None`: any).
    pub(super) fn of_relation(
        &self,
        name: &RelationName,
        bare: Option<&[String]>,
        columns: &Columns<'_>,
        reading: Reading,
    ) -> BTreeSet<&str> {
        let fits = |pattern: &NamePattern| {
            wildcard(&pattern.relation, &name.name)
                && pattern.fits_schema(name.schema.as_deref(), bare, reading)
                && pattern.column.as_ref().is_none_or(|column| columns.draw_on(column, reading))
        };
        let rules = self.labels.iter().filter(|rule| rule.on.iter().any(fits));
        rules.flat_map(|rule| &rule.labels).map(Word::as_str).collect()
    }

    /// Labels of a column whose origin is known: its own and its relation's.
    pub fn of_column(&self, name: &ColumnName) -> BTreeSet<&str> {
        let rules = self.labels.iter().filter(|rule| rule.on.iter().any(|pattern| pattern.fits_column(name)));
        rules.flat_map(|rule| &rule.labels).map(Word::as_str).collect()
    }

    /// Labels of a relation itself: those that it certainly has, and others that it could have. `bare` are the schemas that
    /// a name without one can mean (`None`: any).
    pub fn of_whole_relation(
        &self,
        name: &RelationName,
        bare: Option<&[String]>,
    ) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let certain = self.of_relation(name, bare, &NO_COLUMNS, Reading::Certain);
        let possible = self.of_relation(name, bare, &NO_COLUMNS, Reading::Possible);
        let only_possible = possible.difference(&certain).copied().collect();
        (certain, only_possible)
    }

    /// Whether a rule names this column itself, so that it counts as sensitive; and as what, where the rule says. A name
    /// without its schema is taken for every column that it could be.
    pub fn column_rule(&self, name: &ColumnName) -> Option<&LabelRule> {
        let fits = |pattern: &NamePattern| match name.schema.is_empty() {
            true => pattern.fits_column(&ColumnName { schema: pattern.schema.clone(), ..name.clone() }),
            false => pattern.fits_column(name),
        };
        self.labels
            .iter()
            .find(|rule| rule.on.iter().any(|pattern| pattern.column.is_some() && fits(pattern)))
    }

    /// The patterns that name columns.
    pub fn column_patterns(&self) -> impl Iterator<Item = &NamePattern> {
        self.labels.iter().flat_map(|rule| &rule.on).filter(|pattern| pattern.column.is_some())
    }

    pub(super) fn environment(&self, claims: &Claims, to: &Endpoint) -> Option<&str> {
        let found = self.environments.iter().find(|rule| {
            let server = rule.servers.is_empty() || rule.servers.iter().any(|server| server.holds(to));
            let database = rule.databases.is_empty()
                || rule.databases.iter().any(|pattern| wildcard(pattern, &claims.database));
            server && database
        });
        found.map(|rule| rule.name.as_str())
    }

    /// The groups that these files give to `principal`.
    pub(super) fn groups_of<'a>(&'a self, principal: &'a Principal) -> impl Iterator<Item = &'a str> {
        let has = |members: &[Member]| members.iter().any(|member| member.is(principal));
        self.groups.iter().filter(move |(_, members)| has(members)).map(|(name, _)| name.as_str())
    }
}

/// Which columns of the relations that it names a statement draws on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Columns<'a> {
    /// Those that are written, or all: nobody says which.
    All,
    Named {
        mentions: &'a Mentions,
        /// Nothing else can be meant by the names.
        certain: bool,
    },
}

/// Draws on nothing: what is left are the labels of relations as a whole.
pub(super) const NO_COLUMNS: Columns<'static> =
    Columns::Named { mentions: &Mentions { columns: Vec::new(), every_column: false }, certain: true };

impl Columns<'_> {
    fn draw_on(&self, pattern: &str, reading: Reading) -> bool {
        match self {
            Self::All => true,
            Self::Named { mentions, certain } => {
                mentions.every_column
                    || (reading == Reading::Possible && !certain)
                    || mentions.columns.iter().any(|column| wildcard(pattern, column))
            }
        }
    }
}

impl NamePattern {
    fn fits_schema(&self, schema: Option<&str>, bare: Option<&[String]>, reading: Reading) -> bool {
        let fits = |schema: &String| wildcard(&self.schema, schema);
        match (schema, bare, reading) {
            (Some(schema), _, _) => wildcard(&self.schema, schema),
            (None, Some(schemas), Reading::Certain) => !schemas.is_empty() && schemas.iter().all(fits),
            (None, Some(schemas), Reading::Possible) => schemas.iter().any(fits),
            (None, None, Reading::Certain) => self.schema.chars().all(|c| c == '*'),
            (None, None, Reading::Possible) => true,
        }
    }

    fn fits_column(&self, name: &ColumnName) -> bool {
        wildcard(&self.schema, &name.schema)
            && wildcard(&self.relation, &name.relation)
            && self.column.as_ref().is_none_or(|column| wildcard(column, &name.column))
    }
}

impl Destination {
    fn holds(&self, to: &Endpoint) -> bool {
        let same = match (self.address, to.address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                same_prefix(u128::from(net.to_bits()) << 96, u128::from(address.to_bits()) << 96, self.prefix)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                same_prefix(net.to_bits(), address.to_bits(), self.prefix)
            }
            _ => false,
        };
        same && self.port.is_none_or(|port| port == to.port)
    }
}

fn same_prefix(a: u128, b: u128, bits: u8) -> bool {
    bits == 0 || (a ^ b) >> (128 - u32::from(bits.min(128))) == 0
}

impl Member {
    fn is(&self, principal: &Principal) -> bool {
        match self {
            Self::User(name) => {
                principal.user == *name || principal.login_user.as_ref().is_some_and(|login| login == name)
            }
            Self::Uid(uid) => principal.uid == *uid || principal.login_uid == Some(*uid),
            Self::Group(name) => principal.groups.contains(name),
            Self::Unit(name) => principal.unit.as_ref() == Some(name),
            Self::Container(id) => principal.container.as_ref() == Some(id),
            Self::Executable(path) => principal.executable.as_ref() == Some(path),
            Self::Sha256(digest) => principal.executable_sha256.as_ref() == Some(digest),
        }
    }
}

impl Word {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if text.is_empty() || text.len() > WORD_BYTES_MAX || !text.chars().all(is_plain) {
            return Err(format!(
                "a name is 1 to {WORD_BYTES_MAX} letters, digits, '-', '_', '.' and '@', not {text:?}"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('.').collect();
        let (schema, relation, column) = match parts.as_slice() {
            [schema, relation] => (*schema, *relation, None),
            [schema, relation, column] => (*schema, *relation, Some(*column)),
            _ => return Err(name_form(text)),
        };
        if parts.iter().any(|part| part.is_empty()) || text.len() > PATTERN_BYTES_MAX {
            return Err(name_form(text));
        }
        Ok(Self { schema: schema.into(), relation: relation.into(), column: column.map(Into::into) })
    }
}

fn name_form(text: &str) -> String {
    format!(
        "{text:?} is no name of relations: write \"schema.relation\" or \"schema.relation.column\", with \"*\" \
         for any run of characters"
    )
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "{text:?} is no server: write an address or network, with or without a port, such as \
                 \"10.0.0.5:5432\", \"10.20.0.0/16\" or \"[2001:db8::/32]:5432\""
            )
        };
        let (network, port) = match (text.strip_prefix('['), text.matches(':').count()) {
            (Some(rest), _) => {
                let (network, port) = rest.split_once(']').ok_or_else(form)?;
                (network, port.strip_prefix(':'))
            }
            (None, 1) => text.split_once(':').map_or((text, None), |(network, port)| (network, Some(port))),
            (None, _) => (text, None),
        };
        let port = port.map(|port| port.parse().map_err(|_| form())).transpose()?;
        let (address, prefix) = match network.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| form())?)),
            None => (network, None),
        };
        let address: IpAddr = address.parse::<IpAddr>().map_err(|_| form())?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        if prefix > most {
            return Err(form());
        }
        Ok(Self { address, prefix, port })
    }
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "{text:?} is nobody: write a user name, or uid:NUMBER, group:NAME, unit:NAME, container:ID, \
                 executable:/PATH, sha256:DIGITS"
            )
        };
        let member = match text.split_once(':') {
            None => Self::User(text.into()),
            Some(("uid", uid)) => Self::Uid(uid.parse().map_err(|_| form())?),
            Some(("group", name)) => Self::Group(name.into()),
            Some(("unit", name)) => Self::Unit(name.into()),
            Some(("container", id)) => Self::Container(id.into()),
            Some(("executable", path)) if path.starts_with('/') => Self::Executable(path.into()),
            Some(("sha256", digest)) if digest.len() == 64 && hex::decode(digest).is_ok() => {
                Self::Sha256(digest.to_ascii_lowercase())
            }
            Some(_) => return Err(form()),
        };
        if text.is_empty() || text.ends_with(':') || text.chars().any(char::is_control) {
            return Err(form());
        }
        Ok(member)
    }
}

impl std::fmt::Display for NamePattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.relation)?;
        self.column.as_ref().map_or(Ok(()), |column| write!(f, ".{column}"))
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}/{}]", self.address, self.prefix)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Unit(name) => write!(f, "unit:{name}"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Executable(path) => write!(f, "executable:{path}"),
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

/// Read and written as text; a wrong one is an error where it stands.
macro_rules! as_text {
    ($($name:ident),*) => { $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )* };
}
as_text!(Word, NamePattern, Destination, Member);

macro_rules! to_text {
    ($($name:ident),*) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )* };
}
to_text!(NamePattern, Destination, Member);

const WORD_BYTES_MAX: usize = 100;
/// Three names of the server, and some stars.
const PATTERN_BYTES_MAX: usize = 256;
