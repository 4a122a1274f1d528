//! Can anything at all be masked from a principal? Sessions of which this is certainly false need
//! no catalogue and no look at their rows.

use super::compile::PolicySet;
use super::entity::PolicyPrincipal;
use super::question::{SeeColumn, SessionContext, Visibility};
use super::schema::Ask;
use super::source::Profile;
use crate::engine::model::Category;
use crate::engine::model::{Claims, Class, ColumnName, Endpoint, StatementKind};
use cedar_policy::Effect;
use std::collections::HashSet;
use std::str::FromStr;
use std::sync::OnceLock;

impl PolicySet {
    /// False only where `who` certainly sees every column in clear.
    ///
    /// The built-in policies tell columns apart by category and by whether the origin is known: those
    /// are asked one by one. Any other policy that could forbid seeing counts as reaching this principal.
    pub fn may_mask(&self, who: &PolicyPrincipal, claims: &Claims, to: &Endpoint) -> bool {
        if self.has_other_see_policy(who.class()) {
            return true;
        }
        let name = ColumnName { schema: "public".into(), relation: "r".into(), column: "c".into() };
        // The built-in policies look at nothing around a session.
        let around = SessionContext::default();
        let categories = Category::ALL.into_iter().map(Some).chain([None]);
        categories
            .flat_map(|category| [Some(name.clone()), None].map(|column| SeeColumn { column, category }))
            .any(|column| self.see(who, claims, to, &column, &around) != Visibility::Clear)
    }

    /// False only where `who` may certainly run everything: no statement can be denied or held.
    pub fn may_restrict(&self, who: &PolicyPrincipal) -> bool {
        // The built-in policies restrict everybody but services.
        let observed = |policy: &cedar_policy::Policy| {
            policy.annotation("id") == Some("services-permitted")
                || policy.annotation("id") == Some("observe-permitted")
        };
        StatementKind::ALL.into_iter().any(|kind| {
            let Some(slice) = self.slices.get(Ask::Run(kind), who.class()) else { return true };
            let permitted = slice.policies().any(|policy| is_builtin(policy) && observed(policy));
            let forbidding = |policy: &cedar_policy::Policy| {
                policy.effect() == Effect::Forbid && (who.class() != Class::Service || !is_builtin(policy))
            };
            !permitted || slice.policies().any(forbidding)
        })
    }

    /// A policy about seeing, not built in, whose scope this class may fall into.
    fn has_other_see_policy(&self, class: Class) -> bool {
        let Some(slice) = self.slices.get(Ask::See, class) else { return true };
        slice.policies().any(|policy| {
            !is_builtin(policy) && (policy.effect() == Effect::Forbid || policy.has_non_scope_constraint())
        })
    }
}

/// It is one of the built-in policies, word for word.
pub(super) fn is_builtin(policy: &cedar_policy::Policy) -> bool {
    policy.to_cedar().is_some_and(|text| builtin_texts().contains(&text))
}

/// The built-in policies in Cedar's own formatting.
fn builtin_texts() -> &'static HashSet<String> {
    static TEXTS: OnceLock<HashSet<String>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        Profile::ALL
            .iter()
            .flat_map(|profile| PolicySet::builtin(*profile))
            .filter_map(|source| cedar_policy::PolicySet::from_str(&source.text).ok())
            .flat_map(|set| set.policies().filter_map(cedar_policy::Policy::to_cedar).collect::<Vec<_>>())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::PolicySource;
    use crate::engine::policy::tests::principal;

    fn masks(set: &PolicySet, class: Class) -> bool {
        let who = PolicyPrincipal::new(principal(class).into());
        set.may_mask(&who, &Claims::default(), &Endpoint::tcp([127, 0, 0, 1].into(), 5432))
    }

    fn restricts(set: &PolicySet, class: Class) -> bool {
        set.may_restrict(&PolicyPrincipal::new(principal(class).into()))
    }

    #[test]
    fn a_policy_about_services_counts() {
        let mut sources = PolicySet::builtin(Profile::Protect);
        sources.push(PolicySource::new(
            "mine.cedar",
            r#"@id("mine") @reason("r")
               forbid (principal in Governor::Class::"service", action == Governor::Action::"drop", resource);"#,
        ));
        assert!(restricts(&PolicySet::compile(&sources).unwrap(), Class::Service));
        assert!(restricts(&PolicySet::compile(&sources[1..]).unwrap(), Class::Service));
    }

    #[test]
    fn services_see_everything_and_others_do_not() {
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
        assert_eq!(Class::ALL.map(|c| masks(&set, c)), [false, true, true]);
        assert_eq!(Class::ALL.map(|c| restricts(&set, c)), [false, true, true]);
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Observe)).unwrap();
        assert_eq!(Class::ALL.map(|c| masks(&set, c)), [false, false, false]);
        assert_eq!(Class::ALL.map(|c| restricts(&set, c)), [false, false, false]);
    }

    #[test]
    fn a_policy_about_one_column_counts() {
        let mut sources = PolicySet::builtin(Profile::Protect);
        sources.push(PolicySource::new(
            "mine.cedar",
            r#"@id("mine") @reason("r") @mask("redact")
               forbid (principal in Governor::Class::"service", action == Governor::Action::"see", resource)
               when { resource.name == "salary" };"#,
        ));
        let set = PolicySet::compile(&sources).unwrap();
        assert!(masks(&set, Class::Service));
    }
}
