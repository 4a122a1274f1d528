//! What connections cost: memory of those that do nothing, and how transactions grow dearer beside them.
//!
//! Two ladders for each way. Idle: more and more connections are held open while 16 others work.
//! Active: all of them work. pgbouncer gets a process of its own, since its pool keeps server connections.

use super::peers::Peer;
use super::way::{For, Way};
use anyhow::Result;
use governor_tests::postgres::Postgres;
use governor_tests::{Running, process, wait};
use std::time::Duration;

/// One way's figures at one number of connections.
#[derive(Debug)]
struct Step {
    way: &'static str,
    connections: u32,
    /// Resident memory that the connections added, KiB each.
    idle_kib: Option<f64>,
    /// CPU of the proxy for one more connection and its first statement, microseconds.
    connect_us: Option<f64>,
    beside_idle: Option<(f64, Option<f64>)>,
    active: Option<(f64, Option<f64>)>,
}

#[derive(Debug)]
pub struct Table(Vec<Step>);

pub fn measure(ways: &[Way], postgres: &Postgres, quick: bool) -> Result<Table> {
    let steps = if quick { QUICK_STEPS } else { STEPS };
    let mut table = Vec::new();
    for way in ways {
        let mut fresh = None;
        let mut way = way.clone();
        if way.name == "pgbouncer" {
            let peer = Peer::pgbouncer(postgres.port())?;
            way = Way::peer("pgbouncer", &peer);
            fresh = Some(peer);
        }
        let mut rows: Vec<Step> = Vec::new();
        idle_ladder(&way, postgres, steps, &mut rows)?;
        for row in rows.iter_mut().filter(|row| !quick || row.connections <= QUICK_ACTIVE_MAX) {
            let (rate, cost) = way.pgbench(PREPARED, row.connections, For::Transactions(TRANSACTIONS))?;
            // All of them connected first: that is the other column.
            let connecting = row.connect_us.map(|us| us * f64::from(row.connections.min(TRANSACTIONS)));
            let cost = cost.zip(connecting).map(|(us, all)| (us - all / f64::from(TRANSACTIONS)).max(0.0));
            row.active = Some((rate, cost));
        }
        drop(fresh);
        // The next way needs as many.
        until_left(postgres, "backend_type = 'client backend'", 1)?;
        eprintln!("connections: {}", way.name);
        table.append(&mut rows);
    }
    Ok(Table(table))
}

/// Holds more and more connections; at each number 16 others work for a second.
fn idle_ladder(way: &Way, postgres: &Postgres, steps: &[u32], rows: &mut Vec<Step>) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("idle.sql");
    std::fs::write(&script, "SELECT 1;\n\\sleep 600 s\n")?;
    // What a proxy keeps once for all connections is there from now on.
    way.pgbench(PREPARED, ACTIVE, For::Transactions(TRANSACTIONS))?;
    let before = way.pid.map(process::rss_kib).transpose()?;
    let mut holders = Vec::new();
    let mut held = 0;
    for &connections in steps {
        let mut command = way.program("pgbench")?;
        let more = (connections - held).to_string();
        command.env("PGAPPNAME", "idle").args(["-n", "-c", &more, "-j", "1", "-t", "1", "-f"]).arg(&script);
        let started = way.cpu_us()?;
        holders.push(Running::start(command, &[])?);
        let idle = "application_name = 'idle' AND query = 'SELECT 1;' AND state = 'idle'";
        until_left(postgres, idle, connections)?;
        let more = f64::from(connections - held);
        held = connections;
        let connect_us = started.zip(way.cpu_us()?).map(|(started, ended)| (ended - started) as f64 / more);
        let after = way.pid.map(process::rss_kib).transpose()?;
        let idle_kib = before
            .zip(after)
            .map(|(before, after)| after.saturating_sub(before) as f64 / f64::from(connections));
        let beside_idle = Some(way.pgbench(PREPARED, ACTIVE, For::Transactions(TRANSACTIONS))?);
        rows.push(Step { way: way.name, connections, idle_kib, connect_us, beside_idle, active: None });
    }
    for holder in holders {
        holder.signal(libc::SIGKILL)?;
        holder.finish(wait::PATIENCE)?;
    }
    if way.name != "pgbouncer" {
        until_left(postgres, "application_name = 'idle'", 0)?;
    }
    Ok(())
}

/// Waits until the server has exactly `count` sessions of this kind; the one that asks counts too.
fn until_left(postgres: &Postgres, which: &str, count: u32) -> Result<()> {
    let asked = format!("SELECT count(*) FROM pg_stat_activity WHERE {which}");
    wait::until("the server's sessions", Duration::from_secs(120), || {
        Ok((postgres.admin("shop", &asked)? == count.to_string()).then_some(()))
    })
}

impl Table {
    /// Memory of an idle connection at the largest number.
    pub fn idle_kib(&self, way: &str) -> Option<f64> {
        self.0.iter().rfind(|step| step.way == way)?.idle_kib
    }

    pub fn print(&self) {
        println!(
            "\nconnections: memory of each idle one, CPU of opening each; tps and µs of the proxy's CPU per transaction (-S prepared)\n\
             with {ACTIVE} active beside that many idle, and with that many active"
        );
        println!(
            "  {:10} {:>11} {:>9} {:>9} {:>12} {:>8} {:>12} {:>8}",
            "", "connections", "KiB each", "µs each", "beside: tps", "µs", "active: tps", "µs"
        );
        for step in &self.0 {
            let (beside_rate, beside_cost) = columns(step.beside_idle);
            let (rate, cost) = columns(step.active);
            println!(
                "  {:10} {:>11} {:>9} {:>9} {beside_rate:>12} {beside_cost:>8} {rate:>12} {cost:>8}",
                step.way,
                step.connections,
                step.idle_kib.map_or("-".into(), |kib| format!("{kib:.1}")),
                step.connect_us.map_or("-".into(), |us| format!("{us:.0}")),
            );
        }
    }
}

fn columns(measured: Option<(f64, Option<f64>)>) -> (String, String) {
    let (rate, cost) = measured.unzip();
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    (or_dash(rate.map(|r| format!("{r:.0}"))), or_dash(cost.flatten().map(|c| format!("{c:.1}"))))
}

const PREPARED: &[&str] = &["-S", "-M", "prepared"];
/// Of each measurement here, all clients together.
const TRANSACTIONS: u32 = 16_000;
/// Clients that work beside the idle ones.
const ACTIVE: u32 = 16;
const STEPS: &[u32] = &[1, 10, 100, 500, 1000, 2000];
const QUICK_STEPS: &[u32] = &[1, 100, 2000];
const QUICK_ACTIVE_MAX: u32 = 100;
