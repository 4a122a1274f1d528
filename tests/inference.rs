//! Masking hides values; this is about answers: which rows come, how many, in which order, whether a statement fails.
//!
//! The real definition of "no oracle" is non-interference: two databases that differ only in their secrets give an agent
//! the same bytes. A person gets answers, as many as the inference budget has. `GOVERNOR_CASES` sets the number of random
//! queries, `GOVERNOR_SEED` others.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "canaries/generator.rs"]
mod generator;

use generator::{Dice, Generator, Schema, Type};
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Auth, Class, Options, Site};

const LABELS: &str = "[[masking.columns]]\ncolumn = \"*.*.hush_*\"\ncategory = \"other\"\n";
const SSN: &str = "512-84-9071";

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name).as_deref() {
        Ok("random") => {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
        }
        Ok(number) => number.parse().unwrap(),
        Err(_) => default,
    }
}

fn ask(session: &mut Wire, sql: &str) -> Vec<Message> {
    session.send(&wire::query(sql)).unwrap();
    session.until_ready().unwrap()
}

fn error(reply: &[Message]) -> Option<String> {
    let error = reply.iter().find(|message| message.tag == b'E')?;
    Some(format!("{} {}", error.field(b'C')?, error.field(b'M')?))
}

/// Everything of a reply but the number of governor's decision.
fn bytes(reply: &[Message]) -> Vec<(u8, Vec<u8>)> {
    let of = |message: &Message| match message.tag {
        b'E' | b'N' => {
            let fields = [b'S', b'C', b'M', b'H', b'P', b't', b'c', b'n'];
            let text = fields.map(|field| message.field(field).unwrap_or_default()).join("\n");
            (message.tag, text.into_bytes())
        }
        tag => (tag, message.body.clone()),
    };
    reply.iter().map(of).collect()
}

/// Two databases with the same objects and the same numbers of them; only the secrets differ.
fn plant_twins(site: &Site, dice: &mut Dice, number: usize) -> (Schema, [String; 2]) {
    let names = [format!("twin{number}a"), format!("twin{number}b")];
    let mut made = generator::schema(dice);
    let lines = |inserts: bool| -> String {
        made.script.split_inclusive(";\n").filter(|line| line.starts_with("INSERT") == inserts).collect()
    };
    let (objects, rows) = (lines(false), lines(true));
    let mut other = rows.clone();
    for secret in &made.secrets {
        let turned: String = secret.chars().map(|c| turn(c, dice)).collect();
        other = other.replace(secret, &turned);
    }
    for secret in &made.numbers {
        other = other.replace(&secret.to_string(), &(secret + 1 + dice.below(1_000_000) as i64).to_string());
    }
    assert_ne!(rows, other);
    site.truth(&format!("CREATE DATABASE {}", names[0])).unwrap();
    let functions = "CREATE FUNCTION same_text(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || '''''; \n\
         CREATE FUNCTION pick_text(bigint) RETURNS text LANGUAGE sql STABLE AS \
         'SELECT x.t::text FROM (SELECT t FROM t0 t) x WHERE (x.t).id = $1 LIMIT 1';\n";
    site.postgres.admin(&names[0], &format!("{objects}{functions}")).unwrap();
    for at in 0..8 {
        // Its rows are made when it is refreshed.
        let (sql, relation) = generator::view(dice, &made, at);
        if site.postgres.admin(&names[0], &sql).is_ok() {
            made.relations.push(relation);
        }
    }
    let materialized: String = made
        .relations
        .iter()
        .filter_map(|relation| relation.name.strip_prefix('w')?.parse::<usize>().ok())
        .filter(|at| at % 3 == 2)
        .map(|at| format!("REFRESH MATERIALIZED VIEW w{at};\n"))
        .collect();
    // A copy has the same numbers of objects, which RowDescription tells.
    site.truth(&format!("CREATE DATABASE {} TEMPLATE {}", names[1], names[0])).unwrap();
    for (name, rows) in names.iter().zip([rows, other]) {
        site.postgres.admin(name, &format!("{rows}{materialized}")).unwrap();
    }
    (made, names)
}

/// Another letter or digit.
fn turn(c: char, dice: &mut Dice) -> char {
    let range = match c {
        'a'..='z' => b'a'..=b'z',
        'A'..='Z' => b'A'..=b'Z',
        _ => b'0'..=b'9',
    };
    let all: Vec<u8> = range.collect();
    char::from(*dice.pick(&all))
}

/// A random query, or what an attacker would wrap around one.
fn question(dice: &mut Dice, schema: &Schema) -> String {
    const TYPES: [Type; 5] = [Type::Text, Type::Number, Type::Json, Type::Array, Type::Bool];
    let types: Vec<Type> = (0..2 + dice.below(2)).map(|_| *dice.pick(&TYPES)).collect();
    let query = Generator::new(dice, &schema.relations).query(2, &types);
    let names = ["a", "b", "c"].get(..types.len()).unwrap().join(", ");
    let from = format!("FROM ({query}) AS s({names})");
    match dice.below(16) {
        0 => format!("SELECT count(*) {from}"),
        1 => format!("SELECT a {from} ORDER BY b LIMIT 2"),
        2 => format!("SELECT count(*) {from} GROUP BY a"),
        3 => format!("SELECT count(*) {from} WHERE b::text > 'k'"),
        4 => format!("SELECT a::text::int {from}"),
        5 => format!("SELECT nullif(b::text, 'red') {from}"),
        6 => format!("SELECT rank() OVER (ORDER BY a::text), 1 {from}"),
        7 => format!("SELECT id FROM t0 WHERE EXISTS (SELECT {from} WHERE a IS NOT NULL)"),
        8 => format!("SELECT id FROM t1 LIMIT (SELECT count(*) {from})"),
        9 => format!("EXPLAIN (COSTS OFF) SELECT a {from}"),
        _ => query,
    }
}

#[test]
fn two_databases_that_differ_in_secrets_answer_an_agent_alike() {
    let (cases, seed) = (setting("GOVERNOR_CASES", 600), setting("GOVERNOR_SEED", 20_265));
    println!("GOVERNOR_SEED={seed} GOVERNOR_CASES={cases}");
    let options = Options {
        more: LABELS.into(),
        approval_timeout: "1s",
        server_settings: vec!["autovacuum=off"],
        ..Options::default()
    };
    let site = Site::with(Auth::Trust, &options).unwrap();
    let mut dice = Dice::new(seed);
    let (mut answered, mut denied, mut failed, mut differ_unguarded) = (0, 0, 0, 0);
    let schemas = cases.div_ceil(100);
    for number in 0..schemas {
        let (schema, names) = plant_twins(&site, &mut dice, number as usize);
        let mut agents = names.clone().map(|name| {
            let mut wire = Wire::new(site.socket(Class::Agent).unwrap()).unwrap();
            wire.start("app", &name).unwrap();
            wire
        });
        let mut direct = names.clone().map(|name| {
            let mut wire = Wire::new(site.socket_direct().unwrap()).unwrap();
            wire.start("app", &name).unwrap();
            wire
        });
        for _ in 0..cases / schemas {
            let sql = question(&mut dice, &schema);
            let truth = direct.each_mut().map(|session| ask(session, &sql));
            let told = agents.each_mut().map(|session| ask(session, &sql));
            differ_unguarded += usize::from(bytes(&truth[0]) != bytes(&truth[1]));
            assert_eq!(
                bytes(&told[0]),
                bytes(&told[1]),
                "two secrets, two answers\n{:?}\n{:?}\n{sql}",
                told[0],
                told[1]
            );
            match error(&told[0]) {
                None => answered += 1,
                Some(text) if text.contains("governor denied") => denied += 1,
                Some(_) => failed += 1,
            }
        }
    }
    println!(
        "{answered} answered, {denied} denied, {failed} failed in both; {differ_unguarded} tell the databases apart without governor"
    );
    assert!(answered * 10 >= cases as usize, "hardly anything is answered");
    assert!(differ_unguarded * 8 >= cases as usize, "hardly any query asks for secrets");
}

/// One character after the other, halving what it can be: at most 7 questions for each. What was found so far and the
/// number of questions that were answered; ends at the first that is not.
fn recover(session: &mut Wire) -> (String, usize, Option<String>) {
    let (mut known, mut questions) = (String::new(), 0);
    // Digits and the dash, in the order of the server.
    let letters: Vec<char> = (' '..='~').collect();
    for at in 1..=SSN.len() {
        let (mut low, mut high) = (0, letters.len());
        while high - low > 1 {
            let middle = (low + high) / 2;
            let letter = letters[middle].to_string().replace('\'', "''");
            let reply = ask(
                session,
                &format!(
                    "SELECT count(*) FROM staff WHERE id = 1 AND substr(ssn, {at}, 1) COLLATE \"C\" >= '{letter}'"
                ),
            );
            if let Some(error) = error(&reply) {
                return (known, questions, Some(error));
            }
            questions += 1;
            let row = reply.iter().find(|message| message.tag == b'D').unwrap().row().unwrap();
            if row[0].as_deref() == Some(b"1") { low = middle } else { high = middle }
        }
        known.push(letters[low]);
    }
    (known, questions, None)
}

fn staff(more: &str) -> Site {
    let options = Options { approval_timeout: "1s", more: more.into(), ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    site.truth(&format!(
        "CREATE TABLE staff (id int PRIMARY KEY, ssn text UNIQUE, email text, city text);\n\
         INSERT INTO staff VALUES (1, '{SSN}', 'quash7702@mail.example', 'Oslo');\n\
         INSERT INTO staff SELECT n, 'x' || n, 'm' || n || '@mail.example', 'Rome' FROM generate_series(2, 1000) n;\n\
         GRANT ALL ON staff TO PUBLIC; ANALYZE staff"
    ))
    .unwrap();
    site
}

#[test]
fn counting_queries_recover_a_value_only_without_governor() {
    let site = staff("");
    let (found, questions, _) = recover(&mut site.wire_direct().unwrap());
    println!("without governor: {found} after {questions} questions");
    assert_eq!((found.as_str(), questions <= 77), (SSN, true));

    let (found, questions, refused) = recover(&mut site.wire(Class::Agent).unwrap());
    assert_eq!((found.as_str(), questions), ("", 0));
    let refused = refused.unwrap();
    assert!(refused.contains("public.staff.ssn in WHERE (comparison)"), "{refused}");

    let (found, questions, refused) = recover(&mut site.wire(Class::Person).unwrap());
    let refused = refused.unwrap();
    println!("a person: {found:?} after {questions} questions, then: {refused}");
    assert!(questions >= 16 && found.len() < SSN.len(), "{questions} {found}");
    // Another connection is the same person.
    let (_, questions, _) = recover(&mut site.wire(Class::Person).unwrap());
    assert_eq!(questions, 0);
    let metrics = site.governor.metrics().unwrap();
    let bits: Vec<&str> = metrics.lines().filter(|line| line.starts_with("governor_inference")).collect();
    println!("{}", bits.join("\n"));
}

#[test]
fn thresholds_warn_hold_and_deny() {
    let limits = "[masking.inference]\nwarn_bits = 2\nhold_bits = 4\ndeny_bits = 6\n";
    let site = staff(limits);
    let mut session = site.wire(Class::Person).unwrap();
    let asked = |n: usize| format!("SELECT id FROM staff WHERE id = 1 AND ssn LIKE '{n}%'");
    let mut told = Vec::new();
    for n in 0..6 {
        let reply = ask(&mut session, &asked(n));
        let notice = reply.iter().find(|message| message.tag == b'N').and_then(|m| m.field(b'M'));
        told.push((notice.unwrap_or_default(), error(&reply).unwrap_or_default()));
    }
    assert_eq!((told[0].0.as_str(), told[1].0.as_str()), ("", ""), "{told:?}");
    assert!(told[2].0.contains("up to 3.0 bits in 24 h, more than 2.0"), "{told:?}");
    assert!(told[4].0.contains("holds this statement") && told[4].1.contains("nobody answered"), "{told:?}");
    // Other columns have accounts of their own.
    assert_eq!(error(&ask(&mut session, "SELECT id FROM staff WHERE email LIKE 'x%'")), None);
    // What is denied is denied though somebody would approve it.
    let many = "SELECT id FROM staff WHERE ssn LIKE 'a%' OR ssn LIKE 'b%' OR ssn LIKE 'c%'";
    let refused = error(&ask(&mut session, many)).unwrap();
    assert!(refused.starts_with("42501") && refused.contains("up to 4.0 bits, and 6.0"), "{refused}");
}

#[test]
fn a_service_is_not_counted_and_support_goes_on() {
    let site = staff("");
    let mut service = site.wire(Class::Service).unwrap();
    for n in 0..200 {
        let reply = ask(&mut service, &format!("SELECT id FROM staff WHERE ssn LIKE '{n}%'"));
        assert_eq!(error(&reply), None);
    }
    // A support desk: a hundred customers by their address.
    let mut person = site.wire(Class::Person).unwrap();
    for n in 2..102 {
        let reply =
            ask(&mut person, &format!("SELECT id, city FROM staff WHERE email = 'm{n}@mail.example'"));
        assert_eq!((error(&reply), reply.iter().filter(|m| m.tag == b'D').count()), (None, 1));
    }
    // By what is not masked, as often as one likes, agents too.
    let mut agent = site.wire(Class::Agent).unwrap();
    for n in 0..100 {
        let sql = format!("SELECT ssn, email FROM staff WHERE id = {n} OR city = 'Oslo' ORDER BY id LIMIT 3");
        assert_eq!(error(&ask(&mut agent, &sql)), None);
    }
}

/// Another set of policies lets agents look up and join by whole values.
#[test]
fn a_policy_may_allow_forms() {
    let policy = r#"
@id("agents-look-up")
@reason("agents may look masked data up, and not search in it: {conditions}")
forbid (principal in Governor::Class::"agent", action in Governor::Action::"run", resource)
when { context.conditions_masked }
unless { ["equality", "join"].containsAll(context.condition_forms) };
"#;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("look-up.cedar"), policy).unwrap();
    let more =
        format!("[policy]\ndirectory = {:?}\ndisabled = [\"agents-conditions-denied\"]\n", directory.path());
    let options = Options { more, ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    site.truth("CREATE TABLE letters_to (id int, email text)").unwrap();
    let mut agent = site.wire(Class::Agent).unwrap();
    for sql in [
        "SELECT id FROM people WHERE email = 'nobody@example.com'",
        "SELECT p.id FROM people p JOIN letters_to l ON l.email = p.email",
    ] {
        assert_eq!(error(&ask(&mut agent, sql)), None, "{sql}");
    }
    let refused = error(&ask(&mut agent, "SELECT id FROM people WHERE email LIKE 'a%'")).unwrap();
    assert!(refused.contains("public.people.email in WHERE (pattern)"), "{refused}");
}
