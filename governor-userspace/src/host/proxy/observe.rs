//! Counts what the records say: one source for evidence and metrics.

use crate::engine::audit::{AuditEvent, AuditRecord};
use crate::engine::model::{Class, LimitKind, Verdict};
use crate::engine::session::RATE_POLICY;
use crate::host::telemetry::Metrics;

/// Counts one session's records. Holds are counted by their queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observer {
    class: Class,
}

impl Observer {
    pub fn new(class: Class) -> Self {
        Self { class }
    }

    pub fn observe(self, metrics: &Metrics, record: &AuditRecord) {
        match &record.event {
            AuditEvent::Statement(statement) => {
                metrics.statement(self.class, statement.kind, statement.verdict);
                if statement.verdict == Verdict::Allow {
                    metrics.tokens_compared(statement.tokens);
                }
                if statement.verdict == Verdict::Deny
                    && statement.reasons.iter().any(|reason| reason.policy == RATE_POLICY)
                {
                    metrics.limit(LimitKind::Rate);
                }
            }
            AuditEvent::Completion(done) => {
                metrics.statement_ended(self.class, done.outcome, done.duration_ns, done.governor_ns);
                if let Some(limit) = done.limit {
                    metrics.limit(limit);
                }
                for (category, count) in &done.masked_by {
                    metrics.masked(*category, *count);
                }
                for (cause, count) in &done.masked_in_doubt {
                    metrics.masked_in_doubt(*cause, *count);
                }
            }
            AuditEvent::Tls(tls) => metrics.tls(tls.outcome),
            AuditEvent::Hello(hello) => metrics.hello(hello.way, hello.outcome),
            AuditEvent::ProtocolError { side, .. } => metrics.protocol_error(*side),
            _ => {}
        }
    }
}
