//! A database host: whoever arrives at the server is governed, and the server sees them all the same.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "inbound/counted.rs"]
mod counted;
#[path = "inbound/faults.rs"]
mod faults;
#[path = "inbound/open.rs"]
mod open;
#[path = "inbound/passes.rs"]
mod passes;
#[path = "inbound/units.rs"]
mod units;
#[path = "inbound/ways.rs"]
mod ways;

use governor_tests::database_host::{
    self, DatabaseHost, PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6, psql_running,
};
use governor_tests::governor::{field, text};
use governor_tests::pki::Pki;
use governor_tests::{Auth, Class, Options, Running, process, wait};
use std::io::{BufRead, BufReader, Read};

const PORTS: &str = "ports = [5432]";
/// What the server says of this session's client: all true. (Addresses themselves are personal data to governor.)
fn sees(client: &str) -> String {
    format!(
        "SELECT inet_client_addr() = '{client}' AND client_addr = inet_client_addr() AND client_port = inet_client_port() \
         FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
}

fn site(inbound: &str) -> DatabaseHost {
    DatabaseHost::start(inbound, Auth::Trust, &Options::default()).unwrap()
}

#[test]
fn remote_clients_are_governed_and_the_server_sees_their_address() {
    let site = site(PORTS);
    for (server, client) in [(SERVER_V4, REMOTE_V4), (SERVER_V6, REMOTE_V6)] {
        let seen = site.remote_psql(server, &sees(client)).unwrap().ok().unwrap().out();
        assert_eq!(seen, "t\n", "{server}");
        // A person until the configuration says more: masked.
        let secret = site.truth("SELECT email FROM people WHERE id = 1").unwrap();
        let done = site.remote_psql(server, "SELECT email FROM people WHERE id = 1").unwrap().ok().unwrap();
        assert!(!done.all().contains(&secret), "{}", done.all());
        let start = site
            .governor
            .wait_for_record("session_start", |record| field(record, "client")["address"] == client)
            .unwrap();
        let principal = field(&start, "principal");
        assert_eq!((principal["class"].as_str(), principal["user"].as_str()), (Some("person"), Some(client)));
        assert_eq!(principal["remote"]["address"], client);
        assert_eq!(field(&start, "destination")["address"], server);
        assert_eq!(field(&start, "destination")["port"], PORT);
    }
    // What the server logs and what governor records is the same port.
    let port = site.remote_psql(SERVER_V4, "SELECT inet_client_port()").unwrap().ok().unwrap().out();
    let wanted: u64 = port.trim().parse().unwrap();
    let start = site
        .governor
        .wait_for_record("session_start", |record| field(record, "client")["port"] == wanted)
        .unwrap();
    assert_eq!(field(&start, "client")["address"], REMOTE_V4);
}

/// The lines of `log_connections` name the clients, by the address and port that governor records.
#[test]
fn the_servers_log_has_its_clients_own_addresses_and_ports() {
    let options = Options { server_settings: vec!["log_connections=on"], ..Options::default() };
    let site = DatabaseHost::start(PORTS, Auth::Trust, &options).unwrap();
    let before = site.postgres.log().len();
    for server in [SERVER_V4, SERVER_V6] {
        site.remote_psql(server, "SELECT 1").unwrap().ok().unwrap();
    }
    for server in ["127.0.0.1", "::1", SERVER_V4] {
        site.local_psql(server, Class::Service, "SELECT 1").unwrap().ok().unwrap();
    }
    let log = site.postgres.log();
    let received = log[before..].lines().filter_map(|line| line.split_once("connection received: host="));
    let mut logged: Vec<String> = received
        .map(|(_, client)| client.trim().replacen(" port=", " ", 1))
        .filter(|client| client != "[local]")
        .collect();
    let starts = site.governor.events("session_start").unwrap();
    let recorded = starts.iter().map(|start| field(start, "client"));
    let mut recorded: Vec<String> = recorded
        .map(|client| format!("{} {}", client["address"].as_str().unwrap(), client["port"].as_u64().unwrap()))
        .collect();
    for (address, count) in
        [(REMOTE_V4, 1), (REMOTE_V6, 1), ("127.0.0.1", 1), ("::1", 1), (SERVER_V4, 1), (SERVER_V6, 0)]
    {
        let found = recorded.iter().filter(|client| client.starts_with(&format!("{address} "))).count();
        assert_eq!(found, count, "{address}: {recorded:?}");
    }
    logged.sort();
    recorded.sort();
    assert_eq!(logged, recorded, "{}", &log[before..]);
}

#[test]
fn local_clients_are_known_by_their_process_whatever_address_they_dial() {
    let site = site(PORTS);
    for server in ["127.0.0.1", "::1", SERVER_V4, SERVER_V6, "127.0.0.9"] {
        // Who dials another loopback address comes from 127.0.0.1, as without governor.
        let client = if server == "127.0.0.9" { "127.0.0.1" } else { server };
        let seen = site.local_psql(server, Class::Service, &sees(client)).unwrap().ok().unwrap().out();
        assert_eq!(seen, "t\n", "{server}");
    }
    let starts = site.governor.events("session_start").unwrap();
    assert_eq!(starts.len(), 5);
    for start in &starts {
        let principal = field(start, "principal");
        assert_eq!(principal["class"], "service", "{start}");
        assert!(principal["pid"].as_u64().unwrap() > 0 && principal["remote"].is_null(), "{start}");
        assert!(principal["executable"].as_str().unwrap().contains("psql"), "{start}");
    }
    let denied = site.local_psql("127.0.0.1", Class::Agent, "DROP TABLE orders").unwrap();
    assert!(denied.err().contains("ERROR"), "{}", denied.all());
    assert_eq!(site.truth("SELECT count(*) > 0 FROM orders").unwrap(), "t");
}

#[test]
fn a_local_process_that_nobody_attests_is_closed() {
    let site = site(PORTS);
    // On the database host, but in no group of `clients`: as a socket that was made elsewhere.
    let mut psql = governor_tests::client::outside("psql", PORT);
    psql.env("PGHOST", "127.0.0.1");
    site.host.enter(&mut psql).unwrap();
    let done = governor_tests::database_host::psql(psql, "SELECT 1").unwrap();
    assert!(!done.status.success(), "{}", done.all());
    assert!(site.governor.log().contains("its process is not known"), "{}", site.governor.log());
    assert_eq!(site.governor.events("session_start").unwrap().len(), 0);
}

#[test]
fn pg_hba_decides_by_the_real_address() {
    let site = site(PORTS);
    site.postgres
        .authenticate(&format!(
            "host all all {REMOTE_V4}/32 reject\nhost all all {REMOTE_V6}/128 reject\nhost all all all trust"
        ))
        .unwrap();
    for (server, client) in [(SERVER_V4, REMOTE_V4), (SERVER_V6, REMOTE_V6)] {
        let refused = wait::until("the new rules", wait::PATIENCE, || {
            let done = site.remote_psql(server, "SELECT 1")?;
            Ok((!done.status.success()).then_some(done))
        })
        .unwrap();
        let expected = format!("pg_hba.conf rejects connection for host \"{client}\"");
        assert!(refused.err().contains(&expected), "{}", refused.err());
        site.local_psql(server, Class::Service, "SELECT 1").unwrap().ok().unwrap();
    }
}

#[test]
fn nobody_gets_past_governor_and_without_it_everybody_is_refused_at_once() {
    let mut site = site(PORTS);
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    site.governor.kill().unwrap();
    for server in [SERVER_V4, SERVER_V6] {
        let refused = site.remote_psql(server, "SELECT 1").unwrap();
        assert!(refused.err().contains("Connection refused"), "{}", refused.all());
    }
    for class in [Class::Service, Class::Agent] {
        let refused = site.local_psql("127.0.0.1", class, "SELECT 1").unwrap();
        assert!(refused.err().contains("Connection refused"), "{}", refused.all());
    }
    site.governor.launch().unwrap();
    assert_eq!(site.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out(), "t\n");
    // A clean stop takes everything off.
    site.governor.stop().unwrap();
    assert_eq!(site.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out(), "t\n");
    assert_eq!(site.truth("SELECT 1").unwrap(), "1");
}

#[test]
fn a_server_that_restarts_in_another_cgroup_is_found_again() {
    let mut site = site(PORTS);
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    site.postgres.stop().unwrap();
    let down = site.remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(!down.status.success(), "{}", down.all());
    // As systemd does: the unit's group is removed and made anew.
    let group = site.group.path().join("server");
    wait::until("the group to be empty", wait::PATIENCE, || Ok(std::fs::remove_dir(&group).ok())).unwrap();
    std::fs::create_dir(&group).unwrap();
    site.postgres.start_again(Auth::Trust, &["listen_addresses=*"]).unwrap();
    for _ in 0..3 {
        let seen = site.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out();
        assert_eq!(seen, "t\n");
    }
}

#[test]
fn a_server_is_found_by_its_cgroup_alone_and_a_stranger_on_its_port_gets_nothing() {
    let site = DatabaseHost::start("cgroup = \"GROUP/server\"", Auth::Trust, &Options::default()).unwrap();
    assert_eq!(site.remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out(), "t\n");
    assert!(site.governor.log().contains("captures the connections that arrive for this server"));
    assert_eq!(site.governor.events("session_start").unwrap().len(), 1);
}

#[test]
fn a_cancel_request_from_another_host_reaches_its_statement() {
    let site = site(PORTS);
    let running = psql_running(site.remote("psql", SERVER_V4).unwrap(), "SELECT pg_sleep(600)").unwrap();
    wait::until("the statement", wait::PATIENCE, || {
        Ok((site.truth("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")? == "1")
            .then_some(()))
    })
    .unwrap();
    // psql sends a cancel request on a connection of its own.
    running.signal(libc::SIGINT).unwrap();
    let done = running.finish(wait::PATIENCE).unwrap();
    assert!(done.err().contains("57014"), "{}", done.all());
}

#[test]
fn classes_and_groups_are_assigned_by_address() {
    let more = format!(
        "[[identity.assign]]\naddress = \"{REMOTE_V4}/31\"\nclass = \"service\"\ngroups = [\"apps\"]\n\
         [[identity.assign]]\naddress = \"{REMOTE_V6}\"\nclass = \"agent\"\n"
    );
    let policy = format!(
        "@id(\"no-drop\")\nforbid (principal, action == Governor::Action::\"drop\", resource)\n\
         when {{ principal has address && principal.address.isInRange(ip(\"{REMOTE_V4}/32\")) }};"
    );
    let options = Options { more, policies: vec![("remote.cedar".into(), policy)], ..Options::default() };
    let site = DatabaseHost::start(PORTS, Auth::Trust, &options).unwrap();
    let secret = site.truth("SELECT email FROM people WHERE id = 1").unwrap();
    let ask = "SELECT email FROM people WHERE id = 1";
    assert!(site.remote_psql(SERVER_V4, ask).unwrap().ok().unwrap().out().contains(&secret));
    assert!(!site.remote_psql(SERVER_V6, ask).unwrap().ok().unwrap().out().contains(&secret));
    let starts = site.governor.events("session_start").unwrap();
    let classes: Vec<&str> =
        starts.iter().map(|start| field(start, "principal")["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["service", "agent"]);
    assert_eq!(field(&starts[0], "principal")["groups"], serde_json::json!(["apps"]));
    let denied = site.remote_psql(SERVER_V4, "DROP TABLE orders").unwrap();
    assert!(denied.err().contains("no-drop") || denied.err().contains("ERROR"), "{}", denied.all());
    let record =
        site.governor.wait_for_record("statement", |record| text(record, "verdict") == "deny").unwrap();
    assert!(record.to_string().contains("no-drop"), "{record}");
}

/// A database host whose server speaks TLS, and asks for client certificates.
fn secure(more: &str) -> (DatabaseHost, Pki) {
    let pki = Pki::new().unwrap();
    pki.server("server", &["db.test", SERVER_V4]).unwrap();
    pki.client("billing").unwrap();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", pki.path("server.crt").display()),
        format!("ssl_key_file={}", pki.path("server.key").display()),
        format!("ssl_ca_file={}", pki.root().display()),
    ];
    // They live as long as the program.
    let settings = settings.map(|setting| &*setting.leak()).to_vec();
    let more = format!("[tls]\nupstream_roots = [{0:?}]\nclient_roots = [{0:?}]\n{more}", pki.root());
    let options = Options { server_settings: settings, more, ..Options::default() };
    (DatabaseHost::start(PORTS, Auth::ScramSha256, &options).unwrap(), pki)
}

#[test]
fn tls_is_with_the_servers_own_key_and_channel_binding_holds() {
    let (site, pki) = secure("");
    for server in [SERVER_V4, SERVER_V6] {
        let mut psql = site.remote("psql", server).unwrap();
        psql.env("PGSSLMODE", "verify-ca")
            .env("PGSSLROOTCERT", pki.root())
            .env("PGCHANNELBINDING", "require");
        let who = format!(
            "SELECT ssl AND client_addr = inet_client_addr() AND client_addr = '{}' \
             FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE pid = pg_backend_pid()",
            if server == SERVER_V4 { REMOTE_V4 } else { REMOTE_V6 }
        );
        assert_eq!(database_host::psql(psql, &who).unwrap().ok().unwrap().out(), "t\n", "{server}");
    }
    let shown: Vec<String> = site
        .governor
        .events("tls")
        .unwrap()
        .iter()
        .map(|record| field(record, "tls")["shown"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(shown, ["server_key", "server_key"]);
}

#[test]
fn a_clients_certificate_has_a_say_in_who_it_is() {
    let (site, pki) = secure("[[identity.assign]]\ncertificate = \"CN=billing\"\nclass = \"service\"\n");
    let secret = site.truth("SELECT email FROM people WHERE id = 1").unwrap();
    let stranger = Pki::new().unwrap();
    stranger.client("billing").unwrap();
    let ask = |certificates: Option<&Pki>| {
        let mut psql = site.remote("psql", SERVER_V4).unwrap();
        psql.env("PGSSLMODE", "require");
        if let Some(of) = certificates {
            psql.env("PGSSLCERT", of.path("billing.crt")).env("PGSSLKEY", of.path("billing.key"));
        }
        database_host::psql(psql, "SELECT email FROM people WHERE id = 1").unwrap().ok().unwrap().out()
    };
    assert!(ask(Some(&pki)).contains(&secret), "a service by its certificate");
    assert!(!ask(None).contains(&secret), "a person without one");
    assert!(!ask(Some(&stranger)).contains(&secret), "a certificate that anybody can make");
    let records = site.governor.events("tls").unwrap();
    let principals: Vec<&serde_json::Value> =
        records.iter().map(|record| field(record, "principal")).collect();
    assert_eq!(principals[0]["class"], "service");
    assert_eq!(principals[0]["remote"]["certificate"]["subject"], "CN=billing");
    assert!(principals[1].is_null());
    assert_eq!(principals[2]["class"], "person");
    assert_eq!(principals[2]["remote"]["certificate"]["verified"], false);
    let statement = site.governor.wait_for_record("statement", |_| true).unwrap();
    assert_eq!(text(&statement, "class"), "service");
}

#[test]
fn a_stranger_on_the_servers_port_gets_nothing() {
    let mut site =
        DatabaseHost::start("ports = [5432]\ncgroup = \"GROUP/server\"", Auth::Trust, &Options::default())
            .unwrap();
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    site.postgres.stop().unwrap();
    // Somebody else of this host takes the port while the server is away, and waits for passwords.
    let mut squatter = std::process::Command::new("python3");
    squatter.args([
        "-c",
        "import socket\ns = socket.create_server(('0.0.0.0', 5432), reuse_port=False)\nprint('up', flush=True)\n\
         s.settimeout(60)\nwhile True:\n    c, _ = s.accept(); print('got', c.recv(9), flush=True)",
    ]);
    site.host.enter(&mut squatter).unwrap();
    governor_tests::cgroup::enter(&mut squatter, &site.group.client(Class::Service)).unwrap();
    squatter.stdout(std::process::Stdio::piped());
    let mut squatter = process::spawn(squatter, libc::SIGKILL).unwrap();
    let mut said = BufReader::new(squatter.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let done = site.remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(!done.status.success(), "{}", done.all());
    assert!(site.governor.log().contains("is not that server"), "{}", site.governor.log());
    squatter.kill().unwrap();
    squatter.wait().unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(!rest.lines().any(|line| line != "got b''"), "the stranger was sent something: {rest}");
    site.postgres.start_again(Auth::Trust, &["listen_addresses=*"]).unwrap();
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
}

/// Many clients at once, each with its own address and port, as the server sees them.
#[test]
fn many_clients_at_once_are_told_apart() {
    let site = site(PORTS);
    let script = site.governor.state_dir().join("who.sql");
    // A division by zero ends the client: the server and the kernel's client port must agree on every connection.
    std::fs::write(
        &script,
        "SELECT 1 / (client_addr = inet_client_addr() AND client_port = inet_client_port())::int \
         FROM pg_stat_activity WHERE pid = pg_backend_pid();\n",
    )
    .unwrap();
    let bench = |mut pgbench: std::process::Command| {
        pgbench.args(["-n", "-C", "-c", "8", "-j", "2", "-t", "50", "-f"]).arg(&script).arg("shop");
        Running::start(pgbench, &[]).unwrap()
    };
    let program = site.postgres.bin().join("pgbench");
    let program = program.to_str().unwrap();
    let remote = bench(site.remote(program, SERVER_V4).unwrap());
    let remote_v6 = bench(site.remote(program, SERVER_V6).unwrap());
    let local = bench(site.local(program, "127.0.0.1", Class::Service).unwrap());
    for running in [remote, remote_v6, local] {
        let done = running.finish(wait::PATIENCE * 4).unwrap().ok().unwrap();
        assert!(done.out().contains("actually processed: 400/400"), "{}", done.all());
    }
    let starts = site.governor.events("session_start").unwrap();
    let from =
        |address: &str| starts.iter().filter(|start| field(start, "client")["address"] == address).count();
    // pgbench makes one connection more, to look around.
    assert_eq!((from(REMOTE_V4), from(REMOTE_V6), from("127.0.0.1")), (401, 401, 401));
    let local = starts.iter().filter(|start| field(start, "principal")["class"] == "service").count();
    assert_eq!(local, 401);
}

#[test]
fn one_address_does_not_shut_out_another() {
    let options = Options { more: "[limits]\nconnections_per_source_max = 2\n".into(), ..Options::default() };
    let site = DatabaseHost::start(PORTS, Auth::Trust, &options).unwrap();
    let held: Vec<Running> = (0..2)
        .map(|_| psql_running(site.remote("psql", SERVER_V4).unwrap(), "SELECT pg_sleep(600)").unwrap())
        .collect();
    wait::until("both to be served", wait::PATIENCE, || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        Ok((site.truth(sleeping)? == "2").then_some(()))
    })
    .unwrap();
    let refused = site.remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(refused.err().contains("limits.connections_per_source_max"), "{}", refused.all());
    assert!(refused.err().contains(REMOTE_V4), "who: {}", refused.all());
    let other = site.remote_psql(SERVER_V6, &sees(REMOTE_V6)).unwrap().ok().unwrap();
    assert_eq!(other.out(), "t\n", "another address is another source");
    let local = site.local_psql(SERVER_V4, Class::Service, "SELECT 1").unwrap().ok().unwrap();
    assert_eq!(local.out(), "1\n");
    assert!(site.metric("governor_connections_refused_total{reason=\"source_limit\"}").unwrap() >= 1.0);
    // A session lasts as long as its server's, also where the client has gone.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    assert_eq!(site.truth(end).unwrap(), "2");
    drop(held);
    wait::until("a free place", wait::PATIENCE, || {
        Ok(site.remote_psql(SERVER_V4, "SELECT 1")?.status.success().then_some(()))
    })
    .unwrap();
}
