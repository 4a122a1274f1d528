//! The one table of all metrics: name, kind, labels, help.
//!
//! [`Metrics`](super::Metrics) is built from it and `docs/metrics.md` is generated from it, so what
//! is exposed, what is documented and what is counted cannot differ.

use super::labels::{
    Attempt, Cache, CancelResult, Closed, DirectAction, Direction, HoldResult, KernelMap, NamespaceFailure,
    NamespaceFound, OpenOutcome, RefusedReason, RevealOutcome, words,
};
use super::labels::{ClockStep, KernelFault, SecondReading, Waited};
use crate::engine::audit::{
    DataChange, GapCause, HelloOutcome, HelloWay, MismatchKind, Outcome, Side, TlsOutcome,
};
use crate::engine::masking::Category;
use crate::engine::model::{Class, LimitKind, MaskDoubt, StatementKind, Verdict};
use crate::engine::session::Status;
use std::fmt::Write;

/// What a series does over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows while the agent runs.
    Counter,
    /// A counter in fractions (seconds).
    CounterFloat,
    Gauge,
    /// A gauge in fractions (seconds).
    GaugeFloat,
    /// Upper bounds of the buckets, in the metric's unit.
    Histogram(&'static [f64]),
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter | Self::CounterFloat => "counter",
            Self::Gauge | Self::GaugeFloat => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A label and its possible values.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub name: &'static str,
    /// Empty where the values are not a closed set (`version`).
    pub values: fn() -> Vec<&'static str>,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [Label],
    pub help: &'static str,
}

const fn row(name: &'static str, kind: Kind, labels: &'static [Label], help: &'static str) -> Definition {
    Definition { name, kind, labels, help }
}

const fn label<L: Closed>(name: &'static str) -> Label {
    Label { name, values: words::<L> }
}

const CLASS: Label = label::<Class>("class");

/// Every metric that governor exposes, in the order of the docs.
#[rustfmt::skip]
pub static TABLE: &[Definition] = &[
    row("governor_build_info", Kind::Gauge, &[Label { name: "version", values: Vec::new }],
        "Always 1; the label says which governor this is."),
    row("governor_ready", Kind::Gauge, &[],
        "1 while attached and accepting connections, 0 while starting and draining."),

    row("governor_connections_accepted_total", Kind::Counter, &[],
        "Captured connections accepted from the kernel's redirect."),
    row("governor_connections_active", Kind::Gauge, &[],
        "Captured connections open now."),
    row("governor_connections_refused_total", Kind::Counter, &[label::<RefusedReason>("reason")],
        "Captured connections that were closed without being served."),
    row("governor_sessions_total", Kind::Counter, &[CLASS],
        "Sessions started, by class of the process behind them."),
    row("governor_sessions_active", Kind::Gauge, &[CLASS],
        "Sessions open now, by class of the process behind them."),
    row("governor_cancel_requests_total", Kind::Counter, &[label::<CancelResult>("result")],
        "Cancel requests: passed on to the server, ended a hold, fitted no live session and did nothing, or did not reach the server."),
    row("governor_tls_total", Kind::Counter, &[label::<TlsOutcome>("outcome")],
        "Clients that asked for TLS, by what became of it."),
    row("governor_hellos_total", Kind::Counter, &[label::<HelloWay>("way"), label::<HelloOutcome>("outcome")],
        "Hellos between governors, by what became of them."),
    row("governor_protocol_errors_total", Kind::Counter, &[label::<Side>("side")],
        "Sessions closed because a peer broke the protocol, by whose fault it was."),
    row("governor_relayed_bytes_total", Kind::Counter, &[label::<Direction>("direction")],
        "Bytes of database traffic relayed."),

    row("governor_statements_total", Kind::Counter,
        &[CLASS, label::<StatementKind>("kind"), label::<Verdict>("verdict")],
        "Statements decided."),
    row("governor_decisions_total", Kind::Counter, &[label::<Cache>("cache")],
        "Policy decisions, by whether the cache knew the answer."),
    row("governor_facts_total", Kind::Counter, &[label::<Cache>("cache")],
        "Query texts that were understood, by whether the cache knew their facts."),
    row("governor_second_readings_total", Kind::Counter, &[label::<SecondReading>("result")],
        "Query texts of governed sessions that a second parser read, by what it said of the facts: where it sees more, the statement is Unknown as well."),
    row("governor_lineage_disagreements_total", Kind::Counter, &[],
        "Results whose columns the server describes otherwise than lineage expected: they were masked in doubt."),
    row("governor_tokens_compared_total", Kind::Counter, &[],
        "Bound parameters that were tokens, in statements that ran: the server got their values."),
    row("governor_inference_bits_total", Kind::CounterFloat, &[],
        "What answers told people about masked columns at most, in bits."),
    row("governor_inference_total", Kind::Counter, &[label::<Verdict>("verdict")],
        "Thresholds of the inference budget that were met; allow: a warning."),
    row("governor_statement_outcomes_total", Kind::Counter, &[label::<Outcome>("outcome")],
        "Forwarded statements, by how the database ended them."),
    row("governor_statement_duration_seconds", Kind::Histogram(DURATION_S), &[CLASS],
        "From forwarding a statement to the last byte of its answer."),
    row("governor_latency_added_seconds", Kind::Histogram(LATENCY_S), &[],
        "Governor's own time per statement: parse, decide, record, mask. Holds are not counted."),
    row("governor_masked_values_total", Kind::Counter, &[label::<Category>("category")],
        "Result values that were masked."),
    row("governor_masked_in_doubt_total", Kind::Counter, &[label::<MaskDoubt>("cause")],
        "Of these, values that were masked because nothing certain could be said of them, by cause."),

    row("governor_discovery_columns", Kind::Gauge, &[label::<Status>("status")],
        "Columns whose values were looked at, by where they stand."),
    row("governor_discovery_events_total", Kind::Counter, &[label::<DataChange>("change")],
        "Columns in which sensitive data was found, that began to hold what they did not hold before, that are masked as a whole since it is sure, and that were altered and stay sensitive."),

    row("governor_holds_pending", Kind::Gauge, &[],
        "Statements that wait for a person's answer now."),
    row("governor_holds_ended_total", Kind::Counter, &[label::<HoldResult>("answer")],
        "Holds that ended, by answer."),
    row("governor_hold_wait_seconds", Kind::Histogram(WAIT_S), &[],
        "How long held statements waited, whatever the answer."),

    row("governor_limits_total", Kind::Counter, &[label::<LimitKind>("limit")],
        "Statements that met a bound of a policy: denied for their rate, cut for their rows, cancelled for their time."),
    row("governor_break_glass_total", Kind::Counter, &[],
        "Times that a person broke the glass."),
    row("governor_break_glass_active", Kind::Gauge, &[],
        "Persons for whom the glass is broken now."),

    row("governor_audit_records_total", Kind::Counter, &[],
        "Audit records written."),
    row("governor_audit_bytes_total", Kind::Counter, &[],
        "Bytes of audit records written."),
    row("governor_audit_errors_total", Kind::Counter, &[],
        "Audit records that could not be written. Their statements were not forwarded."),
    row("governor_audit_sequence", Kind::Gauge, &[],
        "Sequence number of the last audit record."),

    row("governor_policy_reloads_total", Kind::Counter, &[label::<Attempt>("result")],
        "Policy sets that came into force, or were refused (the one before stays)."),

    row("governor_peers_reloads_total", Kind::Counter, &[label::<Attempt>("result")],
        "Times that the key of hellos and the peers were read again, or were refused (those before stay)."),

    row("governor_kernel_redirected_total", Kind::Counter, &[],
        "Connections that the connect hooks sent to governor. Those that arrive for servers of this host are not among them."),
    row("governor_kernel_refused_total", Kind::Counter, &[],
        "Connections that the kernel programs refused."),
    row("governor_kernel_identity_missing_total", Kind::Counter, &[],
        "Accepted connections for which the kernel had no identity. Each was refused."),
    row("governor_kernel_events_dropped_total", Kind::Counter, &[],
        "Kernel events lost because the ring buffer was full."),
    row("governor_open_connections", Kind::Gauge, &[],
        "Open connections to captured ports that are not governed: made before governor's hooks, or on sockets from elsewhere."),
    row("governor_open_connections_total", Kind::Counter, &[label::<OpenOutcome>("outcome")],
        "Such connections, by what became of them."),

    row("governor_kernel_foreign_programs", Kind::Gauge, &[],
        "Kernel programs of others on hooks that governor uses, for sockets that it governs. `governor doctor` names them."),
    row("governor_kernel_map_entries", Kind::Gauge, &[label::<KernelMap>("map")],
        "Entries of a map of the kernel programs."),
    row("governor_kernel_map_capacity", Kind::Gauge, &[label::<KernelMap>("map")],
        "Entries that it can hold."),

    row("governor_completeness_mismatches_total", Kind::Counter, &[label::<MismatchKind>("kind")],
        "Things that the kernel counted and governor's records do not account for, or the other way round. Each is on record."),
    row("governor_completeness_connections", Kind::Gauge, &[label::<Side>("side")],
        "Connections that the kernel counted and governor compared, since the start. `side`: client, database."),
    row("governor_completeness_difference_bytes", Kind::Gauge, &[label::<Side>("side")],
        "Bytes, both ways, that nothing accounts for, since the start. 0 unless something is wrong."),
    row("governor_completeness_pending", Kind::Gauge, &[label::<Side>("side")],
        "Sockets of whose end either the kernel or governor has not told yet."),
    row("governor_kernel_passed_total", Kind::Counter, &[],
        "Captured connections that the kernel programs let pass, ungoverned."),
    row("governor_kernel_events_omitted_total", Kind::Counter, &[],
        "Kernel events that came too fast to be told one by one; the audit has their number."),
    row("governor_gaps_total", Kind::Counter, &[label::<GapCause>("cause")],
        "Times without governance that this agent found: the one before its start, and those in which it hung."),
    row("governor_gap_seconds_total", Kind::CounterFloat, &[],
        "How long these were."),
    row("governor_kernel_whole", Kind::Gauge, &[],
        "1 while every kernel program is where it was attached, and pinned."),
    row("governor_kernel_pins_remade_total", Kind::Counter, &[],
        "Pins of the kernel programs that were gone and were made again: a kill before would have let connections pass."),
    row("governor_predecessor", Kind::Gauge, &[],
        "1 while the agent that this one took over from still has sessions."),
    row("governor_life_errors_total", Kind::Counter, &[],
        "Signs of life that could not be left in the state directory."),
    row("governor_namespaces_served", Kind::Gauge, &[],
        "Network namespaces beside governor's own in which it listens now."),
    row("governor_namespaces_unserved", Kind::Gauge, &[],
        "Network namespaces with captured processes in which it does not listen: what they connect is refused or passes."),
    row("governor_inbound_namespaces_served", Kind::Gauge, &[],
        "Network namespaces beside governor's own in which it captures the connections that arrive for servers."),
    row("governor_inbound_namespaces_unserved", Kind::Gauge, &[],
        "Network namespaces with servers that are to be captured, in which governor cannot: their connections are not governed."),
    row("governor_namespaces_opened_total", Kind::Counter, &[label::<NamespaceFound>("found")],
        "Network namespaces in which it began to listen, by what told of them. `refused`: a connection was lost first."),
    row("governor_namespace_failures_total", Kind::Counter, &[label::<NamespaceFailure>("reason")],
        "Attempts to listen in a network namespace that failed."),
    row("governor_kernel_faults_total", Kind::Counter, &[label::<KernelFault>("cause")],
        "What the kernel programs did not let go the governed way, by cause: the first seven are refused connections; OPERATING.md has the others."),
    row("governor_namespace_waits_total", Kind::Counter, &[label::<Waited>("outcome")],
        "Connections of new network namespaces that waited for a moment in the kernel, for governor to listen there. `in_vain`: refused, or passed by rule."),
    row("governor_clock_steps_total", Kind::Counter, &[label::<ClockStep>("direction")],
        "Times that the wall clock was set while governor ran, by more than a second."),

    row("governor_unix_sockets_taken", Kind::Gauge, &[],
        "Unix sockets of servers that governor is in front of now."),
    row("governor_unix_takeovers_total", Kind::Counter, &[],
        "Times that a server's unix socket was taken over: at the start, and whenever its server was started."),
    row("governor_unix_direct_connections_total", Kind::Counter, &[label::<DirectAction>("action")],
        "Connections to a server's unix socket that do not come through governor, by what was done about them."),
    row("governor_reveals_total", Kind::Counter, &[label::<RevealOutcome>("outcome")],
        "Wishes to reveal tokens, by what became of them. Each is on record."),

    row("process_cpu_seconds_total", Kind::CounterFloat, &[],
        "User and system CPU time of the agent."),
    row("process_resident_memory_bytes", Kind::Gauge, &[],
        "Resident memory of the agent."),
    row("process_virtual_memory_bytes", Kind::Gauge, &[],
        "Virtual memory of the agent."),
    row("process_threads", Kind::Gauge, &[],
        "Threads of the agent."),
    row("process_open_fds", Kind::Gauge, &[],
        "Open file descriptors of the agent."),
    row("process_max_fds", Kind::Gauge, &[],
        "How many file descriptors the agent may open."),
    row("process_start_time_seconds", Kind::GaugeFloat, &[],
        "When the agent started, seconds since the Unix epoch."),
];

/// The table as Markdown, as it stands in `docs/metrics.md`.
pub fn markdown_table() -> String {
    let mut out = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for row in TABLE {
        let labels: Vec<String> = row
            .labels
            .iter()
            .map(|label| {
                let values = (label.values)();
                if values.is_empty() {
                    format!("`{}`", label.name)
                } else {
                    format!("`{}`: {}", label.name, values.join(", "))
                }
            })
            .collect();
        // Writing to a String cannot fail.
        let _ =
            writeln!(out, "| `{}` | {} | {} | {} |", row.name, row.kind.word(), labels.join("; "), row.help);
    }
    out
}

/// 5 µs to 1 s: a cached decision costs a few microseconds, a sync to disk milliseconds.
const LATENCY_S: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 1.0,
];

/// 100 µs to 5 minutes: point look-ups to reports.
const DURATION_S: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    60.0, 300.0,
];

/// 1 s to 1 h: people answer in seconds to minutes.
const WAIT_S: &[f64] = &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut seen = HashSet::new();
        for row in TABLE {
            assert!(seen.insert(row.name), "{} twice", row.name);
            assert!(
                ["governor", "process"].contains(&row.name.split('_').next().unwrap_or_default()),
                "{}",
                row.name
            );
            let counter = matches!(row.kind, Kind::Counter | Kind::CounterFloat);
            assert_eq!(row.name.ends_with("_total"), counter, "{}", row.name);
            assert!(row.help.ends_with('.') && !row.help.contains('|'), "{}", row.name);
            if let Kind::Histogram(bounds) = row.kind {
                assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{}", row.name);
            }
        }
    }

    /// `UPDATE_DOCS=1 cargo test docs_metrics_page_is_current` writes the page anew.
    #[test]
    fn docs_metrics_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let page = std::fs::read_to_string(path).unwrap();
        let start = page.find("| metric |").expect("docs/metrics.md holds the table");
        let (before, rest) = page.split_at(start);
        let end = rest.find("\n\n").map_or(rest.len(), |at| at + 1);
        let (table, after) = rest.split_at(end);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{}{after}", markdown_table())).unwrap();
            return;
        }
        assert_eq!(table, markdown_table(), "run with UPDATE_DOCS=1 to regenerate docs/metrics.md");
    }
}
