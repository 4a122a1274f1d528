//! What the server calls a result column that has no name of its own.
//!
//! Source: `FigureColname` in PostgreSQL's `src/backend/parser/parse_target.c`.

use crate::engine::sql::postgres::children::untyped;
use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::raw::{
    A_Expr_Kind, JsonExprOp, MinMaxOp, SQLValueFunctionOp as V, SubLinkType, XmlExprOp as X,
};

/// The name; `None` where it cannot be told from the text alone.
pub(super) fn column_name(node: Node<'_>) -> Option<&str> {
    figure(node, 0).map(|(name, _)| name)
}

fn last(words: &NodeList) -> Option<&str> {
    words.iter().filter_map(Node::as_str).next_back()
}

/// How good a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    None,
    /// Of a type, or of CASE.
    Weak,
    Strong,
}

fn figure(node: Node<'_>, depth: u32) -> Option<(&str, Strength)> {
    if depth > DEPTH_MAX {
        return None;
    }
    let below = |node| figure(node, depth + 1);
    let strong = |name| Some((name, Strength::Strong));
    let nothing = Some(("?column?", Strength::None));
    match node {
        Node::ColumnRef(reference) => last(reference.fields()).map_or(nothing, strong),
        Node::A_Indirection(path) => match last(path.indirection()) {
            Some(name) => strong(name),
            None => below(path.arg()),
        },
        Node::FuncCall(call) => last(call.funcname()).map_or(nothing, strong),
        Node::A_Expr(e) if e.kind == A_Expr_Kind::AEXPR_NULLIF => strong("nullif"),
        Node::TypeCast(cast) => match (below(cast.arg())?, cast.type_name()) {
            (found @ (_, Strength::Strong), _) | (found, None) => Some(found),
            (_, Some(to)) => Some((last(untyped(to.names()))?, Strength::Weak)),
        },
        Node::CollateClause(collate) => below(collate.arg()),
        Node::CaseExpr(case) => match below(case.defresult())? {
            found @ (_, Strength::Strong) => Some(found),
            _ => Some(("case", Strength::Weak)),
        },
        Node::SubLink(sub) => match sub.sub_link_type {
            SubLinkType::EXISTS_SUBLINK => strong("exists"),
            SubLinkType::ARRAY_SUBLINK => strong("array"),
            SubLinkType::EXPR_SUBLINK => {
                leftmost_name(sub.subselect(), depth + 1).map(|name| (name, Strength::Strong))
            }
            _ => nothing,
        },
        Node::GroupingFunc(_) => strong("grouping"),
        Node::MergeSupportFunc(_) => strong("merge_action"),
        Node::A_ArrayExpr(_) => strong("array"),
        Node::RowExpr(_) => strong("row"),
        Node::CoalesceExpr(_) => strong("coalesce"),
        Node::MinMaxExpr(e) => strong(if e.op == MinMaxOp::IS_GREATEST { "greatest" } else { "least" }),
        Node::SQLValueFunction(f) => strong(value_function(f.op)),
        Node::XmlExpr(xml) if xml.op == X::IS_DOCUMENT => nothing,
        Node::XmlExpr(xml) => strong(xml_function(xml.op)),
        Node::XmlSerialize(_) => strong("xmlserialize"),
        Node::JsonParseExpr(_) => strong("json"),
        Node::JsonScalarExpr(_) => strong("json_scalar"),
        Node::JsonSerializeExpr(_) => strong("json_serialize"),
        Node::JsonObjectConstructor(_) => strong("json_object"),
        Node::JsonArrayConstructor(_) | Node::JsonArrayQueryConstructor(_) => strong("json_array"),
        Node::JsonObjectAgg(_) => strong("json_objectagg"),
        Node::JsonArrayAgg(_) => strong("json_arrayagg"),
        Node::JsonFuncExpr(call) => strong(match call.op {
            JsonExprOp::JSON_EXISTS_OP => "json_exists",
            JsonExprOp::JSON_QUERY_OP => "json_query",
            _ => "json_value",
        }),
        _ => nothing,
    }
}

/// The name of the first column of a query, where its first entry tells.
fn leftmost_name(node: Node<'_>, depth: u32) -> Option<&str> {
    let Node::SelectStmt(mut select) = node else { return None };
    for _ in 0..CHAIN_MAX {
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
            _ => false,
        };
        return match first.name() {
            Some(name) => Some(name),
            None if is_star => None,
            None => figure(first.val(), depth).map(|(name, _)| name),
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

/// Arms of a set operation that are passed on the way to the first.
const CHAIN_MAX: usize = 1_000;
/// Casts and the like inside each other.
const DEPTH_MAX: u32 = 64;
