//! Containers that start, and try, while no governor runs: what it left in the kernel refuses them, and the next one serves
//! them as if they had come later.

use super::{Host, server, session};
use governor_tests::governor::{field, text};
use governor_tests::postgres::free_port;
use governor_tests::{Class, Namespace, Options, Running, client, wait};
use std::process::Stdio;

/// Connects once for each line that it reads, and says how that ended.
const TRIES: &str = r"
import errno, socket, sys
for _ in sys.stdin:
    try: socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print('open', flush=True)
    except OSError as error: print(errno.errorcode[error.errno], flush=True)
";

#[test]
fn a_container_that_starts_and_tries_while_governor_is_away_is_served_by_the_next() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let port = free_port().unwrap();
    let mut host = Host::start(port, "");
    host.governor.kill().unwrap();
    // A container with its server and a process that lives on, and another whose processes end before governor comes back.
    let [stays, idle] = [Namespace::create().unwrap(), Namespace::create().unwrap()];
    let servers = [&stays, &idle].map(|namespace| server(namespace, port, &[]));
    let mut tries = client::command("python3", &host.group, Class::Service, port).unwrap();
    tries.args(["-ISc", TRIES, &port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    stays.enter(&mut tries).unwrap();
    let mut tries = governor_tests::process::spawn(tries, libc::SIGKILL).unwrap();
    let mut input = tries.stdin.take().unwrap();
    let mut said = BufReader::new(tries.stdout.take().unwrap()).lines();
    let mut once = || {
        input.write_all(b"once\n").unwrap();
        said.next().unwrap().unwrap()
    };
    for _ in 0..3 {
        assert_eq!(once(), "EPERM", "nobody listens: refused");
        for class in Class::ALL {
            let done = host.psql(&idle, class, "127.0.0.1", "SELECT 1;");
            assert!(done.err().contains("Operation not permitted"), "{}", done.all());
        }
    }
    host.governor.launch().unwrap();
    // The namespace in which a captured process lives is served before governor is ready, without its doing anything.
    assert_eq!(once(), "open", "{}", host.governor.log());
    // Where none is left the next one is found as ever, by its first socket.
    let sql = "SELECT email FROM people ORDER BY id LIMIT 1";
    for (namespace, server) in [&stays, &idle].into_iter().zip(&servers) {
        let secret = server.admin("shop", sql).unwrap();
        let agent = host.psql_found(namespace, Class::Agent, "127.0.0.1", &format!("{sql};")).ok().unwrap();
        assert!(!agent.all().contains(&secret), "{}", agent.all());
        let psql = host.running(namespace, Class::Service, "127.0.0.1", &format!("{sql};"));
        let pid = psql.pid();
        assert_eq!(psql.finish(wait::PATIENCE).unwrap().ok().unwrap().out().trim(), secret);
        let start = session(&host, pid);
        assert_eq!(field(&start, "destination")["namespace"]["inode"], namespace.inode().unwrap());
    }
    // What was refused meanwhile is on record, by the process that tried.
    let pid = tries.id().to_string();
    host.governor
        .wait_for_record("kernel_event", |event| {
            text(event, "pid") == pid || field(event, "principal")["pid"] == tries.id()
        })
        .unwrap();
    drop(input);
    tries.wait().unwrap();
    drop((servers, stays, idle));
    host.wait_served(0);
    host.governor.stop().unwrap();
    host.governor.cli(&["audit", "completeness"]).unwrap().ok().unwrap();
}

/// A clean stop that keeps its hooks is the same as a kill, for who starts meanwhile.
#[test]
fn a_container_that_starts_after_a_stop_that_keeps_the_hooks_is_served_by_the_next() {
    let port = free_port().unwrap();
    let group = governor_tests::Cgroup::create("governor-test").unwrap();
    let options = Options { on_stop: "keep", ..Options::default() };
    let governor = governor_tests::Governor::start(&group, port, &options).unwrap();
    let mut host = Host { governor, group, port };
    host.governor.stop().unwrap();
    let container = Namespace::create().unwrap();
    let _server = server(&container, port, &[]);
    let mut waits = client::command("sleep", &host.group, Class::Service, port).unwrap();
    waits.arg("600");
    container.enter(&mut waits).unwrap();
    let waits = Running::start(waits, &[]).unwrap();
    let refused = host.psql(&container, Class::Service, "127.0.0.1", "SELECT 1;");
    assert!(refused.err().contains("Operation not permitted"), "{}", refused.all());
    host.governor.launch().unwrap();
    // At once: found by the process that lives in it.
    let done = host.psql(&container, Class::Service, "127.0.0.1", "SELECT 1;").ok().unwrap();
    assert_eq!(done.out().trim(), "1");
    waits.signal(libc::SIGKILL).unwrap();
    waits.finish(wait::PATIENCE).unwrap();
}
