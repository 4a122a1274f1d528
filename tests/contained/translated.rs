//! A container's published port over IPv6: as [`super::published`], with addresses that `ip6` translates.
//!
//! ```text
//! lan fd79::2 ═════ fd79::1 :15432  host: governor  fd78::1 ═════ fd78::2 :5432  container 0
//! ```

use super::published::{ASK, PUBLISHED, Published};
use super::sees;
use governor_tests::database_host::{PORT, psql};
use governor_tests::governor::{field, text};
use governor_tests::{Class, Options};

const HOST: &str = "fd79::1";
const LAN: &str = "fd79::2";
/// Of the host, on its cable to the container.
const GATEWAY: &str = "fd78::1";
const CONTAINER: &str = "fd78::2";

/// The same site with IPv6 beside IPv4, and rules as a container engine makes them.
fn start(inbound: &str, more: &str) -> Published {
    let published = Published::start(1, inbound, &Options::default());
    let (host, lan) = (&published.site.host, &published.lan);
    let container = &published.site.containers[0].namespace;
    for (namespace, device, address) in [
        (host, "to-lan", HOST),
        (lan, "eth0", LAN),
        (host, "to-c0", GATEWAY),
        (container, "to-host", CONTAINER),
    ] {
        namespace.ip(&format!("address add {address}/64 dev {device} nodad")).unwrap();
    }
    container.ip(&format!("-6 route add default via {GATEWAY}")).unwrap();
    host.set("ipv6.conf.all.forwarding", "1").unwrap();
    let to = format!("fib daddr type local tcp dport {PUBLISHED} dnat to [{CONTAINER}]:{PORT}");
    let rules = format!(
        "table ip6 published {{\n\
         chain prerouting {{\n type nat hook prerouting priority -100\n {to}\n }}\n\
         chain output {{\n type nat hook output priority -100\n ip6 daddr != ::1 {to}\n }}\n{more}}}\n"
    );
    host.nft(&rules).unwrap();
    published
}

#[test]
fn from_another_host_over_ipv6_the_container_governs_and_sees_the_client() {
    let published = start("", "");
    let from_lan =
        |sql: &str| psql(published.command(&published.lan, None, HOST), sql).unwrap().ok().unwrap();
    assert_eq!(from_lan(&sees(LAN)).out(), "t\n", "the server sees the client");
    let secret = published.secret();
    assert!(!from_lan(ASK).all().contains(&secret), "a person until the configuration says more");
    assert_eq!(published.statements(2).len(), 2, "each once");
    let start = published.governor().wait_for_record("session_start", |_| true).unwrap();
    let (to, principal) = (field(&start, "destination"), field(&start, "principal"));
    let inode = published.site.containers[0].namespace.inode().unwrap();
    assert_eq!(
        (&to["address"], &to["port"], &to["namespace"]["inode"]),
        (&CONTAINER.into(), &PORT.into(), &inode.into())
    );
    assert_eq!((&principal["user"], &principal["class"]), (&LAN.into(), &"person".into()));
    published.cancels(published.command(&published.lan, None, HOST));
    published.governor().cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}

#[test]
fn where_the_clients_ipv6_address_is_translated_too_nobody_knows_it() {
    let masquerade =
        "chain postrouting {\n type nat hook postrouting priority 100\n oifname to-c0 masquerade\n }\n";
    let published = start("", masquerade);
    let seen = psql(published.command(&published.lan, None, HOST), &sees(GATEWAY)).unwrap().ok().unwrap();
    assert_eq!(seen.out(), "t\n", "as without governor");
    let start = published.governor().wait_for_record("session_start", |_| true).unwrap();
    assert_eq!(field(&start, "principal")["user"], GATEWAY, "all clients are one");
}

#[test]
fn a_process_of_the_host_is_governed_once_over_ipv6() {
    let published = start("published = [15432]", "");
    let secret = published.secret();
    assert_eq!(published.on_host(Class::Agent, HOST, &sees(HOST)).out(), "t\n", "the server sees the host");
    // Governed again at the container it would be a person, by the host's address.
    assert_eq!(published.on_host(Class::Service, HOST, ASK).out().trim(), secret);
    assert!(!published.on_host(Class::Agent, HOST, ASK).all().contains(&secret));
    published.by_their_processes(3);
    let starts = published.governor().events("session_start").unwrap();
    let dialled = |start: &&serde_json::Value| {
        let to = field(start, "destination");
        to["port"] == PUBLISHED && to["address"] == HOST
    };
    assert_eq!(starts.iter().filter(dialled).count(), 3, "a process is on record with what it dialled");
    published.cancels(published.command(&published.site.host, Some(Class::Service), HOST));
}

#[test]
fn an_ipv6_port_that_is_not_named_is_governed_twice() {
    let published = start("", "");
    let secret = published.secret();
    let service = published.on_host(Class::Service, HOST, ASK);
    assert!(!service.all().contains(&secret), "the second time it is somebody at the host's address: masked");
    let statements = published.statements(2);
    let users: Vec<_> = statements.iter().map(|statement| text(statement, "user")).collect();
    assert_eq!(users.iter().filter(|user| *user == HOST).count(), 1, "{users:?}");
}
