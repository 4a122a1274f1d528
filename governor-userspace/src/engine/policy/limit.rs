//! `@rate("100/1m")`, `@rows("1000")`, `@time("30s")`: how much of something is permitted.
//!
//! On a permit, since a bound is a part of the permission. Of several permits that apply the strictest bound counts.

use super::schema::Ask;
use crate::engine::model::{Class, Limits, Rate};
use cedar_policy::{ActionConstraint, Effect, EntityUid, Policy, PrincipalConstraint};

/// Reads one of the three into `limits`.
///
/// # Errors
/// What is wrong with the annotation.
pub(super) fn read(key: &str, value: &str, policy: &Policy, limits: &mut Limits) -> Result<(), String> {
    if policy.effect() == Effect::Forbid {
        return Err(format!("@{key} belongs to a permit: it bounds what is permitted"));
    }
    let is_see = |action: &EntityUid| action.id().unescaped() == Ask::See.as_str();
    if matches!(policy.action_constraint(), ActionConstraint::Eq(action) if is_see(&action)) {
        return Err(format!("@{key} bounds statements, not what is seen of a column"));
    }
    let parsed = match key {
        "rate" => rate(value).map(|rate| limits.rate = Some(rate)),
        "rows" => count(value).map(|rows| limits.rows_max = Some(rows)),
        _ => duration_ns(value).map(|time| limits.time_ns_max = Some(time)),
    };
    parsed.ok_or_else(|| {
        let form = match key {
            "rate" => "a count in a time, such as \"100/1m\"",
            "rows" => "a count, such as \"1000\"",
            _ => "a time, such as \"30s\"",
        };
        format!("@{key} is {form}, not {value:?}")
    })
}

/// The class that the scope of `policy` names; `None` where it may be any.
pub(super) fn class_of(policy: &Policy) -> Option<Class> {
    match policy.principal_constraint() {
        PrincipalConstraint::In(group) | PrincipalConstraint::IsIn(_, group) => {
            Class::ALL.into_iter().find(|class| super::schema::class_uid(*class).as_ref() == Some(&group))
        }
        PrincipalConstraint::Any | PrincipalConstraint::Eq(_) | PrincipalConstraint::Is(_) => None,
    }
}

fn rate(text: &str) -> Option<Rate> {
    let (number, period) = text.split_once('/')?;
    Some(Rate { count: u32::try_from(count(number)?).ok()?, period_ns: duration_ns(period)? })
}

/// At least one.
fn count(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0)
}

/// A whole number with its unit: ms, s, m, h. At most a day.
fn duration_ns(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let ns = match unit {
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    };
    count(number)?.checked_mul(ns).filter(|ns| *ns <= DURATION_NS_MAX)
}

const DURATION_NS_MAX: u64 = 24 * 3_600 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use crate::engine::model::{Class, Limits, Rate, StatementKind};
    use crate::engine::policy::tests::{principal, statement};
    use crate::engine::policy::{PolicyPrincipal, PolicySet, PolicySource, Profile, RunContext};

    fn compiled(text: &str) -> Result<PolicySet, String> {
        let mut sources = PolicySet::builtin(Profile::Protect);
        sources.push(PolicySource::new("mine.cedar", text));
        PolicySet::compile(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn bounds_of_all_permits_that_apply_come_with_the_decision() {
        let set = compiled(
            r#"@id("a") @rows("100") @time("30s")
               permit (principal in Governor::Class::"agent", action == Governor::Action::"select", resource);
               @id("b") @rows("50") @rate("10/1m")
               permit (principal, action == Governor::Action::"select", resource);"#,
        )
        .unwrap();
        let limits = |class, kind| {
            let who = PolicyPrincipal::new(principal(class).into());
            let to = crate::engine::model::Endpoint::tcp([127, 0, 0, 1].into(), 5432);
            let run = set.run(&who, &Default::default(), &to, &statement(kind), &RunContext::default());
            run.obligations.limits
        };
        let rate = Some(Rate { count: 10, period_ns: 60_000_000_000 });
        assert_eq!(
            limits(Class::Agent, StatementKind::Select),
            Limits { rate, rows_max: Some(50), time_ns_max: Some(30_000_000_000) }
        );
        assert_eq!(
            limits(Class::Person, StatementKind::Select),
            Limits { rate, rows_max: Some(50), time_ns_max: None }
        );
        assert_eq!(limits(Class::Person, StatementKind::Explain), Limits::default());
    }

    #[test]
    fn only_classes_with_a_bound_are_paced() {
        let paced = |text: &str| Class::ALL.map(|class| compiled(text).unwrap().may_pace(class));
        let agents = r#"@id("a") @rows("1")
            permit (principal in Governor::Class::"agent", action == Governor::Action::"select", resource);"#;
        assert_eq!(paced(agents), [false, false, true]);
        let group = r#"@id("a") @time("1h")
            permit (principal in Governor::Group::"x", action == Governor::Action::"select", resource);"#;
        assert_eq!(paced(group), [true; 3]);
        let rate =
            r#"@id("a") @rate("1/1s") permit (principal, action == Governor::Action::"select", resource);"#;
        assert_eq!(paced(rate), [false; 3], "a rate needs nothing while a statement runs");
    }

    #[test]
    fn a_bound_that_could_not_do_what_it_says_is_refused() {
        for (annotation, effect, why) in [
            (r#"@rows("0")"#, "permit", "@rows is a count"),
            (r#"@rows("1e3")"#, "permit", "@rows is a count"),
            (r#"@rows("+5")"#, "permit", "@rows is a count"),
            (r#"@time("30")"#, "permit", "@time is a time"),
            (r#"@time("25h")"#, "permit", "@time is a time"),
            (r#"@rate("100")"#, "permit", "@rate is a count in a time"),
            (r#"@rate("100/0s")"#, "permit", "@rate is a count in a time"),
            (r#"@rate("9999999999/1s")"#, "permit", "@rate is a count in a time"),
            (r#"@rate("1/1s") @reason("r")"#, "forbid", "@rate belongs to a permit"),
        ] {
            let text = format!(
                r#"@id("a") {annotation} {effect} (principal, action == Governor::Action::"select", resource);"#
            );
            let error = compiled(&text).unwrap_err();
            assert!(error.contains(why), "{annotation}: {error}");
        }
        let see = r#"@id("a") @rows("5") permit (principal, action == Governor::Action::"see", resource);"#;
        assert!(compiled(see).unwrap_err().contains("not what is seen"));
    }
}
