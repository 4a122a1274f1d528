//! Which columns the rules about seeing may be about, read from their scopes and conditions.
//!
//! What nothing else calls sensitive is shown without a question; a column that a rule may hide has to be asked about all
//! the same. So every set says which columns its forbids can concern. The built-in policies concern none: they speak of
//! columns that are sensitive anyway.
//!
//! Invariant: in doubt a rule concerns a column. A part that says nothing of the column counts as true, and so does its
//! negation.

use super::compile::PolicySet;
use crate::engine::model::{Category, ColumnName};
use cedar_policy::{Effect, Policy};
use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal, Pattern, UnaryOp, Var};
use std::collections::BTreeSet;

/// What the rules of a set may hide, besides what is sensitive anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    rules: Vec<Test>,
    /// Some rule may hide any column.
    any: bool,
}

impl Concerns {
    pub(super) fn of<'a>(policies: impl Iterator<Item = &'a Policy>) -> Self {
        let mut found = Self::default();
        for policy in policies.filter(|policy| policy.effect() == Effect::Forbid) {
            let policy = policy.as_ref();
            let scope = match policy.resource_constraint().as_inner().get_euid() {
                Some(named) => of_entity(named),
                None => Test::Any,
            };
            let conditions = policy.non_scope_constraints().map(|expr| may_be(expr, true, DEPTH_MAX));
            match scope.and(conditions.unwrap_or(Test::Any)) {
                Test::Any => found.any = true,
                Test::Nothing => {}
                test if found.rules.contains(&test) => {}
                test => found.rules.push(test),
            }
        }
        found
    }

    /// No rule names anything that is not sensitive anyway.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && !self.any
    }

    /// Some rule may hide any column.
    pub fn any(&self) -> bool {
        self.any
    }

    /// A rule that tells columns apart may hide this one. A name without its schema is taken for every column that it
    /// could be.
    pub fn names(&self, name: &ColumnName, labels: &BTreeSet<&str>) -> bool {
        self.rules.iter().any(|rule| rule.holds(name, labels))
    }

    /// Some rule tells columns apart.
    pub fn tell_apart(&self) -> bool {
        !self.rules.is_empty()
    }
}

impl PolicySet {
    /// Which columns have to be asked about although nothing calls them sensitive.
    pub fn concerns(&self) -> &Concerns {
        &self.concerns
    }

    /// A rule may hide this column, whatever it holds.
    pub fn may_hide(&self, name: &ColumnName) -> bool {
        let concerns = self.concerns();
        concerns.any() || (concerns.tell_apart() && concerns.names(name, &self.labelling().of_column(name)))
    }
}

/// What must hold for a column that a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Any,
    Nothing,
    Schema(String),
    Relation(String),
    Column(String),
    /// `schema.relation`
    WholeRelation(String),
    /// `schema.relation.column`
    WholeColumn(String),
    Like(Part, Pattern),
    Label(String),
    And(Vec<Test>),
    Or(Vec<Test>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Schema,
    Relation,
    Column,
}

impl Part {
    fn of(self, name: &ColumnName) -> &str {
        match self {
            Self::Schema => &name.schema,
            Self::Relation => &name.relation,
            Self::Column => &name.column,
        }
    }
}

impl Test {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Any, test) | (test, Self::Any) => test,
            (Self::And(mut all), test) => {
                all.push(test);
                Self::And(all)
            }
            (one, other) => Self::And(vec![one, other]),
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::Nothing, test) | (test, Self::Nothing) => test,
            (Self::Or(mut all), test) => {
                all.push(test);
                Self::Or(all)
            }
            (one, other) => Self::Or(vec![one, other]),
        }
    }

    fn holds(&self, name: &ColumnName, labels: &BTreeSet<&str>) -> bool {
        let any_schema = name.schema.is_empty();
        match self {
            Self::Any => true,
            Self::Nothing => false,
            Self::Schema(schema) => any_schema || *schema == name.schema,
            Self::Relation(relation) => *relation == name.relation,
            Self::Column(column) => *column == name.column,
            Self::WholeRelation(id) => ends_with(id, &format!("{}.{}", name.schema, name.relation)),
            Self::WholeColumn(id) => ends_with(id, &name.to_string()),
            Self::Like(Part::Schema, _) if any_schema => true,
            Self::Like(part, pattern) => pattern.wildcard_match(part.of(name)),
            Self::Label(label) => labels.contains(label.as_str()),
            Self::And(all) => all.iter().all(|test| test.holds(name, labels)),
            Self::Or(all) => all.iter().any(|test| test.holds(name, labels)),
        }
    }
}

/// `name` begins with its dot where its schema is not known.
fn ends_with(id: &str, name: &str) -> bool {
    if name.starts_with('.') { id.ends_with(name) } else { id == name }
}

/// Of which columns `expr` may be `wanted`, at least. What is deeper than `depth` says nothing.
fn may_be(expr: &Expr, wanted: bool, depth: usize) -> Test {
    let Some(depth) = depth.checked_sub(1) else { return Test::Any };
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Bool(value)) => {
            if *value == wanted {
                Test::Any
            } else {
                Test::Nothing
            }
        }
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => may_be(arg, !wanted, depth),
        ExprKind::And { .. } | ExprKind::Or { .. } => {
            let is_and = matches!(expr.expr_kind(), ExprKind::And { .. });
            let join = if is_and == wanted { Test::and } else { Test::or };
            // A chain is as deep as it is long, to the left.
            let (mut rest, mut found) = (expr, None::<Test>);
            let mut add = |test: Test| {
                found = Some(match found.take() {
                    Some(found) => join(test, found),
                    None => test,
                });
            };
            loop {
                match rest.expr_kind() {
                    ExprKind::And { left, right } if is_and => {
                        add(may_be(right, wanted, depth));
                        rest = left;
                    }
                    ExprKind::Or { left, right } if !is_and => {
                        add(may_be(right, wanted, depth));
                        rest = left;
                    }
                    _ => break,
                }
            }
            add(may_be(rest, wanted, depth));
            found.unwrap_or(Test::Any)
        }
        ExprKind::If { test_expr, then_expr, else_expr } => {
            let then = may_be(test_expr, true, depth).and(may_be(then_expr, wanted, depth));
            then.or(may_be(test_expr, false, depth).and(may_be(else_expr, wanted, depth)))
        }
        // The origin of a column that is asked about by its name is known.
        ExprKind::GetAttr { expr: of, attr } if is_resource(of) && attr.as_str() == "origin_known" => {
            if wanted {
                Test::Any
            } else {
                Test::Nothing
            }
        }
        ExprKind::Like { expr: of, pattern } => match part(of) {
            Some(Of::Part(part)) if wanted => Test::Like(part, pattern.clone()),
            Some(Of::Category) if pattern.wildcard_match(Category::Asked.as_str()) != wanted => Test::Nothing,
            _ => Test::Any,
        },
        ExprKind::BinaryApp { op, arg1, arg2 } => of_comparison(*op, arg1, arg2, wanted),
        _ => Test::Any,
    }
}

fn of_comparison(op: BinaryOp, left: &Expr, right: &Expr, wanted: bool) -> Test {
    match op {
        BinaryOp::Eq => match (part(left), text(right), part(right), text(left)) {
            (Some(of), Some(text), ..) | (_, _, Some(of), Some(text)) => equals(of, text, wanted),
            _ => match (is_resource(left), entity(right), is_resource(right), entity(left)) {
                (true, Some(named), ..) | (_, _, true, Some(named)) if wanted => of_entity(named),
                _ => Test::Any,
            },
        },
        BinaryOp::In if is_resource(left) && wanted => any_of(right, entity, of_entity),
        BinaryOp::Contains => match (left.expr_kind(), part(right)) {
            (ExprKind::Set(_), Some(of)) if wanted => any_of(left, text, |text| equals(of, text, true)),
            (ExprKind::Set(_), Some(Of::Category)) => {
                let is_in = any_of(left, text, |text| equals(Of::Category, text, true)) != Test::Nothing;
                if is_in { Test::Nothing } else { Test::Any }
            }
            _ if is_labels(left) && wanted => any_of(right, text, |label| Test::Label(label.into())),
            _ => Test::Any,
        },
        BinaryOp::ContainsAny if wanted && is_labels(left) => {
            any_of(right, text, |label| Test::Label(label.into()))
        }
        BinaryOp::ContainsAny if wanted && is_labels(right) => {
            any_of(left, text, |label| Test::Label(label.into()))
        }
        // One of them is enough for "may".
        BinaryOp::ContainsAll if wanted && is_labels(left) && is_some(right) => {
            any_of(right, text, |label| Test::Label(label.into()))
        }
        _ => Test::Any,
    }
}

/// One of the members of a set holds, or the one thing that stands there.
fn any_of<'a, T>(expr: &'a Expr, read: impl Fn(&'a Expr) -> Option<T>, test: impl Fn(T) -> Test) -> Test {
    let members = match expr.expr_kind() {
        ExprKind::Set(members) => members.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    members.iter().fold(Test::Nothing, |all, member| all.or(read(member).map_or(Test::Any, &test)))
}

fn is_some(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Set(members) if !members.is_empty())
}

/// An attribute of the column that is one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Part(Part),
    Category,
}

fn part(expr: &Expr) -> Option<Of> {
    let ExprKind::GetAttr { expr: of, attr } = expr.expr_kind() else { return None };
    match attr.as_str() {
        _ if !is_resource(of) => None,
        "schema" => Some(Of::Part(Part::Schema)),
        "relation" => Some(Of::Part(Part::Relation)),
        "name" => Some(Of::Part(Part::Column)),
        "category" => Some(Of::Category),
        _ => None,
    }
}

fn equals(of: Of, text: &str, wanted: bool) -> Test {
    match of {
        // What is sensitive for another reason is asked about anyway.
        Of::Category if (text == Category::Asked.as_str()) != wanted => Test::Nothing,
        Of::Part(part) if wanted => match part {
            Part::Schema => Test::Schema(text.into()),
            Part::Relation => Test::Relation(text.into()),
            Part::Column => Test::Column(text.into()),
        },
        _ => Test::Any,
    }
}

fn of_entity(named: &EntityUID) -> Test {
    let id: &str = named.eid().as_ref();
    match named.entity_type().name().basename().to_string().as_str() {
        "Column" => Test::WholeColumn(id.into()),
        "Relation" => Test::WholeRelation(id.into()),
        "Schema" => Test::Schema(id.into()),
        // All columns of a database, server or environment.
        _ => Test::Any,
    }
}

fn is_resource(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Var(Var::Resource))
}

fn is_labels(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::GetAttr { expr: of, attr } if is_resource(of) && attr.as_str() == "labels")
}

fn text(expr: &Expr) -> Option<&str> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::String(text)) => Some(text),
        _ => None,
    }
}

fn entity(expr: &Expr) -> Option<&EntityUID> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(named)) => Some(named),
        _ => None,
    }
}

/// Of operators within each other; a chain of one is no depth.
const DEPTH_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::policy::{PolicyParts, PolicySource, Profile};

    fn set(rule: &str) -> PolicySet {
        let mut sources = PolicySet::builtin(Profile::Protect);
        sources.push(PolicySource::new("mine.cedar", format!("@id(\"mine\") @reason(\"r\") {rule};")));
        let labelling =
            toml::from_str("[[label]]\nlabels = [\"secret\"]\non = [\"public.cards\", \"crm.*.note\"]\n")
                .unwrap();
        PolicySet::compile_parts(&PolicyParts { sources, labelling, ..PolicyParts::default() }).unwrap()
    }

    /// Of four columns, those that a forbid on seeing with these ends concerns: `n`ote, `i`d, `c`ard, `p`ayroll.
    fn concerned(rest: &str) -> String {
        let set = set(&format!("forbid (principal, action == Governor::Action::\"see\", {rest}"));
        let columns = [
            ("n", "crm", "people", "note"),
            ("i", "crm", "people", "id"),
            ("c", "public", "cards", "id"),
            ("p", "payroll", "pay", "note"),
        ];
        let name = |schema: &str, relation: &str, column: &str| ColumnName {
            schema: schema.into(),
            relation: relation.into(),
            column: column.into(),
        };
        let hit = columns
            .iter()
            .filter(|(_, schema, relation, column)| set.may_hide(&name(schema, relation, column)));
        hit.map(|(letter, ..)| *letter).collect()
    }

    #[test]
    fn rules_concern_what_they_name_and_all_where_they_name_nothing() {
        for (rest, expected) in [
            ("resource == Governor::Column::\"crm.people.note\")", "n"),
            ("resource in Governor::Relation::\"public.cards\")", "c"),
            ("resource in Governor::Schema::\"crm\")", "ni"),
            ("resource in Governor::Database::\"shop\")", "nicp"),
            ("resource)", "nicp"),
            ("resource) unless { principal in Governor::Group::\"x\" }", "nicp"),
            ("resource) when { resource.name == \"note\" }", "np"),
            ("resource) when { \"note\" == resource.name && resource.schema == \"crm\" }", "n"),
            ("resource in Governor::Schema::\"crm\") when { resource.name == \"id\" }", "i"),
            ("resource) when { [\"cards\", \"pay\"].contains(resource.relation) }", "cp"),
            ("resource) when { resource.schema like \"pay*\" }", "p"),
            (
                "resource) when { resource.category == \"payment_card\" || resource in Governor::Relation::\"public.cards\" }",
                "c",
            ),
            (
                "resource) when { resource in [Governor::Relation::\"public.cards\", Governor::Relation::\"payroll.pay\"] }",
                "cp",
            ),
            ("resource) when { resource.labels.contains(\"secret\") }", "nc"),
            (
                "resource) when { resource.labels.containsAny([\"secret\", \"other\"]) && resource.name == \"id\" }",
                "c",
            ),
            ("resource) when { if resource.schema == \"crm\" then resource.name == \"id\" else false }", "i"),
            // Of what is sensitive anyway.
            ("resource) when { !resource.origin_known || resource.category == \"financial\" }", ""),
            ("resource) when { [\"email\", \"unknown\"].contains(resource.category) }", ""),
            ("resource) when { resource.category != \"none\" }", ""),
            ("resource) unless { [\"none\"].contains(resource.category) }", ""),
            // What excludes is no bound.
            ("resource) when { resource.category != \"email\" }", "nicp"),
            ("resource) unless { resource.name == \"id\" }", "nicp"),
            ("resource) when { resource.name == \"note\" || principal.terminal }", "nicp"),
            ("resource) unless { resource.name != \"note\" }", "np"),
        ] {
            assert_eq!(concerned(rest), expected, "{rest}");
        }
    }

    #[test]
    fn built_in_policies_and_packs_concern_nothing_by_themselves() {
        for profile in Profile::ALL {
            let set = PolicySet::compile(&PolicySet::builtin(profile)).unwrap();
            assert!(set.concerns().is_empty(), "{profile:?}");
        }
        assert!(!set("permit (principal, action == Governor::Action::\"see\", resource)").concerns().any());
        assert!(!set("forbid (principal, action == Governor::Action::\"drop\", resource)").concerns().any());
        assert!(set("forbid (principal, action, resource)").concerns().any());
    }

    #[test]
    fn a_name_without_its_schema_is_any() {
        let set = set(
            "forbid (principal, action == Governor::Action::\"see\", resource == Governor::Column::\"crm.people.note\")",
        );
        let bare = |column: &str| ColumnName {
            schema: String::new(),
            relation: "people".into(),
            column: column.into(),
        };
        assert!(set.may_hide(&bare("note")) && !set.may_hide(&bare("id")));
    }

    #[test]
    fn a_long_chain_is_read_to_its_end() {
        let parts: Vec<String> = (0..800).map(|n| format!("resource.name == \"c{n}\"")).collect();
        let rule = format!("resource) when {{ {} || resource.name == \"note\" }}", parts.join(" || "));
        assert_eq!(concerned(&rule), "np");
        let deep =
            format!("resource) when {{ {}resource.name == \"note\"{} }}", "!(".repeat(42), ")".repeat(42));
        assert_eq!(concerned(&deep), "nicp", "deeper than anybody writes");
    }
}
