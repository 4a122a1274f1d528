//! What policy would answer, without a session: for `governor policy test`, `explain` and `simulate`.
//!
//! The facts come from the same reading of SQL and the decisions from the same policy set as in a session. What only a
//! session knows (the catalogue, its search path, what it prepared) is said by the caller, or is in doubt as it is
//! for a session that does not know it.

use super::column_words::{Because, ColumnWord, ColumnWords};
use super::copying::copy_out_denial;
use super::reached::bare_are_usual;
use crate::engine::model::{
    self, CatalogueBuilder, Category, Claims, Clause, Column, ColumnId, ColumnName, Conditions, Decision,
    Endpoint, FIRST_USER_OID, Form, Principal, Reason, Relation, RelationKind, RelationName, SearchPath,
    Statement, StatementKind, SystemFunction, Temporary, Verdict, Volatility,
};
use crate::engine::policy::{
    HiddenCondition, PolicyPrincipal, PolicySet, RunContext, SeeColumn, SessionContext, Visibility,
};
use crate::engine::sql::{
    Codes, Names, PostgresDialect, SecondReading, SqlDialect, doubted, flows, second_reading,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who asks, from where to where, and what surrounds it.
#[derive(Clone, Debug)]
pub struct Rehearsal<'a> {
    policy: &'a PolicySet,
    principal: PolicyPrincipal,
    claims: Claims,
    destination: Endpoint,
    around: SessionContext,
    words: ColumnWords,
}

/// What is known of statements besides their text; the default is what a session without a catalogue knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub approved: bool,
    /// Whether relations with sensitive columns are read; `None`: in doubt, so they are where anything could be
    /// masked from this principal.
    pub reads_sensitive: Option<bool>,
    pub estimated_rows: Option<u64>,
    /// Schemas that names without one can mean; `None`: any.
    pub bare_schemas: Option<Arc<[String]>>,
    /// All mentioned names are columns.
    pub columns_certain: bool,
    /// Masked columns that have a say in the answer, as `schema.relation.column`; `None`: as far as names of columns tell.
    pub conditions: Option<Vec<ColumnName>>,
    /// Whether masked values are put where they would not be masked; `None`: as far as names of columns tell.
    pub copies_masked: Option<bool>,
}

/// One statement and what policy answers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    pub statement: Statement,
    /// As policy was asked about it.
    pub context: RunContext,
    pub decision: Decision,
    /// Columns that are sensitive by their label or name: those that are named, and those behind `*`, whole rows and COPY
    /// that are known.
    pub columns: Vec<RehearsedColumn>,
    /// There are columns behind `*`, whole rows or COPY, and which those are is not known here.
    pub has_unlisted: bool,
    /// Labels of the relations that it touches, where they have any.
    pub labels: Vec<RelationLabels>,
}

/// Labels of a relation as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationLabels {
    pub relation: String,
    pub labels: Vec<String>,
    /// Those that it has in some schema that is possible.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub possible_labels: Vec<String>,
}

/// A column and how it would be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RehearsedColumn {
    /// As far as it is known: without its schema where the statement does not say it.
    pub name: String,
    pub category: Category,
    pub visibility: Visibility,
    /// What says that it holds that.
    pub because: Because,
    /// Its own and its relation's, as far as they are certain.
    pub labels: Vec<String>,
    /// The statement names it; else it comes with `*`, a whole row or COPY.
    pub is_named: bool,
}

impl<'a> Rehearsal<'a> {
    pub fn new(
        policy: &'a PolicySet,
        principal: Arc<Principal>,
        claims: Claims,
        destination: Endpoint,
        around: SessionContext,
    ) -> Self {
        let principal = PolicyPrincipal::new(principal);
        Self { policy, principal, claims, destination, around, words: ColumnWords::default() }
    }

    /// With what is said of columns beside their names and the label files.
    #[must_use]
    pub fn with_words(self, words: ColumnWords) -> Self {
        Self { words, ..self }
    }

    pub fn connect(&self) -> Decision {
        self.policy.connect(&self.principal, &self.claims, &self.destination, &self.around)
    }

    pub fn see(&self, column: &SeeColumn) -> Visibility {
        self.policy.see(&self.principal, &self.claims, &self.destination, column, &self.around)
    }

    /// Each statement of `text`, as it stands for itself.
    pub fn run(&self, text: &str, known: &Known) -> Vec<Rehearsed> {
        let may_mask = self.policy.may_mask(&self.principal, &self.claims, &self.destination);
        let statements = PostgresDialect::default().script(text).statements;
        let statements = match second_reading(text, &statements) {
            SecondReading::SeesMore { what } => doubted(&statements, &what),
            SecondReading::Agrees | SecondReading::NoOpinion => statements,
        };
        statements.into_iter().map(|statement| self.statement(statement, known, may_mask)).collect()
    }

    fn statement(&self, statement: Statement, known: &Known, may_mask: bool) -> Rehearsed {
        let touches = !statement.reads.is_empty() || statement.unknown.is_some();
        let context = RunContext {
            session: self.around.clone(),
            approved: known.approved,
            reads_sensitive: known.reads_sensitive.unwrap_or(may_mask && touches),
            estimated_rows: known.estimated_rows,
            bare_schemas: known.bare_schemas.clone(),
            columns_certain: known.columns_certain,
            functions_certain: bare_are_usual(&statement),
            conditions: self.conditions(&statement, known, may_mask),
            copies_masked: known.copies_masked.unwrap_or_else(|| may_mask && self.copies_masked(&statement)),
        };
        let decision = match copy_out_denial(&statement, context.reads_sensitive && may_mask) {
            Some(denial) => denial,
            None => self.policy.run(&self.principal, &self.claims, &self.destination, &statement, &context),
        };
        let columns = self.columns(&statement);
        let labels = self.labels(&statement, known);
        let has_unlisted = statement.mentions.every_column
            && !statement.reads.iter().all(|relation| self.words.has_relation(relation));
        Rehearsed { statement, context, decision, columns, has_unlisted, labels }
    }

    fn labels(&self, statement: &Statement, known: &Known) -> Vec<RelationLabels> {
        let relations: BTreeSet<&RelationName> = statement.reads.iter().chain(&statement.writes).collect();
        let labels = relations.into_iter().map(|relation| {
            let (certain, possible) =
                self.policy.labelling().of_whole_relation(relation, known.bare_schemas.as_deref());
            RelationLabels {
                relation: relation.to_string(),
                labels: owned(certain),
                possible_labels: owned(possible),
            }
        });
        labels.filter(|found| !found.labels.is_empty() || !found.possible_labels.is_empty()).collect()
    }

    /// Without a catalogue each relation that is read is taken to have every column that is named, so what the names say is
    /// sensitive is found; what they do not say is not.
    fn conditions(&self, statement: &Statement, known: &Known, may_mask: bool) -> Arc<[HiddenCondition]> {
        if !may_mask {
            return Arc::from([]);
        }
        if let Some(columns) = &known.conditions {
            let condition = |column: &ColumnName| HiddenCondition {
                column: Some(column.clone()),
                clause: Clause::Where,
                form: Form::Comparison,
            };
            return columns.iter().map(condition).collect();
        }
        let supposed = Supposed::of(statement, statement.reads.iter().chain(&statement.writes));
        let conditions = supposed.conditions(&statement.text);
        let mut found = BTreeSet::new();
        for ((id, condition), _) in conditions.found {
            if let Some(column) = supposed.column(id)
                && self.is_masked(&column)
            {
                let column = Some(column);
                found.insert(HiddenCondition { column, clause: condition.clause, form: condition.form });
            }
        }
        found.into_iter().collect()
    }

    /// Supposed as in [`Self::conditions`]. What is only written has no columns that anybody knows, and which column is at which
    /// place nobody knows either: whatever is put there counts, also where a session would find that it is masked there too.
    fn copies_masked(&self, statement: &Statement) -> bool {
        let reads = |name: &str| statement.reads.iter().any(|relation| relation.name == name);
        let into_itself = statement.kinds.contains(&StatementKind::Insert)
            && statement.writes.iter().any(|relation| reads(&relation.name));
        let unnamed_count = if into_itself { PLACES_MAX } else { 0 };
        let supposed = Supposed::with_unnamed(statement, statement.reads.iter(), unnamed_count);
        supposed.conditions(&statement.text).copies.iter().any(|(target, source)| {
            let Some(source) = supposed.column(*source) else { return false };
            let target = target.and_then(|target| self.category(&supposed.column(target)?));
            (target.is_none() || target != self.category(&source)) && self.is_masked(&source)
        })
    }

    /// The column is sensitive, and masked from the principal.
    fn is_masked(&self, column: &ColumnName) -> bool {
        let Some(category) = self.category(column) else { return false };
        let known = !column.schema.is_empty();
        let asked =
            SeeColumn { column: known.then(|| column.clone()), category: Some(category).filter(|_| known) };
        matches!(self.see(&asked), Visibility::Masked { .. })
    }

    /// Each mentioned name with each relation that is read: which of them it belongs to, only the catalogue knows. Behind them
    /// the columns that are known to come with `*`, a whole row or COPY.
    fn columns(&self, statement: &Statement) -> Vec<RehearsedColumn> {
        let mut found: Vec<RehearsedColumn> = vec![];
        let relations = || statement.reads.iter().take(RELATIONS_MAX);
        for column in statement.mentions.columns.iter().take(COLUMNS_MAX) {
            found.extend(relations().filter_map(|relation| {
                let name = ColumnName {
                    schema: relation.schema.clone().unwrap_or_default(),
                    relation: relation.name.clone(),
                    column: column.clone(),
                };
                self.column(&name, true)
            }));
        }
        if statement.mentions.every_column {
            for relation in relations() {
                let known = self.words.known_columns(self.policy, relation);
                let named = &statement.mentions.columns;
                let others = known.iter().filter(|column| !named.contains(&column.column));
                found.extend(others.filter_map(|column| self.column(column, false)));
            }
        }
        found.truncate(COLUMNS_MAX);
        found
    }

    /// A column that something calls sensitive, and how it would be shown; `None` where nothing does.
    pub fn column(&self, name: &ColumnName, is_named: bool) -> Option<RehearsedColumn> {
        let ColumnWord { category, because, style } = self.words.of(self.policy, name)?;
        let known = !name.schema.is_empty();
        let asked =
            SeeColumn { column: known.then(|| name.clone()), category: Some(category).filter(|_| known) };
        let visibility = if because.clears() { Visibility::Clear } else { self.see(&asked).at_least(style) };
        let labels = if known { owned(self.policy.labelling().of_column(name)) } else { vec![] };
        let name = if known { name.to_string() } else { format!("{}.{}", name.relation, name.column) };
        Some(RehearsedColumn { name, category, visibility, because, labels, is_named })
    }

    /// What a column holds by the operator's word or by its name, taken as one of text.
    pub(super) fn category(&self, name: &ColumnName) -> Option<Category> {
        let word = self.words.of(self.policy, name)?;
        (!word.because.clears()).then_some(word.category)
    }
}

impl Rehearsed {
    /// One verdict for a whole text: the strictest counts.
    pub fn strictest(all: &[Rehearsed]) -> Verdict {
        let has = |verdict| all.iter().any(|one| one.decision.verdict == verdict);
        if all.is_empty() || has(Verdict::Deny) {
            Verdict::Deny
        } else if has(Verdict::Hold) {
            Verdict::Hold
        } else {
            Verdict::Allow
        }
    }

    /// The policies behind the strictest verdict.
    pub fn reasons(all: &[Rehearsed]) -> impl Iterator<Item = &Reason> {
        let strictest = Self::strictest(all);
        all.iter().filter(move |one| one.decision.verdict == strictest).flat_map(|one| &*one.decision.reasons)
    }
}

fn owned(labels: BTreeSet<&str>) -> Vec<String> {
    labels.into_iter().map(str::to_owned).collect()
}

/// Relations and columns as one statement names them.
struct Supposed {
    catalogue: model::Catalogue,
    relations: Vec<RelationName>,
}

impl Supposed {
    /// Each of `relations` with every column that is named.
    fn of<'a>(statement: &Statement, relations: impl Iterator<Item = &'a RelationName>) -> Self {
        Self::with_unnamed(statement, relations, 0)
    }

    /// With so many columns in front that no statement names: values that are put in by their place go there.
    fn with_unnamed<'a>(
        statement: &Statement,
        relations: impl Iterator<Item = &'a RelationName>,
        unnamed_count: usize,
    ) -> Self {
        let mut builder = CatalogueBuilder::default();
        let relations: BTreeSet<RelationName> = relations.take(RELATIONS_MAX).cloned().collect();
        let relations: Vec<RelationName> = relations.into_iter().collect();
        let unnamed = (0..unnamed_count).map(|n| format!("\u{1}{n}").into());
        let named = statement.mentions.columns.iter().take(COLUMNS_MAX).map(|name| name.as_str().into());
        let columns: Vec<Column> = (1..)
            .zip(unnamed.chain(named))
            .map(|(attribute, name)| Column { attribute, name, type_oid: TEXT, characters_max: 0 })
            .collect();
        for (oid, relation) in (FIRST_USER_OID..).zip(&relations) {
            let relation = Relation {
                oid,
                schema: relation.schema.as_deref().unwrap_or(SUPPOSED_SCHEMA).into(),
                name: relation.name.as_str().into(),
                kind: RelationKind::Table,
                columns: columns.clone().into(),
                parents: Box::default(),
                definition: None,
                rows_estimate: None,
            };
            builder.relation(relation, 0);
        }
        for function in &statement.functions {
            let known = SystemFunction { volatility: Volatility::Immutable, is_aggregate: false };
            builder.system_function(&function.name, known);
        }
        Self { catalogue: builder.finish(), relations }
    }

    /// What decides the answer, and what is put where.
    fn conditions(&self, text: &str) -> Conditions {
        let search_path = SearchPath::Known(vec![SUPPOSED_SCHEMA.into()]);
        let names = Names {
            catalogue: &self.catalogue,
            codes: &Codes::default(),
            search_path: &search_path,
            temporary: &|_| Temporary::None,
        };
        flows(text, &names).1
    }

    /// As far as it is known: without its schema where the statement does not say it.
    fn column(&self, (relation, attribute): ColumnId) -> Option<ColumnName> {
        let column = self.catalogue.relation(relation)?.attribute(attribute)?.name.to_string();
        let place = usize::try_from(relation.checked_sub(FIRST_USER_OID)?).ok()?;
        let named = self.relations.get(place)?;
        Some(ColumnName {
            schema: named.schema.clone().unwrap_or_default(),
            relation: named.name.clone(),
            column,
        })
    }
}

/// Where relations are that are named without a schema.
const SUPPOSED_SCHEMA: &str = "public";
/// The server's type `text`.
const TEXT: u32 = 25;
const RELATIONS_MAX: usize = 16;
/// As many expressions as the server puts into one row (`MaxTupleAttributeNumber`).
const PLACES_MAX: usize = 1664;
const COLUMNS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::Class;
    use crate::engine::policy::Profile;
    use crate::engine::policy::tests::{claims, principal, server};

    fn rehearse(class: Class, text: &str, known: &Known) -> Vec<Rehearsed> {
        let set = PolicySet::compile(&PolicySet::builtin(Profile::Protect)).unwrap();
        let around = SessionContext::default();
        Rehearsal::new(&set, principal(class).into(), claims(), server(), around).run(text, known)
    }

    #[test]
    fn each_statement_has_its_answer_and_the_strictest_counts() {
        let all = rehearse(Class::Agent, "SELECT 1; DROP TABLE t", &Known::default());
        let verdicts: Vec<Verdict> = all.iter().map(|one| one.decision.verdict).collect();
        assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny]);
        assert_eq!(Rehearsed::strictest(&all), Verdict::Deny);
        assert!(Rehearsed::reasons(&all).any(|reason| reason.policy == "agents-destructive-denied"));
        assert!(Rehearsed::reasons(&all).all(|reason| reason.policy != "agents-permitted"));
        assert_eq!(Rehearsed::strictest(&[]), Verdict::Deny);
    }

    #[test]
    fn copy_out_is_refused_as_in_a_session() {
        let known = |reads_sensitive| Known { reads_sensitive, ..Known::default() };
        let text = "COPY people TO STDOUT (SOMETHING 'new')";
        let policy = |class, sensitive| {
            let all = rehearse(class, text, &known(sensitive));
            (all[0].decision.verdict, all[0].decision.reasons[0].policy.clone())
        };
        assert_eq!(policy(Class::Person, None), (Verdict::Deny, "governor.copy-out".into()));
        assert_eq!(policy(Class::Person, Some(false)).0, Verdict::Allow);
        assert_eq!(policy(Class::Service, None).0, Verdict::Allow);
        let plain = rehearse(Class::Person, "COPY people TO STDOUT", &known(Some(true)));
        assert_eq!(plain[0].decision.verdict, Verdict::Allow, "its rows are masked");
    }

    #[test]
    fn what_puts_masked_values_elsewhere_is_told_by_the_names() {
        let copies = |text: &str| {
            let all = rehearse(Class::Person, text, &Known::default());
            all[0].decision.reasons.iter().any(|reason| reason.policy == "people-copies-approved")
        };
        for text in [
            "INSERT INTO notes SELECT email FROM people",
            "INSERT INTO notes (body) SELECT 'a' || email FROM people",
            "INSERT INTO people SELECT id, email FROM people",
            "INSERT INTO people SELECT email, backup_email FROM people",
            "INSERT INTO public.people SELECT id, email FROM people",
            "WITH i AS (INSERT INTO people SELECT id, email FROM people WHERE city = 'Oslo') SELECT 1",
            "INSERT INTO people (id, city) SELECT id, email FROM people",
            "CREATE TABLE copy AS SELECT id, email FROM people",
            "SELECT email INTO copy FROM people",
            "UPDATE people SET city = email WHERE id = 1",
            "UPDATE notes SET body = (SELECT ssn FROM people WHERE id = 1) WHERE id = 2",
            "WITH i AS (INSERT INTO notes SELECT email FROM people) SELECT 1",
            "MERGE INTO notes n USING people p ON n.id = p.id WHEN MATCHED THEN UPDATE SET body = p.email",
        ] {
            assert!(copies(text), "{text}");
        }
        for text in [
            "INSERT INTO notes SELECT city FROM people",
            "INSERT INTO people (email) VALUES ('a@b.example')",
            "INSERT INTO people (id, email) SELECT id, email FROM people",
            "INSERT INTO people SELECT id, city FROM people WHERE email = 'a@b.example'",
            "INSERT INTO people SELECT * FROM people",
            "CREATE TABLE copy AS SELECT id FROM people",
            "UPDATE people SET email = lower(email) WHERE id = 1",
            "UPDATE people SET city = 'Oslo' WHERE id = 1",
            "SELECT email FROM people",
        ] {
            assert!(!copies(text), "{text}");
        }
        let known = Known { copies_masked: Some(false), ..Known::default() };
        let all = rehearse(Class::Person, "INSERT INTO people SELECT email FROM people", &known);
        assert_eq!(all[0].decision.verdict, Verdict::Allow, "the caller knows better");
    }

    #[test]
    fn named_columns_show_how_they_would_be_seen() {
        let all = rehearse(
            Class::Person,
            "SELECT id, email FROM shop.people WHERE password = 'x'",
            &Known::default(),
        );
        let shown: Vec<(&str, bool)> = all[0]
            .columns
            .iter()
            .map(|c| (c.name.as_str(), matches!(c.visibility, Visibility::Masked { .. })))
            .collect();
        assert_eq!(shown, [("shop.people.email", true), ("shop.people.password", true)]);
        let all = rehearse(Class::Service, "SELECT email FROM shop.people", &Known::default());
        assert_eq!(all[0].columns[0].visibility, Visibility::Clear);
    }
}
