//! What helps where Cedar says that a policy can never apply: most often its scope asks for something that no question has.
//!
//! Cedar's own words ("the policy expression evaluates to false for all valid requests") are true, and tell nobody who
//! sees his first policy what to write instead.

use cedar_policy::{ActionConstraint, EntityUid, Policy, ResourceConstraint};

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
    let instead = match kind.as_str() {
        "Schema" => format!("when {{ context.schemas.contains(\"{name}\") }}"),
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
