//! Which keys a condition on a document asks about without taking a piece out: `document @> '{"ssn": "…"}'`,
//! `document @? '$.ssn ? (@ starts with "5")'`.
//!
//! Each answers whether a value that was guessed stands there. What is not a constant, and what asks about all keys, is
//! noted as any key.
//!
//! Source: PostgreSQL's documentation, "JSON Functions and Operators" and "jsonpath Type".

use super::expression::keys_in;
use super::value::Value;
use crate::engine::model::ANY_KEY;
use crate::engine::sql::postgres::setting::constant;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::FuncCall;
use pg_raw_parse::raw::A_Expr_Kind as E;

/// Operators are told by name; lists, ranges and text search have some of the same names, and no documents.
pub(super) fn of_operator(name: &str, left: Node<'_>, right: Node<'_>, total: &mut Value) {
    match name {
        "@>" | "<@" => contained([left, right], total),
        "@?" | "@@" => path(right, total),
        // By bytes of keys and values in turn.
        "#<#" | "#<=#" | "#>#" | "#>=#" => total.asks(ANY_KEY),
        _ if is_comparison(name) => compared([left, right], total),
        _ => {}
    }
}

/// The keys of documents that are written down in a comparison: `document = '{"ssn": …}'`. Of one that has no such key it
/// tells nothing of what stands under it.
pub(super) fn compared(sides: [Node<'_>; 2], total: &mut Value) {
    for side in sides {
        for leaf in leaves(side) {
            if let Some(text) = constant(leaf) {
                keys_written(&text, total);
            }
        }
    }
}

/// It compares what is no constant with what is none either: a parameter, another column, a document that is put together.
pub(super) fn meets_unknown(node: Node<'_>) -> bool {
    let is_open = |side| leaves(side).into_iter().any(|leaf| !is_known(leaf));
    match node {
        Node::A_Expr(e) => {
            let name = e.name().iter().next_back().and_then(Node::as_str).unwrap_or_default();
            // What is looked for in a text: see the limits in docs/masking.md.
            let is_pattern = name.contains('~');
            !is_pattern
                && (e.kind != E::AEXPR_OP || is_comparison(name))
                && is_open(e.lexpr())
                && is_open(e.rexpr())
        }
        Node::CaseExpr(case) => case.args().iter().any(|when| match when {
            Node::CaseWhen(when) => is_open(case.arg()) && is_open(when.expr()),
            _ => false,
        }),
        Node::MinMaxExpr(extreme) => extreme.args().iter().filter(|side| is_open(*side)).count() > 1,
        Node::FuncCall(call) => {
            is_comparing_call(call) && call.args().iter().filter(|side| is_open(*side)).count() > 1
        }
        Node::SubLink(_) => true,
        _ => false,
    }
}

/// A literal, or nothing.
fn is_known(node: Node<'_>) -> bool {
    matches!(node, Node::None) || constant(node).is_some() || is_null(node)
}

fn is_null(mut node: Node<'_>) -> bool {
    while let Node::TypeCast(cast) = node {
        node = cast.arg();
    }
    matches!(node, Node::A_Const(literal) if literal.isnull)
}

/// The members of lists and rows that are written down.
fn leaves(side: Node<'_>) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    let mut work = vec![side];
    while let Some(node) = work.pop() {
        match node {
            Node::NodeList(list) => work.extend(list.iter()),
            Node::RowExpr(row) => work.extend(row.args().iter()),
            Node::A_ArrayExpr(array) => work.extend(array.elements().iter()),
            Node::TypeCast(cast) => work.push(cast.arg()),
            Node::CollateClause(collate) => work.push(collate.arg()),
            leaf => found.push(leaf),
        }
    }
    found
}

/// Operators by which values of any type are compared.
fn is_comparison(name: &str) -> bool {
    matches!(name, "=" | "<>" | "!=" | "<" | ">" | "<=" | ">=" | "^@")
        || name.ends_with("~~")
        || name.ends_with("~~*")
        || name.contains("BETWEEN")
}

/// The functions behind operators.
fn is_comparing_call(call: &FuncCall) -> bool {
    let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
    let of = name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("hstore_"));
    matches!(of, Some("eq" | "ne" | "lt" | "le" | "gt" | "ge" | "cmp"))
}

/// The call, or NULLIF, answers by what stands in a document, and does not only take a piece out of it.
pub(super) fn chooses(node: Node<'_>) -> bool {
    let call = match node {
        Node::A_Expr(e) => return e.kind == E::AEXPR_NULLIF,
        Node::FuncCall(call) => call,
        _ => return false,
    };
    let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
    if is_comparing_call(call) || CHOOSING.contains(&name) {
        return true;
    }
    // A filter, or a method that not every value has.
    let path = || call.args().get(1).and_then(constant);
    name.starts_with("jsonb_path_") && path().is_none_or(|path| path.contains(['?', '(']))
}

/// What a piece is taken out by: a name, a path `{a,b}`, a list of them. What is no constant counts as any.
pub(super) fn of_path(key: Node<'_>, total: &mut Value) {
    for leaf in leaves(key) {
        match constant(leaf) {
            Some(text) => keys_in(&text).for_each(|name| total.key(name)),
            None if is_known(leaf) => {}
            None => total.asks(ANY_KEY),
        }
    }
}

/// Functions that take a path, or keys one by one.
pub(super) fn of_call(name: &str, call: &FuncCall, total: &mut Value) {
    let document = call.args().first().unwrap_or(Node::None);
    let mut arguments = call.args().iter().skip(1);
    match name {
        "jsonb_contains" | "jsonb_contained" => {
            contained([document, arguments.next().unwrap_or(Node::None)], total);
        }
        "hs_contains" | "hs_contained" => {
            contained([document, arguments.next().unwrap_or(Node::None)], total);
        }
        // All values.
        "avals" | "svals" | "hstore_to_array" | "hstore_to_matrix" | "json_each" | "json_each_text"
        | "jsonb_each" | "jsonb_each_text" | "each" => total.asks(ANY_KEY),
        "xpath" | "xpath_exists" | "xmlexists" => xpath(document, total),
        _ if is_comparing_call(call) => {
            compared([document, arguments.next().unwrap_or(Node::None)], total);
        }
        _ if name.starts_with("jsonb_path_") => path(arguments.next().unwrap_or(Node::None), total),
        "json_extract_path" | "json_extract_path_text" | "jsonb_extract_path" | "jsonb_extract_path_text" => {
            for key in arguments {
                match constant(key) {
                    Some(key) => total.asks(&key),
                    None => total.asks(ANY_KEY),
                }
            }
        }
        _ => {}
    }
}

/// One document has to contain the other: the keys of the one that is written down.
fn contained(sides: [Node<'_>; 2], total: &mut Value) {
    let written: Vec<String> = sides.into_iter().filter_map(constant).collect();
    if written.is_empty() {
        total.asks(ANY_KEY);
    }
    // Nothing is asked of what has no keys: a list of values, a number.
    written.iter().for_each(|text| keys_written(text, total));
}

fn keys_written(text: &str, total: &mut Value) {
    keys_in_document(text).for_each(|key| total.asks(key));
    keys_in_pairs(text).for_each(|key| total.asks(key));
    // Within a list or a row quotes are written twice, or behind a stroke.
    for escaped in ["\\\"", "\"\""] {
        if text.contains(escaped) && text.starts_with(['{', '(']) {
            keys_before_colons(text, escaped).for_each(|key| total.asks(key));
        }
    }
}

/// What stands between two of these quotes, with a colon behind.
fn keys_before_colons<'t>(text: &'t str, quote: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(quote).filter_map(move |(at, _)| {
        let behind = text.get(at + quote.len()..)?.trim_start();
        let before = behind.starts_with(':').then(|| text.get(..at))??;
        let key = before.rsplit(quote).next()?;
        Some(if key.contains('\\') { ANY_KEY } else { key })
    })
}

/// The names of elements and attributes that a path of XML goes through.
pub(super) fn xpath(node: Node<'_>, total: &mut Value) {
    let Some(text) = constant(node) else { return total.asks(ANY_KEY) };
    if text.contains('*') || text.contains("node(") || text.starts_with("//text(") {
        total.asks(ANY_KEY);
    }
    let words = text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
    words.filter(|word| !word.is_empty()).for_each(|word| total.asks(word));
}

/// The words before `=>`, as hstore writes its pairs.
fn keys_in_pairs(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.match_indices("=>").filter_map(|(at, _)| text.get(..at));
    ends.map(|before| {
        let word = before.trim_end();
        match word.strip_suffix('"') {
            Some(quoted) if quoted.contains('\\') => ANY_KEY,
            Some(quoted) => quoted.rsplit('"').next().unwrap_or(ANY_KEY),
            None => match word.rsplit(|c: char| c == ',' || c.is_whitespace()).next().unwrap_or(ANY_KEY) {
                escaped if escaped.contains('\\') => ANY_KEY,
                plain => plain,
            },
        }
    })
}

/// The members that a jsonpath goes through.
pub(super) fn path(node: Node<'_>, total: &mut Value) {
    let Some(text) = constant(node) else { return total.asks(ANY_KEY) };
    let mut rest = text.as_str();
    while let Some(at) = rest.find('.') {
        rest = rest.get(at + 1..).unwrap_or_default().trim_start();
        let end = match rest.strip_prefix('"') {
            Some(quoted) => quoted.find('"').map_or(rest.len(), |end| end + 1),
            None => rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len()),
        };
        let member = rest.get(..end).unwrap_or_default().trim_matches('"');
        if rest.starts_with('*') || member == "keyvalue" || member.contains('\\') {
            total.asks(ANY_KEY);
        } else if !member.is_empty() {
            total.asks(member);
        }
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// Quoted words with a colon behind them. One that is written with escapes counts as any.
fn keys_in_document(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let open = rest.find('"')?;
            let word = rest.get(open + 1..)?;
            let mut escaped = false;
            let close = word.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })?;
            let key = word.get(..close)?;
            rest = word.get(close + 1..)?;
            if rest.trim_start().starts_with(':') {
                return Some(if key.contains('\\') { ANY_KEY } else { key });
            }
        }
    })
}

/// Functions that answer yes or no.
const CHOOSING: [&str; 6] =
    ["hs_contained", "hs_contains", "jsonb_contained", "jsonb_contains", "xmlexists", "xpath_exists"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::postgres::children::children;

    fn asked(sql: &str) -> Vec<String> {
        let tree = super::super::parse(sql).unwrap();
        let mut total = Value::default();
        let mut work = vec![super::super::one(&tree).unwrap()];
        while let Some(node) = work.pop() {
            match node {
                Node::A_Expr(e) => {
                    let name =
                        e.name().iter().next_back().and_then(Node::as_str).unwrap_or_default().to_owned();
                    of_operator(&name, e.lexpr(), e.rexpr(), &mut total);
                }
                Node::FuncCall(call) => {
                    let name = call.funcname().iter().next_back().and_then(Node::as_str).unwrap_or_default();
                    of_call(name, call, &mut total);
                }
                _ => {}
            }
            children(node, &mut |child| work.push(child));
        }
        total.asked.map(|asked| asked.iter().map(|key| key.to_string()).collect()).unwrap_or_default()
    }

    #[test]
    fn keys_that_are_asked_about_are_found() {
        for (condition, keys) in [
            (r#"d @> '{"ssn": "512"}'"#, &["ssn"][..]),
            (r#"d @> '{"a": {"b" : 1}, "c": ["x", "y"]}'"#, &["a", "b", "c"]),
            (r#"'{"ssn": "512"}' <@ d"#, &["ssn"]),
            (r#"d <@ '{"ssn": "512"}'::jsonb"#, &["ssn"]),
            ("d <@ other", &["*"]),
            (r#"d @> '{"s\u0073n": 1}'"#, &["*"]),
            ("h @> 'colour=>blue, \"ssn\" => \"512\"'", &["colour", "ssn"]),
            ("h @> hstore('ssn', '512')", &["*"]),
            ("d @> '[1, 2]'", &[]),
            ("d @> $1", &["*"]),
            (r#"d @? '$.ssn ? (@ starts with "512")'"#, &["ssn"]),
            (r#"d @@ '$."a b".c == 1.5'"#, &["5", "a b", "c"]),
            ("d @? '$.* ? (@ == 1)'", &["*"]),
            ("d @? '$.**.ssn'", &["*", "ssn"]),
            ("d @? $1::jsonpath", &["*"]),
            ("jsonb_path_exists(d, '$.ssn', $1)", &["ssn"]),
            ("jsonb_path_match(d, p)", &["*"]),
            ("jsonb_extract_path_text(d, 'a', 'ssn')", &["a", "ssn"]),
            ("a = b", &[]),
            ("d = '{\"ssn\": 1}' OR d IN ('{}', '{\"b\": 1}')", &["b", "ssn"]),
            ("(a, d) = (1, '{\"ssn\": 1}')", &["ssn"]),
            ("d = ANY ('{\"{\\\"ssn\\\": 1}\"}')", &["ssn"]),
            ("r = '(1,\"{\"\"ssn\"\": 1}\")'", &["ssn"]),
            ("h = 'colour=>blue,\n ssn=>512'", &["colour", "ssn"]),
            ("h = 's\\sn=>512'", &["*"]),
            ("h #<# 'a=>1'", &["*"]),
            ("'512' = ANY (avals(h))", &["*"]),
            ("xpath_exists('/a/ssn[text() = \"512\"]', d)", &["512", "a", "ssn", "text"]),
            ("xpath_exists('//*[. = \"512\"]', d)", &["*", ".", "512"]),
        ] {
            assert_eq!(asked(&format!("SELECT 1 FROM t WHERE {condition}")), keys, "{condition}");
        }
    }
}
