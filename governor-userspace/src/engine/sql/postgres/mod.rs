//! PostgreSQL: text → facts through the server's own grammar (libpg_query).
//!
//! ```text
//! text ▸ prescan (bounds) ▸ the grammar ▸ one tree for each command ▸ walk (everything in it) ▸ Statement
//! ```
//!
//! The text is cut where the parse tree says, never at `;`. What the grammar refuses is not guessed at.
//! The tree is freed as one memory context, so neither reading nor dropping it recurses.
//!
//! Stack: the grammar keeps its stacks on the heap and gives up at 10,000 levels; the walk's work list
//! is on the heap; only comments in a row cost stack, and the prescan bounds them. A thread with [`PARSER_STACK_BYTES_MIN`] is enough for any text.

mod bodies;
mod change;
mod children;
mod codes;
mod columns;
mod command;
mod constants;
mod copy;
mod fingerprint;
mod functions;
mod lexer;
mod lineage;
mod objects;
mod plpgsql;
mod prescan;
mod same;
mod scope;
mod session;
mod setting;
mod targets;
mod walk;
mod where_clause;

pub use bodies::{Code, standard_body, view_source};
pub use codes::Codes;
pub use command::strength;
pub use constants::{BesideName, Constants, constants};
pub use lineage::{Names, ViewFlows, computes, flows, flows_given, kept_in_passing, lineage};
pub use prescan::{COMMENT_DEPTH_MAX, COMMENTS_IN_A_ROW_MAX, STATEMENT_BYTES_MAX, STATEMENTS_MAX};
pub use setting::weight as setting_weight;

use super::{Script, SqlDialect, fault};
use crate::engine::model::{Mentions, RelationName, Statement, StatementKind, Target, Unknown};
use pg_raw_parse::Node;
use std::sync::Arc;
use targets::ResultList;
use walk::Walk;

/// Stack that a thread calling [`SqlDialect::script`] must have left; tested with the worst texts.
pub const PARSER_STACK_BYTES_MIN: usize = 512 * 1024;

/// PostgreSQL's reading of SQL text under a session's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresDialect {
    /// The session's setting of that name, as the server reported it. While it is off, a text with a
    /// backslash is not understood: the grammar here always reads strings as the standard says.
    pub standard_conforming_strings: bool,
}

impl Default for PostgresDialect {
    fn default() -> Self {
        Self { standard_conforming_strings: true }
    }
}

impl SqlDialect for PostgresDialect {
    fn script(&self, text: &str) -> Script {
        Script { statements: read_guarded(text, self.standard_conforming_strings, Place::Session) }
    }
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Session,
    /// In a function in SQL: `a.f` may be `f(a)` of a parameter.
    Body,
}

fn read_guarded(text: &str, standard_conforming_strings: bool, place: Place) -> Vec<Statement> {
    // The binding asserts some of its beliefs about the tree. Should one be wrong, the statement is
    // not understood; the agent goes on.
    match std::panic::catch_unwind(|| read(text, standard_conforming_strings, place)) {
        Ok(Ok(statements)) => statements,
        Ok(Err(why)) => vec![unknown(text, why)],
        Err(_) => {
            let what = "a tree that the parser's binding cannot read".into();
            vec![unknown(text, Unknown::NotUnderstood { what })]
        }
    }
}

fn read(text: &str, standard_conforming_strings: bool, place: Place) -> Result<Vec<Statement>, Unknown> {
    fault::point("facts");
    prescan::check(text, standard_conforming_strings)?;
    let tree = pg_raw_parse::parse(text).map_err(refusal)?;
    if tree.len() > STATEMENTS_MAX {
        return Err(Unknown::NotUnderstood {
            what: format!("more than {STATEMENTS_MAX} commands in one text"),
        });
    }
    let mut statements = Vec::with_capacity(tree.len().max(1));
    for raw in tree.iter() {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0);
        let end = match usize::try_from(raw.stmt_len) {
            Ok(length) if length > 0 => start.saturating_add(length),
            _ => text.len(),
        };
        let own = text.get(start..end).ok_or_else(|| Unknown::NotUnderstood {
            what: "a command whose place in the text is unclear".into(),
        })?;
        let own = own.trim_matches(is_blank);
        statements.push(statement(raw.stmt(), own.into(), fingerprint::fingerprint(own), place));
    }
    if statements.is_empty() {
        statements.push(empty(text));
    }
    Ok(statements)
}

/// The facts of one command.
fn statement(root: Node<'_>, text: Arc<str>, fingerprint: String, place: Place) -> Statement {
    let results = ResultList::of(root);
    let mut walk = Walk::default();
    walk.place = place;
    walk.run(root, results);

    let command = command::command(root);
    if command.is_none() {
        walk.misunderstood.get_or_insert_with(|| "a command that governor does not know".into());
        walk.kinds.insert(StatementKind::Unknown);
    }
    if changes_catalogue(&walk) {
        walk.kinds.insert(StatementKind::Administration);
    }
    let kinds: Vec<StatementKind> = walk.kinds.into_iter().collect();
    let kind = kinds.iter().copied().max_by_key(|kind| command::strength(*kind));

    let shapes: Option<Vec<Target>> =
        results.map(|list| list.targets().iter().map(targets::target).collect());
    let (mut mentions, each) = walk.columns.finish(shapes.as_ref().map_or(0, Vec::len));
    let mut targets: Option<Vec<Target>> = shapes.map(|shapes| {
        shapes.into_iter().zip(each).map(|(target, mentions)| Target { mentions, ..target }).collect()
    });
    let unknown = match (walk.misunderstood, walk.opaque) {
        (Some(what), _) => Some(Unknown::NotUnderstood { what }),
        (None, Some(by)) => Some(Unknown::DynamicSql { by }),
        (None, None) => None,
    };
    if unknown.is_some() {
        // What the text does not show can draw from anything.
        mentions.every_column = true;
        targets = None;
    }

    let whole = sorted(walk.whole);
    let mut only = sorted(walk.only);
    only.retain(|name| whole.binary_search(name).is_err());
    let inner = match root {
        Node::ExplainStmt(explain) => Some(explain.query()),
        Node::PrepareStmt(prepare) => Some(prepare.query()),
        Node::DeclareCursorStmt(declare) => Some(declare.query()),
        _ => None,
    };
    Statement {
        kind: kind.unwrap_or(StatementKind::Unknown),
        tag: command.map_or_else(|| "UNKNOWN".into(), |command| command.tag.into_owned()),
        reads: sorted(walk.reads),
        writes: sorted(walk.writes),
        functions: sorted(walk.functions),
        dotted: sorted(walk.dotted),
        operators: sorted(walk.operators),
        casts: walk.casts,
        only,
        changes: walk.changes,
        has_where: walk.has_where,
        kinds,
        mentions,
        targets,
        setting: walk.setting,
        prepared_name: walk.prepared_name.map(Into::into),
        session: session::effect(root),
        copy: copy::options(root).map(Box::new),
        // EXPLAIN of DECLARE is the deepest: this goes two levels down.
        inner: inner.map(|node| Box::new(statement(node, text.clone(), fingerprint.clone(), place))),
        unknown,
        text,
        fingerprint,
    }
}

/// Rows of the system's own relations are definitions, rights and settings.
fn changes_catalogue(walk: &Walk<'_>) -> bool {
    use StatementKind as K;
    let rows = [K::Insert, K::Update, K::Delete, K::Merge, K::CopyIn];
    let system = |name: &RelationName| match name.schema.as_deref() {
        Some(schema) => schema == "pg_catalog",
        None => name.name.starts_with("pg_"),
    };
    rows.iter().any(|kind| walk.kinds.contains(kind)) && walk.writes.iter().any(system)
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

fn unknown(text: &str, why: Unknown) -> Statement {
    let text = text.trim_matches(is_blank);
    let fingerprint = match why {
        Unknown::TooLong { .. } => String::new(),
        _ => fingerprint::fingerprint(text),
    };
    Statement { fingerprint, ..Statement::unknown(text.into(), why) }
}

fn empty(text: &str) -> Statement {
    let text = text.trim_matches(is_blank);
    Statement {
        text: text.into(),
        kind: StatementKind::Empty,
        tag: String::new(),
        reads: vec![],
        writes: vec![],
        functions: vec![],
        dotted: vec![],
        operators: vec![],
        casts: false,
        only: vec![],
        changes: vec![],
        has_where: None,
        kinds: vec![StatementKind::Empty],
        mentions: Mentions::default(),
        targets: None,
        setting: None,
        prepared_name: None,
        inner: None,
        session: None,
        copy: None,
        unknown: None,
        fingerprint: fingerprint::fingerprint(""),
    }
}

fn refusal(error: pg_raw_parse::Error) -> Unknown {
    let message = match &error {
        pg_raw_parse::Error::Parse(message) => message.to_string(),
        other => other.to_string(),
    };
    match message.as_str() {
        "memory exhausted" | "stack depth limit exceeded" => Unknown::TooDeep,
        text if text.starts_with("memory exhausted") => Unknown::TooDeep,
        _ => Unknown::Unparsable { message },
    }
}

/// What the server's scanner skips between tokens.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests;
