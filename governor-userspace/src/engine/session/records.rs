//! What a session writes down.

use super::action::Actions;
use super::beside::Hidden;
use super::governance::Governance;
use super::judge::Judged;
use super::pipeline::{Owed, Run};
use super::{Parameters, Session};
use crate::engine::audit::{AuditEvent, AuditRecord, Completion, Outcome, StatementRecord};
use crate::engine::masking::{Category, MaskCounts, Masker, mask_parameter, mask_text};
use crate::engine::model::{Claims, DecisionId, MaskDoubt, Principal, Timestamp, Verdict};
use std::sync::Arc;

impl Session {
    /// Written before anything else of this call happens.
    pub(super) fn record(&self, out: &mut Actions, at: Timestamp, event: AuditEvent) {
        out.records.push(AuditRecord { at, session: Some(self.setup.id.clone()), event });
    }

    /// Written soon.
    pub(super) fn complete(&self, out: &mut Actions, at: Timestamp, event: AuditEvent) {
        out.completions.push(AuditRecord { at, session: Some(self.setup.id.clone()), event });
    }

    /// What the client says of itself, as records show it: it may say anything.
    pub(super) fn shown_claims(&self, governance: &Governance) -> Claims {
        let application_name = mask_parameter(&governance.masker, &self.claims.application_name);
        Claims { application_name, ..self.claims.clone() }
    }

    /// The record of one statement's decision.
    pub(super) fn record_statement(
        &mut self,
        out: &mut Actions,
        at: Timestamp,
        judged: &Judged,
        verdict: Verdict,
        parameters: &Parameters,
        approval: Option<&str>,
    ) -> DecisionId {
        let id = self.next_decision();
        self.counts.statements += 1;
        let (statement, decision) = (&judged.statement, &judged.decision);
        let recorded = statement.recorded();
        let hidden = judged.hidden.own.as_deref();
        let executes = judged.executes.iter().zip(&judged.hidden.behind).map(|(meaning, hidden)| {
            hidden.as_deref().and_then(Hidden::recorded).unwrap_or(&meaning.statement.recorded().text).clone()
        });
        let principal = &self.setup.principal;
        let record = StatementRecord {
            decision: id.clone(),
            verdict,
            reasons: decision.reasons.clone(),
            kind: statement.kind,
            tag: recorded.tag.clone(),
            text: hidden.and_then(Hidden::recorded).unwrap_or(&recorded.text).clone(),
            text_bytes: recorded.text_bytes,
            fingerprint: recorded.fingerprint.clone(),
            reads: recorded.reads.clone(),
            writes: recorded.writes.clone(),
            unknown: hidden.and_then(Hidden::unknown).or(recorded.unknown.as_ref()).cloned(),
            parameters: judged.hidden.parameters(parameters),
            tokens: judged.tokens_count,
            conditions: judged.conditions.clone(),
            executes: executes.collect(),
            approval: approval.map(str::to_owned),
            break_glass: self.broken.as_ref().map(|broken| broken.id.clone()),
            class: principal.class,
            user: self.names.user.clone(),
            pid: principal.pid,
            database: self.names.database.clone(),
            database_user: self.names.database_user.clone(),
        };
        out.sync |= decision.obligations.audit_sync;
        self.record(out, at, AuditEvent::Statement(Box::new(record)));
        id
    }

    /// A statement that goes to the server now: its record, and the run that its replies belong to.
    pub(super) fn begin_run(
        &mut self,
        out: &mut Actions,
        at: Timestamp,
        judged: &Judged,
        parameters: &Parameters,
        approval: Option<&str>,
    ) -> Run {
        let decision = self.record_statement(out, at, judged, Verdict::Allow, parameters, approval);
        self.fresh_runs += 1;
        Run {
            decision,
            statement: judged.statement.clone(),
            started: at,
            governor_ns: 0,
            rows: 0,
            bytes: 0,
            masked: MaskCounts::default(),
            limit: None,
            portal: None,
            source: judged.source(),
            unsettled: None,
            prepares: None,
            declares: None,
        }
    }

    /// How one statement ended.
    pub(super) fn finish(
        &mut self,
        at: Timestamp,
        run: Run,
        outcome: Outcome,
        tag: Option<String>,
        sqlstate: Option<String>,
        out: &mut Actions,
    ) {
        let settles = matches!(outcome, Outcome::Complete | Outcome::Suspended | Outcome::Error);
        let told_millibits =
            run.unsettled.filter(|_| settles).map_or(0, |unsettled| unsettled.settle(run.rows, at));
        let event = AuditEvent::Completion(Completion {
            decision: run.decision,
            outcome,
            tag,
            rows: run.rows,
            bytes: run.bytes,
            masked: run.masked.values,
            masked_by: Category::ALL
                .into_iter()
                .zip(run.masked.by)
                .filter(|(_, count)| *count > 0)
                .map(|(category, count)| (category, u64::from(count)))
                .collect(),
            masked_in_doubt: MaskDoubt::ALL
                .into_iter()
                .zip(run.masked.in_doubt)
                .filter(|(_, count)| *count > 0)
                .map(|(doubt, count)| (doubt, u64::from(count)))
                .collect(),
            duration_ns: at.since_ns(run.started),
            governor_ns: run.governor_ns,
            sqlstate,
            limit: run.limit,
            told_millibits,
        });
        if let Some(portal) = run.portal.and_then(|name| self.portals.confirmed_mut(&name)) {
            portal.rows = portal.rows.saturating_add(run.rows);
        }
        if let Some((name, ticket)) = run.prepares {
            match outcome {
                Outcome::Complete => self.statements.confirm(&name, ticket),
                _ => self.statements.reject(&name, ticket),
            }
        }
        if let Some((name, ticket)) = run.declares {
            match outcome {
                Outcome::Complete => self.portals.confirm(&name, ticket),
                _ => self.portals.reject(&name, ticket),
            }
        }
        self.complete(out, at, event);
    }

    /// Everything of a request that got no answer of its own.
    pub(super) fn finish_all(&mut self, at: Timestamp, mut owed: Owed, outcome: Outcome, out: &mut Actions) {
        for run in owed.run.take().into_iter().chain(owed.more.drain(..)) {
            self.finish(at, run, outcome, None, None, out);
        }
    }
}

/// A client started as `psql -c 'SELECT …'` has its values among its arguments. Nothing but records shows these.
pub(super) fn mask_command_line(principal: &mut Arc<Principal>, masker: &Masker) {
    let masked: Vec<String> =
        principal.command_line.iter().map(|argument| mask_text(masker, argument, usize::MAX)).collect();
    if masked != principal.command_line {
        Arc::make_mut(principal).command_line = masked;
    }
}
