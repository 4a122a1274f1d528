//! Which keys a condition on a document asks about without taking a piece out: `document @> '{"ssn": "…"}'`,
//! `document @? '$.ssn ? (@ starts with "5")'`.
//!
//! Each answers whether a value that was guessed stands there. What is not a constant, and what asks about all keys, is
//! noted as any key.
//!
//! Source: PostgreSQL's documentation, "JSON Functions and Operators" and "jsonpath Type".

use super::value::Value;
use crate::engine::model::ANY_KEY;
use crate::engine::sql::postgres::setting::constant;
use pg_raw_parse::Node;
use pg_raw_parse::nodes::FuncCall;

/// Operators are told by name; lists, ranges and text search have some of the same names, and no documents.
pub(super) fn of_operator(name: &str, left: Node<'_>, right: Node<'_>, total: &mut Value) {
    match name {
        "@>" | "<@" => contained([left, right], total),
        "@?" | "@@" => path(right, total),
        _ => {}
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
    for text in &written {
        keys_in_document(text).for_each(|key| total.asks(key));
        keys_in_pairs(text).for_each(|key| total.asks(key));
    }
}

/// The words before `=>`, as hstore writes its pairs.
fn keys_in_pairs(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.match_indices("=>").filter_map(|(at, _)| text.get(..at));
    ends.map(|before| {
        let word = before.trim_end();
        match word.strip_suffix('"') {
            Some(quoted) if quoted.contains('\\') => ANY_KEY,
            Some(quoted) => quoted.rsplit('"').next().unwrap_or(ANY_KEY),
            None => word.rsplit([',', ' ']).next().unwrap_or(ANY_KEY),
        }
    })
}

/// The members that a jsonpath goes through.
fn path(node: Node<'_>, total: &mut Value) {
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
        ] {
            assert_eq!(asked(&format!("SELECT 1 FROM t WHERE {condition}")), keys, "{condition}");
        }
    }
}
