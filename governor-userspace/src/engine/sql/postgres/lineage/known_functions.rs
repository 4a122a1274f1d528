//! The server's own functions whose volatility says too little or too much: data, one reason for each group.
//!
//! An immutable function that is not here passes its arguments; any other function that is not here may return
//! anything. Names only: overloads of one name behave alike.

use crate::engine::model::{FunctionName, SystemFunction, Volatility};

/// What a function does with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The result is made of them (and of settings, the time, the catalogue).
    Passes,
    /// The result is not made of them, but they may choose it.
    Nothing,
    /// The same, and a stored column does not choose either: its values are only counted.
    Counts,
    /// The value of a setting: data may have been put into one that users name.
    Setting,
}

pub(super) fn known(name: &str) -> Option<Known> {
    if name == "count" || name == "pg_typeof" || name == "num_nulls" || name == "num_nonnulls" {
        return Some(Known::Counts);
    }
    if name == "current_setting" {
        return Some(Known::Setting);
    }
    if NOTHING.binary_search(&name).is_ok() {
        return Some(Known::Nothing);
    }
    PASSES.binary_search(&name).is_ok().then_some(Known::Passes)
}

/// Column names of the rows that a function gives in FROM; empty: one column, named like the alias or the function.
pub(super) fn out_columns(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "json_each" | "json_each_text" | "jsonb_each" | "jsonb_each_text" => &["key", "value"],
        "json_array_elements"
        | "json_array_elements_text"
        | "jsonb_array_elements"
        | "jsonb_array_elements_text" => &["value"],
        "generate_series"
        | "generate_subscripts"
        | "json_object_keys"
        | "jsonb_object_keys"
        | "jsonb_path_query"
        | "jsonb_path_query_tz"
        | "regexp_matches"
        | "regexp_split_to_table"
        | "string_to_table"
        | "unnest" => &[],
        _ => return None,
    })
}

pub(super) fn returns_a_set(name: &str) -> bool {
    out_columns(name).is_some() || name.ends_with("_recordset")
}

/// A function of the server that gives what its arguments say, or the time, and reads nothing of relations.
pub(super) fn is_plain(name: &FunctionName, function: SystemFunction) -> bool {
    function.volatility == Volatility::Immutable
        || matches!(known(&name.name), Some(Known::Passes | Known::Nothing | Known::Counts))
}

/// The same of one that leaves nothing behind either.
pub fn computes(name: &FunctionName, function: SystemFunction) -> bool {
    is_plain(name, function) && (function.volatility != Volatility::Volatile || keeps_nothing(&name.name))
}

/// A volatile function of the server that nevertheless leaves nothing of its arguments behind.
pub(super) fn keeps_nothing(name: &str) -> bool {
    KEEPS_NOTHING.binary_search(&name).is_ok()
}

/// Volatile for what they return, or for the moment at which they return it.
const KEEPS_NOTHING: [&str; 35] = [
    "array_sample",
    "array_shuffle",
    "clock_timestamp",
    "currval",
    "gen_random_uuid",
    "lastval",
    "pg_backend_pid",
    "pg_collation_actual_version",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_database_collation_actual_version",
    "pg_database_size",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_last_xact_replay_timestamp",
    "pg_relation_filenode",
    "pg_relation_filepath",
    "pg_relation_size",
    "pg_sequence_last_value",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_stat_clear_snapshot",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_xact_status",
    "random",
    "random_normal",
    "timeofday",
    "txid_current",
    "txid_current_if_assigned",
    "txid_status",
    "uuidv4",
    "uuidv7",
];

/// Time, randomness, places and rights: nothing of a table's values. Ranks tell an order, which the window chooses.
const NOTHING: [&str; 79] = [
    "clock_timestamp",
    "cume_dist",
    "current_database",
    "current_schema",
    "current_schemas",
    "current_user",
    "currval",
    "dense_rank",
    "gen_random_uuid",
    "get_current_ts_config",
    "getdatabaseencoding",
    "getpgusername",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "lastval",
    "nextval",
    "now",
    "ntile",
    "percent_rank",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_backend_pid",
    "pg_blocking_pids",
    "pg_client_encoding",
    "pg_column_size",
    "pg_conf_load_time",
    "pg_current_snapshot",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_database_size",
    "pg_encoding_to_char",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_my_temp_schema",
    "pg_notify",
    "pg_postmaster_start_time",
    "pg_relation_size",
    "pg_sequence_last_value",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_trigger_depth",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
    "random",
    "random_normal",
    "rank",
    "row_number",
    "session_user",
    "setseed",
    "setval",
    "statement_timestamp",
    "timeofday",
    "transaction_timestamp",
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
    "uuidv4",
    "uuidv7",
    "version",
];

/// Not immutable only because of time zone, locale, encoding, date style, text search configuration, or output
/// functions of types; those with `pg_`, `has_`, `to_reg…` look names up in the catalogue, which holds no values.
const PASSES: [&str; 152] = [
    "aclexplode",
    "age",
    "any_value",
    "array_agg",
    "array_to_json",
    "array_to_string",
    "bpchar",
    "casefold",
    "col_description",
    "concat",
    "concat_ws",
    "convert",
    "convert_from",
    "convert_to",
    "date",
    "date_add",
    "date_part",
    "date_subtract",
    "date_trunc",
    "enum_first",
    "enum_last",
    "enum_range",
    "extract",
    "format",
    "format_type",
    "generate_series",
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_foreign_data_wrapper_privilege",
    "has_function_privilege",
    "has_language_privilege",
    "has_parameter_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_server_privilege",
    "has_table_privilege",
    "has_tablespace_privilege",
    "has_type_privilege",
    "in_range",
    "json_agg",
    "json_agg_strict",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "json_populate_record",
    "json_populate_recordset",
    "json_to_record",
    "json_to_recordset",
    "json_to_tsvector",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
    "jsonb_populate_record",
    "jsonb_populate_record_valid",
    "jsonb_populate_recordset",
    "jsonb_to_record",
    "jsonb_to_recordset",
    "jsonb_to_tsvector",
    "length",
    "make_timestamptz",
    "money",
    "mxid_age",
    "numeric",
    "obj_description",
    "oidvectortypes",
    "overlaps",
    "pg_char_to_encoding",
    "pg_collation_for",
    "pg_collation_is_visible",
    "pg_column_compression",
    "pg_conversion_is_visible",
    "pg_describe_object",
    "pg_function_is_visible",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_function_arg_default",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_function_sqlbody",
    "pg_get_functiondef",
    "pg_get_indexdef",
    "pg_get_partition_constraintdef",
    "pg_get_partkeydef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_statisticsobjdef",
    "pg_get_statisticsobjdef_columns",
    "pg_get_triggerdef",
    "pg_get_userbyid",
    "pg_get_viewdef",
    "pg_has_role",
    "pg_is_other_temp_schema",
    "pg_opclass_is_visible",
    "pg_operator_is_visible",
    "pg_opfamily_is_visible",
    "pg_relation_filenode",
    "pg_relation_is_publishable",
    "pg_relation_is_updatable",
    "pg_statistics_obj_is_visible",
    "pg_table_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_type_is_visible",
    "phraseto_tsquery",
    "plainto_tsquery",
    "quote_literal",
    "quote_nullable",
    "regclass",
    "row_security_active",
    "row_to_json",
    "set_config",
    "shobj_description",
    "string_agg",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_regclass",
    "to_regnamespace",
    "to_regproc",
    "to_regprocedure",
    "to_regrole",
    "to_regtype",
    "to_timestamp",
    "to_tsquery",
    "to_tsvector",
    "ts_headline",
    "websearch_to_tsquery",
    "xml",
    "xml_is_well_formed",
    "xmlagg",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_apart() {
        assert!(NOTHING.is_sorted() && PASSES.is_sorted());
        assert!(NOTHING.iter().all(|name| PASSES.binary_search(name).is_err()));
    }

    /// What runs SQL from a string, or shows files, statistics or other sessions, must never get in here.
    #[test]
    fn what_reaches_other_data_is_not_known() {
        for name in [
            "query_to_xml",
            "table_to_xml",
            "cursor_to_xml",
            "ts_stat",
            "ts_rewrite",
            "lo_get",
            "loread",
            "pg_read_file",
            "pg_read_binary_file",
            "pg_mcv_list_items",
            "pg_stat_get_activity",
            "pg_stat_get_backend_activity",
            "pg_logical_slot_get_changes",
            "pg_show_all_settings",
            "dblink",
            "current_query",
            "pg_prepared_statement",
            "pg_cursor",
        ] {
            assert_eq!(known(name), None, "{name}");
        }
    }
}
