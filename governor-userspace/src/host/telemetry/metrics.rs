//! All metrics, built from the [table](super::table), cheap to touch.
//!
//! Counting a statement is one atomic addition: children of closed label sets are found by position
//! (see `children`). What others count themselves (kernel maps, the process) is
//! read when somebody scrapes, never on the road of a statement.
//!
//! Invariant: every row of the table is built and registered, and nothing else is
//! ([`Metrics::new`] fails otherwise; a test calls it).

mod capture;

use super::build::{Builder, MetricsError};
use super::children::Children;
use super::labels::{
    Attempt, Cache, CancelResult, Closed, DirectAction, Direction, HoldResult, KernelMap, NamespaceFailure,
    NamespaceFound, OpenOutcome, RefusedReason, RevealOutcome,
};
use super::labels::{ClockStep, KernelFault, SecondReading, Waited};
use super::process::ProcessUsage;
use crate::engine::approval::Answer;
use crate::engine::audit::{
    DataChange, GapCause, HelloOutcome, HelloWay, MismatchKind, Outcome, Side, TlsOutcome,
};
use crate::engine::masking::Category;
use crate::engine::model::{Class, LimitKind, MaskDoubt, StatementKind, Verdict};
use crate::engine::session::{InferenceCounts, SecondReadingCounts, Status};
use parking_lot::Mutex;
use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

type Counters<A, B = (), C = ()> = Children<IntCounter, A, B, C>;
type Gauges<A> = Children<IntGauge, A>;
type Histograms<A> = Children<Histogram, A>;

/// What the kernel programs counted since they were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCounters {
    /// Connections sent to governor.
    pub redirected: u64,
    /// Connections refused in the kernel.
    pub refused: u64,
    /// Accepted connections without an identity; each was refused.
    pub identity_missing: u64,
    /// Events lost because the ring buffer was full.
    pub events_dropped: u64,
    /// Captured connections that went direct, ungoverned.
    #[serde(default)]
    pub passed: u64,
    /// In the order of `KernelFault`.
    #[serde(default)]
    pub faults: [u64; <KernelFault as Closed>::ALL.len()],
    /// Connections of new namespaces that waited: until they were governed, and in vain.
    #[serde(default)]
    pub waited: [u64; 2],
}

/// Every metric of the agent. Shared by reference; all methods are safe from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// One scrape at a time brings the read-on-scrape metrics up to date.
    scrape: Mutex<()>,
    ready: IntGauge,
    connections_accepted: IntCounter,
    connections_active: IntGauge,
    connections_refused: Counters<RefusedReason>,
    sessions: Counters<Class>,
    sessions_active: Gauges<Class>,
    cancels: Counters<CancelResult>,
    tls: Counters<TlsOutcome>,
    hellos: Counters<HelloWay, HelloOutcome>,
    protocol_errors: Counters<Side>,
    relayed_bytes: Counters<Direction>,
    statements: Counters<Class, StatementKind, Verdict>,
    decisions: Counters<Cache>,
    facts: Counters<Cache>,
    second_readings: Counters<SecondReading>,
    lineage_disagreements: IntCounter,
    tokens_compared: IntCounter,
    inference_bits: Counter,
    inference: Counters<Verdict>,
    outcomes: Counters<Outcome>,
    statement_duration: Histograms<Class>,
    latency_added: Histogram,
    masked: Counters<Category>,
    masked_in_doubt: Counters<MaskDoubt>,
    discovery_columns: Gauges<Status>,
    discovery_events: Counters<DataChange>,
    limits: Counters<LimitKind>,
    glass_broken: IntCounter,
    glass_active: IntGauge,
    holds_pending: IntGauge,
    holds_ended: Counters<HoldResult>,
    hold_wait: Histogram,
    audit_records: IntCounter,
    audit_bytes: IntCounter,
    audit_errors: IntCounter,
    audit_sequence: IntGauge,
    policy_reloads: Counters<Attempt>,
    peers_reloads: Counters<Attempt>,
    kernel_redirected: IntCounter,
    kernel_refused: IntCounter,
    kernel_identity_missing: IntCounter,
    kernel_events_dropped: IntCounter,
    foreign_programs: IntGauge,
    kernel_faults: Counters<KernelFault>,
    clock_steps: Counters<ClockStep>,
    waited: Counters<Waited>,
    map_entries: Gauges<KernelMap>,
    map_capacity: Gauges<KernelMap>,
    completeness_mismatches: Counters<MismatchKind>,
    completeness_connections: Gauges<Side>,
    completeness_difference: Gauges<Side>,
    completeness_pending: Gauges<Side>,
    open_connections: IntGauge,
    open_outcomes: Counters<OpenOutcome>,
    kernel_passed: IntCounter,
    kernel_events_omitted: IntCounter,
    gaps: Counters<GapCause>,
    gap_seconds: Counter,
    life_errors: IntCounter,
    kernel_whole: IntGauge,
    kernel_pins_remade: IntCounter,
    predecessor: IntGauge,
    unix_taken: IntGauge,
    unix_takeovers: IntCounter,
    unix_direct: Counters<DirectAction>,
    reveals: Counters<RevealOutcome>,
    namespaces_served: IntGauge,
    namespaces_unserved: IntGauge,
    inbound_namespaces_served: IntGauge,
    inbound_namespaces_unserved: IntGauge,
    namespaces_opened: Counters<NamespaceFound>,
    namespace_failures: Counters<NamespaceFailure>,
    process_cpu: Counter,
    process_resident: IntGauge,
    process_virtual: IntGauge,
    process_threads: IntGauge,
    process_open_fds: IntGauge,
    process_max_fds: IntGauge,
    process_start: Gauge,
}

impl Metrics {
    /// Builds and registers every row of the table.
    pub fn new() -> Result<Self, MetricsError> {
        let mut build = Builder::default();
        let build_info = build.gauges("governor_build_info")?;
        build_info.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        let metrics = Self {
            scrape: Mutex::new(()),
            ready: build.gauge("governor_ready")?,
            connections_accepted: build.counter("governor_connections_accepted_total")?,
            connections_active: build.gauge("governor_connections_active")?,
            connections_refused: Children::new(build.counters("governor_connections_refused_total")?).fill(),
            sessions: Children::new(build.counters("governor_sessions_total")?).fill(),
            sessions_active: Children::new(build.gauges("governor_sessions_active")?).fill(),
            cancels: Children::new(build.counters("governor_cancel_requests_total")?).fill(),
            tls: Children::new(build.counters("governor_tls_total")?).fill(),
            hellos: Children::new(build.counters("governor_hellos_total")?).fill(),
            protocol_errors: Children::new(build.counters("governor_protocol_errors_total")?).fill(),
            relayed_bytes: Children::new(build.counters("governor_relayed_bytes_total")?).fill(),
            statements: Children::new(build.counters("governor_statements_total")?),
            decisions: Children::new(build.counters("governor_decisions_total")?).fill(),
            facts: Children::new(build.counters("governor_facts_total")?).fill(),
            second_readings: Children::new(build.counters("governor_second_readings_total")?).fill(),
            lineage_disagreements: build.counter("governor_lineage_disagreements_total")?,
            tokens_compared: build.counter("governor_tokens_compared_total")?,
            inference_bits: build.counter_float("governor_inference_bits_total")?,
            inference: Children::new(build.counters("governor_inference_total")?).fill(),
            outcomes: Children::new(build.counters("governor_statement_outcomes_total")?).fill(),
            statement_duration: Children::new(build.histograms("governor_statement_duration_seconds")?),
            latency_added: build.histogram("governor_latency_added_seconds")?,
            masked: Children::new(build.counters("governor_masked_values_total")?).fill(),
            masked_in_doubt: Children::new(build.counters("governor_masked_in_doubt_total")?).fill(),
            discovery_columns: Children::new(build.gauges("governor_discovery_columns")?).fill(),
            discovery_events: Children::new(build.counters("governor_discovery_events_total")?).fill(),
            limits: Children::new(build.counters("governor_limits_total")?).fill(),
            glass_broken: build.counter("governor_break_glass_total")?,
            glass_active: build.gauge("governor_break_glass_active")?,
            holds_pending: build.gauge("governor_holds_pending")?,
            holds_ended: Children::new(build.counters("governor_holds_ended_total")?).fill(),
            hold_wait: build.histogram("governor_hold_wait_seconds")?,
            audit_records: build.counter("governor_audit_records_total")?,
            audit_bytes: build.counter("governor_audit_bytes_total")?,
            audit_errors: build.counter("governor_audit_errors_total")?,
            audit_sequence: build.gauge("governor_audit_sequence")?,
            policy_reloads: Children::new(build.counters("governor_policy_reloads_total")?).fill(),
            peers_reloads: Children::new(build.counters("governor_peers_reloads_total")?).fill(),
            kernel_redirected: build.counter("governor_kernel_redirected_total")?,
            kernel_refused: build.counter("governor_kernel_refused_total")?,
            kernel_identity_missing: build.counter("governor_kernel_identity_missing_total")?,
            kernel_events_dropped: build.counter("governor_kernel_events_dropped_total")?,
            foreign_programs: build.gauge("governor_kernel_foreign_programs")?,
            kernel_faults: Children::new(build.counters("governor_kernel_faults_total")?).fill(),
            clock_steps: Children::new(build.counters("governor_clock_steps_total")?).fill(),
            waited: Children::new(build.counters("governor_namespace_waits_total")?).fill(),
            map_entries: Children::new(build.gauges("governor_kernel_map_entries")?).fill(),
            map_capacity: Children::new(build.gauges("governor_kernel_map_capacity")?).fill(),
            completeness_mismatches: Children::new(build.counters("governor_completeness_mismatches_total")?)
                .fill(),
            completeness_connections: Children::new(build.gauges("governor_completeness_connections")?)
                .fill(),
            completeness_difference: Children::new(build.gauges("governor_completeness_difference_bytes")?)
                .fill(),
            completeness_pending: Children::new(build.gauges("governor_completeness_pending")?).fill(),
            open_connections: build.gauge("governor_open_connections")?,
            open_outcomes: Children::new(build.counters("governor_open_connections_total")?).fill(),
            kernel_passed: build.counter("governor_kernel_passed_total")?,
            kernel_events_omitted: build.counter("governor_kernel_events_omitted_total")?,
            gaps: Children::new(build.counters("governor_gaps_total")?).fill(),
            gap_seconds: build.counter_float("governor_gap_seconds_total")?,
            kernel_whole: build.gauge("governor_kernel_whole")?,
            kernel_pins_remade: build.counter("governor_kernel_pins_remade_total")?,
            predecessor: build.gauge("governor_predecessor")?,
            life_errors: build.counter("governor_life_errors_total")?,
            unix_taken: build.gauge("governor_unix_sockets_taken")?,
            unix_takeovers: build.counter("governor_unix_takeovers_total")?,
            unix_direct: Children::new(build.counters("governor_unix_direct_connections_total")?).fill(),
            reveals: Children::new(build.counters("governor_reveals_total")?).fill(),
            namespaces_served: build.gauge("governor_namespaces_served")?,
            namespaces_unserved: build.gauge("governor_namespaces_unserved")?,
            inbound_namespaces_served: build.gauge("governor_inbound_namespaces_served")?,
            inbound_namespaces_unserved: build.gauge("governor_inbound_namespaces_unserved")?,
            namespaces_opened: Children::new(build.counters("governor_namespaces_opened_total")?).fill(),
            namespace_failures: Children::new(build.counters("governor_namespace_failures_total")?).fill(),
            process_cpu: build.counter_float("process_cpu_seconds_total")?,
            process_resident: build.gauge("process_resident_memory_bytes")?,
            process_virtual: build.gauge("process_virtual_memory_bytes")?,
            process_threads: build.gauge("process_threads")?,
            process_open_fds: build.gauge("process_open_fds")?,
            process_max_fds: build.gauge("process_max_fds")?,
            process_start: build.gauge_float("process_start_time_seconds")?,
            registry: build.finish()?,
        };
        Ok(metrics)
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// A captured connection was accepted. It counts as active until the guard is dropped.
    #[must_use]
    pub fn connection_accepted(self: &Arc<Self>) -> ActiveConnection {
        self.connections_accepted.inc();
        self.connections_active.inc();
        ActiveConnection(Arc::clone(self))
    }

    pub fn connection_refused(&self, reason: RefusedReason) {
        add(self.connections_refused.at(reason, (), ()), 1);
    }

    /// A session of a known principal began. It counts as active until the guard is dropped.
    #[must_use]
    pub fn session_started(self: &Arc<Self>, class: Class) -> ActiveSession {
        add(self.sessions.at(class, (), ()), 1);
        if let Some(gauge) = self.sessions_active.at(class, (), ()) {
            gauge.inc();
        }
        ActiveSession(Arc::clone(self), class)
    }

    pub fn cancel_request(&self, result: CancelResult) {
        add(self.cancels.at(result, (), ()), 1);
    }

    /// A statement met a bound of a policy.
    pub fn limit(&self, limit: LimitKind) {
        add(self.limits.at(limit, (), ()), 1);
    }

    /// Somebody wanted to see what is behind tokens.
    pub fn reveal(&self, outcome: RevealOutcome) {
        add(self.reveals.at(outcome, (), ()), 1);
    }

    /// The glass was broken; it is now for `active` persons.
    pub fn glass_broken(&self, active: usize) {
        self.glass_broken.inc();
        self.glass_mended(active);
    }

    pub fn glass_mended(&self, active: usize) {
        self.glass_active.set(i64::try_from(active).unwrap_or(i64::MAX));
    }

    pub fn hello(&self, way: HelloWay, outcome: HelloOutcome) {
        add(self.hellos.at(way, outcome, ()), 1);
    }

    pub fn tls(&self, outcome: TlsOutcome) {
        add(self.tls.at(outcome, (), ()), 1);
    }

    pub fn protocol_error(&self, side: Side) {
        add(self.protocol_errors.at(side, (), ()), 1);
    }

    pub fn relayed(&self, direction: Direction, bytes: u64) {
        add(self.relayed_bytes.at(direction, (), ()), bytes);
    }

    pub fn statement(&self, class: Class, kind: StatementKind, verdict: Verdict) {
        add(self.statements.at(class, kind, verdict), 1);
    }

    /// Decisions answered from memory, and by policy, since the last call.
    pub fn decisions(&self, hits: u64, misses: u64) {
        add(self.decisions.at(Cache::Hit, (), ()), hits);
        add(self.decisions.at(Cache::Miss, (), ()), misses);
    }

    /// What the second parser said of texts since somebody said so last.
    pub fn second_readings(&self, counts: SecondReadingCounts) {
        add(self.second_readings.at(SecondReading::Agrees, (), ()), counts.agrees);
        add(self.second_readings.at(SecondReading::NoOpinion, (), ()), counts.no_opinion);
        add(self.second_readings.at(SecondReading::SeesMore, (), ()), counts.sees_more);
    }

    /// Results of a worker whose columns were not those that lineage expected, since it said so last.
    pub fn lineage_disagreements(&self, count: u64) {
        self.lineage_disagreements.inc_by(count);
    }

    /// Of a statement that runs.
    pub fn tokens_compared(&self, count: u32) {
        self.tokens_compared.inc_by(count.into());
    }

    /// What came of answers about masked columns since somebody said so last.
    pub fn inference(&self, counts: InferenceCounts) {
        self.inference_bits.inc_by(counts.told_millibits as f64 / 1_000.0);
        add(self.inference.at(Verdict::Allow, (), ()), counts.warned);
        add(self.inference.at(Verdict::Hold, (), ()), counts.held);
        add(self.inference.at(Verdict::Deny, (), ()), counts.denied);
    }

    /// Texts whose facts a worker found in its cache, and that it parsed, since it said so last.
    pub fn facts(&self, hits: u64, misses: u64) {
        add(self.facts.at(Cache::Hit, (), ()), hits);
        add(self.facts.at(Cache::Miss, (), ()), misses);
    }

    /// A forwarded statement ended. `duration_ns` runs from forwarding to the answer's last byte,
    /// `governor_ns` is what governor itself took.
    pub fn statement_ended(&self, class: Class, outcome: Outcome, duration_ns: u64, governor_ns: u64) {
        add(self.outcomes.at(outcome, (), ()), 1);
        if let Some(histogram) = self.statement_duration.at(class, (), ()) {
            histogram.observe(seconds(duration_ns));
        }
        self.latency_added(governor_ns);
    }

    /// For statements that were not forwarded, whose cost counts all the same.
    pub fn latency_added(&self, governor_ns: u64) {
        self.latency_added.observe(seconds(governor_ns));
    }

    pub fn masked(&self, category: Category, values: u64) {
        add(self.masked.at(category, (), ()), values);
    }

    pub fn masked_in_doubt(&self, cause: MaskDoubt, values: u64) {
        add(self.masked_in_doubt.at(cause, (), ()), values);
    }

    pub fn discovery_event(&self, change: DataChange) {
        add(self.discovery_events.at(change, (), ()), 1);
    }

    /// How many columns stand where, now.
    pub fn discovery_columns(&self, counts: &BTreeMap<Status, u64>) {
        for status in <Status as Closed>::ALL {
            if let Some(gauge) = self.discovery_columns.at(*status, (), ()) {
                gauge.set(i64::try_from(counts.get(status).copied().unwrap_or(0)).unwrap_or(i64::MAX));
            }
        }
    }

    pub fn hold_started(&self) {
        self.holds_pending.inc();
    }

    /// One call for each [`Metrics::hold_started`].
    pub fn hold_ended(&self, answer: &Answer, waited_ns: u64) {
        self.holds_pending.dec();
        add(self.holds_ended.at(answer.into(), (), ()), 1);
        self.hold_wait.observe(seconds(waited_ns));
    }

    /// Where the ledger stands: records and bytes since the start, number of the last one.
    pub fn audit_written(&self, records: u64, bytes: u64, sequence: u64) {
        advance(&self.audit_records, records);
        advance(&self.audit_bytes, bytes);
        self.audit_sequence.set(i64::try_from(sequence).unwrap_or(i64::MAX));
    }

    pub fn audit_failed(&self) {
        self.audit_errors.inc();
    }

    /// The wall clock was set.
    pub fn clock_step(&self, step: ClockStep) {
        add(self.clock_steps.at(step, (), ()), 1);
    }

    pub fn policy_reload(&self, accepted: bool) {
        let result = if accepted { Attempt::Ok } else { Attempt::Refused };
        add(self.policy_reloads.at(result, (), ()), 1);
    }

    pub fn peers_reload(&self, accepted: bool) {
        let result = if accepted { Attempt::Ok } else { Attempt::Refused };
        add(self.peers_reloads.at(result, (), ()), 1);
    }

    /// Sessions open now, by class, for `governor status`.
    pub fn sessions_active(&self) -> Vec<(Class, u64)> {
        Class::ALL
            .into_iter()
            .map(|class| {
                let open = self.sessions_active.at(class, (), ()).map_or(0, |gauge| gauge.get());
                (class, u64::try_from(open).unwrap_or(0))
            })
            .collect()
    }

    /// Statements decided so far, by verdict, for `governor status`.
    pub fn statements_by_verdict(&self) -> Vec<(Verdict, u64)> {
        [Verdict::Allow, Verdict::Deny, Verdict::Hold]
            .into_iter()
            .map(|verdict| {
                let kinds = StatementKind::ALL.into_iter();
                let total = kinds
                    .flat_map(|kind| Class::ALL.into_iter().map(move |class| (class, kind)))
                    .filter_map(|(class, kind)| self.statements.made(class, kind, verdict))
                    .map(|counter| counter.get())
                    .sum();
                (verdict, total)
            })
            .collect()
    }

    /// The text exposition, format version 0.0.4. `kernel` is `None` before the programs are attached.
    pub fn exposition(&self, kernel: Option<KernelCounters>) -> Result<String, MetricsError> {
        let _one_at_a_time = self.scrape.lock();
        if let Some(kernel) = kernel {
            advance(&self.kernel_redirected, kernel.redirected);
            advance(&self.kernel_refused, kernel.refused);
            advance(&self.kernel_identity_missing, kernel.identity_missing);
            advance(&self.kernel_events_dropped, kernel.events_dropped);
            advance(&self.kernel_passed, kernel.passed);
            advance_all(&self.kernel_faults, &kernel.faults);
            advance_all(&self.waited, &kernel.waited);
        }
        let usage = ProcessUsage::read();
        self.process_cpu.inc_by((usage.cpu_s - self.process_cpu.get()).max(0.0));
        self.process_resident.set(usage.resident_bytes);
        self.process_virtual.set(usage.virtual_bytes);
        self.process_threads.set(usage.threads);
        self.process_open_fds.set(usage.open_fds);
        self.process_max_fds.set(usage.max_fds);
        self.process_start.set(usage.start_s);
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

/// A connection that counts as active until this is dropped.
#[derive(Debug)]
pub struct ActiveConnection(Arc<Metrics>);

impl Drop for ActiveConnection {
    fn drop(&mut self) {
        self.0.connections_active.dec();
    }
}

/// A session that counts as active until this is dropped.
#[derive(Debug)]
pub struct ActiveSession(Arc<Metrics>, Class);

impl ActiveSession {
    /// More is known of who it is: it is one of another class.
    pub fn becomes(&mut self, class: Class) {
        let of = |class: Class| self.0.sessions_active.at(class, (), ());
        if let (Some(before), Some(now)) = (of(self.1), of(class)) {
            before.dec();
            now.inc();
        }
        self.1 = class;
    }
}

impl Drop for ActiveSession {
    fn drop(&mut self) {
        if let Some(gauge) = self.0.sessions_active.at(self.1, (), ()) {
            gauge.dec();
        }
    }
}

fn add(counter: Option<&IntCounter>, by: u64) {
    if let Some(counter) = counter {
        counter.inc_by(by);
    }
}

/// Brings a counter up to what somebody else counted; a smaller number (a fresh map) changes nothing.
fn advance(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

/// The same for all of a set, in its order.
fn advance_all<L: Closed>(counters: &Counters<L>, to: &[u64]) {
    for (label, count) in L::ALL.iter().zip(to) {
        if let Some(counter) = counters.at(*label, (), ()) {
            advance(counter, *count);
        }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
