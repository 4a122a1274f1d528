//! A server in a container of the engine, with a port that the engine publishes (`podman run -p`): its own rules of address translation,
//! in the namespace of the test's host.
//!
//! ```text
//! lan 10.79.0.2 ═════ 10.79.0.1 :15432  host: governor  10.88.0.1 ═════ 10.88.0.x :5432  container
//! ```

use super::{ASK, BILLING, WAITS, no_engine, on_host};
use governor_tests::client::outside;
use governor_tests::database_host::{PORT, psql};
use governor_tests::engine::{Archive, Engine, GATEWAY};
use governor_tests::governor::{Governor, field, text};
use governor_tests::{Cgroup, Class, Finished, Namespace, Options, cgroup, wait};

const PUBLISHED: u16 = 15432;
const HOST: &str = "10.79.0.1";
const LAN: &str = "10.79.0.2";

struct Published {
    governor: Governor,
    engine: Engine,
    group: Cgroup,
    lan: Namespace,
    server: String,
}

impl Published {
    fn start() -> Self {
        let group = Cgroup::slice("governor-test").unwrap();
        let engine = Engine::start(&group).unwrap();
        let lan = Namespace::create().unwrap();
        engine.network.connect("to-lan", &format!("{HOST}/24"), &lan, "eth0").unwrap();
        lan.ip(&format!("address add {LAN}/24 dev eth0")).unwrap();
        engine.import(Archive::Clients, BILLING).unwrap();
        let more = format!(
            "[[capture.inbound]]\ncgroup = \"{}/libpod-*\"\nports = [{PORT}]\nnamespaces = \"others\"\n\
             published = [{PUBLISHED}]\nclients = {:?}\n",
            engine.servers,
            group.kernel_name(&group.clients()).unwrap()
        );
        let options = on_host(&engine, &Options { more, ..Options::default() });
        let mut governor = Governor::prepare(&group, PUBLISHED, &options).unwrap();
        governor.launch().unwrap();
        let port = format!("{PUBLISHED}:{PORT}");
        let server = engine.serve("database-1", &["--publish", &port]).unwrap();
        let published = Self { governor, engine, group, lan, server };
        wait::until("the server's namespace to be captured", wait::PATIENCE, || {
            Ok(published.status().contains("arriving in net:").then_some(()))
        })
        .unwrap();
        published
    }

    fn status(&self) -> String {
        self.governor.cli(&["status"]).unwrap().ok().unwrap().out()
    }

    fn on_host(&self, class: Class, address: &str, sql: &str) -> Finished {
        let mut command = outside("psql", PUBLISHED);
        command.env("PGHOST", address);
        cgroup::enter(&mut command, &self.group.client(class)).unwrap();
        self.engine.enter(&mut command).unwrap();
        psql(command, sql).unwrap().ok().unwrap()
    }

    fn on_lan(&self, sql: &str) -> Finished {
        let mut command = outside("psql", PUBLISHED);
        command.env("PGHOST", HOST);
        self.lan.enter(&mut command).unwrap();
        psql(command, sql).unwrap().ok().unwrap()
    }

    /// What the server has, asked past governor by its unix socket in the container.
    fn secret(&self) -> String {
        let bin = governor_tests::programs::default_server().unwrap().join("psql");
        let ask = [
            "exec",
            "database-1",
            bin.to_str().unwrap(),
            "-XqAt",
            "-h",
            "/tmp",
            "-U",
            "app",
            "shop",
            "-c",
            ASK,
        ];
        self.engine.podman(&ask).unwrap().ok().unwrap().out().trim().to_owned()
    }
}

#[test]
fn a_port_that_the_engine_publishes_is_governed_once_for_host_container_and_lan() {
    if no_engine() {
        return;
    }
    let published = Published::start();
    let engine = &published.engine;
    let status = published.status();
    assert!(
        status.contains("at ports 5432 (postgres) in container database-1, shop.test/postgres:1"),
        "{status}"
    );
    let secret = published.secret();
    for address in [HOST, "127.0.0.1"] {
        // Governed again in the container it would be a person, by the host's address.
        assert_eq!(published.on_host(Class::Service, address, ASK).out().trim(), secret, "{address}");
        assert!(!published.on_host(Class::Agent, address, ASK).all().contains(&secret), "{address}");
    }
    let client = engine.run("billing-1", &[], BILLING, WAITS).unwrap();
    let done = wait::until("governor to listen in the container", wait::PATIENCE, || {
        let done = engine.psql("billing-1", GATEWAY, PUBLISHED, ASK)?;
        Ok((!done.err().contains("Operation not permitted")).then_some(done))
    })
    .unwrap();
    assert_eq!(done.ok().unwrap().out().trim(), secret, "a container of the same engine");
    wait::until("all of them to be completed", wait::PATIENCE, || {
        Ok((published.governor.events("completion")?.len() >= 5).then_some(()))
    })
    .unwrap();
    let statements = published.governor.events("statement").unwrap();
    assert_eq!(statements.len(), 5, "each once: {statements:#?}");
    assert!(statements.iter().all(|statement| text(statement, "pid") != "0"), "{statements:#?}");
    let starts = published.governor.events("session_start").unwrap();
    let of_client = starts.iter().filter(|start| field(start, "principal")["container"] == client).count();
    assert_eq!(of_client, 1, "{starts:#?}");
    // Another host: by the address that arrives in the container, whose engine leaves it as it is.
    let seen = published.on_lan("SELECT inet_client_addr()").out();
    assert!(!published.on_lan(ASK).all().contains(&secret), "a person until the configuration says more");
    let of_lan = |record: &serde_json::Value| field(record, "principal")["user"] == LAN;
    let start = published.governor.wait_for_record("session_start", of_lan).unwrap();
    let address = engine.inspect("database-1", "{{.NetworkSettings.IPAddress}}").unwrap();
    assert_eq!(field(&start, "destination")["address"], address, "{start} {seen}");
    published.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
    // The engine knows the same id as the group that was found.
    assert_eq!(engine.inspect("database-1", "{{.Id}}").unwrap(), published.server);
    // It ends, and what was captured in it too.
    engine.podman(&["rm", "--force", "--time", "0", "database-1"]).unwrap().ok().unwrap();
    wait::until("governor to leave the container", wait::PATIENCE, || {
        Ok((!published.status().contains("database-1")).then_some(()))
    })
    .unwrap();
}
