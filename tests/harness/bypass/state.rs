//! What a database and its server hold, part by part, so that any change shows.
//!
//! `tests/bypass/state.sql` answers rows of (part, digest). Parts that begin with `server` are not of the
//! database alone: what changes them has to be taken away by the attack's `clean_up`.

use std::collections::BTreeMap;

/// Digest by part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State(BTreeMap<String, String>);

impl State {
    /// From rows of part and digest.
    pub fn of(rows: Vec<Vec<String>>) -> Self {
        let pairs = rows.into_iter().filter_map(|row| <[String; 2]>::try_from(row).ok());
        Self(pairs.map(|[part, digest]| (part, digest)).collect())
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
        let state = |pairs: &[(&str, &str)]| {
            State::of(pairs.iter().map(|(part, digest)| vec![(*part).into(), (*digest).into()]).collect())
        };
        let before = state(&[("rows people", "a"), ("rows orders", "b"), ("server roles", "c")]);
        let after = state(&[("rows people", "x"), ("server roles", "c"), ("rows loot", "d")]);
        assert_eq!(before.differences(&after), ["rows orders", "rows people", "rows loot"]);
        assert!(before.differences(&before).is_empty());
    }
}
