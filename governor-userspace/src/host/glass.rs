//! Breaks the glass for a person at the control socket, and sweeps up when the time is over.
//!
//! Who it is comes from the kernel: the socket's peer, and what that process is. An agent that asks (also through
//! sudo) is an agent and gets nothing; so does a service. The record is on disk before anything is lifted.

use crate::engine::audit::{AuditEvent, AuditRecord, BreakGlassStart};
use crate::engine::model::{Class, Principal, Timestamp};
use crate::engine::session::{Broken, Glass, login_of};
use crate::host::clock;
use crate::host::identity::Identifier;
use crate::host::ledger::Ledger;
use crate::host::telemetry::Metrics;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlassRequest {
    pub reason: String,
    pub time: Duration,
}

/// The glass is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlassAnswer {
    pub id: String,
    /// Whose sessions it is for: the login name.
    pub login: String,
    pub expires: String,
}

/// Why it stays whole.
#[derive(Debug, thiserror::Error)]
pub enum GlassError {
    #[error("{user} is not in the group \"break_glass\"")]
    NotMember { user: String },
    #[error("only a person may break the glass, and this process is {class}: {evidence}")]
    NotAPerson { class: Class, evidence: String },
    #[error("a reason has to be given: one line of at most {REASON_BYTES_MAX} bytes")]
    NoReason,
    #[error("the time has to be at least a second and at most {} h", TIME_MAX.as_secs() / 3600)]
    Time,
    #[error("nothing is broken for {login}")]
    Whole { login: String },
    #[error("the audit record could not be written, so nothing is lifted: {0}")]
    Audit(String),
    #[error("this agent has no glass")]
    NotServed,
}

/// Everything that breaking and mending takes.
#[derive(Clone, Debug)]
pub struct GlassKeeper {
    pub glass: Arc<Glass>,
    pub ledger: Ledger,
    pub metrics: Arc<Metrics>,
}

impl GlassKeeper {
    /// For the login of `asker`, which may do so.
    pub fn shatter(&self, asker: Principal, request: GlassRequest) -> Result<GlassAnswer, GlassError> {
        if asker.class != Class::Person {
            let evidence = asker.class_evidence.first().cloned().unwrap_or_default();
            return Err(GlassError::NotAPerson { class: asker.class, evidence });
        }
        let reason = request.reason.trim();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(GlassError::NoReason);
        }
        if request.time < Duration::from_secs(1) || request.time > TIME_MAX {
            return Err(GlassError::Time);
        }
        let now = clock::now();
        let expires = later(now, request.time);
        let (login, id) = (login_of(&asker), format!("glass-{}", clock::session_id()));
        let name = login_name(&asker);
        let start =
            BreakGlassStart { id: id.clone(), reason: reason.into(), expires, principal: Box::new(asker) };
        let record = AuditRecord { at: now, session: None, event: AuditEvent::BreakGlassStart(start) };
        self.ledger.append_sync(&[record]).map_err(|error| GlassError::Audit(error.to_string()))?;
        tracing::warn!(id, login = name, reason, expires = expires.rfc3339(), "the glass was broken");
        let broken = Broken { id: id.as_str().into(), reason: reason.into(), expires };
        if let Some(before) = self.glass.shatter(login, broken) {
            self.ended(&before, "replaced");
        }
        self.metrics.glass_broken(self.glass.count());
        Ok(GlassAnswer { id, login: name, expires: expires.rfc3339() })
    }

    /// Before its time.
    pub fn mend(&self, asker: &Principal) -> Result<GlassAnswer, GlassError> {
        let login = login_name(asker);
        let Some(broken) = self.glass.mend(login_of(asker)) else { return Err(GlassError::Whole { login }) };
        self.ended(&broken, "ended");
        self.metrics.glass_mended(self.glass.count());
        Ok(GlassAnswer { id: broken.id.to_string(), login, expires: clock::now().rfc3339() })
    }

    /// Called every moment.
    pub fn tick(&self, now: Timestamp) {
        for (_, broken) in self.glass.expire(now) {
            self.ended(&broken, "expired");
            self.metrics.glass_mended(self.glass.count());
        }
    }

    fn ended(&self, broken: &Broken, reason: &str) {
        tracing::warn!(id = %broken.id, reason, "the glass is whole again");
        let event = AuditEvent::BreakGlassEnd { id: broken.id.to_string(), reason: reason.into() };
        let record = AuditRecord { at: clock::now(), session: None, event };
        if let Err(error) = self.ledger.append(&[record]) {
            tracing::error!(%error, "cannot record that a broken glass ended");
        }
    }
}

/// Who is at the other end of a control connection, as [`Identifier`] knows processes.
pub fn asker(identifier: &Identifier, pid: i32, uid: u32, gid: u32) -> Principal {
    Arc::unwrap_or_clone(identifier.identify_peer(u32::try_from(pid).unwrap_or(0), uid, gid))
}

fn login_name(asker: &Principal) -> String {
    asker.login_user.as_ref().unwrap_or(&asker.user).clone()
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Timestamp { unix_ns: now.unix_ns.saturating_add(ns), monotonic_ns: now.monotonic_ns.saturating_add(ns) }
}

const REASON_BYTES_MAX: usize = 500;
const TIME_MAX: Duration = Duration::from_secs(4 * 3600);
