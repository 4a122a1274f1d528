//! What to write instead, for those who see their first policy: where Cedar refuses a text or a policy, and where a permit
//! permits more than it seems to.
//!
//! Cedar's own words ("the policy expression evaluates to false for all valid requests") are true, and tell nobody what
//! helps.

use super::sense::{self, Sense};
use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, ResourceConstraint};
use cedar_policy_core::ast::{BinaryOp, ExprKind};

/// Instead of what Cedar's parser says at `byte` of `text`: words of SQL and of other languages for Cedar's signs.
pub(super) fn on_text(text: &str, byte: Option<usize>, reason: &str) -> Option<String> {
    let at = text.get(byte?..)?;
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
        text.get(..end).unwrap_or_default().to_ascii_lowercase()
    };
    // Behind `not` it is the next word that Cedar did not expect.
    let before = text.get(..byte?)?.trim_end();
    let stem = before.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let last = before.get(stem.len()..).unwrap_or_default();
    let (found, sign) = match (word(at).as_str(), at.get(..1)?) {
        ("or", _) => ("or", "||"),
        ("and", _) => ("and", "&&"),
        ("not", _) => ("not", "!"),
        _ if last.eq_ignore_ascii_case("not") => ("not", "!"),
        (_, "&") => ("&", "&&"),
        (_, "|") => ("|", "||"),
        _ => return None,
    };
    let is_it = ["unexpected token", "invalid token", "not a valid function"];
    is_it.iter().any(|words| reason.contains(words)).then(|| {
        let bracket = if sign == "!" { ": `!(…)`" } else { "" };
        format!("Cedar writes `{sign}` for `{found}`{bracket}")
    })
}

/// What to write instead where an attribute is asked for that the question does not have. `reason` is the validator's.
pub(super) fn on_attribute(reason: &str) -> Option<String> {
    let (_, rest) = reason.split_once("attribute `")?;
    let (name, rest) = rest.split_once('`')?;
    if !rest.ends_with("not found") && !rest.contains("not found;") {
        return None;
    }
    let of_see = rest.contains("context for Governor::Action::\"see\"");
    let is_context = of_see || rest.contains("context for Governor::Action::\"connect\"");
    let advice = match name {
        "labels" | "shared_labels" | "read_labels" if of_see => {
            "of a column write `resource.labels`: context.labels are those of a statement's relations"
                .to_owned()
        }
        _ if is_context && STATEMENTS.contains(&name) => format!(
            "only statements have context.{name}: write `action in Governor::Action::\"run\"` in the scope"
        ),
        "labels" if rest.contains("Governor::Database") => {
            "of statements write `context.labels`: resource.labels are those of a column (action \"see\")"
                .to_owned()
        }
        "schema" | "relation" | "category" | "origin_known" if rest.contains("Governor::Database") => {
            format!(
                "only columns have resource.{name} (action \"see\"); what a statement touches stands in context.schemas, \
             context.reads and context.writes"
            )
        }
        "group" => "write `principal in Governor::Group::\"…\"`".to_owned(),
        _ => return None,
    };
    Some(advice)
}

/// A permit that asks whether something is *among* what a statement touches: it permits all the rest with it. Where, and
/// what to write instead.
pub(super) fn on_permit(policy: &Policy) -> Option<(Option<usize>, String)> {
    // One with a bound or a wish for the record stands beside others for that: whatever touches it is meant.
    let is_for_its_note =
        ["audit", "rows", "time", "rate"].iter().any(|key| policy.annotation(key).is_some());
    if policy.effect() != Effect::Permit || is_for_its_note {
        return None;
    }
    let (mut among, mut bounded) = (vec![], false);
    sense::each(policy, |expr, sense| {
        let ExprKind::BinaryApp { op, arg1, arg2 } = expr.expr_kind() else { return };
        let (of, bound_by) = (sense::of_context(arg1), sense::of_context(arg2).or(sense::of_context(arg1)));
        match op {
            BinaryOp::Contains | BinaryOp::ContainsAny if sense == Sense::Plain => {
                let name = of.filter(|name| ["reads", "schemas", "labels", "read_labels"].contains(name));
                among.extend(name.map(|name| (expr.source_loc().map(|loc| loc.start()), name)));
            }
            // Said of the same statement, this bounds it.
            BinaryOp::ContainsAll | BinaryOp::Eq => {
                bounded |= bound_by.is_some_and(|name| ["reads", "schemas", "shared_labels"].contains(&name));
            }
            BinaryOp::Contains => bounded |= of == Some("shared_labels"),
            _ => {}
        }
    });
    let (byte, name) = among.into_iter().min().filter(|_| !bounded)?;
    let instead = match name {
        "schemas" => {
            "for nothing but that schema write `[\"schema\", \"pg_catalog\"].containsAll(context.schemas)`"
        }
        "reads" => {
            "for nothing but that relation write `[\"relation\", \"schema.relation\"].containsAll(context.reads)`"
        }
        _ => "for nothing but what has that label write `context.shared_labels.contains(\"label\")`",
    };
    let reason = format!("this also permits statements that touch others besides: {instead}");
    Some((byte, reason))
}

/// What to write instead; `None` where the scope is not to blame.
pub(super) fn on_scope(policy: &Policy) -> Option<String> {
    let action = policy.action_constraint();
    if let ActionConstraint::Eq(action) = &action
        && GROUPS.contains(&id_of(action))
    {
        let group = id_of(action);
        return Some(format!(
            "\"{group}\" is a group of actions: write `action in Governor::Action::\"{group}\"`, or name one of its members"
        ));
    }
    let asks_see = match &action {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(action) => id_of(action) == "see",
        ActionConstraint::In(actions) => actions.iter().any(|action| id_of(action) == "see"),
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => uid,
        ResourceConstraint::Is(_) | ResourceConstraint::IsIn(..) | ResourceConstraint::Any => return None,
    };
    let kind = resource.type_name().basename().to_owned();
    if asks_see || !BELOW_DATABASE.contains(&kind.as_str()) {
        return None;
    }
    let name = id_of(&resource);
    let is_permit = policy.effect() == Effect::Permit;
    let instead = match kind.as_str() {
        "Schema" if is_permit => {
            format!("when {{ [\"{name}\", \"pg_catalog\"].containsAll(context.schemas) }}")
        }
        "Schema" => format!("when {{ context.schemas.contains(\"{name}\") }}"),
        "Relation" if is_permit => format!(
            "when {{ [\"{}\", \"{name}\"].containsAll(context.reads) }}",
            name.rsplit('.').next().unwrap_or(name)
        ),
        "Column" => format!(
            "when {{ context.columns.contains(\"{}\") }}, or ask about the action \"see\" to hide it",
            name.rsplit('.').next().unwrap_or(name)
        ),
        _ => format!("when {{ context.reads.contains(\"{name}\") }}, or context.writes for what is changed"),
    };
    Some(format!(
        "connections and statements are asked about with a database as the resource: write `resource) {instead}`"
    ))
}

fn id_of(uid: &EntityUid) -> &str {
    uid.id().as_ref()
}

/// Of the schema: actions that others are in.
pub(super) const GROUPS: [&str; 7] = ["run", "read", "write", "define", "administer", "control", "opaque"];
/// Attributes of the context that only statements have: those of `Statement` in the schema (a test).
const STATEMENTS: [&str; 25] = [
    "kind",
    "kinds",
    "tag",
    "reads",
    "writes",
    "schemas",
    "labels",
    "read_labels",
    "written_labels",
    "shared_labels",
    "functions",
    "function_schemas",
    "columns",
    "every_column",
    "has_where",
    "is_write",
    "unknown",
    "reads_sensitive",
    "conditions_masked",
    "conditions",
    "condition_forms",
    "copies_masked",
    "estimated_rows",
    "approved",
    "setting",
];
/// Only questions about columns have these.
const BELOW_DATABASE: [&str; 3] = ["Schema", "Relation", "Column"];

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(text: &str) -> Option<String> {
        on_scope(&text.parse().unwrap())
    }

    #[test]
    fn what_a_scope_cannot_ask_is_said_with_what_to_write() {
        for (text, expected) in [
            (
                "forbid (principal, action == Governor::Action::\"read\", resource);",
                "action in Governor::Action::\"read\"",
            ),
            (
                "forbid (principal, action in Governor::Action::\"read\", resource == Governor::Relation::\"pay.salaries\");",
                "context.reads.contains(\"pay.salaries\")",
            ),
            (
                "forbid (principal, action in Governor::Action::\"run\", resource in Governor::Schema::\"pay\");",
                "context.schemas.contains(\"pay\")",
            ),
            (
                "forbid (principal, action == Governor::Action::\"select\", resource == Governor::Column::\"a.b.c\");",
                "context.columns.contains(\"c\")",
            ),
        ] {
            let found = advice(text).unwrap_or_default();
            assert!(found.contains(expected), "{text}: {found}");
        }
        for fine in [
            "forbid (principal, action in Governor::Action::\"read\", resource);",
            "forbid (principal, action == Governor::Action::\"see\", resource == Governor::Column::\"a.b.c\");",
            "forbid (principal, action, resource in Governor::Database::\"shop\");",
        ] {
            assert_eq!(advice(fine), None, "{fine}");
        }
    }

    #[test]
    fn a_permit_for_one_schema_is_told_to_ask_for_all() {
        for (resource, expected) in [
            ("Governor::Schema::\"pay\"", "[\"pay\", \"pg_catalog\"].containsAll(context.schemas)"),
            ("Governor::Relation::\"pay.rates\"", "[\"rates\", \"pay.rates\"].containsAll(context.reads)"),
        ] {
            let text =
                format!("permit (principal, action in Governor::Action::\"read\", resource in {resource});");
            let found = advice(&text).unwrap_or_default();
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_permit_that_asks_what_is_among_is_noted() {
        let on = |condition: &str| {
            let text =
                format!("permit (principal, action in Governor::Action::\"read\", resource) {condition};");
            on_permit(&text.parse().unwrap())
        };
        for (condition, expected) in [
            ("when { context.schemas.contains(\"pay\") }", "containsAll(context.schemas)"),
            ("when { context.is_write || context.reads.containsAny([\"a\"]) }", "containsAll(context.reads)"),
            ("when { context.labels.contains(\"open\") }", "context.shared_labels.contains"),
        ] {
            let (byte, reason) = on(condition).unwrap();
            assert!(reason.contains(expected) && byte.is_some(), "{condition}: {reason}");
        }
        for fine in [
            "unless { context.reads.contains(\"salaries\") }",
            "when { !context.labels.contains(\"pci\") }",
            "when { context.schemas.contains(\"a\") && [\"a\", \"b\"].containsAll(context.schemas) }",
            "when { context.schemas == [\"a\"] }",
            "when { context.shared_labels.contains(\"open\") }",
            "when { context.columns.contains(\"id\") }",
            "",
        ] {
            assert_eq!(on(fine), None, "{fine}");
        }
        let scope = "(principal, action in Governor::Action::\"run\", resource)";
        for effect in ["forbid", "@audit(\"sync\") permit", "@rows(\"10\") permit"] {
            let text = format!("{effect} {scope} when {{ context.labels.contains(\"pci\") }};");
            assert_eq!(on_permit(&text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn attributes_of_statements_are_those_of_the_schema() {
        let text = super::super::SCHEMA_TEXT;
        let statement = text.split("type Statement = {").nth(1).unwrap().split("};").next().unwrap();
        let session = text.split("type Session = {").nth(1).unwrap().split("};").next().unwrap();
        let names = |text: &str| -> Vec<String> {
            let fields = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            let names = fields.filter_map(|line| line.split_once(':'));
            names.map(|(name, _)| name.trim_end_matches('?').to_owned()).collect()
        };
        let of_session = names(session);
        let mut wanted: Vec<String> =
            names(statement).into_iter().filter(|name| !of_session.contains(name)).collect();
        let mut known = STATEMENTS.map(str::to_owned).to_vec();
        wanted.sort();
        known.sort();
        assert_eq!(known, wanted);
    }

    /// The schema's own groups, and no other.
    #[test]
    fn the_groups_are_those_of_the_schema() {
        let text = super::super::SCHEMA_TEXT;
        for group in GROUPS {
            assert!(
                text.contains(&format!("\"{group}\"")) || text.contains(&format!("action {group}")),
                "{group}"
            );
        }
    }
}
