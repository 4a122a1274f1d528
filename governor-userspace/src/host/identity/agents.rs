//! Programs that give away who drives a process: the data behind the classes `agent` and `person`.
//!
//! `known-agents.toml` beside this file is built in; users extend it with a file of the same form. The
//! data is parsed strictly: a typing error must not quietly switch a rule off.

use super::glob::{Glob, GlobError, regex_source};
use super::secrets::{base_name, split_arguments};
use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;
use std::collections::HashMap;

/// Known agents and logins, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAgents {
    pub agents: Vec<KnownAgent>,
    pub logins: Vec<KnownLogin>,
}

/// How to recognise one AI agent, or tool of agents. One match of any kind is enough.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownAgent {
    pub name: String,
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// With `/`: the executable's path. Without: file name, program name, short name, interpreted script.
    #[serde(default)]
    pub executables: Vec<Glob>,
    /// Part of one argument, or with wildcards a pattern for a whole one.
    #[serde(default)]
    pub command_line: Vec<String>,
    /// Names of environment variables; a `*` may end one.
    #[serde(default)]
    pub environment: Vec<String>,
}

/// How to recognise that a person logged in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownLogin {
    pub name: String,
    #[serde(default = "enabled")]
    pub enabled: bool,
    #[serde(default)]
    pub executables: Vec<Glob>,
    #[serde(default)]
    pub units: Vec<Glob>,
}

/// Why a file of known agents was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentsError {
    #[error("line {line}: {reason}")]
    Syntax { line: usize, reason: String },
    #[error("[[{table}]] {name:?}: {reason}")]
    Entry { table: &'static str, name: String, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    agent: Vec<KnownAgent>,
    #[serde(default)]
    login: Vec<KnownLogin>,
}

impl KnownAgents {
    /// What governor knows by itself.
    pub fn builtin() -> Self {
        // The text is part of the program and a test parses it; an empty list would be the lenient answer.
        #[allow(clippy::expect_used)]
        Self::parse(BUILTIN_TEXT).expect("the built-in list is right")
    }

    /// The built-in list as text, for people who want to see or copy it.
    pub const fn builtin_text() -> &'static str {
        BUILTIN_TEXT
    }

    /// Nothing known: every process is judged by its terminal, login, unit and assignment alone.
    pub const fn none() -> Self {
        Self { agents: Vec::new(), logins: Vec::new() }
    }

    /// Reads the text of a file of known agents.
    pub fn parse(text: &str) -> Result<Self, AgentsError> {
        let file: File = toml::from_str(text).map_err(|error| AgentsError::Syntax {
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            reason: error.message().replace("unknown field", "unknown key"),
        })?;
        let mut seen = HashMap::new();
        for agent in &file.agent {
            let fail =
                |reason: String| AgentsError::Entry { table: "agent", name: agent.name.clone(), reason };
            if agent.name.trim().is_empty() {
                return Err(fail("`name` must not be empty".into()));
            }
            if seen.insert(("agent", &agent.name), ()).is_some() {
                return Err(fail("the name is used twice in this file".into()));
            }
            for pattern in &agent.command_line {
                argument_source(pattern).map_err(|e| fail(format!("command_line {pattern:?}: {e}")))?;
            }
            if let Some(bad) = agent.environment.iter().find(|name| !is_variable_pattern(name)) {
                return Err(fail(format!(
                    "environment {bad:?}: write the name of a variable, with at most one `*` at its end; values are never read"
                )));
            }
            let empty =
                agent.executables.is_empty() && agent.command_line.is_empty() && agent.environment.is_empty();
            if empty && agent.enabled {
                return Err(fail("give at least one of `executables`, `command_line`, `environment`".into()));
            }
        }
        for login in &file.login {
            let fail =
                |reason: String| AgentsError::Entry { table: "login", name: login.name.clone(), reason };
            if login.name.trim().is_empty() {
                return Err(fail("`name` must not be empty".into()));
            }
            if seen.insert(("login", &login.name), ()).is_some() {
                return Err(fail("the name is used twice in this file".into()));
            }
            if login.executables.is_empty() && login.units.is_empty() && login.enabled {
                return Err(fail("give at least one of `executables`, `units`".into()));
            }
        }
        Ok(Self { agents: file.agent, logins: file.login })
    }

    /// Adds `other`; its entries replace those of the same name here.
    pub fn extended(mut self, other: Self) -> Self {
        self.agents.retain(|known| other.agents.iter().all(|new| new.name != known.name));
        self.logins.retain(|known| other.logins.iter().all(|new| new.name != known.name));
        self.agents.extend(other.agents);
        self.logins.extend(other.logins);
        self
    }
}

/// What can be seen of a process when it is compared with the known programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appearance<'a> {
    pub executable: Option<&'a str>,
    pub command: &'a str,
    /// The raw command line, secrets included: compared, never kept.
    pub command_line: &'a [u8],
}

/// The known programs, compiled.
#[derive(Debug)]
pub(super) struct Recogniser {
    agents: Programs,
    agent_arguments: Patterns,
    markers: HashMap<String, String>,
    marker_prefixes: Vec<(String, String)>,
    logins: Programs,
    login_units: Patterns,
}

impl Recogniser {
    pub(super) fn new(known: &KnownAgents) -> Result<Self, regex::Error> {
        let agents: Vec<_> = known.agents.iter().filter(|a| a.enabled).collect();
        let logins: Vec<_> = known.logins.iter().filter(|l| l.enabled).collect();
        let mut markers = HashMap::new();
        let mut marker_prefixes = Vec::new();
        for agent in &agents {
            for name in &agent.environment {
                match name.strip_suffix('*') {
                    Some(prefix) => marker_prefixes.push((prefix.to_owned(), agent.name.clone())),
                    None => drop(markers.insert(name.clone(), agent.name.clone())),
                }
            }
        }
        let arguments =
            agents.iter().flat_map(|a| a.command_line.iter().map(|p| (p.as_str(), a.name.as_str())));
        let units = logins.iter().flat_map(|l| l.units.iter().map(|p| (p.as_str(), l.name.as_str())));
        Ok(Self {
            agent_arguments: Patterns::new(arguments, argument_source)?,
            login_units: Patterns::new(units, regex_source)?,
            agents: Programs::new(agents.iter().map(|a| (&a.name, &a.executables)))?,
            logins: Programs::new(logins.iter().map(|l| (&l.name, &l.executables)))?,
            markers,
            marker_prefixes,
        })
    }

    /// Which agent a process is by its program, and by what it is recognised.
    pub(super) fn agent(&self, seen: Appearance<'_>) -> Option<String> {
        if let Some(found) = self.agents.find(seen) {
            return Some(found);
        }
        let arguments = split_arguments(seen.command_line);
        let texts = arguments.iter().map(|a| String::from_utf8_lossy(a));
        texts
            .into_iter()
            .find_map(|text| self.agent_arguments.find(&text))
            .map(|(name, pattern)| format!("{name}: command line contains {pattern:?}"))
    }

    /// Which agent sets the environment variable `name`.
    pub(super) fn marker(&self, name: &str) -> Option<&str> {
        self.markers.get(name).map(String::as_str).or_else(|| {
            self.marker_prefixes.iter().find(|(p, _)| name.starts_with(p.as_str())).map(|(_, a)| a.as_str())
        })
    }

    pub(super) fn login(&self, seen: Appearance<'_>) -> Option<String> {
        self.logins.find(seen)
    }

    pub(super) fn login_unit(&self, unit: &str) -> Option<&str> {
        self.login_units.find(unit).map(|(name, _)| name)
    }
}

/// Patterns that answer with the entry they belong to.
#[derive(Debug)]
struct Patterns {
    set: RegexSet,
    /// Entry name and pattern as written, in the order of the set.
    entries: Vec<(String, String)>,
}

impl Patterns {
    fn new<'a>(
        patterns: impl Iterator<Item = (&'a str, &'a str)>,
        source: impl Fn(&str) -> Result<String, GlobError>,
    ) -> Result<Self, regex::Error> {
        let mut sources = Vec::new();
        let mut entries = Vec::new();
        for (pattern, name) in patterns {
            // Checked when it was parsed, so this does not drop a rule.
            let source = source(pattern).map_err(|error| regex::Error::Syntax(error.to_string()))?;
            sources.push(source);
            entries.push((name.to_owned(), pattern.to_owned()));
        }
        Ok(Self { set: RegexSetBuilder::new(sources).size_limit(SET_BYTES_MAX).build()?, entries })
    }

    fn find(&self, text: &str) -> Option<(&str, &str)> {
        let at = self.set.matches(text).iter().next()?;
        self.entries.get(at).map(|(name, pattern)| (name.as_str(), pattern.as_str()))
    }
}

/// Patterns of executables, by what they are compared with.
#[derive(Debug)]
struct Programs {
    paths: Patterns,
    names: Patterns,
}

impl Programs {
    fn new<'a>(entries: impl Iterator<Item = (&'a String, &'a Vec<Glob>)>) -> Result<Self, regex::Error> {
        let all: Vec<(&str, &str)> =
            entries.flat_map(|(name, globs)| globs.iter().map(|g| (g.as_str(), name.as_str()))).collect();
        let (paths, names): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(pattern, _)| pattern.contains('/'));
        Ok(Self {
            paths: Patterns::new(paths.into_iter(), regex_source)?,
            names: Patterns::new(names.into_iter(), regex_source)?,
        })
    }

    fn find(&self, seen: Appearance<'_>) -> Option<String> {
        let path = seen.executable.map(|path| path.strip_suffix(DELETED).unwrap_or(path));
        if let Some((name, _)) = path.and_then(|path| self.paths.find(path)) {
            return Some(format!("{name}: executable {}", path.unwrap_or_default()));
        }
        let by_name =
            |text: &str, what: &str| self.names.find(text).map(|(name, _)| format!("{name}: {what} {text}"));
        if let Some((path, (name, _))) = path.and_then(|path| Some((path, self.names.find(base_name(path))?)))
        {
            return Some(format!("{name}: executable {path}"));
        }
        let arguments = split_arguments(seen.command_line);
        let program = arguments.first().map(|a| String::from_utf8_lossy(a)).unwrap_or_default();
        // A login shell's argv[0] begins with a dash.
        let program = base_name(program.trim_start_matches('-'));
        if let Some(found) = by_name(program, "program").or_else(|| by_name(seen.command, "command")) {
            return Some(found);
        }
        if !(is_interpreter(program) || path.is_some_and(|path| is_interpreter(base_name(path)))) {
            return None;
        }
        let operands = arguments.iter().skip(1).filter(|a| !a.starts_with(b"-")).take(OPERANDS_MAX);
        operands.into_iter().find_map(|argument| {
            let text = String::from_utf8_lossy(argument);
            // Also `package@version` and `@scope/package`, which package runners take.
            let name = base_name(&text);
            let package = name.rsplit_once('@').map_or(name, |(package, _)| package);
            by_name(name, "script").or_else(|| by_name(package, "package"))
        })
    }
}

/// Programs whose first operands, not their own name, say what runs.
fn is_interpreter(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "node", "nodejs", "bun", "bunx", "deno", "npx", "npm", "pnpm", "pnpx", "yarn", "tsx", "python",
        "pypy", "ruby", "perl", "uv", "uvx", "pipx", "env", "sh", "bash", "dash",
    ];
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    NAMES.contains(&stem)
}

/// Without wildcards found anywhere in an argument; with them, it must cover the argument.
fn argument_source(pattern: &str) -> Result<String, GlobError> {
    let whole = regex_source(pattern)?;
    Ok(if pattern.contains(['*', '?']) { whole } else { regex::escape(pattern) })
}

fn is_variable_pattern(name: &str) -> bool {
    let stem = name.strip_suffix('*').unwrap_or(name);
    let first = stem.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The line, counted from 1, of a byte position.
pub(crate) fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|&b| b == b'\n').count()
}

fn enabled() -> bool {
    true
}

const BUILTIN_TEXT: &str = include_str!("known-agents.toml");
/// The kernel's mark behind the path of a removed file.
pub(super) const DELETED: &str = " (deleted)";
const OPERANDS_MAX: usize = 3;
/// Far above what a list of thousands of patterns needs.
const SET_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
#[path = "agents_tests.rs"]
mod tests;
