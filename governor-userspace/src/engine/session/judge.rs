//! Decides statements before any of them runs.

use super::facts::StatementRef;
use super::governance::Governance;
use super::{Encoding, Session, Settings};
use crate::engine::model::{Decision, DecisionId, Statement, StatementKind, Unknown, Verdict};
use crate::engine::policy::RunContext;
use crate::engine::wire::postgres::encode::Report;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A statement with its decision.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub statement: StatementRef,
    /// What an EXECUTE runs.
    pub executes: Vec<StatementRef>,
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
            Ok(text) => governance.facts.understand(&text, self.settings.standard_conforming_strings),
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

    /// Decides each of `statements`. An EXECUTE is judged by everything that its name may mean.
    pub(super) fn judge(
        &self,
        statements: &[StatementRef],
        approved: bool,
        governance: &mut Governance,
    ) -> Vec<Judged> {
        let mut judged = Vec::with_capacity(statements.len());
        let mut prepared_here = BTreeMap::new();
        for statement in statements {
            let mut executes: Vec<StatementRef> = Vec::new();
            let decision = if let Some(name) = executed_name(statement) {
                executes = self.meanings_of(name, &prepared_here, governance);
                let inner = executes.iter().map(|s| self.decide(s, approved, governance)).reduce(stricter);
                inner.unwrap_or_else(|| self.decide(statement, approved, governance))
            } else {
                self.decide(statement, approved, governance)
            };
            if statement.kind == StatementKind::Prepare
                && let (Some(name), Some(inner)) = (&statement.prepared_name, &statement.inner)
                && let Some(inner) = StatementRef::all(&governance.facts.known((**inner).clone())).next()
            {
                prepared_here.insert(name.clone(), inner);
            }
            judged.push(Judged { statement: statement.clone(), executes, decision });
        }
        judged
    }

    /// Every statement that EXECUTE of `name` may run; never empty.
    fn meanings_of(
        &self,
        name: &str,
        prepared_here: &BTreeMap<String, StatementRef>,
        governance: &Governance,
    ) -> Vec<StatementRef> {
        let mut found: Vec<StatementRef> = prepared_here.get(name).cloned().into_iter().collect();
        if is_plain_name(name.as_bytes()) {
            let known = self.statements.newest(name.as_bytes());
            found.extend(known.into_iter().flat_map(|p| p.statements.iter().cloned()));
        }
        let unknown = if found.is_empty() {
            Some(Unknown::UnseenPrepared { name: name.into() })
        } else if found.iter().any(|s| !can_be_prepared(s)) {
            // The protocol prepares any command; run by name it would define or drop names unseen.
            Some(Unknown::NotUnderstood { what: "EXECUTE of a command that changes the session".into() })
        } else {
            None
        };
        if let Some(why) = unknown {
            found.extend(StatementRef::all(&governance.unknown(&format!("EXECUTE {name}"), why)));
        }
        found
    }

    fn decide(&self, statement: &Statement, approved: bool, governance: &mut Governance) -> Arc<Decision> {
        let reads_sensitive = self.may_be_masked
            && self.trusted_catalogue(governance).is_none_or(|c| c.reads_sensitive(statement));
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

fn executed_name(statement: &Statement) -> Option<&str> {
    let statement = match (&statement.kind, &statement.inner) {
        // EXPLAIN ANALYZE EXECUTE runs it too.
        (StatementKind::Execute, _) => statement,
        (_, Some(inner)) if inner.kind == StatementKind::Execute => inner,
        _ => return None,
    };
    Some(statement.prepared_name.as_deref().unwrap_or_default())
}

/// What SQL's own PREPARE takes.
fn can_be_prepared(statement: &Statement) -> bool {
    use StatementKind as K;
    matches!(statement.kind, K::Select | K::Insert | K::Update | K::Delete | K::Merge)
}

/// A name that the server keeps as it is: it cuts longer ones, and reads others in the session's
/// encoding, so that two spellings may mean one name.
pub(super) fn is_plain_name(name: &[u8]) -> bool {
    name.len() < NAME_BYTES && name.is_ascii()
}

/// The server's NAMEDATALEN.
const NAME_BYTES: usize = 64;

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
