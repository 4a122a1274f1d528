//! What the server calls a result column that has no name of its own.
//!
//! Source: `FigureColname` in PostgreSQL's `src/backend/parser/parse_target.c`.

use crate::engine::sql::postgres::children::untyped;
use pg_raw_parse::Node;
use pg_raw_parse::raw::{
    A_Expr_Kind, JsonExprOp, MinMaxOp, SQLValueFunctionOp as V, SubLinkType, XmlExprOp as X,
};

/// The name; `None` where it cannot be told from the text alone.
pub(super) fn column_name(node: Node<'_>) -> Option<&str> {
    let mut node = node;
    // Names of types and of CASE count only where nothing below has a better one.
    let mut fallback = "?column?";
    for _ in 0..DEPTH_MAX {
        node = match node {
            Node::ColumnRef(reference) => {
                return Some(reference.fields().iter().filter_map(Node::as_str).last().unwrap_or(fallback));
            }
            Node::A_Indirection(path) => match path.indirection().iter().filter_map(Node::as_str).last() {
                Some(name) => return Some(name),
                None => path.arg(),
            },
            Node::FuncCall(call) => return call.funcname().iter().filter_map(Node::as_str).last(),
            Node::A_Expr(e) if e.kind == A_Expr_Kind::AEXPR_NULLIF => return Some("nullif"),
            Node::TypeCast(cast) => {
                if let Some(name) = cast.type_name() {
                    fallback = untyped(name.names()).iter().filter_map(Node::as_str).last()?;
                    // The outermost type counts.
                    return match column_name(cast.arg()) {
                        Some(name) if is_strong(cast.arg()) => Some(name),
                        None => None,
                        _ => Some(fallback),
                    };
                }
                cast.arg()
            }
            Node::CollateClause(collate) => collate.arg(),
            Node::CaseExpr(case) => {
                return match column_name(case.defresult()) {
                    Some(name) if is_strong(case.defresult()) => Some(name),
                    None => None,
                    _ => Some("case"),
                };
            }
            Node::SubLink(sub) => match sub.sub_link_type {
                SubLinkType::EXISTS_SUBLINK => return Some("exists"),
                SubLinkType::ARRAY_SUBLINK => return Some("array"),
                SubLinkType::EXPR_SUBLINK => return leftmost_name(sub.subselect()),
                _ => return Some(fallback),
            },
            Node::GroupingFunc(_) => return Some("grouping"),
            Node::MergeSupportFunc(_) => return Some("merge_action"),
            Node::A_ArrayExpr(_) => return Some("array"),
            Node::RowExpr(_) => return Some("row"),
            Node::CoalesceExpr(_) => return Some("coalesce"),
            Node::MinMaxExpr(e) => {
                return Some(if e.op == MinMaxOp::IS_GREATEST { "greatest" } else { "least" });
            }
            Node::SQLValueFunction(f) => return Some(value_function(f.op)),
            Node::XmlExpr(xml) => return Some(xml_function(xml.op)),
            Node::XmlSerialize(_) => return Some("xmlserialize"),
            Node::JsonParseExpr(_) => return Some("json"),
            Node::JsonScalarExpr(_) => return Some("json_scalar"),
            Node::JsonSerializeExpr(_) => return Some("json_serialize"),
            Node::JsonObjectConstructor(_) => return Some("json_object"),
            Node::JsonArrayConstructor(_) | Node::JsonArrayQueryConstructor(_) => return Some("json_array"),
            Node::JsonObjectAgg(_) => return Some("json_objectagg"),
            Node::JsonArrayAgg(_) => return Some("json_arrayagg"),
            Node::JsonFuncExpr(call) => {
                return Some(match call.op {
                    JsonExprOp::JSON_EXISTS_OP => "json_exists",
                    JsonExprOp::JSON_QUERY_OP => "json_query",
                    _ => "json_value",
                });
            }
            _ => return Some(fallback),
        };
    }
    None
}

/// The name comes from something with a name, not from a type or from CASE.
fn is_strong(node: Node<'_>) -> bool {
    let mut node = node;
    for _ in 0..DEPTH_MAX {
        node = match node {
            Node::CollateClause(collate) => collate.arg(),
            Node::TypeCast(cast) => cast.arg(),
            Node::CaseExpr(case) => case.defresult(),
            Node::A_Indirection(path) if path.indirection().iter().all(|step| step.as_str().is_none()) => {
                path.arg()
            }
            Node::A_Expr(e) => return e.kind == A_Expr_Kind::AEXPR_NULLIF,
            Node::SubLink(sub) => {
                return matches!(
                    sub.sub_link_type,
                    SubLinkType::EXISTS_SUBLINK | SubLinkType::ARRAY_SUBLINK | SubLinkType::EXPR_SUBLINK
                );
            }
            Node::XmlExpr(xml) => return xml.op != X::IS_DOCUMENT,
            Node::ColumnRef(reference) => return reference.fields().iter().any(|f| f.as_str().is_some()),
            Node::A_Indirection(_)
            | Node::FuncCall(_)
            | Node::GroupingFunc(_)
            | Node::MergeSupportFunc(_)
            | Node::A_ArrayExpr(_)
            | Node::RowExpr(_)
            | Node::CoalesceExpr(_)
            | Node::MinMaxExpr(_)
            | Node::SQLValueFunction(_)
            | Node::XmlSerialize(_)
            | Node::JsonParseExpr(_)
            | Node::JsonScalarExpr(_)
            | Node::JsonSerializeExpr(_)
            | Node::JsonObjectConstructor(_)
            | Node::JsonArrayConstructor(_)
            | Node::JsonArrayQueryConstructor(_)
            | Node::JsonObjectAgg(_)
            | Node::JsonArrayAgg(_)
            | Node::JsonFuncExpr(_) => return true,
            _ => return false,
        };
    }
    false
}

/// The name of the first column of a query, where its first entry tells.
fn leftmost_name(node: Node<'_>) -> Option<&str> {
    let Node::SelectStmt(mut select) = node else { return None };
    for _ in 0..DEPTH_MAX {
        if let Some(left) = select.larg() {
            select = left;
            continue;
        }
        if !select.values_lists().is_empty() {
            return Some("column1");
        }
        let Some(Node::ResTarget(first)) = untyped(select.target_list()).first() else { return None };
        let is_star = match first.val() {
            Node::ColumnRef(reference) => {
                matches!(reference.fields().iter().next_back(), Some(Node::A_Star(_)))
            }
            Node::A_Indirection(path) => {
                matches!(path.indirection().iter().next_back(), Some(Node::A_Star(_)))
            }
            // Once more inside: not worth the stack.
            Node::SubLink(_) => true,
            _ => false,
        };
        return match first.name() {
            Some(name) => Some(name),
            None if is_star => None,
            None => column_name(first.val()),
        };
    }
    None
}

fn value_function(op: V::Type) -> &'static str {
    match op {
        V::SVFOP_CURRENT_DATE => "current_date",
        V::SVFOP_CURRENT_TIME | V::SVFOP_CURRENT_TIME_N => "current_time",
        V::SVFOP_CURRENT_TIMESTAMP | V::SVFOP_CURRENT_TIMESTAMP_N => "current_timestamp",
        V::SVFOP_LOCALTIME | V::SVFOP_LOCALTIME_N => "localtime",
        V::SVFOP_LOCALTIMESTAMP | V::SVFOP_LOCALTIMESTAMP_N => "localtimestamp",
        V::SVFOP_CURRENT_ROLE => "current_role",
        V::SVFOP_CURRENT_USER => "current_user",
        V::SVFOP_USER => "user",
        V::SVFOP_SESSION_USER => "session_user",
        V::SVFOP_CURRENT_CATALOG => "current_catalog",
        _ => "current_schema",
    }
}

fn xml_function(op: X::Type) -> &'static str {
    match op {
        X::IS_XMLCONCAT => "xmlconcat",
        X::IS_XMLELEMENT => "xmlelement",
        X::IS_XMLFOREST => "xmlforest",
        X::IS_XMLPARSE => "xmlparse",
        X::IS_XMLPI => "xmlpi",
        X::IS_XMLROOT => "xmlroot",
        X::IS_XMLSERIALIZE => "xmlserialize",
        _ => "?column?",
    }
}

/// Casts and the like inside each other.
const DEPTH_MAX: usize = 64;
