//! What governor asks a server about its catalogue, on a client's own connection.
//!
//! One simple query, so one transaction of its own, begun and ended between two of the client's; what it sets ends with
//! it. Each row begins with a word that says what it is about. Every operator, function and relation is
//! schema-qualified: nothing in a session's `search_path` can stand in for it.
//!
//! - `READ COMMITTED, NOT DEFERRABLE`: under other defaults it could wait, or fail in a standby.
//! - `search_path` empty: definitions name every object by its schema.
//! - The client's encoding may lack characters of names; the text of the server's own is always told.
//! - Stamps of what comes without its own come first: they are never newer than what was read.
//! - Definitions come last: writing them out locks the relations in them, which may take too long.
//! - Behind them only which database it is, which a server may keep to itself.
//!
//! Works on servers 12 to 18. Temporary relations are left out: each session has its own.

use std::sync::LazyLock;

/// Statements before the definitions: without their results there is no catalogue.
pub(super) const BASE_RESULTS: usize = 27;

/// With the definitions.
pub(super) const DEFINED_RESULTS: usize = BASE_RESULTS + 11;

/// Statements in all.
#[cfg(test)]
pub(in super::super) const RESULTS: usize = DEFINED_RESULTS + 1;

/// Text of the query. It begins so that nothing else does.
pub(in super::super) static QUERY: LazyLock<String> = LazyLock::new(|| {
    let qualified = STATEMENTS.map(qualify);
    qualified.join(";")
});

/// `=`, `<>`, `>=`, `>` between blanks are the server's own operators; `pg.` stands for `pg_catalog.`.
pub(in super::super) fn qualify(statement: &str) -> String {
    let words = statement.split(' ').map(|word| match word {
        "=" | "<>" | ">=" | "<" | ">" | "||" | "+" => format!("OPERATOR(pg_catalog.{word})"),
        other => other.replace("pg.", "pg_catalog."),
    });
    words.collect::<Vec<_>>().join(" ")
}

const STATEMENTS: [&str; DEFINED_RESULTS + 1] = [
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY, NOT DEFERRABLE",
    "SELECT 'settings', pg.set_config('search_path', '', true), pg.set_config('jit', 'off', true), \
     pg.set_config('lock_timeout', '2s', true), pg.set_config('statement_timeout', '30s', true), \
     pg.set_config('client_encoding', CASE WHEN pg.current_setting('server_encoding') = 'SQL_ASCII' \
     THEN 'SQL_ASCII' ELSE 'UTF8' END, true)",
    "SELECT 'a', 'r', w.ev_class, w.xmin FROM pg.pg_rewrite w WHERE w.ev_class >= 16384::pg.oid \
     UNION ALL SELECT 'a', 'r', i.inhparent, i.xmin FROM pg.pg_inherits i \
     UNION ALL SELECT 'a', 'r', f.ftrelid, f.xmin FROM pg.pg_foreign_table f \
     UNION ALL SELECT 'a', 'w', t.tgrelid, t.xmin FROM pg.pg_trigger t WHERE NOT t.tgisinternal \
     UNION ALL SELECT 'a', 'w', d.adrelid, d.xmin FROM pg.pg_attrdef d",
    "SELECT 'a', 'c', o.oid, o.xmin FROM pg.pg_operator o WHERE o.oid >= 16384::pg.oid \
     UNION ALL SELECT 'a', 'c', k.oid, k.xmin FROM pg.pg_cast k WHERE k.oid >= 16384::pg.oid \
     UNION ALL SELECT 'a', 'c', p.oid, p.xmin FROM pg.pg_policy p WHERE p.oid >= 16384::pg.oid \
     UNION ALL SELECT 'a', 'c', s.oid, s.xmin FROM pg.pg_amproc s WHERE s.oid >= 16384::pg.oid \
     UNION ALL SELECT 'a', 'c', d.oid, d.xmin FROM pg.pg_constraint d WHERE d.contypid >= 16384::pg.oid",
    "SELECT 'r', c.oid, n.nspname, c.relname, c.relkind, c.reltype, \
     CASE WHEN c.reltuples >= 0 AND c.relpages > 0 THEN c.reltuples::pg.int8 END, \
     n.oid, n.xmin \
     FROM pg.pg_class c JOIN pg.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relpersistence <> 't' AND c.relkind = ANY ('{r,p,v,m,f,S,c}'::pg.\"char\"[])",
    "SELECT 'c', a.attrelid, a.attnum, a.attname, a.atttypid, a.xmin, \
     CASE WHEN a.atttypid = 1043::pg.oid THEN a.atttypmod END \
     FROM pg.pg_attribute a JOIN pg.pg_class c ON a.attrelid = c.oid \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relpersistence <> 't' \
     AND c.relkind = ANY ('{r,p,v,m,f,c}'::pg.\"char\"[])",
    "SELECT 'p', i.inhrelid, i.inhparent FROM pg.pg_inherits i",
    "SELECT 't', t.tgrelid, t.tgname, t.tgfoid, t.tgtype FROM pg.pg_trigger t \
     WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'",
    "SELECT 'u', w.ev_class, w.oid, w.ev_type, w.is_instead FROM pg.pg_rewrite w \
     WHERE w.rulename <> '_RETURN' AND w.ev_enabled <> 'D'",
    "SELECT 'f', p.oid, n.nspname, p.proname, p.provolatile, p.prokind, p.proretset, p.pronargs, p.pronargdefaults, \
     p.provariadic <> 0, pg.array_to_json(p.proargnames), pg.array_to_json(p.proargmodes), p.prorettype, \
     pg.array_to_json(p.proconfig), l.lanname, p.prosecdef, p.proargtypes, e.extname, \
     CASE WHEN l.lanname = ANY ('{sql,plpgsql}'::pg.name[]) THEN p.prosrc END, n.oid, n.xmin, p.xmin \
     FROM pg.pg_proc p JOIN pg.pg_namespace n ON n.oid = p.pronamespace JOIN pg.pg_language l ON l.oid = p.prolang \
     LEFT JOIN pg.pg_depend d ON d.classid = 'pg.pg_proc'::pg.regclass AND d.objid = p.oid AND d.deptype = 'e' \
     LEFT JOIN pg.pg_extension e ON e.oid = d.refobjid WHERE p.oid >= 16384::pg.oid",
    "SELECT 's', p.proname, pg.bool_or(p.provolatile = 's'), pg.bool_or(p.provolatile = 'v'), \
     pg.bool_or(p.prokind = 'a') FROM pg.pg_proc p \
     WHERE p.oid < 16384::pg.oid AND p.pronamespace = 11::pg.oid GROUP BY p.proname",
    "SELECT 'o', o.oprname, o.oprcode::pg.oid, o.oprleft, o.oprright FROM pg.pg_operator o WHERE o.oid >= 16384::pg.oid",
    "SELECT 'l', c.castfunc, c.castcontext FROM pg.pg_cast c WHERE c.castfunc >= 16384::pg.oid \
     UNION ALL SELECT DISTINCT 'L', s.amproc::pg.oid, NULL::pg.\"char\" FROM pg.pg_amproc s WHERE s.amproc >= 16384::pg.oid \
     UNION ALL SELECT DISTINCT 'L', o.oprcode::pg.oid, NULL::pg.\"char\" FROM pg.pg_amop m JOIN pg.pg_operator o ON o.oid = m.amopopr \
     WHERE o.oprcode >= 16384::pg.oid \
     UNION ALL SELECT 'L', f.called, NULL FROM pg.pg_range r \
     CROSS JOIN LATERAL (VALUES (r.rngcanonical::pg.oid), (r.rngsubdiff::pg.oid)) f(called) \
     WHERE f.called >= 16384::pg.oid",
    "SELECT 'k', k.confrelid, k.conrelid, k.confdeltype, k.confupdtype, pg.array_to_string(k.confkey, ' '), \
     pg.array_to_string(k.conkey, ' ') \
     FROM pg.pg_constraint k WHERE k.contype = 'f'",
    "SELECT 'q', i.indrelid, i.indnkeyatts, i.indkey FROM pg.pg_index i JOIN pg.pg_class c ON c.oid = i.indrelid \
     WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
     AND i.indrelid >= 16384::pg.oid AND c.relkind = ANY ('{r,p}'::pg.\"char\"[]) AND c.relpersistence <> 't'",
    "SELECT CASE WHEN i.indisexclusion THEN 'X' ELSE 'Q' END, i.indrelid, i.indkey FROM pg.pg_index i \
     JOIN pg.pg_class c ON c.oid = i.indrelid \
     WHERE (i.indisunique OR i.indisexclusion) AND i.indrelid >= 16384::pg.oid \
     AND NOT (i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
     AND c.relkind = ANY ('{r,p}'::pg.\"char\"[]) AND c.relpersistence <> 't') \
     UNION ALL SELECT 'Q', i.indrelid, d.refobjsubid::pg.text::pg.int2vector FROM pg.pg_index i \
     JOIN pg.pg_depend d ON d.classid = 'pg.pg_class'::pg.regclass AND d.objid = i.indexrelid \
     AND d.refobjid = i.indrelid AND d.refobjsubid > 0 WHERE i.indisunique AND i.indexprs IS NOT NULL \
     UNION ALL SELECT 'X', k.conrelid, d.refobjsubid::pg.text::pg.int2vector FROM pg.pg_constraint k \
     JOIN pg.pg_depend d ON d.classid = 'pg.pg_constraint'::pg.regclass AND d.objid = k.oid \
     AND d.refobjid = k.conrelid AND d.refobjsubid > 0 WHERE k.contype = 'x'",
    "SELECT 'P', y.polrelid, d.refobjid, d.refobjsubid FROM pg.pg_policy y \
     JOIN pg.pg_depend d ON d.classid = 'pg.pg_policy'::pg.regclass AND d.objid = y.oid \
     WHERE d.refclassid = 'pg.pg_class'::pg.regclass AND d.refobjsubid > 0 AND y.polcmd <> 'a' \
     AND y.polqual::pg.text OPERATOR(pg.~) ':funcid (2077|3294) '",
    "SELECT 'K', p.partrelid, p.partattrs FROM pg.pg_partitioned_table p \
     UNION ALL SELECT 'E', a.attrelid, a.attnum::pg.text::pg.int2vector FROM pg.pg_attribute a \
     JOIN pg.pg_collation l ON l.oid = a.attcollation WHERE NOT l.collisdeterministic AND a.attnum > 0",
    "SELECT 'g', a.adrelid, a.adnum, d.refobjsubid FROM pg.pg_attrdef a \
     JOIN pg.pg_attribute t ON t.attrelid = a.adrelid AND t.attnum = a.adnum AND t.attgenerated <> '' \
     JOIN pg.pg_depend d ON d.classid = 'pg.pg_attrdef'::pg.regclass AND d.objid = a.oid \
     WHERE d.refclassid = 'pg.pg_class'::pg.regclass AND d.refobjid = a.adrelid AND d.refobjsubid > 0 \
     AND d.refobjsubid <> a.adnum",
    "SELECT 'n', a.attrelid, a.attnum, o.option_value FROM pg.pg_attribute a \
     CROSS JOIN LATERAL pg.pg_options_to_table(a.attfdwoptions) o \
     WHERE a.attfdwoptions IS NOT NULL AND o.option_name = 'column_name'",
    "SELECT CASE WHEN o.option_name = 'filename'::pg.text THEN 'h' WHEN o.option_name = 'program'::pg.text THEN 'H' \
     ELSE 'y' END, \
     t.ftrelid, o.option_value FROM pg.pg_foreign_table t \
     CROSS JOIN LATERAL pg.pg_options_to_table(t.ftoptions) o \
     WHERE o.option_name = ANY ('{table_name,table,filename,program}'::pg.text[])",
    "SELECT 'w', COALESCE(a.adrelid, i.indrelid, t.tgrelid, s.stxrelid, d.objid), d.refobjid, \
     EXISTS (SELECT FROM pg.pg_attribute g WHERE g.attrelid = a.adrelid AND g.attnum = a.adnum \
     AND g.attgenerated = '') FROM pg.pg_depend d \
     LEFT JOIN pg.pg_trigger t ON d.classid = 'pg.pg_trigger'::pg.regclass AND t.oid = d.objid \
     LEFT JOIN pg.pg_attrdef a ON d.classid = 'pg.pg_attrdef'::pg.regclass AND a.oid = d.objid \
     LEFT JOIN pg.pg_index i ON d.classid = 'pg.pg_class'::pg.regclass AND i.indexrelid = d.objid \
     LEFT JOIN pg.pg_statistic_ext s ON d.classid = 'pg.pg_statistic_ext'::pg.regclass AND s.oid = d.objid \
     WHERE d.refclassid = 'pg.pg_proc'::pg.regclass AND d.refobjid >= 16384::pg.oid \
     AND (t.tgfoid IS NULL OR t.tgfoid <> d.refobjid) AND d.classid = ANY (ARRAY['pg.pg_attrdef'::pg.regclass, \
     'pg.pg_statistic_ext'::pg.regclass, 'pg.pg_class'::pg.regclass, 'pg.pg_trigger'::pg.regclass]::pg.oid[])",
    "SELECT CASE WHEN k.conrelid <> 0::pg.oid THEN 'w' ELSE 'l' END, \
     CASE WHEN k.conrelid <> 0::pg.oid THEN k.conrelid ELSE d.refobjid END, d.refobjid FROM pg.pg_depend d \
     JOIN pg.pg_constraint k ON k.oid = d.objid \
     WHERE d.classid = 'pg.pg_constraint'::pg.regclass AND d.refclassid = 'pg.pg_proc'::pg.regclass \
     AND d.refobjid >= 16384::pg.oid",
    "SELECT CASE WHEN d.classid = 'pg.pg_proc'::pg.regclass THEN 'i' ELSE 'd' END, \
     COALESCE(w.ev_class, y.polrelid, p.oid), d.refobjid FROM pg.pg_depend d \
     LEFT JOIN pg.pg_rewrite w ON d.classid = 'pg.pg_rewrite'::pg.regclass AND w.oid = d.objid \
     AND w.rulename = '_RETURN' \
     LEFT JOIN pg.pg_policy y ON d.classid = 'pg.pg_policy'::pg.regclass AND y.oid = d.objid \
     LEFT JOIN pg.pg_proc p ON d.classid = 'pg.pg_proc'::pg.regclass AND p.oid = d.objid \
     WHERE d.refclassid = 'pg.pg_proc'::pg.regclass AND d.refobjid >= 16384::pg.oid \
     AND d.classid = ANY (ARRAY['pg.pg_rewrite'::pg.regclass, 'pg.pg_policy'::pg.regclass, \
     'pg.pg_proc'::pg.regclass]::pg.oid[])",
    "SELECT 'e', e.evtfoid FROM pg.pg_event_trigger e WHERE e.evtenabled <> 'D'",
    "SELECT 'z', t.oid, t.typtype, t.typelem, t.typdelim, t.typbasetype, r.rngsubtype, e.extname, t.typname, \
     t.typcategory = 'A' \
     FROM pg.pg_type t LEFT JOIN pg.pg_range r ON r.rngtypid = t.oid \
     LEFT JOIN pg.pg_depend d ON d.classid = 'pg.pg_type'::pg.regclass AND d.objid = t.oid AND d.deptype = 'e' \
     LEFT JOIN pg.pg_extension e ON e.oid = d.refobjid \
     WHERE t.oid >= 16384::pg.oid AND t.typtype = ANY ('{b,d,e,r}'::pg.\"char\"[])",
    "SELECT 'm', pg.jsonb_extract_path_text(pg.to_jsonb(r), 'rngmultitypid'), r.rngsubtype FROM pg.pg_range r \
     WHERE r.rngtypid >= 16384::pg.oid",
    "SELECT 'v', c.oid, pg.pg_get_viewdef(c.oid) FROM pg.pg_class c WHERE c.relpersistence <> 't' \
     AND c.relkind = ANY ('{v,m}'::pg.\"char\"[]) AND c.oid >= 16384::pg.oid",
    "SELECT 'b', p.oid, pg.pg_get_functiondef(p.oid) FROM pg.pg_proc p JOIN pg.pg_language l ON l.oid = p.prolang \
     WHERE l.lanname = 'sql' AND p.prosrc = '' AND p.prokind <> 'a' AND p.oid >= 16384::pg.oid",
    "SELECT 'x', w.oid, pg.pg_get_ruledef(w.oid) FROM pg.pg_rewrite w WHERE w.rulename <> '_RETURN'",
    "SELECT 'j', d.adrelid, d.adnum, pg.pg_get_expr(d.adbin, d.adrelid) FROM pg.pg_attrdef d \
     WHERE d.adrelid >= 16384::pg.oid AND pg.strpos(d.adbin::pg.text, 'nextval') = 0 \
     AND d.adbin::pg.text OPERATOR(pg.~) ':consttype (25|1043|1042|1700|20|23|701|1082|1114|1184) ' \
     UNION ALL SELECT 'j', a.attrelid, a.attnum::pg.int2, pg.concat_ws(' ', t.typdefault, \
     (SELECT pg.string_agg(pg.pg_get_constraintdef(k.oid), ' ') FROM pg.pg_constraint k WHERE k.contypid = t.oid)) \
     FROM pg.pg_attribute a JOIN pg.pg_type t ON t.oid = a.atttypid \
     WHERE t.typtype = 'd' AND t.oid >= 16384::pg.oid AND a.attnum > 0 AND NOT a.attisdropped",
    "SELECT 'j', k.conrelid, pg.array_to_string(k.conkey, ' '), pg.pg_get_constraintdef(k.oid) \
     FROM pg.pg_constraint k WHERE k.contype = 'c' AND k.conrelid >= 16384::pg.oid",
    "SELECT 'j', i.inhparent, p.partattrs, pg.pg_get_expr(c.relpartbound, c.oid) FROM pg.pg_class c \
     JOIN pg.pg_inherits i ON i.inhrelid = c.oid JOIN pg.pg_partitioned_table p ON p.partrelid = i.inhparent \
     WHERE c.relispartition",
    "SELECT 'j', d.refobjid, d.refobjsubid, pg.concat_ws(' ', pg.pg_get_expr(y.polqual, y.polrelid), \
     pg.pg_get_expr(y.polwithcheck, y.polrelid)) FROM pg.pg_depend d JOIN pg.pg_policy y ON y.oid = d.objid \
     WHERE d.classid = 'pg.pg_policy'::pg.regclass AND d.refclassid = 'pg.pg_class'::pg.regclass AND d.refobjsubid > 0",
    "SELECT 'j', i.indrelid, a.attnum, pg.concat_ws(' ', pg.pg_get_expr(i.indpred, i.indrelid), \
     pg.pg_get_expr(i.indexprs, i.indrelid)) FROM pg.pg_index i JOIN pg.pg_depend d \
     ON d.classid = 'pg.pg_class'::pg.regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid \
     JOIN pg.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid AND a.attnum > 0 \
     WHERE i.indrelid >= 16384::pg.oid AND (i.indpred IS NOT NULL OR i.indexprs IS NOT NULL)",
    "SELECT 'J', COALESCE(w.ev_class, d.objid), d.refobjid, pg.string_agg(d.refobjsubid::pg.text, ' ') \
     FROM pg.pg_depend d LEFT JOIN pg.pg_rewrite w ON d.classid = 'pg.pg_rewrite'::pg.regclass AND w.oid = d.objid \
     AND w.rulename = '_RETURN' \
     WHERE d.classid = ANY (ARRAY['pg.pg_rewrite'::pg.regclass, 'pg.pg_proc'::pg.regclass]::pg.oid[]) \
     AND d.refclassid = 'pg.pg_class'::pg.regclass AND d.refobjsubid > 0 AND d.objid >= 16384::pg.oid \
     GROUP BY 1, 2, 3",
    "SELECT 'j', d.refobjid, d.refobjsubid, CASE WHEN d.classid = 'pg.pg_trigger'::pg.regclass \
     THEN pg.pg_get_triggerdef(d.objid) ELSE pg.pg_get_statisticsobjdef(d.objid) END FROM pg.pg_depend d \
     WHERE d.classid = ANY (ARRAY['pg.pg_trigger'::pg.regclass, 'pg.pg_statistic_ext'::pg.regclass]::pg.oid[]) \
     AND d.refclassid = 'pg.pg_class'::pg.regclass AND d.refobjsubid > 0 \
     UNION ALL SELECT 'j', c.oid, a.attnum::pg.int4, x.filter FROM pg.pg_publication_tables v \
     CROSS JOIN LATERAL (SELECT pg.jsonb_extract_path_text(pg.to_jsonb(v), 'rowfilter')) x(filter) \
     JOIN pg.pg_namespace n ON n.nspname = v.schemaname \
     JOIN pg.pg_class c ON c.relnamespace = n.oid AND c.relname = v.tablename \
     JOIN pg.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     WHERE x.filter IS NOT NULL",
    "SELECT 'A', p.proargnames[g.n], pg.pg_get_function_arg_default(p.oid, g.n) FROM pg.pg_proc p \
     CROSS JOIN LATERAL pg.generate_series(1, pg.cardinality(p.proargnames)) g(n) \
     WHERE p.oid >= 16384::pg.oid AND p.pronargdefaults > 0 \
     AND pg.pg_get_function_arg_default(p.oid, g.n) IS NOT NULL",
    "SELECT 'C', s.system_identifier, d.oid FROM pg.pg_control_system() s \
     JOIN pg.pg_database d ON d.datname = pg.current_database()",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_it_is_looked_up_by_search_path() {
        for statement in QUERY.split(';') {
            for word in ["FROM pg_", "JOIN pg_", " = ", " <> ", " >= ", " > ", " < ", "pg."] {
                let bare = match word {
                    "FROM pg_" | "JOIN pg_" => {
                        statement.matches(word).count()
                            != statement.matches(&format!("{word}catalog.")).count()
                    }
                    _ => statement.contains(word),
                };
                assert!(!bare, "{word:?} in {statement}");
            }
        }
        assert_eq!(QUERY.split(';').count(), RESULTS);
    }
}
