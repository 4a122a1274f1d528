//! Decides statements before any of them runs.

use super::governance::{Governance, StatementRef};
use super::{Encoding, Session, Settings};
use crate::engine::model::{Decision, DecisionId, Statement, StatementKind, Unknown, Verdict};
use crate::engine::policy::RunContext;
use crate::engine::wire::postgres::encode::Report;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A statement with its decision.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub statement: StatementRef,
    pub decision: Arc<Decision>,
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
        let understood = match self.settings.decode(text) {
            Ok(text) => governance.understand(&text, self.settings.standard_conforming_strings),
            Err(what) => {
                let why = Unknown::NotUnderstood { what: what.into() };
                governance.unknown(&String::from_utf8_lossy(text), why)
            }
        };
        StatementRef::all(&understood).collect()
    }

    /// Decides each of `statements`. An EXECUTE is judged by everything that its name may mean.
    pub(super) fn judge(
        &self,
        statements: &[StatementRef],
        approved: bool,
        governance: &mut Governance,
    ) -> Vec<Judged> {
        let mut judged = Vec::with_capacity(statements.len());
        let mut prepared_here: HashMap<&str, &Statement> = HashMap::new();
        for statement in statements {
            let decision = if let Some(name) = executes(statement) {
                let mut inner: Vec<Arc<Decision>> = Vec::new();
                if let Some(local) = prepared_here.get(name) {
                    inner.push(self.decide(local, approved, governance));
                }
                for meaning in self.statements.meanings(name.as_bytes()) {
                    inner.extend(meaning.statements.iter().map(|s| self.decide(s, approved, governance)));
                }
                if inner.is_empty() {
                    let why = Unknown::UnseenPrepared { name: name.into() };
                    inner.push(self.decide(
                        &Statement::unknown(statement.text.clone(), why),
                        approved,
                        governance,
                    ));
                }
                match inner.into_iter().reduce(stricter) {
                    Some(decision) => decision,
                    None => self.decide(statement, approved, governance),
                }
            } else {
                self.decide(statement, approved, governance)
            };
            if statement.kind == StatementKind::Prepare
                && let (Some(name), Some(inner)) = (&statement.prepared_name, &statement.inner)
            {
                prepared_here.insert(name, inner);
            }
            judged.push(Judged { statement: statement.clone(), decision });
        }
        judged
    }

    fn decide(&self, statement: &Statement, approved: bool, governance: &mut Governance) -> Arc<Decision> {
        let reads_sensitive =
            self.may_be_masked && self.catalogue.as_ref().is_none_or(|c| c.reads_sensitive(statement));
        if reads_sensitive && copies_out(statement) {
            return Arc::new(Decision::deny(
                "governor.copy-out",
                "COPY TO of data that has to be masked is not possible",
                "Use SELECT: its result is masked.",
            ));
        }
        self.asker(governance).run(statement, &RunContext { approved, reads_sensitive })
    }

    /// What the client reads when it is refused.
    pub(super) fn denial_report(&self, id: &DecisionId, decision: &Decision, what: &str) -> Report {
        let reason =
            decision.reasons.iter().find(|r| !r.text.is_empty()).or_else(|| decision.reasons.first());
        let (policy, text, hint) =
            reason.map_or(("", "", ""), |r| (r.policy.as_str(), r.text.as_str(), r.hint.as_str()));
        let text = if text.is_empty() { "no policy permits it" } else { text };
        Report {
            sqlstate: "42501",
            message: format!("governor denied {what}: {text}"),
            detail: format!(
                "decision={id} verdict=deny policy={policy} class={}",
                self.setup.principal.class
            ),
            hint: hint.to_owned(),
        }
    }
}

fn executes(statement: &Statement) -> Option<&str> {
    let statement = match (&statement.kind, &statement.inner) {
        // EXPLAIN ANALYZE EXECUTE runs it too.
        (StatementKind::Execute, _) => statement,
        (_, Some(inner)) if inner.kind == StatementKind::Execute => inner,
        _ => return None,
    };
    Some(statement.prepared_name.as_deref().unwrap_or_default())
}

fn copies_out(statement: &Statement) -> bool {
    statement.kinds.contains(&StatementKind::CopyOut) || statement.kind == StatementKind::CopyOut
}

fn stricter(a: Arc<Decision>, b: Arc<Decision>) -> Arc<Decision> {
    let rank = |d: &Decision| match d.verdict {
        Verdict::Allow => 0,
        Verdict::Hold => 1,
        Verdict::Deny => 2,
    };
    if rank(&b) > rank(&a) { b } else { a }
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
            b"client_encoding" => {
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
