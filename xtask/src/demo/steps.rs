//! The five steps. Each prints the command as a person would type it, then what it said.

use crate::shell::{blue, bold, dim, green};
use anyhow::{Result, ensure};
use governor_tests::client::PSQL_ROWS;
use governor_tests::{Class, Finished, Governor, Options, Running, Site, wait};

pub fn governor_options() -> Options {
    Options { approval_timeout: "5m", ..Options::default() }
}

pub fn all(site: &Site) -> Result<()> {
    observed(site)?;
    masked(site)?;
    denied(site)?;
    held(site)?;
    proven(site)
}

fn observed(site: &Site) -> Result<()> {
    headline(1, "A service asks: it gets what it always got, and leaves a record");
    let sql = "SELECT name, email FROM people ORDER BY id LIMIT 3";
    let done = psql(site, Class::Service, sql)?.ok()?;
    ensure!(done.out().contains("@example."), "the service did not get its rows");
    governor(site, &["audit", "tail"])?;
    Ok(())
}

fn masked(site: &Site) -> Result<()> {
    headline(2, "An AI agent asks the same database: personal data is masked");
    let done = psql(site, Class::Agent, "SELECT * FROM people ORDER BY id LIMIT 4")?.ok()?;
    let secret = site.truth("SELECT email FROM people WHERE id = 1")?;
    ensure!(!done.all().contains(&secret), "the agent saw {secret}");
    println!(
        "{}",
        dim("Same client, same SQL, same server: what differs is who asked, and the kernel said who.")
    );
    Ok(())
}

fn denied(site: &Site) -> Result<()> {
    headline(3, "The agent tries to drop a table: denied, politely");
    let done = psql(site, Class::Agent, "DROP TABLE orders")?;
    ensure!(!done.status.success() && done.err().contains("ERROR"), "the DROP was not denied");
    ensure!(site.truth("SELECT count(*) > 0 FROM orders")? == "t", "the table is gone");
    println!("{}", green("The table is still there."));
    Ok(())
}

fn held(site: &Site) -> Result<()> {
    headline(4, "The agent deletes rows: held until a person approves, from a second terminal");
    let sql = "DELETE FROM orders WHERE state = 'cancelled'";
    let before = site.truth("SELECT count(*) FROM orders WHERE state = 'cancelled'")?;
    prompt(Class::Agent, &format!("psql shop -c {sql:?}"));
    println!("   {}", dim("(waits)"));
    let waiting = start_psql(site, Class::Agent, sql)?;
    let id = site.governor.wait_for_hold()?;
    governor(site, &["approvals", "list"])?;
    governor(site, &["approvals", "show", &id])?;
    governor(site, &["approvals", "approve", &id])?;
    let done = waiting.finish(wait::PATIENCE)?.ok()?;
    println!("{}", dim("back in the first terminal:"));
    print_output(&done);
    let after = site.truth("SELECT count(*) FROM orders WHERE state = 'cancelled'")?;
    ensure!(after == "0", "{after} of {before} cancelled orders are left");
    Ok(())
}

fn proven(site: &Site) -> Result<()> {
    headline(5, "Everything is on record, and the record can be proven");
    governor(site, &["audit", "search", "--verdict", "deny"])?;
    governor(site, &["audit", "verify"])?;
    Ok(())
}

pub(super) fn headline(number: u32, text: &str) {
    println!("\n{}", blue(&format!("── {number}. {text}")));
}

fn prompt(class: Class, command: &str) {
    println!("{} {}", dim(&format!("[{}]$", class.as_str())), bold(command));
}

fn start_psql(site: &Site, class: Class, sql: &str) -> Result<Running> {
    let mut psql = site.client("psql", class)?;
    // The first entry of the shared options is `-X`: no start-up file of whoever runs this.
    psql.args(PSQL_ROWS.iter().take(1)).args(["-P", "pager=off", "-c", sql]);
    Running::start(psql, &[])
}

fn psql(site: &Site, class: Class, sql: &str) -> Result<Finished> {
    prompt(class, &format!("psql shop -c {sql:?}"));
    let done = start_psql(site, class, sql)?.finish(wait::PATIENCE)?;
    print_output(&done);
    Ok(done)
}

fn governor(site: &Site, args: &[&str]) -> Result<()> {
    operator(&site.governor, args)
}

/// A command of the person who runs governor.
pub(super) fn operator(agent: &Governor, args: &[&str]) -> Result<()> {
    println!("{} {}", dim("[operator]$"), bold(&format!("governor {}", args.join(" "))));
    let done = agent.cli(args)?.ok()?;
    print_output(&done);
    Ok(())
}

pub(super) fn print_output(done: &Finished) {
    for line in done.err().lines().chain(done.out().lines()).filter(|line| !line.is_empty()) {
        println!("   {line}");
    }
}
