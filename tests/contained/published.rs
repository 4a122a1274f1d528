//! A container's published port: 15432 of the host leads to 5432 in the container, by translated addresses (nftables in the host's
//! namespace, which is the test's own) or through a relay in user space. Beside the host there is a client on a network of its own.
//!
//! ```text
//! lan 10.79.0.2 ═════ 10.79.0.1 :15432  host: governor  10.78.0.1 ═════ 10.78.0.2 :5432  container 0
//! ```

use super::{SERVERS, sees};
use governor_tests::containers::Containers;
use governor_tests::database_host::{PORT, SERVER_V4, psql, psql_running};
use governor_tests::governor::{Governor, field, text};
use governor_tests::relay::{docker_proxy, relay as relaying};
use governor_tests::{Class, Finished, Namespace, Options, Running, cgroup, client, process, programs, wait};
use serde_json::Value;
use std::process::Command;

pub const PUBLISHED: u16 = 15432;
const HOST: &str = "10.79.0.1";
const LAN: &str = "10.79.0.2";
/// Of the host, on its cable to the container.
const GATEWAY: &str = "10.78.0.1";
pub const ASK: &str = "SELECT email FROM people WHERE id = 1";

pub struct Published {
    pub site: Containers,
    pub lan: Namespace,
}

impl Published {
    /// The published port is captured where processes of the clients' group connect to it.
    pub fn start(count: usize, inbound: &str, options: &Options) -> Self {
        let site = Containers::start(count, &format!("{SERVERS}\n{inbound}"), PUBLISHED, options).unwrap();
        let lan = Namespace::create().unwrap();
        site.host.connect("to-lan", &format!("{HOST}/24"), &lan, "eth0").unwrap();
        lan.ip(&format!("address add {LAN}/24 dev eth0")).unwrap();
        site.host.set("ipv4.ip_forward", "1").unwrap();
        Self { site, lan }
    }

    /// As a container engine does it.
    fn translate(&self, more: &str) {
        let to = format!("fib daddr type local tcp dport {PUBLISHED} dnat to 10.78.0.2:{PORT}");
        let rules = format!(
            "table ip published {{\n\
             chain prerouting {{\n type nat hook prerouting priority -100\n {to}\n }}\n\
             chain output {{\n type nat hook output priority -100\n ip daddr != 127.0.0.0/8 {to}\n }}\n{more}}}\n"
        );
        self.site.host.nft(&rules).unwrap();
    }

    pub fn governor(&self) -> &Governor {
        &self.site.governor
    }

    pub fn secret(&self) -> String {
        self.site.containers[0].truth(ASK).unwrap()
    }

    /// psql in this namespace; of this class, where it is one of the captured group's.
    pub fn command(&self, from: &Namespace, class: Option<Class>, address: &str) -> Command {
        let mut command = client::outside("psql", PUBLISHED);
        command.env("PGHOST", address);
        from.enter(&mut command).unwrap();
        if let Some(class) = class {
            cgroup::enter(&mut command, &self.site.group.client(class)).unwrap();
        }
        command
    }

    pub fn on_host(&self, class: Class, address: &str, sql: &str) -> Finished {
        psql(self.command(&self.site.host, Some(class), address), sql).unwrap().ok().unwrap()
    }

    fn on_lan(&self, sql: &str) -> Finished {
        psql(self.command(&self.lan, None, HOST), sql).unwrap().ok().unwrap()
    }

    /// Starts something long, and cancels it.
    pub fn cancels(&self, command: Command) {
        let running = psql_running(command, "SELECT pg_sleep(600)").unwrap();
        wait::until("the statement", wait::PATIENCE, || {
            let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            Ok((self.site.containers[0].truth(asleep)? == "1").then_some(()))
        })
        .unwrap();
        running.signal(libc::SIGINT).unwrap();
        let done = running.finish(wait::PATIENCE).unwrap();
        assert!(done.err().contains("57014"), "{}", done.all());
    }

    /// Every statement so far, once all of this many are over.
    pub fn statements(&self, count: usize) -> Vec<Value> {
        wait::until("all of them to be completed", wait::PATIENCE, || {
            Ok((self.governor().events("completion")?.len() >= count).then_some(()))
        })
        .unwrap();
        let statements = self.governor().events("statement").unwrap();
        assert_eq!(statements.len(), count, "{statements:#?}");
        statements
    }

    /// Nobody but the processes that asked is on record.
    pub fn by_their_processes(&self, count: usize) {
        let statements = self.statements(count);
        assert!(statements.iter().all(|statement| text(statement, "pid") != "0"), "{statements:#?}");
        assert_eq!(self.governor().events("session_decision").unwrap().len(), count);
        self.governor().cli(&["audit", "completeness"]).unwrap().ok().unwrap();
    }
}

#[test]
fn from_another_host_by_translated_addresses_the_container_governs_and_sees_the_client() {
    let published = Published::start(1, "", &Options::default());
    published.translate("");
    assert_eq!(published.on_lan(&sees(LAN)).out(), "t\n", "the server sees the client");
    let secret = published.secret();
    assert!(!published.on_lan(ASK).all().contains(&secret), "a person until the configuration says more");
    assert_eq!(published.statements(2).len(), 2, "each once");
    let start = published.governor().wait_for_record("session_start", |_| true).unwrap();
    let (to, principal) = (field(&start, "destination"), field(&start, "principal"));
    let inode = published.site.containers[0].namespace.inode().unwrap();
    // Where it arrived. Which port was dialled is known to whoever translates, and to nobody behind that.
    assert_eq!(
        (&to["address"], &to["port"], &to["namespace"]["inode"]),
        (&"10.78.0.2".into(), &PORT.into(), &inode.into())
    );
    assert_eq!((&principal["user"], &principal["class"]), (&LAN.into(), &"person".into()));
    published.cancels(published.command(&published.lan, None, HOST));
    published.governor().cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}

#[test]
fn where_the_clients_address_is_translated_too_nobody_knows_it() {
    let published = Published::start(1, "", &Options::default());
    published.translate(
        "chain postrouting {\n type nat hook postrouting priority 100\n oifname to-c0 masquerade\n }\n",
    );
    assert_eq!(published.on_lan(&sees(GATEWAY)).out(), "t\n", "as without governor");
    let start = published.governor().wait_for_record("session_start", |_| true).unwrap();
    assert_eq!(field(&start, "principal")["user"], GATEWAY, "all clients are one");
}

#[test]
fn a_process_of_the_host_or_of_another_container_is_governed_once_by_translated_addresses() {
    let published = Published::start(2, "published = [15432]", &Options::default());
    published.translate("");
    let secret = published.secret();
    assert_eq!(published.on_host(Class::Agent, HOST, &sees(HOST)).out(), "t\n", "the server sees the host");
    // Governed again at the container it would be a person, by the host's address.
    assert_eq!(published.on_host(Class::Service, HOST, ASK).out().trim(), secret);
    assert!(!published.on_host(Class::Agent, HOST, ASK).all().contains(&secret));
    let other = &published.site.containers[1];
    let from_other = |class, sql: &str| {
        wait::until("governor to listen in the container", wait::PATIENCE, || {
            let done = psql(published.command(&other.namespace, Some(class), HOST), sql)?;
            Ok((!done.err().contains("Operation not permitted")).then_some(done))
        })
        .unwrap()
        .ok()
        .unwrap()
    };
    assert_eq!(
        from_other(Class::Agent, &sees(&other.from_host)).out(),
        "t\n",
        "the server sees the other container"
    );
    assert_eq!(from_other(Class::Service, ASK).out().trim(), secret);
    published.by_their_processes(5);
    let starts = published.governor().events("session_start").unwrap();
    let dialled = starts.iter().filter(|start| field(start, "destination")["port"] == PUBLISHED).count();
    assert_eq!(dialled, 5, "a process is on record with what it dialled");
    published.cancels(published.command(&published.site.host, Some(Class::Service), HOST));
}

#[test]
fn a_published_port_that_is_not_named_is_governed_twice() {
    let published = Published::start(1, "", &Options::default());
    published.translate("");
    let secret = published.secret();
    let service = published.on_host(Class::Service, HOST, ASK);
    assert!(!service.all().contains(&secret), "the second time it is somebody at the host's address: masked");
    let statements = published.statements(2);
    let users: Vec<_> = statements.iter().map(|statement| text(statement, "user")).collect();
    assert_eq!(users.iter().filter(|user| *user == HOST).count(), 1, "{users:?}");
}

/// A program that accepts at an address and goes on to another.
type Relay = fn((&str, u16), (&str, u16)) -> Command;

/// On the host; of this class, where it is one of the captured group's. Ends with what is returned.
fn relay(published: &Published, class: Option<Class>, program: Relay) -> Running {
    let site = &published.site;
    relay_in(&site.host, site, class, program(("0.0.0.0", PUBLISHED), ("10.78.0.2", PORT)), PUBLISHED)
}

fn relay_in(
    namespace: &Namespace,
    site: &Containers,
    class: Option<Class>,
    mut program: Command,
    port: u16,
) -> Running {
    namespace.enter(&mut program).unwrap();
    if let Some(class) = class {
        cgroup::enter(&mut program, &site.group.client(class)).unwrap();
    }
    let running = Running::start(program, &[]).unwrap();
    wait::until("the relay", wait::PATIENCE, || {
        let mut ss = Command::new("ss");
        ss.args(["-H", "-l", "-t", "-n"]);
        namespace.enter(&mut ss)?;
        Ok(process::run(ss, wait::PATIENCE)?.ok()?.out().contains(&format!(":{port}")).then_some(()))
    })
    .unwrap();
    running
}

#[test]
fn through_a_relay_of_the_host_a_process_is_governed_once_and_another_host_is_the_relays_address() {
    governed_once_through(relaying);
}

#[test]
fn through_dockers_own_relay_it_is_the_same() {
    if programs::missing("docker-proxy", &programs::docker_proxy()) {
        return;
    }
    governed_once_through(docker_proxy);
}

fn governed_once_through(program: Relay) {
    let published = Published::start(1, "published = [15432]", &Options::default());
    let relay = relay(&published, None, program);
    let secret = published.secret();
    for address in ["127.0.0.1", HOST] {
        let seen = published.on_host(Class::Agent, address, &sees(GATEWAY));
        assert_eq!(seen.out(), "t\n", "the server sees whom it would see without governor: the relay");
        assert_eq!(published.on_host(Class::Service, address, ASK).out().trim(), secret);
        assert!(!published.on_host(Class::Agent, address, ASK).all().contains(&secret));
    }
    published.by_their_processes(6);
    published.cancels(published.command(&published.site.host, Some(Class::Service), "127.0.0.1"));
    // A client elsewhere ends at the relay: behind it there is the relay's address, and nothing else to know.
    assert_eq!(published.on_lan(&sees(GATEWAY)).out(), "t\n");
    assert!(!published.on_lan(ASK).all().contains(&secret));
    let start = published
        .governor()
        .wait_for_record("session_start", |start| field(start, "principal")["user"] == GATEWAY)
        .unwrap();
    assert_eq!(field(&start, "principal")["class"], "person");
    relay.signal(libc::SIGKILL).unwrap();
    relay.finish(wait::PATIENCE).unwrap();
}

/// The relay's own connections are captured where it makes them: it is a process as any other.
#[test]
fn a_relay_that_is_captured_itself_is_governed_as_itself_beside_its_client() {
    captured_itself(relaying);
}

#[test]
fn dockers_own_relay_that_is_captured_itself_is_governed_as_itself() {
    if programs::missing("docker-proxy", &programs::docker_proxy()) {
        return;
    }
    captured_itself(docker_proxy);
}

fn captured_itself(program: Relay) {
    let rule = |group: &str| format!("[[capture.rules]]\ncgroup = {group:?}\nports = [{PORT}]\n");
    let mut published = Published::start(1, "published = [15432]", &Options::default());
    let group = published.site.group.clients().to_str().unwrap().to_owned();
    published.site.governor.stop().unwrap();
    let path = published.site.governor.config_path();
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config + "\n" + &rule(&group)).unwrap();
    published.site.governor.launch().unwrap();
    let relay = relay(&published, Some(Class::Service), program);
    let secret = published.secret();
    assert_eq!(published.on_host(Class::Service, "127.0.0.1", ASK).out().trim(), secret);
    let agent = published.on_host(Class::Agent, "127.0.0.1", ASK);
    assert!(!agent.all().contains(&secret), "{}", agent.all());
    // Beside them the relay's records have what governor asks the server about the agent's statement.
    let asked = || -> Vec<Value> {
        let statements = published.governor().events("statement").unwrap();
        statements.into_iter().filter(|statement| text(statement, "text") == ASK).collect()
    };
    let of_relay = relay.pid().to_string();
    let by_relay = asked().iter().filter(|statement| text(statement, "pid") == of_relay).count();
    assert_eq!(
        (asked().len(), by_relay),
        (4, 2),
        "each is on record twice, once as the relay's: {:#?}",
        asked()
    );
    // Governor's question ends at the relay, and is not asked again at once.
    let hellos = published.governor().events("hello").unwrap();
    let unexpected = hellos.iter().filter(|hello| text(hello, "outcome") == "unexpected").count();
    assert_eq!(unexpected, 1, "{hellos:#?}");
    // A client elsewhere is the relay, then: a service's connection, not masked. What is meant for clients there must not
    // pass through a captured relay of another class.
    assert_eq!(published.on_lan(ASK).out().trim(), secret);
    relay.signal(libc::SIGKILL).unwrap();
    relay.finish(wait::PATIENCE).unwrap();
}

/// A pooler beside the server in its container: what arrives at the pooler's own port is not captured, what it makes is.
#[test]
fn a_relay_beside_the_server_in_its_container_is_who_asks_there() {
    const POOLER: u16 = 16432;
    let site = super::site(1, SERVERS);
    let container = &site.containers[0];
    let secret = container.truth(ASK).unwrap();
    for (class, is_shown) in [(Class::Service, true), (Class::Agent, false)] {
        let program = relaying(("0.0.0.0", POOLER), ("127.0.0.1", PORT));
        let relay = relay_in(&container.namespace, &site, Some(class), program, POOLER);
        let mut command = container.remote("psql", SERVER_V4).unwrap();
        command.env("PGPORT", POOLER.to_string());
        let done = psql(command, ASK).unwrap().ok().unwrap();
        assert_eq!(done.all().contains(&secret), is_shown, "{}", done.all());
        let pid = relay.pid().to_string();
        let of_relay = || -> Vec<Value> {
            let statements = site.governor.events("statement").unwrap();
            statements.into_iter().filter(|statement| text(statement, "pid") == pid).collect()
        };
        wait::until("the statement's record", wait::PATIENCE, || Ok((!of_relay().is_empty()).then_some(())))
            .unwrap();
        assert_eq!(of_relay().len(), 1, "once, as the relay's: {:#?}", of_relay());
        relay.signal(libc::SIGKILL).unwrap();
        relay.finish(wait::PATIENCE).unwrap();
    }
    assert_eq!(site.governor.events("session_decision").unwrap().len(), 2, "nobody else is on record");
    site.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}
