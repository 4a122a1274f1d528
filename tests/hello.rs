//! Two hosts, a governor on each: the server's knows which process of the client's host asks, by a signed hello; and nobody
//! else can say so. A container on the server's own host is governed once.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "hello/container.rs"]
mod container;
#[path = "hello/fallback.rs"]
mod fallback;
#[path = "hello/rotation.rs"]
mod rotation;
#[path = "hello/spoof.rs"]
mod spoof;
#[path = "hello/translated.rs"]
mod translated;

use governor_tests::database_host::{PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::governor::{Governor, field, text};
use governor_tests::pki::Pki;
use governor_tests::two_hosts::{APP1, TwoHosts, names_app1, names_db1};
use governor_tests::{Auth, Class, Options, process, wait};
use serde_json::Value;

const ASK: &str = "SELECT email FROM people WHERE id = 1";

/// The first `hello` record with this outcome.
fn hello(governor: &Governor, outcome: &str) -> Value {
    governor.wait_for_record("hello", |record| text(record, "outcome") == outcome).unwrap()
}

fn session_starts(governor: &Governor) -> usize {
    governor.events("session_start").unwrap().len()
}

#[test]
fn the_servers_governor_knows_the_process_on_the_clients_host() {
    let hosts = TwoHosts::trusting("optional").unwrap();
    let secret = hosts.db1.truth(ASK).unwrap();
    for (server, client) in [(SERVER_V4, REMOTE_V4), (SERVER_V6, REMOTE_V6)] {
        let sees = format!("SELECT inet_client_addr() = '{client}', email FROM people WHERE id = 1");
        let seen = hosts.psql(Class::Service, server, &sees).unwrap().ok().unwrap().out();
        assert_eq!(seen, format!("t|{secret}\n"), "a service is not masked on either host");
    }
    let sent = hello(&hosts.app1, "accepted");
    assert_eq!((text(&sent, "way"), text(&sent, "peer")), ("sent".into(), "db1".into()));
    let heard = hello(&hosts.db1.governor, "accepted");
    assert_eq!((text(&heard, "way"), text(&heard, "peer")), ("received".into(), "app1".into()));
    assert_eq!(field(&heard, "bound"), &Value::Bool(false), "in clear");
    let principal = field(&heard, "principal");
    assert_eq!(
        (principal["class"].as_str(), principal["user"].as_str()),
        (Some("service"), Some("root@app1"))
    );
    assert!(principal["executable"].as_str().unwrap().starts_with("app1:/"), "{principal}");
    assert!(
        principal["groups"]
            .as_array()
            .unwrap()
            .iter()
            .all(|group| { group.as_str().unwrap().ends_with("@app1") })
    );
    assert_eq!(principal["uid"], u32::MAX, "nobody of this host");
    let attested = &principal["remote"]["attested"];
    assert_eq!((attested["peer"].as_str(), &attested["uid"]), (Some("app1"), &Value::from(0)));
    assert_eq!(principal["remote"]["address"], REMOTE_V4);
    // The two audits can be joined: by the session on the client's host, and by the process.
    let first = &hosts.app1.events("session_start").unwrap()[0];
    assert_eq!(attested["session"], *field(first, "session"));
    assert_eq!(principal["pid"], field(first, "principal")["pid"]);
    let statement = hosts.db1.governor.wait_for_record("statement", |_| true).unwrap();
    assert_eq!((text(&statement, "user"), text(&statement, "class")), ("root@app1".into(), "service".into()));
    // Shown to people.
    let status = hosts.db1.governor.cli(&["status"]).unwrap().ok().unwrap().out();
    assert!(status.contains("app1 at 10.77.0.2, fd77::2, hello optional"), "{status}");
    assert!(status.contains("2 accepted from it, 0 by it"), "{status}");
    assert_eq!(
        hosts.db1.metric("governor_hellos_total{outcome=\"accepted\",way=\"received\"}").unwrap(),
        2.0
    );
    let shown = hosts.app1.cli(&["keys", "hello"]).unwrap().ok().unwrap().out();
    assert!(shown.contains(APP1.1), "{shown}");
}

#[test]
fn an_agents_class_comes_along_and_binds_on_the_servers_host() {
    // On its own host nothing is enforced; what the server's host knows of it is enough.
    let app1 = Options { profile: Some("observe"), more: names_db1("required"), ..Options::default() };
    let db1 = Options { more: names_app1("required"), ..Options::default() };
    let hosts = TwoHosts::start(Auth::Trust, &app1, &db1).unwrap();
    let secret = hosts.db1.truth(ASK).unwrap();
    let agent = hosts.psql(Class::Agent, SERVER_V4, ASK).unwrap().ok().unwrap();
    assert!(!agent.all().contains(&secret), "{}", agent.all());
    let service = hosts.psql(Class::Service, SERVER_V4, ASK).unwrap().ok().unwrap();
    assert!(service.out().contains(&secret));
    let denied = hosts.psql(Class::Agent, SERVER_V4, "DROP TABLE orders").unwrap();
    assert!(denied.err().contains("ERROR"), "{}", denied.all());
    assert_eq!(hosts.db1.truth("SELECT count(*) > 0 FROM orders").unwrap(), "t");
}

/// Both hosts, and a server that speaks TLS.
fn secure(hello: &str, db1: Options) -> (TwoHosts, Pki) {
    secure_with(hello, "", db1)
}

/// `more` is of the table `tls` on the client's host.
fn secure_with(hello: &str, more: &str, db1: Options) -> (TwoHosts, Pki) {
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
    let server_settings = settings.map(|setting| &*setting.leak()).to_vec();
    let tls = format!("[tls]\nupstream_roots = [{0:?}]\nclient_roots = [{0:?}]\n", pki.root());
    let app1 = Options { more: format!("{}{tls}{more}\n", names_db1(hello)), ..Options::default() };
    let db1 = Options { more: format!("{}{tls}{}", names_app1(hello), db1.more), server_settings, ..db1 };
    (TwoHosts::start(Auth::ScramSha256, &app1, &db1).unwrap(), pki)
}

#[test]
fn within_tls_a_hello_is_bound_to_the_connection_and_policy_can_ask_for_that() {
    let policy = "@id(\"bound-only\")\nforbid (principal, action == Governor::Action::\"connect\", resource)\n\
                  when { principal has peer && !principal.peer.bound };";
    let db1 = Options { policies: vec![("bound.cedar".into(), policy.into())], ..Options::default() };
    let (hosts, pki) = secure_with("required", "client_certificates = \"reissue\"", db1);
    let ask = |mode: &str| {
        let mut psql = hosts.client("psql", Class::Service, SERVER_V4).unwrap();
        // The client's governor has no key of the server's, so what is bound to that does not hold (docs/tls.md).
        psql.env("PGSSLMODE", mode).env("PGCHANNELBINDING", "disable");
        governor_tests::database_host::psql(psql, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            .unwrap()
    };
    assert_eq!(ask("require").ok().unwrap().out(), "t\n");
    let heard = hello(&hosts.db1.governor, "accepted");
    assert_eq!(field(&heard, "bound"), &Value::Bool(true));
    assert_eq!(field(&hello(&hosts.app1, "accepted"), "bound"), &Value::Bool(true));
    let denied = ask("disable");
    assert!(denied.err().contains("connection"), "{}", denied.all());
    let denial = hosts
        .db1
        .governor
        .wait_for_record("session_decision", |record| text(record, "verdict") == "deny")
        .unwrap();
    assert!(denial.to_string().contains("bound-only"), "{denial}");
    // A client certificate that is presented beside the hello stays on record.
    let mut psql = hosts.client("psql", Class::Service, SERVER_V4).unwrap();
    psql.env("PGSSLMODE", "require")
        .env("PGSSLCERT", pki.path("billing.crt"))
        .env("PGSSLKEY", pki.path("billing.key"))
        .env("PGCHANNELBINDING", "disable");
    governor_tests::database_host::psql(psql, "SELECT 1").unwrap().ok().unwrap();
    let shown = |governor: &Governor| {
        let records = governor.events("tls").unwrap();
        field(records.last().unwrap(), "tls")["client_certificate"].clone()
    };
    let own = shown(&hosts.app1);
    assert_eq!((&own["subject"], &own["verified"]), (&"CN=billing".into(), &true.into()), "{own}");
    // The server's governor does not know the CA of the client's, and so has only its word for the subject.
    let anew = shown(&hosts.db1.governor);
    assert_eq!((&anew["subject"], &anew["verified"]), (&"CN=billing".into(), &false.into()), "{anew}");
    assert_ne!(anew["sha256"], own["sha256"]);
    // Who asks is what the hello says: it was said anew on the connection that showed the certificate.
    let heard = hosts.db1.governor.events("hello").unwrap();
    assert!(heard.iter().all(|record| text(record, "outcome") == "accepted"), "{heard:?}");
    let last = hosts.db1.governor.events("statement").unwrap().pop().unwrap();
    assert_eq!((text(&last, "text"), text(&last, "user")), ("SELECT 1".into(), "root@app1".into()));
}

#[test]
fn a_client_whose_tls_cannot_be_carried_is_attested_within_tls_all_the_same() {
    let (hosts, _pki) = secure("required", Options::default());
    // libpq tries channel binding, is refused, and comes again in clear: up to its host's governor.
    let mut psql = hosts.client("psql", Class::Service, SERVER_V4).unwrap();
    psql.env("PGSSLMODE", "prefer");
    let ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(governor_tests::database_host::psql(psql, ssl).unwrap().ok().unwrap().out(), "t\n");
    let records = hosts.db1.governor.events("hello").unwrap();
    let heard: Vec<_> =
        records.iter().map(|record| (text(record, "outcome"), field(record, "bound"))).collect();
    let bound = Value::Bool(true);
    assert_eq!(heard, [("accepted".to_owned(), &bound), ("accepted".to_owned(), &bound)]);
}

#[test]
fn a_cancel_request_goes_through_both() {
    for mode in ["disable", "require"] {
        let (hosts, _pki) = secure("required", Options::default());
        let mut psql = hosts.client("psql", Class::Service, SERVER_V4).unwrap();
        psql.env("PGSSLMODE", mode).env("PGCHANNELBINDING", "disable");
        let running = governor_tests::database_host::psql_running(psql, "SELECT pg_sleep(600)").unwrap();
        wait::until("the statement", wait::PATIENCE, || {
            let count =
                hosts.db1.truth("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")?;
            Ok((count == "1").then_some(()))
        })
        .unwrap();
        running.signal(libc::SIGINT).unwrap();
        let done = running.finish(wait::PATIENCE).unwrap();
        assert!(done.err().contains("57014"), "{mode}: {}", done.all());
        let cancel = hosts.db1.governor.wait_for_record("cancel", |_| true).unwrap();
        assert_eq!(text(&cancel, "forwarded"), "true", "{cancel}");
        // The request was attested too.
        let accepted = hosts.db1.governor.events("hello").unwrap();
        assert_eq!(
            accepted.iter().filter(|record| text(record, "outcome") == "accepted").count(),
            2,
            "{mode}"
        );
    }
}

/// Each connection is attested by itself; what that costs is printed.
#[test]
fn many_connections_at_once_are_each_attested() {
    let hosts = TwoHosts::trusting("optional").unwrap();
    let program = hosts.db1.postgres.bin().join("pgbench");
    let program = program.to_str().unwrap();
    let script = hosts.app1.state_dir().join("one.sql");
    std::fs::write(&script, "SELECT 1;\n").unwrap();
    let rate = |mut pgbench: std::process::Command| {
        pgbench.args(["-n", "-C", "-c", "8", "-j", "2", "-t", "50", "-f"]).arg(&script).arg("shop");
        pgbench.env("PGSSLMODE", "disable");
        let done = process::run(pgbench, wait::PATIENCE * 2).unwrap().ok().unwrap();
        assert!(done.out().contains("actually processed: 400/400"), "{}", done.all());
        let tps = done.out().lines().find_map(|line| line.strip_prefix("tps = ").map(str::to_owned)).unwrap();
        tps.split(' ').next().unwrap().to_owned()
    };
    let attested = rate(hosts.client(program, Class::Service, SERVER_V4).unwrap());
    // pgbench makes one connection more, to look around.
    let count = |governor: &Governor| {
        let records = governor.events("hello").unwrap();
        records.iter().filter(|record| text(record, "outcome") == "accepted").count()
    };
    assert_eq!((count(&hosts.app1), count(&hosts.db1.governor)), (401, 401));
    assert_eq!(session_starts(&hosts.db1.governor), 401);
    let past = rate(hosts.db1.remote(program, SERVER_V4).unwrap());
    println!(
        "connections and statements a second: {attested} through both governors, attested; {past} through the server's alone"
    );
    for governor in [&hosts.app1, &hosts.db1.governor] {
        assert_eq!(governor.json(&["status"]).unwrap()[0]["completeness"]["mismatches"], 0);
    }
}

#[test]
fn what_a_peer_says_is_assigned_by_the_peers_name_and_local_names_stay_local() {
    let more = format!(
        "{}[[identity.assign]]\nuser = \"root\"\nclass = \"agent\"\n\
         [[identity.assign]]\npeer = \"app1\"\nuser = \"root\"\ngroups = [\"apps\"]\n",
        names_app1("optional")
    );
    // A policy that means this host's root, and one for what the configuration assigns.
    let policy = "@id(\"local-root\")\nforbid (principal in Governor::User::\"root\", action, resource);\n\
                  @id(\"apps-drop\")\nforbid (principal in Governor::Group::\"apps\", action == Governor::Action::\"drop\", resource);";
    let db1 = Options { more, policies: vec![("names.cedar".into(), policy.into())], ..Options::default() };
    let app1 = Options { more: names_db1("optional"), ..Options::default() };
    let hosts = TwoHosts::start(Auth::Trust, &app1, &db1).unwrap();
    hosts.psql(Class::Service, SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    let principal = hello(&hosts.db1.governor, "accepted");
    let principal = field(&principal, "principal");
    assert_eq!(principal["class"], "service", "the rule for this host's root is not about that host's");
    assert!(principal["groups"].as_array().unwrap().contains(&"apps".into()), "{principal}");
    hosts.psql(Class::Service, SERVER_V4, "CREATE TABLE gone (a int); DROP TABLE gone").unwrap();
    let denial = hosts
        .db1
        .governor
        .wait_for_record("statement", |record| text(record, "tag") == "DROP TABLE")
        .unwrap();
    assert!(denial.to_string().contains("apps-drop"), "{denial}");
    // The same question, asked of policy beforehand.
    let told = hosts
        .db1
        .governor
        .cli(&[
            "policy",
            "explain",
            "--as",
            "service",
            "--peer",
            "app1",
            "--user",
            "root",
            "SELECT 1",
            "--policies",
            hosts.db1.governor.policy_dir().to_str().unwrap(),
        ])
        .unwrap()
        .ok()
        .unwrap()
        .out();
    assert!(told.contains("root@app1") && !told.contains("local-root"), "{told}");
}
