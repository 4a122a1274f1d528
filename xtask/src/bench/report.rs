//! Prints what was measured, and which aims were reached.

use super::samples::{Group, Samples, geometric_mean};
use super::way::Way;

pub fn rates(ways: &[Way], samples: &Samples) {
    println!("\nthroughput: direct, and the others as ratios of it; then governor beside each peer");
    print!("  {:28} {:>14}", "", "direct");
    ways.iter().skip(1).for_each(|way| print!(" {:>10}", way.name));
    println!(" {:>11} {:>13}", "of haproxy", "of pgbouncer");
    for row in &samples.rows {
        let Some(direct) = samples.median_rate(&row.name, "direct") else { continue };
        print!("  {:28} {:>14}", row.name, format!("{direct:.0} {}", row.unit));
        for way in ways.iter().skip(1) {
            print!(" {:>10}", two_digits(samples.rate_ratio(&row.name, way.name, "direct")));
        }
        let of = |peer| two_digits(samples.rate_ratio(&row.name, "governor", peer));
        println!(" {:>11} {:>13}", of("haproxy"), of("pgbouncer"));
    }
}

pub fn costs(ways: &[Way], samples: &Samples) {
    println!("\nCPU of the proxy, µs per transaction (user and system); then governor beside each peer");
    print!("  {:28}", "");
    ways.iter().skip(1).for_each(|way| print!(" {:>10}", way.name));
    println!(" {:>11} {:>13}", "of haproxy", "of pgbouncer");
    for row in samples.rows.iter().filter(|row| row.group != Group::Bulk) {
        print!("  {:28}", row.name);
        for way in ways.iter().skip(1) {
            let cost = samples.median_cost(&row.name, way.name);
            print!(" {:>10}", cost.map_or("-".into(), |cost| format!("{cost:.1}")));
        }
        let of = |peer| two_digits(samples.cost_ratio(&row.name, "governor", peer));
        println!(" {:>11} {:>13}", of("haproxy"), of("pgbouncer"));
    }
}

/// Every aim for which something was measured.
pub fn aims(samples: &Samples, idle_kib: Option<f64>) {
    println!("\naims (governor with parse, policy and audit on)");
    let rate = |group, peer| {
        let rows = samples.rows.iter().filter(move |row| row.group == group);
        rows.filter_map(|row| Some((samples.rate_ratio(&row.name, "governor", peer)?, row.name.as_str())))
            .collect::<Vec<_>>()
    };
    let cost: Vec<(f64, &str)> = samples
        .rows
        .iter()
        .filter(|row| row.group == Group::Oltp)
        .filter_map(|row| Some((samples.cost_ratio(&row.name, "governor", "pgbouncer")?, row.name.as_str())))
        .collect();
    at_least("OLTP throughput beside pgbouncer", OLTP_OF_PGBOUNCER, &rate(Group::Oltp, "pgbouncer"));
    at_least("OLTP throughput beside HAProxy", OLTP_OF_HAPROXY, &rate(Group::Oltp, "haproxy"));
    at_most("CPU per transaction beside pgbouncer", COST_OF_PGBOUNCER, &cost);
    at_least("bulk beside HAProxy", BULK_OF_HAPROXY, &rate(Group::Bulk, "haproxy"));
    at_least("connections a second beside HAProxy", CONNECT_OF_HAPROXY, &rate(Group::Connect, "haproxy"));
    if let Some(kib) = idle_kib {
        let word = reached(kib <= IDLE_KIB_MAX);
        println!(
            "  {:40} {word}: {kib:.1} KiB, aim at most {IDLE_KIB_MAX:.0} KiB",
            "memory of an idle connection"
        );
    }
}

fn at_least(what: &str, aim: f64, found: &[(f64, &str)]) {
    let least = found.iter().min_by(|a, b| a.0.total_cmp(&b.0));
    line(what, "at least", aim, found, least, |value| value >= aim);
}

fn at_most(what: &str, aim: f64, found: &[(f64, &str)]) {
    let most = found.iter().max_by(|a, b| a.0.total_cmp(&b.0));
    line(what, "at most", aim, found, most, |value| value <= aim);
}

fn line(
    what: &str,
    bound: &str,
    aim: f64,
    found: &[(f64, &str)],
    worst: Option<&(f64, &str)>,
    holds: impl Fn(f64) -> bool,
) {
    let values: Vec<f64> = found.iter().map(|(value, _)| *value).collect();
    let (Some(mean), Some((worst, row))) = (geometric_mean(&values), worst) else { return };
    println!(
        "  {what:40} {}: {mean:.2}, aim {bound} {aim:.2} (geometric mean of {}; worst {worst:.2} in {})",
        reached(holds(mean)),
        found.len(),
        row.trim(),
    );
}

fn reached(is: bool) -> &'static str {
    if is { "reached" } else { "missed" }
}

fn two_digits(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}

const OLTP_OF_PGBOUNCER: f64 = 1.0;
const OLTP_OF_HAPROXY: f64 = 0.95;
const COST_OF_PGBOUNCER: f64 = 1.0;
const BULK_OF_HAPROXY: f64 = 0.9;
const CONNECT_OF_HAPROXY: f64 = 0.9;
const IDLE_KIB_MAX: f64 = 16.0;
