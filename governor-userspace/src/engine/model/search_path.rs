//! In which schemas a session looks for a name without one.

use serde::{Deserialize, Serialize};

/// The server's `search_path` as a session has it now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SearchPath {
    /// In order, as they are searched: `"$user"` is resolved. `pg_catalog` and `pg_temp` stand in it only where the
    /// session named them; otherwise the server searches `pg_temp` and then `pg_catalog` first.
    Known(Vec<String>),
    /// Why it cannot be told. A name may then be in any schema.
    Unknown(String),
}

impl SearchPath {
    /// The schemas in the order of the server's search for relations, functions and types; `None` where
    /// they are not known.
    ///
    /// `pg_temp` is left out for functions and operators unless it is named: the caller says so by `functions`.
    /// Source: <https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-SEARCH-PATH>
    pub fn searched(&self, functions: bool) -> Option<Vec<&str>> {
        let Self::Known(named) = self else { return None };
        let has = |name: &str| named.iter().any(|schema| schema == name);
        let mut searched = Vec::with_capacity(named.len() + 2);
        if !functions && !has(TEMPORARY) {
            searched.push(TEMPORARY);
        }
        if !has(SYSTEM) {
            searched.push(SYSTEM);
        }
        // Named or not, no function or operator is ever found by searching the temporary schema.
        searched.extend(named.iter().map(String::as_str).filter(|schema| !functions || *schema != TEMPORARY));
        Some(searched)
    }
}

const TEMPORARY: &str = "pg_temp";
const SYSTEM: &str = "pg_catalog";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_schema_comes_first_unless_it_is_named() {
        let path = SearchPath::Known(vec!["app".into(), "public".into()]);
        assert_eq!(path.searched(false).unwrap(), ["pg_temp", "pg_catalog", "app", "public"]);
        assert_eq!(path.searched(true).unwrap(), ["pg_catalog", "app", "public"]);
        let shadows = SearchPath::Known(vec!["evil".into(), "pg_catalog".into(), "pg_temp".into()]);
        assert_eq!(shadows.searched(false).unwrap(), ["evil", "pg_catalog", "pg_temp"]);
        assert_eq!(shadows.searched(true).unwrap(), ["evil", "pg_catalog"]);
        assert_eq!(SearchPath::Unknown("set by a function".into()).searched(true), None);
    }
}
