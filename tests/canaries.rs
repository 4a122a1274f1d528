//! Masking judged by data: secrets are planted, random queries ask for them in every way, and nobody may see one.
//!
//! The generator makes schemas and queries, PostgreSQL accepts most of them, and each runs twice: as an AI agent through
//! governor, and straight to the server. What the server really answers shows which result columns carry a secret and
//! which do not, so that masking everything would show too. `GOVERNOR_CASES` sets the number of queries, `GOVERNOR_SEED`
//! others.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "canaries/generator.rs"]
mod generator;
#[path = "canaries/search.rs"]
mod search;

use generator::{Dice, Generator, Schema, Type};
use governor_tests::wire::{self, Message, Wire};
use governor_tests::{Auth, Class, Options, Site};
use search::Pieces;
use std::collections::HashSet;

/// Conditions are a matter of `inference.rs`: here they are allowed, so that masks are tried with everything.
const LABELS: &str = "[[masking.columns]]\ncolumn = \"*.*.hush_*\"\ncategory = \"other\"\n\
    [policy]\ndisabled = [\"agents-conditions-denied\"]\n";

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name).as_deref() {
        Ok("random") => {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
        }
        Ok(number) => number.parse().unwrap(),
        Err(_) => default,
    }
}

fn site() -> Site {
    Site::with(Auth::Trust, &Options { more: LABELS.into(), ..Options::default() }).unwrap()
}

/// Makes a schema with views in a database of its own: what governor knows of one is read once.
fn plant(site: &Site, dice: &mut Dice, database: &str) -> Schema {
    site.truth(&format!("CREATE DATABASE {database}")).unwrap();
    let mut made = generator::schema(dice);
    let functions = "CREATE FUNCTION same_text(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || '''''; \n\
         CREATE FUNCTION pick_text(bigint) RETURNS text LANGUAGE sql STABLE AS \
         'SELECT x.t::text FROM (SELECT t FROM t0 t) x WHERE (x.t).id = $1 LIMIT 1';\n";
    site.postgres.admin(database, &format!("{}{functions}", made.script)).unwrap();
    let mut views = 0;
    for _ in 0..12 {
        let (sql, relation) = generator::view(dice, &made, views);
        if site.postgres.admin(database, &sql).is_ok() {
            made.relations.push(relation);
            views += 1;
        }
    }
    made
}

#[derive(Debug, Default)]
struct Score {
    queries: usize,
    accepted: usize,
    denied: usize,
    columns: usize,
    carrying: usize,
    masked: usize,
    needless: usize,
    /// Errors and notices where the server's own tell a secret.
    told: usize,
}

/// How a query is sent.
#[derive(Clone, Copy, Debug)]
enum Form {
    Simple,
    Extended(u16),
    Prepared,
    Cursor,
    Copy,
}

fn ask(session: &mut Wire, sql: &str, form: Form) -> Vec<Message> {
    let send = |session: &mut Wire, bytes: Vec<u8>| {
        session.send(&bytes).unwrap();
        session.until_ready().unwrap()
    };
    match form {
        Form::Simple => send(session, wire::query(sql)),
        Form::Extended(format) => {
            let request = [
                wire::parse("", sql),
                wire::bind_formats("", "", &[], &[format]),
                wire::describe(b'P', ""),
                wire::execute(""),
                wire::sync(),
            ];
            send(session, request.concat())
        }
        Form::Prepared => {
            let made = send(session, wire::query(&format!("PREPARE asked AS {sql}")));
            if made.iter().any(|m| m.tag == b'E') {
                return made;
            }
            let rows = send(session, wire::query("EXECUTE asked"));
            send(session, wire::query("DEALLOCATE asked"));
            rows
        }
        Form::Cursor => {
            send(session, wire::query("BEGIN"));
            let mut rows = send(session, wire::query(&format!("DECLARE asked CURSOR FOR {sql}")));
            if !rows.iter().any(|m| m.tag == b'E') {
                rows = send(session, wire::query("FETCH ALL FROM asked"));
            }
            send(session, wire::query("ROLLBACK"));
            rows
        }
        Form::Copy => send(session, wire::query(&format!("COPY ({sql}) TO STDOUT"))),
    }
}

/// Values by column; lines of COPY are one column.
fn columns(reply: &[Message]) -> Vec<Vec<Vec<u8>>> {
    let mut columns: Vec<Vec<Vec<u8>>> = Vec::new();
    for message in reply {
        let row = match message.tag {
            b'D' => message.row().unwrap(),
            b'd' => vec![Some(message.body.clone())],
            _ => continue,
        };
        columns.resize(columns.len().max(row.len()), Vec::new());
        for (column, value) in columns.iter_mut().zip(row) {
            column.extend(value);
        }
    }
    columns
}

fn judge(score: &mut Score, pieces: &Pieces, sql: &str, form: Form, seen: &[Message], truth: &[Message]) {
    score.queries += 1;
    judge_errors(score, pieces, sql, form, seen, truth);
    // A query that fails may have answered before.
    let (shown, real) = (columns(seen), columns(truth));
    for (at, values) in shown.iter().enumerate() {
        if let Some(value) = values.iter().find(|value| pieces.are_in(value)) {
            panic!("LEAK column {at} shows {:?}\n{form:?}: {sql}", String::from_utf8_lossy(value));
        }
    }
    if truth.iter().any(|m| m.tag == b'E') {
        return;
    }
    score.accepted += 1;
    if seen.iter().any(|m| m.tag == b'E') {
        let error = seen.iter().find(|m| m.tag == b'E').unwrap();
        assert!(
            error.field(b'M').is_some_and(|m| m.contains("governor denied")),
            "{error:?}\n{form:?}: {sql}"
        );
        score.denied += 1;
        return;
    }
    for (shown, real) in shown.iter().zip(&real) {
        score.columns += 1;
        let carries = real.iter().any(|value| pieces.are_in(value));
        // NULL in place of a value makes fewer.
        let fewer = shown.len() < real.len();
        let real: HashSet<&Vec<u8>> = real.iter().collect();
        let masked = fewer || shown.iter().any(|value| !real.contains(value));
        score.carrying += usize::from(carries);
        score.masked += usize::from(masked);
        score.needless += usize::from(masked && !carries);
        if masked && !carries && std::env::var_os("GOVERNOR_SHOW_NEEDLESS").is_some() {
            println!("needless: {form:?}: {sql}");
        }
    }
}

/// Errors and notices, too, tell values.
fn judge_errors(
    score: &mut Score,
    pieces: &Pieces,
    sql: &str,
    form: Form,
    seen: &[Message],
    truth: &[Message],
) {
    for message in seen.iter().filter(|m| !b"DdS".contains(&m.tag)) {
        assert!(!pieces.are_in(&message.body), "LEAK {message:?}\n{form:?}: {sql}");
    }
    let (told, telling) = (
        seen.iter().any(|m| b"EN".contains(&m.tag)),
        truth.iter().any(|m| b"EN".contains(&m.tag) && pieces.are_in(&m.body)),
    );
    score.told += usize::from(told && telling);
}

#[test]
fn no_random_query_brings_a_secret_to_an_agent() {
    let (cases, seed) = (setting("GOVERNOR_CASES", 600), setting("GOVERNOR_SEED", 20_261));
    println!("GOVERNOR_SEED={seed} GOVERNOR_CASES={cases}");
    let site = site();
    let mut score = Score::default();
    let mut dice = Dice::new(seed);
    let schemas = cases.div_ceil(100);
    for number in 0..schemas {
        let database = format!("planted{number}");
        let schema = plant(&site, &mut dice, &database);
        let pieces = Pieces::new(&schema.secrets, &schema.numbers);
        let connect = |socket| {
            let mut session = Wire::new(socket).unwrap();
            session.start("app", &database).unwrap();
            session
        };
        let mut agent = connect(site.socket(Class::Agent).unwrap());
        let mut direct = connect(site.socket_direct().unwrap());
        for _ in 0..cases / schemas {
            let types: Vec<Type> = (0..1 + dice.below(4))
                .map(|_| {
                    *dice.pick(&[Type::Text, Type::Text, Type::Number, Type::Json, Type::Array, Type::Bool])
                })
                .collect();
            let sql = Generator::new(&mut dice, &schema.relations).query(3, &types);
            let form = match dice.below(12) {
                0..=4 => Form::Simple,
                5 | 6 => Form::Extended(0),
                7 | 8 => Form::Extended(1),
                9 => Form::Prepared,
                10 => Form::Cursor,
                _ => Form::Copy,
            };
            let truth = ask(&mut direct, &sql, form);
            let seen = ask(&mut agent, &sql, form);
            judge(&mut score, &pieces, &sql, form, &seen, &truth);
            if dice.chance(15) {
                let sql = format!("SELECT ('' || q)::int FROM ({sql}) q");
                let truth = ask(&mut direct, &sql, form);
                let seen = ask(&mut agent, &sql, form);
                judge_errors(&mut score, &pieces, &sql, form, &seen, &truth);
            }
        }
    }
    println!(
        "{} queries, {} accepted by the server, {} denied (COPY and the like); {} result columns: {} carry a secret, \
         {} masked, {} of them without a secret in their values; {} errors and notices that tell one where nothing masks",
        score.queries,
        score.accepted,
        score.denied,
        score.columns,
        score.carrying,
        score.masked,
        score.needless,
        score.told
    );
    println!("governor_lineage: {}", metric(&site));
    assert!(score.accepted * 10 >= score.queries * 7, "the generator makes errors: {score:?}");
    assert!(score.carrying * 6 >= score.columns, "hardly any query reaches a secret: {score:?}");
    assert!(score.told * 60 >= score.queries, "hardly any error tells a secret: {score:?}");
    assert!(score.masked < score.columns, "everything is masked: {score:?}");
}

fn metric(site: &Site) -> String {
    let metrics = site.governor.metrics().unwrap();
    metrics
        .lines()
        .filter(|line| line.contains("lineage") && !line.starts_with('#'))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Every shape of the promise by hand, on the demo database: no e-mail address, number or name of a person comes out.
#[test]
fn no_shape_of_a_statement_brings_a_value_out() {
    // Nobody answers a hold.
    let site = Site::with(Auth::Trust, &Options { approval_timeout: "1s", ..Options::default() }).unwrap();
    site.truth(
        "CREATE VIEW v AS SELECT id, email AS e FROM people; CREATE VIEW vv AS SELECT id, upper(e) AS u FROM v;\n\
         CREATE MATERIALIZED VIEW m AS SELECT id, email AS e FROM people;\n\
         CREATE TABLE parent (id int, x text) PARTITION BY RANGE (id);\n\
         CREATE TABLE part PARTITION OF parent DEFAULT;\n\
         CREATE FUNCTION mail(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT email FROM people WHERE id = $1';\n\
         CREATE FUNCTION mails() RETURNS TABLE (a text) LANGUAGE sql STABLE AS 'SELECT email FROM people';\n\
         CREATE FUNCTION opaque(int) RETURNS text LANGUAGE plpgsql STABLE AS \
         'BEGIN RETURN (SELECT email FROM people WHERE id = $1); END';",
    )
    .unwrap();
    let emails = site.truth("SELECT email FROM people").unwrap();
    let secrets: Vec<String> =
        emails.lines().map(|email| email.split('@').next().unwrap_or_default().to_owned()).collect();
    let pieces = Pieces::new(&secrets, &[]);
    let scripts = [
        "SELECT email AS x FROM people",
        "SELECT (SELECT email FROM people p WHERE p.id = q.id) AS x FROM people q",
        "WITH c AS (SELECT email AS x FROM people) SELECT x || '' FROM c",
        "SELECT e FROM v",
        "SELECT lower(u) FROM vv",
        "SELECT e || '' FROM m",
        "SELECT u FROM vv",
        "SELECT city FROM people UNION ALL SELECT email FROM people",
        "SELECT max(email), string_agg(email, ',') FROM people",
        "SELECT array_agg(email) FROM people",
        "SELECT CASE WHEN true THEN email END, email::varchar(40), email COLLATE \"C\" FROM people",
        "SELECT p FROM people p",
        "SELECT row_to_json(p) FROM people p",
        "SELECT (p).email || '' FROM people p",
        "SELECT reverse(email), encode(convert_to(email, 'UTF8'), 'base64'), substr(email, 2) FROM people",
        "SELECT mail(id), mails() FROM people LIMIT 9",
        "SELECT a FROM mails()",
        "SELECT opaque(id) FROM people",
        "SELECT string_agg(c, '' ORDER BY n) FROM people p, generate_series(1, 30) n, \
         (SELECT chr(x) AS c FROM generate_series(33, 126) x) l WHERE substr(p.email, n, 1) = c GROUP BY p.id",
        "BEGIN; DECLARE k CURSOR FOR SELECT upper(email) FROM people; FETCH ALL FROM k; COMMIT",
        "PREPARE k AS SELECT upper(email) FROM people; EXECUTE k; DEALLOCATE k",
        "COPY (SELECT upper(email) FROM people) TO STDOUT",
        "COPY people (email) TO STDOUT",
        "COPY (SELECT email FROM people) TO STDOUT (FORMAT csv)",
        "COPY (SELECT email FROM people) TO STDOUT (FORMAT binary)",
        "COPY v TO STDOUT",
    ];
    let for_people = [
        "CREATE TEMP TABLE t1 AS SELECT email AS y, id FROM people; SELECT y FROM t1; SELECT y || '' FROM t1",
        "SELECT email AS y INTO TEMP t2 FROM people; SELECT upper(y) FROM t2",
        "CREATE TEMP VIEW t3 AS SELECT upper(email) AS y FROM people; SELECT y || '' FROM t3",
        "CREATE TEMP TABLE t4 (y text); INSERT INTO t4 SELECT email FROM people; SELECT upper(y) FROM t4",
        "CREATE TEMP TABLE orders AS SELECT email AS item FROM people; SELECT upper(item) FROM orders",
        "BEGIN; UPDATE people SET city = email WHERE id < 9 RETURNING city; ROLLBACK",
        "BEGIN; UPDATE people SET city = email WHERE id < 9 RETURNING upper(city); ROLLBACK",
        "BEGIN; INSERT INTO parent SELECT id, email FROM people RETURNING x; ROLLBACK",
        "BEGIN; WITH d AS (DELETE FROM orders WHERE id = 1 RETURNING person_id) SELECT p.email || '' FROM people p, d; ROLLBACK",
    ];
    let mut with_rows = 0;
    let people = scripts.iter().chain(&for_people).map(|script| (Class::Person, script));
    for (class, script) in scripts.iter().map(|script| (Class::Agent, script)).chain(people) {
        // One after the other, and all in one text.
        let single: Vec<&str> = script.split("; ").collect();
        for texts in [single, vec![*script]] {
            let mut session = site.wire(class).unwrap();
            for text in texts {
                let reply = session.query(text).unwrap();
                with_rows += usize::from(reply.iter().any(|message| message.tag == b'D'));
                for (at, values) in columns(&reply).iter().enumerate() {
                    let found = values.iter().find(|value| pieces.are_in(value));
                    let shown = found.map(|value| String::from_utf8_lossy(value).into_owned());
                    assert_eq!(shown, None, "column {at} for a {class:?}: {text} ({script})");
                }
            }
        }
    }
    println!("{with_rows} replies with rows");
    assert!(with_rows > 80, "most of it was refused: {with_rows}");
}

/// Masking everything would pass the tests above.
#[test]
fn what_draws_from_nothing_sensitive_is_shown() {
    let site = Site::start().unwrap();
    let of_people = [
        "SELECT upper(city) || id FROM people WHERE email <> '' ORDER BY 1",
        "SELECT count(*), count(DISTINCT email) FROM people",
    ];
    let of_agents = [
        "SELECT upper(city) || id FROM people WHERE email IS NOT NULL ORDER BY 1",
        "WITH c AS (SELECT city, email FROM people) SELECT city || '!' FROM c ORDER BY 1",
        "SELECT lower(item) FROM orders UNION SELECT city FROM people ORDER BY 1",
        "SELECT count(*), count(email) FROM people",
        "SELECT p.city, sum(o.total), string_agg(o.item, ',' ORDER BY o.id) FROM people p JOIN orders o ON o.person_id = p.id GROUP BY p.city ORDER BY 1",
        "SELECT row_to_json(s) FROM (SELECT id, item FROM orders ORDER BY id LIMIT 5) s",
        "SELECT array_agg(item ORDER BY id) FROM orders",
        "PREPARE k AS SELECT upper(city) FROM people ORDER BY id; EXECUTE k",
        "SELECT to_char(now(), 'YYYY'), current_user::text, 1 + 1",
    ];
    let people = of_people.iter().map(|script| (Class::Person, script));
    for (class, script) in of_agents.iter().map(|script| (Class::Agent, script)).chain(people) {
        let (through, direct) = (
            site.psql(class, &format!("{script};")).unwrap(),
            site.psql_direct(&format!("{script};")).unwrap(),
        );
        assert_eq!(through.out(), direct.out(), "{script}");
    }
}
