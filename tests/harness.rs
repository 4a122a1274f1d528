//! The harness itself: before it judges anybody else.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::postgres::{Auth, PASSWORD, Postgres};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::{self, Wire};
use governor_tests::{Cgroup, Class, client, database, process, wait};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

#[test]
fn each_kind_of_authentication_lets_the_right_password_in_only() {
    for auth in [Auth::Trust, Auth::Md5, Auth::ScramSha256] {
        let server = Postgres::start(auth).unwrap();
        for (password, welcome) in [(PASSWORD, true), ("wrong", auth == Auth::Trust)] {
            let mut psql = client::outside("psql", server.port());
            psql.env("PGPASSWORD", password).args(["-X", "-A", "-t", "-c", "SELECT 1"]);
            let done = process::run(psql, wait::PATIENCE).unwrap();
            assert_eq!(done.status.success(), welcome, "{auth:?} {password}: {}", done.err());
        }
    }
}

#[test]
fn the_database_has_people_cards_and_orders() {
    let server = Postgres::start(Auth::Trust).unwrap();
    database::load(&server, "shop").unwrap();
    let counts = server
        .admin("shop", "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM cards), (SELECT count(*) FROM orders)")
        .unwrap();
    let counts: Vec<u64> = counts.split('|').map(|count| count.parse().unwrap()).collect();
    assert_eq!(counts[..2], [database::PEOPLE, database::PEOPLE]);
    assert!(counts[2] >= database::PEOPLE);
}

#[test]
fn a_command_starts_inside_its_cgroup() {
    let group = Cgroup::create("governor-test").unwrap();
    let mut cat = Command::new("cat");
    cat.arg("/proc/self/cgroup");
    governor_tests::cgroup::enter(&mut cat, &group.client(Class::Agent)).unwrap();
    let said = process::run(cat, wait::PATIENCE).unwrap().ok().unwrap().out();
    let name = group.kernel_name(&group.client(Class::Agent)).unwrap();
    assert!(said.lines().any(|line| line == format!("0::{name}")), "{said}");
}

#[test]
fn a_cgroup_goes_with_its_owner_and_ends_what_is_inside() {
    let group = Cgroup::create("governor-test").unwrap();
    let path = group.path().to_owned();
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000");
    governor_tests::cgroup::enter(&mut sleeper, &group.client(Class::Person)).unwrap();
    let mut sleeper = governor_tests::Running::start(sleeper, &[]).unwrap();
    drop(group);
    assert!(!path.exists());
    wait::until("the sleeper to be ended", wait::PATIENCE, || Ok(sleeper.ended()?.then_some(()))).unwrap();
}

#[test]
fn a_raw_connection_is_made_by_a_process_of_the_cgroup() {
    let server = Postgres::start(Auth::Trust).unwrap();
    let group = Cgroup::create("governor-test").unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    let socket = RemoteSocket::connect(&group.client(Class::Service), address).unwrap();
    let procs = std::fs::read_to_string(group.client(Class::Service).join("cgroup.procs")).unwrap();
    assert!(procs.lines().any(|pid| pid == socket.pid().to_string()), "{procs}");
    let mut wire = Wire::new(socket).unwrap();
    wire.start("app", "shop").unwrap();
    let reply = wire.query("SELECT 'hello'").unwrap();
    assert_eq!(wire::tags(&reply), "TDCZ");
    assert_eq!(reply[1].row().unwrap(), [Some(b"hello".to_vec())]);
    let reply = wire.query("SELECT broken").unwrap();
    assert_eq!(reply[0].field(b'C').as_deref(), Some("42703"));
}

#[test]
fn a_refused_raw_connection_says_so() {
    let group = Cgroup::create("governor-test").unwrap();
    let port = governor_tests::postgres::free_port().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let error = RemoteSocket::connect(&group.client(Class::Service), address).unwrap_err();
    assert!(format!("{error:#}").contains("refused"), "{error:#}");
}

#[test]
fn a_command_that_does_not_end_is_ended_at_its_limit() {
    let mut sleeper = Command::new("sh");
    sleeper.args(["-c", "echo started; exec sleep 1000"]);
    let error = process::run(sleeper, Duration::from_secs(1)).unwrap_err();
    assert!(format!("{error:#}").contains("started"), "{error:#}");
}
