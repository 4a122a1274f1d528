//! What is known of functions without reading them: names that a session uses before there is a catalogue, and extensions.

use super::{Reached, add_kind};
use crate::engine::model::{Function, FunctionName, SearchPath, Statement, StatementKind as Kind};

/// The same without a catalogue: of functions only the most usual of the server's own are known.
pub(in super::super) fn reach_without(statement: &Statement) -> Reached {
    let mut reached = statement.clone();
    let mut hidden = Vec::new();
    let usual = |name: &FunctionName| {
        name.schema.as_deref() == Some("pg_catalog") || USUAL.binary_search(&name.name.as_str()).is_ok()
    };
    if let Some(function) = statement.functions.iter().find(|name| !usual(name)) {
        hidden.push(format!("{function} is not known: the catalogue could not be read"));
        add_kind(&mut reached, Kind::Call);
    }
    Reached { statement: reached, rows_max: None, columns_certain: false, via: vec![], hidden }
}

/// The `search_path` that a function sets for itself.
pub(super) fn own_path(function: &Function) -> Option<SearchPath> {
    let value = function.settings.iter().find_map(|setting| setting.strip_prefix("search_path="))?;
    let unquoted = |name: &str| {
        let name = name.trim();
        match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_lowercase(),
        }
    };
    let names: Vec<String> = value.split(',').map(unquoted).filter(|name| !name.is_empty()).collect();
    // `$user` is whoever runs it.
    if names.iter().any(|name| name == "$user") {
        return Some(SearchPath::Unknown("a function's own path names the user's schema".into()));
    }
    Some(SearchPath::Known(names))
}

/// Whether volatile functions of this extension only compute, or change a setting of their own.
pub(super) fn only_computes(extension: &str) -> bool {
    COMPUTING_EXTENSIONS.binary_search(&extension).is_ok()
}

/// Extensions whose volatile functions only compute, or change a setting of their own. Sorted.
const COMPUTING_EXTENSIONS: &[&str] = &[
    "autoinc",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "insert_username",
    "intarray",
    "isn",
    "ltree",
    "moddatetime",
    "pg_stat_statements",
    "pg_trgm",
    "pgcrypto",
    "postgis",
    "seg",
    "sslinfo",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// Functions of the server that sessions use from their first statement on. Sorted.
const USUAL: &[&str] = &[
    "abs",
    "array_agg",
    "array_length",
    "avg",
    "ceil",
    "concat",
    "count",
    "current_database",
    "current_schema",
    "current_schemas",
    "current_setting",
    "date_trunc",
    "floor",
    "format_type",
    "generate_series",
    "json_agg",
    "jsonb_agg",
    "length",
    "lower",
    "max",
    "min",
    "now",
    "obj_description",
    "pg_backend_pid",
    "pg_encoding_to_char",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_indexdef",
    "pg_get_userbyid",
    "pg_get_viewdef",
    "pg_is_in_recovery",
    "pg_table_is_visible",
    "pg_type_is_visible",
    "replace",
    "round",
    "row_number",
    "row_to_json",
    "string_agg",
    "substr",
    "sum",
    "to_char",
    "trim",
    "unnest",
    "upper",
    "version",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_for_binary_search() {
        assert!(COMPUTING_EXTENSIONS.is_sorted() && USUAL.is_sorted());
    }

    #[test]
    fn without_a_catalogue_a_call_of_what_is_not_usual_is_in_doubt() {
        let function = |name: &str| FunctionName { schema: None, name: name.into() };
        let of = |name: &str| {
            let empty = Statement { functions: vec![function(name)], ..Statement::setting("a", "b") };
            reach_without(&empty).statement.kind
        };
        assert_eq!((of("count"), of("wipe")), (Kind::Session, Kind::Call));
    }
}
