//! Memory and slices change no answer: over random policies, principals, statements and surroundings, what is answered
//! is what plain Cedar answers with every policy, on both readings of the names.

use super::super::context::Clock;
use super::super::decide::kinds_of;
use super::super::question::{HiddenCondition, Reading};
use super::super::{mentions, names, token};
use super::labelling::relation;
use super::*;
use crate::engine::model::{Clause, ColumnName, Form};
use crate::engine::policy::schema::Ask;
use cedar_policy::{Authorizer, Context, Entities, Entity, Policy, Request};
use proptest::prelude::*;
use std::num::NonZeroUsize;
use std::str::FromStr;

const PRINCIPALS: [&str; 6] = [
    "principal",
    "principal in Governor::Class::\"agent\"",
    "principal in Governor::Class::\"person\"",
    "principal in Governor::Group::\"g\"",
    "principal in Governor::User::\"bob\"",
    "principal is Governor::Process in Governor::Class::\"service\"",
];
const ACTIONS: [&str; 5] = [
    "action in Governor::Action::\"run\"",
    "action == Governor::Action::\"select\"",
    "action in [Governor::Action::\"write\", Governor::Action::\"opaque\"]",
    "action == Governor::Action::\"delete\"",
    "action in Governor::Action::\"read\"",
];
const RESOURCES: [&str; 5] = [
    "resource",
    "resource == Governor::Database::\"shop\"",
    "resource in Governor::Environment::\"production\"",
    "resource in Governor::Server::\"10.0.0.5:5432\"",
    "resource in Governor::Database::\"other\"",
];
const CONDITIONS: [&str; 22] = [
    "when { context.function_schemas.contains(\"pay\") }",
    "unless { [\"open\", \"pg_catalog\"].containsAll(context.function_schemas) }",
    "",
    "when { principal.class != \"service\" }",
    "when { principal.class != \"agent\" && context.is_write }",
    "unless { context.approved }",
    "when { context.schemas.contains(\"pay\") }",
    "when { [\"open\", \"pay\"].containsAll(context.schemas) }",
    "when { context.labels.contains(\"pci\") }",
    "when { context.shared_labels.contains(\"open\") }",
    "when { context.reads.contains(\"pay.cards\") } unless { context.approved }",
    "when { context.writes.contains(\"cards\") }",
    "when { context.time.hour < 12 }",
    "when { context.time.minute == 7 } unless { context.approved }",
    "unless { context has break_glass }",
    "when { context has estimated_rows && context.estimated_rows > 10 }",
    "when { principal has unit && context.reads_sensitive }",
    "when { context.conditions_masked }",
    "when { context.conditions.contains(\"pay.cards.number\") } unless { context.approved }",
    "unless { [\"equality\"].containsAll(context.condition_forms) }",
    "when { context.copies_masked }",
    "when { context.destination.port + 9223372036854775807 > 0 }",
];

fn policy() -> impl Strategy<Value = String> {
    (
        any::<bool>(),
        0..PRINCIPALS.len(),
        0..ACTIONS.len(),
        0..RESOURCES.len(),
        0..CONDITIONS.len(),
        any::<bool>(),
    )
        .prop_map(|(permit, principal, action, resource, condition, approvable)| {
            let (principal, action) = (PRINCIPALS[principal], ACTIONS[action]);
            let (resource, condition) = (RESOURCES[resource], CONDITIONS[condition]);
            let approvable = approvable && !permit && condition.contains("context.approved");
            let note = if approvable { "@approval(\"dba\") " } else { "" };
            let effect = if permit { "permit" } else { "forbid" };
            format!("{note}{effect} ({principal}, {action}, {resource}) {condition};\n")
        })
}

fn asker() -> impl Strategy<Value = Principal> {
    (0..3_usize, any::<bool>(), any::<bool>()).prop_map(|(class, is_bob, has_unit)| {
        let mut principal = principal(Class::ALL[class]);
        if is_bob {
            principal.user = "bob".into();
        }
        if !has_unit {
            principal.unit = None;
        }
        principal
    })
}

fn asked() -> impl Strategy<Value = Statement> {
    const NAMES: [&str; 5] = ["pay.cards", "cards", "open.a", "a", "public.b"];
    const KINDS: [StatementKind; 4] =
        [StatementKind::Select, StatementKind::Delete, StatementKind::Do, StatementKind::CopyOut];
    let some = || proptest::collection::btree_set(0..NAMES.len(), 0..3);
    const FUNCTIONS: [&str; 3] = ["pay.f", "f", "open.g"];
    let functions = proptest::collection::btree_set(0..FUNCTIONS.len(), 0..2);
    (0..KINDS.len(), some(), some(), functions, any::<bool>(), any::<bool>()).prop_map(
        |(kind, reads, writes, functions, unknown, two)| {
            let mut s = statement(KINDS[kind]);
            if two {
                s.kinds.push(StatementKind::Insert);
            }
            s.reads = reads.into_iter().map(|n| relation(NAMES[n])).collect();
            s.writes = writes.into_iter().map(|n| relation(NAMES[n])).collect();
            s.functions = functions.into_iter().map(|n| function(FUNCTIONS[n])).collect();
            s.unknown = unknown.then(|| Unknown::DynamicSql { by: "DO".into() });
            s
        },
    )
}

fn function(name: &str) -> FunctionName {
    let RelationName { schema, name } = relation(name);
    FunctionName { schema, name }
}

fn condition(column: &str, form: Form) -> HiddenCondition {
    let column = ColumnName { schema: "pay".into(), relation: "cards".into(), column: column.into() };
    HiddenCondition { column: Some(column), clause: Clause::Where, form }
}

fn around() -> impl Strategy<Value = RunContext> {
    let rows = prop_oneof![Just(None), Just(Some(5)), Just(Some(50))];
    let schemas = prop_oneof![
        Just(None),
        Just(Some(vec!["pay".to_owned()])),
        Just(Some(vec!["open".to_owned(), "pay".to_owned()]))
    ];
    (any::<[bool; 8]>(), 0..1440_u64, rows, schemas).prop_map(
        |(
            [approved, reads_sensitive, glass, columns_certain, functions_certain, equals, fits, copies],
            minute,
            estimated_rows,
            schemas,
        )| RunContext {
            session: SessionContext {
                at: Some(Moment::of(Timestamp { unix_ns: minute * 60_000_000_000, monotonic_ns: 0 })),
                break_glass: glass.then(|| "fire".into()),
            },
            approved,
            reads_sensitive,
            estimated_rows,
            bare_schemas: schemas.map(Arc::from),
            columns_certain,
            functions_certain,
            conditions: [(equals, Form::Equality), (fits, Form::Pattern)]
                .into_iter()
                .filter(|(there, _)| *there)
                .map(|(_, form)| condition("number", form))
                .collect(),
            copies_masked: copies,
        },
    )
}

const LABELS: &str = r#"{
    "label": [{"on": ["pay.cards"], "labels": ["pci"]}, {"on": ["open.*"], "labels": ["open"]},
              {"on": ["pay.cards.email"], "labels": ["pci"]}],
    "environment": [{"name": "production", "servers": ["10.0.0.0/8"]}],
    "groups": {"g": ["bob"]}
}"#;

/// Everything that plain Cedar is asked with: no slices, no memory, all attributes.
struct Plain {
    policies: cedar_policy::PolicySet,
    /// Ids of forbids that an approval may lift.
    approvable: Vec<bool>,
}

impl Plain {
    fn new(texts: &[String]) -> Self {
        let set = texts.iter().enumerate().map(|(n, text)| {
            let set = cedar_policy::PolicySet::from_str(text).unwrap();
            set.policies().next().unwrap().new_id(cedar_policy::PolicyId::new(n.to_string()))
        });
        let policies: Vec<Policy> = set.collect();
        let approvable = texts.iter().map(|text| text.contains("@approval")).collect();
        Self { policies: cedar_policy::PolicySet::from_policies(policies).unwrap(), approvable }
    }

    /// Whether it is allowed, and if not, whether only approvable forbids stand against it.
    fn answer(
        &self,
        who: &Entity,
        s: &Statement,
        around: &RunContext,
        labelling: &Labelling,
        vocabulary: &[&names::Vocabulary],
    ) -> (bool, bool) {
        let loaded = schema::loaded().unwrap();
        let resource = entity::database(&claims(), &server(), labelling).unwrap();
        let clock = Clock { at: around.session.at.unwrap(), zone: &jiff::tz::TimeZone::UTC };
        let (mut allowed, mut liftable) = (true, true);
        for reading in [Reading::Certain, Reading::Possible] {
            let names = names::of(s, around, labelling, vocabulary, reading);
            let context: Context =
                context::of_statement(&claims(), &server(), s, around, names, Some(clock)).unwrap();
            for kind in kinds_of(s) {
                let action = &loaded.actions[Ask::Run(kind).as_str()];
                let request =
                    Request::new(who.uid(), action.uid(), resource.uid(), context.clone(), None).unwrap();
                let entities = [action.clone(), who.clone(), resource.clone()];
                let entities = Entities::from_entities(entities, None).unwrap();
                let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
                let failed = response.diagnostics().errors().next().is_some();
                let permitted = response.decision() == cedar_policy::Decision::Allow;
                if permitted && !failed {
                    continue;
                }
                allowed = false;
                let mut forbids = response.diagnostics().reason().peekable();
                let by_forbids = !permitted && forbids.peek().is_some();
                liftable &= !failed
                    && by_forbids
                    && forbids.all(|id| self.approvable[id.to_string().parse::<usize>().unwrap()]);
            }
        }
        (allowed, liftable)
    }

    fn verdict(
        &self,
        who: &Entity,
        s: &Statement,
        around: &RunContext,
        labelling: &Labelling,
        vocabulary: &[&names::Vocabulary],
    ) -> Verdict {
        let (allowed, liftable) = self.answer(who, s, around, labelling, vocabulary);
        let approved = RunContext { approved: true, ..around.clone() };
        match (allowed, liftable) {
            (true, _) => Verdict::Allow,
            (false, true) if !around.approved && self.answer(who, s, &approved, labelling, vocabulary).0 => {
                Verdict::Hold
            }
            _ => Verdict::Deny,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn memory_and_slices_change_no_answer(
        texts in proptest::collection::vec(policy(), 1..12),
        questions in proptest::collection::vec((asker(), asked(), around()), 1..7),
    ) {
        let labelling: Labelling = serde_json::from_str(LABELS).unwrap();
        let sources = texts.iter().enumerate().map(|(n, text)| PolicySource::new(n.to_string(), text.clone()));
        let parts =
            PolicyParts { sources: sources.collect(), labelling, ..PolicyParts::default() };
        let set = PolicySet::compile_parts(&parts).unwrap();
        let plain = Plain::new(&texts);
        let mut vocabulary = names::Vocabulary::default();
        for text in &texts {
            vocabulary.join(&mentions::read(&token::tokens(text)).1);
        }
        let vocabulary = [&vocabulary];
        let mut cache = DecisionCache::new(NonZeroUsize::new(64).unwrap());
        let askers: Vec<PolicyPrincipal> =
            questions.iter().map(|(who, _, _)| PolicyPrincipal::new(who.clone().into())).collect();
        // Twice, and every principal with every question: what is remembered of one is offered to all.
        for _ in 0..2 {
            for who in &askers {
                for (_, s, around) in &questions {
                    let entity = who.entity(set.identity, &set.labelling).unwrap();
                    let expected = plain.verdict(&entity, s, around, &set.labelling, &vocabulary);
                    let uncached = set.run(who, &claims(), &server(), s, around);
                    prop_assert_eq!(uncached.verdict, expected, "{:?} {:?} {:?}", texts, s, around);
                    let cached = cache.run(&set, who, &claims(), &server(), s, around);
                    prop_assert_eq!(&*cached, &uncached, "{:?} {:?} {:?}", texts, s, around);
                }
            }
        }
    }
}

/// A clock that ticks must not empty the memory of those who do not look at it.
#[test]
fn time_is_part_of_the_key_only_where_policy_looks_at_it() {
    let at = |minute: u64| RunContext {
        session: SessionContext {
            at: Some(Moment::of(Timestamp { unix_ns: minute * 60_000_000_000, monotonic_ns: 0 })),
            break_glass: None,
        },
        ..RunContext::default()
    };
    let s = statement(StatementKind::Select);
    for (text, asked_count) in [
        ("permit (principal, action in Governor::Action::\"run\", resource);", 1),
        (
            "permit (principal, action in Governor::Action::\"run\", resource) when { context.time.hour < 24 };",
            60,
        ),
        // Looked at for another kind of statement only.
        (
            "permit (principal, action in Governor::Action::\"run\", resource);\n\
             forbid (principal, action == Governor::Action::\"drop\", resource) when { context.time.hour < 24 };",
            1,
        ),
    ] {
        let set = set(text);
        let mut cache = DecisionCache::new(NonZeroUsize::new(64).unwrap());
        let who = who(Class::Person);
        for minute in 0..60 {
            let decision = cache.run(&set, &who, &claims(), &server(), &s, &at(minute));
            assert_eq!(decision.verdict, Verdict::Allow);
        }
        assert_eq!(cache.counts().1, asked_count, "{text}");
    }
}
