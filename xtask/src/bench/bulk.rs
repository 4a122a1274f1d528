//! Rows of bulk data: a large result that is read and thrown away, and COPY both ways.

use super::way::{For, Way};
use anyhow::{Context, Result, ensure};
use governor_tests::postgres::Postgres;
use governor_tests::process;
use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Instant;
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bulk {
    Select,
    CopyOut,
    CopyIn,
}

pub const ROWS: [Bulk; 3] = [Bulk::Select, Bulk::CopyOut, Bulk::CopyIn];

impl Bulk {
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT of 20,000 rows",
            Self::CopyOut => "COPY … TO STDOUT",
            Self::CopyIn => "COPY … FROM STDIN",
        }
    }
}

/// SQL that makes the tables.
pub fn tables(rows: u32) -> String {
    let columns = "SELECT n, md5(n::text) AS a, md5((n + 1)::text) AS b FROM generate_series";
    format!(
        "CREATE UNLOGGED TABLE bulk AS {columns}(1, {rows}) n;
         CREATE UNLOGGED TABLE page AS {columns}(1, 20000) n;
         CREATE UNLOGGED TABLE sink (LIKE bulk);
         ALTER TABLE sink OWNER TO app; GRANT SELECT ON bulk, page TO app; VACUUM ANALYZE bulk, page;"
    )
}

/// What the rows read, made once.
#[derive(Debug)]
pub struct Files {
    dir: TempDir,
    /// Bytes of DataRow messages of the SELECT.
    page_bytes: f64,
}

impl Files {
    pub fn prepare(postgres: &Postgres) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join(SCRIPT), "SELECT n, a, b FROM page;\n")?;
        // Head and count of columns are seven bytes, the length of each value four.
        let asked = "SELECT sum(length(n::text) + length(a) + length(b) + 7 + 3 * 4) FROM page";
        let page_bytes = postgres.admin("shop", asked)?.parse()?;
        let rows = postgres.admin("shop", "COPY (SELECT * FROM bulk LIMIT 500000) TO STDOUT")?;
        let mut input = File::create(dir.path().join(INPUT))?;
        input.write_all(rows.as_bytes())?;
        input.write_all(b"\n")?;
        Ok(Self { dir, page_bytes })
    }
}

/// Megabytes a second.
pub fn measure(way: &Way, row: Bulk, files: &Files, seconds: u32) -> Result<f64> {
    match row {
        Bulk::Select => {
            let script = files.dir.path().join(SCRIPT);
            let script = script.to_str().context("the temporary directory has an odd name")?;
            let (rate, _) = way.pgbench(&["-f", script], 1, For::Seconds(seconds))?;
            Ok(rate * files.page_bytes / 1e6)
        }
        Bulk::CopyOut => copy_out(way),
        Bulk::CopyIn => copy_in(way, files),
    }
}

fn copy_out(way: &Way) -> Result<f64> {
    let mut command = way.program("psql")?;
    command.args(["-X", "-q", "-c", "COPY bulk TO STDOUT"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut child = process::spawn(command, libc::SIGKILL)?;
    let mut output = child.stdout.take().context("psql has no output")?;
    let bytes = std::io::copy(&mut output, &mut std::io::sink())?;
    let status = child.wait()?;
    ensure!(status.success() && bytes > 0, "psql ended with {status} after {bytes} bytes");
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

fn copy_in(way: &Way, files: &Files) -> Result<f64> {
    let mut empty = way.program("psql")?;
    empty.args(["-X", "-q", "-c", "TRUNCATE sink"]);
    process::run(empty, governor_tests::wait::PATIENCE)?.ok()?;
    let input = File::open(files.dir.path().join(INPUT))?;
    let bytes = input.metadata()?.len();
    let mut command = way.program("psql")?;
    command.args(["-X", "-q", "-c", "COPY sink FROM STDIN"]).stdin(input).stdout(Stdio::null());
    let start = Instant::now();
    let status = process::spawn(command, libc::SIGKILL)?.wait()?;
    ensure!(status.success(), "psql ended with {status}");
    Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
}

const SCRIPT: &str = "page.sql";
const INPUT: &str = "bulk.copy";
