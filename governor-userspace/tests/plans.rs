//! Lineage against a witness: the columns that PostgreSQL's own plan puts into each result column.
//!
//! `EXPLAIN (VERBOSE)` writes expressions over `alias.column`, with views and sub-selects already flattened where the planner
//! does that. Whatever it names, lineage must have named too; and where the plan is one level deep lineage names no more.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor::engine::model::{
    Catalogue, CatalogueBuilder, Column, Lineage, Relation, RelationKind, SearchPath, SystemFunction,
    Temporary, Volatility,
};
use governor::engine::sql::{Codes, Names, ViewFlows, lineage};
use governor_tests::postgres::{Auth, Postgres};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

const TABLES: &str = "CREATE TABLE p (id int PRIMARY KEY, name text, ssn text, pay int);\n\
     CREATE TABLE c (id int PRIMARY KEY, pid int, num text);\n\
     CREATE VIEW v AS SELECT id, lower(ssn) AS s FROM p;\n\
     CREATE VIEW w AS SELECT v.s || c.num AS x, c.id FROM v JOIN c ON c.pid = v.id;\n\
     INSERT INTO p SELECT g, 'n' || g, 's' || g, g FROM generate_series(1, 50) g;\n\
     INSERT INTO c SELECT g, g, 'c' || g FROM generate_series(1, 50) g; ANALYZE;";

/// A query, and whether its plan names base columns only: then both sets are the same.
const QUERIES: [(&str, bool); 34] = [
    ("SELECT id, ssn AS x FROM p", true),
    ("SELECT upper(ssn) || name, pay + 1, 5 FROM p", true),
    ("SELECT coalesce(ssn, name), greatest(name, 'x'), ssn::varchar(5) FROM p", true),
    ("SELECT p.*, c.num FROM p JOIN c ON c.pid = p.id", true),
    ("SELECT id, name, num FROM p JOIN c USING (id)", false),
    ("SELECT CASE WHEN pay > 3 THEN ssn ELSE name END FROM p", true),
    ("SELECT ssn LIKE 'a%', pay BETWEEN 1 AND 3, NOT (pay = 3) FROM p", true),
    ("SELECT nullif(name, ssn), ARRAY[ssn, name], ROW(id, ssn) FROM p", true),
    ("SELECT s FROM v", true),
    ("SELECT x, id FROM w", true),
    ("SELECT upper(x) FROM (SELECT x || '!' AS x FROM w) q", true),
    ("SELECT s FROM (SELECT id, substr(ssn, 2) AS s FROM p) q WHERE id > 3", true),
    ("SELECT l.y FROM p, LATERAL (SELECT p.ssn || c.num AS y FROM c) l", true),
    ("SELECT max(ssn), count(*), sum(pay) FROM p", true),
    ("SELECT name, string_agg(ssn, ',') FROM p GROUP BY name", true),
    ("SELECT array_agg(p.ssn || c.num) FROM p, c", true),
    ("SELECT lag(ssn) OVER (), first_value(name) OVER () FROM p", true),
    ("SELECT (SELECT ssn FROM p WHERE id = 3), num FROM c", false),
    ("SELECT ARRAY(SELECT ssn FROM p), id FROM c", false),
    ("SELECT (SELECT max(p.ssn) FROM p WHERE p.id = c.pid) FROM c", false),
    ("WITH a AS (SELECT ssn AS x FROM p) SELECT upper(x) FROM a", true),
    ("WITH a AS MATERIALIZED (SELECT ssn AS x FROM p) SELECT upper(x) FROM a", false),
    (
        "WITH a AS MATERIALIZED (SELECT id, name FROM p) SELECT a.name || c.num FROM a JOIN c USING (id)",
        false,
    ),
    ("SELECT DISTINCT ssn FROM p", true),
    ("SELECT ssn, name FROM p ORDER BY pay LIMIT 3", true),
    ("SELECT u FROM p, unnest(ARRAY[p.ssn, p.name]) u", false),
    ("SELECT name FROM p UNION ALL SELECT num FROM c", false),
    ("SELECT ssn, 1 FROM p EXCEPT SELECT num, id FROM c", false),
    ("SELECT json_build_object('a', ssn, 'b', pay), row_to_json(ROW(name)) FROM p", true),
    ("SELECT to_json(p.ssn), concat(p.name, c.num) FROM p FULL JOIN c ON c.id = p.id", true),
    ("DELETE FROM p WHERE id = 1 RETURNING ssn, upper(name)", true),
    ("UPDATE p SET name = c.num FROM c WHERE c.pid = p.id RETURNING p.ssn, c.num", true),
    ("INSERT INTO c (id, pid, num) SELECT id + 100, pay, ssn FROM p RETURNING pid", true),
    ("SELECT (p).ssn, (p).pay + 1 FROM p", true),
];

#[test]
fn the_servers_own_plans_name_no_other_columns() {
    let server = Postgres::start(Auth::Trust).unwrap();
    server.admin("shop", TABLES).unwrap();
    let catalogue = catalogue(&server);
    let codes = Codes::default();
    let views = ViewFlows::of(&catalogue, &codes);
    let path = SearchPath::Known(vec!["public".into()]);
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (sql, is_flat) in QUERIES {
        let names = Names {
            catalogue: &catalogue,
            codes: &codes,
            search_path: &path,
            temporary: &|_| Temporary::None,
        };
        let Lineage::Columns(flows) = lineage(sql, &names) else { panic!("{sql}") };
        let plan = server.admin("shop", &format!("EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {sql}")).unwrap();
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let plan = &plan[0]["Plan"];
        let outputs = outputs(plan);
        let aliases = aliases(plan);
        for (at, flow) in flows.iter().enumerate() {
            assert_eq!(flow.unknown, None, "{sql}");
            let flow = views.expand(flow);
            let ours: BTreeSet<String> =
                flow.sources.iter().chain(&flow.implicit).map(|id| named(&catalogue, *id)).collect();
            // Columns that only the plan needs (a row's place, a sort key) come last.
            let Some(output) = outputs.get(at) else { panic!("{sql}: {outputs:?}") };
            let theirs = columns(output, &aliases, &catalogue);
            compared += theirs.len();
            let missing = !theirs.is_subset(&ours);
            let more = is_flat
                && theirs != ours
                && !sql.starts_with(['U', 'I'])
                && !sql.contains(" JOIN ")
                && !sql.contains("LATERAL")
                && !sql.contains(" w");
            if missing || more {
                wrong.push(format!("{sql} [{at}]\n    plan {output} {theirs:?}\n    ours {ours:?}"));
            }
        }
    }
    println!("{} queries, {compared} columns named by plans", QUERIES.len());
    assert!(compared > QUERIES.len(), "plans name hardly anything");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn named(catalogue: &Catalogue, (oid, attribute): (u32, i16)) -> String {
    let relation = catalogue.relation(oid).unwrap();
    format!("{}.{}", relation.name, relation.attribute(attribute).unwrap().name)
}

/// The expressions of each result column: of a node, or together those of the arms below one that has none.
fn outputs(plan: &Value) -> Vec<String> {
    if let Some(output) = plan["Output"].as_array() {
        return output.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    let mut all: Vec<String> = Vec::new();
    for arm in plan["Plans"].as_array().into_iter().flatten() {
        let arm = outputs(arm);
        all.resize(all.len().max(arm.len()), String::new());
        for (all, one) in all.iter_mut().zip(arm) {
            all.push(' ');
            all.push_str(&one);
        }
    }
    all
}

/// Alias → relation, of every scan in a plan.
fn aliases(plan: &Value) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut work = vec![plan];
    while let Some(node) = work.pop() {
        if let (Some(alias), Some(relation)) = (node["Alias"].as_str(), node["Relation Name"].as_str()) {
            found.insert(alias.to_owned(), relation.to_owned());
        }
        work.extend(node["Plans"].as_array().into_iter().flatten());
    }
    found
}

/// The columns of tables that an expression of a plan names. Where only one table is read, without its alias.
fn columns(expression: &str, aliases: &HashMap<String, String>, catalogue: &Catalogue) -> BTreeSet<String> {
    let texts = expression.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = texts.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).collect();
    let mut found = BTreeSet::new();
    for word in words {
        if let Some((alias, column)) = word.split_once('.') {
            found.extend(aliases.get(alias).map(|relation| format!("{relation}.{column}")));
        } else if let Some(relation) = aliases.values().next().filter(|_| aliases.len() == 1)
            && catalogue.relations().any(|r| *r.name == **relation && r.column(word).is_some())
        {
            found.insert(format!("{relation}.{word}"));
        }
    }
    found
}

/// As much of the catalogue as the queries need.
fn catalogue(server: &Postgres) -> Catalogue {
    let ask = |sql: &str| server.admin("shop", sql).unwrap();
    let mut builder = CatalogueBuilder::default();
    let relations = ask(
        "SELECT c.oid, c.relname, c.relkind, replace(coalesce(pg_get_viewdef(c.oid), ''), E'\\n', ' ') FROM pg_class c \
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v')",
    );
    for line in relations.lines() {
        let fields: Vec<&str> = line.splitn(4, '|').collect();
        let columns = ask(&format!(
            "SELECT attnum, attname, atttypid FROM pg_attribute WHERE attrelid = {} AND attnum > 0",
            fields[0]
        ));
        let column = |line: &str| {
            let parts: Vec<&str> = line.split('|').collect();
            Column {
                attribute: parts[0].parse().unwrap(),
                name: parts[1].into(),
                type_oid: parts[2].parse().unwrap(),
                characters_max: 0,
            }
        };
        let relation = Relation {
            oid: fields[0].parse().unwrap(),
            schema: "public".into(),
            name: fields[1].into(),
            kind: if fields[2] == "v" { RelationKind::View } else { RelationKind::Table },
            columns: columns.lines().map(column).collect(),
            parents: Box::default(),
            definition: (fields[2] == "v").then(|| fields[3].into()),
            rows_estimate: None,
        };
        builder.relation(relation, 0);
    }
    let functions = ask(
        "SELECT proname, max(CASE provolatile WHEN 'i' THEN 0 WHEN 's' THEN 1 ELSE 2 END), bool_or(prokind = 'a') \
         FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY 1",
    );
    for line in functions.lines() {
        let parts: Vec<&str> = line.split('|').collect();
        let volatility = match parts[1] {
            "0" => Volatility::Immutable,
            "1" => Volatility::Stable,
            _ => Volatility::Volatile,
        };
        builder.system_function(parts[0], SystemFunction { volatility, is_aggregate: parts[2] == "t" });
    }
    builder.finish()
}
