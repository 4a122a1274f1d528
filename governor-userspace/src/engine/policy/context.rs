//! What surrounds a question, as Cedar values.

use super::names::Names;
use super::question::{HiddenCondition, Moment, RunContext, SessionContext};
use crate::engine::model::{Claims, Endpoint, FunctionName, Statement};
use cedar_policy::{Context, RestrictedExpression as Value};
use jiff::tz::TimeZone;
use std::collections::BTreeSet;

/// The time of a question, for policies that look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock<'a> {
    pub at: Moment,
    pub zone: &'a TimeZone,
}

/// The context of `connect` and `see`. Without `clock` it has no time. `None` where Cedar refuses the values.
pub(super) fn of_session(
    claims: &Claims,
    endpoint: &Endpoint,
    around: &SessionContext,
    clock: Option<Clock<'_>>,
) -> Option<Context> {
    Context::from_pairs(session_pairs(claims, endpoint, around, clock)?).ok()
}

/// The context of `run`. Without `clock` it has no time. `None` where Cedar refuses the values.
pub(super) fn of_statement(
    claims: &Claims,
    endpoint: &Endpoint,
    statement: &Statement,
    around: &RunContext,
    names: Names,
    clock: Option<Clock<'_>>,
) -> Option<Context> {
    let mut pairs = session_pairs(claims, endpoint, &around.session, clock)?;
    let mut add = |name: &str, value: Value| pairs.push((name.to_owned(), value));
    add("kind", text(statement.kind.as_str()));
    add("kinds", texts(statement.kinds.iter().map(|kind| kind.as_str().to_owned()).collect()));
    add("tag", text(&statement.tag));
    add("reads", texts(names.reads));
    add("writes", texts(names.writes));
    add("schemas", texts(names.schemas));
    add("function_schemas", texts(names.function_schemas));
    add("labels", texts(&names.read_labels | &names.written_labels));
    add("read_labels", texts(names.read_labels));
    add("written_labels", texts(names.written_labels));
    add("shared_labels", texts(names.shared_labels));
    add("functions", texts(function_names(&statement.functions)));
    add("columns", Value::new_set(statement.mentions.columns.iter().map(|column| text(column))));
    add("every_column", Value::new_bool(statement.mentions.every_column));
    add("is_write", Value::new_bool(statement.is_write()));
    add("reads_sensitive", Value::new_bool(around.reads_sensitive));
    add("approved", Value::new_bool(around.approved));
    let conditions = &around.conditions;
    add("copies_masked", Value::new_bool(around.copies_masked));
    add("conditions_masked", Value::new_bool(!conditions.is_empty()));
    add("conditions", texts(conditions.iter().map(HiddenCondition::column_text).collect()));
    add("condition_forms", texts(conditions.iter().map(|c| c.form.as_str().to_owned()).collect()));
    if let Some(rows) = around.estimated_rows {
        add("estimated_rows", Value::new_long(i64::try_from(rows).unwrap_or(i64::MAX)));
    }
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

fn session_pairs(
    claims: &Claims,
    endpoint: &Endpoint,
    around: &SessionContext,
    clock: Option<Clock<'_>>,
) -> Option<Vec<(String, Value)>> {
    let mut pairs = Vec::with_capacity(32);
    let mut add = |name: &str, value: Value| pairs.push((name.to_owned(), value));
    let record = [
        ("user".to_owned(), text(&claims.user)),
        ("database".to_owned(), text(&claims.database)),
        ("application_name".to_owned(), text(&claims.application_name)),
    ];
    add("claims", Value::new_record(record).ok()?);
    let mut record = vec![
        ("address".to_owned(), text(&endpoint.address.to_canonical().to_string())),
        ("port".to_owned(), Value::new_long(endpoint.port.into())),
    ];
    record.extend(endpoint.socket.as_deref().map(|path| ("socket".to_owned(), text(path))));
    add("destination", Value::new_record(record).ok()?);
    if let Some(clock) = clock {
        add("time", time(clock)?);
    }
    if let Some(reason) = &around.break_glass {
        add("break_glass", Value::new_record([("reason".to_owned(), text(reason))]).ok()?);
    }
    Some(pairs)
}

fn time(clock: Clock<'_>) -> Option<Value> {
    let instant = jiff::Timestamp::from_second(clock.at.unix_s()).ok()?;
    let local = instant.to_zoned(clock.zone.clone());
    let number = |n: i8| Value::new_long(n.into());
    let record = [
        ("now".to_owned(), Value::new_datetime(instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())),
        ("weekday".to_owned(), number(local.weekday().to_monday_one_offset())),
        ("hour".to_owned(), number(local.hour())),
        ("minute".to_owned(), number(local.minute())),
        ("day".to_owned(), number(local.day())),
        ("month".to_owned(), number(local.month())),
    ];
    Value::new_record(record).ok()
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
