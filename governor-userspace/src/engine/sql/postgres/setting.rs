//! SET, RESET and `set_config`: which setting of the session changes, and to what.

use super::children::untyped;
use pg_raw_parse::list::NodeList;
use pg_raw_parse::nodes::{FuncCall, VariableSetStmt};
use pg_raw_parse::{Node, raw};

/// Name in lower case, and the new value; `None` stands for the default.
pub(super) type Setting = (String, Option<String>);

pub(super) fn of_set(set: &VariableSetStmt) -> Option<Setting> {
    use raw::VariableSetKind as K;
    let name = set.name().map(str::to_ascii_lowercase);
    match set.kind {
        K::VAR_RESET_ALL => Some(("all".into(), None)),
        K::VAR_SET_VALUE => {
            let name = name?;
            let value = values(set.args(), name == "search_path");
            Some((name, Some(value)))
        }
        K::VAR_SET_MULTI => Some((name?, Some(options(set.args())))),
        _ => Some((name?, None)),
    }
}

/// What a call of `set_config(name, value, is_local)` says of itself.
pub(super) enum SetConfig {
    Known(Setting),
    /// The value is computed, of a setting that changes neither how text is read nor who asks.
    ValueUnknown(String),
    NotUnderstood,
}

pub(super) fn of_call(call: &FuncCall) -> SetConfig {
    let mut arguments = call.args().iter();
    let (Some(name), value) = (arguments.next().and_then(constant), arguments.next()) else {
        return SetConfig::NotUnderstood;
    };
    let name = name.to_ascii_lowercase();
    match value.and_then(constant) {
        Some(value) => SetConfig::Known((name, Some(value))),
        None if DECISIVE.contains(&name.as_str()) => SetConfig::NotUnderstood,
        None => SetConfig::ValueUnknown(name),
    }
}

/// How much a setting matters where one statement changes several and only one can be told.
pub fn weight(name: &str) -> usize {
    DECISIVE.iter().rev().position(|decisive| *decisive == name).map_or(0, |at| at + 1)
}

/// Settings that change how text is read, who asks, or what names mean; the most decisive first.
const DECISIVE: &[&str] = &[
    "standard_conforming_strings",
    "client_encoding",
    "session_authorization",
    "role",
    "search_path",
    "backslash_quote",
    "row_security",
    "session_replication_role",
];

/// The value as SHOW would tell it. Names in a list are quoted where they need it: `'a, b'` is one schema.
fn values(args: &NodeList, are_names: bool) -> String {
    let quoted = |value: String| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let needs_none = value.bytes().all(plain) && !value.is_empty();
        if needs_none { value } else { format!("\"{}\"", value.replace('"', "\"\"")) }
    };
    let values = args.iter().map(|node| constant(node).unwrap_or_default());
    let values: Vec<String> = if are_names { values.map(quoted).collect() } else { values.collect() };
    values.join(", ")
}

/// SET TRANSACTION …: `name=value` of each option.
fn options(args: &NodeList) -> String {
    let options: Vec<String> = args
        .iter()
        .map(|node| match node {
            Node::DefElem(option) => format!(
                "{}={}",
                option.defname().unwrap_or_default(),
                constant(option.arg()).unwrap_or_default()
            ),
            other => constant(other).unwrap_or_default(),
        })
        .collect();
    options.join(", ")
}

/// A literal's text, through casts.
pub(super) fn constant(mut node: Node<'_>) -> Option<String> {
    for _ in 0..CAST_DEPTH_MAX {
        match node {
            Node::A_Const(literal) => return Some(literal.val()?.to_string()),
            Node::String(word) => return word.sval().map(Into::into),
            Node::Integer(number) => return Some(number.ival.to_string()),
            Node::TypeCast(cast) => node = cast.arg(),
            _ => return None,
        }
    }
    None
}

/// LANGUAGE of CREATE FUNCTION that runs machine code.
pub(super) fn is_native_language(
    options: &pg_raw_parse::list::CastNodeList<pg_raw_parse::nodes::DefElem>,
) -> bool {
    untyped(options).iter().any(|node| match node {
        Node::DefElem(option) if option.defname() == Some("language") => constant(option.arg())
            .is_some_and(|name| matches!(name.to_ascii_lowercase().as_str(), "c" | "internal")),
        _ => false,
    })
}

const CAST_DEPTH_MAX: usize = 16;
