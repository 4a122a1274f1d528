//! What is not known says so.

use super::*;
use crate::engine::sql::fault::tests::failing;

#[test]
fn doubt_is_said() {
    check(&[
        ("SELECT x FROM nowhere", "-?unknown_relation"),
        ("SELECT * FROM nowhere", "?unknown_relation"),
        ("SELECT nothing FROM people", "-?unknown_column"),
        (
            "SELECT p.nothing FROM people p",
            "people.id+people.name+people.ssn+people.email+people.salary+people.active?function",
        ),
        ("SELECT nobody.ssn FROM people", "-?unknown_column"),
        // The column may have come since the catalogue was read.
        ("SELECT fresh FROM people, pg_class", "-?unknown_column"),
        (
            "SELECT plpg(), slow(), looped('x'), missing()",
            "-?function | -?function | -?function | -?function",
        ),
        ("SELECT other.upper(ssn) FROM people", "people.ssn?function"),
        ("SELECT query_to_xml('select ssn from people', true, true, '')", "-?function"),
        ("SELECT lo_get(1), pg_stat_get_activity(1)", "-?function | -?function"),
        (
            "SELECT current_setting('my.own'), current_setting(name) FROM people",
            "-?function | people.name?function",
        ),
        ("SELECT id <%> 1, id OPERATOR(public.<%>) 1 FROM people", "people.id?function | people.id?function"),
        ("SELECT chunk_data FROM pg_toast.pg_toast_1", "-?unknown_relation"),
        ("SELECT chunk_data FROM pg_toast_1", "-?unknown_relation"),
        ("SELECT 1; SELECT ssn FROM people", "?unparsed"),
        ("SELEC 1", "?unparsed"),
        ("", "?unparsed"),
    ]);
}

/// A user's function of a server's name may be the one that is meant.
#[test]
fn an_overload_by_users_counts_beside_the_servers_own() {
    let mut builder = CatalogueBuilder::default();
    builder
        .system_function("upper", SystemFunction { volatility: Volatility::Immutable, is_aggregate: false });
    builder.relation(relation(20_001, "public", "people", "id name ssn", None), 0);
    builder.function(Function {
        oid: 30_001,
        schema: "evil".into(),
        name: "upper".into(),
        volatility: Volatility::Immutable,
        is_aggregate: false,
        returns_set: false,
        arguments: 1,
        defaults: 0,
        is_variadic: false,
        argument_names: Box::default(),
        return_type: 25,
        settings: Box::default(),
        body: Body::Sql("SELECT ssn FROM public.people".into()),
    });
    let catalogue = builder.finish();
    let found = |path: &[&str]| {
        let path = SearchPath::Known(path.iter().map(|s| (*s).into()).collect());
        let names = Names {
            catalogue: &catalogue,
            codes: &Codes::default(),
            search_path: &path,
            temporary: &|_| Temporary::None,
        };
        text(&lineage("SELECT upper('x')", &names))
    };
    assert_eq!(found(&["public"]), "-");
    assert_eq!(found(&["public", "evil"]), "people.ssn");
}

/// A belief of the parser's binding that is wrong, or any other fault: in doubt, and never "no source".
#[test]
fn a_fault_in_the_reading_is_doubt_and_the_next_statement_is_read() {
    let (catalogue, codes, path) = (catalogue(), Codes::default(), public());
    let names =
        Names { catalogue: &catalogue, codes: &codes, search_path: &path, temporary: &|_| Temporary::None };
    let read = || flows("SELECT ssn FROM people WHERE email = 'x'", &names);
    let (found, conditions) = failing("lineage", read);
    assert_eq!((text(&found).as_str(), conditions.doubt), ("?unparsed", Some(Doubt::Unparsed)));
    let (found, conditions) = read();
    assert_eq!((text(&found).as_str(), conditions.doubt), ("=people.ssn", None));

    let kept = || kept_in_passing(&names, &[20_001], true).doubt;
    assert_eq!((failing("passing", kept), kept()), (Some(Doubt::Unparsed), None));

    // Of a view: each of its columns.
    let column = Flow { sources: [(20_102, 2)].into(), ..Flow::default() };
    let behind = |views: ViewFlows| views.expand(&column).unknown;
    let failed = failing("views", || ViewFlows::of(&catalogue, &codes));
    assert_eq!(behind(failed), Some(Doubt::Unparsed));
    assert_eq!(behind(ViewFlows::of(&catalogue, &codes)), None);
}
