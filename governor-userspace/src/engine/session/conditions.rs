//! Masked columns that have a say in an answer: what policy is asked about, and what an answer may tell of them.
//!
//! `sql` finds the conditions of a statement; here those stay whose column would be masked for this principal. Doubt is
//! a condition on something unknown.
//!
//! A [`Stake`] says how many bits an answer can tell about *one value* of a column, in thousandths. Whether a row is there
//! is one bit. A pattern that fits few rows of many tells more of those. An order tells a place among the rows. A whole
//! value that is looked up is known to whoever asks: a fourth, for what it says about the others. A list of guesses
//! tells once for each row.

use super::catalogue::Catalogue;
use super::governance::Governance;
use super::reached::reach;
use super::tokens::Tokens;
use super::{Session, facts::StatementRef};
use crate::engine::masking::ColumnAction;
use crate::engine::model::{
    Body, Category, Clause, ColumnId, ColumnName, Condition, Conditions, Form, Function, Mentions,
    SessionState, Statement, StatementKind, Unknown,
};
use crate::engine::policy::{HiddenCondition, SeeColumn};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a statement asks of masked data.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks {
    pub conditions: BTreeSet<HiddenCondition>,
    pub stakes: Vec<Stake>,
    /// Masked data is put where it would not be masked.
    pub copies_masked: bool,
    /// A token as a parameter would be no condition.
    pub takes_tokens: bool,
}

impl Asks {
    /// For policy. Nothing is allocated where there is none.
    pub fn shared_conditions(&self) -> Arc<[HiddenCondition]> {
        if self.conditions.is_empty() { Arc::default() } else { self.conditions.iter().cloned().collect() }
    }

    /// What records say, and what is at stake.
    pub fn into_parts(self) -> (Arc<[String]>, Arc<[Stake]>) {
        if self.conditions.is_empty() && self.stakes.is_empty() {
            return (Arc::default(), Arc::default());
        }
        (self.conditions.iter().map(ToString::to_string).collect(), self.stakes.into())
    }

    /// Both are asked.
    pub fn add(&mut self, other: Self) {
        self.conditions.extend(other.conditions);
        self.copies_masked |= other.copies_masked;
        self.takes_tokens |= other.takes_tokens;
        for stake in other.stakes {
            match self.stakes.iter_mut().find(|known| known.column == stake.column) {
                Some(known) => {
                    known.least_millibits = known.least_millibits.saturating_add(stake.least_millibits);
                    known.more = known.more.max(stake.more);
                }
                None => self.stakes.push(stake),
            }
        }
    }
}

/// What one answer may tell of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stake {
    /// `schema.relation.column`, or `unknown`.
    pub column: Arc<str>,
    /// Whatever the answer is.
    pub least_millibits: u64,
    /// Depending on how many rows come.
    pub more: More,
    /// Rows of the relation by the planner's statistics.
    pub rows_estimate: Option<u64>,
}

/// What the number of rows adds; the later, the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum More {
    Nothing,
    /// The fewer of all rows fit, the more is told of each.
    ByChoice,
    /// A place among the rows, or the group of one.
    ByPlace,
    /// Each row answers a question of its own.
    ByRow,
}

impl Stake {
    /// What has to be left in the budget before it runs. One row may hold the answers of many.
    pub fn foreseen_millibits(&self) -> u64 {
        match self.more {
            More::ByRow => self.least_millibits.max(ROWS_MILLIBITS_MAX),
            More::Nothing | More::ByChoice | More::ByPlace => self.least_millibits,
        }
    }

    /// What the answer told at most, given the rows that came.
    pub fn told_millibits(&self, rows: u64) -> u64 {
        let more = match (self.more, self.rows_estimate) {
            (More::Nothing, _) => 0,
            (More::ByChoice, Some(all)) if rows > 0 && all > rows => {
                log2_milli(all as f64 / rows as f64).min(CHOICE_MILLIBITS_MAX)
            }
            (More::ByChoice, _) => 0,
            (More::ByPlace, _) => log2_milli(rows.saturating_add(1) as f64),
            (More::ByRow, _) => rows.saturating_mul(ANSWER_MILLIBITS).min(ROWS_MILLIBITS_MAX),
        };
        self.least_millibits.max(more)
    }
}

/// The statement itself calls a function whose body cannot be followed and reads a relation with sensitive columns. What
/// views and row policies call is not chosen by whoever asks.
fn calls_code_that_reads(statement: &Statement, catalogue: &Catalogue, state: &SessionState) -> bool {
    let is_opaque = |function: &Function| !matches!(function.body, Body::Sql(_));
    let called = statement
        .calls()
        .filter(|name| catalogue.data.user_functions(name, &state.search_path).into_iter().any(is_opaque));
    called.into_iter().any(|name| {
        let alone = Statement {
            functions: vec![name.clone()],
            unknown: None,
            kinds: vec![],
            mentions: Mentions::default(),
            ..Statement::unknown("".into(), Unknown::TooDeep)
        };
        let reached = reach(&alone, catalogue, &state.search_path);
        !reached.hidden.is_empty() || !catalogue.is_free_of_sensitive(&reached.statement)
    })
}

fn log2_milli(of: f64) -> u64 {
    // Not negative, and small: a logarithm of a 64 bit number.
    (of.max(1.0).log2() * 1000.0).round() as u64
}

impl Session {
    /// The masked columns that have a say in what `statement` answers. `reads_sensitive`: it reads a relation that has
    /// such columns, as far as is known. `reached`: with all that it reaches.
    pub(super) fn asks(
        &self,
        statement: &StatementRef,
        reached: &Statement,
        state: &SessionState,
        reads_sensitive: bool,
        tokens: Tokens<'_>,
        governance: &mut Governance,
    ) -> Asks {
        let mut asks = Asks::default();
        if !self.may_be_masked || !self.restricted {
            return asks;
        }
        let Some(catalogue) = self.trusted_catalogue(governance).or(self.catalogue.as_ref()).cloned() else {
            if reads_sensitive && is_about_rows(statement) && statement.kind != StatementKind::CopyIn {
                self.asks_unseen(statement, &mut asks);
            }
            return asks;
        };
        let mut found: BTreeMap<(ColumnId, Condition), u32> = BTreeMap::new();
        let mut tried = 1;
        if reads_sensitive && is_about_rows(statement) && statement.unknown.is_none() {
            let tell_nothing = self.parameters_that_tell_nothing(statement, tokens, state, governance);
            let flows = governance.flows.given(&statement.text, &catalogue, state, &tell_nothing);
            let conditions: &Conditions = &flows.conditions;
            tried = match conditions.doubt {
                Some(_) if goes_on_at_conflicts(statement) => u32::MAX,
                _ => conditions.tried,
            };
            // A function that cannot be read may fail, or give NULL, as the data is.
            let in_doubt = conditions.doubt.is_some() || flows.lineage.doubt().is_some();
            let is_free = |governance: &Governance| {
                self.trusted_catalogue(governance).is_some_and(|c| c.is_free_of_sensitive(reached))
            };
            if in_doubt && !is_free(governance) {
                asks.conditions.insert(unknown());
            }
            if conditions.doubt.is_some() {
                // With rows of the statement's own each answers for itself; so does each that is compared with what code
                // gives which reads masked data and cannot be followed.
                let is_list = (conditions.makes_rows && !is_free(governance))
                    || (!statement.reads.is_empty() && calls_code_that_reads(statement, &catalogue, state));
                let more = if is_list { More::ByRow } else { More::Nothing };
                asks.stakes.push(Stake { more, ..unknown_stake() });
            }
            found.extend(conditions.found.iter().map(|(at, times)| (*at, *times)));
            self.asks_under_keys(conditions, &catalogue, governance, &mut asks);
            let condition = Condition { clause: Clause::View, form: Form::Comparison };
            let of_views = conditions.relations.iter().flat_map(|oid| catalogue.view_chosen_by(*oid));
            found.extend(of_views.map(|column| ((*column, condition), 1)));
            self.masked_of(&found, conditions, &catalogue, governance, &mut asks);
            let by_views = conditions.relations.iter().flat_map(|oid| catalogue.view_keeps(*oid));
            let copies = conditions.copies.iter().chain(by_views);
            asks.copies_masked = self.copies_masked(copies, &conditions.remade, &catalogue, governance);
            // Where it is not known what goes into a column, it may be anything that is within reach.
            let is_clear = |to: &ColumnId| !catalogue.is_sensitive_itself(*to);
            let in_doubt = conditions.doubtful.iter().any(|target| target.as_ref().is_none_or(is_clear))
                || (conditions.doubt.is_some() && puts_values(reached));
            asks.copies_masked |= in_doubt && !is_free(governance);
        }
        asks.copies_masked |= self.copies_in_doubt(statement, &catalogue, state, governance)
            || self.keeps_in_passing(statement, &catalogue, state, governance);
        if !reads_sensitive && is_about_rows(statement) && catalogue.reads_documents(statement) {
            let flows = governance.flows.of(&statement.text, &catalogue, state);
            self.asks_under_keys(&flows.conditions, &catalogue, governance, &mut asks);
        }
        let keys = super::keys::keys_met(statement, &catalogue, &state.search_path);
        if !keys.is_empty() {
            let condition = Condition { clause: Clause::Key, form: Form::Key };
            let is_known = tried != u32::MAX;
            // A COPY fails at one of its rows or at none: one answer, however many there are.
            let times = match statement.kind {
                StatementKind::CopyIn => LOOKUPS_OF_AN_ANSWER,
                _ if is_known => tried.max(1),
                _ => 1,
            };
            let mut found: BTreeMap<_, _> =
                keys.looked_up.into_iter().map(|column| ((column, condition), times)).collect();
            let bounds = Condition { clause: Clause::Key, form: Form::Comparison };
            found.extend(keys.compared.into_iter().map(|column| ((column, bounds), 1)));
            let mut of_keys = Asks::default();
            self.masked_of(&found, &Conditions::default(), &catalogue, governance, &mut of_keys);
            if !is_known {
                of_keys.stakes.iter_mut().for_each(|stake| stake.more = More::ByRow);
            }
            asks.add(of_keys);
        }
        asks
    }

    /// What stands under a key of a document is masked by what the key says: a condition on it is one on that.
    fn asks_under_keys(
        &self,
        conditions: &Conditions,
        catalogue: &Catalogue,
        governance: &mut Governance,
        asks: &mut Asks,
    ) {
        for (id, key, condition) in &conditions.of_keys {
            let Some(category) = catalogue.under_key(*id, key) else { continue };
            let Some(column) = catalogue.column(id.0, id.1) else { continue };
            let asked = SeeColumn { column: Some(column.name.clone()), category: Some(category) };
            if !matches!(self.asker(governance).see(asked), ColumnAction::Mask { .. }) {
                continue;
            }
            let stake = Stake {
                column: column.name.to_string().into(),
                least_millibits: least(condition.form, category, 1),
                more: more(condition.form),
                rows_estimate: catalogue.data.relation(id.0).and_then(|relation| relation.rows_estimate),
            };
            let hidden =
                HiddenCondition { column: Some(column.name), clause: condition.clause, form: condition.form };
            asks.add(Asks { conditions: BTreeSet::from([hidden]), stakes: vec![stake], ..Asks::default() });
        }
    }

    /// There is no catalogue: whatever chooses may be sensitive.
    fn asks_unseen(&self, statement: &Statement, asks: &mut Asks) {
        // `None` where it is a plain list of everything.
        let chooses = statement.has_where == Some(true) || !statement.mentions.columns.is_empty();
        if chooses {
            asks.conditions.insert(unknown());
            asks.stakes.push(unknown_stake());
        }
    }

    /// A column that is masked for this principal.
    pub(super) fn hidden_column(
        &self,
        (relation, attribute): ColumnId,
        catalogue: &Catalogue,
        governance: &mut Governance,
    ) -> Option<(ColumnName, Category)> {
        let column = catalogue.column(relation, attribute)?;
        let mut categories = catalogue.categories(relation, attribute).into_iter();
        let hidden = categories.find(|category| {
            let asked = SeeColumn { column: Some(column.name.clone()), category: Some(*category) };
            matches!(self.asker(governance).see(asked), ColumnAction::Mask { .. })
        });
        let is_named_hidden = |behind: &ColumnId| {
            let Some(named) = catalogue.column(behind.0, behind.1) else { return false };
            matches!(self.asker(governance).see_known(named), ColumnAction::Mask { .. })
        };
        let hidden = hidden.or_else(|| {
            let behind = catalogue.named_behind((relation, attribute));
            behind.iter().any(is_named_hidden).then_some(Category::Other)
        });
        Some((column.name, hidden?))
    }

    /// Those of `found` that are masked for this principal.
    fn masked_of(
        &self,
        found: &BTreeMap<(ColumnId, Condition), u32>,
        of: &Conditions,
        catalogue: &Catalogue,
        governance: &mut Governance,
        asks: &mut Asks,
    ) {
        let mut masked: BTreeMap<ColumnId, Option<(ColumnName, Category)>> = BTreeMap::new();
        let mut narrowed = of.condenses;
        for ((id, condition), times) in found {
            if masked.len() >= COLUMNS_ASKED_MAX && !masked.contains_key(id) {
                asks.conditions.insert(unknown());
                asks.stakes.push(unknown_stake());
                break;
            }
            let known = masked.entry(*id).or_insert_with(|| self.hidden_column(*id, catalogue, governance));
            let Some((name, category)) = known else {
                narrowed |= matches!(condition.clause, Clause::Where | Clause::Having | Clause::Join);
                continue;
            };
            let condition = match condition.form {
                Form::Equality if catalogue.is_computed(*id) => {
                    Condition { form: Form::Comparison, ..*condition }
                }
                _ => *condition,
            };
            asks.takes_tokens |=
                condition.form == Form::Equality && self.takes_tokens(*id, catalogue, governance);
            if condition.clause != Clause::Key {
                asks.conditions.insert(HiddenCondition {
                    column: Some(name.clone()),
                    clause: condition.clause,
                    form: condition.form,
                });
            }
            // Mostly the same for everybody who reads the view; but it may depend on a setting, or on another table.
            let is_view = condition.clause == Clause::View;
            let least_millibits =
                if is_view { LOOKUP_MILLIBITS } else { least(condition.form, *category, *times) };
            // Through whatever view, it is the same column that is asked about.
            for base in catalogue.bases_of(*id) {
                let Some(column) = catalogue.column(base.0, base.1) else { continue };
                let stake = Stake {
                    column: column.name.to_string().into(),
                    least_millibits,
                    more: if is_view { More::Nothing } else { more(condition.form) },
                    rows_estimate: catalogue
                        .data
                        .relation(base.0)
                        .and_then(|relation| relation.rows_estimate),
                };
                asks.add(Asks { stakes: vec![stake], ..Asks::default() });
            }
        }
        // A table of guesses is as good as a list.
        let is_masked = |id: &ColumnId| masked.get(id).is_some_and(Option::is_some);
        let joins = of.joins.iter().flat_map(|(left, right)| [(left, right), (right, left)]);
        for (id, other) in joins.chain(of.finds.iter().map(|(id, other)| (id, other))) {
            if !is_masked(id) || is_masked(other) {
                continue;
            }
            for column in catalogue.bases_of(*id).iter().filter_map(|base| catalogue.column(base.0, base.1)) {
                let name = column.name.to_string();
                let stakes = asks.stakes.iter_mut().filter(|stake| *stake.column == *name);
                stakes.for_each(|stake| stake.more = More::ByRow);
            }
        }
        for stake in &mut asks.stakes {
            stake.more = match stake.more {
                More::ByChoice | More::ByPlace if of.makes_rows => More::ByRow,
                // Others leave rows out as well: how few come says nothing of this one.
                More::ByChoice if narrowed => More::Nothing,
                more => more,
            };
        }
    }
}

/// It, or code that it reaches, puts values somewhere: a DELETE does not.
fn puts_values(reached: &Statement) -> bool {
    use StatementKind as K;
    let puts = |kind: &K| matches!(kind, K::Insert | K::Update | K::Merge | K::Ddl);
    !reached.writes.is_empty() && reached.kinds.iter().any(puts)
}

/// An INSERT with ON CONFLICT: what it does to the rows that are there is a change of its own.
fn goes_on_at_conflicts(statement: &Statement) -> bool {
    statement.changes.iter().any(|change| change.goes_on)
}

/// Its answer is about rows, its own or those of what it prepares, declares or plans.
fn is_about_rows(statement: &Statement) -> bool {
    use StatementKind as K;
    let answers_nothing = match statement.kind {
        K::Empty
        | K::Show
        | K::Execute
        | K::Deallocate
        | K::Truncate
        | K::Drop
        | K::Dcl
        | K::Transaction
        | K::Call
        | K::Do
        | K::Unknown => true,
        // A SELECT has such a kind where it calls a function that locks, notifies or sets.
        K::Session | K::Notify | K::Lock | K::Maintenance | K::Administration => {
            !statement.asks_or_changes_rows()
        }
        _ => false,
    };
    !answers_nothing
        && (statement.kind != K::Ddl || READING_TAGS.contains(&statement.tag.as_str()))
        && !(statement.kind == K::Cursor && statement.inner.is_none())
}

fn unknown() -> HiddenCondition {
    HiddenCondition { column: None, clause: Clause::Result, form: Form::Unknown }
}

fn unknown_stake() -> Stake {
    Stake {
        column: "unknown".into(),
        least_millibits: LOOKUP_MILLIBITS,
        more: More::Nothing,
        rows_estimate: None,
    }
}

fn least(form: Form, category: Category, times: u32) -> u64 {
    let each = match form {
        Form::Equality | Form::Key if names_somebody(category) => LOOKUP_MILLIBITS,
        _ => ANSWER_MILLIBITS,
    };
    each.saturating_mul(u64::from(times.max(1)))
}

fn more(form: Form) -> More {
    match form {
        Form::Equality | Form::Join | Form::Key | Form::Choice | Form::Computation | Form::Unknown => {
            More::Nothing
        }
        Form::Comparison | Form::Pattern | Form::Count => More::ByChoice,
        Form::Ordering | Form::Grouping => More::ByPlace,
    }
}

/// Values of many letters that people look each other up by: guessing one takes very many questions.
fn names_somebody(category: Category) -> bool {
    use Category as C;
    matches!(
        category,
        C::Email
            | C::Phone
            | C::PaymentCard
            | C::Iban
            | C::NationalId
            | C::PersonName
            | C::Passport
            | C::IpAddress
    )
}

/// Definitions that read rows, and what may have one inside.
const READING_TAGS: [&str; 9] = [
    "CREATE TABLE",
    "CREATE VIEW",
    "CREATE TABLE AS",
    "CREATE MATERIALIZED VIEW",
    "CREATE INDEX",
    "SELECT INTO",
    "SELECT",
    "EXPLAIN",
    "PREPARE",
];
/// A yes or a no.
const ANSWER_MILLIBITS: u64 = 1_000;
/// A whole value that whoever asks knows already.
const LOOKUP_MILLIBITS: u64 = 250;
/// So many of those tell what one answer tells.
const LOOKUPS_OF_AN_ANSWER: u32 = 4;
/// One row of a million.
const CHOICE_MILLIBITS_MAX: u64 = 20_000;
/// Rows that answer one by one: more of them count as so many.
const ROWS_MILLIBITS_MAX: u64 = 64_000;
/// Columns of one statement that policy is asked about by name.
const COLUMNS_ASKED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn stake(more: More, rows_estimate: Option<u64>) -> Stake {
        Stake { column: "p.p.ssn".into(), least_millibits: ANSWER_MILLIBITS, more, rows_estimate }
    }

    #[test]
    fn rows_add_to_what_an_answer_tells() {
        for (stake, rows, told) in [
            (stake(More::Nothing, Some(1_024)), 1, 1_000),
            (stake(More::ByChoice, Some(1_024)), 0, 1_000),
            (stake(More::ByChoice, Some(1_024)), 512, 1_000),
            (stake(More::ByChoice, Some(1_024)), 1, 10_000),
            (stake(More::ByChoice, Some(u64::MAX)), 1, 20_000),
            (stake(More::ByChoice, None), 1, 1_000),
            (stake(More::ByPlace, None), 0, 1_000),
            (stake(More::ByPlace, None), 255, 8_000),
            (stake(More::ByRow, None), 5, 5_000),
            (stake(More::ByRow, None), u64::MAX, 64_000),
        ] {
            assert_eq!(stake.told_millibits(rows), told, "{stake:?} {rows}");
        }
    }

    #[test]
    fn rows_that_answer_one_by_one_need_room_before() {
        assert_eq!(stake(More::ByRow, None).foreseen_millibits(), 64_000);
        assert_eq!(stake(More::ByChoice, Some(1_024)).foreseen_millibits(), 1_000);
    }

    #[test]
    fn what_two_parts_ask_adds_up() {
        let mut asks = Asks::default();
        for more in [More::ByRow, More::Nothing] {
            asks.add(Asks { stakes: vec![stake(more, None)], ..Asks::default() });
        }
        assert_eq!(
            (asks.stakes.len(), asks.stakes[0].least_millibits, asks.stakes[0].more),
            (1, 2_000, More::ByRow)
        );
    }
}
