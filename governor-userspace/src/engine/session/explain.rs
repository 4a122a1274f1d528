//! One question, answered in full: verdicts, the policies behind them, and the facts that they were decided on.

use super::cases::{To, column_named};
use super::column_words::{Because, ColumnWords};
use super::rehearsal::{Known, Rehearsal, Rehearsed, RehearsedColumn, RelationLabels};
use crate::engine::model::{
    Category, Claims, Decision, Endpoint, MaskStyle, Principal, Reason, Timestamp, Unknown, Verdict,
};
use crate::engine::policy::{Moment, PolicySet, SessionContext, Visibility};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub principal: Principal,
    #[serde(default)]
    pub to: To,
    #[serde(default)]
    pub sql: Option<String>,
    /// Columns, as `schema.relation.column` or `unknown`, and what they hold; `None`: what files, `governor data` and the name
    /// say.
    #[serde(default)]
    pub see: Vec<(String, Option<Category>)>,
    #[serde(default)]
    pub approved: bool,
    #[serde(default)]
    pub break_glass: Option<String>,
    /// `None`: not known.
    #[serde(default)]
    pub at: Option<Timestamp>,
    #[serde(default)]
    pub estimated_rows: Option<u64>,
    #[serde(default)]
    pub reads_sensitive: Option<bool>,
    /// Schemas that names without one can mean; `None`: any.
    #[serde(default)]
    pub schemas: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Of the policy set that answered.
    pub version: String,
    pub principal: String,
    pub claims: Claims,
    pub destination: Endpoint,
    pub connect: ExplainedDecision,
    pub statements: Vec<ExplainedStatement>,
    pub columns: Vec<ExplainedColumn>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedDecision {
    pub verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approvers: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub audit_sync: bool,
    pub reasons: Arc<[Reason]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStatement {
    pub text: String,
    pub decision: ExplainedDecision,
    pub facts: ExplainedFacts,
    pub columns: Vec<ExplainedColumn>,
}

/// What the statement was decided on, in the words of policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedFacts {
    pub kind: String,
    pub kinds: Vec<String>,
    pub tag: String,
    pub reads: Vec<String>,
    pub writes: Vec<String>,
    pub functions: Vec<String>,
    pub columns: Vec<String>,
    pub every_column: bool,
    /// Columns come that are not listed: only a session's catalogue knows them.
    #[serde(default)]
    pub unlisted_columns: bool,
    /// Labels of relations that have any.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub labels: Vec<RelationLabels>,
    pub is_write: bool,
    pub reads_sensitive: bool,
    /// Masked columns that have a say in the answer, as far as names of columns tell.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub conditions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub has_where: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unknown: Option<Unknown>,
    /// What could be meant and was asked about as well as what is certain. Empty where nothing is in doubt.
    pub doubts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedColumn {
    pub column: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub category: Option<Category>,
    /// `None`: in clear.
    pub mask: Option<MaskStyle>,
    pub reasons: Vec<Reason>,
    /// What says that it holds that; `None` where the question did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub because: Option<Because>,
    /// Its own and its relation's.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub labels: Vec<String>,
    /// The statement does not name it: it comes with `*`, a whole row or COPY.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub unnamed: bool,
}

/// Answers `question` with `set`, and `words` on the columns of its database.
///
/// # Errors
/// What is wrong with the question.
pub fn explain(set: &PolicySet, question: &Question, words: ColumnWords) -> Result<Explanation, String> {
    let (claims, destination) = (question.to.claims(), question.to.destination());
    let around = SessionContext {
        at: question.at.map(Moment::of),
        break_glass: question.break_glass.as_deref().map(Into::into),
    };
    let principal = Arc::new(question.principal.clone());
    let rehearsal =
        Rehearsal::new(set, principal, claims.clone(), destination.clone(), around).with_words(words);
    let known = Known {
        approved: question.approved,
        reads_sensitive: question.reads_sensitive,
        estimated_rows: question.estimated_rows,
        bare_schemas: question.schemas.clone().map(Into::into),
        columns_certain: false,
        conditions: None,
        copies_masked: None,
    };
    let statements = question.sql.iter().flat_map(|sql| rehearsal.run(sql, &known)).map(Into::into).collect();
    let mut columns = vec![];
    for (name, category) in &question.see {
        let asked = column_named(name, *category)?;
        columns.push(match (&asked.column, category) {
            // What nothing calls sensitive is shown as it is.
            (Some(column), None) => match rehearsal.column(column, true) {
                Some(found) => ExplainedColumn { column: name.clone(), ..found.into() },
                None => ExplainedColumn::new(name.clone(), None, Visibility::Clear),
            },
            _ => ExplainedColumn::new(name.clone(), *category, rehearsal.see(&asked)),
        });
    }
    Ok(Explanation {
        version: set.version().into(),
        principal: match &question.principal {
            // One that was described, not found.
            described if described.pid == 0 => format!("{} {}", described.class, described.user),
            found => found.summary(),
        },
        claims,
        destination,
        connect: rehearsal.connect().into(),
        statements,
        columns,
    })
}

impl From<Decision> for ExplainedDecision {
    fn from(decision: Decision) -> Self {
        Self {
            verdict: decision.verdict,
            approvers: decision.hold.map(|hold| hold.approvers),
            audit_sync: decision.obligations.audit_sync,
            reasons: decision.reasons,
        }
    }
}

impl From<Rehearsed> for ExplainedStatement {
    fn from(one: Rehearsed) -> Self {
        let Rehearsed { statement: s, context, decision, columns, has_unlisted, labels } = one;
        let names =
            |list: &[crate::engine::model::RelationName]| list.iter().map(ToString::to_string).collect();
        let bare: BTreeSet<String> = s
            .reads
            .iter()
            .chain(&s.writes)
            .filter(|relation| relation.schema.is_none())
            .map(ToString::to_string)
            .collect();
        let bare: Vec<String> = bare.into_iter().collect();
        let mut doubts = vec![];
        match context.bare_schemas.as_deref() {
            _ if bare.is_empty() => {}
            None => doubts.push(format!("{} could be in any schema", bare.join(", "))),
            Some([_]) => {}
            Some(schemas) => {
                doubts.push(format!("{} could be in any of {}", bare.join(", "), schemas.join(", ")));
            }
        }
        if s.unknown.is_some() {
            doubts.push("it could read and write anything".into());
        }
        Self {
            text: s.text.to_string(),
            decision: decision.into(),
            facts: ExplainedFacts {
                kind: s.kind.as_str().into(),
                kinds: s.kinds.iter().map(|kind| kind.as_str().into()).collect(),
                tag: s.tag.clone(),
                reads: names(&s.reads),
                writes: names(&s.writes),
                functions: s.functions.iter().map(ToString::to_string).collect(),
                columns: s.mentions.columns.clone(),
                every_column: s.mentions.every_column,
                unlisted_columns: has_unlisted,
                labels,
                is_write: s.is_write(),
                reads_sensitive: context.reads_sensitive,
                conditions: context.conditions.iter().map(ToString::to_string).collect(),
                has_where: s.has_where,
                unknown: s.unknown,
                doubts,
            },
            columns: columns.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<RehearsedColumn> for ExplainedColumn {
    fn from(column: RehearsedColumn) -> Self {
        let RehearsedColumn { name, category, visibility, because, labels, is_named } = column;
        let shown = Self::new(name, Some(category), visibility);
        Self { because: Some(because), labels, unnamed: !is_named, ..shown }
    }
}

impl ExplainedColumn {
    fn new(column: String, category: Option<Category>, visibility: Visibility) -> Self {
        let (mask, reasons) = match visibility {
            Visibility::Clear => (None, vec![]),
            Visibility::Masked { style, reasons } => (Some(style), reasons.to_vec()),
        };
        Self { column, category, mask, reasons, because: None, labels: vec![], unnamed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::{Class, ColumnName};
    use crate::engine::policy::Profile;
    use crate::engine::policy::tests::principal;
    use crate::engine::session::catalogue::{ColumnPattern, Labels, Ruling};
    use crate::engine::session::discovery::RuledBy;

    #[test]
    fn each_column_says_what_makes_it_sensitive() {
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
        let pattern = |relation: &str, column: &str| ColumnPattern {
            schema: "shop".into(),
            relation: relation.into(),
            column: column.into(),
        };
        let name = |column: &str| ColumnName {
            schema: "shop".into(),
            relation: "people".into(),
            column: column.into(),
        };
        let words = ColumnWords {
            labels: Labels {
                sensitive: vec![(pattern("people", "c1"), Category::Iban)],
                styles: vec![(pattern("people", "c1"), MaskStyle::Hash)],
                clear: vec![pattern("people", "phone")],
                ..Labels::default()
            },
            rulings: vec![
                (name("c2"), Ruling::Sensitive(Category::Email), RuledBy::Values),
                (name("c3"), Ruling::Sensitive(Category::Health), RuledBy::Operator),
                (name("ssn"), Ruling::Dismissed, RuledBy::Operator),
            ],
            catalogue: None,
        };
        let question = |sql: &str| -> Question {
            serde_json::from_value(serde_json::json!({ "principal": principal(Class::Agent), "sql": sql }))
                .unwrap()
        };
        let columns = |sql: &str| -> Vec<(String, Option<Because>, Option<MaskStyle>)> {
            let told = explain(&set, &question(sql), words.clone()).unwrap();
            told.statements[0].columns.iter().map(|c| (c.column.clone(), c.because, c.mask)).collect()
        };
        let is = |column: &str, because, mask| (format!("shop.people.{column}"), Some(because), mask);
        let mut found = columns("SELECT c1, c2, c3, c4, phone, ssn, email FROM shop.people");
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            found,
            [
                is("c1", Because::Configured, Some(MaskStyle::Hash)),
                is("c2", Because::Found, Some(MaskStyle::Partial)),
                is("c3", Because::Said, found[2].2),
                is("email", Because::Named, Some(MaskStyle::Partial)),
                is("phone", Because::Cleared, None),
                is("ssn", Because::Dismissed, None),
            ]
        );
        assert!(found[2].2.is_some());
        // Without its schema a name may mean what is said, and nothing clears it.
        let mut bare = columns("SELECT c2, phone, ssn FROM people");
        bare.sort_by(|a, b| a.0.cmp(&b.0));
        let bare: Vec<_> =
            bare.iter().map(|(column, because, mask)| (&**column, *because, mask.is_some())).collect();
        assert_eq!(
            bare,
            [
                ("people.c2", Some(Because::Found), true),
                ("people.phone", Some(Because::Named), true),
                ("people.ssn", Some(Because::Named), true),
            ]
        );
    }

    /// What is known of columns that are not named: what was said of them, and with the catalogue every one.
    #[test]
    fn columns_behind_a_star_are_told_as_far_as_they_are_known() {
        use crate::engine::model::{CatalogueBuilder, Column, Relation, RelationKind};
        use crate::engine::session::catalogue::{Catalogue, Rulings};
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
        let column =
            |attribute, name: &str| Column { attribute, name: name.into(), type_oid: 25, characters_max: 0 };
        let mut builder = CatalogueBuilder::default();
        let people = Relation {
            oid: 20_000,
            schema: "shop".into(),
            name: "people".into(),
            kind: RelationKind::Table,
            columns: vec![column(1, "id"), column(2, "email"), column(3, "c1")].into(),
            parents: Box::default(),
            definition: None,
            rows_estimate: None,
        };
        builder.relation(people, 0);
        let dialect = crate::engine::sql::PostgresDialect::default();
        let (labels, none) = (Labels::default(), Rulings::default());
        let now = Timestamp { unix_ns: 0, monotonic_ns: 0 };
        let catalogue = Catalogue::new(builder.finish(), &labels, &none, &dialect, now);
        let said = ColumnName { schema: "shop".into(), relation: "people".into(), column: "c1".into() };
        let rulings = vec![(said, Ruling::Sensitive(Category::Health), RuledBy::Operator)];
        let told = |catalogue| {
            let question: Question = serde_json::from_value(
                serde_json::json!({ "principal": principal(Class::Agent), "sql": "SELECT * FROM shop.people" }),
            )
            .unwrap();
            let words = ColumnWords { labels: Labels::default(), rulings: rulings.clone(), catalogue };
            let told = explain(&set, &question, words).unwrap().statements.remove(0);
            let columns: Vec<_> =
                told.columns.iter().map(|c| (c.column.clone(), c.unnamed, c.mask.is_some())).collect();
            (told.facts.unlisted_columns, columns)
        };
        let one = |name: &str| (format!("shop.people.{name}"), true, true);
        assert_eq!(told(None), (true, vec![one("c1")]));
        assert_eq!(told(Some(catalogue.into())), (false, vec![one("c1"), one("email")]));
    }

    #[test]
    fn verdicts_facts_and_columns_are_told() {
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
        let question: Question = serde_json::from_value(serde_json::json!({
            "principal": principal(Class::Agent),
            "to": { "server": "10.0.0.5:5432", "database": "shop" },
            "sql": "SELECT email FROM shop.people; DELETE FROM orders WHERE id = 7",
            "see": [["shop.people.password", "credential"], ["unknown", null]],
        }))
        .unwrap();
        let told = explain(&set, &question, ColumnWords::default()).unwrap();
        assert_eq!((told.version.as_str(), told.connect.verdict), (set.version(), Verdict::Allow));
        let [select, delete] = told.statements.as_slice() else { panic!("{told:#?}") };
        assert_eq!(select.decision.verdict, Verdict::Allow);
        assert_eq!(select.columns[0].mask, Some(MaskStyle::Partial));
        assert!(select.facts.doubts.is_empty());
        assert_eq!(
            (delete.decision.verdict, delete.decision.approvers.as_deref()),
            (Verdict::Hold, Some("dba"))
        );
        assert_eq!(delete.facts.doubts, ["orders could be in any schema"]);
        assert_eq!(told.columns.iter().map(|c| c.mask).collect::<Vec<_>>(), [Some(MaskStyle::Redact); 2]);
        let again: Explanation = serde_json::from_value(serde_json::to_value(&told).unwrap()).unwrap();
        assert_eq!(again, told);
        let wrong = Question { see: vec![("people".into(), None)], ..question };
        assert!(explain(&set, &wrong, ColumnWords::default()).unwrap_err().contains("no column"));
    }
}
