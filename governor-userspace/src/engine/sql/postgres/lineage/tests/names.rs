//! Columns are called as the server calls them.

use super::*;

#[test]
fn names_of_columns() {
    for (sql, expected) in [
        ("SELECT id, ssn AS x, p.name FROM people p", "id x name"),
        ("SELECT upper(ssn), pg_catalog.lower(ssn), count(*) FROM people", "upper lower count"),
        (
            "SELECT 1, 'x', id + 1, NOT active, id = 1 FROM people",
            "?column? ?column? ?column? ?column? ?column?",
        ),
        (
            "SELECT ssn::varchar, '1'::int, upper(ssn)::text, (id + 1)::bigint FROM people",
            "ssn int4 upper int8",
        ),
        ("SELECT '1'::int::text, CAST(1 AS public.t)", "text t"),
        ("SELECT CASE WHEN true THEN 1 END, CASE WHEN true THEN 1 ELSE id END FROM people", "case id"),
        (
            "SELECT coalesce(id), nullif(id, 1), greatest(1, 2), least(1, 2) FROM people",
            "coalesce nullif greatest least",
        ),
        ("SELECT ARRAY[1], ROW(1), ARRAY(SELECT 1), EXISTS (SELECT 1)", "array row array exists"),
        ("SELECT (SELECT ssn FROM people), (SELECT max(id) FROM people), (SELECT 1 AS q)", "ssn max q"),
        (
            "SELECT CURRENT_DATE, current_user, CURRENT_TIMESTAMP(3)",
            "current_date current_user current_timestamp",
        ),
        ("SELECT ssn COLLATE \"C\", (p).ssn, (ARRAY[1])[1] FROM people p", "ssn ssn array"),
        ("SELECT xmlelement(name a), xmlserialize(content 'x'::xml AS text)", "xmlelement xmlserialize"),
        ("VALUES (1, 2)", "column1 column2"),
        ("SELECT * FROM (VALUES (1, 2)) AS v(a)", "a column2"),
        ("SELECT * FROM generate_series(1, 2)", "generate_series"),
        ("SELECT * FROM generate_series(1, 2) WITH ORDINALITY g", "g ordinality"),
        ("SELECT id FROM people UNION SELECT n AS m FROM letters", "id"),
    ] {
        let Lineage::Columns(flows) = of(sql) else { panic!("{sql}: {:?}", of(sql)) };
        let names: Vec<&str> = flows.iter().map(|flow| flow.name.as_deref().unwrap_or("-")).collect();
        assert_eq!(names.join(" "), expected, "{sql}");
    }
}
