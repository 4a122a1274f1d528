//! What a database puts into the rows that a command returns.

use super::*;
use crate::engine::model::{Changing, Rule, Trigger};

/// The flows of `sql`, where `people` has a trigger with this body.
fn with_trigger(body: &str, sql: &str) -> String {
    let before =
        Trigger { name: "t".into(), function: 40_000, on: Changing::ANY, instead: false, before: true };
    with(&[function(40_000, Body::PlPgSql(body.into()))], sql, |builder| {
        builder.effects.trigger(20_001, before);
    })
}

/// What an UPDATE of `people` makes a trigger with this body keep: the column that it goes into, and the one it is from.
fn kept_by_trigger(body: &str, before: bool) -> String {
    let on = Changing { update: true, ..Changing::default() };
    let trigger = Trigger { name: "t".into(), function: 40_000, on, instead: false, before };
    let body = function(40_000, Body::PlPgSql(body.into()));
    kept_where(&[body], "UPDATE people SET id = 1", |builder| builder.effects.trigger(20_001, trigger))
}

/// What a statement makes the database keep, and in which column.
fn kept_where(functions: &[Function], sql: &str, add: impl FnOnce(&mut CatalogueBuilder)) -> String {
    let catalogue = catalogue_with(functions, add);
    let path = public();
    let names = Names {
        catalogue: &catalogue,
        codes: &Codes::default(),
        search_path: &path,
        temporary: &|_| Temporary::None,
    };
    let name = |id: &ColumnId| {
        let relation = catalogue.relation(id.0).unwrap();
        format!("{}.{}", relation.name, relation.attribute(id.1).unwrap().name)
    };
    let conditions = flows(sql, &names).1;
    let one = |(to, from): &(Option<ColumnId>, ColumnId)| {
        format!("{}<{}", to.as_ref().map_or("?".into(), name), name(from))
    };
    conditions.copies.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn catalogue_with(functions: &[Function], add: impl FnOnce(&mut CatalogueBuilder)) -> Catalogue {
    let mut builder = CatalogueBuilder::default();
    builder.relation(relation(20_001, "public", "people", "id name ssn", None), 21_001);
    builder.relation(relation(20_002, "public", "cards", "id number", None), 21_002);
    let mut history = relation(20_003, "public", "history", "id doc", None);
    history.columns[1].type_oid = 3_802;
    builder.relation(history, 21_003);
    for name in ["upper", "to_jsonb"] {
        system(&mut builder, name, Volatility::Immutable, false);
    }
    system(&mut builder, "now", Volatility::Stable, false);
    functions.iter().for_each(|function| builder.function(function.clone()));
    add(&mut builder);
    builder.finish()
}

fn with(functions: &[Function], sql: &str, add: impl FnOnce(&mut CatalogueBuilder)) -> String {
    let catalogue = catalogue_with(functions, add);
    let path = public();
    let names = Names {
        catalogue: &catalogue,
        codes: &Codes::default(),
        search_path: &path,
        temporary: &|_| Temporary::None,
    };
    let ids = |set: &std::collections::BTreeSet<ColumnId>| {
        let name = |id: &ColumnId| {
            let relation = catalogue.relation(id.0).unwrap();
            format!("{}.{}", relation.name, relation.attribute(id.1).unwrap().name)
        };
        set.iter().map(name).collect::<Vec<_>>().join("+")
    };
    match lineage(sql, &names) {
        Lineage::Columns(flows) => {
            let text = |flow: &Flow| {
                let doubt = flow.unknown.map_or("", Doubt::as_str);
                format!("{}{}{doubt}", ids(&flow.sources), if doubt.is_empty() { "" } else { "?" })
            };
            flows.iter().map(text).collect::<Vec<_>>().join(" | ")
        }
        other => text(&other),
    }
}

fn function(oid: Oid, body: Body) -> Function {
    Function {
        oid,
        schema: "public".into(),
        name: format!("f{oid}").into(),
        volatility: Volatility::Volatile,
        is_aggregate: false,
        returns_set: false,
        arguments: 0,
        defaults: 0,
        is_variadic: false,
        argument_names: Box::default(),
        return_type: 25,
        settings: Box::default(),
        body,
    }
}

const UPDATE: &str = "UPDATE people SET id = 1 RETURNING id, name";

#[test]
fn what_triggers_put_into_a_row_is_in_what_it_returns() {
    for (body, expected) in [
        ("BEGIN RETURN NEW; END", "people.id | people.name"),
        ("BEGIN NEW.name := upper(NEW.name); RETURN NEW; END", "people.id | people.name"),
        ("BEGIN NEW.name := NEW.ssn; RETURN NEW; END", "people.id | people.name+people.ssn"),
        (
            "DECLARE x text; BEGIN x := NEW.ssn; NEW.\"name\" := x; RETURN NEW; END",
            "people.id | people.name+people.ssn",
        ),
        (
            "BEGIN NEW.name := (SELECT number FROM cards); RETURN NEW; END",
            "people.id | people.name+cards.number",
        ),
        (
            "BEGIN SELECT number INTO NEW.name FROM cards; RETURN NEW; END",
            "people.id | people.name+cards.number",
        ),
        (
            "BEGIN NEW.name := to_jsonb(NEW)::text; RETURN NEW; END",
            "people.id | people.id+people.name+people.ssn",
        ),
        (
            "DECLARE r record; BEGIN SELECT 1, number INTO r FROM cards; RETURN r; END",
            "people.id+people.name+people.ssn+cards.number | people.id+people.name+people.ssn+cards.number",
        ),
        ("BEGIN EXECUTE 'x' INTO NEW.name; RETURN NEW; END", "people.id?function | people.name?function"),
        ("BEGIN NEW.name := strange(); RETURN NEW; END", "people.id | people.name?function"),
    ] {
        assert_eq!(with_trigger(body, UPDATE), expected, "{body}");
    }
}

const WHOLE: &str = "?<people.name ?<people.ssn cards.id<people.id";

/// A later statement finds what a trigger wrote elsewhere, or put into the row.
#[test]
fn what_a_trigger_keeps_is_a_copy() {
    for (body, before, expected) in [
        ("BEGIN INSERT INTO cards VALUES (1, NEW.ssn); RETURN NEW; END", false, "?<people.ssn"),
        ("BEGIN INSERT INTO cards VALUES (1, NEW.ssn); RETURN NEW; END", true, "?<people.ssn"),
        ("DECLARE v text; BEGIN v := NEW.ssn; INSERT INTO cards VALUES (1, v); END", false, "?<people.ssn"),
        ("BEGIN UPDATE people SET ssn = NEW.ssn WHERE false; END", false, ""),
        ("BEGIN NEW.name := (SELECT number FROM cards); RETURN NEW; END", true, "?<cards.number"),
        ("BEGIN NEW.name := upper(NEW.ssn); RETURN NEW; END", true, ""),
        ("BEGIN IF NEW.ssn IS NULL THEN RETURN NULL; END IF; RETURN NEW; END", false, ""),
        // Keys of a document say what is under them, in a column for documents.
        ("BEGIN INSERT INTO history VALUES (1, to_jsonb(NEW)); RETURN NEW; END", false, ""),
        ("BEGIN INSERT INTO cards VALUES (1, to_jsonb(NEW)); RETURN NEW; END", false, WHOLE),
        ("BEGIN INSERT INTO cards VALUES (1, NEW::text); RETURN NEW; END", false, WHOLE),
        ("BEGIN INSERT INTO cards SELECT NEW.*; RETURN NEW; END", false, WHOLE),
        (
            "BEGIN INSERT INTO cards SELECT id, number FROM fresh AS f (id, x, number); RETURN NULL; END",
            false,
            WHOLE,
        ),
        (
            "BEGIN INSERT INTO cards SELECT id, ssn FROM fresh; RETURN NULL; END",
            false,
            "?<people.ssn cards.id<people.id",
        ),
        (
            "BEGIN EXECUTE 'INSERT INTO cards SELECT ($1).ssn' USING NEW; END",
            false,
            "?<people.id ?<people.name ?<people.ssn",
        ),
    ] {
        assert_eq!(kept_by_trigger(body, before), expected, "{body}");
    }
}

/// NEW and OLD are records: what is put into them goes by position, and names no column.
#[test]
fn a_row_that_may_be_made_anew_may_hold_anything_that_the_trigger_reads() {
    for body in [
        "BEGIN NEW := (SELECT c FROM cards c); RETURN NEW; END",
        "BEGIN SELECT 1, number INTO NEW FROM cards; RETURN NEW; END",
        "BEGIN SELECT 1, number INTO STRICT NEW FROM cards; RETURN NEW; END",
        "BEGIN SELECT 1, number INTO OLD FROM cards; RETURN OLD; END",
        "BEGIN SELECT 1, number INTO f40000.new FROM cards; RETURN NEW; END",
        "BEGIN FOR NEW IN SELECT 1, number FROM cards LOOP RETURN NEW; END LOOP; END",
        "DECLARE r ALIAS FOR NEW; BEGIN SELECT 1, number INTO r FROM cards; RETURN r; END",
        "DECLARE r ALIAS FOR NEW; BEGIN SELECT 1, number INTO r FROM cards; RETURN NEW; END",
        "BEGIN CALL p(NEW); PERFORM number FROM cards; RETURN NEW; END",
    ] {
        let found = with_trigger(body, UPDATE);
        assert!(
            found.split(" | ").all(|flow| flow.contains("cards.number") || flow.contains('?')),
            "{body}: {found}"
        );
    }
    let looks = "BEGIN IF NEW IS DISTINCT FROM OLD AND to_jsonb(OLD) <> to_jsonb(NEW) THEN PERFORM number FROM cards; END IF; RETURN NEW; END";
    assert_eq!(with_trigger(looks, UPDATE), "people.id | people.name", "only looked at");
}

#[test]
fn triggers_behind_the_row_change_nothing_in_it() {
    let after =
        Trigger { name: "t".into(), function: 40_000, on: Changing::ANY, instead: false, before: false };
    let body = "BEGIN INSERT INTO cards SELECT 1, NEW.ssn; RETURN NULL; END";
    let found = with(&[function(40_000, Body::PlPgSql(body.into()))], UPDATE, |builder| {
        builder.effects.trigger(20_001, after);
    });
    assert_eq!(found, "people.id | people.name");
}

#[test]
fn rules_and_defaults_count_too() {
    let text = "CREATE RULE r AS ON UPDATE TO public.people DO INSTEAD \
                UPDATE public.cards SET id = 1 RETURNING id, number, number;";
    let rule = Rule { oid: 50_000, on: Changing::ANY, instead: true, definition: Some(text.into()) };
    let found = with(&[], UPDATE, |builder| builder.effects.rule(20_001, rule));
    assert!(found.split(" | ").all(|flow| flow.contains("cards.number")), "{found}");

    let body = Body::PlPgSql("BEGIN RETURN (SELECT number FROM cards); END".into());
    let insert = "INSERT INTO people (id) VALUES (1) RETURNING name";
    let found = with(&[function(40_000, body)], insert, |builder| {
        builder.effects.calls_on_write(20_001, 40_000);
    });
    assert_eq!(found, "people.name+cards.number");
    let delete = "DELETE FROM people WHERE id = 1 RETURNING name";
    let body = Body::PlPgSql("BEGIN RETURN (SELECT number FROM cards); END".into());
    let found = with(&[function(40_000, body)], delete, |builder| {
        builder.effects.calls_on_write(20_001, 40_000);
    });
    assert_eq!(found, "people.name", "nothing is written");
}

#[test]
fn functions_that_call_each_other_end() {
    let (a, b) = ("BEGIN RETURN f40001(); END", "BEGIN RETURN f40000(); END");
    let functions = [function(40_000, Body::PlPgSql(a.into())), function(40_001, Body::PlPgSql(b.into()))];
    let insert = "INSERT INTO people (id) VALUES (1) RETURNING name";
    let found = with(&functions, insert, |builder| builder.effects.calls_on_write(20_001, 40_000));
    assert_eq!(found, "people.name");
}

/// What a command makes the database keep of `people`, where that has the effects that are added.
fn kept(sql: &str, functions: &[Function], add: impl FnOnce(&mut CatalogueBuilder)) -> String {
    let catalogue = catalogue_with(functions, add);
    let path = public();
    let names = Names {
        catalogue: &catalogue,
        codes: &Codes::default(),
        search_path: &path,
        temporary: &|_| Temporary::None,
    };
    let name = |id: &ColumnId| {
        let relation = catalogue.relation(id.0).unwrap();
        format!("{}.{}", relation.name, relation.attribute(id.1).unwrap().name)
    };
    let conditions = flows(sql, &names).1;
    conditions.copies.iter().map(|(_, from)| name(from)).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_judges_a_row_may_keep_it() {
    let keep = Function {
        arguments: 1,
        ..function(40_000, Body::Sql("INSERT INTO cards SELECT 1, $1; SELECT true".into()))
    };
    let update = "UPDATE people SET id = 1 WHERE id = 2";
    let all = "people.id people.name people.ssn";
    let check = |builder: &mut CatalogueBuilder| {
        builder.effects.calls_on_write(20_001, 40_000);
        builder.effects.calls_on_row(20_001, 40_000);
    };
    assert_eq!(kept(update, std::slice::from_ref(&keep), check), all);
    assert_eq!(kept("COPY people FROM STDIN", std::slice::from_ref(&keep), check), all);
    let policy = |builder: &mut CatalogueBuilder| builder.effects.calls_on_read(20_001, 40_000);
    assert_eq!(kept("SELECT id FROM people", std::slice::from_ref(&keep), policy), all);
    let given = Function { arguments: 0, ..keep.clone() };
    assert_eq!(kept(update, &[given], check), "", "it is given nothing");
    let pure = Function { arguments: 1, ..function(40_000, Body::Sql("SELECT length($1) > 3".into())) };
    assert_eq!(kept(update, &[pure], check), "");
}

#[test]
fn rules_keep_the_row_that_they_name() {
    for (action, expected) in [
        ("INSERT INTO public.cards (id, number) VALUES (old.id, old.ssn)", "people.ssn people.id"),
        ("INSERT INTO public.cards (number) SELECT old.*::text AS old", "people.name people.ssn people.id"),
        ("NOTHING", ""),
    ] {
        let text = format!("CREATE RULE r AS ON UPDATE TO public.people DO ALSO {action};");
        let rule = Rule { oid: 50_000, on: Changing::ANY, instead: false, definition: Some(text.into()) };
        let found = kept("UPDATE people SET id = 1", &[], |builder| builder.effects.rule(20_001, rule));
        assert_eq!(found, expected, "{action}");
    }
}

#[test]
fn a_write_goes_on_to_what_it_leads_to() {
    let on = Changing::ANY;
    let writes = |to: &str| Body::PlPgSql(format!("BEGIN {to}; RETURN NULL; END").into());
    let after = |function| Trigger { name: "t".into(), function, on, instead: false, before: false };
    let keeps = function(40_000, writes("INSERT INTO history SELECT 1, ssn FROM people"));
    // By a foreign key, and by the code of another trigger.
    let cascade = |builder: &mut CatalogueBuilder| {
        builder.effects.trigger(20_002, after(40_000));
        builder.effects.cascade(
            20_003,
            crate::engine::model::Cascade {
                table: 20_002,
                deletes: true,
                updates_on_delete: false,
                updates_on_update: false,
                columns: Box::new([1]),
            },
        );
    };
    assert_eq!(
        kept("DELETE FROM history WHERE id = '1'", std::slice::from_ref(&keeps), cascade),
        "people.ssn"
    );
    assert_eq!(kept("UPDATE history SET id = '1'", std::slice::from_ref(&keeps), cascade), "");
    let first = function(40_001, writes("INSERT INTO cards VALUES (1)"));
    let chain = |builder: &mut CatalogueBuilder| {
        builder.effects.trigger(20_002, after(40_000));
        builder.effects.trigger(20_003, after(40_001));
    };
    assert_eq!(kept("INSERT INTO history VALUES (1)", &[keeps, first], chain), "people.ssn");
}

/// An order may call them wherever rows are read.
#[test]
fn functions_of_operator_classes_keep_what_they_write_and_what_they_are_given() {
    let keeping = "BEGIN INSERT INTO cards SELECT 1, max(ssn) FROM people; RETURN 0; END";
    let looking = "BEGIN RETURN (SELECT count(*) FROM people WHERE ssn > 'x'); END";
    let of_class = |body: &str, sql: &str| {
        kept_where(&[function(40_000, Body::PlPgSql(body.into()))], sql, |builder| {
            builder.effects.orders_by(40_000);
            let mut ones = relation(20_004, "public", "ones", "id x", None);
            ones.columns[1].type_oid = 30_500;
            builder.relation(ones, 21_004);
        })
    };
    for (body, sql, expected) in [
        (keeping, "SELECT x FROM ones ORDER BY x", "?<people.ssn ?<ones.x"),
        (keeping, "SELECT id FROM people", "?<people.ssn"),
        (keeping, "SELECT 1", ""),
        (looking, "SELECT x FROM ones ORDER BY x", ""),
    ] {
        assert_eq!(of_class(body, sql), expected, "{sql}");
    }
}
