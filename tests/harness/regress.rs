//! The server's own regression suite: the SQL that PostgreSQL is tested with, sent by its own driver `pg_regress`.
//!
//! What matters here is not whether a file has its expected result, but that its result through governor is
//! the same, byte for byte, as without. `cargo xtask setup` fetches the files: the distribution's source package
//! has them.

use crate::cgroup::{self, Cgroup, Class};
use crate::postgres::{self, Postgres};
use crate::process;
use crate::programs;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Which of the two suites of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// One session a file; everything the SQL language has.
    Regress,
    /// Several sessions a file, interleaved by their driver: locks, deadlocks, cancels, notifications.
    Isolation,
}

/// What one run left.
#[derive(Debug)]
pub struct Results {
    /// By name of the file: everything that its clients printed.
    pub outputs: BTreeMap<String, Vec<u8>>,
    /// Files that did not have their expected result, by the driver's own account.
    pub unexpected: Vec<String>,
    /// The driver's own words.
    pub said: String,
}

/// Runs `tests`, all of them where none is named, against `server`: from inside the group, or directly.
/// The server must be fresh: files leave roles and databases behind.
pub fn run(
    suite: Suite,
    server: &Postgres,
    inside: Option<(&Cgroup, Class)>,
    tests: &[String],
) -> Result<Results> {
    let stage = Stage::build(server)?;
    let mut command = Command::new(stage.driver(suite)?);
    command
        .arg("--use-existing")
        .args(["--host", "127.0.0.1", "--user", "postgres", "--max-connections", "1"])
        .args(["--port", &server.port().to_string()])
        .args(["--dbname", DATABASE])
        // psql is the one on the PATH: the client is the same for servers of every version.
        .arg(match suite {
            Suite::Regress => "--bindir=".into(),
            Suite::Isolation => format!("--bindir={}", stage.dir.path().join("isolation-bin").display()),
        })
        .arg(format!("--inputdir={}", stage.input(suite).display()))
        .arg(format!("--outputdir={}", stage.output().display()))
        .arg(format!("--dlpath={}", stage.dir.path().join("lib").display()));
    if tests.is_empty() {
        command.arg(format!("--schedule={}", stage.input(suite).join(suite.schedule()).display()));
    }
    command.args(tests);
    for variable in ["PGPORT", "PGHOST", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGPASSWORD"] {
        command.env_remove(variable);
    }
    postgres::run_as_server_user(&mut command)?;
    command.env("LC_ALL", "C").current_dir(stage.output());
    if let Some((group, class)) = inside {
        cgroup::enter(&mut command, &group.client(class))?;
    }
    let done = process::run(command, LIMIT)?;
    let said = done.out();
    // 1 says that some results are not the expected ones.
    if !matches!(done.status.code(), Some(0 | 1)) {
        bail!("{}: {}\n{said}\n{}", suite.program(), done.status, done.err());
    }
    let mut outputs = BTreeMap::new();
    for entry in std::fs::read_dir(stage.output().join("results")).context("the driver left no results")? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "out") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // Errors name files of this run's own directory.
            let own = stage.dir.path().display().to_string();
            outputs.insert(name, replaced(&std::fs::read(&path)?, own.as_bytes(), b"DIRECTORY"));
        }
    }
    if outputs.is_empty() {
        bail!("{} ran nothing:\n{said}", suite.program());
    }
    let unexpected = said.lines().filter_map(failed).map(str::to_owned).collect();
    Ok(Results { outputs, unexpected, said })
}

impl Suite {
    fn program(self) -> &'static str {
        match self {
            Self::Regress => "pg_regress",
            Self::Isolation => "pg_isolation_regress",
        }
    }

    fn schedule(self) -> &'static str {
        match self {
            Self::Regress => "parallel_schedule",
            Self::Isolation => "isolation_schedule",
        }
    }

    /// Where its files are, and its driver below pgxs.
    fn directory(self) -> &'static str {
        match self {
            Self::Regress => "regress",
            Self::Isolation => "isolation",
        }
    }
}

/// The files of the suite where the server's user may read them and write beside them.
struct Stage {
    dir: TempDir,
    pgxs: PathBuf,
}

impl Stage {
    fn build(server: &Postgres) -> Result<Self> {
        let version = major(server)?;
        let source = source(version)?;
        // The suites' drivers are clients: those of the distribution serve every version.
        let library = programs::default_server()?.join("../lib").canonicalize()?;
        let pgxs = library.join("pgxs/src/test");
        let dir = tempfile::Builder::new().prefix("governor-regress-").tempdir()?;
        let stage = Self { dir, pgxs };
        programs::copy_tree(&source, stage.dir.path())?;
        std::fs::create_dir(stage.output())?;
        for contributed in ["autoinc.so", "refint.so"] {
            std::os::unix::fs::symlink(
                library.join(contributed),
                stage.dir.path().join("lib").join(contributed),
            )?;
        }
        // pg_isolation_regress looks for its tester beside the programs that it was told.
        let tester = stage.dir.path().join("isolation-bin");
        std::fs::create_dir(&tester)?;
        std::os::unix::fs::symlink(
            stage.pgxs.join("isolation/isolationtester"),
            tester.join("isolationtester"),
        )?;
        if let Some((uid, gid)) = postgres::server_user()? {
            let owner = format!("{uid}:{gid}");
            let done = Command::new("chown").args(["-R", &owner]).arg(stage.dir.path()).status()?;
            anyhow::ensure!(done.success(), "chown: {done}");
        }
        stage.make_database(server, version)?;
        Ok(stage)
    }

    /// As pg_regress makes it where it may, with the settings that the expected results ask for.
    fn make_database(&self, server: &Postgres, major: u32) -> Result<()> {
        let mut script = format!(
            "CREATE DATABASE {DATABASE} OWNER app TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';\n"
        );
        let known = |setting: &&&str| major >= 14 || !setting.starts_with("compute_query_id");
        for setting in DATABASE_SETTINGS.iter().filter(known) {
            script.push_str(&format!("ALTER DATABASE {DATABASE} SET {setting};\n"));
        }
        server.admin("postgres", &script)?;
        Ok(())
    }

    fn input(&self, suite: Suite) -> PathBuf {
        self.dir.path().join(suite.directory())
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    fn driver(&self, suite: Suite) -> Result<PathBuf> {
        let driver = self.pgxs.join(suite.directory()).join(suite.program());
        if !driver.exists() {
            bail!("this server came without {}", suite.program());
        }
        Ok(driver)
    }
}

/// Major version of a running server.
pub fn major(server: &Postgres) -> Result<u32> {
    let number: u32 = server.admin("postgres", "SHOW server_version_num")?.parse()?;
    Ok(number / 10_000)
}

/// The files that came with this version, else those of the one that is here: other versions answer otherwise
/// than its authors expect, but the same both ways.
fn source(version: u32) -> Result<PathBuf> {
    let own = programs::regress(version);
    let all = std::fs::read_dir(own.parent().unwrap_or(&own)).into_iter().flatten().flatten();
    std::iter::once(own)
        .chain(all.map(|entry| entry.path()))
        .find(|place| place.join("lib/regress.so").exists())
        .context("the server's regression suite is not here: run `cargo xtask setup`")
}

fn replaced(text: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(by);
        rest = from.get(what.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The name in one line of the driver's report, where it says that the result is not the expected one.
fn failed(line: &str) -> Option<&str> {
    let words = line.strip_prefix("test ").or_else(|| line.strip_prefix("     "))?;
    words.contains("FAILED").then(|| words.split_whitespace().next())?
}

/// What the files expect of a server beside the harness's own settings.
pub const SETTINGS: &[&str] = &["max_prepared_transactions=2", "log_min_messages=fatal"];

const DATABASE: &str = "regression";
const LIMIT: Duration = Duration::from_secs(45 * 60);
const DATABASE_SETTINGS: [&str; 7] = [
    "lc_messages TO 'C'",
    "lc_monetary TO 'C'",
    "lc_numeric TO 'C'",
    "lc_time TO 'C'",
    "bytea_output TO 'hex'",
    "timezone_abbreviations TO 'Default'",
    "compute_query_id TO 'regress'",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_files_are_read_from_either_form_of_the_report() {
        assert_eq!(failed("test copy                         ... FAILED      229 ms"), Some("copy"));
        assert_eq!(failed("     sequence                     ... FAILED      229 ms"), Some("sequence"));
        assert_eq!(failed("test copy                         ... ok          229 ms"), None);
        assert_eq!(failed(" 1 of 217 tests FAILED"), None);
    }

    #[test]
    fn every_occurrence_is_replaced() {
        assert_eq!(replaced(b"a /x b /x/c\xff", b"/x", b"D"), b"a D b D/c\xff");
        assert_eq!(replaced(b"", b"/x", b"D"), b"");
    }
}
