//! Every row of the table is exposed, with its type and its numbers.

use super::super::table::{Kind, TABLE};
use super::*;
use std::collections::{HashMap, HashSet};

/// A strict reader of the text format: name, labels, value of every sample, and the type of every
/// family.
fn parse(text: &str) -> (HashMap<String, f64>, HashMap<String, String>) {
    let mut samples = HashMap::new();
    let mut types = HashMap::new();
    let mut helped = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split_once(' ').unwrap().0.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line} twice");
        }
    }
    (samples, types)
}

#[test]
fn every_row_of_the_table_is_exposed_with_its_type() {
    let metrics = Arc::new(Metrics::new().unwrap());
    metrics.statement(Class::Agent, StatementKind::Drop, Verdict::Deny);
    metrics.statement_ended(Class::Agent, Outcome::Complete, 2_000_000, 7_000);
    let (_, types) = parse(&metrics.exposition(Some(KernelCounters::default())).unwrap());
    for row in TABLE {
        let kind = match row.kind {
            Kind::Counter | Kind::CounterFloat => "counter",
            Kind::Gauge | Kind::GaugeFloat => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(types.get(row.name).map(String::as_str), Some(kind), "{}", row.name);
    }
    assert_eq!(types.len(), TABLE.len());
}

#[test]
fn counts_land_in_their_series() {
    let metrics = Arc::new(Metrics::new().unwrap());
    metrics.statement(Class::Person, StatementKind::Select, Verdict::Allow);
    metrics.statement(Class::Person, StatementKind::Select, Verdict::Allow);
    metrics.statement(Class::Agent, StatementKind::CopyIn, Verdict::Hold);
    metrics.statement_ended(Class::Person, Outcome::Complete, 2_000_000, 7_000);
    metrics.masked(Category::PaymentCard, 12);
    metrics.relayed(Direction::ToClient, 4096);
    metrics.connection_refused(RefusedReason::NoIdentity);
    metrics.tls(TlsOutcome::Declined);
    metrics.protocol_error(Side::Database);
    metrics.cancel_request(CancelResult::Unknown);
    metrics.audit_written(1, 300, 41);
    metrics.policy_reload(false);
    let (samples, _) = parse(&metrics.exposition(None).unwrap());
    let expected = [
        (r#"governor_statements_total{class="person",kind="select",verdict="allow"}"#, 2.0),
        (r#"governor_statements_total{class="agent",kind="copy_in",verdict="hold"}"#, 1.0),
        (r#"governor_statement_duration_seconds_bucket{class="person",le="0.001"}"#, 0.0),
        (r#"governor_statement_duration_seconds_bucket{class="person",le="0.0025"}"#, 1.0),
        (r#"governor_latency_added_seconds_bucket{le="0.000005"}"#, 0.0),
        (r#"governor_latency_added_seconds_bucket{le="0.00001"}"#, 1.0),
        (r#"governor_masked_values_total{category="payment_card"}"#, 12.0),
        (r#"governor_relayed_bytes_total{direction="to_client"}"#, 4096.0),
        (r#"governor_connections_refused_total{reason="no_identity"}"#, 1.0),
        (r#"governor_connections_refused_total{reason="limit"}"#, 0.0),
        (r#"governor_tls_total{outcome="declined"}"#, 1.0),
        (r#"governor_protocol_errors_total{side="database"}"#, 1.0),
        (r#"governor_cancel_requests_total{result="unknown"}"#, 1.0),
        ("governor_audit_sequence", 41.0),
        ("governor_audit_bytes_total", 300.0),
        (r#"governor_policy_reloads_total{result="refused"}"#, 1.0),
    ];
    for (series, value) in expected {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(!samples.contains_key(r#"governor_statements_total{class="service",kind="do",verdict="deny"}"#));
    assert_eq!(
        metrics.statements_by_verdict(),
        [(Verdict::Allow, 2), (Verdict::Deny, 0), (Verdict::Hold, 1)]
    );
}

#[test]
fn active_gauges_return_to_zero_when_guards_drop() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let connection = metrics.connection_accepted();
    let sessions = [metrics.session_started(Class::Service), metrics.session_started(Class::Service)];
    assert_eq!(metrics.sessions_active()[0], (Class::Service, 2));
    drop((connection, sessions));
    let (samples, _) = parse(&metrics.exposition(None).unwrap());
    assert_eq!(samples["governor_connections_active"], 0.0);
    assert_eq!(samples["governor_connections_accepted_total"], 1.0);
    assert_eq!(samples[r#"governor_sessions_active{class="service"}"#], 0.0);
    assert_eq!(samples[r#"governor_sessions_total{class="service"}"#], 2.0);
}

/// A counter must not fall when the kernel's maps are made anew.
#[test]
fn kernel_counters_advance_and_never_fall() {
    let metrics = Metrics::new().unwrap();
    let read = |redirected| {
        let kernel = KernelCounters { redirected, ..KernelCounters::default() };
        parse(&metrics.exposition(Some(kernel)).unwrap()).0["governor_kernel_redirected_total"]
    };
    assert_eq!((read(5), read(9), read(3)), (5.0, 9.0, 9.0));
}

#[test]
fn holds_are_pending_until_they_end() {
    let metrics = Metrics::new().unwrap();
    metrics.hold_started();
    metrics.hold_started();
    metrics.hold_ended(&Answer::Expired, 61_000_000_000);
    let (samples, _) = parse(&metrics.exposition(None).unwrap());
    assert_eq!(samples["governor_holds_pending"], 1.0);
    assert_eq!(samples[r#"governor_holds_ended_total{answer="expired"}"#], 1.0);
    assert_eq!(samples[r#"governor_hold_wait_seconds_bucket{le="60"}"#], 0.0);
    assert_eq!(samples[r#"governor_hold_wait_seconds_bucket{le="120"}"#], 1.0);
}
