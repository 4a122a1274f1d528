//! Which keys of documents a statement asks about, wherever its condition stands.

use super::*;

/// The keys of conditions on `sheets.sheet`, in order.
fn asked(sql: &str) -> String {
    let catalogue = catalogue();
    let names = Names {
        catalogue: &catalogue,
        codes: &Codes::default(),
        search_path: &public(),
        temporary: &|_| Temporary::None,
    };
    let (_, found) = flows(sql, &names);
    let keys: BTreeSet<String> = found
        .of_keys
        .iter()
        .filter(|(id, ..)| id.0 == 20_008 && id.1 == 2)
        .map(|(_, key, _)| key.to_string())
        .collect();
    keys.into_iter().collect::<Vec<_>>().join(" ")
}

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(sql, expected)| {
            let found = asked(sql);
            (found != *expected).then(|| format!("{sql}\n    expected {expected}\n    found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_condition_asks_about_keys_wherever_it_stands() {
    check(&[
        ("SELECT id FROM sheets WHERE sheet ->> 'ssn' = 'x'", "ssn"),
        ("SELECT id, sheet ->> 'ssn' = 'x' FROM sheets", "ssn"),
        ("SELECT CASE WHEN sheet ->> 'ssn' = 'x' THEN 1 END FROM sheets", "ssn"),
        ("SELECT count(*) FILTER (WHERE sheet @> '{\"ssn\": 1}') FROM sheets", "ssn"),
        ("SELECT id, sheet @> '{\"ssn\": 1}' FROM sheets", "ssn"),
        ("SELECT (sheet ->> 'year')::int FROM sheets", "year"),
        ("SELECT sheet ->> ('s' || 'sn') = 'x' FROM sheets", "*"),
        ("SELECT id FROM sheets WHERE sheet -> ARRAY['ssn'] = ARRAY['x']", "ssn"),
        ("SELECT jsonb_path_query(sheet, '$.ssn ? (@ == 1)') FROM sheets", "ssn"),
        ("SELECT 1 FROM sheets, jsonb_path_query(sheet, '$.ssn ? (@ == 1)')", "ssn"),
        ("SELECT id FROM sheets ORDER BY sheet ->> 'ssn'", "ssn"),
        // A piece that is only shown is masked by its key; a cast below the key says nothing of what stands under it.
        ("SELECT sheet ->> 'ssn', sheet -> 'ssn', jsonb_path_query(sheet, '$.ssn') FROM sheets", ""),
        ("SELECT sheet::text::json ->> 'ssn' FROM sheets", ""),
    ]);
}

#[test]
fn a_whole_document_is_asked_about_by_what_it_is_compared_with() {
    check(&[
        ("SELECT id FROM sheets WHERE sheet = '{\"ssn\": \"x\", \"b\": 1}'", "b ssn"),
        ("SELECT id FROM sheets WHERE '{\"ssn\": \"x\"}'::jsonb <> sheet", "ssn"),
        ("SELECT id FROM sheets WHERE (id, sheet) = (1, '{\"ssn\": 1}')", "ssn"),
        ("SELECT id FROM sheets WHERE sheet IN ('{}', '{\"ssn\": 1}')", "ssn"),
        ("SELECT id FROM sheets WHERE sheet = ANY ('{\"{\\\"ssn\\\": 1}\"}')", "ssn"),
        ("SELECT id FROM sheets WHERE sheet BETWEEN '{}' AND '{\"ssn\": 1}'", "ssn"),
        ("SELECT id FROM sheets WHERE sheet::text LIKE '{\"ssn\": \"5%'", "ssn"),
        ("SELECT CASE sheet WHEN '{\"ssn\": 1}' THEN 1 END FROM sheets", "ssn"),
        ("SELECT nullif(sheet, '{\"ssn\": 1}') FROM sheets", "ssn"),
        ("SELECT least(sheet, '{\"ssn\": 1}') FROM sheets", "ssn"),
        ("SELECT id FROM sheets WHERE jsonb_eq(sheet, '{\"ssn\": 1}')", "ssn"),
        ("SELECT id FROM sheets WHERE sheet = $1", "*"),
        ("SELECT id FROM sheets WHERE sheet::text = $1", "*"),
        ("SELECT id, sheet = $1 FROM sheets", "*"),
        ("SELECT id FROM sheets WHERE sheet = jsonb_build_object('ssn', 1)", "*"),
        ("SELECT least(sheet, jsonb_build_object('ssn', 1)) FROM sheets", "*"),
        ("SELECT id FROM sheets WHERE sheet IN (SELECT $1::jsonb)", "*"),
        ("SELECT 1 FROM sheets s JOIN (SELECT $1::jsonb AS sheet) g USING (sheet)", "*"),
        ("SELECT sheet FROM sheets UNION SELECT '{\"ssn\": 1}'", "*"),
        ("SELECT sheet FROM (SELECT sheet FROM sheets UNION ALL SELECT '{}') u ORDER BY sheet", "*"),
        ("SELECT DISTINCT * FROM (SELECT sheet FROM sheets UNION ALL SELECT '{}') u", "*"),
        ("SELECT 1 FROM (SELECT sheet FROM sheets UNION ALL SELECT '{}') u GROUP BY sheet", "*"),
    ]);
}

#[test]
fn parts_of_a_document_are_asked_about_by_their_names() {
    check(&[
        ("SELECT 1 FROM sheets, jsonb_each_text(sheet) e WHERE e.value = 'x'", "*"),
        ("SELECT 1 FROM sheets, jsonb_each_text(sheet) e WHERE e.key = 'x'", ""),
        ("SELECT 1 FROM sheets, json_to_recordset(sheet) r(ssn text, b int) WHERE r.ssn = 'x'", "ssn"),
        ("SELECT 1 FROM sheets, json_to_recordset(sheet) r(ssn text, b int) WHERE r.b = 1", "b"),
        ("SELECT 1 FROM sheets, json_table(sheet, '$' COLUMNS (a int PATH '$.ssn')) t WHERE a = 1", "ssn"),
        ("SELECT 1 FROM sheets WHERE json_value(sheet, '$.ssn') = 'x'", "ssn"),
    ]);
}

/// What ordinary applications ask of documents.
#[test]
fn conditions_that_name_no_key_ask_about_none() {
    check(&[
        ("SELECT id FROM sheets WHERE sheet = '{}' OR sheet <> '[]' OR sheet IS NULL", ""),
        ("SELECT id FROM sheets WHERE sheet IS DISTINCT FROM NULL", ""),
        ("SELECT id FROM sheets WHERE sheet = '{\"theme\": \"dark\"}'", "theme"),
        ("SELECT id FROM sheets WHERE sheet ->> 'theme' = $1", "theme"),
        ("SELECT id FROM sheets WHERE sheet::text LIKE $1", ""),
        ("SELECT DISTINCT sheet FROM sheets", ""),
        ("SELECT sheet, count(*) FROM sheets GROUP BY sheet ORDER BY sheet", ""),
        ("SELECT id FROM orders WHERE id = (SELECT max(id) FROM sheets WHERE sheet ->> 'a' = 'x')", "a"),
        ("SELECT coalesce(sheet, '{}'), greatest(id, 5) FROM sheets WHERE id = $1", ""),
        ("SELECT length(sheet::text) > $1 FROM sheets", ""),
    ]);
}
