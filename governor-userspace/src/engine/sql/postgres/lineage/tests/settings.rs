//! Settings of the server that are taken apart.

use super::*;

/// The first column may hold a piece of a secret.
fn is_cut(sql: &str) -> bool {
    let catalogue = catalogue();
    let names = Names {
        catalogue: &catalogue,
        codes: &Codes::default(),
        search_path: &public(),
        temporary: &|_| Temporary::None,
    };
    match lineage(sql, &names) {
        Lineage::Columns(flows) => flows[0].cut,
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn pieces_of_settings_that_may_hold_a_secret_are_told() {
    for sql in [
        "SELECT substr(current_setting('primary_conninfo'), 10)",
        "SELECT reverse(current_setting('SSL_passphrase_command', true))",
        "SELECT current_setting('restore_command') LIKE 'x%'",
        "SELECT upper(current_setting($1))",
        "SELECT substr(current_setting(name), 10) FROM pg_settings",
        "SELECT substr(c, 10) FROM current_setting('archive_command') c",
        "SELECT substr(setting, 10) FROM pg_settings",
        "SELECT substr(boot_val, 10) FROM pg_settings WHERE name = 'primary_conninfo'",
        "SELECT substr(setting, 10) FROM pg_settings WHERE name = 'port' OR unit = 'kB'",
        "SELECT substr(setting, 10) FROM pg_settings WHERE name IN ('port', 'archive_command')",
        "SELECT substr(setting, 10) FROM pg_settings WHERE name = $1",
        "SELECT substr(b.setting, 10) FROM pg_settings a, pg_settings b WHERE a.name = 'port'",
        "SELECT substr(b.setting, 10) FROM pg_settings a JOIN pg_settings b ON true WHERE a.name = 'port'",
        "SELECT substr(name, 10) FROM pg_settings p (setting, name) WHERE name = 'port'",
        "SELECT substr(s.x, 10) FROM (SELECT a.name, b.setting AS x FROM pg_settings a, pg_settings b) s WHERE name = 'port'",
        "SELECT substr(setting, 10) FROM pg_settings WHERE vartype = 'string'",
    ] {
        assert!(is_cut(sql), "{sql}");
    }
}

/// What applications and object mappers ask.
#[test]
fn other_settings_may_be_computed_with() {
    for sql in [
        "SELECT current_setting('server_version_num')::int / 100",
        "SELECT upper(current_setting('app.tenant', true))",
        "SELECT current_setting('primary_conninfo')",
        "SELECT setting FROM pg_settings",
        "SELECT name || '=' || setting FROM pg_settings",
        "SELECT current_setting(name) FROM pg_settings",
        "SELECT setting::int FROM pg_settings WHERE name = 'max_connections'",
        "SELECT s.setting::bigint * 8192 FROM pg_settings s WHERE s.name IN ('shared_buffers', 'wal_buffers') AND true",
        "SELECT setting::int FROM pg_catalog.pg_settings WHERE vartype = 'integer'",
        "SELECT upper(name) FROM pg_settings",
        "SELECT substr(setting, 1) FROM (SELECT setting FROM pg_settings WHERE name = 'port') s",
    ] {
        assert!(!is_cut(sql), "{sql}");
    }
}
