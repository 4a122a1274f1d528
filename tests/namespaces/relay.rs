//! A relay in a container, captured as every process of it: what reaches it and what it makes are two connections of two
//! processes. Both are governed and on record, each by its own process, and none is governed a third time.

use super::{Host, server};
use governor_tests::governor::{field, text};
use governor_tests::postgres::free_port;
use governor_tests::relay::relay;
use governor_tests::{Class, Namespace, Running, cgroup, process, wait};
use serde_json::Value;
use std::process::Command;

const ASK: &str = "SELECT email FROM people ORDER BY id LIMIT 1";
const SERVER: &str = "10.78.0.1";
/// The relay's container has this end of the cable.
const CONTAINER: &str = "10.78.0.2";

/// A server in one container; in the other a relay of this class, which listens on the server's own port at every address.
struct Relayed {
    host: Host,
    relay: Running,
    container: Namespace,
    server: governor_tests::postgres::Postgres,
    _far: Namespace,
}

impl Relayed {
    fn start(class: Class) -> Self {
        let port = free_port().unwrap();
        let [far, container] = [Namespace::create().unwrap(), Namespace::create().unwrap()];
        far.connect("to-relay", &format!("{SERVER}/24"), &container, "to-server").unwrap();
        container.ip(&format!("address add {CONTAINER}/24 dev to-server")).unwrap();
        let server = server(&far, port, &["listen_addresses=*"]);
        server.authenticate("host all all all trust").unwrap();
        let host = Host::start(port, "");
        let mut python = relay(("0.0.0.0", port), (SERVER, port));
        container.enter(&mut python).unwrap();
        cgroup::enter(&mut python, &host.group.client(class)).unwrap();
        let relay = Running::start(python, &[]).unwrap();
        wait::until("the relay", wait::PATIENCE, || {
            let mut ss = Command::new("ss");
            ss.args(["-H", "-l", "-t", "-n"]);
            container.enter(&mut ss)?;
            Ok(process::run(ss, wait::PATIENCE)?
                .ok()?
                .out()
                .contains(&format!("0.0.0.0:{port}"))
                .then_some(()))
        })
        .unwrap();
        host.wait_served(1);
        Self { host, relay, container, server, _far: far }
    }

    fn ask(&self, class: Class, address: &str) -> (u32, String) {
        let psql = self.host.running(&self.container, class, address, &format!("{ASK};"));
        let pid = psql.pid();
        (pid, psql.finish(wait::PATIENCE).unwrap().ok().unwrap().all())
    }

    /// Pids of the sessions on record that sent [`ASK`], in the order of the records.
    fn asked(&self) -> Vec<String> {
        let statements = self.host.governor.events("statement").unwrap();
        let is_it = |statement: &&Value| text(statement, "text").trim_end_matches(';') == ASK;
        statements.iter().filter(is_it).map(|statement| text(statement, "pid")).collect()
    }

    fn end(mut self) {
        self.relay.signal(libc::SIGKILL).unwrap();
        self.relay.finish(wait::PATIENCE).unwrap();
        self.host.governor.stop().unwrap();
        self.host.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
    }
}

#[test]
fn a_captured_relay_in_a_container_is_governed_as_itself_beside_its_clients() {
    let relayed = Relayed::start(Class::Service);
    let secret = relayed.server.admin("shop", ASK).unwrap();
    let relay = relayed.relay.pid().to_string();
    // Each of the container's addresses is the relay's, at the port that is captured.
    for (round, address) in ["127.0.0.1", CONTAINER].into_iter().enumerate() {
        let before = relayed.asked().len();
        assert_eq!(before, round * 4);
        let (service, seen) = relayed.ask(Class::Service, address);
        assert_eq!(seen.trim(), secret, "a service through a service");
        let (agent, seen) = relayed.ask(Class::Agent, address);
        assert!(!seen.contains(&secret), "masked where it asked: {seen}");
        let mut since = relayed.asked().split_off(before);
        since.sort_unstable();
        let mut expected = vec![service.to_string(), agent.to_string(), relay.clone(), relay.clone()];
        expected.sort_unstable();
        assert_eq!(since, expected, "each is on record twice, once as the relay's");
    }
    // Past the relay there is one connection, and it is on record once.
    let before = relayed.asked().len();
    let (pid, _) = relayed.ask(Class::Service, SERVER);
    assert_eq!(relayed.asked().split_off(before), [pid.to_string()]);
    let starts = relayed.host.governor.events("session_start").unwrap();
    let inode = relayed.container.inode().unwrap();
    assert!(
        starts.iter().all(|start| field(start, "destination")["namespace"]["inode"] == inode),
        "{starts:#?}"
    );
    relayed.end();
}

/// What the relay may not see, nobody sees through it.
#[test]
fn a_service_behind_a_relay_that_is_an_agent_is_masked() {
    let relayed = Relayed::start(Class::Agent);
    let secret = relayed.server.admin("shop", ASK).unwrap();
    let (_, direct) = relayed.ask(Class::Service, SERVER);
    assert_eq!(direct.trim(), secret);
    let (_, seen) = relayed.ask(Class::Service, "127.0.0.1");
    assert!(!seen.contains(&secret), "{seen}");
    relayed.end();
}

/// A relay that leads to itself asks itself without end, with governor as without it: each round is one connection more. The
/// bound is governor's, and who asked is told.
#[test]
fn a_relay_that_leads_to_itself_ends_at_the_limit_of_one_process() {
    let port = free_port().unwrap();
    let container = Namespace::create().unwrap();
    let host = Host::start(port, "[limits]\nconnections_per_source_max = 8\n");
    let mut python = relay(("127.0.0.1", port), ("127.0.0.1", port));
    container.enter(&mut python).unwrap();
    cgroup::enter(&mut python, &host.group.client(Class::Service)).unwrap();
    let relay = Running::start(python, &[]).unwrap();
    host.wait_served(1);
    let done = host.psql_found(&container, Class::Service, "127.0.0.1", "SELECT 1;");
    assert!(!done.status.success(), "{}", done.all());
    wait::until("all of them to end", wait::PATIENCE, || {
        Ok((host.metric("governor_connections_active") == 0).then_some(()))
    })
    .unwrap();
    // Still there for others.
    let starts = host.governor.events("session_start").unwrap().len();
    assert!(starts <= 16, "{starts}");
    relay.signal(libc::SIGKILL).unwrap();
    relay.finish(wait::PATIENCE).unwrap();
}
