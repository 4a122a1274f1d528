//! One pass over a command's whole tree: everything that runs, is read, is changed, is called.
//!
//! The work list is on the heap, so the depth of a statement costs no stack. Each node is visited once.
//!
//! Invariant: a node that is not understood sets [`Walk::misunderstood`]; nothing is passed over.

use super::children::children;
use super::columns::{Columns, ResultColumn};
use super::command::{command, explain_runs, merge_kinds};
use super::functions::{Effect, effect};
use super::objects::{function, relation, relation_of_object};
use super::scope::{Scope, Scopes};
use super::setting::{self, SetConfig, Setting};
use super::targets::{ResultList, renames};
use super::{Place, change, where_clause};
use crate::engine::model::{Change, FunctionName, RelationName, StatementKind as Kind};
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{FuncCall, RangeVar, WithClause};
use pg_raw_parse::{Node, raw};
use std::collections::BTreeSet;

/// What the pass gathers.
#[derive(Debug, Default)]
pub(super) struct Walk<'a> {
    pub reads: Vec<RelationName>,
    pub writes: Vec<RelationName>,
    pub functions: Vec<FunctionName>,
    /// Names behind a dot that may be functions of what stands in front.
    pub dotted: Vec<FunctionName>,
    /// Of `a.b` both names, and when they are read: `a` may be a value, and `b` a function of it.
    qualified: Vec<(&'a str, &'a str, Time)>,
    /// What functions in FROM are called: rows, or values where they give one column.
    function_items: Vec<&'a str>,
    pub place: Place,
    pub operators: Vec<String>,
    pub casts: bool,
    pub changes: Vec<Change>,
    /// Relations named with ONLY, and without.
    pub only: Vec<RelationName>,
    pub whole: Vec<RelationName>,
    pub kinds: BTreeSet<Kind>,
    pub has_where: Option<bool>,
    pub columns: Columns<'a>,
    pub setting: Option<Setting>,
    pub prepared_name: Option<&'a str>,
    /// What runs SQL or reaches data that the text does not show.
    pub opaque: Option<String>,
    pub misunderstood: Option<String>,
    scopes: Scopes<'a>,
    work: Vec<(Node<'a>, Context)>,
}

#[derive(Clone, Copy, Debug)]
struct Context {
    scope: Scope,
    time: Time,
    column: ResultColumn,
}

/// When a part of a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    Now,
    /// EXPLAIN without ANALYZE, PREPARE: looked at only.
    Planned,
    /// Bodies of views, rules, functions, policies: run later, by others.
    Defined,
}

/// What happens to a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Read,
    Write,
    Both,
}

impl<'a> Walk<'a> {
    /// Visits everything below and including `root`, the node of one command.
    pub(super) fn run(&mut self, root: Node<'a>, results: Option<ResultList<'a>>) {
        let start = Context { scope: Scope::OUTERMOST, time: Time::Now, column: None };
        if let Node::VariableSetStmt(set) = root {
            self.kinds.insert(Kind::Session);
            self.setting = setting::of_set(set);
        }
        self.work.push((root, start));
        while let Some((node, context)) = self.work.pop() {
            self.visit(node, context, results);
        }
        for (item, name, time) in std::mem::take(&mut self.qualified) {
            if self.place == Place::Body || self.function_items.contains(&item) {
                self.dotted_name(name, time);
            }
        }
    }

    fn visit(&mut self, node: Node<'a>, mut context: Context, results: Option<ResultList<'a>>) {
        // A setting inside another command (ALTER ROLE … SET) is not one of this session.
        if context.time == Time::Now
            && !matches!(node, Node::VariableSetStmt(_))
            && let Some(command) = command(node)
        {
            self.kinds.insert(command.kind);
        }
        match node {
            Node::ColumnRef(reference) => {
                let mut names = reference.fields().iter().rev().map(Node::as_str);
                if let (Some(Some(name)), Some(Some(item))) = (names.next(), names.next()) {
                    self.qualified.push((item, name, context.time));
                }
                return self.columns.reference(context.column, reference);
            }
            // What it keeps from others, until the transaction ends, is as much as LOCK does. FOR UPDATE OF names aliases
            // of FROM, no relations.
            Node::LockingClause(_) => {
                if context.time == Time::Now {
                    self.kinds.insert(Kind::Lock);
                }
                return;
            }
            Node::A_Star(_) => self.columns.every(context.column),
            Node::A_Indirection(path) => {
                self.columns.indirection(context.column, path.indirection());
                for name in path.indirection().iter().filter_map(Node::as_str) {
                    self.dotted_name(name, context.time);
                }
            }
            Node::Alias(alias) => self.columns.row(alias.aliasname()),
            Node::FuncCall(call) => self.call(call, context),
            Node::A_Expr(expression) => change::operators(expression, &mut self.operators),
            Node::TypeCast(cast) => self.casts |= change::runs_a_cast(cast),
            Node::SubLink(link) => match link.oper_name().iter().next_back().and_then(Node::as_str) {
                Some(name) => self.operators.push(name.into()),
                // IN (SELECT …)
                None if !matches!(link.testexpr(), Node::None) => self.operators.push("=".into()),
                None => {}
            },
            Node::CaseExpr(case) if !matches!(case.arg(), Node::None) => self.operators.push("=".into()),
            Node::SortBy(sort) => {
                self.operators
                    .extend(sort.use_op().iter().next_back().and_then(Node::as_str).map(Into::into));
            }
            Node::RangeFunction(from) => {
                self.function_rows(from.functions());
                self.function_items.extend(from.alias().and_then(|alias| alias.aliasname()));
            }
            Node::JoinExpr(join) => {
                if join.is_natural || renames(join.alias()) {
                    self.columns.every(context.column);
                }
                if join.is_natural || !join.using_clause().is_empty() {
                    self.operators.push("=".into());
                }
                for name in join.using_clause().iter().filter_map(|name| name.sval()) {
                    self.columns.column(context.column, name);
                }
            }
            Node::ReturningClause(returning) => {
                self.columns.row(Some("old"));
                self.columns.row(Some("new"));
                for option in returning.options() {
                    self.columns.row(option.value());
                }
            }
            Node::OnConflictClause(_) => self.columns.row(Some("excluded")),

            Node::SelectStmt(select) => {
                if context.time == Time::Now {
                    self.kinds.insert(Kind::Select);
                }
                context = self.with(select.with_clause(), context);
            }
            Node::InsertStmt(insert) => context = self.with(insert.with_clause(), context),
            Node::MergeStmt(merge) => {
                if context.time == Time::Now {
                    self.kinds.extend(merge_kinds(merge));
                }
                self.note_restricted(where_clause::merge_restricts(merge), context);
                context = self.with(merge.with_clause(), context);
            }
            Node::UpdateStmt(update) => {
                self.note_where(update.where_clause(), update.relation(), context);
                context = self.with(update.with_clause(), context);
            }
            Node::DeleteStmt(delete) => {
                self.note_where(delete.where_clause(), delete.relation(), context);
                context = self.with(delete.with_clause(), context);
            }
            Node::CopyStmt(copy) => {
                if context.time == Time::Now {
                    self.kinds.insert(if copy.is_from { Kind::CopyIn } else { Kind::CopyOut });
                }
                if !copy.is_from && copy.relation().is_some() {
                    if copy.attlist().is_empty() {
                        self.columns.every(context.column);
                    }
                    for name in copy.attlist().iter().filter_map(Node::as_str) {
                        self.columns.column(context.column, name);
                    }
                }
            }

            Node::ExplainStmt(explain) if !explain_runs(explain) => context.time = Time::Planned,
            Node::PrepareStmt(prepare) => {
                self.prepared_name = prepare.name();
                context.time = Time::Planned;
            }
            Node::ExecuteStmt(execute) => self.prepared_name = execute.name(),
            Node::DeallocateStmt(free) => self.prepared_name = free.name(),
            Node::DoStmt(_) => self.opaque = Some("DO".into()),

            Node::ViewStmt(_) | Node::RuleStmt(_) | Node::CreatePolicyStmt(_) | Node::AlterPolicyStmt(_) => {
                context.time = Time::Defined;
            }
            Node::CreateFunctionStmt(create) => {
                if setting::is_native_language(create.options()) {
                    self.kinds.insert(Kind::Administration);
                }
                context.time = Time::Defined;
            }
            Node::CreateTrigStmt(trigger) => self.functions.extend(function(trigger.funcname())),
            Node::CreateEventTrigStmt(trigger) => self.functions.extend(function(trigger.funcname())),
            Node::AlterTableCmd(change) => match change.subtype {
                raw::AlterTableType::AT_ChangeOwner => {
                    self.kinds.insert(Kind::Dcl);
                }
                raw::AlterTableType::AT_DropColumn => {
                    self.kinds.insert(Kind::Drop);
                }
                _ => {}
            },

            Node::DropStmt(drop) => {
                let named =
                    drop.objects().iter().filter_map(|name| relation_of_object(drop.remove_type, name));
                self.writes.extend(named);
            }
            Node::CommentStmt(comment) => {
                self.writes.extend(relation_of_object(comment.objtype, comment.object()));
            }
            Node::SecLabelStmt(label) => {
                self.writes.extend(relation_of_object(label.objtype, label.object()))
            }
            Node::AlterExtensionContentsStmt(alter) => {
                self.writes.extend(relation_of_object(alter.objtype, alter.object()));
            }
            _ => {}
        }
        self.descend(node, context, results);
    }

    /// Puts the children of `node` on the work list; relations are noted at once, since what happens
    /// to them is the parent's to say.
    fn descend(&mut self, node: Node<'a>, context: Context, results: Option<ResultList<'a>>) {
        let in_results = results.is_some_and(|list| list.is(node));
        let mut column = 0_u32;
        let Walk { work, reads, writes, columns, scopes, changes, only, whole, .. } = self;
        let known = children(node, &mut |child| match child {
            Node::RangeVar(range) => {
                columns.row(range.relname());
                if let Some(alias) = range.alias() {
                    columns.row(alias.aliasname());
                    if renames(Some(alias)) {
                        columns.every(context.column);
                    }
                }
                let role = role(node, range);
                let is_cte = role == Role::Read
                    && range.schemaname().is_none()
                    && scopes.is_cte(context.scope, range.relname().unwrap_or_default());
                if is_cte {
                    return;
                }
                let Some(name) = relation(range) else { return };
                let planned = context.time == Time::Planned;
                if range.inh {
                    whole.push(name.clone())
                } else {
                    only.push(name.clone())
                }
                if role != Role::Read && context.time == Time::Now {
                    change::changes(node, name.clone(), range, changes);
                }
                if role != Role::Read && !planned {
                    writes.push(name.clone());
                }
                if role != Role::Write || planned {
                    reads.push(name);
                }
            }
            // Visited by `with`, each under its own scope.
            Node::WithClause(_) => {}
            Node::ResTarget(_) if in_results => {
                work.push((child, Context { column: Some(column), ..context }));
                column = column.saturating_add(1);
            }
            _ => work.push((child, context)),
        });
        if !known {
            self.kinds.insert(Kind::Unknown);
            self.misunderstood.get_or_insert_with(|| "a node that no parse tree should hold".into());
        }
    }

    /// Visits the CTEs; answers the context in which they are visible.
    ///
    /// Without RECURSIVE a CTE sees those before it; with RECURSIVE all, itself included.
    fn with(&mut self, clause: Option<&'a WithClause>, mut context: Context) -> Context {
        let Some(clause) = clause else { return context };
        let ctes = clause.ctes();
        if clause.recursive {
            for cte in ctes {
                context.scope = self.scopes.with(context.scope, cte.ctename().unwrap_or_default());
            }
            self.work.extend(ctes.iter().map(|cte| (Node::CommonTableExpr(cte), context)));
        } else {
            for cte in ctes {
                self.work.push((Node::CommonTableExpr(cte), context));
                context.scope = self.scopes.with(context.scope, cte.ctename().unwrap_or_default());
            }
        }
        context
    }

    fn note_where(&mut self, clause: Node<'a>, target: Option<&'a RangeVar>, context: Context) {
        if context.time == Time::Now {
            self.note_restricted(where_clause::restricts(clause, target), context);
        }
    }

    fn note_restricted(&mut self, guarded: bool, context: Context) {
        if context.time == Time::Now {
            self.has_where = Some(self.has_where.unwrap_or(true) && guarded);
        }
    }

    fn call(&mut self, call: &'a FuncCall, context: Context) {
        let Some(name) = function(call.funcname()) else {
            self.misunderstood = Some("a function without a name".into());
            return;
        };
        if self.note_effect(&name, context.time) == Some(Effect::Setting) {
            self.set_config(call);
        }
        self.functions.push(name);
    }

    /// `(value).name`: a field of it, or a function. What does more than compute has no namesake among fields.
    fn dotted_name(&mut self, name: &str, time: Time) {
        let function = FunctionName { schema: None, name: name.into() };
        self.note_effect(&function, time);
        self.dotted.push(function);
    }

    /// What a call of `name` does besides returning a value, where it is called now.
    fn note_effect(&mut self, name: &FunctionName, time: Time) -> Option<Effect> {
        let effect = effect(name)?;
        let kind = match effect {
            Effect::Opaque => {
                self.opaque = Some(name.to_string());
                return Some(effect);
            }
            _ if time != Time::Now => return None,
            Effect::Notify => Kind::Notify,
            Effect::Administration => Kind::Administration,
            Effect::Sequence => Kind::Insert,
            Effect::Lock => Kind::Lock,
            Effect::Setting => Kind::Session,
        };
        self.kinds.insert(kind);
        Some(effect)
    }

    fn set_config(&mut self, call: &FuncCall) {
        let setting = match setting::of_call(call) {
            SetConfig::Known(setting) => setting,
            SetConfig::ValueUnknown(name) => (name, None),
            SetConfig::NotUnderstood => {
                self.misunderstood = Some("set_config of a computed setting".into());
                return;
            }
        };
        let heavier = self
            .setting
            .as_ref()
            .is_none_or(|(name, _)| setting::weight(&setting.0) >= setting::weight(name));
        if heavier {
            self.setting = Some(setting);
        }
    }

    /// `FROM f(…)` without an alias: the function's name stands for its row.
    fn function_rows(&mut self, functions: &'a NodeList) {
        for entry in functions {
            if let Some(Node::FuncCall(call)) = entry.as_node_list().and_then(NodeList::first) {
                let name = call.funcname().iter().next_back().and_then(Node::as_str);
                self.columns.row(name);
                self.function_items.extend(name);
            }
        }
    }
}

/// What `parent` does to a relation that it holds directly.
fn role(parent: Node<'_>, range: &RangeVar) -> Role {
    let is = |field: Option<&RangeVar>| field.is_some_and(|field| std::ptr::eq(field, range));
    let written = |field: Option<&RangeVar>, also_read: bool| match (is(field), also_read) {
        (false, _) => Role::Read,
        (true, false) => Role::Write,
        (true, true) => Role::Both,
    };
    match parent {
        Node::InsertStmt(insert) => written(
            insert.relation(),
            insert.returning_clause().is_some() || insert.on_conflict_clause().is_some(),
        ),
        Node::UpdateStmt(update) => {
            let computes = update.target_list().iter().any(|set| {
                !matches!(set.val(), Node::A_Const(_) | Node::ParamRef(_) | Node::SetToDefault(_))
            });
            let filters = !matches!(update.where_clause(), Node::None);
            written(update.relation(), computes || filters || update.returning_clause().is_some())
        }
        Node::DeleteStmt(delete) => {
            let filters = !matches!(delete.where_clause(), Node::None);
            written(delete.relation(), filters || delete.returning_clause().is_some())
        }
        Node::MergeStmt(merge) => written(merge.relation(), true),
        Node::CopyStmt(copy) if copy.is_from => Role::Write,
        Node::CreateStmt(create) if is(create.relation()) => Role::Write,
        // Parents of a new table: their rows grow by the child's.
        Node::CreateStmt(_) | Node::PartitionCmd(_) => Role::Both,
        Node::AlterTableCmd(_) => Role::Both,
        Node::CreateTrigStmt(trigger) => written(trigger.relation(), false),
        Node::VacuumRelation(_) => Role::Both,
        Node::CreateStatsStmt(_)
        | Node::PublicationTable(_)
        | Node::LockStmt(_)
        | Node::Constraint(_)
        | Node::TableLikeClause(_) => Role::Read,
        Node::IntoClause(_)
        | Node::TruncateStmt(_)
        | Node::GrantStmt(_)
        | Node::AlterTableStmt(_)
        | Node::IndexStmt(_)
        | Node::CreatePolicyStmt(_)
        | Node::AlterPolicyStmt(_)
        | Node::RuleStmt(_)
        | Node::ViewStmt(_)
        | Node::CreateSeqStmt(_)
        | Node::AlterSeqStmt(_)
        | Node::RenameStmt(_)
        | Node::AlterObjectSchemaStmt(_)
        | Node::AlterObjectDependsStmt(_)
        | Node::AlterOwnerStmt(_)
        | Node::CompositeTypeStmt(_)
        | Node::ClusterStmt(_)
        | Node::RefreshMatViewStmt(_)
        | Node::ReindexStmt(_)
        | Node::ImportForeignSchemaStmt(_) => Role::Write,
        _ => Role::Read,
    }
}
