//! Unmodified clients inside a captured cgroup.

use crate::cgroup::{self, Cgroup, Class};
use crate::postgres::PASSWORD;
use crate::programs;
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// A client program of PostgreSQL in the group of `class`, told to go to 127.0.0.1 and `port` by environment.
///
/// The environment is otherwise empty: markers of whoever runs the tests must not reach the identity check.
pub fn command(program: &str, group: &Cgroup, class: Class, port: u16) -> Result<Command> {
    let mut command = outside(program, port);
    cgroup::enter(&mut command, &group.client(class))?;
    Ok(command)
}

/// A script run by the Python that has the drivers, outside of any captured group.
pub fn python(script: &Path, port: u16) -> Command {
    let mut python = outside(&programs::python().to_string_lossy(), port);
    python.env("PYTHONDONTWRITEBYTECODE", "1").arg(script);
    python
}

/// A script run by Node.js with its drivers.
pub fn node(script: &Path, port: u16) -> Command {
    let mut node = outside("node", port);
    node.env("NODE_NO_WARNINGS", "1").env("NODE_PATH", programs::node_modules()).arg(script);
    node
}

/// One source file run by Java with pgjdbc.
pub fn java(source: &Path, port: u16) -> Command {
    let mut java = outside("java", port);
    java.args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"]).arg(programs::jdbc()).arg(source);
    java
}

/// The same client outside of any captured group: goes directly to the server.
pub fn outside(program: &str, port: u16) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for (name, value) in [
        ("PATH", programs::search_path()),
        ("LC_ALL", "C.UTF-8"),
        ("HOME", "/nonexistent"),
        ("PGHOST", "127.0.0.1"),
        ("PGUSER", "app"),
        ("PGDATABASE", "shop"),
        ("PGPASSWORD", PASSWORD),
        ("PGSSLMODE", "prefer"),
        ("PGCONNECT_TIMEOUT", "20"),
    ] {
        command.env(name, value);
    }
    command.env("PGPORT", port.to_string());
    command
}

/// psql without its start-up file, answering plain rows, verbose about errors, going on after one.
pub const PSQL_ROWS: &[&str] = &["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose"];
