//! `cargo xtask demo --inbound`: a database host with clients on another host and on itself.
//!
//! Two network namespaces with a cable between them stand for the two hosts. Nothing else of this machine is touched.

use super::steps::{headline, operator, print_output};
use crate::shell::{bold, dim, green};
use anyhow::{Result, ensure};
use governor_tests::database_host::{self, DatabaseHost, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::postgres::Auth;
use governor_tests::{Class, Finished, Options};

pub fn show() -> Result<()> {
    println!("Making two hosts of network namespaces, and a PostgreSQL on one of them …");
    let options = Options {
        more: format!("[[identity.assign]]\naddress = \"{REMOTE_V6}\"\nclass = \"service\"\n"),
        ..Options::default()
    };
    let mut site = DatabaseHost::start("ports = [5432]", Auth::Trust, &options)?;
    println!(
        "The database host is {SERVER_V4} and {SERVER_V6}; its server listens on port 5432 as always. The other host is \
         {REMOTE_V4} and {REMOTE_V6}."
    );

    headline(1, "A client on another host asks: a person until the configuration says more, so masked");
    let sql = "SELECT name, email FROM people ORDER BY id LIMIT 2";
    let secret = site.truth("SELECT email FROM people WHERE id = 1")?;
    let done = remote(&site, SERVER_V4, sql)?.ok()?;
    ensure!(!done.all().contains(&secret), "the client saw {secret}");

    headline(2, "The same host by its IPv6 address, which the configuration assigns to a service: in clear");
    let done = remote(&site, SERVER_V6, sql)?.ok()?;
    ensure!(done.all().contains(&secret), "the service did not get its rows");

    headline(3, "An AI agent on the database host itself, over loopback: known by its process, denied");
    let done = local(&site, Class::Agent, "DROP TABLE orders")?;
    ensure!(!done.status.success(), "the DROP was not denied");

    headline(4, "The server sees its clients, not governor");
    let seen = "SELECT host(client_addr) AS client, client_port > 0 AS port FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let done = remote(&site, SERVER_V6, seen)?.ok()?;
    ensure!(done.out().contains(REMOTE_V6), "the server does not see {REMOTE_V6}");
    println!("{}", dim("So pg_hba.conf goes by the client's own address:"));
    site.postgres.authenticate(&format!("host all all {REMOTE_V4}/32 reject\nhost all all all trust"))?;
    let done = governor_tests::wait::until("the new rules", governor_tests::wait::PATIENCE, || {
        let done = database_host::psql(site.remote("psql", SERVER_V4)?, "SELECT 1")?;
        Ok((!done.status.success()).then_some(done))
    })?;
    prompt("other host", "psql -h 10.77.0.1 shop -c 'SELECT 1'");
    print_output(&done);
    ensure!(done.err().contains("pg_hba.conf rejects"), "the rule took no effect");

    headline(5, "Who it was is on record");
    operator(&site.governor, &["audit", "search", "--event", "session_start", "--limit", "3"])?;

    headline(6, "governor is killed: nobody gets past it");
    site.governor.kill()?;
    let done = remote(&site, SERVER_V6, "SELECT 1")?;
    ensure!(done.err().contains("refused"), "the connection was not refused");

    headline(7, "It is started again and then taken off: the server is as it was");
    site.governor.launch()?;
    site.governor.stop()?;
    let done = remote(&site, SERVER_V6, "SELECT 'direct' AS way")?.ok()?;
    ensure!(done.out().contains("direct"), "the server was not reached");
    drop(site);
    println!("\n{}", green("Both hosts, the server and the agent are gone again."));
    Ok(())
}

fn prompt(who: &str, command: &str) {
    println!("{} {}", dim(&format!("[{who}]$")), bold(command));
}

fn remote(site: &DatabaseHost, server: &str, sql: &str) -> Result<Finished> {
    prompt("other host", &format!("psql -h {server} shop -c {sql:?}"));
    let done = site.remote_psql(server, sql)?;
    print_output(&done);
    Ok(done)
}

fn local(site: &DatabaseHost, class: Class, sql: &str) -> Result<Finished> {
    prompt("database host, as agent", &format!("psql -h 127.0.0.1 shop -c {sql:?}"));
    let done = site.local_psql("127.0.0.1", class, sql)?;
    print_output(&done);
    Ok(done)
}
