//! The session's own state as policy sees it: what names mean after SET, roles, rollbacks, functions; cursors.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::governor::{field, text};
use governor_tests::wire::Wire;
use governor_tests::{Auth, Class, Options, Site, wire};

/// What may be in the schema `vault` is not read. A bare name may be there where `search_path` is, or may be, so.
const VAULT: &str = r#"
@id("vault-closed")
@reason("the vault is closed")
forbid (principal, action in Governor::Action::"read", resource)
when { context.schemas.contains("vault") };
"#;

/// With it goes the directory of its policies.
struct Place {
    site: Site,
    _policies: tempfile::TempDir,
}

impl std::ops::Deref for Place {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

fn site() -> Place {
    let policies = tempfile::tempdir().unwrap();
    std::fs::write(policies.path().join("vault.cedar"), VAULT).unwrap();
    let options = Options {
        // This suite is about what set_config and functions leave behind, so they may run.
        more: format!(
            "[policy]\ndirectory = {:?}\ndisabled = [\"functions-denied\", \"people-destructive-approved\"]\n",
            policies.path()
        ),
        ..Options::default()
    };
    let site = Site::with(Auth::Trust, &options).unwrap();
    site.truth(
        "CREATE SCHEMA vault; CREATE TABLE vault.orders AS SELECT 'gold'::text AS item; \
         GRANT USAGE ON SCHEMA vault TO PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA vault TO PUBLIC; \
         CREATE FUNCTION public.enter(schema text) RETURNS text LANGUAGE sql AS \
         $$ SELECT pg_catalog.set_config('search_path', schema, false) $$; \
         CREATE FUNCTION public.plain() RETURNS int LANGUAGE sql SET search_path = vault AS $$ SELECT 1 $$; \
         CREATE TABLE public.log (line text); GRANT ALL ON public.log TO PUBLIC; \
         CREATE ROLE vaulted LOGIN; ALTER ROLE vaulted SET search_path = vault",
    )
    .unwrap();
    Place { site, _policies: policies }
}

/// Whether a bare `orders` is taken for what may be in the vault, and what the server says it is.
fn is_vault(client: &mut Wire) -> bool {
    let reply = client.query("SELECT item FROM orders LIMIT 1").unwrap();
    match wire::tags(&reply).as_str() {
        "EZ" => {
            assert_eq!(reply[0].field(b'C').as_deref(), Some("42501"), "{reply:?}");
            true
        }
        "TDCZ" => {
            let row = reply[1].row().unwrap();
            assert_ne!(row[0].as_deref(), Some(&b"gold"[..]), "the vault was read");
            false
        }
        other => panic!("{other}: {reply:?}"),
    }
}

fn run(client: &mut Wire, sql: &str) {
    let reply = client.query(sql).unwrap();
    assert!(!wire::tags(&reply).contains('E'), "{sql}: {reply:?}");
}

#[test]
fn a_bare_name_means_what_search_path_makes_of_it() {
    let site = site();
    let mut person = site.wire(Class::Person).unwrap();
    assert!(!is_vault(&mut person));
    for (set, undo) in [
        ("SET search_path = vault", "SET search_path = public"),
        ("SET search_path = 'vault'", "RESET search_path"),
        ("SET SESSION search_path TO vault, public", "RESET ALL"),
        ("SET SCHEMA 'vault'", "DISCARD ALL"),
        ("BEGIN; SET search_path = vault; COMMIT", "SET search_path TO DEFAULT"),
        ("BEGIN; SET LOCAL search_path = vault", "COMMIT"),
        ("BEGIN; SET search_path = vault", "ROLLBACK"),
        ("BEGIN; SAVEPOINT a; SET search_path = vault", "ROLLBACK TO a; COMMIT"),
    ] {
        run(&mut person, set);
        assert!(is_vault(&mut person), "{set}");
        // Inside a transaction the denial has failed it: ROLLBACK TO brings it back, COMMIT rolls back.
        person.query(undo).unwrap();
        assert!(!is_vault(&mut person), "{undo} after {set}");
    }
}

#[test]
fn a_failed_statement_undoes_what_its_text_had_set() {
    let site = site();
    let mut person = site.wire(Class::Person).unwrap();
    let reply = person.query("SET search_path = vault; SELECT 1/0").unwrap();
    assert!(wire::tags(&reply).contains('E'));
    assert!(!is_vault(&mut person));
    let batch =
        [wire::extended("SET search_path = vault", &[]), wire::extended("SELECT 1/0", &[]), wire::sync()];
    person.send(&batch.concat()).unwrap();
    person.until_ready().unwrap();
    assert!(!is_vault(&mut person));
}

#[test]
fn a_set_counts_for_what_stands_behind_it_in_the_same_text_and_batch() {
    let site = site();
    let mut person = site.wire(Class::Person).unwrap();
    let reply = person.query("SET search_path = vault; SELECT item FROM orders").unwrap();
    assert_eq!(wire::tags(&reply), "EZ", "nothing of it runs");
    assert!(!is_vault(&mut person));
    let batch = [
        wire::extended("SET search_path = vault", &[]),
        wire::extended("SELECT item FROM orders", &[]),
        wire::sync(),
    ];
    person.send(&batch.concat()).unwrap();
    let reply = person.until_ready().unwrap();
    assert!(reply.iter().any(|m| m.field(b'C').as_deref() == Some("42501")), "{reply:?}");
    assert!(!format!("{reply:?}").contains("gold"));
}

#[test]
fn a_role_brings_its_own_path_and_start_up_options_too() {
    let site = site();
    let mut vaulted = Wire::new(site.socket(Class::Person).unwrap()).unwrap();
    vaulted.start("vaulted", "shop").unwrap();
    assert!(is_vault(&mut vaulted), "ALTER ROLE … SET");
    let mut options = Wire::new(site.socket(Class::Person).unwrap()).unwrap();
    let startup = [("user", "app"), ("database", "shop"), ("options", "-c search_path=vault")];
    options.send(&wire::startup_with(0, &startup)).unwrap();
    options.until_ready().unwrap();
    assert!(is_vault(&mut options), "start-up options");
    site.truth("ALTER DATABASE shop SET search_path = vault").unwrap();
    let mut later = site.wire(Class::Person).unwrap();
    assert!(is_vault(&mut later), "ALTER DATABASE … SET");
}

#[test]
fn a_function_that_sets_the_path_is_found_out() {
    let site = site();
    let mut person = site.wire(Class::Person).unwrap();
    run(&mut person, "SELECT public.plain()");
    assert!(!is_vault(&mut person), "a function's own SET does not leak");
    run(&mut person, "SELECT public.enter('vault')");
    assert!(is_vault(&mut person));
    run(&mut person, "SELECT public.enter('public')");
    assert!(!is_vault(&mut person));
    let reply = person.query("SELECT public.enter('vault'); SELECT item FROM orders").unwrap();
    assert_eq!(wire::tags(&reply), "EZ", "in one text it may be anything");
}

#[test]
fn a_trigger_that_sets_the_path_is_found_out() {
    let site = site();
    site.truth(
        "CREATE FUNCTION public.move() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_catalog.set_config('search_path', 'vault', false); RETURN NEW; END $$; \
         CREATE TRIGGER moves BEFORE INSERT ON public.log FOR EACH ROW EXECUTE FUNCTION public.move()",
    )
    .unwrap();
    let mut person = site.wire(Class::Person).unwrap();
    assert!(!is_vault(&mut person));
    run(&mut person, "INSERT INTO public.log VALUES ('x')");
    assert!(is_vault(&mut person));
}

#[test]
fn governors_questions_disturb_nothing_of_the_clients() {
    let site = site();
    let mut person = site.wire(Class::Person).unwrap();
    // An unnamed statement that is parsed in one batch and bound in the next, with a question in between.
    person.send(&[wire::parse("", "SELECT public.enter('public')"), wire::sync()].concat()).unwrap();
    assert_eq!(wire::tags(&person.until_ready().unwrap()), "1Z");
    for _ in 0..2 {
        person.send(&[wire::bind("", "", &[]), wire::execute(""), wire::sync()].concat()).unwrap();
        assert_eq!(wire::tags(&person.until_ready().unwrap()), "2DCZ");
    }
    // A transaction whose snapshot is taken by its first query, not by a question.
    run(&mut person, "BEGIN; SET LOCAL search_path = public; SAVEPOINT a; ROLLBACK TO a; RELEASE a");
    run(&mut person, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
    run(&mut person, "SELECT 1; COMMIT");
    let records = site.governor.events("statement").unwrap();
    assert!(!records.iter().any(|record| text(record, "text").contains("SHOW")), "and are no statements");
}

#[test]
fn fetch_has_the_facts_of_its_cursors_query() {
    let site = site();
    let mut person = site.wire(Class::Person).unwrap();
    let emails = site.truth("SELECT email FROM people").unwrap();
    let cities = site.truth("SELECT upper(city) FROM people ORDER BY id LIMIT 1").unwrap();
    run(&mut person, "BEGIN; DECLARE c CURSOR FOR SELECT upper(city) FROM people ORDER BY id");
    let reply = person.query("FETCH 1 FROM c").unwrap();
    let value = reply[1].row().unwrap()[0].clone().unwrap();
    assert_eq!(String::from_utf8(value).unwrap(), cities, "an expression that draws on nothing sensitive");
    run(&mut person, "DECLARE h CURSOR WITH HOLD FOR SELECT reverse(email) FROM people; COMMIT");
    let reply = person.query("FETCH 3 FROM h").unwrap();
    let shown = format!("{reply:?}");
    assert_eq!(wire::tags(&reply), "TDDDCZ");
    for email in emails.lines() {
        let reversed: String = email.chars().rev().collect();
        assert!(!shown.contains(&reversed), "{shown}");
    }
    let record = site
        .governor
        .wait_for_record("statement", |record| text(record, "text") == "FETCH 3 FROM h")
        .unwrap();
    assert!(field(&record, "executes").to_string().contains("reverse(email)"), "{record}");
}

#[test]
fn execute_is_recorded_with_what_it_runs_and_its_values() {
    let site = site();
    let mut person = site.wire(Class::Person).unwrap();
    run(&mut person, "PREPARE p(int) AS SELECT item FROM public.orders WHERE id = $1");
    run(&mut person, "BEGIN; ROLLBACK; EXECUTE p(7)");
    let record =
        site.governor.wait_for_record("statement", |record| text(record, "text") == "EXECUTE p(7)").unwrap();
    assert!(field(&record, "executes").to_string().contains("FROM public.orders"), "{record}");
    run(&mut person, "DEALLOCATE ALL");
    let reply = person.query("EXECUTE p(7)").unwrap();
    assert_eq!(reply[0].field(b'C').as_deref(), Some("26000"), "{reply:?}");
}
