//! Functions whose call does more than compute: data, one line each.
//!
//! Matched by the last part of the name whatever the schema: extensions live where their owner put
//! them, and `search_path` decides what an unqualified name means. A user's own function of such a name
//! is therefore treated like the known one; a user's own function of another name is only reported.

use crate::engine::model::FunctionName;

/// What a call does besides returning a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Runs SQL from a string, or reads and writes what the statement does not name
    /// (files, large objects, the write-ahead log, another server).
    Opaque,
    /// Changes a setting of the session.
    Setting,
    /// Sends a notification.
    Notify,
    /// Moves a sequence, which is a write that no rollback undoes.
    Sequence,
    /// Takes a lock on which other sessions wait.
    Lock,
    /// Acts on the server or on other sessions.
    Administration,
}

pub(super) fn effect(function: &FunctionName) -> Option<Effect> {
    let name = function.name.as_str();
    let exact = EXACT.binary_search_by(|(known, _)| (*known).cmp(name)).ok();
    if let Some((_, effect)) = exact.and_then(|at| EXACT.get(at)) {
        return Some(*effect);
    }
    PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, effect)| *effect).or_else(|| {
        let schema = function.schema.as_deref()?;
        SCHEMAS.contains(&schema).then_some(Effect::Opaque)
    })
}

/// A function that makes a value out of a whole row when written as its column: `p.row_to_json` is
/// `row_to_json(p)`.
pub(super) fn reads_a_row(name: &str) -> bool {
    ROW_READERS.binary_search(&name).is_ok()
}

/// Sorted by name.
const EXACT: &[(&str, Effect)] = &[
    ("brin_desummarize_range", Effect::Administration),
    ("brin_summarize_new_values", Effect::Administration),
    ("brin_summarize_range", Effect::Administration),
    ("connectby", Effect::Opaque), // tablefunc: builds SQL from names
    ("crosstab", Effect::Opaque),  // tablefunc: SQL text
    ("crosstab2", Effect::Opaque),
    ("crosstab3", Effect::Opaque),
    ("crosstab4", Effect::Opaque),
    ("crosstab_hash", Effect::Opaque),
    ("cursor_to_xml", Effect::Opaque), // a cursor by name
    ("cursor_to_xmlschema", Effect::Opaque),
    ("gin_clean_pending_list", Effect::Administration),
    ("heap_page_items", Effect::Opaque),
    ("http", Effect::Opaque), // extension http: another server
    ("http_delete", Effect::Opaque),
    ("http_get", Effect::Opaque),
    ("http_head", Effect::Opaque),
    ("http_patch", Effect::Opaque),
    ("http_post", Effect::Opaque),
    ("http_put", Effect::Opaque),
    ("loread", Effect::Opaque),
    ("lowrite", Effect::Opaque),
    ("nextval", Effect::Sequence),
    ("pg_backup_start", Effect::Administration),
    ("pg_backup_stop", Effect::Administration),
    ("pg_cancel_backend", Effect::Administration),
    ("pg_copy_logical_replication_slot", Effect::Opaque),
    ("pg_copy_physical_replication_slot", Effect::Administration),
    ("pg_create_logical_replication_slot", Effect::Opaque),
    ("pg_create_physical_replication_slot", Effect::Opaque),
    ("pg_create_restore_point", Effect::Administration),
    ("pg_current_logfile", Effect::Opaque),
    ("pg_drop_replication_slot", Effect::Administration),
    ("pg_get_wal_records_info", Effect::Opaque), // pg_walinspect
    ("pg_hba_file_rules", Effect::Opaque),
    ("pg_import_system_collations", Effect::Administration),
    ("pg_log_backend_memory_contexts", Effect::Administration),
    ("pg_log_standby_snapshot", Effect::Administration),
    ("pg_logdir_ls", Effect::Opaque),
    ("pg_nextoid", Effect::Administration),
    ("pg_notify", Effect::Notify),
    ("pg_promote", Effect::Administration),
    ("pg_read_binary_file", Effect::Opaque),
    ("pg_read_file", Effect::Opaque),
    ("pg_read_file_old", Effect::Opaque),
    ("pg_reload_conf", Effect::Administration),
    ("pg_replication_slot_advance", Effect::Administration),
    ("pg_rotate_logfile", Effect::Administration),
    ("pg_start_backup", Effect::Administration),
    ("pg_stat_file", Effect::Opaque),
    ("pg_stat_statements_reset", Effect::Administration),
    ("pg_stop_backup", Effect::Administration),
    ("pg_stop_making_pinned_objects", Effect::Administration),
    ("pg_switch_wal", Effect::Administration),
    ("pg_sync_replication_slots", Effect::Administration),
    ("pg_terminate_backend", Effect::Administration),
    ("pg_wal_replay_pause", Effect::Administration),
    ("pg_wal_replay_resume", Effect::Administration),
    ("query_to_xml", Effect::Opaque),
    ("query_to_xml_and_xmlschema", Effect::Opaque),
    ("query_to_xmlschema", Effect::Opaque),
    ("set_config", Effect::Setting),
    ("setval", Effect::Sequence),
    ("ts_rewrite", Effect::Opaque),  // second form takes SQL text
    ("ts_stat", Effect::Opaque),     // SQL text
    ("xpath_table", Effect::Opaque), // xml2: builds SQL from names
];

const PREFIXES: &[(&str, Effect)] = &[
    ("dblink", Effect::Opaque),
    ("table_to_xml", Effect::Opaque),
    ("schema_to_xml", Effect::Opaque),
    ("database_to_xml", Effect::Opaque),
    ("lo_", Effect::Opaque), // large objects: import, export, get, put, create …
    ("pg_ls_", Effect::Opaque),
    ("pg_file_", Effect::Opaque),    // adminpack
    ("pg_logical_", Effect::Opaque), // slot_get_changes, slot_peek_changes, emit_message
    ("pg_background_", Effect::Opaque),
    ("pg_advisory_", Effect::Lock),
    ("pg_try_advisory_", Effect::Lock),
    ("pg_clear_", Effect::Administration), // statistics of a relation or column, as pg_restore_ does
    ("pg_restore_", Effect::Administration),
    ("pg_stat_reset", Effect::Administration), // all, of one relation, of shared counters …
    ("pg_replication_origin_", Effect::Administration),
    ("heap_force_", Effect::Administration), // pg_surgery
    ("binary_upgrade_", Effect::Administration),
    ("get_raw_page", Effect::Opaque), // pageinspect: rows below every check
    ("postgres_fdw_", Effect::Opaque),
];

/// Schemas of extensions whose every function runs SQL or reaches outside.
const SCHEMAS: &[&str] = &["cron", "aws_s3", "aws_lambda", "oracle_fdw", "plproxy", "net"];

/// Sorted. From pg_proc: what takes a record, "any" or anyelement and tells something of its values.
const ROW_READERS: &[&str] = &[
    "any_out",
    "anycompatible_out",
    "anyelement_out",
    "anynonarray_out",
    "array_agg",
    "array_append",
    "array_prepend",
    "concat",
    "first_value",
    "format",
    "hash_record",
    "hash_record_extended",
    "hstore",
    "json_agg",
    "json_agg_strict",
    "json_build_array",
    "json_build_object",
    "jsonb_agg",
    "jsonb_agg_strict",
    "jsonb_build_array",
    "jsonb_build_object",
    "lag",
    "last_value",
    "lead",
    "quote_literal",
    "quote_nullable",
    "record_out",
    "record_send",
    "row_to_json",
    "text",
    "to_json",
    "to_jsonb",
    "varchar",
    "xmlelement",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_for_binary_search() {
        assert!(EXACT.is_sorted_by(|a, b| a.0 < b.0));
        assert!(ROW_READERS.is_sorted());
    }
}
