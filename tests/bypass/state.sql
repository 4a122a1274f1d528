-- Everything that an attack may change, as (part, digest). Parts that begin with `server` are shared by all databases.
SET client_min_messages = error;
SET lock_timeout = '5s';
SET search_path = pg_catalog, public;
WITH mine AS (
    SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND n.nspname !~ '^pg_(temp|toast)')
SELECT 'rows ' || oid::regclass,
       (xpath('//h/text()', query_to_xml(format('SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) AS h FROM (SELECT * FROM ONLY %s) t', oid::regclass), true, false, '')))[1]::text
FROM mine WHERE relkind IN ('r', 'S') OR relkind = 'm' AND relispopulated
UNION ALL
SELECT 'relation ' || oid::regclass, md5(concat_ws(' ', relnamespace, relkind, relowner, relacl, reloptions, relpersistence, relispartition, relrowsecurity, relforcerowsecurity, relreplident, reltablespace, relam, relispopulated,
       (SELECT string_agg(concat_ws(' ', attnum, attname, atttypid, atttypmod, attnotnull, attacl, attoptions, attstorage, attstattarget, attidentity, attgenerated, attisdropped), ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = mine.oid)))
FROM mine
UNION ALL SELECT 'files of ' || oid::regclass, relfilenode::text FROM mine WHERE relkind IN ('r', 'm', 'i')
UNION ALL SELECT 'definitions', md5(concat_ws(' ',
    (SELECT string_agg(p::text, ',' ORDER BY oid) FROM pg_proc p WHERE oid >= 16384),
    (SELECT string_agg(p::text, ',' ORDER BY oid) FROM pg_namespace p WHERE nspname !~ '^pg_(temp|toast)'),
    (SELECT string_agg(concat_ws(' ', oid, tgrelid, tgname, tgenabled), ',' ORDER BY oid) FROM pg_trigger),
    (SELECT string_agg(concat_ws(' ', oid, rulename, ev_class, ev_enabled, md5(ev_action::text)), ',' ORDER BY oid) FROM pg_rewrite WHERE oid >= 16384),
    (SELECT string_agg(concat_ws(' ', oid, conname, conrelid, convalidated, condeferrable), ',' ORDER BY oid) FROM pg_constraint WHERE oid >= 16384),
    (SELECT string_agg(concat_ws(' ', indexrelid, indrelid, indisvalid, indisclustered, indisreplident), ',' ORDER BY indexrelid) FROM pg_index WHERE indexrelid >= 16384),
    (SELECT string_agg(concat_ws(' ', adrelid, adnum, md5(adbin::text)), ',' ORDER BY oid) FROM pg_attrdef),
    (SELECT string_agg(concat_ws(' ', oid, typname, typowner, typacl), ',' ORDER BY oid) FROM pg_type t WHERE oid >= 16384 AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.oid = typnamespace AND nspname ~ '^pg_temp')),
    (SELECT string_agg(concat_ws(' ', oid, castsource, casttarget), ',' ORDER BY oid) FROM pg_cast WHERE oid >= 16384),
    (SELECT string_agg(concat_ws(' ', oid, oprname), ',' ORDER BY oid) FROM pg_operator WHERE oid >= 16384),
    (SELECT string_agg(concat_ws(' ', oid, extname, extowner, extversion), ',' ORDER BY oid) FROM pg_extension),
    (SELECT string_agg(concat_ws(' ', objoid, classoid, description), ',' ORDER BY objoid, classoid, objsubid) FROM pg_description WHERE objoid >= 16384),
    (SELECT string_agg(concat_ws(' ', oid, srvname, srvoptions), ',' ORDER BY oid) FROM pg_foreign_server),
    (SELECT string_agg(concat_ws(' ', oid, fdwname, fdwoptions), ',' ORDER BY oid) FROM pg_foreign_data_wrapper),
    (SELECT string_agg(concat_ws(' ', oid, pubname, puballtables), ',' ORDER BY oid) FROM pg_publication),
    (SELECT string_agg(concat_ws(' ', oid, stxname), ',' ORDER BY oid) FROM pg_statistic_ext),
    (SELECT string_agg(concat_ws(' ', oid, lanname, lanacl), ',' ORDER BY oid) FROM pg_language),
    (SELECT string_agg(concat_ws(' ', oid, inhparent, inhrelid), ',') FROM (SELECT inhrelid AS oid, * FROM pg_inherits ORDER BY 1, 3) i)))
UNION ALL SELECT 'rights', md5(concat_ws(' ',
    (SELECT string_agg(p::text, ',' ORDER BY oid) FROM pg_default_acl p),
    (SELECT string_agg(concat_ws(' ', oid, polname, polrelid, polroles, polcmd), ',' ORDER BY oid) FROM pg_policy),
    (SELECT string_agg(p::text, ',' ORDER BY oid) FROM pg_event_trigger p),
    (SELECT string_agg(p::text, ',') FROM pg_seclabel p),
    (SELECT concat_ws(' ', datacl, datconnlimit, datallowconn, datistemplate) FROM pg_database WHERE datname = current_database() AND datname <> 'pristine')))
UNION ALL SELECT 'large objects', md5(concat_ws(' ',
    (SELECT string_agg(p::text, ',' ORDER BY oid) FROM pg_largeobject_metadata p), (SELECT string_agg(p::text, ',' ORDER BY loid, pageno) FROM pg_largeobject p)))
UNION ALL SELECT 'statistics', md5(concat_ws(' ', (SELECT count(*) FROM pg_statistic),
    (SELECT string_agg(concat_ws(' ', relid, last_vacuum, last_analyze), ',' ORDER BY relid) FROM pg_stat_user_tables WHERE schemaname !~ '^pg_temp')))
UNION ALL SELECT 'prepared transactions', string_agg(gid, ',') FROM pg_prepared_xacts WHERE database = current_database()
UNION ALL SELECT 'server roles', md5(concat_ws(' ',
    (SELECT string_agg(p::text, ',' ORDER BY oid) FROM pg_authid p),
    (SELECT string_agg(concat_ws(' ', roleid, member, admin_option), ',' ORDER BY roleid, member) FROM pg_auth_members),
    (SELECT string_agg(concat_ws(' ', setdatabase, setrole, setconfig), ',' ORDER BY setdatabase, setrole) FROM pg_db_role_setting)))
UNION ALL SELECT 'server databases', string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE datname !~ '^shop_\d+$'
UNION ALL SELECT 'server tablespaces', string_agg(p::text, ',' ORDER BY oid) FROM pg_tablespace p
UNION ALL SELECT 'server settings', md5(pg_read_file('postgresql.auto.conf'))
UNION ALL SELECT 'server files', (SELECT string_agg(name, ',' ORDER BY name) FROM pg_ls_dir('.') AS name WHERE name ~ '^bypass-(loot|note)')
UNION ALL SELECT 'server slots', string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots
UNION ALL SELECT 'server origins', string_agg(roname, ',' ORDER BY roname) FROM pg_replication_origin
UNION ALL SELECT 'server statistics', (SELECT stats_reset::text FROM pg_stat_bgwriter)
UNION ALL SELECT 'server bystander', count(*)::text FROM pg_stat_activity WHERE application_name = 'bystander' AND state = 'active';
