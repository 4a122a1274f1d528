//! `cargo xtask bench`: what governor costs beside the peers that people put in the same place.
//!
//! One run, interleaved: every round measures every way, so that a slow minute of the machine hits all of
//! them. Figures are ratios of the same round's neighbours; absolute numbers of a shared machine mean little.
//! Ways: direct, HAProxy (TCP mode), pgbouncer (session mode), governor (parse, policy and audit on).

mod peers;

use crate::{compile, root, setup};
use anyhow::{Context, Result};
use governor_tests::postgres::{Auth, Postgres};
use governor_tests::{
    Cgroup, Class, Governor, Options as GovernorOptions, Running, cgroup, client, process, wait,
};
use peers::Peer;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// One short round: shows that everything runs, measures little
    #[arg(long)]
    quick: bool,
    /// Rounds; the median of all is printed
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each pgbench run
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Measure the binary named in GOVERNOR_BIN instead of building one
    #[arg(long)]
    no_build: bool,
    /// Leave governor out: compare the peers alone
    #[arg(long)]
    peers_only: bool,
}

/// One way from pgbench to the server.
struct Way {
    name: &'static str,
    port: u16,
    /// The process in between; `None` for direct.
    pid: Option<u32>,
    /// Where clients run, if they have to be captured.
    captured: bool,
}

/// Key: what was measured, and on which way.
type Samples = BTreeMap<(String, &'static str), Vec<f64>>;

pub fn run(options: &Options) -> Result<()> {
    if !options.no_build && !options.peers_only {
        setup::run(&setup::Options::for_bench())?;
        let binary = compile::governor(true)?;
        // SAFETY: no other thread runs yet, so nobody reads the environment at the same time.
        unsafe { std::env::set_var("GOVERNOR_BIN", binary) };
    }
    root::ensure("attaching kernel programs to the bench's cgroup")?;
    let (rounds, seconds) = if options.quick { (1, 1) } else { (options.rounds, options.seconds) };

    let postgres = Postgres::start_with(Auth::Trust, &["shared_buffers=256MB", "max_wal_size=4GB"])?;
    prepare(&postgres, options.quick)?;
    let haproxy = Peer::haproxy(postgres.port())?;
    let mut pgbouncer = Some(Peer::pgbouncer(postgres.port())?);
    let group = Cgroup::create("governor-bench")?;
    let governor = (!options.peers_only)
        .then(|| Governor::start(&group, postgres.port(), &GovernorOptions::default()))
        .transpose()?;
    let mut ways = vec![
        Way { name: "direct", port: postgres.port(), pid: None, captured: false },
        Way { name: "haproxy", port: haproxy.port, pid: Some(haproxy.pid()), captured: false },
    ];
    if let Some(pgbouncer) = &pgbouncer {
        let pid = Some(pgbouncer.pid());
        ways.push(Way { name: "pgbouncer", port: pgbouncer.port, pid, captured: false });
    }
    if let Some(governor) = &governor {
        let pid = governor.pid();
        ways.push(Way { name: "governor", port: postgres.port(), pid, captured: true });
    }

    let mut rates = Samples::new();
    let mut costs = Samples::new();
    for round in 1..=rounds {
        for protocol in ["simple", "extended", "prepared"] {
            for clients in [1_u32, 16, 64] {
                let what = format!("-S {protocol} {clients:>2} clients");
                for way in &ways {
                    let (rate, cost) = pgbench(way, &group, protocol, clients, seconds)?;
                    rates.entry((what.clone(), way.name)).or_default().push(rate);
                    if let Some(cost) = cost {
                        costs.entry((what.clone(), way.name)).or_default().push(cost);
                    }
                }
                eprintln!("round {round}/{rounds}: {what}");
            }
        }
        for way in &ways {
            let rate = copy_out(way, &group)?;
            rates.entry((COPY.into(), way.name)).or_default().push(rate);
        }
        eprintln!("round {round}/{rounds}: {COPY}");
    }
    print_rates(&ways, &rates);
    print_aim(&rates);
    print_costs(&ways, &costs);
    println!("\nresident memory of an idle connection, KiB ({IDLE} held open)");
    for way in &ways {
        if let Some(pid) = way.pid {
            println!("  {:10} {:>8.1}", way.name, idle_kib(way, pid, &group, &postgres)?);
        }
        if way.name == "pgbouncer" {
            // Its pool keeps every server connection, and the next way needs as many.
            drop(pgbouncer.take());
            wait::until("pgbouncer's server connections to end", Duration::from_secs(60), || {
                let asked = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
                // The one that asks.
                Ok((postgres.admin("shop", asked)? == "1").then_some(()))
            })?;
        }
    }
    Ok(())
}

fn prepare(postgres: &Postgres, quick: bool) -> Result<()> {
    let mut init = client::outside("pgbench", postgres.port());
    init.args(["-i", "-q", "-s", "4"]);
    process::run(init, Duration::from_secs(120))?.ok()?;
    let rows = if quick { 200_000 } else { 2_000_000 };
    postgres.admin(
        "shop",
        &format!(
            "CREATE UNLOGGED TABLE bulk AS SELECT n, md5(n::text) AS a, md5((n + 1)::text) AS b \
             FROM generate_series(1, {rows}) n; VACUUM ANALYZE bulk;"
        ),
    )?;
    Ok(())
}

/// A client program on this way.
fn program(way: &Way, group: &Cgroup, name: &str) -> Result<Command> {
    let mut command = client::outside(name, way.port);
    // No TLS anywhere: what is compared is the relay.
    command.env("PGSSLMODE", "disable");
    if way.captured {
        cgroup::enter(&mut command, &group.client(Class::Service))?;
    }
    Ok(command)
}

/// Transactions a second, and microseconds of the proxy's CPU for each.
fn pgbench(
    way: &Way,
    group: &Cgroup,
    protocol: &str,
    clients: u32,
    seconds: u32,
) -> Result<(f64, Option<f64>)> {
    let mut command = program(way, group, "pgbench")?;
    let (clients, threads) = (clients.to_string(), clients.min(2).to_string());
    command.args(["-n", "-S", "-M", protocol, "-c", &clients, "-j", &threads, "-T", &seconds.to_string()]);
    let before = way.pid.map(process::cpu_us).transpose()?;
    let done = process::run(command, Duration::from_secs(u64::from(seconds) + 60))?.ok()?;
    let after = way.pid.map(process::cpu_us).transpose()?;
    let said = done.out();
    let number = |label: &str| -> Result<f64> {
        let line = said
            .lines()
            .find(|line| line.starts_with(label))
            .with_context(|| format!("no `{label}` in {said}"))?;
        let digits: String =
            line[label.len()..].trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        Ok(digits.parse()?)
    };
    let transactions = number("number of transactions actually processed:")?.max(1.0);
    let cost = before.zip(after).map(|(before, after)| (after - before) as f64 / transactions);
    Ok((number("tps =")?, cost))
}

/// Megabytes a second of one bulk COPY.
fn copy_out(way: &Way, group: &Cgroup) -> Result<f64> {
    let mut command = program(way, group, "psql")?;
    command.args(["-X", "-q", "-c", "COPY bulk TO STDOUT"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut child = process::spawn(command, libc::SIGKILL)?;
    let mut output = child.stdout.take().context("psql has no output")?;
    let bytes = std::io::copy(&mut output, &mut std::io::sink())?;
    let status = child.wait()?;
    anyhow::ensure!(status.success() && bytes > 0, "psql ended with {status} after {bytes} bytes");
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// How much the proxy grows for each connection that is open and does nothing.
fn idle_kib(way: &Way, pid: u32, group: &Cgroup, postgres: &Postgres) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("idle.sql");
    std::fs::write(&script, "SELECT 1;\n\\sleep 600 s\n")?;
    let before = process::rss_kib(pid)?;
    let mut command = program(way, group, "pgbench")?;
    command
        .env("PGAPPNAME", "idle")
        .args(["-n", "-c", &IDLE.to_string(), "-j", "1", "-t", "1", "-f"])
        .arg(&script);
    let holder = Running::start(command, &[])?;
    wait::until("idle connections", Duration::from_secs(60), || {
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle' AND query = 'SELECT 1;' AND state = 'idle'";
        Ok((postgres.admin("shop", asked)? == IDLE.to_string()).then_some(()))
    })?;
    let after = process::rss_kib(pid)?;
    holder.signal(libc::SIGKILL)?;
    holder.finish(wait::PATIENCE)?;
    wait::until("idle connections to end", Duration::from_secs(60), || {
        let left = postgres
            .admin("shop", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle'")?;
        Ok((left == "0").then_some(()))
    })?;
    Ok(after.saturating_sub(before) as f64 / f64::from(IDLE))
}

fn print_rates(ways: &[Way], rates: &Samples) {
    println!("\nthroughput: medians, as ratios of direct; the last column is governor against HAProxy");
    print!("  {:28} {:>12}", "", "direct");
    ways.iter().skip(1).for_each(|way| print!(" {:>10}", way.name));
    println!(" {:>10}", "of haproxy");
    let mut rows: Vec<&String> = rates.keys().map(|(what, _)| what).collect();
    rows.dedup();
    for what in rows {
        let of = |name: &'static str| rates.get(&(what.clone(), name)).and_then(|values| median(values));
        let Some(direct) = of("direct") else { continue };
        let unit = if what == COPY { "MB/s" } else { "tps" };
        print!("  {what:28} {:>12}", format!("{direct:.0} {unit}"));
        for way in ways.iter().skip(1) {
            print!(" {:>10}", of(way.name).map_or("-".into(), |rate| format!("{:.2}", rate / direct)));
        }
        println!(" {:>10}", share(rates, what).map_or("-".into(), |ratio| format!("{ratio:.2}")));
    }
}

/// Governor's share of HAProxy's throughput over the pgbench rows: the least, and the geometric mean.
fn print_aim(rates: &Samples) {
    let rows = rates.keys().filter(|(what, way)| *way == "governor" && what != COPY);
    let shares: Vec<(f64, &str)> =
        rows.filter_map(|(what, _)| Some((share(rates, what)?, what.as_str()))).collect();
    let Some((least, row)) = shares.iter().min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
    let mean = (shares.iter().map(|(share, _)| share.ln()).sum::<f64>() / shares.len() as f64).exp();
    let reached = |share: f64| if share >= AIM { "reached" } else { "missed" };
    println!(
        "\naim: {AIM:.2} of HAProxy in pgbench. geometric mean {mean:.2} ({}), least {least:.2} in {row} ({})",
        reached(mean),
        reached(*least)
    );
}

/// Governor's throughput as a share of HAProxy's.
fn share(rates: &Samples, what: &str) -> Option<f64> {
    let of = |name| rates.get(&(what.to_owned(), name)).and_then(|values| median(values));
    Some(of("governor")? / of("haproxy")?)
}

fn print_costs(ways: &[Way], costs: &Samples) {
    println!("\nCPU of the proxy, µs per transaction (user and system)");
    print!("  {:28}", "");
    ways.iter().skip(1).for_each(|way| print!(" {:>10}", way.name));
    println!();
    let mut rows: Vec<&String> = costs.keys().map(|(what, _)| what).collect();
    rows.dedup();
    for what in rows {
        print!("  {what:28}");
        for way in ways.iter().skip(1) {
            let cost = costs.get(&(what.clone(), way.name)).and_then(|values| median(values));
            print!(" {:>10}", cost.map_or("-".into(), |cost| format!("{cost:.1}")));
        }
        println!();
    }
}

/// The middle one; of an even number the lower of the two.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

const COPY: &str = "COPY … TO STDOUT";

/// Least share of HAProxy's throughput that governor aims at.
const AIM: f64 = 0.8;

/// Connections held open to see what one costs.
const IDLE: u32 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.0));
    }
}
