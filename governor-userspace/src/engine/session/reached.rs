//! What a statement really touches, seen through the catalogue: views, rules, triggers, functions, operators,
//! cascades, children and partitions.
//!
//! `reach(statement, catalogue, search_path)` is pure. It walks from the statement's own facts to objects and from
//! objects to the facts of their code, each object once, bounded in objects. What code hides (dynamic SQL, machine
//! code that promises nothing, a body that is not understood) counts as `call`: something runs that cannot be told.
//!
//! Invariant: nothing that the statement's own facts say is taken away; doubt adds.

mod known;
mod writing;

pub(super) use known::{bare_are_usual, reach_without};

use super::catalogue::Catalogue;
use crate::engine::model::{
    Body, Change, Changing, FIRST_USER_OID, Function, FunctionName, Oid, Relation, RelationKind,
    RelationName, SearchPath, Statement, StatementKind as Kind, Volatility,
};
use crate::engine::sql::{Code, setting_weight, strength};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A statement with everything that it reaches.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    /// Its facts: reads, writes, functions, kinds, has_where and setting include what is reached. Names that mean
    /// something known have their schema.
    pub statement: Statement,
    /// At most so many rows does it change, by the planner's statistics; `None` where that cannot be said.
    pub rows_max: Option<u64>,
    /// Every column that it mentions is one of a relation that it names itself: none is a function's name, none may have
    /// another name below.
    pub columns_certain: bool,
    /// Every function that it names without a schema is the server's own.
    pub functions_certain: bool,
    /// How what the text does not name was reached: "public.people through view public.v".
    pub via: Vec<String>,
    /// Why more may happen than the facts say.
    pub hidden: Vec<String>,
}

pub(super) fn reach(statement: &Statement, catalogue: &Catalogue, path: &SearchPath) -> Reached {
    let mut search = Search::new(catalogue, path.clone());
    search.top(statement);
    search.run();
    let rows_max = super::breadth::rows_max(statement, catalogue, path);
    search.finish(statement, rows_max)
}

pub(super) fn add_kind(statement: &mut Statement, kind: Kind) {
    if let Err(at) = statement.kinds.binary_search(&kind) {
        statement.kinds.insert(at, kind);
    }
    if strength(kind) > strength(statement.kind) {
        statement.kind = kind;
    }
}

/// Through which object something is reached.
type Through = Arc<str>;

/// One of the paths that are met: that of the session, or one that a function sets for itself.
type Path = usize;

/// Names in definitions have their schema; without one they are the server's own.
const QUALIFIED: Path = 0;
const SESSION: Path = 1;

/// `run` is the path that functions without one of their own run under.
enum Work {
    Read {
        relation: Oid,
        only: bool,
        run: Path,
    },
    Write {
        relation: Oid,
        on: Changing,
        only: bool,
        sets: Arc<[String]>,
        run: Path,
    },
    Function {
        oid: Oid,
        run: Path,
    },
    /// `names` is the path that its names are read under.
    Code {
        code: Arc<Code>,
        names: Path,
        run: Path,
    },
}

struct Search<'a> {
    catalogue: &'a Catalogue,
    paths: Vec<SearchPath>,
    reads: BTreeSet<RelationName>,
    writes: BTreeSet<RelationName>,
    functions: BTreeSet<FunctionName>,
    kinds: BTreeSet<Kind>,
    has_where: Option<bool>,
    setting: Option<(String, Option<String>)>,
    via: Vec<String>,
    hidden: Vec<String>,
    /// A function that nothing is known of.
    strange: bool,
    /// With whether ONLY was said.
    read: HashSet<(Oid, Path, bool)>,
    /// What is done to it, and to which columns; none: to any.
    written: HashMap<(Oid, Path, bool), (Changing, BTreeSet<String>)>,
    called: HashSet<(Oid, Path)>,
    work: Vec<(Work, Through)>,
    steps: usize,
}

impl<'a> Search<'a> {
    fn new(catalogue: &'a Catalogue, session: SearchPath) -> Self {
        Self {
            catalogue,
            paths: vec![SearchPath::Known(Vec::new()), session],
            reads: BTreeSet::new(),
            writes: BTreeSet::new(),
            functions: BTreeSet::new(),
            kinds: BTreeSet::new(),
            has_where: None,
            setting: None,
            via: vec![],
            hidden: vec![],
            strange: false,
            read: HashSet::new(),
            written: HashMap::new(),
            called: HashSet::new(),
            work: vec![],
            steps: 0,
        }
    }

    fn top(&mut self, statement: &Statement) {
        let run = SESSION;
        self.facts(statement, run, run, &"".into());
        let effects = self.catalogue.data.effects();
        if statement.kinds.iter().any(|kind| touches_rows(*kind)) {
            // Those of extensions that only compute are in every statement of their databases: nothing to tell.
            let computes =
                |oid: &&Oid| self.catalogue.data.function(**oid).is_some_and(|f| self.only_computes(f));
            let all = effects.anywhere().iter().chain(effects.of_classes());
            let others: BTreeSet<Oid> = all.filter(|oid| !computes(oid)).copied().collect();
            self.functions_of(&others, run, &"a cast, domain or operator class".into());
        }
        if statement.kinds.iter().any(|kind| matches!(kind, Kind::Ddl | Kind::Drop | Kind::Dcl)) {
            self.functions_of(effects.on_definition(), run, &"an event trigger".into());
        }
    }

    fn functions_of<'f>(&mut self, oids: impl IntoIterator<Item = &'f Oid>, run: Path, through: &Through) {
        self.work.extend(oids.into_iter().map(|oid| (Work::Function { oid: *oid, run }, through.clone())));
    }

    fn path(&mut self, path: SearchPath) -> Path {
        let known = self.paths.iter().skip(SESSION).position(|known| *known == path);
        known.map_or_else(
            || {
                self.paths.push(path);
                self.paths.len() - 1
            },
            |at| at + SESSION,
        )
    }

    fn run(&mut self) {
        while let Some((work, through)) = self.work.pop() {
            self.steps += 1;
            if self.steps > OBJECTS_MAX {
                self.hide("it reaches more objects than are followed".into());
                return;
            }
            match work {
                Work::Read { relation, only, run } => self.read(relation, only, run, &through),
                Work::Write { relation, on, only, sets, run } => {
                    self.write(relation, on, only, &sets, run, &through);
                }
                Work::Function { oid, run } => self.function(oid, run, &through),
                Work::Code { code, names, run } => {
                    for statement in &code.statements {
                        self.inner(statement, names, run, &through);
                    }
                    if let Some(why) = &code.opaque {
                        self.hide(format!("{through}: {why}"));
                    }
                }
            }
        }
    }

    fn finish(self, statement: &Statement, rows_max: Option<u64>) -> Reached {
        let mut reached = Statement {
            reads: self.reads.into_iter().collect(),
            writes: self.writes.into_iter().collect(),
            functions: self.functions.into_iter().collect(),
            ..statement.clone()
        };
        let defined_only = statement.kinds.as_slice() == [Kind::Prepare];
        if !defined_only {
            for kind in self.kinds {
                add_kind(&mut reached, kind);
            }
            reached.has_where = match (statement.has_where, self.has_where) {
                (Some(own), Some(inner)) => Some(own && inner),
                (own, inner) => own.or(inner),
            };
            reached.setting = statement.setting.clone().or(self.setting);
            if !self.hidden.is_empty() {
                add_kind(&mut reached, Kind::Call);
            }
        }
        let columns = &statement.mentions.columns;
        let columns_certain = self.via.is_empty()
            && self.hidden.is_empty()
            && !columns.iter().any(|column| self.catalogue.data.is_user_function(column));
        Reached {
            statement: reached,
            rows_max,
            columns_certain,
            functions_certain: !self.strange,
            via: self.via,
            hidden: self.hidden,
        }
    }

    fn hide(&mut self, why: String) {
        if self.hidden.len() < REASONS_MAX && !self.hidden.contains(&why) {
            self.hidden.push(why);
        }
    }

    fn note(&mut self, what: &impl std::fmt::Display, through: &Through) {
        if !through.is_empty() && self.via.len() < REASONS_MAX {
            self.via.push(format!("{what} through {through}"));
        }
    }

    /// A statement in the code of something.
    fn inner(&mut self, statement: &Statement, names: Path, run: Path, through: &Through) {
        let quiet = |kind: &Kind| {
            matches!(
                kind,
                Kind::Empty
                    | Kind::Select
                    | Kind::Show
                    | Kind::Explain
                    | Kind::Cursor
                    | Kind::Transaction
                    | Kind::Prepare
                    | Kind::Deallocate
            )
        };
        self.kinds.extend(statement.kinds.iter().copied().filter(|kind| !quiet(kind)));
        if let Some(chooses) = statement.has_where {
            self.has_where = Some(self.has_where.unwrap_or(true) && chooses);
        }
        // Of several the one that matters most.
        let weight = |setting: &Option<(String, Option<String>)>| {
            setting.as_ref().map(|(name, _)| setting_weight(name))
        };
        if weight(&statement.setting) > weight(&self.setting) {
            self.setting = statement.setting.clone();
        }
        self.facts(statement, names, run, through);
    }

    /// What a statement's facts lead to.
    fn facts(&mut self, statement: &Statement, names: Path, run: Path, through: &Through) {
        let mut columns: Option<Vec<&'a Relation>> = Some(vec![]);
        for name in &statement.reads {
            let only = statement.only.binary_search(name).is_ok();
            let found = self.relations(name, names);
            if found.is_empty() {
                self.reads.insert(name.clone());
                columns = None;
            }
            for relation in found {
                columns = columns.map(|mut known| {
                    known.push(relation);
                    known
                });
                self.work.push((Work::Read { relation: relation.oid, only, run }, through.clone()));
            }
        }
        for name in &statement.writes {
            let found = self.relations(name, names);
            if found.is_empty() {
                self.writes.insert(name.clone());
            }
            // ANALYZE reads, too.
            found.iter().for_each(|relation| self.programs(relation));
            self.writes.extend(found.into_iter().map(full_name));
        }
        for change in &statement.changes {
            self.change(change, names, run, through);
        }
        for name in &statement.functions {
            self.call(name, names, run, through);
        }
        for name in &statement.dotted {
            // Otherwise a field.
            if self.catalogue.data.system_function(name).is_some()
                || !self.user_functions(name, names).is_empty()
            {
                self.call(name, names, run, through);
            }
        }
        let effects = self.catalogue.data.effects();
        for operator in &statement.operators {
            self.functions_of(effects.operators(operator), run, &format!("operator {operator}").into());
        }
        self.row_functions(statement, columns.as_deref(), names, run, through);
    }

    /// `r.f` calls f(r) where r has no such column.
    fn row_functions(
        &mut self,
        statement: &Statement,
        relations: Option<&[&Relation]>,
        names: Path,
        run: Path,
        through: &Through,
    ) {
        let effects = self.catalogue.data.effects();
        for column in &statement.mentions.columns {
            if !self.catalogue.data.is_user_function(column)
                || relations
                    .is_some_and(|all| !all.is_empty() && all.iter().all(|r| r.column(column).is_some()))
            {
                continue;
            }
            let name = FunctionName { schema: None, name: column.clone() };
            let found = self.user_functions(&name, names);
            self.functions_of(
                found.iter().map(|f| &f.oid).filter(|oid| effects.takes_row(**oid)),
                run,
                through,
            );
        }
    }

    fn relations(&self, name: &RelationName, names: Path) -> Vec<&'a Relation> {
        let path = self.paths.get(names);
        path.map_or(vec![], |path| self.catalogue.data.resolve(name, path).candidates().to_vec())
    }

    fn user_functions(&self, name: &FunctionName, names: Path) -> Vec<&'a Function> {
        self.paths.get(names).map_or(vec![], |path| self.catalogue.data.user_functions(name, path))
    }

    fn change(&mut self, change: &Change, names: Path, run: Path, through: &Through) {
        let on = Changing::by(change.kind);
        for relation in self.relations(&change.relation, names) {
            let work = Work::Write {
                relation: relation.oid,
                on,
                only: change.only,
                run,
                sets: if on.update { change.sets.clone().into() } else { Arc::default() },
            };
            self.work.push((work, through.clone()));
        }
    }

    fn call(&mut self, name: &FunctionName, names: Path, run: Path, through: &Through) {
        let users = self.user_functions(name, names);
        let system = self.catalogue.data.system_function(name).is_some();
        if system || users.is_empty() {
            self.functions.insert(name.clone());
        }
        // The grammar itself writes calls of pg_catalog, under names that an older server may lack.
        if users.is_empty() && !system && name.schema.as_deref() != Some("pg_catalog") {
            self.strange = true;
            self.hide(format!("{name} is no function that governor knows of"));
        }
        self.functions_of(users.iter().map(|f| &f.oid), run, through);
    }

    fn read(&mut self, oid: Oid, only: bool, run: Path, through: &Through) {
        if !self.read.insert((oid, run, only)) {
            return;
        }
        let Some(relation) = self.catalogue.data.relation(oid) else { return };
        let name = full_name(relation);
        self.note(&name, through);
        self.reads.insert(name.clone());
        self.programs(relation);
        self.partitioned_parents(relation, false);
        match relation.kind {
            RelationKind::View if oid >= FIRST_USER_OID => self.view(relation, run),
            // Its query runs at REFRESH; but what it shows was drawn from there.
            RelationKind::MaterializedView => {
                let through: Through = format!("materialised view {name}").into();
                let code = self.catalogue.codes.view(relation);
                if let Some(why) = &code.opaque {
                    self.hide(format!("{through}: {why}"));
                }
                for statement in &code.statements {
                    for name in &statement.reads {
                        for relation in self.relations(name, QUALIFIED) {
                            self.note(&full_name(relation), &through);
                            self.reads.insert(full_name(relation));
                        }
                    }
                }
            }
            _ if !only => {
                for child in self.catalogue.data.children(oid) {
                    let through = format!("table {name}").into();
                    self.work.push((Work::Read { relation: *child, only: false, run }, through));
                }
            }
            _ => {}
        }
        let through: Through = format!("{name}'s query or row policies").into();
        self.functions_of(self.catalogue.data.effects().on_read(oid), run, &through);
    }

    /// Rows that a program of the server's host prints: to read them is what COPY FROM PROGRAM does.
    fn programs(&mut self, relation: &Relation) {
        if self.catalogue.data.effects().is_of_program(relation.oid) {
            self.kinds.insert(Kind::Administration);
            self.note(
                &"a program of the server's host",
                &format!("foreign table {}", full_name(relation)).into(),
            );
        }
    }

    fn view(&mut self, view: &'a Relation, run: Path) {
        let through: Through = format!("view {}", full_name(view)).into();
        let code = self.catalogue.codes.view(view);
        self.work.push((Work::Code { code, names: QUALIFIED, run }, through));
    }

    /// A rule about a partitioned table holds for its partitions by their own names.
    fn partitioned_parents(&mut self, relation: &Relation, written: bool) {
        let mut above: Vec<Oid> = relation.parents.to_vec();
        for _ in 0..DEPTH_MAX {
            let Some(oid) = above.pop() else { return };
            let Some(parent) = self.catalogue.data.relation(oid) else { continue };
            if parent.kind == RelationKind::Partitioned {
                let names = if written { &mut self.writes } else { &mut self.reads };
                names.insert(full_name(parent));
                above.extend(parent.parents.iter().copied());
            }
        }
    }

    fn function(&mut self, oid: Oid, run: Path, through: &Through) {
        if oid < FIRST_USER_OID || !self.called.insert((oid, run)) {
            return;
        }
        let Some(function) = self.catalogue.data.function(oid) else {
            self.hide(format!("{through}: a function that is not in the catalogue"));
            return;
        };
        let name =
            FunctionName { schema: Some(function.schema.to_string()), name: function.name.to_string() };
        let effects = self.catalogue.data.effects();
        self.note(&name, through);
        let through: Through = format!("function {name}").into();
        self.functions.insert(name);
        if !self.only_computes(function) {
            let code = self.catalogue.codes.function(function);
            let run = known::own_path(function).map_or(run, |path| self.path(path));
            self.work.push((Work::Code { code, names: run, run }, through.clone()));
        }
        self.functions_of(effects.in_function(oid), run, &through);
    }

    /// Machine code and the like, where its maker promises that it changes nothing, or is known.
    fn only_computes(&self, function: &Function) -> bool {
        let extension = self.catalogue.data.effects().extension(function.oid);
        // A body in SQL that could not be read is opaque too.
        matches!(&function.body, Body::Opaque(language) if !matches!(&**language, "sql" | "plpgsql"))
            && (function.volatility != Volatility::Volatile || extension.is_some_and(known::only_computes))
    }
}

fn full_name(relation: &Relation) -> RelationName {
    RelationName { schema: Some(relation.schema.to_string()), name: relation.name.to_string() }
}

fn touches_rows(kind: Kind) -> bool {
    use Kind as K;
    matches!(
        kind,
        K::Select
            | K::Explain
            | K::Cursor
            | K::Insert
            | K::Update
            | K::Delete
            | K::Merge
            | K::CopyIn
            | K::CopyOut
            | K::Ddl
    )
}

/// Objects that one statement may reach.
const OBJECTS_MAX: usize = 16_384;
const DEPTH_MAX: usize = 64;
const REASONS_MAX: usize = 64;

#[cfg(test)]
mod tests;
