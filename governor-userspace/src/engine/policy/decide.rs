//! The three questions, decided.
//!
//! `run` asks Cedar once for every kind in a statement (a writing CTE under SELECT is both), and as
//! `unknown` where its facts are not the whole truth; the strictest answer counts.
//!
//! Where names or labels could mean several things, each question is asked twice: for what the statement
//! certainly touches and for what it possibly touches (`names.rs`). The strictest answer counts here, too.
//!
//! A denial becomes a hold where every forbid that caused it carries `@approval` and, asked again as
//! approved, all of it would be permitted: nobody is asked to approve what would be refused anyway.

use super::compile::PolicySet;
use super::context::Clock;
use super::entity::{self, PolicyPrincipal};
use super::mentions::Mentions;
use super::names::{Names, Vocabulary};
use super::question::{HiddenCondition, Reading, RunContext, SeeColumn, SessionContext, Visibility};
use super::schema::{self, Ask};
use super::slice::Parties;
use super::{annotation::Notes, context, names, question};
use crate::engine::model::{
    Claims, Class, Decision, Endpoint, Hold, Limits, MaskStyle, Obligations, Reason, Statement,
    StatementKind, Verdict,
};
use cedar_policy::{Authorizer, Context, Entities, Entity, EntityUid, PolicyId, Request};
use std::collections::BTreeSet;

impl PolicySet {
    /// May `who` open a session with this database?
    pub fn connect(
        &self,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
        around: &SessionContext,
    ) -> Decision {
        let clock = self.clock(Ask::Connect, who.class(), around);
        let asked = context::of_session(claims, to, around, clock)
            .zip(entity::database(claims, to, &self.labelling))
            .and_then(|(context, resource)| self.ask_once(Ask::Connect, who, resource, context));
        asked.map_or_else(internal_denial, Answer::into_decision)
    }

    /// May `who` run `statement`?
    pub fn run(
        &self,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
        statement: &Statement,
        surroundings: &RunContext,
    ) -> Decision {
        let kinds = kinds_of(statement);
        let asks: Vec<Ask> = kinds.iter().map(|kind| Ask::Run(*kind)).collect();
        let resource = entity::database(claims, to, &self.labelling);
        let Some(question) = resource.and_then(|resource| self.question(who, resource, &asks)) else {
            return internal_denial();
        };
        let once = |around| {
            let contexts = self.contexts(&question, claims, to, statement, around)?;
            self.run_once(&question, contexts)
        };
        let Some(answer) = once(surroundings) else { return internal_denial() };
        if answer.is_allowed {
            return answer.into_decision();
        }
        let told = |decision| with_conditions(decision, &surroundings.conditions);
        if surroundings.approved || answer.approvers().is_none() {
            return told(answer.into_decision());
        }
        let approved = RunContext { approved: true, ..surroundings.clone() };
        match once(&approved) {
            Some(lifted) if lifted.is_allowed => told(answer.into_hold(lifted.obligations())),
            Some(refused) => told(refused.into_decision()),
            None => internal_denial(),
        }
    }

    /// May `who` see this sensitive column in clear?
    pub fn see(
        &self,
        who: &PolicyPrincipal,
        claims: &Claims,
        to: &Endpoint,
        column: &SeeColumn,
        around: &SessionContext,
    ) -> Visibility {
        let clock = self.clock(Ask::See, who.class(), around);
        let ask = |reading| {
            context::of_session(claims, to, around, clock)
                .zip(entity::column(claims, to, column, &self.labelling, reading))
                .and_then(|(context, resource)| self.ask_once(Ask::See, who, resource, context))
        };
        let in_doubt = column.column.is_none() && self.looks(Ask::See, who.class()).column_labels;
        let asked = match ask(Reading::Certain) {
            Some(certain) if in_doubt => ask(Reading::Possible).map(|possible| certain.and(possible)),
            certain => certain,
        };
        match asked {
            Some(answer) if answer.is_allowed => Visibility::Clear,
            Some(answer) => {
                Visibility::Masked { style: answer.mask_style(), reasons: answer.into_decision().reasons }
            }
            None => Visibility::Masked { style: MaskStyle::Redact, reasons: internal_denial().reasons },
        }
    }

    /// The names of the statement and what surrounds it, in each of its readings.
    fn contexts(
        &self,
        question: &Question<'_>,
        claims: &Claims,
        to: &Endpoint,
        statement: &Statement,
        around: &RunContext,
    ) -> Option<Vec<(Names, Context)>> {
        let Question { class, asks, .. } = question;
        let looks = asks.iter().fold(Mentions::default(), |all, ask| all.or(self.looks(*ask, *class)));
        let clock = looks.time.then(|| self.clock_at(&around.session)).flatten();
        let vocabularies: Vec<&Vocabulary> = asks
            .iter()
            .filter_map(|ask| self.slices.get(*ask, *class))
            .flat_map(|slice| slice.vocabularies_for(&question.parties))
            .collect();
        let read = |reading| names::of(statement, around, &self.labelling, &vocabularies, reading);
        let mut readings = vec![read(Reading::Certain)];
        if looks.names && names::in_doubt(statement, around, &self.labelling, looks) {
            let possible = read(Reading::Possible);
            readings.retain(|certain| *certain != possible);
            readings.push(possible);
        }
        let context = |names: Names| {
            let context = context::of_statement(claims, to, statement, around, names.clone(), clock)?;
            Some((names, context))
        };
        readings.into_iter().map(context).collect()
    }

    /// Every kind and reading of the statement, joined: the strictest answer.
    fn run_once(&self, question: &Question<'_>, contexts: Vec<(Names, Context)>) -> Option<Answer<'_>> {
        let mut joined: Option<Answer<'_>> = None;
        for (names, context) in contexts {
            for ask in question.asks {
                let answer = self.ask(*ask, question, &names, context.clone())?;
                joined = Some(match joined {
                    Some(before) => before.and(answer),
                    None => answer,
                });
            }
        }
        joined
    }

    /// What the policies for this kind of question look at.
    pub(super) fn looks(&self, ask: Ask, class: Class) -> Mentions {
        self.slices.get(ask, class).map_or(self.mentions, |slice| slice.mentions)
    }

    fn clock(&self, ask: Ask, class: Class, around: &SessionContext) -> Option<Clock<'_>> {
        if self.looks(ask, class).time { self.clock_at(around) } else { None }
    }

    fn clock_at(&self, around: &SessionContext) -> Option<Clock<'_>> {
        around.at.map(|at| Clock { at, zone: &self.zone })
    }

    /// What all asks of one question have in common. `None` where Cedar refuses the entities.
    fn question<'a>(&self, who: &PolicyPrincipal, resource: Entity, asks: &'a [Ask]) -> Option<Question<'a>> {
        let actions = &schema::loaded().ok()?.actions;
        let principal = who.entity(self.identity, &self.labelling)?;
        let (principal_uid, resource_uid) = (principal.uid(), resource.uid());
        let parties = Parties::of(&principal, &resource);
        let mut entities = vec![principal.into_owned(), resource];
        for ask in asks {
            entities.push(actions.get(ask.as_str())?.clone());
        }
        let entities = Entities::from_entities(entities, None).ok()?;
        Some(Question {
            class: who.class(),
            asks,
            principal: principal_uid,
            resource: resource_uid,
            parties,
            entities,
        })
    }

    fn ask_once(
        &self,
        ask: Ask,
        who: &PolicyPrincipal,
        resource: Entity,
        context: Context,
    ) -> Option<Answer<'_>> {
        self.ask(ask, &self.question(who, resource, &[ask])?, &Names::default(), context)
    }

    /// One question to Cedar. `None` where it could not even be asked.
    fn ask(&self, ask: Ask, of: &Question<'_>, names: &Names, context: Context) -> Option<Answer<'_>> {
        let action = schema::loaded().ok()?.actions.get(ask.as_str())?;
        // No schema here: the values are built to it (a test checks that they conform), and checking
        // them again costs more than the decision.
        let request =
            Request::new(of.principal.clone(), action.uid(), of.resource.clone(), context, None).ok()?;
        let policies = self.slices.get(ask, of.class)?.policies_for(&of.parties, names)?;
        let response = Authorizer::new().is_authorized(&request, &policies, &of.entities);

        let mut determining: Vec<(&PolicyId, &Notes)> =
            response.diagnostics().reason().map(|id| self.notes.get_key_value(id)).collect::<Option<_>>()?;
        determining.sort_unstable_by_key(|(id, _)| *id);
        let mut failed: Vec<Reason> = response
            .diagnostics()
            .errors()
            .map(|error| {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
                Reason {
                    policy: error.policy_id().to_string(),
                    text: "this policy could not be evaluated, so it denies".into(),
                    hint: error.to_string(),
                    ..Reason::default()
                }
            })
            .collect();
        failed.sort_unstable_by(|a, b| a.policy.cmp(&b.policy));
        let is_permitted = response.decision() == cedar_policy::Decision::Allow;
        if is_permitted && !failed.is_empty() {
            determining.clear(); // what permits did not decide: the failure did
        }
        let is_unpermitted = !is_permitted && determining.is_empty() && failed.is_empty();
        Some(Answer { is_allowed: is_permitted && failed.is_empty(), is_unpermitted, determining, failed })
    }
}

/// Who asks about what, and as which actions.
struct Question<'a> {
    class: Class,
    asks: &'a [Ask],
    principal: EntityUid,
    resource: EntityUid,
    parties: Parties,
    entities: Entities,
}

/// What Cedar answered, with the policies behind it.
struct Answer<'a> {
    is_allowed: bool,
    /// Denied because nothing permits it.
    is_unpermitted: bool,
    /// Permits where permitted, else forbids; by id.
    determining: Vec<(&'a PolicyId, &'a Notes)>,
    /// Policies that could not be evaluated.
    failed: Vec<Reason>,
}

impl Answer<'_> {
    /// Both must be allowed.
    fn and(mut self, other: Self) -> Self {
        match (self.is_allowed, other.is_allowed) {
            (true, false) => return other,
            (false, true) => return self,
            _ => {}
        }
        self.is_unpermitted |= other.is_unpermitted;
        self.determining.extend(other.determining);
        self.determining.sort_unstable_by_key(|(id, _)| *id);
        self.determining.dedup_by_key(|(id, _)| *id);
        self.failed.extend(other.failed);
        self.failed.dedup();
        self
    }

    /// The groups that can lift this denial, joined by `+` where several must; `None` where nobody can.
    fn approvers(&self) -> Option<String> {
        if self.is_allowed || self.is_unpermitted || !self.failed.is_empty() {
            return None;
        }
        let groups: BTreeSet<&str> =
            self.determining.iter().map(|(_, notes)| notes.approval.as_deref()).collect::<Option<_>>()?;
        let groups: Vec<&str> = groups.into_iter().collect();
        (!groups.is_empty()).then(|| groups.join("+"))
    }

    /// The style that tells least, of all that the forbids ask for; redact where they say nothing.
    fn mask_style(&self) -> MaskStyle {
        let failed = (!self.failed.is_empty() || self.is_unpermitted).then_some(MaskStyle::Redact);
        self.determining
            .iter()
            .map(|(_, notes)| notes.mask.unwrap_or(MaskStyle::Redact))
            .chain(failed)
            .reduce(MaskStyle::stricter)
            .unwrap_or(MaskStyle::Redact)
    }

    fn obligations(&self) -> Obligations {
        let limits = self.determining.iter().fold(Limits::default(), |all, (_, notes)| all.and(notes.limits));
        Obligations { audit_sync: self.determining.iter().any(|(_, notes)| notes.audit_sync), limits }
    }

    /// Allow or Deny. Reasons: what failed, then what nobody can lift, then what an approval could.
    fn into_decision(self) -> Decision {
        let obligations = self.obligations();
        let verdict = if self.is_allowed { Verdict::Allow } else { Verdict::Deny };
        let mut reasons = self.failed;
        let (plain, liftable): (Vec<_>, Vec<_>) =
            self.determining.into_iter().partition(|(_, notes)| notes.approval.is_none());
        reasons.extend(plain.into_iter().chain(liftable).map(reason));
        if self.is_unpermitted {
            reasons.insert(0, unpermitted());
        }
        Decision { verdict, hold: None, obligations, reasons: reasons.into() }
    }

    /// `lifted`: the obligations of the policies that permit it once approved.
    fn into_hold(self, lifted: Obligations) -> Decision {
        let hold = self.approvers().map(|approvers| Hold { approvers });
        let audit_sync = self.obligations().audit_sync || lifted.audit_sync;
        let verdict = if hold.is_some() { Verdict::Hold } else { Verdict::Deny };
        Decision {
            verdict,
            hold,
            obligations: Obligations { audit_sync, limits: Limits::default() },
            reasons: self.determining.into_iter().map(reason).collect(),
        }
    }
}

/// Everything that the statement is asked about as: what it does, and unknown where that is not all.
pub(super) fn kinds_of(statement: &Statement) -> BTreeSet<StatementKind> {
    let mut kinds: BTreeSet<StatementKind> = statement.kinds.iter().copied().collect();
    kinds.insert(statement.kind);
    if statement.unknown.is_some() {
        kinds.insert(StatementKind::Unknown);
    }
    kinds
}

fn reason((id, notes): (&PolicyId, &Notes)) -> Reason {
    Reason {
        policy: id.to_string(),
        text: notes.reason.clone(),
        hint: notes.hint.clone(),
        sqlstate: notes.sqlstate,
    }
}

/// Puts the conditions of a statement where a reason has `{conditions}`.
fn with_conditions(decision: Decision, conditions: &[HiddenCondition]) -> Decision {
    if !decision.reasons.iter().any(|reason| reason.text.contains(PLACE)) {
        return decision;
    }
    let list = question::listed(conditions);
    let told = |reason: &Reason| Reason { text: reason.text.replace(PLACE, &list), ..reason.clone() };
    Decision { reasons: decision.reasons.iter().map(told).collect(), ..decision }
}

const PLACE: &str = "{conditions}";

fn unpermitted() -> Reason {
    Reason {
        policy: "default-deny".into(),
        text: "no policy permits this".into(),
        hint: "ask for a policy that permits it".into(),
        ..Reason::default()
    }
}

/// A question that could not be put to Cedar: a fault of governor, answered safely.
fn internal_denial() -> Decision {
    Decision::deny("policy-fault", "governor could not ask its policies", "see governor's log")
}
