//! A WHERE that chooses nothing is no WHERE.

use super::*;

const TRIVIAL: &[&str] = &[
    "true",
    "NOT false",
    "NOT NOT true",
    "1 = 1",
    "2 > 1",
    "1 <> 2",
    "1.0 >= 1",
    "'a' = 'a'",
    "'a' <> 'b'",
    "'t'",
    "'yes'::bool",
    "'on'::text::boolean",
    "id = 5 OR true",
    "id = 5 OR 1 = 1",
    "(id = 5 AND name = 'x') OR 'a' = 'a'",
    "true AND 1 = 1",
    "NOT (id = 5 AND false)",
    "id = id",
    "people.id = id",
    "public.people.id = people.id",
    "id >= id",
    "id <= people.id",
    "id IS NOT DISTINCT FROM id",
    "id::text = id",
    "lower(name) = lower(name)",
    "id + 1 = id + 1",
    "name LIKE name",
    "name LIKE '%'",
    "name ILIKE '%%'",
    "name ~ '.*'",
    "name ~ ''",
    "id IN (id)",
    "id IN (1, 2, id)",
    "1 IN (1, 2)",
    "id BETWEEN id AND id",
    "1 IS NOT NULL",
    "'x' IS NOT NULL",
    "NULL IS NULL",
    "NULL::int IS NULL",
    "true IS TRUE",
    "false IS NOT TRUE",
    "NULL IS UNKNOWN",
    "id IS NULL OR id IS NOT NULL",
    "id = 5 OR NOT (id = 5)",
    "coalesce(NULL, true)",
    "CASE WHEN true THEN true ELSE false END",
    "CASE WHEN id = 5 THEN true ELSE 1 = 1 END",
    "length('abc') = 3",
    "now() > '2000-01-01'",
    "random() < 2",
    "current_user = 'x'",
    "(SELECT true)",
    "EXISTS (SELECT 1)",
    "$1 = $1",
    "1 = 1 /* id = 5 */",
    "id = 5 OR (SELECT true)",
    "ARRAY[1] = ARRAY[1]",
    "id IN (SELECT id FROM people)",
    "id IN (SELECT p.id FROM public.people AS p ORDER BY 1)",
    "people.id = ANY (SELECT id FROM people)",
    "ctid = ANY (ARRAY(SELECT ctid FROM people))",
    "lower(name) IN (SELECT lower(name) FROM people)",
    "EXISTS (SELECT 1 FROM cards)",
    "EXISTS (SELECT FROM people, cards)",
    "id = 5 OR id IN (SELECT id FROM people)",
];

const CHOOSING: &[&str] = &[
    "id = 5",
    "id = $1",
    "id = 1 AND $1",
    "$1 AND id = 1",
    "NOT (id = 1 OR NOT $1)",
    "coalesce(active, $1)",
    "id = coalesce($1, 5)",
    "CASE WHEN $1 THEN id = 1 ELSE id = 2 END",
    "id > 0",
    "id IS NOT NULL",
    "active",
    "NOT active",
    "false",
    "1 = 0",
    "NULL",
    "'f'",
    "true AND id = 5",
    "1 = 1 AND id = 5",
    "id = other_id",
    "a.id = b.id",
    "name LIKE 'a%'",
    "name LIKE '_'",
    "name ~ 'a'",
    "id IN (1, 2, 3)",
    "id IN (SELECT id FROM cards)",
    "EXISTS (SELECT 1 FROM cards WHERE cards.id = people.id)",
    "id IN (SELECT id FROM people WHERE name = 'x')",
    "id IN (SELECT id FROM people ORDER BY id LIMIT 10)",
    "id IN (SELECT boss FROM people)",
    "id IN (SELECT id FROM other.people JOIN cards USING (id))",
    "id > ANY (SELECT id FROM people)",
    "id IN (SELECT id FROM people GROUP BY id HAVING count(*) > 1)",
    "id = 5 AND id IN (SELECT id FROM people)",
    "CURRENT OF c",
    "id BETWEEN 1 AND 2",
    "id = ANY ($1)",
    "coalesce(active, true)",
    "CASE WHEN id = 5 THEN true ELSE false END",
    "id <> id",
    "id = 5 OR id = 6",
    "id = 5 OR NOT (id = 6)",
    "lower(name) = 'x'",
    "date_trunc('day', at) = now()",
];

/// Whoever binds the parameter binds what opens the condition.
#[test]
fn a_condition_that_parameters_decide_does_not_count() {
    for condition in [
        "$1",
        "$1::bool",
        "NOT $1",
        "$1 = 5",
        "$1 <> $2",
        "NOT ($1 = 5)",
        "id = 1 OR $1",
        "id = 1 OR $1 = 'x'",
        "id = $1 OR $2",
        "NOT (id = 1 AND $1)",
        "NOT (id = 1 AND NOT $1)",
        "$1 IS NULL",
        "$1 IS NOT NULL",
        "$1 IS NULL OR id = $1",
        "$1 IS NOT TRUE",
        "($1 = 3) IS UNKNOWN",
        "coalesce($1, active)",
        "lower($1) = 'x'",
        "$1 LIKE 'a%'",
        "$1 IN (1, 2)",
        "1 = ANY ($1)",
        "CASE WHEN $1 THEN true ELSE id = 1 END",
        "CASE WHEN $1 THEN id = 1 ELSE true END",
        "CASE WHEN id = 1 THEN $1 ELSE true END",
        "(SELECT $1)",
        "NOT (now() > '2000-01-01')",
    ] {
        for verb in ["DELETE FROM people", "UPDATE people SET a = 1"] {
            let sql = format!("{verb} WHERE {condition}");
            assert_eq!(one(&sql).has_where, Some(false), "{sql}");
        }
    }
}

#[test]
fn trivial_conditions_do_not_count() {
    for condition in TRIVIAL {
        for sql in [
            format!("DELETE FROM people WHERE {condition}"),
            format!("UPDATE people SET a = 1 WHERE {condition}"),
            format!("WITH d AS (DELETE FROM people WHERE {condition} RETURNING 1) SELECT * FROM d"),
            format!("EXPLAIN ANALYZE DELETE FROM people WHERE {condition}"),
        ] {
            assert_eq!(one(&sql).has_where, Some(false), "{sql}");
        }
    }
}

#[test]
fn choosing_conditions_count() {
    for condition in CHOOSING {
        for verb in ["DELETE FROM people", "UPDATE people SET a = 1"] {
            let sql = format!("{verb} WHERE {condition}");
            assert_eq!(one(&sql).has_where, Some(true), "{sql}");
        }
    }
}

#[test]
fn every_command_inside_must_choose() {
    for (sql, has_where) in [
        ("DELETE FROM a", Some(false)),
        ("UPDATE a SET x = 1", Some(false)),
        ("WITH d AS (DELETE FROM a) UPDATE b SET x = 1 WHERE id = 1", Some(false)),
        ("WITH d AS (DELETE FROM a WHERE id = 1) UPDATE b SET x = 1 WHERE id = 1", Some(true)),
        ("SELECT 1", None),
        ("INSERT INTO a VALUES (1)", None),
        ("TRUNCATE a", None),
        ("EXPLAIN DELETE FROM a", None),
        ("PREPARE p AS DELETE FROM a", None),
        ("CREATE RULE r AS ON INSERT TO a DO DELETE FROM b", None),
        ("COPY (DELETE FROM a RETURNING 1) TO STDOUT", Some(false)),
        ("EXPLAIN ANALYZE UPDATE a SET x = 1 WHERE id = 1", Some(true)),
    ] {
        assert_eq!(one(sql).has_where, has_where, "{sql}");
    }
}

#[test]
fn beyond_the_depth_a_condition_counts_for_nothing() {
    let deep = format!("DELETE FROM people WHERE {} (id = 5)", "NOT ".repeat(500));
    assert_eq!(one(&deep).has_where, Some(false));
}

#[test]
fn a_merge_chooses_by_its_join_or_by_each_when() {
    for (sql, chooses) in [
        ("MERGE INTO p USING s ON p.id = s.id WHEN MATCHED THEN DELETE", true),
        ("MERGE INTO p USING s ON true WHEN MATCHED THEN DELETE", false),
        ("MERGE INTO p USING s ON 1 = 1 WHEN MATCHED THEN UPDATE SET a = 1", false),
        ("MERGE INTO p USING s ON true WHEN MATCHED AND p.id = 3 THEN DELETE", true),
        (
            "MERGE INTO p USING s ON true WHEN MATCHED AND p.id = 3 THEN DELETE WHEN MATCHED THEN UPDATE SET a = 1",
            false,
        ),
        ("MERGE INTO p USING s ON false WHEN NOT MATCHED BY SOURCE THEN DELETE", false),
        ("MERGE INTO p USING s ON p.id = s.id WHEN NOT MATCHED BY SOURCE THEN UPDATE SET a = 1", false),
        ("MERGE INTO p USING s ON p.id = s.id WHEN NOT MATCHED BY SOURCE AND p.old THEN DELETE", true),
        ("MERGE INTO p USING s ON true WHEN NOT MATCHED THEN INSERT VALUES (1)", true),
        ("MERGE INTO p USING s ON true WHEN MATCHED THEN DO NOTHING", true),
        ("WITH m AS (MERGE INTO p USING s ON true WHEN MATCHED THEN DELETE RETURNING 1) SELECT 1", false),
    ] {
        assert_eq!(one(sql).has_where, Some(chooses), "{sql}");
    }
}
