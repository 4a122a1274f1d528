//! One attack as its file says it. `tests/bypass/README.md` documents the format for those who write files.
//!
//! Unknown keys are errors: a misspelt one would silently test something else.

use crate::cgroup::Class;
use crate::remote_socket::Dial;
use crate::wire;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the attack is after, and so what shows that it works where nothing guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// A sensitive value reaches the client.
    Secret,
    /// Rows, definitions, rights, files or other sessions are no longer what they were.
    Change,
    /// Replies tell a right guess of a sensitive value from a wrong one.
    Oracle,
    /// No attack: ordinary work that must give the same replies as without governor.
    Work,
}

/// One file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// `section/file`, from its place; no key of the file.
    #[serde(skip)]
    pub name: String,
    /// What the attacker does, in one sentence.
    pub technique: String,
    pub aim: Aim,
    /// Whom governor takes the client for.
    #[serde(default)]
    pub class: ClassName,
    /// SQL that somebody ran before, as superuser and past governor.
    #[serde(default)]
    pub set_up: String,
    /// Queries for further strings that must not be seen: pieces, hashes, sums of sensitive values.
    #[serde(default)]
    pub reveals: Vec<String>,
    /// Policy lets this class change things, so only what is revealed counts.
    #[serde(default)]
    pub may_change: bool,
    /// Result columns of a `work` file that are masked on purpose.
    #[serde(default)]
    pub masked: Vec<String>,
    /// An oracle that tells by how long a reply takes, not by what it says.
    #[serde(default)]
    pub by_time: bool,
    /// Why the attack does not reach its aim even without governor, where that is so.
    pub ineffective: Option<String>,
    /// Why it still works through governor. It must: a gap that was closed is to be said so.
    pub known_gap: Option<String>,
    /// The lines of configuration under which a known gap is none. Played a second time, against an agent that has them: there it must hold.
    pub closed_by: Option<String>,
    /// The first major version of the server that knows what it uses; left out on older ones.
    pub since: Option<u32>,
    /// The last major version on which it works.
    pub until: Option<u32>,
    /// SQL that takes away what the attack leaves outside of its database: roles, files, settings of the server.
    #[serde(default)]
    pub clean_up: String,
    /// Acts on other sessions or the server, so that nothing else may run beside it; implied by `clean_up`.
    #[serde(default)]
    pub alone: bool,
    /// How connections are made, by name; those that are not listed are plain.
    #[serde(default)]
    pub session: BTreeMap<String, SessionOptions>,
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

impl Attack {
    /// Whether nothing else may run meanwhile.
    pub fn is_alone(&self) -> bool {
        self.alone || self.by_time || !self.clean_up.is_empty()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassName {
    Service,
    Person,
    #[default]
    Agent,
}

impl From<ClassName> for Class {
    fn from(name: ClassName) -> Self {
        match name {
            ClassName::Service => Self::Service,
            ClassName::Person => Self::Person,
            ClassName::Agent => Self::Agent,
        }
    }
}

/// One connection of the attacker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOptions {
    /// Database user; `app`, a superuser, where none is named.
    pub user: Option<String>,
    /// Further start-up parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// Minor version of protocol 3.
    #[serde(default)]
    pub minor: u16,
    /// The way to the server's port.
    #[serde(default)]
    pub dial: Dial,
}

/// One thing that happens; exactly one of `simple`, `extended`, `messages`, `outside`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The connection, opened when it is first named.
    #[serde(default = "main_session")]
    pub session: String,
    /// A simple query.
    pub simple: Option<String>,
    /// COPY data that follows it.
    pub copy: Option<String>,
    /// Parse, Bind, Describe, Execute, Sync.
    pub extended: Option<String>,
    #[serde(default)]
    pub values: Vec<String>,
    /// Results of `extended` in binary format.
    #[serde(default)]
    pub binary: bool,
    /// Messages of one write.
    pub messages: Option<Vec<Send>>,
    /// SQL that somebody else runs at this moment, past governor.
    pub outside: Option<String>,
    /// So many times, with `{n}` standing for 0, 1, …; the last reply counts. What a budget allows is used up that way.
    pub repeat: Option<u32>,
    /// For oracles: what the attacker supposes here is so, or is not.
    pub guess: Option<Guess>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guess {
    Right,
    Wrong,
}

/// One protocol message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Send {
    Query(String),
    Parse {
        #[serde(default)]
        name: String,
        text: String,
    },
    Bind {
        #[serde(default)]
        portal: String,
        #[serde(default)]
        statement: String,
        #[serde(default)]
        values: Vec<String>,
        /// Format codes of the result columns.
        #[serde(default)]
        formats: Vec<u16>,
    },
    Execute {
        #[serde(default)]
        portal: String,
        #[serde(default)]
        rows: u32,
    },
    DescribeStatement(String),
    DescribePortal(String),
    CloseStatement(String),
    ClosePortal(String),
    CopyData(String),
    CopyDone,
    CopyFail(String),
    /// By signature, such as `lower(text)`; the wire has its number.
    FunctionCall {
        function: String,
        #[serde(default)]
        arguments: Vec<String>,
    },
    Flush,
    Sync,
    /// Bytes as they are, in hexadecimal; blanks are ignored.
    Hex(String),
}

impl Send {
    /// The message; `oid` answers numbers of functions.
    pub fn bytes(&self, oid: &dyn Fn(&str) -> Result<u32>) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Query(text) => wire::query(text),
            Self::Parse { name, text } => wire::parse(name, text),
            Self::Bind { portal, statement, values, formats } => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                wire::bind_formats(portal, statement, &values, formats)
            }
            Self::Execute { portal, rows } => wire::execute_rows(portal, *rows),
            Self::DescribeStatement(name) => wire::describe(b'S', name),
            Self::DescribePortal(name) => wire::describe(b'P', name),
            Self::CloseStatement(name) => wire::close(b'S', name),
            Self::ClosePortal(name) => wire::close(b'P', name),
            Self::CopyData(text) => wire::copy_data(text),
            Self::CopyDone => wire::copy_done(),
            Self::CopyFail(why) => wire::copy_fail(why),
            Self::FunctionCall { function, arguments } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                wire::function_call(oid(function)?, &arguments)
            }
            Self::Flush => wire::flush(),
            Self::Sync => wire::sync(),
            Self::Hex(text) => from_hex(text)?,
        })
    }

    /// Whether the server answers it with ReadyForQuery.
    pub fn is_answered_by_ready(&self) -> bool {
        match self {
            Self::Query(_) | Self::FunctionCall { .. } | Self::Sync => true,
            // Raw bytes are whole messages where an answer is expected of them.
            Self::Hex(text) => ["51", "53", "46"].iter().any(|kind| text.trim_start().starts_with(kind)),
            _ => false,
        }
    }
}

/// Every file below `directory`, in the order of their names.
pub fn read_all(directory: &Path) -> Result<Vec<Attack>> {
    let mut attacks = Vec::new();
    for section in sorted(directory)?.into_iter().filter(|path| path.is_dir()) {
        for file in sorted(&section)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "toml"))
        {
            attacks.push(read(directory, &file).with_context(|| file.display().to_string())?);
        }
    }
    Ok(attacks)
}

fn read(directory: &Path, file: &Path) -> Result<Attack> {
    let mut attack: Attack = toml::from_str(&std::fs::read_to_string(file)?)?;
    attack.name = file.strip_prefix(directory)?.with_extension("").to_string_lossy().into_owned();
    let steps = attack.steps.iter().filter(|step| step.outside.is_none());
    if steps.clone().count() == 0 {
        bail!("has no step");
    }
    if attack.closed_by.is_some() && attack.known_gap.is_none() {
        bail!("what is closed by a setting is a known gap without it");
    }
    for step in &attack.steps {
        let ways =
            [step.simple.is_some(), step.extended.is_some(), step.messages.is_some(), step.outside.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            bail!("a step is one of simple, extended, messages, outside");
        }
        if step.repeat.is_some()
            && (step.guess.is_some() || (step.simple.is_none() && step.extended.is_none()))
        {
            bail!("only a query without a guess is repeated");
        }
    }
    let guesses = |guess| steps.clone().any(|step| step.guess == Some(guess));
    if (attack.aim == Aim::Oracle) != (guesses(Guess::Right) && guesses(Guess::Wrong)) {
        bail!("an oracle, and nothing else, has a step with the right guess and one with a wrong one");
    }
    Ok(attack)
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair)?, 16).context("not hexadecimal"))
        .collect()
}

fn main_session() -> String {
    "main".into()
}
