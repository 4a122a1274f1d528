//! Tables of SQL with the sources that must come out, over one small database.
//!
//! How a column is written in them: `=` in front of an exact one, sources, `~` and the columns that only choose, `?` and
//! the doubt. `-` has no source at all.

mod beside;
mod bounds;
mod conditions;
mod doubt;
mod flows;
mod hidden;
mod keys;
mod names;
mod parameters;
mod rows;
mod settings;

use super::*;
use crate::engine::model::{
    Body, CatalogueBuilder, Column, ColumnId, Flow, Function, Relation, RelationKind, SystemFunction,
    Volatility,
};

/// people, cards, orders; a partitioned log; views; functions of users.
fn catalogue() -> Catalogue {
    let mut builder = CatalogueBuilder::default();
    let tables: [(Oid, &str, &str, &str); 10] = [
        (20_001, "public", "people", "id name ssn email salary active"),
        (20_002, "public", "cards", "id person_id number"),
        (20_003, "public", "orders", "id person_id item total"),
        (20_004, "public", "letters", "ch n"),
        (20_005, "app", "notes", "id body"),
        (20_006, "other", "notes", "id body"),
        (2_619, "pg_catalog", "pg_stats", "schemaname tablename most_common_vals"),
        (20_007, "public", "documents", "id doc tags"),
        (20_008, "public", "sheets", "id sheet"),
        (12_100, "pg_catalog", "pg_settings", "name setting unit vartype boot_val reset_val"),
    ];
    for (oid, schema, name, columns) in tables {
        builder.relation(relation(oid, schema, name, columns, None), oid + 1_000);
    }
    let views: [(Oid, &str, &str, &str); 3] = [
        (20_101, "v_people", "id ssn", "SELECT people.id, people.ssn FROM public.people;"),
        (20_102, "v_upper", "id up", "SELECT v.id, upper(v.ssn) AS up FROM public.v_people v;"),
        (
            20_103,
            "v_names",
            "name n",
            "SELECT people.name, count(*) AS n FROM public.people GROUP BY people.name;",
        ),
    ];
    for (oid, name, columns, definition) in views {
        builder.relation(relation(oid, "public", name, columns, Some(definition)), oid + 1_000);
    }
    for name in IMMUTABLE.split(' ') {
        system(&mut builder, name, Volatility::Immutable, false);
    }
    for name in STABLE.split(' ') {
        system(&mut builder, name, Volatility::Stable, false);
    }
    for name in [
        "random",
        "query_to_xml",
        "lo_get",
        "set_config",
        "nextval",
        "gen_random_uuid",
        "setval",
        "setseed",
        "pg_advisory_lock",
    ] {
        system(&mut builder, name, Volatility::Volatile, false);
    }
    for name in AGGREGATES.split(' ') {
        system(&mut builder, name, Volatility::Immutable, true);
    }
    let sql = |text: &str| Body::Sql(text.into());
    let code = |text: &str| Body::PlPgSql(text.into());
    let keep = "INSERT INTO letters (ch) VALUES (what)";
    let changes = Volatility::Volatile;
    let functions: [(&str, Body, Volatility, &str, Oid, bool); 19] = [
        ("ssn_of", sql("SELECT ssn FROM public.people WHERE id = $1"), Volatility::Stable, "", 25, false),
        ("named", sql("SELECT name FROM public.people WHERE id = who"), Volatility::Stable, "who", 25, false),
        ("pure", sql("SELECT upper($1) || '!'"), Volatility::Immutable, "", 25, false),
        ("everyone", sql("SELECT * FROM public.people"), Volatility::Stable, "", 21_001, true),
        ("atomic", sql("SELECT people.ssn FROM public.people;\n"), Volatility::Stable, "", 25, false),
        ("given", sql("SELECT (who || 'x'::text)"), Volatility::Stable, "who", 25, false),
        ("looped", sql("SELECT looped($1)"), Volatility::Stable, "", 25, false),
        ("twice", sql("SELECT 1; SELECT email FROM public.people"), Volatility::Stable, "", 25, false),
        ("plpg", Body::PlPgSql("BEGIN RETURN 1; END".into()), Volatility::Stable, "", 25, false),
        ("fast", Body::Opaque("c".into()), Volatility::Immutable, "", 25, false),
        ("slow", Body::Opaque("c".into()), Volatility::Volatile, "", 25, false),
        // What they are given, or read, stays behind.
        ("keep", sql(&format!("{keep}; SELECT 1")), changes, "what", 23, false),
        ("keep_it", code(&format!("BEGIN {keep}; RETURN 1; END")), changes, "what", 23, false),
        ("calls_keep", sql("SELECT sum(keep(email)) FROM people"), changes, "", 23, false),
        ("archive", code("BEGIN INSERT INTO people SELECT * FROM people; END"), changes, "", 23, false),
        ("look", sql("SELECT length(what)"), changes, "what", 23, false),
        ("look_up", code("DECLARE v text; BEGIN SELECT ssn INTO v FROM people; END"), changes, "", 23, false),
        ("python", Body::Opaque("plpython3u".into()), changes, "", 23, false),
        ("seeds", sql("SELECT setseed(what::float8)"), changes, "what", 23, false),
    ];
    for (at, (name, body, volatility, arguments, return_type, returns_set)) in
        functions.into_iter().enumerate()
    {
        builder.function(Function {
            oid: 30_000 + at as Oid,
            schema: "public".into(),
            name: name.into(),
            volatility,
            is_aggregate: false,
            returns_set,
            arguments: 1,
            defaults: 0,
            is_variadic: false,
            argument_names: arguments.split_whitespace().map(Into::into).collect(),
            return_type,
            settings: Box::default(),
            body,
        });
    }
    builder.user_operator("<%>", 30_008);
    builder.user_operator("+", 30_009);
    builder.user_operator("|||", 30_011);
    builder.finish()
}

const IMMUTABLE: &str = "upper lower reverse substr substring length md5 encode repeat position left right btrim abs \
     round ascii chr unnest json_array_elements json_array_elements_text jsonb_each json_each_text string_to_array \
     regexp_split_to_table generate_series jsonb_path_query array_append lag lead first_value row_number rank overlay \
     replace";
const STABLE: &str = "now to_char format concat row_to_json to_json to_jsonb json_build_object array_to_string \
     array_to_json current_setting pg_get_expr json_agg timezone date_trunc pg_stat_get_activity json_to_recordset extract";
const AGGREGATES: &str = "count max min sum avg array_agg string_agg bool_and percentile_disc mode";

const JSONB: Oid = 3_802;

fn relation(oid: Oid, schema: &str, name: &str, columns: &str, definition: Option<&str>) -> Relation {
    Relation {
        oid,
        schema: schema.into(),
        name: name.into(),
        kind: if definition.is_some() { RelationKind::View } else { RelationKind::Table },
        columns: columns
            .split(' ')
            .enumerate()
            .map(|(at, name)| Column {
                attribute: at as i16 + 1,
                name: name.into(),
                type_oid: if name == "sheet" { JSONB } else { 25 },
                characters_max: 0,
            })
            .collect(),
        parents: Box::default(),
        definition: definition.map(Into::into),
        rows_estimate: None,
    }
}

fn system(builder: &mut CatalogueBuilder, name: &str, volatility: Volatility, is_aggregate: bool) {
    builder.system_function(name, SystemFunction { volatility, is_aggregate });
}

fn public() -> SearchPath {
    SearchPath::Known(vec!["public".into()])
}

fn of(sql: &str) -> Lineage {
    of_with(sql, &public(), &|_| Temporary::None)
}

fn of_with(sql: &str, path: &SearchPath, temporary: &dyn Fn(&str) -> Temporary) -> Lineage {
    thread_local!(static CATALOGUE: Catalogue = catalogue());
    CATALOGUE.with(|catalogue| {
        lineage(sql, &Names { catalogue, codes: &Codes::default(), search_path: path, temporary })
    })
}

/// `people.ssn`, as the tables write it.
fn column_text(id: &ColumnId) -> String {
    thread_local!(static CATALOGUE: Catalogue = catalogue());
    CATALOGUE.with(|catalogue| match catalogue.relation(id.0) {
        Some(relation) => {
            let schema = match &*relation.schema {
                "public" => String::new(),
                other => format!("{other}."),
            };
            let column = relation.attribute(id.1).map_or("?", |column| &column.name);
            format!("{schema}{}.{column}", relation.name)
        }
        None => format!("{id:?}"),
    })
}

fn flow_text(flow: &Flow) -> String {
    let list = |set: &std::collections::BTreeSet<ColumnId>| {
        set.iter().map(column_text).collect::<Vec<_>>().join("+")
    };
    let mut text = String::new();
    if flow.exact && !flow.sources.is_empty() {
        text.push('=');
    }
    text.push_str(if flow.sources.is_empty() { "-" } else { "" });
    text.push_str(&list(&flow.sources));
    let implicit: std::collections::BTreeSet<ColumnId> =
        flow.implicit.difference(&flow.sources).copied().collect();
    if !implicit.is_empty() {
        text.push('~');
        text.push_str(&list(&implicit));
    }
    if let Some(doubt) = flow.unknown {
        text.push('?');
        text.push_str(doubt.as_str());
    }
    text
}

fn text(lineage: &Lineage) -> String {
    match lineage {
        Lineage::NoRows => "no rows".into(),
        Lineage::Unknown(doubt) => format!("?{}", doubt.as_str()),
        Lineage::Columns(flows) => flows.iter().map(flow_text).collect::<Vec<_>>().join(" | "),
    }
}

/// Every line of a table holds; all that do not are shown together.
fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(sql, expected)| {
            let found = text(&of(sql));
            (found != *expected).then(|| format!("{sql}\n    expected {expected}\n    found    {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
