//! Counts what the records say: one source for evidence and metrics.

use crate::engine::audit::{AuditEvent, AuditRecord};
use crate::engine::model::Class;
use crate::host::telemetry::Metrics;
use std::collections::HashMap;

/// Counts one session's records. Holds its open holds, to measure how long they waited.
#[derive(Debug)]
pub(super) struct Observer {
    class: Class,
    holds_since_ns: HashMap<String, u64>,
}

impl Observer {
    pub fn new(class: Class) -> Self {
        Self { class, holds_since_ns: HashMap::new() }
    }

    pub fn observe(&mut self, metrics: &Metrics, record: &AuditRecord) {
        match &record.event {
            AuditEvent::Statement(statement) => metrics.statement(self.class, statement.kind, statement.verdict),
            AuditEvent::Completion(done) => {
                metrics.statement_ended(self.class, done.outcome, done.duration_ns, done.governor_ns);
                for (category, count) in &done.masked_by {
                    metrics.masked(*category, *count);
                }
            }
            AuditEvent::HoldStart(hold) => {
                self.holds_since_ns.insert(hold.approval.clone(), record.at.monotonic_ns);
                metrics.hold_started();
            }
            AuditEvent::HoldEnd(hold) => {
                if let Some(since_ns) = self.holds_since_ns.remove(&hold.approval) {
                    metrics.hold_ended(&hold.answer, record.at.monotonic_ns.saturating_sub(since_ns));
                }
            }
            AuditEvent::Tls { outcome } => metrics.tls(*outcome),
            AuditEvent::ProtocolError { side, .. } => metrics.protocol_error(*side),
            _ => {}
        }
    }
}
