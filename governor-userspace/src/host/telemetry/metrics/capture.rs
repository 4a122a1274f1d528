//! Counting where connections are captured: namespaces, unix sockets, connections from before the start, the kernel's maps
//! and hooks, how completely it all is on record, and the times without governance.

use super::{Gauges, Metrics, add, advance};
use crate::engine::audit::{Completeness, GapCause, MismatchKind, Side};
use crate::host::telemetry::labels::{
    Closed, DirectAction, KernelMap, NamespaceFailure, NamespaceFound, OpenOutcome,
};
use prometheus::IntGauge;
use std::time::Duration;

impl Metrics {
    /// Network namespaces beside governor's own: in how many it listens now, and in how many it should.
    pub fn namespaces(&self, served: usize, unserved: usize) {
        self.namespaces_served.set(i64::try_from(served).unwrap_or(i64::MAX));
        self.namespaces_unserved.set(i64::try_from(unserved).unwrap_or(i64::MAX));
    }

    /// The same of those in which servers are captured.
    pub fn inbound_namespaces(&self, served: usize, unserved: usize) {
        self.inbound_namespaces_served.set(i64::try_from(served).unwrap_or(i64::MAX));
        self.inbound_namespaces_unserved.set(i64::try_from(unserved).unwrap_or(i64::MAX));
    }

    /// Served and not served: those of clients, then those of servers.
    pub fn namespaces_now(&self) -> [(u64, u64); 2] {
        let now = |gauge: &IntGauge| u64::try_from(gauge.get()).unwrap_or(0);
        [
            (now(&self.namespaces_served), now(&self.namespaces_unserved)),
            (now(&self.inbound_namespaces_served), now(&self.inbound_namespaces_unserved)),
        ]
    }

    pub fn namespace_opened(&self, found: NamespaceFound) {
        add(self.namespaces_opened.at(found, (), ()), 1);
    }

    pub fn namespace_failed(&self, reason: NamespaceFailure) {
        add(self.namespace_failures.at(reason, (), ()), 1);
    }

    /// A server's unix socket was taken over.
    pub fn unix_taken(&self) {
        self.unix_takeovers.inc();
    }

    /// So many are by now.
    pub fn unix_sockets(&self, taken: usize) {
        self.unix_taken.set(i64::try_from(taken).unwrap_or(i64::MAX));
    }

    /// Somebody is connected to a server past governor's socket.
    pub fn unix_direct(&self, action: DirectAction) {
        add(self.unix_direct.at(action, (), ()), 1);
    }

    /// How many connections from before the start are left, now.
    pub fn open_connections(&self, count: u64) {
        self.open_connections.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub fn open_connections_left(&self) -> u64 {
        u64::try_from(self.open_connections.get()).unwrap_or(0)
    }

    pub fn open_connection(&self, outcome: OpenOutcome) {
        add(self.open_outcomes.at(outcome, (), ()), 1);
    }

    /// How full a map of the kernel programs is.
    pub fn kernel_map(&self, name: &str, entries: u64, capacity: u64) {
        let Some(map) = <KernelMap as Closed>::ALL.iter().find(|map| map.word() == name) else { return };
        for (gauges, value) in [(&self.map_entries, entries), (&self.map_capacity, capacity)] {
            if let Some(gauge) = gauges.at(*map, (), ()) {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }

    /// Programs of others on governor's hooks, for the sockets that it governs.
    pub fn foreign_programs(&self, count: usize) {
        self.foreign_programs.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Something that the kernel counted and governor's records do not account for, or the other way round.
    /// `count` is of all since the start.
    pub fn completeness_mismatches(&self, kind: MismatchKind, count: u64) {
        if let Some(counter) = self.completeness_mismatches.at(kind, (), ()) {
            advance(counter, count);
        }
    }

    /// How the comparison stands.
    pub fn completeness(&self, sums: &Completeness) {
        for (side, count) in [(Side::Client, &sums.clients), (Side::Database, &sums.databases)] {
            let set = |gauges: &Gauges<Side>, value: i64| {
                if let Some(gauge) = gauges.at(side, (), ()) {
                    gauge.set(value);
                }
            };
            let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            set(&self.completeness_connections, whole(count.counted.connections));
            let (bytes_in, bytes_out) = (count.difference.bytes_in, count.difference.bytes_out);
            set(
                &self.completeness_difference,
                bytes_in.saturating_abs().saturating_add(bytes_out.saturating_abs()),
            );
            set(&self.completeness_pending, whole(count.pending));
        }
    }

    /// A time without governance was found.
    pub fn gap(&self, cause: GapCause, length: Duration) {
        add(self.gaps.at(cause, (), ()), 1);
        self.gap_seconds.inc_by(length.as_secs_f64());
    }

    /// A kernel event was counted, not told.
    pub fn kernel_event_omitted(&self) {
        self.kernel_events_omitted.inc();
    }

    /// Whether hooks and pins are as they should be.
    pub fn kernel_whole(&self, whole: bool) {
        self.kernel_whole.set(whole.into());
    }

    /// So many pins were gone, and are there again.
    pub fn kernel_pins_remade(&self, count: usize) {
        self.kernel_pins_remade.inc_by(count as u64);
    }

    /// Whether the agent that was taken over from is still there.
    pub fn predecessor(&self, lives: bool) {
        self.predecessor.set(lives.into());
    }

    pub fn predecessor_lives(&self) -> bool {
        self.predecessor.get() > 0
    }

    /// A sign of life could not be left.
    pub fn life_failed(&self) {
        self.life_errors.inc();
    }
}
