//! Columns that another name, a row or a join hides: they must come out nevertheless.

use super::*;

/// `q` has one column that is not known; the row behind it has a social security number as `x`.
const OPEN: &str = "(SELECT (s).* FROM (SELECT r FROM (SELECT ssn AS x FROM people) r) q(s))";

/// Each of these tells of `people.ssn`, or says that it does not know.
fn tells(table: &[&str]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|sql| sql.replace("OPEN", OPEN))
        .map(|sql| format!("{}    {sql}", text(&of(&sql))))
        .filter(|found| {
            !found.starts_with('?') && !found.split("    ").next().unwrap().contains("people.ssn")
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_tables_have_system_columns() {
    tells(&[
        "SELECT (SELECT xmin FROM (VALUES (1)) v(a)) FROM (SELECT ssn AS xmin FROM people) p",
        "SELECT (SELECT ctid FROM (VALUES (1)) v(a)) FROM (SELECT ssn AS ctid FROM people) p",
        "SELECT q.xmin||'' FROM (SELECT (s).* FROM (SELECT r FROM (SELECT ssn AS xmin FROM people) r) s0(s)) q",
        "SELECT xmin FROM (SELECT ssn FROM people) xmin",
    ]);
    check(&[("SELECT xmin, p.ctid, (SELECT xmax FROM letters) FROM people p", "- | - | -")]);
}

#[test]
fn a_function_in_from_may_give_a_row() {
    tells(&[
        "SELECT (SELECT ssn||'' FROM unnest(ARRAY(SELECT p FROM people p)) u LIMIT 1) FROM (SELECT 'x'::text AS ssn) o",
        "SELECT (SELECT ssn||'' FROM (SELECT p FROM people p) z, COALESCE(z.p, z.p) c LIMIT 1) FROM (SELECT 'x'::text AS ssn) o",
        "SELECT c FROM unnest(ARRAY(SELECT p FROM people p)) AS u(a, b, c)",
        "SELECT u.c FROM unnest(ARRAY(SELECT p FROM people p)) AS u(a, b, c)",
        "SELECT u.ssn FROM unnest(ARRAY(SELECT p FROM people p)) u",
        // A row without a field of that name: the alias does not hide the query around.
        "SELECT (SELECT ssn||'' FROM unnest(ARRAY(SELECT l FROM letters l)) ssn LIMIT 1) FROM people",
        "SELECT (SELECT ssn||'' FROM (SELECT * FROM unnest(ARRAY(SELECT l FROM letters l)) ssn) s LIMIT 1) FROM people",
        "SELECT c FROM (SELECT u.*, p.ssn, p.id FROM unnest(ARRAY[ROW('a', 1)::letters]) u, people p) AS s(a, b, c, d)",
        "SELECT u FROM people p, unnest(ARRAY(SELECT ch FROM letters)) u WHERE p.ssn = u",
    ]);
    check(&[
        ("SELECT * FROM unnest($1) u", "-"),
        ("SELECT * FROM unnest($1::int[], ARRAY['a', 'b']) u(a, b)", "- | -"),
        ("SELECT o.id, tag FROM documents o, unnest(o.tags) tag", "=documents.id | documents.tags"),
        ("SELECT id, u.* FROM documents, unnest(tags) u", "=documents.id | documents.tags"),
        (
            "SELECT * FROM letters, unnest(string_to_array(ch, ',')) u",
            "=letters.ch | =letters.n | letters.ch",
        ),
        ("SELECT id FROM documents CROSS JOIN LATERAL unnest(tags) u", "=documents.id"),
        ("SELECT * FROM CURRENT_DATE d", "-"),
    ]);
}

/// A temporary table's row type comes before the server's type of its name.
#[test]
fn a_cast_to_a_hidden_type_may_give_a_row() {
    let made = |name: &str| match name {
        "text" => Temporary::Statements([("CREATE TEMP TABLE text (a int, b int)".into(), public())].into()),
        _ => Temporary::None,
    };
    let sql = "SELECT u.* FROM unnest('{}'::text[]) u";
    assert_eq!(text(&of(sql)), "-");
    assert!(matches!(of_with(sql, &public(), &made), Lineage::Unknown(_)));
    let late = SearchPath::Known(vec!["public".into(), "pg_catalog".into()]);
    assert!(matches!(of_with(sql, &late, &|_| Temporary::None), Lineage::Unknown(_)));
}

#[test]
fn joins_with_columns_that_are_not_known() {
    tells(&[
        "SELECT x FROM (VALUES ('a')) l(x) NATURAL RIGHT JOIN OPEN o",
        "SELECT x FROM OPEN o NATURAL LEFT JOIN (VALUES ('a')) l(x)",
        "SELECT j.x FROM ((VALUES ('a')) l(x) NATURAL RIGHT JOIN OPEN o) j",
        "SELECT x FROM (VALUES ('a')) l(x) RIGHT JOIN OPEN o USING (x)",
        "SELECT j.c1||'' FROM (OPEN l CROSS JOIN (VALUES ('a')) r(v)) AS j(c1, c2)",
        "SELECT c1||'' FROM (OPEN l CROSS JOIN (VALUES ('a')) r(v)) AS j(c1, c2)",
        "SELECT c2||'' FROM ((VALUES ('a')) r(v) CROSS JOIN OPEN l) AS j(c1, c2)",
        "SELECT c1||'' FROM (SELECT * FROM OPEN l CROSS JOIN (VALUES ('a')) r(v)) AS j(c1, c2)",
        "SELECT c1||'' FROM (SELECT j.* FROM (OPEN l CROSS JOIN (VALUES ('a')) r(v)) j) AS j(c1, c2)",
        "SELECT j FROM (OPEN l CROSS JOIN (VALUES ('a')) r(v)) AS j(c1, c2)",
        "SELECT x FROM ((VALUES ('a')) l(x) NATURAL RIGHT JOIN OPEN o) CROSS JOIN letters",
        "SELECT u.x FROM ((VALUES ('a')) l(x) NATURAL RIGHT JOIN OPEN o) JOIN (VALUES ('a')) m(x) USING (x) AS u",
    ]);
    check(&[
        ("SELECT ssn, p.name FROM people p JOIN pg_class ON true", "=people.ssn | =people.name"),
        ("SELECT p.name FROM people p NATURAL JOIN pg_class", "=people.name"),
    ]);
}

#[test]
fn a_field_of_an_open_item_may_be_a_function_of_its_row() {
    tells(&[
        "SELECT p.row_to_json FROM (SELECT ssn AS c, (s).* FROM people, (SELECT r FROM (SELECT 1 AS z) r) q(s)) p",
    ]);
}

#[test]
fn with_queries_write_as_well() {
    let made = |name: &str| {
        let statements: &[&str] = match name {
            "a" => &[
                "CREATE TEMP TABLE a (x text)",
                "WITH w AS (INSERT INTO a SELECT ssn FROM people RETURNING 1) INSERT INTO b(y) VALUES ('1')",
            ],
            "b" => &[
                "CREATE TEMP TABLE b (y text)",
                "WITH w AS (SELECT ssn FROM people) INSERT INTO b(y) SELECT ssn FROM w",
            ],
            _ => return Temporary::None,
        };
        Temporary::Statements(statements.iter().map(|text| ((*text).into(), public())).collect())
    };
    assert_eq!(text(&of_with("SELECT x FROM a", &public(), &made)), "-?temporary");
    assert_eq!(text(&of_with("SELECT y FROM b", &public(), &made)), "=people.ssn");
}

/// Comparing names costs, too.
#[test]
fn wide_joins_are_bounded() {
    let wide = |prefix: &str| {
        let columns: Vec<String> = (0..8_000).map(|n| format!("1 AS {prefix}{n}")).collect();
        format!("(SELECT {}) {prefix}", columns.join(", "))
    };
    let sql = format!("SELECT 1 FROM {} NATURAL JOIN {}", wide("l"), wide("r"));
    assert_eq!(of(&sql), Lineage::Unknown(Doubt::TooMuch));
    let names = "c9999, ".repeat(5_000);
    let sql = format!("SELECT {names} 1 FROM {}", wide("c"));
    assert_eq!(of(&sql), Lineage::Unknown(Doubt::TooMuch));
}
