//! A second reading of a text (crate sqlparser), which can make a verdict stricter and never laxer.
//!
//! Facts come from the server's own grammar; what can be wrong is governor's walk over its tree. So another parser with another tree and
//! another walk is asked what it sees. Where it sees more commands, a write, or a relation behind FROM that the facts do not have, the
//! facts stand, and are not the whole truth: the statement is Unknown as well, which policy denies to people and agents unless told
//! otherwise. Where it sees less, or understands nothing, nothing changes: it is wrong about PostgreSQL in known ways
//! (docs/decisions/0063-second-reading.md).
//!
//! It helps against faults nobody knows of. Who knows one can write their text so that the other parser does not understand it.

use crate::engine::model::{Statement as Facts, StatementKind as Kind, Unknown};
use sqlparser::ast::{Ident, ObjectName, Query, Statement, TableFactor, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Tokenizer;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// What the second reading says of the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondReading {
    /// It sees nothing that the facts do not have.
    Agrees,
    /// It does not understand the text, or was not asked: too long.
    NoOpinion,
    /// It sees what the facts do not have.
    SeesMore { what: String },
}

/// Longer texts are not read a second time.
pub const SECOND_READING_BYTES_MAX: usize = 16 << 10;
/// Nor are those of more words and signs: its tree is as deep as a chain of operators is long, and it is freed by recursion.
const TOKENS_MAX: usize = 4_000;
/// Nested parentheses and queries.
const DEPTH_MAX: usize = 40;

/// Reads `text` again and holds it against `facts`, those of the same text. Never panics; bounded in time and stack for any input.
pub fn second_reading(text: &str, facts: &[Facts]) -> SecondReading {
    if text.len() > SECOND_READING_BYTES_MAX || facts.iter().any(|statement| statement.unknown.is_some()) {
        return SecondReading::NoOpinion;
    }
    // Whatever happens in there, the facts stand.
    std::panic::catch_unwind(|| {
        super::fault::point("second reading");
        read(text, facts)
    })
    .unwrap_or(SecondReading::NoOpinion)
}

/// The same facts, of which is known that they are not the whole truth.
pub fn doubted(facts: &[Facts], what: &str) -> Vec<Facts> {
    let why = Unknown::NotUnderstood { what: format!("a second reading of the text sees {what}") };
    let mut doubted = facts.to_vec();
    doubted.iter_mut().for_each(|statement| doubt(statement, &why));
    doubted
}

/// Also of what it would run later: an EXECUTE is judged by the inner statement of its PREPARE.
fn doubt(statement: &mut Facts, why: &Unknown) {
    statement.unknown.get_or_insert_with(|| why.clone());
    statement.mentions.every_column = true;
    statement.targets = None;
    if let Some(inner) = &mut statement.inner {
        doubt(inner, why);
    }
}

fn read(text: &str, facts: &[Facts]) -> SecondReading {
    let dialect = PostgreSqlDialect {};
    let Ok(tokens) = Tokenizer::new(&dialect, text).tokenize_with_location() else {
        return SecondReading::NoOpinion;
    };
    if tokens.len() > TOKENS_MAX {
        return SecondReading::NoOpinion;
    }
    let parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let Ok(seen) = { parser }.parse_statements() else { return SecondReading::NoOpinion };
    let facts: Vec<&Facts> = facts.iter().filter(|statement| statement.kind != Kind::Empty).collect();
    if seen.len() > facts.len() {
        return more(format!("{} commands, the grammar {}", seen.len(), facts.len()));
    }
    // It takes all that is behind COPY … FROM STDIN for data, also commands.
    if seen.len() < facts.len() {
        return SecondReading::NoOpinion;
    }
    let mut sight = Sight::default();
    for (seen, facts) in seen.iter().zip(facts) {
        sight.clear();
        if matches!(seen, Statement::Explain { analyze: false, .. }) {
            continue;
        }
        let _ = seen.visit(&mut sight);
        if let Some(kind) = sight.kinds.iter().find(|kind| !has_kind(facts, **kind)) {
            return more(format!("{} in it, the grammar does not", kind.as_str()));
        }
        if let Some(name) = sight.relations().find(|name| !names(facts, name)) {
            return more(format!("a relation {name} in it, the grammar does not"));
        }
    }
    SecondReading::Agrees
}

fn more(what: String) -> SecondReading {
    SecondReading::SeesMore { what }
}

/// What one command is seen to do.
#[derive(Default)]
struct Sight {
    kinds: BTreeSet<Kind>,
    from: BTreeSet<String>,
    common: BTreeSet<String>,
}

impl Sight {
    fn clear(&mut self) {
        self.kinds.clear();
        self.from.clear();
        self.common.clear();
    }

    /// Relations behind FROM that no WITH of the command names. By their bare names: which schema is meant is not its to say.
    fn relations(&self) -> impl Iterator<Item = &String> {
        self.from.difference(&self.common)
    }
}

impl Visitor for Sight {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let kind = match statement {
            Statement::Insert(_) => Kind::Insert,
            Statement::Update { .. } => Kind::Update,
            Statement::Delete(_) => Kind::Delete,
            Statement::Merge { .. } => Kind::Merge,
            Statement::Truncate { .. } => Kind::Truncate,
            Statement::Drop { .. } | Statement::DropFunction { .. } => Kind::Drop,
            Statement::Grant { .. } | Statement::Revoke { .. } => Kind::Dcl,
            Statement::CreateTable { .. } | Statement::CreateView { .. } => Kind::Ddl,
            _ => return ControlFlow::Continue(()),
        };
        self.kinds.insert(kind);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.common.insert(folded(&table.alias.name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        // A name with arguments is a function.
        if let TableFactor::Table { name, args: None, .. } = factor
            && let Some(name) = plain(name)
        {
            self.from.insert(name);
        }
        ControlFlow::Continue(())
    }
}

/// The last part of a name, where both readings must spell it alike.
fn plain(name: &ObjectName) -> Option<String> {
    let last = name.0.last()?.as_ident()?;
    let name = folded(last);
    // ONLY is no name where it is not quoted, and longer ones are cut by the server.
    let is_plain = name.is_ascii() && name.len() < 64 && !(last.quote_style.is_none() && name == "only");
    is_plain.then_some(name)
}

fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

fn has_kind(facts: &Facts, kind: Kind) -> bool {
    // What is dropped may be a right or a role, which are a kind of their own, and the stricter one.
    let has = |kind| facts.kinds.contains(&kind);
    has(kind)
        || (kind == Kind::Drop && has(Kind::Dcl))
        || facts.inner.as_deref().is_some_and(|inner| has_kind(inner, kind))
}

fn names(facts: &Facts, name: &str) -> bool {
    facts.reads.iter().chain(&facts.writes).any(|relation| relation.name == name)
        || facts.functions.iter().any(|function| function.name == name)
        || facts.inner.as_deref().is_some_and(|inner| names(inner, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::{PARSER_STACK_BYTES_MIN, PostgresDialect, SqlDialect};

    fn facts(text: &str) -> Vec<Facts> {
        PostgresDialect::default().script(text).statements
    }

    #[test]
    fn both_see_the_same() {
        for text in [
            "SELECT 1",
            "SELECT 1; DELETE FROM users",
            "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
            "WITH a AS (SELECT 1) INSERT INTO users SELECT * FROM a",
            "EXPLAIN ANALYZE DELETE FROM users",
            "EXPLAIN DELETE FROM users",
            "PREPARE p AS DELETE FROM users WHERE id IN (SELECT id FROM old)",
            "TRUNCATE users",
            "DROP TABLE users",
            "DROP ROLE reader",
            "GRANT SELECT ON users TO public",
            "/* ; */ SELECT ';' -- ; DELETE FROM users",
            "SELECT $$; DELETE FROM users$$",
            r#"SELECT * FROM "Users" u, s.Orders o, generate_series(1, 3) g, LATERAL (SELECT * FROM ONLY items) i"#,
        ] {
            assert_eq!(second_reading(text, &facts(text)), SecondReading::Agrees, "{text}");
        }
    }

    /// The facts of another text stand for facts that have a fault.
    #[test]
    fn what_the_facts_lack_is_told() {
        for (text, faulty, what) in [
            ("DELETE FROM users", "SELECT FROM users", "delete in it"),
            ("WITH a AS (UPDATE u SET b = 1 RETURNING b) SELECT b FROM a", "SELECT b FROM u", "update in it"),
            ("SELECT 1; SELECT 2", "SELECT 1", "2 commands"),
            (
                "SELECT a FROM t WHERE b IN (SELECT c FROM (SELECT c FROM secrets) s)",
                "SELECT a FROM t",
                "secrets",
            ),
            ("SELECT (SELECT password FROM accounts LIMIT 1)", "SELECT 1", "a relation accounts"),
        ] {
            let SecondReading::SeesMore { what: told } = second_reading(text, &facts(faulty)) else {
                panic!("{text}: nothing told");
            };
            assert!(told.contains(what), "{text}: {told}");
        }
    }

    /// It only ever adds doubt.
    #[test]
    fn doubt_takes_nothing_away() {
        let before =
            facts("SELECT name FROM people; DELETE FROM people; PREPARE p AS SELECT name FROM people");
        let after = doubted(&before, "an INSERT");
        assert!(after[2].inner.as_ref().is_some_and(|inner| inner.unknown.is_some()), "EXECUTE runs it");
        for (before, after) in before.iter().zip(&after) {
            assert!(after.unknown.as_ref().is_some_and(|why| why.cause() == "not_understood"));
            assert!(after.mentions.every_column && after.targets.is_none());
            assert_eq!(
                (&after.kinds, &after.reads, &after.writes),
                (&before.kinds, &before.reads, &before.writes)
            );
        }
    }

    #[test]
    fn the_worst_texts_need_no_more_stack_than_the_grammar() {
        let half = SECOND_READING_BYTES_MAX / 2 - 10;
        let worst = [
            format!("SELECT 1{}", "+1".repeat(half)),
            format!("SELECT {}1{}", "(".repeat(half / 2), ")".repeat(half / 2)),
            format!("SELECT {}1", "- ".repeat(half)),
            format!("SELECT {}1", "NOT ".repeat(half / 2)),
            format!("SELECT 1{}", " UNION SELECT 1".repeat(1000)),
            format!("SELECT a{}", "[1]".repeat(half / 2)),
            format!("SELECT a{}", "::int".repeat(half / 3)),
            format!("SELECT * FROM a{}", " JOIN b ON 1=1".repeat(1000)),
            format!("SELECT * FROM {}a{}", "(SELECT * FROM ".repeat(39), ") x".repeat(39)),
            format!("SELECT {}1{}", "CASE WHEN 1=1 THEN ".repeat(300), " END".repeat(300)),
            format!("SELECT a{}", " AND a".repeat(half / 3)),
            format!("SELECT {}a", "a.".repeat(half)),
            "/*".repeat(half),
        ];
        for text in worst {
            let read = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES_MIN).spawn(move || {
                let faulty = facts("SELECT a FROM a, b");
                second_reading(&text, &faulty)
            });
            read.unwrap().join().unwrap();
        }
    }
}
