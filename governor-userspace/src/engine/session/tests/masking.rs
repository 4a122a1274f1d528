//! Which result columns are masked, whatever way they are asked for.

use super::stage::*;
use crate::engine::audit::AuditEvent;
use crate::engine::model::{Class, Endpoint, Timestamp, Verdict};
use crate::engine::policy::{PolicySet, PolicySource, Profile};
use crate::engine::session::Input;

const SECRET: &str = "louis@example.com";
const PEOPLE: [(&str, u32, i16); 3] = [("id", 20000, 1), ("email", 20000, 2), ("note", 20000, 3)];

fn shown(stage: &Stage) -> bool {
    String::from_utf8_lossy(&stage.to_client).contains(SECRET)
}

#[test]
fn agents_see_masked_rows_and_services_do_not() {
    for (class, clear) in [(Class::Agent, false), (Class::Person, false), (Class::Service, true)] {
        let mut s = Stage::ready(class);
        s.client(&query("SELECT * FROM people"));
        let rows =
            [row_description(&PEOPLE), data_row(&["1", SECRET, "hello"]), complete("SELECT 1"), ready(b'I')]
                .concat();
        s.server(&rows);
        assert_eq!(shown(&s), clear, "{class}");
        assert_eq!(s.client_kinds(), "TDCZ");
        assert!(String::from_utf8_lossy(&s.to_client).contains("hello"));
        let AuditEvent::Completion(done) = &s.completions[0].event else { panic!() };
        assert_eq!((done.rows, done.masked), (1, u64::from(!clear)));
        if clear {
            assert_eq!(s.to_client, rows, "byte for byte");
        }
    }
}

#[test]
fn values_are_recognised_in_columns_that_nothing_says_are_sensitive() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("SELECT note FROM people"));
    s.server(
        &[row_description(&[("note", 20000, 3)]), data_row(&[&format!("ask {SECRET} about it")])].concat(),
    );
    assert!(!shown(&s));
}

#[test]
fn an_alias_does_not_hide_a_column_and_neither_does_an_expression() {
    for (text, column) in [
        ("SELECT email AS note FROM people", ("note", 20000, 2)),
        ("SELECT upper(email) AS x FROM people", ("x", 0, 0)),
        ("SELECT note FROM people UNION ALL SELECT email FROM people", ("note", 0, 0)),
        ("SELECT p FROM people p", ("p", 20000, 0)),
        ("SELECT x FROM made_since", ("x", 30000, 1)),
    ] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query(text));
        s.server(&[row_description(&[column]), data_row(&["not recognisable"])].concat());
        assert!(!String::from_utf8_lossy(&s.to_client).contains("not recognisable"), "{text}");
    }
}

#[test]
fn what_cannot_carry_sensitive_data_stays_clear() {
    for text in ["SELECT upper(note) AS x FROM people", "SELECT 'a' || 'b' AS x", "SHOW server_version"] {
        let mut s = Stage::ready(Class::Agent);
        s.client(&query(text));
        s.server(&[row_description(&[("x", 0, 0)]), data_row(&["plain"])].concat());
        assert!(String::from_utf8_lossy(&s.to_client).contains("plain"), "{text}");
    }
}

#[test]
fn a_portal_that_was_never_described_is_described_first() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("s", "SELECT email FROM people"), sync()].concat());
    s.server(&[message(b'1', b""), ready(b'I')].concat());
    s.clear();
    s.client(&[bind("", "s"), execute(""), sync()].concat());
    assert_eq!(s.server_kinds(), "BDES");
    s.server(
        &[
            message(b'2', b""),
            row_description(&[("email", 20000, 2)]),
            data_row(&[SECRET]),
            complete("SELECT 1"),
            ready(b'I'),
        ]
        .concat(),
    );
    assert_eq!(s.client_kinds(), "2DCZ", "the answer to governor's own question stays here");
    assert!(!shown(&s));
}

#[test]
fn a_described_statement_needs_no_second_description() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&[parse("s", "SELECT email FROM people"), message(b'D', b"Ss\0"), sync()].concat());
    s.server(
        &[message(b'1', b""), message(b't', b"\0\0"), row_description(&[("email", 20000, 2)]), ready(b'I')]
            .concat(),
    );
    s.clear();
    s.client(&[bind("", "s"), execute(""), sync()].concat());
    assert_eq!(s.server_kinds(), "BES");
    s.server(&[message(b'2', b""), data_row(&[SECRET]), complete("SELECT 1"), ready(b'I')].concat());
    assert!(!shown(&s));
}

#[test]
fn a_catalogue_that_cannot_be_read_masks_everything_that_may_be_text() {
    let mut s = Stage::new(Class::Agent);
    s.client(&startup(&[("user", "app")]));
    s.input(crate::engine::session::Input::Connected);
    s.server(&[message(b'R', &0u32.to_be_bytes()), ready(b'I')].concat());
    s.server(&[error("42501"), ready(b'I')].concat());
    s.clear();
    s.client(&query("SELECT note FROM people"));
    s.server(&[row_description(&[("note", 20000, 3)]), data_row(&["plain"])].concat());
    assert!(!String::from_utf8_lossy(&s.to_client).contains("plain"));
}

#[test]
fn ddl_makes_the_catalogue_be_read_again_before_the_next_query() {
    let mut s = Stage::ready(Class::Person);
    s.client(&query("CREATE TABLE t (a int)"));
    s.server(&[complete("CREATE TABLE"), ready(b'I')].concat());
    s.clear();
    s.client(&query("SELECT a FROM t"));
    assert!(String::from_utf8_lossy(&s.to_server).contains("pg_catalog.pg_class"));
    assert!(!String::from_utf8_lossy(&s.to_server).contains("SELECT a"));
    s.catalogue();
    assert!(s.to_client.is_empty(), "the client sees nothing of it");
    assert!(s.to_server.ends_with(&query("SELECT a FROM t")));
}

/// By its age alone; and while a session reads it, others of that worker go on with the one before.
#[test]
fn an_old_catalogue_is_read_again_before_the_next_query_and_by_one_session() {
    let mut s = Stage::ready(Class::Agent);
    let asks = |s: &Stage| String::from_utf8_lossy(&s.to_server).contains("pg_catalog.pg_class");
    let wanted = |s: &mut Stage, at| {
        s.governance.wants_catalogue(Endpoint::tcp([127, 0, 0, 1].into(), 5432), "shop", at)
    };
    let text = query("SELECT note FROM people");
    let after = |ns: u64| Timestamp { unix_ns: 1, monotonic_ns: 1 + 300_000_000_000 + ns };
    s.at(after(0));
    s.client(&text);
    assert_eq!((asks(&s), s.to_server == text), (false, true), "not older than it may be");
    s.server(&[row_description(&PEOPLE[2..]), complete("SELECT 0"), ready(b'I')].concat());
    s.clear();

    s.at(after(1));
    s.client(&text);
    assert!(asks(&s) && !s.to_server.ends_with(&text), "too old");
    assert!(!wanted(&mut s, after(2)), "somebody reads it");
    s.catalogue();
    assert!(s.to_client.is_empty(), "the client sees nothing of it");
    assert!(s.to_server.ends_with(&text));
    assert!(!wanted(&mut s, after(3)), "it is new");
    assert!(wanted(&mut s, after(400_000_000_000)), "and grows old again");
}

#[test]
fn literals_in_records_are_masked() {
    let mut s = Stage::ready(Class::Service);
    s.client(&query(&format!("SELECT 1 WHERE 'x' = '{SECRET}'")));
    assert!(!s.statements()[0].text.contains(SECRET));
    assert!(s.statements()[0].text.contains("SELECT 1 WHERE"));
}

#[test]
fn malformed_rows_end_the_session() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("SELECT * FROM people"));
    s.server(&[row_description(&PEOPLE), data_row(&["1", SECRET])].concat());
    assert!(s.closed.is_some());
    assert!(!shown(&s));
}

#[test]
fn the_columns_of_an_execute_are_asked_for_each_time() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("PREPARE foo AS SELECT note FROM people"));
    s.server(&[complete("PREPARE"), ready(b'I')].concat());
    s.client(&[parse("s", "EXECUTE foo"), message(b'D', b"Ss\0"), sync()].concat());
    let note = row_description(&[("note", 20000, 3)]);
    s.server(&[message(b'1', b""), message(b't', b"\0\0"), note, ready(b'I')].concat());
    for text in ["DEALLOCATE foo", "PREPARE foo AS SELECT email FROM people"] {
        s.client(&query(text));
        s.server(&[complete(text.split(' ').next().unwrap()), ready(b'I')].concat());
    }
    s.clear();
    s.client(&[bind("", "s"), execute(""), sync()].concat());
    assert_eq!(s.server_kinds(), "BDES");
    let email = row_description(&[("email", 20000, 2)]);
    s.server(
        &[message(b'2', b""), email, data_row(&["not recognisable"]), complete("SELECT 1"), ready(b'I')]
            .concat(),
    );
    assert!(!String::from_utf8_lossy(&s.to_client).contains("not recognisable"));
}

#[test]
fn after_ddl_in_a_transaction_everything_is_in_doubt() {
    let mut s = Stage::ready(Class::Person);
    for (text, state) in
        [("BEGIN", b'T'), ("CREATE OR REPLACE VIEW v AS SELECT reverse(email) AS note FROM people", b'T')]
    {
        s.client(&query(text));
        s.server(&[complete(text.split(' ').next().unwrap()), ready(state)].concat());
    }
    s.clear();
    s.client(&query("SELECT note FROM people"));
    s.server(&[row_description(&[("note", 20000, 3)]), data_row(&["plain"])].concat());
    assert!(!String::from_utf8_lossy(&s.to_client).contains("plain"));
}

#[test]
fn a_policy_that_changes_during_a_result_does_not_break_it() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("SELECT * FROM people"));
    s.server(&[row_description(&PEOPLE), data_row(&["1", SECRET, "a"])].concat());
    let observe = PolicySet::compile(&PolicySet::builtin(Profile::Observe)).unwrap();
    s.governance.policy = std::sync::Arc::new(observe);
    s.server(&[data_row(&["2", SECRET, "b"]), complete("SELECT 2"), ready(b'I')].concat());
    assert!(s.closed.is_none() && !shown(&s));
    s.client(&query("SELECT * FROM people"));
    s.server(
        &[row_description(&PEOPLE), data_row(&["1", SECRET, "a"]), complete("SELECT 1"), ready(b'I')]
            .concat(),
    );
    assert!(shown(&s), "the next one follows the new policy");
}

#[test]
fn notifications_do_not_carry_sensitive_data_out() {
    let mut s = Stage::ready(Class::Agent);
    s.client(&query("SELECT count(pg_notify('c', email)) FROM people"));
    assert_eq!(s.verdicts(), [Verdict::Deny]);
}

#[test]
fn a_batch_after_a_denied_one_is_judged_by_itself() {
    let mut s = Stage::ready(Class::Agent);
    let batch = |text: &str| [parse("", text), bind("", ""), execute("")].concat();
    s.client(
        &[batch("SELECT 'before'"), batch("DROP TABLE orders"), sync(), batch("SELECT 'after'"), sync()]
            .concat(),
    );
    let answer = |text: &str| {
        let described = row_description(&[("?column?", 0, 0)]);
        [message(b'1', b""), message(b'2', b""), described, data_row(&[text]), complete("SELECT 1")].concat()
    };
    s.server(&[answer("before"), error("42601"), ready(b'I')].concat());
    s.server(&[answer("after"), ready(b'I')].concat());
    let seen = String::from_utf8_lossy(&s.to_client).into_owned();
    assert!(seen.contains("before") && seen.contains("after"), "{seen:?}");
    assert_eq!(s.client_kinds(), "12DCEZ12DCZ");
}

/// A stage whose table also has `salary`, a number.
fn with_salaries() -> Stage {
    // An agent may not compute with them at all.
    let mut s = Stage::new(Class::Person);
    s.client(&startup(&[("user", "app"), ("database", "shop")]));
    s.input(Input::Connected);
    s.server(&message(b'R', &0u32.to_be_bytes()));
    s.server(&message(b'K', b"\0\0\0\x07key!"));
    s.server(&ready(b'I'));
    s.catalogue_of(&[&["c", "20000", "4", "salary", "20"]]);
    s.clear();
    s
}

fn number(name: &str) -> Vec<u8> {
    let mut body = 1u16.to_be_bytes().to_vec();
    body.extend([name.as_bytes(), b"\0", &[0; 6]].concat());
    body.extend([&20u32.to_be_bytes()[..], &8i16.to_be_bytes(), &(-1i32).to_be_bytes(), &[0; 2]].concat());
    message(b'T', &body)
}

/// EXECUTE used to make the catalogue doubtful, and numbers were shown while it was.
#[test]
fn numbers_are_masked_behind_execute_too() {
    let mut s = with_salaries();
    s.client(&query("PREPARE x AS SELECT salary + 1 AS n FROM people"));
    s.server(&[complete("PREPARE"), ready(b'I')].concat());
    s.clear();
    s.client(&query("EXECUTE x"));
    assert_eq!(s.server_kinds(), "Q", "the catalogue is not read again");
    s.server(&[number("n"), data_row(&["86421"]), complete("SELECT 1"), ready(b'I')].concat());
    assert!(!String::from_utf8_lossy(&s.to_client).contains("86421"));
}

/// A catalogue that is out of date still says what was sensitive, whatever its type.
#[test]
fn numbers_stay_masked_while_the_catalogue_is_out_of_date() {
    let mut s = with_salaries();
    s.client(&query("BEGIN"));
    s.server(&[complete("BEGIN"), ready(b'T')].concat());
    // Another session changed definitions.
    s.governance.outdate_catalogue(
        Endpoint::tcp([127, 0, 0, 1].into(), 5432),
        "shop",
        Timestamp { unix_ns: 0, monotonic_ns: 0 },
    );
    s.client(&query("SELECT salary + 1 AS n FROM people"));
    s.server(&[number("n"), data_row(&["86421"])].concat());
    assert!(!String::from_utf8_lossy(&s.to_client).contains("86421"));
    s.server(&[complete("SELECT 1"), ready(b'T')].concat());
    s.client(&query("SELECT id + 1 AS n FROM people"));
    s.server(&[number("n"), data_row(&["75310"])].concat());
    assert!(String::from_utf8_lossy(&s.to_client).contains("75310"), "other numbers are shown");
}

/// What lineage knows: exactly the columns behind a value count.
#[test]
fn an_expression_is_masked_by_what_is_behind_it() {
    for (text, shown) in [
        ("SELECT upper(note) AS x FROM people WHERE email = 'a'", true),
        ("SELECT x FROM (SELECT upper(note) AS x, email FROM people) s", true),
        ("WITH c AS (SELECT email AS x FROM people) SELECT upper(x) AS x FROM c", false),
        ("SELECT note AS x FROM people UNION SELECT upper(email) FROM people", false),
        ("SELECT CASE email WHEN 'a' THEN 'plain' END AS x FROM people", false),
        ("UPDATE people SET note = email WHERE id = 1 RETURNING upper(note) AS x", false),
        // The server calls its column otherwise: nothing that was expected counts.
        ("SELECT upper(note) AS y FROM people", false),
    ] {
        let mut s = Stage::ready(Class::Person);
        s.client(&query(text));
        s.server(&[row_description(&[("x", 0, 0)]), data_row(&["plain words"])].concat());
        assert_eq!(String::from_utf8_lossy(&s.to_client).contains("plain words"), shown, "{text}");
    }
}

/// The server names the column, the command says what it put there.
#[test]
fn a_column_that_the_command_fills_is_masked_by_what_goes_in() {
    for (text, shown) in [
        ("UPDATE people SET note = email WHERE id = 1 RETURNING note", false),
        ("UPDATE people SET note = 'x' WHERE id = 1 RETURNING note", true),
        ("INSERT INTO people (id, note) SELECT 1, email FROM people RETURNING note", false),
    ] {
        let mut s = Stage::ready(Class::Person);
        s.client(&query(text));
        s.server(&[row_description(&[("note", 20000, 3)]), data_row(&["plain words"])].concat());
        assert_eq!(String::from_utf8_lossy(&s.to_client).contains("plain words"), shown, "{text}");
    }
}

/// An expression over a document may hide both the key and the value that would tell.
#[test]
fn pieces_of_documents_are_judged_by_the_keys_that_lead_to_them() {
    for (text, clear) in [
        ("SELECT doc ->> 'ssn' AS x FROM people", false),
        ("SELECT substr(doc ->> 'ssn', 1, 6) AS x FROM people", false),
        ("SELECT doc -> 'person' -> 0 ->> 'email' AS x FROM people", false),
        ("SELECT doc #>> '{person,email}' AS x FROM people", false),
        ("SELECT doc['ssn']::text AS x FROM people", false),
        ("SELECT reverse(doc::text) AS x FROM people", false),
        ("SELECT upper(doc ->> 'colour') AS x FROM people", true),
        ("SELECT doc #>> '{items,0,colour}' AS x FROM people", true),
        ("SELECT substr(x, 2) AS x FROM (SELECT doc ->> 'ssn' AS x FROM people) t", false),
        ("SELECT upper(note) AS x FROM people", true),
        ("SELECT note::jsonb ->> 'password' AS x FROM people", false),
        ("SELECT note::jsonb ->> 'colour' AS x FROM people", true),
        ("SELECT concat(doc ->> 'colour', doc) AS x FROM people", false),
        ("SELECT doc -> 'colour' || (doc::text) AS x FROM people", false),
        ("SELECT replace(doc::text, 'ssn', 'k')::jsonb ->> 'k' AS x FROM people", false),
        ("SELECT reverse((doc -> 'colour')::text) AS x FROM people", false),
        ("SELECT doc ->> U&'s\\0073n' AS x FROM people", false),
        ("SELECT doc #>> '{s\\sn}' AS x FROM people", false),
        ("SELECT jsonb_typeof(doc) AS x FROM people", true),
    ] {
        let mut s = Stage::ready_with(Class::Agent, &[&["c", "20000", "4", "doc", "3802"]]);
        s.client(&query(text));
        s.server(&[row_description(&[("x", 0, 0)]), data_row(&["not recognisable"])].concat());
        let shown = String::from_utf8_lossy(&s.to_client).contains("not recognisable");
        assert_eq!(shown, clear, "{text}");
    }
}

/// The result is a document or a number, but the keys that would tell of what is in it are gone.
#[test]
fn documents_are_shown_only_with_their_keys() {
    for (text, type_oid, clear) in [
        ("SELECT doc || '{}' AS x FROM people", 3802, true),
        ("SELECT doc - 'a' AS x FROM people", 3802, true),
        ("SELECT coalesce(doc, '{}') || '{}'::jsonb AS x FROM people", 3802, true),
        ("SELECT to_jsonb(doc) AS x FROM people", 3802, true),
        ("SELECT jsonb_agg(doc) AS x FROM people", 3802, true),
        ("SELECT doc::json AS x FROM people", 114, true),
        ("SELECT doc -> 'colour' AS x FROM people", 3802, true),
        ("SELECT (doc -> 'colour')::int AS x FROM people", 23, true),
        ("SELECT jsonb_array_length(doc) AS x FROM people", 23, true),
        ("SELECT e AS x FROM people, jsonb_array_elements(doc -> 'items') e", 3802, true),
        ("SELECT jsonb_path_query(doc, '$.ssn') AS x FROM people", 3802, false),
        ("SELECT value AS x FROM people, jsonb_each(doc)", 3802, false),
        ("SELECT x FROM people, jsonb_to_record(doc) AS r(x jsonb)", 3802, false),
        ("SELECT doc -> ('ss' || 'n') AS x FROM people", 3802, false),
        ("SELECT doc -> note AS x FROM people", 3802, false),
        ("SELECT replace(doc::text, 'ssn', 'k')::jsonb AS x FROM people", 3802, false),
        ("SELECT d AS x FROM (SELECT replace(doc::text, 'ssn', 'k')::jsonb AS d FROM people) t", 3802, false),
        ("SELECT ROW(reverse(doc::text)) AS x FROM people", 2249, false),
        ("SELECT jsonb_each(doc) AS x FROM people", 2249, false),
        ("SELECT to_jsonb(doc::text) AS x FROM people", 3802, false),
        ("SELECT to_jsonb(note || doc) AS x FROM people", 3802, false),
        ("SELECT ascii(substr(doc::text, 1)) AS x FROM people", 23, false),
        ("SELECT JSON_QUERY(doc, '$.ssn') AS x FROM people", 3802, false),
    ] {
        let mut s = Stage::ready_with(Class::Agent, &[&["c", "20000", "4", "doc", "3802"]]);
        s.client(&query(text));
        s.server(&[row_description_of(&[("x", 0, 0)], type_oid), data_row(&["77"])].concat());
        let shown = s.to_client.ends_with(&data_row(&["77"]));
        assert_eq!(shown, clear, "{text}");
    }
}

#[test]
fn places_that_the_operator_names_are_hidden_and_expressions_over_them_too() {
    use crate::engine::masking::{Category, JsonPath};
    use crate::engine::model::MaskStyle;
    use crate::engine::session::{ColumnPattern, LabelledPlace, Labels};
    let column = ColumnPattern { schema: "public".into(), relation: "people".into(), column: "doc".into() };
    let path = JsonPath::parse("$.a.b").unwrap();
    let place = LabelledPlace { path, category: Category::Other, style: MaskStyle::Redact };
    let places = vec![(column, place)];
    for (text, column, value, wanted) in [
        ("SELECT doc FROM people", ("doc", 20000, 4), r#"{"a": {"b": "x1", "c": "y1"}}"#, "y1"),
        ("SELECT doc #>> '{a,c}' AS x FROM people", ("x", 0, 0), "x1", "[masked]"),
    ] {
        let mut s = Stage::new(Class::Agent);
        s.governance.labels = std::sync::Arc::new(Labels { places: places.clone(), ..Labels::default() });
        s.connect_with(&[&["c", "20000", "4", "doc", "25"]]);
        s.client(&query(text));
        s.server(&[row_description(&[column]), data_row(&[value])].concat());
        let told = String::from_utf8_lossy(&s.to_client).into_owned();
        assert!(told.contains(wanted) && !told.contains("x1"), "{text}: {told:?}");
    }
}

/// What policy shows of one place it need not show of another, and what it shows of neither place alone it shows of no
/// expression.
#[test]
fn policy_is_asked_about_each_place() {
    use crate::engine::masking::{Category, JsonPath};
    use crate::engine::model::MaskStyle;
    use crate::engine::session::{ColumnPattern, LabelledPlace, Labels};
    let column = ColumnPattern { schema: "public".into(), relation: "people".into(), column: "doc".into() };
    let place = |path: &str, category, style| {
        (column.clone(), LabelledPlace { path: JsonPath::parse(path).unwrap(), category, style })
    };
    // Services see all but health.
    let places = [
        place("$.a", Category::Financial, MaskStyle::Redact),
        place("$.b", Category::Health, MaskStyle::Range),
    ];
    let hidden = r#"@id("no-health") @reason("health is nobody's business")
        forbid (principal, action == Governor::Action::"see", resource)
        when { resource.category == "health" };"#;
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(PolicySource::new("mine.cedar", hidden));
    let policy = std::sync::Arc::new(PolicySet::compile(&sources).unwrap());
    for (text, column, value, shows_other) in [
        ("SELECT doc FROM people", ("doc", 20000, 4), r#"{"a": "x7", "b": "y7"}"#, true),
        ("SELECT doc #>> '{b}' AS x FROM people", ("x", 0, 0), "y7", false),
    ] {
        let mut s = Stage::new(Class::Service);
        s.governance.policy = policy.clone();
        s.governance.labels = std::sync::Arc::new(Labels { places: places.to_vec(), ..Labels::default() });
        s.connect_with(&[&["c", "20000", "4", "doc", "25"]]);
        s.client(&query(text));
        s.server(&[row_description(&[column]), data_row(&[value])].concat());
        let told = String::from_utf8_lossy(&s.to_client).into_owned();
        assert!(!told.contains("y7"), "{text}: {told:?}");
        assert_eq!((told.contains("x7"), told.contains("[masked]")), (shows_other, true), "{text}: {told:?}");
    }
}

/// The rule about seeing that it names a column with, or none.
fn with_rule(class: Class, rule: Option<&str>, more: &[&[&str]]) -> Stage {
    let mut sources = PolicySet::builtin(Profile::Protect);
    let text = |rule: &str| format!("@id(\"mine\") @reason(\"not yours\") @mask(\"null\") forbid ({rule};");
    sources.extend(rule.map(|rule| PolicySource::new("mine.cedar", text(rule))));
    let mut s = Stage::new(class);
    s.governance.policy = std::sync::Arc::new(PolicySet::compile(&sources).unwrap());
    s.connect_with(more);
    s
}

const NOTE: &str =
    "principal, action == Governor::Action::\"see\", resource == Governor::Column::\"public.people.note\")";

/// A column of which nothing says that it is sensitive is asked about where a rule names it, and so is what shows it.
#[test]
fn a_rule_hides_a_column_that_nothing_else_calls_sensitive() {
    let view: [&[&str]; 3] = [
        &["r", "20010", "public", "notes", "v", "20011", "10"],
        &["c", "20010", "1", "remark", "25"],
        &["v", "20010", "SELECT people.note AS remark FROM public.people"],
    ];
    let lifted = format!("{NOTE} unless {{ principal in Governor::Class::\"person\" }}");
    for class in Class::ALL {
        for (text, field) in [
            ("SELECT note FROM people", ("note", 20000, 3)),
            ("SELECT note || '' AS x FROM people", ("x", 0, 0)),
            ("SELECT remark FROM notes", ("remark", 20010, 1)),
            ("SELECT upper(remark) AS x FROM notes", ("x", 0, 0)),
        ] {
            for (rule, hides) in [
                (None, false),
                (Some(NOTE), true),
                (Some(lifted.as_str()), class != Class::Person),
                (Some("principal, action == Governor::Action::\"see\", resource)"), true),
                (
                    Some(
                        "principal, action == Governor::Action::\"see\", resource) when { resource.category == \"email\" }",
                    ),
                    false,
                ),
            ] {
                let mut s = with_rule(class, rule, &view);
                s.client(&query(text));
                assert_eq!(s.server_kinds(), "Q", "{text}");
                s.server(&[row_description(&[field]), data_row(&["plain words"])].concat());
                let told = String::from_utf8_lossy(&s.to_client).into_owned();
                assert_eq!(!told.contains("plain words"), hides, "{class:?} {rule:?}: {text}: {told:?}");
            }
        }
        // Others stay as they are.
        let mut s = with_rule(class, Some(NOTE), &[]);
        s.client(&query("SELECT id FROM people"));
        s.server(&[row_description(&[("id", 20000, 1)]), data_row(&["7"])].concat());
        assert!(String::from_utf8_lossy(&s.to_client).contains('7'), "{class:?}");
    }
}

/// What a rule hides decides nothing and is copied nowhere, as with any masked column.
#[test]
fn a_column_that_only_a_rule_hides_is_a_condition_and_a_copy() {
    for text in ["SELECT id FROM people WHERE note = 'x'", "SELECT id FROM people ORDER BY note"] {
        for (rule, verdict) in [(None, Verdict::Allow), (Some(NOTE), Verdict::Deny)] {
            let mut s = with_rule(Class::Agent, rule, &[]);
            s.client(&query(text));
            assert_eq!(s.verdicts(), [verdict], "{rule:?}: {text}");
        }
    }
}

/// Where rules change, what has to be asked about is learnt anew.
#[test]
fn a_rule_that_comes_later_is_asked() {
    let mut s = with_rule(Class::Agent, None, &[]);
    let mut sources = PolicySet::builtin(Profile::Protect);
    sources.push(PolicySource::new("mine.cedar", format!("@mask(\"null\") forbid ({NOTE};")));
    s.governance.change_policy(std::sync::Arc::new(PolicySet::compile(&sources).unwrap()));
    s.client(&query("SELECT note FROM people"));
    s.catalogue();
    s.server(&[row_description(&[("note", 20000, 3)]), data_row(&["plain words"])].concat());
    assert!(!String::from_utf8_lossy(&s.to_client).contains("plain words"));
}

/// A rule may add a SELECT to any command: its rows come in answer to that.
#[test]
fn rows_that_a_rule_adds_are_masked() {
    for (text, field) in [
        ("INSERT INTO people VALUES (1)", ("email", 20000, 2)),
        ("UPDATE people SET note = 'x' WHERE id = 1", ("email", 20000, 2)),
        ("DELETE FROM people WHERE id = 1", ("x", 0, 0)),
    ] {
        let mut s = Stage::ready(Class::Person);
        s.client(&query(text));
        assert_eq!(s.server_kinds(), "Q", "{text}");
        s.server(&[row_description(&[field]), data_row(&["not recognisable"])].concat());
        assert!(!String::from_utf8_lossy(&s.to_client).contains("not recognisable"), "{text}");
    }
}

/// More constants than are kept: those of sensitive columns may be among the ones that are not.
#[test]
fn where_not_all_constants_are_known_no_definition_shows_any() {
    let many = |count: usize| (0..count).map(|n| format!("'constant {n}', ")).collect::<String>();
    let parts: Vec<String> = (0..16).map(|_| many(4_096)).collect();
    let mut rows: Vec<Vec<&str>> = parts.iter().map(|part| vec!["j", "20000", "3", part]).collect();
    rows.push(vec!["r", "1255", "pg_catalog", "pg_proc", "r", "81"]);
    rows.push(vec!["c", "1255", "26", "prosrc", "25"]);
    for (last, expected) in [("'a'", "x = 'one word' AND y > 12"), ("'sarcoidosis'", "x = '***' AND y > 12")]
    {
        rows.push(vec!["j", "20000", "2", last]);
        let more: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
        let mut s = Stage::ready_with(Class::Agent, &more);
        s.client(&query("SELECT prosrc FROM pg_proc"));
        s.server(
            &[row_description(&[("prosrc", 1_255, 26)]), data_row(&["x = 'one word' AND y > 12"])].concat(),
        );
        let shown = String::from_utf8_lossy(&s.to_client).into_owned();
        assert!(shown.contains(expected), "{last}: {shown}");
    }
}
