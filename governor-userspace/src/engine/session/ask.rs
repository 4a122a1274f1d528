//! Asks the server for the session's own state, on the client's connection, before a statement that needs it.
//!
//! SHOW takes no snapshot and changes nothing, so it may be asked in the client's transaction; the list of temporary
//! relations is asked for outside of transactions only. The extended protocol with names of its own leaves the
//! client's unnamed statement and portal alone. No reply reaches the client.
//!
//! Every operator and relation is schema-qualified: nothing in a session's `search_path` can stand in for it.

use super::action::Actions;
use super::following::Told;
use super::gate::Step;
use super::permit::{Permit, ProtocolNeed};
use super::pipeline::{Expect, Owed};
use super::{Phase, Session, TransactionState};
use crate::engine::wire::postgres::{ProtocolViolation, backend, encode};
use bytes::{Bytes, BytesMut};

/// In the order of [`Told`]'s fields.
const SETTINGS: [&str; 4] =
    ["SHOW search_path", "SHOW role", "SHOW session_authorization", "SHOW row_security"];
const TEMPORARY: &str = "SELECT pg_catalog.to_json(ARRAY(SELECT c.relname::pg_catalog.text \
FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,v}'::pg_catalog.\"char\"[])))";
/// No client uses this name by chance.
const NAME: &str = "governor\u{1}state";
/// Longest answer that is read: a list of names.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// Collects the answers.
#[derive(Debug, Default)]
pub(super) struct Asked {
    answers: Vec<String>,
    bytes: usize,
    with_temporary: bool,
    failed: bool,
}

impl Asked {
    /// One row of one value.
    pub fn row(&mut self, body: &[u8]) -> Result<(), ProtocolViolation> {
        self.bytes = self.bytes.saturating_add(body.len());
        let row = backend::data_row(body)?;
        // In an encoding that is not UTF-8 names would come out wrong.
        let value = row.first().copied().flatten().and_then(|value| std::str::from_utf8(value).ok());
        match value {
            Some(value) if self.bytes <= ANSWER_BYTES_MAX => self.answers.push(value.to_owned()),
            _ => self.failed = true,
        }
        Ok(())
    }

    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// `None` where the server would not tell all of it.
    pub fn finish(self) -> Option<Told> {
        let wanted = SETTINGS.len() + usize::from(self.with_temporary);
        if self.failed || self.answers.len() != wanted {
            return None;
        }
        let mut answers = self.answers.into_iter();
        Some(Told {
            search_path: answers.next()?,
            role: answers.next()?,
            session_user: answers.next()?,
            row_security: answers.next()?,
            temporary: match answers.next() {
                Some(list) => Some(serde_json::from_str(&list).ok()?),
                None => None,
            },
        })
    }
}

impl Session {
    /// The state is in doubt, and the server can be asked: nothing is under way that could fail, no batch is open.
    pub(super) fn state_needed(&self) -> bool {
        self.restricted
            && self.following.wants_to_ask()
            && self.pipeline.owes_only_closes()
            && !self.batch_open
            && self.transaction != TransactionState::Failed
            && !self.standing_is_set()
    }

    /// Asks first; the client's message waits.
    pub(super) fn ask_state_first(&mut self, out: &mut Actions) -> Step {
        self.close_check(out);
        let with_temporary = self.transaction == TransactionState::Idle;
        self.asked = Some(Asked { with_temporary, ..Asked::default() });
        self.phase = Phase::AskingState;
        self.pipeline.push(Owed::new(Expect::OwnQuery));
        out.to_server.push((question(with_temporary), Permit::protocol(ProtocolNeed::OwnRequest)));
        Step::Later
    }

    /// The answer is complete.
    pub(super) fn state_told(&mut self, asked: Asked) {
        let told = asked.finish();
        self.following.told(told);
        if let Phase::AskingState = self.phase {
            self.phase = Phase::Ready;
        }
    }
}

/// The messages that ask.
pub(super) fn question(with_temporary: bool) -> Bytes {
    let mut out = BytesMut::new();
    for text in SETTINGS.into_iter().chain(with_temporary.then_some(TEMPORARY)) {
        out.extend_from_slice(&encode::run_once(NAME, text));
    }
    out.extend_from_slice(&encode::sync());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: &[u8]) -> Vec<u8> {
        let mut body = 1u16.to_be_bytes().to_vec();
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value);
        body
    }

    fn answered(values: &[&str], with_temporary: bool) -> Option<Told> {
        let mut asked = Asked { with_temporary, ..Asked::default() };
        values.iter().for_each(|value| asked.row(&row(value.as_bytes())).unwrap());
        asked.finish()
    }

    #[test]
    fn answers_count_only_when_all_of_them_came() {
        let all = ["public", "none", "app", "on", "[\"a, b\"]"];
        assert_eq!(answered(&all, true).unwrap().temporary, Some(vec!["a, b".into()]));
        assert_eq!(answered(&all[..4], false).unwrap().temporary, None);
        assert_eq!(answered(&all[..4], true), None);
        assert_eq!(answered(&all[..3], false), None);
        assert_eq!(answered(&["public", "none", "app", "on", "no list"], true), None);
    }

    #[test]
    fn names_in_another_encoding_are_not_guessed() {
        let mut asked = Asked::default();
        for value in [&b"caf\xe9"[..], b"none", b"app", b"on"] {
            asked.row(&row(value)).unwrap();
        }
        assert_eq!(asked.finish(), None);
    }
}
