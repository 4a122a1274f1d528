//! A second reading of SQL (crate sqlparser) against the facts: where both understand a text, it may see no write and
//! no command that the facts do not have.
//!
//! It is a witness in tests and not in the agent: docs/decisions/0023-second-witness.md has the figures behind that.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor::engine::model::{Statement as Facts, StatementKind as Kind};
use governor::engine::sql::{PostgresDialect, SqlDialect};
use sqlparser::ast::{Query, SetExpr, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What became of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// One of the two does not understand it.
    NoOpinion,
    Agree,
    /// A known difference that harms nobody, by its name in [`HARMLESS`].
    Harmless(&'static str),
    Disagree(String),
}

/// Known differences: their name, and whether a text with these commands is one.
type Difference = (&'static str, fn(&str, &[Facts]) -> bool);

/// The witness is wrong in each of them: the server does what the facts say (seen on PostgreSQL 15).
const HARMLESS: &[Difference] = &[
    // It takes everything behind FROM STDIN; for data, also commands. The facts have those commands.
    ("commands behind COPY FROM STDIN", |_, facts| {
        facts.len() > 1 && facts.iter().any(|s| s.kinds.contains(&Kind::CopyIn))
    }),
    // Rights and roles are kinds of their own, and stricter than a drop.
    ("DROP of a role is about rights", |_, facts| facts.iter().any(|s| s.tag == "DROP ROLE")),
];

fn compare(text: &str) -> Verdict {
    let facts = PostgresDialect::default().script(text).statements;
    if facts.iter().any(|statement| statement.kind == Kind::Unknown) {
        return Verdict::NoOpinion;
    }
    let Ok(witness) = Parser::parse_sql(&PostgreSqlDialect {}, text) else { return Verdict::NoOpinion };
    let facts: Vec<Facts> = facts.into_iter().filter(|s| s.kind != Kind::Empty).collect();
    let known = HARMLESS.iter().find(|(_, fits)| fits(text, &facts));
    let why = if witness.len() == facts.len() {
        let missed = witness.iter().zip(&facts).find_map(|(seen, facts)| {
            let mut writes = BTreeSet::new();
            writes_of(seen, &mut writes);
            writes
                .into_iter()
                .find(|kind| !facts.kinds.contains(kind))
                .map(|kind| (kind, facts.kinds.clone()))
        });
        match missed {
            None => return Verdict::Agree,
            Some((kind, kinds)) => format!("it sees {kind:?}, the facts have {kinds:?}"),
        }
    } else {
        format!("it sees {} commands, the facts have {}", witness.len(), facts.len())
    };
    match known {
        Some((name, _)) => Verdict::Harmless(name),
        None => Verdict::Disagree(why),
    }
}

/// Changes of rows and definitions that the witness sees.
fn writes_of(statement: &Statement, writes: &mut BTreeSet<Kind>) {
    match statement {
        Statement::Insert(insert) => {
            writes.insert(Kind::Insert);
            insert.source.iter().for_each(|query| writes_of_query(query, writes));
        }
        Statement::Update { .. } => drop(writes.insert(Kind::Update)),
        Statement::Delete(_) => drop(writes.insert(Kind::Delete)),
        Statement::Merge { .. } => drop(writes.insert(Kind::Merge)),
        Statement::Truncate { .. } => drop(writes.insert(Kind::Truncate)),
        Statement::Drop { .. } | Statement::DropFunction { .. } => drop(writes.insert(Kind::Drop)),
        Statement::Grant { .. } | Statement::Revoke { .. } => drop(writes.insert(Kind::Dcl)),
        Statement::CreateTable { .. } | Statement::CreateView { .. } => drop(writes.insert(Kind::Ddl)),
        Statement::Explain { analyze: true, statement, .. } => writes_of(statement, writes),
        Statement::Query(query) => writes_of_query(query, writes),
        _ => {}
    }
}

fn writes_of_query(query: &Query, writes: &mut BTreeSet<Kind>) {
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        writes_of_query(&cte.query, writes);
    }
    match &*query.body {
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => writes_of(statement, writes),
        SetExpr::Query(query) => writes_of_query(query, writes),
        _ => {}
    }
}

#[test]
fn both_see_the_same_writes() {
    for text in [
        "SELECT 1",
        "SELECT 1; DELETE FROM users",
        "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
        "WITH a AS (SELECT 1) INSERT INTO users SELECT * FROM a",
        "EXPLAIN ANALYZE DELETE FROM users",
        "TRUNCATE users",
        "DROP TABLE users",
        "GRANT SELECT ON users TO public",
        "/* ; */ SELECT ';' -- ; DELETE FROM users",
        "SELECT $$; DELETE FROM users$$",
    ] {
        assert_eq!(compare(text), Verdict::Agree, "{text}");
    }
}

#[test]
fn known_differences_are_those_of_the_table() {
    assert_eq!(
        compare("COPY t FROM STDIN; DELETE FROM users;"),
        Verdict::Harmless("commands behind COPY FROM STDIN")
    );
}

/// Every text that is in the tree, and the server's own regression files where `cargo xtask setup` fetched them.
#[test]
fn the_witness_sees_no_write_that_the_facts_do_not_have() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![];
    for dir in ["tests/bypass", "target/tools/regress"] {
        find_sql(&root.join(dir), &mut files);
    }
    assert!(!files.is_empty(), "the corpus of bypasses is in the tree");
    let (mut agree, mut none, mut harmless, mut disagree) = (0, 0, 0, vec![]);
    let (mut spent, mut texts) = (Duration::ZERO, 0_u32);
    for file in &files {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        for text in texts_of(&text) {
            let begin = Instant::now();
            std::hint::black_box(Parser::parse_sql(&PostgreSqlDialect {}, &text)).ok();
            spent += begin.elapsed();
            texts += 1;
            match compare(&text) {
                Verdict::Agree => agree += 1,
                Verdict::NoOpinion => none += 1,
                Verdict::Harmless(_) => harmless += 1,
                Verdict::Disagree(why) => disagree.push(format!("{}: {why}: {text}", file.display())),
            }
        }
    }
    println!(
        "{} files, {texts} texts: {agree} agree, {none} without an opinion, {harmless} known differences, {} disagree; \
         the witness took {:?} a text in this build",
        files.len(),
        disagree.len(),
        spent / texts.max(1)
    );
    assert!(disagree.is_empty(), "{}", disagree.join("\n"));
}

/// Pieces of a script that end with `;` at the end of a line. What psql would do itself is left out.
fn texts_of(script: &str) -> Vec<String> {
    let mut texts = vec![];
    let mut text = String::new();
    for line in script.lines() {
        text.push_str(line);
        text.push('\n');
        if line.trim_end().ends_with(';') {
            texts.push(std::mem::take(&mut text));
        }
    }
    texts.retain(|text| text.len() < 20_000 && !text.contains('\\') && !text.contains(":'"));
    texts
}

fn find_sql(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_sql(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
}
