//! What a statement that names another one runs: EXECUTE of a prepared statement, FETCH of a cursor.

use super::Session;
use super::catalogue::Catalogue;
use super::facts::StatementRef;
use super::following::Reach;
use super::governance::Governance;
use super::judge::is_plain_name;
use crate::engine::model::{
    Body, CursorUse, FunctionName, Oid, SearchPath, SessionState, Statement, StatementKind, TempObjects,
    Unknown, Volatility,
};
use crate::engine::sql::computes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A statement in the state in which its names are read.
#[derive(Clone, Debug)]
pub(super) struct Meaning {
    pub statement: StatementRef,
    pub state: Arc<SessionState>,
    /// A person has approved it when its cursor was declared.
    pub approved: bool,
    /// Whether the catalogue still says what it means.
    pub basis: Basis,
}

/// What the meaning of a statement that runs was worked out from.
#[derive(Clone, Debug, Default)]
pub(super) enum Basis {
    /// Whatever catalogue is trusted when its rows come.
    #[default]
    Newest,
    /// This one, of which the server said when it ran the statement that it still held; and nothing in it that the
    /// statement relies on, where that is nothing.
    Checked(Arc<Catalogue>),
    /// Something that it relies on is not what was read.
    Doubt,
}

impl Basis {
    pub fn is_doubt(&self) -> bool {
        matches!(self, Self::Doubt)
    }
}

/// What earlier statements of the same text define.
#[derive(Debug, Default)]
pub(super) struct DefinedHere {
    prepared: BTreeMap<String, StatementRef>,
    cursors: BTreeMap<String, Meaning>,
}

impl DefinedHere {
    /// `statement` comes before those that are looked at next.
    pub fn add(
        &mut self,
        statement: &StatementRef,
        state: &Arc<SessionState>,
        approved: bool,
        governance: &Governance,
    ) {
        let defines = matches!(statement.kind, StatementKind::Prepare | StatementKind::Cursor)
            || declared_name(statement).is_some();
        if !defines {
            return;
        }
        let Some(inner) = &statement.inner else { return };
        let Some(inner) = StatementRef::all(&governance.facts.known((**inner).clone())).next() else {
            return;
        };
        if let Some(name) = declared_name(statement) {
            let basis = Basis::default();
            let meaning = Meaning { statement: inner, state: state.clone(), approved, basis };
            self.cursors.insert(name.to_owned(), meaning);
        } else if let Some(name) = &statement.prepared_name {
            self.prepared.insert(name.clone(), inner);
        }
    }
}

impl Session {
    /// Every statement that EXECUTE of `name` may run; never empty.
    pub(super) fn meanings_of(
        &self,
        execute: &Statement,
        name: &str,
        state: &Arc<SessionState>,
        here: &DefinedHere,
        governance: &Governance,
    ) -> Vec<Meaning> {
        let mut found: Vec<StatementRef> = here.prepared.get(name).cloned().into_iter().collect();
        if is_plain_name(name.as_bytes()) {
            let known = self.statements.newest(name.as_bytes());
            found.extend(known.into_iter().flat_map(|p| p.statements.iter().cloned()));
        }
        let unknown = if found.is_empty() {
            Some(Unknown::UnseenPrepared { name: name.into() })
        } else if found.iter().any(|s| !can_be_prepared(s)) {
            // The protocol prepares any command; run by name it would define or drop names unseen.
            Some(Unknown::NotUnderstood { what: "EXECUTE of a command that changes the session".into() })
        } else if self.calls_for_arguments(execute, &state.search_path, governance) {
            // What they are is nowhere in the statement that is executed.
            Some(Unknown::NotUnderstood {
                what: "an argument of EXECUTE that code of the database makes".into(),
            })
        } else {
            None
        };
        if let Some(why) = unknown {
            found.extend(StatementRef::all(&governance.unknown(&format!("EXECUTE {name}"), why)));
        }
        // The server reads the names of a prepared statement anew when search_path has changed.
        let now =
            |statement| Meaning { statement, state: state.clone(), approved: false, basis: Basis::default() };
        found.into_iter().map(now).collect()
    }

    /// An argument of EXECUTE calls something else than a function of the server that computes.
    fn calls_for_arguments(&self, execute: &Statement, path: &SearchPath, governance: &Governance) -> bool {
        if execute.calls().next().is_none() && execute.operators.is_empty() {
            return false;
        }
        let Some(catalogue) = self.trusted_catalogue(governance).or(self.catalogue.as_ref()) else {
            return execute.calls().next().is_some();
        };
        let is_computed = |name: &FunctionName| {
            catalogue.data.user_functions(name, path).is_empty()
                && catalogue.data.system_function(name).is_some_and(|system| computes(name, system))
        };
        // Machine code that promises to depend on its operands alone.
        let is_made = |function: &Oid| {
            catalogue.data.function(*function).is_none_or(|function| {
                !matches!(&function.body, Body::Opaque(language) if matches!(&**language, "c" | "internal"))
                    || function.volatility != Volatility::Immutable
            })
        };
        let effects = catalogue.data.effects();
        let is_field = |name: &FunctionName| {
            catalogue.data.user_functions(name, path).is_empty()
                && catalogue.data.system_function(name).is_none()
        };
        !execute.functions.iter().all(is_computed)
            || !execute.dotted.iter().all(|name| is_field(name) || is_computed(name))
            || execute.operators.iter().flat_map(|operator| effects.operators(operator)).any(is_made)
    }

    /// Every query whose rows FETCH of `name` may bring; empty where it is not known.
    pub(super) fn cursor_meanings(&self, name: &str, here: &DefinedHere) -> Vec<Meaning> {
        let mut found: Vec<Meaning> = here.cursors.get(name).cloned().into_iter().collect();
        if is_plain_name(name.as_bytes())
            && let Some(portal) = self.portals.newest(name.as_bytes())
        {
            let approved = portal.approval.is_some();
            found.extend(portal.statements.iter().map(|statement| Meaning {
                statement: statement.clone(),
                state: portal.state.clone(),
                approved,
                basis: portal.basis.clone(),
            }));
        }
        found
    }

    /// Whether the statement may run code that its text does not show. In doubt it does. `path` is the one that it
    /// was judged under: what it reaches is remembered from then.
    pub(super) fn reach(
        &self,
        statement: &StatementRef,
        path: &SearchPath,
        governance: &Governance,
    ) -> Reach {
        use StatementKind as K;
        let kinds = |wanted: &[K]| statement.kinds.iter().any(|kind| wanted.contains(kind));
        if statement.unknown.is_some() || kinds(&[K::Call, K::Do, K::Unknown, K::Administration]) {
            return Reach::Code;
        }
        let fires = kinds(&[K::Insert, K::Update, K::Delete, K::Merge, K::Truncate, K::CopyIn]);
        let defines = kinds(&[K::Ddl, K::Drop]);
        let Some(catalogue) = self.trusted_catalogue(governance) else {
            return if fires || defines || statement.calls().next().is_some() {
                Reach::Code
            } else {
                Reach::Text
            };
        };
        if !catalogue.has_functions() {
            return Reach::Text;
        }
        let Some(reached) = governance.known_reach(statement, catalogue, path) else { return Reach::Code };
        // Of triggers, rules and operators too. Event triggers are not told apart by command.
        // Where there are none, making a new relation runs what its text names; other definitions check rows.
        let makes = ["CREATE TABLE", "CREATE TABLE AS", "SELECT INTO", "CREATE VIEW"];
        let runs_more =
            !makes.contains(&statement.tag.as_str()) || !catalogue.data.effects().on_definition().is_empty();
        let defines = defines && runs_more;
        let calls = reached.statement.functions.iter().any(|f| catalogue.is_opaque_function(f));
        if calls || defines || !reached.hidden.is_empty() { Reach::Code } else { Reach::Text }
    }
}

/// A temporary relation of the session may hold a copy of anything, whatever else has its name.
pub(super) fn touches_temporary(statement: &Statement, temporary: &TempObjects) -> bool {
    statement.reads.iter().chain(&statement.writes).any(|name| {
        name.schema.as_deref().is_none_or(|schema| schema == "pg_temp") && temporary.get(&name.name).is_some()
    })
}

pub(super) fn executed_name(statement: &Statement) -> Option<&str> {
    let statement = match (&statement.kind, &statement.inner) {
        // EXPLAIN ANALYZE EXECUTE runs it too.
        (StatementKind::Execute, _) => statement,
        (_, Some(inner)) if inner.kind == StatementKind::Execute => inner,
        _ => return None,
    };
    Some(statement.prepared_name.as_deref().unwrap_or_default())
}

/// The cursor whose rows FETCH brings, or MOVE passes over.
pub(super) fn fetched_name(statement: &Statement) -> Option<&str> {
    let cursor = statement.session.as_ref()?.cursor.as_ref()?;
    cursor.name.as_deref().filter(|_| cursor.does == CursorUse::Fetch)
}

/// The cursor that DECLARE defines.
pub(super) fn declared_name(statement: &Statement) -> Option<&str> {
    let cursor = statement.session.as_ref()?.cursor.as_ref()?;
    cursor.name.as_deref().filter(|_| matches!(cursor.does, CursorUse::Declare { .. }))
}

/// What SQL's own PREPARE takes.
fn can_be_prepared(statement: &Statement) -> bool {
    use StatementKind as K;
    match statement.kind {
        K::Select | K::Insert | K::Update | K::Delete | K::Merge => true,
        // SELECT … FOR UPDATE.
        K::Lock => statement.tag == "SELECT",
        _ => false,
    }
}
