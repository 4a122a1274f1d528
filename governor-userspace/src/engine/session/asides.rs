//! What the server says beside its replies, to a session that is masked: notifications, and settings that it reports.
//!
//! A notification's payload is whatever some session wrote: its origin is not known. A setting is reported with its value,
//! and a function may have put anything into one that takes free text (`application_name`).
//!
//! Invariant: free text passes where the client itself said it, or where nothing is hidden from it.

use super::governance::Governance;
use super::server::Step;
use super::{Phase, Session};
use crate::engine::masking::ColumnAction;
use crate::engine::model::Statement;
use crate::engine::policy::SeeColumn;
use crate::engine::wire::postgres::backend::{self, kind};
use crate::engine::wire::postgres::{ProtocolViolation, encode};
use std::collections::BTreeSet;

/// Values of settings of which the session knows anyway: its own, and those that it began with.
#[derive(Debug, Default)]
pub(super) struct Reported {
    known: BTreeSet<(String, String)>,
    /// A setting was put back to its default since the server was last ready.
    put_back: bool,
}

impl Reported {
    fn learn(&mut self, name: &str, value: &str) {
        if self.known.len() < KNOWN_COUNT_MAX && value.len() <= KNOWN_BYTES_MAX {
            self.known.insert((name.to_ascii_lowercase(), value.to_ascii_lowercase()));
        }
    }

    fn knows(&self, name: &str, value: &str) -> bool {
        self.known.contains(&(name.to_ascii_lowercase(), value.to_ascii_lowercase()))
    }

    /// A statement ran, or runs: what it says of a setting, the client has said.
    pub fn follow(&mut self, statement: &Statement) {
        match &statement.setting {
            Some((name, Some(value))) => self.learn(name, value),
            Some((_, None)) if matches!(statement.tag.as_str(), "SET" | "RESET" | "DISCARD ALL") => {
                self.put_back = true;
            }
            _ => {}
        }
    }

    pub fn ready(&mut self) {
        self.put_back = false;
    }
}

impl Session {
    /// A NotificationResponse as the client may read it.
    pub(super) fn notified(
        &self,
        body: &[u8],
        governance: &mut Governance,
    ) -> Result<Step, ProtocolViolation> {
        if !self.may_be_masked {
            return Ok(Step::Pass);
        }
        let (process, channel, payload) = backend::notification(body)?;
        let detectors = governance.masker.detectors.clone();
        let found = |text: &[u8]| {
            let mut found = Vec::new();
            detectors.detect(text).is_some() || {
                detectors.find_in_text(text, &mut found);
                !found.is_empty()
            }
        };
        let hide = !payload.is_empty() && (found(payload) || self.hides_unknown(governance));
        if !hide {
            return Ok(Step::Pass);
        }
        let mut message = encode::begin(kind::NOTIFICATION_RESPONSE);
        message.extend_from_slice(&process.to_be_bytes());
        message.extend_from_slice(channel);
        message.extend_from_slice(b"\0[masked]\0");
        encode::finish(message)
            .map(Step::Replace)
            .ok_or(ProtocolViolation::Other("a channel's name has no end"))
    }

    /// A ParameterStatus: whether the client may be told. What it is not told it goes on believing.
    pub(super) fn parameter_told(&mut self, name: &[u8], value: &[u8], governance: &mut Governance) -> Step {
        if !self.may_be_masked {
            return Step::Pass;
        }
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let opening =
            !matches!(self.phase, Phase::Ready | Phase::AskingState | Phase::ReadingCatalogue { .. });
        if opening {
            self.reported.learn(&name, &value);
        }
        let takes_free_text = FREE_TEXT.iter().any(|free| free.eq_ignore_ascii_case(&name));
        if opening || !takes_free_text || value.is_empty() || is_zone(&name, &value) {
            return Step::Pass;
        }
        if let Some(run) = self.pipeline.front().and_then(|owed| owed.run.as_ref()) {
            self.reported.follow(&run.statement);
        }
        if self.reported.put_back || self.reported.knows(&name, &value) || !self.hides_unknown(governance) {
            return Step::Pass;
        }
        Step::Drop
    }

    /// There is sensitive data, or may be, and policy hides what has no known origin.
    pub(super) fn hides_unknown(&self, governance: &mut Governance) -> bool {
        let any = self.trusted_catalogue(governance).is_none_or(|catalogue| catalogue.any_sensitive());
        let unknown = SeeColumn { column: None, category: None };
        any && matches!(self.asker(governance).see(unknown), ColumnAction::Mask { .. })
    }
}

/// The name of a time zone that the server has. One with digits may be made up: `<anything>-3` and `ANYTHING/X3` are
/// valid.
fn is_zone(name: &str, value: &str) -> bool {
    let hours = value.strip_prefix("Etc/GMT").and_then(|rest| rest.strip_prefix(['+', '-']));
    let plain = |text: &str| !text.bytes().any(|b| b.is_ascii_digit() || b == b'<');
    let listed = plain(value) || hours.is_some_and(|n| n.len() <= 2 && n.bytes().all(|b| b.is_ascii_digit()));
    name.eq_ignore_ascii_case("timezone") && listed
}

/// Settings that the server reports and that hold what somebody wrote; the others are words of a list, or numbers.
const FREE_TEXT: [&str; 4] = ["application_name", "search_path", "session_authorization", "TimeZone"];
const KNOWN_COUNT_MAX: usize = 256;
const KNOWN_BYTES_MAX: usize = 512;
