//! A host with a real container engine: Podman with runc, conmon, netavark and iptables out of the distribution's packages.
//!
//! The host is a network namespace and a mount namespace. In the latter the engine's files lie over `/usr` and `/etc`, its storage is
//! in memory, `/run` and `/dev/shm` are its own, and cgroup v2 alone is mounted, as on a host of today; so it is where the engine
//! expects it, and governor finds the engine's files where an operator has them. All that it starts is in a cgroup of the test's.
//!
//! ```text
//! container  10.88.0.2 ═══ podman0 10.88.0.1  host: governor, the engine, a server at :5432
//! ```
//!
//! Nothing of the machine's own namespaces is changed: no interface, no rule, no mount, no file outside of `/tmp`.

use crate::cgroup::{self, Cgroup};
use crate::image::Image;
use crate::namespace::Namespace;
use crate::process::{self, Finished, Running};
use crate::{client, database};
use crate::{programs, wait};
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The host on the engine's default network.
pub const GATEWAY: &str = "10.88.0.1";

/// Ends with everything that the engine started.
#[derive(Debug)]
pub struct Engine {
    pub network: Namespace,
    holder: Child,
    mounts: File,
    own_group: PathBuf,
    /// The group of containers whose connections are captured, as the kernel names it.
    pub containers: String,
    /// The group of others, of servers.
    pub servers: String,
}

impl Engine {
    /// A host with its engine, whose containers run in `group`.
    pub fn start(group: &Cgroup) -> Result<Self> {
        let own_group = group.path().join("engine");
        std::fs::create_dir(&own_group)?;
        let parent = |of: PathBuf| -> Result<String> {
            let parent = of.join("libpod_parent");
            std::fs::create_dir_all(&parent)?;
            group.kernel_name(&parent)
        };
        let (containers, servers) = (parent(group.clients())?, parent(group.path().join("servers"))?);
        let network = Namespace::create()?;
        let mut holder = Command::new("unshare");
        holder.args(["--mount", "--propagation", "private", "sh", "-c", HOST, "sh"]);
        holder.arg(programs::podman_files().canonicalize()?);
        holder.args([&group.kernel_name(&own_group)?, &containers, &servers]);
        holder.stdin(Stdio::piped()).stdout(Stdio::piped());
        network.enter(&mut holder)?;
        // No signal when this program ends: then its standard input does, and it ends what the engine started.
        let mut holder = process::spawn(holder, 0)?;
        let told = holder.stdout.take().context("no pipe")?;
        let mut line = String::new();
        BufReader::new(told).read_line(&mut line)?;
        let mounts = File::open(format!("/proc/{}/ns/mnt", holder.id()))?;
        let engine = Self { network, holder, mounts, own_group, containers, servers };
        anyhow::ensure!(line == "ready\n", "the host of the engine could not be made");
        Ok(engine)
    }

    /// Makes `command` start on this host.
    pub fn enter(&self, command: &mut Command) -> Result<()> {
        let mounts = self.mounts.try_clone()?;
        self.network.enter(command)?;
        // SAFETY: setns is a plain system call on an open descriptor, allowed between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::setns(mounts.as_raw_fd(), libc::CLONE_NEWNS) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Ok(())
    }

    /// A program and its arguments that start another one on this host.
    pub fn launcher(&self) -> Vec<String> {
        let of = |kind: &str| format!("/proc/{}/ns/{kind}", self.holder.id());
        vec!["nsenter".into(), format!("--net={}", of("net")), format!("--mount={}", of("mnt"))]
    }

    /// Makes an image that containers can be started from, by this name.
    pub fn import(&self, image: Archive, name: &str) -> Result<()> {
        let path = image.path()?;
        self.podman(&["import", "--quiet", path.to_str().context("a path")?, name])?.ok()?;
        Ok(())
    }

    /// The engine's command line, in a group that nobody captures.
    pub fn podman(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(self.podman_command(arguments)?, wait::PATIENCE)
    }

    pub fn podman_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new("podman");
        command.args(arguments).env_clear();
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/run/home")
            .env("LC_ALL", "C.UTF-8");
        cgroup::enter(&mut command, &self.own_group)?;
        self.enter(&mut command)?;
        Ok(command)
    }

    /// Starts a container whose connections are captured, and answers its id.
    pub fn run(&self, name: &str, options: &[&str], image: &str, command: &[&str]) -> Result<String> {
        self.run_below(&self.containers, name, options, image, command)
    }

    /// The same below a group of another's.
    pub fn run_below(
        &self,
        parent: &str,
        name: &str,
        options: &[&str],
        image: &str,
        command: &[&str],
    ) -> Result<String> {
        let first = ["run", "--detach", "--cgroup-parent", parent, "--name", name];
        let all = [&first, options, &[image], command].concat();
        Ok(self.podman(&all)?.ok()?.out().trim().to_owned())
    }

    /// An image of PostgreSQL, started in a container with the demo database.
    pub fn serve(&self, name: &str, options: &[&str]) -> Result<String> {
        self.import(Archive::Server, "shop.test/postgres:1")?;
        let bin = Image::server_programs()?;
        let script = SERVER.replace("BIN", bin.to_str().context("a path")?);
        let options = [&["--user", "postgres"], options].concat();
        let id =
            self.run_below(&self.servers, name, &options, "shop.test/postgres:1", &["sh", "-c", &script])?;
        let psql = bin.join("psql");
        let ask = |database: &str, sql: &str| -> Result<Finished> {
            let psql = psql.to_str().context("a path")?;
            let to =
                [psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database];
            let arguments = [&["exec", "--interactive", name], &to[..], &["-h", "/tmp"]].concat();
            Running::start(self.podman_command(&arguments)?, sql.as_bytes())?.finish(wait::PATIENCE)
        };
        wait::until("the server in its container", wait::PATIENCE * 2, || {
            Ok(ask("postgres", "SELECT 1")?.status.success().then_some(()))
        })?;
        ask("postgres", "CREATE ROLE app LOGIN SUPERUSER;\nCREATE DATABASE shop OWNER app;")?.ok()?;
        ask("shop", &database::script()?)?.ok()?;
        Ok(id)
    }

    /// One value of what the engine says of a container.
    pub fn inspect(&self, name: &str, format: &str) -> Result<String> {
        Ok(self.podman(&["inspect", "--format", format, name])?.ok()?.out().trim().to_owned())
    }

    /// psql in a container, told by its environment to go to `server`.
    pub fn psql_command(&self, container: &str, server: &str, port: u16) -> Result<Command> {
        let port = format!("PGPORT={port}");
        let server = format!("PGHOST={server}");
        let mut arguments = vec!["exec", "--interactive"];
        for variable in
            [&server, &port, "PGUSER=app", "PGDATABASE=shop", "LC_ALL=C.UTF-8", "PGCONNECT_TIMEOUT=20"]
        {
            arguments.extend(["--env", variable]);
        }
        arguments.extend([container, "psql"]);
        arguments.extend(client::PSQL_ROWS);
        self.podman_command(&arguments)
    }

    pub fn psql(&self, container: &str, server: &str, port: u16, sql: &str) -> Result<Finished> {
        let script = format!("{sql};\n");
        Running::start(self.psql_command(container, server, port)?, script.as_bytes())?.finish(wait::PATIENCE)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
    }
}

/// The archive of an image, made once in this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    Clients,
    Server,
}

impl Archive {
    fn path(self) -> Result<PathBuf> {
        static MADE: [OnceLock<Result<File, String>>; 2] = [OnceLock::new(), OnceLock::new()];
        let made = MADE.get(self as usize).context("an archive")?;
        let made = made.get_or_init(|| self.make().map_err(|error| format!("{error:#}")));
        let file = made.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into())
    }

    /// A file without a name: it ends with this program.
    fn make(self) -> Result<File> {
        let file = tempfile::tempfile()?;
        match self {
            Self::Clients => Image::of_clients()?,
            Self::Server => Image::of_server()?,
        }
        .save(&file)?;
        Ok(file)
    }
}

/// What a container with the server runs. Its unix socket is the way past governor.
const SERVER: &str = "set -e
BIN/initdb -D /tmp/data -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync > /dev/null
echo 'host all all all trust' >> /tmp/data/pg_hba.conf
exec BIN/postgres -D /tmp/data -k /tmp -p 5432 -c listen_addresses=* -c fsync=off -c timezone=UTC";

/// Arguments: the engine's files, its own group, the groups of its containers. Limits of resources are none above this machine's own, which root
/// may not raise everywhere; `pids_limit` and a device list need controllers that cgroup v2 does not have where v1 has them.
const HOST: &str = r#"set -e
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
for of in etc lib; do mkdir -p "/run/over/$of/upper" "/run/over/$of/work"; done
mkdir -p /run/lock /run/home /run/over/lib/upper/containers
mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$1/etc:/etc,upperdir=/run/over/etc/upper,workdir=/run/over/etc/work" /etc
mount -t overlay overlay -o "lowerdir=/var/lib,upperdir=/run/over/lib/upper,workdir=/run/over/lib/work" /var/lib
mount -t tmpfs tmpfs /var/lib/containers
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
cat > /etc/containers/containers.conf <<END
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
pids_limit = 0
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
END
echo ready
cat > /dev/null
for group in "$2" "$3" "$4"; do echo 1 > "/sys/fs/cgroup$group/cgroup.kill"; done
"#;
