//! One PostgreSQL with the demo database, one cgroup, one governor between the two.

use crate::cgroup::{Cgroup, Class};
use crate::governor::{Governor, Options};
use crate::postgres::{Auth, Postgres};
use crate::process::{Finished, Running};
use crate::remote_socket::RemoteSocket;
use crate::wire::Wire;
use crate::{client, database, wait};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::process::Command;

/// Dropped in this order: governor first, so that nothing is refused on the way down.
#[derive(Debug)]
pub struct Site {
    pub governor: Governor,
    pub group: Cgroup,
    pub postgres: Postgres,
}

impl Site {
    pub fn start() -> Result<Self> {
        Self::with(Auth::Trust, &Options::default())
    }

    pub fn with(auth: Auth, options: &Options) -> Result<Self> {
        let postgres = Postgres::start_version(options.server_version, auth, &options.server_settings)?;
        database::load(&postgres, "shop")?;
        let group = Cgroup::create("governor-test")?;
        let governor = Governor::start(&group, postgres.port(), options)?;
        Ok(Self { governor, group, postgres })
    }

    /// A client program inside the captured group of `class`.
    pub fn client(&self, program: &str, class: Class) -> Result<Command> {
        client::command(program, &self.group, class, self.postgres.port())
    }

    /// psql fed with a script on standard input, inside the captured group; still running.
    pub fn psql_running(&self, class: Class, script: &str) -> Result<Running> {
        let mut psql = self.client("psql", class)?;
        psql.args(client::PSQL_ROWS);
        Running::start(psql, script.as_bytes())
    }

    pub fn psql(&self, class: Class, script: &str) -> Result<Finished> {
        self.psql_running(class, script)?.finish(wait::PATIENCE)
    }

    /// The same script by the same client, straight to the server.
    pub fn psql_direct(&self, script: &str) -> Result<Finished> {
        let mut psql = client::outside("psql", self.postgres.port());
        psql.args(client::PSQL_ROWS);
        Running::start(psql, script.as_bytes())?.finish(wait::PATIENCE)
    }

    /// What the database really holds, asked past governor.
    pub fn truth(&self, sql: &str) -> Result<String> {
        self.postgres.admin("shop", sql)
    }

    pub fn server_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.postgres.port()))
    }

    /// A raw connection made inside the captured group.
    pub fn socket(&self, class: Class) -> Result<RemoteSocket> {
        RemoteSocket::connect(&self.group.client(class), self.server_address())
    }

    /// A raw protocol session straight to the server: what governor has to equal.
    pub fn wire_direct(&self) -> Result<Wire> {
        let mut wire = Wire::new(self.socket_direct()?)?;
        wire.start("app", "shop").context("start-up without governor")?;
        Ok(wire)
    }

    /// A raw connection that nothing captures.
    pub fn socket_direct(&self) -> Result<RemoteSocket> {
        RemoteSocket::connect(&self.group.agent_host(), self.server_address())
    }

    /// A raw protocol session, past authentication (which must be trust).
    pub fn wire(&self, class: Class) -> Result<Wire> {
        let mut wire = Wire::new(self.socket(class)?)?;
        wire.start("app", "shop").context("start-up through governor")?;
        Ok(wire)
    }
}
