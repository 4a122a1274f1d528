//! What the kernel programs saw, on record and in the log: one by one while they are few, by number when they are many.

use super::namespaces::Hints;
use super::record;
use crate::engine::audit::{AuditEvent, KernelEventRecord};
use crate::engine::model::{Endpoint, Timestamp};
use crate::host::clock;
use crate::host::kernel::{EventCause, KernelEvent, KernelEvents};
use crate::host::ledger::Ledger;
use crate::host::telemetry::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// Writes events down within bounds.
pub(super) struct EventRecorder {
    ledger: Ledger,
    metrics: Arc<Metrics>,
    allowance: Allowance,
}

/// How many may be told one by one: a burst, then a steady rate. The rest is counted.
#[derive(Debug)]
struct Allowance {
    thousandths: u64,
    at_ns: u64,
    omitted: u64,
    omitted_since: Option<Timestamp>,
}

impl EventRecorder {
    pub fn new(ledger: Ledger, metrics: Arc<Metrics>) -> Self {
        Self { ledger, metrics, allowance: Allowance::new(clock::monotonic_ns()) }
    }

    /// Those that nobody read before this agent came.
    pub fn previous(&mut self, events: &[KernelEvent]) {
        for event in events {
            self.tell(event);
        }
        self.tell_omitted();
    }

    /// Until the stream ends.
    pub async fn run(mut self, mut events: KernelEvents, hints: Option<Hints>) {
        let mut every = tokio::time::interval(OMITTED_EVERY);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Ok(event) => {
                        if let Some(hints) = &hints {
                            hints.hear(&event);
                        }
                        self.tell(&event);
                    }
                    Err(error) => {
                        tracing::error!(%error, "kernel events can no longer be read");
                        return self.tell_omitted();
                    }
                },
                _ = every.tick() => self.tell_omitted(),
            }
        }
    }

    fn tell(&mut self, event: &KernelEvent) {
        // No connection, and nothing was refused: only the keeper of namespaces wants to know.
        if event.cause == EventCause::NamespaceSeen {
            return;
        }
        if !self.allowance.take(clock::now()) {
            self.metrics.kernel_event_omitted();
            return;
        }
        let reason = sentence(event);
        tracing::warn!(
            cause = event.cause.name(),
            passed = event.passed,
            destination = %event.original,
            pid = event.tgid,
            uid = event.uid,
            command = event.command,
            "{reason}"
        );
        self.write(AuditEvent::KernelEvent(Box::new(KernelEventRecord {
            cause: event.cause.name().into(),
            passed: event.passed,
            reason,
            destination: Endpoint::tcp(event.original.ip(), event.original.port()),
            pid: event.tgid,
            uid: event.uid,
            command: event.command.clone(),
            cgroup_id: event.cgroup_id,
            netns_cookie: event.netns_cookie,
        })));
    }

    fn tell_omitted(&mut self) {
        if let Some((count, since)) = self.allowance.take_omitted() {
            tracing::warn!(count, since = since.rfc3339(), "more kernel events than are told one by one");
            self.write(AuditEvent::KernelEventsOmitted { count, since: since.rfc3339() });
        }
    }

    /// The kernel has decided already: a record that cannot be written changes nothing but the log.
    fn write(&self, event: AuditEvent) {
        if let Err(error) = self.ledger.append_lazy(&record(event)) {
            tracing::error!(%error, "a kernel event could not be recorded");
        }
    }
}

impl Allowance {
    fn new(now_ns: u64) -> Self {
        Self { thousandths: BURST * 1000, at_ns: now_ns, omitted: 0, omitted_since: None }
    }

    fn take(&mut self, now: Timestamp) -> bool {
        let passed_ns = now.monotonic_ns.saturating_sub(self.at_ns);
        // One each second is a thousand thousandths each thousand million nanoseconds.
        let earned = (passed_ns / 1_000_000).saturating_mul(PER_SECOND);
        if earned > 0 {
            self.thousandths = self.thousandths.saturating_add(earned).min(BURST * 1000);
            self.at_ns = now.monotonic_ns;
        }
        match self.thousandths.checked_sub(1000) {
            Some(left) => {
                self.thousandths = left;
                true
            }
            None => {
                self.omitted += 1;
                self.omitted_since.get_or_insert(now);
                false
            }
        }
    }

    fn take_omitted(&mut self) -> Option<(u64, Timestamp)> {
        let since = self.omitted_since.take()?;
        Some((std::mem::take(&mut self.omitted), since))
    }
}

fn sentence(event: &KernelEvent) -> String {
    let what = match (event.cause, event.passed) {
        (EventCause::BindRefused, _) => "kept governor's port",
        (EventCause::RawRefused, _) => "refused a raw socket",
        (EventCause::NamespaceSeen, _) => "let a socket be made",
        (_, true) => "passed a connection ungoverned",
        (EventCause::PendingFailed, false) => "lost the identity of a connection",
        (_, false) => "refused a connection",
    };
    let why = match event.cause {
        EventCause::HeartbeatStale | EventCause::InboundHeartbeatStale => "the agent gave no heartbeat",
        EventCause::NamespaceUnknown => {
            "the agent has no listener in this network namespace and address family"
        }
        EventCause::ListenerGone | EventCause::InboundListenerGone => "the agent's listener is gone",
        EventCause::StorageFailed => "no kernel memory for the flow",
        EventCause::BindRefused => "it is for governor alone",
        EventCause::PendingFailed => "no room to note it",
        EventCause::RawRefused => "it could carry TCP past the connect hooks",
        EventCause::NamespaceSeen => "the agent has no listener in its network namespace yet",
        EventCause::DeviceBound => "its socket is bound to a device and cannot be unbound",
    };
    if matches!(event.cause, EventCause::InboundHeartbeatStale | EventCause::InboundListenerGone) {
        return format!("{what} that arrived at {}: {why}", event.original);
    }
    format!("{what} to {} of {} (pid {}): {why}", event.original, event.command, event.tgid)
}

const BURST: u64 = 50;
const PER_SECOND: u64 = 2;
const OMITTED_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp { unix_ns: ms * 1_000_000, monotonic_ns: ms * 1_000_000 }
    }

    #[test]
    fn a_burst_is_told_one_by_one_and_a_flood_by_number() {
        let mut allowance = Allowance::new(0);
        let told = (0..10_000).filter(|_| allowance.take(at(1))).count();
        assert_eq!(told as u64, BURST);
        assert_eq!(allowance.take_omitted(), Some((10_000 - BURST, at(1))));
        assert_eq!(allowance.take_omitted(), None);
    }

    #[test]
    fn a_steady_flood_is_told_at_the_steady_rate() {
        let mut allowance = Allowance::new(0);
        let told = (0..60_000u64).filter(|ms| allowance.take(at(*ms))).count() as u64;
        let expected = BURST + 60 * PER_SECOND;
        assert!(told.abs_diff(expected) <= 1, "{told} of {expected}");
    }

    #[test]
    fn rest_fills_the_burst_again_and_no_more() {
        let mut allowance = Allowance::new(0);
        (0..BURST).for_each(|_| assert!(allowance.take(at(0))));
        assert!(!allowance.take(at(0)));
        let told = (0..1_000).filter(|_| allowance.take(at(3_600_000))).count();
        assert_eq!(told as u64, BURST);
    }
}
