//! The children of every parse-tree node: the one list that keeps the walk exhaustive.
//!
//! The crate's own walker covers only what PostgreSQL's `raw_expression_tree_walker` does: no utility
//! commands. Here each node type stands with all of its fields that hold nodes. The `match` has no
//! wildcard, so a grammar with a new node type does not compile until someone has looked at it.
//!
//! Invariant: a node that a raw parse tree cannot hold (planner and executor nodes) answers `false`,
//! which the walk turns into [`Unknown::NotUnderstood`](crate::engine::model::Unknown); never silence.
//! `tests::tree` compares this table with the tree's own debug print.

use pg_raw_parse::list::{CastNodeList, NodeList};
use pg_raw_parse::{Node, nodes, raw};

/// One line for each node type: `Type: fields that hold nodes;`.
macro_rules! table {
    ($node:ident, $visit:ident, parsed { $($kind:ident: $($field:ident)*;)* } never { $($never:ident)* }) => {
        match $node {
            Node::None => true,
            Node::NodeList(list) => {
                list.each($visit);
                true
            }
            $(Node::$kind(_node) => {
                $(_node.$field().each($visit);)*
                true
            })*
            Node::Invalid(_) => match foreign_table($node) {
                Some(table) => {
                    $visit(Node::CreateStmt(table));
                    true
                }
                None => false,
            },
            $(Node::$never(_))|* => false,
        }
    };
}

/// Calls `visit` for each direct child. `false`: this node has no place in a parse tree.
pub(super) fn children<'a>(node: Node<'a>, visit: &mut impl FnMut(Node<'a>)) -> bool {
    table! { node, visit, parsed {
        Alias: colnames;
        RangeVar: alias;
        IntoClause: rel col_names options;
        GroupingFunc: args refs cols;
        MergeSupportFunc:;
        NamedArgExpr: arg;
        BoolExpr: args;
        SubLink: testexpr oper_name subselect;
        CaseExpr: arg args defresult;
        CaseWhen: expr result;
        RowExpr: args colnames;
        CoalesceExpr: args;
        MinMaxExpr: args;
        SQLValueFunction:;
        XmlExpr: named_args arg_names args;
        JsonFormat:;
        JsonReturning: format;
        JsonValueExpr: raw_expr formatted_expr format;
        JsonIsPredicate: expr format;
        JsonBehavior: expr;
        NullTest: arg;
        BooleanTest: arg;
        SetToDefault:;
        CurrentOfExpr:;
        JoinExpr: larg rarg using_clause join_using_alias quals alias;
        Integer:;
        Float:;
        Boolean:;
        String:;
        BitString:;
        TypeName: names typmods array_bounds;
        ColumnRef: fields;
        ParamRef:;
        A_Expr: name lexpr rexpr;
        A_Const:;
        TypeCast: arg type_name;
        CollateClause: arg collname;
        RoleSpec:;
        FuncCall: funcname args agg_order agg_filter over;
        A_Star:;
        A_Indices: lidx uidx;
        A_Indirection: arg indirection;
        A_ArrayExpr: elements;
        ResTarget: indirection val;
        MultiAssignRef: source;
        SortBy: node use_op;
        WindowDef: partition_clause order_clause start_offset end_offset;
        RangeSubselect: subquery alias;
        RangeFunction: functions alias coldeflist;
        RangeTableFunc: docexpr rowexpr namespaces columns alias;
        RangeTableFuncCol: type_name colexpr coldefexpr;
        RangeTableSample: relation method args repeatable;
        ColumnDef: type_name raw_default cooked_default identity_sequence coll_clause constraints fdwoptions;
        TableLikeClause: relation;
        IndexElem: expr collation opclass opclassopts;
        DefElem: arg;
        LockingClause: locked_rels;
        XmlSerialize: expr type_name;
        PartitionElem: expr collation opclass;
        PartitionSpec: part_params;
        PartitionBoundSpec: listdatums lowerdatums upperdatums;
        PartitionRangeDatum: value;
        PartitionCmd: name bound;
        GroupingSet: content;
        WithClause: ctes;
        InferClause: index_elems where_clause;
        OnConflictClause: infer target_list where_clause;
        CTESearchClause: search_col_list;
        CTECycleClause: cycle_col_list cycle_mark_value cycle_mark_default;
        CommonTableExpr: aliascolnames ctequery search_clause cycle_clause ctecolnames;
        MergeWhenClause: condition target_list values;
        ReturningOption:;
        ReturningClause: options exprs;
        TriggerTransition:;
        JsonOutput: type_name returning;
        JsonArgument: val;
        JsonFuncExpr: context_item pathspec passing output on_empty on_error;
        JsonTablePathSpec: string;
        JsonTable: context_item pathspec passing columns on_error alias;
        JsonTableColumn: type_name pathspec format columns on_empty on_error;
        JsonKeyValue: key value;
        JsonParseExpr: expr output;
        JsonScalarExpr: expr output;
        JsonSerializeExpr: expr output;
        JsonObjectConstructor: exprs output;
        JsonArrayConstructor: exprs output;
        JsonArrayQueryConstructor: query output format;
        JsonAggConstructor: output agg_filter agg_order over;
        JsonObjectAgg: constructor arg;
        JsonArrayAgg: constructor arg;
        RawStmt: stmt;
        InsertStmt: relation cols select_stmt on_conflict_clause returning_clause with_clause;
        DeleteStmt: relation using_clause where_clause returning_clause with_clause;
        UpdateStmt: relation target_list where_clause from_clause returning_clause with_clause;
        MergeStmt: relation source_relation join_condition merge_when_clauses returning_clause with_clause;
        SelectStmt: distinct_clause into_clause target_list from_clause where_clause group_clause having_clause window_clause values_lists sort_clause limit_offset limit_count locking_clause with_clause larg rarg;
        ReturnStmt: returnval;
        CreateSchemaStmt: authrole schema_elts;
        AlterTableStmt: relation cmds;
        AlterTableCmd: newowner def;
        ATAlterConstraint:;
        ReplicaIdentityStmt:;
        AlterCollationStmt: collname;
        AlterDomainStmt: type_name def;
        GrantStmt: objects privileges grantees grantor;
        ObjectWithArgs: objname objargs objfuncargs;
        AccessPriv: cols;
        GrantRoleStmt: granted_roles grantee_roles opt grantor;
        AlterDefaultPrivilegesStmt: options action;
        CopyStmt: relation query attlist options where_clause;
        VariableSetStmt: args;
        VariableShowStmt:;
        CreateStmt: relation table_elts inh_relations partbound partspec of_typename constraints nnconstraints options;
        Constraint: raw_expr keys including exclusions options where_clause pktable fk_attrs pk_attrs fk_del_set_cols old_conpfeqop;
        CreateTableSpaceStmt: owner options;
        DropTableSpaceStmt:;
        AlterTableSpaceOptionsStmt: options;
        AlterTableMoveAllStmt: roles;
        CreateExtensionStmt: options;
        AlterExtensionStmt: options;
        AlterExtensionContentsStmt: object;
        CreateFdwStmt: func_options options;
        AlterFdwStmt: func_options options;
        CreateForeignServerStmt: options;
        AlterForeignServerStmt: options;
        CreateUserMappingStmt: user options;
        AlterUserMappingStmt: user options;
        DropUserMappingStmt: user;
        ImportForeignSchemaStmt: table_list options;
        CreatePolicyStmt: table roles qual with_check;
        AlterPolicyStmt: table roles qual with_check;
        CreateAmStmt: handler_name;
        CreateTrigStmt: relation funcname args columns when_clause transition_rels constrrel;
        CreateEventTrigStmt: whenclause funcname;
        AlterEventTrigStmt:;
        CreatePLangStmt: plhandler plinline plvalidator;
        CreateRoleStmt: options;
        AlterRoleStmt: role options;
        AlterRoleSetStmt: role setstmt;
        DropRoleStmt: roles;
        CreateSeqStmt: sequence options;
        AlterSeqStmt: sequence options;
        DefineStmt: defnames args definition;
        CreateDomainStmt: domainname type_name coll_clause constraints;
        CreateOpClassStmt: opclassname opfamilyname datatype items;
        CreateOpClassItem: name order_family class_args storedtype;
        CreateOpFamilyStmt: opfamilyname;
        AlterOpFamilyStmt: opfamilyname items;
        DropStmt: objects;
        TruncateStmt: relations;
        CommentStmt: object;
        SecLabelStmt: object;
        DeclareCursorStmt: query;
        ClosePortalStmt:;
        FetchStmt:;
        IndexStmt: relation index_params index_including_params options where_clause exclude_op_names;
        CreateStatsStmt: defnames stat_types exprs relations;
        StatsElem: expr;
        AlterStatsStmt: defnames stxstattarget;
        CreateFunctionStmt: funcname parameters return_type options sql_body;
        FunctionParameter: arg_type defexpr;
        AlterFunctionStmt: func actions;
        DoStmt: args;
        CallStmt: funccall;
        RenameStmt: relation object;
        AlterObjectDependsStmt: relation object extname;
        AlterObjectSchemaStmt: relation object;
        AlterOwnerStmt: relation object newowner;
        AlterOperatorStmt: opername options;
        AlterTypeStmt: type_name options;
        RuleStmt: relation where_clause actions;
        NotifyStmt:;
        ListenStmt:;
        UnlistenStmt:;
        TransactionStmt: options;
        CompositeTypeStmt: typevar coldeflist;
        CreateEnumStmt: type_name vals;
        CreateRangeStmt: type_name params;
        AlterEnumStmt: type_name;
        ViewStmt: view aliases query options;
        LoadStmt:;
        CreatedbStmt: options;
        AlterDatabaseStmt: options;
        AlterDatabaseRefreshCollStmt:;
        AlterDatabaseSetStmt: setstmt;
        DropdbStmt: options;
        AlterSystemStmt: setstmt;
        ClusterStmt: relation params;
        VacuumStmt: options rels;
        VacuumRelation: relation va_cols;
        ExplainStmt: query options;
        CreateTableAsStmt: query into;
        RefreshMatViewStmt: relation;
        CheckPointStmt:;
        DiscardStmt:;
        LockStmt: relations;
        ConstraintsSetStmt: constraints;
        ReindexStmt: relation params;
        CreateConversionStmt: conversion_name func_name;
        CreateCastStmt: sourcetype targettype func;
        CreateTransformStmt: type_name fromsql tosql;
        PrepareStmt: argtypes query;
        ExecuteStmt: params;
        DeallocateStmt:;
        DropOwnedStmt: roles;
        ReassignOwnedStmt: roles newrole;
        AlterTSDictionaryStmt: dictname options;
        AlterTSConfigurationStmt: cfgname tokentype dicts;
        PublicationTable: relation where_clause columns;
        PublicationObjSpec: pubtable;
        CreatePublicationStmt: options pubobjects;
        AlterPublicationStmt: options pubobjects;
        CreateSubscriptionStmt: publication options;
        AlterSubscriptionStmt: publication options;
        DropSubscriptionStmt:;
        } never {
        Bitmapset Param Aggref WindowFunc WindowFuncRunCondition SubscriptingRef FuncExpr OpExpr
        ScalarArrayOpExpr SubPlan AlternativeSubPlan FieldSelect FieldStore CoerceViaIO
        ArrayCoerceExpr ConvertRowtypeExpr CollateExpr CaseTestExpr ArrayExpr RowCompareExpr
        JsonConstructorExpr JsonExpr MergeAction CoerceToDomain CoerceToDomainValue NextValueExpr
        InferenceElem ReturningExpr TargetEntry RangeTblRef FromExpr OnConflictExpr Query TableFunc
        RangeTblEntry RTEPermissionInfo RangeTblFunction TableSampleClause WithCheckOption
        SortGroupClause WindowClause RowMarkClause SetOperationStmt PLAssignStmt InlineCodeBlock
        CallContext
        }
    }
}

/// CREATE FOREIGN TABLE is the one command that the binding has no node for: its C struct starts with
/// an embedded `CreateStmt`.
pub(super) fn foreign_table<'a>(node: Node<'a>) -> Option<&'a nodes::CreateStmt> {
    match node {
        Node::Invalid(raw) if raw.type_ == raw::NodeTag::T_CreateForeignTableStmt => {
            // SAFETY: the tag says that the C parser allocated a CreateForeignTableStmt here, whose
            // first field is the CreateStmt; it lives as long as the tree that `'a` borrows.
            Some(unsafe { &(*std::ptr::from_ref(raw).cast::<raw::CreateForeignTableStmt>()).base })
        }
        _ => None,
    }
}

/// The list without the element type that the binding claims for it.
///
/// Some claims are wrong (GRANT ON SCHEMA holds strings in a "list of RangeVar"), and the binding's
/// typed iterator panics on them.
pub(super) fn untyped<T>(list: &CastNodeList<T>) -> &NodeList {
    // SAFETY: CastNodeList<T> is `#[repr(transparent)]` over NodeList; T is only a marker.
    unsafe { &*std::ptr::from_ref(list).cast::<NodeList>() }
}

/// A field that holds nodes.
trait Field<'a> {
    fn each(self, visit: &mut impl FnMut(Node<'a>));
}

impl<'a> Field<'a> for Node<'a> {
    fn each(self, visit: &mut impl FnMut(Node<'a>)) {
        match self {
            Node::None => {}
            node => visit(node),
        }
    }
}

impl<'a, T> Field<'a> for Option<&'a T>
where
    Node<'a>: From<&'a T>,
{
    fn each(self, visit: &mut impl FnMut(Node<'a>)) {
        if let Some(node) = self {
            visit(node.into());
        }
    }
}

impl<'a> Field<'a> for &'a NodeList {
    fn each(self, visit: &mut impl FnMut(Node<'a>)) {
        for node in self {
            node.each(visit);
        }
    }
}

impl<'a, T> Field<'a> for &'a CastNodeList<T> {
    fn each(self, visit: &mut impl FnMut(Node<'a>)) {
        untyped(self).each(visit);
    }
}
