//! Real drivers on real servers: what each prints is the same with and without governor.
//!
//! One program a driver, in its own language, below `drivers/`; all do the same kinds of work and print nothing
//! that differs from run to run. Each runs directly and governed against the same data made anew, and both
//! transcripts must be equal byte by byte. `docs/compatibility.md` has the table.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "drivers/on_a_database_host.rs"]
mod on_a_database_host;
#[path = "drivers/with_tokio_postgres.rs"]
mod with_tokio_postgres;

use governor_tests::governor::{field, text};
use governor_tests::pki::Pki;
use governor_tests::postgres::PASSWORD;
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::{Auth, Class, Governor, Options, Running, Site, cgroup, client, programs, regress};
use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    Psql,
    Psycopg,
    Asyncpg,
    Pg8000,
    NodePostgres,
    Pgjdbc,
    DbdPg,
    TokioPostgres,
}

/// Where a run's connections go: straight to the server, or through governor as a client of some class.
#[derive(Clone, Copy, Debug)]
enum Way {
    Direct,
    Governed(Class),
}

/// The work that is compared, or the table that an agent may not see in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Everything,
    Masked,
}

#[test]
fn psql_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::Psql);
}

#[test]
fn psycopg_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::Psycopg);
}

#[test]
fn asyncpg_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::Asyncpg);
}

#[test]
fn pg8000_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::Pg8000);
}

#[test]
fn node_postgres_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::NodePostgres);
}

#[test]
fn pgjdbc_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::Pgjdbc);
}

#[test]
fn dbd_pg_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::DbdPg);
}

#[test]
fn tokio_postgres_is_the_same_and_masked_for_an_agent() {
    transparent_and_masked(Driver::TokioPostgres);
}

#[test]
fn every_driver_is_the_same_on_server_13() {
    every_driver_on(13);
}

#[test]
fn every_driver_is_the_same_on_server_16() {
    every_driver_on(16);
}

#[test]
fn every_driver_is_the_same_on_server_17() {
    every_driver_on(17);
}

#[test]
fn every_driver_is_the_same_on_server_18() {
    every_driver_on(18);
}

/// TLS that every driver verifies in full, and SCRAM bound to it where the driver can.
#[test]
fn every_driver_is_the_same_over_tls() {
    let pki = Pki::new().unwrap();
    pki.server("server", &["127.0.0.1"]).unwrap();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", pki.path("server.crt").display()),
        format!("ssl_key_file={}", pki.path("server.key").display()),
    ];
    // The harness takes settings that live as long as the program.
    let server_settings = settings.map(|setting| &*setting.leak()).to_vec();
    let site = Site::with(Auth::ScramSha256, &Options { server_settings, ..Options::default() }).unwrap();
    site.postgres.authenticate("hostssl all all 127.0.0.1/32 scram-sha-256").unwrap();
    // tokio-postgres comes without TLS here.
    let drivers = Driver::ALL.into_iter().filter(|driver| *driver != Driver::TokioPostgres);
    let mut sessions = 0;
    for driver in drivers.filter(|driver| !driver.is_missing()) {
        let direct = run_with(driver, &site, Way::Direct, Work::Everything, &secured(&pki));
        let governed =
            run_with(driver, &site, Way::Governed(Class::Service), Work::Everything, &secured(&pki));
        assert_same(driver, &direct, &governed);
        let records = site.governor.events("tls").unwrap();
        assert!(records.len() > sessions, "{driver:?} came without TLS");
        for record in &records[sessions..] {
            assert_eq!(field(record, "tls")["shown"], "server_key", "{driver:?} {record}");
        }
        sessions = records.len();
    }
    assert_recorded(&site.governor);
}

/// What libpq and the programs read of the environment.
fn secured(pki: &Pki) -> Vec<(&'static str, String)> {
    vec![
        ("PGSSLMODE", "verify-full".into()),
        ("PGSSLROOTCERT", pki.root().to_string_lossy().into_owned()),
        ("PGCHANNELBINDING", "require".into()),
    ]
}

/// The distribution's server, with SCRAM: services under the built-in policies, an agent that is only observed,
/// and an agent under the built-in policies, who must not see personal data.
fn transparent_and_masked(driver: Driver) {
    if driver.is_missing() {
        return;
    }
    let mut site = Site::with(Auth::ScramSha256, &Options::default()).unwrap();
    let direct = run(driver, &site, Way::Direct, Work::Everything);
    assert!(
        direct.contains("goes on") || driver != Driver::Psql,
        "the program did not get to its end:\n{direct}"
    );
    assert_same(driver, &direct, &run(driver, &site, Way::Governed(Class::Service), Work::Everything));
    assert_recorded(&site.governor);
    assert_masked(&site, &run(driver, &site, Way::Governed(Class::Agent), Work::Masked));

    site.governor.stop().unwrap();
    let observe = Options { profile: Some("observe"), ..Options::default() };
    site.governor = Governor::start(&site.group, site.postgres.port(), &observe).unwrap();
    assert_same(driver, &direct, &run(driver, &site, Way::Governed(Class::Agent), Work::Everything));
    assert_recorded(&site.governor);
}

fn every_driver_on(version: u32) {
    if programs::missing(&format!("PostgreSQL {version}"), &programs::server_below_tools(version)) {
        return;
    }
    let options = Options { server_version: Some(version), ..Options::default() };
    let site = Site::with(Auth::Trust, &options).unwrap();
    assert_eq!(regress::major(&site.postgres).unwrap(), version);
    for driver in Driver::ALL.into_iter().filter(|driver| !driver.is_missing()) {
        let direct = run(driver, &site, Way::Direct, Work::Everything);
        assert_same(driver, &direct, &run(driver, &site, Way::Governed(Class::Service), Work::Everything));
        if driver == Driver::Psycopg {
            assert_masked(&site, &run(driver, &site, Way::Governed(Class::Agent), Work::Masked));
        }
    }
    assert_recorded(&site.governor);
}

/// What the driver's program printed, in either stream.
fn run(driver: Driver, site: &Site, way: Way, work: Work) -> String {
    run_with(driver, site, way, work, &[])
}

fn run_with(driver: Driver, site: &Site, way: Way, work: Work, environment: &[(&str, String)]) -> String {
    if work == Work::Everything {
        site.truth(include_str!("drivers/setup.sql")).unwrap();
    }
    if driver == Driver::TokioPostgres {
        return in_this_process(site, way, work);
    }
    let mut command = driver.command(site.postgres.port(), work);
    for (name, value) in environment {
        command.env(name, value);
    }
    if let Way::Governed(class) = way {
        cgroup::enter(&mut command, &site.group.client(class)).unwrap();
    }
    transcript(command, site.postgres.port()).unwrap_or_else(|error| panic!("{driver:?}, {way:?}: {error:#}"))
}

/// What a program prints that must end well, in either stream, without process ids and the port.
fn transcript(command: Command, port: u16) -> anyhow::Result<String> {
    let done = Running::start(command, &[])?.finish(LIMIT)?.ok()?;
    let all = format!("{}\n-- stderr\n{}", done.out(), done.err());
    Ok(without_pids(&all).replace(&format!("port {port}"), "port PORT"))
}

fn in_this_process(site: &Site, way: Way, work: Work) -> String {
    let mut config = tokio_postgres::Config::new();
    config.user("app").password(PASSWORD).dbname("shop").application_name("driver test");
    let group = match way {
        // governor's own group is not captured: from there the way is direct.
        Way::Direct => site.group.agent_host(),
        Way::Governed(class) => site.group.client(class),
    };
    // A socket lives as long as the process that made it for us.
    let sockets = RefCell::new(Vec::new());
    let dial = || {
        let socket = RemoteSocket::connect(&group, site.server_address())?;
        let stream = socket.stream.try_clone()?;
        sockets.borrow_mut().push(socket);
        Ok(stream)
    };
    let out = match work {
        Work::Everything => with_tokio_postgres::transcript(&dial, &config),
        Work::Masked => with_tokio_postgres::masked(&dial, &config),
    };
    out.unwrap_or_else(|error| panic!("tokio-postgres, {way:?}: {error:#}"))
}

impl Driver {
    const ALL: [Driver; 8] = [
        Driver::Psql,
        Driver::Psycopg,
        Driver::Asyncpg,
        Driver::Pg8000,
        Driver::NodePostgres,
        Driver::Pgjdbc,
        Driver::DbdPg,
        Driver::TokioPostgres,
    ];

    fn is_missing(self) -> bool {
        let needed = match self {
            Self::Psql | Self::TokioPostgres => return false,
            Self::Psycopg | Self::Asyncpg | Self::Pg8000 => programs::python(),
            Self::NodePostgres => programs::node_modules(),
            Self::Pgjdbc => programs::jdbc(),
            Self::DbdPg => programs::perl_driver(),
        };
        programs::missing(&format!("{self:?}"), &needed)
    }

    fn command(self, port: u16, work: Work) -> Command {
        let source = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers").join(name);
        let program = |program: &Path| client::outside(&program.to_string_lossy(), port);
        let mut command = match self {
            Self::Psql => {
                let mut psql = program(Path::new("psql"));
                psql.args(["-X", "-v", "FETCH_COUNT=0"]);
                match work {
                    Work::Everything => psql.arg("-f").arg(source("with_psql.sql")),
                    Work::Masked => {
                        for command in MASKED_BY_PSQL {
                            psql.args(["-c", command]);
                        }
                        &mut psql
                    }
                };
                return psql;
            }
            Self::Psycopg => client::python(&source("with_psycopg.py"), port),
            Self::Asyncpg => client::python(&source("with_asyncpg.py"), port),
            Self::Pg8000 => client::python(&source("with_pg8000.py"), port),
            Self::NodePostgres => client::node(&source("with_node.js"), port),
            Self::Pgjdbc => client::java(&source("Jdbc.java"), port),
            Self::DbdPg => {
                let mut perl = program(Path::new("/usr/bin/perl"));
                perl.arg(source("dbd_pg.pl"));
                perl
            }
            Self::TokioPostgres => unreachable!("runs in this process"),
        };
        if work == Work::Masked {
            command.arg("masked");
        }
        command
    }
}

fn assert_same(driver: Driver, direct: &str, governed: &str) {
    if direct == governed {
        return;
    }
    let (direct, governed): (Vec<&str>, Vec<&str>) = (direct.lines().collect(), governed.lines().collect());
    for n in 0..direct.len().max(governed.len()) {
        let (a, b) = (direct.get(n), governed.get(n));
        assert!(a == b, "{driver:?} differs in line {}\n  direct   {a:.600?}\n  governed {b:.600?}", n + 1);
    }
    panic!("{driver:?} differs in how its lines end");
}

/// It really went through: the statements are on record.
fn assert_recorded(governor: &Governor) {
    let statements = governor.events("statement").unwrap();
    for wanted in ["driver.fails()", "driver.says(", "driver.copied"] {
        assert!(
            statements.iter().any(|record| text(record, "text").contains(wanted)),
            "no record of {wanted}"
        );
    }
    assert!(statements.len() > 60, "{} records", statements.len());
}

/// No personal value of the table is in what an agent's driver decoded, and what is not personal is.
fn assert_masked(site: &Site, seen: &str) {
    assert!(seen.contains("Lisbon") && seen.contains("Osaka"), "the rows did not arrive:\n{seen:.2000}");
    let values = site.truth("SELECT unnest(ARRAY[name, email, phone, ssn, iban]) FROM people").unwrap();
    let clear: Vec<&str> = values.lines().filter(|value| seen.contains(value)).collect();
    assert!(clear.is_empty(), "in clear: {clear:?}");
}

/// psql names the process that sent a notification.
fn without_pids(text: &str) -> String {
    let Some((before, after)) = text.split_once("with PID ") else { return text.to_owned() };
    format!("{before}with PID N{}", without_pids(after.trim_start_matches(|c: char| c.is_ascii_digit())))
}

const MASKED_BY_PSQL: [&str; 8] = [
    "SELECT * FROM people ORDER BY id",
    "TABLE cards",
    "SELECT array_agg(email), array_agg(birth_date), ARRAY[p], p FROM people p GROUP BY p.id ORDER BY p.id",
    "COPY people TO STDOUT",
    "COPY people (city, email, ssn) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *)",
    "COPY people TO STDOUT (FORMAT binary)",
    "\\copy (SELECT city, name, iban FROM people ORDER BY id) TO STDOUT CSV DELIMITER '5'",
    "\\copy people (id, city) TO STDOUT",
];
const LIMIT: Duration = Duration::from_secs(120);
