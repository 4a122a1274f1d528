//! `cargo xtask transcripts`: records the sessions in `tests/transcripts` anew.
//!
//! Each driver runs a small program of `tests/transcripts/record` on a fresh server of each version, over a relay that
//! writes down what both sides send. What is recorded is reviewed and committed; the unit tests play it.

use crate::{shell, workspace};
use anyhow::{Context, Result};
use governor_tests::recorder::Recorder;
use governor_tests::{Auth, Postgres, client, model, process, programs, transcript, wait};
use std::path::Path;
use std::process::Command;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only those that are not there
    #[arg(long)]
    missing: bool,
}

pub fn record(options: &Options) -> Result<()> {
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "--package", "governor-tests", "--example", "with_tokio_postgres"]);
    shell::run(&mut build)?;
    let place = workspace::root().join("tests/transcripts");
    for version in VERSIONS {
        let directory = place.join(version.to_string());
        let file = |driver: &str| directory.join(format!("{driver}.transcript"));
        let wanted = |driver: &&str| !options.missing || !file(driver).exists();
        if !DRIVERS.iter().any(wanted) {
            continue;
        }
        // SCRAM since its messages are the longest; what it proves is the harness's own password.
        let server = match Postgres::start_version(Some(version), Auth::ScramSha256, &["max_connections=40"])
        {
            Ok(server) => server,
            Err(error) => {
                println!("PostgreSQL {version}: {error:#}; left out");
                continue;
            }
        };
        server.admin("shop", model::sql::SCHEMA)?;
        server.admin("shop", PGBENCH)?;
        std::fs::create_dir_all(&directory)?;
        for driver in DRIVERS.into_iter().filter(wanted) {
            let recorder = Recorder::start(server.port())?;
            let Some(command) = command(driver, recorder.port(), &place.join("record")) else { continue };
            let done = process::run(command, wait::PATIENCE)?;
            let recorded = recorder.finish()?;
            // psql ends with the status of its last error; what matters is that it got to the end.
            if driver != "psql" {
                done.ok().with_context(|| format!("{driver} on PostgreSQL {version}"))?;
            }
            let connections =
                recorded.iter().map(|chunks| transcript::messages(chunks)).collect::<Result<Vec<_>>>()?;
            let text = transcript::to_text(&connections);
            println!(
                "PostgreSQL {version}, {driver}: {} connections, {} bytes",
                connections.len(),
                text.len()
            );
            std::fs::write(file(driver), text)?;
        }
    }
    Ok(())
}

/// The driver's program, told to connect to `port`; `None` where it is not installed.
fn command(driver: &str, port: u16, sources: &Path) -> Option<Command> {
    let outside = |program: &str| {
        let mut command = client::outside(program, port);
        command.env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
        command
    };
    let python = programs::python();
    Some(match driver {
        "psql" => {
            let mut psql = outside("psql");
            psql.args(["-X", "-q", "-f"]).arg(sources.join("psql.sql"));
            psql
        }
        "psycopg" | "asyncpg" | "pg8000" if python.exists() => {
            let mut command = outside(&python.to_string_lossy());
            command.arg(sources.join(format!("with_{driver}.py")));
            command
        }
        "dbd-pg" if programs::perl_driver().exists() => {
            let mut perl = outside("perl");
            perl.arg(sources.join("with_dbd_pg.pl"));
            perl
        }
        "tokio-postgres" => outside(&programs::tools().with_file_name(TOKIO_POSTGRES).to_string_lossy()),
        "node-postgres" if programs::node_modules().exists() => {
            let mut node = outside("node");
            node.env("NODE_PATH", programs::node_modules()).arg(sources.join("with_node.js"));
            node
        }
        "pgjdbc" if programs::jdbc().exists() => {
            let mut java = outside("java");
            java.arg("-XX:TieredStopAtLevel=1")
                .arg("-cp")
                .arg(programs::jdbc())
                .arg(sources.join("Jdbc.java"));
            java
        }
        _ => {
            let mode = driver.strip_prefix("pgbench-")?;
            let mut pgbench = outside("pgbench");
            pgbench.args([
                "--no-vacuum",
                "--client=1",
                "--transactions=4",
                "--random-seed=1",
                "--protocol",
                mode,
            ]);
            pgbench
        }
    })
}

const VERSIONS: [u32; 7] = [12, 13, 14, 15, 16, 17, 18];
const DRIVERS: [&str; 11] = [
    "psql",
    "psycopg",
    "asyncpg",
    "pg8000",
    "node-postgres",
    "pgjdbc",
    "tokio-postgres",
    "dbd-pg",
    "pgbench-simple",
    "pgbench-extended",
    "pgbench-prepared",
];
/// Where cargo puts it, below its target directory.
const TOKIO_POSTGRES: &str = "debug/examples/with_tokio_postgres";
/// What `pgbench --initialize` makes, in small.
const PGBENCH: &str = "
    CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
    CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
    CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
    CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
    INSERT INTO pgbench_branches VALUES (1, 0);
    INSERT INTO pgbench_tellers SELECT n, 1, 0 FROM generate_series(1, 10) AS n;
    INSERT INTO pgbench_accounts SELECT n, 1, 0 FROM generate_series(1, 100000) AS n;";
