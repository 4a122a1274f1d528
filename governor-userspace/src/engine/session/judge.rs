//! Decides statements before any of them runs.

use super::beside::LeftOut;
use super::check::Check;
use super::conditions::{Asks, Stake};
use super::copying::is_ascii_safe;
use super::facts::StatementRef;
use super::fault;
use super::governance::Governance;
use super::meaning::{Basis, DefinedHere, Meaning, executed_name, fetched_name, touches_temporary};
use super::pace::RATE_POLICY;
use super::reached::add_kind;
use super::tokens::Tokens;
use super::{Encoding, Session, Settings};
use crate::engine::model::{
    Decision, DecisionId, Obligations, RelationKind, SessionState, Statement, StatementKind, TempRows,
    Unknown, Verdict,
};
use crate::engine::policy::RunContext;
use crate::engine::wire::postgres::encode::Report;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

/// A statement with its decision.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub statement: StatementRef,
    /// In which its names are read.
    pub state: Arc<SessionState>,
    /// What an EXECUTE runs, or a FETCH brings.
    pub executes: Vec<Meaning>,
    pub decision: Arc<Decision>,
    /// Masked columns that have a say in its answer, as records show them.
    pub conditions: Arc<[String]>,
    /// What its answer may tell of them.
    pub stakes: Arc<[Stake]>,
    /// Its parameters that are tokens, for which the server gets their values.
    pub tokens_count: u32,
    /// A token in place of some value would do.
    pub takes_tokens: bool,
    /// What records leave out of it, and of each that it executes.
    pub hidden: LeftOut,
}

/// What a statement is judged under, beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given<'a> {
    /// A person has approved it.
    pub approved: bool,
    pub tokens: Tokens<'a>,
}

impl Judged {
    /// The statement and what it stands for.
    pub fn everything(&self) -> impl Iterator<Item = &StatementRef> {
        self.with_states().map(|(statement, _)| statement)
    }

    /// The same, with the state that each runs in.
    pub fn with_states(&self) -> impl Iterator<Item = (&StatementRef, &Arc<SessionState>)> {
        let through = self.executes.iter().map(|meaning| (&meaning.statement, &meaning.state));
        std::iter::once((&self.statement, &self.state)).chain(through)
    }

    /// The statement whose rows come: for EXECUTE and FETCH the one that they stand for, where it is certain.
    pub fn source(&self) -> Meaning {
        match self.executes.as_slice() {
            [one] => one.clone(),
            several => Meaning {
                statement: self.statement.clone(),
                state: self.state.clone(),
                approved: false,
                basis: match several.iter().any(|meaning| meaning.basis.is_doubt()) {
                    true => Basis::Doubt,
                    false => Basis::default(),
                },
            },
        }
    }
}

/// The strictest verdict counts for all: nothing runs before everything is allowed.
pub(super) fn strictest(judged: &[Judged]) -> Verdict {
    let has = |verdict| judged.iter().any(|j| j.decision.verdict == verdict);
    if judged.is_empty() || has(Verdict::Deny) {
        Verdict::Deny
    } else if has(Verdict::Hold) {
        Verdict::Hold
    } else {
        Verdict::Allow
    }
}

impl Session {
    /// The facts of a text that the client sent.
    pub(super) fn understand(&self, text: &[u8], governance: &mut Governance) -> Vec<StatementRef> {
        if self.restricted && self.following.lexing_in_doubt() {
            let what = "a setting that changes how text is read was set earlier in the same batch";
            let why = Unknown::NotUnderstood { what: what.into() };
            return StatementRef::all(&governance.unknown(&String::from_utf8_lossy(text), why)).collect();
        }
        let understood = match self.settings.decode(text) {
            Ok(text) => {
                let plain_strings = self.settings.standard_conforming_strings;
                match self.restricted {
                    true => governance.facts.understand_twice(&text, plain_strings),
                    false => governance.facts.understand(&text, plain_strings),
                }
            }
            Err(what) => {
                let why = Unknown::NotUnderstood { what: what.into() };
                governance.unknown(&String::from_utf8_lossy(text), why)
            }
        };
        StatementRef::all(&understood).collect()
    }

    /// The same for a text that runs now and is forgotten: where facts serve the record alone, they may come from a
    /// text of the same shape.
    pub(super) fn understand_query(&self, text: &[u8], governance: &mut Governance) -> Vec<StatementRef> {
        let record_alone =
            !self.restricted && !self.may_be_masked && self.settings.standard_conforming_strings;
        match self.settings.decode(text) {
            Ok(text) if record_alone => {
                StatementRef::all(&governance.facts.understand_for_record(&text)).collect()
            }
            _ => self.understand(text, governance),
        }
    }

    /// Decides each of `statements`, in the state that those before it leave. An EXECUTE is judged by everything
    /// that its name may mean, a FETCH by its cursor's query. `state`: of a portal, as it was bound.
    pub(super) fn judge(
        &self,
        statements: &[StatementRef],
        state: Option<&Arc<SessionState>>,
        given: Given<'_>,
        governance: &mut Governance,
    ) -> Vec<Judged> {
        let mut judged = Vec::with_capacity(statements.len());
        // What stands behind a name was bound to other values, or to none.
        let behind = |approved| Given { approved, ..Given::default() };
        let approved = given.approved;
        let mut here = DefinedHere::default();
        let mut view_before = false;
        // Only where there is something to look ahead for.
        let mut ahead = (self.restricted && statements.len() > 1).then(|| self.following.clone());
        for statement in statements {
            let state = state.unwrap_or_else(|| ahead.as_ref().unwrap_or(&self.following).state()).clone();
            let mut executes: Vec<Meaning> = Vec::new();
            let mut asks = Asks::default();
            let decision = if let Some(name) = executed_name(statement) {
                executes = self.meanings_of(statement, name, &state, &here, governance);
                let inner = executes
                    .iter()
                    .map(|s| self.decide(&s.statement, &s.state, behind(approved), governance, &mut asks))
                    .reduce(stricter);
                inner.unwrap_or_else(|| self.decide(statement, &state, given, governance, &mut asks))
            } else if let Some(name) = fetched_name(statement) {
                executes = self.cursor_meanings(name, &here);
                // What was decided when it was declared may no longer hold.
                let inner = executes.iter().map(|s| {
                    self.decide(&s.statement, &s.state, behind(approved || s.approved), governance, &mut asks)
                });
                let inner = inner.collect::<Vec<_>>().into_iter().reduce(stricter);
                let own = self.decide(statement, &state, given, governance, &mut asks);
                inner.map_or(own.clone(), |inner| stricter(own, inner))
            } else {
                self.decide(statement, &state, given, governance, &mut asks)
            };
            let decision = if view_before && !statement.changes.is_empty() {
                let mut again = Asks::default();
                let doubtful = self.decide_reached(statement, &state, given, true, governance, &mut again);
                stricter(decision, doubtful)
            } else {
                decision
            };
            view_before |= makes_view(statement);
            here.add(statement, &state, approved, governance);
            if let Some(ahead) = &mut ahead {
                let through = executes.iter().map(|meaning| (&meaning.statement, &meaning.state));
                for (statement, state) in std::iter::once((statement, &state)).chain(through) {
                    ahead.follow(statement, self.reach(statement, &state.search_path, governance));
                }
            }
            let takes_tokens = asks.takes_tokens;
            let (conditions, stakes) = asks.into_parts();
            let hidden = self.hidden_of(statement, &executes, governance);
            judged.push(Judged {
                hidden,
                statement: statement.clone(),
                state,
                executes,
                decision,
                conditions,
                stakes,
                tokens_count: given.tokens.bound_count(),
                takes_tokens,
            });
        }
        judged
    }

    /// A fault of governor's own while it decides denies this statement; the session goes on.
    fn decide(
        &self,
        statement: &StatementRef,
        state: &SessionState,
        given: Given<'_>,
        governance: &mut Governance,
        asks: &mut Asks,
    ) -> Arc<Decision> {
        fault::guarded("policy", || self.ask(statement, state, given, governance, asks))
            .unwrap_or_else(|| Arc::new(fault::denial()))
    }

    /// Policy is asked about all that the statement reaches, seen through the catalogue as it was last read.
    fn ask(
        &self,
        statement: &StatementRef,
        state: &SessionState,
        given: Given<'_>,
        governance: &mut Governance,
        asks: &mut Asks,
    ) -> Arc<Decision> {
        let in_doubt = self.restricted && self.writes_in_doubt(statement, state, governance);
        let decision = self.decide_reached(statement, state, given, in_doubt, governance, asks);
        let changed = matches!(self.check, Check::Doubt);
        if !(changed || matches!(self.check, Check::TooMuch)) || !self.is_governed_by_effect() {
            return decision;
        }
        let again = self.decide_reached(statement, state, given, true, governance, asks);
        // Nobody approved what it has become.
        let passes = again.verdict == Verdict::Allow && !given.approved;
        if !changed || passes || decision.verdict == Verdict::Deny {
            return stricter(decision, again);
        }
        Arc::new(Decision::deny(CHANGED_POLICY, CHANGED, CHANGED_HINT))
    }

    /// Whether the statement may write elsewhere than its names say: into a view that the catalogue does not have.
    fn writes_in_doubt(
        &self,
        statement: &StatementRef,
        state: &SessionState,
        governance: &mut Governance,
    ) -> bool {
        statement.changes.iter().any(|change| {
            let name = &change.relation;
            let may_be_temporary = name.schema.as_deref().is_none_or(|schema| schema == "pg_temp");
            if may_be_temporary && let Some(object) = state.temporary.get(&name.name) {
                let TempRows::Statements(made) = &object.rows else { return false };
                return made.first().is_some_and(|made| {
                    let understood = governance.facts.understand(&made.text, true);
                    StatementRef::all(&understood).any(|statement| makes_view(&statement))
                });
            }
            let Some(catalogue) = self.catalogue.as_deref().filter(|_| self.views_made) else { return false };
            let found = catalogue.data.resolve(name, &state.search_path);
            let candidates = found.candidates();
            candidates.is_empty() || candidates.iter().any(|r| r.kind == RelationKind::View)
        })
    }

    /// `in_doubt`: more may happen than can be told.
    fn decide_reached(
        &self,
        statement: &StatementRef,
        state: &SessionState,
        given: Given<'_>,
        in_doubt: bool,
        governance: &mut Governance,
        asks: &mut Asks,
    ) -> Arc<Decision> {
        let approved = given.approved;
        if !self.restricted {
            return self.asker(governance).run(statement, RunContext { approved, ..RunContext::default() });
        }
        let sensitive = |statement: &Statement, governance: &Governance| {
            self.may_be_masked
                && self.trusted_catalogue(governance).is_none_or(|c| {
                    c.reads_sensitive(statement)
                        || c.is_chosen(statement)
                        || (c.any_sensitive() && touches_temporary(statement, &state.temporary))
                })
        };
        let reads = sensitive(statement, governance);
        if let Some(denial) = self.copy_out_denial(statement, state, reads, governance) {
            return Arc::new(denial);
        }
        let reached = governance.reach(statement, self.catalogue.as_deref(), &state.search_path);
        // A temporary relation may have the name of another that is reached.
        let reads_sensitive = reads || sensitive(&reached.statement, governance);
        let asked =
            self.asks(statement, &reached.statement, state, reads_sensitive, given.tokens, governance);
        let conditions = asked.shared_conditions();
        let copies_masked = asked.copies_masked;
        asks.add(asked);
        let context = RunContext {
            conditions,
            copies_masked,
            approved,
            reads_sensitive,
            estimated_rows: reached.rows_max,
            bare_schemas: state.bare_schemas(&reached.statement),
            columns_certain: reached.columns_certain && self.trusted_catalogue(governance).is_some(),
            functions_certain: reached.functions_certain,
            ..RunContext::default()
        };
        if in_doubt {
            let mut doubtful = reached.statement.clone();
            add_kind(&mut doubtful, StatementKind::Call);
            return self.asker(governance).run(&doubtful, context);
        }
        self.asker(governance).run(&reached.statement, context)
    }

    /// What the client reads when it is refused.
    pub(super) fn denial_report(&self, id: &DecisionId, decision: &Decision, what: &str) -> Report {
        let reason = decision.told();
        let (policy, text, hint) =
            reason.map_or(("", "", ""), |r| (r.policy.as_str(), r.text.as_str(), r.hint.as_str()));
        let code = reason.map(|reason| reason.sqlstate).unwrap_or_default().as_str();
        let text = if text.is_empty() { "no policy permits it" } else { text };
        Report {
            sqlstate: match policy {
                RATE_POLICY => "53400",
                // Clients that try again are right.
                CHANGED_POLICY => "40001",
                _ => code,
            },
            message: format!("governor denied {what}: {text}"),
            detail: format!(
                "decision={id} verdict=deny policy={policy} class={}",
                self.setup.principal.class
            ),
            hint: hint.to_owned(),
        }
    }
}

/// A name that the server keeps as it is: it cuts longer ones, and reads others in the session's
/// encoding, so that two spellings may mean one name.
pub(super) fn is_plain_name(name: &[u8]) -> bool {
    name.len() < NAME_BYTES && name.is_ascii()
}

/// Of an agent's statement, something of which was defined anew.
pub(super) const CHANGED_POLICY: &str = "governor.definitions";
const CHANGED: &str = "something that it relies on was defined anew since governor read the catalogue, so nobody can tell what it would do";
const CHANGED_HINT: &str = "Send it again; in a transaction, end that first.";
/// The server's NAMEDATALEN.
const NAME_BYTES: usize = 64;

/// CREATE VIEW, temporary or not.
pub(super) fn makes_view(statement: &Statement) -> bool {
    statement.tag == "CREATE VIEW"
}

fn stricter(a: Arc<Decision>, b: Arc<Decision>) -> Arc<Decision> {
    let rank = |d: &Decision| match d.verdict {
        Verdict::Allow => 0,
        Verdict::Hold => 1,
        Verdict::Deny => 2,
    };
    match rank(&b).cmp(&rank(&a)) {
        Ordering::Greater => b,
        Ordering::Equal if a.obligations.limits != b.obligations.limits => {
            let limits = a.obligations.limits.and(b.obligations.limits);
            let obligations = Obligations { limits, ..a.obligations };
            Arc::new(Decision { obligations, ..(*a).clone() })
        }
        _ => a,
    }
}

impl Settings {
    /// SQL text in the session's encoding. Errors name what is not understood.
    fn decode<'a>(&self, text: &'a [u8]) -> Result<Cow<'a, str>, &'static str> {
        match self.encoding {
            Encoding::Utf8 => std::str::from_utf8(text)
                .map(Cow::Borrowed)
                .map_err(|_| "the text is not valid in its encoding"),
            Encoding::Latin1 => match std::str::from_utf8(text) {
                Ok(ascii) if text.is_ascii() => Ok(Cow::Borrowed(ascii)),
                _ => Ok(text.iter().map(|b| char::from(*b)).collect::<String>().into()),
            },
            Encoding::AsciiOnly => match std::str::from_utf8(text) {
                Ok(ascii) if text.is_ascii() => Ok(Cow::Borrowed(ascii)),
                _ => Err("the text is not ASCII and its encoding is not known"),
            },
        }
    }

    /// Follows a ParameterStatus of the server.
    pub(super) fn parameter_status(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"standard_conforming_strings" => self.standard_conforming_strings = value == b"on",
            b"server_version" => {
                let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let major = value.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
                let major: Option<u32> = major.and_then(|digits| digits.parse().ok());
                self.takes_for_pipeline = major.is_none_or(|major| major >= PIPELINES_QUERIES_SINCE);
            }
            b"client_encoding" => {
                self.ascii_is_safe = is_ascii_safe(&String::from_utf8_lossy(value));
                self.encoding = match value {
                    b"UTF8" => Encoding::Utf8,
                    b"LATIN1" => Encoding::Latin1,
                    // The bytes are whatever the client says; ASCII is the same in all of them but
                    // for the multi-byte encodings whose second byte may look like ASCII.
                    _ => Encoding::AsciiOnly,
                }
            }
            _ => {}
        }
    }
}

/// The major version that takes a simple query for a part of the pipeline in front of it (`server/settling.rs`).
const PIPELINES_QUERIES_SINCE: u32 = 18;
