//! The extended protocol's statements: Parse, Bind and Execute are each decided.

use super::action::Actions;
use super::check::Check;
use super::client::{is_plain, weight};
use super::facts::StatementRef;
use super::fault;
use super::gate::{Gate, NO_SUCH_PORTAL, Step, name_report};
use super::governance::Governance;
use super::judge::{Given, is_plain_name, strictest};
use super::meaning::{Basis, fetched_name};
use super::permit::{Permit, ProtocolNeed};
use super::pipeline::{Expect, Owed};
use super::tokens::Tokens;
use super::{Parameters, Portal, Prepared, Session};
use crate::engine::model::{StatementKind, Timestamp, Unknown, Verdict};
use crate::engine::wire::postgres::encode::{self, Report};
use crate::engine::wire::postgres::frontend;
use bytes::BytesMut;
use std::sync::Arc;

/// What a Bind says.
pub(super) struct Binding<'a> {
    pub names: frontend::BindNames<'a>,
    /// As records show them.
    pub parameters: Parameters,
    /// Result formats.
    pub formats: Option<Vec<i16>>,
    /// `None`: it is too long to be read whole.
    pub body: Option<&'a [u8]>,
}

impl Session {
    /// Parse runs nothing, but a statement that can never run is refused here, where drivers expect it.
    pub(super) fn parse(
        &mut self,
        now: Timestamp,
        name: &[u8],
        statements: Vec<StatementRef>,
        types: Option<Arc<[u32]>>,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Step {
        let tokens = types.as_deref().map_or(Tokens::None, Tokens::Unbound);
        let judged = self.judge(&statements, None, Given { approved: false, tokens }, governance);
        let certain = !statements.iter().any(|s| s.kind == StatementKind::Execute);
        if certain && strictest(&judged) == Verdict::Deny {
            let report = self.record_denials(now, &judged, &Parameters::default(), out);
            return self.deny_parse(name, &report);
        }
        let ticket = self.next_ticket();
        let kept = name.len() + weight(&statements) + types.as_deref().map_or(0, size_of_val);
        let known = is_plain_name(name)
            && self.statements.define(
                name,
                ticket,
                Prepared { statements: statements.into(), types, fields: None },
                kept,
            );
        if !known && self.restricted {
            return self.deny_parse(name, &name_report("prepared statement"));
        }
        let mut owed = Owed::new(Expect::Parse { statement: name.into(), ticket });
        owed.weight = kept;
        self.pipeline.push(owed);
        Step::Pass(Permit::protocol(ProtocolNeed::Framing))
    }

    /// Bind plans the statement, which may already evaluate functions: it is decided here, and a
    /// hold waits here.
    pub(super) fn bind(
        &mut self,
        now: Timestamp,
        Binding { names, parameters, formats, body }: Binding<'_>,
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Step {
        let mut statements: Arc<[StatementRef]> =
            self.statements.newest(names.statement).map(|p| p.statements.clone()).unwrap_or_default();
        if statements.is_empty() {
            let name = String::from_utf8_lossy(names.statement).into_owned();
            statements =
                StatementRef::all(&governance.unknown("", Unknown::UnseenPrepared { name })).collect();
        }
        let types = self.statements.newest(names.statement).and_then(|p| p.types.clone());
        let replaced = body.zip(types).and_then(|(body, types)| {
            fault::guarded("tokens", || self.replace_tokens(&statements, &types, body, governance)).flatten()
        });
        let tokens = replaced.as_ref().map(|replaced| replaced.tokens.clone()).unwrap_or_default();
        let (mut judged, approval, refused) =
            self.judge_standing(&statements, None, Tokens::Bound(&tokens), governance);
        self.check = Check::None;
        self.weigh(now, &mut judged, approval.as_ref(), false, governance, out);
        match self.gate(now, &judged, &parameters, approval.as_ref(), refused, governance, out) {
            Gate::Hold => Step::Hold,
            Gate::Deny(report) => self.deny_extended(&report),
            Gate::Allow(permit) => {
                let fields = self.statements.newest(names.statement).and_then(|p| p.fields.clone());
                let state = judged.last().map_or_else(|| self.following.state().clone(), |j| j.state.clone());
                let portal = Portal {
                    statements,
                    parameters,
                    tokens,
                    approval,
                    fields,
                    formats,
                    state,
                    means: None,
                    basis: Basis::default(),
                    rows: 0,
                    charged: false,
                    holds: false,
                    described: false,
                    plan: None,
                };
                let ticket = self.next_ticket();
                let values = portal.parameters.iter().flatten().map(String::len).sum::<usize>();
                let kept =
                    names.portal.len() + values + weight(&portal.statements) + size_of_val(&*portal.tokens);
                let known =
                    is_plain_name(names.portal) && self.portals.define(names.portal, ticket, portal, kept);
                if !known && self.restricted {
                    return self.deny_extended(&name_report("portal"));
                }
                let mut owed = Owed::new(Expect::Bind { portal: names.portal.into(), ticket });
                owed.weight = kept;
                self.pipeline.push(owed);
                match replaced {
                    Some(replaced) => {
                        self.holds_values = true;
                        Step::Replace(replaced.message, permit)
                    }
                    None => Step::Pass(permit),
                }
            }
        }
    }

    /// Execute runs the portal: its record is written here.
    pub(super) fn execute(
        &mut self,
        now: Timestamp,
        name: &[u8],
        governance: &mut Governance,
        out: &mut Actions,
    ) -> Step {
        let mut statements: Arc<[StatementRef]> =
            self.portals.newest(name).map(|p| p.statements.clone()).unwrap_or_default();
        let (bound, parameters) = self
            .portals
            .newest(name)
            .map(|p| ((p.approval.clone(), p.state.clone()), p.parameters.clone()))
            .unzip();
        let parameters = parameters.unwrap_or_default();
        let tokens = self.portals.newest(name).map(|p| p.tokens.clone()).unwrap_or_default();
        let unseen = statements.is_empty();
        if unseen {
            let what = format!("portal {:?} was not bound in this session", String::from_utf8_lossy(name));
            statements =
                StatementRef::all(&governance.unknown("", Unknown::NotUnderstood { what })).collect();
        }
        let (mut judged, approval, refused) =
            self.judge_standing(&statements, bound, Tokens::Bound(&tokens), governance);
        self.check = Check::None;
        self.take_rate(now, &mut judged, governance);
        // More rows of the same portal are no new answer.
        if self.portals.newest(name).is_some_and(|portal| portal.charged) {
            judged.iter_mut().for_each(|one| one.stakes = Arc::default());
        }
        self.weigh(now, &mut judged, approval.as_ref(), true, governance, out);
        match self.gate(now, &judged, &parameters, approval.as_ref(), refused, governance, out) {
            Gate::Hold => Step::Hold,
            Gate::Deny(mut report) => {
                if unseen {
                    report.sqlstate = NO_SUCH_PORTAL;
                }
                self.deny_extended(&report)
            }
            Gate::Allow(permit) => {
                let Some(newest) = judged.last() else { return self.deny_extended(&Report::default()) };
                // Asked before the statement changes what names mean.
                let describe = self.may_be_masked && !self.columns_known(name);
                if let Some(portal) = self.portals.newest_mut(name) {
                    portal.charged = true;
                    portal.means = (!newest.executes.is_empty()).then(|| newest.source());
                }
                let known = self.portals.newest(name).map(|portal| portal.basis.clone()).unwrap_or_default();
                let mut run = self.run(now, newest, &parameters, approval.as_ref(), known, governance, out);
                let check = match &run.source.basis {
                    Basis::Newest => self.check_between(newest, &mut run, governance),
                    // It goes on as it began.
                    Basis::Checked(_) | Basis::Doubt => None,
                };
                if let (Some(portal), false) = (self.portals.newest_mut(name), check.is_some()) {
                    portal.basis = run.source.basis.clone();
                }
                if self.may_pace {
                    let cursor = fetched_name(&newest.statement).map_or(name, str::as_bytes);
                    self.pace(now, &mut run, &judged, Some(cursor));
                    self.flush_due = true;
                }
                if describe {
                    self.pipeline.push(Owed::new(Expect::DescribePortal { portal: name.into(), own: true }));
                    if let Some(portal) = self.portals.newest_mut(name) {
                        portal.described = true;
                    }
                }
                let mut owed = Owed::new(Expect::Execute { portal: name.into() });
                owed.weight = weight(&statements);
                owed.run = Some(run);
                self.pipeline.push(owed);
                let mut first = BytesMut::from(check.as_deref().unwrap_or_default());
                if describe {
                    first.extend_from_slice(&encode::describe_portal(name));
                }
                if first.is_empty() { Step::Pass(permit) } else { Step::PassAfter(first.freeze(), permit) }
            }
        }
    }

    /// Whether the columns of this portal's rows are known, or will be when the rows come.
    fn columns_known(&self, portal: &[u8]) -> bool {
        self.portals.newest(portal).is_some_and(|p| {
            // What EXECUTE and FETCH return may have changed since they were described.
            matches!(&*p.statements, [one] if is_plain(one))
                && (p.plan.is_some() || p.described || (p.fields.is_some() && p.formats.is_some()))
        })
    }
}
