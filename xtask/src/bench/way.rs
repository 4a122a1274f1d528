//! One way from a client to the server, and running clients on it.

use super::peers::Peer;
use anyhow::{Context, Result};
use governor_tests::postgres::Postgres;
use governor_tests::process::Finished;
use governor_tests::{Cgroup, Class, Governor, cgroup, client, process};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long pgbench runs. Its seconds include connecting, which thousands of clients take long for.
#[derive(Clone, Copy, Debug)]
pub enum For {
    Seconds(u32),
    /// Of all clients together.
    Transactions(u32),
}

#[derive(Clone, Debug)]
pub struct Way {
    pub name: &'static str,
    pub port: u16,
    /// The process in between; `None` for direct.
    pub pid: Option<u32>,
    /// The group that clients have to be in to be captured.
    group: Option<PathBuf>,
}

impl Way {
    pub fn direct(postgres: &Postgres) -> Self {
        Self { name: "direct", port: postgres.port(), pid: None, group: None }
    }

    pub fn peer(name: &'static str, peer: &Peer) -> Self {
        Self { name, port: peer.port, pid: Some(peer.pid()), group: None }
    }

    pub fn governor(governor: &Governor, postgres: &Postgres, group: &Cgroup) -> Self {
        let group = Some(group.client(Class::Service));
        Self { name: "governor", port: postgres.port(), pid: governor.pid(), group }
    }

    /// A client program on this way.
    pub fn program(&self, name: &str) -> Result<Command> {
        let mut command = client::outside(name, self.port);
        // No TLS anywhere: what is compared is the relay.
        command.env("PGSSLMODE", "disable");
        if let Some(group) = &self.group {
            cgroup::enter(&mut command, group)?;
        }
        Ok(command)
    }

    /// CPU time of the proxy so far, microseconds.
    pub fn cpu_us(&self) -> Result<Option<u64>> {
        self.pid.map(process::cpu_us).transpose()
    }

    /// Runs pgbench: transactions a second, and microseconds of the proxy's CPU for each.
    pub fn pgbench(&self, arguments: &[&str], clients: u32, run: For) -> Result<(f64, Option<f64>)> {
        let mut command = self.program("pgbench")?;
        let (option, count) = match run {
            For::Seconds(count) => ("-T", count),
            For::Transactions(count) => ("-t", count.div_ceil(clients)),
        };
        command.args(["-n", "-c", &clients.to_string(), "-j", &clients.min(2).to_string()]);
        command.args([option, &count.to_string()]).args(arguments);
        let before = self.cpu_us()?;
        let done = process::run(command, Duration::from_secs(180))?.ok()?;
        let after = self.cpu_us()?;
        let transactions = number(&done, "number of transactions actually processed:")?.max(1.0);
        let cost = before.zip(after).map(|(before, after)| (after - before) as f64 / transactions);
        Ok((number(&done, "tps =")?, cost))
    }
}

/// The number that pgbench prints behind `label`.
fn number(done: &Finished, label: &str) -> Result<f64> {
    let said = done.out();
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix(label))
        .with_context(|| format!("no `{label}` in {said}"))?;
    let digits: String = line.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    Ok(digits.parse()?)
}
