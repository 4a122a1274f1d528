//! Cancel requests: they reach the one session that they name, and nobody else.

// Helpers beside the tests fail the test that called them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use governor_tests::client::PSQL_ROWS;
use governor_tests::governor::{field, text};
use governor_tests::remote_socket::RemoteSocket;
use governor_tests::wire::{self, Wire};
use governor_tests::{Auth, Cgroup, Class, Governor, Options, Postgres, Running, Site, wait};
use std::time::Instant;

const SLEEP: &str = "SELECT pg_sleep(600)";
const DELETE: &str = "DELETE FROM orders WHERE id = 1";

/// A site whose server says in its log when somebody connects, be it for a cancel request.
fn site(more: &str) -> Site {
    let options =
        Options { more: more.into(), server_settings: vec!["log_connections=on"], ..Options::default() };
    Site::with(Auth::Trust, &options).unwrap()
}

/// How many connections the server has seen over TCP.
fn arrived(site: &Site) -> usize {
    let log = site.postgres.log();
    log.lines().filter(|line| line.contains("connection received: host=127.0.0.1")).count()
}

fn sleeping(site: &Site) -> usize {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' ";
    site.truth(sql).unwrap().parse().unwrap()
}

fn wait_for_sleepers(site: &Site, count: usize) {
    wait::until("the sleepers", wait::PATIENCE, || Ok((sleeping(site) == count).then_some(()))).unwrap();
}

/// Sends a cancel request and waits until its connection closes, as libpq does.
fn cancel(site: &Site, class: Class, key: &[u8]) {
    let mut canceller = Wire::new(site.socket(class).unwrap()).unwrap();
    canceller.send(&wire::cancel(key)).unwrap();
    assert!(canceller.until_closed().unwrap().is_empty(), "a cancel request has no answer");
}

fn counted(site: &Site, result: &str) -> f64 {
    let page = site.governor.metrics().unwrap();
    let series = format!("governor_cancel_requests_total{{result=\"{result}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

/// What the records say of cancel requests so far: forwarded or not.
fn recorded(site: &Site) -> Vec<bool> {
    site.governor.events("cancel").unwrap().iter().map(|r| field(r, "forwarded").as_bool().unwrap()).collect()
}

fn sqlstate(reply: &[wire::Message]) -> Option<String> {
    reply.iter().find(|message| message.tag == b'E').and_then(|error| error.field(b'C'))
}

#[test]
fn a_cancel_reaches_its_own_session_and_is_taken_before_its_connection_closes() {
    let site = site("");
    let mut sessions: Vec<Wire> = (0..3).map(|_| site.wire(Class::Service).unwrap()).collect();
    for session in &mut sessions {
        session.send(&wire::query(SLEEP)).unwrap();
    }
    wait_for_sleepers(&site, 3);
    let key = sessions[1].cancel_key.clone();
    let mut canceller = Wire::new(site.socket(Class::Service).unwrap()).unwrap();
    let begun = Instant::now();
    canceller.send(&wire::cancel(&key)).unwrap();
    let reply = sessions[1].until_ready().unwrap();
    println!("cancelled after {:?}", begun.elapsed());
    assert_eq!(sqlstate(&reply).as_deref(), Some("57014"));
    assert!(canceller.until_closed().unwrap().is_empty());
    assert_eq!(sleeping(&site), 2, "the others sleep on");
    // As with the server itself: when the canceller's connection has closed, the signal was sent, so what
    // the session runs next is not what is cancelled.
    for _ in 0..20 {
        cancel(&site, Class::Service, &key);
        assert_eq!(wire::tags(&sessions[1].query("SELECT 1").unwrap()), "TDCZ");
    }
    assert_eq!(recorded(&site), vec![true; 21]);
    wait::until("the count", wait::PATIENCE, || Ok((counted(&site, "forwarded") == 21.0).then_some(())))
        .unwrap();
    for slow in [0, 2] {
        cancel(&site, Class::Service, &sessions[slow].cancel_key);
        assert_eq!(sqlstate(&sessions[slow].until_ready().unwrap()).as_deref(), Some("57014"));
    }
}

#[test]
fn a_wrong_replayed_or_ended_key_reaches_nobody() {
    let site = site("");
    let mut slow = site.wire(Class::Service).unwrap();
    let ended = {
        let session = site.wire(Class::Service).unwrap();
        session.cancel_key.clone()
    };
    site.governor.wait_for_record("session_end", |_| true).unwrap();
    slow.send(&wire::query(SLEEP)).unwrap();
    wait_for_sleepers(&site, 1);
    let mut wrong_secret = slow.cancel_key.clone();
    *wrong_secret.last_mut().unwrap() ^= 1;
    let mut wrong_process = slow.cancel_key.clone();
    wrong_process[3] ^= 1;
    let longer = [slow.cancel_key.clone(), vec![0; 28]].concat();
    let before = arrived(&site);
    let wrong = [wrong_secret, wrong_process, longer, ended];
    for key in &wrong {
        for class in [Class::Service, Class::Agent] {
            cancel(&site, class, key);
        }
    }
    assert_eq!(arrived(&site), before, "nothing was dialled");
    assert_eq!(sleeping(&site), 1);
    assert_eq!(recorded(&site), vec![false; 2 * wrong.len()]);
    wait::until("the count", wait::PATIENCE, || {
        Ok((counted(&site, "unknown") == 2.0 * wrong.len() as f64).then_some(()))
    })
    .unwrap();
    let reasons = site.governor.events("cancel").unwrap();
    assert!(text(&reasons[0], "reason").contains("no live session"), "{reasons:?}");
    // The key is all that counts, not who sends it: so does the server.
    cancel(&site, Class::Agent, &slow.cancel_key);
    assert_eq!(sqlstate(&slow.until_ready().unwrap()).as_deref(), Some("57014"));
    assert!(arrived(&site) > before, "that one was: the log does tell");
}

#[test]
fn a_hold_is_cancelled_without_asking_the_server() {
    let site = site("");
    let mut agent = site.wire(Class::Agent).unwrap();
    agent.send(&wire::query(DELETE)).unwrap();
    site.governor.wait_for_hold().unwrap();
    let before = arrived(&site);
    let begun = Instant::now();
    cancel(&site, Class::Agent, &agent.cancel_key);
    let reply = agent.until_ready().unwrap();
    println!("hold cancelled after {:?}", begun.elapsed());
    assert_eq!(sqlstate(&reply).as_deref(), Some("57014"));
    assert_eq!(arrived(&site), before);
    assert_eq!(recorded(&site), [false]);
    wait::until("the count", wait::PATIENCE, || Ok((counted(&site, "hold") == 1.0).then_some(()))).unwrap();
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ");
}

#[test]
fn a_cancel_during_a_hold_also_stops_what_runs_before_it() {
    let site = site("");
    let mut agent = site.wire(Class::Agent).unwrap();
    let batch = [wire::extended("SELECT 1 FROM pg_sleep(600)", &[]), wire::extended(DELETE, &[])].concat();
    agent.send(&batch).unwrap();
    site.governor.wait_for_hold().unwrap();
    wait_for_sleepers(&site, 1);
    cancel(&site, Class::Agent, &agent.cancel_key);
    agent.send(&wire::sync()).unwrap();
    let reply = agent.until_ready().unwrap();
    assert_eq!(sqlstate(&reply).as_deref(), Some("57014"), "{reply:?}");
    assert_eq!(sleeping(&site), 0);
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
    assert_eq!(wire::tags(&agent.query("SELECT 1").unwrap()), "TDCZ");
}

#[test]
fn unknown_keys_of_services_go_to_the_server_where_it_is_configured() {
    let site = site("[limits]\ncancel_unknown = \"forward\"\n");
    let mut direct = site.wire_direct().unwrap();
    direct.send(&wire::query(SLEEP)).unwrap();
    wait_for_sleepers(&site, 1);
    let before = arrived(&site);
    cancel(&site, Class::Agent, &direct.cancel_key);
    assert_eq!((arrived(&site), sleeping(&site)), (before, 1), "never for an agent");
    cancel(&site, Class::Service, &direct.cancel_key);
    assert_eq!(sqlstate(&direct.until_ready().unwrap()).as_deref(), Some("57014"));
    assert_eq!(recorded(&site), [false, true]);
}

#[test]
fn beside_a_session_that_passes_unread_the_server_judges_the_key() {
    let site = site("");
    let startup =
        wire::startup_with(0, &[("user", "app"), ("database", "shop"), ("replication", "database")]);
    let mut unread = Wire::new(site.socket(Class::Service).unwrap()).unwrap();
    unread.send(&startup).unwrap();
    let replies = unread.until_ready().unwrap();
    let key = replies.iter().find(|message| message.tag == b'K').unwrap().body.clone();
    unread.send(&wire::query(SLEEP)).unwrap();
    wait_for_sleepers(&site, 1);
    cancel(&site, Class::Service, &key);
    assert_eq!(sqlstate(&unread.until_ready().unwrap()).as_deref(), Some("57014"));
    drop(unread);
    site.governor.wait_for_record("session_end", |end| text(end, "reason") == "client_closed").unwrap();
    let before = arrived(&site);
    cancel(&site, Class::Service, &key);
    assert_eq!(arrived(&site), before, "nobody passes unread now");
    assert_eq!(recorded(&site), [true, false]);
}

#[test]
fn psql_cancels_on_interrupt() {
    let site = site("");
    let psql = site.psql_running(Class::Service, &format!("{SLEEP};\nSELECT 'still here';\n")).unwrap();
    wait_for_sleepers(&site, 1);
    psql.signal(libc::SIGINT).unwrap();
    let done = psql.finish(wait::PATIENCE).unwrap();
    assert!(done.err().contains("canceling statement due to user request"), "{}", done.all());
}

#[test]
fn psql_cancels_a_held_statement_on_interrupt() {
    let site = site("");
    let mut psql = site.client("psql", Class::Agent).unwrap();
    psql.args(PSQL_ROWS).args(["-c", DELETE]);
    let held = Running::start(psql, &[]).unwrap();
    site.governor.wait_for_hold().unwrap();
    let before = arrived(&site);
    held.signal(libc::SIGINT).unwrap();
    let done = held.finish(wait::PATIENCE).unwrap();
    assert!(done.err().contains("canceling statement due to user request"), "{}", done.all());
    assert_eq!(arrived(&site), before, "the server is not asked");
    assert_eq!(site.truth("SELECT count(*) FROM orders WHERE id = 1").unwrap(), "1");
    wait::until("the count", wait::PATIENCE, || Ok((counted(&site, "hold") == 1.0).then_some(()))).unwrap();
}

/// What a client is told is what the server would tell it: it works past governor as well.
#[test]
fn the_key_that_a_client_gets_is_the_servers_own() {
    let site = site("");
    let mut slow = site.wire(Class::Person).unwrap();
    slow.send(&wire::query(SLEEP)).unwrap();
    wait_for_sleepers(&site, 1);
    let mut direct = Wire::new(site.socket_direct().unwrap()).unwrap();
    direct.send(&wire::cancel(&slow.cancel_key)).unwrap();
    assert!(direct.until_closed().unwrap().is_empty());
    assert_eq!(sqlstate(&slow.until_ready().unwrap()).as_deref(), Some("57014"));
    assert!(recorded(&site).is_empty(), "governor had no part in it");
}

#[test]
fn of_two_servers_the_one_is_asked_at_which_the_session_is() {
    let settings = ["log_connections=on"];
    let servers = [(); 2].map(|()| Postgres::start_version(None, Auth::Trust, &settings).unwrap());
    let group = Cgroup::create("governor-test").unwrap();
    let clients = group.kernel_name(&group.clients()).unwrap();
    let more = format!("[[capture.rules]]\ncgroup = {clients:?}\nports = [{}]\n", servers[1].port());
    let options = Options { more, ..Options::default() };
    let governor = Governor::start(&group, servers[0].port(), &options).unwrap();
    let socket = |server: &Postgres| {
        let address = ([127, 0, 0, 1], server.port()).into();
        Wire::new(RemoteSocket::connect(&group.client(Class::Service), address).unwrap()).unwrap()
    };
    let mut sessions = servers.each_ref().map(|server| {
        let mut session = socket(server);
        session.start("postgres", "postgres").unwrap();
        session.send(&wire::query(SLEEP)).unwrap();
        session
    });
    let sleeping = |server: &Postgres| {
        server
            .admin("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            .unwrap()
    };
    for server in &servers {
        wait::until("the sleeper", wait::PATIENCE, || Ok((sleeping(server) == "1").then_some(()))).unwrap();
    }
    let arrived = |server: &Postgres| {
        server.log().lines().filter(|line| line.contains("connection received: host=127.0.0.1")).count()
    };
    let before = servers.each_ref().map(arrived);
    // Keys of the other server, at both addresses.
    for (at, other) in [(0, 1), (1, 0)] {
        let mut canceller = socket(&servers[at]);
        canceller.send(&wire::cancel(&sessions[other].cancel_key)).unwrap();
        assert!(canceller.until_closed().unwrap().is_empty());
    }
    assert_eq!(servers.each_ref().map(arrived), before, "nothing was dialled");
    assert_eq!(servers.each_ref().map(sleeping), ["1", "1"]);
    for (server, session) in servers.iter().zip(&mut sessions) {
        let mut canceller = socket(server);
        canceller.send(&wire::cancel(&session.cancel_key)).unwrap();
        assert_eq!(sqlstate(&session.until_ready().unwrap()).as_deref(), Some("57014"));
    }
    let forwarded: Vec<bool> = governor
        .events("cancel")
        .unwrap()
        .iter()
        .map(|record| field(record, "forwarded").as_bool().unwrap())
        .collect();
    assert_eq!(forwarded, [false, false, true, true]);
}
