//! A container on the database host, whose connections are captured where they are made and where they arrive.

use governor_tests::database_host::{self, DatabaseHost, PORT};
use governor_tests::governor::{field, text};
use governor_tests::held_network::Network;
use governor_tests::pki::Pki;
use governor_tests::{Auth, Class, Finished, Options, client, process, wait};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const HOST: &str = "10.88.0.1";
const CONTAINER: &str = "10.88.0.2";

/// A database host that captures its server's port in both directions, and a container with a cable to it.
struct Site {
    host: DatabaseHost,
    container: Network,
}

impl Site {
    fn start(auth: Auth, options: &Options) -> Self {
        let host = DatabaseHost::start_with("ports = [5432]", auth, options, PORT).unwrap();
        let container = Network::create().unwrap();
        host.host.cable(&container, "to-container", "eth0").unwrap();
        for (network, device, address) in
            [(&host.host, "to-container", HOST), (&container, "eth0", CONTAINER)]
        {
            network.ip(&["address", "add", &format!("{address}/24"), "dev", device]).unwrap();
            network.ip(&["link", "set", device, "up"]).unwrap();
        }
        Self { host, container }
    }

    fn command(&self, class: Class, mode: &str) -> Command {
        let mut psql = client::command("psql", &self.host.group, class, PORT).unwrap();
        psql.env("PGHOST", HOST).env("PGSSLMODE", mode);
        self.container.enter(&mut psql).unwrap();
        psql
    }

    /// Until governor has found the container: before, its connections are refused.
    fn psql(&self, class: Class, mode: &str, sql: &str) -> Finished {
        wait::until("governor to listen in the container", wait::PATIENCE, || {
            let done = database_host::psql(self.command(class, mode), sql)?;
            Ok((!done.err().contains("Operation not permitted")).then_some(done))
        })
        .unwrap()
    }
}

#[test]
fn a_containers_connection_to_a_server_of_its_host_is_governed_once() {
    let site = Site::start(Auth::Trust, &Options::default());
    let governor = &site.host.governor;
    let secret = site.host.truth("SELECT email FROM people WHERE id = 1").unwrap();
    // The container's address is a person's to whoever knows no more: masked, if it was governed a second time.
    let service = site.psql(Class::Service, "disable", "SELECT email FROM people WHERE id = 1").ok().unwrap();
    assert_eq!(service.out().trim(), secret);
    let agent = site.psql(Class::Agent, "disable", "SELECT email FROM people WHERE id = 1").ok().unwrap();
    assert!(!agent.out().contains(&secret), "{}", agent.out());
    let seen = site.psql(Class::Service, "disable", &format!(
        "SELECT client_addr = '{CONTAINER}' AND client_addr = inet_client_addr() FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    ));
    assert_eq!(seen.ok().unwrap().out(), "t\n", "the server sees the container");
    wait::until("three completions", wait::PATIENCE, || {
        Ok((governor.events("completion")?.len() == 3).then_some(()))
    })
    .unwrap();
    let statements = governor.events("statement").unwrap();
    assert_eq!(statements.len(), 3, "each statement is on record once: {statements:?}");
    let masked: u64 =
        governor.events("completion").unwrap().iter().filter_map(|done| field(done, "masked").as_u64()).sum();
    assert_eq!(masked, 1, "and masked once");
    assert!(
        statements.iter().all(|statement| text(statement, "pid") != "0"),
        "by its process: {statements:?}"
    );
    // What arrived at the server's side says what it was, and nothing of a client's.
    let ends = governor.events("session_end").unwrap();
    assert!(ends.iter().any(|end| text(end, "reason") == "hello_own"), "{ends:?}");
    assert_eq!(governor.events("session_decision").unwrap().len(), 3);
    let asked = site.host.metric("governor_hellos_total{outcome=\"own\",way=\"sent\"}").unwrap();
    assert_eq!(asked, 3.0);
    // What the kernel counted is all accounted for.
    wait::until("the sums", wait::PATIENCE, || {
        let status = &governor.json(&["status"])?[0];
        let clients = &status["completeness"]["clients"]["counted"]["connections"];
        Ok((clients.as_u64() >= Some(3)).then_some(()))
    })
    .unwrap();
    assert_eq!(governor.json(&["status"]).unwrap()[0]["completeness"]["mismatches"], 0);
}

#[test]
fn its_cancel_requests_reach_their_statement() {
    let site = Site::start(Auth::Trust, &Options::default());
    site.psql(Class::Service, "disable", "SELECT 1").ok().unwrap();
    let running =
        database_host::psql_running(site.command(Class::Service, "disable"), "SELECT pg_sleep(600)").unwrap();
    wait::until("the statement", wait::PATIENCE, || {
        let count = site.host.truth("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")?;
        Ok((count == "1").then_some(()))
    })
    .unwrap();
    running.signal(libc::SIGINT).unwrap();
    let done = running.finish(wait::PATIENCE).unwrap();
    assert!(done.err().contains("57014"), "{}", done.all());
}

#[test]
fn its_tls_ends_once_and_with_the_servers_own_key() {
    let pki = Pki::new().unwrap();
    pki.server("server", &["db.test", HOST]).unwrap();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", pki.path("server.crt").display()),
        format!("ssl_key_file={}", pki.path("server.key").display()),
    ];
    // They live as long as the program.
    let server_settings = settings.map(|setting| &*setting.leak()).to_vec();
    let site = Site::start(Auth::ScramSha256, &Options { server_settings, ..Options::default() });
    site.psql(Class::Service, "require", "SELECT 1").ok().unwrap();
    let mut psql = site.command(Class::Service, "verify-ca");
    psql.env("PGSSLROOTCERT", pki.root()).env("PGCHANNELBINDING", "require");
    database_host::psql(psql, "SELECT 1").unwrap().ok().unwrap();
    let records = site.host.governor.events("tls").unwrap();
    assert_eq!(records.len(), 2, "{records:?}");
    assert!(records.iter().all(|record| field(record, "tls")["shown"] == "server_key"), "{records:?}");
}

/// Somebody who listens at the host's address within the container; prints the first bytes of each connection.
const IMPOSTOR: &str = r"
import socket
l = socket.create_server(('10.77.0.1', 5432)); print('up', flush=True)
while True:
    c, _ = l.accept(); print(c.recv(4096)[4:8].hex(), flush=True); c.close()
";

#[test]
fn what_a_container_has_at_an_address_of_the_host_is_its_own_affair() {
    // In the container that address is its own: another server, with which the host has nothing to do.
    let site = Site::start(Auth::Trust, &Options::default());
    site.container.ip(&["address", "add", &format!("{}/32", database_host::SERVER_V4), "dev", "lo"]).unwrap();
    let mut impostor = Command::new("python3");
    impostor.args(["-ISc", IMPOSTOR]).stdout(Stdio::piped());
    site.container.enter(&mut impostor).unwrap();
    let mut impostor = process::spawn(impostor, libc::SIGKILL).unwrap();
    let mut lines = BufReader::new(impostor.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let done = wait::until("governor to listen in the container", wait::PATIENCE, || {
        let mut psql = site.command(Class::Service, "disable");
        psql.env("PGHOST", database_host::SERVER_V4);
        let done = database_host::psql(psql, "SELECT 1")?;
        Ok((!done.err().contains("Operation not permitted")).then_some(done))
    })
    .unwrap();
    assert!(!done.status.success(), "{}", done.all());
    // Asked, and no governor: the client's own bytes go where they would have gone without.
    assert_eq!(lines.next().unwrap().unwrap(), "474f5648");
    assert_eq!(lines.next().unwrap().unwrap(), "00030000");
    assert_eq!(
        site.host.truth("SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL").unwrap(),
        "0"
    );
    impostor.kill().unwrap();
    impostor.wait().unwrap();
}
