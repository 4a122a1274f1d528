//! Literals in policies that what they are compared with can never hold: a rule with one reads as if it protected.
//!
//! Cedar checks types, and a misspelt name has the right type. What governor puts into each attribute and into the id of
//! each entity has a form, and a literal that has not that form is equal to nothing. Where the form leaves room (a name in
//! capitals is possible, but mostly a mistake) it is a note.
//!
//! The tree is walked by Cedar's own iterator, which keeps its stack on the heap: a chain of operators is as deep as it is
//! long. Forms: `schema.cedarschema`.

use crate::engine::model::{Category, Class, Form, StatementKind};
use cedar_policy::Policy;
use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal, Var};

/// A literal that cannot hit, or hardly can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Where it stands in its file.
    pub byte: Option<usize>,
    /// What is wrong and what to write instead.
    pub reason: String,
    pub is_certain: bool,
}

/// What is wrong with the literals of `policy`. `only_see`: it is about columns and nothing else.
pub(super) fn read(policy: &Policy, only_see: bool) -> Vec<Finding> {
    let policy = policy.as_ref();
    let mut found = vec![];
    let (principal, resource) = (policy.principal_constraint(), policy.resource_constraint());
    for named in [principal.as_inner().get_euid(), resource.as_inner().get_euid()].into_iter().flatten() {
        check_entity(named, named.loc().map(|loc| loc.start()), &mut found);
    }
    for expr in policy.non_scope_constraints().into_iter().flat_map(Expr::subexpressions) {
        match expr.expr_kind() {
            ExprKind::Lit(Literal::EntityUID(named)) => check_entity(named, byte_of(expr), &mut found),
            ExprKind::BinaryApp {
                op: op @ (BinaryOp::Eq | BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny),
                arg1,
                arg2,
            } => {
                for (side, other) in [(arg1, arg2), (arg2, arg1)] {
                    if let Some(attribute) = Attribute::of(side, only_see) {
                        strings(other, &mut |text, byte| attribute.check(text, byte, &mut found));
                    }
                    if *op == BinaryOp::Eq {
                        check_time(side, other, &mut found);
                        check_principal_is(side, other, &mut found);
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// A string, or each string of a set.
fn strings<'a>(expr: &'a Expr, with: &mut impl FnMut(&'a str, Option<usize>)) {
    let members = match expr.expr_kind() {
        ExprKind::Set(members) => members.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    for member in members {
        if let ExprKind::Lit(Literal::String(text)) = member.expr_kind() {
            with(text, byte_of(member));
        }
    }
}

fn byte_of(expr: &Expr) -> Option<usize> {
    expr.source_loc().map(|loc| loc.start())
}

/// An attribute whose values have a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    Relations,
    Functions,
    Schemas,
    FunctionSchemas,
    Columns,
    Conditions,
    Kinds,
    Forms,
    Causes,
    SettingName,
    Tag,
    ColumnPart(&'static str),
    Category,
    Class,
    Unit,
    Executable,
    Hash,
}

impl Attribute {
    fn of(expr: &Expr, only_see: bool) -> Option<Self> {
        let ExprKind::GetAttr { expr: of, attr } = expr.expr_kind() else { return None };
        let found = match (of.expr_kind(), attr.as_str()) {
            (ExprKind::Var(Var::Context), "reads" | "writes") => Self::Relations,
            (ExprKind::Var(Var::Context), "functions") => Self::Functions,
            (ExprKind::Var(Var::Context), "schemas") => Self::Schemas,
            (ExprKind::Var(Var::Context), "function_schemas") => Self::FunctionSchemas,
            (ExprKind::Var(Var::Context), "columns") => Self::Columns,
            (ExprKind::Var(Var::Context), "conditions") => Self::Conditions,
            (ExprKind::Var(Var::Context), "kind" | "kinds") => Self::Kinds,
            (ExprKind::Var(Var::Context), "condition_forms") => Self::Forms,
            (ExprKind::Var(Var::Context), "unknown") => Self::Causes,
            (ExprKind::Var(Var::Context), "tag") => Self::Tag,
            (ExprKind::GetAttr { attr, .. }, "name") if attr == "setting" => Self::SettingName,
            (ExprKind::Var(Var::Resource), "schema") => Self::ColumnPart("schema"),
            (ExprKind::Var(Var::Resource), "relation") => Self::ColumnPart("relation"),
            // A database has a name, too.
            (ExprKind::Var(Var::Resource), "name") if only_see => Self::ColumnPart("name"),
            (ExprKind::Var(Var::Resource), "category") => Self::Category,
            (ExprKind::Var(Var::Principal), "class") => Self::Class,
            (ExprKind::Var(Var::Principal), "unit") => Self::Unit,
            (ExprKind::Var(Var::Principal), "executable") => Self::Executable,
            (ExprKind::Var(Var::Principal), "executable_sha256") => Self::Hash,
            _ => return None,
        };
        Some(found)
    }

    fn check(self, text: &str, byte: Option<usize>, found: &mut Vec<Finding>) {
        let wrong = match self {
            Self::Relations => wrong_relation(text),
            Self::Functions => wrong_function(text),
            Self::Schemas => wrong_schema(text),
            Self::FunctionSchemas => wrong_function_schema(text),
            Self::Columns => wrong_column(text),
            Self::Conditions => wrong_condition(text),
            Self::Kinds => wrong_kind(text),
            Self::Forms => one_of(text, "context.condition_forms", &Form::ALL.map(Form::as_str), &[]),
            Self::Causes => one_of(text, "context.unknown", &CAUSES, &[]),
            Self::SettingName => text.contains(|c: char| c.is_ascii_uppercase()).then(|| {
                format!("names of settings are in lower case here: write {:?}", text.to_ascii_lowercase())
            }),
            Self::Tag => text.contains(|c: char| c.is_ascii_lowercase()).then(|| {
                let upper = text.to_ascii_uppercase();
                format!(
                    "context.tag is never {text:?}: it is in the server's words, in capitals: write {upper:?}"
                )
            }),
            Self::ColumnPart(part) => wrong_part(part, text),
            Self::Category => {
                one_of(text, "resource.category", &Category::ALL.map(Category::as_str), &["unknown", "none"])
            }
            Self::Class => one_of(text, "principal.class", &Class::ALL.map(Class::as_str), &[]),
            Self::Unit => wrong_unit(text),
            Self::Executable => wrong_executable(text),
            Self::Hash => wrong_hash(text),
        };
        if let Some(reason) = wrong {
            found.push(Finding { byte, reason, is_certain: true });
        } else if matches!(
            self,
            Self::Relations | Self::Functions | Self::Schemas | Self::FunctionSchemas | Self::Columns
        ) && text.contains(char::is_uppercase)
        {
            let reason = format!(
                "{text:?} has capitals: the server folds names to lower case unless they were made in double quotes"
            );
            found.push(Finding { byte, reason, is_certain: false });
        }
    }
}

fn wrong_relation(text: &str) -> Option<String> {
    if text.contains('*') {
        let instead = match text.strip_suffix(".*").filter(|schema| !schema.contains(['*', '.'])) {
            Some(schema) => format!("for the whole schema write context.schemas.contains({schema:?})"),
            None => "name each".to_owned(),
        };
        return Some(format!(
            "{text:?} matches no relation: names here are whole, patterns are for label files; {instead}, or give them a \
             label (*.labels.toml) and write context.labels.contains(…)"
        ));
    }
    (text.matches('.').count() > 1).then(|| {
        let column = text.rsplit('.').next().unwrap_or(text);
        format!(
            "{text:?} matches no relation: they are \"relation\" or \"schema.relation\" here; for a column write \
             context.columns.contains({column:?}) beside the relation, or ask about the action \"see\" to hide it"
        )
    })
}

fn wrong_function(text: &str) -> Option<String> {
    let reason = if text.contains('*') {
        "names here are whole: name each"
    } else if text.contains('(') {
        "write the name alone, without parentheses"
    } else if text.matches('.').count() > 1 {
        "they are \"function\" or \"schema.function\" here"
    } else {
        return None;
    };
    Some(format!("{text:?} matches no function: {reason}"))
}

fn wrong_schema(text: &str) -> Option<String> {
    if text.contains('*') {
        return Some(format!(
            "{text:?} matches no schema: names here are whole; name each, or give their relations a label \
             (*.labels.toml) and write context.labels.contains(…)"
        ));
    }
    text.contains('.').then(|| {
        format!(
            "{text:?} is no schema: for a relation write context.reads or context.writes .contains({text:?})"
        )
    })
}

fn wrong_function_schema(text: &str) -> Option<String> {
    let reason = if text.contains('*') {
        "names here are whole: name each"
    } else if text.contains('.') {
        "for a function write context.functions.contains(…)"
    } else {
        return None;
    };
    Some(format!("{text:?} is no schema of functions: {reason}"))
}

fn wrong_column(text: &str) -> Option<String> {
    if text == "*" {
        return Some("\"*\" is no column: write context.every_column".into());
    }
    if text.contains('*') {
        return Some(format!("{text:?} matches no column: names here are whole; name each"));
    }
    let (relation, column) = text.rsplit_once('.')?;
    Some(format!(
        "{text:?} matches no column: context.columns has their last parts; write context.columns.contains({column:?}) && \
         context.reads.contains({relation:?})"
    ))
}

fn wrong_condition(text: &str) -> Option<String> {
    let fits = text == "unknown" || text.matches('.').count() >= 2 && !text.contains('*');
    (!fits).then(|| {
        format!("{text:?} is in no context.conditions: they are \"schema.relation.column\", or \"unknown\"")
    })
}

fn wrong_kind(text: &str) -> Option<String> {
    if StatementKind::ALL.iter().any(|kind| kind.as_str() == text) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let instead = if super::advice::GROUPS.contains(&lower.as_str()) {
        format!("it is a group of actions: write `action in Governor::Action::{lower:?}` in the scope")
    } else if StatementKind::ALL.iter().any(|kind| kind.as_str() == lower) {
        format!("write {lower:?}")
    } else {
        "kinds are the members of the groups of actions, such as \"select\" and \"ddl\"; the server's words are in \
         context.tag"
            .to_owned()
    };
    Some(format!("no statement is of the kind {text:?}; {instead}"))
}

fn wrong_part(part: &str, text: &str) -> Option<String> {
    if text.contains('*') {
        return Some(format!(
            "resource.{part} is never {text:?}: names are whole; write `resource.{part} like {text:?}` for a pattern"
        ));
    }
    text.contains('.').then(|| {
        format!(
            "resource.{part} is never {text:?}: it is that part of the name alone; for a whole column write \
             `resource == Governor::Column::\"schema.relation.column\"`"
        )
    })
}

fn wrong_unit(text: &str) -> Option<String> {
    (!UNIT_ENDS.iter().any(|end| text.contains(end))).then(|| {
        format!("no systemd unit is called {text:?}: names have their ending; write \"{text}.service\"")
    })
}

fn wrong_executable(text: &str) -> Option<String> {
    // Of a peer: `host:/path`.
    (!text.starts_with('/') && !text.contains(":/")).then(|| {
        format!("no executable is called {text:?}: write its absolute path, such as \"/usr/bin/{text}\"")
    })
}

fn wrong_hash(text: &str) -> Option<String> {
    let is_digest = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (!is_digest).then(|| {
        format!(
            "{text:?} is the SHA-256 of no file: write 64 hexadecimal digits in lower case, as sha256sum prints them"
        )
    })
}

fn one_of(text: &str, attribute: &str, known: &[&str], more: &[&str]) -> Option<String> {
    let all: Vec<&str> = known.iter().chain(more).copied().collect();
    (!all.contains(&text)).then(|| format!("{attribute} is never {text:?}: it is one of {}", all.join(", ")))
}

/// Ids that governor never makes.
fn check_entity(named: &EntityUID, byte: Option<usize>, found: &mut Vec<Finding>) {
    let kind = named.entity_type().name().basename().to_string();
    let id: &str = named.eid().as_ref();
    let dots = id.matches('.').count();
    let wrong = match kind.as_str() {
        "Unit" => wrong_unit(id),
        "ExecutableHash" => wrong_hash(id),
        "Executable" => wrong_executable(id),
        "Column" if id.contains('*') => Some(format!(
            "no column is called {id:?}: ids are whole; for a pattern write `when {{ resource.name like … }}`, or \
             give the columns a label and write `when {{ resource.labels.contains(…) }}`"
        )),
        "Column" if dots < 2 && id != "unknown" => Some(format!(
            "no column is called {id:?}: write \"schema.relation.column\"; for that column wherever it is, \
             `when {{ resource.name == {:?} }}`",
            id.rsplit('.').next().unwrap_or(id)
        )),
        "Relation" if dots != 1 || id.contains('*') => Some(format!(
            "no relation is called {id:?}: write \"schema.relation\", whole; for a column, Governor::Column"
        )),
        "Schema" if dots > 0 || id.contains('*') => {
            Some(format!("no schema is called {id:?}: write the schema alone, whole"))
        }
        "Server" if id.parse::<std::net::SocketAddr>().is_err() && !id.starts_with('/') => Some(format!(
            "no server is called {id:?}: write the address and port that clients dial, such as \"10.0.0.5:5432\"; for \
             several, an [[environment]] in a label file"
        )),
        _ => None,
    };
    found.extend(wrong.map(|reason| Finding { byte, reason, is_certain: true }));
}

/// `context.time.weekday == 0` is never so.
fn check_time(side: &Expr, other: &Expr, found: &mut Vec<Finding>) {
    let ExprKind::GetAttr { expr: time, attr } = side.expr_kind() else { return };
    let ExprKind::Lit(Literal::Long(number)) = other.expr_kind() else { return };
    if super::sense::of_context(time) != Some("time") {
        return;
    }
    if let Some((name, least, most)) = TIMES.iter().find(|(name, ..)| name == attr)
        && !(least..=most).contains(&number)
    {
        let sunday = if *name == "weekday" { ", from Monday to Sunday" } else { "" };
        let reason = format!("context.time.{name} is never {number}: it is {least} to {most}{sunday}");
        found.push(Finding { byte: byte_of(other), reason, is_certain: true });
    }
}

/// `principal == Governor::Group::"x"` is never so: a process is *in* what it has.
fn check_principal_is(side: &Expr, other: &Expr, found: &mut Vec<Finding>) {
    if let (ExprKind::Var(Var::Principal), ExprKind::Lit(Literal::EntityUID(named))) =
        (side.expr_kind(), other.expr_kind())
    {
        let reason = format!("no principal is {named}, it is in it: write `principal in {named}`");
        found.push(Finding { byte: byte_of(other), reason, is_certain: true });
    }
}

/// Parts of the time, and their least and greatest values.
const TIMES: [(&str, i64, i64); 5] =
    [("weekday", 1, 7), ("hour", 0, 23), ("minute", 0, 59), ("day", 1, 31), ("month", 1, 12)];
/// Kinds of units that have processes.
const UNIT_ENDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
/// Words of [`crate::engine::model::Unknown::cause`] (a test).
const CAUSES: [&str; 7] = [
    "unparsable",
    "too_long",
    "too_deep",
    "dynamic_sql",
    "function_call",
    "unseen_prepared",
    "not_understood",
];
