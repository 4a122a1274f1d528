//! HAProxy and pgbouncer as plain relays to one server, in their usual minimal configuration.

use crate::shell;
use anyhow::{Context, Result, bail};
use governor_tests::{postgres, process, wait};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A running relay; ends with its owner.
#[derive(Debug)]
pub struct Peer {
    pub port: u16,
    child: Child,
    _dir: TempDir,
}

impl Peer {
    pub fn haproxy(server: u16) -> Result<Self> {
        let port = postgres::free_port()?;
        let config = format!(
            "global\n  maxconn 5000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             listen postgres\n  bind 127.0.0.1:{port}\n  server one 127.0.0.1:{server}\n"
        );
        Self::start("haproxy", port, &config, &["-db", "-f"])
    }

    pub fn pgbouncer(server: u16) -> Result<Self> {
        let port = postgres::free_port()?;
        let config = format!(
            "[databases]\nshop = host=127.0.0.1 port={server} dbname=shop user=app\n\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = session\n\
             max_client_conn = 4000\ndefault_pool_size = 2100\nlog_connections = 0\nlog_disconnections = 0\n\
             ignore_startup_parameters = extra_float_digits\n"
        );
        Self::start("pgbouncer", port, &config, &[])
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `args` come before the path of the configuration. Runs as the database's user: pgbouncer refuses root.
    fn start(program: &str, port: u16, config: &str, args: &[&str]) -> Result<Self> {
        let path =
            shell::find(program).with_context(|| format!("no {program}: cargo xtask setup --bench"))?;
        let dir = tempfile::Builder::new().prefix("governor-bench-").tempdir()?;
        if let Some((uid, gid)) = postgres::server_user()? {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid))?;
        }
        let file = dir.path().join("peer.conf");
        std::fs::write(&file, config)?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let mut command = Command::new(path);
        postgres::run_as_server_user(&mut command)?;
        command.args(args).arg(&file).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = process::spawn(command, libc::SIGTERM)?;
        wait::until(program, wait::PATIENCE, || {
            if let Some(status) = child.try_wait()? {
                let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                bail!("{program} ended at start ({}):\n{log}", process::describe(status));
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
        })?;
        Ok(Self { port, child, _dir: dir })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        process::stop(&mut self.child, libc::SIGTERM, std::time::Duration::from_secs(5)).ok();
    }
}
