//! Tables of statements over one small database, with what they must reach.

use super::*;
use crate::engine::model::{
    Cascade, CatalogueBuilder, Column, Rule, SystemFunction, Timestamp, Trigger, Volatility as V,
};
use crate::engine::session::Labels;
use crate::engine::session::catalogue::Rulings;
use crate::engine::sql::{PostgresDialect, SqlDialect};

const PEOPLE: Oid = 20_001;
const ORDERS: Oid = 20_002;
const LOG: Oid = 20_003;
const PARTS: Oid = 20_010;

struct Database(CatalogueBuilder);

impl Database {
    fn relation(
        &mut self,
        oid: Oid,
        name: &str,
        kind: RelationKind,
        parents: &[Oid],
        definition: Option<&str>,
    ) {
        let columns = ["id", "email", "note"];
        let columns = (1..).zip(columns).map(|(attribute, name)| Column {
            attribute,
            name: name.into(),
            type_oid: 25,
            characters_max: 0,
        });
        let relation = Relation {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind,
            columns: columns.collect(),
            parents: parents.into(),
            definition: definition.map(Into::into),
            rows_estimate: Some(500),
        };
        self.0.relation(relation, oid + 50_000);
    }

    fn function(&mut self, oid: Oid, name: &str, volatility: V, body: Body) {
        self.0.function(Function {
            oid,
            schema: "public".into(),
            name: name.into(),
            volatility,
            is_aggregate: false,
            returns_set: false,
            arguments: 1,
            defaults: 0,
            is_variadic: false,
            argument_names: Box::default(),
            return_type: 25,
            settings: Box::default(),
            body,
        });
    }
}

fn database() -> Catalogue {
    use RelationKind as R;
    let mut d = Database(CatalogueBuilder::default());
    for (oid, name) in
        [(PEOPLE, "people"), (ORDERS, "orders"), (LOG, "log"), (20_004, "safe"), (20_005, "guarded")]
    {
        d.relation(oid, name, R::Table, &[], None);
    }
    d.relation(20_006, "child", R::Table, &[PEOPLE], None);
    d.relation(PARTS, "parts", R::Partitioned, &[], None);
    d.relation(20_011, "parts_1", R::Table, &[PARTS], None);
    d.relation(20_020, "v", R::View, &[], Some("SELECT people.id, people.email FROM ONLY public.people"));
    d.relation(20_021, "vv", R::View, &[], Some("SELECT v.id FROM public.v"));
    d.relation(20_022, "vf", R::View, &[], Some("SELECT public.wipe(1) AS wipe"));
    d.relation(20_023, "vr", R::View, &[], Some("SELECT safe.id FROM public.safe"));
    d.relation(20_024, "lost", R::View, &[], None);
    d.relation(20_030, "printed", R::Foreign, &[], None);
    d.relation(20_031, "v_printed", R::View, &[], Some("SELECT printed.id FROM public.printed"));
    d.relation(20_032, "mixed", R::Partitioned, &[], None);
    d.relation(20_033, "mixed_1", R::Foreign, &[20_032], None);
    d.relation(20_025, "copy", R::MaterializedView, &[], Some("SELECT orders.id FROM public.orders"));
    let sql = |text: &str| Body::Sql(text.into());
    let plpgsql = |text: &str| Body::PlPgSql(text.into());
    d.function(30_001, "wipe", V::Volatile, sql("DELETE FROM orders; SELECT 1"));
    d.function(
        30_002,
        "one_gone",
        V::Volatile,
        plpgsql("BEGIN DELETE FROM orders WHERE id = $1; RETURN 1; END"),
    );
    d.function(30_003, "dynamic", V::Stable, plpgsql("BEGIN EXECUTE $1; END"));
    d.function(30_004, "looks_up", V::Stable, sql("SELECT email FROM people WHERE id = $1"));
    d.function(30_005, "logs", V::Volatile, plpgsql("BEGIN INSERT INTO log VALUES (1); RETURN NEW; END"));
    d.function(30_006, "machine", V::Volatile, Body::Opaque("c".into()));
    d.function(30_007, "computes", V::Immutable, Body::Opaque("c".into()));
    d.function(30_008, "gen_salt", V::Volatile, Body::Opaque("c".into()));
    d.function(30_009, "row_wipe", V::Volatile, sql("SELECT wipe(1)"));
    d.function(30_010, "becomes", V::Volatile, sql("SELECT set_config('role', 'postgres', false)"));
    d.function(30_011, "aggregate", V::Immutable, Body::Opaque("internal".into()));
    for (name, volatility) in [("count", V::Immutable), ("upper", V::Immutable), ("set_config", V::Volatile)]
    {
        d.0.system_function(name, SystemFunction { volatility, is_aggregate: false });
    }
    let none = Changing::default();
    let e = &mut d.0.effects;
    e.trigger(
        ORDERS,
        Trigger {
            name: "t".into(),
            function: 30_005,
            on: Changing { update: true, ..none },
            instead: false,
            before: false,
        },
    );
    let key = Cascade {
        table: ORDERS,
        deletes: true,
        updates_on_delete: false,
        updates_on_update: true,
        columns: [1].into(),
    };
    e.cascade(PEOPLE, key);
    let rule = |oid, on, text: &str| Rule { oid, on, instead: true, definition: Some(text.into()) };
    e.rule(
        20_023,
        rule(
            40_001,
            Changing { insert: true, ..none },
            "CREATE RULE r AS ON INSERT TO public.vr DO INSTEAD DELETE FROM public.log",
        ),
    );
    e.runs_program(20_030);
    e.runs_program(20_033);
    e.calls_on_write(20_004, 30_003);
    e.calls_on_read(20_005, 30_002);
    e.calls_in_function(30_011, 30_001);
    e.operator("===", 30_001);
    e.row_function(30_009);
    e.of_extension(30_008, "pgcrypto".into());
    e.unique_key(PEOPLE, &[1]);
    e.unique_key(ORDERS, &[1, 2]);
    Catalogue::new(
        d.0.finish(),
        &Labels::default(),
        &Rulings::default(),
        &PostgresDialect::default(),
        Timestamp::default(),
    )
}

fn reached(sql: &str) -> Reached {
    let statement = PostgresDialect::default().script(sql).statements.remove(0);
    reach(&statement, &database(), &SearchPath::Known(vec!["public".into()]))
}

fn names<T: ToString>(names: &[T]) -> String {
    names.iter().map(|name| name.to_string().replace("public.", "")).collect::<Vec<_>>().join(" ")
}

#[test]
fn reading_goes_through_views_children_and_partitions() {
    for (sql, reads) in [
        ("SELECT * FROM people", "child people"),
        ("SELECT * FROM ONLY people", "people"),
        ("SELECT * FROM v", "people v"),
        ("SELECT * FROM vv", "people v vv"),
        ("SELECT * FROM parts", "parts parts_1"),
        ("SELECT * FROM parts_1", "parts parts_1"),
        ("SELECT * FROM copy", "copy orders"),
        ("EXPLAIN SELECT * FROM v", "people v"),
        ("SELECT looks_up(1)", "child people"),
        ("SELECT * FROM made_since", "made_since"),
    ] {
        let found = reached(sql);
        assert_eq!(names(&found.statement.reads), reads, "{sql}");
        assert_eq!(found.hidden, Vec::<String>::new(), "{sql}");
        assert!(!found.statement.kinds.contains(&Kind::Call), "{sql}");
    }
}

/// As COPY FROM PROGRAM.
#[test]
fn reading_what_a_program_prints_runs_it() {
    for (sql, runs) in [
        ("SELECT * FROM printed", true),
        ("SELECT * FROM v_printed", true),
        ("SELECT * FROM mixed", true),
        ("INSERT INTO orders SELECT id FROM printed", true),
        ("CREATE TABLE t AS SELECT id FROM printed", true),
        ("ANALYZE printed", true),
        ("COPY printed TO STDOUT", true),
        ("SELECT * FROM people", false),
        ("SELECT * FROM ONLY mixed", false),
    ] {
        let found = reached(sql);
        assert_eq!(found.statement.kinds.contains(&Kind::Administration), runs, "{sql}");
    }
}

#[test]
fn writing_goes_through_views_rules_triggers_and_keys() {
    for (sql, writes, kinds) in [
        ("DELETE FROM people WHERE id = 1", "child orders people", "delete"),
        ("DELETE FROM ONLY people WHERE id = 1", "orders people", "delete"),
        ("UPDATE people SET note = '' WHERE id = 1", "child people", "update"),
        ("UPDATE people SET id = 2 WHERE id = 1", "child log orders people", "insert update"),
        ("UPDATE orders SET id = 2 WHERE id = 1", "log orders", "insert update"),
        ("INSERT INTO orders VALUES (1)", "orders", "insert"),
        ("DELETE FROM v WHERE id = 1", "child orders people v", "delete"),
        ("INSERT INTO vr VALUES (1)", "log vr", "insert delete"),
        ("INSERT INTO parts VALUES (1)", "parts parts_1", "insert"),
        ("DELETE FROM parts_1", "parts parts_1", "delete"),
        ("TRUNCATE people", "child orders people", "truncate"),
        ("COPY orders FROM STDIN", "orders", "copy_in"),
    ] {
        let found = reached(sql);
        assert_eq!(names(&found.statement.writes), writes, "{sql}");
        let own = |kind: &&Kind| !matches!(kind, Kind::Select);
        let found: Vec<&str> = found.statement.kinds.iter().filter(own).map(|kind| kind.as_str()).collect();
        assert_eq!(found.join(" "), kinds, "{sql}");
    }
}

#[test]
fn a_call_is_what_the_function_does() {
    for (sql, kind, has_where) in [
        ("SELECT wipe(1)", Kind::Delete, Some(false)),
        ("SELECT one_gone(1)", Kind::Delete, Some(true)),
        ("SELECT * FROM vf", Kind::Delete, Some(false)),
        ("SELECT * FROM guarded", Kind::Delete, Some(true)),
        ("SELECT 1 WHERE 'a' === 'b'", Kind::Delete, Some(false)),
        ("SELECT p.row_wipe FROM people p", Kind::Delete, Some(false)),
        ("SELECT aggregate(1)", Kind::Delete, Some(false)),
        ("SELECT dynamic('x')", Kind::Call, None),
        ("SELECT machine(1)", Kind::Call, None),
        ("SELECT unknown_function(1)", Kind::Call, None),
        ("SELECT pg_temp.f(1)", Kind::Call, None),
        ("SELECT * FROM lost", Kind::Call, None),
        ("INSERT INTO safe VALUES (1)", Kind::Call, None),
        ("SELECT computes(1), gen_salt('bf'), looks_up(1), count(*), upper('a')", Kind::Select, None),
        ("SELECT extract(year FROM now) FROM (SELECT 1 AS now) AS n", Kind::Select, None),
        ("SELECT email FROM people p", Kind::Select, None),
        ("PREPARE q AS SELECT wipe(1)", Kind::Prepare, None),
        ("DELETE FROM log", Kind::Delete, Some(false)),
    ] {
        let found = reached(sql);
        assert_eq!(
            (found.statement.kind, found.statement.has_where),
            (kind, has_where),
            "{sql}: {:?}",
            found.hidden
        );
    }
}

/// Users' functions have their schema; a name without one is the server's own, or nobody knows it.
#[test]
fn functions_have_the_schema_that_they_are_found_in() {
    for (sql, functions, certain) in [
        ("SELECT wipe(1)", &["public.wipe"] as &[&str], true),
        ("SELECT id FROM vf", &["public.wipe"], true),
        ("SELECT nobody_made_this(1)", &["nobody_made_this"], false),
        ("SELECT set_config('a', 'b', false)", &["set_config"], true),
    ] {
        let found = reached(sql);
        let names: Vec<String> = found.statement.functions.iter().map(ToString::to_string).collect();
        assert_eq!(
            (names.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), found.functions_certain),
            (functions, certain),
            "{sql}"
        );
    }
}

#[test]
fn a_setting_that_a_function_changes_is_the_statements() {
    let found = reached("SELECT becomes(1)");
    assert_eq!(found.statement.setting, Some(("role".into(), Some("postgres".into()))));
    assert!(found.statement.functions.iter().any(|f| f.name == "set_config"));
    assert!(found.statement.kinds.contains(&Kind::Session));
}

#[test]
fn how_it_was_reached_is_told() {
    let found = reached("SELECT * FROM vv");
    assert!(found.via.contains(&"public.people through view public.v".to_owned()), "{:?}", found.via);
    assert!(reached("SELECT dynamic('')").hidden[0].contains("EXECUTE"));
}

#[test]
fn without_a_known_path_every_meaning_counts() {
    let mut d = Database(CatalogueBuilder::default());
    d.relation(1_000_000, "t", RelationKind::Table, &[], None);
    let mut other = d.0;
    let relation = Relation {
        oid: 1_000_001,
        schema: "evil".into(),
        name: "t".into(),
        kind: RelationKind::Table,
        columns: Box::default(),
        parents: Box::default(),
        definition: None,
        rows_estimate: None,
    };
    other.relation(relation, 0);
    let catalogue = Catalogue::new(
        other.finish(),
        &Labels::default(),
        &Rulings::default(),
        &PostgresDialect::default(),
        Timestamp::default(),
    );
    let statement = PostgresDialect::default().script("SELECT * FROM t").statements.remove(0);
    let found = reach(&statement, &catalogue, &SearchPath::Unknown("?".into()));
    assert_eq!(found.statement.reads.len(), 2);
}

#[test]
fn breadth_is_all_rows_or_what_a_key_pins() {
    for (sql, rows) in [
        ("DELETE FROM log", Some(500)),
        ("DELETE FROM people", Some(1000)),
        ("DELETE FROM ONLY people", Some(500)),
        ("DELETE FROM ONLY people WHERE id = 7", Some(1)),
        ("DELETE FROM ONLY people WHERE id IN (1, 2, 3) AND note = 'x'", Some(3)),
        ("UPDATE orders SET note = '' WHERE id = $1", Some(500)),
        ("UPDATE orders SET note = '' WHERE id = $1 AND email = 'a'", Some(1)),
        ("UPDATE orders SET note = '' WHERE id = $1 OR email = 'a'", Some(500)),
        ("DELETE FROM v WHERE id = 1", Some(1000)),
        ("DELETE FROM parts", Some(500)),
        ("DELETE FROM made_since", None),
        ("SELECT 1", None),
        (
            "WITH a AS (DELETE FROM log RETURNING 1), b AS (DELETE FROM orders RETURNING 1) SELECT 1",
            Some(1000),
        ),
    ] {
        assert_eq!(reached(sql).rows_max, rows, "{sql}");
    }
}

/// What one mention of a relation leaves out, another may mean.
#[test]
fn a_narrow_mention_does_not_hide_a_wide_one() {
    for (sql, writes) in [
        (
            "WITH a AS (DELETE FROM people WHERE id = 7 RETURNING 1) DELETE FROM ONLY people WHERE id = 8",
            "child orders people",
        ),
        (
            "WITH a AS (DELETE FROM ONLY people WHERE id = 7 RETURNING 1) DELETE FROM people WHERE id = 8",
            "child orders people",
        ),
        (
            "WITH a AS (UPDATE people SET id = 9 WHERE id = 7 RETURNING 1) UPDATE people SET note = '' WHERE id = 8",
            "child log orders people",
        ),
        (
            "WITH a AS (UPDATE people SET note = '' WHERE id = 7 RETURNING 1) UPDATE people SET id = 9 WHERE id = 8",
            "child log orders people",
        ),
    ] {
        assert_eq!(names(&reached(sql).statement.writes), writes, "{sql}");
    }
    let reads = reached("SELECT * FROM ONLY people, looks_up(1)").statement.reads;
    assert_eq!(names(&reads), "child people");
}
