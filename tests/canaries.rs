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

const LABELS: &str = "[[masking.columns]]\ncolumn = \"*.*.hush_*\"\ncategory = \"other\"\n";

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
    /// Columns without a secret, by whether the query names a sensitive column at all.
    innocent: usize,
    innocent_masked: usize,
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
    if truth.iter().any(|m| m.tag == b'E') {
        return;
    }
    score.accepted += 1;
    let (shown, real) = (columns(seen), columns(truth));
    for (at, values) in shown.iter().enumerate() {
        if let Some(value) = values.iter().find(|value| pieces.are_in(value)) {
            panic!("LEAK column {at} shows {:?}\n{form:?}: {sql}", String::from_utf8_lossy(value));
        }
    }
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
        let real: HashSet<&Vec<u8>> = real.iter().collect();
        let masked = shown.iter().any(|value| !real.contains(value));
        score.carrying += usize::from(carries);
        score.masked += usize::from(masked);
        score.needless += usize::from(masked && !carries);
        if !sql.contains("hush_") && !sql.contains(" AS p") {
            score.innocent += 1;
            score.innocent_masked += usize::from(masked);
        }
    }
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
        }
    }
    println!(
        "{} queries, {} accepted by the server, {} denied (COPY and the like); {} result columns: {} carry a secret, \
         {} masked, {} of them without a secret in their values",
        score.queries,
        score.accepted,
        score.denied,
        score.columns,
        score.carrying,
        score.masked,
        score.needless
    );
    println!("governor_lineage: {}", metric(&site));
    assert!(score.accepted * 10 >= score.queries * 7, "the generator makes errors: {score:?}");
    assert!(score.carrying * 5 >= score.columns, "hardly any query reaches a secret: {score:?}");
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
