//! Upgrades where connections come by other doors than a connect hook: arriving at a database's host, over its unix
//! socket, from containers. No new connection is refused, sessions finish, everything is counted, and nothing stays.

use super::loops::Loop;
use super::upgrade::{completeness_is_whole, missing, statements};
use governor_tests::client::{self, PSQL_ROWS};
use governor_tests::containers::Containers;
use governor_tests::database_host::{DatabaseHost, PORT, REMOTE_V4, SERVER_V4, SERVER_V6, psql_running};
use governor_tests::governor::{field, text};
use governor_tests::postgres::{Auth, Postgres, free_port};
use governor_tests::{Cgroup, Class, Governor, Namespace, Options, Running, database, wait};
use std::os::unix::fs::{PermissionsExt as _, chown};

/// Upgrades twice; each time the loops go on in the new agent.
fn upgrade_twice(governor: &mut Governor) {
    for round in 0..2 {
        let before = governor.events("session_start").unwrap().len();
        let took = std::time::Instant::now();
        governor.take_over().unwrap();
        println!("upgrade {round}: {:?}", took.elapsed());
        wait::until("sessions in the new agent", wait::PATIENCE, || {
            Ok((governor.events("session_start")?.len() > before + 50).then_some(()))
        })
        .unwrap();
    }
}

/// What the loops and the sessions in between asked is on record, in one whole chain, and every agent's books balance.
fn everything_is_on_record(governor: &mut Governor, loops: Vec<Loop>) {
    let mut expected = Vec::new();
    for one in loops {
        let statements = one.statements();
        assert!(statements.len() > 20, "{}", statements.len());
        expected.extend(statements);
    }
    governor.wait_for_retired().unwrap();
    let lost = missing(&expected, &statements(governor));
    assert!(lost.is_empty(), "not on record: {lost:?}");
    let stops = governor.events("agent_stop").unwrap();
    assert_eq!(stops.iter().filter(|stop| text(stop, "reason") == "upgrade").count(), 2, "{stops:?}");
    assert!(governor.events("agent_gap").unwrap().is_empty(), "an upgrade is no gap");
    governor.cli(&["audit", "verify"]).unwrap().ok().unwrap();
}

fn nobody_was_refused(page: &str) {
    for line in ["governor_kernel_refused_total 0", "governor_kernel_passed_total 0"] {
        assert!(page.contains(line), "{page}");
    }
    for reason in ["no_origin", "no_identity"] {
        let line = format!("governor_connections_refused_total{{reason=\"{reason}\"}} 0");
        assert!(page.contains(&line), "{page}");
    }
}

/// A stop that keeps the hooks, and what `governor detach` does then.
fn detach_leaves_nothing(governor: &mut Governor) {
    governor.stop().unwrap();
    completeness_is_whole(governor);
    governor.detach().unwrap();
    let left = governor.cli(&["detach", "--dry-run"]).unwrap().ok().unwrap().out();
    assert_eq!(left, "nothing of governor is in the kernel\n");
    assert!(!governor.state_dir().join("unix-sockets.json").exists());
}

fn keeps() -> Options {
    Options { on_stop: "keep", ..Options::default() }
}

#[test]
fn no_arriving_connection_is_refused_while_governor_is_upgraded() {
    let mut site = DatabaseHost::start("ports = [5432]", Auth::Trust, &keeps()).unwrap();
    let loops = vec![
        Loop::start(site.remote("python3", SERVER_V4).unwrap(), SERVER_V4, PORT, "four"),
        Loop::start(site.remote("python3", SERVER_V6).unwrap(), SERVER_V6, PORT, "six"),
        Loop::start(site.local("python3", "127.0.0.1", Class::Service).unwrap(), "127.0.0.1", PORT, "local"),
    ];
    // At work through both upgrades.
    let long =
        "SELECT 'busy', count(*) FROM generate_series(1, 60) n, LATERAL (SELECT pg_sleep(0.1 + 0 * n)) s";
    let lasting = psql_running(site.remote("psql", SERVER_V4).unwrap(), long).unwrap();
    upgrade_twice(&mut site.governor);
    assert_eq!(lasting.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "busy|60\n");
    everything_is_on_record(&mut site.governor, loops);
    nobody_was_refused(&site.metrics().unwrap());
    // The server sees its clients as before, through the agent that came last.
    let sees = format!("SELECT inet_client_addr() = '{REMOTE_V4}'");
    assert_eq!(site.remote_psql(SERVER_V4, &sees).unwrap().ok().unwrap().out(), "t\n");

    site.governor.stop().unwrap();
    let refused = site.remote_psql(SERVER_V4, "SELECT 1").unwrap();
    assert!(refused.err().contains("Connection refused"), "{}", refused.all());
    detach_leaves_nothing(&mut site.governor);
    site.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
}

#[test]
fn no_connection_into_a_container_is_refused_while_governor_is_upgraded() {
    let inbound = "ports = [5432]\ncgroup = \"GROUP/*\"\nnamespaces = \"others\"";
    let mut site = Containers::start(2, inbound, PORT + 1, &keeps()).unwrap();
    let [one, other] = &site.containers[..] else { panic!("two") };
    let local = one.local(&site.group, "python3", "127.0.0.1", Class::Service).unwrap();
    let loops = vec![
        Loop::start(one.remote("python3", SERVER_V4).unwrap(), SERVER_V4, PORT, "one"),
        Loop::start(other.remote("python3", SERVER_V6).unwrap(), SERVER_V6, PORT, "other"),
        Loop::start(local, "127.0.0.1", PORT, "local"),
    ];
    upgrade_twice(&mut site.governor);
    everything_is_on_record(&mut site.governor, loops);
    nobody_was_refused(&site.host.inside(|| site.governor.metrics()).unwrap().unwrap());
    for container in &site.containers {
        let sees = format!("SELECT inet_client_addr() = '{REMOTE_V4}'");
        assert_eq!(container.remote_psql(SERVER_V4, &sees).unwrap().ok().unwrap().out(), "t\n");
    }
    site.governor.stop().unwrap();
    for container in &site.containers {
        let refused = container.remote_psql(SERVER_V4, "SELECT 1").unwrap();
        assert!(refused.err().contains("Connection refused"), "{}", refused.all());
    }
    detach_leaves_nothing(&mut site.governor);
    for container in &site.containers {
        container.remote_psql(SERVER_V4, "SELECT 1").unwrap().ok().unwrap();
    }
}

#[test]
fn no_connection_over_a_unix_socket_is_refused_while_governor_is_upgraded() {
    let directory = tempfile::Builder::new().prefix("governor-run-").tempdir().unwrap();
    if let Some((uid, gid)) = governor_tests::postgres::server_user().unwrap() {
        chown(directory.path(), Some(uid), Some(gid)).unwrap();
    }
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o2775)).unwrap();
    let postgres = Postgres::start_with_socket_in(directory.path(), Auth::Trust, &[]).unwrap();
    database::load(&postgres, "shop").unwrap();
    let socket = directory.path().join(format!(".s.PGSQL.{}", postgres.port()));
    let group = Cgroup::create("governor-test").unwrap();
    let more = format!("\n[[capture.unix]]\npath = {socket:?}\n");
    let mut governor = Governor::start(&group, postgres.port(), &Options { more, ..keeps() }).unwrap();
    let client = |program: &str| {
        let mut command = client::command(program, &group, Class::Service, postgres.port()).unwrap();
        command.env("PGHOST", directory.path()).env_remove("PGSSLMODE");
        command
    };
    let path = socket.to_str().unwrap();
    let loops = ["a", "b"].map(|name| Loop::start(client("python3"), path, 0, name)).into_iter().collect();
    let long =
        "SELECT 'busy', count(*) FROM generate_series(1, 60) n, LATERAL (SELECT pg_sleep(0.1 + 0 * n)) s";
    let mut psql = client("psql");
    psql.args(PSQL_ROWS).args(["-c", long]);
    let lasting = Running::start(psql, &[]).unwrap();
    upgrade_twice(&mut governor);
    assert_eq!(lasting.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "busy|60\n");
    everything_is_on_record(&mut governor, loops);
    nobody_was_refused(&governor.metrics().unwrap());
    let changes: Vec<String> =
        governor.events("unix_socket").unwrap().iter().map(|record| text(record, "change")).collect();
    assert_eq!(changes, ["taken", "adopted", "adopted"]);

    let one = || {
        let mut psql = client("psql");
        psql.args(PSQL_ROWS).args(["-c", "SELECT 1"]);
        governor_tests::process::run(psql, wait::PATIENCE).unwrap()
    };
    governor.stop().unwrap();
    assert!(one().err().contains("Connection refused"), "{}", one().all());
    detach_leaves_nothing(&mut governor);
    one().ok().unwrap();
    assert!(!directory.path().join(".governor").exists(), "governor's directory beside the socket");
}

#[test]
fn no_connection_from_a_container_is_refused_while_governor_is_upgraded() {
    let port = free_port().unwrap();
    let containers = [Namespace::create().unwrap(), Namespace::create().unwrap()];
    let servers = containers.each_ref().map(|namespace| {
        let server = Postgres::start_in(namespace, port, Auth::Trust, &[]).unwrap();
        database::load(&server, "shop").unwrap();
        server
    });
    let group = Cgroup::create("governor-test").unwrap();
    let mut governor = Governor::start(&group, port, &keeps()).unwrap();
    let inside = |program: &str, container: usize| {
        let mut command = client::command(program, &group, Class::Service, port).unwrap();
        containers[container].enter(&mut command).unwrap();
        command
    };
    let one = |container| {
        let mut psql = inside("psql", container);
        psql.args(PSQL_ROWS).args(["-c", "SELECT 1"]);
        governor_tests::process::run(psql, wait::PATIENCE).unwrap()
    };
    for container in 0..2 {
        wait::until("governor to listen in the namespace", wait::PATIENCE, || {
            Ok(one(container).status.success().then_some(()))
        })
        .unwrap();
    }
    let loops = [("a", 0), ("b", 1)]
        .map(|(name, container)| Loop::start(inside("python3", container), "127.0.0.1", port, name))
        .into_iter()
        .collect();
    let long =
        "SELECT 'busy', count(*) FROM generate_series(1, 60) n, LATERAL (SELECT pg_sleep(0.1 + 0 * n)) s";
    let mut psql = inside("psql", 0);
    psql.args(PSQL_ROWS).args(["-c", long]);
    let lasting = Running::start(psql, &[]).unwrap();
    upgrade_twice(&mut governor);
    assert_eq!(lasting.finish(wait::PATIENCE).unwrap().ok().unwrap().out(), "busy|60\n");
    everything_is_on_record(&mut governor, loops);
    let page = governor.metrics().unwrap();
    nobody_was_refused(&page);
    assert!(page.contains("governor_namespaces_served 2\n"), "{page}");
    let places: std::collections::BTreeSet<String> = governor
        .events("session_start")
        .unwrap()
        .iter()
        .map(|record| field(record, "destination")["namespace"]["inode"].to_string())
        .collect();
    assert_eq!(places.len(), 2, "{places:?}");

    governor.stop().unwrap();
    assert!(one(0).err().contains("Operation not permitted"), "{}", one(0).all());
    detach_leaves_nothing(&mut governor);
    one(1).ok().unwrap();
    drop(servers);
}
