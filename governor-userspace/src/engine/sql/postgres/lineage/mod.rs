//! Result column → base columns: what flows where, by abstract interpretation of the parse tree.
//!
//! ```text
//! command ▸ statement.rs ▸ query.rs (WITH, SELECT, set operations, VALUES) ▸ from.rs (what FROM brings into scope)
//!                            └▸ expression.rs (what an expression draws from) ▸ function.rs (what a call does)
//!         names are looked up in scope.rs, relations in relation.rs; value.rs is what is passed around
//! ```
//!
//! Names are resolved as the server resolves them. Three kinds of flow are told apart: values (`sources`), what only
//! chooses among values (`implicit`: conditions, comparisons, positions), and doubt. A predicate also links the
//! columns that it names: after `WHERE substr(p.ssn, 1, 1) = c.letter` the letter tells of the number.
//!
//! Views and user tables stand for themselves; [`ViewFlows`] says what a view's columns come from.
//!
//! Invariant: a node that is not handled by name answers [`Doubt::Syntax`], a name that is not found
//! [`Doubt::UnknownColumn`] or [`Doubt::UnknownRelation`]; nothing is passed over as "no source". Nesting, work and the
//! length of the text are bounded; expressions are walked on the heap, only queries in queries cost stack.

mod alike;
mod beside;
mod column_name;
mod condition;
mod definitions;
mod documents;
mod expression;
mod from;
mod function;
mod kept;
mod known_functions;
mod parameters;
mod passing;
mod query;
mod relation;
mod returning;
mod row;
mod scope;
mod settings;
mod statement;
mod temporary;
mod total;
mod under;
mod value;
mod views;
mod wholeness;

pub use known_functions::computes;
pub use passing::kept_in_passing;
pub use views::ViewFlows;

use super::codes::Codes;
use super::prescan;
use crate::engine::model::{
    Catalogue, Changing, Clause, Conditions, Doubt, Lineage, Oid, SearchPath, Temporary,
};
use crate::engine::sql::fault;
use pg_raw_parse::list::CastNodeList;
use pg_raw_parse::nodes::RawStmt;
use pg_raw_parse::{Node, Owned};
use scope::Level;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use value::{Rows, Value};

/// What names mean where a statement runs.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    pub catalogue: &'a Catalogue,
    /// What code in it does, as far as it was read.
    pub codes: &'a Codes,
    pub search_path: &'a SearchPath,
    /// What a name without a schema, or in `pg_temp`, means among the session's temporary relations.
    pub temporary: &'a dyn Fn(&str) -> Temporary,
}

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("search_path", &self.search_path).finish_non_exhaustive()
    }
}

/// The lineage of the rows of one command: its own, or those of the query that it prepares, declares, stores, copies.
///
/// Pure, bounded in time and stack for any text ([`PARSER_STACK_BYTES_MIN`](super::PARSER_STACK_BYTES_MIN)).
pub fn lineage(text: &str, names: &Names<'_>) -> Lineage {
    flows(text, names).0
}

/// The same, and every condition of the command: what has a say in its answer without being shown.
pub fn flows(text: &str, names: &Names<'_>) -> (Lineage, Conditions) {
    flows_given(text, names, &BTreeSet::new())
}

/// The same where these parameters are tokens of values: comparisons with nothing else are no conditions.
pub fn flows_given(text: &str, names: &Names<'_>, tokens: &BTreeSet<u16>) -> (Lineage, Conditions) {
    // As for facts: a belief of the binding about the tree that is wrong makes this unknown, nothing worse.
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fault::point("lineage");
        let tree = parse(text)?;
        let shared = Shared { tokens: tokens.clone(), ..Shared::new(names) };
        let command = one(&tree)?;
        let mut analysis = shared.analysis(names.search_path);
        // Others put their queries' values elsewhere, or show how they are planned.
        analysis.is_own_text =
            matches!(command, Node::SelectStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_));
        let rows = analysis.command(command)?;
        shared.note_policies()?;
        shared.note_classes()?;
        let lineage = match rows {
            None => Lineage::NoRows,
            Some(rows) => rows.lineage(),
        };
        let compared = shared.compared_parameters(command)?;
        let mut conditions = shared.conditions.into_inner();
        conditions.compared = compared;
        Ok((lineage, conditions))
    }));
    let unknown = |doubt| (Lineage::Unknown(doubt), Conditions::unknown(doubt));
    match read {
        Ok(Ok(found)) => found,
        Ok(Err(doubt)) => unknown(doubt),
        Err(_) => unknown(Doubt::Unparsed),
    }
}

type Tree = Owned<CastNodeList<RawStmt>>;

fn parse(text: &str) -> Result<Tree, Doubt> {
    prescan::check(text, true).map_err(|_| Doubt::Unparsed)?;
    Ok(pg_raw_parse::parse(text).map_err(|_| Doubt::Unparsed)?.into_inner())
}

/// The only command of a text.
fn one(tree: &Tree) -> Result<Node<'_>, Doubt> {
    let mut commands = tree.iter();
    match (commands.next(), commands.next()) {
        (Some(command), None) => Ok(command.stmt()),
        _ => Err(Doubt::Unparsed),
    }
}

/// What all texts of one question share: a statement, and the bodies of the functions that it calls.
struct Shared<'n> {
    names: Names<'n>,
    steps_left: Cell<u32>,
    depth: Cell<u32>,
    /// What comes out of a function beside its arguments; `None` while that is being found.
    bodies: RefCell<HashMap<Oid, Option<Value>>>,
    /// Whether a function puts something where a later statement finds it.
    kept: RefCell<HashMap<Oid, bool>>,
    /// Writes whose effects beside the row are noted.
    written: RefCell<HashSet<(Oid, Changing)>>,
    temporary: RefCell<HashMap<Arc<str>, Option<Rows>>>,
    conditions: RefCell<Conditions>,
    /// What is read now was run before: its conditions are not this statement's.
    is_past: Cell<bool>,
    /// Parameters that are tokens.
    tokens: BTreeSet<u16>,
    uses: RefCell<parameters::Uses>,
}

impl<'n> Shared<'n> {
    fn new(names: &Names<'n>) -> Self {
        Self {
            names: *names,
            steps_left: Cell::new(STEPS_MAX),
            depth: Cell::new(0),
            bodies: RefCell::default(),
            kept: RefCell::default(),
            written: RefCell::default(),
            temporary: RefCell::default(),
            conditions: RefCell::default(),
            is_past: Cell::new(false),
            tokens: BTreeSet::new(),
            uses: RefCell::default(),
        }
    }

    /// Pays for work.
    fn spend(&self, steps: usize) -> Result<(), Doubt> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let left = self.steps_left.get().checked_sub(steps).ok_or(Doubt::TooMuch)?;
        self.steps_left.set(left);
        Ok(())
    }

    /// Goes one level down for the time of `inside`.
    fn nested<T>(&self, inside: impl FnOnce() -> Result<T, Doubt>) -> Result<T, Doubt> {
        if self.depth.get() >= DEPTH_MAX {
            return Err(Doubt::TooDeep);
        }
        self.depth.set(self.depth.get() + 1);
        let result = inside();
        self.depth.set(self.depth.get() - 1);
        result
    }

    fn analysis<'s, 't>(&'s self, path: &'s SearchPath) -> Analysis<'s, 't> {
        Analysis {
            shared: self,
            path,
            levels: Vec::new(),
            ctes: Vec::new(),
            parameters: &[],
            references: None,
            clause: Clause::Result,
            is_noted: false,
            is_key: false,
            is_own_text: false,
            under: under::Under::default(),
        }
    }
}

/// The reading of one text: what is in scope at the place that is read.
struct Analysis<'s, 't> {
    shared: &'s Shared<'s>,
    path: &'s SearchPath,
    /// Outermost query first.
    levels: Vec<Level>,
    /// Outermost first; the last of a name counts.
    ctes: Vec<query::Cte<'t>>,
    /// Names of arguments, inside a function's body.
    parameters: &'s [Arc<str>],
    /// Columns that a predicate names, while one is read: level and slot.
    references: Option<Vec<(usize, usize)>>,
    /// Which clause is read, for conditions.
    clause: Clause,
    /// All of what is read counts as one condition: its parts are none of their own.
    is_noted: bool,
    /// Of a key of ORDER BY or GROUP BY, which is one condition, comparisons are looked at all the same.
    is_key: bool,
    /// It is the command's own, and a bound value serves nothing but its answer.
    is_own_text: bool,
    /// Of the part of an expression that is read.
    under: under::Under,
}

/// Steps for one statement: nodes read, columns brought into scope, sources merged. About 5 ms.
const STEPS_MAX: u32 = 100_000;
/// Queries inside queries, joins inside brackets, functions that call functions.
const DEPTH_MAX: u32 = 32;

#[cfg(test)]
mod tests;
