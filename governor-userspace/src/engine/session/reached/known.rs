//! What is known of functions without reading them: names that a session uses before there is a catalogue, and extensions.

use super::{Reached, add_kind};
use crate::engine::model::{Function, FunctionName, SearchPath, Statement, StatementKind as Kind};

/// The same without a catalogue: of functions only the most usual of the server's own are known.
pub(in super::super) fn reach_without(statement: &Statement) -> Reached {
    let mut reached = statement.clone();
    let mut hidden = Vec::new();
    if let Some(function) = statement.functions.iter().find(|name| !is_usual(name)) {
        hidden.push(format!("{function} is not known: the catalogue could not be read"));
        add_kind(&mut reached, Kind::Call);
    }
    if let (Some(name), true) = (statement.dotted.first(), hidden.is_empty()) {
        hidden.push(format!("{name} may be a function: the catalogue could not be read"));
        add_kind(&mut reached, Kind::Call);
    }
    let functions_certain = bare_are_usual(statement);
    Reached {
        statement: reached,
        rows_max: None,
        columns_certain: false,
        functions_certain,
        via: vec![],
        hidden,
    }
}

/// Every function that is named without a schema is one of the most usual of the server's own.
pub(in super::super) fn bare_are_usual(statement: &Statement) -> bool {
    statement.functions.iter().all(|name| name.schema.is_some() || is_usual(name))
        && statement.dotted.is_empty()
}

fn is_usual(name: &FunctionName) -> bool {
    match name.schema.as_deref() {
        None => USUAL.binary_search(&name.name.as_str()).is_ok(),
        Some(schema) => schema == "pg_catalog",
    }
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
        // A usual name in a schema that is not the server's is anybody's.
        let with = |schema: &str, name: &str| {
            let functions = vec![FunctionName { schema: Some(schema.into()), name: name.into() }];
            let reached = reach_without(&Statement { functions, ..Statement::setting("a", "b") });
            (reached.statement.kind, reached.functions_certain)
        };
        assert_eq!(with("app", "count"), (Kind::Call, true));
        assert_eq!(with("pg_catalog", "wipe"), (Kind::Session, true));
    }

    #[test]
    fn bare_functions_are_the_servers_own_where_their_names_are_usual() {
        let certain = |name: &str| {
            let functions = vec![FunctionName { schema: None, name: name.into() }];
            reach_without(&Statement { functions, ..Statement::setting("a", "b") }).functions_certain
        };
        assert_eq!((certain("count"), certain("wipe")), (true, false));
    }
}
