//! What a database and its server hold, part by part, so that any change shows.
//!
//! `tests/bypass/state.sql` answers rows of (part, digest). Parts that begin with `server` are not of the
//! database alone: what changes them has to be taken away by the attack's `clean_up`.

use std::collections::BTreeMap;

/// Digest by part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<String, String>);

impl State {
    /// From rows as psql prints them: `part|digest`.
    pub fn parse(text: &str) -> Self {
        let rows = text.lines().filter_map(|line| line.split_once('|'));
        Self(rows.map(|(part, digest)| (part.to_owned(), digest.to_owned())).collect())
    }

    /// Parts that differ between the two.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let parts = self.0.keys().chain(other.0.keys().filter(|part| !self.0.contains_key(*part)));
        parts.filter(|part| self.0.get(*part) != other.0.get(*part)).cloned().collect()
    }
}

/// Whether a part is shared by all databases of the server.
pub fn is_of_server(part: &str) -> bool {
    part.starts_with("server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_parts_that_changed_came_or_went() {
        let before = State::parse("rows people|a\nrows orders|b\nserver roles|c");
        let after = State::parse("rows people|x\nserver roles|c\nrows loot|d");
        assert_eq!(before.differences(&after), ["rows orders", "rows people", "rows loot"]);
        assert!(before.differences(&before).is_empty());
    }
}
