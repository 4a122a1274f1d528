//! Definitions in a result: whether they are there as the server wrote them, or taken apart.
//!
//! The catalogue's own relations hold code, and functions of the server write it out. What is shown of it whole can be
//! searched for secrets; what an expression cut, turned round or compared cannot. So a value remembers that a definition is in
//! it, and whether an operation stands in between that is not listed here.

use super::Analysis;
use super::settings::{VALUES, lists_settings};
use super::value::Value;
use crate::engine::model::{Column, FIRST_USER_OID, FunctionName, Relation};
use crate::engine::sql::postgres::objects;
use crate::engine::sql::postgres::setting::constant;
use pg_raw_parse::nodes::{A_Expr, FuncCall, TypeCast};
use pg_raw_parse::raw::A_Expr_Kind as E;
use pg_raw_parse::{ConstValue, Node};

impl Value {
    /// It is in the result behind operations that keep definitions whole, or not.
    pub(super) fn kept(mut self, whole: bool) -> Self {
        self.cut |= self.code && !whole;
        self
    }

    /// A column of this relation may hold a definition.
    pub(super) fn of_definitions(mut self, relation: &Relation, column: &Column) -> Self {
        self.code = if relation.oid < FIRST_USER_OID {
            COLUMNS.binary_search(&&*column.name).is_ok()
                || (lists_settings(relation) && VALUES.contains(&&*column.name))
        } else {
            let text = relation.definition.as_deref().unwrap_or_default();
            SIGNS.iter().any(|sign| memchr::memmem::find(text.as_bytes(), sign.as_bytes()).is_some())
        };
        self
    }
}

/// The server's function of this name writes definitions.
pub(super) fn writes_code(name: &FunctionName) -> bool {
    WRITERS.binary_search(&name.name.as_str()).is_ok()
}

impl Analysis<'_, '_> {
    /// Definitions below `node` come through it as they are, or with something around them.
    pub(super) fn keeps_whole(&self, node: Node<'_>) -> bool {
        match node {
            Node::NodeList(_)
            | Node::CollateClause(_)
            | Node::NamedArgExpr(_)
            | Node::ResTarget(_)
            | Node::RowExpr(_)
            | Node::CoalesceExpr(_)
            | Node::MinMaxExpr(_)
            | Node::A_ArrayExpr(_)
            | Node::CaseExpr(_)
            | Node::SortBy(_)
            | Node::A_Indirection(_)
            | Node::SubLink(_)
            | Node::JsonValueExpr(_)
            | Node::JsonArgument(_)
            | Node::JsonKeyValue(_)
            | Node::JsonObjectConstructor(_)
            | Node::JsonArrayConstructor(_)
            | Node::JsonObjectAgg(_)
            | Node::JsonArrayAgg(_) => true,
            Node::TypeCast(cast) => keeps_cast(cast),
            Node::A_Expr(expression) => keeps_operator(expression),
            Node::FuncCall(call) => objects::function(call.funcname()).is_some_and(|name| {
                self.shared.names.catalogue.user_functions(&name, self.path).is_empty()
                    && keeps_call(&name, call)
            }),
            _ => false,
        }
    }
}

fn keeps_cast(cast: &TypeCast) -> bool {
    let Some(to) = cast.type_name() else { return false };
    let name = to.names().iter().filter_map(|word| word.sval()).next_back();
    to.typmods().is_empty()
        && matches!(
            name,
            Some(
                "text"
                    | "varchar"
                    | "json"
                    | "jsonb"
                    | "character_data"
                    | "sql_identifier"
                    | "yes_or_no"
                    | "bool"
            )
        )
}

fn keeps_operator(node: &A_Expr) -> bool {
    let name = node.name().iter().next_back().and_then(Node::as_str).unwrap_or_default();
    match node.kind {
        E::AEXPR_OP => name == "||",
        E::AEXPR_NULLIF => true,
        _ => false,
    }
}

/// `… LIKE '%nextval(%'`, by which drivers tell columns that count by themselves.
pub(super) fn asks_for_a_sequence(node: &A_Expr) -> bool {
    node.kind == E::AEXPR_LIKE
        && constant(node.rexpr()).is_some_and(|pattern| pattern == "%nextval(%" || pattern == "nextval(%")
}

fn keeps_call(name: &FunctionName, call: &FuncCall) -> bool {
    let name = name.name.as_str();
    if matches!(name, "substring" | "substr" | "left") {
        return cuts_as_psql_does(call);
    }
    KEEP.binary_search(&name).is_ok() || WRITERS.binary_search(&name).is_ok()
}

/// `substring(… for 128)`: what is left begins as the definition does, and where it ends is known.
fn cuts_as_psql_does(call: &FuncCall) -> bool {
    let number = |node: Node<'_>| match node {
        Node::A_Const(literal) => match literal.val() {
            Some(ConstValue::Integer(number)) => Some(number),
            _ => None,
        },
        _ => None,
    };
    let arguments: Vec<Option<i32>> = call.args().iter().skip(1).map(number).collect();
    matches!(arguments.as_slice(), [Some(1), Some(SHOWN_BY_PSQL)])
}

/// Characters of a default that psql shows.
const SHOWN_BY_PSQL: i32 = 128;
/// In the text of a user's view that reads the catalogue.
const SIGNS: [&str; 4] = ["pg_", "information_schema", "enum_", "_description"];
/// Columns of the server's own relations that hold definitions, under whatever relation.
const COLUMNS: [&str; 45] = [
    "action_condition",
    "action_statement",
    "adbin",
    "agginitval",
    "aggminitval",
    "check_clause",
    "column_default",
    "command",
    "comment",
    "conbin",
    "definition",
    "description",
    "dictinitoption",
    "domain_default",
    "enumlabel",
    "ev_action",
    "ev_qual",
    "expr",
    "exprs",
    "generation_expression",
    "indexdef",
    "indexprs",
    "indpred",
    "parameter_default",
    "partexprs",
    "polqual",
    "polwithcheck",
    "proargdefaults",
    "proconfig",
    "prosqlbody",
    "prosrc",
    "prqual",
    "qual",
    "relpartbound",
    "rolconfig",
    "routine_definition",
    "setconfig",
    "stxexprs",
    "tgargs",
    "tgqual",
    "typdefault",
    "typdefaultbin",
    "useconfig",
    "view_definition",
    "with_check",
];
/// Functions of the server that write definitions out.
const WRITERS: [&str; 22] = [
    "col_description",
    "enum_first",
    "enum_last",
    "enum_range",
    "obj_description",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_function_arg_default",
    "pg_get_function_arguments",
    "pg_get_function_sqlbody",
    "pg_get_functiondef",
    "pg_get_indexdef",
    "pg_get_partition_constraintdef",
    "pg_get_partkeydef",
    "pg_get_ruledef",
    "pg_get_statisticsobjdef",
    "pg_get_statisticsobjdef_expressions",
    "pg_get_triggerdef",
    "pg_get_viewdef",
    "pg_show_all_file_settings",
    "pg_show_all_settings",
    "shobj_description",
];
/// Functions of the server that show a definition among their arguments with all of its letters in their order, or do
/// not show it at all. Those that say that it is there count its rows.
const KEEP: [&str; 37] = [
    "any_value",
    "array_agg",
    "array_append",
    "array_cat",
    "array_prepend",
    "array_remove",
    "array_to_json",
    "array_to_string",
    "concat",
    "concat_ws",
    "count",
    "first_value",
    "format",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "json_strip_nulls",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "jsonb_pretty",
    "jsonb_strip_nulls",
    "lag",
    "last_value",
    "lead",
    "max",
    "min",
    "num_nonnulls",
    "num_nulls",
    "pg_typeof",
    "row_to_json",
    "string_agg",
    "to_json",
    "to_jsonb",
    "unnest",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(COLUMNS.is_sorted() && WRITERS.is_sorted() && KEEP.is_sorted());
    }
}
