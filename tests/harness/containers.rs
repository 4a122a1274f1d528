//! Database servers in containers, as far as the network sees one: a namespace and a cgroup each, all with the same
//! addresses and the same port, each with a client on another host; and the host on which they and governor run.
//!
//! ```text
//! client of 0  10.77.0.2 ═════ 10.77.0.1 :5432  container 0  10.78.0.2 ═════╗
//!              fd77::2               fd77::1                                  ╠═══ 10.78.0.1, 10.78.1.1  host: governor
//! client of 1  10.77.0.2 ═════ 10.77.0.1 :5432  container 1  10.78.1.2 ═════╝
//! ```
//!
//! Nothing outside these namespaces and the group is touched.

use crate::cgroup::{self, Cgroup, Class};
use crate::database_host::{PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6, psql};
use crate::governor::{Governor, Options};
use crate::namespace::Namespace;
use crate::postgres::{Auth, Place, Postgres};
use crate::process::Finished;
use crate::{client, database, wait};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// Settings of a server that listens at every address.
pub const LISTENS: &[&str] = &["listen_addresses=*"];

/// Dropped in this order: the server before the namespace that it is in.
#[derive(Debug)]
pub struct Container {
    pub postgres: Postgres,
    pub namespace: Namespace,
    /// Another host, with a cable to this container alone.
    pub remote: Namespace,
    /// Of the server's processes.
    pub cgroup: PathBuf,
    /// By which the host reaches it.
    pub from_host: String,
}

/// Dropped in this order: governor first, so that nothing is refused on the way down.
#[derive(Debug)]
pub struct Containers {
    pub governor: Governor,
    pub containers: Vec<Container>,
    pub group: Cgroup,
    pub host: Namespace,
}

impl Container {
    /// A client program on the other host.
    pub fn remote(&self, program: &str, server: &str) -> Result<Command> {
        let mut command = client::outside(program, PORT);
        command.env("PGHOST", server);
        self.remote.enter(&mut command)?;
        Ok(command)
    }

    pub fn remote_psql(&self, server: &str, sql: &str) -> Result<Finished> {
        psql(self.remote("psql", server)?, sql)
    }

    /// A client program in the container, of this class.
    pub fn local(&self, group: &Cgroup, program: &str, server: &str, class: Class) -> Result<Command> {
        let mut command = client::outside(program, PORT);
        command.env("PGHOST", server);
        self.namespace.enter(&mut command)?;
        cgroup::enter(&mut command, &group.client(class))?;
        Ok(command)
    }

    pub fn local_psql(&self, group: &Cgroup, server: &str, class: Class, sql: &str) -> Result<Finished> {
        psql(self.local(group, "psql", server, class)?, sql)
    }

    /// What the database really holds, asked past governor by the server's unix socket.
    pub fn truth(&self, sql: &str) -> Result<String> {
        self.postgres.admin("shop", sql)
    }
}

impl Containers {
    /// `count` containers, and governor with the block `[[capture.inbound]]` that `inbound` says, in which `GROUP` is the group
    /// of all their servers. `outbound` is captured where processes of the clients' group connect to it.
    pub fn start(count: usize, inbound: &str, outbound: u16, options: &Options) -> Result<Self> {
        let mut site = Self::prepare(count, inbound, outbound, options)?;
        site.governor.launch()?;
        // What is there before governor is captured before governor is ready.
        Ok(site)
    }

    /// The same before governor is started, which is on the host unless `options` name a launcher.
    pub fn prepare(count: usize, inbound: &str, outbound: u16, options: &Options) -> Result<Self> {
        let host = Namespace::create()?;
        let group = Cgroup::create("governor-test")?;
        std::fs::create_dir(group.path().join("servers"))?;
        let containers: Vec<Container> =
            (0..count).map(|number| Wired::create(&host, &group, number)?.serve()).collect::<Result<_>>()?;
        let inbound = inbound.replace("GROUP", &group.kernel_name(&group.path().join("servers"))?);
        let mut more = options.more.clone();
        write!(more, "\n[[capture.inbound]]\n{inbound}\nclients = {:?}\n", group.clients())?;
        let options = Options {
            more,
            launcher: match options.launcher.is_empty() {
                true => vec!["nsenter".into(), format!("--net=/proc/{}/ns/net", host.pid())],
                false => options.launcher.clone(),
            },
            ..options.clone()
        };
        let governor = Governor::prepare(&group, outbound, &options)?;
        Ok(Self { governor, containers, group, host })
    }

    /// One more, while governor runs.
    pub fn add(&mut self) -> Result<()> {
        let added = self.wire()?.serve()?;
        self.containers.push(added);
        Ok(())
    }

    /// The network of one more.
    pub fn wire(&self) -> Result<Wired> {
        Wired::create(&self.host, &self.group, self.containers.len())
    }

    /// psql on the host, of this class.
    pub fn host_psql(&self, server: &str, class: Class, sql: &str) -> Result<Finished> {
        let mut command = client::outside("psql", PORT);
        command.env("PGHOST", server);
        self.host.enter(&mut command)?;
        cgroup::enter(&mut command, &self.group.client(class))?;
        psql(command, sql)
    }

    /// One series of the Prometheus page, which is on the host's loopback.
    pub fn metric(&self, series: &str) -> Result<f64> {
        let page = self.host.inside(|| self.governor.metrics())??;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {series}"))?.parse()?)
    }

    /// Waits until so many containers' servers are captured.
    pub fn wait_captured(&self, count: u32) -> Result<()> {
        wait::until(&format!("{count} namespaces to be captured"), wait::PATIENCE, || {
            let served = self.metric("governor_inbound_namespaces_served")?;
            Ok((served == f64::from(count)).then_some(()))
        })
    }
}

/// A container's network, before there is a server in it.
#[derive(Debug)]
pub struct Wired {
    pub namespace: Namespace,
    pub remote: Namespace,
    pub cgroup: PathBuf,
    from_host: String,
}

impl Wired {
    fn create(host: &Namespace, group: &Cgroup, number: usize) -> Result<Self> {
        let (namespace, remote) = (Namespace::create()?, Namespace::create()?);
        namespace.connect("to-remote", &format!("{SERVER_V4}/24"), &remote, "to-server")?;
        remote.ip(&format!("address add {REMOTE_V4}/24 dev to-server"))?;
        namespace.ip(&format!("address add {SERVER_V6}/64 dev to-remote nodad"))?;
        remote.ip(&format!("address add {REMOTE_V6}/64 dev to-server nodad"))?;
        let (of_host, from_host) = (format!("10.78.{number}.1"), format!("10.78.{number}.2"));
        let device = format!("to-c{number}");
        host.connect(&device, &format!("{of_host}/24"), &namespace, "to-host")?;
        namespace.ip(&format!("address add {from_host}/24 dev to-host"))?;
        namespace.ip(&format!("route add default via {of_host}"))?;
        let cgroup = group.path().join(format!("servers/{number}"));
        std::fs::create_dir(&cgroup)?;
        Ok(Self { namespace, remote, cgroup, from_host })
    }

    /// Starts its server.
    pub fn serve(self) -> Result<Container> {
        let Self { namespace, remote, cgroup, from_host } = self;
        let network = format!("/proc/{}/ns/net", namespace.pid());
        let place = Place { network, cgroup: cgroup.clone() };
        let postgres = Postgres::start_at(place, PORT, Auth::Trust, LISTENS)?;
        database::load(&postgres, "shop")?;
        postgres.authenticate("host all all all trust")?;
        Ok(Container { postgres, namespace, remote, cgroup, from_host })
    }
}
