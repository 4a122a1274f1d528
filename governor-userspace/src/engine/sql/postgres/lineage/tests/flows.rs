//! Values that flow: every shape of the masking promises, with its exact sources.

use super::*;

#[test]
fn columns_under_other_names() {
    check(&[
        ("SELECT ssn FROM people", "=people.ssn"),
        ("SELECT ssn AS x, id FROM people", "=people.ssn | =people.id"),
        ("SELECT p.ssn FROM people p", "=people.ssn"),
        ("SELECT (p.ssn) FROM public.people p", "=people.ssn"),
        ("SELECT public.people.ssn FROM people", "=people.ssn"),
        ("SELECT ssn COLLATE \"C\" FROM people", "=people.ssn"),
        ("SELECT U&\"\\0073sn\" FROM people", "=people.ssn"),
        ("SELECT b FROM people AS p(a, c, b)", "=people.ssn"),
        ("SELECT p.b FROM people AS p(a, c, b)", "=people.ssn"),
        ("SELECT email FROM people AS p(a, c, b)", "=people.email"),
        ("SELECT * FROM cards", "=cards.id | =cards.person_id | =cards.number"),
        ("TABLE cards", "=cards.id | =cards.person_id | =cards.number"),
        ("SELECT c.*, 1 FROM cards c", "=cards.id | =cards.person_id | =cards.number | -"),
        ("SELECT ssn FROM ONLY people", "=people.ssn"),
        ("SELECT ssn FROM people TABLESAMPLE system (10)", "=people.ssn"),
        ("SELECT ctid, xmin, tableoid FROM people", "- | - | -"),
        ("SELECT most_common_vals FROM pg_stats", "=pg_catalog.pg_stats.most_common_vals"),
        ("SELECT relname FROM pg_class", "-"),
    ]);
}

/// Masked by the column's key, a constant would show what a guess is masked as.
#[test]
fn a_constant_beside_a_column_is_not_the_columns_own() {
    check(&[
        ("SELECT ssn FROM people UNION ALL SELECT ssn FROM people", "=people.ssn"),
        ("SELECT ssn FROM people WHERE false UNION ALL SELECT 'guess'", "people.ssn"),
        ("VALUES ((SELECT ssn FROM people LIMIT 0)), ($1)", "people.ssn"),
        ("SELECT ssn FROM people RIGHT JOIN (VALUES ('guess')) v(ssn) USING (ssn)", "people.ssn"),
        (
            "SELECT CASE WHEN false THEN ssn ELSE 'guess' END, coalesce(ssn, 'guess') FROM people",
            "people.ssn | people.ssn",
        ),
    ]);
}

#[test]
fn expressions_pass_on_what_goes_in() {
    check(&[
        ("SELECT ssn::varchar(20), CAST(ssn AS text) FROM people", "people.ssn | people.ssn"),
        ("SELECT coalesce(ssn), coalesce(name, ssn) FROM people", "people.ssn | people.name+people.ssn"),
        ("SELECT greatest(ssn, name) FROM people", "people.name+people.ssn"),
        (
            "SELECT upper(ssn), substr(ssn, 2), length(ssn) FROM people",
            "people.ssn | people.ssn | people.ssn",
        ),
        ("SELECT 'x' || ssn || name FROM people", "people.name+people.ssn"),
        ("SELECT salary + 1, -salary FROM people", "people.salary | people.salary"),
        (
            "SELECT ARRAY[ssn, name], ROW(id, ssn) FROM people",
            "people.name+people.ssn | people.id+people.ssn",
        ),
        ("SELECT (ARRAY[ssn])[1], (ARRAY['a','b'])[n] FROM people, letters", "people.ssn | -~letters.n"),
        ("SELECT format('%s', ssn), concat(ssn, id) FROM people", "people.ssn | people.id+people.ssn"),
        ("SELECT doc->>'a', doc['a'] FROM documents", "documents.doc | documents.doc"),
        ("SELECT json_build_object('a', ssn) FROM people", "people.ssn"),
        (
            "SELECT JSON_OBJECT('a': ssn), JSON_ARRAY(ssn, id) FROM people",
            "people.ssn | people.id+people.ssn",
        ),
        (
            "SELECT JSON_VALUE(doc, '$.a'), JSON_QUERY(doc, '$') FROM documents",
            "documents.doc | documents.doc",
        ),
        ("SELECT JSON_EXISTS(doc, '$.a') FROM documents", "-~documents.doc"),
        (
            "SELECT JSON_OBJECTAGG(id: ssn), JSON_ARRAYAGG(ssn) FROM people",
            "people.id+people.ssn | people.ssn",
        ),
        ("SELECT JSON_ARRAY(SELECT ssn FROM people)", "people.ssn"),
        (
            "SELECT xmlelement(name a, xmlattributes(id), ssn), xmlforest(name) FROM people",
            "people.id+people.ssn | people.name",
        ),
        ("SELECT xmlserialize(content xmlelement(name a, ssn) AS text) FROM people", "people.ssn"),
        (
            "SELECT substring(ssn from 1 for 3), overlay(ssn placing 'x' from 1) FROM people",
            "people.ssn | people.ssn",
        ),
        ("SELECT ssn AT TIME ZONE 'UTC' FROM people", "people.ssn"),
        (
            "SELECT now(), 1, 'x', $1, CURRENT_DATE, current_user, random(), NULL FROM people",
            "- | - | - | - | - | - | - | -",
        ),
        ("SELECT pg_catalog.upper(ssn) FROM people", "people.ssn"),
        ("SELECT set_config('a.b', ssn, false) FROM people", "people.ssn"),
        ("SELECT current_setting('server_version')", "-"),
    ]);
}

#[test]
fn conditions_choose() {
    check(&[
        ("SELECT CASE WHEN true THEN ssn END FROM people", "people.ssn"),
        ("SELECT CASE WHEN ssn LIKE '1%' THEN 'a' ELSE name END FROM people", "people.name~people.ssn"),
        ("SELECT CASE substr(ssn, 1, 1) WHEN '1' THEN 'one' END FROM people", "-~people.ssn"),
        (
            "SELECT ssn = '1', ssn LIKE '1%', ssn IN ('1', '2') FROM people",
            "-~people.ssn | -~people.ssn | -~people.ssn",
        ),
        ("SELECT ssn BETWEEN 'a' AND name FROM people", "-~people.name+people.ssn"),
        (
            "SELECT ssn IS DISTINCT FROM name, ssn ~ 'x' FROM people",
            "-~people.name+people.ssn | -~people.ssn",
        ),
        ("SELECT nullif(name, ssn) FROM people", "people.name~people.ssn"),
        // A boolean is its own value however it is asked for.
        (
            "SELECT NOT active, active IS TRUE, active AND true FROM people",
            "people.active | people.active | people.active",
        ),
        // That a value is there shows anyway.
        ("SELECT ssn IS NULL, upper(ssn) IS NULL FROM people", "- | -~people.ssn"),
        ("SELECT EXISTS (SELECT 1 FROM people WHERE ssn LIKE '1%')", "-~people.ssn"),
        (
            "SELECT 'x' = ANY (SELECT ssn FROM people), 'x' IN (SELECT ssn FROM people)",
            "-~people.ssn | -~people.ssn",
        ),
        (
            "SELECT (id, name) = (SELECT id, ssn FROM people) FROM people p",
            "-~people.id+people.name+people.ssn",
        ),
    ]);
}

#[test]
fn aggregates_and_windows() {
    check(&[
        (
            "SELECT max(ssn), min(ssn), string_agg(ssn, ','), array_agg(ssn) FROM people",
            "people.ssn | people.ssn | people.ssn | people.ssn",
        ),
        ("SELECT sum(salary), avg(salary) FROM people", "people.salary | people.salary"),
        ("SELECT count(*), count(ssn), count(DISTINCT ssn) FROM people", "- | - | -"),
        // A condition that is counted is a condition.
        ("SELECT count(CASE WHEN ssn LIKE '1%' THEN 1 END) FROM people", "-~people.ssn"),
        ("SELECT count(*) FILTER (WHERE ssn LIKE '1%') FROM people", "-~people.ssn"),
        ("SELECT bool_and(active), bool_and(ssn = '1') FROM people", "people.active | -~people.ssn"),
        ("SELECT array_agg(id ORDER BY ssn) FROM people", "people.id~people.ssn"),
        ("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY salary) FROM people", "people.salary"),
        ("SELECT mode() WITHIN GROUP (ORDER BY ssn) FROM people", "people.ssn"),
        (
            "SELECT lag(ssn) OVER (ORDER BY id), first_value(ssn) OVER () FROM people",
            "people.ssn~people.id | people.ssn",
        ),
        (
            "SELECT row_number() OVER (ORDER BY ssn), rank() OVER w FROM people WINDOW w AS (PARTITION BY name ORDER BY ssn)",
            "-~people.ssn | -~people.name+people.ssn",
        ),
        ("SELECT name, count(*) FROM people GROUP BY name HAVING max(ssn) > '1'", "=people.name | -"),
        ("SELECT GROUPING(name) FROM people GROUP BY ROLLUP (name)", "-"),
        ("SELECT DISTINCT ON (id) ssn FROM people ORDER BY id", "=people.ssn"),
        // How many rows there are tells the number.
        (
            "SELECT p.id, count(*) FROM people p, generate_series(1, p.salary) GROUP BY 1",
            "=people.id | -~people.salary",
        ),
        ("SELECT count(*) FROM people p JOIN generate_series(1, 9999) g ON g <= p.salary", "-~people.salary"),
        (
            "SELECT id, count(*) FROM (SELECT id, generate_series(1, salary) FROM people) s GROUP BY id",
            "=people.id | -~people.salary",
        ),
    ]);
}

#[test]
fn whole_rows_and_fields() {
    let row = "cards.id+cards.person_id+cards.number";
    check(&[
        ("SELECT c FROM cards c", row),
        ("SELECT cards FROM cards", row),
        ("SELECT c.*::text FROM cards c", row),
        ("SELECT row_to_json(c), to_jsonb(c) FROM cards c", &format!("{row} | {row}")),
        ("SELECT json_agg(c) FROM cards c", row),
        ("SELECT (c).number, (c).id FROM cards c", "=cards.number | =cards.id"),
        ("SELECT (c).* FROM cards c", "=cards.id | =cards.person_id | =cards.number"),
        ("SELECT c.upper FROM cards c", row),
        ("SELECT row_to_json(x) FROM (SELECT number FROM cards) x", "cards.number"),
        ("SELECT x.number FROM (SELECT c FROM cards c) y, LATERAL (SELECT (y.c).number) x", row),
        ("SELECT count(c.*) FROM cards c", "-"),
    ]);
}

#[test]
fn functions_of_users() {
    check(&[
        ("SELECT ssn_of(1)", "people.ssn"),
        ("SELECT ssn_of(id) FROM cards", "people.ssn+cards.id"),
        ("SELECT public.ssn_of(1), named(3)", "people.ssn | people.name"),
        ("SELECT pure(ssn), pure('x') FROM people", "people.ssn | -"),
        ("SELECT atomic(), twice()", "people.ssn | people.email"),
        ("SELECT given(ssn) FROM people", "people.ssn"),
        ("SELECT fast(ssn), fast('x') FROM people", "people.ssn | -"),
        (
            "SELECT e.ssn FROM everyone() e",
            "people.id+people.name+people.ssn+people.email+people.salary+people.active",
        ),
        (
            "SELECT p.ssn_of FROM people p",
            "people.id+people.name+people.ssn+people.email+people.salary+people.active",
        ),
        ("SELECT x FROM ssn_of(1) x", "people.ssn"),
    ]);
}

#[test]
fn views_stand_for_themselves_and_expand() {
    check(&[("SELECT ssn FROM v_people", "=v_people.ssn"), ("SELECT lower(up) FROM v_upper", "v_upper.up")]);
    let catalogue = catalogue();
    let views = ViewFlows::of(&catalogue, &Codes::default());
    for (sql, expected) in [
        ("SELECT ssn FROM v_people", "=people.ssn"),
        ("SELECT up FROM v_upper", "people.ssn"),
        ("SELECT lower(up) || v.id FROM v_upper v", "people.id+people.ssn"),
        ("SELECT name, n FROM v_names", "=people.name | -"),
        ("SELECT CASE up WHEN 'x' THEN 1 END FROM v_upper", "-~people.ssn"),
    ] {
        let Lineage::Columns(flows) = of(sql) else { panic!("{sql}") };
        let expanded = flows.iter().map(|flow| views.expand(flow)).collect();
        assert_eq!(text(&Lineage::Columns(expanded)), expected, "{sql}");
    }
}
