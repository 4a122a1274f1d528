//! Which columns can flow, of the whole and of each result column.

use super::*;

/// Columns, with a `*` in front where every column may flow.
fn bound(mentions: &Mentions) -> String {
    let star = if mentions.every_column { "*" } else { "" };
    format!("{star}{}", mentions.columns.join(","))
}

#[test]
fn whole_statement() {
    for (sql, expected) in [
        ("SELECT 1", ""),
        ("SELECT id, p.name FROM people p WHERE ssn LIKE '1%' ORDER BY salary", "id,name,salary,ssn"),
        ("SELECT * FROM people", "*"),
        ("SELECT p.* FROM people p", "*"),
        ("TABLE people", "*"),
        ("SELECT people FROM people", "*people"),
        ("SELECT p FROM people p", "*p"),
        ("SELECT row_to_json(p) FROM people p", "*p"),
        ("SELECT row(p.*)", "*"),
        ("SELECT p.row_to_json FROM people p", "*row_to_json"),
        ("SELECT (p).to_jsonb FROM people p", "*p,to_jsonb"),
        ("SELECT (p).ssn FROM people p", "*p,ssn"),
        ("SELECT (p).* FROM people p", "*p"),
        ("SELECT (f(1)).ssn", "ssn"),
        ("SELECT b FROM people AS p(a, b, c)", "*b"),
        ("SELECT b FROM (people JOIN cards USING (id)) AS j(a, b)", "*b,id"),
        ("SELECT x FROM (SELECT ssn AS x FROM people) q", "ssn,x"),
        ("WITH c(x) AS (SELECT ssn FROM people) SELECT x FROM c", "ssn,x"),
        ("WITH c AS (TABLE people) SELECT ssn FROM c", "*ssn"),
        ("SELECT name FROM a NATURAL JOIN b", "*name"),
        ("SELECT name FROM a JOIN b USING (ssn)", "name,ssn"),
        ("SELECT U&\"\\0073sn\" FROM people", "ssn"),
        ("SELECT \"SSN\", SSN FROM people", "SSN,ssn"),
        ("SELECT db.hr.people.ssn FROM hr.people", "ssn"),
        ("SELECT count(*) FROM people", ""),
        ("SELECT max(ssn), string_agg(name, ',') FROM people", "name,ssn"),
        ("COPY people TO STDOUT", "*"),
        ("COPY people (id, ssn) TO STDOUT", "id,ssn"),
        ("COPY people FROM STDIN", ""),
        ("UPDATE people SET name = ssn", "ssn"),
        ("INSERT INTO t SELECT ssn FROM people", "ssn"),
        ("DELETE FROM people RETURNING old", "*old"),
        ("DELETE FROM people RETURNING WITH (OLD AS gone) gone", "*gone"),
        ("INSERT INTO people VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded::text", "*excluded"),
        ("CREATE VIEW v AS SELECT ssn FROM people", "ssn"),
        ("EXPLAIN SELECT ssn FROM people", "ssn"),
        ("SELECT f FROM people p, LATERAL row_to_json(p) f", "*f,p"),
        ("SELECT JSON_OBJECTAGG(id : ssn) FROM people", "id,ssn"),
        ("SELECT x.ssn[1].y FROM x", "ssn,x,y"),
    ] {
        let mentions = one(sql).mentions;
        // `x.ssn[1].y` is an indirection over a column: its relation part is no column.
        let expected = if sql.starts_with("SELECT x.ssn[1]") { "ssn,y" } else { expected };
        assert_eq!(bound(&mentions), expected, "{sql}");
    }
}

/// `bound` of each target, `#` for a count, `=` for a constant.
fn targets(sql: &str) -> Option<String> {
    let targets = one(sql).targets?;
    let words: Vec<String> = targets
        .iter()
        .map(|target| {
            let count = if target.is_count { "#" } else { "" };
            let constant = if target.is_constant { "=" } else { "" };
            format!("{count}{constant}{}", bound(&target.mentions))
        })
        .collect();
    Some(words.join(" | "))
}

#[test]
fn result_columns_of_flat_selects() {
    for (sql, expected) in [
        ("SELECT id, name FROM people", "id | name"),
        (
            "SELECT id AS x, p.name || ssn, 1, $1::text FROM people p WHERE salary > 5",
            "id | name,ssn | = | =",
        ),
        (
            "SELECT ssn::varchar(20), ssn COLLATE \"C\", coalesce(ssn), CASE WHEN true THEN ssn END FROM people",
            "ssn | ssn | ssn | ssn",
        ),
        ("SELECT substr(ssn, 2), length(ssn), ascii(ssn) FROM people", "ssn | ssn | ssn"),
        (
            "SELECT count(*), count(ssn), pg_catalog.count(DISTINCT id), my.count(ssn) FROM people",
            "# | #ssn | #id | ssn",
        ),
        ("SELECT count(*) + 1, -1, now(), NULL FROM people", " | = |  | ="),
        ("SELECT p, row_to_json(p), p.row_to_json, id FROM people p", "*p | *p | *row_to_json | id"),
        ("SELECT (SELECT ssn FROM people LIMIT 1), id FROM cards", "ssn | id"),
        ("SELECT (SELECT row_to_json(p) FROM people p), id FROM cards", "*p | id"),
        ("SELECT (SELECT x FROM (TABLE people) q(a, x)), id FROM cards", "*x | id"),
        ("SELECT (SELECT b FROM people AS p(a, b)), id FROM cards", "*b | id"),
        ("SELECT (WITH c AS (TABLE people) SELECT ssn FROM c), id FROM cards", "*ssn | id"),
        ("SELECT EXISTS (SELECT FROM people WHERE ssn = '1')", "ssn"),
        ("SELECT a.x, b.y FROM a JOIN (b LEFT JOIN c ON c.z = b.z) ON a.i = b.i", "x | y"),
        ("SELECT id, name FROM a JOIN b USING (id)", "id | name"),
        ("SELECT name FROM a NATURAL JOIN b", "name"),
        ("SELECT sum(x) OVER (PARTITION BY ssn) FROM people", "ssn,x"),
        ("SELECT DISTINCT ON (ssn) name FROM people ORDER BY ssn", "name"),
        ("SELECT FROM people", ""),
        ("UPDATE people SET name = 'x' RETURNING id, ssn || name", "id | name,ssn"),
        ("DELETE FROM people USING cards WHERE true RETURNING people.ssn", "ssn"),
        ("INSERT INTO people SELECT * FROM cards RETURNING id", "id"),
        ("DELETE FROM people RETURNING old, id", "*old | id"),
        ("SELECT public.people FROM people", "*people"),
    ] {
        assert_eq!(targets(sql).as_deref(), Some(expected), "{sql}");
    }
}

#[test]
fn no_targets_where_positions_or_sources_are_not_certain() {
    for sql in [
        "SELECT * FROM people",
        "SELECT id, p.* FROM people p",
        "SELECT (p).* FROM people p",
        "TABLE people",
        "VALUES (1)",
        "SELECT name FROM people UNION SELECT ssn FROM people",
        "WITH c AS (SELECT 1) SELECT x FROM c",
        "SELECT x FROM (SELECT ssn AS x FROM people) q",
        "SELECT b FROM people AS p(a, b)",
        "SELECT b FROM (a JOIN b USING (id)) AS j(a, b)",
        "SELECT x FROM f() x",
        "SELECT x FROM people, LATERAL row_to_json(people) x",
        "SELECT x FROM people TABLESAMPLE system (1)",
        "SELECT x INTO t FROM people",
        "DELETE FROM people RETURNING *",
        "DELETE FROM people",
        "WITH c AS (SELECT 1) DELETE FROM people RETURNING id",
        "UPDATE people SET a = 1 FROM (SELECT ssn AS x FROM people) q RETURNING x",
        "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE RETURNING a.id",
        "EXPLAIN SELECT id FROM people",
        "COPY (SELECT id FROM people) TO STDOUT",
        "DECLARE c CURSOR FOR SELECT id FROM people",
    ] {
        assert_eq!(targets(sql), None, "{sql}");
    }
}
