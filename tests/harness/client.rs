//! Unmodified clients inside a captured cgroup.

use crate::cgroup::{self, Cgroup, Class};
use crate::postgres::PASSWORD;
use anyhow::Result;
use std::process::Command;

/// A client program of PostgreSQL in the group of `class`, told to go to 127.0.0.1 and `port` by environment.
///
/// The environment is otherwise empty: markers of whoever runs the tests must not reach the identity check.
pub fn command(program: &str, group: &Cgroup, class: Class, port: u16) -> Result<Command> {
    let mut command = outside(program, port);
    cgroup::enter(&mut command, &group.client(class))?;
    Ok(command)
}

/// The same client outside of any captured group: goes directly to the server.
pub fn outside(program: &str, port: u16) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for (name, value) in [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
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
