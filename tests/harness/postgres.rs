//! A throw-away PostgreSQL: own data directory, own port, stopped with its owner.
//!
//! The server refuses to run as root, so as root everything runs as the user `postgres` that the package makes.

use crate::cluster;
use crate::namespace::Namespace;
use crate::process::{self, Finished};
use crate::programs::{self, Programs};
use crate::wait;
use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How clients prove who they are over TCP. The superuser `postgres` is always trusted on the unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    Trust,
    Md5,
    ScramSha256,
}

impl Auth {
    fn word(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Md5 => "md5",
            Self::ScramSha256 => "scram-sha-256",
        }
    }
}

/// Password of every role that the harness makes. The servers live for seconds on loopback.
pub const PASSWORD: &str = "correct horse";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    /// Its socket and log.
    dir: TempDir,
    data: TempDir,
    programs: Programs,
    port: u16,
    place: Option<Place>,
    child: Option<Child>,
    /// Another directory with a socket of the server's, for what is tested.
    public: Option<PathBuf>,
    /// Of the last start.
    settings: Vec<String>,
}

/// Where a server runs that is not to run beside this program.
#[derive(Clone, Debug)]
pub struct Place {
    /// Path of its network namespace.
    pub network: String,
    pub cgroup: PathBuf,
}

impl Postgres {
    pub fn start(auth: Auth) -> Result<Self> {
        Self::start_with(auth, &[])
    }

    /// `settings` are `name=value` pairs on top of the harness's own.
    pub fn start_with(auth: Auth, settings: &[&str]) -> Result<Self> {
        Self::start_version(None, auth, settings)
    }

    /// A server that also has a socket in `directory`, beside the one that stays the way past governor.
    pub fn start_with_socket_in(directory: &Path, auth: Auth, settings: &[&str]) -> Result<Self> {
        Self::launch_new(None, auth, settings, Some(directory.into()))
    }

    /// A server inside a network namespace, on a port that must be free there.
    pub fn start_in(namespace: &Namespace, port: u16, auth: Auth, settings: &[&str]) -> Result<Self> {
        let network = format!("/proc/{}/ns/net", namespace.pid());
        Self::start_at(Place { network, cgroup: crate::cgroup::own()? }, port, auth, settings)
    }

    /// A server of this major version; the distribution's own where none is asked for.
    pub fn start_version(version: Option<u32>, auth: Auth, settings: &[&str]) -> Result<Self> {
        Self::launch_new(version, auth, settings, None)
    }

    fn launch_new(
        version: Option<u32>,
        auth: Auth,
        settings: &[&str],
        public: Option<PathBuf>,
    ) -> Result<Self> {
        let mut server = Self::prepare(version, auth)?;
        server.public = public;
        server.launch(auth, settings)?;
        Ok(server)
    }

    /// The distribution's own server, on this port of a place of its own.
    pub fn start_at(place: Place, port: u16, auth: Auth, settings: &[&str]) -> Result<Self> {
        let mut server = Self::prepare(None, auth)?;
        server.place = Some(place);
        server.launch_on(port, auth, settings)?;
        Ok(server)
    }

    /// Starts it again after [`Self::stop`], on its port.
    pub fn start_again(&mut self, auth: Auth, settings: &[&str]) -> Result<()> {
        self.launch_on(self.port, auth, settings)
    }

    /// A data directory with the harness's roles and database, without a server.
    fn prepare(version: Option<u32>, auth: Auth) -> Result<Self> {
        let server = Self::bare(version)?;
        let program = server.programs.bin.join("postgres");
        cluster::copy(&program, auth.word(), server.data.path(), || Self::make(version, auth))?;
        Ok(server)
    }

    /// What [`Self::prepare`] copies.
    fn make(version: Option<u32>, auth: Auth) -> Result<TempDir> {
        let mut server = Self::bare(version)?;
        let mut initdb = as_server_user(&server.programs.bin.join("initdb"))?;
        initdb.arg("-D").arg(server.data_dir());
        initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-A", "trust"]);
        process::run(initdb, wait::PATIENCE)?.ok().context("initdb")?;
        let word = auth.word();
        std::fs::write(
            server.data_dir().join("pg_hba.conf"),
            format!(
                "local all postgres trust\nlocal all all {word}\nhost all all 127.0.0.1/32 {word}\n\
                 host all all ::1/128 {word}\n"
            ),
        )?;
        server.launch(auth, &[])?;
        server.make_roles(auth)?;
        server.stop()?;
        Ok(std::mem::replace(&mut server.data, cluster::shelf()?))
    }

    /// The directories of a server, empty.
    fn bare(version: Option<u32>) -> Result<Self> {
        let programs = Programs::find(version)?;
        let dir = tempfile::Builder::new().prefix("governor-pg-").tempdir()?;
        let data = cluster::shelf()?;
        if let Some((uid, gid)) = server_user()? {
            for owned in [&dir, &data] {
                std::os::unix::fs::chown(owned.path(), Some(uid), Some(gid))?;
            }
        }
        Ok(Self {
            dir,
            data,
            programs,
            port: 0,
            place: None,
            child: None,
            public: None,
            settings: Vec::new(),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Where the server's own programs are.
    pub fn bin(&self) -> &Path {
        &self.programs.bin
    }

    /// Directory of the server's unix socket: the way past governor, for checking what really happened.
    pub fn socket_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Directory of the server's data and configuration.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join(cluster::DATA)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Runs SQL as superuser over the unix socket, never through governor; answers unaligned tuples.
    pub fn admin(&self, database: &str, sql: &str) -> Result<String> {
        let done = self.admin_script(database, sql)?.ok().with_context(|| format!("admin: {sql:.200}"))?;
        Ok(done.out().trim_end().to_owned())
    }

    /// Writes the authentication rules for TCP anew (`pg_hba.conf`) and makes the server read all its files again.
    pub fn authenticate(&self, rules: &str) -> Result<()> {
        let text = format!("local all postgres trust\n{rules}\n");
        std::fs::write(self.data_dir().join("pg_hba.conf"), text)?;
        self.reload()
    }

    /// Makes the server read its configuration, certificates and keys again.
    pub fn reload(&self) -> Result<()> {
        // Answered when the signal is sent: whoever needs the effect waits for it.
        self.admin("postgres", "SELECT pg_reload_conf()")?;
        Ok(())
    }

    fn admin_script(&self, database: &str, sql: &str) -> Result<Finished> {
        let mut psql = Command::new("psql");
        psql.env("PATH", programs::search_path());
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]);
        psql.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string()]);
        process::Running::start(psql, sql.as_bytes())?.finish(wait::PATIENCE * 2)
    }

    /// The same server once more, as it was, after [`Self::stop`] or [`Self::kill`].
    pub fn start_as_before(&mut self) -> Result<()> {
        self.run()
    }

    /// SIGKILL: it cleans nothing up.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        // SIGINT is PostgreSQL's fast shutdown: sessions are ended, data is kept.
        process::stop(&mut child, libc::SIGINT, Duration::from_secs(20))?;
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// Ends the server and starts it again on its port and data.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    fn launch(&mut self, auth: Auth, settings: &[&str]) -> Result<()> {
        // Between choosing a free port and binding it, somebody else may take it.
        let mut last = None;
        for _ in 0..5 {
            match self.launch_on(free_port()?, auth, settings) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("never tried")))
    }

    fn launch_on(&mut self, port: u16, auth: Auth, settings: &[&str]) -> Result<()> {
        self.port = port;
        std::fs::File::create(self.log_path())?;
        self.settings.clear();
        let password_encryption =
            format!("password_encryption={}", if auth == Auth::Md5 { "md5" } else { "scram-sha-256" });
        for setting in
            SETTINGS.iter().copied().chain([password_encryption.as_str()]).chain(settings.iter().copied())
        {
            self.settings.push(setting.to_owned());
        }
        self.run()
    }

    fn run(&mut self) -> Result<()> {
        let log = std::fs::File::options().append(true).open(self.log_path())?;
        let program = self.programs.bin.join("postgres");
        let mut command = match &self.place {
            Some(place) => as_server_user_at(&program, place)?,
            None => as_server_user(&program)?,
        };
        let mut directories = self.dir.path().display().to_string();
        if let Some(public) = &self.public {
            directories = format!("{directories}, {}", public.display());
        }
        command.arg("-D").arg(self.data_dir()).arg("-k").arg(directories);
        command.args(["-p", &self.port.to_string()]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = process::spawn(command, libc::SIGINT)?;
        let ready = wait::until("PostgreSQL to accept connections", wait::PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                bail!("PostgreSQL ended at start ({}):\n{}", process::describe(status), self.log());
            }
            Ok(self.admin_script("postgres", "SELECT 1")?.status.success().then_some(()))
        });
        match ready {
            Ok(()) => self.child = Some(child),
            Err(error) => {
                process::stop(&mut child, libc::SIGINT, Duration::from_secs(5))?;
                return Err(error);
            }
        }
        Ok(())
    }

    fn make_roles(&self, auth: Auth) -> Result<()> {
        let password = match auth {
            Auth::Trust => String::new(),
            Auth::Md5 | Auth::ScramSha256 => format!("PASSWORD '{PASSWORD}'"),
        };
        self.admin(
            "postgres",
            &format!(
                "CREATE ROLE app LOGIN SUPERUSER {password};\n\
                 CREATE DATABASE shop OWNER app;\n\
                 \\c shop\n\
                 CREATE EXTENSION pg_stat_statements;"
            ),
        )?;
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("PostgreSQL did not stop: {error:#}");
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- last lines of the PostgreSQL log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// A TCP port of loopback that nobody listens on at this moment.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A server program, by the user that may run it.
fn as_server_user(program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    run_as_server_user(&mut command)?;
    Ok(command)
}

/// The same elsewhere: whoever enters a namespace must still be root.
fn as_server_user_at(program: &Path, place: &Place) -> Result<Command> {
    let (uid, gid) = server_user()?.context("only root can start a server in a namespace")?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", place.network)).arg("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
    command.args(["--clear-groups", "--pdeathsig=INT"]).arg(program);
    command.env("LC_ALL", "C.UTF-8").current_dir("/");
    crate::cgroup::enter(&mut command, &place.cgroup)?;
    Ok(command)
}

/// Drops root for `command`, where we are root; for programs that refuse to run as root.
pub fn run_as_server_user(command: &mut Command) -> Result<()> {
    if let Some((uid, gid)) = server_user()? {
        command.uid(uid).gid(gid);
    }
    command.env("LC_ALL", "C.UTF-8").current_dir("/");
    Ok(())
}

/// uid and gid of the package's user; `None` where we are not root and run servers as ourselves.
pub fn server_user() -> Result<Option<(u32, u32)>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let user = nix::unistd::User::from_name("postgres")?
        .context("no user `postgres` on this host: cargo xtask setup installs the package that makes it")?;
    Ok(Some((user.uid.as_raw(), user.gid.as_raw())))
}

/// `fsync=off` and the like: the data is thrown away. Compiling what some drivers ask at their start takes longer than all the
/// rest of a test. Unix socket permissions stay open for the admin connection.
const SETTINGS: [&str; 10] = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "full_page_writes=off",
    "jit=off",
    "max_connections=640",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track_utility=on",
    "timezone=UTC",
    "log_line_prefix=%m [%p] ",
    "superuser_reserved_connections=8",
];
