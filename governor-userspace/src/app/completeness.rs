//! Compares the kernel's count with governor's several times a second, and puts the result on record.

use super::agent::KernelSlot;
use super::record;
use crate::engine::audit::{AuditEvent, AuditRecord, Completeness, Found, SessionSockets};
use crate::engine::model::Timestamp;
use crate::host::clock;
use crate::host::completeness::Books;
use crate::host::kernel::{ClosedSockets, Counters, ListenerTotals, Previous};
use crate::host::ledger::Ledger;
use crate::host::telemetry::Metrics;
use parking_lot::Mutex;
use std::sync::Arc;

/// Keeps the proof of completeness. Never called on the data path.
pub(super) struct Bookkeeper {
    books: Arc<Books>,
    kernel: KernelSlot,
    ledger: Ledger,
    metrics: Arc<Metrics>,
    every_ns: u64,
    state: Mutex<State>,
}

struct State {
    closed: ClosedSockets,
    /// The kernel's, as last read: they outlive the programs.
    counters: Option<Counters>,
    totals: Vec<ListenerTotals>,
    /// Of the agent before.
    before: Option<SessionSockets>,
    recorded: Completeness,
    recorded_at: Timestamp,
}

impl Bookkeeper {
    /// A record follows after `every_ns` in which something changed.
    pub fn new(
        books: Arc<Books>,
        closed: ClosedSockets,
        kernel: KernelSlot,
        ledger: Ledger,
        metrics: Arc<Metrics>,
        every_ns: u64,
        now: Timestamp,
    ) -> Self {
        let state = State {
            closed,
            counters: None,
            totals: Vec::new(),
            before: None,
            recorded: Completeness::default(),
            recorded_at: now,
        };
        Self { books, kernel, ledger, metrics, every_ns, state: Mutex::new(state) }
    }

    /// The agent before ended without its last word: what it left is told, once.
    pub fn look_back(&self, previous: &Previous) {
        let Some(before) = Books::before(&previous.sockets) else { return };
        tracing::warn!(
            connections = before.client.connections,
            bytes_in = before.client.bytes_in,
            bytes_out = before.client.bytes_out,
            "connections ended with the agent before that are in no session's last record"
        );
        self.state.lock().before = Some(before);
    }

    /// The comparison as it stands.
    pub fn sums(&self) -> Completeness {
        let mut state = self.state.lock();
        self.read_totals(&mut state);
        self.sums_of(&state)
    }

    /// By listener: read when they are asked for, as there may be many.
    fn read_totals(&self, state: &mut State) {
        if let Some(totals) = self.kernel.lock().as_ref().and_then(|kernel| kernel.totals().ok()) {
            state.totals = totals;
        }
    }

    fn sums_of(&self, state: &State) -> Completeness {
        Completeness {
            run: clock::run_id().into(),
            before: state.before,
            ..self.books.sums(state.counters.as_ref(), &state.totals)
        }
    }

    pub fn tick(&self, now: Timestamp) {
        let mut state = self.state.lock();
        let differs = self.compare(&mut state, now);
        if differs || now.since_ns(state.recorded_at) >= self.every_ns {
            self.put_on_record(&mut state, now);
        }
    }

    /// The last word of a run.
    pub fn finish(&self, now: Timestamp) {
        let mut state = self.state.lock();
        self.compare(&mut state, now);
        self.put_on_record(&mut state, now);
    }

    /// Whether something was found that does not add up.
    fn compare(&self, state: &mut State, now: Timestamp) -> bool {
        if let Some(counters) = self.kernel.lock().as_ref().and_then(|kernel| kernel.counters().ok()) {
            state.counters = Some(counters);
        }
        let State { closed, counters, .. } = state;
        let found = self.books.compare(now, closed, counters.as_ref());
        let differs = !found.is_empty();
        found.into_iter().for_each(|found| self.tell(now, found));
        for (kind, count) in self.books.kinds() {
            self.metrics.completeness_mismatches(kind, count);
        }
        self.metrics.completeness(&self.books.sums(None, &[]));
        differs
    }

    /// One thing that does not add up: in the log and in the audit.
    fn tell(&self, now: Timestamp, (session, mut mismatch): Found) {
        mismatch.run = clock::run_id().into();
        tracing::error!(
            kind = mismatch.kind.as_str(),
            side = ?mismatch.side,
            counted = mismatch.counted,
            audited = mismatch.audited,
            session = session.as_ref().map(|id| &*id.0),
            pid = mismatch.pid,
            "the kernel counted what governor's records do not account for: `governor audit completeness`"
        );
        let event = AuditEvent::CompletenessMismatch(mismatch);
        if let Err(error) = self.ledger.append(&[AuditRecord { at: now, session, event }]) {
            self.metrics.audit_failed();
            tracing::error!(%error, "cannot record a mismatch");
        }
    }

    fn put_on_record(&self, state: &mut State, now: Timestamp) {
        self.read_totals(state);
        let sums = self.sums_of(state);
        if sums == state.recorded {
            return;
        }
        match self.ledger.append(&[record(AuditEvent::Completeness(Box::new(sums.clone())))]) {
            Ok(()) => {
                state.recorded = sums;
                state.recorded_at = now;
            }
            Err(error) => {
                self.metrics.audit_failed();
                tracing::error!(%error, "cannot record how complete the audit is");
            }
        }
    }
}
