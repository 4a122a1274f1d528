//! Any text has a lineage: no panic within the promised stack, the same each time, and no source out of nowhere.
#![no_main]

use governor::engine::model::{
    Body, Catalogue, CatalogueBuilder, Column, Function, Lineage, Relation, RelationKind, SearchPath,
    SystemFunction, Temporary, Volatility,
};
use governor::engine::sql::{Codes, Names, PARSER_STACK_BYTES_MIN, lineage};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut builder = CatalogueBuilder::default();
    for (oid, name) in (20_000..).zip(["people", "a", "b", "t", "x"]) {
        let columns = ["id", "ssn", "a", "b"].into_iter().zip(1..);
        let relation = Relation {
            oid,
            schema: "public".into(),
            name: name.into(),
            kind: RelationKind::Table,
            columns: columns
                .map(|(name, at)| Column { attribute: at, name: name.into(), type_oid: 25, characters_max: 0 })
                .collect(),
            parents: Box::default(),
            definition: None,
            rows_estimate: None,
        };
        builder.relation(relation, 0);
    }
    for name in ["upper", "f", "unnest", "count", "max", "generate_series"] {
        builder.system_function(
            name,
            SystemFunction { volatility: Volatility::Immutable, is_aggregate: name == "max" },
        );
    }
    builder.function(Function {
        oid: 30_000,
        schema: "public".into(),
        name: "g".into(),
        volatility: Volatility::Stable,
        is_aggregate: false,
        returns_set: true,
        arguments: 1,
        defaults: 0,
        is_variadic: false,
        argument_names: Box::default(),
        return_type: 25,
        settings: Box::default(),
        body: Body::Sql("SELECT ssn || $1 || g($1) FROM people".into()),
    });
    builder.finish()
});

fuzz_target!(|input: (bool, Option<&str>, &str)| {
    let (is_known, made, text) = input;
    let path = match is_known {
        true => SearchPath::Known(vec!["public".into()]),
        false => SearchPath::Unknown("anything".into()),
    };
    let temporary = |name: &str| match made {
        Some(text) if name == "t" => Temporary::Statements(vec![(text.into(), path.clone())]),
        _ => Temporary::None,
    };
    // As for facts: the sanitizer's frames are larger.
    std::thread::scope(|scope| {
        let run = || {
            let names = Names { catalogue: &CATALOGUE, codes: &Codes::default(), search_path: &path, temporary: &temporary };
            let found = lineage(text, &names);
            assert_eq!(found, lineage(text, &names));
            if let Lineage::Columns(flows) = &found {
                let known =
                    |id: &(u32, i16)| CATALOGUE.relation(id.0).is_some_and(|r| r.attribute(id.1).is_some());
                for flow in flows {
                    assert!(flow.sources.iter().chain(&flow.implicit).all(known));
                }
            }
        };
        let worker = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES_MIN * 16);
        worker.spawn_scoped(scope, run).expect("a thread").join().expect("no panic");
    });
});
