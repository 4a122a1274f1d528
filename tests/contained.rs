//! Servers in containers: whoever arrives at one is governed in its network namespace, and the server sees them all the same.
//! Two containers have the same address and the same port throughout, so whatever mixes them is seen.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "contained/detach.rs"]
mod detach;
#[path = "contained/ends.rs"]
mod ends;
#[path = "contained/once.rs"]
mod once;
#[path = "contained/published.rs"]
mod published;
#[path = "contained/translated.rs"]
mod translated;

use governor_tests::containers::{Container, Containers};
use governor_tests::database_host::{PORT, REMOTE_V4, REMOTE_V6, SERVER_V4, SERVER_V6};
use governor_tests::governor::{field, text};
use governor_tests::{Class, Options, wait};

/// By port and cgroup, as an operator names a container.
const SERVERS: &str = "ports = [5432]\ncgroup = \"GROUP/*\"\nnamespaces = \"others\"";

/// What the server says of this session's client: all true. (Addresses themselves are personal data to governor.)
fn sees(client: &str) -> String {
    format!(
        "SELECT inet_client_addr() = '{client}' AND client_addr = inet_client_addr() AND client_port = inet_client_port() \
         FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
}

fn site(count: usize, inbound: &str) -> Containers {
    Containers::start(count, inbound, PORT + 1, &Options::default()).unwrap()
}

/// Whether this container's server, and no other, is at the other end.
fn is_its_own(container: &Container) -> String {
    let directory = container.truth("SHOW data_directory").unwrap();
    format!("SELECT current_setting('data_directory') = '{directory}'")
}

#[test]
fn clients_of_containers_are_governed_and_each_server_sees_its_own() {
    let site = site(2, SERVERS);
    let ask = "SELECT email FROM people WHERE id = 1";
    for container in &site.containers {
        let inode = container.namespace.inode().unwrap();
        let secret = container.truth(ask).unwrap();
        for (server, client) in [(SERVER_V4, REMOTE_V4), (SERVER_V6, REMOTE_V6)] {
            let seen = container.remote_psql(server, &sees(client)).unwrap().ok().unwrap();
            assert_eq!(seen.out(), "t\n", "{server}");
            let own = container.remote_psql(server, &is_its_own(container)).unwrap().ok().unwrap();
            assert_eq!(own.out(), "t\n", "{server}");
            // A person until the configuration says more: masked.
            let done = container.remote_psql(server, ask).unwrap().ok().unwrap();
            assert!(!done.all().contains(&secret), "{}", done.all());
            let start = site
                .governor
                .wait_for_record("session_start", |record| {
                    let to = field(record, "destination");
                    to["address"] == server && to["namespace"]["inode"] == inode
                })
                .unwrap();
            let principal = field(&start, "principal");
            assert_eq!((&principal["class"], &principal["user"]), (&"person".into(), &client.into()));
            assert_eq!(field(&start, "client")["address"], client);
        }
        for server in ["127.0.0.1", "::1", SERVER_V4, SERVER_V6] {
            let local = |class, sql: &str| container.local_psql(&site.group, server, class, sql).unwrap();
            assert_eq!(local(Class::Service, &sees(server)).ok().unwrap().out(), "t\n", "{server}");
            assert!(local(Class::Service, ask).ok().unwrap().out().contains(&secret), "{server}");
            assert!(!local(Class::Agent, ask).ok().unwrap().out().contains(&secret), "{server}");
        }
        let denied =
            container.local_psql(&site.group, "127.0.0.1", Class::Agent, "DROP TABLE orders").unwrap();
        assert!(denied.err().contains("ERROR"), "{}", denied.all());
        assert_eq!(container.truth("SELECT count(*) > 0 FROM orders").unwrap(), "t");
    }
    let starts = site.governor.events("session_start").unwrap();
    let known = starts.iter().filter(|start| field(start, "principal")["pid"].as_u64() > Some(0)).count();
    assert_eq!(
        (starts.len(), known),
        (2 * (6 + 13), 2 * 13),
        "each once, processes of the container by name"
    );
    for container in &site.containers {
        let line = format!("arriving in net:[{}] at ports 5432", container.namespace.inode().unwrap());
        let status = site.governor.cli(&["status"]).unwrap().ok().unwrap().out();
        assert!(status.contains(&line), "{line}: {status}");
    }
    assert_eq!(site.metric("governor_inbound_namespaces_served").unwrap(), 2.0);
    assert_eq!(site.metric("governor_inbound_namespaces_unserved").unwrap(), 0.0);
    site.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}

#[test]
fn pg_hba_of_a_container_decides_by_the_real_address() {
    let site = site(2, SERVERS);
    let [strict, lax] = &site.containers[..] else { panic!("two") };
    let rules = format!("host all all {REMOTE_V4}/32 reject\nhost all all all trust");
    strict.postgres.authenticate(&rules).unwrap();
    let refused = wait::until("the new rules", wait::PATIENCE, || {
        let done = strict.remote_psql(SERVER_V4, "SELECT 1")?;
        Ok((!done.status.success()).then_some(done))
    })
    .unwrap();
    let expected = format!("pg_hba.conf rejects connection for host \"{REMOTE_V4}\"");
    assert!(refused.err().contains(&expected), "{}", refused.err());
    strict.remote_psql(SERVER_V6, "SELECT 1").unwrap().ok().unwrap();
    lax.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
}

#[test]
fn whom_nobody_attests_in_a_container_gets_nothing_by_any_of_its_addresses() {
    let site = site(1, SERVERS);
    let container = &site.containers[0];
    // In the container, but in no group of `clients`; the last one goes from one of its addresses to another.
    let binds = "import socket,sys\ns=socket.socket();s.bind((sys.argv[1],0));s.settimeout(30)\n\
                 s.connect((sys.argv[2],5432))\ns.sendall(bytes.fromhex('0000000804d2162f'))\nprint(s.recv(9))";
    for server in ["127.0.0.1", "::1", SERVER_V4, SERVER_V6] {
        let mut psql = governor_tests::client::outside("psql", PORT);
        psql.env("PGHOST", server);
        container.namespace.enter(&mut psql).unwrap();
        let done = governor_tests::database_host::psql(psql, "SELECT 1").unwrap();
        assert!(!done.status.success(), "{server}: {}", done.all());
    }
    let mut other = governor_tests::client::outside("python3", PORT);
    other.args(["-ISc", binds, &container.from_host, SERVER_V4]);
    container.namespace.enter(&mut other).unwrap();
    let done = governor_tests::process::run(other, wait::PATIENCE).unwrap();
    assert!(done.out() == "b''\n" || done.err().contains("ConnectionResetError"), "{}", done.all());
    assert_eq!(site.governor.log().matches("its process is not known").count(), 5, "{}", site.governor.log());
    assert_eq!(site.governor.events("session_start").unwrap().len(), 0);
    container.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
}

#[test]
fn a_container_is_found_by_its_cgroup_alone_whatever_it_listens_on() {
    let mut site = site(1, "cgroup = \"GROUP/*\"\nnamespaces = \"others\"");
    assert_eq!(
        site.containers[0].remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap().out(),
        "t\n"
    );
    assert_eq!(site.governor.events("session_start").unwrap().len(), 1);
    // One more, while governor runs.
    site.add().unwrap();
    site.wait_captured(2).unwrap();
    let seen = site.containers[1].remote_psql(SERVER_V4, &sees(REMOTE_V4)).unwrap().ok().unwrap();
    assert_eq!(seen.out(), "t\n");
    assert_eq!(site.governor.events("session_start").unwrap().len(), 2);
}

#[test]
fn a_named_port_of_a_named_cgroup_is_captured_before_the_server_listens() {
    let site = site(0, SERVERS);
    let wired = site.wire().unwrap();
    // The first process of a container: an entry point that is not the server yet.
    let mut entry = std::process::Command::new("sleep");
    entry.arg("600");
    wired.namespace.enter(&mut entry).unwrap();
    governor_tests::cgroup::enter(&mut entry, &wired.cgroup).unwrap();
    let _entry = governor_tests::Running::start(entry, &[]).unwrap();
    site.wait_captured(1).unwrap();
    // Tries until ten have been answered, from before the server is there.
    let mut eager = governor_tests::client::outside("sh", PORT);
    eager.env("PGHOST", SERVER_V4).args([
        "-c",
        "n=0; while [ $n -lt 10 ]; do psql -X -q -A -t -c 'SELECT 1' >/dev/null 2>&1 && n=$((n+1)); done; echo $n",
    ]);
    wired.remote.enter(&mut eager).unwrap();
    let eager = governor_tests::Running::start(eager, &[]).unwrap();
    let container = wired.serve().unwrap();
    assert_eq!(eager.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "10\n");
    let asked = |record: &&serde_json::Value| text(record, "text") == "SELECT 1";
    wait::until("all of them on record", wait::PATIENCE, || {
        let statements = site.governor.events("statement")?;
        Ok((statements.iter().filter(asked).count() == 10).then_some(()))
    })
    .unwrap();
    assert!(site.governor.events("open_connection").unwrap().is_empty());
    drop(container);
}

/// governor is where this test is, and listens for what starts; nothing of its own namespace is captured.
#[test]
fn a_governor_for_containers_alone_has_no_hook_where_it_runs() {
    let options = Options { launcher: vec!["env".into()], ..Options::default() };
    let mut site = Containers::start(1, SERVERS, PORT + 1, &options).unwrap();
    site.add().unwrap();
    for container in &site.containers {
        let governed = wait::until("the container to be captured", wait::PATIENCE, || {
            let done = container.remote_psql(SERVER_V4, &sees(REMOTE_V4))?.ok()?;
            let inode = container.namespace.inode()?;
            let starts = site.governor.events("session_start")?;
            let is_its =
                |start: &&serde_json::Value| field(start, "destination")["namespace"]["inode"] == inode;
            Ok(starts.iter().find(is_its).is_some().then_some(done))
        })
        .unwrap();
        assert_eq!(governed.out(), "t\n");
    }
    let status = &site.governor.json(&["status"]).unwrap()[0];
    let hooks = status["kernel_side"]["hooks"].as_array().unwrap();
    let mut places: Vec<&str> = hooks
        .iter()
        .filter(|hook| hook["program"] == "steer")
        .map(|hook| hook["cgroup"].as_str().unwrap())
        .collect();
    places.sort_unstable();
    let mut expected: Vec<String> =
        site.containers.iter().map(|it| format!("net:[{}]", it.namespace.inode().unwrap())).collect();
    expected.sort_unstable();
    assert_eq!(places, expected);
}

#[test]
fn what_the_configuration_leaves_out_is_not_captured_and_told() {
    // The port alone: a server of the host itself is meant.
    let site = Containers::start(1, "ports = [5432, 6432]", PORT + 1, &Options::default()).unwrap();
    site.containers[0].remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    wait::until("governor to tell", wait::PATIENCE, || {
        let inode = site.containers[0].namespace.inode()?;
        let log = site.governor.log();
        Ok(log
            .lines()
            .any(|line| line.contains("leaves out") && line.contains(&inode.to_string()))
            .then_some(()))
    })
    .unwrap();
    assert_eq!(site.governor.events("session_start").unwrap().len(), 0);
    assert_eq!(site.metric("governor_inbound_namespaces_served").unwrap(), 0.0);
}

#[test]
fn a_cancel_request_into_a_container_reaches_its_statement() {
    let site = site(2, SERVERS);
    let container = &site.containers[1];
    let psql = container.remote("psql", SERVER_V4).unwrap();
    let running = governor_tests::database_host::psql_running(psql, "SELECT pg_sleep(600)").unwrap();
    wait::until("the statement", wait::PATIENCE, || {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        Ok((container.truth(asleep)? == "1").then_some(()))
    })
    .unwrap();
    running.signal(libc::SIGINT).unwrap();
    let done = running.finish(wait::PATIENCE).unwrap();
    assert!(done.err().contains("57014"), "{}", done.all());
}

#[test]
fn connections_into_a_container_from_before_the_start_are_told_of() {
    let mut site = Containers::prepare(1, SERVERS, PORT + 1, &Options::default()).unwrap();
    let container = &site.containers[0];
    let open = [
        container.remote("psql", SERVER_V4).unwrap(),
        container.local(&site.group, "psql", "127.0.0.1", Class::Service).unwrap(),
    ];
    let open =
        open.map(|psql| governor_tests::database_host::psql_running(psql, "SELECT pg_sleep(600)").unwrap());
    wait::until("both to be there", wait::PATIENCE, || {
        let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        Ok((container.truth(asleep)? == "2").then_some(()))
    })
    .unwrap();
    site.governor.launch().unwrap();
    let inode = site.containers[0].namespace.inode().unwrap();
    for client in [REMOTE_V4, "127.0.0.1"] {
        let told = site
            .governor
            .wait_for_record("open_connection", |record| field(record, "client")["address"] == client)
            .unwrap();
        assert_eq!(field(&told, "destination")["namespace"]["inode"], inode, "{told}");
        assert_eq!(text(&told, "ended"), "false", "{told}");
    }
    // One that is governed is none of them.
    let before = site.governor.events("open_connection").unwrap().len();
    assert_eq!(before, 2);
    drop(open);
}
