//! A database host and another host, each a network namespace with a cable between them.
//!
//! ```text
//! remote: psql  10.77.0.2 ═════ 10.77.0.1 :5432  PostgreSQL, governor, local clients: database host
//!               fd77::2               fd77::1
//! ```
//!
//! The server keeps its port and its configuration. Nothing outside the two namespaces and the group is touched.

use crate::cgroup::{self, Cgroup, Class};
use crate::governor::{Governor, Options};
use crate::held_network::Network;
use crate::postgres::{Auth, Place, Postgres};
use crate::process::{self, Finished, Running};
use crate::{client, database, wait};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::process::Command;

/// The server's addresses.
pub const SERVER_V4: &str = "10.77.0.1";
pub const SERVER_V6: &str = "fd77::1";
/// The other host's.
pub const REMOTE_V4: &str = "10.77.0.2";
pub const REMOTE_V6: &str = "fd77::2";
pub const PORT: u16 = 5432;

/// Dropped in this order: governor first, so that nothing is refused on the way down.
#[derive(Debug)]
pub struct DatabaseHost {
    pub governor: Governor,
    pub postgres: Postgres,
    pub group: Cgroup,
    pub host: Network,
    pub remote: Network,
}

impl DatabaseHost {
    /// `inbound` is what the block `[[capture.inbound]]` says beside `clients`, such as `ports = [5432]`. `GROUP` in it is the
    /// host's cgroup, so that no other test's server is named.
    pub fn start(inbound: &str, auth: Auth, options: &Options) -> Result<Self> {
        // What is captured on the way out is another port.
        Self::start_with(inbound, auth, options, PORT + 1)
    }

    /// The same, with `outbound` captured where processes of the group connect to it.
    pub fn start_with(inbound: &str, auth: Auth, options: &Options, outbound: u16) -> Result<Self> {
        let group = Cgroup::create("governor-test")?;
        Self::start_in(group, "server", inbound, auth, options, outbound)
    }

    /// With the server started in a unit of this name, as systemd would.
    pub fn start_unit(unit: &str, inbound: &str) -> Result<Self> {
        let group = Cgroup::slice("governor-test")?;
        Self::start_in(group, unit, inbound, Auth::Trust, &Options::default(), PORT + 1)
    }

    fn start_in(
        group: Cgroup,
        server: &str,
        inbound: &str,
        auth: Auth,
        options: &Options,
        outbound: u16,
    ) -> Result<Self> {
        let (host, remote) = (Network::create()?, Network::create()?);
        host.cable(&remote, "to-remote", "to-host")?;
        for (network, device, addresses) in [
            (&host, "to-remote", [format!("{SERVER_V4}/24"), format!("{SERVER_V6}/64")]),
            (&remote, "to-host", [format!("{REMOTE_V4}/24"), format!("{REMOTE_V6}/64")]),
        ] {
            for address in addresses {
                let nodad = if address.contains(':') { &["nodad"][..] } else { &[] };
                network.ip(&[&["address", "add", &address, "dev", device], nodad].concat())?;
            }
            network.ip(&["link", "set", device, "up"])?;
        }
        let place = Place { network: host.path(), cgroup: group.path().join(server) };
        std::fs::create_dir(&place.cgroup)?;
        let settings: Vec<&str> =
            ["listen_addresses=*"].into_iter().chain(options.server_settings.iter().copied()).collect();
        let postgres = Postgres::start_at(place, PORT, auth, &settings)?;
        database::load(&postgres, "shop")?;
        let word = if auth == Auth::Trust { "trust" } else { "scram-sha-256" };
        postgres.authenticate(&format!("host all all all {word}"))?;
        let inbound = inbound.replace("GROUP", &group.kernel_name(group.path())?);
        let mut more = options.more.clone();
        write!(more, "\n[[capture.inbound]]\n{inbound}\nclients = {:?}\n", group.clients())?;
        let options = Options {
            more,
            launcher: vec!["nsenter".into(), format!("--net={}", host.path())],
            ..options.clone()
        };
        let governor = Governor::start(&group, outbound, &options)?;
        Ok(Self { governor, postgres, group, host, remote })
    }

    /// A client program on the other host.
    pub fn remote(&self, program: &str, server: &str) -> Result<Command> {
        let mut command = client::outside(program, PORT);
        command.env("PGHOST", server);
        self.remote.enter(&mut command)?;
        Ok(command)
    }

    /// A client program on the database host, of this class.
    pub fn local(&self, program: &str, server: &str, class: Class) -> Result<Command> {
        let mut command = client::outside(program, PORT);
        command.env("PGHOST", server);
        self.host.enter(&mut command)?;
        cgroup::enter(&mut command, &self.group.client(class))?;
        Ok(command)
    }

    /// psql with one command, on the other host.
    pub fn remote_psql(&self, server: &str, sql: &str) -> Result<Finished> {
        psql(self.remote("psql", server)?, sql)
    }

    /// psql with one command, on the database host.
    pub fn local_psql(&self, server: &str, class: Class, sql: &str) -> Result<Finished> {
        psql(self.local("psql", server, class)?, sql)
    }

    /// What the database really holds, asked past governor by the server's unix socket.
    pub fn truth(&self, sql: &str) -> Result<String> {
        self.postgres.admin("shop", sql)
    }

    /// The Prometheus page, which is on the database host's loopback.
    pub fn metrics(&self) -> Result<String> {
        self.host.inside(|| self.governor.metrics())?
    }

    /// One series of it.
    pub fn metric(&self, series: &str) -> Result<f64> {
        let page = self.metrics()?;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {series}"))?.parse()?)
    }
}

pub fn psql(mut psql: Command, sql: &str) -> Result<Finished> {
    psql.args(client::PSQL_ROWS).args(["-c", sql]);
    process::run(psql, wait::PATIENCE)
}

/// psql that goes on while something else is done.
pub fn psql_running(mut psql: Command, sql: &str) -> Result<Running> {
    psql.args(client::PSQL_ROWS).args(["-c", sql]);
    Running::start(psql, &[])
}
