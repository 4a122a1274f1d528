//! Where rows come from: joins, sub-selects, WITH, set operations, table functions, RETURNING, other commands.

use super::*;

#[test]
fn joins() {
    check(&[
        (
            "SELECT p.ssn, c.number FROM people p JOIN cards c ON c.person_id = p.id",
            "=people.ssn | =cards.number",
        ),
        ("SELECT ssn, number FROM people JOIN cards USING (id)", "=people.ssn | =cards.number"),
        ("SELECT id FROM people JOIN cards USING (id)", "=people.id+cards.id"),
        ("SELECT id FROM people FULL JOIN cards USING (id)", "=people.id+cards.id"),
        (
            "SELECT * FROM letters NATURAL JOIN (SELECT ssn AS ch, 1 AS k FROM people) s",
            "=people.ssn+letters.ch | =letters.n | -",
        ),
        (
            "SELECT * FROM cards c JOIN letters l ON true",
            "=cards.id | =cards.person_id | =cards.number | =letters.ch | =letters.n",
        ),
        ("SELECT j.number FROM (cards c JOIN letters l ON true) j", "=cards.number"),
        ("SELECT c.number FROM (cards c JOIN letters l ON true) j", "-?unknown_column"),
        ("SELECT u.id FROM people JOIN cards USING (id) AS u", "=people.id+cards.id"),
        ("SELECT j.a, j.c FROM (cards JOIN letters ON true) AS j(a, b, c)", "=cards.id | =cards.number"),
        ("SELECT number FROM people CROSS JOIN cards, letters", "=cards.number"),
    ]);
}

/// A condition ties columns together: one tells of the other.
#[test]
fn predicates_link_what_they_name() {
    check(&[
        (
            "SELECT string_agg(l.ch, '' ORDER BY l.n) FROM people p, letters l WHERE substr(p.ssn, l.n, 1) = l.ch",
            "letters.ch~people.ssn+letters.n",
        ),
        ("SELECT ch FROM letters JOIN people ON people.ssn LIKE ch || '%'", "=letters.ch~people.ssn"),
        (
            "SELECT ch FROM letters l WHERE EXISTS (SELECT 1 FROM people p WHERE p.ssn = l.ch)",
            "=letters.ch~people.ssn",
        ),
        (
            "SELECT ch FROM letters WHERE ch IN (SELECT substr(ssn, 1, 1) FROM people)",
            "=letters.ch~people.ssn",
        ),
        (
            "SELECT (SELECT ch FROM letters OFFSET ascii(p.ssn) LIMIT 1) FROM people p",
            "=letters.ch~people.ssn",
        ),
        ("SELECT (SELECT 'x' FROM people q WHERE q.ssn LIKE '1%')", "-~people.ssn"),
        // One column and a literal: the row is found by it, others are as they are.
        ("SELECT name, id FROM people WHERE ssn = '1' AND id > 3", "=people.name | =people.id"),
        ("SELECT id FROM people WHERE ssn LIKE $1 OR name LIKE $1", "=people.id"),
        (
            "SELECT ch FROM people, letters WHERE (ssn LIKE '1%' AND ch = '1') OR (ssn LIKE '2%' AND ch = '2')",
            "=letters.ch~people.ssn",
        ),
    ]);
}

#[test]
fn sub_selects() {
    check(&[
        ("SELECT x FROM (SELECT ssn AS x FROM people) s", "=people.ssn"),
        ("SELECT s.x FROM (SELECT ssn FROM people) AS s(x)", "=people.ssn"),
        ("SELECT upper FROM (SELECT upper(ssn) FROM people) s", "people.ssn"),
        (
            "SELECT * FROM (SELECT p.*, 1 AS k FROM cards p) s",
            "=cards.id | =cards.person_id | =cards.number | -",
        ),
        ("SELECT (SELECT ssn FROM people LIMIT 1)", "=people.ssn"),
        ("VALUES ((SELECT ssn FROM people LIMIT 1), 2)", "=people.ssn | -"),
        ("SELECT column1 FROM (VALUES (1), ((SELECT ssn FROM people))) v", "people.ssn"),
        ("SELECT ARRAY(SELECT ssn FROM people)", "people.ssn"),
        ("SELECT l.x FROM people p, LATERAL (SELECT p.ssn AS x) l", "=people.ssn"),
        ("SELECT l.x FROM people p CROSS JOIN LATERAL (SELECT ssn AS x) l", "=people.ssn"),
        // Without LATERAL the name means the outer query's.
        (
            "SELECT (SELECT x FROM letters n, (SELECT id AS x) s LIMIT 1) FROM people p, cards AS c(cid)",
            "=people.id",
        ),
        ("SELECT (SELECT p.ssn) FROM people p", "=people.ssn"),
        (
            "SELECT (SELECT number FROM cards WHERE cards.person_id = p.id) FROM people p",
            "=cards.number~people.id+cards.person_id",
        ),
        // An inner name hides an outer one.
        ("SELECT (SELECT id FROM cards LIMIT 1) FROM people", "=cards.id"),
    ]);
}

#[test]
fn with_queries() {
    check(&[
        ("WITH c AS (SELECT ssn AS x FROM people) SELECT x FROM c", "=people.ssn"),
        ("WITH c(y) AS MATERIALIZED (SELECT ssn FROM people) SELECT y FROM c", "=people.ssn"),
        ("WITH a AS (SELECT ssn FROM people), b AS (SELECT * FROM a) SELECT * FROM b", "=people.ssn"),
        ("WITH people AS (SELECT number AS ssn FROM cards) SELECT ssn FROM people", "=cards.number"),
        ("WITH people AS (SELECT number AS ssn FROM cards) SELECT ssn FROM public.people", "=people.ssn"),
        // Without RECURSIVE its own name is the table's.
        ("WITH people AS (SELECT ssn FROM people) SELECT ssn FROM people", "=people.ssn"),
        (
            "WITH a AS (SELECT 1 AS x) SELECT * FROM (WITH a AS (SELECT ssn FROM people) SELECT * FROM a) s, a",
            "=people.ssn | -",
        ),
        (
            "WITH RECURSIVE r(n, x) AS (SELECT 1, 'a' UNION ALL SELECT n + 1, ssn FROM r, people WHERE n < 3) SELECT * FROM r",
            "- | people.ssn",
        ),
        (
            "WITH RECURSIVE r(a, b, c) AS (SELECT ssn, 'x', 'y' FROM people UNION ALL SELECT 'q', a, b FROM r) SELECT * FROM r",
            "people.ssn | people.ssn | people.ssn",
        ),
        (
            "WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT ssn FROM people) SELECT * FROM a",
            "=people.ssn",
        ),
        (
            "WITH RECURSIVE r(x) AS (SELECT ssn FROM people UNION ALL SELECT x FROM r) SEARCH DEPTH FIRST BY x SET o SELECT x, o FROM r",
            "=people.ssn | people.ssn",
        ),
        (
            "WITH RECURSIVE r(x) AS (SELECT ssn FROM people UNION ALL SELECT x FROM r) CYCLE x SET c USING p SELECT c, p FROM r",
            "-~people.ssn | people.ssn",
        ),
        ("WITH d AS (DELETE FROM people RETURNING ssn, id) SELECT * FROM d", "=people.ssn | =people.id"),
        ("WITH u AS (UPDATE orders SET item = 'x') SELECT ssn FROM people", "=people.ssn"),
    ]);
}

#[test]
fn set_operations() {
    check(&[
        ("SELECT name FROM people UNION ALL SELECT ssn FROM people", "=people.name+people.ssn"),
        ("SELECT 'x', id FROM people UNION SELECT ssn, 1 FROM people", "people.ssn | people.id"),
        ("SELECT ch FROM letters INTERSECT SELECT ssn FROM people", "=people.ssn+letters.ch"),
        ("SELECT ch FROM letters EXCEPT SELECT ssn FROM people", "=letters.ch~people.ssn"),
        ("SELECT 1 UNION ALL TABLE letters", "?unknown_relation"),
        (
            "(SELECT ssn FROM people LIMIT 1) UNION ALL (SELECT number FROM cards UNION ALL SELECT ch FROM letters)",
            "=people.ssn+cards.number+letters.ch",
        ),
        (
            "SELECT x FROM (SELECT name AS x FROM people UNION SELECT ssn FROM people) u",
            "=people.name+people.ssn",
        ),
        ("VALUES ('a'), ((SELECT ssn FROM people))", "people.ssn"),
    ]);
}

#[test]
fn table_functions() {
    check(&[
        ("SELECT g FROM generate_series(1, 10) g", "-"),
        ("SELECT g.n FROM generate_series(1, 10) AS g(n)", "-"),
        ("SELECT u FROM people p, unnest(ARRAY[p.ssn]) u", "people.ssn"),
        ("SELECT a, b FROM people p, unnest(ARRAY[p.ssn], ARRAY[p.id]) AS u(a, b)", "people.ssn | people.id"),
        ("SELECT e.key, e.value FROM documents, jsonb_each(doc) e", "documents.doc | documents.doc"),
        ("SELECT value FROM documents, json_array_elements_text(doc)", "documents.doc"),
        ("SELECT t.a FROM documents, json_to_recordset(doc) AS t(a int, b text)", "documents.doc"),
        (
            "SELECT x, o FROM people, regexp_split_to_table(ssn, '') WITH ORDINALITY AS t(x, o)",
            "people.ssn | -",
        ),
        (
            "SELECT * FROM people p, LATERAL ROWS FROM (unnest(ARRAY[p.ssn]), generate_series(1, 2)) AS r(a, b)",
            "=people.id | =people.name | =people.ssn | =people.email | =people.salary | =people.active | people.ssn | -",
        ),
        (
            "SELECT x.a FROM documents, XMLTABLE('/r' PASSING doc COLUMNS a text PATH 'a', o FOR ORDINALITY) x",
            "documents.doc",
        ),
        (
            "SELECT j.a, j.b FROM documents, JSON_TABLE(doc, '$' COLUMNS (a text PATH '$.a', NESTED PATH '$.x' COLUMNS (b int PATH '$.b'))) j",
            "documents.doc | documents.doc",
        ),
    ]);
}

#[test]
fn returning() {
    let all = "=people.id | =people.name | =people.ssn | =people.email | =people.salary | =people.active";
    check(&[
        ("DELETE FROM people RETURNING ssn", "=people.ssn"),
        ("DELETE FROM people RETURNING *", all),
        ("DELETE FROM cards c USING people p WHERE p.id = c.person_id RETURNING p.ssn", "=people.ssn"),
        ("UPDATE people SET name = ssn RETURNING name, id", "=people.name+people.ssn | =people.id"),
        (
            "UPDATE people p SET name = upper(c.number) FROM cards c WHERE c.person_id = p.id RETURNING name",
            "people.name+cards.number",
        ),
        (
            "UPDATE people SET (name, email) = (SELECT number, 'x' FROM cards) RETURNING name",
            "people.name+cards.number",
        ),
        (
            "INSERT INTO letters (ch) SELECT ssn FROM people RETURNING ch, n",
            "=people.ssn+letters.ch | =letters.n",
        ),
        ("INSERT INTO letters SELECT ssn, 1 FROM people RETURNING *", "=people.ssn+letters.ch | =letters.n"),
        (
            "INSERT INTO letters VALUES ((SELECT ssn FROM people), 1) RETURNING upper(ch)",
            "people.ssn+letters.ch",
        ),
        ("INSERT INTO letters VALUES ('a', 1) RETURNING ch, n", "=letters.ch | =letters.n"),
        (
            "INSERT INTO letters VALUES ('a', 1) ON CONFLICT (n) DO UPDATE SET ch = (SELECT ssn FROM people) RETURNING ch",
            "=people.ssn+letters.ch",
        ),
        (
            "UPDATE people SET name = ssn RETURNING old.name, new.name",
            "=people.name+people.ssn | =people.name+people.ssn",
        ),
        (
            "UPDATE people SET name = 'x' RETURNING WITH (OLD AS o, NEW AS n) o.ssn, n.name",
            "=people.ssn | =people.name",
        ),
        (
            "MERGE INTO letters l USING people p ON l.n = p.id WHEN MATCHED THEN UPDATE SET ch = p.ssn RETURNING l.ch, merge_action()",
            "=people.ssn+letters.ch | -",
        ),
        (
            "MERGE INTO letters l USING people p ON l.n = p.id WHEN NOT MATCHED THEN INSERT (ch) VALUES (p.ssn) RETURNING l.ch, p.name",
            "=people.ssn+letters.ch | =people.name",
        ),
        ("DELETE FROM people", "no rows"),
    ]);
}

#[test]
fn other_commands() {
    check(&[
        ("PREPARE x AS SELECT ssn FROM people WHERE id = $1", "=people.ssn"),
        ("DECLARE c CURSOR FOR SELECT upper(ssn) FROM people", "people.ssn"),
        ("CREATE TABLE t AS SELECT ssn, id FROM people", "=people.ssn | =people.id"),
        ("CREATE TEMP TABLE t (a, b) AS SELECT ssn, id FROM people", "=people.ssn | =people.id"),
        ("SELECT ssn INTO TEMP t FROM people", "=people.ssn"),
        ("CREATE TEMP VIEW v AS SELECT upper(ssn) FROM people", "people.ssn"),
        ("COPY people (id, ssn) TO STDOUT", "=people.id | =people.ssn"),
        ("COPY cards TO STDOUT", "=cards.id | =cards.person_id | =cards.number"),
        ("COPY (SELECT upper(ssn) FROM people) TO STDOUT", "people.ssn"),
        ("COPY (DELETE FROM people RETURNING ssn) TO STDOUT", "=people.ssn"),
        ("COPY people FROM STDIN", "no rows"),
        ("EXPLAIN SELECT ssn FROM people", "no rows"),
        ("SHOW search_path", "no rows"),
        ("EXECUTE x", "?syntax"),
        ("FETCH 1 FROM c", "?syntax"),
        ("CALL p()", "?syntax"),
    ]);
}

#[test]
fn temporary_relations_carry_what_was_put_into_them() {
    let temporary = |name: &str| {
        let statements: &[&str] = match name {
            "t" => &["CREATE TEMP TABLE t AS SELECT ssn AS y, id FROM people"],
            "w" => &[
                "CREATE TEMP TABLE w (a text, b text DEFAULT 'x')",
                "INSERT INTO w (b) SELECT ssn FROM people",
            ],
            "i" => &["SELECT upper(email) AS e INTO TEMP i FROM people"],
            "v" => &["CREATE TEMP VIEW v AS SELECT y FROM t"],
            "u" => &["CREATE TEMP TABLE u (a text)", "UPDATE u SET a = 'x'"],
            "g" => &["CREATE TEMP TABLE g (a text, b text GENERATED ALWAYS AS (a) STORED)"],
            "letters" => &["CREATE TEMP TABLE letters AS SELECT email AS ch FROM people"],
            "c" => &[
                "CREATE TEMP TABLE c AS SELECT g FROM generate_series(1, (SELECT salary::int FROM people)) g",
            ],
            "d" => &["CREATE TEMP TABLE d (a int)", "INSERT INTO d (a) SELECT 1 FROM c"],
            "lost" => return Temporary::Unknown,
            _ => return Temporary::None,
        };
        let path = SearchPath::Known(vec!["public".into()]);
        Temporary::Statements(statements.iter().map(|text| ((*text).into(), path.clone())).collect())
    };
    let names = |schemas: &[&str]| SearchPath::Known(schemas.iter().map(|s| (*s).into()).collect());
    for (sql, path, expected) in [
        ("SELECT y, id FROM t", names(&["public"]), "=people.ssn | =people.id"),
        ("SELECT upper(y) FROM pg_temp.t", names(&["public"]), "people.ssn"),
        ("SELECT a, b FROM w", names(&["public"]), "- | =people.ssn"),
        ("SELECT e FROM i", names(&["public"]), "people.email"),
        ("SELECT y || '' FROM v", names(&["public"]), "people.ssn"),
        ("SELECT a FROM u", names(&["public"]), "-?temporary"),
        ("SELECT b FROM g", names(&["public"]), "-?temporary"),
        // How many rows there are tells a value, too.
        ("SELECT count(*) FROM c", names(&["public"]), "-~people.salary"),
        ("SELECT sum(a) FROM d", names(&["public"]), "-~people.salary"),
        // The temporary one hides the other, unless the path says later.
        ("SELECT ch FROM letters", names(&["public"]), "=people.email"),
        ("SELECT ch FROM public.letters", names(&["public"]), "=letters.ch"),
        ("SELECT ch FROM letters", names(&["public", "pg_temp"]), "-?temporary"),
        ("SELECT x FROM lost", names(&["public"]), "-?temporary"),
        ("SELECT count(*) FROM (SELECT 1 FROM lost) q", names(&["public"]), "-?temporary"),
        ("SELECT x FROM pg_temp.none", names(&["public"]), "-?temporary"),
    ] {
        assert_eq!(text(&of_with(sql, &path, &temporary)), expected, "{sql}");
    }
}

#[test]
fn a_name_that_may_mean_several_relations_means_all_of_them() {
    let unknown = SearchPath::Unknown("set by code".into());
    let found = |sql: &str, path: &SearchPath| text(&of_with(sql, path, &|_| Temporary::None));
    assert_eq!(found("SELECT body FROM notes", &unknown), "=app.notes.body+other.notes.body");
    let app = SearchPath::Known(vec!["app".into(), "other".into()]);
    assert_eq!(found("SELECT body FROM notes", &app), "=app.notes.body");
    assert_eq!(found("SELECT body FROM other.notes", &app), "=other.notes.body");
    assert_eq!(found("SELECT app.notes.body FROM notes", &app), "=app.notes.body");
}

#[test]
fn recursive_queries_beside_set_operations() {
    check(&[(
        "WITH RECURSIVE r1 (a, b, n) AS (SELECT s.*, 1::bigint FROM (VALUES ('plain', 'plain'), ('plain', 'plain')) s UNION ALL SELECT b || '.', a, n + 1 FROM r1 WHERE n < 3) (WITH RECURSIVE r2 (a, b, n) AS (SELECT s.*, 1::bigint FROM (SELECT p3.ch AS x4, p3.ch FROM letters AS p3) s UNION ALL SELECT b || '.', a, n + 1 FROM r2 WHERE n < 3) SELECT p5.salary AS x6, 'x'::jsonb AS x7, p5.ssn AS x8 FROM people AS p5 WHERE true IS NOT FALSE) UNION ALL ((SELECT p9.id, 'x'::jsonb, p9.number AS x10 FROM cards AS p9) UNION (SELECT p11.total, p11.item, p11.id FROM orders AS p11))",
        "=people.salary+cards.id+orders.total | orders.item | =people.ssn+cards.number+orders.id",
    )]);
}
