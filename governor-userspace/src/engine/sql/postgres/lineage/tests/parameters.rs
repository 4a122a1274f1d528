//! Which parameters are compared with stored text and nothing else, and what is left of conditions where they are tokens.

use super::*;

fn given(sql: &str, tokens: &[u16]) -> Conditions {
    thread_local!(static CATALOGUE: Catalogue = catalogue());
    CATALOGUE.with(|catalogue| in_catalogue(catalogue, &public(), sql, tokens))
}

fn in_catalogue(catalogue: &Catalogue, search_path: &SearchPath, sql: &str, tokens: &[u16]) -> Conditions {
    let names = Names { catalogue, codes: &Codes::default(), search_path, temporary: &|_| Temporary::None };
    flows_given(sql, &names, &tokens.iter().copied().collect()).1
}

/// `1: ssn email, 2: name`.
fn compared(sql: &str) -> String {
    text(&given(sql, &[]))
}

fn text(conditions: &Conditions) -> String {
    let found = conditions.compared.iter().map(|(number, columns)| {
        let columns: Vec<String> = columns.iter().map(column_text).collect();
        format!("{number}: {}", columns.join(" "))
    });
    let found: Vec<String> = found.collect();
    if found.is_empty() { "-".into() } else { found.join(", ") }
}

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(sql, expected)| {
            let found = compared(sql);
            (found != *expected).then(|| format!("{sql}\n    expected {expected}\n    found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_parameter_that_is_only_compared_is_found_through_names() {
    check(&[
        ("SELECT id FROM people WHERE ssn = $1", "1: people.ssn"),
        ("SELECT id FROM people WHERE $1 = ssn", "1: people.ssn"),
        ("SELECT id FROM people p WHERE p.ssn = $1 AND p.name = $2", "1: people.ssn, 2: people.name"),
        ("SELECT id FROM people p WHERE p.ssn = $1 OR p.email = $1", "1: people.ssn people.email"),
        ("SELECT id FROM public.people WHERE public.people.ssn = $1", "1: people.ssn"),
        ("SELECT id FROM people WHERE ssn OPERATOR(pg_catalog.=) $1", "1: people.ssn"),
        ("SELECT id FROM people WHERE ssn IN ($1, $2)", "1: people.ssn, 2: people.ssn"),
        ("SELECT i FROM people AS p(i, n, s) WHERE s = $1", "1: people.ssn"),
        ("SELECT id FROM v_people WHERE ssn = $1", "1: v_people.ssn"),
        ("SELECT o.id FROM people p JOIN orders o ON o.person_id = p.id AND p.ssn = $1", "1: people.ssn"),
        ("SELECT id FROM orders WHERE person_id IN (SELECT id FROM people WHERE ssn = $1)", "1: people.ssn"),
        ("WITH p AS (SELECT id FROM people WHERE ssn = $1) SELECT id FROM p", "1: people.ssn"),
        ("SELECT name, count(*) FROM people WHERE ssn = $1 GROUP BY name", "1: people.ssn"),
        ("UPDATE people SET active = 'f' WHERE ssn = $1", "1: people.ssn"),
        ("DELETE FROM people WHERE ssn = $1", "1: people.ssn"),
        ("SELECT id FROM people WHERE ssn = $1 AND id = $2", "1: people.ssn, 2: people.id"),
        ("SELECT id FROM people WHERE NOT ssn = $1", "1: people.ssn"),
    ]);
}

#[test]
fn any_other_use_anywhere_makes_it_none() {
    let used = "SELECT id FROM people WHERE ssn = $1";
    check(&[
        ("SELECT $1 FROM people WHERE ssn = $1", "-"),
        ("SELECT id, $1::text FROM people WHERE ssn = $1", "-"),
        ("SELECT upper($1) FROM people WHERE ssn = $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 AND name > $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 AND name <> $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 AND name LIKE $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 AND pure($1) = 'X'", "-"),
        ("SELECT id FROM people WHERE ssn = $1 ORDER BY $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 LIMIT $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 GROUP BY id HAVING max(name) = $1", "-"),
        ("SELECT id, (SELECT $1) FROM people WHERE ssn = $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 UNION SELECT $1", "-"),
        ("SELECT ssn = $1 FROM people", "-"),
        ("SELECT CASE WHEN ssn = $1 THEN 1 END FROM people", "-"),
        ("SELECT id FROM people WHERE ssn = $1::text", "-"),
        ("SELECT id FROM people WHERE ssn = $1::name", "-"),
        ("SELECT id FROM people WHERE ssn::name = $1", "-"),
        ("SELECT id FROM people WHERE ssn COLLATE \"C\" = $1", "-"),
        ("SELECT id FROM people WHERE ssn = $1 COLLATE \"C\"", "-"),
        ("SELECT id FROM people WHERE lower(ssn) = $1", "-"),
        ("SELECT id FROM people WHERE ssn = ANY ($1)", "-"),
        ("SELECT id FROM people WHERE ssn IS NOT DISTINCT FROM $1", "-"),
        ("SELECT id FROM people WHERE ssn OPERATOR(public.=) $1", "-"),
        ("SELECT id FROM people WHERE (ssn, name) = ($1, $2)", "-"),
        ("SELECT id FROM people WHERE ssn IN ($1, 'x')", "-"),
        ("SELECT id FROM people WHERE ssn NOT IN ($1)", "-"),
        ("SELECT id FROM people WHERE ssn_of($1::int) = 'x'", "-"),
        ("SELECT id FROM (SELECT id, ssn COLLATE \"C\" AS s FROM people) q WHERE s = $1", "-"),
        ("SELECT id FROM (SELECT id, ssn AS s FROM people) q WHERE s = $1", "-"),
        ("WITH q AS (SELECT upper(ssn) AS s FROM people) SELECT s FROM q WHERE s = $1", "-"),
        ("SELECT p.id FROM people p JOIN people q USING (ssn) WHERE ssn = $1", "-"),
        ("SELECT id FROM nowhere WHERE ssn = $1", "-"),
        ("WITH never AS (SELECT $1) SELECT id FROM people WHERE ssn = $1", "-"),
        ("UPDATE people SET name = $1 WHERE ssn = $1", "-"),
        ("DELETE FROM people WHERE ssn = $1 RETURNING $1", "-"),
    ]);
    // A value in these goes elsewhere, or is shown in a plan.
    for wrapped in [
        format!("EXPLAIN {used}"),
        format!("EXPLAIN ANALYZE {used}"),
        format!("PREPARE p AS {used}"),
        format!("DECLARE c CURSOR FOR {used}"),
        format!("CREATE TABLE t AS {used}"),
        format!("CREATE TEMP TABLE t AS {used}"),
        format!("CREATE VIEW v AS {used}"),
        format!("INSERT INTO letters (n) {used}"),
        format!("COPY ({used}) TO STDOUT"),
        format!("WITH w AS (INSERT INTO letters (n) {used} RETURNING n) SELECT n FROM w"),
        "SELECT id INTO t FROM people WHERE ssn = $1".into(),
        "SELECT id INTO TEMP t FROM people WHERE ssn = $1".into(),
        format!("{used}; {used}"),
    ] {
        assert_eq!(compared(&wrapped), "-", "{wrapped}");
    }
}

#[test]
fn the_parameters_of_a_functions_body_are_others() {
    assert_eq!(compared("SELECT ssn_of(1)"), "-");
    assert_eq!(compared("SELECT ssn_of($1)"), "-");
    // The body of `ssn_of` compares its own $1.
    assert_eq!(compared("SELECT ssn_of(1), name FROM people WHERE name = $1"), "1: people.name");
    let tokens = given("SELECT ssn_of(1), $1::text", &[1]);
    assert_eq!(tokens.found.len(), given("SELECT ssn_of(1), $1::text", &[]).found.len());
}

#[test]
fn comparisons_with_tokens_are_no_conditions_and_all_others_stay() {
    let count = |sql: &str, tokens: &[u16], column: &str| {
        let found = given(sql, tokens).found;
        found
            .iter()
            .filter(|((id, _), _)| column_text(id).ends_with(column))
            .map(|(_, times)| *times)
            .sum::<u32>()
    };
    for (sql, tokens, ssn, name) in [
        ("SELECT id FROM people WHERE ssn = $1 AND name = $2", &[][..], 1, 1),
        ("SELECT id FROM people WHERE ssn = $1 AND name = $2", &[1], 0, 1),
        ("SELECT id FROM people WHERE ssn = $1 AND name = $2", &[1, 2], 0, 0),
        ("SELECT id FROM people WHERE ssn = $1 AND name LIKE 'a%'", &[1], 0, 1),
        ("SELECT id FROM people WHERE ssn IN ($1, $2)", &[1, 2], 0, 0),
        ("SELECT id FROM people WHERE ssn IN ($1, $2)", &[1], 2, 0),
        ("SELECT id FROM people WHERE ssn = $1 OR ssn = 'x'", &[1], 1, 0),
        ("SELECT id FROM people WHERE ssn = $1 AND (id = 1 OR (ssn = $1 AND name = 'a'))", &[1], 1, 1),
        ("SELECT id FROM orders WHERE person_id = (SELECT id FROM people WHERE ssn = $1)", &[1], 0, 0),
        // Named as a token, and not compared as one.
        ("SELECT id FROM people WHERE lower(ssn) = $1", &[1], 1, 0),
        ("SELECT id FROM people WHERE ssn > $1", &[1], 1, 0),
    ] {
        assert_eq!(
            (count(sql, tokens, ".ssn"), count(sql, tokens, ".name")),
            (ssn, name),
            "{sql} {tokens:?}"
        );
    }
}

#[test]
fn only_text_that_is_equal_where_it_is_the_same() {
    let with = |change: &dyn Fn(&mut CatalogueBuilder)| {
        let mut builder = CatalogueBuilder::default();
        let mut people = relation(20_001, "public", "people", "id name ssn", None);
        for (column, type_oid) in people.columns.iter_mut().zip([25, 1_043, 16_999]) {
            column.type_oid = type_oid;
        }
        builder.relation(people, 0);
        change(&mut builder);
        builder.finish()
    };
    let sql = "SELECT FROM people WHERE id = $1 AND name = $2 AND ssn = $3";
    let seen = |catalogue: &Catalogue, path: &SearchPath| text(&in_catalogue(catalogue, path, sql, &[]));
    assert_eq!(seen(&with(&|_| {}), &public()), "1: people.id, 2: people.name");
    assert_eq!(seen(&with(&|builder| builder.equal_loosely((20_001, 1))), &public()), "2: people.name");
    assert_eq!(seen(&with(&|builder| builder.text_equality_of_users()), &public()), "-");
    assert_eq!(seen(&with(&|_| {}), &SearchPath::Unknown("SET by code".into())), "-");
}
