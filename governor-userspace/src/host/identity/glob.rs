//! Shell-like patterns for paths, units and names.
//!
//! `*` is any run of characters without `/`, `**` any run, `?` one character but `/`. Nothing else is
//! special. A pattern always covers the whole text, so `billing*` never finds `/x/billing`.

use regex::Regex;
use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// One compiled pattern. Two patterns are equal if they were written alike.
#[derive(Clone)]
pub struct Glob {
    text: String,
    regex: Regex,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("a pattern must not be empty")]
    Empty,
    #[error("a pattern of only wildcards matches everything; name what it should match")]
    MatchesEverything,
    #[error("a pattern may have at most {PATTERN_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    #[error("a pattern must not contain control characters")]
    Control,
}

impl Glob {
    pub fn new(text: &str) -> Result<Self, GlobError> {
        let source = regex_source(text)?;
        // The source is escaped text and three fixed pieces within a length limit: it always compiles.
        let regex = Regex::new(&source).map_err(|_| GlobError::TooLong(text.len()))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The regular expression that means the same as the pattern `text`.
pub(super) fn regex_source(text: &str) -> Result<String, GlobError> {
    if text.is_empty() {
        return Err(GlobError::Empty);
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err(GlobError::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(GlobError::Control);
    }
    if text.chars().all(|c| matches!(c, '*' | '?' | '/')) {
        return Err(GlobError::MatchesEverything);
    }
    let mut source = String::from(r"\A(?s:");
    let mut characters = text.chars().peekable();
    let mut buffer = [0u8; 4];
    while let Some(c) = characters.next() {
        match c {
            '*' if characters.peek() == Some(&'*') => {
                while characters.next_if_eq(&'*').is_some() {}
                source.push_str(".*");
            }
            '*' => source.push_str("[^/]*"),
            '?' => source.push_str("[^/]"),
            other => source.push_str(&regex::escape(other.encode_utf8(&mut buffer))),
        }
    }
    source.push_str(r")\z");
    Ok(source)
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

const PATTERN_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_texts_and_stops_at_slashes() {
        for (pattern, text, expected) in [
            ("/system.slice/app.service", "/system.slice/app.service", true),
            ("/system.slice/app.service", "/system.slice/app.service/child", false),
            ("app", "xapp", false),
            ("app*.service", "app-1.service", true),
            ("*billing.service", "user@1000.service/billing.service", false),
            ("/opt/*/bin/tool", "/opt/a/bin/tool", true),
            ("/opt/*/bin/tool", "/opt/a/b/bin/tool", false),
            ("/opt/**/tool", "/opt/a/b/bin/tool", true),
            ("/opt/**", "/opt/a\nb", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a.c", "abc", false),
            ("a[b]c", "a[b]c", true),
            ("python3.*", "python3.11", true),
            ("ü*", "übung", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn refuses_patterns_that_say_nothing() {
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
        for pattern in ["*", "**", "/**", "?", "/"] {
            assert_eq!(Glob::new(pattern), Err(GlobError::MatchesEverything), "{pattern}");
        }
        assert_eq!(Glob::new(&"a".repeat(2000)), Err(GlobError::TooLong(2000)));
        assert_eq!(Glob::new("a\nb"), Err(GlobError::Control));
    }
}
