//! What a database keeps in passing, when rows are written or read: by rules, triggers, defaults, checks, indexes and row
//! policies, in the written relation and wherever the write goes on from there (views, children, foreign keys, and what
//! that code writes itself).
//!
//! Of its own row a trigger or rule keeps the columns that it names, or all where it uses the row as a whole (`row.rs`). A
//! function in a check, an index, a policy or a generated column keeps whatever its arguments may be: any of the row.

use super::beside::{HARMLESS_EXTENSIONS, columns_of};
use super::kept::written_by;
use super::row::RowUse;
use super::value::{Set, Value};
use super::{Analysis, Doubt, Names, Shared};
use crate::engine::model::{
    Body, Catalogue, Changing, Clause, ColumnId, Condition, Conditions, FIRST_USER_OID, Form, Function, Oid,
    Relation, RelationKind, RelationName, SearchPath, Statement, Trigger,
};
use crate::engine::sql::fault;
use crate::engine::sql::postgres::bodies::{Code, view_source};
use crate::engine::sql::postgres::objects;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::{CreateStmt, RangeVar};
use pg_raw_parse::raw::ConstrType;
use std::collections::BTreeSet;

/// What is kept when these relations are maintained (their indexes made anew, rows looked at for statistics), and, where
/// `defines`, when something is defined: by event triggers.
pub fn kept_in_passing(names: &Names<'_>, maintained: &[Oid], defines: bool) -> Conditions {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fault::point("passing");
        let shared = Shared::new(names);
        let catalogue = names.catalogue;
        let analysis = shared.analysis(names.search_path);
        for relation in maintained.iter().filter_map(|oid| catalogue.relation(*oid)) {
            analysis.note_judged(relation, catalogue.effects().on_row(relation.oid))?;
        }
        let on_definition = catalogue.effects().on_definition().iter().filter(|_| defines);
        for function in on_definition.filter_map(|oid| catalogue.function(*oid)) {
            shared.keeps(function)?;
        }
        Ok(shared.conditions.into_inner())
    }));
    match read {
        Ok(Ok(found)) => found,
        Ok(Err(doubt)) => Conditions::unknown(doubt),
        Err(_) => Conditions::unknown(Doubt::Unparsed),
    }
}

/// Columns that these functions name, of those that look at a setting of the session.
pub(super) fn named_with_settings(names: &Names<'_>, functions: &[Oid]) -> BTreeSet<ColumnId> {
    let mut found = BTreeSet::new();
    for function in functions.iter().filter_map(|oid| names.catalogue.function(*oid)) {
        let (Body::Sql(text) | Body::PlPgSql(text)) = &function.body else { continue };
        if !text.contains("current_setting") {
            continue;
        }
        let shared = Shared::new(names);
        let code = names.codes.function(function);
        let read = shared.analysis(names.search_path).of_code(&code, &mut BTreeSet::new());
        found.extend(read.map(|read| read.sources).unwrap_or_default());
    }
    found
}

/// What code writes, and how.
pub(super) fn changed_by(code: &Code, catalogue: &Catalogue) -> Vec<(Oid, Changing)> {
    let anywhere = SearchPath::Unknown(String::new());
    let changes = code.statements.iter().flat_map(|statement| &statement.changes);
    let found = changes.flat_map(|change| {
        let on = Changing::by(change.kind);
        let found = catalogue.resolve(&change.relation, &anywhere);
        found.candidates().iter().map(|relation| (relation.oid, on)).collect::<Vec<_>>()
    });
    found.collect()
}

impl Shared<'_> {
    /// What functions of operator classes keep where rows are read. Which statements sort or compare by one is not told: the
    /// planner may do so for a join, an index, an aggregate. Of the rows they are given values of types that have no order
    /// of the server's own.
    pub(super) fn note_classes(&self) -> Result<(), Doubt> {
        let read: Vec<Oid> = self.conditions.borrow().relations.iter().copied().collect();
        if read.is_empty() {
            return Ok(());
        }
        let catalogue = self.names.catalogue;
        let mut keeps = false;
        for function in catalogue.effects().of_classes().iter().filter_map(|oid| catalogue.function(*oid)) {
            self.spend(1)?;
            keeps |= self.keeps(function)?;
        }
        for relation in read.iter().filter(|_| keeps).filter_map(|oid| catalogue.relation(*oid)) {
            self.spend(1 + relation.columns.len())?;
            let has_none = |oid: Oid| oid >= FIRST_USER_OID || UNORDERED.contains(&oid);
            let given = relation.columns.iter().filter(|column| has_none(column.type_oid));
            let sources = given.map(|column| (relation.oid, column.attribute)).collect();
            self.copies(&Set::new(), &Value { sources, ..Value::default() });
        }
        Ok(())
    }
}

impl<'t> Analysis<'_, 't> {
    /// What a write of `target` makes the database keep.
    pub(super) fn note_kept_beside(&self, target: Option<&RangeVar>, on: Changing) -> Result<(), Doubt> {
        let Some(name) = target.and_then(objects::relation) else { return Err(Doubt::Syntax) };
        let found = self.shared.names.catalogue.resolve(&name, self.path);
        self.note_writes(found.candidates().iter().map(|relation| (relation.oid, on)).collect())
    }

    /// The same of several writes, and of all that they lead to.
    pub(super) fn note_writes(&self, mut open: Vec<(Oid, Changing)>) -> Result<(), Doubt> {
        let shared = self.shared;
        let catalogue = shared.names.catalogue;
        while let Some((oid, on)) = open.pop() {
            let Some(relation) = catalogue.relation(oid) else { continue };
            shared.spend(1)?;
            if !shared.written.borrow_mut().insert((oid, on)) {
                continue;
            }
            open.extend(goes_on(relation, on, catalogue));
            for rule in catalogue.effects().rules(oid).iter().filter(|rule| rule.on.meets(on)) {
                let Some(text) = &rule.definition else { continue };
                shared.spend(1 + text.len() / 16)?;
                let code = shared.names.codes.rule(rule);
                let row = RowUse::of_rule(text);
                self.note_code(relation, &code, row == RowUse::Whole)?;
                if code.is_conditional {
                    self.note_answer(self.of_code(&code, &mut BTreeSet::new())?);
                }
                open.extend(changed_by(&code, catalogue));
            }
            for trigger in catalogue.effects().triggers(oid).iter().filter(|trigger| trigger.on.meets(on)) {
                open.extend(self.note_trigger(relation, trigger)?);
            }
            if on.insert || on.update {
                self.note_defaults(oid)?;
                let judges = catalogue.effects().on_row(oid);
                self.note_judged(relation, judges)?;
                // Whether they let the row pass may depend on what they read elsewhere.
                for function in judges.iter().filter_map(|oid| catalogue.function(*oid)) {
                    self.note_answer(self.of_body(function, &mut BTreeSet::new())?);
                }
            }
        }
        Ok(())
    }

    /// What defaults of a new table will put into its rows: whoever makes it may write to it before it is in a catalogue.
    pub(super) fn defaults(&mut self, create: &'t CreateStmt) -> Result<(), Doubt> {
        let mut work: Vec<Node<'t>> = create.table_elts().iter().collect();
        let mut taken_from: Vec<&RangeVar> = Vec::new();
        while let Some(node) = work.pop() {
            match node {
                Node::ColumnDef(column) => {
                    work.extend(column.constraints().iter());
                }
                Node::Constraint(constraint) if constraint.contype == ConstrType::CONSTR_DEFAULT => {
                    let value = self.value(constraint.raw_expr())?;
                    self.shared.copies(&Set::new(), &value);
                }
                Node::TableLikeClause(like) => taken_from.extend(like.relation()),
                _ => {}
            }
        }
        let parents = create.inh_relations().iter().filter_map(|node| match node {
            Node::RangeVar(parent) => Some(parent),
            _ => None,
        });
        taken_from.extend(parents);
        for name in taken_from.into_iter().filter_map(objects::relation) {
            let found = self.shared.names.catalogue.resolve(&name, self.path);
            for relation in found.candidates() {
                self.note_defaults(relation.oid)?;
            }
        }
        Ok(())
    }

    /// What functions in defaults and generated columns put into the row; of those in checks a yes or no says little.
    fn note_defaults(&self, relation: Oid) -> Result<(), Doubt> {
        let catalogue = self.shared.names.catalogue;
        for oid in catalogue.effects().on_write(relation) {
            let Some(function) = catalogue.function(*oid) else { continue };
            self.shared.keeps(function)?;
            if function.return_type == BOOL {
                continue;
            }
            let Value { sources, .. } = self.of_body(function, &mut BTreeSet::new())?;
            self.shared.copies(&Set::new(), &Value { sources, ..Value::default() });
        }
        Ok(())
    }

    /// These functions are called for rows of the relation. Which of its columns each is given is not known.
    fn note_judged(&self, relation: &Relation, functions: &[Oid]) -> Result<(), Doubt> {
        for function in functions.iter().filter_map(|oid| self.shared.names.catalogue.function(*oid)) {
            if self.shared.keeps(function)? && takes_arguments(function) {
                self.note_whole(relation)?;
            }
        }
        Ok(())
    }

    /// What is read here has a say in whether a write goes through.
    fn note_answer(&self, read: Value) {
        let read = Value { sources: read.sources, ..Value::default() };
        self.shared.note(&read, Condition { clause: Clause::Key, form: Form::Comparison }, 1);
    }

    /// Any column of the row goes anywhere.
    fn note_whole(&self, relation: &Relation) -> Result<(), Doubt> {
        self.shared.spend(1 + relation.columns.len())?;
        self.shared.copies(&Set::new(), &columns_of(relation, |_| true));
        Ok(())
    }

    fn note_trigger(&self, relation: &Relation, trigger: &Trigger) -> Result<Vec<(Oid, Changing)>, Doubt> {
        let catalogue = self.shared.names.catalogue;
        if trigger.function < FIRST_USER_OID {
            return Ok(Vec::new());
        }
        let function = catalogue.function(trigger.function);
        let Some((function, Body::PlPgSql(text))) = function.map(|function| (function, &function.body))
        else {
            let extension = catalogue.effects().extension(trigger.function);
            if !extension.is_some_and(|name| HARMLESS_EXTENSIONS.contains(&name)) {
                self.note_whole(relation)?;
            }
            return Ok(Vec::new());
        };
        self.shared.spend(1 + text.len() / 16)?;
        let code = self.shared.names.codes.function(function);
        if trigger.before || trigger.instead {
            // It may put what it reads elsewhere into the row.
            let read = self.of_code(&code, &mut BTreeSet::from([trigger.function]))?;
            let row =
                RelationName { schema: Some(relation.schema.to_string()), name: relation.name.to_string() };
            self.note_named(&read, &[row])?;
        }
        let is_whole = match RowUse::of_trigger(text) {
            RowUse::Named => false,
            RowUse::Documents => !self.keeps_documents(&code)?,
            RowUse::Whole => true,
        };
        self.note_code(relation, &code, is_whole)?;
        Ok(changed_by(&code, catalogue))
    }

    /// Rows are only made documents of, and go into tables that have columns for such: there their keys say what is
    /// under them.
    fn keeps_documents(&self, code: &Code) -> Result<bool, Doubt> {
        let catalogue = self.shared.names.catalogue;
        let anywhere = SearchPath::Unknown(String::new());
        for name in code.statements.iter().flat_map(|statement| statement.calls()) {
            for function in catalogue.user_functions(name, &anywhere) {
                if self.shared.keeps(function)? {
                    return Ok(false);
                }
            }
        }
        let types = catalogue.types();
        Ok(code.opaque.is_none()
            && written_by(code).iter().all(|name| {
                let found = catalogue.resolve(name, &anywhere);
                let has_documents = |relation: &&Relation| {
                    relation.columns.iter().any(|column| types.is_document(column.type_oid))
                };
                !found.candidates().is_empty() && found.candidates().iter().all(has_documents)
            }))
    }

    /// What code keeps that runs when a row of `relation` is written: what it reads elsewhere, and what it names of the row.
    fn note_code(&self, relation: &Relation, code: &Code, is_whole: bool) -> Result<(), Doubt> {
        if !self.shared.code_keeps(code)? {
            return Ok(());
        }
        let mut read = self.of_code(code, &mut BTreeSet::new())?;
        let is_whole = is_whole || code.statements.iter().any(|s| self.reads_all_of_unknown(s));
        let named = |name: &str| {
            is_whole || code.statements.iter().any(|s| s.mentions.columns.iter().any(|column| column == name))
        };
        read.add(&columns_of(relation, named));
        self.note_named(&read, &written_by(code))
    }

    /// Every column of a relation that the catalogue does not have: a transition table has the row's.
    fn reads_all_of_unknown(&self, statement: &Statement) -> bool {
        let anywhere = SearchPath::Unknown(String::new());
        let is_unknown = |name: &RelationName| {
            self.shared.names.catalogue.resolve(name, &anywhere).candidates().is_empty()
        };
        statement.mentions.every_column && statement.reads.iter().any(is_unknown)
    }
}

impl Shared<'_> {
    /// What the row policies of the relations that are read keep.
    pub(super) fn note_policies(&self) -> Result<(), Doubt> {
        let catalogue = self.names.catalogue;
        let read: Vec<Oid> = self.conditions.borrow().relations.iter().copied().collect();
        for relation in read.into_iter().filter_map(|oid| catalogue.relation(oid)) {
            if !matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView) {
                let policies = catalogue.effects().on_read(relation.oid);
                self.analysis(self.names.search_path).note_judged(relation, policies)?;
            }
        }
        Ok(())
    }
}

/// Where a write of this relation goes on to by itself.
fn goes_on(relation: &Relation, on: Changing, catalogue: &Catalogue) -> Vec<(Oid, Changing)> {
    let mut found = Vec::new();
    if relation.kind == RelationKind::View {
        let source = relation.definition.as_deref().and_then(view_source);
        let bases = source.map(|source| catalogue.resolve(&source, &SearchPath::Known(vec![])));
        found.extend(bases.iter().flat_map(|found| found.candidates()).map(|base| (base.oid, on)));
    }
    // An update may move a row to another partition.
    let moves = relation.kind == RelationKind::Partitioned && on.update;
    let below = if moves { Changing { insert: true, delete: true, ..on } } else { on };
    found.extend(catalogue.children(relation.oid).iter().map(|child| (*child, below)));
    for key in catalogue.effects().cascades(relation.oid) {
        let then = Changing {
            delete: on.delete && key.deletes,
            update: (on.delete && key.updates_on_delete) || (on.update && key.updates_on_update),
            ..Changing::default()
        };
        found.extend((then != Changing::default()).then_some((key.table, then)));
    }
    found
}

fn takes_arguments(function: &Function) -> bool {
    function.arguments > 0
}

const BOOL: Oid = 16;
/// Types of the server that it has no order for: json, xml, points, lines, paths, boxes, polygons, circles.
const UNORDERED: [Oid; 9] = [114, 142, 600, 601, 602, 603, 604, 628, 718];
