//! Kinds and relations.

use super::*;
use crate::engine::model::StatementKind as K;

/// SQL, kind, relations read, relations written.
pub(super) const RELATIONS: &[(&str, K, &str, &str)] = &[
    // Plain reads, however they are written.
    ("SELECT 1", K::Select, "", ""),
    ("SELECT * FROM people", K::Select, "people", ""),
    ("SELECT * FROM ONLY people", K::Select, "people", ""),
    ("SELECT * FROM ONLY (people)", K::Select, "people", ""),
    ("SELECT * FROM people *", K::Select, "people", ""),
    ("TABLE people", K::Select, "people", ""),
    ("TABLE ONLY people", K::Select, "people", ""),
    ("SELECT 1 UNION ALL TABLE people", K::Select, "people", ""),
    ("SELECT name FROM cards UNION ALL SELECT ssn FROM people", K::Select, "cards, people", ""),
    ("VALUES ((SELECT ssn FROM people LIMIT 1))", K::Select, "people", ""),
    (r#"SELECT U&"\0073sn" FROM U&"pe\006fple""#, K::Select, "people", ""),
    (r#"SELECT * FROM "People""#, K::Select, "People", ""),
    // Functions that write or lock, and rows that are definitions.
    ("SELECT nextval('s')", K::Insert, "", ""),
    ("SELECT id, pg_catalog.setval('s', 1) FROM orders", K::Insert, "orders", ""),
    ("SELECT pg_try_advisory_xact_lock(1)", K::Lock, "", ""),
    // A function of one argument may stand behind it.
    ("SELECT ('s'::regclass).nextval", K::Insert, "", ""),
    ("SELECT n.pg_advisory_lock FROM generate_series(1, 9) n", K::Lock, "", ""),
    ("SELECT n.pg_advisory_lock FROM orders n", K::Select, "orders", ""),
    ("SELECT (1).pg_terminate_backend", K::Administration, "", ""),
    ("DELETE FROM pg_trigger WHERE tgname = 't'", K::Administration, "pg_trigger", "pg_trigger"),
    (
        "UPDATE pg_settings SET setting = 'off' WHERE name = 'x'",
        K::Administration,
        "pg_settings",
        "pg_settings",
    ),
    (
        "INSERT INTO pg_catalog.pg_description VALUES (1, 1, 0, '')",
        K::Administration,
        "",
        "pg_catalog.pg_description",
    ),
    ("SELECT * FROM PEOPLE", K::Select, "people", ""),
    ("SELECT/**/*/**/FROM/* x */people--y", K::Select, "people", ""),
    ("SELECT * FROM hr.people", K::Select, "hr.people", ""),
    ("SELECT * FROM db.hr.people", K::Select, "hr.people", ""),
    (r#"SELECT * FROM "hr.people""#, K::Select, "hr.people", ""),
    ("SELECT * FROM people TABLESAMPLE system (10)", K::Select, "people", ""),
    (
        "SELECT * FROM a, b CROSS JOIN c LEFT JOIN d ON c.i = d.i NATURAL JOIN e",
        K::Select,
        "a, b, c, d, e",
        "",
    ),
    ("SELECT * FROM (SELECT * FROM people) p", K::Select, "people", ""),
    ("SELECT * FROM a, LATERAL (SELECT * FROM people WHERE people.id = a.id) p", K::Select, "a, people", ""),
    ("SELECT (SELECT max(ssn) FROM people)", K::Select, "people", ""),
    ("SELECT ARRAY(SELECT ssn FROM people)", K::Select, "people", ""),
    ("SELECT 1 WHERE EXISTS (SELECT FROM people)", K::Select, "people", ""),
    ("SELECT 1 WHERE 1 IN (SELECT id FROM people)", K::Select, "people", ""),
    ("SELECT 1 WHERE (1, 2) = ANY (TABLE people)", K::Select, "people", ""),
    ("SELECT 1 FROM a GROUP BY (SELECT id FROM people)", K::Select, "a, people", ""),
    ("SELECT 1 FROM a GROUP BY ROLLUP ((SELECT id FROM people))", K::Select, "a, people", ""),
    ("SELECT 1 FROM a HAVING (SELECT true FROM people)", K::Select, "a, people", ""),
    ("SELECT 1 FROM a ORDER BY (SELECT id FROM people)", K::Select, "a, people", ""),
    ("SELECT 1 FROM a LIMIT (SELECT id FROM people) OFFSET (SELECT 1 FROM b)", K::Select, "a, b, people", ""),
    ("SELECT DISTINCT ON ((SELECT id FROM people)) 1 FROM a", K::Select, "a, people", ""),
    ("SELECT sum(x) OVER (PARTITION BY (SELECT id FROM people)) FROM a", K::Select, "a, people", ""),
    (
        "SELECT sum(x) OVER w FROM a WINDOW w AS (ORDER BY (SELECT id FROM people))",
        K::Select,
        "a, people",
        "",
    ),
    ("SELECT sum(x) FILTER (WHERE (SELECT true FROM people)) FROM a", K::Select, "a, people", ""),
    ("SELECT string_agg(x, ',' ORDER BY (SELECT 1 FROM people)) FROM a", K::Select, "a, people", ""),
    (
        "SELECT percentile_cont((SELECT 0.5 FROM people)) WITHIN GROUP (ORDER BY x) FROM a",
        K::Select,
        "a, people",
        "",
    ),
    (
        "SELECT CASE WHEN (SELECT true FROM a) THEN (SELECT 1 FROM b) ELSE (SELECT 2 FROM c) END",
        K::Select,
        "a, b, c",
        "",
    ),
    (
        "SELECT coalesce((SELECT 1 FROM people)), greatest((SELECT 1 FROM a)), nullif((SELECT 1 FROM b), 2)",
        K::Select,
        "a, b, people",
        "",
    ),
    (
        "SELECT row((SELECT 1 FROM people)), ((SELECT a FROM b)).x[(SELECT 1 FROM c)]",
        K::Select,
        "b, c, people",
        "",
    ),
    ("SELECT (SELECT x FROM people)::int COLLATE \"C\" IS NULL", K::Select, "people", ""),
    ("SELECT f(a => (SELECT 1 FROM people))", K::Select, "people", ""),
    ("SELECT * FROM f((SELECT 1 FROM people))", K::Select, "people", ""),
    ("SELECT * FROM ROWS FROM (f(1), g((SELECT 1 FROM people))) AS t", K::Select, "people", ""),
    (
        "SELECT * FROM XMLTABLE('/r' PASSING (SELECT x FROM people) COLUMNS a int PATH 'a' DEFAULT (SELECT 1 FROM b))",
        K::Select,
        "b, people",
        "",
    ),
    (
        "SELECT * FROM JSON_TABLE((SELECT j FROM people), '$' COLUMNS (a int PATH '$.a'))",
        K::Select,
        "people",
        "",
    ),
    (
        "SELECT JSON_OBJECT('a' : (SELECT 1 FROM people)), JSON_ARRAY((SELECT 1 FROM a)), JSON_ARRAY(SELECT x FROM b)",
        K::Select,
        "a, b, people",
        "",
    ),
    ("SELECT JSON_OBJECTAGG(id : ssn), JSON_ARRAYAGG(name) FROM people", K::Select, "people", ""),
    (
        "SELECT JSON_VALUE((SELECT j FROM people), '$.a' DEFAULT (SELECT 1 FROM a) ON EMPTY)",
        K::Select,
        "a, people",
        "",
    ),
    (
        "SELECT xmlelement(name x, (SELECT ssn FROM people)), xmlforest((SELECT 1 FROM a) AS y)",
        K::Select,
        "a, people",
        "",
    ),
    ("SELECT xmlserialize(content (SELECT x FROM people) AS text)", K::Select, "people", ""),
    ("SELECT * FROM people FOR UPDATE OF people", K::Lock, "people", ""),
    ("SELECT * FROM people p FOR SHARE OF p", K::Lock, "people", ""),
    // CTEs hide a name only where they are visible.
    ("WITH people AS (SELECT 1) SELECT * FROM people", K::Select, "", ""),
    ("WITH people AS (SELECT * FROM people) SELECT * FROM people", K::Select, "people", ""),
    (
        "WITH RECURSIVE people AS (SELECT 1 UNION SELECT * FROM people) SELECT * FROM people",
        K::Select,
        "",
        "",
    ),
    ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", K::Select, "b", ""),
    ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a", K::Select, "", ""),
    ("WITH people AS (SELECT 1) SELECT * FROM public.people", K::Select, "public.people", ""),
    (
        "SELECT (WITH people AS (SELECT 1) SELECT * FROM people), (SELECT 1 FROM people)",
        K::Select,
        "people",
        "",
    ),
    ("WITH people AS (SELECT 1) SELECT (SELECT * FROM people)", K::Select, "", ""),
    ("WITH people AS (SELECT 1) DELETE FROM people", K::Delete, "", "people"),
    ("WITH people AS (SELECT 1) UPDATE people SET a = 1", K::Update, "", "people"),
    ("WITH people AS (SELECT 1) INSERT INTO people SELECT * FROM people", K::Insert, "", "people"),
    (
        "INSERT INTO a WITH people AS (SELECT 1) SELECT * FROM people RETURNING (SELECT 1 FROM people)",
        K::Insert,
        "a, people",
        "a",
    ),
    ("(WITH people AS (SELECT 1) SELECT * FROM people) UNION TABLE people", K::Select, "people", ""),
    ("WITH c AS MATERIALIZED (TABLE people) SELECT FROM c", K::Select, "people", ""),
    (r#"WITH "People" AS (SELECT 1) SELECT * FROM people"#, K::Select, "people", ""),
    (
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t) SEARCH DEPTH FIRST BY n SET o CYCLE n SET c USING p SELECT * FROM t, people",
        K::Select,
        "people",
        "",
    ),
    // Writers, also where they do not look like writers.
    ("INSERT INTO people VALUES (1)", K::Insert, "", "people"),
    ("INSERT INTO people DEFAULT VALUES", K::Insert, "", "people"),
    ("INSERT INTO people AS p (id) SELECT id FROM cards", K::Insert, "cards", "people"),
    ("INSERT INTO people VALUES ((SELECT 1 FROM cards))", K::Insert, "cards", "people"),
    ("INSERT INTO people VALUES (1) RETURNING ssn", K::Insert, "people", "people"),
    (
        "INSERT INTO people VALUES (1) ON CONFLICT (id) DO UPDATE SET name = (SELECT x FROM cards)",
        K::Insert,
        "cards, people",
        "people",
    ),
    ("INSERT INTO people VALUES (1) ON CONFLICT DO NOTHING", K::Insert, "people", "people"),
    ("UPDATE people SET name = 'x'", K::Update, "", "people"),
    ("UPDATE people SET name = $1", K::Update, "", "people"),
    ("UPDATE people SET name = ssn", K::Update, "people", "people"),
    ("UPDATE ONLY people SET name = 'x' WHERE id = 1", K::Update, "people", "people"),
    (
        "UPDATE people p SET (a, b) = (SELECT x, y FROM cards) FROM orders o WHERE o.id = p.id",
        K::Update,
        "cards, orders, people",
        "people",
    ),
    ("DELETE FROM people", K::Delete, "", "people"),
    ("DELETE FROM ONLY people", K::Delete, "", "people"),
    (
        "DELETE FROM people USING cards WHERE cards.id = people.id RETURNING *",
        K::Delete,
        "cards, people",
        "people",
    ),
    ("DELETE FROM people WHERE CURRENT OF c", K::Delete, "people", "people"),
    (
        "MERGE INTO people p USING cards c ON p.id = c.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES ((SELECT 1 FROM a))",
        K::Delete,
        "a, cards, people",
        "people",
    ),
    (
        "MERGE INTO people p USING (SELECT * FROM cards) c ON true WHEN MATCHED THEN UPDATE SET name = 'x' RETURNING merge_action()",
        K::Merge,
        "cards, people",
        "people",
    ),
    ("WITH d AS (DELETE FROM people RETURNING *) SELECT * FROM d", K::Delete, "people", "people"),
    ("WITH i AS (INSERT INTO a VALUES (1)), u AS (UPDATE b SET x = 1) SELECT 1", K::Update, "", "a, b"),
    (
        "SELECT * FROM (SELECT * FROM (WITH d AS (DELETE FROM people RETURNING 1) SELECT * FROM d) x) y",
        K::Delete,
        "people",
        "people",
    ),
    (
        "WITH a AS (WITH b AS (UPDATE people SET x = 1 RETURNING 1) SELECT * FROM b) SELECT * FROM a",
        K::Update,
        "people",
        "people",
    ),
    (
        "WITH m AS (MERGE INTO people USING cards ON true WHEN MATCHED THEN DELETE RETURNING 1) SELECT * FROM m",
        K::Delete,
        "cards, people",
        "people",
    ),
    ("TRUNCATE people, ONLY cards CASCADE", K::Truncate, "", "cards, people"),
    // Copies out of reach of result masking.
    ("COPY people TO STDOUT", K::CopyOut, "people", ""),
    ("COPY hr.people (ssn) TO STDOUT WITH (FORMAT binary)", K::CopyOut, "hr.people", ""),
    ("COPY (SELECT ssn FROM people) TO STDOUT", K::CopyOut, "people", ""),
    ("COPY (DELETE FROM people RETURNING *) TO STDOUT", K::Delete, "people", "people"),
    ("COPY people FROM STDIN", K::CopyIn, "", "people"),
    ("COPY people FROM STDIN WHERE id > 5", K::CopyIn, "", "people"),
    ("COPY people TO '/tmp/x'", K::Administration, "people", ""),
    ("COPY people FROM '/tmp/x'", K::Administration, "", "people"),
    ("COPY people TO PROGRAM 'curl'", K::Administration, "people", ""),
    ("COPY people FROM PROGRAM 'sh'", K::Administration, "", "people"),
    ("SELECT * INTO stolen FROM people", K::Ddl, "people", "stolen"),
    ("SELECT * INTO TEMP stolen FROM people", K::Ddl, "people", "stolen"),
    ("CREATE TABLE stolen AS TABLE people", K::Ddl, "people", "stolen"),
    ("CREATE TEMP TABLE stolen AS SELECT ssn FROM people WITH NO DATA", K::Ddl, "people", "stolen"),
    ("CREATE TABLE stolen AS EXECUTE p", K::Ddl, "", "stolen"),
    ("CREATE MATERIALIZED VIEW stolen AS SELECT ssn FROM people", K::Ddl, "people", "stolen"),
    ("CREATE VIEW v AS SELECT ssn FROM people", K::Ddl, "people", "v"),
    ("CREATE TEMP VIEW v AS SELECT ssn FROM people", K::Ddl, "people", "v"),
    ("CREATE RECURSIVE VIEW v (n) AS SELECT id FROM people", K::Ddl, "people", "v"),
    ("CREATE RULE r AS ON INSERT TO a DO ALSO INSERT INTO b SELECT * FROM people", K::Ddl, "people", "a, b"),
    ("CREATE RULE r AS ON SELECT TO a DO INSTEAD SELECT * FROM people", K::Ddl, "people", "a"),
    (
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT ssn FROM people; END",
        K::Ddl,
        "people",
        "",
    ),
    ("CREATE FUNCTION f() RETURNS text LANGUAGE sql RETURN (SELECT ssn FROM people)", K::Ddl, "people", ""),
    ("CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS 'begin end'", K::Ddl, "", ""),
    ("CREATE FUNCTION f() RETURNS text LANGUAGE c AS 'lib', 'f'", K::Administration, "", ""),
    ("REFRESH MATERIALIZED VIEW CONCURRENTLY mv", K::Maintenance, "", "mv"),
    ("DECLARE c CURSOR FOR SELECT ssn FROM people", K::Cursor, "people", ""),
    ("FETCH ALL FROM c", K::Cursor, "", ""),
    ("MOVE 5 IN c", K::Cursor, "", ""),
    ("CLOSE ALL", K::Cursor, "", ""),
    // What only looks, and what runs.
    ("EXPLAIN DELETE FROM people", K::Explain, "people", ""),
    ("EXPLAIN (ANALYZE false) DELETE FROM people", K::Explain, "people", ""),
    ("EXPLAIN (ANALYZE off, VERBOSE) DELETE FROM people", K::Explain, "people", ""),
    ("EXPLAIN (ANALYZE 0) DELETE FROM people", K::Explain, "people", ""),
    ("EXPLAIN ANALYZE DELETE FROM people", K::Delete, "", "people"),
    ("EXPLAIN (COSTS, ANALYZE true) DELETE FROM people", K::Delete, "", "people"),
    ("EXPLAIN (ANALYZE 1) DELETE FROM people", K::Delete, "", "people"),
    ("EXPLAIN (ANALYZE 'ON') DELETE FROM people", K::Delete, "", "people"),
    ("EXPLAIN (ANALYZE, ANALYZE off) DELETE FROM people", K::Delete, "", "people"),
    ("EXPLAIN ANALYSE VERBOSE SELECT * FROM people", K::Select, "people", ""),
    ("EXPLAIN ANALYZE CREATE TABLE stolen AS TABLE people", K::Ddl, "people", "stolen"),
    ("EXPLAIN ANALYZE EXECUTE p", K::Execute, "", ""),
    ("PREPARE p AS DELETE FROM people", K::Prepare, "people", ""),
    ("EXECUTE p (1, 'x')", K::Execute, "", ""),
    ("DEALLOCATE ALL", K::Deallocate, "", ""),
    // Definitions.
    ("CREATE TABLE t (a int, b text DEFAULT 'x')", K::Ddl, "", "t"),
    ("CREATE TABLE t (id int REFERENCES people (id))", K::Ddl, "people", "t"),
    ("CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES people)", K::Ddl, "people", "t"),
    ("CREATE TABLE t (LIKE people INCLUDING ALL)", K::Ddl, "people", "t"),
    ("CREATE TABLE t () INHERITS (people)", K::Ddl, "people", "people, t"),
    ("CREATE TABLE t PARTITION OF people FOR VALUES IN (1)", K::Ddl, "people", "people, t"),
    ("CREATE FOREIGN TABLE t (a int) SERVER s", K::Ddl, "", "t"),
    ("CREATE FOREIGN TABLE t PARTITION OF people DEFAULT SERVER s", K::Ddl, "people", "people, t"),
    ("ALTER TABLE people ATTACH PARTITION t FOR VALUES IN (1)", K::Ddl, "t", "people, t"),
    ("ALTER TABLE people INHERIT parent", K::Ddl, "parent", "parent, people"),
    ("ALTER TABLE people ADD COLUMN a int, ALTER b TYPE text USING b::text", K::Ddl, "", "people"),
    ("ALTER TABLE people ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES cards", K::Ddl, "cards", "people"),
    ("ALTER TABLE people DROP COLUMN ssn", K::Drop, "", "people"),
    ("ALTER TABLE people OWNER TO eve", K::Dcl, "", "people"),
    ("ALTER TABLE people DISABLE ROW LEVEL SECURITY", K::Ddl, "", "people"),
    ("ALTER TABLE people RENAME TO persons", K::Ddl, "", "people"),
    ("ALTER TABLE people RENAME COLUMN ssn TO harmless", K::Ddl, "", "people"),
    ("ALTER TABLE people SET SCHEMA other", K::Ddl, "", "people"),
    ("ALTER VIEW v RENAME TO w", K::Ddl, "", "v"),
    ("ALTER INDEX i SET (fillfactor = 50)", K::Ddl, "", "i"),
    (
        "CREATE UNIQUE INDEX CONCURRENTLY i ON people USING btree (lower(name)) WHERE id > 5",
        K::Ddl,
        "",
        "people",
    ),
    ("CREATE TRIGGER t AFTER INSERT ON people EXECUTE FUNCTION leak()", K::Ddl, "", "people"),
    (
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON people FROM cards FOR EACH ROW EXECUTE FUNCTION f()",
        K::Ddl,
        "cards",
        "people",
    ),
    ("CREATE POLICY p ON people USING (id IN (SELECT id FROM cards))", K::Ddl, "cards", "people"),
    ("ALTER POLICY p ON people USING (true)", K::Ddl, "", "people"),
    ("CREATE STATISTICS s ON a, b FROM people", K::Ddl, "people", ""),
    ("CREATE SEQUENCE s", K::Ddl, "", "s"),
    ("ALTER SEQUENCE s RESTART", K::Ddl, "", "s"),
    ("CREATE PUBLICATION p FOR TABLE people WHERE (id > 5)", K::Ddl, "people", ""),
    (
        "CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT * FROM people",
        K::Ddl,
        "people",
        "t, v",
    ),
    ("CREATE TYPE pair AS (a int, b text)", K::Ddl, "", "pair"),
    ("CREATE TYPE mood AS ENUM ('a')", K::Ddl, "", ""),
    ("CREATE AGGREGATE a (int) (sfunc = f, stype = int)", K::Ddl, "", ""),
    ("CREATE OPERATOR = (leftarg = text, rightarg = text, function = f)", K::Ddl, "", ""),
    ("COMMENT ON TABLE hr.people IS 'x'", K::Ddl, "", "hr.people"),
    ("COMMENT ON COLUMN people.ssn IS 'x'", K::Ddl, "", "people"),
    ("COMMENT ON FUNCTION f(int) IS 'x'", K::Ddl, "", ""),
    ("SECURITY LABEL ON TABLE people IS 'x'", K::Ddl, "", "people"),
    ("DROP TABLE IF EXISTS people, hr.cards CASCADE", K::Drop, "", "people, hr.cards"),
    ("DROP VIEW v", K::Drop, "", "v"),
    ("DROP INDEX CONCURRENTLY i", K::Drop, "", "i"),
    ("DROP TRIGGER t ON hr.people", K::Drop, "", "hr.people"),
    ("DROP POLICY p ON people", K::Drop, "", "people"),
    ("DROP RULE r ON people", K::Drop, "", "people"),
    ("DROP FUNCTION f(int)", K::Drop, "", ""),
    ("DROP SCHEMA hr CASCADE", K::Drop, "", ""),
    ("DROP DATABASE d", K::Drop, "", ""),
    ("DROP OWNED BY eve", K::Drop, "", ""),
    // Rights.
    ("GRANT SELECT ON people TO eve", K::Dcl, "", "people"),
    ("GRANT SELECT (ssn) ON TABLE hr.people, cards TO PUBLIC", K::Dcl, "", "cards, hr.people"),
    ("REVOKE ALL ON people FROM eve", K::Dcl, "", "people"),
    ("GRANT EXECUTE ON FUNCTION f(int) TO eve", K::Dcl, "", ""),
    ("GRANT USAGE ON SCHEMA s TO eve", K::Dcl, "", ""),
    ("GRANT ALL ON ALL TABLES IN SCHEMA s TO eve", K::Dcl, "", ""),
    ("GRANT ALL ON DATABASE d TO eve", K::Dcl, "", ""),
    ("GRANT USAGE ON SEQUENCE s TO eve", K::Dcl, "", "s"),
    ("GRANT SET ON PARAMETER work_mem TO eve", K::Dcl, "", ""),
    ("GRANT admin TO eve", K::Dcl, "", ""),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO eve", K::Dcl, "", ""),
    ("CREATE USER eve SUPERUSER", K::Dcl, "", ""),
    ("ALTER ROLE eve SET search_path = x", K::Dcl, "", ""),
    ("DROP ROLE eve", K::Dcl, "", ""),
    ("REASSIGN OWNED BY a TO b", K::Dcl, "", ""),
    ("ALTER FUNCTION f(int) OWNER TO eve", K::Dcl, "", ""),
    // The rest.
    ("LOCK TABLE people IN ACCESS EXCLUSIVE MODE", K::Lock, "people", ""),
    ("VACUUM (FULL) people", K::Maintenance, "people", "people"),
    ("ANALYZE people (ssn)", K::Maintenance, "people", "people"),
    ("CLUSTER people USING i", K::Maintenance, "", "people"),
    ("REINDEX TABLE people", K::Maintenance, "", "people"),
    ("CHECKPOINT", K::Maintenance, "", ""),
    ("LISTEN c", K::Notify, "", ""),
    ("NOTIFY c, 'x'", K::Notify, "", ""),
    ("UNLISTEN *", K::Notify, "", ""),
    ("SHOW ALL", K::Show, "", ""),
    ("CALL p((SELECT 1))", K::Call, "", ""),
    ("DO $$ BEGIN DELETE FROM people; END $$", K::Do, "", ""),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", K::Transaction, "", ""),
    ("SAVEPOINT s", K::Transaction, "", ""),
    ("SET CONSTRAINTS ALL DEFERRED", K::Session, "", ""),
    ("DISCARD ALL", K::Session, "", ""),
    ("LOAD 'auto_explain'", K::Administration, "", ""),
    ("ALTER SYSTEM SET x = 1", K::Administration, "", ""),
    ("CREATE EXTENSION dblink", K::Administration, "", ""),
    ("CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw", K::Administration, "", ""),
    ("CREATE USER MAPPING FOR eve SERVER s OPTIONS (password 'x')", K::Administration, "", ""),
    ("IMPORT FOREIGN SCHEMA s LIMIT TO (t) FROM SERVER x INTO y", K::Administration, "", "t"),
    ("CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p", K::Administration, "", ""),
    ("SELECT pg_terminate_backend(1)", K::Administration, "", ""),
    ("SELECT pg_notify('c', ssn) FROM people", K::Select, "people", ""),
    ("SELECT * FROM pg_stats", K::Select, "pg_stats", ""),
    ("SELECT * FROM pg_catalog.pg_statistic", K::Select, "pg_catalog.pg_statistic", ""),
];

#[test]
fn relations_and_kinds() {
    let mut wrong = vec![];
    for (sql, kind, reads, writes) in RELATIONS {
        let statement = one(sql);
        let got = (statement.kind, joined(&statement.reads), joined(&statement.writes));
        if got != (*kind, reads.to_string(), writes.to_string()) {
            wrong
                .push(format!("{sql}\n    {got:?}\n    {:?} kinds {:?}", statement.unknown, statement.kinds));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn strongest_kind_is_one_of_the_kinds_and_no_other_is_stronger() {
    for (sql, ..) in RELATIONS {
        let statement = one(sql);
        assert!(statement.kinds.contains(&statement.kind), "{sql}");
        assert!(statement.kinds.is_sorted(), "{sql}");
        for kind in statement.kinds {
            assert!(command::strength(kind) <= command::strength(statement.kind), "{sql}");
        }
    }
}

#[test]
fn every_kind_has_its_own_strength() {
    let mut strengths: Vec<u8> = K::ALL.iter().map(|kind| command::strength(*kind)).collect();
    strengths.sort_unstable();
    assert_eq!(strengths, (0..27).collect::<Vec<u8>>());
}

#[test]
fn kinds_show_everything_that_runs() {
    for (sql, kinds) in [
        ("WITH d AS (DELETE FROM people RETURNING *) SELECT * FROM d", vec![K::Select, K::Delete]),
        ("WITH u AS (UPDATE a SET x = 1) INSERT INTO b VALUES (1)", vec![K::Select, K::Insert, K::Update]),
        ("EXPLAIN ANALYZE DELETE FROM people", vec![K::Explain, K::Delete]),
        ("EXPLAIN DELETE FROM people", vec![K::Explain]),
        ("PREPARE p AS DELETE FROM people", vec![K::Prepare]),
        ("CREATE VIEW v AS SELECT 1", vec![K::Ddl]),
        ("CREATE RULE r AS ON INSERT TO a DO DELETE FROM b", vec![K::Ddl]),
        ("CREATE TABLE t AS SELECT 1", vec![K::Select, K::Ddl]),
        ("COPY people TO PROGRAM 'x'", vec![K::CopyOut, K::Administration]),
        ("DECLARE c CURSOR FOR SELECT 1", vec![K::Select, K::Cursor]),
        ("SELECT pg_notify('a', 'b')", vec![K::Select, K::Notify]),
        ("SELECT * FROM a FOR UPDATE", vec![K::Select, K::Lock]),
        ("SELECT * FROM a FOR NO KEY UPDATE SKIP LOCKED", vec![K::Select, K::Lock]),
        ("SELECT * FROM a FOR SHARE NOWAIT", vec![K::Select, K::Lock]),
        ("SELECT * FROM a, b FOR KEY SHARE OF b", vec![K::Select, K::Lock]),
        ("SELECT 1 FROM (SELECT * FROM a FOR UPDATE) x", vec![K::Select, K::Lock]),
        ("WITH x AS (SELECT * FROM a FOR UPDATE) UPDATE b SET y = 1", vec![K::Select, K::Update, K::Lock]),
        ("DECLARE c CURSOR FOR SELECT * FROM a FOR UPDATE", vec![K::Select, K::Cursor, K::Lock]),
        ("EXPLAIN SELECT * FROM a FOR UPDATE", vec![K::Explain]),
        ("EXPLAIN ANALYZE SELECT * FROM a FOR UPDATE", vec![K::Select, K::Explain, K::Lock]),
        ("PREPARE p AS SELECT * FROM a FOR UPDATE", vec![K::Prepare]),
        ("SELECT set_config('a.b', 'c', true)", vec![K::Select, K::Session]),
        ("ALTER ROLE eve SET a = 1", vec![K::Dcl]),
    ] {
        assert_eq!(one(sql).kinds, kinds, "{sql}");
    }
}

#[test]
fn a_merge_is_what_its_branches_do() {
    let kinds = |branches: &str| {
        let text = format!("MERGE INTO people p USING cards c ON p.id = c.id {branches}");
        all(&text)[0].kinds.clone()
    };
    for (branches, expected) in [
        ("WHEN MATCHED THEN DELETE", vec![K::Delete, K::Merge]),
        ("WHEN MATCHED THEN DO NOTHING", vec![K::Merge]),
        (
            "WHEN MATCHED AND c.a THEN UPDATE SET b = 1 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
            vec![K::Insert, K::Update, K::Delete, K::Merge],
        ),
    ] {
        let kinds = kinds(branches);
        assert!(
            expected.iter().all(|kind| kinds.contains(kind)) && kinds.len() == expected.len(),
            "{kinds:?}"
        );
    }
}
