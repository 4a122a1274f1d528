//! Tables of SQL with the conditions that must be found: column, clause, form.

use super::*;
use crate::engine::model::Conditions;

fn both(sql: &str) -> (Lineage, Conditions) {
    thread_local!(static CATALOGUE: Catalogue = catalogue());
    CATALOGUE.with(|catalogue| {
        flows(
            sql,
            &Names {
                catalogue,
                codes: &Codes::default(),
                search_path: &public(),
                temporary: &|_| Temporary::None,
            },
        )
    })
}

fn conditions(sql: &str) -> Conditions {
    both(sql).1
}

/// What a statement tells of `people.ssn`; `?` and the doubt.
fn told(sql: &str) -> String {
    let (lineage, found) = both(sql);
    let mut words: Vec<String> = found
        .found
        .keys()
        .filter(|(id, _)| column_text(id).ends_with("ssn"))
        .map(|(_, condition)| format!("{} {}", condition.clause.as_str(), condition.form.as_str()))
        .collect();
    words.dedup();
    words.extend(found.doubt.or(lineage.doubt()).map(|doubt| format!("?{}", doubt.as_str())));
    if words.is_empty() { "-".into() } else { words.join(", ") }
}

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(sql, expected)| {
            let found = told(sql);
            (found != *expected).then(|| format!("{sql}\n    expected {expected}\n    found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn predicates() {
    check(&[
        ("SELECT id FROM people WHERE ssn = 'x'", "WHERE equality"),
        ("SELECT id FROM people WHERE 'x' = ssn", "WHERE equality"),
        ("SELECT id FROM people WHERE ssn = $1::text", "WHERE equality"),
        ("SELECT id FROM people WHERE ssn IN ('x', 'y', $1)", "WHERE equality"),
        ("SELECT id FROM people WHERE ssn NOT IN ('x')", "WHERE comparison"),
        ("SELECT id FROM people WHERE ssn <> 'x'", "WHERE comparison"),
        ("SELECT id FROM people WHERE ssn BETWEEN 'a' AND 'b'", "WHERE comparison"),
        ("SELECT id FROM people WHERE ssn LIKE '5%'", "WHERE pattern"),
        ("SELECT id FROM people WHERE ssn ~ '^5'", "WHERE pattern"),
        ("SELECT id FROM people WHERE substr(ssn, 1, 1) = '5'", "WHERE comparison"),
        ("SELECT id FROM people WHERE id = 1 AND (active OR ssn > 'x')", "WHERE comparison"),
        ("SELECT id FROM people WHERE ssn = (SELECT 'x')", "WHERE comparison"),
        ("SELECT id FROM people WHERE ssn = ANY ($1)", "WHERE comparison"),
        ("SELECT id FROM people WHERE ssn IN (SELECT number FROM cards)", "WHERE comparison"),
        ("SELECT id FROM people WHERE id IN (SELECT id FROM people WHERE ssn > 'x')", "WHERE comparison"),
        ("SELECT id FROM orders WHERE EXISTS (SELECT FROM people WHERE ssn > 'x')", "WHERE comparison"),
        ("SELECT count(*) FROM people GROUP BY id HAVING max(ssn) > 'x'", "HAVING comparison"),
        (
            "SELECT id FROM people WHERE CASE WHEN ssn LIKE '5%' THEN 1 / (id - 1) = 1 ELSE true END",
            "WHERE comparison",
        ),
        ("SELECT id FROM people WHERE (ssn LIKE '5%') IS TRUE", "WHERE comparison"),
        ("WITH w AS (SELECT ssn AS x FROM people) SELECT count(*) FROM w WHERE x > 'a'", "WHERE comparison"),
        ("SELECT count(*) FROM v_people WHERE ssn > 'a'", "WHERE comparison"),
        (
            "SELECT count(*) FROM (SELECT substr(ssn, 1, 1) AS c FROM people) s WHERE c = '5'",
            "WHERE comparison",
        ),
        ("EXPLAIN SELECT id FROM people WHERE ssn LIKE '5%'", "WHERE pattern"),
        ("EXPLAIN ANALYZE SELECT id FROM people WHERE ssn LIKE '5%'", "WHERE pattern"),
        ("DECLARE c CURSOR FOR SELECT id FROM people WHERE ssn LIKE '5%'", "WHERE pattern"),
        ("PREPARE p AS SELECT id FROM people WHERE ssn LIKE $1", "WHERE pattern"),
        ("CREATE VIEW v AS SELECT id FROM people WHERE ssn LIKE '5%'", "WHERE pattern"),
        (
            "UPDATE orders SET item = 'x' WHERE EXISTS (SELECT FROM people WHERE ssn LIKE '5%')",
            "WHERE pattern",
        ),
        ("DELETE FROM people WHERE ssn = 'x'", "WHERE equality"),
        ("INSERT INTO orders SELECT id FROM people WHERE ssn > 'x'", "WHERE comparison"),
        (
            "INSERT INTO orders VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 1 WHERE EXISTS (SELECT FROM people WHERE ssn > 'x')",
            "WHERE comparison",
        ),
        ("MERGE INTO orders o USING people p ON p.ssn = o.item WHEN MATCHED THEN DELETE", "JOIN join"),
        (
            "WITH d AS (DELETE FROM orders WHERE item IN (SELECT ssn FROM people)) SELECT 1",
            "WHERE comparison",
        ),
    ]);
}

#[test]
fn joins_order_and_groups() {
    check(&[
        ("SELECT c.id FROM people p JOIN cards c ON c.number = p.ssn", "JOIN join"),
        ("SELECT c.n FROM people p JOIN letters c ON c.ch = substr(p.ssn, 1, 1)", "JOIN comparison"),
        ("SELECT 1 FROM people p JOIN (VALUES (1, 'x')) g(n, ssn) USING (ssn)", "JOIN join"),
        ("SELECT 1 FROM people p NATURAL JOIN (VALUES ('x')) g(ssn)", "JOIN join"),
        ("SELECT id FROM people ORDER BY ssn", "ORDER BY ordering"),
        ("SELECT id, ssn FROM people ORDER BY 2", "ORDER BY ordering"),
        ("SELECT id, upper(ssn) AS u FROM people ORDER BY u", "ORDER BY ordering"),
        ("SELECT id FROM people GROUP BY id ORDER BY max(ssn)", "ORDER BY ordering"),
        ("(SELECT ssn FROM people) UNION ALL (SELECT 'x') ORDER BY ssn", "ORDER BY ordering"),
        ("SELECT count(*) FROM people GROUP BY ssn", "GROUP BY grouping"),
        ("SELECT ssn, count(*) FROM people GROUP BY 1", "GROUP BY grouping"),
        ("SELECT count(*) FROM people GROUP BY GROUPING SETS ((id), (left(ssn, 1)))", "GROUP BY grouping"),
        ("SELECT count(*) FROM people GROUP BY ROLLUP (ssn, id)", "GROUP BY grouping"),
        ("SELECT DISTINCT ssn FROM people", "DISTINCT grouping"),
        ("SELECT DISTINCT ON (ssn) id FROM people", "DISTINCT grouping"),
        ("SELECT count(DISTINCT ssn) FROM people", "DISTINCT grouping"),
        ("SELECT ssn FROM people UNION SELECT 'x'", "a set operation grouping"),
        ("SELECT 'x' EXCEPT SELECT ssn FROM people", "a set operation grouping"),
        ("SELECT 'x' INTERSECT ALL SELECT ssn FROM people", "a set operation grouping"),
        ("SELECT id FROM orders LIMIT (SELECT length(ssn) FROM people)", "LIMIT count"),
        ("SELECT id FROM orders OFFSET (SELECT length(ssn) FROM people)", "LIMIT count"),
        ("SELECT id, rank() OVER (ORDER BY ssn) FROM people", "the result ordering"),
        ("SELECT id, rank() OVER w FROM people WINDOW w AS (PARTITION BY ssn)", "OVER ordering"),
        ("SELECT generate_series(1, length(ssn)) FROM people", "the result count, the result computation"),
        ("SELECT g FROM people, generate_series(1, length(ssn)) g", "FROM count"),
        ("SELECT 1 FROM people, regexp_split_to_table(ssn, '') g", "FROM count"),
    ]);
}

#[test]
fn what_fails_or_is_null_for_some_values() {
    check(&[
        ("SELECT ssn::int FROM people", "the result computation"),
        ("SELECT 1 / (CASE WHEN ssn LIKE '5%' THEN 0 ELSE 1 END) FROM people", "the result pattern"),
        ("SELECT nullif(ssn, 'x') FROM people", "the result computation"),
        ("SELECT CASE WHEN ssn = 'x' THEN 1 END FROM people", "the result comparison"),
        ("SELECT ssn = 'x' FROM people", "the result comparison"),
        ("SELECT count(*) FILTER (WHERE ssn = 'x') FROM people", "the result comparison"),
        ("SELECT count(CASE WHEN ssn = 'x' THEN 1 END) FROM people", "the result comparison"),
        ("SELECT length(ssn) / 2 FROM people", "the result computation"),
        ("SELECT substring(ssn FROM '^5') FROM people", "the result computation"),
        ("SELECT (string_to_array(ssn, '-'))[2] FROM people", "the result computation"),
        ("SELECT json_build_object(ssn, 1) -> 'x' FROM people", "the result computation"),
        ("SELECT pure(ssn) FROM people", "the result computation"),
        ("SELECT ssn::text[] FROM people", "the result computation"),
        ("SELECT ssn::varchar(9)[] FROM people", "the result computation"),
        ("SELECT format('%*s', ssn, 'y') FROM people", "the result computation"),
        ("SELECT format('%1$*2$s', 'y', ssn) FROM people", "the result computation"),
        ("SELECT format($1, ssn) FROM people", "the result computation"),
        ("SELECT format('%s', ssn, repeat('x', 9)) FROM people", "the result computation"),
        ("SELECT replace(ssn, '1', 'x') FROM people", "the result computation"),
        ("SELECT concat(ssn, repeat('x', 9)) FROM people", "the result computation"),
        ("SELECT ssn || repeat('x', 9) FROM people", "the result computation"),
        ("SELECT (repeat('x', 9) || 'y') || upper(ssn) FROM people", "the result computation"),
        ("SELECT ssn || b FROM people, (SELECT repeat('x', 9) b) s", "the result computation"),
        ("SELECT concat(ssn, 'x'::char(9)) FROM people", "the result computation"),
        ("SELECT string_agg(ssn, repeat('x', 9)) FROM people", "the result computation"),
        ("SELECT array_agg(a) FROM (SELECT ARRAY[ssn] a FROM people) s", "the result computation"),
        ("SELECT array_agg(ARRAY[ssn]) FROM people", "the result computation"),
        ("SELECT json_build_object('k', 1, ssn, 2) FROM people", "the result computation"),
        (
            "SELECT o -> 'x' FROM (SELECT json_build_object('k', ssn) o FROM people) s",
            "the result computation",
        ),
        (
            "WITH s AS (SELECT row_to_json(p) o FROM people p) SELECT o -> 'x' ->> 'y' FROM s",
            "the result computation",
        ),
        ("SELECT (o)['x'] FROM (SELECT to_jsonb(ssn) o FROM people) s", "the result computation"),
        ("SELECT count(k) FROM (SELECT upper(ssn) k FROM people) s", "the result computation"),
        ("UPDATE orders SET id = (SELECT ssn::int FROM people)", "the result computation, a key computation"),
        ("SELECT plpg(id) FROM people", "?function"),
    ]);
}

#[test]
fn what_tells_nothing() {
    check(&[
        ("SELECT * FROM people", "-"),
        ("SELECT ssn FROM people WHERE id = 1 ORDER BY id LIMIT 5", "-"),
        ("SELECT id, ssn IS NULL FROM people WHERE ssn IS NOT NULL", "-"),
        ("SELECT count(*), count(ssn), max(ssn), string_agg(ssn, ',') FROM people", "-"),
        ("SELECT name, max(ssn) FROM people GROUP BY name ORDER BY name", "-"),
        ("SELECT upper(ssn), left(ssn, 2), substr(ssn, 1, 3), ssn || '!', ssn::varchar(4) FROM people", "-"),
        (
            "SELECT concat('***-', right(ssn, 4), ' ', upper(name)), left(ssn, 1) || '-' || name FROM people",
            "-",
        ),
        ("SELECT format('%s: %L 100%%', ssn, name), array_agg(ssn), array_agg(lower(ssn)) FROM people", "-"),
        ("SELECT json_build_object('ssn', ssn, 'n', upper(ssn)), ssn::text || id FROM people", "-"),
        ("SELECT count(s.ssn), count(v.ssn) FROM (SELECT ssn FROM people) s, v_people v", "-"),
        ("SELECT count(p), count(p.*) FROM people p", "-"),
        ("SELECT s.d ->> 'a', (s.d)['a'] FROM (SELECT doc d FROM documents) s", "-"),
        ("SELECT coalesce(ssn, 'none'), concat(ssn, name), row_to_json(p) FROM people p", "-"),
        ("SELECT p.ssn, c.number FROM people p JOIN cards c ON c.person_id = p.id", "-"),
        ("SELECT p.ssn FROM people p LEFT JOIN cards c USING (id) WHERE c.id IS NULL", "-"),
        ("SELECT ssn FROM people UNION ALL SELECT name FROM people", "-"),
        ("SELECT doc -> 'a' ->> 'b' FROM documents WHERE id = 1", "-"),
        ("SELECT ARRAY(SELECT ssn FROM people WHERE id < 3)", "-"),
        ("SELECT (SELECT ssn FROM people q WHERE q.id = p.id) FROM people p", "-"),
        ("UPDATE people SET ssn = upper(ssn)", "-"),
        ("SELECT id, row_number() OVER (ORDER BY id) FROM people", "-"),
        ("SELECT ssn_of(1), to_char(now(), 'YYYY')", "-"),
    ]);
}

#[test]
fn constants_are_counted_and_rows_of_guesses_are_seen() {
    let count = |sql: &str| conditions(sql).found.values().sum::<u32>();
    assert_eq!(count("SELECT id FROM people WHERE ssn IN ('a', 'b', 'c')"), 3);
    assert_eq!(count("SELECT id FROM people WHERE ssn = 'a' OR ssn = 'b'"), 2);
    for sql in [
        "SELECT 1 FROM people p, (VALUES ('a'), ('b')) v(x) WHERE p.ssn LIKE v.x",
        "SELECT 1 FROM people p, generate_series(1, 9) n WHERE p.ssn LIKE n || '%'",
        "SELECT 1 FROM people p, unnest(ARRAY['a', 'b']) x WHERE p.ssn LIKE x",
        "SELECT 1 FROM people p, (SELECT 'a' x UNION ALL SELECT 'b') v WHERE p.ssn LIKE x",
    ] {
        assert!(conditions(sql).makes_rows, "{sql}");
    }
    assert!(!conditions("SELECT id FROM people WHERE ssn LIKE 'a%' AND id = 1").makes_rows);
}

#[test]
fn an_index_reads_its_table() {
    check(&[
        ("CREATE INDEX ON people (id)", "-"),
        ("CREATE INDEX ON people (ssn)", "-"),
        ("CREATE UNIQUE INDEX ON people (ssn)", "the result computation"),
        ("CREATE INDEX ON people ((1 / nullif(ascii(ssn), 53)))", "the result computation"),
        ("CREATE INDEX ON people (id) WHERE ssn LIKE '5%'", "WHERE pattern"),
    ]);
}

#[test]
fn rows_that_try_a_key_are_counted() {
    for (sql, tried) in [
        ("INSERT INTO letters VALUES ('a', 1), ('b', 2)", 0),
        ("INSERT INTO letters VALUES ('a', 1), ('b', 2) ON CONFLICT DO NOTHING", 2),
        ("INSERT INTO letters SELECT 'a', 1 ON CONFLICT DO NOTHING", 1),
        ("INSERT INTO letters SELECT unnest(ARRAY['a']), 1 ON CONFLICT DO NOTHING", u32::MAX),
        ("INSERT INTO letters SELECT name, id FROM people ON CONFLICT DO NOTHING", u32::MAX),
    ] {
        assert_eq!(conditions(sql).tried, tried, "{sql}");
    }
}

#[test]
fn tables_of_guesses_are_seen() {
    let joined = |sql: &str| {
        let of = |(a, b): &(ColumnId, ColumnId)| format!("{}={}", column_text(a), column_text(b));
        conditions(sql).joins.iter().map(of).any(|join| join == "people.ssn=letters.ch")
    };
    for sql in [
        "SELECT 1 FROM people p JOIN letters c ON p.ssn = c.ch",
        "SELECT 1 FROM people p JOIN letters c ON substr(p.ssn, 1, 1) = c.ch",
        "SELECT 1 FROM people p, letters c WHERE p.ssn LIKE c.ch || '%'",
        "SELECT 1 FROM people p, letters c WHERE p.ssn || c.ch LIKE '%x'",
        "SELECT p.ssn > c.ch FROM people p, letters c",
        "SELECT 1 FROM people p, letters c WHERE p.ssn > (SELECT c.ch)",
    ] {
        assert!(joined(sql), "{sql}");
    }
    for sql in [
        "SELECT 1 FROM people p JOIN letters c ON c.n = p.id WHERE p.ssn LIKE 'x%' AND c.ch = 'x'",
        "SELECT 1 FROM people WHERE ssn > (SELECT max(ch) FROM letters)",
    ] {
        assert!(!joined(sql), "{sql}");
    }
}

#[test]
fn definitions_of_views_have_conditions() {
    let catalogue = catalogue();
    let flows = ViewFlows::of(&catalogue, &Codes::default());
    let of = |view| flows.conditions_of(view).iter().map(column_text).collect::<Vec<_>>().join(" ");
    assert_eq!((of(20_101).as_str(), of(20_103).as_str()), ("", "people.name"));
}

#[test]
fn copies() {
    let copies = |sql: &str| {
        let of = |(target, source): &(Option<ColumnId>, ColumnId)| {
            format!("{}<{}", target.as_ref().map_or("new".into(), column_text), column_text(source))
        };
        conditions(sql).copies.iter().map(of).collect::<Vec<_>>().join(" ")
    };
    for (sql, expected) in [
        ("INSERT INTO letters (ch) SELECT ssn FROM people", "letters.ch<people.ssn"),
        (
            "INSERT INTO letters SELECT upper(ssn), id FROM people",
            "letters.ch<people.ssn letters.n<people.id",
        ),
        ("INSERT INTO letters VALUES ('a', 1)", ""),
        ("UPDATE people SET name = ssn", "people.name<people.ssn"),
        ("UPDATE people SET ssn = ssn || 'x'", ""),
        (
            "UPDATE letters SET ch = (SELECT ssn FROM people WHERE id = 1)",
            "letters.ch<people.id letters.ch<people.ssn",
        ),
        (
            "INSERT INTO letters VALUES ('a', 1) ON CONFLICT (n) DO UPDATE SET ch = (SELECT max(ssn) FROM people)",
            "letters.ch<people.ssn",
        ),
        (
            "MERGE INTO letters l USING people p ON l.n = p.id WHEN MATCHED THEN UPDATE SET ch = p.email",
            "letters.ch<people.email",
        ),
        ("CREATE TABLE t AS SELECT email FROM people", "new<people.email"),
        ("SELECT email INTO t FROM people", "new<people.email"),
        ("CREATE TEMP TABLE t AS SELECT email FROM people", ""),
        ("SELECT email INTO TEMP t FROM people", ""),
        ("WITH w AS (INSERT INTO letters (ch) SELECT ssn FROM people) SELECT 1", "letters.ch<people.ssn"),
    ] {
        assert_eq!(copies(sql), expected, "{sql}");
    }
}

/// Functions that keep what they are given, and code that writes it down, are copies.
#[test]
fn what_calls_and_code_keep_is_a_copy() {
    let copies = |sql: &str| {
        let of = |(target, source): &(Option<ColumnId>, ColumnId)| {
            format!("{}<{}", target.as_ref().map_or("new".into(), column_text), column_text(source))
        };
        conditions(sql).copies.iter().map(of).collect::<Vec<_>>().join(" ")
    };
    for (sql, expected) in [
        // The server's own.
        ("SELECT setval('s', salary) FROM people", "new<people.salary"),
        ("SELECT pg_advisory_lock(salary) FROM people", "new<people.salary"),
        ("SELECT setseed(1.0 / salary) FROM people", "new<people.salary"),
        ("SELECT nextval('s') FROM generate_series(1, (SELECT salary FROM people))", "new<people.salary"),
        ("SELECT nextval('s'), random(), salary FROM people", ""),
        ("SELECT upper(ssn), now() FROM people", ""),
        // Code of the database.
        ("SELECT keep(ssn) FROM people", "new<people.ssn"),
        ("SELECT keep_it(ssn) FROM people", "new<people.ssn"),
        ("SELECT ssn ||| 'x' FROM people", "new<people.ssn"),
        ("SELECT k FROM people, keep(ssn) k", "new<people.ssn"),
        ("SELECT id FROM people WHERE keep(ssn) > 0", "new<people.ssn"),
        ("SELECT id FROM people ORDER BY keep(ssn)", "new<people.ssn"),
        ("SELECT calls_keep('x')", "new<people.email"),
        ("SELECT python(ssn) FROM people", "new<people.ssn"),
        ("SELECT slow(ssn) FROM people", "new<people.ssn"),
        ("SELECT seeds(ssn) FROM people", "new<people.ssn"),
        ("SELECT look(ssn) FROM people", ""),
        ("SELECT look_up('x')", ""),
        // As many rows as a number says.
        (
            "CREATE TABLE t AS SELECT 1 FROM generate_series(1, (SELECT salary FROM people))",
            "new<people.salary",
        ),
    ] {
        assert_eq!(copies(sql), expected, "{sql}");
    }
    // Each into the column of its own name: nothing that was hidden comes to light.
    let archived = copies("SELECT archive('x')");
    assert!(archived.is_empty() || !archived.contains("new<"), "{archived}");
}

/// A value of which nobody knows where it is from may be anything.
#[test]
fn what_is_put_somewhere_in_doubt_is_told() {
    let doubtful = |sql: &str| conditions(sql).doubtful.len();
    assert_eq!(doubtful("INSERT INTO letters (ch) SELECT nobody_knows(1)"), 1);
    assert_eq!(doubtful("UPDATE letters SET ch = nobody_knows(ch)"), 1);
    assert_eq!(doubtful("INSERT INTO letters (ch) SELECT upper('x')"), 0);
}

/// A table may check what is put into it from elsewhere.
#[test]
fn what_is_put_into_another_table_may_be_checked_there() {
    check(&[
        ("INSERT INTO letters SELECT ssn FROM people", "a key computation"),
        ("UPDATE letters SET ch = ssn FROM people", "a key computation"),
        (
            "MERGE INTO letters USING people ON false WHEN NOT MATCHED THEN INSERT VALUES (ssn)",
            "a key computation",
        ),
        ("INSERT INTO people (ssn) VALUES ('x')", "-"),
    ]);
}

/// What fails for some values, and where a recursion ends.
#[test]
fn paths_zones_formats_and_cycles_tell_values_apart() {
    check(&[
        ("SELECT date_trunc('day', now(), ssn) FROM people", "the result computation"),
        ("SELECT date_trunc('day', ssn, 'UTC') FROM people", "-"),
        ("SELECT to_char(ssn, '9V99') FROM people", "the result computation"),
        ("SELECT to_char(ssn, $1) FROM people", "the result computation"),
        ("SELECT to_char(ssn, '999') FROM people", "-"),
        (
            "SELECT v FROM people p, XMLTABLE('/a' PASSING ('<a/>'::xml) COLUMNS v text PATH p.ssn) x",
            "FROM computation",
        ),
        (
            "SELECT v FROM people p, XMLTABLE('/a' PASSING ('<a/>'::xml) COLUMNS v text DEFAULT p.ssn) x",
            "FROM computation",
        ),
        (
            "WITH RECURSIVE t(n, s) AS (SELECT 0, 'x' UNION ALL SELECT n + 1, ssn FROM t, people WHERE n < 3) \
             CYCLE s SET c USING path SELECT n FROM t",
            "a set operation grouping",
        ),
        (
            "WITH RECURSIVE t(n, s) AS (SELECT 0, 'x' UNION ALL SELECT n + 1, ssn FROM t, people WHERE n < 3) \
             CYCLE n SET c USING path SELECT n FROM t",
            "-",
        ),
    ]);
}

/// A row of another table that a value finds by itself is a guess that fits.
#[test]
fn rows_that_a_value_finds_are_guesses() {
    let is_list = |sql: &str| {
        let found = conditions(sql);
        let is_ssn = |id: &ColumnId| column_text(id).ends_with("ssn");
        let joins = found.joins.iter().any(|(a, b)| is_ssn(a) != is_ssn(b));
        found.makes_rows || joins || found.finds.iter().any(|(value, among)| is_ssn(value) && !is_ssn(among))
    };
    for sql in [
        "SELECT ch FROM letters WHERE ch = (SELECT substr(ssn, 1, 1) FROM people WHERE id = 1)",
        "SELECT ch FROM letters WHERE (ch, 1) = (SELECT ssn, 1 FROM people WHERE id = 1)",
        "SELECT count(*) FROM letters WHERE n <= (SELECT length(ssn) FROM people WHERE id = 1)",
        "SELECT ch FROM letters, people ORDER BY abs(n - length(ssn)) LIMIT 1",
        "SELECT ch FROM letters, people ORDER BY ch = ssn DESC LIMIT 1",
        "SELECT ch FROM letters ORDER BY n - (SELECT length(ssn) FROM people WHERE id = 1)",
        "SELECT DISTINCT ON (people.id) ch FROM letters, people ORDER BY people.id, abs(n - length(ssn))",
        "SELECT max(ch) FROM letters, people GROUP BY ch <= ssn",
        "SELECT ch FROM letters ORDER BY n OFFSET (SELECT length(ssn) FROM people WHERE id = 1)",
        "SELECT ch FROM letters LIMIT (SELECT length(ssn) FROM people WHERE id = 1)",
        "SELECT ch FROM letters TABLESAMPLE SYSTEM (9) REPEATABLE ((SELECT length(ssn) FROM people))",
        "SELECT 1 FROM people, string_to_array(repeat(',', length(ssn)), ',')",
        "SELECT 1 FROM people, XMLTABLE('/r/a' PASSING (repeat('<a/>', length(ssn))::xml) COLUMNS v text) x",
    ] {
        assert!(is_list(sql), "{sql}");
    }
    for sql in [
        "SELECT item FROM orders WHERE person_id = (SELECT id FROM people WHERE ssn = 'x')",
        "SELECT id FROM people WHERE ssn = (SELECT max(ssn) FROM people)",
        "SELECT item FROM orders JOIN people ON orders.person_id = people.id ORDER BY ssn, item LIMIT 3",
        "SELECT item FROM orders ORDER BY (SELECT ssn FROM people WHERE people.id = person_id) LIMIT 3",
        "SELECT ssn, count(*) FROM orders JOIN people ON orders.person_id = people.id GROUP BY ssn, item",
        "SELECT 1 FROM people, string_to_array(ssn, '-')",
        "SELECT 1 FROM people, XMLTABLE('/r/a' PASSING (ssn) COLUMNS v text) x",
    ] {
        assert!(!is_list(sql), "{sql}");
    }
}

/// A table that whoever asks filled with guesses is as good as a list.
#[test]
fn a_temporary_table_of_guesses_is_one() {
    let makes_rows = |statements: &[&str], sql: &str| {
        let temporary = |name: &str| match name {
            "t" => Temporary::Statements(statements.iter().map(|text| ((*text).into(), public())).collect()),
            _ => Temporary::None,
        };
        let catalogue = catalogue();
        let names = Names {
            catalogue: &catalogue,
            codes: &Codes::default(),
            search_path: &public(),
            temporary: &temporary,
        };
        flows(sql, &names).1.makes_rows
    };
    const GUESSED: [&str; 2] = ["CREATE TEMP TABLE t (d text, l text)", "INSERT INTO t VALUES ('5', '5')"];
    let asks = "SELECT l FROM t, people p WHERE d = substr(p.ssn, 1, 1)";
    assert!(makes_rows(&GUESSED, asks));
    assert!(!makes_rows(&["CREATE TEMP TABLE t AS SELECT id AS l, name AS d FROM people"], asks));
}

/// In which partition a row is depends on what is in it.
#[test]
fn a_place_among_partitions_tells_the_row() {
    let mut builder = CatalogueBuilder::default();
    for (oid, name, kind) in [(1, "parts", RelationKind::Partitioned), (2, "whole", RelationKind::Table)] {
        let relation = Relation { kind, ..relation(30_000 + oid, "public", name, "id ssn", None) };
        builder.relation(relation, 31_000 + oid);
    }
    let catalogue = builder.finish();
    let names = Names {
        catalogue: &catalogue,
        codes: &Codes::default(),
        search_path: &public(),
        temporary: &|_| Temporary::None,
    };
    let tells = |sql: &str| match lineage(sql, &names) {
        Lineage::Columns(flows) => flows[0].implicit.contains(&(30_001, 2)),
        other => panic!("{sql}: {other:?}"),
    };
    assert!(tells("SELECT tableoid FROM parts"));
    assert!(tells("SELECT p.tableoid::text FROM parts p"));
    assert!(!tells("SELECT p.ctid FROM parts p"));
    assert!(!tells("SELECT tableoid FROM whole"));
    let copied = |sql: &str| flows(sql, &names).1.copies.contains(&(None, (30_002, 2)));
    assert!(copied("INSERT INTO parts SELECT * FROM whole"));
    assert!(copied("UPDATE parts SET ssn = w.ssn FROM whole w"));
    assert!(!copied("UPDATE parts SET ssn = upper(ssn)"));
    assert!(!copied("INSERT INTO whole SELECT * FROM parts"));
}

/// A mask may keep another part of what is cut or turned than of what was there.
#[test]
fn what_is_made_of_a_value_is_told_from_the_value() {
    let remade = |sql: &str| {
        let catalogue = catalogue();
        let path = public();
        let names = Names {
            catalogue: &catalogue,
            codes: &Codes::default(),
            search_path: &path,
            temporary: &|_| Temporary::None,
        };
        !flows(sql, &names).1.remade.is_empty()
    };
    for (sql, expected) in [
        ("UPDATE people SET name = lower(name)", false),
        ("UPDATE people SET name = btrim(name) || '!'", false),
        ("UPDATE people SET name = coalesce(email::text, name)", false),
        ("INSERT INTO people (name) SELECT upper(n) FROM (SELECT name AS n FROM people) p", false),
        ("UPDATE people SET name = 'x'", false),
        ("UPDATE people SET name = substr(name, 2)", true),
        ("UPDATE people SET name = btrim(name, 'Q')", true),
        ("UPDATE people SET name = replace(name, 'Q', '')", true),
        ("INSERT INTO people (name) SELECT n FROM (SELECT substr(name, 2) AS n FROM people) p", true),
        ("UPDATE people SET name = CASE WHEN name = 'x' THEN 'a' ELSE 'b' END", true),
    ] {
        assert_eq!(remade(sql), expected, "{sql}");
    }
}
