//! Which constants stand beside what.

use super::*;

/// `'x': password; $1: salary`, by places in the text.
fn beside(text: &str) -> String {
    let names = |names: &BTreeSet<BesideName>| {
        let name = |name: &BesideName| match name {
            BesideName::Column(name) => name.to_string(),
            BesideName::AnyColumn => "*".into(),
            BesideName::Place(relation, place) => format!("{relation}[{place}]"),
            BesideName::Word(word) => format!("<{word}>"),
            BesideName::Argument(function, place) => format!("{function}({place})"),
            BesideName::Parameter(number) => format!("${number}"),
        };
        names.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let found = constants(text);
    let literals =
        found.literals.iter().map(|(place, beside)| format!("{}: {}", &text[place.clone()], names(beside)));
    let parameters = found.parameters.iter().map(|(number, beside)| format!("${number}: {}", names(beside)));
    literals.chain(parameters).collect::<Vec<_>>().join("; ")
}

fn check(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(beside(text), *expected, "{text}");
    }
}

#[test]
fn what_is_compared_stands_beside_the_column() {
    check(&[
        ("SELECT 1, 'x' FROM t", ""),
        ("SELECT id FROM t WHERE password = 'x' AND id = 7 LIMIT 5", "'x': password; 7: id"),
        ("SELECT id FROM t WHERE 'x' = t.password OR NOT s.t.salary > -17.5", "'x': password; 17.5: salary"),
        ("SELECT id FROM t WHERE ssn IN ('a', $1, E'b\\'c')", "'a': ssn; E'b\\'c': ssn; $1: ssn"),
        ("SELECT id FROM t WHERE ssn NOT BETWEEN 'a' AND $2", "'a': ssn; $2: ssn"),
        (
            "SELECT id FROM t WHERE ssn LIKE '12%' ESCAPE '!'",
            "'12%': ssn pg_catalog.like_escape(0); '!': ssn pg_catalog.like_escape(1)",
        ),
        ("SELECT id FROM t WHERE ssn ~* $$a$$", "$$a$$: ssn"),
        (
            "SELECT id FROM t WHERE ssn = ANY ('{a}'::text[]) AND ssn <> ALL (ARRAY['b'])",
            "'{a}': ssn <text>; 'b': ssn",
        ),
        ("SELECT id FROM t WHERE ssn IS DISTINCT FROM 'a'", "'a': ssn"),
        ("SELECT id FROM t WHERE (ssn, name) = ('a', 'b')", "'a': name ssn; 'b': name ssn"),
        ("SELECT id FROM t WHERE lower(ssn) = lower('a')", "'a': ssn lower(0)"),
        ("SELECT id FROM t WHERE password = crypt('a', password)", "'a': password crypt(0)"),
        ("SELECT id FROM t WHERE starts_with(ssn, 'a')", "'a': ssn starts_with(1)"),
        ("SELECT id FROM t WHERE ssn = (SELECT 'a' FROM u WHERE v = 'b')", "'a': ssn; 'b': v"),
        ("SELECT id FROM t WHERE 'a' IN (SELECT ssn FROM u WHERE w)", "'a': ssn"),
        ("SELECT id FROM t WHERE ssn IN (VALUES ('a'))", "'a': ssn"),
        (
            "SELECT CASE ssn WHEN 'a' THEN 1 END, coalesce(ssn, 'b'), greatest(salary, 9) FROM t",
            "'a': ssn; 1: ssn; 'b': ssn; 9: salary",
        ),
        ("SELECT ssn::varchar(5), salary * 12, email 'x', ssn || 'x', n[3] FROM t", "'x': <email>"),
        ("SELECT count(*) FILTER (WHERE ssn = 'a') FROM t HAVING max(salary) > 5", "'a': ssn; 5: salary"),
        ("SELECT id FROM t JOIN u ON t.ssn = 'a' ORDER BY ssn = 'b'", "'a': ssn; 'b': ssn"),
        ("SELECT id FROM t WHERE is_ill = TRUE", "TRUE: is_ill"),
        ("SELECT id FROM t WHERE ssn = 'a'\n  'b'", "'a'\n  'b': ssn"),
        ("SELECT id FROM t WHERE born = DATE '2000-01-01'", "'2000-01-01': born <date>"),
        ("SELECT id FROM t WHERE ssn = NULL", ""),
    ]);
}

#[test]
fn what_is_written_stands_beside_the_column() {
    check(&[
        ("UPDATE t SET password = 'x', n = 3 WHERE id = $1", "'x': password; 3: n; $1: id"),
        (
            "UPDATE t SET password = crypt('x', gen_salt('bf'))",
            "'x': password crypt(0); 'bf': password crypt(1) gen_salt(0)",
        ),
        ("UPDATE t SET (a, b) = ('x', 'y')", "'x': a b; 'y': a b"),
        ("UPDATE t SET address.street = 'x'", "'x': address street"),
        ("INSERT INTO t (a, b) VALUES ('x', $1), (DEFAULT, 'y')", "'x': a; 'y': b; $1: b"),
        ("INSERT INTO s.t VALUES ('x', 2)", "'x': s.t[0]; 2: s.t[1]"),
        ("INSERT INTO t (a, b) SELECT 'x', 7 FROM u WHERE c = 'z'", "'x': a; 7: b; 'z': c"),
        ("INSERT INTO t (a) SELECT 'x' UNION ALL SELECT 'y'", "'x': a; 'y': a"),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 'x' WHERE t.c = 'y'",
            "1: t[0]; 'x': b; 'y': c",
        ),
        (
            "MERGE INTO t USING u ON t.id = 1 WHEN MATCHED THEN UPDATE SET a = 'x' WHEN NOT MATCHED THEN INSERT (b) VALUES ('y')",
            "1: id; 'x': a; 'y': b",
        ),
        ("WITH w AS (INSERT INTO t (a) VALUES ('x') RETURNING b = 'y') SELECT 1", "'x': a; 'y': b"),
    ]);
}

#[test]
fn other_names_stand_for_what_they_are_made_of() {
    check(&[
        ("SELECT 1 FROM (SELECT ssn AS s FROM t) q WHERE s = 'a'", "'a': s ssn"),
        ("SELECT 1 FROM t AS p(a, b) WHERE b = 'a'", "'a': b *"),
        ("WITH q(s) AS (SELECT ssn FROM t) SELECT 1 FROM q WHERE s = 'a'", "'a': s *"),
        (
            "SELECT 1 FROM t WHERE data->>'ssn' = 'a' AND data #>> '{x,pin}' = 'b'",
            "'a': data <ssn>; 'b': data <> <pin> <x>",
        ),
        ("SELECT 1 FROM t WHERE (home).street = 'a'", "'a': home street"),
        ("SELECT f('a', p_password => 'b')", "'a': f(0); 'b': <p_password> f(1)"),
        ("EXECUTE p('a', 7)", "'a': $1; 7: $2"),
        ("PREPARE p AS SELECT 1 FROM t WHERE ssn = $1", "$1: ssn"),
        ("ALTER ROLE r PASSWORD 'x'", "'x': <password>"),
        (
            "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'a', password 'b')",
            "'a': <user>; 'b': <password>",
        ),
        ("SET app.password = 'x'", "'x': <password>"),
        ("ALTER TABLE t ADD COLUMN pin text DEFAULT 'x'", "'x': <pin>"),
        ("ALTER TABLE t ALTER COLUMN pin SET DEFAULT 'x'", "'x': pin"),
    ]);
}

#[test]
fn what_does_not_parse_stands_beside_all_of_its_words() {
    check(&[
        ("UPDATE t SET password = 'x' WHER id = $1", "'x': <id> <password> <set> <t> <update> <wher>"),
        ("SELEC 'open", "'open: <selec>"),
    ]);
    let deep = format!("SELECT 1 FROM t WHERE {} a = 'x'", "a = a AND b = c OR".repeat(30_000));
    assert_eq!(constants(&deep).literals.len(), 2, "too long: {:?}", constants(&deep).literals.first());
}
