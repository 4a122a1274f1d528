//! What surrounds a question, as Cedar values.

use super::question::RunContext;
use crate::engine::model::{Claims, Endpoint, FunctionName, RelationName, Statement};
use cedar_policy::{Context, RestrictedExpression as Value};
use std::collections::BTreeSet;

/// The context of `connect` and `see`. `None` where Cedar refuses the values.
pub(super) fn of_session(claims: &Claims, endpoint: &Endpoint) -> Option<Context> {
    let [claims, destination] = session_pairs(claims, endpoint)?;
    Context::from_pairs([claims, destination]).ok()
}

/// The context of `run`. `None` where Cedar refuses the values.
pub(super) fn of_statement(
    claims: &Claims,
    endpoint: &Endpoint,
    statement: &Statement,
    surroundings: &RunContext,
) -> Option<Context> {
    let mut pairs = Vec::with_capacity(18);
    pairs.extend(session_pairs(claims, endpoint)?);
    let mut add = |name: &str, value: Value| pairs.push((name.to_owned(), value));
    add("kind", text(statement.kind.as_str()));
    add("kinds", texts(statement.kinds.iter().map(|kind| kind.as_str().to_owned()).collect()));
    add("tag", text(&statement.tag));
    add("reads", texts(relation_names(&statement.reads)));
    add("writes", texts(relation_names(&statement.writes)));
    add("functions", texts(function_names(&statement.functions)));
    add("columns", Value::new_set(statement.mentions.columns.iter().map(|column| text(column))));
    add("every_column", Value::new_bool(statement.mentions.every_column));
    add("is_write", Value::new_bool(statement.is_write()));
    add("reads_sensitive", Value::new_bool(surroundings.reads_sensitive));
    add("approved", Value::new_bool(surroundings.approved));
    if let Some(has_where) = statement.has_where {
        add("has_where", Value::new_bool(has_where));
    }
    if let Some(unknown) = &statement.unknown {
        add("unknown", text(unknown.cause()));
    }
    if let Some((name, value)) = &statement.setting {
        let name = name.to_ascii_lowercase();
        let value = value.as_ref().map(|value| match name.as_str() {
            "client_encoding" | "names" => text(&encoding_name(value)),
            _ => text(value),
        });
        let mut setting = vec![("name".to_owned(), text(&name))];
        setting.extend(value.map(|value| ("value".to_owned(), value)));
        add("setting", Value::new_record(setting).ok()?);
    }
    Context::from_pairs(pairs).ok()
}

fn session_pairs(claims: &Claims, endpoint: &Endpoint) -> Option<[(String, Value); 2]> {
    let claims = Value::new_record([
        ("user".to_owned(), text(&claims.user)),
        ("database".to_owned(), text(&claims.database)),
        ("application_name".to_owned(), text(&claims.application_name)),
    ])
    .ok()?;
    let destination = Value::new_record([
        ("address".to_owned(), text(&endpoint.address.to_canonical().to_string())),
        ("port".to_owned(), Value::new_long(endpoint.port.into())),
    ])
    .ok()?;
    Some([("claims".to_owned(), claims), ("destination".to_owned(), destination)])
}

/// The bare name always, so that a rule on it cannot be dodged by a schema; the full one where it is known.
fn relation_names(relations: &[RelationName]) -> BTreeSet<String> {
    let full = relations.iter().filter(|r| r.schema.is_some()).map(ToString::to_string);
    relations.iter().map(|r| r.name.clone()).chain(full).collect()
}

fn function_names(functions: &[FunctionName]) -> BTreeSet<String> {
    let full = functions.iter().filter(|f| f.schema.is_some()).map(ToString::to_string);
    functions.iter().map(|f| f.name.clone()).chain(full).collect()
}

/// One name for each encoding. The server reads letters and digits only, in any case: drivers write `'utf-8'`,
/// quotes and all.
fn encoding_name(value: &str) -> String {
    let name: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    match name.to_ascii_uppercase().as_str() {
        "UNICODE" => "UTF8".to_owned(),
        "SQLASCII" => "SQL_ASCII".to_owned(),
        other => other.to_owned(),
    }
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

fn texts(values: BTreeSet<String>) -> Value {
    Value::new_set(values.into_iter().map(Value::new_string))
}
