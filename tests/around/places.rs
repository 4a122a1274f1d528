//! Sockets that are made, connected or used at another place or time than the hooks expect.

use super::stage::{Stage, Talk, User, inherit, tool};
use governor_tests::database_host::{self, DatabaseHost, PORT};
use governor_tests::governor::text;
use governor_tests::network::{self, alone};
use governor_tests::{Auth, Class, Options, process, wait};
use std::os::unix::net::UnixStream;
use std::process::Command;

#[test]
fn a_socket_made_before_the_hooks_is_governed_when_it_connects() {
    alone(|| {
        let mut stage = Stage::set();
        stage.site.governor.stop().unwrap();
        let agents = stage.site.group.client(Class::Agent);
        let made = ["127.0.0.1", "::1", "10.77.0.1"].map(|host| {
            let program = stage.attacker(&agents, User::Nobody, "made_before", (host, stage.port()), &[]);
            Talk::start("made_before", program).ready()
        });
        stage.site.governor.launch().unwrap();
        for talk in made {
            stage.assert_governed(&talk.go());
        }
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// Hooks follow the cgroup in which the socket was made; who may move is the kernel's business, and not everybody may.
#[test]
fn moving_to_another_cgroup_takes_rights_and_takes_no_socket_along() {
    alone(|| {
        let stage = Stage::set();
        let away = stage.site.group.agent_host();
        let away = away.to_str().unwrap();
        for when in ["first", "later"] {
            let moved = stage.ask(User::Nobody, "moves", "127.0.0.1", &[away, when]);
            stage.assert_refused(&moved, "EACCES");
        }
        // Root may; a socket that it made inside stays inside.
        let moved = stage.ask(User::Root, "moves", "127.0.0.1", &[away, "later"]);
        stage.assert_recorded(&moved, moved.pid);
        // From one captured group to another: still captured.
        let service = stage.site.group.client(Class::Service);
        let answer = stage.ask(User::Root, "moves", "127.0.0.1", &[service.to_str().unwrap(), "later"]);
        stage.assert_recorded(&answer, answer.pid);
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// A socket that another process of the captured groups made, by SCM_RIGHTS: governed as whoever connects it.
#[test]
fn a_descriptor_that_is_handed_over_keeps_its_capture() {
    alone(|| {
        let stage = Stage::set();
        let (agents, services) =
            (stage.site.group.client(Class::Agent), stage.site.group.client(Class::Service));
        for (state, then) in [("fresh", "connect"), ("connected", "use")] {
            let (one, other) = UnixStream::pair().unwrap();
            let give = start_with(&stage, &services, "gives", one, &[state]).ready();
            let giver = give.pid();
            let answer = start_with(&stage, &agents, "given", other, &[then]).go();
            let who = if then == "connect" { answer.pid } else { giver };
            // A connected one is its maker's session: the identity is of who connected.
            stage.assert_recorded(&answer, who);
            give.go();
        }
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

pub fn start_with(
    stage: &Stage,
    cgroup: &std::path::Path,
    way: &str,
    channel: UnixStream,
    more: &[&str],
) -> Talk {
    let number = {
        use std::os::fd::AsRawFd as _;
        channel.as_raw_fd().to_string()
    };
    let (mut command, marker) = stage.attacker(
        cgroup,
        User::Nobody,
        way,
        ("127.0.0.1", stage.port()),
        &[&[number.as_str()], more].concat(),
    );
    assert_eq!(inherit(&mut command, channel.into()), number);
    Talk::start(way, (command, marker))
}

#[test]
fn a_namespace_that_anybody_may_make_reaches_nothing() {
    alone(|| {
        let stage = Stage::set();
        for host in ["127.0.0.1", "10.77.0.1"] {
            let answer = stage.ask(User::Nobody, "new_namespace", host, &[]);
            if let Some(why) = answer.absent() {
                println!("not on this host: {why}");
                continue;
            }
            // Refused by the kernel, or answered by governor that there is no such server in there.
            assert!(!answer.outcome().starts_with("rows "), "{answer:?}");
            assert_eq!(stage.heard(&answer.marker), 0, "{answer:?}");
        }
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// A namespace as a container has it: a cable to the host, and the server at the host's end.
pub struct Container {
    holder: process::Running,
}

impl Container {
    pub fn make() -> Self {
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sleep", "600"]);
        let holder = process::Running::start(holder, &[]).unwrap();
        let container = Self { holder };
        wait::until("the namespace", wait::PATIENCE, || {
            let own = std::fs::read_link("/proc/self/ns/net")?;
            let theirs = std::fs::read_link(container.path());
            Ok(theirs.is_ok_and(|theirs| theirs != own).then_some(()))
        })
        .unwrap();
        network::cable("pod0", "pod1").unwrap();
        network::ip(&["addr", "add", "10.78.0.1/24", "dev", "pod0"]).unwrap();
        network::up("pod0").unwrap();
        network::ip(&["link", "set", "pod1", "netns", &container.holder.pid().to_string()]).unwrap();
        for command in ["ip link set lo up", "ip addr add 10.78.0.2/24 dev pod1", "ip link set pod1 up"] {
            container.run(command);
        }
        container
    }

    pub fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.pid())
    }

    fn run(&self, command: &str) {
        let enter = format!("--net={}", self.path());
        tool("nsenter", &[&enter, "--", "sh", "-c", command], "").ok().unwrap();
    }
}

#[test]
fn another_network_namespace_is_governed_or_refused() {
    alone(|| {
        let stage = Stage::set();
        let container = Container::make();
        // Entering takes rights over the namespace that is entered.
        let entered = stage.ask(User::Nobody, "namespace", "10.78.0.1", &[&container.path()]);
        assert!(entered.outcome().starts_with("errno E"), "{entered:?}");
        let entered = stage.ask(User::Root, "namespace", "10.78.0.1", &[&container.path()]);
        if entered.outcome() == "errno EPERM" {
            assert_eq!(stage.heard(&entered.marker), 0, "{entered:?}");
        } else {
            stage.assert_governed(&entered);
        }
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// Rewriting destinations takes CAP_NET_ADMIN in the namespace. The port that the program dials is what counts here; what
/// arrives at the server's port by another number is for the guard at the server.
#[test]
fn translated_addresses_are_governed_by_the_port_that_was_dialled() {
    alone(|| {
        let stage = Stage::set();
        let rules = format!(
            "table ip around {{\n chain output {{\n type nat hook output priority -100\n\
             ip daddr 203.0.113.9 tcp dport {0} dnat to 10.77.0.1:{0}\n }}\n}}\n",
            stage.port()
        );
        network::ip(&["route", "add", "203.0.113.0/24", "dev", "cable0"]).unwrap();
        let agents = stage.site.group.client(Class::Agent);
        let mut unprivileged = Command::new("nft");
        unprivileged.args(["-f", "-"]);
        use std::os::unix::process::CommandExt as _;
        unprivileged.uid(65534).gid(65534).current_dir("/");
        governor_tests::cgroup::enter(&mut unprivileged, &agents).unwrap();
        let refused = process::Running::start(unprivileged, rules.as_bytes()).unwrap();
        assert!(!refused.finish(wait::PATIENCE).unwrap().status.success());
        let set = tool("nft", &["-f", "-"], &rules);
        assert!(set.status.success(), "{}", set.all());
        stage.assert_governed(&stage.ask(User::Nobody, "plain", "203.0.113.9", &[]));
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// A relay makes connections of its own: they are governed, as the relay's.
#[test]
fn a_relay_on_the_host_is_governed_as_itself() {
    alone(|| {
        let stage = Stage::set();
        let services = stage.site.group.client(Class::Service);
        let at = governor_tests::postgres::free_port().unwrap();
        let (command, marker) =
            stage.attacker(&services, User::Nobody, "relay", ("127.0.0.1", at), &[&stage.port().to_string()]);
        let relay = Talk::start("relay", (command, marker)).ready();
        let agents = stage.site.group.client(Class::Agent);
        let (command, marker) = stage.attacker(&agents, User::Nobody, "plain", ("127.0.0.1", at), &[]);
        let answer = Talk::start("plain", (command, marker)).go();
        stage.assert_recorded(&answer, relay.pid());
        relay.go();
        stage.assert_nothing_went_around();
    })
    .unwrap();
}

/// With capture at the server, the port that counts is the server's own: whatever was dialled, and whatever rewrote it.
#[test]
fn a_rewritten_port_is_governed_or_closed_where_the_server_is() {
    let options = Options { server_settings: vec!["log_statement=all"], ..Options::default() };
    let site = DatabaseHost::start("ports = [5432]", Auth::Trust, &options).unwrap();
    let rules = format!(
        "table ip around {{\n chain output {{\n type nat hook output priority -100\n\
         tcp dport 15432 dnat to 10.77.0.1:{PORT}\n }}\n}}\n"
    );
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]);
    site.host.enter(&mut nft).unwrap();
    process::Running::start(nft, rules.as_bytes()).unwrap().finish(wait::PATIENCE).unwrap().ok().unwrap();

    let mut psql = site.local("psql", "10.77.0.1", Class::Agent).unwrap();
    psql.env("PGPORT", "15432");
    let answer = database_host::psql(psql, "SELECT ssn, 'around-dnat' FROM people WHERE id = 1").unwrap();
    let secret = site.truth("SELECT ssn FROM people WHERE id = 1").unwrap();
    assert!(!answer.out().contains(&secret), "the secret, by another port: {}", answer.all());
    let heard = site.postgres.log().lines().filter(|line| line.contains("around-dnat")).count();
    let records = site.governor.events("statement").unwrap();
    let recorded = records.iter().filter(|record| text(record, "text").contains("around-dnat")).count();
    assert_eq!(heard, recorded, "{}", answer.all());
    println!("by a rewritten port: {} {}", answer.out().trim(), answer.err().trim());
}
